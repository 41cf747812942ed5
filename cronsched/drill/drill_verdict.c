/* Measurements and the verdict. Starts come from the ledger; the fire times are arithmetic: every second for every
 * canary. The servers are asked only when the new leader's epoch began, and why something did not start. */
#include "cronsched/drill/drill.h"
#include "jobs/base/percent.h"
#include "jobs/time/instant.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define OPEN_MS       60000 /* for canaries that still run */
#define UNDER_WAY_MS  5000  /* a start takes no longer than this, on a loaded machine */
#define RECORD_MS     10000 /* for a record to reach somebody's store */
#define FORGOTTEN     "journal-lost"
#define RUNS_LIMIT    "10000"
#define RECORDS_LIMIT "9999"

static json_t *get(struct drill *d, struct text *path, struct error *error)
{
    json_t *reply = NULL;
    int r = path->failed ? error_set(error, path->failed, "the path is too long")
                         : client_call(&d->session->client, "GET", text_str(path), NULL, CLIENT_REPEATABLE,
                                       &reply, error);

    text_release(path);
    return r < 0 ? NULL : reply;
}

static void add_time(struct text *path, const char *key, int64_t ms)
{
    char text[TEXT_NUMBER_BUFFER];

    client_add_query(path, key, instant_format(ms, INSTANT_MS, text, sizeof(text)));
}

/* ---- one repeat ---- */

/* The first epoch after the fault's, if these records have it. */
static bool find_epoch(const json_t *records, struct drill_repeat *repeat)
{
    const json_t *entry;
    size_t i;

    json_array_foreach(records, i, entry)
    {
        const json_t *record = json_object_get(entry, "record");
        const char *time = json_string_value(json_object_get(entry, "time"));
        const char *cause = json_string_value(json_object_get(record, "cause"));
        int64_t ms;

        if (json_integer_value(json_object_get(record, "epoch")) <= repeat->before.epoch || !time ||
            instant_parse(time, &ms, NULL) < 0)
            continue;
        repeat->gap_ms = ms - repeat->fault_ms;
        snprintf(repeat->cause, sizeof(repeat->cause), "%s", cause ? cause : "");
        return true;
    }
    return false;
}

/* When the new leader's epoch began, by its own record. A replica that was just healed may not have it yet: each
 * server is asked. */
static int measure_gap(struct drill *d, struct drill_repeat *repeat, struct error *error)
{
    struct client *client = &d->session->client;
    int64_t until_ms = drill_now_ms() + RECORD_MS;
    bool found = repeat->after.epoch <= repeat->before.epoch;
    struct text path;

    repeat->gap_ms = -1;
    text_init(&path, CLI_PATH_MAX);
    text_add(&path, "/v1/records");
    client_add_query(&path, "kinds", "epoch");
    client_add_query(&path, "limit", RECORDS_LIMIT);
    add_time(&path, "since", repeat->fault_ms - 1000);
    while (!found && drill_now_ms() < until_ms) {
        for (size_t i = 0; !found && i < client->server_count; i++) {
            json_t *records = NULL;

            found = client_probe(client, i, text_str(&path), &records, NULL) == 0 &&
                    find_epoch(records, repeat);
            json_decref(records);
        }
        drill_sleep_until(drill_now_ms() + DRILL_POLL_MS);
    }
    text_release(&path);
    if (!found)
        return error_set(error, ERR_NOT_FOUND, "the journal has no record of epoch %" PRId64,
                         repeat->after.epoch);
    return 0;
}

/* What was handed over bears the epoch that prepared it. */
static bool by_successor(const struct drill_repeat *repeat, const struct drill_line *line)
{
    return line->epoch > repeat->before.epoch ||
           (repeat->gap_ms >= 0 && line->at_ms >= repeat->fault_ms + repeat->gap_ms);
}

