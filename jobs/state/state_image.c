/* The canonical text of the state, made in pieces while the state goes on.
 *
 * Happy path: begin remembers what is small (fields, notifications, staged parts: references), and from where to where
 * the jobs and keys go. Each step encodes some jobs, in the order of their table, then some keys. A record that is about
 * to change a job which was not encoded yet has it encoded first (state_image_keep), and so has a key that
 * expires; what is made later is no part of it. When all are encoded the image needs the state no more: the jobs are put
 * into the order of their names, and the text comes out in pieces, into one buffer or one hash.
 *
 * The jobs' texts lie in chunks; each chunk is sorted when it is full, and all are merged as they are read.
 */
#include "jobs/state/state_priv.h"

#include "jobs/base/alloc.h"
#include "jobs/base/mutant.h"
#include "jobs/base/text.h"

#include <assert.h>

#define CHUNK_JOBS     1024 /* sorted together: well below a millisecond */
#define CHUNK_BYTES    (1024 * 1024)
#define STEP_BYTES     (64 * 1024)  /* encoded in one step, or one item */
#define STEP_OUT_BYTES (256 * 1024) /* copied or hashed in one step */

struct piece { /* "NAME":{...} */
    size_t at, size;
};

struct chunk {
    struct text text;
    struct piece pieces[CHUNK_JOBS];
    size_t count, read;
};

enum section {
    HEAD,
    JOBS,
    BEFORE_KEYS,
    KEYS,
    BEFORE_NOTICES,
    NOTICES,
    BEFORE_STAGED,
    STAGED,
    TAIL,
    SECTIONS
};

struct state_image {
    struct state *state; /* NULL: all of it is encoded */
    enum state_image_use use;
    uint64_t index;
    int level;

    struct job_state *next_job; /* NULL: no more */
    const struct list *next_key;
    size_t keys_left;

    struct chunk **chunks; /* in the end a heap: the least first piece on top */
    size_t chunk_count, chunk_live;
    struct text texts[SECTIONS]; /* those that are known from the start, and the keys */
    json_t *notices, *staged;    /* rows of [ID, URL, BODY, HEADERS]; parts of a change set */

    enum section section; /* which comes out */
    size_t at;            /* in it */
    bool done;
    struct text out;             /* of a snapshot */
    struct batch_digest *digest; /* of a hash */
};

/* ---- texts ---- */

static int add_bytes(const char *bytes, size_t size, void *text)
{
    return text_add_bytes(text, bytes, size);
}

static void add_json(struct text *text, const json_t *json)
{
    if (json_dump_callback(json, add_bytes, text, JSON_COMPACT | JSON_SORT_KEYS) < 0)
        alloc_failed();
}

static void check_text(const struct text *text)
{
    if (text->failed)
        alloc_failed();
}

/* The members whose keys are between the two: "a":1,"b":2 with a comma before or behind them, if there are any. */
static void add_members(struct text *text, json_t *fields, const char *after, const char *before,
                        bool comma_first)
{
    json_t *some = json_object(), *value;
    const char *key;
    char *dump;

    json_object_foreach(fields, key, value)
    {
        if (strcmp(key, after) > 0 && (!before || strcmp(key, before) < 0))
            json_object_set(some, key, value);
    }
    dump = json_dumps(some, JSON_COMPACT | JSON_SORT_KEYS);
    if (!dump)
        alloc_failed();
    if (json_object_size(some)) {
        text_add(text, comma_first ? "," : "");
        text_add_bytes(text, dump + 1, strlen(dump) - 2);
        text_add(text, comma_first ? "" : ",");
    }
    free(dump);
    json_decref(some);
}

