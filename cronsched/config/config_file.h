/* The configuration's file: its reader, and what only a file can hold, engines and pools. Main thread. */
#pragma once

#include "cronsched/config/config.h"

/* Reads sources->text into *config. Each fault is a line of `errors`, with its place. */
void config_read_file(struct config *config, const struct config_sources *sources, struct text *errors);

void config_default_engines(struct config *config); /* docker alone */
void config_release_engines(struct config *config); /* frees engines and pools */
