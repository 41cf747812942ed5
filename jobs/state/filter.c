/* See filter.h. */
#include "jobs/state/filter.h"

#include "jobs/base/alloc.h"
#include "jobs/base/near.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

enum filter_key {
#define X(key, jobs, runs) KEY_##key,
    FILTER_KEYS(X)
#undef X
        KEY_COUNT,
    KEY_WORD = KEY_COUNT
};

static const struct {
    const char *name;
    bool of[2];
} keys[] = {
#define X(key, jobs, runs) [KEY_##key] = {#key, {jobs, runs}},
    FILTER_KEYS(X)
#undef X
};

struct term {
    enum filter_key key;
    char text[FILTER_VALUE_MAX + 3]; /* of a word: between two stars */
};

struct filter {
    enum filter_of of;
    struct term terms[FILTER_TERMS_MAX];
    size_t count;
};

/* ---- patterns ---- */

static int fold(char c, bool same_case)
{
    return same_case ? (unsigned char)c : tolower((unsigned char)c);
}

/* Of several stars the last one alone is tried again: it is enough. */
bool filter_glob(const char *pattern, const char *text, bool same_case)
{
    const char *star = NULL, *from = NULL;

    while (*text) {
        if (*pattern == '*') {
            star = ++pattern;
            from = text;
        } else if (fold(*pattern, same_case) == fold(*text, same_case)) {
            pattern++;
            text++;
        } else if (star) {
            pattern = star;
            text = ++from;
        } else {
            return false;
        }
    }
    while (*pattern == '*')
        pattern++;
    return *pattern == '\0';
}

/* Any of the values between commas. */
static bool any_of(const char *values, const char *text)
{
    while (*values) {
        char value[FILTER_VALUE_MAX + 3];
        size_t n = strcspn(values, ",");

        memcpy(value, values, n);
        value[n] = '\0';
        if (filter_glob(value, text, true))
            return true;
        values += n + (values[n] == ',');
    }
    return false;
}

/* ---- reading ---- */

static int unknown(enum filter_of of, const char *name, struct error *error)
{
    const char *names[KEY_COUNT];
    char hint[NEAR_HINT_BUFFER];
    size_t count = 0;

    for (int k = 0; k < KEY_COUNT; k++)
        if (keys[k].of[of])
            names[count++] = keys[k].name;
    return error_set(error, ERR_INVALID,
                     "q: there is no key '%.40s'%s (a word with a colon: put it in \"quotes\")", name,
                     near_hint(near_find(name, names, count), hint, sizeof(hint)));
}

/* Each value, unless it has a star, is one of these. */
static int check_words(const char *key, const char *values, const char *const *words, size_t count,
                       struct error *error)
{
    while (*values) {
        char value[FILTER_VALUE_MAX + 3], hint[NEAR_HINT_BUFFER];
        size_t n = strcspn(values, ","), i = 0;

        memcpy(value, values, n);
        value[n] = '\0';
        while (i < count && strcmp(words[i], value) != 0)
            i++;
        if (i == count && !strchr(value, '*'))
            return error_set(error, ERR_INVALID, "%s: there is no '%.40s'%s", key, value,
                             near_hint(near_find(value, words, count), hint, sizeof(hint)));
        values += n + (values[n] == ',');
    }
    return 0;
}

static int check_value(enum filter_of of, enum filter_key key, const char *value, struct error *error)
{
    static const char *const of_job[] = {"ok", "failing", "running", "paused", "never"};
    static const char *const yes_no[] = {"yes", "no"};
    const char *words[VERDICT_COUNT + RUN_STATE_COUNT + CAUSE_COUNT];
    size_t count = 0;

    if (key == KEY_paused)
        return check_words("paused", value, yes_no, 2, error);
    if (key == KEY_state && of == FILTER_JOBS)
        return check_words("state", value, of_job, sizeof(of_job) / sizeof(of_job[0]), error);
    if (key == KEY_state) {
        for (enum run_state s = 0; s < RUN_STATE_COUNT; s++)
            words[count++] = run_state_name(s);
    } else if (key == KEY_verdict) {
        for (enum run_verdict v = VERDICT_NONE + 1; v < VERDICT_COUNT; v++)
            words[count++] = run_verdict_name(v);
    } else if (key == KEY_cause) {
        for (enum run_cause c = CAUSE_NONE + 1; c < CAUSE_COUNT; c++)
            words[count++] = run_cause_name(c);
    }
    return count ? check_words(keys[key].name, value, words, count, error) : 0;
}

