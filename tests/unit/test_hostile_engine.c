/* A Docker engine that answers nonsense, one request at a time: wrong statuses, halves, wrong types, too deep, too many
 * values, too much. Whoever asked it stays up, gets an answer with a reason, and never one that proves what nobody
 * said. */
#include "tests/support/hostile_engine.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include <cmocka.h>

#define MEMORY_KB (512 * 1024) /* with sanitizers */

static void test_sane_answers_come_through(void **state)
{
    ask(ENGINE_PREPARE);
    if (heard.event != ENGINE_PREPARED)
        fail_msg("%s: %s", engine_event_name(heard.event), heard_text);
    ask(ENGINE_RELEASE);
    assert_int_equal(heard.event, ENGINE_STARTED);
    assert_int_equal(starts, 1);
}

static void test_nonsense_for_the_link(void **state)
{
    never(ENGINE_PREPARE, "/version", ENGINE_PREPARED);
    never(ENGINE_PREPARE, "/info", ENGINE_DONE);
    never(ENGINE_PREPARE, "/volumes/", ENGINE_DONE);
}

static void test_nonsense_for_a_preparation(void **state)
{
    never(ENGINE_PREPARE, "/create", ENGINE_PREPARED);
    never(ENGINE_PREPARE, "/changes", ENGINE_PREPARED);
}

/* What cannot be looked at may run already: it is not started. */
static void test_nonsense_for_a_release(void **state)
{
    static const char *const odd[] = {"{}", "[]", "null",
                                      "{\"State\":{\"Status\":\"exited\",\"ExitCode\":\"0\"}}",
                                      "{\"State\":{\"Status\":7}}"};
    static char text[512];

    for (size_t i = 0; i < COUNT(odd); i++) {
        snprintf(text, sizeof(text), OK "Content-Length: %zu\r\n\r\n%s", strlen(odd[i]), odd[i]);
        bad_path = "/json HTTP";
        bad = (struct nonsense){text};
        ask(ENGINE_RELEASE);
        assert_int_equal(heard.event, ENGINE_UNREACHABLE);
        assert_non_null(strstr(heard_text, "invalid"));
        assert_int_equal(starts, 0);
    }
    never(ENGINE_RELEASE, "/start ", ENGINE_NEVER_RAN);
}

/* ---- fence ---- */

#define GONE                                                                                                 \
    {                                                                                                        \
        "/containers/" ID "/json", 404, "{\"message\":\"No such container\"}"                                \
    }

/* It asks again and again before it gives up, so only some kinds are tried, and not to the end. */
static void never_proves(const char *path)
{
    for (size_t i = 0; i < nonsense_count; i += 4) {
        bad_path = path;
        bad = nonsense[i];
        ask_for(ENGINE_FENCE, "{\"image\":\"alpine\"}", 1, 250);
        if (heard_count > 0 && heard.event == ENGINE_NEVER_RAN)
            fail_msg("%s: %zu is taken for a proof: %s", path, i, heard_text);
        assert_in_range(bad_count, 1, 1000);
    }
    bad_path = NULL;
}

static void test_nonsense_for_a_fence(void **state)
{
    ask(ENGINE_FENCE);
    assert_int_equal(heard.event, ENGINE_NEVER_RAN); /* so is what is said by an engine that is sane */
    never_proves("/" ID "/json HTTP");
    never_proves("/networks/bridge");
    special[0] = (struct reply)GONE;
    never_proves("/events");
    special[0] = (struct reply){"/archive", 500, "{\"message\":\"no\"}"};
    never_proves("/changes");
    nothing_special();
}

#define EVENT(action) "{\"Type\":\"container\",\"Action\":\"" action "\",\"Actor\":{\"ID\":\"" ID "\"}"
#define AT            ",\"timeNano\":1764500000000000000}\n"

