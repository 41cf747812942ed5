#include "jobs/yaml/yaml.h"

#include "jobs/base/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const struct yaml_limits limits = {.bytes = 4 << 20, .nodes = 100000, .depth = 32};

/* Collects "LINE:COLUMN: text\n". */
struct faults {
    struct yaml_sink sink;
    struct text text;
};

static void on_fault(struct yaml_sink *sink, int line, int column, const char *text)
{
    struct faults *faults = (struct faults *)(void *)sink;

    text_addf(&faults->text, "%d:%d: %s\n", line, column, text);
}

static int parse_bytes(struct yaml_doc **ret, struct faults *faults, const char *bytes, size_t size)
{
    faults->sink.fault = on_fault;
    text_init(&faults->text, 1 << 20);
    return yaml_doc_parse(ret, bytes, size, &limits, &faults->sink);
}

/* The tree of a good text, as compact JSON. */
static char *as_json(const char *yaml)
{
    struct faults faults;
    struct yaml_doc *doc = NULL;
    json_t *json = NULL;
    char *s;
    int r = parse_bytes(&doc, &faults, yaml, strlen(yaml));

    if (r < 0 || faults.text.len > 0)
        print_error("%s\n-> %s\n", yaml, text_str(&faults.text));
    assert_int_equal(r, 0);
    assert_int_equal(faults.text.len, 0);
    assert_int_equal(yaml_node_json(yaml_doc_root(doc), &json), 0);
    s = json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
    json_decref(json);
    yaml_doc_free(doc);
    text_release(&faults.text);
    return s;
}

static void good_texts(void **state)
{
    static const struct {
        const char *yaml, *json;
    } cases[] = {
        {"", "null"},
        {"# nothing\n", "null"},
        {"---\n...\n", "null"},
        {"a: 1\nb: [x, 2.5, true, null, ~]\n", "{\"a\":1,\"b\":[\"x\",2.5,true,null,null]}"},
        {"\xef\xbb\xbf"
         "a: 1\n",
         "{\"a\":1}"}, /* a byte order mark */
        {"a: 1\r\nb: 2\r\n", "{\"a\":1,\"b\":2}"},
        {"%YAML 1.2\n---\na: 1\n", "{\"a\":1}"},
        /* YAML 1.2 core types, not those of 1.1 */
        {"[no, yes, on, off, NO, y, n]", "[\"no\",\"yes\",\"on\",\"off\",\"NO\",\"y\",\"n\"]"},
        {"[010, 0o10, 0x1F, +7, -7, 1_000]", "[10,8,31,7,-7,\"1_000\"]"},
        {"[1:30, 12:30:45, 2026-01-01]", "[\"1:30\",\"12:30:45\",\"2026-01-01\"]"},
        {"[True, FALSE, tRUE, Null, NULL, nULL]", "[true,false,\"tRUE\",null,null,\"nULL\"]"},
        {"[1., .5, 1e3, -1.5E-2, ., e3, +, -, 1e, 0x, 0o8]",
         "[1.0,0.5,1000.0,-0.015,\".\",\"e3\",\"+\",\"-\",\"1e\",\"0x\",\"0o8\"]"},
        {"[9223372036854775807, -9223372036854775808, 9223372036854775808]",
         "[9223372036854775807,-9223372036854775808,9.22337203685478e18]"},
        {"[\"1\", 'true', \"\", '~', !!str 5, ! 6]", "[\"1\",\"true\",\"\",\"~\",\"5\",\"6\"]"},
        {"[!!int 5, !!float 5, !!float 1.5, !!bool true, !!null ~, !!seq [], !!map {}]",
         "[5,5,1.5,true,null,[],{}]"},
        {"a: |\n  one\n  two\nb: >\n  one\n  two\n", "{\"a\":\"one\\ntwo\\n\",\"b\":\"one two\\n\"}"},
        {"a: 0 2 * * *\n", "{\"a\":\"0 2 * * *\"}"},
        /* aliases and merges */
        {"a: &x [1, 2]\nb: *x\nc: *x\n", "{\"a\":[1,2],\"b\":[1,2],\"c\":[1,2]}"},
        {"a: &x 1\nb: &x 2\nc: *x\n", "{\"a\":1,\"b\":2,\"c\":2}"},
        {"x: &x {a: 1, b: 2}\ny:\n  <<: *x\n  b: 3\n", "{\"x\":{\"a\":1,\"b\":2},\"y\":{\"b\":3,\"a\":1}}"},
        {"x: &x {a: 1, b: 2}\nz: &z {b: 9, c: 4}\ny: {<<: [*x, *z], c: 5}\n",
         "{\"x\":{\"a\":1,\"b\":2},\"z\":{\"b\":9,\"c\":4},\"y\":{\"c\":5,\"a\":1,\"b\":2}}"},
        {"y: {'<<': 1}", "{\"y\":{\"<<\":1}}"},
        {"? a\n: 1\n", "{\"a\":1}"},
        {"1: one\ntrue: two\n", "{\"1\":\"one\",\"true\":\"two\"}"},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        char *json = as_json(cases[i].yaml);

        assert_string_equal(json, cases[i].json);
        free(json);
    }
}

