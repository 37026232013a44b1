/* runtime/threads: the thread pool and its scratch memory.
 *
 * One pool serves the process. A caller claims it with one atomic exchange;
 * whoever finds it claimed works alone, so nested and concurrent calls need no
 * rule of their own. The claim opens the gate: one number that holds how many
 * workers are inside, how many may come in, and which call it is, so that a
 * worker joins with one compare-and-swap and never joins a call twice. Inside
 * each draws job numbers from a share of its own, several at once where there are
 * very many, then from the others' shares. Kernels cut what they work on by its
 * position, so the share that a thread begins with is mostly what the kernel
 * before left in its cache. The caller draws too, shuts the gate when the numbers
 * run out, and waits only for the workers that did join: one that wakes up late
 * finds the gate shut and costs nothing.
 *
 * Kernels take microseconds, so a worker without work watches the gate for
 * POOL_WATCH seconds before it goes to sleep, and kernels that follow one another
 * find it awake. It gives its processor up between looks; when that takes long,
 * others want the processor, and it sleeps at once.
 *
 * Waking a sleeper costs its caller as much as a small kernel (20 us in a virtual
 * machine). So a caller begins alone, and wakes only once the work still to do,
 * with the work lately done alone, outweighs that. It wakes one worker at a
 * time, and those wake others while there is work.
 */
#include "runtime/threads.h"

#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include "runtime/runtime.h"

enum { POOL_MAX = 256, POOL_LOOKS = 64, POOL_DRAWS = 32, SCRATCH_KEPT = 64 };
#define POOL_WATCH 100e-6
#define POOL_TAKEN 20e-6 /* a yield that takes longer ran somebody else */
#define POOL_WORTH 40e-6 /* as much work alone is worth waking somebody for */

/* The gate: workers inside, one bit when the caller sleeps until they are out,
 * how many may join (0: shut), the number of the call. */
#define POOL_INSIDE UINT64_C(0x7fff)
#define POOL_WAITED UINT64_C(0x8000)
#define POOL_LIMIT(n) ((uint64_t)(n) << 16)
#define POOL_LIMIT_OF(gate) ((int)((gate) >> 16 & 0xffff))
#define POOL_CALL_OF(gate) ((gate) >> 32)

typedef struct pool_worker {
  pthread_t thread;
  pthread_cond_t wake;
  atomic_bool asleep;
} pool_worker;

typedef struct pool_share { /* job numbers */
  _Alignas(64) _Atomic int64_t next;
  int64_t end;
} pool_share;

/* What is written often stands on cache lines of its own. */
static struct {
  pthread_mutex_t lock;
  pthread_cond_t left;
  pool_worker worker[POOL_MAX];
  atomic_int workers;         /* written under the lock */
  atomic_int stop;
  atomic_int chosen;          /* tg_threads_set; 0: not set */
  atomic_int machine;         /* the default count; 0: not yet looked up */
  _Alignas(64) atomic_int claimed; /* one caller at a time */
  _Alignas(64) _Atomic uint64_t gate;
  int64_t count, draw;        /* jobs, and how many numbers one draw takes */
  double alone, ended;        /* seconds lately worked while others slept; until when */
  void (*job)(void *, int64_t);
  void *context;
  int shares;                 /* one for each thread that may take part */
  atomic_bool waking;         /* this call is worth waking sleepers for */
  pool_share share[POOL_MAX];
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER, .left = PTHREAD_COND_INITIALIZER};

static _Thread_local int pool_slot;

static inline void pool_relax(void) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

static int pool_clamp(int64_t count) {
  if (count < 1) return 1;
  return count > POOL_MAX ? POOL_MAX : (int)count;
}

int tg_thread_count(void) {
  int chosen = atomic_load_explicit(&pool.chosen, memory_order_relaxed);
  if (chosen > 0) return chosen;
  int machine = atomic_load_explicit(&pool.machine, memory_order_relaxed);
  if (machine == 0) {
    int64_t wanted = tg_env_int("TG_THREADS", 0);
    machine = pool_clamp(wanted > 0 ? wanted : (int64_t)sysconf(_SC_NPROCESSORS_ONLN));
    atomic_store(&pool.machine, machine);
  }
  return machine;
}

