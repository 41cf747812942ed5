/* The pages of runs and of one job: the models of page_runs and page_job. */
#include "cronsched/api/api_page.h"
#include "cronsched/api/api_run_list.h"
#include "jobs/base/near.h"

#include <stdlib.h>
#include <string.h>

#define ROWS_MAX 200
#define JOB_RUNS 50

/* All of a choice: a page has few. */
static json_t *take_all(struct run_choice *choice)
{
    json_t *rows = json_array();

    for (bool end = false; !end;) {
        json_t *row = api_runs_take(choice, &end);

        if (row)
            json_array_append_new(rows, row);
    }
    while (!api_runs_release(choice))
        ;
    return rows;
}

/* ---- the list ---- */

static json_t *runs_model(struct http_request *request)
{
    return json_pack("{s:s?,s:s?,s:s?}", "q", api_query_text(request, "q"), "since",
                     api_query_text(request, "since"), "until", api_query_text(request, "until"));
}

static void runs_have(struct api *api, struct http_request *request, struct run_choice *choice,
                      const struct run_query *query)
{
    json_t *model = runs_model(request);

    if (choice->more)
        json_object_set_new(model, "next", json_string(choice->next));
    json_object_set_new(model, "runs", take_all(choice));
    api_page_reply(api, request, 200, &page_runs, "Runs", model);
}

static void runs_then(struct api *api, struct http_request *request)
{
    struct run_asked asked = {.then = runs_have};
    struct error e;

    if (api_run_query_init(&asked.query, request, API_PAGE_ROWS, ROWS_MAX, &e) < 0) {
        json_t *model = runs_model(request);

        json_object_set_new(model, "error", json_string(e.text));
        api_page_reply(api, request, 400, &page_runs, "Runs", model);
        return;
    }
    api_runs_ask(api, request, &asked);
}

void api_page_runs(struct http_request *request, void *arg)
{
    api_read(OBJECT(struct api, arg), request, runs_then);
}

/* ---- one job ---- */

/* The definition as the caller may see it. */
static json_t *definition_text(struct http_request *request, const json_t *job)
{
    json_t *def = api_view(http_caller(request), json_incref(json_object_get(job, "def"))), *json;
    char *text = json_dumps(def, JSON_INDENT(2));

    json_decref(def);
    json = json_string(text ? text : "");
    free(text);
    return json;
}

static void job_have_runs(struct api *api, struct http_request *request, struct run_choice *choice,
                          const struct run_query *query)
{
    const char *name = http_param(request, "job");
    json_t *job = scheduler_job_json(api->context.scheduler, name), *runs = take_all(choice);
    char hint[NEAR_HINT_BUFFER], text[400];

    if (job) {
        api_page_reply(
            api, request, 200, &page_job, name,
            json_pack("{s:o,s:o,s:o}", "text", definition_text(request, job), "job", job, "runs", runs));
        return;
    }
    json_decref(runs);
    snprintf(text, sizeof(text), "There is no job %.100s%s", name,
             near_hint(scheduler_near_job(api->context.scheduler, name), hint, sizeof(hint)));
    api_page_problem(api, request, 404, text, "A job that was deleted has its runs in the list of runs.");
}

static void job_then(struct api *api, struct http_request *request)
{
    struct run_asked asked = {.query = {.job = http_param(request, "job"), .limit = JOB_RUNS},
                              .then = job_have_runs};

    api_runs_ask(api, request, &asked);
}

void api_page_job(struct http_request *request, void *arg)
{
    api_read(OBJECT(struct api, arg), request, job_then);
}
