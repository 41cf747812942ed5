/* The headers of a notification: those of the job's definition, and its signature. What is in the files is known for as
 * long as one try takes; it is in no text of an error. One thread: the loop's.
 */
#pragma once

#include "cronsched/io/file_reader.h"
#include "cronsched/io/http_client.h"
#include "jobs/definition/job.h"

#include <jansson.h>

#define WEBHOOK_FILES_MAX (JOB_HEADERS_MAX + 1)
#define WEBHOOK_SIGNATURE "Cronsched-Signature"

struct webhook_headers {
    char *lines[HTTP_CLIENT_HEADERS_MAX]; /* "Name: value", NULL beyond the last */
};

/* The files that `headers` (job_notify_headers) names, borrowed from it; how many. */
size_t webhook_headers_files(const json_t *headers, const char *paths[WEBHOOK_FILES_MAX]);

/* files: what was read of those, in their order. time_s: since 1970. The signature is "t=TIME,v1=HEX", HEX the HMAC-SHA-256
 * of "TIME.BODY". Release *ret in any case. Errors: a file's content that cannot be a header or a key; ERR_NOMEM. */
int webhook_headers_make(struct webhook_headers *ret, const json_t *headers, const struct file_content *files,
                         const char *body, int64_t time_s, struct error *error);

void webhook_headers_release(struct webhook_headers *headers); /* wipes them */
