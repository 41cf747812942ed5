/* What a browser sends of a form: application/x-www-form-urlencoded. And cookies, which it sends always. Pure functions; any
 * thread. */
#pragma once

#include "jobs/base/error.h"

#include <jansson.h>
#include <stddef.h>

#define HTTP_FORM_FIELDS_MAX 1000

/* An object: the value of a name is a text, or an array of texts when it comes more than once. A plus sign is a blank, CRLF is
 * LF. ERR_INVALID: what is no UTF-8, or has a NUL; ERR_LIMIT: too many fields; ERR_NOMEM. */
int http_form_parse(const char *bytes, size_t n, json_t **ret, struct error *error);

/* The value of a cookie in a Cookie header (NULL: absent), in the buffer; NULL: there is none of that name, or it is too
 * long. Of several the first. */
const char *http_cookie(const char *header, const char *name, char *buffer, size_t size);
