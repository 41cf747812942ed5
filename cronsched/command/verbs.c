#include "cronsched/command/verbs.h"

#include "jobs/base/alloc.h"
#include "jobs/base/near.h"
#include "jobs/base/printable.h"
#include "jobs/base/scan.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const struct verb_option server_options[] = {
    {"server", 0, "URL[,URL...]",
     "servers to ask, the next one when one is down; unix:PATH is a socket (also CRONSCHED_SERVER)"},
    {"token-file", 0, "FILE", "file with the bearer token (also CRONSCHED_TOKEN_FILE)"},
    {"cacert", 0, "FILE", "certificates to trust for https, and no others (also CRONSCHED_CACERT)"},
    {"plain-http", 0, NULL,
     "send the token to http:// addresses, too, unencrypted (also CRONSCHED_PLAIN_HTTP=1)"},
    {0}};

static const struct verb_option output_options[] = {
    {"output", 'o', "table|json|yaml", "form of the answer (default table)"},
    {"color", 0, "auto|always|never", "colours in tables (default auto: on a terminal and without NO_COLOR)"},
    {0}};

static const struct verb_option help_options[] = {{"help", 'h', NULL, "show this help"}, {0}};

static size_t option_count(const struct verb_option *list)
{
    size_t n = 0;

    while (list && list[n].name)
        n++;
    return n;
}

const struct verb_option *verb_option_number(const struct verb *verb, size_t i)
{
    const struct verb_option *lists[4] = {verb->options};
    size_t count = 1;

    if (verb->shared & VERB_SERVER)
        lists[count++] = server_options;
    if (verb->shared & VERB_OUTPUT)
        lists[count++] = output_options;
    if (!(verb->shared & VERB_RAW))
        lists[count++] = help_options;
    for (size_t k = 0; k < count; k++) {
        size_t n = option_count(lists[k]);

        if (i < n)
            return &lists[k][i];
        i -= n;
    }
    return NULL;
}

/* ---- finding the verb ---- */

/* Whether the verb's name is what the words at argv[at] say; how many words it has, or 0. */
static int name_matches(const char *name, int argc, char **argv, int at)
{
    int words = 0;

    for (;;) {
        size_t n = strcspn(name, " ");

        if (at + words >= argc || strncmp(argv[at + words], name, n) != 0 || argv[at + words][n])
            return 0;
        words++;
        if (!name[n])
            return words;
        name += n + 1;
    }
}

/* The next word that is neither an option nor an option's value: only shared options may come before the
 * verb. */
static int first_word(int argc, char **argv)
{
    static const struct verb any = {.shared = VERB_SERVER | VERB_OUTPUT};
    int at = 1;

    for (; at < argc && argv[at][0] == '-'; at++) {
        const struct verb_option *o;

        for (size_t i = 0; (o = verb_option_number(&any, i)); i++) {
            bool named = strncmp(argv[at], "--", 2) == 0
                             ? strcmp(argv[at] + 2, o->name) == 0
                             : argv[at][1] && argv[at][1] == o->letter && !argv[at][2];

            if (named && o->arg) {
                at++;
                break;
            }
        }
    }
    return at;
}

/* What other programs call it. */
static const char *verb_of_others(const char *word)
{
    static const struct {
        const char *theirs, *ours;
    } words[] = {
        {"add", "apply"},      {"cat", "show"},         {"check", "validate"},  {"create", "apply"},
        {"describe", "show"},  {"diff", "plan"},        {"disable", "pause"},   {"edit", "apply"},
        {"enable", "resume"},  {"events", "records"},   {"exec", "trigger"},    {"get", "jobs"},
        {"history", "runs"},   {"info", "show"},        {"inspect", "show"},    {"lint", "validate"},
        {"list", "jobs"},      {"list-timers", "jobs"}, {"ls", "jobs"},         {"members", "cluster"},
        {"ps", "runs"},        {"remove", "delete"},    {"restart", "trigger"}, {"rm", "delete"},
        {"server", "serve"},   {"start", "trigger"},    {"status", "jobs"},     {"stop", "kill"},
        {"suspend", "pause"},  {"tail", "logs"},        {"test", "validate"},   {"top", "runs"},
        {"unpause", "resume"}, {"up", "apply"},
    };

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (strcmp(words[i].theirs, word) == 0)
            return words[i].ours;
    return NULL;
}

