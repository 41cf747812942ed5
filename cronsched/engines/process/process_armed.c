/* Supervisors of ours that have not started: PREPARE and RELEASE.
 *
 * The happy path: read the files of the environment (file_reader.h); on the pool, build it, make and lock the folder,
 * hand socket, folder and spec to the spawner. On the loop, keep our end of the socket: "ready" answers the
 * PREPARE; "go" goes out; "started" answers the RELEASE, and the socket has served.
 *
 * Failures of PREPARE:
 *   the environment cannot be built as the job says (no such file, one that does not answer)    REFUSED
 *   "refused" from the supervisor (no such user)                      REFUSED
 *   "later": the user database does not answer                        UNREACHABLE; the engine counts as well
 *   anything else, also a supervisor that is not ready in time        UNREACHABLE; the next PREPARE finds
 *      the folder, makes sure that nothing starts from it, and makes it again
 *   the folder is there and has been started: this cannot be, names are unique; PREPARED is answered, so that
 *      the release fails, and the fence finds out
 * Failures of RELEASE:
 *   "refused": REFUSED. "gone": UNKNOWN, and the fence knows that it never ran. The socket's end, no answer in time, or no supervisor: UNKNOWN; the fence tells more.
 * A supervisor that dies between the two is not told of: the release will find that out.
 */
#include "cronsched/engines/process/process_core.h"

#include "cronsched/io/log.h"
#include "cronsched/io/run_log.h"
#include "jobs/base/alloc.h"
#include "jobs/base/fault.h"
#include "jobs/engine/environment.h"
#include "leader/worker/loop.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

enum armed_state { ARMED_PREPARING, ARMED_WAITING, ARMED_RELEASING };

struct process_armed {
    struct object object;
    struct process_engine *engine;
    struct list link;
    enum armed_state state;
    uint64_t ticket; /* of the PREPARE, then of the RELEASE */
    char name[ATTEMPT_DIR_NAME_MAX];
    int socket;
    uv_poll_t poll;
    uv_timer_t deadline;
    int handles; /* open ones */
};

/* ---- preparing, on the pool ---- */

static int resolve(void *arg, const struct job_env *variable, char **ret_value, struct error *error)
{
    const struct process_call *call = OBJECT(struct process_call, arg);
    size_t i = (size_t)(variable - call->job->environment);

    if (!call->files || !call->files[i])
        return error_set(error, ERR_UNSUPPORTED,
                         "environment: the process engine has no secrets; use from_file");
    *ret_value = alloc_text(call->files[i]);
    return 0;
}

static char **command_of(const struct job *job)
{
    char **argv = alloc_zero((job->entrypoint.count + job->command.count + 1) * sizeof(*argv));
    size_t n = 0;

    for (size_t i = 0; i < job->entrypoint.count; i++)
        argv[n++] = job->entrypoint.items[i];
    for (size_t i = 0; i < job->command.count; i++)
        argv[n++] = job->command.items[i];
    return argv;
}

static const char *text_or_empty(const char *text)
{
    return text ? text : "";
}

static int write_spec(struct process_call *call, int *ret_fd, struct error *error)
{
    static char *nothing[] = {NULL};
    const struct engine_request request = {.job = call->job,
                                           .run = call->identity.run,
                                           .attempt = call->identity.attempt,
                                           .try = call->identity.try,
                                           .epoch = call->identity.epoch,
                                           .name = call->name,
                                           .cause = call->cause,
                                           .fire_ms = call->fire_ms,
                                           .previous_fire_ms = call->previous_fire_ms,
                                           .params = call->params};
    const struct job *job = call->job;
    struct environment env;
    char log[RUN_LOG_PATH_MAX], group[ATTEMPT_GROUP_PATH_MAX] = "", mark[PROCESS_ID_MAX];
    struct supervise_spec spec = {.identity = call->identity,
                                  .working_dir = text_or_empty(job->working_dir),
                                  .log_path = log,
                                  .group = group,
                                  .mark = mark,
                                  .log_cap_bytes = job->keep_logs_bytes,
                                  .stop_grace_ms = job->stop_grace_ms,
                                  .timeout_ms = job->timeout_ms};
    int r;

    if ((r = process_engine_user(call->engine->allow, job, &spec.user, error)) < 0)
        return r;
    if ((r = run_log_path(call->engine->data_dir, request.run, request.attempt, log, sizeof(log), error)) < 0)
        return r;
    if ((r = environment_build(&env, &request, resolve, call, error)) < 0)
        return r;
    process_id(call->engine, call->name, mark);
    if (call->engine->group_base[0] &&
        snprintf(group, sizeof(group), "%s/%s", call->engine->group_base, call->name) >= (int)sizeof(group))
        group[0] = '\0';
    spec.env = env.items ? env.items : nothing;
    spec.argv = command_of(job);
    r = supervise_spec_write(&spec, ret_fd, error);
    free(spec.argv);
    environment_release(&env);
    return r;
}

