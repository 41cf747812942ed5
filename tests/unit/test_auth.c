/* Who may use the HTTP server, and where it listens: roles, tokens files, browsers, other users,
 * sockets. */
#include "tests/support/http_fixture.h"

#include <fcntl.h>
#include <grp.h>
#include <sys/wait.h>

/* ---- who may ---- */

static void write_file(const char *path, const char *text, mode_t mode)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    fchmod(fd, mode);
    close(fd);
}

static void test_roles(void **state)
{
    static const struct {
        const char *line;
        int status[4]; /* no token, read, operate, admin */
    } cases[] = {
        {"GET /open", {200, 200, 200, 200}},
        {"GET /echo/a", {401, 200, 200, 200}},
        {"POST /echo/a", {401, 403, 200, 200}},
        {"DELETE /echo/a", {401, 403, 403, 200}},
    };
    static const char *const names[] = {NULL, "reader", "robot", "boss"};
    char file[128], tokens[4][AUTH_TOKEN_SIZE], lines[4][AUTH_LINE_SIZE], text[1024], header[96];
    struct auth_options who = {.tokens_file = file};
    struct error e;
    struct reply r;

    for (int i = 1; i < 4; i++)
        assert_int_equal(auth_token_new(names[i], (enum auth_role)i, tokens[i], lines[i], &e), 0);
    snprintf(file, sizeof(file), "%s/tokens", dir);
    snprintf(text, sizeof(text), "# comment\n\n%s\n  %s\r\n%s", lines[1], lines[2], lines[3]);
    write_file(file, text, 0600);
    start_with(&who, NULL);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        for (int t = 0; t < 4; t++) {
            snprintf(header, sizeof(header), t ? "Authorization: Bearer %s\r\n" : "", tokens[t]);
            r = client_ask(&loop, tcp_address, cases[i].line, header, NULL);
            assert_int_equal(r.status, cases[i].status[t]);
            if (r.status == 401)
                assert_non_null(client_header(&r, "WWW-Authenticate", text, sizeof(text)));
            if (r.status == 200 && i > 0) {
                snprintf(text, sizeof(text), "\"caller\":\"token:%s\"", names[t]);
                assert_non_null(strstr(r.body, text));
            }
            reply_release(&r);
        }
    r = client_ask(&loop, tcp_address, "GET /echo/a", "Authorization: Bearer cs_wrong\r\n", NULL);
    assert_error(&r, 401, "denied", "the token is unknown");
    reply_release(&r);
    r = client_ask(&loop, unix_address, "GET /echo/a", "Authorization: Bearer cs_wrong\r\n", NULL);
    assert_error(&r, 401, "denied", "the token is unknown");
    reply_release(&r);
    r = client_ask(&loop, unix_address, "DELETE /echo/a", "", NULL); /* the socket's own proof still counts */
    assert_int_equal(r.status, 200);
    reply_release(&r);
}

