/* What is done to a cluster, and how it is undone. */
#include "cronsched/drill/drill.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define KILLED_GONE_MS      10000
#define BACK_MS             60000 /* for somebody else to start it again */
#define TOLD_MS             30000 /* for a difference between replicas to be reported */
#define SETTLE_ELSEWHERE_MS 10000 /* for a new leader to ask what is reserved on another engine */

/* ---- whose process ---- */

/* The process that listens at a unix socket. */
static pid_t listener_of(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct ucred peer = {0};
    socklen_t size = sizeof(peer);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return 0;
    if (strlen(path) < sizeof(address.sun_path)) {
        memcpy(address.sun_path, path, strlen(path));
        if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
            getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
            peer.pid = 0;
    }
    close(fd);
    return peer.pid;
}

/* Without a lab only a leader on this machine can be reached: by the socket that it listens at. */
static int pid_by_socket(struct drill *d, const char *replica, pid_t *ret, struct error *error)
{
    struct client *client = &d->session->client;

    for (size_t i = 0; i < client->server_count; i++) {
        json_t *version = NULL;
        const char *id;

        if (!client->servers[i].socket || client_probe(client, i, "/v1/version", &version, NULL) < 0)
            continue;
        id = json_string_value(json_object_get(version, "replica"));
        *ret = id && strcmp(id, replica) == 0 ? listener_of(client->servers[i].socket) : 0;
        json_decref(version);
        if (*ret > 1)
            return 0;
    }
    return error_set(error, ERR_NOT_FOUND,
                     "%s leads, but its socket is not one of the servers: run the drill on its machine",
                     replica);
}

static int leader_pid(struct drill *d, pid_t *ret, struct error *error)
{
    const char *leader = d->before.leader;

    return d->lab.facts ? drill_lab_pid(&d->lab, leader, ret, error) : pid_by_socket(d, leader, ret, error);
}

static int signal_leader(struct drill *d, int sig, struct error *error)
{
    pid_t pid;
    int r = leader_pid(d, &pid, error);

    if (r == 0 && kill(pid, sig) < 0)
        r = error_set(error, ERR_DENIED, "process %d of %s: %s", (int)pid, d->before.leader, strerror(errno));
    return r;
}

/* ---- kill, pause ---- */

static int kill_leader(struct drill *d, struct error *error)
{
    d->killed = true;
    return signal_leader(d, SIGKILL, error);
}

/* Elsewhere than in a lab its own supervisor starts it again, and that is part of what is tried. */
static int wait_back(struct drill *d, struct error *error)
{
    int64_t until_ms = drill_now_ms() + BACK_MS;
    struct drill_view view;

    while (drill_now_ms() < until_ms && !drill_interrupted) {
        if (drill_look(d, NULL, &view, NULL) == 0 && view.replicas >= d->before.replicas)
            return 0;
        drill_sleep_until(drill_now_ms() + 10 * (int64_t)DRILL_POLL_MS);
    }
    return error_set(error, ERR_TIMEOUT, "%s was killed and was not started again within %d s",
                     d->before.leader, BACK_MS / 1000);
}

static int start_killed(struct drill *d, struct error *error)
{
    int64_t until_ms = drill_now_ms() + KILLED_GONE_MS;
    pid_t pid;

    if (!d->lab.facts)
        return wait_back(d, error);
    while (drill_lab_pid(&d->lab, d->before.leader, &pid, NULL) == 0 && drill_now_ms() < until_ms)
        drill_sleep_until(drill_now_ms() + DRILL_POLL_MS);
    return drill_lab_run(&d->lab, error, "start", d->before.leader, NULL);
}

static int pause_leader(struct drill *d, struct error *error)
{
    return signal_leader(d, SIGSTOP, error);
}

static int wake_leader(struct drill *d, struct error *error)
{
    return signal_leader(d, SIGCONT, error);
}

/* A machine without power: its process does nothing more, and no packet reaches it or leaves it. The order is of no
 * matter to the others: from the first of the two on it is silent. */
static int power_off(struct drill *d, struct error *error)
{
    int r = signal_leader(d, SIGSTOP, error);

    return r < 0 ? r : drill_lab_run(&d->lab, error, "unplug", d->before.leader, NULL);
}

