#include "cronsched/cluster/process_folders.h"

#include "cronsched/cluster/member_info.h"
#include "cronsched/io/log.h"

#include <assert.h>
#include <stdio.h>

void process_folders_add(struct process_folders *f, const char *id, struct engine *engine)
{
    assert(f->count < CONFIG_ENGINES_MAX);
    f->ids[f->count] = id;
    f->engines[f->count++] = engine;
}

void process_folders_look(struct process_folders *f, const struct replicated_view *v, const char *self)
{
    for (size_t i = 0; i < f->count && !f->copy_of[0]; i++) {
        const struct replicated_member *m = member_info_folder_owner(v, self, f->ids[i]);

        if (!m)
            continue;
        snprintf(f->copy_of, sizeof(f->copy_of), "%s", m->id);
        snprintf(f->text, sizeof(f->text),
                 "the data folder here has the id of that of replica %s: one is a copy. If it is this one, "
                 "stop this replica and remove 'attempts' from its data folder",
                 f->copy_of);
        log_event(LOG_ERROR, "data-folder-copied", LOG_TEXT("text", f->text));
        for (size_t k = 0; k < f->count; k++)
            f->engines[k]->disowned = f->text;
    }
}

void process_folders_facts(const struct process_folders *f, json_t *facts)
{
    json_t *hosts = json_array();

    for (size_t i = 0; i < f->count && !f->copy_of[0]; i++)
        json_array_append_new(hosts, json_string(f->ids[i]));
    json_object_set_new(facts, "hosts", hosts);
    if (f->copy_of[0])
        json_object_set_new(facts, "copy_of", json_string(f->copy_of));
}
