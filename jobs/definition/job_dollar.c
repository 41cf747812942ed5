/* What `$` does not do here: nothing is filled in, as Compose fills in ${NAME} and makes $$ one $, and without a shell nothing
 * expands $NAME, $(...) and `...`. Warnings alone: each of these may be meant.
 */
#include "jobs/definition/job_keys.h"

#include <stdio.h>
#include <string.h>

#define SHOWN_MAX 60 /* bytes of a text that are repeated */

static bool is_name_start(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static size_t name_length(const char *s)
{
    return is_name_start(*s) ? strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789")
                             : 0;
}

/* ${NAME}, ${NAME:-other} and the like at s; its length, or 0. */
static size_t braced_length(const char *s)
{
    size_t n = s[0] == '$' && s[1] == '{' ? name_length(s + 2) : 0, end;

    if (n == 0 || !strchr("}:-+?", s[2 + n]))
        return 0;
    end = strcspn(s, "}");
    return s[end] == '}' ? end + 1 : 0;
}

/* $$NAME, $${ and $$(: Compose's way to write one $. $$ alone is a shell's process id. */
static size_t doubled_length(const char *s)
{
    return s[0] == '$' && s[1] == '$' && (is_name_start(s[2]) || s[2] == '{' || s[2] == '(')
               ? 2 + name_length(s + 2)
               : 0;
}

static const char *find(const char *text, size_t (*length)(const char *s), size_t *ret_length)
{
    for (const char *s = strchr(text, '$'); s; s = strchr(s + 1, '$')) {
        *ret_length = length(s);
        if (*ret_length > 0)
            return s;
    }
    return NULL;
}

static size_t shown(size_t length)
{
    return length < SHOWN_MAX ? length : SHOWN_MAX;
}

/* ---- commands ---- */

static bool is_shell(const char *program)
{
    static const char *const shells[] = {"sh",  "bash", "dash", "ash",     "ksh", "mksh",
                                         "zsh", "fish", "csh",  "busybox", "env", "eval"};
    const char *slash = strrchr(program, '/');

    program = slash ? slash + 1 : program;
    for (size_t i = 0; i < sizeof(shells) / sizeof(shells[0]); i++)
        if (strcmp(program, shells[i]) == 0)
            return true;
    return false;
}

/* Whether one of the words is a shell, which then expands what follows: sudo -u x sh -c "..." */
static bool has_shell(const struct strings *words)
{
    for (size_t i = 0; i < words->count; i++)
        if (is_shell(words->items[i]))
            return true;
    return false;
}

/* What a shell would have acted upon in this word; its length, or 0. A $NAME among other text may be of any language. */
static size_t expansion(const char *word, const char **ret)
{
    size_t n;

    *ret = find(word, braced_length, &n);
    if (*ret)
        return n;
    *ret = strstr(word, "$(");
    if (*ret)
        return strcspn(*ret, ")") + 1;
    *ret = word;
    n = word[0] == '$' ? name_length(word + 1) : 0;
    if (n > 0 && strspn(word + 1 + n, "/.:-") == strlen(word + 1 + n))
        return 1 + n;
    return word[0] == '`' ? strlen(word) : 0;
}

static void check_words(struct job_reader *reader, enum job_key_id id, const struct strings *words,
                        bool shell)
{
    const struct yaml_node *place = reader->places[id];

    for (size_t i = 0; i < words->count; i++) {
        const char *word = words->items[i], *at;
        const struct yaml_node *node = place && place->kind == YAML_LIST ? job_item_node(reader, id, word)
                                                                         : place;
        size_t n, whole = strlen(word);

        at = find(word, doubled_length, &n);
        if (at) {
            job_warn(reader, &job_keys[id], node,
                     "'%.*s' stays as it is: one $ is written as one, unlike in Compose", (int)shown(n), at);
            return;
        }
        n = shell ? 0 : expansion(word, &at);
        if (n > 0) {
            n = n < whole - (size_t)(at - word) ? n : whole - (size_t)(at - word);
            job_warn(reader, &job_keys[id], node,
                     "no shell runs this, and nothing is filled in as in Compose: '%.*s' is passed on as it "
                     "is; for a "
                     "shell write [sh, -c, \"...\"]",
                     (int)shown(n), at);
            return;
        }
    }
}

/* In a text that is split, single quotes have said that it is meant so. */
static bool is_literal(const struct yaml_node *place)
{
    return place && place->kind != YAML_LIST && place->text && strchr(place->text, '\'');
}

/* ---- variables ---- */

/* The value is not repeated: it may be a password. */
static void check_environment(struct job_reader *reader)
{
    const struct job *job = reader->job;
    size_t n;

    for (size_t i = 0; i < job->environment_count; i++) {
        const struct job_env *v = &job->environment[i];

        if (!v->value)
            continue;
        if (find(v->value, braced_length, &n))
            job_warn(reader, &job_keys[JOB_KEY_ENVIRONMENT], reader->places[JOB_KEY_ENVIRONMENT],
                     "%s: its ${...} is not filled in, as Compose does: it is passed on as it is", v->name);
        else if (find(v->value, doubled_length, &n))
            job_warn(reader, &job_keys[JOB_KEY_ENVIRONMENT], reader->places[JOB_KEY_ENVIRONMENT],
                     "%s: its $$ stays as it is: one $ is written as one, unlike in Compose", v->name);
    }
}

void job_check_dollars(struct job_reader *reader)
{
    const struct job *job = reader->job;
    bool shell = has_shell(&job->entrypoint) || has_shell(&job->command);

    if (!is_literal(reader->places[JOB_KEY_ENTRYPOINT]))
        check_words(reader, JOB_KEY_ENTRYPOINT, &job->entrypoint, shell);
    if (!is_literal(reader->places[JOB_KEY_COMMAND]))
        check_words(reader, JOB_KEY_COMMAND, &job->command, shell);
    check_environment(reader);
}
