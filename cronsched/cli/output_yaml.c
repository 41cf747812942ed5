/* JSON values as YAML, by libyaml's emitter. */
#include "cronsched/cli/output.h"

#include "jobs/base/printable.h"

#include <ctype.h>
#include <string.h>
#include <yaml.h>

/* A word that begins like a name and that neither YAML 1.1 nor 1.2 reads as a boolean or null: safe without
 * quotes as far as types go; whether its characters allow it the emitter knows. */
static bool plain_is_text(const char *s)
{
    static const char *const words[] = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"};

    if (!isalpha((unsigned char)*s) && *s != '/')
        return false;
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (strcasecmp(s, words[i]) == 0)
            return false;
    return true;
}

static int emit_scalar(yaml_emitter_t *emitter, const char *s, size_t size, yaml_scalar_style_t style)
{
    yaml_event_t event;

    if (!yaml_scalar_event_initialize(&event, NULL, NULL, (const yaml_char_t *)s, (int)size, 1, 1, style))
        return 0;
    return yaml_emitter_emit(emitter, &event);
}

static bool is_printable(const char *s)
{
    size_t n = strlen(s);

    while (n > 0) {
        uint32_t code;
        size_t length = printable_next(s, n, &code);

        if (!printable_is(code) && code != '\n')
            return false;
        s += length;
        n -= length;
    }
    return true;
}

static int emit_string(yaml_emitter_t *emitter, const char *s, size_t size)
{
    yaml_scalar_style_t style = YAML_DOUBLE_QUOTED_SCALAR_STYLE;

    if (strlen(s) == size && plain_is_text(s) && is_printable(s))
        style = strchr(s, '\n') ? YAML_LITERAL_SCALAR_STYLE : YAML_PLAIN_SCALAR_STYLE;
    return emit_scalar(emitter, s, size, style);
}

static int emit(yaml_emitter_t *emitter, const json_t *value);

static int emit_list(yaml_emitter_t *emitter, const json_t *value)
{
    yaml_sequence_style_t style = json_array_size(value) ? YAML_BLOCK_SEQUENCE_STYLE
                                                         : YAML_FLOW_SEQUENCE_STYLE;
    yaml_event_t event;
    const json_t *item;
    size_t i;

    if (!yaml_sequence_start_event_initialize(&event, NULL, NULL, 1, style) ||
        !yaml_emitter_emit(emitter, &event))
        return 0;
    json_array_foreach(value, i, item) if (!emit(emitter, item)) return 0;
    return yaml_sequence_end_event_initialize(&event) && yaml_emitter_emit(emitter, &event);
}

static int emit_map(yaml_emitter_t *emitter, const json_t *value)
{
    yaml_mapping_style_t style = json_object_size(value) ? YAML_BLOCK_MAPPING_STYLE : YAML_FLOW_MAPPING_STYLE;
    yaml_event_t event;
    const char *key;
    json_t *item;

    if (!yaml_mapping_start_event_initialize(&event, NULL, NULL, 1, style) ||
        !yaml_emitter_emit(emitter, &event))
        return 0;
    json_object_foreach((json_t *)value, key,
                        item) if (!emit_string(emitter, key, strlen(key)) || !emit(emitter, item)) return 0;
    return yaml_mapping_end_event_initialize(&event) && yaml_emitter_emit(emitter, &event);
}

static int emit(yaml_emitter_t *emitter, const json_t *value)
{
    char *dump;
    int ok;

    switch (json_typeof(value)) {
    case JSON_ARRAY:
        return emit_list(emitter, value);
    case JSON_OBJECT:
        return emit_map(emitter, value);
    case JSON_STRING:
        return emit_string(emitter, json_string_value(value), json_string_length(value));
    default: /* numbers, true, false, null: JSON's words are YAML's */
        dump = json_dumps(value, JSON_ENCODE_ANY);
        ok = dump && emit_scalar(emitter, dump, strlen(dump), YAML_PLAIN_SCALAR_STYLE);
        free(dump);
        return ok;
    }
}

/* Without Unicode the emitter escapes all beyond ASCII; it would let marks of direction pass. */
static bool all_printable(const json_t *value)
{
    char *dump = json_dumps(value, JSON_ENCODE_ANY);
    struct text text;
    bool same;

    if (!dump)
        return false;
    text_init(&text, SIZE_MAX / 2);
    printable_add_json(&text, dump, strlen(dump));
    same = strcmp(text_str(&text), dump) == 0;
    text_release(&text);
    free(dump);
    return same;
}

int output_yaml(FILE *to, const json_t *value)
{
    yaml_emitter_t emitter;
    yaml_event_t event;
    int ok;

    if (!value)
        value = json_null();
    if (!yaml_emitter_initialize(&emitter))
        return ERR_NOMEM;
    yaml_emitter_set_output_file(&emitter, to);
    yaml_emitter_set_unicode(&emitter, all_printable(value));
    yaml_emitter_set_width(&emitter, -1);
    ok = yaml_stream_start_event_initialize(&event, YAML_UTF8_ENCODING) &&
         yaml_emitter_emit(&emitter, &event) &&
         yaml_document_start_event_initialize(&event, NULL, NULL, NULL, 1) &&
         yaml_emitter_emit(&emitter, &event) && emit(&emitter, value) &&
         yaml_document_end_event_initialize(&event, 1) && yaml_emitter_emit(&emitter, &event) &&
         yaml_stream_end_event_initialize(&event) && yaml_emitter_emit(&emitter, &event);
    yaml_emitter_delete(&emitter);
    return ok ? 0 : ERR_IO;
}