/* All but the jobs, keys, notifications and staged parts, which stand between them in the order of the alphabet. */
static void encode_fields(struct state_image *i, const struct state *s)
{
    json_t *fields = state_fields_json(s);
    bool staged = json_array_size(s->staged) > 0;

    text_add(&i->texts[HEAD], "{");
    add_members(&i->texts[HEAD], fields, "", "jobs", false);
    text_add(&i->texts[HEAD], "\"jobs\":{");
    text_add(&i->texts[BEFORE_KEYS], "},\"keys\":[");
    text_add(&i->texts[BEFORE_NOTICES], "],");
    add_members(&i->texts[BEFORE_NOTICES], fields, "jobs", "notices", false);
    text_add(&i->texts[BEFORE_NOTICES], "\"notices\":[");
    text_add(&i->texts[BEFORE_STAGED], "]");
    add_members(&i->texts[BEFORE_STAGED], fields, "notices", "staged", true);
    text_add(&i->texts[BEFORE_STAGED], staged ? ",\"staged\":[" : "");
    text_add(&i->texts[TAIL], staged ? "]" : "");
    add_members(&i->texts[TAIL], fields, "staged", NULL, true);
    text_add(&i->texts[TAIL], "}");
    json_decref(fields);
}

/* ---- from the state ---- */

static int by_text(const void *a, const void *b, void *arg)
{
    const struct chunk *c = arg;
    const struct piece *x = a, *y = b;

    /* a name ends with a quote, which is less than all that is in names */
    return strcmp(c->text.data + x->at, c->text.data + y->at);
}

static void chunk_sort(struct chunk *c)
{
    qsort_r(c->pieces, c->count, sizeof(c->pieces[0]), by_text, c);
}

static struct chunk *chunk_last(struct state_image *i)
{
    struct chunk *last = i->chunk_count ? i->chunks[i->chunk_count - 1] : NULL;

    if (last && last->count < CHUNK_JOBS && last->text.len < CHUNK_BYTES)
        return last;
    if (last)
        chunk_sort(last);
    if ((i->chunk_count & (i->chunk_count - 1)) == 0) /* it grows at powers of two */
        i->chunks = alloc_resize(i->chunks, (i->chunk_count ? i->chunk_count * 2 : 1) * sizeof(last));
    last = alloc_zero(sizeof(*last));
    text_init(&last->text, SIZE_MAX / 2);
    i->chunks[i->chunk_count++] = last;
    return last;
}

/* How many bytes it has. */
static size_t encode_job(struct state_image *i, const struct job_state *j)
{
    struct chunk *c = chunk_last(i);
    struct piece *p = &c->pieces[c->count];
    json_t *json = state_job_json(j);

    p->at = c->text.len;
    text_add(&c->text, "\"");
    text_add(&c->text, j->name); /* needs no escapes */
    text_add(&c->text, "\":");
    add_json(&c->text, json);
    p->size = c->text.len - p->at;
    text_add_bytes(&c->text, "", 1); /* texts are compared up to here */
    check_text(&c->text);
    c->count++;
    json_decref(json);
    return p->size;
}

static void encode_key(struct state_image *i)
{
    const struct trigger_key *k = LIST_ITEM(i->next_key, struct trigger_key, by_age);
    struct text *text = &i->texts[KEYS];
    json_t *json;

    assert(i->keys_left > 0);
    i->next_key = i->next_key->next;
    i->keys_left--;
    if (MUTANT(FORGET_KEYS))
        return;
    json = json_pack("[s,s,s,I]", k->key, k->digest, k->run, (json_int_t)k->time_ms);
    if (!json)
        alloc_failed();
    text_add(text, text->len ? "," : "");
    add_json(text, json);
    check_text(text);
    json_decref(json);
}

void state_image_keep(struct state *s, struct job_state *j)
{
    for (int use = 0; use < STATE_IMAGES; use++) {
        struct state_image *i = s->images[use];

        if (!i || j->imaged[use] == s->image_serial[use])
            continue;
        j->imaged[use] = s->image_serial[use];
        if (!MUTANT(LATE_IMAGE))
            encode_job(i, j);
    }
}

void state_image_new_job(struct state *s, struct job_state *j)
{
    memcpy(j->imaged, s->image_serial, sizeof(j->imaged));
}

void state_image_drop_job(struct state *s, struct job_state *j)
{
    state_image_keep(s, j);
    for (int use = 0; use < STATE_IMAGES; use++)
        if (s->images[use] && s->images[use]->next_job == j)
            s->images[use]->next_job = j->by_name.next;
}

