#include "cronsched/cli/client.h"

#include "cronsched/config/config.h"
#include "cronsched/io/file.h"
#include "cronsched/io/json_text.h"
#include "cronsched/io/tls_trust.h"
#include "jobs/base/clock.h"
#include "jobs/base/object.h"
#include "jobs/base/percent.h"
#include "jobs/base/printable.h"
#include "jobs/base/text.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

static void sleep_ms(int64_t ms)
{
    struct timespec ts = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

    nanosleep(&ts, NULL);
}

/* ---- which servers ---- */

static void server_release(struct client_server *server)
{
    free(server->title);
    free(server->base);
    free(server->socket);
    *server = (struct client_server){0};
}

/* Release it in any case. */
static int server_init(struct client_server *server, const char *url, size_t len, struct error *error)
{
    int n;

    *server = (struct client_server){.title = strndup(url, len)};
    if (!server->title)
        return error_set(error, ERR_NOMEM, "out of memory");
    if (strncmp(server->title, "unix:", 5) == 0) {
        const char *path = server->title + 5;

        if (strncmp(path, "//", 2) == 0)
            path += 2;
        server->socket = strdup(path);
        n = asprintf(&server->base, "http://localhost");
    } else if (strncmp(server->title, "http://", 7) == 0 || strncmp(server->title, "https://", 8) == 0) {
        n = asprintf(&server->base, "%s", server->title);
    } else {
        n = asprintf(&server->base, "http://%s", server->title);
    }
    if (n < 0) {
        server->base = NULL;
        return error_set(error, ERR_NOMEM, "out of memory");
    }
    while (n > 0 && server->base[n - 1] == '/')
        server->base[--n] = '\0';
    return 0;
}

static int add_server(struct client *client, const char *url, size_t len, struct error *error)
{
    if (client->server_count == CLIENT_SERVERS_MAX)
        return error_set(error, ERR_LIMIT, "more than %d servers", CLIENT_SERVERS_MAX);
    return server_init(&client->servers[client->server_count++], url, len, error);
}

static int add_servers(struct client *client, const char *list, struct error *error)
{
    int r = 0;

    while (*list && r == 0) {
        size_t n = strcspn(list, ", ");

        if (n > 0)
            r = add_server(client, list, n, error);
        list += n + (list[n] != '\0');
    }
    if (r == 0 && client->server_count == 0)
        r = error_set(error, ERR_INVALID, "the list of servers is empty");
    client->named = true;
    return r;
}

/* The socket in the data folder, or the machine's own. Never a port: anybody may listen there, and would be sent
 * the token and what is in the request. */
static int add_default_servers(struct client *client, struct error *error)
{
    static const char *const machine[] = {"unix:/var/lib/cronsched/" CONFIG_SOCKET_NAME,
                                          "unix:/run/cronsched/" CONFIG_SOCKET_NAME};
    char *dir = config_default_data_dir(config_getenv, NULL, geteuid() == 0);
    char *url = NULL;
    int r = 0;

    if (dir && asprintf(&url, "unix:%s/" CONFIG_SOCKET_NAME, dir) < 0)
        url = NULL;
    free(dir);
    if (url)
        r = add_server(client, url, strlen(url), error);
    for (size_t i = 0; r == 0 && i < sizeof(machine) / sizeof(machine[0]); i++)
        if (client->server_count == 0 ||
            (strcmp(url ? url : "", machine[i]) != 0 && access(machine[i] + 5, F_OK) == 0))
            r = add_server(client, machine[i], strlen(machine[i]), error);
    free(url);
    return r;
}

/* The file's first word. */
static int read_token(struct client *client, const char *path, struct error *error)
{
    struct error why;
    char *text;
    size_t size, from, len;
    int r = file_read(path, CLIENT_TOKEN_FILE_MAX, 0, &text, &size, &why);

    if (r < 0)
        return error_set(error, r == ERR_DENIED ? ERR_DENIED : ERR_NOT_FOUND, "%s: %s", path, why.text);
    from = strspn(text, " \t\r\n");
    len = strcspn(text + from, " \t\r\n");
    if (len == 0 || len > CLIENT_TOKEN_MAX)
        r = error_set(error, ERR_INVALID, "%s: contains no token of up to %d bytes", path, CLIENT_TOKEN_MAX);
    else if (asprintf(&client->authorization, "Authorization: Bearer %.*s", (int)len, text + from) < 0)
        r = error_set(error, ERR_NOMEM, "out of memory");
    explicit_bzero(text, size);
    free(text);
    return r;
}

