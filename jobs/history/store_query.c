/* The queries of the history: SQL in, JSON out. On the reader's connection, off the loop. */
#include "jobs/base/text.h"
#include "jobs/history/store.h"
#include "jobs/history/store_db.h"
#include "jobs/time/instant.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define CONDITIONS_MAX  12
#define KINDS_MAX       16
#define BUSY_TIMEOUT_MS 10000
#define RUN_JOB_MAX     128 /* the longest name of a job, and more */
#define TOO_MANY_ROWS   "more rows than one answer may have; ask for less time"

int store_reader_open(sqlite3 **ret, const char *path, struct error *error)
{
    int rc = sqlite_open(ret, path, false, error);

    if (rc == 0) {
        sqlite3_busy_timeout(*ret, BUSY_TIMEOUT_MS);
        sqlite3_exec(*ret, "PRAGMA query_only = 1", NULL, NULL, NULL);
    }
    return rc;
}

/* ---- a statement built from the conditions that a query has ---- */

struct value {
    const char *text; /* NULL: the number */
    int64_t number;
};

struct select {
    struct text sql;
    struct value values[CONDITIONS_MAX + KINDS_MAX];
    size_t count;
    bool has_where;
};

static void select_init(struct select *s, const char *sql)
{
    *s = (struct select){0};
    text_init(&s->sql, 4096);
    text_add(&s->sql, sql);
}

static void select_where(struct select *s, const char *condition)
{
    text_add(&s->sql, s->has_where ? " AND " : " WHERE ");
    text_add(&s->sql, condition);
    s->has_where = true;
}

static void select_text(struct select *s, const char *condition, const char *value)
{
    if (!value)
        return;
    select_where(s, condition);
    s->values[s->count++].text = value;
}

static void select_int(struct select *s, const char *condition, int64_t value)
{
    select_where(s, condition);
    s->values[s->count++].number = value;
}

/* A bound of time; 0 is none. */
static void select_bound(struct select *s, const char *condition, int64_t value)
{
    if (value)
        select_int(s, condition, value);
}

/* kind IN (...) from "fire,skipped". */
static int select_kinds(struct select *s, const char *kinds, char *copy, size_t size, struct error *error)
{
    char *rest = copy, *kind;

    if (!kinds)
        return 0;
    if (snprintf(copy, size, "%s", kinds) >= (int)size)
        return error_set(error, ERR_INVALID, "kinds: too long");
    select_where(s, "kind IN (");
    for (int n = 0; (kind = strsep(&rest, ",")); n++) {
        if (n == KINDS_MAX)
            return error_set(error, ERR_INVALID, "kinds: more than %d", KINDS_MAX);
        text_add(&s->sql, n ? ",?" : "?");
        s->values[s->count++].text = kind;
    }
    text_add(&s->sql, ")");
    return 0;
}

static int select_prepare(struct select *s, sqlite3 *db, const char *tail, sqlite3_stmt **ret,
                          struct error *error)
{
    int rc;

    text_add(&s->sql, tail);
    assert(s->count <= sizeof(s->values) / sizeof(s->values[0]));
    rc = s->sql.failed ? error_set(error, s->sql.failed, "history: %s", error_text(s->sql.failed))
                       : sqlite_prepare(db, text_str(&s->sql), ret, error);
    for (size_t i = 0; rc == 0 && i < s->count; i++) {
        if (s->values[i].text)
            sqlite_bind_text(*ret, (int)i + 1, s->values[i].text);
        else
            sqlite3_bind_int64(*ret, (int)i + 1, s->values[i].number);
    }
    text_release(&s->sql);
    return rc;
}

/* ---- rows to JSON ---- */

typedef json_t *row_json(sqlite3_stmt *row);

/* Appends a row's JSON for every row; finalizes. `left` counts down over several calls. */
static int rows_collect(sqlite3 *db, sqlite3_stmt *stmt, row_json *to_json, json_t *array, int64_t *left,
                        struct error *error)
{
    int step, rc = 0;

