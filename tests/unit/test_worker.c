/* Workers: what runs, what is late, what is refused, and what becomes of threads that hang. */
#include "jobs/base/alloc.h"
#include "leader/worker/worker.h"

#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define DEADLINE_MS 40
#define PIECES_MAX  32

struct lab {
    uv_loop_t loop;
    struct worker *worker;
    sem_t gate; /* what hangs waits for it */
    int done, results[PIECES_MAX];
    atomic_int released, ran;
    int stuck_told, back_told;
    bool closed;
};

struct piece {
    struct work work;
    struct lab *lab;
    int number;
    bool hangs;
};

static void piece_run(struct work *work)
{
    struct piece *p = LIST_ITEM(work, struct piece, work);

    if (p->hangs)
        sem_wait(&p->lab->gate);
    p->lab->ran++;
}

static void piece_done(struct work *work, int result)
{
    struct piece *p = LIST_ITEM(work, struct piece, work);

    p->lab->results[p->number] = result;
    p->lab->done++;
}

static void piece_release(struct work *work)
{
    struct piece *p = LIST_ITEM(work, struct piece, work);

    p->lab->released++;
    free(p);
}

static void submit(struct lab *l, int number, bool hangs, const char *subject)
{
    struct piece *p = alloc_zero(sizeof(*p));

    p->work =
        (struct work){.run = piece_run, .done = piece_done, .release = piece_release, .subject = subject};
    p->lab = l;
    p->number = number;
    p->hangs = hangs;
    l->results[number] = 1;
    worker_submit(l->worker, &p->work);
    assert_int_equal(l->results[number], 1); /* never from within */
}

static void told(void *arg, bool stuck, const char *subject)
{
    struct lab *l = arg;

    if (stuck)
        l->stuck_told++;
    else
        l->back_told++;
}

static void set_up(struct lab *l, int threads, uint64_t deadline_ms)
{
    struct worker_options o = {
        .name = "test", .threads = threads, .deadline_ms = deadline_ms, .told = told, .arg = l};
    struct error error;

    memset(l, 0, sizeof(*l));
    uv_loop_init(&l->loop);
    sem_init(&l->gate, 0, 0);
    assert_int_equal(worker_new(&l->worker, &l->loop, &o, &error), 0);
}

static void turn_until(struct lab *l, int done)
{
    for (int i = 0; i < 400 && l->done < done; i++) {
        uv_run(&l->loop, UV_RUN_NOWAIT);
        usleep(5000);
    }
    assert_int_equal(l->done, done);
}

static void on_closed(void *arg)
{
    ((struct lab *)arg)->closed = true;
}

static void close_worker(struct lab *l)
{
    worker_close(l->worker, on_closed, l);
    uv_run(&l->loop, UV_RUN_DEFAULT);
    assert_true(l->closed);
    assert_int_equal(uv_loop_close(&l->loop), 0);
}

/* Lets all that hang go on, and waits until none is left. */
static void let_go(struct lab *l, int hanging)
{
    for (int i = 0; i < hanging; i++)
        sem_post(&l->gate);
    for (int i = 0; i < 400 && worker_left() > 0; i++)
        usleep(5000);
    assert_int_equal(worker_left(), 0);
}

static void test_work_is_done_in_order(void **state)
{
    struct lab l;
    struct worker_status status;

    (void)state;
    set_up(&l, 1, 0);
    for (int i = 0; i < 10; i++)
        submit(&l, i, false, NULL);
    turn_until(&l, 10);
    for (int i = 0; i < 10; i++)
        assert_int_equal(l.results[i], 0);
    assert_int_equal(l.released, 10);
    worker_status(l.worker, &status);
    assert_int_equal(status.queued + status.running + status.stuck, 0);
    assert_int_equal(status.busy_ms, 0);
    close_worker(&l);
    let_go(&l, 0);
}

/* What the readiness of the journal rests on: without a deadline nothing is given up, and it is seen how long
 * it takes. */
static void test_without_a_deadline_it_is_waited_for(void **state)
{
    struct lab l;
    struct worker_status status;

    (void)state;
    set_up(&l, 1, 0);
    submit(&l, 0, true, "slow");
    submit(&l, 1, false, NULL);
    for (int i = 0; i < 20; i++) {
        uv_run(&l.loop, UV_RUN_NOWAIT);
        usleep(5000);
    }
    worker_status(l.worker, &status);
    assert_int_equal(l.done, 0);
    assert_int_equal(status.running, 1);
    assert_int_equal(status.queued, 1);
    assert_int_equal(status.stuck, 0);
    assert_true(status.busy_ms >= 50);
    sem_post(&l.gate);
    turn_until(&l, 2);
    assert_int_equal(l.results[0], 0);
    assert_int_equal(l.stuck_told, 0);
    close_worker(&l);
    let_go(&l, 0);
}

