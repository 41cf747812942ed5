#include "cronsched/io/variable_files.h"

#include "jobs/base/alloc.h"
#include "jobs/base/object.h"
#include "jobs/base/path.h"

#include <stdlib.h>
#include <string.h>

struct reading {
    struct object object;
    const struct job *job;
    variable_files_done *done;
    void *arg;
};

/* ---- where they may lie ---- */

/* The narrowest folder that the path has to stay below, links and all; *ret NULL: none. */
static int find_folder(const char *path, const struct variable_files_limits *limits, const char **ret,
                       struct error *error)
{
    const json_t *files = json_object_get(limits->allow, "files"), *item;
    const char *folder = NULL;
    size_t i;

    *ret = limits->files_dir;
    if (limits->files_dir && !path_is_below(path, limits->files_dir))
        return error_set(error, ERR_DENIED, "'%.500s' is not below %.200s, the configuration's files_dir",
                         path, limits->files_dir);
    json_array_foreach(files, i, item) if (path_is_below(path, json_string_value(item)))
        folder = json_string_value(item);
    if (limits->allow && !folder && (files || !limits->files_dir))
        return error_set(error, ERR_DENIED, "'%.500s' is not allowed by the engine's configuration", path);
    if (folder && (!*ret || strlen(folder) > strlen(*ret)))
        *ret = folder;
    return 0;
}

static int check_notify_file(const char *path, const struct variable_files_limits *limits,
                             struct error *error)
{
    const char *folder;

    if (!path)
        return 0;
    if (!limits->files_dir)
        return error_set(
            error, ERR_DENIED,
            "notify: '%.500s' is not read: the configuration names no files_dir that it lies below", path);
    return find_folder(path, limits, &folder, error) < 0 ? error_prefix(error, "notify: ") : 0;
}

int variable_files_check(const struct job *job, const struct variable_files_limits *limits,
                         struct error *error)
{
    for (size_t i = 0; i < job->notify_count; i++) {
        const struct job_notify *notify = &job->notify[i];
        int rc = check_notify_file(notify->sign, limits, error);

        for (size_t k = 0; k < notify->header_count && rc == 0; k++)
            rc = check_notify_file(notify->headers[k].from_file, limits, error);
        if (rc < 0)
            return rc;
    }
    for (size_t i = 0; i < job->environment_count; i++) {
        const struct job_env *v = &job->environment[i];
        const char *folder;

        if (v->from_file && find_folder(v->from_file, limits, &folder, error) < 0)
            return error_prefix(error, "environment: %s: ", v->name);
    }
    return 0;
}

/* ---- reading ---- */

int variable_files_value(const char *data, size_t size, bool allow_empty, char **ret, struct error *error)
{
    char *value;

    if (size > 0 && data[size - 1] == '\n')
        size--;
    if (size == 0 && !allow_empty)
        return error_set(error, ERR_INVALID, "the file is empty; allow_empty: true takes that");
    if (size > VARIABLE_FILE_VALUE_BYTES)
        return error_set(error, ERR_LIMIT, "the file is longer than %d bytes", VARIABLE_FILE_VALUE_BYTES);
    if (memchr(data, '\0', size))
        return error_set(error, ERR_INVALID, "the file holds a NUL byte");
    value = malloc(size + 1);
    if (!value)
        return error_set(error, ERR_NOMEM, "out of memory");
    memcpy(value, data, size);
    value[size] = '\0';
    *ret = value;
    return 0;
}

void variable_files_release(char **values, size_t count)
{
    for (size_t i = 0; values && i < count; i++) {
        if (values[i])
            explicit_bzero(values[i], strlen(values[i]));
        free(values[i]);
    }
    free(values);
}

static void on_read(void *arg, const struct file_content *files, size_t count, size_t at,
                    const struct error *failure)
{
    struct reading *r = OBJECT(struct reading, arg);
    char **values = alloc_zero((count + 1) * sizeof(*values));
    struct error error = failure ? *failure : (struct error){0};

    for (size_t i = 0; i < count && !error.code; i++) {
        const struct job_env *v = &r->job->environment[i];

        if (files[i].data &&
            variable_files_value(files[i].data, files[i].size, v->allow_empty, &values[i], &error) < 0)
            error_prefix(&error, "the file %.500s cannot be taken: ", files[i].path);
        at = error.code ? i : at;
    }
    if (error.code) {
        error_prefix(&error, "environment: %s: ", r->job->environment[at].name);
        variable_files_release(values, count);
        values = NULL;
    }
    r->done(r->arg, values, count, error.code ? &error : NULL);
    OBJECT_FREE(struct reading, r);
}

bool variable_files_read(struct file_reader *reader, const struct job *job,
                         const struct variable_files_limits *limits, variable_files_done *done, void *arg)
{
    const char *paths[JOB_LIST_MAX], *folders[JOB_LIST_MAX];
    struct reading *r;
    bool any = false;

    for (size_t i = 0; i < job->environment_count; i++) {
        paths[i] = job->environment[i].from_file;
        folders[i] = NULL;
        if (paths[i])
            find_folder(paths[i], limits, &folders[i], NULL);
        any |= paths[i] != NULL;
    }
    if (!any)
        return false;
    r = OBJECT_NEW(struct reading);
    r->job = job;
    r->done = done;
    r->arg = arg;
    file_reader_read(reader, paths, folders, job->environment_count, VARIABLE_FILE_VALUE_BYTES + 1, on_read,
                     r);
    return true;
}
