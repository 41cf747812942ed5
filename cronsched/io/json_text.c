#include "cronsched/io/json_text.h"

#include <stdbool.h>

/* The parser's work grows with the number of values, not of bytes: bound that, and the depth, first. */
static int check_size(const char *s, size_t n, size_t values_max, const char *what, struct error *error)
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
        if (values > values_max)
            return error_set(error, ERR_LIMIT, "the %s's JSON has more than %zu values", what, values_max);
    }
    return 0;
}

/* The parser's own words are about its tokens. */
static const char *words_of(const json_error_t *where)
{
    switch (json_error_code(where)) {
    case json_error_premature_end_of_input:
        return "it ends before the JSON does";
    case json_error_end_of_input_expected:
        return "something follows the JSON";
    case json_error_invalid_utf8:
        return "it is not UTF-8";
    case json_error_null_character:
    case json_error_null_byte_in_key:
        return "it holds a NUL";
    case json_error_duplicate_key:
        return "a key is there twice";
    case json_error_numeric_overflow:
        return "the number is too large";
    default:
        return "it is not JSON from here on";
    }
}

int json_text_bounded(const char *bytes, size_t n, size_t values_max, const char *what, json_t **ret,
                      struct error *error)
{
    int r = check_size(bytes, n, values_max, what, error);
    json_error_t where;

    *ret = r == 0 ? json_loadb(bytes, n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &where) : NULL;
    if (r == 0 && !*ret)
        return error_set(error, ERR_INVALID, "%s:%d:%d: %s", what, where.line, where.column,
                         words_of(&where));
    return r;
}

int json_text_any(const char *bytes, size_t n, const char *what, json_t **ret, struct error *error)
{
    return json_text_bounded(bytes, n, JSON_TEXT_VALUES_MAX, what, ret, error);
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
