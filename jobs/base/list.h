/* An intrusive doubly linked list: a head and links are the same struct; an empty list points at itself. A link has
 * to be initialized by list_init or list_append before it is removed. */
#pragma once

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>

struct list {
    struct list *next, *prev;
};

#define LIST_ITEM(link, type, member) ((type *)(void *)((char *)(link)-offsetof(type, member)))
#define LIST_EACH(link, head)         for (struct list *link = (head)->next; link != (head); link = link->next)
/* The current item may be removed, no other. */
#define LIST_EACH_SAFE(link, head)                                                                           \
    for (struct list *link = (head)->next, *link##_next = link->next; link != (head);                        \
         link = link##_next, link##_next = link->next)

static inline void list_init(struct list *l)
{
    l->next = l->prev = l;
}

static inline bool list_empty(const struct list *l)
{
    return l->next == l;
}

static inline void list_append(struct list *head, struct list *link)
{
    assert(link != head && head->prev->next == head);
    link->prev = head->prev;
    link->next = head;
    head->prev->next = link;
    head->prev = link;
}

/* Removing twice is harmless. */
static inline void list_remove(struct list *link)
{
    assert(link->prev->next == link && link->next->prev == link);
    link->prev->next = link->next;
    link->next->prev = link->prev;
    list_init(link);
}