    while (rc == 0 && (step = sqlite3_step(stmt)) != SQLITE_DONE) {
        if (step != SQLITE_ROW)
            rc = sqlite_error(db, "read", error);
        else if ((*left)-- <= 0)
            rc = error_set(error, ERR_LIMIT, TOO_MANY_ROWS);
        else if (json_array_append_new(array, to_json(stmt)) < 0)
            rc = error_set(error, ERR_CORRUPT, "a row of the history cannot be read");
    }
    sqlite3_finalize(stmt);
    return rc;
}

static const char *column(sqlite3_stmt *row, int i)
{
    const char *text = (const char *)sqlite3_column_text(row, i);

    return text ? text : "";
}

static json_t *column_time(sqlite3_stmt *row, int i, enum instant_form form)
{
    char buffer[TEXT_NUMBER_BUFFER];

    return json_string(instant_format(sqlite3_column_int64(row, i), form, buffer, sizeof(buffer)));
}

static json_t *column_json(sqlite3_stmt *row, int i)
{
    return json_loadb(column(row, i), (size_t)sqlite3_column_bytes(row, i), 0, NULL);
}

static json_t *whole_json(sqlite3_stmt *row)
{
    return column_json(row, 0);
}

static json_t *skip_json(sqlite3_stmt *row)
{
    return json_pack("{s:s,s:o,s:o,s:I,s:s,s:s,s:o}", "job", column(row, 0), "from",
                     column_time(row, 1, INSTANT_S), "to", column_time(row, 2, INSTANT_S), "count",
                     (json_int_t)sqlite3_column_int64(row, 3), "reason", column(row, 4), "text",
                     column(row, 5), "time", column_time(row, 6, INSTANT_MS));
}

/* columns idx, seq, time, epoch, kind, json */
static json_t *record_json(sqlite3_stmt *row)
{
    return json_pack("{s:I,s:I,s:o,s:I,s:s,s:o}", "index", (json_int_t)sqlite3_column_int64(row, 0), "seq",
                     (json_int_t)sqlite3_column_int64(row, 1), "time", column_time(row, 2, INSTANT_MS),
                     "epoch", (json_int_t)sqlite3_column_int64(row, 3), "kind", column(row, 4), "record",
                     column_json(row, 5));
}

static json_t *audit_skip_json(sqlite3_stmt *row)
{
    return json_pack("{s:s,s:I,s:I,s:I,s:s,s:s,s:I}", "job", column(row, 0), "from",
                     (json_int_t)sqlite3_column_int64(row, 1), "to", (json_int_t)sqlite3_column_int64(row, 2),
                     "count", (json_int_t)sqlite3_column_int64(row, 3), "reason", column(row, 4), "text",
                     column(row, 5), "time", (json_int_t)sqlite3_column_int64(row, 6));
}

static json_t *audit_record_json(sqlite3_stmt *row)
{
    return json_pack(
        "{s:I,s:I,s:I,s:I,s:s,s:o}", "index", (json_int_t)sqlite3_column_int64(row, 0), "seq",
        (json_int_t)sqlite3_column_int64(row, 1), "time", (json_int_t)sqlite3_column_int64(row, 2), "epoch",
        (json_int_t)sqlite3_column_int64(row, 3), "kind", column(row, 4), "record", column_json(row, 5));
}

static json_t *ends_json(sqlite3_stmt *row)
{
    return json_pack("{s:s,s:I}", "run", column(row, 0), "count", (json_int_t)sqlite3_column_int64(row, 1));
}

static json_t *unfinished_json(sqlite3_stmt *row)
{
    return json_pack("{s:s,s:s,s:I,s:s}", "run", column(row, 0), "job", column(row, 1), "at",
                     (json_int_t)sqlite3_column_int64(row, 2), "state", column(row, 3));
}

static json_t *pruned_json(sqlite3_stmt *row)
{
    return json_pack("{s:s,s:I,s:I,s:I}", "job", column(row, 0), "from",
                     (json_int_t)sqlite3_column_int64(row, 1), "to", (json_int_t)sqlite3_column_int64(row, 2),
                     "count", (json_int_t)sqlite3_column_int64(row, 3));
}

static json_t *gap_json(sqlite3_stmt *row)
{
    return json_pack("{s:I,s:I}", "from", (json_int_t)sqlite3_column_int64(row, 0), "to",
                     (json_int_t)sqlite3_column_int64(row, 1));
}

