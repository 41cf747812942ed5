#include "tests/integration/docker_fixture.h"

#include "cronsched/io/run_log_reader.h"
#include "jobs/base/alloc.h"
#include "jobs/base/text.h"
#include "jobs/state/record.h"
#include "tests/support/patience.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "docker test: %s (%s)\n", what, strerror(errno));
    abort();
}

static int64_t mono_ms(void)
{
    return (int64_t)(uv_hrtime() / 1000000);
}

/* ---- the host ---- */

static void on_answer(struct engine_host *host, const struct engine_answer *a)
{
    struct fixture *f = (struct fixture *)(void *)host;
    struct test_answer *t;
    if (f->answer_count == ANSWERS_MAX)
        die("too many answers");
    t = &f->answers[f->answer_count++];
    *t = (struct test_answer){.ticket = a->ticket,
                              .event = a->event,
                              .started_ms = a->started_ms,
                              .at_ms = a->at_ms,
                              .exit_code = a->exit_code,
                              .starts = a->starts};
    snprintf(t->id, sizeof(t->id), "%s", a->id ? a->id : "");
    snprintf(t->boot_id, sizeof(t->boot_id), "%s", a->boot_id ? a->boot_id : "");
    snprintf(t->identity, sizeof(t->identity), "%s", a->identity ? a->identity : "");
    snprintf(t->cause, sizeof(t->cause), "%s", a->cause ? a->cause : "");
    snprintf(t->text, sizeof(t->text), "%s", a->text ? a->text : "");
}

static bool host_keep(struct engine_host *host, const char *run, int attempt, int64_t epoch, const char *id)
{
    return ((struct fixture *)(void *)host)->keep;
}

static int64_t host_now(struct engine_host *host)
{
    struct fixture *f = (struct fixture *)(void *)host;
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return f->now_ms ? f->now_ms : ts.tv_sec * INT64_C(1000) + ts.tv_nsec / 1000000;
}

static int64_t host_epoch(struct engine_host *host)
{
    return ((struct fixture *)(void *)host)->epoch;
}

static void host_stray(struct engine_host *host, const struct engine *engine, const char *run, int attempt,
                       const char *id, bool running)
{
    struct fixture *f = (struct fixture *)(void *)host;

    snprintf(f->stray, sizeof(f->stray), "%s", id);
    f->strays += running;
    f->strays_over += !running;
}

static void host_back(struct engine_host *host, const struct engine *engine)
{
    (void)host;
    (void)engine;
}

static const char *host_cluster(struct engine_host *host)
{
    return TEST_CLUSTER;
}

/* ---- the proxy ---- */

struct link {
    struct fixture *f;
    uv_pipe_t client, docker;
    uv_connect_t connect;
    char in[65536];
    bool lose;
    int closed;
};

struct chunk {
    uv_write_t write;
    struct link *link;
    char bytes[];
};

static void on_link_closed(uv_handle_t *h)
{
    struct link *l = h->data;
    if (++l->closed == 2)
        free(l);
}

static void link_close(struct link *l)
{
    if (!uv_is_closing((uv_handle_t *)&l->client))
        uv_close((uv_handle_t *)&l->client, on_link_closed);
    if (!uv_is_closing((uv_handle_t *)&l->docker))
        uv_close((uv_handle_t *)&l->docker, on_link_closed);
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
    struct link *l = h->data;
    *buf = uv_buf_init(l->in, sizeof(l->in));
}

static void on_written(uv_write_t *w, int status)
{
    struct chunk *c = w->data;
    if (status < 0)
        link_close(c->link);
    free(c);
}

static void pass(struct link *l, uv_pipe_t *to, const char *bytes, size_t n)
{
    struct chunk *c = alloc_zero(sizeof(*c) + n);
    uv_buf_t buf = uv_buf_init(c->bytes, (unsigned)n);
    memcpy(c->bytes, bytes, n);
    c->link = l;
    c->write.data = c;
    if (uv_write(&c->write, (uv_stream_t *)to, &buf, 1, on_written) < 0) {
        free(c);
        link_close(l);
    }
}

static void on_from_docker(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
    struct link *l = s->data;
    if (n > 0 && !l->lose)
        pass(l, &l->client, buf->base, (size_t)n);
    else if (n != 0) {
        if (n > 0)
            l->f->lost++;
        link_close(l);
    }
}

