#include "cronsched/cluster/member_info.h"

#include "jobs/base/alloc.h"
#include "jobs/base/text.h"

#include <stdio.h>

#define DIFFERENCE_BYTES_MAX 1000
#define SETTINGS_BYTES_MAX   16384

/* ---- who has what ---- */

static const char *fact(const struct replicated_member *m, const char *key)
{
    return json_string_value(json_object_get(m->facts, key));
}

const char *member_info_host_of(const char *attempt_id)
{
    const char *at = attempt_id ? strrchr(attempt_id, '@') : NULL;

    return at ? at + 1 : NULL;
}

static bool has_host(const struct replicated_member *m, const char *host)
{
    const json_t *hosts = json_object_get(m->facts, "hosts"), *one;
    size_t n;

    json_array_foreach(hosts, n, one)
    {
        if (json_is_string(one) && strcmp(json_string_value(one), host) == 0)
            return true;
    }
    return false;
}

const struct replicated_member *member_info_host(const struct replicated_view *v, const char *host)
{
    for (size_t i = 0; i < v->member_count; i++)
        if (has_host(&v->members[i], host))
            return &v->members[i];
    return NULL;
}

const struct replicated_member *member_info_folder_owner(const struct replicated_view *v, const char *self,
                                                         const char *host)
{
    const char *leader = v->leader ? v->leader : "";

    if (strcmp(leader, self) == 0)
        return NULL;
    for (size_t i = 0; i < v->member_count; i++) {
        const struct replicated_member *m = &v->members[i];

        if (has_host(m, host) && (strcmp(m->id, leader) == 0 || strcmp(m->id, self) < 0))
            return m;
    }
    return NULL;
}

const char *member_info_url(const struct replicated_member *m)
{
    const char *url = m ? fact(m, "url") : NULL;

    return url && url[0] ? url : NULL;
}

/* It belongs to another cluster, and is only connected to the same nodes: what it says counts for nothing here. */
static bool is_foreign(const struct replicated_view *v, const struct replicated_member *m)
{
    const char *cluster = json_string_value(json_object_get(json_object_get(m->facts, "mark"), "cluster"));

    return v->cluster[0] && cluster && cluster[0] && strcmp(cluster, v->cluster) != 0;
}

static const char *identity_of(const struct replicated_member *m, const char *engine)
{
    return json_string_value(json_object_get(json_object_get(m->facts, "identities"), engine));
}

const struct replicated_member *member_info_engine(const struct replicated_view *v, const char *self,
                                                   const char *engine, const char *identity)
{
    for (size_t i = 0; i < v->member_count; i++) {
        const char *its = identity_of(&v->members[i], engine);

        if (its && strcmp(its, identity) == 0 && strcmp(v->members[i].id, self) != 0)
            return &v->members[i];
    }
    return NULL;
}

/* How many replicas reach the same engine as this one, and half a vote more if the leader does. */
static int votes_for(const struct replicated_view *v, const char *engine, const char *identity)
{
    int votes = 0;

    for (size_t i = 0; i < v->member_count; i++) {
        const char *its = identity_of(&v->members[i], engine);

        if (its && strcmp(its, identity) == 0 && !is_foreign(v, &v->members[i]))
            votes += v->leader && strcmp(v->members[i].id, v->leader) == 0 ? 3 : 2;
    }
    return votes;
}

static bool is_odd(const struct replicated_view *v, const char *engine, const char *mine)
{
    int votes = votes_for(v, engine, mine);

    for (size_t i = 0; i < v->member_count; i++) {
        const char *its = identity_of(&v->members[i], engine);

        if (its && votes_for(v, engine, its) > votes)
            return true;
    }
    return false;
}

const char *member_info_odd_engine(const struct replicated_view *v, const char *self)
{
    for (size_t i = 0; i < v->member_count; i++) {
        json_t *identities = json_object_get(v->members[i].facts, "identities"), *one;
        const char *engine;

        if (strcmp(v->members[i].id, self) != 0)
            continue;
        json_object_foreach(identities, engine, one)
        {
            if (json_is_string(one) && is_odd(v, engine, json_string_value(one)))
                return engine;
        }
    }
    return NULL;
}

