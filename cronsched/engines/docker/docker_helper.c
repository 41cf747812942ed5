/* A credential helper of Docker's: a program docker-credential-NAME that gets the registry on its standard input and answers
 * {"Username": ..., "Secret": ...}. See docker_registry.h. */
#include "cronsched/engines/docker/docker_registry.h"

#include "cronsched/io/json_text.h"
#include "jobs/base/alloc.h"
#include "jobs/base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define ANSWER_MAX (64 * 1024)

extern char **environ;

struct answer {
    char text[ANSWER_MAX + 1];
    size_t size;
    int status; /* as of waitpid */
};

/* Its input is in memory: nothing can block on it. */
static int input_of(const char *host)
{
    const char *server = strcmp(host, "docker.io") == 0 ? "https://index.docker.io/v1/" : host;
    int fd = memfd_create("registry", MFD_CLOEXEC);

    if (fd >= 0 &&
        (write(fd, server, strlen(server)) != (ssize_t)strlen(server) || lseek(fd, 0, SEEK_SET) < 0)) {
        close(fd);
        fd = -1;
    }
    return fd;
}

static int start(const char *program, int input, int output, pid_t *ret)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attr;
    char copy[128], get[] = "get", *argv[] = {copy, get, NULL};
    sigset_t none, pipes;
    int r;

    snprintf(copy, sizeof(copy), "%s", program);
    sigemptyset(&none);
    posix_spawn_file_actions_init(&files);
    posix_spawnattr_init(&attr);
    posix_spawnattr_setsigmask(&attr, &none);
    sigemptyset(&pipes);
    sigaddset(&pipes, SIGPIPE); /* ignored by the server */
    posix_spawnattr_setsigdefault(&attr, &pipes);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
    posix_spawn_file_actions_adddup2(&files, input, 0);
    posix_spawn_file_actions_adddup2(&files, output, 1);
    posix_spawn_file_actions_addopen(&files, 2, "/dev/null", O_WRONLY, 0);
    r = posix_spawnp(ret, program, &files, &attr, argv, environ);
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attr);
    return r;
}

/* Up to its end, or the deadline; false: it is late, and so is whatever it started. */
static bool read_answer(int output, int64_t until_ms, struct answer *a)
{
    struct pollfd p = {.fd = output, .events = POLLIN};
    ssize_t n;

    for (;;) {
        int64_t left = until_ms - clock_boot_ms();

        if (left <= 0 || a->size == ANSWER_MAX)
            return false;
        if (poll(&p, 1, (int)left) <= 0)
            continue;
        n = read(output, a->text + a->size, ANSWER_MAX - a->size);
        if (n <= 0 && !(n < 0 && errno == EINTR))
            break;
        a->size += n > 0 ? (size_t)n : 0;
    }
    a->text[a->size] = '\0';
    return true;
}

static bool has_ended(pid_t pid, int64_t until_ms, int *ret_status)
{
    while (waitpid(pid, ret_status, WNOHANG) == 0) {
        if (clock_boot_ms() >= until_ms)
            return false;
        poll(NULL, 0, 5);
    }
    return true;
}

static int run(const char *program, const char *host, struct answer *a, struct error *error)
{
    int64_t until_ms = clock_boot_ms() + DOCKER_REGISTRY_HELPER_MS;
    int output[2], input = input_of(host), r;
    pid_t pid;

    if (input < 0 || pipe2(output, O_CLOEXEC) < 0) {
        if (input >= 0)
            close(input);
        return error_set(error, ERR_BUSY, "%s cannot be started: %s", program, strerror(errno));
    }
    r = start(program, input, output[1], &pid);
    close(input);
    close(output[1]);
    if (r != 0) {
        close(output[0]);
        return error_set(error, r == ENOENT ? ERR_NOT_FOUND : ERR_IO, "%s cannot be started: %s", program,
                         strerror(r));
    }
    if (!read_answer(output[0], until_ms, a) || !has_ended(pid, until_ms, &a->status)) {
        kill(-pid, SIGKILL);
        waitpid(pid, NULL, 0);
        r = error_set(error, ERR_TIMEOUT, "%s does not answer within %d s", program,
                      DOCKER_REGISTRY_HELPER_MS / 1000);
    }
    close(output[0]);
    return r;
}

static int read_credentials(const char *program, const struct answer *a, struct docker_credentials *ret,
                            struct error *error)
{
    const char *user, *secret;
    json_t *json;

    if (!WIFEXITED(a->status) || WEXITSTATUS(a->status) != 0) {
        if (strstr(a->text, "credentials not found")) /* its word for: none */
            return 0;
        return error_set(error, ERR_IO, "%s fails: %.100s", program, a->text);
    }
    if (json_text_object(a->text, a->size, "answer", &json, NULL) < 0)
        return error_set(error, ERR_IO, "the answer of %s is not a JSON object", program);
    user = json_string_value(json_object_get(json, "Username"));
    secret = json_string_value(json_object_get(json, "Secret"));
    if (user && secret && strcmp(user, "<token>") == 0) {
        ret->token = alloc_text(secret);
    } else if (user && secret) {
        ret->user = alloc_text(user);
        ret->password = alloc_text(secret);
    }
    json_decref(json);
    return docker_credentials_are_none(ret)
               ? error_set(error, ERR_IO, "the answer of %s has no Username and Secret", program)
               : 0;
}

int docker_registry_ask(const char *helper, const char *host, struct docker_credentials *ret,
                        struct error *error)
{
    char program[DOCKER_REGISTRY_HELPER_MAX + 32];
    struct answer *a = alloc_zero(sizeof(*a));
    int r;

    *ret = (struct docker_credentials){0};
    snprintf(program, sizeof(program), "docker-credential-%s", helper);
    r = run(program, host, a, error);
    if (r == 0)
        r = read_credentials(program, a, ret, error);
    explicit_bzero(a, sizeof(*a));
    free(a);
    return r;
}
