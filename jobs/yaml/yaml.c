#include "jobs/yaml/yaml_priv.h"

#include <assert.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ARENA_CHUNK_BYTES ((size_t)32 * 1024)

struct yaml_chunk {
    struct yaml_chunk *next;
    size_t used, size;
    max_align_t data[];
};

struct anchor {
    const char *name;
    struct yaml_node *node;
    bool open; /* its node is not complete: an alias would contain itself */
};

/* A list or map that is not complete yet. Of a map, keys and values alternate. */
struct frame {
    struct yaml_node *node;
    struct anchor *anchor; /* NULL: none */
    struct yaml_node **children;
    size_t count, capacity;
};

struct builder {
    struct yaml_doc *doc;
    const struct yaml_limits *limits;
    struct yaml_sink *sink;
    const char *source;
    size_t source_size;
    yaml_parser_t parser;
    struct frame frames[YAML_DEPTH_MAX];
    int depth;
    struct anchor anchors[YAML_ANCHORS_MAX];
    size_t anchor_count;
    bool ended;
};

/* A fault at an event or a node: both begin somewhere. */
#define FAULT_AT_EVENT(b, event, ...)                                                                        \
    yaml_fault((b)->sink, yaml_mark_line(&(event)->start_mark), yaml_mark_column(&(event)->start_mark),      \
               __VA_ARGS__)
#define FAULT_AT_NODE(b, node, ...) yaml_fault((b)->sink, (node)->line, (node)->column, __VA_ARGS__)

/* ---- memory ---- */

void *yaml_doc_alloc(struct yaml_doc *doc, size_t size)
{
    struct yaml_chunk *chunk = doc->chunks;
    size_t align = sizeof(max_align_t);
    void *p;

    size = (size + align - 1) / align * align;
    if (!chunk || chunk->size - chunk->used < size) {
        size_t room = size > ARENA_CHUNK_BYTES / 4 ? size : ARENA_CHUNK_BYTES;

        chunk = malloc(sizeof(*chunk) + room);
        if (!chunk)
            return NULL;
        chunk->used = 0;
        chunk->size = room;
        chunk->next = doc->chunks;
        doc->chunks = chunk;
    }
    p = (char *)chunk->data + chunk->used;
    chunk->used += size;
    return p;
}

struct yaml_node *yaml_doc_node(struct yaml_doc *doc, enum yaml_kind kind)
{
    struct yaml_node *node = yaml_doc_alloc(doc, sizeof(*node));

    if (node)
        *node = (struct yaml_node){.kind = kind, .weight = 1};
    return node;
}

static const char *arena_text(struct yaml_doc *doc, const char *s, size_t size)
{
    char *copy = yaml_doc_alloc(doc, size + 1);

    if (!copy)
        return NULL;
    memcpy(copy, s, size);
    copy[size] = '\0';
    return copy;
}

void yaml_doc_free(struct yaml_doc *doc)
{
    if (!doc)
        return;
    while (doc->chunks) {
        struct yaml_chunk *next = doc->chunks->next;

        free(doc->chunks);
        doc->chunks = next;
    }
    free(doc);
}

const struct yaml_node *yaml_doc_root(const struct yaml_doc *doc)
{
    return doc->root;
}

/* ---- the core types ---- */

static bool one_of(const char *s, const char *const *words)
{
    for (; *words; words++)
        if (strcmp(s, *words) == 0)
            return true;
    return false;
}

static const char *skip_digits(const char *s, const char *digits)
{
    return s + strspn(s, digits);
}

/* [-+]?[0-9]+ | 0o[0-7]+ | 0x[0-9a-fA-F]+ */
static bool is_integer(const char *s, int *ret_base)
{
    static const struct {
        const char *prefix, *digits;
        int base;
    } forms[] = {{"0o", "01234567", 8}, {"0x", "0123456789abcdefABCDEF", 16}};
    const char *digits = *s == '-' || *s == '+' ? s + 1 : s;

    for (size_t i = 0; i < 2; i++)
        if (strncmp(s, forms[i].prefix, 2) == 0 && s[2] && !*skip_digits(s + 2, forms[i].digits)) {
            *ret_base = forms[i].base;
            return true;
        }
    *ret_base = 10;
    return *digits && !*skip_digits(digits, "0123456789");
}

