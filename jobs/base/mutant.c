#include "jobs/base/mutant.h"

#ifdef CRONSCHED_FAULTS
enum mutant mutant_on;
#else
typedef int mutant_is_compiled_out; /* ISO C wants a declaration in every file */
#endif
