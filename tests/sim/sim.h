/* The simulator: one deterministic world in one thread on virtual time, around the shipped scheduler,
 * planner, launch protocol and fold, and in some worlds around the shipped replicated journal as well. A seed makes
 * the world: jobs, one or two replicas, a journal, two engine hosts, clocks, clients, and what befalls them.
 *
 *   main.c      options, many worlds, the list of mutants
 *   world.c     random numbers, events, the course of one world
 *   replica.c   a process: its environment, its history, birth, crash, freeze, take-over
 *   journal.c   the committed batches and those in flight; snapshots
 *   ensemble.c  instead of it: leader/ on a ZooKeeper of the worst manners
 *   engine.c    hosts and the objects that run on them, with the oddities of a real Docker engine
 *   swarm.c     what is otherwise where the second host is a Swarm
 *   strangers.c what others do to objects: they start them again, or kill what looks after them
 *   clocks.c    clocks that jump, of a process alone or of ZooKeeper with it
 *   loss.c      a journal that went back, and goes on from there because a person said so
 *   clients.c   requests at random, and what each was promised
 *   monitor.c   judges every committed record by rules of its own, and keeps the account of fire times
 *   checks.c    what must hold of a scheduler after every step, and of all at the end
 *
 * At most one of the processes leads, but a deposed one may not know it yet: it goes on until the journal
 * tells it. True time (world.now_ms) never steps; each process reads its own clock.
 *
 * Ownership: the world owns everything. A violation is printed with the seed and ends the world.
 */
#pragma once

#include "cronsched/cluster/clock_voices.h"
#include "cronsched/server/guarded_clock.h"
#include "jobs/base/alloc.h"
#include "jobs/scheduler/scheduler_priv.h"
#include "jobs/state/run_id.h"
#include "leader/replicated/replicated.h"
#include "tests/sim/stepped_zookeeper.h"

#define START_MS      INT64_C(1763800000000)
#define REPLICAS      2
#define HOSTS         2
#define JOBS_MAX      8
#define LATE_GRACE_MS 60000
#define KEYS_MAX      64
#define POOL_PLACES   2
#define SIM_CLUSTER   "00000000-0000-0000-0000-000000000001"

struct world;

enum event_kind {
    EVENT_WAKE,    /* the alarm that a scheduler asked for */
    EVENT_COMMIT,  /* the oldest batch in flight becomes durable */
    EVENT_ACK,     /* and its writer hears of it */
    EVENT_DEPOSED, /* a writer hears that it leads no more */
    EVENT_CALL,    /* a request reaches its engine, whether or not its sender lives */
    EVENT_ANSWER,  /* and the answer its sender, if it is still the same life */
    EVENT_TASK,    /* what a Swarm was told to run starts, or is rejected */
    EVENT_EXIT,    /* what runs ends */
    EVENT_START,   /* a process starts */
    EVENT_LEAD,    /* a process that is up takes the lead, if nobody has it */
    EVENT_FAULT,
    EVENT_HOST,
    EVENT_SWEEP,
    EVENT_REQUEST,
    EVENT_HISTORY, /* a process's history becomes durable */
    EVENT_ZONES,
    EVENT_SEAT, /* requests to ZooKeeper are carried out, or answered */
    EVENT_TICK,
    EVENT_CONNECT,
    EVENT_GONE,    /* a replica sees that the leader's connection closed */
    EVENT_SESSION, /* a session ends */
    EVENT_END,     /* of a process that was told to stop */
    EVENT_TREE,    /* ZooKeeper's tree goes back, or is emptied */
    EVENT_RIGHT,   /* ZooKeeper's tree is what it was before it went wrong */
    EVENT_RECOVER, /* or a person has the journal go on without what is missing */
    EVENT_STRANGER,
    EVENT_LOOK, /* an engine looks for what runs and is kept by nobody */
    EVENT_LOSS, /* the journal is put back to an earlier state */
    EVENT_KIND_COUNT
};

