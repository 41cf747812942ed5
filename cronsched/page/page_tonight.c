/* What is to come, by the hour: from now to the next morning, or in another span. Model: {"from","to","q","error",
 * "upcoming":GET /v1/upcoming with buckets of 5 minutes}; no "upcoming": it could not be asked for. */
#include "cronsched/page/page.h"

#include "jobs/base/text.h"
#include "jobs/time/instant.h"

#include <stdio.h>
#include <string.h>

#define BUCKET_MS  INT64_C(300000)
#define HOUR_MS    INT64_C(3600000)
#define HOURS_MAX  (31 * 24 + 1) /* a span has 31 days at most */
#define JOBS_SHOWN 12            /* of an hour */
#define QUIET_MS   (4 * BUCKET_MS)
#define QUIET_MAX  8

static int64_t at(const json_t *array, size_t i)
{
    return json_integer_value(json_array_get(array, i));
}

/* Of a text of the model; 0: it is none. */
static int64_t instant_of(const json_t *object, const char *key)
{
    struct error e;
    int64_t ms = 0;

    return instant_parse(page_text(object, key), &ms, &e) < 0 ? 0 : ms;
}

static void time_of(struct html *w, const struct page_view *view, int64_t ms)
{
    char text[TEXT_NUMBER_BUFFER];

    page_time(w, view, instant_format(ms, INSTANT_S, text, sizeof(text)));
}

static void form(struct html *w, const json_t *model)
{
    html_open(w, "form");
    html_attr(w, "class", "filter");
    html_link(w, "action", "/ui/tonight");
    page_field(w, "From (RFC 3339, with the zone)", "from", page_text(model, "from"), "now");
    page_field(w, "To", "to", page_text(model, "to"), NULL);
    page_field(w, "Filter", "q", page_text(model, "q"), "words, label:team=finance, zone:Europe/*");
    page_button(w, "Show", NULL);
    html_close(w);
}

static void sentence(struct html *w, const json_t *upcoming, const struct page_view *view)
{
    const json_t *peak = json_object_get(upcoming, "peak");

    html_open(w, "p");
    html_attr(w, "class", "answer");
    html_textf(w, "%lld fire times from ", (long long)page_int(upcoming, "total", 0));
    page_time(w, view, page_text(upcoming, "from"));
    html_text(w, " to ");
    page_time(w, view, page_text(upcoming, "to"));
    if (page_text(peak, "time")[0]) {
        html_textf(w, "; at most %lld in 5 minutes, at ", (long long)page_int(peak, "count", 0));
        page_time(w, view, page_text(peak, "time"));
    }
    html_text(w, ".");
    html_close(w);
    if (json_is_true(json_object_get(upcoming, "truncated")))
        html_element(w, "p", "warn", "These are not all: there are more fire times than are counted.");
}

/* A bar for each 5 minutes, of a height by its number: one path, whatever there is. */
static void bars(struct html *w, const json_t *upcoming)
{
    int64_t from_ms = instant_of(upcoming, "from"), to_ms = instant_of(upcoming, "to");
    int64_t peak = page_int(json_object_get(upcoming, "peak"), "count", 0),
            columns = (to_ms - from_ms) / BUCKET_MS;
    const json_t *bucket;
    struct text path;
    size_t i;

    if (peak <= 0 || columns <= 0 || columns > 2 * 24 * 12) /* two days: more would be thinner than a line */
        return;
    text_init(&path, 65536);
    json_array_foreach(json_object_get(upcoming, "buckets"), i, bucket)
    {
        int64_t height = 1 + at(bucket, 1) * 59 / peak, x = (at(bucket, 0) - from_ms) / BUCKET_MS * 4;

        text_addf(&path, "M%lld 60h3v-%lldh-3z", (long long)x, (long long)height);
    }
    html_open(w, "svg");
    html_attr(w, "class", "bars");
    html_attr(w, "role", "img");
    html_attrf(w, "aria-label", "Fire times by 5 minutes, at most %lld; the table has them by the hour",
               (long long)peak);
    html_attrf(w, "viewBox", "0 0 %lld 60", (long long)columns * 4);
    html_attr(w, "preserveAspectRatio", "none");
    html_open(w, "path");
    html_attr(w, "class", "v-running");
    html_attr(w, "d", text_str(&path));
    html_close(w);
    html_close(w);
    text_release(&path);
}

/* ---- the hours ---- */

/* The jobs of an hour, each once; `i` is the first time of it, and becomes that of the next. cut: there are more times than rows, so
 * where the rows end others may be missing. */
