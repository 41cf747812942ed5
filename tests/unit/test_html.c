/* The writer of HTML: whatever a text holds, it stays a text. And the pages: of hostile models they make the elements of tame
 * ones. */
#include "cronsched/page/assets.h"
#include "cronsched/page/page.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void assert_written(struct html *w, const char *expected)
{
    char *text = html_take(w);

    assert_non_null(text);
    assert_string_equal(text, expected);
    free(text);
    html_release(w);
}

static void texts_and_values_are_escaped(void **state)
{
    struct html w;

    (void)state;
    html_init(&w);
    html_open(&w, "p");
    html_attr(&w, "title", "\"'><script>");
    html_attr(&w, "lang", NULL);
    html_text(&w, "</p><script>alert('x')&amp;");
    html_leaf(&w, "br");
    html_textf(&w, "%d%%", 5);
    assert_written(
        &w, "<p title=\"&quot;&#39;&gt;&lt;script&gt;\">&lt;/p&gt;&lt;script&gt;alert(&#39;x&#39;)&amp;amp;"
            "<br>5%</p>");
}

/* Control characters, marks that turn the direction, bytes that are no UTF-8. */
static void what_no_screen_may_have_is_replaced(void **state)
{
    static const char *const bad[] = {
        "a\x01z",         "a\x1b[31mz",     "a\x7fz",     "a\xe2\x80\xaez",    "a\xe2\x80\x8ez",
        "a\xe2\x81\xa6z", "a\xd8\x9cz",     "a\xc2\x9bz", "a\xe2\x80\xa8z",    "a\xffz",
        "a\xc3z",         "a\xed\xa0\x80z", "a\xe2\x80",  "a\xf5\x80\x80\x80z"};

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct html w;
        char *text;

        html_init(&w);
        html_text(&w, bad[i]);
        text = html_take(&w);
        assert_non_null(strstr(text, "\xef\xbf\xbd"));
        for (const char *p = text; *p; p++)
            assert_false((unsigned char)*p < 0x20 || *p == 0x7f);
        assert_null(strstr(text, "\xe2\x80\xae"));
        assert_int_equal(text[0], 'a');
        free(text);
        html_release(&w);
    }
}

static void letters_of_all_scripts_are_kept(void **state)
{
    static const char text[] = "\xc3\xa9 \xe6\x97\xa5\xe6\x9c\xac \xd7\xa9\xd7\x9c \xf0\x9f\x90\xa2\n\t";
    struct html w;

    (void)state;
    html_init(&w);
    html_text(&w, text);
    assert_written(&w, text);
}

/* What is filled into an address cannot leave its place in it. */
static void addresses_are_of_this_site(void **state)
{
    struct html w;

    (void)state;
    html_init(&w);
    html_anchor(&w, "x", "/ui/jobs/%s?q=%s", "../a b", "x&y=\"1\"#z");
    assert_written(&w, "<a href=\"/ui/jobs/..%2Fa%20b?q=x%26y%3D%221%22%23z\">x</a>");
    html_init(&w);
    html_open(&w, "a");
    html_query_link(&w, "//evil.example/", "a=b");
    assert_written(&w, "<a href=\"#\"></a>");
    html_init(&w);
    html_open(&w, "a");
    html_query_link(&w, "/ui/jobs", "q=\"><b>");
    assert_written(&w, "<a href=\"/ui/jobs?q=&quot;&gt;&lt;b&gt;\"></a>");
    html_init(&w);
    html_open(&w, "a");
    html_query_link(&w, "javascript:alert(1)", "");
    assert_written(&w, "<a href=\"#\"></a>");
}

static void too_much_is_a_failure(void **state)
{
    char *large = malloc(1024 * 1024 + 1);
    struct html w;

    (void)state;
    memset(large, '<', 1024 * 1024);
    large[1024 * 1024] = '\0';
    html_init(&w);
    html_text(&w, large);
    html_text(&w, large); /* of four bytes each */
    assert_null(html_take(&w));
    html_release(&w);
    free(large);
}

/* ---- pages ---- */

static struct page_view view_of(const char *text)
{
    return (struct page_view){.cluster = text,
                              .replica = text,
                              .leader = text,
                              .version = "0",
                              .who = text,
                              .role = "admin",
                              .operates = true,
                              .administers = true,
                              .now_ms = INT64_C(1796080263033),
                              .path = "/ui/jobs",
                              .query = text};
}

