/* Which credentials a pull shows to the engine, and what people are told when there are none, or none that do. */
#include "tests/support/hostile_engine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include <cmocka.h>

#define JOB "{\"image\":\"r.example/acme/report:1\",\"pull\":\"always\"}"
/* {"username":"ci","password":"s","serveraddress":"r.example"} */
#define CREDENTIALS                                                                                          \
    "X-Registry-Auth: eyJ1c2VybmFtZSI6ImNpIiwicGFzc3dvcmQiOiJzIiwic2VydmVyYWRkcmVzcyI6InIuZXhhbXBsZSJ9"
#define NONE "there are no credentials for r.example, neither in 'registries'"

static char folder[] = "/tmp/cronsched-pull-XXXXXX", secret[64], config[64];

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

/* With the password in that file, NULL: no `registries`; and that config.json. */
static void pull(const char *password_file, const char *config_text, const struct reply *answer)
{
    json_t *own = password_file
                      ? json_pack("{s:{s:s, s:s}}", "R.example", "username", "ci", "from_file", password_file)
                      : NULL;

    if (config_text)
        write_file(config, config_text);
    else
        unlink(config);
    nothing_special();
    special[0] = *answer;
    registries = own;
    docker_config = config;
    snprintf(pull_credentials, sizeof(pull_credentials), "no pull");
    ask_for(ENGINE_PREPARE, JOB, 1, CASE_MS);
    registries = NULL;
    docker_config = "";
    json_decref(own);
    nothing_special();
}

static const struct reply fine = {"/images/create", 200, "{\"status\":\"pulled\"}"};
static const struct reply denied = {"/images/create", 500,
                                    "{\"message\":\"Head r.example: no basic auth credentials\"}"};
static const struct reply missing = {"/images/create", 404, "{\"message\":\"manifest unknown\"}"};

static void credentials_come_from_the_configuration_or_docker(void **state)
{
    static const struct {
        bool own;
        const char *config, *shown;
    } table[] = {
        {true, NULL, CREDENTIALS},
        {true, "{\"auths\":{\"r.example\":{\"auth\":\"eDp5\"}}}", CREDENTIALS}, /* ours go first */
        {false, "{\"auths\":{\"https://r.example/v2/\":{\"auth\":\"Y2k6cw==\"}}}", CREDENTIALS},
        {false, "{\"auths\":{\"s.example\":{\"auth\":\"Y2k6cw==\"}}}", ""},
        {false, "{\"credHelpers\":{\"r.example\":\"no-such\"}}", ""},
        {false, "nonsense", ""},
        {false, NULL, ""},
    };

    write_file(secret, "s\n");
    for (size_t i = 0; i < COUNT(table); i++) {
        pull(table[i].own ? secret : NULL, table[i].config, &fine);
        assert_int_equal(heard.event, ENGINE_PREPARED);
        assert_string_equal(pull_credentials, table[i].shown);
    }
}

static void a_refused_pull_tells_of_its_credentials(void **state)
{
    static const struct {
        bool own;
        const char *config;
        const struct reply *answer;
        const char *part, *not ;
    } table[] = {
        {false, NULL, &denied, NONE, NULL},
        {false, "{\"auths\":{}}", &denied, NONE, NULL},
        {false, "nonsense", &denied, "/config.json: it is not a JSON object", NONE},
        {false, "{\"credsStore\":\"no-such\"}", &denied, "docker-credential-no-such cannot be started", NONE},
        {true, NULL, &denied, "no basic auth credentials", "there are no"},
        {false, NULL, &missing, "manifest unknown", "credentials"}, /* of no interest then */
    };

    write_file(secret, "s\n");
    for (size_t i = 0; i < COUNT(table); i++) {
        pull(table[i].own ? secret : NULL, table[i].config, table[i].answer);
        assert_int_equal(heard.event, ENGINE_REFUSED);
        if (!strstr(heard_text, table[i].part) || (table[i].not &&strstr(heard_text, table[i].not )))
            fail_msg("%zu: %s", i, heard_text);
    }
}

/* What the configuration names is meant: without it nothing is pulled. */
static void a_password_that_cannot_be_read_fails_the_start(void **state)
{
    unlink(secret);
    pull(secret, NULL, &fine);
    assert_int_equal(heard.event, ENGINE_REFUSED);
    assert_non_null(strstr(heard_text, "registries: r.example: the file "));
    assert_string_equal(pull_credentials, "no pull");
    write_file(secret, "");
    pull(secret, NULL, &fine);
    assert_int_equal(heard.event, ENGINE_REFUSED);
    assert_non_null(strstr(heard_text, "the file is empty"));
    assert_string_equal(pull_credentials, "no pull");
}

/* A helper that is still at work when the engine is closed. */
static void closing_does_not_wait_for_a_helper(void **state)
{
    char path[80], search[4200];
    uint64_t begin;

    snprintf(path, sizeof(path), "%s/docker-credential-slow", folder);
    write_file(path, "#!/bin/sh\nexec sleep 3\n");
    assert_int_equal(chmod(path, 0755), 0);
    snprintf(search, sizeof(search), "%s:%s", folder, getenv("PATH"));
    setenv("PATH", search, 1);
    write_file(config, "{\"credsStore\":\"slow\"}");
    special[0] = fine;
    docker_config = config;
    begin = uv_hrtime();
    ask_for(ENGINE_PREPARE, JOB, 1, 500);
    assert_in_range((uv_hrtime() - begin) / 1000000, 500, 2500);
    docker_config = "";
    nothing_special();
    assert_int_equal(heard_count, 0);
    unlink(path);
}

static int set_up_all(void **state)
{
    if (set_up(state) != 0 || !mkdtemp(folder))
        return -1;
    snprintf(secret, sizeof(secret), "%s/password", folder);
    snprintf(config, sizeof(config), "%s/config.json", folder);
    return 0;
}

static int tear_down_all(void **state)
{
    unlink(secret);
    unlink(config);
    rmdir(folder);
    return tear_down(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(credentials_come_from_the_configuration_or_docker),
        cmocka_unit_test(a_refused_pull_tells_of_its_credentials),
        cmocka_unit_test(a_password_that_cannot_be_read_fails_the_start),
        cmocka_unit_test(closing_does_not_wait_for_a_helper),
    };

    return cmocka_run_group_tests_name("docker_pull", tests, set_up_all, tear_down_all);
}
