/* Shared by the files of explain. */
#pragma once

#include "jobs/audit/explain.h"
#include "jobs/audit/versions.h"

struct explain {
    const struct explain_request *request;
    json_t *const *answers;
    struct zone_source *zones;
    struct versions versions;
    struct versions_job *job;
    struct versions_entry *version;  /* in force at the time; NULL: none */
    const struct schedule *schedule; /* of it; NULL: none, or broken */
    int64_t at_s;                    /* the time, or the second that contains it */
    bool is_fire_time;
    int64_t last_ms; /* when the last of the run's records was made; 0: none */
    json_t *lines;
    size_t timeless; /* lines at the beginning without a time */
};

/* Lines with a time are kept in its order; those without come first, as they are added. time_ms 0: none. */
void explain_line(struct explain *e, int64_t time_ms, const char *what, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Lines for the run's records, and for the leaders during the run. */
void explain_records(struct explain *e);
/* Lines that say why the time is not a fire time of the definition in force. */
void explain_why_not(struct explain *e);

const char *explain_time(int64_t ms, char *buffer,
                         size_t size); /* seconds, or milliseconds where there are some */
