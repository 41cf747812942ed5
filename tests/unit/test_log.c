/* The log: lines are whole, JSON is JSON whatever the fields hold, floods end. */
#include "cronsched/io/log.h"
#include "jobs/base/text.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct world {
    struct text lines;
    int64_t mono_ms;
};

static void put(void *arg, const char *line, size_t n)
{
    text_add_bytes(&((struct world *)arg)->lines, line, n);
}

static int64_t wall(void *arg)
{
    return INT64_C(1795345200123); /* 2026-11-22T11:00:00.123Z */
}

static int64_t mono(void *arg)
{
    return ((struct world *)arg)->mono_ms;
}

static void begin(struct world *w, bool json)
{
    *w = (struct world){.mono_ms = 1000};
    text_init(&w->lines, 1 << 20);
    log_open(&(struct log_options){
        .json = json, .least = LOG_NOTE, .put = put, .wall_ms = wall, .mono_ms = mono, .arg = w});
}

static void end(struct world *w)
{
    log_close();
    text_release(&w->lines);
}

static int count(const struct world *w, const char *what)
{
    int n = 0;

    for (const char *p = text_str(&w->lines); (p = strstr(p, what)); p++)
        n++;
    return n;
}

static void test_json(void **state)
{
    struct world w;

    begin(&w, true);
    log_event(LOG_WARN, "engine-away", LOG_TEXT("text", "it \"said\"\n\x01"), LOG_TEXT("job", NULL),
              LOG_INT("ms", -5));
    assert_string_equal(
        text_str(&w.lines),
        "{\"time\":\"2026-11-22T11:00:00.123Z\",\"level\":\"warning\",\"event\":\"engine-away\","
        "\"text\":\"it \\\"said\\\"\\u000a\\u0001\",\"ms\":-5}\n");
    end(&w);
}

static void test_human(void **state)
{
    struct world w;

    begin(&w, false);
    log_event(LOG_ERROR, "store-failed", LOG_INT("code", 5), LOG_TEXT("text", "disk\x1b[31m full"),
              LOG_TEXT("job", "a"));
    log_event(LOG_NOTE, "ready");
    log_event(LOG_TRACE, "not-shown");
    assert_string_equal(text_str(&w.lines),
                        "2026-11-22T11:00:00.123Z ERROR store-failed: disk [31m full (code=5 job=a)\n"
                        "2026-11-22T11:00:00.123Z INFO  ready\n");
    end(&w);
}

/* An engine's error, in either form. */
static void test_no_text_steers_a_terminal(void **state)
{
    static const char text[] = "a\xc2\x85"
                               "b\xc2\x9b"
                               "c\u2028d\u202ee\x7f"
                               "f";
    struct world w;

    begin(&w, true);
    log_event(LOG_WARN, "engine", LOG_TEXT("text", text));
    assert_non_null(strstr(text_str(&w.lines), "\"a\\u0085b\\u009bc\\u2028d\\u202ee\\u007ff\""));
    end(&w);
    begin(&w, false);
    log_event(LOG_WARN, "engine", LOG_TEXT("text", text));
    assert_non_null(strstr(text_str(&w.lines), "engine: a b c d e f\n"));
    end(&w);
}

static void test_the_journal_gets_priorities(void **state)
{
    struct world w;

    begin(&w, false);
    log_open(
        &(struct log_options){.journal = true, .least = LOG_TRACE, .put = put, .mono_ms = mono, .arg = &w});
    log_event(LOG_ERROR, "a");
    log_event(LOG_TRACE, "b");
    assert_string_equal(text_str(&w.lines), "<3>ERROR a\n<7>DEBUG b\n");
    end(&w);
}

static void test_any_bytes_and_any_length_stay_one_line_of_json(void **state)
{
    struct world w;
    char *huge = malloc(100001);

    memset(huge, '"', 100000);
    huge[100000] = '\0';
    begin(&w, true);
    log_event(LOG_NOTE, "huge", LOG_TEXT("a", huge), LOG_TEXT("b", huge), LOG_INT("c", 1));
    log_event(LOG_NOTE, "bytes", LOG_TEXT("a", "\xff\xc3 ok\xe2\x82"));
    assert_int_equal(count(&w, "\n"), 2);
    for (const char *p = text_str(&w.lines); *p; p = strchr(p, '\n') + 1) {
        json_error_t error;
        json_t *line = json_loadb(p, (size_t)(strchr(p, '\n') - p), JSON_REJECT_DUPLICATES, &error);

        if (!line)
            fail_msg("%s: %.200s", error.text, p);
        assert_true(strchr(p, '\n') - p < LOG_LINE_MAX);
        json_decref(line);
    }
    assert_non_null(strstr(text_str(&w.lines), "\"a\":\"?? ok??\""));
    end(&w);
    free(huge);
}

static void test_a_flood_of_one_event_ends_and_others_pass(void **state)
{
    struct world w;

    begin(&w, false);
    for (int i = 0; i < 3 * LOG_BURST; i++)
        log_event(LOG_WARN, "flood");
    log_event(LOG_WARN, "other");
    assert_int_equal(count(&w, "flood"), LOG_BURST);
    assert_int_equal(count(&w, "other"), 1);
    w.mono_ms += LOG_WINDOW_MS;
    log_event(LOG_WARN, "flood");
    assert_non_null(strstr(text_str(&w.lines), "log-limited (of=flood lines=100)"));
    assert_int_equal(count(&w, "WARN  flood"), LOG_BURST + 1);
    end(&w);
}

static void test_what_was_left_out_is_said_at_the_end(void **state)
{
    struct world w;

    begin(&w, false);
    for (int i = 0; i < LOG_BURST + 7; i++)
        log_event(LOG_WARN, "flood");
    log_close();
    assert_non_null(strstr(text_str(&w.lines), "log-limited (of=flood lines=7)"));
    end(&w);
}

static void test_names_beyond_the_table_share_one_limit(void **state)
{
    struct world w;
    char name[32];

    begin(&w, false);
    for (int i = 0; i < LOG_EVENTS_MAX + 2 * LOG_BURST; i++) {
        snprintf(name, sizeof(name), "event-%d", i);
        log_event(LOG_WARN, name);
    }
    assert_int_equal(count(&w, "WARN  event-"), LOG_EVENTS_MAX + LOG_BURST);
    end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_human),
        cmocka_unit_test(test_the_journal_gets_priorities),
        cmocka_unit_test(test_no_text_steers_a_terminal),
        cmocka_unit_test(test_any_bytes_and_any_length_stay_one_line_of_json),
        cmocka_unit_test(test_a_flood_of_one_event_ends_and_others_pass),
        cmocka_unit_test(test_what_was_left_out_is_said_at_the_end),
        cmocka_unit_test(test_names_beyond_the_table_share_one_limit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