static const char *option_or_variable(const struct verb_call *call, const char *name, const char *variable)
{
    const char *value = verb_option(call, name);

    if (!value)
        value = getenv(variable);
    return value && *value ? value : NULL;
}

/* Whoever is on the way, or has taken the port, would have the token. */
static int check_server(const struct client *client, const struct client_server *server, struct error *error)
{
    if (!client->authorization || client->plain_http || server->socket ||
        strncmp(server->base, "https://", 8) == 0)
        return 0;
    return error_set(error, ERR_DENIED,
                     "the token is not sent to %s, which is not encrypted: use https://, a unix socket, or "
                     "--plain-http",
                     server->title);
}

static int check_encrypted(const struct client *client, struct error *error)
{
    int r = 0;

    for (size_t i = 0; i < client->server_count && r == 0; i++)
        r = check_server(client, &client->servers[i], error);
    return r;
}

static bool plain_http(const struct verb_call *call)
{
    const char *value = getenv("CRONSCHED_PLAIN_HTTP");

    return verb_option(call, "plain-http") || (value && strcmp(value, "1") == 0);
}

int client_init(struct client *client, const struct verb_call *call, struct error *error)
{
    const char *servers = option_or_variable(call, "server", "CRONSCHED_SERVER");
    const char *token = option_or_variable(call, "token-file", "CRONSCHED_TOKEN_FILE");
    const char *cacert = option_or_variable(call, "cacert", "CRONSCHED_CACERT");
    int r;

    *client = (struct client){.timeout_ms = CLIENT_TIMEOUT_MS, .plain_http = plain_http(call)};
    r = servers ? add_servers(client, servers, error) : add_default_servers(client, error);
    if (r == 0 && token)
        r = read_token(client, token, error);
    if (r == 0)
        r = check_encrypted(client, error);
    if (r == 0 && cacert && !(client->cacert = strdup(cacert)))
        r = error_set(error, ERR_NOMEM, "out of memory");
    if (r == 0) {
        curl_global_init(CURL_GLOBAL_DEFAULT);
        client->curl = curl_easy_init();
        if (!client->curl)
            r = error_set(error, ERR_NOMEM, "out of memory");
    }
    if (r < 0)
        client_release(client);
    return r;
}

static void forget_servers(struct client *client)
{
    for (size_t i = 0; i < client->server_count; i++)
        server_release(&client->servers[i]);
    server_release(&client->replica);
    client->only = NULL;
    client->server_count = client->current = 0;
}

int client_set_servers(struct client *client, const char *servers, struct error *error)
{
    int r;

    forget_servers(client);
    r = add_servers(client, servers, error);
    return r < 0 ? r : check_encrypted(client, error);
}

int client_ask_replica(struct client *client, const char *id, const char *url, struct error *error)
{
    int r;

    server_release(&client->replica);
    for (size_t i = 0; i < client->server_count; i++) {
        json_t *version = NULL;
        const char *there;
        bool same;

        client->only = NULL;
        if (client_probe(client, i, "/v1/version", &version, NULL) < 0)
            continue;
        there = json_string_value(json_object_get(version, "replica"));
        same = there && strcmp(there, id) == 0;
        json_decref(version);
        if (same) {
            client->only = &client->servers[i];
            return 0;
        }
    }
    client->only = &client->replica;
    if (!*url)
        return error_set(error, ERR_UNREACHABLE,
                         "it advertises no URL, and none of the servers that were named is it");
    r = server_init(&client->replica, url, strlen(url), error);
    return r < 0 ? r : check_server(client, &client->replica, error);
}