static void bad_texts(void **state)
{
    static const struct {
        const char *yaml, *faults;
        bool tree; /* a tree all the same */
    } cases[] = {
        {"schedule: * * * * *\n",
         "1:11: an unquoted * begins a YAML alias; quote the cron expression: \"* * * * *\"\n"},
        {"jobs:\n  a:\n    schedule: */5 * * * *\n",
         "3:15: an unquoted * begins a YAML alias; quote the cron expression: \"*/5 * * * *\"\n"},
        {"schedule:\n  - 0 1 * * *\n  - * 1 * * *\n",
         "3:5: an unquoted * begins a YAML alias; quote the cron expression: \"* 1 * * *\"\n"},
        {"s: [\"1 1 * * *\", 0 1 * * *, x]\nt: *\n",
         "2:4: an unquoted * begins a YAML alias; quote the cron expression: \"* * * * *\"\n"},
        {"s: *5 * * * *\n",
         "1:4: an unquoted * begins a YAML alias; quote the cron expression: \"*5 * * * *\"\n"},
        {"gr\xc3\xbc\xc3\x9f: [*/5 1,2 * * *, x]  # five\n",
         "1:8: an unquoted * begins a YAML alias; quote the cron expression: \"*/5 1,2 * * *\"\n"},
        {"a: {s: */7 * * * *} # x\n",
         "1:8: an unquoted * begins a YAML alias; quote the cron expression: \"*/7 * * * *\"\n"},
        {"s: @daily\n", "1:4: a text that begins with '@' must be quoted\n"},
        {"s: `x`\n", "1:4: a text that begins with '`' must be quoted\n"},
        {"gr\xc3\xbc\xc3\x9f: @daily\n", "1:7: a text that begins with '@' must be quoted\n"},
        {"a: *nobody\n", "1:4: there is no anchor &nobody; a text that begins with * must be quoted\n"},
        {"a: &x [1, *x]\n", "1:11: the alias *x is inside the value that it refers to\n"},
        {"jobs:\n\ta: 1\n", "2:1: a tab in the indentation; YAML allows only spaces there\n"},
        {"jobs:\n  a:\n  \tb: 1\n", "3:3: a tab in the indentation; YAML allows only spaces there\n"},
        {"a: \"open\nb: 1\n", "1:4: this quote is not closed\n"},
        {"a: b: c\n",
         "1:5: a ':' where no key can be; quote a text that has ': ' in it, or look at the indentation\n"},
        {"a: 1\nb\nc: 2\n", "2:1: a key without its ':'\n"},
        {"a: 1\n---\nb: 2\n", "2:1: a second document ('---'); one document a file\n"},
        {"? [a]\n: 1\n", "1:3: a key must be a plain text, not a list\n"},
        {"'': 1\n", "1:1: an empty key\n"},
        {"a: !ruby/object x\n", "1:4: the tag !ruby/object is not supported here\n"},
        {"a: !!int x\n", "1:4: the tag <tag:yaml.org,2002:int> is not supported here\n"},
        {"a: \"x\\0y\"\n", "1:4: a NUL character in a text\n"},
        {"x: 1\ny: {<<: 5}\n", "2:5: '<<' merges maps; this is a number\n"},
        {"a: 1\nb: 2\na: 3\na: 4\n",
         "3:1: the key 'a' is here already, in line 1\n4:1: the key 'a' is here already, in line 1\n", true},
        {"j:\n  x: {k: 1, \"k\": 2}\n", "2:13: the key 'k' is here already, in line 2\n", true},
        {"a: [1, 2\nb: 3\n", "2:2: not YAML: did not find expected ',' or ']', while parsing a flow sequence "
                             "that begins in line 1\n"},
        {"a:\n  b: 1\n c: 2\n",
         "3:2: not YAML: did not find expected key, while parsing a block mapping that begins in line 1\n"},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        struct yaml_doc *doc = NULL;
        struct faults faults;
        int r = parse_bytes(&doc, &faults, cases[i].yaml, strlen(cases[i].yaml));

        assert_string_equal(text_str(&faults.text), cases[i].faults);
        assert_int_equal(r, cases[i].tree ? 0 : ERR_INVALID);
        assert_true((doc != NULL) == cases[i].tree);
        yaml_doc_free(doc);
        text_release(&faults.text);
    }
}

