/* A snapshot becomes a state, in steps: a large one takes a second, in which the loop has its turns.
 *
 * Happy path: the members of the outermost object are read one after the other, those of "jobs", "keys", "notices" and
 * "staged" a piece at a time, each parsed alone; all others are kept until the end. So the text is never a tree as a whole.
 *
 * Failure: the snapshot is invalid, at which byte or in which job; or it is of a newer build, which is then said instead.
 */
#include "jobs/base/alloc.h"
#include "jobs/base/object.h"
#include "jobs/state/state_priv.h"

#include <assert.h>

#define STEP_BYTES (256 * 1024) /* a step ends earlier when its items are large */

/* ---- parts ---- */

static int64_t get_int(const json_t *o, const char *key, int64_t none)
{
    const json_t *v = json_object_get(o, key);

    return json_is_integer(v) ? json_integer_value(v) : none;
}

/* Borrowed; NULL: it is not there. */
static const char *get_word(const json_t *o, const char *key)
{
    return json_string_value(json_object_get(o, key));
}

static char *get_text(const json_t *o, const char *key)
{
    return alloc_text(get_word(o, key));
}

static bool get_flag(const json_t *o, const char *key)
{
    return json_is_true(json_object_get(o, key));
}

static int decode_attempt(struct run *r, const json_t *o)
{
    struct attempt *a = state_add_attempt(r, (int)get_int(o, "number", 0));
    int64_t state = get_int(o, "state", -1);

    if (a->number < 1 || state < 0 || state >= ATTEMPT_STATE_COUNT)
        return ERR_CORRUPT;
    a->state = (enum attempt_state)state;
    a->try = (int)get_int(o, "try", 1);
    a->engine = get_text(o, "engine");
    a->id = get_text(o, "id");
    a->boot_id = get_text(o, "boot");
    a->identity = get_text(o, "identity");
    a->epoch = get_int(o, "epoch", 0);
    a->index = (uint64_t)get_int(o, "index", 0);
    a->committed_epoch = get_int(o, "committed_epoch", 0);
    a->handed_over = get_flag(o, "handed_over");
    a->accepted_ms = get_int(o, "accepted", 0);
    a->started_ms = get_int(o, "started", 0);
    a->restarts = (int)get_int(o, "restarts", 0);
    a->ended_ms = get_int(o, "ended", 0);
    a->exit_code = (int)get_int(o, "code", -1);
    a->cause = get_text(o, "cause");
    a->text = get_text(o, "text");
    a->stop_reason = run_stop_of(get_word(o, "stop"));
    a->stopping_ms = get_int(o, "stopping", 0);
    return a->engine && (a->stop_reason || !get_word(o, "stop")) ? 0 : ERR_CORRUPT;
}

static int decode_run_def(struct run *r, const json_t *o, struct error *error)
{
    const json_t *def = json_object_get(o, "def");

    if (get_flag(o, "frozen") && r->job->def)
        r->def = job_ref(r->job->def);
    else if (def)
        return job_from_json(&r->def, r->job->name, def, NULL, error);
    return 0;
}

static int decode_run(struct state *s, struct job_state *j, const json_t *o, struct error *error)
{
    const char *id = json_string_value(json_object_get(o, "id"));
    char name[RUN_ID_MAX];
    int64_t at_ms, state = get_int(o, "state", -1);
    const json_t *item;
    struct run *r;
    size_t i;
    bool has_ms;
    int rc;

    if (!id || run_id_parse(id, name, &at_ms, &has_ms) < 0 || strcmp(name, j->name) != 0 ||
        state < RUN_WAITING || state >= RUN_ENDED || state_run(s, id))
        return error_set(error, ERR_CORRUPT, "run %s is invalid", id ? id : "without id");
    r = state_add_run(s, j, id);
    r->seq = (uint64_t)get_int(o, "seq", 0);
    r->at_ms = at_ms;
    r->has_ms = has_ms;
    r->state = (enum run_state)state;
    r->fire_ms = get_int(o, "fire", INT64_MIN);
    r->due_ms = get_int(o, "due", INT64_MIN);
    r->previous_fire_ms = get_int(o, "previous", 0);
    r->cause = run_cause_of(get_word(o, "cause"));
    r->by = get_text(o, "by");
    r->params = json_incref(json_object_get(o, "params"));
    r->queued = get_flag(o, "queued");
    r->children = get_flag(o, "children");
    r->fired = get_flag(o, "fired");
    r->journal_lost = get_flag(o, "journal_lost");
    r->retry_ms = get_int(o, "retry", 0);
    r->started_ms = get_int(o, "started", 0);
    r->unresolved_ms = get_int(o, "unresolved", 0);
    r->text = get_text(o, "text");
    rc = decode_run_def(r, o, error);
    if (rc < 0)
        return rc;
    json_array_foreach(json_object_get(o, "attempts"), i,
                       item) if (decode_attempt(r, item) <
                                 0) return error_set(error, ERR_CORRUPT, "run %s: attempt %zu is invalid", id,
                                                     i + 1);
    return r->cause && run_def(r) ? 0 : error_set(error, ERR_CORRUPT, "run %s: no cause or definition", id);
}

