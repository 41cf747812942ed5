/* What authorizes a notification at its receiver: headers, and the key that signs it. A secret of either is a file's,
 * which the leader reads at each delivery: the journal holds the path alone. */
#include "jobs/definition/job_keys.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define HEADER_NAME_MAX 64

/* What the delivery itself writes, or what says where a message ends. */
static const char *const taken[] = {
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cronsched-signature",
    "expect",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
};

static int check_header_name(const char *name, struct error *error)
{
    static const char token[] = "!#$%&'*+-.^_`|~0123456789"
                                "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    size_t n = strlen(name);

    if (n == 0 || n > HEADER_NAME_MAX || strspn(name, token) != n)
        return error_set(error, ERR_INVALID,
                         "'%.64s' is not the name of a header: 1 to %d letters, digits and -", name,
                         HEADER_NAME_MAX);
    for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++)
        if (strcasecmp(name, taken[i]) == 0)
            return error_set(error, ERR_INVALID, "the header %s is not free: cronsched writes it itself",
                             name);
    return 0;
}

int job_check_header_value(const char *text, struct error *error)
{
    size_t n = strlen(text);

    if (n == 0)
        return error_set(error, ERR_INVALID, "it is empty");
    if (n > JOB_HEADER_BYTES)
        return error_set(error, ERR_LIMIT, "it is longer than %d bytes", JOB_HEADER_BYTES);
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
            return error_set(error, ERR_INVALID, "it holds a control character or a second line");
    return 0;
}

/* ---- reading ---- */

/* {from_file: PATH}: a copy of the path, or NULL: then it is reported. */
static char *read_file(struct job_reader *reader, const struct job_key *key, const struct yaml_node *node,
                       const char *name)
{
    const struct yaml_node *file = node->kind == YAML_MAP ? yaml_node_get(node, "from_file") : NULL;
    struct error error;
    char *path;

    if (!file || node->count != 1 || file->kind != YAML_TEXT || file->size == 0 || file->size > 4096) {
        job_report(reader, key, node, "%s must be {from_file: PATH}", name);
        return NULL;
    }
    if (job_check_path(file->text, &error) < 0) {
        job_report(reader, key, file, "%s: %s", name, error.text);
        return NULL;
    }
    path = strdup(file->text);
    reader->no_memory |= !path;
    return path;
}

static bool is_named(const struct job_notify *notify, const char *name)
{
    for (size_t i = 0; i < notify->header_count; i++)
        if (strcasecmp(notify->headers[i].name, name) == 0)
            return true;
    return false;
}

static void read_header(struct job_reader *reader, const struct job_key *key, const struct yaml_node *at,
                        const struct yaml_node *node, struct job_notify *notify)
{
    struct job_env *header = &notify->headers[notify->header_count];
    struct error error;

    if (check_header_name(at->text, &error) < 0)
        return job_report(reader, key, at, "%s", error.text);
    if (is_named(notify, at->text))
        return job_report(reader, key, at, "the header %s is given twice", at->text);
    if (node->kind == YAML_TEXT && job_check_header_value(node->text, &error) < 0)
        return job_report(reader, key, node, "the header %s: %s", at->text, error.text);
    if (node->kind == YAML_TEXT)
        header->value = strdup(node->text);
    else if (node->kind == YAML_MAP)
        header->from_file = read_file(reader, key, node, at->text);
    else
        return job_report(reader, key, node, "%s must be a text or {from_file: PATH}", at->text);
    header->name = strdup(at->text);
    reader->no_memory |= !header->name || (node->kind == YAML_TEXT && !header->value);
    if (header->name && (header->value || header->from_file))
        notify->header_count++;
    else
        job_env_release(header);
}

void job_read_headers(struct job_reader *reader, const struct job_key *key, const struct yaml_node *node,
                      struct job_notify *notify)
{
    if (!node)
        return;
    if (node->kind != YAML_MAP)
        return job_report(reader, key, node,
                          "headers must be a map of names, each with a text or {from_file: PATH}");
    if (node->count > JOB_HEADERS_MAX)
        return job_report(reader, key, node, "has %zu headers; at most %d", node->count, JOB_HEADERS_MAX);
    notify->headers = calloc(node->count + 1, sizeof(*notify->headers));
    reader->no_memory |= !notify->headers;
    for (size_t i = 0; notify->headers && i < node->count; i++)
        read_header(reader, key, node->keys[i], node->items[i], notify);
}

void job_read_sign(struct job_reader *reader, const struct job_key *key, const struct yaml_node *node,
                   struct job_notify *notify)
{
    if (node)
        notify->sign = read_file(reader, key, node, "sign");
}

/* ---- JSON, memory ---- */

static int add_headers(json_t *to, const struct job_notify *notify)
{
    json_t *map = json_object();
    int r = 0;

    for (size_t i = 0; i < notify->header_count && r == 0; i++)
        r = json_object_set_new(map, notify->headers[i].name, job_env_json(&notify->headers[i]));
    return json_object_set_new(to, "headers", map) < 0 ? -1 : r;
}

json_t *job_notify_headers(const struct job_notify *notify)
{
    json_t *out = json_object();
    int r = notify->header_count > 0 ? add_headers(out, notify) : 0;

    if (r == 0 && notify->sign)
        r = json_object_set_new(out, "sign", json_pack("{s:s}", "from_file", notify->sign));
    if (r == 0)
        return out;
    json_decref(out);
    return NULL;
}

void job_notify_release(struct job_notify *notify)
{
    for (size_t i = 0; i < notify->header_count; i++)
        job_env_release(&notify->headers[i]);
    free(notify->headers);
    job_strings_release(&notify->on);
    free(notify->url);
    free(notify->sign);
    *notify = (struct job_notify){0};
}
