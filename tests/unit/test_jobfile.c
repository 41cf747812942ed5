#include "jobs/definition/jobfile.h"

#include "jobs/base/text.h"
#include "jobs/time/zoneinfo.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
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

static void read_text(struct jobfile_set *set, const char *file, const char *text)
{
    int r = jobfile_read(set, file, text, strlen(text), zones);

    assert_true(r == 0 || r == ERR_INVALID);
}

/* All that was found, a line each. */
static char *report_of(const struct jobfile_set *set)
{
    char line[JOBFILE_LINE_MAX];
    struct text text;

    text_init(&text, 1 << 20);
    for (size_t i = 0; i < set->error_count; i++)
        text_addf(&text, "%s\n", jobfile_error_format(&set->errors[i], line, sizeof(line)));
    return text_take(&text);
}

static void assert_report(const struct jobfile_set *set, const char *expected)
{
    char *report = report_of(set);

    assert_string_equal(report, expected);
    free(report);
}

static const struct job *find(const struct jobfile_set *set, const char *name)
{
    for (size_t i = 0; i < set->count; i++)
        if (strcmp(set->jobs[i]->name, name) == 0)
            return set->jobs[i];
    fail_msg("no job %s", name);
    return NULL;
}

static void assert_job(const struct jobfile_set *set, const char *name, const char *expected)
{
    json_t *json = job_to_json(find(set, name));
    char *text = json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(15));

    assert_string_equal(text, expected);
    free(text);
    json_decref(json);
}

/* ---- the samples in tests/data/broken ---- */

static char *load(const char *folder, const char *name, size_t *ret_size)
{
    char path[4096], *bytes = calloc(1, JOBFILE_BYTES_MAX);
    FILE *f;

    if (snprintf(path, sizeof(path), "%s/%s", folder, name) >= (int)sizeof(path))
        fail_msg("a long path");
    f = fopen(path, "rb");
    if (!f)
        fail_msg("cannot open %s", path);
    *ret_size = fread(bytes, 1, JOBFILE_BYTES_MAX - 1, f);
    fclose(f);
    return bytes;
}

static int is_yaml(const struct dirent *entry)
{
    const char *dot = strrchr(entry->d_name, '.');

    return dot && strcmp(dot, ".yaml") == 0;
}

/* Expected files follow the messages: tests/README.md says how they are rewritten. */
static void rewrite(const char *folder, const char *name, const char *report)
{
    char path[8192];
    FILE *f;

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    f = fopen(path, "wb");
    if (!f)
        fail_msg("cannot write %s", path);
    fputs(report, f);
    assert_int_equal(fclose(f), 0);
}

static void check_sample(const char *folder, const char *name)
{
    char expected_name[512];
    struct jobfile_set set;
    size_t size, expected_size;
    char *text = load(folder, name, &size), *expected, *report;

    snprintf(expected_name, sizeof(expected_name), "%.*s.expected", (int)(strlen(name) - 5), name);
    jobfile_set_init(&set);
    jobfile_read(&set, name, text, size, zones);
    jobfile_finish(&set, NULL, 0);
    report = report_of(&set);
    assert_true(set.failed > 0);
    if (getenv("CRONSCHED_REWRITE_EXPECTED"))
        rewrite(folder, expected_name, report);
    expected = load(folder, expected_name, &expected_size);
    if (strcmp(expected, report) != 0)
        fail_msg("%s: expected:\n%s\nreported:\n%s", name, expected, report);
    free(report);
    free(expected);
    free(text);
    jobfile_set_release(&set);
}

static void broken_files_say_what_and_where(void **state)
{
    const char *root = getenv("SOURCE_ROOT");
    struct dirent **entries;
    char folder[4096];
    int n;

    snprintf(folder, sizeof(folder), "%s/tests/data/broken", root ? root : ".");
    n = scandir(folder, &entries, is_yaml, alphasort);
    assert_true(n >= 40);
    for (int i = 0; i < n; i++) {
        check_sample(folder, entries[i]->d_name);
        free(entries[i]);
    }
    free(entries);
}

/* ---- good files ---- */

