/* Files of variables, `env_file`, in Compose's form:
 *
 *   # a comment                  NAME=plain, up to " #" or the end of the line
 *   export NAME=value            NAME='taken as it is, over several lines too'
 *                                NAME="with \n \r \t \" \\ \$"
 *
 * Compose puts in variables of its own environment, for $NAME and for a NAME without a value. Nothing is taken from an
 * environment here, so both are faults. The files are read by whoever reads job files; what the server gets and
 * journals is the environment. A later file wins over an earlier one, the job's `environment` over all.
 */
#include "jobs/definition/job_keys.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

struct cursor {
    const char *at, *end;
    int line;
};

static void skip_blanks(struct cursor *c)
{
    while (c->at < c->end && (*c->at == ' ' || *c->at == '\t'))
        c->at++;
}

static void skip_line(struct cursor *c)
{
    while (c->at < c->end && *c->at != '\n')
        c->at++;
}

/* To the next line that has something; false: there is none. */
static bool next_assignment(struct cursor *c)
{
    for (;;) {
        skip_blanks(c);
        if (c->at < c->end && *c->at == '#')
            skip_line(c);
        if (c->at == c->end)
            return false;
        if (*c->at != '\n' && *c->at != '\r')
            return true;
        c->line += *c->at == '\n';
        c->at++;
    }
}

static int refers(struct error *error)
{
    return error_set(error, ERR_INVALID,
                     "nothing is put in for '$': write the value in single quotes, or \\$ in double ones");
}

/* $NAME or ${NAME}, which Compose would replace. */
static bool is_reference(const char *at, const char *end)
{
    return at + 1 < end && at[0] == '$' && (isalpha((unsigned char)at[1]) || at[1] == '_' || at[1] == '{');
}

static int read_single(struct cursor *c, struct text *value, struct error *error)
{
    const char *close = memchr(c->at + 1, '\'', (size_t)(c->end - c->at - 1));

    if (!close)
        return error_set(error, ERR_INVALID, "the quote is not closed");
    text_add_bytes(value, c->at + 1, (size_t)(close - c->at - 1));
    for (const char *p = c->at; p < close; p++)
        c->line += *p == '\n';
    c->at = close + 1;
    return 0;
}

static int read_double(struct cursor *c, struct text *value, struct error *error)
{
    static const char escapes[] = "n\nr\rt\t\"\"\\\\$$";

    for (c->at++; c->at < c->end && *c->at != '"'; c->at++) {
        const char *escape = NULL;

        for (size_t i = 0; *c->at == '\\' && c->at + 1 < c->end && i + 1 < sizeof(escapes) && !escape; i += 2)
            escape = escapes[i] == c->at[1] ? &escapes[i + 1] : NULL;
        if (is_reference(c->at, c->end))
            return refers(error);
        c->line += *c->at == '\n';
        text_add_bytes(value, escape ? escape : c->at, 1);
        c->at += escape != NULL;
    }
    if (c->at == c->end)
        return error_set(error, ERR_INVALID, "the quote is not closed");
    c->at++;
    return 0;
}

static int read_plain(struct cursor *c, struct text *value, struct error *error)
{
    const char *from = c->at, *to;

    skip_line(c);
    to = c->at;
    for (const char *p = from; p < to; p++) {
        if (is_reference(p, to))
            return refers(error);
        if (*p == '#' && p > from && isblank((unsigned char)p[-1]))
            to = p;
    }
    while (to > from && isspace((unsigned char)to[-1]))
        to--;
    text_add_bytes(value, from, (size_t)(to - from));
    return 0;
}

static int read_value(struct cursor *c, struct text *value, struct error *error)
{
    char quote;
    int r;

    skip_blanks(c);
    quote = c->at < c->end ? *c->at : '\0';
    if (quote != '\'' && quote != '"')
        return read_plain(c, value, error);
    r = quote == '"' ? read_double(c, value, error) : read_single(c, value, error);
    if (r < 0)
        return r;
    skip_blanks(c);
    if (c->at < c->end && *c->at == '#')
        skip_line(c);
    if (c->at < c->end && *c->at != '\n' && *c->at != '\r')
        return error_set(error, ERR_INVALID, "there is something behind the closing quote");
    return 0;
}