void client_release(struct client *client)
{
    forget_servers(client);
    if (client->authorization)
        explicit_bzero(client->authorization, strlen(client->authorization));
    free(client->authorization);
    free(client->cacert);
    json_decref(client->refusal);
    curl_easy_cleanup(client->curl);
    *client = (struct client){0};
}

/* ---- one request to one server ---- */

struct exchange {
    struct object object;
    struct client *client;
    const char *method, *path;
    char *body; /* or NULL */
    enum client_repeat repeat;
    int64_t deadline_ms;
    struct text reply;
    bool (*take)(void *arg, const char *bytes, size_t n); /* stream: where a good answer's bytes go */
    void *arg;
    bool any, stopped;
    bool ambiguous; /* an earlier try may have done it */
    bool absent;    /* nobody listens at one of the addresses */
};

static size_t on_bytes(char *bytes, size_t size, size_t n, void *arg)
{
    struct exchange *x = OBJECT(struct exchange, arg);
    long status = 0;

    n *= size;
    curl_easy_getinfo(x->client->curl, CURLINFO_RESPONSE_CODE, &status);
    if (x->take && status == 200) {
        x->any = true;
        x->stopped = !x->take(x->arg, bytes, n);
        return x->stopped ? 0 : n;
    }
    return text_add_bytes(&x->reply, bytes, n) < 0 ? 0 : n;
}

/* Everything is set again for each request: a handle that is used again keeps its options. */
static struct curl_slist *set_up(struct exchange *x, const struct client_server *server, const char *url,
                                 char *why)
{
    CURL *curl = x->client->curl;
    struct curl_slist *headers = NULL;
    int64_t left = x->deadline_ms - clock_boot_ms();

    curl_easy_reset(curl);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, why);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "cronsched/" CRONSCHED_VERSION);
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, x->method);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_bytes);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, x);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)CLIENT_CONNECT_MS);
    if (!x->take)
        curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, left > 1 ? (long)left : 1L);
    if (server->socket)
        curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, server->socket);
    else if (!x->take)
        curl_easy_setopt(curl, CURLOPT_ACCEPT_ENCODING, "gzip");
    tls_trust_set(curl, x->client->cacert);
    if (x->repeat == CLIENT_ONCE) /* curl itself sends again on a kept connection that has died */
        curl_easy_setopt(curl, CURLOPT_FRESH_CONNECT, 1L);
    if (x->body)
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, x->body);
    headers = curl_slist_append(headers, "Content-Type: application/json");
    headers = curl_slist_append(headers, "Expect:");
    if (x->take) /* events: in lines */
        headers = curl_slist_append(headers, "Accept: application/x-ndjson, text/plain");
    if (x->client->authorization)
        headers = curl_slist_append(headers, x->client->authorization);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    return headers;
}

/* Nothing of the request has left this machine. */
static bool never_sent(CURL *curl, CURLcode code)
{
    curl_off_t begun_us = 0;

    curl_easy_getinfo(curl, CURLINFO_PRETRANSFER_TIME_T, &begun_us);
    switch (code) {
    case CURLE_OPERATION_TIMEDOUT: /* of the connection, or of the answer? */
        return begun_us == 0;
    case CURLE_COULDNT_CONNECT:
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_URL_MALFORMAT:
        return true;
    default:
        return false;
    }
}

static int code_of_status(long status)
{
    static const struct {
        long status;
        int code;
    } codes[] = {{400, ERR_INVALID},     {401, ERR_DENIED},  {403, ERR_DENIED},      {404, ERR_NOT_FOUND},
                 {405, ERR_UNSUPPORTED}, {408, ERR_TIMEOUT}, {409, ERR_CONFLICT},    {413, ERR_LIMIT},
                 {422, ERR_INVALID},     {429, ERR_LIMIT},   {501, ERR_UNSUPPORTED}, {503, ERR_NO_LEADER},
                 {504, ERR_TIMEOUT},     {507, ERR_FULL}};

    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
        if (codes[i].status == status)
            return codes[i].code;
    return ERR_INTERNAL;
}

static int code_of_name(const char *name, long status)
{
    if (name) {
#define X(code, value, word, text)                                                                           \
    if (strcmp(name, word) == 0)                                                                             \
        return code;
        ERROR_TABLE(X)
#undef X
    }
    return code_of_status(status);
}

