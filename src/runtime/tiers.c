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
 * One thread compiles, one unit at a time, and sleeps otherwise. Of the plans that
 * wait it takes the one that has been run most often, of equals the newest. A batch
 * that waits belongs to its plan and goes with it: so no more of them wait than there
 * are plans, however many shapes a program meets. It holds no text either; that is
 * rendered again when its turn comes.
 *
 * The thread takes nothing but its lock and the lock of the programs, so it holds nobody
 * up; a step never waits for it. Only the end of the library does, for as long as
 * compiling has gone on already: else a program shorter than its compiler would start
 * anew each time, and never find anything in the cache. When the thread is stopped for
 * a fork, what it was compiling waits again. The child of a fork has no such thread: it
 * starts one of its own.
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
  tg_program **program; /* a reference to each; kernel i of the unit is for program i */
  int count;
  int64_t runs, order;  /* of its plan since it waits; when it began to */
  tg_plan *plan;        /* that it belongs to; NULL: it stands for itself */
  bool queued;
  struct tg_batch *before, *after;
} tg_batch;

static pthread_mutex_t tiers_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t tiers_work = PTHREAD_COND_INITIALIZER;
static pthread_once_t tiers_forks = PTHREAD_ONCE_INIT;
static tg_batch *tiers_queue;
static int64_t tiers_order;
static tg_unit *tiers_now; /* being compiled */
static pthread_t tiers_thread;
static bool tiers_started, tiers_ending;
static double tiers_since; /* when the first of those that wait was queued */

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
static int fill_batch(tg_batch *b, tg_unit *unit, tg_plan *plan) {
  for (int64_t i = 0; i < plan->actions; i++) {
    tg_program *p = plan->action[i].program;
    if (!waits(p) || in_batch(b, p)) continue;
    tg_c_rendered done = tg_unit_add(unit, p->kernel, b->count);
    if (done == TG_C_FAILED) return -1;
    if (done == TG_C_DECLINED) atomic_store(&p->settled, true);
    if (done != TG_C_DONE) continue;
    tg_program_keep(p);
    b->program[b->count++] = p;
  }
  return 0;
}

static tg_batch *new_batch(tg_plan *plan, tg_unit *unit) {
  tg_batch *b = tg_alloc_zero(sizeof *b);
  if (!b) return NULL;
  b->program = tg_alloc((size_t)plan->actions * sizeof(tg_program *) + 1);
  if (unit && b->program && fill_batch(b, unit, plan) == 0) return b;
  free_batch(b);
  return NULL;
}

/* The unit of a batch that has waited: the same text, and so the same name. NULL: no
 * memory, or why. */
static tg_unit *unit_again(const tg_batch *b, tg_c_why *why) {
  tg_unit *unit = tg_unit_new();
  bool good = unit != NULL;
  for (int i = 0; good && i < b->count; i++)
    good = tg_unit_add(unit, b->program[i]->kernel, i) == TG_C_DONE;
  if (good && tg_unit_seal(unit, b->count, why)) return unit;
  tg_unit_release(unit);
  return NULL;
}

static void adopt_batch(const tg_batch *b, tg_unit *unit) {
  for (int i = 0; i < b->count && i < unit->table->count; i++)
    tg_program_adopt(b->program[i], unit, unit->table->kernel[i]);
}

static void settle_batch(const tg_batch *b) {
  for (int i = 0; i < b->count; i++) atomic_store(&b->program[i]->settled, true);
}

/* Compiles and loads; what cannot be had is settled, but for want of memory where a
 * caller hears of that. false: it was stopped. */
static bool build_batch(const tg_batch *b, tg_unit *unit, bool background, tg_c_why *why) {
  double start = tg_seconds();
  bool done = tg_unit_build(unit, background, why);
  if (done) adopt_batch(b, unit);
  else if (atomic_load(&unit->stop)) return false;
  else if (background || !why->memory) settle_batch(b);
  tiers_say(b, why, "compiled", tg_seconds() - start);
  return true;
}

/* ---- a new plan */

static bool any_waits(const tg_plan *plan) {
  bool any = false;
  for (int64_t i = 0; i < plan->actions; i++) any = any || waits(plan->action[i].program);
  return any;
}

/* Loads or compiles the unit, or leaves the batch with the plan. false: no memory. */
static bool place_batch(tg_plan *plan, tg_batch *b, tg_unit *unit, tg_jit_mode mode) {
  tg_c_why why = {0};
  double start = tg_seconds();
  bool sealed = tg_unit_seal(unit, b->count, &why);
  if (tg_debug() >= 4 && unit->text.at) fputs(unit->text.at, stderr);
  if (sealed && tg_unit_find(unit, &why)) {
    adopt_batch(b, unit);
    tiers_say(b, NULL, "loaded from the cache", tg_seconds() - start);
  } else if (sealed && mode == JIT_SYNC) {
    build_batch(b, unit, false, &why);
  } else if (sealed) {
    plan->batch = b;
    b->plan = plan;
    return true;
  } else if (!why.memory) {
    settle_batch(b);
    tiers_say(b, &why, "", 0);
  }
  free_batch(b);
  return !why.memory;
}