/* One engine's starts between the fault and now. */
static void measure_engine(const struct drill *d, struct drill_repeat *repeat, size_t engine)
{
    int64_t last_ms = repeat->fault_ms;

    repeat->first_ms[engine] = -1;
    for (size_t i = 0; i < d->ledger.count; i++) {
        const struct drill_line *line = &d->ledger.lines[i];
        int64_t late_ms = line->at_ms - line->fire_ms;

        if (line->end || line->at_ms < repeat->fault_ms || drill_canary_engine(d, line->canary) != engine)
            continue;
        if (repeat->first_ms[engine] < 0 && by_successor(repeat, line))
            repeat->first_ms[engine] = line->at_ms - repeat->fault_ms;
        if (line->at_ms - last_ms > repeat->silent_ms[engine])
            repeat->silent_ms[engine] = line->at_ms - last_ms;
        if (late_ms > repeat->late_ms[engine])
            repeat->late_ms[engine] = late_ms;
        if (line->at_ms > last_ms)
            last_ms = line->at_ms;
    }
}

int drill_measure(struct drill *d, struct drill_repeat *repeat, struct error *error)
{
    int r = measure_gap(d, repeat, error);

    for (size_t e = 0; e < d->engine_count; e++)
        measure_engine(d, repeat, e);
    return r;
}

/* ---- starts by fire time ---- */

/* Of each canary and second from first_ms to last_ms. */
static unsigned char *count_starts(const struct drill *d, struct error *error)
{
    size_t seconds = (size_t)((d->last_ms - d->first_ms) / 1000 + 1);
    unsigned char *starts = calloc(seconds * drill_canary_count(d), 1);

    if (!starts) {
        error_set(error, ERR_NOMEM, "out of memory");
        return NULL;
    }
    for (size_t i = 0; i < d->ledger.count; i++) {
        const struct drill_line *line = &d->ledger.lines[i];
        size_t at;

        if (line->end || line->fire_ms < d->first_ms || line->fire_ms > d->last_ms ||
            line->canary >= drill_canary_count(d))
            continue;
        at = line->canary * seconds + (size_t)((line->fire_ms - d->first_ms) / 1000);
        if (starts[at] < 255)
            starts[at]++;
    }
    return starts;
}

static size_t count_missing(const struct drill *d, const unsigned char *starts)
{
    size_t n = (size_t)((d->last_ms - d->first_ms) / 1000 + 1) * drill_canary_count(d), missing = 0;

    for (size_t i = 0; i < n; i++)
        missing += starts[i] == 0;
    return missing;
}

int drill_settle(struct drill *d, struct error *error)
{
    int64_t until_ms = drill_now_ms() + DRILL_SETTLE_MS;
    size_t missing = SIZE_MAX;

    d->last_ms = drill_now_ms() / 1000 * 1000 - 1000;
    while (missing > 0 && drill_now_ms() < until_ms && !drill_interrupted) {
        unsigned char *starts;
        size_t before = missing;
        int r = drill_ledger_read(&d->ledger, error);

        starts = r == 0 ? count_starts(d, error) : NULL;
        if (!starts)
            return error ? error->code : ERR_NOMEM;
        missing = count_missing(d, starts);
        free(starts);
        if (missing < before)
            until_ms = drill_now_ms() + DRILL_SETTLE_MS;
        drill_sleep_until(drill_now_ms() + 10 * (int64_t)DRILL_POLL_MS);
    }
    return 0;
}

/* ---- the verdict ---- */

static void note(json_t *list, size_t *count, const char *run)
{
    if ((*count)++ < DRILL_LISTED_MAX)
        json_array_append_new(list, json_string(run));
}

static const char *run_id(const struct drill *d, unsigned canary, int64_t fire_ms, char *buffer, size_t size)
{
    char name[DRILL_ID_MAX], time[TEXT_NUMBER_BUFFER];

    snprintf(buffer, size, "%s@%s", drill_canary_name(d, canary, name, sizeof(name)),
             instant_format(fire_ms, INSTANT_BASIC_S, time, sizeof(time)));
    return buffer;
}

/* One of many fire times that were skipped together has no row of its own: a record names the range. */
static bool is_forgotten(struct drill *d, unsigned canary, int64_t fire_ms)
{
    char name[DRILL_ID_MAX];
    const json_t *entry;
    json_t *records;
    bool found = false;
    struct text path;
    size_t i;

    text_init(&path, CLI_PATH_MAX);
    text_add(&path, "/v1/records");
    client_add_query(&path, "job", drill_canary_name(d, canary, name, sizeof(name)));
    client_add_query(&path, "kinds", "skipped");
    client_add_query(&path, "limit", RECORDS_LIMIT);
    records = get(d, &path, NULL);
    json_array_foreach(records, i, entry)
    {
        const json_t *r = json_object_get(entry, "record");
        const char *reason = json_string_value(json_object_get(r, "reason"));

        found = found || (reason && strcmp(reason, FORGOTTEN) == 0 &&
                          fire_ms >= json_integer_value(json_object_get(r, "from")) &&
                          fire_ms <= json_integer_value(json_object_get(r, "to")));
    }
    json_decref(records);
    return found;
}

