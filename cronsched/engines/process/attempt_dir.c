/* See attempt_dir.h. Small JSON files; whatever is written whole is written aside, synced and renamed. */
#include "cronsched/engines/process/attempt_dir.h"

#include "cronsched/engines/process/attempt_file.h"
#include "jobs/base/fault.h"
#include "jobs/state/record.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define GONE_SUFFIX  ".gone"
#define END_ROOM     1024 /* bytes of the end that are written ahead; most ends are shorter */
#define KILL_WAIT_MS 1000 /* for what was killed to be gone */

static int64_t integer(const json_t *json, const char *key)
{
    return json_integer_value(json_object_get(json, key)); /* 0 for NULL */
}

/* Text from anywhere as a JSON string: what is not UTF-8 becomes '?'. */
static json_t *json_text(const char *s)
{
    json_t *json = json_string(s);
    char copy[ATTEMPT_DIR_TEXT_MAX];

    if (json)
        return json;
    snprintf(copy, sizeof(copy), "%s", s);
    for (char *c = copy; *c; c++)
        if (*c & 0x80)
            *c = '?';
    return json_string(copy);
}

/* ---- processes ---- */

int attempt_dir_boot_id(char ret[ATTEMPT_DIR_BOOT_ID_MAX], struct error *error)
{
    FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");
    char line[ATTEMPT_DIR_BOOT_ID_MAX] = "";

    if (!f || !fgets(line, sizeof(line), f)) {
        int err = errno;

        if (f)
            fclose(f);
        return attempt_file_fail(error, "cannot read the boot id", err);
    }
    fclose(f);
    line[strcspn(line, "\n")] = '\0';
    memcpy(ret, line, ATTEMPT_DIR_BOOT_ID_MAX);
    return 0;
}

static int process_of(pid_t pid, struct attempt_dir_process *ret, struct error *error)
{
    struct attempt_dir_process p = {.pid = pid};
    int r = attempt_work_ticks(pid, &p.ticks);

    if (r < 0)
        return attempt_file_fail(error, "cannot read /proc", -r);
    *ret = p;
    return 0;
}

int attempt_dir_process_self(struct attempt_dir_process *ret, struct error *error)
{
    return process_of(getpid(), ret, error);
}

/* Opened first and compared afterwards: a pidfd never changes its process, so a match then holds for good. */
int attempt_dir_pidfd(const struct attempt_dir_process *process, int *ret_pidfd, struct error *error)
{
    uint64_t ticks = 0;
    int fd;

    if (process->pid <= 0)
        return error_set(error, ERR_NOT_FOUND, "no process is known");
    fd = (int)syscall(SYS_pidfd_open, process->pid, 0);
    if (fd < 0 && errno == ESRCH)
        return error_set(error, ERR_NOT_FOUND, "process %d is gone", (int)process->pid);
    if (fd < 0)
        return attempt_file_fail(error, "pidfd_open", errno);
    if (attempt_work_ticks(process->pid, &ticks) < 0 || ticks != process->ticks) {
        close(fd);
        return error_set(error, ERR_NOT_FOUND, "pid %d was reused by another process", (int)process->pid);
    }
    *ret_pidfd = fd;
    return 0;
}

int attempt_dir_signal(const struct attempt_dir_process *process, int signal)
{
    siginfo_t info = {.si_signo = signal, .si_code = SI_QUEUE};
    int pidfd;

    if (attempt_dir_pidfd(process, &pidfd, NULL) < 0)
        return ERR_NOT_FOUND;
    info.si_pid = getpid();
    info.si_uid = getuid();
    syscall(SYS_pidfd_send_signal, pidfd, signal, &info, 0);
    close(pidfd);
    return 0;
}

static json_t *process_json(const struct attempt_dir_process *p)
{
    return json_pack("{s:I, s:I}", "pid", (json_int_t)p->pid, "ticks", (json_int_t)p->ticks);
}

static struct attempt_dir_process process_from(const json_t *json)
{
    return (struct attempt_dir_process){.pid = (pid_t)integer(json, "pid"),
                                        .ticks = (uint64_t)integer(json, "ticks")};
}

/* ---- folders ---- */

bool attempt_dir_name_valid(const char *name)
{
    size_t n = strlen(name);

    return n > 0 && n < ATTEMPT_DIR_NAME_MAX &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") == n;
}