static void the_file_with_all_keys_is_fine(void **state)
{
    const char *root = getenv("SOURCE_ROOT");
    char folder[4096];
    struct jobfile_set set;
    size_t size;
    char *text, *report;

    snprintf(folder, sizeof(folder), "%s/tests/data/good", root ? root : ".");
    text = load(folder, "all-keys.yaml", &size);
    jobfile_set_init(&set);
    assert_int_equal(jobfile_read(&set, "f", text, size, zones), 0);
    assert_int_equal(jobfile_finish(&set, NULL, 0), 0);
    assert_int_equal(set.error_count, 1); /* the one key that does nothing */
    report = report_of(&set);
    assert_non_null(strstr(report, ": warning: with_children: has no effect"));
    free(report);
    assert_int_equal(set.count, 3);
    jobfile_set_release(&set);
    free(text);
}

static void defaults_are_merged(void **state)
{
    static const char text[] = "x-note: {anything: [goes]}\n"
                               "defaults:\n"
                               "  timezone: Europe/Paris\n"
                               "  engine: [swarm, docker]\n"
                               "  volumes: [data:/data]\n"
                               "  environment: {LOG: debug, REGION: eu, SECRET: {from_secret: s}}\n"
                               "  labels: [team=finance, tier=1]\n"
                               "  retries: {max: 2, delay: 5s}\n"
                               "  resources: {memory: 1g}\n"
                               "  kubernetes: {spec: {a: 1, b: [1]}}\n"
                               "jobs:\n"
                               "  as-it-is: {}\n"
                               "  own:\n"
                               "    timezone: UTC\n"
                               "    engine: east\n"
                               "    volumes: [mine:/mine]\n"
                               "    environment: [LOG=info, EXTRA=1]\n"
                               "    labels: {tier: 2}\n"
                               "    retries: {max: 0}\n"
                               "    resources: {cpus: 2}\n"
                               "    kubernetes: {spec: {b: [2], c: 3}}\n";
    struct jobfile_set set;

    jobfile_set_init(&set);
    read_text(&set, "f.yaml", text);
    assert_int_equal(jobfile_finish(&set, NULL, 0), 0);
    assert_report(&set, "");
    assert_int_equal(set.count, 2);
    assert_job(
        &set, "as-it-is",
        "{\"timezone\":\"Europe/Paris\",\"environment\":{\"LOG\":\"debug\",\"REGION\":\"eu\","
        "\"SECRET\":{\"from_secret\":\"s\"}},\"volumes\":[\"data:/data\"],\"resources\":{\"memory\":\"1g\"},"
        "\"engine\":[\"swarm\",\"docker\"],\"kubernetes\":{\"spec\":{\"a\":1,\"b\":[1]}},"
        "\"retries\":{\"max\":2,\"delay\":\"5s\"},\"labels\":{\"team\":\"finance\",\"tier\":\"1\"}}");
    assert_job(&set, "own",
               "{\"environment\":{\"LOG\":\"info\",\"REGION\":\"eu\",\"SECRET\":{\"from_secret\":\"s\"},"
               "\"EXTRA\":\"1\"},\"volumes\":[\"mine:/mine\"],\"resources\":{\"cpus\":2,\"memory\":\"1g\"},"
               "\"engine\":\"east\",\"kubernetes\":{\"spec\":{\"a\":1,\"b\":[2],\"c\":3}},"
               "\"retries\":{\"delay\":\"5s\"},\"labels\":{\"team\":\"finance\",\"tier\":\"2\"}}");
    assert_string_equal(set.files[1], "f.yaml");
    assert_int_equal(set.lines[1], 13);
    jobfile_set_release(&set);
}

/* `defaults` may stand behind `jobs`. */
static void the_order_of_the_top_keys_does_not_matter(void **state)
{
    struct jobfile_set set;

    jobfile_set_init(&set);
    read_text(&set, "f", "jobs: {a: {}}\ndefaults: {priority: 7}\n");
    assert_job(&set, "a", "{\"priority\":7}");
    jobfile_set_release(&set);
}

