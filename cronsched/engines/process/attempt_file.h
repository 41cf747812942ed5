/* Small JSON files in the folders of attempts, for attempt_dir.c and attempt_root.c. Everything blocks. */
#pragma once

#include "jobs/base/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#define ATTEMPT_FILE_MAX 4096 /* bytes; more is not read */

/* "WHAT: why", with the code for errno `err`. */
int attempt_file_fail(struct error *error, const char *what, int err);

/* A negative errno. */
int attempt_file_write_bytes(int fd, const char *bytes, size_t n);
/* Steals `json`; NULL is ERR_NOMEM. */
int attempt_file_write_json(int folder, const char *file, json_t *json, bool sync, struct error *error);
/* NULL: it is not there, or is not JSON, which for a file that was renamed into place comes to the same. */
json_t *attempt_file_read_json(int folder, const char *file);
/* "" where there is no such text. */
void attempt_file_copy_text(const json_t *json, const char *key, char *ret, size_t size);
