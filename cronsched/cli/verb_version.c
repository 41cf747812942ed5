/* version: of this program, and of the server that answers. */
#include "cronsched/cli/cli_context.h"

#define ANSWER_MS 2000

static const struct verb_option no_options[] = {{0}};

static void show(const struct output *out, const json_t *server)
{
    json_t *all;

    if (out->format != OUTPUT_TABLE) {
        all = json_pack("{s:s,s:O?}", "version", CRONSCHED_VERSION, "server", server);
        output_value(out, all);
        json_decref(all);
        return;
    }
    fprintf(out->to, "cronsched %s\n", CRONSCHED_VERSION);
    if (server)
        verb_print(
            out->to, "server %s, replica %s of cluster %s\n", output_text(json_object_get(server, "version")),
            output_text(json_object_get(server, "replica")), output_text(json_object_get(server, "cluster")));
}

static int run_version(const struct verb_call *call)
{
    struct cli_context s;
    struct error error = {0};
    json_t *server = NULL;
    int code = cli_open(&s, call), r;

    if (code != EXIT_FINE)
        return cli_close(&s, code);
    s.client.timeout_ms = ANSWER_MS;
    r = client_get(&s.client, &server, &error, "/v1/version");
    show(&s.out, server);
    if (r < 0 && s.client.named)
        code = verb_fail(&error);
    json_decref(server);
    return cli_close(&s, code);
}

const struct verb verb_version = {
    .name = "version",
    .help = "print the version of this program, and of the server",
    .text = "'cronsched --version' asks no server.",
    .group = VERB_GROUP_OTHER,
    .shared = VERB_SERVER | VERB_OUTPUT,
    .options = no_options,
    .run = run_version,
};
