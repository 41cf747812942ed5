#include "cronsched/cli/output.h"

#include "cronsched/cli/human_time.h"
#include "jobs/base/alloc.h"
#include "jobs/base/clock.h"
#include "jobs/base/printable.h"
#include "jobs/base/text.h"
#include "jobs/time/instant.h"

#include <assert.h>
#include <libsmartcols.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define CELL_BYTES_MAX 4096

int64_t output_now_ms(void)
{
    return clock_wall_ms();
}

static const char *option_or_null(const struct verb_call *call, const char *name)
{
    return call->verb->shared & VERB_OUTPUT ? verb_option(call, name) : NULL;
}

void output_init(struct output *out, const struct verb_call *call)
{
    const char *format = option_or_null(call, "output"), *color = option_or_null(call, "color");
    const char *no_color = getenv("NO_COLOR");

    *out = (struct output){.to = stdout, .terminal = isatty(STDOUT_FILENO), .now_ms = output_now_ms()};
    if (format && strcmp(format, "json") == 0)
        out->format = OUTPUT_JSON;
    else if (format && strcmp(format, "yaml") == 0)
        out->format = OUTPUT_YAML;
    out->color = out->terminal && !(no_color && *no_color);
    if (color && strcmp(color, "auto") != 0)
        out->color = strcmp(color, "always") == 0;
}

const char *output_text(const json_t *value)
{
    const char *text = json_string_value(value);

    return text ? text : "";
}

void output_json(FILE *to, const json_t *value, size_t flags)
{
    char *dump = json_dumps(value, flags | JSON_ENCODE_ANY);
    struct text text;

    if (!dump)
        alloc_failed();
    text_init(&text, SIZE_MAX / 2);
    printable_add_json(&text, dump, strlen(dump));
    free(dump);
    if (text.failed)
        alloc_failed();
    fputs(text_str(&text), to);
    text_release(&text);
}

void output_value(const struct output *out, const json_t *value)
{
    if (!value)
        value = json_null(); /* an answer without a body */
    if (out->format == OUTPUT_YAML) {
        output_yaml(out->to, value);
        return;
    }
    output_json(out->to, value, JSON_INDENT(2));
    fputc('\n', out->to);
}

/* ---- cells ---- */

/* "leader.id": a path of keys. */
static const json_t *value_at(const json_t *object, const char *key)
{
    char word[64];

    while (object) {
        size_t n = strcspn(key, ".");

        assert(n < sizeof(word));
        memcpy(word, key, n);
        word[n] = '\0';
        object = json_object_get(object, word);
        if (!key[n])
            return json_is_null(object) ? NULL : object;
        key += n + 1;
    }
    return NULL;
}

/* Scalars as themselves, lists with commas, the rest as compact JSON. */
static void add_plain(struct text *text, const json_t *value)
{
    const json_t *item;
    char *dump;
    size_t i;

    if (json_is_string(value)) {
        text_add(text, json_string_value(value));
    } else if (json_is_array(value)) {
        json_array_foreach(value, i, item)
        {
            if (i)
                text_add(text, ", ");
            add_plain(text, item);
        }
    } else {
        dump = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
        text_add(text, dump ? dump : "?");
        free(dump);
    }
}

static void add_cell(const struct output *out, struct text *text, const json_t *value, enum output_cell cell)
{
    char buffer[TEXT_NUMBER_BUFFER];
    int64_t ms;

    if (cell == OUTPUT_YES && json_is_boolean(value)) {
        text_add(text, json_is_true(value) ? "yes" : "");
    } else if (!value) {
        text_add(text, "-");
    } else if (cell == OUTPUT_MS && json_is_integer(value)) {
        text_add(text, human_time_span(json_integer_value(value), buffer, sizeof(buffer)));
    } else if ((cell == OUTPUT_TIME || cell == OUTPUT_RELATIVE) && json_is_string(value) &&
               instant_parse(json_string_value(value), &ms, NULL) == 0) {
        text_add(text, cell == OUTPUT_TIME ? human_time_local(ms, buffer, sizeof(buffer))
                                           : human_time_relative(ms, out->now_ms, buffer, sizeof(buffer)));
    } else {
        add_plain(text, value);
    }
}

char *output_cell_text(const struct output *out, const json_t *object, const struct output_column *column)
{
    struct text text;
    char *s;

    text_init(&text, CELL_BYTES_MAX);
    add_cell(out, &text, value_at(object, column->key), column->cell);
    if (text.failed == ERR_LIMIT)
        text.failed = 0; /* what fitted is enough for a cell */
    s = text_take(&text);
    text_release(&text);
    if (!s)
        return NULL;
    printable_text(s, false); /* one line */
    return s;
}

/* ---- colours ---- */

