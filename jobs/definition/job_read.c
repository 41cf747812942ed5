/* A job from a tree, by the table of keys. Every fault is reported with its place, and reading goes on. */
#include "jobs/base/byte_size.h"
#include "jobs/base/duration.h"
#include "jobs/base/near.h"
#include "jobs/definition/job_keys.h"
#include "jobs/definition/shellwords.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATH_MAX_BYTES 64 /* of a key's path, such as "retries.max_delay" */

/* ---- reports ---- */

__attribute__((format(printf, 6, 0))) static void reportv(struct job_reader *reader,
                                                          const struct job_key *key,
                                                          const struct yaml_node *at, int column,
                                                          bool warning, const char *format, va_list ap)
{
    char text[JOB_FAULT_TEXT_MAX];
    size_t n = 0;

    if (!reader->report)
        return;
    reader->faults += !warning;
    if (key) {
        job_key_path(key, text, PATH_MAX_BYTES);
        n = strlen(text);
        n += (size_t)snprintf(text + n, sizeof(text) - n, ": ");
    }
    vsnprintf(text + n, sizeof(text) - n, format, ap);
    reader->report(reader->arg, at, column, warning, text);
}

void job_report(struct job_reader *reader, const struct job_key *key, const struct yaml_node *at,
                const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    reportv(reader, key, at, at ? at->column : 0, false, format, ap);
    va_end(ap);
}

void job_report_within(struct job_reader *reader, const struct job_key *key, const struct yaml_node *at,
                       size_t offset, const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    reportv(reader, key, at, at ? yaml_node_column(at, offset) : 0, false, format, ap);
    va_end(ap);
}

void job_warn(struct job_reader *reader, const struct job_key *key, const struct yaml_node *at,
              const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    reportv(reader, key, at, at ? at->column : 0, true, format, ap);
    va_end(ap);
}

const struct yaml_node *job_item_node(const struct job_reader *reader, enum job_key_id id, const char *text)
{
    const struct yaml_node *place = reader->places[id];

    if (place && place->kind == YAML_LIST)
        for (size_t i = 0; i < place->count; i++)
            if (place->items[i]->text && strcmp(place->items[i]->text, text) == 0)
                return place->items[i];
    return place;
}

/* "must be a list, not a number": the commonest fault. */
static void report_kind(struct job_reader *reader, const struct job_key *key, const struct yaml_node *node,
                        const char *wanted)
{
    if (node->kind == YAML_NULL)
        job_report(reader, key, node, "has no value; it must be %s", wanted);
    else if (node->kind == YAML_TEXT && node->text && node->size > 0 && node->size < 40)
        job_report(reader, key, node, "must be %s, not the text '%s'", wanted, node->text);
    else
        job_report(reader, key, node, "must be %s, not %s", wanted, yaml_kind_name(node->kind));
}

static bool size_is_right(struct job_reader *reader, const struct job_key *key, const struct yaml_node *node,
                          size_t min, size_t max)
{
    if (node->size < min)
        job_report(reader, key, node, "is empty");
    else if (node->size > max)
        job_report(reader, key, node, "is %zu bytes long; at most %zu", node->size, max);
    else
        return true;
    return false;
}

static const char *text_of(struct job_reader *reader, const struct job_key *key, const struct yaml_node *node,
                           size_t min, size_t max)
{
    bool number = key->numbers && node->kind == YAML_INT && node->text;

    if (node->kind != YAML_TEXT && !number) {
        if (node->text && node->size > 0 && node->kind != YAML_NULL)
            job_report(reader, key, node, "must be a text; write \"%.40s\" with quotes", node->text);
        else
            report_kind(reader, key, node, "a text");
        return NULL;
    }
    return size_is_right(reader, key, node, min, max) ? node->text : NULL;
}

/* Words of a command and values of variables: a plain 8080 or true serves as well, just as written. */
static const char *word_of(struct job_reader *reader, const struct job_key *key, const struct yaml_node *node)
{
    if (!node->text || node->kind == YAML_NULL) {
        report_kind(reader, key, node, "a text");
        return NULL;
    }
    return size_is_right(reader, key, node, 0, JOB_BYTES_MAX) ? node->text : NULL;
}

