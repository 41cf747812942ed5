/* See attempt_work.h. */
#include "cronsched/engines/process/attempt_work.h"

#include "jobs/base/clock.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define KILL_AGAIN_MS     20
#define ENVIRONMENT_BYTES (64 * 1024) /* read at a time */
#define VARIABLE_MAX      (sizeof(ATTEMPT_WORK_VARIABLE) + ATTEMPT_WORK_MARK_MAX + 1)

/* ---- /proc ---- */

struct process_stat {
    char state;
    pid_t session;
    uint64_t ticks;
};

/* The name in parentheses may hold anything, so count from the last ')'. */
static int read_stat(pid_t pid, struct process_stat *ret)
{
    char path[64], line[1024], *p;
    FILE *f;
    int session = 0;

    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    f = fopen(path, "re");
    if (!f)
        return -errno;
    p = fgets(line, sizeof(line), f) ? strrchr(line, ')') : NULL;
    fclose(f);
    if (!p || sscanf(p + 1, " %c %*d %*d %d", &ret->state, &session) != 2)
        return -ESRCH;
    ret->session = session;
    for (int field = 2; p && field < 22; field++)
        p = strchr(p + 1, ' ');
    if (!p)
        return -ESRCH;
    ret->ticks = strtoull(p + 1, NULL, 10);
    return 0;
}

int attempt_work_ticks(pid_t pid, uint64_t *ret)
{
    struct process_stat st = {0};
    int r = read_stat(pid, &st);

    if (r == 0)
        *ret = st.ticks;
    return r;
}

/* Whether its environment holds the variable `text`, "NAME=VALUE". Pieces overlap, so that it is found across their
 * border; the text before the first one counts as ended. */
static bool environment_has(pid_t pid, const char *text)
{
    static const size_t keep = VARIABLE_MAX;
    char path[64], *bytes = malloc(ENVIRONMENT_BYTES + 1);
    size_t n = 1, size = strlen(text) + 1;
    bool found = false;
    ssize_t r;
    int fd;

    snprintf(path, sizeof(path), "/proc/%d/environ", (int)pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (bytes)
        bytes[0] = '\0';
    while (bytes && fd >= 0 && !found && (r = read(fd, bytes + n, ENVIRONMENT_BYTES - n)) > 0) {
        n += (size_t)r;
        for (char *p = memmem(bytes, n, text, size); p && !found;
             p = memmem(p + 1, n - (size_t)(p + 1 - bytes), text, size))
            found = p > bytes && p[-1] == '\0';
        if (n > keep) {
            memmove(bytes, bytes + n - keep, keep);
            n = keep;
        }
    }
    if (fd >= 0)
        close(fd);
    free(bytes);
    return found;
}

/* The number of a session is not given to another process while somebody is in the session; so a leader that was
 * started at another time than the command means another session. */
static bool is_session(const struct attempt_work *w, const struct process_stat *st)
{
    struct process_stat leader;

    if (w->session <= 0 || st->session != w->session || st->ticks < w->ticks)
        return false;
    return read_stat(w->session, &leader) < 0 || leader.ticks == w->ticks;
}

static bool belongs(const struct attempt_work *w, pid_t pid)
{
    struct process_stat st;
    char text[VARIABLE_MAX];

    if (pid == getpid() || read_stat(pid, &st) < 0 || st.state == 'Z' || st.state == 'X')
        return false;
    if (is_session(w, &st))
        return true;
    if (!w->mark[0] || st.ticks < w->ticks)
        return false;
    snprintf(text, sizeof(text), ATTEMPT_WORK_VARIABLE "=%s", w->mark);
    return environment_has(pid, text);
}

/* By its pidfd, and looked at again after that was opened: it cannot become another process's meanwhile. */
static void kill_member(const struct attempt_work *w, pid_t pid)
{
    int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);

    if (pidfd < 0)
        return;
    if (belongs(w, pid))
        syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
    close(pidfd);
}

static int scan(const struct attempt_work *w, bool kill_them)
{
    DIR *dir = opendir("/proc");
    struct dirent *entry;
    int n = 0;

    while (dir && (entry = readdir(dir))) {
        pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);

        if (pid <= 1 || !belongs(w, pid))
            continue;
        n++;
        if (kill_them)
            kill_member(w, pid);
    }
    if (dir)
        closedir(dir);
    return n;
}

/* ---- the work ---- */

/* A group that is not there holds nothing, unless it cannot be seen from here; /proc shows the same or more. */
static bool has_group(const struct attempt_work *w)
{
    return w->group[0] && attempt_group_count(w->group) >= 0;
}

int attempt_work_count(const struct attempt_work *work)
{
    int n = work->group[0] ? attempt_group_count(work->group) : -1;

    return n >= 0 ? n : scan(work, false);
}

int attempt_work_kill(const struct attempt_work *work, int wait_ms)
{
    const struct timespec pause = {.tv_nsec = KILL_AGAIN_MS * 1000000L};
    int64_t until = clock_mono_ms() + wait_ms;
    int left;

    for (;;) {
        if (has_group(work))
            attempt_group_kill(work->group);
        else
            scan(work, true);
        left = attempt_work_count(work);
        if (left == 0 || clock_mono_ms() >= until)
            return left;
        nanosleep(&pause, NULL);
    }
}
