/* Which fire times run after an outage: by catch_up and concurrency over the fire times alone, whatever an earlier leader had
 * armed. The scheduler beside an engine that does what it is asked, each run taking a second.
 */
#include "jobs/base/text.h"
#include "jobs/time/instant.h"
#include "tests/support/scheduler_bench.h"

#include <stdio.h>

#define EVERY_MS 20000
#define ASKS_MAX 512
#define TIMES    64

enum armed {
    NOTHING,
    RESERVED,
    PREPARED
}; /* what the leader had done for what was due next, when it went away */
static const char *const armed_names[] = {"nothing", "reserved", "prepared"};

struct ask {
    enum engine_op op;
    uint64_t ticket;
    char run[RUN_ID_MAX];
};

static struct {
    struct ask asks[ASKS_MAX];
    size_t count;
    bool mute;    /* what is to be prepared gets no answer */
    bool endless; /* runs of job a do not end by themselves */
    char stopped[RUN_ID_MAX];
    int running, most_running;
    int64_t from_ms;   /* of the first of: */
    char what[TIMES];  /* of each fire time: '-' nothing yet, 'R' ran, or the first letter of its verdict */
    char cause[TIMES]; /* of those that ran: its first letter */
    int64_t started_ms[TIMES], last_started_ms;
    int64_t previous_ms; /* of the newest start */
    bool in_order;
} t;

static char *of_time(int64_t fire_ms, char *list)
{
    int64_t i = (fire_ms - t.from_ms) / EVERY_MS;

    return i >= 0 && i < TIMES - 1 ? &list[i] : NULL;
}

static void submit(struct engine *engine, enum engine_op op, const struct engine_request *request)
{
    char *what = of_time(request->fire_ms, t.what), *cause = of_time(request->fire_ms, t.cause);

    if (op == ENGINE_DISCARD)
        return;
    assert_true(t.count < ASKS_MAX);
    t.asks[t.count] = (struct ask){op, request->ticket, ""};
    snprintf(t.asks[t.count++].run, RUN_ID_MAX, "%s", request->run);
    if (op == ENGINE_STOP)
        snprintf(t.stopped, sizeof(t.stopped), "%s", request->run);
    if (op != ENGINE_RELEASE)
        return;
    t.running++;
    t.most_running = t.running > t.most_running ? t.running : t.most_running;
    t.in_order &= request->fire_ms > t.last_started_ms;
    t.last_started_ms = request->fire_ms;
    t.previous_ms = request->previous_fire_ms;
    if (what) {
        assert_true(*what == '-');
        *what = 'R';
        *cause = request->cause[0];
    }
}

static void note_verdict(int64_t from_ms, int64_t to_ms, const char *verdict)
{
    for (int64_t at = from_ms; at <= to_ms; at += EVERY_MS) {
        char *what = of_time(at, t.what);

        if (what && *what == '-')
            *what = verdict[0];
        else if (what && strcmp(verdict, "succeeded") != 0)
            *what = '!';
    }
}

static int append(struct journal *journal, struct batch *batch)
{
    for (size_t i = 0; i < batch->count; i++) {
        const struct record *r = &batch->records[i];
        char job[RUN_ID_MAX];
        int64_t at_ms;
        bool has_ms;

        if (r->kind == RECORD_SKIPPED)
            note_verdict(r->from_ms, r->to_ms, r->reason);
        else if (r->kind == RECORD_CLOSED && run_id_parse(r->run, job, &at_ms, &has_ms) == 0)
            note_verdict(at_ms, at_ms, r->verdict);
    }
    b.appended = batch->index;
    batch_free(batch);
    return 0;
}

static struct engine_ops ops;
static struct journal_ops journal_ops;

static void answer(const struct ask *ask)
{
    static int ids;
    struct engine_host *host = scheduler_engine_host(b.scheduler);
    char id[32];
    struct engine_answer a = {.ticket = ask->ticket, .exit_code = -1};

    snprintf(id, sizeof(id), "id-%d", ids++);
    switch (ask->op) {
    case ENGINE_PREPARE:
        a.event = ENGINE_PREPARED;
        a.id = id;
        break;
    case ENGINE_RELEASE:
        a.event = ENGINE_STARTED;
        a.started_ms = b.now_ms;
        break;
    case ENGINE_FENCE:
        a.event = ENGINE_NEVER_RAN;
        break;
    case ENGINE_WATCH:
        a.event = ENGINE_ENDED;
        a.at_ms = b.now_ms;
        a.exit_code = 0;
        a.cause = "exit";
        t.running--;
        break;
    default:
        a.event = ENGINE_DONE;
        break;
    }
    host->answer(host, &a);
}

