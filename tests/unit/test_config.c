/* The configuration: what is accepted, what each fault says and where, and which source wins. */
#include "cronsched/command/verbs.h"
#include "cronsched/config/config.h"
#include "cronsched/server/plain_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

struct pairs {
    const char *names[8], *values[8];
};
struct world {
    struct pairs flags, environment;
};

static const char *lookup(const struct pairs *pairs, const char *name, size_t nth)
{
    for (size_t i = 0; i < 8 && pairs->names[i]; i++)
        if (strcmp(pairs->names[i], name) == 0 && nth-- == 0)
            return pairs->values[i];
    return NULL;
}

static const char *flag(void *arg, const char *name, size_t i)
{
    return lookup(&((struct world *)arg)->flags, name, i);
}

static const char *environment(void *arg, const char *name)
{
    return lookup(&((struct world *)arg)->environment, name, 0);
}

static int load(struct config *config, const char *text, const struct world *world, struct text *errors)
{
    struct world none = {.environment = {{"HOME"}, {"/home/u"}}};
    struct config_sources sources = {.file = text ? "c.yaml" : NULL,
                                     .text = text,
                                     .size = text ? strlen(text) : 0,
                                     .flag = flag,
                                     .environment = environment,
                                     .arg = world ? (void *)world : &none};

    text_init(errors, 65536);
    return config_load(config, &sources, errors);
}

static void test_defaults(void **state)
{
    struct config c;
    struct text errors;

    assert_int_equal(load(&c, NULL, NULL, &errors), 0);
    assert_string_equal(text_str(&errors), "");
    assert_string_equal(c.cluster, "default");
    assert_string_equal(c.data_dir, "/home/u/.local/state/cronsched");
    assert_int_equal(c.listen_count, 1); /* nothing over TCP */
    assert_string_equal(c.listen[0], "unix:/home/u/.local/state/cronsched/cronsched.sock");
    assert_int_equal(c.engine_count, 1); /* and none that runs commands on this machine */
    assert_string_equal(c.engines[0].type, "docker");
    assert_string_equal(c.engines[0].endpoint, "unix:///var/run/docker.sock");
    assert_null(c.engines[0].allow);
    assert_string_equal(c.default_engine, "docker");
    assert_int_equal(c.session_timeout_ms, 10000);
    assert_int_equal(c.expected_replicas, 0);
    assert_int_equal(c.resolve_within_ms, 3600000);
    assert_int_equal(c.late_grace_ms, 60000);
    assert_int_equal(c.max_state_bytes, 64 << 20);
    assert_false(c.insecure);
    assert_false(c.loopback_read);
    assert_int_equal(c.socket_mode, 0660);
    assert_int_equal(c.socket_group, (gid_t)-1);
    assert_null(c.zookeeper);
    config_release(&c);
    text_release(&errors);
}

static void test_data_dir(void **state)
{
    static const struct {
        struct world world;
        bool root;
        const char *dir;
    } cases[] = {
        {{.environment = {{"HOME"}, {"/home/u"}}}, false, "/home/u/.local/state/cronsched"},
        {{.environment = {{"XDG_STATE_HOME", "HOME"}, {"/s", "/home/u"}}}, false, "/s/cronsched"},
        {{.environment = {{"XDG_STATE_HOME", "HOME"}, {"relative", "/home/u"}}},
         false,
         "/home/u/.local/state/cronsched"},
        {{.environment = {{"HOME"}, {"/root"}}}, true, "/var/lib/cronsched"},
        {{.environment = {{"CRONSCHED_DATA_DIR"}, {"/d"}}}, true, "/d"},
        {{.flags = {{0}}}, false, NULL},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char *dir = config_default_data_dir(environment, (void *)&cases[i].world, cases[i].root);

        if (cases[i].dir)
            assert_string_equal(dir, cases[i].dir);
        else
            assert_null(dir);
        free(dir);
    }
}