static void decode_backfill(struct state *s, struct job_state *j, const json_t *o)
{
    struct backfill *b = state_add_backfill(j);

    b->times = json_incref(json_object_get(o, "times"));
    b->done = (size_t)get_int(o, "done", 0);
    b->max_parallel = (int)get_int(o, "max_parallel", 1);
    b->again = get_flag(o, "again");
    b->by = get_text(o, "by");
    state_count_backfill(s, b);
}

static int decode_job(struct state *s, const char *name, const json_t *o, struct error *error)
{
    const json_t *def = json_object_get(o, "def"), *item;
    struct job_state *j;
    size_t i;

    if (!job_name_valid(name))
        return error_set(error, ERR_CORRUPT, "job name %s", name);
    j = state_add_job(s, name);
    if (def) {
        int rc = job_from_json(&j->def, name, def, NULL, error);

        if (rc < 0)
            return rc;
        s->job_count++;
        state_after_add(s, j);
    }
    j->version = get_int(o, "version", 0);
    j->set = get_text(o, "set");
    j->seed = (uint64_t)get_int(o, "seed", 0);
    j->anchor_ms = get_int(o, "anchor", 0);
    j->cursor_ms = get_int(o, "cursor", INT64_MIN);
    json_array_foreach(json_object_get(o, "ahead"), i, item) state_add_ahead(j, json_integer_value(item));
    j->paused = get_flag(o, "paused");
    j->paused_ms = get_int(o, "paused_at", 0);
    j->pause_until_ms = get_int(o, "pause_until", 0);
    j->pause_reason = get_text(o, "pause_reason");
    j->pause_by = get_text(o, "pause_by");
    j->deleted_ms = get_int(o, "deleted", 0);
    j->last_manual_ms = get_int(o, "last_exact", 0);
    j->last_fire_ms = get_int(o, "last_fire", INT64_MIN);
    j->last_run = get_text(o, "last_run");
    j->last_verdict = run_verdict_of(get_word(o, "last_verdict"));
    j->last_ended_ms = get_int(o, "last_ended", 0);
    j->after_done = (uint32_t)get_int(o, "after_done", 0);
    if (recent_decode(&j->recent, json_object_get(o, "recent")) < 0)
        return error_set(error, ERR_CORRUPT, "what is kept of its last runs is invalid");
    state_count_job(s, j, def);
    json_array_foreach(json_object_get(o, "backfills"), i, item) decode_backfill(s, j, item);
    json_array_foreach(json_object_get(o, "runs"), i, item)
    {
        int rc = decode_run(s, j, item, error);

        if (rc < 0)
            return rc;
    }
    return 0;
}

static int too_new(int64_t level, struct error *error)
{
    return error_set(error, ERR_UNSUPPORTED,
                     "snapshot: it holds records of level %lld, and this build reads up to %d: a newer "
                     "cronsched is needed",
                     (long long)level, RECORD_LEVEL);
}

/* What is not in lists. */
static int decode_fields(struct state *s, const json_t *root, struct error *error)
{
    const char *hash = get_word(root, "hash");

    if (!hash || strlen(hash) >= sizeof(s->hash) || get_int(root, "index", -1) < 0)
        return error_set(error, ERR_CORRUPT, "snapshot without index or hash");
    memcpy(s->hash, hash, strlen(hash) + 1);
    s->index = (uint64_t)get_int(root, "index", 0);
    s->epoch = get_int(root, "epoch", 0);
    s->time_ms = get_int(root, "time", 0);
    s->level = get_int(root, "level", 1);
    if (s->level > RECORD_LEVEL)
        return too_new(s->level, error);
    s->defs_index = (uint64_t)get_int(root, "defs_index", 0);
    s->cluster = get_text(root, "cluster");
    s->replica = get_text(root, "replica");
    s->tzdata = get_text(root, "tzdata");
    s->paused = get_flag(root, "paused");
    s->paused_ms = get_int(root, "paused_at", 0);
    s->pause_until_ms = get_int(root, "pause_until", 0);
    s->pause_reason = get_text(root, "pause_reason");
    s->pause_by = get_text(root, "pause_by");
    s->lost_from_ms = get_int(root, "lost_from", 0);
    s->lost_until_ms = get_int(root, "lost_until", 0);
    return 0;
}

