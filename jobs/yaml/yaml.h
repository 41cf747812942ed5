/* YAML text to a tree whose every node knows its place; serves the job files and the server's configuration.
 *
 * YAML 1.2 core typing only: `no`, `on`, `1:30` are texts, `010` is ten. Anchors, aliases and the merge key
 * `<<` work; what they expand to is counted, so that a small file cannot become a large tree. Duplicate keys
 * are faults, and so are several documents in one file, keys that are not scalars, and tags beyond the core
 * ones.
 *
 * A document owns its nodes and texts; an aliased node is in the tree more than once by pointer, with the
 * place where it was written. Nodes are read-only. One thread at a time.
 */
#pragma once

#include "jobs/base/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define YAML_ANCHORS_MAX    256
#define YAML_DEPTH_MAX      64  /* the most that limits.depth may be */
#define YAML_BYTES_PER_NODE 256 /* so many bytes of text count as one more node */

enum yaml_kind { YAML_NULL, YAML_BOOL, YAML_INT, YAML_REAL, YAML_TEXT, YAML_LIST, YAML_MAP };

struct yaml_node {
    enum yaml_kind kind;
    int line, column; /* from 1, columns in characters; 0: it came from JSON */
    bool quoted;      /* a scalar with quotes or a block one: never null, bool or number */
    bool verbatim;    /* the source has the text unchanged in one line: yaml_node_column is exact */
    /* scalars: NUL-terminated, without inner NULs; NULL when it came from JSON as no text */
    const char *text;
    size_t size;
    union {
        bool boolean;
        int64_t integer;
    };
    double number; /* YAML_INT too */

    struct yaml_node **keys;  /* maps; always scalars with text */
    struct yaml_node **items; /* lists, and the values of maps */
    size_t count;
    size_t weight; /* nodes below, aliases expanded, and itself */
};

struct yaml_limits {
    size_t bytes, nodes;
    int depth;
};

/* Where faults go; line and column from 1, or 0 when the file as a whole is meant. */
struct yaml_sink {
    void (*fault)(struct yaml_sink *sink, int line, int column, const char *text);
};

struct yaml_doc;

/* 0: the tree, though faults that leave one (duplicate keys) may have been reported. ERR_INVALID, ERR_LIMIT:
 * reported, no tree. ERR_NOMEM: not reported. An empty text is a tree of one YAML_NULL. */
int yaml_doc_parse(struct yaml_doc **ret, const char *text, size_t size, const struct yaml_limits *limits,
                   struct yaml_sink *sink);

/* The same tree from JSON, without places. Borrows the texts: `json` must outlive it. ERR_LIMIT: too deep;
 * ERR_INVALID: a NUL in a text; ERR_NOMEM. */
int yaml_doc_from_json(struct yaml_doc **ret, const json_t *json, int depth_max);

void yaml_doc_free(struct yaml_doc *doc);
const struct yaml_node *yaml_doc_root(const struct yaml_doc *doc);

const struct yaml_node *yaml_node_get(const struct yaml_node *map,
                                      const char *key); /* NULL: not there, or no map */

/* The column of byte `offset` of a scalar's text; the scalar's own where it is not known. */
int yaml_node_column(const struct yaml_node *node, size_t offset);

/* A copy as JSON. ERR_INVALID for what JSON cannot say (infinity). */
int yaml_node_json(const struct yaml_node *node, json_t **ret);

const char *yaml_kind_name(enum yaml_kind kind); /* "a list"; for messages */