static void on_from_client(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
    struct link *l = s->data;
    struct fixture *f = l->f;
    char line[512];
    if (n <= 0) {
        if (n < 0)
            link_close(l);
        return;
    }
    snprintf(line, sizeof(line), "%.*s", (int)(n < 500 ? n : 500), buf->base);
    line[strcspn(line, "\r\n")] = '\0';
    if (f->match && f->manner != PROXY_PASS && strstr(line, f->match)) {
        if (f->manner == PROXY_CUT) {
            f->lost++;
            link_close(l);
            return;
        }
        l->lose = true;
    }
    pass(l, &l->docker, buf->base, (size_t)n);
}

static void on_docker(uv_connect_t *c, int status)
{
    struct link *l = c->data;
    if (status < 0 || uv_is_closing((uv_handle_t *)&l->client)) {
        link_close(l);
        return;
    }
    uv_read_start((uv_stream_t *)&l->docker, on_alloc, on_from_docker);
    uv_read_start((uv_stream_t *)&l->client, on_alloc, on_from_client);
}

static void on_client(uv_stream_t *listener, int status)
{
    struct fixture *f = listener->data;
    struct link *l = alloc_zero(sizeof(*l));
    l->f = f;
    uv_pipe_init(&f->loop, &l->client, 0);
    uv_pipe_init(&f->loop, &l->docker, 0);
    l->client.data = l->docker.data = l->connect.data = l;
    uv_accept(listener, (uv_stream_t *)&l->client);
    uv_pipe_connect(&l->connect, &l->docker, f->docker_socket, on_docker);
}

static void on_listener_closed(uv_handle_t *h)
{
    ((struct fixture *)h->data)->listening = false;
}

void fixture_proxy(struct fixture *f, enum proxy_manner manner, const char *match)
{
    f->manner = manner;
    f->match = match;
    f->lost = 0;
    if (manner == PROXY_CLOSED && f->listening) {
        uv_close((uv_handle_t *)&f->listener, on_listener_closed);
        while (f->listening)
            uv_run(&f->loop, UV_RUN_ONCE);
        unlink(f->proxy_socket);
    } else if (manner != PROXY_CLOSED && !f->listening) {
        unlink(f->proxy_socket);
        uv_pipe_init(&f->loop, &f->listener, 0);
        f->listener.data = f;
        if (uv_pipe_bind(&f->listener, f->proxy_socket) < 0 ||
            uv_listen((uv_stream_t *)&f->listener, 128, on_client) < 0)
            die("the proxy cannot listen");
        f->listening = true;
    }
}

/* ---- life ---- */

void fixture_engine_new(struct fixture *f)
{
    char endpoint[300], ca[300], cert[300], key[300];
    const char *certs = getenv("DOCKER_CERTS");
    struct error error;
    struct docker_engine_options o = {
        .name = "docker",
        .endpoint = endpoint,
        .data_dir = f->folder,
        .parallel = 8,
        .retention_ms = f->retention_ms,
        .sweep_ms = f->sweep_ms,
        .ping_ms = f->ping_ms,
        .files_dir = f->files_dir,
        .allow = f->allow,
    };
    snprintf(endpoint, sizeof(endpoint), "unix://%s", f->direct ? f->docker_socket : f->proxy_socket);
    if (f->tls_ca) {
        snprintf(endpoint, sizeof(endpoint), "tcp://127.0.0.1:%s", getenv("DOCKER_TLS_PORT"));
        snprintf(ca, sizeof(ca), "%s/%s.pem", certs, f->tls_ca);
        o.tls_ca = ca;
    }
    if (f->tls_client) {
        snprintf(cert, sizeof(cert), "%s/%s.pem", certs, f->tls_client);
        snprintf(key, sizeof(key), "%s/%s.key", certs, f->tls_client);
        o.tls_cert = cert;
        o.tls_key = key;
    }
    if (docker_engine_new(&f->engine, &f->loop, &o, &f->host, &error) < 0)
        die(error.text);
}

static void on_engine_closed(void *arg)
{
    *(bool *)arg = true;
}

static bool is_true(struct fixture *f, void *arg)
{
    return *(bool *)arg;
}

void fixture_engine_close(struct fixture *f)
{
    bool closed = false;
    f->engine->ops->close(f->engine, on_engine_closed, &closed);
    fixture_until(f, is_true, &closed, "the engine to close");
    f->engine = NULL;
}