static int decode_key(struct state *s, json_t *item, struct error *error)
{
    const char *key, *digest, *run;
    json_int_t t;
    char *both, *space;

    if (json_unpack(item, "[s,s,s,I]", &key, &digest, &run, &t) < 0 || !strchr(key, ' '))
        return error_set(error, ERR_CORRUPT, "snapshot: a trigger key is invalid");
    both = alloc_text(key);
    space = strchr(both, ' ');
    assert(space);
    *space = '\0';
    state_add_key(s, both, space + 1, digest, run, t);
    free(both);
    return 0;
}

static int decode_notice(struct state *s, json_t *item, struct error *error)
{
    const char *id, *url;
    json_t *body, *headers = json_array_get(item, 3);

    if (json_unpack(item, "[s,s,o]", &id, &url, &body) < 0 || (headers && !json_is_object(headers)))
        return error_set(error, ERR_CORRUPT, "snapshot: a notification is invalid");
    headers = headers ? json_incref(headers) : json_object();
    if (!headers)
        alloc_failed();
    state_add_notice(s, id, url, headers, json_incref(body));
    return 0;
}

static int decode_staged(struct state *s, json_t *item)
{
    s->bytes[STATE_STAGED] += json_dumpb(item, NULL, 0, JSON_COMPACT | JSON_ENCODE_ANY) + 1;
    if (json_array_append(s->staged, item) < 0)
        return ERR_NOMEM;
    apply_add_part(s, item);
    return 0;
}

/* ---- the text, a member at a time ---- */

enum section { BEGIN, ROOT, JOBS, KEYS, NOTICES, STAGED, END };

struct state_decoder {
    struct object object;
    struct state *state;
    const char *text;
    size_t size, at;
    enum section in;
    bool first;     /* of its section, before which there is no comma */
    json_t *fields; /* members of the outermost object that are not sections */
};

static int broken(const struct state_decoder *d, const char *why, struct error *error)
{
    return error_set(error, ERR_CORRUPT, "snapshot: byte %zu: %s", d->at, why);
}

/* The next byte that is no blank; '\0' at the end. */
static char peek(struct state_decoder *d)
{
    while (d->at < d->size && strchr(" \t\r\n", d->text[d->at]))
        d->at++;
    return d->at < d->size ? d->text[d->at] : '\0';
}

static int take(struct state_decoder *d, char c, struct error *error)
{
    char text[] = "\"x\" is missing";

    text[1] = c;
    if (peek(d) != c)
        return broken(d, text, error);
    d->at++;
    return 0;
}

/* 1: another member follows; 0: that was the section's end. */
static int next_member(struct state_decoder *d, char end, struct error *error)
{
    int rc;

    if (peek(d) == end) {
        d->at++;
        return 0;
    }
    rc = d->first ? 0 : take(d, ',', error);
    d->first = false;
    return rc < 0 ? rc : 1;
}

static int take_value(struct state_decoder *d, json_t **ret, struct error *error)
{
    json_error_t where;

    peek(d);
    *ret = json_loadb(d->text + d->at, d->size - d->at,
                      JSON_REJECT_DUPLICATES | JSON_DISABLE_EOF_CHECK | JSON_DECODE_ANY, &where);
    if (!*ret)
        return error_set(error, ERR_CORRUPT, "snapshot: byte %zu: %s", d->at + (size_t)where.position,
                         where.text);
    assert(where.position > 0 && (size_t)where.position <= d->size - d->at);
    d->at += (size_t)where.position;
    return 0;
}

/* A member's name and its colon. The caller frees. */
static int take_name(struct state_decoder *d, json_t **ret, struct error *error)
{
    int rc = take_value(d, ret, error);

    if (rc == 0 && !json_is_string(*ret))
        rc = broken(d, "a name is not a text", error);
    else if (rc == 0)
        rc = take(d, ':', error);
    if (rc < 0) {
        json_decref(*ret);
        *ret = NULL;
    }
    return rc;
}

/* ---- sections ---- */

static int take_job(struct state_decoder *d, struct error *error)
{
    json_t *name = NULL, *item = NULL;
    struct job_state *known = NULL;
    int rc = take_name(d, &name, error);

    rc = rc < 0 ? rc : take_value(d, &item, error);
    if (rc == 0) {
        const char *text = json_string_value(name);

        HASH_FIND(by_name, d->state->jobs, text, strlen(text), known);
        rc = known ? error_set(error, ERR_CORRUPT, "it is there twice")
                   : decode_job(d->state, text, item, error);
        if (rc < 0)
            error_prefix(error, "snapshot: job %s: ", text);
    }
    json_decref(name);
    json_decref(item);
    return rc < 0 ? ERR_CORRUPT : 0;
}