static const char whole[] =
    "cluster: prod\n"
    "data_dir: /srv/cronsched\n"
    "listen: [\"unix:/run/cs.sock\", \"0.0.0.0:7460\", \"[::1]:7461\"]\n"
    "advertise: https://a.example:7460\n"
    "allowed_hosts: [cron.example, b.example]\n"
    "socket_group: root\n"
    "socket_mode: 0666\n"
    "loopback: read\n"
    "zookeeper: zk1:2181,zk2:2181,[::1]:2181/apps\n"
    "session_timeout: 6s\n"
    "engines:\n"
    "  docker:\n"
    "    parallel: 8\n"
    "    max_armed: 32\n"
    "    allow: {images: [registry.example/team/*], volumes: [/srv, data], privileged: true}\n"
    "  far:\n"
    "    type: docker\n"
    "    endpoint: https://b.example:2376\n"
    "    tls: {ca: /ca.pem, cert: /c.pem, key: /k.pem}\n"
    "  local: {type: process, users: [backup, 1000]}\n"
    "  nothing: {type: null}\n"
    "default_engine: far\n"
    "pools: {warehouse: 3, web: 10}\n"
    "files_dir: /etc/cronsched/files\n"
    "tokens_file: /etc/tokens\n"
    "tls: {cert: /s.pem, key: /s.key}\n"
    "insecure: true\n"
    "resolve_within: 2h\n"
    "late_grace: 90s\n"
    "expected_replicas: 3\n"
    "max_state: 32m\n"
    "log: json\n";

static void test_file(void **state)
{
    struct config c;
    struct text errors;

    if (load(&c, whole, NULL, &errors) < 0)
        fail_msg("%s", text_str(&errors));
    assert_string_equal(c.cluster, "prod");
    assert_int_equal(c.listen_count, 3);
    assert_string_equal(c.listen[2], "[::1]:7461");
    assert_string_equal(c.zookeeper, "zk1:2181,zk2:2181,[::1]:2181/apps");
    assert_int_equal(c.session_timeout_ms, 6000);
    assert_int_equal(c.engine_count, 4);
    assert_int_equal(c.engines[0].parallel, 8);
    assert_int_equal(c.engines[0].max_armed, 32);
    assert_string_equal(json_string_value(json_array_get(json_object_get(c.engines[0].allow, "volumes"), 1)),
                        "data");
    assert_true(json_is_true(json_object_get(c.engines[0].allow, "privileged")));
    assert_null(c.engines[1].allow);
    assert_string_equal(c.files_dir, "/etc/cronsched/files");
    assert_string_equal(c.engines[1].tls_ca, "/ca.pem");
    assert_string_equal(json_string_value(json_array_get(json_object_get(c.engines[2].allow, "users"), 1)),
                        "1000");
    assert_string_equal(c.engines[3].type, "null");
    assert_int_equal(c.pool_count, 2);
    assert_string_equal(c.pools[1].name, "web");
    assert_int_equal(c.pools[1].size, 10);
    assert_string_equal(c.tls_key, "/s.key");
    assert_true(c.insecure);
    assert_int_equal(c.allowed_host_count, 2);
    assert_string_equal(c.allowed_hosts[1], "b.example");
    assert_int_equal(c.socket_group, 0);
    assert_int_equal(c.socket_mode, 0666);
    assert_true(c.loopback_read);
    assert_int_equal(c.late_grace_ms, 90000);
    assert_int_equal(c.expected_replicas, 3);
    assert_int_equal(c.max_state_bytes, 32 << 20);
    assert_int_equal(c.log, CONFIG_LOG_JSON);
    config_release(&c);
    text_release(&errors);
}

