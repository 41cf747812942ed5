#include "tests/integration/process_fixture.h"

#include "cronsched/engines/process/attempt_dir.h"
#include "cronsched/engines/process/supervise.h"
#include "cronsched/io/run_log_reader.h"
#include "jobs/base/alloc.h"
#include "jobs/base/fault.h"
#include "jobs/definition/job_keys.h"
#include "tests/support/patience.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "process test: %s (%s)\n", what, strerror(errno));
    abort();
}

static uint64_t mono_ms(void)
{
    return uv_hrtime() / 1000000;
}

/* Between two looks at something that is about to happen. */
static void nap(void)
{
    struct timespec tick = {.tv_nsec = 1000000};

    nanosleep(&tick, NULL);
}

/* Supervisors outlive a server, also one of a failed test, and also when they are stopped; the work may outlive them. */
static void kill_supervisors(struct fixture *f)
{
    char host[ATTEMPT_DIR_HOST_MAX], base[ATTEMPT_GROUP_PATH_MAX];
    struct dirent *entry;
    int root = -1;
    DIR *dir;

    if (attempt_dir_root(f->folder, &root, host, NULL) < 0 || !(dir = fdopendir(root)))
        return;
    while ((entry = readdir(dir))) {
        struct attempt_dir_status status;
        int folder = -1;

        if (entry->d_name[0] == '.' || attempt_dir_open(root, entry->d_name, &folder, NULL) < 0)
            continue;
        if (attempt_dir_read(folder, &status, NULL) == 0) {
            attempt_dir_signal(&status.supervisor, SIGKILL);
            attempt_work_kill(&status.work, 5000);
        }
        close(folder);
        attempt_dir_remove(root, entry->d_name, NULL); /* with its group */
    }
    closedir(dir);
    if (attempt_group_base(host, base, NULL) == 0)
        attempt_group_base_release(base);
}

/* ---- the host ---- */

static void on_answer(struct engine_host *host, const struct engine_answer *a)
{
    struct fixture *f = (struct fixture *)(void *)host;
    struct test_answer *t;

    if (f->answer_count == ANSWERS_MAX)
        die("too many answers");
    t = &f->answers[f->answer_count++];
    *t = (struct test_answer){.ticket = a->ticket,
                              .event = a->event,
                              .started_ms = a->started_ms,
                              .at_ms = a->at_ms,
                              .seen_ns = uv_hrtime(),
                              .exit_code = a->exit_code};
    snprintf(t->id, sizeof(t->id), "%s", a->id ? a->id : "");
    snprintf(t->boot_id, sizeof(t->boot_id), "%s", a->boot_id ? a->boot_id : "");
    snprintf(t->identity, sizeof(t->identity), "%s", a->identity ? a->identity : "");
    snprintf(t->cause, sizeof(t->cause), "%s", a->cause ? a->cause : "");
    snprintf(t->text, sizeof(t->text), "%s", a->text ? a->text : "");
}

static bool host_keep(struct engine_host *host, const char *run, int attempt, int64_t epoch, const char *id)
{
    return ((struct fixture *)(void *)host)->keep;
}

static int64_t host_now(struct engine_host *host)
{
    struct fixture *f = (struct fixture *)(void *)host;
    struct timespec ts;

    clock_gettime(CLOCK_REALTIME, &ts);
    return f->now_ms ? f->now_ms : ts.tv_sec * INT64_C(1000) + ts.tv_nsec / 1000000;
}

static int64_t host_epoch(struct engine_host *host)
{
    return ((struct fixture *)(void *)host)->epoch;
}

static void host_back(struct engine_host *host, const struct engine *engine)
{
    (void)host;
    (void)engine;
}

static const char *host_cluster(struct engine_host *host)
{
    return TEST_CLUSTER;
}

/* ---- life ---- */

