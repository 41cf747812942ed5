/* The requests inside an engine: in which order they get their places, what becomes of those that wait, are woken or forgotten,
 * and when the engine may go. */
#include "cronsched/engines/tasks/lines.h"
#include "cronsched/engines/tasks/tasks.h"

#include "jobs/base/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define NOW_MS INT64_C(1764500000000)

struct request { /* an engine's own task */
    struct object object;
    struct task task;
};

static struct tasks tasks;
static struct job *job;
static char order[512];    /* what happened: words */
static bool opened, keeps; /* keeps: what gets a place holds it */
static const char *away;
static int freed;

static void note(const char *what, const char *name)
{
    size_t n = strlen(order);

    snprintf(order + n, sizeof(order) - n, "%s%s ", what, name);
}

static void begin(struct task *task)
{
    note("", task->q.run);
    if (!keeps)
        task_free(task); /* the next one gets the place */
}

static void wake(struct task *task)
{
    note("wake-", task->q.run);
}

static void detach(struct task *task)
{
    assert_int_not_equal(task->place, TASK_QUEUED);
}

static void release(struct task *task)
{
    struct request *r = OBJECT_OF(struct request, task, task);

    freed++;
    OBJECT_FREE(struct request, r);
}

static bool is_open(void *engine)
{
    return opened;
}

static const char *why_away(void *engine)
{
    return away;
}

static void on_engine_gone(void *engine)
{
    note("", "gone");
}

static int64_t host_now(struct engine_host *host)
{
    return NOW_MS;
}

static void host_answer(struct engine_host *host, const struct engine_answer *answer)
{
    char text[64];

    snprintf(text, sizeof(text), "%llu:%s:%s", (unsigned long long)answer->ticket,
             engine_event_name(answer->event), answer->text);
    note("", text);
}

static struct engine_host host = {.now_ms = host_now, .answer = host_answer};

static int set_up(void **state)
{
    static const struct tasks_ops ops = {.begin = begin,
                                         .wake = wake,
                                         .detach = detach,
                                         .free = release,
                                         .open = is_open,
                                         .away = why_away,
                                         .closed = on_engine_gone};
    json_t *def = json_pack("{s:s}", "image", "alpine");
    int r = job_from_json(&job, "j", def, NULL, NULL);

    json_decref(def);
    tasks_init(&tasks, &ops, NULL, uv_default_loop(), &host, 1, 10);
    order[0] = '\0';
    freed = 0;
    opened = keeps = false;
    away = NULL;
    return r;
}

static void on_closed(void *arg)
{
    note("", "closed");
}

static int tear_down(void **state)
{
    if (!tasks.closing)
        tasks_close(&tasks, on_closed, NULL);
    uv_run(tasks.loop, UV_RUN_DEFAULT);
    job_unref(job);
    return 0;
}

static struct task *make(enum engine_op op, const char *name, int64_t due_in_ms)
{
    static uint64_t ticket;
    struct request *r = OBJECT_NEW(struct request);

    task_init(&r->task, &tasks, op,
              &(struct engine_request){.ticket = ++ticket,
                                       .job = job,
                                       .run = name,
                                       .name = name,
                                       .id = name,
                                       .fire_ms = NOW_MS + due_in_ms});
    return &r->task;
}

static struct task *submit(enum engine_op op, const char *name, int64_t due_in_ms)
{
    struct task *t = make(op, name, due_in_ms);

    task_queue(t);
    return t;
}

/* A new leader fences all that the one before had prepared, and prepares again what is due first. */
static void what_is_due_first_goes_first(void **state)
{
    submit(ENGINE_FENCE, "fence+1", 1000);
    submit(ENGINE_FENCE, "fence+9", 9000);
    submit(ENGINE_FENCE, "fence+4", 4000);
    submit(ENGINE_DISCARD, "discard", -1000);
    submit(ENGINE_PREPARE, "prepare+2", 2000);
    submit(ENGINE_PREPARE, "prepare+20", 20000);
    submit(ENGINE_PREPARE, "prepare+1", 1000);
    submit(ENGINE_FENCE, "fence-60", -60000);
    submit(ENGINE_STOP, "stop", -3000);
    submit(ENGINE_RELEASE, "release", 0);
    opened = true;
    uv_run(tasks.loop, UV_RUN_DEFAULT); /* until nothing waits any more */
    assert_string_equal(order, "stop release fence-60 fence+1 prepare+1 prepare+2 fence+4 discard fence+9 "
                               "prepare+20 ");
    assert_int_equal(tasks.queued, 0);
    assert_int_equal(tasks.working, 0);
}

