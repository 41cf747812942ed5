/* doctor: what is well and what is not, with advice. What may block (the disk, ZooKeeper) is looked at by
 * probes, on threads with a deadline: one that does not answer is a finding, too. */
#include "cronsched/api/api_doctor_look.h"
#include "cronsched/api/api_priv.h"
#include "cronsched/io/json_text.h"
#include "jobs/base/alloc.h"
#include "jobs/base/object.h"
#include "jobs/base/text.h"
#include "jobs/engine/engine_proof.h"
#include "jobs/time/instant.h"
#include "leader/zookeeper/zookeeper_config.h"
#include "leader/zookeeper/zookeeper_version.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/timex.h>

#define FILES_WARN           1024 /* descriptors this process may open */
#define LOOP_WARN_NS         UINT64_C(1000000000)
#define APPEND_WARN_US       1000000
#define CLOCK_YEAR_2026_MS   INT64_C(1767225600000)
#define HISTORY_LAG_WARN     1000               /* batches */
#define EPOCH_WARN           (INT64_C(1) << 30) /* half of what the node's version can count */
#define ENGINE_CLOCK_WARN_MS 5000
#define CERTIFICATE_WARN_MS  (INT64_C(14) * 24 * 3600 * 1000)
#define CERTIFICATE_ADVICE   "renew tls.cert, and send SIGHUP to this server"
#define LIST_BYTES           1280
#define DIFFERS_ADVICE                                                                                       \
    "stop the replica that disagrees with the majority, run 'cronsched cluster rejoin' on its data folder, " \
    "start it"

enum level { OK, WARNING, ERROR };
static const char *const level_names[] = {"ok", "warning", "error"};

struct doctor {
    struct api *api;
    struct http_request *request;
    json_t *checks;
    struct api_doctor_findings disk, zookeeper;
    char disk_silent[64], zookeeper_silent[64]; /* why nothing was found; "" */
    int probes;                                 /* under way */
    char servers_list[LIST_BYTES];              /* "": no ZooKeeper */
    struct zookeeper_report report;
};

/* It outlives its doctor when it hangs. */
struct probe {
    struct work work;
    struct doctor *doctor; /* not for the thread */
    struct api_doctor_findings *ret;
    char *ret_silent; /* of the size of disk_silent */
    void (*look)(const char *at, struct api_doctor_findings *ret);
    char *at;
    struct api_doctor_findings found;
};

__attribute__((format(printf, 5, 6))) static void add(struct doctor *d, const char *check, enum level level,
                                                      const char *advice, const char *format, ...)
{
    char text[1024];
    va_list ap;

    va_start(ap, format);
    vsnprintf(text, sizeof(text), format, ap);
    va_end(ap);
    json_array_append_new(d->checks, json_pack("{s:s, s:s, s:s, s:s?}", "check", check, "status",
                                               level_names[level], "text", text, "advice", advice));
}

/* ---- probes, on threads ---- */

static void probe_run(struct work *work)
{
    struct probe *p = LIST_ITEM(work, struct probe, work);

    p->look(p->at, &p->found);
}

static void conclude(struct doctor *d);

static void probe_done(struct work *work, int result)
{
    struct probe *p = LIST_ITEM(work, struct probe, work);
    struct doctor *d = p->doctor;

    if (result < 0)
        worker_result_text(d->api->probes, result, p->ret_silent, sizeof(d->disk_silent));
    else
        *p->ret = p->found;
    if (--d->probes == 0)
        conclude(d);
}

static void probe_release(struct work *work)
{
    struct probe *p = LIST_ITEM(work, struct probe, work);

    free(p->at);
    free(p);
}

static void probe_start(struct doctor *d, const char *at,
                        void (*look)(const char *at, struct api_doctor_findings *ret),
                        struct api_doctor_findings *ret, char *ret_silent)
{
    struct probe *p = alloc_zero(sizeof(*p));

    p->doctor = d;
    p->look = look;
    p->at = alloc_text(at);
    p->ret = ret;
    p->found = *ret;
    p->ret_silent = ret_silent;
    p->work = (struct work){.run = probe_run, .done = probe_done, .release = probe_release, .subject = p->at};
    d->probes++;
    worker_submit(d->api->probes, &p->work);
}