/* 0; ERR_CONFLICT: something was started under this name. */
static int make_folder(struct process_call *call, int *ret, struct error *error)
{
    int root = call->engine->root, folder = -1;
    int r = attempt_dir_create(root, call->name, ret, error);

    if (r != ERR_CONFLICT)
        return r;
    r = attempt_dir_open(root, call->name, &folder, error);
    if (r == ERR_NOT_FOUND) /* swept just now */
        return error_set(error, ERR_IO, "the attempt's folder is being removed");
    if (r < 0)
        return r;
    r = attempt_dir_abolish(folder, "left over from a preparation that failed", error);
    close(folder);
    if (r == 0)
        r = attempt_dir_remove(root, call->name, error);
    return r == 0 ? attempt_dir_create(root, call->name, ret, error) : r;
}

/* Hands everything to the spawner; *ret is our end of the socket. */
static int spawn(struct process_call *call, int spec, int *ret, struct error *error)
{
    int pair[2], folder = -1, r;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
        return error_set(error, ERR_IO, "socketpair: %s", strerror(errno));
    fcntl(pair[1], F_SETFL, 0); /* the supervisor's end blocks */
    r = make_folder(call, &folder, error);
    if (r == 0) {
        FAULT_POINT("process-created", call->name);
        r = spawner_spawn(&call->engine->spawner, pair[1], folder, spec, error);
        close(folder);
        FAULT_POINT("process-spawned", call->name);
    }
    close(pair[1]);
    if (r < 0)
        close(pair[0]);
    else
        *ret = pair[0];
    return r;
}

static void prepare_run(struct process_call *call)
{
    int spec = -1;

    FAULT_POINT("process-prepare", call->name);
    call->event = ENGINE_PREPARED;
    call->renewed = attempt_dir_root_look(call->engine->data_dir, call->engine->root, call->engine->host_id,
                                          &call->error);
    if (call->renewed > 0 && call->engine->replica)
        call->renewed = attempt_dir_own(call->engine->root, call->engine->replica, call->identity.cluster,
                                        &call->error) < 0
                            ? ERR_IO
                            : 1;
    if (call->renewed < 0) {
        call->event = ENGINE_UNREACHABLE;
        return;
    }
    call->result = process_engine_check(call->job, &call->error);
    if (call->result == 0)
        call->result = variable_files_check(call->job, &call->engine->limits, &call->error);
    if (call->result == 0)
        call->result = write_spec(call, &spec, &call->error);
    if (call->result < 0) {
        bool again = call->result == ERR_IO || call->result == ERR_NOMEM;

        call->event = again ? ENGINE_UNREACHABLE : ENGINE_REFUSED;
        return;
    }
    call->result = spawn(call, spec, &call->fd, &call->error);
    if (call->result < 0 && call->result != ERR_CONFLICT)
        call->event = ENGINE_UNREACHABLE;
    close(spec);
}

/* ---- the socket, on the loop ---- */

static void on_handle_closed(uv_handle_t *handle)
{
    struct process_armed *a = OBJECT(struct process_armed, handle->data);
    struct process_engine *e = a->engine;

    if (--a->handles > 0)
        return;
    close(a->socket);
    OBJECT_FREE(struct process_armed, a);
    process_released(e);
}

