/* What several pages show. See page.h. */
#include "cronsched/page/page.h"

#include "jobs/base/percent.h"
#include "jobs/time/civil.h"
#include "jobs/time/instant.h"
#include "jobs/time/zone.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *page_text(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text ? text : "";
}

int64_t page_int(const json_t *object, const char *key, int64_t none)
{
    const json_t *value = json_object_get(object, key);

    return json_is_integer(value) ? json_integer_value(value) : none;
}

/* ---- times ---- */

static void no_value(struct html *w)
{
    html_open(w, "span");
    html_attr(w, "class", "none");
    html_text(w, "–");
    html_close(w);
}

static int32_t offset_at(const struct zone *zone, int64_t at_s)
{
    return zone ? zone->offset_s[zone_segment(zone, at_s)] : 0;
}

/* "2026-11-30 23:05:00 UTC", "... +01:00". */
static void add_local(struct html *w, const struct page_view *view, int64_t ms)
{
    int64_t s = ms / 1000;
    int32_t offset = offset_at(view->zone, s);
    char text[TEXT_NUMBER_BUFFER];

    instant_format(ms + offset * INT64_C(1000), INSTANT_S, text, sizeof(text));
    text[10] = ' ';
    text[19] = '\0';
    html_text(w, text);
    if (!view->zone || (!offset && strcmp(view->zone->name, "UTC") == 0))
        html_text(w, " UTC");
    else
        html_textf(w, " %c%02d:%02d", offset < 0 ? '-' : '+', abs(offset) / 3600, abs(offset) / 60 % 60);
}

void page_time(struct html *w, const struct page_view *view, const char *text)
{
    struct error e;
    int64_t ms;

    if (!text || !text[0] || instant_parse(text, &ms, &e) < 0) {
        no_value(w);
        return;
    }
    html_open(w, "time");
    html_attr(w, "datetime", text);
    add_local(w, view, ms);
    html_close(w);
}

/* "3 d 4 h", "12 m", "40 s", "350 ms": its two largest units. */
static void add_span(struct html *w, int64_t ms)
{
    static const struct {
        int64_t ms;
        const char *unit;
    } units[] = {{86400000, "d"}, {3600000, "h"}, {60000, "m"}, {1000, "s"}, {1, "ms"}};
    size_t i = 0;

    while (i < 4 && ms < units[i].ms)
        i++;
    html_textf(w, "%lld %s", (long long)(ms / units[i].ms), units[i].unit);
    if (i < 3 && ms % units[i].ms >= units[i + 1].ms)
        html_textf(w, " %lld %s", (long long)(ms % units[i].ms / units[i + 1].ms), units[i + 1].unit);
}

void page_time_relative(struct html *w, const struct page_view *view, const char *text)
{
    struct error e;
    int64_t ms;

    if (!text || !text[0] || instant_parse(text, &ms, &e) < 0) {
        no_value(w);
        return;
    }
    html_open(w, "time");
    html_attr(w, "datetime", text);
    html_attr(w, "data-relative", "");
    if (llabs(ms - view->now_ms) < 1000) {
        html_text(w, "now");
    } else if (ms > view->now_ms) {
        html_text(w, "in ");
        add_span(w, (ms - view->now_ms) / 1000 * 1000);
    } else {
        add_span(w, (view->now_ms - ms) / 1000 * 1000);
        html_text(w, " ago");
    }
    html_close(w);
}

void page_duration(struct html *w, int64_t ms)
{
    if (ms < 0)
        no_value(w);
    else
        add_span(w, ms);
}

/* ---- verdicts ---- */

