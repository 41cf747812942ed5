/* The list of jobs. Model: {"jobs":[rows of GET /v1/jobs],"total","next","previous","q","sort","order","error"}. */
#include "cronsched/page/page.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *sort, *text;
} columns[] = {
    {"name", "Job"},         {"next", "Next"},   {"last", "Last"},
    {"failures", "Last 24"}, {NULL, "Schedule"}, {NULL, "Owner, labels"},
};

/* ---- above the table ---- */

static void filters(struct html *w, const json_t *model, const struct page_view *view)
{
    static const char *const quick[][2] = {{"All", ""},
                                           {"Failing", "state:failing"},
                                           {"Running", "state:running"},
                                           {"Paused", "paused:yes"},
                                           {"Never run", "state:never"}};
    const char *q = page_text(model, "q"), *error = page_text(model, "error");

    html_open(w, "form");
    html_attr(w, "class", "filter");
    html_link(w, "action", "/ui/jobs");
    page_field(w, "Filter", "q", q, "words, label:team=finance, state:failing, zone:Europe/*");
    page_hidden(w, "sort", page_text(model, "sort"));
    page_hidden(w, "order", page_text(model, "order"));
    page_button(w, "Show", NULL);
    html_close(w);
    page_error(w, error);
    page_chips(w, view, q, quick, sizeof(quick) / sizeof(quick[0]));
}

/* A heading by which the table is sorted; by that again: the other way round. */
static void heading(struct html *w, const json_t *model, const struct page_view *view, const char *sort,
                    const char *text)
{
    bool by = sort && strcmp(page_text(model, "sort"), sort) == 0;
    bool down = strcmp(page_text(model, "order"), "desc") == 0;

    html_open(w, "th");
    html_attr(w, "scope", "col");
    if (by)
        html_attr(w, "aria-sort", down ? "descending" : "ascending");
    if (!sort) {
        html_text(w, text);
    } else if (by) {
        page_open_link(w, view, "order", down ? "asc" : "desc");
        html_textf(w, "%s %s", text, down ? "↓" : "↑");
        html_close(w);
    } else {
        char query[64];

        snprintf(query, sizeof(query), "sort=%s", sort);
        page_open_link_with(w, view, (const char *const[]){"sort", "order", NULL}, query);
        html_text(w, text);
        html_close(w);
    }
    html_close(w);
}

/* ---- a row ---- */

static void name_cell(struct html *w, const json_t *job)
{
    html_open(w, "th");
    html_attr(w, "scope", "row");
    html_anchor(w, page_text(job, "job"), "/ui/jobs/%s", page_text(job, "job"));
    if (page_text(job, "description")[0])
        html_element(w, "span", "note", page_text(job, "description"));
    html_close(w);
}

static void open_cell(struct html *w, const char *label)
{
    html_open(w, "td");
    html_attr(w, "data-label", label);
}

static void next_cell(struct html *w, const json_t *job, const struct page_view *view)
{
    open_cell(w, "Next");
    if (json_is_true(json_object_get(job, "paused"))) {
        page_verdict(w, "paused");
        html_element(w, "span", "note", page_text(job, "pause_reason"));
    } else if (page_text(job, "next")[0]) {
        page_time_relative(w, view, page_text(job, "next"));
        html_open(w, "span");
        html_attr(w, "class", "note");
        page_time(w, view, page_text(job, "next"));
        html_close(w);
    } else {
        page_time(w, view, NULL);
    }
    html_close(w);
}

static void last_cell(struct html *w, const json_t *job, const struct page_view *view)
{
    const char *state = page_text(job, "state"), *run = page_text(job, "last_run");

    open_cell(w, "Last");
    if (run[0]) {
        html_open(w, "a");
        html_link(w, "href", "/ui/runs/%s", run);
        page_verdict(w, state[0] ? state : page_text(job, "verdict"));
        html_close(w);
        html_open(w, "span");
        html_attr(w, "class", "note");
        page_time_relative(w, view, page_text(job, "last"));
        html_close(w);
    } else {
        page_verdict(w, NULL);
    }
    html_close(w);
}