static void bad_bytes(void **state)
{
    static const struct {
        const char *bytes;
        size_t size;
        const char *faults;
    } cases[] = {
        {"a: 1\nb: \0c\n", 11, "2:4: a NUL byte; YAML is text\n"},
        {"a: 1\nb: caf\xe9\n", 12, "2:7: the byte 0xe9 is not UTF-8; save the file as UTF-8\n"},
        {"a: \xc3\xbc\x80\n", 7, "1:5: the byte 0x80 is not UTF-8; save the file as UTF-8\n"},
        {"a: \x1b[1m\n", 9, "1:4: the control character 0x1b; YAML is text\n"},
        {"\xff\xfe"
         "a\0:\0",
         6, "1:1: UTF-16; save the file as UTF-8\n"},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        struct yaml_doc *doc = NULL;
        struct faults faults;

        assert_int_equal(parse_bytes(&doc, &faults, cases[i].bytes, cases[i].size), ERR_INVALID);
        assert_string_equal(text_str(&faults.text), cases[i].faults);
        assert_null(doc);
        text_release(&faults.text);
    }
}

static void places_and_columns(void **state)
{
    static const char text[] = "plain: ab\xc3\xbc"
                               "cd\n"
                               "single: 'ab cd'\n"
                               "double: \"ab cd\"\n"
                               "escaped: \"a\\tb cd\"\n"
                               "block: |\n  ab cd\n"
                               "folded: ab\n  cd\n"
                               "list: [one, two]\n";
    static const struct {
        const char *key;
        size_t offset;
        int line, column;
    } cases[] = {
        {"plain", 0, 1, 8},   {"plain", 4, 1, 11},   {"single", 0, 2, 10}, {"single", 3, 2, 13},
        {"double", 3, 3, 13}, {"escaped", 3, 4, 10}, {"block", 3, 5, 8},   {"folded", 3, 7, 9},
    };
    struct yaml_doc *doc = NULL;
    struct faults faults;
    const struct yaml_node *list;

    assert_int_equal(parse_bytes(&doc, &faults, text, sizeof(text) - 1), 0);
    for (size_t i = 0; i < COUNT(cases); i++) {
        const struct yaml_node *node = yaml_node_get(yaml_doc_root(doc), cases[i].key);

        assert_non_null(node);
        assert_int_equal(node->line, cases[i].line);
        assert_int_equal(yaml_node_column(node, cases[i].offset), cases[i].column);
    }
    list = yaml_node_get(yaml_doc_root(doc), "list");
    assert_int_equal(list->count, 2);
    assert_int_equal(list->items[1]->column, 13);
    assert_null(yaml_node_get(yaml_doc_root(doc), "absent"));
    assert_null(yaml_node_get(list, "one"));
    yaml_doc_free(doc);
    text_release(&faults.text);
}

static void limited(const char *text, size_t size, int code, const char *says)
{
    struct yaml_doc *doc = NULL;
    struct faults faults;

    assert_int_equal(parse_bytes(&doc, &faults, text, size), code);
    assert_null(doc);
    assert_non_null(strstr(text_str(&faults.text), says));
    text_release(&faults.text);
}

static void limits_hold(void **state)
{
    size_t size = (4 << 20) + 1;
    char *big = malloc(size);
    struct text t;

    memset(big, '#', size);
    limited(big, size, ERR_LIMIT, "0:0: 4194305 bytes; at most 4194304 are read");
    memset(big, '[', size);
    limited(big, size - 1, ERR_LIMIT, "1:33: nested more than 32 levels deep");
    for (size_t i = 0; i < size; i += 2) {
        big[i] = '-';
        if (i + 1 < size)
            big[i + 1] = ' ';
    }
    limited(big, size - 1, ERR_LIMIT, "nested more than 32 levels deep");
    memset(big, ',', size);
    for (size_t i = 0; i < size; i += 2)
        big[i] = 'a';
    big[0] = '[';
    big[1] = ' ';
    limited(big, size - 1, ERR_LIMIT, "more than 100000 values");
    free(big);

    text_init(&t, 1 << 20);
    for (int i = 0; i < 300; i++)
        text_addf(&t, "- &a%d x\n", i);
    limited(text_str(&t), t.len, ERR_INVALID, "257:3: more than 256 anchors");
    text_release(&t);
}

