/* One test of the process engine: a fixture and a job, which are there for the test's own file to use. */
#pragma once

#include "tests/integration/process_fixture.h"

extern struct fixture *f;
extern struct job *job; /* NULL at first; goes with the fixture */

int process_case_set_up(void **state);
int process_case_tear_down(void **state);
/* A new fixture, within a test. */
void process_case_again(void);
/* The same with an engine of other options: folder as in fixture_new_with. The job stays. */
void process_case_with(const char *folder, const struct process_engine_options *options);

/* Needs cmocka.h. */
#define TEST(name) cmocka_unit_test_setup_teardown(name, process_case_set_up, process_case_tear_down)