static int no_such_verb(const struct verb *const *table, const char *word, struct error *error)
{
    char hint[NEAR_HINT_BUFFER];
    const char *names[256];
    const char *near;
    size_t n = 0;

    for (size_t i = 0; table[i] && n < 256; i++)
        if (table[i]->group != VERB_GROUP_HIDDEN)
            names[n++] = table[i]->name;
    near = verb_of_others(word);
    near = near ? near : near_find(word, names, n);
    if (near)
        return error_set(error, ERR_NOT_FOUND, "there is no verb '%s'%s", word,
                         near_hint(near, hint, sizeof(hint)));
    return error_set(error, ERR_NOT_FOUND, "there is no verb '%s'; 'cronsched help' lists them", word);
}

/* "cluster stepdown": a verb that has others below it, and takes no argument. 0: it is none of these. */
static int no_such_part(const struct verb *const *table, const struct verb *verb, const char *word,
                        struct error *error)
{
    char hint[NEAR_HINT_BUFFER], full[96];
    size_t n = 0, len = strlen(verb->name);
    const char *names[64], *near;

    for (size_t i = 0; table[i] && n < 64; i++)
        if (strncmp(table[i]->name, verb->name, len) == 0 && table[i]->name[len] == ' ')
            names[n++] = table[i]->name + len + 1;
    if (n == 0 || *word == '-')
        return 0;
    near = near_find(word, names, n);
    if (near)
        snprintf(full, sizeof(full), "%s %s", verb->name, near);
    return error_set(error, ERR_NOT_FOUND, "there is no verb '%s %s'%s", verb->name, word,
                     near_hint(near ? full : NULL, hint, sizeof(hint)));
}

int verbs_find(const struct verb *const *table, int argc, char **argv, const struct verb **ret_verb,
               int *ret_argc, char **ret_argv, struct error *error)
{
    const struct verb *best = NULL;
    int at = first_word(argc, argv), words = 0, n = 0;

    if (argc > VERB_ARGS_MAX)
        return error_set(error, ERR_LIMIT, "more than %d words on the command line", VERB_ARGS_MAX);
    if (at >= argc)
        return error_set(error, ERR_INVALID, "no verb given");
    for (size_t i = 0; table[i]; i++) {
        int w = name_matches(table[i]->name, argc, argv, at);

        if (w > words) {
            words = w;
            best = table[i];
        }
    }
    if (!best)
        return no_such_verb(table, argv[at], error);
    if (at + words < argc && !best->args && no_such_part(table, best, argv[at + words], error) < 0)
        return error->code;
    for (int i = 1; i < argc; i++)
        if (i < at || i >= at + words)
            ret_argv[n++] = argv[i];
    ret_argv[n] = NULL;
    *ret_argc = n;
    *ret_verb = best;
    return 0;
}

/* ---- parsing the words ---- */

static const struct verb_option *option_by_name(const struct verb *verb, const char *name, size_t len)
{
    const struct verb_option *o;

    for (size_t i = 0; (o = verb_option_number(verb, i)); i++)
        if (strncmp(o->name, name, len) == 0 && !o->name[len])
            return o;
    return NULL;
}

static const struct verb_option *option_by_letter(const struct verb *verb, char letter)
{
    const struct verb_option *o;

    for (size_t i = 0; (o = verb_option_number(verb, i)); i++)
        if (o->letter && o->letter == letter)
            return o;
    return NULL;
}

