/* Sizes in bytes as users write and read them. Pure functions; any thread. */
#pragma once

#include "jobs/base/error.h"

#include <stddef.h>
#include <stdint.h>

#define BYTE_SIZE_MAX (INT64_C(1) << 50)

/* "256m", "2g", "64k", "1048576", also "256mb" and "2G": powers of 1024. ERR_INVALID; ERR_LIMIT above a petabyte. */
int byte_size_parse(const char *s, int64_t *ret_bytes, struct error *error);

/* The largest unit that divides it: "256m", "1500". `bytes` is not negative, `size` at least TEXT_NUMBER_BUFFER.
 * Returns buffer. */
const char *byte_size_format(int64_t bytes, char *buffer, size_t size);
