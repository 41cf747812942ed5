#include "cronsched/engines/docker/docker_registry.h"

#include "cronsched/io/file.h"
#include "cronsched/io/json_text.h"
#include "cronsched/io/variable_files.h"
#include "jobs/base/alloc.h"

#include <ctype.h>
#include <jansson.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HUB_SERVER   "https://index.docker.io/v1/"
#define PASSWORD_MAX (64 * 1024)

static void wipe(char *text)
{
    if (text)
        explicit_bzero(text, strlen(text));
    free(text);
}

void docker_credentials_release(struct docker_credentials *c)
{
    wipe(c->user);
    wipe(c->password);
    wipe(c->token);
    *c = (struct docker_credentials){0};
}

bool docker_credentials_are_none(const struct docker_credentials *c)
{
    return !c->token && (!c->user || !c->password);
}

/* ---- names ---- */

static void lower(char *text)
{
    for (; *text; text++)
        *text = (char)tolower((unsigned char)*text);
}

/* As the engine reads it: the first part is a host when it has a dot or a port, or is localhost. */
void docker_registry_of(const char *image, char *ret, size_t size)
{
    size_t n = strcspn(image, "/");

    if (image[n] != '/' ||
        (!memchr(image, '.', n) && !memchr(image, ':', n) && strncmp(image, "localhost/", 10) != 0))
        snprintf(ret, size, "docker.io");
    else
        snprintf(ret, size, "%.*s", (int)n, image);
    lower(ret);
}

static void host_of(const char *name, char *ret, size_t size)
{
    const char *scheme = strstr(name, "://");

    if (scheme)
        name = scheme + 3;
    snprintf(ret, size, "%.*s", (int)strcspn(name, "/"), name);
    lower(ret);
    if (strcmp(ret, "index.docker.io") == 0 || strcmp(ret, "registry-1.docker.io") == 0)
        snprintf(ret, size, "docker.io");
}

bool docker_registry_same(const char *a, const char *b)
{
    char x[DOCKER_REGISTRY_HOST_MAX], y[DOCKER_REGISTRY_HOST_MAX];

    host_of(a, x, sizeof(x));
    host_of(b, y, sizeof(y));
    return strcmp(x, y) == 0;
}

int docker_registry_password(const char *path, char **ret_password, struct error *error)
{
    char *data = NULL, *password = NULL;
    size_t size = 0;
    int r = file_read(path, PASSWORD_MAX, FILE_REGULAR | FILE_TRUSTED, &data, &size, error);

    r = r < 0 ? r : variable_files_value(data, size, true, &password, error);
    if (r == 0 && !*password)
        r = error_set(error, ERR_INVALID, "the file is empty");
    if (r == 0)
        *ret_password = password;
    else
        free(password);
    if (data)
        explicit_bzero(data, size);
    free(data);
    return r;
}

/* ---- base64 ---- */

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/* With the letters for URLs, as the engine wants it, and padded. */
static char *encode(const char *text, size_t n)
{
    char *out = alloc_zero((n + 2) / 3 * 4 + 1), *at = out;

    for (size_t i = 0; i < n; i += 3) {
        uint32_t v = 0;

        for (size_t k = 0; k < 3; k++)
            v = v << 8 | (i + k < n ? (unsigned char)text[i + k] : 0);
        for (size_t k = 0; k < 4; k++)
            *at++ = i + k > n ? '=' : digits[v >> (18 - 6 * k) & 63];
    }
    return out;
}

static int value_of(char c)
{
    const char *at = c == '+' || c == '/' ? NULL : strchr(digits, c);

    if (c == '+' || c == '/')
        return c == '+' ? 62 : 63;
    return at && c ? (int)(at - digits) : -1;
}

