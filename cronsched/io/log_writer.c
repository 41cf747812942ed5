#include "cronsched/io/log_writer.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LOOK_MS 5

static char ring[LOG_WRITER_BYTES];
static uint64_t begin;            /* of what is not written yet; counts on for ever */
static uint64_t end;              /* both under the lock */
static atomic_uint_fast64_t left; /* end - begin, for those who may not lock */
static atomic_bool runs;          /* any thread asks */
static bool ending;
static int to = -1;
static pthread_t thread;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

/* No reader: a log may be lost, the program may not. */
static void write_all(const char *bytes, size_t n)
{
    while (n > 0) {
        ssize_t w = write(to, bytes, n);

        if (w < 0 && errno != EINTR)
            return;
        if (w > 0) {
            bytes += w;
            n -= (size_t)w;
        }
    }
}

static void *work(void *unused)
{
    (void)unused;
    pthread_mutex_lock(&lock);
    while (end > begin || !ending) {
        size_t at = begin % sizeof(ring), n = (size_t)(end - begin);

        if (n == 0) {
            pthread_cond_wait(&changed, &lock);
            continue;
        }
        if (n > sizeof(ring) - at)
            n = sizeof(ring) - at;
        pthread_mutex_unlock(&lock); /* nobody overwrites what is not written yet */
        write_all(ring + at, n);
        pthread_mutex_lock(&lock);
        begin += n;
        atomic_store(&left, end - begin);
    }
    pthread_mutex_unlock(&lock);
    return NULL;
}

/* Only what a signal handler may call. */
static void wait_written(int64_t most_ms)
{
    const struct timespec look = {.tv_nsec = LOOK_MS * 1000000};

    for (int64_t waited_ms = 0; waited_ms < most_ms && atomic_load(&left) > 0; waited_ms += LOOK_MS)
        nanosleep(&look, NULL);
}

static void on_abort(int number)
{
    (void)number;
    wait_written(LOG_WRITER_ABORT_MS);
}

int log_writer_start(int fd)
{
    const struct sigaction action = {.sa_handler = on_abort, .sa_flags = (int)SA_RESETHAND};
    sigset_t all, before;
    int rc;

    to = fd;
    ending = false;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are for the other threads */
    rc = pthread_create(&thread, NULL, work, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc != 0)
        return -rc;
    sigaction(SIGABRT, &action, NULL);
    runs = true;
    return 0;
}

bool log_writer_runs(void)
{
    return runs;
}

bool log_writer_add(const char *bytes, size_t n)
{
    size_t at, first;
    bool room;

    pthread_mutex_lock(&lock);
    room = n <= sizeof(ring) - (size_t)(end - begin);
    if (room) {
        at = end % sizeof(ring);
        first = n < sizeof(ring) - at ? n : sizeof(ring) - at;
        memcpy(ring + at, bytes, first);
        memcpy(ring, bytes + first, n - first);
        end += n;
        atomic_store(&left, end - begin);
        pthread_cond_signal(&changed);
    }
    pthread_mutex_unlock(&lock);
    return room;
}

void log_writer_stop(int64_t most_ms)
{
    bool written;

    if (!runs)
        return;
    wait_written(most_ms);
    pthread_mutex_lock(&lock);
    written = end == begin;
    ending = true;
    pthread_cond_signal(&changed);
    pthread_mutex_unlock(&lock);
    if (written)
        pthread_join(thread, NULL);
    else
        pthread_detach(thread);
    runs = false;
    signal(SIGABRT, SIG_DFL);
}