static int start_batch(tg_plan *plan, tg_jit_mode mode) {
  tg_unit *unit = tg_unit_new();
  tg_batch *b = unit ? new_batch(plan, unit) : NULL;
  bool memory = b && !unit->text.failed;
  if (memory && b->count) memory = place_batch(plan, b, unit, mode);
  else free_batch(b);
  tg_unit_release(unit);
  return memory ? 0 : -1;
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

/* ---- what waits; under the lock */

static void tiers_enter(tg_batch *b) {
  if (!tiers_queue && !tiers_now) tiers_since = tg_seconds();
  b->queued = true;
  b->order = ++tiers_order;
  b->before = NULL;
  b->after = tiers_queue;
  if (b->after) b->after->before = b;
  tiers_queue = b;
}

static void tiers_leave(tg_batch *b) {
  if (b->before) b->before->after = b->after;
  else tiers_queue = b->after;
  if (b->after) b->after->before = b->before;
  b->queued = false;
}

/* Run most often, of equals the newest: that stands first. */
static tg_batch *tiers_choose(void) {
  tg_batch *best = tiers_queue;
  for (tg_batch *b = tiers_queue; b; b = b->after)
    if (b->runs > best->runs) best = b;
  if (!best) return NULL;
  tiers_leave(best);
  if (best->plan) best->plan->batch = NULL;
  best->plan = NULL;
  return best;
}

/* ---- the thread */

static tg_batch *next_batch(void) {
  pthread_mutex_lock(&tiers_lock);
  while (!tiers_queue && !tiers_ending) pthread_cond_wait(&tiers_work, &tiers_lock);
  tg_batch *b = tiers_ending ? NULL : tiers_choose();
  pthread_mutex_unlock(&tiers_lock);
  return b;
}

/* The unit at work, which tg_tiers_stop may stop; NULL: none. */
static void tiers_work_on(tg_unit *unit) {
  pthread_mutex_lock(&tiers_lock);
  tiers_now = unit;
  if (unit && tiers_ending) atomic_store(&unit->stop, true);
  pthread_mutex_unlock(&tiers_lock);
}

/* Renders and compiles; false: it was stopped, and waits again. */
static bool work_off(tg_batch *b) {
  tg_c_why why = {0};
  tg_unit *unit = unit_again(b, &why);
  bool done = true;
  if (!unit) {
    settle_batch(b);
    tiers_say(b, &why, "", 0);
  } else {
    tiers_work_on(unit);
    if (tg_unit_find(unit, &why)) adopt_batch(b, unit);
    else done = build_batch(b, unit, true, &why);
    tiers_work_on(NULL);
  }
  tg_unit_release(unit);
  return done;
}

static void *compile_batches(void *unused) {
  (void)unused;
  for (tg_batch *b; (b = next_batch());) {
    if (work_off(b)) {
      free_batch(b);
      continue;
    }
    pthread_mutex_lock(&tiers_lock);
    tiers_enter(b);
    pthread_mutex_unlock(&tiers_lock);
  }
  tg_thread_clean();
  return NULL;
}

/* Around a fork nobody changes the queue; the child has no thread, and what that was
 * working on stays the parent's. */
static void before_fork(void) { pthread_mutex_lock(&tiers_lock); }
static void after_fork(void) { pthread_mutex_unlock(&tiers_lock); }
static void in_child(void) {
  tiers_started = tiers_ending = false;
  tiers_now = NULL;
  tiers_work = (pthread_cond_t)PTHREAD_COND_INITIALIZER;
  pthread_mutex_unlock(&tiers_lock);
}
static void watch_forks(void) { pthread_atfork(before_fork, after_fork, in_child); }

void tg_tiers_again(tg_plan *plan) {
  pthread_once(&tiers_forks, watch_forks);
  pthread_mutex_lock(&tiers_lock);
  tg_batch *b = plan->batch;
  if (b) b->runs++;
  if (b && !b->queued) {
    tiers_enter(b);
    pthread_cond_signal(&tiers_work);
  }
  if (tiers_queue && !tiers_started && !tiers_ending)
    tiers_started = pthread_create(&tiers_thread, NULL, compile_batches, NULL) == 0;
  pthread_mutex_unlock(&tiers_lock);
}

void tg_tiers_forget(tg_plan *plan) {
  pthread_mutex_lock(&tiers_lock);
  tg_batch *b = plan->batch;
  plan->batch = NULL;
  if (b && b->queued) tiers_leave(b);
  pthread_mutex_unlock(&tiers_lock);
  free_batch(b);
}

static bool tiers_busy(double *since) {
  pthread_mutex_lock(&tiers_lock);
  bool busy = tiers_started && (tiers_queue || tiers_now);
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
  tiers_started = tiers_ending = false;
  pthread_mutex_unlock(&tiers_lock);
}

void tg_tiers_drop(void) {
  for (;;) {
    pthread_mutex_lock(&tiers_lock);
    tg_batch *b = tiers_choose();
    pthread_mutex_unlock(&tiers_lock);
    if (!b) return;
    free_batch(b);
  }
}

int64_t tg_tiers_waiting(void) {
  int64_t count = 0;
  pthread_mutex_lock(&tiers_lock);
  for (tg_batch *b = tiers_queue; b; b = b->after) count++;
  pthread_mutex_unlock(&tiers_lock);
  return count;
}