/* A job in which every text is this one. */
static json_t *job_of(const char *text)
{
    return json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:{s:s},s:b,s:i}", "job", text,
                     "description", text, "next", text, "last", text, "verdict", text, "state", text, "strip",
                     "sf", "describe", text, "schedule", text, "timezone", text, "owner", text, "last_run",
                     text, "labels", "k", text, "paused", 0, "failures", 3);
}

/* The names of all elements, and of the attributes of each, in order. */
static char *shape_of(const char *html)
{
    char *shape = calloc(1, strlen(html) + 1), *at = shape;

    for (const char *p = html; *p; p++) {
        if (*p != '<')
            continue;
        for (bool quoted = false; *p && (quoted || *p != '>'); p++) {
            quoted = quoted != (*p == '"');
            if (!quoted && *p != '"')
                *at++ = *p;
        }
        if (!*p)
            break;
        *at++ = '>';
    }
    return shape;
}

static char *rendered(const struct page *page, json_t *model, const char *text)
{
    struct page_view view = view_of(text);
    char *html = page_render(page, text, model, &view), *shape;

    assert_non_null(html);
    shape = shape_of(html);
    free(html);
    json_decref(model);
    return shape;
}

static const char *const hostile[] = {
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "' onclick='x",
    "</title></main></body>",
    "<!--",
    "]]>",
    "{{7*7}}",
    "javascript:alert(1)",
    "\xe2\x80\xae"
    "evil",
    "a\"b=c>",
};

static json_t *jobs_model(const char *text)
{
    return json_pack("{s:[o],s:i,s:s,s:s,s:s,s:s,s:s}", "jobs", job_of(text), "total", 1, "next", text, "q",
                     text, "sort", "next", "order", "asc", "error", text);
}

/* A run in which every text is this one. */
static json_t *run_of(const char *text)
{
    return json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:i,s:i,s:[{s:i,s:s,s:s,s:s,s:s,s:i}],s:{s:s}}", "run",
                     text, "job", text, "verdict", text, "cause", text, "by", text, "text", text, "fire_time",
                     text, "exit_code", 3, "count", 2, "attempts", "attempt", 1, "state", text, "engine",
                     text, "text", text, "id", text, "exit_code", 3, "params", "name", text);
}

static json_t *runs_model(const char *text)
{
    return json_pack("{s:[o],s:s,s:s,s:s,s:s,s:s}", "runs", run_of(text), "next", text, "q", text, "since",
                     text, "until", text, "error", text);
}

static json_t *run_model(const char *text)
{
    return json_pack("{s:o,s:i,s:s,s:s}", "run", run_of(text), "attempt", 1, "log", text, "log_note", text);
}

static json_t *job_model(const char *text)
{
    return json_pack("{s:o,s:[o],s:s}", "job", job_of(text), "runs", run_of(text), "text", text);
}

static json_t *now_model(const char *text)
{
    return json_pack("{s:{s:i},s:[o],s:[o],s:[o]}", "counts", "failing", 1, "failing", job_of(text), "next",
                     job_of(text), "running", run_of(text));
}

static json_t *confirm_model(const char *text)
{
    return json_pack("{s:s,s:[s],s:s,s:s,s:s}", "action", "pause", "jobs", text, "run", text, "key", text,
                     "next", text);
}

static json_t *failed_model(const char *text)
{
    return json_pack("{s:s,s:[{s:s,s:s}]}", "action", text, "failed", "name", text, "text", text);
}

static json_t *explain_model(const char *text)
{
    return json_pack("{s:s,s:s,s:s,s:{s:s,s:s,s:s,s:s,s:s,s:s,s:[{s:s,s:s,s:s}]}}", "job", text, "time", text,
                     "error", text, "explain", "job", text, "run", text, "verdict", text, "text", text,
                     "previous", text, "next", text, "lines", "time", text, "what", text, "text", text);
}

static json_t *audit_model(const char *text)
{
    return json_pack("{s:s,s:s,s:s,s:s,s:s,s:[{s:i,s:i,s:s,s:s,s:{s:s,s:s,s:s}}],"
                     "s:{s:s,s:s,s:i,s:[{s:s,s:s,s:s}],s:[{s:s,s:s}],s:[{s:s,s:s}],s:[{s:s,s:s,s:s}]}}",
                     "since", text, "until", text, "job", text, "kinds", text, "error", text, "records",
                     "index", 5, "seq", 0, "time", text, "kind", text, "record", "job", text, "run", text,
                     "by", text, "audit", "since", text, "until", text, "unaccounted_count", 1, "unaccounted",
                     "job", text, "fire_time", text, "why", text, "doubled", "job", text, "fire_time", text,
                     "gaps", "from", text, "to", text, "ranges", "job", text, "from", text, "reason", text);
}

