#include "cronsched/config/config_registries.h"

#include "jobs/base/near.h"
#include "jobs/base/path.h"

#include <string.h>

static const char *const known[] = {"username", "from_file"};

/* HOST[:PORT], as images name it. */
static bool is_host(const char *text)
{
    size_t n = strlen(text);

    if (n == 0 || n > 255 ||
        strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-:[]") < n)
        return false;
    return !strchr(text, ':') || text[n - 1] == ']' || config_host_port_valid(text, n, 1);
}

static void read_value(struct config_reader *reader, json_t *entry, const struct yaml_node *key,
                       const struct yaml_node *value)
{
    char hint[NEAR_HINT_BUFFER];
    size_t k = 0;

    while (k < 2 && strcmp(key->text, known[k]) != 0)
        k++;
    if (k == 2 && strcmp(key->text, "password") == 0)
        config_fault(reader, key,
                     "registries: a password has no place here: put it in a file, and name that with "
                     "from_file");
    else if (k == 2)
        config_fault(reader, key, "registries: unknown key '%s'%s", key->text,
                     near_hint(near_find(key->text, known, 2), hint, sizeof(hint)));
    else if (value->kind != YAML_TEXT || !*value->text || strpbrk(value->text, "\r\n"))
        config_fault(reader, value, "registries: %s: must be a text of one line, not %s", known[k],
                     value->kind == YAML_TEXT ? "such a one" : yaml_kind_name(value->kind));
    else if (k == 1 && !path_is_straight(value->text))
        config_fault(reader, value,
                     "registries: from_file: '%.200s' is not an absolute path without empty parts, . and "
                     "..",
                     value->text);
    else
        json_object_set_new(entry, known[k], json_string(value->text));
}

static void read_registry(struct config_reader *reader, struct config_engine *engine,
                          const struct yaml_node *host, const struct yaml_node *map)
{
    json_t *entry = json_object();
    int faults = reader->faults;

    if (!is_host(host->text))
        config_fault(reader, host,
                     "registries: '%.200s' is not HOST or HOST:PORT, as the names of images begin",
                     host->text);
    if (map->kind != YAML_MAP)
        config_fault(reader, map, "registries: %.200s: must be a map of username and from_file, not %s",
                     host->text, yaml_kind_name(map->kind));
    for (size_t i = 0; map->kind == YAML_MAP && i < map->count; i++)
        read_value(reader, entry, map->keys[i], map->items[i]);
    for (size_t k = 0; k < 2 && reader->faults == faults; k++)
        if (!json_object_get(entry, known[k]))
            config_fault(reader, host, "registries: %.200s: %s is missing", host->text, known[k]);
    json_object_set_new(engine->registries, host->text, entry);
}

void config_read_registries(struct config_reader *reader, struct config_engine *engine,
                            const struct yaml_node *map)
{
    if (map->kind != YAML_MAP || map->count > CONFIG_REGISTRIES_MAX) {
        config_fault(reader, map, "registries: must be a map of up to %d registries by name, not %s",
                     CONFIG_REGISTRIES_MAX, yaml_kind_name(map->kind));
        return;
    }
    if (!engine->registries)
        engine->registries = json_object();
    for (size_t i = 0; i < map->count; i++)
        read_registry(reader, engine, map->keys[i], map->items[i]);
}
