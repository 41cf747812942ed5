/* A record as a line for people, by one table of texts with the records' fields in them. */
#include "jobs/audit/explain_priv.h"
#include "jobs/base/text.h"

#include <stdio.h>
#include <string.h>

#define LINE_BYTES_MAX 4096
#define DIGEST_CHARS   64
#define DIGEST_SHOWN   12

/* {key}: a field of the record; {key@}: as a time; {key~}: as a duration. {epoch} is that of the batch.
 * [...]: left out unless all fields in it are there. */
static const struct sentence {
    const char *what, *text; /* NULL: this kind is not shown */
} sentences[RECORD_KIND_COUNT] = {
    [RECORD_TRIGGER] = {"trigger", "triggered[ by {by}], cause {cause}[, key {key}]; epoch {epoch}"},
    [RECORD_FIRE] = {"fire", "becomes a run[, cause {cause}][, to be released at {due@}]; epoch {epoch}"},
    [RECORD_ARM] =
        {"intent", "attempt {attempt}, try {try}: reserved on engine {engine}, due at {due@}; epoch {epoch}"},
    [RECORD_COMMITTED] = {"fence",
                          "attempt {attempt}: the engine has prepared {id}; only epoch {epoch} may start it"},
    [RECORD_REVOKED] = {"revoked", "attempt {attempt} will never be released: {reason}"},
    [RECORD_ACCEPTED] = {"accepted", "attempt {attempt}: the engine will start it when it can[: {text}]"},
    [RECORD_STARTED] = {"start", "attempt {attempt}: the engine says that it started at {at@}[; {text}]"},
    [RECORD_STARTED_AGAIN] = {"start", "attempt {attempt} was started {count} times: {text}"},
    [RECORD_START_FAILED] =
        {"start", "attempt {attempt}: the engine refused to start it: {text}[ (exit code {code})]"},
    [RECORD_STOPPING] = {"stop", "attempt {attempt} is to be stopped: {reason}[, asked for by {by}]"},
    [RECORD_ENDED] = {"end", "attempt {attempt} ended at {at@} with exit code {code}[, {cause}][: {text}]"},
    [RECORD_NEVER_RAN] = {"evidence", "attempt {attempt} provably never ran: {text}"},
    [RECORD_UNKNOWN] = {"evidence", "attempt {attempt}: whether it ran cannot be known: {text}"},
    [RECORD_UNRESOLVED] = {"evidence", "attempt {attempt} cannot be resolved yet: {text}"},
    [RECORD_CLOSED] = {"end", "closed as {verdict}[: {text}][, by {by}]"},
    [RECORD_NOTE] = {"note", "{text}[, by {by}]"},
    [RECORD_NOTIFIED] = {"notified", "notification {run}[ answered with {code}][: {text}]"},
};

static const json_t *field_of(const json_t *item, const char *key)
{
    return json_object_get(strcmp(key, "epoch") == 0 ? item : json_object_get(item, "record"), key);
}

/* A digest that names a container is cut as docker cuts it. */
static void put_text(struct text *t, const char *s)
{
    bool digest = strlen(s) == DIGEST_CHARS && strspn(s, "0123456789abcdef") == DIGEST_CHARS;

    text_add_bytes(t, s, digest ? DIGEST_SHOWN : strlen(s));
}

/* Adds one field; false: it is not there. */
static bool put_field(struct text *t, const json_t *item, const char *name, size_t n)
{
    char key[32], buffer[TEXT_NUMBER_BUFFER];
    bool time = n > 0 && name[n - 1] == '@';
    const json_t *value;

    snprintf(key, sizeof(key), "%.*s", (int)(time ? n - 1 : n), name);
    value = field_of(item, key);
    if (json_is_integer(value) && time)
        text_add(t, explain_time(json_integer_value(value), buffer, sizeof(buffer)));
    else if (json_is_integer(value))
        text_addf(t, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    else if (json_is_string(value) && json_string_length(value))
        put_text(t, json_string_value(value));
    else
        return false;
    return true;
}

/* Expands [from, to); false: a field in it is missing. */
static bool expand(struct text *t, const json_t *item, const char *from, const char *to)
{
    bool whole = true;

    while (from < to) {
        if (*from == '[') {
            const char *end = memchr(from, ']', (size_t)(to - from));
            struct text part;

            text_init(&part, LINE_BYTES_MAX);
            if (expand(&part, item, from + 1, end))
                text_add(t, text_str(&part));
            text_release(&part);
            from = end + 1;
        } else if (*from == '{') {
            const char *end = memchr(from, '}', (size_t)(to - from));

            whole = put_field(t, item, from + 1, (size_t)(end - from - 1)) && whole;
            from = end + 1;
        } else {
            text_add_char(t, *from++);
        }
    }
    return whole;
}

static void add_record(struct explain *e, const json_t *item)
{
    enum record_kind kind = record_kind_of(json_string_value(json_object_get(item, "kind")));
    const struct sentence *sentence = kind < RECORD_KIND_COUNT ? &sentences[kind] : NULL;
    struct text t;

    if (!sentence || !sentence->text)
        return;
    text_init(&t, LINE_BYTES_MAX);
    expand(&t, item, sentence->text, sentence->text + strlen(sentence->text));
    explain_line(e, versions_time(json_object_get(item, "time")), sentence->what, "%s", text_str(&t));
    text_release(&t);
}

/* "replica R leads: epoch N", and why when `with_cause`. */
static void add_leader(struct explain *e, const json_t *item, const char *what, bool with_cause)
{
    const json_t *record = json_object_get(item, "record");
    const char *cause = json_string_value(json_object_get(record, "cause"));
    struct text t;

    text_init(&t, LINE_BYTES_MAX);
    text_addf(&t, "replica %s leads: epoch %" JSON_INTEGER_FORMAT,
              json_string_value(json_object_get(record, "replica")),
              json_integer_value(json_object_get(record, "epoch")));
    if (with_cause && cause)
        text_addf(&t, ", %s", cause);
    explain_line(e, versions_time(json_object_get(item, "time")), what, "%s", text_str(&t));
    text_release(&t);
}

/* The leader at the time, and those that began to lead before the run ended. */
static void add_leaders(struct explain *e, int64_t first_ms, int64_t last_ms)
{
    const json_t *before = NULL;
    json_t *item;
    size_t i;

    json_array_foreach(e->answers[EXPLAIN_EPOCHS], i, item)
    {
        int64_t time_ms = versions_time(json_object_get(item, "time"));

        if (time_ms <= first_ms)
            before = item;
        else if (time_ms <= last_ms)
            add_leader(e, item, "take-over", true);
    }
    if (before)
        add_leader(e, before, "leader", false);
}

void explain_records(struct explain *e)
{
    int64_t first_ms = e->request->at_ms, last_ms = e->request->at_ms;
    json_t *item;
    size_t i;

    json_array_foreach(e->answers[EXPLAIN_RECORDS], i, item)
    {
        int64_t time_ms = versions_time(json_object_get(item, "time"));

        first_ms = time_ms < first_ms ? time_ms : first_ms;
        last_ms = time_ms > last_ms ? time_ms : last_ms;
        e->last_ms = time_ms > e->last_ms ? time_ms : e->last_ms;
        add_record(e, item);
    }
    if (e->is_fire_time || json_array_size(e->answers[EXPLAIN_RECORDS]))
        add_leaders(e, first_ms, last_ms);
}