/* NULL: it is none, or holds a NUL. */
static char *decode(const char *text)
{
    size_t n = strlen(text), size = 0;
    char *out = alloc_zero(n + 1);
    uint32_t bits = 0;
    int have = 0;

    for (size_t i = 0; i < n && text[i] != '='; i++) {
        int v = value_of(text[i]);

        if (v < 0) {
            wipe(out);
            return NULL;
        }
        bits = bits << 6 | (uint32_t)v;
        have += 6;
        if (have >= 8) {
            have -= 8;
            out[size++] = (char)(bits >> have & 255);
        }
    }
    if (strlen(out) == size && size > 0)
        return out;
    explicit_bzero(out, n);
    free(out);
    return NULL;
}

/* ---- config.json ---- */

/* The value under the name of that registry, however it is written. */
static const json_t *find(const json_t *map, const char *host)
{
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)map, key, value)
    {
        if (docker_registry_same(key, host))
            return value;
    }
    return NULL;
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text ? text : "";
}

static int read_auth(const json_t *entry, struct docker_credentials *ret, struct error *error)
{
    char *both, *colon;

    if (*text_of(entry, "identitytoken")) {
        ret->token = alloc_text(text_of(entry, "identitytoken"));
        return 0;
    }
    if (*text_of(entry, "username") && *text_of(entry, "password")) {
        ret->user = alloc_text(text_of(entry, "username"));
        ret->password = alloc_text(text_of(entry, "password"));
        return 0;
    }
    if (!*text_of(entry, "auth"))
        return 0; /* a credential store has it, or nobody */
    both = decode(text_of(entry, "auth"));
    colon = both ? strchr(both, ':') : NULL;
    if (!colon) {
        wipe(both);
        return error_set(error, ERR_INVALID, "the entry of the registry has no valid 'auth'");
    }
    *colon = '\0';
    ret->user = alloc_text(both);
    ret->password = alloc_text(colon + 1);
    *colon = ':';
    wipe(both);
    return 0;
}

/* It becomes part of the name of a program. */
static bool is_helper(const char *name)
{
    size_t n = strlen(name);

    return n > 0 && n < DOCKER_REGISTRY_HELPER_MAX &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") == n;
}

int docker_registry_config(const char *text, size_t size, const char *host, struct docker_credentials *ret,
                           char ret_helper[DOCKER_REGISTRY_HELPER_MAX], struct error *error)
{
    const char *helper;
    json_t *json;
    int r = 0;

    *ret = (struct docker_credentials){0};
    ret_helper[0] = '\0';
    if (json_text_object(text, size, "config.json", &json, NULL) < 0)
        return error_set(error, ERR_INVALID, "it is not a JSON object");
    helper = json_string_value(find(json_object_get(json, "credHelpers"), host));
    if (!helper)
        helper = text_of(json, "credsStore");
    if (*helper && !is_helper(helper))
        r = error_set(error, ERR_INVALID, "the name of a credential helper is invalid");
    else if (*helper)
        snprintf(ret_helper, DOCKER_REGISTRY_HELPER_MAX, "%s", helper);
    else
        r = read_auth(find(json_object_get(json, "auths"), host), ret, error);
    json_decref(json);
    return r;
}

/* ---- for the engine ---- */

char *docker_registry_header(const struct docker_credentials *c, const char *host)
{
    const char *server = strcmp(host, "docker.io") == 0 ? HUB_SERVER : host;
    char *text, *code, *header;
    json_t *json;
    size_t n;

    if (docker_credentials_are_none(c))
        return NULL;
    json = c->token ? json_pack("{s:s, s:s}", "identitytoken", c->token, "serveraddress", server)
                    : json_pack("{s:s, s:s, s:s}", "username", c->user, "password", c->password,
                                "serveraddress", server);
    text = json ? json_dumps(json, JSON_COMPACT) : NULL;
    json_decref(json);
    if (!text)
        return NULL;
    code = encode(text, strlen(text));
    n = strlen(code) + sizeof("X-Registry-Auth: ");
    header = alloc_zero(n);
    snprintf(header, n, "X-Registry-Auth: %s", code);
    wipe(code);
    wipe(text);
    return header;
}
