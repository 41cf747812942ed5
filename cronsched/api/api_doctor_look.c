#include "cronsched/api/api_doctor_look.h"

#include "cronsched/api/api_priv.h"
#include "jobs/base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* A file without a name: nothing is left behind whatever happens. */
static int try_to_write(const char *dir)
{
    int fd = open(dir, O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600), r = 0;

    if (fd < 0 && errno != EOPNOTSUPP && errno != EISDIR)
        return errno;
    if (fd < 0) /* a file system that has no such files */
        return access(dir, W_OK) < 0 ? errno : 0;
    if (write(fd, "x", 1) != 1 || fdatasync(fd) < 0)
        r = errno;
    close(fd);
    return r;
}

void api_doctor_look_at_disk(const char *dir, struct api_doctor_findings *ret)
{
    struct statvfs fs;
    struct stat wal;
    char path[4200];

    ret->write_error = try_to_write(dir);
    api_proofs_read(dir, ret->proofs, sizeof(ret->proofs));
    snprintf(path, sizeof(path), "%s/history.db-wal", dir);
    if (stat(path, &wal) == 0)
        ret->wal_bytes = wal.st_size;
    if (statvfs(dir, &fs) < 0) {
        ret->space_error = errno;
        return;
    }
    ret->free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
    ret->free_inodes = fs.f_favail;
    ret->inodes_known = fs.f_files > 0;
}

static bool answered(const struct api_doctor_findings *found, const char *server, size_t size)
{
    for (size_t i = 0; i < found->zookeeper_count; i++)
        if (strlen(found->zookeeper[i].server) == size &&
            memcmp(found->zookeeper[i].server, server, size) == 0)
            return found->zookeeper[i].version[0];
    return false;
}

/* Those that answered first: they are the ensemble's rather than others on the same host. */
static void answering_first(const struct api_doctor_findings *found, const char *servers, struct text *ret)
{
    for (int wanted = 1; wanted >= 0; wanted--)
        for (const char *p = servers; *p && *p != '/';) {
            size_t size = strcspn(p, ",/");

            if (answered(found, p, size) == wanted)
                text_addf(ret, "%s%.*s", *text_str(ret) ? "," : "", (int)size, p);
            p += size;
            p += *p == ',';
        }
}

void api_doctor_look_at_zookeeper(const char *servers, struct api_doctor_findings *found)
{
    struct text list;

    found->zookeeper_count = zookeeper_version_ask(servers, found->zookeeper);
    text_init(&list, 2 * strlen(servers) + 1);
    answering_first(found, servers, &list);
    found->servers_known = zookeeper_config_compare(found->config, text_str(&list), &found->servers);
    text_release(&list);
}