/* {"error":{"code","text"}}, or whatever it is that answered. */
static int refused(const struct exchange *x, const struct client_server *server, long status,
                   const json_t *reply, struct error *error)
{
    const json_t *e = json_object_get(reply, "error");
    const char *text = json_string_value(json_object_get(e, "text"));
    int code = code_of_name(json_string_value(json_object_get(e, "code")), status);

    json_decref(x->client->refusal);
    x->client->refusal = json_incref((json_t *)(uintptr_t)e);
    if (text)
        return error_set(error, code, "%s", text);
    return error_set(error, code, "%s answered %s %s with status %ld", server->title, x->method, x->path,
                     status);
}

/* curl speaks of a port even where there is a socket. */
static const char *connect_trouble(struct exchange *x, const struct client_server *server, int number)
{
    x->absent |= number == ENOENT || number == ECONNREFUSED;
    if (server->socket && number == EACCES)
        return "Permission denied: the server's socket_group and socket_mode say who may use it";
    return strerror(number);
}

static int failed(struct exchange *x, const struct client_server *server, CURLcode code, const char *why,
                  struct error *error)
{
    long reason = 0;

    curl_easy_getinfo(x->client->curl, CURLINFO_OS_ERRNO, &reason);
    if (code == CURLE_COULDNT_CONNECT && reason != 0)
        why = connect_trouble(x, server, (int)reason);
    else if (!*why)
        why = curl_easy_strerror(code);
    if (never_sent(x->client->curl, code))
        return error_set(error, ERR_UNREACHABLE, "%s: %s", server->title, why);
    if (x->reply.failed == ERR_LIMIT)
        return error_set(error, ERR_LIMIT, "%s: an answer of more than %d bytes", server->title,
                         CLIENT_REPLY_BYTES_MAX);
    if (code == CURLE_OPERATION_TIMEDOUT)
        return error_set(error, ERR_TIMEOUT, "%s: no answer in time", server->title);
    return error_set(error, ERR_UNKNOWN, "%s: the answer is lost (%s)", server->title, why);
}

/* Told once: a verb may ask a hundred times. */
static void warn_if_stale(struct client *client, const struct client_server *server)
{
    struct curl_header *header;

    if (client->warned_stale ||
        curl_easy_header(client->curl, "Cronsched-Stale", 0, CURLH_HEADER, -1, &header) != CURLHE_OK)
        return;
    client->warned_stale = true;
    verb_print(
        stderr,
        "cronsched: %s follows no leader at present, or is behind it: what it says may be out of date\n",
        server->title);
}

static void keep_cursor(struct client *client)
{
    struct curl_header *header;

    client->next[0] = '\0';
    if (curl_easy_header(client->curl, "Cronsched-Next", 0, CURLH_HEADER, -1, &header) == CURLHE_OK)
        snprintf(client->next, sizeof(client->next), "%s", header->value);
}

static int understand(struct exchange *x, const struct client_server *server, json_t **ret,
                      struct error *error)
{
    struct error why;
    json_t *reply = NULL;
    long status = 0;
    int r = 0;

    curl_easy_getinfo(x->client->curl, CURLINFO_RESPONSE_CODE, &status);
    keep_cursor(x->client);
    if (x->reply.len > 0)
        json_text_bounded(x->reply.data, x->reply.len, CLIENT_REPLY_VALUES_MAX, "answer", &reply, &why);
    if (reply && !x->client->raw && printable_value(&reply) < 0)
        r = error_set(error, ERR_NOMEM, "out of memory");
    else if (status < 200 || status > 299)
        r = refused(x, server, status, reply, error);
    else if (x->reply.len > 0 && !reply)
        r = error_set(error, ERR_CORRUPT, "%s: what it answers is not JSON that can be read: %s",
                      server->title, why.text);
    else
        warn_if_stale(x->client, server);
    if (r == 0 && ret) {
        *ret = reply;
        return 0;
    }
    json_decref(reply);
    return r;
}

