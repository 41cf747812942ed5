/* Where the output of an attempt comes from: the log of the container `main`, through the API, which asks the node. What comes
 * are lines with a stamp in front of each, both streams as one; docker_logs.c keeps frames, so each piece of a line becomes
 * one, with the stamp of its line.
 *
 * A node that cannot read a log says so in the log itself, with status 200 and without a stamp: that is no output, and the
 * stream counts as broken off.
 */
#include "cronsched/engines/kubernetes/kube_core.h"

#include "cronsched/io/run_log_reader.h"
#include "jobs/base/alloc.h"
#include "jobs/base/percent.h"
#include "jobs/base/text.h"
#include "jobs/time/instant.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEAD_BYTES  8
#define OUT_FRAME   1
#define NOTE_FRAME  3 /* of the engine's own words */
#define PREFIX_MAX  48
#define FOREIGN_MAX 256
#define FRAMES_MAX  (1024 * 1024) /* made of one piece of the stream, which is much shorter */
#define NANO_PER_MS INT64_C(1000000)
#define TOO_EARLY   400 /* the container is not there yet, as the node sees it */
#define NO_ANSWER   503

/* The stream under way, of one task. */
struct kube_log {
    struct object object;       /* first */
    struct client_request with; /* whoever keeps it */
    /* What of the line is known; copied back when a piece is not taken. */
    struct kube_log_line {
        char prefix[PREFIX_MAX], stamp[RUN_LOG_STAMP_SIZE];
        size_t size;  /* of the prefix */
        bool stamped; /* its output comes */
        bool foreign; /* from here on it is no output */
    } line;
};

/* "2026-11-30T22:44:11.123456789Z" of a stamp with any offset and any fraction. */
static bool read_stamp(struct kube_log_line *line)
{
    const char *dot;
    int64_t ms, ns = 0;
    int digits = 0;

    line->prefix[line->size] = '\0';
    if (instant_parse(line->prefix, &ms, NULL) < 0)
        return false;
    dot = strchr(line->prefix, '.');
    for (; dot && digits < 9; digits++) {
        ns = ns * 10 + (dot[1 + digits] >= '0' && dot[1 + digits] <= '9' ? dot[1 + digits] - '0' : 0);
        if (dot[1 + digits] < '0' || dot[1 + digits] > '9')
            dot = "0000000000";
    }
    run_log_stamp(ms / 1000 * 1000 * NANO_PER_MS + ns, line->stamp);
    return true;
}

static void add_frame(struct text *out, int kind, const char *stamp, const char *bytes, size_t size)
{
    size_t all = strlen(stamp) + 1 + size;
    const unsigned char head[HEAD_BYTES] = {(unsigned char)kind,
                                            0,
                                            0,
                                            0,
                                            (unsigned char)(all >> 24),
                                            (unsigned char)(all >> 16),
                                            (unsigned char)(all >> 8),
                                            (unsigned char)all};

    text_add_bytes(out, head, sizeof(head));
    text_add(out, stamp);
    text_add_char(out, ' ');
    text_add_bytes(out, bytes, size);
}

/* What is no output is said in one piece. */
static void say_foreign(struct kube_log_line *line, struct text *out, const char *bytes, size_t size)
{
    char words[FOREIGN_MAX];
    size_t rest = strnlen(bytes, size < sizeof(words) - line->size ? size : sizeof(words) - line->size);

    memcpy(words, line->prefix, line->size);
    memcpy(words + line->size, bytes, rest);
    line->foreign = true;
    add_frame(out, NOTE_FRAME, run_log_stamp(NANO_PER_MS, line->stamp), words, line->size + rest);
}

/* The stamp of a line; returns how many bytes of it are taken. */
static size_t take_prefix(struct kube_log_line *line, struct text *out, const char *bytes, size_t size)
{
    size_t n = 0;

    while (n < size && line->size < PREFIX_MAX - 1 && bytes[n] != ' ' && bytes[n] != '\n')
        line->prefix[line->size++] = bytes[n++];
    if (n == size)
        return n;
    line->stamped = bytes[n] == ' ' && read_stamp(line);
    if (line->stamped)
        return n + 1;
    say_foreign(line, out, bytes + n, size - n);
    return size;
}

