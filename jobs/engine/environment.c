#include "jobs/engine/environment.h"

#include "jobs/base/text.h"
#include "jobs/time/instant.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PREFIX       "CRONSCHED_"
#define PARAM_PREFIX "CRONSCHED_PARAM_"
#define NAME_MAX_LEN 256

/* [A-Za-z_][A-Za-z0-9_]* and what else programs put there (dots, dashes); never '=', blanks or control bytes.
 */
static bool name_valid(const char *name)
{
    size_t len = strlen(name);

    if (len == 0 || len > NAME_MAX_LEN)
        return false;
    for (const unsigned char *c = (const unsigned char *)name; *c; c++)
        if (*c <= ' ' || *c == '=' || *c == 0x7f)
            return false;
    return true;
}

static bool is_ours(const char *name)
{
    return strncmp(name, PREFIX, sizeof(PREFIX) - 1) == 0;
}

/* A linear search: lists are short (JOB_LIST_MAX), and a hash would be more code than it saves time. */
static char **find(const struct environment *e, const char *name)
{
    size_t len = strlen(name);

    for (size_t i = 0; i < e->count; i++)
        if (strncmp(e->items[i], name, len) == 0 && e->items[i][len] == '=')
            return &e->items[i];
    return NULL;
}

static int add(struct environment *e, const char *name, const char *value, struct error *error)
{
    if (!name_valid(name))
        return error_set(error, ERR_INVALID, "environment: '%.64s' is not a name of a variable", name);
    if (find(e, name))
        return error_set(error, ERR_INVALID, "environment: %s is given twice", name);
    size_t value_len = strlen(value), need = strlen(name) + 1 + value_len + 1;
    if (value_len > ENVIRONMENT_VALUE_BYTES)
        return error_set(error, ERR_LIMIT, "environment: %s is longer than %d bytes", name,
                         ENVIRONMENT_VALUE_BYTES);
    if (e->count >= ENVIRONMENT_VARS_MAX)
        return error_set(error, ERR_LIMIT, "environment: more than %d variables", ENVIRONMENT_VARS_MAX);
    if (e->bytes + need > ENVIRONMENT_BYTES)
        return error_set(error, ERR_LIMIT, "environment: more than %d bytes with %s", ENVIRONMENT_BYTES,
                         name);
    char *item = malloc(need);
    if (!item)
        return error_set(error, ERR_NOMEM, "out of memory");
    snprintf(item, need, "%s=%s", name, value);
    e->items[e->count++] = item;
    e->items[e->count] = NULL;
    e->bytes += need;
    return 0;
}

static void wipe(char *s)
{
    if (s)
        explicit_bzero(s, strlen(s));
    free(s);
}

static int add_own(struct environment *e, const struct job *job, environment_resolve *resolve, void *arg,
                   struct error *error)
{
    for (size_t i = 0; i < job->environment_count; i++) {
        const struct job_env *v = &job->environment[i];
        char *fetched = NULL;
        int r;

        if (is_ours(v->name))
            continue;
        if (!v->value) {
            if (!resolve)
                return error_set(error, ERR_UNSUPPORTED, "environment: %s: %s cannot be used here", v->name,
                                 v->from_file ? "from_file" : "from_secret");
            r = resolve(arg, v, &fetched, error);
            if (r < 0) {
                error_prefix(error, "environment: %s: ", v->name);
                return r;
            }
        }
        r = add(e, v->name, v->value ? v->value : fetched, error);
        wipe(fetched);
        if (r < 0)
            return r;
    }
    return 0;
}

/* Whole seconds are written without a fraction: a schedule's times are such, a manual trigger's are not. */
static const char *format_fire(int64_t ms, char *buffer, size_t size)
{
    return instant_format(ms, ms % 1000 == 0 ? INSTANT_S : INSTANT_MS, buffer, size);
}

static int add_scheduler(struct environment *e, const struct engine_request *q, struct error *error)
{
    char attempt[16], epoch[24], fire[TEXT_NUMBER_BUFFER], previous[TEXT_NUMBER_BUFFER] = "";

    snprintf(attempt, sizeof(attempt), "%d", q->attempt);
    snprintf(epoch, sizeof(epoch), "%lld", (long long)q->epoch);
    if (q->previous_fire_ms != 0)
        format_fire(q->previous_fire_ms, previous, sizeof(previous));

    const struct {
        const char *name, *value;
    } table[] = {
        {"CRONSCHED_JOB", q->job->name},
        {"CRONSCHED_RUN", q->run},
        {"CRONSCHED_ATTEMPT", attempt},
        {"CRONSCHED_FIRE_TIME", format_fire(q->fire_ms, fire, sizeof(fire))},
        {"CRONSCHED_PREVIOUS_FIRE_TIME", previous}, /* empty, yet set: scripts run under `set -u` */
        {"CRONSCHED_CAUSE", q->cause ? q->cause : ""},
        {"CRONSCHED_EPOCH", epoch},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
        int r = add(e, table[i].name, table[i].value, error);

        if (r < 0)
            return r;
    }
    return 0;
}

