/* One supervisor, see supervise.h. Alone in its process, so it blocks where it likes.
 *
 * The happy path:
 *   1. read the spec, resolve the user, write and sync `ready`
 *   2. fork the command's process, which waits for "go" on the socket; answer "ready"
 *   3. that process gets "go", puts the mark and syncs it (attempt_dir.h), reports LINKED, becomes
 *      the user and executes: its report pipe closes. Answer "started". It was forked ahead so that a
 *      release is a link, an fsync and an exec.
 *   4. copy the output into the log, up to the cap
 *   5. the command ends; what it left behind is killed, after a stop when the grace is over; write and sync `end`; leave
 *
 * Failures:
 *   1, 2: answer "failed", "later" or "refused"; leave. There is no mark.
 *   The socket ends, or SIGTERM comes, before the mark: leave. There is no mark.
 *   3: the mark is taken by a fence, or the folder is gone: leave; the socket's end says enough.
 *      The link or its sync fails: `end` says that nothing was executed, in case the mark is there.
 *      The command cannot be executed: `end` says so; answer "refused".
 *      Its process dies before it has reported LINKED: it has executed nothing; `end` says so if the mark
 *      is there. It dies afterwards, before its exec: this is a command that was killed at once.
 *   4: the log cannot be written: the output is read and dropped, `end` tells.
 *   5: `end` cannot be written: tried again END_TRIES times; meanwhile the attempt counts as running.
 *   The supervisor is killed: the command's first process is killed with it (PR_SET_PDEATHSIG), unless it has
 *      executed a setuid program. What else descends from the command lives on, known by its control group or its
 *      mark (attempt_work.h), until whoever watches the attempt kills it. No `end`: the outcome is unknown.
 */
#include "cronsched/engines/process/supervise.h"

#include "cronsched/engines/process/attempt_work.h"
#include "cronsched/engines/process/descendants.h"
#include "cronsched/engines/process/supervise_program.h"
#include "cronsched/engines/process/supervise_user.h"
#include "cronsched/io/run_log.h"
#include "jobs/base/clock.h"
#include "jobs/base/fault.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define END_TRIES     600  /* a second each */
#define REMAINS_MS    5000 /* to wait for killed processes that do not go */
#define KILL_AGAIN_MS 100
#define POLL_MAX_MS   60000
#define READ_BYTES    (64 * 1024)
#define PIPE_BYTES    (4 * 1024 * 1024) /* more than a pipe holds */
#define USER_LOOKUP_S 10                /* for the user database to answer */

extern char **environ;

enum step { STEP_LINKED, STEP_DIED, STEP_MARK, STEP_USER, STEP_FOLDER, STEP_EXEC };

/* What the command's process says before it is the command. */
struct report {
    enum step step;
    int code; /* STEP_MARK: of error.h; else errno */
    int64_t at_ms;
};

struct supervisor {
    int socket, folder;
    struct supervise_spec spec;
    struct supervise_user user;
    char **env;
    struct run_log_file log;
    struct error log_error;
    pid_t command;
    const char *group; /* the control group that the command is in; "": none */
    int output, report, signals;
    int64_t started_ms;                /* 0: not linked */
    bool executed;                     /* the report pipe ended after LINKED */
    siginfo_t end;                     /* the command's; si_pid 0: it runs, or is not looked at yet */
    bool stopping, left;               /* asked to end; SIGKILL is being sent to the command */
    bool timed_out;                    /* nobody else asked */
    char by[96];                       /* who asked, when it was not a server; "": one did */
    int64_t timeout_at_ms, kill_at_ms; /* by clock_boot_ms; 0: not set */
};

static void answer(struct supervisor *s, const char *text)
{
    send(s->socket, text, strlen(text), MSG_NOSIGNAL); /* nobody there: no matter */
}

static void answer_refused(struct supervisor *s, int exit_code, const char *why)
{
    char text[SUPERVISE_MESSAGE_MAX];

    snprintf(text, sizeof(text), "refused %d %.900s", exit_code, why);
    answer(s, text);
}

static void answer_failed(struct supervisor *s, const char *why)
{
    char text[SUPERVISE_MESSAGE_MAX];

    snprintf(text, sizeof(text), "failed %.900s", why);
    answer(s, text);
}

