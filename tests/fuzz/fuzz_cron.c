/* Any bytes as a schedule text: the first three choose dialect, policy and zone, the rest is the text. What
 * is accepted must print as text that is the same schedule; its fire times must ascend, be found again from
 * either side, and be as many as are counted. */
#include "jobs/time/cron.h"
#include "jobs/time/interval.h"
#include "jobs/time/schedule.h"
#include "jobs/time/zoneinfo.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#define FIRES 20

static void require(bool condition)
{
    if (!condition)
        abort();
}

static const char *const names[] = {
    "UTC",          "America/New_York",  "Australia/Lord_Howe", "Antarctica/Troll",
    "Pacific/Apia", "Africa/Casablanca", "America/St_Johns",    "Pacific/Chatham"};
static const int64_t froms_s[] = {INT64_MIN,  0,          1743292800,   1762041600,
                                  4102444800, 7258032000, INT64_MAX - 1};

/* The text's exact bytes, without a NUL behind them. */
static void check_expression(const char *text, size_t size, enum schedule_dialect dialect)
{
    struct cron_context context = {.dialect = dialect, .job = "job", .seed = 1}, plain = context;
    char printed[CRON_TEXT_MAX], again_printed[CRON_TEXT_MAX];
    struct cron cron, again;
    struct error error;
    size_t column = SIZE_MAX;

    if (cron_parse(text, size, &context, &cron, &column, &error) < 0) {
        require(column <= size && error.text[0]);
        return;
    }
    plain.dialect = SCHEDULE_CRON;
    cron_print(&cron, printed, sizeof(printed));
    require(strlen(printed) + 1 < sizeof(printed));
    require(cron_parse(printed, strlen(printed), &plain, &again, NULL, NULL) == 0);
    require(memcmp(&cron, &again, sizeof(cron)) == 0);
    require(strcmp(printed, cron_print(&again, again_printed, sizeof(again_printed))) == 0);
}

static void check_fires(const struct schedule *s, const struct schedule *again, int64_t from_s)
{
    int64_t at_s = from_s;

    for (int i = 0; i < FIRES; i++) {
        int64_t next_s = schedule_next(s, at_s);
        char local[64];

        require(next_s == schedule_next(again, at_s));
        require(next_s > at_s);
        if (next_s == SCHEDULE_NEVER)
            return;
        require(schedule_match(s, next_s));
        require(schedule_prev(s, next_s + 1) == next_s);
        require(i == 0 || schedule_prev(s, next_s) == at_s);
        require(schedule_count(s, at_s, next_s, FIRES) == 1);
        require(schedule_count(s, from_s, next_s, FIRES + 1) == i + 1);
        schedule_local(s, next_s, local, sizeof(local));
        schedule_mark(s, next_s);
        require(schedule_jitter_ms(s, next_s) >= 0);
        at_s = next_s;
    }
}

static void check_schedule(const char *text, const struct schedule_options *options,
                           struct zone_source *zones)
{
    char canonical[SCHEDULE_TEXT_MAX + 16], english[4096];
    const char *canonical_text = canonical;
    struct schedule_options plain = *options;
    struct schedule *s, *again;
    struct schedule_fault fault;
    struct error error;

    if (schedule_new(&s, &text, 1, options, zones, &fault, &error) < 0) {
        require(fault.column <= strlen(text) && error.text[0]);
        return;
    }
    schedule_canonical(s, 0, canonical, sizeof(canonical));
    plain.dialect = SCHEDULE_CRON;
    plain.zone = schedule_zone(s);
    require(schedule_new(&again, &canonical_text, 1, &plain, zones, NULL, NULL) == 0);
    schedule_describe(s, english, sizeof(english));
    require(english[0] != '\0' && english[0] != ',');
    for (size_t i = 0; i < sizeof(froms_s) / sizeof(froms_s[0]); i++)
        check_fires(s, again, froms_s[i]);
    schedule_free(again);
    schedule_free(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct zoneinfo *zoneinfo;
    struct schedule_options options = {.job = "job", .seed = 1, .anchor_s = 1700000000, .jitter_ms = 60000};
    char *text;

    if (size < 3)
        return 0;
    if (!zoneinfo)
        require(zoneinfo_new(&zoneinfo, "/usr/share/zoneinfo", NULL) == 0);
    options.dialect = data[0] & 1 ? SCHEDULE_QUARTZ : SCHEDULE_CRON;
    options.dst = (enum schedule_dst)(data[1] & 3);
    options.zone = data[2] & 128 ? NULL : names[data[2] & 7];
    check_expression((const char *)data + 3, size - 3, options.dialect);
    text = malloc(size - 2);
    require(text != NULL);
    memcpy(text, data + 3, size - 3);
    text[size - 3] = '\0';
    check_schedule(text, &options, zoneinfo_source(zoneinfo));
    free(text);
    return 0;
}