/* Each text, and all that is said of it. */
static const struct {
    const char *text, *errors;
} faults[] = {
    {"clusster: a\n", "c.yaml:1:1: error: unknown key 'clusster'; did you mean 'cluster'?\n"},
    {"tls: {cret: a, key: b}\n", "c.yaml:1:7: error: tls: unknown key 'cret'; did you mean 'cert'?\n"},
    {"cluster: [a]\n", "c.yaml:1:10: error: cluster: must be a text, not a list\n"},
    {"cluster: a/b\n",
     "c.yaml:1:10: error: cluster: 'a/b' is not a name: up to 64 letters, digits, '-', '_' and '.', a "
     "letter or digit first\n"},
    {"socket_group: no-such-group\n",
     "c.yaml:1:15: error: socket_group: there is no group 'no-such-group' on this machine\n"},
    {"socket_mode: 0777\n",
     "c.yaml:1:14: error: socket_mode: '0777' is not an octal mode such as 0660: 06, and 0 to 6 twice\n"},
    {"socket_mode: 0060\n",
     "c.yaml:1:14: error: socket_mode: '0060' is not an octal mode such as 0660: 06, and 0 to 6 twice\n"},
    {"zookeeper: zk:2181\nadvertise: https://a:1\ntls: {cert: /c, key: /k}\n",
     "error: zookeeper: without zookeeper_auth_file everybody who reaches ZooKeeper may run anything here, "
     "and there "
     "is tls: make a file with 'cronsched cluster password' (or say 'insecure: true')\n"},
    {"zookeeper: zk:2181\nadvertise: https://a:1\nlisten: [\"10.0.0.1:1\"]\n",
     "error: zookeeper: without zookeeper_auth_file everybody who reaches ZooKeeper may run anything here, "
     "and there "
     "is 10.0.0.1:1: make a file with 'cronsched cluster password' (or say 'insecure: true')\n"},
    {"loopback: admin\n", "c.yaml:1:11: error: loopback: 'admin' is neither none nor read\n"},
    {"allowed_hosts: [\"a.example:1\"]\n",
     "c.yaml:1:17: error: allowed_hosts: 'a.example:1' is not the name of a host\n"},
    {"expected_replicas: 0\n", "c.yaml:1:20: error: expected_replicas: '0' is not a number from 1 to 100\n"},
    {"expected_replicas: many\n",
     "c.yaml:1:20: error: expected_replicas: 'many' is not a number from 1 to 100\n"},
    {"expected_replicas: [3]\n", "c.yaml:1:20: error: expected_replicas: must be a number, not a list\n"},
    {"insecure: maybe\n", "c.yaml:1:11: error: insecure: must be true or false, not a text\n"},
    {"late_grace: soon\nsession_timeout: 0s\n",
     "c.yaml:1:13: error: late_grace: *c.yaml:2:18: error: session_timeout: must be above zero\n"},
    {"listen: [\"nowhere\", \"unix:rel\", \"a:b:1\", \"h:70000\"]\n",
     "c.yaml:1:10: error: listen: 'nowhere' is neither unix:/PATH nor HOST:PORT\n"
     "c.yaml:1:21: error: listen: 'unix:rel' has no absolute path of up to 107 bytes\n"
     "c.yaml:1:33: error: listen: 'a:b:1' is neither unix:/PATH nor HOST:PORT\n"
     "c.yaml:1:42: error: listen: 'h:70000' is neither unix:/PATH nor HOST:PORT\n"},
    {"advertise: host\n",
     "c.yaml:1:12: error: advertise: 'host' is not http://HOST:PORT or https://HOST:PORT\n"},
    {"zookeeper: zk1\n", "c.yaml:1:12: error: zookeeper: 'zk1' is not HOST:PORT\n"},
    {"cluster_id: 5f1d3a52-7c1e-4c39-9a30-0e6d2f3b7a1\n",
     "c.yaml:1:13: error: cluster_id: '5f1d3a52-7c1e-4c39-9a30-0e6d2f3b7a1' is not a UUID such as 'uuidgen' "
     "prints\n"},
    {"init: true\n", "error: init: there is no zookeeper, and a server on its own needs no cluster\n"},
    {"zookeeper: zk1:2181/\n", "c.yaml:1:12: error: zookeeper: '/' is not a valid path\n"},
    {"engines: {x: {type: dokcer}}\n",
     "c.yaml:1:21: error: type: there is no 'dokcer'; did you mean 'docker'?\n"},
    {"engines: {x: {}}\n", "c.yaml:1:11: error: engines: x: type is missing\n"},
    {"engines: {docker: {paralel: 2}}\n",
     "c.yaml:1:20: error: unknown key 'paralel'; did you mean 'parallel'?\n"},
    {"engines: {docker: {parallel: 0, max_armed: many}}\n",
     "c.yaml:1:30: error: parallel: must be from 1 to 1000\n"
     "c.yaml:1:44: error: max_armed: must be a whole number, not a text\n"},
    {"engines: {process: {endpoint: \"unix:///x\"}}\n",
     "c.yaml:1:11: error: engines: process: an engine of type process has no endpoint\n"},
    {"engines: {docker: {endpoint: \"tcp://h:1\"}}\n",
     "c.yaml:1:11: error: engines: docker: endpoint 'tcp://h:1' is not a unix:///PATH, http:// or https:// "
     "URL\n"},
    {"engines: {docker: {endpoint: \"https://h:70000\"}}\n",
     "c.yaml:1:11: error: engines: docker: endpoint 'https://h:70000': it is not http://HOST:PORT or "
     "https://HOST:PORT\n"},
    {"engines: {docker: {endpoint: \"https://me:secret@h:1\"}}\n",
     "c.yaml:1:11: error: engines: docker: endpoint: a name or a password has no place in it\n"},
    {"engines: {swarm: {endpoint: [\"https://h:0\", \"https://h:1/x\", \"http://h h\", \"https://h:1\\r\\nX: "
     "y\"]}}\n",
     "c.yaml:1:11: error: engines: swarm: endpoint 'https://h:0': it is not http://HOST:PORT or "
     "https://HOST:PORT\n"
     "c.yaml:1:11: error: engines: swarm: endpoint 'https://h:1/x': it is not http://HOST:PORT or "
     "https://HOST:PORT\n"
     "c.yaml:1:11: error: engines: swarm: endpoint 'http://h h': it is not http://HOST:PORT or "
     "https://HOST:PORT\n"
     "c.yaml:1:11: error: engines: swarm: endpoint 'https://h:1\r\nX: y': it is not http://HOST:PORT or "
     "https://HOST:PORT\n"},
    {"engines: {process: {kubeconfig: /k, namespace: [a, b]}}\n",
     "c.yaml:1:11: error: engines: process: kubeconfig, context, namespace and token_file are of an engine "
     "of "
     "type kubernetes\n"},
    {"engines: {kubernetes: {kubeconfig: /k, token_file: /t}}\n",
     "c.yaml:1:11: error: engines: kubernetes: kubeconfig says all that endpoint, tls and token_file could "
     "say\n"
     "c.yaml:1:11: error: engines: kubernetes: tls and token_file go with endpoint\n"},
    {"engines: {kubernetes: {allow: {files: [/f], volumes: [/v]}}}\n",
     "c.yaml:1:11: error: engines: kubernetes: an engine of type kubernetes has no volumes to allow\n"},
    {"engines: {kubernetes: {context: c}}\n",
     "c.yaml:1:11: error: engines: kubernetes: context names a part of a kubeconfig\n"},
    {"engines: {kubernetes: {namespace: []}}\n", "c.yaml:1:35: error: namespace: must be 1 to 16 of them\n"},
    {"engines: {process: {registries: {r.example: {username: u, from_file: /p}}}}\n",
     "c.yaml:1:11: error: engines: process: an engine of type process pulls no images: it has no "
     "registries\n"},
    {"engines: {docker: {registries: {a/b: {username: u, from_file: /p}, r.example: {password: x}, "
     "s.example: 7}}}\n",
     "c.yaml:1:33: error: registries: 'a/b' is not HOST or HOST:PORT, as the names of images begin\n"
     "c.yaml:1:80: error: registries: a password has no place here: put it in a file, and name that with "
     "from_file\n"
     "c.yaml:1:105: error: registries: s.example: must be a map of username and from_file, not a number\n"},
    {"engines: {docker: {registries: {r.example: {username: u}, s.example: {username: u, from_file: p}}}}\n",
     "c.yaml:1:33: error: registries: r.example: from_file is missing\n"
     "c.yaml:1:95: error: registries: from_file: 'p' is not an absolute path without empty parts, . and "
     "..\n"},
    {"engines: {process: {users: []}}\n",
     "c.yaml:1:28: error: users: must name at least one, whom jobs run as that name none\n"},
    {"engines: {process: {users: [\"\", \"a b\", {}]}}\n",
     "c.yaml:1:29: error: users: must be a text, not an empty one\n"
     "c.yaml:1:33: error: users: 'a b' must be one word\n"
     "c.yaml:1:40: error: users: must be a text, not a map\n"},
    {"engines: {process: {allow: {image: [a]}}}\n",
     "c.yaml:1:29: error: allow: unknown key 'image'; did you mean 'images'?\n"},
    {"engines: {process: {allow: {images: [a]}}}\n",
     "c.yaml:1:11: error: engines: process: an engine of type process has no images to allow\n"},
    {"engines: {docker: {allow: {images: [a*, \"*\"], volumes: [/srv/../etc, \"a b\"], privileged: "
     "[yes]}}}\n",
     "c.yaml:1:37: error: images: 'a*' '*' may only be the last part, as in registry.example/team/*\n"
     "c.yaml:1:41: error: images: '*' '*' may only be the last part, as in registry.example/team/*\n"
     "c.yaml:1:57: error: volumes: '/srv/../etc' must be an absolute path without empty parts, . and ..\n"
     "c.yaml:1:70: error: volumes: 'a b' must be one word\n"
     "c.yaml:1:90: error: privileged: must be true or false, not a list\n"},
    {"files_dir: etc\n",
     "c.yaml:1:12: error: files_dir: 'etc' is not an absolute path without empty parts, . and ..\n"},
    {"engines: {n: {type: null, users: [a]}}\n",
     "c.yaml:1:11: error: engines: n: an engine of type null has no users to allow\n"},
    {"engines: {process: {allow: {files: [etc, /etc/, /a/../b, /a//b]}}}\n",
     "c.yaml:1:37: error: files: 'etc' must be an absolute path without empty parts, . and ..\n"
     "c.yaml:1:42: error: files: '/etc/' must be an absolute path without empty parts, . and ..\n"
     "c.yaml:1:49: error: files: '/a/../b' must be an absolute path without empty parts, . and ..\n"
     "c.yaml:1:58: error: files: '/a//b' must be an absolute path without empty parts, . and ..\n"},
    {"engines: {process: {allow: {users: root}}}\n",
     "c.yaml:1:36: error: users: must be a list of up to 256 texts, not a text\n"},
    {"engines: {}\n", "c.yaml:1:10: error: engines: must be a map of engines by name, not an empty one\n"},
    {"engines: {a: {type: docker}, b: {type: docker}}\n",
     "error: default_engine: there is no engine 'docker'\n"},
    {"default_engine: swarm\n", "error: default_engine: there is no engine 'swarm'\n"},
    {"pools: {a: 0, \"b c\": 2}\n",
     "c.yaml:1:12: error: a: must be from 1 to 2147483647\nc.yaml:1:15: error: pools: 'b c' is not a name\n"},
    {"tls: {cert: /a}\n", "error: tls: cert and key go together\n"},
    {"log: loud\n", "c.yaml:1:6: error: log: 'loud' is neither human nor json\n"},
    {"log_level: loud\n",
     "c.yaml:1:12: error: log_level: 'loud' is none of error, warning, info and debug\n"},
    {"cluster: a\ncluster: b\n", "c.yaml:2:1: error: *"},
    {"- a\n", "c.yaml:1:1: error: must be a map of settings, not a list\n"},
    {"cluster: a\n\tb: c\n", "c.yaml:2:1: error: *"},
};

