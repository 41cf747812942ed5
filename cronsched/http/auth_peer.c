/* Who is at the other end of a connection, as far as the kernel knows.
 *
 * A unix socket: SO_PEERCRED and SO_PEERGROUPS, taken when the client connected. A TCP connection of this
 * machine: both ends are sockets here, and the kernel's sock_diag reports the owner of the other one. One
 * question and its answer, without waiting: netlink answers within send(). Where the answer is missing (a
 * kernel without sock_diag, a client that is gone) the user stays unknown, which gives less, never more.
 */
#include "cronsched/http/auth.h"

#include <arpa/inet.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
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
static void name_user(struct auth_peer *peer, const char *kind)
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
        snprintf(peer->name, sizeof(peer->name), "%s:%s", kind, found->pw_name);
    else
        snprintf(peer->name, sizeof(peer->name), "%s:%ld", kind, (long)peer->uid);
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
    name_user(peer, "unix");
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

static void put_address(const union address *a, uint8_t family, __be32 ret_host[4], __be16 *ret_port)
{
    if (a->any.sa_family == AF_INET) {
        ret_host[0] = a->four.sin_addr.s_addr;
        *ret_port = a->four.sin_port;
    } else if (family == AF_INET) { /* an IPv4 client of an IPv6 socket */
        memcpy(ret_host, &a->six.sin6_addr.s6_addr[12], 4);
        *ret_port = a->six.sin6_port;
    } else {
        memcpy(ret_host, &a->six.sin6_addr, 16);
        *ret_port = a->six.sin6_port;
    }
}

struct diag_request {
    struct nlmsghdr header;
    struct inet_diag_req_v2 body;
};

/* The owner of the socket whose own address is `client` and whose peer is `server`. */
static bool ask_owner(uint8_t family, const union address *client, const union address *server, uid_t *ret)
{
    struct diag_request ask = {
        .header = {.nlmsg_len = sizeof(ask), .nlmsg_type = SOCK_DIAG_BY_FAMILY, .nlmsg_flags = NLM_F_REQUEST},
        .body = {.sdiag_family = family, .sdiag_protocol = IPPROTO_TCP, .idiag_states = ~0U}};
    union {
        struct nlmsghdr header;
        char bytes[1024];
    } answer = {0};
    struct inet_diag_msg found;
    int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_SOCK_DIAG);
    ssize_t n = -1;

    if (fd < 0)
        return false;
    put_address(client, family, ask.body.id.idiag_src, &ask.body.id.idiag_sport);
    put_address(server, family, ask.body.id.idiag_dst, &ask.body.id.idiag_dport);
    ask.body.id.idiag_cookie[0] = ask.body.id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
    if (send(fd, &ask, sizeof(ask), 0) == (ssize_t)sizeof(ask))
        n = recv(fd, &answer, sizeof(answer), MSG_DONTWAIT);
    close(fd);
    if (n < (ssize_t)NLMSG_LENGTH(sizeof(found)) || answer.header.nlmsg_type != SOCK_DIAG_BY_FAMILY)
        return false;
    memcpy(&found, answer.bytes + NLMSG_HDRLEN, sizeof(found));
    if (found.idiag_inode == 0) /* closed already: nobody's, which the kernel reports as root's */
        return false;
    *ret = found.idiag_uid;
    return true;
}

static void init_loopback(struct auth_peer *peer, const union address *client, const union address *server)
{
    bool mapped = client->any.sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&client->six.sin6_addr);
    uint8_t family = mapped ? AF_INET : (uint8_t)client->any.sa_family;

    peer->via = AUTH_VIA_LOOPBACK;
    snprintf(peer->name, sizeof(peer->name), "local:unknown");
    peer->uid_known = ask_owner(family, client, server, &peer->uid);
    if (peer->uid_known)
        name_user(peer, "local");
}

static void init_network(struct auth_peer *peer, const union address *client)
{
    char host[INET6_ADDRSTRLEN] = "unknown";

    peer->via = AUTH_VIA_NETWORK;
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
    else if (getpeername(fd, &client.any, &client_len) == 0 && is_loopback(&client) && is_loopback(&server))
        init_loopback(peer, &client, &server);
    else
        init_network(peer, &client);
}
