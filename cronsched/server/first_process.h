/* In a container without an init the server is the first process: orphans become its children, and nobody but it can reap
 * them. */
#pragma once

/* As process 1 it forks: the child returns, and is the server. The first process passes signals on to it, reaps whatever
 * ends, and exits as it does. Any other process just returns. Before any thread is made. */
void first_process_split(void);
