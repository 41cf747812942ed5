#include "jobs/definition/jobfile.h"

#include "jobs/base/near.h"
#include "jobs/base/object.h"
#include "jobs/base/printable.h"
#include "jobs/definition/after.h"
#include "jobs/definition/job_keys.h"

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HASH_NONFATAL_OOM          1
#define uthash_nonfatal_oom(entry) ((entry)->hashed = false)
#include "jobs/base/hash_table.h"

#define TOO_MANY "too many errors; the rest is not shown"

struct place {
    int line, column;
};

/* A name and where it was defined. */
struct jobfile_name {
    UT_hash_handle hh;
    bool hashed; /* set to false by uthash when it had no memory */
    char *name, *file;
    int order, line, column;
    struct job *job;     /* the definition, with errors or not; NULL when out of memory */
    struct place *after; /* of each item of job->after */
    struct key_place *keys;
    size_t key_count;
};

/* Where a job got a key from: itself, or the file's defaults. */
struct key_place {
    enum job_key_id id;
    struct place place;
};

/* One file being read. */
struct file {
    struct object object;
    struct yaml_sink sink;
    struct jobfile_set *set;
    const char *name;
    int order;
    struct zone_source *zones;
    size_t first_error; /* in the set's list */
    size_t failed;
    size_t errors_shown, warnings_shown;
    bool no_memory;
    const struct yaml_node *defaults; /* NULL: none that can be used */
    const struct yaml_node *job_key;  /* of the job being read */
};

/* ---- the list of errors ---- */

__attribute__((format(printf, 6, 0))) static int add_errorv(struct jobfile_set *set, int order,
                                                            const char *file, struct place place,
                                                            bool warning, const char *format, va_list ap)
{
    bool last = set->error_count == JOBFILE_SET_ERRORS_MAX;
    struct jobfile_error *grown, e = {.warning = warning, .order = last ? INT_MAX : order};

    if (set->error_count > JOBFILE_SET_ERRORS_MAX) {
        set->failed += !warning;
        return 0;
    }
    grown = realloc(set->errors, (set->error_count + 1) * sizeof(*grown));
    if (!grown)
        return ERR_NOMEM;
    set->errors = grown;
    e.file = strdup(file);
    if (last)
        e.text = strdup("too many errors in all; the rest is not shown");
    else if (vasprintf(&e.text, format, ap) < 0)
        e.text = NULL;
    e.line = last ? 0 : place.line;
    e.column = last ? 0 : place.column;
    if (!e.file || !e.text) {
        free(e.file);
        free(e.text);
        return ERR_NOMEM;
    }
    set->errors[set->error_count++] = e;
    set->failed += !warning;
    return 0;
}

static int add_error(struct jobfile_set *set, int order, const char *file, struct place place, bool warning,
                     const char *format, ...) __attribute__((format(printf, 6, 7)));

static int add_error(struct jobfile_set *set, int order, const char *file, struct place place, bool warning,
                     const char *format, ...)
{
    va_list ap;
    int r;

    va_start(ap, format);
    r = add_errorv(set, order, file, place, warning, format, ap);
    va_end(ap);
    return r;
}

/* That of the last entry, when that is of the same file. */
static int next_order(struct jobfile_set *set, const char *file)
{
    const struct jobfile_error *last = set->error_count ? &set->errors[set->error_count - 1] : NULL;

    return last && strcmp(last->file, file) == 0 ? last->order : ++set->file_count;
}

int jobfile_add_error(struct jobfile_set *set, const char *file, int line, int column, const char *format,
                      ...)
{
    va_list ap;
    int r;

    va_start(ap, format);
    r = add_errorv(set, next_order(set, file), file, (struct place){line, column}, false, format, ap);
    va_end(ap);
    return r;
}

