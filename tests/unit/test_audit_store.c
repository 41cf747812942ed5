/* The audit over the real store, with rows that were pruned. */
#include "jobs/audit/audit.h"

#include "jobs/base/alloc.h"
#include "jobs/base/text.h"
#include "jobs/definition/job.h"
#include "jobs/history/store_db.h"
#include "jobs/state/record.h"
#include "jobs/state/run_id.h"
#include "tests/support/audit_fixture.h"

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char dir[64];

static int remove_one(const char *name, const struct stat *st, int type, struct FTW *ftw)
{
    return remove(name);
}

static void write_minutely(struct store_db *db, int64_t start_ms, int minutes, int forget)
{
    for (int i = 0; i <= minutes; i++) {
        struct history_write *w = alloc_zero(sizeof(*w));
        struct error error = {0};
        char text[512], id[RUN_ID_MAX];

        w->index = (uint64_t)i + 1;
        w->epoch = 1;
        w->time_ms = start_ms + i * 60000;
        if (i == 0) {
            w->records = alloc_zero(sizeof(*w->records));
            w->record_count = 1;
            snprintf(text, sizeof(text),
                     "{\"k\":\"job\",\"job\":\"a\",\"version\":1,\"def\":{\"schedule\":[\"* * * * "
                     "*\"]},\"seed\":1,"
                     "\"anchor\":%lld,\"cursor\":%lld}",
                     (long long)start_ms, (long long)start_ms);
            w->records[0] =
                (struct history_record){alloc_text("job"), alloc_text("a"), NULL, alloc_text(text)};
        } else if (i % 100 == 50) {
            w->skips = alloc_zero(sizeof(*w->skips));
            w->skip_count = 1;
            w->skips[0] = (struct history_skip){alloc_text("a"),       w->time_ms,     w->time_ms, 1,
                                                alloc_text("overlap"), alloc_text(""), w->time_ms};
        } else if (i != forget) {
            w->runs = alloc_zero(sizeof(*w->runs));
            w->run_count = 1;
            w->runs[0] = (struct history_run){
                .run = alloc_text(run_id_format("a", w->time_ms, false, id)),
                .job = alloc_text("a"),
                .at_ms = w->time_ms,
                .fire_ms = w->time_ms,
                .state = alloc_text("ended"),
                .verdict = alloc_text("succeeded"),
                .over = true,
                .ended_ms = w->time_ms + 5000,
                .json = alloc_text("{\"cause\":\"schedule\"}"),
            };
        }
        if (store_db_write(db, w, 1, false, &error) < 0)
            fail_msg("%s", error.text);
        history_write_free(w);
    }
}

static json_t *audit_store(const char *path, int64_t since_ms, int64_t until_ms, int64_t now_ms)
{
    struct history_query q = {.kind = HISTORY_AUDIT, .since_ms = since_ms, .until_ms = until_ms};
    struct audit_options o = {since_ms, until_ms, now_ms, 60000, NULL};
    sqlite3 *reader;
    json_t *history = NULL, *result = NULL;

    assert_int_equal(store_reader_open(&reader, path, NULL), 0);
    assert_int_equal(store_query(reader, &q, &history, NULL), 0);
    assert_int_equal(audit_check(history, &o, NULL, &result, NULL), 0);
    json_decref(history);
    sqlite3_close(reader);
    return result;
}

static void prune_all(struct store_db *db, int keep, int64_t older_than_ms)
{
    struct store_removed removed;
    bool more = true;

    while (more) {
        assert_int_equal(store_db_prune(db, "a", keep, older_than_ms, &removed, &more, NULL), 0);
        store_removed_release(&removed);
    }
}

/* Three days of minutes, of which some hundred runs are kept: the audit of any part of it still adds up. */
static void test_pruned_store(void **state)
{
    const int minutes = 3000;
    int64_t start_ms = day_ms("00:00"), now_ms = start_ms + minutes * 60000 + 30000;
    char path[96];

    for (int forget = 0; forget <= 1; forget++) {
        struct store_db *db;

        snprintf(dir, sizeof(dir), "/tmp/cronsched-audit-XXXXXX");
        assert_non_null(mkdtemp(dir));
        snprintf(path, sizeof(path), "%s/history.db", dir);
        assert_int_equal(store_db_open(&db, path, NULL), 0);
        write_minutely(db, start_ms, minutes, forget ? 1234 : -1);
        assert_numbers(audit_store(path, start_ms, now_ms, now_ms),
                       forget ? "3000 2969 30 0 0 | 1 0 0" : "3000 2970 30 0 0 | 0 0 0");
        prune_all(db, 100, start_ms + 500 * 60000);
        assert_numbers(audit_store(path, start_ms, now_ms, now_ms),
                       forget ? "3000 100 25 2874 0 | 1 0 0" : "3000 100 25 2875 0 | 0 0 0");
        /* parts: within one pruned day, across two, beside them */
        assert_numbers(audit_store(path, start_ms + 2 * HOUR, start_ms + 3 * HOUR, now_ms),
                       forget ? "60 0 0 59 0 | 1 0 0"
                              : "60 0 0 60 0 | 0 0 0"); /* a pruned day is judged as a whole */
        assert_numbers(audit_store(path, start_ms + 23 * HOUR, start_ms + 25 * HOUR, now_ms),
                       forget ? "120 0 1 118 0 | 1 0 0" : "120 0 1 119 0 | 0 0 0");
        assert_numbers(audit_store(path, now_ms - HOUR, now_ms, now_ms), "60 59 1 0 0 | 0 0 0");
        store_db_close(db);
        nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    }
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_pruned_store),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
