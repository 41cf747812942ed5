#include "cronsched/http/http_head.h"

#include <stdbool.h>
#include <string.h>

static bool is_name_byte(unsigned char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c && strchr("!#$%&'*+-.^_`|~", c));
}

/* Past the end of a line, which was CR and LF; NULL: it was something else. */
static const char *line_end(const char *p, const char *end)
{
    return end - p >= 2 && p[0] == '\0' && p[1] == '\0' ? p + 2 : NULL;
}

static const char *line_check(const char *p, const char *end)
{
    const char *name = p;

    while (p < end && is_name_byte((unsigned char)*p))
        p++;
    if (p == name || p == end || *p++ != '\0')
        return NULL;
    while (p < end && *p != '\0') {
        unsigned char c = (unsigned char)*p++;

        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return NULL;
    }
    return line_end(p, end);
}

int http_head_check(const char *head, size_t size, const char *version, struct error *error)
{
    const char *end = head + size, *p = NULL, *next;

    if (version > head && version < end && memchr(version, '\0', (size_t)(end - version)))
        p = line_end(version + strlen(version), end);
    if (!p)
        return error_set(error, ERR_INVALID, "the request line must end with CR and LF");
    while (end - p > 2) {
        next = line_check(p, end);
        if (!next)
            return error_set(
                error, ERR_INVALID,
                "a header is not a single line of a name, a colon and text that ends with CR and LF");
        p = next;
    }
    if (line_end(p, end) != end)
        return error_set(error, ERR_INVALID, "the headers must end with an empty line of CR and LF");
    return 0;
}
