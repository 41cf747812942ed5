/* An exec plug-in, as client-go runs it: a program that prints a credential. It has no terminal, its time and its output are
 * bounded, and all that it leaves behind in its session is killed. A grandchild that holds its output is not waited for.
 *
 * Blocks; a thread of kube_access.c calls it. See kube_access.h.
 */
#include "cronsched/engines/kubernetes/kube_access.h"

#include "cronsched/io/json_text.h"
#include "jobs/base/alloc.h"
#include "jobs/base/clock.h"
#include "jobs/base/text.h"
#include "jobs/time/instant.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define SLICE_MS   50
#define ERRORS_MAX 300 /* of what it says on stderr, for people */
#define INFO_KEY   "KUBERNETES_EXEC_INFO"

extern char **environ;

void kube_credential_release(struct kube_credential *c)
{
    char *const texts[] = {c->token, c->cert, c->key};

    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
        if (texts[i])
            explicit_bzero(texts[i], strlen(texts[i]));
        free(texts[i]);
    }
    *c = (struct kube_credential){0};
}

/* ---- what it printed ---- */

static char *text_of(const json_t *status, const char *key)
{
    const char *text = json_string_value(json_object_get(status, key));

    return text && *text ? alloc_text(text) : NULL;
}

static int read_expiry(const json_t *status, int64_t *ret)
{
    const json_t *expiry = json_object_get(status, "expirationTimestamp");

    *ret = 0;
    if (!expiry || json_is_null(expiry))
        return 0;
    return json_is_string(expiry) ? instant_parse(json_string_value(expiry), ret, NULL) : ERR_INVALID;
}

static int read_status(const json_t *status, struct kube_credential *ret, struct error *error)
{
    if (read_expiry(status, &ret->expires_ms) < 0)
        return error_set(error, ERR_INVALID, "the exec plug-in's expirationTimestamp is no time");
    ret->token = text_of(status, "token");
    ret->cert = text_of(status, "clientCertificateData");
    ret->key = text_of(status, "clientKeyData");
    if (!ret->cert != !ret->key)
        return error_set(error, ERR_INVALID,
                         "the exec plug-in gives a certificate without its key, or a key alone");
    if (!ret->token && !ret->cert)
        return error_set(error, ERR_INVALID, "the exec plug-in gives neither a token nor a certificate");
    return 0;
}

int kube_exec_parse(const char *text, size_t size, const char *api_version, struct kube_credential *ret,
                    struct error *error)
{
    json_t *json = NULL;
    const char *kind, *version;
    int rc;

    *ret = (struct kube_credential){0};
    if (json_text_object(text, size, "output", &json, NULL) < 0)
        return error_set(error, ERR_INVALID, "what the exec plug-in prints is no JSON object");
    kind = json_string_value(json_object_get(json, "kind"));
    version = json_string_value(json_object_get(json, "apiVersion"));
    if (!kind || strcmp(kind, "ExecCredential") != 0)
        rc = error_set(error, ERR_INVALID, "what the exec plug-in prints is no ExecCredential");
    else if (!version || strcmp(version, api_version) != 0)
        rc = error_set(error, ERR_INVALID, "the exec plug-in prints apiVersion %.60s, not %.60s",
                       version ? version : "none", api_version);
    else
        rc = read_status(json_object_get(json, "status"), ret, error);
    json_decref(json);
    if (rc < 0)
        kube_credential_release(ret);
    return rc;
}

/* ---- the child ---- */

struct child {
    pid_t pid;
    int out, err; /* -1: at its end */
    struct text output;
    char errors[ERRORS_MAX];
    size_t error_size;
    bool too_long;
};

static char **arguments(const json_t *exec)
{
    const json_t *list = json_object_get(exec, "args");
    size_t n = json_array_size(list);
    const char *command = json_string_value(json_object_get(exec, "command"));
    char **argv = alloc_zero((n + 2) * sizeof(*argv));

    argv[0] = alloc_text(command ? command : "");
    for (size_t i = 0; i < n; i++)
        argv[i + 1] = alloc_text(json_string_value(json_array_get(list, i)));
    return argv;
}

static void free_list(char **list)
{
    for (size_t i = 0; list[i]; i++) {
        explicit_bzero(list[i], strlen(list[i]));
        free(list[i]);
    }
    free(list);
}

