/* Large answers of the API: made a piece at a time, for who reads them, and on threads of its own. */
#include "cronsched/api/api_priv.h"
#include "tests/support/api_fixture.h"

#include <semaphore.h>

#define SERVER(f) cmocka_unit_test_setup_teardown(f, set_up_api, tear_down)

#define ROWS 50000

static int send_get(const char *path)
{
    int fd = client_connect(address);
    char request[256];

    snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", path);
    client_send(&loop, fd, request, strlen(request));
    return fd;
}

/* They are made while they are read, a piece in each turn. */
static void test_a_large_answer_comes_in_pieces(void **state)
{
    uint64_t deadline = client_deadline();
    struct reply r = {0};
    json_t *jobs;
    int fd, most = 0;

    fake.walk_rows = ROWS;
    fd = send_get("/v1/jobs");
    while (!client_late(deadline) && !reply_parse(&r, false)) {
        int before = fake.walk_made;

        receive_more(&loop, fd, &r);
        most = fake.walk_made - before > most ? fake.walk_made - before : most;
    }
    close(fd);
    assert_in_range(most, 1, ROWS / 2);
    jobs = body_of(&r);
    assert_int_equal(json_array_size(jobs), ROWS);
    assert_int_equal(json_integer_value(json_object_get(json_array_get(jobs, ROWS - 1), "number")), ROWS - 1);
    json_decref(jobs);
    reply_release(&r);
}

/* Who does not read has the server hold a stream's worth, and no more is made for him. */
static void test_an_answer_waits_for_its_reader(void **state)
{
    int fds[HTTP_HEAVY_PER_CALLER], made;

    fake.walk_rows = 100 * ROWS;
    for (int i = 0; i < HTTP_HEAVY_PER_CALLER; i++)
        fds[i] = send_get("/v1/jobs");
    do {
        made = fake.walk_made;
        for (int i = 0; i < 10; i++)
            turn(&loop, -1, 0);
    } while (fake.walk_made > made);
    assert_in_range(made, 1, 2 * ROWS);
    for (int i = 0; i < HTTP_HEAVY_PER_CALLER; i++)
        close(fds[i]);
    for (int i = 0; i < 1000 && !list_empty(&api->answers); i++)
        turn(&loop, -1, 0);
}

/* The jobs that it is over are another leader's now: the reader notices that it is not whole. */
static void test_an_answer_that_cannot_go_on(void **state)
{
    struct reply r = {0};
    uint64_t deadline = client_deadline();
    int fd;

    fake.walk_rows = ROWS;
    fake.walk_gone = 10;
    assert_answer("GET /v1/jobs", NULL, 503, "ask again");
    fake.walk_gone = ROWS / 2;
    fd = send_get("/v1/jobs");
    while (!client_late(deadline) && !r.closed)
        receive_more(&loop, fd, &r);
    assert_true(fake.walk_made >= ROWS / 2);
    assert_null(strstr(r.raw, "\r\n0\r\n")); /* not as if it had come to its end */
    reply_release(&r);
    close(fd);
}

/* The rows of an audit may be millions: nobody else has others read before the first has freed its own. */
static void test_one_audit_at_a_time(void **state)
{
    struct reply r;
    int fd;

    json_decref(fake.stored);
    fake.stored = json_pack("{s:[], s:[], s:[], s:[], s:[]}", "runs", "skips", "records", "pruned", "gaps");
    fake.hold_history = true;
    fd = send_get("/v1/audit?since=2026-11-21T00:00:00Z");
    while (!fake.answer)
        turn(&loop, -1, 0);
    r = ask("GET /v1/audit?since=2026-11-21T00:00:00Z", NULL);
    assert_int_equal(r.status, 429);
    reply_release(&r);
    answer_history();
    r = client_receive(&loop, fd, false);
    assert_int_equal(r.status, 200);
    reply_release(&r);
    close(fd);
    fake.hold_history = false;
    assert_answer("GET /v1/audit?since=2026-11-21T00:00:00Z", NULL, 200, "\"unaccounted\":[]");
}

/* ---- pages, and what the client has already ---- */

static struct reply get_with(const char *path, const char *headers)
{
    char request[512];

    snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: localhost\r\n%s\r\n", path, headers);
    return client_exchange(&loop, address, request);
}

static void assert_header(const struct reply *r, const char *name, const char *value)
{
    char buffer[256];
    const char *got = client_header(r, name, buffer, sizeof(buffer));

    if (!got || !value ? got != value : strcmp(got, value) != 0)
        fail_msg("%s: %s", name, got ? got : "none");
}

