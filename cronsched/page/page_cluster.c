/* The replicas, and what became of every unfinished run at each change of leader. Model: {"error","cluster":GET /v1/cluster,
 * "takeovers":GET /v1/cluster/takeovers,"doctor":GET /v1/doctor}; no "doctor": it was not asked for. */
#include "cronsched/page/page.h"

#include <string.h>

#define ROWS_MAX 200 /* of a report, that are shown */

static void open_cell(struct html *w, const char *label)
{
    html_open(w, "td");
    html_attr(w, "data-label", label);
}

static void text_cell(struct html *w, const char *label, const char *text)
{
    open_cell(w, label);
    if (text[0])
        html_text(w, text);
    else
        html_element(w, "span", "none", "–");
    html_close(w);
}

static void row_head(struct html *w, const char *text)
{
    html_open(w, "tr");
    html_open(w, "th");
    html_attr(w, "scope", "row");
    html_text(w, text);
    html_close(w);
}

static void table(struct html *w, const char *caption, const char *const *names)
{
    html_open(w, "table");
    html_element(w, "caption", NULL, caption);
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
    html_open(w, "tbody");
}

static void table_end(struct html *w)
{
    html_close(w);
    html_close(w);
}

/* ---- replicas ---- */

static void lag_cell(struct html *w, const json_t *replica, int64_t index)
{
    int64_t applied = page_int(replica, "applied", -1);

    open_cell(w, "Batch");
    if (applied < 0)
        html_element(w, "span", "none", "–");
    else
        html_textf(w, "%lld", (long long)applied);
    if (applied >= 0 && index > applied)
        html_textf(w, " (%lld behind)", (long long)(index - applied));
    html_close(w);
}

static void replica_row(struct html *w, const json_t *replica, int64_t index)
{
    const json_t *offset = json_object_get(replica, "clock_offset_ms");

    row_head(w, page_text(replica, "id"));
    text_cell(w, "Role", page_text(replica, "role"));
    lag_cell(w, replica, index);
    text_cell(w, "Version", page_text(replica, "version"));
    text_cell(w, "tzdata", page_text(replica, "tzdata"));
    open_cell(w, "Clock");
    if (json_is_number(offset))
        html_textf(w, "%+.0f ms", json_number_value(offset));
    else
        html_element(w, "span", "none", "–");
    html_close(w);
    open_cell(w, "Remarks");
    if (json_is_false(json_object_get(replica, "fit")))
        html_element(w, "span", "warn", "could not lead");
    html_text(w, page_text(replica, "refuses"));
    html_close(w);
    html_close(w);
}

static void replicas(struct html *w, const json_t *cluster)
{
    static const char *const names[] = {"Replica", "Role",  "Batch",   "Version",
                                        "tzdata",  "Clock", "Remarks", NULL};
    const json_t *replica;
    size_t i;

    table(w, "Replicas", names);
    json_array_foreach(json_object_get(cluster, "replicas"), i, replica)
    {
        replica_row(w, replica, page_int(cluster, "index", 0));
    }
    table_end(w);
    json_array_foreach(json_object_get(cluster, "absent"), i, replica)
    {
        html_open(w, "p");
        html_attr(w, "class", "warn");
        html_textf(w, "%s is not there: %s", page_text(replica, "id"), page_text(replica, "why"));
        html_close(w);
    }
    page_error(w, page_text(cluster, "alarm"));
    page_error(w, page_text(cluster, "refusing"));
    if (page_text(cluster, "advice")[0])
        html_element(w, "p", NULL, page_text(cluster, "advice"));
}

static void facts(struct html *w, const json_t *cluster)
{
    html_open(w, "dl");
    html_element(w, "dt", NULL, "Cluster");
    html_open(w, "dd");
    html_textf(w, "%s %s", page_text(cluster, "cluster"), page_text(cluster, "uuid"));
    html_close(w);
    html_element(w, "dt", NULL, "Epoch");
    html_open(w, "dd");
    html_textf(w, "%lld", (long long)page_int(cluster, "epoch", 0));
    html_close(w);
    html_close(w);
}

/* ---- take-overs ---- */

static void report_runs(struct html *w, const json_t *report)
{
    static const char *const names[] = {"Run", "Was", "Became", NULL};
    const json_t *runs = json_object_get(report, "runs"), *run;
    size_t i;

    if (json_array_size(runs) == 0)
        return;
    table(w, "Unfinished runs, and how each was settled", names);
    json_array_foreach(runs, i, run)
    {
        if (i == ROWS_MAX)
            break;
        html_open(w, "tr");
        html_open(w, "th");
        html_attr(w, "scope", "row");
        html_anchor(w, page_text(run, "run"), "/ui/runs/%s", page_text(run, "run"));
        html_close(w);
        text_cell(w, "Was", page_text(run, "was"));
        text_cell(w, "Became", page_text(run, "became"));
        html_close(w);
    }
    table_end(w);
    if (json_array_size(runs) > ROWS_MAX) {
        html_open(w, "p");
        html_textf(w, "And %zu more: cronsched records --kinds takeover -o json",
                   json_array_size(runs) - ROWS_MAX);
        html_close(w);
    }
}

