/* Judges every durable record before and after it is folded, by rules of its own: each fire time of each
 * definition once and in its order, nothing started that the journal does not allow, nothing said in the
 * journal that is not so. It knows what really happened on the hosts; the scheduler only what it was told. */
#include "jobs/state/run_id.h"
#include "tests/sim/sim.h"

#include <stdio.h>

/* ---- runs ---- */

struct run_note *monitor_run(struct world *w, const char *id)
{
    struct run_note *n = NULL;

    HASH_FIND_STR(w->notes, id, n);
    if (!n) {
        n = alloc_zero(sizeof(*n));
        snprintf(n->id, sizeof(n->id), "%s", id);
        HASH_ADD_STR(w->notes, id, n);
    }
    return n;
}

/* Its leader had been told that this one runs, when it asked for the start. */
static bool was_told(const struct container *o, const struct container *other)
{
    const struct stray_note *n = &other->strays[o->released.replica];

    return n->life && n->life == o->released.life && n->link == o->released.link &&
           n->told_ms < o->released.sent_ms;
}

static void judge_other(struct world *w, const struct container *o, const struct container *other)
{
    bool same_run = strcmp(o->run, other->run) == 0, same_job = strcmp(o->job, other->job) == 0;

    if (other->state != OBJECT_RUNNING)
        return;
    if (same_job && o->forbids && was_told(o, other))
        violation(w, "%s starts beside %s, which somebody has started again, and its leader knew", o->run,
                  other->run);
    if (!other->counted || monitor_run(w, other->run)->lost)
        return;
    if (same_run)
        violation(w, "two attempts of %s execute at once", o->run);
    else if (o->alone && other->alone && same_job)
        violation(w, "%s starts while %s executes, and its job forbids that", o->run, other->run);
}

/* What became of it is in a lost part of the journal, unless an attempt of it ended later. */
static void judge_given_up(struct world *w, const struct container *o, const struct run_note *n)
{
    const struct container *other, *next;
    bool allowed = o->released.sent_ms <= w->lost_at_ms; /* by a leader of before, and late */

    HASH_ITER(by_id, w->objects, other, next)
    {
        if (strcmp(other->run, o->run) == 0 && other->ended_ms > n->given_up_ms)
            allowed = true;
    }
    if (!allowed)
        violation(w, "%s#%d starts, though what became of its run is in a lost part of the journal", o->run,
                  o->attempt);
}

void monitor_start(struct world *w, struct container *o)
{
    struct run_note *n = monitor_run(w, o->run);
    int in_pool = 1;

    if (n->started >> o->attempt & 1)
        violation(w, "%s#%d was started twice", o->run, o->attempt);
    n->started |= UINT64_C(1) << o->attempt;
    if (n->given_up_ms)
        judge_given_up(w, o, n);
    if (!o->committed)
        violation(w, "%s#%d starts though its id is not in the journal", o->run, o->attempt);
    if (o->never)
        violation(w, "%s#%d starts though the journal says: %s", o->run, o->attempt, o->never);
    if (n->kill_ms && o->epoch >= n->kill_epoch && o->prepared_ms > n->kill_ms)
        violation(w, "%s#%d starts, made after its kill was acknowledged", o->run, o->attempt);
    LIST_EACH(link, &w->living)
    {
        struct container *other = LIST_ITEM(link, struct container, living);

        if (other == o)
            continue;
        judge_other(w, o, other);
        in_pool += other->counted && o->pool[0] && strcmp(o->pool, other->pool) == 0 &&
                   !monitor_run(w, other->run)->lost;
    }
    if (in_pool > POOL_PLACES)
        violation(w, "%s starts as number %d of its pool", o->run, in_pool);
}

/* ---- windows: which definition was in force when ---- */

static struct window *window_of(struct world *w, const char *job)
{
    for (size_t i = w->window_count; i > 0; i--)
        if (w->windows[i - 1].to_ms == INT64_MAX && strcmp(w->windows[i - 1].job, job) == 0)
            return &w->windows[i - 1];
    return NULL;
}

static int64_t floor_s(int64_t ms)
{
    return ms >= 0 ? ms / 1000 : (ms - 999) / 1000;
}

