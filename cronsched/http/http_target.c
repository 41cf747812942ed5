#include "cronsched/http/http_target.h"

#include "jobs/base/near.h"
#include "jobs/base/scan.h"
#include "jobs/base/utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATTERNS_MAX 128
#define KEYS_MAX     16
#define KEY_BYTES    24

/* In place; the text ends at its NUL. form: a plus sign is a blank. */
static int decode(char *s, bool form, struct error *error)
{
    char *to = s;
    const char *start = s;

    for (; *s; s++, to++) {
        unsigned char c = (unsigned char)*s;

        if (c == '%') {
            int high = scan_hex(s[1]), low = high < 0 ? -1 : scan_hex(s[2]);

            if (low < 0)
                return error_set(error, ERR_INVALID,
                                 "a percent sign in the URL is not followed by two hex digits");
            c = (unsigned char)(high << 4 | low);
            s += 2;
        } else if (form && c == '+')
            c = ' ';
        if (c < 0x20 || c == 0x7f)
            return error_set(error, ERR_INVALID, "the URL has a control character");
        *to = (char)c;
    }
    *to = '\0';
    if (utf8_check(start, (size_t)(to - start)) != (size_t)(to - start))
        return error_set(error, ERR_INVALID, "the URL is not UTF-8");
    return 0;
}

static int split_path(struct http_target *t, char *path, struct error *error)
{
    char *next = path + 1;

    if (path[1] == '\0')
        return 0;
    while (next) {
        char *segment = next;
        int r;

        next = strchr(segment, '/');
        if (next)
            *next++ = '\0';
        if (t->segment_count == HTTP_SEGMENTS_MAX)
            return error_set(error, ERR_INVALID, "the path has more than %d parts", HTTP_SEGMENTS_MAX);
        r = decode(segment, false, error);
        if (r < 0)
            return r;
        t->segments[t->segment_count++] = segment;
    }
    return 0;
}

/* What a form of the page sends has blanks as plus signs; to the API a plus sign stands for itself. */
static int split_query(struct http_target *t, char *query, struct error *error)
{
    bool form = t->segment_count > 0 && strcmp(t->segments[0], "ui") == 0;

    while (query) {
        char *name = query, *value;
        int r;

        query = strchr(name, '&');
        if (query)
            *query++ = '\0';
        if (name[0] == '\0')
            continue;
        value = strchr(name, '=');
        if (value)
            *value++ = '\0';
        else
            value = name + strlen(name);
        if ((r = decode(name, form, error)) < 0 || (r = decode(value, form, error)) < 0)
            return r;
        if (http_target_query(t, name))
            return error_set(error, ERR_INVALID, "the query has '%.32s' twice", name);
        if (t->query_count == HTTP_QUERY_MAX)
            return error_set(error, ERR_INVALID, "the query has more than %d keys", HTTP_QUERY_MAX);
        t->query[t->query_count++] = (struct http_pair){name, value};
    }
    return 0;
}

int http_target_init(struct http_target *target, const char *raw, struct error *error)
{
    struct http_target t = {0};
    char *query;
    int r;

    if (raw[0] != '/')
        return error_set(error, ERR_INVALID, "the request target must begin with '/'");
    if (strlen(raw) > HTTP_TARGET_BYTES_MAX)
        return error_set(error, ERR_LIMIT, "the URL is longer than %d bytes", HTTP_TARGET_BYTES_MAX);
    t.memory = strdup(raw);
    if (!t.memory)
        return error_set(error, ERR_NOMEM, "out of memory");
    query = strchr(t.memory, '?');
    if (query)
        *query++ = '\0';
    r = split_path(&t, t.memory, error);
    if (r == 0)
        r = split_query(&t, query, error);
    if (r < 0) {
        http_target_release(&t);
        return r;
    }
    *target = t;
    return 0;
}

void http_target_release(struct http_target *target)
{
    if (!target)
        return;
    free(target->memory);
    *target = (struct http_target){0};
}

