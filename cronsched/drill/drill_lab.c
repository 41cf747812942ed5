/* A lab as lab.json names it. What takes time to start or concerns the network is done by contrib/lab itself,
 * called as a program; signals are sent from here, since their timing matters. */
#include "cronsched/drill/drill.h"
#include "jobs/base/duration.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define PID_FILE_BYTES 32
#define CMDLINE_BYTES  8192

extern char **environ;

static bool is_own(const struct stat *st)
{
    return (st->st_uid == geteuid() || st->st_uid == 0) && !(st->st_mode & (S_IWGRP | S_IWOTH));
}

static const char *fact(const struct drill_lab *lab, const char *key)
{
    return json_string_value(json_object_get(lab->facts, key));
}

/* A lab's file names programs and processes, which are run and signalled as the caller: it has to be the caller's. */
static json_t *load(const char *path, const char *folder, struct error *error)
{
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC), in = -1;
    struct stat file, around;
    json_error_t where = {0};
    json_t *facts = NULL;

    if (fd >= 0)
        in = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || in < 0 || fstat(fd, &file) < 0 || fstat(in, &around) < 0)
        error_set(error, ERR_NOT_FOUND, "no lab in %s: %s", folder, strerror(errno));
    else if (!S_ISREG(file.st_mode) || !is_own(&file) || !is_own(&around))
        error_set(error, ERR_DENIED,
                  "the lab in %s is not yours, or others can write it: what it names is not run", folder);
    else if (!(facts = json_loadfd(fd, JSON_REJECT_DUPLICATES, &where)))
        error_set(error, ERR_NOT_FOUND, "no lab in %s: %s", folder, where.text);
    if (fd >= 0)
        close(fd);
    if (in >= 0)
        close(in);
    return facts;
}

int drill_lab_open(struct drill_lab *lab, const char *folder, struct error *error)
{
    char path[4096];
    const char *timeout;

    snprintf(path, sizeof(path), "%s/lab.json", folder);
    lab->facts = load(path, folder, error);
    if (!lab->facts)
        return error->code;
    lab->folder = json_string_value(json_object_get(json_object_get(lab->facts, "facts"), "folder"));
    lab->ledger = fact(lab, "ledger");
    lab->image = fact(lab, "image");
    lab->servers = fact(lab, "servers");
    timeout = fact(lab, "session_timeout");
    if (!lab->folder || !lab->ledger || !lab->image || !lab->servers || !timeout)
        return error_set(error, ERR_CORRUPT, "%s does not describe a lab", path);
    return duration_parse(timeout, &lab->session_timeout_ms, error);
}

void drill_lab_release(struct drill_lab *lab)
{
    json_decref(lab->facts);
    *lab = (struct drill_lab){0};
}

size_t drill_lab_replicas(const struct drill_lab *lab)
{
    return json_array_size(json_object_get(lab->facts, "replicas"));
}

/* The file's bytes and a NUL; -1 when it cannot be read. */
static ssize_t read_small(const char *path, char *buffer, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, buffer, size - 1);

    if (fd >= 0)
        close(fd);
    if (n >= 0)
        buffer[n] = '\0';
    return n;
}

/* The number may have gone to another program since: the command line has to name the replica's folder. */
static bool is_replica(long pid, const char *folder)
{
    char path[64], words[CMDLINE_BYTES];
    ssize_t n;

    snprintf(path, sizeof(path), "/proc/%ld/cmdline", pid);
    n = read_small(path, words, sizeof(words));
    return n > 0 && memmem(words, (size_t)n, folder, strlen(folder)) != NULL;
}

int drill_lab_pid(const struct drill_lab *lab, const char *replica, pid_t *ret, struct error *error)
{
    const json_t *item;
    size_t i;

    json_array_foreach(json_object_get(lab->facts, "replicas"), i, item)
    {
        const char *id = json_string_value(json_object_get(item, "id"));
        const char *folder = json_string_value(json_object_get(item, "folder"));
        const char *file = json_string_value(json_object_get(item, "pid_file"));
        char text[PID_FILE_BYTES];
        long pid;

        if (!id || !folder || !file || strcmp(id, replica) != 0)
            continue;
        pid = read_small(file, text, sizeof(text)) > 0 ? strtol(text, NULL, 10) : 0;
        if (pid <= 1 || !is_replica(pid, folder))
            return error_set(error, ERR_NOT_FOUND, "replica %s is not running", replica);
        *ret = (pid_t)pid;
        return 0;
    }
    return error_set(error, ERR_NOT_FOUND, "the lab in %s has no replica %s", lab->folder, replica);
}

static int wait_for_end(pid_t pid, const char *program, const char *verb, struct error *error)
{
    int status;

    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return error_set(error, ERR_IO, "%s %s: %s", program, verb, strerror(errno));
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        return error_set(error, ERR_IO, "%s %s failed (see its output above)", program, verb);
    return 0;
}

/* `words` as far as there is room, and a NULL. */
static void take_words(char **words, size_t n, va_list ap)
{
    const char *word;

    while ((word = va_arg(ap, const char *)) && n < DRILL_WORDS - 1)
        words[n++] = (char *)word;
    words[n] = NULL;
}

/* In a session of its own: an interrupt at the terminal is the drill's to handle, and what the lab starts
 * outlives it. */
static int spawn(char *const *words, const char *program, const char *verb, struct error *error)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attr;
    pid_t pid = -1;
    int r;

    posix_spawn_file_actions_init(&files);
    posix_spawnattr_init(&attr);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSID);
    r = posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDWR, 0);
    if (r == 0)
        r = posix_spawn_file_actions_adddup2(&files, 2, 1); /* stdout is the report's */
    if (r == 0)
        r = posix_spawnp(&pid, words[0], &files, &attr, words, environ);
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attr);
    if (r != 0)
        return error_set(error, ERR_IO, "%s: %s", words[0], strerror(r));
    return wait_for_end(pid, program, verb, error);
}

int drill_lab_run(const struct drill_lab *lab, struct error *error, const char *verb, ...)
{
    const json_t *program = json_object_get(lab->facts, "lab");
    char *words[DRILL_WORDS];
    size_t n = 0;
    va_list ap;

    if (json_array_size(program) != 2) /* an interpreter and its script */
        return error_set(error, ERR_CORRUPT, "%s/lab.json does not name the lab's command", lab->folder);
    while (n < 2) {
        words[n] = (char *)json_string_value(json_array_get(program, n));
        if (!words[n++])
            return error_set(error, ERR_CORRUPT, "%s/lab.json does not name the lab's command", lab->folder);
    }
    words[n++] = (char *)verb;
    words[n++] = (char *)lab->folder;
    va_start(ap, verb);
    take_words(words, n, ap);
    va_end(ap);
    return spawn(words, "contrib/lab", verb, error);
}

int drill_lab_cronsched(struct error *error, const char *verb, ...)
{
    char self[] = "/proc/self/exe", *words[DRILL_WORDS] = {self, (char *)verb};
    va_list ap;

    va_start(ap, verb);
    take_words(words, 2, ap);
    va_end(ap);
    return spawn(words, "cronsched", verb, error);
}
