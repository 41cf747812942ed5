/* The bytes of a request's head, which the library takes more kindly than it should: folded lines, of which it drops
 * all but the first, values with a NUL in them, which it cuts there, lines that end with LF alone, and CR inside a value.
 * A proxy in front that reads one of these in another way sees another request than this server: so they are refused.
 *
 * libmicrohttpd 0.9 parses in place. When the headers are complete the head begins at the method and still has all its
 * bytes, but for NULs in the place of the ends of lines and of the colon behind each name. Pure; any thread.
 */
#pragma once

#include "jobs/base/error.h"

#include <stddef.h>

/* `head`: size bytes from the method to the end of the empty line; `version`: of the request line, in them. */
int http_head_check(const char *head, size_t size, const char *version, struct error *error);
