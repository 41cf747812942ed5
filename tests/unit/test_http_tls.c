/* The TLS listener: certificates, what is not TLS, and clients that stop in the middle of a handshake. */
#include "cronsched/io/http_client.h"
#include "tests/support/http_fixture.h"

#include <curl/curl.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>

#define HOLD_MAX 64 /* connections that stop in the middle, at once */

/* A ClientHello as OpenSSL 3.0 sends it. */
static const char hello[] =
    "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x26\xf2\x2d\xc8\x24\xca\x5f\x60\x01\x27\x6b\x75\xf0"
    "\x9b\x9a\x28\xfc\x3b\x72\x19\x09\x79\xa8\x76\xc2\xc8\xd4\x00\x5e\xef\x95\xcc\x20\x1b\x80\x6d\xca"
    "\x33\x59\xd0\x90\xa4\x39\x5c\x86\x82\x9e\xc4\xc2\x68\xdd\xe1\x18\x5f\xad\xae\x4b\xe5\x2c\xbd\x99"
    "\xdc\x3e\xeb\xe8\x00\x24\x13\x02\x13\x03\x13\x01\xc0\x2c\xc0\x30\xc0\x2b\xc0\x2f\xcc\xa9\xcc\xa8"
    "\xc0\x24\xc0\x28\xc0\x23\xc0\x27\x00\x9f\x00\x9e\x00\x6b\x00\x67\x00\xff\x01\x00\x01\x8f\x00\x00"
    "\x00\x0e\x00\x0c\x00\x00\x09\x6c\x6f\x63\x61\x6c\x68\x6f\x73\x74\x00\x0b\x00\x04\x03\x00\x01\x02"
    "\x00\x0a\x00\x16\x00\x14\x00\x1d\x00\x17\x00\x1e\x00\x19\x00\x18\x01\x00\x01\x01\x01\x02\x01\x03"
    "\x01\x04\x00\x23\x00\x00\x00\x16\x00\x00\x00\x17\x00\x00\x00\x0d\x00\x2a\x00\x28\x04\x03\x05\x03"
    "\x06\x03\x08\x07\x08\x08\x08\x09\x08\x0a\x08\x0b\x08\x04\x08\x05\x08\x06\x04\x01\x05\x01\x06\x01"
    "\x03\x03\x03\x01\x03\x02\x04\x02\x05\x02\x06\x02\x00\x2b\x00\x05\x04\x03\x04\x03\x03\x00\x2d\x00"
    "\x02\x01\x01\x00\x33\x00\x26\x00\x24\x00\x1d\x00\x20\xe3\x58\x7a\x3f\xb7\x92\xf6\x97\x46\xc7\x3d"
    "\x8c\xca\x3f\x81\x04\xa0\x20\x54\x07\x71\x06\xcb\xfb\x49\x03\xe7\x53\x28\x47\xa6\x64\x00\x15\x00"
    "\xe4\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
    "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
    "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
    "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
    "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
    "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
    "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
    "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
    "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
    "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00";

struct tls_call {
    char url[128], ca[160];
    const char *body, *ciphers, *curves;
    long version; /* 0: any */
    long status;
    CURLcode code;
    char reply[1024];
    size_t n;
    volatile bool done;
};

static size_t on_tls_bytes(char *bytes, size_t size, size_t n, void *arg)
{
    struct tls_call *c = arg;
    size_t take = size * n;

    if (take > sizeof(c->reply) - 1 - c->n)
        take = sizeof(c->reply) - 1 - c->n;
    memcpy(c->reply + c->n, bytes, take);
    c->n += take;
    return size * n;
}

static void *tls_thread(void *arg)
{
    struct tls_call *c = arg;
    CURL *curl = curl_easy_init();
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");

    curl_easy_setopt(curl, CURLOPT_URL, c->url);
    curl_easy_setopt(curl, CURLOPT_CAINFO, c->ca);
    curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)PATIENCE_MS);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_tls_bytes);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, c);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    if (c->body)
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, c->body);
    if (c->ciphers)
        curl_easy_setopt(curl, CURLOPT_SSL_CIPHER_LIST, c->ciphers);
    if (c->curves)
        curl_easy_setopt(curl, CURLOPT_SSL_EC_CURVES, c->curves);
    curl_easy_setopt(curl, CURLOPT_SSLVERSION, c->version);
    c->code = curl_easy_perform(curl);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &c->status);
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
    __atomic_store_n(&c->done, true, __ATOMIC_RELEASE);
    return NULL;
}

