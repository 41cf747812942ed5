/* A container's output, kept in the attempt's log (cronsched/io/run_log.h).
 *
 * The happy path: follow() opens the writer and, when it knows where the log ends, GET /logs?follow=1&timestamps=1 with
 * the last stamp that is kept; frames are taken apart, what is kept already is passed over, the rest goes to the writer,
 * both streams in the order in which the engine has them; the stream ends with the container; finish() closes the writer
 * and is done.
 *
 * Where the log ends, in the engine's: its last line is looked for by stamp and stream from SEEK_BEFORE_NS before it on,
 * since two lines may be there in another order than their stamps. When the engine's output begins after it, the engine
 * has rotated its own log: a line in ours says between which times output is lost. A log that was kept without stamps
 * counts bytes from the beginning.
 *
 * Failures: the stream breaks (the engine died), or the engine answers with an error of its own (5xx): the writer is
 * closed, and the next follow() or finish() goes on as above. Whether a stream that ended well was really the end is
 * known only when the link has held since. The file cannot be written: reading stops. The engine does not give the output
 * (a log driver that cannot be read), or not in time: a remark on the run, nothing else.
 */
#include "cronsched/engines/docker/docker_api.h"
#include "cronsched/io/run_log_reader.h"
#include "jobs/base/alloc.h"
#include "jobs/base/object.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FRAME_HEAD          8
#define STAMP_BYTES         RUN_LOG_STAMP_SIZE /* with the blank behind it */
#define STDERR_FRAME        2
#define ENGINE_FRAME        3 /* the engine's own words */
#define SEEK_BEFORE_NS      INT64_C(1000000000)
#define SEEK_DISORDER_NS    INT64_C(1000000) /* by which lines of two streams may be out of order */
#define ROTATES_BYTES       (8 * 1024)       /* of output: in empty lines they fill a file of the engine's */
#define RETRY_MS            500
#define TRIES_MAX           4 /* at a stream that breaks, or is refused, although the engine is there */
#define QUERY_MAX           128
#define HTTP_NO_SUCH_DRIVER 501

struct docker_log {
    struct object object; /* first */
    struct docker_log_source source;
    bool freed; /* only the writer is still being closed */
    struct run_log_writer *writer;
    bool writer_closing;
    struct http_call *call;
    bool live;         /* counted in live_logs */
    bool busy, paused; /* the writer wants no more for now; curl has been told */
    bool full;         /* nothing more is worth reading */
    bool broken;       /* the engine said so in mid-stream */
    bool checked;      /* the stream was read to its end without following it */
    int64_t seen;      /* bytes of output, those that were kept before counted */
    bool whole;        /* the stream ended well, when the link had this number */
    uint64_t whole_at;
    bool follows;        /* the request is to */
    int64_t retry_at_ms; /* of uv_now; not before */

    /* the frame under way */
    unsigned char head[FRAME_HEAD];
    size_t head_len;
    uint32_t left; /* bytes that are to come */
    char stamp[STAMP_BYTES];
    size_t stamp_len;
    bool begun; /* its stamp is known, or that it has none */
    bool dropped;
    enum run_log_kind kind;
    int64_t ns;

    /* looking for the end of what is kept */
    struct {
        bool active, found;
        int64_t ns; /* 0: by bytes alone */
        enum run_log_kind kind;
        int64_t left; /* bytes with this stamp and stream, or of all, that are kept */
    } seek;

    bool finishing;
    int64_t deadline_ms; /* of uv_now, moved on by each piece, */
    int64_t last_ms;     /* up to this */
    int tries;
    int64_t left_bytes; /* of the stream, after the end: an engine may send for ever */
    char remark[DOCKER_LOG_REMARK_MAX];
    void (*done)(void *task, const char *remark);
};

static void go_on(struct docker_log *log);

/* ---- the writer ---- */

static void on_drained(void *arg)
{
    struct docker_log *log = OBJECT(struct docker_log, arg);

    log->busy = false;
    if (log->paused && log->call) {
        log->paused = false;
        http_call_resume(log->call);
    }
}

static void on_writer_opened(void *arg, const struct run_log_place *place);

