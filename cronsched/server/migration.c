#include "cronsched/server/migration.h"

#include "cronsched/cluster/mark_file.h"
#include "cronsched/cluster/replica.h"
#include "cronsched/command/verbs.h"
#include "cronsched/server/data_dir.h"
#include "jobs/base/alloc.h"
#include "jobs/base/fault.h"
#include "jobs/base/object.h"
#include "jobs/history/store.h"
#include "leader/embedded/journal_seal.h"
#include "leader/replicated/replicated.h"
#include "leader/replicated/tree_copy.h"
#include "leader/worker/loop.h"
#include "leader/zookeeper/zookeeper.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define CONNECT_MS    15000
#define JOURNAL_NAME  "journal.db"
#define INCOMING_NAME "journal.db.incoming"
#define GROUP_MAX     256

struct migration {
    struct object object;
    const struct config *config;
    uv_loop_t loop;
    uv_timer_t timer;
    struct coord *coord; /* NULL: not opened */
    bool connected, late, closed;
    char servers[1024], root[ZOOKEEPER_ROOT_MAX], where[1400], trouble[200];
    struct tree_copy_link link;
    struct tree_copy_look look; /* the tree */
    struct tree_copy copy;      /* the journal that is moved */
    struct journal_db *db;      /* journal.db; NULL: there is none, or it is not open */
    struct mark mark;           /* of the data folder */
};

/* ---- ZooKeeper ---- */

static uint64_t random_number(void *arg)
{
    uint64_t value;

    if (getrandom(&value, sizeof(value), 0) != sizeof(value))
        abort(); /* the kernel always has it once it runs */
    return value;
}

static void to_trouble(void *arg, enum log_level level, const char *event, const char *text)
{
    struct migration *m = OBJECT(struct migration, arg);

    if (level == LOG_WARN || level == LOG_ERROR)
        snprintf(m->trouble, sizeof(m->trouble), "%s", text);
}

static void on_connected(void *arg, int64_t session, int64_t timeout_ms, bool fresh)
{
    OBJECT(struct migration, arg)->connected = true;
}

static void on_lost(void *arg, const char *why)
{
    OBJECT(struct migration, arg)->connected = false;
}

static void on_changed(void *arg, const char *path)
{
}

static const struct coord_events coord_events = {on_connected, on_lost, on_lost, on_changed};

static void on_late(uv_timer_t *timer)
{
    OBJECT(struct migration, timer->data)->late = true;
}

static void on_closed(void *arg)
{
    OBJECT(struct migration, arg)->closed = true;
}

static void turn(void *arg)
{
    uv_run(&OBJECT(struct migration, arg)->loop, UV_RUN_ONCE);
}

static int open_coordinator(struct migration *m, struct error *error)
{
    const struct config *c = m->config;
    size_t hosts = strcspn(c->zookeeper, "/");
    struct zookeeper_users users = {.count = 0};
    struct zookeeper_options z = {.servers = m->servers,
                                  .root = c->zookeeper[hosts] ? m->root : NULL,
                                  .cluster = c->cluster,
                                  .session_timeout_ms = c->session_timeout_ms,
                                  .log = to_trouble,
                                  .random = random_number,
                                  .arg = m};
    int rc = 0;

    snprintf(m->servers, sizeof(m->servers), "%.*s", (int)hosts, c->zookeeper);
    snprintf(m->root, sizeof(m->root), "%s", c->zookeeper + hosts);
    snprintf(m->where, sizeof(m->where), "ZooKeeper at %s, node %s/%s", m->servers,
             c->zookeeper[hosts] ? m->root : ZOOKEEPER_ROOT, c->cluster);
    if (c->zookeeper_auth_file) {
        rc = replica_read_users(c->zookeeper_auth_file, &users, error);
        z.users = &users;
        z.guarded = replicated_nodes;
        z.trust_open = c->insecure;
    }
    rc = rc < 0 ? rc : zookeeper_open(&m->coord, &m->loop, &z, error);
    zookeeper_users_forget(&users);
    return rc;
}