/* ---- the checks ---- */

static void check_versions(struct doctor *d)
{
    if (d->zookeeper_silent[0])
        add(d, "zookeeper", WARNING, "check the name service of this machine",
            "its servers cannot be asked for their version: %s", d->zookeeper_silent);
    for (size_t i = 0; i < d->zookeeper.zookeeper_count; i++) {
        const struct zookeeper_version_answer *a = &d->zookeeper.zookeeper[i];

        if (!a->version[0])
            add(d, "zookeeper", WARNING, NULL, "%s: its version is not known: %s", a->server, a->problem);
        else if (zookeeper_version_loses(a->version))
            add(d, "zookeeper", WARNING, "upgrade it to 3.8.5, 3.9.2 or later",
                "%s has version %s, which can lose committed transactions (ZOOKEEPER-4785)", a->server,
                a->version);
        else
            add(d, "zookeeper", OK, NULL, "%s has version %s", a->server, a->version);
    }
}

static void check_servers(struct doctor *d)
{
    const struct zookeeper_config_differences *s = &d->zookeeper.servers;

    for (size_t i = 0; i < s->missing_count; i++)
        add(d, "zookeeper", WARNING, "name it in zookeeper: and send SIGHUP",
            "the ensemble has a server %s:%s that zookeeper: does not name", s->missing[i].host,
            s->missing[i].port[0] ? s->missing[i].port : "?");
    for (size_t i = 0; i < s->strange_count; i++)
        add(d, "zookeeper", WARNING,
            "take it out of zookeeper: and send SIGHUP; if it is the same server under another address, all "
            "is well",
            "zookeeper: names %s:%s, which the ensemble does not have", s->strange[i].host,
            s->strange[i].port);
    if (d->zookeeper.servers_known && s->missing_count + s->strange_count == 0)
        add(d, "zookeeper", OK, NULL, "zookeeper: names the servers that the ensemble has");
}

/* What they answer to us. */
static void check_answers(struct doctor *d)
{
    const struct zookeeper_report *r = &d->report;
    int64_t worst_ms = r->worst_write_us / 1000;
    const char *slow = NULL;

    if (r->refused[0])
        add(d, "zookeeper", ERROR, "see \"ZooKeeper refuses writes\" in the guide's troubleshooting",
            "the servers refuse writes: %s; %" PRIu64 " so far", r->refused, r->refusals);
    if (r->request_max)
        add(d, "zookeeper", WARNING, "set jute.maxbuffer of all servers to 1048575, its default, or more",
            "jute.maxbuffer of a server is small: requests are at most %zu bytes", r->request_max);
    if (worst_ms * 1000 > APPEND_WARN_US || worst_ms > r->timeout_ms / 3)
        slow = "the servers' disks are slow, or they are overloaded; above two thirds of session_timeout "
               "sessions break";
    add(d, "zookeeper", slow ? WARNING : OK, slow,
        "a write took at most %" PRId64 " ms in the last minutes; a session lasts %" PRId64 " ms", worst_ms,
        r->timeout_ms);
}

/* Who else could write what the replicas believe. */
static void check_users(struct doctor *d)
{
    const struct zookeeper_report *r = &d->report;

    if (!r->users)
        add(d, "zookeeper access", WARNING,
            "give all replicas a zookeeper_auth_file: see the guide, 'Several machines'",
            "everybody who reaches ZooKeeper may run anything on every replica");
    else if (r->others[0])
        add(d, "zookeeper access", auth_insecure(d->api->auth) ? WARNING : ERROR,
            "close the nodes: 'cronsched cluster secure --config FILE --yes' with a replica's configuration",
            "%s", r->others);
    else
        add(d, "zookeeper access", OK, NULL, "the nodes are open to the users of zookeeper_auth_file alone");
    if (r->users_trouble)
        add(d, "zookeeper_auth_file", WARNING, "make another line with 'cronsched cluster password'", "%s",
            r->users_trouble);
}

static void check_epoch(struct doctor *d)
{
    json_t *cluster = api_cluster_json(&d->api->context);
    int64_t epoch = json_integer_value(json_object_get(cluster, "epoch"));

    if (epoch > EPOCH_WARN)
        add(d, "zookeeper", WARNING, "move the cluster to a new root: see the guide's troubleshooting",
            "epoch %" PRId64 " of at most 2147483647 that ZooKeeper can count", epoch);
    json_decref(cluster);
}

