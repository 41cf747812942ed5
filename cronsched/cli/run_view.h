/* A run as people see it; its JSON is that of the API. Main thread. */
#pragma once

#include "cronsched/cli/output.h"

/* From start to end, or to now; -1 when it has not started. */
int64_t run_view_duration_ms(const json_t *run, int64_t now_ms);

/* The run with its attempts. */
void run_view_show(const struct output *out, const json_t *run);

/* It has a state that this build knows: else waiting for its end might take for ever. */
bool run_view_known(const json_t *run);
/* True once nothing more will happen to it. */
bool run_view_over(const json_t *run);
bool run_view_succeeded(const json_t *run);

/* "nightly@20261122T030000Z failed, exit code 3, after 12 s (2 attempts): TEXT" */
void run_view_line(FILE *to, const struct output *out, const json_t *run);

/* The text of a key; NULL when it is absent or null. */
const char *run_view_text(const json_t *run, const char *key);
