/* The table of ZooKeeper's answers, and what the ensemble says of its servers. Real servers are in
 * tests/integration/test_coordinator_answers.c. */
#include "leader/zookeeper/zookeeper_answer.h"
#include "leader/zookeeper/zookeeper_config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <zookeeper/zookeeper.h>

#define LEAST_CODE (-1000)

/* An answer that is not the connection's end must not be taken for one, whatever its number. */
static void unknown_answers_are_refusals_with_their_number(void **state)
{
    char text[ZOOKEEPER_ANSWER_TEXT], number[16];

    for (int code = LEAST_CODE; code < 0; code++) {
        zookeeper_answer_text(code, text);
        snprintf(number, sizeof(number), "(%d)", code);
        assert_non_null(strstr(text, number));
        if (zookeeper_answer_find(code))
            continue;
        assert_int_equal(zookeeper_answer_result(code), COORD_FAILED);
        assert_int_equal(zookeeper_answer_class(code), ZOOKEEPER_REFUSED);
    }
    assert_string_equal(zookeeper_answer_text(0, text), "");
}

/* The numbers are the library's own, and none of its codes is missing. */
static void all_codes_of_the_library_are_there(void **state)
{
    static const struct {
        int code;
        const char *name;
    } codes[] = {
#define CODE(name) {Z##name, #name}
        CODE(OK),
        CODE(SYSTEMERROR),
        CODE(RUNTIMEINCONSISTENCY),
        CODE(DATAINCONSISTENCY),
        CODE(CONNECTIONLOSS),
        CODE(MARSHALLINGERROR),
        CODE(UNIMPLEMENTED),
        CODE(OPERATIONTIMEOUT),
        CODE(BADARGUMENTS),
        CODE(INVALIDSTATE),
        CODE(NEWCONFIGNOQUORUM),
        CODE(RECONFIGINPROGRESS),
        CODE(SSLCONNECTIONERROR),
        CODE(APIERROR),
        CODE(NONODE),
        CODE(NOAUTH),
        CODE(BADVERSION),
        CODE(NOCHILDRENFOREPHEMERALS),
        CODE(NODEEXISTS),
        CODE(NOTEMPTY),
        CODE(SESSIONEXPIRED),
        CODE(INVALIDCALLBACK),
        CODE(INVALIDACL),
        CODE(AUTHFAILED),
        CODE(CLOSING),
        CODE(NOTHING),
        CODE(SESSIONMOVED),
        CODE(NOTREADONLY),
        CODE(EPHEMERALONLOCALSESSION),
        CODE(NOWATCHER),
        CODE(RECONFIGDISABLED),
        CODE(SESSIONCLOSEDREQUIRESASLAUTH),
        CODE(THROTTLEDOP),
#undef CODE
    };

    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        const struct zookeeper_answer *a = zookeeper_answer_find(codes[i].code);

        assert_non_null(a);
        assert_string_equal(a->name, codes[i].name);
    }
    for (int code = LEAST_CODE; code < 0; code++) /* those that this library has a text for */
        if (strcmp(zerror(code), "unknown error") != 0)
            assert_non_null(zookeeper_answer_find(code));
}

/* What the core is told goes by the class: only what is in doubt, or the end, is a lost answer. */
static void class_and_result_agree(void **state)
{
    for (int code = LEAST_CODE; code <= 0; code++) {
        enum zookeeper_class class = zookeeper_answer_class(code);
        bool lost = class == ZOOKEEPER_UNCERTAIN || class == ZOOKEEPER_GONE;

        assert_int_equal(lost, zookeeper_answer_result(code) == COORD_LOST);
        assert_int_equal(class == ZOOKEEPER_DONE, zookeeper_answer_result(code) == COORD_OK);
    }
    assert_int_equal(zookeeper_answer_class(-125), ZOOKEEPER_REFUSED);
    assert_int_equal(zookeeper_answer_class(ZTHROTTLEDOP), ZOOKEEPER_NOT_APPLIED);
    assert_int_equal(zookeeper_answer_class(ZMARSHALLINGERROR), ZOOKEEPER_UNCERTAIN);
    assert_int_equal(zookeeper_answer_class(ZSESSIONMOVED), ZOOKEEPER_GONE);
}

