/* cluster forget: a replica was removed for good. Each of the others remembers it by itself, so each is told. */
#include "cronsched/cli/cli_context.h"

#include <string.h>

static const struct verb_option forget_options[] = {
    {"yes", 'y', NULL, "do it; without this it only says what would happen"}, {0}};

static const json_t *find_row(const json_t *rows, const char *id)
{
    const json_t *row;
    size_t i;

    json_array_foreach(rows, i, row)
    {
        if (strcmp(cli_text_at(row, "id"), id) == 0)
            return row;
    }
    return NULL;
}

/* The one that was asked first, and every other where it is. One that does not know it is fine. */
static int tell_one(struct cli_context *s, const json_t *member, const char *id, bool first)
{
    struct error error = {0};
    json_t *body = json_pack("{s:s}", "replica", id);
    int rc =
        first ? 0
              : client_ask_replica(&s->client, cli_text_at(member, "id"), cli_text_at(member, "url"), &error);

    if (rc == 0)
        rc = client_call(&s->client, "POST", "/v1/cluster/forget", body, CLIENT_REPEATABLE, NULL, &error);
    json_decref(body);
    if (rc == 0 || rc == ERR_NOT_FOUND)
        return EXIT_FINE;
    return cli_fail(rc, "replica %s still knows %s: %s", cli_text_at(member, "id"), id, error.text);
}

static int tell_all(struct cli_context *s, const json_t *cluster, const char *id)
{
    const json_t *rows = json_object_get(cluster, "replicas"), *row;
    const char *asked = cli_text_at(cluster, "replica");
    json_t *self = json_pack("{s:s}", "id", asked);
    size_t i;
    int code = tell_one(s, self, id, true), one;

    json_decref(self);
    json_array_foreach(rows, i, row)
    {
        if (strcmp(cli_text_at(row, "id"), asked) == 0)
            continue;
        one = tell_one(s, row, id, false);
        code = code == EXIT_FINE ? one : code;
    }
    if (code == EXIT_FINE)
        verb_print(stdout, "replica %s is no part of the cluster any more\n", id);
    return code;
}

static int run_forget(const struct verb_call *call)
{
    const char *id = call->args[0];
    struct cli_context s;
    json_t *cluster = NULL;
    const json_t *row;
    int code = cli_open(&s, call);

    cli_path(&s, "/v1/cluster");
    code = code != EXIT_FINE ? code : cli_get(&s, &cluster);
    row = find_row(json_object_get(cluster, "absent"), id);
    if (code == EXIT_FINE && find_row(json_object_get(cluster, "replicas"), id))
        code = cli_fail(ERR_CONFLICT, "replica %s is there: stop it first", id);
    if (code == EXIT_FINE && row && !verb_flag(call, "yes"))
        verb_print(
            stdout,
            "replica %s at %s, last seen at %s: %s\nIt would not be asked and not be missed any more, and "
            "what "
            "it alone holds would not count.\nNothing was changed; with --yes it is done.\n",
            id, cli_text_at(row, "url"), cli_text_at(row, "seen"), cli_text_at(row, "why"));
    else if (code == EXIT_FINE && !row && !verb_flag(call, "yes"))
        code = cli_fail(ERR_NOT_FOUND, "replica %s is not known here", id);
    else if (code == EXIT_FINE)
        code = tell_all(&s, cluster, id);
    json_decref(cluster);
    return cli_close(&s, code);
}

const struct verb verb_cluster_forget = {
    .name = "cluster forget",
    .args = "REPLICA",
    .help = "forget a replica that was removed for good",
    .text =
        "Replicas remember one another, so that one that is away, or that uses another ZooKeeper ensemble, "
        "is "
        "reported by 'cronsched doctor' and 'cronsched audit --all-replicas'. This ends it, on all replicas "
        "that are there. If the removed one held batches that ZooKeeper lacks, they do not count any more: "
        "then look at 'cronsched cluster recover' first.",
    .group = VERB_GROUP_SERVER,
    .shared = VERB_SERVER,
    .options = forget_options,
    .run = run_forget,
};
