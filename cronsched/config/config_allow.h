/* What an engine's jobs may ask for: `allow`, and `users` of a process engine. For config_file.c. */
#pragma once

#include "cronsched/config/config.h"
#include "cronsched/config/config_keys.h"

#define CONFIG_ALLOW_MAX 256 /* items of one list */

/* The map `allow`, into engine->allow. Faults are reported. */
void config_read_allow(struct config_reader *reader, struct config_engine *engine,
                       const struct yaml_node *map);
/* The list `users`, into engine->allow as well. */
void config_read_users(struct config_reader *reader, struct config_engine *engine,
                       const struct yaml_node *list);
/* What the engine's type has no use for; once the type is known. */
void config_check_allow(struct config_reader *reader, const struct config_engine *engine,
                        const struct yaml_node *at);
