/* runtime/tiers: a program starts at once and gets faster.
 *
 * TG_JIT=off     the built-in backend runs everything
 * TG_JIT=sync    new kernels are generated as C and compiled before they first run
 * TG_JIT=async   (default) they run on the built-in backend first, while a thread
 *                has them compiled in a child process; then they change over
 *
 * The new kernels of a plan are rendered as one unit, a *batch*. A unit that an
 * earlier process left in the cache is loaded at once, in every mode but off. One
 * that is not there waits, in async mode, until its plan is run a second time: what
 * runs once is not worth a compiler. A kernel that cannot be rendered, a compiler
 * that is missing, fails or hangs: the built-in backend goes on, and one line at
 * DEBUG=1 says why.
 *
 * One thread compiles, one unit at a time, and sleeps otherwise. It takes nothing
 * but its lock and the lock of the programs, so it holds nobody up; a step never
 * waits for it. Only the end of the library does, for as long as compiling has gone
 * on already: else a program shorter than its compiler would start anew each time,
 * and never find anything in the cache.
 */
#if !defined(_POSIX_C_SOURCE)
#define _POSIX_C_SOURCE 200809L
#endif
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "backend/c/unit.h"
#include "runtime/tiers.h"

#define TIERS_PATIENCE 3.0 /* seconds, at most */

typedef enum tg_jit_mode { JIT_OFF, JIT_ASYNC, JIT_SYNC } tg_jit_mode;

typedef struct tg_batch {
  tg_unit *unit;
  tg_program **program; /* a reference to each; kernel i of the unit is for program i */
  int count;
  struct tg_batch *next;
} tg_batch;

static pthread_mutex_t tiers_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t tiers_work = PTHREAD_COND_INITIALIZER;
static tg_batch *tiers_first, **tiers_last = &tiers_first;
static tg_unit *tiers_now; /* being compiled */
static pthread_t tiers_thread;
static bool tiers_started, tiers_ending;
static double tiers_since; /* when the first of the units that wait was queued */

static tg_jit_mode tiers_mode(void) {
  const char *text = getenv("TG_JIT");
  if (text && !strcmp(text, "off")) return JIT_OFF;
  return text && !strcmp(text, "sync") ? JIT_SYNC : JIT_ASYNC;
}

static void tiers_say(const tg_batch *b, const tg_c_why *why, const char *what, double seconds) {
  if (tg_debug() < 1) return;
  if (why && why->text[0])
    fprintf(stderr, "c: %d kernels stay built-in: %s\n", b->count, why->text);
  else
    fprintf(stderr, "c: %d kernels %s in %.3f s\n", b->count, what, seconds);
}

/* ---- batches */

static void free_batch(tg_batch *b) {
  if (!b) return;
  for (int i = 0; i < b->count; i++) tg_program_put(b->program[i]);
  tg_unit_release(b->unit);
  tg_free(b->program);
  tg_free(b);
}

static bool waits(const tg_program *p) {
  return p && p->backend == &tg_backend_builtin && !atomic_load(&p->fast) &&
         !atomic_load(&p->settled);
}

static bool in_batch(const tg_batch *b, const tg_program *p) {
  for (int i = 0; i < b->count; i++)
    if (b->program[i] == p) return true;
  return false;
}

/* Renders the kernels of the plan that have no generated code. 0: done, also if
 * there is none; -1: out of memory. */
static int fill_batch(tg_batch *b, tg_plan *plan) {
  for (int64_t i = 0; i < plan->actions; i++) {
    tg_program *p = plan->action[i].program;
    if (!waits(p) || in_batch(b, p)) continue;
    tg_c_rendered done = tg_unit_add(b->unit, p->kernel, b->count);
    if (done == TG_C_FAILED) return -1;
    if (done == TG_C_DECLINED) atomic_store(&p->settled, true);
    if (done != TG_C_DONE) continue;
    tg_program_keep(p);
    b->program[b->count++] = p;
  }
  return 0;
}

static tg_batch *new_batch(tg_plan *plan) {
  tg_batch *b = tg_alloc_zero(sizeof *b);
  if (!b) return NULL;
  b->unit = tg_unit_new();
  b->program = tg_alloc((size_t)plan->actions * sizeof(tg_program *) + 1);
  if (b->unit && b->program && fill_batch(b, plan) == 0) return b;
  free_batch(b);
  return NULL;
}

static void adopt_batch(const tg_batch *b) {
  for (int i = 0; i < b->count && i < b->unit->table->count; i++)
    tg_program_adopt(b->program[i], b->unit, b->unit->table->kernel[i]);
}

static void settle_batch(const tg_batch *b) {
  for (int i = 0; i < b->count; i++) atomic_store(&b->program[i]->settled, true);
}

/* Compiles and loads; what cannot be had is settled. */
static void build_batch(tg_batch *b, bool background) {
  tg_c_why why = {{0}};
  double start = tg_seconds();
  if (tg_unit_build(b->unit, background, &why)) adopt_batch(b);
  else settle_batch(b);
  tiers_say(b, &why, "compiled", tg_seconds() - start);
}