/* "max-rows" -> "CRONSCHED_PARAM_MAX_ROWS" */
static int param_name(const char *key, char *buffer, size_t size, struct error *error)
{
    size_t len = strlen(key), at = sizeof(PARAM_PREFIX) - 1;

    if (len == 0 || at + len >= size)
        return error_set(error, ERR_INVALID, "parameter '%.64s': the name is empty or too long", key);
    memcpy(buffer, PARAM_PREFIX, at);
    for (size_t i = 0; i < len; i++, at++) {
        unsigned char c = (unsigned char)key[i];

        if (c >= 0x80 || !(isalnum(c) || c == '-' || c == '_'))
            return error_set(error, ERR_INVALID,
                             "parameter '%.64s': only letters, digits, '-' and '_' may be in a name", key);
        buffer[at] = c == '-' ? '_' : (char)toupper(c);
    }
    buffer[at] = '\0';
    return 0;
}

static int check_param(const char *name, const json_t *value, struct error *error)
{
    if (!json_is_string(value))
        return error_set(error, ERR_INVALID, "parameter '%.64s' is not a text", name);
    if (strlen(json_string_value(value)) != json_string_length(value))
        return error_set(error, ERR_INVALID, "parameter '%.64s' holds a NUL byte", name);
    return 0;
}

int environment_check_params(const json_t *params, struct error *error)
{
    json_t *seen = json_object(), *value;
    const char *key;
    int r = 0;

    if (!seen)
        return error_set(error, ERR_NOMEM, "out of memory");
    if (json_object_size(params) > ENVIRONMENT_VARS_MAX)
        r = error_set(error, ERR_LIMIT, "more than %d parameters", ENVIRONMENT_VARS_MAX);
    json_object_foreach((json_t *)params, key, value)
    {
        char name[sizeof(PARAM_PREFIX) + NAME_MAX_LEN];

        r = r < 0 ? r : check_param(key, value, error);
        r = r < 0 ? r : param_name(key, name, sizeof(name), error);
        if (r == 0 && json_object_get(seen, name))
            r = error_set(error, ERR_INVALID, "parameter '%.64s': another one gives the variable %s as well",
                          key, name);
        if (r == 0 && json_object_set_new(seen, name, json_true()) < 0)
            r = error_set(error, ERR_NOMEM, "out of memory");
    }
    json_decref(seen);
    return r;
}

static int compare_keys(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int add_params(struct environment *e, const json_t *params, struct error *error)
{
    const char *keys[ENVIRONMENT_VARS_MAX], *key;
    size_t count = 0;
    json_t *value, *object = (json_t *)params; /* jansson's iterators know no const */

    json_object_foreach(object, key, value)
    {
        if (count == ENVIRONMENT_VARS_MAX)
            return error_set(error, ERR_LIMIT, "more than %d parameters", ENVIRONMENT_VARS_MAX);
        keys[count++] = key;
    }
    qsort(keys, count, sizeof(*keys), compare_keys);
    for (size_t i = 0; i < count; i++) {
        char name[sizeof(PARAM_PREFIX) + NAME_MAX_LEN];
        const json_t *v = json_object_get(params, keys[i]);
        int r = check_param(keys[i], v, error);

        if (r == 0)
            r = param_name(keys[i], name, sizeof(name), error);
        if (r == 0)
            r = add(e, name, json_string_value(v), error);
        if (r < 0)
            return r;
    }
    return 0;
}

int environment_build(struct environment *ret, const struct engine_request *request,
                      environment_resolve *resolve, void *arg, struct error *error)
{
    struct environment e = {.items = calloc(ENVIRONMENT_VARS_MAX + 1, sizeof(char *))};

    if (!e.items)
        return error_set(error, ERR_NOMEM, "out of memory");
    int r = add_own(&e, request->job, resolve, arg, error);
    if (r == 0)
        r = add_scheduler(&e, request, error);
    if (r == 0 && request->params)
        r = add_params(&e, request->params, error);
    if (r < 0) {
        environment_release(&e);
        return r;
    }
    *ret = e;
    return 0;
}

void environment_release(struct environment *environment)
{
    if (!environment)
        return;
    for (size_t i = 0; i < environment->count; i++)
        wipe(environment->items[i]);
    free(environment->items);
    *environment = (struct environment){0};
}

bool environment_file_later(int code)
{
    return code == ERR_BUSY || code == ERR_NOMEM || code == ERR_CANCELLED;
}
