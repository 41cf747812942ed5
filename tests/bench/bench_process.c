/* How late attempts start when many are due in the same instant: the process engine, released all at once,
 * beside plain posix_spawn of the same command in a loop. The command is date, which tells when it ran.
 *
 *   bench_process [COUNT [ROUNDS]]      default 200 5
 *
 * Prints one JSON object a line: milliseconds from the instant to the command's own clock, and for the engine
 * also what preparing took and how much memory a prepared attempt holds. By hand, in a release build:
 * meson setup build-release --buildtype=release && ninja -C build-release tests/bench/bench_process
 */
#include "tests/integration/process_fixture.h"

#include "jobs/base/alloc.h"
#include "jobs/definition/job_keys.h"

#include <dirent.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define COUNT_MAX 1000

extern char **environ;

struct sample {
    double ms[COUNT_MAX];
    int count;
};

static double wall_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_REALTIME, &ts);
    return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

/* A date of "%s%N" in a file of the folder, as lateness. */
static void add(struct sample *s, struct fixture *f, const char *file, double due_ms)
{
    char *text = fixture_read(f, file);

    if (strlen(text) < 19 || s->count == COUNT_MAX) {
        fprintf(stderr, "no time in '%s'\n", file);
        exit(1);
    }
    text[19] = '\0';
    s->ms[s->count++] = (double)strtoll(text, NULL, 10) / 1e6 - due_ms;
}

static void print(const char *what, struct sample *s, const char *more)
{
    qsort(s->ms, (size_t)s->count, sizeof(double), compare);
    printf(
        "{\"what\":\"%s\",\"count\":%d,\"first_ms\":%.1f,\"median_ms\":%.1f,\"p99_ms\":%.1f,\"last_ms\":%.1f,"
        "\"per_s\":%.0f%s}\n",
        what, s->count, s->ms[0], s->ms[s->count / 2], s->ms[s->count * 99 / 100], s->ms[s->count - 1],
        s->count / s->ms[s->count - 1] * 1e3, more);
    fflush(stdout);
}

/* ---- plain posix_spawn ---- */

