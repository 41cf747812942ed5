#include "cronsched/server/serve_check.h"

#include "cronsched/api/api.h"
#include "cronsched/cluster/replica.h"
#include "cronsched/engines/docker/docker_registry.h"
#include "cronsched/engines/process/supervise_user.h"
#include "cronsched/server/data_dir.h"
#include "leader/zookeeper/zookeeper_access.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void fault(void *arg, const struct error *error)
{
    verb_print(stderr, "cronsched: %s\n", error->text);
    ++*(int *)arg;
}

static void check_api(const struct config *config, int *faults)
{
    const struct api_options o = {
        .context = {.data_dir = config->data_dir, .advertise = config->advertise},
        .listen = config->listen,
        .listen_count = config->listen_count,
        .tokens_file = config->tokens_file,
        .tls_cert = config->tls_cert,
        .tls_key = config->tls_key,
        .insecure = config->insecure,
        .loopback_read = config->loopback_read,
        .hosts = config->allowed_hosts,
        .host_count = config->allowed_host_count,
    };

    api_check(&o, fault, faults);
}

static void check_zookeeper(const struct config *config, int *faults)
{
    struct zookeeper_users users;
    struct error error;

    if (!config->zookeeper_auth_file)
        return;
    if (replica_read_users(config->zookeeper_auth_file, &users, &error) < 0)
        fault(faults, &error);
    else
        zookeeper_users_forget(&users);
}

static void check_users(const struct config_engine *e, int *faults)
{
    const json_t *list = json_object_get(e->allow, "users"), *user;
    size_t i;

    if (strcmp(e->type, "process") != 0)
        return; /* those of an image are not known here */
    json_array_foreach(list, i, user)
    {
        struct supervise_user found = {0};
        struct error error;

        int r = supervise_user_find(json_string_value(user), &found, &error);

        if (r < 0 && r != ERR_IO) { /* a database that is away is no fault of the configuration */
            error_prefix(&error, "engines: %s: users: ", e->name);
            fault(faults, &error);
        }
        supervise_user_release(&found);
    }
}

/* As a pull reads them. */
static void check_registries(const struct config_engine *e, int *faults)
{
    const char *host;
    json_t *entry;

    json_object_foreach(e->registries, host, entry)
    {
        const char *path = json_string_value(json_object_get(entry, "from_file"));
        char *password = NULL;
        struct error error;

        if (docker_registry_password(path, &password, &error) < 0) {
            error_prefix(&error, "engines: %s: registries: %.100s: %.300s: ", e->name, host, path);
            fault(faults, &error);
        } else {
            explicit_bzero(password, strlen(password));
            free(password);
        }
    }
}

static void check_engine(const struct config_engine *e, int *faults)
{
    struct error error;
    int r = e->tls_ca ? http_check_authorities(e->tls_ca, &error) : 0;

    if (r == 0 && e->tls_cert && e->tls_key)
        r = http_check_certificate(e->tls_cert, e->tls_key, &error);
    if (r < 0) {
        error_prefix(&error, "engines: %s: ", e->name);
        fault(faults, &error);
    }
    check_users(e, faults);
    check_registries(e, faults);
}

int serve_check(const struct config *config)
{
    struct error error;
    int faults = 0, r = data_dir_check(config->data_dir, &error);

    if (r < 0 && r != ERR_NOT_FOUND)
        fault(&faults, &error);
    check_api(config, &faults);
    check_zookeeper(config, &faults);
    if (config->tls_ca && http_check_authorities(config->tls_ca, &error) < 0)
        fault(&faults, &error);
    for (size_t i = 0; i < config->engine_count; i++)
        check_engine(&config->engines[i], &faults);
    if (faults == 0)
        puts("the configuration is fine");
    return faults == 0 ? EXIT_FINE : EXIT_USAGE;
}
