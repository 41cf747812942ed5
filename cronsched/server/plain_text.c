#include "cronsched/server/plain_text.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define TEXT_BYTES 512

static bool is_http(const char *url)
{
    return url && strncmp(url, "http://", strlen("http://")) == 0;
}

static bool all_can_read(const char *file)
{
    struct stat st;

    return file && stat(file, &st) == 0 && (st.st_mode & S_IROTH);
}

void plain_text_warn(const struct config *config,
                     void (*warn)(void *arg, const char *event, const char *text), void *arg)
{
    char text[TEXT_BYTES];

    if (config->tls_cert && is_http(config->advertise)) {
        snprintf(
            text, sizeof(text),
            "'%.200s' has no TLS, though this server has: other replicas send the cluster's secret there",
            config->advertise);
        warn(arg, "advertise", text);
    }
    for (size_t i = 0; i < config->engine_count; i++) {
        const struct config_engine *e = &config->engines[i];

        if (is_http(e->endpoint)) {
            snprintf(text, sizeof(text),
                     "engine %.64s: '%.200s' has no TLS: who is on the way to it is root where it runs",
                     e->name, e->endpoint);
            warn(arg, "endpoint", text);
        }
        if (all_can_read(e->tls_key)) {
            snprintf(text, sizeof(text),
                     "engine %.64s: '%.200s' can be read by every user: chmod it to 0600 or 0640", e->name,
                     e->tls_key);
            warn(arg, "tls-key", text);
        }
    }
}
