#include "cronsched/server/webhook_headers.h"

#include "cronsched/io/variable_files.h"
#include "jobs/base/alloc.h"
#include "jobs/base/hash.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char *file_of(const json_t *value)
{
    return json_string_value(json_object_get(value, "from_file"));
}

size_t webhook_headers_files(const json_t *headers, const char *paths[WEBHOOK_FILES_MAX])
{
    const char *name, *sign = file_of(json_object_get(headers, "sign"));
    json_t *value;
    size_t n = 0;

    json_object_foreach(json_object_get(headers, "headers"), name, value)
    {
        if (file_of(value) && n < JOB_HEADERS_MAX)
            paths[n++] = file_of(value);
    }
    if (sign)
        paths[n++] = sign;
    return n;
}

static void wipe(char *text)
{
    if (text)
        explicit_bzero(text, strlen(text));
    free(text);
}

static void add(struct webhook_headers *to, const char *name, const char *value)
{
    size_t size = strlen(name) + strlen(value) + sizeof(": "), n = 0;

    while (to->lines[n])
        n++;
    assert(n < HTTP_CLIENT_HEADERS_MAX - 1);
    to->lines[n] = alloc_zero(size);
    snprintf(to->lines[n], size, "%s: %s", name, value);
}

static int add_file(struct webhook_headers *to, const char *name, const struct file_content *file,
                    struct error *error)
{
    char *value = NULL;
    int rc = variable_files_value(file->data, file->size, false, &value, error);

    rc = rc < 0 ? rc : job_check_header_value(value, error);
    if (rc == 0)
        add(to, name, value);
    else
        error_prefix(error, "the header %s, from %.200s: ", name, file->path);
    wipe(value);
    return rc;
}

static int add_signature(struct webhook_headers *to, const struct file_content *file, const char *body,
                         int64_t time_s, struct error *error)
{
    size_t size = strlen(body) + 32;
    char *key = NULL, *text, code[HASH_SHA256_HEX], value[HASH_SHA256_HEX + 40];

    if (variable_files_value(file->data, file->size, false, &key, error) < 0)
        return error_prefix(error, "the key of the signature, %.200s: ", file->path);
    text = alloc_zero(size);
    snprintf(text, size, "%" PRId64 ".%s", time_s, body);
    hash_hmac_hex(key, strlen(key), text, strlen(text), code);
    snprintf(value, sizeof(value), "t=%" PRId64 ",v1=%s", time_s, code);
    add(to, WEBHOOK_SIGNATURE, value);
    free(text);
    wipe(key);
    return 0;
}

int webhook_headers_make(struct webhook_headers *ret, const json_t *headers, const struct file_content *files,
                         const char *body, int64_t time_s, struct error *error)
{
    const char *name;
    json_t *value;
    size_t at = 0;
    int rc = body ? 0 : error_set(error, ERR_NOMEM, "out of memory");

    *ret = (struct webhook_headers){0};
    add(ret, "Content-Type", "application/json");
    add(ret, "User-Agent", "cronsched/" CRONSCHED_VERSION);
    json_object_foreach(json_object_get(headers, "headers"), name, value)
    {
        if (rc == 0 && file_of(value))
            rc = add_file(ret, name, &files[at++], error);
        else if (rc == 0)
            add(ret, name, json_string_value(value));
    }
    if (rc == 0 && json_object_get(headers, "sign"))
        rc = add_signature(ret, &files[at], body, time_s, error);
    return rc;
}

void webhook_headers_release(struct webhook_headers *headers)
{
    for (size_t i = 0; headers && i < HTTP_CLIENT_HEADERS_MAX; i++)
        wipe(headers->lines[i]);
}