static bool unanswered(const struct ask *ask)
{
    return (ask->op == ENGINE_PREPARE && t.mute) ||
           (ask->op == ENGINE_WATCH && t.endless && ask->run[0] == 'a' && strcmp(ask->run, t.stopped) != 0);
}

/* What was asked is answered; watches only when they are to end. */
static void answer_all(bool ends)
{
    struct ask asks[ASKS_MAX];
    size_t count = t.count;

    memcpy(asks, t.asks, count * sizeof(*asks));
    t.count = 0;
    for (size_t i = 0; i < count; i++) {
        if (unanswered(&asks[i]) || (asks[i].op == ENGINE_WATCH && !ends))
            t.asks[t.count++] = asks[i];
        else
            answer(&asks[i]);
        bench_settle();
    }
}

/* A second passes: what ran ends, and what follows from that begins. */
static void second(void)
{
    b.now_ms += 1000;
    bench_settle();
    answer_all(true);
    for (int i = 0; i < 4; i++)
        answer_all(false);
}

static void seconds(int n)
{
    while (n-- > 0)
        second();
}

static void begin(void)
{
    bench_setup(NULL);
    memset(&t, 0, sizeof(t));
    memset(t.what, '-', sizeof(t.what) - 1);
    memset(t.cause, '-', sizeof(t.cause) - 1);
    t.from_ms = INT64_MAX / 2;
    t.in_order = true;
    ops = *b.table.ops;
    ops.submit = submit;
    b.table.ops = &ops;
    b.table.max_armed = 64;
    journal_ops = *b.journal.ops;
    journal_ops.append = append;
    b.journal.ops = &journal_ops;
}

static void apply(const char *keys)
{
    char text[512];

    snprintf(text, sizeof(text), "{\"jobs\":{\"a\":{\"image\":\"x\",\"schedule\":\"*/20 * * * * *\"%s}}}",
             keys);
    bench_apply(json_loads(text, 0, NULL));
}

/* The leader goes away 8 s before a fire time, and one comes so much later: 3 s after a fire time. The outage has `times`
 * fire times. */
static void outage(enum armed armed, int times)
{
    b.table.ahead_ms = armed == NOTHING ? 1 : 0;
    t.mute = armed == RESERVED;
    while (b.now_ms % EVERY_MS != EVERY_MS - 8000)
        second();
    t.from_ms = b.now_ms + 8000;
    t.most_running = t.running = 0;
    t.last_started_ms = 0;
    bench_restore();
    t.count = 0;
    t.mute = false;
    b.now_ms = t.from_ms + (times - 1) * EVERY_MS + 3000;
    b.table.ahead_ms = 1;
    scheduler_journal_events.lead(b.scheduler, 2, "start");
    bench_settle();
}

/* ---- the table ---- */

static const struct row {
    const char *catch_up, *concurrency;
    const char *short_outage,
        *long_outage; /* of 3 and of 8 fire times: late_grace is 60 s, so that 5 of the latter are older */
} rows[] = {
    {"latest", "forbid", "ccR", "cccccccR"}, {"latest", "allow", "RRR", "cccccRRR"},
    {"latest", "queue", "RRR", "cccccRRR"},  {"latest", "replace", "ccR", "cccccccR"},
    {"none", "forbid", "ccR", "mmmmmccR"},   {"none", "allow", "RRR", "mmmmmRRR"},
    {"none", "queue", "RRR", "mmmmmRRR"},    {"none", "replace", "ccR", "mmmmmccR"},
    {"all", "forbid", "RRR", "RRRRRRRR"},    {"all", "allow", "RRR", "RRRRRRRR"},
    {"all", "queue", "RRR", "RRRRRRRR"},     {"all", "replace", "RRR", "RRRRRRRR"},
};

