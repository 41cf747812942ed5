#include "jobs/state/record.h"
#include "jobs/base/alloc.h"
#include "jobs/base/utf8.h"

#include "jobs/base/text.h"
#include "jobs/definition/job.h"

#include <assert.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#define ARENA_CHUNK_BYTES 4096
/* what a record's frame costs encoded: kind, braces, keys; text and JSON are counted as they come */
#define RECORD_BASE_BYTES 64
#define INT_FIELD_BYTES   32

static_assert(RECORD_FIELD_COUNT <= 64, "struct record.has holds 64 fields");

enum field_type { FIELD_S, FIELD_I, FIELD_J };

static const struct field {
    const char *key;
    enum field_type type;
    size_t offset;
} fields[RECORD_FIELD_COUNT] = {
#define S                  FIELD_S
#define I                  FIELD_I
#define J                  FIELD_J
#define X(name, key, type) [RECORD_FIELD_##name] = {key, type, offsetof(struct record, name)},
    RECORD_FIELDS(X)
#undef X
#undef S
#undef I
#undef J
};

static const struct kind {
    const char *name;
    uint64_t required, optional;
} kinds[RECORD_KIND_COUNT] = {
#define F(name)                           (UINT64_C(1) << RECORD_FIELD_##name) |
#define X(kind, name, required, optional) [RECORD_##kind] = {name, required 0, optional 0},
    RECORD_KINDS(X)
#undef X
#undef F
};

/* ---- arena: strings live as long as their batch ---- */

struct arena_chunk {
    struct arena_chunk *next;
    size_t used, size;
    char bytes[];
};

struct batch_arena {
    struct arena_chunk *chunks;
};

static char *arena_alloc(struct batch_arena *arena, size_t n)
{
    struct arena_chunk *c = arena->chunks;

    if (!c || c->size - c->used < n) {
        size_t size = n > ARENA_CHUNK_BYTES ? n : ARENA_CHUNK_BYTES;

        c = alloc_bytes(sizeof(*c) + size);
        c->next = arena->chunks;
        c->used = 0;
        c->size = size;
        arena->chunks = c;
    }
    c->used += n;
    return c->bytes + c->used - n;
}

/* ---- batch ---- */

struct batch *batch_new(int64_t epoch, int64_t time_ms)
{
    struct batch *b = alloc_zero(sizeof(*b));

    b->arena = alloc_zero(sizeof(*b->arena));
    b->epoch = epoch;
    b->time_ms = time_ms;
    b->bytes = 128;
    return b;
}

void batch_free(struct batch *b)
{
    if (!b)
        return;
    for (size_t i = 0; i < b->count; i++)
        for (int f = 0; f < RECORD_FIELD_COUNT; f++)
            if (fields[f].type == FIELD_J)
                json_decref(*(json_t **)(void *)((char *)&b->records[i] + fields[f].offset));
    free(b->records);
    while (b->arena->chunks) {
        struct arena_chunk *next = b->arena->chunks->next;

        free(b->arena->chunks);
        b->arena->chunks = next;
    }
    free(b->arena);
    free(b);
}

bool batch_fits(const struct batch *b, size_t bytes)
{
    return b->count < BATCH_RECORDS_MAX && b->bytes + bytes <= BATCH_BYTES_MAX;
}

struct record *batch_add(struct batch *b, enum record_kind kind)
{
    struct record *r;

    if (b->count == BATCH_RECORDS_MAX)
        return NULL;
    if ((b->count & (b->count - 1)) == 0) /* grows at powers of two */
        b->records = alloc_resize(b->records, (b->count ? b->count * 2 : 1) * sizeof(*r));
    r = &b->records[b->count++];
    memset(r, 0, sizeof(*r));
    r->kind = kind;
    b->bytes += RECORD_BASE_BYTES;
    return r;
}

