/* Memory: one door for everything the library allocates.
 *
 * First the replaceable allocator, then plain blocks, then tensor data. Each
 * plain block carries its size in a header of 16 bytes, so that the bytes in
 * use can be counted and the user's release function can be told the size.
 * Tensor data is aligned to 64 bytes, a cache line and the widest vector, by
 * asking for a little more; its header sits just in front of the aligned
 * address. A failure is recorded here, once, so callers only hand NULL on.
 *
 * The default allocator keeps freed blocks for the next (cache.c). The state of
 * a thread is not allocated (thread.c) and neither counts as in use, so
 * after tg_shutdown nothing is in use and the allocator may be replaced again.
 */
#include "base/base.h"

tg_counts tg_count;

/* ---- the allocator */

static void *plain_alloc(size_t size, void *user) {
  (void)user;
  return tg_cache_alloc(size);
}

static void plain_release(void *memory, size_t size, void *user) {
  (void)user;
  tg_cache_release(memory, size);
}

/* Written only while nothing is allocated, so readers need no lock. */
static tg_allocator allocator = {plain_alloc, plain_release, NULL};

int tg_set_allocator(const tg_allocator *given) {
  int64_t bytes = tg_count_of(TG_COUNT_BYTES);
  if (bytes) {
    tg_fail("tg_set_allocator: %lld bytes are allocated; set the allocator before the "
            "first tensor is made, or after tg_shutdown", (long long)bytes);
    return -1;
  }
  if (given && (!given->alloc || !given->release)) {
    tg_fail("tg_set_allocator: alloc or release is NULL; give both, or NULL for malloc");
    return -1;
  }
  allocator = given ? *given : (tg_allocator){plain_alloc, plain_release, NULL};
  return 0;
}

/* ---- counters */

static void raise_peak(_Atomic int64_t *peak, int64_t value) {
  int64_t old = atomic_load_explicit(peak, memory_order_relaxed);
  while (value > old && !atomic_compare_exchange_weak_explicit(
                            peak, &old, value, memory_order_relaxed, memory_order_relaxed)) {
  }
}

/* Every thread counts for itself; the peak looks at what they have handed over,
 * so it is exact to COUNT_LATER bytes per thread. */
enum { COUNT_LATER = 1 << 16 };

static void count_bytes(int64_t n) {
  int64_t own = tg_count_own(TG_COUNT_BYTES, n);
  if (own <= COUNT_LATER && own >= -COUNT_LATER) return;
  raise_peak(&tg_count.peak_bytes, tg_count_hand_over(TG_COUNT_BYTES));
}

tg_counters tg_get_counters(void) {
  int64_t bytes = tg_count_of(TG_COUNT_BYTES);
  raise_peak(&tg_count.peak_bytes, bytes);
  return (tg_counters){
      .tensors = tg_count_of(TG_COUNT_TENSORS),
      .nodes = tg_count_of(TG_COUNT_NODES),
      .buffers = tg_count.buffers,
      .bytes = bytes,
      .peak_bytes = tg_count.peak_bytes,
      .buffer_bytes = tg_count.buffer_bytes,
      .peak_buffer_bytes = tg_count.peak_buffer_bytes,
      .kernels_run = tg_count.kernels_run,
      .kernels_compiled = tg_count.kernels_compiled,
      .kernels_generated = tg_count.kernels_generated,
      .compiler_runs = tg_count.compiler_runs,
      .units_cached = tg_count.units_cached,
      .schedules = tg_count.schedules,
      .schedules_replayed = tg_count.schedules_replayed,
  };
}

void tg_reset_peak(void) {
  atomic_store(&tg_count.peak_bytes, tg_count_of(TG_COUNT_BYTES));
  atomic_store(&tg_count.peak_buffer_bytes, atomic_load(&tg_count.buffer_bytes));
}

/* ---- plain blocks */

typedef struct block_header {
  size_t size; /* with the header */
  size_t unused;
} block_header;
_Static_assert(sizeof(block_header) == 16, "blocks stay aligned like malloc's");

/* `size` more than the header of `extra` bytes, or NULL and a message. */
static void *take(size_t size, size_t extra) {
  void *raw = NULL;
  if (size <= PTRDIFF_MAX - extra) raw = allocator.alloc(size + extra, allocator.user);
  if (!raw) {
    tg_fail_as(TG_FAILURE_MEMORY, "out of memory: %zu bytes could not be allocated", size);
    return NULL;
  }
  count_bytes((int64_t)(size + extra));
  return raw;
}

static void give(void *raw, size_t size) {
  count_bytes(-(int64_t)size);
  allocator.release(raw, size, allocator.user);
}

void *tg_alloc(size_t size) {
  block_header *block = take(size, sizeof(block_header));
  if (!block) return NULL;
  block->size = size + sizeof(block_header);
  return block + 1;
}

void *tg_alloc_zero(size_t size) {
  void *memory = tg_alloc(size);
  return memory ? memset(memory, 0, size) : NULL;
}

void tg_free(void *memory) {
  if (!memory) return;
  block_header *block = (block_header *)memory - 1;
  give(block, block->size);
}

void *tg_grow(void *old, size_t size) {
  void *memory = tg_alloc(size);
  if (!memory || !old) return memory;
  size_t had = ((block_header *)old - 1)->size - sizeof(block_header);
  memcpy(memory, old, had < size ? had : size);
  tg_free(old);
  return memory;
}

bool tg_reserve(void **items, int64_t *room, int64_t count, size_t size) {
  if (count < *room) return true;
  int64_t more = *room < 8 ? 8 : *room * 2;
  void *grown = tg_grow(*items, (size_t)more * size);
  if (!grown) return false;
  *items = grown;
  *room = more;
  return true;
}

/* ---- tensor data */

typedef struct data_header {
  void *raw;
  size_t size; /* as asked for */
} data_header;
#define DATA_ALIGN ((size_t)64)
#define DATA_EXTRA (DATA_ALIGN + sizeof(data_header))

void *tg_alloc_data(size_t size) {
  char *raw = take(size, DATA_EXTRA);
  if (!raw) return NULL;
  uintptr_t first = (uintptr_t)raw + sizeof(data_header);
  char *data = (char *)raw + sizeof(data_header) + (-first & (DATA_ALIGN - 1));
  ((data_header *)(void *)data)[-1] = (data_header){raw, size};
  return data;
}

void tg_free_data(void *memory) {
  if (!memory) return;
  data_header header = ((data_header *)memory)[-1];
  give(header.raw, header.size + DATA_EXTRA);
}
