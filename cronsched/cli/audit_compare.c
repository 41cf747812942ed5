/* See audit_compare.h. Happy path: who is there -> each one's audit and runs -> the runs that ended, id by id.
 *
 * A run that one replica has and another has not ended yet may only be late: all is asked again, some times. One that is
 * older than all that a replica keeps of its job was pruned there.
 */
#include "cronsched/cli/audit_compare.h"

#include "jobs/audit/audit.h"
#include "jobs/base/alloc.h"
#include "jobs/state/record.h"
#include "jobs/time/instant.h"

#include <string.h>
#include <unistd.h>

#define PAGE_ROWS    10000 /* as many as one answer holds */
#define RUNS_MAX     (2 * 1000 * 1000)
#define REPLICAS_MAX 100

struct books {
    const char *id; /* borrowed from the cluster's answer */
    json_t *runs;   /* object: run to [verdict, started, ended] of those that ended */
    json_t *oldest; /* object: job to the instant of its oldest run */
};

static const char *text_at(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text ? text : "";
}

/* ---- one replica's books ---- */

static json_t *or_null(json_t *value)
{
    return value ? json_incref(value) : json_null();
}

static void add_run(struct books *books, const json_t *run)
{
    const char *id = text_at(run, "run"), *job = text_at(run, "job");
    const json_t *oldest = json_object_get(books->oldest, job);
    char name[RUN_ID_MAX];
    int64_t at_ms;
    bool has_ms;

    if (run_id_parse(id, name, &at_ms, &has_ms) < 0)
        return;
    if (!oldest || json_integer_value(oldest) > at_ms)
        json_object_set_new(books->oldest, job, json_integer(at_ms));
    if (json_is_string(json_object_get(run, "verdict")))
        json_object_set_new(books->runs, id,
                            json_pack("[o,o,o]", or_null(json_object_get(run, "verdict")),
                                      or_null(json_object_get(run, "started")),
                                      or_null(json_object_get(run, "ended"))));
}

/* Newest first; the next page begins with the instant of the last row. */
static int read_runs(struct cli_context *cli, struct books *books, const char *job, const char *since,
                     const char *until, struct error *error)
{
    char next[TEXT_NUMBER_BUFFER];
    int64_t before_ms = INT64_MAX - 1;
    int rc = 0;

    snprintf(next, sizeof(next), "%s", until ? until : "");
    for (bool more = true; more && rc == 0;) {
        int64_t last_ms = INT64_MAX;
        json_t *page = NULL, *run;
        size_t i;

        cli_path(cli, "/v1/runs");
        cli_query(cli, "job", job);
        cli_query(cli, "since", since);
        cli_query(cli, "until", next[0] ? next : NULL);
        cli_query(cli, "limit", "10000");
        rc = client_call(&cli->client, "GET", text_str(&cli->path), NULL, CLIENT_REPEATABLE, &page, error);
        json_array_foreach(page, i, run)
        {
            add_run(books, run);
            snprintf(next, sizeof(next), "%s", text_at(run, "fire_time"));
        }
        more = rc == 0 && json_array_size(page) >= PAGE_ROWS;
        if (more && (instant_parse(next, &last_ms, NULL) < 0 || last_ms > before_ms))
            rc = error_set(error, ERR_CORRUPT, "its list of runs does not go back in time at '%.40s'", next);
        if (more && json_object_size(books->runs) > RUNS_MAX)
            rc = error_set(error, ERR_LIMIT, "more than %d runs: take a shorter time, or one job", RUNS_MAX);
        more &= last_ms != before_ms; /* else these are all that can be asked for */
        before_ms = last_ms;
        json_decref(page);
    }
    return rc;
}

/* Its row of the result; what cannot be had is said there. */
static json_t *ask_replica(struct cli_context *cli, const json_t *member, struct books *books,
                           const char *job, const char *since, const char *until)
{
    struct error error = {0};
    json_t *audit = NULL;
    const char *absent = text_at(member, "why");
    int rc = client_ask_replica(&cli->client, text_at(member, "id"), text_at(member, "url"), &error);

    cli_path(cli, "/v1/audit");
    cli_query(cli, "job", job);
    cli_query(cli, "since", since);
    cli_query(cli, "until", until);
    if (rc == 0)
        rc = client_call(&cli->client, "GET", text_str(&cli->path), NULL, CLIENT_REPEATABLE, &audit, &error);
    if (rc == 0)
        rc = read_runs(cli, books, job, since, until, &error);
    if (rc < 0 || !audit) {
        json_decref(audit);
        audit = json_null();
    }
    if (rc == 0 && absent[0]) /* its account is compared, and yet this is not in order */
        rc = error_set(&error, ERR_CONFLICT, "it is not a member here: %s", absent);
    return json_pack("{s:s,s:s,s:s?,s:o}", "id", text_at(member, "id"), "url", text_at(member, "url"),
                     "error", rc < 0 ? error.text : NULL, "audit", audit);
}