static int take_row(struct state_decoder *d, struct error *error)
{
    json_t *item;
    int rc = take_value(d, &item, error);

    if (rc < 0)
        return rc;
    if (d->in == KEYS)
        rc = decode_key(d->state, item, error);
    else if (d->in == NOTICES)
        rc = decode_notice(d->state, item, error);
    else
        rc = decode_staged(d->state, item);
    json_decref(item);
    return rc;
}

static enum section section_of(const char *name, char begin)
{
    if (begin == '{')
        return strcmp(name, "jobs") == 0 ? JOBS : ROOT;
    if (begin != '[')
        return ROOT;
    if (strcmp(name, "keys") == 0)
        return KEYS;
    if (strcmp(name, "notices") == 0)
        return NOTICES;
    return strcmp(name, "staged") == 0 ? STAGED : ROOT;
}

static int take_field(struct state_decoder *d, struct error *error)
{
    json_t *name = NULL, *value = NULL;
    int rc = take_name(d, &name, error);

    if (rc < 0)
        return rc;
    if (json_object_get(d->fields, json_string_value(name))) {
        rc = broken(d, "a member is there twice", error);
    } else {
        d->in = section_of(json_string_value(name), peek(d));
        if (d->in == ROOT) {
            rc = take_value(d, &value, error);
        } else {
            value = json_null();
            d->first = true;
            d->at++;
        }
    }
    if (rc == 0)
        json_object_set(d->fields, json_string_value(name), value);
    json_decref(name);
    json_decref(value);
    return rc;
}

static int end(struct state_decoder *d, struct error *error)
{
    int rc = peek(d) == '\0' && d->at == d->size ? 0 : broken(d, "more follows than one state", error);

    d->in = END;
    rc = rc < 0 ? rc : decode_fields(d->state, d->fields, error);
    d->state->next_seq =
        (uint64_t)get_int(d->fields, "next_seq", 1); /* after the runs, which were counted again */
    if (d->state->bytes[STATE_STAGED])
        d->state->bytes[STATE_STAGED]++; /* brackets, and one comma less than items */
    return rc;
}

/* One member of where it stands. */
static int take_one(struct state_decoder *d, struct error *error)
{
    int rc;

    if (d->in == BEGIN) {
        d->in = ROOT;
        d->first = true;
        return take(d, '{', error);
    }
    rc = next_member(d, d->in == ROOT || d->in == JOBS ? '}' : ']', error);
    if (rc < 0)
        return rc;
    if (rc == 0 && d->in == ROOT)
        return end(d, error);
    if (rc == 0) {
        d->in = ROOT;
        d->first = false;
        return 0;
    }
    if (d->in == ROOT)
        return take_field(d, error);
    return d->in == JOBS ? take_job(d, error) : take_row(d, error);
}

/* What is not understood may be a newer build's. */
static int say_newer(const struct state_decoder *d, int rc, struct error *error)
{
    json_t *root = json_loadb(d->text, d->size, 0, NULL);
    int64_t level = get_int(root, "level", 1);

    json_decref(root);
    return level > RECORD_LEVEL ? too_new(level, error) : rc;
}

/* ---- steps ---- */

struct state_decoder *state_decoder_new(struct state *s, const char *text, size_t size)
{
    struct state_decoder *d = OBJECT_NEW(struct state_decoder);

    d->state = s;
    d->text = text;
    d->size = size;
    d->fields = json_object();
    return d;
}

void state_decoder_free(struct state_decoder *d)
{
    if (!d)
        return;
    json_decref(d->fields);
    OBJECT_FREE(struct state_decoder, d);
}

int state_decoder_step(struct state_decoder *d, size_t items, struct error *error)
{
    size_t until = d->size - d->at > STEP_BYTES ? d->at + STEP_BYTES : d->size;
    int rc = 0;

    for (; rc == 0 && d->in != END && items > 0 && (d->at < until || until == d->size); items--)
        rc = take_one(d, error);
    if (rc < 0)
        return say_newer(d, rc, error);
    return d->in != END;
}

int state_decode(struct state *s, const char *text, size_t size, struct error *error)
{
    struct state_decoder *d = state_decoder_new(s, text, size);
    int rc;

    do
        rc = state_decoder_step(d, SIZE_MAX, error);
    while (rc > 0);
    state_decoder_free(d);
    return rc;
}