static char *assignment(const char *name, const char *value)
{
    size_t size = strlen(name) + strlen(value) + 2;
    char *made = alloc_zero(size);

    snprintf(made, size, "%s=%s", name, value);
    return made;
}

static bool is_overridden(const char *item, const json_t *own)
{
    char name[256];
    size_t n = strcspn(item, "=");

    if (n >= sizeof(name))
        return false;
    memcpy(name, item, n);
    name[n] = '\0';
    return json_object_get(own, name) || strcmp(name, INFO_KEY) == 0;
}

/* Ours, the kubeconfig's, and what the plug-in is told. */
static char **environment(const json_t *exec, const json_t *cluster_info)
{
    json_t *own = json_object_get(exec, "env"), *value, *info;
    size_t n = 0, count = json_object_size(own) + 2;
    const char *name;
    char **list, *text;

    while (environ[n])
        n++;
    list = alloc_zero((n + count) * sizeof(*list));
    n = 0;
    for (size_t i = 0; environ[i]; i++)
        if (!is_overridden(environ[i], own))
            list[n++] = alloc_text(environ[i]);
    json_object_foreach(own, name, value) list[n++] = assignment(name, json_string_value(value));
    info = json_pack("{s:s, s:O, s:{s:b}}", "kind", "ExecCredential", "apiVersion",
                     json_object_get(exec, "apiVersion"), "spec", "interactive", 0);
    if (cluster_info && json_is_true(json_object_get(exec, "cluster")))
        json_object_set(json_object_get(info, "spec"), "cluster", (json_t *)(uintptr_t)cluster_info);
    text = json_dumps(info, JSON_COMPACT);
    list[n] = assignment(INFO_KEY, text ? text : "{}");
    free(text);
    json_decref(info);
    return list;
}

static int set_up(posix_spawn_file_actions_t *files, posix_spawnattr_t *attr, int out, int err)
{
    sigset_t none, all;
    int r = posix_spawn_file_actions_addopen(files, 0, "/dev/null", O_RDONLY, 0);

    sigemptyset(&none);
    sigfillset(&all);
    r |= posix_spawn_file_actions_adddup2(files, out, 1);
    r |= posix_spawn_file_actions_adddup2(files, err, 2);
    r |= posix_spawn_file_actions_addclosefrom_np(files, 3);
    r |= posix_spawnattr_setflags(attr, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    return r | posix_spawnattr_setsigmask(attr, &none) | posix_spawnattr_setsigdefault(attr, &all);
}

static int spawn(struct child *c, const json_t *exec, const json_t *cluster_info, int out, int err)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attr;
    char **argv = arguments(exec), **envp = environment(exec, cluster_info);
    int r;

    posix_spawn_file_actions_init(&files);
    posix_spawnattr_init(&attr);
    r = set_up(&files, &attr, out, err);
    if (r == 0)
        r = argv[0] ? posix_spawnp(&c->pid, argv[0], &files, &attr, argv, envp) : ENOENT;
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&files);
    free_list(argv);
    free_list(envp);
    return r;
}

