/* Names of kept logs, their folders, their removal. */
#include "cronsched/io/run_log.h"

#include "jobs/base/alloc.h"
#include "jobs/definition/job.h"
#include "jobs/state/record.h"
#include "jobs/state/run_id.h"

#include <dirent.h>
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

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The name of a file of one of these runs: RUN.ATTEMPT.log and so on. A run's id ends with its Z. */
static bool is_of_runs(const char *name, char *const *runs, size_t count)
{
    char run[RUN_ID_MAX];
    const char *at = strchr(name, '@'), *end = at ? strchr(at, 'Z') : NULL, *key = run;
    size_t n = end ? (size_t)(end + 1 - name) : sizeof(run);

    if (n >= sizeof(run) || name[n] != '.')
        return false;
    memcpy(run, name, n);
    run[n] = '\0';
    return bsearch(&key, runs, count, sizeof(*runs), compare_texts);
}

static bool is_first_file(const char *name)
{
    const char *dot = strrchr(name, '.');

    return dot && (strcmp(dot, ".log") == 0 || strcmp(dot, RUN_LOG_COPY_SUFFIX) == 0);
}

/* The later files of a log go before its first one: what is left after a crash in between is still a log. */
static void remove_files(DIR *dir, char *const *runs, size_t count, bool first_ones)
{
    struct dirent *entry;

    rewinddir(dir);
    while ((entry = readdir(dir)))
        if (is_first_file(entry->d_name) == first_ones && is_of_runs(entry->d_name, runs, count))
            unlinkat(dirfd(dir), entry->d_name, 0);
}

void run_log_remove(const char *data_dir, const char *job, char *const *runs, size_t count)
{
    char path[RUN_LOG_PATH_MAX], **sorted;
    int fd;
    DIR *dir;

    if (!job_name_valid(job) ||
        snprintf(path, sizeof(path), "%s/logs/%s", data_dir, job) >= (int)sizeof(path))
        return;
    fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir) {
        if (fd >= 0)
            close(fd);
        return;
    }
    sorted = alloc_zero(count * sizeof(*sorted));
    memcpy(sorted, runs, count * sizeof(*sorted));
    qsort(sorted, count, sizeof(*sorted), compare_texts);
    remove_files(dir, sorted, count, false);
    remove_files(dir, sorted, count, true);
    free(sorted);
    closedir(dir);
    rmdir(path); /* works when it is empty, and only then */
}