static void test_what_hangs_is_given_up_and_others_go_on(void **state)
{
    struct lab l;
    struct worker_status status;
    char text[64];

    (void)state;
    set_up(&l, 2, DEADLINE_MS);
    submit(&l, 0, true, "/a");
    submit(&l, 1, true, "/b");
    submit(&l, 2, false, "/c"); /* waits for a thread, until another is made */
    turn_until(&l, 3);
    assert_int_equal(l.results[0], ERR_TIMEOUT);
    assert_int_equal(l.results[1], ERR_TIMEOUT);
    assert_int_equal(l.results[2], 0);
    assert_string_equal(worker_result_text(l.worker, ERR_TIMEOUT, text, sizeof(text)),
                        "no answer within 0.04 s");
    worker_status(l.worker, &status);
    assert_int_equal(status.stuck, 2);
    assert_int_equal(l.stuck_told, 2);
    assert_int_equal(l.released, 1); /* the threads still have the others */

    submit(&l, 3, false, "/a"); /* takes no other thread */
    submit(&l, 4, false, "/d");
    turn_until(&l, 5);
    assert_int_equal(l.results[3], ERR_LIMIT);
    assert_int_equal(l.results[4], 0);

    sem_post(&l.gate); /* one comes back, and serves again */
    for (int i = 0; i < 400 && l.back_told < 1; i++) {
        uv_run(&l.loop, UV_RUN_NOWAIT);
        usleep(5000);
    }
    assert_int_equal(l.back_told, 1);
    assert_int_equal(l.done, 5); /* its done came long ago */
    worker_status(l.worker, &status);
    assert_int_equal(status.stuck, 1);
    close_worker(&l);
    assert_int_equal(worker_left() >= 1, 1);
    let_go(&l, 1);
    assert_int_equal(l.released, 5); /* the last by its thread */
}

static void test_stuck_threads_are_bounded(void **state)
{
    static const char *const subjects[] = {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11"};
    struct lab l;
    struct worker_status status;

    (void)state;
    set_up(&l, 4, DEADLINE_MS);
    for (int i = 0; i < 12; i++)
        submit(&l, i, true, subjects[i]);
    turn_until(&l, 12);
    worker_status(l.worker, &status);
    assert_int_equal(status.stuck, WORKER_STUCK_MAX);
    for (int i = 0; i < 12; i++)
        assert_int_equal(l.results[i], i < WORKER_STUCK_MAX ? ERR_TIMEOUT : ERR_LIMIT);
    submit(&l, 12, false, "healthy");
    turn_until(&l, 13);
    assert_int_equal(l.results[12], ERR_LIMIT);
    for (int i = 0; i < WORKER_STUCK_MAX; i++)
        sem_post(&l.gate);
    for (int i = 0; i < 400 && l.back_told < WORKER_STUCK_MAX; i++) {
        uv_run(&l.loop, UV_RUN_NOWAIT);
        usleep(5000);
    }
    submit(&l, 13, false, "0");
    turn_until(&l, 14);
    assert_int_equal(l.results[13], 0); /* as if nothing had been */
    assert_false(uv_loop_alive(&l.loop));
    close_worker(&l);
    let_go(&l, 0);
    assert_int_equal(l.released, 14);
}

static void test_what_waits_for_the_same_is_refused_with_it(void **state)
{
    struct lab l;

    (void)state;
    set_up(&l, 1, DEADLINE_MS);
    for (int i = 0; i < 5; i++)
        submit(&l, i, i == 0, "/dead/mount");
    submit(&l, 5, false, "/fine");
    turn_until(&l, 6);
    assert_int_equal(l.results[0], ERR_TIMEOUT);
    for (int i = 1; i < 5; i++)
        assert_int_equal(l.results[i], ERR_LIMIT);
    assert_int_equal(l.results[5], 0);
    close_worker(&l);
    let_go(&l, 1);
}

static void test_closing_cancels(void **state)
{
    struct lab l;

    (void)state;
    set_up(&l, 1, 60000);
    submit(&l, 0, true, "/a");
    submit(&l, 1, false, "/b");
    usleep(20000);
    close_worker(&l);
    assert_int_equal(l.done, 2);
    assert_int_equal(l.results[0], ERR_CANCELLED);
    assert_int_equal(l.results[1], ERR_CANCELLED);
    let_go(&l, 1);
    assert_int_equal(l.released, 2);
    assert_int_equal(l.ran, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_work_is_done_in_order),
        cmocka_unit_test(test_without_a_deadline_it_is_waited_for),
        cmocka_unit_test(test_what_hangs_is_given_up_and_others_go_on),
        cmocka_unit_test(test_stuck_threads_are_bounded),
        cmocka_unit_test(test_what_waits_for_the_same_is_refused_with_it),
        cmocka_unit_test(test_closing_cancels),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