static void what_looks_like_something_else_is_a_text(void **state)
{
    static const char text[] =
        "jobs:\n"
        "  a:\n"
        "    description: no\n"
        "    command: [sleep, 5, 1.50, true, 010]\n"
        "    environment: {PORT: 8080, DEBUG: yes, OCTAL: 010, VERSION: 1.10, EMPTY: ''}\n"
        "    start: 2026-01-01\n"
        "    except: 2026-12-25\n"
        "    schedule: 0 2 * * *\n";
    struct jobfile_set set;

    jobfile_set_init(&set);
    read_text(&set, "f", text);
    assert_report(&set, "");
    assert_job(
        &set, "a",
        "{\"description\":\"no\",\"schedule\":\"0 2 * * *\",\"except\":[\"2026-12-25\"],"
        "\"start\":\"2026-01-01\",\"command\":[\"sleep\",\"5\",\"1.50\",\"true\",\"010\"],\"environment\":{"
        "\"PORT\":\"8080\",\"DEBUG\":\"yes\",\"OCTAL\":\"010\",\"VERSION\":\"1.10\",\"EMPTY\":\"\"}}");
    jobfile_set_release(&set);
}

#define DAYS                                                                                                 \
    " runs on each day that one of its two day fields names: for days that both name, write + before the "   \
    "weekday (+MON); for the first Monday of a month, MON#1\n"

static void warnings_harm_nothing(void **state)
{
    struct jobfile_set set;

    jobfile_set_init(&set);
    read_text(&set, "f",
              "jobs:\n"
              "  a: {command: a && b}\n"
              "  b: {command: x, schedule: '0 0 30 2 *'}\n"
              "  c: {command: x, schedule: '0 0 1 1 *', start: 2026-02-01, end: 2026-03-01}\n"
              "  d: {command: x, schedule: '@daily', jitter: 5m, start_within: 1m}\n"
              "  e: {command: x, schedule: '@manually'}\n"
              "  f: {command: x, schedule: '0 9 1-7 * 1'}\n"
              "  g: {command: x, schedule: '0 9 */2 * 1'}\n"
              "  h: {command: x, schedule: '0 9 1-7 * +1'}\n"
              "  i: {command: x, schedule: '0 9 * * 1'}\n");
    read_text(&set, "g", "");
    read_text(&set, "h", "jobs: {}\n");
    assert_int_equal(jobfile_finish(&set, NULL, 0), 0);
    assert_report(
        &set, "f:2:16: warning: command: no shell runs this: '&&' is passed on as it is; for a shell write "
              "[sh, -c, \"...\"]\n"
              "f:3:29: warning: schedule: '0 0 30 2 *' never fires\n"
              "f:4:29: warning: schedule: '0 0 1 1 *' never fires: start, end and except leave no fire time\n"
              "f:5:47: warning: jitter: is longer than start_within: such runs are skipped\n"
              "f:7:29: warning: schedule: '0 9 1-7 * 1'" DAYS "f:8:29: warning: schedule: '0 9 */2 * 1'" DAYS
              "g: warning: no jobs in this file\n"
              "h:1:7: warning: no jobs in this file\n");
    assert_int_equal(set.count, 9);
    assert_int_equal(set.failed, 0);
    jobfile_set_release(&set);
}

