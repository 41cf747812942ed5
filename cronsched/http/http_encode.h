/* What of a reply depends on how the client asks: compressed or not, sent or known already. Pure functions, and a compressor
 * that belongs to one reply. */
#pragma once

#include "jobs/base/text.h"

#define HTTP_GZIP_LEAST 1024         /* bytes: less is sent as it is */
#define HTTP_GZIP_MOST  (256 * 1024) /* of a whole reply: more takes too long in one turn of the loop */
#define HTTP_GZIP_LEVEL 4
#define HTTP_TAG_SIZE   40

/* By the value of Accept-Encoding; NULL: it is absent. */
bool http_accepts_gzip(const char *accept);

/* The entity tag of these bytes: W/"...", since the compressed reply has the same one. */
const char *http_tag_of(const char *bytes, size_t n, char ret[HTTP_TAG_SIZE]);
/* Whether If-None-Match (NULL: absent) names it, by weak comparison: a list, or `*`. */
bool http_tag_matches(const char *if_none_match, const char *tag);

struct http_gzip;
struct http_gzip *http_gzip_new(void); /* NULL: no memory */
/* Compresses; what is ready is added to `out`. `last`: there is nothing behind it. ERR_NOMEM. */
int http_gzip_add(struct http_gzip *gzip, const void *bytes, size_t n, bool last, struct text *out);
void http_gzip_free(struct http_gzip *gzip); /* NULL is fine */
