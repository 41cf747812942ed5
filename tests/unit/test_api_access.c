/* Who may what: every route as each caller, and what outlives the right to it. */
#include "tests/support/api_fixture.h"

#include "cronsched/api/api_page.h"

#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* Tokens "t0", "t1", ... of these roles, in the file of the tests. */
static void write_tokens(char *file, size_t size, const enum auth_role *roles, size_t count,
                         char (*ret_tokens)[AUTH_TOKEN_SIZE])
{
    int fd;

    snprintf(file, size, "%s/tokens", dir);
    fd = open(file, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    for (size_t i = 0; i < count; i++) {
        char name[24], line[AUTH_LINE_SIZE];
        struct error e;

        snprintf(name, sizeof(name), "t%zu", i);
        assert_int_equal(auth_token_new(name, roles[i], ret_tokens[i], line, &e), 0);
        assert_int_equal(dprintf(fd, "%s\n", line), (int)strlen(line) + 1);
    }
    close(fd);
}

static int follow_as(const char *token)
{
    char line[256];

    snprintf(line, sizeof(line),
             "GET /v1/runs/" RUN "/logs?follow=1 HTTP/1.1\r\nHost: localhost\r\n"
             "Authorization: Bearer %s\r\n\r\n",
             token);
    int fd = client_connect(address);

    client_send(&loop, fd, line, strlen(line));
    return fd;
}

static void wait_streams(size_t count)
{
    uint64_t deadline = client_deadline();

    while (api->stream_count != count && !client_late(deadline))
        turn(&loop, -1, 0);
    assert_int_equal(api->stream_count, count);
}

static void assert_too_many(int fd, const char *text)
{
    struct reply r = client_receive(&loop, fd, false);

    assert_int_equal(r.status, 429);
    assert_non_null(strstr(r.body, text));
    reply_release(&r);
    close(fd);
}

/* A weak caller's followers keep neither the other callers out nor those who have to look what is wrong. */
static void test_places_to_follow_logs(void **state)
{
    static const enum auth_role roles[4] = {AUTH_READ, AUTH_READ, AUTH_OPERATE, AUTH_READ};
    char file[64], tokens[4][AUTH_TOKEN_SIZE];
    struct api_options o = {.tokens_file = file};
    int fds[API_LOG_STREAMS_MAX];
    size_t n = 0;

    write_tokens(file, sizeof(file), roles, 4, tokens);
    start_api(&o);
    set_attempts("running", "running", NULL);
    write_log(1, "first\n");
    for (size_t t = 0; t < 3; t++)
        for (int i = 0; i < API_LOG_STREAMS_CALLER; i++)
            fds[n++] = follow_as(tokens[t]);
    wait_streams(n);
    assert_too_many(follow_as(tokens[0]), "token:t0 reads 16 logs already");
    assert_too_many(follow_as(tokens[3]), "48 logs are being read already");
    for (int i = 0; i < API_LOG_STREAMS_KEPT; i++) /* root at the socket */
        fds[n++] = send_line("GET /v1/runs/" RUN "/logs?follow=1");
    wait_streams(n);
    assert_answer("GET /v1/runs/" RUN "/logs", NULL, 429, "reads 16 logs already");
    while (n > 0)
        close(fds[--n]);
}

/* What a token opened ends with it; what others follow goes on. */
static void test_a_log_followed_by_a_token_that_goes(void **state)
{
    static const enum auth_role roles[2] = {AUTH_READ, AUTH_READ};
    char file[64], tokens[2][AUTH_TOKEN_SIZE];
    struct api_options o = {.tokens_file = file};
    struct reply gone = {0}, stays = {0};
    struct error e;
    int fds[3];

    write_tokens(file, sizeof(file), roles, 2, tokens);
    start_api(&o);
    set_attempts("running", "running", NULL);
    write_log(1, "first\n");
    fds[0] = follow_as(tokens[0]);
    assert_true(client_expect(&loop, fds[0], &gone, "first\n"));
    fds[1] = send_line("GET /v1/runs/" RUN "/logs?follow=1");
    assert_true(client_expect(&loop, fds[1], &stays, "first\n"));
    write_tokens(file, sizeof(file), roles, 1, tokens + 1); /* another token, of the same name */
    assert_int_equal(api_reload(api, &e), 0);
    wait_streams(1);
    write_log(1, "second\n");
    assert_true(client_expect(&loop, fds[1], &stays, "second\n"));
    while (!gone.closed)
        receive_more(&loop, fds[0], &gone);
    assert_null(strstr(gone.raw, "second"));
    assert_null(strstr(gone.raw, "\r\n0\r\n")); /* cut */
    fds[2] = follow_as(tokens[1]);
    wait_streams(2);
    reply_release(&gone);
    reply_release(&stays);
    for (size_t i = 0; i < 3; i++)
        close(fds[i]);
}

/* The tokens stay, against outages; but that they do is not hidden. */
static void test_a_tokens_file_that_broke(void **state)
{
    static const enum auth_role roles[1] = {AUTH_READ};
    char file[64], tokens[1][AUTH_TOKEN_SIZE];
    struct api_options o = {.tokens_file = file};
    struct error e;

    write_tokens(file, sizeof(file), roles, 1, tokens);
    start_api(&o);
    assert_answer("GET /metrics", NULL, 200, "\ncronsched_tokens_file_failing 0\n");
    assert_int_equal(unlink(file), 0);
    assert_true(api_reload(api, &e) < 0);
    assert_answer("GET /metrics", NULL, 200, "\ncronsched_tokens_file_failing 1\n");
    assert_answer("GET /v1/doctor", NULL, 200, "\"check\":\"tokens file\",\"status\":\"error\"");
    write_tokens(file, sizeof(file), roles, 1, tokens);
    assert_int_equal(api_reload(api, &e), 0);
    assert_answer("GET /metrics", NULL, 200, "\ncronsched_tokens_file_failing 0\n");
}

/* ---- what a reader does not see ---- */

static void test_values_are_hidden_from_readers(void **state)
{
    static const char text[] =
        "{\"jobs\":{\"a\":{\"command\":[\"x\"],\"environment\":{\"A\":\"hunter2\",\"B\":{\"from_file\":\"/"
        "b\"}},"
        "\"notify\":[{\"on\":[\"failed\"],\"url\":\"https://hunter2\",\"headers\":{\"A\":\"hunter2\",\"B\":{"
        "\"from_file\":\"/b\"}},\"sign\":{\"from_file\":\"/k\"}}]},\"b\":{\"schedule\":\"@daily\"}},"
        "\"runs\":[{\"params\":{\"p\":\"hunter2\"},\"url\":\"http://r1\"}]}";
    static const char wanted[] = "{\"jobs\":{\"a\":{\"command\":[\"x\"],\"environment\":{\"A\":\"(hidden)\","
                                 "\"B\":{\"from_file\":\"/b\"}},"
                                 "\"notify\":[{\"on\":[\"failed\"],\"url\":\"https://hidden.invalid/"
                                 "\",\"headers\":{\"A\":\"(hidden)\",\"B\":{\"from_file\":\"/b\"}},"
                                 "\"sign\":{\"from_file\":\"/k\"}}]},\"b\":{\"schedule\":\"@daily\"}},"
                                 "\"runs\":[{\"params\":{\"p\":\"(hidden)\"},\"url\":\"http://r1\"}]}";

    for (int role = AUTH_NOBODY; role <= AUTH_ADMIN; role++) {
        struct auth_identity who = {.role = (enum auth_role)role};
        json_t *all = json_loads(text, 0, NULL), *seen = api_view(&who, json_incref(all));
        char *now = json_dumps(all, JSON_COMPACT), *shown = json_dumps(seen, JSON_COMPACT);

        assert_string_equal(now, text); /* the state's own objects stay as they are */
        assert_string_equal(shown, role >= AUTH_OPERATE ? text : wanted);
        free(now);
        free(shown);
        json_decref(seen);
        json_decref(all);
    }
}

/* ---- every route as each caller ---- */

/* The least role for each route, beside the program's own table, so that a change there is noticed, and a new route
 * cannot be forgotten: it fails until it has a line here. */
static const struct {
    const char *route;
    enum auth_role role;
} least[] = {
    {"GET /v1/jobs", AUTH_READ},
    {"GET /v1/jobs/{job}", AUTH_READ},
    {"DELETE /v1/jobs/{job}", AUTH_ADMIN},
    {"POST /v1/jobs/{job}/pause", AUTH_OPERATE},
    {"POST /v1/jobs/{job}/resume", AUTH_OPERATE},
    {"POST /v1/jobs/{job}/trigger", AUTH_OPERATE},
    {"POST /v1/jobs/{job}/backfill", AUTH_OPERATE},
    {"POST /v1/pause", AUTH_OPERATE},
    {"POST /v1/resume", AUTH_OPERATE},
    {"GET /v1/defs", AUTH_READ},
    {"POST /v1/apply", AUTH_ADMIN},
    {"GET /v1/runs", AUTH_READ},
    {"GET /v1/runs/{run}", AUTH_READ},
    {"GET /v1/runs/{run}/logs", AUTH_READ},
    {"POST /v1/runs/{run}/kill", AUTH_OPERATE},
    {"GET /v1/events", AUTH_READ},
    {"GET /v1/explain", AUTH_READ},
    {"GET /v1/jobs/{job}/stats", AUTH_READ},
    {"GET /v1/runs/buckets", AUTH_READ},
    {"GET /v1/upcoming", AUTH_READ},
    {"GET /v1/whoami", AUTH_READ},
    {"POST /v1/session", AUTH_NOBODY},
    {"DELETE /v1/session", AUTH_NOBODY},
    {"POST /v1/session/link", AUTH_READ},
    {"GET /v1/audit", AUTH_READ},
    {"GET /v1/records", AUTH_READ},
    {"GET /v1/cluster", AUTH_READ},
    {"GET /v1/cluster/takeovers", AUTH_READ},
    {"POST /v1/cluster/init", AUTH_ADMIN},
    {"POST /v1/cluster/accept-clock", AUTH_ADMIN},
    {"POST /v1/cluster/join", AUTH_ADMIN},
    {"POST /v1/cluster/forget", AUTH_ADMIN},
    {"POST /v1/cluster/recover", AUTH_ADMIN},
    {"POST /v1/cluster/step-down", AUTH_ADMIN},
    {"GET /v1/peer/history", AUTH_ADMIN},
    {"GET /v1/peer/heartbeat", AUTH_READ},
    {"POST /v1/peer/engine", AUTH_ADMIN},
    {"GET /v1/doctor", AUTH_READ},
    {"GET /v1/version", AUTH_READ},
    {"GET /healthz", AUTH_NOBODY},
    {"GET /readyz", AUTH_NOBODY},
    {"GET /leaderz", AUTH_NOBODY},
    {"GET /metrics", AUTH_READ},
};

static enum auth_role least_role(const struct http_route *route)
{
    char name[128];

    snprintf(name, sizeof(name), "%s %s", route->method, route->path);
    for (size_t i = 0; i < sizeof(least) / sizeof(least[0]); i++)
        if (strcmp(least[i].route, name) == 0)
            return least[i].role;
    fail_msg("%s has no line in this test's table", name);
    return AUTH_NOBODY;
}

/* "/v1/runs/{run}/logs" with names in it. */
static void fill_path(const struct http_route *route, char *ret, size_t size)
{
    const char *open = strchr(route->path, '{'), *shut = open ? strchr(open, '}') : NULL;

    if (!open)
        snprintf(ret, size, "%s", route->path);
    else
        snprintf(ret, size, "%.*s%s%s", (int)(open - route->path), route->path, open[1] == 'r' ? RUN : "a",
                 shut + 1);
}

#define SECRET "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

/* How somebody comes, and what that gives in each of four configurations. */
enum setting { TOKENS, NOTHING, LOOPBACK, INSECURE, SETTINGS };
struct caller {
    const char *name;
    bool tcp;
    uid_t uid, gid;     /* over the unix socket */
    const char *header; /* %s: the token of `token` */
    int token;          /* AUTH_READ to AUTH_ADMIN; 0: none */
    enum auth_role role[SETTINGS];
};

static const struct caller callers[] = {
    {"root at the socket", false, 0, 0, "", 0, {AUTH_ADMIN, AUTH_ADMIN, AUTH_ADMIN, AUTH_ADMIN}},
    {"the socket's group", false, 65534, 0, "", 0, {AUTH_OPERATE, AUTH_OPERATE, AUTH_OPERATE, AUTH_OPERATE}},
    {"another user at the socket", false, 65534, 65534, "", 0, {AUTH_READ, AUTH_READ, AUTH_READ, AUTH_READ}},
    {"root over TCP", true, 0, 0, "", 0, {AUTH_NOBODY, AUTH_NOBODY, AUTH_READ, AUTH_ADMIN}},
    {"another user over TCP", true, 65534, 65534, "", 0, {AUTH_NOBODY, AUTH_NOBODY, AUTH_READ, AUTH_ADMIN}},
    {"token read", true, 0, 0, "Authorization: Bearer %s\r\n", AUTH_READ, {AUTH_READ}},
    {"token operate", true, 0, 0, "Authorization: Bearer %s\r\n", AUTH_OPERATE, {AUTH_OPERATE}},
    {"token admin", true, 0, 0, "Authorization: Bearer %s\r\n", AUTH_ADMIN, {AUTH_ADMIN}},
    {"token read, of root at the socket",
     false,
     0,
     0,
     "Authorization: Bearer %s\r\n",
     AUTH_READ,
     {AUTH_READ}},
    {"an unknown token", true, 0, 0, "Authorization: Bearer cs_wrong\r\n", 0, {AUTH_NOBODY}},
    {"an unknown token, of root at the socket",
     false,
     0,
     0,
     "Authorization: Bearer cs_wrong\r\n",
     0,
     {AUTH_NOBODY}},
    {"another scheme", true, 0, 0, "Authorization: Basic cm9vdDpyb290\r\n", 0, {AUTH_NOBODY}},
    {"a replica",
     true,
     0,
     0,
     "Authorization: Bearer " SECRET "\r\n",
     0,
     {AUTH_ADMIN, AUTH_ADMIN, AUTH_ADMIN, AUTH_ADMIN}},
    {"a replica for a reader",
     true,
     0,
     0,
     "Authorization: Bearer " SECRET "\r\nCronsched-Acting: read token:x\r\n",
     0,
     {AUTH_READ, AUTH_READ, AUTH_READ, AUTH_READ}},
    {"a replica for nobody",
     true,
     0,
     0,
     "Authorization: Bearer " SECRET "\r\nCronsched-Acting: nobody x\r\n",
     0,
     {AUTH_NOBODY}},
    {"half of the secret", true, 0, 0, "Authorization: Bearer 0123456789abcdef\r\n", 0, {AUTH_NOBODY}},
    {"acting without the secret",
     true,
     0,
     0,
     "Cronsched-Acting: admin token:x\r\n",
     0,
     {AUTH_NOBODY, AUTH_NOBODY, AUTH_READ, AUTH_ADMIN}},
    {"a page of another site", true, 0, 0, "Origin: http://evil.example\r\n", 0, {AUTH_NOBODY}},
    {"a name that was bent to here", true, 0, 0, "HOST evil.example\r\n", 0, {AUTH_NOBODY}},
};

/* The request as it is sent. */
static void write_request(const struct caller *caller, const char (*tokens)[AUTH_TOKEN_SIZE],
                          const struct http_route *route, char *ret, size_t size)
{
    bool body = strcmp(route->path, "/v1/apply") == 0;
    const char *header = caller->header, *host = "localhost";
    char path[128], more[256];

    if (strncmp(header, "HOST ", 5) == 0) {
        host = "evil.example";
        header = "";
    }
    fill_path(route, path, sizeof(path));
    if (caller->token)
        snprintf(more, sizeof(more), "Authorization: Bearer %s\r\n", tokens[caller->token - 1]);
    else
        snprintf(more, sizeof(more), "%s", header);
    snprintf(ret, size, "%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n%s%s\r\n%s", route->method, path,
             host, more, body ? "Content-Type: application/json\r\nContent-Length: 11\r\n" : "",
             body ? "{\"jobs\":{}}" : "");
}

/* Sends it as another user, from a child; a connected socket here for root. */
static int send_as(const struct caller *caller, const char *request, pid_t *ret_child)
{
    const char *at = caller->tcp ? tcp_address : address;
    int ends[2], fd = -1;
    pid_t pid;

    *ret_child = 0;
    if (caller->uid == 0) {
        fd = client_connect(at);
        client_send(&loop, fd, request, strlen(request));
        return fd;
    }
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    pid = fork();
    if (pid == 0) { /* what comes is passed on: the other end's user is known from the connection */
        char bytes[4096];
        ssize_t n;

        if (setgroups(0, NULL) < 0 || setgid((gid_t)caller->gid) < 0 || setuid(caller->uid) < 0)
            _exit(1);
        fd = client_connect(at);
        if (fd < 0 || send(fd, request, strlen(request), MSG_NOSIGNAL) < 0)
            _exit(1);
        while ((n = read(fd, bytes, sizeof(bytes))) > 0)
            if (send(ends[1], bytes, (size_t)n, MSG_NOSIGNAL) < 0)
                break;
        _exit(0);
    }
    close(ends[1]);
    *ret_child = pid;
    return ends[0];
}

static int status_of(const struct caller *caller, const char *request)
{
    uint64_t deadline = client_deadline();
    struct reply r = {0};
    pid_t child;
    int fd = send_as(caller, request, &child), status;

    /* what happens is told without an end */
    while (!reply_parse(&r, false) && !r.closed && !client_late(deadline) &&
           !(r.raw && strstr(r.raw, "event: hello"))) {
        answer_history();
        receive_more(&loop, fd, &r);
    }
    status = r.status;
    reply_release(&r);
    close(fd);
    if (child > 0)
        kill(child, SIGKILL); /* it may have an answer without an end */
    while (child > 0 && waitpid(child, NULL, WNOHANG) == 0 && !client_late(deadline))
        turn(&loop, -1, 0); /* it has inherited the server's sockets and locks */
    return status;
}

static void check_route(const struct http_route *route, enum auth_role needed, enum setting setting,
                        const char (*tokens)[AUTH_TOKEN_SIZE])
{
    for (size_t i = 0; i < sizeof(callers) / sizeof(callers[0]); i++) {
        const struct caller *caller = &callers[i];
        bool fine = caller->role[setting] >= needed || needed == AUTH_NOBODY, let_in;
        char request[1024];
        int status;

        write_request(caller, tokens, route, request, sizeof(request));
        status = status_of(caller, request);
        let_in = status != 401 && status != 403;
        if (status == 0 || let_in != fine)
            fail_msg("%s %s by %s in setting %d: %d", route->method, route->path, caller->name, setting,
                     status);
    }
}

static void test_every_route_as_each_caller(void **state)
{
    static const enum auth_role roles[3] = {AUTH_READ, AUTH_OPERATE, AUTH_ADMIN};
    char file[64], tokens[3][AUTH_TOKEN_SIZE];
    const struct api_options settings[SETTINGS] = {{.tokens_file = file, .socket_mode = 0666},
                                                   {.socket_mode = 0666},
                                                   {.socket_mode = 0666, .loopback_read = true},
                                                   {.socket_mode = 0666, .insecure = true}};

    if (geteuid() != 0)
        skip();
    chmod(dir, 0711);
    write_tokens(file, sizeof(file), roles, 3, tokens);
    assert_int_equal(sizeof(least) / sizeof(least[0]), api_route_count);
    for (int i = 0; i < SETTINGS; i++) {
        start_api(&settings[i]);
        api_set_secret(api, SECRET);
        for (size_t k = 0; k < api_route_count; k++)
            check_route(&api_routes[k], least_role(&api_routes[k]), (enum setting)i, tokens);
        for (size_t k = 0; i == TOKENS && k < api_page_route_count; k++)
            if (strcmp(api_page_routes[k].path, "/ui/login") != 0) /* which says 403 for other reasons */
                check_route(&api_page_routes[k], api_page_routes[k].role, (enum setting)i, tokens);
        stop_api();
    }
}

#define PLAIN(f) cmocka_unit_test_setup_teardown(f, set_up_plain, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLAIN(test_every_route_as_each_caller), cmocka_unit_test(test_values_are_hidden_from_readers),
        PLAIN(test_places_to_follow_logs),      PLAIN(test_a_log_followed_by_a_token_that_goes),
        PLAIN(test_a_tokens_file_that_broke),
    };

    return cmocka_run_group_tests_name("api_access", tests, NULL, NULL);
}