/* What an engine was asked: a copy that outlives its sender. */
struct call_copy {
    enum engine_op op;
    uint64_t ticket;
    char *name, *id, *run, *pool, *identity;
    int attempt;
    int64_t epoch;
    int64_t sender_epoch;
    uint64_t version;             /* of the object, as its sender had read it */
    bool alone, unresolved, late; /* late: its sender has been told that the reply was lost */
    bool forbids;                 /* nothing of its job may run beside it */
    int64_t sent_ms;
};

struct event {
    struct heap_item at;
    enum event_kind kind;
    int replica; /* that it happens to, -1: to none */
    uint64_t life, link;
    int host;
    struct call_copy call;
    struct engine_answer answer;
    char *id, *text, *identity;
    uint64_t index;
};

/* ---- a process ---- */

/* A zone source whose one zone changes its offset with the rules; all else comes from the machine's files. */
struct sim_zones {
    struct zone_source source;
    struct zoneinfo *under;
    int rules;
    char version[16];
};

struct sim_engine {
    struct engine engine;
    struct world *world;
    int replica, host;
};

struct replica {
    struct world *world;
    int number;
    struct scheduler *scheduler;      /* NULL: down */
    uint64_t life;                    /* counts starts */
    uint64_t link;                    /* counts the times that its engine requests were forgotten */
    int64_t offset_ms;                /* of its clock */
    int64_t read_wall_ms, read_at_ms; /* what its scheduler read last, true time; 0: nothing yet */
    struct guarded_clock clock;       /* in a world with an ensemble: what it believes */
    struct clock_voices voices;
    int64_t frozen_until_ms;
    uint64_t fed; /* the last batch it has folded or written */
    int64_t epoch;
    bool stale; /* deposed: its state must be folded again */
    struct event *wake;
    struct scheduler_env env;
    struct journal journal;
    struct history history;
    uint64_t told, kept; /* history: the last batch it was told, and the last that is durable */
    struct sim_engine engines[HOSTS];
    struct engine *engine_list[HOSTS];
    struct sim_zones zones;
    /* in a world with an ensemble */
    struct seat seat;
    struct journal *core; /* NULL: down, or no ensemble */
    struct replicated_env core_env;
    struct replicated_host core_host;
    struct mark mark; /* on its disk */
    char *recovery;   /* the state that it gave for the journal to go on from; and its hash */
    size_t recovery_size;
    char recovery_hash[33];
    bool recovering;
    bool connected_once, seat_planned;
    int64_t silent_since_ms;
    int64_t extra_ms; /* of its own clock, while it is taken apart */
};

/* ---- engines ---- */

enum object_state { OBJECT_CREATED, OBJECT_RUNNING, OBJECT_EXITED, OBJECT_GONE };

struct watcher {
    int replica;
    uint64_t link, ticket;
};

/* That an engine has told its scheduler of it, as an object that runs and is kept by nobody. */
struct stray_note {
    uint64_t life, link; /* of the process; life 0: it has not */
    int64_t told_ms;
};

struct release_note {
    int replica;
    uint64_t life, link;
    int64_t sent_ms;
};

struct container {
    char id[24], name[40], run[RUN_ID_MAX], job[JOB_NAME_MAX + 1], pool[16];
    int host, identity, attempt, starts, exit_code; /* identity: of its host then */
    int64_t epoch, prepared_ms, started_ms, ended_ms;
    enum object_state state;
    bool alone;           /* its job forbids that another run of it executes */
    bool limbo;           /* its engine died in mid-start: it ran, and nothing but the witness tells */
    bool committed;       /* its id is in the journal, durably */
    const char *never;    /* the journal says that it never ran and never will: why */
    bool sealed;          /* by a fence: no start comes to it any more */
    int64_t handed_epoch; /* that gave it up for its successor; 0: none */
    bool swept;
    struct watcher watchers[REPLICAS];
    /* of a Swarm's service */
    int replicas;
    int64_t label;    /* the epoch that may start it */
    uint64_t version; /* counts updates */
    bool orphaned;    /* its task went with its node, its supervisor was killed: nobody knows how it ended */
    int by_others;    /* of its starts */
    bool counted;     /* what runs counts for its run */
    uint64_t exit_codes; /* bit i: it ended with i, of its last six bits */
    struct stray_note strays[REPLICAS];
    bool forbids;
    bool withdrawn;               /* before its task started */
    struct release_note released; /* the request by which it was started */
    struct list living;           /* until it is gone */
    UT_hash_handle by_id, by_name;
};

