/* The page that people look at. Each part of it is a pure function of a model, in the shapes of the API, and of who looks at it:
 * so it is tested without a server, and cannot know what the API does not say. The routes are in `cronsched/api/api_page.c`.
 *
 * Any thread; models and views are borrowed during a call.
 */
#pragma once

#include "cronsched/page/html.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct zone; /* jobs/time/zone.h */

/* Who looks, from where, and what they look at. Texts may be NULL where it says so. */
struct page_view {
    const char *cluster, *replica, *version;
    const char *leader; /* NULL: none is known */
    bool leading;       /* this replica does */
    bool stale;         /* what it knows may be out of date */
    uint64_t index;     /* of the newest batch in it */
    int64_t now_ms;
    const char *who, *role;     /* "token:alice", "operate"; NULL: nobody logged in */
    bool operates, administers; /* what the role includes */
    bool session;               /* logged in here, so there is a way out */
    const struct zone *zone;    /* of times; NULL: UTC */
    const char *theme;          /* "light", "dark"; NULL: as the system says */
    const char *path, *query;   /* of this page: "/ui/jobs", "q=x&sort=name" or "" */
    const char *part;           /* the part that is wanted alone; NULL: the whole page */
};

typedef void page_body(struct html *w, const json_t *model, const struct page_view *view);

/* One page: its name in the navigation, the title of its window, and what it shows. */
struct page {
    const char *nav; /* "jobs"; NULL: in no menu */
    page_body *body;
};
#define PAGES(X)                                                                                             \
    X(now, "now")                                                                                            \
    X(jobs, "jobs")                                                                                          \
    X(job, "jobs")                                                                                           \
    X(runs, "runs")                                                                                          \
    X(run, "runs")                                                                                           \
    X(backfill, NULL)                                                                                        \
    X(trigger, NULL)                                                                                         \
    X(step_down, NULL)                                                                                       \
    X(tonight, "tonight")                                                                                    \
    X(explain, "explain")                                                                                    \
    X(audit, "audit")                                                                                        \
    X(cluster, "cluster")                                                                                    \
    X(confirm, NULL)                                                                                         \
    X(login, NULL)                                                                                           \
    X(problem, NULL)
#define X(name, nav) extern const struct page page_##name;
PAGES(X)
#undef X

/* The whole page, or the part that the view names. title: for the window, without the cluster's name. The text for free();
 * NULL: no memory, or it is too large. */
char *page_render(const struct page *page, const char *title, const json_t *model,
                  const struct page_view *view);

/* Whether a part of that name is to be written now: all of them are on a whole page. It is wrapped in an element with an id,
 * by which a script replaces it; page_part_end closes it. */
bool page_part(struct html *w, const struct page_view *view, const char *name);
void page_part_end(struct html *w);

/* ---- parts that pages share (page_parts.c) ---- */

const char *page_text(const json_t *object, const char *key); /* "": it is absent or no text */
int64_t page_int(const json_t *object, const char *key, int64_t none);

/* <time>: the date and time in the view's zone with its name, or an offset; how far away it is. text: RFC 3339, NULL or null: a dash. */
void page_time(struct html *w, const struct page_view *view, const char *rfc3339);
void page_time_relative(struct html *w, const struct page_view *view, const char *rfc3339);
void page_duration(struct html *w, int64_t ms); /* below 0: a dash */

/* A verdict or a state: sign, word and colour. */
void page_verdict(struct html *w, const char *word);
/* The last verdicts of a job as a row of signs, with a name for who hears it. */
void page_strip(struct html *w, const char *strip);
/* Its class and sign. */
const char *page_verdict_class(const char *word);
const char *page_verdict_sign(const char *word);

/* The link to the same page with one key of the query changed; NULL: without it. Begins an <a>, to be closed. */
void page_open_link(struct html *w, const struct page_view *view, const char *key, const char *value);
/* The same without some keys (a list with NULL at its end), and with these pairs, encoded already. */
void page_open_link_with(struct html *w, const struct page_view *view, const char *const *without,
                         const char *pairs);
void page_field(struct html *w, const char *label, const char *name, const char *value, const char *hint);
void page_hidden(struct html *w, const char *name, const char *value);
void page_button(struct html *w, const char *text, const char *class);
/* One of a form that says what is to be done. */
void page_action(struct html *w, const char *action, const char *text, const char *class);
/* Opens the form whose buttons lead to a page that asks once more; page_hidden adds what they are about. */
void page_open_actions(struct html *w, const struct page_view *view);
/* Filters to choose by a click: each a name and its `q`, "" for none. `q` is the one in force. */
void page_chips(struct html *w, const struct page_view *view, const char *q, const char *const (*chips)[2],
                size_t count);
void page_error(struct html *w, const char *text); /* "": nothing */
/* Links to the first page of a list and to the next one, whose cursor this is; "": there is none. */
void page_pages(struct html *w, const struct page_view *view, const char *next);
void page_run_table(struct html *w, const json_t *runs, const struct page_view *view, const char *caption);