/* '*' stands for any text. */
static bool matches(const char *pattern, const char *s)
{
    if (!*pattern)
        return !*s;
    if (*pattern == '*')
        return matches(pattern + 1, s) || (*s && matches(pattern, s + 1));
    return *pattern == *s && matches(pattern + 1, s + 1);
}

static void test_faults(void **state)
{
    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        struct config c;
        struct text errors;
        int r = load(&c, faults[i].text, NULL, &errors);

        if (r != ERR_INVALID || !matches(faults[i].errors, text_str(&errors)))
            fail_msg("case %zu: %d\nwanted: %s\ngot:    %s", i, r, faults[i].errors, text_str(&errors));
        config_release(&c);
        text_release(&errors);
    }
}

static void test_many_faults_end(void **state)
{
    struct text text, errors;
    struct config c;
    int lines = 0;

    text_init(&text, 1 << 20);
    for (int i = 0; i < 500; i++)
        text_addf(&text, "x%d: 1\n", i);
    assert_int_equal(load(&c, text_str(&text), NULL, &errors), ERR_INVALID);
    for (const char *p = text_str(&errors); *p; p++)
        lines += *p == '\n';
    assert_int_equal(lines, CONFIG_ERRORS_MAX);
    assert_non_null(strstr(text_str(&errors), "c.yaml: error: too many errors\n"));
    config_release(&c);
    text_release(&errors);
    text_release(&text);
}