/* ---- the queries ---- */

static int collect(sqlite3 *db, struct select *s, const char *tail, row_json *to_json, json_t *array,
                   int64_t *left, struct error *error)
{
    sqlite3_stmt *stmt = NULL;
    int rc = select_prepare(s, db, tail, &stmt, error);

    return rc < 0 ? rc : rows_collect(db, stmt, to_json, array, left, error);
}

static const char *limit_clause(const struct history_query *q, const char *order, char *buffer, size_t size)
{
    int limit = q->limit > 0 && q->limit <= HISTORY_ROWS_MAX + 1 ? q->limit : HISTORY_ROWS_MAX;

    snprintf(buffer, size, " ORDER BY %s LIMIT %d", order, limit);
    return buffer;
}

/* Those that match, of HISTORY_SCAN_MAX rows at most; then the id of the last one. */
static int choose_runs(sqlite3 *db, struct select *s, const struct history_query *q, json_t *array,
                       struct error *error)
{
    size_t most = q->limit > 0 ? (size_t)q->limit : HISTORY_ROWS_MAX, looked_at = 0;
    sqlite3_stmt *stmt = NULL;
    int step = SQLITE_DONE, rc = select_prepare(s, db, " ORDER BY at DESC, run DESC", &stmt, error);

    while (rc == 0 && json_array_size(array) < most && looked_at < HISTORY_SCAN_MAX &&
           (step = sqlite3_step(stmt)) == SQLITE_ROW) {
        json_t *run = whole_json(stmt);

        if (!run)
            rc = error_set(error, ERR_CORRUPT, "a row of the history cannot be read");
        else if (q->match(q->match_arg, run))
            json_array_append(array, run);
        if (++looked_at == HISTORY_SCAN_MAX)
            json_array_append(array, json_object_get(run, "run"));
        json_decref(run);
    }
    if (rc == 0 && step != SQLITE_ROW && step != SQLITE_DONE)
        rc = sqlite_error(db, "read", error);
    sqlite3_finalize(stmt);
    return rc;
}

static int query_runs(sqlite3 *db, const struct history_query *q, json_t *array, struct error *error)
{
    struct select s;
    char tail[64];
    int64_t left = INT64_MAX;

    select_init(&s, "SELECT json FROM runs");
    select_text(&s, "job = ?", q->job);
    select_text(&s, "run = ?", q->run);
    /* "+": by the job's own rows, which are few, and not by all of that state or verdict */
    select_text(&s, q->job ? "+state = ?" : "state = ?", q->state);
    select_text(&s, q->job ? "+verdict = ?" : "verdict = ?", q->verdict);
    select_text(&s, "+cause = ?", q->cause);
    select_bound(&s, "at >= ?", q->since_ms);
    select_bound(&s, "at <= ?", q->until_ms);
    if (q->before) {
        select_int(&s, "(at, run) < (?", q->until_ms);
        text_add(&s.sql, ", ?)");
        s.values[s.count++].text = q->before;
    }
    if (q->match)
        return choose_runs(db, &s, q, array, error);
    return collect(db, &s, limit_clause(q, "at DESC, run DESC", tail, sizeof(tail)), whole_json, array, &left,
                   error);
}

static json_t *bucket_json(sqlite3_stmt *row)
{
    return json_pack("[I,s,I]", (json_int_t)sqlite3_column_int64(row, 0), column(row, 1),
                     (json_int_t)sqlite3_column_int64(row, 2));
}

static int query_buckets(sqlite3 *db, const struct history_query *q, json_t *array, struct error *error)
{
    int64_t left = HISTORY_BUCKETS_MAX;
    struct select s;
    char sql[160];

    assert(q->bucket_ms > 0 && q->since_ms >= 0);
    snprintf(sql, sizeof(sql), "SELECT at / %lld AS bucket, coalesce(verdict, state), count(*) FROM runs",
             (long long)q->bucket_ms);
    select_init(&s, sql);
    select_text(&s, "job = ?", q->job);
    select_bound(&s, "at >= ?", q->since_ms);
    select_bound(&s, "at <= ?", q->until_ms);
    return collect(db, &s, " GROUP BY 1, 2 ORDER BY 1, 2", bucket_json, array, &left, error);
}

