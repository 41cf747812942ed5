/* cluster: the replicas; takeovers: the reports of changes of leader. */
#include "cronsched/cli/human_time.h"
#include "cronsched/cli/records.h"

#include <string.h>

static const struct verb_option no_options[] = {{0}};

/* "3fa2c19b at 766", of an object with hash and index. */
static void add_hash(json_t *row, const char *from, const char *to)
{
    const json_t *object = json_object_get(row, from);
    const char *hash = json_string_value(json_object_get(object, "hash"));

    if (hash)
        json_object_set_new(row, to,
                            json_sprintf("%.8s at %lld", hash[0] ? hash : "?",
                                         (long long)json_integer_value(json_object_get(object, "index"))));
}

static void show_refusals(const struct output *out, const json_t *rows)
{
    const json_t *row;
    size_t i;

    json_array_foreach(rows, i, row)
    {
        const char *why = json_string_value(json_object_get(row, "refuses"));

        if (why)
            fprintf(out->to, "\n%s refuses: %s\n", output_text(json_object_get(row, "id")), why);
    }
}

static void show_cluster(const struct output *out, const json_t *cluster)
{
    static const struct output_column fields[] = {
        {"Cluster", "cluster", OUTPUT_TEXT},   {"Epoch", "epoch", OUTPUT_TEXT},
        {"Id", "uuid", OUTPUT_TEXT},           {"Leader", "leader.id", OUTPUT_TEXT},
        {"Refusing", "refusing", OUTPUT_TEXT},
    };
    static const struct output_column columns[] = {
        {"REPLICA", "id", OUTPUT_TEXT},      {"ROLE", "role", OUTPUT_STATE},
        {"URL", "url", OUTPUT_TEXT},         {"APPLIED", "applied", OUTPUT_RIGHT},
        {"VERSION", "version", OUTPUT_TEXT}, {"TZDATA", "tzdata", OUTPUT_TEXT},
        {"CLOCK", "clock", OUTPUT_RIGHT},    {"ENGINES", "engines", OUTPUT_RIGHT},
        {"MARK", "known", OUTPUT_TEXT},      {"STATE", "hash", OUTPUT_TEXT},
    };
    json_t *rows, *row, *difference;
    size_t i;

    if (out->format != OUTPUT_TABLE) {
        output_value(out, cluster);
        return;
    }
    output_fields(out, cluster, fields, sizeof(fields) / sizeof(fields[0]));
    fputc('\n', out->to);
    rows = json_deep_copy(json_object_get(cluster, "replicas"));
    json_array_foreach(rows, i, row)
    {
        const json_t *offset = json_object_get(row, "clock_offset_ms");
        char text[TEXT_NUMBER_BUFFER];

        if (json_is_number(offset)) {
            snprintf(text, sizeof(text), "%+.0f ms", json_number_value(offset));
            json_object_set_new(row, "clock", json_string(text));
        }
        add_hash(row, "mark", "known");
        add_hash(row, "state", "hash");
    }
    output_rows(out, rows, columns, sizeof(columns) / sizeof(columns[0]), "No replicas.");
    show_refusals(out, rows);
    json_decref(rows);
    json_array_foreach(json_object_get(cluster, "differences"), i, difference)
    {
        fprintf(out->to, "%sdifferent %s: %s\n", i == 0 ? "\n" : "",
                output_text(json_object_get(difference, "what")),
                output_text(json_object_get(difference, "text")));
    }
}

/* It takes part in nothing: what else it says is not of much use. */
static int refuses(const json_t *cluster)
{
    const char *why = json_string_value(json_object_get(cluster, "refusing"));

    if (!why)
        return EXIT_FINE;
    verb_print(stderr, "cronsched cluster: this replica neither leads nor follows: %s\n", why);
    return EXIT_NO_LEADER;
}

static int run_cluster(const struct verb_call *call)
{
    struct cli_context s;
    json_t *cluster = NULL;
    int code = cli_open(&s, call);

    if (code == EXIT_FINE) {
        cli_path(&s, "/v1/cluster");
        code = cli_get(&s, &cluster);
    }
    if (code == EXIT_FINE) {
        show_cluster(&s.out, cluster);
        code = refuses(cluster);
    }
    json_decref(cluster);
    return cli_close(&s, code);
}

const struct verb verb_cluster = {
    .name = "cluster",
    .help = "show the replicas and who leads",
    .text = "MARK is the highest batch that a replica knows to be committed, with its hash; STATE is the "
            "hash of a "
            "replica's state at a batch: at the same batch all must have the same. ENGINES: how many of its "
            "engines a replica reaches. A replica that refuses "
            "says why. "
            "The exit code is 5 when the replica that is asked neither leads nor follows. "
            "Differences (version, tzdata, configuration, clocks, state, mark) are listed below the table.",
    .group = VERB_GROUP_SERVER,
    .shared = VERB_SERVER | VERB_OUTPUT,
    .options = no_options,
    .run = run_cluster,
};

/* ---- step-down ---- */

static void tell_step_down(const json_t *reply)
{
    puts("the leader hands over");
}

