/* What a job may not ask of a kubernetes engine. Pure. */
#include "cronsched/engines/kubernetes/kube_core.h"

#include <stdlib.h>
#include <string.h>

static bool is_number(const char *text, size_t n)
{
    return n > 0 && n < 11 && strspn(text, "0123456789") >= n;
}

static bool lacks_image(const struct job *job)
{
    return !job->image;
}

/* A name means something in the image alone. */
static bool has_named_user(const struct job *job)
{
    size_t n = job->user ? strcspn(job->user, ":") : 0;

    return job->user && (!is_number(job->user, n) ||
                         (job->user[n] && !is_number(job->user + n + 1, strlen(job->user + n + 1))));
}

static bool has_named_group(const struct job *job)
{
    for (size_t i = 0; i < job->group_add.count; i++)
        if (!is_number(job->group_add.items[i], strlen(job->group_add.items[i])))
            return true;
    return false;
}

static bool has_network(const struct job *job)
{
    return job->network && strcmp(job->network, "host") != 0;
}

static bool has_init(const struct job *job)
{
    return job->init;
}

static bool has_devices(const struct job *job)
{
    return job->devices.count > 0;
}

static bool has_ulimits(const struct job *job)
{
    return json_object_size(job->ulimits) > 0;
}

static bool has_stop_signal(const struct job *job)
{
    return job->stop_signal != NULL;
}

static bool has_pids_limit(const struct job *job)
{
    return job->pids_limit != JOB_PIDS;
}

static bool has_security_opt(const struct job *job)
{
    for (size_t i = 0; i < job->security_opt.count; i++)
        if (strncmp(job->security_opt.items[i], "no-new-privileges", 17) != 0)
            return true;
    return false;
}

static bool has_tmpfs_options(const struct job *job)
{
    for (size_t i = 0; i < job->tmpfs.count; i++)
        if (strchr(job->tmpfs.items[i], ':'))
            return true;
    return false;
}

static bool has_empty_command(const struct job *job)
{
    bool no_command = job->command.count == 0, no_entrypoint = job->entrypoint.count == 0;

    return (job->has_command && no_command && !job->has_entrypoint) ||
           (job->has_entrypoint && no_entrypoint && no_command);
}

static bool has_odd_constraint(const struct job *job)
{
    for (size_t i = 0; i < job->constraints.count; i++) {
        const char *text = job->constraints.items[i];

        if (!strstr(text, "==") && !strstr(text, "!="))
            return true;
        if (strncmp(text, "node.", 5) == 0 && strncmp(text, "node.labels.", 12) != 0 &&
            strncmp(text, "node.hostname", 13) != 0)
            return true;
    }
    return false;
}

void kube_engine_faults(const struct job *job, struct engine_faults *faults)
{
    static const struct {
        bool (*applies)(const struct job *job);
        const char *text;
    } rules[] = {
        {lacks_image, "image: the kubernetes engine needs an image"},
        {has_named_user, "user: Kubernetes needs numbers, as 1000 or 1000:1000"},
        {has_named_group, "group_add: Kubernetes needs numbers"},
        {has_network, "network: Kubernetes has its own; host alone can be named"},
        {has_init,
         "init: Kubernetes has none; spec.shareProcessNamespace under kubernetes reaps what is left"},
        {has_devices, "devices: Kubernetes gives none by path; use resources under kubernetes"},
        {has_ulimits, "ulimits: Kubernetes takes none"},
        {has_stop_signal, "stop_signal: Kubernetes sends the image's; use lifecycle under kubernetes"},
        {has_pids_limit, "pids_limit: Kubernetes has one for each node, the kubelet's podPidsLimit"},
        {has_security_opt,
         "security_opt: Kubernetes takes no-new-privileges alone; use securityContext under kubernetes"},
        {has_tmpfs_options, "tmpfs: Kubernetes takes paths alone"},
        {has_empty_command,
         "command: an empty list only works together with the other one of command and entrypoint"},
        {has_odd_constraint,
         "constraints: Kubernetes takes LABEL == VALUE and LABEL != VALUE, of labels of nodes"},
    };
    char text[200];

    for (size_t i = 0; i < sizeof(rules) / sizeof(*rules); i++)
        if (rules[i].applies(job))
            engine_fault(faults, ERR_UNSUPPORTED, "%s", rules[i].text);
    if (job->kubernetes && kube_merge_fault(job->kubernetes, text, sizeof(text)))
        engine_fault(faults, ERR_UNSUPPORTED, "kubernetes: %s", text);
}
