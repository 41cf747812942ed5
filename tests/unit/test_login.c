/* Logging in: by a token, by a link that is good once, and what pages of other sites cannot do with it. */
#include "cronsched/api/api_priv.h"
#include "tests/support/api_fixture.h"

#define PLAIN(f) cmocka_unit_test_setup_teardown(f, set_up_plain, tear_down)

static char token[AUTH_TOKEN_SIZE], file[100];

static void start_with_token(enum auth_role role)
{
    char line[AUTH_LINE_SIZE];
    static struct api_options o;
    struct error e;
    int fd;

    assert_int_equal(auth_token_new("alice", role, token, line, &e), 0);
    snprintf(file, sizeof(file), "%s/tokens", dir);
    fd = open(file, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_int_equal(write(fd, line, strlen(line)), (ssize_t)strlen(line));
    close(fd);
    o = (struct api_options){.tokens_file = file};
    start_api(&o);
}

/* Over TCP, where nobody is anybody without a token or a session. */
static struct reply ask_tcp(const char *what, const char *headers, const char *body)
{
    char request[4096];

    snprintf(request, sizeof(request), "%s HTTP/1.1\r\nHost: localhost\r\n%sContent-Length: %zu\r\n\r\n%s",
             what, headers, strlen(body), body);
    return client_exchange(&loop, tcp_address, request);
}

#define FORM "Content-Type: application/x-www-form-urlencoded\r\n"
#define OURS "Sec-Fetch-Site: same-origin\r\nOrigin: http://localhost\r\n"

static void assert_status(const char *what, const char *headers, const char *body, int status)
{
    struct reply r = ask_tcp(what, headers, body);

    if (r.status != status)
        fail_msg("%s: %d, not %d: %s", what, r.status, status, r.body);
    reply_release(&r);
}

/* "Cookie: NAME=VALUE" from the answer's Set-Cookie. */
static void keep_cookie(const struct reply *r, char *ret, size_t size)
{
    char value[1024];

    assert_non_null(client_header(r, "Set-Cookie", value, sizeof(value)));
    assert_non_null(strstr(value, "; HttpOnly; SameSite=Lax"));
    assert_true(strncmp(value, "cronsched-", 10) == 0);
    snprintf(ret, size, "Cookie: other=1; %.*s\r\n", (int)strcspn(value, ";"), value);
}

static void login(char *ret_cookie, size_t size)
{
    char body[256];
    struct reply r;

    snprintf(body, sizeof(body), "token=%s&next=%%2Fui%%2Fjobs%%3Fq%%3Da%%2526b", token);
    r = ask_tcp("POST /ui/login", FORM OURS, body);
    assert_int_equal(r.status, 303);
    {
        char value[256];

        assert_string_equal(client_header(&r, "Location", value, sizeof(value)), "/ui/jobs?q=a%26b");
    }
    keep_cookie(&r, ret_cookie, size);
    reply_release(&r);
}

static void test_a_token_logs_in_and_its_line_out(void **state)
{
    char cookie[1200], both[1400];
    struct reply r;
    int fd;

    start_with_token(AUTH_OPERATE);
    assert_status("GET /ui/jobs", "", "", 401);
    login(cookie, sizeof(cookie));
    assert_status("GET /ui/jobs", cookie, "", 200);
    r = ask_tcp("GET /v1/whoami", cookie, "");
    assert_non_null(strstr(r.body, "\"name\":\"token:alice\",\"via\":\"session\",\"role\":\"operate\""));
    reply_release(&r);
    /* what changes something comes from a page of this server */
    snprintf(both, sizeof(both), "%s" OURS, cookie);
    assert_status("POST /v1/jobs/nightly/trigger", both, "", 200);
    snprintf(both, sizeof(both), "%sOrigin: http://localhost\r\n", cookie); /* an old browser */
    assert_status("POST /v1/jobs/nightly/trigger", both, "", 200);
    assert_status("POST /v1/jobs/nightly/trigger", cookie, "", 403);
    snprintf(both, sizeof(both), "%sSec-Fetch-Site: cross-site\r\nOrigin: http://evil.example\r\n", cookie);
    assert_status("POST /v1/jobs/nightly/trigger", both, "", 403);
    snprintf(both, sizeof(both), "%sSec-Fetch-Site: same-site\r\n", cookie);
    assert_status("POST /v1/jobs/nightly/trigger", both, "", 403);
    snprintf(both, sizeof(both), "%sOrigin: https://localhost\r\n", cookie);
    assert_status("POST /v1/jobs/nightly/trigger", both, "", 403);
    /* the role is that of the token */
    snprintf(both, sizeof(both), "%s" OURS, cookie);
    assert_status("DELETE /v1/jobs/nightly", both, "", 403);
    snprintf(both, sizeof(both), "%s" OURS FORM, cookie);
    assert_status("POST /ui/jobs/nightly/trigger", both, "key=k&name=a&value=b&name=&value=", 303);
    assert_string_equal(fake.asked,
                        "trigger nightly {\"key\":\"k\",\"params\":{\"a\":\"b\"}} by token:alice");
    assert_status("POST /ui/step-down", both, "", 403);
    assert_status("GET /ui/step-down", cookie, "", 403);
    snprintf(both, sizeof(both), "%sSec-Fetch-Site: cross-site\r\nOrigin: http://evil.example\r\n" FORM,
             cookie);
    assert_status("POST /ui/jobs/nightly/trigger", both, "key=k", 403);
    assert_status("POST /ui/jobs/nightly/backfill", both, "from=2026-11-01T00:00:00Z&to=2026-11-02T00:00:00Z",
                  403);
    fd = open(file, O_WRONLY | O_TRUNC);
    close(fd);
    assert_int_equal(api_reload(api, NULL), 0);
    assert_status("GET /ui/jobs", cookie, "", 401);
}

static void test_what_is_no_cookie_of_ours_harms_nothing(void **state)
{
    char cookie[1200], headers[2000];

    start_with_token(AUTH_READ);
    assert_status("GET /ui/jobs", "Cookie: cronsched-00000000=v1.admin.0.0.9999999999.61.00\r\n", "", 401);
    assert_status("GET /ui/jobs", "Cookie: ;;;=;\"a;b\"=x\r\n", "", 401);
    login(cookie, sizeof(cookie));
    cookie[strlen(cookie) - 3] ^= 1;
    assert_status("GET /ui/jobs", cookie, "", 401);
    snprintf(headers, sizeof(headers), "%sAuthorization: Bearer %s\r\n", cookie,
             token); /* a token is enough */
    assert_status("GET /v1/jobs", headers, "", 200);
}

static void test_wrong_logins_say_so(void **state)
{
    struct reply r;

    start_with_token(AUTH_READ);
    r = ask_tcp("POST /ui/login", FORM OURS, "token=cs_wrong&next=//evil.example/");
    assert_int_equal(r.status, 401);
    assert_non_null(strstr(r.body, "the token is unknown"));
    assert_null(strstr(r.body, "cs_wrong"));
    reply_release(&r);
    assert_status("POST /ui/login", FORM, "token=x", 403); /* from nowhere */
    assert_status("POST /ui/login", "Content-Type: application/json\r\n" OURS, "{}", 415);
    assert_status("POST /v1/session", "Content-Type: application/json\r\n" OURS, "{\"token\":\"cs_x\"}", 401);
}

/* `next` never leads elsewhere. */
static void test_nobody_is_sent_away(void **state)
{
    static const char *const bad[] = {
        "//evil.example/", "https://evil.example/",       "/%5C%5Cevil.example",   "javascript:x", "",
        "/v1/jobs",        "/ui/%0d%0aSet-Cookie:%20x=y", "/ui/%5C%5Cevil.example"};

    start_with_token(AUTH_READ);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char body[256], value[256];
        struct reply r;

        snprintf(body, sizeof(body), "token=%s&next=%s", token, bad[i]);
        r = ask_tcp("POST /ui/login", FORM OURS, body);
        assert_string_equal(client_header(&r, "Location", value, sizeof(value)), "/ui/");
        reply_release(&r);
    }
}

