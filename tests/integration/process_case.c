#include "tests/integration/process_case.h"

struct fixture *f;
struct job *job;

int process_case_set_up(void **state)
{
    f = fixture_new(NULL);
    job = NULL;
    return 0;
}

int process_case_tear_down(void **state)
{
    job_unref(job);
    fixture_free(f);
    return 0;
}

void process_case_again(void)
{
    process_case_tear_down(NULL);
    process_case_set_up(NULL);
}

void process_case_with(const char *folder, const struct process_engine_options *options)
{
    fixture_free(f);
    f = fixture_new_with(folder, options);
}