/* Where the field lives; asserts that this kind has it and that it is of this type. */
static void *field_of(struct record *r, enum record_field f, enum field_type type)
{
    assert(f < RECORD_FIELD_COUNT && fields[f].type == type);
    assert((kinds[r->kind].required | kinds[r->kind].optional) >> f & 1);
    r->has |= UINT64_C(1) << f;
    return (char *)r + fields[f].offset;
}

static void set_text(struct batch *b, struct record *r, enum record_field f, const char *text, size_t n)
{
    char *copy;

    if (n > TEXT_FIELD_MAX) { /* cut between characters, not inside one */
        n = TEXT_FIELD_MAX;
        while (n > 0 && ((unsigned char)text[n] & 0xc0) == 0x80)
            n--;
    }
    if (n > 0 && utf8_check(text, n) < n)
        n = utf8_check(text, n); /* an engine's text may be anything; the journal is UTF-8 */
    copy = arena_alloc(b->arena, n + 1);
    memcpy(copy, text, n);
    copy[n] = '\0';
    *(const char **)field_of(r, f, FIELD_S) = copy;
    b->bytes += n + 16;
}

void record_set_text(struct batch *b, struct record *r, enum record_field f, const char *text)
{
    if (text)
        set_text(b, r, f, text, strlen(text));
}

void record_set_int(struct batch *b, struct record *r, enum record_field f, int64_t value)
{
    *(int64_t *)field_of(r, f, FIELD_I) = value;
    b->bytes += INT_FIELD_BYTES;
}

void record_set_json(struct batch *b, struct record *r, enum record_field f, json_t *value)
{
    if (!value)
        return;
    *(json_t **)field_of(r, f, FIELD_J) = json_incref(value);
    b->bytes += json_dumpb(value, NULL, 0, JSON_COMPACT) + 16;
}

/* ---- encoding ---- */

static void put_string(struct text *t, const char *s)
{
    text_add_char(t, '"');
    for (const char *run = s;; s++) {
        unsigned char c = (unsigned char)*s;

        if (c >= 0x20 && c != '"' && c != '\\')
            continue;
        text_add_bytes(t, run, (size_t)(s - run));
        if (c == '\0')
            break;
        if (c == '"' || c == '\\')
            text_addf(t, "\\%c", c);
        else
            text_addf(t, "\\u%04x", c);
        run = s + 1;
    }
    text_add_char(t, '"');
}

static int put_json(const char *buffer, size_t size, void *arg)
{
    return text_add_bytes(arg, buffer, size);
}

static void put_record(struct text *t, const struct record *r)
{
    assert((r->has & kinds[r->kind].required) == kinds[r->kind].required);
    text_add(t, "{\"k\":\"");
    text_add(t, kinds[r->kind].name);
    text_add_char(t, '"');
    for (int f = 0; f < RECORD_FIELD_COUNT; f++) {
        const void *value = (const char *)r + fields[f].offset;

        if (!(r->has >> f & 1))
            continue;
        text_add(t, ",\"");
        text_add(t, fields[f].key);
        text_add(t, "\":");
        if (fields[f].type == FIELD_S)
            put_string(t, *(const char *const *)value);
        else if (fields[f].type == FIELD_I)
            text_addf(t, "%lld", (long long)*(const int64_t *)value);
        else
            json_dump_callback(*(json_t *const *)value, put_json, t, JSON_COMPACT | JSON_ENCODE_ANY);
    }
    text_add_char(t, '}');
}

char *batch_encode(const struct batch *b, size_t *ret_size)
{
    struct text t;
    char *s;

    text_init(&t, SIZE_MAX / 2);
    text_addf(&t, "{\"n\":%llu,\"e\":%lld,\"t\":%lld,\"p\":\"%s\",\"r\":[", (unsigned long long)b->index,
              (long long)b->epoch, (long long)b->time_ms, b->prev);
    for (size_t i = 0; i < b->count; i++) {
        if (i)
            text_add_char(&t, ',');
        put_record(&t, &b->records[i]);
    }
    text_add(&t, "]}");
    *ret_size = t.len;
    s = text_take(&t);
    if (!s)
        alloc_failed();
    return s;
}

