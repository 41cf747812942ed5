/* See zookeeper_servers.h. The happy path: zookeeper_servers_refresh starts at the first name; each look-up (resolve.h) puts
 * its addresses into that server's slot and starts the next; `found` is called when the first address becomes
 * known. zookeeper_servers_next counts through all slots.
 *
 * Failures: a name that does not resolve keeps the addresses it had, and its problem is kept for people; so does
 * one whose look-up takes longer than RESOLVE_DEADLINE_MS. When a look-up outlives its owner its result is dropped.
 */
#include "leader/zookeeper/zookeeper_servers.h"

#include "jobs/base/object.h"
#include "leader/worker/resolve.h"
#include "leader/zookeeper/zookeeper.h"

#include <arpa/inet.h>
#include <assert.h>
#include <netdb.h>
#include <stdio.h>

#define HOST_MAX 256

struct server {
    char host[HOST_MAX], port[8];
    bool literal;
    char addresses[ZOOKEEPER_SERVERS_ADDRESSES_MAX][ZOOKEEPER_SERVERS_ADDRESS_TEXT];
    size_t count;
    char problem[HOST_MAX + 128];
};

struct zookeeper_servers {
    struct object object;
    uv_loop_t *loop;
    struct zookeeper_servers_user user;
    struct server list[ZOOKEEPER_SERVERS_MAX];
    size_t count;
    size_t next;
    struct worker *resolver;
    bool looking;      /* a pass over the names is under way, */
    size_t looking_at; /* and this one is looked up */
    uint64_t looked_up_ms;
    bool looked_up;
};

static void look_up_from(struct zookeeper_servers *s, size_t index);

/* The list is bounded; what is looked up is a name in it. */
static void check_invariants(const struct zookeeper_servers *s)
{
    assert(s->count > 0 && s->count <= ZOOKEEPER_SERVERS_MAX);
    assert(!s->looking || (s->looking_at < s->count && !s->list[s->looking_at].literal));
}

size_t zookeeper_servers_count(const struct zookeeper_servers *s)
{
    size_t n = 0;

    check_invariants(s);
    for (size_t i = 0; i < s->count; i++)
        n += s->list[i].count;
    return n;
}

bool zookeeper_servers_has(const struct zookeeper_servers *s, const char *address)
{
    check_invariants(s);
    for (size_t i = 0; i < s->count; i++)
        for (size_t n = 0; n < s->list[i].count; n++)
            if (strcmp(s->list[i].addresses[n], address) == 0)
                return true;
    return false;
}

const char *zookeeper_servers_problem(const struct zookeeper_servers *s)
{
    check_invariants(s);
    for (size_t i = 0; i < s->count; i++)
        if (s->list[i].problem[0])
            return s->list[i].problem;
    return "";
}

const char *zookeeper_servers_next(struct zookeeper_servers *s)
{
    size_t count = zookeeper_servers_count(s), at, i = 0;

    if (count == 0)
        return NULL;
    for (at = s->next++ % count; at >= s->list[i].count; i++) {
        assert(i + 1 < s->count); /* at is one of them */
        at -= s->list[i].count;
    }
    return s->list[i].addresses[at];
}

/* ---- looking up ---- */

static void add_address(struct server *server, const char *ip)
{
    char text[ZOOKEEPER_SERVERS_ADDRESS_TEXT];

    if (server->count == ZOOKEEPER_SERVERS_ADDRESSES_MAX)
        return;
    snprintf(text, sizeof(text), "%s:%s", ip, server->port);
    memcpy(server->addresses[server->count++], text, sizeof(text));
    assert(server->count <= ZOOKEEPER_SERVERS_ADDRESSES_MAX);
}

static void add_addresses(struct server *server, const struct addrinfo *found)
{
    char ip[INET6_ADDRSTRLEN];

    server->count = 0;
    for (; found; found = found->ai_next) {
        if (found->ai_family == AF_INET)
            uv_ip4_name((const struct sockaddr_in *)(const void *)found->ai_addr, ip, sizeof(ip));
        else if (found->ai_family == AF_INET6)
            uv_ip6_name((const struct sockaddr_in6 *)(const void *)found->ai_addr, ip, sizeof(ip));
        else
            continue;
        add_address(server, ip);
    }
}

static void on_found(void *arg, int result, struct addrinfo *found, const char *why)
{
    struct zookeeper_servers *s = OBJECT(struct zookeeper_servers, arg);
    struct server *server = &s->list[s->looking_at];
    bool first = zookeeper_servers_count(s) == 0;

    if (result == ERR_CANCELLED)
        return; /* it is being freed */
    if (result < 0) {
        char text[sizeof(server->problem)];

        snprintf(text, sizeof(text), "cannot look up %s: %s", server->host, why);
        memcpy(server->problem, text, sizeof(text));
    } else {
        server->problem[0] = '\0';
        add_addresses(server, found);
        freeaddrinfo(found);
    }
    look_up_from(s, s->looking_at + 1);
    if (first && zookeeper_servers_count(s) > 0)
        s->user.found(s->user.arg);
}

