/* Forms that need more than names: a backfill, a run with parameters, stepping down. Each has a page of its own, which says what will
 * happen; its button sends a request of the API by the same caller (http_go_on_as).
 */
#include "cronsched/api/api_page.h"
#include "jobs/base/percent.h"
#include "jobs/state/run_id.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define TARGET_BYTES_MAX (4 * HTTP_TARGET_BYTES_MAX)

/* One request of the API, and what comes after it. */
struct form_call {
    struct object object; /* first */
    struct api *api;
    const struct page *page;
    const char *title, *key; /* key: of the answer in the model */
    char *go_to;             /* where to when it succeeded; NULL: the page, with the answer */
    json_t *model;
};

static void call_free(void *arg)
{
    struct form_call *c = OBJECT(struct form_call, arg);

    json_decref(c->model);
    free(c->go_to);
    OBJECT_FREE(struct form_call, c);
}

static void go_on(const struct form_call *c, struct http_request *request, const json_t *answer)
{
    struct text path;

    text_init(&path, TARGET_BYTES_MAX);
    text_add(&path, c->go_to);
    if (strcmp(c->go_to, "/ui/runs/") == 0)
        percent_add(&path, api_text(answer, "run"));
    api_page_go_to(request, text_str(&path));
    text_release(&path);
}

static void on_answer(struct http_request *request, int status, const json_t *answer, void *arg)
{
    struct form_call *c = OBJECT(struct form_call, arg);
    const char *text = api_text(json_object_get(answer, "error"), "text");
    json_t *model = c->model;

    if (status < 300 && c->go_to) {
        go_on(c, request, answer);
        return;
    }
    c->model = NULL;
    if (status >= 300)
        json_object_set_new(model, "error", json_string(text[0] ? text : "there is no answer"));
    else
        json_object_set(model, c->key, (json_t *)(uintptr_t)answer);
    api_page_reply(c->api, request, status < 300 ? 200 : status, c->page, c->title, model);
}

/* Takes model and body. */
static void call(struct http_request *request, const struct form_call *with, const char *method,
                 const char *target, json_t *body)
{
    struct form_call *c = calloc(1, sizeof(*c));
    struct http_detour detour = {
        .method = method, .target = target, .body = body, .then = on_answer, .release = call_free, .arg = c};

    if (!c) {
        json_decref(with->model);
        json_decref(body);
        http_reply_error(request, ERR_NOMEM, "out of memory");
        return;
    }
    OBJECT_INIT(struct form_call, c);
    c->api = with->api;
    c->page = with->page;
    c->title = with->title;
    c->key = with->key;
    c->model = with->model;
    c->go_to = with->go_to ? strdup(with->go_to) : NULL;
    http_go_on_as(request, &detour);
}

static const char *sent(struct http_request *request, const char *name)
{
    return api_text(http_body(request), name);
}

static void job_target(struct text *target, const char *before, const char *job, const char *after)
{
    text_init(target, TARGET_BYTES_MAX);
    text_add(target, before);
    percent_add(target, job);
    text_add(target, after);
}

/* ---- backfill ---- */

static json_t *backfill_body(const char *from, const char *to, bool dry_run)
{
    return json_pack("{s:s,s:s,s:b}", "from", from, "to", to, "dry_run", dry_run);
}

/* With a span: which fire times it has that have no run. */
void api_page_backfill(struct http_request *request, void *arg)
{
    const char *from = api_query_text(request, "from"), *to = api_query_text(request, "to");
    const char *job = http_param(request, "job");
    json_t *model = json_pack("{s:s,s:s?,s:s?}", "job", job, "from", from, "to", to);
    struct form_call c = {.api = OBJECT(struct api, arg),
                          .page = &page_backfill,
                          .title = "Backfill",
                          .key = "plan",
                          .model = model};
    struct text target;

    if (!from || !to) {
        api_page_reply(c.api, request, 200, c.page, c.title, model);
        return;
    }
    job_target(&target, "/v1/jobs/", job, "/backfill");
    call(request, &c, "POST", text_str(&target), backfill_body(from, to, true));
    text_release(&target);
}

