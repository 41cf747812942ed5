/* A command line: words, one a line. It is taken apart for the verb that it names; no verb runs. What is taken keeps what
 * the verb's table promises, and what is refused says why. Each word is also read as a time, as people type it.
 */
#include "cronsched/cli/human_time.h"
#include "cronsched/command/verbs.h"
#include "jobs/base/text.h"
#include "tests/fuzz/fuzz.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define WORDS_MAX 64
#define NOW_MS    INT64_C(1795316400000)   /* 2026-11-22T03:00:00Z */
#define FAR_MS    INT64_C(253402300800000) /* the year 10000 */

static void try_time(const char *word)
{
    struct error e = {0};
    char buffer[128];
    int64_t past, future;
    int rc = human_time_parse(word, NOW_MS, HUMAN_TIME_PAST, &past, &e);

    if (rc < 0)
        CHECK(e.text[0]);
    CHECK((human_time_parse(word, NOW_MS, HUMAN_TIME_FUTURE, &future, &e) < 0) == (rc < 0));
    if (rc < 0)
        return;
    CHECK(past >= -FAR_MS && past <= FAR_MS && past <= future);
    human_time_relative(past, NOW_MS, buffer, sizeof(buffer));
    human_time_local(past, buffer, sizeof(buffer));
    CHECK(strlen(buffer) < sizeof(buffer));
}

/* Is the value one of "table|json"? */
static bool is_choice(const char *choices, const char *value)
{
    size_t n = strlen(value);

    for (const char *p = choices; *p; p += strcspn(p, "|"), p += *p == '|')
        if (strcspn(p, "|") == n && strncmp(p, value, n) == 0)
            return true;
    return false;
}

static void check_call(const struct verb_call *call)
{
    CHECK(call->arg_count < VERB_ARGS_MAX && !call->args[call->arg_count]);
    for (size_t i = 0; i < call->given_count; i++) {
        const struct verb_option *o = call->given[i].option;
        const char *value = call->given[i].value;
        struct error e = {0};
        long number = 0;

        CHECK(o && value && (o->arg || !*value));
        if (o->arg && strchr(o->arg, '|'))
            CHECK(is_choice(o->arg, value));
        CHECK(verb_option(call, o->name));
        if (o->arg && strcmp(o->arg, "N") == 0 && verb_option_int(call, o->name, 1, 9, &number, &e) == 0)
            CHECK(number >= 1 && number <= 9);
    }
}

static void try_words(int argc, char **argv)
{
    char **rest = malloc((size_t)(argc + 1) * sizeof(*rest));
    const struct verb *verb = NULL;
    struct verb_call call = {0};
    struct error e = {0};
    int count = 0;

    CHECK(rest);
    if (verbs_find(verbs, argc, argv, &verb, &count, rest, &e) < 0) {
        CHECK(e.text[0]);
    } else if (!(verb->shared & VERB_RAW)) {
        CHECK(count <= argc);
        if (verb_call_init(&call, verb, count, rest, &e) == 0)
            check_call(&call);
        else
            CHECK(e.code == ERR_INVALID && e.text[0]);
        verb_call_release(&call);
    }
    free(rest);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1), program[] = "cronsched", *argv[WORDS_MAX + 2] = {program}, *at = text;
    int argc = 1;

    CHECK(text);
    if (size > 0)
        memcpy(text, data, size);
    text[size] = '\0';
    while (at && argc <= WORDS_MAX) {
        argv[argc++] = at;
        at = strchr(at, '\n');
        if (at)
            *at++ = '\0';
    }
    for (int i = 1; i < argc; i++)
        try_time(argv[i]);
    try_words(argc, argv);
    free(text);
    return 0;
}
