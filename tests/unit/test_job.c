#include "jobs/definition/job.h"

#include "jobs/definition/job_keys.h"
#include "jobs/definition/shellwords.h"
#include "jobs/time/zoneinfo.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static struct zoneinfo *zoneinfo;
static struct zone_source *zones;

static int open_zones(void **state)
{
    if (zoneinfo_new(&zoneinfo, "/usr/share/zoneinfo", NULL) < 0)
        return -1;
    zones = zoneinfo_source(zoneinfo);
    return 0;
}

static int close_zones(void **state)
{
    zoneinfo_free(zoneinfo);
    return 0;
}

/* Every key of the table, none at its default: in the canonical form already. */
static const char all_keys[] =
    "{\"description\":\"Revenue\\nreport\",\"owner\":\"data@acme.example\","
    "\"schedule\":[\"0 30 2 * * ?\",\"@daily\"],"
    "\"timezone\":\"Europe/Paris\",\"dialect\":\"quartz\",\"dst\":\"both\",\"jitter\":\"30s\","
    "\"except\":[\"2026-12-25\",\"2026-07-14/"
    "2026-07-20\"],\"start\":\"2026-01-01\",\"end\":\"2027-01-01T12:00:00Z\","
    "\"image\":\"acme/report:7\",\"entrypoint\":[],\"command\":[\"python\",\"\",\"--all\"],"
    "\"environment\":{\"LOG\":\"\",\"TOKEN\":{\"from_file\":\"/run/"
    "t\",\"allow_empty\":true},\"KEY\":{\"from_secret\":\"k\"}},"
    "\"user\":\"1000:1000\",\"working_dir\":\"/app\",\"volumes\":[\"report-data:/data:ro\",\"/a:/b\"],"
    "\"network\":\"backend\","
    "\"hostname\":\"web-1\",\"stop_signal\":\"SIGINT\",\"init\":true,\"read_only\":true,\"privileged\":true,"
    "\"tmpfs\":[\"/tmp\",\"/run:size=64m,mode=755\"],\"shm_size\":\"128m\",\"cap_add\":[\"NET_ADMIN\"],"
    "\"cap_drop\":[\"ALL\"],\"security_opt\":[\"no-new-privileges:false\",\"seccomp=unconfined\"],"
    "\"ulimits\":{\"nproc\":65535,\"nofile\":{\"soft\":20000,\"hard\":-1}},"
    "\"extra_hosts\":[\"db:10.0.0.1\",\"six=[::1]\"],\"dns\":[\"1.1.1.1\",\"::1\"],"
    "\"devices\":[\"/dev/fuse\",\"/dev/a:/dev/b:r\"],\"group_add\":[\"mail\",\"1000\"],\"pids_limit\":-1,"
    "\"secrets\":[\"db\"],\"configs\":[\"c\"],"
    "\"resources\":{\"cpus\":0.1,\"memory\":\"256m\"},\"pull\":\"never\",\"engine\":[\"swarm\",\"docker\"],"
    "\"constraints\":[\"node.labels.disk==ssd\"],\"kubernetes\":{\"spec\":{\"n\":[1,2.5,null,true,\"x\"]}},"
    "\"timeout\":\"30m\",\"stop_grace\":\"0s\","
    "\"retries\":{\"max\":3,\"delay\":\"1s500ms\",\"backoff\":1.5,\"max_delay\":\"1h\",\"on_exit\":[1,75]},"
    "\"concurrency\":\"queue\",\"queue_max\":5,\"max_running\":3,\"pool\":{\"name\":\"warehouse\"},\"catch_"
    "up\":\"all\","
    "\"max_catch_up\":7,\"start_within\":\"10m\",\"on_lost\":\"rerun\",\"accept_double\":true,"
    "\"with_children\":true,\"priority\":0,\"keep\":{\"runs\":10,\"age\":\"9d\",\"logs\":\"0\"},"
    "\"notify\":[{\"on\":[\"failed\",\"queue-full\"],\"url\":\"https://hooks.example/x\",\"headers\":{"
    "\"Authorization\":{\"from_file\":\"/run/h\"},\"X-Team\":\"data\"},\"sign\":{\"from_file\":\"/run/k\"}}],"
    "\"labels\":{\"team\":\"finance\"},\"paused\":true}";

