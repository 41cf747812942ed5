/* How much of a long test is run: all of it under --whole, or when files that it is about have changed; else a part that
 * moves on each day. tests/lab/sample.py says the same for the suites in Python, and sets the variables that this reads. */
#pragma once

#include <stdbool.h>

/* path: of files that the test is about, from the top of the tree, as "leader/embedded/". A program that is run by
 * itself, without tests/run.py, runs all of it. */
bool sample_is_whole(const char *path);

/* 0 ... one_in - 1: where a table that is run in so many parts begins today. */
int sample_first(int one_in);