static bool shape_is_right(struct job_reader *reader, const struct job_key *key, const struct yaml_node *node,
                           int (*check)(const char *, struct error *))
{
    struct error error;

    if (!check || check(node->text, &error) == 0)
        return true;
    job_report(reader, key, node, "%s", error.text);
    return false;
}

/* ---- texts and lists of texts ---- */

static void read_text(struct job_reader *reader, const struct job_key *key, const struct yaml_node *node)
{
    char **field = job_field(reader->job, key->offset);
    const char *text = text_of(reader, key, node, (size_t)key->min, (size_t)key->max);
    char *copy;

    if (!text || !shape_is_right(reader, key, node, key->check))
        return;
    copy = strdup(text);
    if (!copy) {
        reader->no_memory = true;
        return;
    }
    free(*field);
    *field = copy;
}

static void read_item(struct job_reader *reader, const struct job_key *key, const struct yaml_node *node,
                      struct strings *strings)
{
    const char *text = text_of(reader, key, node, 1, key->text_max);

    if (!text || !shape_is_right(reader, key, node, key->check))
        return;
    for (size_t i = 0; i < strings->count; i++)
        if (strcmp(strings->items[i], text) == 0) {
            job_report(reader, key, node, "'%.80s' is in the list twice", text);
            return;
        }
    if (job_strings_add(strings, text) < 0)
        reader->no_memory = true;
}

/* {NAME: VALUE} is the item NAME:VALUE. */
static void read_pair_item(struct job_reader *reader, const struct job_key *key, const struct yaml_node *name,
                           const struct yaml_node *value, struct strings *strings)
{
    struct yaml_node pair = *value;
    char *text = NULL;

    if (!text_of(reader, key, value, 1, key->text_max))
        return;
    if (asprintf(&text, "%s:%s", name->text, value->text) < 0) {
        reader->no_memory = true;
        return;
    }
    pair.text = text;
    pair.size = strlen(text);
    read_item(reader, key, &pair, strings);
    free(text);
}

/* A list of texts; a single text is a list of one. */
static void read_texts(struct job_reader *reader, const struct job_key *key, const struct yaml_node *node)
{
    struct strings strings = {0};

    if ((node->kind == YAML_MAP && !key->pairs) || node->kind == YAML_NULL) {
        report_kind(reader, key, node, "a text or a list of texts");
        return;
    }
    if (node->kind != YAML_LIST && node->kind != YAML_MAP)
        read_item(reader, key, node, &strings);
    else if (node->count > (size_t)key->max)
        job_report(reader, key, node, "has %zu items; at most %lld", node->count, (long long)key->max);
    else if (node->kind == YAML_MAP)
        for (size_t i = 0; i < node->count; i++)
            read_pair_item(reader, key, node->keys[i], node->items[i], &strings);
    else
        for (size_t i = 0; i < node->count; i++)
            read_item(reader, key, node->items[i], &strings);
    job_key_release(reader->job, key);
    *(struct strings *)job_field(reader->job, key->offset) = strings;
}

static void split_command(struct job_reader *reader, const struct job_key *key, const struct yaml_node *node,
                          struct strings *strings)
{
    struct shellwords words;
    struct error error;
    int r;

    if (!node->text)
        return report_kind(reader, key, node, "a text or a list of texts");
    r = shellwords_split(node->text, &words, &error);
    if (r == ERR_NOMEM) {
        reader->no_memory = true;
        return;
    }
    if (r < 0)
        return job_report(reader, key, node, "%s", error.text);
    if (words.shell_operator)
        job_warn(reader, key, node,
                 "no shell runs this: '%s' is passed on as it is; for a shell write [sh, -c, \"...\"]",
                 words.shell_operator);
    for (size_t i = 0; i < words.count; i++)
        if (job_strings_add(strings, words.words[i]) < 0)
            reader->no_memory = true;
    shellwords_release(&words);
}