static struct job *job_of(const char *text)
{
    json_t *json = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    struct job *job = NULL;
    struct error error = {0};

    assert_non_null(json);
    if (job_from_json(&job, "j", json, zones, &error) < 0)
        fail_msg("%s: %.100s", error.text, text);
    json_decref(json);
    return job;
}

static char *text_of(const struct job *job)
{
    json_t *json = job_to_json(job);
    char *text = json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(15));

    json_decref(json);
    return text;
}

static void all_keys_round_trip(void **state)
{
    struct job *job = job_of(all_keys);
    char *text = text_of(job);
    struct job *again = job_of(text);

    assert_string_equal(text, all_keys);
    assert_true(job_equal(job, again));
    free(text);
    job_unref(job);
    job_unref(again);
}

/* `after` alone cannot stand beside a schedule, and files of variables are read beside job files only. A new key that is forgotten above fails here. */
static void the_text_above_has_every_key(void **state)
{
    json_t *json = json_loads(all_keys, 0, NULL);

    for (size_t i = 0; i < JOB_KEY_COUNT; i++) {
        const struct job_key *key = &job_keys[i];
        json_t *map = key->group ? json_object_get(json, key->group) : json;

        if (i != JOB_KEY_AFTER && i != JOB_KEY_ENV_FILE && !json_object_get(map, key->name))
            fail_msg("%s is not in the text", key->name);
    }
    json_decref(json);
}

static void every_key_has_its_default(void **state)
{
    struct job *job = job_new("j"), *from_nothing = job_of("{}");
    char *text = text_of(job);

    assert_string_equal(text, "{}");
    assert_true(job_equal(job, from_nothing));
    assert_string_equal(job->timezone, "UTC");
    assert_int_equal(job->timeout_ms, 86400000);
    assert_int_equal(job->stop_grace_ms, 10000);
    assert_int_equal(job->retries_max, 0);
    assert_int_equal(job->retries_delay_ms, 30000);
    assert_true(job->retries_backoff == 2);
    assert_int_equal(job->retries_max_delay_ms, 600000);
    assert_int_equal(job->queue_max, 100);
    assert_int_equal(job->max_running, 0);
    assert_int_equal(job->pids_limit, 2048);
    assert_int_equal(job->max_catch_up, 100);
    assert_int_equal(job->priority, 50);
    assert_int_equal(job->keep_runs, 1000);
    assert_int_equal(job->keep_age_ms, INT64_C(90) * 86400000);
    assert_int_equal(job->keep_logs_bytes, 1 << 20);
    assert_int_equal(job->concurrency, JOB_FORBID);
    assert_int_equal(job->catch_up, JOB_CATCH_UP_LATEST);
    assert_int_equal(job->on_lost, JOB_ON_LOST_FAIL);
    assert_int_equal(job->pull, JOB_PULL_MISSING);
    assert_int_equal(job->start_within_ms, 0);
    assert_false(job->paused);
    free(text);
    job_unref(job);
    job_unref(from_nothing);
}

