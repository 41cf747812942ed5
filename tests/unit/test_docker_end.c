/* An end that nobody has seen: is it known to the engine, did the engine bring it about, or did it make it up? The times
 * are those that dockerd 20.10 has told, in seconds. */
#include "cronsched/engines/docker/docker_core.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void the_source_of_an_end(void **state)
{
    static const struct {
        const char *what;
        double started, finished;
        int code;
        double process, network, host; /* 0: not known */
        bool seen_away, live, zero;
        enum docker_end_source expected;
    } table[] = {
        {"the engine has lived all the time", 20, 25, 0, 10, 15, 1, false, false, false, DOCKER_END_OWN},
        {"the same, in its first minute", 20, 25, 255, 10, 15, 1, false, false, false, DOCKER_END_OWN},
        {"the same, with live-restore", 200, 250, 255, 100, 15, 1, false, true, false, DOCKER_END_OWN},
        {"power was lost", 20, 38.7, 255, 38, 53, 30, false, false, false, DOCKER_END_MADE_UP},
        {"power was lost, Docker 24.0", 20, 38.7, 0, 38, 53, 30, false, false, false, DOCKER_END_MADE_UP},
        {"power was lost, engine elsewhere", 20, 38.7, 0, 0, 53, 0, false, false, false, DOCKER_END_MADE_UP},
        {"the same, seen", 20, 38.7, 255, 0, 53, 0, true, false, false, DOCKER_END_MADE_UP},
        {"power was lost, live-restore", 20, 38.7, 0, 38, 40, 30, false, true, false, DOCKER_END_MADE_UP},
        {"it ended well while that was going on", 20, 38.7, 0, 38, 40, 1, false, true, false, DOCKER_END_OWN},
        {"the same, Docker 24.0", 20, 38.7, 0, 38, 40, 1, false, true, true, DOCKER_END_MADE_UP},
        {"the engine was started twice since then", 20, 38.7, 0, 500, 501, 30, false, true, false,
         DOCKER_END_MADE_UP},
        {"the same, within a minute, host not known", 20, 38, 0, 50, 52, 0, true, false, false,
         DOCKER_END_MADE_UP},
        {"just before the host went down", 20, 25, 0, 38, 40, 30, false, false, false, DOCKER_END_OWN},
        {"stopped as the host went down", 20, 25, 143, 38, 40, 30, false, false, false,
         DOCKER_END_MAYBE_ENGINE},
        {"it ended before the host went down", 20, 25, 0, 500, 501, 30, false, true, false, DOCKER_END_OWN},
        {"the runtime was killed, live-restore", 17, 33.7, 255, 33.2, 1, 1, false, true, false,
         DOCKER_END_MADE_UP},
        {"it ended while away, live-restore", 20, 26, 0, 35, 1, 1, true, true, false, DOCKER_END_OWN},
        {"the same, and nothing lived on", 20, 26, 0, 35, 36, 1, true, true, false, DOCKER_END_OWN},
        {"it failed while away, live-restore", 20, 26, 3, 35, 36, 1, true, true, false, DOCKER_END_OWN},
        {"it failed while away", 20, 26, 3, 35, 53, 1, true, false, false, DOCKER_END_MAYBE_ENGINE},
        {"the engine killed it while it started", 21, 48, 137, 35, 53, 1, false, false, false,
         DOCKER_END_MAYBE_ENGINE},
        {"the engine stopped it with itself", 10, 27, 137, 35, 39, 1, false, false, false,
         DOCKER_END_MAYBE_ENGINE},
        {"the same, engine elsewhere", 10, 27, 143, 0, 39, 0, false, false, false, DOCKER_END_MAYBE_ENGINE},
        {"long before a restart", 10, 20, 0, 300, 310, 1, false, false, false, DOCKER_END_OWN},
        {"long before a restart, engine elsewhere", 10, 20, 0, 0, 310, 0, false, false, false,
         DOCKER_END_OWN},
        {"long before a restart, killed", 10, 20, 137, 0, 310, 0, false, false, false, DOCKER_END_OWN},
        {"it lived on, and ended long after", 10, 500, 0, 100, 1, 1, true, true, false, DOCKER_END_OWN},
        {"nothing is known of the engine", 10, 20, 0, 0, 0, 0, false, false, false, DOCKER_END_OWN},
        {"nothing is known but that it was away", 10, 20, 0, 0, 0, 0, true, false, false, DOCKER_END_MADE_UP},
        {"the same, live-restore", 10, 20, 0, 0, 0, 0, true, true, false, DOCKER_END_OWN},
        {"the same, with a code of its own", 10, 20, 3, 0, 0, 0, true, false, false, DOCKER_END_MAYBE_ENGINE},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(table); i++) {
        struct docker_state s = {.status = DOCKER_EXITED,
                                 .started_ms = (int64_t)(table[i].started * 1000),
                                 .finished_ms = (int64_t)(table[i].finished * 1000),
                                 .exit_code = table[i].code};
        struct docker_restart r = {.process_ms = (int64_t)(table[i].process * 1000),
                                   .network_ms = (int64_t)(table[i].network * 1000),
                                   .host_ms = (int64_t)(table[i].host * 1000),
                                   .seen_away = table[i].seen_away,
                                   .live_restore = table[i].live,
                                   .zero = table[i].zero};

        if (docker_end_judge(&s, &r) != table[i].expected)
            fail_msg("%s: %d", table[i].what, docker_end_judge(&s, &r));
    }
}

