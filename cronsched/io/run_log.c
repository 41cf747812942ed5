/* Names of kept logs, their folders, their removal. */
#include "cronsched/io/run_log.h"

#include "jobs/base/object.h"
#include "jobs/definition/job.h"
#include "jobs/state/record.h"
#include "jobs/state/run_id.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int run_log_path(const char *data_dir, const char *run, int attempt, char *ret, size_t size,
                 struct error *error)
{
    char job[RUN_ID_MAX];
    const char *at = strrchr(run, '@');
    size_t n = at ? (size_t)(at - run) : 0;
    int r;

    if (attempt < 1 || attempt > RUN_LOG_ATTEMPTS_MAX)
        return error_set(error, ERR_INVALID, "attempt %d is out of range", attempt);
    if (n == 0 || n >= sizeof(job) || strspn(at + 1, "0123456789TZ.") != strlen(at + 1) || at[1] == '\0')
        return error_set(error, ERR_INVALID, "'%.*s' is not a run id", RUN_ID_MAX, run);
    memcpy(job, run, n);
    job[n] = '\0';
    if (strspn(job, "abcdefghijklmnopqrstuvwxyz0123456789-") != n || strlen(run) >= RUN_ID_MAX)
        return error_set(error, ERR_INVALID, "'%.*s' is not a run id", RUN_ID_MAX, run);
    r = snprintf(ret, size, "%s/logs/%s/%s.%d.log", data_dir, job, run, attempt);
    if (r < 0 || (size_t)r >= size)
        return error_set(error, ERR_LIMIT, "the path of the log of '%s' is too long", run);
    return 0;
}

const char *run_log_file_name(const char *path, int slot, char ret[RUN_LOG_FILE_PATH_MAX])
{
    snprintf(ret, RUN_LOG_FILE_PATH_MAX, slot == RUN_LOG_SLOT_NEW ? "%s.new" : "%s.%d", path, slot + 1);
    return ret;
}

int run_log_segment_open(const char *path, int slot, struct run_log_segment *ret)
{
    unsigned char header[RUN_LOG_HEADER_BYTES];
    char name[RUN_LOG_FILE_PATH_MAX];
    int fd = open(run_log_file_name(path, slot, name), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    ssize_t n = fd < 0 ? -1 : pread(fd, header, sizeof(header), 0);

    if (n >= 0 && run_log_segment_decode(header, (size_t)n, ret))
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

/* ---- removal ---- */

struct removal {
    struct object object;
    uv_work_t work;
    int attempts;
    char run[RUN_ID_MAX];
    char data_dir[];
};

static void remove_on_pool(uv_work_t *work)
{
    struct removal *r = OBJECT(struct removal, work->data);
    char path[RUN_LOG_PATH_MAX], copy[RUN_LOG_FILE_PATH_MAX];
    char *slash;

    for (int i = 1; i <= r->attempts; i++) {
        if (run_log_path(r->data_dir, r->run, i, path, sizeof(path), NULL) < 0)
            return;
        run_log_file_remove(path);
        snprintf(copy, sizeof(copy), "%s" RUN_LOG_COPY_SUFFIX, path);
        run_log_file_remove(copy);
    }
    if (r->attempts > 0 && (slash = strrchr(path, '/'))) {
        *slash = '\0';
        rmdir(path); /* works when it is empty, and only then */
    }
}

static void remove_done(uv_work_t *work, int status)
{
    OBJECT_FREE(struct removal, OBJECT(struct removal, work->data));
}

void run_log_remove(uv_loop_t *loop, const char *data_dir, const char *run, int attempts)
{
    size_t n = strlen(data_dir) + 1;
    struct removal *r;

    if (strlen(run) >= RUN_ID_MAX)
        return;
    r = calloc(1, sizeof(*r) + n);
    if (!r)
        return;
    OBJECT_INIT(struct removal, r);
    r->work.data = r;
    r->attempts = attempts < RUN_LOG_ATTEMPTS_MAX ? attempts : RUN_LOG_ATTEMPTS_MAX;
    memcpy(r->run, run, strlen(run) + 1);
    memcpy(r->data_dir, data_dir, n);
    if (uv_queue_work(loop, &r->work, remove_on_pool, remove_done) < 0)
        OBJECT_FREE(struct removal, r);
}