static bool open_writer(struct docker_log *log)
{
    static const struct run_log_writer_events events = {on_writer_opened, on_drained};
    const struct docker_log_source *from = &log->source;
    struct error error = {0};
    char path[RUN_LOG_PATH_MAX];

    if (run_log_path(from->data_dir, from->run, from->attempt, path, sizeof(path), &error) < 0 ||
        run_log_writer_new(&log->writer, from->loop, path, from->keep_bytes, RUN_LOG_RESUME, &events, log,
                           &error) < 0) {
        snprintf(log->remark, sizeof(log->remark), "the log was not kept: %.300s", error.text);
        log->full = true;
        return false;
    }
    log->busy = log->paused = false;
    log->head_len = log->stamp_len = 0;
    log->left = 0;
    log->begun = true;
    return true;
}

static void on_writer_closed(void *arg, int result, const char *text)
{
    struct docker_log *log = OBJECT(struct docker_log, arg);
    struct docker_log_source from = log->source;

    log->writer_closing = false;
    if (result < 0) {
        log->full = true;
        snprintf(log->remark, sizeof(log->remark), "the log was not kept: %.300s",
                 text ? text : error_text(result));
    }
    if (log->freed)
        OBJECT_FREE(struct docker_log, log);
    else
        go_on(log);
    from.ops->release(from.engine);
}

static void close_writer(struct docker_log *log)
{
    struct run_log_writer *writer = log->writer;

    if (!writer)
        return;
    log->writer = NULL;
    log->writer_closing = true;
    log->source.ops->hold(log->source.engine);
    run_log_writer_finish(writer, on_writer_closed, log);
}

/* ---- the stream ---- */

static void stop_reading(struct docker_log *log)
{
    http_call_cancel(log->call);
    log->call = NULL;
    if (log->live)
        --*log->source.live;
    log->live = false;
}

static void write_frame(struct docker_log *log, enum run_log_kind kind, const char *bytes, size_t n)
{
    while (n > 0 && !log->full) {
        size_t size = n < RUN_LOG_FRAME_MAX ? n : RUN_LOG_FRAME_MAX;

        switch (run_log_writer_add(
            log->writer, &(struct run_log_frame){.kind = kind, .ns = log->ns, .data = bytes, .size = size})) {
        case 0:
            break;
        case ERR_BUSY:
            log->busy = true;
            break;
        default: /* the disk: finish tells */
            log->full = true;
            break;
        }
        bytes += size;
        n -= size;
    }
}

static void say_lost(struct docker_log *log)
{
    char from[RUN_LOG_STAMP_SIZE], to[RUN_LOG_STAMP_SIZE], text[DOCKER_LOG_REMARK_MAX];
    int n = snprintf(
        text, sizeof(text),
        "cronsched: output lost between %s and %s: the engine had rotated its own log before it was read\n",
        run_log_stamp(log->seek.ns, from), run_log_stamp(log->ns, to));

    write_frame(log, RUN_LOG_NOTE, text, (size_t)n);
}

/* Whether a frame with this stamp is kept already, as far as the stamp tells. */
static void seek_frame(struct docker_log *log)
{
    bool same = log->ns == log->seek.ns && log->kind == log->seek.kind;

    if (!log->seek.active || log->seek.ns == 0 || same) {
        log->seek.found = log->seek.found || same;
        return;
    }
    if (log->seek.found ? log->ns <= log->seek.ns : log->ns <= log->seek.ns + SEEK_DISORDER_NS) {
        log->dropped = true;
        return;
    }
    if (!log->seek.found)
        say_lost(log);
    log->seek.active = false;
}

static void take_payload(struct docker_log *log, const char *bytes, size_t n)
{
    if (log->kind == RUN_LOG_NOTE) { /* the engine's: no output, and the end is not the end */
        snprintf(log->remark, sizeof(log->remark), "the engine broke off its output: %.*s",
                 (int)(n < 200 ? n : 200), bytes);
        log->broken = true;
        return;
    }
    if (log->dropped)
        return;
    if (log->seek.active) {
        size_t skip = (uint64_t)log->seek.left < n ? (size_t)log->seek.left : n;

        log->seek.left -= (int64_t)skip;
        log->seek.active = log->seek.left > 0;
        bytes += skip;
        n -= skip;
    }
    log->seen += (int64_t)n;
    write_frame(log, log->kind, bytes, n);
}

