/* Runs a fuzz target without libFuzzer, in the ordinary tests: every file of the folders named, and some
 * damaged copies of each, always the same ones. */
#include "tests/fuzz/fuzz.h"

#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_MAX       65536
#define DAMAGED_COPIES 50

static uint64_t chance = 1;

/* xorshift64 */
static uint64_t next_chance(void)
{
    chance ^= chance << 13;
    chance ^= chance >> 7;
    chance ^= chance << 17;
    return chance;
}

static void run(const uint8_t *bytes, size_t size)
{
    uint8_t *exact = malloc(size + 1); /* so that a sanitizer sees a read too far */

    if (!exact)
        abort();
    memcpy(exact, bytes, size);
    LLVMFuzzerTestOneInput(exact, size);
    free(exact);
}

static void run_file(const char *path, const char *name)
{
    static uint8_t bytes[FILE_MAX], damaged[FILE_MAX];
    FILE *file = fopen(path, "rb");
    size_t size;

    if (!file)
        abort();
    size = fread(bytes, 1, sizeof(bytes), file);
    fclose(file);
    chance = 1; /* by the name: the order of a folder's files is not the same everywhere */
    for (; *name; name++)
        chance = chance * 31 + (uint8_t)*name;
    run(bytes, size);
    for (int i = 0; i < DAMAGED_COPIES && size > 0; i++) {
        memcpy(damaged, bytes, size);
        for (uint64_t n = 1 + next_chance() % 4; n > 0; n--)
            damaged[next_chance() % size] = next_chance() % 2 ? (uint8_t)next_chance()
                                                              : bytes[next_chance() % size];
        run(damaged, next_chance() % 4 ? size : next_chance() % size);
    }
}

int main(int argc, char **argv)
{
    size_t files = 0;

    for (int i = 1; i < argc; i++) {
        DIR *folder = opendir(argv[i]);
        struct dirent *entry;

        if (!folder) {
            fprintf(stderr, "cannot open %s\n", argv[i]);
            return 1;
        }
        while ((entry = readdir(folder))) {
            char path[4096];

            if (entry->d_name[0] == '.')
                continue;
            snprintf(path, sizeof(path), "%s/%s", argv[i], entry->d_name);
            run_file(path, entry->d_name);
            files++;
        }
        closedir(folder);
    }
    printf("%zu files, %d damaged copies of each\n", files, DAMAGED_COPIES);
    return files == 0;
}