static void the_cause_of_an_end(void **state)
{
    static const struct {
        int code;
        bool oom, limited;
        enum docker_end_source source;
        int foreign_signal;
        bool stopped;
        const char *cause, *text; /* text: part of it; NULL: there is none */
    } table[] = {
        {0, false, true, DOCKER_END_OWN, 0, false, "exit", NULL},
        {3, true, true, DOCKER_END_OWN, 0, false, "exit", "a process in it was killed"},
        {137, true, true, DOCKER_END_OWN, 0, false, "oom", "more memory than its limit"},
        {137, true, true, DOCKER_END_MAYBE_ENGINE, 9, false, "oom", "more memory than its limit"},
        {137, false, true, DOCKER_END_OWN, 0, false, "signal", "SIGKILL; perhaps it needed more memory"},
        {137, false, true, DOCKER_END_OWN, 0, true, "signal", "exit code 137: SIGKILL"},
        {137, false, false, DOCKER_END_OWN, 0, false, "signal", "exit code 137: SIGKILL"},
        {137, false, true, DOCKER_END_OWN, 9, false, "engine", "SIGKILL was sent to it"},
        {143, true, true, DOCKER_END_OWN, 0, true, "signal", "SIGTERM; a process in it was killed"},
        {143, false, true, DOCKER_END_MAYBE_ENGINE, 0, false, "engine", "the engine may have ended it"},
        {200, false, true, DOCKER_END_OWN, 0, false, "exit", NULL},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(table); i++) {
        struct docker_state s = {.status = DOCKER_EXITED,
                                 .exit_code = table[i].code,
                                 .oom_killed = table[i].oom,
                                 .memory_limited = table[i].limited};
        struct docker_end end = {.state = &s,
                                 .source = table[i].source,
                                 .foreign_signal = table[i].foreign_signal,
                                 .stopped = table[i].stopped};
        char text[512];
        const char *cause = docker_end_explain(&end, text, sizeof(text));

        if (strcmp(cause, table[i].cause) != 0 || (table[i].text ? !strstr(text, table[i].text) : text[0]))
            fail_msg("%zu: %s: %s", i, cause, text);
        if (strstr(text, "perhaps") && (table[i].stopped || !table[i].limited))
            fail_msg("%zu: guesses: %s", i, text);
    }
}

/* Whether anybody was there to read what it wrote last. */
static void the_output_of_an_end(void **state)
{
    static const struct {
        int64_t started_ms, finished_ms, process_ms, network_ms;
        bool seen_away, unread;
    } table[] = {
        {1000000, 1500000, 0, 0, false, false},
        {1000000, 1500000, 0, 0, true, true},
        {1000000, 1500000, 1510000, 0, false, true}, /* ten seconds before the engine was there */
        {1000000, 1500000, 0, 1510000, false, true}, /* the engine is elsewhere: to a minute */
        {1000000, 1500000, 1700000, 1510000, false,
         false}, /* that engine came much later: another was there */
        {1000000, 1500000, 900000, 0, false, false},
        {1000000, 1500000, 1490000, 0, false, false}, /* it was back */
    };

    (void)state;
    for (size_t i = 0; i < COUNT(table); i++) {
        struct docker_state s = {.started_ms = table[i].started_ms, .finished_ms = table[i].finished_ms};
        struct docker_restart restart = {.process_ms = table[i].process_ms,
                                         .network_ms = table[i].network_ms,
                                         .seen_away = table[i].seen_away};
        struct docker_end end = {.state = &s, .unread = docker_end_is_unread(&s, &restart)};
        char text[512];

        docker_end_explain(&end, text, sizeof(text));
        if (end.unread != table[i].unread || !strstr(text, "may be missing") != !table[i].unread)
            fail_msg("%zu: %d: %s", i, end.unread, text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_source_of_an_end),
                                       cmocka_unit_test(the_output_of_an_end),
                                       cmocka_unit_test(the_cause_of_an_end)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
