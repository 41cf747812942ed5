/* trigger: a run now. */
#include "cronsched/cli/log_follow.h"
#include "cronsched/cli/run_view.h"
#include "jobs/base/duration.h"
#include "jobs/state/record.h"

#include <signal.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define KEY_BYTES 16

static const struct verb_option options[] = {
    {"key", 0, "KEY", "triggering again with the same key returns the same run (default a random one)"},
    {"param", 'p', "NAME=VALUE", "a parameter: CRONSCHED_PARAM_NAME in the run's environment", .many = true},
    {"queue", 0, NULL, "wait for a running one if the job forbids overlap"},
    {"with-children", 0, NULL, "also run the jobs that come after this one"},
    {"wait", 'w', NULL, "wait for the end; exit code 0 when it succeeded, 1 when not"},
    {"follow", 'f', NULL, "print its log as it grows, and wait for the end"},
    {"exit-code", 0, NULL, "wait for the end and exit with the run's own exit code"},
    {"timeout", 0, "DURATION", "wait no longer than this: exit code 7"},
    {0}};

/* The key makes the request safe to send again, so there is always one. */
static int put_key(const struct verb_call *call, json_t *body)
{
    const char *key = verb_option(call, "key");
    unsigned char bytes[KEY_BYTES];
    char text[2 * KEY_BYTES + 1];

    if (key && !*key)
        return verb_usage(call, "--key: an empty key");
    if (!key) {
        if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
            return cli_fail(ERR_INTERNAL, "cannot get random bytes");
        for (size_t i = 0; i < sizeof(bytes); i++)
            snprintf(text + 2 * i, 3, "%02x", bytes[i]);
        key = text;
    }
    return cli_put_text(call, body, "key", "--key", key);
}

static int put_params(const struct verb_call *call, json_t *body)
{
    json_t *params = json_object();
    const char *param;
    int code = EXIT_FINE;

    for (size_t i = 0; code == EXIT_FINE && (param = verb_option_at(call, "param", i)); i++) {
        size_t n = strcspn(param, "=");
        char name[256];

        snprintf(name, sizeof(name), "%.*s", (int)n, param);
        if (!param[n] || n == 0 || n >= sizeof(name))
            code = verb_usage(call, "--param takes NAME=VALUE, not '%s'", param);
        else if (json_object_get(params, name))
            code = verb_usage(call, "--param %s is given twice", name);
        else
            code = cli_put_text(call, params, name, "--param", param + n + 1);
    }
    if (json_object_size(params))
        json_object_set(body, "params", params);
    json_decref(params);
    return code;
}

/* 0 or 1, or with --exit-code the run's own; never 0 for a run that did not succeed. */
static int code_of_run(const struct verb_call *call, const json_t *run)
{
    const json_t *exit_code = json_object_get(run, "exit_code");
    int code = (int)json_integer_value(exit_code) & 0xff;

    if (run_view_succeeded(run))
        return EXIT_FINE;
    return verb_flag(call, "exit-code") && code != 0 ? code : EXIT_DIFFERS;
}

/* Ctrl-C ends the waiting, and not the run: what to say then, made beforehand. */
static char goes_on[RUN_ID_MAX * 3 + 128];

static void on_interrupt(int number)
{
    ssize_t n = write(STDERR_FILENO, goes_on, strlen(goes_on));

    (void)n;
    raise(number); /* as the default has it, once this returns: the action was for one time */
}

static void say_at_interrupt(const char *id)
{
    const struct sigaction action = {.sa_handler = on_interrupt, .sa_flags = (int)SA_RESETHAND};
    char shown[RUN_ID_MAX];

    snprintf(shown, sizeof(shown), "%s", id);
    for (char *c = shown; *c; c++)
        if (*c < ' ' || *c > '~')
            *c = '?'; /* a server may answer anything */
    snprintf(goes_on, sizeof(goes_on),
             "\n%s goes on: 'cronsched logs -f %s' follows it, 'cronsched kill %s' ends it\n", shown, shown,
             shown);
    sigaction(SIGINT, &action, NULL);
}

