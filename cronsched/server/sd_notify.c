#include "cronsched/server/sd_notify.h"

#include "jobs/base/error.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int sd_notify_state(const char *state)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    size_t n;
    ssize_t sent;
    int fd;

    if (!path || (*path != '/' && *path != '@'))
        return 1;
    n = strlen(path);
    if (n >= sizeof(to.sun_path))
        return ERR_INVALID;
    memcpy(to.sun_path, path, n);
    if (*path == '@') /* the abstract namespace */
        to.sun_path[0] = '\0';
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return ERR_IO;
    sent = sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&to,
                  (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n));
    close(fd);
    return sent < 0 ? ERR_IO : 0;
}

int64_t sd_notify_watchdog_ms(void)
{
    const char *pid = getenv("WATCHDOG_PID"), *us = getenv("WATCHDOG_USEC");
    long long value;
    char *end;

    if (!us || (pid && strtol(pid, NULL, 10) != (long)getpid()))
        return 0;
    errno = 0;
    value = strtoll(us, &end, 10);
    if (errno || *end || value <= 0)
        return 0;
    return value / 2000 > 0 ? value / 2000 : 1;
}