static void test_browsers(void **state)
{
    static const struct {
        const char *request;         /* after "GET /echo/a HTTP/1.1\r\n" */
        int reads, insecure, socket; /* under `loopback: read`, under `insecure: true`, at the socket */
    } cases[] = {
        {"Host: localhost\r\n", 200, 200, 200},
        {"Host: LOCALHOST:7460\r\n", 200, 200, 200},
        {"Host: 127.0.0.1\r\n", 200, 200, 200},
        {"Host: 127.9.8.7:1\r\n", 200, 200, 200},
        {"Host: [::1]:80\r\n", 200, 200, 200},
        {"Host: a.localhost\r\n", 200, 200, 200},
        {"Host: evil.example\r\n", 403, 403, 403},
        {"Host: localhost.evil.example\r\n", 403, 403, 403},
        {"Host: 127.0.0.1.evil.example\r\n", 403, 403, 403},
        {"Host: notlocalhost\r\n", 403, 403, 200},
        {"Host: 10.0.0.1\r\n", 403, 200, 403},
        {"Host: [::2]\r\n", 403, 200, 403},
        {"Host: [::2]x\r\n", 403, 403, 403},
        {"Host: cron-1:7460\r\n", 403, 200, 200},
        {"Host: CRON.example\r\n", 403, 200, 403},
        {"Host: cron.example.evil\r\n", 403, 403, 403},
        {"Host: evil.example:7460\r\nOrigin: http://evil.example:7460\r\nSec-Fetch-Site: same-origin\r\n",
         403, 403, 403},
        {"Host: 10.9.9.9:7460\r\nOrigin: http://evil.example\r\n", 403, 403, 403},
        {"Host: localhost:x\r\n", 403, 403, 403},
        {"Host: \r\n", 403, 403, 403},
        {"Host: localhost:1\r\nOrigin: http://localhost:1\r\n", 200, 200, 200},
        {"Host: localhost:1\r\nOrigin: http://localhost:2\r\n", 403, 403, 403},
        {"Host: localhost:1\r\nOrigin: https://localhost:1\r\n", 403, 403, 403},
        {"Host: localhost\r\nOrigin: null\r\n", 403, 403, 403},
        {"Host: localhost\r\nOrigin: http://evil.example\r\n", 403, 403, 403},
        {"Host: localhost\r\nSec-Fetch-Site: same-origin\r\n", 200, 200, 200},
        {"Host: localhost\r\nSec-Fetch-Site: none\r\n", 200, 200, 200},
        {"Host: localhost\r\nSec-Fetch-Site: cross-site\r\n", 403, 403, 403},
        {"Host: localhost\r\nSec-Fetch-Site: same-site\r\n", 403, 403, 403},
        {"Host: localhost\r\nSec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: "
         "document\r\n",
         200, 200, 200},
        {"Host: localhost\r\nSec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: "
         "iframe\r\n",
         403, 403, 403},
        {"Host: localhost\r\nX-Forwarded-For: 1.2.3.4\r\n", 403, 200, 403},
    };

    static char name[] = "cron.example", *hosts[] = {name};
    const struct auth_options options[] = {
        {.loopback_read = true},
        {.insecure = true, .hosts = hosts, .host_count = 1, .advertise = "http://cron-1:7460"}};

    for (size_t pass = 0; pass < 2; pass++) {
        start_with(&options[pass], NULL);
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
            char request[512];
            struct reply r;

            snprintf(request, sizeof(request), "GET /echo/a HTTP/1.1\r\n%s\r\n", cases[i].request);
            r = client_exchange(&loop, tcp_address, request);
            if (r.status != (pass ? cases[i].insecure : cases[i].reads))
                print_error("%s: %d %s\n", cases[i].request, r.status, r.body);
            assert_int_equal(r.status, pass ? cases[i].insecure : cases[i].reads);
            reply_release(&r);
            r = client_exchange(&loop, unix_address, request); /* no browser speaks there, but a proxy may */
            assert_int_equal(r.status, cases[i].socket);
            reply_release(&r);
        }
        stop();
    }
}

/* A child of another user asks over TCP and over the unix socket; the loop runs here meanwhile. */
static int ask_as(uid_t uid, gid_t gid, const char *address, const char *method)
{
    int status = 0, to_parent[2];
    uint64_t deadline = client_deadline();
    pid_t pid;

    assert_int_equal(pipe(to_parent), 0);
    pid = fork();
    if (pid == 0) {
        char request[128], buffer[4096] = "";
        int fd, code = 0;

        if (setgroups(0, NULL) < 0 || setgid(gid) < 0 || setuid(uid) < 0)
            _exit(1);
        fd = client_connect(address);
        snprintf(request, sizeof(request),
                 "%s /echo/a HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", method);
        if (fd >= 0 && send(fd, request, strlen(request), MSG_NOSIGNAL) > 0 &&
            recv(fd, buffer, sizeof(buffer) - 1, 0) > 0)
            sscanf(buffer, "HTTP/1.1 %d", &code);
        if (write(to_parent[1], &code, sizeof(code)) < 0)
            _exit(1);
        _exit(0);
    }
    close(to_parent[1]);
    fcntl(to_parent[0], F_SETFL, O_NONBLOCK);
    while (read(to_parent[0], &status, sizeof(status)) < 0 && !client_late(deadline))
        turn(&loop, to_parent[0], POLLIN);
    close(to_parent[0]);
    waitpid(pid, NULL, 0);
    return status;
}

static char told[64 * 1024];
static int told_lines;

static void on_log(void *arg, enum log_level level, const char *event, const char *text)
{
    if (strcmp(event, "http-refused") != 0)
        return;
    assert_int_equal(level, LOG_WARN);
    snprintf(told + strlen(told), sizeof(told) - strlen(told), "%s\n", text);
    told_lines++;
}

