#include "cronsched/cli/cli_context.h"

#include "cronsched/cli/human_time.h"
#include "jobs/base/percent.h"
#include "jobs/time/instant.h"

#include <assert.h>
#include <string.h>

int session_open(struct session *session, const struct verb_call *call)
{
    struct error error = {0};

    *session = (struct session){.call = call};
    text_init(&session->path, SESSION_PATH_MAX);
    output_init(&session->out, call);
    if (client_init(&session->client, call, &error) < 0)
        return verb_fail(&error);
    return EXIT_FINE;
}

int session_close(struct session *session, int code)
{
    client_release(&session->client);
    text_release(&session->path);
    return code;
}

int session_fail(int error_code, const char *format, ...)
{
    struct error error;
    va_list ap;

    va_start(ap, format);
    error_setv(&error, error_code, format, ap);
    va_end(ap);
    return verb_fail(&error);
}

/* --- paths ---------------------------------------------------------------------------------------------- */

const char *session_path(struct session *session, const char *format, ...)
{
    va_list ap;

    text_clear(&session->path);
    va_start(ap, format);
    for (; *format; format++) {
        if (*format != '%') {
            text_add_char(&session->path, *format);
            continue;
        }
        format++;
        assert(*format == 's');
        percent_add(&session->path, va_arg(ap, const char *));
    }
    va_end(ap);
    return text_str(&session->path);
}

void session_query(struct session *session, const char *key, const char *value)
{
    client_add_query(&session->path, key, value);
}

static int read_time(struct session *session, const char *name, int sense, char *buffer, size_t size,
                     bool *ret_given)
{
    const char *value = verb_option(session->call, name);
    struct error error;
    int64_t ms;

    *ret_given = value != NULL;
    if (!value)
        return EXIT_FINE;
    if (when_parse(value, session->out.now_ms, (enum when_sense)sense, &ms, &error) < 0)
        return verb_usage(session->call, "--%s: %s", name, error.text);
    instant_format(ms, ms % 1000 ? INSTANT_MS : INSTANT_S, buffer, size);
    return EXIT_FINE;
}

int session_query_time(struct session *session, const char *name, const char *key, int sense)
{
    char buffer[TEXT_NUMBER_BUFFER];
    bool given;
    int code = read_time(session, name, sense, buffer, sizeof(buffer), &given);

    if (code == EXIT_FINE && given)
        session_query(session, key, buffer);
    return code;
}

int session_put_time(struct session *session, json_t *object, const char *name, const char *key, int sense)
{
    char buffer[TEXT_NUMBER_BUFFER];
    bool given;
    int code = read_time(session, name, sense, buffer, sizeof(buffer), &given);

    if (code == EXIT_FINE && given)
        json_object_set_new(object, key, json_string(buffer));
    return code;
}

int session_put_text(const struct verb_call *call, json_t *object, const char *key, const char *what,
                     const char *value)
{
    if (json_object_set_new(object, key, json_string(value)) < 0)
        return verb_usage(call, "%s is not UTF-8", what);
    return EXIT_FINE;
}

/* --- requests ------------------------------------------------------------------------------------------- */

int session_send(struct session *session, const char *method, const json_t *body, enum client_repeat repeat,
                 json_t **ret)
{
    struct error error = {0};

    if (session->path.failed)
        return session_fail(ERR_LIMIT, "a name or an option is too long");
    if (client_call(&session->client, method, text_str(&session->path), body, repeat, ret, &error) < 0)
        return verb_fail(&error);
    return EXIT_FINE;
}

int session_get(struct session *session, json_t **ret)
{
    return session_send(session, "GET", NULL, CLIENT_REPEATABLE, ret);
}

int session_show(struct session *session, void (*show)(const struct output *out, const json_t *reply))
{
    json_t *reply = NULL;
    int code = session_get(session, &reply);

    if (code == EXIT_FINE)
        show(&session->out, reply);
    json_decref(reply);
    return session_close(session, code);
}