/* As in Compose: a list is taken as it is, a text is split by the shell's rules of quoting. */
static void read_command(struct job_reader *reader, const struct job_key *key, const struct yaml_node *node)
{
    struct strings strings = {0};

    if (node->kind == YAML_MAP || node->kind == YAML_NULL)
        return report_kind(reader, key, node, "a text or a list of texts");
    if (node->kind != YAML_LIST)
        split_command(reader, key, node, &strings);
    else if (node->count > JOB_LIST_MAX)
        job_report(reader, key, node, "has %zu items; at most %d", node->count, JOB_LIST_MAX);
    else
        for (size_t i = 0; i < node->count; i++) {
            const char *text = word_of(reader, key, node->items[i]);

            if (text && job_strings_add(&strings, text) < 0)
                reader->no_memory = true;
        }
    job_key_release(reader->job, key);
    *(struct strings *)job_field(reader->job, key->offset) = strings;
    *(bool *)job_field(reader->job, key->flag_offset) = true;
}

/* ---- names, numbers, durations, sizes ---- */

/* The index of the text in a list ended by NULL, or -1 after a report. */
static int index_of(struct job_reader *reader, const struct job_key *key, const struct yaml_node *node,
                    const char *const *names)
{
    const char *text = node->text ? node->text : "";
    char hint[NEAR_HINT_BUFFER];
    struct text list;
    size_t count = 0;

    for (; names[count]; count++)
        if (strcmp(names[count], text) == 0 && node->kind == YAML_TEXT)
            return (int)count;
    text_init(&list, 256);
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            text_add(&list, i + 1 < count ? ", " : " or ");
        text_add(&list, names[i]);
    }
    reader->no_memory |= list.failed == ERR_NOMEM;
    if (node->kind != YAML_TEXT)
        report_kind(reader, key, node, text_str(&list));
    else
        job_report(reader, key, node, "'%.40s' is not one of %s%s", text, text_str(&list),
                   near_hint(near_find(text, names, count), hint, sizeof(hint)));
    text_release(&list);
    return -1;
}

static void read_enum(struct job_reader *reader, const struct job_key *key, const struct yaml_node *node)
{
    int value = index_of(reader, key, node, key->names);

    if (value >= 0)
        *(unsigned *)job_field(reader->job, key->offset) = (unsigned)value;
}

static void read_bool(struct job_reader *reader, const struct job_key *key, const struct yaml_node *node)
{
    if (node->kind == YAML_BOOL)
        *(bool *)job_field(reader->job, key->offset) = node->boolean;
    else
        report_kind(reader, key, node, "true or false");
}

/* A number in quotes is a text: say so. */
static void report_number(struct job_reader *reader, const struct job_key *key, const struct yaml_node *node,
                          const char *wanted)
{
    if (node->kind == YAML_TEXT && node->line && node->size > 0 &&
        !node->text[strspn(node->text, "0123456789.")])
        job_report(reader, key, node, "must be %s; write %.40s without quotes", wanted, node->text);
    else if (node->kind == YAML_REAL && node->text)
        job_report(reader, key, node, "must be %s, not %.40s", wanted, node->text);
    else
        report_kind(reader, key, node, wanted);
}

static bool int_of(struct job_reader *reader, const struct job_key *key, const struct yaml_node *node,
                   int *ret)
{
    if (node->kind != YAML_INT) {
        char wanted[64];

        snprintf(wanted, sizeof(wanted), "a whole number from %lld to %lld", (long long)key->min,
                 (long long)key->max);
        report_number(reader, key, node, wanted);
        return false;
    }
    if (node->integer < key->min || node->integer > key->max) {
        job_report(reader, key, node, "%lld is out of range %lld to %lld", (long long)node->integer,
                   (long long)key->min, (long long)key->max);
        return false;
    }
    *ret = (int)node->integer;
    return true;
}

static void read_int(struct job_reader *reader, const struct job_key *key, const struct yaml_node *node)
{
    int_of(reader, key, node, job_field(reader->job, key->offset));
}

static void read_real(struct job_reader *reader, const struct job_key *key, const struct yaml_node *node)
{
    if (node->kind != YAML_INT && node->kind != YAML_REAL)
        report_number(reader, key, node, "a number");
    else if (!(node->number >= key->real_min && node->number <= key->real_max))
        job_report(reader, key, node, "%g is out of range %g to %g", node->number, key->real_min,
                   key->real_max);
    else
        *(double *)job_field(reader->job, key->offset) = node->number;
}