struct fixture *fixture_new(void)
{
    struct fixture *f = alloc_zero(sizeof(*f));
    const char *parent = getenv("DOCKER_FOLDER"), *socket = getenv("DOCKER_SOCKET");
    char path[300];
    if (!parent || !socket)
        die("start me by docker_engine.py");
    f->host =
        (struct engine_host){on_answer, host_keep, host_now, host_epoch, host_cluster, host_back, host_stray};
    f->epoch = 7;
    signal(SIGPIPE, SIG_IGN); /* as every program with sockets has to */
    f->keep = true;
    snprintf(f->docker_socket, sizeof(f->docker_socket), "%s", socket);
    snprintf(f->folder, sizeof(f->folder), "%s/t-XXXXXX", parent);
    if (!mkdtemp(f->folder))
        die("mkdtemp");
    snprintf(f->proxy_socket, sizeof(f->proxy_socket), "%.200s/proxy.sock", f->folder);
    snprintf(path, sizeof(path), "%s/ledger", f->folder);
    if (mkdir(path, 0777) < 0 || chmod(path, 0777) < 0)
        die("mkdir");
    uv_loop_init(&f->loop);
    uv_timer_init(&f->loop, &f->poll);
    fixture_proxy(f, PROXY_PASS, NULL);
    fixture_engine_new(f);
    return f;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    return remove(path);
}

static void close_rest(uv_handle_t *h, void *arg)
{
    if (!uv_is_closing(h)) /* ends of the proxy */
        uv_close(h, on_link_closed);
}