const char *http_target_query(const struct http_target *target, const char *name)
{
    for (size_t i = 0; i < target->query_count; i++)
        if (strcmp(target->query[i].name, name) == 0)
            return target->query[i].value;
    return NULL;
}

/* ---- patterns ---- */

static void keep_param(struct http_params *params, const char *name, size_t n, const char *value)
{
    if (params->count == HTTP_PARAMS_MAX || n >= HTTP_PARAM_NAME_MAX)
        return;
    memcpy(params->items[params->count].name, name, n);
    params->items[params->count].name[n] = '\0';
    params->items[params->count++].value = value;
}

bool http_target_match(const struct http_target *target, const char *pattern, struct http_params *ret)
{
    struct http_params params = {0};
    size_t i = 0;

    for (const char *p = pattern; *p == '/' && (p[1] || p > pattern);
         i++) { /* "/ui/" has an empty part at its end */
        size_t n = strcspn(++p, "/");

        if (i == target->segment_count)
            return false;
        if (p[0] == '{' && target->segments[i][0] != '\0')
            keep_param(&params, p + 1, n - 2, target->segments[i]);
        else if (strlen(target->segments[i]) != n || memcmp(target->segments[i], p, n) != 0)
            return false;
        p += n;
    }
    if (i != target->segment_count)
        return false;
    *ret = params;
    return true;
}

/* The pattern with the target's own words where it takes any. */
static bool fill(const struct http_target *target, const char *pattern, char *buffer, size_t size)
{
    size_t i = 0, at = 0;

    for (const char *p = pattern; *p == '/' && p[1]; i++) {
        size_t n = strcspn(++p, "/");
        bool any = p[0] == '{';
        const char *word = any && i < target->segment_count ? target->segments[i] : p;
        size_t len = word == p ? n : strlen(word);

        if (at + len + 2 > size)
            return false;
        buffer[at++] = '/';
        memcpy(buffer + at, word, len);
        at += len;
        p += n;
    }
    buffer[at] = '\0';
    return at > 0;
}

const char *http_target_suggest(const struct http_target *target, const char *const *patterns, size_t count,
                                char *buffer, size_t size)
{
    char filled[PATTERNS_MAX][NEAR_NAME_MAX], path[NEAR_NAME_MAX];
    const char *names[PATTERNS_MAX], *near;
    size_t n = 0, at = 0;

    for (size_t i = 0; i < target->segment_count; i++) {
        if (at + strlen(target->segments[i]) + 2 > sizeof(path))
            return NULL;
        at += (size_t)snprintf(path + at, sizeof(path) - at, "/%s", target->segments[i]);
    }
    if (at == 0)
        return NULL;
    for (size_t i = 0; i < count && n < PATTERNS_MAX; i++) {
        if (fill(target, patterns[i], filled[n], sizeof(filled[n]))) {
            names[n] = filled[n];
            n++;
        }
    }
    near = near_find(path, names, n);
    if (!near)
        return NULL;
    snprintf(buffer, size, "%s", near);
    return buffer;
}

/* ---- query keys ---- */

int http_target_check_query(const struct http_target *target, const char *known, struct error *error)
{
    char words[KEYS_MAX][KEY_BYTES];
    const char *names[KEYS_MAX];
    size_t count = 0;

    for (const char *p = known; *p && count < KEYS_MAX; p += *p == ',') {
        size_t n = strcspn(p, ",");

        snprintf(words[count], sizeof(words[count]), "%.*s", (int)n, p);
        names[count] = words[count];
        count++;
        p += n;
    }
    for (size_t i = 0; i < target->query_count; i++) {
        const char *name = target->query[i].name;
        char hint[NEAR_HINT_BUFFER];
        size_t k = 0;

        while (k < count && strcmp(names[k], name) != 0)
            k++;
        if (k < count)
            continue;
        return error_set(error, ERR_INVALID, "the query has no key '%.32s'%s", name,
                         near_hint(near_find(name, names, count), hint, sizeof(hint)));
    }
    return 0;
}
