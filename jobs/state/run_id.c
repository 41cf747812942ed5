#include "jobs/state/run_id.h"

#include "jobs/base/error.h"
#include "jobs/base/text.h"
#include "jobs/time/instant.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

const char *run_id_format(const char *job, int64_t at_ms, bool has_ms, char ret[RUN_ID_MAX])
{
    char time[TEXT_NUMBER_BUFFER];

    assert(has_ms || at_ms % 1000 == 0);
    instant_format(at_ms, has_ms ? INSTANT_BASIC_MS : INSTANT_BASIC_S, time, sizeof(time));
    snprintf(ret, RUN_ID_MAX, "%s@%s", job, time);
    return ret;
}

int run_id_parse(const char *id, char ret_job[RUN_ID_MAX], int64_t *ret_at_ms, bool *ret_has_ms)
{
    const char *at = strchr(id, '@');
    int64_t ms;

    if (!at || at == id || strlen(id) >= RUN_ID_MAX || instant_parse_basic(at + 1, &ms, NULL) < 0)
        return ERR_INVALID;
    memcpy(ret_job, id, (size_t)(at - id));
    ret_job[at - id] = '\0';
    *ret_at_ms = ms;
    *ret_has_ms = strchr(at, '.') != NULL;
    return 0;
}
