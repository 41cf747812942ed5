/* Faults of YAML syntax in words for the author of the file: libyaml's own are correct, but of little help. */
#include "jobs/base/utf8.h"
#include "jobs/yaml/yaml_priv.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define FAULT_TEXT_MAX 512
#define BARE_MAX       80 /* of an unquoted expression that is shown */

struct source {
    const char *text;
    size_t size;
};

int yaml_fault(struct yaml_sink *sink, int line, int column, const char *format, ...)
{
    char text[FAULT_TEXT_MAX];
    va_list ap;

    va_start(ap, format);
    vsnprintf(text, sizeof(text), format, ap);
    va_end(ap);
    sink->fault(sink, line, column, text);
    return ERR_INVALID;
}

size_t yaml_characters(const char *s, size_t size)
{
    size_t n = 0;

    for (size_t i = 0; i < size; i++)
        n += ((unsigned char)s[i] & 0xC0) != 0x80;
    return n;
}

int yaml_mark_line(const yaml_mark_t *mark)
{
    return (int)mark->line + 1;
}

int yaml_mark_column(const yaml_mark_t *mark)
{
    return (int)mark->column + 1;
}

/* Line number `line` (from 1), without its end. */
static struct source source_line(const struct source *source, int line)
{
    const char *at = source->text, *end = source->text + source->size, *stop;

    for (; line > 1 && at < end; line--) {
        at = memchr(at, '\n', (size_t)(end - at));
        at = at ? at + 1 : end;
    }
    stop = at < end ? memchr(at, '\n', (size_t)(end - at)) : NULL;
    return (struct source){at, (size_t)((stop ? stop : end) - at)};
}

/* The character at a column (from 1) for a message; '\0' when it is beyond the line or not ASCII. */
static char character_at(struct source line, int column)
{
    size_t i = 0;

    while (i < line.size && (column > 1 || ((unsigned char)line.text[i] & 0xC0) == 0x80)) {
        column -= ((unsigned char)line.text[i] & 0xC0) != 0x80;
        i++;
    }
    return i < line.size && (unsigned char)line.text[i] < 0x80 ? line.text[i] : '\0';
}

/* The column of a value that begins with `*` and can hardly be an alias: a cron expression without quotes. Or
 * 0. */
static int bare_cron(struct source line)
{
    const char *s = line.text;

    for (size_t i = 0; i < line.size; i++) {
        bool begins = i > 0 && strchr(" [,", s[i - 1]);
        char next = i + 1 < line.size ? s[i + 1] : ' ';

        if (s[i] == '#' || s[i] == '"' || s[i] == '\'')
            return 0;
        if (begins && s[i] == '*' && memchr(" \r/,-0123456789", next, 15))
            return (int)yaml_characters(s, i) + 1;
    }
    return 0;
}

/* The column of the first tab before anything else in the line, or 0. */
static int tab_indent(struct source line)
{
    for (size_t i = 0; i < line.size && (line.text[i] == ' ' || line.text[i] == '\t'); i++)
        if (line.text[i] == '\t')
            return (int)i + 1;
    return 0;
}

/* The value that begins there, as far as it can be told where it ends. */
static const char *bare_value(struct source line, int column, char buffer[BARE_MAX])
{
    size_t at = 0, n = 0;

    for (int seen = 0; at < line.size; at++) {
        seen += ((unsigned char)line.text[at] & 0xC0) != 0x80;
        if (seen == column)
            break;
    }
    while (at + n < line.size && n + 1 < BARE_MAX) {
        char c = line.text[at + n], next = at + n + 1 < line.size ? line.text[at + n + 1] : ' ';

        if (strchr("]}\r", c) || (c == ',' && next == ' ') || (c == ' ' && next == '#'))
            break;
        buffer[n++] = c;
    }
    while (n > 0 && strchr(" ,", buffer[n - 1]))
        n--;
    buffer[n] = '\0';
    return n > 1 && buffer[0] == '*' ? buffer : "* * * * *";
}

static int explain_cron(struct source where, int line, int column, struct yaml_sink *sink)
{
    char buffer[BARE_MAX];

    return yaml_fault(sink, line, column,
                      "an unquoted * begins a YAML alias; quote the cron expression: \"%s\"",
                      bare_value(where, column, buffer));
}

