/* Whom a curl handle believes. The one place that says so, for every handle of this program
 * (tests/lint/style_test.py). Any thread.
 */
#pragma once

#include <curl/curl.h>

/* The peer's certificate and name are always verified. `ca_file`: by the certificates of this file and by nothing
 * else, since curl's built-in folder of the system's authorities would count beside it. NULL: by the system's. */
void tls_trust_set(CURL *curl, const char *ca_file);
/* By the certificates in this text (PEM) and by nothing else. */
void tls_trust_set_text(CURL *curl, const char *ca);
/* Nobody is asked for a certificate that can be believed: an operator has said so, of this one server. */
void tls_trust_anybody(CURL *curl);
