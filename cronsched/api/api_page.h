/* The page's routes: who looks at what, in which model. What it looks like is in cronsched/page. Only the API includes this. */
#pragma once

#include "cronsched/api/api_priv.h"
#include "cronsched/page/page.h"

/* Beside api_routes: /ui/..., for people. */
extern const struct http_route api_page_routes[];
extern const size_t api_page_route_count;

#define API_PAGE_BYTES_MAX (1024 * 1024) /* of a page that is no stream */
#define API_PAGE_ROWS      100           /* of a list, unless the reader asks for another number up to 200 */

/* The view of this request; its texts live as long as the request and the store. */
struct api_page_store {
    char path[512], query[4096], theme[8];
};
struct page_view api_page_view(struct api *api, struct http_request *request, struct api_page_store *store);

/* The headers that every page has. Once, before the reply. */
void api_page_headers(struct http_request *request);

/* Renders and answers. Takes the model; NULL: no memory. */
void api_page_reply(struct api *api, struct http_request *request, int status, const struct page *page,
                    const char *title, json_t *model);
/* The same, as text: for answers that are made in pieces. Takes the model. ERR_NOMEM. */
int api_page_text(struct api *api, struct http_request *request, const struct page *page, const char *title,
                  json_t *model, struct text *ret);
/* 303 to where the form `next` says, if that is a page of this server. */
void api_page_go_back(struct http_request *request);
void api_page_go_to(struct http_request *request, const char *next); /* likewise; NULL: to the first page */
/* A page made of answers of the API (api_page_ask.c): each question is a GET by the caller of the page, one after the other. The model,
 * which is taken, gets each answer under its key. Where one fails it gets the text of the error as "error", and the page has
 * that status; the questions behind it are not asked. They are borrowed during the call. */
struct api_page_question {
    const char *key, *target;
};
#define API_PAGE_QUESTIONS_MAX 4
void api_page_ask(struct api *api, struct http_request *request, const struct page *page, const char *title,
                  json_t *model, const struct api_page_question *questions, size_t count);

/* What went wrong, as a page. */
void api_page_problem(struct api *api, struct http_request *request, int status, const char *text,
                      const char *advice);
void api_page_refused(struct http_request *request, void *arg, const struct error *error);

/* ---- the handlers ---- */
void api_page_now(struct http_request *request, void *arg);
void api_page_jobs(struct http_request *request, void *arg);
void api_page_job(struct http_request *request, void *arg);
void api_page_runs(struct http_request *request, void *arg);
void api_page_run(struct http_request *request, void *arg);
void api_page_confirm(struct http_request *request, void *arg);
void api_page_confirm_again(struct http_request *request, void *arg);
void api_page_act(struct http_request *request, void *arg);
void api_page_cluster(struct http_request *request, void *arg);
void api_page_backfill(struct http_request *request, void *arg);
void api_page_backfill_post(struct http_request *request, void *arg);
void api_page_trigger(struct http_request *request, void *arg);
void api_page_trigger_post(struct http_request *request, void *arg);
void api_page_step_down(struct http_request *request, void *arg);
void api_page_step_down_post(struct http_request *request, void *arg);
void api_page_tonight(struct http_request *request, void *arg);
void api_page_explain(struct http_request *request, void *arg);
void api_page_audit(struct http_request *request, void *arg);
void api_page_login(struct http_request *request, void *arg);
void api_page_login_post(struct http_request *request, void *arg);
void api_page_logout(struct http_request *request, void *arg);