/* The supervisor sees the socket's end when the handles are closed, a turn later. */
void process_armed_drop(struct process_armed *a)
{
    if (!a)
        return;
    if (a->state == ARMED_PREPARING)
        a->engine->preparing--;
    list_remove(&a->link);
    uv_close((uv_handle_t *)&a->poll, on_handle_closed);
    uv_close((uv_handle_t *)&a->deadline, on_handle_closed);
}

void process_armed_drop_all(struct process_engine *e)
{
    while (!list_empty(&e->armed))
        process_armed_drop(LIST_ITEM(e->armed.next, struct process_armed, link));
}

struct process_armed *process_armed_find(struct process_engine *e, const char *name)
{
    LIST_EACH(link, &e->armed)
    {
        struct process_armed *a = LIST_ITEM(link, struct process_armed, link);

        if (strcmp(a->name, name) == 0)
            return a;
    }
    return NULL;
}

bool process_armed_waits(const struct process_armed *a)
{
    return a->state == ARMED_WAITING;
}

static void prepared(struct process_engine *e, uint64_t ticket, const char *name)
{
    char id[PROCESS_ID_MAX];
    struct engine_answer answer = {
        .ticket = ticket, .event = ENGINE_PREPARED, .id = id, .boot_id = e->boot_id, .identity = e->identity};

    process_id(e, name, id);
    FAULT_POINT("process-prepared", name);
    process_answer(e, &answer);
    FAULT_POINT("process-answered", "prepare");
}

static void set_ill(struct process_engine *e, const char *fault)
{
    e->ill = fault != NULL;
    snprintf(e->fault, sizeof(e->fault), "%.199s", fault ? fault : "");
}

/* The last word: drops the supervisor's end and answers what was asked, if anything was. ill: no supervisor can be
 * made just now, whatever the job. */
static void conclude(struct process_armed *a, enum engine_event event, int exit_code, int64_t at_ms,
                     const char *text, bool ill)
{
    struct process_engine *e = a->engine;
    struct engine_answer answer = {.ticket = a->ticket,
                                   .event = event,
                                   .started_ms = at_ms,
                                   .exit_code = exit_code,
                                   .text = text && *text ? text : NULL};
    bool asked = a->state != ARMED_WAITING;

    if (ill)
        set_ill(e, text);
    FAULT_POINT("process-concluded", a->name);
    process_armed_drop(a);
    if (asked)
        process_answer(e, &answer);
    FAULT_POINT("process-answered", "release");
    process_pump(e);
}

static void on_end(struct process_armed *a, const char *why)
{
    bool preparing = a->state == ARMED_PREPARING;

    conclude(a, preparing ? ENGINE_UNREACHABLE : ENGINE_UNKNOWN, -1, 0, why, preparing);
}

/* The scheduler comes again without a word. */
static void tell_later(const char *name, const char *why)
{
    log_event(LOG_WARN, "prepare-later", LOG_TEXT("attempt", name), LOG_TEXT("text", why));
}

/* Nothing may follow: the answer may have done away with it. */
static void on_message(struct process_armed *a, const char *text)
{
    struct process_engine *e = a->engine;
    char *rest;

    if (strcmp(text, "ready") == 0 && a->state == ARMED_PREPARING) {
        a->state = ARMED_WAITING;
        e->preparing--;
        uv_timer_stop(&a->deadline);
        set_ill(e, NULL);
        prepared(e, a->ticket, a->name);
        process_pump(e);
    } else if (strncmp(text, "started ", 8) == 0 && a->state == ARMED_RELEASING) {
        conclude(a, ENGINE_STARTED, -1, strtoll(text + 8, NULL, 10), NULL, false);
    } else if (strncmp(text, "refused ", 8) == 0 && a->state != ARMED_WAITING) {
        int exit_code = (int)strtol(text + 8, &rest, 10);

        conclude(a, ENGINE_REFUSED, exit_code, 0, rest + (*rest == ' '), false);
    } else if (strcmp(text, "gone") == 0 && a->state == ARMED_RELEASING) {
        process_gone_remember(e, a->name);
        conclude(a, ENGINE_UNKNOWN, -1, 0, "its folder was gone when it was to start", false);
    } else if (strncmp(text, "later ", 6) == 0 && a->state == ARMED_PREPARING) {
        tell_later(a->name, text + 6);
        conclude(a, ENGINE_UNREACHABLE, -1, 0, text + 6, false);
    } else {
        on_end(a, strncmp(text, "failed ", 7) == 0 ? text + 7 : "the supervisor sent an invalid message");
    }
}

