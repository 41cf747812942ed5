/* Named points at which a test may stop, kill or fail the process. Compiled in only with CRONSCHED_FAULTS;
 * the program sets fault_hook from its environment (see cronsched/main.c). In a release build FAULT_POINT is
 * nothing.
 */
#pragma once

#ifdef CRONSCHED_FAULTS
extern void (*fault_hook)(const char *point, const char *detail);
#define FAULT_POINT(point, detail)                                                                           \
    do {                                                                                                     \
        if (fault_hook)                                                                                      \
            fault_hook((point), (detail));                                                                   \
    } while (0)
#else
#define FAULT_POINT(point, detail)                                                                           \
    do {                                                                                                     \
    } while (0)
#endif
