#include "jobs/history/history.h"

#include <stdlib.h>

void history_write_free(struct history_write *w)
{
    if (!w)
        return;
    for (size_t i = 0; i < w->run_count; i++) {
        free(w->runs[i].run);
        free(w->runs[i].job);
        free(w->runs[i].state);
        free(w->runs[i].verdict);
        free(w->runs[i].json);
    }
    for (size_t i = 0; i < w->skip_count; i++) {
        free(w->skips[i].job);
        free(w->skips[i].reason);
        free(w->skips[i].text);
    }
    for (size_t i = 0; i < w->record_count; i++) {
        free(w->records[i].kind);
        free(w->records[i].job);
        free(w->records[i].run);
        free(w->records[i].json);
        free(w->records[i].by);
    }
    free(w->runs);
    free(w->skips);
    free(w->records);
    free(w);
}