void tg_threads_set(int count) {
  atomic_store(&pool.chosen, count > 0 ? pool_clamp(count) : 0);
}

int tg_thread_slot(void) { return pool_slot; }

/* Runs the jobs of one draw from a share; returns how many, 0 when it is empty. */
static int64_t pool_draw_from(pool_share *share) {
  if (atomic_load_explicit(&share->next, memory_order_relaxed) >= share->end) return 0;
  int64_t i = atomic_fetch_add_explicit(&share->next, pool.draw, memory_order_relaxed);
  int64_t first = i, end = i + pool.draw < share->end ? i + pool.draw : share->end;
  for (; i < end; i++) pool.job(pool.context, i);
  return end > first ? end - first : 0;
}

/* Draws jobs and runs them, from the thread's own share while it lasts; returns how
 * many, 0 when there are none left or the run shall end (runtime.h), for all. */
static int64_t pool_draw(int slot) {
  if (tg_run_stopped())
    for (int s = 0; s < pool.shares; s++) atomic_store(&pool.share[s].next, pool.share[s].end);
  for (int s = 0; s < pool.shares; s++) {
    int64_t done = pool_draw_from(&pool.share[(slot + s) % pool.shares]);
    if (done > 0) return done;
  }
  return 0;
}

/* Whether a worker that this call could use sleeps. */
static bool pool_sleeper(int helpers) {
  int workers = atomic_load(&pool.workers);
  for (int i = 0; i < helpers && i < workers; i++)
    if (atomic_load(&pool.worker[i].asleep)) return true;
  return false;
}

static void pool_wake(int helpers) {
  int workers = atomic_load(&pool.workers);
  for (int i = 0; i < helpers && i < workers; i++) {
    pool_worker *w = &pool.worker[i];
    if (!atomic_load(&w->asleep) || !atomic_exchange(&w->asleep, false)) continue;
    pthread_mutex_lock(&pool.lock);
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&pool.lock);
    return;
  }
}

/* ---- waiting */

typedef struct pool_place { /* where a worker stands */
  int slot;
  uint64_t call;            /* the last one it joined */
} pool_place;

static bool pool_wanted(const pool_place *at) {
  uint64_t gate = atomic_load(&pool.gate);
  return at->slot <= POOL_LIMIT_OF(gate) && POOL_CALL_OF(gate) != at->call;
}

static bool pool_wanted_or_stopped(const pool_place *at) {
  return pool_wanted(at) || atomic_load(&pool.stop);
}

static bool pool_empty(const pool_place *at) {
  (void)at;
  return (atomic_load(&pool.gate) & POOL_INSIDE) == 0;
}

/* Looks until `ready` says yes; false when that takes longer than a sleep costs
 * or the processor is wanted by others. */
static bool pool_watch(bool (*ready)(const pool_place *), const pool_place *at) {
  double first = -1, before = -1;
  for (;;) {
    for (int i = 0; i < POOL_LOOKS; i++) {
      if (ready(at)) return true;
      pool_relax();
    }
    double now = tg_seconds();
    if (first < 0) first = now;
    if (now - first > POOL_WATCH || (before >= 0 && now - before > POOL_TAKEN)) return ready(at);
    before = now;
    sched_yield();
  }
}

/* ---- workers */

static void pool_join(pool_place *at) {
  uint64_t gate = atomic_load(&pool.gate);
  while (at->slot <= POOL_LIMIT_OF(gate)) {
    if (!atomic_compare_exchange_weak(&pool.gate, &gate, gate + 1)) continue;
    at->call = POOL_CALL_OF(gate);
    if (atomic_load(&pool.waking)) pool_wake(POOL_LIMIT_OF(gate));
    while (pool_draw(at->slot) > 0) {
    }
    gate = atomic_fetch_sub(&pool.gate, 1);
    if ((gate & POOL_INSIDE) != 1 || !(gate & POOL_WAITED)) return;
    pthread_mutex_lock(&pool.lock); /* the last one out, and somebody waits */
    pthread_cond_signal(&pool.left);
    pthread_mutex_unlock(&pool.lock);
    return;
  }
}

