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
    const char *kind, *what, *text;
} sentences[] = {
    {"trigger", "trigger", "triggered[ by {by}], cause {cause}[, key {key}]; epoch {epoch}"},
    {"fire", "fire", "becomes a run[, cause {cause}][, to be released at {due@}]; epoch {epoch}"},
    {"arm", "intent",
     "attempt {attempt}, try {try}: reserved on engine {engine}, due at {due@}; epoch {epoch}"},
    {"committed", "fence",
     "attempt {attempt}: the engine has prepared {id}; only epoch {epoch} may start it"},
    {"revoked", "revoked", "attempt {attempt} will never be released: {reason}"},
    {"started", "start", "attempt {attempt}: the engine says that it started at {at@}[; {text}]"},
    {"start-failed", "start",
     "attempt {attempt}: the engine refused to start it: {text}[ (exit code {code})]"},
    {"stopping", "stop", "attempt {attempt} is to be stopped: {reason}[, asked for by {by}]"},
    {"ended", "end", "attempt {attempt} ended at {at@} with exit code {code}[, {cause}][: {text}]"},
    {"never-ran", "evidence", "attempt {attempt} provably never ran: {text}"},
    {"unknown", "evidence", "attempt {attempt}: whether it ran cannot be known: {text}"},
    {"unresolved", "evidence", "attempt {attempt} cannot be settled yet: {text}"},
    {"closed", "end", "closed as {verdict}[: {text}][, by {by}]"},
    {"note", "note", "{text}[, by {by}]"},
    {"notified", "notified", "notification {run}[ answered with {code}][: {text}]"},
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
    const char *kind = json_string_value(json_object_get(item, "kind"));
    struct text t;

    for (size_t i = 0; kind && i < sizeof(sentences) / sizeof(sentences[0]); i++) {
        if (strcmp(sentences[i].kind, kind) != 0)
            continue;
        text_init(&t, LINE_BYTES_MAX);
        expand(&t, item, sentences[i].text, sentences[i].text + strlen(sentences[i].text));
        explain_line(e, past_time(json_object_get(item, "time")), sentences[i].what, "%s", text_str(&t));
        text_release(&t);
    }
}

/* The reign at the time, and those that began while the run was not ended. */
static void add_reigns(struct explain *e, int64_t first_ms, int64_t last_ms)
{
    const json_t *before = NULL;
    json_t *item;
    size_t i;

    json_array_foreach(e->answers[EXPLAIN_REIGNS], i, item)
    {
        const json_t *record = json_object_get(item, "record");
        int64_t time_ms = past_time(json_object_get(item, "time"));

        if (time_ms <= first_ms)
            before = item;
        else if (time_ms <= last_ms)
            explain_line(
                e, time_ms, "take-over", "replica %s leads: epoch %" JSON_INTEGER_FORMAT "%s%s",
                json_string_value(json_object_get(record, "replica")),
                json_integer_value(json_object_get(record, "epoch")),
                json_object_get(record, "cause") ? ", " : "",
                json_object_get(record, "cause") ? json_string_value(json_object_get(record, "cause")) : "");
    }
    if (before)
        explain_line(e, past_time(json_object_get(before, "time")), "reign",
                     "replica %s leads: epoch %" JSON_INTEGER_FORMAT,
                     json_string_value(json_object_get(json_object_get(before, "record"), "replica")),
                     json_integer_value(json_object_get(json_object_get(before, "record"), "epoch")));
}

void explain_records(struct explain *e)
{
    int64_t first_ms = e->request->at_ms, last_ms = e->request->at_ms;
    json_t *item;
    size_t i;

    json_array_foreach(e->answers[EXPLAIN_RECORDS], i, item)
    {
        int64_t time_ms = past_time(json_object_get(item, "time"));

        first_ms = time_ms < first_ms ? time_ms : first_ms;
        last_ms = time_ms > last_ms ? time_ms : last_ms;
        e->last_ms = time_ms > e->last_ms ? time_ms : e->last_ms;
        add_record(e, item);
    }
    if (e->is_fire_time || json_array_size(e->answers[EXPLAIN_RECORDS]))
        add_reigns(e, first_ms, last_ms);
}