static void keys_that_no_engine_honours_are_warnings(void **state)
{
    static const char elsewhere[] = "jobs:\n"
                                    "  a:\n"
                                    "    engine: [east, docker]\n"
                                    "    secrets: [s]\n"
                                    "    environment: {A: {from_secret: s}}\n"
                                    "    constraints: [x]\n";
    struct jobfile_set set;

    jobfile_set_init(&set);
    read_text(&set, "f",
              "jobs:\n"
              "  a:\n"
              "    command: [x]\n"
              "    secrets: [s]\n"
              "    configs: [c]\n"
              "    constraints: [node.role==worker]\n"
              "    kubernetes: {spec: {}}\n"
              "    accept_double: true\n"
              "    environment: {A: {from_secret: s}, B: {from_file: /f}}\n"
              "  b: {command: [x], engine: docker, constraints: [x]}\n"
              "  c: {command: [x], engine: [process, docker], environment: {B: {from_file: /f}}}\n"
              "  d: {command: [x], after: [a], with_children: true}\n");
    assert_report(
        &set,
        "f:4:14: warning: secrets: the engines docker and process have none; use environment with from_file, "
        "or "
        "a volume\n"
        "f:5:14: warning: configs: the engines docker and process have none; use a volume\n"
        "f:6:18: warning: constraints: the engines docker and process have no hosts to choose from\n"
        "f:7:17: warning: kubernetes: the engines docker and process do not use this\n"
        "f:8:20: warning: accept_double: has no effect: the engines docker and process never start an "
        "attempt "
        "twice\n"
        "f:9:18: warning: environment: the engines docker and process have no secrets for from_secret; use "
        "from_file\n"
        "f:10:50: warning: constraints: the engines docker and process have no hosts to choose from\n"
        "f:12:48: warning: with_children: has no effect: say 'trigger --with-children' for the parent\n");
    assert_int_equal(set.failed, 0);
    jobfile_set_release(&set);
    jobfile_set_init(&set);
    read_text(&set, "f", elsewhere);
    assert_report(&set, "");
    jobfile_set_release(&set);
}

static void a_heap_of_warnings_hides_no_error_and_is_none(void **state)
{
    struct jobfile_set set;
    struct text text;

    text_init(&text, JOBFILE_BYTES_MAX);
    text_add(&text, "jobs:\n");
    for (int i = 0; i < 2 * JOBFILE_ERRORS_MAX; i++)
        text_addf(&text, "  j%d: {schedule: '0 0 30 2 *'}\n", i);
    jobfile_set_init(&set);
    assert_int_equal(jobfile_read(&set, "f", text_str(&text), text.len, zones), 0);
    assert_int_equal(set.failed, 0);
    assert_int_equal(set.count, 2 * JOBFILE_ERRORS_MAX);
    assert_int_equal(set.error_count, JOBFILE_ERRORS_MAX + 1);
    assert_string_equal(set.errors[JOBFILE_ERRORS_MAX].text, "too many warnings; the rest is not shown");
    jobfile_set_release(&set);
    jobfile_set_init(&set);
    text_add(&text, "  last: {priority: 101}\n");
    assert_int_equal(jobfile_read(&set, "f", text_str(&text), text.len, zones), ERR_INVALID);
    assert_int_equal(set.failed, 1);
    jobfile_set_release(&set);
    text_release(&text);
}

/* ---- several files ---- */

static void names_are_unique_over_all_files(void **state)
{
    struct jobfile_set set;

    jobfile_set_init(&set);
    read_text(&set, "a.yaml", "jobs:\n  x: {command: x}\n  y: {image: 5}\n");
    read_text(&set, "b.yaml", "jobs:\n\n  x: {command: x}\n  y: {command: x}\n");
    assert_report(&set, "a.yaml:3:14: error: image: must be a text; write \"5\" with quotes\n"
                        "b.yaml:3:3: error: the job 'x' is defined already, in a.yaml:2\n"
                        "b.yaml:4:3: error: the job 'y' is defined already, in a.yaml:3\n");
    assert_int_equal(set.count, 1);
    jobfile_set_release(&set);
}

static void parents_may_be_in_other_files_or_on_the_server(void **state)
{
    static const char *const known[] = {"zulu", "on-server"};
    struct jobfile_set set;

    jobfile_set_init(&set);
    read_text(&set, "a", "jobs:\n  x: {command: x, after: [y, on-server]}\n");
    read_text(&set, "b", "jobs:\n  y: {command: x, after: zulu}\n  z: {command: x, after: [yy, on-sever]}\n");
    assert_int_equal(jobfile_finish(&set, known, COUNT(known)), ERR_INVALID);
    assert_report(&set, "b:3:27: error: after: there is no job 'yy'\n"
                        "b:3:31: error: after: there is no job 'on-sever'; did you mean 'on-server'?\n");
    jobfile_set_release(&set);
}

