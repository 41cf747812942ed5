/* The reader of zone files: the system's zones, files made here in every version, and hostile ones. That each
 * zone of tzdata gives the right offsets is checked against Python by tests/unit/zone_oracle.py. */
#include "jobs/time/zone.h"
#include "jobs/time/zone_advice.h"

#include "jobs/time/civil.h"
#include "jobs/time/zoneinfo.h"
#include "tests/support/naive_cron.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- files made here ---- */

struct file {
    uint8_t bytes[4096];
    size_t size;
};

static void put(struct file *f, const void *bytes, size_t size)
{
    assert_true(f->size + size <= sizeof(f->bytes));
    memcpy(f->bytes + f->size, bytes, size);
    f->size += size;
}

static void put_be(struct file *f, uint64_t value, int bytes)
{
    for (int i = bytes - 1; i >= 0; i--) {
        uint8_t byte = (uint8_t)(value >> (8 * i));

        put(f, &byte, 1);
    }
}

struct change {
    int64_t at_s;
    int type;
};

static void put_block(struct file *f, char version, int time_bytes, const int32_t *offsets, int types,
                      const struct change *changes, int count)
{
    static const uint8_t zeros[15];

    put(f, "TZif", 4);
    put(f, &version, 1);
    put(f, zeros, 15);
    put_be(f, 0, 4); /* isut */
    put_be(f, 0, 4); /* isstd */
    put_be(f, 0, 4); /* leap */
    put_be(f, (uint64_t)count, 4);
    put_be(f, (uint64_t)types, 4);
    put_be(f, 4, 4);
    for (int i = 0; i < count; i++)
        put_be(f, (uint64_t)changes[i].at_s, time_bytes);
    for (int i = 0; i < count; i++)
        put_be(f, (uint64_t)changes[i].type, 1);
    for (int i = 0; i < types; i++) {
        put_be(f, (uint32_t)offsets[i], 4);
        put(f, zeros, 2);
    }
    put(f, "ABC", 4);
}

static const int32_t two_offsets[] = {3600, 7200};
static const struct change two_changes[] = {{1000000, 1}, {2000000, 0}};

/* A slim file: an empty 32-bit block, the 64-bit one, a footer. */
static void make_file(struct file *f, char version, const char *footer)
{
    *f = (struct file){.size = 0};
    put_block(f, version, 4, two_offsets, 1, NULL, 0);
    put_block(f, version, 8, two_offsets, 2, two_changes, 2);
    put(f, "\n", 1);
    put(f, footer, strlen(footer));
    put(f, "\n", 1);
}

static void versions_1_to_4_are_read(void **state)
{
    struct zone *zone;
    struct file f = {.size = 0};

    put_block(&f, '\0', 4, two_offsets, 2, two_changes, 2);
    assert_int_equal(zone_parse(f.bytes, f.size, "X/Y", &zone, NULL), 0);
    assert_string_equal(zone->name, "X/Y");
    assert_int_equal(zone->count, 3);
    assert_int_equal(zone_offset(zone, 999999), 3600);
    assert_int_equal(zone_offset(zone, 1000000), 7200);
    assert_int_equal(zone_offset(zone, 2000000), 3600);
    assert_int_equal(zone_offset(zone, INT64_MIN), 3600);
    assert_int_equal(zone_offset(zone, INT64_MAX - 1), 3600);
    zone_free(zone);
    for (char version = '2'; version <= '4'; version++) {
        make_file(&f, version, "");
        assert_int_equal(zone_parse(f.bytes, f.size, "X", &zone, NULL), 0);
        assert_int_equal(zone->count, 3); /* an empty footer: the last offset stays */
        zone_free(zone);
        make_file(&f, version, "ABC-1");
        assert_int_equal(zone_parse(f.bytes, f.size, "X", &zone, NULL), 0);
        assert_int_equal(zone->count, 3);
        zone_free(zone);
    }
}