void fixture_free(struct fixture *f)
{
    if (f->engine)
        fixture_engine_close(f);
    fixture_proxy(f, PROXY_CLOSED, NULL);
    uv_close((uv_handle_t *)&f->poll, NULL);
    uv_walk(&f->loop, close_rest, NULL);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    if (uv_loop_close(&f->loop) < 0)
        die("the loop is still in use");
    nftw(f->folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(f);
}

int fixture_set_up(void **state)
{
    *state = fixture_new();
    return 0;
}

int fixture_tear_down(void **state)
{
    fixture_free(*state);
    return 0;
}

/* ---- the loop ---- */

static void on_poll_timer(uv_timer_t *t)
{
}

static bool turn_until(struct fixture *f, bool (*condition)(struct fixture *f, void *arg), void *arg,
                       int64_t ms)
{
    int64_t deadline = mono_ms() + ms;
    bool holds;
    uv_timer_start(&f->poll, on_poll_timer, 10, 10);
    while (!(holds = condition(f, arg)) && mono_ms() < deadline)
        uv_run(&f->loop, UV_RUN_ONCE);
    uv_timer_stop(&f->poll);
    return holds;
}

void fixture_until(struct fixture *f, bool (*condition)(struct fixture *f, void *arg), void *arg,
                   const char *what)
{
    if (!turn_until(f, condition, arg, patience_ms(DEADLINE_MS))) {
        fprintf(stderr, "docker test: waited for %s\n", what);
        abort();
    }
}

static bool never(struct fixture *f, void *arg)
{
    return false;
}

void fixture_turn(struct fixture *f, int64_t ms)
{
    turn_until(f, never, NULL, ms);
}

/* ---- attempts ---- */

struct job *fixture_job(struct fixture *f, const char *name, const char *script, const char *more)
{
    struct error error = {0};
    struct job *job = NULL;
    char volume[300];
    /* a network of its own, even an empty one, is half of what a container costs */
    json_t *json = json_pack("{s:s, s:[s,s,s], s:s, s:s}", "image", TEST_IMAGE, "command", "sh", "-c", script,
                             "pull", "never", "network", "host");
    snprintf(volume, sizeof(volume), "%s/ledger:/ledger", f->folder);
    json_object_set_new(json, "volumes", json_pack("[s]", volume));
    if (more) {
        json_t *extra = json_loads(more, 0, NULL);
        if (!extra)
            die(more);
        json_object_update(json, extra);
        json_decref(extra);
    }
    if (job_from_json(&job, name, json, NULL, &error) < 0)
        die(error.text);
    json_decref(json);
    return job;
}

struct attempt_id fixture_attempt(struct fixture *f, struct job *job)
{
    static int64_t number;
    struct attempt_id a = {.try = 1};
    char run[RUN_ID_MAX];
    number += 1000;
    snprintf(a.run, sizeof(a.run), "%.60s", run_id_format(job->name, TEST_FIRE_MS + number, false, run));
    snprintf(a.name, sizeof(a.name), "cs-%08llx%08llx", (unsigned long long)(uv_hrtime() & 0xffffffff),
             (unsigned long long)number);
    return a;
}

uint64_t fixture_submit(struct fixture *f, enum engine_op op, struct job *job, const struct attempt_id *a,
                        bool may_have_run)
{
    struct engine_request q = {
        .ticket = ++f->next_ticket,
        .job = job,
        .run = a->run,
        .attempt = 1,
        .try = a->try,
        .epoch = f->epoch,
        .name = a->name,
        .id = op == ENGINE_PREPARE ? NULL : a->id,
        .boot_id = a->boot_id[0] ? a->boot_id : NULL,
        .identity = a->identity[0] ? a->identity : NULL,
        .started_ms = a->started_ms,
        .may_have_run = may_have_run,
        .stopping_ms = a->stopping_ms,
        .asked_before = a->stopping_ms > 0,
        .cause = "schedule",
        .fire_ms = TEST_FIRE_MS,
        .previous_fire_ms = TEST_FIRE_MS - 86400000,
    };
    f->engine->ops->submit(f->engine, op, &q);
    return q.ticket;
}

struct wanted {
    uint64_t ticket;
    struct test_answer *found;
};

static bool has_answer(struct fixture *f, void *arg)
{
    struct wanted *w = arg;
    for (size_t i = 0; i < f->answer_count; i++)
        if (f->answers[i].ticket == w->ticket) {
            w->found = &f->answers[i];
            return true;
        }
    return false;
}

struct test_answer *fixture_wait_ms(struct fixture *f, uint64_t ticket, int64_t ms)
{
    struct wanted w = {.ticket = ticket};
    if (!turn_until(f, has_answer, &w, ms))
        return NULL;
    w.found->ticket = 0; /* taken */
    return w.found;
}

struct test_answer *fixture_wait(struct fixture *f, uint64_t ticket)
{
    struct test_answer *a = fixture_wait_ms(f, ticket, patience_ms(DEADLINE_MS));
    if (!a) {
        struct engine_status status;
        f->engine->ops->status(f->engine, &status);
        fprintf(stderr, "no answer; the engine says: %s\n", status.text);
        abort();
    }
    return a;
}

struct test_answer *fixture_ask(struct fixture *f, enum engine_op op, struct job *job,
                                const struct attempt_id *a, bool may_have_run)
{
    return fixture_wait(f, fixture_submit(f, op, job, a, may_have_run));
}

struct attempt_id fixture_prepared(struct fixture *f, struct job *job)
{
    struct attempt_id a = fixture_attempt(f, job);
    struct test_answer *t = fixture_ask(f, ENGINE_PREPARE, job, &a, false);
    if (t->event != ENGINE_PREPARED)
        die(t->text);
    snprintf(a.id, sizeof(a.id), "%s", t->id);
    snprintf(a.boot_id, sizeof(a.boot_id), "%s", t->boot_id);
    snprintf(a.identity, sizeof(a.identity), "%s", t->identity);
    return a;
}

struct test_answer *fixture_run(struct fixture *f, struct job *job, struct attempt_id *ret)
{
    struct attempt_id a = fixture_prepared(f, job);
    struct test_answer *t = fixture_ask(f, ENGINE_RELEASE, job, &a, false);
    if (ret)
        *ret = a;
    if (t->event != ENGINE_STARTED)
        return t;
    return fixture_ask(f, ENGINE_WATCH, job, &a, true);
}

/* ---- files ---- */

static char *read_all(const char *path)
{
    char *data = alloc_zero(1), buffer[4096];
    size_t n = 0;
    ssize_t got;
    int fd = open(path, O_RDONLY);
    if (fd < 0) {
        free(data);
        return NULL;
    }
    while ((got = read(fd, buffer, sizeof(buffer))) > 0) {
        data = alloc_resize(data, n + (size_t)got + 1);
        memcpy(data + n, buffer, (size_t)got);
        n += (size_t)got;
        data[n] = '\0';
    }
    close(fd);
    return data;
}

char *fixture_read(struct fixture *f, const char *name)
{
    char path[600];
    snprintf(path, sizeof(path), "%s/ledger/%s", f->folder, name);
    return read_all(path);
}

int fixture_count(struct fixture *f, const char *name)
{
    char *text = fixture_read(f, name);
    int lines = 0;
    for (const char *c = text; c && *c; c++)
        lines += *c == '\n';
    free(text);
    return lines;
}

char *fixture_log(struct fixture *f, const struct attempt_id *a)
{
    char path[RUN_LOG_PATH_MAX];
    if (run_log_path(f->folder, a->run, 1, path, sizeof(path), NULL) < 0)
        die("no path for the log");
    const struct run_log_view all = {.tail = -1};
    struct run_log_reader *reader = run_log_reader_new(path, &all);
    char *data = NULL;
    size_t at = 0, n;
    do {
        data = alloc_resize(data, at + RUN_LOG_BLOCK_LEAST + 1);
        if (run_log_reader_read(reader, data + at, RUN_LOG_BLOCK_LEAST, &n) < 0)
            n = 0;
        at += n;
    } while (n > 0);
    data[at] = '\0';
    run_log_reader_free(reader);
    return data;
}

struct lines_wanted {
    const char *name;
    int lines;
};

static bool has_lines(struct fixture *f, void *arg)
{
    const struct lines_wanted *w = arg;
    return fixture_count(f, w->name) >= w->lines;
}

void fixture_until_lines(struct fixture *f, const char *name, int lines)
{
    struct lines_wanted w = {name, lines};
    fixture_until(f, has_lines, &w, "the ledger");
}

/* ---- dockerd, directly ---- */

static size_t on_body(char *bytes, size_t one, size_t n, void *arg)
{
    return text_add_bytes(arg, bytes, n) < 0 ? 0 : n;
}

int fixture_docker(struct fixture *f, const char *method, const char *path, const char *body,
                   json_t **ret_json)
{
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
    CURL *c = curl_easy_init();
    char url[1024];
    struct text answer;
    long status = 0;

    text_init(&answer, 16 * 1024 * 1024);
    snprintf(url, sizeof(url), "http://localhost%s", path);
    curl_easy_setopt(c, CURLOPT_UNIX_SOCKET_PATH, f->docker_socket);
    curl_easy_setopt(c, CURLOPT_URL, url);
    curl_easy_setopt(c, CURLOPT_TIMEOUT, 60L);
    curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, &answer);
    if (body || strcmp(method, "POST") == 0)
        curl_easy_setopt(c, CURLOPT_POSTFIELDS, body ? body : "");
    curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, method);
    curl_easy_perform(c);
    curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &status);
    if (ret_json)
        *ret_json = json_loads(text_str(&answer), JSON_DECODE_ANY, NULL);
    text_release(&answer);
    curl_slist_free_all(headers);
    curl_easy_cleanup(c);
    return (int)status;
}

