/* See api_page.h. */
#include "cronsched/api/api_page.h"
#include "cronsched/http/http_form.h"
#include "cronsched/page/assets.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define THEME_COOKIE "cs_theme"

/* Nothing on a page runs or loads but what is of this server; what scripts may take for HTML goes through one place. */
#define POLICY                                                                                               \
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "    \
    "worker-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "                       \
    "require-trusted-types-for 'script'; trusted-types cronsched"

/* ---- who looks ---- */

static const char *theme_of(const char *word)
{
    if (word && strcmp(word, "light") == 0)
        return "light";
    return word && strcmp(word, "dark") == 0 ? "dark" : NULL;
}

struct page_view api_page_view(struct api *api, struct http_request *request, struct api_page_store *store)
{
    const struct api_context *c = &api->context;
    const struct auth_identity *who = http_caller(request);
    const char *raw = http_raw_target(request), *part = api_query_text(request, "part");
    size_t n = strcspn(raw, "?");

    snprintf(store->path, sizeof(store->path), "%.*s", n < sizeof(store->path) ? (int)n : 0, raw);
    if (strncmp(store->path, "/ui/", 4) != 0) /* what a form asked of the API is no page to come back to */
        snprintf(store->path, sizeof(store->path), "/ui/");
    snprintf(store->query, sizeof(store->query), "%s", raw[n] ? raw + n + 1 : "");
    return (struct page_view){
        .cluster = c->cluster,
        .replica = c->replica,
        .version = CRONSCHED_VERSION,
        .leader = scheduler_leader(c->scheduler),
        .leading = scheduler_leading(c->scheduler),
        .stale = c->cluster_ops && !scheduler_leading(c->scheduler) && !api_following(c),
        .index = scheduler_index(c->scheduler),
        .now_ms = c->wall_ms(c->arg),
        .who = who->role > AUTH_NOBODY ? who->name : NULL,
        .role = auth_role_name(who->role),
        .operates = who->role >= AUTH_OPERATE,
        .administers = who->role >= AUTH_ADMIN,
        .session = who->expires_s > 0,
        .theme = theme_of(
            http_cookie(http_header(request, "Cookie"), THEME_COOKIE, store->theme, sizeof(store->theme))),
        .path = store->path,
        .query = store->query,
        .part = part,
    };
}

/* ---- answers ---- */

void api_page_headers(struct http_request *request)
{
    http_reply_header(request, "Content-Security-Policy", POLICY);
    http_reply_header(request, "Referrer-Policy", "same-origin");
    http_reply_header(request, "Cross-Origin-Opener-Policy", "same-origin");
    http_reply_header(request, "Cross-Origin-Resource-Policy", "same-origin");
    http_reply_header(request, "Permissions-Policy",
                      "camera=(), geolocation=(), microphone=(), payment=(), usb=()");
    if (http_tls(request))
        http_reply_header(request, "Strict-Transport-Security", "max-age=31536000");
}

int api_page_text(struct api *api, struct http_request *request, const struct page *page, const char *title,
                  json_t *model, struct text *ret)
{
    struct api_page_store store;
    struct page_view view = api_page_view(api, request, &store);
    char *text;

    model = api_view(http_caller(request), model);
    text = model ? page_render(page, title, model, &view) : NULL;
    json_decref(model);
    if (!text)
        return ERR_NOMEM;
    text_add(ret, text);
    free(text);
    return ret->failed;
}

void api_page_reply(struct api *api, struct http_request *request, int status, const struct page *page,
                    const char *title, json_t *model)
{
    struct text text;

    text_init(&text, HTML_BYTES_MAX);
    api_page_headers(request);
    if (api_page_text(api, request, page, title, model, &text) < 0)
        http_reply_error(request, ERR_NOMEM, "out of memory");
    else
        http_reply_text(request, status, "text/html; charset=utf-8", text_str(&text));
    text_release(&text);
}

void api_page_problem(struct api *api, struct http_request *request, int status, const char *text,
                      const char *advice)
{
    api_page_reply(api, request, status, &page_problem, "Problem",
                   json_pack("{s:i,s:s,s:s?}", "status", status, "text", text, "advice", advice));
}

/* Who is nobody here may become somebody. */
void api_page_refused(struct http_request *request, void *arg, const struct error *error)
{
    struct api *api = OBJECT(struct api, arg);
    const struct auth_identity *who = http_caller(request);
    const char *next = strcmp(http_method(request), "GET") == 0 ? http_raw_target(request) : NULL;
    const char *why = who->challenge ? NULL : error->text;
    int status = who->challenge ? 401 : 403;

    if (who->role > AUTH_NOBODY || api_query_text(request, "part"))
        api_page_problem(api, request, status, error->text, NULL);
    else
        api_page_reply(api, request, status, &page_login, "Log in",
                       json_pack("{s:s?,s:s?}", "next", next, "error", why));
}

/* ---- small ones ---- */

static bool wants_html(struct http_request *request)
{
    const char *accept = http_header(request, "Accept");

    return accept && strstr(accept, "text/html");
}

static void handle_root(struct http_request *request, void *arg)
{
    if (wants_html(request))
        http_reply_redirect(request, "/ui/");
    else
        http_reply_error(request, ERR_NOT_FOUND, "there is nothing at this path");
}

static void handle_ui(struct http_request *request, void *arg)
{
    http_reply_redirect(request, "/ui/");
}

