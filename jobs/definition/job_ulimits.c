/* The limits of a container's processes, as Compose writes them. */
#include "jobs/definition/job_keys.h"

/* One limit, or the soft and the hard one; -1: none. */
static bool ulimit_of(struct job_reader *reader, const struct job_key *key, const char *name,
                      const struct yaml_node *node, json_int_t *ret)
{
    if (node && node->kind == YAML_INT && node->integer >= -1) {
        *ret = node->integer;
        return true;
    }
    job_report(reader, key, node, "%.40s must be a number (-1: no limit), or {soft: NUMBER, hard: NUMBER}",
               name);
    return false;
}

static void read_ulimit(struct job_reader *reader, const struct job_key *key, const struct yaml_node *name,
                        const struct yaml_node *node, json_t *limits)
{
    const struct yaml_node *soft = yaml_node_get(node, "soft"), *hard = yaml_node_get(node, "hard");
    bool two = node->kind == YAML_MAP && node->count == 2 && soft && hard;
    json_int_t low = 0, high = 0;
    struct error error;
    json_t *value;

    if (job_check_ulimit(name->text, &error) < 0)
        return job_report(reader, key, name, "%s", error.text);
    if (!two)
        soft = hard = node;
    if (!ulimit_of(reader, key, name->text, soft, &low) || !ulimit_of(reader, key, name->text, hard, &high))
        return;
    if (high >= 0 && (low > high || low < 0))
        return job_report(reader, key, node, "%s: the soft limit is above the hard one", name->text);
    value = low == high ? json_integer(low) : json_pack("{s:I, s:I}", "soft", low, "hard", high);
    if (json_object_set_new(limits, name->text, value) < 0)
        reader->no_memory = true;
}

void job_read_ulimits(struct job_reader *reader, const struct job_key *key, const struct yaml_node *node)
{
    json_t **field = job_field(reader->job, key->offset), *limits;

    if (node->kind != YAML_MAP)
        return job_report(reader, key, node, "must be a map, not %s", yaml_kind_name(node->kind));
    limits = json_object();
    if (!limits)
        reader->no_memory = true;
    for (size_t i = 0; limits && i < node->count; i++)
        read_ulimit(reader, key, node->keys[i], node->items[i], limits);
    json_decref(*field);
    *field = limits;
}
