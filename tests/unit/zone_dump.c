/* Prints a zone's table for tests/unit/zone_oracle.py: "NAME" and lines of "START OFFSET", for each name on
 * standard input. The folder is the one argument. */
#include "jobs/time/zone.h"
#include "jobs/time/zoneinfo.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
    struct zoneinfo *zoneinfo;
    struct error error;
    char name[256];
    int failed = 0;

    if (argc != 2 || zoneinfo_new(&zoneinfo, argv[1], &error) < 0)
        return 2;
    while (fgets(name, sizeof(name), stdin)) {
        struct zone_source *source = zoneinfo_source(zoneinfo);
        const struct zone *zone;

        name[strcspn(name, "\n")] = '\0';
        if (source->get(source, name, &zone, &error) < 0) {
            fprintf(stderr, "%s\n", error.text);
            failed = 1;
            continue;
        }
        printf("%s\n", name);
        for (uint32_t i = 0; i < zone->count; i++)
            printf("%" PRId64 " %" PRId32 "\n", zone->start_s[i], zone->offset_s[i]);
        source->put(source, zone);
    }
    zoneinfo_free(zoneinfo);
    return failed;
}
