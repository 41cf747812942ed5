/* Instants: UTC milliseconds since 1970 and their text forms. Pure functions; any thread. */
#pragma once

#include "jobs/base/error.h"

#include <stddef.h>
#include <stdint.h>

/* RFC 3339 with Z or an offset, years 0000 to 9999, any length of fraction (cut to milliseconds). No leap
 * second. */
int instant_parse(const char *s, int64_t *ret_ms, struct error *error);

/* The form of run ids: "20261122T030000Z" or "20261122T101502.123Z". */
int instant_parse_basic(const char *s, int64_t *ret_ms, struct error *error);

enum instant_form {
    INSTANT_S,       /* 2026-11-22T03:00:00Z */
    INSTANT_MS,      /* 2026-11-22T03:00:00.000Z */
    INSTANT_BASIC_S, /* 20261122T030000Z */
    INSTANT_BASIC_MS /* 20261122T030000.000Z */
};

/* Years outside 0000 to 9999 are clamped to their ends. Returns buffer. */
const char *instant_format(int64_t ms, enum instant_form form, char *buffer, size_t size);

/* Its second, rounded down, or up: also before 1970, where the division of C rounds the other way. */
int64_t instant_floor_s(int64_t ms);
int64_t instant_ceil_s(int64_t ms);
