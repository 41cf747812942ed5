/* `serve --check`: would it start? Main thread. */
#pragma once

#include "cronsched/config/config.h"

/* Looks at what the configuration names and reads it as the start does: tokens, certificates, addresses, passwords, users.
 * It changes nothing, opens no address and asks nobody but the resolver and the user database. Each fault is a line of
 * stderr. An exit code: EXIT_FINE or EXIT_USAGE. */
int serve_check(const struct config *config);
