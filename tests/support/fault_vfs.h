/* A layer under SQLite, for tests: the n-th write, sync or truncation of a file fails, and a number of them
 * after it. */
#pragma once

#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

struct fault_vfs {
    sqlite3_vfs vfs;
    sqlite3_vfs *real;
    int code;            /* SQLITE_FULL, SQLITE_IOERR_FSYNC, ... */
    volatile long calls; /* so far */
    long first, last;    /* which of them fail */
};
extern struct fault_vfs fault_vfs;

/* Becomes the default; fails nothing until told so. */
void fault_vfs_install(void);

/* From now on the first-th call and count - 1 after it fail with this code of SQLite's. */
void fault_vfs_arm(int code, long first, long count);
void fault_vfs_disarm(void);
