/* See name_holder.h. */
#include "cronsched/cluster/name_holder.h"

#include <stdio.h>
#include <string.h>

#define URL_BYTES    600
#define ANSWER_BYTES (64 * 1024)

static enum replicated_holder judge(const struct name_holder *n, const struct http_answer *a, char why[128])
{
    struct error error = {0};
    json_t *o = NULL;
    const char *replica, *process;
    enum replicated_holder holder = REPLICATED_HOLDER_UNKNOWN;

    if (a->refused)
        return REPLICATED_HOLDER_GONE;
    o = peer_json(a, &error);
    replica = json_string_value(json_object_get(o, "replica"));
    process = json_string_value(json_object_get(o, "process"));
    if (replica && strcmp(replica, n->self) != 0)
        holder = REPLICATED_HOLDER_GONE; /* another replica has that address now */
    else if (replica && process)
        holder = strcmp(process, n->process(n->arg)) == 0 ? REPLICATED_HOLDER_GONE : REPLICATED_HOLDER_OTHER;
    snprintf(why, 128, "%.127s", error.text[0] ? error.text : "what answers there does not say who it is");
    json_decref(o);
    return holder;
}

static void on_done(void *arg, const struct http_answer *a)
{
    struct name_holder *n = OBJECT(struct name_holder, arg);
    char why[128] = "";
    enum replicated_holder holder = judge(n, a, why);

    n->call = NULL;
    n->done(n->arg, holder, why);
}

bool name_holder_ask(struct name_holder *n, const char *url)
{
    char text[URL_BYTES];
    struct client_request request = {.method = "GET",
                                     .url = text,
                                     .ca_file = n->peer->ca_file,
                                     .connect_timeout_ms = NAME_HOLDER_MS,
                                     .timeout_ms = NAME_HOLDER_MS,
                                     .max_bytes = ANSWER_BYTES,
                                     .done = on_done,
                                     .arg = n};
    struct error error;

    if (n->call || snprintf(text, sizeof(text), "%s/readyz", url) >= (int)sizeof(text))
        return false;
    return http_client_start(&n->call, n->peer->client, &request, &error) == 0;
}

void name_holder_stop(struct name_holder *n)
{
    http_call_cancel(n->call);
    n->call = NULL;
}
