/* Where the API is served.
 *
 * A port that another program has is no reason to serve nowhere: it is said, asked for again every second, and
 * doctor counts it as an error. Only when no address at all can be had the start fails. Sockets in the file system come
 * last, so that a start that fails leaves none behind.
 */
#include "cronsched/api/api_priv.h"

#include "leader/worker/loop.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LISTEN_AGAIN_MS 1000

static bool is_unix(const char *address)
{
    return address[0] == '/' || strncmp(address, "unix:", 5) == 0;
}

static int listen_at(struct api *api, const char *address, struct error *error)
{
    const struct api_options *o = &api->options;
    const struct http_listen listen = {.address = address,
                                       .tls_cert = o->tls_cert,
                                       .tls_key = o->tls_key,
                                       .mode = o->socket_mode,
                                       .group = o->socket_group};

    return http_listen(api->http, &listen, error);
}

static void on_again(uv_timer_t *timer)
{
    struct api *api = OBJECT(struct api, timer->data);
    struct error error;

    for (size_t i = 0; i < api->options.listen_count && !api->closing; i++) {
        const char *address = api->options.listen[i];

        if (!api->taken[i] || listen_at(api, address, &error) < 0)
            continue;
        api->taken[i] = false;
        api->taken_count--;
        if (api->context.log)
            api->context.log(api->context.arg, LOG_NOTE, "listen", address);
    }
    if (api->taken_count == 0)
        uv_timer_stop(timer);
}

static int listen_kind(struct api *api, bool unix_sockets, struct error *error)
{
    for (size_t i = 0; i < api->options.listen_count; i++) {
        const char *address = api->options.listen[i];
        int r = is_unix(address) == unix_sockets ? listen_at(api, address, error) : 0;

        if (r == ERR_BUSY && !unix_sockets) {
            api->taken[i] = true;
            api->taken_count++;
            if (api->context.log)
                api->context.log(api->context.arg, LOG_ERROR, "listen", error->text);
        } else if (r < 0) {
            return r;
        }
    }
    return 0;
}

int api_listen(struct api *api, struct error *error)
{
    size_t count = api->options.listen_count;
    int r;

    api->taken = alloc_zero((count + 1) * sizeof(*api->taken));
    r = listen_kind(api, false, error);
    if (r == 0)
        r = listen_kind(api, true, error);
    if (r == 0 && count > 0 && api->taken_count == count)
        return ERR_BUSY; /* `error` is the last one's */
    if (r == 0 && api_address_useless(api) && api->context.log) {
        char text[512];

        snprintf(text, sizeof(text), "%.200s: " API_USELESS, api_address_useless(api));
        api->context.log(api->context.arg, LOG_WARN, "listen", text);
    }
    if (r == 0 && api->taken_count > 0)
        loop_timer_start(&api->relisten, on_again, LISTEN_AGAIN_MS, LISTEN_AGAIN_MS);
    return r;
}

/* The start makes the data folder. */
static bool lies_in_data_dir(const char *address, const char *data_dir)
{
    const char *path = strchr(address, '/');
    size_t n = strlen(data_dir);

    return path && strncmp(path, data_dir, n) == 0 && path[n] == '/' && !strchr(path + n + 1, '/');
}

void api_check(const struct api_options *o, void (*fault)(void *arg, const struct error *error), void *arg)
{
    struct auth_options who = api_auth_options(o);
    struct auth *auth = NULL;
    struct error error;

    if (auth_new(&auth, &who, &error) < 0)
        fault(arg, &error);
    if (o->tls_cert && o->tls_key && http_check_certificate(o->tls_cert, o->tls_key, &error) < 0)
        fault(arg, &error);
    for (size_t i = 0; i < o->listen_count; i++) {
        const struct http_listen listen = {.address = o->listen[i], .tls_cert = o->tls_cert};
        int r = http_check_listen(auth, &listen, &error);

        if (r < 0 && (r != ERR_NOT_FOUND || !lies_in_data_dir(o->listen[i], o->context.data_dir)))
            fault(arg, &error);
    }
    auth_free(auth);
}

const char *api_address_useless(const struct api *api)
{
    const struct api_options *o = &api->options;

    for (size_t i = 0; i < o->listen_count; i++)
        if (!is_unix(o->listen[i]) && !o->tokens_file && !o->insecure && !o->loopback_read)
            return o->listen[i];
    return NULL;
}

const char *api_address_taken(const struct api *api)
{
    for (size_t i = 0; i < api->options.listen_count; i++)
        if (api->taken[i])
            return api->options.listen[i];
    return NULL;
}