/* Nine levels of nine aliases: 3.5e8 nodes from 300 bytes. */
static void a_bomb_of_aliases_is_refused(void **state)
{
    static const char bomb[] = "a: &a [x,x,x,x,x,x,x,x,x]\n"
                               "b: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\n"
                               "c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n"
                               "d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\n"
                               "e: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\n"
                               "f: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\n"
                               "g: &g [*f,*f,*f,*f,*f,*f,*f,*f,*f]\n"
                               "h: &h [*g,*g,*g,*g,*g,*g,*g,*g,*g]\n";
    static const char merges[] = "a: &a {k: [x,x,x,x,x,x,x,x,x]}\n"
                                 "b: &b {<<: *a, l: [*a,*a,*a,*a,*a,*a,*a,*a,*a]}\n"
                                 "c: &c {<<: *b, m: [*b,*b,*b,*b,*b,*b,*b,*b,*b]}\n"
                                 "d: &d {<<: *c, n: [*c,*c,*c,*c,*c,*c,*c,*c,*c]}\n"
                                 "e: &e {<<: *d, o: [*d,*d,*d,*d,*d,*d,*d,*d,*d]}\n"
                                 "f: &f {<<: *e, p: [*e,*e,*e,*e,*e,*e,*e,*e,*e]}\n"
                                 "g: &g {<<: *f, q: [*f,*f,*f,*f,*f,*f,*f,*f,*f]}\n";

    limited(bomb, sizeof(bomb) - 1, ERR_LIMIT, "counting what aliases refer to");
    limited(merges, sizeof(merges) - 1, ERR_LIMIT, "counting what aliases refer to");
}

static void a_bomb_of_long_texts_is_refused(void **state)
{
    struct text t;

    text_init(&t, 4 << 20);
    text_add(&t, "a: &a ");
    for (int i = 0; i < 1000000; i++)
        text_add_char(&t, 'x');
    text_add(&t, "\nb: [");
    for (int i = 0; i < 90; i++)
        text_add(&t, "*a, ");
    text_add(&t, "]\n");
    assert_int_equal(t.failed, 0);
    limited(text_str(&t), t.len, ERR_LIMIT, "counting what aliases refer to");
    text_release(&t);
}

static void json_makes_the_same_tree(void **state)
{
    const char *text = "{\"a\":[1,2.5,true,null,\"x\"],\"b\":{\"c\":{}}}";
    json_t *json = json_loads(text, 0, NULL), *again = NULL, *deep = json_array();
    struct yaml_doc *doc = NULL;

    assert_int_equal(yaml_doc_from_json(&doc, json, 3), 0);
    assert_int_equal(yaml_node_json(yaml_doc_root(doc), &again), 0);
    assert_true(json_equal(json, again));
    assert_int_equal(yaml_doc_root(doc)->line, 0);
    yaml_doc_free(doc);
    doc = NULL;
    assert_int_equal(yaml_doc_from_json(&doc, json, 2), ERR_LIMIT);
    assert_null(doc);
    json_decref(again);
    json_decref(json);
    for (int i = 0; i < 1000; i++) {
        json_t *outer = json_array();

        json_array_append_new(outer, deep);
        deep = outer;
    }
    assert_int_equal(yaml_doc_from_json(&doc, deep, 64), ERR_LIMIT);
    json_decref(deep);
}

/* Every prefix of a text with everything in it, and every text with one byte changed. */
static void cut_and_changed_texts_never_crash(void **state)
{
    static const char text[] =
        "%YAML 1.2\n---\nx-a: &a {k: [1, 'two', \"th\\x41ree\"], m: ~}\njobs:\n"
        "  b:\n    <<: *a\n    s: |-\n      block\n    t: >2\n        folded\n"
        "    ? complex\n    : !!str value\n  c: [*a, {q: 0x1F}]\n  \xc3\xbc: 1.5e3\n...\n";
    static const char changes[] = "\0\t\n *&[]{}:,-?#'\"|>!%@`\x80\xff"
                                  "a0";
    size_t size = sizeof(text) - 1;
    char copy[sizeof(text)];

    for (size_t i = 0; i <= size; i++) {
        struct yaml_doc *doc = NULL;
        struct faults faults;
        int r = parse_bytes(&doc, &faults, text, i);

        assert_true((r == 0) == (doc != NULL));
        assert_true(r == 0 || faults.text.len > 0);
        yaml_doc_free(doc);
        text_release(&faults.text);
        for (size_t j = 0; i < size && j < sizeof(changes) - 1; j++) {
            memcpy(copy, text, sizeof(text));
            copy[i] = changes[j];
            doc = NULL;
            r = parse_bytes(&doc, &faults, copy, size);
            assert_true((r == 0) == (doc != NULL));
            assert_true(r == 0 || faults.text.len > 0);
            yaml_doc_free(doc);
            text_release(&faults.text);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_texts),
        cmocka_unit_test(bad_texts),
        cmocka_unit_test(bad_bytes),
        cmocka_unit_test(places_and_columns),
        cmocka_unit_test(limits_hold),
        cmocka_unit_test(a_bomb_of_aliases_is_refused),
        cmocka_unit_test(a_bomb_of_long_texts_is_refused),
        cmocka_unit_test(json_makes_the_same_tree),
        cmocka_unit_test(cut_and_changed_texts_never_crash),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
