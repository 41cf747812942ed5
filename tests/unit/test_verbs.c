/* The table of verbs: finding, parsing, what is said of faults; and that the real table is sound. */
#include "cronsched/command/verbs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static int run_nothing(const struct verb_call *call)
{
    return EXIT_FINE;
}

static const struct verb_option options[] = {
    {"key", 'k', "KEY", "a key"},    {"param", 'p', "NAME=VALUE", "a parameter", .many = true},
    {"follow", 'f', NULL, "a flag"}, {"wait", 'w', NULL, "a flag"},
    {"limit", 0, "N", "a number"},   {0}};
static const struct verb go = {
    .name = "go", .args = "JOB [TIME]", .shared = VERB_OUTPUT, .options = options, .run = run_nothing};
static const struct verb cluster = {.name = "cluster", .shared = VERB_SERVER, .run = run_nothing};
static const struct verb step_down = {.name = "cluster step-down", .run = run_nothing};
static const struct verb files = {.name = "files", .args = "PATH...", .run = run_nothing};
static const struct verb maybe = {.name = "maybe", .args = "[PATH...]", .run = run_nothing};
static const struct verb hidden = {.name = "__go", .group = VERB_GROUP_HIDDEN, .run = run_nothing};
static const struct verb *const table[] = {&go, &cluster, &step_down, &files, &maybe, &hidden, NULL};

#define WORDS_MAX 16

/* Words of a line, split at blanks, as argv. */
static int split(char *line, char *ret_argv[WORDS_MAX])
{
    char *save = NULL;
    int n = 0;

    for (char *w = strtok_r(line, " ", &save); w; w = strtok_r(NULL, " ", &save))
        ret_argv[n++] = w;
    ret_argv[n] = NULL;
    return n;
}

static const struct {
    const char *line, *verb, *rest; /* or the error */
    int result;
} finds[] = {
    {"x go a", "go", "a", 0},
    {"x cluster", "cluster", "", 0},
    {"x cluster step-down", "cluster step-down", "", 0},
    {"x cluster other", NULL, "there is no verb 'cluster other'", ERR_NOT_FOUND},
    {"x cluster stepdown", NULL, "there is no verb 'cluster stepdown'; did you mean 'cluster step-down'?",
     ERR_NOT_FOUND},
    {"x cluster -o json", "cluster", "-o json", 0},
    {"x describe", NULL, "there is no verb 'describe'; did you mean 'show'?", ERR_NOT_FOUND},
    {"x --server http://h go a", "go", "--server http://h a", 0},
    {"x --server=http://h go a -f", "go", "--server=http://h a -f", 0},
    {"x -o json go a", "go", "-o json a", 0},
    {"x -ojson go a", "go", "-ojson a", 0},
    {"x - go a", "go", "- a", 0}, /* was taken for an option with a value */
    {"x __go", "__go", "", 0},
    {"x clutser", NULL, "there is no verb 'clutser'; did you mean 'cluster'?", ERR_NOT_FOUND},
    {"x zzzzzzzzzz", NULL, "there is no verb 'zzzzzzzzzz'; 'cronsched help' lists them", ERR_NOT_FOUND},
    {"x __g", NULL, "there is no verb '__g'; 'cronsched help' lists them", ERR_NOT_FOUND},
    {"x", NULL, "no verb given", ERR_INVALID},
    {"x --server", NULL, "no verb given", ERR_INVALID},
};

static void test_find(void **state)
{
    for (size_t i = 0; i < sizeof(finds) / sizeof(finds[0]); i++) {
        char line[128], rest[128] = "", *argv[WORDS_MAX], *words[WORDS_MAX];
        const struct verb *verb = NULL;
        struct error error = {0};
        int argc, count = 0, r;

        snprintf(line, sizeof(line), "%s", finds[i].line);
        argc = split(line, argv);
        r = verbs_find(table, argc, argv, &verb, &count, words, &error);
        assert_int_equal(r, finds[i].result);
        if (r < 0) {
            assert_string_equal(error.text, finds[i].rest);
            continue;
        }
        assert_string_equal(verb->name, finds[i].verb);
        for (int w = 0; w < count; w++)
            snprintf(rest + strlen(rest), sizeof(rest) - strlen(rest), "%s%s", w ? " " : "", words[w]);
        assert_string_equal(rest, finds[i].rest);
    }
}

/* What a line for `go` is parsed to: "ARGS|option=value ...", or the error. */
static const struct {
    const char *line, *got;
} parses[] = {
    {"j", "j|"},
    {"j now", "j now|"},
    {"--key=a j", "j|key=a"},
    {"--key a j", "j|key=a"},
    {"--key= j", "j|key="},
    {"-k a j", "j|key=a"},
    {"-ka j", "j|key=a"},
    {"-k=a j", "j|key=a"},
    {"-fw j", "j|follow= wait="},
    {"-fwkx j", "j|follow= wait= key=x"},
    {"j --param a=1 --param b=2", "j|param=a=1 param=b=2"},
    {"-o yaml j", "j|output=yaml"},
    {"-- -j", "-j|"},
    {"- j", "- j|"},
    {"--help", "|help="},
    {"--help a b c d", "a b c d|help="},
    {"", "JOB is missing"},
    {"j now then", "unexpected argument 'then'"},
    {"--kye a j", "there is no option --kye; did you mean '--key'?"},
    {"--zzzzzz j", "there is no option --zzzzzz"},
    {"--kye=a j", "there is no option --kye; did you mean '--key'?"},
    {"-x j", "there is no option -x"},
    {"j --key", "--key needs a value: KEY"},
    {"j -k", "-k needs a value: KEY"},
    {"--follow=yes j", "--follow takes no value"},
    {"-o xml j", "--output takes table|json|yaml, not 'xml'"},
    {"-o tab j", "--output takes table|json|yaml, not 'tab'"},
    {"--server x j", "there is no option --server"},
};

