#include "jobs/base/printable.h"

#include "jobs/base/error.h"
#include "jobs/base/utf8.h"

#include <stdlib.h>
#include <string.h>

static size_t length_of(unsigned char first)
{
    if (first < 0x80)
        return 1;
    if (first < 0xC2 || first > 0xF4)
        return 0;
    return 2 + (size_t)(first >= 0xE0) + (size_t)(first >= 0xF0);
}

size_t printable_next(const char *s, size_t n, uint32_t *ret)
{
    size_t length = length_of((unsigned char)s[0]);
    uint32_t code;

    if (length == 0 || length > n || utf8_check(s, length) != length) {
        *ret = UINT32_MAX;
        return 1;
    }
    code = (unsigned char)s[0] & (length == 1 ? 0x7Fu : 0xFFu >> (length + 1));
    for (size_t i = 1; i < length; i++)
        code = code << 6 | ((unsigned char)s[i] & 0x3Fu);
    *ret = code;
    return length;
}

bool printable_is(uint32_t code)
{
    static const struct {
        uint32_t first, last;
    } bad[] = {
        {0x00, 0x1F},
        {0x7F, 0x9F},     /* C0, DEL, C1 with NEL */
        {0x2028, 0x202E}, /* separators, embeddings and overrides of direction */
        {0xFFF9, 0xFFFB}, /* annotations */
        {UINT32_MAX, UINT32_MAX},
        /* Default_Ignorable_Code_Point of Unicode 15: they show nothing, or change how their neighbours are shown */
        {0x00AD, 0x00AD},
        {0x034F, 0x034F},
        {0x061C, 0x061C},
        {0x115F, 0x1160},
        {0x17B4, 0x17B5},
        {0x180B, 0x180F},
        {0x200B, 0x200F},
        {0x2060, 0x206F},
        {0x3164, 0x3164},
        {0xFE00, 0xFE0F},
        {0xFEFF, 0xFEFF},
        {0xFFA0, 0xFFA0},
        {0xFFF0, 0xFFF8},
        {0x1BCA0, 0x1BCA3},
        {0x1D173, 0x1D17A},
        {0xE0000, 0xE0FFF},
    };

    if (code >= 0x20 && code < 0x7F)
        return true; /* most are */
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (code >= bad[i].first && code <= bad[i].last)
            return false;
    return true;
}

/* Writes what the character becomes, which is never longer; returns its bytes. */
static size_t put(char *to, const char *s, size_t length, uint32_t code, bool lines)
{
    if (printable_is(code) || (lines && (code == '\n' || code == '\t'))) {
        memmove(to, s, length);
        return length;
    }
    *to = code == UINT32_MAX ? '?' : ' ';
    return 1;
}

void printable_text(char *s, bool lines)
{
    size_t n = strlen(s), at = 0, to = 0;

    while (at < n) {
        uint32_t code;
        size_t length = printable_next(s + at, n - at, &code);

        to += put(s + to, s + at, length, code, lines);
        at += length;
    }
    s[to] = '\0';
}

/* ---- JSON ---- */

static bool text_is_printable(const char *s)
{
    size_t n = strlen(s);

    while (n > 0) {
        uint32_t code;
        size_t length = printable_next(s, n, &code);

        if (!printable_is(code) && code != '\n' && code != '\t')
            return false;
        s += length;
        n -= length;
    }
    return true;
}

static int string_value(json_t **value)
{
    char *copy;
    json_t *fresh;

    if (text_is_printable(json_string_value(*value)))
        return 0;
    copy = strdup(json_string_value(*value));
    if (!copy)
        return ERR_NOMEM;
    printable_text(copy, true);
    fresh = json_string(copy);
    free(copy);
    if (!fresh)
        return ERR_NOMEM;
    json_decref(*value);
    *value = fresh;
    return 0;
}

static int array_value(json_t *array)
{
    for (size_t i = 0; i < json_array_size(array); i++) {
        json_t *item = json_incref(json_array_get(array, i));
        int r = printable_value(&item);

        if (r < 0) {
            json_decref(item);
            return r;
        }
        json_array_set_new(array, i, item);
    }
    return 0;
}

/* Into a new object, in the same order: keys change as well. */
static int object_value(json_t **value)
{
    json_t *fresh = json_object(), *item;
    const char *key;

    if (!fresh)
        return ERR_NOMEM;
    json_object_foreach(*value, key, item)
    {
        char *name = strdup(key);
        json_t *copy = json_incref(item);
        int r = name ? printable_value(&copy) : ERR_NOMEM;

        if (name)
            printable_text(name, false);
        if (r < 0 || json_object_set(fresh, name, copy) < 0)
            r = ERR_NOMEM;
        free(name);
        json_decref(copy);
        if (r < 0) {
            json_decref(fresh);
            return r;
        }
    }
    json_decref(*value);
    *value = fresh;
    return 0;
}

int printable_value(json_t **value)
{
    if (json_is_string(*value))
        return string_value(value);
    if (json_is_array(*value))
        return array_value(*value);
    return json_is_object(*value) ? object_value(value) : 0;
}

void printable_escape(struct text *to, uint32_t code)
{
    if (code == UINT32_MAX)
        text_add_char(to, '?');
    else if (code > 0xFFFF)
        text_addf(to, "\\u%04x\\u%04x", (unsigned)(0xD7C0 + (code >> 10)),
                  (unsigned)(0xDC00 | (code & 0x3FF)));
    else
        text_addf(to, "\\u%04x", (unsigned)code);
}

void printable_add_json(struct text *to, const char *json, size_t n)
{
    while (n > 0) {
        uint32_t code;
        size_t length = printable_next(json, n, &code);

        if (printable_is(code) || code == '\n')
            text_add_bytes(to, json, length);
        else
            printable_escape(to, code);
        json += length;
        n -= length;
    }
}

/* ---- in pieces ---- */

/* The first character of what is held is whole, or never will be. */
static bool is_decided(const struct printable_stream *stream, bool ends)
{
    return stream->count > 0 && (ends || stream->count >= length_of((unsigned char)stream->held[0]));
}

size_t printable_stream(struct printable_stream *stream, const char *bytes, size_t n, char *out)
{
    size_t at = 0, to = 0;

    do {
        while (stream->count < PRINTABLE_HELD_MAX && at < n)
            stream->held[stream->count++] = bytes[at++];
        while (is_decided(stream, n == 0)) {
            uint32_t code;
            size_t length = printable_next(stream->held, stream->count, &code);

            to += put(out + to, stream->held, length, code, true);
            stream->count -= length;
            memmove(stream->held, stream->held + length, stream->count);
        }
    } while (at < n);
    return to;
}