static void jobs_cell(struct html *w, const json_t *times, bool cut, int64_t until_ms, size_t *i)
{
    const char *shown[JOBS_SHOWN] = {NULL};
    size_t count = 0, size = json_array_size(times);
    bool more = false;

    html_open(w, "td");
    html_attr(w, "data-label", "Jobs");
    for (; *i < size && instant_of(json_array_get(times, *i), "time") < until_ms; ++*i) {
        const json_t *time = json_array_get(times, *i);
        const char *job = page_text(time, "job");
        size_t known = 0;

        while (known < count && strcmp(shown[known], job) != 0)
            known++;
        more = more || (known == count && count == JOBS_SHOWN);
        if (known < count || count == JOBS_SHOWN)
            continue;
        shown[count++] = job;
        html_text(w, count > 1 ? ", " : NULL);
        html_anchor(w, job, "/ui/jobs/%s", job);
        html_text(w, json_is_true(json_object_get(time, "paused")) ? " (paused)" : NULL);
    }
    if (cut && *i == size)
        html_element(w, "span", "note", "Not all are named: look at a shorter time, or fewer jobs.");
    else if (more)
        html_text(w, ", and others");
    html_close(w);
}

static void hour_row(struct html *w, const struct page_view *view, int64_t ms, const int64_t sums[2])
{
    html_open(w, "tr");
    html_open(w, "th");
    html_attr(w, "scope", "row");
    time_of(w, view, ms);
    html_close(w);
    html_open(w, "td");
    html_attr(w, "data-label", "Fire times");
    html_textf(w, "%lld", (long long)sums[0]);
    html_close(w);
    html_open(w, "td");
    html_attr(w, "data-label", "Work expected");
    page_duration(w, sums[1]);
    html_close(w);
}

static void hours(struct html *w, const json_t *upcoming, const struct page_view *view)
{
    static const char *const names[] = {"Hour", "Fire times", "Work expected", "Jobs"};
    const json_t *buckets = json_object_get(upcoming, "buckets"), *times = json_object_get(upcoming, "times");
    bool cut = page_int(upcoming, "total", 0) > (int64_t)json_array_size(times);
    size_t b = 0, t = 0;

    html_open(w, "table");
    html_element(w, "caption", NULL, "By the hour; the work expected is what the jobs' last runs took");
    html_open(w, "thead");
    html_open(w, "tr");
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        html_open(w, "th");
        html_attr(w, "scope", "col");
        html_text(w, names[i]);
        html_close(w);
    }
    html_close(w);
    html_close(w);
    html_open(w, "tbody");
    for (size_t rows = 0; b < json_array_size(buckets) && rows < HOURS_MAX; rows++) {
        int64_t ms = at(json_array_get(buckets, b), 0) / HOUR_MS * HOUR_MS, sums[2] = {0};

        for (; b < json_array_size(buckets) && at(json_array_get(buckets, b), 0) < ms + HOUR_MS; b++)
            for (size_t i = 0; i < 2; i++)
                sums[i] += at(json_array_get(buckets, b), i + 1);
        hour_row(w, view, ms, sums);
        jobs_cell(w, times, cut, ms + HOUR_MS, &t);
        html_close(w);
    }
    html_close(w);
    html_close(w);
}

/* ---- when nothing fires ---- */

static void quiet_item(struct html *w, const struct page_view *view, int64_t from_ms, int64_t to_ms,
                       size_t *count)
{
    if (to_ms - from_ms < QUIET_MS || ++*count > QUIET_MAX)
        return;
    html_open(w, "li");
    time_of(w, view, from_ms);
    html_text(w, " to ");
    time_of(w, view, to_ms);
    html_text(w, ": ");
    page_duration(w, to_ms - from_ms);
    html_close(w);
}

static void quiet(struct html *w, const json_t *upcoming, const struct page_view *view)
{
    int64_t end_ms = instant_of(upcoming, "from");
    const json_t *bucket;
    size_t i, count = 0;

    if (json_is_true(json_object_get(upcoming, "truncated")))
        return;
    html_element(w, "h2", NULL, "Quiet times");
    html_element(w, "p", "note",
                 "Nothing fires for 20 minutes or more; what was started before may still run.");
    html_open(w, "ul");
    json_array_foreach(json_object_get(upcoming, "buckets"), i, bucket)
    {
        quiet_item(w, view, end_ms, at(bucket, 0), &count);
        end_ms = at(bucket, 0) + BUCKET_MS;
    }
    quiet_item(w, view, end_ms, instant_of(upcoming, "to"), &count);
    if (count == 0)
        html_element(w, "li", NULL, "None.");
    if (count > QUIET_MAX)
        html_element(w, "li", NULL, "And others.");
    html_close(w);
}

static void body(struct html *w, const json_t *model, const struct page_view *view)
{
    const json_t *upcoming = json_object_get(model, "upcoming");

    html_element(w, "h1", NULL, "Tonight");
    form(w, model);
    page_error(w, page_text(model, "error"));
    if (!upcoming)
        return;
    sentence(w, upcoming, view);
    bars(w, upcoming);
    hours(w, upcoming, view);
    quiet(w, upcoming, view);
}

const struct page page_tonight = {"tonight", body};
