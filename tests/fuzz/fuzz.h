/* What every fuzz target has: the function that libFuzzer, or replay.c, calls, and a check that ends the process. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#define CHECK(what)                                                                                          \
    do {                                                                                                     \
        if (!(what))                                                                                         \
            abort();                                                                                         \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
