#include "jobs/definition/job.h"

#include "jobs/base/byte_size.h"
#include "jobs/base/duration.h"
#include "jobs/definition/job_keys.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- life ---- */

struct job *job_new(const char *name)
{
    struct job *job = calloc(1, sizeof(*job));

    if (!job)
        return NULL;
    job->refs = 1;
    job->name = strdup(name);
    for (size_t i = 0; i < JOB_KEY_COUNT; i++)
        job_key_default(job, &job_keys[i]);
    if (!job->name || !job->timezone) {
        job_unref(job);
        return NULL;
    }
    return job;
}

struct job *job_ref(struct job *job)
{
    assert(job->refs > 0);
    job->refs++;
    return job;
}

void job_unref(struct job *job)
{
    if (!job)
        return;
    assert(job->refs > 0);
    if (--job->refs > 0)
        return;
    for (size_t i = 0; i < JOB_KEY_COUNT; i++)
        job_key_release(job, &job_keys[i]);
    free(job->name);
    free(job);
}

/* ---- to JSON ---- */

static json_t *json_of_strings(const struct strings *strings)
{
    json_t *list = json_array();

    for (size_t i = 0; i < strings->count; i++)
        if (json_array_append_new(list, json_string(strings->items[i])) < 0) {
            json_decref(list);
            return NULL;
        }
    return list;
}

static json_t *json_of_texts(const struct job_key *key, const struct strings *strings)
{
    return key->one && strings->count == 1 ? json_string(strings->items[0]) : json_of_strings(strings);
}

json_t *job_env_json(const struct job_env *v)
{
    if (v->value)
        return json_string(v->value);
    if (v->from_file && v->allow_empty)
        return json_pack("{s:s, s:b}", "from_file", v->from_file, "allow_empty", 1);
    if (v->from_file)
        return json_pack("{s:s}", "from_file", v->from_file);
    return json_pack("{s:s}", "from_secret", v->from_secret);
}

static json_t *json_of_environment(const struct job *job)
{
    json_t *map = json_object();

    for (size_t i = 0; i < job->environment_count; i++) {
        const struct job_env *v = &job->environment[i];

        if (json_object_set_new(map, v->name, job_env_json(v)) < 0) {
            json_decref(map);
            return NULL;
        }
    }
    return map;
}

