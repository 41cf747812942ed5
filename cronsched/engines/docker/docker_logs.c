/* A container's output, kept in the attempt's log (cronsched/io/run_log.h).
 *
 * The happy path: follow() opens the writer and GET /logs?follow=1; frames are taken apart, their payload
 * goes to the writer, both streams in the order in which the engine has them; the stream ends with the
 * container; finish() closes the writer and is done.
 *
 * Failures: the stream breaks (the engine died): the writer is closed, and the next follow() or finish()
 * reads from the begin again, with the writer passing over what it has. Whether a stream that ended well was
 * really the end is known only when the link has held since. The cap is reached, or the file cannot be
 * written: reading stops. The engine does not give the output (a log driver that cannot be read), or not in
 * time: a remark on the run, nothing else.
 */
#include "cronsched/engines/docker/docker_core.h"

#include "cronsched/io/run_log.h"
#include "jobs/base/alloc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FRAME_HEAD 8
#define RETRY_MS   500
#define TRIES_MAX  4 /* at a stream that breaks although the engine is there */

struct docker_log {
    struct object object; /* first */
    struct docker *docker;
    struct docker_task *task; /* NULL once freed: only the writer is still being closed */
    struct run_log_writer *writer;
    bool writer_closing;
    struct http_call *call;
    bool live;         /* counted in live_logs */
    bool busy, paused; /* the writer wants no more for now; curl has been told */
    bool full;         /* nothing more is worth reading */
    bool whole;        /* the stream ended well, when the link had this number */
    uint64_t whole_at;
    unsigned char head[FRAME_HEAD];
    size_t head_len;
    uint32_t left; /* bytes of this frame */
    bool finishing;
    int64_t deadline_ms; /* of uv_now, moved on by each piece, */
    int64_t last_ms;     /* up to this */
    int tries;
    bool pausing;       /* before the next one */
    int64_t left_bytes; /* of the stream, after the end: an engine may send for ever */
    char remark[DOCKER_TEXT_MAX];
    void (*done)(struct docker_task *task, const char *remark);
};

static void go_on(struct docker_log *log);

/* ---- the writer ---- */

static void on_drained(void *arg)
{
    struct docker_log *log = OBJECT(struct docker_log, arg);

    log->busy = false;
    if (log->paused && log->call) {
        log->paused = false;
        http_call_resume(log->call);
    }
}

static bool open_writer(struct docker_log *log)
{
    struct docker_task *t = log->task;
    struct error error = {0};
    char path[RUN_LOG_PATH_MAX];

    if (run_log_path(t->docker->data_dir, t->run, t->attempt, path, sizeof(path), &error) < 0 ||
        run_log_writer_new(&log->writer, t->docker->loop, path, t->job->keep_logs_bytes, true, on_drained,
                           log, &error) < 0) {
        snprintf(log->remark, sizeof(log->remark), "the log was not kept: %.300s", error.text);
        log->full = true;
        return false;
    }
    log->busy = log->paused = false;
    log->head_len = 0;
    log->left = 0;
    return true;
}

static void on_writer_closed(void *arg, int result, const char *text)
{
    struct docker_log *log = OBJECT(struct docker_log, arg);
    struct docker *d = log->docker;

    log->writer_closing = false;
    if (result < 0) {
        log->full = true;
        snprintf(log->remark, sizeof(log->remark), "the log was not kept: %.300s",
                 text ? text : error_text(result));
    }
    if (!log->task)
        OBJECT_FREE(struct docker_log, log);
    else
        go_on(log);
    docker_released(d);
}

static void close_writer(struct docker_log *log)
{
    struct run_log_writer *writer = log->writer;

    if (!writer)
        return;
    log->writer = NULL;
    log->writer_closing = true;
    log->docker->held++;
    run_log_writer_finish(writer, on_writer_closed, log);
}

/* ---- the stream ---- */

static void stop_reading(struct docker_log *log)
{
    http_call_cancel(log->call);
    log->call = NULL;
    if (log->live)
        log->docker->live_logs--;
    log->live = false;
}

static void write_payload(struct docker_log *log, const char *bytes, size_t n)
{
    switch (run_log_writer_write(log->writer, bytes, n)) {
    case 0:
        break;
    case ERR_BUSY:
        log->busy = true;
        break;
    default: /* the cap, or the disk: finish tells which */
        log->full = true;
        break;
    }
}

/* Frames: the stream's number, three zeros, the length in 4 bytes, the payload. */
static void take_apart(struct docker_log *log, const char *bytes, size_t size)
{
    while (size > 0 && !log->full) {
        if (log->left > 0) {
            size_t n = log->left < size ? log->left : size;

            write_payload(log, bytes, n);
            log->left -= (uint32_t)n;
            bytes += n;
            size -= n;
            continue;
        }
        log->head[log->head_len++] = (unsigned char)*bytes++;
        size--;
        if (log->head_len == FRAME_HEAD) {
            const unsigned char *h = log->head;

            log->head_len = 0;
            log->left = (uint32_t)h[4] << 24 | (uint32_t)h[5] << 16 | (uint32_t)h[6] << 8 | h[7];
        }
    }
}