/* A faulty parent is a parent all the same: no second error. */
static void a_faulty_parent_is_not_unknown(void **state)
{
    struct jobfile_set set;

    jobfile_set_init(&set);
    read_text(&set, "a", "jobs:\n  x: {command: x, after: [y]}\n  y: {commnad: x}\n");
    assert_int_equal(jobfile_finish(&set, NULL, 0), 0);
    assert_report(&set, "a:3:7: error: unknown key 'commnad'; did you mean 'command'?\n");
    assert_int_equal(set.count, 1);
    jobfile_set_release(&set);
}

static void circles_go_across_files(void **state)
{
    struct jobfile_set set;

    jobfile_set_init(&set);
    read_text(&set, "a", "jobs:\n  x: {command: x, after: [z]}\n  fine: {command: x, after: [x, y, z]}\n");
    read_text(&set, "b", "jobs:\n  y: {command: x, after: [x]}\n");
    read_text(&set, "c", "jobs:\n  z: {command: x, after: [fine2, y]}\n  fine2: {command: x}\n");
    assert_int_equal(jobfile_finish(&set, NULL, 0), ERR_INVALID);
    assert_report(&set, "b:2:27: error: after: a cycle: x after z after y after x\n");
    jobfile_set_release(&set);
}

/* Each looked for a near name among all others: 288,000 of them took minutes. */
static void many_unknown_parents_are_told_in_short(void **state)
{
    struct jobfile_set set;
    struct text text;

    text_init(&text, JOBFILE_BYTES_MAX);
    text_add(&text, "jobs:\n");
    for (int i = 0; i < 5000; i++)
        text_addf(&text, "  j%d: {after: [q%d, r%d, s%d, t%d]}\n", i, i, i, i, i);
    jobfile_set_init(&set);
    read_text(&set, "f", text_str(&text));
    read_text(&set, "g", "jobs: {x: {after: nobody}}\n");
    assert_int_equal(jobfile_finish(&set, NULL, 0), ERR_INVALID);
    assert_int_equal(set.error_count, JOBFILE_ERRORS_MAX + 2);
    assert_string_equal(set.errors[JOBFILE_ERRORS_MAX].text, "too many errors; the rest is not shown");
    assert_string_equal(set.errors[JOBFILE_ERRORS_MAX + 1].text, "after: there is no job 'nobody'");
    jobfile_set_release(&set);
    text_release(&text);
}

static void a_circle_of_thousands_is_told_in_short(void **state)
{
    struct jobfile_set set;
    struct text text;

    text_init(&text, 1 << 20);
    text_add(&text, "jobs:\n");
    for (int i = 0; i < 5000; i++)
        text_addf(&text, "  j%d: {after: j%d}\n", i, (i + 1) % 5000);
    jobfile_set_init(&set);
    read_text(&set, "f", text_str(&text));
    assert_int_equal(jobfile_finish(&set, NULL, 0), ERR_INVALID);
    assert_int_equal(set.error_count, 1);
    assert_non_null(strstr(set.errors[0].text, "a cycle of 5000 jobs: j0 after j1 after j2"));
    assert_true(strlen(set.errors[0].text) < 1000);
    jobfile_set_release(&set);
    text_release(&text);
}

static void errors_of_the_caller_are_in_the_list(void **state)
{
    struct jobfile_set set;
    char line[JOBFILE_LINE_MAX];

    jobfile_set_init(&set);
    read_text(&set, "a", "jobs: {x: {commnad: x}}\n");
    assert_int_equal(jobfile_add_error(&set, "b", 0, 0, "cannot be read: %s", "Permission denied"), 0);
    assert_int_equal(jobfile_add_error(&set, "b", 3, 4, "and more"), 0);
    read_text(&set, "c", "jobs: {x: {commnad: x}}\n");
    jobfile_finish(&set, NULL, 0);
    assert_report(&set, "a:1:12: error: unknown key 'commnad'; did you mean 'command'?\n"
                        "b:3:4: error: and more\n"
                        "b: error: cannot be read: Permission denied\n"
                        "c:1:8: error: the job 'x' is defined already, in a:1\n"
                        "c:1:12: error: unknown key 'commnad'; did you mean 'command'?\n");
    assert_int_equal(set.failed, 5);
    jobfile_error_format(&set.errors[0], line, 10);
    assert_string_equal(line, "a:1:12: e");
    jobfile_set_release(&set);
}