static json_t *json_of_notify(const struct job *job)
{
    json_t *list = json_array();

    for (size_t i = 0; i < job->notify_count; i++) {
        const struct job_notify *notify = &job->notify[i];
        json_t *item = json_pack("{s:o, s:s}", "on", json_of_strings(&notify->on), "url", notify->url);
        json_t *headers = job_notify_headers(notify);
        bool good = headers && json_object_update(item, headers) == 0;

        json_decref(headers);
        if (json_array_append_new(list, item) < 0 || !good) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static json_t *json_of_codes(const int *codes, size_t count)
{
    json_t *list = json_array();

    for (size_t i = 0; i < count; i++)
        if (json_array_append_new(list, json_integer(codes[i])) < 0) {
            json_decref(list);
            return NULL;
        }
    return list;
}

/* 2, not 2.0: as people write it. */
static json_t *json_of_real(double value)
{
    return value == trunc(value) && fabs(value) < 1e15 ? json_integer((json_int_t)value) : json_real(value);
}

/* json_deep_copy leaves out what it has no memory for, and does not say so. */
static json_t *json_of_json(json_t *json)
{
    json_t *copy = json_deep_copy(json);

    if (copy && json_equal(copy, json))
        return copy;
    json_decref(copy);
    return NULL;
}

/* Whether the key is as if it had not been given. */
static bool is_default(const struct job *job, const struct job_key *key)
{
    const void *field = job_field(job, key->offset);
    const char *text;

    switch (key->type) {
    case JOB_TYPE_TEXT:
        text = *(char *const *)field;
        return !text || (key->text_standard && strcmp(text, key->text_standard) == 0);
    case JOB_TYPE_TEXTS:
        return ((const struct strings *)field)->count == 0;
    case JOB_TYPE_ENUM:
        return *(const unsigned *)field == 0;
    case JOB_TYPE_BOOL:
        return !*(const bool *)field;
    case JOB_TYPE_INT:
        return *(const int *)field == key->standard;
    case JOB_TYPE_REAL:
        return *(const double *)field == key->real_standard;
    case JOB_TYPE_DURATION:
    case JOB_TYPE_SIZE:
        return *(const int64_t *)field == key->standard;
    case JOB_TYPE_COMMAND:
        return !*(const bool *)job_field(job, key->flag_offset);
    case JOB_TYPE_CODES:
    case JOB_TYPE_ENV:
    case JOB_TYPE_NOTIFY:
        return *(const size_t *)job_field(job, key->count_offset) == 0;
    case JOB_TYPE_LABELS:
    case JOB_TYPE_JSON:
    case JOB_TYPE_ULIMITS:
        return json_object_size(*(json_t *const *)field) == 0;
    case JOB_TYPE_COUNT:
        break;
    }
    assert(false);
    return true;
}

static json_t *json_of_key(const struct job *job, const struct job_key *key)
{
    const void *field = job_field(job, key->offset);
    char buffer[TEXT_NUMBER_BUFFER];

    switch (key->type) {
    case JOB_TYPE_TEXT:
        return json_string(*(char *const *)field);
    case JOB_TYPE_TEXTS:
        return json_of_texts(key, field);
    case JOB_TYPE_ENUM:
        return json_string(key->names[*(const unsigned *)field]);
    case JOB_TYPE_BOOL:
        return json_true();
    case JOB_TYPE_INT:
        return json_integer(*(const int *)field);
    case JOB_TYPE_REAL:
        return json_of_real(*(const double *)field);
    case JOB_TYPE_DURATION:
        return json_string(duration_format(*(const int64_t *)field, buffer, sizeof(buffer)));
    case JOB_TYPE_SIZE:
        return json_string(byte_size_format(*(const int64_t *)field, buffer, sizeof(buffer)));
    case JOB_TYPE_CODES:
        return json_of_codes(*(int *const *)field, *(const size_t *)job_field(job, key->count_offset));
    case JOB_TYPE_COMMAND:
        return json_of_strings(field);
    case JOB_TYPE_ENV:
        return json_of_environment(job);
    case JOB_TYPE_NOTIFY:
        return json_of_notify(job);
    case JOB_TYPE_LABELS:
    case JOB_TYPE_JSON:
    case JOB_TYPE_ULIMITS:
        return json_of_json(*(json_t *const *)field);
    case JOB_TYPE_COUNT:
        break;
    }
    assert(false);
    return NULL;
}

json_t *job_to_json(const struct job *job)
{
    json_t *root = json_object();

    for (size_t i = 0; i < JOB_KEY_COUNT && root; i++) {
        const struct job_key *key = &job_keys[i];
        json_t *map = root;
        bool done = true;

        if (is_default(job, key))
            continue;
        if (key->group) {
            map = json_object_get(root, key->group);
            if (!map) {
                map = json_object();
                done = json_object_set_new(root, key->group, map) == 0;
            }
        }
        if (!done || json_object_set_new(map, key->name, json_of_key(job, key)) < 0) {
            json_decref(root);
            return NULL;
        }
    }
    return root;
}

bool job_equal(const struct job *a, const struct job *b)
{
    json_t *x, *y;
    bool equal;

    if (a == b)
        return true;
    if (strcmp(a->name, b->name) != 0)
        return false;
    x = job_to_json(a);
    y = job_to_json(b);
    equal = x && y && json_equal(x, y);
    json_decref(x);
    json_decref(y);
    return equal;
}

/* ---- schedule ---- */

void job_schedule_options(const struct job *job, uint64_t seed, int64_t anchor_s,
                          struct schedule_options *ret)
{
    *ret = (struct schedule_options){
        /* UTC is also the default: a TZ= prefix may still name another zone */
        .zone = strcmp(job->timezone, "UTC") == 0 ? NULL : job->timezone,
        .dialect = job->dialect,
        .dst = job->dst,
        .job = job->name,
        .seed = seed,
        .anchor_s = anchor_s,
        .start = job->start,
        .end = job->end,
        .except = (const char *const *)job->except.items,
        .except_count = job->except.count,
        .jitter_ms = job->jitter_ms,
    };
}

int job_compile(const struct job *job, uint64_t seed, int64_t anchor_s, struct zone_source *zones,
                struct schedule **ret, struct error *error)
{
    struct schedule_options options;

    if (job->schedule.count == 0) {
        *ret = NULL;
        return 0;
    }
    job_schedule_options(job, seed, anchor_s, &options);
    return schedule_new(ret, (const char *const *)job->schedule.items, job->schedule.count, &options, zones,
                        NULL, error);
}