/* What /keep and /stream wait for, a piece at a time. */
static void serve_later(void)
{
    static int pieces;

    while (kept_count > 0) {
        http_reply_text(kept[--kept_count], 200, "text/plain", "later");
        http_request_unref(kept[kept_count]);
    }
    if (!stream)
        return;
    if (++pieces % 4) {
        http_stream_write(stream, "piece ", 6);
    } else {
        http_stream_end(stream);
        stream = NULL;
    }
}

static struct tls_call tls_ask_with(const char *address, const char *ca, const char *path,
                                    const struct tls_call *how)
{
    static struct tls_call c;
    pthread_t thread;

    c = *how;
    snprintf(c.url, sizeof(c.url), "https://localhost:%s%s", strrchr(address, ':') + 1, path);
    snprintf(c.ca, sizeof(c.ca), "%s", ca);
    assert_int_equal(pthread_create(&thread, NULL, tls_thread, &c), 0);
    while (!__atomic_load_n(&c.done, __ATOMIC_ACQUIRE)) {
        turn(&loop, -1, 0);
        serve_later();
    }
    pthread_join(thread, NULL);
    return c;
}

static struct tls_call tls_ask(const char *address, const char *ca, const char *path, const char *body)
{
    return tls_ask_with(address, ca, path, &(struct tls_call){.body = body});
}

