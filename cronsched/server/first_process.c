#include "cronsched/server/first_process.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* Those that the kernel raises for a fault of the process itself are not blocked: they end it. */
static void all_signals(sigset_t *ret)
{
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS};

    sigfillset(ret);
    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++)
        sigdelset(ret, faults[i]);
}

/* Leaves with the server. */
static void reap(pid_t server)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        if (pid == server)
            _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

void first_process_split(void)
{
    sigset_t all, before;
    siginfo_t info;
    pid_t server;

    if (getpid() != 1)
        return;
    all_signals(&all);
    sigprocmask(SIG_BLOCK, &all, &before);
    server = fork();
    if (server <= 0) {
        if (server < 0)
            perror("cronsched: cannot fork; zombies will be left");
        sigprocmask(SIG_SETMASK, &before, NULL);
        return;
    }
    for (;;) {
        int number = sigwaitinfo(&all, &info);

        if (number == SIGCHLD)
            reap(server);
        else if (number > 0)
            kill(server, number);
    }
}
