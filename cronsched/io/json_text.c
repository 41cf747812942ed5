#include "cronsched/io/json_text.h"

#include <stdbool.h>

/* The parser's work grows with the number of values, not of bytes: bound that, and the depth, first. */
static int check_size(const char *s, size_t n, const char *what, struct error *error)
{
    size_t depth = 0, values = 1;
    bool text = false;

    for (size_t i = 0; i < n; i++) {
        if (text) {
            if (s[i] == '\\')
                i++;
            else
                text = s[i] != '"';
            continue;
        }
        text = s[i] == '"';
        values += s[i] == ',' || s[i] == '{' || s[i] == '[';
        depth += s[i] == '{' || s[i] == '[';
        depth -= depth > 0 && (s[i] == '}' || s[i] == ']');
        if (depth > JSON_TEXT_DEPTH_MAX)
            return error_set(error, ERR_LIMIT, "the %s's JSON is nested more than %d deep", what,
                             JSON_TEXT_DEPTH_MAX);
        if (values > JSON_TEXT_VALUES_MAX)
            return error_set(error, ERR_LIMIT, "the %s's JSON has more than %d values", what,
                             JSON_TEXT_VALUES_MAX);
    }
    return 0;
}

int json_text_any(const char *bytes, size_t n, const char *what, json_t **ret, struct error *error)
{
    int r = check_size(bytes, n, what, error);
    json_error_t where;

    *ret = r == 0 ? json_loadb(bytes, n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &where) : NULL;
    if (r == 0 && !*ret)
        return error_set(error, ERR_INVALID, "%s:%d:%d: %s", what, where.line, where.column, where.text);
    return r;
}

int json_text_object(const char *bytes, size_t n, const char *what, json_t **ret, struct error *error)
{
    int r = json_text_any(bytes, n, what, ret, error);

    if (r == 0 && !json_is_object(*ret)) {
        json_decref(*ret);
        *ret = NULL;
        return error_set(error, ERR_INVALID, "the %s must be a JSON object", what);
    }
    return r;
}

int json_text_int(const json_t *object, const char *key, int64_t least, int64_t most, int64_t *ret)
{
    const json_t *value = json_object_get(object, key);
    int64_t n = json_integer_value(value);

    if ((value && !json_is_integer(value)) || n < least || n > most)
        return ERR_INVALID;
    *ret = n;
    return 0;
}
