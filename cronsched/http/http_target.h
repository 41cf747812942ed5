/* The target of a request: "/v1/jobs/a%2Db?limit=5" taken apart, and compared with the patterns of the
 * routes.
 *
 * Pure. Strict where the outside speaks: percent signs are followed by two hex digits, the result is UTF-8
 * without control characters, a query key comes once. A plus sign is literal:
 * "since=2026-01-01T00:00:00+02:00" is what people write; but below /ui/, where browsers send forms, it is a blank.
 */
#pragma once

#include "jobs/base/error.h"

#include <stdbool.h>
#include <stddef.h>

#define HTTP_TARGET_BYTES_MAX 4096
#define HTTP_SEGMENTS_MAX     8
#define HTTP_QUERY_MAX        16
#define HTTP_PARAMS_MAX       4
#define HTTP_PARAM_NAME_MAX   16

struct http_pair {
    const char *name, *value;
};

struct http_target {
    char *memory;                            /* all that the rest points into */
    const char *segments[HTTP_SEGMENTS_MAX]; /* of the path, decoded; "/" has none */
    size_t segment_count;
    struct http_pair query[HTTP_QUERY_MAX]; /* decoded; "x" without "=" has the value "" */
    size_t query_count;
};

/* The values of the {name} parts of a pattern. */
struct http_params {
    struct {
        char name[HTTP_PARAM_NAME_MAX];
        const char *value; /* the target's */
    } items[HTTP_PARAMS_MAX];
    size_t count;
};

int http_target_init(struct http_target *target, const char *raw, struct error *error);
void http_target_release(struct http_target *target);

/* Whether the path is the pattern's, such as "/v1/jobs/{job}/pause". */
bool http_target_match(const struct http_target *target, const char *pattern, struct http_params *ret);

/* The pattern, its {name} parts filled from the target, that was most likely meant; NULL: none is near. */
const char *http_target_suggest(const struct http_target *target, const char *const *patterns, size_t count,
                                char *buffer, size_t size);

const char *http_target_query(const struct http_target *target, const char *name); /* NULL: absent */

/* All query keys are in the comma-separated list; the error names the one that is not, and what was meant. */
int http_target_check_query(const struct http_target *target, const char *known, struct error *error);
