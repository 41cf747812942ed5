/* Who is asking, and how browsers log in: by a token, or by a link that somebody who is known in another way asked for.
 *
 * A link holds a random code. Its digest, and who asked for it, are kept here for API_LINK_MS; opening the link shows a button, and
 * pressing that spends the code. So a program that follows links (a mail scanner, a preview) logs nobody in. Another replica does not
 * know the code, and says so.
 */
#include "cronsched/api/api_page.h"
#include "jobs/base/clock.h"
#include "jobs/base/hash.h"
#include "jobs/time/instant.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#define CODE_BYTES 16

/* ---- links ---- */

static const struct api_link *find_link(const struct api *api, const char *code)
{
    char digest[HASH_SHA256_HEX];

    hash_sha256_hex(code, strlen(code), digest);
    for (size_t i = 0; i < API_LINKS_MAX; i++)
        if (api->links[i].until_ms > clock_boot_ms() && strcmp(api->links[i].digest, digest) == 0)
            return &api->links[i];
    return NULL;
}

/* Twice in a row is one too many: the link is gone when it has been used. */
static bool spend_link(struct api *api, const char *code, struct auth_identity *ret)
{
    const struct api_link *link = find_link(api, code);

    if (!link)
        return false;
    *ret = link->who;
    api->links[link - api->links] = (struct api_link){0};
    return true;
}

/* Of many the oldest goes. */
static int new_link(struct api *api, const struct auth_identity *who, char ret_code[2 * CODE_BYTES + 1])
{
    struct api_link *link = &api->links[api->link_next++ % API_LINKS_MAX];
    unsigned char bytes[CODE_BYTES];

    if (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes))
        return ERR_IO;
    for (size_t i = 0; i < CODE_BYTES; i++)
        snprintf(ret_code + 2 * i, 3, "%02x", bytes[i]);
    *link = (struct api_link){.who = *who, .until_ms = clock_boot_ms() + API_LINK_MS};
    hash_sha256_hex(ret_code, strlen(ret_code), link->digest);
    return 0;
}

void api_handle_login_link(struct http_request *request, void *arg)
{
    struct api *api = OBJECT(struct api, arg);
    char base[300], code[2 * CODE_BYTES + 1], url[400];
    struct error e;

    if (api_body_check("link", http_body(request), NULL, 0, &e) < 0) {
        http_reply_failure(request, &e);
        return;
    }
    if (!http_url(api->http, base, sizeof(base))) {
        http_reply_error(
            request, ERR_CONFLICT,
            "a browser cannot reach this server: it listens at unix sockets alone; add 127.0.0.1:7460 to "
            "'listen'");
        return;
    }
    if (new_link(api, http_caller(request), code) < 0) {
        http_reply_error(request, ERR_IO, "cannot get random bytes");
        return;
    }
    snprintf(url, sizeof(url), "%s/ui/login?code=%s", base, code);
    http_reply_json(request, 200,
                    json_pack("{s:s,s:s,s:s,s:i}", "url", url, "name", http_caller(request)->name, "role",
                              auth_role_name(http_caller(request)->role), "expires_s", API_LINK_MS / 1000));
}

/* ---- who ---- */

static json_t *identity_json(const struct auth_identity *who)
{
    const char *via = who->via ? who->via : "unknown";
    char text[TEXT_NUMBER_BUFFER] = "";

    if (who->expires_s)
        instant_format(who->expires_s * 1000, INSTANT_S, text, sizeof(text));
    return json_pack("{s:s,s:s,s:s,s:[],s:n,s:s?}", "name", who->name, "via", via, "role",
                     auth_role_name(who->role), "scopes", "policy", "expires", text[0] ? text : NULL);
}

void api_handle_whoami(struct http_request *request, void *arg)
{
    http_reply_json(request, 200, identity_json(http_caller(request)));
}

