/* Why a program could not be executed, for people. Blocks: for the supervisor. */
#pragma once

#include "cronsched/engines/process/supervise.h"

#include <stddef.h>

/* After ENOENT or ENOTDIR, which the kernel also answers when the interpreter of a script is missing. env: the command's. */
void supervise_program_explain(const struct supervise_spec *spec, char **env, char *ret, size_t size);