static void test_parse(void **state)
{
    for (size_t i = 0; i < sizeof(parses) / sizeof(parses[0]); i++) {
        char line[128], got[ERROR_TEXT_MAX] = "", *argv[WORDS_MAX];
        struct verb_call call;
        struct error error = {0};
        int argc;

        snprintf(line, sizeof(line), "%s", parses[i].line);
        argc = split(line, argv);
        if (verb_call_init(&call, &go, argc, argv, &error) < 0) {
            snprintf(got, sizeof(got), "%s", error.text);
        } else {
            for (size_t a = 0; a < call.arg_count; a++)
                snprintf(got + strlen(got), sizeof(got) - strlen(got), "%s%s", a ? " " : "", call.args[a]);
            strncat(got, "|", sizeof(got) - strlen(got) - 1);
            for (size_t g = 0; g < call.given_count; g++)
                snprintf(got + strlen(got), sizeof(got) - strlen(got), "%s%s=%s", g ? " " : "",
                         call.given[g].option->name, call.given[g].value);
            assert_null(call.args[call.arg_count]);
        }
        verb_call_release(&call);
        if (strcmp(got, parses[i].got) != 0)
            fail_msg("'%s': wanted %s, got %s", parses[i].line, parses[i].got, got);
    }
}

static void test_argument_counts(void **state)
{
    static const struct {
        const struct verb *verb;
        const char *line;
        int result;
    } cases[] = {
        {&files, "", ERR_INVALID},  {&files, "a", 0},    {&files, "a b c d e", 0},       {&maybe, "", 0},
        {&maybe, "a b c", 0},       {&step_down, "", 0}, {&step_down, "a", ERR_INVALID}, {&go, "a b", 0},
        {&go, "a b c", ERR_INVALID}};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char line[64], *argv[WORDS_MAX];
        struct verb_call call;
        int argc;

        snprintf(line, sizeof(line), "%s", cases[i].line);
        argc = split(line, argv);
        assert_int_equal(verb_call_init(&call, cases[i].verb, argc, argv, NULL), cases[i].result);
        verb_call_release(&call);
    }
}

static void test_ask(void **state)
{
    char line[] = "j --key a --key b --param x=1 --param y=2 --limit 30", *argv[WORDS_MAX];
    struct verb_call call;
    struct error error;
    long n = 7;

    assert_int_equal(verb_call_init(&call, &go, split(line, argv), argv, NULL), 0);
    assert_string_equal(verb_option(&call, "key"), "b");
    assert_null(verb_option(&call, "output"));
    assert_false(verb_flag(&call, "follow"));
    assert_string_equal(verb_option_at(&call, "param", 0), "x=1");
    assert_string_equal(verb_option_at(&call, "param", 1), "y=2");
    assert_null(verb_option_at(&call, "param", 2));
    assert_int_equal(verb_option_int(&call, "limit", 1, 100, &n, &error), 0);
    assert_int_equal(n, 30);
    n = 7;
    assert_int_equal(verb_option_int(&call, "limit", 1, 29, &n, &error), ERR_INVALID);
    assert_int_equal(n, 7);
    assert_string_equal(error.text, "--limit takes a whole number from 1 to 29, not '30'");
    verb_call_release(&call);
}

static void test_exit_codes(void **state)
{
    static const struct {
        int error, exit;
    } cases[] = {{0, 0},
                 {ERR_INVALID, 2},
                 {ERR_LIMIT, 2},
                 {ERR_UNSUPPORTED, 2},
                 {ERR_NOT_FOUND, 3},
                 {ERR_DENIED, 4},
                 {ERR_NO_LEADER, 5},
                 {ERR_DEPOSED, 5},
                 {ERR_UNREACHABLE, 5},
                 {ERR_CONFLICT, 6},
                 {ERR_BUSY, 6},
                 {ERR_TIMEOUT, 7},
                 {ERR_UNKNOWN, 7},
                 {ERR_NOMEM, 64},
                 {ERR_CORRUPT, 64},
                 {ERR_INTERNAL, 64}};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_int_equal(verb_exit_code(cases[i].error), cases[i].exit);
}

/* The table is what help, completion and manual are made of: nothing in it may be missing or double. */
static void test_the_real_table_is_sound(void **state)
{
    for (size_t i = 0; verbs[i]; i++) {
        const struct verb *v = verbs[i];
        const struct verb_option *o, *other;

        assert_non_null(v->run);
        assert_true(v->help && strlen(v->help) > 0 && v->help[strlen(v->help) - 1] != '.');
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(v->name, verbs[k]->name);
        for (size_t a = 0; (o = verb_option_number(v, a)); a++) {
            assert_true(o->help && strlen(o->help) > 0);
            for (size_t b = 0; b < a; b++) {
                other = verb_option_number(v, b);
                if (strcmp(o->name, other->name) == 0 || (o->letter && o->letter == other->letter))
                    fail_msg("%s: --%s and --%s", v->name, o->name, other->name);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_find),
        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_argument_counts),
        cmocka_unit_test(test_ask),
        cmocka_unit_test(test_exit_codes),
        cmocka_unit_test(test_the_real_table_is_sound),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