static int no_such_option(const struct verb *verb, const char *name, size_t len, struct error *error)
{
    const struct verb_option *o;
    const char *names[64];
    const char *near;
    char given[64], shown[64], hint[NEAR_HINT_BUFFER];
    size_t n = 0;

    snprintf(given, sizeof(given), "%.*s", (int)len, name);
    for (; (o = verb_option_number(verb, n)) && n < 64; n++)
        names[n] = o->name;
    near = near_find(given, names, n);
    if (near)
        snprintf(shown, sizeof(shown), "--%s", near);
    return error_set(error, ERR_INVALID, "there is no option --%s%s", given,
                     near_hint(near ? shown : NULL, hint, sizeof(hint)));
}

/* "table|json|yaml": true when the value is one of them, or when any will do. */
static bool choice_allows(const char *choices, const char *value)
{
    size_t len = strlen(value);

    if (!strchr(choices, '|'))
        return true;
    for (const char *p = choices; *p;) {
        size_t n = strcspn(p, "|");

        if (n == len && strncmp(p, value, n) == 0)
            return true;
        p += n + (p[n] == '|');
    }
    return false;
}

static int give(struct verb_call *call, const struct verb_option *o, const char *value, struct error *error)
{
    if (o->arg && !choice_allows(o->arg, value))
        return error_set(error, ERR_INVALID, "--%s takes %s, not '%s'", o->name, o->arg, value);
    call->given[call->given_count++] = (struct verb_given){o, value};
    return 0;
}

/* One word "--name", "--name=value" (or two words "--name value"). *at is left on the last word used. */
static int parse_long(struct verb_call *call, int argc, char **argv, int *at, struct error *error)
{
    const char *name = argv[*at] + 2;
    size_t len = strcspn(name, "=");
    const struct verb_option *o = option_by_name(call->verb, name, len);

    if (!o)
        return no_such_option(call->verb, name, len, error);
    if (!o->arg) {
        if (name[len])
            return error_set(error, ERR_INVALID, "--%s takes no value", o->name);
        return give(call, o, "", error);
    }
    if (name[len])
        return give(call, o, name + len + 1, error);
    if (*at + 1 >= argc)
        return error_set(error, ERR_INVALID, "--%s needs a value: %s", o->name, o->arg);
    return give(call, o, argv[++*at], error);
}

/* One word of letters: "-f", "-fo", "-ojson" (or two words "-o json"). */
static int parse_letters(struct verb_call *call, int argc, char **argv, int *at, struct error *error)
{
    for (const char *p = argv[*at] + 1; *p; p++) {
        const struct verb_option *o = option_by_letter(call->verb, *p);
        int r;

        if (!o)
            return error_set(error, ERR_INVALID, "there is no option -%c", *p);
        if (!o->arg) {
            r = give(call, o, "", error);
            if (r < 0)
                return r;
            continue;
        }
        if (p[1])
            return give(call, o, p + 1 + (p[1] == '='), error);
        if (*at + 1 >= argc)
            return error_set(error, ERR_INVALID, "-%c needs a value: %s", *p, o->arg);
        return give(call, o, argv[++*at], error);
    }
    return 0;
}

/* Compares the words given with "JOB [TIME]" or "PATH...". */
static int check_args(const struct verb_call *call, struct error *error)
{
    const char *p = call->verb->args ? call->verb->args : "";
    size_t have = call->arg_count, place = 0;

    for (; *p; place++) {
        size_t n = strcspn(p, " ");
        bool optional = p[0] == '[';
        bool any = n > 3 && memmem(p, n, "...", 3);

        if (place >= have && !optional)
            return error_set(error, ERR_INVALID, "%.*s is missing", (int)n, p);
        if (any)
            return 0;
        p += n + (p[n] == ' ');
    }
    if (have > place)
        return error_set(error, ERR_INVALID, "unexpected argument '%s'", call->args[place]);
    return 0;
}

/* A word is an option when it begins with a dash and does not look like a number: "-1 * * * *" is a wrong
 * expression. */
int verb_call_init(struct verb_call *call, const struct verb *verb, int argc, char **argv,
                   struct error *error)
{
    bool options = true;
    size_t room = 1;

