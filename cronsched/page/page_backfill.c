/* Runs for past fire times. Model: {"job","from","to","error","plan": the answer of POST /v1/jobs/{job}/backfill with dry_run}; no "plan": there
 * is no span yet. */
#include "cronsched/page/page.h"

static void ask_span(struct html *w, const json_t *model)
{
    html_open(w, "form");
    html_attr(w, "class", "filter");
    html_link(w, "action", "/ui/jobs/%s/backfill", page_text(model, "job"));
    page_field(w, "From (RFC 3339, with the zone)", "from", page_text(model, "from"),
               "2026-11-29T00:00:00+01:00");
    page_field(w, "To", "to", page_text(model, "to"), "2026-11-30T00:00:00+01:00");
    page_button(w, "Which are missing?", NULL);
    html_close(w);
}

static void plan_times(struct html *w, const json_t *plan, const struct page_view *view)
{
    const json_t *times = json_object_get(plan, "fire_times"), *time;
    int64_t count = page_int(plan, "count", 0);
    size_t i;

    html_open(w, "ol");
    json_array_foreach(times, i, time)
    {
        html_open(w, "li");
        page_time(w, view, json_string_value(time));
        html_close(w);
    }
    html_close(w);
    if (count > (int64_t)json_array_size(times)) {
        html_open(w, "p");
        html_textf(w, "And %lld more.", (long long)(count - (int64_t)json_array_size(times)));
        html_close(w);
    }
}

static void plan_form(struct html *w, const json_t *model, const struct page_view *view)
{
    const json_t *plan = json_object_get(model, "plan");
    int64_t count = page_int(plan, "count", 0);

    html_open(w, "p");
    html_textf(w, "Fire times of this span that have no run: %lld", (long long)count);
    html_close(w);
    if (count == 0)
        return;
    plan_times(w, plan, view);
    html_open(w, "form");
    html_attr(w, "class", "card");
    html_attr(w, "method", "post");
    html_link(w, "action", "/ui/jobs/%s/backfill", page_text(model, "job"));
    page_hidden(w, "from", page_text(model, "from"));
    page_hidden(w, "to", page_text(model, "to"));
    html_element(w, "p", NULL, "They run one after the other, the oldest first.");
    page_button(w, "Run them", "primary");
    html_close(w);
}

static void body(struct html *w, const json_t *model, const struct page_view *view)
{
    html_element(w, "h1", NULL, "Backfill");
    html_open(w, "p");
    html_anchor(w, page_text(model, "job"), "/ui/jobs/%s", page_text(model, "job"));
    html_close(w);
    ask_span(w, model);
    page_error(w, page_text(model, "error"));
    if (json_object_get(model, "plan"))
        plan_form(w, model, view);
}

const struct page page_backfill = {"jobs", body};