/* What may be written in several ways is one job, and printed in one way. */
static void ways_to_write_become_one(void **state)
{
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"{\"schedule\":[\"@daily\"]}", "{\"schedule\":\"@daily\"}"},
        {"{\"engine\":[\"docker\"]}", "{\"engine\":\"docker\"}"},
        {"{\"after\":\"a\"}", "{\"after\":[\"a\"]}"},
        {"{\"volumes\":\"ab:/x\"}", "{\"volumes\":[\"ab:/x\"]}"},
        {"{\"command\":\"a 'b c'  d\"}", "{\"command\":[\"a\",\"b c\",\"d\"]}"},
        {"{\"command\":\"\"}", "{\"command\":[]}"},
        {"{\"environment\":[\"A=1\",\"B=\",\"A=2=3\"]}", "{\"environment\":{\"A\":\"2=3\",\"B\":\"\"}}"},
        {"{\"labels\":[\"a=1\"]}", "{\"labels\":{\"a\":\"1\"}}"},
        {"{\"timeout\":\"24h\"}", "{}"},
        {"{\"timeout\":\"90m\"}", "{\"timeout\":\"1h30m\"}"},
        {"{\"keep\":{\"logs\":\"1024k\"}}", "{}"},
        {"{\"resources\":{\"cpus\":2}}", "{\"resources\":{\"cpus\":2}}"},
        {"{\"resources\":{\"cpus\":2.0}}", "{\"resources\":{\"cpus\":2}}"},
        {"{\"resources\":{}}", "{}"},
        {"{\"retries\":{\"on_exit\":7}}", "{\"retries\":{\"on_exit\":[7]}}"},
        {"{\"retries\":{\"on_exit\":[]}}", "{}"},
        /* a delay above the usual max_delay raises it */
        {"{\"retries\":{\"delay\":\"20m\"}}", "{\"retries\":{\"delay\":\"20m\",\"max_delay\":\"20m\"}}"},
        {"{\"notify\":{\"on\":\"lost\",\"url\":\"http://x\"}}",
         "{\"notify\":[{\"on\":[\"lost\"],\"url\":\"http://x\"}]}"},
        {"{\"schedule\":[],\"after\":[],\"volumes\":[],\"labels\":{},\"kubernetes\":{},\"environment\":{},"
         "\"notify\":[]}",
         "{}"},
        {"{\"timezone\":\"UTC\",\"paused\":false,\"concurrency\":\"forbid\",\"priority\":50}", "{}"},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        struct job *job = job_of(cases[i].in), *again;
        char *text = text_of(job);

        assert_string_equal(text, cases[i].out);
        again = job_of(text);
        assert_true(job_equal(job, again));
        free(text);
        job_unref(job);
        job_unref(again);
    }
}

#define NOTIFY(more) "{\"notify\":{\"on\":\"lost\",\"url\":\"http://x\"," more "}}"

