/* The data folders of this replica's process engines, and whether one of them is a copy of another replica's: two that
 * have one id would judge each other's attempts. Who has to leave them to the other is said by
 * member_info_folder_owner, and stays so until the process is started again.
 *
 * The engines and their ids are borrowed. One thread: the loop's.
 */
#pragma once

#include "cronsched/config/config.h"
#include "jobs/engine/engine.h"
#include "leader/replicated/replicated.h"

struct process_folders {
    const char *ids[CONFIG_ENGINES_MAX];
    struct engine *engines[CONFIG_ENGINES_MAX];
    size_t count;
    char copy_of[64]; /* the replica whose folder it is; "": nobody else's */
    char text[256];   /* what is said of it */
};

void process_folders_add(struct process_folders *folders, const char *id, struct engine *engine);
/* The members have changed. Found to be a copy: logged, and the engines are disowned. */
void process_folders_look(struct process_folders *folders, const struct replicated_view *view,
                          const char *self);
/* What others are told: `hosts`, or `copy_of` when they are another's. */
void process_folders_facts(const struct process_folders *folders, json_t *facts);
