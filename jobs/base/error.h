/* Errors: one table of negative codes, and a text to which callers add context.
 *
 * A function that can fail returns 0 or one of these codes. Where a person needs the reason it also takes a
 * `struct error *` (may be NULL) as its last parameter: `error_set` is called at the place of the fault,
 * `error_prefix` by its callers ("jobs.yaml:12:15: schedule: hour 24 is out of range"). A
 * function returns an error or logs it, never both. Errors are plain values; nothing owns anything.
 */
#pragma once

#include <stdarg.h>
#include <stddef.h>

/* code, name in the API and in logs, text when nothing better is known */
#define ERROR_TABLE(X)                                                                                       \
    X(ERR_INVALID, -1, "invalid", "the input is not valid")                                                  \
    X(ERR_NOT_FOUND, -2, "not-found", "no such thing")                                                       \
    X(ERR_CONFLICT, -3, "conflict", "in conflict with what is there")                                        \
    X(ERR_BUSY, -4, "busy", "busy")                                                                          \
    X(ERR_LIMIT, -5, "limit", "a limit is exceeded")                                                         \
    X(ERR_DENIED, -6, "denied", "not allowed")                                                               \
    X(ERR_NO_LEADER, -7, "no-leader", "no leader")                                                           \
    X(ERR_TIMEOUT, -8, "timeout", "timed out")                                                               \
    X(ERR_REFUSED, -9, "refused", "refused; it certainly did not happen")                                    \
    X(ERR_UNKNOWN, -10, "unknown", "the outcome is unknown")                                                 \
    X(ERR_UNREACHABLE, -11, "unreachable", "cannot be reached")                                              \
    X(ERR_UNSUPPORTED, -12, "unsupported", "not supported here")                                             \
    X(ERR_IO, -13, "io", "input or output failed")                                                           \
    X(ERR_FULL, -14, "full", "no space left")                                                                \
    X(ERR_CORRUPT, -15, "corrupt", "stored data is invalid")                                                 \
    X(ERR_NOMEM, -16, "out-of-memory", "out of memory")                                                      \
    X(ERR_CANCELLED, -17, "cancelled", "cancelled")                                                          \
    X(ERR_DEPOSED, -18, "deposed", "another replica leads")                                                  \
    X(ERR_INTERNAL, -19, "internal", "internal error")

#define X(code, value, name, text) code = (value),
enum error_code { ERROR_TABLE(X) };
#undef X

#define ERROR_TEXT_MAX 1024

struct error {
    int code; /* 0 or an error_code */
    char text[ERROR_TEXT_MAX];
};

/* Both return `code`, so that "return error_set(...)" is one statement. A text too long is cut. */
int error_set(struct error *e, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));
int error_setv(struct error *e, int code, const char *format, va_list ap)
    __attribute__((format(printf, 3, 0)));

/* Puts a text in front of what is there; returns the code that was set. */
int error_prefix(struct error *e, const char *format, ...) __attribute__((format(printf, 2, 3)));

const char *error_name(int code); /* "not-found"; never NULL */
const char *error_text(int code); /* the table's text; never NULL */
