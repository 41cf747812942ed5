/* The manifest of a snapshot in the tree, the node snap/current: reading and writing it. */
#include "leader/replicated/replicated_priv.h"

#include <assert.h>
#include <limits.h>

#define MANIFEST_CHUNKS_MAX 20000

void manifest_release(struct manifest *m)
{
    json_decref(m->trail);
    json_decref(m->chunks);
    *m = (struct manifest){0};
}

static bool trail_good(const json_t *trail)
{
    size_t i;
    json_t *pair;

    json_array_foreach(trail, i, pair)
    {
        if (!json_is_integer(json_array_get(pair, 0)) || !json_is_integer(json_array_get(pair, 1)))
            return false;
    }
    return json_is_array(trail);
}

static bool chunks_good(const json_t *chunks)
{
    size_t i;
    json_t *name;

    json_array_foreach(chunks, i, name)
    {
        if (!json_is_string(name) || json_string_length(name) != CHUNK_NAME_SIZE - 1)
            return false;
    }
    return json_is_array(chunks) && i <= MANIFEST_CHUNKS_MAX;
}

int manifest_parse(struct manifest *ret, const char *text, size_t size, struct error *error)
{
    json_error_t why;
    json_t *o = json_loadb(text, size, JSON_REJECT_DUPLICATES, &why);
    json_int_t index = 0, first = 0, length = 0, bytes = 0, level = 1;
    json_t *trail = NULL, *chunks = NULL, *list = NULL;
    struct mark_epochs epochs;
    const char *hash = NULL;

    if (!o)
        return error_set(error, ERR_CORRUPT, "%s", why.text);
    if (json_unpack_ex(o, &why, 0, "{s:I,s:s,s?I,s:I,s:I,s:I,s?o,s:o,s:o}", "index", &index, "hash", &hash,
                       "level", &level, "size", &length, "bytes", &bytes, "first", &first, "epochs", &list,
                       "trail", &trail, "chunks", &chunks) < 0) {
        json_decref(o);
        return error_set(error, ERR_CORRUPT, "%s", why.text);
    }
    if (index < 1 || level < 1 || level > INT_MAX || length < 0 || bytes < 0 || first < 1 ||
        strlen(hash) != 32 || !trail_good(trail) || !chunks_good(chunks)) {
        json_decref(o);
        return error_set(error, ERR_CORRUPT, "a value is out of range");
    }
    if (mark_epochs_parse(&epochs, list, error) < 0) {
        json_decref(o);
        return ERR_CORRUPT;
    }
    if (epochs.count && epochs.items[epochs.count - 1].index > (uint64_t)index) {
        json_decref(o);
        return error_set(error, ERR_CORRUPT, "an epoch begins above the snapshot");
    }
    *ret = (struct manifest){.exists = true,
                             .index = (uint64_t)index,
                             .first = (uint64_t)first,
                             .level = (int)level,
                             .size = (size_t)length,
                             .bytes = (uint64_t)bytes,
                             .epochs = epochs,
                             .trail = json_incref(trail),
                             .chunks = json_incref(chunks)};
    snprintf(ret->hash, sizeof(ret->hash), "%s", hash);
    json_decref(o);
    assert(ret->index > 0 && ret->first > 0 && json_is_array(ret->trail) && json_is_array(ret->chunks));
    return 0;
}

char *manifest_text(const struct manifest *m)
{
    json_t *o = json_pack("{s:I,s:s,s:i,s:I,s:I,s:I,s:o,s:O,s:O}", "index", (json_int_t)m->index, "hash",
                          m->hash, "level", m->level, "size", (json_int_t)m->size, "bytes",
                          (json_int_t)m->bytes, "first", (json_int_t)m->first, "epochs",
                          mark_epochs_json(&m->epochs), "trail", m->trail, "chunks", m->chunks);
    char *text = json_dumps(o, JSON_COMPACT);

    assert(m->exists && text);
    json_decref(o);
    return text;
}
