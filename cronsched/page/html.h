/* Writes HTML. There is no way to write raw text: elements, attributes and texts go through functions that escape, so what a
 * job is called, or prints, cannot become a part of the page. Elements are closed by the writer in the order in which they
 * were opened.
 *
 * Names of elements and attributes are the program's own: others are a programmer's error, as are attributes that run code
 * (on..., style, srcdoc). What is in a text or a value may be anything: what is no UTF-8, and what no text on a screen may
 * have (control characters, marks that turn the direction of writing), is shown as U+FFFD or in words.
 *
 * Plain values; any thread. After a failure (memory, or more than the bound) nothing more is written.
 */
#pragma once

#include "jobs/base/text.h"

#define HTML_BYTES_MAX (4 * 1024 * 1024)
#define HTML_DEPTH_MAX 32

struct html {
    struct text text;
    const char *open[HTML_DEPTH_MAX]; /* elements, outermost first */
    size_t depth;
    bool in_tag; /* attributes may follow */
};

void html_init(struct html *w);
void html_release(struct html *w);
/* All elements are closed. The text for free(); NULL: it failed. */
char *html_take(struct html *w);

void html_doctype(struct html *w);
void html_open(struct html *w, const char *element);
void html_close(struct html *w); /* the innermost that is open */
void html_leaf(struct html *w,
               const char *element); /* one of HTML that has no contents: br, input, meta, link */

/* Of the element opened last, before anything is in it. value NULL: nothing is written. */
void html_attr(struct html *w, const char *name, const char *value);
void html_attrf(struct html *w, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void html_flag(struct html *w, const char *name, bool on); /* selected, disabled, hidden... */
/* href, action, src: a path of this site. Each %s of the format is percent-encoded as one part of a path or a query; no other
 * conversion is known. */
void html_link(struct html *w, const char *name, const char *format, ...);
/* href of a path and a query that are encoded already. What is no path of this site becomes "#". */
void html_query_link(struct html *w, const char *path, const char *query);

void html_text(struct html *w, const char *text); /* NULL: nothing */
void html_textf(struct html *w, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* <element class="class">text</element>; class NULL: none. */
void html_element(struct html *w, const char *element, const char *class, const char *text);
/* <a href=...>text</a>. */
void html_anchor(struct html *w, const char *text, const char *format, ...);
