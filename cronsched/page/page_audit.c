/* Whether every fire time is accounted for, and who changed what. Model: {"since","until","job","kinds","error",
 * "records":GET /v1/records,"audit":GET /v1/audit}; no "audit": none was asked for. */
#include "cronsched/page/page.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RECORDS_PAGE 200 /* as many as are asked for: there may be more */
#define RECORD_CHARS 400 /* of one that are shown */
#define FINDINGS_MAX 200 /* rows of one kind that are shown */

static void form(struct html *w, const json_t *model)
{
    html_open(w, "form");
    html_attr(w, "class", "filter");
    html_link(w, "action", "/ui/audit");
    page_field(w, "Since (RFC 3339, with the zone)", "since", page_text(model, "since"), NULL);
    page_field(w, "Until", "until", page_text(model, "until"), "now");
    page_field(w, "Job", "job", page_text(model, "job"), "all");
    page_field(w, "Kinds of records", "kinds", page_text(model, "kinds"), "what people did");
    page_button(w, "Audit", NULL);
    html_close(w);
}

/* ---- the audit ---- */

static void tile(struct html *w, const char *text, int64_t count)
{
    html_open(w, "li");
    html_open(w, "span");
    html_attr(w, "class", "tile");
    html_open(w, "b");
    html_textf(w, "%lld", (long long)count);
    html_close(w);
    html_text(w, text);
    html_close(w);
    html_close(w);
}

static void head_cells(struct html *w, const char *const *names)
{
    html_open(w, "thead");
    html_open(w, "tr");
    for (; *names; names++) {
        html_open(w, "th");
        html_attr(w, "scope", "col");
        html_text(w, *names);
        html_close(w);
    }
    html_close(w);
    html_close(w);
}

static void open_cell(struct html *w, const char *label)
{
    html_open(w, "td");
    html_attr(w, "data-label", label);
}

/* Fire times that something is wrong with; nothing is shown when there are none. */
static void findings(struct html *w, const json_t *rows, const struct page_view *view, const char *caption)
{
    static const char *const names[] = {"Job", "Fire time", "Why", NULL};
    const json_t *row;
    size_t i;

    if (json_array_size(rows) == 0)
        return;
    html_open(w, "table");
    html_open(w, "caption");
    html_textf(w, "%s (%zu, of which %d are shown at most)", caption, json_array_size(rows), FINDINGS_MAX);
    html_close(w);
    head_cells(w, names);
    html_open(w, "tbody");
    json_array_foreach(rows, i, row)
    {
        const char *time = page_text(row, "fire_time"), *from = page_text(row, "from");

        if (i == FINDINGS_MAX)
            break;
        html_open(w, "tr");
        html_open(w, "th");
        html_attr(w, "scope", "row");
        html_text(w, page_text(row, "job"));
        html_close(w);
        open_cell(w, "Fire time");
        html_open(w, "a");
        html_link(w, "href", "/ui/explain?job=%s&time=%s", page_text(row, "job"), time[0] ? time : from);
        page_time(w, view, time[0] ? time : from);
        html_close(w);
        html_close(w);
        open_cell(w, "Why");
        html_text(w, page_text(row, "why")[0] ? page_text(row, "why") : page_text(row, "reason"));
        html_close(w);
        html_close(w);
    }
    html_close(w);
    html_close(w);
}

static void gaps(struct html *w, const json_t *audit, const struct page_view *view)
{
    const json_t *gap;
    size_t i;

    json_array_foreach(json_object_get(audit, "gaps"), i, gap)
    {
        html_open(w, "p");
        html_attr(w, "class", "warn");
        html_text(w, "History lacks records from ");
        page_time(w, view, page_text(gap, "from"));
        html_text(w, " to ");
        page_time(w, view, page_text(gap, "to"));
        html_text(w, ".");
        html_close(w);
    }
}