struct host {
    const char *name;
    bool swarm, down;
    int identity; /* which of two engines answers under that name */
    uint64_t changes;
};

/* ---- what the monitor keeps ---- */

struct run_note { /* a run, by id */
    char id[RUN_ID_MAX], job[JOB_NAME_MAX + 1];
    int executing;
    uint64_t started;            /* bit i: attempt i was */
    int64_t kill_ms, kill_epoch; /* a kill was acknowledged then, in that epoch; 0: none */
    bool lost;
    int64_t given_up_ms; /* what became of it was in a lost part of the journal, up to then; 0: no */
    UT_hash_handle hh;
};

struct account { /* a run as history shows it */
    char id[RUN_ID_MAX], job[JOB_NAME_MAX + 1];
    int64_t fire_ms;
    char verdict[16], state[16], cause[16];
    UT_hash_handle hh;
};

struct skip {
    char job[JOB_NAME_MAX + 1];
    int64_t from_ms, to_ms;
    bool superseded; /* as it says, a later fire time was run for it */
};

/* A time during which one definition was in force under one set of zone rules. */
struct window {
    char job[JOB_NAME_MAX + 1];
    struct schedule *schedule; /* NULL: none */
    int64_t version;
    uint64_t seed;
    int rules;
    int64_t from_ms, to_ms; /* fire times in (from, to]; to INT64_MAX: still */
};

struct key_note {
    char job[JOB_NAME_MAX + 1], key[16], run[RUN_ID_MAX];
    int params;
    bool acked; /* the client was told that it is durable */
};

struct batch_note {
    char *text;
    size_t size;
    char write_hash[33]; /* of what history must be told */
};

struct sim_options {
    bool verbose;
    bool slow_stops; /* an engine takes longer to answer a stop than its leader's patience with it */
    int64_t minutes;
    double until_s; /* by the monotonic clock: then a world is left as it is; 0: never */
};

struct world {
    struct sim_options o;
    uint64_t seed, rng;
    int64_t now_ms;
    uint64_t steps, event_seq, failures;
    struct heap events;
    bool quiet; /* no more faults and requests */
    bool cut;   /* it was left before its end */
    struct replica replicas[REPLICAS];
    int replica_count; /* 1: the embedded journal; 2: a replicated one */
    bool ensemble;     /* of two: the shipped one, and not journal.c */
    struct zoo zoo;
    struct znodes_copy *old_tree, *right_tree;       /* to go back to; NULL: none, or it is right */
    size_t old_count;                                /* batches in the former */
    bool loses;                                      /* the embedded journal of this world is put back */
    int64_t recover_ms, lost_from_ms, lost_until_ms; /* it goes on then; as its leader is told */
    int64_t lost_at_ms;                              /* true time */
    int64_t lost_epoch;                              /* the last before that */
    bool recovery_pending;                           /* no batch has been appended since */
    int64_t fell_from_ms, fell_to_ms; /* a clock that is believed, last, by more than CLOCK_SET_BACK_MS */
    int64_t furthest_ms;              /* time of the latest batch, and of the latest fire time of a start */
    uint64_t base;                    /* batches up to here are gone, or in a state that went on */
    char recovered_hash[33];
    struct host hosts[HOSTS];
    struct zoneinfo *zoneinfo;
    int rules;                   /* of the zone files as they are now */
    struct sim_zones told_zones; /* as the journal's last word about them says */
    int64_t resolve_within_ms;
    uint64_t snapshot_every;