static json_t *tonight_model(const char *text)
{
    return json_pack("{s:s,s:s,s:s,s:s,s:{s:s,s:s,s:i,s:b,s:[[I,i,i]],s:{s:s,s:i},s:[{s:s,s:s,s:b}]}}",
                     "from", text, "to", text, "q", text, "error", text, "upcoming", "from", text, "to", text,
                     "total", 1, "truncated", 0, "buckets", INT64_C(1796080200000), 1, 500, "peak", "time",
                     text, "count", 1, "times", "job", text, "time", text, "paused", 1);
}

static json_t *backfill_model(const char *text)
{
    return json_pack("{s:s,s:s,s:s,s:s,s:{s:i,s:[s]}}", "job", text, "from", text, "to", text, "error", text,
                     "plan", "count", 2, "fire_times", text);
}

static json_t *trigger_model(const char *text)
{
    return json_pack("{s:s,s:s,s:s,s:{s:{s:s}}}", "job", text, "key", text, "error", text, "run", "params",
                     text, text);
}

static json_t *step_down_model(const char *text)
{
    return json_pack("{s:s}", "error", text);
}

static json_t *cluster_model(const char *text)
{
    return json_pack(
        "{s:s,s:{s:s,s:s,s:s,s:s,s:s,s:[{s:s,s:s,s:i,s:s,s:s,s:f,s:b,s:s}],s:[{s:s,s:s}]},"
        "s:[{s:s,s:s,s:s,s:i,s:{s:s,s:s,s:s,s:i,s:i,s:[{s:s,s:s,s:s}],s:[{s:s,s:s,s:s,s:s,s:i}]}}],"
        "s:{s:s,s:[{s:s,s:s,s:s,s:s}]}}",
        "error", text, "cluster", "cluster", text, "uuid", text, "alarm", text, "refusing", text, "advice",
        text, "replicas", "id", text, "role", text, "applied", 3, "version", text, "tzdata", text,
        "clock_offset_ms", 1.5, "fit", 0, "refuses", text, "absent", "id", text, "why", text, "takeovers",
        "time", text, "replica", text, "cause", text, "epoch", 7, "report", "from_replica", text, "noticed",
        text, "text", text, "gap_ms", 5, "took_ms", 6, "runs", "run", text, "was", text, "became", text,
        "fire_times", "job", text, "from", text, "to", text, "policy", text, "count", 2, "doctor", "replica",
        text, "checks", "check", text, "status", text, "text", text, "advice", text);
}

static json_t *login_model(const char *text)
{
    return json_pack("{s:s,s:s,s:s,s:s,s:s}", "next", text, "error", text, "code", text, "as", text, "role",
                     text);
}

static json_t *problem_model(const char *text)
{
    return json_pack("{s:i,s:s,s:s}", "status", 404, "text", text, "advice", text);
}

static const struct {
    const struct page *page;
    json_t *(*model)(const char *text);
} models[] = {
    {&page_jobs, jobs_model},         {&page_runs, runs_model},       {&page_run, run_model},
    {&page_job, job_model},           {&page_now, now_model},         {&page_confirm, confirm_model},
    {&page_confirm, failed_model},    {&page_login, login_model},     {&page_problem, problem_model},
    {&page_backfill, backfill_model}, {&page_trigger, trigger_model}, {&page_step_down, step_down_model},
    {&page_tonight, tonight_model},   {&page_explain, explain_model}, {&page_audit, audit_model},
    {&page_cluster, cluster_model},
};
#define MODELS (sizeof(models) / sizeof(models[0]))

static void hostile_names_make_no_elements(void **state)
{
    (void)state;
    for (size_t m = 0; m < MODELS; m++) {
        char *tame = rendered(models[m].page, models[m].model("tame"), "tame");

        for (size_t i = 0; i < sizeof(hostile) / sizeof(hostile[0]); i++) {
            char *shape = rendered(models[m].page, models[m].model(hostile[i]), hostile[i]);

            assert_string_equal(shape, tame);
            free(shape);
        }
        free(tame);
    }
}

/* What a terminal does with a log does not happen here, and what would steer it is gone. */
static void a_log_is_text(void **state)
{
    static const char log[] = "\x1b[31mred\x1b[0m\n10%\r20%\r\n\x1b]0;title\x07x\x1b]8;;http://evil/"
                              "\x1b\\link\x1b]8;;\x1b\\\n\x1b[\x1b";
    struct page_view view = view_of("a");
    json_t *model = json_pack("{s:{s:s},s:i,s:s}", "run", "run", "a", "attempt", 1, "log", log);
    char *html = page_render(&page_run, "a", model, &view);

    (void)state;
    assert_non_null(strstr(html, "aria-label=\"Log\">red\n20%\nxlink\n"));
    assert_null(strstr(html, "evil"));
    free(html);
    json_decref(model);
}