/* [-+]? ( \.[0-9]+ | [0-9]+ ( \.[0-9]* )? ) ( [eE] [-+]? [0-9]+ )? */
static bool is_real(const char *s)
{
    const char *at = *s == '-' || *s == '+' ? s + 1 : s;
    const char *end = skip_digits(at, "0123456789");
    bool digits = end > at;

    if (*end == '.') {
        at = end + 1;
        end = skip_digits(at, "0123456789");
        digits = digits || end > at;
    }
    if (digits && (*end == 'e' || *end == 'E')) {
        at = end + 1;
        if (*at == '-' || *at == '+')
            at++;
        end = skip_digits(at, "0123456789");
        digits = end > at;
    }
    return digits && !*end;
}

/* strtod minds the locale, YAML does not. */
static double parse_real(const char *s)
{
    locale_t c = newlocale(LC_ALL_MASK, "C", NULL);
    double value = c ? strtod_l(s, NULL, c) : 0;

    if (c)
        freelocale(c);
    return value;
}

static bool parse_integer(const char *s, int base, int64_t *ret)
{
    const char *digits = s;
    int64_t value = 0;

    if (base != 10)
        digits += 2;
    else if (*s == '-' || *s == '+')
        digits++;
    for (; *digits; digits++) {
        int d = *digits <= '9' ? *digits - '0' : (*digits | 0x20) - 'a' + 10;

        if (__builtin_mul_overflow(value, base, &value) ||
            __builtin_add_overflow(value, *s == '-' ? -d : d, &value))
            return false;
    }
    *ret = value;
    return true;
}

/* Gives a plain scalar its kind. A number beyond 64 bits becomes a real. */
static void resolve_plain(struct yaml_node *node)
{
    static const char *const nulls[] = {"", "~", "null", "Null", "NULL", NULL};
    static const char *const trues[] = {"true", "True", "TRUE", NULL};
    static const char *const falses[] = {"false", "False", "FALSE", NULL};
    static const char *const infinities[] = {".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF", NULL};
    static const char *const minuses[] = {"-.inf", "-.Inf", "-.INF", NULL};
    static const char *const nans[] = {".nan", ".NaN", ".NAN", NULL};
    const char *s = node->text;
    int base;

    node->kind = YAML_TEXT;
    if (one_of(s, nulls)) {
        node->kind = YAML_NULL;
    } else if (one_of(s, trues) || one_of(s, falses)) {
        node->kind = YAML_BOOL;
        node->boolean = one_of(s, trues);
    } else if (is_integer(s, &base) && parse_integer(s, base, &node->integer)) {
        node->kind = YAML_INT;
        node->number = (double)node->integer;
    } else if (is_real(s)) {
        node->kind = YAML_REAL;
        node->number = parse_real(s);
    } else if (one_of(s, infinities) || one_of(s, minuses) || one_of(s, nans)) {
        node->kind = YAML_REAL;
        node->number = one_of(s, minuses) ? -INFINITY : INFINITY;
        if (one_of(s, nans))
            node->number = NAN;
    }
}

/* ---- building ---- */

static int frame_add(struct builder *b, struct frame *frame, struct yaml_node *child)
{
    if (frame->count == frame->capacity) {
        size_t capacity = frame->capacity ? frame->capacity * 2 : 16;
        struct yaml_node **children = realloc(frame->children, capacity * sizeof(struct yaml_node *));

        if (!children)
            return ERR_NOMEM;
        frame->children = children;
        frame->capacity = capacity;
    }
    frame->children[frame->count++] = child;
    return 0;
}

static int too_large(struct builder *b, const yaml_event_t *event)
{
    FAULT_AT_EVENT(b, event, "more than %zu values, counting what aliases refer to", b->limits->nodes);
    return ERR_LIMIT;
}

static bool key_is_next(const struct builder *b)
{
    const struct frame *frame = b->depth > 0 ? &b->frames[b->depth - 1] : NULL;

    return frame && frame->node->kind == YAML_MAP && frame->count % 2 == 0;
}

/* Puts a node where it belongs: at the root, or into the innermost open list or map. */
static int place_node(struct builder *b, struct yaml_node *node, const yaml_event_t *event)
{
    struct frame *frame = b->depth > 0 ? &b->frames[b->depth - 1] : NULL;

    if (!frame) {
        b->doc->root = node;
        return 0;
    }
    if (key_is_next(b)) {
        if (!node->text)
            return FAULT_AT_EVENT(b, event, "a key must be a plain text, not %s", yaml_kind_name(node->kind));
        if (node->size == 0)
            return FAULT_AT_EVENT(b, event, "an empty key");
    }
    frame->node->weight += node->weight;
    if (frame->node->weight > b->limits->nodes)
        return too_large(b, event);
    return frame_add(b, frame, node);
}