static int64_t next_after(const struct window *v, int64_t ms)
{
    int64_t at = v && v->schedule ? schedule_next(v->schedule, floor_s(ms)) : SCHEDULE_NEVER;

    return at == SCHEDULE_NEVER ? INT64_MAX : at * 1000;
}

int64_t monitor_next(struct world *w, const struct job_state *j)
{
    return next_after(window_of(w, j->name), j->cursor_ms);
}

static void window_open(struct world *w, const struct job_state *j)
{
    struct window v = {.version = j->version, .seed = j->seed, .rules = w->told_zones.rules};
    struct error error = {0};

    snprintf(v.job, sizeof(v.job), "%s", j->name);
    v.from_ms = j->cursor_ms;
    v.to_ms = INT64_MAX;
    if (job_compile(j->def, j->seed, j->anchor_ms / 1000, &w->told_zones.source, &v.schedule, &error) < 0)
        violation(w, "%s does not compile: %s", j->name, error.text);
    w->windows = alloc_resize(w->windows, (w->window_count + 1) * sizeof(v));
    w->windows[w->window_count++] = v;
}

/* After a record that may have changed definitions or rules: which of the windows end, which begin? */
static void windows_follow(struct world *w, const int64_t *cursors, const struct batch *b,
                           const struct record *r)
{
    struct job_state *j, *next;
    size_t i = 0;

    HASH_ITER(by_name, w->shadow.jobs, j, next)
    {
        struct window *v = window_of(w, j->name);
        int64_t cursor = cursors[i++];

        if (v && j->def && v->version == j->version && v->seed == j->seed && v->rules == w->told_zones.rules)
            continue;
        if (v) {
            v->to_ms = cursor;
            if (r->kind != RECORD_EPOCH && next_after(v, cursor) <= b->time_ms)
                violation(w, "%s changes by %s and fire time %lld is not accounted for", j->name,
                          record_kind_name(r->kind), (long long)next_after(v, cursor));
        }
        if (j->def)
            window_open(w, j);
    }
}

/* ---- records about fire times, before they are folded ---- */

static bool ahead_of(const struct job_state *j, int64_t at_ms)
{
    return state_fired_ahead(j, at_ms);
}

/* A run that a leader began and never started, and that another makes good as catch_up says: it has a record of its own. */
static bool makes_good(struct world *w, const struct record *r)
{
    struct run *run = state_run(&w->shadow, r->run);

    return run && run->fired && !run->started_ms && run->cause == CAUSE_SCHEDULE && RECORD_HAS(r, cause) &&
           strcmp(r->cause, "catch-up") == 0;
}

static void judge_fire(struct world *w, const struct batch *b, const struct record *r)
{
    char job[RUN_ID_MAX];
    int64_t at_ms = 0, expected;
    bool has_ms, ahead = RECORD_HAS(r, ahead) && r->ahead;
    struct job_state *j;
    struct account *done = NULL;

    run_id_parse(r->run, job, &at_ms, &has_ms);
    j = state_job(&w->shadow, job);
    if (!j)
        return; /* the fold refuses it */
    expected = next_after(window_of(w, job), j->cursor_ms);
    HASH_FIND_STR(w->accounts, r->run, done);
    if (done && !(ahead && makes_good(w, r)))
        violation(w, "%s is fired, and it has been already", r->run);
    if (ahead)
        return;
    if (at_ms != r->fire_ms || at_ms != expected)
        violation(w, "%s is fired, and the next fire time is %lld", r->run, (long long)expected);
    if (at_ms > b->time_ms)
        violation(w, "%s is fired before its time", r->run);
    if (state_paused(&w->shadow, j))
        violation(w, "%s is fired while its job is paused", r->run);
}

/* Of the missed fire times the newest runs: none is skipped for the sake of an older one that never ran in the outage. */
static void judge_overlap(struct world *w, const struct batch *b, const char *job, int64_t at_ms,
                          const char *text)
{
    const char *end = text ? strstr(text, " has not ended") : NULL;
    struct run *other = NULL;
    const struct attempt *a;
    char id[RUN_ID_MAX];

    if (end && (size_t)(end - text) < sizeof(id)) {
        snprintf(id, sizeof(id), "%.*s", (int)(end - text), text);
        other = state_run(&w->shadow, id);
    }
    a = other ? run_attempt(other) : NULL;
    if (a && other->cause == CAUSE_SCHEDULE && a->state == ATTEMPT_NEVER_RAN && !other->started_ms &&
        other->fire_ms < at_ms && other->due_ms + LATE_GRACE_MS < b->time_ms)
        violation(w, "%s: fire time %lld is skipped for %s, which is older and never ran", job,
                  (long long)at_ms, other->id);
}

