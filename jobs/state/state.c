/* The state's containers. What records do to it is in apply.c, its texts are in state_json.c. */
#include "jobs/state/state.h"

#include "jobs/base/alloc.h"
#include "jobs/state/state_priv.h"

#include <assert.h>

struct job_state *state_job(struct state *s, const char *name)
{
    struct job_state *j = NULL;

    HASH_FIND(by_name, s->jobs, name, strlen(name), j);
    return j && j->def ? j : NULL;
}

struct run *state_run(struct state *s, const char *id)
{
    struct run *r = NULL;

    HASH_FIND(by_id, s->runs, id, strlen(id), r);
    return r;
}

struct trigger_key *state_key(struct state *s, const char *job, const char *key)
{
    char both[RUN_ID_MAX + TEXT_FIELD_MAX + 2];
    struct trigger_key *k = NULL;

    snprintf(both, sizeof(both), "%s %s", job, key);
    HASH_FIND(by_key, s->keys, both, strlen(both), k);
    return k;
}

bool state_fired_ahead(const struct job_state *job, int64_t fire_ms)
{
    for (size_t i = 0; i < job->ahead_count; i++)
        if (job->ahead[i] == fire_ms)
            return true;
    return false;
}

bool state_paused(const struct state *s, const struct job_state *job)
{
    return s->paused || job->paused;
}

struct recent state_recent(const struct job_state *job)
{
    struct recent recent = job->recent;

    if (job->last_ended_ms >= job->anchor_ms) /* else it is of a job of that name which was deleted */
        recent_seed(&recent, job->last_verdict, job->last_ended_ms);
    return recent;
}

void state_init(struct state *s)
{
    *s = (struct state){.next_seq = 1};
    list_init(&s->keys_by_age);
    s->staged = json_array();
    list_init(&s->notices);
    list_init(&s->dirty);
    list_init(&s->ended);
}

static void attempt_release(struct attempt *a)
{
    free(a->engine);
    free(a->id);
    free(a->boot_id);
    free(a->identity);
    free(a->cause);
    free(a->text);
}

static void backfill_free(struct backfill *b)
{
    list_remove(&b->of_job);
    json_decref(b->times);
    free(b->by);
    free(b);
}

static void run_free(struct run *r)
{
    for (size_t i = 0; i < r->attempt_count; i++)
        attempt_release(&r->attempts[i]);
    free(r->attempts);
    free(r->id);
    free(r->by);
    json_decref(r->params);
    job_unref(r->def);
    free(r->text);
    free(r);
}

static void job_state_free(struct job_state *j)
{
    LIST_EACH_SAFE(link, &j->backfills)
    {
        backfill_free(LIST_ITEM(link, struct backfill, of_job));
    }
    job_unref(j->def);
    schedule_free(j->live.schedule);
    free(j->name);
    free(j->set);
    free(j->pause_reason);
    free(j->pause_by);
    free(j->last_run);
    free(j->ahead);
    free(j);
}

static void key_free(struct trigger_key *k)
{
    free(k->key);
    free(k->digest);
    free(k->run);
    free(k);
}

static void notice_free(struct notice *n)
{
    list_remove(&n->all);
    free(n->id);
    free(n->url);
    json_decref(n->headers);
    json_decref(n->body);
    free(n);
}

/* ---- what records make and drop (state_priv.h) ---- */

struct job_state *state_add_job(struct state *s, const char *name)
{
    struct job_state *j = NULL;

    assert(name);
    HASH_FIND(by_name, s->jobs, name, strlen(name), j);
    if (j)
        return j;
    j = alloc_zero(sizeof(*j));
    j->name = alloc_text(name);
    j->cursor_ms = j->last_fire_ms = INT64_MIN;
    recent_init(&j->recent);
    list_init(&j->runs);
    list_init(&j->backfills);
    list_init(&j->live.later);
    state_image_new_job(s, j);
    HASH_ADD_KEYPTR(by_name, s->jobs, j->name, strlen(name), j);
    state_count_job(s, j, NULL);
    return j;
}

void state_drop_job(struct state *s, struct job_state *j)
{
    assert(list_empty(&j->runs));
    state_image_drop_job(s, j);
    HASH_DELETE(by_name, s->jobs, j);
    if (s->job_gone)
        s->job_gone(s->arg, j);
    state_count(s, STATE_JOBS, &j->bytes, 0);
    job_state_free(j);
}

struct run *state_add_run(struct state *s, struct job_state *j, const char *id)
{
    struct run *r = alloc_zero(sizeof(*r));

