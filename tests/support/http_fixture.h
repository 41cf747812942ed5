/* A server with a few routes on a unix socket and on a TCP port of the kernel's choice, for test_http* and
 * test_auth. Everything happens on one thread: the client turns the loop while it waits.
 */
#pragma once

#include "cronsched/http/http.h"
#include "tests/support/http_client.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/stat.h>

#include <cmocka.h>

#define PARALLEL   200
#define SLOW_MS    3                  /* of the loop, for GET /slow */
#define TEXT_BYTES (4 * 1024 * 1024)  /* GET /text */
#define BIG_BYTES  (16 * 1024 * 1024) /* GET /big: more than any socket buffers */

#define SERVER(f) cmocka_unit_test_setup_teardown(f, set_up_server, tear_down)
#define PLAIN(f)  cmocka_unit_test_setup_teardown(f, set_up, tear_down)

extern uv_loop_t loop;
extern struct http *http;
extern struct auth *auth;
extern char dir[40], unix_address[64];
extern const char *tcp_address;

/* what the routes' handlers saw and keep */
extern struct http_request *kept[PARALLEL + 8];
extern size_t kept_count;
extern struct http_stream *stream;
extern int handled, stream_closed, stream_drained;

extern char metrics[16384]; /* as read_metrics found them */

void start_with(const struct auth_options *who, const struct http_options *limits);
void stop(void);
int set_up(void **state);
int set_up_server(void **state);
int tear_down(void **state);

/* Turns the loop until `count` requests are kept by their handler. */
void wait_kept(size_t count);
void assert_error(const struct reply *r, int status, const char *code, const char *text);
void read_metrics(void);