static void test_a_link_logs_in_once(void **state)
{
    char url[256], code[64], what[256], body[128], cookie[1200];
    struct reply r;
    json_t *link;

    start_with_token(AUTH_READ);
    r = ask("POST /v1/session/link", "{}"); /* over the unix socket: root */
    assert_int_equal(r.status, 200);
    link = body_of(&r);
    assert_string_equal(json_string_value(json_object_get(link, "role")), "admin");
    snprintf(url, sizeof(url), "%s", json_string_value(json_object_get(link, "url")));
    json_decref(link);
    reply_release(&r);
    assert_non_null(strstr(url, tcp_address));
    snprintf(code, sizeof(code), "%s", strstr(url, "code=") + 5);
    snprintf(what, sizeof(what), "GET /ui/login?code=%s", code);
    for (int i = 0; i < 2; i++) { /* to look at it spends nothing */
        r = ask_tcp(what, "", "");
        assert_non_null(strstr(r.body, "asked for by <strong>unix:root"));
        assert_null(strstr(r.headers, "Set-Cookie"));
        reply_release(&r);
    }
    snprintf(body, sizeof(body), "code=%s", code);
    r = ask_tcp("POST /ui/login", FORM OURS, body);
    assert_int_equal(r.status, 303);
    keep_cookie(&r, cookie, sizeof(cookie));
    reply_release(&r);
    r = ask_tcp("GET /v1/whoami", cookie, "");
    assert_non_null(strstr(r.body, "\"name\":\"unix:root\",\"via\":\"session\",\"role\":\"admin\""));
    reply_release(&r);
    assert_status("POST /ui/login", FORM OURS, body, 401);
    assert_status(what, "", "", 200);
    assert_status("POST /ui/login", FORM OURS, "code=00000000000000000000000000000000", 401);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLAIN(test_a_token_logs_in_and_its_line_out),
        PLAIN(test_what_is_no_cookie_of_ours_harms_nothing),
        PLAIN(test_wrong_logins_say_so),
        PLAIN(test_nobody_is_sent_away),
        PLAIN(test_a_link_logs_in_once),
    };

    return cmocka_run_group_tests_name("login", tests, NULL, NULL);
}