static void one_outage(const struct row *row, enum armed armed, bool is_long)
{
    const char *expected = is_long ? row->long_outage : row->short_outage;
    size_t times = strlen(expected);
    char keys[128], text[128];

    begin();
    snprintf(keys, sizeof(keys), ",\"catch_up\":\"%s\",\"concurrency\":\"%s\"", row->catch_up,
             row->concurrency);
    apply(keys);
    outage(armed, (int)times);
    seconds(60);
    snprintf(text, sizeof(text), "%.*s", (int)times, t.what);
    if (strcmp(text, expected) != 0)
        fail_msg("%s, %s, %s armed: %s, not %s", row->catch_up, row->concurrency, armed_names[armed], text,
                 expected);
    if (strcmp(row->concurrency, "allow") != 0 && (t.most_running > 1 || !t.in_order))
        fail_msg("%s, %s, %s armed: %d at once", row->catch_up, row->concurrency, armed_names[armed],
                 t.most_running);
    if (strcmp(row->catch_up, "all") !=
        0) { /* those to come are as always; after all, they may overlap with what is made good */
        assert_int_equal(t.what[times], 'R');
        assert_int_equal(t.cause[times], 's');
    }
    if (is_long && text[0] == 'R')
        assert_int_equal(t.cause[0], 'c');
    bench_teardown(NULL);
}

static void the_policy_decides_over_the_fire_times_alone(void **state)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        for (enum armed armed = NOTHING; armed <= PREPARED; armed++)
            for (int is_long = 0; is_long < 2; is_long++)
                one_outage(&rows[i], armed, is_long);
}

/* More than half a minute, as an outage takes: nothing is armed for what is then the newest one, and that is old, too. */
static void one_old_fire_time_is_made_good_however_it_was_armed(void **state)
{
    for (enum armed armed = NOTHING; armed <= PREPARED; armed++) {
        begin();
        bench_apply(
            json_loads("{\"jobs\":{\"a\":{\"image\":\"x\",\"schedule\":\"0 27 8 * * *\"}}}", 0, NULL));
        b.table.ahead_ms = armed == NOTHING ? 1 : 0;
        t.mute = armed == RESERVED;
        while (b.now_ms % 60000 != 52000)
            second();
        t.from_ms = b.now_ms + 8000;
        bench_restore();
        t.count = 0;
        t.mute = false;
        b.now_ms += 7200000;
        scheduler_journal_events.lead(b.scheduler, 2, "start");
        bench_settle();
        seconds(10);
        assert_int_equal(t.what[0], 'R');
        assert_int_equal(t.cause[0], 'c');
        bench_teardown(NULL);
    }
}

static void all_is_bounded_whatever_was_armed(void **state)
{
    for (enum armed armed = NOTHING; armed <= PREPARED; armed++) {
        begin();
        apply(",\"catch_up\":\"all\",\"max_catch_up\":2");
        outage(armed, 8);
        seconds(60);
        t.what[8] = '\0';
        assert_string_equal(t.what, "mmmRRRRR"); /* of the five old ones two */
        bench_teardown(NULL);
    }
}

/* A run that was under way before the outage, and is: then that is why none of them runs. */
static void what_still_runs_is_the_reason(void **state)
{
    static const char *const expected[] = {"oooooooo", "mmmmmooo"};

    for (int none = 0; none < 2; none++) {
        begin();
        t.endless = true;
        apply(none ? ",\"catch_up\":\"none\"" : "");
        b.table.ahead_ms = 1;
        while (!t.running)
            second();
        seconds(2);
        t.from_ms = t.last_started_ms + EVERY_MS;
        bench_restore();
        t.count = 0;
        b.now_ms = t.from_ms + 7 * EVERY_MS + 3000;
        scheduler_journal_events.lead(b.scheduler, 2, "start");
        bench_settle();
        seconds(10);
        t.what[8] = '\0';
        assert_string_equal(t.what, expected[none]);
        bench_teardown(NULL);
    }
}

/* ---- start_within ---- */

static void start_within_holds_for_jitter(void **state)
{
    begin();
    apply(",\"jitter\":\"10s\",\"start_within\":\"1ms\"");
    t.from_ms = b.now_ms - b.now_ms % EVERY_MS + EVERY_MS;
    seconds(100);
    t.what[4] = '\0';
    assert_string_equal(t.what, "dddd");
    bench_teardown(NULL);
}

static void start_within_holds_while_the_engine_is_away(void **state)
{
    for (enum armed armed = NOTHING; armed <= PREPARED; armed++) {
        begin();
        apply(",\"start_within\":\"5s\",\"concurrency\":\"allow\"");
        outage(armed, 1); /* 3 s late */
        t.mute = true;
        seconds(8);
        assert_int_equal(t.what[0], 'd');
        bench_teardown(NULL);
    }
}

