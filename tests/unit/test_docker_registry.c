/* Credentials for registries: whose they are, Docker's own configuration, helpers, and the header for the engine. */
#include "cronsched/engines/docker/docker_registry.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void an_image_tells_its_registry(void **state)
{
    static const struct {
        const char *image, *host;
    } table[] = {
        {"busybox", "docker.io"},
        {"busybox:1.36", "docker.io"},
        {"acme/report@sha256:00", "docker.io"},
        {"registry.example/report", "registry.example"},
        {"Registry.Example:5000/acme/report:1", "registry.example:5000"},
        {"localhost/report", "localhost"},
        {"localhosts/report", "docker.io"},
        {"localhost:5000/report", "localhost:5000"},
        {"127.0.0.1:5000/report", "127.0.0.1:5000"},
        {"docker.io/library/busybox", "docker.io"},
    };

    for (size_t i = 0; i < COUNT(table); i++) {
        char host[DOCKER_REGISTRY_HOST_MAX];

        docker_registry_of(table[i].image, host, sizeof(host));
        assert_string_equal(host, table[i].host);
    }
    assert_true(docker_registry_same("https://index.docker.io/v1/", "docker.io"));
    assert_true(docker_registry_same("https://R.example:5000/v2/", "r.example:5000"));
    assert_false(docker_registry_same("r.example", "r.example:5000"));
    assert_false(docker_registry_same("r.example.evil", "r.example"));
}

static void what_docker_login_left(void **state)
{
    static const struct {
        const char *json, *host, *user, *password, *token, *helper;
        int result;
    } table[] = {
        {"{}", "r.example", NULL, NULL, NULL, "", 0},
        {"{\"auths\":{\"r.example\":{\"auth\":\"Y2k6cGE6c3M=\"}}}", "r.example", "ci", "pa:ss", NULL, "", 0},
        {"{\"auths\":{\"r.example\":{\"auth\":\"Y2k6cGE6c3M=\"}}}", "s.example", NULL, NULL, NULL, "", 0},
        {"{\"auths\":{\"https://index.docker.io/v1/\":{\"auth\":\"YTpi\"}}}", "docker.io", "a", "b", NULL, "",
         0},
        {"{\"auths\":{\"r.example\":{\"auth\":\"Pz8/Pj4+Og==\"}}}", "r.example", "\x3f\x3f\x3f>>>", "", NULL,
         "", 0},
        {"{\"auths\":{\"r.example\":{\"identitytoken\":\"t\",\"auth\":\"YTpi\"}}}", "r.example", NULL, NULL,
         "t", "", 0},
        {"{\"auths\":{\"r.example\":{}},\"credsStore\":\"pass\"}", "r.example", NULL, NULL, NULL, "pass", 0},
        {"{\"credsStore\":\"pass\",\"credHelpers\":{\"r.example\":\"ecr-login\"}}", "r.example", NULL, NULL,
         NULL, "ecr-login", 0},
        {"{\"credsStore\":\"../x\"}", "r.example", NULL, NULL, NULL, "", ERR_INVALID},
        {"{\"auths\":{\"r.example\":{\"auth\":\"YQ==\"}}}", "r.example", NULL, NULL, NULL, "", ERR_INVALID},
        {"{\"auths\":{\"r.example\":{\"auth\":\"**\"}}}", "r.example", NULL, NULL, NULL, "", ERR_INVALID},
        {"{\"auths\":{\"r.example\":{\"auth\":\"AGE6Yg==\"}}}", "r.example", NULL, NULL, NULL, "",
         ERR_INVALID},
        {"{\"auths\":7,\"credHelpers\":[]}", "r.example", NULL, NULL, NULL, "", 0},
        {"[]", "r.example", NULL, NULL, NULL, "", ERR_INVALID},
        {"{", "r.example", NULL, NULL, NULL, "", ERR_INVALID},
    };

    for (size_t i = 0; i < COUNT(table); i++) {
        struct docker_credentials c;
        char helper[DOCKER_REGISTRY_HELPER_MAX];
        struct error error = {0};

        if (docker_registry_config(table[i].json, strlen(table[i].json), table[i].host, &c, helper, &error) !=
            table[i].result)
            fail_msg("%zu: %s", i, error.text);
        assert_string_equal(helper, table[i].helper);
        assert_string_equal(c.user ? c.user : "-", table[i].user ? table[i].user : "-");
        assert_string_equal(c.password ? c.password : "-", table[i].password ? table[i].password : "-");
        assert_string_equal(c.token ? c.token : "-", table[i].token ? table[i].token : "-");
        docker_credentials_release(&c);
    }
}

