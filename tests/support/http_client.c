#include "tests/support/http_client.h"

#include "tests/support/patience.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <strings.h>

void reply_release(struct reply *r)
{
    free(r->raw);
    free(r->body);
    *r = (struct reply){0};
}

void turn(uv_loop_t *loop, int fd, short events)
{
    struct pollfd p[2] = {{uv_backend_fd(loop), POLLIN, 0}, {fd, events, 0}};
    int wait = uv_backend_timeout(loop);

    if (!uv_loop_alive(loop))
        wait = 100;
    poll(p, fd >= 0 ? 2 : 1, wait < 0 || wait > 100 ? 100 : wait);
    uv_run(loop, UV_RUN_NOWAIT);
}

uint64_t client_deadline(void)
{
    return uv_hrtime() / 1000000 + (uint64_t)patience_ms(PATIENCE_MS);
}

bool client_late(uint64_t deadline)
{
    return uv_hrtime() / 1000000 > deadline;
}

struct sockaddr_un client_unix(const char *path)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};

    assert(strlen(path) < sizeof(a.sun_path));
    memcpy(a.sun_path, path, strlen(path) + 1);
    return a;
}

int client_connect(const char *address)
{
    int fd;

    if (strncmp(address, "unix:", 5) == 0) {
        struct sockaddr_un a = client_unix(address + 5);

        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0) {
            close(fd);
            return -1;
        }
    } else {
        struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

        a.sin_port = htons((uint16_t)strtol(strrchr(address, ':') + 1, NULL, 10));
        fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0) {
            close(fd);
            return -1;
        }
    }
    return fd;
}

bool client_send(uv_loop_t *loop, int fd, const char *bytes, size_t n)
{
    uint64_t deadline = client_deadline();

    while (n > 0 && !client_late(deadline)) {
        ssize_t w = send(fd, bytes, n, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (w < 0 && errno != EAGAIN)
            return false;
        if (w > 0) {
            bytes += w;
            n -= (size_t)w;
        }
        turn(loop, fd, POLLOUT);
    }
    return n == 0;
}

char *client_header(const struct reply *r, const char *name, char *buffer, size_t size)
{
    size_t n = strlen(name);

    for (const char *p = r->headers; p && *p; p = strchr(p, '\n'), p = p ? p + 1 : NULL)
        if (strncasecmp(p, name, n) == 0 && p[n] == ':') {
            p += n + 1 + strspn(p + n + 1, " ");
            snprintf(buffer, size, "%.*s", (int)strcspn(p, "\r\n"), p);
            return buffer;
        }
    return NULL;
}

static char *unchunk(const char *p, bool *ret_complete)
{
    char *body = calloc(1, strlen(p) + 1), *to = body;

    *ret_complete = false;
    for (;;) {
        char *end;
        unsigned long n = strtoul(p, &end, 16);

        if (end == p || strncmp(end, "\r\n", 2) != 0)
            return body;
        p = end + 2;
        if (n == 0) {
            *ret_complete = true;
            return body;
        }
        if (strlen(p) < n + 2)
            return body;
        memcpy(to, p, n);
        to += n;
        p += n + 2;
    }
}

bool reply_parse(struct reply *r, bool no_body)
{
    char *end = r->raw ? strstr(r->raw, "\r\n\r\n") : NULL, value[64];
    bool complete = true;

    if (!end)
        return false;
    sscanf(r->raw, "HTTP/1.%*d %d", &r->status);
    r->headers = strchr(r->raw, '\n') + 1;
    free(r->body);
    r->body = NULL;
    if (r->status == 100) { /* the real one follows */
        memmove(r->raw, end + 4, strlen(end + 4) + 1);
        r->status = 0;
        return reply_parse(r, no_body);
    }
    if (client_header(r, "Transfer-Encoding", value, sizeof(value))) {
        r->body = unchunk(end + 4, &complete);
        return complete || r->closed;
    }
    r->body = strdup(end + 4);
    if (no_body)
        return true;
    if (!client_header(r, "Content-Length", value, sizeof(value)))
        return r->closed;
    return strlen(r->body) >= strtoul(value, NULL, 10) || r->closed;
}

void receive_more(uv_loop_t *loop, int fd, struct reply *r)
{
    char buffer[65536];
    ssize_t n;

    turn(loop, fd, POLLIN);
    n = recv(fd, buffer, sizeof(buffer), MSG_DONTWAIT);
    if (n == 0 || (n < 0 && errno != EAGAIN))
        r->closed = true;
    if (n > 0) {
        size_t have = r->raw ? strlen(r->raw) : 0;

        r->raw = realloc(r->raw, have + (size_t)n + 1);
        memcpy(r->raw + have, buffer, (size_t)n);
        r->raw[have + (size_t)n] = '\0';
    }
}

struct reply client_receive(uv_loop_t *loop, int fd, bool head)
{
    uint64_t deadline = client_deadline();
    struct reply r = {0};

    while (!client_late(deadline) && !reply_parse(&r, head) && !r.closed)
        receive_more(loop, fd, &r);
    if (r.closed)
        reply_parse(&r, head);
    return r;
}

bool client_expect(uv_loop_t *loop, int fd, struct reply *r, const char *text)
{
    uint64_t deadline = client_deadline();

    for (;;) {
        reply_parse(r, false);
        if (r->body && strstr(r->body, text))
            return true;
        if (r->closed || client_late(deadline))
            return false;
        receive_more(loop, fd, r);
    }
}

bool client_closed(uv_loop_t *loop, int fd)
{
    uint64_t deadline = client_deadline();
    struct reply r = {0};

    while (!client_late(deadline) && !r.closed)
        receive_more(loop, fd, &r);
    free(r.raw);
    return r.closed;
}

struct reply client_exchange_bytes(uv_loop_t *loop, const char *address, const char *bytes, size_t n)
{
    int fd = client_connect(address);
    struct reply r = {0};

    if (fd < 0)
        return r;
    client_send(loop, fd, bytes, n);
    r = client_receive(loop, fd, strncmp(bytes, "HEAD ", 5) == 0);
    close(fd);
    return r;
}

struct reply client_exchange(uv_loop_t *loop, const char *address, const char *request)
{
    return client_exchange_bytes(loop, address, request, strlen(request));
}

struct reply client_ask(uv_loop_t *loop, const char *address, const char *line, const char *more,
                        const char *body)
{
    char *request = NULL;
    struct reply r;
    int n;

    if (body)
        n = asprintf(&request,
                     "%s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n%sContent-Length: "
                     "%zu\r\n\r\n%s",
                     line, more, strlen(body), body);
    else
        n = asprintf(&request, "%s HTTP/1.1\r\nHost: localhost\r\n%s\r\n", line, more);
    assert(n > 0);
    r = client_exchange_bytes(loop, address, request, (size_t)n);
    free(request);
    return r;
}