static void test_jobs_come_in_pages(void **state)
{
    struct reply r = get_with("/v1/jobs?limit=1", "");

    assert_header(&r, "Cronsched-Total", "2");
    assert_header(&r, "Cronsched-Next", "1");
    assert_string_equal(r.body, "[{\"job\":\"hourly\"}]\n");
    reply_release(&r);
    r = get_with("/v1/jobs?limit=1&after=1&q=&set=&sort=name", "");
    assert_header(&r, "Cronsched-Next", NULL);
    assert_string_equal(r.body, "[{\"job\":\"nightly\"}]\n");
    reply_release(&r);
    r = get_with("/v1/jobs?q=&state=", ""); /* empty as a form sends it: all, as ever */
    assert_header(&r, "Cronsched-Total", NULL);
    assert_non_null(strstr(r.body, "\"paused\""));
    reply_release(&r);
    assert_answer("GET /v1/jobs?after=9", NULL, 400, "this is no cursor");
    assert_answer("GET /v1/jobs?q=sate:failing", NULL, 400, "did you mean 'state'");
    assert_answer("GET /v1/jobs?label=", NULL, 200, "nightly");
    assert_answer("GET /v1/jobs?state=bad", NULL, 400, "state: there is no 'bad'");
    assert_answer("GET /v1/jobs?fields=wrong", NULL, 400, "there is no 'wrong'");
    assert_answer("GET /v1/jobs?sort=age", NULL, 400, "sort: there is no 'age'");
    assert_answer("GET /v1/jobs?limit=0", NULL, 400, "from 1 to 1000");
    assert_answer("GET /v1/jobs?stale=soon", NULL, 400, "stale: ");
}

static void test_what_is_there_already_is_not_sent_again(void **state)
{
    char tag[64], header[128];
    struct reply r = get_with("/v1/jobs/nightly", "");

    assert_non_null(client_header(&r, "ETag", tag, sizeof(tag)));
    assert_header(&r, "Vary", "Accept-Encoding");
    reply_release(&r);
    snprintf(header, sizeof(header), "If-None-Match: \"x\", %s\r\n", tag);
    r = get_with("/v1/jobs/nightly", header);
    assert_int_equal(r.status, 304);
    assert_string_equal(r.body ? r.body : "", "");
    assert_header(&r, "ETag", tag);
    reply_release(&r);
    r = get_with("/v1/jobs/nightly", "If-None-Match: \"x\"\r\n");
    assert_int_equal(r.status, 200);
    reply_release(&r);
}

static void test_large_answers_are_compressed(void **state)
{
    struct reply r;

    fake.walk_rows = 100;
    r = get_with("/v1/jobs", "Accept-Encoding: br, gzip\r\n");
    assert_header(&r, "Content-Encoding", "gzip");
    assert_int_equal((unsigned char)r.body[0], 0x1f);
    reply_release(&r);
    r = get_with("/v1/jobs", "Accept-Encoding: gzip;q=0\r\n");
    assert_header(&r, "Content-Encoding", NULL);
    reply_release(&r);
    fake.walk_made = 0;
    fake.walk_rows = ROWS; /* a stream */
    r = get_with("/v1/jobs", "Accept-Encoding: gzip\r\n");
    assert_header(&r, "Content-Encoding", "gzip");
    assert_int_equal((unsigned char)r.body[0], 0x1f);
    reply_release(&r);
    r = get_with("/v1/jobs/nightly", "Accept-Encoding: gzip\r\n"); /* too short to pay */
    assert_header(&r, "Content-Encoding", NULL);
    reply_release(&r);
}

/* ---- libuv's pool, which belongs to starts and to the output of attempts ---- */

#define POOL_THREADS 4 /* libuv's, unless the environment says otherwise */

static sem_t pool_gate;

static void wait_at_gate(uv_work_t *work)
{
    while (sem_wait(&pool_gate) < 0) {
    }
}

static void after_gate(uv_work_t *work, int status)
{
    ++*(int *)work->data;
}

/* What is computed and read for requests waits for nothing there, and nothing there waits for it. */
static void test_requests_take_no_thread_of_the_pool(void **state)
{
    uv_work_t works[POOL_THREADS];
    int over = 0;

    sem_init(&pool_gate, 0, 0);
    for (int i = 0; i < POOL_THREADS; i++) {
        works[i].data = &over;
        assert_int_equal(uv_queue_work(&loop, &works[i], wait_at_gate, after_gate), 0);
    }
    set_attempts("running", "ended", "running");
    write_log(1, "one");
    assert_answer("GET /v1/runs/" RUN "/logs?attempt=1", NULL, 200, "one");
    assert_answer("GET /v1/explain?job=a&time=2026-11-22T00:00:00Z", NULL, 404, "a");
    json_decref(fake.stored);
    fake.stored = json_pack("{s:[], s:[], s:[], s:[], s:[]}", "runs", "skips", "records", "pruned", "gaps");
    assert_answer("GET /v1/audit?since=2026-11-21T00:00:00Z", NULL, 200, "\"unaccounted\":[]");
    for (int i = 0; i < POOL_THREADS; i++)
        sem_post(&pool_gate);
    while (over < POOL_THREADS)
        uv_run(&loop, UV_RUN_ONCE);
    sem_destroy(&pool_gate);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SERVER(test_a_large_answer_comes_in_pieces),
        SERVER(test_an_answer_waits_for_its_reader),
        SERVER(test_an_answer_that_cannot_go_on),
        SERVER(test_one_audit_at_a_time),
        SERVER(test_requests_take_no_thread_of_the_pool),
        SERVER(test_jobs_come_in_pages),
        SERVER(test_what_is_there_already_is_not_sent_again),
        SERVER(test_large_answers_are_compressed),
    };

    return cmocka_run_group_tests_name("api_rows", tests, NULL, NULL);
}