static int add_term(struct filter *f, enum filter_key key, const char *value, struct error *error)
{
    const char *name = key == KEY_WORD ? "a word" : keys[key].name;
    struct term *t = &f->terms[f->count];
    int rc;

    if (!value[0])
        return error_set(error, ERR_INVALID, "q: %s has no value", name);
    if (strlen(value) > FILTER_VALUE_MAX)
        return error_set(error, ERR_INVALID, "q: %s is longer than %d bytes", name, FILTER_VALUE_MAX);
    if (f->count == FILTER_TERMS_MAX)
        return error_set(error, ERR_INVALID, "q: more than %d terms", FILTER_TERMS_MAX);
    rc = key == KEY_WORD ? 0 : check_value(f->of, key, value, error);
    if (rc < 0)
        return rc;
    t->key = key;
    snprintf(t->text, sizeof(t->text), key == KEY_WORD ? "*%s*" : "%s", value);
    f->count++;
    return 0;
}

static enum filter_key key_of(enum filter_of of, const char *name)
{
    for (int k = 0; k < KEY_COUNT; k++)
        if (keys[k].of[of] && strcmp(keys[k].name, name) == 0)
            return (enum filter_key)k;
    return KEY_COUNT;
}

int filter_add(struct filter *f, const char *key, const char *value, struct error *error)
{
    enum filter_key k = key_of(f->of, key);

    return k == KEY_COUNT ? unknown(f->of, key, error) : add_term(f, k, value, error);
}

/* A term without its quotes, into ret of FILTER_BYTES_MAX + 1. *ret_colon: where the key ends, outside of quotes; NULL: it is a
 * word. Returns what follows. */
static const char *next_term(const char *text, char *ret, char **ret_colon, struct error *error)
{
    bool quoted = false;
    char *at = ret;

    *ret_colon = NULL;
    for (; *text && (quoted || *text != ' '); text++) {
        if (*text == '"') {
            quoted = !quoted;
            continue;
        }
        if (*text == ':' && !quoted && !*ret_colon)
            *ret_colon = at;
        *at++ = *text;
    }
    *at = '\0';
    if (!quoted)
        return text;
    error_set(error, ERR_INVALID, "q: a quote is not closed");
    return NULL;
}

static int read_terms(struct filter *f, const char *text, struct error *error)
{
    char term[FILTER_BYTES_MAX + 1], *colon;
    int rc = 0;

    for (text += strspn(text, " "); rc == 0 && *text; text += strspn(text, " ")) {
        text = next_term(text, term, &colon, error);
        if (!text)
            return ERR_INVALID;
        if (!colon) {
            rc = add_term(f, KEY_WORD, term, error);
            continue;
        }
        *colon = '\0';
        rc = filter_add(f, term, colon + 1, error);
    }
    return rc;
}

int filter_new(struct filter **ret, const char *text, enum filter_of of, struct error *error)
{
    struct filter *f = alloc_zero(sizeof(*f));
    int rc = 0;

    f->of = of;
    if (text && strlen(text) > FILTER_BYTES_MAX)
        rc = error_set(error, ERR_INVALID, "q: it is longer than %d bytes", FILTER_BYTES_MAX);
    else if (text)
        rc = read_terms(f, text, error);
    if (rc == 0)
        *ret = f;
    else
        filter_free(f);
    return rc;
}

void filter_free(struct filter *f)
{
    free(f);
}

bool filter_is_empty(const struct filter *f)
{
    return !f || f->count == 0;
}

/* ---- jobs ---- */

/* In several states at once: a job may fail and run. */
static bool is_in_state(const struct state *s, const struct job_state *j, const char *values)
{
    int64_t failures = state_recent(j).failures;
    bool running = false;

    LIST_EACH(link, &j->runs)
    {
        running = running || LIST_ITEM(link, struct run, of_job)->fired;
    }
    return (running && any_of(values, "running")) || (state_paused(s, j) && any_of(values, "paused")) ||
           (failures && any_of(values, "failing")) || (!j->last_run && any_of(values, "never")) ||
           (j->last_run && !failures && any_of(values, "ok"));
}