/* The rule, an instant, the offset then. */
static void footers_are_expanded_to_2200(void **state)
{
    static const struct {
        const char *footer, *at;
        int offset_s;
    } cases[] = {
        {"EST5EDT,M3.2.0,M11.1.0", "2199-07-01T00:00:00Z", -4 * 3600},
        {"EST5EDT,M3.2.0,M11.1.0", "2199-12-31T00:00:00Z", -5 * 3600},
        {"EST5EDT,M3.2.0,M11.1.0", "2026-03-08T06:59:59Z", -5 * 3600},
        {"EST5EDT,M3.2.0,M11.1.0", "2026-03-08T07:00:00Z", -4 * 3600},
        {"IST-1GMT0,M10.5.0,M3.5.0/1", "2026-07-01T00:00:00Z", 3600}, /* DST in winter, below standard time */
        {"IST-1GMT0,M10.5.0,M3.5.0/1", "2026-12-01T00:00:00Z", 0},
        {"<-02>2<-01>,M3.5.0/-1,M10.5.0/0", "2026-03-29T00:59:59Z", -2 * 3600}, /* Nuuk: negative hours */
        {"<-02>2<-01>,M3.5.0/-1,M10.5.0/0", "2026-03-29T01:00:00Z", -3600},
        {"EET-2EEST,M3.4.4/50,M10.4.4/50", "2026-03-27T23:59:59Z",
         7200}, /* Gaza: 50 hours after a Thursday */
        {"EET-2EEST,M3.4.4/50,M10.4.4/50", "2026-03-28T00:00:00Z", 3 * 3600},
        {"<+1030>-10:30<+11>-11,M10.1.0,M4.1.0", "2026-01-01T00:00:00Z", 11 * 3600}, /* Lord Howe */
        {"<+1030>-10:30<+11>-11,M10.1.0,M4.1.0", "2026-07-01T00:00:00Z", 10 * 3600 + 1800},
        {"XXX3EDT4,0/0,J365/23", "2026-01-01T02:59:59Z", -4 * 3600}, /* DST all the year */
        {"XXX3EDT4,0/0,J365/23", "2026-01-01T03:00:00Z", -4 * 3600},
        {"XXX3EDT4,0/0,J365/23", "2026-07-01T00:00:00Z", -4 * 3600},
        {"AAA0BBB,J60/0,J61/0", "2024-03-01T12:00:00Z", 3600}, /* J60 is 1 March in leap years as well */
        {"AAA0BBB,59/0,60/0", "2024-02-29T12:00:00Z", 3600},   /* 59 counts 29 February */
        {"AAA0BBB,59/0,60/0", "2025-03-01T12:00:00Z", 3600},
        {"AAA0", "2026-07-01T00:00:00Z",
         3600}, /* the last change of the file counts until a rule changes it */
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        struct civil_text at;
        struct zone *zone;
        struct file f;

        make_file(&f, '3', cases[i].footer);
        assert_int_equal(zone_parse(f.bytes, f.size, "X", &zone, NULL), 0);
        assert_int_equal(civil_parse(cases[i].at, strlen(cases[i].at), &at, NULL, NULL), 0);
        if (zone_offset(zone, at.local_s) != cases[i].offset_s)
            fail_msg("%s at %s: %d", cases[i].footer, cases[i].at, zone_offset(zone, at.local_s));
        zone_free(zone);
    }
}

static void footers_that_are_no_rules_are_refused(void **state)
{
    static const char *const footers[] = {
        "X",
        "AB0",
        "ABC",
        "ABC25",
        "ABC1DEF",
        "ABC1DEF,M3.2.0",
        ":Europe",
        "ABC1DEF,",
        "ABC1DEF,M0.1.0,M1.1.0",
        "ABC1DEF,M13.1.0,M1.1.0",
        "ABC1DEF,M1.6.0,M1.1.0",
        "ABC1DEF,M1.1.7,M1.1.0",
        "ABC1DEF,J0,J1",
        "ABC1DEF,J366,J1",
        "ABC1DEF,366,1",
        "ABC1DEF,1/168,2",
        "<AB>1",
        "<ABC1",
        "ABC1:60",
        "ABC1 ",
        "ABC1DEF,M3.2.0,M11.1.0x",
    };

    for (size_t i = 0; i < COUNT(footers); i++) {
        struct zone *zone;
        struct file f;

        make_file(&f, '3', footers[i]);
        if (zone_parse(f.bytes, f.size, "X", &zone, NULL) != ERR_CORRUPT)
            fail_msg("'%s' is accepted", footers[i]);
    }
}

