/* "Did you mean": names that are near to what was written. Pure functions; any thread. */
#pragma once

#include <stddef.h>

#define NEAR_NAME_MAX 128 /* longer names are never "near" anything */

/* How many letters to insert, delete, replace or swap with their neighbour; ASCII case counts for nothing.
 * SIZE_MAX when either is longer than NEAR_NAME_MAX. */
size_t near_distance(const char *a, const char *b);

/* The name of the list that is most likely meant, or NULL when none is near. */
const char *near_find(const char *name, const char *const *names, size_t count);

#define NEAR_HINT_BUFFER 192 /* bytes for near_hint; a longer name is cut */

/* "; did you mean 'NAME'?", for the end of a message; nothing when `near` is NULL. Returns buffer. */
const char *near_hint(const char *near, char *buffer, size_t size);
