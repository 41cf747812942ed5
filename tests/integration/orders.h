/* Orders of a test program to the wrapper that started its servers (tests/lab/orders.py). */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Blocks until it is done; aborts when it cannot be. */
static inline void order(const char *words)
{
    char line[64], reply[64] = "";
    int fd = (int)strtol(getenv("TEST_ORDERS"), NULL, 10);
    ssize_t n = snprintf(line, sizeof(line), "%s\n", words);

    if (write(fd, line, (size_t)n) != n || read(fd, reply, sizeof(reply) - 1) < 2 ||
        strncmp(reply, "ok", 2) != 0) {
        fprintf(stderr, "\"%s\" was not done\n", words);
        abort();
    }
}