static void the_engine_gets_them_in_a_header(void **state)
{
    char user[] = "ci", password[] = "pa\"ss?>", token[] = "t";
    struct docker_credentials none = {0}, both = {.user = user, .password = password}, one = {.token = token};
    char *header;

    assert_null(docker_registry_header(&none, "r.example"));
    header = docker_registry_header(&both, "r.example");
    /* {"username":"ci","password":"pa\"ss?>","serveraddress":"r.example"} */
    assert_string_equal(
        header, "X-Registry-Auth: eyJ1c2VybmFtZSI6ImNpIiwicGFzc3dvcmQiOiJwYVwic3M_PiIsInNlcnZlcmFkZHJl"
                "c3MiOiJyLmV4YW1wbGUifQ==");
    free(header);
    header = docker_registry_header(&one, "docker.io");
    /* {"identitytoken":"t","serveraddress":"https://index.docker.io/v1/"} */
    assert_string_equal(
        header, "X-Registry-Auth: eyJpZGVudGl0eXRva2VuIjoidCIsInNlcnZlcmFkZHJlc3MiOiJodHRwczovL2luZGV4"
                "LmRvY2tlci5pby92MS8ifQ==");
    free(header);
}

/* ---- helpers ---- */

static char folder[] = "/tmp/cronsched-registry-XXXXXX";

static void write_helper(const char *script)
{
    char path[128];
    FILE *f;

    snprintf(path, sizeof(path), "%s/docker-credential-lab", folder);
    f = fopen(path, "w");
    assert_non_null(f);
    fprintf(f, "#!/bin/sh\n%s\n", script);
    fclose(f);
    assert_int_equal(chmod(path, 0755), 0);
}

static int ask(const char *script, struct docker_credentials *ret, struct error *error)
{
    write_helper(script);
    return docker_registry_ask("lab", "r.example", ret, error);
}

static void helpers_are_asked(void **state)
{
    static const struct {
        const char *script, *user, *password, *token, *text;
        int result;
    } table[] = {
        {"[ \"$1 $(cat)\" = 'get r.example' ] && echo '{\"Username\":\"ci\",\"Secret\":\"s\"}'", "ci", "s",
         NULL, "", 0},
        {"echo '{\"Username\":\"<token>\",\"Secret\":\"t\"}'", NULL, NULL, "t", "", 0},
        {"echo credentials not found in native keychain; exit 1", NULL, NULL, NULL, "", 0},
        {"echo no daemon here; exit 3", NULL, NULL, NULL, "docker-credential-lab fails: no daemon here",
         ERR_IO},
        {"echo '{\"Username\":\"ci\"}'", NULL, NULL, NULL, "has no Username and Secret", ERR_IO},
        {"echo hello", NULL, NULL, NULL, "is not a JSON object", ERR_IO},
        {"kill -9 $$", NULL, NULL, NULL, "fails", ERR_IO},
    };
    struct docker_credentials c;
    struct error error = {0};

    for (size_t i = 0; i < COUNT(table); i++) {
        error = (struct error){0};
        if (ask(table[i].script, &c, &error) != table[i].result || !strstr(error.text, table[i].text))
            fail_msg("%s: %s", table[i].script, error.text);
        assert_string_equal(c.user ? c.user : "-", table[i].user ? table[i].user : "-");
        assert_string_equal(c.password ? c.password : "-", table[i].password ? table[i].password : "-");
        assert_string_equal(c.token ? c.token : "-", table[i].token ? table[i].token : "-");
        docker_credentials_release(&c);
    }
    assert_int_equal(docker_registry_ask("no-such", "r.example", &c, &error), ERR_NOT_FOUND);
}

static int set_up(void **state)
{
    char path[4200];

    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof(path), "%s:%s", folder, getenv("PATH"));
    return setenv("PATH", path, 1);
}

static int tear_down(void **state)
{
    char path[128];

    snprintf(path, sizeof(path), "%s/docker-credential-lab", folder);
    unlink(path);
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_image_tells_its_registry),
        cmocka_unit_test(what_docker_login_left),
        cmocka_unit_test(the_engine_gets_them_in_a_header),
        cmocka_unit_test(helpers_are_asked),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