/* Among the events that are to prove that it never ran is one that cannot be read. */
static void test_events_that_hide_the_start(void **state)
{
    static const char *const starts_hidden[] = {
        OK "\r\n" EVENT("create") AT EVENT("start") ",\"a\":1,\"a\":2}\n" EVENT("destroy") AT,
        OK "\r\n" EVENT("create") AT "{\n" EVENT("destroy") AT,
        OK "\r\n" EVENT("start") ",}\n" EVENT("create") AT EVENT("destroy") AT,
    };

    special[0] = (struct reply)GONE;
    bad_path = "/events";
    bad = (struct nonsense){OK "\r\n" EVENT("create") AT EVENT("destroy") AT, .stays = true};
    ask(ENGINE_FENCE);
    assert_int_equal(heard.event, ENGINE_NEVER_RAN);
    for (size_t i = 0; i < COUNT(starts_hidden); i++) {
        bad.say = starts_hidden[i];
        ask(ENGINE_FENCE);
        assert_int_equal(heard.event, ENGINE_UNKNOWN);
    }
    nothing_special();
}

/* ---- watch ---- */

#define STATE_OF(status, more)                                                                               \
    "{\"Id\":\"" ID "\",\"State\":{\"Status\":\"" status "\",\"StartedAt\":\"2025-11-30T10:00:00Z\"" more "}}"
#define FINISHED ",\"FinishedAt\":\"2025-11-30T10:00:05Z\""

/* Whether it runs is told to be unknown, instead of nothing for ever. */
static void test_nonsense_for_a_watch(void **state)
{
    never(ENGINE_WATCH, "/" ID "/json HTTP", ENGINE_ENDED);
}

static void test_an_end_without_its_exit_code_is_unknown(void **state)
{
    special[0] = (struct reply){"/" ID "/json", 200, STATE_OF("exited", FINISHED)};
    ask(ENGINE_WATCH);
    assert_int_equal(heard.event, ENGINE_UNKNOWN);
    assert_non_null(strstr(heard_text, "exit code"));
    special[0] = (struct reply){"/" ID "/json", 200, STATE_OF("exited", FINISHED ",\"ExitCode\":3")};
    ask(ENGINE_WATCH);
    assert_int_equal(heard.event, ENGINE_ENDED);
    assert_int_equal(heard.exit_code, 3);
    nothing_special();
}

/* The engine was started after it: what it says of the end may be made up, unless it remembers the event. */
static void test_an_end_that_was_not_seen_is_believed_with_its_event(void **state)
{
    special[0] = (struct reply){"/" ID "/json", 200, STATE_OF("exited", FINISHED ",\"ExitCode\":0")};
    special[1] =
        (struct reply){"/networks/bridge", 200, "{\"Id\":\"n\",\"Created\":\"2025-11-30T10:00:20Z\"}"};
    special[2] = (struct reply){"/events?since=1&until=", 200, "{}"};
    ask(ENGINE_WATCH);
    assert_int_equal(heard.event, ENGINE_UNKNOWN);
    assert_non_null(strstr(heard_text, "has not seen"));
    special[2].body = EVENT("die") AT;
    ask(ENGINE_WATCH);
    assert_int_equal(heard.event, ENGINE_ENDED);
    assert_int_equal(heard.exit_code, 0);
    nothing_special();
}

/* The engine says so beside the end, after it, or among its events alone; or it never learns of it. */
static void test_a_kill_for_memory_is_waited_for(void **state)
{
    static const char limited[] =
        "{\"State\":{\"Status\":\"exited\",\"StartedAt\":\"2025-11-30T10:00:00Z\"" FINISHED
        ",\"ExitCode\":137},\"HostConfig\":{\"Memory\":8388608}}";
    uint64_t began;

    special[0] = (struct reply){"/" ID "/json", 200, limited};
    bad_path = "/events?";
    bad = (struct nonsense){OK "\r\n" EVENT("die") AT EVENT("oom") AT, .stays = true};
    ask(ENGINE_WATCH);
    assert_int_equal(heard.event, ENGINE_ENDED);
    assert_string_equal(heard.cause, "oom");
    bad = (struct nonsense){OK "\r\n" EVENT("die") AT, .stays = true};
    later[0] = (struct reply){"/" ID "/json", 200,
                              STATE_OF("exited", FINISHED ",\"ExitCode\":137,\"OOMKilled\":true")};
    ask(ENGINE_WATCH);
    assert_string_equal(heard.cause, "oom");
    later[0] = (struct reply){0};
    began = uv_hrtime();
    ask(ENGINE_WATCH);
    assert_true(uv_hrtime() - began > 900 * UINT64_C(1000000));
    assert_string_equal(heard.cause, "signal");
    assert_non_null(strstr(heard_text, "memory"));
    nothing_special();
}

