#include "jobs/time/zoneinfo.h"

#include "jobs/base/near.h"
#include "jobs/base/object.h"
#include "jobs/time/zone_advice.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEPTH_MAX 3 /* America/Argentina/Salta */

struct kept {
    struct zone *zone;
    int refs;
    bool current; /* false: replaced by a reload, waits for its last user */
};

/* What is cheap to read of the folder. */
struct stamp {
    struct timespec folder, data, version;
    off_t data_bytes;
    ino_t data_inode;
};

struct zoneinfo {
    struct object object;
    struct zone_source source;
    char *folder;
    char version[ZONEINFO_VERSION_MAX];
    struct stamp stamp;
    struct kept *kept;
    size_t count, capacity;
};

static struct zoneinfo *of_source(struct zone_source *source)
{
    return OBJECT_OF(struct zoneinfo, source, source);
}

/* ---- files ---- */

/* At most `size` bytes; what is not a plain file is not read (a pipe would block). Returns the bytes read. */
static ssize_t read_path(const char *path, void *buffer, size_t size)
{
    size_t have = 0;
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

    if (fd < 0)
        return -errno;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        close(fd);
        return -EISDIR;
    }
    while (have < size) {
        ssize_t n = read(fd, (char *)buffer + have, size - have);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            int saved = errno;

            close(fd);
            return -saved;
        }
        if (n == 0)
            break;
        have += (size_t)n;
    }
    close(fd);
    return (ssize_t)have;
}

static bool join(char *path, size_t size, const char *folder, const char *name)
{
    int n = snprintf(path, size, "%s/%s", folder, name);

    return n > 0 && (size_t)n < size;
}

static int load(const struct zoneinfo *z, const char *name, struct zone **ret, struct error *error)
{
    char path[PATH_MAX];
    uint8_t *bytes;
    ssize_t n;
    int r;

    if (!join(path, sizeof(path), z->folder, name))
        return error_set(error, ERR_NOT_FOUND, "the path of the zone is too long");
    bytes = malloc(ZONE_FILE_MAX + 1); /* one more shows a file that is too large */
    if (!bytes)
        return error_set(error, ERR_NOMEM, "out of memory");
    n = read_path(path, bytes, ZONE_FILE_MAX + 1);
    if (n >= 0)
        r = zone_parse(bytes, (size_t)n, name, ret, error);
    else if (n == -ENOENT || n == -ENOTDIR || n == -EISDIR)
        r = error_set(error, ERR_NOT_FOUND, "no such zone");
    else
        r = error_set(error, ERR_IO, "%s: %s", path, strerror((int)-n));
    free(bytes);
    return r;
}

/* ---- version ---- */

/* The first word after an optional "# version " of a file's beginning. */
static bool read_version(const char *folder, const char *name, const char *before, char *ret, size_t size)
{
    char path[PATH_MAX], text[64];
    size_t skip = strlen(before), length;
    ssize_t n;

    if (!join(path, sizeof(path), folder, name))
        return false;
    n = read_path(path, text, sizeof(text) - 1);
    if (n <= 0)
        return false;
    text[n] = '\0';
    if (strncmp(text, before, skip) != 0)
        return false;
    length = strspn(text + skip, "0123456789abcdefghijklmnopqrstuvwxyz.-");
    if (length == 0 || length >= size)
        return false;
    memcpy(ret, text + skip, length);
    ret[length] = '\0';
    return true;
}

static void find_version(struct zoneinfo *z)
{
    if (!read_version(z->folder, "tzdata.zi", "# version ", z->version, sizeof(z->version)) &&
        !read_version(z->folder, "+VERSION", "", z->version, sizeof(z->version)))
        snprintf(z->version, sizeof(z->version), "unknown");
}

static void stat_time(const char *folder, const char *name, struct timespec *ret, struct stat *st)
{
    char path[PATH_MAX];

    if (join(path, sizeof(path), folder, name) && stat(path, st) == 0)
        *ret = st->st_mtim;
}

static struct stamp look(const struct zoneinfo *z)
{
    struct stamp stamp;
    struct stat st = {0};

