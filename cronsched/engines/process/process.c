/* The process engine's table: requests in, work on the pool, answers out. See process.h.
 *
 * The happy path of an attempt:
 *   PREPARE  process_armed.c: files of the environment are read; on the pool a folder is made and the spawner asked; the supervisor says "ready"
 *            on its socket: PREPARED
 *   RELEASE  "go" on that socket, at once; the supervisor says "started": STARTED
 *   WATCH    process_watch.c: a pidfd on the supervisor, wherever it came from; then the folder is read:
 *            ENDED
 *   sweep    process_sweep.c: the folder goes after retention
 *
 * Failures are told where they happen. Two rules hold for all of them. What a folder says decides, never what
 * this process remembers: FENCE and WATCH work the same after a restart. And whatever is wrong with reading
 * or writing is UNREACHABLE: only a mark that is on disk, or a lock that is free, proves anything.
 */
#include "cronsched/engines/process/process_core.h"

#include "jobs/base/alloc.h"
#include "jobs/base/fault.h"
#include "leader/worker/loop.h"

#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

static struct process_engine *of(const struct engine *engine)
{
    return OBJECT_OF(struct process_engine, engine, engine);
}

const char *process_engine_host(const struct engine *engine)
{
    return of(engine)->host_id;
}

/* ---- FENCE, STOP, DISCARD ---- */

/* NOT_FOUND: no folder, or none of its files. CONFLICT: it was started, and `status` says how that went. 0: never. */
static void fence_run(struct process_call *call)
{
    int root = call->engine->root, folder = -1;

    FAULT_POINT("process-fence", call->name);
    call->result = attempt_dir_open(root, call->name, &folder, &call->error);
    if (call->result == ERR_NOT_FOUND && call->may_have_run && process_gone_runs(call, false))
        call->result = ERR_CONFLICT;
    if (folder < 0)
        return;
    if (call->may_have_run && attempt_dir_is_emptied(folder)) {
        bool alive = attempt_dir_read(folder, &call->status, NULL) == 0 && call->status.alive;

        close(folder);
        call->result = process_gone_runs(call, alive) ? ERR_CONFLICT : ERR_NOT_FOUND;
        return;
    }
    call->result = attempt_dir_abolish(folder, "fenced: no start was found, and none is possible any more",
                                       &call->error);
    if (call->result == ERR_CONFLICT && attempt_dir_read(folder, &call->status, &call->error) < 0)
        call->result = ERR_IO;
    close(folder);
}

static void fence_done(struct process_call *call)
{
    struct process_engine *e = call->engine;

    FAULT_POINT("process-fenced", call->name);
    if (call->result == 0 || call->result == ERR_CONFLICT)
        process_armed_drop(process_armed_find(e, call->name));
    if (call->result == 0)
        process_answer_text(e, call->ticket, ENGINE_NEVER_RAN, -1,
                            "its mark says so: fenced before any start, and synced");
    else if (call->result == ERR_CONFLICT)
        process_answer_status(e, call->ticket, &call->status);
    else if (call->result != ERR_NOT_FOUND)
        process_answer_text(e, call->ticket, ENGINE_UNREACHABLE, -1, call->error.text);
    else if (process_gone_never_ran(e, call->name))
        process_answer_text(e, call->ticket, ENGINE_NEVER_RAN, -1,
                            "its folder was gone when it was to start, and its supervisor executed nothing");
    else if (call->may_have_run)
        process_answer_text(
            e, call->ticket, ENGINE_UNKNOWN, -1,
            "its folder is gone, or the files in it, and with them what happened after the release");
    else
        process_answer_text(e, call->ticket, ENGINE_NEVER_RAN, -1,
                            "it was never released, and without its folder it cannot start");
}

/* The supervisor stops the command and watches over stop_grace. Where it is gone and something of the work is not,
 * there is nobody to do so: the work is killed. */
static void stop_run(struct process_call *call)
{
    int folder = -1;

    call->result = attempt_dir_open(call->engine->root, call->name, &folder, &call->error);
    if (call->result == ERR_NOT_FOUND)
        process_gone_kill(call);
    if (call->result < 0)
        return;
    call->result = attempt_dir_read(folder, &call->status, &call->error);
    if (call->result == 0 && attempt_dir_is_emptied(folder))
        process_gone_kill(call);
    else if (call->result == 0 && call->status.orphaned)
        attempt_dir_kill_work(folder, &call->status);
    else if (call->result == 0 && call->status.state == ATTEMPT_DIR_RUNNING) {
        attempt_dir_signal(&call->status.supervisor, SIGTERM);
        attempt_dir_signal(&call->status.supervisor, SIGCONT); /* the command may have stopped it */
    }
    close(folder);
    FAULT_POINT("process-stopped", call->name);
}

