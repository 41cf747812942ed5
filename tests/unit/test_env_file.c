/* Files of variables: what a file's text becomes, who wins, what is refused. */
#include "jobs/definition/jobfile.h"

#include "jobs/base/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct disk {
    const char *text; /* of "a.env" */
    const char *more; /* of "b.env"; NULL: there is none */
};

static int read_disk(void *arg, const char *file, const char *path, char **ret, size_t *ret_size,
                     struct error *error)
{
    const struct disk *disk = arg;
    const char *text = strcmp(path, "a.env") == 0 ? disk->text : disk->more;

    assert_string_equal(file, "folder/jobs.yaml");
    if (!text)
        return error_set(error, ERR_NOT_FOUND, "%s: cannot be read", path);
    *ret = strdup(text);
    *ret_size = strlen(text);
    return 0;
}

/* The job's environment as "NAME=VALUE|...", or the first fault. */
static char *read_job(struct disk *disk, const char *yaml)
{
    struct jobfile_set set;
    struct text out;
    char *result;

    text_init(&out, 65536);
    jobfile_set_init(&set);
    if (disk) {
        set.env_file = read_disk;
        set.env_file_arg = disk;
    }
    jobfile_read(&set, "folder/jobs.yaml", yaml, strlen(yaml), NULL);
    if (set.error_count > 0)
        text_addf(&out, "%d: %s", set.errors[0].line, set.errors[0].text);
    else
        for (size_t i = 0; i < set.jobs[0]->environment_count; i++)
            text_addf(&out, "%s=%s|", set.jobs[0]->environment[i].name, set.jobs[0]->environment[i].value);
    if (set.count > 0)
        assert_int_equal(set.jobs[0]->env_file.count, 0);
    result = text_take(&out);
    jobfile_set_release(&set);
    return result ? result : strdup("");
}

static void expect(struct disk disk, const char *yaml, const char *expected)
{
    char *is = read_job(&disk, yaml);

    if (strcmp(is, expected) != 0)
        fail_msg("%s\nis:       %s\nexpected: %s", disk.text, is, expected);
    free(is);
}

static void a_file_becomes_variables(void **state)
{
    static const char yaml[] = "jobs: {j: {env_file: a.env}}";
    static const struct {
        const char *text, *expected;
    } table[] = {
        {"", ""},
        {"# only a comment", ""},
        {"A=1\nB=two words \n\n  C = 3\r\n", "A=1|B=two words|C=3|"},
        {"export A=1\nexported=2\n", "A=1|exported=2|"},
        {"A=x # a comment\nB=x#none\nC=#none either\n", "A=x|B=x#none|C=#none either|"},
        {"A='it $HOME is # taken'\nB=''\n", "A=it $HOME is # taken|B=|"},
        {"A='one\ntwo' # and\nB=3", "A=one\ntwo|B=3|"},
        {"A=\"a\\tb\\n\\\"c\\\" \\$HOME \\x\"\n", "A=a\tb\n\"c\" $HOME \\x|"},
        {"A=1\nA=2\n", "A=2|"},
        {"A=50$\nB=\"$5\"\nC=a=b", "A=50$|B=$5|C=a=b|"},
    };

    for (size_t i = 0; i < COUNT(table); i++)
        expect((struct disk){.text = table[i].text}, yaml, table[i].expected);
}

static void what_cannot_be_meant_is_a_fault_with_its_line(void **state)
{
    static const char yaml[] = "jobs:\n  j:\n    env_file: a.env\n";
    static const struct {
        const char *text, *expected;
    } table[] = {
        {"A=1\nB\n", "3: env_file: a.env:2: 'B' must be NAME=VALUE; nothing is taken from an environment"},
        {"1A=1\n", "3: env_file: a.env:1: '1A' is not a variable's name"},
        {"CRONSCHED_RUN=x\n", "3: env_file: a.env:1: the variables CRONSCHED_* are set by cronsched"},
        {"A=${HOME}\n", "3: env_file: a.env:1: nothing is put in for '$': write the value in single quotes, "
                        "or \\$ in double ones"},
        {"A=\"$HOME\"\n", "3: env_file: a.env:1: nothing is put in for '$': write the value in single "
                          "quotes, or \\$ in double ones"},
        {"\n\nA='x\n", "3: env_file: a.env:3: the quote is not closed"},
        {"A=\"x\\\"\n", "3: env_file: a.env:1: the quote is not closed"},
        {"A='x' y\n", "3: env_file: a.env:1: there is something behind the closing quote"},
    };

    for (size_t i = 0; i < COUNT(table); i++)
        expect((struct disk){.text = table[i].text}, yaml, table[i].expected);
}

static void the_later_file_wins_and_the_environment_over_all(void **state)
{
    expect((struct disk){.text = "A=1\nB=1\nC=1\n", .more = "B=2\nC=2\n"},
           "jobs: {j: {env_file: [a.env, b.env], environment: {C: 3}}}", "C=3|A=1|B=2|");
    expect((struct disk){.text = "A=1\nB=1\n"},
           "defaults: {env_file: a.env, environment: {A: d}}\njobs: {j: {environment: {B: j}}}", "A=d|B=j|");
}

static void a_file_that_cannot_be_read_is_a_fault(void **state)
{
    expect((struct disk){.text = "A=1"}, "jobs: {j: {env_file: [a.env, c.env]}}",
           "1: env_file: c.env: cannot be read");
}

/* As for the server, which gets no files: nothing is read from its own disk. */
static void without_files_it_is_a_fault(void **state)
{
    char *is = read_job(NULL, "jobs: {j: {env_file: /etc/passwd}}");

    assert_string_equal(is, "1: env_file: files are read beside a job file only; give their variables as "
                            "environment");
    free(is);
}

static void more_variables_than_a_job_may_have_are_a_fault(void **state)
{
    struct text text;

    text_init(&text, 1 << 20);
    for (int i = 0; i <= JOB_LIST_MAX; i++)
        text_addf(&text, "A%d=1\n", i);
    expect((struct disk){.text = text_str(&text)}, "jobs: {j: {env_file: a.env}}",
           "1: env_file: a.env:257: more than 256 variables");
    text_release(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_becomes_variables),
        cmocka_unit_test(what_cannot_be_meant_is_a_fault_with_its_line),
        cmocka_unit_test(the_later_file_wins_and_the_environment_over_all),
        cmocka_unit_test(a_file_that_cannot_be_read_is_a_fault),
        cmocka_unit_test(without_files_it_is_a_fault),
        cmocka_unit_test(more_variables_than_a_job_may_have_are_a_fault),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