static void make_certificate_of(const char *name, const char *kind)
{
    char command[640];
    pid_t pid;
    int status;

    snprintf(command, sizeof(command),
             "exec openssl req -x509 -newkey %s -nodes -keyout %s/%s.key -out %s/%s.crt -days 2 -subj /CN=%s "
             "-addext subjectAltName=DNS:localhost 2>/dev/null",
             kind, dir, name, dir, name, name);
    pid = fork();
    if (pid == 0) {
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void make_certificate(const char *name)
{
    make_certificate_of(name, "ec -pkeyopt ec_paramgen_curve:prime256v1");
}

static void test_tls(void **state)
{
    static const struct auth_options who = {.insecure = true};
    char cert[128], key[128], other_cert[128], other_key[128];
    struct http_listen tls = {.address = "127.0.0.1:0", .tls_cert = cert, .tls_key = key};
    struct tls_call c;
    struct error e = {0};
    const char *address;

    make_certificate("a");
    make_certificate("b");
    snprintf(cert, sizeof(cert), "%s/a.crt", dir);
    snprintf(key, sizeof(key), "%s/a.key", dir);
    snprintf(other_cert, sizeof(other_cert), "%s/b.crt", dir);
    snprintf(other_key, sizeof(other_key), "%s/b.key", dir);
    start_with(&who, NULL);
    assert_int_equal(http_listen(http, &tls, &e), 0);
    address = http_address(http, 2);

    c = tls_ask(address, cert, "/echo/x", "{\"a\": 1}");
    assert_int_equal(c.code, CURLE_OK);
    assert_int_equal(c.status, 200);
    assert_non_null(strstr(c.reply, "\"body\":{\"a\":1}"));
    c = tls_ask(address, cert, "/keep", NULL);
    assert_string_equal(c.reply, "later");
    c = tls_ask(address, cert, "/stream", NULL);
    assert_int_equal(c.code, CURLE_OK);
    assert_string_equal(c.reply, "piece piece piece ");
    c = tls_ask(address, other_cert, "/open", NULL);
    assert_int_equal(c.code, CURLE_PEER_FAILED_VERIFICATION);

    /* a key that does not belong to the certificate changes nothing; a new pair is used at once */
    assert_int_equal(rename(other_key, key), 0);
    assert_true(http_reload(http, &e) < 0);
    c = tls_ask(address, cert, "/open", NULL);
    assert_int_equal(c.status, 200);
    assert_int_equal(rename(other_cert, cert), 0);
    assert_int_equal(http_reload(http, &e), 0);
    c = tls_ask(address, cert, "/open", NULL);
    assert_int_equal(c.code, CURLE_OK);
    assert_int_equal(c.status, 200);
    assert_int_equal(http_reload(http, &e), 0); /* nothing to do */

    tls.address = "127.0.0.1:0";
    tls.tls_key = NULL;
    assert_int_equal(http_listen(http, &tls, &e), ERR_INVALID);
    tls.tls_key = cert; /* no key at all */
    assert_int_equal(http_listen(http, &tls, &e), ERR_INVALID);
    tls.tls_key = "/nowhere";
    assert_int_equal(http_listen(http, &tls, &e), ERR_IO);
}

static void test_plain_text_to_a_tls_port(void **state)
{
    static const struct auth_options who = {.insecure = true};
    char cert[128], key[128];
    struct http_listen tls = {.address = "127.0.0.1:0", .tls_cert = cert, .tls_key = key};
    static const char request[] = "GET /open HTTP/1.1\r\nHost: localhost\r\n\r\n";
    struct error e;
    struct reply r;
    int fd;

    make_certificate("a");
    snprintf(cert, sizeof(cert), "%s/a.crt", dir);
    snprintf(key, sizeof(key), "%s/a.key", dir);
    start_with(&who, NULL);
    assert_int_equal(http_listen(http, &tls, &e), 0);
    fd = client_connect(http_address(http, 2));
    client_send(&loop, fd, request, strlen(request));
    r = client_receive(&loop, fd, false);
    assert_int_equal(r.status, 400);
    assert_non_null(strstr(r.body, "write https:// before it"));
    reply_release(&r);
    close(fd);
    fd = client_connect(http_address(http, 2)); /* neither */
    client_send(&loop, fd, "\x01\x02\x03\x04\x05\x06", 6);
    assert_true(client_closed(&loop, fd));
    close(fd);
    assert_int_equal(handled, 0);
}

static void test_the_end_of_a_certificate_is_known(void **state)
{
    static const struct auth_options who = {.insecure = true};
    char cert[128], key[128];
    struct http_listen tls = {.address = "127.0.0.1:0", .tls_cert = cert, .tls_key = key};
    int64_t in_two_days = ((int64_t)time(NULL) + 2 * 24 * 3600) * 1000;
    struct error e;

    make_certificate("a");
    snprintf(cert, sizeof(cert), "%s/a.crt", dir);
    snprintf(key, sizeof(key), "%s/a.key", dir);
    start_with(&who, NULL);
    assert_true(http_certificate_expires_ms(http) == INT64_MAX);
    assert_int_equal(http_listen(http, &tls, &e), 0);
    assert_true(llabs(http_certificate_expires_ms(http) - in_two_days) < 3600000);
}

/* Listens on a TLS port too, whose address it gives. */
static const char *start_tls_of(const char *kind, const struct http_options *limits)
{
    static const struct auth_options who = {.insecure = true};
    static char cert[128], key[128];
    struct http_listen tls = {.address = "127.0.0.1:0", .tls_cert = cert, .tls_key = key};
    struct error e;

    make_certificate_of("a", kind);
    snprintf(cert, sizeof(cert), "%s/a.crt", dir);
    snprintf(key, sizeof(key), "%s/a.key", dir);
    start_with(&who, limits);
    assert_int_equal(http_listen(http, &tls, &e), 0);
    return http_address(http, 2);
}

static const char *start_tls(const struct http_options *limits)
{
    return start_tls_of("ec -pkeyopt ec_paramgen_curve:prime256v1", limits);
}

/* ---- the client ---- */

struct asked {
    bool done;
    enum http_outcome outcome;
    int status;
};

static void on_asked(void *arg, const struct http_answer *answer)
{
    struct asked *asked = arg;

    *asked = (struct asked){.done = true, .outcome = answer->outcome, .status = answer->status};
}

static void on_client_closed(void *arg)
{
    *(bool *)arg = true;
}

/* By the program's own client, which trusts `ca`, or the system when it is NULL. */
static struct asked ask_trusting(const char *address, const char *ca)
{
    struct asked asked = {0};
    char url[64];
    struct client_request q = {.method = "GET",
                               .url = url,
                               .ca_file = ca,
                               .timeout_ms = PATIENCE_MS,
                               .done = on_asked,
                               .arg = &asked};
    struct http_client *client;
    struct http_call *call;
    bool closed = false;
    struct error e;

    snprintf(url, sizeof(url), "https://localhost:%s/open", strrchr(address, ':') + 1);
    assert_int_equal(http_client_new(&client, &loop, &e), 0);
    assert_int_equal(http_client_start(&call, client, &q, &e), 0);
    while (!asked.done)
        turn(&loop, -1, 0);
    http_client_close(client, on_client_closed, &closed);
    while (!closed)
        turn(&loop, -1, 0);
    return asked;
}

static bool run(const char *command)
{
    pid_t pid = fork();
    int status;

    if (pid == 0) {
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    return waitpid(pid, &status, 0) == pid && status == 0;
}

/* The folder of the system's authorities holds one certificate, for this process alone. */
static bool system_trusts(const char *name)
{
    char command[256];

    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("tmpfs", "/etc/ssl/certs", "tmpfs", 0, NULL) < 0)
        return false;
    snprintf(command, sizeof(command),
             "cd /etc/ssl/certs && cp %s/%s.crt ca.pem && cp ca.pem ca-certificates.crt && openssl rehash .",
             dir, name);
    return run(command);
}

static void test_a_ca_file_is_all_that_is_trusted(void **state)
{
    const char *address = start_tls(NULL);
    char own[128], other[128];

    make_certificate("b");
    snprintf(own, sizeof(own), "%s/a.crt", dir);
    snprintf(other, sizeof(other), "%s/b.crt", dir);
    if (!system_trusts("a"))
        skip(); /* it takes root */
    assert_int_equal(ask_trusting(address, NULL).status, 200);
    assert_int_equal(ask_trusting(address, own).status, 200);
    assert_int_equal(ask_trusting(address, other).outcome, HTTP_NOT_SENT);
}

/* No key exchange by RSA alone, no CBC, and none of the large groups, of which one handshake costs as much as a
 * hundred of the others. */
static void test_what_is_negotiated(void **state)
{
    static const struct {
        struct tls_call how;
        bool works;
    } cases[] = {
        {{.version = CURL_SSLVERSION_TLSv1_3}, true},
        {{.version = CURL_SSLVERSION_TLSv1_3, .curves = "X25519"}, true},
        {{.version = CURL_SSLVERSION_TLSv1_3, .curves = "P-256"}, true},
        {{.version = CURL_SSLVERSION_TLSv1_3, .curves = "ffdhe2048"}, false},
        {{.version = CURL_SSLVERSION_TLSv1_3, .curves = "ffdhe8192"}, false},
        {{.version = CURL_SSLVERSION_TLSv1_3, .curves = "P-521"}, false},
        {{.version = CURL_SSLVERSION_MAX_TLSv1_2, .ciphers = "ECDHE-RSA-AES128-GCM-SHA256"}, true},
        {{.version = CURL_SSLVERSION_MAX_TLSv1_2, .ciphers = "ECDHE-RSA-CHACHA20-POLY1305"}, true},
        {{.version = CURL_SSLVERSION_MAX_TLSv1_2, .ciphers = "ECDHE-RSA-AES128-SHA"}, false},
        {{.version = CURL_SSLVERSION_MAX_TLSv1_2, .ciphers = "ECDHE-RSA-AES256-SHA384"}, false},
        {{.version = CURL_SSLVERSION_MAX_TLSv1_2, .ciphers = "AES128-SHA"}, false},
        {{.version = CURL_SSLVERSION_MAX_TLSv1_2, .ciphers = "AES128-GCM-SHA256"}, false},
        {{.version = CURL_SSLVERSION_MAX_TLSv1_2, .ciphers = "DHE-RSA-AES128-GCM-SHA256"}, false},
        {{.version = CURL_SSLVERSION_MAX_TLSv1_1, .ciphers = "ALL:@SECLEVEL=0"}, false},
    };
    const char *address = start_tls_of("rsa:2048", NULL);
    char ca[128];

    snprintf(ca, sizeof(ca), "%s/a.crt", dir);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct tls_call c = tls_ask_with(address, ca, "/open", &cases[i].how);

        assert_int_equal(c.code == CURLE_OK, cases[i].works);
        assert_int_equal(c.status, cases[i].works ? 200 : 0);
    }
}

/* ---- clients that stop in the middle ---- */

/* Whatever it says before. */
static bool client_closed_after_all(int fd)
{
    uint64_t deadline = client_deadline();
    char bytes[4096];
    ssize_t n;

    while ((n = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT)) > 0 || (n < 0 && errno == EAGAIN)) {
        if (client_late(deadline))
            return false;
        turn(&loop, fd, POLLIN);
    }
    return true;
}

