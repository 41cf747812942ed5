#include "cronsched/cli/cli_context.h"

#include "cronsched/cli/human_time.h"
#include "jobs/base/percent.h"
#include "jobs/time/instant.h"

#include <assert.h>
#include <string.h>

int cli_open(struct cli_context *cli, const struct verb_call *call)
{
    struct error error = {0};

    *cli = (struct cli_context){.call = call};
    text_init(&cli->path, CLI_PATH_MAX);
    output_init(&cli->out, call);
    if (client_init(&cli->client, call, &error) < 0)
        return verb_fail(&error);
    cli->client.raw = cli->out.format != OUTPUT_TABLE; /* whose own escapes are enough */
    return EXIT_FINE;
}

int cli_close(struct cli_context *cli, int code)
{
    client_release(&cli->client);
    text_release(&cli->path);
    return code;
}

int cli_fail(int error_code, const char *format, ...)
{
    struct error error;
    va_list ap;

    va_start(ap, format);
    error_setv(&error, error_code, format, ap);
    va_end(ap);
    return verb_fail(&error);
}

/* ---- paths ---- */

const char *cli_path(struct cli_context *cli, const char *format, ...)
{
    va_list ap;

    text_clear(&cli->path);
    va_start(ap, format);
    for (; *format; format++) {
        const char *part;

        if (*format != '%') {
            text_add_char(&cli->path, *format);
            continue;
        }
        format++;
        assert(*format == 's');
        part = va_arg(ap, const char *);
        if (!*part)
            cli->path.failed = ERR_INVALID; /* it would be another path */
        percent_add(&cli->path, part);
    }
    va_end(ap);
    return text_str(&cli->path);
}

void cli_query(struct cli_context *cli, const char *key, const char *value)
{
    client_add_query(&cli->path, key, value);
}

static int read_time(struct cli_context *cli, const char *name, int sense, char *buffer, size_t size,
                     bool *ret_given)
{
    const char *value = verb_option(cli->call, name);
    struct error error;
    int64_t ms;

    *ret_given = value != NULL;
    if (!value)
        return EXIT_FINE;
    if (human_time_parse(value, cli->out.now_ms, (enum human_time_sense)sense, &ms, &error) < 0)
        return verb_usage(cli->call, "--%s: %s", name, error.text);
    instant_format(ms, ms % 1000 ? INSTANT_MS : INSTANT_S, buffer, size);
    return EXIT_FINE;
}

int cli_query_time(struct cli_context *cli, const char *name, const char *key, int sense)
{
    char buffer[TEXT_NUMBER_BUFFER];
    bool given;
    int code = read_time(cli, name, sense, buffer, sizeof(buffer), &given);

    if (code == EXIT_FINE && given)
        cli_query(cli, key, buffer);
    return code;
}

int cli_query_range(struct cli_context *cli)
{
    const char *since = verb_option(cli->call, "since"), *until = verb_option(cli->call, "until");
    int code = cli_query_time(cli, "since", "since", HUMAN_TIME_PAST);
    int64_t from_ms, to_ms;

    if (code == EXIT_FINE)
        code = cli_query_time(cli, "until", "until", HUMAN_TIME_PAST);
    if (code == EXIT_FINE && since && until &&
        human_time_parse(since, cli->out.now_ms, HUMAN_TIME_PAST, &from_ms, NULL) == 0 &&
        human_time_parse(until, cli->out.now_ms, HUMAN_TIME_PAST, &to_ms, NULL) == 0 && from_ms > to_ms)
        code = verb_usage(cli->call, "--since is later than --until");
    return code;
}

int cli_put_time(struct cli_context *cli, json_t *object, const char *name, const char *key, int sense)
{
    char buffer[TEXT_NUMBER_BUFFER];
    bool given;
    int code = read_time(cli, name, sense, buffer, sizeof(buffer), &given);

    if (code == EXIT_FINE && given)
        json_object_set_new(object, key, json_string(buffer));
    return code;
}

int cli_put_text(const struct verb_call *call, json_t *object, const char *key, const char *what,
                 const char *value)
{
    if (json_object_set_new(object, key, json_string(value)) < 0)
        return verb_usage(call, "%s is not UTF-8", what);
    return EXIT_FINE;
}

/* ---- requests ---- */

int cli_send(struct cli_context *cli, const char *method, const json_t *body, enum client_repeat repeat,
             json_t **ret)
{
    struct error error = {0};

    if (cli->path.failed == ERR_INVALID)
        return cli_fail(ERR_INVALID, "a name is empty");
    if (cli->path.failed)
        return cli_fail(ERR_LIMIT, "a name or an option is too long");
    if (client_call(&cli->client, method, text_str(&cli->path), body, repeat, ret, &error) < 0)
        return verb_fail(&error);
    return EXIT_FINE;
}

int cli_get(struct cli_context *cli, json_t **ret)
{
    return cli_send(cli, "GET", NULL, CLIENT_REPEATABLE, ret);
}

const char *cli_text_at(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text ? text : "";
}

int cli_end(struct cli_context *cli, int code, json_t *reply, void (*tell)(const json_t *reply))
{
    if (code == EXIT_FINE && cli->out.format != OUTPUT_TABLE)
        output_value(&cli->out, reply);
    else if (code == EXIT_FINE)
        tell(reply);
    json_decref(reply);
    return cli_close(cli, code);
}

int cli_show(struct cli_context *cli, void (*show)(const struct output *out, const json_t *reply))
{
    json_t *reply = NULL;
    int code = cli_get(cli, &reply);

    if (code == EXIT_FINE)
        show(&cli->out, reply);
    json_decref(reply);
    return cli_close(cli, code);
}