static const struct {
    const char *word, *class, *sign;
    char letter; /* in a strip; 0: a state, which is none */
} verdicts[] = {
    {"succeeded", "v-succeeded", "✓", 's'}, {"failed", "v-failed", "✕", 'f'},
    {"timed-out", "v-timed-out", "⧖", 't'}, {"lost", "v-lost", "?", 'l'},
    {"killed", "v-killed", "■", 'k'},       {"overlap", "v-skipped", "↷", 'o'},
    {"paused", "v-skipped", "↷", 'p'},      {"deadline", "v-skipped", "↷", 'd'},
    {"missed", "v-skipped", "↷", 'm'},      {"coalesced", "v-skipped", "↷", 'c'},
    {"deleted", "v-skipped", "↷", 'r'},     {"queue-full", "v-skipped", "↷", 'q'},
    {"journal-lost", "v-lost", "?", 'j'},   {"running", "v-running", "▶", 0},
    {"starting", "v-running", "▶", 0},      {"unresolved", "v-unresolved", "◌", 0},
    {"waiting", "v-waiting", "○", 0},       {"armed", "v-waiting", "○", 0},
    {"retrying", "v-waiting", "○", 0},      {"ok", "v-succeeded", "✓", 0},
    {"failing", "v-failed", "✕", 0},        {"never", "v-waiting", "○", 0},
};
#define VERDICTS (sizeof(verdicts) / sizeof(verdicts[0]))

static size_t find_word(const char *word)
{
    size_t i = 0;

    while (i < VERDICTS && strcmp(verdicts[i].word, word) != 0)
        i++;
    return i;
}

/* A word that a newer server knows is shown as it is. */
const char *page_verdict_class(const char *word)
{
    size_t i = find_word(word);

    return i < VERDICTS ? verdicts[i].class : "v-waiting";
}

const char *page_verdict_sign(const char *word)
{
    size_t i = find_word(word);

    return i < VERDICTS ? verdicts[i].sign : "·";
}

void page_verdict(struct html *w, const char *word)
{
    if (!word || !word[0]) {
        no_value(w);
        return;
    }
    html_open(w, "span");
    html_attrf(w, "class", "verdict %s", page_verdict_class(word));
    html_open(w, "span");
    html_attr(w, "aria-hidden", "true");
    html_text(w, page_verdict_sign(word));
    html_close(w);
    html_textf(w, " %s", word);
    html_close(w);
}

static size_t find_letter(char letter)
{
    size_t i = 0;

    while (i < VERDICTS && verdicts[i].letter != letter)
        i++;
    return i;
}

/* What it says in words: "5 succeeded, 1 failed; the newest failed". */
static void add_strip_name(struct html *w, const char *strip)
{
    const char *newest = strip + strlen(strip) - 1;
    struct text name;
    size_t last = find_letter(*newest);

    text_init(&name, 4096);
    for (size_t i = 0; i < VERDICTS; i++) {
        int count = 0;

        for (const char *p = strip; verdicts[i].letter && *p; p++)
            count += *p == verdicts[i].letter;
        if (count)
            text_addf(&name, "%s%d %s", name.len ? ", " : "", count, verdicts[i].word);
    }
    text_addf(&name, "; the newest: %s", last < VERDICTS ? verdicts[last].word : "unknown");
    html_attr(w, "aria-label", text_str(&name));
    text_release(&name);
}

/* One path for all cells of a class: their number, not that of the elements, is bounded by the strip. */
static void add_cells(struct html *w, const char *strip, size_t verdict)
{
    struct text path;

    text_init(&path, 4096);
    for (size_t at = 0; strip[at]; at++) {
        size_t v = find_letter(strip[at]);

        if (v < VERDICTS && strcmp(verdicts[v].class, verdicts[verdict].class) == 0) {
            int top = verdicts[v].letter == 's' ? 6 : 0; /* a success is lower: not by its colour alone */

            text_addf(&path, "M%zu %dh6v%dh-6z", at * 8, top, 16 - top);
        }
    }
    if (path.len) {
        html_open(w, "path");
        html_attr(w, "class", verdicts[verdict].class);
        html_attr(w, "d", text_str(&path));
        html_close(w);
    }
    text_release(&path);
}

void page_strip(struct html *w, const char *strip)
{
    if (!strip || !strip[0]) {
        no_value(w);
        return;
    }
    html_open(w, "svg");
    html_attr(w, "class", "strip");
    html_attr(w, "role", "img");
    add_strip_name(w, strip);
    html_attrf(w, "viewBox", "0 0 %zu 16", strlen(strip) * 8);
    html_attrf(w, "width", "%zu", strlen(strip) * 8);
    html_attr(w, "height", "16");
    for (size_t v = 0; v < VERDICTS; v++) {
        size_t first = 0;

        while (strcmp(verdicts[first].class, verdicts[v].class) != 0)
            first++;
        if (first == v)
            add_cells(w, strip, v);
    }
    html_close(w);
}