int jobfile_add_warning(struct jobfile_set *set, const char *file, const char *format, ...)
{
    va_list ap;
    int r;

    va_start(ap, format);
    r = add_errorv(set, next_order(set, file), file, (struct place){0, 0}, true, format, ap);
    va_end(ap);
    return r;
}

const char *jobfile_error_format(const struct jobfile_error *e, char *buffer, size_t size)
{
    const char *what = e->warning ? "warning" : "error";

    if (e->line > 0)
        snprintf(buffer, size, "%s:%d:%d: %s: %s", e->file, e->line, e->column, what, e->text);
    else
        snprintf(buffer, size, "%s: %s: %s", e->file, what, e->text);
    printable_text(buffer, true); /* it quotes the file */
    return buffer;
}

static int compare_errors(const void *a, const void *b)
{
    const struct jobfile_error *x = a, *y = b;

    if (x->order != y->order)
        return x->order < y->order ? -1 : 1;
    if (x->line != y->line) /* line 0, the file as a whole, comes last */
        return (unsigned)x->line - 1 < (unsigned)y->line - 1 ? -1 : 1;
    if (x->column != y->column)
        return x->column < y->column ? -1 : 1;
    return strcmp(x->text, y->text);
}

static void sort_errors(struct jobfile_set *set)
{
    if (set->error_count > 0)
        qsort(set->errors, set->error_count, sizeof(set->errors[0]), compare_errors);
}

/* A fault in `defaults` or behind an alias is reported once, however many jobs have it. */
static bool is_known(const struct file *file, struct place place, const char *text)
{
    for (size_t i = file->first_error; i < file->set->error_count; i++) {
        const struct jobfile_error *e = &file->set->errors[i];

        if (e->line == place.line && e->column == place.column && strcmp(e->text, text) == 0)
            return true;
    }
    return false;
}

/* Errors and warnings have bounds of their own, so that no heap of warnings hides an error or becomes one. */
static void report(struct file *file, struct place place, bool warning, const char *text)
{
    size_t *shown = warning ? &file->warnings_shown : &file->errors_shown;

    file->failed += !warning;
    if (*shown > JOBFILE_ERRORS_MAX || is_known(file, place, text))
        return;
    if (++*shown > JOBFILE_ERRORS_MAX) {
        text = warning ? "too many warnings; the rest is not shown" : TOO_MANY;
        place = (struct place){0, 0};
    }
    if (add_error(file->set, file->order, file->name, place, warning, "%s", text) < 0)
        file->no_memory = true;
}

