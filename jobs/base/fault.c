#include "jobs/base/fault.h"

#ifdef CRONSCHED_FAULTS
void (*fault_hook)(const char *point, const char *detail);
#else
typedef int fault_is_compiled_out; /* ISO C wants a declaration in every file */
#endif