static void account(struct html *w, const json_t *audit, const struct page_view *view)
{
    int64_t unaccounted = page_int(audit, "unaccounted_count", 0),
            doubled = page_int(audit, "doubled_count", 0);
    bool clean = unaccounted == 0 && doubled == 0 && page_int(audit, "range_count", 0) == 0 &&
                 json_array_size(json_object_get(audit, "gaps")) == 0;

    html_element(w, "h2", NULL, "Account");
    html_open(w, "p");
    html_attr(w, "class", clean ? "v-succeeded" : "v-failed");
    html_text(w, clean ? "✓ Every fire time has one run or one recorded skip: "
                       : "✕ Not every fire time is accounted for: ");
    page_time(w, view, page_text(audit, "since"));
    html_text(w, " to ");
    page_time(w, view, page_text(audit, "until"));
    html_close(w);
    html_open(w, "ul");
    html_attr(w, "class", "tiles");
    tile(w, "fire times", page_int(audit, "fire_times", 0));
    tile(w, "have run", page_int(audit, "runs", 0));
    tile(w, "skipped", page_int(audit, "skipped", 0));
    tile(w, "open", page_int(audit, "open", 0));
    tile(w, "no longer kept", page_int(audit, "pruned", 0));
    tile(w, "unaccounted", unaccounted);
    tile(w, "doubled", doubled);
    html_close(w);
    gaps(w, audit, view);
    findings(w, json_object_get(audit, "unaccounted"), view, "Not accounted for");
    findings(w, json_object_get(audit, "doubled"), view, "More than one run");
    findings(w, json_object_get(audit, "ranges"), view, "Skips whose number is not that of the schedule");
}

/* ---- who changed what ---- */

static void record_text(struct html *w, const json_t *record)
{
    char *text = json_dumps(record, JSON_COMPACT | JSON_ENCODE_ANY);

    if (!text)
        return;
    html_open(w, "code");
    html_textf(w, "%.*s", RECORD_CHARS, text);
    html_text(w, strlen(text) > RECORD_CHARS ? " …" : NULL);
    html_close(w);
    free(text);
}

static void record_row(struct html *w, const json_t *entry, const struct page_view *view)
{
    const json_t *record = json_object_get(entry, "record");
    const char *job = page_text(record, "job"), *run = page_text(record, "run");

    html_open(w, "tr");
    html_open(w, "th");
    html_attr(w, "scope", "row");
    page_time(w, view, page_text(entry, "time"));
    html_close(w);
    open_cell(w, "What");
    html_text(w, page_text(entry, "kind"));
    html_close(w);
    open_cell(w, "Of");
    if (run[0])
        html_anchor(w, run, "/ui/runs/%s", run);
    else if (job[0])
        html_anchor(w, job, "/ui/jobs/%s", job);
    else
        page_time(w, view, NULL);
    html_close(w);
    open_cell(w, "By");
    html_text(w, page_text(record, "by")[0] ? page_text(record, "by") : page_text(record, "replica"));
    html_close(w);
    open_cell(w, "Record");
    record_text(w, record);
    html_close(w);
    html_close(w);
}

static void records(struct html *w, const json_t *model, const struct page_view *view)
{
    static const char *const names[] = {"Time", "What", "Of", "By", "Record", NULL};
    const json_t *rows = json_object_get(model, "records"), *entry;
    size_t i, count = json_array_size(rows);
    char next[64] = "";

    html_element(w, "h2", NULL, "Records");
    html_open(w, "table");
    html_element(w, "caption", NULL, count ? "The oldest first" : "None in this time.");
    head_cells(w, names);
    html_open(w, "tbody");
    json_array_foreach(rows, i, entry)
    {
        record_row(w, entry, view);
    }
    html_close(w);
    html_close(w);
    entry = count ? json_array_get(rows, count - 1) : NULL;
    if (count >= RECORDS_PAGE)
        snprintf(next, sizeof(next), "%lld.%lld", (long long)page_int(entry, "index", 0),
                 (long long)page_int(entry, "seq", 0));
    page_pages(w, view, next);
}

static void body(struct html *w, const json_t *model, const struct page_view *view)
{
    const json_t *audit = json_object_get(model, "audit");

    html_element(w, "h1", NULL, "Audit");
    form(w, model);
    page_error(w, page_text(model, "error"));
    if (audit)
        account(w, audit, view);
    if (json_object_get(model, "records"))
        records(w, model, view);
}

const struct page page_audit = {"audit", body};