static int run_step_down(const struct verb_call *call)
{
    struct cli_context s;
    json_t *reply = NULL;
    int code = cli_open(&s, call);

    if (code == EXIT_FINE) {
        cli_path(&s, "/v1/cluster/step-down");
        code = cli_send(&s, "POST", NULL, CLIENT_ONCE, &reply); /* twice would depose the successor */
    }
    return cli_end(&s, code, reply, tell_step_down);
}

const struct verb verb_cluster_step_down = {
    .name = "cluster step-down",
    .help = "make the leader hand over to a standby",
    .text = "Prepared attempts are handed over too; 'cronsched cluster' shows the new leader.",
    .group = VERB_GROUP_SERVER,
    .shared = VERB_SERVER | VERB_OUTPUT,
    .options = no_options,
    .run = run_step_down,
};

/* ---- accept-clock ---- */

static void tell_clock(const json_t *reply)
{
    if (json_is_true(json_object_get(reply, "held")))
        printf("%s follows its wall clock, which is %+" JSON_INTEGER_FORMAT
               " s off the time that it went by\n",
               cli_text_at(reply, "replica"), json_integer_value(json_object_get(reply, "jump_ms")) / 1000);
    else
        printf("%s follows its wall clock already\n", cli_text_at(reply, "replica"));
}

static int run_accept_clock(const struct verb_call *call)
{
    struct cli_context s;
    json_t *reply = NULL;
    int code = cli_open(&s, call);

    if (code == EXIT_FINE) {
        cli_path(&s, "/v1/cluster/accept-clock");
        code = cli_send(&s, "POST", NULL, CLIENT_REPEATABLE, &reply);
    }
    return cli_end(&s, code, reply, tell_clock);
}

const struct verb verb_cluster_accept_clock = {
    .name = "cluster accept-clock",
    .help = "say that a wall clock that jumped is right",
    .text = "A server does not follow its wall clock when it jumps by more than a minute and nothing "
            "confirms that: "
            "other machines' clocks, or the kernel's time service ('cronsched doctor' says so). This says "
            "that the clock "
            "of the server that answers is right. After a step forward catch_up decides about the fire times "
            "between; "
            "after a step back those run again when they come that were only passed over.",
    .group = VERB_GROUP_SERVER,
    .shared = VERB_SERVER | VERB_OUTPUT,
    .options = no_options,
    .run = run_accept_clock,
};

/* ---- takeovers ---- */

static const struct verb_option takeovers_options[] = {
    {"since", 0, "TIME", "from this time on: 2h, yesterday, 2026-11-22, RFC 3339 (default all)"}, {0}};

/* The changes of leader, from the journal's records: an epoch each, with the report that its leader wrote. */
static json_t *takeovers_of(const json_t *records)
{
    static const char *const keys[] = {"epoch", "replica", "cause", "tzdata", "level"};
    json_t *takeovers = json_array(), *takeover = NULL;
    const json_t *entry;
    size_t i;

    json_array_foreach(records, i, entry)
    {
        const json_t *record = json_object_get(entry, "record");
        json_t *report = json_object_get(record, "report");

        if (json_is_true(json_object_get(report, "handing_over")))
            continue; /* it was its leader's last */
        if (report) {
            json_object_set(takeover, "report", report);
            continue;
        }
        takeover = json_object();
        json_object_set(takeover, "time", json_object_get(entry, "time"));
        json_object_set(takeover, "index", json_object_get(entry, "index"));
        for (size_t k = 0; k < sizeof(keys) / sizeof(keys[0]); k++)
            if (json_object_get(record, keys[k]))
                json_object_set(takeover, keys[k], json_object_get(record, keys[k]));
        json_array_append_new(takeovers, takeover);
    }
    return takeovers;
}

static void show_takeovers(const struct output *out, const json_t *records)
{
    static const struct output_column columns[] = {
        {"TIME", "time", OUTPUT_TIME},      {"EPOCH", "epoch", OUTPUT_RIGHT},
        {"LEADER", "replica", OUTPUT_TEXT}, {"CAUSE", "cause", OUTPUT_TEXT},
        {"TZDATA", "tzdata", OUTPUT_TEXT},  {"REPORT", "report.text", OUTPUT_CUT},
    };
    json_t *takeovers = takeovers_of(records);

    output_rows(out, takeovers, columns, sizeof(columns) / sizeof(columns[0]), "No take-over is recorded.");
    json_decref(takeovers);
}

static int run_takeovers(const struct verb_call *call)
{
    struct cli_context s;
    json_t *records = NULL;
    int code = cli_open(&s, call);

    cli_path(&s, "/v1/records");
    cli_query(&s, "kinds", "epoch,takeover");
    if (code == EXIT_FINE)
        code = cli_query_time(&s, "since", "since", HUMAN_TIME_PAST);
    if (code == EXIT_FINE)
        code = records_get(&s, &records);
    if (code == EXIT_FINE)
        show_takeovers(&s.out, records);
    json_decref(records);
    return cli_close(&s, code);
}

const struct verb verb_cluster_takeovers = {
    .name = "cluster takeovers",
    .help = "list changes of leader and their effect on runs",
    .text = "-o json prints the full reports.",
    .group = VERB_GROUP_SERVER,
    .shared = VERB_SERVER | VERB_OUTPUT,
    .options = takeovers_options,
    .run = run_takeovers,
};