char *record_encode(const struct record *r)
{
    struct text t;
    char *s;

    text_init(&t, SIZE_MAX / 2);
    put_record(&t, r);
    s = text_take(&t);
    if (!s)
        alloc_failed();
    return s;
}

const char *record_kind_name(enum record_kind kind)
{
    return kinds[kind].name;
}

enum record_kind record_kind_of(const char *name)
{
    enum record_kind kind = 0;

    while (name && kind < RECORD_KIND_COUNT && strcmp(kinds[kind].name, name) != 0)
        kind++;
    return name ? kind : RECORD_KIND_COUNT;
}

int record_kind_level(enum record_kind kind)
{
    switch (kind) {
    case RECORD_ACCEPTED:
        return 4;
    case RECORD_STARTED_AGAIN:
    case RECORD_RECOVERED:
        return 3;
    case RECORD_HANDED_OVER:
    case RECORD_RISE:
        return 2;
    default:
        return 1;
    }
}

static int field_level(int field)
{
    return field == RECORD_FIELD_identity ? RECORD_IDENTITY_LEVEL : 1;
}

/* ---- decoding ---- */

static int decode_kind(const json_t *object, enum record_kind *ret, struct error *error)
{
    const char *name = json_string_value(json_object_get(object, "k"));

    *ret = record_kind_of(name);
    if (*ret < RECORD_KIND_COUNT && record_kind_level(*ret) <= RECORD_LEVEL)
        return 0;
    return error_set(
        error, ERR_CORRUPT,
        "unknown kind of record: %s (this build reads up to level %d: a newer cronsched is needed)",
        name ? name : "none", RECORD_LEVEL);
}

static int decode_field(struct batch *b, struct record *r, const char *key, json_t *value,
                        struct error *error)
{
    uint64_t allowed = kinds[r->kind].required | kinds[r->kind].optional;

    for (int f = 0; f < RECORD_FIELD_COUNT; f++) {
        if (strcmp(fields[f].key, key) != 0)
            continue;
        if (!(allowed >> f & 1) || field_level(f) > RECORD_LEVEL)
            break;
        if (fields[f].type == FIELD_S && json_is_string(value))
            set_text(b, r, f, json_string_value(value), json_string_length(value));
        else if (fields[f].type == FIELD_I && json_is_integer(value))
            record_set_int(b, r, f, json_integer_value(value));
        else if (fields[f].type == FIELD_J)
            record_set_json(b, r, f, value);
        else
            return error_set(error, ERR_CORRUPT, "%s: %s has the wrong type", kinds[r->kind].name, key);
        return 0;
    }
    return error_set(error, ERR_CORRUPT, "%s: unknown field %s", kinds[r->kind].name, key);
}

/* A definition with a key or a value that this build does not know is refused here, where a replica can still stand
 * aside: what is handed on has to be applied. */
static int check_def(const struct record *r, struct error *error)
{
    struct error why = {0};
    struct job *def;

    if (job_from_json(&def, r->job, r->def, NULL, &why) < 0)
        return error_set(error, ERR_CORRUPT,
                         "this build cannot read job %.80s: %.160s: a newer cronsched is needed", r->job,
                         why.text);
    job_unref(def);
    return 0;
}