static void discard_run(struct process_call *call)
{
    int root = call->engine->root, folder = -1;

    FAULT_POINT("process-discard", call->name);
    call->result = attempt_dir_open(root, call->name, &folder, &call->error);
    if (call->result < 0)
        return;
    call->result = attempt_dir_abolish(folder, "discarded: revoked before it was released", &call->error);
    close(folder);
    FAULT_POINT("process-discard-fenced", call->name);
    if (call->result == 0)
        call->result = attempt_dir_remove(root, call->name, &call->error);
}

/* A DISCARD that finds a start leaves it alone; WATCH and the sweep have to do with it. */
static void simple_done(struct process_call *call)
{
    bool fine = call->result == 0 || call->result == ERR_NOT_FOUND || call->result == ERR_CONFLICT;

    if (fine)
        process_answer_text(call->engine, call->ticket, ENGINE_DONE, -1, NULL);
    else
        process_answer_text(call->engine, call->ticket, ENGINE_UNREACHABLE, -1, call->error.text);
}

/* ---- submit ---- */

static void submit_prepare(struct process_engine *e, const struct engine_request *r)
{
    struct process_armed *armed = process_armed_find(e, r->name);
    struct process_call *call;

    if (armed && process_armed_waits(armed)) {
        process_answer_later(e, r->ticket, ENGINE_PREPARED, r->name, NULL);
        return;
    }
    process_armed_drop(armed);
    call = process_call_new(e, &process_prepare_ops, r->ticket, r->name);
    snprintf(call->identity.cluster, sizeof(call->identity.cluster), "%s", e->host->cluster(e->host));
    snprintf(call->identity.run, sizeof(call->identity.run), "%s", r->run);
    call->identity.attempt = r->attempt;
    call->identity.try = r->try;
    call->identity.epoch = r->epoch;
    call->job = job_ref((struct job *)(void *)r->job);
    call->params = json_incref((json_t *)(void *)r->params);
    call->cause = alloc_text(r->cause);
    call->fire_ms = r->fire_ms;
    call->previous_fire_ms = r->previous_fire_ms;
    process_prepare(call);
}

static void submit_release(struct process_engine *e, const struct engine_request *r, const char *name)
{
    struct process_armed *armed = process_armed_find(e, name);

    FAULT_POINT("process-release", name);
    if (!armed || !process_armed_release(armed, r->ticket))
        process_answer_later(e, r->ticket, ENGINE_UNKNOWN, name, "its supervisor is not there any more");
    FAULT_POINT("process-sent", name);
}

static void submit_work(struct process_engine *e, enum engine_op op, const struct engine_request *r,
                        const char *name, const char *host)
{
    static const struct process_call_ops table[] = {
        [ENGINE_FENCE] = {fence_run, fence_done},
        [ENGINE_STOP] = {stop_run, simple_done},
        [ENGINE_DISCARD] = {discard_run, simple_done},
    };
    struct process_call *call;

    if (op == ENGINE_DISCARD)
        process_armed_drop(process_armed_find(e, name));
    call = process_call_new(e, &table[op], r->ticket, name);
    call->may_have_run = r->may_have_run;
    snprintf(call->host, sizeof(call->host), "%s", host);
    process_call_queue(call);
}

/* 0; ERR_INVALID: no id of this engine; ERR_NOT_FOUND: of another data folder. */
static int parse_id(const struct process_engine *e, const char *id, char ret_name[ATTEMPT_DIR_NAME_MAX])
{
    const char *at = id ? strrchr(id, '@') : NULL;
    char name[ATTEMPT_DIR_NAME_MAX];

    if (!at || (size_t)(at - id) >= sizeof(name))
        return ERR_INVALID;
    memcpy(name, id, (size_t)(at - id));
    name[at - id] = '\0';
    if (!attempt_dir_name_valid(name))
        return ERR_INVALID;
    memcpy(ret_name, name, sizeof(name));
    return strcmp(at + 1, e->host_id) == 0 ? 0 : ERR_NOT_FOUND;
}

/* Of a server on its own nobody else has the folder of another number: it was lost with what was in it, when it was
 * prepared on this machine. */