static void servers_are_read_from_the_configuration(void **state)
{
    struct zookeeper_config_server s[ZOOKEEPER_CONFIG_SERVERS_MAX];

    assert_int_equal(zookeeper_config_read("server.1=zk1:2888:3888:participant;0.0.0.0:2181\n"
                                           "server.2=10.0.0.2:2888:3888:participant;10.1.0.2:2182\n"
                                           "server.3=[fd00::3]:2888:3888:observer;2183\n"
                                           "server.4=zk4:2888:3888|zk4b:2889:3889:participant\n"
                                           "server.5=\n"
                                           "version=100000000",
                                           s),
                     4);
    assert_string_equal(s[0].host, "zk1");
    assert_string_equal(s[0].port, "2181");
    assert_string_equal(s[1].host, "10.1.0.2");
    assert_string_equal(s[1].port, "2182");
    assert_string_equal(s[2].host, "fd00::3");
    assert_string_equal(s[2].port, "2183");
    assert_string_equal(s[3].host, "zk4");
    assert_string_equal(s[3].port, "");
    assert_int_equal(zookeeper_config_read("version=0", s), 0);
    assert_int_equal(zookeeper_config_read("", s), 0);
}

static void differences_are_found_both_ways(void **state)
{
    static const char config[] = "server.1=127.0.0.1:2888:3888:participant;127.0.0.1:2181\n"
                                 "server.2=127.0.0.2:2888:3888:participant\n"
                                 "server.3=127.0.0.3:2888:3888:participant;2181\nversion=0";
    struct zookeeper_config_differences d;

    assert_true(zookeeper_config_compare(config, "localhost,127.0.0.2:9999,[127.0.0.3]:2181/root", &d));
    assert_int_equal(d.missing_count, 0);
    assert_int_equal(d.strange_count, 0);
    assert_true(zookeeper_config_compare(config, "127.0.0.1:2181,127.0.0.4:2181,127.0.0.3:2182", &d));
    assert_int_equal(d.missing_count, 2);
    assert_string_equal(d.missing[0].host, "127.0.0.2");
    assert_string_equal(d.missing[1].host, "127.0.0.3");
    assert_int_equal(d.strange_count, 2);
    assert_string_equal(d.strange[0].host, "127.0.0.4");
    assert_string_equal(d.strange[1].port, "2182");
    assert_true(zookeeper_config_compare(config, "127.0.0.1:2181,localhost:2181,127.0.0.2:1,127.0.0.3", &d));
    assert_int_equal(d.missing_count + d.strange_count, 0); /* one has two names */
    assert_false(zookeeper_config_compare("", "127.0.0.1:2181", &d));
    assert_int_equal(d.missing_count + d.strange_count, 0);
}

/* A client port in the static file of a server is not in /zookeeper/config. */
static void a_server_that_does_not_tell_its_port_is_one_of_its_host(void **state)
{
    static const char config[] = "server.1=127.0.0.1:2888:3888:participant\n"
                                 "server.2=127.0.0.1:2889:3889:participant\nversion=0";
    struct zookeeper_config_differences d;

    assert_true(zookeeper_config_compare(config, "127.0.0.1:2181,127.0.0.1:2182", &d));
    assert_int_equal(d.missing_count + d.strange_count, 0);
    assert_true(zookeeper_config_compare(config, "127.0.0.1:2181,127.0.0.1:2182,127.0.0.1:1", &d));
    assert_int_equal(d.missing_count, 0);
    assert_int_equal(d.strange_count, 1);
    assert_string_equal(d.strange[0].port, "1");
    assert_true(zookeeper_config_compare(config, "127.0.0.1:2181", &d));
    assert_int_equal(d.missing_count, 1);
    assert_string_equal(d.missing[0].port, "");
    assert_int_equal(d.strange_count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unknown_answers_are_refusals_with_their_number),
        cmocka_unit_test(all_codes_of_the_library_are_there),
        cmocka_unit_test(class_and_result_agree),
        cmocka_unit_test(servers_are_read_from_the_configuration),
        cmocka_unit_test(differences_are_found_both_ways),
        cmocka_unit_test(a_server_that_does_not_tell_its_port_is_one_of_its_host),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