    assert(id);
    r->id = alloc_text(id);
    r->job = j;
    r->seq = s->next_seq++;
    r->state = RUN_WAITING;
    list_append(&j->runs, &r->of_job);
    list_init(&r->dirty);
    HASH_ADD_KEYPTR(by_id, s->runs, r->id, strlen(id), r);
    s->run_count++;
    j->run_count++;
    state_count_run(s, r);
    return r;
}

void state_end_run(struct state *s, struct run *r)
{
    r->state = RUN_ENDED;
    HASH_DELETE(by_id, s->runs, r);
    s->run_count--;
    r->job->run_count--;
    state_count(s, STATE_RUNS, &r->bytes, 0);
    list_remove(&r->of_job);
    list_remove(&r->dirty);
    list_append(&s->ended, &r->dirty);
}

void state_free_ended(struct state *s)
{
    LIST_EACH_SAFE(link, &s->ended)
    {
        struct run *r = LIST_ITEM(link, struct run, dirty);

        list_remove(link);
        if (s->run_gone)
            s->run_gone(s->arg, r);
        run_free(r);
    }
}

struct attempt *state_add_attempt(struct run *r, int number)
{
    struct attempt *a = run_attempt(r);

    if (a && a->number == number) { /* another try takes the place of the one before */
        attempt_release(a);
    } else {
        r->attempts = alloc_resize(r->attempts, (r->attempt_count + 1) * sizeof(*a));
        a = &r->attempts[r->attempt_count++];
    }
    *a = (struct attempt){.number = number, .exit_code = -1};
    return a;
}

void state_add_ahead(struct job_state *j, int64_t fire_ms)
{
    size_t at = j->ahead_count;

    j->ahead = alloc_resize(j->ahead, (j->ahead_count + 1) * sizeof(*j->ahead));
    for (; at > 0 && j->ahead[at - 1] > fire_ms; at--)
        j->ahead[at] = j->ahead[at - 1];
    j->ahead[at] = fire_ms;
    j->ahead_count++;
}

void state_move_cursor(struct job_state *j, int64_t to_ms)
{
    size_t gone = 0;

    if (to_ms > j->cursor_ms)
        j->cursor_ms = to_ms;
    while (gone < j->ahead_count && j->ahead[gone] <= j->cursor_ms)
        gone++;
    for (size_t i = gone; i < j->ahead_count; i++)
        j->ahead[i - gone] = j->ahead[i];
    j->ahead_count -= gone;
}

struct backfill *state_add_backfill(struct job_state *j)
{
    struct backfill *b = alloc_zero(sizeof(*b));

    list_append(&j->backfills, &b->of_job);
    return b;
}

void state_drop_backfill(struct state *s, struct backfill *b)
{
    state_count(s, STATE_BACKFILLS, &b->bytes, 0);
    backfill_free(b);
}

void state_add_key(struct state *s, const char *job, const char *key, const char *digest, const char *run,
                   int64_t t)
{
    struct trigger_key *k = alloc_zero(sizeof(*k));
    size_t n = strlen(job) + strlen(key) + 2;

    k->key = alloc_zero(n);
    snprintf(k->key, n, "%s %s", job, key);
    k->digest = alloc_text(digest ? digest : "");
    k->run = alloc_text(run);
    k->time_ms = t;
    list_append(&s->keys_by_age, &k->by_age);
    HASH_ADD_KEYPTR(by_key, s->keys, k->key, strlen(k->key), k);
    state_count(s, STATE_KEYS, &k->bytes,
                STATE_KEY_BYTES + strlen(k->key) + strlen(k->digest) + strlen(k->run ? k->run : ""));
}

void state_expire_keys(struct state *s, int64_t before_ms)
{
    LIST_EACH_SAFE(link, &s->keys_by_age)
    {
        struct trigger_key *k = LIST_ITEM(link, struct trigger_key, by_age);

        if (k->time_ms >= before_ms)
            break;
        state_image_drop_key(s, k);
        list_remove(link);
        HASH_DELETE(by_key, s->keys, k);
        state_count(s, STATE_KEYS, &k->bytes, 0);
        key_free(k);
    }
}

