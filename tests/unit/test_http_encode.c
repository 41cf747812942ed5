/* What of a reply depends on how it was asked for: compression, and answers that the client has already. */
#include "cronsched/http/http_encode.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include <cmocka.h>

static void gzip_is_sent_to_those_who_take_it(void **state)
{
    static const char *const yes[] = {"gzip",     "gzip, deflate, br", "deflate,GZIP;q=0.5", "*",
                                      "br;q=1,*", "gzip;q=1.0",        " gzip ; q=0.001",    ",,gzip"};
    static const char *const no[] = {"",      "identity", "gzip;q=0", "gzip; q=0.000", "br, gzip;q=0, *",
                                     "*;q=0", "xgzip",    "gzipx",    "deflate"};

    (void)state;
    assert_false(http_accepts_gzip(NULL));
    for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++)
        if (!http_accepts_gzip(yes[i]))
            fail_msg("refused: %s", yes[i]);
    for (size_t i = 0; i < sizeof(no) / sizeof(no[0]); i++)
        if (http_accepts_gzip(no[i]))
            fail_msg("accepted: %s", no[i]);
}

static void tags_are_compared_weakly(void **state)
{
    char tag[HTTP_TAG_SIZE], other[HTTP_TAG_SIZE], list[200];

    (void)state;
    http_tag_of("abc", 3, tag);
    http_tag_of("abd", 3, other);
    assert_string_not_equal(tag, other);
    assert_true(http_tag_matches(tag, tag));
    assert_true(http_tag_matches(tag + 2, tag)); /* without W/ */
    assert_true(http_tag_matches("*", tag));
    snprintf(list, sizeof(list), "\"a,b\", %s , %s", other, tag);
    assert_true(http_tag_matches(list, tag));
    assert_false(http_tag_matches(NULL, tag));
    assert_false(http_tag_matches("", tag));
    assert_false(http_tag_matches(other, tag));
    assert_false(http_tag_matches("\"open", tag));
    snprintf(list, sizeof(list), "\"x%s", tag + 3);
    assert_false(http_tag_matches(list, tag));
}

/* In pieces as a stream has them: the same bytes come out. */
static void what_is_compressed_comes_out_again(void **state)
{
    size_t size = 300000, got = 0;
    char *bytes = malloc(size), *back = malloc(size + 1);
    struct http_gzip *gzip = http_gzip_new();
    z_stream z = {0};
    struct text out;

    (void)state;
    for (size_t i = 0; i < size; i++)
        bytes[i] = (char)('a' + i * i % 23);
    text_init(&out, SIZE_MAX / 2);
    for (size_t at = 0; at < size; at += 70000)
        assert_int_equal(http_gzip_add(gzip, bytes + at, size - at < 70000 ? size - at : 70000, false, &out),
                         0);
    assert_int_equal(http_gzip_add(gzip, "", 0, true, &out), 0);
    http_gzip_free(gzip);
    assert_true(out.len < size / 4);
    assert_int_equal(inflateInit2(&z, MAX_WBITS + 16), Z_OK);
    z.next_in = (unsigned char *)out.data;
    z.avail_in = (uInt)out.len;
    z.next_out = (unsigned char *)back;
    z.avail_out = (uInt)size + 1;
    assert_int_equal(inflate(&z, Z_FINISH), Z_STREAM_END);
    got = z.total_out;
    inflateEnd(&z);
    assert_int_equal(got, size);
    assert_memory_equal(bytes, back, size);
    text_release(&out);
    free(bytes);
    free(back);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gzip_is_sent_to_those_who_take_it),
        cmocka_unit_test(tags_are_compared_weakly),
        cmocka_unit_test(what_is_compressed_comes_out_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
