/* Requests at random, to whoever believes that it leads, and what each client was promised. */
#include "tests/sim/sim.h"

#include "jobs/base/text.h"
#include "jobs/state/run_id.h"
#include "jobs/time/instant.h"

#include <stdio.h>

#define PICK(w, list) ((list)[draw(w) % (sizeof(list) / sizeof((list)[0]))])

/* ---- definitions ---- */

static void set(json_t *o, const char *key, json_t *value)
{
    json_object_set_new(o, key, value);
}

static json_t *random_schedule(struct world *w)
{
    static const char *const texts[] = {"* * * * * *",      "*/2 * * * * *",     "*/5 * * * * *",
                                        "*/7 * * * * *",    "*/20 * * * * *",    "0 * * * * *",
                                        "30 */2 * * * *",   "@every 11s",        "~ * * * * *",
                                        "0 0-20/2 * * * *", "15 0-44/3 * * * *", "@at 2025-11-22T08:33:20Z"};

    return json_pack("[s]", PICK(w, texts));
}

static json_t *random_def(struct world *w, const char *name)
{
    static const char *const concurrency[] = {"forbid", "allow", "queue", "replace"};
    static const char *const catch_up[] = {"latest", "none", "all"};
    static const char *const jitter[] = {"3s", "40s", "2m"};
    static const char *const within[] = {"5s", "90s", "3m"};
    json_t *o = json_object();

    set(o, "image", json_string("x"));
    if (strncmp(name, "child", 5) == 0)
        set(o, "after", chance(w, 500) ? json_pack("[s]", "job-0") : json_pack("[s,s]", "job-0", "job-1"));
    else
        set(o, "schedule", random_schedule(w));
    if (chance(w, 700))
        set(o, "concurrency", json_string(PICK(w, concurrency)));
    if (chance(w, 300))
        set(o, "queue_max", json_integer(between(w, 1, 5)));
    if (chance(w, 600))
        set(o, "catch_up", json_string(PICK(w, catch_up)));
    if (chance(w, 300))
        set(o, "max_catch_up", json_integer(between(w, 1, 20)));
    if (chance(w, 300))
        set(o, "retries",
            json_pack("{s:i,s:s}", "max", (int)between(w, 1, 3), "delay", chance(w, 500) ? "1s" : "20s"));
    if (chance(w, 300))
        set(o, "timeout", json_string(chance(w, 500) ? "2s" : "20s"));
    if (chance(w, 250) && strncmp(name, "child", 5) != 0)
        set(o, "jitter", json_string(PICK(w, jitter)));
    if (chance(w, 250))
        set(o, "start_within", json_string(PICK(w, within)));
    if (chance(w, 300))
        set(o, "pool", json_pack("{s:s}", "name", "small"));
    if (chance(w, 300))
        set(o, "priority", json_integer(between(w, 0, 100)));
    if (chance(w, 200))
        set(o, "on_lost", json_string("rerun"));
    if (chance(w, 300))
        set(o, "engine", chance(w, 700) ? json_pack("[s,s]", "docker", "spare") : json_pack("[s]", "spare"));
    if (chance(w, 400) && strncmp(name, "child", 5) != 0)
        set(o, "timezone", json_string("Sim/Zone"));
    return o;
}

static void on_applied(void *arg, int rc, struct scheduler_result *result)
{
    struct world *w = arg;

    if (rc < 0 && rc != ERR_LIMIT && rc != ERR_NO_LEADER && rc != ERR_BUSY)
        violation(w, "apply: %s", result->error.text);
    json_decref(result->reply);
    json_decref(result->details);
}

/* A set goes on over many turns, with all that happens in between. */
static void apply(struct world *w, struct scheduler *s, json_t *jobs, bool prune)
{
    struct scheduler_result result = {0};
    json_t *body = json_pack("{s:o}", "jobs", jobs);

    set(body, "set", json_string("sim"));
    if (prune) {
        set(body, "prune", json_true());
        set(body, "allow_empty", json_true());
        scheduler_apply_then(s, body, "sim", on_applied, w);
    } else {
        on_applied(w, scheduler_apply(s, body, "sim", &result), &result);
    }
    json_decref(body);
}

static json_t *all_jobs(struct world *w)
{
    json_t *jobs = json_object();

    for (int i = 0; i < w->job_count; i++)
        json_object_set_new(jobs, w->jobs[i], random_def(w, w->jobs[i]));
    return jobs;
}

void client_first_jobs(struct world *w)
{
    w->job_count = (int)between(w, 3, JOBS_MAX);
    for (int i = 0; i < w->job_count; i++)
        snprintf(w->jobs[i], sizeof(w->jobs[i]), i == 2 || i == 5 ? "child-%d" : "job-%d", i);
    apply(w, w->replicas[0].scheduler, all_jobs(w), false);
}

/* ---- what was promised ---- */

