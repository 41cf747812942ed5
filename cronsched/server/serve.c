/* `cronsched serve`: the replica. Puts the parts together on one loop: configuration, zones, journal,
 * history, engines, scheduler, HTTP; and takes them apart again.
 *
 * Happy path: read the configuration, open history and journal (both refuse another process), make the
 * engines, listen, notify systemd, run. SIGTERM or SIGINT: hand the lead over, stop listening, append what
 * this turn recorded, close the journal (what runs, runs on, and is adopted by the next start), close the
 * engines and history, leave. Failures before the loop runs: one clear line, exit 2 or 64. Later ones are
 * the parts' own: a full disk deposes the scheduler until it is better; nothing here ends the
 * process. What hangs when it is to end is left behind after STOP_MAX_MS.
 */
#include "cronsched/api/api.h"
#include "cronsched/cluster/replica.h"
#include "cronsched/cluster/run_log_copy.h"
#include "cronsched/command/verbs.h"
#include "cronsched/config/config.h"
#include "cronsched/io/log.h"
#include "cronsched/io/run_log.h"
#include "cronsched/io/zones.h"
#include "cronsched/server/activity_log.h"
#include "cronsched/server/data_dir.h"
#include "cronsched/server/engine_watch.h"
#include "cronsched/server/first_process.h"
#include "cronsched/server/make_engine.h"
#include "cronsched/server/plain_text.h"
#include "cronsched/server/sd_notify.h"
#include "cronsched/server/serve_check.h"
#include "cronsched/server/server_clock.h"
#include "cronsched/server/server_id.h"
#include "cronsched/server/thread_pool.h"
#include "cronsched/server/webhooks.h"
#include "jobs/base/clock.h"
#include "jobs/base/object.h"
#include "jobs/base/text.h"
#include "jobs/history/store.h"
#include "jobs/scheduler/scheduler.h"
#include "jobs/time/zoneinfo.h"
#include "leader/embedded/embedded.h"
#include "leader/worker/loop.h"

#include <assert.h>
#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define WAKE_MOST_MS      60000 /* the alarm sleeps no longer: against clocks that jump unseen */
#define HOUSEKEEPING_MS   60000
#define PRUNE_EVERY_TURNS 10    /* of housekeeping */
#define STOP_MAX_MS       15000 /* to close everything; then the process leaves what hangs behind */

struct serve {
    struct object object; /* first */
    uv_loop_t loop;
    const struct verb_call *call; /* by which the configuration is read */
    struct config config;
    struct zoneinfo *zones;
    struct thread_pool pool; /* the history's threads */
    struct history *history;
    struct replica *replica;       /* NULL: the journal is the embedded one */
    struct run_log_copies *copies; /* NULL likewise; they wrap the history */
    struct journal *journal;
    struct scheduler *scheduler;
    struct scheduler_env env;
    struct guarded_clock clock;
    struct engine *engines[CONFIG_ENGINES_MAX];
    struct engine_watch engine_watch;
    size_t engine_count;
    struct scheduler_job_pool *pools;
    struct api *api;
    struct webhooks *webhooks;
    char id[256], cluster_uuid[40];
    int alarm_fd;
    uv_poll_t alarm;
    uv_prepare_t turn;
    uv_timer_t housekeeping, watchdog, stop_limit;
    uv_signal_t terminate, interrupt, hangup;
    unsigned turns;
    size_t engines_open;
    rlim_t files; /* soft limit of open files before it was raised; 0: it was not */
    bool stopping;
    const char *closing; /* what stop() waits for, for people */
};

/* ---- the environment of the scheduler ---- */

static struct serve *serve_of(struct scheduler_env *env)
{
    return OBJECT_OF(struct serve, env, env);
}

static int64_t env_wall_ms(struct scheduler_env *env)
{
    struct serve *s = serve_of(env);

    return server_clock_read(&s->clock, s->replica);
}

/* A replica leads only while its clock agrees with the others': then it is believed. */
static void env_not_before(struct scheduler_env *env, int64_t wall_ms)
{
    struct serve *s = serve_of(env);

    if (!s->replica)
        guarded_clock_not_before(&s->clock, wall_ms, (uint64_t)clock_boot_ms());
}

static uint64_t env_random(struct scheduler_env *env)
{
    uint64_t value = 0;

    (void)env;
    if (getrandom(&value, sizeof(value), 0) != sizeof(value))
        abort(); /* the kernel always has it once it runs */
    return value;
}

