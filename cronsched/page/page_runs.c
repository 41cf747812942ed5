/* The list of runs. Model: {"runs":[rows of GET /v1/runs],"next","q","since","until","error"}. */
#include "cronsched/page/page.h"

#include "jobs/time/instant.h"

#include <string.h>

static void filters(struct html *w, const json_t *model, const struct page_view *view)
{
    static const char *const quick[][2] = {{"All", ""},
                                           {"Running", "state:running,starting,unresolved"},
                                           {"Failed", "verdict:failed,timed-out,lost"},
                                           {"Skipped", "state:skipped"},
                                           {"By hand", "cause:manual"}};
    const char *q = page_text(model, "q"), *error = page_text(model, "error");

    html_open(w, "form");
    html_attr(w, "class", "filter");
    html_link(w, "action", "/ui/runs");
    page_field(w, "Filter", "q", q, "job:NAME verdict:failed cause:manual by:*alice");
    page_field(w, "Since (RFC 3339)", "since", page_text(model, "since"), "2026-11-30T18:00:00Z");
    page_field(w, "Until", "until", page_text(model, "until"), NULL);
    page_button(w, "Show", NULL);
    html_close(w);
    page_error(w, error);
    page_chips(w, view, q, quick, sizeof(quick) / sizeof(quick[0]));
}

/* Milliseconds between two times; -1: one of them is not there. */
static int64_t between(const json_t *run, const char *from, const char *to)
{
    int64_t a, b;
    struct error e;

    if (!page_text(run, from)[0] || !page_text(run, to)[0] ||
        instant_parse(page_text(run, from), &a, &e) < 0 || instant_parse(page_text(run, to), &b, &e) < 0)
        return -1;
    return b > a ? b - a : 0;
}

static void open_cell(struct html *w, const char *label)
{
    html_open(w, "td");
    html_attr(w, "data-label", label);
}

static void row(struct html *w, const json_t *run, const struct page_view *view)
{
    const char *verdict = page_text(run, "verdict");
    int64_t count = page_int(run, "count", 1), code = page_int(run, "exit_code", -1);

    html_open(w, "tr");
    html_attr(w, "data-run", page_text(run, "run"));
    html_open(w, "th");
    html_attr(w, "scope", "row");
    html_anchor(w, page_text(run, "run"), "/ui/runs/%s", page_text(run, "run"));
    html_close(w);
    open_cell(w, "Verdict");
    page_verdict(w, verdict[0] ? verdict : page_text(run, "state"));
    if (count > 1) {
        html_open(w, "span");
        html_attr(w, "class", "note");
        html_textf(w, "%lld fire times", (long long)count);
        html_close(w);
    }
    html_close(w);
    open_cell(w, "Fire time");
    page_time(w, view, page_text(run, "fire_time"));
    html_open(w, "span");
    html_attr(w, "class", "note");
    page_time_relative(w, view, page_text(run, "fire_time"));
    html_close(w);
    html_close(w);
    open_cell(w, "Late");
    page_duration(w, between(run, "fire_time", "started"));
    html_close(w);
    open_cell(w, "Took");
    page_duration(w, between(run, "started", "ended"));
    html_close(w);
    open_cell(w, "Exit code");
    if (code >= 0)
        html_textf(w, "%lld", (long long)code);
    else
        page_time(w, view, NULL);
    html_close(w);
    open_cell(w, "Attempts");
    html_textf(w, "%zu", json_array_size(json_object_get(run, "attempts")));
    html_close(w);
    open_cell(w, "Cause");
    html_text(w, page_text(run, "cause"));
    html_element(w, "span", "note", page_text(run, "by"));
    html_close(w);
    html_close(w);
}

void page_run_table(struct html *w, const json_t *runs, const struct page_view *view, const char *caption)
{
    static const char *const columns[] = {"Run",  "Verdict",   "Fire time", "Late",
                                          "Took", "Exit code", "Attempts",  "Cause"};
    const json_t *run;
    size_t i;

    html_open(w, "table");
    html_element(w, "caption", NULL, caption);
    html_open(w, "thead");
    html_open(w, "tr");
    for (size_t c = 0; c < sizeof(columns) / sizeof(columns[0]); c++) {
        html_open(w, "th");
        html_attr(w, "scope", "col");
        html_text(w, columns[c]);
        html_close(w);
    }
    html_close(w);
    html_close(w);
    html_open(w, "tbody");
    json_array_foreach(runs, i, run)
    {
        row(w, run, view);
    }
    html_close(w);
    html_close(w);
}

static void body(struct html *w, const json_t *model, const struct page_view *view)
{
    const json_t *runs = json_object_get(model, "runs");

    if (!view->part) {
        html_element(w, "h1", NULL, "Runs");
        filters(w, model, view);
    }
    if (!page_part(w, view, "rows"))
        return;
    page_run_table(w, runs, view, json_array_size(runs) ? "The newest first" : "No runs.");
    page_pages(w, view, page_text(model, "next"));
    page_part_end(w);
}

const struct page page_runs = {"runs", body};