/* All of the stamp is there, or all of a frame that is shorter than one. */
static void begin_frame(struct docker_log *log)
{
    char text[STAMP_BYTES];
    bool stamped = log->stamp_len == STAMP_BYTES && log->stamp[STAMP_BYTES - 1] == ' ';

    log->begun = true;
    log->kind = log->head[0] == STDERR_FRAME ? RUN_LOG_ERR : RUN_LOG_OUT;
    if (log->head[0] == ENGINE_FRAME)
        log->kind = RUN_LOG_NOTE;
    memcpy(text, log->stamp, sizeof(text));
    text[STAMP_BYTES - 1] = '\0';
    log->dropped = false;
    if (stamped && run_log_stamp_parse(text, &log->ns, NULL) == 0) {
        if (log->kind != RUN_LOG_NOTE)
            seek_frame(log);
        return;
    }
    take_payload(log, log->stamp, log->stamp_len);
}

static void begin_head(struct docker_log *log)
{
    const unsigned char *h = log->head;

    log->head_len = log->stamp_len = 0;
    log->left = (uint32_t)h[4] << 24 | (uint32_t)h[5] << 16 | (uint32_t)h[6] << 8 | h[7];
    log->begun = log->left == 0;
}

/* Frames: the stream's number, three zeros, the length in 4 bytes, the payload: a stamp, a blank, the output. */
static void take_apart(struct docker_log *log, const char *bytes, size_t size)
{
    while (size > 0 && !log->full) {
        size_t n = log->left < size ? log->left : size;

        if (log->left == 0) {
            log->head[log->head_len++] = (unsigned char)*bytes;
            n = 1;
            if (log->head_len == FRAME_HEAD)
                begin_head(log);
        } else if (!log->begun) {
            n = n < STAMP_BYTES - log->stamp_len ? n : STAMP_BYTES - log->stamp_len;
            memcpy(log->stamp + log->stamp_len, bytes, n);
            log->stamp_len += n;
            log->left -= (uint32_t)n;
            if (log->stamp_len == STAMP_BYTES || log->left == 0)
                begin_frame(log);
        } else {
            take_payload(log, bytes, n);
            log->left -= (uint32_t)n;
        }
        bytes += n;
        size -= n;
    }
}

static void move_deadline(struct docker_log *log)
{
    log->deadline_ms = (int64_t)uv_now(log->source.loop) + DOCKER_LOG_END_MS;
    if (log->deadline_ms > log->last_ms)
        log->deadline_ms = log->last_ms;
}

static bool on_data(void *arg, const char *bytes, size_t size)
{
    struct docker_log *log = OBJECT(struct docker_log, arg);

    if (log->busy) {
        log->paused = true;
        return false;
    }
    take_apart(log, bytes, size);
    move_deadline(log);
    if (log->finishing && (log->left_bytes -= (int64_t)size) < 0) {
        snprintf(log->remark, sizeof(log->remark), "the engine sends more of its log than there can be");
        log->full = true;
    }
    if (log->full) {
        stop_reading(log);
        close_writer(log); /* go_on comes from there */
    }
    return true;
}

/* It may answer another time. */
static bool is_passing(const struct docker_reply *reply)
{
    return reply->status >= 500 && reply->status != HTTP_NO_SUCH_DRIVER &&
           !strstr(reply->text, "does not support reading");
}

static void on_stream_end(void *arg, const struct http_answer *answer)
{
    struct docker_log *log = OBJECT(struct docker_log, arg);
    json_t *json;
    struct docker_reply reply = docker_read(answer, &json);

    log->call = NULL;
    stop_reading(log);
    if (!docker_lost(&reply) && reply.status == 200) {
        log->whole = !log->broken;
        log->whole_at = log->source.ops->losses(log->source.engine);
        log->checked = log->whole && !log->follows;
        if (log->whole)
            log->remark[0] = '\0';
    } else if (!docker_lost(&reply)) {
        snprintf(log->remark, sizeof(log->remark), "the engine does not give its output: %.300s", reply.text);
        log->full = !is_passing(&reply);
    }
    if (log->finishing && !log->whole && !log->full)
        log->tries++;
    if (!log->whole)
        log->retry_at_ms = (int64_t)uv_now(log->source.loop) + RETRY_MS;
    json_decref(json);
    close_writer(log);
}

static void seek_from(struct docker_log *log, const struct run_log_place *place)
{
    bool stamped = place->last_ns > 0;

    log->ns = place->last_ns;
    log->seek.active = place->offset > 0;
    log->seek.found = false;
    log->seek.ns = place->last_ns;
    log->seek.kind = (enum run_log_kind)place->last_kind;
    log->seek.left = stamped ? place->same_bytes : place->offset;
}