static void judge_skip(struct world *w, const struct batch *b, const struct record *r)
{
    struct job_state *j = state_job(&w->shadow, r->job);
    struct window *v = window_of(w, r->job);
    int64_t count, upto_ms = b->time_ms;

    if (!j || !v || !v->schedule) {
        violation(w, "a skip for %s, which has no schedule", r->job);
        return;
    }
    count = schedule_count(v->schedule, floor_s(j->cursor_ms), r->to_ms / 1000, INT64_MAX);
    if (strcmp(r->reason, "journal-lost") == 0)
        upto_ms = w->lost_until_ms; /* by the clock of whoever had it go on */
    else if (strcmp(r->reason, "coalesced") == 0)
        upto_ms = INT64_MAX;
    if (strcmp(r->reason, "overlap") == 0)
        judge_overlap(w, b, r->job, r->to_ms, RECORD_HAS(r, text) ? r->text : NULL);
    if (r->from_ms != next_after(v, j->cursor_ms) || count != r->count || r->to_ms > upto_ms ||
        !schedule_match(v->schedule, r->to_ms / 1000))
        violation(w,
                  "%s: skip of %lld fire times from %lld to %lld; after the cursor there are %lld from %lld",
                  r->job, (long long)r->count, (long long)r->from_ms, (long long)r->to_ms, (long long)count,
                  (long long)next_after(v, j->cursor_ms));
    for (size_t i = 0; i < j->ahead_count; i++) /* an edit may have taken one out of the schedule */
        if (j->ahead[i] <= r->to_ms && schedule_match(v->schedule, j->ahead[i] / 1000))
            violation(w, "%s: a skip over %lld, which was fired ahead", r->job, (long long)j->ahead[i]);
}

static void judge_passed(struct world *w, const struct record *r)
{
    struct job_state *j = state_job(&w->shadow, r->job);

    if (!j || !ahead_of(j, r->to_ms) || next_after(window_of(w, r->job), j->cursor_ms) < r->to_ms)
        violation(w, "%s: %lld is passed, and it was not fired ahead", r->job, (long long)r->to_ms);
}

static void judge_arm(struct world *w, const struct record *r)
{
    struct run *run = state_run(&w->shadow, r->run);
    char job[RUN_ID_MAX];
    int64_t at_ms = 0;
    bool has_ms;
    struct account *done = NULL;
    struct job_state *j;

    if (run && run->fired)
        return;
    run_id_parse(r->run, job, &at_ms, &has_ms);
    j = state_job(&w->shadow, job);
    HASH_FIND_STR(w->accounts, r->run, done);
    if (done)
        violation(w, "%s is reserved, and it has been fired already", r->run);
    if (j && !run && (at_ms <= j->cursor_ms || ahead_of(j, at_ms) || state_paused(&w->shadow, j)))
        violation(w, "%s is reserved behind the cursor, or fired ahead, or its job is paused", r->run);
    if (j && !run && window_of(w, job) && window_of(w, job)->schedule &&
        !schedule_match(window_of(w, job)->schedule, at_ms / 1000))
        violation(w, "%s is reserved, and its schedule does not name that time", r->run);
}

/* ---- records about attempts, before they are folded ---- */

static bool may_be_lost(struct world *w, const struct batch *b, const struct run *run,
                        const struct attempt *a)
{
    const struct container *o = a->id ? object_by_id(w, a->id) : NULL;

    if (a->epoch <=
        w->lost_epoch) /* prepared before a loss: it may have been revoked meanwhile, and be gone */
        return true;
    /* the engine died in mid-start; its node or its supervisor is gone, and what it ran; another engine answers and
     * nobody knows; unreachable too long */
    return (o &&
            (o->limbo || (o->orphaned && o->state != OBJECT_RUNNING) || (!a->identity && w->replaced))) ||
           (run->unresolved_ms && run->unresolved_ms + w->resolve_within_ms <= b->time_ms);
}

