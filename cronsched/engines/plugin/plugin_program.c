/* The program of a plugin engine: started, spoken to, and killed.
 *
 * The happy path: uv_spawn, in a session of its own -> welcome -> hello -> requests and answers, and a ping now and then.
 * Whatever is not as it should be ends in plugin_program_fail: SIGKILL to the whole session, so that no request is left in a
 * pipe that somebody might still read, then another one after a while.
 */
#include "cronsched/engines/plugin/plugin_core.h"

#include "cronsched/io/log.h"
#include "jobs/base/alloc.h"
#include "leader/worker/loop.h"

#include <assert.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct plugin_program {
    struct object object;  /* first */
    struct plugin *plugin; /* held; NULL: it is not this one any more */
    struct tasks *tasks;
    uv_process_t process;
    uv_pipe_t in, out, err;
    int handles;
    struct lines lines, errors;
    char piece[16 * 1024];
};

struct message {
    uv_write_t write;
    char *text;
};

/* ---- its end ---- */

static void on_closed(uv_handle_t *handle)
{
    struct plugin_program *x = OBJECT(struct plugin_program, handle->data);
    struct tasks *tasks = x->tasks;

    if (--x->handles > 0)
        return;
    lines_release(&x->lines);
    lines_release(&x->errors);
    OBJECT_FREE(struct plugin_program, x);
    tasks_release(tasks);
}

/* Its process stays a handle until it is reaped. */
static void leave(struct plugin_program *x)
{
    uv_pipe_t *const pipes[] = {&x->in, &x->out, &x->err};

    x->plugin = NULL;
    if (uv_process_get_pid(&x->process) > 0)
        kill(-uv_process_get_pid(&x->process), SIGKILL);
    for (size_t i = 0; i < sizeof(pipes) / sizeof(pipes[0]); i++)
        uv_close((uv_handle_t *)pipes[i], on_closed);
}

void plugin_program_kill(struct plugin *p)
{
    struct plugin_program *x = p->program;

    p->program = NULL;
    p->greeted = false;
    if (x)
        leave(x);
}

static void on_start(uv_timer_t *timer)
{
    plugin_program_start(OBJECT(struct plugin, timer->data));
}

void plugin_program_fail(struct plugin *p, const char *format, ...)
{
    int64_t wait = PLUGIN_RETRY_MS;
    va_list ap;

    va_start(ap, format);
    vsnprintf(p->why, sizeof(p->why), format, ap);
    va_end(ap);
    plugin_program_kill(p);
    if ((int64_t)uv_now(p->loop) - p->started_ms > PLUGIN_STEADY_MS)
        p->failures = 0;
    for (int i = 0; i < p->failures && wait < PLUGIN_RETRY_MAX; i++)
        wait *= 2;
    p->failures++;
    log_event(LOG_WARN, "plugin-failed", LOG_TEXT("engine", p->name), LOG_TEXT("text", p->why));
    if (p->tasks.closing)
        return;
    loop_timer_start(&p->start_timer, on_start, (uint64_t)(wait < PLUGIN_RETRY_MAX ? wait : PLUGIN_RETRY_MAX),
                     0);
    plugin_requests_cut(p);
    plugin_watches_down(p);
    tasks_pump_soon(&p->tasks);
}

static void on_ended(uv_process_t *process, int64_t status, int signal)
{
    struct plugin_program *x = OBJECT(struct plugin_program, process->data);
    struct plugin *p = x->plugin;

    kill(-uv_process_get_pid(process), SIGKILL); /* whatever it has left in its session */
    uv_close((uv_handle_t *)process, on_closed);
    if (!p)
        return;
    if (signal)
        plugin_program_fail(p, "the program ended by signal %d", signal);
    else
        plugin_program_fail(p, "the program ended with exit code %d", (int)status);
}

/* ---- what it writes ---- */

static void on_room(uv_handle_t *handle, size_t wanted, uv_buf_t *ret)
{
    struct plugin_program *x = OBJECT(struct plugin_program, handle->data);

    *ret = uv_buf_init(x->piece, sizeof(x->piece));
}

static void on_line(void *arg, const char *line, size_t size)
{
    struct plugin_program *x = OBJECT(struct plugin_program, arg);
    char buffer[PLUGIN_TEXT_MAX];
    const char *wrong;

    if (!x->plugin) /* what it has written before it was killed */
        return;
    wrong = plugin_message_take(x->plugin, line, size, buffer, sizeof(buffer));
    if (wrong && x->plugin)
        plugin_program_fail(x->plugin, "%s", wrong);
}

static void on_output_closed(uv_timer_t *timer)
{
    struct plugin *p = OBJECT(struct plugin, timer->data);

    if (p->program)
        plugin_program_fail(p, "the program has closed its output");
}

