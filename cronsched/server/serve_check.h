/* `serve --check`: would it start? Main thread. */
#pragma once

#include "cronsched/config/config.h"

/* Looks at what the configuration names, changes nothing and waits for nobody. Each fault is a line of stderr. An exit
 * code. */
int serve_check(const struct config *config);
