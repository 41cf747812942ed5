/* cmocka's assertions by plain ones, for a bench that uses the owner of a journal (tests/unit/journal_owner.h). */
#pragma once

#include <assert.h>

#ifdef NDEBUG
#error "the checks of the journal's owner are assertions"
#endif

#define assert_true(x)            assert(x)
#define assert_false(x)           assert(!(x))
#define assert_int_equal(a, b)    assert((a) == (b))
#define assert_string_equal(a, b) assert(strcmp((a), (b)) == 0)
