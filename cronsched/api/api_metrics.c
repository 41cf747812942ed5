/* /metrics: the Prometheus text format 0.0.4. Labels hold names of engines, routes, states: nothing that a
 * job or a caller could fill with text of its own. */
#include "cronsched/api/api_priv.h"
#include "jobs/base/text.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

__attribute__((format(printf, 2, 3))) static void put(void *arg, const char *format, ...)
{
    struct text *text = arg;
    char *line = NULL;
    va_list ap;
    int n;

    va_start(ap, format);
    n = vasprintf(&line, format, ap);
    va_end(ap);
    if (n < 0) {
        text->failed = text->failed ? text->failed : ERR_NOMEM;
        return;
    }
    text_add_bytes(text, line, (size_t)n);
    free(line);
}

enum family {
    CLUSTER_REPLICAS,
    CLUSTER_CONNECTED,
    REFUSING,
    MARK_INDEX,
    MARK_FAILING,
    JOURNAL_READ,
    JOURNAL_DURABLE_INDEX,
    JOURNAL_LAST_APPEND_SECONDS,
    JOURNAL_FAILING,
    JOURNAL_LOST,
    JOURNAL_BUSY_SECONDS,
    CLOCK_HELD,
    CLOCK_JUMP_SECONDS,
    HISTORY_BUSY_SECONDS,
    HISTORY_INDEX,
    HISTORY_FAILING,
    CLUSTER_ABSENT,
    LOOP_BUSY_SECONDS_TOTAL,
    LOOP_GAP_SECONDS,
    LOOP_GAP_CPU_SECONDS,
    HTTP_STREAMS,
    EVENT_SUBSCRIBERS,
    TOKENS_FILE_FAILING,
    PROCESS_CPU_SECONDS_TOTAL,
    PROCESS_RESIDENT_MEMORY_BYTES,
    PROCESS_VIRTUAL_MEMORY_BYTES,
    PROCESS_OPEN_FDS,
    PROCESS_MAX_FDS,
    PROCESS_START_TIME_SECONDS,
    ENGINE_UP,
    ENGINE_CALLS,
    CLOCK_OFFSET_SECONDS,
    ZOOKEEPER_REFUSALS_TOTAL,
    ZOOKEEPER_LOSSES_TOTAL,
    ZOOKEEPER_REFUSES,
    ZOOKEEPER_WORST_WRITE_SECONDS,
    ZOOKEEPER_REQUEST_MAX_BYTES,
    ZOOKEEPER_LOG_BYTES,
    CLUSTER_DIFFERS,
    JOURNAL_APPEND_SECONDS,
    INFO,
};