static void read_measure(struct job_reader *reader, const struct job_key *key, const struct yaml_node *node,
                         const char *wanted, int (*parse)(const char *, int64_t *, struct error *),
                         const char *(*format)(int64_t, char *, size_t))
{
    char low[TEXT_NUMBER_BUFFER], high[TEXT_NUMBER_BUFFER];
    struct error error;
    int64_t value;

    if (!node->text || node->kind == YAML_NULL || node->kind == YAML_BOOL)
        report_kind(reader, key, node, wanted);
    else if (parse(node->text, &value, &error) < 0)
        job_report(reader, key, node, "%s", error.text);
    else if (value < key->min || value > key->max)
        job_report(reader, key, node, "%s is out of range %s to %s", node->text,
                   format(key->min, low, sizeof(low)), format(key->max, high, sizeof(high)));
    else
        *(int64_t *)job_field(reader->job, key->offset) = value;
}

static void read_duration(struct job_reader *reader, const struct job_key *key, const struct yaml_node *node)
{
    read_measure(reader, key, node, "a duration such as 90s or 1h30m", duration_parse, duration_format);
}

static void read_size(struct job_reader *reader, const struct job_key *key, const struct yaml_node *node)
{
    read_measure(reader, key, node, "a size such as 256m or 2g", byte_size_parse, byte_size_format);
}

/* Exit codes: a list, or one. */
static void read_codes(struct job_reader *reader, const struct job_key *key, const struct yaml_node *node)
{
    const struct yaml_node *const *items = (const struct yaml_node *const *)node->items;
    size_t n = node->count, count = 0;
    int *codes;

    if (node->kind != YAML_LIST) {
        items = &node;
        n = 1;
    }
    if (n > (size_t)key->max)
        return job_report(reader, key, node, "has %zu items; at most %lld", n, (long long)key->max);
    codes = calloc(n + 1, sizeof(*codes));
    if (!codes) {
        reader->no_memory = true;
        return;
    }
    for (size_t i = 0; i < n; i++)
        count += int_of(reader, key, items[i], &codes[count]);
    job_key_release(reader->job, key);
    if (count == 0) {
        free(codes);
        return;
    }
    *(int **)job_field(reader->job, key->offset) = codes;
    *(size_t *)job_field(reader->job, key->count_offset) = count;
}

/* ---- maps: environment, labels, kubernetes, notify ---- */

/* Takes over `variable`; one of the same name is replaced in its place. */
static void put_variable(struct job_reader *reader, const struct job_key *key, const struct yaml_node *at,
                         struct job_env *variable)
{
    struct job_env **field = job_field(reader->job, key->offset), *grown;
    size_t *count = job_field(reader->job, key->count_offset);

    for (size_t i = 0; i < *count; i++)
        if (strcmp((*field)[i].name, variable->name) == 0) {
            job_env_release(&(*field)[i]);
            (*field)[i] = *variable;
            return;
        }
    if (*count == JOB_LIST_MAX) {
        job_report(reader, key, at, "more than %d variables", JOB_LIST_MAX);
        job_env_release(variable);
        return;
    }
    grown = realloc(*field, (*count + 1) * sizeof(*grown));
    if (!grown) {
        reader->no_memory = true;
        job_env_release(variable);
        return;
    }
    *field = grown;
    grown[(*count)++] = *variable;
}

/* {from_file: PATH}, maybe with allow_empty, or {from_secret: NAME}. */
static bool read_source(struct job_reader *reader, const struct job_key *key, const struct yaml_node *node,
                        struct job_env *variable)
{
    const struct yaml_node *file = yaml_node_get(node, "from_file"),
                           *secret = yaml_node_get(node, "from_secret");
    const struct yaml_node *empty = file ? yaml_node_get(node, "allow_empty") : NULL;
    const struct yaml_node *value = file ? file : secret;
    const char *text;

    if (!value || node->count != 1U + (empty != NULL)) {
        job_report(reader, key, node, "%s must be a text, {from_file: PATH} or {from_secret: NAME}",
                   variable->name);
        return false;
    }
    if (empty && empty->kind != YAML_BOOL) {
        job_report(reader, key, empty, "%s: allow_empty must be true or false", variable->name);
        return false;
    }
    variable->allow_empty = empty && empty->boolean;
    text = text_of(reader, key, value, 1, file ? 4096 : 255);
    if (!text || !shape_is_right(reader, key, value, file ? job_check_path : job_check_word))
        return false;
    *(file ? &variable->from_file : &variable->from_secret) = strdup(text);
    return true;
}

