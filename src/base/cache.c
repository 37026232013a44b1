/* Freed blocks, kept for the next who asks: the default allocator.
 *
 * A training step asks for the same few hundred blocks again and again. Small
 * ones (nodes, handles, records) are kept by each thread, in one list per size,
 * without a lock. Large ones (tensor data) are kept for all threads, under a lock:
 * memory fresh from the system would cost more to clear, page by page, than
 * many kernels take to fill it.
 *
 * Sizes are rounded up a little, so that a block serves any of its class. What is
 * kept is bounded: a thread keeps CACHE_OWN bytes of small blocks; of the large
 * ones, those in use and those kept together are never more than nine eighths of
 * what was in use at once, and the oldest go first. (Without the eighth, a block of a
 * size not seen before would push out the arena of the last step.) All goes back
 * to the system when the thread ends, at tg_shutdown, and when the system has no more.
 *
 * The counters and the tests' failing allocators stand above: what is kept here
 * is not in use. Checkers that watch malloc see more without all this:
 * -DTG_PLAIN_MALLOC.
 */
#define _DEFAULT_SOURCE /* madvise */
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/base.h"

enum { CACHE_STEP = 32, CACHE_SMALL = 1024, CACHE_LISTS = CACHE_SMALL / CACHE_STEP + 1,
       CACHE_LARGE = 64, CACHE_PAGE = 2 << 20, CACHE_OWN = 1 << 20 };

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define TG_PLAIN_MALLOC
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || \
    __has_feature(memory_sanitizer)
#define TG_PLAIN_MALLOC
#endif
#endif

#ifdef TG_PLAIN_MALLOC

void *tg_cache_alloc(size_t size) { return malloc(size); }
void tg_cache_release(void *memory, size_t size) { (void)size, free(memory); }
void tg_cache_thread_end(void) {}
void tg_cache_clear(void) {}

#else

/* ---- small blocks: a list per size, per thread */

typedef struct cache_link {
  struct cache_link *next;
} cache_link;

typedef struct cache_lists {
  cache_link *list[CACHE_LISTS];
  size_t bytes;
  bool over; /* the thread is about to end: keep nothing */
} cache_lists;
static _Thread_local cache_lists cache_own;

static void *cache_small(size_t size) {
  size_t class = (size + CACHE_STEP - 1) / CACHE_STEP;
  cache_link *link = cache_own.list[class];
  if (!link) return malloc(class * CACHE_STEP);
  cache_own.list[class] = link->next;
  cache_own.bytes -= class * CACHE_STEP;
  return link;
}

static void cache_give_small(void *memory, size_t size) {
  size_t class = (size + CACHE_STEP - 1) / CACHE_STEP;
  if (cache_own.over || cache_own.bytes + class * CACHE_STEP > CACHE_OWN) {
    free(memory);
    return;
  }
  cache_link *link = memory;
  link->next = cache_own.list[class];
  cache_own.list[class] = link;
  cache_own.bytes += class * CACHE_STEP;
}

static void cache_empty(void) {
  for (int i = 0; i < CACHE_LISTS; i++)
    while (cache_own.list[i]) {
      cache_link *link = cache_own.list[i];
      cache_own.list[i] = link->next;
      free(link);
    }
  cache_own.bytes = 0;
}

void tg_cache_thread_end(void) {
  cache_own.over = true;
  cache_empty();
}

/* ---- large blocks: one list for all, oldest first */

typedef struct cache_block {
  void *memory;
  size_t size;
} cache_block;

typedef struct cache_list {
  pthread_mutex_t lock;
  cache_block block[CACHE_LARGE];
  int count;
  size_t kept, used, most; /* bytes: in the list, handed out, handed out at once */
} cache_list;
static cache_list cache = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* Rounded up to a multiple of an eighth of the largest power of two in it. */
static size_t cache_class(size_t size) {
  size_t step = CACHE_SMALL / 8;
  while (size / step >= 16) step *= 2;
  return size > SIZE_MAX - step ? size : (size + step - 1) / step * step;
}

/* Takes block i out of the list. */
static void *cache_take(int i) {
  void *memory = cache.block[i].memory;
  cache.kept -= cache.block[i].size;
  cache.count--;
  memmove(&cache.block[i], &cache.block[i + 1],
          (size_t)(cache.count - i) * sizeof *cache.block);
  return memory;
}

/* A kept block of that size; else NULL, and the oldest go to make room for a new one. */
static void *cache_find(size_t size) {
  for (int i = cache.count - 1; i >= 0; i--)
    if (cache.block[i].size == size) return cache_take(i);
  size_t most = cache.most + cache.most / 8;
  while (cache.count && cache.used + cache.kept + size > most) free(cache_take(0));
  return NULL;
}

static void cache_drop_all(void) {
  pthread_mutex_lock(&cache.lock);
  while (cache.count) free(cache_take(0));
  cache.most = cache.used;
  pthread_mutex_unlock(&cache.lock);
}

/* Memory from the system. Where it can be asked for large pages, it is: that saves
 * faults when it is first touched, and address translation ever after. */
static void *cache_fresh(size_t size) {
#ifdef MADV_HUGEPAGE
  if (size >= CACHE_PAGE) {
    void *memory = aligned_alloc(CACHE_PAGE, (size + CACHE_PAGE - 1) / CACHE_PAGE * CACHE_PAGE);
    if (memory) madvise(memory, size, MADV_HUGEPAGE); /* it may refuse: no harm */
    return memory;
  }
#endif
  return malloc(size);
}

static void *cache_large(size_t size) {
  pthread_mutex_lock(&cache.lock);
  void *memory = cache_find(size);
  cache.used += size;
  if (cache.used > cache.most) cache.most = cache.used;
  pthread_mutex_unlock(&cache.lock);
  if (memory || (memory = cache_fresh(size))) return memory;
  cache_drop_all();
  if ((memory = cache_fresh(size))) return memory;
  pthread_mutex_lock(&cache.lock);
  cache.used -= size;
  pthread_mutex_unlock(&cache.lock);
  return NULL;
}

static void cache_give_large(void *memory, size_t size) {
  void *oldest = NULL;
  pthread_mutex_lock(&cache.lock);
  if (cache.count == CACHE_LARGE) oldest = cache_take(0);
  cache.used -= size;
  cache.kept += size;
  cache.block[cache.count++] = (cache_block){memory, size};
  pthread_mutex_unlock(&cache.lock);
  free(oldest);
}

/* ---- both */

void *tg_cache_alloc(size_t size) {
  return size <= CACHE_SMALL ? cache_small(size) : cache_large(cache_class(size));
}

void tg_cache_release(void *memory, size_t size) {
  if (size <= CACHE_SMALL) cache_give_small(memory, size);
  else cache_give_large(memory, cache_class(size));
}

void tg_cache_clear(void) {
  cache_empty();
  cache_drop_all();
}

#endif
