/* The manual of job files is written by hand; the keys come from the reader's own table. None may be missing.
 */
#include "jobs/definition/job_keys.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define PAGE_BYTES_MAX 65536
#define KEY_BYTES_MAX  128

/* As scdoc is given it: "stop\_grace". */
static void escape(const char *name, char *buffer, size_t size)
{
    size_t n = 0;

    for (; *name && n + 3 < size; name++) {
        if (*name == '_')
            buffer[n++] = '\\';
        buffer[n++] = *name;
    }
    buffer[n] = '\0';
}

/* The entry of a key: from the line that names it ("*keep*", or one of several), which indented text follows, to the
 * next such line. NULL: none. */
static char *entry_of(const char *page, const char *key)
{
    char name[KEY_BYTES_MAX], bold[KEY_BYTES_MAX + 2];

    escape(key, name, sizeof(name));
    snprintf(bold, sizeof(bold), "*%s*", name);
    for (const char *line = page, *next; line; line = next) {
        const char *at = strstr(line, bold), *end;

        next = strchr(line, '\n');
        next = next ? next + 1 : NULL;
        if (*line != '*' || !next || *next != '\t' || !at || at >= next)
            continue;
        end = next;
        while (end && *end != '*' && *end != '#') {
            end = strchr(end, '\n');
            end = end ? end + 1 : NULL;
        }
        return strndup(line, end ? (size_t)(end - line) : strlen(line));
    }
    return NULL;
}

/* A key of a map, in its entry: "_max_", or "{name:" in an example. */
static bool entry_has(const char *entry, const char *key)
{
    char name[KEY_BYTES_MAX], italic[KEY_BYTES_MAX + 2], example[KEY_BYTES_MAX + 2];

    escape(key, name, sizeof(name));
    snprintf(italic, sizeof(italic), "_%s_", name);
    snprintf(example, sizeof(example), "{%s:", name);
    return strstr(entry, italic) || strstr(entry, example);
}

static bool page_has(const char *page, const struct job_key *key)
{
    char *entry = entry_of(page, key->group ? key->group : key->name);
    bool found = entry && (!key->group || entry_has(entry, key->name));

    free(entry);
    return found;
}

static char *read_page(void)
{
    const char *root = getenv("SOURCE_ROOT");
    char path[4096], *page = calloc(1, PAGE_BYTES_MAX);
    FILE *file;

    snprintf(path, sizeof(path), "%s/contrib/man/cronsched-job.5.scd", root ? root : ".");
    file = fopen(path, "re");
    if (!file)
        fail_msg("%s cannot be read", path);
    assert_true(fread(page, 1, PAGE_BYTES_MAX - 1, file) < PAGE_BYTES_MAX - 1);
    fclose(file);
    return page;
}

static void test_every_key_of_a_job_is_in_the_manual(void **state)
{
    char *page = read_page(), path[KEY_BYTES_MAX];

    for (size_t i = 0; i < JOB_KEY_COUNT; i++)
        if (!page_has(page, &job_keys[i]))
            fail_msg("%s has no entry in the manual", job_key_path(&job_keys[i], path, sizeof(path)));
    free(page);
}

/* Each entry is found by its own lines alone: without them the key is missing. */
static void test_a_key_that_is_left_out_is_missed(void **state)
{
    char *page = read_page();

    for (size_t i = 0; i < JOB_KEY_COUNT; i++) {
        const char *head = job_keys[i].group ? job_keys[i].group : job_keys[i].name;
        char *entry = entry_of(page, head), *cut = strdup(page), *at;

        assert_non_null(entry);
        at = strstr(cut, entry);
        assert_non_null(at);
        memmove(at, at + strlen(entry), strlen(at + strlen(entry)) + 1);
        assert_false(page_has(cut, &job_keys[i]));
        free(cut);
        free(entry);
    }
    free(page);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_key_of_a_job_is_in_the_manual),
        cmocka_unit_test(test_a_key_that_is_left_out_is_missed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