static void reportf(struct file *file, const struct yaml_node *at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void reportf(struct file *file, const struct yaml_node *at, const char *format, ...)
{
    char text[JOB_FAULT_TEXT_MAX];
    va_list ap;

    va_start(ap, format);
    vsnprintf(text, sizeof(text), format, ap);
    va_end(ap);
    report(file, (struct place){at->line, at->column}, false, text);
}

static void on_yaml_fault(struct yaml_sink *sink, int line, int column, const char *text)
{
    report(OBJECT_OF(struct file, sink, sink), (struct place){line, column}, false, text);
}

static void on_job_fault(void *arg, const struct yaml_node *at, int column, bool warning, const char *text)
{
    struct file *file = OBJECT(struct file, arg);

    if (!at) {
        at = file->job_key;
        column = at->column;
    }
    report(file, (struct place){at->line, column}, warning, text);
}

static int on_calendar(void *arg, const char *path, struct civil_range **ret, size_t *ret_count,
                       struct error *error)
{
    struct file *file = OBJECT(struct file, arg);

    return file->set->calendar(file->set->calendar_arg, file->name, path, ret, ret_count, error);
}

static int on_env_file(void *arg, const char *path, char **ret, size_t *ret_size, struct error *error)
{
    struct file *file = OBJECT(struct file, arg);

    return file->set->env_file(file->set->env_file_arg, file->name, path, ret, ret_size, error);
}

/* ---- the set ---- */

void jobfile_set_init(struct jobfile_set *set)
{
    *set = (struct jobfile_set){0};
}

static void name_free(struct jobfile_name *name)
{
    if (!name)
        return;
    job_unref(name->job);
    free(name->name);
    free(name->file);
    free(name->after);
    free(name->keys);
    free(name);
}

void jobfile_set_release(struct jobfile_set *set)
{
    struct jobfile_name *name, *next;

    if (!set)
        return;
    HASH_ITER(hh, set->names, name, next)
    {
        HASH_DEL(set->names, name);
        name_free(name);
    }
    for (size_t i = 0; i < set->count; i++) {
        job_unref(set->jobs[i]);
        free(set->files[i]);
    }
    for (size_t i = 0; i < set->error_count; i++) {
        free(set->errors[i].file);
        free(set->errors[i].text);
    }
    free(set->jobs);
    free(set->files);
    free(set->lines);
    free(set->errors);
    jobfile_set_init(set);
}

static struct jobfile_name *find_name(const struct jobfile_set *set, const char *text)
{
    struct jobfile_name *name = NULL;

    HASH_FIND_STR(set->names, text, name);
    return name;
}

static struct jobfile_name *add_name(struct jobfile_set *set, const char *text, const char *file, int order,
                                     struct place at)
{
    struct jobfile_name *name = calloc(1, sizeof(*name));

    if (!name)
        return NULL;
    *name = (struct jobfile_name){.hashed = true,
                                  .name = strdup(text),
                                  .file = strdup(file),
                                  .order = order,
                                  .line = at.line,
                                  .column = at.column};
    if (name->name && name->file)
        HASH_ADD_KEYPTR(hh, set->names, name->name, strlen(name->name), name);
    if (!name->name || !name->file || !name->hashed) {
        name_free(name);
        return NULL;
    }
    return name;
}

/* Room for one more job in the three parallel arrays. */
static int grow(struct jobfile_set *set)
{
    size_t capacity;
    void *p;

    if (set->count & (set->count - 1)) /* they grow at powers of two */
        return 0;
    capacity = set->count ? set->count * 2 : 1;
    p = realloc(set->jobs, capacity * sizeof(set->jobs[0]));
    if (!p)
        return ERR_NOMEM;
    set->jobs = p;
    p = realloc(set->files, capacity * sizeof(set->files[0]));
    if (!p)
        return ERR_NOMEM;
    set->files = p;
    p = realloc(set->lines, capacity * sizeof(set->lines[0]));
    if (!p)
        return ERR_NOMEM;
    set->lines = p;
    return 0;
}

/* ---- one file ---- */

/* Where each parent is named; found by its text, for items that were refused are not in the job. */
static struct place *after_places(const struct job *job, const struct yaml_node *node)
{
    struct place *places = calloc(job->after.count + 1, sizeof(*places));

    for (size_t i = 0; places && i < job->after.count; i++) {
        places[i] = (struct place){node->line, node->column};
        for (size_t k = 0; node->kind == YAML_LIST && k < node->count; k++) {
            const struct yaml_node *item = node->items[k];

            if (item->text && strcmp(item->text, job->after.items[i]) == 0)
                places[i] = (struct place){item->line, item->column};
        }
    }
    return places;
}

static int remember_keys(const struct job_reader *reader, struct jobfile_name *name)
{
    size_t count = 0;

    for (enum job_key_id id = 0; id < JOB_KEY_COUNT; id++)
        count += reader->places[id] != NULL;
    name->keys = calloc(count + 1, sizeof(*name->keys));
    if (!name->keys)
        return ERR_NOMEM;
    for (enum job_key_id id = 0; id < JOB_KEY_COUNT; id++) {
        const struct yaml_node *at = reader->places[id];

        if (at)
            name->keys[name->key_count++] = (struct key_place){id, {at->line, at->column}};
    }
    return 0;
}

/* What the checks over all files need of a job, good or not. */
static int remember_job(struct job_reader *reader, struct jobfile_name *name)
{
    struct job *job = reader->job;

    if (job->after.count > 0) {
        name->after = after_places(job, reader->places[JOB_KEY_AFTER]);
        if (!name->after)
            return ERR_NOMEM;
    }
    name->job = job_ref(job);
    return remember_keys(reader, name);
}

static int keep_job(struct file *file, struct job *job)
{
    struct jobfile_set *set = file->set;
    char *path = strdup(file->name);

    if (!path || grow(set) < 0) {
        free(path);
        return ERR_NOMEM;
    }
    set->jobs[set->count] = job_ref(job);
    set->files[set->count] = path;
    set->lines[set->count] = file->job_key->line;
    set->count++;
    return 0;
}

/* The name's entry, or NULL after a report. */
static struct jobfile_name *take_name(struct file *file, const struct yaml_node *key)
{
    const struct jobfile_name *other = find_name(file->set, key->text);
    struct jobfile_name *name;

    if (!job_name_valid(key->text)) {
        reportf(file, key, "'%.120s' is not a job's name: a-z, 0-9 and inner '-', at most %d characters",
                key->text, JOB_NAME_MAX);
        return NULL;
    }
    if (other) {
        reportf(file, key, "the job '%s' is defined already, in %s:%d", key->text, other->file, other->line);
        return NULL;
    }
    if (HASH_COUNT(file->set->names) == JOBFILE_JOBS_MAX) {
        reportf(file, key, "more than %d jobs", JOBFILE_JOBS_MAX);
        return NULL;
    }
    name = add_name(file->set, key->text, file->name, file->order, (struct place){key->line, key->column});
    file->no_memory |= !name;
    return name;
}

static void read_job(struct file *file, const struct yaml_node *key, const struct yaml_node *value)
{
    struct job_reader reader = {.arg = file, .job = job_new(key->text)};
    size_t failed = file->failed;
    struct jobfile_name *name;

    file->job_key = key;
    name = take_name(file, key);
    if (!reader.job) {
        file->no_memory = true;
        return;
    }
    if (value->kind == YAML_NULL) {
        reportf(file, key, "the job '%.100s' is empty; write {} if `defaults` has all its keys", key->text);
    } else if (value->kind != YAML_MAP) {
        reportf(file, value, "the job '%.100s' must be a map of keys, not %s", key->text,
                yaml_kind_name(value->kind));
    } else {
        if (file->defaults)
            job_read_layer(&reader, file->defaults); /* silent: reported once, in read_defaults */
        reader.report = on_job_fault;
        reader.calendar = file->set->calendar ? on_calendar : NULL;
        reader.env_file = file->set->env_file ? on_env_file : NULL;
        job_read_layer(&reader, value);
        job_check(&reader, file->zones);
    }
    file->no_memory |= reader.no_memory;
    if (name && remember_job(&reader, name) < 0)
        file->no_memory = true;
    if (file->failed == failed && !file->no_memory && keep_job(file, reader.job) < 0)
        file->no_memory = true;
    job_unref(reader.job);
}

/* Finds what is wrong in the defaults, once for all jobs. */
static void read_defaults(struct file *file, const struct yaml_node *key, const struct yaml_node *value)
{
    struct job_reader reader = {.report = on_job_fault, .arg = file};

    if (value->kind != YAML_MAP)
        return reportf(file, value, "defaults: must be a map of keys, not %s", yaml_kind_name(value->kind));
    reader.job = job_new("defaults");
    if (!reader.job) {
        file->no_memory = true;
        return;
    }
    file->defaults = value;
    file->job_key = key;
    job_read_layer(&reader, value);
    file->no_memory |= reader.no_memory;
    job_unref(reader.job);
}

static void report_unknown(struct file *file, const struct yaml_node *key)
{
    static const char *const names[] = {"jobs", "defaults"};
    const char *near = near_find(key->text, names, 2);
    char hint[NEAR_HINT_BUFFER];

    if (strcmp(key->text, "services") == 0)
        reportf(file, key, "unknown key 'services'; a job file is like a Compose file, but has 'jobs'");
    else if (near)
        reportf(file, key, "unknown key '%.80s'%s", key->text, near_hint(near, hint, sizeof(hint)));
    else
        reportf(file, key, "unknown key '%.80s'; a job file has 'defaults', 'jobs' and 'x-...'", key->text);
}

static void read_root(struct file *file, const struct yaml_node *root)
{
    const struct yaml_node *jobs = yaml_node_get(root, "jobs");

    if (root->kind == YAML_NULL) {
        report(file, (struct place){0, 0}, true, "no jobs in this file");
        return;
    }
    if (root->kind != YAML_MAP)
        return reportf(file, root, "a job file is a map with 'jobs', not %s", yaml_kind_name(root->kind));
    for (size_t i = 0; i < root->count; i++) {
        const char *key = root->keys[i]->text;

        if (strcmp(key, "defaults") == 0)
            read_defaults(file, root->keys[i], root->items[i]);
        else if (strcmp(key, "jobs") != 0 && strncmp(key, "x-", 2) != 0)
            report_unknown(file, root->keys[i]);
    }
    if (!jobs)
        return reportf(file, root, "no 'jobs' in this file");
    if (jobs->kind != YAML_MAP && jobs->kind != YAML_NULL)
        return reportf(file, jobs, "jobs: must be a map of jobs by name, not %s", yaml_kind_name(jobs->kind));
    if (jobs->count == 0)
        report(file, (struct place){jobs->line, jobs->column}, true, "no jobs in this file");
    for (size_t i = 0; i < jobs->count && !file->no_memory; i++)
        read_job(file, jobs->keys[i], jobs->items[i]);
}

int jobfile_read(struct jobfile_set *set, const char *name, const char *text, size_t size,
                 struct zone_source *zones)
{
    static const struct yaml_limits limits = {JOBFILE_BYTES_MAX, JOBFILE_NODES_MAX, JOBFILE_DEPTH_MAX};
    struct file file = {
        .object = OBJECT_MARK(struct file),
        .sink = {on_yaml_fault},
        .set = set,
        .name = name,
        .order = ++set->file_count,
        .zones = zones,
        .first_error = set->error_count,
    };
    struct yaml_doc *doc = NULL;
    int r = yaml_doc_parse(&doc, text, size, &limits, &file.sink);

    if (r == 0)
        read_root(&file, yaml_doc_root(doc));
    yaml_doc_free(doc);
    sort_errors(set);
    if (r == ERR_NOMEM || file.no_memory)
        return ERR_NOMEM;
    return file.failed > 0 ? ERR_INVALID : 0;
}

/* ---- what others say of a job ---- */

/* "resources" and "resources.cpus" are both meant by the key resources.cpus. */
static bool key_is_meant(const struct job_key *key, const char *word, size_t n)
{
    char path[64];

    if (key->group && strlen(key->group) == n && strncmp(key->group, word, n) == 0)
        return true;
    job_key_path(key, path, sizeof(path));
    return strlen(path) == n && strncmp(path, word, n) == 0;
}

int jobfile_add_job_error(struct jobfile_set *set, const char *job, const char *text)
{
    const struct jobfile_name *name = find_name(set, job);
    size_t n = strcspn(text, ":");
    struct place at;

    if (!name)
        return ERR_NOT_FOUND;
    at = (struct place){name->line, name->column};
    for (size_t i = 0; i < name->key_count; i++)
        if (key_is_meant(&job_keys[name->keys[i].id], text, n)) {
            at = name->keys[i].place;
            break;
        }
    return add_error(set, name->order, name->file, at, false, "%s: %s", job, text);
}

/* ---- over all files ---- */

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Every name there is, sorted: the set's and those that the server has. */
static const char **all_names(const struct jobfile_set *set, const char *const *known, size_t known_count,
                              size_t *ret_count)
{
    const char **names = calloc(HASH_COUNT(set->names) + known_count + 1, sizeof(*names));
    size_t n = 0;

    if (!names)
        return NULL;
    for (const struct jobfile_name *name = set->names; name; name = name->hh.next)
        names[n++] = name->name;
    for (size_t i = 0; i < known_count; i++)
        names[n++] = known[i];
    qsort(names, n, sizeof(*names), compare_texts);
    *ret_count = n;
    return names;
}

/* Over all names; what is counted keeps a set of ten thousand wrong ones in bounds. */
struct parents {
    struct object object;
    struct jobfile_set *set;
    const char **names; /* sorted */
    size_t count;
    int order;      /* the file at hand */
    size_t in_file; /* unknown ones in it */
    size_t hints_left;
};

static int report_parent(struct parents *p, const struct jobfile_name *name, size_t i)
{
    const char *parent = name->job->after.items[i], *near = NULL;
    char hint[NEAR_HINT_BUFFER];

    if (p->order != name->order) {
        p->order = name->order;
        p->in_file = 0;
    }
    if (++p->in_file > JOBFILE_ERRORS_MAX) {
        if (p->in_file > JOBFILE_ERRORS_MAX + 1)
            return 0;
        return add_error(p->set, name->order, name->file, (struct place){0, 0}, false, "%s", TOO_MANY);
    }
    if (p->hints_left > 0) {
        p->hints_left--;
        near = near_find(parent, p->names, p->count);
    }
    return add_error(p->set, name->order, name->file, name->after[i], false, "after: there is no job '%s'%s",
                     parent, near_hint(near, hint, sizeof(hint)));
}

static bool find_job(void *arg, const char *name, const struct job **ret)
{
    const struct parents *p = OBJECT(struct parents, arg);

    return bsearch(&name, p->names, p->count, sizeof(*p->names), compare_texts) != NULL;
}

static int on_missing(void *arg, const struct job *job, size_t parent)
{
    struct parents *p = OBJECT(struct parents, arg);

    return report_parent(p, find_name(p->set, job->name), parent);
}

static int on_circle(void *arg, const struct job *const *path, size_t count, size_t parent)
{
    struct parents *p = OBJECT(struct parents, arg);
    const struct jobfile_name *last = find_name(p->set, path[count - 1]->name);
    struct text text;
    int r;

    text_init(&text, AFTER_CIRCLE_TEXT_MAX);
    r = after_circle_text(path, count, &text);
    if (r == 0)
        r = add_error(p->set, last->order, last->file, last->after[parent], false, "after: %s",
                      text_str(&text));
    text_release(&text);
    return r;
}

static int check_after(struct parents *p)
{
    const struct after_check check = {find_job, on_missing, on_circle, p};
    const struct job **jobs = calloc(HASH_COUNT(p->set->names) + 1, sizeof(*jobs));
    size_t count = 0;
    int r;

    if (!jobs)
        return ERR_NOMEM;
    for (const struct jobfile_name *name = p->set->names; name; name = name->hh.next)
        if (name->job)
            jobs[count++] = name->job;
    r = after_check(&check, jobs, count);
    free(jobs);
    return r;
}

int jobfile_finish(struct jobfile_set *set, const char *const *known, size_t known_count)
{
    struct parents p = {.object = OBJECT_MARK(struct parents), .set = set, .hints_left = JOBFILE_HINTS_MAX};
    size_t failed = set->failed;
    int r;

    p.names = all_names(set, known, known_count, &p.count);
    r = p.names ? check_after(&p) : ERR_NOMEM;
    free(p.names);
    sort_errors(set);
    if (r < 0)
        return r;
    return set->failed > failed ? ERR_INVALID : 0;
}