static void judge_committed(struct world *w, const struct batch *b, const struct record *r,
                            const struct attempt *a)
{
    struct container *o = object_by_id(w, r->id);

    if (!o || strcmp(o->run, r->run) != 0 || o->attempt != a->number ||
        (o->epoch != b->epoch && !(a->handed_over && strcmp(a->id, r->id) == 0)))
        violation(w, "%s#%d: commits an object that is not its own", r->run, a->number);
    else
        o->committed = true;
}

/* What was started again by somebody ends more than once. */
static bool ended_so(const struct container *o, int64_t code)
{
    if (o->by_others)
        return o->exit_codes >> (code & 63) & 1;
    return o->state != OBJECT_RUNNING && o->exit_code == code;
}

static void judge_attempt(struct world *w, const struct batch *b, const struct record *r)
{
    struct run *run = state_run(&w->shadow, r->run);
    struct attempt *a = run ? run_attempt(run) : NULL;
    struct container *o = NULL;

    if (!a || a->number != r->attempt)
        return; /* the fold refuses it */
    if (r->kind == RECORD_COMMITTED) {
        judge_committed(w, b, r, a);
        return;
    }
    o = a->id ? object_by_id(w, a->id) : NULL;
    switch (r->kind) {
    case RECORD_ACCEPTED:
        if (!o || (!o->replicas && !o->withdrawn))
            violation(w, "%s#%d: the journal says accepted, and it was not", r->run, a->number);
        break;
    case RECORD_STARTED:
        if (!o || !o->starts)
            violation(w, "%s#%d: the journal says started, and it was not", r->run, a->number);
        break;
    case RECORD_ENDED:
        if (!o || !o->starts || !ended_so(o, r->code))
            violation(w, "%s#%d: the journal says ended with %lld, and that is not so", r->run, a->number,
                      (long long)r->code);
        break;
    case RECORD_HANDED_OVER:
        w->handed_over++;
        if (!o || o->starts > o->by_others)
            violation(w, "%s#%d: it is handed over, and was started", r->run, a->number);
        else
            o->handed_epoch = b->epoch;
        break;
    case RECORD_NEVER_RAN:
    case RECORD_REVOKED:
    case RECORD_START_FAILED:
        if (o && o->starts > o->by_others)
            violation(w, "%s#%d: the journal says %s, and it was started", r->run, a->number,
                      record_kind_name(r->kind));
        if (o)
            o->never = record_kind_name(r->kind);
        if (r->kind == RECORD_START_FAILED && o && o->state == OBJECT_GONE)
            violation(w, "%s#%d: its object vanished", r->run, a->number);
        break;
    case RECORD_STARTED_AGAIN:
        if (!o || !o->by_others || r->count > o->starts)
            violation(w, "%s#%d: the journal says that it was started %lld times, and that is not so", r->run,
                      a->number, (long long)r->count);
        break;
    case RECORD_UNKNOWN:
        if (!may_be_lost(w, b, run, a))
            violation(w, "%s#%d is lost (%s), though nothing here can lose it", r->run, a->number, r->text);
        monitor_run(w, r->run)->lost = true;
        w->lost++;
        break;
    default:
        break;
    }
}

static void judge_closed(struct world *w, const struct record *r)
{
    const struct run *run = state_run(&w->shadow, r->run);

    if (run && run->journal_lost) /* an attempt of the lost time may */
        monitor_run(w, r->run)->lost = true;
    else if (monitor_run(w, r->run)->executing > 0)
        violation(w, "%s is closed as %s while it executes", r->run, r->verdict);
}

static void judge(struct world *w, const struct batch *b, const struct record *r)
{
    switch (r->kind) {
    case RECORD_FIRE:
        judge_fire(w, b, r);
        break;
    case RECORD_SKIPPED:
        judge_skip(w, b, r);
        break;
    case RECORD_PASSED:
        judge_passed(w, r);
        break;
    case RECORD_ARM:
        judge_arm(w, r);
        break;
    case RECORD_CLOSED:
        judge_closed(w, r);
        break;
    default:
        if (RECORD_HAS(r, run) && RECORD_HAS(r, attempt))
            judge_attempt(w, b, r);
        break;
    }
}

/* ---- what history hears ---- */

