/* Text into a caller's buffer, piece by piece: always NUL-terminated, what does not fit is cut off. For text
 * that has no natural maximum there is jobs/base/text.h.
 */
#pragma once

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

struct line {
    char *buffer;
    size_t size, n; /* n < size, unless size is 0 */
};

static inline void line_init(struct line *line, char *buffer, size_t size)
{
    *line = (struct line){buffer, size, 0};
    if (size > 0)
        buffer[0] = '\0';
}

__attribute__((format(printf, 2, 3))) static inline void line_add(struct line *line, const char *format, ...)
{
    va_list ap;
    int n;

    if (line->n >= line->size)
        return;
    va_start(ap, format);
    n = vsnprintf(line->buffer + line->n, line->size - line->n, format, ap);
    va_end(ap);
    if (n > 0)
        line->n = (size_t)n < line->size - line->n ? line->n + (size_t)n : line->size - 1;
}
