/* ui: a link to the page that logs in once. */
#include "cronsched/cli/cli_context.h"

#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* Where there is a desktop its browser is shown the link; what comes of that is its affair. */
static void open_browser(const char *url)
{
    char *words[] = {(char *)(uintptr_t) "xdg-open", (char *)(uintptr_t)url, NULL};
    posix_spawn_file_actions_t actions;
    pid_t pid;

    if (!getenv("DISPLAY") && !getenv("WAYLAND_DISPLAY"))
        return;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    if (posix_spawnp(&pid, words[0], &actions, NULL, words, environ) == 0)
        waitpid(pid, NULL, 0);
    posix_spawn_file_actions_destroy(&actions);
}

static int run_ui(const struct verb_call *call)
{
    struct cli_context s;
    json_t *body = json_object(), *reply = NULL;
    int code = cli_open(&s, call);

    if (code == EXIT_FINE) {
        cli_path(&s, "/v1/session/link");
        code = cli_send(&s, "POST", body, CLIENT_ONCE, &reply);
    }
    if (code == EXIT_FINE && s.out.format != OUTPUT_TABLE) {
        output_value(&s.out, reply);
    } else if (code == EXIT_FINE) {
        verb_print(stdout, "%s\n", cli_text_at(reply, "url"));
        verb_print(stderr, "This link logs in once, as %s (%s), within %lld s.\n", cli_text_at(reply, "name"),
                   cli_text_at(reply, "role"), json_integer_value(json_object_get(reply, "expires_s")));
        if (!verb_flag(call, "print"))
            open_browser(cli_text_at(reply, "url"));
    }
    json_decref(body);
    json_decref(reply);
    return cli_close(&s, code);
}

static const struct verb_option options[] = {{"print", 0, NULL, "print the link and open nothing"}, {0}};

const struct verb verb_ui = {
    .name = "ui",
    .help = "print a link to the web page that logs in once",
    .text = "Where there is a desktop, its browser is opened. The link is good for two minutes, at the "
            "server that made it, and "
            "gives the role that the caller has. The server has to listen at a TCP address: its unix sockets "
            "are out of a browser's "
            "reach.",
    .group = VERB_GROUP_SERVER,
    .shared = VERB_SERVER | VERB_OUTPUT,
    .options = options,
    .run = run_ui,
};
