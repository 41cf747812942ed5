/* What a caller may see of an answer. Definitions and runs hold passwords in the values of environment variables and of
 * parameters, and keys in the URLs of webhooks: who may only read is not shown them. It is done for every answer in one
 * place, so that a handler cannot forget it. What is hidden stays of its form: a definition can still be read as one.
 */
#include "cronsched/api/api_priv.h"

#include <string.h>

#define HIDDEN_VALUE "(hidden)"
#define HIDDEN_URL   "https://hidden.invalid/"

static json_t *view(const json_t *value);

/* A copy with what `member` changes, which returns a new reference; the same, with a new reference, when it changes
 * nothing. NULL: no memory. */
static json_t *view_object(const json_t *object, json_t *(*member)(const char *key, const json_t *value))
{
    json_t *out = json_incref((json_t *)object), *value;
    const char *key;

    json_object_foreach((json_t *)object, key, value)
    {
        json_t *seen = member(key, value);

        if (seen == value) {
            json_decref(seen);
            continue;
        }
        if (out == object) {
            json_decref(out);
            out = json_copy((json_t *)object);
        }
        if (!seen || !out || json_object_set_new(out, key, seen) < 0) {
            json_decref(out);
            return NULL;
        }
    }
    return out;
}

static json_t *view_array(const json_t *array, json_t *(*item)(const json_t *value))
{
    json_t *out = json_incref((json_t *)array), *value;
    size_t i;

    json_array_foreach(array, i, value)
    {
        json_t *seen = item(value);

        if (seen == value) {
            json_decref(seen);
            continue;
        }
        if (out == array) {
            json_decref(out);
            out = json_copy((json_t *)array);
        }
        if (!seen || !out || json_array_set_new(out, i, seen) < 0) {
            json_decref(out);
            return NULL;
        }
    }
    return out;
}

/* Texts are hidden; where a value comes from, {from_file: PATH}, is none. */
static json_t *hide_value(const char *key, const json_t *value)
{
    return json_is_string(value) ? json_string(HIDDEN_VALUE) : json_incref((json_t *)value);
}

static json_t *hide_url(const char *key, const json_t *value)
{
    bool url = strcmp(key, "url") == 0 && json_is_string(value);

    if (strcmp(key, "headers") == 0 && json_is_object(value))
        return view_object(value, hide_value);
    return url ? json_string(HIDDEN_URL) : json_incref((json_t *)value);
}

static json_t *hide_notify(const json_t *value)
{
    return json_is_object(value) ? view_object(value, hide_url) : json_incref((json_t *)value);
}

static json_t *view_member(const char *key, const json_t *value)
{
    if (json_is_object(value) && (strcmp(key, "environment") == 0 || strcmp(key, "params") == 0))
        return view_object(value, hide_value);
    if (json_is_array(value) && strcmp(key, "notify") == 0)
        return view_array(value, hide_notify);
    return view(value);
}

static json_t *view(const json_t *value)
{
    if (json_is_object(value))
        return view_object(value, view_member);
    if (json_is_array(value))
        return view_array(value, view);
    return json_incref((json_t *)value);
}

json_t *api_view_of(enum auth_role role, json_t *json)
{
    json_t *seen;

    if (role >= AUTH_OPERATE)
        return json;
    seen = view(json);
    json_decref(json);
    return seen;
}

json_t *api_view(const struct auth_identity *who, json_t *json)
{
    return api_view_of(who->role, json);
}