int attempt_dir_create(int root, const char *name, int *ret_folder, struct error *error)
{
    int folder;

    if (mkdirat(root, name, 0700) < 0)
        return attempt_file_fail(error, "cannot make the attempt's folder", errno);
    folder = openat(root, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    /* It is new, so nobody has the lock for longer than a look at it takes. */
    if (folder < 0 || flock(folder, LOCK_EX) < 0 || fsync(root) < 0) {
        int err = errno;

        if (folder >= 0)
            close(folder);
        return attempt_file_fail(error, "cannot open the attempt's folder", err);
    }
    *ret_folder = folder;
    return 0;
}

int attempt_dir_open(int root, const char *name, int *ret_folder, struct error *error)
{
    int folder = openat(root, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

    if (folder < 0)
        return attempt_file_fail(error, "the attempt's folder", errno);
    *ret_folder = folder;
    return 0;
}

DIR *attempt_dir_entries(int folder)
{
    int fd = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);

    if (!dir && fd >= 0)
        close(fd);
    return dir;
}

/* `ready` goes first: without it nobody can make a mark when the mark that is there has gone as well. */
static void empty_folder(int folder)
{
    DIR *dir = attempt_dir_entries(folder);
    struct dirent *entry;

    if (!dir)
        return;
    unlinkat(folder, "ready", 0);
    FAULT_POINT("attempt-unreadied", "");
    while ((entry = readdir(dir)))
        if (entry->d_name[0] != '.')
            unlinkat(folder, entry->d_name, 0);
    closedir(dir);
}

/* A supervisor that has not written `ready` could do so in a folder that is half removed. The lock keeps it
 * out: it exists only with the lock, and in a folder that is gone nothing can be written. */
static int lock_for_removal(int folder, struct error *error)
{
    if (flock(folder, LOCK_EX | LOCK_NB) < 0 && faccessat(folder, "ready", F_OK, 0) < 0)
        return error_set(error, ERR_BUSY, "a supervisor is about to get ready");
    return 0;
}

/* Empty by now, as the attempt is over; what cannot be removed is left to attempt_dir_clean. */
static void remove_group(int folder)
{
    json_t *command = attempt_file_read_json(folder, "command");
    const char *group = json_string_value(json_object_get(command, "group"));

    if (group)
        attempt_group_remove(group);
    json_decref(command);
}

int attempt_dir_remove(int root, const char *name, struct error *error)
{
    char gone[ATTEMPT_DIR_NAME_MAX + sizeof(GONE_SUFFIX)];
    int folder = -1, r = attempt_dir_open(root, name, &folder, error);

    if (r < 0)
        return r == ERR_NOT_FOUND ? 0 : r;
    snprintf(gone, sizeof(gone), "%s" GONE_SUFFIX, name);
    r = lock_for_removal(folder, error);
    if (r == 0 && renameat(root, name, root, gone) < 0) {
        r = errno == ENOENT ? 0 : attempt_file_fail(error, "cannot remove the attempt's folder", errno);
    } else if (r == 0) {
        FAULT_POINT("attempt-renamed", name);
        remove_group(folder);
        empty_folder(folder);
        unlinkat(root, gone, AT_REMOVEDIR);
    }
    close(folder);
    return r;
}

static bool ends_with(const char *s, const char *suffix)
{
    size_t n = strlen(s), m = strlen(suffix);

    return n > m && strcmp(s + n - m, suffix) == 0;
}

/* Of supervisors that died before they had written down which group they had made. The folder is made before the
 * group and goes after it. */
static void clean_groups(int root, const char *base)
{
    DIR *dir = base[0] ? opendir(base) : NULL;
    struct dirent *entry;

    if (!dir)
        return;
    while ((entry = readdir(dir)))
        if (entry->d_type == DT_DIR && attempt_dir_name_valid(entry->d_name) &&
            faccessat(root, entry->d_name, F_OK, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT)
            unlinkat(dirfd(dir), entry->d_name, AT_REMOVEDIR);
    closedir(dir);
}

void attempt_dir_clean(int root, const char *group_base)
{
    DIR *dir = attempt_dir_entries(root);
    struct dirent *entry;

    if (!dir)
        return;
    while ((entry = readdir(dir))) {
        int folder = -1;

        if (!ends_with(entry->d_name, GONE_SUFFIX) ||
            attempt_dir_open(root, entry->d_name, &folder, NULL) < 0)
            continue;
        remove_group(folder);
        empty_folder(folder);
        close(folder);
        unlinkat(root, entry->d_name, AT_REMOVEDIR);
    }
    closedir(dir);
    clean_groups(root, group_base);
}

/* ---- writing ---- */

/* Blanks, which JSON does not mind, up to END_ROOM. */
static int write_end_new(int folder, const char *text)
{
    char room[END_ROOM];
    size_t n = strlen(text);
    int fd = openat(folder, "end.new", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    int r;

    if (fd < 0)
        return -errno;
    memset(room, ' ', sizeof(room));
    r = attempt_file_write_bytes(fd, text, n);
    if (r == 0 && n < sizeof(room))
        r = attempt_file_write_bytes(fd, room, sizeof(room) - n);
    if (r == 0 && n > 0 && fsync(fd) < 0)
        r = -errno;
    close(fd);
    return r;
}

int attempt_dir_write_ready(int folder, const struct attempt_dir_identity *identity, struct error *error)
{
    char boot_id[ATTEMPT_DIR_BOOT_ID_MAX];
    struct attempt_dir_process self = {0};
    json_t *json;
    int r;

    if ((r = attempt_dir_boot_id(boot_id, error)) < 0 || (r = attempt_dir_process_self(&self, error)) < 0)
        return r;
    json = json_pack("{s:s, s:s, s:i, s:i, s:I, s:s, s:o}", "cluster", identity->cluster, "run",
                     identity->run, "attempt", identity->attempt, "try", identity->try, "epoch",
                     (json_int_t)identity->epoch, "boot", boot_id, "supervisor", process_json(&self));
    r = attempt_file_write_json(folder, "ready", json, true, error);
    if (r == 0 && (r = write_end_new(folder, "")) < 0)
        return attempt_file_fail(error, "cannot take room for the end", -r);
    return r;
}

int attempt_dir_mark_started(int folder, struct error *error)
{
    int ready = openat(folder, "ready", O_WRONLY | O_CLOEXEC);

    if (ready < 0)
        return attempt_file_fail(error, "ready", errno);
    futimens(ready, NULL); /* its time is the time of the start; for people, nothing hangs on it */
    close(ready);
    FAULT_POINT("supervise-link", "");
    if (linkat(folder, "ready", folder, "start", 0) < 0)
        return attempt_file_fail(error, "cannot mark the start", errno);
    FAULT_POINT("supervise-linked", "");
    if (fsync(folder) < 0)
        return attempt_file_fail(error, "cannot sync the mark of the start", errno);
    return 0;
}

int attempt_dir_write_command(int folder, pid_t pid, const char *group, const char *mark, struct error *error)
{
    struct attempt_dir_process command = {0};
    int r = process_of(pid, &command, error);
    json_t *json;

    if (r < 0)
        return r;
    json = process_json(&command);
    json_object_set_new(json, "group", json_string(group));
    json_object_set_new(json, "mark", json_string(mark));
    return attempt_file_write_json(folder, "command", json, false, error);
}

int attempt_dir_write_end(int folder, const struct attempt_dir_end *end, struct error *error)
{
    json_t *json = json_pack("{s:I, s:I, s:b, s:i, s:s, s:o}", "started", (json_int_t)end->started_ms,
                             "ended", (json_int_t)end->ended_ms, "refused", end->refused, "exit_code",
                             end->exit_code, "cause", end->cause, "text", json_text(end->text));
    char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;
    int r;

    json_decref(json);
    if (!text)
        return error_set(error, ERR_NOMEM, "out of memory");
    r = write_end_new(folder, text);
    free(text);
    if (r < 0)
        return attempt_file_fail(error, "cannot write the end", -r);
    FAULT_POINT("supervise-end-written", "");
    if (renameat(folder, "end.new", folder, "end") < 0 || fsync(folder) < 0)
        return attempt_file_fail(error, "cannot keep the end", errno);
    return 0;
}

/* ---- fencing and reading ---- */

/* Whether the mark is a fence: it has a reason, a start has none. */
static bool is_fence(const json_t *mark)
{
    return json_is_string(json_object_get(mark, "fenced"));
}

int attempt_dir_fence(int folder, const char *why, struct error *error)
{
    char file[32];
    uint64_t random;
    json_t *mark;
    bool fenced;
    int r;

    /* A name of its own: of two that fence at once, neither may write into what the other has linked. */
    if (getrandom(&random, sizeof(random), 0) != sizeof(random))
        return attempt_file_fail(error, "getrandom", errno);
    snprintf(file, sizeof(file), "fence-%016" PRIx64, random);
    r = attempt_file_write_json(folder, file, json_pack("{s:o}", "fenced", json_text(why)), true, error);
    if (r < 0)
        return r;
    r = linkat(folder, file, folder, "start", 0) < 0 && errno != EEXIST ? -errno : 0;
    FAULT_POINT("attempt-fenced", "");
    unlinkat(folder, file, 0);
    if (r < 0)
        return attempt_file_fail(error, "cannot put the fence", -r);
    /* Also for somebody else's mark: what is reported from it must be on disk. */
    if (fsync(folder) < 0)
        return attempt_file_fail(error, "cannot sync the fence", errno);
    mark = attempt_file_read_json(folder, "start");
    fenced = is_fence(mark);
    json_decref(mark);
    return fenced ? 0 : error_set(error, ERR_CONFLICT, "it was started");
}

static bool lock_held(int folder)
{
    int fd = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool held;

    if (fd < 0)
        return false;
    held = flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;
    close(fd);
    return held;
}

static void read_ready(int folder, struct attempt_dir_status *s)
{
    json_t *ready = attempt_file_read_json(folder, "ready");
    char boot_now[ATTEMPT_DIR_BOOT_ID_MAX] = "";
    struct stat st;

    if (!ready)
        return;
    s->identified = true;
    attempt_file_copy_text(ready, "cluster", s->identity.cluster, sizeof(s->identity.cluster));
    attempt_file_copy_text(ready, "run", s->identity.run, sizeof(s->identity.run));
    s->identity.attempt = (int)integer(ready, "attempt");
    s->identity.try = (int)integer(ready, "try");
    s->identity.epoch = integer(ready, "epoch");
    s->supervisor = process_from(json_object_get(ready, "supervisor"));
    attempt_file_copy_text(ready, "boot", s->boot_id, sizeof(s->boot_id));
    s->same_boot = attempt_dir_boot_id(boot_now, NULL) == 0 && strcmp(boot_now, s->boot_id) == 0;
    if (!s->same_boot)
        s->supervisor.pid = 0; /* by now it may be anybody's */
    json_decref(ready);
    if (fstatat(folder, "ready", &st, 0) == 0)
        s->started_ms = st.st_mtim.tv_sec * INT64_C(1000) + st.st_mtim.tv_nsec / 1000000;
}

/* The literal that an end has; "engine" for one that is not known here. */
static const char *cause_of(const char *text)
{
    if (text && strcmp(text, "exit") == 0)
        return "exit";
    if (text && strcmp(text, "signal") == 0)
        return "signal";
    if (text && strcmp(text, "timeout") == 0)
        return "timeout";
    return "engine";
}

static bool read_end(int folder, const char *file, struct attempt_dir_status *s)
{
    json_t *end = attempt_file_read_json(folder, file);

    if (!end)
        return false;
    s->end = (struct attempt_dir_end){
        .started_ms = integer(end, "started"),
        .ended_ms = integer(end, "ended"),
        .refused = json_is_true(json_object_get(end, "refused")),
        .exit_code = (int)integer(end, "exit_code"),
        .cause = cause_of(json_string_value(json_object_get(end, "cause"))),
    };
    attempt_file_copy_text(end, "text", s->end.text, sizeof(s->end.text));
    json_decref(end);
    s->state = s->end.refused ? ATTEMPT_DIR_REFUSED : ATTEMPT_DIR_ENDED;
    if (s->end.started_ms)
        s->started_ms = s->end.started_ms;
    return true;
}

/* Of another boot nothing lives, and its numbers may be anybody's. */
static void read_command(int folder, struct attempt_dir_status *s)
{
    json_t *command = s->same_boot ? attempt_file_read_json(folder, "command") : NULL;

    s->command = process_from(command); /* pid 0 from NULL */
    s->work.session = s->command.pid;
    s->work.ticks = s->command.ticks;
    attempt_file_copy_text(command, "group", s->work.group, sizeof(s->work.group));
    attempt_file_copy_text(command, "mark", s->work.mark, sizeof(s->work.mark));
    json_decref(command);
}

static void explain_lost(int folder, struct attempt_dir_status *s)
{
    json_t *killed = attempt_file_read_json(folder, "killed");
    int n = (int)integer(killed, "count");

    json_decref(killed);
    if (!s->same_boot)
        snprintf(s->end.text, sizeof(s->end.text), "the machine was restarted while it ran (boot %s is over)",
                 s->boot_id[0] ? s->boot_id : "id not known");
    else if (n > 0)
        snprintf(
            s->end.text, sizeof(s->end.text),
            "its supervisor (pid %d) ended without writing down how the command ended; what still ran of the "
            "command was killed (%d %s)",
            (int)s->supervisor.pid, n, n == 1 ? "process" : "processes");
    else
        snprintf(s->end.text, sizeof(s->end.text),
                 "its supervisor (pid %d) ended without writing down how the command ended; nothing of it "
                 "runs any "
                 "more",
                 (int)s->supervisor.pid);
}

/* Started, and no end: does anybody live? */
static void judge_running(int folder, struct attempt_dir_status *s)
{
    read_command(folder, s);
    s->orphaned = !s->alive && s->same_boot && attempt_work_count(&s->work) > 0;
    if (s->alive || s->orphaned) {
        s->state = ATTEMPT_DIR_RUNNING;
        return;
    }
    /* Its supervisor may have been killed just before it gave the end its name. What is half written is no
     * JSON. */
    if (read_end(folder, "end.new", s))
        return;
    s->state = ATTEMPT_DIR_LOST;
    explain_lost(folder, s);
}

int attempt_dir_kill_work(int folder, const struct attempt_dir_status *status)
{
    json_t *before = attempt_file_read_json(folder, "killed");
    json_int_t count = integer(before, "count");
    int left;

    json_decref(before);
    if (count == 0) /* the first time; what lives later was counted, or is of what was */
        attempt_file_write_json(folder, "killed",
                                json_pack("{s:i}", "count", attempt_work_count(&status->work)), false, NULL);
    FAULT_POINT("attempt-orphan", "");
    left = attempt_work_kill(&status->work, KILL_WAIT_MS);
    if (left == 0)
        attempt_group_remove(status->work.group);
    return left;
}

/* The lock is looked at before the files: a supervisor writes the end before it lets go. */
int attempt_dir_read(int folder, struct attempt_dir_status *ret, struct error *error)
{
    struct attempt_dir_status s = {.alive = lock_held(folder)};
    json_t *mark;
    struct stat st;

    if (fstat(folder, &st) < 0)
        return attempt_file_fail(error, "the attempt's folder", errno);
    if (st.st_nlink == 0)
        return error_set(error, ERR_NOT_FOUND, "the attempt's folder is gone");
    s.changed_ms = st.st_mtim.tv_sec * INT64_C(1000) + st.st_mtim.tv_nsec / 1000000;
    read_ready(folder, &s);
    if (!read_end(folder, "end", &s)) {
        if (fstatat(folder, "start", &st, AT_SYMLINK_NOFOLLOW) < 0) {
            s.state = ATTEMPT_DIR_WAITING;
            s.started_ms = 0;
        } else if (is_fence(mark = attempt_file_read_json(folder, "start"))) {
            s.state = ATTEMPT_DIR_FENCED;
            s.started_ms = 0;
            attempt_file_copy_text(mark, "fenced", s.end.text, sizeof(s.end.text));
            json_decref(mark);
        } else {
            json_decref(mark);
            judge_running(folder, &s);
        }
    }
    *ret = s;
    return 0;
}

int attempt_dir_abolish(int folder, const char *why, struct error *error)
{
    struct attempt_dir_status s = {0};
    int r = attempt_dir_fence(folder, why, error);

    /* A supervisor that still waits will not get any further; there is no need for it to wait. */
    if (r == 0 && attempt_dir_read(folder, &s, NULL) == 0 && s.alive)
        attempt_dir_signal(&s.supervisor, SIGTERM);
    return r;
}

bool attempt_dir_is_emptied(int folder)
{
    return faccessat(folder, "ready", F_OK, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT;
}
