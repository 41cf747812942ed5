/* What callers of the API send, as far as it can be judged without a server: a byte that chooses, then a
 * request's target, a body, or a Host and an Origin. Beyond not crashing: what is taken is clean, and what is
 * refused says why.
 */
#include "cronsched/api/api_priv.h"
#include "cronsched/http/http_target.h"
#include "jobs/base/near.h"
#include "jobs/base/text.h"
#include "jobs/base/utf8.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

static void check_clean(const char *text)
{
    size_t n = strlen(text);

    CHECK(utf8_check(text, n) == n);
    for (size_t i = 0; i < n; i++)
        CHECK((unsigned char)text[i] >= 0x20 && text[i] != 0x7f);
}

static void try_target(const char *text)
{
    static const char *const patterns[] = {"/v1/jobs", "/v1/jobs/{job}", "/v1/jobs/{job}/pause",
                                           "/v1/runs/{run}/logs", "/"};
    struct http_target t;
    struct http_params params;
    struct error e = {0};
    char near[NEAR_NAME_MAX];

    if (http_target_init(&t, text, &e) < 0) {
        CHECK(e.code < 0 && e.text[0]);
        return;
    }
    CHECK(t.segment_count <= HTTP_SEGMENTS_MAX && t.query_count <= HTTP_QUERY_MAX);
    for (size_t i = 0; i < t.segment_count; i++)
        check_clean(t.segments[i]);
    for (size_t i = 0; i < t.query_count; i++) {
        check_clean(t.query[i].name);
        check_clean(t.query[i].value);
        CHECK(http_target_query(&t, t.query[i].name) == t.query[i].value);
    }
    for (size_t i = 0; i < sizeof(patterns) / sizeof(patterns[0]); i++)
        if (http_target_match(&t, patterns[i], &params))
            for (size_t k = 0; k < params.count; k++)
                CHECK(params.items[k].value[0]);
    http_target_suggest(&t, patterns, sizeof(patterns) / sizeof(patterns[0]), near, sizeof(near));
    if (http_target_check_query(&t, "job,state,limit", &e) < 0)
        CHECK(e.code == ERR_INVALID);
    http_target_release(&t);
}

static void try_body(const char *text, size_t size)
{
    json_t *body = json_loadb(text, size, JSON_REJECT_DUPLICATES, NULL);
    struct error e = {0};

    if (!json_is_object(body)) {
        json_decref(body);
        return;
    }
    if (api_body_check("pause", body, api_body_pause, api_body_pause_count, &e) == 0)
        api_body_time(body, "until", 0);
    else
        CHECK(e.text[0]);
    if (api_body_check("backfill", body, api_body_backfill, api_body_backfill_count, &e) == 0)
        CHECK(api_body_time(body, "from", INT64_MIN) != INT64_MIN &&
              api_body_time(body, "to", INT64_MIN) != INT64_MIN);
    api_body_check("resume", body, NULL, 0, &e);
    json_decref(body);
}

/* "HOST|ORIGIN": an origin is ours only if it ends with our host. */
static void try_host(char *text)
{
    char *origin = strchr(text, '|');

    if (origin)
        *origin++ = '\0';
    auth_host_is_loopback(text);
    if (origin && auth_origin_is_host(origin, text, false))
        CHECK(strlen(origin) == strlen("http://") + strlen(text));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text;

    if (size == 0 || !(text = malloc(size)))
        return 0;
    memcpy(text, data + 1, size - 1);
    text[size - 1] = '\0';
    if (data[0] % 3 == 0)
        try_target(text);
    else if (data[0] % 3 == 1)
        try_body(text, size - 1);
    else
        try_host(text);
    free(text);
    return 0;
}
