#include "cronsched/api/api_priv.h"
#include "jobs/base/near.h"
#include "jobs/time/instant.h"

#include <inttypes.h>
#include <string.h>

#define KEYS_MAX 16
#define TEXT_MAX 1000

const struct body_key api_body_pause[] = {
    {"until", BODY_TIME},
    {"reason", BODY_TEXT, .most = TEXT_MAX},
};
const size_t api_body_pause_count = sizeof(api_body_pause) / sizeof(api_body_pause[0]);

const struct body_key api_body_backfill[] = {
    {"from", BODY_TIME, true},
    {"to", BODY_TIME, true},
    {"max_parallel", BODY_INTEGER, .least = 1, .most = 1000},
    {"again", BODY_BOOL},
    {"dry_run", BODY_BOOL},
};
const struct body_key api_body_cancel[] = {{"cancel", BODY_BOOL, true}};
const size_t api_body_backfill_count = sizeof(api_body_backfill) / sizeof(api_body_backfill[0]);

static int unknown_key(const char *what, const char *name, const struct body_key *keys, size_t count,
                       struct error *error)
{
    const char *names[KEYS_MAX];
    char hint[NEAR_HINT_BUFFER];

    for (size_t i = 0; i < count; i++)
        names[i] = keys[i].name;
    return error_set(error, ERR_INVALID, "%s: '%.64s' is not known%s", what, name,
                     near_hint(near_find(name, names, count), hint, sizeof(hint)));
}

static int check_value(const char *what, const struct body_key *key, const json_t *value, struct error *error)
{
    struct error e;
    int64_t n;

    switch (key->type) {
    case BODY_TEXT:
        if (!json_is_string(value))
            return error_set(error, ERR_INVALID, "%s: %s must be a text", what, key->name);
        if ((int64_t)json_string_length(value) > key->most)
            return error_set(error, ERR_LIMIT, "%s: %s is longer than %" PRId64 " bytes", what, key->name,
                             key->most);
        return 0;
    case BODY_TIME:
        if (!json_is_string(value))
            return error_set(error, ERR_INVALID, "%s: %s must be a time in RFC 3339", what, key->name);
        if (instant_parse(json_string_value(value), &n, &e) < 0)
            return error_set(error, ERR_INVALID, "%s: %s: %s", what, key->name, e.text);
        return 0;
    case BODY_BOOL:
        return json_is_boolean(value)
                   ? 0
                   : error_set(error, ERR_INVALID, "%s: %s must be true or false", what, key->name);
    case BODY_INTEGER:
        n = json_is_integer(value) ? json_integer_value(value) : key->least - 1;
        if (n < key->least || n > key->most)
            return error_set(error, ERR_INVALID, "%s: %s must be a whole number from %" PRId64 " to %" PRId64,
                             what, key->name, key->least, key->most);
        return 0;
    case BODY_OBJECT:
        return json_is_object(value)
                   ? 0
                   : error_set(error, ERR_INVALID, "%s: %s must be an object", what, key->name);
    }
    return ERR_INTERNAL;
}

int api_body_check(const char *what, const json_t *body, const struct body_key *keys, size_t count,
                   struct error *error)
{
    const char *name;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)body, name, value)
    {
        size_t i = 0;
        int r;

        while (i < count && strcmp(keys[i].name, name) != 0)
            i++;
        r = i < count ? check_value(what, &keys[i], value, error)
                      : unknown_key(what, name, keys, count, error);
        if (r < 0)
            return r;
    }
    for (size_t i = 0; i < count; i++)
        if (keys[i].needed && !json_object_get(body, keys[i].name))
            return error_set(error, ERR_INVALID, "%s: %s is missing", what, keys[i].name);
    return 0;
}

int64_t api_body_time(const json_t *body, const char *name, int64_t absent)
{
    const char *text = json_string_value(json_object_get(body, name));
    int64_t ms = absent;

    if (text)
        instant_parse(text, &ms, NULL);
    return ms;
}
