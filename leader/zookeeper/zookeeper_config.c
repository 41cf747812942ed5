/* See zookeeper_config.h. A line is "server.N=HOST:PORT:PORT[:ROLE][|...][;[ADDRESS:]CLIENT-PORT]" (administrator's guide,
 * "Dynamic reconfiguration"). Two servers are one when their ports are equal and their hosts are written alike or have an
 * address in common. A client port that is in the static file of a server is not told: such a server is one of ours on
 * its host, and no more than one. */
#include "leader/zookeeper/zookeeper_config.h"

#include <assert.h>
#include <netdb.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define DEFAULT_PORT "2181"

/* "[V6]:PORT" or "HOST:PORT..."; the port is up to the next colon. */
static bool parse(const char *text, size_t size, struct zookeeper_config_server *ret)
{
    size_t skip = size > 0 && text[0] == '[', host;

    *ret = (struct zookeeper_config_server){.port = ""};
    text += skip;
    size -= skip;
    host = strcspn(text, skip ? "]" : ":,;|/ \t\r\n");
    if (host == 0 || host > size || host >= sizeof(ret->host))
        return false;
    memcpy(ret->host, text, host);
    text += host + skip;
    size -= host + skip <= size ? host + skip : size;
    if (size > 1 && text[0] == ':')
        snprintf(ret->port, sizeof(ret->port), "%.*s", (int)strspn(text + 1, "0123456789"), text + 1);
    assert(ret->host[0]);
    return true;
}

static bool any_address(const char *host)
{
    return strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0 || strcmp(host, "0:0:0:0:0:0:0:0") == 0;
}

static bool parse_line(const char *line, size_t size, struct zookeeper_config_server *ret)
{
    const char *equals = memchr(line, '=', size), *end = line + size, *client;
    struct zookeeper_config_server own;

    if (strncmp(line, "server.", 7) != 0 || !equals || !parse(equals + 1, (size_t)(end - equals - 1), ret))
        return false;
    ret->port[0] = '\0'; /* that was the quorum's */
    client = memchr(equals, ';', (size_t)(end - equals));
    if (!client)
        return true;
    client++;
    if (strspn(client, "0123456789") == strcspn(client, "\r\n")) {
        snprintf(ret->port, sizeof(ret->port), "%.*s", (int)strspn(client, "0123456789"), client);
    } else if (parse(client, (size_t)(end - client), &own)) {
        memcpy(ret->port, own.port, sizeof(ret->port));
        if (!any_address(own.host))
            memcpy(ret->host, own.host, sizeof(ret->host));
    }
    return true;
}

size_t zookeeper_config_read(const char *config,
                             struct zookeeper_config_server ret[ZOOKEEPER_CONFIG_SERVERS_MAX])
{
    size_t count = 0;

    while (*config && count < ZOOKEEPER_CONFIG_SERVERS_MAX) {
        size_t size = strcspn(config, "\n");

        count += parse_line(config, size, &ret[count]);
        config += size + (config[size] == '\n');
    }
    assert(count <= ZOOKEEPER_CONFIG_SERVERS_MAX);
    return count;
}

static size_t read_list(const char *list, struct zookeeper_config_server ret[ZOOKEEPER_CONFIG_SERVERS_MAX])
{
    const char *end = list + strcspn(list, "/");
    size_t count = 0;

    while (list < end && count < ZOOKEEPER_CONFIG_SERVERS_MAX) {
        size_t size = strcspn(list, ",/");

        if (parse(list, size, &ret[count])) {
            if (!ret[count].port[0])
                memcpy(ret[count].port, DEFAULT_PORT, sizeof(DEFAULT_PORT));
            count++;
        }
        list += size + 1;
    }
    assert(count <= ZOOKEEPER_CONFIG_SERVERS_MAX);
    return count;
}

static struct addrinfo *look_up(const char *host)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;

    return getaddrinfo(host, NULL, &hints, &found) == 0 ? found : NULL;
}

static bool share_address(const char *a, const char *b)
{
    struct addrinfo *of_a = look_up(a), *of_b = look_up(b);
    bool share = false;

    for (const struct addrinfo *x = of_a; x; x = x->ai_next)
        for (const struct addrinfo *y = of_b; y; y = y->ai_next)
            share |= x->ai_addrlen == y->ai_addrlen && memcmp(x->ai_addr, y->ai_addr, x->ai_addrlen) == 0;
    if (of_a)
        freeaddrinfo(of_a);
    if (of_b)
        freeaddrinfo(of_b);
    return share;
}

static bool same_host(const struct zookeeper_config_server *a, const struct zookeeper_config_server *b)
{
    return strcmp(a->host, b->host) == 0 || share_address(a->host, b->host);
}

/* Which of ours is that one; SIZE_MAX: none. A server whose port is not known is one of those on its host that are not
 * another one already. */
static size_t find(const struct zookeeper_config_server *server, const struct zookeeper_config_server *ours,
                   const bool *taken, size_t count)
{
    assert(count <= ZOOKEEPER_CONFIG_SERVERS_MAX);
    for (size_t i = 0; i < count; i++) {
        bool fits = server->port[0] ? strcmp(server->port, ours[i].port) == 0 : !taken[i];

        if (fits && same_host(server, &ours[i]))
            return i;
    }
    return SIZE_MAX;
}

static void pair(const struct zookeeper_config_server *theirs, size_t their_count,
                 const struct zookeeper_config_server *ours, size_t our_count,
                 struct zookeeper_config_differences *ret)
{
    bool taken[ZOOKEEPER_CONFIG_SERVERS_MAX] = {false}, found[ZOOKEEPER_CONFIG_SERVERS_MAX] = {false};

    for (size_t k = 0; k < 2 * their_count; k++) { /* first those whose port is known */
        size_t i = k % their_count, at;

        if ((theirs[i].port[0] == '\0') != (k >= their_count))
            continue;
        at = find(&theirs[i], ours, taken, our_count);
        found[i] = at != SIZE_MAX;
        if (found[i])
            taken[at] = true;
    }
    for (size_t i = 0; i < their_count; i++)
        if (!found[i])
            ret->missing[ret->missing_count++] = theirs[i];
    for (size_t i = 0; i < our_count; i++) {
        bool known = taken[i];

        for (size_t k = 0; k < their_count && !known; k++) /* under another name */
            known = strcmp(theirs[k].port, ours[i].port) == 0 && same_host(&theirs[k], &ours[i]);
        if (!known)
            ret->strange[ret->strange_count++] = ours[i];
    }
    assert(ret->missing_count <= their_count && ret->strange_count <= our_count);
}

bool zookeeper_config_compare(const char *config, const char *list, struct zookeeper_config_differences *ret)
{
    struct zookeeper_config_server theirs[ZOOKEEPER_CONFIG_SERVERS_MAX], ours[ZOOKEEPER_CONFIG_SERVERS_MAX];
    size_t their_count = zookeeper_config_read(config, theirs), our_count = read_list(list, ours);

    ret->missing_count = ret->strange_count = 0;
    if (their_count == 0)
        return false;
    pair(theirs, their_count, ours, our_count, ret);
    return true;
}
