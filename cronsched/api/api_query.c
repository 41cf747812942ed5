/* Query keys and ids as handlers need them; what is wrong is answered here. */
#include "cronsched/api/api_priv.h"
#include "jobs/base/duration.h"
#include "jobs/base/near.h"
#include "jobs/definition/job.h"
#include "jobs/state/record.h"
#include "jobs/state/run_id.h"
#include "jobs/time/instant.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

const char *api_query_text(struct http_request *request, const char *name)
{
    const char *text = http_query(request, name);

    return text && text[0] ? text : NULL;
}

bool api_query_duration(struct http_request *request, const char *name, int64_t *ret_ms)
{
    const char *text = api_query_text(request, name);
    struct error e;

    if (!text || duration_parse(text, ret_ms, &e) == 0)
        return true;
    http_reply_error(request, ERR_INVALID, "%s: %s", name, e.text);
    return false;
}

bool api_query_time(struct http_request *request, const char *name, int64_t *ret_ms)
{
    const char *text = api_query_text(request, name);
    struct error e;

    if (!text || instant_parse(text, ret_ms, &e) == 0)
        return true;
    http_reply_error(request, ERR_INVALID, "%s: %s", name, e.text);
    return false;
}

bool api_query_int(struct http_request *request, const char *name, int least, int most, int *ret)
{
    const char *text = api_query_text(request, name);
    char *end;
    long n;

    if (!text)
        return true;
    errno = 0;
    n = strtol(text, &end, 10);
    if (end == text || *end || errno || n < least || n > most) {
        http_reply_error(request, ERR_INVALID, "%s: '%.32s' is not a whole number from %d to %d", name, text,
                         least, most);
        return false;
    }
    *ret = (int)n;
    return true;
}

bool api_query_word(struct http_request *request, const char *name, const char *const *words, size_t count,
                    const char **ret)
{
    const char *text = api_query_text(request, name);
    char hint[NEAR_HINT_BUFFER];

    if (!text)
        return true;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(words[i], text) == 0) {
            *ret = words[i];
            return true;
        }
    }
    http_reply_error(request, ERR_INVALID, "%s: there is no '%.32s'%s", name, text,
                     near_hint(near_find(text, words, count), hint, sizeof(hint)));
    return false;
}

bool api_param_run(struct http_request *request, const char *run)
{
    char job[RUN_ID_MAX];
    int64_t at_ms;
    bool has_ms;

    if (run_id_parse(run, job, &at_ms, &has_ms) == 0 && job_name_valid(job))
        return true;
    http_reply_error(request, ERR_INVALID, "'%.128s' is not a run id (JOB@20261122T030000Z)", run);
    return false;
}