static bool is_of_a_lost_folder(const struct process_engine *e, const char *host, const char *identity)
{
    const char *machine = strchr(e->identity, '.'), *its = identity ? strchr(identity, '.') : NULL;

    return !e->replica && strlen(host) == ATTEMPT_DIR_HOST_MAX - 1 && machine && its &&
           strcmp(machine, its) == 0;
}

static void submit(struct engine *engine, enum engine_op op, const struct engine_request *r)
{
    struct process_engine *e = of(engine);
    char name[ATTEMPT_DIR_NAME_MAX] = "", text[ENGINE_IDENTITY_MAX * 3];
    const char *host;
    bool lost;
    int result;

    assert(!e->closing && r->job);
    if (e->engine.disowned) {
        process_answer_later(e, r->ticket, ENGINE_UNREACHABLE, name, e->engine.disowned);
        return;
    }
    if (op == ENGINE_PREPARE) {
        assert(attempt_dir_name_valid(r->name));
        submit_prepare(e, r);
        return;
    }
    result = parse_id(e, r->id, name);
    host = result == ERR_INVALID ? "" : strrchr(r->id, '@') + 1;
    lost = result == ERR_NOT_FOUND && is_of_a_lost_folder(e, host, r->identity);
    if (result == ERR_INVALID && op == ENGINE_DISCARD)
        process_answer_later(e, r->ticket, ENGINE_DONE, name, NULL);
    else if (result == ERR_INVALID && op != ENGINE_STOP)
        process_answer_later(e, r->ticket, ENGINE_UNKNOWN, name, "this is not an id of the process engine");
    else if (result < 0 && !lost)
        process_answer_later(e, r->ticket, ENGINE_UNREACHABLE, name,
                             "the attempt belongs to another machine's data folder");
    else if (!lost && engine_is_another(e->identity, r->identity, text, sizeof(text)))
        process_answer_later(e, r->ticket, ENGINE_UNREACHABLE, name, text);
    else if (op == ENGINE_RELEASE)
        submit_release(e, r, name);
    else if (op == ENGINE_WATCH)
        process_watch_start(e, r->ticket, name, host, r->unresolved);
    else
        submit_work(e, op, r, name, host);
}

/* ---- the rest of the table ---- */

static int check(const struct engine *engine, const struct job *job, struct error *error)
{
    const char *user;
    int r = process_engine_check(job, error);

    if (r == 0)
        r = process_engine_user(of(engine)->allow, job, &user, error);
    return r < 0 ? r : variable_files_check(job, &of(engine)->limits, error);
}

static void check_all(const struct engine *engine, const struct job *job, struct engine_faults *faults)
{
    struct error fault;
    const char *user;

    process_engine_faults(job, faults);
    if (process_engine_user(of(engine)->allow, job, &user, &fault) < 0)
        engine_fault(faults, fault.code, "%s", fault.text);
    if (variable_files_check(job, &of(engine)->limits, &fault) < 0)
        engine_fault(faults, fault.code, "%s", fault.text);
}

static void free_all(struct list *list)
{
    while (!list_empty(list))
        process_call_free(LIST_ITEM(list->next, struct process_call, link));
}

/* Supervisors that wait leave: no other generation may release them, and whoever fences them finds their folders.
 */
static void abandon(struct engine *engine)
{
    struct process_engine *e = of(engine);

    process_held(e);
    e->generation++;
    free_all(&e->calls);
    free_all(&e->prepares);
    free_all(&e->later);
    process_armed_drop_all(e);
    process_watch_drop_all(e);
    process_released(e);
}

static int count(const struct list *list)
{
    int n = 0;

    LIST_EACH(link, list)
    n++;
    return n;
}

static void status(const struct engine *engine, struct engine_status *ret)
{
    const struct process_engine *e = of(engine);

    *ret = (struct engine_status){.reachable = !e->ill && !e->engine.disowned,
                                  .queued = count(&e->calls) + count(&e->prepares),
                                  .in_flight = e->on_pool,
                                  .watched = e->watched,
                                  .stuck = (int)file_reader_stuck(e->reader)};
    snprintf(ret->identity, sizeof(ret->identity), "%s", e->identity);
    snprintf(ret->version, sizeof(ret->version), "cronsched " CRONSCHED_VERSION);
    ret->guarantee = ENGINE_AT_MOST_ONCE;
    ret->advice =
        "look at the folder 'attempts' in data_dir, and at the memory and the processes of this machine";
    if (e->engine.disowned)
        snprintf(ret->text, sizeof(ret->text), "%s", e->engine.disowned);
    else if (e->ill)
        snprintf(ret->text, sizeof(ret->text), "%s", e->fault);
    else
        snprintf(ret->text, sizeof(ret->text), "processes of this machine, %s control groups, %d prepared",
                 e->group_base[0] ? "with" : "without", count(&e->armed));
    if (!json_object_get(e->allow, "users") && !e->engine.disowned)
        strncat(ret->text, "; without users: jobs run as the server's own user",
                sizeof(ret->text) - strlen(ret->text) - 1);
}

