/* The boot identity of the engine's host. The API does not tell it, and a start witness may be lost only with
 * the host: so every sign that would have changed with a restart of the host is worth having.
 *
 *   kernel=ID       the kernel's boot id, of /proc. Only when the endpoint is a unix socket whose listener, by
 *                   SO_PEERCRED, is a process that we see and that is called like an engine, or like the init
 *                   that listens for it: a socket forwarded from elsewhere (ssh, socat, a proxy) does not
 *                   count.
 *   engine=ID.NET   the engine's id, and the id of its default network `bridge`, which the engine makes again at
 *                   each start of its own unless containers live on through it (live-restore), which they do
 *                   not through a restart of the host. So an equal id means that the host has not restarted;
 *                   another means nothing.
 *
 * Neither: then the fence relies on the engine's memory of events alone, and says UNKNOWN where that has a
 * hole.
 */
#include "cronsched/engines/docker/docker_core.h"

#include "jobs/base/clock.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static bool read_line(const char *path, char *ret, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, ret, size - 1);

    if (fd >= 0)
        close(fd);
    if (n <= 0)
        return false;
    ret[n] = '\0';
    ret[strcspn(ret, "\n")] = '\0';
    return true;
}

/* The process that listens there, and its name; 0: it is not seen from here. Of /proc, so neither blocks. */
static pid_t listener_of(const char *unix_socket, char *name, size_t size)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct ucred peer = {0};

    socklen_t len = sizeof(peer);
    char path[64];
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool known;
    if (fd < 0)
        return 0;
    memcpy(address.sun_path, unix_socket, strlen(unix_socket) + 1); /* its length was checked at the begin */
    known = connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0 &&
            getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 && peer.pid > 0;
    close(fd);
    snprintf(path, sizeof(path), "/proc/%d/comm", (int)peer.pid);
    return known && read_line(path, name, size) ? peer.pid : 0;
}

static bool is_engine(const char *name)
{
    static const char *const engines[] = {"dockerd", "podman", "systemd", "init"};

    for (size_t i = 0; i < sizeof(engines) / sizeof(*engines); i++)
        if (strcmp(name, engines[i]) == 0)
            return true;
    return false;
}

static bool listener_is_local(const char *unix_socket)
{
    char name[32] = "";

    return listener_of(unix_socket, name, sizeof(name)) != 0 && is_engine(name);
}

/* Field 22 of /proc/PID/stat, in ticks since the boot; the name before it may hold anything, also ") ". */
static bool start_ticks(pid_t pid, unsigned long long *ret)
{
    char path[64], line[1024];
    const char *rest;

    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    rest = read_line(path, line, sizeof(line)) ? strrchr(line, ')') : NULL;
    return rest &&
           sscanf(rest, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu",
                  ret) == 1;
}

void docker_starts_read(const struct docker *d, int64_t *ret_process_ms, int64_t *ret_host_ms)
{
    char name[32] = "";
    pid_t pid = d->endpoint.unix_socket ? listener_of(d->endpoint.unix_socket, name, sizeof(name)) : 0;
    int64_t host_ms = clock_wall_ms() - clock_boot_ms();
    long tick_hz = sysconf(_SC_CLK_TCK);
    unsigned long long ticks;

    *ret_process_ms = *ret_host_ms = 0;
    if (pid == 0 || !is_engine(name))
        return;
    *ret_host_ms = host_ms;
    if (strcmp(name, "dockerd") == 0 && tick_hz > 0 && start_ticks(pid, &ticks))
        *ret_process_ms = host_ms + (int64_t)(ticks * 1000 / (unsigned long long)tick_hz);
}

static void add_kernel(const struct docker *d, char *boot_id, size_t size)
{
    char id[64];

    if (d->endpoint.unix_socket && listener_is_local(d->endpoint.unix_socket) &&
        read_line("/proc/sys/kernel/random/boot_id", id, sizeof(id)))
        snprintf(boot_id, size, "kernel=%s", id);
}

static void on_bridge(struct docker_task *task, const struct docker_reply *reply)
{
    struct docker *d = task->docker;
    const char *id = json_string_value(json_object_get(reply->json, "Id"));
    char boot_id[DOCKER_BOOT_ID_MAX] = "";

    add_kernel(d, boot_id, sizeof(boot_id));
    if (!docker_lost(reply) && reply->status == 200 && id && d->daemon_id[0]) {
        size_t n = strlen(boot_id);

        snprintf(boot_id + n, sizeof(boot_id) - n, "%sengine=%.64s.%.64s", n ? " " : "", d->daemon_id, id);
    }
    if (d->events) /* known for as long as this stream lives */
        snprintf(d->boot_id, sizeof(d->boot_id), "%s", boot_id);
    task->boot_id_done(task, boot_id[0] ? boot_id : NULL);
}

void docker_boot_id_read(struct docker_task *task,
                         void (*done)(struct docker_task *task, const char *boot_id))
{
    task->boot_id_done = done;
    docker_send(task, &(struct docker_call){.method = "GET", .path = "/networks/bridge"}, on_bridge);
}