const char *output_state_color(const char *state)
{
    static const struct {
        const char *state, *color;
    } colors[] = {
        {"succeeded", "\033[32m"},    {"failed", "\033[31m"},   {"timed-out", "\033[31m"},
        {"killed", "\033[33m"},       {"lost", "\033[35m"},     {"running", "\033[36m"},
        {"starting", "\033[36m"},     {"retrying", "\033[33m"}, {"skipped", "\033[33m"},
        {"unresolved", "\033[35m"},   {"missed", "\033[33m"},   {"deadline", "\033[33m"},
        {"overlap", "\033[33m"},      {"paused", "\033[33m"},   {"queue-full", "\033[33m"},
        {"journal-lost", "\033[33m"}, {"leader", "\033[32m"},   {"ok", "\033[32m"},
        {"warning", "\033[33m"},      {"error", "\033[31m"},    {"never", "\033[33m"},
    };

    for (size_t i = 0; state && i < sizeof(colors) / sizeof(colors[0]); i++)
        if (strcmp(colors[i].state, state) == 0)
            return colors[i].color;
    return NULL;
}

const char *output_tone(const struct output *out, enum output_tone tone)
{
    static const char *const tones[] = {
        [OUTPUT_GOOD] = "\033[32m", [OUTPUT_BAD] = "\033[31m", [OUTPUT_WARN] = "\033[33m",
        [OUTPUT_DIM] = "\033[2m",   [OUTPUT_BOLD] = "\033[1m",
    };

    return out->color ? tones[tone] : "";
}

const char *output_plain(const struct output *out)
{
    return out->color ? "\033[0m" : "";
}

/* ---- tables ---- */

static struct libscols_table *new_table(const struct output *out, const struct output_column *columns,
                                        size_t count)
{
    struct libscols_table *table = scols_new_table();

    if (!table)
        return NULL;
    scols_table_set_stream(table, out->to);
    scols_table_enable_colors(table, out->color);
    scols_table_set_column_separator(table, "  ");
    scols_table_set_termforce(table, out->terminal ? SCOLS_TERMFORCE_ALWAYS : SCOLS_TERMFORCE_NEVER);
    for (size_t i = 0; i < count; i++) {
        int flags = columns[i].cell == OUTPUT_RIGHT || columns[i].cell == OUTPUT_MS ? SCOLS_FL_RIGHT : 0;

        if (columns[i].cell == OUTPUT_CUT)
            flags |= SCOLS_FL_TRUNC;
        if (!scols_table_new_column(table, columns[i].title, 0, flags)) {
            scols_unref_table(table);
            return NULL;
        }
    }
    return table;
}

static int add_row(const struct output *out, struct libscols_table *table, const json_t *row,
                   const struct output_column *columns, size_t count)
{
    struct libscols_line *line = scols_table_new_line(table, NULL);

    if (!line)
        return ERR_NOMEM;
    for (size_t i = 0; i < count; i++) {
        char *s = output_cell_text(out, row, &columns[i]);

        if (!s || scols_line_refer_data(line, i, s) != 0) {
            free(s);
            return ERR_NOMEM;
        }
        if (columns[i].cell == OUTPUT_STATE && output_state_color(s))
            scols_cell_set_color(scols_line_get_cell(line, i), output_state_color(s));
    }
    return 0;
}

static void print_table(const struct output *out, const json_t *array, const struct output_column *columns,
                        size_t count)
{
    struct libscols_table *table = new_table(out, columns, count);
    const json_t *row;
    int r = table ? 0 : ERR_NOMEM;
    size_t i;

    json_array_foreach(array, i, row) if (r == 0) r = add_row(out, table, row, columns, count);
    if (r == 0 && scols_print_table(table) == 0)
        scols_unref_table(table);
    else
        alloc_failed();
}

void output_rows(const struct output *out, const json_t *array, const struct output_column *columns,
                 size_t count, const char *none)
{
    if (out->format != OUTPUT_TABLE)
        output_value(out, array);
    else if (json_array_size(array) == 0)
        fprintf(out->to, "%s\n", none);
    else
        print_table(out, array, columns, count);
}

/* A value that is there and says something: false, as OUTPUT_YES, says nothing. */
static bool field_speaks(const json_t *object, const struct output_column *field)
{
    const json_t *value = value_at(object, field->key);

    return value && !(field->cell == OUTPUT_YES && json_is_false(value));
}

void output_fields(const struct output *out, const json_t *object, const struct output_column *fields,
                   size_t count)
{
    size_t width = 0;

    if (out->format != OUTPUT_TABLE) {
        output_value(out, object);
        return;
    }
    for (size_t i = 0; i < count; i++)
        if (field_speaks(object, &fields[i]) && strlen(fields[i].title) > width)
            width = strlen(fields[i].title);
    for (size_t i = 0; i < count; i++) {
        const char *color = "", *plain = "";
        char *s;

        if (!field_speaks(object, &fields[i]))
            continue;
        s = output_cell_text(out, object, &fields[i]);
        if (!s)
            alloc_failed();
        if (out->color && fields[i].cell == OUTPUT_STATE && output_state_color(s)) {
            color = output_state_color(s);
            plain = output_plain(out);
        }
        fprintf(out->to, "%s%*s:%s %s%s%s\n", output_tone(out, OUTPUT_BOLD), (int)width, fields[i].title,
                output_plain(out), color, s, plain);
        free(s);
    }
}
