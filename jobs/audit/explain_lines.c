/* The lines of an explanation, kept in the order of their times. */
#include "jobs/audit/explain_priv.h"
#include "jobs/base/text.h"
#include "jobs/base/utf8.h"
#include "jobs/time/instant.h"

#include <stdarg.h>
#include <stdio.h>

const char *explain_time(int64_t ms, char *buffer, size_t size)
{
    return instant_format(ms, ms % 1000 ? INSTANT_MS : INSTANT_S, buffer, size);
}

void explain_line(struct explain *e, int64_t time_ms, const char *what, const char *format, ...)
{
    size_t at = e->timeless;
    struct text text;
    char buffer[TEXT_NUMBER_BUFFER], line[4096];
    va_list ap;

    va_start(ap, format);
    vsnprintf(line, sizeof(line), format, ap);
    va_end(ap);
    text_init(&text, sizeof(line));
    text_add_bytes(&text, line, utf8_check(line, strlen(line))); /* a cut may have split a letter */
    if (time_ms) {
        at = json_array_size(e->lines);
        while (at > e->timeless &&
               versions_time(json_object_get(json_array_get(e->lines, at - 1), "time")) > time_ms)
            at--;
    } else {
        e->timeless++;
    }
    json_array_insert_new(
        e->lines, at,
        json_pack("{s:o,s:s,s:s}", "time",
                  time_ms ? json_string(explain_time(time_ms, buffer, sizeof(buffer))) : json_null(), "what",
                  what, "text", text_str(&text)));
    text_release(&text);
}
