/* A zoneinfo folder as a source of zones: reads each zone's file once, shares it by reference count, and
 * reads again when the folder has changed.
 *
 * Failures are never kept: a zone that was missing is looked for again. A zone that was given out stays as it
 * is until its last user puts it back, also when a reload has replaced it. The source owns all zones and
 * outlives all its users. get, put and reload belong to one thread; a zone itself may be read from any.
 */
#pragma once

#include "jobs/base/error.h"
#include "jobs/time/schedule.h"
#include "jobs/time/zone.h"

#include <stdbool.h>
#include <stddef.h>

#define ZONEINFO_VERSION_MAX 32
#define ZONEINFO_ZONES_MAX   4096 /* kept at once, and names looked at for a hint */

struct zoneinfo;

/* The folder, such as "/usr/share/zoneinfo". It need not be there yet; ERR_NOMEM, ERR_INVALID (an empty
 * path). */
int zoneinfo_new(struct zoneinfo **ret, const char *folder, struct error *error);
void zoneinfo_free(struct zoneinfo *zoneinfo); /* NULL is fine; all zones must have been put back */

struct zone_source *zoneinfo_source(struct zoneinfo *zoneinfo);

/* The folder's tzdata version, such as "2026f"; "unknown" when it does not say. Valid until the next reload.
 */
const char *zoneinfo_version(const struct zoneinfo *zoneinfo);

/* True when the folder looks changed since it was last read: a few stat calls, fit to be asked every minute.
 */
bool zoneinfo_stale(const struct zoneinfo *zoneinfo);

/* Reads the version and every zone in use again. `changed` is called once for each zone whose rules differ
 * from those in use, with the name under which it was got; what compiled with it should be compiled again. A
 * file that cannot be read any more leaves the zone in use as it is. Returns how many changed, or ERR_NOMEM.
 */
int zoneinfo_reload(struct zoneinfo *zoneinfo, void (*changed)(void *arg, const char *name), void *arg);
