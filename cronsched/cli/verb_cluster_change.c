/* cluster init, join, recover: what a person decides about a cluster. Each asks one replica, says what will happen, and
 * waits until it has.
 */
#include "cronsched/cli/cli_context.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#define WAIT_MS       30000 /* for what the replica does in ZooKeeper */
#define WAIT_EVERY_US 200000

static int64_t number_at(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

static int get_cluster(struct cli_context *s, json_t **ret)
{
    json_decref(*ret);
    *ret = NULL;
    cli_path(s, "/v1/cluster");
    return cli_get(s, ret);
}

static bool stands_as(const json_t *cluster, const char *standing)
{
    return strcmp(cli_text_at(cluster, "standing"), standing) == 0;
}

/* A replica reads ZooKeeper before it knows what it is. */
static int get_standing(struct cli_context *s, json_t **ret)
{
    int64_t until_ms = output_now_ms() + WAIT_MS;
    int code;

    while ((code = get_cluster(s, ret)) == EXIT_FINE && stands_as(*ret, "connecting") &&
           output_now_ms() < until_ms)
        usleep(WAIT_EVERY_US);
    if (code == EXIT_FINE && !json_object_get(*ret, "standing"))
        return cli_fail(ERR_UNSUPPORTED,
                        "this server keeps its journal in its own folder: it needs no cluster");
    if (code == EXIT_FINE && stands_as(*ret, "connecting"))
        return cli_fail(ERR_UNREACHABLE, "replica %s cannot reach ZooKeeper, or has not read it yet",
                        cli_text_at(*ret, "replica"));
    return code;
}

/* Until the replica is a member that has a leader: *ret shows it then. */
static int wait_member(struct cli_context *s, json_t **ret)
{
    int64_t until_ms = output_now_ms() + WAIT_MS;
    int code;

    while ((code = get_cluster(s, ret)) == EXIT_FINE) {
        if (stands_as(*ret, "member") && json_is_object(json_object_get(*ret, "leader")))
            return EXIT_FINE;
        if (output_now_ms() >= until_ms)
            return cli_fail(ERR_TIMEOUT, "it was asked for, but replica %s is %s: %s",
                            cli_text_at(*ret, "replica"), cli_text_at(*ret, "standing"),
                            cli_text_at(*ret, "refusing"));
        usleep(WAIT_EVERY_US);
    }
    return code;
}

static int post(struct cli_context *s, const char *act, json_t *body)
{
    int code;

    cli_path(s, "/v1/cluster/%s", act);
    code = cli_send(s, "POST", body, CLIENT_ONCE, NULL);
    json_decref(body);
    return code;
}

static void show_result(struct cli_context *s, const json_t *cluster, const char *what)
{
    if (s->out.format != OUTPUT_TABLE)
        output_value(&s->out, cluster);
    else
        printf("%s cluster %s; %s leads it\n", what, cli_text_at(cluster, "uuid"),
               cli_text_at(json_object_get(cluster, "leader"), "id"));
}

/* Asks for it and waits until the replica is a member. */
static int change(struct cli_context *s, json_t **cluster, const char *act, json_t *body, const char *done)
{
    int code = post(s, act, body);

    code = code != EXIT_FINE ? code : wait_member(s, cluster);
    if (code == EXIT_FINE)
        show_result(s, *cluster, done);
    return code;
}

/* ---- init ---- */

static const struct verb_option init_options[] = {
    {"id", 0, "UUID", "id of the new cluster (default the replica's cluster_id, or a new one)"},
    {"dry-run", 'n', NULL, "only say what would happen"},
    {0}};

static int may_init(const json_t *cluster)
{
    if (stands_as(cluster, "unfounded"))
        return EXIT_FINE;
    if (stands_as(cluster, "refusing") || stands_as(cluster, "stopped"))
        return cli_fail(ERR_CONFLICT, "replica %s: %s", cli_text_at(cluster, "replica"),
                        cli_text_at(cluster, "refusing"));
    return cli_fail(ERR_CONFLICT, "ZooKeeper holds cluster %s already%s", cli_text_at(cluster, "uuid"),
                    stands_as(cluster, "joining") ? ": 'cronsched cluster join' lets this replica join it"
                                                  : ", and this replica is a member of it");
}

static int run_init(const struct verb_call *call)
{
    const char *id = verb_option(call, "id");
    struct cli_context s;
    json_t *cluster = NULL;
    int code = cli_open(&s, call);

    code = code != EXIT_FINE ? code : get_standing(&s, &cluster);
    code = code != EXIT_FINE ? code : may_init(cluster);
    if (code == EXIT_FINE && verb_flag(call, "dry-run")) {
        printf("replica %s would make a new cluster named %s in ZooKeeper, without jobs\n",
               cli_text_at(cluster, "replica"), cli_text_at(cluster, "cluster"));
    } else if (code == EXIT_FINE) {
        code = change(&s, &cluster, "init", id ? json_pack("{s:s}", "cluster", id) : json_object(), "made");
    }
    json_decref(cluster);
    return cli_close(&s, code);
}

const struct verb verb_cluster_init = {
    .name = "cluster init",
    .help = "make a new cluster in an empty ZooKeeper",
    .text = "For the first replica of a new cluster, once: the others join it with 'cronsched cluster join', "
            "or by "
            "themselves when their cluster_id names it. Refused when ZooKeeper holds the cluster already, or "
            "when a "
            "replica that is there knows of one: then its data was lost, see 'cronsched cluster recover'. "
            "'serve --init' does the same for scripts.",
    .group = VERB_GROUP_SERVER,
    .shared = VERB_SERVER | VERB_OUTPUT,
    .options = init_options,
    .run = run_init,
};

/* ---- join ---- */

static const struct verb_option join_options[] = {
    {"yes", 'y', NULL, "join it; without this it only shows it"}, {0}};

static void show_join(const struct output *out, const json_t *cluster)
{
    static const struct output_column columns[] = {
        {"REPLICA", "id", OUTPUT_TEXT},       {"ROLE", "role", OUTPUT_STATE},
        {"URL", "url", OUTPUT_TEXT},          {"VERSION", "version", OUTPUT_TEXT},
        {"APPLIED", "applied", OUTPUT_RIGHT}, {"JOBS", "jobs", OUTPUT_RIGHT},
    };
    const json_t *leader = json_object_get(cluster, "leader");

    if (out->format != OUTPUT_TABLE) {
        output_value(out, cluster);
        return;
    }
    fprintf(out->to, "replica %s would join cluster %s (%s)\n", cli_text_at(cluster, "replica"),
            cli_text_at(cluster, "uuid"), cli_text_at(cluster, "cluster"));
    if (json_is_object(leader))
        fprintf(out->to, "its leader is %s at %s; ", cli_text_at(leader, "id"), cli_text_at(leader, "url"));
    else
        fprintf(out->to, "nobody leads it; ");
    fprintf(out->to, "its journal ends at batch %" PRId64 "\n\n", number_at(cluster, "index"));
    output_rows(out, json_object_get(cluster, "replicas"), columns, sizeof(columns) / sizeof(columns[0]),
                "No replicas.");
    fprintf(out->to,
            "\nNothing was changed. With --yes it joins: it takes over that cluster's jobs and may lead.\n");
}

static int run_join(const struct verb_call *call)
{
    struct cli_context s;
    json_t *cluster = NULL;
    int code = cli_open(&s, call);

    code = code != EXIT_FINE ? code : get_standing(&s, &cluster);
    if (code == EXIT_FINE && !stands_as(cluster, "joining"))
        code = cli_fail(
            ERR_CONFLICT, "replica %s does not wait to join a cluster: %s", cli_text_at(cluster, "replica"),
            stands_as(cluster, "member") ? "it is a member of one" : cli_text_at(cluster, "refusing"));
    if (code == EXIT_FINE && !verb_flag(call, "yes")) {
        show_join(&s.out, cluster);
    } else if (code == EXIT_FINE) {
        code = change(&s, &cluster, "join", json_pack("{s:s}", "cluster", cli_text_at(cluster, "uuid")),
                      "joined");
    }
    json_decref(cluster);
    return cli_close(&s, code);
}

const struct verb verb_cluster_join = {
    .name = "cluster join",
    .help = "let a new replica join the cluster that ZooKeeper holds",
    .text =
        "Asks the new replica, so --server names that one. Shows the cluster, its leader and members first. "
        "A replica whose cluster_id names the cluster joins without being asked.",
    .group = VERB_GROUP_SERVER,
    .shared = VERB_SERVER | VERB_OUTPUT,
    .options = join_options,
    .run = run_join,
};

/* ---- recover ---- */

static const struct verb_option recover_options[] = {
    {"from", 0, "SOURCE", "go on from what ZooKeeper holds (tree), or from what that replica has in memory"},
    {"yes", 'y', NULL, "do it; without this it only says what would happen"},
    {0}};

static const json_t *find_row(const json_t *cluster, const char *id)
{
    const json_t *row;
    size_t i;

    json_array_foreach(json_object_get(cluster, "replicas"), i, row)
    {
        if (strcmp(cli_text_at(row, "id"), id) == 0)
            return row;
    }
    return NULL;
}

static int64_t mark_of(const json_t *row)
{
    return number_at(json_object_get(row, "mark"), "index");
}

static int64_t highest_mark(const json_t *cluster)
{
    int64_t most = number_at(cluster, "index");
    const json_t *row;
    size_t i;

    json_array_foreach(json_object_get(cluster, "replicas"), i, row)
    {
        if (mark_of(row) > most)
            most = mark_of(row);
    }
    json_array_foreach(json_object_get(cluster, "absent"), i, row)
    {
        if (mark_of(row) > most)
            most = mark_of(row);
    }
    return most;
}

static void explain_from(FILE *to, const json_t *cluster, const char *from)
{
    const json_t *row = find_row(cluster, from);
    int64_t held = row ? number_at(row, "applied") : number_at(cluster, "index"),
            most = highest_mark(cluster);

    if (row)
        verb_print(to, "--from %s: %s writes its state back, of batch %" PRId64, from, from, held);
    else
        fprintf(to, "--from tree: the journal in ZooKeeper goes on from its batch %" PRId64, held);
    if (held < most)
        fprintf(to, "; what batches %" PRId64 " to %" PRId64 " said is given up", held + 1, most);
    fprintf(to,
            "\n    What became due between that state and now is skipped (journal-lost), and what ran then "
            "without a proof of its end ends as lost.\n");
}

static void show_recovery(const struct output *out, const json_t *cluster)
{
    static const struct output_column columns[] = {
        {"REPLICA", "id", OUTPUT_TEXT},        {"ROLE", "role", OUTPUT_STATE},
        {"KNOWS", "mark.index", OUTPUT_RIGHT}, {"HOLDS", "applied", OUTPUT_RIGHT},
        {"JOBS", "jobs", OUTPUT_RIGHT},        {"REFUSES", "refuses", OUTPUT_TEXT},
    };
    const json_t *row;
    size_t i;

    if (out->format != OUTPUT_TABLE) {
        output_value(out, cluster);
        return;
    }
    if (stands_as(cluster, "refusing"))
        fprintf(out->to, "%s refuses: %s\n", cli_text_at(cluster, "replica"),
                cli_text_at(cluster, "refusing"));
    fprintf(out->to,
            "The journal in ZooKeeper ends at batch %" PRId64
            ". KNOWS is the highest batch that a replica has "
            "seen committed, HOLDS that of the state in its memory.\n\n",
            number_at(cluster, "index"));
    output_rows(out, json_object_get(cluster, "replicas"), columns, sizeof(columns) / sizeof(columns[0]),
                "No replicas.");
    fputc('\n', out->to);
    explain_from(out->to, cluster, "tree");
    json_array_foreach(json_object_get(cluster, "replicas"), i, row)
    {
        if (number_at(row, "applied") > 0 && !json_is_true(json_object_get(row, "joining")))
            explain_from(out->to, cluster, cli_text_at(row, "id"));
    }
}

/* The replica that is to do it: the one whose state it is; for what the tree holds, one that refuses the tree. */
static const json_t *doer(const json_t *cluster, const char *from)
{
    const json_t *row;
    size_t i;

    if (strcmp(from, "tree") != 0)
        return find_row(cluster, from);
    json_array_foreach(json_object_get(cluster, "replicas"), i, row)
    {
        if (json_is_string(json_object_get(row, "refuses")))
            return row;
    }
    return NULL;
}

/* Goes there. */
static int turn_to(struct cli_context *s, const json_t *cluster, const char *from)
{
    const json_t *row = doer(cluster, from);
    struct error error = {0};

    if (strcmp(from, cli_text_at(cluster, "replica")) == 0 ||
        (strcmp(from, "tree") == 0 && stands_as(cluster, "refusing")))
        return EXIT_FINE;
    if (!row)
        return cli_fail(ERR_CONFLICT, "no replica that is there refuses the journal in ZooKeeper");
    if (client_ask_replica(&s->client, cli_text_at(row, "id"), cli_text_at(row, "url"), &error) < 0)
        return verb_fail(&error);
    return EXIT_FINE;
}

static int wait_recovered(struct cli_context *s, json_t **ret)
{
    int64_t until_ms = output_now_ms() + WAIT_MS;
    int code;

    while ((code = get_cluster(s, ret)) == EXIT_FINE && json_is_true(json_object_get(*ret, "recovering"))) {
        if (output_now_ms() >= until_ms)
            return cli_fail(ERR_TIMEOUT,
                            "it is still under way; 'cronsched cluster -o json' shows how it ends");
        usleep(WAIT_EVERY_US);
    }
    if (code == EXIT_FINE && strcmp(cli_text_at(*ret, "recovery"), "done") != 0)
        return cli_fail(ERR_CONFLICT, "%s", cli_text_at(*ret, "recovery"));
    return code != EXIT_FINE ? code : wait_member(s, ret);
}

static int recover_from(struct cli_context *s, json_t **cluster, const char *from)
{
    int code = turn_to(s, *cluster, from);

    code = code != EXIT_FINE ? code : post(s, "recover", json_pack("{s:s}", "from", from));
    code = code != EXIT_FINE ? code : wait_recovered(s, cluster);
    if (code == EXIT_FINE)
        show_result(s, *cluster, "recovered");
    return code;
}

static int run_recover(const struct verb_call *call)
{
    const char *from = verb_option(call, "from");
    struct cli_context s;
    json_t *cluster = NULL;
    int code = cli_open(&s, call);

    code = code != EXIT_FINE ? code : get_standing(&s, &cluster);
    if (code == EXIT_FINE && from && strcmp(from, "tree") != 0 && !find_row(cluster, from))
        code = cli_fail(ERR_NOT_FOUND, "no replica %s is there", from);
    if (code == EXIT_FINE && from && verb_flag(call, "yes")) {
        code = recover_from(&s, &cluster, from);
    } else if (code == EXIT_FINE && from) {
        explain_from(stdout, cluster, from);
        puts("Nothing was changed; with --yes it is done.");
    } else if (code == EXIT_FINE) {
        show_recovery(&s.out, cluster);
    }
    json_decref(cluster);
    return cli_close(&s, code);
}

const struct verb verb_cluster_recover = {
    .name = "cluster recover",
    .help = "go on after ZooKeeper lost what the cluster had committed",
    .text = "Without --from it shows what ZooKeeper and each replica hold, and what each choice means. The "
            "journal goes "
            "on from a snapshot above everything that is known, so that no batch and no epoch is used twice "
            "and nothing "
            "starts twice; what was lost is journaled as lost. Bring all replicas up first that are to be "
            "had: what is "
            "not there cannot speak.",
    .group = VERB_GROUP_SERVER,
    .shared = VERB_SERVER | VERB_OUTPUT,
    .options = recover_options,
    .run = run_recover,
};
