/* The spawner: the server's side, and the loop of the process itself (supervise.h). A request is one message
 * with three descriptors. It dies with the server, by the end of its control socket; a server that finds it
 * dead starts another. */
#include "cronsched/engines/process/supervise.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define CONTROL_FD  3 /* in the spawner */
#define REQUEST_FDS 3

union request_control {
    char bytes[CMSG_SPACE(sizeof(int) * REQUEST_FDS)];
    struct cmsghdr align;
};

/* What the spawner and its supervisors take from the server's environment: what finds libraries, zones, locales and
 * programs. All else, tokens among it, is the server's alone. Commands get the job's variables only. */
static const char *const passed_on[] = {
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "TZ",
    "TZDIR",
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
#ifdef CRONSCHED_FAULTS /* what tests steer them by */
    "ASAN_OPTIONS",
    "LSAN_OPTIONS",
    "TSAN_OPTIONS",
    "UBSAN_OPTIONS",
    "CRASH_AT",
    "STOP_AT",
    "TEST_FOLDER",
    "CRONSCHED_CRASH_AT",
    "CRONSCHED_STOP_AT",
    "CRONSCHED_PATIENCE",
    "FAKETIME",
    "FAKETIME_NO_CACHE",
    "FAKETIME_DONT_RESET",
    "FAKETIME_DONT_FAKE_MONOTONIC",
    "DONT_FAKE_MONOTONIC",
    "FAKETIME_TIMESTAMP_FILE",
    "HUNG",
#endif
};

#define PASSED_ON (sizeof(passed_on) / sizeof(passed_on[0]))

extern char **environ;

/* ---- the server's side ---- */

int spawner_init(struct spawner *s, const char *program)
{
    s->program = program;
    s->control = -1;
    s->pid = -1;
    return uv_mutex_init(&s->lock) == 0 ? 0 : ERR_NOMEM;
}

static void stop(struct spawner *s)
{
    if (s->control >= 0)
        close(s->control);
    s->control = -1;
    if (s->pid > 0) {
        kill(s->pid, SIGKILL); /* it holds nothing */
        while (waitpid(s->pid, NULL, 0) < 0 && errno == EINTR)
            ;
    }
    s->pid = -1;
}

void spawner_release(struct spawner *s)
{
    stop(s);
    uv_mutex_destroy(&s->lock);
}

static int set_up_files(posix_spawn_file_actions_t *files, int control)
{
    int r = 0;

    r |= posix_spawn_file_actions_addopen(files, 0, "/dev/null", O_RDWR, 0);
    r |= posix_spawn_file_actions_adddup2(files, control, CONTROL_FD);
    r |= posix_spawn_file_actions_adddup2(files, 0, 1);
    r |= posix_spawn_file_actions_adddup2(files, 0, 2);
    r |= posix_spawn_file_actions_addclosefrom_np(files, CONTROL_FD + 1);
    return r;
}

static int set_up_signals(posix_spawnattr_t *attr)
{
    sigset_t none, all;

    sigemptyset(&none);
    sigfillset(&all);
    return posix_spawnattr_setflags(attr,
                                    POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF) |
           posix_spawnattr_setsigmask(attr, &none) | posix_spawnattr_setsigdefault(attr, &all);
}

/* ret has room for PASSED_ON and the end; what it gets is borrowed from `environ`. */
static void list_environment(char **ret)
{
    for (char **e = environ; e && *e; e++) {
        size_t n = strcspn(*e, "=");

        for (size_t i = 0; i < PASSED_ON; i++) {
            if (strlen(passed_on[i]) == n && strncmp(*e, passed_on[i], n) == 0 && !ret[i])
                ret[i] = *e;
        }
    }
    for (size_t i = 0, kept = 0; i < PASSED_ON; i++) {
        char *variable = ret[i];

        ret[i] = NULL;
        if (variable)
            ret[kept++] = variable;
    }
}

/* posix_spawn takes the address space by vfork: however big the server is, this is quick. */
static int spawn(const char *program, int control, pid_t *ret)
{
    char name[] = "cronsched", verb[] = SUPERVISE_VERB;
    char *argv[] = {name, verb, NULL}, *environment[PASSED_ON + 1] = {NULL};
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attr;
    int r;

    if (posix_spawn_file_actions_init(&files) != 0)
        return ENOMEM;
    if (posix_spawnattr_init(&attr) != 0) {
        posix_spawn_file_actions_destroy(&files);
        return ENOMEM;
    }
    list_environment(environment);
    r = set_up_files(&files, control) | set_up_signals(&attr)
            ? ENOMEM
            : posix_spawn(ret, program, &files, &attr, argv, environment);
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attr);
    return r;
}

/* The server takes as many descriptors as it may; commands get the limit that it was started with. Nobody has been
 * forked yet. */