/* The end is told by an event behind a line that is too long, and long before the next look. */
static void test_events_behind_too_long_a_line_are_heard(void **state)
{
    static char events[512 * 1024];
    size_t n = (size_t)snprintf(events, sizeof(events), OK "\r\n");

    memset(events + n, 'x', sizeof(events) - n);
    snprintf(events + sizeof(events) - 300, 300, "\n%s", EVENT("die") AT);
    special[0] = (struct reply){"/" ID "/json", 200, STATE_OF("running", "")};
    later[0] = (struct reply){"/" ID "/json", 200, STATE_OF("exited", FINISHED ",\"ExitCode\":3")};
    bad_path = "/events";
    bad = (struct nonsense){events, strlen(events), .stays = true};
    ask(ENGINE_WATCH);
    assert_int_equal(heard.event, ENGINE_ENDED);
    assert_int_equal(heard.exit_code, 3);
    nothing_special();
}

static void test_events_without_end(void **state)
{
    static const char *const lines[] = {xs, zeros};

    special[0] = (struct reply){"/" ID "/json", 200, STATE_OF("running", "")};
    bad_path = "/events";
    for (size_t i = 0; i < COUNT(lines); i++) {
        bad = (struct nonsense){OK "\r\n", .again = lines[i]};
        ask_for(ENGINE_WATCH, "{\"image\":\"alpine\"}", 1, 300);
        assert_int_equal(heard_count, 0); /* it runs, and nothing else was said */
        assert_in_range(bad_count, 1, 3);
    }
    nothing_special();
}

/* ---- logs ---- */

static void test_nonsense_for_a_log(void **state)
{
    static const struct nonsense logs[] = {
        {OK "\r\n", .again = zeros}, /* frames of nothing */
        {OK "\r\n", .again = xs},    /* of two gigabytes */
        {OK "Content-Length: 100\r\n\r\n\1"},
        {OK "Content-Length: 3\r\n\r\n\1\1"},
        {"HTTP/1.1 501 X\r\nContent-Length: 0\r\n\r\n"}, /* 500 may pass, and is asked for longer */
        {""},
    };

    special[0] = (struct reply){"/" ID "/json", 200, STATE_OF("exited", FINISHED ",\"ExitCode\":3")};
    bad_path = "/logs";
    for (size_t i = 0; i < COUNT(logs); i++) {
        bad = logs[i];
        ask_for(ENGINE_WATCH, "{\"image\":\"alpine\",\"keep\":{\"logs\":\"4k\"}}", 1, CASE_MS);
        if (heard_count != 1 || heard.event != ENGINE_ENDED || heard.exit_code != 3)
            fail_msg("log %zu: %d answers", i, heard_count);
        assert_in_range(bad_count, 1, 8);
    }
    nothing_special();
}

/* ---- pull ---- */

static void test_nonsense_for_a_pull(void **state)
{
    static const char pulls[] = "{\"image\":\"alpine\",\"pull\":\"always\"}";

    bad_path = "/images/create";
    for (size_t i = 0; i < nonsense_count; i++) {
        bad = nonsense[i];
        ask_for(ENGINE_PREPARE, pulls, 1, CASE_MS);
        assert_int_equal(heard_count, 1);
    }
    bad = (struct nonsense){OK "\r\n", .again = xs};
    ask_for(ENGINE_PREPARE, pulls, 1, 300);
    assert_int_equal(heard_count, 0);
    nothing_special();
}

static void test_ids_that_are_none(void **state)
{
    static const char *const bodies[] = {"{\"Id\":\"../images/x\"}", "{\"Id\":\"\"}",
                                         "{\"Id\":\"ab?force=1\"}", "{\"Id\":\"ab\\r\\nX: y\"}",
                                         "{\"Id\":7}"};

    for (size_t i = 0; i < COUNT(bodies); i++) {
        special[0] = (struct reply){"/containers/create", 201, bodies[i]};
        ask(ENGINE_PREPARE);
        assert_int_equal(heard.event, ENGINE_REFUSED);
    }
    nothing_special();
}

