/* Who has this replica's name. A node of it in /members, of another session, is of an earlier life of this replica, or of
 * another process that was started with the same name, by a copied configuration for example. Whoever has the name keeps
 * it: a second process waits, refuses, and says why.
 *
 * Happy path, after a restart: the node is there -> it is read -> nobody answers at the URL that it names, or this very
 * process does -> it is removed, on the condition that it has not changed meanwhile, and this replica's own is made.
 * Another process of this name answers: refused, and looked at again every HOLDER_AGAIN_MS. Nothing that can be understood
 * comes from there: the same, until its session has ended, and with it the node.
 * Failures: an answer lost, anything unexpected: read again a little later.
 */
#include "leader/replicated/replicated_priv.h"

#include <assert.h>
#include <stdio.h>

static void again_in(struct replicated *r, uint64_t ms)
{
    assert(ms <= HOLDER_AGAIN_MS);
    r->holder.state = HOLDER_FOUND;
    r->holder.again_ms = replicated_now_ms(r) + ms;
}

static void refuse(struct replicated *r, const char *text)
{
    assert(text[0]);
    snprintf(r->holder.refusal, sizeof(r->holder.refusal), "%s", text);
    guard_judge(r);
}

static void free_name(struct replicated *r)
{
    r->holder.state = HOLDER_GONE;
    guard_name_is_free(r);
    assert(!r->holder.refusal[0]);
}

static void take_node(struct replicated *r, const struct coord_reply *reply)
{
    struct holder *h = &r->holder;
    json_t *o = reply->size <= NODE_BYTES_MAX ? json_loadb(reply->data, reply->size, 0, NULL) : NULL;
    const char *process = json_string_value(json_object_get(o, "process")),
               *url = json_string_value(json_object_get(o, "url"));

    assert(h->state == HOLDER_READ);
    h->version = reply->stat.version;
    snprintf(h->url, sizeof(h->url), "%.255s", url ? url : "");
    if (!r->o.host->ask_holder || !h->url[0] || (process && strcmp(process, r->process) == 0))
        free_name(r); /* of an earlier session of this process */
    else if (r->o.host->ask_holder(r->o.host->arg, h->url))
        h->state = HOLDER_ASKED;
    else
        again_in(r, HOLDER_AGAIN_MS);
    json_decref(o);
}

static void on_node(void *arg, const struct coord_reply *reply)
{
    struct replicated *r = OBJECT(struct replicated, arg);

    assert(r->holder.state == HOLDER_READ);
    if (reply->result == COORD_OK)
        take_node(r, reply);
    else if (reply->result == COORD_NO_NODE)
        free_name(r);
    else
        again_in(r, reply->result == COORD_LOST ? 0 : HOLDER_AGAIN_MS);
    replicated_pump(r);
}

void holder_found(struct replicated *r)
{
    assert(!r->members.registered);
    again_in(r, 0);
}

void holder_session(struct replicated *r)
{
    assert(r->session.connected);
    if (r->holder.state != HOLDER_READ && r->holder.state != HOLDER_ASKED)
        r->holder.state = HOLDER_NONE;
}

bool holder_pump(struct replicated *r)
{
    char path[COORD_PATH_MAX];

    assert(!r->members.registered);
    if (r->holder.state == HOLDER_FOUND && replicated_now_ms(r) >= r->holder.again_ms) {
        r->holder.state = HOLDER_READ;
        snprintf(path, sizeof(path), NODE_MEMBERS "/%.100s", r->replica);
        r->coord->ops->get(r->coord, path, false, on_node, r);
    }
    return r->holder.state == HOLDER_NONE || r->holder.state == HOLDER_GONE;
}

uint64_t holder_wake_ms(const struct replicated *r)
{
    assert(r->holder.state <= HOLDER_GONE);
    return r->holder.state == HOLDER_FOUND ? r->holder.again_ms : UINT64_MAX;
}

void replicated_holder(struct journal *journal, enum replicated_holder holder, const char *why)
{
    struct replicated *r = replicated_of(journal);
    char text[sizeof(r->holder.refusal)];

    if (r->holder.state != HOLDER_ASKED)
        return;
    assert(r->holder.url[0]);
    if (holder == REPLICATED_HOLDER_GONE) {
        free_name(r);
    } else {
        if (holder == REPLICATED_HOLDER_OTHER)
            snprintf(text, sizeof(text),
                     "another process serves as replica '%.40s' at %.60s: each needs an id of its own",
                     r->replica, r->holder.url);
        else
            snprintf(text, sizeof(text),
                     "another process may serve as replica '%.40s' at %.60s (%.60s): its session has not "
                     "ended yet",
                     r->replica, r->holder.url, why);
        again_in(r, HOLDER_AGAIN_MS);
        refuse(r, text);
    }
    replicated_pump(r);
}