/* Pressed twice it does nothing the second time: all have a run then. */
void api_page_backfill_post(struct http_request *request, void *arg)
{
    const char *job = http_param(request, "job");
    json_t *model =
        json_pack("{s:s,s:s,s:s}", "job", job, "from", sent(request, "from"), "to", sent(request, "to"));
    struct form_call c = {
        .api = OBJECT(struct api, arg), .page = &page_backfill, .title = "Backfill", .model = model};
    json_t *body = backfill_body(sent(request, "from"), sent(request, "to"), false);
    struct text target, page;

    job_target(&target, "/v1/jobs/", job, "/backfill");
    job_target(&page, "/ui/jobs/", job, "");
    c.go_to = (char *)(uintptr_t)text_str(&page);
    call(request, &c, "POST", text_str(&target), body);
    text_release(&target);
    text_release(&page);
}

/* ---- a run with parameters ---- */

/* The key is in the address: "back" and its button do nothing twice. */
static void go_to_key(struct http_request *request)
{
    const char *run = api_query_text(request, "run");
    struct text target;
    uint64_t random[2] = {0};

    if (getrandom(random, sizeof(random), 0) != sizeof(random))
        random[0] = uv_hrtime();
    job_target(&target, "/ui/jobs/", http_param(request, "job"), "/trigger");
    text_addf(&target, "?key=page-%016" PRIx64 "%016" PRIx64 "&run=", random[0], random[1]);
    percent_add(&target, run ? run : "");
    http_reply_redirect(request, text_str(&target));
    text_release(&target);
}

/* With a run: its parameters, to be used again. */
void api_page_trigger(struct http_request *request, void *arg)
{
    const char *key = api_query_text(request, "key"), *run = api_query_text(request, "run");
    struct form_call c = {
        .api = OBJECT(struct api, arg), .page = &page_trigger, .title = "Trigger", .key = "run"};
    struct text target;

    if (!key) {
        go_to_key(request);
        return;
    }
    c.model = json_pack("{s:s,s:s}", "job", http_param(request, "job"), "key", key);
    if (!run) {
        api_page_reply(c.api, request, 200, c.page, c.title, c.model);
        return;
    }
    job_target(&target, "/v1/runs/", run, "");
    call(request, &c, "GET", text_str(&target), NULL);
    text_release(&target);
}

/* Pairs of the fields `name` and `value`, of which there are several; a pair without a name is none. */
static json_t *params_of(const json_t *form)
{
    const json_t *names = json_object_get(form, "name"), *values = json_object_get(form, "value"), *name;
    json_t *params = json_object();
    size_t i;

    json_array_foreach(names, i, name)
    {
        json_t *value = json_array_get(values, i);

        if (json_string_length(name) && value)
            json_object_set(params, json_string_value(name), value);
    }
    return params;
}

void api_page_trigger_post(struct http_request *request, void *arg)
{
    const char *job = http_param(request, "job");
    json_t *params = params_of(http_body(request)), *body = json_object(), *model;
    struct form_call c = {.api = OBJECT(struct api, arg),
                          .page = &page_trigger,
                          .title = "Trigger",
                          .go_to = (char *)(uintptr_t) "/ui/runs/"};
    struct text target;

    model = json_pack("{s:s,s:s,s:{s:O}}", "job", job, "key", sent(request, "key"), "run", "params", params);
    if (json_object_size(params))
        json_object_set(body, "params", params);
    if (sent(request, "key")[0])
        json_object_set_new(body, "key", json_string(sent(request, "key")));
    json_decref(params);
    c.model = model;
    job_target(&target, "/v1/jobs/", job, "/trigger");
    call(request, &c, "POST", text_str(&target), body);
    text_release(&target);
}

/* ---- stepping down ---- */

void api_page_step_down(struct http_request *request, void *arg)
{
    api_page_reply(OBJECT(struct api, arg), request, 200, &page_step_down, "Step down", json_object());
}

void api_page_step_down_post(struct http_request *request, void *arg)
{
    struct form_call c = {.api = OBJECT(struct api, arg),
                          .page = &page_step_down,
                          .title = "Step down",
                          .go_to = (char *)(uintptr_t) "/ui/cluster",
                          .model = json_object()};

    call(request, &c, "POST", "/v1/cluster/step-down", NULL);
}
