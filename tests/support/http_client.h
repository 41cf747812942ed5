/* A raw HTTP client for the tests of the server: bytes in, bytes out, on the server's own loop and thread.
 * While it waits it turns the loop; it never sleeps, and gives up at a deadline.
 */
#pragma once

#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <uv.h>

#define PATIENCE_MS 20000 /* of a fast machine */

struct reply {
    int status; /* 0: none came */
    char *raw;  /* headers and body as they came */
    const char *headers;
    char *body; /* put together if it was chunked */
    bool closed;
};

/* Frees what it holds and makes it empty. */
void reply_release(struct reply *r);

/* One turn of the loop, waiting for it or for fd, but not beyond what the loop allows. */
void turn(uv_loop_t *loop, int fd, short events);

/* PATIENCE_MS from now, in milliseconds of uv_hrtime; true when such a deadline has passed. */
uint64_t client_deadline(void);
bool client_late(uint64_t deadline);

struct sockaddr_un client_unix(const char *path);

/* "unix:PATH" or "127.0.0.1:PORT". A socket that the caller closes, -1 when nobody listens. */
int client_connect(const char *address);

/* False when the other end does not want it. */
bool client_send(uv_loop_t *loop, int fd, const char *bytes, size_t n);

/* The value of a header, in the buffer; NULL when there is none of that name. */
char *client_header(const struct reply *r, const char *name, char *buffer, size_t size);

/* Takes apart what has come; true when the reply is complete. */
bool reply_parse(struct reply *r, bool no_body);

/* One turn of the loop, and whatever has come then. */
void receive_more(uv_loop_t *loop, int fd, struct reply *r);

/* A whole reply, which the caller releases; head: one without a body. */
struct reply client_receive(uv_loop_t *loop, int fd, bool head);

/* Waits for what has come to hold this text in its body. */
bool client_expect(uv_loop_t *loop, int fd, struct reply *r, const char *text);

/* True once the other end has closed the connection. */
bool client_closed(uv_loop_t *loop, int fd);

/* A whole exchange on a connection of its own. */
struct reply client_exchange_bytes(uv_loop_t *loop, const char *address, const char *bytes, size_t n);
struct reply client_exchange(uv_loop_t *loop, const char *address, const char *request);

/* "GET /path" and the like, with the usual headers; body NULL: none. */
struct reply client_ask(uv_loop_t *loop, const char *address, const char *line, const char *more,
                        const char *body);
