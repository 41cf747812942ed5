/* A run of a job now, with parameters. Model: {"job","key","error","run":{"params"}: of a run whose parameters are used again}. */
#include "cronsched/page/page.h"

#define EMPTY_PAIRS 3 /* at least two pairs: fields that come once are no list */

/* A line break at the beginning of a text area is not taken for its own, so there is one more. */
static void pair(struct html *w, const char *name, const char *value)
{
    html_open(w, "p");
    html_attr(w, "class", "pair");
    page_field(w, "Parameter", "name", name, NULL);
    html_open(w, "label");
    html_element(w, "span", NULL, "Value");
    html_open(w, "textarea");
    html_attr(w, "name", "value");
    html_attr(w, "rows", "1");
    html_textf(w, "\n%s", value);
    html_close(w);
    html_close(w);
    html_close(w);
}

static void body(struct html *w, const json_t *model, const struct page_view *view)
{
    const json_t *params = json_object_get(json_object_get(model, "run"), "params");
    const char *name;
    json_t *value;

    html_element(w, "h1", NULL, "Trigger");
    page_error(w, page_text(model, "error"));
    html_open(w, "p");
    html_text(w, "This job runs once, now, with these parameters: ");
    html_anchor(w, page_text(model, "job"), "/ui/jobs/%s", page_text(model, "job"));
    html_close(w);
    html_open(w, "form");
    html_attr(w, "class", "card");
    html_attr(w, "method", "post");
    html_link(w, "action", "/ui/jobs/%s/trigger", page_text(model, "job"));
    page_hidden(w, "key", page_text(model, "key"));
    json_object_foreach((json_t *)(uintptr_t)params, name, value)
    {
        pair(w, name, json_is_string(value) ? json_string_value(value) : "");
    }
    for (int i = 0; i < EMPTY_PAIRS; i++)
        pair(w, NULL, "");
    page_button(w, "Trigger", "primary");
    html_close(w);
}

const struct page page_trigger = {"jobs", body};