static int connect_tree(struct migration *m, struct error *error)
{
    int rc = open_coordinator(m, error);

    if (rc < 0)
        return rc;
    m->coord->events = &coord_events;
    m->coord->arg = m;
    m->link = (struct tree_copy_link){m->coord, turn, m, random_number};
    loop_timer_start(&m->timer, on_late, CONNECT_MS, 0);
    while (!m->connected && !m->late)
        turn(m);
    uv_timer_stop(&m->timer);
    if (!m->connected)
        return error_set(error, ERR_UNREACHABLE, "%s cannot be reached: %s", m->where,
                         m->trouble[0] ? m->trouble : m->coord->ops->status(m->coord));
    return tree_copy_look(&m->link, &m->look, error);
}

/* ---- the data folder ---- */

static const char *in_folder(const struct migration *m, const char *name, char path[PATH_MAX])
{
    snprintf(path, PATH_MAX, "%s/%s", m->config->data_dir, name);
    return path;
}

static bool is_there(const struct migration *m, const char *name)
{
    char path[PATH_MAX];

    return access(in_folder(m, name, path), F_OK) == 0;
}

/* Files that another user makes are of no use to the server. */
static int check_folder(struct migration *m, struct error *error)
{
    const char *dir = m->config->data_dir;
    struct stat st;
    int rc = data_dir_check(dir, error);

    if (rc < 0)
        return rc;
    if (stat(dir, &st) == 0 && st.st_uid != geteuid())
        return error_set(error, ERR_DENIED, "%s belongs to user %u: do this as that user", dir, st.st_uid);
    if (data_dir_is_served(dir))
        return error_set(error, ERR_BUSY, "a server runs on %s: stop it first", dir);
    return mark_file_read(dir, &m->mark, error);
}