static int wait_for_run(struct cli_context *s, const char *id, int64_t timeout_ms)
{
    const struct verb_call *call = s->call;
    bool follow = verb_flag(call, "follow");
    json_t *run = NULL;
    int code = EXIT_FINE;

    say_at_interrupt(id);

    if (s->out.format == OUTPUT_TABLE) /* with --follow stdout is the log's */
        verb_print(follow ? stderr : stdout, "%s\n", id);
    fflush(stdout);
    if (follow)
        code = log_follow(s, id, &(struct log_request){.tail = -1});
    if (code == EXIT_FINE)
        code = log_follow_wait(s, id, timeout_ms, &run);
    if (code != EXIT_FINE)
        return code;
    s->out.now_ms = output_now_ms();
    if (s->out.format == OUTPUT_TABLE)
        run_view_line(stderr, &s->out, run);
    else
        output_value(&s->out, run);
    code = code_of_run(call, run);
    json_decref(run);
    return code;
}

static int show_triggered(struct cli_context *s, const json_t *reply, int64_t timeout_ms)
{
    const struct verb_call *call = s->call;
    const char *id = run_view_text(reply, "run");

    if (!id)
        return cli_fail(ERR_CORRUPT, "the server named no run");
    if (verb_option(call, "key") && json_is_true(json_object_get(reply, "existing")))
        fprintf(stderr, "cronsched: the key was used before; this is its run\n");
    if (verb_flag(call, "wait") || verb_flag(call, "follow") || verb_flag(call, "exit-code"))
        return wait_for_run(s, id, timeout_ms);
    if (s->out.format == OUTPUT_TABLE)
        printf("%s\n", id);
    else
        output_value(&s->out, reply);
    return EXIT_FINE;
}

static int run_trigger(const struct verb_call *call)
{
    const char *timeout = verb_option(call, "timeout");
    struct cli_context s;
    struct error error;
    json_t *body, *reply = NULL;
    int64_t timeout_ms = 0;
    int code;

    if (timeout && duration_parse(timeout, &timeout_ms, &error) < 0)
        return verb_usage(call, "--timeout: %s", error.text);
    if (timeout && timeout_ms == 0)
        return verb_usage(call, "--timeout: must be above zero");
    if (timeout && verb_flag(call, "follow"))
        return verb_usage(call, "--timeout goes with --wait, not with --follow");
    code = cli_open(&s, call);
    if (code == EXIT_FINE && verb_flag(call, "follow") && s.out.format != OUTPUT_TABLE)
        code = verb_usage(call, "--follow prints the log and does not go with -o");
    body = json_object();
    if (code == EXIT_FINE)
        code = put_key(call, body);
    if (code == EXIT_FINE)
        code = put_params(call, body);
    if (verb_flag(call, "queue"))
        json_object_set_new(body, "queue", json_true());
    if (verb_flag(call, "with-children"))
        json_object_set_new(body, "with_children", json_true());
    if (code == EXIT_FINE) {
        cli_path(&s, "/v1/jobs/%s/trigger", call->args[0]);
        code = cli_send(&s, "POST", body, CLIENT_REPEATABLE, &reply);
    }
    if (code == EXIT_FINE)
        code = show_triggered(&s, reply, timeout_ms);
    json_decref(reply);
    json_decref(body);
    return cli_close(&s, code);
}

const struct verb verb_trigger = {
    .name = "trigger",
    .args = "JOB",
    .help = "run a job now",
    .text = "Prints the run's id as soon as it is recorded: from then on it is not lost. When the answer of "
            "a server is "
            "lost, the next one is asked with the same key, so that there is still only one run.\n\n"
            "A job that forbids overlap and is busy refuses (exit code 6); --queue waits in line instead.",
    .group = VERB_GROUP_RUNS,
    .shared = VERB_SERVER | VERB_OUTPUT,
    .options = options,
    .run = run_trigger,
};
