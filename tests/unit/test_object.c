/* Objects that know their type: what is another one's, or nobody's any more, stops the program. */
#include "jobs/base/object.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>

struct base {
    int number;
};

struct ticket {
    struct object object;
    struct base base;
    int seat;
};

struct voucher {
    struct object object;
    struct base base;
    int seat;
};

static void take_ticket(void *arg)
{
    OBJECT(struct ticket, arg)->seat++;
}

static void take_base(void *arg)
{
    OBJECT_OF(struct ticket, base, (struct base *)arg)->seat++;
}

/* What a check prints before it aborts; "" when it passes. */
static const char *died(void (*take)(void *arg), void *arg)
{
    static char text[256];
    int ends[2], status;
    ssize_t n;
    pid_t pid;

    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    pid = fork();
    if (pid == 0) {
        setrlimit(RLIMIT_CORE, &(struct rlimit){0});
        dup2(ends[1], STDERR_FILENO);
        take(arg);
        _exit(0);
    }
    close(ends[1]);
    n = read(ends[0], text, sizeof(text) - 1);
    close(ends[0]);
    text[n > 0 ? n : 0] = '\0';
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (n > 0)
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    return text;
}

static void an_object_is_what_it_was_made(void **state)
{
    struct ticket *t = OBJECT_NEW(struct ticket), local = {.seat = 7};

    assert_int_equal(t->seat, 0);
    take_ticket(t);
    take_base(&t->base);
    assert_int_equal(t->seat, 2);
    OBJECT_FREE(struct ticket, t);
    OBJECT_FREE(struct ticket, NULL);
    OBJECT_INIT(struct ticket, &local);
    take_ticket(&local);
    assert_int_equal(local.seat, 8);
    OBJECT_CLEAR(struct ticket, &local);
}

static void anything_else_aborts(void **state)
{
    struct ticket *t = OBJECT_NEW(struct ticket), gone;
    struct voucher *v = OBJECT_NEW(struct voucher);

    assert_string_equal(died(take_ticket, t), "");
    assert_non_null(strstr(died(take_ticket, v), "is not a struct ticket\n"));
    assert_non_null(strstr(died(take_ticket, v), "test_object.c:"));
    assert_non_null(strstr(died(take_base, &v->base), "is not a struct ticket\n"));
    assert_non_null(strstr(died(take_ticket, NULL), "is not a struct ticket\n"));
    gone = *t;
    assert_string_equal(died(take_ticket, &gone), "");
    OBJECT_CLEAR(struct ticket, &gone);
    assert_non_null(strstr(died(take_ticket, &gone), "is not a struct ticket\n"));
    OBJECT_FREE(struct ticket, t);
    OBJECT_FREE(struct voucher, v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_object_is_what_it_was_made),
        cmocka_unit_test(anything_else_aborts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
