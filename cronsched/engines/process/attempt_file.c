#include "cronsched/engines/process/attempt_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int attempt_file_fail(struct error *error, const char *what, int err)
{
    static const struct {
        int err, code;
    } codes[] = {{ENOENT, ERR_NOT_FOUND}, {EEXIST, ERR_CONFLICT}, {ENOSPC, ERR_FULL},
                 {EDQUOT, ERR_FULL},      {EACCES, ERR_DENIED},   {EPERM, ERR_DENIED}};
    int code = ERR_IO;

    for (size_t i = 0; i < sizeof(codes) / sizeof(*codes); i++)
        if (codes[i].err == err)
            code = codes[i].code;
    return error_set(error, code, "%s: %s", what, strerror(err));
}

int attempt_file_write_bytes(int fd, const char *bytes, size_t n)
{
    while (n > 0) {
        ssize_t w = write(fd, bytes, n);

        if (w < 0 && errno == EINTR)
            continue;
        if (w < 0)
            return -errno;
        bytes += w;
        n -= (size_t)w;
    }
    return 0;
}

int attempt_file_write_json(int folder, const char *file, json_t *json, bool sync, struct error *error)
{
    char *text = json ? json_dumps(json, JSON_COMPACT | JSON_ENSURE_ASCII) : NULL;
    int fd, r;

    json_decref(json);
    if (!text)
        return error_set(error, ERR_NOMEM, "%s: out of memory", file);
    fd = openat(folder, file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    r = fd < 0 ? -errno : attempt_file_write_bytes(fd, text, strlen(text));
    if (r == 0 && sync && fsync(fd) < 0)
        r = -errno;
    if (fd >= 0)
        close(fd);
    free(text);
    return r < 0 ? attempt_file_fail(error, file, -r) : 0;
}

json_t *attempt_file_read_json(int folder, const char *file)
{
    char text[ATTEMPT_FILE_MAX];
    int fd = openat(folder, file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    size_t n = 0;
    ssize_t r;

    if (fd < 0)
        return NULL;
    while (n < sizeof(text) && (r = read(fd, text + n, sizeof(text) - n)) > 0)
        n += (size_t)r;
    close(fd);
    return json_loadb(text, n, JSON_REJECT_DUPLICATES, NULL);
}

void attempt_file_copy_text(const json_t *json, const char *key, char *ret, size_t size)
{
    const char *s = json_string_value(json_object_get(json, key));

    snprintf(ret, size, "%s", s ? s : "");
}
