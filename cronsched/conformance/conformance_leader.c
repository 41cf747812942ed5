#include "cronsched/conformance/conformance.h"

#include "cronsched/io/json_text.h"
#include "jobs/base/clock.h"
#include "jobs/engine/engine_json.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- its output ---- */

static void take_line(struct conformance_leader *leader)
{
    const char *text = text_str(&leader->rest);
    json_t *line;

    if (json_text_object(text, strlen(text), "answer", &line, NULL) == 0)
        json_array_append_new(leader->heard, line);
    text_clear(&leader->rest);
}

/* What is there now, or comes within wait_ms. False: it has died. */
static bool take_output(struct conformance_leader *leader, int64_t wait_ms)
{
    struct pollfd fd = {.fd = leader->out, .events = POLLIN};
    char piece[16 * 1024];
    ssize_t n;

    if (poll(&fd, 1, (int)wait_ms) <= 0)
        return true;
    n = read(leader->out, piece, sizeof(piece));
    for (ssize_t i = 0; i < n; i++)
        if (piece[i] == '\n')
            take_line(leader);
        else
            text_add_char(&leader->rest, piece[i]);
    return n > 0 || (n < 0 && errno == EINTR);
}

/* The first line whose member has that value; with NULL, that has it at all. Taken out. */
static json_t *find(struct conformance_leader *leader, const char *key, uint64_t ticket)
{
    json_t *line;
    size_t i;

    json_array_foreach(leader->heard, i, line)
    {
        const json_t *value = json_object_get(line, key);

        if (!value || (ticket && json_integer_value(value) != (json_int_t)ticket))
            continue;
        json_incref(line);
        json_array_remove(leader->heard, i);
        return line;
    }
    return NULL;
}

static json_t *wait_for(struct conformance_leader *leader, const char *key, uint64_t ticket, int64_t wait_ms)
{
    int64_t until = clock_mono_ms() + wait_ms, left;
    bool alive = leader->pid > 0;
    json_t *line;

    while (!(line = find(leader, key, ticket)) && alive && (left = until - clock_mono_ms()) > 0)
        alive = take_output(leader, left);
    return line;
}

json_t *conformance_leader_hear(struct conformance_leader *leader, uint64_t ticket, int64_t wait_ms)
{
    return wait_for(leader, "ticket", ticket, wait_ms);
}

/* ---- its input ---- */

uint64_t conformance_leader_ask(struct conformance_leader *leader, enum engine_op op,
                                const struct engine_request *request)
{
    struct engine_request q = *request;
    json_t *json;
    char *text;
    size_t n, at = 0;

    q.ticket = ++leader->ticket;
    json = engine_request_json(op, &q, NULL);
    text = json_dumps(json, JSON_COMPACT);
    json_decref(json);
    n = strlen(text);
    text[n++] = '\n'; /* in the place of the NUL */
    while (leader->pid > 0 && at < n) {
        ssize_t done = write(leader->in, text + at, n - at);

        if (done < 0 && errno != EINTR)
            break; /* it has died, and gives no answer */
        at += done > 0 ? (size_t)done : 0;
    }
    free(text);
    return q.ticket;
}

/* ---- its life ---- */

static _Noreturn void become_leader(const struct conformance *c, const int in[2], const int out[2],
                                    int64_t epoch)
{
    char number[24];

    snprintf(number, sizeof(number), "%lld", (long long)epoch);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(in[0], STDIN_FILENO);
    dup2(out[1], STDOUT_FILENO);
    execl("/proc/self/exe", "cronsched", "lead-engine", c->config_path, c->engine, c->folder, number,
          c->cleans ? c->tag : "", (char *)NULL);
    _exit(127);
}

int conformance_leader_start(struct conformance_leader *ret, struct conformance *c, int64_t epoch,
                             struct error *error)
{
    int in[2], out[2];
    int64_t begun_ms;
    json_t *hello;

    *ret = (struct conformance_leader){.in = -1, .out = -1, .heard = json_array()};
    text_init(&ret->rest, CONFORMANCE_LINE_MAX);
    if (pipe2(in, O_CLOEXEC) < 0)
        return error_set(error, ERR_IO, "no pipe can be made: %s", strerror(errno));
    if (pipe2(out, O_CLOEXEC) < 0) {
        close(in[0]);
        close(in[1]);
        return error_set(error, ERR_IO, "no pipe can be made: %s", strerror(errno));
    }
    begun_ms = clock_mono_ms();
    ret->pid = fork();
    if (ret->pid == 0)
        become_leader(c, in, out, epoch);
    close(in[0]);
    close(out[1]);
    ret->in = in[1];
    ret->out = out[0];
    hello = wait_for(ret, "hello", 0, CONFORMANCE_WAIT_MS);
    if (!hello)
        return error_set(error, ERR_TIMEOUT, "the engine %s does not answer", c->engine);
    c->hello_ms = clock_mono_ms() - begun_ms;
    ret->hands_over = json_is_true(json_object_get(hello, "hands_over"));
    snprintf(ret->type, sizeof(ret->type), "%s", json_string_value(json_object_get(hello, "hello")));
    snprintf(ret->version, sizeof(ret->version), "%s", json_string_value(json_object_get(hello, "version")));
    snprintf(ret->text, sizeof(ret->text), "%s", json_string_value(json_object_get(hello, "text")));
    json_decref(hello);
    return 0;
}

void conformance_leader_kill(struct conformance_leader *leader)
{
    if (leader->pid > 0) {
        kill(leader->pid, SIGKILL);
        waitpid(leader->pid, NULL, 0);
    }
    if (leader->in >= 0)
        close(leader->in);
    if (leader->out >= 0)
        close(leader->out);
    text_release(&leader->rest);
    json_decref(leader->heard);
    *leader = (struct conformance_leader){.in = -1, .out = -1};
}