/* Ends the pass when no name is left. */
static void look_up_from(struct zookeeper_servers *s, size_t index)
{
    while (index < s->count && s->list[index].literal)
        index++;
    s->looking = index < s->count;
    s->looking_at = index;
    check_invariants(s);
    if (s->looking)
        resolve_start(s->resolver, s->list[index].host, s->list[index].port, on_found, s);
    else if (s->user.looked_up)
        s->user.looked_up(s->user.arg);
}

void zookeeper_servers_refresh(struct zookeeper_servers *s)
{
    uint64_t now = uv_now(s->loop);

    check_invariants(s);
    if (s->looking || (s->looked_up && now - s->looked_up_ms < ZOOKEEPER_SERVERS_REFRESH_EVERY_MS))
        return;
    s->looked_up = true;
    s->looked_up_ms = now;
    look_up_from(s, 0);
}

/* ---- the list ---- */

static int parse_server(struct server *server, const char *text, size_t size, struct error *error)
{
    char copy[HOST_MAX + 16], *host = copy, *end, *colon;
    unsigned char binary[sizeof(struct in6_addr)];
    unsigned long port;

    if (size == 0 || size >= sizeof(copy))
        return error_set(error, ERR_INVALID, "an empty or overlong server in the list");
    memcpy(copy, text, size);
    copy[size] = '\0';
    colon = strrchr(copy, ':');
    if (*host == '[' && (end = strchr(host, ']'))) {
        host++;
        *end = '\0';
        colon = end[1] == ':' ? end + 1 : NULL;
    } else if (colon != strchr(copy, ':'))
        return error_set(error, ERR_INVALID, "%s: an IPv6 address is written in brackets", copy);
    if (colon)
        *colon = '\0';
    snprintf(server->port, sizeof(server->port), "%s", colon ? colon + 1 : ZOOKEEPER_PORT);
    port = strtoul(server->port, &end, 10);
    if (*end || server->port[0] < '0' || server->port[0] > '9' || port == 0 || port > 65535)
        return error_set(error, ERR_INVALID, "%.*s: the port is not a number from 1 to 65535", (int)size,
                         text);
    if (!*host || strlen(host) >= sizeof(server->host) || strpbrk(host, " \t/"))
        return error_set(error, ERR_INVALID, "%.*s: not a host's name or address", (int)size, text);
    memcpy(server->host, host, strlen(host) + 1);
    server->literal = uv_inet_pton(AF_INET, host, binary) == 0 || uv_inet_pton(AF_INET6, host, binary) == 0;
    if (server->literal)
        add_address(server, host);
    assert(server->count == (server->literal ? 1 : 0));
    return 0;
}

static int parse_list(struct zookeeper_servers *s, const char *list, struct error *error)
{
    int rc;

    for (const char *p = list;; p++) {
        size_t size = strcspn(p, ",");

        if (s->count == ZOOKEEPER_SERVERS_MAX)
            return error_set(error, ERR_LIMIT, "more than %d servers", ZOOKEEPER_SERVERS_MAX);
        rc = parse_server(&s->list[s->count++], p, size, error);
        if (rc < 0)
            return rc;
        p += size;
        assert(s->count <= ZOOKEEPER_SERVERS_MAX);
        if (!*p)
            return 0;
    }
}

/* Clients of one list are to spread over its servers. */
static void shuffle(struct zookeeper_servers *s)
{
    check_invariants(s);
    for (size_t i = s->count; i > 1; i--) {
        size_t j = s->user.random(s->user.random_arg) % i;
        struct server other = s->list[i - 1];

        s->list[i - 1] = s->list[j];
        s->list[j] = other;
    }
}

int zookeeper_servers_new(struct zookeeper_servers **ret, uv_loop_t *loop, const char *list,
                          const struct zookeeper_servers_user *user, struct error *error)
{
    struct zookeeper_servers *s = OBJECT_NEW(struct zookeeper_servers);
    int rc;

    s->loop = loop;
    s->user = *user;
    rc = parse_list(s, list, error);
    if (rc < 0) {
        OBJECT_FREE(struct zookeeper_servers, s);
        return rc;
    }
    shuffle(s);
    s->resolver = resolve_worker_new(loop);
    *ret = s;
    return 0;
}

void zookeeper_servers_free(struct zookeeper_servers *s)
{
    if (!s)
        return;
    worker_close(s->resolver, NULL, NULL);
    OBJECT_FREE(struct zookeeper_servers, s);
}