static void read_variable(struct job_reader *reader, const struct job_key *key, const struct yaml_node *at,
                          const char *name, const struct yaml_node *node, const char *text)
{
    struct job_env variable = {.name = strdup(name)};
    struct error error;
    bool good = false;

    if (!variable.name)
        reader->no_memory = true;
    else if (job_check_variable(name, &error) < 0)
        job_report(reader, key, at, "%s", error.text);
    else if (node->kind == YAML_MAP)
        good = read_source(reader, key, node, &variable);
    else if (node->kind == YAML_NULL)
        job_report(reader, key, at, "%s has no value; nothing is taken from the server's own environment",
                   name);
    else if (!text)
        job_report(reader, key, node, "%s must be a text, {from_file: PATH} or {from_secret: NAME}", name);
    else {
        variable.value = strdup(text);
        good = true;
    }
    if (good && !variable.value && !variable.from_file && !variable.from_secret) {
        reader->no_memory = true;
        good = false;
    }
    if (good)
        put_variable(reader, key, at, &variable);
    else
        job_env_release(&variable);
}

/* "NAME=VALUE" of a list; calls put with the name apart. */
static void read_assignment(struct job_reader *reader, const struct job_key *key,
                            const struct yaml_node *node,
                            void (*put)(struct job_reader *, const struct job_key *, const struct yaml_node *,
                                        const char *, const struct yaml_node *, const char *))
{
    const char *text = text_of(reader, key, node, 1, JOB_BYTES_MAX),
               *equals = text ? strchr(text, '=') : NULL;
    char *name;

    if (!text)
        return;
    if (!equals)
        return job_report(reader, key, node, "'%.80s' must be NAME=VALUE", text);
    name = strndup(text, (size_t)(equals - text));
    if (name)
        put(reader, key, node, name, node, equals + 1);
    else
        reader->no_memory = true;
    free(name);
}

/* A map, or a list of NAME=VALUE as Compose has it; merged into what is there. */
static void
read_assignments(struct job_reader *reader, const struct job_key *key, const struct yaml_node *node,
                 void (*put)(struct job_reader *, const struct job_key *, const struct yaml_node *,
                             const char *, const struct yaml_node *, const char *))
{
    if (node->kind == YAML_MAP)
        for (size_t i = 0; i < node->count; i++)
            put(reader, key, node->keys[i], node->keys[i]->text, node->items[i], node->items[i]->text);
    else if (node->kind == YAML_LIST)
        for (size_t i = 0; i < node->count; i++)
            read_assignment(reader, key, node->items[i], put);
    else
        report_kind(reader, key, node, "a map, or a list of NAME=VALUE");
}

static void read_env(struct job_reader *reader, const struct job_key *key, const struct yaml_node *node)
{
    read_assignments(reader, key, node, read_variable);
}

static void read_label(struct job_reader *reader, const struct job_key *key, const struct yaml_node *at,
                       const char *name, const struct yaml_node *node, const char *text)
{
    json_t **field = job_field(reader->job, key->offset);
    struct error error;

    if (job_check_label(name, &error) < 0)
        return job_report(reader, key, at, "%s", error.text);
    if (!text || node->kind == YAML_NULL)
        return job_report(reader, key, node, "%s must be a text, not %s", name, yaml_kind_name(node->kind));
    if (json_object_size(*field) >= JOB_LIST_MAX && !json_object_get(*field, name))
        return job_report(reader, key, at, "more than %d labels", JOB_LIST_MAX);
    if (!*field)
        *field = json_object();
    if (!*field || json_object_set_new(*field, name, json_string(text)) < 0)
        reader->no_memory = true;
}

static void read_labels(struct job_reader *reader, const struct job_key *key, const struct yaml_node *node)
{
    read_assignments(reader, key, node, read_label);
}

static void read_json(struct job_reader *reader, const struct job_key *key, const struct yaml_node *node)
{
    json_t **field = job_field(reader->job, key->offset), *json;
    int r;

    if (node->kind != YAML_MAP)
        return report_kind(reader, key, node, "a map");
    r = yaml_node_json(node, &json);
    if (r == ERR_INVALID)
        return job_report(reader, key, node, "a number in it is not finite");
    if (r < 0 || (*field && json_object_update_recursive(*field, json) < 0)) {
        reader->no_memory = true;
        if (r == 0)
            json_decref(json);
        return;
    }
    if (*field)
        json_decref(json);
    else
        *field = json;
}

