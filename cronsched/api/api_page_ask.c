/* Pages made of answers of the API: see api_page.h. */
#include "cronsched/api/api_page.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct asking {
    struct object object; /* first */
    struct api *api;
    const struct page *page;
    const char *title;
    json_t *model;
    char *keys[API_PAGE_QUESTIONS_MAX], *targets[API_PAGE_QUESTIONS_MAX];
    size_t count, at;
};

static void asking_free(void *arg)
{
    struct asking *a = OBJECT(struct asking, arg);

    for (size_t i = 0; i < a->count; i++) {
        free(a->keys[i]);
        free(a->targets[i]);
    }
    json_decref(a->model);
    OBJECT_FREE(struct asking, a);
}

static void reply(struct asking *a, struct http_request *request, int status)
{
    json_t *model = a->model;

    a->model = NULL;
    api_page_reply(a->api, request, status, a->page, a->title, model);
}

static void ask(struct asking *a, struct http_request *request);

static void on_answer(struct http_request *request, int status, const json_t *answer, void *arg)
{
    struct asking *a = OBJECT(struct asking, arg);

    if (status >= 300) {
        const char *text = api_text(json_object_get(answer, "error"), "text");

        json_object_set_new(a->model, "error", json_string(text[0] ? text : "there is no answer"));
        reply(a, request, status);
        return;
    }
    json_object_set(a->model, a->keys[a->at], (json_t *)(uintptr_t)answer);
    if (++a->at < a->count)
        ask(a, request);
    else
        reply(a, request, 200);
}

static void ask(struct asking *a, struct http_request *request)
{
    struct http_detour detour = {
        .method = "GET", .target = a->targets[a->at], .then = on_answer, .release = asking_free, .arg = a};

    http_go_on_as(request, &detour);
}

void api_page_ask(struct api *api, struct http_request *request, const struct page *page, const char *title,
                  json_t *model, const struct api_page_question *questions, size_t count)
{
    struct asking *a = model ? calloc(1, sizeof(*a)) : NULL;
    bool whole = a != NULL;

    assert(count <= API_PAGE_QUESTIONS_MAX);
    if (count == 0) {
        free(a);
        api_page_reply(api, request, 200, page, title, model);
        return;
    }
    if (!a) {
        json_decref(model);
        http_reply_error(request, ERR_NOMEM, "out of memory");
        return;
    }
    OBJECT_INIT(struct asking, a);
    *a = (struct asking){
        .object = a->object, .api = api, .page = page, .title = title, .model = model, .count = count};
    for (size_t i = 0; i < count; i++) {
        a->keys[i] = strdup(questions[i].key);
        a->targets[i] = strdup(questions[i].target);
        whole = whole && a->keys[i] && a->targets[i];
    }
    if (whole) {
        ask(a, request);
        return;
    }
    asking_free(a);
    http_reply_error(request, ERR_NOMEM, "out of memory");
}
