/* What callers of the API send, as far as it can be judged without a server: a byte that chooses, then a
 * request's target, a body, a Host and an Origin, a text for a terminal, or a peer's JSON that is shown. Beyond not
 * crashing: what is taken is clean, and what is refused says why.
 */
#include "cronsched/api/api_priv.h"
#include "cronsched/http/http_target.h"
#include "cronsched/io/json_text.h"
#include "jobs/base/near.h"
#include "jobs/base/printable.h"
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
    struct error e = {0};
    json_t *body;

    if (json_text_object(text, size, "body", &body, &e) < 0) {
        CHECK(e.code < 0 && e.text[0]);
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

static void check_printable(const char *text, size_t n, bool lines)
{
    while (n > 0) {
        uint32_t code;
        size_t length = printable_next(text, n, &code);

        CHECK(printable_is(code) || (lines && (code == '\n' || code == '\t')));
        text += length;
        n -= length;
    }
}

/* In pieces of any size it is what it is as a whole. */
static void try_text(char *text, size_t piece)
{
    size_t n = strlen(text), to = 0;
    struct printable_stream stream = {0};
    char *out = malloc(n + 2 * PRINTABLE_HELD_MAX);

    CHECK(out);
    for (size_t at = 0; at < n; at += piece)
        to += printable_stream(&stream, text + at, n - at < piece ? n - at : piece, out + to);
    to += printable_stream(&stream, NULL, 0, out + to);
    check_printable(out, to, true);
    printable_text(text, true);
    CHECK(strlen(text) == to && memcmp(text, out, to) == 0);
    printable_text(text, false);
    check_printable(text, strlen(text), false);
    free(out);
}

static void check_value(const json_t *value)
{
    const char *key;
    json_t *item;
    size_t i;

    if (json_is_string(value))
        check_printable(json_string_value(value), strlen(json_string_value(value)), true);
    json_array_foreach(value, i, item) check_value(item);
    json_object_foreach((json_t *)(uintptr_t)value, key, item)
    {
        check_printable(key, strlen(key), false);
        check_value(item);
    }
}

static void try_shown(const char *text, size_t size)
{
    struct error e = {0};
    json_t *value;
    int64_t n;

    if (json_text_object(text, size, "answer", &value, &e) < 0)
        return;
    if (json_text_int(value, "at", -5, JSON_TEXT_TIME_MAX, &n) == 0)
        CHECK(n >= -5 && n <= JSON_TEXT_TIME_MAX);
    CHECK(printable_value(&value) == 0);
    check_value(value);
    json_decref(value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text;

    if (size == 0 || !(text = malloc(size)))
        return 0;
    memcpy(text, data + 1, size - 1);
    text[size - 1] = '\0';
    if (data[0] >= 0x80 && data[0] % 2)
        try_text(text, 1 + data[0] % 7);
    else if (data[0] >= 0x80)
        try_shown(text, size - 1);
    else if (data[0] % 3 == 0)
        try_target(text);
    else if (data[0] % 3 == 1)
        try_body(text, size - 1);
    else
        try_host(text);
    free(text);
    return 0;
}
