/* What of a configuration has to be the same on all replicas, as facts that they tell each other. Pure. */
#pragma once

#include "cronsched/config/config.h"

#include <jansson.h>

#define CONFIG_FACTS_HASH_SIZE 33

/* Key to text, a new reference; and a hash of those by which a replica may be kept from leading. */
json_t *config_facts(const struct config *config, char ret_hash[CONFIG_FACTS_HASH_SIZE]);