void state_add_notice(struct state *s, const char *id, const char *url, json_t *headers, json_t *body)
{
    struct notice *n;

    if (s->notice_count == STATE_NOTICES_MAX) {
        s->notices_dropped++;
        state_drop_notice(s, LIST_ITEM(s->notices.next, struct notice, all));
    }
    n = alloc_zero(sizeof(*n));
    n->id = alloc_text(id);
    n->url = alloc_text(url);
    n->headers = headers;
    n->body = body;
    list_append(&s->notices, &n->all);
    s->notice_count++;
    state_count(s, STATE_NOTICES, &n->bytes,
                strlen(url) + strlen(id) + json_dumpb(headers, NULL, 0, JSON_COMPACT) +
                    json_dumpb(body, NULL, 0, JSON_COMPACT));
}

void state_drop_notice(struct state *s, struct notice *n)
{
    s->notice_count--;
    state_count(s, STATE_NOTICES, &n->bytes, 0);
    notice_free(n);
}

static void part_release(struct staged_part *p)
{
    job_unref(p->def);
    free(p->record);
}

void state_clear_parts(struct state *s)
{
    for (size_t i = 0; i < s->part_count; i++)
        part_release(&s->parts[i]);
    free(s->parts);
    s->parts = NULL;
    s->part_count = 0;
}

bool state_free_spent(struct state *s, size_t items)
{
    for (; s->spent_part_count > 0 && items > 0; items--)
        part_release(&s->spent_parts[--s->spent_part_count]);
    for (; json_array_size(s->spent) > 0 && items > 0; items--)
        json_array_remove(s->spent, json_array_size(s->spent) - 1);
    if (s->spent_part_count > 0 || json_array_size(s->spent) > 0)
        return true;
    free(s->spent_parts);
    s->spent_parts = NULL;
    json_decref(s->spent);
    s->spent = NULL;
    return false;
}

void state_spend_staged(struct state *s, json_t *staged)
{
    state_free_spent(s, SIZE_MAX); /* of the change set before; mostly there is nothing */
    s->spent = staged;
    s->spent_parts = s->parts;
    s->spent_part_count = s->part_count;
    s->parts = NULL;
    s->part_count = 0;
}

static void list_move(struct list *to, struct list *from)
{
    list_init(to);
    if (list_empty(from))
        return;
    *to = *from;
    to->next->prev = to->prev->next = to;
    list_init(from);
}

void state_move(struct state *to, struct state *from)
{
    for (int use = 0; use < STATE_IMAGES; use++)
        assert(!from->images[use]);
    *to = *from;
    list_move(&to->keys_by_age, &from->keys_by_age);
    list_move(&to->notices, &from->notices);
    list_move(&to->dirty, &from->dirty);
    list_move(&to->ended, &from->ended);
}

bool state_release_some(struct state *s, size_t items)
{
    struct job_state *j;
    struct run *r;

    for (; s->runs && items > 0; items--) {
        r = s->runs;
        HASH_DELETE(by_id, s->runs, r);
        list_remove(&r->of_job);
        run_free(r);
    }
    if (!s->runs)
        state_free_ended(s);
    for (; s->jobs && items > 0; items--) {
        j = s->jobs;
        HASH_DELETE(by_name, s->jobs, j);
        job_state_free(j);
    }
    return s->jobs != NULL;
}

void state_release(struct state *s)
{
    struct job_state *j, *next_job;
    struct run *r, *next_run;

    for (int use = 0; use < STATE_IMAGES; use++)
        assert(!s->images[use]);
    HASH_ITER(by_id, s->runs, r, next_run)
    {
        HASH_DELETE(by_id, s->runs, r);
        list_remove(&r->of_job);
        if (s->run_gone)
            s->run_gone(s->arg, r);
        run_free(r);
    }
    state_free_ended(s);
    HASH_ITER(by_name, s->jobs, j, next_job)
    {
        HASH_DELETE(by_name, s->jobs, j);
        if (s->job_gone)
            s->job_gone(s->arg, j);
        job_state_free(j);
    }
    state_after_release(s);
    state_expire_keys(s, INT64_MAX);
    LIST_EACH_SAFE(link, &s->notices)
    {
        notice_free(LIST_ITEM(link, struct notice, all));
    }
    history_write_free(s->write);
    json_decref(s->staged);
    state_clear_parts(s);
    state_free_spent(s, SIZE_MAX);
    free(s->cluster);
    free(s->replica);
    free(s->tzdata);
    free(s->pause_reason);
    free(s->pause_by);
}

bool state_in_lost_time(const struct state *s, struct run *run)
{
    const struct attempt *a = run_attempt(run);

    return run->journal_lost && !(a && a->state == ATTEMPT_ENDED && a->ended_ms > s->lost_until_ms);
}
