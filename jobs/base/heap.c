#include "jobs/base/heap.h"

#include "jobs/base/alloc.h"

#include <assert.h>

void heap_init(struct heap *h)
{
    *h = (struct heap){0};
}

void heap_release(struct heap *h)
{
    free(h->items);
    *h = (struct heap){0};
}

static bool before(const struct heap_item *a, const struct heap_item *b)
{
    if (a->at != b->at)
        return a->at < b->at;
    if (a->priority != b->priority)
        return a->priority > b->priority;
    return a->seq < b->seq;
}

/* An item is in this heap at its slot, or in none. */
static bool is_sound(const struct heap *h, const struct heap_item *item)
{
    return item->slot == 0 || (item->slot <= h->count && h->items[item->slot] == item);
}

static void place(struct heap *h, size_t slot, struct heap_item *item)
{
    assert(slot > 0 && slot < h->capacity);
    h->items[slot] = item;
    item->slot = slot;
}

/* Moves the item at slot to where it belongs, up or down. */
static void settle(struct heap *h, size_t slot)
{
    struct heap_item *item = h->items[slot];

    assert(slot > 0 && slot <= h->count);
    while (slot > 1 && before(item, h->items[slot / 2])) {
        place(h, slot, h->items[slot / 2]);
        slot /= 2;
    }
    for (;;) {
        size_t child = slot * 2;

        if (child > h->count)
            break;
        if (child < h->count && before(h->items[child + 1], h->items[child]))
            child++;
        if (!before(h->items[child], item))
            break;
        place(h, slot, h->items[child]);
        slot = child;
    }
    place(h, slot, item);
    assert(slot == 1 || !before(item, h->items[slot / 2]));
}

void heap_set(struct heap *h, struct heap_item *item, int64_t at)
{
    assert(is_sound(h, item));
    if (at == HEAP_NEVER) {
        heap_remove(h, item);
        return;
    }
    item->at = at;
    if (item->slot == 0) {
        if (h->count + 1 >= h->capacity) {
            h->capacity = h->capacity ? h->capacity * 2 : 64;
            h->items = alloc_resize(h->items, h->capacity * sizeof(struct heap_item *));
        }
        place(h, ++h->count, item);
    }
    settle(h, item->slot);
}

void heap_remove(struct heap *h, struct heap_item *item)
{
    size_t slot = item->slot;

    assert(is_sound(h, item));
    if (slot == 0)
        return;
    item->slot = 0;
    if (slot != h->count) {
        place(h, slot, h->items[h->count--]);
        settle(h, slot);
    } else {
        h->count--;
    }
}

struct heap_item *heap_first(const struct heap *h)
{
    assert(h->count == 0 || h->items[1]->slot == 1);
    return h->count ? h->items[1] : NULL;
}
