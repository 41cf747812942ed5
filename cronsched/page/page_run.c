/* One run, its log first. Model: {"run":{...},"log","log_note","attempt","cut"}; log NULL: none is here. */
#include "cronsched/page/page.h"

#include <stdio.h>
#include <string.h>

/* ---- the log ---- */

/* The length of an escape sequence for terminals at p; 0: there is none. */
static size_t escape_length(const char *p)
{
    size_t n = 2;

    if (p[0] != 0x1b)
        return 0;
    if (p[1] == '[') {
        while (p[n] >= 0x20 && p[n] < 0x40)
            n++;
        return p[n] ? n + 1 : n;
    }
    if (p[1] == ']') { /* up to BEL or ESC \ */
        while (p[n] && p[n] != 0x07 && p[n] != 0x1b && p[n] != '\n')
            n++;
        if (p[n] == 0x1b && p[n + 1] == '\\')
            return n + 2;
        return p[n] == 0x07 ? n + 1 : n;
    }
    return p[1] ? 2 : 1;
}

/* Without what only steers a terminal; of a line that was written over, what was there last. */
static void add_log(struct html *w, const char *log)
{
    struct text t;
    size_t line = 0;

    text_init(&t, HTML_BYTES_MAX);
    for (const char *p = log; *p;) {
        size_t n = escape_length(p);

        if (n) {
            p += n;
            continue;
        }
        if (*p == '\r' && p[1] != '\n' && p[1]) {
            t.len = line;
        } else if (*p != '\r') {
            text_add_char(&t, *p);
            line = *p == '\n' ? t.len : line;
        }
        p++;
    }
    html_text(w, text_str(&t));
    text_release(&t);
}

/* More may be printed yet. */
static bool goes_on(const json_t *run)
{
    return !page_text(run, "verdict")[0] && strcmp(page_text(run, "state"), "running") == 0;
}

static void log_part(struct html *w, const json_t *model, const struct page_view *view)
{
    const char *run = page_text(json_object_get(model, "run"), "run");
    char attempt[24];

    if (!page_part(w, view, "log"))
        return;
    snprintf(attempt, sizeof(attempt), "%lld", (long long)page_int(model, "attempt", 0));
    html_open(w, "h2");
    html_textf(w, "Log of attempt %s", attempt);
    html_close(w);
    if (page_text(model, "log_note")[0])
        html_element(w, "p", "none", page_text(model, "log_note"));
    if (page_text(model, "log")[0] || goes_on(json_object_get(model, "run"))) {
        html_open(w, "pre");
        html_attr(w, "class", "log");
        html_attr(w, "tabindex", "0");
        html_attr(w, "aria-label", "Log");
        html_attr(w, "data-follow", goes_on(json_object_get(model, "run")) ? attempt : NULL);
        add_log(w, page_text(model, "log"));
        html_close(w);
    }
    html_open(w, "p");
    html_anchor(w, "The whole log as text", "/v1/runs/%s/logs?attempt=%s", run, attempt);
    html_close(w);
    page_part_end(w);
}

/* ---- the rest ---- */

static void fact(struct html *w, const char *name)
{
    html_element(w, "dt", NULL, name);
    html_open(w, "dd");
}

static void time_fact(struct html *w, const struct page_view *view, const char *name, const char *time)
{
    if (!time[0])
        return;
    fact(w, name);
    page_time(w, view, time);
    html_text(w, " (");
    page_time_relative(w, view, time);
    html_text(w, ")");
    html_close(w);
}

static void text_fact(struct html *w, const char *name, const char *text)
{
    if (!text[0])
        return;
    fact(w, name);
    html_text(w, text);
    html_close(w);
}