static void bench_spawn(struct fixture *f, int count)
{
    static pid_t pids[COUNT_MAX];
    char program[] = "/bin/date", format[] = "+%s%N", *argv[] = {program, format, NULL}, path[512], name[32];
    struct sample s = {.count = 0};
    double due_ms = wall_ms();

    for (int i = 0; i < count; i++) {
        posix_spawn_file_actions_t files;

        snprintf(path, sizeof(path), "%s/raw-%d", f->folder, i);
        posix_spawn_file_actions_init(&files);
        posix_spawn_file_actions_addopen(&files, 1, path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
        if (posix_spawn(&pids[i], program, &files, NULL, argv, environ) != 0)
            exit(1);
        posix_spawn_file_actions_destroy(&files);
    }
    for (int i = 0; i < count; i++)
        waitpid(pids[i], NULL, 0);
    for (int i = 0; i < count; i++) {
        snprintf(name, sizeof(name), "raw-%d", i);
        add(&s, f, name, due_ms);
    }
    print("posix_spawn", &s, "");
}

/* ---- the engine ---- */

static long private_kb(int pid)
{
    char path[64], line[256];
    long kb, sum = 0;
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", pid);
    file = fopen(path, "re");
    while (file && fgets(line, sizeof(line), file))
        if (sscanf(line, "Private_Dirty: %ld kB", &kb) == 1)
            sum += kb;
    if (file)
        fclose(file);
    return sum;
}

/* Of all supervisors and what waits below them, in this pid namespace. */
static long memory_kb(void)
{
    DIR *dir = opendir("/proc");
    struct dirent *entry;
    long sum = 0;

    while (dir && (entry = readdir(dir))) {
        char path[300], name[32] = "";
        FILE *file;

        snprintf(path, sizeof(path), "/proc/%s/comm", entry->d_name);
        file = fopen(path, "re");
        if (!file)
            continue;
        if (fgets(name, sizeof(name), file) &&
            (!strncmp(name, "cs-supervisor", 13) || !strncmp(name, "cs-waiting", 10)))
            sum += private_kb((int)strtol(entry->d_name, NULL, 10));
        fclose(file);
    }
    if (dir)
        closedir(dir);
    return sum;
}

/* Each attempt is a run of its own, so that each has its own log. */
static uint64_t submit(struct fixture *f, enum engine_op op, struct job *job, int i, const char *id)
{
    char run[64], name[32];
    struct engine_request r = {.ticket = ++f->next_ticket,
                               .job = job,
                               .run = run,
                               .attempt = i + 1,
                               .try = 1,
                               .epoch = 1,
                               .name = name,
                               .id = id,
                               .cause = "schedule"};

    snprintf(run, sizeof(run), TEST_RUN);
    snprintf(name, sizeof(name), "cs-bench-%d", i);
    f->engine->ops->submit(f->engine, op, &r);
    return r.ticket;
}

static bool is_over(void *arg)
{
    return uv_hrtime() > *(uint64_t *)arg;
}

static void bench_engine(int count)
{
    static char ids[COUNT_MAX][160];
    static uint64_t tickets[COUNT_MAX];
    struct process_engine_options options = {.max_armed = count};
    struct fixture *f = fixture_new_with(NULL, &options);
    struct sample s = {.count = 0}, answers = {.count = 0};
    struct job *job = fixture_script(f, NULL);
    double begin_ms = wall_ms(), prepared_ms, sent_ms, due_ms;
    uint64_t quiet, due_ns;
    char name[128], more[160];
    long kb;

    job_strings_add(&job->command, "/bin/date");
    job_strings_add(&job->command, "+%s%N");
    job->has_command = true;
    for (int i = 0; i < count; i++)
        tickets[i] = submit(f, ENGINE_PREPARE, job, i, NULL);
    for (int i = 0; i < count; i++)
        memcpy(ids[i], fixture_wait(f, tickets[i])->id, sizeof(ids[i]));
    prepared_ms = wall_ms() - begin_ms;
    kb = memory_kb();
    quiet = uv_hrtime() + UINT64_C(300000000);
    fixture_until(f, is_over, &quiet, "quiet");

    due_ms = wall_ms();
    due_ns = uv_hrtime();
    for (int i = 0; i < count; i++)
        tickets[i] = submit(f, ENGINE_RELEASE, job, i, ids[i]);
    sent_ms = wall_ms() - due_ms;
    for (int i = 0; i < count; i++) {
        struct test_answer *a = fixture_wait(f, tickets[i]);

        answers.ms[answers.count++] = (double)(a->seen_ns - due_ns) / 1e6;
    }
    for (int i = 0; i < count; i++)
        tickets[i] = submit(f, ENGINE_WATCH, job, i, ids[i]);
    for (int i = 0; i < count; i++)
        fixture_wait(f, tickets[i]);
    for (int i = 0; i < count; i++) {
        snprintf(name, sizeof(name), "logs/" TEST_JOB "/" TEST_RUN ".%d.log", i + 1);
        add(&s, f, name, due_ms);
    }
    qsort(answers.ms, (size_t)count, sizeof(double), compare);
    snprintf(more, sizeof(more),
             ",\"prepared_ms\":%.0f,\"private_kb_each\":%ld,\"sent_ms\":%.1f,\"last_answer_ms\":%.1f",
             prepared_ms, kb / count, sent_ms, answers.ms[count - 1]);
    print("engine", &s, more);
    job_unref(job);
    fixture_free(f);
}

static void raise_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

int main(int argc, char **argv)
{
    struct fixture *f;
    long count, rounds;

    fixture_main(argc, argv);
    count = argc > 1 ? strtol(argv[1], NULL, 10) : 200;
    rounds = argc > 2 ? strtol(argv[2], NULL, 10) : 5;
    if (count < 1 || count > COUNT_MAX || rounds < 1) {
        fprintf(stderr, "usage: bench_process [COUNT up to %d [ROUNDS]]\n", COUNT_MAX);
        return 2;
    }
    raise_limit();
    f = fixture_new(NULL);
    for (long i = 0; i < rounds; i++) {
        bench_spawn(f, (int)count);
        bench_engine((int)count);
    }
    fixture_free(f);
    return 0;
}