static int ask(struct exchange *x, const struct client_server *server, json_t **ret, struct error *error)
{
    char why[CURL_ERROR_SIZE] = "";
    struct curl_slist *headers;
    char *url = NULL;
    CURLcode code;

    if (asprintf(&url, "%s%s", server->base, x->path) < 0)
        return error_set(error, ERR_NOMEM, "out of memory");
    text_clear(&x->reply);
    headers = set_up(x, server, url, why);
    code = curl_easy_perform(x->client->curl);
    curl_slist_free_all(headers);
    free(url);
    if (x->stopped)
        return 0;
    if (code != CURLE_OK)
        return failed(x, server, code, why, error);
    return understand(x, server, ret, error);
}

/* ---- over the servers ---- */

/* What an error says of the next try. One that is not here says that no server will do it, now or later. */
static const struct outcome {
    int code;
    bool done;  /* it may have been done: only what may be repeated goes on */
    bool again; /* the same server may do it a little later; otherwise another one may, now */
} outcomes[] = {
    {ERR_UNREACHABLE, false, false}, {ERR_REFUSED, false, false}, {ERR_NO_LEADER, false, true},
    {ERR_DEPOSED, false, true},      {ERR_TIMEOUT, true, false},  {ERR_UNKNOWN, true, true},
};

static bool is_write(const struct exchange *x)
{
    return strcmp(x->method, "GET") != 0;
}

/* Is another server, or *ret_again this one later, worth a try? */
static bool goes_on(const struct exchange *x, int code, bool *ret_again)
{
    for (size_t i = 0; i < sizeof(outcomes) / sizeof(outcomes[0]); i++) {
        const struct outcome *o = &outcomes[i];

        if (o->code != code)
            continue;
        if (o->done && (x->repeat != CLIENT_REPEATABLE || x->any))
            return false;
        *ret_again |= o->again && (!o->done || is_write(x));
        return true;
    }
    return false;
}

/* What to do when nobody listens at this machine's sockets, and no other address was asked. */
static void hint_at_servers(const struct client *client, struct error *nobody)
{
    const char *how = client->named ? "--server or CRONSCHED_SERVER names the socket"
                                    : "--server, CRONSCHED_SERVER or CRONSCHED_DATA_DIR names another socket";
    char before[ERROR_TEXT_MAX];

    for (size_t i = 0; i < client->server_count; i++)
        if (client->only || !client->servers[i].socket)
            return;
    snprintf(before, sizeof(before), "%s", nobody->text);
    error_set(nobody, nobody->code, "%.800s. Is 'cronsched serve' running here? %s", before, how);
}

/* One round over all servers. *ret_again: a server was there, and may succeed later. */
static int ask_round(struct exchange *x, bool *ret_again, json_t **ret, struct error *error)
{
    struct client *client = x->client;
    struct error nobody = {0}, first = {0};
    size_t count = client->only ? 1 : client->server_count;

    for (size_t i = 0; i < count; i++) {
        struct error e = {0};
        size_t at = (client->current + i) % client->server_count;
        int r = ask(x, client->only ? client->only : &client->servers[at], ret, &e);

        if (r == ERR_NOT_FOUND && x->ambiguous && strcmp(x->method, "DELETE") == 0)
            r = 0; /* the try whose answer was lost has deleted it */
        x->ambiguous |= r == ERR_UNKNOWN || r == ERR_TIMEOUT;
        if (r == 0 || !goes_on(x, r, ret_again)) {
            client->current = at;
            if (r < 0 && error)
                *error = e;
            return r;
        }
        if (r != ERR_UNREACHABLE) {
            first = first.code ? first : e;
        } else { /* all of them are named, each with its reason */
            if (nobody.code)
                error_prefix(&e, "%s; ", nobody.text);
            nobody = e;
        }
    }
    if (!first.code && x->absent)
        hint_at_servers(client, &nobody);
    if (error)
        *error = first.code ? first : nobody;
    return first.code ? first.code : ERR_UNREACHABLE;
}

