#include "cronsched/io/log.h"

#include "cronsched/io/log_writer.h"
#include "jobs/base/clock.h"
#include "jobs/base/printable.h"
#include "jobs/base/text.h"
#include "jobs/time/instant.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct limit {
    char event[48];
    int64_t since_ms; /* begin of the window */
    int lines;        /* written in it */
    int64_t left_out; /* and not written */
};

static struct log_options options = {.least = LOG_NOTE};
static struct limit limits[LOG_EVENTS_MAX + 1]; /* the last one is shared by names that found no place */
static int64_t lost; /* lines for which the writer had no room, since it was last told */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static const struct {
    const char *name, *title, *color, *priority;
} levels[] = {
    [LOG_ERROR] = {"error", "ERROR", "\033[31m", "<3>"},
    [LOG_WARN] = {"warning", "WARN ", "\033[33m", "<4>"},
    [LOG_NOTE] = {"info", "INFO ", "\033[32m", "<6>"},
    [LOG_TRACE] = {"debug", "DEBUG", "\033[2m", "<7>"},
};

/* ---- clocks and the way out ---- */

static int64_t wall_ms(void)
{
    return options.wall_ms ? options.wall_ms(options.arg) : clock_wall_ms();
}

static int64_t mono_ms(void)
{
    return options.mono_ms ? options.mono_ms(options.arg) : clock_mono_ms();
}

static void put(const char *line, size_t n)
{
    if (options.put) {
        options.put(options.arg, line, n);
        return;
    }
    if (log_writer_runs()) {
        lost += !log_writer_add(line, n);
        return;
    }
    while (n > 0) {
        ssize_t w = write(STDERR_FILENO, line, n);

        if (w < 0 && errno != EINTR)
            return; /* no reader: a log may be lost, the program may not */
        if (w > 0) {
            line += w;
            n -= (size_t)w;
        }
    }
}

/* ---- lines ---- */

/* As JSON requires, with \u for all that is not printable; bytes that are not UTF-8 become '?'. */
static void add_json_string(struct text *line, const char *s)
{
    size_t n = strnlen(s, LOG_FIELD_MAX);

    text_add_char(line, '"');
    while (n > 0) {
        uint32_t code;
        size_t length = printable_next(s, n, &code);

        if (code == '"' || code == '\\')
            text_addf(line, "\\%c", s[0]);
        else if (printable_is(code))
            text_add_bytes(line, s, length);
        else
            printable_escape(line, code);
        s += length;
        n -= length;
    }
    text_add_char(line, '"');
}

/* What a terminal or a line would take for something else becomes a blank. */
static void add_human_string(struct text *line, const char *s)
{
    size_t n = strlen(s);

    while (n > 0) {
        uint32_t code;
        size_t length = printable_next(s, n, &code);

        if (printable_is(code))
            text_add_bytes(line, s, length);
        else
            text_add_char(line, code == UINT32_MAX ? '?' : ' ');
        s += length;
        n -= length;
    }
}

static void add_value(struct text *line, const struct log_field *f, bool json)
{
    switch (f->type) {
    case LOG_FIELD_TEXT:
        if (json)
            add_json_string(line, f->text);
        else
            add_human_string(line, f->text);
        break;
    case LOG_FIELD_INT:
        text_addf(line, "%" PRId64, f->integer);
        break;
    case LOG_FIELD_NONE:
        break;
    }
}

static bool has_value(const struct log_field *f)
{
    return f->type != LOG_FIELD_NONE && (f->type != LOG_FIELD_TEXT || f->text);
}

static void add_json(struct text *line, enum log_level level, const char *event,
                     const struct log_field *fields, size_t count)
{
    char time[TEXT_NUMBER_BUFFER];

    text_addf(line, "{\"time\":\"%s\",\"level\":\"%s\",\"event\":\"%s\"",
              instant_format(wall_ms(), INSTANT_MS, time, sizeof(time)), levels[level].name, event);
    for (size_t i = 0; i < count; i++) {
        size_t before = line->len;

        if (!has_value(&fields[i]))
            continue;
        text_addf(line, ",\"%s\":", fields[i].key);
        add_value(line, &fields[i], true);
        if (line->failed) { /* a field that does not fit is left out: the line stays JSON */
            line->failed = 0;
            line->len = before;
            line->data[before] = '\0';
            break;
        }
    }
    line->max_bytes += 2;
    text_add(line, "}\n");
}

/* "12:30:01.123 WARN  event: text (key=value ...)" */
static void add_human(struct text *line, enum log_level level, const char *event,
                      const struct log_field *fields, size_t count)
{
    const char *color = "", *plain = "";
    char time[TEXT_NUMBER_BUFFER];
    bool open = false;

    if (!options.journal) /* the journal has its own */
        text_addf(line, "%s ", instant_format(wall_ms(), INSTANT_MS, time, sizeof(time)));
    if (options.color) {
        color = levels[level].color;
        plain = "\033[0m";
    }
    text_addf(line, "%s%s%s %s", color, levels[level].title, plain, event);
    for (size_t i = 0; i < count; i++)
        if (has_value(&fields[i]) && strcmp(fields[i].key, "text") == 0) {
            text_add(line, ": ");
            add_value(line, &fields[i], false);
        }
    for (size_t i = 0; i < count; i++) {
        if (!has_value(&fields[i]) || strcmp(fields[i].key, "text") == 0)
            continue;
        text_addf(line, "%s%s=", open ? " " : " (", fields[i].key);
        add_value(line, &fields[i], false);
        open = true;
    }
    line->failed = 0;
    line->max_bytes += 2;
    text_add(line, open ? ")\n" : "\n");
}

