/* cluster: the replicas; takeovers: the reports of changes of leader. */
#include "cronsched/session.h"
#include "cronsched/when.h"

#include <string.h>

static const struct verb_option no_options[] = {{0}};

static void show_cluster(const struct output *out, const json_t *cluster)
{
    static const struct output_column fields[] = {
        {"Cluster", "cluster", OUTPUT_TEXT},
        {"Epoch", "epoch", OUTPUT_TEXT},
        {"Leader", "leader.id", OUTPUT_TEXT},
    };
    static const struct output_column columns[] = {
        {"REPLICA", "id", OUTPUT_TEXT},      {"ROLE", "role", OUTPUT_STATE},
        {"URL", "url", OUTPUT_TEXT},         {"APPLIED", "applied", OUTPUT_RIGHT},
        {"VERSION", "version", OUTPUT_TEXT}, {"TZDATA", "tzdata", OUTPUT_TEXT},
        {"CLOCK", "clock", OUTPUT_RIGHT},
    };
    json_t *rows, *row;
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

        if (!json_is_number(offset))
            continue;
        snprintf(text, sizeof(text), "%+.0f ms", json_number_value(offset));
        json_object_set_new(row, "clock", json_string(text));
    }
    output_rows(out, rows, columns, sizeof(columns) / sizeof(columns[0]), "No replicas.");
    json_decref(rows);
}

static int run_cluster(const struct verb_call *call)
{
    struct session s;
    int code = session_open(&s, call);

    if (code != EXIT_FINE)
        return session_close(&s, code);
    session_path(&s, "/v1/cluster");
    return session_show(&s, show_cluster);
}

const struct verb verb_cluster = {
    .name = "cluster",
    .help = "show the replicas and who leads",
    .group = VERB_GROUP_SERVER,
    .shared = VERB_SERVER | VERB_OUTPUT,
    .options = no_options,
    .run = run_cluster,
};