/* A page of another site must not log anybody in, or out. */
static bool is_own_page(struct http_request *request, struct error *error)
{
    struct auth_claim claim = {.host = http_header(request, "Host"),
                               .origin = http_header(request, "Origin"),
                               .fetch_site = http_header(request, "Sec-Fetch-Site"),
                               .forwarded = http_header(request, "X-Forwarded-For") != NULL,
                               .tls = http_tls(request)};

    return auth_check_page(&claim, error) == 0;
}

static void begin_session(struct api *api, struct http_request *request, const struct auth_identity *who)
{
    char cookie[1024];

    http_reply_header(request, "Set-Cookie",
                      auth_session_begin(api->auth, who, http_tls(request), cookie, sizeof(cookie)));
}

static void end_session(struct api *api, struct http_request *request)
{
    char cookie[256];

    http_reply_header(request, "Set-Cookie",
                      auth_session_end(api->auth, http_tls(request), cookie, sizeof(cookie)));
}

/* ---- as JSON ---- */

void api_handle_session(struct http_request *request, void *arg)
{
    static const struct body_key keys[] = {{.name = "token", .type = BODY_TEXT, .needed = true, .most = 512}};
    struct api *api = OBJECT(struct api, arg);
    struct auth_identity who;
    struct error e;

    if (api_body_check("session", http_body(request), keys, 1, &e) < 0) {
        http_reply_failure(request, &e);
        return;
    }
    if (auth_by_token(api->auth, json_string_value(json_object_get(http_body(request), "token")), &who, &e) <
        0) {
        http_reply_problem(request, 401, &e, NULL);
        return;
    }
    begin_session(api, request, &who);
    http_reply_json(request, 200, identity_json(&who));
}

void api_handle_session_end(struct http_request *request, void *arg)
{
    end_session(OBJECT(struct api, arg), request);
    http_reply_json(request, 200, json_object());
}

/* ---- as pages ---- */

static json_t *login_model(const char *next, const char *code, const struct api_link *link, const char *error)
{
    if (!link)
        return json_pack("{s:s?,s:s?}", "next", next, "error", error);
    return json_pack("{s:s?,s:s,s:s,s:s}", "next", next, "code", code, "as", link->who.name, "role",
                     auth_role_name(link->who.role));
}

void api_page_login(struct http_request *request, void *arg)
{
    struct api *api = OBJECT(struct api, arg);
    const char *code = api_query_text(request, "code");
    const struct api_link *link = code ? find_link(api, code) : NULL;

    api_page_reply(api, request, 200, &page_login, "Log in",
                   login_model(api_query_text(request, "next"), code, link,
                               code && !link
                                   ? "This link has been used, is too old, or was made by another replica."
                                   : NULL));
}

static const char *field(struct http_request *request, const char *name)
{
    const char *text = json_string_value(json_object_get(http_body(request), name));

    return text && text[0] ? text : NULL;
}

void api_page_login_post(struct http_request *request, void *arg)
{
    struct api *api = OBJECT(struct api, arg);
    const char *code = field(request, "code"), *token = field(request, "token");
    struct auth_identity who = {0};
    struct error e = {0};
    bool good;

    if (!is_own_page(request, &e)) {
        api_page_problem(api, request, 403, e.text, NULL);
        return;
    }
    if (code)
        good = spend_link(api, code, &who);
    else
        good = auth_by_token(api->auth, token ? token : "", &who, &e) == 0;
    if (good) {
        begin_session(api, request, &who);
        api_page_go_back(request);
        return;
    }
    api_page_reply(
        api, request, 401, &page_login, "Log in",
        login_model(field(request, "next"), NULL, NULL,
                    code ? "This link has been used, is too old, or was made by another replica." : e.text));
}

void api_page_logout(struct http_request *request, void *arg)
{
    struct api *api = OBJECT(struct api, arg);
    struct error e;

    if (is_own_page(request, &e))
        end_session(api, request);
    http_reply_header(request, "Clear-Site-Data", "\"cache\"");
    http_reply_redirect(request, "/ui/login");
}