void state_image_drop_key(struct state *s, const struct trigger_key *k)
{
    for (int use = 0; use < STATE_IMAGES; use++) {
        struct state_image *i = s->images[use];

        if (i && i->keys_left > 0 && i->next_key == &k->by_age)
            encode_key(i); /* the oldest goes first, here as there */
    }
}

/* True: the state is not needed any more. */
static bool collect(struct state_image *i, size_t items)
{
    struct state *s = i->state;
    size_t bytes = 0;

    for (; i->next_job && items > 0 && bytes < STEP_BYTES; items--) {
        struct job_state *j = i->next_job;

        i->next_job = j->by_name.next;
        if (i->use < STATE_IMAGES && j->imaged[i->use] == s->image_serial[i->use])
            continue;
        if (i->use < STATE_IMAGES)
            j->imaged[i->use] = s->image_serial[i->use];
        bytes += encode_job(i, j);
    }
    for (; !i->next_job && i->keys_left > 0 && items > 0; items--)
        encode_key(i);
    return !i->next_job && i->keys_left == 0;
}

/* ---- in the order of names ---- */

static const char *first_of(const struct chunk *c)
{
    return c->text.data + c->pieces[c->read].at;
}

static void sift_down(struct state_image *i, size_t at)
{
    struct chunk *moved = i->chunks[at];

    for (size_t child = 2 * at + 1; child < i->chunk_live; child = 2 * at + 1) {
        if (child + 1 < i->chunk_live &&
            strcmp(first_of(i->chunks[child + 1]), first_of(i->chunks[child])) < 0)
            child++;
        if (strcmp(first_of(moved), first_of(i->chunks[child])) <= 0)
            break;
        i->chunks[at] = i->chunks[child];
        at = child;
    }
    i->chunks[at] = moved;
}

static void detach(struct state_image *i)
{
    if (i->use < STATE_IMAGES && i->state)
        i->state->images[i->use] = NULL;
    i->state = NULL;
}

static void begin_merge(struct state_image *i)
{
    size_t size = i->texts[KEYS].len;

    detach(i);
    if (i->chunk_count)
        chunk_sort(i->chunks[i->chunk_count - 1]);
    i->chunk_live = i->chunk_count;
    for (size_t at = i->chunk_live / 2; at-- > 0;)
        sift_down(i, at);
    for (size_t at = 0; at < i->chunk_count; at++)
        size += i->chunks[at]->text.len;
    if (!i->digest)
        text_reserve(&i->out, size);
}

static void put(struct state_image *i, const char *bytes, size_t size)
{
    if (i->digest)
        batch_digest_add(i->digest, bytes, size);
    else
        text_add_bytes(&i->out, bytes, size);
}

/* The next job; its size. The chunk that was read to its end goes. */
static size_t put_job(struct state_image *i)
{
    struct chunk *c = i->chunks[0];
    const struct piece *p = &c->pieces[c->read];
    size_t size = p->size;

    put(i, ",", i->at++ ? 1 : 0);
    put(i, c->text.data + p->at, size);
    if (++c->read == c->count) {
        i->chunks[0] = i->chunks[--i->chunk_live];
        i->chunks[i->chunk_live] = NULL;
        text_release(&c->text);
        free(c);
    }
    if (i->chunk_live)
        sift_down(i, 0);
    return size;
}

static size_t put_row(struct state_image *i, json_t *array)
{
    struct text row;
    size_t size;

    text_init(&row, SIZE_MAX / 2);
    add_json(&row, json_array_get(array, i->at));
    check_text(&row);
    put(i, ",", i->at++ ? 1 : 0);
    put(i, row.data, row.len);
    size = row.len;
    text_release(&row);
    return size;
}

static size_t put_text(struct state_image *i, const struct text *text)
{
    size_t size = text->len - i->at < STEP_OUT_BYTES ? text->len - i->at : STEP_OUT_BYTES;

    put(i, text_str(text) + i->at, size);
    i->at += size;
    return size;
}

