#include "jobs/definition/job_keys.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char *const job_dialects[] = {"cron", "quartz", NULL};
static const char *const job_dsts[] = {"hybrid", "skip", "both", "utc", NULL};
static const char *const job_pulls[] = {"missing", "always", "never", NULL};
static const char *const job_concurrencies[] = {"forbid", "allow", "replace", "queue", NULL};
static const char *const job_catch_ups[] = {"latest", "none", "all", NULL};
static const char *const job_on_losts[] = {"fail", "rerun", NULL};

const char *const job_verdicts[] = {
    "succeeded", "failed", "timed-out", "killed",  "lost",       "overlap",      "paused",
    "deadline",  "missed", "coalesced", "deleted", "queue-full", "journal-lost", NULL,
};

const struct job_key job_keys[JOB_KEY_COUNT] = {
#define X(id, in, key, kind, field, ...)                                                                     \
    [JOB_KEY_##id] = {.group = in,                                                                           \
                      .name = key,                                                                           \
                      .type = JOB_TYPE_##kind,                                                               \
                      .offset = offsetof(struct job, field),                                                 \
                      ##__VA_ARGS__},
    JOB_KEYS(X)
#undef X
};

const char *job_key_path(const struct job_key *key, char *buffer, size_t size)
{
    if (key->group)
        snprintf(buffer, size, "%s.%s", key->group, key->name);
    else
        snprintf(buffer, size, "%s", key->name);
    return buffer;
}

/* ---- memory ---- */

int job_strings_add(struct strings *strings, const char *text)
{
    char **items = realloc(strings->items, (strings->count + 2) * sizeof(char *));

    if (!items)
        return ERR_NOMEM;
    strings->items = items;
    items[strings->count] = strdup(text);
    if (!items[strings->count])
        return ERR_NOMEM;
    items[++strings->count] = NULL;
    return 0;
}

void job_strings_release(struct strings *strings)
{
    for (size_t i = 0; i < strings->count; i++)
        free(strings->items[i]);
    free(strings->items);
    *strings = (struct strings){0};
}

void job_env_release(struct job_env *variable)
{
    free(variable->name);
    free(variable->value);
    free(variable->from_file);
    free(variable->from_secret);
    *variable = (struct job_env){0};
}

/* The elements of an array, and its count. */
static void release_elements(struct job *job, const struct job_key *key)
{
    void *array = *(void **)job_field(job, key->offset);
    size_t *count = job_field(job, key->count_offset);

    for (size_t i = 0; i < *count; i++) {
        if (key->type == JOB_TYPE_ENV)
            job_env_release(&((struct job_env *)array)[i]);
        else if (key->type == JOB_TYPE_NOTIFY)
            job_notify_release(&((struct job_notify *)array)[i]);
    }
    *count = 0;
}

void job_key_release(struct job *job, const struct job_key *key)
{
    void *field = job_field(job, key->offset);

    switch (key->type) {
    case JOB_TYPE_COMMAND:
        *(bool *)job_field(job, key->flag_offset) = false;
        job_strings_release(field);
        break;
    case JOB_TYPE_TEXTS:
        job_strings_release(field);
        break;
    case JOB_TYPE_ENV:
    case JOB_TYPE_NOTIFY:
    case JOB_TYPE_CODES:
        release_elements(job, key);
        __attribute__((fallthrough));
    case JOB_TYPE_TEXT:
        free(*(void **)field);
        *(void **)field = NULL;
        break;
    case JOB_TYPE_LABELS:
    case JOB_TYPE_JSON:
    case JOB_TYPE_ULIMITS:
        json_decref(*(json_t **)field);
        *(json_t **)field = NULL;
        break;
    default:
        break;
    }
}

void job_key_default(struct job *job, const struct job_key *key)
{
    void *field = job_field(job, key->offset);

    switch (key->type) {
    case JOB_TYPE_TEXT:
        *(char **)field = key->text_standard ? strdup(key->text_standard) : NULL;
        break;
    case JOB_TYPE_INT:
        *(int *)field = (int)key->standard;
        break;
    case JOB_TYPE_REAL:
        *(double *)field = key->real_standard;
        break;
    case JOB_TYPE_DURATION:
    case JOB_TYPE_SIZE:
        *(int64_t *)field = key->standard;
        break;
    default: /* empty, false and the first name are zero */
        break;
    }
}

void job_key_reset(struct job *job, const struct job_key *key)
{
    job_key_release(job, key);
    if (key->type == JOB_TYPE_BOOL)
        *(bool *)job_field(job, key->offset) = false;
    else if (key->type == JOB_TYPE_ENUM)
        *(int *)job_field(job, key->offset) = 0;
    job_key_default(job, key);
}

/* ---- shapes of texts ---- */

bool job_name_valid(const char *name)
{
    size_t n = strlen(name);

    if (n == 0 || n > JOB_NAME_MAX || name[0] == '-' || name[n - 1] == '-')
        return false;
    return strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == n;
}

static bool has_control(const char *s)
{
    for (; *s; s++)
        if ((unsigned char)*s < 0x20 || *s == 0x7F)
            return true;
    return false;
}

int job_check_line(const char *text, struct error *error)
{
    return has_control(text) ? error_set(error, ERR_INVALID, "must be one line without control characters")
                             : 0;
}

int job_check_word(const char *text, struct error *error)
{
    if (has_control(text) || strpbrk(text, " "))
        return error_set(error, ERR_INVALID, "'%.80s' must be one word, without blanks", text);
    return 0;
}

int job_check_name(const char *text, struct error *error)
{
    if (job_name_valid(text))
        return 0;
    return error_set(error, ERR_INVALID,
                     "'%.120s' is not a name: a-z, 0-9 and inner '-', at most %d characters", text,
                     JOB_NAME_MAX);
}

int job_check_resource(const char *text, struct error *error)
{
    for (size_t i = 0; text[i]; i++)
        if (!isalnum((unsigned char)text[i]) && !(i > 0 && strchr("-_.", text[i])))
            return error_set(error, ERR_INVALID,
                             "'%.80s' is not a name: letters, digits, and inner '-', '_' or '.'", text);
    return 0;
}

int job_check_path(const char *text, struct error *error)
{
    if (text[0] != '/' || has_control(text))
        return error_set(error, ERR_INVALID, "'%.200s' must be an absolute path", text);
    return 0;
}

int job_check_image(const char *text, struct error *error)
{
    if (has_control(text) || strpbrk(text, " '\"\\") || strchr("-:/@", text[0]) || strstr(text, "://"))
        return error_set(error, ERR_INVALID,
                         "'%.200s' is not an image reference such as registry.example/name:tag", text);
    return 0;
}

static bool is_volume_name(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!isalnum((unsigned char)s[i]) && !(i > 0 && strchr("_.-", s[i])))
            return false;
    return n > 1;
}

