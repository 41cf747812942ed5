/* The load: jobs that fire every second, a few for each engine, and write into the ledger. They are a set of
 * their own, with a name that no other drill has. */
#include "cronsched/drill/drill.h"

#include <inttypes.h>
#include <string.h>

#define LEDGER_IN_CONTAINER "/ledger"

unsigned drill_canary_count(const struct drill *d)
{
    return (unsigned)(d->engine_count * (size_t)d->rate);
}

size_t drill_canary_engine(const struct drill *d, unsigned canary)
{
    return canary / (unsigned)d->rate;
}

const char *drill_canary_name(const struct drill *d, unsigned canary, char *buffer, size_t size)
{
    snprintf(buffer, size, "drill-%s-%s-%u", d->tag, d->engines[drill_canary_engine(d, canary)], canary);
    return buffer;
}

/* One echo is one write; no program is started for it. */
static json_t *script(const char *folder)
{
    char text[2 * sizeof(((struct drill_ledger *)0)->folder) + 512];

    snprintf(text, sizeof(text),
             "note() { read up rest </proc/uptime; "
             "echo $1 $CRONSCHED_RUN $CRONSCHED_ATTEMPT $CRONSCHED_EPOCH $up >>%s/lines; }; "
             "note start; note end",
             folder);
    return json_pack("[s, s, s]", "sh", "-c", text);
}

/* No fire time is ever skipped: one that comes late still counts. */
static json_t *canary(const struct drill *d, unsigned number)
{
    const char *engine = d->engines[drill_canary_engine(d, number)];
    json_t *job = json_pack("{s:s, s:s, s:s, s:s, s:i, s:{s:i}}", "schedule", "* * * * * *", "engine", engine,
                            "concurrency", "allow", "catch_up", "all", "max_catch_up", 1000, "keep", "runs",
                            100000);

    json_object_set_new(job, "description", json_string("a canary of cronsched drill"));
    if (!d->image || strcmp(engine, "process") == 0) {
        json_object_set_new(job, "command", script(d->ledger.folder));
        return job;
    }
    json_object_set_new(job, "image", json_string(d->image));
    json_object_set_new(job, "pull", json_string("missing"));
    json_object_set_new(job, "volumes", json_array());
    json_array_append_new(json_object_get(job, "volumes"),
                          json_sprintf("%s:" LEDGER_IN_CONTAINER, d->ledger.folder));
    json_object_set_new(job, "command", script(LEDGER_IN_CONTAINER));
    return job;
}

static int apply(struct drill *d, json_t *jobs, struct error *error)
{
    json_t *body =
        json_pack("{s:o, s:o, s:b}", "jobs", jobs, "set", json_sprintf("drill-%s", d->tag), "prune", 1);
    int r;

    if (json_object_size(jobs) == 0) /* at the end */
        json_object_set_new(body, "allow_empty", json_true());
    r = client_call(&d->session->client, "POST", "/v1/apply", body, CLIENT_REPEATABLE, NULL, error);

    json_decref(body);
    return r;
}

int drill_canaries_apply(struct drill *d, struct error *error)
{
    json_t *jobs = json_object();
    char name[DRILL_ID_MAX];
    int r;

    for (unsigned i = 0; i < drill_canary_count(d); i++)
        json_object_set_new(jobs, drill_canary_name(d, i, name, sizeof(name)), canary(d, i));
    r = apply(d, jobs, error);
    if (r < 0)
        return error_prefix(error, "applying the canaries: ");
    /* the first whole second of which it is certain that the jobs stood before it */
    d->first_ms = (drill_now_ms() / 1000 + 2) * 1000;
    return 0;
}

int drill_canaries_delete(struct drill *d, struct error *error)
{
    int r = apply(d, json_object(), error);

    return r < 0 ? error_prefix(error, "deleting the canaries: ") : 0;
}