static void wrong_json_is_refused_by_key(void **state)
{
    static const struct {
        const char *json, *says;
    } cases[] = {
        {"[]", "a job must be an object"},
        {"{\"commnad\":[]}", "unknown key 'commnad'; did you mean 'command'?"},
        {"{\"image\":7}", "image: must be a text, not a number"},
        {"{\"image\":null}", "image: has no value"},
        {"{\"image\":\"a\\u0000b\"}", "NUL"},
        {"{\"command\":[5]}", "command: must be a text, not a number"},
        {"{\"environment\":{\"A\":5}}", "environment: A must be a text"},
        {"{\"timeout\":30}", "timeout: must be a duration"},
        {"{\"resources\":{\"memory\":1048576}}", "resources.memory: must be a size"},
        {"{\"priority\":\"50\"}", "priority: must be a whole number from 0 to 100, not the text '50'"},
        {"{\"priority\":50.0}", "priority: must be a whole number from 0 to 100"},
        {"{\"retries\":{\"max\":-1}}", "retries.max: -1 is out of range 0 to 1000"},
        {"{\"paused\":1}", "paused: must be true or false"},
        {"{\"paused\":1,\"priority\":-1,\"x\":2}", "(and 2 more)"},
        {"{\"timezone\":\"Europe/Pariss\"}", "timezone: "},
        {"{\"schedule\":\"61 * * * *\"}", "schedule: "},
        {"{\"after\":[\"j\"]}", "after: a job cannot run after itself"},
        {NOTIFY("\"headers\":{\"A\\r\\nB\":\"x\"}"), "is not the name of a header"},
        {NOTIFY("\"headers\":{\"A B\":\"x\"}"), "is not the name of a header"},
        {NOTIFY("\"headers\":{\"\":\"x\"}"), "is not the name of a header"},
        {NOTIFY("\"headers\":{\"content-LENGTH\":\"0\"}"), "the header content-LENGTH is not free"},
        {NOTIFY("\"headers\":{\"Cronsched-Signature\":\"0\"}"), "is not free"},
        {NOTIFY("\"headers\":{\"A\":\"x\",\"a\":\"y\"}"), "the header a is given twice"},
        {NOTIFY("\"headers\":{\"A\":\"x\\r\\nEvil: y\"}"), "the header A: it holds a control character"},
        {NOTIFY("\"headers\":{\"A\":\"\"}"), "the header A: it is empty"},
        {NOTIFY("\"headers\":{\"A\":7}"), "A must be a text or {from_file: PATH}"},
        {NOTIFY("\"headers\":{\"A\":{\"from_secret\":\"x\"}}"), "A must be {from_file: PATH}"},
        {NOTIFY("\"headers\":{\"A\":{\"from_file\":\"/x\",\"allow_empty\":true}}"),
         "A must be {from_file: PATH}"},
        {NOTIFY("\"headers\":{\"A\":{\"from_file\":\"x\"}}"), "A: "},
        {NOTIFY("\"headers\":[\"A=b\"]"), "headers must be a map"},
        {NOTIFY("\"headers\":{\"a1\":\"\",\"a2\":\"\",\"a3\":\"\",\"a4\":\"\",\"a5\":\"\",\"a6\":\"\",\"a7\":"
                "\"\","
                "\"a8\":\"\",\"a9\":\"\"}"),
         "has 9 headers; at most 8"},
        {NOTIFY("\"sign\":\"key\""), "sign must be {from_file: PATH}"},
        {NOTIFY("\"sing\":1"), "there are on, url, headers and sign"},
        {"{\"after\":[\"k\"],\"schedule\":\"@daily\"}", "not both"},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        json_t *json = json_loads(cases[i].json, JSON_ALLOW_NUL, NULL);
        struct job *job = NULL;
        struct error error = {0};

        assert_non_null(json);
        assert_int_equal(job_from_json(&job, "j", json, zones, &error), ERR_INVALID);
        assert_null(job);
        if (!strstr(error.text, cases[i].says))
            fail_msg("%s: %s", cases[i].json, error.text);
        json_decref(json);
    }
}

static void names_are_checked(void **state)
{
    char name[JOB_NAME_MAX + 2];
    json_t *json = json_object();
    struct job *job = NULL;

    memset(name, 'a', sizeof(name));
    name[JOB_NAME_MAX + 1] = '\0';
    assert_false(job_name_valid(name));
    name[JOB_NAME_MAX] = '\0';
    assert_true(job_name_valid(name));
    assert_true(job_name_valid("a"));
    assert_true(job_name_valid("0-9--z"));
    assert_false(job_name_valid(""));
    assert_false(job_name_valid("-a"));
    assert_false(job_name_valid("a-"));
    assert_false(job_name_valid("A"));
    assert_false(job_name_valid("a_b"));
    assert_false(job_name_valid("a.b"));
    assert_false(job_name_valid("\xc3\xa4"));
    assert_int_equal(job_from_json(&job, "A", json, NULL, NULL), ERR_INVALID);
    json_decref(json);
}

/* The fold's way: what this host knows of zones must not decide. */
static void without_zones_the_schedule_is_taken_as_it_is(void **state)
{
    json_t *json = json_pack("{s:s, s:s}", "timezone", "Mars/Olympus", "schedule", "0 0 * * *");
    struct job *job = NULL;
    struct schedule *schedule = NULL;
    struct error error = {0};

    assert_int_equal(job_from_json(&job, "j", json, NULL, NULL), 0);
    assert_true(job_compile(job, 0, 0, zones, &schedule, &error) < 0);
    assert_null(schedule);
    job_unref(job);
    json_decref(json);
}