/* What is right and yet hardly meant: the warning of one job with these keys; "": there is none. */
static void what_is_hardly_meant_is_warned_of(void **state)
{
    static const struct {
        const char *keys, *warning;
    } cases[] = {
        {"schedule: '0 9 1-7 * +1'", ""},
        {"schedule: '0 9 1-7 * *'", ""},
        {"schedule: '0 9 * * 1'", ""},
        {"schedule: '0 0 9 ? * MON'", ""},
        {"schedule: '*/90 * * * *'",
         "minute: of 0-59, */90 leaves 0 alone; for elapsed time write '@every 90m'"},
        {"schedule: '0 */24 * * *'",
         "hour: of 0-23, */24 leaves 0 alone; for elapsed time write '@every 24h'"},
        {"schedule: '*/60 * * * * *'", "second: of 0-59, */60 leaves 0 alone"},
        {"schedule: '0 0 1 */12 *'", "month: of 1-12, */12 leaves 1 alone"},
        {"schedule: '*/59 */23 */30 * *'", ""},
        {"schedule: '@daily'", ""},
        {"schedule: '@reboot'", "let that machine trigger the job"},
        {"command: [sh, -c, 'echo $$HOME']", "'$$HOME' stays as it is: one $ is written as one"},
        {"command: [sh, -c, 'echo $HOME ${X} $(date) $$']", ""},
        {"command: 'sh -c \"echo $HOME\"'", ""},
        {"command: 'echo ${HOME} $(date)'", "'${HOME}' is passed on as it is"},
        {"command: 'echo `date`'", "no shell runs this"},
        {"command: [cp, $SOURCE/, /x]", "'$SOURCE' is passed on as it is"},
        {"command: [echo, 'now: $(date)']", "'$(date)' is passed on as it is"},
        {"entrypoint: [tool, '${CONFIG:-x}']", "'${CONFIG:-x}' is passed on as it is"},
        {"command: [awk, '{print $1, $NF}']", ""},
        {"command: [mongo, --eval, 'db.x.find({a: {$gt: 1}})']", ""},
        {"command: [grep, 'x$', y]", ""},
        {"environment: {P: '${HOME}/x'}", "P: its ${...} is not filled in"},
        {"environment: {P: 'a$$b'}", "P: its $$ stays as it is"},
        {"environment: {P: 'pa$word$'}", ""},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct jobfile_set set;
        char text[512];

        snprintf(text, sizeof(text), "jobs:\n  x:\n    image: i\n    %s\n", cases[i].keys);
        jobfile_set_init(&set);
        read_text(&set, "a", text);
        if (set.failed || set.error_count != (cases[i].warning[0] ? 1 : 0) ||
            (set.error_count && (!strstr(set.errors[0].text, cases[i].warning) || set.errors[0].line != 4)))
            fail_msg("%s: %zu faults; %s; not %s", cases[i].keys, set.error_count,
                     set.error_count ? set.errors[0].text : "", cases[i].warning);
        jobfile_set_release(&set);
    }
}

/* A process job in a file whose defaults name an image, say. */
static void null_undoes_what_the_defaults_say(void **state)
{
    static const char defaults[] =
        "defaults: {image: i, timezone: Europe/Paris, pull: always, init: true, priority: 7,\n"
        "  labels: {a: b}, environment: {A: b}, command: [x], retries: {max: 3, delay: 1m},\n"
        "  notify: [{on: [failed], url: 'https://x/'}], pool: {name: p}}\njobs:\n  x: ";
    struct jobfile_set set;
    char text[1024];
    json_t *json;

    snprintf(
        text, sizeof(text),
        "%s{image: null, timezone: ~, pull: null, init: null, priority: null, labels: null,\n"
        "    environment: null, command: null, retries: null, notify: null, pool: null, engine: process}\n",
        defaults);
    jobfile_set_init(&set);
    read_text(&set, "a", text);
    assert_report(&set, "");
    json = job_to_json(set.jobs[0]);
    assert_int_equal(json_object_size(json), 1);
    assert_string_equal(json_string_value(json_object_get(json, "engine")), "process");
    json_decref(json);
    jobfile_set_release(&set);

    snprintf(text, sizeof(text), "%s{schedule: null, retries: {max: null}, resources: null}\n", defaults);
    jobfile_set_init(&set);
    read_text(&set, "a", text);
    assert_report(&set, "a:5:17: error: schedule: has no value; it must be a text or a list of texts\n"
                        "a:5:56: error: resources: must be a map of keys, not nothing\n");
    jobfile_set_release(&set);
}