    memset(&stamp, 0, sizeof(stamp)); /* padding too: it is compared with memcmp */
    stat_time(z->folder, ".", &stamp.folder, &st);
    stat_time(z->folder, "+VERSION", &stamp.version, &st);
    st = (struct stat){0};
    stat_time(z->folder, "tzdata.zi", &stamp.data, &st);
    stamp.data_bytes = st.st_size;
    stamp.data_inode = st.st_ino;
    return stamp;
}

/* ---- "did you mean" ---- */

struct search {
    const char *name;
    size_t looked, distance;
    char best[ZONE_NAME_MAX + 1];
};

/* The last part counts as well: "Berlin" means Europe/Berlin. */
static void consider(struct search *search, const char *zone)
{
    const char *slash = strrchr(zone, '/');
    size_t distance = near_distance(search->name, zone);

    if (slash && !strchr(search->name, '/') && near_distance(search->name, slash + 1) == 0)
        distance = 0;
    if (distance < search->distance) {
        search->distance = distance;
        memcpy(search->best, zone, strlen(zone) + 1); /* a valid name fits */
    }
}

static void search_folder(const struct zoneinfo *z, struct search *search, const char *below, int depth)
{
    char path[PATH_MAX], name[2 * ZONE_NAME_MAX];
    struct dirent *entry;
    DIR *dir;

    if (!join(path, sizeof(path), z->folder, below) || !(dir = opendir(path)))
        return;
    while ((entry = readdir(dir)) && search->looked < ZONEINFO_ZONES_MAX) {
        struct stat st;
        int n = snprintf(name, sizeof(name), "%s%s%s", below, *below ? "/" : "", entry->d_name);

        if (n < 0 || (size_t)n >= sizeof(name) || !zone_name_valid(name, (size_t)n))
            continue;
        search->looked++;
        if (!join(path, sizeof(path), z->folder, name) || stat(path, &st) < 0)
            continue;
        if (S_ISDIR(st.st_mode) && depth < DEPTH_MAX)
            search_folder(z, search, name, depth + 1);
        else if (S_ISREG(st.st_mode))
            consider(search, name);
    }
    closedir(dir);
}

static const char *source_nearest(struct zone_source *source, const char *name, char *buffer, size_t size)
{
    struct search search = {.name = name};

    search.distance = strlen(name) < 6 ? 2 : strlen(name) / 3; /* beyond: nothing is near */
    search_folder(of_source(source), &search, "", 1);
    if (!search.best[0])
        return NULL;
    snprintf(buffer, size, "%s", search.best);
    return buffer;
}

/* ---- the table of functions ---- */

static struct kept *find(struct zoneinfo *z, const char *name)
{
    for (size_t i = 0; i < z->count; i++)
        if (z->kept[i].current && strcmp(z->kept[i].zone->name, name) == 0)
            return &z->kept[i];
    return NULL;
}

static struct kept *find_zone(struct zoneinfo *z, const struct zone *zone)
{
    for (size_t i = 0; i < z->count; i++)
        if (z->kept[i].zone == zone)
            return &z->kept[i];
    return NULL;
}

/* Drops unused zones, all of them or only the replaced ones. */
static void drop_unused(struct zoneinfo *z, bool replaced_only)
{
    size_t left = 0;

    for (size_t i = 0; i < z->count; i++) {
        if (z->kept[i].refs > 0 || (replaced_only && z->kept[i].current))
            z->kept[left++] = z->kept[i];
        else
            zone_free(z->kept[i].zone);
    }
    z->count = left;
}

/* Owns `zone` on success. */
static struct kept *keep(struct zoneinfo *z, struct zone *zone)
{
    if (z->count == ZONEINFO_ZONES_MAX)
        return NULL;
    if (z->count == z->capacity) {
        size_t capacity = z->capacity ? 2 * z->capacity : 16;
        struct kept *grown = realloc(z->kept, capacity * sizeof(*grown));

        if (!grown)
            return NULL;
        z->kept = grown;
        z->capacity = capacity;
    }
    z->kept[z->count] = (struct kept){.zone = zone, .current = true};
    return &z->kept[z->count++];
}

static int fail_unknown(struct zoneinfo *z, const char *name, struct error *error)
{
    char near[ZONE_NAME_MAX + 1], hint[NEAR_HINT_BUFFER], advice[ZONE_ADVICE_MAX];

    if (zone_advice(name, advice))
        return error_set(error, ERR_NOT_FOUND, "unknown time zone '%s'%s", name, advice);
    return error_set(error, ERR_NOT_FOUND, "unknown time zone '%s'%s", name,
                     near_hint(source_nearest(&z->source, name, near, sizeof(near)), hint, sizeof(hint)));
}

