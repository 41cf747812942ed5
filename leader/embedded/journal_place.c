#include "leader/embedded/journal_place.h"

#include "jobs/base/alloc.h"
#include "jobs/base/hash.h"

#include <assert.h>
#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <unistd.h>

#define ASKING_MAX 64 /* who asked and was not attended to yet */
#define ASK_S      1

struct journal_place {
    int fd;
};

static void name_of_key(const char *key, struct sockaddr_un *ret, socklen_t *ret_size)
{
    char hash[HASH_SHA256_HEX];
    int n;

    hash_sha256_hex(key, strlen(key), hash);
    *ret = (struct sockaddr_un){.sun_family = AF_UNIX};
    n = snprintf(ret->sun_path + 1, sizeof(ret->sun_path) - 1, "cronsched-journal-%.32s", hash);
    assert(n > 0 && (size_t)n < sizeof(ret->sun_path) - 1);
    *ret_size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n);
}

static bool counts(const struct ucred *who, const char *folder)
{
    struct stat st;

    return who->uid == 0 || who->uid == geteuid() || (stat(folder, &st) == 0 && st.st_uid == who->uid);
}

/* Who holds the name; false: nobody who counts. pid 0: whoever it is does not answer, and is taken for one who
 * does count. */
static bool ask(const struct sockaddr_un *name, socklen_t size, const char *folder, struct ucred *ret)
{
    const struct timeval patience = {.tv_sec = ASK_S};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t length = sizeof(*ret);
    bool found = false;

    *ret = (struct ucred){0};
    if (fd < 0)
        return false;
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    if (connect(fd, (const struct sockaddr *)name, size) < 0)
        found = errno == EAGAIN || errno == EINTR;
    else
        found = getsockopt(fd, SOL_SOCKET, SO_PEERCRED, ret, &length) == 0 && counts(ret, folder);
    close(fd);
    return found;
}

/* *ret NULL without an error: the name cannot be had. Otherwise ERR_BUSY, and `who` says who has it. */
static int take(struct journal_place **ret, const char *key, const char *folder, char who[48])
{
    struct sockaddr_un name;
    struct ucred found;
    socklen_t size;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    *ret = NULL;
    if (fd < 0)
        return 0;
    name_of_key(key, &name, &size);
    if (bind(fd, (struct sockaddr *)&name, size) == 0 && listen(fd, ASKING_MAX) == 0) {
        *ret = alloc_zero(sizeof(**ret));
        (*ret)->fd = fd;
        return 0;
    }
    close(fd);
    if (!ask(&name, size, folder, &found))
        return 0;
    snprintf(who, 48, "a process that does not answer");
    if (found.pid)
        snprintf(who, 48, "process %ld", (long)found.pid);
    return ERR_BUSY;
}

int journal_place_take(struct journal_place **ret, const char *folder, struct error *error)
{
    char real[PATH_MAX], above[PATH_MAX], key[PATH_MAX + 64], who[48];
    struct stat st;

    *ret = NULL;
    if (!realpath(folder, real))
        return 0; /* whoever opens files there says why */
    snprintf(above, sizeof(above), "%s", real);
    if (stat(dirname(above), &st) < 0)
        return 0;
    snprintf(key, sizeof(key), "place %llx %llx %s", (unsigned long long)st.st_dev,
             (unsigned long long)st.st_ino, basename(real));
    if (take(ret, key, folder, who) == 0)
        return 0;
    /* the locks on the files came first, and were free */
    return error_set(
        error, ERR_BUSY,
        "%s is in use by %s, since whose start the folder was moved or replaced (or locks do not lock "
        "there); stop that process first",
        folder, who);
}

int journal_place_take_cluster(struct journal_place **ret, const char *folder, const char *cluster,
                               struct error *error)
{
    char key[128], who[48];

    snprintf(key, sizeof(key), "cluster %.100s", cluster);
    if (take(ret, key, folder, who) == 0)
        return 0;
    return error_set(
        error, ERR_BUSY,
        "%s holds a copy of the journal that %s has open elsewhere: both would start every run. Stop that "
        "process first, or begin with an empty folder",
        folder, who);
}

void journal_place_free(struct journal_place *place)
{
    if (!place)
        return;
    assert(place->fd >= 0);
    close(place->fd);
    free(place);
}

void journal_place_answer(const struct journal_place *place)
{
    int fd;

    while (place && (fd = accept4(place->fd, NULL, NULL, SOCK_CLOEXEC)) >= 0)
        close(fd);
}

bool journal_place_network(const char *folder, char ret_kind[24])
{
    static const struct {
        unsigned type;
        const char *name;
    } kinds[] = {
        {0x6969, "nfs"},      {0xff534d42, "cifs"},   {0xfe534d42, "smb"},    {0x517b, "smb"},
        {0x65735546, "fuse"}, {0x01021997, "9p"},     {0x00c36400, "ceph"},   {0x5346414f, "afs"},
        {0x73757245, "coda"}, {0x0bd00bd0, "lustre"}, {0x786f4256, "vboxsf"},
    };
    struct statfs fs;

    if (statfs(folder, &fs) < 0)
        return false;
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (kinds[i].type == (unsigned)fs.f_type) {
            snprintf(ret_kind, 24, "%s", kinds[i].name);
            return true;
        }
    return false;
}
