#include "tests/support/http_fixture.h"

#include <ftw.h>

uv_loop_t loop;
struct http *http;
struct auth *auth;
char dir[40], unix_address[64];
const char *tcp_address;
struct http_request *kept[PARALLEL + 8];
size_t kept_count;
struct http_stream *stream;
int handled, stream_closed, stream_drained;
char metrics[16384];

/* ---- routes for the tests ---- */

static void handle_echo(struct http_request *r, void *arg)
{
    handled++;
    http_reply_json(r, 200,
                    json_pack("{s:s, s:s, s:s?, s:O?, s:s, s:s}", "method", http_method(r), "name",
                              http_param(r, "name"), "q", http_query(r, "q"), "body", http_body(r), "caller",
                              http_caller(r)->name, "role", auth_role_name(http_caller(r)->role)));
}

static void handle_keep(struct http_request *r, void *arg)
{
    handled++;
    kept[kept_count++] = http_request_ref(r);
}

static void handle_nothing(struct http_request *r, void *arg)
{
    handled++;
    http_reply_text(r, 200, "text/plain", "ok\n");
}

static void handle_big(struct http_request *r, void *arg)
{
    char *text = malloc(BIG_BYTES + 1);

    assert_non_null(text);
    memset(text, 'x', BIG_BYTES);
    text[BIG_BYTES] = '\0';
    handled++;
    http_reply_text(r, 200, "application/octet-stream", text);
    free(text);
}

static void handle_slow(struct http_request *r, void *arg)
{
    uint64_t until_ns = uv_hrtime() + SLOW_MS * UINT64_C(1000000);

    handled++;
    while (uv_hrtime() < until_ns)
        ;
    http_reply_text(r, 200, "text/plain", "slow\n");
}

static void handle_text(struct http_request *r, void *arg)
{
    static char text[TEXT_BYTES + 1];

    handled++;
    memset(text, 'x', TEXT_BYTES);
    http_reply_text(r, 200, "text/plain", text);
}

static void on_drained(void *arg)
{
    stream_drained++;
}

static void on_closed(void *arg)
{
    stream_closed++;
    stream = NULL;
}

static void handle_stream(struct http_request *r, void *arg)
{
    static const struct http_stream_events events = {on_drained, on_closed};

    handled++;
    stream = http_reply_stream(r, 200, "text/plain", &events, NULL);
}

static const struct http_route routes[] = {
    {"GET", "/open", NULL, AUTH_NOBODY, 0, handle_nothing},
    {"GET", "/echo/{name}", "q,limit", AUTH_READ, 0, handle_echo},
    {"POST", "/echo/{name}", NULL, AUTH_OPERATE, 1000, handle_echo},
    {"DELETE", "/echo/{name}", NULL, AUTH_ADMIN, 0, handle_echo},
    {"POST", "/large", NULL, AUTH_ADMIN, 8 * 1024 * 1024, handle_nothing},
    {"GET", "/keep", NULL, AUTH_READ, 0, handle_keep},
    {"POST", "/keep", NULL, AUTH_READ, 1000, handle_keep},
    {"GET", "/stream", NULL, AUTH_READ, 0, handle_stream},
    {"GET", "/big", NULL, AUTH_READ, 0, handle_big},
    {"GET", "/slow", NULL, AUTH_READ, 0, handle_slow},
    {"GET", "/text", NULL, AUTH_READ, 0, handle_text},
    {"GET", "/heavy", NULL, AUTH_READ, 0, handle_keep, .heavy = true},
    {"GET", "/heavy/slow", NULL, AUTH_READ, 0, handle_keep, .answer_ms = 10 * 60 * 1000, .heavy = true},
};

/* ---- set up ---- */

void start_with(const struct auth_options *who, const struct http_options *limits)
{
    struct http_options options = {.loop = &loop};
    struct error e = {0};
    struct http_listen unix_listen = {.address = unix_address}, tcp = {.address = "127.0.0.1:0"};

    if (limits)
        options = *limits;
    options.loop = &loop;
    assert_int_equal(auth_new(&auth, who, &e), 0);
    options.auth = auth;
    assert_int_equal(http_new(&http, &options, &e), 0);
    assert_int_equal(http_add_routes(http, routes, sizeof(routes) / sizeof(routes[0]), NULL, &e), 0);
    assert_int_equal(http_listen(http, &unix_listen, &e), 0);
    assert_int_equal(http_listen(http, &tcp, &e), 0);
    tcp_address = http_address(http, 1);
}

static void on_http_closed(void *arg)
{
    *(bool *)arg = true;
}

void stop(void)
{
    bool done = false;
    uint64_t deadline = client_deadline();

    if (!http)
        return;
    http_close(http, on_http_closed, &done);
    while (!done && !client_late(deadline))
        turn(&loop, -1, 0);
    assert_true(done);
    http = NULL;
    auth_free(auth);
    auth = NULL;
}

int set_up(void **state)
{
    signal(SIGPIPE, SIG_IGN);
    snprintf(dir, sizeof(dir), "/tmp/cronsched-http-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    snprintf(unix_address, sizeof(unix_address), "unix:%s/http.sock", dir);
    kept_count = 0;
    handled = stream_closed = stream_drained = 0;
    stream = NULL;
    return uv_loop_init(&loop);
}

int set_up_server(void **state)
{
    static const struct auth_options who = {.insecure = true}; /* so that TCP can be used without tokens */

    if (set_up(state) < 0)
        return -1;
    start_with(&who, NULL);
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    return remove(path);
}

int tear_down(void **state)
{
    stop();
    nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    uv_run(&loop, UV_RUN_NOWAIT);
    return uv_loop_close(&loop);
}

void wait_kept(size_t count)
{
    uint64_t deadline = client_deadline();

    while (kept_count < count && !client_late(deadline))
        turn(&loop, -1, 0);
    assert_int_equal(kept_count, count);
}

void assert_error(const struct reply *r, int status, const char *code, const char *text)
{
    json_t *json = r->body ? json_loads(r->body, 0, NULL) : NULL;
    const char *got_code = NULL, *got_text = NULL;

    json_unpack(json, "{s:{s:s, s:s}}", "error", "code", &got_code, "text", &got_text);
    if (r->status != status || !got_code || strcmp(got_code, code) != 0 || (text && !strstr(got_text, text)))
        print_error("expected %d %s '%s', got %d: %s\n", status, code, text ? text : "", r->status,
                    r->body ? r->body : "(nothing)");
    assert_int_equal(r->status, status);
    assert_string_equal(got_code, code);
    if (text)
        assert_non_null(strstr(got_text, text));
    json_decref(json);
}

__attribute__((format(printf, 2, 3))) static void put_metric(void *arg, const char *format, ...)
{
    size_t n = strlen(metrics);
    va_list ap;

    va_start(ap, format);
    vsnprintf(metrics + n, sizeof(metrics) - n, format, ap);
    va_end(ap);
}

void read_metrics(void)
{
    metrics[0] = '\0';
    http_metrics(http, put_metric, NULL);
}
