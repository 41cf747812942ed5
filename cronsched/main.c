/* The program: one binary, its verbs in one table (verbs.h).
 *
 * In a build with faults, CRONSCHED_CRASH_AT="POINT:DETAIL[:N]" kills the process with SIGKILL when that
 * point (jobs/base/fault.h) is passed for the N-th time, and CRONSCHED_STOP_AT likewise stops it with SIGSTOP. An
 * empty DETAIL is any.
 */
#include "cronsched/command/verbs.h"
#include "jobs/base/alloc.h"
#include "jobs/base/fault.h"
#include "jobs/base/hash_table.h"

#include <jansson.h>
#include <locale.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#ifdef CRONSCHED_FAULTS
struct fault_rule {
    const char *variable;
    int signal;
    char point[128], detail[256];
    long left; /* passings until it strikes; 0: not armed */
};

static struct fault_rule fault_rules[] = {{"CRONSCHED_CRASH_AT", SIGKILL}, {"CRONSCHED_STOP_AT", SIGSTOP}};

static void fault_strike(const char *point, const char *detail)
{
    for (size_t i = 0; i < sizeof(fault_rules) / sizeof(fault_rules[0]); i++) {
        struct fault_rule *rule = &fault_rules[i];

        if (rule->left == 0 || strcmp(rule->point, point) != 0)
            continue;
        if (rule->detail[0] && strcmp(rule->detail, detail ? detail : "") != 0)
            continue;
        if (--rule->left == 0)
            raise(rule->signal);
    }
}

static void fault_install(void)
{
    for (size_t i = 0; i < sizeof(fault_rules) / sizeof(fault_rules[0]); i++) {
        struct fault_rule *rule = &fault_rules[i];
        const char *text = getenv(rule->variable);
        size_t point, detail;

        if (!text)
            continue;
        point = strcspn(text, ":");
        snprintf(rule->point, sizeof(rule->point), "%.*s", (int)point, text);
        text += point + (text[point] == ':');
        detail = strcspn(text, ":");
        snprintf(rule->detail, sizeof(rule->detail), "%.*s", (int)detail, text);
        rule->left = text[detail] ? strtol(text + detail + 1, NULL, 10) : 1;
        fault_hook = fault_strike;
    }
}
#else
static void fault_install(void)
{
}
#endif

static void seed_hash_tables(void)
{
    uint8_t key[HASH_TABLE_KEY_BYTES];

    if (getrandom(key, sizeof(key), 0) != (ssize_t)sizeof(key))
        abort(); /* so few bytes come whole, or the kernel has no such call */
    hash_table_set_key(key);
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    /* For the widths in tables; everything else stays as in "C". What jobs and logs hold is UTF-8 anyhow. */
    if (!setlocale(LC_CTYPE, "") || MB_CUR_MAX == 1)
        setlocale(LC_CTYPE, "C.UTF-8");
    json_set_alloc_funcs(alloc_bytes, free);
    seed_hash_tables();
    fault_install();
    return verbs_main(argc, argv);
}