static void check_zookeeper(struct doctor *d)
{
    if (!d->servers_list[0])
        return;
    check_versions(d);
    check_servers(d);
    check_answers(d);
    check_users(d);
    check_epoch(d);
}

static enum level space_level(uint64_t free_bytes)
{
    if (free_bytes < (uint64_t)API_SPACE_BAD_BYTES)
        return ERROR;
    return free_bytes < (uint64_t)API_SPACE_WARN_BYTES ? WARNING : OK;
}

static void check_data_dir(struct doctor *d)
{
    const char *dir = d->api->context.data_dir;
    const struct api_doctor_findings *f = &d->disk;
    enum level level = space_level(f->free_bytes);

    if (d->disk_silent[0]) {
        add(d, "data folder", ERROR, "check the disk, or the mount, of the data folder",
            "%s does not answer: %s", dir, d->disk_silent);
        return;
    }
    if (f->wal_bytes > API_WAL_WARN_BYTES)
        add(d, "history", WARNING,
            "look for a program that has been reading history.db for long, as sqlite3 may",
            "history.db-wal has grown to %" PRId64 " MiB: a reader keeps it from being emptied",
            f->wal_bytes >> 20);

    if (f->write_error)
        add(d, "data folder", ERROR, "allow the server's user to write there, or free some space",
            "cannot write to %s: %s", dir, strerror(f->write_error));
    else
        add(d, "data folder", OK, NULL, "%s is writable", dir);
    if (f->space_error)
        add(d, "free space", WARNING, NULL, "%s: %s", dir, strerror(f->space_error));
    else
        add(d, "free space", level, level ? "free some space, or keep fewer runs and logs (keep:)" : NULL,
            "%" PRIu64 " MiB free in %s", f->free_bytes >> 20, dir);
    if (f->inodes_known && f->free_inodes < 10000)
        add(d, "free inodes", WARNING, "remove files, or keep fewer runs (keep:)", "%" PRIu64 " free in %s",
            f->free_inodes, dir);
}

static void check_leading(struct doctor *d)
{
    const struct api_context *c = &d->api->context;
    json_t *status = scheduler_status_json(c->scheduler), *cluster = api_cluster_json(c);
    const char *trouble = json_string_value(json_object_get(cluster, "mark_trouble"));
    char why[API_REFUSING_SIZE];

    if (scheduler_leading(c->scheduler))
        add(d, "leadership", OK, NULL, "this replica leads, epoch %" JSON_INTEGER_FORMAT,
            json_integer_value(json_object_get(status, "epoch")));
    else if (api_following(c))
        add(d, "leadership", OK, NULL, "this replica follows the leader");
    else if (d->servers_list[0] && d->report.others[0] && !auth_insecure(d->api->auth))
        add(d, "leadership", ERROR, "see zookeeper access",
            "this replica neither leads nor follows: others may write what it would believe");
    else
        add(d, "leadership", ERROR, json_string_value(json_object_get(cluster, "advice")),
            "this replica neither leads nor follows: %s", api_refusing(c, why));
    if (trouble && trouble[0])
        add(d, "mark", ERROR, "after a restart this replica would not know what it knows now", "%s", trouble);
    json_decref(cluster);
    json_decref(status);
}

/* Other replicas that refuse the journal in ZooKeeper, or wait for consent to join: their number. */
static size_t check_refusals(struct doctor *d, const json_t *cluster)
{
    const json_t *rows = json_object_get(cluster, "replicas"), *row;
    size_t i, n = 0;

    json_array_foreach(rows, i, row)
    {
        const char *id = json_string_value(json_object_get(row, "id")),
                   *why = json_string_value(json_object_get(row, "refuses"));

        if (why)
            add(d, "replicas", ERROR, "'cronsched cluster' shows what each holds", "%s refuses: %s", id, why);
        if (json_is_true(json_object_get(row, "joining")))
            add(d, "replicas", WARNING, "run 'cronsched cluster join' there, or stop it",
                "%s waits for consent to join", id);
        n += why || json_is_true(json_object_get(row, "joining"));
    }
    return n;
}