/* Sleeps until woken. Says so before it looks a last time, and a caller opens
 * the gate before it looks who sleeps: no wake-up is lost. One that comes too
 * late for the call watches again: more calls are likely to follow. */
static void pool_sleep(const pool_place *at) {
  pool_worker *me = &pool.worker[at->slot - 1];
  pthread_mutex_lock(&pool.lock);
  atomic_store(&me->asleep, true);
  if (!pool_wanted_or_stopped(at)) pthread_cond_wait(&me->wake, &pool.lock);
  atomic_store(&me->asleep, false);
  pthread_mutex_unlock(&pool.lock);
}

static void *pool_thread(void *number) {
  pool_place at = {.slot = (int)(intptr_t)number};
  pool_slot = at.slot;
  while (!atomic_load(&pool.stop)) {
    if (pool_wanted(&at)) pool_join(&at);
    else if (!pool_watch(pool_wanted_or_stopped, &at)) pool_sleep(&at);
  }
  return NULL;
}

/* ---- callers */

/* Starts workers up to `wanted`, as far as the system lets us. The call's number
 * is never 0, so a new worker has joined none. */
static void pool_start(int wanted) {
  pthread_mutex_lock(&pool.lock);
  for (int n = atomic_load(&pool.workers); n < wanted; n++) {
    pool_worker *w = &pool.worker[n];
    if (pthread_cond_init(&w->wake, NULL) != 0) break;
    atomic_store(&w->asleep, false);
    if (pthread_create(&w->thread, NULL, pool_thread, (void *)(intptr_t)(n + 1)) != 0) {
      pthread_cond_destroy(&w->wake);
      break;
    }
    atomic_store(&pool.workers, n + 1);
  }
  pthread_mutex_unlock(&pool.lock);
}

/* Shuts the gate and waits until the last worker is out. */
static void pool_close(void) {
  uint64_t shut = ~POOL_LIMIT(0xffff);
  if (!(atomic_fetch_and(&pool.gate, shut) & POOL_INSIDE)) return;
  if (pool_watch(pool_empty, NULL)) return;
  pthread_mutex_lock(&pool.lock);
  atomic_fetch_or(&pool.gate, POOL_WAITED);
  while (!pool_empty(NULL)) pthread_cond_wait(&pool.left, &pool.lock);
  atomic_fetch_and(&pool.gate, ~POOL_WAITED);
  pthread_mutex_unlock(&pool.lock);
}

static void pool_alone(int64_t count, void (*job)(void *, int64_t), void *context) {
  int slot = pool_slot;
  pool_slot = 0;
  for (int64_t i = 0; i < count && !tg_run_stopped(); i++) job(context, i);
  pool_slot = slot;
}

/* Draws while helpers sleep, and wakes them when that is worth it. */
static void pool_work_and_wake(int helpers) {
  double start = tg_seconds(), now = start;
  if (start - pool.ended > POOL_WATCH) pool.alone = 0; /* nobody would have stayed awake */
  for (int64_t done = 0, drawn; (drawn = pool_draw(0)) > 0;) {
    done += drawn;
    now = tg_seconds();
    double left = (now - start) * ((double)pool.count / (double)done - 1);
    if (pool.alone + left < POOL_WORTH) continue;
    atomic_store(&pool.waking, true);
    pool_wake(helpers);
  }
  pool.ended = tg_seconds();
  pool.alone = atomic_load(&pool.waking) ? 0 : pool.alone + pool.ended - start;
}