static void read_verdict(struct job_reader *reader, const struct job_key *key, const struct yaml_node *node,
                         struct job_notify *notify)
{
    if (index_of(reader, key, node, job_verdicts) >= 0 && job_strings_add(&notify->on, node->text) < 0)
        reader->no_memory = true;
}

static void read_notification(struct job_reader *reader, const struct job_key *key,
                              const struct yaml_node *node, struct job_notify *notify)
{
    const struct yaml_node *on = yaml_node_get(node, "on"), *url = yaml_node_get(node, "url");
    const struct yaml_node *headers = yaml_node_get(node, "headers"), *sign = yaml_node_get(node, "sign");

    if (node->kind != YAML_MAP)
        return report_kind(reader, key, node, "a list of {on: [VERDICT], url: ADDRESS}");
    for (size_t i = 0; i < node->count; i++)
        if (node->items[i] != on && node->items[i] != url && node->items[i] != headers &&
            node->items[i] != sign)
            job_report(reader, key, node->keys[i], "unknown key '%.80s'; there are on, url, headers and sign",
                       node->keys[i]->text);
    job_read_headers(reader, key, headers, notify);
    job_read_sign(reader, key, sign, notify);
    if (!on || (on->kind == YAML_LIST && on->count == 0))
        job_report(reader, key, on ? on : node, "'on' must name verdicts, such as [failed, lost]");
    else if (on->kind == YAML_LIST)
        for (size_t i = 0; i < on->count && i < JOB_LIST_MAX; i++)
            read_verdict(reader, key, on->items[i], notify);
    else
        read_verdict(reader, key, on, notify);
    if (!url)
        return job_report(reader, key, node, "'url' is missing");
    if (text_of(reader, key, url, 1, 2048) && shape_is_right(reader, key, url, job_check_url)) {
        notify->url = strdup(url->text);
        reader->no_memory |= !notify->url;
    }
}

/* A list of notifications, or one. */
static void read_notify(struct job_reader *reader, const struct job_key *key, const struct yaml_node *node)
{
    const struct yaml_node *const *items = (const struct yaml_node *const *)node->items;
    size_t n = node->count, kept = 0;
    struct job_notify *list;

    if (node->kind != YAML_LIST) {
        items = &node;
        n = 1;
    }
    if (n > JOB_NOTIFY_MAX)
        return job_report(reader, key, node, "has %zu items; at most %d", n, JOB_NOTIFY_MAX);
    list = calloc(n + 1, sizeof(*list));
    if (!list) {
        reader->no_memory = true;
        return;
    }
    for (size_t i = 0; i < n; i++) {
        read_notification(reader, key, items[i], &list[kept]);
        if (list[kept].url && list[kept].on.count > 0)
            kept++;
        else
            job_notify_release(&list[kept]);
    }
    job_key_release(reader->job, key);
    *(struct job_notify **)job_field(reader->job, key->offset) = list;
    *(size_t *)job_field(reader->job, key->count_offset) = kept;
}

/* ---- keys ---- */

static void (*const read_type[JOB_TYPE_COUNT])(struct job_reader *, const struct job_key *,
                                               const struct yaml_node *) = {
    [JOB_TYPE_TEXT] = read_text,         [JOB_TYPE_TEXTS] = read_texts, [JOB_TYPE_ENUM] = read_enum,
    [JOB_TYPE_BOOL] = read_bool,         [JOB_TYPE_INT] = read_int,     [JOB_TYPE_REAL] = read_real,
    [JOB_TYPE_DURATION] = read_duration, [JOB_TYPE_SIZE] = read_size,   [JOB_TYPE_CODES] = read_codes,
    [JOB_TYPE_COMMAND] = read_command,   [JOB_TYPE_ENV] = read_env,     [JOB_TYPE_NOTIFY] = read_notify,
    [JOB_TYPE_LABELS] = read_labels,     [JOB_TYPE_JSON] = read_json,   [JOB_TYPE_ULIMITS] = job_read_ulimits,
};