/* ---- hostile files ---- */

static void every_prefix_of_a_file_is_refused(void **state)
{
    struct zone *zone;
    struct file f;

    make_file(&f, '2', "EST5EDT,M3.2.0,M11.1.0");
    for (size_t n = 0; n < f.size; n++) {
        uint8_t *exact = malloc(n + 1); /* so that a sanitizer sees a read too far */

        assert_non_null(exact);
        memcpy(exact, f.bytes, n);
        if (zone_parse(exact, n, "X", &zone, NULL) >= 0)
            fail_msg("%zu of %zu bytes are accepted", n, f.size);
        free(exact);
    }
}

/* What a table promises, whatever bytes made it. */
static void check_table(const struct zone *zone)
{
    assert_true(zone->count >= 1);
    assert_true(zone->start_s[0] == INT64_MIN && zone->start_s[zone->count] == INT64_MAX);
    for (uint32_t i = 0; i < zone->count; i++) {
        assert_true(zone->start_s[i] < zone->start_s[i + 1]);
        assert_true(i == 0 || zone->offset_s[i] != zone->offset_s[i - 1]);
        assert_true(zone->offset_s[i] >= zone->offset_min_s && zone->offset_s[i] <= zone->offset_max_s);
    }
    assert_true(zone->offset_min_s > -ZONE_OFFSET_MAX && zone->offset_max_s < ZONE_OFFSET_MAX);
}

static void damaged_files_give_an_error_or_a_sound_table(void **state)
{
    struct file f, damaged;

    random_state = 3;
    make_file(&f, '2', "EST5EDT,M3.2.0,M11.1.0");
    for (int round = 0; round < 20000; round++) {
        struct zone *zone;

        damaged = f;
        for (int i = 0; i <= random_below(3); i++)
            damaged.bytes[random_below((int)f.size)] = (uint8_t)random_u64();
        if (zone_parse(damaged.bytes, damaged.size, "X", &zone, NULL) == 0) {
            check_table(zone);
            zone_free(zone);
        }
    }
}

/* Sums of such a time and an offset overflowed. */
static void changes_at_the_ends_of_time_are_refused(void **state)
{
    static const int64_t ends[] = {INT64_MAX, INT64_MAX - 60000, (INT64_C(1) << 59) + 1,
                                   -(INT64_C(1) << 59) - 1, INT64_MIN};

    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        struct error error = {0};
        struct zone *zone;
        struct file f = {.size = 0};

        put_block(&f, '2', 4, two_offsets, 1, NULL, 0);
        put_block(&f, '2', 8, two_offsets, 2, &(struct change){ends[i], 1}, 1);
        put(&f, "\n\n", 2);
        assert_int_equal(zone_parse(f.bytes, f.size, "X", &zone, &error), ERR_CORRUPT);
        assert_non_null(strstr(error.text, "Big Bang"));
    }
}

static void leap_seconds_and_huge_files_are_refused(void **state)
{
    uint8_t *huge = calloc(1, ZONE_FILE_MAX + 1);
    struct zone *zone;
    struct file f;

    make_file(&f, '2', "");
    memcpy(huge, f.bytes, f.size);
    assert_int_equal(zone_parse(huge, ZONE_FILE_MAX, "X", &zone, NULL), 0);
    zone_free(zone);
    assert_int_equal(zone_parse(huge, ZONE_FILE_MAX + 1, "X", &zone, NULL), ERR_CORRUPT);
    free(huge);
    if (access("/usr/share/zoneinfo/right/UTC", R_OK) == 0) {
        FILE *file = fopen("/usr/share/zoneinfo/right/UTC", "rb");

        assert_non_null(file);
        f.size = fread(f.bytes, 1, sizeof(f.bytes), file);
        fclose(file);
        assert_int_equal(zone_parse(f.bytes, f.size, "X", &zone, NULL), ERR_UNSUPPORTED);
    }
}