/* What a server says has the place of the key that it begins with, in the defaults or the job. */
static void what_others_say_of_a_job_has_its_place(void **state)
{
    struct jobfile_set set;

    jobfile_set_init(&set);
    read_text(&set, "a",
              "defaults:\n  pull: always\njobs:\n  x:\n    command: [x]\n    resources:\n      cpus: 2\n");
    jobfile_finish(&set, NULL, 0);
    assert_int_equal(jobfile_add_job_error(&set, "x", "pull: nothing to pull"), 0);
    assert_int_equal(jobfile_add_job_error(&set, "x", "resources: no limits"), 0);
    assert_int_equal(jobfile_add_job_error(&set, "x", "image: is missing"), 0);
    assert_int_equal(jobfile_add_job_error(&set, "x", "it belongs to others"), 0);
    assert_int_equal(jobfile_add_job_error(&set, "y", "pull: nothing to pull"), ERR_NOT_FOUND);
    assert_report(&set, "a:2:9: error: x: pull: nothing to pull\na:7:13: error: x: resources: no limits\n"
                        "a:4:3: error: x: image: is missing\na:4:3: error: x: it belongs to others\n");
    jobfile_set_release(&set);
}

/* ---- limits ---- */

static void a_file_of_ten_megabytes_is_refused(void **state)
{
    size_t size = 10 << 20;
    char *text = malloc(size);
    struct jobfile_set set;

    memset(text, '#', size);
    jobfile_set_init(&set);
    assert_int_equal(jobfile_read(&set, "big", text, size, zones), ERR_INVALID);
    assert_report(&set, "big: error: 10485760 bytes; at most 4194304 are read\n");
    jobfile_set_release(&set);
    free(text);
}

static void ten_thousand_jobs_are_read_and_no_more(void **state)
{
    struct jobfile_set set;
    struct text text;

    text_init(&text, JOBFILE_BYTES_MAX);
    text_add(&text, "defaults: {timezone: Europe/Paris, engine: docker}\njobs:\n");
    for (int i = 0; i < JOBFILE_JOBS_MAX; i++)
        text_addf(&text, "  job-%d:\n    image: acme/job:%d\n    schedule: \"%d %d * * *\"\n", i, i, i % 60,
                  i % 24);
    jobfile_set_init(&set);
    assert_int_equal(jobfile_read(&set, "many", text_str(&text), text.len, zones), 0);
    assert_int_equal(set.count, JOBFILE_JOBS_MAX);
    read_text(&set, "more", "jobs: {one-more: {command: x}}\n");
    assert_int_equal(jobfile_finish(&set, NULL, 0), 0);
    assert_report(&set, "more:1:8: error: more than 10000 jobs\n");
    assert_int_equal(set.count, JOBFILE_JOBS_MAX);
    jobfile_set_release(&set);
    text_release(&text);
}

/* ---- damaged files ---- */

/* A good file with much in it. */
static char *big_good_file(size_t *ret_size)
{
    struct text text;

    text_init(&text, JOBFILE_BYTES_MAX);
    text_add(&text, "x-r: &r {max: 3, delay: 1m30s}\n"
                    "defaults:\n  timezone: America/New_York\n  labels: {team: \"\xc3\xbc"
                    "ber\"}\n"
                    "jobs:\n");
    for (int i = 0; i < 60; i++)
        text_addf(&text,
                  "  job-%d:\n"
                  "    description: |\n      Two\n      lines\n"
                  "    schedule: [\"%d 2 * * *\", '@daily', 0 3 * * MON-FRI, R/2026-01-01T00:00:00Z/P1D]\n"
                  "    image: acme/job:%d\n"
                  "    command: sh -c 'echo \"$CRONSCHED_RUN\"'\n"
                  "    environment: {A: '%d', T: {from_file: /run/t}}\n"
                  "    retries: {<<: *r, max: %d}\n"
                  "    notify: [{on: [failed, lost], url: https://hooks.example/x}]\n"
                  "    kubernetes: {spec: {tolerations: [{key: a, operator: Exists}]}}\n",
                  i, i % 60, i, i, i % 10);
    text_add(&text, "  last: {command: x, after: [job-1-x]}\n");
    *ret_size = text.len;
    return text_take(&text);
}

