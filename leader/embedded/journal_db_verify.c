/* What is found in the file when it is opened, checked. */
#include "leader/embedded/journal_db_priv.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* The newest batch that is known to have been there, and who says so. */
uint64_t journal_db_known(const struct journal_db *j, const char **ret_who)
{
    uint64_t mark = journal_lock_mark(j->lock);

    *ret_who = mark >= j->history ? "journal.db.lock" : "history.db";
    return mark >= j->history ? mark : j->history;
}

/* Checks the current row of `read` against itself and against the batch before, and decodes it. `before` is
 * what precedes it: index 0 and no hash where nothing is known. */
int journal_db_row_check(struct journal_db *j, struct journal_db_head *before, int64_t *epoch,
                         struct batch **ret, struct error *error)
{
    uint64_t index = (uint64_t)sqlite3_column_int64(j->read, 0);
    const char *hash = (const char *)sqlite3_column_text(j->read, 3);
    const char *text = (const char *)sqlite3_column_text(j->read, 4);
    size_t size = (size_t)sqlite3_column_bytes(j->read, 4);
    char computed[33];
    struct batch *batch;

    if (!hash || !text)
        return sqlite_error(j->db, "read", error);
    if (before->index && index != before->index + 1)
        return error_set(error, ERR_CORRUPT,
                         "%s: batch %" PRIu64 " is missing: batch %" PRIu64 " follows batch %" PRIu64,
                         j->path, before->index + 1, index, before->index);
    batch_hash(text, size, computed);
    if (strcmp(computed, hash) != 0)
        return error_set(error, ERR_CORRUPT,
                         "%s: batch %" PRIu64 " is damaged: its text (%zu bytes) has the hash %s, not %s",
                         j->path, index, size, computed, hash);
    if (batch_decode(&batch, text, size, error) < 0)
        return error_prefix(error, "%s: batch %" PRIu64 ": ", j->path, index);
    if (batch->index != index || batch->epoch != sqlite3_column_int64(j->read, 1) || batch->epoch < *epoch ||
        (before->hash[0] && strcmp(batch->prev, before->hash) != 0) || (index == 1 && batch->prev[0])) {
        const char *after = batch->prev[0] ? batch->prev : "nothing";
        const char *expected = before->hash[0] ? before->hash : "not known";
        int rc =
            error_set(error, ERR_CORRUPT,
                      "%s: batch %" PRIu64 " does not continue batch %" PRIu64 ": it says number %" PRIu64
                      ", epoch %" PRId64 " (before: %" PRId64 "), after %s (before: %s)",
                      j->path, index, before->index, batch->index, batch->epoch, *epoch, after, expected);

        batch_free(batch);
        return rc;
    }
    assert(strlen(hash) + 1 == sizeof(before->hash)); /* it equals the computed one */
    before->index = index;
    memcpy(before->hash, hash, sizeof(before->hash));
    *epoch = batch->epoch;
    *ret = batch;
    return 0;
}

/* What SQLite itself finds wrong: it names the page or the row, below a heading of its own. */
static int verify_pages(struct journal_db *j, struct error *error)
{
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite_prepare(j->db, "PRAGMA quick_check(1)", &stmt, error);
    const char *text, *line;

    if (rc < 0)
        return rc;
    if (sqlite3_step(stmt) != SQLITE_ROW || !(text = (const char *)sqlite3_column_text(stmt, 0))) {
        rc = sqlite_error(j->db, "check", error);
    } else if (strcmp(text, "ok") != 0) {
        line = strchr(text, '\n');
        rc = error_set(error, ERR_CORRUPT, "%s is damaged: %s", j->path, line ? line + 1 : text);
    }
    sqlite3_finalize(stmt);
    return rc;
}

/* What the snapshots say about the batches. */
struct journal_db_snapshots {
    struct journal_db_head oldest, newest; /* index 0: there are none */
};

/* Every snapshot is whole. */
static int verify_snapshots(struct journal_db *j, struct journal_db_snapshots *ret, struct error *error)
{
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite_prepare(j->db, "SELECT idx, hash, head, text FROM snapshot ORDER BY idx", &stmt, error),
        step;

    if (rc < 0)
        return rc;
    while (rc == 0 && (step = sqlite3_step(stmt)) != SQLITE_DONE) {
        struct journal_db_head *at = &ret->newest;
        char computed[33];

        if (step != SQLITE_ROW) {
            rc = sqlite_error(j->db, "read", error);
            break;
        }
        batch_hash((const char *)sqlite3_column_text(stmt, 3), (size_t)sqlite3_column_bytes(stmt, 3),
                   computed);
        at->index = (uint64_t)sqlite3_column_int64(stmt, 0);
        snprintf(at->hash, sizeof(at->hash), "%s", (const char *)sqlite3_column_text(stmt, 2));
        if (!ret->oldest.index)
            ret->oldest = *at;
        if (strcmp(computed, (const char *)sqlite3_column_text(stmt, 1)) != 0)
            rc = error_set(error, ERR_CORRUPT,
                           "%s: the snapshot at batch %" PRIu64 " is damaged: its hash is %s, not %s",
                           j->path, at->index, computed, (const char *)sqlite3_column_text(stmt, 1));
    }
    sqlite3_finalize(stmt);
    return rc;
}