/* A fire time without a start in the ledger: does the server have a verdict? `lost` is counted on its own. */
static void account_for(struct drill *d, unsigned canary, int64_t fire_ms, const char *run)
{
    struct drill_verdict *verdict = &d->verdict;
    const char *word;
    struct text path;
    json_t *reply;

    text_init(&path, CLI_PATH_MAX);
    text_add(&path, "/v1/runs/");
    percent_add(&path, run);
    reply = get(d, &path, NULL);
    word = json_string_value(json_object_get(reply, "verdict"));
    if (!word && d->fault->may_forget && is_forgotten(d, canary, fire_ms))
        word = FORGOTTEN;
    if (!word)
        note(verdict->unaccounted, &verdict->unaccounted_count, run);
    else if (d->fault->may_forget && strcmp(word, FORGOTTEN) == 0)
        verdict->forgotten_count++;
    else if (strcmp(word, "lost") != 0)
        note(verdict->skipped, &verdict->skipped_count, run);
    json_decref(reply);
}

static int compare_starts(struct drill *d, struct error *error)
{
    unsigned char *starts = count_starts(d, error);
    size_t seconds = (size_t)((d->last_ms - d->first_ms) / 1000 + 1);
    struct drill_verdict *verdict = &d->verdict;

    if (!starts)
        return error ? error->code : ERR_NOMEM;
    verdict->fire_times = (int64_t)(seconds * drill_canary_count(d));
    for (size_t i = 0; i < seconds * drill_canary_count(d); i++) {
        int64_t fire_ms = d->first_ms + (int64_t)(i % seconds) * 1000;
        unsigned canary = (unsigned)(i / seconds);
        char run[2 * DRILL_ID_MAX];

        verdict->starts += starts[i];
        if (starts[i] == 1)
            continue;
        run_id(d, canary, fire_ms, run, sizeof(run));
        if (starts[i] > 1)
            note(verdict->doubled, &verdict->doubled_count, run);
        else
            account_for(d, canary, fire_ms, run);
    }
    free(starts);
    return 0;
}

static json_t *runs_of(struct drill *d, unsigned canary, const char *key, const char *value,
                       struct error *error)
{
    char name[DRILL_ID_MAX];
    struct text path;

    text_init(&path, CLI_PATH_MAX);
    text_add(&path, "/v1/runs");
    client_add_query(&path, "job", drill_canary_name(d, canary, name, sizeof(name)));
    client_add_query(&path, key, value);
    client_add_query(&path, "limit", RUNS_LIMIT);
    return get(d, &path, error);
}

/* Was its start under way during a fault that may lose it, or in a time of which the journal was lost? */
static bool may_be_lost(const struct drill *d, const char *run)
{
    const char *at = strrchr(run, '@');
    int64_t fire_ms;

    if ((!d->fault->may_lose && !d->fault->may_forget) || !at ||
        instant_parse_basic(at + 1, &fire_ms, NULL) < 0)
        return false;
    for (size_t i = 0; i < d->done_count; i++) {
        const struct drill_repeat *repeat = &d->done[i];
        int64_t from_ms = repeat->backup_ms ? repeat->backup_ms : repeat->fault_ms;

        if (fire_ms >= from_ms - UNDER_WAY_MS && fire_ms <= repeat->healed_ms)
            return true;
    }
    return false;
}

static int count_lost(struct drill *d, struct error *error)
{
    for (unsigned i = 0; i < drill_canary_count(d); i++) {
        json_t *runs = runs_of(d, i, "verdict", "lost", error);
        const json_t *run;
        size_t k;

        if (!runs)
            return error ? error->code : ERR_IO;
        json_array_foreach(runs, k, run)
        {
            const char *id = json_string_value(json_object_get(run, "run"));

            if (id && may_be_lost(d, id))
                note(d->verdict.unprovable, &d->verdict.unprovable_count, id);
            else
                note(d->verdict.lost, &d->verdict.lost_count, id ? id : "?");
        }
        json_decref(runs);
    }
    return 0;
}