static uint32_t random_state;

static uint32_t random_below(uint32_t n)
{
    random_state = random_state * 1664525 + 1013904223;
    return (uint32_t)(((uint64_t)random_state * n) >> 32);
}

static void read_damaged(const char *bytes, size_t size)
{
    struct jobfile_set set;
    int r;

    jobfile_set_init(&set);
    r = jobfile_read(&set, "f", bytes, size, zones);
    assert_true(r == 0 || r == ERR_INVALID);
    assert_true((r == 0) == (set.failed == 0));
    r = jobfile_finish(&set, NULL, 0);
    assert_true(r == 0 || r == ERR_INVALID);
    assert_true(set.error_count <= 2 * JOBFILE_ERRORS_MAX);
    for (size_t i = 0; i < set.error_count; i++)
        assert_true(set.errors[i].text[0] != '\0' && set.errors[i].line >= 0);
    jobfile_set_release(&set);
}

static void cut_files_never_crash(void **state)
{
    size_t size;
    char *text = big_good_file(&size);

    random_state = 1;
    for (int i = 0; i < 150; i++)
        read_damaged(text, random_below((uint32_t)size));
    free(text);
}

static void changed_files_never_crash(void **state)
{
    static const char changes[] = "\0\t\n *&[]{}:,-?#'\"|>!%@`\\\x80\xff"
                                  "a0~";
    size_t size;
    char *text = big_good_file(&size), *copy = malloc(size);

    random_state = 2;
    for (int i = 0; i < 150; i++) {
        size_t part = 200 + random_below(4000);

        memcpy(copy, text, size);
        for (uint32_t k = 1 + random_below(4); k > 0; k--)
            copy[random_below((uint32_t)part)] = changes[random_below(sizeof(changes) - 1)];
        read_damaged(copy, part);
    }
    free(copy);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(broken_files_say_what_and_where),
        cmocka_unit_test(the_file_with_all_keys_is_fine),
        cmocka_unit_test(defaults_are_merged),
        cmocka_unit_test(the_order_of_the_top_keys_does_not_matter),
        cmocka_unit_test(what_looks_like_something_else_is_a_text),
        cmocka_unit_test(warnings_harm_nothing),
        cmocka_unit_test(keys_that_no_engine_honours_are_warnings),
        cmocka_unit_test(a_heap_of_warnings_hides_no_error_and_is_none),
        cmocka_unit_test(names_are_unique_over_all_files),
        cmocka_unit_test(parents_may_be_in_other_files_or_on_the_server),
        cmocka_unit_test(a_faulty_parent_is_not_unknown),
        cmocka_unit_test(circles_go_across_files),
        cmocka_unit_test(many_unknown_parents_are_told_in_short),
        cmocka_unit_test(a_circle_of_thousands_is_told_in_short),
        cmocka_unit_test(errors_of_the_caller_are_in_the_list),
        cmocka_unit_test(what_is_hardly_meant_is_warned_of),
        cmocka_unit_test(null_undoes_what_the_defaults_say),
        cmocka_unit_test(what_others_say_of_a_job_has_its_place),
        cmocka_unit_test(a_file_of_ten_megabytes_is_refused),
        cmocka_unit_test(ten_thousand_jobs_are_read_and_no_more),
        cmocka_unit_test(cut_files_never_crash),
        cmocka_unit_test(changed_files_never_crash),
    };

    return cmocka_run_group_tests(tests, open_zones, close_zones);
}
