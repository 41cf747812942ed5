/* Text: a bounded string builder, and the small notations that users write and read everywhere: durations,
 * sizes; and "did you mean".
 *
 * Pure functions and plain values; any thread. A struct text belongs to one owner, who releases it.
 */
#pragma once

#include "jobs/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* --- builder --- */

/* Grows up to max_bytes (the final NUL not counted). A failure sticks: what comes later is not added,
 * `failed` keeps the first code, so that a series of adds needs one check at its end. */
struct text {
    char *data; /* NULL until something is added; use text_str */
    size_t len, cap, max_bytes;
    int failed; /* 0, ERR_LIMIT or ERR_NOMEM */
};

void text_init(struct text *text, size_t max_bytes);
void text_release(struct text *text);
void text_clear(struct text *text); /* empties, forgets a failure, keeps the memory */

int text_add(struct text *text, const char *s);
int text_add_bytes(struct text *text, const void *bytes, size_t n);
int text_add_char(struct text *text, char c);
int text_addf(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

const char *text_str(const struct text *text); /* NUL-terminated, never NULL, valid until the next add */
char *text_take(struct text *text); /* the string for free(), or NULL after a failure; empties `text` */

/* --- durations and sizes --- */

#define TEXT_DURATION_MAX_MS (INT64_C(36500) * 24 * 3600 * 1000) /* 100 years */
#define TEXT_SIZE_MAX_BYTES  (INT64_C(1) << 50)
#define TEXT_NUMBER_BUFFER   64 /* bytes that hold any duration, size or instant */

/* "90s", "15m", "2h", "1d", "1h30m", "500ms", "0": units d h m s ms, each at most once, largest first. */
int text_parse_duration(const char *s, int64_t *ret_ms, struct error *error);

/* "1h30m"; "0s". What it prints parses to the same value. Returns buffer. */
const char *text_format_duration(int64_t ms, char *buffer, size_t size);

/* "256m", "2g", "64k", "1048576", also "256mb" and "2G": powers of 1024. */
int text_parse_size(const char *s, int64_t *ret_bytes, struct error *error);

/* The largest unit that divides it: "256m", "1500". Returns buffer. */
const char *text_format_size(int64_t bytes, char *buffer, size_t size);

/* --- names and bytes --- */

#define TEXT_NAME_MAX 128 /* longer names are never "near" anything */

/* How many letters to insert, delete, replace or swap with their neighbour; ASCII case counts for nothing.
 * SIZE_MAX when either is longer than TEXT_NAME_MAX. */
size_t text_distance(const char *a, const char *b);

/* The name of the list that is most likely meant, or NULL when none is near. */
const char *text_nearest(const char *name, const char *const *names, size_t count);

/* The offset of the first byte that is not UTF-8 (RFC 3629: no surrogates, nothing overlong), or `size`. */
size_t text_utf8_check(const char *bytes, size_t size);
