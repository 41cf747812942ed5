#include "jobs/base/error.h"

#include <stdio.h>
#include <string.h>

int error_setv(struct error *e, int code, const char *format, va_list ap)
{
    if (e) {
        e->code = code;
        vsnprintf(e->text, sizeof(e->text), format, ap);
    }
    return code;
}

int error_set(struct error *e, int code, const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    error_setv(e, code, format, ap);
    va_end(ap);
    return code;
}

int error_prefix(struct error *e, const char *format, ...)
{
    char text[ERROR_TEXT_MAX];
    va_list ap;
    size_t n;

    if (!e)
        return ERR_INTERNAL;
    va_start(ap, format);
    vsnprintf(text, sizeof(text), format, ap);
    va_end(ap);
    n = strlen(text);
    snprintf(text + n, sizeof(text) - n, "%s", e->text);
    memcpy(e->text, text, sizeof(text));
    return e->code;
}

const char *error_name(int code)
{
    switch (code) {
#define X(id, value, name, text)                                                                             \
    case id:                                                                                                 \
        return name;
        ERROR_TABLE(X)
#undef X
    default:
        return code == 0 ? "ok" : "error";
    }
}

const char *error_text(int code)
{
    switch (code) {
#define X(id, value, name, text)                                                                             \
    case id:                                                                                                 \
        return text;
        ERROR_TABLE(X)
#undef X
    default:
        return code == 0 ? "no error" : "unknown error";
    }
}
