/* Objects that know their type, for pointers that pass through a `void *`: the argument of a callback, the data
 * of a libuv handle, a base struct that is embedded in a larger one. A pointer to another type, or to an object
 * that was freed, stops the program at once, with file and line. The check is there in release builds, too: it
 * compares eight bytes.
 *
 *     struct ticket {
 *         struct object object;                      first member
 *         ...
 *     };
 *
 *     struct ticket *t = OBJECT_NEW(struct ticket);  zeroed, as by alloc_zero
 *     struct ticket *t = OBJECT(struct ticket, arg); arg: void *, never NULL
 *     OBJECT_FREE(struct ticket, t);                 t may be NULL
 *
 * One that is not allocated by itself (a member, a variable) is marked by OBJECT_INIT, or in its initializer by
 * .object = OBJECT_MARK(struct ticket), and OBJECT_CLEAR ends its life. OBJECT_OF leads from an embedded member to the object around it:
 *
 *     struct zookeeper *zk = OBJECT_OF(struct zookeeper, coord, coord);
 *
 * The type is always written in full, "struct ticket", since its text makes the magic number: two types of one
 * name in different files cannot be distinguished. Copying an object by assignment copies its mark. Allocation fails
 * as in jobs/base/alloc.h. Any thread.
 */
#pragma once

#include "jobs/base/alloc.h"

#include <stddef.h>
#include <stdint.h>

#define OBJECT_TYPE_MAX 48 /* bytes of "struct NAME"; the compiler refuses longer ones */

struct object {
    uint64_t magic;
};

/* Of a type's name, padded with NULs. The compiler computes it. */
static inline uint64_t object_magic(const char type[OBJECT_TYPE_MAX])
{
    uint64_t magic = 0, word;

#pragma GCC unroll 8 /* or it would be done at run time */
    for (size_t i = 0; i < OBJECT_TYPE_MAX; i += sizeof(word)) {
        memcpy(&word, type + i, sizeof(word));
        magic = (magic ^ word) * UINT64_C(0x9e3779b97f4a7c15);
        magic ^= magic >> 32;
    }
    return magic;
}

/* Says what was expected where, and aborts. */
_Noreturn void object_wrong(const void *pointer, const char *type, const char *file, int line);

static inline void *object_check(const void *pointer, uint64_t magic, const char *type, const char *file,
                                 int line)
{
    uint64_t found;

    if (!pointer)
        object_wrong(pointer, type, file, line);
    memcpy(&found, pointer, sizeof(found)); /* not through struct object: it may be of any type */
    if (found != magic)
        object_wrong(pointer, type, file, line);
    return (void *)(uintptr_t)pointer;
}

static inline void *object_mark(void *pointer, uint64_t magic)
{
    ((struct object *)pointer)->magic = magic;
    return pointer;
}

/* The compiler must not drop the store because the memory is freed next. */
static inline void object_unmark(void *pointer)
{
    *(volatile uint64_t *)&((struct object *)pointer)->magic = 0;
}

/* An array of a negative size does not compile: `object` is the first member. */
#define OBJECT_MAGIC(type)                                                                                   \
    (object_magic((const char[OBJECT_TYPE_MAX]){#type}) * sizeof(char[offsetof(type, object) == 0 ? 1 : -1]))

#define OBJECT(type, pointer) ((type *)object_check((pointer), OBJECT_MAGIC(type), #type, __FILE__, __LINE__))

/* pointer: to the member of that name; its type is checked by the compiler, the object's by its mark. */
#define OBJECT_OF(type, member, pointer)                                                                     \
    OBJECT(type, (const char *)(1 ? (pointer) : &((type *)NULL)->member) - offsetof(type, member))

#define OBJECT_INIT(type, pointer)  ((void)object_mark(1 ? (pointer) : (type *)NULL, OBJECT_MAGIC(type)))
#define OBJECT_MARK(type)           ((struct object){OBJECT_MAGIC(type)})
#define OBJECT_CLEAR(type, pointer) object_unmark(OBJECT(type, pointer))

#define OBJECT_NEW(type) ((type *)object_mark(alloc_zero(sizeof(type)), OBJECT_MAGIC(type)))
/* With room for a flexible array behind it. */
#define OBJECT_NEW_SIZE(type, size) ((type *)object_mark(alloc_zero(size), OBJECT_MAGIC(type)))

#define OBJECT_FREE(type, pointer)                                                                           \
    do {                                                                                                     \
        type *object_gone = (pointer);                                                                       \
                                                                                                             \
        if (object_gone)                                                                                     \
            OBJECT_CLEAR(type, object_gone);                                                                 \
        free(object_gone);                                                                                   \
    } while (0)
