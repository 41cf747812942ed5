/* See assets.h. */
#include "cronsched/page/assets.h"

#include <assert.h>
#include <string.h>

const struct asset *assets_find(const char *name)
{
    for (size_t i = 0; i < assets_count; i++)
        if (strcmp(assets_all[i].name, name) == 0)
            return &assets_all[i];
    return NULL;
}

const char *assets_hash(const char *name)
{
    const struct asset *asset = assets_find(name);

    assert(asset);
    return asset->hash;
}