/* ---- life ---- */

static void on_sweep(uv_timer_t *timer)
{
    process_sweep(OBJECT(struct process_engine, timer->data));
}

static void on_reader_closed(void *arg)
{
    process_released(OBJECT(struct process_engine, arg));
}

static void close_engine(struct engine *engine, void (*done)(void *arg), void *arg)
{
    struct process_engine *e = of(engine);

    assert(!e->closing);
    e->done = done;
    e->done_arg = arg;
    abandon(engine);
    e->closing = true;
    atomic_store(&e->leaving, true);
    process_held(e);
    file_reader_close(e->reader, on_reader_closed, e);
    uv_close((uv_handle_t *)&e->later_timer, process_handle_closed);
    uv_close((uv_handle_t *)&e->sweep_timer, process_handle_closed);
}

static void set_options(struct process_engine *e, const struct process_engine_options *o)
{
    e->name = alloc_text(o->name);
    e->data_dir = realpath(o->data_dir, NULL); /* supervisors have a working folder of their own */
    if (!e->data_dir)
        e->data_dir = alloc_text(o->data_dir); /* opening it will say what is wrong */
    e->program = alloc_text(o->program ? o->program : "/proc/self/exe");
    e->replica = alloc_text(o->replica);
    e->parallel = o->parallel > 0 ? o->parallel : PROCESS_PARALLEL_DEFAULT;
    e->retention_ms = o->retention_ms > 0 ? o->retention_ms : PROCESS_RETENTION_MS;
    e->sweep_ms = o->sweep_ms > 0 ? o->sweep_ms : PROCESS_SWEEP_MS;
    e->allow = o->allow ? json_deep_copy(o->allow) : NULL;
    e->files_dir = alloc_text(o->files_dir);
    e->limits = (struct variable_files_limits){.files_dir = e->files_dir, .allow = e->allow};
    e->engine.name = e->name;
    e->engine.type = "process";
    e->engine.max_armed = o->max_armed > 0 ? o->max_armed : PROCESS_MAX_ARMED_DEFAULT;
}

static void start_timer(struct process_engine *e, uv_timer_t *timer)
{
    uv_timer_init(e->loop, timer);
    timer->data = e;
    process_held(e);
}

int process_engine_new(struct engine **ret, uv_loop_t *loop, const struct process_engine_options *options,
                       struct engine_host *host, struct error *error)
{
    static const struct engine_ops ops = {.check = check,
                                          .faults = check_all,
                                          .submit = submit,
                                          .abandon = abandon,
                                          .status = status,
                                          .close = close_engine};
    struct process_engine *e = OBJECT_NEW(struct process_engine);
    int r;

    e->engine.ops = &ops;
    e->loop = loop;
    e->host = host;
    e->root = -1;
    set_options(e, options);
    list_init(&e->calls);
    list_init(&e->prepares);
    list_init(&e->later);
    list_init(&e->armed);
    list_init(&e->watches);
    if ((r = attempt_dir_boot_id(e->boot_id, error)) < 0 ||
        (r = attempt_dir_root(e->data_dir, &e->root, e->host_id, error)) < 0 ||
        (options->replica && (r = attempt_dir_own(e->root, options->replica, options->cluster, error)) < 0) ||
        (r = spawner_init(&e->spawner, e->program)) < 0) {
        if (e->root >= 0)
            close(e->root);
        process_free(e);
        return r;
    }
    attempt_dir_identity_of(e->host_id, e->identity, sizeof(e->identity));
    if (options->without_groups || attempt_group_base(e->host_id, e->group_base, NULL) < 0)
        e->group_base[0] = '\0';
    e->reader = file_reader_new(loop);
    e->spawner.files = options->files;
    start_timer(e, &e->later_timer);
    start_timer(e, &e->sweep_timer);
    uv_unref((uv_handle_t *)&e->sweep_timer);
    loop_timer_start(&e->sweep_timer, on_sweep, (uint64_t)e->sweep_ms, (uint64_t)e->sweep_ms);
    *ret = &e->engine;
    return 0;
}
