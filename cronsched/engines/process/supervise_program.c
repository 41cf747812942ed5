#include "cronsched/engines/process/supervise_program.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PATH_BYTES  4096
#define FIRST_BYTES 256 /* of a script, as the kernel reads them */

static const char *path_of(char **env)
{
    for (; *env; env++)
        if (strncmp(*env, "PATH=", 5) == 0)
            return *env + 5;
    return "";
}

static bool exists(const char *folder, size_t size, const char *name, char ret[PATH_BYTES])
{
    int n = snprintf(ret, PATH_BYTES, "%.*s/%s", (int)size, folder, name);

    return n > 0 && n < PATH_BYTES && access(ret, F_OK) == 0;
}

/* Where execvp looks. */
static bool find(const struct supervise_spec *spec, char **env, char ret[PATH_BYTES])
{
    const char *name = spec->argv[0], *path = path_of(env);

    if (*name == '/')
        return exists("", 0, name + 1, ret);
    if (strchr(name, '/'))
        return exists(spec->working_dir, strlen(spec->working_dir), name, ret);
    while (*path) {
        size_t n = strcspn(path, ":");

        if (exists(path, n, name, ret))
            return true;
        path += n + (path[n] == ':');
    }
    return false;
}

/* The interpreter in its first line, with a carriage return at its end if there is one; "": no script. */
static void read_interpreter(const char *path, char ret[FIRST_BYTES])
{
    char text[FIRST_BYTES];
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    const char *begin;

    ret[0] = '\0';
    if (fd >= 0)
        close(fd);
    if (n < 3 || text[0] != '#' || text[1] != '!')
        return;
    text[n] = '\0';
    begin = text + 2 + strspn(text + 2, " \t");
    snprintf(ret, FIRST_BYTES, "%.*s", (int)strcspn(begin, " \t\n"), begin);
}

void supervise_program_explain(const struct supervise_spec *spec, char **env, char *ret, size_t size)
{
    const char *name = spec->argv[0];
    char path[PATH_BYTES], interpreter[FIRST_BYTES], *end;

    if (!find(spec, env, path)) {
        snprintf(ret, size, "no such command: '%.200s'%s", name, strchr(name, '/') ? "" : " is not in PATH");
        return;
    }
    read_interpreter(path, interpreter);
    end = interpreter + strlen(interpreter) - (interpreter[0] != '\0');
    if (*end == '\r') {
        *end = '\0';
        snprintf(
            ret, size,
            "cannot execute '%.200s': its first line ends with a carriage return, so there is no interpreter "
            "'%.100s\\r': give the file Unix line ends",
            path, interpreter);
    } else if (interpreter[0]) {
        snprintf(ret, size, "cannot execute '%.200s': its interpreter is missing: '%.100s'", path,
                 interpreter);
    } else {
        snprintf(ret, size, "cannot execute '%.200s': its interpreter is missing", path);
    }
}