static void limit_files(const struct spawner *s)
{
    struct rlimit limit;

    if (s->files == 0 || prlimit(s->pid, RLIMIT_NOFILE, NULL, &limit) < 0)
        return;
    limit.rlim_cur = s->files;
    prlimit(s->pid, RLIMIT_NOFILE, &limit, NULL);
}

static int start(struct spawner *s, struct error *error)
{
    int pair[2], r;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return error_set(error, ERR_UNREACHABLE, "socketpair: %s", strerror(errno));
    /* Not number 3: dup2 of a descriptor to itself would leave it to be closed at exec. */
    if (pair[1] == CONTROL_FD) {
        int other = fcntl(pair[1], F_DUPFD_CLOEXEC, CONTROL_FD + 1);

        close(pair[1]);
        pair[1] = other;
    }
    r = pair[1] < 0 ? EMFILE : spawn(s->program, pair[1], &s->pid);
    if (pair[1] >= 0)
        close(pair[1]);
    if (r != 0) {
        close(pair[0]);
        s->pid = -1;
        return error_set(error, ERR_UNREACHABLE, "cannot start '%s " SUPERVISE_VERB "': %s", s->program,
                         strerror(r));
    }
    s->control = pair[0];
    limit_files(s);
    return 0;
}

static int request(int control, const int fds[REQUEST_FDS])
{
    union request_control control_data = {0};
    struct iovec iov = {.iov_base = (char[]){'s'}, .iov_len = 1};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control_data.bytes,
                         .msg_controllen = sizeof(control_data.bytes)};
    struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
    ssize_t r;

    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int) * REQUEST_FDS);
    memcpy(CMSG_DATA(c), fds, sizeof(int) * REQUEST_FDS);
    do
        r = sendmsg(control, &msg, MSG_NOSIGNAL);
    while (r < 0 && errno == EINTR);
    return r < 0 ? -errno : 0;
}

int spawner_spawn(struct spawner *s, int socket, int folder, int spec, struct error *error)
{
    const int fds[REQUEST_FDS] = {socket, folder, spec};
    int r = 0;

    uv_mutex_lock(&s->lock);
    for (int tries = 0; tries < 2; tries++) {
        if (s->control < 0 && (r = start(s, error)) < 0)
            break;
        r = request(s->control, fds);
        if (r == 0)
            break;
        stop(s);
        r = error_set(error, ERR_UNREACHABLE, "the spawner is gone: %s", strerror(-r));
    }
    uv_mutex_unlock(&s->lock);
    return r;
}

/* ---- the process ---- */

/* The number of descriptors received, 0 at the end, negative for an error. */
static int receive(int fds[REQUEST_FDS])
{
    union request_control control_data;
    char byte;
    struct iovec iov = {.iov_base = &byte, .iov_len = 1};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control_data.bytes,
                         .msg_controllen = sizeof(control_data.bytes)};
    struct cmsghdr *c;
    ssize_t r;

    do
        r = recvmsg(CONTROL_FD, &msg, MSG_CMSG_CLOEXEC);
    while (r < 0 && errno == EINTR);
    if (r <= 0)
        return r < 0 ? -errno : 0;
    c = CMSG_FIRSTHDR(&msg);
    if (!c || c->cmsg_type != SCM_RIGHTS || c->cmsg_len != CMSG_LEN(sizeof(int) * REQUEST_FDS))
        return -EPROTO;
    memcpy(fds, CMSG_DATA(c), sizeof(int) * REQUEST_FDS);
    return REQUEST_FDS;
}

static void fork_supervisor(const int fds[REQUEST_FDS])
{
    char text[128];
    pid_t pid = fork();

    if (pid == 0) {
        close(CONTROL_FD);
        signal(SIGCHLD, SIG_DFL);
        setsid();
        supervise(fds[0], fds[1], fds[2]);
    }
    if (pid < 0) {
        snprintf(text, sizeof(text), "failed cannot fork: %s", strerror(errno));
        send(fds[0], text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT);
    }
    for (int i = 0; i < REQUEST_FDS; i++)
        close(fds[i]);
}

int spawner_main(int argc, char **argv)
{
    int fds[REQUEST_FDS], r;

    if (fcntl(CONTROL_FD, F_SETFD, FD_CLOEXEC) < 0) {
        fprintf(stderr, "cronsched: " SUPERVISE_VERB " is for the server's own use\n");
        return 2;
    }
    prctl(PR_SET_NAME, "cs-spawner");
    signal(SIGCHLD, SIG_IGN); /* the kernel takes the dead away */
    signal(SIGPIPE, SIG_IGN);
    while ((r = receive(fds)) > 0)
        fork_supervisor(fds);
    return r < 0 ? 1 : 0;
}
