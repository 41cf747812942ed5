/* What a replica does with its links to the others: what they say reaches the core, and whom the core asks. See
 * replica_priv.h.
 */
#include "cronsched/cluster/heartbeat.h"
#include "cronsched/cluster/replica_priv.h"
#include "jobs/base/clock.h"

static const char *this_process(void *arg)
{
    return replica_view(arg)->process;
}

/* ---- from the links ---- */

static int64_t on_clock_jump(void *arg)
{
    const struct replica *r = OBJECT(struct replica, arg);

    return r->o.clock_jump_ms ? r->o.clock_jump_ms(r->o.clock_arg) : 0;
}

static void on_link(void *arg, int64_t epoch, const struct replicated_link *link)
{
    struct replica *r = OBJECT(struct replica, arg);

    if (r->journal)
        replicated_leader_link(r->journal, epoch, link);
}

static void on_clock(void *arg, const struct clock_voice *voice)
{
    clock_voices_hear(&OBJECT(struct replica, arg)->voices, voice);
}

static const json_t *on_known(void *arg)
{
    return known_members_all(OBJECT(struct replica, arg)->known);
}

static void on_heard(void *arg, const struct replicated_heard *heard)
{
    struct replica *r = OBJECT(struct replica, arg);

    if (!r->journal)
        return;
    known_members_heard(r->known, replica_view(r), heard, clock_wall_ms());
    replicated_heard(r->journal, heard);
}

static void on_silent(void *arg, const char *id)
{
    struct replica *r = OBJECT(struct replica, arg);

    if (r->journal)
        replicated_silent(r->journal, id);
}

static void on_asked(void *arg)
{
    struct replica *r = OBJECT(struct replica, arg);

    if (r->journal)
        replicated_members_asked(r->journal);
}

static void on_holder(void *arg, enum replicated_holder holder, const char *why)
{
    struct replica *r = OBJECT(struct replica, arg);

    if (r->journal)
        replicated_holder(r->journal, holder, why);
}

/* ---- of the core ---- */

bool replica_links_ask_members(void *arg)
{
    return heartbeat_ask(OBJECT(struct replica, arg)->heartbeat);
}

bool replica_links_ask_holder(void *arg, const char *url)
{
    return name_holder_ask(&OBJECT(struct replica, arg)->name_holder, url);
}

/* ---- life ---- */

void replica_links_start(struct replica *r)
{
    known_members_new(&r->known, r->o.loop, r->o.config->data_dir, r->o.id, r->mark.cluster);
    r->name_holder = (struct name_holder){.object = OBJECT_MARK(struct name_holder),
                                          .peer = &r->peer,
                                          .self = r->o.id,
                                          .process = this_process,
                                          .done = on_holder,
                                          .arg = r};
    heartbeat_new(&r->heartbeat, &(struct heartbeat_options){.loop = r->o.loop,
                                                             .peer = &r->peer,
                                                             .self = r->o.id,
                                                             .view = replica_view,
                                                             .jump_ms = on_clock_jump,
                                                             .link = on_link,
                                                             .clock = on_clock,
                                                             .known = on_known,
                                                             .heard = on_heard,
                                                             .silent = on_silent,
                                                             .asked = on_asked,
                                                             .arg = r});
}

/* What those outside of this tree held when they were last heard, in an earlier life of this process. */
void replica_links_recall(struct replica *r)
{
    json_t *all = json_deep_copy(known_members_all(r->known)), *one;
    const char *id;

    json_object_foreach(all, id, one)
    {
        struct replicated_heard heard = {.id = id, .role = REPLICATED_STANDBY, .nonce = "", .asked_ms = 1};

        heard.url = json_string_value(json_object_get(one, "url"));
        if (heard.url && json_is_true(json_object_get(one, "outside")) &&
            mark_parse(&heard.mark, json_object_get(one, "mark"), NULL) == 0)
            replicated_heard(r->journal, &heard);
    }
    json_decref(all);
}
