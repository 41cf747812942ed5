#include "cronsched/server/server_id.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

void server_id_replica(const struct config *config, char *ret, size_t size)
{
    if (config->replica)
        snprintf(ret, size, "%s", config->replica);
    else if (gethostname(ret, size - 1) < 0)
        snprintf(ret, size, "localhost");
}

void server_id_uuid(char ret[37])
{
    unsigned char b[16];

    if (getrandom(b, sizeof(b), 0) != sizeof(b))
        abort();
    b[6] = (b[6] & 0x0f) | 0x40; /* RFC 9562, version 4 */
    b[8] = (b[8] & 0x3f) | 0x80;
    snprintf(ret, 37, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1],
             b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
}