/* ---- names ---- */

static void names_stay_inside_the_folder(void **state)
{
    static const char *const fine[] = {"UTC",        "Europe/Paris", "America/Argentina/Buenos_Aires",
                                       "Etc/GMT+12", "EST5EDT",      "America/Port-au-Prince"};
    static const char *const bad[] = {"",
                                      "/",
                                      "/etc/passwd",
                                      "../etc/passwd",
                                      "Europe/../Paris",
                                      "Europe//Paris",
                                      "Europe/",
                                      "a/b/c/d",
                                      "posix/UTC",
                                      "right/UTC",
                                      "right",
                                      "posixrules",
                                      "localtime",
                                      "zone.tab",
                                      "Europe/Paris ",
                                      "Europe\\Paris",
                                      "Éurope",
                                      "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};

    for (size_t i = 0; i < COUNT(fine); i++)
        if (!zone_name_valid(fine[i], strlen(fine[i])))
            fail_msg("'%s' is refused", fine[i]);
    for (size_t i = 0; i < COUNT(bad); i++)
        if (zone_name_valid(bad[i], strlen(bad[i])))
            fail_msg("'%s' is accepted", bad[i]);
    assert_false(zone_name_valid("UTC\0", 4));
}

/* ---- wall time to UTC ---- */

static void wall_times_map_to_instants(void **state)
{
    static const struct {
        const char *zone, *local, *instant;
        enum zone_fit fit;
    } cases[] = {
        {"Europe/Paris", "2026-03-29T01:59:59", "2026-03-29T00:59:59Z", ZONE_ONCE},
        {"Europe/Paris", "2026-03-29T02:00:00", "2026-03-29T01:00:00Z", ZONE_NONE},
        {"Europe/Paris", "2026-03-29T02:59:59", "2026-03-29T01:00:00Z", ZONE_NONE},
        {"Europe/Paris", "2026-03-29T03:00:00", "2026-03-29T01:00:00Z", ZONE_ONCE},
        {"Europe/Paris", "2026-10-25T01:59:59", "2026-10-24T23:59:59Z", ZONE_ONCE},
        {"Europe/Paris", "2026-10-25T02:00:00", "2026-10-25T00:00:00Z", ZONE_TWICE},
        {"Europe/Paris", "2026-10-25T02:59:59", "2026-10-25T00:59:59Z", ZONE_TWICE},
        {"Europe/Paris", "2026-10-25T03:00:00", "2026-10-25T02:00:00Z", ZONE_ONCE},
        {"Pacific/Apia", "2011-12-30T09:00:00", "2011-12-30T10:00:00Z", ZONE_NONE},
        {"Africa/Monrovia", "1971-06-01T00:00:00", "1971-06-01T00:44:30Z", ZONE_ONCE}, /* seconds */
    };
    struct zoneinfo *zoneinfo;

    assert_int_equal(zoneinfo_new(&zoneinfo, "/usr/share/zoneinfo", NULL), 0);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct zone_source *source = zoneinfo_source(zoneinfo);
        struct civil_text local, instant;
        const struct zone *zone;
        enum zone_fit fit;
        int64_t at_s;

        assert_int_equal(source->get(source, cases[i].zone, &zone, NULL), 0);
        assert_int_equal(civil_parse(cases[i].local, strlen(cases[i].local), &local, NULL, NULL), 0);
        assert_int_equal(civil_parse(cases[i].instant, strlen(cases[i].instant), &instant, NULL, NULL), 0);
        at_s = zone_instant(zone, local.local_s, &fit);
        if (at_s != instant.local_s || fit != cases[i].fit)
            fail_msg("%s %s: %lld, fit %d", cases[i].zone, cases[i].local, (long long)at_s, fit);
        source->put(source, zone);
    }
    zoneinfo_free(zoneinfo);
}

/* ---- the folder ---- */

struct folder {
    char path[64];
    struct zoneinfo *zoneinfo;
    struct zone_source *source;
};

