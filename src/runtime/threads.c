/* runtime/threads: the thread pool and its scratch memory.
 *
 * One pool serves the process. A caller claims it with one atomic exchange;
 * whoever finds it claimed works alone, so nested and concurrent calls need no
 * rule of their own. The claim opens the gate, a counter of the workers inside
 * with a bit for "open": workers join while it is open and draw job numbers
 * from one counter. The caller draws too, closes the gate when the numbers run
 * out, and waits only for the workers that did join: one that wakes up late
 * finds the gate shut and costs nothing. Kernels take microseconds, so an idle
 * worker looks for the next gate for a while before it goes to sleep.
 */
#include "runtime/threads.h"

#include <pthread.h>
#include <sched.h>
#include <unistd.h>

enum { POOL_MAX = 256, POOL_SPIN = 2000, SCRATCH_KEPT = 64 };
#define POOL_OPEN 0x10000

static struct {
  pthread_mutex_t lock;
  pthread_cond_t wake, left;
  pthread_t worker[POOL_MAX];
  int workers;                /* under the lock */
  int sleeping;               /* under the lock */
  atomic_int claimed;         /* one caller at a time */
  atomic_int gate;            /* workers inside, plus POOL_OPEN */
  atomic_int stop;
  atomic_int chosen;          /* tg_threads_set; 0: not set */
  atomic_int machine;         /* the default count; 0: not yet looked up */
  atomic_llong next;
  int64_t count;
  int limit;                  /* workers that may join this call */
  void (*job)(void *, int64_t);
  void *context;
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER,
          .wake = PTHREAD_COND_INITIALIZER,
          .left = PTHREAD_COND_INITIALIZER};

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
  int chosen = atomic_load(&pool.chosen);
  if (chosen > 0) return chosen;
  int machine = atomic_load(&pool.machine);
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

/* Draws job numbers until they run out. */
static void pool_work(void) {
  for (;;) {
    int64_t i = atomic_fetch_add(&pool.next, 1);
    if (i >= pool.count) return;
    pool.job(pool.context, i);
  }
}

static bool pool_join(int slot) {
  int gate = atomic_load(&pool.gate);
  while (gate & POOL_OPEN)
    if (atomic_compare_exchange_weak(&pool.gate, &gate, gate + 1)) {
      if (slot <= pool.limit) pool_work();
      if (atomic_fetch_sub(&pool.gate, 1) == 1) { /* shut, and the last one out */
        pthread_mutex_lock(&pool.lock);
        pthread_cond_signal(&pool.left);
        pthread_mutex_unlock(&pool.lock);
      }
      return true;
    }
  return false;
}

/* Sleeps until the gate opens. Checks under the lock: the caller opens the gate
 * first and takes the lock afterwards, so no wake-up is lost. */
static void pool_sleep(void) {
  pthread_mutex_lock(&pool.lock);
  pool.sleeping++;
  while (!(atomic_load(&pool.gate) & POOL_OPEN) && !atomic_load(&pool.stop))
    pthread_cond_wait(&pool.wake, &pool.lock);
  pool.sleeping--;
  pthread_mutex_unlock(&pool.lock);
}

static void *pool_thread(void *number) {
  int slot = (int)(intptr_t)number, idle = 0;
  pool_slot = slot;
  while (!atomic_load(&pool.stop)) {
    if (pool_join(slot)) {
      idle = 0;
      /* the numbers have run out: let the caller shut the gate */
      for (int i = 0; i < POOL_SPIN && (atomic_load(&pool.gate) & POOL_OPEN); i++) pool_relax();
    } else if (++idle < POOL_SPIN) {
      pool_relax();
    } else {
      pool_sleep();
      idle = 0;
    }
  }
  return NULL;
}

/* Starts workers up to `wanted`, as far as the system lets us; wakes those
 * that sleep. The gate is open already. */
static void pool_call(int wanted) {
  pthread_mutex_lock(&pool.lock);
  while (pool.workers < wanted) {
    void *slot = (void *)(intptr_t)(pool.workers + 1);
    if (pthread_create(&pool.worker[pool.workers], NULL, pool_thread, slot) != 0) break;
    pool.workers++;
  }
  if (pool.sleeping > 0) pthread_cond_broadcast(&pool.wake);
  pthread_mutex_unlock(&pool.lock);
}

static void pool_close(void) {
  atomic_fetch_and(&pool.gate, ~POOL_OPEN);
  for (int i = 0; i < POOL_SPIN; i++) {
    if (atomic_load(&pool.gate) == 0) return;
    pool_relax();
  }
  pthread_mutex_lock(&pool.lock);
  while (atomic_load(&pool.gate) != 0) pthread_cond_wait(&pool.left, &pool.lock);
  pthread_mutex_unlock(&pool.lock);
}

static void pool_alone(int64_t count, void (*job)(void *, int64_t), void *context) {
  int slot = pool_slot;
  pool_slot = 0;
  for (int64_t i = 0; i < count; i++) job(context, i);
  pool_slot = slot;
}

void tg_parallel(int64_t count, void (*job)(void *context, int64_t i), void *context) {
  int helpers = tg_thread_count() - 1;
  if (helpers > count - 1) helpers = (int)(count - 1);
  if (helpers <= 0 || atomic_exchange(&pool.claimed, 1)) {
    pool_alone(count, job, context);
    return;
  }
  int slot = pool_slot;
  pool_slot = 0;
  pool.count = count;
  pool.limit = helpers;
  pool.job = job;
  pool.context = context;
  atomic_store(&pool.next, 0);
  atomic_store(&pool.gate, POOL_OPEN);
  pool_call(helpers);
  pool_work();
  pool_close();
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
  pthread_mutex_lock(&pool.lock);
  int workers = pool.workers;
  atomic_store(&pool.stop, 1);
  pthread_cond_broadcast(&pool.wake);
  pthread_mutex_unlock(&pool.lock);
  for (int i = 0; i < workers; i++) pthread_join(pool.worker[i], NULL);
  pool.workers = 0;
  atomic_store(&pool.stop, 0);
  atomic_store(&pool.claimed, 0);
}
