/* A Docker engine that answers what a test says, or nonsense, and whoever asks it: one request at a time, of a fresh
 * docker engine. */
#pragma once

#include "cronsched/engines/docker/docker.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define OK           "HTTP/1.1 200 OK\r\n"
#define ID           "ab12cd"
#define CASE_MS      20000
#define MORE_BYTES   (64 * 1024)

struct nonsense {
    const char *say;
    size_t size;       /* 0: to the NUL */
    const char *again; /* said after it, for ever */
    bool stays;        /* after it nothing comes, and no end */
};

struct reply {
    const char *request; /* part of the first line */
    int status;
    const char *body;
};

/* ---- what it says ---- */

extern const char *bad_path; /* part of the request line that gets `bad` */
extern struct nonsense bad;
extern struct reply special[3]; /* goes before the sane ones; request NULL: none */
extern struct reply later[1];   /* goes before these, from the second such request on */
extern const struct nonsense nonsense[];
extern const size_t nonsense_count;
extern char xs[MORE_BYTES], zeros[MORE_BYTES];
void nothing_special(void); /* sane answers to all */

/* ---- what came of it, since the engine was opened ---- */

extern int bad_count, starts, deletes, pages, later_count;
extern struct engine_answer heard; /* the last answer */
extern char heard_text[4096];
extern int heard_count;

/* ---- who asks it ---- */

extern bool keeps;                         /* what the host says to the sweep */
extern struct engine_status *asked_status; /* of the engine after its answers; NULL: nobody asks */

extern const json_t *registries;   /* of the engine's configuration; NULL: none */
extern const char *docker_config;  /* the path of Docker's config.json; "": none */
extern char pull_credentials[512]; /* X-Registry-Auth of the last pull; "": it had none */

int set_up(void **state); /* of the group */
int tear_down(void **state);
void open_engine(struct engine **ret, int64_t sweep_ms);
void close_engine(struct engine *engine);
/* Lets everybody work for so long, or until there are so many answers. */
void turn(int64_t ms, int answers);
/* A fresh engine, one request, its first answers: so many, within ms. */
void ask_for(enum engine_op op, const char *definition, int answers, int64_t ms);
void ask(enum engine_op op);
/* Each kind of nonsense as the answer to `path`; none of them leads to `event`. */
void never(enum engine_op op, const char *path, enum engine_event event);