static void jobs_compile(void **state)
{
    struct job *job = job_of("{\"schedule\":[\"30 2 * * *\",\"0 5 * * *\"],\"timezone\":\"Europe/Paris\"}");
    struct job *idle = job_of("{}");
    struct schedule *schedule = NULL;

    assert_int_equal(job_compile(job, 1, 0, zones, &schedule, NULL), 0);
    /* 2026-01-01T00:00:00Z -> 02:30 and 05:00 in Paris */
    assert_int_equal(schedule_next(schedule, 1767225600), 1767225600 + 5400);
    assert_int_equal(schedule_next(schedule, 1767225600 + 5400), 1767225600 + 14400);
    schedule_free(schedule);
    schedule = (struct schedule *)job; /* anything but NULL */
    assert_int_equal(job_compile(idle, 1, 0, zones, &schedule, NULL), 0);
    assert_null(schedule);
    job_unref(job);
    job_unref(idle);
}

static void a_zone_in_the_text_needs_no_timezone(void **state)
{
    struct job *job = job_of("{\"schedule\":\"TZ=Asia/Tokyo 0 9 * * *\"}");
    struct schedule *schedule = NULL;

    assert_int_equal(job_compile(job, 0, 0, zones, &schedule, NULL), 0);
    assert_int_equal(schedule_next(schedule, 1767225600 - 1), 1767225600);
    schedule_free(schedule);
    job_unref(job);
}

static void equality_minds_every_key(void **state)
{
    struct job *base = job_of(all_keys), *other;
    json_t *json = json_loads(all_keys, 0, NULL);
    const char *key;
    json_t *value;

    json_object_foreach(json, key, value)
    {
        json_t *less = json_copy(json);
        struct error error = {0};

        json_object_del(less, key);
        if (job_from_json(&other, "j", less, NULL, &error) < 0)
            fail_msg("without %s: %s", key, error.text);
        if (job_equal(base, other))
            fail_msg("%s makes no difference", key);
        job_unref(other);
        json_decref(less);
    }
    assert_int_equal(job_from_json(&other, "k", json, NULL, NULL), 0);
    assert_false(job_equal(base, other));
    assert_true(job_equal(base, base));
    job_unref(other);
    job_unref(base);
    json_decref(json);
}

static void the_json_is_nobodys_but_the_callers(void **state)
{
    struct job *job = job_of(all_keys);
    json_t *json = job_to_json(job);
    char *text;

    json_object_clear(json_object_get(json, "labels"));
    json_object_clear(json_object_get(json_object_get(json, "kubernetes"), "spec"));
    json_decref(json);
    text = text_of(job);
    assert_string_equal(text, all_keys);
    free(text);
    job_unref(job);
}

static void references_count(void **state)
{
    struct job *job = job_new("j");

    assert_ptr_equal(job_ref(job), job);
    job_unref(job);
    assert_string_equal(job->name, "j");
    job_unref(job);
    job_unref(NULL);
}

static void a_job_of_too_many_bytes_is_refused(void **state)
{
    char *text = malloc(JOB_BYTES_MAX + 1);
    json_t *json;
    struct job *job = NULL;
    struct error error = {0};

    memset(text, 'x', JOB_BYTES_MAX);
    text[JOB_BYTES_MAX] = '\0';
    json = json_pack("{s:{s:s}}", "environment", "A", text);
    assert_int_equal(job_from_json(&job, "j", json, zones, &error), ERR_INVALID);
    assert_non_null(strstr(error.text, "at most 65536"));
    json_decref(json);
    text[JOB_BYTES_MAX - 100] = '\0';
    json = json_pack("{s:{s:s}}", "environment", "A", text);
    assert_int_equal(job_from_json(&job, "j", json, zones, &error), 0);
    job_unref(job);
    json_decref(json);
    free(text);
}