/* ---- the fire time before ---- */

static void previous_of(const char *fire, int64_t expected_ms)
{
    for (int s = 0; s < 10 && t.last_started_ms == 0; s++)
        second();
    assert_true(t.last_started_ms > 0);
    if (t.previous_ms != expected_ms)
        fail_msg("%s: %lld, not %lld", fire, (long long)t.previous_ms, (long long)expected_ms);
    seconds(3);
    t.last_started_ms = 0;
}

/* Whether it was armed ahead, missed, made good, or asked for by hand: the one before its own, by the schedule. */
static void the_previous_fire_time_is_the_schedules(void **state)
{
    struct scheduler_result result = {0};
    json_t *body = json_object();
    int64_t at_ms;

    begin();
    apply(",\"concurrency\":\"allow\"");
    seconds(1); /* the next half minute is armed */
    at_ms = b.now_ms;
    assert_int_equal(scheduler_trigger(b.scheduler, "a", body, "test", &result), 0);
    previous_of("manual", (at_ms - 1) / EVERY_MS * EVERY_MS);
    json_decref(result.reply);
    while (t.last_started_ms == 0)
        second();
    previous_of("scheduled", b.now_ms / EVERY_MS * EVERY_MS - EVERY_MS);
    json_decref(body);
    body = json_pack("{s:s,s:s}", "from", "2025-11-22T08:00:00Z", "to", "2025-11-22T08:00:00Z");
    result = (struct scheduler_result){0};
    assert_int_equal(scheduler_backfill(b.scheduler, "a", body, "test", &result), 0);
    json_decref(result.reply);
    json_decref(body);
    previous_of("backfill", INT64_C(1763798400000) - EVERY_MS);
    outage(PREPARED, 8);
    seconds(2);
    assert_int_equal(t.previous_ms, t.last_started_ms - EVERY_MS);
    bench_teardown(NULL);
}

/* ---- runs that others cause, or people ask for ---- */

/* A parent that ends every 2 s, a child that does not: its unfinished runs after half a minute. */
static void child(const char *keys, int expected_under_way, int expected_waiting)
{
    int under_way = 0, waiting = 0;
    char text[256];
    json_t *job, *run;
    size_t i;

    begin();
    t.endless = true;
    snprintf(text, sizeof(text),
             "{\"jobs\":{\"p\":{\"image\":\"x\",\"schedule\":\"*/2 * * * * *\"},"
             "\"a\":{\"image\":\"x\",\"after\":[\"p\"],%s}}}",
             keys);
    bench_apply(json_loads(text, 0, NULL));
    seconds(30);
    job = scheduler_job_json(b.scheduler, "a");
    json_array_foreach(json_object_get(job, "unfinished"), i, run)
    {
        bool waits = strcmp(json_string_value(json_object_get(run, "state")), "waiting") == 0;

        waiting += waits;
        under_way += !waits;
    }
    json_decref(job);
    if (under_way != expected_under_way || waiting != expected_waiting)
        fail_msg("%s: %d under way, %d waiting", keys, under_way, waiting);
    bench_teardown(NULL);
}

static void concurrency_holds_for_runs_that_others_cause(void **state)
{
    child("\"concurrency\":\"forbid\"", 1, 0);
    child("\"concurrency\":\"queue\",\"queue_max\":3", 1, 3);
    child("\"concurrency\":\"replace\",\"stop_grace\":\"1s\"", 1, 0);
    child("\"concurrency\":\"allow\",\"max_running\":2", 2, 0);
}

static void queue_max_holds_for_a_backfill(void **state)
{
    struct scheduler_result result = {0};
    json_t *body = json_pack("{s:s,s:s,s:i}", "from", "2025-11-22T08:00:00Z", "to", "2025-11-22T08:20:00Z",
                             "max_parallel", 50);

    begin();
    t.endless = true;
    apply(",\"concurrency\":\"queue\",\"queue_max\":3");
    assert_int_equal(scheduler_backfill(b.scheduler, "a", body, "test", &result), 0);
    json_decref(result.reply);
    json_decref(body);
    seconds(5);
    assert_int_equal(scheduler_run_count(b.scheduler, "a"), 3 + 1); /* that many wait, and one runs */
    bench_teardown(NULL);
}

