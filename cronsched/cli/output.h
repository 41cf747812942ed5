/* Answers of the command line: one JSON value, printed as a table for people or as JSON or YAML for programs.
 *
 * A table is described by columns, each with the key of its value ("leader.id" looks inside); JSON and YAML
 * print the value whole. In tables instants are local and relative times; in JSON they stay RFC 3339. Colours
 * are used on a terminal, unless NO_COLOR is set or --color says otherwise. Nothing here owns the values.
 * Main thread.
 */
#pragma once

#include "cronsched/command/verbs.h"

#include <jansson.h>
#include <stdint.h>

enum output_format { OUTPUT_TABLE, OUTPUT_JSON, OUTPUT_YAML };

struct output {
    FILE *to;
    enum output_format format;
    bool color;     /* escape sequences are welcome */
    bool terminal;  /* tables are cut to its width */
    int64_t now_ms; /* for relative times: the same for all of a table */
};

enum output_cell {
    OUTPUT_TEXT,
    OUTPUT_RIGHT,    /* numbers: to the right */
    OUTPUT_TIME,     /* RFC 3339 to the caller's local time */
    OUTPUT_RELATIVE, /* RFC 3339 to "in 3 h 12 m" */
    OUTPUT_MS,       /* a number of milliseconds to "3 h 12 m" */
    OUTPUT_STATE,    /* states and verdicts: coloured by what they mean */
    OUTPUT_YES,      /* true to "yes", false to nothing */
    OUTPUT_CUT       /* a text that may be cut to make the table fit the terminal */
};

struct output_column {
    const char *title;
    const char *key;
    enum output_cell cell;
};

/* Reads -o and --color of the call; prints to stdout. For a verb without them: a table. */
void output_init(struct output *out, const struct verb_call *call);

/* The wall clock, UTC milliseconds. */
int64_t output_now_ms(void);

/* The text of a value that a server sent; "" when it is none: a server may answer anything. */
const char *output_text(const json_t *value);

/* As JSON, with \u escapes for what a terminal would take for a command. */
void output_json(FILE *to, const json_t *value, size_t jansson_flags);

/* As JSON or YAML; with OUTPUT_TABLE as JSON too. */
void output_value(const struct output *out, const json_t *value);

/* An array of objects. In a table `none` is printed when it is empty. */
void output_rows(const struct output *out, const json_t *array, const struct output_column *columns,
                 size_t count, const char *none);

/* One object, as lines "Title: value"; keys that are missing or null are left out. */
void output_fields(const struct output *out, const json_t *object, const struct output_column *fields,
                   size_t count);

/* What a cell shows, without colour: "-" for null. malloc'd, NULL when out of memory. */
char *output_cell_text(const struct output *out, const json_t *object, const struct output_column *column);

/* Begin and end a colour in free text: nothing unless colours are wanted. */
enum output_tone { OUTPUT_GOOD, OUTPUT_BAD, OUTPUT_WARN, OUTPUT_DIM, OUTPUT_BOLD };
const char *output_tone(const struct output *out, enum output_tone tone);
const char *output_plain(const struct output *out);

/* The tone of a state or verdict: 0, or a colour for libsmartcols and ours alike. */
const char *output_state_color(const char *state);

/* output_yaml.c: a whole value as one YAML document. Strings that YAML would take for something else are
 * quoted. */
int output_yaml(FILE *to, const json_t *value);