/* SOURCE:TARGET[:ro|rw], the source a volume's name or an absolute path. */
int job_check_volume(const char *text, struct error *error)
{
    const char *target = strchr(text, ':'), *mode = target ? strchr(target + 1, ':') : NULL;
    size_t source_size = target ? (size_t)(target - text) : 0;

    if (!target || source_size == 0 || has_control(text))
        return error_set(error, ERR_INVALID, "'%.200s' must be SOURCE:TARGET or SOURCE:TARGET:ro", text);
    if (text[0] == '.' || text[0] == '~')
        return error_set(
            error, ERR_INVALID,
            "'%.200s': the source must be a volume's name or an absolute path; there is no project folder",
            text);
    if (text[0] != '/' && !is_volume_name(text, source_size))
        return error_set(error, ERR_INVALID,
                         "'%.200s': the source must be a volume's name or an absolute path", text);
    if (target[1] != '/')
        return error_set(error, ERR_INVALID, "'%.200s': the target must be an absolute path", text);
    if (mode && strcmp(mode, ":ro") != 0 && strcmp(mode, ":rw") != 0)
        return error_set(error, ERR_INVALID, "'%.200s': the mode must be ro or rw", text);
    return 0;
}

int job_check_url(const char *text, struct error *error)
{
    size_t scheme = 0;

    if (strncasecmp(text, "https://", 8) == 0)
        scheme = 8;
    else if (strncasecmp(text, "http://", 7) == 0)
        scheme = 7;
    if (!scheme || !text[scheme] || text[scheme] == '/' || has_control(text) || strpbrk(text, " \"<>"))
        return error_set(error, ERR_INVALID, "'%.200s' must be an http:// or https:// address", text);
    return 0;
}

/* By these a job that is itself a client of a server says which: the command line reads them, and nothing sets them. */
static bool is_of_a_client(const char *name)
{
    static const char *const names[] = {"CRONSCHED_SERVER", "CRONSCHED_TOKEN_FILE", "CRONSCHED_CACERT"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return false;
}

int job_check_variable(const char *name, struct error *error)
{
    static const char own[] = "CRONSCHED_";

    for (size_t i = 0; name[i]; i++)
        if (!isalnum((unsigned char)name[i]) && !strchr("_.-", name[i]))
            return error_set(error, ERR_INVALID, "'%.80s' is not a variable's name", name);
    if (!*name || isdigit((unsigned char)*name))
        return error_set(error, ERR_INVALID, "'%.80s' is not a variable's name", name);
    if (strncmp(name, own, sizeof(own) - 1) == 0 && !is_of_a_client(name))
        return error_set(error, ERR_INVALID, "the variables %s* are set by cronsched", own);
    return 0;
}

int job_check_label(const char *name, struct error *error)
{
    static const char own[] = "cronsched.";

    if (!*name || has_control(name) || strpbrk(name, " ="))
        return error_set(error, ERR_INVALID, "'%.80s' is not a label's name", name);
    if (strncmp(name, own, sizeof(own) - 1) == 0)
        return error_set(error, ERR_INVALID, "the labels %s* are set by cronsched", own);
    return 0;
}
