/* Why a job ran, or did not, at a time. Model: {"job","time","error","explain":GET /v1/explain}; no "explain": nothing was asked. */
#include "cronsched/page/page.h"

#include <string.h>

static void form(struct html *w, const json_t *model)
{
    html_open(w, "form");
    html_attr(w, "class", "filter");
    html_link(w, "action", "/ui/explain");
    page_field(w, "Job", "job", page_text(model, "job"), NULL);
    page_field(w, "Time (RFC 3339, with the zone)", "time", page_text(model, "time"),
               "2026-11-30T23:05:00+01:00");
    page_button(w, "Explain", NULL);
    html_close(w);
}

static void steps(struct html *w, const json_t *explain, const struct page_view *view)
{
    const json_t *line;
    size_t i;

    html_element(w, "h2", NULL, "How it came about");
    html_open(w, "ol");
    html_attr(w, "class", "steps");
    json_array_foreach(json_object_get(explain, "lines"), i, line)
    {
        html_open(w, "li");
        html_element(w, "strong", NULL, page_text(line, "what"));
        html_textf(w, ": %s", page_text(line, "text"));
        if (page_text(line, "time")[0]) {
            html_open(w, "span");
            html_attr(w, "class", "note");
            page_time(w, view, page_text(line, "time"));
            html_close(w);
        }
        html_close(w);
    }
    html_close(w);
}

/* To the fire times beside it. */
static void neighbour(struct html *w, const json_t *explain, const struct page_view *view, const char *key,
                      const char *text)
{
    const char *time = page_text(explain, key);

    if (!time[0])
        return;
    html_open(w, "a");
    html_link(w, "href", "/ui/explain?job=%s&time=%s", page_text(explain, "job"), time);
    html_attr(w, "rel", strcmp(key, "next") == 0 ? "next" : "prev");
    html_textf(w, "%s ", text);
    page_time(w, view, time);
    html_close(w);
}

static void body(struct html *w, const json_t *model, const struct page_view *view)
{
    const json_t *explain = json_object_get(model, "explain");

    html_element(w, "h1", NULL, "Explain");
    form(w, model);
    page_error(w, page_text(model, "error"));
    if (!explain) {
        html_element(w, "p", NULL, "Any time will do, also one at which the job was not to run.");
        return;
    }
    html_open(w, "p");
    html_attr(w, "class", "answer");
    page_verdict(w, page_text(explain, "verdict"));
    html_textf(w, " %s", page_text(explain, "text"));
    html_close(w);
    html_open(w, "p");
    html_anchor(w, page_text(explain, "job"), "/ui/jobs/%s", page_text(explain, "job"));
    html_text(w, " ");
    if (page_text(explain, "run")[0])
        html_anchor(w, page_text(explain, "run"), "/ui/runs/%s", page_text(explain, "run"));
    html_close(w);
    steps(w, explain, view);
    html_open(w, "p");
    html_attr(w, "class", "pages");
    neighbour(w, explain, view, "previous", "Before:");
    neighbour(w, explain, view, "next", "After:");
    html_close(w);
}

const struct page page_explain = {"explain", body};
