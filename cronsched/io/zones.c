#include "cronsched/io/zones.h"

#include <stdlib.h>

const char *zones_folder(void)
{
    const char *folder = getenv("TZDIR");

    return folder && *folder ? folder : ZONES_FOLDER;
}

int zones_open(struct zoneinfo **ret, struct error *error)
{
    return zoneinfo_new(ret, zones_folder(), error);
}
