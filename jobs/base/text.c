#include "jobs/base/text.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void text_init(struct text *text, size_t max_bytes)
{
    *text = (struct text){.max_bytes = max_bytes};
}

void text_release(struct text *text)
{
    if (!text)
        return;
    free(text->data);
    *text = (struct text){.max_bytes = text->max_bytes};
}

void text_clear(struct text *text)
{
    text->len = 0;
    text->failed = 0;
    if (text->data)
        text->data[0] = '\0';
}

/* And the NUL. */
int text_reserve(struct text *text, size_t n)
{
    size_t cap = text->cap ? text->cap : 64;
    char *data;

    assert(text->len <= text->max_bytes);
    assert(text->cap == 0 ? !text->data : text->len < text->cap);
    if (text->failed)
        return text->failed;
    if (n > text->max_bytes - text->len)
        return text->failed = ERR_LIMIT;
    if (text->len + n < text->cap)
        return 0;
    while (cap <= text->len + n)
        cap *= 2;
    data = realloc(text->data, cap);
    if (!data)
        return text->failed = ERR_NOMEM;
    text->data = data;
    text->cap = cap;
    return 0;
}

int text_add_bytes(struct text *text, const void *bytes, size_t n)
{
    int r = text_reserve(text, n);

    if (r < 0)
        return r;
    if (n > 0)
        memcpy(text->data + text->len, bytes, n);
    text->len += n;
    text->data[text->len] = '\0';
    return 0;
}

int text_add(struct text *text, const char *s)
{
    return text_add_bytes(text, s, strlen(s));
}

int text_add_char(struct text *text, char c)
{
    return text_add_bytes(text, &c, 1);
}

int text_addf(struct text *text, const char *format, ...)
{
    va_list ap;
    int n, r;

    va_start(ap, format);
    n = vsnprintf(NULL, 0, format, ap);
    va_end(ap);
    assert(n >= 0);
    r = text_reserve(text, (size_t)n);
    if (r < 0)
        return r;
    va_start(ap, format);
    vsnprintf(text->data + text->len, (size_t)n + 1, format, ap);
    va_end(ap);
    text->len += (size_t)n;
    return 0;
}

const char *text_str(const struct text *text)
{
    return text->data ? text->data : "";
}

char *text_take(struct text *text)
{
    char *data;

    if (text->failed || text_reserve(text, 0) < 0) {
        text_release(text);
        return NULL;
    }
    data = text->data;
    data[text->len] = '\0';
    *text = (struct text){.max_bytes = text->max_bytes};
    return data;
}
