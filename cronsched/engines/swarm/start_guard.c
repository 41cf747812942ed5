/* The start guard: the entrypoint of a container that must be started once. It makes a folder, which fails when there is one,
 * and becomes the program that it is given.
 *
 *   start-guard MARK PROGRAM [ARGUMENT...]
 *
 * MARK lies in a volume of the container's own, which stays when an engine starts the container again. Where no mark can be made
 * (the container's user may not, or there is no room) the program runs unguarded: a guard must not keep a job from running.
 *
 * It has to run in any image, an empty one too: no library, no loader, no writable place but MARK's. It passes on what it
 * was given: arguments, environment, process id, so signals and the exit code are the program's own. A name without a slash
 * is looked for along PATH, as the runtime does. Exit codes as a shell's: 127 not found, 126 not executable; 125: started again.
 */
#include <stddef.h>

#define E_NOENT  2
#define E_ACCES  13
#define E_EXIST  17
#define PATH_MAX 4096

#define EXIT_AGAIN          125
#define EXIT_NOT_EXECUTABLE 126
#define EXIT_NOT_FOUND      127

#if defined(__x86_64__)
#define CALL_WRITE  1
#define CALL_EXECVE 59
#define CALL_EXIT   60
#define CALL_MKDIR  258 /* mkdirat */
__asm__(".globl _start\n_start:\n\tmov %rsp, %rdi\n\tand $-16, %rsp\n\tcall start_guard_main\n");

static long call(long number, long a, long b, long c)
{
    long result;

    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
    return result;
}
#elif defined(__aarch64__)
#define CALL_WRITE  64
#define CALL_EXECVE 221
#define CALL_EXIT   93
#define CALL_MKDIR  34 /* mkdirat */
__asm__(".globl _start\n_start:\n\tmov x0, sp\n\tbl start_guard_main\n");

static long call(long number, long a, long b, long c)
{
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;

    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2) : "memory");
    return x0;
}
#else
#error "the start guard is for x86-64 and arm64; build without it: -Dstart_guard=disabled"
#endif

#define AT_FDCWD (-100)

static size_t length(const char *s)
{
    size_t n = 0;

    while (s[n])
        n++;
    return n;
}

static void say(const char *text)
{
    call(CALL_WRITE, 2, (long)text, (long)length(text));
}

static __attribute__((noreturn)) void leave(int code)
{
    for (;;)
        call(CALL_EXIT, code, 0, 0);
}

static long execute(const char *path, char **arguments, char **environment)
{
    return call(CALL_EXECVE, (long)path, (long)arguments, (long)environment);
}

static const char *path_of(char **environment)
{
    for (; *environment; environment++) {
        const char *e = *environment;

        if (e[0] == 'P' && e[1] == 'A' && e[2] == 'T' && e[3] == 'H' && e[4] == '=')
            return e + 5;
    }
    return "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
}

/* FOLDER/NAME; 0: it is too long. */
static int join(char *to, const char *folder, size_t size, const char *name)
{
    size_t n = length(name);

    if (size + n + 2 > PATH_MAX)
        return 0;
    for (size_t i = 0; i < size; i++)
        to[i] = folder[i];
    to[size] = '/';
    for (size_t i = 0; i <= n; i++)
        to[size + 1 + i] = name[i];
    return 1;
}

/* Comes back with why not. */
static long execute_along(const char *folders, char **arguments, char **environment)
{
    static char path[PATH_MAX];
    long why = -E_NOENT, result;

    for (;;) {
        size_t n = 0;

        while (folders[n] && folders[n] != ':')
            n++;
        if (n > 0 && join(path, folders, n, arguments[0])) {
            result = execute(path, arguments, environment);
            why = result == -E_NOENT ? why : result;
        }
        if (!folders[n])
            return why;
        folders += n + 1;
    }
}

static int has_slash(const char *name)
{
    while (*name && *name != '/')
        name++;
    return *name == '/';
}

/* stack: the number of arguments, they, NULL, the environment, NULL */
__attribute__((used, noreturn)) void start_guard_main(long *stack)
{
    char **arguments = (char **)(stack + 1), **environment = arguments + stack[0] + 1;
    long why;

    if (stack[0] < 3)
        leave(EXIT_NOT_FOUND);
    if (call(CALL_MKDIR, AT_FDCWD, (long)arguments[1], 0755) == -E_EXIST) {
        say("cronsched: the engine started this container again, and the start guard ended it\n");
        leave(EXIT_AGAIN);
    }
    arguments += 2;
    if (has_slash(arguments[0]))
        why = execute(arguments[0], arguments, environment);
    else
        why = execute_along(path_of(environment), arguments, environment);
    say("cronsched: ");
    say(arguments[0]);
    say(why == -E_NOENT ? ": command not found in the image\n" : ": it cannot be executed\n");
    leave(why == -E_NOENT ? EXIT_NOT_FOUND : EXIT_NOT_EXECUTABLE);
}
