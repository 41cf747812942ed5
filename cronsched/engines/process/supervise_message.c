/* The spec in its memory file: "KEY\0VALUE\0" pairs, lists by repeating their key. Bytes, not JSON: arguments
 * and variables need not be UTF-8. */
#include "cronsched/engines/process/supervise.h"

#include "jobs/base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static void put(struct text *t, const char *key, const char *value)
{
    text_add_bytes(t, key, strlen(key) + 1);
    text_add_bytes(t, value, strlen(value) + 1);
}

static void put_int(struct text *t, const char *key, int64_t value)
{
    char digits[32];

    snprintf(digits, sizeof(digits), "%" PRId64, value);
    put(t, key, digits);
}

static int to_memory_file(const char *bytes, size_t n)
{
    int fd = memfd_create("attempt", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd < 0)
        return -errno;
    for (size_t done = 0; done < n;) {
        ssize_t w = write(fd, bytes + done, n - done);

        if (w < 0 && errno != EINTR) {
            int err = errno;

            close(fd);
            return -err;
        }
        done += w > 0 ? (size_t)w : 0;
    }
    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE);
    return fd;
}

int supervise_spec_write(const struct supervise_spec *spec, int *ret_fd, struct error *error)
{
    struct text t;
    int fd, failed;

    text_init(&t, SUPERVISE_SPEC_BYTES);
    put(&t, "cluster", spec->identity.cluster);
    put(&t, "run", spec->identity.run);
    put_int(&t, "attempt", spec->identity.attempt);
    put_int(&t, "try", spec->identity.try);
    put_int(&t, "epoch", spec->identity.epoch);
    put(&t, "user", spec->user);
    put(&t, "working_dir", spec->working_dir);
    put(&t, "log", spec->log_path);
    put(&t, "group", spec->group);
    put(&t, "mark", spec->mark);
    put_int(&t, "log_cap", spec->log_cap_bytes);
    put_int(&t, "stop_grace", spec->stop_grace_ms);
    put_int(&t, "timeout", spec->timeout_ms);
    for (char **s = spec->argv; *s; s++)
        put(&t, "arg", *s);
    for (char **s = spec->env; *s; s++)
        put(&t, "env", *s);
    failed = t.failed;
    fd = failed ? -1 : to_memory_file(t.data, t.len);
    if (t.data)
        explicit_bzero(t.data, t.len);
    text_release(&t);
    if (failed == ERR_LIMIT)
        return error_set(error, ERR_LIMIT, "command and environment together are larger than %d bytes",
                         SUPERVISE_SPEC_BYTES);
    if (failed)
        return error_set(error, failed, "out of memory");
    if (fd < 0)
        return error_set(error, ERR_IO, "memfd_create: %s", strerror(-fd));
    *ret_fd = fd;
    return 0;
}

/* Counted first, so that each list is allocated once. */
static int lists_new(struct supervise_spec *s, const char *memory, size_t size)
{
    size_t args = 0, vars = 0;

    for (const char *p = memory; p < memory + size; p += strlen(p) + 1) {
        args += strcmp(p, "arg") == 0;
        vars += strcmp(p, "env") == 0;
        p += strlen(p) + 1;
    }
    s->argv = calloc(args + 1, sizeof(*s->argv));
    s->env = calloc(vars + 1, sizeof(*s->env));
    return s->argv && s->env ? 0 : ERR_NOMEM;
}

static void fill(struct supervise_spec *s, char *memory, size_t size)
{
    const struct {
        const char *key;
        const char **at;
    } texts[] = {{"user", &s->user},
                 {"working_dir", &s->working_dir},
                 {"log", &s->log_path},
                 {"group", &s->group},
                 {"mark", &s->mark}};
    size_t args = 0, vars = 0;

    for (char *key = memory, *value; key < memory + size; key = value + strlen(value) + 1) {
        value = key + strlen(key) + 1;
        for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
            if (strcmp(key, texts[i].key) == 0)
                *texts[i].at = value;
        if (strcmp(key, "arg") == 0)
            s->argv[args++] = value;
        else if (strcmp(key, "env") == 0)
            s->env[vars++] = value;
        else if (strcmp(key, "cluster") == 0)
            snprintf(s->identity.cluster, sizeof(s->identity.cluster), "%s", value);
        else if (strcmp(key, "run") == 0)
            snprintf(s->identity.run, sizeof(s->identity.run), "%s", value);
        else if (strcmp(key, "attempt") == 0)
            s->identity.attempt = (int)strtol(value, NULL, 10);
        else if (strcmp(key, "try") == 0)
            s->identity.try = (int)strtol(value, NULL, 10);
        else if (strcmp(key, "epoch") == 0)
            s->identity.epoch = strtoll(value, NULL, 10);
        else if (strcmp(key, "log_cap") == 0)
            s->log_cap_bytes = strtoll(value, NULL, 10);
        else if (strcmp(key, "stop_grace") == 0)
            s->stop_grace_ms = strtoll(value, NULL, 10);
        else if (strcmp(key, "timeout") == 0)
            s->timeout_ms = strtoll(value, NULL, 10);
    }
}

/* An even number of texts, each ended. */
static bool well_formed(const char *memory, size_t size)
{
    size_t ends = 0;

    for (size_t i = 0; i < size; i++)
        ends += memory[i] == '\0';
    return size > 0 && memory[size - 1] == '\0' && ends % 2 == 0;
}

int supervise_spec_read(int fd, struct supervise_spec *ret, char **ret_memory, struct error *error)
{
    struct supervise_spec s = {.user = "", .working_dir = "", .log_path = "", .group = "", .mark = ""};
    struct stat st;
    char *memory;
    size_t n = 0;
    ssize_t r = 0;

    if (fstat(fd, &st) < 0 || st.st_size <= 0 || st.st_size > SUPERVISE_SPEC_BYTES)
        return error_set(error, ERR_CORRUPT, "what to supervise cannot be read");
    memory = malloc((size_t)st.st_size);
    if (!memory)
        return error_set(error, ERR_NOMEM, "out of memory");
    while (n < (size_t)st.st_size && (r = pread(fd, memory + n, (size_t)st.st_size - n, (off_t)n)) > 0)
        n += (size_t)r;
    if (r < 0 || !well_formed(memory, n)) {
        free(memory);
        return error_set(error, ERR_CORRUPT, "the message to the supervisor is invalid");
    }
    if (lists_new(&s, memory, n) < 0) {
        supervise_spec_release(&s, memory);
        return error_set(error, ERR_NOMEM, "out of memory");
    }
    fill(&s, memory, n);
    *ret = s;
    *ret_memory = memory;
    return 0;
}

void supervise_spec_release(struct supervise_spec *spec, char *memory)
{
    free(spec->argv);
    free(spec->env);
    free(memory);
}
