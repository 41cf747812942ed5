/* watch: what happens, as it happens.
 *
 * Happy path: one stream of /v1/events, a line of JSON each. When it is cut, or no server answers, it is asked for again, behind
 * the last event that was printed, at any server of the cluster; so each event is printed once. When events are missing the server
 * says so, and it is said on stderr.
 */
#include "cronsched/cli/cli_context.h"
#include "cronsched/cli/human_time.h"
#include "jobs/base/object.h"
#include "jobs/base/printable.h"
#include "jobs/time/instant.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define LINE_BYTES_MAX (256 * 1024)
#define PAUSE_S        1
#define PATIENCE       60 /* tries in a row without an answer, once there was one */

struct watch {
    struct object object; /* first */
    struct cli_context *s;
    struct text line;
    char last[128]; /* id of the last event; "": none */
    long left;      /* events that are to be printed */
    bool greeted;   /* a server has said hello, once */
};

static void print_time(int64_t now_ms)
{
    char text[TEXT_NUMBER_BUFFER];

    verb_print(stdout, "%s  ", human_time_local(now_ms, text, sizeof(text)));
}

static void print_event(const char *event, const json_t *data)
{
    const char *verdict = cli_text_at(data, "verdict"), *state = cli_text_at(data, "state");

    print_time(output_now_ms());
    if (strcmp(event, "run") == 0)
        verb_print(stdout, "%s  %s\n", cli_text_at(data, "run"), verdict[0] ? verdict : state);
    else if (strcmp(event, "job") == 0)
        verb_print(stdout, "%s  %s\n", json_object_get(data, "job") ? cli_text_at(data, "job") : "all jobs",
                   cli_text_at(data, "kind"));
    else
        verb_print(stdout, "%s\n", cli_text_at(data, "kind"));
}

/* False: it was the last one that is wanted. */
static bool take_line(struct watch *w, const char *line)
{
    json_t *event = json_loads(line, 0, NULL);
    const char *kind = cli_text_at(event, "event");
    bool shown = kind[0] && strcmp(kind, "hello") != 0 && strcmp(kind, "reset") != 0;

    if (event && printable_value(&event) < 0)
        shown = false;
    kind = cli_text_at(event, "event");
    snprintf(w->last, sizeof(w->last), "%s", cli_text_at(event, "id"));
    if (strcmp(kind, "reset") == 0)
        verb_print(stderr, "cronsched: some events are missing here\n");
    w->greeted = w->greeted || strcmp(kind, "hello") == 0;
    if (shown && w->s->out.format == OUTPUT_TABLE)
        print_event(kind, json_object_get(event, "data"));
    if (shown && w->s->out.format != OUTPUT_TABLE) {
        output_json(stdout, event, JSON_COMPACT);
        verb_print(stdout, "\n");
    }
    if (shown) {
        fflush(stdout);
        w->left--;
    }
    json_decref(event);
    return w->left > 0;
}

static bool take(void *arg, const char *bytes, size_t n)
{
    struct watch *w = OBJECT(struct watch, arg);

    for (size_t i = 0; i < n; i++) {
        if (bytes[i] != '\n') {
            text_add_char(&w->line, bytes[i]);
            continue;
        }
        if (w->line.len && !w->line.failed && !take_line(w, text_str(&w->line)))
            return false;
        text_clear(&w->line);
    }
    return true;
}

static int follow(struct watch *w)
{
    const struct verb_call *call = w->s->call;
    struct error error;

    for (int tries = 0; tries < PATIENCE; tries++) {
        bool any = false;
        int r;

        cli_path(w->s, "/v1/events");
        cli_query(w->s, "job", call->args[0]);
        cli_query(w->s, "kinds", verb_option(call, "kinds"));
        cli_query(w->s, "after", w->last[0] ? w->last : NULL);
        r = client_stream(&w->s->client, text_str(&w->s->path), take, w, &any, &error);
        text_clear(&w->line);
        if (w->left <= 0)
            return EXIT_FINE;
        if (r < 0 && !w->greeted)
            return verb_fail(&error);
        if (r == ERR_INVALID || r == ERR_DENIED)
            return verb_fail(&error);
        tries = any ? 0 : tries;
        nanosleep(&(struct timespec){.tv_sec = PAUSE_S}, NULL);
    }
    return verb_fail(&error);
}

static int run_watch(const struct verb_call *call)
{
    struct watch w = {.object = OBJECT_MARK(struct watch), .left = LONG_MAX};
    struct cli_context s;
    struct error error;
    int code = cli_open(&s, call);

    w.s = &s;
    text_init(&w.line, LINE_BYTES_MAX);
    if (code == EXIT_FINE && verb_option_int(call, "count", 1, LONG_MAX, &w.left, &error) < 0)
        code = verb_usage(call, "%s", error.text);
    if (code == EXIT_FINE)
        code = follow(&w);
    text_release(&w.line);
    return cli_close(&s, code);
}

static const struct verb_option options[] = {
    {"kinds", 0, "LIST", "run, job, cluster, with commas; default: all"},
    {"count", 'n', "N", "end after N events"},
    {0}};

const struct verb verb_watch = {
    .name = "watch",
    .args = "[JOB]",
    .help = "print what happens, as it happens",
    .text = "Runs that change their state or end, fire times that are skipped, jobs that are changed, paused "
            "and resumed, "
            "new leaders. It goes on when a server stops, at another one of the cluster. -o json prints a "
            "line for each.",
    .group = VERB_GROUP_RUNS,
    .shared = VERB_SERVER | VERB_OUTPUT,
    .options = options,
    .run = run_watch,
};