/* The servers' own audit: every fire time has exactly one verdict. */
static int audit(struct drill *d, struct error *error)
{
    for (unsigned i = 0; i < drill_canary_count(d); i++) {
        char name[DRILL_ID_MAX];
        json_t *reply;
        const json_t *item;
        struct text path;
        size_t k;

        text_init(&path, CLI_PATH_MAX);
        text_add(&path, "/v1/audit");
        client_add_query(&path, "job", drill_canary_name(d, i, name, sizeof(name)));
        add_time(&path, "since", d->first_ms - 1);
        add_time(&path, "until", d->last_ms);
        reply = get(d, &path, error);
        if (!reply)
            return error ? error->code : ERR_IO;
        json_array_foreach(json_object_get(reply, "unaccounted"), k, item)
        {
            const char *time = json_string_value(json_object_get(item, "fire_time"));
            char text[2 * DRILL_ID_MAX];

            snprintf(text, sizeof(text), "%s at %s, by audit", name, time ? time : "?");
            note(d->verdict.unaccounted, &d->verdict.unaccounted_count, text);
        }
        json_array_foreach(json_object_get(reply, "doubled"), k, item)
        {
            const char *time = json_string_value(json_object_get(item, "fire_time"));
            char text[2 * DRILL_ID_MAX];

            snprintf(text, sizeof(text), "%s at %s, by audit", name, time ? time : "?");
            note(d->verdict.doubled, &d->verdict.doubled_count, text);
        }
        json_decref(reply);
    }
    return 0;
}

/* Runs of the canaries that are not over. */
static int count_open(struct drill *d, size_t *ret, struct error *error)
{
    static const char *const states[] = {"waiting", "armed", "starting", "running", "retrying", "unresolved"};

    *ret = 0;
    for (unsigned i = 0; i < drill_canary_count(d); i++)
        for (size_t s = 0; s < sizeof(states) / sizeof(states[0]); s++) {
            json_t *runs = runs_of(d, i, "state", states[s], error);

            if (!runs)
                return error ? error->code : ERR_IO;
            *ret += json_array_size(runs);
            json_decref(runs);
        }
    return 0;
}

/* Until all have ended, or none ends any more: an engine may be behind by many. */
static int wait_ends(struct drill *d, size_t *ret_open, struct error *error)
{
    int64_t until_ms = drill_now_ms() + OPEN_MS;
    size_t least = SIZE_MAX;
    int r = 0;

    while (r == 0 && least > 0 && drill_now_ms() < until_ms && !drill_interrupted) {
        r = count_open(d, ret_open, error);
        if (r == 0 && *ret_open < least) {
            least = *ret_open;
            until_ms = drill_now_ms() + OPEN_MS;
        }
        drill_sleep_until(drill_now_ms() + 10 * (int64_t)DRILL_POLL_MS);
    }
    return r;
}

int drill_evaluate(struct drill *d, struct error *error)
{
    struct drill_verdict *verdict = &d->verdict;
    struct drill_view view;
    size_t open = 1;
    int r = drill_look(d, NULL, &view, error); /* and the leader is asked first from now on */

    verdict->doubled = json_array();
    verdict->lost = json_array();
    verdict->unaccounted = json_array();
    verdict->skipped = json_array();
    verdict->unprovable = json_array();
    if (r == 0)
        r = wait_ends(d, &open, error);
    if (r == 0)
        r = drill_ledger_read(&d->ledger, error);
    if (r == 0)
        r = compare_starts(d, error);
    if (r == 0)
        r = count_lost(d, error);
    if (r == 0)
        r = audit(d, error);
    verdict->open = open;
    verdict->torn = d->ledger.torn;
    return r;
}

bool drill_passed(const struct drill_verdict *verdict)
{
    return verdict->doubled_count + verdict->lost_count + verdict->unaccounted_count +
               verdict->skipped_count + verdict->led_count + verdict->open + verdict->torn ==
           0;
}