static int query_skips(sqlite3 *db, const struct history_query *q, json_t *array, struct error *error)
{
    struct select s;
    char tail[64];
    int64_t left = INT64_MAX;

    select_init(&s, "SELECT job, first, last, count, reason, text, time FROM skips");
    select_text(&s, "job = ?", q->job);
    select_text(&s, "reason = ?", q->verdict);
    select_bound(&s, "last >= ?", q->since_ms);
    select_bound(&s, "first <= ?", q->until_ms);
    return collect(db, &s, limit_clause(q, "first, idx, seq", tail, sizeof(tail)), skip_json, array, &left,
                   error);
}

static int query_records(sqlite3 *db, const struct history_query *q, json_t *array, struct error *error)
{
    struct select s;
    char tail[64], kinds[256];
    int64_t left = INT64_MAX;
    int rc;

    select_init(&s, "SELECT idx, seq, time, epoch, kind, json FROM records");
    select_text(&s, "job = ?", q->job);
    select_text(&s, "run = ?", q->run);
    select_bound(&s, "time >= ?", q->since_ms);
    select_bound(&s, "time <= ?", q->until_ms);
    if (q->first) { /* the first condition is for the index, the second for the rest */
        select_int(&s, "idx >= ?", (int64_t)q->first);
        select_int(&s, "(idx, seq) > (?", (int64_t)q->first);
        text_add(&s.sql, ", ?)");
        s.values[s.count++].number = (int64_t)q->last;
    }
    rc = select_kinds(&s, q->kinds, kinds, sizeof(kinds), error);
    if (rc < 0) {
        text_release(&s.sql);
        return rc;
    }
    return collect(db, &s, limit_clause(q, "idx, seq", tail, sizeof(tail)), record_json, array, &left, error);
}

/* Widens the time asked for to whole pruned days that reach into it. */
static int audit_window(sqlite3 *db, const struct history_query *q, int64_t *since_ms, int64_t *until_ms,
                        struct error *error)
{
    sqlite3_stmt *stmt = NULL;
    struct select s;
    int rc;

    *since_ms = q->since_ms;
    *until_ms = q->until_ms ? q->until_ms : INT64_MAX;
    select_init(&s, "SELECT min(first) - 1, max(last) FROM pruned");
    select_text(&s, "job = ?", q->job);
    select_int(&s, "last > ?", *since_ms);
    select_int(&s, "first <= ?", *until_ms);
    rc = select_prepare(&s, db, "", &stmt, error);
    if (rc < 0)
        return rc;
    if (sqlite3_step(stmt) == SQLITE_ROW && sqlite3_column_type(stmt, 0) != SQLITE_NULL) {
        if (sqlite3_column_int64(stmt, 0) < *since_ms)
            *since_ms = sqlite3_column_int64(stmt, 0);
        if (sqlite3_column_int64(stmt, 1) > *until_ms)
            *until_ms = sqlite3_column_int64(stmt, 1);
    }
    sqlite3_finalize(stmt);
    return 0;
}

/* The times of the runs of this job that are in that state for that cause: among the groups of `array` from `first` on. */
static json_t *audit_group(json_t *array, size_t first, const char *job, const char *state, const char *cause)
{
    json_t *group, *times;

    for (size_t i = first; i < json_array_size(array); i++) {
        group = json_array_get(array, i);
        if (strcmp(json_string_value(json_object_get(group, "state")), state) == 0 &&
            strcmp(json_string_value(json_object_get(group, "cause")), cause) == 0)
            return json_object_get(group, "at");
    }
    times = json_array();
    group = json_pack("{s:s,s:s,s:s,s:o}", "job", job, "state", state, "cause", cause, "at", times);
    return json_array_append_new(array, group) < 0 ? NULL : times;
}

