/* TLS on a thread of its own. A client's connection is handed over, and so is one end of a pair of sockets: what the
 * client sends comes out of the other end in the clear, and what is written there goes to the client. Handshakes cost
 * milliseconds and come from anybody, and a record may come in halves: neither is the loop's concern.
 *
 * The one who hands over sets the limits: how many connections there are, and when one has taken too long, by
 * shutting its end of the pair down. All functions are for the loop's thread.
 */
#pragma once

#include "jobs/base/error.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#define HTTP_TLS_CONNECTIONS_MAX 2048        /* of one thread, with those that are still being closed */
#define HTTP_TLS_DRAIN_MS        (30 * 1000) /* for a client to take what was sent before the end */
#define HTTP_TLS_LINGER_MS       1000        /* for a client to read what came before the connection's end */
#define HTTP_TLS_CLOSE_MS        500         /* the same for all, at http_tls_close */

struct http_tls;

struct http_tls_counts {
    uint64_t handshakes, failed; /* begun, and not ended well */
};

/* Reads the PEM files and starts the thread. ERR_INVALID: what they hold cannot be used; ERR_IO. */
int http_tls_new(struct http_tls **ret, uv_loop_t *loop, const char *cert_file, const char *key_file,
                 struct error *error);
/* Reads the files again: new connections get the new certificate. Files that cannot be used leave all as it was. */
int http_tls_reload(struct http_tls *tls, struct error *error);
bool http_tls_key_is_readable(const struct http_tls *tls); /* by others than its owner and group */
const char *http_tls_key_file(const struct http_tls *tls);
int64_t http_tls_expires_ms(const struct http_tls *tls); /* its certificate; INT64_MAX: not known */

/* Takes both descriptors, also when it fails: the client's connection and one end of a pair. ERR_LIMIT, ERR_NOMEM. */
int http_tls_take(struct http_tls *tls, int client_fd, int server_fd);

void http_tls_counts(struct http_tls *tls, struct http_tls_counts *ret);

/* Lets go out what was written, HTTP_TLS_CLOSE_MS at most; done is called once, from the loop. */
void http_tls_close(struct http_tls *tls, void (*done)(void *arg), void *arg);
