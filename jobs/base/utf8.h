/* UTF-8 (RFC 3629: no surrogates, nothing overlong). Pure; any thread. */
#pragma once

#include <stddef.h>

/* The offset of the first byte that is not UTF-8, or `size`. */
size_t utf8_check(const char *bytes, size_t size);