/* Replicas that are known, and are not there: their number. */
static size_t check_absent(struct doctor *d, const json_t *cluster)
{
    const json_t *rows = json_object_get(cluster, "absent"), *row;
    char advice[400];
    size_t i;

    json_array_foreach(rows, i, row)
    {
        const char *id = json_string_value(json_object_get(row, "id"));

        snprintf(
            advice, sizeof(advice),
            "start it, and compare its `zookeeper:`; if it is no part of the cluster any more: 'cronsched "
            "cluster forget %.100s'",
            id);
        add(d, "replicas", ERROR, advice, "%s at %s is not here since %s: %s", id,
            json_string_value(json_object_get(row, "url")), json_string_value(json_object_get(row, "seen")),
            json_string_value(json_object_get(row, "why")));
    }
    return json_array_size(rows);
}

/* What ought to be alike on all replicas. */
static const struct {
    const char *what, *advice;
    enum level level;
    bool sentence; /* the text says all */
} differences[] = {
    {"version", "normal during a rolling upgrade; then upgrade all replicas to the same version", WARNING},
    {"tzdata", "install the same tzdata everywhere: the replica with the newest is preferred as leader",
     WARNING},
    {"config",
     "engines, pools and grace times must be the same; while another replica can lead, one that differs "
     "from "
     "most others does not",
     WARNING},
    {"engine",
     "point its endpoint to the same engine on all replicas, or give engines of different machines "
     "different "
     "names: a replica knows nothing of what runs on another engine than its own",
     ERROR},
    {"data folder", "if it is the copy, stop it, remove 'attempts' from its data folder, start it again",
     ERROR, true},
    {"clock", "run chrony or another time service on these machines", WARNING},
    {"links", "check `advertise` of the one and the firewalls between them", WARNING, true},
    {"state", DIFFERS_ADVICE, ERROR},
    {"mark", DIFFERS_ADVICE, ERROR},
    {"other-leader",
     "stop one of the two: all replicas of a cluster have to use one ensemble; see 'When the store is "
     "restored, emptied, moved or copied' in the guide",
     ERROR, true},
    {"leader", "look at the replicas' logs; each says why it does not take over", ERROR, true},
};

static void check_differences(struct doctor *d, const json_t *all)
{
    const json_t *difference;
    size_t i;

    json_array_foreach(all, i, difference)
    {
        const char *what = json_string_value(json_object_get(difference, "what")),
                   *text = json_string_value(json_object_get(difference, "text"));

        for (size_t k = 0; k < sizeof(differences) / sizeof(differences[0]); k++) {
            if (strcmp(differences[k].what, what) != 0)
                continue;
            if (differences[k].sentence)
                add(d, "replicas", differences[k].level, differences[k].advice, "%s", text);
            else
                add(d, "replicas", differences[k].level, differences[k].advice, "they differ in %s: %s", what,
                    text);
        }
    }
}

/* Also of those that nobody here has ever seen. */
static bool check_expected(struct doctor *d, const json_t *cluster)
{
    int expected = d->api->context.expected_replicas, present = api_replicas_present(cluster);

    if (!cluster || !expected || present >= expected)
        return true;
    add(d, "replicas", ERROR,
        "start those that are missing; or set `expected_replicas` to the number that there are to be",
        "%d of %d expected", present, expected);
    return false;
}

static void check_replicas(struct doctor *d)
{
    bool enough;
    json_t *cluster = api_cluster_json(&d->api->context);
    const json_t *all = json_object_get(cluster, "differences");
    size_t wrong, replicas = json_array_size(json_object_get(cluster, "replicas"));

    check_differences(d, all);
    wrong = json_array_size(all) + check_refusals(d, cluster) + check_absent(d, cluster);
    enough = check_expected(d, cluster);
    if (cluster && wrong == 0 && enough && replicas > 1)
        add(d, "replicas", OK, NULL, "%zu, alike", replicas);
    else if (cluster && wrong == 0 && enough)
        add(d, "replicas", WARNING, "start a second replica: there is no standby", "%zu", replicas);
    json_decref(cluster);
}

