/* Between config.c (plain values) and config_file.c (the file's reader, engines, pools). Nobody else's. */
#pragma once

#include "cronsched/config/config.h"
#include "jobs/yaml/yaml.h"

#define CONFIG_NAME_MAX 64

struct config_key;

struct config_reader {
    struct yaml_sink sink; /* first: the parser's faults come here */
    struct config *config;
    const char *file;
    struct text *errors;
    int faults;
};

/* "FILE:LINE:COLUMN: error: TEXT" */
void config_fault(struct config_reader *reader, const struct yaml_node *node, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

const struct config_key *config_key_find(const char *key); /* "listen", "tls.cert"; NULL: no plain key */
void config_set_node(struct config_reader *reader, const struct config_key *key,
                     const struct yaml_node *node);
bool config_name_valid(const char *name);

void config_read_file(struct config *config, const struct config_sources *sources, struct text *errors);
void config_default_engines(struct config *config);
void config_release_engines(struct config *config);
