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

static void test_every_key_of_a_job_is_in_the_manual(void **state)
{
    const char *root = getenv("SOURCE_ROOT");
    char path[4096], name[128], *page = calloc(1, PAGE_BYTES_MAX);
    FILE *file;

    snprintf(path, sizeof(path), "%s/contrib/man/cronsched-job.5.scd", root ? root : ".");
    file = fopen(path, "re");
    if (!file)
        fail_msg("%s cannot be read", path);
    assert_true(fread(page, 1, PAGE_BYTES_MAX - 1, file) < PAGE_BYTES_MAX - 1);
    fclose(file);
    for (size_t i = 0; i < JOB_KEY_COUNT; i++) {
        escape(job_keys[i].name, name, sizeof(name));
        if (!strstr(page, name))
            fail_msg("%s is not in %s", job_keys[i].name, path);
        if (job_keys[i].group && !strstr(page, job_keys[i].group))
            fail_msg("%s is not in %s", job_keys[i].group, path);
    }
    free(page);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_key_of_a_job_is_in_the_manual)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