static void test_precedence(void **state)
{
    struct world world = {
        .flags = {{"cluster", "listen", "listen", "insecure"}, {"by-flag", "127.0.0.1:1", "127.0.0.1:2", ""}},
        .environment = {{"CRONSCHED_CLUSTER", "CRONSCHED_LATE_GRACE", "CRONSCHED_LISTEN",
                         "CRONSCHED_TLS_CERT", "HOME"},
                        {"by-env", "5s", "127.0.0.1:3,127.0.0.1:4", "/env.pem", "/home/u"}},
    };
    struct config c;
    struct text errors;

    if (load(
            &c,
            "cluster: by-file\nlate_grace: 1s\nresolve_within: 7s\nlisten: \"127.0.0.1:5\"\ntls: {key: /k}\n",
            &world, &errors) < 0)
        fail_msg("%s", text_str(&errors));
    assert_string_equal(c.cluster, "by-flag");
    assert_int_equal(c.late_grace_ms, 5000);
    assert_int_equal(c.resolve_within_ms, 7000);
    assert_int_equal(c.listen_count, 2);
    assert_string_equal(c.listen[0], "127.0.0.1:1");
    assert_string_equal(c.listen[1], "127.0.0.1:2");
    assert_true(c.insecure);
    assert_string_equal(c.tls_cert, "/env.pem");
    config_release(&c);
    text_release(&errors);
}

