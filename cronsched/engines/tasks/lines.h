/* Cuts a stream into lines; the rest of a line is kept for the next piece. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct lines {
    char *data; /* owned */
    size_t len;
    size_t max;                                            /* bytes of one line */
    void (*line)(void *arg, const char *line, size_t len); /* NUL-terminated; not of an empty one */
    void *arg;
    bool passing; /* over the rest of a line that was too long, or for which there was no memory */
};
/* False: such a line began in this piece. The lines after it come again. */
bool lines_feed(struct lines *lines, const char *bytes, size_t size);
void lines_release(struct lines *lines);