static void answer_later(struct supervisor *s, const char *why)
{
    char text[SUPERVISE_MESSAGE_MAX];

    snprintf(text, sizeof(text), "later %.900s", why);
    answer(s, text);
}

static void answer_started(struct supervisor *s)
{
    char text[64];

    snprintf(text, sizeof(text), "started %" PRId64, s->started_ms);
    answer(s, text);
}

/* ---- the command's process, up to its exec ---- */

static void report(int fd, enum step step, int code)
{
    struct report r = {.step = step, .code = code, .at_ms = clock_wall_ms()};

    while (write(fd, &r, sizeof(r)) < 0 && errno == EINTR)
        ;
}

/* Dies with its supervisor, and at once when that is dead already. Changing the user clears it. */
static void die_with(pid_t supervisor)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != supervisor)
        _exit(0);
}

static void wait_for_go(int socket)
{
    char text[8] = "";
    ssize_t n;

    do
        n = recv(socket, text, sizeof(text) - 1, 0);
    while (n < 0 && errno == EINTR);
    if (n <= 0 || strcmp(text, "go") != 0)
        _exit(0);
}

static void default_signals(void)
{
    struct sigaction action = {.sa_handler = SIG_DFL};
    sigset_t none;

    for (int i = 1; i < NSIG; i++)
        sigaction(i, &action, NULL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* The server may be spared by the kernel when memory runs out (OOMScoreAdjust= of its unit), and its
 * supervisors with it; a command is not. */
static void be_killable(void)
{
    char text[16] = "";
    int fd = open("/proc/self/oom_score_adj", O_RDWR | O_CLOEXEC);

    if (fd < 0)
        return;
    if (read(fd, text, sizeof(text) - 1) > 0 && strtol(text, NULL, 10) < 0 && pwrite(fd, "0", 1, 0) < 0)
        text[0] = '\0'; /* it stays spared; no reason not to run it */
    close(fd);
}

static _Noreturn void command_process(struct supervisor *s, pid_t supervisor, int output, int report_fd)
{
    const char *dir = *s->spec.working_dir ? s->spec.working_dir : "/";
    struct error error;
    int r;

    die_with(supervisor);
    prctl(PR_SET_NAME, "cs-waiting");
    setsid();
    dup2(output, 1); /* 0 is /dev/null */
    dup2(output, 2);
    umask(022);
    be_killable();
    wait_for_go(s->socket);
    FAULT_POINT("supervise-go", s->spec.identity.run);
    r = attempt_dir_mark_started(s->folder, &error);
    if (r < 0) {
        report(report_fd, STEP_MARK, r);
        _exit(0);
    }
    FAULT_POINT("supervise-started", s->spec.identity.run);
    report(report_fd, STEP_LINKED, 0);
    if (s->user.change && fchown(output, s->user.uid, s->user.gid) < 0)
        output = -1; /* it can write all the same, only not open /dev/stdout */
    r = supervise_user_become(&s->user);
    if (r < 0) {
        report(report_fd, STEP_USER, -r);
        _exit(126);
    }
    die_with(supervisor);
    if (chdir(dir) < 0) {
        report(report_fd, STEP_FOLDER, errno);
        _exit(126);
    }
    default_signals();
    environ = s->env; /* execvp searches the job's own PATH */
    execvp(s->spec.argv[0], s->spec.argv);
    report(report_fd, STEP_EXEC, errno);
    _exit(127);
}

/* In a control group of its own where that can be had; the server has looked whether it can. */
static pid_t fork_in_group(struct supervisor *s)
{
    const char *group = s->spec.group;
    pid_t pid = -1;

    s->group = "";
    if (*group && attempt_group_make(group, NULL) == 0)
        pid = attempt_group_fork(group);
    if (pid >= 0)
        s->group = group;
    else if (*group)
        attempt_group_remove(group);
    return pid >= 0 ? pid : fork();
}

static int fork_command(struct supervisor *s, struct error *error)
{
    int output[2] = {-1, -1}, reports[2] = {-1, -1};
    pid_t self = getpid();

    if (pipe2(output, O_CLOEXEC) < 0 || pipe2(reports, O_CLOEXEC) < 0)
        return error_set(error, ERR_IO, "cannot make a pipe: %s", strerror(errno));
    s->command = fork_in_group(s);
    if (s->command < 0)
        return error_set(error, ERR_IO, "cannot fork: %s", strerror(errno));
    if (s->command == 0) {
        close(output[0]);
        close(reports[0]);
        command_process(s, self, output[1], reports[1]);
    }
    close(output[1]);
    close(reports[1]);
    fcntl(output[0], F_SETFL, O_NONBLOCK);
    s->output = output[0];
    s->report = reports[0];
    return attempt_dir_write_command(s->folder, s->command, s->group, s->spec.mark, error);
}

/* ---- output ---- */

static void open_log(struct supervisor *s)
{
    run_log_file_open(&s->log, s->spec.log_path, s->spec.log_cap_bytes, RUN_LOG_FRESH, &s->log_error);
}

static void keep_output(struct supervisor *s, const char *bytes, size_t n)
{
    const struct run_log_frame frame = {.kind = RUN_LOG_OUT, .ns = clock_wall_ns(), .data = bytes, .size = n};

    if (s->log.fd < 0 || s->log.failed)
        return;
    if (run_log_file_add(&s->log, &frame, &s->log_error) == 0)
        run_log_file_flush(&s->log, &s->log_error);
}

/* What there is now, but for one that never stops writing: signals want to be seen, too. When the log cannot be written
 * it is read and dropped: a command is not to stall, or to die of SIGPIPE. */
static void copy_output(struct supervisor *s, size_t max_bytes)
{
    static char buffer[READ_BYTES];
    size_t done = 0;
    ssize_t n = 1;

    while (done < max_bytes &&
           ((n = read(s->output, buffer, sizeof(buffer))) > 0 || (n < 0 && errno == EINTR))) {
        if (n > 0)
            keep_output(s, buffer, (size_t)n);
        done += n > 0 ? (size_t)n : 0;
    }
    if (n == 0) { /* nobody holds the other end any more */
        close(s->output);
        s->output = -1;
    }
}

/* ---- the end ---- */

/* Kills and reaps whatever descends from the command, which has ended; counts what was killed. False: something does not
 * go, as in the middle of a read from a file server that is away, or may not be killed. */
static bool clear_remains(struct supervisor *s, int *ret_killed)
{
    int64_t until = clock_boot_ms() + REMAINS_MS;
    struct pollfd p = {.fd = s->signals, .events = POLLIN};
    struct signalfd_siginfo info;
    int status = 0;

    *ret_killed = 0;
    descendants_kill(s->command,
                     s->group); /* a zombie keeps the number of its process group from being used again */
    for (;;) {
        pid_t pid = waitpid(-1, &status, WNOHANG);

        *ret_killed += pid > 0 && pid != s->command && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
        if (pid < 0 && (!s->group[0] || attempt_group_count(s->group) <= 0))
            return true;
        if (clock_boot_ms() > until)
            return false;
        if (pid > 0)
            continue;
        descendants_kill(0, s->group);
        poll(&p, 1, KILL_AGAIN_MS);
        while (read(s->signals, &info, sizeof(info)) > 0)
            ;
    }
}

static void write_end(struct supervisor *s, const struct attempt_dir_end *end)
{
    for (int i = 0; i < END_TRIES; i++) {
        int r = attempt_dir_write_end(s->folder, end, NULL);

        if (r == 0 || r == ERR_NOT_FOUND) /* the folder is gone: nobody wants to know */
            return;
        poll(NULL, 0, 1000);
    }
}

static void add_text(char *text, size_t size, const char *more)
{
    size_t n = strlen(text);

    snprintf(text + n, size - n, "%s%.300s", n ? "; " : "", more);
}

/* What people and service managers send, and not what a program does to itself. */
static bool is_from_outside(int number)
{
    return number == SIGTERM || number == SIGKILL || number == SIGINT || number == SIGHUP ||
           number == SIGQUIT;
}

static void describe_end(struct supervisor *s, struct attempt_dir_end *ret)
{
    int status = s->end.si_status;
    const char *more = "";

    *ret = (struct attempt_dir_end){.started_ms = s->started_ms, .exit_code = status, .cause = "exit"};
    if (s->end.si_code != CLD_EXITED) {
        ret->exit_code = 128 + status;
        ret->cause = "signal";
        if (s->left)
            more = " after stop_grace";
        else if (!s->stopping && is_from_outside(status))
            more = ", which cronsched did not send";
        snprintf(ret->text, sizeof(ret->text), "signal %d (%s)%s", status, strsignal(status), more);
    }
    if (s->timed_out) {
        ret->cause = "timeout";
        add_text(ret->text, sizeof(ret->text),
                 "its timeout was over, and no server ended it: its supervisor did");
    }
    if (s->by[0])
        add_text(ret->text, sizeof(ret->text), s->by);
    if (s->log_error.code)
        add_text(ret->text, sizeof(ret->text), s->log_error.text);
}

static _Noreturn void quit(struct supervisor *s)
{
    attempt_group_remove(s->group);
    exit(0);
}

static _Noreturn void finish(struct supervisor *s)
{
    const char *when = s->stopping ? " after stop_grace" : "";
    struct attempt_dir_end end;
    char text[96];
    bool cleared;
    int killed;

    describe_end(s, &end);
    cleared = clear_remains(s, &killed);
    end.ended_ms = clock_wall_ms();
    snprintf(text, sizeof(text), "what it left running was killed%s: %d %s", when, killed,
             killed == 1 ? "process" : "processes");
    if (killed > 0 && !s->left)
        add_text(end.text, sizeof(end.text), text);
    if (!cleared)
        add_text(end.text, sizeof(end.text), "some of its processes could not be killed and run on");
    if (s->output >= 0)
        copy_output(s, PIPE_BYTES);
    run_log_file_close(&s->log);
    FAULT_POINT("supervise-ended", s->spec.identity.run);
    write_end(s, &end);
    FAULT_POINT("supervise-end-synced", s->spec.identity.run);
    quit(s);
}

/* ---- the start ---- */

static void refusal(struct supervisor *s, const struct report *r, struct attempt_dir_end *end)
{
    const char *why = strerror(r->code);
    bool missing = r->step == STEP_EXEC && (r->code == ENOENT || r->code == ENOTDIR);

    end->exit_code = missing ? 127 : 126;
    if (r->step == STEP_USER)
        snprintf(end->text, sizeof(end->text), "user: cannot become '%.100s': %s", s->spec.user, why);
    else if (r->step == STEP_FOLDER)
        snprintf(end->text, sizeof(end->text), "working_dir: '%.200s': %s", s->spec.working_dir, why);
    else if (missing)
        supervise_program_explain(&s->spec, s->env, end->text, sizeof(end->text));
    else
        snprintf(end->text, sizeof(end->text), "cannot execute '%.200s': %s", s->spec.argv[0], why);
}

/* Marked, and not executed: the end says so, then the server may know. */
static _Noreturn void refuse(struct supervisor *s, const struct report *r)
{
    struct attempt_dir_end end = {.started_ms = s->started_ms ? s->started_ms : r->at_ms,
                                  .ended_ms = r->at_ms,
                                  .refused = true,
                                  .cause = "engine"};

    if (r->step == STEP_DIED) {
        end.exit_code = 126;
        snprintf(end.text, sizeof(end.text), "its process was killed before it could execute the command");
    } else if (r->step == STEP_MARK) {
        end.exit_code = 126;
        snprintf(end.text, sizeof(end.text), "the start could not be written down: %s", error_text(r->code));
    } else {
        refusal(s, r, &end);
    }
    run_log_file_close(&s->log);
    write_end(s, &end);
    answer_refused(s, end.exit_code, end.text);
    quit(s);
}

/* No report, and no more to come: what is to become the command has not got as far as its exec. It may have
 * got as far as the mark. */
static _Noreturn void leave(struct supervisor *s)
{
    const struct report died = {.step = STEP_DIED, .at_ms = clock_wall_ms()};
    struct attempt_dir_status status;

    if (attempt_dir_read(s->folder, &status, NULL) == 0 && status.state == ATTEMPT_DIR_RUNNING)
        refuse(s, &died);
    quit(s);
}

/* A report from the command's process, or the end of its reports. */
static void on_report(struct supervisor *s)
{
    struct report r;
    ssize_t n = read(s->report, &r, sizeof(r));

    if (n < 0 && errno == EINTR)
        return;
    if (n == sizeof(r) && r.step == STEP_LINKED) {
        s->started_ms = r.at_ms;
        if (s->spec.timeout_ms > 0)
            s->timeout_at_ms = clock_boot_ms() + s->spec.timeout_ms + SUPERVISE_TIMEOUT_LATER_MS;
        open_log(s);
        return;
    }
    if (n == sizeof(r) && r.step == STEP_MARK && (r.code == ERR_CONFLICT || r.code == ERR_NOT_FOUND)) {
        if (r.code == ERR_NOT_FOUND)
            answer(s, "gone");
        quit(s); /* fenced, or gone: not ours any more */
    }
    if (n == sizeof(r))
        refuse(s, &r);
    if (!s->started_ms)
        leave(s);
    close(s->report);
    s->report = -1;
    s->executed = true;
    FAULT_POINT("supervise-executed", s->spec.identity.run);
    answer_started(s);
    close(s->socket);
    s->socket = -1;
}

/* ---- the loop ---- */

static void stop(struct supervisor *s)
{
    s->stopping = true;
    s->kill_at_ms = clock_boot_ms() + s->spec.stop_grace_ms;
    /* Before the exec its signals may still be blocked or its handlers mine; nothing of the user's runs yet.
     */
    if (s->executed)
        descendants_stop(s->command, s->group);
    else
        kill(s->command, SIGKILL);
}

/* A server queues its signal, which kill(1) and service managers do not. */
static void on_asked(struct supervisor *s, const struct signalfd_siginfo *info)
{
    if (s->stopping)
        return;
    if (info->ssi_code != SI_QUEUE)
        snprintf(s->by, sizeof(s->by),
                 "process %" PRIu32 " of user %" PRIu32 " asked its supervisor to end it, not cronsched",
                 info->ssi_pid, info->ssi_uid);
    stop(s);
}

/* Looked at, not taken: the zombie keeps its number while the group is signalled. Not before all reports are read: they
 * say what its death means. After a stop, what descends from it has the rest of the grace: a shell ends at once when its
 * command has just begun to clean up. */
static void on_command_end(struct supervisor *s)
{
    siginfo_t end = {0};

    if (s->report >= 0 || s->end.si_pid > 0 ||
        waitid(P_PID, (id_t)s->command, &end, WEXITED | WNOHANG | WNOWAIT) < 0 || end.si_pid == 0)
        return;
    s->end = end;
    if (!s->stopping || s->left)
        finish(s);
    waitpid(s->command, NULL, 0);
    s->command = 0;
}

/* Orphans that came here. */
static void reap_orphans(struct supervisor *s)
{
    for (;;) {
        siginfo_t other = {0};

        if (waitid(P_ALL, 0, &other, WEXITED | WNOHANG | WNOWAIT) < 0 || other.si_pid == 0 ||
            other.si_pid == s->command)
            return;
        waitpid(other.si_pid, NULL, WNOHANG);
    }
}

/* Without children it has no descendants at all. */
static bool is_alone(void)
{
    siginfo_t other = {0};

    return waitid(P_ALL, 0, &other, WEXITED | WNOHANG | WNOWAIT) < 0 && errno == ECHILD;
}

static void on_signals(struct supervisor *s)
{
    struct signalfd_siginfo info;

    while (read(s->signals, &info, sizeof(info)) == sizeof(info))
        if (info.ssi_signo == SIGTERM)
            on_asked(s, &info);
    on_command_end(s);
    reap_orphans(s);
    if (s->end.si_pid > 0 && is_alone())
        finish(s);
}

/* The time of poll until something is due; -1: nothing is. */
static int act_when_due(struct supervisor *s)
{
    int64_t now = clock_boot_ms(), at;

    if (!s->stopping && s->timeout_at_ms && now >= s->timeout_at_ms) {
        s->timed_out = true;
        stop(s);
    }
    at = s->stopping ? s->kill_at_ms : s->timeout_at_ms;
    if (!at)
        return -1;
    if (now < at)
        return at - now < POLL_MAX_MS ? (int)(at - now) : POLL_MAX_MS;
    if (s->end.si_pid > 0)
        finish(s);
    s->left = true;
    descendants_kill(s->command, s->group);
    return KILL_AGAIN_MS;
}

static _Noreturn void run(struct supervisor *s)
{
    for (;;) {
        struct pollfd p[] = {{.fd = s->report, .events = POLLIN},
                             {.fd = s->output, .events = POLLIN},
                             {.fd = s->signals, .events = POLLIN}};

        if (poll(p, 3, act_when_due(s)) < 0 && errno != EINTR)
            exit(1);
        if (p[0].revents) { /* all reports come first: they say whether a signal finds the command */
            on_report(s);
            continue;
        }
        if (p[1].revents && s->output >= 0)
            copy_output(s, READ_BYTES);
        /* Also without a signal: the command may have died before its reports had been read. */
        on_signals(s);
    }
}

static int open_signals(struct error *error)
{
    sigset_t set;
    int fd;

    signal(SIGHUP, SIG_IGN);
    signal(SIGINT, SIG_IGN);
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_BLOCK, &set, NULL);
    fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return fd < 0 ? error_set(error, ERR_IO, "signalfd: %s", strerror(errno)) : fd;
}

static struct {
    int socket;
    size_t length;
    char text[SUPERVISE_MESSAGE_MAX];
} silence; /* for the handler: what to answer when the user database does not */

static void on_silence(int number)
{
    (void)number;
    send(silence.socket, silence.text, silence.length, MSG_NOSIGNAL);
    _exit(1);
}

/* The user database may be a network away, and its client may wait for ever. */
static int find_user(struct supervisor *s, struct error *error)
{
    char text[SUPERVISE_MESSAGE_MAX];
    int r;

    snprintf(text, sizeof(text), "later user: cannot look up '%.256s': no answer within %d s", s->spec.user,
             USER_LOOKUP_S);
    silence.socket = s->socket;
    silence.length = strlen(text);
    memcpy(silence.text, text, sizeof(text));
    signal(SIGALRM, on_silence);
    alarm(USER_LOOKUP_S);
    r = supervise_user_find(s->spec.user, &s->user, error);
    alarm(0);
    signal(SIGALRM, SIG_DFL);
    return r == ERR_IO ? ERR_BUSY : r;
}

/* ERR_NOT_FOUND, ERR_DENIED, ERR_INVALID: no second try will help. ERR_BUSY: it will, and the engine is well. */
static int prepare(struct supervisor *s, int spec, struct error *error)
{
    char *memory;
    int r;

    if ((r = supervise_spec_read(spec, &s->spec, &memory, error)) < 0)
        return r;
    close(spec);
    if ((r = find_user(s, error)) < 0)
        return r;
    s->env = supervise_user_environment(s->spec.env, &s->user, s->spec.mark, &memory);
    if (!s->env)
        return error_set(error, ERR_NOMEM, "out of memory");
    s->signals = open_signals(error);
    if (s->signals < 0)
        return s->signals;
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    FAULT_POINT("supervise-begin", s->spec.identity.run);
    if ((r = attempt_dir_write_ready(s->folder, &s->spec.identity, error)) < 0)
        return error_set(error, ERR_IO, "cannot write down that the attempt is ready: %s", error_text(r));
    FAULT_POINT("supervise-ready-written", s->spec.identity.run);
    return fork_command(s, error) < 0 ? ERR_IO : 0;
}

void supervise(int socket, int folder, int spec)
{
    struct supervisor s = {
        .socket = socket, .folder = folder, .output = -1, .report = -1, .log = {.fd = -1}, .group = ""};
    struct error error = {0};
    int r;

    prctl(PR_SET_NAME, "cs-supervisor");
    if (chdir("/") < 0)
        _exit(1);
    r = prepare(&s, spec, &error);
    if (r == ERR_NOT_FOUND || r == ERR_DENIED || r == ERR_INVALID)
        answer_refused(&s, 126, error.text);
    else if (r == ERR_BUSY)
        answer_later(&s, error.text);
    else if (r < 0)
        answer_failed(&s, error.text);
    if (r < 0)
        exit(1);
    answer(&s, "ready");
    FAULT_POINT("supervise-ready", s.spec.identity.run);
    run(&s);
}