static struct anchor *find_anchor(struct builder *b, const char *name)
{
    for (size_t i = b->anchor_count; i > 0; i--)
        if (strcmp(b->anchors[i - 1].name, name) == 0)
            return &b->anchors[i - 1];
    return NULL;
}

static int add_anchor(struct builder *b, const yaml_char_t *name, struct yaml_node *node, struct anchor **ret)
{
    const char *text = (const char *)name;
    struct anchor *anchor;

    if (!name)
        return 0;
    anchor = find_anchor(b, text);
    if (!anchor) {
        if (b->anchor_count == YAML_ANCHORS_MAX)
            return FAULT_AT_NODE(b, node, "more than %d anchors", YAML_ANCHORS_MAX);
        anchor = &b->anchors[b->anchor_count];
        anchor->name = arena_text(b->doc, text, strlen(text));
        if (!anchor->name)
            return ERR_NOMEM;
        b->anchor_count++;
    }
    anchor->node = node;
    anchor->open = false;
    *ret = anchor;
    return 0;
}

/* Only the core tags, and only where they agree with what is written. */
static int check_tag(struct builder *b, const yaml_char_t *name, struct yaml_node *node)
{
    static const struct {
        const char *tag;
        enum yaml_kind kind;
    } tags[] = {
        {YAML_NULL_TAG, YAML_NULL},  {YAML_BOOL_TAG, YAML_BOOL}, {YAML_INT_TAG, YAML_INT},
        {YAML_FLOAT_TAG, YAML_REAL}, {YAML_SEQ_TAG, YAML_LIST},  {YAML_MAP_TAG, YAML_MAP},
    };
    const char *tag = (const char *)name;

    if (!tag)
        return 0;
    if (node->text && (strcmp(tag, "!") == 0 || strcmp(tag, YAML_STR_TAG) == 0)) {
        node->kind = YAML_TEXT;
        node->quoted = true;
        return 0;
    }
    for (size_t i = 0; i < sizeof(tags) / sizeof(tags[0]); i++)
        if (strcmp(tag, tags[i].tag) == 0 &&
            (node->kind == tags[i].kind || (node->kind == YAML_INT && tags[i].kind == YAML_REAL)))
            return 0;
    if (*tag == '!')
        return FAULT_AT_NODE(b, node, "the tag %.80s is not supported here", tag);
    return FAULT_AT_NODE(b, node, "the tag <%.80s> is not supported here", tag);
}

static int on_scalar(struct builder *b, const yaml_event_t *event)
{
    const char *value = (const char *)event->data.scalar.value;
    yaml_scalar_style_t style = event->data.scalar.style;
    struct yaml_node *node = yaml_doc_node(b->doc, YAML_TEXT);
    struct anchor *anchor = NULL;
    size_t marked = event->end_mark.index - event->start_mark.index;
    int r;

    if (!node)
        return ERR_NOMEM;
    node->line = yaml_mark_line(&event->start_mark);
    node->column = yaml_mark_column(&event->start_mark);
    node->size = event->data.scalar.length;
    node->quoted = style != YAML_PLAIN_SCALAR_STYLE;
    node->weight = 1 + node->size / YAML_BYTES_PER_NODE;
    if (memchr(value, '\0', node->size))
        return FAULT_AT_NODE(b, node, "a NUL character in a text");
    node->text = arena_text(b->doc, value, node->size);
    if (!node->text)
        return ERR_NOMEM;
    if (event->start_mark.line == event->end_mark.line && style != YAML_LITERAL_SCALAR_STYLE &&
        style != YAML_FOLDED_SCALAR_STYLE)
        node->verbatim = marked == yaml_characters(value, node->size) + (node->quoted ? 2 : 0);
    if (!node->quoted)
        resolve_plain(node);
    r = check_tag(b, event->data.scalar.tag, node);
    if (r == 0)
        r = add_anchor(b, event->data.scalar.anchor, node, &anchor);
    return r < 0 ? r : place_node(b, node, event);
}

static int on_alias(struct builder *b, const yaml_event_t *event)
{
    const char *name = (const char *)event->data.alias.anchor;
    const struct anchor *anchor = find_anchor(b, name);

    if (!anchor)
        return yaml_explain_alias(event, b->source, b->source_size, b->sink);
    if (anchor->open)
        return FAULT_AT_EVENT(b, event, "the alias *%.80s is inside the value that it refers to", name);
    return place_node(b, anchor->node, event);
}