static void assert_socket_answers(void)
{
    struct reply r = client_ask(&loop, unix_address, "GET /open", "", NULL);

    assert_int_equal(r.status, 200);
    reply_release(&r);
}

/* Each prefix of a hello is held by a client that says no more; the socket is asked while it is. The alarm ends
 * a loop that never comes back to its descriptors. */
static void test_a_part_of_a_hello_holds_up_nobody(void **state)
{
    const char *address = start_tls(NULL);
    size_t whole = sizeof(hello) - 1;
    int fds[HOLD_MAX], held = 0;

    alarm(120);
    for (size_t n = 1; n <= whole; n += n < 16 || n > whole - 16 ? 1 : 7) {
        if (held == HOLD_MAX)
            while (held > 0)
                close(fds[--held]);
        fds[held] = client_connect(address);
        assert_true(client_send(&loop, fds[held], hello, n));
        held++;
        assert_socket_answers();
    }
    while (held > 0)
        close(fds[--held]);
    alarm(0);
}

/* A handshake and the first request's headers have their time, whatever comes of them. */
static void test_a_handshake_ends(void **state)
{
    static const struct http_options limits = {.first_ms = 300};
    const char *address = start_tls(&limits);
    static const size_t sizes[] = {0, 1, 5, 6, 100, sizeof(hello) - 2, sizeof(hello) - 1};

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        int fd = client_connect(address);
        uint64_t begun = uv_hrtime();

        assert_true(client_send(&loop, fd, hello, sizes[i]));
        assert_true(client_closed_after_all(fd));
        assert_in_range((uv_hrtime() - begun) / 1000000, 250, 5000);
        close(fd);
    }
}