/* A model of a newer server, or a broken one: something is shown, and nothing breaks. */
static void odd_models_are_shown(void **state)
{
    static const char *const odd[] = {
        "{}", "{\"jobs\":5}", "{\"jobs\":[5,null,{}]}", "{\"jobs\":[{\"labels\":[1]}],\"total\":\"x\"}",
        "{\"jobs\":[{\"labels\":{\"a\":5},\"strip\":7,\"verdict\":\"brand-new\"}]}"};

    (void)state;
    for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++)
        for (size_t m = 0; m < MODELS; m++)
            free(rendered(models[m].page, json_loads(odd[i], 0, NULL), "x"));
}

static void a_part_is_a_part_of_the_whole(void **state)
{
    struct page_view view = view_of("a");
    json_t *model = jobs_model("a");
    char *whole = page_render(&page_jobs, "a", model, &view), *part;

    (void)state;
    view.part = "rows";
    part = page_render(&page_jobs, "a", model, &view);
    assert_non_null(strstr(whole, part));
    assert_true(strncmp(part, "<div id=\"part-rows\"", 19) == 0);
    free(part);
    view.part = "none";
    part = page_render(&page_jobs, "a", model, &view);
    assert_string_equal(part, "");
    free(part);
    free(whole);
    json_decref(model);
}

static char *page_of(const struct page *page, const char *model)
{
    struct page_view view = {.cluster = "c", .replica = "r", .version = "0", .path = "/ui/x", .query = "a=b"};
    json_t *json = json_loads(model, 0, NULL);
    char *html = page_render(page, "x", json, &view);

    assert_non_null(json);
    json_decref(json);
    return html;
}

static void assert_shown(const struct page *page, const char *model, const char *const *texts)
{
    char *html = page_of(page, model);

    for (; *texts; texts++)
        if (!strstr(html, *texts))
            fail_msg("%s is not in %s", *texts, html);
    free(html);
}

static void an_explanation_is_shown_with_its_steps(void **state)
{
    (void)state;
    assert_shown(
        &page_explain,
        "{\"job\":\"a\",\"time\":\"t\",\"explain\":{\"job\":\"a\",\"run\":\"a@20261130T235820Z\","
        "\"verdict\":\"overlap\",\"text\":\"it was skipped\",\"previous\":\"2026-11-30T23:58:18Z\","
        "\"next\":null,\"lines\":[{\"time\":null,\"what\":\"schedule\",\"text\":\"it is a fire time\"}]}}",
        (const char *const[]){"v-skipped", "it was skipped", "/ui/runs/a%4020261130T235820Z",
                              "<strong>schedule</strong>: it is a fire time", "rel=\"prev\"", NULL});
}

static void an_audit_tells_clean_from_not(void **state)
{
    char *html = page_of(&page_audit, "{\"audit\":{\"fire_times\":64,\"unaccounted_count\":0}}");

    (void)state;
    assert_non_null(strstr(html, "✓ Every fire time"));
    assert_non_null(strstr(html, "<b>64</b>fire times"));
    free(html);
    assert_shown(&page_audit,
                 "{\"audit\":{\"unaccounted_count\":1,\"unaccounted\":[{\"job\":\"a\",\"fire_time\":\"2026-"
                 "11-30T23:58:18Z\","
                 "\"why\":\"no "
                 "run\"}],\"gaps\":[{\"from\":\"2026-11-30T23:58:18Z\",\"to\":\"2026-11-30T23:58:19Z\"}]},"
                 "\"records\":[{\"index\":2,\"seq\":1,\"time\":\"2026-11-30T23:58:18Z\",\"kind\":\"pause\","
                 "\"record\":{\"k\":\"pause\",\"job\":\"a\",\"by\":\"token:x\"}}]}",
                 (const char *const[]){"✕ Not every", "/ui/explain?job=a&amp;time=2026-11-30T23%3A58%3A18Z",
                                       "no run", "History lacks", "token:x", "/ui/jobs/a", NULL});
}

