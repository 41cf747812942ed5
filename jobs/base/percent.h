/* Percent-encoding for paths and queries of URLs: all but the unreserved characters of RFC 3986 become %XX. Pure
 * functions; any thread. */
#pragma once

#include "jobs/base/text.h"

#include <stddef.h>

/* Adds `s`, encoded; a failure sticks to `text`. */
void percent_add(struct text *text, const char *s);

/* Appends `s`, encoded, to the string in a buffer of `size` bytes. ERR_LIMIT: it does not fit, and the string is as it
 * was. */
int percent_append(char *buffer, size_t size, const char *s);