/* Once a process: whoever sits before it sees what it waits for. */
static void say_waiting(struct exchange *x, const struct error *why)
{
    struct error said;

    if (x->client->quiet || !why)
        return;
    x->client->quiet = true;
    error_set(&said, why->code, "%s; asking again for up to %d s", why->text,
              (int)((x->deadline_ms - clock_boot_ms() + 500) / 1000));
    verb_fail(&said);
}

static int ask_all(struct exchange *x, json_t **ret, struct error *error)
{
    struct error before = {0};

    for (;; before = error ? *error : before) {
        bool again = false;
        int r = ask_round(x, &again, ret, error);

        if (r == 0)
            return 0;
        if (r == ERR_TIMEOUT && before.code && error) { /* of the last try only; those before say why */
            struct error last = *error;

            error_set(error, r, "%s; before that: %s", last.text, before.text);
        }
        again |= is_write(x) && x->ambiguous &&
                 r == ERR_UNREACHABLE; /* it died over our request, and may be back soon */
        if (again && clock_boot_ms() + CLIENT_RETRY_MS < x->deadline_ms) {
            say_waiting(x, error);
            sleep_ms(CLIENT_RETRY_MS);
            continue;
        }
        if (is_write(x) && x->ambiguous && (r == ERR_UNREACHABLE || r == ERR_NO_LEADER)) {
            error_prefix(error, "an answer was lost, so this may or may not have been done; now ");
            return error ? error->code = ERR_UNKNOWN : ERR_UNKNOWN;
        }
        return r;
    }
}

int client_call(struct client *client, const char *method, const char *path, const json_t *body,
                enum client_repeat repeat, json_t **ret, struct error *error)
{
    struct exchange x = {.object = OBJECT_MARK(struct exchange),
                         .client = client,
                         .method = method,
                         .path = path,
                         .repeat = repeat,
                         .deadline_ms = clock_boot_ms() + client->timeout_ms};
    int r;

    if (body && !(x.body = json_dumps(body, JSON_COMPACT)))
        return error_set(error, ERR_NOMEM, "out of memory");
    text_init(&x.reply, CLIENT_REPLY_BYTES_MAX);
    r = ask_all(&x, ret, error);
    text_release(&x.reply);
    free(x.body);
    return r;
}

int client_get(struct client *client, json_t **ret, struct error *error, const char *path_format, ...)
{
    char *path = NULL;
    va_list ap;
    int r;

    va_start(ap, path_format);
    r = vasprintf(&path, path_format, ap);
    va_end(ap);
    if (r < 0)
        return error_set(error, ERR_NOMEM, "out of memory");
    r = client_call(client, "GET", path, NULL, CLIENT_REPEATABLE, ret, error);
    free(path);
    return r;
}

int client_stream(struct client *client, const char *path,
                  bool (*take)(void *arg, const char *bytes, size_t n), void *arg, bool *ret_any,
                  struct error *error)
{
    struct exchange x = {.object = OBJECT_MARK(struct exchange),
                         .client = client,
                         .method = "GET",
                         .path = path,
                         .repeat = CLIENT_REPEATABLE,
                         .deadline_ms = clock_boot_ms() + client->timeout_ms,
                         .take = take,
                         .arg = arg};
    int r;

    text_init(&x.reply, CLIENT_REPLY_BYTES_MAX);
    r = ask_all(&x, NULL, error);
    text_release(&x.reply);
    *ret_any = x.any;
    return r;
}

int client_probe(struct client *client, size_t server, const char *path, json_t **ret, struct error *error)
{
    struct exchange x = {.object = OBJECT_MARK(struct exchange),
                         .client = client,
                         .method = "GET",
                         .path = path,
                         .repeat = CLIENT_REPEATABLE,
                         .deadline_ms = clock_boot_ms() + CLIENT_CONNECT_MS};
    int r;

    text_init(&x.reply, CLIENT_REPLY_BYTES_MAX);
    r = ask(&x, &client->servers[server], ret, error);
    text_release(&x.reply);
    return r;
}

/* ---- paths ---- */

void client_add_query(struct text *path, const char *key, const char *value)
{
    if (!value)
        return;
    text_addf(path, "%c%s=", strchr(text_str(path), '?') ? '&' : '?', key);
    percent_add(path, value);
}