/* Rows of job, state, cause and time, by job: of a million runs hardly more than their times is kept. */
static int audit_runs(sqlite3 *db, sqlite3_stmt *stmt, json_t *array, int64_t *left, struct error *error)
{
    char job[RUN_JOB_MAX] = "";
    size_t first = 0;
    int step, rc = 0;

    while (rc == 0 && (step = sqlite3_step(stmt)) != SQLITE_DONE) {
        json_t *times = NULL;

        if (step != SQLITE_ROW) {
            rc = sqlite_error(db, "read", error);
            break;
        }
        if (strcmp(column(stmt, 0), job) != 0) {
            snprintf(job, sizeof(job), "%s", column(stmt, 0));
            first = json_array_size(array);
        }
        if ((*left)-- > 0)
            times = audit_group(array, first, job, column(stmt, 1), column(stmt, 2));
        else
            rc = error_set(error, ERR_LIMIT, TOO_MANY_ROWS);
        if (rc == 0 && json_array_append_new(times, json_integer(sqlite3_column_int64(stmt, 3))) < 0)
            rc = error_set(error, ERR_CORRUPT, "a row of the history cannot be read");
    }
    sqlite3_finalize(stmt);
    return rc;
}

/* One part of an audit: rows whose [first, last] reach into (since, until]. */
struct audit_part {
    const char *key, *sql, *job, *after, *before, *order;
    row_json *to_json; /* NULL: audit_runs */
};

static const struct audit_part audit_parts[] = {
    {"runs", "SELECT job, state, cause, at FROM runs WHERE exact = 0", "job = ?", "at > ?", "at <= ?",
     " ORDER BY job, at", NULL},
    {"skips", "SELECT job, first, last, count, reason, text, time FROM skips", "job = ?", "last > ?",
     "first <= ?", " ORDER BY job, first, idx, seq", audit_skip_json},
    /* all of them: one recorded after `until` can still speak of a time before it, such as a resume */
    {"records",
     "SELECT idx, seq, time, epoch, kind, json FROM records WHERE kind IN ('job', 'delete', 'pause', "
     "'resume', 'tzdata')",
     "(job = ? OR job IS NULL)", NULL, NULL, " ORDER BY idx, seq", audit_record_json},
    {"unfinished", "SELECT run, job, at, state FROM runs WHERE done = 0", "job = ?", NULL, NULL,
     " ORDER BY job, at", unfinished_json},
    /* Each attempt of a run ends once, whatever the leaders did. The same end may be read a second time, when the journal
     * of the first time was lost. */
    {"ends",
     "SELECT run, n FROM (SELECT run, count(*) AS n, count(DISTINCT json_extract(json, '$.at')) AS times,"
     " min(idx) AS first, max(idx) AS last FROM records WHERE kind = 'ended'",
     "job = ?", "time > ?", NULL,
     " GROUP BY run, json_extract(json, '$.attempt')) WHERE n > 1 AND NOT (times = 1 AND EXISTS (SELECT 1"
     " FROM records AS r WHERE r.kind = 'recovered' AND r.idx > first AND r.idx < last)) ORDER BY run",
     ends_json},
    {"pruned", "SELECT job, first, last, count FROM pruned", "job = ?", "last > ?", "first <= ?",
     " ORDER BY job, first", pruned_json},
    {"gaps", "SELECT first_time, last_time FROM gaps", NULL, "last_time > ?", "first_time <= ?",
     " ORDER BY first", gap_json},
    {"copied", "SELECT first_time, last_time FROM copied", NULL, NULL, NULL, " ORDER BY first", gap_json},
};

static int audit_collect(sqlite3 *db, struct select *s, const struct audit_part *part, json_t *array,
                         int64_t *left, struct error *error)
{
    int64_t room = *left / STORE_AUDIT_OBJECT, before = room;
    sqlite3_stmt *stmt = NULL;
    int rc = select_prepare(s, db, part->order, &stmt, error);

    if (rc < 0)
        return rc;
    if (!part->to_json)
        return audit_runs(db, stmt, array, left, error);
    rc = rows_collect(db, stmt, part->to_json, array, &room, error);
    *left -= (before - room) * STORE_AUDIT_OBJECT;
    return rc;
}

