/* Credentials for registries: whose they are, where Docker's own configuration keeps them, and how a pull shows them to the
 * engine. Pure, but for docker_registry_ask and docker_registry_password. What is found is wiped when it is released. */
#pragma once

#include "jobs/base/error.h"

#include <stdbool.h>
#include <stddef.h>

#define DOCKER_REGISTRY_HOST_MAX   272
#define DOCKER_REGISTRY_HELPER_MAX 64
#define DOCKER_REGISTRY_CONFIG_MAX (1024 * 1024)
#define DOCKER_REGISTRY_HELPER_MS  10000

struct docker_credentials {
    char *user, *password; /* both, or neither */
    char *token;           /* an identity token instead of them; NULL: none */
};
void docker_credentials_release(struct docker_credentials *credentials);
bool docker_credentials_are_none(const struct docker_credentials *credentials);

/* The registry that an image comes from, HOST[:PORT] in small letters: "docker.io" when it names none. */
void docker_registry_of(const char *image, char *ret, size_t size);

/* Whether two names mean the same registry: with or without a scheme and a path, index.docker.io is docker.io. */
bool docker_registry_same(const char *a, const char *b);

/* What config.json, as of `docker login`, has for that registry: credentials, or the name of the program that has them
 * (docker-credential-NAME), or neither. ERR_INVALID: it is none, *error says so without its content. */
int docker_registry_config(const char *text, size_t size, const char *host, struct docker_credentials *ret,
                           char ret_helper[DOCKER_REGISTRY_HELPER_MAX], struct error *error);

/* Asks docker-credential-HELPER. None, and 0, when it knows of none. ERR_TIMEOUT, ERR_NOT_FOUND: no such program, ERR_IO:
 * it fails, or makes no sense. Blocks, for DOCKER_REGISTRY_HELPER_MS at most: for a thread of a worker. */
int docker_registry_ask(const char *helper, const char *host, struct docker_credentials *ret,
                        struct error *error);

/* "X-Registry-Auth: ..."; malloc'd, to be wiped. NULL: there are none, or no memory. */
/* The password in a file of the configuration's `registries`, which others than its owner must not be able to write: one
 * line, not empty. *ret_password is for free(), and to be wiped. It blocks as file_read does. ERR_INVALID, and its errors. */
int docker_registry_password(const char *path, char **ret_password, struct error *error);

char *docker_registry_header(const struct docker_credentials *credentials, const char *host);
