/* What was refused is counted, and told in the log: who it was, what was asked for, and why. A line each would let
 * anybody fill the disk, so there are LINES_AT_ONCE of them and then one each LINE_EVERY_MS, with the number of those
 * in between. */
#include "cronsched/http/http_core.h"

#include <stdio.h>

#define LINES_AT_ONCE 10
#define LINE_EVERY_MS 6000
#define LINE_BYTES    1024

const char *http_refusal_name(enum http_refusal why)
{
    static const char *const names[HTTP_REFUSALS] = {"token", "denied", "malformed", "place", "address"};

    return names[why];
}

/* Whether there is room for a line now. */
static bool take_line(struct http_refused *refused, uint64_t now_ms)
{
    uint64_t earned;

    if (!refused->since_ms) {
        refused->lines = LINES_AT_ONCE;
        refused->since_ms = now_ms;
    }
    earned = (now_ms - refused->since_ms) / LINE_EVERY_MS;
    refused->since_ms += earned * LINE_EVERY_MS;
    refused->lines += earned < LINES_AT_ONCE ? (unsigned)earned : LINES_AT_ONCE;
    if (refused->lines > LINES_AT_ONCE)
        refused->lines = LINES_AT_ONCE;
    if (refused->lines == 0)
        return false;
    refused->lines--;
    return true;
}

void http_refused(struct http *http, enum http_refusal why, const char *caller, const char *what,
                  const char *text)
{
    struct http_refused *refused = &http->refused;
    char line[LINE_BYTES];

    refused->counts[why]++;
    if (!http->log)
        return;
    if (!take_line(refused, uv_now(http->loop) + 1)) {
        refused->silent++;
        return;
    }
    if (refused->silent > 0)
        snprintf(line, sizeof(line), "%s by %.96s: %s: %.400s (%llu more before it)", what, caller,
                 http_refusal_name(why), text, (unsigned long long)refused->silent);
    else
        snprintf(line, sizeof(line), "%s by %.96s: %s: %.400s", what, caller, http_refusal_name(why), text);
    refused->silent = 0;
    http->log(http->arg, LOG_WARN, "http-refused", line);
}
