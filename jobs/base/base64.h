/* Base64 (RFC 4648), with its ordinary letters. Pure; any thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Of at most size / 4 * 3 bytes. False: the text is none, with padding and nothing else in it. */
bool base64_decode(const char *text, size_t size, char *ret, size_t *ret_size);