/* Two hours with a quiet time between them; a job that fires more than once in an hour is named once. */
static void what_is_to_come_is_shown_by_the_hour(void **state)
{
    (void)state;
    assert_shown(
        &page_tonight,
        "{\"upcoming\":{\"from\":\"2026-11-30T22:00:00Z\",\"to\":\"2026-12-01T00:00:00Z\",\"total\":3,"
        "\"buckets\":[[1796076000000,2,1000],[1796080800000,1,0]],"
        "\"peak\":{\"time\":\"2026-11-30T22:00:00Z\",\"count\":2},\"times\":["
        "{\"job\":\"a\",\"time\":\"2026-11-30T22:00:00Z\",\"paused\":true},"
        "{\"job\":\"a\",\"time\":\"2026-11-30T22:01:00Z\",\"paused\":true},"
        "{\"job\":\"b\",\"time\":\"2026-11-30T23:20:00Z\",\"paused\":false}]}}",
        (const char *const[]){
            "3 fire times from", "at most 2 in 5 minutes", "d=\"M0 60h3v-60h-3zM64 60h3v-30h-3z\"",
            "data-label=\"Jobs\"><a href=\"/ui/jobs/a\">a</a> (paused)</td>",
            "data-label=\"Jobs\"><a href=\"/ui/jobs/b\">b</a></td>", "1 h 15 m", "35 m", NULL});
    /* more times than rows: an hour whose jobs are not known says so */
    assert_shown(
        &page_tonight,
        "{\"upcoming\":{\"from\":\"2026-11-30T22:00:00Z\",\"to\":\"2026-12-01T00:00:00Z\",\"total\":3,"
        "\"buckets\":[[1796080800000,3,0]],\"times\":[]}}",
        (const char *const[]){"Not all are named", NULL});
}

static void a_takeover_says_what_became_of_each_run(void **state)
{
    (void)state;
    assert_shown(
        &page_cluster,
        "{\"cluster\":{\"cluster\":\"prod\",\"index\":9,\"replicas\":[{\"id\":\"r2\",\"role\":\"standby\","
        "\"applied\":7}]},\"takeovers\":[{\"epoch\":4,\"replica\":\"r2\",\"cause\":\"silence\",\"report\":{"
        "\"from_replica\":\"r1\",\"noticed\":\"silence\",\"gap_ms\":1300,\"text\":\"gap 1.3 s\",\"runs\":["
        "{\"run\":\"a@1\",\"was\":\"starting\",\"became\":\"adopted\"}]}},{\"epoch\":3,\"replica\":\"r1\"}]}",
        (const char *const[]){"7 (2 behind)", "r1 → r2 leads, epoch 4, silence", "gap 1.3 s",
                              "/ui/runs/a%401", "adopted", "Not everything is settled yet.",
                              "Look for problems", NULL});
}

static void a_strip_is_few_elements_and_has_a_name(void **state)
{
    struct html w;
    char *text;
    int paths = 0;

    (void)state;
    html_init(&w);
    page_strip(&w, "ssfsltkopdmcrqjssssssfff");
    text = html_take(&w);
    for (const char *p = text; (p = strstr(p, "<path")); p++)
        paths++;
    assert_true(paths <= 6);
    assert_non_null(strstr(text, "role=\"img\""));
    assert_non_null(strstr(text, "aria-label=\"9 succeeded, 4 failed"));
    assert_non_null(strstr(text, "the newest: failed\""));
    free(text);
    html_release(&w);
}

static void the_files_of_the_page_are_small(void **state)
{
    size_t raw = 0, compressed = 0;

    (void)state;
    for (size_t i = 0; i < assets_count; i++) {
        raw += assets_all[i].size;
        compressed += assets_all[i].gzip_size;
        assert_int_equal(strlen(assets_all[i].hash), 16);
        assert_ptr_equal(assets_find(assets_all[i].name), &assets_all[i]);
    }
    assert_true(raw <= 120 * 1024);
    assert_true(compressed <= 40 * 1024);
    assert_null(assets_find("../../etc/passwd"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_and_values_are_escaped),
        cmocka_unit_test(what_no_screen_may_have_is_replaced),
        cmocka_unit_test(letters_of_all_scripts_are_kept),
        cmocka_unit_test(addresses_are_of_this_site),
        cmocka_unit_test(too_much_is_a_failure),
        cmocka_unit_test(hostile_names_make_no_elements),
        cmocka_unit_test(a_log_is_text),
        cmocka_unit_test(odd_models_are_shown),
        cmocka_unit_test(a_part_is_a_part_of_the_whole),
        cmocka_unit_test(an_explanation_is_shown_with_its_steps),
        cmocka_unit_test(an_audit_tells_clean_from_not),
        cmocka_unit_test(what_is_to_come_is_shown_by_the_hour),
        cmocka_unit_test(a_takeover_says_what_became_of_each_run),
        cmocka_unit_test(a_strip_is_few_elements_and_has_a_name),
        cmocka_unit_test(the_files_of_the_page_are_small),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
