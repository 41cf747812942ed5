/* Durations as users write and read them. Pure functions; any thread. */
#pragma once

#include "jobs/base/error.h"

#include <stddef.h>
#include <stdint.h>

#define DURATION_MAX_MS (INT64_C(36500) * 24 * 3600 * 1000) /* 100 years */

/* "90s", "15m", "2h", "1d", "1h30m", "500ms", "0": units d h m s ms, each at most once, largest first.
 * ERR_INVALID; ERR_LIMIT above 100 years. */
int duration_parse(const char *s, int64_t *ret_ms, struct error *error);

/* "1h30m"; "0s". What it prints parses to the same value. `size` is at least TEXT_NUMBER_BUFFER. Returns buffer. */
const char *duration_format(int64_t ms, char *buffer, size_t size);
