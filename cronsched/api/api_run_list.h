/* The choice of runs: the live ones and those of history, in one order, a page of them. Only the API includes this. */
#pragma once

#include "cronsched/api/api_priv.h"
#include "jobs/state/filter.h"

#define RUN_CURSOR_SIZE (RUN_ID_MAX + 8)

/* What was asked for; texts belong to the request. */
struct run_query {
    const char *job, *state, *verdict;
    int64_t since_ms, until_ms;
    size_t limit;
    struct filter *filter;   /* NULL: all */
    char before[RUN_ID_MAX]; /* the cursor's run; "": from the newest on */
    int64_t before_ms;       /* the instant in it */
    const char *fields;      /* names with commas; NULL: all */
};

/* Reads the keys job, state, verdict, since, until, limit, q, cause, by, engine, after, fields of those that the route has.
 * ERR_INVALID; nothing is held then. */
int api_run_query_init(struct run_query *query, struct http_request *request, size_t limit, size_t limit_max,
                       struct error *error);
void api_run_query_release(struct run_query *query);

/* Live runs and stored rows, both newest first, being merged. */
struct run_choice {
    struct api *api;
    struct scheduler_run_id *live; /* NULL: none */
    size_t live_count, live_at;
    json_t *stored;             /* those that the live state does not know better */
    size_t stored_at, left;     /* rows that may still be taken */
    bool more;                  /* there are more than that */
    char next[RUN_CURSOR_SIZE]; /* cursor of what is behind these; "": nothing is */
};

/* Asks; `then` gets the choice, and owns what it holds. The query is taken. */
struct run_asked {
    struct run_query query;
    void (*then)(struct api *api, struct http_request *request, struct run_choice *choice,
                 const struct run_query *query);
};
void api_runs_ask(struct api *api, struct http_request *request, const struct run_asked *asked);
/* The next row: a new reference; NULL with *ret_end false: it has ended and gone meanwhile. */
json_t *api_runs_take(struct run_choice *choice, bool *ret_end);
/* Some of it at a time; true: all. */
bool api_runs_release(struct run_choice *choice);