static int sync_folder(const struct migration *m, struct error *error)
{
    int fd = open(m->config->data_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;

    if (fd < 0 || fsync(fd) < 0)
        rc = error_set(error, ERR_IO, "%s: %s", m->config->data_dir, strerror(errno));
    if (fd >= 0)
        close(fd);
    return rc;
}

static int move_file(const struct migration *m, const char *name, const char *to, struct error *error)
{
    char from[PATH_MAX], target[PATH_MAX];

    if (rename(in_folder(m, name, from), in_folder(m, to, target)) < 0)
        return error_set(error, ERR_IO, "%s cannot be renamed: %s", from, strerror(errno));
    return sync_folder(m, error);
}

static int open_journal(struct migration *m, struct error *error)
{
    const struct journal_db_options o = {.sealed = true};
    char path[PATH_MAX];

    return journal_db_open(&m->db, in_folder(m, JOURNAL_NAME, path), &o, error);
}

static void close_journal(struct migration *m)
{
    journal_db_close(m->db);
    m->db = NULL;
}

/* All of it into `copy`. */
static int read_journal(struct migration *m, struct error *error)
{
    const struct journal_db_head *head = journal_db_head(m->db);
    struct tree_copy *c = &m->copy;
    uint64_t at;
    int rc = journal_db_read_snapshot(m->db, &c->text, &c->size, &c->index, error);

    if (rc == 0 && !journal_db_cluster(m->db)[0])
        rc = error_set(error, ERR_UNSUPPORTED, "the journal does not say of which cluster it is");
    snprintf(c->cluster, sizeof(c->cluster), "%s", journal_db_cluster(m->db));
    if (c->index == head->index)
        memcpy(c->hash, head->hash, sizeof(c->hash));
    while (rc == 0 && (at = c->index + c->count) < head->index) {
        struct journal_db_rows rows = {.count = 0};

        rc = journal_db_read(m->db, at, &rows, error);
        if (rc == 0 && rows.count == 0)
            rc = error_set(error, ERR_CORRUPT, "the journal ends at batch %" PRIu64, at);
        for (size_t i = 0; rc == 0 && i < rows.count; i++)
            rc = tree_copy_add(c, rows.items[i].text, rows.items[i].size, error);
        journal_db_rows_release(&rows);
    }
    c->epoch = journal_db_epoch(m->db);
    c->level = RECORD_LEVEL;
    return rc;
}

static void say_what(const struct migration *m, bool do_it)
{
    char hash[MARK_HASH_SIZE];

    verb_print(stdout,
               "cluster %s, up to batch %" PRIu64 " of epoch %" PRId64
               ": a snapshot of %zu bytes and %zu batches\n",
               m->copy.cluster, tree_copy_head(&m->copy, hash), m->copy.epoch, m->copy.size, m->copy.count);
    if (!do_it)
        puts("Nothing was changed; with --yes it is done.");
}

/* ---- into ZooKeeper ---- */

/* 1: it is there already. */
static int may_write(const struct migration *m, struct error *error)
{
    const struct tree_copy_look *t = &m->look;
    bool same = strcmp(t->cluster, m->copy.cluster) == 0;
    char hash[MARK_HASH_SIZE];

    if (t->kind == TREE_COPY_LIVING && same && journal_seal_where(m->db)[0])
        return 1;
    if (m->mark.cluster[0] && strcmp(m->mark.cluster, m->copy.cluster) != 0)
        return error_set(error, ERR_CONFLICT, "%s belongs to cluster %s, and its journal is of %s",
                         m->config->data_dir, m->mark.cluster, m->copy.cluster);
    if (m->mark.index > tree_copy_head(&m->copy, hash))
        return error_set(error, ERR_CONFLICT,
                         "the journal went on elsewhere: the replica of this folder has seen batch %" PRIu64,
                         m->mark.index);
    if (t->kind == TREE_COPY_LIVING)
        return error_set(error, ERR_CONFLICT, "%s holds cluster %s already", m->where, t->cluster);
    if (t->kind == TREE_COPY_FOREIGN)
        return error_set(error, ERR_CONFLICT, "%s is not empty: it has %s", m->where, t->text);
    if (t->members > 0)
        return error_set(error, ERR_BUSY, "%zu replica%s %s: stop them first", t->members,
                         t->members == 1 ? " uses" : "s use", m->where);
    if (t->kind != TREE_COPY_EMPTY && !same)
        return error_set(error, ERR_CONFLICT, "%s holds what is left of cluster %s", m->where, t->cluster);
    if (t->kind == TREE_COPY_MOVED && t->head > tree_copy_head(&m->copy, hash))
        return error_set(error, ERR_CONFLICT,
                         "%s had batch %" PRIu64 " when its journal was moved to %s: this one is older",
                         m->where, t->head, t->text);
    return 0;
}

static int put_away(struct migration *m, struct error *error)
{
    char name[64];
    uint64_t index = journal_db_head(m->db)->index;

    close_journal(m);
    snprintf(name, sizeof(name), JOURNAL_NAME ".moved-%" PRIu64, index);
    return move_file(m, JOURNAL_NAME, name, error);
}

static int write_tree(struct migration *m, struct error *error)
{
    struct mark mark;
    int rc = tree_copy_write(&m->link, &m->look, &m->copy, error);

    FAULT_POINT("migrate", "written");
    tree_copy_mark(&m->copy, &mark);
    rc = rc < 0 ? rc : mark_file_write(m->config->data_dir, &mark, error);
    rc = rc < 0 ? rc : journal_seal(m->db, m->where, error);
    FAULT_POINT("migrate", "sealed");
    rc = rc < 0 ? rc : tree_copy_commit(&m->link, &m->copy, error);
    FAULT_POINT("migrate", "done");
    return rc;
}

static int to_zookeeper(struct migration *m, bool do_it, struct error *error)
{
    int rc;

    if (!is_there(m, JOURNAL_NAME))
        return error_set(
            error, ERR_NOT_FOUND,
            "%s has no " JOURNAL_NAME
            ": it is not the folder of a server that stands alone, or its journal was moved already",
            m->config->data_dir);
    rc = open_journal(m, error);
    rc = rc < 0 ? rc : read_journal(m, error);
    rc = rc < 0 ? rc : connect_tree(m, error);
    rc = rc < 0 ? rc : may_write(m, error);
    if (rc < 0)
        return rc;
    if (do_it && rc == 0)
        rc = write_tree(m, error);
    if (do_it && rc >= 0)
        rc = put_away(m, error);
    if (rc < 0)
        return rc;
    verb_print(stdout, "%s %s\n", do_it ? "moved to" : "would move to", m->where);
    say_what(m, do_it);
    return 0;
}

/* ---- out of ZooKeeper ---- */

static int check_mark(const struct migration *m, struct error *error)
{
    const struct tree_copy *c = &m->copy;
    char hash[MARK_HASH_SIZE];
    uint64_t head = tree_copy_head(c, hash);

    if (m->mark.index > c->index && m->mark.index <= head)
        memcpy(hash, c->batches[m->mark.index - c->index - 1].hash, sizeof(hash));
    else if (m->mark.index == c->index)
        memcpy(hash, c->hash, sizeof(hash));
    if (m->mark.index > head)
        return error_set(error, ERR_CONFLICT,
                         "this replica knows batch %" PRIu64 ", and %s ends at %" PRIu64
                         ": see 'cronsched cluster recover'",
                         m->mark.index, m->where, head);
    if (m->mark.index >= c->index && m->mark.hash[0] && hash[0] && strcmp(m->mark.hash, hash) != 0)
        return error_set(error, ERR_CONFLICT, "this replica knows another batch %" PRIu64 " than %s has",
                         m->mark.index, m->where);
    return 0;
}

/* A journal gives the history what is behind its snapshot. */
static int check_history(const struct migration *m, struct error *error)
{
    char path[PATH_MAX], hash[MARK_HASH_SIZE];
    uint64_t applied = 0;
    int rc = store_read_applied(in_folder(m, "history.db", path), &applied, error);

    if (rc < 0)
        return rc;
    if (applied < m->copy.index || applied > tree_copy_head(&m->copy, hash))
        return error_set(error, ERR_CONFLICT,
                         "the history of this replica is of batch %" PRIu64
                         ", and the snapshot of batch %" PRIu64
                         ": start the replica until it is current, or take another one's folder",
                         applied, m->copy.index);
    return 0;
}

static int append_all(struct journal_db *db, const struct tree_copy *c, struct error *error)
{
    int rc = 0;

    for (size_t at = 0; rc == 0 && at < c->count;) {
        struct journal_db_batch group[GROUP_MAX];
        size_t n = 0;

        for (; n < GROUP_MAX && at < c->count; n++, at++) {
            const struct tree_copy_batch *b = &c->batches[at];

            group[n] = (struct journal_db_batch){.index = c->index + at + 1,
                                                 .epoch = b->epoch,
                                                 .time_ms = b->time_ms,
                                                 .hash = b->hash,
                                                 .text = b->text,
                                                 .size = b->size};
        }
        rc = journal_db_append(db, group, n, error);
    }
    return rc;
}

/* Beside journal.db, sealed; then in its place. */
static int write_journal(struct migration *m, struct error *error)
{
    static const char *const parts[] = {INCOMING_NAME, INCOMING_NAME "-wal", INCOMING_NAME ".lock"};
    const struct journal_db_options o = {.cluster = m->copy.cluster, .sealed = true};
    struct journal_seal_import in = {.text = m->copy.text,
                                     .size = m->copy.size,
                                     .at = {.index = m->copy.index},
                                     .epoch = m->copy.epoch + 1,
                                     .where = m->where};
    struct journal_db *db = NULL;
    char path[PATH_MAX];
    int rc;

    memcpy(in.at.hash, m->copy.hash, sizeof(in.at.hash));
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        unlink(in_folder(m, parts[i], path));
    rc = journal_db_open(&db, in_folder(m, INCOMING_NAME, path), &o, error);
    if (rc == 0)
        rc = journal_seal_import(db, &in, error);
    rc = rc < 0 ? rc : append_all(db, &m->copy, error);
    journal_db_close(db);
    rc = rc < 0 ? rc : move_file(m, INCOMING_NAME, JOURNAL_NAME, error);
    unlink(in_folder(m, INCOMING_NAME ".lock", path));
    return rc;
}

static int break_seal(struct migration *m, struct error *error)
{
    int rc = m->db ? 0 : open_journal(m, error);

    return rc < 0 ? rc : journal_seal(m->db, NULL, error);
}

static int take_tree(struct migration *m, bool do_it, struct error *error)
{
    char hash[MARK_HASH_SIZE];
    int rc;

    if (strcmp(m->mark.cluster, m->look.cluster) != 0)
        return error_set(error, ERR_CONFLICT, "%s is not the folder of a replica of cluster %s",
                         m->config->data_dir, m->look.cluster);
    if (m->look.members > 0 || m->look.led)
        return error_set(error, ERR_BUSY, "%zu replica%s %s: stop them first", m->look.members,
                         m->look.members == 1 ? " uses" : "s use", m->where);
    rc = tree_copy_read(&m->link, &m->look, &m->copy, error);
    rc = rc < 0 ? rc : check_mark(m, error);
    rc = rc < 0 ? rc : check_history(m, error);
    if (rc < 0 || !do_it)
        return rc;
    close_journal(m); /* of an earlier move, sealed */
    rc = write_journal(m, error);
    FAULT_POINT("migrate", "written");
    tree_copy_head(&m->copy, hash);
    rc = rc < 0 ? rc : tree_copy_end(&m->link, &m->look, hash, m->config->data_dir, error);
    FAULT_POINT("migrate", "ended");
    return rc < 0 ? rc : break_seal(m, error);
}

/* There is a sealed journal.db of the cluster, and the tree does not live: a move into it, or out of it, was not finished. */
static int finish(struct migration *m, bool do_it, struct error *error)
{
    const struct journal_db_head *head = journal_db_head(m->db);
    const struct tree_copy_look *t = &m->look;
    int rc = 0;

    if (t->kind == TREE_COPY_MOVED ? t->head != head->index || strcmp(t->hash, head->hash) != 0
                                   : m->mark.index > head->index)
        return error_set(error, ERR_CONFLICT, "the journal that %s had is not the one in %s", m->where,
                         m->config->data_dir);
    rc = read_journal(m, error);
    if (rc == 0 && do_it && t->kind == TREE_COPY_HALF)
        rc = tree_copy_drop(&m->link, t, error);
    return rc < 0 || !do_it ? rc : break_seal(m, error);
}

static int to_embedded(struct migration *m, bool do_it, struct error *error)
{
    enum tree_copy_kind kind;
    bool is_sealed = false;
    int rc = is_there(m, JOURNAL_NAME) ? open_journal(m, error) : 0;

    rc = rc < 0 ? rc : connect_tree(m, error);
    if (rc < 0)
        return rc;
    kind = m->look.kind;
    is_sealed = m->db && journal_seal_where(m->db)[0];
    if (m->db && !is_sealed)
        return error_set(error, ERR_CONFLICT, "%s has a journal of its own already", m->config->data_dir);
    if (kind == TREE_COPY_LIVING)
        rc = take_tree(m, do_it, error);
    else if (is_sealed && strcmp(m->look.cluster, journal_db_cluster(m->db)) == 0)
        rc = finish(m, do_it, error);
    else
        return error_set(error, ERR_CONFLICT, "%s holds no journal that could be moved%s%s", m->where,
                         kind == TREE_COPY_MOVED ? ": it was moved to " : "", m->look.text);
    if (rc < 0)
        return rc;
    verb_print(stdout, "%s %s, from %s\n", do_it ? "moved to" : "would move to", m->config->data_dir,
               m->where);
    say_what(m, do_it);
    return 0;
}

/* ---- all of it ---- */

static void release(struct migration *m)
{
    close_journal(m);
    tree_copy_release(&m->copy);
    if (m->coord)
        m->coord->ops->close(m->coord, on_closed, m);
    while (m->coord && !m->closed)
        turn(m);
    uv_close((uv_handle_t *)&m->timer, NULL);
    uv_run(&m->loop, UV_RUN_DEFAULT);
    uv_loop_close(&m->loop);
}

int migration_run(const struct config *config, enum migration_to to, bool do_it, struct error *error)
{
    struct migration m = {.object = OBJECT_MARK(struct migration), .config = config};
    int rc;

    if (!config->zookeeper)
        return error_set(error, ERR_INVALID,
                         "the configuration has no zookeeper: say where the journal is to be");
    signal(SIGPIPE, SIG_IGN);
    uv_loop_init(&m.loop);
    uv_timer_init(&m.loop, &m.timer);
    m.timer.data = &m;
    rc = check_folder(&m, error);
    if (rc == 0)
        rc = to == MIGRATION_TO_ZOOKEEPER ? to_zookeeper(&m, do_it, error) : to_embedded(&m, do_it, error);
    release(&m);
    return rc;
}
