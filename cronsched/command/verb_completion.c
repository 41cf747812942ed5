/* completion: the bash completion, made from the table of verbs. Names of jobs are asked of the server. */
#include "cronsched/command/verbs.h"

#include <ctype.h>
#include <string.h>

static void print_choices(const char *choices)
{
    for (const char *p = choices; *p; p++)
        putchar(*p == '|' ? ' ' : *p);
}

/* What completes the value of an option or the argument of a verb, as a line of bash. */
static void print_value(const char *arg)
{
    if (islower((unsigned char)arg[0]))
        fputs("COMPREPLY=($(compgen -W '", stdout), print_choices(arg), fputs("' -- \"$cur\"))", stdout);
    else if (strstr(arg, "JOB"))
        fputs("COMPREPLY=($(compgen -W \"$(_cronsched_jobs)\" -- \"$cur\"))", stdout);
    else if (strstr(arg, "VERB"))
        fputs("COMPREPLY=($(compgen -W \"$verbs\" -- \"$cur\"))", stdout);
    else if (strstr(arg, "PATH") || strstr(arg, "FILE"))
        fputs("COMPREPLY=($(compgen -f -- \"$cur\"))", stdout);
    else
        fputs("COMPREPLY=()", stdout);
}

static void print_verb(const struct verb *v)
{
    const struct verb_option *o;

    printf("    '%s')\n        case \"$prev\" in\n", v->name);
    for (size_t i = 0; (o = verb_option_number(v, i)); i++) {
        if (!o->arg)
            continue;
        printf("        --%s", o->name);
        if (o->letter)
            printf(" | -%c", o->letter);
        fputs(") ", stdout);
        print_value(o->arg);
        puts("; return ;;");
    }
    fputs("        esac\n        if [[ $cur == -* ]]; then\n            COMPREPLY=($(compgen -W '", stdout);
    for (size_t i = 0; (o = verb_option_number(v, i)); i++)
        printf("%s--%s", i ? " " : "", o->name);
    puts("' -- \"$cur\"))\n            return\n        fi");
    if (v->args) {
        fputs("        ", stdout);
        print_value(v->args);
        putchar('\n');
    }
    puts("        ;;");
}

/* The first words of all verbs, each once: "cluster" stands for "cluster step-down" too. */
static void print_first_words(const struct verb *const *table)
{
    for (size_t i = 0; table[i]; i++)
        if (table[i]->group != VERB_GROUP_HIDDEN && !strchr(table[i]->name, ' '))
            printf("%s ", table[i]->name);
}

static void print_two_word_verbs(const struct verb *const *table)
{
    for (size_t i = 0; table[i]; i++)
        if (strchr(table[i]->name, ' '))
            printf("    '%s') verb=\"$two\" ;;\n", table[i]->name);
}

/* "cluster " offers what may come second. */
static void print_second_words(const struct verb *const *table)
{
    for (size_t i = 0; table[i]; i++) {
        const char *space = strchr(table[i]->name, ' ');

        if (space)
            printf("    %.*s) second+=\" %s\" ;;&\n", (int)(space - table[i]->name), table[i]->name,
                   space + 1);
    }
}

static int run_completion(const struct verb_call *call)
{
    if (strcmp(call->args[0], "bash") != 0)
        return verb_usage(call, "there is completion for bash only, not for '%s'", call->args[0]);
    puts("# bash completion for cronsched; made by 'cronsched completion bash'\n"
         "_cronsched_jobs()\n{\n"
         "    cronsched __jobs 2>/dev/null\n}\n\n"
         "_cronsched()\n{\n"
         "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}\n"
         "    local verb=${COMP_WORDS[1]} two=\"${COMP_WORDS[1]} ${COMP_WORDS[2]}\" second=''\n"
         "    COMPREPLY=()");
    fputs("    local verbs='", stdout);
    print_first_words(call->table);
    puts("'\n    if ((COMP_CWORD == 1)); then\n        COMPREPLY=($(compgen -W \"$verbs\" -- \"$cur\"))\n"
         "        return\n    fi");
    puts("    case \"$verb\" in");
    print_second_words(call->table);
    puts("    esac\n    if ((COMP_CWORD == 2)) && [[ -n $second && $cur != -* ]]; then\n"
         "        COMPREPLY=($(compgen -W \"$second\" -- \"$cur\"))\n        return\n    fi");
    puts("    case \"$two\" in");
    print_two_word_verbs(call->table);
    puts("    esac\n    case \"$verb\" in");
    for (size_t i = 0; call->table[i]; i++)
        if (call->table[i]->group != VERB_GROUP_HIDDEN)
            print_verb(call->table[i]);
    puts("    esac\n}\n\ncomplete -F _cronsched cronsched");
    return EXIT_FINE;
}

const struct verb verb_completion = {
    .name = "completion",
    .args = "bash",
    .help = "print the completion script of a shell",
    .text = "To use it: source <(cronsched completion bash)",
    .group = VERB_GROUP_OTHER,
    .run = run_completion,
};