void write_hash(const struct history_write *write, char ret[33])
{
    json_t *all = json_array(), *runs = json_object();
    char *text;

    for (size_t i = 0; i < write->run_count; i++) /* whose order says nothing */
        json_object_set_new(runs, write->runs[i].run,
                            json_sprintf("%s %lld %s", write->runs[i].state,
                                         (long long)write->runs[i].fire_ms, write->runs[i].json));
    json_array_append_new(all, runs);
    for (size_t i = 0; i < write->skip_count; i++)
        json_array_append_new(all, json_sprintf("%s %lld %lld %lld %s", write->skips[i].job,
                                                (long long)write->skips[i].from_ms,
                                                (long long)write->skips[i].to_ms,
                                                (long long)write->skips[i].count, write->skips[i].reason));
    for (size_t i = 0; i < write->record_count;
         i++) /* what was staged before a snapshot has its keys in order */
        json_array_append_new(all, json_loads(write->records[i].json, 0, NULL));
    text = json_dumps(all, JSON_COMPACT | JSON_SORT_KEYS);
    batch_hash(text, strlen(text), ret);
    free(text);
    json_decref(all);
}

static struct skip *note_skip(struct world *w, const char *job, int64_t from_ms, int64_t to_ms)
{
    struct skip *n;

    if ((w->skip_count & (w->skip_count - 1)) == 0)
        w->skips = alloc_resize(w->skips, (w->skip_count ? w->skip_count * 2 : 1) * sizeof(*w->skips));
    n = &w->skips[w->skip_count++];
    snprintf(n->job, sizeof(n->job), "%s", job);
    n->from_ms = from_ms;
    n->to_ms = to_ms;
    n->superseded = false;
    return n;
}

static void note_row(struct world *w, const struct history_run *row)
{
    struct account *a = NULL;
    json_t *json = json_loads(row->json, 0, NULL);

    if (json_object_get(json, "count")) { /* a view of a skipped range */
        json_decref(json);
        return;
    }
    HASH_FIND_STR(w->accounts, row->run, a);
    if (!a) {
        a = alloc_zero(sizeof(*a));
        snprintf(a->id, sizeof(a->id), "%s", row->run);
        snprintf(a->job, sizeof(a->job), "%s", row->job);
        HASH_ADD_STR(w->accounts, id, a);
    } else if (strcmp(a->state, "skipped") == 0 && strstr(row->json, "\"backfill\"")) {
        note_skip(w, a->job, a->fire_ms, a->fire_ms); /* closed without a start, and made good under its id */
    } else if (a->verdict[0]) {
        violation(w, "%s has ended as %s, and goes on", a->id, a->verdict);
    }
    a->fire_ms = row->fire_ms;
    snprintf(a->state, sizeof(a->state), "%s", row->state);
    snprintf(a->verdict, sizeof(a->verdict), "%s", row->verdict ? row->verdict : "");
    snprintf(a->cause, sizeof(a->cause), "%s", json_string_value(json_object_get(json, "cause")));
    w->ended += strcmp(a->state, "ended") == 0;
    json_decref(json);
}

static void note_write(struct world *w, const struct history_write *write)
{
    write_hash(write, w->batches[write->index - 1].write_hash);
    for (size_t i = 0; i < write->run_count; i++)
        note_row(w, &write->runs[i]);
    for (size_t i = 0; i < write->skip_count; i++) {
        const struct history_skip *s = &write->skips[i];

        note_skip(w, s->job, s->from_ms, s->to_ms)->superseded =
            strcmp(s->text, "a later fire time was run for it") == 0;
    }
}

/* ---- the fold ---- */

static bool changes_windows(const struct record *r)
{
    return r->kind == RECORD_JOB || r->kind == RECORD_APPLY || r->kind == RECORD_JOB_DELETE ||
           r->kind == RECORD_TZDATA || r->kind == RECORD_EPOCH;
}

static bool fold(struct world *w, const struct batch *b, const struct record *r)
{
    int64_t cursors[2 * JOBS_MAX] = {0};
    struct error error = {0};
    struct job_state *j, *next;
    size_t i = 0;

    HASH_ITER(by_name, w->shadow.jobs, j, next)
    {
        cursors[i++] = j->cursor_ms;
    }
    if (state_apply_record(&w->shadow, b, r, &error) < 0) {
        violation(w, "the fold refuses a record: %s", error.text);
        return false;
    }
    i = 0;
    HASH_ITER(by_name, w->shadow.jobs, j, next)
    {
        if (j->cursor_ms < cursors[i++])
            violation(w, "the cursor of %s goes back", j->name);
    }
    if (RECORD_HAS(r, tzdata) && (r->kind == RECORD_TZDATA || r->kind == RECORD_EPOCH))
        w->told_zones.rules = (int)strtol(r->tzdata + strlen("sim-"), NULL, 10);
    if (changes_windows(r))
        windows_follow(w, cursors, b, r);
    return true;
}