static void pool_together(int64_t count, int helpers) {
  uint64_t call = POOL_CALL_OF(atomic_load(&pool.gate)) + 1;
  if (call >> 32) call = 1;
  pool.draw = count / ((helpers + 1) * POOL_DRAWS) + 1;
  pool.shares = helpers + 1;
  for (int s = 0; s <= helpers; s++) {
    pool.share[s].end = count * (s + 1) / pool.shares;
    atomic_store_explicit(&pool.share[s].next, count * s / pool.shares, memory_order_relaxed);
  }
  atomic_store(&pool.waking, false);
  if (atomic_load(&pool.workers) < helpers) pool_start(helpers);
  atomic_store(&pool.gate, call << 32 | POOL_LIMIT(helpers));
  if (pool_sleeper(helpers)) pool_work_and_wake(helpers);
  while (pool_draw(0) > 0) {
  }
  pool_close();
}

void tg_parallel(int64_t count, void (*job)(void *context, int64_t i), void *context) {
  int helpers = count > 1 ? tg_thread_count() - 1 : 0;
  if (helpers > count - 1) helpers = (int)(count - 1);
  if (helpers <= 0 || atomic_exchange(&pool.claimed, 1)) {
    pool_alone(count, job, context);
    return;
  }
  int slot = pool_slot;
  pool_slot = 0;
  pool.count = count;
  pool.job = job;
  pool.context = context;
  pool_together(count, helpers);
  pool_slot = slot;
  atomic_store(&pool.claimed, 0);
}

/* ---- scratch: a short list of blocks, each with its size in front */

typedef struct pool_block {
  size_t size;
  char pad[56]; /* what follows stays 64-byte aligned */
} pool_block;

static struct {
  pthread_mutex_t lock;
  pool_block *block[SCRATCH_KEPT];
  int count;
} scratch = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* The smallest kept block that is large enough, or NULL. */
static pool_block *scratch_find(size_t size) {
  int best = -1;
  for (int i = 0; i < scratch.count; i++)
    if (scratch.block[i]->size >= size &&
        (best < 0 || scratch.block[i]->size < scratch.block[best]->size))
      best = i;
  if (best < 0) return NULL;
  pool_block *found = scratch.block[best];
  scratch.block[best] = scratch.block[--scratch.count];
  return found;
}

void *tg_scratch_take(size_t size) {
  pthread_mutex_lock(&scratch.lock);
  pool_block *block = scratch_find(size);
  pool_block *small = NULL; /* grow by replacing: one block per user in the end */
  if (!block && scratch.count > 0) small = scratch.block[--scratch.count];
  pthread_mutex_unlock(&scratch.lock);
  tg_free_data(small);
  if (!block) {
    block = tg_alloc_data(sizeof(pool_block) + size);
    if (!block) return NULL;
    block->size = size;
  }
  return block + 1;
}

void tg_scratch_give(void *memory) {
  if (!memory) return;
  pool_block *block = (pool_block *)memory - 1;
  pthread_mutex_lock(&scratch.lock);
  bool kept = scratch.count < SCRATCH_KEPT;
  if (kept) scratch.block[scratch.count++] = block;
  pthread_mutex_unlock(&scratch.lock);
  if (!kept) tg_free_data(block);
}

static void scratch_free(void) {
  pthread_mutex_lock(&scratch.lock);
  while (scratch.count > 0) tg_free_data(scratch.block[--scratch.count]);
  pthread_mutex_unlock(&scratch.lock);
}

void tg_threads_stop(void) {
  scratch_free();
  if (atomic_exchange(&pool.claimed, 1)) return; /* in use: nothing to stop now */
  int workers = atomic_load(&pool.workers);
  pthread_mutex_lock(&pool.lock);
  atomic_store(&pool.stop, 1);
  for (int i = 0; i < workers; i++) pthread_cond_signal(&pool.worker[i].wake);
  pthread_mutex_unlock(&pool.lock);
  for (int i = 0; i < workers; i++) {
    pthread_join(pool.worker[i].thread, NULL);
    pthread_cond_destroy(&pool.worker[i].wake);
  }
  atomic_store(&pool.workers, 0);
  atomic_store(&pool.stop, 0);
  atomic_store(&pool.claimed, 0);
}