/* Where it has no mark the containers tell; only an empty list says that there are none. */
static void test_a_list_that_is_none_gives_no_identity(void **state)
{
    static const char *const lists[] = {"{}",   "null", "7",
                                        "[{}]", "[7]",  "[{\"Labels\":{\"cronsched.identity\":\"XY\"}}]"};

    for (size_t i = 0; i < COUNT(lists); i++) {
        special[0] = (struct reply){"GET /v1.45/volumes/", 404, "{}"};
        special[1] = (struct reply){"/containers/json?all=1&limit=1&", 200, lists[i]};
        special[2] = (struct reply){"/volumes/create", 201, "{}"};
        ask(ENGINE_PREPARE);
        assert_int_equal(heard.event, ENGINE_UNREACHABLE);
        assert_non_null(strstr(heard_text, "is invalid"));
    }
    nothing_special();
}

/* Its words come with each run; that it has no space is told of the engine itself, until it makes one again. */
static void test_an_engine_without_space_is_told(void **state)
{
    struct engine_status status = {0};

    special[0] = (struct reply){"/containers/create", 500,
                                "{\"message\":\"mkdir /var/lib/docker/x: no space left on device\"}"};
    asked_status = &status;
    ask(ENGINE_PREPARE);
    assert_int_equal(heard.event, ENGINE_REFUSED);
    assert_string_equal(status.trouble, "its disk is full: mkdir /var/lib/docker/x: no space left on device");
    nothing_special();
    ask(ENGINE_PREPARE);
    assert_int_equal(heard.event, ENGINE_PREPARED);
    assert_string_equal(status.trouble, "");
    asked_status = NULL;
}

/* ---- sweep ---- */

#define ITEM(state, epoch, attempt, created)                                                                 \
    "{\"Id\":\"" ID "\",\"Names\":[\"/cs-ab\"],\"State\":\"" state "\",\"Created\":" created ",\"Labels\":{" \
    "\"cronsched.cluster\":\"c\",\"cronsched.run\":\"r@1\"," epoch attempt                                   \
    "\"cronsched.witness\":\"/.cronsched-ab\"}}"
#define EPOCH   "\"cronsched.epoch\":\"3\","
#define ATTEMPT "\"cronsched.attempt\":\"1\","

static void sweep_once(const char *list, const char *inspect)
{
    struct engine *engine;

    keeps = false;
    special[0] = (struct reply){"/containers/json?all=1&limit=64", 200, list};
    special[1] = (struct reply){"/" ID "/json", 200, inspect};
    open_engine(&engine, 50);
    turn(150, 1);
    close_engine(engine);
}

static void test_the_sweep_removes_nothing_that_it_does_not_know(void **state)
{
    static const char over[] =
        "{\"Created\":\"2025-11-30T10:00:00Z\",\"State\":{\"Status\":\"exited\",\"ExitCode\":0,"
        "\"StartedAt\":\"2025-11-30T10:00:00Z\"" FINISHED "}}";
    static const struct {
        const char *list, *inspect;
        bool removed;
    } table[] = {
        {"[" ITEM("exited", EPOCH, ATTEMPT, "1764000000") "]", over, true},
        /* as of an engine whose disk is full */
        {"[" ITEM("running", EPOCH, ATTEMPT, "1764000000") "]", over, true},
        {"[" ITEM("running", EPOCH, ATTEMPT, "1764000000") "]", STATE_OF("running", ""), false},
        {"[" ITEM("exited", "", ATTEMPT, "1764000000") "]", over, false},
        {"[" ITEM("exited", EPOCH, "", "1764000000") "]", over, false},
        {"[" ITEM("exited", "\"cronsched.epoch\":\"2x\",", ATTEMPT, "1764000000") "]", over, false},
        {"[" ITEM("exited", "\"cronsched.epoch\":\"99999999999999999999\",", ATTEMPT, "1764000000") "]", over,
         false},
        {"[" ITEM("exited", EPOCH, ATTEMPT, "\"then\"") "]", over, false},
        {"[" ITEM("exited", EPOCH, ATTEMPT, "1764000000") "]", STATE_OF("running", ""), false},
        {"[" ITEM("exited", EPOCH, ATTEMPT, "1764000000") "]",
         STATE_OF("exited", FINISHED ",\"ExitCode\":\"0\""), false},
        {"[" ITEM("created", EPOCH, ATTEMPT, "1764000000") "]", "{\"State\":{\"Status\":\"created\"}}",
         false},
        {"{}", over, false},
        {"[7,null,{},[]]", over, false},
    };

    for (size_t i = 0; i < COUNT(table); i++) {
        sweep_once(table[i].list, table[i].inspect);
        if ((deletes > 0) != table[i].removed)
            fail_msg("%zu: %d removed", i, deletes);
    }
    nothing_special();
}

