/* A ZooKeeper server of 64 MB of memory takes more than that: what the journal leaves in it stays small all the time. With
 * batches and snapshots as the scheduler makes them of many firings. */
#include "tests/support/journal_node.h"

#include <zookeeper/zookeeper.h>

#define TOTAL_BYTES    (70 * 1024 * 1024)
#define SNAPSHOT_BYTES (8 * 1024 * 1024)
#define IN_FLIGHT      64

static uint64_t log_bytes(const struct owner *o)
{
    struct journal_status status;

    o->journal->ops->status(o->journal, &status);
    return status.log_bytes;
}

static void what_is_appended_is_more_than_the_server_has(void **state)
{
    struct journal_node n;
    uint64_t most = 0;
    size_t behind = 0;

    (void)state;
    journal_node_open(&n, getenv("ZOOKEEPER_SERVERS"), "size");
    for (size_t bytes = 0; bytes < TOTAL_BYTES; bytes += REPLICATED_BATCH_BYTES) {
        assert_int_equal(owner_append(&n.owner, REPLICATED_BATCH_BYTES), 0);
        behind += REPLICATED_BATCH_BYTES;
        if (behind >= SNAPSHOT_BYTES) {
            owner_snapshot(&n.owner);
            behind = 0;
        }
        OWNER_UNTIL(&n.owner, n.owner.index - n.owner.acked < IN_FLIGHT);
        most = log_bytes(&n.owner) > most ? log_bytes(&n.owner) : most;
    }
    OWNER_UNTIL(&n.owner, n.owner.acked == n.owner.index);
    print_message("# the log had up to %.1f MB\n", (double)most / (1024 * 1024));
    assert_true(most < REPLICATED_LOG_BOUND_BYTES);
    assert_true(most > REPLICATED_LOG_KEEP_BYTES);
    assert_int_equal(n.owner.leads, 1);
    assert_int_equal(n.owner.deposals, 0);
    journal_node_close(&n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_is_appended_is_more_than_the_server_has)};

    zoo_set_debug_level(ZOO_LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
