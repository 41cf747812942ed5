/* What a configuration sends or shows without protection, although it could have it: told at each start, since nothing
 * fails. Thread: any, before the loop runs.
 */
#pragma once

#include "cronsched/config/config.h"

/* Calls back for each, with the event and the text of a line of the log. */
void plain_text_warn(const struct config *config,
                     void (*warn)(void *arg, const char *event, const char *text), void *arg);