/* ---- a clock that was ahead ---- */

static struct {
    struct history history;
    struct history_ops ops;
    json_t *skips, *fired;
} past;

static void past_write(struct history *history, struct history_write *write)
{
    for (size_t i = 0; i < write->skip_count; i++) {
        const struct history_skip *skip = &write->skips[i];
        char from[TEXT_NUMBER_BUFFER], to[TEXT_NUMBER_BUFFER], time[TEXT_NUMBER_BUFFER];

        json_array_append_new(past.skips,
                              json_pack("{s:s,s:s,s:s,s:s,s:s}", "from",
                                        instant_format(skip->from_ms, INSTANT_S, from, sizeof(from)), "to",
                                        instant_format(skip->to_ms, INSTANT_S, to, sizeof(to)), "time",
                                        instant_format(skip->time_ms, INSTANT_MS, time, sizeof(time)),
                                        "reason", skip->reason, "text", skip->text));
    }
    for (size_t i = 0; i < write->run_count; i++)
        if (strcmp(write->runs[i].state, "ended") == 0)
            json_array_append_new(past.fired, json_integer(write->runs[i].fire_ms));
    history_write_free(write);
}

static void past_query(struct history *history, const struct history_query *query,
                       void (*answer_query)(void *arg, json_t *result, const struct error *error), void *arg)
{
    answer_query(
        arg, query->kind == HISTORY_SKIPS ? json_incref(past.skips) : json_pack("{s:O}", "times", past.fired),
        NULL);
}

static uint64_t past_applied(const struct history *history)
{
    return UINT64_MAX;
}

static void begin_with_history(void)
{
    past.ops = (struct history_ops){.write = past_write, .query = past_query, .applied = past_applied};
    past.history.ops = &past.ops;
    past.skips = json_array();
    past.fired = json_array();
    b.with_history = &past.history;
    begin();
}

static void end_with_history(void)
{
    bench_teardown(NULL);
    json_decref(past.skips);
    json_decref(past.fired);
    b.with_history = NULL;
}

/* For 15 s the clock was two hours ahead: when it is right again all that comes runs, but for what had its run. */
static void a_clock_that_was_ahead_silences_nothing(void **state)
{
    for (int restarted = 0; restarted < 2; restarted++) {
        int64_t ahead_ms = 7200000;

        begin_with_history();
        b.table.ahead_ms = 1;
        apply("");
        seconds(30);
        b.now_ms += ahead_ms;
        seconds(15);
        t.from_ms = (b.now_ms - ahead_ms) / EVERY_MS * EVERY_MS + EVERY_MS;
        memset(t.what, '-', sizeof(t.what) - 1);
        if (restarted) {
            bench_restore();
            t.count = 0;
        }
        b.now_ms -= ahead_ms;
        if (restarted)
            scheduler_journal_events.lead(b.scheduler, 2, "start");
        t.last_started_ms = 0;
        seconds(100);
        t.what[5] = '\0';
        assert_string_equal(t.what, "RRRRR");
        assert_int_equal(t.most_running, 1);
        end_with_history();
    }
}

/* A minute ahead: what has had its run does not run again. */
static void what_has_run_is_not_made_good(void **state)
{
    begin_with_history();
    b.table.ahead_ms = 1;
    apply("");
    seconds(30);
    t.from_ms = b.now_ms / EVERY_MS * EVERY_MS + EVERY_MS;
    memset(t.what, '-', sizeof(t.what) - 1);
    seconds(100); /* an hour of this is the same */
    b.now_ms -= 100000;
    seconds(160); /* submit() asserts that none is started twice */
    t.what[7] = '\0';
    assert_string_equal(t.what, "RRRRRRR");
    end_with_history();
}

#define TEST(name) cmocka_unit_test(name)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_policy_decides_over_the_fire_times_alone),
        TEST(one_old_fire_time_is_made_good_however_it_was_armed),
        TEST(all_is_bounded_whatever_was_armed),
        TEST(what_still_runs_is_the_reason),
        TEST(start_within_holds_for_jitter),
        TEST(start_within_holds_while_the_engine_is_away),
        TEST(the_previous_fire_time_is_the_schedules),
        TEST(concurrency_holds_for_runs_that_others_cause),
        TEST(queue_max_holds_for_a_backfill),
        TEST(a_clock_that_was_ahead_silences_nothing),
        TEST(what_has_run_is_not_made_good),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
