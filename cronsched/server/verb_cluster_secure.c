/* cluster secure: gives the cluster's nodes in ZooKeeper to the user of zookeeper_auth_file alone, and the replicas a new
 * secret; cluster password: makes a line for that file.
 *
 * Happy path: the configuration says which servers, which node and which file -> every node's access list is read ->
 * with --yes each that others may use is closed, from above -> the secret, which others may have read, is replaced;
 * replicas see that and accept the one before for a while. Works beside running replicas, and without any.
 */
#include "cronsched/command/verbs.h"
#include "cronsched/config/config.h"
#include "cronsched/io/file.h"
#include "jobs/base/text.h"
#include "leader/replicated/replicated.h"
#include "leader/zookeeper/zookeeper.h"
#include "leader/zookeeper/zookeeper_secure.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define NODES_TOLD     20
#define PASSWORD_BYTES 24
#define SECRET_BYTES   32

/* ---- cluster secure ---- */

static const struct verb_option options[] = {
    {"config", 'c', "FILE", "a replica's configuration (also CRONSCHED_CONFIG)"},
    {"yes", 'y', NULL, "do it; without this it only says what would happen"},
    {0}};

static void tell(void *arg, const char *path, const char *who)
{
    size_t *told = arg;

    if (++*told <= NODES_TOLD)
        printf("%s: %s\n", path, who);
    else if (*told == NODES_TOLD + 1)
        printf("...\n");
}

static int random_hex(size_t bytes, char *ret, struct error *error)
{
    unsigned char random[64];

    if (getrandom(random, bytes, 0) != (ssize_t)bytes)
        return error_set(error, ERR_IO, "cannot get random bytes: %s", strerror(errno));
    for (size_t i = 0; i < bytes; i++)
        snprintf(ret + 2 * i, 3, "%02x", random[i]);
    explicit_bzero(random, sizeof(random));
    return 0;
}

static int read_users(const struct config *config, struct zookeeper_users *ret, struct error *error)
{
    const char *path = config->zookeeper_auth_file;
    struct error why;
    char *text;
    size_t size;
    int r;

    if (!config->zookeeper || !path)
        return error_set(error, ERR_INVALID, "the configuration has no %s",
                         config->zookeeper ? "zookeeper_auth_file" : "zookeeper");
    r = file_read(path, CONFIG_BYTES_MAX, FILE_REGULAR, &text, &size, &why);
    if (r < 0)
        return error_set(error, r, "%s: %s", path, why.text);
    r = zookeeper_users_parse(text, ret, error);
    explicit_bzero(text, size);
    free(text);
    return r < 0 ? error_prefix(error, "%s: ", path) : 0;
}

static void say(const struct zookeeper_secure_options *o, const struct zookeeper_secure_result *result)
{
    int user = (int)strcspn(o->users->items[0].id, ":");

    printf("%zu of %zu nodes below %s %s%s user %.*s alone\n", result->foreign, result->nodes, o->node,
           o->change ? "were" : "would be", " given to", user, o->users->items[0].id);
    if (result->denied > 0)
        printf("%zu are closed to all users of the file: add the line of the one who made them\n",
               result->denied);
    else if (o->change)
        printf(
            "the replicas have a new secret; run this again once all of them were restarted with the file\n");
    if (!o->change)
        printf("Nothing was changed; with --yes it is done.\n");
}

static int secure(const struct config *config, bool yes, struct error *error)
{
    size_t hosts = config->zookeeper ? strcspn(config->zookeeper, "/") : 0, told = 0;
    char servers[1024], node[ZOOKEEPER_ROOT_MAX], secret[2 * SECRET_BYTES + 1];
    struct zookeeper_users users;
    struct zookeeper_secure_options o = {.servers = servers,
                                         .node = node,
                                         .users = &users,
                                         .change = yes,
                                         .path = REPLICATED_SECRET_NODE,
                                         .data = secret,
                                         .tell = tell,
                                         .arg = &told};
    struct zookeeper_secure_result result;
    int r = read_users(config, &users, error);

    r = r < 0 ? r : random_hex(SECRET_BYTES, secret, error);
    if (r < 0)
        return r;
    snprintf(servers, sizeof(servers), "%.*s", (int)hosts, config->zookeeper);
    snprintf(node, sizeof(node), "%s/%s",
             config->zookeeper[hosts] ? config->zookeeper + hosts : ZOOKEEPER_ROOT, config->cluster);
    r = zookeeper_secure(&o, &result, error);
    if (r == 0)
        say(&o, &result);
    if (r == 0 && result.denied > 0)
        r = error_set(error, ERR_DENIED, "%zu nodes are closed to us", result.denied);
    zookeeper_users_forget(&users);
    explicit_bzero(secret, sizeof(secret));
    return r;
}

static int run_secure(const struct verb_call *call)
{
    struct config config;
    struct error error = {0};
    int code = config_load_file(&config, verb_option(call, "config"));

    if (code == EXIT_FINE && secure(&config, verb_flag(call, "yes"), &error) < 0)
        code = verb_fail(&error);
    config_release(&config);
    return code;
}

const struct verb verb_cluster_secure = {
    .name = "cluster secure",
    .help = "close the cluster's nodes in ZooKeeper to all but the user of zookeeper_auth_file",
    .text =
        "Reads zookeeper, cluster and zookeeper_auth_file from a replica's configuration. Shows which nodes "
        "others may use; with --yes gives them to the first user of the file alone, and the replicas a new "
        "secret.",
    .group = VERB_GROUP_SERVER,
    .options = options,
    .run = run_secure,
};

/* ---- cluster password ---- */

static const struct verb_option password_options[] = {{"user", 0, "NAME", "its user (default cron)"}, {0}};

static int run_password(const struct verb_call *call)
{
    const char *user = verb_option(call, "user");
    char password[2 * PASSWORD_BYTES + 1], line[ZOOKEEPER_CREDENTIAL_SIZE];
    struct zookeeper_users users;
    struct error error = {0};
    int r = random_hex(PASSWORD_BYTES, password, &error);

    if (r == 0) {
        snprintf(line, sizeof(line), "%.64s:%s", user ? user : "cron", password);
        r = zookeeper_users_parse(line, &users, &error);
    }
    if (r == 0)
        printf("%s\n", line);
    explicit_bzero(password, sizeof(password));
    explicit_bzero(line, sizeof(line));
    return r < 0 ? verb_fail(&error) : EXIT_FINE;
}

const struct verb verb_cluster_password = {
    .name = "cluster password",
    .help = "make a line for zookeeper_auth_file, with a random password",
    .text =
        "To change the password of a running cluster: add the new line to the file of every replica, behind "
        "the "
        "old one, and restart them one after the other; move it to the front on every replica, and restart "
        "again; 'cronsched cluster secure --yes'; remove the old line everywhere, and restart.",
    .group = VERB_GROUP_SERVER,
    .options = password_options,
    .run = run_password,
};
