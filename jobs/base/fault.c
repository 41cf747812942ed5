#include "jobs/base/fault.h"

#include "jobs/base/mutant.h"

#ifdef CRONSCHED_FAULTS
void (*fault_hook)(const char *point, const char *detail);
enum mutant mutant_on;
#else
typedef int fault_is_compiled_out; /* ISO C wants a declaration in every file */
#endif
