/* See config_facts.h. */
#include "cronsched/cluster/config_facts.h"

#include "jobs/base/text.h"
#include "jobs/state/record.h"

#include <stdio.h>
#include <string.h>

#define CONFIG_TEXT_MAX (256 * 1024)
#define VALUE_MAX       200 /* all facts of a replica are one small node in ZooKeeper */

/* A long one is told by its beginning and its hash. The items of a list have a blank before them. */
static void put(json_t *facts, const char *key, const char *value, size_t size)
{
    char text[VALUE_MAX + 64], hash[CONFIG_FACTS_HASH_SIZE];
    bool list = *value == ' ';

    value += list;
    size -= list;
    batch_hash(value, size, hash);
    if (size <= VALUE_MAX)
        snprintf(text, sizeof(text), "%.*s", (int)size, value);
    else
        snprintf(text, sizeof(text), "%.*s... (%.8s)", VALUE_MAX, value, hash);
    json_object_set_new(facts, key, json_string(text));
}

static void put_number(json_t *facts, const char *key, int64_t number, const char *unit)
{
    char text[48];
    int n = snprintf(text, sizeof(text), "%lld%s", (long long)number, unit);

    put(facts, key, text, (size_t)n);
}

/* The hash is of the same text as in older versions, which compare it with theirs. */
json_t *config_facts(const struct config *c, char ret_hash[CONFIG_FACTS_HASH_SIZE])
{
    const char *default_engine = c->default_engine ? c->default_engine : "";
    json_t *facts = json_object();
    size_t engines, pools;
    struct text t;

    text_init(&t, CONFIG_TEXT_MAX);
    text_addf(&t, "%s %lld %lld %lld %s", c->cluster, (long long)c->resolve_within_ms,
              (long long)c->late_grace_ms, (long long)c->max_state_bytes, default_engine);
    engines = t.len;
    for (size_t i = 0; i < c->engine_count; i++)
        text_addf(&t, " %s:%s", c->engines[i].name, c->engines[i].type);
    put(facts, "engines", text_str(&t) + engines, t.len - engines);
    pools = t.len;
    for (size_t i = 0; i < c->pool_count; i++)
        text_addf(&t, " %s=%d", c->pools[i].name, c->pools[i].size);
    put(facts, "pools", text_str(&t) + pools, t.len - pools);
    batch_hash(text_str(&t), t.len, ret_hash);
    text_release(&t);
    put(facts, "cluster", c->cluster, strlen(c->cluster));
    put(facts, "default_engine", default_engine, strlen(default_engine));
    put_number(facts, "resolve_within", c->resolve_within_ms, " ms");
    put_number(facts, "late_grace", c->late_grace_ms, " ms");
    put_number(facts, "max_state", c->max_state_bytes, " bytes");
    return facts;
}
