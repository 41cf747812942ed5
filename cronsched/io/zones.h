/* The zoneinfo folder of this process: $TZDIR, or the system's. Main thread. */
#pragma once

#include "jobs/time/zoneinfo.h"

#define ZONES_FOLDER "/usr/share/zoneinfo"

const char *zones_folder(void); /* never NULL */

/* 0, ERR_NOMEM. A folder that is not there shows with the first zone that is asked for. */
int zones_open(struct zoneinfo **ret, struct error *error);
