/* Fills the templates of the manual from the program's own tables: a line "@verbs@", "@shared-options@",
 * "@exit-codes@", "@config-keys@" of a template is replaced by what the table has. Runs at build time; scdoc
 * makes the pages of the result.
 *
 * usage: render TEMPLATE > PAGE.scd
 */
#include "cronsched/command/verbs.h"
#include "cronsched/config/config.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* scdoc takes some letters for markup everywhere, and some at the beginning of a line. */
static void put_escaped(const char *s)
{
    for (bool first = true; *s; s++) {
        if (strchr("\\*_`", *s) || (first && strchr("-#[|.~", *s)))
            putchar('\\');
        putchar(*s);
        first = *s == '\n';
    }
}

/* Sentences in the tables begin in lower case and have no full stop. */
static void put_sentence(const char *s)
{
    char first[2] = {(char)toupper((unsigned char)*s), '\0'};

    put_escaped(first);
    put_escaped(s + 1);
    putchar('.');
}

static void put_option(const struct verb_option *o)
{
    if (o->letter)
        printf("*-%c*, ", o->letter);
    fputs("*\\--", stdout);
    put_escaped(o->name);
    putchar('*');
    if (o->arg) {
        fputs(" _", stdout);
        put_escaped(o->arg);
        putchar('_');
    }
    fputs("\n\t", stdout);
    put_sentence(o->help);
    fputs("\n\n", stdout);
}

static void put_verb(const struct verb *v)
{
    fputs("## ", stdout);
    put_escaped(v->name);
    if (v->args)
        printf(" %s", v->args); /* in a title brackets are plain */
    fputs("\n\n", stdout);
    put_sentence(v->help);
    fputs("\n\n", stdout);
    if (v->text) {
        put_escaped(v->text);
        fputs("\n\n", stdout);
    }
    for (const struct verb_option *o = v->options; o && o->name; o++)
        put_option(o);
}

static void put_verbs(void)
{
    for (int group = 0; group < VERB_GROUP_HIDDEN; group++)
        for (size_t i = 0; verbs[i]; i++)
            if (verbs[i]->group == (enum verb_group)group)
                put_verb(verbs[i]);
}

/* What any verb with a server and an answer has. */
static void put_shared_options(void)
{
    static const struct verb all = {.shared = VERB_SERVER | VERB_OUTPUT};
    const struct verb_option *o;

    for (size_t i = 0; (o = verb_option_number(&all, i)); i++)
        put_option(o);
}

static void put_exit_codes(void)
{
#define X(code, value, text)                                                                                 \
    printf("*%d*\n\t", value);                                                                               \
    put_sentence(text);                                                                                      \
    fputs("\n\n", stdout);
    EXIT_CODES(X)
#undef X
}

static void put_config_keys(void)
{
    struct config_key_text key;

    for (size_t i = 0; config_key_text(i, &key); i++) {
        putchar('*');
        put_escaped(key.key);
        printf("* (*\\--%s*, ", key.flag);
        put_escaped(key.variable);
        fputs(")\n\t", stdout);
        put_sentence(key.help);
        if (key.fallback) {
            fputs(" Default: ", stdout);
            put_escaped(key.fallback);
            putchar('.');
        }
        fputs("\n\n", stdout);
    }
}

static const struct {
    const char *marker;
    void (*put)(void);
} parts[] = {
    {"@verbs@\n", put_verbs},
    {"@shared-options@\n", put_shared_options},
    {"@exit-codes@\n", put_exit_codes},
    {"@config-keys@\n", put_config_keys},
};

/* "cronsched(1)", the first line, with what stands at the foot of the page. */
static void put_title(char *line)
{
    line[strcspn(line, "\n")] = '\0';
    printf("%s \"cronsched %s\"\n", line, CRONSCHED_VERSION);
}

int main(int argc, char **argv)
{
    FILE *template = argc == 2 ? fopen(argv[1], "re") : NULL;
    char line[4096];

    if (!template) {
        perror(argc == 2 ? argv[1] : "usage: render TEMPLATE");
        return 1;
    }
    if (fgets(line, sizeof(line), template))
        put_title(line);
    while (fgets(line, sizeof(line), template)) {
        size_t i = 0, n = sizeof(parts) / sizeof(parts[0]);

        while (i < n && strcmp(line, parts[i].marker) != 0)
            i++;
        if (i < n)
            parts[i].put();
        else
            fputs(line, stdout);
    }
    fclose(template);
    return ferror(stdout) ? 1 : 0;
}