static void new_engine(struct fixture *f, const struct process_engine_options *options)
{
    struct process_engine_options o = options ? *options : (struct process_engine_options){0};
    struct error error;

    o.name = "local";
    o.files = 1024;
    o.data_dir = f->folder;
    o.without_groups = f->without_groups;
    if (process_engine_new(&f->engine, &f->loop, &o, &f->host, &error) < 0) {
        fprintf(stderr, "%s\n", error.text);
        die("no engine");
    }
}

struct fixture *fixture_new_with(const char *folder, const struct process_engine_options *options)
{
    struct fixture *f = alloc_zero(sizeof(*f));

    f->host = (struct engine_host){on_answer, host_keep, host_now, host_epoch, host_cluster, host_back};
    f->epoch = 1;
    f->keep = true;
    f->own_folder = !folder;
    snprintf(f->folder, sizeof(f->folder), "%s", folder ? folder : "/tmp/cronsched-process-XXXXXX");
    if (!folder && (!mkdtemp(f->folder) || chmod(f->folder, 0755) < 0))
        die("mkdtemp");
    uv_loop_init(&f->loop);
    new_engine(f, options);
    return f;
}

struct fixture *fixture_new(const char *folder)
{
    return fixture_new_with(folder, NULL);
}

static void on_closed(void *arg)
{
    *(bool *)arg = true;
}

static bool is_true(void *arg)
{
    return *(bool *)arg;
}

static void close_engine(struct fixture *f)
{
    bool closed = false;

    f->engine->ops->close(f->engine, on_closed, &closed);
    fixture_until(f, is_true, &closed, "the engine to close");
}

void fixture_restart(struct fixture *f)
{
    close_engine(f);
    new_engine(f, NULL);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    return remove(path);
}