static bool has_label(const struct job *def, const char *wanted)
{
    const char *name;
    json_t *value;

    json_object_foreach(def->labels, name, value)
    {
        char label[1024];

        if (strchr(wanted, '='))
            snprintf(label, sizeof(label), "%s=%s", name, json_string_value(value));
        else
            snprintf(label, sizeof(label), "%s", name);
        if (any_of(wanted, label))
            return true;
    }
    return false;
}

static bool has_engine(const struct job *def, const char *wanted, const char *default_engine)
{
    if (def->engine.count == 0)
        return default_engine && any_of(wanted, default_engine);
    for (size_t i = 0; i < def->engine.count; i++)
        if (any_of(wanted, def->engine.items[i]))
            return true;
    return false;
}

static bool has_word(const struct job_state *j, const char *word)
{
    return filter_glob(word, j->name, false) ||
           (j->def->description && filter_glob(word, j->def->description, false)) ||
           (j->def->owner && filter_glob(word, j->def->owner, false));
}

static bool job_term(const struct term *t, const struct state *s, const struct job_state *j,
                     const char *default_engine)
{
    switch (t->key) {
    case KEY_WORD:
        return has_word(j, t->text);
    case KEY_job:
        return any_of(t->text, j->name);
    case KEY_set:
        return j->set && any_of(t->text, j->set);
    case KEY_label:
        return has_label(j->def, t->text);
    case KEY_owner:
        return j->def->owner && any_of(t->text, j->def->owner);
    case KEY_engine:
        return has_engine(j->def, t->text, default_engine);
    case KEY_zone:
        return any_of(t->text, j->def->timezone);
    case KEY_state:
        return is_in_state(s, j, t->text);
    case KEY_verdict:
        return j->last_verdict && any_of(t->text, run_verdict_name(j->last_verdict));
    case KEY_paused:
        return any_of(t->text, state_paused(s, j) ? "yes" : "no");
    default:
        return false;
    }
}

bool filter_job(const struct filter *f, const struct state *s, const struct job_state *j,
                const char *default_engine)
{
    for (size_t i = 0; f && i < f->count; i++)
        if (!job_term(&f->terms[i], s, j, default_engine))
            return false;
    return true;
}

/* ---- runs ---- */

static const char *text_of(const json_t *run, const char *key)
{
    const char *text = json_string_value(json_object_get(run, key));

    return text ? text : "";
}

static bool ran_on(const json_t *run, const char *wanted)
{
    const json_t *attempt;
    size_t i;

    json_array_foreach(json_object_get(run, "attempts"), i, attempt)
    {
        if (any_of(wanted, text_of(attempt, "engine")))
            return true;
    }
    return false;
}

static bool run_term(const struct term *t, const json_t *run)
{
    if (t->key == KEY_WORD)
        return filter_glob(t->text, text_of(run, "run"), false);
    return t->key == KEY_engine ? ran_on(run, t->text) : any_of(t->text, text_of(run, keys[t->key].name));
}

bool filter_run(const struct filter *f, const json_t *run)
{
    for (size_t i = 0; f && i < f->count; i++)
        if (!run_term(&f->terms[i], run))
            return false;
    return true;
}

static bool live_term(const struct term *t, const struct run *r)
{
    switch (t->key) {
    case KEY_WORD:
        return filter_glob(t->text, r->id, false);
    case KEY_job:
        return any_of(t->text, r->job->name);
    case KEY_state:
        return any_of(t->text, run_state_name(run_shown_state(r)));
    case KEY_cause:
        return any_of(t->text, run_cause_name(r->cause));
    case KEY_by:
        return any_of(t->text, r->by ? r->by : "");
    case KEY_engine:
        for (size_t i = 0; i < r->attempt_count; i++)
            if (any_of(t->text, r->attempts[i].engine))
                return true;
        return false;
    default:
        return false; /* it has no verdict yet */
    }
}

bool filter_live_run(const struct filter *f, const struct run *run)
{
    for (size_t i = 0; f && i < f->count; i++)
        if (!live_term(&f->terms[i], run))
            return false;
    return true;
}
