/* builtin/call: loops around tiles, and jobs over the thread pool.
 *
 * What a worker needs (registers, tables, panels) is laid out once per worker
 * and call in one piece of scratch memory, so that running a kernel allocates
 * nothing after the first time. A failed CHECK does not stop the others: each
 * worker remembers its first, and the one of the lowest job is reported, the
 * same for any number of threads.
 */
#include "backend/builtin/builtin.h"

void tg_bi_nest_add(bi_nest *nest, int range, int64_t size, int64_t step) {
  if (step >= size) return;
  nest->range[nest->count] = range;
  nest->size[nest->count] = size;
  nest->step[nest->count++] = step;
  nest->total *= (size + step - 1) / step;
}

void tg_bi_nest_start(const bi_nest *nest, int64_t i, int64_t *pos) {
  for (int k = nest->count - 1; k >= 0; k--) {
    int64_t count = (nest->size[k] + nest->step[k] - 1) / nest->step[k];
    pos[nest->range[k]] = i % count * nest->step[k];
    i /= count;
  }
}

uint64_t tg_bi_nest_next(const bi_nest *nest, int64_t *pos) {
  uint64_t moved = 0;
  for (int k = nest->count - 1; k >= 0; k--) {
    int r = nest->range[k];
    moved |= UINT64_C(1) << r;
    pos[r] += nest->step[k];
    if (pos[r] < nest->size[k]) break;
    pos[r] = 0;
  }
  return moved;
}

static size_t call_head(void) { return (sizeof(bi_worker) + 63) & ~(size_t)63; }

static bi_worker *call_worker(const bi_call *call, int w) {
  return (bi_worker *)(void *)(call->scratch + call->shared + (size_t)w * call->stride);
}

bool tg_bi_call_begin(bi_call *call, int64_t jobs) {
  int threads = tg_thread_count();
  call->workers = jobs < threads ? (int)jobs : threads;
  if (call->workers < 1) call->workers = 1;
  call->shared = (call->shared + 63) & ~(size_t)63;
  call->stride = call_head() + ((call->own + 127) & ~(size_t)63);
  call->scratch = tg_scratch_take(call->shared + (size_t)call->workers * call->stride);
  if (!call->scratch) return false;
  for (int w = 0; w < call->workers; w++) {
    bi_worker *worker = call_worker(call, w);
    memset(worker, 0, sizeof *worker);
    worker->data = call->data;
  }
  return true;
}

static void call_job(void *context, int64_t i) {
  bi_call *call = context;
  bi_worker *worker = call_worker(call, tg_thread_slot());
  char *memory = (char *)worker + call_head();
  if (!worker->code) {
    worker->code = call->code;
    call->prepare(call->program, memory, call->scratch);
  }
  worker->job = i;
  call->job(call, worker, memory, i);
}

void tg_bi_call_jobs(bi_call *call, int64_t jobs) { tg_parallel(jobs, call_job, call); }

int tg_bi_call_end(bi_call *call) {
  const bi_worker *bad = NULL;
  for (int w = 0; w < call->workers; w++) {
    const bi_worker *worker = call_worker(call, w);
    if (worker->failed && (!bad || worker->bad_job < bad->bad_job)) bad = worker;
  }
  if (bad)
    tg_fail_as(TG_FAILURE_INDEX,
               "index %lld is out of range for an axis of size %lld; use indices from 0 to %lld",
               (long long)bad->bad_index, (long long)bad->bad_bound,
               (long long)bad->bad_bound - 1);
  tg_scratch_give(call->scratch);
  return bad ? -1 : 0;
}

int64_t tg_bi_items_per_job(int64_t items, double nanoseconds) {
  int threads = tg_thread_count();
  double total = (double)items * nanoseconds;
  if (threads == 1 || total < 20e3) return items;
  int64_t jobs = (int64_t)(total / 10e3) + 1;
  if (jobs > threads * 8) jobs = threads * 8;
  if (jobs > items) jobs = items;
  return (items + jobs - 1) / jobs;
}
