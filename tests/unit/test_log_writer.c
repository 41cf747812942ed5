/* The log's thread: all that it took is written in order, a reader that hangs holds nobody up, and an abort keeps what was
 * logged before it. */
#include "cronsched/io/log.h"
#include "cronsched/io/log_writer.h"
#include "jobs/base/clock.h"
#include "tests/support/patience.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define LINES 20000 /* more than a pipe holds, and than the ring */

static int ends[2];
static char text[4 * 1024 * 1024];

static size_t read_all(void)
{
    size_t n = 0;
    ssize_t r;

    while ((r = read(ends[0], text + n, sizeof(text) - 1 - n)) > 0)
        n += (size_t)r;
    text[n] = '\0';
    close(ends[0]);
    return n;
}

/* In a process of its own, whose stderr the pipe is. */
static pid_t logger(void (*work)(void))
{
    pid_t pid;

    assert_int_equal(pipe(ends), 0);
    pid = fork();
    if (pid == 0) {
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        close(ends[1]);
        log_detach();
        work();
        log_close();
        _exit(0);
    }
    close(ends[1]);
    return pid;
}

static int status_of(pid_t pid)
{
    int status;

    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void work_much(void)
{
    for (int i = 0; i < LINES; i++)
        log_activity(LOG_NOTE, "line", LOG_INT("number", i));
}

/* Whatever had no room is counted: lines written and lines lost are all. */
static void test_every_line_is_written_in_order_or_counted(void **state)
{
    pid_t pid = logger(work_much);
    int lines = 0, lost = 0, last = -1, number;

    read_all();
    assert_int_equal(status_of(pid), 0);
    for (const char *line = text; *line; line = strchr(line, '\n') + 1) {
        const char *at = strstr(line, "line (number="), *told = strstr(line, "log-lost (lines=");
        const char *end = strchr(line, '\n');

        if (at && at < end && sscanf(at, "line (number=%d)", &number) == 1) {
            assert_true(number > last);
            last = number;
            lines++;
        } else if (told && told < end && sscanf(told, "log-lost (lines=%d)", &number) == 1) {
            lost += number;
        }
    }
    assert_true(lines > 0);
    assert_int_equal(lines + lost, LINES);
}

static void work_hung(void)
{
    int64_t from = clock_mono_ms(), took;

    work_much();
    took = clock_mono_ms() - from;
    _exit(took < patience_ms(5000) ? 0 : 1);
}

static void test_a_reader_that_hangs_holds_nobody_up(void **state)
{
    assert_int_equal(status_of(logger(work_hung)), 0); /* nobody has read a byte */
    close(ends[0]);
}

static void work_abort(void)
{
    for (int i = 0; i < 1000; i++)
        log_activity(LOG_NOTE, "before", LOG_INT("number", i));
    abort();
}

static void test_an_abort_keeps_the_lines_before_it(void **state)
{
    pid_t pid = logger(work_abort);
    int status;

    read_all();
    status = status_of(pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    assert_non_null(strstr(text, "before (number=999)"));
}

/* It ends within its time, though what is not written cannot be. */
static void test_the_end_does_not_wait_for_ever(void **state)
{
    int64_t from = clock_mono_ms();

    assert_int_equal(status_of(logger(work_much)), 0);
    assert_true(clock_mono_ms() - from >= LOG_CLOSE_MS);
    close(ends[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_line_is_written_in_order_or_counted),
        cmocka_unit_test(test_a_reader_that_hangs_holds_nobody_up),
        cmocka_unit_test(test_an_abort_keeps_the_lines_before_it),
        cmocka_unit_test(test_the_end_does_not_wait_for_ever),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