static void on_out(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct plugin_program *x = OBJECT(struct plugin_program, stream->data);

    if (n < 0)
        uv_read_stop(stream);
    if (n < 0 && x->plugin) /* most often it is about to end, and its exit code says more */
        loop_timer_start(&x->plugin->start_timer, on_output_closed, PLUGIN_EXIT_MS, 0);
    else if (n > 0 && !lines_feed(&x->lines, buf->base, (size_t)n) && x->plugin)
        plugin_program_fail(x->plugin, "the program wrote a line of more than %d bytes", PLUGIN_LINE_MAX);
}

static void on_error_line(void *arg, const char *line, size_t size)
{
    struct plugin_program *x = OBJECT(struct plugin_program, arg);

    if (x->plugin)
        log_event(LOG_NOTE, "plugin-says", LOG_TEXT("engine", x->plugin->name), LOG_TEXT("text", line));
}

static void on_err(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct plugin_program *x = OBJECT(struct plugin_program, stream->data);

    if (n > 0)
        lines_feed(&x->errors, buf->base, (size_t)n);
    else if (n < 0)
        uv_read_stop(stream);
}

/* ---- what it is told ---- */

static void on_written(uv_write_t *write, int status)
{
    struct message *m = write->data;

    explicit_bzero(m->text, strlen(m->text)); /* an environment may be in it */
    free(m->text);
    free(m);
}

bool plugin_program_send(struct plugin *p, json_t *message)
{
    struct plugin_program *x = p->program;
    char *text = message ? json_dumps(message, JSON_COMPACT) : NULL;
    struct message *m;
    uv_buf_t bufs[2];

    json_decref(message);
    if (!x || !text) {
        free(text);
        return false;
    }
    if (uv_stream_get_write_queue_size((uv_stream_t *)&x->in) > PLUGIN_UNREAD_MAX) {
        free(text);
        plugin_program_fail(p, "the program does not read what it is asked");
        return false;
    }
    m = alloc_zero(sizeof(*m));
    m->text = text;
    m->write.data = m;
    bufs[0] = uv_buf_init(text, (unsigned)strlen(text));
    bufs[1] = uv_buf_init((char *)(uintptr_t) "\n", 1);
    if (uv_write(&m->write, (uv_stream_t *)&x->in, bufs, 2, on_written) < 0) {
        on_written(&m->write, 0);
        plugin_program_fail(p, "the program has closed its input");
        return false;
    }
    return true;
}

/* ---- its start ---- */

static void init_handles(struct plugin *p, struct plugin_program *x)
{
    uv_pipe_t *const pipes[] = {&x->in, &x->out, &x->err};

    for (size_t i = 0; i < sizeof(pipes) / sizeof(pipes[0]); i++) {
        uv_pipe_init(p->loop, pipes[i], 0);
        pipes[i]->data = x;
        x->handles++;
    }
    x->process.data = x;
    x->handles++;
    x->lines = (struct lines){.max = PLUGIN_LINE_MAX, .line = on_line, .arg = x};
    x->errors = (struct lines){.max = PLUGIN_STDERR_MAX, .line = on_error_line, .arg = x};
}

void plugin_program_start(struct plugin *p)
{
    struct plugin_program *x = OBJECT_NEW(struct plugin_program);
    uv_stdio_container_t stdio[3] = {
        {.flags = UV_CREATE_PIPE | UV_READABLE_PIPE, .data.stream = (uv_stream_t *)&x->in},
        {.flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE, .data.stream = (uv_stream_t *)&x->out},
        {.flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE, .data.stream = (uv_stream_t *)&x->err}};
    uv_process_options_t options = {.file = p->command[0],
                                    .args = p->command,
                                    .flags = UV_PROCESS_DETACHED,
                                    .stdio = stdio,
                                    .stdio_count = 3,
                                    .exit_cb = on_ended};
    int r;

    assert(!p->program);
    x->plugin = p;
    x->tasks = &p->tasks;
    tasks_hold(x->tasks);
    init_handles(p, x);
    p->program = x;
    p->started_ms = p->pinged_ms = p->ponged_ms = (int64_t)uv_now(p->loop);
    p->epoch = -1;
    r = uv_spawn(p->loop, &x->process, &options);
    if (r < 0) {
        uv_close((uv_handle_t *)&x->process, on_closed);
        x->process.data = x;
        plugin_program_fail(p, "%.100s cannot be started: %s", p->command[0], uv_strerror(r));
        return;
    }
    uv_read_start((uv_stream_t *)&x->out, on_room, on_out);
    uv_read_start((uv_stream_t *)&x->err, on_room, on_err);
    plugin_program_send(
        p, json_pack("{s:i,s:s,s:s}", "welcome", 1, "cluster", p->host->cluster(p->host), "name", p->name));
}