/* Where a snapshot was made, the batch must be the one it was made after. */
static int verify_tie(struct journal_db *j, const struct journal_db_snapshots *snapshots,
                      const struct journal_db_head *at, struct error *error)
{
    const struct journal_db_head *both[] = {&snapshots->oldest, &snapshots->newest};

    for (size_t i = 0; i < 2; i++)
        if (at->index == both[i]->index && strcmp(at->hash, both[i]->hash) != 0)
            return error_set(error, ERR_CORRUPT,
                             "%s: batch %" PRIu64
                             " has the hash %s, but the snapshot there was made after %s",
                             j->path, at->index, at->hash, both[i]->hash);
    return 0;
}

/* The first batch kept is batch 1, or lies at or below the one that follows the oldest snapshot. */
static int verify_beginning(struct journal_db *j, const struct journal_db_head *oldest,
                            struct journal_db_head *ret_before, struct error *error)
{
    int64_t first = 0;
    int rc = sqlite_get_int(j->db, "SELECT min(idx) FROM batches", &first, error);

    if (rc < 0)
        return rc;
    if ((uint64_t)first > oldest->index + 1)
        return error_set(error, ERR_CORRUPT,
                         "%s: batch %" PRIu64 " is missing: the first one is batch %" PRId64, j->path,
                         oldest->index + 1, first);
    if ((uint64_t)first == oldest->index + 1)
        *ret_before = *oldest;
    return 0;
}

static int verify_epoch(struct journal_db *j, uint64_t index, int64_t epoch, struct error *error)
{
    int64_t claimed = 0;
    int rc = sqlite_get_int(j->db, "SELECT value FROM meta WHERE key = 'epoch'", &claimed, error);

    j->epoch = j->epoch_tried = claimed;
    if (rc < 0 || epoch <= claimed)
        return rc;
    return error_set(error, ERR_CORRUPT,
                     "%s: batch %" PRIu64 " is of epoch %" PRId64 ", but the newest epoch is %" PRId64,
                     j->path, index, epoch, claimed);
}

static int verify_chain(struct journal_db *j, const struct journal_db_snapshots *snapshots,
                        struct error *error)
{
    struct journal_db_head at = {0};
    int64_t epoch = INT64_MIN;
    int rc = verify_beginning(j, &snapshots->oldest, &at, error), step;

    ASSERT_CONNECTED(j);
    sqlite3_bind_int64(j->read, 1, 0);
    sqlite3_bind_int64(j->read, 2, -1);
    while (rc == 0 && (step = sqlite3_step(j->read)) != SQLITE_DONE) {
        struct batch *batch = NULL;

        rc = step == SQLITE_ROW ? journal_db_row_check(j, &at, &epoch, &batch, error)
                                : sqlite_error(j->db, "read", error);
        batch_free(batch);
        if (rc == 0)
            rc = verify_tie(j, snapshots, &at, error);
    }
    sqlite3_reset(j->read);
    if (rc == 0)
        rc = verify_epoch(j, at.index, epoch, error);
    if (rc < 0)
        return rc;
    j->head = at.index ? at : snapshots->oldest; /* no batches: all went with the only snapshot */
    if (j->head.index < snapshots->newest.index)
        return error_set(error, ERR_CORRUPT,
                         "%s ends at batch %" PRIu64 ", before its snapshot at batch %" PRIu64, j->path,
                         j->head.index, snapshots->newest.index);
    return 0;
}

static int verify_known(struct journal_db *j, struct error *error)
{
    const char *who;
    uint64_t known = journal_db_known(j, &who);

    if (j->head.index >= known || j->examining)
        return 0;
    return error_set(
        error, ERR_CORRUPT,
        "%s ends at batch %" PRIu64 ", but batch %" PRIu64
        " was acknowledged (%s says so): it is an older copy, or its -wal file is missing or damaged; "
        "put the right files back, or see 'cronsched cluster reset-journal'",
        j->path, j->head.index, known, who);
}

int journal_db_find_trim(struct journal_db *j, int64_t to, struct error *error)
{
    int64_t first = INT64_MAX;
    int rc = sqlite_get_int(j->db, "SELECT min(idx) FROM batches", &first, error);

    ASSERT_CONNECTED(j);
    j->trim_to = (uint64_t)to;
    j->trimming = rc == 0 && first <= to;
    return rc;
}

int journal_db_verify(struct journal_db *j, struct error *error)
{
    struct journal_db_snapshots snapshots = {0};
    int rc = verify_pages(j, error);

    ASSERT_CONNECTED(j);
    if (rc == 0)
        rc = verify_snapshots(j, &snapshots, error);
    if (rc == 0)
        rc = verify_chain(j, &snapshots, error);
    assert(rc < 0 || j->epoch == j->epoch_tried);
    if (rc == 0)
        rc = verify_known(j, error);
    if (rc == 0 &&
        snapshots.oldest.index < snapshots.newest.index) /* deleting goes on where a crash ended it */
        rc = journal_db_find_trim(j, (int64_t)snapshots.oldest.index, error);
    return rc;
}
