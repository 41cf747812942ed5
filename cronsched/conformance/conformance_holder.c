/* A leader of the drill: an engine, the loop, and two pipes. stdin: requests, a line each; its end is the end. stdout: a hello,
 * what the engine is, then answers. */
#include "cronsched/conformance/conformance.h"

#include "cronsched/io/json_text.h"
#include "cronsched/server/make_engine.h"
#include "jobs/base/alloc.h"
#include "jobs/base/clock.h"
#include "jobs/base/object.h"
#include "jobs/engine/engine_json.h"
#include "leader/worker/loop.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TELL_MS  100
#define CLEAN_MS 1000 /* after its end an attempt is removed, and looked for as often */

struct holder {
    struct object object; /* first */
    struct engine_host host;
    struct engine *engine;
    uv_loop_t loop;
    uv_pipe_t in;
    uv_timer_t tell;
    struct text line;
    bool told; /* that the engine answers */
    int64_t epoch;
    const char *clean; /* the tag of a drill, as in its runs; NULL: nothing is removed */
    char piece[64 * 1024];
};

static void say(json_t *line)
{
    char *text = json_dumps(line, JSON_COMPACT);

    json_decref(line);
    if (!text)
        return;
    puts(text);
    fflush(stdout);
    free(text);
}

/* ---- the host ---- */

static void host_answer(struct engine_host *host, const struct engine_answer *answer)
{
    say(engine_answer_json(answer));
}

static bool host_keep(struct engine_host *host, const char *run, int attempt, int64_t epoch, const char *id)
{
    const struct holder *h = OBJECT_OF(struct holder, host, host);

    return !h->clean || !strstr(run, h->clean); /* what others have there stays in any case */
}

static int64_t host_now_ms(struct engine_host *host)
{
    return clock_wall_ms();
}

static int64_t host_epoch(struct engine_host *host)
{
    return OBJECT_OF(struct holder, host, host)->epoch;
}

static const char *host_cluster(struct engine_host *host)
{
    return CONFORMANCE_CLUSTER;
}

static void host_back(struct engine_host *host, const struct engine *engine)
{
}

/* ---- the pipes ---- */

static void on_line(struct holder *h, const char *text, size_t size)
{
    struct engine_request request;
    enum engine_op op;
    struct error error;
    json_t *json;

    if (json_text_object(text, size, "request", &json, &error) < 0) {
        fprintf(stderr, "%s\n", error.text);
        return;
    }
    if (engine_request_read(json, &op, &request, &error) == 0) {
        h->engine->ops->submit(h->engine, op, &request);
        engine_request_release(&request);
    } else {
        fprintf(stderr, "%s\n", error.text);
    }
    json_decref(json);
}

static void on_room(uv_handle_t *handle, size_t wanted, uv_buf_t *ret)
{
    struct holder *h = OBJECT(struct holder, handle->data);

    *ret = uv_buf_init(h->piece, sizeof(h->piece));
}

static void on_bytes(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct holder *h = OBJECT(struct holder, stream->data);

    if (n < 0)
        _exit(0); /* as a leader that is killed: whatever is under way stays as it is */
    for (ssize_t i = 0; i < n; i++) {
        if (buf->base[i] != '\n') {
            text_add_char(&h->line, buf->base[i]);
            continue;
        }
        on_line(h, text_str(&h->line), strlen(text_str(&h->line)));
        text_clear(&h->line);
    }
}

static void on_tell(uv_timer_t *timer)
{
    struct holder *h = OBJECT(struct holder, timer->data);
    struct engine_status status = {0};

    h->engine->ops->status(h->engine, &status);
    if (!status.reachable)
        return;
    say(json_pack("{s:s,s:b,s:s,s:s,s:s}", "hello", h->engine->type, "hands_over", h->engine->hands_over,
                  "version", status.version, "text", status.text, "identity", status.identity));
    uv_timer_stop(timer);
}

static const struct config_engine *engine_of(const struct config *config, const char *name)
{
    for (size_t i = 0; i < config->engine_count; i++)
        if (strcmp(config->engines[i].name, name) == 0)
            return &config->engines[i];
    return NULL;
}

int conformance_hold(const struct conformance_hold *o)
{
    struct holder *h = OBJECT_NEW(struct holder);
    struct config config = {0};
    struct error error;
    int code = config_load_file(&config, o->config);

    if (code != EXIT_FINE)
        return code;
    alloc_replace(&config.data_dir, o->data_dir);
    h->epoch = o->epoch;
    h->clean = o->clean;
    h->host = (struct engine_host){.answer = host_answer,
                                   .keep = host_keep,
                                   .now_ms = host_now_ms,
                                   .epoch = host_epoch,
                                   .cluster = host_cluster,
                                   .back = host_back};
    text_init(&h->line, CONFORMANCE_LINE_MAX);
    uv_loop_init(&h->loop);
    if (make_engine(&h->engine,
                    &(struct make_engine){.loop = &h->loop,
                                          .config = &config,
                                          .host = &h->host,
                                          .retention_ms = o->clean ? CLEAN_MS : 0},
                    engine_of(&config, o->engine), &error) < 0) {
        fprintf(stderr, "%s\n", error.text);
        return EXIT_INTERNAL;
    }
    uv_pipe_init(&h->loop, &h->in, 0);
    uv_timer_init(&h->loop, &h->tell);
    h->in.data = h->tell.data = h;
    uv_pipe_open(&h->in, STDIN_FILENO);
    uv_read_start((uv_stream_t *)&h->in, on_room, on_bytes);
    loop_timer_start(&h->tell, on_tell, TELL_MS, TELL_MS);
    uv_run(&h->loop, UV_RUN_DEFAULT);
    return EXIT_FINE;
}