struct promise { /* of a request whose answer waits for the journal */
    struct world *w;
    uint64_t index;
    int key; /* of keys, -1: none */
    size_t key_era;
    int64_t epoch; /* of the leader that took it */
    char killed[RUN_ID_MAX];
};

static void on_durable(void *arg, int result)
{
    struct promise *p = arg;
    struct world *w = p->w;

    if (result == 0 && p->index > w->batch_count)
        violation(w, "a request is acknowledged at batch %llu, and %zu are durable",
                  (unsigned long long)p->index, w->batch_count);
    if (result == 0 && p->key >= 0 && p->key_era == w->key_era)
        w->keys[p->key].acked = true;
    if (result == 0 && p->killed[0]) {
        struct run_note *n = monitor_run(w, p->killed);

        n->kill_ms = w->now_ms;
        n->kill_epoch = p->epoch;
    }
    free(p);
}

static void wait_for(struct world *w, struct scheduler *s, uint64_t index, int key, const char *killed)
{
    struct promise *p = alloc_zero(sizeof(*p));

    p->w = w;
    p->index = index;
    p->key = key;
    p->key_era = w->key_era;
    p->epoch = s->epoch;
    snprintf(p->killed, sizeof(p->killed), "%s", killed ? killed : "");
    scheduler_wait(s, index, on_durable, p);
}

/* ---- requests ---- */

static const char *any_job(struct world *w)
{
    return w->jobs[draw(w) % (uint64_t)w->job_count];
}

static void trigger(struct world *w, struct scheduler *s)
{
    json_t *body = json_pack("{s:b,s:b}", "queue", (int)chance(w, 500), "with_children", (int)chance(w, 300));
    struct scheduler_result result = {0};

    if (scheduler_trigger(s, any_job(w), body, "sim", &result) == 0)
        wait_for(w, s, result.index, -1, NULL);
    json_decref(result.reply);
    json_decref(body);
}

/* A client that sends its trigger until it hears that it is done, and then once more for luck. */
static void trigger_with_key(struct world *w, struct scheduler *s)
{
    bool again = w->key_count > 0 && (w->key_count == KEYS_MAX || chance(w, 700));
    size_t i = again ? draw(w) % w->key_count : w->key_count;
    struct key_note *k = &w->keys[i];
    struct scheduler_result result = {0};
    json_t *body;
    const char *run;
    bool other = again && chance(w, 100);
    int rc;

    if (!again) {
        *k = (struct key_note){.params = (int)between(w, 0, 7)};
        memcpy(k->job, any_job(w), sizeof(w->jobs[0]));
        snprintf(k->key, sizeof(k->key), "key-%zu", w->key_era + i);
        w->key_count++;
    }
    body = json_pack("{s:s,s:b,s:{s:s#}}", "key", k->key, "queue", 1, "params", "n", "0123456789" + k->params,
                     1 + other);
    rc = scheduler_trigger(s, k->job, body, "sim", &result);
    if (rc == 0) {
        run = json_string_value(json_object_get(result.reply, "run"));
        if (other && k->acked)
            violation(w, "%s %s is taken again with other parameters", k->job, k->key);
        if (k->acked && strcmp(run, k->run) != 0)
            violation(w, "%s %s was %s and is %s now", k->job, k->key, k->run, run);
        if (!other)
            snprintf(k->run, sizeof(k->run), "%s", run);
        if (!other)
            wait_for(w, s, result.index, (int)i, NULL);
    }
    json_decref(result.reply);
    json_decref(body);
}

static void pause_one(struct world *w, struct scheduler *s)
{
    const char *job = chance(w, 250) ? NULL : any_job(w);
    int64_t until = chance(w, 600) ? s->now_ms + between(w, 100, 20000) : 0;
    struct scheduler_result result = {0};

    scheduler_pause(s, job, until, "sim", "sim", &result);
    json_decref(result.reply);
}

static void resume_one(struct world *w, struct scheduler *s)
{
    const char *job = chance(w, 400) ? NULL : any_job(w);
    struct scheduler_result result = {0};

    scheduler_resume(s, job, "sim", &result);
    json_decref(result.reply);
}

static void kill_one(struct world *w, struct scheduler *s)
{
    struct run *r = s->state.runs;
    struct scheduler_result result = {0};
    char id[RUN_ID_MAX];

    for (int64_t i = between(w, 0, 20); r && i > 0; i--)
        r = r->by_id.next;
    if (!r)
        return;
    snprintf(id, sizeof(id), "%s", r->id);
    tell(w, "client kills %s, which is %s", id, run_state_name(r->state));
    if (scheduler_kill(s, id, "sim", &result) == 0)
        wait_for(w, s, result.index, -1, id);
    json_decref(result.reply);
}

