#include "jobs/base/sqlite.h"

#include <stdio.h>
#include <string.h>

/* SQLITE_FULL to ERR_FULL, ... */
static int error_code(int code)
{
    static const struct {
        int sqlite, error;
    } codes[] = {
        {SQLITE_FULL, ERR_FULL},       {SQLITE_CORRUPT, ERR_CORRUPT},     {SQLITE_NOTADB, ERR_CORRUPT},
        {SQLITE_NOMEM, ERR_NOMEM},     {SQLITE_BUSY, ERR_BUSY},           {SQLITE_LOCKED, ERR_BUSY},
        {SQLITE_READONLY, ERR_DENIED}, {SQLITE_PERM, ERR_DENIED},         {SQLITE_AUTH, ERR_DENIED},
        {SQLITE_TOOBIG, ERR_LIMIT},    {SQLITE_INTERRUPT, ERR_CANCELLED},
    };

    if (code == SQLITE_OK || code == SQLITE_ROW || code == SQLITE_DONE)
        return 0;
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
        if (codes[i].sqlite == (code & 0xff))
            return codes[i].error;
    return ERR_IO; /* IOERR, CANTOPEN and the rest: something below did not do its work */
}

int sqlite_error(sqlite3 *db, const char *what, struct error *error)
{
    int code = error_code(sqlite3_extended_errcode(db)), system_error = sqlite3_system_errno(db);
    const char *path = sqlite3_db_filename(db, "main");
    char reason[128] = "";

    if (code == 0)
        code = ERR_INTERNAL;
    /* the error number is of the last failing system call, which need not be this one: only where it explains
     */
    if ((code == ERR_IO || code == ERR_FULL) && system_error)
        snprintf(reason, sizeof(reason), " (%s)", strerror(system_error));
    return error_set(error, code, "%s: %s: %s%s", path ? path : "database", what, sqlite3_errmsg(db), reason);
}

int sqlite_open(sqlite3 **ret, const char *path, bool create, struct error *error)
{
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE |
                (create ? SQLITE_OPEN_CREATE : 0);
    sqlite3 *db;

    if (sqlite3_open_v2(path, &db, flags, NULL) != SQLITE_OK) {
        int rc = db ? sqlite_error(db, "cannot be opened", error)
                    : error_set(error, ERR_NOMEM, "%s: %s", path, error_text(ERR_NOMEM));

        sqlite3_close(db);
        return rc;
    }
    sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0, NULL);
    *ret = db;
    return 0;
}

int sqlite_exec(sqlite3 *db, const char *sql, struct error *error)
{
    char what[64];

    if (sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK)
        return 0;
    snprintf(what, sizeof(what), "%.*s", (int)strcspn(sql, "\n;"), sql);
    return sqlite_error(db, what, error);
}

int sqlite_prepare(sqlite3 *db, const char *sql, sqlite3_stmt **ret, struct error *error)
{
    sqlite3_stmt *stmt = NULL;

    if (sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, &stmt, NULL) != SQLITE_OK)
        return sqlite_error(db, "prepare", error);
    *ret = stmt;
    return 0;
}

int sqlite_get_int(sqlite3 *db, const char *sql, int64_t *ret, struct error *error)
{
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite_prepare(db, sql, &stmt, error), step;

    if (rc < 0)
        return rc;
    step = sqlite3_step(stmt);
    if (step == SQLITE_ROW && sqlite3_column_type(stmt, 0) != SQLITE_NULL)
        *ret = sqlite3_column_int64(stmt, 0);
    else if (step != SQLITE_ROW && step != SQLITE_DONE)
        rc = sqlite_error(db, "read", error);
    sqlite3_finalize(stmt);
    return rc;
}

int sqlite_run(sqlite3 *db, sqlite3_stmt *stmt, struct error *error)
{
    int step, rc = 0;

    while ((step = sqlite3_step(stmt)) == SQLITE_ROW) {
    }
    if (step != SQLITE_DONE)
        rc = sqlite_error(db, sqlite3_stmt_readonly(stmt) ? "read" : "write", error);
    sqlite3_reset(stmt);
    return rc;
}

void sqlite_bind_text(sqlite3_stmt *stmt, int column, const char *text)
{
    sqlite3_bind_text(stmt, column, text, -1, SQLITE_STATIC); /* NULL binds NULL */
}

void sqlite_rollback(sqlite3 *db)
{
    if (!sqlite3_get_autocommit(db))
        sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
}