static void write_line(enum log_level level, const char *event, const struct log_field *fields, size_t count)
{
    static char bytes[LOG_LINE_MAX + 1]; /* under the lock; a line is written even when memory is short */
    struct text line = {.data = bytes, .cap = sizeof(bytes), .max_bytes = LOG_LINE_MAX - 2};

    if (options.journal)
        text_add(&line, levels[level].priority);
    if (options.json)
        add_json(&line, level, event, fields, count);
    else
        add_human(&line, level, event, fields, count);
    put(line.data, line.len);
}

/* ---- limits ---- */

static struct limit *limit_of(const char *event)
{
    size_t i = 0;

    while (i < LOG_EVENTS_MAX && limits[i].event[0] &&
           strncmp(limits[i].event, event, sizeof(limits[i].event) - 1) != 0)
        i++;
    if (i < LOG_EVENTS_MAX && !limits[i].event[0])
        snprintf(limits[i].event, sizeof(limits[i].event), "%s", event);
    return &limits[i];
}

static void tell_left_out(struct limit *limit)
{
    struct log_field fields[2];

    if (limit->left_out == 0)
        return;
    fields[0] = LOG_TEXT("of", limit->event[0] ? limit->event : "other events");
    fields[1] = LOG_INT("lines", limit->left_out);
    limit->left_out = 0;
    write_line(LOG_WARN, "log-limited", fields, 2);
}

/* Room for this line and the one that it precedes is what the next one waits for. */
static void tell_lost(void)
{
    struct log_field field = LOG_INT("lines", lost);

    if (lost == 0)
        return;
    lost = 0;
    write_line(LOG_WARN, "log-lost", &field, 1);
    if (lost > 0) /* there is still none */
        lost = field.integer;
}

static bool limit_allows(struct limit *limit, int64_t now_ms, int burst)
{
    if (limit->lines == 0 || now_ms - limit->since_ms >= LOG_WINDOW_MS) {
        tell_left_out(limit);
        limit->since_ms = now_ms;
        limit->lines = 0;
    }
    if (limit->lines >= burst) {
        limit->left_out++;
        return false;
    }
    limit->lines++;
    return true;
}

void log_write(enum log_level level, int burst, const char *event, const struct log_field *fields,
               size_t count)
{
    int saved = errno;

    if (level > options.least)
        return;
    pthread_mutex_lock(&lock);
    tell_lost();
    if (limit_allows(limit_of(event), mono_ms(), burst))
        write_line(level, event, fields, count);
    pthread_mutex_unlock(&lock);
    errno = saved;
}

/* ---- opening ---- */

bool log_level_parse(const char *word, enum log_level *ret)
{
    for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++)
        if (strcmp(levels[i].name, word) == 0) {
            *ret = (enum log_level)i;
            return true;
        }
    return false;
}

void log_open(const struct log_options *o)
{
    pthread_mutex_lock(&lock);
    options = *o;
    memset(limits, 0, sizeof(limits));
    pthread_mutex_unlock(&lock);
}

void log_detach(void)
{
    int rc = log_writer_start(STDERR_FILENO);

    if (rc < 0)
        log_event(LOG_WARN, "log",
                  LOG_TEXT("text", "without a thread a reader that hangs holds up the server"),
                  LOG_TEXT("error", strerror(-rc)));
}

void log_close(void)
{
    pthread_mutex_lock(&lock);
    tell_lost();
    for (size_t i = 0; i <= LOG_EVENTS_MAX; i++)
        tell_left_out(&limits[i]);
    memset(limits, 0, sizeof(limits));
    options = (struct log_options){.least = LOG_NOTE};
    pthread_mutex_unlock(&lock);
    log_writer_stop(LOG_CLOSE_MS);
}

/* systemd says in JOURNAL_STREAM which device and inode its journal's end has. */
static bool stderr_is_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    char here[64];
    struct stat st;

    if (!stream || fstat(STDERR_FILENO, &st) < 0)
        return false;
    snprintf(here, sizeof(here), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
    return strcmp(stream, here) == 0;
}

void log_options_init(struct log_options *ret, int json)
{
    const char *no_color = getenv("NO_COLOR");
    bool terminal = isatty(STDERR_FILENO);

    *ret = (struct log_options){
        .json = json < 0 ? !terminal : json > 0,
        .color = terminal && !(no_color && *no_color),
        .journal = stderr_is_journal(),
        .least = LOG_NOTE,
    };
}
