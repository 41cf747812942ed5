#include "cronsched/api/loop_gap.h"

#include "jobs/base/clock.h"

static void on_prepare(uv_prepare_t *prepare)
{
    struct loop_gap *gap = OBJECT_OF(struct loop_gap, prepare, prepare);
    uint64_t now = uv_hrtime(), idle = uv_metrics_idle_time(prepare->loop);
    uint64_t passed = now - gap->last_ns, slept = idle - gap->idle_ns;
    uint64_t away = passed > slept ? passed - slept : 0, cpu = (uint64_t)clock_thread_cpu_ns(),
             computed = cpu - gap->last_cpu_ns;

    gap->last_ns = now;
    gap->idle_ns = idle;
    gap->last_cpu_ns = cpu;
    gap->busy_ns += away;
    if (now - gap->window_ns >= UINT64_C(1000000) * LOOP_GAP_WINDOW_MS) {
        gap->window_ns = now;
        gap->max_before_ns = gap->max_ns;
        gap->max_ns = 0;
        gap->max_cpu_before_ns = gap->max_cpu_ns;
        gap->max_cpu_ns = 0;
    }
    if (away > gap->max_ns)
        gap->max_ns = away;
    if (computed > gap->max_cpu_ns)
        gap->max_cpu_ns = computed;
}

void loop_gap_start(struct loop_gap *gap, uv_loop_t *loop)
{
    *gap = (struct loop_gap){0};
    OBJECT_INIT(struct loop_gap, gap);
    uv_loop_configure(loop, UV_METRICS_IDLE_TIME);
    gap->last_ns = gap->window_ns = uv_hrtime();
    gap->idle_ns = uv_metrics_idle_time(loop);
    gap->last_cpu_ns = (uint64_t)clock_thread_cpu_ns();
    uv_prepare_init(loop, &gap->prepare);
    uv_prepare_start(&gap->prepare, on_prepare);
    uv_unref((uv_handle_t *)&gap->prepare);
}

uint64_t loop_gap_longest_ns(const struct loop_gap *gap)
{
    return gap->max_ns > gap->max_before_ns ? gap->max_ns : gap->max_before_ns;
}

uint64_t loop_gap_most_cpu_ns(const struct loop_gap *gap)
{
    return gap->max_cpu_ns > gap->max_cpu_before_ns ? gap->max_cpu_ns : gap->max_cpu_before_ns;
}

void loop_gap_close(struct loop_gap *gap, uv_close_cb closed)
{
    uv_close((uv_handle_t *)&gap->prepare, closed);
}