/* Who was refused, what, and why; a flood of it is a few lines and a number. */
static void test_refusals_are_told(void **state)
{
    static const struct auth_options who = {0};
    static const struct http_options options = {.log = on_log};
    struct reply r;

    told[0] = '\0';
    told_lines = 0;
    start_with(&who, &options);
    r = client_ask(&loop, tcp_address, "DELETE /echo/a", "", NULL);
    reply_release(&r);
    assert_non_null(strstr(told, "DELETE /echo/a by tcp:127.0.0.1: denied: "));
    r = client_ask(&loop, tcp_address, "GET /echo/b", "Authorization: Bearer cs_wrong\r\n", NULL);
    reply_release(&r);
    assert_non_null(strstr(told, "GET /echo/b by tcp:127.0.0.1: token: "));
    assert_null(strstr(told, "cs_wrong"));
    r = client_exchange(&loop, tcp_address, "GET /open HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n");
    reply_release(&r);
    assert_non_null(strstr(told, "GET /open by tcp:127.0.0.1: malformed: "));
    for (int i = 0; i < 50; i++) {
        r = client_ask(&loop, tcp_address, "GET /echo/b", "", NULL);
        reply_release(&r);
    }
    assert_in_range(told_lines, 3, 15);
}

/* A form of another site navigates as well: only what changes nothing is let through for it. */
static void test_a_navigation_changes_nothing(void **state)
{
    static const char navigation[] =
        "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n";
    static const struct auth_options who = {.insecure = true};
    struct reply r;

    start_with(&who, NULL);
    r = client_ask(&loop, tcp_address, "GET /echo/a", navigation, NULL);
    assert_int_equal(r.status, 200);
    reply_release(&r);
    r = client_ask(&loop, tcp_address, "POST /echo/a", navigation, NULL);
    assert_error(&r, 403, "denied", "pages of other sites");
    reply_release(&r);
    r = client_ask(&loop, tcp_address, "DELETE /echo/a", navigation, NULL);
    assert_error(&r, 403, "denied", "pages of other sites");
    reply_release(&r);
}

static void test_other_users_of_this_machine(void **state)
{
    const char *path = unix_address + strlen("unix:");

    static const struct auth_options nothing = {0}, reads = {.loopback_read = true};

    if (geteuid() != 0)
        skip();
    chmod(dir, 0711);
    start_with(&nothing, NULL);
    assert_int_equal(ask_as(0, 0, tcp_address, "GET"),
                     403); /* as root in a container with the host's network */
    assert_int_equal(ask_as(65534, 65534, tcp_address, "GET"), 403);
    stop();
    start_with(&reads, NULL);
    assert_int_equal(ask_as(0, 0, tcp_address, "GET"), 200);
    assert_int_equal(ask_as(0, 0, tcp_address, "POST"), 403);
    assert_int_equal(ask_as(65534, 65534, tcp_address, "GET"), 200);
    assert_int_equal(ask_as(65534, 65534, tcp_address, "POST"), 403);
    assert_int_equal(ask_as(65534, 65534, unix_address, "GET"), 0); /* the mode keeps it out */
    assert_int_equal(ask_as(65534, 0, unix_address, "POST"), 200);  /* of the socket's group */
    assert_int_equal(ask_as(65534, 0, unix_address, "DELETE"), 403);
    chmod(path, 0666);
    assert_int_equal(ask_as(65534, 65534, unix_address, "GET"), 200);
    assert_int_equal(ask_as(65534, 65534, unix_address, "POST"), 403);
    assert_int_equal(chown(path, (uid_t)-1, 65534), 0); /* by hand: the file's own group counts */
    assert_int_equal(ask_as(65534, 65534, unix_address, "POST"), 200);
    assert_int_equal(ask_as(65534, 0, unix_address, "POST"), 403);
}