static void write_file(const struct folder *folder, const char *name, const void *bytes, size_t size)
{
    char path[256];
    FILE *file;

    snprintf(path, sizeof(path), "%s/%s", folder->path, name);
    unlink(path); /* packages replace files, they do not write into them */
    file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    fclose(file);
}

static void write_zone(const struct folder *folder, const char *name, const char *footer)
{
    struct file f;

    make_file(&f, '2', footer);
    write_file(folder, name, f.bytes, f.size);
}

static int make_folder(void **state)
{
    struct folder *folder = calloc(1, sizeof(*folder));
    char path[128];

    if (!folder)
        return -1;
    snprintf(folder->path, sizeof(folder->path), "/tmp/test_zone.XXXXXX");
    if (!mkdtemp(folder->path))
        return -1;
    snprintf(path, sizeof(path), "%s/Test", folder->path);
    if (mkdir(path, 0700) < 0)
        return -1;
    write_zone(folder, "Test/City", "ABC-1");
    write_zone(folder, "Test/Other", "ABC-1");
    write_file(folder, "tzdata.zi", "# version 2026a\nZ x 0 - UTC\n", 29);
    *state = folder;
    if (zoneinfo_new(&folder->zoneinfo, folder->path, NULL) < 0)
        return -1;
    folder->source = zoneinfo_source(folder->zoneinfo);
    return 0;
}

static int remove_folder(void **state)
{
    static const char *const files[] = {"Test/City", "Test/Other", "Test/New", "Test/Bad", "tzdata.zi",
                                        "+VERSION",  "Test/Pipe",  "Test",     ""};
    struct folder *folder = *state;
    char path[128];

    zoneinfo_free(folder->zoneinfo);
    for (size_t i = 0; i < COUNT(files); i++) {
        snprintf(path, sizeof(path), "%s/%s", folder->path, files[i]);
        remove(path);
    }
    free(folder);
    return 0;
}

static void zones_are_shared_and_failures_are_not_kept(void **state)
{
    struct folder *folder = *state;
    const struct zone *a, *b;
    struct error error;

    assert_int_equal(folder->source->get(folder->source, "Test/City", &a, NULL), 0);
    assert_int_equal(folder->source->get(folder->source, "Test/City", &b, NULL), 0);
    assert_ptr_equal(a, b);
    folder->source->put(folder->source, a);
    folder->source->put(folder->source, b);
    assert_int_equal(folder->source->get(folder->source, "Test/New", &a, &error), ERR_NOT_FOUND);
    write_zone(folder, "Test/New", "ABC-1");
    assert_int_equal(folder->source->get(folder->source, "Test/New", &a, &error), 0);
    folder->source->put(folder->source, a);
}

/* Not by their spelling: a near one is another place's, or hours away. */
static void abbreviations_and_offsets_get_advice(void **state)
{
    static const struct {
        const char *name, *advice; /* NULL: none */
    } cases[] = {
        {"CST", "America/Chicago, or Asia/Shanghai"},
        {"cst", "America/Chicago"},
        {"PST", "America/Los_Angeles"},
        {"BST", "Europe/London"},
        {"IST", "Asia/Kolkata"},
        {"CEST", "Europe/Paris"},
        {"AEST", "Australia/Sydney"},
        {"XYZT", "an abbreviation is not a zone: write one such as"},
        {"GMT+2", "or Etc/GMT-2, whose sign is the other way round"},
        {"GMT-3", "Etc/GMT+3"},
        {"UTC+1", "Etc/GMT-1"},
        {"utc+01:00", "Etc/GMT-1"},
        {"+02:00", "Etc/GMT-2"},
        {"-0500", "Etc/GMT+5"},
        {"UTC+5:30", "an offset is not a zone: write one such as Europe/Paris"},
        {"GMT-13", "an offset is not a zone: write one such as Europe/Paris"},
        {"EST5", "a text for TZ"},
        {"CET-1CEST", "a text for TZ"},
        {"GMT+15", "a text for TZ"},
        {"X", NULL},
        {"City", NULL},
        {"Mars/Olympus", NULL},
        {"", NULL},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char buffer[ZONE_ADVICE_MAX];
        const char *advice = zone_advice(cases[i].name, buffer);

        if (!advice != !cases[i].advice || (advice && !strstr(advice, cases[i].advice)))
            fail_msg("%s: %s, not %s", cases[i].name, advice ? advice : "nothing",
                     cases[i].advice ? cases[i].advice : "nothing");
    }
}

