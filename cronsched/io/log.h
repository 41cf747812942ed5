/* The log: events with a fixed name and typed fields, as lines of JSON for programs or of text for people.
 *
 *   log_event(LOG_WARN, "engine-unreachable", LOG_TEXT("engine", name), LOG_INT("after_ms", ms));
 *
 * Every event name is limited: LOG_BURST lines in LOG_WINDOW_MS, then one line says how many were left out. A
 * line goes to stderr by one write; one that is too long is cut. When stderr is systemd's journal, each line
 * begins with its priority. Secrets are never given to these functions. Any thread; log_open and log_close
 * from the main one.
 */
#pragma once

#include "jobs/base/log_level.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LOG_LINE_MAX   8192
#define LOG_FIELD_MAX  4096 /* bytes of one text in JSON */
#define LOG_EVENTS_MAX 256  /* names that are limited one by one; those beyond share one limit */
#define LOG_BURST      50
#define LOG_WINDOW_MS  10000

struct log_field {
    const char *key;
    enum { LOG_FIELD_NONE, LOG_FIELD_TEXT, LOG_FIELD_INT } type;
    union {
        const char *text; /* NULL: the field is left out */
        int64_t integer;
    };
};

#define LOG_TEXT(k, v) ((struct log_field){.key = (k), .type = LOG_FIELD_TEXT, .text = (v)})
#define LOG_INT(k, v)  ((struct log_field){.key = (k), .type = LOG_FIELD_INT, .integer = (v)})

/* The field "text" is what people read first; "job" and "run" say whom it concerns. */
#define log_event(level, event, ...)                                                                         \
    do {                                                                                                     \
        const struct log_field log_fields_[] = {{0}, __VA_ARGS__};                                           \
        log_write((level), (event), log_fields_ + 1, sizeof(log_fields_) / sizeof(log_fields_[0]) - 1);      \
    } while (0)

void log_write(enum log_level level, const char *event, const struct log_field *fields, size_t count);

struct log_options {
    bool json;
    bool color;
    bool journal;         /* begin lines with "<4>" */
    enum log_level least; /* lines above are left out */
    /* For tests: where lines go and what time it is. NULL: stderr and the clocks. */
    void (*put)(void *arg, const char *line, size_t n);
    int64_t (*wall_ms)(void *arg);
    int64_t (*mono_ms)(void *arg);
    void *arg;
};

/* Before it is called lines go to stderr as text. Copies the options. */
void log_open(const struct log_options *options);

/* Says what was left out so far, and goes back to how it was before log_open. */
void log_close(void);

/* The options for this process's stderr. `json`: 1 yes, 0 no, -1 when it is not a terminal. */
void log_options_init(struct log_options *ret, int json);