/* They are nobody's to remove but a person's, who is told. */
static void test_containers_of_other_clusters_are_counted(void **state)
{
    struct engine_status status = {0};
    struct engine *engine;

    special[0] = (struct reply){
        "limit=1000", 200,
        "[{\"Labels\":{\"cronsched.cluster\":\"c\"}},{\"Labels\":{\"cronsched.cluster\":\"x\"}},"
        "{\"Labels\":{\"cronsched.cluster\":\"y\"}},{}]"};
    open_engine(&engine, 50);
    turn(250, 1);
    engine->ops->status(engine, &status);
    close_engine(engine);
    assert_non_null(strstr(status.text, ", 3 containers of other clusters"));
    assert_int_equal(deletes, 0);
    nothing_special();
}

/* An engine that does not know `before` gives the same page again and again. */
static void test_a_list_without_end(void **state)
{
    static char list[15 * 1024];
    size_t n = 0;

    for (int i = 0; i < 64; i++)
        n += (size_t)snprintf(list + n, sizeof(list) - n, "%c{\"Id\":\"%x\"}", i ? ',' : '[', i);
    snprintf(list + n, sizeof(list) - n, "]");
    later[0] = (struct reply){"/containers/json?all=1&limit=64", 200, list};
    sweep_once(list, "{}");
    assert_in_range(pages, 1, later_count - pages); /* a second page in each sweep */
    nothing_special();
}

static void test_memory_stayed_within_bounds(void **state)
{
    struct rusage use;

    assert_int_equal(getrusage(RUSAGE_SELF, &use), 0);
    assert_in_range(use.ru_maxrss, 1, MEMORY_KB);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sane_answers_come_through),
        cmocka_unit_test(test_nonsense_for_the_link),
        cmocka_unit_test(test_nonsense_for_a_preparation),
        cmocka_unit_test(test_nonsense_for_a_release),
        cmocka_unit_test(test_nonsense_for_a_fence),
        cmocka_unit_test(test_events_that_hide_the_start),
        cmocka_unit_test(test_nonsense_for_a_watch),
        cmocka_unit_test(test_an_end_without_its_exit_code_is_unknown),
        cmocka_unit_test(test_an_end_that_was_not_seen_is_believed_with_its_event),
        cmocka_unit_test(test_events_behind_too_long_a_line_are_heard),
        cmocka_unit_test(test_events_without_end),
        cmocka_unit_test(test_a_kill_for_memory_is_waited_for),
        cmocka_unit_test(test_nonsense_for_a_log),
        cmocka_unit_test(test_nonsense_for_a_pull),
        cmocka_unit_test(test_ids_that_are_none),
        cmocka_unit_test(test_a_list_that_is_none_gives_no_identity),
        cmocka_unit_test(test_an_engine_without_space_is_told),
        cmocka_unit_test(test_the_sweep_removes_nothing_that_it_does_not_know),
        cmocka_unit_test(test_containers_of_other_clusters_are_counted),
        cmocka_unit_test(test_a_list_without_end),
        cmocka_unit_test(test_memory_stayed_within_bounds),
    };

    signal(SIGPIPE, SIG_IGN); /* as the program does: the engine may hang up at any moment */
    return cmocka_run_group_tests_name("hostile_engine", tests, set_up, tear_down);
}
