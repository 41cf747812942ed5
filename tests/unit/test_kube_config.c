/* kubeconfigs as tools write them, those that cannot be used here, and the credentials of exec plug-ins. */
#include "cronsched/engines/kubernetes/kube_access.h"
#include "jobs/base/alloc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* A kubeconfig with one cluster, user and context. */
#define CONFIG(cluster, user)                                                                                \
    "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{name: c, context: {cluster: k, user: u, " \
    "namespace: ns}}]\nclusters: [{name: k, cluster: {" cluster "}}]\nusers: [{name: u, user: {" user        \
    "}}]\n"
#define EXEC(more) "exec: {apiVersion: client.authentication.k8s.io/v1, command: aws" more "}"

static int read_text(struct kube_config *ret, const char *text, const char *context, struct error *error)
{
    struct file_content file = {.path = (char *)(uintptr_t) "/home/a/.kube/config",
                                .data = (char *)(uintptr_t)text,
                                .size = strlen(text)};

    *error = (struct error){0};
    return kube_config_read(ret, &file, 1, context, error);
}

static const char *or_none(const char *text)
{
    return text ? text : "-";
}

/* Everything of it in one line. */
static void describe(const struct kube_config *c, char *ret, size_t size)
{
    char *exec = c->exec ? json_dumps(c->exec, JSON_COMPACT) : NULL;

    snprintf(ret, size, "%s %s %s %s ca=%s,%s cert=%s,%s key=%s,%s token=%s,%s %s%s", or_none(c->server),
             or_none(c->namespace), or_none(c->tls_name), or_none(c->proxy), or_none(c->ca.text),
             or_none(c->ca.path), or_none(c->cert.text), or_none(c->cert.path), or_none(c->key.text),
             or_none(c->key.path), or_none(c->token.text), or_none(c->token.path),
             c->insecure ? "insecure" : "", exec ? exec : "");
    free(exec);
}

static void kubeconfigs_are_read(void **state)
{
    static const struct {
        const char *text, *parts[3];
    } table[] = {
        /* k3s: everything inline */
        {CONFIG("server: 'https://127.0.0.1:6443', certificate-authority-data: 'Y2EK'",
                "client-certificate-data: Y2VydA==, client-key-data: 'a2V5'"),
         {"https://127.0.0.1:6443 ns - -", "ca=ca\n,- cert=cert,- key=key,-", NULL}},
        /* Rancher: a path, a slash at its end, a token */
        {CONFIG("server: 'https://rancher.example/k8s/clusters/c-m-x1/'", "token: 'kubeconfig-u-abc:xyz'"),
         {"https://rancher.example/k8s/clusters/c-m-x1 ns", "token=kubeconfig-u-abc:xyz,-", NULL}},
        /* paths, relative to it and absolute */
        {CONFIG("server: 'https://h', certificate-authority: ca.crt", "tokenFile: /run/token"),
         {"ca=-,/home/a/.kube/ca.crt", "token=-,/run/token", NULL}},
        {CONFIG("server: 'https://h', certificate-authority: ca.crt, certificate-authority-data: Y2E=", ""),
         {"ca=ca,-", NULL, NULL}},
        {CONFIG("server: 'http://h:80//', insecure-skip-tls-verify: true, tls-server-name: k8s, proxy-url: "
                "'socks5://p:1'",
                ""),
         {"http://h:80 ns k8s socks5://p:1", "insecure", NULL}},
        {CONFIG("server: 'https://h'",
                EXEC(", args: [eks, get-token], env: [{name: A, value: b}], interactiveMode: "
                     "IfAvailable, provideClusterInfo: true, installHint: 'get aws'")),
         {"\"command\":\"aws\",\"args\":[\"eks\",\"get-token\"],\"env\":{\"A\":\"b\"}", "\"cluster\":true",
          "get aws"}},
        {CONFIG("server: 'https://h'",
                "exec: {apiVersion: client.authentication.k8s.io/v1beta1, command: ./x/y}"),
         {"/home/a/.kube/./x/y", "v1beta1", NULL}},
        /* a token goes before exec, and is a number to YAML */
        {CONFIG("server: 'https://h'", "token: 12345, " EXEC("")), {"token=12345,-", NULL, NULL}},
    };

    for (size_t i = 0; i < COUNT(table); i++) {
        struct kube_config c;
        struct error error;
        char text[1024];

        if (read_text(&c, table[i].text, NULL, &error) < 0)
            fail_msg("%zu: %s", i, error.text);
        describe(&c, text, sizeof(text));
        for (size_t k = 0; k < COUNT(table[i].parts) && table[i].parts[k]; k++)
            if (!strstr(text, table[i].parts[k]))
                fail_msg("%zu: '%s' is not in '%s'", i, table[i].parts[k], text);
        kube_config_release(&c);
    }
}