static void wrong_names_get_a_hint(void **state)
{
    struct folder *folder = *state;
    const struct zone *zone;
    struct error error;

    assert_int_equal(folder->source->get(folder->source, "Test/Citty", &zone, &error), ERR_NOT_FOUND);
    assert_string_equal(error.text, "unknown time zone 'Test/Citty'; did you mean 'Test/City'?");
    assert_int_equal(folder->source->get(folder->source, "City", &zone, &error), ERR_NOT_FOUND);
    assert_string_equal(error.text, "unknown time zone 'City'; did you mean 'Test/City'?");
    assert_int_equal(folder->source->get(folder->source, "Mars/Olympus", &zone, &error), ERR_NOT_FOUND);
    assert_string_equal(error.text, "unknown time zone 'Mars/Olympus'");
    assert_int_equal(folder->source->get(folder->source, "../Test/City", &zone, &error), ERR_INVALID);
    assert_int_equal(folder->source->get(folder->source, "Test", &zone, &error), ERR_NOT_FOUND);
}

/* The name next to it by its letters would be another place, and the sign of Etc/GMT+2 is not what is meant. */
static void abbreviations_and_offsets_get_a_place(void **state)
{
    static const struct {
        const char *name, *hint;
    } cases[] = {
        {"CST", "an abbreviation is not a zone: write America/Chicago, or Asia/Shanghai"},
        {"pst", "an abbreviation is not a zone: write America/Los_Angeles, or Asia/Manila"},
        {"BST", "an abbreviation is not a zone: write Europe/London"},
        {"IST", "an abbreviation is not a zone: write Asia/Kolkata, or Europe/Dublin or Asia/Jerusalem"},
        {"MEZ", "an abbreviation is not a zone: write Europe/Berlin"},
        {"GMT+2", "an offset is not a zone: write one such as Europe/Paris, or Etc/GMT-2, whose sign is the "
                  "other way round"},
        {"UTC-5", "an offset is not a zone: write one such as Europe/Paris, or Etc/GMT+5, whose sign is the "
                  "other way round"},
    };
    struct folder *folder = *state;
    const struct zone *zone;
    struct error error;
    char text[512];

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        snprintf(text, sizeof(text), "unknown time zone '%s'; %s", cases[i].name, cases[i].hint);
        assert_int_equal(folder->source->get(folder->source, cases[i].name, &zone, &error), ERR_NOT_FOUND);
        assert_string_equal(error.text, text);
    }
}

static void damaged_files_and_pipes_harm_nothing(void **state)
{
    struct folder *folder = *state;
    const struct zone *zone;
    struct error error;
    char path[128];

    write_file(folder, "Test/Bad", "TZif2", 5);
    assert_int_equal(folder->source->get(folder->source, "Test/Bad", &zone, &error), ERR_CORRUPT);
    assert_string_equal(error.text, "time zone 'Test/Bad': the zone file is not valid: no TZif header");
    snprintf(path, sizeof(path), "%s/Test/Pipe", folder->path);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(folder->source->get(folder->source, "Test/Pipe", &zone, &error), ERR_NOT_FOUND);
}

static void note_change(void *arg, const char *name)
{
    strncat(arg, name, 63 - strlen(arg));
    strncat(arg, ";", 63 - strlen(arg));
}

