#include "leader/worker/resolve.h"

#include "jobs/base/alloc.h"

#include <assert.h>

struct resolve {
    struct work work;
    struct worker *worker;
    char *host, *port;
    resolve_done *done;
    void *arg;
    int status; /* of getaddrinfo */
    struct addrinfo *found;
};

static void run(struct work *work)
{
    static const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct resolve *r = LIST_ITEM(work, struct resolve, work);

    assert(worker_is_current(r->worker) && !r->found);
    r->status = getaddrinfo(r->host, r->port, &hints, &r->found);
}

static void done(struct work *work, int result)
{
    struct resolve *r = LIST_ITEM(work, struct resolve, work);
    struct addrinfo *found;
    char why[128];

    assert(result < 0 || r->status != 0 || r->found);
    if (result < 0) {
        r->done(r->arg, result, NULL, worker_result_text(r->worker, result, why, sizeof(why)));
    } else if (r->status != 0) {
        r->done(r->arg, ERR_NOT_FOUND, NULL, gai_strerror(r->status));
    } else {
        found = r->found;
        r->found = NULL;
        r->done(r->arg, 0, found, "");
    }
}

static void release(struct work *work)
{
    struct resolve *r = LIST_ITEM(work, struct resolve, work);

    if (r->found)
        freeaddrinfo(r->found);
    free(r->host);
    free(r->port);
    free(r);
}

void resolve_start(struct worker *worker, const char *host, const char *port, resolve_done *on_done,
                   void *arg)
{
    struct resolve *r = alloc_zero(sizeof(*r));

    r->worker = worker;
    r->host = alloc_text(host);
    r->port = alloc_text(port);
    r->done = on_done;
    r->arg = arg;
    r->work = (struct work){.run = run, .done = done, .release = release, .subject = r->host};
    worker_submit(worker, &r->work);
}

struct worker *resolve_worker_new(uv_loop_t *loop)
{
    struct worker_options o = {.name = "resolver", .threads = 1, .deadline_ms = RESOLVE_DEADLINE_MS};
    struct worker *worker = NULL;
    int r = worker_new(&worker, loop, &o, NULL);

    assert(r == 0); /* with a deadline threads are made when they are needed */
    return worker;
}