static void shell_words(void **state)
{
    static const struct {
        const char *line, *words; /* joined by | */
        const char *shell_operator;
    } cases[] = {
        {"", ""},
        {"  \t\n ", ""},
        {"a b", "a|b"},
        {" a\tb\nc ", "a|b|c"},
        {"'a b' \"c d\"", "a b|c d"},
        {"a'b'\"c\"d", "abcd"},
        {"'' \"\"", "|"},
        {"a\\ b c\\'", "a b|c'"},
        {"'a\\b' \"a\\b\"", "a\\b|a\\b"},
        {"\"\\\"\\\\\\$\\`\\x\"", "\"\\$`\\x"},
        {"a\\\nb \\\n c", "ab|c"},
        {"\"a\\\nb\"", "ab"},
        {"$HOME *.c ~ #x", "$HOME|*.c|~|#x"},
        {"a && b | c", "a|&&|b|||c", "&&"},
        {"a '&&' \\| b", "a|&&|||b"},
        {"a > b", "a|>|b", ">"},
        {"\xc3\xbc 'x'", "\xc3\xbc|x"},
    };
    static const char *const bad[] = {"'a", "\"a", "a \\", "\"a\\\"", "a'b'c'"};

    for (size_t i = 0; i < COUNT(cases); i++) {
        struct shellwords words = {0};
        struct text joined;

        assert_int_equal(shellwords_split(cases[i].line, &words, NULL), 0);
        text_init(&joined, 1000);
        for (size_t k = 0; k < words.count; k++)
            text_addf(&joined, "%s%s", k ? "|" : "", words.words[k]);
        assert_null(words.words[words.count]);
        assert_string_equal(text_str(&joined), cases[i].words);
        assert_string_equal(words.shell_operator ? words.shell_operator : "",
                            cases[i].shell_operator ? cases[i].shell_operator : "");
        text_release(&joined);
        shellwords_release(&words);
    }
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct shellwords words = {0};

        assert_int_equal(shellwords_split(bad[i], &words, NULL), ERR_INVALID);
        assert_null(words.words);
    }
}

static void too_many_shell_words(void **state)
{
    char line[2 * (SHELLWORDS_MAX + 1) + 1];
    struct shellwords words = {0};

    for (size_t i = 0; i < sizeof(line) - 1; i++)
        line[i] = i % 2 ? ' ' : 'a';
    line[sizeof(line) - 1] = '\0';
    assert_int_equal(shellwords_split(line, &words, NULL), ERR_LIMIT);
    assert_int_equal(shellwords_split(line + 2, &words, NULL), 0);
    assert_int_equal(words.count, SHELLWORDS_MAX);
    shellwords_release(&words);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_keys_round_trip),
        cmocka_unit_test(the_text_above_has_every_key),
        cmocka_unit_test(every_key_has_its_default),
        cmocka_unit_test(ways_to_write_become_one),
        cmocka_unit_test(wrong_json_is_refused_by_key),
        cmocka_unit_test(names_are_checked),
        cmocka_unit_test(without_zones_the_schedule_is_taken_as_it_is),
        cmocka_unit_test(jobs_compile),
        cmocka_unit_test(a_zone_in_the_text_needs_no_timezone),
        cmocka_unit_test(equality_minds_every_key),
        cmocka_unit_test(the_json_is_nobodys_but_the_callers),
        cmocka_unit_test(references_count),
        cmocka_unit_test(a_job_of_too_many_bytes_is_refused),
        cmocka_unit_test(shell_words),
        cmocka_unit_test(too_many_shell_words),
    };

    return cmocka_run_group_tests(tests, open_zones, close_zones);
}
