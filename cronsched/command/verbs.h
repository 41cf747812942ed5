/* Verbs: the command line as a table. From it come the dispatch, the checks of options and arguments, the
 * usage texts, `help`, the bash completion and the option lists of the manual.
 *
 * To add a verb: write cronsched/cli/verb_NAME.c with `const struct verb verb_NAME = {...}`, add a line to VERBS
 * below (the order is that of the help) and the file to meson.build.
 *
 * A verb prints its answer to stdout, says what went wrong on stderr by verb_fail or verb_usage, and returns
 * an exit code. Everything here runs on the main thread; a call and all it points to lives until the verb
 * returns.
 */
#pragma once

#include "jobs/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* code, value, what it says; with --exit-code a verb returns the container's own code */
#define EXIT_CODES(X)                                                                                        \
    X(EXIT_FINE, 0, "fine")                                                                                  \
    X(EXIT_DIFFERS, 1, "something differs, or the run failed")                                               \
    X(EXIT_USAGE, 2, "wrong usage, or invalid input")                                                        \
    X(EXIT_NOT_FOUND, 3, "not found")                                                                        \
    X(EXIT_NOT_ALLOWED, 4, "not allowed")                                                                    \
    X(EXIT_NO_LEADER, 5, "no leader, or no server can be reached")                                           \
    X(EXIT_CONFLICT, 6, "conflict with the current state")                                                   \
    X(EXIT_TIMED_OUT, 7, "timed out, or the outcome is unknown")                                             \
    X(EXIT_INTERNAL, 64, "internal error")

#define X(code, value, text) code = (value),
enum exit_code { EXIT_CODES(X) };
#undef X

enum verb_group {
    VERB_GROUP_FILES,
    VERB_GROUP_JOBS,
    VERB_GROUP_RUNS,
    VERB_GROUP_TIME,
    VERB_GROUP_SERVER,
    VERB_GROUP_OTHER,
    VERB_GROUP_HIDDEN, /* not listed */
    VERB_GROUP_COUNT
};

/* A list ends with an option without a name. */
struct verb_option {
    const char *name; /* "max-parallel", without dashes */
    char letter;      /* its short form, or 0 */
    /* NULL: a flag. "N": takes a value. "table|json": takes one of these, which is checked. */
    const char *arg;
    const char *help; /* one line, lower case, no full stop */
    bool many;        /* may be given several times; otherwise the last one counts */
};

/* Options that many verbs share. */
enum verb_shared {
    VERB_SERVER = 1, /* --server, --token-file, --cacert, --plain-http */
    VERB_OUTPUT = 2, /* -o table|json|yaml, --color */
    VERB_RAW = 4     /* no parsing at all: the verb gets argc and argv, and has no --help */
};

struct verb_call;

struct verb {
    const char *name; /* "jobs"; two words for a verb below another: "cluster step-down" */
    /* "JOB [TIME]", "PATH...", "[PATH...]"; NULL: none. Their number is checked by this text. */
    const char *args;
    const char *help; /* one line, lower case, no full stop */
    const char *text; /* further paragraphs for help VERB and the manual, or NULL */
    enum verb_group group;
    unsigned shared; /* set of enum verb_shared */
    const struct verb_option *options;
    int (*run)(const struct verb_call *call); /* returns an exit code */
};