static void strip_cell(struct html *w, const json_t *job)
{
    int64_t failures = page_int(job, "failures", 0);

    open_cell(w, "Last 24");
    page_strip(w, page_text(job, "strip"));
    if (failures > 1) {
        html_open(w, "span");
        html_attr(w, "class", "note v-failed");
        html_textf(w, "%lld failures in a row", (long long)failures);
        html_close(w);
    }
    html_close(w);
}

static void schedule_cell(struct html *w, const json_t *job)
{
    const char *words = page_text(job, "describe"), *schedule = page_text(job, "schedule");

    open_cell(w, "Schedule");
    if (!words[0])
        words = schedule[0] ? schedule : "by trigger";
    html_text(w, words);
    html_open(w, "span");
    html_attr(w, "class", "note");
    if (words != schedule)
        html_element(w, "code", NULL, schedule);
    html_textf(w, " %s", page_text(job, "timezone"));
    html_close(w);
    html_close(w);
}

static void owner_cell(struct html *w, const json_t *job)
{
    const char *name;
    json_t *value;

    open_cell(w, "Owner, labels");
    html_text(w, page_text(job, "owner"));
    json_object_foreach(json_object_get(job, "labels"), name, value)
    {
        html_open(w, "span");
        html_attr(w, "class", "label");
        html_textf(w, "%s=%s", name, json_is_string(value) ? json_string_value(value) : "");
        html_close(w);
    }
    html_close(w);
}

static void row(struct html *w, const json_t *job, const struct page_view *view)
{
    html_open(w, "tr");
    html_attr(w, "data-job", page_text(job, "job"));
    if (view->operates) {
        html_open(w, "td");
        html_attr(w, "class", "pick");
        html_leaf(w, "input");
        html_attr(w, "type", "checkbox");
        html_attr(w, "name", "job");
        html_attr(w, "value", page_text(job, "job"));
        html_attrf(w, "aria-label", "Select %s", page_text(job, "job"));
        html_close(w);
    }
    name_cell(w, job);
    next_cell(w, job, view);
    last_cell(w, job, view);
    strip_cell(w, job);
    schedule_cell(w, job);
    owner_cell(w, job);
    html_close(w);
}

static void table(struct html *w, const json_t *model, const struct page_view *view)
{
    const json_t *jobs = json_object_get(model, "jobs"), *job;
    size_t i;

    html_open(w, "table");
    html_open(w, "caption");
    html_textf(w, "%lld job%s", (long long)page_int(model, "total", 0),
               page_int(model, "total", 0) == 1 ? "" : "s");
    html_close(w);
    html_open(w, "thead");
    html_open(w, "tr");
    if (view->operates) {
        html_open(w, "th");
        html_attr(w, "scope", "col");
        html_element(w, "span", "hidden", "Select");
        html_close(w);
    }
    for (size_t c = 0; c < sizeof(columns) / sizeof(columns[0]); c++)
        heading(w, model, view, columns[c].sort, columns[c].text);
    html_close(w);
    html_close(w);
    html_open(w, "tbody");
    json_array_foreach(jobs, i, job)
    {
        row(w, job, view);
    }
    html_close(w);
    html_close(w);
}

static void actions(struct html *w)
{
    html_open(w, "p");
    html_attr(w, "class", "actions");
    html_text(w, "Selected jobs: ");
    page_action(w, "trigger", "Trigger", NULL);
    page_action(w, "pause", "Pause", NULL);
    page_action(w, "resume", "Resume", NULL);
    html_close(w);
}

static void body(struct html *w, const json_t *model, const struct page_view *view)
{
    if (!view->part) {
        html_element(w, "h1", NULL, "Jobs");
        filters(w, model, view);
    }
    if (!page_part(w, view, "rows"))
        return;
    if (view->operates) {
        html_open(w, "form");
        html_attr(w, "method", "post");
        html_link(w, "action", "/ui/confirm");
        page_hidden(w, "next", view->path);
    }
    table(w, model, view);
    if (view->operates) {
        actions(w);
        html_close(w);
    }
    page_pages(w, view, page_text(model, "next"));
    page_part_end(w);
}

const struct page page_jobs = {"jobs", body};
