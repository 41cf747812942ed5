/* Allocators that fail when a test wants it. The linker puts them in front of the real ones (meson.build,
 * failing_allocators); libraries keep theirs, but for jansson where a test gives it ours.
 *
 *   countdown = 7; failed = false; watching = true; ...; watching = false;
 *
 * The seventh allocation fails, and `more` after it, in whichever threads.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

#define ALL_AFTER_IT (1L << 40)

extern atomic_bool watching, failed;
extern atomic_long countdown;
extern long more;

/* Counts an allocation; true when it is one that is to fail. Any thread. */
bool fails(void);
