/* Snapshots in the tree: chunks and manifests. */
#include "jobs/base/alloc.h"
#include "leader/replicated/replicated_priv.h"

#include <stdio.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define TEXT_BYTES (3 * 1024 * 1024)

/* Like a state: many short objects, none like another. */
static char *make_text(size_t size)
{
    char *text = alloc_zero(size + 64);
    uint64_t x = 88172645463325252;

    for (size_t at = 0; at < size;) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        at += (size_t)snprintf(text + at, 64, "{\"job\":\"job-%llu\",\"cursor\":%llu},",
                               (unsigned long long)(x % 9973), (unsigned long long)x);
    }
    text[size] = '\0';
    return text;
}

struct names {
    char (*items)[CHUNK_NAME_SIZE];
    size_t *sizes;
    size_t count;
};

static struct names cut_all(const char *text, size_t size)
{
    struct names n = {alloc_zero(1024 * CHUNK_NAME_SIZE), alloc_zero(1024 * sizeof(size_t)), 0};

    for (size_t at = 0; at < size; n.count++) {
        assert_true(n.count < 1024);
        n.sizes[n.count] = chunk_cut(text + at, size - at, 0, n.items[n.count]);
        at += n.sizes[n.count];
        assert_true(at <= size);
    }
    return n;
}

static void names_release(struct names *n)
{
    free(n->items);
    free(n->sizes);
}

static void chunks_cover_the_text_within_their_bounds(void **state)
{
    char *text = make_text(TEXT_BYTES);
    struct names n = cut_all(text, TEXT_BYTES);

    (void)state;
    for (size_t i = 0; i < n.count; i++) {
        assert_true(n.sizes[i] <= CHUNK_MOST_BYTES);
        assert_true(i + 1 == n.count || n.sizes[i] >= CHUNK_LEAST_BYTES);
    }
    assert_in_range(n.count, TEXT_BYTES / CHUNK_USUAL_BYTES / 3, TEXT_BYTES / CHUNK_USUAL_BYTES * 3);
    names_release(&n);
    free(text);
}

/* What makes the next snapshot cheap: an insertion moves everything behind it, and yet few chunks change. */
static void a_change_touches_the_chunks_around_it_alone(void **state)
{
    char *text = make_text(TEXT_BYTES), *changed = alloc_zero(TEXT_BYTES + 128);
    struct names before = cut_all(text, TEXT_BYTES), after;
    size_t at = TEXT_BYTES / 2, known = 0;

    (void)state;
    memcpy(changed, text, at);
    memcpy(changed + at, "{\"job\":\"new\"},", 14);
    memcpy(changed + at + 14, text + at, TEXT_BYTES - at);
    after = cut_all(changed, TEXT_BYTES + 14);
    for (size_t i = 0; i < after.count; i++)
        for (size_t j = 0; j < before.count; j++)
            if (strcmp(after.items[i], before.items[j]) == 0) {
                known++;
                break;
            }
    assert_true(after.count - known <= 3);
    names_release(&before);
    names_release(&after);
    free(text);
    free(changed);
}

static void a_chunk_packs_and_unpacks(void **state)
{
    char *text = make_text(CHUNK_MOST_BYTES), *back = alloc_zero(CHUNK_MOST_BYTES), name[CHUNK_NAME_SIZE];
    size_t size = chunk_cut(text, CHUNK_MOST_BYTES, 0, name), packed_size, back_size = 0;
    char *packed = chunk_pack(text, size, &packed_size);
    struct error error = {0};

    (void)state;
    assert_true(packed_size < size / 2);
    assert_int_equal(chunk_unpack(packed, packed_size, name, back, CHUNK_MOST_BYTES, &back_size, &error), 0);
    assert_int_equal(back_size, size);
    assert_memory_equal(back, text, size);
    free(packed);
    free(text);
    free(back);
}

/* However badly it packs. */
static void chunks_pass_servers_that_take_little(void **state)
{
    static char text[400000];
    char name[CHUNK_NAME_SIZE];

    srandom(1);
    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = (char)random();
    for (size_t most = 4096; most < 1000000; most += most / 3)
        for (size_t at = 0; at < sizeof(text);) {
            size_t size = chunk_cut(text + at, sizeof(text) - at, most, name), packed_size;

            free(chunk_pack(text + at, size, &packed_size));
            assert_in_range(packed_size + 2 * COORD_OP_BYTES, 1, most);
            at += size;
        }
}

