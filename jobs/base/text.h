/* A bounded string builder. Plain values; any thread. A struct text belongs to one owner, who releases it. */
#pragma once

#include "jobs/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

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

int text_reserve(struct text *text, size_t n); /* room for n more bytes, at once */
int text_add(struct text *text, const char *s);
int text_add_bytes(struct text *text, const void *bytes, size_t n);
int text_add_char(struct text *text, char c);
int text_addf(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

const char *text_str(const struct text *text); /* NUL-terminated, never NULL, valid until the next add */
char *text_take(struct text *text); /* the string for free(), or NULL after a failure; empties `text` */

#define TEXT_NUMBER_BUFFER 64 /* bytes that hold any number, duration, size or instant as a text */