bool member_info_collects(const struct replicated_view *v, const char *self, const char *attempt_id)
{
    const char *host = member_info_host_of(attempt_id);
    const struct replicated_member *owner = host ? member_info_host(v, host) : NULL;

    if (host)
        return owner && strcmp(owner->id, self) == 0;
    return v->leading;
}

/* Whether a member comes first, second or later. */
static int place_of(const struct replicated_view *v, const struct replicated_member *m,
                    const struct replicated_member *owner)
{
    if (m == owner)
        return 0;
    return v->leader && strcmp(m->id, v->leader) == 0 ? 1 : 2;
}

size_t member_info_others(const struct replicated_view *v, const char *self, const char *attempt_id,
                          char *ret[REPLICATED_MEMBERS_MAX])
{
    const char *host = member_info_host_of(attempt_id);
    const struct replicated_member *owner = host ? member_info_host(v, host) : NULL;
    size_t n = 0;

    for (int place = 0; place < 3; place++)
        for (size_t i = 0; i < v->member_count; i++) {
            const struct replicated_member *m = &v->members[i];

            if (strcmp(m->id, self) != 0 && member_info_url(m) && place_of(v, m, owner) == place)
                ret[n++] = alloc_text(member_info_url(m));
        }
    return n;
}

/* ---- whose configuration it is ---- */

const char *member_info_leader_config(const struct replicated_view *v)
{
    for (size_t i = 0; v->leader && i < v->member_count; i++)
        if (strcmp(v->members[i].id, v->leader) == 0)
            return fact(&v->members[i], "config");
    return NULL;
}

static bool has_joined(const struct replicated_member *m)
{
    return !json_is_true(json_object_get(m->facts, "joining"));
}

/* Members other than `self` with that configuration. */
static size_t count_config(const struct replicated_view *v, const char *self, const char *hash)
{
    size_t n = 0;

    for (size_t i = 0; i < v->member_count; i++) {
        const char *theirs = fact(&v->members[i], "config");

        n += has_joined(&v->members[i]) && !is_foreign(v, &v->members[i]) &&
             strcmp(v->members[i].id, self) != 0 && theirs && strcmp(theirs, hash) == 0;
    }
    return n;
}

bool member_info_config_outvoted(const struct replicated_view *v, const char *self, const char *hash,
                                 const char *leader)
{
    size_t mine = 1 + count_config(v, self, hash);

    for (size_t i = 0; i < v->member_count; i++) {
        const char *theirs = fact(&v->members[i], "config");
        size_t n;

        if (!theirs || strcmp(theirs, hash) == 0)
            continue;
        n = count_config(v, self, theirs);
        if (n > mine || (n == mine && strcmp(theirs, leader) == 0))
            return true;
    }
    return false;
}

/* ---- rows ---- */

static json_t *fact_json(const struct replicated_member *m, const char *key)
{
    json_t *value = json_object_get(m->facts, key);

    return value ? json_incref(value) : json_null();
}

static const char *role(const struct replicated_view *v, const struct replicated_member *m)
{
    if (v->leader && strcmp(v->leader, m->id) == 0)
        return "leader";
    if (!has_joined(m))
        return "joining";
    return fact(m, "refuses") ? "refusing" : "standby";
}

static json_t *row(const struct replicated_view *v, const struct replicated_member *m)
{
    static const char *const keys[] = {"url",   "applied", "version", "tzdata",  "clock_offset_ms",
                                       "level", "fit",     "config",  "engines", "pid",
                                       "state", "mark",    "refuses", "joining", "jobs"};
    json_t *o = json_pack("{s:s, s:s}", "id", m->id, "role", role(v, m));

    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        json_object_set_new(o, keys[i], fact_json(m, keys[i]));
    return o;
}

json_t *member_info_rows(const struct replicated_view *v)
{
    json_t *rows = json_array();

    for (size_t i = 0; i < v->member_count; i++)
        json_array_append_new(rows, row(v, &v->members[i]));
    return rows;
}

/* ---- what differs ---- */

/* A fact as text; false: the replica does not say. */
static bool fact_text(const struct replicated_member *m, const char *key, char text[64])
{
    const json_t *value = json_object_get(m->facts, key);

    if (json_is_string(value))
        snprintf(text, 64, "%.32s", json_string_value(value));
    else if (json_is_integer(value))
        snprintf(text, 64, "%lld", (long long)json_integer_value(value));
    return json_is_string(value) || json_is_integer(value);
}