    /* the journal */
    struct batch_note *batches;
    size_t batch_count, batch_max;
    struct list in_flight;
    size_t in_flight_count;
    int64_t epoch;
    int leader; /* who leads, -1: nobody */
    struct state shadow;
    char *snapshot;
    size_t snapshot_size;
    uint64_t snapshot_index;
    struct list offered; /* snapshots that a scheduler gave, to be compared when their index is durable */

    struct container *objects, *object_names;
    struct list living; /* objects that are there */
    uint64_t object_count;
    struct run_note *notes;
    struct account *accounts;
    struct skip *skips;
    size_t skip_count;
    struct window *windows;
    size_t window_count;
    struct key_note keys[KEYS_MAX];
    size_t key_count, key_era; /* the latter: of all that came before a recovery */
    char jobs[JOBS_MAX][16];
    int job_count;

    /* figures */
    uint64_t crashes, takeovers, step_downs, handed_over, freezes, journal_failures, wrong_trees, clock_steps,
        lost, ended, starts, restores, replaced, elsewhere, started_again, supervisors, strays, losses,
        recoveries, orphans, common_jumps, held_jumps;
    uint64_t requests, refused;
    uint64_t late; /* that a standby found its leader late */
};

/* ---- world.c ---- */
double monotonic_s(void);
uint64_t draw(struct world *w);
int64_t between(struct world *w, int64_t least, int64_t most);
bool chance(struct world *w, int per_mille);
int64_t often_short(struct world *w, int64_t usual_ms, int64_t longest_ms);
void violation(struct world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
void tell(struct world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
struct event *plan(struct world *w, enum event_kind kind, int64_t delay_ms);
struct event *plan_for(struct replica *r, enum event_kind kind, int64_t delay_ms);
void event_cancel(struct world *w, struct event *e);
void event_free(struct event *e);
/* One world from birth to rest; the figures stay in *w. */
void world_run(struct world *w, uint64_t seed, const struct sim_options *o, struct zoneinfo *zones);

/* ---- replica.c ---- */
void replica_init(struct world *w, int number);
void replica_start(struct replica *r);
void replica_crash(struct replica *r);
void replica_lead(struct replica *r);
void replica_depose(struct replica *r, const char *why);
void replica_restore(struct replica *r); /* the fold of what is durable, again */
void replica_feed(struct replica *r, uint64_t upto);
void replica_zones(struct replica *r);
void zones_init(struct sim_zones *z, struct zoneinfo *under, int rules);
void fault_at_random(struct world *w);
int64_t replica_wall_ms(struct replica *r); /* as its clock is set */

/* ---- journal.c ---- */
void journal_init(struct world *w);
void journal_release(struct world *w);
void journal_table(struct replica *r);
void journal_commit_one(struct world *w);                       /* the oldest in flight */
void journal_durable(struct world *w, char *text, size_t size); /* the next batch is; takes text */
void journal_note(struct world *w, char *text,
                  size_t size); /* it is kept, and not judged; NULL: it is not there */
void journal_forget_offers(struct world *w, int replica); /* snapshots that will never be */
/* The epoch ends: of what is in flight a first part still becomes durable, the rest never will. */
void journal_end_epoch(struct world *w);

/* ---- ensemble.c ---- */
void ensemble_init(struct world *w);
void ensemble_release(struct world *w);
void ensemble_start(struct replica *r);
void ensemble_crash(struct replica *r); /* its scheduler is gone already */
void ensemble_stop(struct replica *r);
void ensemble_cut(struct replica *r);
void ensemble_freeze(struct replica *r);
void ensemble_take_over(struct world *w);
void ensemble_step_down(struct replica *r);
void ensemble_goes_wrong(struct world *w); /* its tree goes back, or is emptied, for a while */
void ensemble_on_right(struct world *w);
void ensemble_orphan(struct world *w); /* a node in the leader's place that belongs to nobody */
void ensemble_on_connect(struct replica *r);
void ensemble_on_tick(struct replica *r);
void ensemble_on_seat(struct replica *r);
void ensemble_on_gone(struct replica *r, int64_t epoch);
void ensemble_on_session(struct world *w, int number, int64_t session);
void ensemble_after_step(struct world *w);

/* ---- engine.c ---- */
void engines_init(struct replica *r);
void engine_answer(struct world *w, const struct event *to, struct engine_answer a, const char *id);
void engine_tell(struct world *w, struct watcher *waiting,
                 struct engine_answer a); /* each of a REPLICAS; a ticket of 0: none */
void object_start(struct world *w, struct container *o);
void object_start_breaks(struct world *w, struct container *o); /* its engine dies in mid-start */
void object_exit_later(struct world *w, const struct container *o, int64_t delay_ms, int code);
void object_gone(struct container *o);
void engines_release(struct world *w);
void engine_call(struct world *w, struct event *e);
void object_exit(struct world *w, struct container *o, int code, const char *cause);
struct container *object_by_id(struct world *w, const char *id);
void host_changes(struct world *w, int host);
void hosts_rest(struct world *w); /* all of them are up, and stay so */
void host_sweep(struct world *w, struct replica *r);

/* ---- swarm.c ---- */
void swarm_release(struct world *w, struct event *e, struct container *o, struct engine_answer a);
void swarm_fence(struct world *w, struct event *e, struct container *o, struct engine_answer a);
void swarm_discard(struct world *w, struct container *o);
void swarm_task(struct world *w, struct event *e);
void swarm_node_lost(struct world *w, struct container *o); /* with what ran on it */
void swarm_withdraw(struct world *w, struct container *o);
/* What a watch of what has not started is told; false: it has, or this is none of a Swarm. */
bool swarm_watch(const struct world *w, const struct container *o, struct engine_answer *ret);

/* ---- strangers.c ---- */
void stranger_at_random(struct world *w);
/* The engines of this process look for objects that run and that nobody keeps. */
void stranger_look(struct replica *r);
void stranger_ended(struct world *w, const struct container *o);
bool stranger_is_told(const struct world *w, const struct container *o); /* of its running */

/* ---- clocks.c ---- */
int64_t clocks_believed_ms(struct replica *r);
void clocks_not_before(struct replica *r, int64_t wall_ms); /* the journal is of that time already */
bool clocks_fit(struct replica *r, const char **ret_why);
void clocks_hear(struct replica *r); /* the other members and ZooKeeper */
void clocks_jump(struct world *w, struct replica *r);
void clocks_right(struct world *w);

/* ---- loss.c ---- */
void loss_begin(struct world *w);  /* the journal is put back to an earlier state, and all begin again */
void loss_tell(struct replica *r); /* before it leads */
/* What replicated_host.state gives. */
char *loss_state(struct replica *r, uint64_t index, const char *hash, size_t *ret_size, int *ret_level,
                 int64_t *ret_time_ms);
void loss_look(struct world *w, const struct znode_version *recovered); /* the node says so */
void loss_recover(struct world *w);                                     /* a person tries to have it go on */

/* ---- clients.c ---- */
void client_first_jobs(struct world *w);
void client_request(struct world *w);
void client_pause_all(struct world *w, bool on);

/* ---- monitor.c ---- */
void monitor_release(struct world *w);
/* Folds a batch into the shadow, judging each record before and after. */
void monitor_batch(struct world *w, const struct batch *b, const char *text, size_t size);
struct run_note *monitor_run(struct world *w, const char *id);
void monitor_start(struct world *w, struct container *o);
/* The journal goes on from the shadow: the account of fire times begins again there. */
void monitor_begin_anew(struct world *w, int64_t lost_until_ms);
int64_t monitor_next(struct world *w,
                     const struct job_state *j); /* the fire time after its cursor; INT64_MAX: none */
void monitor_final(struct world *w);
void write_hash(const struct history_write *write, char ret[33]);

/* ---- checks.c ---- */
void check_step(struct world *w);
void check_same_state(struct replica *r, const char *when);
void check_rest(struct world *w);