static int decode_record(struct batch *b, json_t *object, struct error *error)
{
    enum record_kind kind = RECORD_KIND_COUNT;
    struct record *r;
    const char *key;
    json_t *value;
    int rc;

    if (!json_is_object(object))
        return error_set(error, ERR_CORRUPT, "a record is not an object");
    rc = decode_kind(object, &kind, error);
    if (rc < 0)
        return rc;
    r = batch_add(b, kind);
    if (!r)
        return error_set(error, ERR_CORRUPT, "more than %d records", BATCH_RECORDS_MAX);
    json_object_foreach(object, key, value)
    {
        if (strcmp(key, "k") == 0)
            continue;
        rc = decode_field(b, r, key, value, error);
        if (rc < 0)
            return rc;
    }
    if ((r->has & kinds[kind].required) != kinds[kind].required)
        return error_set(error, ERR_CORRUPT, "%s: a required field is missing", kinds[kind].name);
    if (RECORD_HAS(r, level) && (r->level < 1 || r->level > RECORD_LEVEL))
        return error_set(
            error, ERR_CORRUPT,
            "%s: records of level %lld, and this build reads up to %d: a newer cronsched is needed",
            kinds[kind].name, (long long)r->level, RECORD_LEVEL);
    return RECORD_HAS(r, def) ? check_def(r, error) : 0;
}

static int decode_frame(struct batch *b, const json_t *root, struct error *error)
{
    const json_t *n = json_object_get(root, "n"), *e = json_object_get(root, "e"),
                 *t = json_object_get(root, "t");
    const char *prev = json_string_value(json_object_get(root, "p"));
    json_t *records = json_object_get(root, "r"), *record;
    size_t i;

    if (!json_is_integer(n) || json_integer_value(n) < 1 || !json_is_integer(e) || !json_is_integer(t) ||
        !prev || strlen(prev) >= sizeof(b->prev) || !json_is_array(records))
        return error_set(error, ERR_CORRUPT, "the frame is not {n, e, t, p, r}");
    b->index = (uint64_t)json_integer_value(n);
    b->epoch = json_integer_value(e);
    b->time_ms = json_integer_value(t);
    memcpy(b->prev, prev, strlen(prev) + 1);
    json_array_foreach(records, i, record)
    {
        int rc = decode_record(b, record, error);

        if (rc < 0)
            return rc;
    }
    return 0;
}

int batch_decode(struct batch **ret, const char *text, size_t size, struct error *error)
{
    json_error_t where;
    json_t *root = json_loadb(text, size, JSON_REJECT_DUPLICATES, &where);
    struct batch *b;
    int rc;

    if (!root)
        return error_set(error, ERR_CORRUPT, "byte %d: %s", where.position, where.text);
    b = batch_new(0, 0);
    rc = decode_frame(b, root, error);
    json_decref(root);
    if (rc < 0) {
        batch_free(b);
        return rc;
    }
    *ret = b;
    return 0;
}

/* ---- hashes ---- */

static void digest_text(const unsigned char digest[EVP_MAX_MD_SIZE], char ret[33])
{
    for (int i = 0; i < 16; i++) {
        ret[2 * i] = "0123456789abcdef"[digest[i] >> 4];
        ret[2 * i + 1] = "0123456789abcdef"[digest[i] & 15];
    }
    ret[32] = '\0';
}

void batch_hash(const char *text, size_t size, char ret[33])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int n = 0;

    if (!EVP_Digest(text, size, digest, &n, EVP_sha256(), NULL) || n < 16)
        abort();
    digest_text(digest, ret);
}

struct batch_digest {
    EVP_MD_CTX *context;
};

struct batch_digest *batch_digest_new(void)
{
    struct batch_digest *d = alloc_zero(sizeof(*d));

    d->context = EVP_MD_CTX_new();
    if (!d->context || !EVP_DigestInit_ex(d->context, EVP_sha256(), NULL))
        abort();
    return d;
}

void batch_digest_add(struct batch_digest *d, const char *bytes, size_t size)
{
    if (!EVP_DigestUpdate(d->context, bytes, size))
        abort();
}

void batch_digest_end(struct batch_digest *d, char ret[33])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int n = 0;

    if (!d)
        return;
    if (ret) {
        if (!EVP_DigestFinal_ex(d->context, digest, &n) || n < 16)
            abort();
        digest_text(digest, ret);
    }
    EVP_MD_CTX_free(d->context);
    free(d);
}
