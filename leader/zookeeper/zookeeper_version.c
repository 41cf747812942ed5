/* See zookeeper_version.h. */
#include "leader/zookeeper/zookeeper_version.h"

#include "jobs/base/clock.h"

#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ANSWER_BYTES_MAX 4096
#define DEFAULT_PORT     "2181"

/* ---- reading ---- */

bool zookeeper_version_read(const char *answer, char *ret, size_t size)
{
    static const char head[] = "Zookeeper version: ";
    const char *at = strstr(answer, head);
    size_t n;

    assert(size > 0);
    if (!at)
        return false;
    at += sizeof(head) - 1;
    n = strspn(at, "0123456789.");
    if (n == 0 || n >= size)
        return false;
    snprintf(ret, size, "%.*s", (int)n, at);
    return true;
}

bool zookeeper_version_loses(const char *version)
{
    int major = 0, minor = 0, patch = 0;

    if (sscanf(version, "%d.%d.%d", &major, &minor, &patch) < 2)
        return false;
    if (major != 3)
        return major < 3;
    return minor < 8 || (minor == 8 && patch < 5) || (minor == 9 && patch < 2);
}

/* ---- asking ---- */

static int left_ms(int64_t until_ms)
{
    int64_t left = until_ms - clock_mono_ms();

    return left > 0 ? (int)left : 0;
}

static bool wait_for(int fd, short events, int64_t until_ms)
{
    struct pollfd p = {.fd = fd, .events = events};

    assert(fd >= 0);
    return poll(&p, 1, left_ms(until_ms)) == 1;
}

static int connect_within(const struct addrinfo *to, int64_t until_ms)
{
    int fd = socket(to->ai_family, to->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, to->ai_protocol),
        error = 0;
    socklen_t size = sizeof(error);

    if (fd < 0)
        return -errno;
    if (connect(fd, to->ai_addr, to->ai_addrlen) == 0)
        return fd;
    error = errno;
    if (error == EINPROGRESS) {
        error = ETIMEDOUT;
        if (wait_for(fd, POLLOUT, until_ms) && getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 &&
            error == 0)
            return fd;
    }
    close(fd);
    assert(error > 0);
    return -error;
}

/* The server answers and closes. */
static size_t talk(int fd, char answer[ANSWER_BYTES_MAX], int64_t until_ms)
{
    size_t n = 0;

    if (send(fd, "srvr", 4, MSG_NOSIGNAL) != 4)
        return 0;
    while (n + 1 < ANSWER_BYTES_MAX && wait_for(fd, POLLIN, until_ms)) {
        ssize_t got = recv(fd, answer + n, ANSWER_BYTES_MAX - 1 - n, 0);

        if (got <= 0)
            break;
        n += (size_t)got;
    }
    assert(n < ANSWER_BYTES_MAX);
    answer[n] = '\0';
    return n;
}

static void ask(const char *host, const char *port, struct zookeeper_version_answer *ret)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    char answer[ANSWER_BYTES_MAX] = "";
    int64_t until_ms = clock_mono_ms() + ZOOKEEPER_VERSION_ASK_MS;
    int fd, rc = getaddrinfo(host, port, &hints, &found);

    assert(!ret->version[0] && !ret->problem[0]);
    if (rc != 0) {
        snprintf(ret->problem, sizeof(ret->problem), "%s", gai_strerror(rc));
        return;
    }
    fd = connect_within(found, until_ms);
    freeaddrinfo(found);
    if (fd < 0) {
        snprintf(ret->problem, sizeof(ret->problem), "%s", strerror(-fd));
        return;
    }
    if (talk(fd, answer, until_ms) == 0)
        snprintf(ret->problem, sizeof(ret->problem), "no answer to srvr");
    else if (!zookeeper_version_read(answer, ret->version, sizeof(ret->version)))
        snprintf(ret->problem, sizeof(ret->problem), "it says: %.*s", (int)strcspn(answer, "\r\n"), answer);
    close(fd);
}

/* "HOST:PORT", "[V6]:PORT" or "HOST". */
static void split(const char *server, char host[128], char port[8])
{
    const char *colon = strrchr(server, ':');

    if (colon && (strchr(server, ':') == colon || colon[-1] == ']')) {
        snprintf(host, 128, "%.*s", (int)(colon - server), server);
        snprintf(port, 8, "%.7s", colon + 1);
    } else {
        snprintf(host, 128, "%s", server);
        snprintf(port, 8, "%s", DEFAULT_PORT);
    }
    if (host[0] == '[') {
        memmove(host, host + 1, strlen(host));
        host[strcspn(host, "]")] = '\0';
    }
}

size_t zookeeper_version_ask(const char *list,
                             struct zookeeper_version_answer ret[ZOOKEEPER_VERSION_SERVERS_MAX])
{
    size_t count = 0, length = strcspn(list, "/");
    const char *at = list, *end = list + length;

    while (at < end && count < ZOOKEEPER_VERSION_SERVERS_MAX) {
        size_t n = strcspn(at, ",/");
        struct zookeeper_version_answer *a = &ret[count];
        char host[128], port[8];

        if (n > 0 && n < sizeof(a->server)) {
            *a = (struct zookeeper_version_answer){0};
            snprintf(a->server, sizeof(a->server), "%.*s", (int)n, at);
            split(a->server, host, port);
            ask(host, port, a);
            count++;
        }
        at += n + 1;
    }
    assert(count <= ZOOKEEPER_VERSION_SERVERS_MAX);
    return count;
}
