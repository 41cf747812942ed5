/* One run: what became of it, and its end by hand. The list of runs is in api_run_list.c. */
#include "cronsched/api/api_priv.h"

#include <string.h>

json_t *api_find_run(json_t *runs, const char *id)
{
    json_t *run;
    size_t i;

    if (json_is_object(runs))
        return strcmp(api_text(runs, "run"), id) == 0 ? runs : NULL;
    json_array_foreach(runs, i, run) if (strcmp(api_text(run, "run"), id) == 0) return run;
    return NULL;
}

static void run_have(struct api *api, struct http_request *request, json_t *stored, json_t *more)
{
    const char *id = http_param(request, "run");
    json_t *run = api_find_run(stored, id);

    if (run)
        http_reply_json(request, 200, json_incref(run));
    else if (!api_pass_on(api, request))
        http_reply_error(request, ERR_NOT_FOUND, "no run %s", id);
}

static void run_then(struct api *api, struct http_request *request)
{
    struct history_query query = {.kind = HISTORY_RUN, .run = http_param(request, "run")};
    json_t *run = scheduler_run_json(api->context.scheduler, query.run);

    if (run)
        http_reply_json(request, 200, run);
    else
        api_query(api, request, &query, run_have, NULL);
}

void api_handle_run(struct http_request *request, void *arg)
{
    if (api_param_run(request, http_param(request, "run")))
        api_read(OBJECT(struct api, arg), request, run_then);
}

void api_handle_kill(struct http_request *request, void *arg)
{
    struct api *api = OBJECT(struct api, arg);
    struct scheduler_result result = {0};
    int r = api_body_check("kill", http_body(request), NULL, 0, &result.error);

    if (r == 0)
        r = scheduler_kill(api->context.scheduler, http_param(request, "run"), http_caller(request)->name,
                           &result);
    api_write_result(api, request, r, &result);
}
