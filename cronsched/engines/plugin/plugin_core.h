/* Inside the plugin engine. Kinds of object:
 *
 *   plugin   the engine: its command, what the program has said of itself, its tasks
 *   program  one life of the program: its process and its pipes (plugin_program.c); the engine has one at most, and those that
 *            were killed close by themselves
 *   task     one request of the scheduler (cronsched/engines/tasks/tasks.h); a WATCH with its log (plugin_watch.c)
 */
#pragma once

#include "cronsched/engines/plugin/plugin.h"
#include "cronsched/engines/tasks/lines.h"
#include "cronsched/engines/tasks/tasks.h"
#include "cronsched/io/file_reader.h"
#include "cronsched/io/run_log.h"
#include "cronsched/io/variable_files.h"

#define PLUGIN_LINE_MAX      (1024 * 1024)
#define PLUGIN_UNREAD_MAX    (8 * 1024 * 1024) /* bytes that it has not read yet */
#define PLUGIN_HELLO_MS      10000
#define PLUGIN_ANSWER_MS     60000 /* to a request, but WATCH */
#define PLUGIN_PING_MS       10000
#define PLUGIN_PONG_MS       30000
#define PLUGIN_RETRY_MS      1000 /* after its end, doubled each time up to PLUGIN_RETRY_MAX */
#define PLUGIN_RETRY_MAX     60000
#define PLUGIN_STEADY_MS     60000 /* when it has lived so long the next wait is the first one again */
#define PLUGIN_LIST_FIRST_MS 1000
#define PLUGIN_LIST_MS       30000
#define PLUGIN_REMOVE_MAX    1024 /* ids in one message */
#define PLUGIN_EXIT_MS       500  /* after the end of its output */
#define PLUGIN_TICK_MS       100
#define PLUGIN_STDERR_MAX    1024
#define PLUGIN_TEXT_MAX      512

struct plugin;
struct plugin_program;

struct plugin {
    struct object object; /* first */
    struct engine engine;
    uv_loop_t *loop;
    struct engine_host *host;
    struct file_reader *reader;
    struct variable_files_limits limits;
    char *name, *data_dir, *files_dir;
    char **command;

    struct plugin_program *program; /* NULL: none lives */
    bool greeted;                   /* it has said hello, and may be asked */
    bool told;                      /* that it cannot be reached; or nothing is known yet */
    char type[32], version[64], identity[ENGINE_IDENTITY_MAX];
    bool at_least_once;
    char why[256];                            /* what became of the last one */
    int failures;                             /* in a row */
    int64_t started_ms, pinged_ms, ponged_ms; /* of uv_now */
    int64_t epoch;                            /* that it was told last */
    int watched;

    struct tasks tasks;
    uv_timer_t start_timer, ping_timer, list_timer;
};

struct plugin_task {
    struct object object; /* first */
    struct task task;
    struct plugin *plugin;
    bool sent;    /* the program has it */
    char **files; /* PREPARE: values of from_file, by index of the variable */

    /* WATCH */
    bool is_watch, away, dropped;
    struct run_log_writer *writer;
    int64_t log_from; /* bytes of output that are kept */
    bool log_opened, busy;
    int64_t gap_bytes;        /* that found no room */
    struct engine_answer end; /* until its log is written; its texts are its own */
};

/* ---- plugin_program.c ---- */
void plugin_program_start(struct plugin *p);
/* Kills it, and tells whoever waits for it; the next one is started later. */
void plugin_program_fail(struct plugin *p, const char *format, ...) __attribute__((format(printf, 2, 3)));
void plugin_program_kill(struct plugin *p); /* tells nobody */
/* A line; `message` is taken over. False: it is not sent, and the program has failed. */
bool plugin_program_send(struct plugin *p, json_t *message);

/* ---- plugin_message.c: what the program says ---- */
/* NULL: all is well. Else what is wrong with it, for people; in `buffer`. */
const char *plugin_message_take(struct plugin *p, const char *line, size_t size, char *buffer,
                                size_t buffer_size);

/* ---- plugin_request.c ---- */
void plugin_request_begin(struct plugin_task *t);
void plugin_request_heard(struct plugin_task *t, const struct engine_answer *answer);
void plugin_requests_cut(struct plugin *p); /* the program is gone */
/* The engine promises less than the job asks for. */
int plugin_request_check(const struct plugin *p, const struct job *job, struct error *error);

/* ---- plugin_watch.c ---- */
void plugin_watch_begin(struct plugin_task *t);
void plugin_watch_heard(struct plugin_task *t, const struct engine_answer *answer);
void plugin_watch_output(struct plugin_task *t, const char *bytes, size_t size, bool is_stderr);
void plugin_watch_detach(struct plugin_task *t);
void plugin_watches_up(struct plugin *p);
void plugin_watches_down(struct plugin *p);

struct plugin_task *plugin_task_at(const struct list *link);
struct plugin_task *plugin_task_find(const struct plugin *p,
                                     uint64_t ticket); /* NULL: there is none that it has */
void plugin_epoch_tell(struct plugin *p);
void plugin_list_soon(struct plugin *p); /* what it has, to remove what nobody needs */
