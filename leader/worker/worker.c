/* See worker.h. A piece of work is in one list at a time: queued, running (taken by a thread), returned (for the
 * loop). The lists are under the lock; threads tell the loop by `async`. While there is work with a deadline a
 * timer looks for what is late. Memory is counted: one reference of the loop's, one of each thread.
 */
#include "leader/worker/worker.h"

#include "jobs/base/alloc.h"
#include "jobs/base/object.h"
#include "leader/worker/loop.h"

#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#define LOOK_MIN_MS 10
#define LOOK_MAX_MS 250

struct worker {
    struct object object;
    uv_loop_t *loop;
    uv_thread_t loop_thread;
    char name[WORKER_NAME_MAX];
    int threads_max;
    uint64_t deadline_ms;
    void (*told)(void *arg, bool stuck, const char *subject);
    void *arg;
    uv_async_t async;
    uv_timer_t timer;
    int handles;
    size_t pending; /* pieces that the loop has not seen return: they keep it going, nothing else does */
    void (*closed)(void *arg);
    void *closed_arg;

    pthread_mutex_t lock; /* of all that follows */
    pthread_cond_t wake;
    struct list queue, running, returned;
    size_t queued, late; /* late: running after their done */
    int threads, idle;
    int refs;
    bool closing;
    bool cancelled; /* closing, and the loop has no work any more: threads release what they have */
};

static atomic_size_t left;                         /* threads of closed workers */
static _Thread_local const struct worker *current; /* of this thread */

size_t worker_left(void)
{
    return atomic_load(&left);
}

bool worker_is_current(const struct worker *w)
{
    return current == w;
}

static uint64_t now_ms(void)
{
    return uv_hrtime() / 1000000;
}

/* With the lock held: the queue has what it counts, and whoever waits or is stuck is a thread. */
static void check_invariants(const struct worker *w)
{
    assert((w->queued == 0) == list_empty(&w->queue));
    assert(w->idle >= 0 && w->idle <= w->threads && w->late <= (size_t)w->threads);
    assert(w->refs >= w->threads && (w->closing || !w->cancelled));
}

/* Gives the lock back. */
static void unref(struct worker *w)
{
    bool last = --w->refs == 0;

    assert(w->refs >= 0);
    pthread_mutex_unlock(&w->lock);
    if (!last)
        return;
    pthread_mutex_destroy(&w->lock);
    pthread_cond_destroy(&w->wake);
    OBJECT_FREE(struct worker, w);
}

/* ---- the threads ---- */

/* With the lock held: the piece is the thread's no more. */
static void give_back(struct worker *w, struct work *work)
{
    check_invariants(w);
    list_remove(&work->link);
    if (!w->cancelled) {
        list_append(&w->returned, &work->link);
        uv_async_send(&w->async);
        return;
    }
    pthread_mutex_unlock(&w->lock);
    if (work->release)
        work->release(work);
    pthread_mutex_lock(&w->lock);
}

/* With the lock held: how many threads there may be, with those that are stuck. */
static int threads_most(const struct worker *w)
{
    int most = w->threads_max + (int)w->late;

    check_invariants(w);
    return w->deadline_ms && most > WORKER_STUCK_MAX ? WORKER_STUCK_MAX : most;
}

static void *thread_main(void *arg)
{
    struct worker *w = OBJECT(struct worker, arg);

    current = w;
    pthread_setname_np(pthread_self(), w->name);
    pthread_mutex_lock(&w->lock);
    while (w->threads <= threads_most(w)) { /* one that was stuck and came back may be too many */
        struct work *work;

        while (list_empty(&w->queue) && !w->closing) {
            w->idle++;
            pthread_cond_wait(&w->wake, &w->lock);
            w->idle--;
        }
        if (list_empty(&w->queue))
            break;
        work = LIST_ITEM(w->queue.next, struct work, link);
        list_remove(&work->link);
        list_append(&w->running, &work->link);
        w->queued--;
        work->begun_ms = now_ms();
        pthread_mutex_unlock(&w->lock);
        work->run(work);
        pthread_mutex_lock(&w->lock);
        if (work->late) {
            assert(w->late > 0);
            w->late--;
        }
        give_back(w, work);
    }
    w->threads--;
    if (w->cancelled)
        atomic_fetch_sub(&left, 1);
    unref(w);
    return NULL;
}