static int source_get(struct zone_source *source, const char *name, const struct zone **ret,
                      struct error *error)
{
    struct zoneinfo *z = of_source(source);
    struct kept *kept;
    struct zone *zone;
    int r;

    if (!zone_name_valid(name, strnlen(name, ZONE_NAME_MAX + 1)))
        return zone_name_fail(name, error);
    kept = find(z, name);
    if (!kept) {
        r = load(z, name, &zone, error);
        if (r == ERR_NOT_FOUND)
            return fail_unknown(z, name, error);
        if (r < 0) {
            error_prefix(error, "time zone '%s': ", name);
            return r;
        }
        if (z->count == ZONEINFO_ZONES_MAX)
            drop_unused(z, false);
        kept = keep(z, zone);
        if (!kept) {
            zone_free(zone);
            return error_set(error, ERR_NOMEM, "no room for one more time zone");
        }
    }
    kept->refs++;
    *ret = kept->zone;
    return 0;
}

static void source_put(struct zone_source *source, const struct zone *zone)
{
    struct zoneinfo *z = of_source(source);
    struct kept *kept = find_zone(z, zone);

    assert(kept && kept->refs > 0);
    if (--kept->refs == 0 && !kept->current)
        drop_unused(z, true);
}

static const char *source_version(struct zone_source *source)
{
    return of_source(source)->version;
}

/* ---- the folder ---- */

int zoneinfo_new(struct zoneinfo **ret, const char *folder, struct error *error)
{
    struct zoneinfo *z;

    if (!*folder)
        return error_set(error, ERR_INVALID, "the path of the zoneinfo folder is empty");
    z = calloc(1, sizeof(*z));
    if (!z || !(z->folder = strdup(folder))) {
        free(z);
        return error_set(error, ERR_NOMEM, "out of memory");
    }
    OBJECT_INIT(struct zoneinfo, z);
    z->source = (struct zone_source){source_get, source_put, source_version, source_nearest};
    z->stamp = look(z);
    find_version(z);
    *ret = z;
    return 0;
}

void zoneinfo_free(struct zoneinfo *z)
{
    if (!z)
        return;
    for (size_t i = 0; i < z->count; i++) {
        assert(z->kept[i].refs == 0);
        zone_free(z->kept[i].zone);
    }
    free(z->kept);
    free(z->folder);
    OBJECT_FREE(struct zoneinfo, z);
}

struct zone_source *zoneinfo_source(struct zoneinfo *z)
{
    return &z->source;
}

const char *zoneinfo_version(const struct zoneinfo *z)
{
    return z->version;
}

bool zoneinfo_stale(const struct zoneinfo *z)
{
    struct stamp now = look(z);

    return memcmp(&now, &z->stamp, sizeof(now)) != 0;
}

/* True when the zone at `index` was replaced by what the folder has now. */
static bool refresh(struct zoneinfo *z, size_t index)
{
    struct zone *old = z->kept[index].zone, *zone;

    if (!z->kept[index].current || load(z, old->name, &zone, NULL) < 0)
        return false;
    if (zone_equal(zone, old) || !keep(z, zone)) {
        zone_free(zone);
        return false;
    }
    z->kept[index].current = false;
    return true;
}

int zoneinfo_reload(struct zoneinfo *z, void (*changed)(void *arg, const char *name), void *arg)
{
    struct stamp stamp = look(z); /* before reading: a change meanwhile is seen next time */
    char(*names)[ZONE_NAME_MAX + 1];
    size_t count;
    int replaced = 0;

    drop_unused(z, false);
    count = z->count;
    names = malloc((count + 1) * sizeof(*names)); /* a copy: `changed` may get and put zones */
    if (!names)
        return ERR_NOMEM;
    for (size_t i = 0; i < count; i++)
        if (refresh(z, i))
            memcpy(names[replaced++], z->kept[i].zone->name, sizeof(*names));
    find_version(z);
    z->stamp = stamp;
    for (int i = 0; i < replaced; i++)
        changed(arg, names[i]);
    free(names);
    return replaced;
}
