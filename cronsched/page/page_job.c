/* One job. Model: {"job":{as GET /v1/jobs/JOB},"runs":[its newest],"text": its definition as YAML or JSON}. */
#include "cronsched/page/page.h"

#include <string.h>

static void fact(struct html *w, const char *name)
{
    html_element(w, "dt", NULL, name);
    html_open(w, "dd");
}

static void text_fact(struct html *w, const char *name, const char *text)
{
    if (!text[0])
        return;
    fact(w, name);
    html_text(w, text);
    html_close(w);
}

static void schedule_fact(struct html *w, const json_t *job)
{
    fact(w, "Schedule");
    if (page_text(job, "describe")[0])
        html_textf(w, "%s ", page_text(job, "describe"));
    if (page_text(job, "schedule")[0])
        html_element(w, "code", NULL, page_text(job, "schedule"));
    else
        html_text(w, "by trigger");
    html_textf(w, " %s", page_text(job, "timezone"));
    html_close(w);
}

static void pause_fact(struct html *w, const json_t *job, const struct page_view *view)
{
    if (!json_is_true(json_object_get(job, "paused")))
        return;
    fact(w, "Paused");
    page_verdict(w, "paused");
    if (page_text(job, "paused_by")[0])
        html_textf(w, " by %s", page_text(job, "paused_by"));
    if (page_text(job, "pause_reason")[0])
        html_textf(w, ": %s", page_text(job, "pause_reason"));
    if (page_text(job, "paused_until")[0]) {
        html_text(w, ", until ");
        page_time(w, view, page_text(job, "paused_until"));
    }
    html_close(w);
}

static void counts_fact(struct html *w, const json_t *job)
{
    const char *verdict;
    json_t *count;
    size_t n = 0;

    if (json_object_size(json_object_get(job, "counts")) == 0)
        return;
    fact(w, "So far");
    json_object_foreach(json_object_get(job, "counts"), verdict, count)
    {
        html_textf(w, "%s%lld %s", n++ ? ", " : "", (long long)json_integer_value(count), verdict);
    }
    html_close(w);
}

static void facts(struct html *w, const json_t *job, const struct page_view *view)
{
    int64_t failures = page_int(job, "failures", 0);

    html_open(w, "dl");
    fact(w, "State");
    page_verdict(w, page_text(job, "health"));
    if (failures)
        html_textf(w, " %lld failure%s in a row", (long long)failures, failures == 1 ? "" : "s");
    html_close(w);
    pause_fact(w, job, view);
    schedule_fact(w, job);
    fact(w, "Last 24");
    page_strip(w, page_text(job, "strip"));
    html_close(w);
    counts_fact(w, job);
    fact(w, "Last success");
    page_time(w, view, page_text(job, "last_success"));
    html_close(w);
    text_fact(w, "Engine", page_text(job, "engine"));
    text_fact(w, "Owner", page_text(job, "owner"));
    text_fact(w, "Set", page_text(job, "set"));
    fact(w, "Version");
    html_textf(w, "%lld", (long long)page_int(job, "version", 0));
    html_close(w);
    html_close(w);
}

static void next_times(struct html *w, const json_t *job, const struct page_view *view)
{
    const json_t *times = json_object_get(job, "next_times"), *time;
    size_t i;

    if (json_array_size(times) == 0)
        return;
    html_element(w, "h2", NULL, "Next fire times");
    html_open(w, "ol");
    json_array_foreach(times, i, time)
    {
        html_open(w, "li");
        page_time(w, view, json_string_value(time));
        html_text(w, " (");
        page_time_relative(w, view, json_string_value(time));
        html_text(w, ")");
        html_close(w);
    }
    html_close(w);
}

static void actions(struct html *w, const json_t *job, const struct page_view *view)
{
    bool paused = json_is_true(json_object_get(job, "paused"));

    if (!view->operates)
        return;
    page_open_actions(w, view);
    page_hidden(w, "job", page_text(job, "job"));
    page_action(w, "trigger", "Trigger", "primary");
    if (paused)
        page_action(w, "resume", "Resume", NULL);
    else
        page_action(w, "pause", "Pause", NULL);
    if (view->administers)
        page_action(w, "delete", "Delete", "danger");
    html_anchor(w, "Trigger with parameters", "/ui/jobs/%s/trigger", page_text(job, "job"));
    html_anchor(w, "Backfill", "/ui/jobs/%s/backfill", page_text(job, "job"));
    html_close(w);
}

static void body(struct html *w, const json_t *model, const struct page_view *view)
{
    const json_t *job = json_object_get(model, "job");

    if (!view->part) {
        html_element(w, "h1", NULL, page_text(job, "job"));
        if (page_text(job, "description")[0])
            html_element(w, "p", NULL, page_text(job, "description"));
    }
    if (page_part(w, view, "facts")) {
        facts(w, job, view);
        page_part_end(w);
    }
    if (!view->part)
        actions(w, job, view);
    if (page_part(w, view, "next")) {
        next_times(w, job, view);
        page_part_end(w);
    }
    if (page_part(w, view, "runs")) {
        html_element(w, "h2", NULL, "Runs");
        page_run_table(w, json_object_get(model, "runs"), view, "The newest 50");
        html_open(w, "p");
        html_anchor(w, "All runs of this job", "/ui/runs?q=job:%s", page_text(job, "job"));
        html_close(w);
        page_part_end(w);
    }
    if (view->part)
        return;
    html_element(w, "h2", NULL, "Definition");
    html_open(w, "pre");
    html_attr(w, "tabindex", "0");
    html_text(w, page_text(model, "text"));
    html_close(w);
}

const struct page page_job = {"jobs", body};