static void check_history(struct doctor *d, uint64_t applied, uint64_t acked)
{
    const struct history *history = d->api->context.history;
    const char *trouble = history->ops->trouble(history);
    struct worker_status worker = {0};

    if (d->api->context.history_worker)
        worker_status(d->api->context.history_worker, &worker);
    if (worker.busy_ms >= API_STUCK_MS)
        add(d, "history", WARNING, "check the disk, and look for a program that holds a lock on history.db",
            "its file has not answered for %" PRIu64 " s", worker.busy_ms / 1000);
    else if (trouble)
        add(d, "history", WARNING, "check the disk, and look for a program that holds a lock on history.db",
            "written up to batch %" PRIu64 ", and no further: %s", applied, trouble);
    else if (applied + HISTORY_LAG_WARN < acked)
        add(d, "history", WARNING, "lists of past runs lag behind; check the disk, and the log for 'history'",
            "written up to batch %" PRIu64 " of %" PRIu64, applied, acked);
    else
        add(d, "history", OK, NULL, "written up to batch %" PRIu64, applied);
}

static uint64_t applied_index(const struct api_context *c)
{
    json_t *status = scheduler_status_json(c->scheduler);
    json_int_t index = json_integer_value(json_object_get(status, "index"));

    json_decref(status);
    return (uint64_t)index;
}

/* What the journal keeps in the memory of ZooKeeper's servers, as the leader knows it. */
static void check_log(struct doctor *d, const struct journal_status *status)
{
    const double mb = 1024 * 1024;

    if (!status->log_bytes_most || !status->leading)
        return;
    if (status->log_bytes > status->log_bytes_most)
        add(d, "zookeeper", WARNING,
            "see what keeps the leader from writing snapshots: its log, and 'history' and 'journal' here",
            "batches of %.1f MB are in the memory of each ZooKeeper server, more than the %.0f MB that they "
            "should be",
            (double)status->log_bytes / mb, (double)status->log_bytes_most / mb);
    else
        add(d, "zookeeper", OK, NULL,
            "batches of %.1f MB are in the memory of each ZooKeeper server, of %.0f MB at most",
            (double)status->log_bytes / mb, (double)status->log_bytes_most / mb);
    if (status->left_behind[0])
        add(d, "zookeeper", WARNING,
            "look at the disk and the log of that replica; it gets the state from a snapshot, and history "
            "from others",
            "batches that %s does not hold yet were removed, since the log would have grown without a bound",
            status->left_behind);
}

static void check_journal(struct doctor *d)
{
    const struct api_context *c = &d->api->context;
    struct journal_status status = {0};
    const char *slow = NULL;
    uint64_t applied = c->history->ops->applied(c->history);

    c->journal->ops->status(c->journal, &status);
    if (status.last_append_us > APPEND_WARN_US)
        slow = "a slow disk, or a slow ZooKeeper, delays starts that were not armed";
    if (status.warning[0])
        add(d, "journal", WARNING,
            "see 'When the data folder is moved, emptied, restored or copied' in the guide", "%s",
            status.warning);
    if (status.busy_ms >= API_STUCK_MS)
        add(d, "journal", ERROR, "check the disk of the data folder; nothing starts until it answers",
            "its file has not answered for %" PRId64 " s", status.busy_ms / 1000);
    else if (status.text[0])
        add(d, "journal", ERROR,
            status.lost ? "stop this server, put the right files into data_dir, start it again"
                        : "writes are refused until this is resolved",
            "%s", status.text);
    else if (!status.leading)
        add(d, "journal", OK, NULL, "batch %" PRIu64 " is the last that was read from it", applied_index(c));
    else
        add(d, "journal", slow ? WARNING : OK, slow,
            "batch %" PRIu64 " is durable, the last append took %" PRId64 " ms", status.acked,
            status.last_append_us / 1000);
    check_log(d, &status);
    check_history(d, applied, status.acked);
}