/* With the lock held. Signals are for the loop's thread. */
static int thread_start(struct worker *w)
{
    sigset_t all, before;
    pthread_attr_t attr;
    pthread_t thread;
    int r;

    check_invariants(w);
    if (pthread_attr_init(&attr) != 0)
        return ERR_NOMEM;
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    r = pthread_create(&thread, &attr, thread_main, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    if (r != 0)
        return ERR_LIMIT;
    w->threads++;
    w->refs++;
    return 0;
}

/* With the lock held: somebody takes up what is queued. False: nobody ever will. */
static bool provide_thread(struct worker *w)
{
    check_invariants(w);
    if (w->idle > 0)
        pthread_cond_signal(&w->wake);
    if ((size_t)w->idle < w->queued && w->threads < threads_most(w))
        thread_start(w); /* without another those that serve come round */
    return w->threads - (int)w->late > 0;
}

/* ---- the loop ---- */

/* The loop waits for it no more. */
static void unpend(struct worker *w)
{
    assert(loop_is_thread(w->loop_thread) && w->pending > 0);
    if (--w->pending == 0)
        uv_unref((uv_handle_t *)&w->async);
}

static void call_done(struct worker *w, struct work *work, int result)
{
    assert(w->closing || !work->late);
    unpend(w);
    work->done(work, result);
}

static void finish(struct worker *w, struct work *work, int result)
{
    void (*release)(struct work * work) = work->release;

    assert(loop_is_thread(w->loop_thread));
    if (work->late)
        unpend(w); /* its done came long ago */
    else
        call_done(w, work, result);
    if (release)
        release(work);
}

static struct work *first(struct list *list)
{
    return list_empty(list) ? NULL : LIST_ITEM(list->next, struct work, link);
}

/* Takes the first of the list, or NULL. */
static struct work *take(struct worker *w, struct list *list)
{
    struct work *work;

    assert(loop_is_thread(w->loop_thread));
    pthread_mutex_lock(&w->lock);
    work = first(list);
    if (work)
        list_remove(&work->link);
    pthread_mutex_unlock(&w->lock);
    return work;
}

static void on_async(uv_async_t *async)
{
    struct worker *w = OBJECT(struct worker, async->data);
    struct work *work;

    while (!w->closing && (work = take(w, &w->returned))) {
        if (work->late && w->told)
            w->told(w->arg, false, work->subject);
        finish(w, work, work->result);
    }
}

static bool same(const char *a, const char *b)
{
    return a && b && strcmp(a, b) == 0;
}

/* With the lock held, of one that is queued; the loop tells. */
static void refuse(struct worker *w, struct work *work)
{
    assert(w->queued > 0);
    list_remove(&work->link);
    w->queued--;
    work->result = ERR_LIMIT;
    list_append(&w->returned, &work->link);
    uv_async_send(&w->async);
}

/* With the lock held: one more is stuck. Another thread takes its place, if one may; what waits for the same
 * thing is refused. */
static void note_late(struct worker *w, struct work *late)
{
    bool none;

    assert(w->deadline_ms && !late->late);
    late->late = true;
    w->late++;
    none = w->late >= WORKER_STUCK_MAX || (w->queued > 0 && !provide_thread(w));
    LIST_EACH_SAFE(link, &w->queue)
    {
        struct work *work = LIST_ITEM(link, struct work, link);

        if (none || same(work->subject, late->subject))
            refuse(w, work);
    }
}

/* The first that is late: noted as such, still running. */
static struct work *take_late(struct worker *w)
{
    uint64_t now = now_ms();
    struct work *found = NULL;

    assert(w->deadline_ms);
    pthread_mutex_lock(&w->lock);
    LIST_EACH(link, &w->running)
    {
        struct work *work = LIST_ITEM(link, struct work, link);

        if (!work->late && now - work->begun_ms >= w->deadline_ms) {
            found = work;
            break;
        }
    }
    if (found)
        note_late(w, found);
    pthread_mutex_unlock(&w->lock);
    return found;
}

static bool has_work(struct worker *w)
{
    bool has;

    assert(loop_is_thread(w->loop_thread));
    pthread_mutex_lock(&w->lock);
    has = !list_empty(&w->queue);
    LIST_EACH(link, &w->running)
    has = has || !LIST_ITEM(link, struct work, link)->late;
    pthread_mutex_unlock(&w->lock);
    return has;
}

static void on_timer(uv_timer_t *timer)
{
    struct worker *w = OBJECT(struct worker, timer->data);
    struct work *work;

    while (!w->closing && (work = take_late(w))) {
        if (w->told)
            w->told(w->arg, true, work->subject);
        work->done(work,
                   ERR_TIMEOUT); /* the thread has it, so it is there until the loop has seen its return */
    }
    if (!w->closing && !has_work(w))
        uv_timer_stop(timer);
}

/* With the lock held: a try of what does not answer is to take no other thread. */
static bool is_stuck(const struct worker *w, const char *subject)
{
    check_invariants(w);
    LIST_EACH(link, &w->running)
    {
        const struct work *work = LIST_ITEM(link, struct work, link);

        if (work->late && same(work->subject, subject))
            return true;
    }
    return false;
}

void worker_submit(struct worker *w, struct work *work)
{
    uint64_t look_ms = w->deadline_ms / 8;

    assert(loop_is_thread(w->loop_thread));
    assert(!w->closing);
    assert(w->deadline_ms == 0 || work->release);
    work->result = 0;
    work->late = false;
    list_init(&work->link);
    if (w->pending++ == 0)
        uv_ref((uv_handle_t *)&w->async);
    pthread_mutex_lock(&w->lock);
    list_append(&w->queue, &work->link);
    w->queued++;
    if (w->queued > WORKER_QUEUE_MAX || w->late >= WORKER_STUCK_MAX || is_stuck(w, work->subject) ||
        !provide_thread(w))
        refuse(w, work);
    pthread_mutex_unlock(&w->lock);
    if (look_ms > LOOK_MAX_MS)
        look_ms = LOOK_MAX_MS;
    if (w->deadline_ms && !uv_is_active((uv_handle_t *)&w->timer))
        loop_timer_start(&w->timer, on_timer, look_ms + LOOK_MIN_MS, look_ms + LOOK_MIN_MS);
}

void worker_status(const struct worker *worker, struct worker_status *ret)
{
    struct worker *w = (struct worker *)(uintptr_t)worker; /* only the lock is written */
    uint64_t now = now_ms();

    assert(loop_is_thread(w->loop_thread));
    *ret = (struct worker_status){0};
    pthread_mutex_lock(&w->lock);
    ret->queued = w->queued;
    ret->stuck = w->late;
    LIST_EACH(link, &w->running)
    {
        const struct work *work = LIST_ITEM(link, struct work, link);

        if (work->late)
            continue;
        ret->running++;
        if (now > work->begun_ms && now - work->begun_ms > ret->busy_ms)
            ret->busy_ms = now - work->begun_ms;
    }
    pthread_mutex_unlock(&w->lock);
}

const char *worker_result_text(const struct worker *worker, int result, char *buffer, size_t size)
{
    struct worker_status status;

    assert(result < 0);
    if (result == ERR_TIMEOUT) {
        snprintf(buffer, size, "no answer within %.3g s", (double)worker->deadline_ms / 1000);
    } else if (result == ERR_LIMIT) {
        worker_status(worker, &status);
        snprintf(buffer, size, "not tried: %zu earlier attempts at such have not come back", status.stuck);
    } else {
        snprintf(buffer, size, "%s", error_text(result));
    }
    return buffer;
}

/* ---- life ---- */

int worker_new(struct worker **ret, uv_loop_t *loop, const struct worker_options *options,
               struct error *error)
{
    struct worker *w = OBJECT_NEW(struct worker);
    int r = 0;

    assert(options->threads > 0);
    w->loop = loop;
    w->loop_thread = uv_thread_self();
    snprintf(w->name, sizeof(w->name), "%s", options->name);
    w->threads_max = options->threads;
    w->deadline_ms = options->deadline_ms;
    w->told = options->told;
    w->arg = options->arg;
    w->refs = 1;
    list_init(&w->queue);
    list_init(&w->running);
    list_init(&w->returned);
    if (pthread_mutex_init(&w->lock, NULL) != 0 || pthread_cond_init(&w->wake, NULL) != 0 ||
        uv_async_init(loop, &w->async, on_async) < 0)
        abort(); /* no memory for a lock, or no descriptor before anything is open */
    uv_timer_init(loop, &w->timer);
    w->async.data = w->timer.data = w;
    uv_unref((uv_handle_t *)&w->async);
    uv_unref((uv_handle_t *)&w->timer);
    w->handles = 2;
    pthread_mutex_lock(&w->lock);
    for (int i = 0; i < w->threads_max && r == 0 && !w->deadline_ms; i++)
        r = thread_start(w); /* our own work is never refused for want of a thread */
    pthread_mutex_unlock(&w->lock);
    if (r < 0) {
        worker_close(w, NULL, NULL);
        return error_set(error, ERR_LIMIT, "%s: no thread can be made", options->name);
    }
    *ret = w;
    return 0;
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct worker *w = OBJECT(struct worker, handle->data);

    if (--w->handles > 0)
        return;
    if (w->closed)
        w->closed(w->closed_arg);
    pthread_mutex_lock(&w->lock);
    unref(w);
}

/* With the lock held: the next that has not had its done. */
static struct work *undone(struct worker *w, bool *ret_running)
{
    struct work *work = first(&w->returned);

    assert(w->closing);
    *ret_running = false;
    if (work)
        return work;
    if ((work = first(&w->queue))) {
        w->queued--;
        return work;
    }
    *ret_running = true;
    LIST_EACH(link, &w->running)
    {
        if (!LIST_ITEM(link, struct work, link)->late)
            return LIST_ITEM(link, struct work, link);
    }
    return NULL;
}

static void cancel_all(struct worker *w)
{
    struct work *work;
    bool running;

    pthread_mutex_lock(&w->lock);
    while ((work = undone(w, &running))) {
        assert(w->deadline_ms);
        if (running) {
            work->late = true;
            w->late++;
        } else {
            list_remove(&work->link);
        }
        pthread_mutex_unlock(&w->lock);
        if (running)
            call_done(w, work, ERR_CANCELLED); /* what returns meanwhile comes by `returned` */
        else
            finish(w, work, ERR_CANCELLED);
        pthread_mutex_lock(&w->lock);
    }
    w->cancelled = true;
    atomic_fetch_add(&left, (size_t)w->threads);
    pthread_cond_broadcast(&w->wake);
    pthread_mutex_unlock(&w->lock);
}

void worker_close(struct worker *w, void (*done)(void *arg), void *arg)
{
    assert(loop_is_thread(w->loop_thread));
    assert(!w->closing);
    w->closed = done;
    w->closed_arg = arg;
    pthread_mutex_lock(&w->lock);
    w->closing = true;
    pthread_mutex_unlock(&w->lock);
    cancel_all(w);
    uv_close((uv_handle_t *)&w->async, on_handle_closed);
    uv_close((uv_handle_t *)&w->timer, on_handle_closed);
}
