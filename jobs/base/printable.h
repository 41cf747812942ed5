/* What may go to a terminal. Jobs, containers, clients and other servers write texts that people read: in them a control
 * character is a command to the terminal (C0, DEL, and C1 in UTF-8, which xterm obeys), and some others make a line look
 * like another one: directions, separators of lines and paragraphs, and what Unicode calls default ignorable (soft
 * hyphens, zero widths, joiners, variation selectors, tags), so an emoji of several parts is shown by its parts. Whatever is
 * printed for people, and each line of the log, goes through one of these. Pure; any thread.
 */
#pragma once

#include "jobs/base/text.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PRINTABLE_HELD_MAX 4

/* The bytes of the character at s (n > 0 of them are there); *ret is its code point, UINT32_MAX where there is no
 * UTF-8. */
size_t printable_next(const char *s, size_t n, uint32_t *ret);
bool printable_is(uint32_t code);

/* In place: a blank for each that is not, '?' for a byte that is not UTF-8. `lines`: newlines and tabs stay. */
void printable_text(char *s, bool lines);
/* All strings of a value, keys too, newlines and tabs stay. ERR_NOMEM. */
int printable_value(json_t **value);

/* A character that is not printable as JSON has it: \uXXXX, or two of them; '?' for UINT32_MAX. */
void printable_escape(struct text *to, uint32_t code);
/* Appends JSON, in which these can be strings' content only, with \u escapes for them: it means the same. */
void printable_add_json(struct text *to, const char *json, size_t n);

/* Bytes of a text that comes in pieces, newlines and tabs stay. `out` has room for n + PRINTABLE_HELD_MAX; returns how
 * many it got. A character that is not whole yet is held; n = 0 ends the text. */
struct printable_stream {
    char held[PRINTABLE_HELD_MAX];
    size_t count;
};
size_t printable_stream(struct printable_stream *stream, const char *bytes, size_t n, char *out);