static void convert(struct kube_log_line *line, struct text *out, const char *bytes, size_t size)
{
    while (size > 0 && !line->foreign) {
        const char *end;
        size_t n;

        if (!line->stamped) {
            n = take_prefix(line, out, bytes, size);
        } else {
            end = memchr(bytes, '\n', size);
            n = end ? (size_t)(end - bytes) + 1 : size;
            add_frame(out, OUT_FRAME, line->stamp, bytes, n);
            line->stamped = !end;
            line->size = end ? 0 : line->size;
        }
        bytes += n;
        size -= n;
    }
}

static bool on_data(void *arg, const char *bytes, size_t size)
{
    struct kube_log *log = OBJECT(struct kube_log, arg);
    struct kube_log_line before = log->line;
    struct text out;
    bool taken;

    if (log->line.foreign)
        return true;
    text_init(&out, FRAMES_MAX);
    convert(&log->line, &out, bytes, size);
    taken = log->with.data(log->with.arg, text_str(&out), out.len);
    text_release(&out);
    if (!taken)
        log->line = before;
    return taken;
}

/* What may be otherwise in a moment is asked again. */
static void on_done(void *arg, const struct http_answer *answer)
{
    struct kube_log *log = OBJECT(struct kube_log, arg);
    struct http_answer a = *answer;

    if (a.status == TOO_EARLY || a.status == 401 || a.status == 429)
        a.status = NO_ANSWER;
    log->with.done(log->with.arg, &a); /* the task may be gone now */
}

/* Docker's words for it as Kubernetes has them. */
static void translate(const char *query, char *ret, size_t size)
{
    const char *since = strstr(query, "since=");
    char text[TEXT_NUMBER_BUFFER];

    snprintf(ret, size, "/log?container=" KUBE_MAIN "&timestamps=true%s",
             strstr(query, "follow=1") ? "&follow=true" : "");
    if (!since)
        return;
    snprintf(ret + strlen(ret), size - strlen(ret), "&sinceTime=");
    percent_append(ret, size,
                   instant_format(strtoll(since + 6, NULL, 10) * 1000, INSTANT_S, text, sizeof(text)));
}

static struct http_call *log_open(void *arg, const char *query, const struct client_request *with)
{
    struct kube_task *t = OBJECT(struct kube_task, arg);
    struct kube_log *log = t->log_stream;
    struct client_request q = *with;
    char path[KUBE_PATH_MAX], rest[256];

    translate(query, rest, sizeof(rest));
    kube_pod_path(path, &t->id, rest);
    log->with = *with;
    log->line = (struct kube_log_line){.size = 0};
    q.data = on_data;
    q.done = on_done;
    q.arg = log;
    return kube_open(t->kube, &(struct kube_call){.method = "GET", .path = path, .timeout_ms = -1}, &q, NULL);
}

/* ---- for docker_logs.c ---- */

static void on_wake(struct kube_task *t)
{
    docker_log_wake(t->log);
}

static void log_wake_in(void *arg, int64_t ms)
{
    kube_wake_in(OBJECT(struct kube_task, arg), ms, on_wake);
}

static bool log_reachable(void *arg)
{
    return OBJECT(struct kube, arg)->link == KUBE_LINK_UP;
}

static uint64_t log_losses(void *arg)
{
    return OBJECT(struct kube, arg)->losses;
}

static void log_hold(void *arg)
{
    tasks_hold(&OBJECT(struct kube, arg)->tasks);
}

static void log_release(void *arg)
{
    tasks_release(&OBJECT(struct kube, arg)->tasks);
}

void kube_log_begin(struct kube_task *t)
{
    static const struct docker_log_ops ops = {log_open,   log_wake_in, log_reachable,
                                              log_losses, log_hold,    log_release};

    t->log_stream = OBJECT_NEW(struct kube_log);
    t->log = docker_log_new(&(struct docker_log_source){.ops = &ops,
                                                        .loop = t->kube->tasks.loop,
                                                        .engine = t->kube,
                                                        .task = t,
                                                        .data_dir = t->kube->data_dir,
                                                        .run = t->task.q.run,
                                                        .attempt = t->task.q.attempt,
                                                        .keep_bytes = t->task.q.job->keep_logs_bytes,
                                                        .live = &t->kube->live_logs});
}

void kube_log_end(struct kube_task *t)
{
    docker_log_free(t->log);
    OBJECT_FREE(struct kube_log, t->log_stream);
    t->log = NULL;
    t->log_stream = NULL;
}