static void what_cannot_be_used_is_refused_by_name(void **state)
{
    static const struct {
        const char *text, *part;
    } table[] = {
        {"", "no current-context"},
        {"[]", "no current-context"},
        {"{", "/home/a/.kube/config:"},
        {"current-context: x\n", "there is no context 'x'"},
        {"current-context: c\ncontexts: [{name: c, context: {cluster: k}}]\n", "names no cluster"},
        {CONFIG("a: b", ""), "the cluster has no server"},
        {CONFIG("server: 'unix:///x'", ""), "is not an http:// or https:// URL"},
        {CONFIG("server: 'https://a@b'", ""), "is not a URL of a server"},
        {CONFIG("server: 'https://'", ""), "is not a URL of a server"},
        {CONFIG("server: 'https://h', certificate-authority-data: '%%%'", ""),
         "certificate-authority-data is not base64"},
        {CONFIG("server: 'https://h', proxy-url: 'ftp://x'", ""), "proxy-url"},
        {CONFIG("server: 'https://h'", "auth-provider: {name: gcp}"), "auth-provider"},
        {CONFIG("server: 'https://h'", "username: a, password: b"), "username and password"},
        {CONFIG("server: 'https://h'", "token: t, as: other"), "impersonation"},
        {CONFIG("server: 'https://h'", "client-certificate: c.pem"), "go together"},
        {CONFIG("server: 'https://h'", EXEC(", interactiveMode: Always")), "interactiveMode Always"},
        {CONFIG("server: 'https://h'",
                "exec: {command: x, apiVersion: client.authentication.k8s.io/v1alpha1}"),
         "apiVersion must be"},
        {CONFIG("server: 'https://h'", "exec: {apiVersion: client.authentication.k8s.io/v1}"),
         "exec has no command"},
        {CONFIG("server: 'https://h'", EXEC(", env: [{value: x}]")), "args or env"},
    };

    for (size_t i = 0; i < COUNT(table); i++) {
        struct kube_config c;
        struct error error;

        if (read_text(&c, table[i].text, NULL, &error) == 0)
            fail_msg("%s is taken", table[i].text);
        if (!strstr(error.text, table[i].part))
            fail_msg("'%s' is not in '%s'", table[i].part, error.text);
        kube_config_release(&c);
    }
}

/* As with KUBECONFIG: what an earlier file has goes before. */
static void several_files_are_one(void **state)
{
    static const char one[] = "current-context: b\nclusters: [{name: k, cluster: {server: 'https://one'}}]\n";
    static const char two[] =
        "current-context: a\nclusters: [{name: k, cluster: {server: 'https://two'}}]\n"
        "contexts: [{name: a, context: {cluster: k}}, {name: b, context: {cluster: k, namespace: n}}]\n";
    struct file_content files[] = {
        {.path = (char *)(uintptr_t) "/one", .data = (char *)(uintptr_t)one, .size = sizeof(one) - 1},
        {.path = (char *)(uintptr_t) "/two", .data = (char *)(uintptr_t)two, .size = sizeof(two) - 1}};
    struct kube_config c;

    assert_int_equal(kube_config_read(&c, files, 2, NULL, NULL), 0);
    assert_string_equal(c.server, "https://one");
    assert_string_equal(c.namespace, "n");
    kube_config_release(&c);
    assert_int_equal(kube_config_read(&c, files, 2, "a", NULL), 0);
    assert_null(c.namespace);
    kube_config_release(&c);
}

/* ---- exec plug-ins ---- */

#define V1                 "client.authentication.k8s.io/v1"
#define CREDENTIAL(status) "{\"apiVersion\":\"" V1 "\",\"kind\":\"ExecCredential\",\"status\":{" status "}}"

