/* See http_form.h. */
#include "cronsched/http/http_form.h"

#include "jobs/base/scan.h"
#include "jobs/base/utf8.h"

#include <stdlib.h>
#include <string.h>

/* ---- forms ---- */

/* n bytes, decoded, into `to`, which has room for them. Returns their number; SIZE_MAX: they are no text. */
static size_t decode(const char *s, size_t n, char *to)
{
    size_t len = 0;

    for (size_t i = 0; i < n; i++) {
        char c = s[i] == '+' ? ' ' : s[i];

        if (c == '%') {
            int high = i + 2 < n ? scan_hex(s[i + 1]) : -1;
            int low = high < 0 ? -1 : scan_hex(s[i + 2]);

            if (low < 0)
                return SIZE_MAX;
            c = (char)(high << 4 | low);
            i += 2;
        }
        if (c == '\0')
            return SIZE_MAX;
        if (c == '\n' && len && to[len - 1] == '\r')
            len--;
        to[len++] = c;
    }
    return utf8_check(to, len) == len ? len : SIZE_MAX;
}

static int keep(json_t *fields, const char *name, const char *value, size_t n)
{
    json_t *text = json_stringn(value, n), *have = json_object_get(fields, name), *both;

    if (!text)
        return -1;
    if (!have)
        return json_object_set_new(fields, name, text);
    if (json_is_array(have))
        return json_array_append_new(have, text);
    both = json_pack("[O,o]", have, text);
    return both ? json_object_set_new(fields, name, both) : -1;
}

static int parse_pair(const char *pair, size_t n, char *buffer, json_t *fields, struct error *error)
{
    const char *equals = memchr(pair, '=', n);
    size_t name = equals ? (size_t)(equals - pair) : n, name_len, len;
    char *value;

    name_len = decode(pair, name, buffer);
    if (name_len == SIZE_MAX)
        return error_set(error, ERR_INVALID, "the form has a name that is no text");
    buffer[name_len] = '\0';
    value = buffer + name_len + 1;
    len = equals ? decode(equals + 1, n - name - 1, value) : 0;
    if (len == SIZE_MAX)
        return error_set(error, ERR_INVALID, "the form's field %.40s is no text", buffer);
    return keep(fields, buffer, value, len) < 0 ? error_set(error, ERR_NOMEM, "out of memory") : 0;
}

int http_form_parse(const char *bytes, size_t n, json_t **ret, struct error *error)
{
    json_t *fields = json_object();
    char *buffer = malloc(n + 2);
    int count = 0, rc = fields && buffer ? 0 : error_set(error, ERR_NOMEM, "out of memory");

    while (rc == 0 && n > 0) {
        const char *end = memchr(bytes, '&', n);
        size_t len = end ? (size_t)(end - bytes) : n;

        if (len && count++ == HTTP_FORM_FIELDS_MAX)
            rc = error_set(error, ERR_LIMIT, "the form has more than %d fields", HTTP_FORM_FIELDS_MAX);
        else if (len)
            rc = parse_pair(bytes, len, buffer, fields, error);
        len += end ? 1 : 0;
        bytes += len;
        n -= len;
    }
    free(buffer);
    if (rc == 0)
        *ret = fields;
    else
        json_decref(fields);
    return rc;
}

/* ---- cookies ---- */

const char *http_cookie(const char *header, const char *name, char *buffer, size_t size)
{
    size_t length = strlen(name);

    while (header && *header) {
        size_t n;

        header += strspn(header, "; \t");
        n = strcspn(header, ";");
        if (n > length && strncmp(header, name, length) == 0 && header[length] == '=') {
            size_t value = n - length - 1;

            while (value > 0 && (header[length + value] == ' ' || header[length + value] == '\t'))
                value--;
            if (value >= size)
                return NULL;
            memcpy(buffer, header + length + 1, value);
            buffer[value] = '\0';
            return buffer;
        }
        header += n;
    }
    return NULL;
}
