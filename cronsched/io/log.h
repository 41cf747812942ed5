/* The log: events with a fixed name and typed fields, as lines of JSON for programs or of text for people.
 *
 *   log_event(LOG_WARN, "engine-unreachable", LOG_TEXT("engine", name), LOG_INT("after_ms", ms));
 *
 * Every event name is limited: LOG_BURST lines in LOG_WINDOW_MS, then one line says how many were left out; what has
 * to be complete (log_activity) has more. A line goes to stderr whole; one that is too long is cut. After log_detach
 * nobody waits for stderr: what finds no room in LOG_WRITER_BYTES is lost, which is told. When stderr is systemd's journal, each line
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
#define LOG_ACTIVITY   20000 /* lines in it of what runs and what people change */
#define LOG_CLOSE_MS   1000  /* log_close waits so long for what is not written */

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
#define log_event(level, event, ...) log_some((level), LOG_BURST, (event), (struct log_field){0}, __VA_ARGS__)
#define log_activity(level, event, ...)                                                                      \
    log_some((level), LOG_ACTIVITY, (event), (struct log_field){0}, __VA_ARGS__)
#define log_some(level, burst, event, ...)                                                                   \
    do {                                                                                                     \
        const struct log_field log_fields_[] = {__VA_ARGS__};                                                \
        log_write((level), (burst), (event), log_fields_ + 1,                                                \
                  sizeof(log_fields_) / sizeof(log_fields_[0]) - 1);                                         \
    } while (0)

void log_write(enum log_level level, int burst, const char *event, const struct log_field *fields,
               size_t count);

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

/* "error", "warning", "info", "debug"; false: none of these. */
bool log_level_parse(const char *word, enum log_level *ret);

/* Before it is called lines go to stderr as text. Copies the options. */
void log_open(const struct log_options *options);

/* From here on a thread writes to stderr. */
void log_detach(void);

/* Says what was left out so far, and goes back to how it was before log_open; waits for what is not written. */
void log_close(void);

/* The options for this process's stderr. `json`: 1 yes, 0 no, -1 when it is not a terminal. */
void log_options_init(struct log_options *ret, int json);