static const struct {
    const char *name, *type, *help;
} families[] = {
    [CLUSTER_REPLICAS] = {"cronsched_cluster_replicas", "gauge", "Replicas that are present."},
    [CLUSTER_CONNECTED] = {"cronsched_cluster_connected", "gauge",
                           "Whether this replica has a session with ZooKeeper."},
    [REFUSING] = {"cronsched_refusing", "gauge",
                  "Whether this replica refuses the journal in ZooKeeper, or has not joined a cluster."},
    [MARK_INDEX] = {"cronsched_mark_index", "gauge",
                    "The highest batch that this replica knows to be committed."},
    [MARK_FAILING] = {"cronsched_mark_failing", "gauge",
                      "Whether the mark cannot be written to the data folder."},
    [JOURNAL_READ] = {"cronsched_journal_read", "gauge",
                      "Whether this replica has read the journal: without, it knows no jobs and no runs."},
    [JOURNAL_DURABLE_INDEX] = {"cronsched_journal_durable_index", "gauge", "The last durable batch."},
    [JOURNAL_LAST_APPEND_SECONDS] = {"cronsched_journal_last_append_seconds", "gauge",
                                     "Time until the last append was durable."},
    [JOURNAL_FAILING] = {"cronsched_journal_failing", "gauge", "Whether the journal reports a problem."},
    [JOURNAL_LOST] = {"cronsched_journal_lost", "gauge",
                      "Whether the journal refuses all writes until this server is restarted."},
    [JOURNAL_BUSY_SECONDS] = {"cronsched_journal_busy_seconds", "gauge",
                              "How long the journal's file has not responded."},
    [CLOCK_HELD] = {"cronsched_clock_held", "gauge",
                    "Whether the wall clock jumped and is not followed, since nothing confirms it."},
    [CLOCK_JUMP_SECONDS] =
        {"cronsched_clock_jump_seconds", "gauge",
         "How far the wall clock is ahead of the time that is believed; 0: it is believed."},
    [HISTORY_BUSY_SECONDS] = {"cronsched_history_busy_seconds", "gauge",
                              "How long the history's file has not responded."},
    [HISTORY_INDEX] = {"cronsched_history_index", "gauge", "The last batch written to history."},
    [HISTORY_FAILING] =
        {"cronsched_history_failing", "gauge",
         "Whether the history cannot be written: this replica's lists of past runs are behind."},
    [CLUSTER_ABSENT] =
        {"cronsched_cluster_absent", "gauge",
         "Replicas that are known and not present: started again, or forgotten, there are none."},
    [LOOP_BUSY_SECONDS_TOTAL] = {"cronsched_loop_busy_seconds_total", "counter",
                                 "Time the event loop was busy."},
    [LOOP_GAP_SECONDS] =
        {"cronsched_loop_gap_seconds", "gauge",
         "The longest time the event loop was busy without a pause, within the last one to two minutes."},
    [LOOP_GAP_CPU_SECONDS] = {"cronsched_loop_gap_cpu_seconds", "gauge",
                              "The most that the event loop computed without a pause, within the last one to "
                              "two minutes: what a gap "
                              "has beyond it was spent waiting for the processor."},
    [HTTP_STREAMS] = {"cronsched_http_streams", "gauge", "Logs being read."},
    [EVENT_SUBSCRIBERS] = {"cronsched_event_subscribers", "gauge",
                           "Clients that listen to events of this replica."},
    [TOKENS_FILE_FAILING] = {"cronsched_tokens_file_failing", "gauge",
                             "Whether the tokens file cannot be used: the tokens read before it stay valid."},
    [PROCESS_CPU_SECONDS_TOTAL] = {"process_cpu_seconds_total", "counter", "CPU time, user and system."},
    [PROCESS_RESIDENT_MEMORY_BYTES] = {"process_resident_memory_bytes", "gauge", "Resident memory."},
    [PROCESS_VIRTUAL_MEMORY_BYTES] = {"process_virtual_memory_bytes", "gauge", "Virtual memory."},
    [PROCESS_OPEN_FDS] = {"process_open_fds", "gauge", "Open file descriptors."},
    [PROCESS_MAX_FDS] = {"process_max_fds", "gauge", "Limit of open file descriptors."},
    [PROCESS_START_TIME_SECONDS] = {"process_start_time_seconds", "gauge", "Start time of this process."},
    [ENGINE_UP] = {"cronsched_engine_up", "gauge", "Whether the engine answers."},
    [ENGINE_CALLS] = {"cronsched_engine_calls", "gauge",
                      "Calls queued, calls in flight, attempts watched, reads of files that hang."},
    [CLOCK_OFFSET_SECONDS] = {"cronsched_clock_offset_seconds", "gauge",
                              "A replica's clock minus the median of the members' clocks."},
    [ZOOKEEPER_REFUSALS_TOTAL] = {"cronsched_zookeeper_refusals_total", "counter",
                                  "Writes that ZooKeeper refused, as for a quota."},
    [ZOOKEEPER_LOSSES_TOTAL] = {"cronsched_zookeeper_connections_lost_total", "counter",
                                "Connections with ZooKeeper that were lost."},
    [ZOOKEEPER_REFUSES] = {"cronsched_zookeeper_refuses", "gauge",
                           "Whether ZooKeeper refuses writes at present."},
    [ZOOKEEPER_WORST_WRITE_SECONDS] = {"cronsched_zookeeper_worst_write_seconds", "gauge",
                                       "The longest write to ZooKeeper of the last one to two minutes."},
    [ZOOKEEPER_REQUEST_MAX_BYTES] = {"cronsched_zookeeper_request_max_bytes", "gauge",
                                     "What the servers were found to take in one request; 0: no limit was "
                                     "found."},
    [ZOOKEEPER_LOG_BYTES] =
        {"cronsched_zookeeper_log_bytes", "gauge",
         "At the leader: the journal's batches that are in the memory of each ZooKeeper server; 0: not "
         "known."},
    [CLUSTER_DIFFERS] = {"cronsched_cluster_differs", "gauge",
                         "Whether replicas differ in what must be the same."},
    [JOURNAL_APPEND_SECONDS] = {"cronsched_journal_append_seconds", "summary",
                                "Time until an append was durable."},
    [INFO] = {"cronsched_info", "gauge", "Version, replica and tzdata of this server."},
};