static void credentials_are_read(void **state)
{
    static const struct {
        const char *text, *token, *cert;
        int64_t expires_ms;
        const char *fault;
    } table[] = {
        {CREDENTIAL("\"token\":\"t\",\"expirationTimestamp\":\"2026-11-30T10:00:00Z\""), "t", NULL,
         1796032800000, NULL},
        {CREDENTIAL("\"clientCertificateData\":\"c\",\"clientKeyData\":\"k\""), NULL, "c", 0, NULL},
        {CREDENTIAL("\"token\":\"t\",\"clientCertificateData\":\"c\""), NULL, NULL, 0, "without its key"},
        {CREDENTIAL(""), NULL, NULL, 0, "neither a token nor"},
        {CREDENTIAL("\"token\":\"t\",\"expirationTimestamp\":\"soon\""), NULL, NULL, 0, "is no time"},
        {"{\"apiVersion\":\"client.authentication.k8s.io/"
         "v1beta1\",\"kind\":\"ExecCredential\",\"status\":{\"token\":\"t\"}}",
         NULL, NULL, 0, "v1beta1"},
        {"{\"kind\":\"Pod\"}", NULL, NULL, 0, "no ExecCredential"},
        {"Welcome to the plug-in!\n" CREDENTIAL("\"token\":\"t\""), NULL, NULL, 0, "no JSON"},
        {"", NULL, NULL, 0, "no JSON"},
    };

    for (size_t i = 0; i < COUNT(table); i++) {
        struct kube_credential c;
        struct error error = {0};
        int rc = kube_exec_parse(table[i].text, strlen(table[i].text), V1, &c, &error);

        if ((rc == 0) != !table[i].fault || (table[i].fault && !strstr(error.text, table[i].fault)))
            fail_msg("%zu: %d, %s", i, rc, error.text);
        if (rc == 0) {
            assert_string_equal(or_none(c.token), or_none(table[i].token));
            assert_string_equal(or_none(c.cert), or_none(table[i].cert));
            assert_int_equal(c.expires_ms, table[i].expires_ms);
        }
        kube_credential_release(&c);
    }
}

static int run_script(const char *script, struct kube_credential *ret, struct error *error)
{
    json_t *info = json_pack("{s:s}", "server", "https://h");
    json_t *exec = json_pack("{s:s, s:[s,s], s:{s:s}, s:s, s:b, s:s}", "command", "sh", "args", "-c", script,
                             "env", "GREETING", "hello", "apiVersion", V1, "cluster", 1, "hint",
                             "get it there");
    int rc;

    *error = (struct error){0};
    rc = kube_exec_run(exec, info, ret, error);
    json_decref(exec);
    json_decref(info);
    return rc;
}

static void a_plug_in_is_run(void **state)
{
    struct kube_credential c;
    struct error error;
    struct timespec began, ended;

    /* what it is told and has, and no terminal */
    assert_int_equal(
        run_script(
            "case $KUBERNETES_EXEC_INFO in *'\"interactive\":false'*'https://h'*) ;; *) exit 9;; esac; "
            "read x; test -z \"$x\" || exit 8; "
            "printf '{\"apiVersion\":\"" V1 "\",\"kind\":\"ExecCredential\",\"status\":{\"token\":\"%s\"}}' "
            "$GREETING",
            &c, &error),
        0);
    assert_string_equal(c.token, "hello");
    kube_credential_release(&c);
    assert_true(run_script("echo 'token expired' >&2; exit 3", &c, &error) < 0);
    assert_non_null(strstr(error.text, "exit code 3; token expired get it there"));
    assert_true(run_script("kill -9 $$", &c, &error) < 0);
    assert_non_null(strstr(error.text, "signal 9"));
    assert_true(run_script("yes", &c, &error) < 0);
    assert_non_null(strstr(error.text, "prints more than"));
    /* a grandchild that holds its output is not waited for, and does not stay */
    clock_gettime(CLOCK_MONOTONIC, &began);
    assert_int_equal(run_script("sleep 20 & printf '" CREDENTIAL("\"token\":\"t\"") "'", &c, &error), 0);
    clock_gettime(CLOCK_MONOTONIC, &ended);
    assert_in_range(ended.tv_sec - began.tv_sec, 0, 10);
    kube_credential_release(&c);
}

static void one_that_is_not_there_is_told(void **state)
{
    json_t *exec = json_pack("{s:s, s:[], s:{}, s:s, s:b, s:s}", "command", "/no/such/plug-in", "args", "env",
                             "apiVersion", V1, "cluster", 0, "hint", "get it there");
    struct kube_credential c;
    struct error error = {0};

    assert_true(kube_exec_run(exec, NULL, &c, &error) < 0);
    assert_non_null(strstr(error.text, "/no/such/plug-in: No such file or directory; get it there"));
    json_decref(exec);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kubeconfigs_are_read),  cmocka_unit_test(what_cannot_be_used_is_refused_by_name),
        cmocka_unit_test(several_files_are_one), cmocka_unit_test(credentials_are_read),
        cmocka_unit_test(a_plug_in_is_run),      cmocka_unit_test(one_that_is_not_there_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
