/* The plain keys of the configuration, below config.c (sources and defaults) and config_file.c (the file).
 * Only they include this. */
#pragma once

#include "cronsched/config/config.h"
#include "jobs/base/object.h"
#include "jobs/yaml/yaml.h"

#define CONFIG_NAME_MAX 64

#define CONFIG_COUNT_MAX 100
#define CONFIG_JOBS_MAX  10000

enum config_kind {
    CONFIG_KIND_NAME,
    CONFIG_KIND_PATH,
    CONFIG_KIND_FOLDER,
    CONFIG_KIND_LISTEN, /* a list */
    CONFIG_KIND_HOSTS,  /* likewise */
    CONFIG_KIND_URL,
    CONFIG_KIND_ZOOKEEPER,
    CONFIG_KIND_UUID,
    CONFIG_KIND_DURATION,
    CONFIG_KIND_SIZE,
    CONFIG_KIND_COUNT,
    CONFIG_KIND_JOBS, /* a number of them */
    CONFIG_KIND_BOOL,
    CONFIG_KIND_LOG,
    CONFIG_KIND_LOG_LEVEL,
    CONFIG_KIND_GROUP,
    CONFIG_KIND_MODE,
    CONFIG_KIND_LOOPBACK
};

struct config_key {
    const char *key, *flag;
    enum config_kind kind;
    size_t offset; /* of its field in struct config */
    const char *arg, *fallback, *help;
};

extern const struct config_key config_keys[];
extern const size_t config_key_count;

const struct config_key *config_key_find(const char *key); /* "listen", "tls.cert"; NULL: no plain key */
/* "tls.cert" to "CRONSCHED_TLS_CERT"; returns buffer. */
const char *config_key_variable(const char *key, char *buffer, size_t size);

bool config_name_valid(const char *name);
/* The first n bytes are "HOST:PORT" or "[ADDRESS]:PORT", with a port from least_port on. */
bool config_host_port_valid(const char *s, size_t n, long least_port);
bool config_kind_is_list(enum config_kind kind);
/* One value from its text. It replaces what was there, but to a list it is added. ERR_INVALID, ERR_LIMIT. */
int config_set_value(struct config *config, const struct config_key *key, const char *value,
                     struct error *error);
int config_add_listen(struct config *config, const char *value, struct error *error);
void config_clear_list(struct config *config, enum config_kind kind);

struct config_reader {
    struct object object;
    struct yaml_sink sink; /* the parser's faults come here */
    struct config *config;
    const char *file;
    struct text *errors;
    int faults;
};

/* "FILE:LINE:COLUMN: error: TEXT"; without the place when line is 0 */
void config_fault_at(struct config_reader *reader, int line, int column, const char *text);
void config_fault(struct config_reader *reader, const struct yaml_node *node, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void config_set_node(struct config_reader *reader, const struct config_key *key,
                     const struct yaml_node *node);
