/* All processes that descend from this one, however often they fork and whatever session they are in: for a supervisor,
 * which is the subreaper of its command. They are found by their parents in /proc, and in the attempt's control group
 * where there is one; where neither can be read, only the command's own process group and this process's children are.
 *
 * `command` is the command's pid, whose process group has the same number: a child that is not reaped yet, or 0 once it is.
 * `group` is the path of the control group, "" for none.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

/* Asks them to end: SIGTERM and then SIGCONT, since one that is suspended would not hear the first, to each process group
 * once, parents before their children. What is forked from now on, as by a handler of SIGTERM, is left alone. */
void descendants_stop(pid_t command, const char *group);

/* SIGKILL to the command's process group, to the children of this process and to the control group. Orphans become
 * children of this process when their parents have gone: reap, and do it again. */
void descendants_kill(pid_t command, const char *group);