static void test_group_and_mode_of_the_socket(void **state)
{
    static const gid_t group = 65534;
    char second[sizeof(unix_address) + 8];
    struct http_listen listen = {.address = second, .mode = 0600, .group = &group};
    struct stat st;
    struct error e;

    if (geteuid() != 0)
        skip();
    chmod(dir, 0711);
    snprintf(second, sizeof(second), "%s.2", unix_address);
    assert_int_equal(http_listen(http, &listen, &e), 0);
    assert_int_equal(stat(second + strlen("unix:"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(st.st_gid, group);
    assert_int_equal(ask_as(65534, 65534, second, "GET"), 0);
    assert_int_equal(chmod(second + strlen("unix:"), 0660), 0);
    assert_int_equal(ask_as(65534, 65534, second, "POST"), 200);
    assert_int_equal(ask_as(65534, 65534, second, "DELETE"), 403);
}

static int status_with(const char *secret)
{
    char header[128];
    struct reply r;
    int status;

    snprintf(header, sizeof(header), "Authorization: Bearer %s\r\n", secret);
    r = client_ask(&loop, tcp_address, "DELETE /echo/a", header, NULL);
    status = r.status;
    reply_release(&r);
    return status;
}

/* Not all replicas see a new secret at the same moment. */
static void test_two_secrets_of_the_replicas(void **state)
{
    static const struct auth_options who = {0};

    start_with(&who, NULL);
    auth_set_secret(auth, "");
    assert_int_equal(status_with(""), 401);
    auth_set_secret(auth, "first");
    assert_int_equal(status_with("first"), 200);
    auth_set_secret(auth, "second");
    assert_int_equal(status_with("first"), 200);
    assert_int_equal(status_with("second"), 200);
    auth_set_secret(auth, "third");
    assert_int_equal(status_with("first"), 401);
    assert_int_equal(status_with("second"), 200);
    assert_int_equal(status_with("third"), 200);
}

/* Replicas ask one another from their first moment on; a token that is none is told all the same once the secret is known. */
static void test_a_replica_that_knows_no_secret_yet_complains_of_none(void **state)
{
    static const struct auth_options alone = {0}, who = {.clustered = true};
    static const struct http_options options = {.log = on_log};

    told_lines = 0;
    start_with(&who, &options);
    assert_int_equal(status_with("first"), 401);
    assert_int_equal(told_lines, 0);
    auth_set_secret(auth, "first");
    assert_int_equal(status_with("first"), 200);
    assert_int_equal(status_with("other"), 401);
    assert_int_equal(told_lines, 1);
    stop();
    start_with(&alone, &options);
    assert_int_equal(status_with("first"), 401);
    assert_int_equal(told_lines, 2);
}

/* ---- tokens files ---- */

#define DIGEST "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define OTHER  "0000000000000000000000000000000000000000000000000000000000000001"

static void test_tokens_files(void **state)
{
    static const struct {
        const char *text, *error; /* NULL: fine */
        size_t count;
    } cases[] = {
        {"", NULL, 0},
        {"# nothing\n\n", NULL, 0},
        {"a read " DIGEST, NULL, 1},
        {"a read " DIGEST "\nb admin " OTHER "\n", NULL, 2},
        {"a read", ":1: a line is NAME ROLE", 0},
        {"\na read " DIGEST " x", ":2: a line is NAME ROLE", 0},
        {"a root " DIGEST, ":1: the role of 'a'", 0},
        {"a read e3b0", ":1: the third word of 'a'", 0},
        {"a read " DIGEST "\na read " OTHER, ":2: there are two tokens named 'a'", 0},
        {"a read " DIGEST "\nb read " DIGEST, ":2: 'a' and 'b' have the same token", 0},
        {"a/b read " DIGEST, ":1: a name may have", 0},
    };
    char file[128];
    struct auth_options who = {.tokens_file = file};
    struct error e;

    snprintf(file, sizeof(file), "%s/tokens", dir);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct auth *a = NULL;

        write_file(file, cases[i].text, 0600);
        if (cases[i].error) {
            assert_true(auth_new(&a, &who, &e) < 0);
            if (!strstr(e.text, cases[i].error))
                print_error("%s\n", e.text);
            assert_non_null(strstr(e.text, cases[i].error));
        } else {
            assert_int_equal(auth_new(&a, &who, &e), 0);
            assert_int_equal(auth_token_count(a), cases[i].count);
            /* what is wrong later changes nothing */
            write_file(file, "broken", 0600);
            assert_true(auth_reload(a, &e) < 0);
            assert_int_equal(auth_token_count(a), cases[i].count);
            write_file(file, "x read " OTHER, 0600);
            assert_int_equal(auth_reload(a, &e), 0);
            assert_int_equal(auth_token_count(a), 1);
            auth_free(a);
        }
    }
    write_file(file, "", 0666);
    assert_true(auth_new(&auth, &who, &e) < 0);
    assert_non_null(strstr(e.text, "chmod"));
    unlink(file);
    assert_true(auth_new(&auth, &who, &e) < 0);
}

static void test_new_tokens_differ_and_fit(void **state)
{
    char a[AUTH_TOKEN_SIZE], b[AUTH_TOKEN_SIZE], line[AUTH_LINE_SIZE];
    struct error e;

    assert_int_equal(auth_token_new("ci", AUTH_OPERATE, a, line, &e), 0);
    assert_int_equal(auth_token_new("ci", AUTH_OPERATE, b, line, &e), 0);
    assert_int_equal(strlen(a), AUTH_TOKEN_SIZE - 2);
    assert_string_not_equal(a, b);
    assert_int_equal(strncmp(line, "ci operate ", 11), 0);
    assert_int_equal(strlen(line), 11 + 64);
    assert_true(auth_token_new("c i", AUTH_OPERATE, a, line, &e) < 0);
    assert_true(auth_token_new("", AUTH_OPERATE, a, line, &e) < 0);
}

/* ---- listening ---- */

static void test_listen_addresses(void **state)
{
    static const struct {
        const char *address;
        int code;
        const char *text;
    } cases[] = {
        {"127.0.0.1:0", 0, NULL},
        {"localhost:0", 0, NULL},
        {"0.0.0.0:0", ERR_DENIED, "a tokens_file and tls"},
        {":0", ERR_DENIED, "a tokens_file and tls"},
        {"127.0.0.1", ERR_INVALID, "must be unix:PATH"},
        {"::1:80", ERR_INVALID, "must be unix:PATH"},
        {"127.0.0.1:99999", ERR_INVALID, "port"},
        {"127.0.0.1:http", ERR_INVALID, "port"},
        {"127.0.0.1:", ERR_INVALID, "port"},
        {"unix:relative", ERR_INVALID, "absolute"},
        {"unix:/nowhere/at/all.sock", ERR_IO, "No such file"},
        {"unix:/tmp/"
         "012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678"
         "9/and/some/more",
         ERR_LIMIT, "longer"},
    };
    static const struct auth_options who = {0};

    start_with(&who, NULL);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct http_listen listen = {.address = cases[i].address};
        struct error e = {0};
        int r = http_listen(http, &listen, &e);

        if (r != cases[i].code || (r < 0 && !strstr(e.text, cases[i].text)))
            print_error("%s: %d %s\n", cases[i].address, r, e.text);
        assert_int_equal(r, cases[i].code);
        if (r < 0)
            assert_non_null(strstr(e.text, cases[i].text));
    }
}

static void test_stale_and_foreign_sockets(void **state)
{
    const char *path = unix_address + strlen("unix:");
    struct sockaddr_un a = client_unix(path);
    static const struct auth_options who = {0};
    struct http_listen again = {.address = unix_address};
    struct stat st;
    struct error e;
    char other[160];
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0); /* as after kill -9 */
    close(fd);
    start_with(&who, NULL);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0660);
    assert_int_equal(http_listen(http, &again, &e), ERR_BUSY);
    assert_non_null(strstr(e.text, "another server uses"));

    /* a plain file stays */
    snprintf(other, sizeof(other), "unix:%s/plain", dir);
    write_file(other + 5, "precious", 0600);
    again.address = other;
    assert_int_equal(http_listen(http, &again, &e), ERR_CONFLICT);
    assert_int_equal(stat(other + 5, &st), 0);

    /* so does a socket that somebody answers */
    unlink(other + 5);
    a = client_unix(other + 5);
    fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(http_listen(http, &again, &e), ERR_BUSY);
    close(fd);

    stop();
    assert_int_equal(stat(path, &st), -1);
}

static void test_two_servers_on_one_port(void **state)
{
    static const struct auth_options who = {0};
    struct http_listen again = {0};
    struct error e;

    start_with(&who, NULL);
    again.address = tcp_address;
    assert_int_equal(http_listen(http, &again, &e), ERR_BUSY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLAIN(test_roles),
        PLAIN(test_browsers),
        PLAIN(test_refusals_are_told),
        PLAIN(test_a_replica_that_knows_no_secret_yet_complains_of_none),
        PLAIN(test_a_navigation_changes_nothing),
        PLAIN(test_other_users_of_this_machine),
        SERVER(test_group_and_mode_of_the_socket),
        PLAIN(test_two_secrets_of_the_replicas),
        PLAIN(test_tokens_files),
        PLAIN(test_new_tokens_differ_and_fit),
        PLAIN(test_listen_addresses),
        PLAIN(test_stale_and_foreign_sockets),
        PLAIN(test_two_servers_on_one_port),
    };

    return cmocka_run_group_tests_name("auth", tests, NULL, NULL);
}