static void test_garbage_instead_of_a_hello(void **state)
{
    static const struct http_options limits = {.first_ms = 1000};
    const char *address = start_tls(&limits);
    char bytes[2048];
    int fds[32];

    srandom(7);
    for (int i = 0; i < 32; i++) {
        memcpy(bytes, hello, sizeof(hello) - 1);
        for (size_t n = 0; n < sizeof(bytes); n++)
            if (n >= sizeof(hello) - 1 || (n > 4 && random() % 16 == 0))
                bytes[n] = (char)random();
        fds[i] = client_connect(address);
        client_send(&loop, fds[i], bytes, (size_t)i * 64);
    }
    assert_socket_answers();
    for (int i = 0; i < 32; i++) {
        assert_true(client_closed_after_all(fds[i]));
        close(fds[i]);
    }
}

static unsigned long turns_in_ms(uint64_t ms)
{
    uint64_t until = uv_hrtime() + ms * 1000000;
    unsigned long turns = 0;

    for (; uv_hrtime() < until; turns++)
        turn(&loop, -1, 0);
    return turns;
}

static void test_a_part_of_a_hello_costs_no_time(void **state)
{
    const char *address = start_tls(NULL);
    int fd = client_connect(address);

    assert_true(client_send(&loop, fd, hello, 6));
    turns_in_ms(100);
    assert_in_range(turns_in_ms(500), 0, 400);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLAIN(test_tls),
        PLAIN(test_plain_text_to_a_tls_port),
        PLAIN(test_the_end_of_a_certificate_is_known),
        PLAIN(test_what_is_negotiated),
        PLAIN(test_a_handshake_ends),
        PLAIN(test_garbage_instead_of_a_hello),
        PLAIN(test_a_ca_file_is_all_that_is_trusted),
        PLAIN(test_a_part_of_a_hello_holds_up_nobody),
        PLAIN(test_a_part_of_a_hello_costs_no_time),
    };

    return cmocka_run_group_tests_name("http_tls", tests, NULL, NULL);
}
