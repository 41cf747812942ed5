/* The folder of all attempts of a data folder: whose it is, and whether it is still there. See attempt_dir.h. */
#include "cronsched/engines/process/attempt_dir.h"
#include "cronsched/engines/process/attempt_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

void attempt_dir_identity_of(const char *host_id, char *ret, size_t size)
{
    FILE *f = fopen("/etc/machine-id", "re");
    char line[64] = "", text[128], hash[33];

    if (f) {
        if (!fgets(line, sizeof(line), f))
            line[0] = '\0';
        fclose(f);
    }
    line[strcspn(line, "\n")] = '\0';
    snprintf(text, sizeof(text), "cronsched %s", line); /* the id itself is not for others */
    batch_hash(text, strlen(text), hash);
    if (strlen(line) == 32)
        snprintf(ret, size, "%s.%.16s", host_id, hash);
    else
        snprintf(ret, size, "%s", host_id);
}

static int read_host(int root, char ret[ATTEMPT_DIR_HOST_MAX])
{
    char text[ATTEMPT_DIR_HOST_MAX] = "";
    int fd = openat(root, ".host", O_RDONLY | O_CLOEXEC);
    ssize_t n;

    if (fd < 0)
        return -errno;
    n = read(fd, text, ATTEMPT_DIR_HOST_MAX - 1);
    close(fd);
    if (n != ATTEMPT_DIR_HOST_MAX - 1 || strspn(text, "0123456789abcdef") != ATTEMPT_DIR_HOST_MAX - 1)
        return -EINVAL;
    memcpy(ret, text, ATTEMPT_DIR_HOST_MAX);
    return 0;
}

/* host NULL: a new number. */
static int make_host(int root, const char *host)
{
    char text[ATTEMPT_DIR_HOST_MAX];
    uint64_t random;
    int fd, r;

    if (getrandom(&random, sizeof(random), 0) != sizeof(random))
        return -errno;
    snprintf(text, sizeof(text), "%016" PRIx64, random);
    if (host)
        snprintf(text, sizeof(text), "%s", host);
    fd = openat(root, ".host.new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    r = attempt_file_write_bytes(fd, text, sizeof(text) - 1);
    if (r == 0 && fsync(fd) < 0)
        r = -errno;
    close(fd);
    if (r == 0 && renameat(root, ".host.new", root, ".host") < 0)
        r = -errno;
    return r;
}

/* Without its number nobody knows whose the attempts in it are. */
static int bad_host(const char *data_dir, struct error *error)
{
    return error_set(
        error, ERR_CORRUPT,
        "%.200s/attempts/.host does not hold the number of this folder, 16 hexadecimal digits: put the file "
        "of a backup back; or remove it, and what ran before gets no end but 'lost'",
        data_dir);
}

int attempt_dir_root(const char *data_dir, int *ret_root, char ret_host[ATTEMPT_DIR_HOST_MAX],
                     struct error *error)
{
    int data = open(data_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int root = -1, r = 0;

    if (data < 0)
        return attempt_file_fail(error, data_dir, errno);
    if (mkdirat(data, "attempts", 0700) < 0 && errno != EEXIST)
        r = -errno;
    else if ((root = openat(data, "attempts", O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
        r = -errno;
    else if ((r = read_host(root, ret_host)) == -ENOENT && (r = make_host(root, NULL)) == 0)
        r = read_host(root, ret_host);
    if (r == 0 && (fsync(root) < 0 || fsync(data) < 0))
        r = -errno;
    close(data);
    if (r < 0) {
        if (root >= 0)
            close(root);
        return r == -EINVAL ? bad_host(data_dir, error)
                            : attempt_file_fail(error, "the folder of attempts", -r);
    }
    *ret_root = root;
    return 0;
}

/* A folder without a number is one that somebody has just emptied or made. */
static int adopt(int root, const char *host, const char *data_dir, struct error *error)
{
    char found[ATTEMPT_DIR_HOST_MAX];
    int r = read_host(root, found);

    if (r == -ENOENT)
        return (r = make_host(root, host)) < 0 ? attempt_file_fail(error, "attempts/.host", -r) : 0;
    if (r == -EINVAL)
        return bad_host(data_dir, error);
    if (r < 0)
        return attempt_file_fail(error, "attempts/.host", -r);
    if (strcmp(found, host) != 0)
        return error_set(
            error, ERR_CONFLICT,
            "%.200s/attempts was replaced by the folder of other attempts: put the right one back, or "
            "restart the server with this one",
            data_dir);
    return 0;
}

int attempt_dir_root_look(const char *data_dir, int root, const char *host, struct error *error)
{
    struct stat ours, there;
    char path[4096];
    int fd, r;

    if (snprintf(path, sizeof(path), "%s/attempts", data_dir) >= (int)sizeof(path) || fstat(root, &ours) < 0)
        return attempt_file_fail(error, "the folder of attempts", ENAMETOOLONG);
    if (stat(path, &there) == 0 && there.st_dev == ours.st_dev && there.st_ino == ours.st_ino)
        return faccessat(root, ".host", F_OK, 0) < 0 && errno == ENOENT ? adopt(root, host, data_dir, error)
                                                                        : 0;
    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return attempt_file_fail(error, path, errno);
    fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return attempt_file_fail(error, path, errno);
    r = adopt(fd, host, data_dir, error);
    if (r == 0 &&
        (fsync(fd) < 0 || dup3(fd, root, O_CLOEXEC) < 0)) /* all threads see the new one from now on */
        r = attempt_file_fail(error, path, errno);
    close(fd);
    return r < 0 ? r : 1;
}

/* Renamed into place, so it is whole or not there. */
static int write_owner(int root, const char *replica, const char *cluster, struct error *error)
{
    json_t *json = json_pack("{s:s, s:s}", "replica", replica, "cluster", cluster);
    int r = attempt_file_write_json(root, ".owner.new", json, true, error);

    if (r == 0 && (renameat(root, ".owner.new", root, ".owner") < 0 || fsync(root) < 0))
        r = attempt_file_fail(error, "attempts/.owner", errno);
    return r;
}

static const char *or_unknown(const char *text)
{
    return text[0] ? text : "?";
}

int attempt_dir_own(int root, const char *replica, const char *cluster, struct error *error)
{
    json_t *json = attempt_file_read_json(root, ".owner");
    char its_replica[256], its_cluster[64];

    if (!json && faccessat(root, ".owner", F_OK, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT)
        return write_owner(root, replica, cluster, error);
    attempt_file_copy_text(json, "replica", its_replica, sizeof(its_replica));
    attempt_file_copy_text(json, "cluster", its_cluster, sizeof(its_cluster));
    json_decref(json);
    if (!its_replica[0])
        return error_set(error, ERR_CORRUPT,
                         "attempts/.owner of the data folder cannot be read: remove it if no other replica "
                         "has used this folder");
    if (strcmp(its_replica, replica) != 0 ||
        (its_cluster[0] && cluster[0] && strcmp(its_cluster, cluster) != 0))
        return error_set(
            error, ERR_CONFLICT,
            "the attempts in the data folder belong to replica %.100s of cluster %.40s, and this is "
            "%.100s of %.40s: a copy would take the other's processes for its own. Remove the "
            "folder 'attempts' if this is a copy, or attempts/.owner if this is the same replica "
            "under a new name",
            its_replica, or_unknown(its_cluster), replica, or_unknown(cluster));
    return its_cluster[0] || !cluster[0] ? 0 : write_owner(root, replica, cluster, error);
}
