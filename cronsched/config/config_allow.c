#include "cronsched/config/config_allow.h"

#include "jobs/base/near.h"
#include "jobs/base/path.h"

#include <string.h>

static int check_word(const char *text, struct error *error)
{
    for (; *text; text++)
        if ((unsigned char)*text <= ' ' || *text == 0x7f)
            return error_set(error, ERR_INVALID, "must be one word");
    return 0;
}

/* One that says where it leads: a policy about /srv/../etc would say nothing. */
static int check_folder(const char *text, struct error *error)
{
    if (path_is_straight(text))
        return 0;
    return error_set(error, ERR_INVALID, "must be an absolute path without empty parts, . and ..");
}

static int check_volume(const char *text, struct error *error)
{
    return text[0] == '/' ? check_folder(text, error) : check_word(text, error);
}

/* A star stands at the end alone, behind a slash. */
static int check_image(const char *text, struct error *error)
{
    const char *star = strchr(text, '*');

    if (star && (star[1] || star < text + 2 || star[-1] != '/'))
        return error_set(error, ERR_INVALID, "'*' may only be the last part, as in registry.example/team/*");
    return check_word(text, error);
}

static const struct {
    const char *key;
    int (*check)(const char *text, struct error *error); /* of each item; NULL: the key is true or false */
    bool process;                                        /* a process engine has it as well */
} allow_keys[] = {
    {"images", check_image, false},   {"volumes", check_volume, false},
    {"networks", check_word, false},  {"users", check_word, true},
    {"groups", check_word, false},    {"capabilities", check_word, false},
    {"devices", check_folder, false}, {"security_opt", check_word, false},
    {"files", check_folder, true},    {"privileged", NULL, false},
};
#define ALLOW_KEY_COUNT (sizeof(allow_keys) / sizeof(allow_keys[0]))
#define ALLOW_USERS     3

static void put(struct config_engine *engine, const char *key, json_t *value)
{
    if (!engine->allow)
        engine->allow = json_object();
    json_object_set_new(engine->allow, key, value);
}

static void read_list(struct config_reader *reader, struct config_engine *engine, size_t k,
                      const struct yaml_node *node)
{
    const char *key = allow_keys[k].key;
    json_t *list = json_array();
    struct error error;

    if (node->kind != YAML_LIST || node->count > CONFIG_ALLOW_MAX)
        config_fault(reader, node, "%s: must be a list of up to %d texts, not %s", key, CONFIG_ALLOW_MAX,
                     yaml_kind_name(node->kind));
    for (size_t i = 0; node->kind == YAML_LIST && i < node->count; i++) {
        const struct yaml_node *item = node->items[i];
        bool number = item->kind == YAML_INT && item->text; /* of a user or a group */

        if ((item->kind != YAML_TEXT && !number) || !*item->text)
            config_fault(reader, item, "%s: must be a text, not %s", key,
                         item->kind == YAML_TEXT ? "an empty one" : yaml_kind_name(item->kind));
        else if (allow_keys[k].check(item->text, &error) < 0)
            config_fault(reader, item, "%s: '%.200s' %s", key, item->text, error.text);
        else
            json_array_append_new(list, json_string(item->text));
    }
    put(engine, key, list);
}

void config_read_users(struct config_reader *reader, struct config_engine *engine,
                       const struct yaml_node *list)
{
    if (list->kind == YAML_LIST && list->count == 0)
        config_fault(reader, list, "users: must name at least one, whom jobs run as that name none");
    else
        read_list(reader, engine, ALLOW_USERS, list);
}

void config_read_allow(struct config_reader *reader, struct config_engine *engine,
                       const struct yaml_node *map)
{
    const char *known[ALLOW_KEY_COUNT];
    char hint[NEAR_HINT_BUFFER];

    for (size_t k = 0; k < ALLOW_KEY_COUNT; k++)
        known[k] = allow_keys[k].key;
    if (map->kind != YAML_MAP) {
        config_fault(reader, map, "allow: must be a map of lists, not %s", yaml_kind_name(map->kind));
        return;
    }
    if (!engine->allow)
        engine->allow = json_object();
    for (size_t i = 0; i < map->count; i++) {
        const struct yaml_node *key = map->keys[i], *value = map->items[i];
        size_t k = 0;

        while (k < ALLOW_KEY_COUNT && strcmp(key->text, known[k]) != 0)
            k++;
        if (k == ALLOW_KEY_COUNT)
            config_fault(reader, key, "allow: unknown key '%s'%s", key->text,
                         near_hint(near_find(key->text, known, ALLOW_KEY_COUNT), hint, sizeof(hint)));
        else if (allow_keys[k].check)
            read_list(reader, engine, k, value);
        else if (value->kind != YAML_BOOL)
            config_fault(reader, value, "%s: must be true or false, not %s", known[k],
                         yaml_kind_name(value->kind));
        else
            put(engine, known[k], json_boolean(value->boolean));
    }
}

void config_check_allow(struct config_reader *reader, const struct config_engine *engine,
                        const struct yaml_node *at)
{
    bool process = strcmp(engine->type, "process") == 0;
    bool kubernetes = strcmp(engine->type, "kubernetes") == 0; /* the rest is the cluster's to allow */

    if (!engine->allow || strcmp(engine->type, "docker") == 0)
        return;
    for (size_t k = 0; k < ALLOW_KEY_COUNT; k++)
        if (json_object_get(engine->allow, allow_keys[k].key) && !(process && allow_keys[k].process) &&
            !(kubernetes && strcmp(allow_keys[k].key, "files") == 0))
            config_fault(reader, at, "engines: %s: an engine of type %s has no %s to allow", engine->name,
                         engine->type, allow_keys[k].key);
}
