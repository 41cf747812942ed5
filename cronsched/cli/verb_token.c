/* token: makes a token for the tokens_file of the server. */
#include "cronsched/cli/output.h"
#include "cronsched/http/auth.h"

#include <string.h>

static const struct verb_option options[] = {
    {"role", 0, "read|operate|admin", "what it allows (default operate: trigger, kill, pause)"},
    {"append", 0, "FILE", "add the line to this tokens_file; then only the token is printed"},
    {0}};

static void print_token(const struct output *out, const char *name, const char *role, const char *token,
                        const char *line, bool appended)
{
    json_t *answer;

    if (out->format == OUTPUT_TABLE && appended) {
        printf("%s\n", token);
        return;
    }
    if (out->format == OUTPUT_TABLE) {
        printf("Token, shown only now:  %s\nLine for tokens_file:   %s\n", token, line);
        return;
    }
    answer = json_pack("{s:s,s:s,s:s,s:s}", "name", name, "role", role, "token", token, "line", line);
    output_value(out, answer);
    json_decref(answer);
}

static int run_token(const struct verb_call *call)
{
    const char *role_name = verb_option(call, "role"), *file = verb_option(call, "append");
    char token[AUTH_TOKEN_SIZE], line[AUTH_LINE_SIZE];
    enum auth_role role = AUTH_OPERATE;
    struct output out;
    struct error error;
    int code = EXIT_FINE;

    output_init(&out, call);
    if (role_name)
        auth_role_parse(role_name, &role);
    if (auth_token_new(call->args[0], role, token, line, &error) < 0)
        return verb_fail(&error);
    if (file && auth_token_append(file, call->args[0], line, &error) < 0)
        code = verb_fail(&error);
    if (code == EXIT_FINE)
        print_token(&out, call->args[0], auth_role_name(role), token, line, file != NULL);
    explicit_bzero(token, sizeof(token));
    return code;
}

const struct verb verb_token = {
    .name = "token",
    .args = "NAME",
    .help = "make a token for the tokens_file of a server",
    .text = "The server stores only its hash. Callers pass the token with --token-file, or as "
            "'Authorization: Bearer'.",
    .group = VERB_GROUP_SERVER,
    .shared = VERB_OUTPUT,
    .options = options,
    .run = run_token,
};