static void handle_nothing(struct http_request *request, void *arg)
{
    api_page_problem(OBJECT(struct api, arg), request, 404, "There is no such page.", NULL);
}

/* One of another version is answered with the own one, which nobody may keep: a page of an older replica goes on. */
static void handle_asset(struct http_request *request, void *arg)
{
    const struct asset *asset = assets_find(http_param(request, "name"));
    bool same = asset && strcmp(asset->hash, http_param(request, "hash")) == 0;

    if (!asset) {
        http_reply_error(request, ERR_NOT_FOUND, "there is no such file of the page");
        return;
    }
    http_reply_header(request, "Cache-Control", same ? "public, max-age=31536000, immutable" : "no-cache");
    http_reply_header(request, "Cross-Origin-Resource-Policy", "same-origin");
    http_reply_bytes(request, asset->type, asset->bytes, asset->size, asset->gzip, asset->gzip_size);
}

/* Back to a path of the page, wherever the form was; nothing else is a way out of here. */
void api_page_go_back(struct http_request *request)
{
    api_page_go_to(request, json_string_value(json_object_get(http_body(request), "next")));
}

void api_page_go_to(struct http_request *request, const char *next)
{
    bool ours = next && strncmp(next, "/ui/", 4) == 0 && strlen(next) < HTTP_TARGET_BYTES_MAX;

    for (const char *p = next; ours && *p; p++)
        ours = *p > ' ' && *p < 0x7f && *p != '\\'; /* as a browser sends a path */
    http_reply_redirect(request, ours ? next : "/ui/");
}

static void handle_theme(struct http_request *request, void *arg)
{
    const char *theme = theme_of(json_string_value(json_object_get(http_body(request), "theme")));
    int life_s = theme ? 31536000 : 0; /* 0: the cookie goes */
    char cookie[128];

    snprintf(cookie, sizeof(cookie), THEME_COOKIE "=%s; Path=/ui/; Max-Age=%d; HttpOnly; SameSite=Lax",
             theme ? theme : "", life_s);
    http_reply_header(request, "Set-Cookie", cookie);
    api_page_go_back(request);
}

/* ---- the table ---- */

#define PAGE(path, query, handle)                                                                            \
    {                                                                                                        \
        "GET", path, query, AUTH_READ, 0, handle, .refused = api_page_refused, .heavy = true                 \
    }
#define FORM(path, role, handle)                                                                             \
    {                                                                                                        \
        "POST", path, NULL, role, HTTP_BODY_BYTES_MAX, handle, .refused = api_page_refused, .form = true     \
    }

const struct http_route api_page_routes[] = {
    {"GET", "/", NULL, AUTH_NOBODY, 0, handle_root},
    {"GET", "/ui", NULL, AUTH_NOBODY, 0, handle_ui},
    PAGE("/ui/", "part", api_page_now),
    PAGE("/ui/jobs", "q,sort,order,limit,after,part", api_page_jobs),
    PAGE("/ui/jobs/{job}", "part", api_page_job),
    PAGE("/ui/runs", "q,job,state,verdict,cause,by,engine,since,until,limit,after,part", api_page_runs),
    PAGE("/ui/runs/{run}", "attempt,part", api_page_run),
    {"GET", "/ui/jobs/{job}/backfill", "from,to", AUTH_OPERATE, 0, api_page_backfill,
     .refused = api_page_refused},
    FORM("/ui/jobs/{job}/backfill", AUTH_OPERATE, api_page_backfill_post),
    {"GET", "/ui/jobs/{job}/trigger", "key,run", AUTH_OPERATE, 0, api_page_trigger,
     .refused = api_page_refused},
    FORM("/ui/jobs/{job}/trigger", AUTH_OPERATE, api_page_trigger_post),
    {"GET", "/ui/step-down", NULL, AUTH_ADMIN, 0, api_page_step_down, .refused = api_page_refused},
    FORM("/ui/step-down", AUTH_ADMIN, api_page_step_down_post),
    PAGE("/ui/tonight", "from,to,q", api_page_tonight),
    PAGE("/ui/explain", "job,time", api_page_explain),
    PAGE("/ui/audit", "since,until,job,kinds,after", api_page_audit),
    PAGE("/ui/cluster", "doctor", api_page_cluster),
    {"GET", "/ui/confirm", "action,jobs,run,key,next", AUTH_OPERATE, 0, api_page_confirm_again,
     .refused = api_page_refused},
    FORM("/ui/confirm", AUTH_OPERATE, api_page_confirm),
    FORM("/ui/act", AUTH_OPERATE, api_page_act),
    {"GET", "/ui/login", "next,code", AUTH_NOBODY, 0, api_page_login},
    FORM("/ui/login", AUTH_NOBODY, api_page_login_post),
    FORM("/ui/logout", AUTH_NOBODY, api_page_logout),
    FORM("/ui/theme", AUTH_NOBODY, handle_theme),
    {"GET", "/ui/a/{hash}/{name}", NULL, AUTH_NOBODY, 0, handle_asset},
    {"GET", "/ui/{a}", NULL, AUTH_NOBODY, 0, handle_nothing},
    {"GET", "/ui/{a}/{b}", NULL, AUTH_NOBODY, 0, handle_nothing},
};
const size_t api_page_route_count = sizeof(api_page_routes) / sizeof(api_page_routes[0]);
