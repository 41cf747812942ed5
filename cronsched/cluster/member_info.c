#include "cronsched/cluster/member_info.h"

#include "jobs/base/alloc.h"
#include "jobs/base/text.h"

#include <stdio.h>

#define DIFFERENCE_BYTES_MAX 1000

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

const struct replicated_member *member_info_host(const struct replicated_view *v, const char *host)
{
    for (size_t i = 0; i < v->member_count; i++) {
        const json_t *hosts = json_object_get(v->members[i].facts, "hosts"), *one;
        size_t n;

        json_array_foreach(hosts, n, one)
        {
            if (json_is_string(one) && strcmp(json_string_value(one), host) == 0)
                return &v->members[i];
        }
    }
    return NULL;
}

const char *member_info_url(const struct replicated_member *m)
{
    const char *url = m ? fact(m, "url") : NULL;

    return url && url[0] ? url : NULL;
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

/* ---- rows ---- */

static json_t *fact_json(const struct replicated_member *m, const char *key)
{
    json_t *value = json_object_get(m->facts, key);

    return value ? json_incref(value) : json_null();
}

static json_t *row(const struct replicated_view *v, const struct replicated_member *m)
{
    static const char *const keys[] = {"url",   "applied", "version", "tzdata",  "clock_offset_ms",
                                       "level", "fit",     "config",  "engines", "pid",
                                       "state"};
    bool leads = v->leader && strcmp(v->leader, m->id) == 0;
    json_t *o = json_pack("{s:s, s:s}", "id", m->id, "role", leads ? "leader" : "standby");

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
        if (!fact_text(&v->members[i], key, value))
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

/* Two replicas that hashed their state at one index must have found the same. */
static void compare_states(const struct replicated_view *v, json_t *to)
{
    for (size_t i = 1; i < v->member_count; i++) {
        const json_t *mine = json_object_get(v->members[i].facts, "state");

        for (size_t k = 0; mine && k < i; k++) {
            const json_t *other = json_object_get(v->members[k].facts, "state");
            struct text t;

            if (!json_equal(json_object_get(mine, "index"), json_object_get(other, "index")) ||
                json_equal(mine, other))
                continue;
            text_init(&t, DIFFERENCE_BYTES_MAX);
            text_addf(&t, "%s and %s disagree about batch %lld", v->members[k].id, v->members[i].id,
                      (long long)json_integer_value(json_object_get(mine, "index")));
            add_difference(to, "state", &t);
            text_release(&t);
            return;
        }
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
            text_addf(&t, "%s%s", any ? "; " : "", json_is_string(one) ? json_string_value(one) : "?");
            any = true;
        }
    }
    if (any)
        add_difference(to, "links", &t);
    text_release(&t);
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
    compare(v, "config", all);
    compare_clocks(v, all);
    compare_states(v, all);
    collect_links(v, all);
    report_leaderless(v, all);
    return all;
}
