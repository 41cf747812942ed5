/* Notifications: delivers what the jobs' `notify` asks for, by POST of the run as JSON to the URL. At least
 * once: a notification is in the journal from the record that ends the run until it is delivered, so it
 * survives the leader. A 2xx answer is a delivery; anything else is tried again, at growing intervals, for
 * WEBHOOKS_GIVE_UP_MS. What the definition takes from files for headers and signature is read for each try
 * (webhook_headers.h).
 *
 * One thread: the loop's. Borrows the scheduler and the loop.
 */
#pragma once

#include "jobs/base/error.h"
#include "jobs/scheduler/scheduler.h"

#include <uv.h>

#define WEBHOOKS_LOOK_MS      1000
#define WEBHOOKS_NEXT_MS      10 /* from the end of one to the next */
#define WEBHOOKS_PARALLEL     8
#define WEBHOOKS_PARALLEL_URL 2 /* of these, to one receiver */
#define WEBHOOKS_TIMEOUT_MS   10000
#define WEBHOOKS_FIRST_MS     2000
#define WEBHOOKS_MOST_MS      (5 * 60 * 1000)
#define WEBHOOKS_GIVE_UP_MS   (24 * 3600 * 1000)
#define WEBHOOKS_TRIED_MAX    1000 /* notifications whose tries are remembered: as many as the state holds */

struct webhooks;

/* files_dir: which those files must lie below; copied; NULL: none is read. */
int webhooks_new(struct webhooks **ret, uv_loop_t *loop, struct scheduler *scheduler, const char *files_dir,
                 struct error *error);

/* What is under way is delivered again by the next start. done is called once, from the loop. */
void webhooks_close(struct webhooks *webhooks, void (*done)(void *arg), void *arg);
