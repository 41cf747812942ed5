/* An indexed binary heap of things to do at a time: each item knows its slot, so that moving or removing one
 * is O(log n). Order: at, then priority (higher first), then seq: total, so that a replay does the same.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HEAP_NEVER INT64_MAX

struct heap_item {
    int64_t at;
    int priority;
    uint64_t seq;
    size_t slot; /* from 1; 0: not in a heap */
};

struct heap {
    struct heap_item **items; /* items[1..count] */
    size_t count, capacity;
};

void heap_init(struct heap *h);
void heap_release(struct heap *h); /* the items are the caller's */
/* Puts the item at that time, moves it when it is in the heap already, or removes it with HEAP_NEVER. An item is in
 * one heap at most, and does not move in memory while it is. */
void heap_set(struct heap *h, struct heap_item *item, int64_t at);
void heap_remove(struct heap *h, struct heap_item *item); /* nothing happens when it is not in the heap */
struct heap_item *heap_first(const struct heap *h);       /* NULL: empty */
