/* Shared by the files of the YAML reader only. */
#pragma once

#include "jobs/yaml/yaml.h"

#include <yaml.h>

struct yaml_chunk;

struct yaml_doc {
    struct yaml_chunk *chunks;
    struct yaml_node *root;
};

/* Memory that lives as long as the document; NULL when there is none. */
void *yaml_doc_alloc(struct yaml_doc *doc, size_t size);
struct yaml_node *yaml_doc_node(struct yaml_doc *doc, enum yaml_kind kind);

size_t yaml_characters(const char *s, size_t size); /* of UTF-8 */

/* Reports; returns ERR_INVALID. */
int yaml_fault(struct yaml_sink *sink, int line, int column, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* 0, or ERR_INVALID after a report of the byte that cannot be in a YAML file. */
int yaml_check_bytes(const char *source, size_t size, struct yaml_sink *sink);

/* Reports the parser's error in words for the author of the file. */
int yaml_explain(const yaml_parser_t *parser, const char *source, size_t size, struct yaml_sink *sink);

/* Reports an alias without an anchor, or the text that looks like one. ERR_INVALID. */
int yaml_explain_alias(const yaml_event_t *alias, const char *source, size_t size, struct yaml_sink *sink);

int yaml_mark_line(const yaml_mark_t *mark); /* both from 1 */
int yaml_mark_column(const yaml_mark_t *mark);