/* ---- the tests' words ---- */

void fixture_expect_text(const char *text, const char *part)
{
    if (!text || !strstr(text, part))
        fail_msg("'%s' lacks '%s'", text ? text : "(nothing)", part);
}

void fixture_expect(const struct test_answer *t, enum engine_event event)
{
    if (t->event != event)
        fail_msg("%s instead of %s (exit code %d): %s", engine_event_name(t->event), engine_event_name(event),
                 t->exit_code, t->text);
}

int fixture_remove(struct fixture *f, const struct attempt_id *a)
{
    char path[256];
    snprintf(path, sizeof(path), "/containers/%s", a->id);
    return fixture_docker(f, "DELETE", path, NULL, NULL);
}

const char *fixture_status(struct fixture *f, const struct attempt_id *a)
{
    static char status[32];
    char path[256];
    json_t *json = NULL;
    snprintf(path, sizeof(path), "/containers/%s/json", a->id);
    fixture_docker(f, "GET", path, NULL, &json);
    const char *s = json_string_value(json_object_get(json_object_get(json, "State"), "Status"));
    snprintf(status, sizeof(status), "%s", s ? s : "gone");
    json_decref(json);
    return status;
}

int fixture_start(struct fixture *f, const struct attempt_id *a)
{
    char path[256];
    snprintf(path, sizeof(path), "/containers/%s/start", a->id);
    return fixture_docker(f, "POST", path, NULL, NULL);
}

void fixture_make_forget(struct fixture *f)
{
    json_t *json;
    char path[256];
    if (fixture_docker(f, "POST", "/containers/create", "{\"Image\":\"" TEST_IMAGE "\",\"Cmd\":[\"true\"]}",
                       &json) != 201)
        die("no container to rename");
    const char *id = json_string_value(json_object_get(json, "Id"));
    for (int i = 0; i < 300; i++) {
        snprintf(path, sizeof(path), "/containers/%s/rename?name=forget-%d", id, i);
        if (fixture_docker(f, "POST", path, NULL, NULL) != 204)
            die("it cannot be renamed");
    }
    snprintf(path, sizeof(path), "/containers/%s", id);
    fixture_docker(f, "DELETE", path, NULL, NULL);
    json_decref(json);
}