/* What people know by other names, from Compose, Kubernetes, Chronos and crontabs. */
static const struct {
    const char *theirs, *ours;
} other_names[] = {
    {"activeDeadlineSeconds", "timeout"},
    {"args", "command"},
    {"backoffLimit", "retries.max"},
    {"concurrencyPolicy", "concurrency"},
    {"cpu", "resources.cpus"},
    {"cpus", "resources.cpus"},
    {"cron", "schedule"},
    {"cwd", "working_dir"},
    {"depends_on", "after"},
    {"disabled", "paused"},
    {"enabled", "paused"},
    {"env", "environment"},
    {"epsilon", "start_within"},
    {"mem_limit", "resources.memory"},
    {"memory", "resources.memory"},
    {"networks", "network"},
    {"on_failure", "notify"},
    {"parents", "after"},
    {"restart", "retries"},
    {"retry", "retries"},
    {"startingDeadlineSeconds", "start_within"},
    {"stop_grace_period", "stop_grace"},
    {"suspend", "paused"},
    {"timeZone", "timezone"},
    {"tz", "timezone"},
    {"workdir", "working_dir"},
};

static bool same_group(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static void report_unknown(struct job_reader *reader, const char *group, const struct yaml_node *at)
{
    const char *names[JOB_KEY_COUNT], *near;
    char hint[NEAR_HINT_BUFFER];
    size_t count = 0;

    for (size_t i = 0; i < sizeof(other_names) / sizeof(other_names[0]) && !group; i++)
        if (strcmp(at->text, other_names[i].theirs) == 0)
            return job_report(reader, NULL, at, "unknown key '%s'; here it is '%s'", at->text,
                              other_names[i].ours);
    for (size_t i = 0; i < JOB_KEY_COUNT; i++) {
        const char *in = job_keys[i].group;

        if (same_group(in, group))
            names[count++] = job_keys[i].name;
        else if (!group)
            names[count++] = in;
    }
    near = near_find(at->text, names, count);
    if (near || !group)
        job_report(reader, NULL, at, "unknown key '%.80s'%s", at->text, near_hint(near, hint, sizeof(hint)));
    else
        job_report(reader, NULL, at, "unknown key '%.80s' in %s", at->text, group);
}

static void undo(struct job_reader *reader, size_t id)
{
    job_key_reset(reader->job, &job_keys[id]);
    reader->places[id] = NULL;
}

/* True when the defaults have given keys of that group. */
static bool undo_group(struct job_reader *reader, const char *group)
{
    bool any = false;

    for (size_t i = 0; i < JOB_KEY_COUNT; i++)
        if (same_group(job_keys[i].group, group) && reader->places[i]) {
            undo(reader, i);
            any = true;
        }
    return any;
}

static void read_map(struct job_reader *reader, const char *group, const struct yaml_node *map);

static void read_pair(struct job_reader *reader, const char *group, const struct yaml_node *name,
                      const struct yaml_node *value)
{
    for (size_t i = 0; i < JOB_KEY_COUNT; i++) {
        const struct job_key *key = &job_keys[i];

        if (!same_group(key->group, group) || strcmp(key->name, name->text) != 0) {
            if (group || !key->group || strcmp(key->group, name->text) != 0)
                continue;
            if (value->kind != YAML_NULL || !undo_group(reader, key->group))
                read_map(reader, key->group, value);
            return;
        }
        if (value->kind == YAML_NULL && reader->places[i]) /* what the defaults say is undone */
            return undo(reader, i);
        read_type[key->type](reader, key, value);
        reader->places[i] = value;
        return;
    }
    report_unknown(reader, group, name);
}

static void read_map(struct job_reader *reader, const char *group, const struct yaml_node *map)
{
    const char *kind = yaml_kind_name(map->kind);

    if (map->kind != YAML_MAP && group)
        return job_report(reader, NULL, map, "%s: must be a map of keys, not %s", group, kind);
    if (map->kind != YAML_MAP)
        return job_report(reader, NULL, map, "must be a map of keys, not %s", kind);
    for (size_t i = 0; i < map->count; i++)
        read_pair(reader, group, map->keys[i], map->items[i]);
}

void job_read_layer(struct job_reader *reader, const struct yaml_node *map)
{
    read_map(reader, NULL, map);
}