#define VERBS(X)                                                                                             \
    X(serve)                                                                                                 \
    X(validate)                                                                                              \
    X(plan)                                                                                                  \
    X(apply)                                                                                                 \
    X(jobs)                                                                                                  \
    X(show)                                                                                                  \
    X(delete)                                                                                                \
    X(pause)                                                                                                 \
    X(resume)                                                                                                \
    X(trigger)                                                                                               \
    X(runs)                                                                                                  \
    X(run)                                                                                                   \
    X(logs)                                                                                                  \
    X(watch)                                                                                                 \
    X(kill)                                                                                                  \
    X(backfill)                                                                                              \
    X(next)                                                                                                  \
    X(dst_report)                                                                                            \
    X(explain)                                                                                               \
    X(audit)                                                                                                 \
    X(records)                                                                                               \
    X(cluster)                                                                                               \
    X(cluster_init)                                                                                          \
    X(cluster_forget)                                                                                        \
    X(cluster_join)                                                                                          \
    X(cluster_recover)                                                                                       \
    X(cluster_password)                                                                                      \
    X(cluster_rejoin)                                                                                        \
    X(cluster_secure)                                                                                        \
    X(cluster_step_down)                                                                                     \
    X(cluster_accept_clock)                                                                                  \
    X(cluster_takeovers)                                                                                     \
    X(cluster_reset_journal)                                                                                 \
    X(journal_migrate)                                                                                       \
    X(drill_engine)                                                                                          \
    X(lead_engine)                                                                                           \
    X(drill)                                                                                                 \
    X(doctor)                                                                                                \
    X(ui)                                                                                                    \
    X(token)                                                                                                 \
    X(version)                                                                                               \
    X(completion)                                                                                            \
    X(help)                                                                                                  \
    X(supervise)                                                                                             \
    X(names)

#define X(name) extern const struct verb verb_##name;
VERBS(X)
#undef X

/* The table, with a NULL at its end (verb_table.c). */
extern const struct verb *const verbs[];

/* ---- what a verb asks of its call ---- */

struct verb_given {
    const struct verb_option *option;
    const char *value; /* "" for a flag */
};

struct verb_call {
    const struct verb *verb;
    const struct verb *const *table; /* of all verbs, a NULL at its end: for help and completion */
    const char **args;               /* what is not an option, in order; a NULL at the end */
    size_t arg_count;
    struct verb_given *given; /* options, in order */
    size_t given_count;
    int argc; /* VERB_RAW: all that followed the verb, argv[0] being the verb */
    char **argv;
};

/* The value as given last; "" for a flag; NULL when it was not given. Asking for an option that the verb does
 * not have is a programmer's error. */
const char *verb_option(const struct verb_call *call, const char *name);
bool verb_flag(const struct verb_call *call, const char *name);

/* The value number i of an option that may be given many times; NULL beyond the last. */
const char *verb_option_at(const struct verb_call *call, const char *name, size_t i);

/* A whole number within [least, most]; *ret stays untouched when the option was not given. */
int verb_option_int(const struct verb_call *call, const char *name, long least, long most, long *ret,
                    struct error *error);

/* Text for people, as printf, without what a terminal would take for a command: whatever may quote the command line, a file
 * or a server goes through this. */
void verb_print(FILE *to, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Prints "cronsched: TEXT" and returns the exit code that belongs to the error's code. */
int verb_fail(const struct error *error);
int verb_exit_code(int error_code);

/* Prints "cronsched VERB: TEXT" and where to find help; returns EXIT_USAGE. */
int verb_usage(const struct verb_call *call, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- the machinery, for main and the tests ---- */

#define VERB_ARGS_MAX 4096 /* words of one command line */

/* Finds the verb in argv, parses and runs it (verb_table.c). Returns the exit code. */
int verbs_main(int argc, char **argv);

/* The verb that argv names, options that come before it skipped; ret_argv (argc places) gets the other words.
 * ERR_NOT_FOUND: none of that name, the text says which is near; ERR_INVALID: no verb given. */
int verbs_find(const struct verb *const *table, int argc, char **argv, const struct verb **ret_verb,
               int *ret_argc, char **ret_argv, struct error *error);

/* Parses the words (no verb among them) for a verb; borrows them. Release also after a failure. The table is
 * left for the caller to set. */
int verb_call_init(struct verb_call *call, const struct verb *verb, int argc, char **argv,
                   struct error *error);
void verb_call_release(struct verb_call *call);

/* Option number i of a verb: its own first, then the shared ones, then --help; NULL beyond the last. */
const struct verb_option *verb_option_number(const struct verb *verb, size_t i);

const char *verb_group_title(enum verb_group group);

/* Longest form of an option: "-o, --output=table|json|yaml" */
const char *verb_option_title(const struct verb_option *option, char *buffer, size_t size);

void verbs_print_help(FILE *to, const struct verb *const *table);
void verb_print_help(FILE *to, const struct verb *verb);
