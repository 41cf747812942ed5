#include "jobs/base/hash.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

/* From the reference implementation: key 00..0f, message 00, 01, ... of the given length. */
static void siphash_gives_the_reference_vectors(void **state)
{
    static const struct {
        size_t size;
        uint64_t hash;
    } vectors[] = {
        {0, UINT64_C(0x726fdb47dd0e0e31)},  {1, UINT64_C(0x74f839c593dc67fd)},
        {7, UINT64_C(0xab0200f58b01d137)},  {8, UINT64_C(0x93f5f5799a932462)},
        {15, UINT64_C(0xa129ca6149be45e5)}, {63, UINT64_C(0x958a324ceb064572)},
    };
    uint8_t key[16], message[64];

    for (size_t i = 0; i < sizeof(key); i++)
        key[i] = (uint8_t)i;
    for (size_t i = 0; i < sizeof(message); i++)
        message[i] = (uint8_t)i;
    for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++)
        assert_int_equal(hash_siphash(key, message, vectors[i].size), vectors[i].hash);
}

static void sha256_gives_the_known_digests(void **state)
{
    char hex[HASH_SHA256_HEX];

    assert_string_equal(hash_sha256_hex(NULL, 0, hex),
                        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_string_equal(hash_sha256_hex("abc", 3, hex),
                        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

/* RFC 4231, cases 1, 2 and 6; and no key at all. */
static void hmac_gives_the_known_codes(void **state)
{
    char hex[HASH_SHA256_HEX];
    uint8_t key[131];

    memset(key, 0x0b, 20);
    assert_string_equal(hash_hmac_hex(key, 20, "Hi There", 8, hex),
                        "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    assert_string_equal(hash_hmac_hex("Jefe", 4, "what do ya want for nothing?", 28, hex),
                        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    memset(key, 0xaa, sizeof(key));
    assert_string_equal(
        hash_hmac_hex(key, sizeof(key), "Test Using Larger Than Block-Size Key - Hash Key First", 54, hex),
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(siphash_gives_the_reference_vectors),
        cmocka_unit_test(sha256_gives_the_known_digests),
        cmocka_unit_test(hmac_gives_the_known_codes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
