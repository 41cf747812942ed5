/* Calendar files in `except`: an item that ends with .ics becomes the days of its events. The file is read by
 * whoever reads job files (the domain reads none); what the server gets and journals are the days. */
#include "jobs/definition/job_keys.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static bool is_calendar(const char *text)
{
    size_t length = strlen(text);

    return length > 4 && strcasecmp(text + length - 4, ".ics") == 0;
}

static void add_days(struct job_reader *reader, struct strings *list, const char *path)
{
    const struct job_key *key = &job_keys[JOB_KEY_EXCEPT];
    const struct yaml_node *at = job_item_node(reader, JOB_KEY_EXCEPT, path);
    struct civil_range *ranges = NULL;
    struct error error;
    size_t count = 0;
    int r = reader->calendar(reader->arg, path, &ranges, &count, &error);

    if (r == ERR_NOMEM)
        reader->no_memory = true;
    else if (r < 0)
        job_report(reader, key, at, "%s", error.text);
    else if (list->count + count > SCHEDULE_EXCEPT_MAX)
        job_report(reader, key, at, "with the %zu ranges of days of '%.200s' there are more than %d", count,
                   path, SCHEDULE_EXCEPT_MAX);
    else
        for (size_t i = 0; i < count; i++) {
            char text[CIVIL_TEXT_MAX];

            if (job_strings_add(list, civil_range_format(&ranges[i], text, sizeof(text))) < 0)
                reader->no_memory = true;
        }
    free(ranges);
}

void job_expand_calendars(struct job_reader *reader)
{
    const struct strings *old = &reader->job->except;
    struct strings list = {0};
    size_t calendars = 0;

    for (size_t i = 0; i < old->count; i++)
        calendars += is_calendar(old->items[i]);
    if (calendars == 0 || !reader->calendar)
        return;
    for (size_t i = 0; i < old->count; i++) {
        if (is_calendar(old->items[i]))
            add_days(reader, &list, old->items[i]);
        else if (job_strings_add(&list, old->items[i]) < 0)
            reader->no_memory = true;
    }
    job_key_release(reader->job, &job_keys[JOB_KEY_EXCEPT]);
    reader->job->except = list;
}