/* Of these nobody knows what became of them until then. */
static void give_up_runs(struct world *w, int64_t lost_until_ms)
{
    struct run *run, *next;

    HASH_ITER(by_id, w->shadow.runs, run, next)
    {
        if (run->fired || run->due_ms <= lost_until_ms)
            monitor_run(w, run->id)->given_up_ms = lost_until_ms;
    }
}

/* The first batch after a recovery tells of it. Its leader's clock may be later than that of whoever had it go on. */
static void judge_recovered(struct world *w, const struct batch *b)
{
    bool told = false;

    for (size_t i = 0; i < b->count; i++) {
        const struct record *r = &b->records[i];

        if (r->kind != RECORD_RECOVERED || r->until_ms < w->lost_until_ms || r->until_ms < w->shadow.time_ms)
            continue;
        told = true;
        w->lost_until_ms = r->until_ms;
        give_up_runs(w, r->until_ms);
    }
    if (!told)
        violation(w, "batch %llu, the first after a recovery, does not tell of it",
                  (unsigned long long)b->index);
    w->recovery_pending = false;
}

/* Only after a clock was ahead, and by more than a step that is waited for: of its own time. The last batch can be older. */
static bool goes_back(const struct world *w, const struct batch *b)
{
    bool fell = w->shadow.time_ms <= w->fell_from_ms && b->time_ms >= w->fell_to_ms;

    return b->time_ms < w->shadow.time_ms && w->shadow.time_ms - b->time_ms <= CLOCK_SET_BACK_MS && !fell;
}

void monitor_batch(struct world *w, const struct batch *b, const char *text, size_t size)
{
    struct history_write *write = NULL;

    if (b->time_ms > w->furthest_ms)
        w->furthest_ms = b->time_ms;
    if (w->recovery_pending)
        judge_recovered(w, b);
    if (b->index != w->shadow.index + 1 || strcmp(b->prev, w->shadow.hash) != 0 ||
        b->epoch < w->shadow.epoch || goes_back(w, b))
        violation(w, "batch %llu does not follow the one before", (unsigned long long)b->index);
    for (size_t i = 0; i < b->count && !w->failures; i++) {
        judge(w, b, &b->records[i]);
        if (!w->failures && !fold(w, b, &b->records[i]))
            return;
    }
    state_finish_batch(&w->shadow, b, text, size, &write);
    note_write(w, write);
    history_write_free(write);
}

/* ---- the end: every fire time of every window has one account ---- */

static int accounts_of(struct world *w, const char *job, int64_t at_ms)
{
    char id[RUN_ID_MAX];
    struct account *a = NULL;
    int n = 0;

    HASH_FIND_STR(w->accounts, run_id_format(job, at_ms, false, id), a);
    n += a && strcmp(a->cause, "backfill") != 0; /* a backfill makes good what was skipped */
    for (size_t i = 0; i < w->skip_count; i++)
        n += w->skips[i].from_ms <= at_ms && at_ms <= w->skips[i].to_ms && strcmp(w->skips[i].job, job) == 0;
    return n;
}

static void final_window(struct world *w, const struct window *v)
{
    struct job_state *j = state_job(&w->shadow, v->job);
    int64_t to_ms = v->to_ms == INT64_MAX && j ? j->cursor_ms : v->to_ms;

    for (int64_t at = next_after(v, v->from_ms); at <= to_ms && at != INT64_MAX; at = next_after(v, at)) {
        int n = accounts_of(w, v->job, at);

        if (n != 1)
            violation(w, "%s: fire time %lld (+%.0f s) has %d accounts", v->job, (long long)at,
                      (double)(at - START_MS) / 1000, n);
    }
}