/* One place: the second begins once the first has stepped aside, and comes back in its turn. */
static void what_steps_aside_gives_its_place(void **state)
{
    struct task *first = submit(ENGINE_PREPARE, "a", 0);

    submit(ENGINE_PREPARE, "b", 1000);
    opened = keeps = true;
    uv_run(tasks.loop, UV_RUN_DEFAULT);
    assert_string_equal(order, "a ");
    assert_true(tasks_are_busy(&tasks, "b", NULL) && tasks_are_busy(&tasks, "-", "a"));
    assert_false(tasks_are_busy(&tasks, "-", "c"));
    task_step_aside(first);
    uv_run(tasks.loop, UV_RUN_DEFAULT);
    assert_string_equal(order, "a b ");
    task_queue(first);
    uv_run(tasks.loop, UV_RUN_DEFAULT);
    assert_string_equal(order, "a b ");
    assert_int_equal(tasks.queued, 1);
    tasks_abandon(&tasks);
    assert_int_equal(freed, 2);
    assert_int_equal(tasks.count, 0);
}

static void what_waits_for_an_engine_that_is_away_is_refused(void **state)
{
    struct task *watch = make(ENGINE_WATCH, "watch", 0);
    char expected[128];

    task_watch(watch);
    snprintf(expected, sizeof(expected), "%llu:unreachable:no route ",
             (unsigned long long)watch->q.ticket + 1);
    submit(ENGINE_RELEASE, "a", 0);
    away = "no route";
    uv_run(tasks.loop, UV_RUN_DEFAULT);
    assert_string_equal(order, expected);
    assert_int_equal(tasks.count, 1); /* the watch stays */
}

static void a_wake_comes_once_and_a_later_one_replaces_it(void **state)
{
    struct task *watch = make(ENGINE_WATCH, "w", 0), *other = make(ENGINE_WATCH, "x", 0);

    task_watch(watch);
    task_watch(other);
    task_wake_in(watch, 1000000);
    task_wake_in(watch, 0);
    task_wake_in(other, 30);
    uv_run(tasks.loop, UV_RUN_DEFAULT); /* and the tick ends by itself */
    assert_string_equal(order, "wake-w wake-x ");
}

/* What a thread works for is not freed under it; the engine waits for the thread, too. */
static void what_is_forgotten_goes_when_its_thread_is_back(void **state)
{
    struct task *t = submit(ENGINE_PREPARE, "a", 0);

    opened = keeps = true;
    uv_run(tasks.loop, UV_RUN_DEFAULT);
    task_to_thread(t);
    tasks_close(&tasks, on_closed, NULL);
    uv_run(tasks.loop, UV_RUN_DEFAULT);
    assert_string_equal(order, "a ");
    assert_int_equal(freed, 0);
    assert_false(task_is_wanted(t));
    assert_int_equal(freed, 1);
    assert_string_equal(order, "a gone closed ");
}

static void on_line(void *arg, const char *line, size_t len)
{
    assert_int_equal(strlen(line), len);
    note("", line);
}

static void lines_are_cut_wherever_the_pieces_end(void **state)
{
    static const char text[] = "one\ntwo\n\nthree\nfour";

    for (size_t piece = 1; piece < sizeof(text); piece++) {
        struct lines lines = {.max = 8, .line = on_line};

        order[0] = '\0';
        for (size_t at = 0; at < sizeof(text) - 1; at += piece) {
            size_t n = sizeof(text) - 1 - at < piece ? sizeof(text) - 1 - at : piece;

            assert_true(lines_feed(&lines, text + at, n));
        }
        assert_string_equal(order, "one two three ");
        assert_true(lines_feed(&lines, "\n", 1));
        assert_string_equal(order, "one two three four ");
        lines_release(&lines);
    }
}

static void a_line_that_is_too_long_is_passed_over(void **state)
{
    struct lines lines = {.max = 4, .line = on_line};

    assert_false(lines_feed(&lines, "12345", 5));
    assert_true(lines_feed(&lines, "6", 1)); /* told once */
    assert_true(lines_feed(&lines, "7\nnext\n", 7));
    assert_string_equal(order, "next ");
    assert_false(lines_feed(&lines, "12345", 5));
    lines_release(&lines);
    assert_true(lines_feed(&lines, "1234", 4));
    lines_release(&lines);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(what_is_due_first_goes_first),
        CASE(what_steps_aside_gives_its_place),
        CASE(what_waits_for_an_engine_that_is_away_is_refused),
        CASE(a_wake_comes_once_and_a_later_one_replaces_it),
        CASE(what_is_forgotten_goes_when_its_thread_is_back),
        CASE(lines_are_cut_wherever_the_pieces_end),
        CASE(a_line_that_is_too_long_is_passed_over),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