static bool section_is_out(const struct state_image *i)
{
    switch (i->section) {
    case JOBS:
        return i->chunk_live == 0;
    case NOTICES:
        return i->at == json_array_size(i->notices);
    case STAGED:
        return i->at == json_array_size(i->staged);
    default:
        return i->at == i->texts[i->section].len;
    }
}

static void come_out(struct state_image *i, size_t items)
{
    for (size_t bytes = 0; i->section < SECTIONS && items > 0 && bytes < STEP_OUT_BYTES; items--) {
        if (section_is_out(i)) {
            i->section++;
            i->at = 0;
        } else if (i->section == JOBS) {
            bytes += put_job(i);
        } else if (i->section == NOTICES) {
            bytes += put_row(i, i->notices);
        } else if (i->section == STAGED) {
            bytes += put_row(i, i->staged);
        } else {
            bytes += put_text(i, &i->texts[i->section]);
        }
    }
    check_text(&i->out);
    i->done = i->section == SECTIONS;
}

/* ---- begin, step, end ---- */

static json_t *encode_notice(const struct notice *n)
{
    json_t *row = json_pack("[s,s,O]", n->id, n->url, n->body);

    if (json_object_size(n->headers)) /* left out otherwise, as older builds wrote it */
        json_array_append(row, n->headers);
    return row;
}

static struct state_image *image_new(struct state *s, enum state_image_use use)
{
    struct state_image *i = alloc_zero(sizeof(*i));

    i->state = s;
    i->use = use;
    i->index = s->index;
    i->level = (int)s->level;
    i->next_job = s->jobs;
    i->next_key = s->keys_by_age.next;
    i->keys_left = HASH_CNT(by_key, s->keys);
    for (int section = 0; section < SECTIONS; section++)
        text_init(&i->texts[section], SIZE_MAX / 2);
    text_init(&i->out, SIZE_MAX / 2);
    encode_fields(i, s);
    i->notices = json_array();
    LIST_EACH(link, &s->notices)
    {
        json_array_append_new(i->notices, encode_notice(LIST_ITEM(link, struct notice, all)));
    }
    i->staged = json_copy(s->staged); /* its parts do not change */
    return i;
}

struct state_image *state_image_begin(struct state *s, enum state_image_use use)
{
    struct state_image *i = image_new(s, use);

    assert(use < STATE_IMAGES && !s->images[use]);
    s->images[use] = i;
    s->image_serial[use]++;
    if (use == STATE_IMAGE_HASH)
        i->digest = batch_digest_new();
    return i;
}

bool state_image_step(struct state_image *i, size_t items)
{
    assert(items > 0);
    if (i->state && collect(i, items))
        begin_merge(i);
    else if (!i->state && !i->done)
        come_out(i, 4 * items); /* each costs a fraction of what encoding it cost */
    return i->done;
}

uint64_t state_image_index(const struct state_image *i)
{
    return i->index;
}

int state_image_level(const struct state_image *i)
{
    return i->level;
}

char *state_image_text(struct state_image *i, size_t *ret_size)
{
    assert(i->done && !i->digest);
    *ret_size = i->out.len;
    return text_take(&i->out);
}

void state_image_hash(struct state_image *i, char ret[33])
{
    assert(i->done && i->digest);
    batch_digest_end(i->digest, ret);
    i->digest = NULL;
}

void state_image_free(struct state_image *i)
{
    if (!i)
        return;
    detach(i);
    for (size_t c = 0; c < i->chunk_count; c++) {
        if (i->chunks[c])
            text_release(&i->chunks[c]->text);
        free(i->chunks[c]);
    }
    free(i->chunks);
    for (int section = 0; section < SECTIONS; section++)
        text_release(&i->texts[section]);
    text_release(&i->out);
    json_decref(i->notices);
    json_decref(i->staged);
    batch_digest_end(i->digest, NULL);
    free(i);
}

char *state_encode(const struct state *s, size_t *ret_size)
{
    struct state_image *i =
        image_new((struct state *)(uintptr_t)s, STATE_IMAGES); /* at once: it marks nothing */
    char *text;

    while (!state_image_step(i, SIZE_MAX / 4))
        ;
    text = state_image_text(i, ret_size);
    state_image_free(i);
    return text;
}