static void report_times(struct html *w, const json_t *report, const struct page_view *view)
{
    static const char *const names[] = {"Job", "From", "To", "Fire times", "Policy", NULL};
    const json_t *times = json_object_get(report, "fire_times"), *time;
    size_t i;

    if (json_array_size(times) == 0)
        return;
    table(w, "Fire times that fell into the gap", names);
    json_array_foreach(times, i, time)
    {
        if (i == ROWS_MAX)
            break;
        row_head(w, page_text(time, "job"));
        open_cell(w, "From");
        page_time(w, view, page_text(time, "from"));
        html_close(w);
        open_cell(w, "To");
        page_time(w, view, page_text(time, "to"));
        html_close(w);
        open_cell(w, "Fire times");
        html_textf(w, "%lld", (long long)page_int(time, "count", 0));
        html_close(w);
        text_cell(w, "Policy", page_text(time, "policy"));
        html_close(w);
    }
    table_end(w);
}

static void takeover(struct html *w, const json_t *t, const struct page_view *view)
{
    const json_t *report = json_object_get(t, "report");
    const char *from = page_text(report, "from_replica");

    html_open(w, "details");
    html_open(w, "summary");
    page_time(w, view, page_text(t, "time"));
    html_textf(w, ": %s%s%s leads, epoch %lld, %s", from, from[0] ? " → " : "", page_text(t, "replica"),
               (long long)page_int(t, "epoch", 0), page_text(t, "cause"));
    html_element(w, "span", "note", report ? page_text(report, "text") : "Not everything is settled yet.");
    html_close(w);
    if (report) {
        html_open(w, "p");
        html_textf(w, "Noticed by: %s. Nothing was decided for ", page_text(report, "noticed"));
        page_duration(w, page_int(report, "gap_ms", -1));
        html_text(w, "; all was settled after ");
        page_duration(w, page_int(report, "took_ms", -1));
        html_text(w, ".");
        html_close(w);
        report_runs(w, report);
        report_times(w, report, view);
    }
    html_close(w);
}

/* ---- doctor ---- */

static const char *class_of(const char *status)
{
    if (strcmp(status, "ok") == 0)
        return "v-succeeded";
    return strcmp(status, "warning") == 0 ? "v-timed-out" : "v-failed";
}

static void doctor(struct html *w, const json_t *model)
{
    static const char *const names[] = {"Check", "Status", "What", "Advice", NULL};
    const json_t *answer = json_object_get(model, "doctor"), *check;
    size_t i;

    html_element(w, "h2", NULL, "Doctor");
    if (!answer) {
        html_open(w, "p");
        html_anchor(w, "Look for problems", "/ui/cluster?doctor=yes");
        html_text(w, " (asks the engines, and looks at the folders of this replica)");
        html_close(w);
        return;
    }
    table(w, page_text(answer, "replica"), names);
    json_array_foreach(json_object_get(answer, "checks"), i, check)
    {
        row_head(w, page_text(check, "check"));
        open_cell(w, "Status");
        html_element(w, "span", class_of(page_text(check, "status")), page_text(check, "status"));
        html_close(w);
        text_cell(w, "What", page_text(check, "text"));
        text_cell(w, "Advice", page_text(check, "advice"));
        html_close(w);
    }
    table_end(w);
}

static void body(struct html *w, const json_t *model, const struct page_view *view)
{
    const json_t *cluster = json_object_get(model, "cluster"),
                 *takeovers = json_object_get(model, "takeovers"), *t;
    size_t i;

    html_element(w, "h1", NULL, "Cluster");
    page_error(w, page_text(model, "error"));
    facts(w, cluster);
    replicas(w, cluster);
    doctor(w, model);
    if (view->administers) {
        html_open(w, "p");
        html_anchor(w, "Let another replica lead", "/ui/step-down");
        html_close(w);
    }
    html_element(w, "h2", NULL, "Take-overs");
    if (json_array_size(takeovers) == 0)
        html_element(w, "p", NULL, "None is recorded.");
    json_array_foreach(takeovers, i, t)
    {
        takeover(w, t, view);
    }
}

const struct page page_cluster = {"cluster", body};