/* The log ends at `place`: what comes after it is asked for. */
static void on_writer_opened(void *arg, const struct run_log_place *place)
{
    struct docker_log *log = OBJECT(struct docker_log, arg);
    char query[QUERY_MAX];
    struct client_request with = {.data = on_data, .done = on_stream_end, .arg = log, .once = log->follows};
    int n;

    if (!place) {
        close_writer(log);
        return;
    }
    seek_from(log, place);
    log->seen = place->offset;
    n = snprintf(query, sizeof(query), "stdout=1&stderr=1&timestamps=1%s", log->follows ? "&follow=1" : "");
    if (log->seek.ns > SEEK_BEFORE_NS)
        snprintf(query + n, sizeof(query) - (size_t)n, "&since=%lld.%09d",
                 (long long)((log->seek.ns - SEEK_BEFORE_NS) / 1000000000),
                 (int)((log->seek.ns - SEEK_BEFORE_NS) % 1000000000));
    log->call = log->source.ops->open(log->source.task, query, &with);
    if (!log->call) {
        close_writer(log);
        return;
    }
    log->live = log->follows;
    if (log->live)
        ++*log->source.live;
}

static void read_stream(struct docker_log *log, bool follow)
{
    log->whole = log->broken = false;
    log->follows = follow;
    if (!open_writer(log))
        go_on(log);
}

/* ---- the whole ---- */

/* A stream that was followed while the engine rotated its log may have ended early. */
static bool is_whole(const struct docker_log *log)
{
    bool sure = log->checked || log->seen < ROTATES_BYTES;

    return log->full || (log->whole && sure && log->whole_at == log->source.ops->losses(log->source.engine));
}

/* Finishing: one step at a time, until everything is read or the time is over. */
static void go_on(struct docker_log *log)
{
    const struct docker_log_source *from = &log->source;
    int64_t now = (int64_t)uv_now(from->loop), left = log->deadline_ms - now;

    if (!log->finishing || log->writer_closing)
        return;
    if (!is_whole(log) && left > 0 && log->tries < TRIES_MAX) {
        if (log->call)
            from->ops->wake_in(from->task, left);
        else if (from->ops->reachable(from->engine) && !log->writer && now >= log->retry_at_ms)
            read_stream(log, false);
        else
            from->ops->wake_in(from->task, RETRY_MS);
        return;
    }
    stop_reading(log);
    if (log->writer) {
        close_writer(log);
        return;
    }
    if (!is_whole(log) && !log->remark[0])
        snprintf(log->remark, sizeof(log->remark), "the end of its log could not be read in time");
    log->done(from->task, log->remark[0] ? log->remark : NULL); /* the log is gone now */
}

void docker_log_wake(struct docker_log *log)
{
    go_on(log);
}

struct docker_log *docker_log_new(const struct docker_log_source *source)
{
    struct docker_log *log = OBJECT_NEW(struct docker_log);

    log->source = *source;
    return log;
}

void docker_log_follow(struct docker_log *log)
{
    if (log->call || log->writer || log->writer_closing || log->finishing || log->full ||
        *log->source.live >= DOCKER_LIVE_LOGS_MAX)
        return;
    read_stream(log, true);
}

void docker_log_finish(struct docker_log *log, void (*done)(void *task, const char *remark))
{
    log->finishing = true;
    log->done = done;
    log->last_ms = (int64_t)uv_now(log->source.loop) + DOCKER_LOG_WHOLE_MS;
    log->left_bytes = log->source.keep_bytes * DOCKER_LOG_PER_BYTE + DOCKER_LOG_MORE;
    log->retry_at_ms = 0;
    if (log->source.endless && log->call) {
        stop_reading(log);
        close_writer(log); /* what is missing is read once more, without following */
    }
    move_deadline(log);
    /* from the loop, and a stream that ends by itself has a moment to */
    log->source.ops->wake_in(log->source.task, 0);
}

void docker_log_free(struct docker_log *log)
{
    if (!log)
        return;
    stop_reading(log);
    run_log_writer_abandon(log->writer);
    log->writer = NULL;
    log->freed = true;
    if (!log->writer_closing) /* else its end frees it */
        OBJECT_FREE(struct docker_log, log);
}
