/* What to write instead of what people take for the name of a time zone. Pure; any thread. */
#pragma once

#include <stddef.h>

#define ZONE_ADVICE_MAX 256

/* For abbreviations (CST), offsets (GMT+2) and POSIX texts (CET-1CEST): a clause that follows the error, "; write ...".
 * NULL: it looks like a name, and a near one may be meant. */
const char *zone_advice(const char *name, char buffer[ZONE_ADVICE_MAX]);