    for (int i = 0; i < argc; i++)
        room += strlen(argv[i]); /* "-abc" is three options */
    *call = (struct verb_call){.verb = verb};
    call->args = calloc((size_t)argc + 1, sizeof(*call->args));
    call->given = calloc(room, sizeof(*call->given));
    if (!call->args || !call->given)
        return error_set(error, ERR_NOMEM, "out of memory");
    for (int i = 0; i < argc; i++) {
        int r = 0;

        if (!options || argv[i][0] != '-' || !argv[i][1] || scan_is_digit(argv[i][1]))
            call->args[call->arg_count++] = argv[i];
        else if (strcmp(argv[i], "--") == 0)
            options = false;
        else if (argv[i][1] == '-')
            r = parse_long(call, argc, argv, &i, error);
        else
            r = parse_letters(call, argc, argv, &i, error);
        if (r < 0)
            return r;
    }
    if (verb_flag(call, "help"))
        return 0;
    return check_args(call, error);
}

void verb_call_release(struct verb_call *call)
{
    free(call->args);
    free(call->given);
    *call = (struct verb_call){0};
}

/* ---- what a verb asks ---- */

const char *verb_option(const struct verb_call *call, const char *name)
{
    const struct verb_option *o = option_by_name(call->verb, name, strlen(name));

    assert(o);
    for (size_t i = call->given_count; i-- > 0;)
        if (call->given[i].option == o)
            return call->given[i].value;
    return NULL;
}

bool verb_flag(const struct verb_call *call, const char *name)
{
    return verb_option(call, name) != NULL;
}

const char *verb_option_at(const struct verb_call *call, const char *name, size_t at)
{
    const struct verb_option *o = option_by_name(call->verb, name, strlen(name));

    assert(o && o->many);
    for (size_t i = 0; i < call->given_count; i++)
        if (call->given[i].option == o && at-- == 0)
            return call->given[i].value;
    return NULL;
}

int verb_option_int(const struct verb_call *call, const char *name, long least, long most, long *ret,
                    struct error *error)
{
    const char *value = verb_option(call, name);
    char *end;
    long n;

    if (!value)
        return 0;
    errno = 0;
    n = strtol(value, &end, 10);
    if (end == value || *end || errno || n < least || n > most)
        return error_set(error, ERR_INVALID, "--%s takes a whole number from %ld to %ld, not '%s'", name,
                         least, most, value);
    *ret = n;
    return 0;
}

int verb_exit_code(int error_code)
{
    switch (error_code) {
    case 0:
        return EXIT_FINE;
    case ERR_INVALID:
    case ERR_LIMIT:
    case ERR_UNSUPPORTED:
        return EXIT_USAGE;
    case ERR_NOT_FOUND:
        return EXIT_NOT_FOUND;
    case ERR_DENIED:
        return EXIT_NOT_ALLOWED;
    case ERR_NO_LEADER:
    case ERR_DEPOSED:
    case ERR_UNREACHABLE:
    case ERR_REFUSED:
        return EXIT_NO_LEADER;
    case ERR_CONFLICT:
    case ERR_BUSY:
        return EXIT_CONFLICT;
    case ERR_TIMEOUT:
    case ERR_UNKNOWN:
        return EXIT_TIMED_OUT;
    default:
        return EXIT_INTERNAL;
    }
}

__attribute__((format(printf, 2, 0))) static void print(FILE *to, const char *format, va_list ap)
{
    char *text;

    if (vasprintf(&text, format, ap) < 0)
        alloc_failed();
    printable_text(text, true);
    fputs(text, to);
    free(text);
}

void verb_print(FILE *to, const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    print(to, format, ap);
    va_end(ap);
}

int verb_fail(const struct error *error)
{
    verb_print(stderr, "cronsched: %s\n", error->text);
    return verb_exit_code(error->code);
}

int verb_usage(const struct verb_call *call, const char *format, ...)
{
    va_list ap;

    fprintf(stderr, "cronsched %s: ", call->verb->name);
    va_start(ap, format);
    print(stderr, format, ap);
    va_end(ap);
    fprintf(stderr, "\nTry 'cronsched help %s'.\n", call->verb->name);
    return EXIT_USAGE;
}