static void check_engine(struct doctor *d, const struct engine *engine, const json_t *proofs)
{
    char proof[512];
    struct engine_status status = {0};
    const char *advice = NULL, *text = "reachable";
    char name[128];

    engine->ops->status(engine, &status);
    if (!status.reachable) {
        advice = status.advice
                     ? status.advice
                     : "jobs of this engine do not start until it answers; check 'endpoint' and its "
                       "permissions";
        text = "not reachable";
    }
    if (status.text[0])
        text = status.text;
    snprintf(name, sizeof(name), "engine %s", engine->name);
    if (!api_proofs_tell(proofs, engine, &status, proof, sizeof(proof)))
        add(d, "engines", ERROR, "do not use it for what must not run twice", "engine %s%s", engine->name,
            proof);
    if (status.anonymous)
        add(d, name, WARNING,
            "without an identity another engine under this name is not noticed: permit volumes to be made "
            "and read there",
            "%s: %s%s", engine->type, text, proof);
    else
        add(d, name, advice ? ERROR : OK, advice, "%s: %s%s", engine->type, text, proof);
    if (status.clock_offset_ms > ENGINE_CLOCK_WARN_MS || status.clock_offset_ms < -ENGINE_CLOCK_WARN_MS)
        add(d, name, WARNING,
            "run a time service on the engine's machine; times in runs and logs are of both clocks",
            "its clock was %+" PRId64 " s off this server's when it was asked",
            status.clock_offset_ms / 1000);
    if (status.trouble[0])
        add(d, name, ERROR, status.advice, "%s", status.trouble);
    if (status.reachable && status.warning[0])
        add(d, name, WARNING, status.warning, "%s: it works, and may be set up better", engine->type);
    if (status.stuck)
        add(d, name, WARNING,
            "look for a mount whose server is away; runs that need such a file fail to start",
            "%d reads of files that jobs name (from_file) do not come back", status.stuck);
}

static void check_engines(struct doctor *d)
{
    const struct api_context *c = &d->api->context;
    const char *missing = NULL;
    json_t *proofs = NULL;
    size_t count = scheduler_jobs_without_engine(c->scheduler, &missing);
    char text[256];
    size_t deaf = scheduler_deaf_runs(c->scheduler, text, sizeof(text));

    json_text_object(d->disk.proofs, strlen(d->disk.proofs), "proofs", &proofs, NULL);
    for (size_t i = 0; i < c->engine_count; i++)
        check_engine(d, c->engines[i], proofs);
    json_decref(proofs);
    if (deaf > 0)
        add(d, "runs", ERROR,
            "look at its container or process on its host; it counts as running until it has ended",
            "%zu %s not end: %s", deaf, deaf == 1 ? "run does" : "runs do", text);
    if (count > 0)
        add(d, "engines", ERROR, "list it in the configuration (engines:), or change the jobs",
            "%zu jobs do not start: their engine is not in the configuration ('%s')", count, missing);
}

static void check_clock(struct doctor *d)
{
    const struct api_context *c = &d->api->context;
    struct timex tx = {0};
    int r = adjtimex(&tx);
    int64_t jump_ms;

    if (api_clock_held(c, &jump_ms))
        add(d, "clock", ERROR, "correct the clock; if it is right: cronsched cluster accept-clock",
            "it is %" PRId64
            " s off the time that is believed: it jumped, or was behind the journal at the start, and "
            "nothing confirms it",
            jump_ms / 1000);
    else if (c->wall_ms(c->arg) < CLOCK_YEAR_2026_MS)
        add(d, "clock", ERROR, "set the clock", "it shows a time before 2026");
    else if (r < 0)
        add(d, "clock", OK, NULL, "cannot read whether it is synchronized: %s", strerror(errno));
    else if (r == TIME_ERROR || (tx.status & STA_UNSYNC))
        add(d, "clock", WARNING, "run chrony or another time service on this machine",
            "the kernel reports that it is not synchronized");
    else
        add(d, "clock", OK, NULL, "synchronized, error at most %ld ms", tx.maxerror / 1000);
}

static void check_zones(struct doctor *d)
{
    struct zone_source *zones = d->api->context.zones;
    const char *version = zones->version(zones);
    const struct zone *zone;
    struct error e;

    if (zones->get(zones, "Europe/Paris", &zone, &e) < 0) {
        add(d, "time zones", ERROR, "install tzdata, or point TZDIR to it", "%s", e.text);
        return;
    }
    zones->put(zones, zone);
    add(d, "time zones", OK, NULL, "tzdata %s", version && version[0] ? version : "of an unknown version");
}