/* ---- a new plan */

static bool any_waits(const tg_plan *plan) {
  bool any = false;
  for (int64_t i = 0; i < plan->actions; i++) any = any || waits(plan->action[i].program);
  return any;
}

static int start_batch(tg_plan *plan, tg_jit_mode mode) {
  tg_c_why why = {{0}};
  double start = tg_seconds();
  tg_batch *b = new_batch(plan);
  if (!b) return -1;
  if (!b->count) {
    free_batch(b);
    return 0;
  }
  bool sealed = tg_unit_seal(b->unit, b->count, &why);
  if (tg_debug() >= 4 && b->unit->text.at) fputs(b->unit->text.at, stderr);
  if (sealed && tg_unit_find(b->unit, &why)) {
    adopt_batch(b);
    tiers_say(b, NULL, "loaded from the cache", tg_seconds() - start);
  } else if (sealed && mode == JIT_SYNC) {
    build_batch(b, false);
  } else if (sealed) {
    plan->batch = b;
    return 0;
  } else {
    bool memory = !b->unit->text.failed;
    settle_batch(b);
    tiers_say(b, &why, "", 0);
    free_batch(b);
    return memory ? 0 : -1;
  }
  free_batch(b);
  return 0;
}

int tg_tiers_plan(tg_plan *plan) {
  tg_jit_mode mode = tiers_mode();
  if (mode != JIT_OFF && any_waits(plan) && start_batch(plan, mode) < 0) return -1;
  for (int64_t i = 0; i < plan->actions; i++) {
    tg_program *p = plan->action[i].program;
    if (p && !atomic_load(&p->fast) && !tg_program_build(p)) return -1;
  }
  return 0;
}

/* ---- the thread */

static tg_batch *next_batch(void) {
  pthread_mutex_lock(&tiers_lock);
  tiers_now = NULL;
  while (!tiers_first && !tiers_ending) pthread_cond_wait(&tiers_work, &tiers_lock);
  tg_batch *b = tiers_ending ? NULL : tiers_first;
  if (b) {
    tiers_first = b->next;
    if (!tiers_first) tiers_last = &tiers_first;
    tiers_now = b->unit;
  }
  pthread_mutex_unlock(&tiers_lock);
  return b;
}

static void *compile_batches(void *unused) {
  (void)unused;
  for (tg_batch *b; (b = next_batch());) {
    build_batch(b, true);
    pthread_mutex_lock(&tiers_lock);
    tiers_now = NULL;
    pthread_mutex_unlock(&tiers_lock);
    free_batch(b);
  }
  tg_thread_clean();
  return NULL;
}

void tg_tiers_again(tg_plan *plan) {
  pthread_mutex_lock(&tiers_lock);
  tg_batch *b = plan->batch;
  plan->batch = NULL;
  if (b && !tiers_started && !tiers_ending)
    tiers_started = pthread_create(&tiers_thread, NULL, compile_batches, NULL) == 0;
  bool queued = b && tiers_started && !tiers_ending;
  if (queued) {
    if (!tiers_first && !tiers_now) tiers_since = tg_seconds();
    *tiers_last = b;
    tiers_last = &b->next;
    pthread_cond_signal(&tiers_work);
  }
  pthread_mutex_unlock(&tiers_lock);
  if (b && !queued) free_batch(b);
}

void tg_tiers_forget(tg_plan *plan) {
  pthread_mutex_lock(&tiers_lock);
  tg_batch *b = plan->batch;
  plan->batch = NULL;
  pthread_mutex_unlock(&tiers_lock);
  free_batch(b);
}

static bool tiers_busy(double *since) {
  pthread_mutex_lock(&tiers_lock);
  bool busy = tiers_started && (tiers_first || tiers_now);
  *since = tiers_since;
  pthread_mutex_unlock(&tiers_lock);
  return busy;
}

void tg_tiers_finish(void) {
  const struct timespec nap = {0, 1000000};
  double since, start = tg_seconds();
  while (tiers_busy(&since)) {
    double patience = start - since < TIERS_PATIENCE ? start - since : TIERS_PATIENCE;
    if (tg_seconds() - start >= patience) return;
    nanosleep(&nap, NULL);
  }
}

void tg_tiers_stop(void) {
  pthread_mutex_lock(&tiers_lock);
  bool started = tiers_started;
  tiers_ending = true;
  if (tiers_now) atomic_store(&tiers_now->stop, true);
  pthread_cond_signal(&tiers_work);
  pthread_mutex_unlock(&tiers_lock);
  if (started) pthread_join(tiers_thread, NULL);
  pthread_mutex_lock(&tiers_lock);
  tg_batch *left = tiers_first;
  tiers_first = NULL;
  tiers_last = &tiers_first;
  tiers_started = tiers_ending = false;
  pthread_mutex_unlock(&tiers_lock);
  for (tg_batch *next; left; left = next) {
    next = left->next;
    free_batch(left);
  }
}