static void add_difference(json_t *to, const char *what, const struct text *t)
{
    if (!t->failed)
        json_array_append_new(to, json_pack("{s:s, s:s}", "what", what, "text", text_str(t)));
}

/* Every replica's value, when not all are the same. */
static void compare(const struct replicated_view *v, const char *key, json_t *to)
{
    char first[64], value[64];
    bool any = false, differ = false;
    struct text t;

    text_init(&t, DIFFERENCE_BYTES_MAX);
    for (size_t i = 0; i < v->member_count; i++) {
        if (is_foreign(v, &v->members[i]) || !fact_text(&v->members[i], key, value))
            continue;
        differ = differ || (any && strcmp(first, value) != 0);
        if (!any)
            memcpy(first, value, sizeof(first));
        text_addf(&t, "%s%s: %s", any ? ", " : "", v->members[i].id, value);
        any = true;
    }
    if (differ)
        add_difference(to, key, &t);
    text_release(&t);
}

static const char *setting(const struct replicated_member *m, const char *key)
{
    return json_string_value(json_object_get(json_object_get(m->facts, "settings"), key));
}

/* "KEY: ID has VALUE, ID has VALUE" when not all have the same. */
static void compare_setting(const struct replicated_view *v, const char *key, struct text *t)
{
    const char *first = NULL;
    bool differ = false;

    for (size_t i = 0; i < v->member_count; i++) {
        const char *its = setting(&v->members[i], key);

        if (!its || is_foreign(v, &v->members[i]))
            continue;
        differ = differ || (first && strcmp(first, its) != 0);
        first = first ? first : its;
    }
    if (!differ)
        return;
    text_addf(t, "%s%s:", t->len ? "; " : "", key);
    first = NULL;
    for (size_t i = 0; i < v->member_count; i++) {
        const char *its = setting(&v->members[i], key);

        if (!its || is_foreign(v, &v->members[i]))
            continue;
        text_addf(t, "%s %s has ", first ? "," : "", v->members[i].id);
        text_add(t, *its ? its : "none");
        first = its;
    }
}

/* By the keys; replicas of an older version tell a hash alone. */
static void compare_config(const struct replicated_view *v, json_t *to)
{
    json_t *settings = NULL, *value;
    const char *key;
    struct text t;

    text_init(&t, SETTINGS_BYTES_MAX);
    for (size_t i = 0; i < v->member_count && !settings; i++)
        if (!is_foreign(v, &v->members[i]))
            settings = json_object_get(v->members[i].facts, "settings");
    json_object_foreach(settings, key, value)
    {
        compare_setting(v, key, &t);
    }
    if (t.len)
        add_difference(to, "config", &t);
    else
        compare(v, "config", to);
    text_release(&t);
}

/* Which engine each replica reaches under this name, when it is not the same. */
static void compare_engine(const struct replicated_view *v, const char *engine, json_t *to)
{
    const char *first = NULL;
    bool differ = false;
    struct text t;

    text_init(&t, DIFFERENCE_BYTES_MAX);
    text_addf(&t, "%s is not one engine:", engine);
    for (size_t i = 0; i < v->member_count; i++) {
        const char *its = identity_of(&v->members[i], engine);

        if (!its || is_foreign(v, &v->members[i]))
            continue;
        differ = differ || (first && strcmp(first, its) != 0);
        text_addf(&t, "%s %s reaches %.40s", first ? "," : "", v->members[i].id, its);
        first = first ? first : its;
    }
    if (differ)
        add_difference(to, "engine", &t);
    text_release(&t);
}

static void compare_engines(const struct replicated_view *v, json_t *to)
{
    json_t *seen = json_object(), *one;
    const char *engine;

    for (size_t i = 0; i < v->member_count; i++) {
        json_object_foreach(json_object_get(v->members[i].facts, "identities"), engine, one)
        {
            if (!json_object_get(seen, engine))
                compare_engine(v, engine, to);
            json_object_set_new(seen, engine, json_true());
        }
    }
    json_decref(seen);
}

