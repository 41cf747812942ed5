/* Output: what cells show, and that the YAML which is printed reads back as the same value. */
#include "cronsched/cli/output.h"
#include "jobs/yaml/yaml.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NOW INT64_C(1795345200000) /* 2026-11-22T11:00:00Z */

static char *printed(void (*print)(FILE *to, const void *arg), const void *arg)
{
    char *text = NULL;
    size_t size = 0;
    FILE *to = open_memstream(&text, &size);

    print(to, arg);
    fclose(to);
    return text;
}

static void print_yaml(FILE *to, const void *arg)
{
    assert_int_equal(output_yaml(to, arg), 0);
}

static void on_fault(struct yaml_sink *sink, int line, int column, const char *text)
{
    fail_msg("%d:%d: %s", line, column, text);
}

static void test_yaml_reads_back(void **state)
{
    static const char *const values[] = {
        "{}",
        "[]",
        "null",
        "true",
        "42",
        "-1.5",
        "\"\"",
        "\"text\"",
        "{\"a\":[]}",
        "[{}]",
        "[[1,[2]],{\"a\":null}]",
        /* texts that YAML would take for something else */
        "[\"true\",\"no\",\"NO\",\"y\",\"null\",\"~\",\"42\",\"010\",\"1e3\",\"0x1f\",\"1:30\",\".inf\",\"-"
        "\",\"2026-11-22\"]",
        "[\"* * * * *\",\"&a\",\"!x\",\"@every 5m\",\"a: b\",\"a "
        "#b\",\"{a}\",\"[a]\",\"'a\",\"\\\"a\",\"%a\",\"|\",\">\"]",
        "[\" a\",\"a "
        "\",\"a\\nb\",\"a\\nb\\n\",\"\\n\",\"a\\tb\",\"\\u0001\",\"\\u00e9\\u4e2d\\ud83d\\ude00\",\"a\\r\"]",
        "{\"true\":1,\"42\":2,\"a b\":4,\"a: b\":5,\"<<\":6}",
        "{\"long\":\"xxxxxxxxxxxxxxxxxxxx xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx "
        "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx "
        "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"}",
    };
    static const struct yaml_limits limits = {.bytes = 65536, .nodes = 1000, .depth = 16};

    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        struct yaml_sink sink = {on_fault};
        json_t *value = json_loads(values[i], JSON_DECODE_ANY, NULL), *back = NULL;
        char *text = printed(print_yaml, value);
        struct yaml_doc *doc = NULL;

        assert_non_null(value);
        if (yaml_doc_parse(&doc, text, strlen(text), &limits, &sink) < 0)
            fail_msg("%s: no YAML: %s", values[i], text);
        assert_int_equal(yaml_node_json(yaml_doc_root(doc), &back), 0);
        if (!json_equal(value, back))
            fail_msg("%s became %s", values[i], text);
        yaml_doc_free(doc);
        json_decref(back);
        json_decref(value);
        free(text);
    }
}

static void test_cells(void **state)
{
    static const struct {
        const char *object, *key;
        enum output_cell cell;
        const char *text;
    } cases[] = {
        {"{\"a\":\"x\"}", "a", OUTPUT_TEXT, "x"},
        {"{\"a\":null}", "a", OUTPUT_TEXT, "-"},
        {"{}", "a", OUTPUT_TEXT, "-"},
        {"{\"a\":{\"b\":\"x\"}}", "a.b", OUTPUT_TEXT, "x"},
        {"{\"a\":{}}", "a.b.c", OUTPUT_TEXT, "-"},
        {"{\"a\":7}", "a", OUTPUT_RIGHT, "7"},
        {"{\"a\":[\"x\",1]}", "a", OUTPUT_TEXT, "x, 1"},
        {"{\"a\":{\"b\":1}}", "a", OUTPUT_TEXT, "{\"b\":1}"},
        {"{\"a\":true}", "a", OUTPUT_YES, "yes"},
        {"{\"a\":false}", "a", OUTPUT_YES, ""},
        {"{\"a\":\"2026-11-22T14:12:00Z\"}", "a", OUTPUT_RELATIVE, "in 3 h 12 m"},
        {"{\"a\":\"never\"}", "a", OUTPUT_TIME, "never"},
        {"{\"a\":61000}", "a", OUTPUT_MS, "1 m 1 s"},
        /* a job cannot steer the terminal of who looks at it */
        {"{\"a\":\"x\\u001b[31m\\ny\\u007f\"}", "a", OUTPUT_TEXT, "x [31m y "},
    };
    struct output out = {.now_ms = NOW};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        json_t *object = json_loads(cases[i].object, 0, NULL);
        char *text =
            output_cell_text(&out, object, &(struct output_column){"T", cases[i].key, cases[i].cell});

        assert_string_equal(text, cases[i].text);
        free(text);
        json_decref(object);
    }
}

static const struct output_column columns[] = {
    {"JOB", "job", OUTPUT_TEXT}, {"EXIT", "exit", OUTPUT_RIGHT}, {"STATE", "state", OUTPUT_STATE}};

static void print_rows(FILE *to, const void *arg)
{
    struct output out = *(const struct output *)arg;
    json_t *rows = json_loads("[{\"job\":\"a\",\"exit\":3,\"state\":\"failed\"},"
                              "{\"job\":\"caf\\u00e9\",\"exit\":100,\"state\":\"waiting\"}]",
                              0, NULL);

    out.to = to;
    output_rows(&out, rows, columns, 3, "No rows.");
    json_decref(rows);
}

static void test_tables(void **state)
{
    struct output plain = {.now_ms = NOW}, color = {.now_ms = NOW, .color = true},
                  json = {.format = OUTPUT_JSON};
    char *text = printed(print_rows, &plain);

    assert_non_null(strstr(text, "JOB"));
    assert_non_null(strstr(text, "   3  failed"));
    assert_non_null(strstr(text, " 100  waiting"));
    assert_null(strchr(text, '\033'));
    free(text);
    text = printed(print_rows, &color);
    assert_non_null(strstr(text, "\033[31mfailed\033[0m"));
    assert_null(strstr(text, "waiting\033"));
    free(text);
    text = printed(print_rows, &json);
    assert_non_null(strstr(text, "\"exit\": 3,"));
    free(text);
}

static void print_none(FILE *to, const void *arg)
{
    struct output out = *(const struct output *)arg;
    json_t *rows = json_array();

    out.to = to;
    output_rows(&out, rows, columns, 3, "No rows.");
    json_decref(rows);
}

static void test_an_empty_list_is_said_in_words_but_not_in_json(void **state)
{
    struct output table = {0}, json = {.format = OUTPUT_JSON};
    char *text = printed(print_none, &table);

    assert_string_equal(text, "No rows.\n");
    free(text);
    text = printed(print_none, &json);
    assert_string_equal(text, "[]\n");
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_yaml_reads_back),
        cmocka_unit_test(test_cells),
        cmocka_unit_test(test_tables),
        cmocka_unit_test(test_an_empty_list_is_said_in_words_but_not_in_json),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