static void move_deadline(struct docker_log *log)
{
    log->deadline_ms = (int64_t)uv_now(log->docker->loop) + DOCKER_LOG_END_MS;
    if (log->deadline_ms > log->last_ms)
        log->deadline_ms = log->last_ms;
}

static bool on_data(void *arg, const char *bytes, size_t size)
{
    struct docker_log *log = OBJECT(struct docker_log, arg);

    if (log->busy) {
        log->paused = true;
        return false;
    }
    take_apart(log, bytes, size);
    move_deadline(log);
    if (log->finishing && (log->left_bytes -= (int64_t)size) < 0) {
        snprintf(log->remark, sizeof(log->remark), "the engine sends more of its log than there can be");
        log->full = true;
    }
    if (log->full) {
        stop_reading(log);
        close_writer(log); /* go_on comes from there */
    }
    return true;
}

static void on_stream_end(void *arg, const struct http_answer *answer)
{
    struct docker_log *log = OBJECT(struct docker_log, arg);
    json_t *json;
    struct docker_reply reply = docker_read(answer, &json);

    log->call = NULL;
    stop_reading(log);
    if (!docker_lost(&reply) && reply.status == 200) {
        log->whole = true;
        log->whole_at = log->docker->link_number;
    } else if (!docker_lost(&reply)) {
        snprintf(log->remark, sizeof(log->remark), "the engine does not give its output: %.300s", reply.text);
        log->full = true;
    } else if (log->finishing) {
        log->tries++;
        log->pausing = true;
    }
    json_decref(json);
    close_writer(log);
}

static void read_stream(struct docker_log *log, bool follow)
{
    struct docker *d = log->docker;
    char path[DOCKER_PATH_MAX];
    struct docker_call call = {
        .method = "GET", .path = path, .query = follow ? "stdout=1&stderr=1&follow=1" : "stdout=1&stderr=1"};
    struct client_request with = {.data = on_data, .done = on_stream_end, .arg = log, .once = follow};

    log->whole = false;
    if (!open_writer(log)) {
        go_on(log);
        return;
    }
    snprintf(path, sizeof(path), "%s/containers/%.*s/logs", d->api, DOCKER_ID_MAX, log->task->id);
    log->call = docker_open(d, &call, &with, NULL);
    if (!log->call) {
        close_writer(log);
        return;
    }
    log->live = follow;
    if (follow)
        d->live_logs++;
}

/* ---- the whole ---- */

static bool is_whole(const struct docker_log *log)
{
    return log->full || (log->whole && log->whole_at == log->docker->link_number);
}

static void on_late(struct docker_task *t);

/* Finishing: one step at a time, until everything is read or the time is over. */
static void go_on(struct docker_log *log)
{
    struct docker *d = log->docker;
    int64_t left = log->deadline_ms - (int64_t)uv_now(d->loop);

    if (!log->finishing || log->writer_closing)
        return;
    if (!is_whole(log) && left > 0 && log->tries < TRIES_MAX) {
        if (log->call)
            docker_wake_in(log->task, left, on_late);
        else if (d->link == DOCKER_LINK_UP && !log->writer && !log->pausing)
            read_stream(log, false);
        else
            docker_wake_in(log->task, RETRY_MS, on_late);
        return;
    }
    stop_reading(log);
    if (log->writer) {
        close_writer(log);
        return;
    }
    if (!is_whole(log) && !log->remark[0])
        snprintf(log->remark, sizeof(log->remark), "the end of its log could not be read in time");
    log->done(log->task, log->remark[0] ? log->remark : NULL); /* the log is gone now */
}

static void on_late(struct docker_task *t)
{
    t->log->pausing = false;
    go_on(t->log);
}

struct docker_log *docker_log_new(struct docker_task *task)
{
    struct docker_log *log = OBJECT_NEW(struct docker_log);

    log->docker = task->docker;
    log->task = task;
    return log;
}

void docker_log_follow(struct docker_log *log)
{
    if (log->call || log->writer || log->writer_closing || log->finishing || log->full ||
        log->docker->live_logs >= DOCKER_LIVE_LOGS_MAX)
        return;
    read_stream(log, true);
}

void docker_log_finish(struct docker_log *log, void (*done)(struct docker_task *task, const char *remark))
{
    log->finishing = true;
    log->done = done;
    log->last_ms = (int64_t)uv_now(log->docker->loop) + DOCKER_LOG_WHOLE_MS;
    log->left_bytes = log->task->job->keep_logs_bytes * DOCKER_LOG_PER_BYTE + DOCKER_LOG_MORE;
    move_deadline(log);
    docker_wake_in(log->task, 0,
                   on_late); /* from the loop, and a stream that ends by itself has a moment to */
}

void docker_log_free(struct docker_log *log)
{
    if (!log)
        return;
    stop_reading(log);
    run_log_writer_abandon(log->writer);
    log->writer = NULL;
    log->task = NULL;
    if (!log->writer_closing) /* else its end frees it */
        OBJECT_FREE(struct docker_log, log);
}