static void compare_clocks(const struct replicated_view *v, json_t *to)
{
    bool any = false;
    struct text t;

    text_init(&t, DIFFERENCE_BYTES_MAX);
    for (size_t i = 0; i < v->member_count; i++) {
        const json_t *offset = json_object_get(v->members[i].facts, "clock_offset_ms");
        long long ms = json_integer_value(offset);

        if (ms <= MEMBER_INFO_OFFSET_WARN_MS && ms >= -MEMBER_INFO_OFFSET_WARN_MS)
            continue;
        text_addf(&t, "%s%s: %+lld ms", any ? ", " : "", v->members[i].id, ms);
        any = true;
    }
    if (any)
        add_difference(to, "clock", &t);
    text_release(&t);
}

/* What both know under the index that both name differs. */
static bool contradict(const struct replicated_view *v, const struct replicated_member *a,
                       const struct replicated_member *b, const char *key)
{
    const json_t *one = json_object_get(a->facts, key), *other = json_object_get(b->facts, key);
    const char *mine = json_string_value(json_object_get(one, "hash")),
               *theirs = json_string_value(json_object_get(other, "hash"));

    return mine && mine[0] && theirs && theirs[0] && strcmp(mine, theirs) != 0 && has_joined(a) &&
           has_joined(b) && !is_foreign(v, a) && !is_foreign(v, b) &&
           json_equal(json_object_get(one, "index"), json_object_get(other, "index"));
}

/* Two replicas that know the same batch, by its hash (mark) or by that of the state behind it (state), must know the
 * same of it. */
static void compare_hashes(const struct replicated_view *v, const char *key, json_t *to)
{
    for (size_t i = 1; i < v->member_count; i++)
        for (size_t k = 0; k < i; k++) {
            struct text t;

            if (!contradict(v, &v->members[k], &v->members[i], key))
                continue;
            text_init(&t, DIFFERENCE_BYTES_MAX);
            text_addf(&t, "%s and %s disagree about batch %lld", v->members[k].id, v->members[i].id,
                      (long long)json_integer_value(
                          json_object_get(json_object_get(v->members[i].facts, key), "index")));
            add_difference(to, key, &t);
            text_release(&t);
            return;
        }
}

/* What each says of links that are down: differences in what replicas see of one another. */
static void collect_links(const struct replicated_view *v, json_t *to)
{
    bool any = false;
    struct text t;

    text_init(&t, DIFFERENCE_BYTES_MAX);
    for (size_t i = 0; i < v->member_count; i++) {
        const json_t *all = json_object_get(v->members[i].facts, "unreachable"), *one;
        size_t n;

        json_array_foreach(all, n, one)
        {
            if (any)
                text_add(&t, "; ");
            text_add(&t, json_is_string(one) ? json_string_value(one) : "?");
            any = true;
        }
    }
    if (any)
        add_difference(to, "links", &t);
    text_release(&t);
}

/* Who has noticed that its data folder is a copy of another's says so itself. */
static void report_copies(const struct replicated_view *v, json_t *to)
{
    for (size_t i = 0; i < v->member_count; i++) {
        const char *of = fact(&v->members[i], "copy_of");
        struct text t;

        if (!of)
            continue;
        text_init(&t, DIFFERENCE_BYTES_MAX);
        text_addf(&t, "the data folder of %s is a copy of that of %.64s: process jobs do not run there",
                  v->members[i].id, of);
        add_difference(to, "data folder", &t);
        text_release(&t);
    }
}

static void report_leaderless(const struct replicated_view *v, json_t *to)
{
    struct text t;

    if (v->leaderless_ms < 2 * (uint64_t)v->session_timeout_ms || v->leaderless_ms == 0)
        return;
    text_init(&t, DIFFERENCE_BYTES_MAX);
    text_addf(&t, "nobody leads since %llu s", (unsigned long long)v->leaderless_ms / 1000);
    add_difference(to, "leader", &t);
    text_release(&t);
}

json_t *member_info_differences(const struct replicated_view *v)
{
    json_t *all = json_array();

    compare(v, "version", all);
    compare(v, "tzdata", all);
    compare_config(v, all);
    compare_engines(v, all);
    report_copies(v, all);
    compare_clocks(v, all);
    compare_hashes(v, "state", all);
    compare_hashes(v, "mark", all);
    collect_links(v, all);
    report_leaderless(v, all);
    if (v->other_leader && v->other_leader[0])
        json_array_append_new(all, json_pack("{s:s, s:s}", "what", "other-leader", "text", v->other_leader));
    return all;
}
