/* Who is at the other end of a connection, as far as the kernel knows.
 *
 * A unix socket: SO_PEERCRED and SO_PEERGROUPS, taken when the client connected; what cannot be known stays
 * unknown, which gives less, never more. TCP: only the address, and whether it is this machine's.
 */
#include "cronsched/http/auth.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pwd.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define PASSWD_LINE_BYTES 4096
#define GROUPS_MAX        1024 /* a peer with more of them is taken to be in none but its first */

union address {
    struct sockaddr any;
    struct sockaddr_in four;
    struct sockaddr_in6 six;
    struct sockaddr_storage storage;
};

/* "unix:alice", or "unix:1000" for a user that this machine's own file does not name. Directories behind the
 * network are not asked: they may take long. */
static void name_user(struct auth_peer *peer)
{
    char line[PASSWD_LINE_BYTES];
    struct passwd entry, *found = NULL;
    FILE *file = fopen("/etc/passwd", "re");

    while (file && fgetpwent_r(file, &entry, line, sizeof(line), &found) == 0)
        if (found->pw_uid == peer->uid)
            break;
        else
            found = NULL;
    if (found && found->pw_name[0] && strlen(found->pw_name) <= AUTH_NAME_MAX)
        snprintf(peer->name, sizeof(peer->name), "unix:%s", found->pw_name);
    else
        snprintf(peer->name, sizeof(peer->name), "unix:%ld", (long)peer->uid);
    if (file)
        fclose(file);
}

static void init_unix(struct auth_peer *peer, int fd, gid_t group)
{
    struct ucred cred;
    gid_t groups[GROUPS_MAX];
    socklen_t n = sizeof(cred);

    peer->via = AUTH_VIA_UNIX;
    snprintf(peer->name, sizeof(peer->name), "unix:unknown");
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &n) < 0)
        return;
    peer->uid_known = true;
    peer->uid = cred.uid;
    peer->in_group = cred.gid == group;
    n = sizeof(groups);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &n) == 0)
        for (size_t i = 0; i < n / sizeof(groups[0]); i++)
            peer->in_group = peer->in_group || groups[i] == group;
    name_user(peer);
}

static bool is_loopback(const union address *a)
{
    if (a->any.sa_family == AF_INET)
        return ntohl(a->four.sin_addr.s_addr) >> 24 == 127;
    if (a->any.sa_family != AF_INET6)
        return false;
    return IN6_IS_ADDR_LOOPBACK(&a->six.sin6_addr) ||
           (IN6_IS_ADDR_V4MAPPED(&a->six.sin6_addr) && a->six.sin6_addr.s6_addr[12] == 127);
}

static void init_tcp(struct auth_peer *peer, const union address *client, bool local)
{
    char host[INET6_ADDRSTRLEN] = "unknown";

    peer->via = local ? AUTH_VIA_LOOPBACK : AUTH_VIA_NETWORK;
    if (client->any.sa_family == AF_INET)
        inet_ntop(AF_INET, &client->four.sin_addr, host, sizeof(host));
    else if (client->any.sa_family == AF_INET6)
        inet_ntop(AF_INET6, &client->six.sin6_addr, host, sizeof(host));
    snprintf(peer->name, sizeof(peer->name), "tcp:%s", host);
}

void auth_peer_init(struct auth_peer *peer, int fd, gid_t group)
{
    union address client = {0}, server = {0};
    socklen_t client_len = sizeof(client), server_len = sizeof(server);

    *peer = (struct auth_peer){.via = AUTH_VIA_NETWORK};
    if (getsockname(fd, &server.any, &server_len) < 0)
        server.any.sa_family = AF_UNSPEC;
    if (server.any.sa_family == AF_UNIX)
        init_unix(peer, fd, group);
    else if (getpeername(fd, &client.any, &client_len) == 0)
        init_tcp(peer, &client, is_loopback(&client) && is_loopback(&server));
    else
        snprintf(peer->name, sizeof(peer->name), "tcp:unknown");
}
