/* The inside of the parser of cron expressions: jobs/time/cron_parse.c reads the text as a whole and hands each
 * field to cron_field_parse. Nobody else includes this.
 */
#pragma once

#include "jobs/time/cron.h"

#define CRON_SHOWN_MAX 24 /* bytes of the user's text that a message repeats */

struct cron_span {
    size_t from, to; /* byte offsets within the text */
};

/* Adds what the field says to *cron. ERR_INVALID with *ret_column; *cron is then of no use. */
int cron_field_parse(enum cron_field id, const char *text, struct cron_span span, bool quartz,
                     const struct cron_context *context, struct cron *cron, size_t *ret_column,
                     struct error *error);
