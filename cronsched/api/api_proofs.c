#include "cronsched/api/api_priv.h"
#include "cronsched/io/file.h"
#include "jobs/engine/engine_proof.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void api_proofs_read(const char *dir, char *ret, size_t size)
{
    char path[4200], *data;
    size_t n;

    ret[0] = '\0';
    snprintf(path, sizeof(path), "%s/" ENGINE_PROOF_FILE, dir);
    if (file_read(path, size - 1, FILE_REGULAR, &data, &n, NULL) < 0)
        return;
    memcpy(ret, data, n);
    ret[n] = '\0';
    free(data);
}

bool api_proofs_tell(const json_t *proofs, const struct engine *engine, const struct engine_status *status,
                     char *ret, size_t size)
{
    char text[256];
    bool passed;

    ret[0] = '\0';
    if (!status->reachable || !status->guarantee)
        return true;
    passed = engine_proof_text(proofs, engine->name, engine->type, status->version, text, sizeof(text));
    snprintf(ret, size, "; %s, %s", status->guarantee, text);
    return passed;
}
