/* A command line to words, by the shell's rules of quoting and by nothing else of a shell: as Compose does
 * with a command that is one text. Pure; any thread.
 *
 *   blanks separate; 'literal'; "text where \ escapes " \ $ ` and the end of a line"; \x outside is x
 */
#pragma once

#include "jobs/base/error.h"

#include <stddef.h>

#define SHELLWORDS_MAX 256

struct shellwords {
    char **words; /* NULL-terminated; all in one allocation with its texts */
    size_t count;
    const char *shell_operator; /* the first unquoted word that a shell would act upon, such as &&; or NULL */
};

/* ERR_INVALID (a quote that is not closed, a backslash at the end), ERR_LIMIT, ERR_NOMEM. */
int shellwords_split(const char *line, struct shellwords *ret, struct error *error);
void shellwords_release(struct shellwords *words);
