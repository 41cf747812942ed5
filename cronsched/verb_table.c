/* The table of all verbs, and the run of the one that the command line names (command/verbs.h). It is
 * beside main.c, above the verbs, so that what they use (options, help, completion) does not depend on
 * them. */
#include "cronsched/command/verbs.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

const struct verb *const verbs[] = {
#define X(name) &verb_##name,
    VERBS(X)
#undef X
        NULL};

static int run_verb(const struct verb *verb, int argc, char **argv)
{
    struct error error = {0};
    struct verb_call call;
    int code;

    if (verb->shared & VERB_RAW) {
        call = (struct verb_call){.verb = verb, .table = verbs, .argc = argc, .argv = argv};
        return verb->run(&call);
    }
    if (verb_call_init(&call, verb, argc, argv, &error) < 0) {
        code = verb_usage(&call, "%s", error.text);
    } else if (verb_flag(&call, "help")) {
        verb_print_help(stdout, verb);
        code = EXIT_FINE;
    } else {
        call.table = verbs;
        code = verb->run(&call);
    }
    verb_call_release(&call);
    return code;
}

/* Fail if stdout could not be written, except when the reader closed the pipe (head, a pager).
 */
static int check_stdout(int code)
{
    bool failed = ferror(stdout);

    if (fflush(stdout) != 0)
        failed = true;
    if (!failed || errno == EPIPE)
        return code;
    fprintf(stderr, "cronsched: stdout: %s\n", strerror(errno));
    return code == EXIT_FINE ? EXIT_INTERNAL : code;
}

int verbs_main(int argc, char **argv)
{
    static char *words[VERB_ARGS_MAX + 2];
    const struct verb *verb = NULL;
    struct error error = {0};
    int count, code;

    if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        verbs_print_help(stdout, verbs);
        code = EXIT_FINE;
    } else if (argc > 1 && strcmp(argv[1], "--version") == 0) {
        printf("cronsched %s\n", CRONSCHED_VERSION);
        code = EXIT_FINE;
    } else if (argc < 2) {
        verbs_print_help(stderr, verbs);
        code = EXIT_USAGE;
    } else if (verbs_find(verbs, argc, argv, &verb, &count, words + 1, &error) < 0) {
        verb_print(stderr, "cronsched: %s\n", error.text);
        code = EXIT_USAGE;
    } else if (verb->shared & VERB_RAW) {
        words[0] = (char *)verb->name;
        code = run_verb(verb, count + 1, words);
    } else {
        code = run_verb(verb, count, words + 1);
    }
    return check_stdout(code);
}
