/* The YAML tree from and to JSON. */
#include "jobs/yaml/yaml_priv.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int node_of_json(struct yaml_doc *doc, const json_t *json, int depth_left, struct yaml_node **ret);

static int children_of_json(struct yaml_doc *doc, const json_t *json, int depth_left, struct yaml_node *node)
{
    bool map = json_is_object(json);
    size_t n = map ? json_object_size(json) : json_array_size(json);
    void *iter = map ? json_object_iter((json_t *)json)
                     : NULL; /* jansson's iterators are not const-correct */

    node->items = yaml_doc_alloc(doc, (n + 1) * sizeof(struct yaml_node *));
    node->keys = map ? yaml_doc_alloc(doc, (n + 1) * sizeof(struct yaml_node *)) : NULL;
    if (!node->items || (map && !node->keys))
        return ERR_NOMEM;
    for (size_t i = 0; i < n; i++) {
        const json_t *value = map ? json_object_iter_value(iter) : json_array_get(json, i);
        int r = node_of_json(doc, value, depth_left, &node->items[i]);

        if (r < 0)
            return r;
        if (map) {
            node->keys[i] = yaml_doc_node(doc, YAML_TEXT);
            if (!node->keys[i])
                return ERR_NOMEM;
            node->keys[i]->quoted = true;
            node->keys[i]->text = json_object_iter_key(iter);
            node->keys[i]->size = strlen(node->keys[i]->text);
            iter = json_object_iter_next((json_t *)json, iter);
        }
        node->weight += node->items[i]->weight + map;
        node->count++;
    }
    return 0;
}

static int node_of_json(struct yaml_doc *doc, const json_t *json, int depth_left, struct yaml_node **ret)
{
    static const enum yaml_kind kinds[] = {
        [JSON_OBJECT] = YAML_MAP,  [JSON_ARRAY] = YAML_LIST, [JSON_STRING] = YAML_TEXT,
        [JSON_INTEGER] = YAML_INT, [JSON_REAL] = YAML_REAL,  [JSON_TRUE] = YAML_BOOL,
        [JSON_FALSE] = YAML_BOOL,  [JSON_NULL] = YAML_NULL,
    };
    struct yaml_node *node = yaml_doc_node(doc, kinds[json_typeof(json)]);

    if (!node)
        return ERR_NOMEM;
    *ret = node;
    switch (node->kind) {
    case YAML_TEXT:
        node->quoted = true;
        node->text = json_string_value(json);
        node->size = json_string_length(json);
        return memchr(node->text, '\0', node->size) ? ERR_INVALID : 0;
    case YAML_INT:
        node->integer = json_integer_value(json);
        node->number = (double)node->integer;
        return 0;
    case YAML_REAL:
        node->number = json_real_value(json);
        return 0;
    case YAML_BOOL:
        node->boolean = json_is_true(json);
        return 0;
    case YAML_LIST:
    case YAML_MAP:
        return depth_left == 0 ? ERR_LIMIT : children_of_json(doc, json, depth_left - 1, node);
    default:
        return 0;
    }
}

int yaml_doc_from_json(struct yaml_doc **ret, const json_t *json, int depth_max)
{
    struct yaml_doc *doc = calloc(1, sizeof(*doc));
    int r = doc ? node_of_json(doc, json, depth_max, &doc->root) : ERR_NOMEM;

    if (r < 0)
        yaml_doc_free(doc);
    else
        *ret = doc;
    return r;
}

static int json_of_children(const struct yaml_node *node, json_t *json)
{
    for (size_t i = 0; i < node->count; i++) {
        json_t *value;
        int r = yaml_node_json(node->items[i], &value);

        if (r < 0)
            return r;
        r = node->kind == YAML_MAP ? json_object_set_new(json, node->keys[i]->text, value)
                                   : json_array_append_new(json, value);
        if (r < 0)
            return ERR_NOMEM;
    }
    return 0;
}

int yaml_node_json(const struct yaml_node *node, json_t **ret)
{
    json_t *json = NULL;
    int r = 0;

    switch (node->kind) {
    case YAML_NULL:
        json = json_null();
        break;
    case YAML_BOOL:
        json = json_boolean(node->boolean);
        break;
    case YAML_INT:
        json = json_integer(node->integer);
        break;
    case YAML_REAL:
        if (!isfinite(node->number))
            return ERR_INVALID;
        json = json_real(node->number);
        break;
    case YAML_TEXT:
        json = json_stringn(node->text, node->size);
        break;
    case YAML_LIST:
    case YAML_MAP:
        json = node->kind == YAML_MAP ? json_object() : json_array();
        r = json ? json_of_children(node, json) : 0;
        break;
    }
    if (!json)
        return ERR_NOMEM;
    if (r < 0)
        json_decref(json);
    else
        *ret = json;
    return r;
}