/* The alarm is on the wall clock, so that fire times are met to the millisecond; when the clock is set it
 * goes off. */
static void env_wake_at(struct scheduler_env *env, int64_t wall_ms)
{
    struct serve *s = serve_of(env);
    int64_t now = env_wall_ms(env), at = wall_ms < now + WAKE_MOST_MS ? wall_ms : now + WAKE_MOST_MS;
    struct itimerspec spec = {0};

    at += clock_wall_ms() - now; /* the timer goes by the clock as it is set */
    if (at < 1)
        at = 1; /* 0 would disarm it */
    spec.it_value.tv_sec = (time_t)(at / 1000);
    spec.it_value.tv_nsec = (long)(at % 1000) * 1000000;
    if (timerfd_settime(s->alarm_fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &spec, NULL) < 0 &&
        errno != ECANCELED)
        abort(); /* a scheduler without an alarm is none */
}

static void env_log(struct scheduler_env *env, enum log_level level, const char *event, const char *job,
                    const char *run, const char *text)
{
    (void)env;
    log_event(level, event, LOG_TEXT("job", job), LOG_TEXT("run", run), LOG_TEXT("text", text));
}

static void env_durable(struct scheduler_env *env, const struct history_write *write)
{
    (void)env;
    activity_log_write(write);
}

static void env_seen(struct scheduler_env *env, const struct history_write *write)
{
    struct serve *s = serve_of(env);

    if (s->api)
        api_seen(s->api, write);
}

static void on_alarm(uv_poll_t *poll, int status, int events)
{
    struct serve *s = OBJECT(struct serve, poll->data);
    uint64_t times;

    (void)status;
    (void)events;
    if (read(s->alarm_fd, &times, sizeof(times)) < 0 && errno == ECANCELED)
        log_event(LOG_WARN, "clock-set",
                  LOG_TEXT("text", "the wall clock was set: checking fire times again"));
    scheduler_tick(s->scheduler);
}

/* Once a turn, before the loop sleeps: what this turn recorded goes to the journal. */
static void on_turn(uv_prepare_t *prepare)
{
    struct serve *s = OBJECT(struct serve, prepare->data);

    scheduler_flush(s->scheduler);
}

/* ---- housekeeping ---- */

static void zone_changed(void *arg, const char *name)
{
    (void)arg;
    log_event(LOG_NOTE, "zone-changed", LOG_TEXT("text", name));
}

static void zones_look(struct serve *s)
{
    if (zoneinfo_stale(s->zones)) {
        int changed = zoneinfo_reload(s->zones, zone_changed, s);

        log_event(LOG_NOTE, "tzdata-reloaded", LOG_TEXT("tzdata", zoneinfo_version(s->zones)),
                  LOG_INT("zones_changed", changed));
        scheduler_zones_changed(s->scheduler);
    }
}

static void journal_look(struct serve *s)
{
    struct journal_status status = {0};

    s->journal->ops->status(s->journal, &status);
    if (status.busy_ms >= API_STUCK_MS)
        log_event(LOG_ERROR, "journal-stuck", LOG_INT("busy_ms", status.busy_ms),
                  LOG_TEXT("text", "the journal's file does not answer: nothing is started until it does"));
}

static void on_housekeeping(uv_timer_t *timer)
{
    struct serve *s = OBJECT(struct serve, timer->data);

    if (s->journal)
        journal_look(s);
    zones_look(s);
    if (s->turns++ % PRUNE_EVERY_TURNS == 0)
        scheduler_prune(s->scheduler);
    scheduler_tick(s->scheduler);
}

static void on_watchdog(uv_timer_t *timer)
{
    (void)timer;
    sd_notify_state(SD_NOTIFY_WATCHDOG);
}

/* On a thread of the history's. */
static void history_removed(void *arg, const char *job, char *const *runs, size_t count)
{
    run_log_remove(OBJECT(struct serve, arg)->config.data_dir, job, runs, count);
}

static void history_failed(void *arg, const struct error *error)
{
    (void)arg;
    log_event(LOG_ERROR, "history", LOG_TEXT("text", error->text));
}

/* ---- taking apart ---- */