static void test_faults_of_flags_and_environment(void **state)
{
    struct world world = {
        .flags = {{"session-timeout", "advertise"}, {"fast", "nowhere"}},
        .environment = {{"CRONSCHED_INSECURE", "HOME"}, {"perhaps", "/home/u"}},
    };
    struct config c;
    struct text errors;

    assert_int_equal(load(&c, "nonsense: 1\n", &world, &errors), ERR_INVALID);
    assert_true(matches("c.yaml:1:1: error: unknown key 'nonsense'\n"
                        "CRONSCHED_INSECURE: error: 'perhaps' is neither true nor false\n"
                        "--advertise: error: *--session-timeout: error: *",
                        text_str(&errors)));
    config_release(&c);
    text_release(&errors);
}

static void test_without_home_a_folder_must_be_named(void **state)
{
    struct world world = {.flags = {{0}}};
    struct config c;
    struct text errors;

    assert_int_equal(load(&c, NULL, &world, &errors), ERR_INVALID);
    assert_non_null(strstr(text_str(&errors), "data_dir"));
    config_release(&c);
    text_release(&errors);
}

static char told[1024];

static void on_plain_text(void *arg, const char *event, const char *text)
{
    snprintf(told + strlen(told), sizeof(told) - strlen(told), "%s: %s\n", event, text);
}

static const char *plain_text_of(const char *advertise, const char *cert, const char *endpoint,
                                 const char *key)
{
    struct config_engine engine = {
        .name = (char *)"docker", .endpoint = (char *)(uintptr_t)endpoint, .tls_key = (char *)(uintptr_t)key};
    struct config c = {.advertise = (char *)(uintptr_t)advertise,
                       .tls_cert = (char *)(uintptr_t)cert,
                       .engines = &engine,
                       .engine_count = 1};

    told[0] = '\0';
    plain_text_warn(&c, on_plain_text, NULL);
    return told;
}

static void test_what_goes_without_protection_is_told(void **state)
{
    char key[] = "/tmp/cronsched-key-XXXXXX";
    int fd = mkstemp(key);

    assert_true(fd >= 0);
    assert_string_equal(plain_text_of("https://a:1", "cert", "https://b:2", key), "");
    assert_string_equal(plain_text_of("http://a:1", NULL, NULL, NULL), "");
    assert_string_equal(plain_text_of(NULL, "cert", "unix:///x", "/nowhere"), "");
    assert_non_null(strstr(plain_text_of("http://a:1", "cert", NULL, NULL), "advertise: 'http://a:1'"));
    assert_non_null(
        strstr(plain_text_of(NULL, NULL, "http://b:2", NULL), "endpoint: engine docker: 'http://b:2'"));
    fchmod(fd, 0644);
    assert_non_null(strstr(plain_text_of(NULL, NULL, NULL, key), "tls-key: engine docker: "));
    close(fd);
    unlink(key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_data_dir),
        cmocka_unit_test(test_file),
        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_many_faults_end),
        cmocka_unit_test(test_precedence),
        cmocka_unit_test(test_faults_of_flags_and_environment),
        cmocka_unit_test(test_without_home_a_folder_must_be_named),
        cmocka_unit_test(test_what_goes_without_protection_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