/* The two comment lines before a family's values. */
static void put_head(struct text *t, enum family family)
{
    put(t, "# HELP %s %s\n# TYPE %s %s\n", families[family].name, families[family].help,
        families[family].name, families[family].type);
}

/* A family of one value. */
__attribute__((format(printf, 3, 4))) static void put_metric(struct text *t, enum family family,
                                                             const char *format, ...)
{
    char value[64];
    va_list ap;

    va_start(ap, format);
    vsnprintf(value, sizeof(value), format, ap);
    va_end(ap);
    put_head(t, family);
    put(t, "%s %s\n", families[family].name, value);
}

/* Names come from the configuration, which is stricter than this. */
static const char *label(const char *value, char buffer[128])
{
    size_t n = 0;

    for (; *value && n < 120; value++) {
        if (*value == '\\' || *value == '"')
            buffer[n++] = '\\';
        buffer[n++] = *value == '\n' ? ' ' : *value;
    }
    buffer[n] = '\0';
    return buffer;
}

static void put_engines(struct text *t, const struct api_context *c)
{
    char name[128], type[128];

    put_head(t, ENGINE_UP);
    for (size_t i = 0; i < c->engine_count; i++) {
        struct engine_status status = {0};

        c->engines[i]->ops->status(c->engines[i], &status);
        put(t, "cronsched_engine_up{engine=\"%s\",type=\"%s\"} %d\n", label(c->engines[i]->name, name),
            label(c->engines[i]->type, type), status.reachable);
    }
    put_head(t, ENGINE_CALLS);
    for (size_t i = 0; i < c->engine_count; i++) {
        struct engine_status status = {0};

        c->engines[i]->ops->status(c->engines[i], &status);
        label(c->engines[i]->name, name);
        put(t,
            "cronsched_engine_calls{engine=\"%s\",kind=\"queued\"} %d\n"
            "cronsched_engine_calls{engine=\"%s\",kind=\"in_flight\"} %d\n"
            "cronsched_engine_calls{engine=\"%s\",kind=\"watched\"} %d\n"
            "cronsched_engine_calls{engine=\"%s\",kind=\"stuck\"} %d\n",
            name, status.queued, name, status.in_flight, name, status.watched, name, status.stuck);
    }
}

static bool differs(const json_t *differences, const char *what)
{
    const json_t *one;
    size_t i;

    json_array_foreach(differences, i, one)
    {
        if (strcmp(json_string_value(json_object_get(one, "what")), what) == 0)
            return true;
    }
    return false;
}

static void put_clocks(struct text *t, const json_t *replicas)
{
    const json_t *one;
    size_t i;

    put_head(t, CLOCK_OFFSET_SECONDS);
    json_array_foreach(replicas, i, one)
    {
        const json_t *offset = json_object_get(one, "clock_offset_ms");
        char id[128];

        if (json_is_integer(offset))
            put(t, "cronsched_clock_offset_seconds{replica=\"%s\"} %.3f\n",
                label(json_string_value(json_object_get(one, "id")), id),
                (double)json_integer_value(offset) / 1000);
    }
}