/* It comes back as a machine does that was started again. */
static int power_on(struct drill *d, struct error *error)
{
    int r = signal_leader(d, SIGKILL, error);

    if (r == 0)
        r = drill_lab_run(&d->lab, error, "heal", d->before.leader, NULL);
    return r == 0 ? start_killed(d, error) : r;
}

/* ---- names ---- */

static int name_dual_stack(struct drill *d, struct error *error)
{
    return drill_lab_run(&d->lab, error, "names", "dual-stack", NULL);
}

static int name_plain(struct drill *d, struct error *error)
{
    return drill_lab_run(&d->lab, error, "names", "plain", NULL);
}

/* ---- two engines under one name ---- */

/* The view of the cluster has a difference of that kind. */
static bool is_told(struct drill *d, const char *what)
{
    json_t *cluster = NULL;
    const json_t *difference;
    bool found = false;
    size_t i;

    if (client_get(&d->session->client, &cluster, NULL, "/v1/cluster") < 0)
        return false;
    json_array_foreach(json_object_get(cluster, "differences"), i, difference)
    {
        const char *word = json_string_value(json_object_get(difference, "what"));

        found = found || (word && strcmp(word, what) == 0);
    }
    json_decref(cluster);
    return found;
}

static int wait_told(struct drill *d, const char *what, struct error *error)
{
    int64_t until_ms = drill_now_ms() + TOLD_MS;

    while (drill_now_ms() < until_ms && !drill_interrupted) {
        if (is_told(d, what))
            return 0;
        drill_sleep_until(drill_now_ms() + 10 * (int64_t)DRILL_POLL_MS);
    }
    return error_set(error, ERR_TIMEOUT, "`cluster` does not report within %d s that replicas differ in: %s",
                     TOLD_MS / 1000, what);
}

/* A replica that does not lead, at random. */
static int choose_standby(struct drill *d, struct error *error)
{
    const json_t *replicas = json_object_get(d->lab.facts, "replicas");
    size_t count = json_array_size(replicas), at = count ? drill_random(d, count) : 0;

    for (size_t i = 0; i < count; i++) {
        const json_t *replica = json_array_get(replicas, (at + i) % count);
        const char *id = json_string_value(json_object_get(replica, "id"));

        if (id && strcmp(id, d->before.leader) != 0) {
            snprintf(d->misled, sizeof(d->misled), "%s", id);
            return 0;
        }
    }
    return error_set(error, ERR_NOT_FOUND, "the lab has no replica but the leader");
}

static int mislead_standby(struct drill *d, struct error *error)
{
    int r = choose_standby(d, error);

    if (r == 0)
        r = drill_lab_run(&d->lab, error, "reach", d->misled, "engine-2", NULL);
    return r == 0 ? wait_told(d, "engine", error) : r;
}

/* With the killed one back, those who reach the right engine are most: one of them leads in the end. What the other one
 * started meanwhile ends before it is turned to the right engine. */
static int wait_not_misled(struct drill *d, struct error *error)
{
    int64_t until_ms = drill_now_ms() + BACK_MS;
    struct drill_view view;

    while (drill_now_ms() < until_ms) {
        if (drill_look(d, NULL, &view, NULL) == 0 && strcmp(view.leader, d->misled) != 0) {
            if (view.epoch > d->before.epoch + 1)
                drill_sleep_until(drill_now_ms() + SETTLE_ELSEWHERE_MS);
            return 0;
        }
        drill_sleep_until(drill_now_ms() + 10 * (int64_t)DRILL_POLL_MS);
    }
    return error_set(error, ERR_TIMEOUT, "%s leads, though most replicas reach another engine", d->misled);
}

static int reach_again(struct drill *d, struct error *error)
{
    struct error unheard;
    int r = 0;

    if (d->killed)
        r = start_killed(d, error);
    d->killed = false;
    if (r == 0 && d->misled[0])
        r = wait_not_misled(d, error);
    if (d->misled[0]) {
        int back = drill_lab_run(&d->lab, r == 0 ? error : &unheard, "reach", d->misled, "engine", NULL);

        r = r < 0 ? r : back;
    }
    d->misled[0] = '\0';
    return r;
}

/* ---- partitions, restarts ---- */

/* One direction or both: each breaks a session in its own way. */
static int cut_from(struct drill *d, const char *other, struct error *error)
{
    static const char *const directions[] = {"both", "in", "out"};

    return drill_lab_run(&d->lab, error, "cut", d->before.leader, other, directions[drill_random(d, 3)],
                         NULL);
}