static void a_reload_names_the_zones_that_changed(void **state)
{
    struct folder *folder = *state;
    const struct zone *city, *other, *city_again;
    char changed[64] = "";

    assert_string_equal(zoneinfo_version(folder->zoneinfo), "2026a");
    assert_int_equal(folder->source->get(folder->source, "Test/City", &city, NULL), 0);
    assert_int_equal(folder->source->get(folder->source, "Test/Other", &other, NULL), 0);
    assert_false(zoneinfo_stale(folder->zoneinfo));
    write_zone(folder, "Test/City", "ABC-1DEF,M3.5.0,M10.5.0");
    write_zone(folder, "Test/Other", "ABC-1");
    write_file(folder, "tzdata.zi", "# version 2026b\nZ x 0 - UTC\n#", 30);
    assert_true(zoneinfo_stale(folder->zoneinfo));

    assert_int_equal(zoneinfo_reload(folder->zoneinfo, note_change, changed), 1);
    assert_string_equal(changed, "Test/City;");
    assert_string_equal(folder->source->version(folder->source), "2026b");
    assert_false(zoneinfo_stale(folder->zoneinfo));
    assert_int_equal(city->count, 3); /* who holds the old one keeps it */
    assert_int_equal(folder->source->get(folder->source, "Test/City", &city_again, NULL), 0);
    assert_ptr_not_equal(city, city_again);
    assert_true(city_again->count > 3);
    assert_int_equal(zoneinfo_reload(folder->zoneinfo, note_change, changed), 0);
    folder->source->put(folder->source, city);
    folder->source->put(folder->source, city_again);
    folder->source->put(folder->source, other);
}

static void a_reload_without_files_keeps_the_zones(void **state)
{
    struct folder *folder = *state;
    const struct zone *city;
    char changed[64] = "", path[128];

    assert_int_equal(folder->source->get(folder->source, "Test/City", &city, NULL), 0);
    snprintf(path, sizeof(path), "%s/Test/City", folder->path);
    unlink(path);
    snprintf(path, sizeof(path), "%s/tzdata.zi", folder->path);
    unlink(path);
    write_file(folder, "+VERSION", "2026c\n", 6);
    assert_int_equal(zoneinfo_reload(folder->zoneinfo, note_change, changed), 0);
    assert_string_equal(zoneinfo_version(folder->zoneinfo), "2026c");
    assert_int_equal(zone_offset(city, 0), 3600);
    folder->source->put(folder->source, city);
}

static void a_folder_that_is_not_there_has_no_zones(void **state)
{
    struct zoneinfo *zoneinfo;
    const struct zone *zone;

    assert_int_equal(zoneinfo_new(&zoneinfo, "/nowhere/zoneinfo", NULL), 0);
    assert_string_equal(zoneinfo_version(zoneinfo), "unknown");
    assert_int_equal(zoneinfo_source(zoneinfo)->get(zoneinfo_source(zoneinfo), "Europe/Paris", &zone, NULL),
                     ERR_NOT_FOUND);
    zoneinfo_free(zoneinfo);
    assert_int_equal(zoneinfo_new(&zoneinfo, "", NULL), ERR_INVALID);
}

#define FOLDER_TEST(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(versions_1_to_4_are_read),
        cmocka_unit_test(footers_are_expanded_to_2200),
        cmocka_unit_test(footers_that_are_no_rules_are_refused),
        cmocka_unit_test(every_prefix_of_a_file_is_refused),
        cmocka_unit_test(damaged_files_give_an_error_or_a_sound_table),
        cmocka_unit_test(changes_at_the_ends_of_time_are_refused),
        cmocka_unit_test(leap_seconds_and_huge_files_are_refused),
        cmocka_unit_test(names_stay_inside_the_folder),
        cmocka_unit_test(wall_times_map_to_instants),
        FOLDER_TEST(zones_are_shared_and_failures_are_not_kept),
        cmocka_unit_test(abbreviations_and_offsets_get_advice),
        FOLDER_TEST(wrong_names_get_a_hint),
        FOLDER_TEST(abbreviations_and_offsets_get_a_place),
        FOLDER_TEST(damaged_files_and_pipes_harm_nothing),
        FOLDER_TEST(a_reload_names_the_zones_that_changed),
        FOLDER_TEST(a_reload_without_files_keeps_the_zones),
        cmocka_unit_test(a_folder_that_is_not_there_has_no_zones),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