static void facts(struct html *w, const json_t *run, const struct page_view *view)
{
    const char *verdict = page_text(run, "verdict");
    int64_t code = page_int(run, "exit_code", -1);

    html_open(w, "dl");
    fact(w, "Verdict");
    page_verdict(w, verdict[0] ? verdict : page_text(run, "state"));
    if (page_text(run, "text")[0])
        html_textf(w, " %s", page_text(run, "text"));
    html_close(w);
    fact(w, "Job");
    html_anchor(w, page_text(run, "job"), "/ui/jobs/%s", page_text(run, "job"));
    html_close(w);
    time_fact(w, view, "Fire time", page_text(run, "fire_time"));
    time_fact(w, view, "Started", page_text(run, "started"));
    time_fact(w, view, "Ended", page_text(run, "ended"));
    time_fact(w, view, "Next attempt", page_text(run, "retry_at"));
    if (code >= 0) {
        fact(w, "Exit code");
        html_textf(w, "%lld", (long long)code);
        html_close(w);
    }
    text_fact(w, "Cause", page_text(run, "cause"));
    text_fact(w, "By", page_text(run, "by"));
    html_close(w);
}

static void attempts(struct html *w, const json_t *run, const struct page_view *view)
{
    const json_t *attempt;
    size_t i;

    if (json_array_size(json_object_get(run, "attempts")) == 0)
        return;
    html_element(w, "h2", NULL, "Attempts");
    html_open(w, "ol");
    json_array_foreach(json_object_get(run, "attempts"), i, attempt)
    {
        char number[24];

        snprintf(number, sizeof(number), "%lld", (long long)page_int(attempt, "attempt", 0));
        html_open(w, "li");
        html_anchor(w, page_text(attempt, "state"), "/ui/runs/%s?attempt=%s", page_text(run, "run"), number);
        html_textf(w, " on %s", page_text(attempt, "engine"));
        if (page_int(attempt, "exit_code", -1) >= 0)
            html_textf(w, ", exit code %lld", (long long)page_int(attempt, "exit_code", 0));
        if (page_text(attempt, "started")[0]) {
            html_text(w, ", started ");
            page_time(w, view, page_text(attempt, "started"));
        }
        if (page_text(attempt, "text")[0])
            html_textf(w, ": %s", page_text(attempt, "text"));
        html_element(w, "span", "note", page_text(attempt, "id"));
        html_close(w);
    }
    html_close(w);
}

static void parameters(struct html *w, const json_t *run)
{
    const char *name;
    json_t *value;

    if (json_object_size(json_object_get(run, "params")) == 0)
        return;
    html_element(w, "h2", NULL, "Parameters");
    html_open(w, "dl");
    json_object_foreach(json_object_get(run, "params"), name, value)
    {
        text_fact(w, name, json_is_string(value) ? json_string_value(value) : "–");
    }
    html_close(w);
}

static void actions(struct html *w, const json_t *run, const struct page_view *view)
{
    bool over = page_text(run, "verdict")[0] || strcmp(page_text(run, "state"), "skipped") == 0;

    if (!view->operates)
        return;
    page_open_actions(w, view);
    page_hidden(w, "run", page_text(run, "run"));
    page_hidden(w, "job", page_text(run, "job"));
    if (!over)
        page_action(w, "kill", "Kill", "danger");
    page_action(w, "trigger", "Run the job now", NULL);
    html_anchor(w, "Run it with these parameters", "/ui/jobs/%s/trigger?run=%s", page_text(run, "job"),
                page_text(run, "run"));
    html_close(w);
}

static void body(struct html *w, const json_t *model, const struct page_view *view)
{
    const json_t *run = json_object_get(model, "run");

    if (!view->part)
        html_element(w, "h1", NULL, page_text(run, "run"));
    if (page_part(w, view, "facts")) {
        facts(w, run, view);
        page_part_end(w);
    }
    if (!view->part)
        actions(w, run, view);
    log_part(w, model, view);
    if (page_part(w, view, "attempts")) {
        attempts(w, run, view);
        page_part_end(w);
    }
    if (view->part)
        return;
    parameters(w, run);
    html_element(w, "h2", NULL, "On the command line");
    html_open(w, "pre");
    html_textf(w, "cronsched run %s\ncronsched logs %s\ncronsched explain %s", page_text(run, "run"),
               page_text(run, "run"), page_text(run, "run"));
    html_close(w);
    html_open(w, "p");
    html_anchor(w, "All runs of this job", "/ui/runs?q=job:%s", page_text(run, "job"));
    html_close(w);
}

const struct page page_run = {"runs", body};
