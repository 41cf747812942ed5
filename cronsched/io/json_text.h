/* JSON that came from elsewhere: clients, other replicas, engines. Any thread. */
#pragma once

#include "jobs/base/error.h"

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#define JSON_TEXT_DEPTH_MAX  64
#define JSON_TEXT_VALUES_MAX (1000 * 1000)
#define JSON_TEXT_TIME_MAX   INT64_C(253402300799999) /* the end of the year 9999, in milliseconds */

/* Any value within the limits above, with no key twice in one object; *ret is the caller's. `what` begins the error's
 * text: "body". ERR_LIMIT, ERR_INVALID: *ret is NULL. */
int json_text_any(const char *bytes, size_t n, const char *what, json_t **ret, struct error *error);
/* The same with another limit of values. */
int json_text_bounded(const char *bytes, size_t n, size_t values_max, const char *what, json_t **ret,
                      struct error *error);

/* The same, and the value is an object. */
int json_text_object(const char *bytes, size_t n, const char *what, json_t **ret, struct error *error);

/* Whether the member is an integer from `least` to `most`, which *ret gets; 0 if it is absent and 0 is one of
 * them. */
int json_text_int(const json_t *object, const char *key, int64_t least, int64_t most, int64_t *ret);
