/* Credentials for the registries of an engine: `registries`. For config_file.c. */
#pragma once

#include "cronsched/config/config.h"
#include "cronsched/config/config_keys.h"

#define CONFIG_REGISTRIES_MAX 64

/* The map `registries`, into engine->registries. Faults are reported. */
void config_read_registries(struct config_reader *reader, struct config_engine *engine,
                            const struct yaml_node *map);