static int read_name(struct cursor *c, char **ret, struct error *error)
{
    const char *from = c->at, *to;

    if (c->end - from > 7 && memcmp(from, "export", 6) == 0 && isblank((unsigned char)from[6])) {
        c->at += 6;
        skip_blanks(c);
        from = c->at;
    }
    while (c->at < c->end && *c->at != '=' && *c->at != '\n')
        c->at++;
    for (to = c->at; to > from && isspace((unsigned char)to[-1]);)
        to--;
    if (c->at == c->end || *c->at != '=')
        return error_set(error, ERR_INVALID,
                         "'%.*s' must be NAME=VALUE; nothing is taken from an environment",
                         (int)(to - from < 80 ? to - from : 80), from);
    c->at++;
    *ret = strndup(from, (size_t)(to - from));
    return *ret ? job_check_variable(*ret, error) : error_set(error, ERR_NOMEM, "%s", error_text(ERR_NOMEM));
}

/* ---- into the job ---- */

static struct job_env *find_variable(struct job_env *list, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(list[i].name, name) == 0)
            return &list[i];
    return NULL;
}

/* Behind the `own` variables of the job, which win. Takes over both texts. */
static int put(struct job *job, size_t own, char *name, char *value, struct error *error)
{
    struct job_env *found = find_variable(job->environment, job->environment_count, name), *grown;
    bool is_own = found && found < job->environment + own;

    if (found) {
        if (!is_own) {
            free(found->value);
            found->value = value;
        }
        free(is_own ? value : NULL);
        free(name);
        return 0;
    }
    grown = job->environment_count < JOB_LIST_MAX
                ? realloc(job->environment, (job->environment_count + 1) * sizeof(*grown))
                : NULL;
    if (!grown) {
        free(name);
        free(value);
        return job->environment_count < JOB_LIST_MAX
                   ? error_set(error, ERR_NOMEM, "%s", error_text(ERR_NOMEM))
                   : error_set(error, ERR_LIMIT, "more than %d variables", JOB_LIST_MAX);
    }
    job->environment = grown;
    grown[job->environment_count++] = (struct job_env){.name = name, .value = value};
    return 0;
}

static int read_assignment(struct job *job, size_t own, struct cursor *c, struct error *error)
{
    struct text value;
    char *name = NULL, *copy = NULL;
    int r;

    text_init(&value, JOB_BYTES_MAX);
    r = read_name(c, &name, error);
    if (r == 0)
        r = read_value(c, &value, error);
    if (r == 0 && value.failed)
        r = error_set(error, value.failed, "a value of more than %d bytes", JOB_BYTES_MAX);
    if (r == 0) {
        copy = strdup(text_str(&value));
        r = copy ? put(job, own, name, copy, error)
                 : error_set(error, ERR_NOMEM, "%s", error_text(ERR_NOMEM));
    }
    if (!copy)
        free(name);
    text_release(&value);
    return r;
}

static int read_text(struct job *job, size_t own, const char *path, const char *bytes, size_t size,
                     struct error *error)
{
    struct cursor c = {.at = bytes, .end = bytes + size, .line = 1};
    int line = 1, r = 0;

    if (memchr(bytes, '\0', size))
        return error_set(error, ERR_INVALID, "%.500s: a NUL character", path);
    while (r == 0 && next_assignment(&c)) {
        line = c.line;
        r = read_assignment(job, own, &c, error);
    }
    if (r < 0 && r != ERR_NOMEM)
        error_prefix(error, "%.500s:%d: ", path, line);
    return r;
}

void job_expand_env_files(struct job_reader *reader)
{
    struct job *job = reader->job;
    const struct job_key *key = &job_keys[JOB_KEY_ENV_FILE];
    size_t own = job->environment_count;

    for (size_t i = 0; i < job->env_file.count; i++) {
        const char *path = job->env_file.items[i];
        const struct yaml_node *at = job_item_node(reader, JOB_KEY_ENV_FILE, path);
        struct error error;
        char *bytes = NULL;
        size_t size = 0;
        int r;

        if (!reader->env_file) {
            job_report(reader, key, at,
                       "files are read beside a job file only; give their variables as environment");
            break;
        }
        r = reader->env_file(reader->arg, path, &bytes, &size, &error);
        if (r == 0)
            r = read_text(job, own, path, bytes, size, &error);
        if (r == ERR_NOMEM)
            reader->no_memory = true;
        else if (r < 0)
            job_report(reader, key, at, "%s", error.text);
        if (bytes)
            explicit_bzero(bytes, size);
        free(bytes);
    }
    job_key_release(job, key);
}