static void a_damaged_chunk_is_refused(void **state)
{
    char *text = make_text(20000), back[20000], name[CHUNK_NAME_SIZE], other[CHUNK_NAME_SIZE];
    size_t size = chunk_cut(text, 20000, 0, name), packed_size, back_size = 77;
    char *packed = chunk_pack(text, size, &packed_size);
    struct error error = {0};

    (void)state;
    memcpy(other, name, sizeof(other));
    other[0] = other[0] == 'a' ? 'b' : 'a';
    assert_int_equal(chunk_unpack(packed, packed_size, other, back, sizeof(back), &back_size, &error),
                     ERR_CORRUPT);
    assert_int_equal(chunk_unpack(packed, packed_size - 5, name, back, sizeof(back), &back_size, &error),
                     ERR_CORRUPT);
    assert_int_equal(chunk_unpack(packed, packed_size, name, back, size - 1, &back_size, &error),
                     ERR_CORRUPT);
    assert_int_equal(chunk_unpack("nonsense", 8, name, back, sizeof(back), &back_size, &error), ERR_CORRUPT);
    assert_int_equal(back_size, 77);
    free(packed);
    free(text);
}

#define HASH  "0123456789abcdef0123456789abcdef"
#define CHUNK "\"fedcba9876543210fedcba9876543210\""

static void manifests_are_checked(void **state)
{
    static const struct {
        const char *text;
        int rc;
    } cases[] = {
        {"{\"index\":7,\"hash\":\"" HASH
         "\",\"size\":9,\"bytes\":100,\"first\":3,\"trail\":[[1,20]],\"chunks\":[" CHUNK "]}",
         0},
        {"{\"index\":7,\"hash\":\"" HASH "\",\"size\":0,\"bytes\":0,\"first\":1,\"trail\":[],\"chunks\":[]}",
         0},
        {"{\"index\":7,\"hash\":\"" HASH
         "\",\"level\":9,\"size\":0,\"bytes\":0,\"first\":1,\"trail\":[],\"chunks\":[]}",
         0}, /* whoever reads less leaves it alone, see follow.c */
        {"{\"index\":7,\"hash\":\"" HASH
         "\",\"level\":0,\"size\":0,\"bytes\":0,\"first\":1,\"trail\":[],\"chunks\":[]}",
         ERR_CORRUPT},
        {"{\"index\":0,\"hash\":\"" HASH
         "\",\"size\":9,\"bytes\":100,\"first\":3,\"trail\":[],\"chunks\":[]}",
         ERR_CORRUPT},
        {"{\"index\":7,\"hash\":\"short\",\"size\":9,\"bytes\":100,\"first\":3,\"trail\":[],\"chunks\":[]}",
         ERR_CORRUPT},
        {"{\"index\":7,\"hash\":\"" HASH
         "\",\"size\":-1,\"bytes\":100,\"first\":3,\"trail\":[],\"chunks\":[]}",
         ERR_CORRUPT},
        {"{\"index\":7,\"hash\":\"" HASH
         "\",\"size\":9,\"bytes\":100,\"first\":0,\"trail\":[],\"chunks\":[]}",
         ERR_CORRUPT},
        {"{\"index\":7,\"hash\":\"" HASH
         "\",\"size\":9,\"bytes\":100,\"first\":3,\"trail\":[7],\"chunks\":[]}",
         ERR_CORRUPT},
        {"{\"index\":7,\"hash\":\"" HASH
         "\",\"size\":9,\"bytes\":100,\"first\":3,\"trail\":[],\"chunks\":[\"../x\"]}",
         ERR_CORRUPT},
        {"{\"index\":7,\"hash\":\"" HASH
         "\",\"size\":9,\"bytes\":100,\"first\":3,\"trail\":[],\"chunks\":{}}",
         ERR_CORRUPT},
        {"{\"index\":7,\"index\":8,\"hash\":\"" HASH
         "\",\"size\":9,\"bytes\":100,\"first\":3,\"trail\":[],\"chunks\":[]}",
         ERR_CORRUPT},
        {"{\"index\":7}", ERR_CORRUPT},
        {"[]", ERR_CORRUPT},
        {"", ERR_CORRUPT},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct manifest m = {0};
        struct error error = {0};

        assert_int_equal(manifest_parse(&m, cases[i].text, strlen(cases[i].text), &error), cases[i].rc);
        assert_int_equal(m.exists, cases[i].rc == 0);
        assert_true(cases[i].rc == 0 || error.text[0]);
        manifest_release(&m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chunks_cover_the_text_within_their_bounds),
        cmocka_unit_test(a_change_touches_the_chunks_around_it_alone),
        cmocka_unit_test(a_chunk_packs_and_unpacks),
        cmocka_unit_test(chunks_pass_servers_that_take_little),
        cmocka_unit_test(a_damaged_chunk_is_refused),
        cmocka_unit_test(manifests_are_checked),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