static void check_process(struct doctor *d)
{
    uint64_t longest = loop_gap_longest_ns(&d->api->gap);
    const char *advice = NULL;
    struct rlimit files;

    if (longest > LOOP_WARN_NS)
        advice = "the machine is overloaded, or a request was very large";
    add(d, "event loop", advice ? WARNING : OK, advice,
        "busy for at most %" PRIu64 " ms at a time in the last minutes, computing for at most %" PRIu64 " ms",
        longest / 1000000, loop_gap_most_cpu_ns(&d->api->gap) / 1000000);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < FILES_WARN)
        add(d, "open files", WARNING, "raise LimitNOFILE= or 'ulimit -n' to 65536",
            "this process may open %llu", (unsigned long long)files.rlim_cur);
}

static void check_access(struct doctor *d)
{
    const struct auth *auth = d->api->auth;

    if (auth_tokens_file(auth))
        add(d, "access", OK, NULL, "%zu tokens in %s", auth_token_count(auth), auth_tokens_file(auth));
    else
        add(d, "access", OK, NULL, "no tokens_file: %s",
            auth_loopback_reads(auth) ? "the unix socket, and over loopback everybody reads"
                                      : "the unix socket only");
    if (auth_trouble(auth))
        add(d, "tokens file", ERROR, "mend the file: tokens that were taken out of it are valid as long",
            "%s", auth_trouble(auth));
    if (api_address_taken(d->api))
        add(d, "listen", ERROR, "end the program that has it: 'ss -ltnp' names it",
            "%s is taken by another program", api_address_taken(d->api));
    if (api_address_useless(d->api))
        add(d, "listen", WARNING,
            "make tokens with 'cronsched token', allow 'loopback: read', or take the address away",
            "%s: " API_USELESS, api_address_useless(d->api));
    if (auth_insecure(auth))
        add(d, "insecure", WARNING, "give the server tokens and TLS, and remove the key", "%s",
            auth_tokens_file(auth) ? API_INSECURE_TOKENS : API_INSECURE_OPEN);
}

static void check_certificate(struct doctor *d)
{
    int64_t expires_ms = http_certificate_expires_ms(d->api->http),
            left_ms = expires_ms - d->api->context.wall_ms(d->api->context.arg);
    char until[TEXT_NUMBER_BUFFER];

    if (expires_ms == INT64_MAX)
        return;
    instant_format(expires_ms, INSTANT_S, until, sizeof(until));
    if (left_ms <= 0)
        add(d, "certificate", ERROR, CERTIFICATE_ADVICE, "it has ended, %s: others refuse it", until);
    else if (left_ms < CERTIFICATE_WARN_MS)
        add(d, "certificate", WARNING, CERTIFICATE_ADVICE, "valid until %s", until);
    else
        add(d, "certificate", OK, NULL, "valid until %s", until);
}

static void conclude(struct doctor *d)
{
    struct api *api = d->api;

    check_leading(d);
    check_replicas(d);
    check_zookeeper(d);
    check_journal(d);
    check_engines(d);
    check_data_dir(d);
    check_clock(d);
    check_zones(d);
    check_process(d);
    check_access(d);
    check_certificate(d);
    http_reply_json(d->request, 200,
                    json_pack("{s:s, s:o}", "replica", api->context.replica, "checks", d->checks));
    http_request_unref(d->request);
    free(d);
    api_work_end(api);
}

void api_handle_doctor(struct http_request *request, void *arg)
{
    struct api *api = OBJECT(struct api, arg);
    struct doctor *d = calloc(1, sizeof(*d));
    const char *list;

    if (!d || !(d->checks = json_array())) {
        free(d);
        http_reply_error(request, ERR_NOMEM, "out of memory");
        return;
    }
    d->api = api;
    d->request = http_request_ref(request);
    list = api_zookeeper(&api->context, &d->report);
    api_work_begin(api);
    probe_start(d, api->context.data_dir, api_doctor_look_at_disk, &d->disk, d->disk_silent);
    if (list) {
        snprintf(d->servers_list, sizeof(d->servers_list), "%s", list);
        snprintf(d->zookeeper.config, sizeof(d->zookeeper.config), "%s", d->report.config);
        probe_start(d, list, api_doctor_look_at_zookeeper, &d->zookeeper, d->zookeeper_silent);
    }
}
