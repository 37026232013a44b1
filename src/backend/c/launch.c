/* c/launch: runs a generated kernel: its phases one after the other, the jobs of
 * each over the thread pool. A failed CHECK does not stop the others; of all that
 * failed, the one of the lowest job is reported, for any number of threads. */
#include "backend/c/c.h"
#include "backend/c/unit.h"
#include "runtime/threads.h"

typedef struct c_worker {
  tg_c_call call;
  int64_t bad_job;
} c_worker;

typedef struct c_run {
  const tg_c_kernel *kernel;
  const tg_c_phase *phase;
  char *workers;
  size_t stride;
} c_run;

static c_worker *c_worker_at(const c_run *run, int slot) {
  return (c_worker *)(void *)(run->workers + (size_t)slot * run->stride);
}

static void c_job(void *context, int64_t job) {
  const c_run *run = context;
  c_worker *w = c_worker_at(run, tg_thread_slot());
  bool failed = w->call.failed, lower = job < w->bad_job;
  if (failed && !lower) {
    run->phase->run(&w->call, job);
    return;
  }
  w->call.failed = 0;
  run->phase->run(&w->call, job);
  if (w->call.failed) w->bad_job = job;
  else w->call.failed = failed;
}

static int c_report(const c_run *run, int workers) {
  const c_worker *bad = NULL;
  bool unfit = false;
  for (int i = 0; i < workers; i++) {
    const c_worker *w = c_worker_at(run, i);
    if (w->call.failed && (!bad || w->bad_job < bad->bad_job)) bad = w;
    unfit = unfit || w->call.unfit;
  }
  if (!bad) return unfit;
  tg_fail_as(TG_FAILURE_INDEX,
             "index %lld is out of range for an axis of size %lld; use indices from 0 to %lld",
             (long long)bad->call.bad_index, (long long)bad->call.bad_bound,
             (long long)bad->call.bad_bound - 1);
  return -1;
}

int tg_c_run(const tg_c_kernel *kernel, void *const *data) {
  int64_t jobs = 1;
  for (int p = 0; p < kernel->phases; p++)
    if (kernel->phase[p].jobs > jobs) jobs = kernel->phase[p].jobs;
  int threads = tg_thread_count(), workers = jobs < threads ? (int)jobs : threads;
  size_t shared = ((size_t)kernel->shared + 63) & ~(size_t)63;
  size_t head = (sizeof(c_worker) + 63) & ~(size_t)63;
  c_run run = {.kernel = kernel, .stride = head + (((size_t)kernel->own + 127) & ~(size_t)63)};
  char *memory = tg_scratch_take(shared + (size_t)workers * run.stride);
  if (!memory) return -1;
  run.workers = memory + shared;
  for (int i = 0; i < workers; i++) {
    c_worker *w = c_worker_at(&run, i);
    *w = (c_worker){.call = {.data = data, .shared = memory, .own = (char *)w + head},
                    .bad_job = INT64_MAX};
  }
  for (int p = 0; p < kernel->phases; p++) {
    run.phase = &kernel->phase[p];
    tg_parallel(kernel->phase[p].jobs, c_job, &run);
  }
  int status = c_report(&run, workers);
  tg_scratch_give(memory);
  return status;
}