/* This replica's own, also when it is not a member. */
static void put_marks(struct text *t, const struct api_context *c, const json_t *cluster)
{
    const char *trouble = json_string_value(json_object_get(cluster, "mark_trouble"));
    const json_t *mark = json_object_get(cluster, "mark");
    char id[128];

    put_head(t, REFUSING);
    put(t, "cronsched_refusing{replica=\"%s\"} %d\n", label(c->replica, id),
        json_is_string(json_object_get(cluster, "refusing")));
    put_head(t, MARK_INDEX);
    put(t, "cronsched_mark_index{replica=\"%s\"} %" JSON_INTEGER_FORMAT "\n", id,
        json_integer_value(json_object_get(mark, "index")));
    put_metric(t, MARK_FAILING, "%d", trouble && trouble[0]);
}

/* Only of a cluster: who is there, and what differs among them. */
static void put_cluster(struct text *t, const struct api_context *c)
{
    static const char *const kinds[] = {"version", "tzdata", "config", "engine", "data folder", "clock",
                                        "state",   "mark",   "links",  "leader", "other-leader"};
    json_t *cluster = api_cluster_json(c);
    const json_t *replicas = json_object_get(cluster, "replicas");

    if (!cluster)
        return;
    put_metric(t, CLUSTER_REPLICAS, "%zu", json_array_size(replicas));
    put_metric(t, CLUSTER_ABSENT, "%zu", json_array_size(json_object_get(cluster, "absent")));
    put_metric(t, CLUSTER_CONNECTED, "%d", json_is_true(json_object_get(cluster, "connected")));
    put_head(t, CLUSTER_DIFFERS);
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        put(t, "cronsched_cluster_differs{what=\"%s\"} %d\n", kinds[i],
            differs(json_object_get(cluster, "differences"), kinds[i]));
    put_clocks(t, replicas);
    put_marks(t, c, cluster);
    json_decref(cluster);
}

static void put_zookeeper(struct text *t, const struct api_context *c)
{
    struct zookeeper_report r;

    if (!api_zookeeper(c, &r))
        return;
    put_metric(t, ZOOKEEPER_REFUSALS_TOTAL, "%" PRIu64, r.refusals);
    put_metric(t, ZOOKEEPER_LOSSES_TOTAL, "%" PRIu64, r.losses);
    put_metric(t, ZOOKEEPER_REFUSES, "%d", r.refused[0] != '\0');
    put_metric(t, ZOOKEEPER_WORST_WRITE_SECONDS, "%.6f", (double)r.worst_write_us / 1e6);
    put_metric(t, ZOOKEEPER_REQUEST_MAX_BYTES, "%zu", r.request_max);
}

static void put_journal(struct text *t, struct api *api)
{
    const struct api_context *c = &api->context;
    int64_t jump_ms = 0;
    struct journal_status status = {0};

    c->journal->ops->status(c->journal, &status);
    put_metric(t, JOURNAL_READ, "%d", api_has_read(api));
    if (status.log_bytes_most)
        put_metric(t, ZOOKEEPER_LOG_BYTES, "%" PRIu64, status.log_bytes);
    put_metric(t, JOURNAL_DURABLE_INDEX, "%" PRIu64, status.acked);
    put_head(t, JOURNAL_APPEND_SECONDS);
    put(t, "cronsched_journal_append_seconds_sum %.6f\ncronsched_journal_append_seconds_count %" PRIu64 "\n",
        (double)status.total_append_us / 1e6, status.appends);
    put_metric(t, JOURNAL_LAST_APPEND_SECONDS, "%.6f", (double)status.last_append_us / 1e6);
    put_metric(t, JOURNAL_FAILING, "%d", status.text[0] != '\0');
    put_metric(t, JOURNAL_LOST, "%d", status.lost);
    put_metric(t, JOURNAL_BUSY_SECONDS, "%.3f", (double)status.busy_ms / 1000);
    put_metric(t, CLOCK_HELD, "%d", api_clock_held(c, &jump_ms));
    put_metric(t, CLOCK_JUMP_SECONDS, "%.3f", (double)jump_ms / 1000);
    if (c->history_worker) {
        struct worker_status worker;

        worker_status(c->history_worker, &worker);
        put_metric(t, HISTORY_BUSY_SECONDS, "%.3f", (double)worker.busy_ms / 1000);
    }
    put_metric(t, HISTORY_INDEX, "%" PRIu64, c->history->ops->applied(c->history));
    put_metric(t, HISTORY_FAILING, "%d", c->history->ops->trouble(c->history) != NULL);
}

