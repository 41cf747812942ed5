/* Listening sockets.
 *
 * Happy path of a unix socket: take the lock PATH.lock; look at what is at PATH; bind; give the file its group
 * and then its mode; listen. A file left over by a server that was killed is recognized by the lock, which its owner
 * held and which the kernel let go: only the holder of the lock may remove a stale socket. So two servers
 * that start at once never take each other's socket away. Anything at PATH that is not a socket is left
 * alone, and is an error, as is a socket that is answered (a server without our lock).
 */
#include "cronsched/http/http_core.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG     511
#define SOCKET_MODE 0660

static int no_memory(struct error *error)
{
    return error_set(error, ERR_NOMEM, "out of memory");
}

/* ---- unix ---- */

static int take_lock(const char *path, int *ret_fd, struct error *error)
{
    char name[sizeof(((struct sockaddr_un *)0)->sun_path) + 8];
    int fd;

    snprintf(name, sizeof(name), "%s.lock", path);
    fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return error_set(error, ERR_IO, "listen: cannot create '%s': %s", name, strerror(errno));
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        close(fd);
        return error_set(error, ERR_BUSY, "listen: another server uses the socket '%s'", path);
    }
    *ret_fd = fd;
    return 0;
}

/* We hold the lock. A socket that no server answers is left over from a killed server and is removed. */
static int clear_path(const struct sockaddr_un *address, struct error *error)
{
    struct stat st;
    int fd, r;

    if (lstat(address->sun_path, &st) < 0)
        return errno == ENOENT
                   ? 0
                   : error_set(error, ERR_IO, "listen: '%s': %s", address->sun_path, strerror(errno));
    if (!S_ISSOCK(st.st_mode))
        return error_set(error, ERR_CONFLICT, "listen: '%s' exists and is not a socket", address->sun_path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return error_set(error, ERR_IO, "listen: cannot create a socket: %s", strerror(errno));
    r = connect(fd, (const struct sockaddr *)address, sizeof(*address));
    if (r < 0)
        r = errno;
    close(fd);
    if (r != ECONNREFUSED)
        return error_set(error, ERR_BUSY, "listen: another server answers at the socket '%s'",
                         address->sun_path);
    if (unlink(address->sun_path) < 0 && errno != ENOENT)
        return error_set(error, ERR_IO, "listen: cannot remove the stale socket '%s': %s", address->sun_path,
                         strerror(errno));
    return 0;
}

/* The file is never more accessible than it should be: it begins as the owner's alone. */
static int bind_unix(struct http_socket *s, const struct sockaddr_un *address,
                     const struct http_listen *options, struct error *error)
{
    mode_t mode = options->mode ? options->mode : SOCKET_MODE;
    struct stat st;

    s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (s->fd < 0 || fchmod(s->fd, 0600) < 0 ||
        bind(s->fd, (const struct sockaddr *)address, sizeof(*address)) < 0)
        return error_set(error, ERR_IO, "listen: cannot create the socket '%s': %s", s->path,
                         strerror(errno));
    if (lstat(s->path, &st) < 0)
        return error_set(error, ERR_IO, "listen: cannot use the socket '%s': %s", s->path, strerror(errno));
    s->device = st.st_dev;
    s->inode = st.st_ino;
    s->group = options->group ? *options->group : st.st_gid;
    if (options->group && chown(s->path, (uid_t)-1, s->group) < 0)
        return error_set(error, ERR_IO, "listen: socket_group: cannot give '%s' to the group %ld: %s",
                         s->path, (long)s->group, strerror(errno));
    if (chmod(s->path, mode) < 0 || listen(s->fd, BACKLOG) < 0)
        return error_set(error, ERR_IO, "listen: cannot use the socket '%s': %s", s->path, strerror(errno));
    return 0;
}

static int unix_address(const char *path, struct sockaddr_un *ret, struct error *error)
{
    *ret = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (path[0] != '/')
        return error_set(error, ERR_INVALID, "listen: 'unix:%s': the path must be absolute", path);
    if (strlen(path) >= sizeof(ret->sun_path))
        return error_set(error, ERR_LIMIT, "listen: the path '%s' is longer than %zu bytes", path,
                         sizeof(ret->sun_path) - 1);
    memcpy(ret->sun_path, path, strlen(path) + 1);
    return 0;
}

static int open_unix(const char *path, const struct http_listen *options, struct http_socket *ret,
                     struct error *error)
{
    struct http_socket s = {.fd = -1, .lock_fd = -1, .is_unix = true};
    struct sockaddr_un address;
    int r = unix_address(path, &address, error);

    if (r < 0)
        return r;
    s.path = strdup(path);
    if (!s.path || asprintf(&s.name, "unix:%s", path) < 0) {
        free(s.path);
        return no_memory(error);
    }
    r = take_lock(path, &s.lock_fd, error);
    if (r == 0)
        r = clear_path(&address, error);
    if (r == 0)
        r = bind_unix(&s, &address, options, error);
    if (r < 0) {
        http_socket_close(&s);
        return r;
    }
    *ret = s;
    return 0;
}

/* ---- TCP ---- */

static bool is_beyond(const struct sockaddr *a)
{
    struct in6_addr six;

    if (a->sa_family == AF_INET) {
        struct sockaddr_in four;

        memcpy(&four, a, sizeof(four));
        return ntohl(four.sin_addr.s_addr) >> 24 != 127;
    }
    memcpy(&six, &((const struct sockaddr_in6 *)(const void *)a)->sin6_addr, sizeof(six));
    return !IN6_IS_ADDR_LOOPBACK(&six);
}

/* "127.0.0.1:7460", "[::1]:7460", with the port that the kernel chose */
static char *name_of(int fd)
{
    struct sockaddr_storage a;
    char host[INET6_ADDRSTRLEN + 16], port[8], *name = NULL;
    socklen_t n = sizeof(a);

    if (getsockname(fd, (struct sockaddr *)&a, &n) < 0 ||
        getnameinfo((struct sockaddr *)&a, n, host, sizeof(host), port, sizeof(port),
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        return NULL;
    if (asprintf(&name, a.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port) < 0)
        return NULL;
    return name;
}

static int open_tcp_one(const struct addrinfo *info, const char *address, struct http_socket *ret,
                        struct error *error)
{
    struct http_socket s = {.lock_fd = -1, .beyond = is_beyond(info->ai_addr)};
    int one = 1;

    s.fd = socket(info->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (s.fd < 0 || setsockopt(s.fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
        (info->ai_family == AF_INET6 && setsockopt(s.fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one)) < 0) ||
        bind(s.fd, info->ai_addr, info->ai_addrlen) < 0 || listen(s.fd, BACKLOG) < 0) {
        int why = errno, r = why == EADDRINUSE ? ERR_BUSY : ERR_IO;

        error_set(error, r, "listen: '%s': %s", address, strerror(why));
        http_socket_close(&s);
        errno = why; /* for may_lack */
        return r;
    }
    s.name = name_of(s.fd);
    if (!s.name) {
        http_socket_close(&s);
        return no_memory(error);
    }
    *ret = s;
    return 0;
}

/* "HOST:PORT", "[V6]:PORT", ":PORT", cut in two. */
static int split_address(const char *address, char *host, size_t size, const char **ret_port,
                         struct error *error)
{
    const char *colon = strrchr(address, ':');
    const char *from = address, *to = colon;
    char *end;

    if (colon && address[0] == '[' && colon > address && colon[-1] == ']') {
        from++;
        to--;
    } else if (!colon || memchr(address, ':', (size_t)(colon - address))) {
        return error_set(error, ERR_INVALID,
                         "listen: '%s' must be unix:PATH, HOST:PORT, [ADDRESS]:PORT or :PORT", address);
    }
    errno = 0;
    if (strtol(colon + 1, &end, 10) > 65535 || colon[1] < '0' || colon[1] > '9' || *end || errno)
        return error_set(error, ERR_INVALID, "listen: '%s': the port is a number up to 65535", address);
    if ((size_t)(to - from) >= size)
        return error_set(error, ERR_LIMIT, "listen: '%s': the name is too long", address);
    memcpy(host, from, (size_t)(to - from));
    host[to - from] = '\0';
    *ret_port = colon + 1;
    return 0;
}

/* ":7460" and "localhost:7460" work on a kernel without IPv6, too. */
static bool may_lack(const struct addrinfo *info, size_t have, const struct addrinfo *next)
{
    return info->ai_family == AF_INET6 && (have > 0 || next) &&
           (errno == EAFNOSUPPORT || errno == EADDRNOTAVAIL);
}

static int resolve(const char *address, struct addrinfo **ret, struct error *error)
{
    struct addrinfo want = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    char host[256];
    const char *port = NULL;
    int r = split_address(address, host, sizeof(host), &port, error);

    if (r < 0)
        return r;
    r = getaddrinfo(host[0] ? host : NULL, port, &want, ret);
    if (r != 0)
        return error_set(error, ERR_INVALID, "listen: '%s': %s", address, gai_strerror(r));
    return 0;
}

static int open_tcp(const char *address, struct http_socket *ret, size_t most, size_t *ret_count,
                    struct error *error)
{
    struct addrinfo *list;
    size_t n = 0;
    int r = resolve(address, &list, error);

    if (r < 0)
        return r;
    for (struct addrinfo *i = list; i && r == 0; i = i->ai_next) {
        if (n == most) {
            r = error_set(error, ERR_LIMIT, "listen: '%s' has more addresses than there is room for",
                          address);
            break;
        }
        errno = 0;
        r = open_tcp_one(i, address, &ret[n], error);
        if (r == 0)
            n++;
        else if (may_lack(i, n, i->ai_next))
            r = 0;
    }
    freeaddrinfo(list);
    if (r == 0 && n == 0)
        r = error_set(error, ERR_IO, "listen: '%s': no address of it can be used", address);
    while (r < 0 && n > 0)
        http_socket_close(&ret[--n]);
    if (r == 0)
        *ret_count = n;
    return r;
}

/* NULL: it is TCP. */
static const char *unix_path(const char *address)
{
    if (strncmp(address, "unix:", 5) == 0)
        return address + 5;
    return address[0] == '/' ? address : NULL;
}

static int check_unix(const char *path, struct error *error)
{
    struct sockaddr_un address;
    const char *slash = strrchr(path, '/');
    struct stat st;
    char *folder;
    int r = unix_address(path, &address, error);

    if (r < 0)
        return r;
    if (lstat(path, &st) == 0)
        return S_ISSOCK(st.st_mode)
                   ? 0
                   : error_set(error, ERR_CONFLICT, "listen: '%s' exists and is not a socket", path);
    folder = strndup(path, slash == path ? 1 : (size_t)(slash - path));
    if (!folder)
        return no_memory(error);
    if (stat(folder, &st) < 0)
        r = error_set(error, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, "listen: the folder of '%s': %s", path,
                      strerror(errno));
    free(folder);
    return r;
}

int http_socket_check(const char *address, bool *ret_unix, bool *ret_beyond, struct error *error)
{
    const char *path = unix_path(address);
    struct addrinfo *list;
    int r;

    *ret_unix = path != NULL;
    *ret_beyond = false;
    if (path)
        return check_unix(path, error);
    r = resolve(address, &list, error);
    if (r < 0)
        return r;
    for (const struct addrinfo *i = list; i; i = i->ai_next)
        *ret_beyond |= is_beyond(i->ai_addr);
    freeaddrinfo(list);
    return 0;
}

int http_socket_open(const struct http_listen *options, struct http_socket *ret, size_t most,
                     size_t *ret_count, struct error *error)
{
    const char *address = options->address, *path = unix_path(address);
    int r;

    if (!path)
        return open_tcp(address, ret, most, ret_count, error);
    if (most == 0)
        return error_set(error, ERR_LIMIT, "listen: '%s': more than %d sockets", address, HTTP_LISTENERS_MAX);
    r = open_unix(path, options, ret, error);
    if (r == 0)
        *ret_count = 1;
    return r;
}

/* Somebody may have changed it since; another file at that path says nothing. */
gid_t http_socket_group(const struct http_socket *s)
{
    struct stat st;

    if (s->path && lstat(s->path, &st) == 0 && st.st_dev == s->device && st.st_ino == s->inode)
        return st.st_gid;
    return s->group;
}

void http_socket_close(struct http_socket *s)
{
    struct stat st;

    if (s->fd >= 0)
        close(s->fd);
    if (s->path && s->inode && lstat(s->path, &st) == 0 && st.st_dev == s->device && st.st_ino == s->inode)
        unlink(s->path);
    if (s->lock_fd >= 0)
        close(s->lock_fd);
    free(s->path);
    free(s->name);
    *s = (struct http_socket){.fd = -1, .lock_fd = -1};
}
