#include "cronsched/server/serve_check.h"

#include "cronsched/io/file.h"
#include "cronsched/server/data_dir.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECKED_BYTES_MAX (1024 * 1024)

static int fault(const char *key, const struct error *error)
{
    fprintf(stderr, "cronsched: %s%s%s\n", key, *key ? ": " : "", error->text);
    return 1;
}

static int check_file(const char *key, const char *path, unsigned flags)
{
    struct error error;
    char *bytes;
    size_t size;

    if (!path)
        return 0;
    if (file_read(path, CHECKED_BYTES_MAX, FILE_REGULAR | flags, &bytes, &size, &error) < 0) {
        error_prefix(&error, "%.500s: ", path);
        return fault(key, &error);
    }
    explicit_bzero(bytes, size);
    free(bytes);
    return 0;
}

int serve_check(const struct config *config)
{
    struct error error;
    int faults = 0, r = data_dir_check(config->data_dir, &error);

    if (r < 0 && r != ERR_NOT_FOUND)
        faults += fault("", &error);
    faults += check_file("tokens_file", config->tokens_file, FILE_TRUSTED);
    faults += check_file("zookeeper_auth_file", config->zookeeper_auth_file, 0);
    faults += check_file("tls.cert", config->tls_cert, 0);
    faults += check_file("tls.key", config->tls_key, 0);
    faults += check_file("tls.ca", config->tls_ca, 0);
    for (size_t i = 0; i < config->engine_count; i++) {
        faults += check_file("engines: tls: ca", config->engines[i].tls_ca, 0);
        faults += check_file("engines: tls: cert", config->engines[i].tls_cert, 0);
        faults += check_file("engines: tls: key", config->engines[i].tls_key, 0);
    }
    if (faults == 0)
        puts("the configuration is fine");
    return faults == 0 ? EXIT_FINE : EXIT_USAGE;
}
