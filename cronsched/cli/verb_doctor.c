/* doctor: what is well and what is not, with advice; first as seen from here, then as the server sees it. */
#include "cronsched/cli/cli_context.h"

#include <string.h>

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

/* With the defaults a missing socket is not an error when another address answers. */
static void forgive_alternatives(const struct cli_context *s, json_t *checks, bool any)
{
    json_t *check;
    size_t i;

    if (!any || s->client.named)
        return;
    json_array_foreach(checks, i, check)
    {
        json_object_set_new(check, "status", json_string("ok"));
        json_object_set_new(check, "advice", json_null());
    }
}

static bool has_status(const json_t *checks, const char *status)
{
    const json_t *check;
    size_t i;

    json_array_foreach(checks, i, check)
    {
        const char *is = json_string_value(json_object_get(check, "status"));

        if (is && strcmp(is, status) == 0)
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
    forgive_alternatives(&s, checks, any);
    if (any) {
        cli_path(&s, "/v1/doctor");
        r = client_call(&s.client, "GET", text_str(&s.path), NULL, CLIENT_REPEATABLE, &reply, &error);
        if (r < 0)
            add_check(checks, "the server's own checks", "error", error.text,
                      advice_for(r, &s.client.servers[0]));
        json_array_extend(checks, json_object_get(reply, "checks"));
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
    .text = "Exit code 1 when something is wrong, 5 when no server can be reached.",
    .group = VERB_GROUP_SERVER,
    .shared = VERB_SERVER | VERB_OUTPUT,
    .options = no_options,
    .run = run_doctor,
};
