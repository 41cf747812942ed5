/* Bytes on a connection to the API, over the real HTTP server and all of its routes; behind them are the made-up
 * scheduler and history of tests/support/api_fixture.h. Whatever comes: the server stays up, what it answers is HTTP, and
 * what it refuses says why in JSON.
 */
#include "tests/fuzz/fuzz.h"
#include "tests/support/api_fixture.h"

#include <stdint.h>

#define IDLE_TURNS 4 /* of WAIT_MS: a connection that waits for more, or for something to follow, is left */
#define WAIT_MS    2

static void clean_up(void)
{
    CHECK(tear_down(NULL) == 0);
}

static void begin(void)
{
    CHECK(set_up_api(NULL) == 0);
    atexit(clean_up);
}

/* True while something happens. */
static bool turn_once(int fd, struct reply *r)
{
    struct pollfd p[2] = {{uv_backend_fd(&loop), POLLIN, 0}, {fd, POLLIN, 0}};
    char buffer[65536];
    ssize_t n;
    bool any = poll(p, 2, WAIT_MS) > 0;

    uv_run(&loop, UV_RUN_NOWAIT);
    answer_history();
    n = recv(fd, buffer, sizeof(buffer), MSG_DONTWAIT);
    if (n == 0 || (n < 0 && errno != EAGAIN))
        r->closed = true;
    if (n > 0 && !r->raw) { /* the first of it: the head, and an error's whole body */
        r->raw = strndup(buffer, (size_t)n);
        CHECK(r->raw);
    }
    return any;
}

static void check_reply(struct reply *r)
{
    json_t *body;

    if (!r->raw)
        return; /* cut off: it was no HTTP at all, or it waits */
    CHECK(strncmp(r->raw, "HTTP/1.", 7) == 0);
    if (!reply_parse(r, false) || r->status < 400 || !r->body || !r->body[0])
        return;
    body = json_loads(r->body, 0, NULL);
    if (body) /* else it is the HTTP library's own word, on a request that never reached the API */
        CHECK(json_string_length(json_object_get(json_object_get(body, "error"), "text")) > 0 ||
              json_array_size(json_object_get(body, "reasons")) > 0); /* of /readyz */
    json_decref(body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct reply r = {0};
    int fd, idle = 0;

    if (!api)
        begin();
    fake.leading = size % 8 != 0;
    fd = client_connect(address);
    CHECK(fd >= 0);
    if (client_send(&loop, fd, (const char *)data, size))
        shutdown(fd, SHUT_WR);
    while (!r.closed && idle < IDLE_TURNS)
        idle = turn_once(fd, &r) ? 0 : idle + 1;
    check_reply(&r);
    reply_release(&r);
    close(fd);
    do { /* its questions are answered before others come */
        uv_run(&loop, UV_RUN_NOWAIT);
        answer_history();
    } while (fake.answer);
    return 0;
}