/* What was passed over because a later fire time was run for it: that one has a run. */
static void final_skip(struct world *w, const struct skip *skip)
{
    struct account *a, *next;

    HASH_ITER(hh, w->accounts, a, next)
    {
        if (strcmp(a->job, skip->job) == 0 && a->fire_ms > skip->to_ms &&
            strcmp(a->verdict, "coalesced") != 0 && strcmp(a->verdict, "overlap") != 0)
            return;
    }
    violation(w, "%s: fire time %lld is passed over for a later one, and none was run", skip->job,
              (long long)skip->to_ms);
}

void monitor_final(struct world *w)
{
    struct account *a, *next;

    for (size_t i = 0; i < w->window_count && !w->failures; i++)
        final_window(w, &w->windows[i]);
    for (size_t i = 0; i < w->skip_count && !w->failures; i++)
        if (w->skips[i].superseded)
            final_skip(w, &w->skips[i]);
    HASH_ITER(hh, w->accounts, a, next)
    {
        if (!a->verdict[0] && !state_run(&w->shadow, a->id))
            violation(w, "%s is %s in history and not in the state", a->id, a->state);
    }
    if (w->shadow.run_count)
        violation(w, "%s is %s, and nobody does anything about it", w->shadow.runs->id,
                  run_state_name(w->shadow.runs->state));
    for (size_t i = 0; i < w->key_count; i++) {
        a = NULL;
        HASH_FIND_STR(w->accounts, w->keys[i].run, a);
        if (w->keys[i].acked && !a)
            violation(w, "%s was acknowledged and is nowhere", w->keys[i].run);
    }
}

/* ---- a journal that goes on from an earlier state ---- */

static void accounts_forget(struct world *w)
{
    struct account *a, *next;

    HASH_ITER(hh, w->accounts, a, next)
    {
        HASH_DEL(w->accounts, a);
        free(a);
    }
    for (size_t i = 0; i < w->window_count; i++)
        schedule_free(w->windows[i].schedule);
    free(w->windows);
    free(w->skips);
    w->windows = NULL;
    w->skips = NULL;
    w->window_count = w->skip_count = 0;
}

/* Fire times beyond the cursor whose run was fired already. */
static void accounts_ahead(struct world *w, const struct job_state *j)
{
    for (size_t i = 0; i < j->ahead_count; i++) {
        struct account *a = alloc_zero(sizeof(*a));

        run_id_format(j->name, j->ahead[i], false, a->id);
        snprintf(a->job, sizeof(a->job), "%s", j->name);
        a->fire_ms = j->ahead[i];
        snprintf(a->state, sizeof(a->state), "before");
        if (!state_run(&w->shadow, a->id))
            snprintf(a->verdict, sizeof(a->verdict), "before");
        HASH_ADD_STR(w->accounts, id, a);
    }
}

/* What the journal does not know of any more. */
static bool is_known(struct world *w, const struct container *o)
{
    struct run *run = state_run(&w->shadow, o->run);
    const struct attempt *a = run ? run_attempt(run) : NULL;

    return a && a->id && strcmp(a->id, o->id) == 0 &&
           (run_attempt_is_released(a) || a->state == ATTEMPT_COMMITTED);
}

void monitor_begin_anew(struct world *w, int64_t lost_until_ms)
{
    struct run_note *n, *next_note;
    struct job_state *j, *next;

    accounts_forget(w);
    w->lost_epoch = w->epoch;
    w->lost_at_ms = w->now_ms;
    w->key_era += KEYS_MAX;
    w->key_count = 0;
    w->told_zones.rules = w->shadow.tzdata ? (int)strtol(w->shadow.tzdata + strlen("sim-"), NULL, 10) : 0;
    HASH_ITER(hh, w->notes, n, next_note)
    {
        n->kill_ms = n->kill_epoch = n->given_up_ms = 0;
    }
    give_up_runs(w, lost_until_ms);
    LIST_EACH(link, &w->living)
    {
        const struct container *o = LIST_ITEM(link, struct container, living);

        if (o->counted && !is_known(w, o))
            monitor_run(w, o->run)->lost = true;
    }
    HASH_ITER(by_name, w->shadow.jobs, j, next)
    {
        if (j->def)
            window_open(w, j);
        accounts_ahead(w, j);
    }
}

void monitor_release(struct world *w)
{
    struct run_note *n, *next_note;

    HASH_ITER(hh, w->notes, n, next_note)
    {
        HASH_DEL(w->notes, n);
        free(n);
    }
    accounts_forget(w);
}