static int on_open(struct builder *b, const yaml_event_t *event, enum yaml_kind kind, const yaml_char_t *name,
                   const yaml_char_t *tag)
{
    struct yaml_node *node = yaml_doc_node(b->doc, kind);
    struct anchor *anchor = NULL;
    int r;

    if (!node)
        return ERR_NOMEM;
    node->line = yaml_mark_line(&event->start_mark);
    node->column = yaml_mark_column(&event->start_mark);
    if (key_is_next(b))
        return FAULT_AT_NODE(b, node, "a key must be a plain text, not %s", yaml_kind_name(kind));
    if (b->depth == b->limits->depth) {
        FAULT_AT_NODE(b, node, "nested more than %d levels deep", b->limits->depth);
        return ERR_LIMIT;
    }
    r = check_tag(b, tag, node);
    if (r == 0)
        r = add_anchor(b, name, node, &anchor);
    if (r < 0)
        return r;
    if (anchor)
        anchor->open = true;
    assert(b->depth < YAML_DEPTH_MAX);
    b->frames[b->depth++] = (struct frame){.node = node, .anchor = anchor};
    return 0;
}

/* ---- the end of a list or map ---- */

static bool is_merge_key(const struct yaml_node *key)
{
    return !key->quoted && strcmp(key->text, "<<") == 0;
}

static int compare_keys(const void *a, const void *b)
{
    const struct yaml_node *const *const x = *(const struct yaml_node *const *const *)a;
    const struct yaml_node *const *const y = *(const struct yaml_node *const *const *)b;
    int c = strcmp((*x)->text, (*y)->text);

    return c ? c : (x > y) - (x < y);
}

/* Of the same keys the first one stays. `faults`: the others are reported. */
static int drop_duplicates(struct builder *b, struct frame *frame, bool faults)
{
    size_t n = frame->count / 2, first = 0, kept = 0;
    struct yaml_node ***order = malloc((n + 1) * sizeof(struct yaml_node **));

    if (!order)
        return ERR_NOMEM;
    for (size_t i = 0; i < n; i++)
        order[i] = &frame->children[2 * i];
    qsort(order, n, sizeof(*order), compare_keys);
    for (size_t i = 1; i < n; i++) {
        struct yaml_node *key = *order[i], *before = *order[first];

        if (strcmp(before->text, key->text) != 0) {
            first = i;
            continue;
        }
        if (faults)
            FAULT_AT_NODE(b, key, "the key '%.80s' is here already, in line %d", key->text, before->line);
        *order[i] = NULL;
    }
    free(order);
    for (size_t i = 0; i < n; i++) {
        if (!frame->children[2 * i])
            continue;
        frame->children[2 * kept] = frame->children[2 * i];
        frame->children[2 * kept + 1] = frame->children[2 * i + 1];
        kept++;
    }
    frame->count = 2 * kept;
    return 0;
}

/* `<<: *map` and `<<: [*map, *map]`: a key of the map itself wins, then that of the earlier one. What is
 * merged was counted when the value of `<<` was placed. */
static int merge_maps(struct builder *b, struct frame *frame)
{
    struct yaml_node *key, *value;
    struct yaml_node **maps;
    size_t at = 0, n;

    while (at < frame->count && !is_merge_key(frame->children[at]))
        at += 2;
    if (at == frame->count)
        return 0;
    key = frame->children[at];
    value = frame->children[at + 1];
    frame->count -= 2;
    memmove(&frame->children[at], &frame->children[at + 2], (frame->count - at) * sizeof(struct yaml_node *));
    maps = value->kind == YAML_LIST ? value->items : &value;
    n = value->kind == YAML_LIST ? value->count : 1;
    for (size_t i = 0; i < n; i++) {
        if (maps[i]->kind != YAML_MAP)
            return FAULT_AT_NODE(b, key, "'<<' merges maps; this is %s", yaml_kind_name(maps[i]->kind));
        for (size_t j = 0; j < maps[i]->count; j++)
            if (frame_add(b, frame, maps[i]->keys[j]) < 0 || frame_add(b, frame, maps[i]->items[j]) < 0)
                return ERR_NOMEM;
    }
    return drop_duplicates(b, frame, false);
}

