/* What may go to a terminal: each character that must not, alone and in pieces. */
#include "jobs/base/printable.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_texts(void **state)
{
    static const struct {
        const char *text, *line, *lines;
    } cases[] = {
        {"", "", ""},
        {"plain", "plain", "plain"},
        {"caf\u00e9 \u4e2d \U0001f600", "caf\u00e9 \u4e2d \U0001f600", "caf\u00e9 \u4e2d \U0001f600"},
        {"a\nb\tc\rd", "a b c d", "a\nb\tc d"},
        {"\x1b[31m\a\x7f", " [31m  ", " [31m  "},
        {"\xc2\x80\xc2\x85\xc2\x9b\xc2\x9f\xc2\xa0", "    \xc2\xa0", "    \xc2\xa0"},
        {"\u061c\u200e\u200f\u2028\u2029\u202a\u202e\u2066\u2069", "         ", "         "},
        {"\u200a\u2010\u2027\u202f\u205f\u2070", "\u200a\u2010\u2027\u202f\u205f\u2070",
         "\u200a\u2010\u2027\u202f\u205f\u2070"},
        /* default ignorable, each range at its ends, and their neighbours */
        {"a\u00ac\u00ad\u00ae\u034e\u034f\u0350", "a\u00ac \u00ae\u034e \u0350",
         "a\u00ac \u00ae\u034e \u0350"},
        {"\u115f\u1160\u17b4\u17b5\u180b\u180f", "      ", "      "},
        {"\u200b\u200d\u2060\u2065\u206f\u3164", "      ", "      "},
        {"\ufe00\ufe0f\ufeff\uffa0\ufff0\ufffb\ufffc", "      \ufffc", "      \ufffc"},
        {"\U0001bca0\U0001bca3\U0001d173\U0001d17a", "    ", "    "},
        {"\U000e0001\U000e0fff\U000e1000", "  \U000e1000", "  \U000e1000"},
        {"\x9b"
         "31m\xff\xc3",
         "?31m??", "?31m??"},
        {"\xe2\x80", "??", "??"},             /* cut off */
        {"\xc0\x9b", "??", "??"},             /* overlong */
        {"\xed\xa0\x80", "???", "???"},       /* a surrogate */
        {"\xf4\x90\x80\x80", "????", "????"}, /* beyond Unicode */
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[64];

        snprintf(text, sizeof(text), "%s", cases[i].text);
        printable_text(text, false);
        assert_string_equal(text, cases[i].line);
        snprintf(text, sizeof(text), "%s", cases[i].text);
        printable_text(text, true);
        assert_string_equal(text, cases[i].lines);
    }
}

/* However it is cut, what comes out is the same. */
static void test_pieces(void **state)
{
    static const char text[] = "a\xc2\x9b\x1b[m\u202e\U0001f600\xff\xe2\x80z\n\xf0\x9f\x98";
    char whole[sizeof(text)];

    memcpy(whole, text, sizeof(text));
    printable_text(whole, true);
    for (size_t piece = 1; piece < sizeof(text); piece++) {
        struct printable_stream stream = {0};
        char out[sizeof(text) + PRINTABLE_HELD_MAX];
        size_t n = 0;

        for (size_t at = 0; at < sizeof(text) - 1; at += piece) {
            size_t left = sizeof(text) - 1 - at;

            n += printable_stream(&stream, text + at, left < piece ? left : piece, out + n);
        }
        n += printable_stream(&stream, NULL, 0, out + n);
        assert_int_equal(n, strlen(whole));
        assert_memory_equal(out, whole, n);
    }
}

static void test_values(void **state)
{
    json_t *value = json_pack("{s:s, s:[s,{s:s}], s:i, s:n, s:s}", "b\x1b", "x\xc2\x9by\n", "list", "\u202e",
                              "k\x7f", "v", "n", 7, "null", "z", "fine");
    char *dump;
    struct text text;

    assert_int_equal(printable_value(&value), 0);
    dump = json_dumps(value, JSON_COMPACT);
    assert_string_equal(
        dump, "{\"b \":\"x y\\n\",\"list\":[\" \",{\"k \":\"v\"}],\"n\":7,\"null\":null,\"z\":\"fine\"}");
    free(dump);
    json_decref(value);

    text_init(&text, 1000);
    printable_add_json(&text, "{\"a\":\"\xc2\x9b\u202e\x7f\u00e9\"}\n",
                       strlen("{\"a\":\"\xc2\x9b\u202e\x7f\u00e9\"}\n"));
    assert_string_equal(text_str(&text), "{\"a\":\"\\u009b\\u202e\\u007f\u00e9\"}\n");
    text_clear(&text);
    printable_add_json(&text, "\"\u00ad\U0001d173\U000e0041\xff\"",
                       strlen("\"\u00ad\U0001d173\U000e0041\xff\""));
    assert_string_equal(text_str(&text), "\"\\u00ad\\ud834\\udd73\\udb40\\udc41?\"");
    text_release(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_values),
    };

    return cmocka_run_group_tests_name("printable", tests, NULL, NULL);
}
