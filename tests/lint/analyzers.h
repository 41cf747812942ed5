/* For the static analyzers only: they see one file at a time and cannot know that error_set returns the
 * negative code that it is given. Included before everything else by tests/lint/analysis_test.py.
 */
#pragma once

#include "jobs/base/error.h"

#define error_set(e, code, ...) (error_set((e), (code), __VA_ARGS__), (code))
