/* How the API of a cluster is reached, and as whom: from a kubeconfig as kubectl has it, from the engine's own settings, or
 * from the account that Kubernetes gives a Pod.
 *
 * Files are read on threads (file_reader.h), exec plug-ins run as children that a thread waits for: nothing of it holds up
 * the loop. All of it is read again every KUBE_ACCESS_AGAIN_MS, since tokens and certificates are replaced by others; an exec
 * plug-in runs again when most of its credential's life is over, so that no call waits for it, and after the API has said
 * 401. What fails leaves the login as it was.
 *
 * Thread: the loop's. kube_config_*: pure, any thread.
 */
#pragma once

#include "cronsched/io/file_reader.h"
#include "jobs/base/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#define KUBE_ACCESS_AGAIN_MS    60000
#define KUBE_ACCESS_FILES_MAX   8            /* of one kubeconfig */
#define KUBE_ACCESS_FILE_BYTES  (512 * 1024) /* of each file that is read */
#define KUBE_EXEC_MS            30000
#define KUBE_EXEC_OUTPUT_MAX    (64 * 1024)
#define KUBE_EXEC_ARGUMENTS_MAX 256
#define KUBE_ACCESS_URL_MAX     2048
#define KUBE_ACCOUNT_FOLDER     "/var/run/secrets/kubernetes.io/serviceaccount"

/* ---- kube_config.c: pure ---- */

/* A text, or the path of the file that has it, or neither. */
struct kube_part {
    char *text, *path;
};

struct kube_config {
    char *server; /* https://HOST[:PORT][/PREFIX], without a slash at its end */
    char *tls_name, *proxy;
    bool insecure;
    char *namespace;
    struct kube_part ca, cert, key, token, namespace_file; /* the last has a path alone */
    json_t *
        exec; /* {"command", "args", "env": {NAME: VALUE}, "apiVersion", "cluster": true, "hint"}; NULL: none */
};

/* Of a kubeconfig: the texts of its files, with their paths, of which earlier ones go before later ones. context NULL: its
 * current one. ERR_INVALID with a text for people; *ret is to be released in any case. */
int kube_config_read(struct kube_config *ret, const struct file_content *files, size_t count,
                     const char *context, struct error *error);
/* The same without a kubeconfig. */
int kube_config_server(struct kube_config *ret, const char *url, struct error *error);
void kube_config_release(struct kube_config *config);

/* ---- kube_exec.c ---- */

struct kube_credential {
    char *token, *cert, *key; /* token, or the others, or all; wiped on release */
    int64_t expires_ms;       /* 0: not told */
};

void kube_credential_release(struct kube_credential *credential);

/* Runs the plug-in of a configuration, as client-go does, without a terminal; blocks, KUBE_EXEC_MS at most. ERR_IO,
 * ERR_TIMEOUT, ERR_INVALID, ERR_LIMIT with a text that has no secret in it. */
int kube_exec_run(const json_t *exec, const json_t *cluster_info, struct kube_credential *ret,
                  struct error *error);
/* The plug-in's output as a credential; pure. */
int kube_exec_parse(const char *text, size_t size, const char *api_version, struct kube_credential *ret,
                    struct error *error);

/* ---- kube_access.c ---- */

/* As it is configured; borrowed for the time of kube_access_new. */
struct kube_source {
    const char *kubeconfig; /* paths, separated by colons; NULL: the rest */
    const char *context;    /* NULL: the current one */
    const char *endpoint;   /* NULL: the account of the Pod that this is */
    const char *ca_file, *cert_file, *key_file, *token_file;
    const char *account; /* the folder of that account; NULL: KUBE_ACCOUNT_FOLDER */
};

/* What a call needs; borrowed from the access until it changes. Texts that are not known are NULL. */
struct kube_login {
    char *server, *tls_name, *connect_to, *proxy, *namespace;
    char *ca, *cert, *key; /* PEM */
    char *authorization;   /* the header, or NULL */
    bool insecure;
};

struct kube_access;

struct kube_access_events {
    /* It was read; error NULL: as a whole. Otherwise the login is the one before, or there is none. */
    void (*read)(void *arg, const struct error *error);
};

/* Begins to read at the next turn of the loop. ERR_INVALID: the source makes no sense, or there is no account. */
int kube_access_new(struct kube_access **ret, uv_loop_t *loop, const struct kube_source *source,
                    const struct kube_access_events *events, void *arg, struct error *error);
const struct kube_login *kube_access_login(const struct kube_access *access); /* NULL: there is none yet */
/* The API has refused the login (401): files are read, and an exec plug-in runs, again; at most once in a second. */
void kube_access_renew(struct kube_access *access);
size_t kube_access_stuck(const struct kube_access *access); /* reads that hang */
void kube_access_close(struct kube_access *access, void (*done)(void *arg),
                       void *arg); /* done comes from the loop */
