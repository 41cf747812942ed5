/* What drills of engines have found (cronsched drill engine), as it is kept in a data folder: a JSON object, an entry for each
 * engine by name. Pure; any thread.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ENGINE_PROOF_FILE     "engine-proofs.json"
#define ENGINE_PROOF_FILE_MAX (64 * 1024)

struct engine_proof { /* all borrowed */
    const char *type, *version;
    int64_t at_ms;
    bool passed;
    int trials;
    json_t *cases; /* [{"case", "passed", ...}] */
};

void engine_proof_put(json_t *all, const char *engine, const struct engine_proof *proof);

/* "proved on DATE with VERSION (N trials)", "unproved ...", or what failed; of an engine that has this type and version now.
 * all NULL: there is nothing. False: it did not pass. */
bool engine_proof_text(const json_t *all, const char *engine, const char *type, const char *version,
                       char *ret, size_t size);