/* ---- links and forms ---- */

static bool is_among(const char *name, size_t n, const char *const *names)
{
    for (; *names; names++)
        if (strlen(*names) == n && strncmp(name, *names, n) == 0)
            return true;
    return false;
}

/* `after` is of the order and the filter that there were, and a part is no page. */
void page_open_link_with(struct html *w, const struct page_view *view, const char *const *without,
                         const char *pairs)
{
    static const char *const never[] = {"after", "part", NULL};
    struct text query;

    text_init(&query, 16384);
    for (const char *p = view->query; *p;) {
        size_t n = strcspn(p, "&"), name = strcspn(p, "=&");

        if (n && !is_among(p, name, never) && !is_among(p, name, without)) {
            text_add(&query, query.len ? "&" : "");
            text_add_bytes(&query, p, n);
        }
        p += n + (p[n] == '&');
    }
    if (pairs[0])
        text_addf(&query, "%s%s", query.len ? "&" : "", pairs);
    html_open(w, "a");
    html_query_link(w, view->path, text_str(&query));
    text_release(&query);
}

void page_open_link(struct html *w, const struct page_view *view, const char *key, const char *value)
{
    struct text pair;

    text_init(&pair, 16384);
    if (value) {
        text_addf(&pair, "%s=", key);
        percent_add(&pair, value);
    }
    page_open_link_with(w, view, (const char *const[]){key, NULL}, text_str(&pair));
    text_release(&pair);
}

void page_field(struct html *w, const char *label, const char *name, const char *value, const char *hint)
{
    html_open(w, "label");
    html_element(w, "span", NULL, label);
    html_leaf(w, "input");
    html_attr(w, "name", name);
    html_attr(w, "value", value && value[0] ? value : NULL);
    html_attr(w, "placeholder", hint);
    html_close(w);
}

void page_hidden(struct html *w, const char *name, const char *value)
{
    html_leaf(w, "input");
    html_attr(w, "type", "hidden");
    html_attr(w, "name", name);
    html_attr(w, "value", value);
}

void page_button(struct html *w, const char *text, const char *class)
{
    html_open(w, "button");
    html_attr(w, "class", class);
    html_text(w, text);
    html_close(w);
}

void page_action(struct html *w, const char *action, const char *text, const char *class)
{
    html_open(w, "button");
    html_attr(w, "name", "action");
    html_attr(w, "value", action);
    html_attr(w, "class", class);
    html_text(w, text);
    html_close(w);
}

void page_error(struct html *w, const char *text)
{
    if (!text[0])
        return;
    html_open(w, "p");
    html_attr(w, "class", "error");
    html_attr(w, "role", "alert");
    html_text(w, text);
    html_close(w);
}

void page_pages(struct html *w, const struct page_view *view, const char *next)
{
    html_open(w, "p");
    html_attr(w, "class", "pages");
    if (strstr(view->query, "after=")) {
        page_open_link(w, view, "after", NULL);
        html_text(w, "First page");
        html_close(w);
    }
    if (next[0]) {
        page_open_link(w, view, "after", next);
        html_attr(w, "rel", "next");
        html_text(w, "Next page");
        html_close(w);
    }
    html_close(w);
}

void page_chips(struct html *w, const struct page_view *view, const char *q, const char *const (*chips)[2],
                size_t count)
{
    html_open(w, "ul");
    html_attr(w, "class", "chips");
    for (size_t i = 0; i < count; i++) {
        html_open(w, "li");
        page_open_link(w, view, "q", chips[i][1][0] ? chips[i][1] : NULL);
        html_attr(w, "aria-current", strcmp(q, chips[i][1]) == 0 ? "true" : NULL);
        html_text(w, chips[i][0]);
        html_close(w);
        html_close(w);
    }
    html_close(w);
}

void page_open_actions(struct html *w, const struct page_view *view)
{
    html_open(w, "form");
    html_attr(w, "method", "post");
    html_attr(w, "class", "actions");
    html_link(w, "action", "/ui/confirm");
    page_hidden(w, "next", view->path);
}