void fixture_free(struct fixture *f)
{
    close_engine(f);
    if (f->own_folder)
        kill_supervisors(f);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    if (uv_loop_close(&f->loop) != 0)
        die("the loop has handles left");
    /* Again and again: a supervisor that has just been made may still be writing. */
    for (int i = 0; f->own_folder && i < patience_ms(DEADLINE_MS) && access(f->folder, F_OK) == 0; i++) {
        nftw(f->folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
        nap();
    }
    free(f);
}

/* ---- jobs ---- */

void fixture_variable(struct job *job, const char *name, const char *value)
{
    size_t i = 0;

    while (i < job->environment_count && strcmp(job->environment[i].name, name) != 0)
        i++;
    if (i == job->environment_count) {
        job->environment = alloc_resize(job->environment, (i + 1) * sizeof(*job->environment));
        job->environment[i] = (struct job_env){.name = alloc_text(name)};
        job->environment_count++;
    }
    alloc_replace(&job->environment[i].value, value);
}

struct job *fixture_script(struct fixture *f, const char *script)
{
    struct job *job = job_new(TEST_JOB);

    if (!job)
        die("job_new");
    fixture_variable(job, "D", f->folder);
    if (script) {
        job_strings_add(&job->entrypoint, "/bin/sh");
        job_strings_add(&job->entrypoint, "-c");
        job_strings_add(&job->command, script);
        job->has_entrypoint = job->has_command = true;
    }
    return job;
}

/* ---- requests ---- */

static struct engine_request request_of(struct fixture *f, struct job *job)
{
    return (struct engine_request){.ticket = ++f->next_ticket,
                                   .job = job,
                                   .run = TEST_RUN,
                                   .attempt = 1,
                                   .try = 1,
                                   .epoch = f->epoch,
                                   .cause = "schedule",
                                   .fire_ms = INT64_C(1795316400000)};
}

uint64_t fixture_prepare(struct fixture *f, struct job *job, const char *name, int try)
{
    struct engine_request r = request_of(f, job);

    r.name = name;
    r.try = try;
    f->engine->ops->submit(f->engine, ENGINE_PREPARE, &r);
    return r.ticket;
}

uint64_t fixture_submit(struct fixture *f, enum engine_op op, struct job *job, const char *id,
                        bool may_have_run)
{
    struct engine_request r = request_of(f, job);
    char name[160];

    snprintf(name, sizeof(name), "%.*s", (int)strcspn(id, "@"), id);
    r.name = name;
    r.id = id;
    r.identity = f->identity;
    r.unresolved = f->unresolved;
    r.may_have_run = may_have_run;
    f->engine->ops->submit(f->engine, op, &r);
    return r.ticket;
}

struct wanted {
    struct fixture *f;
    uint64_t ticket;
    struct test_answer *found;
};

/* Taken ones have ticket 0. */
static bool has_answer(void *arg)
{
    struct wanted *w = arg;

    for (size_t i = 0; i < w->f->answer_count && !w->found; i++)
        if (w->f->answers[i].ticket == w->ticket)
            w->found = &w->f->answers[i];
    return w->found != NULL;
}

struct test_answer *fixture_wait(struct fixture *f, uint64_t ticket)
{
    struct wanted w = {f, ticket, NULL};

    fixture_until(f, has_answer, &w, "an answer");
    w.found->ticket = 0;
    return w.found;
}

struct test_answer *fixture_ask(struct fixture *f, enum engine_op op, struct job *job, const char *id,
                                bool may_have_run)
{
    return fixture_wait(f, fixture_submit(f, op, job, id, may_have_run));
}

void fixture_prepared(struct fixture *f, struct job *job, const char *name, char *ret_id)
{
    struct test_answer *a = fixture_wait(f, fixture_prepare(f, job, name, 1));

    if (a->event != ENGINE_PREPARED) {
        fprintf(stderr, "%s\n", a->text);
        die("not prepared");
    }
    memcpy(ret_id, a->id, sizeof(a->id));
}

struct test_answer *fixture_run(struct fixture *f, struct job *job, const char *name)
{
    struct test_answer *a;
    char id[160];

    fixture_prepared(f, job, name, id);
    a = fixture_ask(f, ENGINE_RELEASE, job, id, false);
    if (a->event != ENGINE_STARTED) {
        fprintf(stderr, "%s\n", a->text);
        die("not started");
    }
    return fixture_ask(f, ENGINE_WATCH, job, id, false);
}

/* ---- waiting ---- */

static void on_tick(uv_timer_t *timer)
{
}

void fixture_until(struct fixture *f, bool (*condition)(void *arg), void *arg, const char *what)
{
    uint64_t until = mono_ms() + (uint64_t)patience_ms(DEADLINE_MS);
    uv_timer_t tick;

    uv_timer_init(&f->loop, &tick);
    uv_timer_start(&tick, on_tick, 2, 2);
    while (!condition(arg)) {
        uv_run(&f->loop, UV_RUN_ONCE);
        if (mono_ms() > until) {
            fprintf(stderr, "process test: waited in vain for %s in %s\n", what, f->folder);
            kill_supervisors(f);
            abort();
        }
    }
    uv_close((uv_handle_t *)&tick, NULL);
    uv_run(&f->loop, UV_RUN_NOWAIT);
}

struct file {
    struct fixture *f;
    const char *name;
};

static bool file_has_text(void *arg)
{
    struct file *file = arg;

    return fixture_read(file->f, file->name)[0] != '\0';
}

void fixture_until_file(struct fixture *f, const char *name)
{
    struct file file = {f, name};

    fixture_until(f, file_has_text, &file, name);
}

bool process_gone(pid_t pid)
{
    char path[64], line[256] = "", *state;
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    file = fopen(path, "re");
    if (!file)
        return true;
    state = fgets(line, sizeof(line), file) ? strrchr(line, ')') : NULL;
    fclose(file);
    return !state || state[2] == 'Z';
}

static bool gone(void *arg)
{
    return process_gone(*(pid_t *)arg);
}

void fixture_until_gone(struct fixture *f, pid_t pid)
{
    fixture_until(f, gone, &pid, "a process to go");
}

/* ---- files ---- */

static void path_of(struct fixture *f, const char *name, char *ret, size_t size)
{
    snprintf(ret, size, "%s/%s", f->folder, name);
}

void fixture_write(struct fixture *f, const char *name, const char *text)
{
    char path[512];
    int fd;

    path_of(f, name, path, sizeof(path));
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
        die(path);
    close(fd);
}

pid_t fixture_pid_in(struct fixture *f, const char *name)
{
    fixture_until_file(f, name);
    return (pid_t)strtol(fixture_read(f, name), NULL, 10);
}

pid_t fixture_supervisor(struct fixture *f, const char *name)
{
    char file[128];
    const char *at;

    snprintf(file, sizeof(file), "attempts/%s/ready", name);
    at = strstr(fixture_read(f, file), "\"pid\":");
    if (!at)
        die("no supervisor");
    return (pid_t)strtol(at + 6, NULL, 10);
}

char *fixture_read(struct fixture *f, const char *name)
{
    static char text[65536];
    char path[512];
    size_t n = 0;
    ssize_t r;
    int fd;

    path_of(f, name, path, sizeof(path));
    text[0] = '\0';
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return text;
    while (n < sizeof(text) - 1 && (r = read(fd, text + n, sizeof(text) - 1 - n)) > 0)
        n += (size_t)r;
    close(fd);
    text[n] = '\0';
    return text;
}

int fixture_count(struct fixture *f, const char *name, const char *line)
{
    int n = 0;

    for (const char *p = fixture_read(f, name); *p; p += strcspn(p, "\n"), p += *p == '\n')
        n += strncmp(p, line, strlen(line)) == 0;
    return n;
}

bool fixture_exists(struct fixture *f, const char *name)
{
    char path[512];

    path_of(f, name, path, sizeof(path));
    return access(path, F_OK) == 0;
}

char *fixture_log(struct fixture *f)
{
    static char text[1024 * 1024];
    const struct run_log_view all = {.tail = -1};
    struct run_log_reader *reader;
    char path[512];
    size_t at = 0, n;

    path_of(f, "logs/" TEST_JOB "/" TEST_RUN ".1.log", path, sizeof(path));
    reader = run_log_reader_new(path, &all);
    while (at + RUN_LOG_BLOCK_LEAST < sizeof(text) &&
           run_log_reader_read(reader, text + at, RUN_LOG_BLOCK_LEAST, &n) == 0 && n > 0)
        at += n;
    run_log_reader_free(reader);
    text[at] = '\0';
    return text;
}

/* ---- a server to be killed ---- */

pid_t fixture_drive(struct fixture *f, int try, const char *crash, const char *stop)
{
    char verb[] = "__drive", program[] = "drive", number[16], folder[256],
         *argv[] = {program, verb, folder, number, NULL};
    char crash_at[128], stop_at[128], test_folder[300], *env[512];
    size_t n = 0;
    pid_t pid;

    snprintf(number, sizeof(number), "%d", try);
    snprintf(folder, sizeof(folder), "%s", f->folder);
    snprintf(test_folder, sizeof(test_folder), "TEST_FOLDER=%s", f->folder);
    snprintf(crash_at, sizeof(crash_at), "CRASH_AT=%s", crash ? crash : "");
    snprintf(stop_at, sizeof(stop_at), "STOP_AT=%s", stop ? stop : "");
    env[n++] = crash_at;
    env[n++] = stop_at;
    env[n++] = test_folder;
    for (char **e = environ; *e && n < 511; e++)
        env[n++] = *e;
    env[n] = NULL;
    if (posix_spawn(&pid, "/proc/self/exe", NULL, NULL, argv, env) != 0)
        die("posix_spawn");
    return pid;
}

int fixture_reap(pid_t pid)
{
    uint64_t until = mono_ms() + (uint64_t)patience_ms(DEADLINE_MS);
    int status;

    while (waitpid(pid, &status, WNOHANG) == 0) {
        if (mono_ms() > until)
            kill(pid, SIGKILL);
        nap();
    }
    return status;
}

/* What the scheduler has in its journal: COMMITTED before the release, FIRE before the request goes out. */
static int drive(const char *folder, int try)
{
    struct fixture *f = fixture_new(folder);
    struct job *job =
        fixture_script(f, "echo start $TRY >>$D/ledger; read go <$D/hold 2>/dev/null; echo done");
    struct test_answer *a;
    char name[64], number[16], journal[256], id[160];

    snprintf(number, sizeof(number), "%d", try);
    fixture_variable(job, "TRY", number);
    snprintf(name, sizeof(name), "cs-drive%d", try);
    fixture_prepared(f, job, name, id);
    snprintf(journal, sizeof(journal), "committed %s\n", id);
    fixture_write(f, "journal", journal);
    snprintf(journal, sizeof(journal), "released %s\n", id);
    fixture_write(f, "journal", journal);
    a = fixture_ask(f, ENGINE_RELEASE, job, id, false);
    if (a->event == ENGINE_STARTED)
        a = fixture_ask(f, ENGINE_WATCH, job, id, false);
    job_unref(job);
    fixture_free(f);
    return 0;
}

/* ---- points ---- */

static char crash_point[64], stop_point[64];
static long crash_left;

static void write_stopped(void)
{
    const char *folder = getenv("TEST_FOLDER");
    char path[512], text[32];
    int fd, n;

    snprintf(path, sizeof(path), "%s/stopped", folder ? folder : "/tmp");
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    n = snprintf(text, sizeof(text), "%d\n", (int)getpid());
    if (fd < 0 || write(fd, text, (size_t)n) != n)
        die(path);
    close(fd);
}

/* The watch has looked: a command that waits at a pipe `hold` (fixture_hold) may end. */
static void let_go(void)
{
    static int fd = -1;
    const char *folder = getenv("TEST_FOLDER");
    char path[512];

    snprintf(path, sizeof(path), "%s/hold", folder ? folder : "/tmp");
    if (fd < 0)
        fd = open(path,
                  O_RDWR | O_CLOEXEC); /* stays open, or what is written would be lost before it is read */
    if (fd >= 0 && write(fd, "go\n", 3) != 3)
        die(path);
}

void fixture_hold(struct fixture *f)
{
    char path[512];

    snprintf(path, sizeof(path), "%s/hold", f->folder);
    if (mkfifo(path, 0666) < 0)
        die(path);
}

static void on_point(const char *point, const char *detail)
{
    if (strcmp(point, "process-answered") == 0 && strcmp(detail, "watch") == 0)
        let_go();
    if (strcmp(point, crash_point) == 0 && --crash_left == 0)
        kill(getpid(), SIGKILL);
    if (strcmp(point, stop_point) == 0) {
        stop_point[0] = '\0';
        write_stopped();
        kill(getpid(), SIGSTOP);
    }
}

static void set_points(void)
{
    const char *crash = getenv("CRASH_AT"), *stop = getenv("STOP_AT");
    const char *colon = crash ? strchr(crash, ':') : NULL;

    snprintf(crash_point, sizeof(crash_point), "%.*s", crash ? (int)strcspn(crash, ":") : 0,
             crash ? crash : "");
    crash_left = colon ? strtol(colon + 1, NULL, 10) : 1;
    snprintf(stop_point, sizeof(stop_point), "%s", stop ? stop : "");
    fault_hook = on_point;
}

void fixture_main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    set_points();
    if (argc > 1 && strcmp(argv[1], SUPERVISE_VERB) == 0)
        exit(spawner_main(argc, argv));
    if (argc > 3 && strcmp(argv[1], "__drive") == 0)
        exit(drive(argv[2], (int)strtol(argv[3], NULL, 10)));
}