static void put_loop(struct text *t, const struct api *api)
{
    put_metric(t, LOOP_BUSY_SECONDS_TOTAL, "%.6f", (double)api->gap.busy_ns / 1e9);
    put_metric(t, LOOP_GAP_CPU_SECONDS, "%.6f", (double)loop_gap_most_cpu_ns(&api->gap) / 1e9);
    put_metric(t, LOOP_GAP_SECONDS, "%.6f", (double)loop_gap_longest_ns(&api->gap) / 1e9);
    put_metric(t, HTTP_STREAMS, "%zu", api->stream_count);
    put_metric(t, EVENT_SUBSCRIBERS, "%zu", api->subscriber_count);
    put_metric(t, TOKENS_FILE_FAILING, "%d", auth_trouble(api->auth) != NULL);
}

/* Pages of memory: total, resident. */
static bool read_statm(unsigned long *ret_total, unsigned long *ret_resident)
{
    FILE *file = fopen("/proc/self/statm", "re");
    bool ok = file && fscanf(file, "%lu %lu", ret_total, ret_resident) == 2;

    if (file)
        fclose(file);
    return ok;
}

static bool count_files(size_t *ret)
{
    DIR *dir = opendir("/proc/self/fd");
    size_t n = 0;

    while (dir && readdir(dir))
        n++;
    if (dir)
        closedir(dir);
    *ret = n > 3 ? n - 3 : 0; /* ".", "..", and this one */
    return dir != NULL;
}

static void put_process(struct text *t, const struct api_context *c)
{
    unsigned long total, resident;
    struct rusage usage;
    struct rlimit files;
    size_t open_files;

    if (getrusage(RUSAGE_SELF, &usage) == 0)
        put_metric(t, PROCESS_CPU_SECONDS_TOTAL, "%.3f",
                   (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6);
    if (read_statm(&total, &resident)) {
        unsigned long page = (unsigned long)sysconf(_SC_PAGESIZE);

        put_metric(t, PROCESS_RESIDENT_MEMORY_BYTES, "%lu", resident * page);
        put_metric(t, PROCESS_VIRTUAL_MEMORY_BYTES, "%lu", total * page);
    }
    if (count_files(&open_files))
        put_metric(t, PROCESS_OPEN_FDS, "%zu", open_files);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0)
        put_metric(t, PROCESS_MAX_FDS, "%llu", (unsigned long long)files.rlim_cur);
    put_metric(t, PROCESS_START_TIME_SECONDS, "%.3f", (double)c->started_ms / 1000);
}

void api_handle_metrics(struct http_request *request, void *arg)
{
    struct api *api = OBJECT(struct api, arg);
    const struct api_context *c = &api->context;
    char replica[128], tzdata[128];
    const char *version = c->zones->version(c->zones);
    struct text t;

    text_init(&t, API_METRICS_BYTES_MAX);
    put_head(&t, INFO);
    put(&t, "cronsched_info{version=\"%s\",replica=\"%s\",tzdata=\"%s\"} 1\n", CRONSCHED_VERSION,
        label(c->replica, replica), label(version ? version : "", tzdata));
    scheduler_metrics(c->scheduler, put, &t);
    put_engines(&t, c);
    put_cluster(&t, c);
    put_zookeeper(&t, c);
    put_journal(&t, api);
    http_metrics(api->http, put, &t);
    put_loop(&t, api);
    put_process(&t, c);
    if (t.failed)
        http_reply_error(request, t.failed, "the metrics take more than %d bytes", API_METRICS_BYTES_MAX);
    else if (!api_job_metrics_reply(api, request, text_str(&t)))
        http_reply_text(request, 200, API_METRICS_TYPE, text_str(&t));
    text_release(&t);
}