static void close_one(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static int begin(struct child *c, const json_t *exec, const json_t *cluster_info)
{
    int out[2] = {-1, -1}, err[2] = {-1, -1}, r = 0;

    if (pipe2(out, O_CLOEXEC | O_NONBLOCK) < 0 || pipe2(err, O_CLOEXEC | O_NONBLOCK) < 0)
        r = errno;
    else if (fcntl(out[1], F_SETFL, 0) < 0 || fcntl(err[1], F_SETFL, 0) < 0)
        r = errno;
    if (r == 0)
        r = spawn(c, exec, cluster_info, out[1], err[1]);
    close_one(&out[1]);
    close_one(&err[1]);
    c->out = out[0];
    c->err = err[0];
    return r;
}

/* All that is there. False: its end. */
static bool drain(struct child *c, int fd, bool is_error)
{
    char buffer[4096];
    ssize_t n;

    while ((n = read(fd, buffer, sizeof(buffer))) > 0 || (n < 0 && errno == EINTR)) {
        size_t room = sizeof(c->errors) - 1 - c->error_size;

        if (n < 0)
            continue;
        if (!is_error)
            c->too_long = c->too_long || text_add_bytes(&c->output, buffer, (size_t)n) < 0;
        else if (room > 0) {
            size_t take = (size_t)n < room ? (size_t)n : room;

            memcpy(c->errors + c->error_size, buffer, take);
            c->error_size += take;
        }
        if (c->too_long)
            return false;
    }
    explicit_bzero(buffer, sizeof(buffer));
    return n < 0 && errno == EAGAIN;
}

static bool has_ended(const struct child *c)
{
    siginfo_t info = {0};

    return waitid(P_PID, (id_t)c->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == c->pid;
}

/* To its end, or to that of its time. */
static bool follow(struct child *c)
{
    int64_t until = clock_mono_ms() + KUBE_EXEC_MS;

    while (!c->too_long) {
        struct pollfd fds[] = {{c->out, POLLIN, 0}, {c->err, POLLIN, 0}};
        bool ended = has_ended(c);

        if (c->out >= 0 && !drain(c, c->out, false))
            close_one(&c->out);
        if (c->err >= 0 && !drain(c, c->err, true))
            close_one(&c->err);
        if (ended || clock_mono_ms() >= until)
            return ended;
        poll(fds, 2, SLICE_MS);
    }
    return false;
}

/* stderr, in one line. */
static const char *said(struct child *c)
{
    for (size_t i = 0; i < c->error_size; i++)
        if ((unsigned char)c->errors[i] < ' ')
            c->errors[i] = ' ';
    while (c->error_size > 0 && c->errors[c->error_size - 1] == ' ')
        c->errors[--c->error_size] = '\0';
    return c->errors;
}

static const char *hint_of(const json_t *exec)
{
    const char *hint = json_string_value(json_object_get(exec, "hint"));

    return hint ? hint : "";
}

static int judge(struct child *c, bool ended, int status, const json_t *exec, struct kube_credential *ret,
                 struct error *error)
{
    const char *command = json_string_value(json_object_get(exec, "command"));
    const char *hint = hint_of(exec);
    int rc;

    if (c->too_long)
        return error_set(error, ERR_LIMIT, "exec plug-in %.100s: it prints more than %d bytes", command,
                         KUBE_EXEC_OUTPUT_MAX);
    if (!ended)
        return error_set(error, ERR_TIMEOUT, "exec plug-in %.100s: no credential within %d s; %s", command,
                         KUBE_EXEC_MS / 1000, said(c));
    if (!WIFEXITED(status))
        return error_set(error, ERR_IO, "exec plug-in %.100s: signal %d; %s", command, WTERMSIG(status),
                         said(c));
    if (WEXITSTATUS(status) != 0)
        return error_set(error, ERR_IO, "exec plug-in %.100s: exit code %d; %s %.200s", command,
                         WEXITSTATUS(status), said(c), hint);
    rc = kube_exec_parse(text_str(&c->output), c->output.len,
                         json_string_value(json_object_get(exec, "apiVersion")), ret, error);
    if (rc < 0 && error)
        error_prefix(error, "exec plug-in %.100s: ", command);
    return rc;
}

int kube_exec_run(const json_t *exec, const json_t *cluster_info, struct kube_credential *ret,
                  struct error *error)
{
    struct child c = {.out = -1, .err = -1};
    bool ended;
    int r, status = 0, rc;

    *ret = (struct kube_credential){0};
    r = begin(&c, exec, cluster_info);
    if (r != 0) {
        close_one(&c.out);
        close_one(&c.err);
        return error_set(error, ERR_IO, "exec plug-in %.100s: %s; %.200s",
                         json_string_value(json_object_get(exec, "command")), strerror(r), hint_of(exec));
    }
    text_init(&c.output, KUBE_EXEC_OUTPUT_MAX);
    ended = follow(&c);
    kill(-c.pid, SIGKILL); /* whatever is left of its session */
    while (waitpid(c.pid, &status, 0) < 0 && errno == EINTR)
        ;
    rc = judge(&c, ended, status, exec, ret, error);
    close_one(&c.out);
    close_one(&c.err);
    if (c.output.data)
        explicit_bzero(c.output.data, c.output.cap);
    text_release(&c.output);
    return rc;
}