static int query_audit(sqlite3 *db, const struct history_query *q, json_t *object, struct error *error)
{
    int64_t since_ms, until_ms, left = STORE_AUDIT_ROWS_MAX;
    int rc = audit_window(db, q, &since_ms, &until_ms, error);

    for (size_t i = 0; rc == 0 && i < sizeof(audit_parts) / sizeof(audit_parts[0]); i++) {
        const struct audit_part *part = &audit_parts[i];
        json_t *array = json_array();
        struct select s;

        select_init(&s, part->sql);
        s.has_where = strstr(part->sql, " WHERE ") != NULL;
        if (part->job)
            select_text(&s, part->job, q->job);
        if (part->after)
            select_int(&s, part->after, since_ms);
        if (part->before)
            select_int(&s, part->before, until_ms);
        json_object_set_new(object, part->key, array);
        rc = audit_collect(db, &s, part, array, &left, error);
    }
    return rc;
}

static json_t *first_integer(sqlite3_stmt *row)
{
    return json_integer((json_int_t)sqlite3_column_int64(row, 0));
}

/* One number for an object's key. */
static int query_number(sqlite3 *db, struct select *s, json_t *object, const char *key, struct error *error)
{
    json_t *array = json_array();
    int64_t left = 1;
    int rc = collect(db, s, "", first_integer, array, &left, error);

    json_object_set(object, key, json_array_get(array, 0));
    json_decref(array);
    return rc;
}

static int query_fired(sqlite3 *db, const struct history_query *q, json_t **ret, struct error *error)
{
    json_t *object = json_pack("{s:[]}", "times");
    int64_t left = HISTORY_FIRED_MAX;
    struct select s;
    int rc;

    select_init(&s, "SELECT at FROM runs WHERE exact = 0 AND state != 'skipped'");
    s.has_where = true;
    select_text(&s, "job = ?", q->job);
    select_int(&s, "at > ?", q->since_ms);
    select_int(&s, "at <= ?", q->until_ms);
    rc = collect(db, &s, " ORDER BY at", first_integer, json_object_get(object, "times"), &left, error);
    if (rc == 0) {
        select_init(&s, "SELECT count(*) FROM pruned");
        select_text(&s, "job = ?", q->job);
        select_int(&s, "last > ?", q->since_ms);
        select_int(&s, "first <= ?", q->until_ms);
        rc = query_number(db, &s, object, "pruned", error);
    }
    if (rc == 0) {
        select_init(&s, "SELECT count(*) FROM gaps");
        select_int(&s, "last_time > ?", q->since_ms);
        select_int(&s, "first_time <= ?", q->until_ms);
        rc = query_number(db, &s, object, "gaps", error);
    }
    if (rc < 0) {
        json_decref(object);
        return rc;
    }
    *ret = object;
    return 0;
}

int store_query(sqlite3 *db, const struct history_query *q, json_t **ret, struct error *error)
{
    json_t *result = q->kind == HISTORY_AUDIT ? json_object() : json_array();
    json_t *other = NULL;                     /* of those kinds that are not rows of one table */
    int rc = sqlite_exec(db, "BEGIN", error); /* all its statements see the same state */

    if (rc == 0) {
        switch (q->kind) {
        case HISTORY_RUNS:
        case HISTORY_RUN:
            rc = query_runs(db, q, result, error);
            break;
        case HISTORY_BUCKETS:
            rc = query_buckets(db, q, result, error);
            break;
        case HISTORY_SKIPS:
            rc = query_skips(db, q, result, error);
            break;
        case HISTORY_RECORDS:
            rc = query_records(db, q, result, error);
            break;
        case HISTORY_GAP:
            rc = store_copy_gap(db, (int64_t)q->first, &other, error);
            break;
        case HISTORY_COPY:
            rc = store_copy_read(db, (int64_t)q->first, (int64_t)q->last, &other, error);
            break;
        case HISTORY_FIRED:
            rc = query_fired(db, q, &other, error);
            break;
        case HISTORY_AUDIT:
            rc = query_audit(db, q, result, error);
            break;
        }
        sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
    }
    if (rc < 0) {
        json_decref(result);
        return rc;
    }
    if (other) {
        json_decref(result);
        result = other;
    }
    if (q->kind == HISTORY_RUN) {
        json_t *run = json_array_size(result) ? json_incref(json_array_get(result, 0)) : json_null();

        json_decref(result);
        result = run;
    }
    *ret = result;
    return 0;
}
