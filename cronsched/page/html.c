/* See html.h. */
#include "cronsched/page/html.h"

#include "jobs/base/percent.h"
#include "jobs/base/utf8.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REPLACEMENT "\xef\xbf\xbd"

void html_init(struct html *w)
{
    *w = (struct html){0};
    text_init(&w->text, HTML_BYTES_MAX);
}

void html_release(struct html *w)
{
    text_release(&w->text);
}

char *html_take(struct html *w)
{
    while (w->depth > 0)
        html_close(w);
    return text_take(&w->text);
}

/* ---- what may stand in a text ---- */

/* The escape for a byte; NULL: it stands for itself. */
static const char *escape(unsigned char c)
{
    switch (c) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    case '\'':
        return "&#39;";
    default:
        return (c < 0x20 && c != '\n' && c != '\t') || c == 0x7f ? REPLACEMENT : NULL;
    }
}

/* U+202A to U+202E, U+2066 to U+2069, U+200E, U+200F, U+061C: they change the order in which others are read. C1 controls, and
 * what ends lines in scripts. Their length in bytes; 0: it is none. */
static size_t hidden(const unsigned char *p)
{
    if (p[0] == 0xc2 && p[1] >= 0x80 && p[1] <= 0x9f)
        return 2;
    if (p[0] == 0xd8 && p[1] == 0x9c)
        return 2;
    if (p[0] == 0xe2 && p[1] == 0x80 && ((p[2] >= 0xa8 && p[2] <= 0xae) || p[2] == 0x8e || p[2] == 0x8f))
        return 3;
    if (p[0] == 0xe2 && p[1] == 0x81 && p[2] >= 0xa6 && p[2] <= 0xa9)
        return 3;
    return 0;
}

static void add_escaped(struct html *w, const char *text)
{
    size_t size = strlen(text), valid = utf8_check(text, size);
    const unsigned char *p = (const unsigned char *)text;

    while (*p) {
        size_t at = (size_t)((const char *)p - text), n;
        const char *as;

        if (at >= valid) { /* a byte that is none of a letter */
            text_add(&w->text, REPLACEMENT);
            p++;
            valid = at + 1 + utf8_check((const char *)p, size - at - 1);
            continue;
        }
        n = hidden(p);
        as = n ? REPLACEMENT : escape(*p);
        if (as)
            text_add(&w->text, as);
        else
            text_add_char(&w->text, (char)*p);
        p += n ? n : 1;
    }
}

/* ---- elements ---- */

static bool is_name(const char *name)
{
    return name[0] >= 'a' && name[0] <= 'z' &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") == strlen(name);
}

static void end_tag(struct html *w)
{
    if (w->in_tag)
        text_add(&w->text, ">");
    w->in_tag = false;
}

void html_doctype(struct html *w)
{
    assert(w->depth == 0 && !w->in_tag);
    text_add(&w->text, "<!doctype html>");
}

void html_open(struct html *w, const char *element)
{
    assert(is_name(element) && w->depth < HTML_DEPTH_MAX);
    end_tag(w);
    text_addf(&w->text, "<%s", element);
    w->open[w->depth++] = element;
    w->in_tag = true;
}

void html_close(struct html *w)
{
    assert(w->depth > 0);
    end_tag(w);
    text_addf(&w->text, "</%s>", w->open[--w->depth]);
}

void html_leaf(struct html *w, const char *element)
{
    assert(is_name(element));
    end_tag(w);
    text_addf(&w->text, "<%s", element);
    w->in_tag = true;
}

/* ---- attributes ---- */

static bool is_plain(const char *name)
{
    return is_name(name) && strncmp(name, "on", 2) != 0 && strcmp(name, "style") != 0 &&
           strcmp(name, "srcdoc") != 0;
}

static bool is_address(const char *name)
{
    return strcmp(name, "href") == 0 || strcmp(name, "src") == 0 || strcmp(name, "action") == 0 ||
           strcmp(name, "formaction") == 0;
}

static void put_attr(struct html *w, const char *name, const char *value)
{
    assert(is_plain(name) && w->in_tag);
    text_addf(&w->text, " %s=\"", name);
    add_escaped(w, value);
    text_add(&w->text, "\"");
}

void html_attr(struct html *w, const char *name, const char *value)
{
    assert(!is_address(name));
    if (value)
        put_attr(w, name, value);
}

void html_attrf(struct html *w, const char *name, const char *format, ...)
{
    char *value = NULL;
    va_list ap;
    int n;

    assert(!is_address(name));
    va_start(ap, format);
    n = vasprintf(&value, format, ap);
    va_end(ap);
    if (n < 0) {
        w->text.failed = ERR_NOMEM;
        return;
    }
    put_attr(w, name, value);
    free(value);
}

void html_flag(struct html *w, const char *name, bool on)
{
    if (on)
        put_attr(w, name, "");
}

/* Formats an address of this site: it begins with / or # or ?, and what is filled in changes nothing of its form. */
static void add_address(struct html *w, const char *format, va_list ap)
{
    struct text address;

    assert((format[0] == '/' && format[1] != '/') || format[0] == '#' || format[0] == '?');
    text_init(&address, HTML_BYTES_MAX);
    for (const char *p = format; *p; p++) {
        if (*p == '%') {
            assert(p[1] == 's');
            p++;
            percent_add(&address, va_arg(ap, const char *));
        } else {
            text_add_char(&address, *p);
        }
    }
    add_escaped(w, text_str(&address));
    if (address.failed)
        w->text.failed = address.failed;
    text_release(&address);
}

static void put_link(struct html *w, const char *name, const char *format, va_list ap)
{
    assert(is_address(name) && w->in_tag);
    text_addf(&w->text, " %s=\"", name);
    add_address(w, format, ap);
    text_add(&w->text, "\"");
}

void html_link(struct html *w, const char *name, const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    put_link(w, name, format, ap);
    va_end(ap);
}

void html_query_link(struct html *w, const char *path, const char *query)
{
    bool ours = path[0] == '/' && path[1] != '/' && path[1] != '\\';

    assert(w->in_tag);
    text_add(&w->text, " href=\"");
    add_escaped(w, ours ? path : "#");
    if (ours && query[0]) {
        text_add(&w->text, "?");
        add_escaped(w, query);
    }
    text_add(&w->text, "\"");
}

/* ---- texts ---- */

void html_text(struct html *w, const char *text)
{
    end_tag(w);
    if (text)
        add_escaped(w, text);
}

void html_textf(struct html *w, const char *format, ...)
{
    char *text = NULL;
    va_list ap;
    int n;

    va_start(ap, format);
    n = vasprintf(&text, format, ap);
    va_end(ap);
    if (n < 0) {
        w->text.failed = ERR_NOMEM;
        return;
    }
    html_text(w, text);
    free(text);
}

void html_element(struct html *w, const char *element, const char *class, const char *text)
{
    html_open(w, element);
    html_attr(w, "class", class);
    html_text(w, text);
    html_close(w);
}

void html_anchor(struct html *w, const char *text, const char *format, ...)
{
    va_list ap;

    html_open(w, "a");
    va_start(ap, format);
    put_link(w, "href", format, ap);
    va_end(ap);
    html_text(w, text);
    html_close(w);
}