/* ---- comparing ---- */

/* It is older than all that these books keep of its job. */
static bool is_pruned(const struct books *books, const char *id)
{
    char job[RUN_ID_MAX];
    int64_t at_ms;
    bool has_ms;
    const json_t *oldest;

    if (run_id_parse(id, job, &at_ms, &has_ms) < 0)
        return false;
    oldest = json_object_get(books->oldest, job);
    return oldest && at_ms < json_integer_value(oldest);
}

static const char *time_or_never(const json_t *entry, size_t at)
{
    const char *time = json_string_value(json_array_get(entry, at));

    return time ? time : "never";
}

static const char *words(const json_t *entry, char text[160])
{
    if (!entry)
        return "has not seen its end";
    snprintf(text, 160, "%.30s, started %.30s, ended %.30s", json_string_value(json_array_get(entry, 0)),
             time_or_never(entry, 1), time_or_never(entry, 2));
    return text;
}

static void add_difference(json_t *list, json_int_t *count, const char *run, const struct books *a,
                           const struct books *b)
{
    char one[160], other[160], text[512];

    if (++*count > AUDIT_COMPARE_DIFFERENCES_MAX)
        return;
    snprintf(text, sizeof(text), "%.60s: %s; %.60s: %s", a->id, words(json_object_get(a->runs, run), one),
             b->id, words(json_object_get(b->runs, run), other));
    json_array_append_new(list, json_pack("{s:s,s:s}", "run", run, "text", text));
}

/* What a has and b has not, or has otherwise; `both`: what is in both is compared, too. */
static void compare(const struct books *a, const struct books *b, bool both, json_t *list, json_int_t *count)
{
    const json_t *mine;
    const char *run;

    json_object_foreach(a->runs, run, mine)
    {
        const json_t *theirs = json_object_get(b->runs, run);

        if (theirs ? both && !json_equal(mine, theirs) : !is_pruned(b, run))
            add_difference(list, count, run, a, b);
    }
}

/* ---- all ---- */

static void ask_all(struct cli_context *cli, const json_t *members, const char *job, const char *since,
                    const char *until, json_t *result)
{
    size_t n = json_array_size(members), answered = 0;
    struct books *books = alloc_zero((n + 1) * sizeof(*books));
    json_t *rows = json_array(), *differences = json_array();
    json_int_t count = 0;

    for (size_t i = 0; i < n; i++) {
        struct books *b = &books[answered];
        json_t *row;

        *b = (struct books){text_at(json_array_get(members, i), "id"), json_object(), json_object()};
        row = ask_replica(cli, json_array_get(members, i), b, job, since, until);
        json_array_append_new(rows, row);
        if (json_is_object(json_object_get(row, "audit"))) {
            answered++;
        } else {
            json_decref(b->runs);
            json_decref(b->oldest);
        }
    }
    for (size_t i = 1; i < answered; i++) {
        compare(&books[0], &books[i], true, differences, &count);
        compare(&books[i], &books[0], false, differences, &count);
    }
    json_object_set_new(result, "replicas", rows);
    json_object_set_new(result, "differences", differences);
    json_object_set_new(result, "difference_count", json_integer(count));
    for (size_t i = 0; i < answered; i++) {
        json_decref(books[i].runs);
        json_decref(books[i].oldest);
    }
    free(books);
}

int audit_compare(struct cli_context *cli, const char *job, const char *since, const char *until,
                  json_t **ret)
{
    json_t *cluster = NULL;
    json_t *members;
    int code;

    cli_path(cli, "/v1/cluster");
    code = cli_get(cli, &cluster);
    if (code != EXIT_FINE)
        return code;
    members = json_copy(json_object_get(cluster, "replicas"));
    if (json_is_array(json_object_get(cluster, "absent")))
        json_array_extend(members, json_object_get(cluster, "absent"));
    json_decref(cluster);
    if (json_array_size(members) > REPLICAS_MAX) {
        json_decref(members);
        return cli_fail(ERR_LIMIT, "the server names more than %d replicas", REPLICAS_MAX);
    }
    *ret = json_object();
    for (int i = 0; i < AUDIT_COMPARE_TRIES; i++) {
        if (i > 0)
            usleep(AUDIT_COMPARE_AGAIN_MS * 1000);
        ask_all(cli, members, job, since, until, *ret);
        if (json_integer_value(json_object_get(*ret, "difference_count")) == 0)
            break;
    }
    json_decref(members);
    return code;
}

bool audit_compare_passed(const json_t *result)
{
    const json_t *row;
    size_t i;

    json_array_foreach(json_object_get(result, "replicas"), i, row)
    {
        if (json_is_string(json_object_get(row, "error")) || !json_is_object(json_object_get(row, "audit")) ||
            !audit_passed(json_object_get(row, "audit")))
            return false;
    }
    return json_integer_value(json_object_get(result, "difference_count")) == 0;
}
