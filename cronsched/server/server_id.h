/* How this server names itself, and a cluster that it makes. */
#pragma once

#include "cronsched/config/config.h"

/* The configuration's `replica`, else the host's name. */
void server_id_replica(const struct config *config, char *ret, size_t size);

/* A new one, as the kernel's chance has it. */
void server_id_uuid(char ret[37]);