static int on_close(struct builder *b, const yaml_event_t *event)
{
    struct frame *frame = &b->frames[b->depth - 1];
    struct yaml_node *node = frame->node;
    bool map = node->kind == YAML_MAP;
    int r = 0;

    assert(b->depth > 0); /* the parser's events are balanced */
    assert(map || node->kind == YAML_LIST);
    if (map)
        r = drop_duplicates(b, frame, true);
    if (map && r == 0)
        r = merge_maps(b, frame);
    if (r < 0)
        return r;
    node->count = map ? frame->count / 2 : frame->count;
    node->items = yaml_doc_alloc(b->doc, (node->count + 1) * sizeof(struct yaml_node *));
    node->keys = map ? yaml_doc_alloc(b->doc, (node->count + 1) * sizeof(struct yaml_node *)) : NULL;
    if (!node->items || (map && !node->keys))
        return ERR_NOMEM;
    for (size_t i = 0; i < node->count; i++) {
        node->items[i] = frame->children[map ? 2 * i + 1 : i];
        if (map)
            node->keys[i] = frame->children[2 * i];
    }
    free(frame->children);
    frame->children = NULL;
    if (frame->anchor && frame->anchor->node == node)
        frame->anchor->open = false;
    b->depth--;
    return place_node(b, node, event);
}

static int on_event(struct builder *b, const yaml_event_t *event)
{
    switch (event->type) {
    case YAML_SCALAR_EVENT:
        return on_scalar(b, event);
    case YAML_ALIAS_EVENT:
        return on_alias(b, event);
    case YAML_SEQUENCE_START_EVENT:
        return on_open(b, event, YAML_LIST, event->data.sequence_start.anchor,
                       event->data.sequence_start.tag);
    case YAML_MAPPING_START_EVENT:
        return on_open(b, event, YAML_MAP, event->data.mapping_start.anchor, event->data.mapping_start.tag);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        return on_close(b, event);
    case YAML_DOCUMENT_START_EVENT:
        if (b->doc->root)
            return FAULT_AT_EVENT(b, event, "a second document ('---'); one document a file");
        return 0;
    case YAML_STREAM_END_EVENT:
        b->ended = true;
        return 0;
    default:
        return 0;
    }
}

/* ---- parsing ---- */

static int parse_events(struct builder *b)
{
    int r = 0;

    if (!yaml_parser_initialize(&b->parser))
        return ERR_NOMEM;
    yaml_parser_set_encoding(&b->parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&b->parser, (const unsigned char *)b->source, b->source_size);
    while (r == 0 && !b->ended) {
        yaml_event_t event;

        if (!yaml_parser_parse(&b->parser, &event)) {
            r = yaml_explain(&b->parser, b->source, b->source_size, b->sink);
            break;
        }
        r = on_event(b, &event);
        yaml_event_delete(&event);
    }
    while (b->depth > 0)
        free(b->frames[--b->depth].children);
    yaml_parser_delete(&b->parser);
    return r;
}

int yaml_doc_parse(struct yaml_doc **ret, const char *text, size_t size, const struct yaml_limits *limits,
                   struct yaml_sink *sink)
{
    struct builder *b = calloc(1, sizeof(*b));
    int r;

    assert(limits->depth > 0 && limits->depth <= YAML_DEPTH_MAX);
    if (!b)
        return ERR_NOMEM;
    *b = (struct builder){.limits = limits, .sink = sink, .source = text, .source_size = size};
    b->doc = calloc(1, sizeof(*b->doc));
    if (!b->doc) {
        r = ERR_NOMEM;
    } else if (size > limits->bytes) {
        yaml_fault(sink, 0, 0, "%zu bytes; at most %zu are read", size, limits->bytes);
        r = ERR_LIMIT;
    } else {
        r = yaml_check_bytes(text, size, sink);
        if (r == 0)
            r = parse_events(b);
        if (r == 0 && !b->doc->root) {
            b->doc->root = yaml_doc_node(b->doc, YAML_NULL);
            r = b->doc->root ? 0 : ERR_NOMEM;
        }
    }
    if (r == 0)
        *ret = b->doc;
    else
        yaml_doc_free(b->doc);
    free(b);
    return r;
}

/* ---- reading the tree ---- */

const struct yaml_node *yaml_node_get(const struct yaml_node *map, const char *key)
{
    if (map->kind == YAML_MAP)
        for (size_t i = 0; i < map->count; i++)
            if (strcmp(map->keys[i]->text, key) == 0)
                return map->items[i];
    return NULL;
}

int yaml_node_column(const struct yaml_node *node, size_t offset)
{
    if (!node->verbatim || offset > node->size)
        return node->column;
    return node->column + node->quoted + (int)yaml_characters(node->text, offset);
}

const char *yaml_kind_name(enum yaml_kind kind)
{
    static const char *const names[] = {
        [YAML_NULL] = "nothing",  [YAML_BOOL] = "true or false", [YAML_INT] = "a number",
        [YAML_REAL] = "a number", [YAML_TEXT] = "a text",        [YAML_LIST] = "a list",
        [YAML_MAP] = "a map",
    };

    return names[kind];
}