static void close_handle(uv_handle_t *handle)
{
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

static void on_pool_closed(void *arg)
{
    struct serve *s = OBJECT(struct serve, arg);

    close_handle((uv_handle_t *)&s->alarm);
    close_handle((uv_handle_t *)&s->turn);
    close_handle((uv_handle_t *)&s->housekeeping);
    close_handle((uv_handle_t *)&s->watchdog);
    close_handle((uv_handle_t *)&s->stop_limit);
    close_handle((uv_handle_t *)&s->terminate);
    close_handle((uv_handle_t *)&s->interrupt);
    close_handle((uv_handle_t *)&s->hangup);
}

static void on_history_closed(void *arg)
{
    struct serve *s = OBJECT(struct serve, arg);

    s->history = NULL;
    thread_pool_close(&s->pool, on_pool_closed, s);
}

static void on_replica_closed(void *arg)
{
    struct serve *s = OBJECT(struct serve, arg);

    s->replica = NULL;
    s->closing = "the history";
    s->history->ops->close(s->history, on_history_closed, s);
}

static void on_engine_closed(void *arg)
{
    struct serve *s = OBJECT(struct serve, arg);

    if (--s->engines_open > 0)
        return;
    s->closing = "the replica";
    if (s->replica)
        replica_close(s->replica, on_replica_closed, s);
    else
        on_replica_closed(s);
}

static void on_journal_closed(void *arg)
{
    struct serve *s = OBJECT(struct serve, arg);

    s->journal = NULL;
    s->closing = "the engines";
    if (s->replica)
        replica_journal_closed(s->replica);
    engine_watch_close(&s->engine_watch);
    s->engines_open = s->engine_count;
    for (size_t i = 0; i < s->engine_count; i++)
        s->engines[i]->ops->close(s->engines[i], on_engine_closed, s);
}

static void on_webhooks_closed(void *arg)
{
    struct serve *s = OBJECT(struct serve, arg);

    s->webhooks = NULL;
    s->closing = "the journal";
    scheduler_flush(s->scheduler);
    s->journal->ops->close(s->journal, on_journal_closed, s);
}

static void on_api_closed(void *arg)
{
    struct serve *s = OBJECT(struct serve, arg);

    s->api = NULL;
    s->closing = "the webhooks";
    if (s->replica)
        replica_set_api(s->replica, NULL);
    webhooks_close(s->webhooks, on_webhooks_closed, s);
}

static void on_retired(void *arg)
{
    struct serve *s = OBJECT(struct serve, arg);

    s->closing = "the API";
    api_close(s->api, on_api_closed, s);
}

/* A file of ours does not answer. What is durable is durable, as after a kill: the next start continues from there.
 * Not exit(): libuv would wait for its threads. */
static void on_stop_limit(uv_timer_t *timer)
{
    struct serve *s = OBJECT(struct serve, timer->data);
    char text[160];

    snprintf(text, sizeof(text), "%s did not close within %d s: leaving without it", s->closing,
             STOP_MAX_MS / 1000);
    log_event(LOG_ERROR, "stop-limit", LOG_TEXT("text", text));
    log_close();
    _exit(EXIT_TIMED_OUT);
}

static void stop(struct serve *s, const char *why)
{
    if (s->stopping)
        return;
    s->stopping = true;
    log_event(LOG_NOTE, "stopping", LOG_TEXT("text", why));
    sd_notify_state(SD_NOTIFY_STOPPING);
    s->closing = "the hand-over of the lead";
    loop_timer_start(&s->stop_limit, on_stop_limit, STOP_MAX_MS, 0);
    scheduler_stop(s->scheduler);
    if (s->replica)
        replica_retire(s->replica, on_retired, s);
    else
        on_retired(s);
}

/* Of the configuration file only the list of ZooKeeper's servers is followed without a restart. */
static void reload_zookeeper(struct serve *s)
{
    struct config config = {0};
    struct error error = {0};
    int rc = 0;

    if (!s->replica || s->stopping)
        return;
    if (config_load_call(&config, s->call) != EXIT_FINE)
        rc = error_set(&error, ERR_INVALID, "the configuration has faults; it stays as it was");
    else if (!config.zookeeper)
        rc = error_set(&error, ERR_UNSUPPORTED, "zookeeper: is gone; a restart would follow that");
    else
        rc = replica_set_zookeeper(s->replica, config.zookeeper, &error);
    if (rc < 0)
        log_event(LOG_ERROR, "reload", LOG_TEXT("text", error.text));
    else if (rc > 0)
        log_event(LOG_NOTE, "reload-zookeeper", LOG_TEXT("servers", config.zookeeper));
    config_release(&config);
}

static void reload(struct serve *s)
{
    struct error error = {0};

    zones_look(s);
    reload_zookeeper(s);
    if (api_reload(s->api, &error) < 0)
        log_event(LOG_ERROR, "reload", LOG_TEXT("text", error.text));
    else
        log_event(LOG_NOTE, "reload", LOG_TEXT("text", "tokens and certificates are read again"));
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct serve *s = OBJECT(struct serve, handle->data);

    if (number == SIGHUP)
        reload(s);
    else
        stop(s, number == SIGTERM ? "SIGTERM: running attempts continue and are adopted at the next start"
                                  : "SIGINT");
}

/* ---- putting together ---- */

static int add_engine(struct serve *s, const struct config_engine *e, struct error *error)
{
    const struct make_engine with = {
        .loop = &s->loop,
        .config = &s->config,
        .host = s->replica ? replica_engine_host(s->replica) : scheduler_engine_host(s->scheduler),
        .files = s->files,
        .replica = s->replica,
        .id = s->id,
    };

    if (make_engine(&s->engines[s->engine_count], &with, e, error) < 0)
        return error_prefix(error, "engine %s: ", e->name);
    s->engine_count++;
    return 0;
}

static int open_history(struct serve *s, struct error *error)
{
    char path[RUN_LOG_PATH_MAX];
    struct store_options o = {
        .path = path, .pool = &s->pool.table, .removed = history_removed, .failed = history_failed, .arg = s};
    int rc = thread_pool_init(&s->pool, &s->loop, error);

    snprintf(path, sizeof(path), "%s/history.db", s->config.data_dir);
    rc = rc < 0 ? rc : store_open(&s->history, &o, error);
    if (rc == 0 && s->config.zookeeper)
        s->history = run_log_copies_new(&s->copies, s->history);
    return rc;
}

static int open_embedded(struct serve *s, struct error *error)
{
    char path[RUN_LOG_PATH_MAX];
    struct embedded_options o = {.path = path,
                                 .cluster = s->cluster_uuid,
                                 .history = s->history->ops->applied(s->history),
                                 .sole = true};

    snprintf(path, sizeof(path), "%s/journal.db", s->config.data_dir);
    return embedded_open(&s->journal, &s->loop, &o, &scheduler_journal_events, s->scheduler, error);
}

static int64_t replica_clock_jump_ms(void *arg)
{
    struct serve *s = OBJECT(struct serve, arg);

    env_wall_ms(&s->env); /* as of now */
    return s->clock.held ? s->clock.jump_ms : 0;
}

static int open_replicated(struct serve *s, struct error *error)
{
    struct replica_options o = {.config = &s->config,
                                .scheduler = s->scheduler,
                                .history = s->history,
                                .copies = s->copies,
                                .engines = s->engines,
                                .engine_count = &s->engine_count,
                                .zones = zoneinfo_source(s->zones),
                                .id = s->id,
                                .cluster_uuid = s->cluster_uuid,
                                .loop = &s->loop,
                                .clock_jump_ms = replica_clock_jump_ms,
                                .clock_arg = s};
    int rc = replica_open(&s->replica, &o, error);

    if (rc == 0)
        s->journal = replica_journal(s->replica);
    return rc;
}

static int open_journal(struct serve *s, struct error *error)
{
    int rc = s->config.zookeeper ? open_replicated(s, error) : open_embedded(s, error);

    if (rc == 0)
        scheduler_set_journal(s->scheduler, s->journal);
    return rc;
}

static int make_scheduler(struct serve *s)
{
    struct scheduler_options o = {
        .replica = s->id,
        .cluster_uuid = s->cluster_uuid,
        .default_engine = s->config.default_engine,
        .pool_count = s->config.pool_count,
        .arm_ahead_ms = 30000,
        .late_grace_ms = s->config.late_grace_ms,
        .resolve_within_ms = s->config.resolve_within_ms,
        .max_state_bytes = s->config.max_state_bytes,
        .zones = zoneinfo_source(s->zones),
        .history = s->history,
        .env = &s->env,
    };

    s->pools = calloc(s->config.pool_count + 1, sizeof(*s->pools));
    if (!s->pools)
        return ERR_NOMEM;
    for (size_t i = 0; i < s->config.pool_count; i++)
        s->pools[i] = (struct scheduler_job_pool){s->config.pools[i].name, s->config.pools[i].size};
    o.pools = s->pools;
    s->env = (struct scheduler_env){.wall_ms = env_wall_ms,
                                    .random = env_random,
                                    .wake_at = env_wake_at,
                                    .log = env_log,
                                    .not_before = env_not_before,
                                    .durable = env_durable,
                                    .seen = env_seen};
    s->scheduler = scheduler_new(&o);
    return 0;
}

static int64_t api_wall_ms(void *arg)
{
    return env_wall_ms(&OBJECT(struct serve, arg)->env);
}

static bool clock_is_held(void *arg, int64_t *ret_jump_ms)
{
    const struct serve *s = OBJECT(struct serve, arg);

    *ret_jump_ms = s->clock.jump_ms;
    return s->clock.held;
}

static void api_accept_clock(void *arg)
{
    struct serve *s = OBJECT(struct serve, arg);

    guarded_clock_confirm(&s->clock);
    scheduler_tick(s->scheduler);
}

static void api_log(void *arg, enum log_level level, const char *event, const char *text)
{
    env_log(&OBJECT(struct serve, arg)->env, level, event, NULL, NULL, text);
}

static void on_plain_text(void *arg, const char *event, const char *text)
{
    (void)arg;
    log_event(LOG_WARN, event, LOG_TEXT("text", text));
}

static int start_api(struct serve *s, struct error *error)
{
    struct api_options o = {
        .context = {.scheduler = s->scheduler,
                    .history = s->history,
                    .journal = s->journal,
                    .history_worker = s->pool.worker,
                    .engines = s->engines,
                    .engine_count = s->engine_count,
                    .zones = zoneinfo_source(s->zones),
                    .data_dir = s->config.data_dir,
                    .cluster = s->config.cluster,
                    .replica = s->id,
                    .advertise = s->config.advertise,
                    .expected_replicas = s->config.expected_replicas,
                    .started_ms = env_wall_ms(&s->env),
                    .late_grace_ms = s->config.late_grace_ms,
                    .zones_dir = zones_folder(),
                    .wall_ms = api_wall_ms,
                    .clock_held = clock_is_held,
                    .accept_clock = api_accept_clock,
                    .log = api_log,
                    .arg = s},
        .listen = s->config.listen,
        .listen_count = s->config.listen_count,
        .tokens_file = s->config.tokens_file,
        .tls_cert = s->config.tls_cert,
        .tls_key = s->config.tls_key,
        .insecure = s->config.insecure,
        .loopback_read = s->config.loopback_read,
        .metrics_jobs = s->config.metrics_jobs,
        .hosts = s->config.allowed_hosts,
        .host_count = s->config.allowed_host_count,
        .socket_mode = s->config.socket_mode,
        .socket_group = s->config.socket_group == (gid_t)-1 ? NULL : &s->config.socket_group,
    };
    int rc;

    if (s->replica) {
        o.context.cluster_ops = &replica_api_ops;
        o.context.cluster_arg = s->replica;
    }
    plain_text_warn(&s->config, on_plain_text, s);
    rc = api_start(&s->api, &s->loop, &o, error);
    if (rc == 0 && s->replica)
        replica_set_api(s->replica, s->api);
    return rc;
}

static void start_handles(struct serve *s)
{
    int64_t watchdog_ms = sd_notify_watchdog_ms();

    uv_poll_init(&s->loop, &s->alarm, s->alarm_fd);
    s->alarm.data = s->turn.data = s->housekeeping.data = s->watchdog.data = s->stop_limit.data = s;
    s->terminate.data = s->interrupt.data = s->hangup.data = s;
    uv_poll_start(&s->alarm, UV_READABLE, on_alarm);
    uv_prepare_init(&s->loop, &s->turn);
    uv_prepare_start(&s->turn, on_turn);
    uv_timer_init(&s->loop, &s->housekeeping);
    loop_timer_start(&s->housekeeping, on_housekeeping, HOUSEKEEPING_MS, HOUSEKEEPING_MS);
    engine_watch_start(&s->engine_watch, &s->loop, s->engines, s->engine_count);
    uv_timer_init(&s->loop, &s->stop_limit);
    uv_timer_init(&s->loop, &s->watchdog);
    if (watchdog_ms > 0)
        loop_timer_start(&s->watchdog, on_watchdog, 0, (uint64_t)watchdog_ms);
    uv_signal_init(&s->loop, &s->terminate);
    uv_signal_start(&s->terminate, on_signal, SIGTERM);
    uv_signal_init(&s->loop, &s->interrupt);
    uv_signal_start(&s->interrupt, on_signal, SIGINT);
    uv_signal_init(&s->loop, &s->hangup);
    uv_signal_start(&s->hangup, on_signal, SIGHUP);
}

/* Each prepared or running attempt of the process engine holds a descriptor. */
static void raise_limits(struct serve *s)
{
    struct rlimit files;

    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
        s->files = files.rlim_cur;
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
}

/* All that may fail, in order. What it leaves half made the process's end cleans up: nothing has been
 * promised yet. */
static int put_together(struct serve *s, struct error *error)
{
    int rc;

    rc = data_dir_make(s->config.data_dir, error);
    rc = rc < 0 ? rc : zones_open(&s->zones, error);
    rc = rc < 0 ? rc : open_history(s, error);
    rc = rc < 0 ? rc : make_scheduler(s);
    rc = rc < 0 ? rc : open_journal(s, error);
    for (size_t i = 0; i < s->config.engine_count && rc == 0; i++)
        rc = add_engine(s, &s->config.engines[i], error);
    if (rc < 0)
        return rc;
    scheduler_set_engines(s->scheduler, s->engines, s->engine_count);
    rc = webhooks_new(&s->webhooks, &s->loop, s->scheduler, s->config.files_dir, error);
    return rc < 0 ? rc : start_api(s, error);
}

static int serve(const struct verb_call *call)
{
    static struct serve s; /* large, and one a process */
    struct error error = {0};
    struct log_options log;
    int rc = config_load_call(&s.config, call);

    OBJECT_INIT(struct serve, &s);
    mallopt(M_MXFAST,
            0); /* or what was freed is merged when something large is: all of it, in that one turn */
    s.call = call;
    if (rc == EXIT_FINE && verb_option(call, "check"))
        rc = serve_check(&s.config);
    if (rc != EXIT_FINE || verb_option(call, "check")) {
        config_release(&s.config);
        return rc;
    }
    first_process_split();
    umask(077); /* what it writes is its own; commands of jobs have a umask of theirs */
    log_options_init(&log, s.config.log == CONFIG_LOG_AUTO ? -1 : s.config.log == CONFIG_LOG_JSON);
    log.least = s.config.log_level;
    log_open(&log);
    raise_limits(&s);
    server_id_uuid(s.cluster_uuid);
    server_id_replica(&s.config, s.id, sizeof(s.id));
    s.alarm_fd = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK | TFD_CLOEXEC);
    if (s.alarm_fd < 0 || uv_loop_init(&s.loop) < 0) {
        error_set(&error, ERR_INTERNAL, "cannot create a timer or a loop: %s", strerror(errno));
        return verb_fail(&error);
    }
    rc = put_together(&s, &error);
    if (rc < 0)
        return verb_fail(&error);
    log_detach();
    start_handles(&s);
    log_event(LOG_NOTE, "serving", LOG_TEXT("version", CRONSCHED_VERSION),
              LOG_TEXT("data_dir", s.config.data_dir), LOG_TEXT("tzdata", zoneinfo_version(s.zones)));
    sd_notify_state(SD_NOTIFY_READY);
    uv_run(&s.loop, UV_RUN_DEFAULT);
    rc = uv_loop_close(&s.loop);
    assert(rc == 0);
    scheduler_free(s.scheduler);
    zoneinfo_free(s.zones);
    free(s.pools);
    close(s.alarm_fd);
    config_release(&s.config);
    log_event(LOG_NOTE, "stopped", LOG_TEXT("text", "bye"));
    log_close();
    if (worker_left() > 0)
        _exit(EXIT_FINE); /* threads that hang in files of others are no reason to stay */
    return EXIT_FINE;
}

const struct verb verb_serve = {
    .name = "serve",
    .help = "run a replica: schedule, start and watch runs, answer requests",
    .text = "Reads its configuration from --config, flags and CRONSCHED_* variables; a flag wins over a "
            "variable, a "
            "variable over the file. Without any it keeps everything in one folder and needs nothing else.",
    .group = VERB_GROUP_SERVER,
    .options = config_options,
    .run = serve,
};