/* Any of: a word in its description, another schedule and policies, or a job that was deleted made again. */
static void edit(struct world *w, struct scheduler *s)
{
    const char *name = any_job(w);
    struct job_state *j = state_job(&s->state, name);
    json_t *def;

    if (strncmp(name, "child", 5) == 0 && (!state_job(&s->state, "job-0") || !state_job(&s->state, "job-1")))
        return;
    if (j && chance(w, 400)) {
        def = job_to_json(j->def);
        set(def, "description", json_sprintf("edit %llu", (unsigned long long)w->steps));
    } else {
        def = random_def(w, name);
    }
    tell(w, "client edits %s", name);
    apply(w, s, json_pack("{s:o}", name, def), false);
}

static void delete_one(struct world *w, struct scheduler *s)
{
    struct scheduler_result result = {0};
    const char *job = any_job(w);

    tell(w, "client deletes %s", job);
    scheduler_delete(s, job, "sim", &result);
    json_decref(result.reply);
}

/* All at once, as a set: staged, with prune. */
static void apply_set(struct world *w, struct scheduler *s)
{
    json_t *jobs = all_jobs(w);

    for (int i = 3; i < w->job_count; i++)
        if (chance(w, 300))
            json_object_del(jobs, w->jobs[i]);
    tell(w, "client applies a set");
    apply(w, s, jobs, true);
}

/* What was fired in a lost part of the journal is in history still, whether it started or not. */
static void add_lost_runs(struct world *w, const char *of_job, json_t *list)
{
    struct run_note *n, *next;

    HASH_ITER(hh, w->notes, n, next)
    {
        char job[RUN_ID_MAX];
        int64_t at_ms = 0;
        bool has_ms;

        if ((n->started || n->given_up_ms) && run_id_parse(n->id, job, &at_ms, &has_ms) == 0 && !has_ms &&
            strcmp(job, of_job) == 0)
            json_array_append_new(list, json_integer(at_ms));
    }
}

static int compare_times(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

/* As history answers. Takes the list. */
static json_t *ascending(json_t *list)
{
    size_t count = json_array_size(list);
    int64_t *times = alloc_zero((count + 1) * sizeof(*times));

    for (size_t i = 0; i < count; i++)
        times[i] = json_integer_value(json_array_get(list, i));
    qsort(times, count, sizeof(*times), compare_times);
    for (size_t i = 0; i < count; i++)
        json_array_set_new(list, i, json_integer(times[i]));
    free(times);
    return list;
}

/* The caller of backfill looks into history first, as the API does. */
static json_t *existing_runs(struct world *w, const char *job)
{
    json_t *list = json_array();
    struct account *a, *next;

    HASH_ITER(hh, w->accounts, a, next)
    {
        if (strcmp(a->job, job) == 0 && strcmp(a->state, "skipped") != 0)
            json_array_append_new(list, json_integer(a->fire_ms));
    }
    if (w->losses + w->recoveries > 0)
        add_lost_runs(w, job, list);
    return ascending(list);
}

static void backfill(struct world *w, struct scheduler *s)
{
    const char *job = any_job(w);
    char from[TEXT_NUMBER_BUFFER], to[TEXT_NUMBER_BUFFER];
    int64_t start_ms = s->now_ms - between(w, 1000, 60000);
    struct scheduler_result result = {0};
    json_t *body;

    instant_format(start_ms, INSTANT_MS, from, sizeof(from));
    instant_format(start_ms + between(w, 0, 40000), INSTANT_MS, to, sizeof(to));
    body = json_pack("{s:s,s:s,s:i,s:b,s:o}", "from", from, "to", to, "max_parallel", (int)between(w, 1, 3),
                     "again", (int)chance(w, 400), "existing", existing_runs(w, job));
    tell(w, "client backfills %s", job);
    scheduler_backfill(s, job, body, "sim", &result);
    json_decref(result.reply);
    json_decref(body);
}

void client_request(struct world *w)
{
    static const struct {
        int weight;
        void (*ask)(struct world *w, struct scheduler *s);
    } requests[] = {{20, trigger}, {20, trigger_with_key}, {8, pause_one}, {14, resume_one}, {14, kill_one},
                    {14, edit},    {5, delete_one},        {3, apply_set}, {6, backfill}};
    struct replica *r = &w->replicas[draw(w) % (uint64_t)w->replica_count];
    int all = 0, at;

    if (!r->scheduler || r->frozen_until_ms > w->now_ms || !scheduler_leading(r->scheduler))
        return;
    w->requests++;
    for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++)
        all += requests[i].weight;
    at = (int)between(w, 0, all - 1);
    for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
        at -= requests[i].weight;
        if (at < 0) {
            requests[i].ask(w, r->scheduler);
            return;
        }
    }
}

void client_pause_all(struct world *w, bool on)
{
    struct replica *r = w->leader >= 0 ? &w->replicas[w->leader] : NULL;
    struct scheduler_result result = {0};

    if (!r || !r->scheduler)
        return;
    if (on)
        scheduler_pause(r->scheduler, NULL, 0, "the end", "sim", &result);
    else
        scheduler_resume(r->scheduler, NULL, "sim", &result);
    json_decref(result.reply);
    scheduler_flush(r->scheduler);
}
