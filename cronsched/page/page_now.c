/* What there is to know now. Model: {"counts":{"failing","running","paused","jobs","unfinished"},"failing":[jobs],"next":[jobs],
 * "running":[runs]}. */
#include "cronsched/page/page.h"

static void tile(struct html *w, const char *text, int64_t count, const char *path, const char *q)
{
    html_open(w, "li");
    html_open(w, "a");
    html_link(w, "href", path, q);
    html_open(w, "b");
    html_textf(w, "%lld", (long long)count);
    html_close(w);
    html_text(w, text);
    html_close(w);
    html_close(w);
}

static void tiles(struct html *w, const json_t *model)
{
    const json_t *counts = json_object_get(model, "counts");

    html_open(w, "ul");
    html_attr(w, "class", "tiles");
    tile(w, "failing", page_int(counts, "failing", 0), "/ui/jobs?q=%s", "state:failing");
    tile(w, "running", page_int(counts, "running", 0), "/ui/jobs?q=%s", "state:running");
    tile(w, "paused", page_int(counts, "paused", 0), "/ui/jobs?q=%s", "paused:yes");
    tile(w, "never run", page_int(counts, "never", 0), "/ui/jobs?q=%s", "state:never");
    tile(w, "jobs", page_int(counts, "jobs", 0), "/ui/jobs?q=%s", "");
    html_close(w);
}

static void failing(struct html *w, const json_t *model, const struct page_view *view)
{
    const json_t *job;
    size_t i;

    html_element(w, "h2", NULL, "Failing jobs");
    if (json_array_size(json_object_get(model, "failing")) == 0) {
        html_element(w, "p", NULL, "None.");
        return;
    }
    html_open(w, "ul");
    json_array_foreach(json_object_get(model, "failing"), i, job)
    {
        html_open(w, "li");
        html_anchor(w, page_text(job, "job"), "/ui/jobs/%s", page_text(job, "job"));
        html_text(w, " ");
        page_verdict(w, page_text(job, "verdict"));
        html_textf(w, ", %lld in a row, last ", (long long)page_int(job, "failures", 0));
        html_open(w, "a");
        html_link(w, "href", "/ui/runs/%s", page_text(job, "last_run"));
        page_time_relative(w, view, page_text(job, "last"));
        html_close(w);
        html_close(w);
    }
    html_close(w);
}

static void next(struct html *w, const json_t *model, const struct page_view *view)
{
    const json_t *job;
    size_t i;

    html_element(w, "h2", NULL, "Next");
    html_open(w, "ol");
    json_array_foreach(json_object_get(model, "next"), i, job)
    {
        if (!page_text(job, "next")[0])
            continue;
        html_open(w, "li");
        page_time(w, view, page_text(job, "next"));
        html_text(w, " ");
        html_anchor(w, page_text(job, "job"), "/ui/jobs/%s", page_text(job, "job"));
        html_text(w, " ");
        page_time_relative(w, view, page_text(job, "next"));
        html_close(w);
    }
    html_close(w);
}

static void body(struct html *w, const json_t *model, const struct page_view *view)
{
    if (!view->part)
        html_element(w, "h1", NULL, "Now");
    if (!page_part(w, view, "now"))
        return;
    tiles(w, model);
    failing(w, model, view);
    html_element(w, "h2", NULL, "Running");
    page_run_table(w, json_object_get(model, "running"), view, "Runs that have not ended, the newest first");
    next(w, model, view);
    page_part_end(w);
}

const struct page page_now = {"now", body};
