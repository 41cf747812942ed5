#include "jobs/time/cron_remark.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct token {
    const char *at;
    size_t length;
};

/* The fields as they are written; 0: not five to seven, such as a nickname. */
static size_t split(const char *text, struct token ret[CRON_FIELDS])
{
    size_t count = 0;

    for (;;) {
        text += strspn(text, " \t");
        if (!*text)
            return count >= 5 ? count : 0;
        if (count == CRON_FIELDS)
            return 0;
        ret[count] = (struct token){text, strcspn(text, " \t")};
        text += ret[count++].length;
    }
}

static const struct unit {
    const char *name;
    int min, max, count;
    char duration; /* of @every; NUL: there is none */
} units[CRON_FIELDS] = {
    [CRON_SECOND] = {"second", 0, 59, 60, 's'},    [CRON_MINUTE] = {"minute", 0, 59, 60, 'm'},
    [CRON_HOUR] = {"hour", 0, 23, 24, 'h'},        [CRON_DOM] = {"day of month", 1, 31, 31, 'd'},
    [CRON_MONTH] = {"month", 1, 12, 12, '\0'},     [CRON_DOW] = {"day of week", 0, 6, 7, '\0'},
    [CRON_YEAR] = {"year", 1970, 2199, 230, '\0'},
};

/* N of a field that is *\/N and nothing else, or 0. */
static long star_step(struct token token)
{
    if (token.length < 3 || token.at[0] != '*' || token.at[1] != '/' ||
        strspn(token.at + 2, "0123456789") != token.length - 2)
        return 0;
    return strtol(token.at + 2, NULL, 10);
}

static bool remark_step(const struct token *tokens, size_t count, char ret[CRON_REMARK_MAX])
{
    for (size_t i = 0; i < count; i++) {
        const struct unit *unit = &units[i + (count == 5 ? CRON_MINUTE : CRON_SECOND)];
        long step = star_step(tokens[i]);
        char every[64] = "";

        if (step < unit->count)
            continue;
        if (unit->duration)
            snprintf(every, sizeof(every), "; for elapsed time write '@every %ld%c'", step, unit->duration);
        snprintf(ret, CRON_REMARK_MAX, "%s: of %d-%d, */%ld leaves %d alone%s", unit->name, unit->min,
                 unit->max, step, unit->min, every);
        return true;
    }
    return false;
}

bool cron_remark(const char *text, char ret[CRON_REMARK_MAX])
{
    struct token tokens[CRON_FIELDS];
    size_t count = split(text, tokens);

    return count > 0 && remark_step(tokens, count, ret);
}
