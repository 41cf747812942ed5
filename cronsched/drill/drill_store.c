/* Drills that take from ZooKeeper what the cluster has committed. Every replica has to refuse it, nobody may lead, and
 * nothing may start, until the documented verb (`cluster recover`) says how to go on. */
#include "cronsched/drill/drill.h"

#include <string.h>

#define REFUSE_MS      60000 /* for every replica to notice, once ZooKeeper serves again */
#define WATCH_SESSIONS 2     /* for so long nobody may lead */

/* ---- the faults ---- */

int drill_store_backup(struct drill *d, struct error *error)
{
    int r = drill_lab_run(&d->lab, error, "backup", NULL);
    int64_t until_ms = drill_now_ms() + DRILL_BACKUP_AGE_MS;

    d->backup_ms = drill_now_ms();
    while (r == 0 && drill_now_ms() < until_ms && !drill_interrupted)
        drill_sleep_until(until_ms);
    return r;
}

int drill_store_restore(struct drill *d, struct error *error)
{
    d->store_lost = true;
    return drill_lab_run(&d->lab, error, "restore", NULL);
}

int drill_store_empty(struct drill *d, struct error *error)
{
    d->store_lost = true;
    d->backup_ms = drill_now_ms();
    return drill_lab_run(&d->lab, error, "empty", NULL);
}

/* ---- what replicas say ---- */

/* How many replicas refuse what ZooKeeper holds, how many claim that somebody leads, and the server of one that refuses. */
static size_t count_refusing(struct drill *d, size_t *ret_led, size_t *ret_server)
{
    struct client *client = &d->session->client;
    size_t refusing = 0;

    *ret_led = 0;
    for (size_t i = 0; i < client->server_count; i++) {
        json_t *cluster = NULL;

        if (client_probe(client, i, "/v1/cluster", &cluster, NULL) < 0)
            continue;
        if (strcmp(cli_text_at(cluster, "standing"), "refusing") == 0) {
            refusing++;
            *ret_server = i;
        } else if (json_is_object(json_object_get(cluster, "leader"))) {
            ++*ret_led;
        }
        json_decref(cluster);
    }
    return refusing;
}

static int wait_refused(struct drill *d, size_t *ret_server, struct error *error)
{
    int64_t until_ms = drill_now_ms() + REFUSE_MS;
    size_t refusing, led;

    do {
        refusing = count_refusing(d, &led, ret_server);
        if (refusing == drill_lab_replicas(&d->lab))
            return 0;
        drill_sleep_until(drill_now_ms() + 10 * (int64_t)DRILL_POLL_MS);
    } while (drill_now_ms() < until_ms); /* also when interrupted: it is part of the way out */
    return error_set(error, ERR_TIMEOUT, "%zu of %zu replicas refuse what ZooKeeper holds, %d s later",
                     refusing, drill_lab_replicas(&d->lab), REFUSE_MS / 1000);
}

/* Starts while nobody may lead. What was released before the first refusal has had a session to come up. */
static int count_starts_led(struct drill *d, int64_t since_ms, int64_t until_ms, struct error *error)
{
    int r = drill_ledger_read(&d->ledger, error);

    for (size_t i = 0; r == 0 && i < d->ledger.count; i++) {
        const struct drill_line *line = &d->ledger.lines[i];

        d->verdict.led_count += !line->end && line->at_ms >= since_ms && line->at_ms < until_ms;
    }
    return r;
}

/* ---- the way out ---- */

static const char *replica_at(const struct drill *d, size_t server)
{
    return cli_text_at(json_array_get(json_object_get(d->lab.facts, "replicas"), server), "id");
}

/* Asks the replica whose state is to be had; the tree is as good as any, where there is one. */
static int recover(struct drill *d, size_t server, bool has_tree, struct error *error)
{
    const char *from = has_tree && drill_random(d, 2) == 0 ? "tree" : replica_at(d, server);

    verb_print(stderr, "cronsched cluster recover --from %s --yes\n", from);
    return drill_lab_cronsched(error, "cluster", "recover", "--from", from, "--yes", "--server",
                               d->session->client.servers[server].title, NULL);
}

static int refuse_and_recover(struct drill *d, bool has_tree, struct error *error)
{
    int64_t session_ms = d->lab.session_timeout_ms, refused_ms;
    size_t server = 0, led;
    int r;

    if (!d->store_lost)
        return 0;
    d->store_lost = false;
    r = wait_refused(d, &server, error);
    refused_ms = drill_now_ms();
    while (r == 0 && drill_now_ms() < refused_ms + WATCH_SESSIONS * session_ms && !drill_interrupted) {
        count_refusing(d, &led, &server);
        d->verdict.led_count += led;
        drill_sleep_until(drill_now_ms() + 10 * (int64_t)DRILL_POLL_MS);
    }
    if (r == 0)
        r = count_starts_led(d, refused_ms + session_ms, drill_now_ms(), error);
    return r == 0 ? recover(d, server, has_tree, error) : r;
}

int drill_store_recover(struct drill *d, struct error *error)
{
    return refuse_and_recover(d, true, error);
}

int drill_store_recover_from_replica(struct drill *d, struct error *error)
{
    return refuse_and_recover(d, false, error);
}
