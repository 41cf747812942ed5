/* A job from its canonical form: read and checked like a job file; the first fault is reported. */
#include "jobs/base/object.h"
#include "jobs/definition/job.h"

#include "jobs/definition/job_keys.h"

#include <string.h>

/* The first fault, and how many follow. */
struct first_fault {
    struct object object;
    char text[ERROR_TEXT_MAX];
    size_t count;
};

static void on_fault(void *arg, const struct yaml_node *at, int column, bool warning, const char *text)
{
    struct first_fault *first = OBJECT(struct first_fault, arg);
    struct error e;

    if (warning)
        return;
    if (first->count++ > 0)
        return;
    error_set(&e, ERR_INVALID, "%s", text);
    memcpy(first->text, e.text, sizeof(first->text));
}

static int fault_error(const struct first_fault *first, struct error *error)
{
    if (first->count == 1)
        return error_set(error, ERR_INVALID, "%s", first->text);
    return error_set(error, ERR_INVALID, "%s (and %zu more)", first->text, first->count - 1);
}

static const char *tree_fault(int code)
{
    switch (code) {
    case ERR_LIMIT:
        return "nested too deep";
    case ERR_INVALID:
        return "a NUL character in a text";
    default:
        return error_text(code);
    }
}

int job_from_json(struct job **ret, const char *name, const json_t *json, struct zone_source *zones,
                  struct error *error)
{
    struct first_fault first = {.object = OBJECT_MARK(struct first_fault)};
    struct job_reader reader = {.report = on_fault, .arg = &first};
    struct yaml_doc *doc = NULL;
    int r;

    if (!job_name_valid(name))
        return error_set(error, ERR_INVALID,
                         "'%.120s' is not a job's name: a-z, 0-9 and inner '-', at most %d characters", name,
                         JOB_NAME_MAX);
    if (!json_is_object(json))
        return error_set(error, ERR_INVALID, "a job must be an object");
    r = yaml_doc_from_json(&doc, json, JOB_DEPTH_MAX);
    if (r < 0)
        return error_set(error, r, "%s", tree_fault(r));
    reader.job = job_new(name);
    if (reader.job) {
        job_read_layer(&reader, yaml_doc_root(doc));
        job_check(&reader, zones);
    }
    yaml_doc_free(doc);
    if (!reader.job || reader.no_memory)
        r = error_set(error, ERR_NOMEM, "%s", error_text(ERR_NOMEM));
    else if (reader.faults > 0)
        r = fault_error(&first, error);
    if (r < 0)
        job_unref(reader.job);
    else
        *ret = reader.job;
    return r;
}