int yaml_explain_alias(const yaml_event_t *alias, const char *source, size_t size, struct yaml_sink *sink)
{
    const struct source s = {source, size};
    int line = yaml_mark_line(&alias->start_mark), column = yaml_mark_column(&alias->start_mark);

    if (bare_cron(source_line(&s, line)) == column)
        return explain_cron(source_line(&s, line), line, column, sink);
    return yaml_fault(sink, line, column,
                      "there is no anchor &%.80s; a text that begins with * must be quoted",
                      (const char *)alias->data.alias.anchor);
}

static int explain_scan(const yaml_parser_t *p, const struct source *source, struct yaml_sink *sink)
{
    const char *problem = p->problem ? p->problem : "unknown fault";
    const char *context = p->context ? p->context : "";
    int line = yaml_mark_line(&p->problem_mark), column = yaml_mark_column(&p->problem_mark);
    int from = *context ? yaml_mark_line(&p->context_mark) : line;
    int from_column = *context ? yaml_mark_column(&p->context_mark) : column;
    struct source here = source_line(source, line);
    int at;

    for (int i = from; i <= line; i++) {
        at = i == from || i == line ? bare_cron(source_line(source, i)) : 0;
        if (at)
            return explain_cron(source_line(source, i), i, at, sink);
    }
    at = tab_indent(here);
    if (at)
        return yaml_fault(sink, line, at, "a tab in the indentation; YAML allows only spaces there");
    if (strstr(problem, "cannot start any token")) {
        char c = character_at(here, column);

        if (c == '\t')
            return yaml_fault(sink, line, column, "a tab; YAML allows only spaces here");
        return yaml_fault(sink, line, column, "a text that begins with '%c' must be quoted", c ? c : '?');
    }
    if (strstr(context, "quoted scalar") && strstr(problem, "end of stream"))
        return yaml_fault(sink, from, from_column, "this quote is not closed");
    if (strstr(problem, "mapping values are not allowed"))
        return yaml_fault(
            sink, line, column,
            "a ':' where no key can be; quote a text that has ': ' in it, or look at the indentation");
    if (strstr(problem, "could not find expected ':'"))
        return yaml_fault(sink, from, from_column, "a key without its ':'");
    if (*context)
        return yaml_fault(sink, line, column, "not YAML: %s, %s that begins in line %d", problem, context,
                          from);
    return yaml_fault(sink, line, column, "not YAML: %s", problem);
}

/* Where the byte at `offset` is, and why it cannot be. */
static int explain_byte(const struct source *source, size_t offset, struct yaml_sink *sink)
{
    const unsigned char *s = (const unsigned char *)source->text;
    size_t begin = 0;
    int line = 1, column;

    for (size_t i = 0; i < offset; i++)
        if (s[i] == '\n') {
            line++;
            begin = i + 1;
        }
    column = (int)yaml_characters(source->text + begin, offset - begin) + 1;
    if (source->size >= 2 && ((s[0] == 0xFF && s[1] == 0xFE) || (s[0] == 0xFE && s[1] == 0xFF)))
        return yaml_fault(sink, 1, 1, "UTF-16; save the file as UTF-8");
    if (s[offset] == 0)
        return yaml_fault(sink, line, column, "a NUL byte; YAML is text");
    if (s[offset] < 0x80)
        return yaml_fault(sink, line, column, "the control character 0x%02x; YAML is text", s[offset]);
    return yaml_fault(sink, line, column, "the byte 0x%02x is not UTF-8; save the file as UTF-8", s[offset]);
}

/* libyaml marks these faults at 1:1, so we look first. */
int yaml_check_bytes(const char *text, size_t size, struct yaml_sink *sink)
{
    const struct source source = {text, size};
    size_t good = utf8_check(text, size);

    for (size_t i = 0; i < good; i++) {
        unsigned char c = (unsigned char)text[i];

        if ((c < 0x20 && c != '\t' && c != '\n' && c != '\r') || c == 0x7F)
            return explain_byte(&source, i, sink);
    }
    return good < size ? explain_byte(&source, good, sink) : 0;
}

int yaml_explain(const yaml_parser_t *parser, const char *source, size_t size, struct yaml_sink *sink)
{
    const struct source s = {source, size};

    switch (parser->error) {
    case YAML_MEMORY_ERROR:
        return ERR_NOMEM;
    case YAML_READER_ERROR:
        return yaml_fault(sink, 0, 0, "not YAML: %s at byte %zu", parser->problem, parser->problem_offset);
    default:
        return explain_scan(parser, &s, sink);
    }
}