/* One message for each event; libuv comes back while there is more. */
static void on_socket(uv_poll_t *poll, int status, int events)
{
    struct process_armed *a = OBJECT(struct process_armed, poll->data);
    char text[SUPERVISE_MESSAGE_MAX + 1];
    ssize_t n = recv(a->socket, text, sizeof(text) - 1, MSG_DONTWAIT);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        on_end(a, "the supervisor ended without an answer");
        return;
    }
    text[n] = '\0';
    on_message(a, text);
}

static void on_deadline(uv_timer_t *timer)
{
    on_end(OBJECT(struct process_armed, timer->data), "the supervisor did not answer in time");
}

static void armed_new(struct process_call *call)
{
    struct process_engine *e = call->engine;
    struct process_armed *a = OBJECT_NEW(struct process_armed);

    a->engine = e;
    a->ticket = call->ticket;
    memcpy(a->name, call->name, sizeof(a->name));
    a->socket = call->fd;
    call->fd = -1;
    a->poll.data = a->deadline.data = a;
    a->handles = 2;
    process_held(e);
    uv_poll_init(e->loop, &a->poll, a->socket);
    uv_timer_init(e->loop, &a->deadline);
    list_append(&e->armed, &a->link);
    uv_poll_start(&a->poll, UV_READABLE, on_socket);
    loop_timer_start(&a->deadline, on_deadline, PROCESS_ANSWER_MS, 0);
}

static void prepare_done(struct process_call *call)
{
    struct process_engine *e = call->engine;

    if (call->renewed > 0)
        log_event(LOG_ERROR, "attempts-removed", LOG_TEXT("engine", e->name),
                  LOG_TEXT("text",
                           "the folder 'attempts' of data_dir was removed or replaced while the server "
                           "runs; it is made anew, and how its attempts end is not known any more"));
    if (call->fd >= 0) { /* still `preparing` */
        armed_new(call);
        return;
    }
    e->preparing--;
    if (call->event == ENGINE_PREPARED) {
        prepared(e, call->ticket, call->name);
        return;
    }
    if (call->event == ENGINE_UNREACHABLE)
        set_ill(e, call->error.text);
    process_answer_text(e, call->ticket, call->event, -1, call->error.text);
}

const struct process_call_ops process_prepare_ops = {prepare_run, prepare_done, .prepares = true};

/* ---- files of the environment ---- */

static void refuse(struct process_call *call, enum engine_event event, const char *text)
{
    process_answer_text(call->engine, call->ticket, event, -1, text);
    process_call_free(call);
}

static void on_variables_read(void *arg, char **values, size_t count, const struct error *error)
{
    struct process_call *call = OBJECT(struct process_call, arg);

    call->files = values;
    if (call->generation != call->engine->generation) {
        process_call_free(call);
        return;
    }
    if (!error) {
        process_call_queue(call);
        return;
    }
    if (environment_file_later(error->code))
        tell_later(call->name, error->text);
    refuse(call, environment_file_later(error->code) ? ENGINE_UNREACHABLE : ENGINE_REFUSED, error->text);
}

void process_prepare(struct process_call *call)
{
    struct process_engine *e = call->engine;

    if (!variable_files_read(e->reader, call->job, &e->limits, on_variables_read, call))
        process_call_queue(call);
}

bool process_armed_release(struct process_armed *a, uint64_t ticket)
{
    if (a->state != ARMED_WAITING || send(a->socket, "go", 2, MSG_NOSIGNAL | MSG_DONTWAIT) != 2)
        return false;
    a->state = ARMED_RELEASING;
    a->ticket = ticket;
    loop_timer_start(&a->deadline, on_deadline, PROCESS_ANSWER_MS, 0);
    return true;
}