static int cut_zookeeper(struct drill *d, struct error *error)
{
    return cut_from(d, "zookeeper", error);
}

static int cut_engine(struct drill *d, struct error *error)
{
    return cut_from(d, "engine", error);
}

static int heal(struct drill *d, struct error *error)
{
    return drill_lab_run(&d->lab, error, "heal", d->before.leader, NULL);
}

/* One after the other, each when the one before serves again. */
static int restart_zookeeper(struct drill *d, struct error *error)
{
    const json_t *item;
    size_t i;
    int r = 0;

    json_array_foreach(json_object_get(d->lab.facts, "zookeeper"), i, item) if (r == 0)
        r = drill_lab_run(&d->lab, error, "restart", json_string_value(json_object_get(item, "name")), NULL);
    return r;
}

/* In good order, or by SIGKILL. */
static int restart_engine(struct drill *d, struct error *error)
{
    int r = drill_lab_run(&d->lab, error, drill_random(d, 2) ? "kill" : "stop", "engine", NULL);

    return r < 0 ? r : drill_lab_run(&d->lab, error, "start", "engine", NULL);
}

static int step_down(struct drill *d, struct error *error)
{
    return client_call(&d->session->client, "POST", "/v1/cluster/step-down", NULL, CLIENT_ONCE, NULL, error);
}

const struct drill_fault drill_faults[] = {
    {.name = "kill-leader",
     .help = "SIGKILL to the leader; it is started again once the new leader fires",
     .successor = true,
     .needs_name = true,
     .inject = kill_leader,
     .heal = start_killed},
    {.name = "pause-leader",
     .help = "SIGSTOP to the leader for three session timeouts: it wakes up deposed",
     .successor = true,
     .needs_lab = true,
     .hold_sessions = 3,
     .inject = pause_leader,
     .heal = wake_leader},
    {.name = "power-off-leader",
     .help = "the leader's machine loses its power: stopped and unplugged; it starts again once the new "
             "leader fires",
     .successor = true,
     .needs_lab = true,
     .inject = power_off,
     .heal = power_on},
    {.name = "partition-leader-zookeeper",
     .help = "the leader's links to ZooKeeper are cut, one direction or both",
     .successor = true,
     .needs_lab = true,
     .hold_sessions = 3,
     .inject = cut_zookeeper,
     .heal = heal},
    {.name = "partition-leader-engine",
     .help = "the leader's link to the Docker Engine is cut, one direction or both",
     .needs_lab = true,
     .hold_sessions = 3,
     .inject = cut_engine,
     .heal = heal},
    {.name = "restart-zookeeper",
     .help = "every ZooKeeper server is restarted, one after the other",
     .needs_lab = true,
     .inject = restart_zookeeper},
    {.name = "restore-zookeeper",
     .help = "ZooKeeper's data are replaced by an older backup; then `cluster recover`",
     .successor = true,
     .may_forget = true,
     .needs_lab = true,
     .hold_sessions = 1,
     .prepare = drill_store_backup,
     .inject = drill_store_restore,
     .heal = drill_store_recover},
    {.name = "empty-zookeeper",
     .help = "ZooKeeper's data are deleted; then `cluster recover` from a replica",
     .successor = true,
     .may_forget = true,
     .needs_lab = true,
     .hold_sessions = 1,
     .inject = drill_store_empty,
     .heal = drill_store_recover_from_replica},
    {.name = "restart-engine",
     .help = "the Docker Engine is restarted, in good order or killed",
     .may_lose = true,
     .needs_lab = true,
     .inject = restart_engine},
    {.name = "two-engines",
     .help = "another Docker Engine under the same name on one standby; then the leader is killed",
     .successor = true,
     .needs_lab = true,
     .prepare = mislead_standby,
     .inject = kill_leader,
     .heal = reach_again},
    {.name = "dual-stack",
     .help = "every replica's name gets another address, at which nobody listens: nobody may be deposed",
     .stays = true,
     .needs_lab = true,
     .hold_sessions = 3,
     .inject = name_dual_stack,
     .heal = name_plain},
    {.name = "step-down", .help = "the leader hands over", .successor = true, .inject = step_down},
    {0}};
