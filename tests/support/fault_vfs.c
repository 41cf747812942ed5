#include "tests/support/fault_vfs.h"

#include <stdbool.h>

struct fault_vfs fault_vfs;

struct fault_file {
    sqlite3_file base;
    sqlite3_file *real; /* in the memory after this struct */
};

static sqlite3_file *fault_real(sqlite3_file *file)
{
    return ((struct fault_file *)(void *)file)->real;
}

/* Calls come from one thread at a time. */
static bool fault_strikes(void)
{
    long n = ++fault_vfs.calls;

    return n >= fault_vfs.first && n <= fault_vfs.last;
}

#define FAULT_PASS(name, parameters, arguments)                                                              \
    static int fault_##name parameters                                                                       \
    {                                                                                                        \
        return fault_real(file)->pMethods->name arguments;                                                   \
    }
#define FAULT_FAIL(name, parameters, arguments)                                                              \
    static int fault_##name parameters                                                                       \
    {                                                                                                        \
        return fault_strikes() ? fault_vfs.code : fault_real(file)->pMethods->name arguments;                \
    }

FAULT_PASS(xRead, (sqlite3_file * file, void *p, int n, sqlite3_int64 at), (fault_real(file), p, n, at))
FAULT_FAIL(xWrite, (sqlite3_file * file, const void *p, int n, sqlite3_int64 at),
           (fault_real(file), p, n, at))
FAULT_FAIL(xTruncate, (sqlite3_file * file, sqlite3_int64 n), (fault_real(file), n))
FAULT_FAIL(xSync, (sqlite3_file * file, int flags), (fault_real(file), flags))
FAULT_PASS(xFileSize, (sqlite3_file * file, sqlite3_int64 *n), (fault_real(file), n))
FAULT_PASS(xLock, (sqlite3_file * file, int level), (fault_real(file), level))
FAULT_PASS(xUnlock, (sqlite3_file * file, int level), (fault_real(file), level))
FAULT_PASS(xCheckReservedLock, (sqlite3_file * file, int *ret), (fault_real(file), ret))
FAULT_PASS(xFileControl, (sqlite3_file * file, int op, void *arg), (fault_real(file), op, arg))
FAULT_PASS(xSectorSize, (sqlite3_file * file), (fault_real(file)))
FAULT_PASS(xDeviceCharacteristics, (sqlite3_file * file), (fault_real(file)))
FAULT_PASS(xShmMap, (sqlite3_file * file, int page, int size, int extend, void volatile **ret),
           (fault_real(file), page, size, extend, ret))
FAULT_PASS(xShmLock, (sqlite3_file * file, int at, int n, int flags), (fault_real(file), at, n, flags))
FAULT_PASS(xShmUnmap, (sqlite3_file * file, int remove), (fault_real(file), remove))

static void fault_xShmBarrier(sqlite3_file *file)
{
    fault_real(file)->pMethods->xShmBarrier(fault_real(file));
}

static int fault_xClose(sqlite3_file *file)
{
    return fault_real(file)->pMethods ? fault_real(file)->pMethods->xClose(fault_real(file)) : SQLITE_OK;
}

static int fault_xOpen(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *ret_flags)
{
    static const sqlite3_io_methods methods = {
        .iVersion = 2,
        .xClose = fault_xClose,
        .xRead = fault_xRead,
        .xWrite = fault_xWrite,
        .xTruncate = fault_xTruncate,
        .xSync = fault_xSync,
        .xFileSize = fault_xFileSize,
        .xLock = fault_xLock,
        .xUnlock = fault_xUnlock,
        .xCheckReservedLock = fault_xCheckReservedLock,
        .xFileControl = fault_xFileControl,
        .xSectorSize = fault_xSectorSize,
        .xDeviceCharacteristics = fault_xDeviceCharacteristics,
        .xShmMap = fault_xShmMap,
        .xShmLock = fault_xShmLock,
        .xShmBarrier = fault_xShmBarrier,
        .xShmUnmap = fault_xShmUnmap,
    };
    struct fault_file *f = (struct fault_file *)(void *)file;
    int rc;

    f->real = (sqlite3_file *)(void *)(f + 1);
    f->real->pMethods = NULL;
    rc = fault_vfs.real->xOpen(fault_vfs.real, name, f->real, flags, ret_flags);
    f->base.pMethods = f->real->pMethods ? &methods : NULL;
    return rc;
}

void fault_vfs_install(void)
{
    fault_vfs.real = sqlite3_vfs_find(NULL);
    fault_vfs.vfs = *fault_vfs.real;
    fault_vfs.vfs.zName = "fault";
    fault_vfs.vfs.szOsFile = (int)sizeof(struct fault_file) + fault_vfs.real->szOsFile;
    fault_vfs.vfs.xOpen = fault_xOpen;
    sqlite3_vfs_register(&fault_vfs.vfs, 1);
}

void fault_vfs_arm(int code, long first, long count)
{
    fault_vfs.code = code;
    fault_vfs.calls = 0;
    fault_vfs.first = first;
    fault_vfs.last = first + count - 1;
}

void fault_vfs_disarm(void)
{
    fault_vfs.first = 1;
    fault_vfs.last = 0;
}
