/* help, and the texts that --help prints: all made from the table of verbs. */
#include "cronsched/command/verbs.h"

#include <string.h>

#define HELP_WIDTH 100

const char *verb_group_title(enum verb_group group)
{
    static const char *const titles[VERB_GROUP_COUNT] = {
        [VERB_GROUP_FILES] = "Job files",       [VERB_GROUP_JOBS] = "Jobs",      [VERB_GROUP_RUNS] = "Runs",
        [VERB_GROUP_TIME] = "Times and audits", [VERB_GROUP_SERVER] = "Servers", [VERB_GROUP_OTHER] = "Other",
        [VERB_GROUP_HIDDEN] = "Hidden",
    };

    return titles[group];
}

const char *verb_option_title(const struct verb_option *o, char *buffer, size_t size)
{
    char letter[8] = "    ";

    if (o->letter)
        snprintf(letter, sizeof(letter), "-%c, ", o->letter);
    if (o->arg)
        snprintf(buffer, size, "%s--%s=%s", letter, o->name, o->arg);
    else
        snprintf(buffer, size, "%s--%s", letter, o->name);
    return buffer;
}

/* "run RUN", "version" */
static const char *call_title(const struct verb *verb, char *buffer, size_t size)
{
    if (verb->args)
        snprintf(buffer, size, "%s %s", verb->name, verb->args);
    else
        snprintf(buffer, size, "%s", verb->name);
    return buffer;
}

/* Prints text between columns, broken at spaces; the cursor is at `indent` already. */
static void print_wrapped(FILE *to, const char *text, size_t indent)
{
    size_t column = indent;

    while (*text) {
        size_t word = strcspn(text, " \n");

        if (column > indent && column + 1 + word > HELP_WIDTH) {
            fprintf(to, "\n%*s", (int)indent, "");
            column = indent;
        } else if (column > indent) {
            fputc(' ', to);
            column++;
        }
        fprintf(to, "%.*s", (int)word, text);
        column += word;
        text += word;
        if (*text == ' ')
            text++;
        for (; *text == '\n'; text++) {
            fprintf(to, "\n%*s", text[1] == '\n' ? 0 : (int)indent, "");
            column = indent;
        }
    }
    fputc('\n', to);
}

void verbs_print_help(FILE *to, const struct verb *const *table)
{
    fputs("cronsched: a distributed cron\n\n"
          "Usage: cronsched VERB [ARGUMENT...] [OPTION...]\n",
          to);
    for (int group = 0; group < VERB_GROUP_HIDDEN; group++) {
        bool titled = false;

        for (size_t i = 0; table[i]; i++) {
            const struct verb *v = table[i];
            char call[128];

            if (v->group != (enum verb_group)group)
                continue;
            if (!titled)
                fprintf(to, "\n%s:\n", verb_group_title(v->group));
            titled = true;
            fprintf(to, "  %-28s ", call_title(v, call, sizeof(call)));
            if (strlen(call) > 28)
                fprintf(to, "\n%*s", 31, "");
            print_wrapped(to, v->help, 31);
        }
    }
    fputs("\n'cronsched help VERB' shows more. Exit codes:", to);
#define X(code, value, text) fprintf(to, "%s %d %s", value ? ";" : "", value, text);
    EXIT_CODES(X)
#undef X
    fputs(" (and above).\n", to);
}

void verb_print_help(FILE *to, const struct verb *verb)
{
    const struct verb_option *o;
    char call[128];

    fprintf(to, "Usage: cronsched %s [OPTION...]\n\n", call_title(verb, call, sizeof(call)));
    print_wrapped(to, verb->help, 0);
    if (verb->text) {
        fputc('\n', to);
        print_wrapped(to, verb->text, 0);
    }
    fputs("\nOptions:\n", to);
    for (size_t i = 0; (o = verb_option_number(verb, i)); i++) {
        char title[128];

        fprintf(to, "  %-32s ", verb_option_title(o, title, sizeof(title)));
        if (strlen(title) > 32)
            fprintf(to, "\n%*s", 35, "");
        print_wrapped(to, o->help, 35);
    }
}

static int run_help(const struct verb_call *call)
{
    char *words[4];
    char program[] = "cronsched";
    char *argv[4] = {program};
    const struct verb *verb;
    struct error error = {0};
    int argc = 1, rest;

    if (call->arg_count == 0) {
        verbs_print_help(stdout, call->table);
        return EXIT_FINE;
    }
    for (size_t i = 0; i < call->arg_count && argc < 3; i++)
        argv[argc++] = (char *)call->args[i];
    if (verbs_find(call->table, argc, argv, &verb, &rest, words, &error) < 0)
        return verb_usage(call, "%s", error.text);
    verb_print_help(stdout, verb);
    return EXIT_FINE;
}

const struct verb verb_help = {
    .name = "help",
    .args = "[VERB...]",
    .help = "list the verbs, or describe one",
    .group = VERB_GROUP_OTHER,
    .run = run_help,
};
