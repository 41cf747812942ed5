/* doctor: what is well and what is not, with advice; first as seen from here, then as the server sees it. */
#include "cronsched/cli/cli_context.h"

#include <stdio.h>
#include <string.h>

#define REPLICA_MS 15000 /* its own probes may take ten seconds */

static const struct verb_option no_options[] = {{0}};

static void add_check(json_t *checks, const char *check, const char *status, const char *text,
                      const char *advice)
{
    json_array_append_new(checks, json_pack("{s:s,s:s,s:s,s:s?}", "check", check, "status", status, "text",
                                            text, "advice", advice));
}

static const char *advice_for(int error_code, const struct client_server *server)
{
    if (error_code == ERR_DENIED)
        return "pass a token with --token-file, or call as the server's own user";
    if (server->socket)
        return "start 'cronsched serve', or name the server with --server";
    return NULL;
}

static bool is_status(const json_t *check, const char *status)
{
    const char *is = json_string_value(json_object_get(check, "status"));

    return is && strcmp(is, status) == 0;
}

/* Every server that a verb would ask. The default ones are alternatives: one is enough. */
static bool check_servers(struct cli_context *s, json_t *checks)
{
    struct client *client = &s->client;
    bool any = false;

    for (size_t i = 0; i < client->server_count; i++) {
        const struct client_server *server = &client->servers[i];
        struct error error = {0};
        json_t *reply = NULL;
        char name[256], text[ERROR_TEXT_MAX];
        int r = client_probe(client, i, "/v1/version", &reply, &error);
        const char *version = json_string_value(json_object_get(reply, "version"));

        snprintf(name, sizeof(name), "server %s", server->title);
        if (r < 0) {
            add_check(checks, name, "error", error.text, advice_for(r, server));
        } else if (!version || strcmp(version, CRONSCHED_VERSION) != 0) {
            snprintf(text, sizeof(text), "answers, but has version %s", version ? version : "unknown");
            add_check(checks, name, "warning", text, "this program has version " CRONSCHED_VERSION);
        } else {
            add_check(checks, name, "ok", "answers", NULL);
        }
        any |= r == 0;
        json_decref(reply);
    }
    return any;
}

/* The default servers are alternatives: those that do not answer are of no interest when one does. */
static void forget_alternatives(const struct cli_context *s, json_t *checks, bool any)
{
    if (!any || s->client.named)
        return;
    for (size_t i = json_array_size(checks); i-- > 0;)
        if (is_status(json_array_get(checks, i), "error"))
            json_array_remove(checks, i);
}

static bool has_status(const json_t *checks, const char *status)
{
    const json_t *check;
    size_t i;

    json_array_foreach(checks, i, check)
    {
        if (is_status(check, status))
            return true;
    }
    return false;
}

static void show_checks(const struct output *out, const json_t *checks)
{
    const json_t *check;
    size_t i;

    if (out->format != OUTPUT_TABLE) {
        output_value(out, checks);
        return;
    }
    json_array_foreach(checks, i, check)
    {
        const char *status = json_string_value(json_object_get(check, "status"));
        const char *advice = json_string_value(json_object_get(check, "advice"));
        const char *color = out->color ? output_state_color(status) : NULL;
        const char *plain = color ? output_plain(out) : "";

        if (!status)
            status = "?";
        fprintf(out->to, "%s%-8s%s%s: %s\n", color ? color : "", status, plain,
                output_text(json_object_get(check, "check")), output_text(json_object_get(check, "text")));
        if (advice && *advice)
            fprintf(out->to, "        %s\n", advice);
    }
}

/* ---- the other replicas ---- */

static bool is_told(const json_t *checks, const json_t *check)
{
    const json_t *other;
    size_t i;

    json_array_foreach(checks, i, other)
    {
        if (json_equal(json_object_get(other, "text"), json_object_get(check, "text")))
            return true;
    }
    return false;
}

/* What is not well there; what concerns the cluster and was told already is left out. */
static void add_findings(json_t *checks, const char *id, const json_t *its)
{
    const json_t *check;
    char name[256], text[64];
    size_t i, told = 0;

    json_array_foreach(its, i, check)
    {
        json_t *copy;

        if (is_status(check, "ok") || is_told(checks, check))
            continue;
        snprintf(name, sizeof(name), "%.100s: %.100s", id, output_text(json_object_get(check, "check")));
        copy = json_deep_copy(check);
        json_object_set_new(copy, "check", json_string(name));
        json_array_append_new(checks, copy);
        told++;
    }
    snprintf(name, sizeof(name), "%.100s", id);
    snprintf(text, sizeof(text), "%zu checks of its own are well", json_array_size(its));
    if (told == 0)
        add_check(checks, name, "ok", text, NULL);
}

static void check_replica(struct cli_context *s, json_t *checks, const char *id, const char *url)
{
    struct error error = {0};
    json_t *reply = NULL;
    char name[256];
    int r = client_ask_replica(&s->client, id, url, &error);

    if (r == 0)
        r = client_get(&s->client, &reply, &error, "/v1/doctor");
    snprintf(name, sizeof(name), "%.100s", id);
    if (r < 0)
        add_check(checks, name, "warning", error.text, "it could not be asked for its own checks");
    else
        add_findings(checks, id, json_object_get(reply, "checks"));
    json_decref(reply);
}

/* A standby of no use is found here, and not at a failover. */
static void check_others(struct cli_context *s, json_t *checks, const char *asked)
{
    struct error error = {0};
    json_t *cluster = NULL;
    const json_t *replica;
    size_t i;

    if (client_get(&s->client, &cluster, &error, "/v1/cluster") < 0)
        return;
    s->client.timeout_ms = REPLICA_MS;
    json_array_foreach(json_object_get(cluster, "replicas"), i, replica)
    {
        const char *id = json_string_value(json_object_get(replica, "id"));

        if (id && strcmp(id, asked) != 0)
            check_replica(s, checks, id, output_text(json_object_get(replica, "url")));
    }
    json_decref(cluster);
}

static int run_doctor(const struct verb_call *call)
{
    struct cli_context s;
    struct error error = {0};
    json_t *checks = json_array(), *reply = NULL;
    int code = cli_open(&s, call), r;
    bool any;

    if (code != EXIT_FINE) {
        json_decref(checks);
        return cli_close(&s, code);
    }
    any = check_servers(&s, checks);
    forget_alternatives(&s, checks, any);
    if (any) {
        cli_path(&s, "/v1/doctor");
        r = client_call(&s.client, "GET", text_str(&s.path), NULL, CLIENT_REPEATABLE, &reply, &error);
        if (r < 0)
            add_check(checks, "the server's own checks", "error", error.text,
                      advice_for(r, &s.client.servers[0]));
        json_array_extend(checks, json_object_get(reply, "checks"));
        if (r == 0)
            check_others(&s, checks, output_text(json_object_get(reply, "replica")));
    }
    show_checks(&s.out, checks);
    code = has_status(checks, "error") ? EXIT_DIFFERS : EXIT_FINE;
    if (!any)
        code = EXIT_NO_LEADER;
    json_decref(reply);
    json_decref(checks);
    return cli_close(&s, code);
}

const struct verb verb_doctor = {
    .name = "doctor",
    .help = "check servers, engines, clock, zones and permissions, and give advice",
    .text = "The server that answers is asked for all its checks, and each other replica of its cluster for "
            "what is not "
            "well there. Exit code 1 when something is wrong, 5 when no server can be reached.",
    .group = VERB_GROUP_SERVER,
    .shared = VERB_SERVER | VERB_OUTPUT,
    .options = no_options,
    .run = run_doctor,
};
