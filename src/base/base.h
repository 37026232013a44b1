/* base: what every room stands on: errors, memory, hashing, dtypes, the
 * environment and the state of a thread.
 *
 * Memory has one door: tg_alloc and tg_free, over the allocator that the user
 * may replace. Every allocation can fail; a failure is recorded once, here, so
 * callers only hand NULL on.
 */
#ifndef TG_BASE_H
#define TG_BASE_H

#include <stdatomic.h>
#include <stdarg.h>
#include <string.h>

#include "teenygrad/teenygrad.h"

/* ---- memory: NULL and a recorded message when there is none */
void *tg_alloc(size_t size);            /* contents not set */
void *tg_alloc_zero(size_t size);
void *tg_grow(void *old, size_t size);  /* realloc; old is kept on failure */
void tg_free(void *memory);             /* NULL is fine */
void *tg_alloc_data(size_t size);       /* tensor data: 64-byte aligned */
void tg_free_data(void *memory);

/* Makes room for one more element in a growing array. `*items` has room for
 * `*room` elements of `size` bytes and holds `count`. false: out of memory. */
bool tg_reserve(void **items, int64_t *room, int64_t count, size_t size);

/* The default allocator, which keeps freed blocks; and letting go of them. */
void *tg_cache_alloc(size_t size);
void tg_cache_release(void *memory, size_t size);
void tg_cache_thread_end(void);
void tg_cache_clear(void);

/* ---- errors */
/* tg_fail with another kind than TG_FAILURE_ARGUMENT. */
void *tg_fail_as(tg_failure kind, const char *format, ...) TG_PRINTF(2, 3);
bool tg_has_error(void);                 /* recorded and not yet read */
/* The message that is recorded is of a part of `call`: it names that from now on, unless
 * it is none that users know. */
void tg_error_within(const char *call);
void tg_null_argument(const char *call); /* records "call: got NULL" if nothing is recorded */
/* "(2, 3)" in a buffer that stays valid for the next 7 calls on this thread. */
const char *tg_shape_text(const int64_t *dims, int ndim);
const char *tg_dtype_text(tg_dtype dtype);
/* What arithmetic on it is done in: float32 for the 16-bit floats, else itself. */
static inline tg_dtype tg_dtype_wide(tg_dtype dtype) {
  return dtype == TG_FLOAT16 || dtype == TG_BFLOAT16 ? TG_FLOAT32 : dtype;
}

/* ---- hashing: FNV-1a, 64 bits, for tables inside one process */
uint64_t tg_hash(uint64_t seed, const void *data, size_t size);
#define TG_HASH_SEED UINT64_C(0xcbf29ce484222325)

/* ---- environment */
int64_t tg_env_int(const char *name, int64_t otherwise);
int tg_debug(void); /* the DEBUG level, read once */

/* ---- float16 and bfloat16: round to nearest even, as IEEE 754 says */
float tg_half_to_float(uint16_t bits);
uint16_t tg_float_to_half(float value);
float tg_bfloat_to_float(uint16_t bits);
uint16_t tg_float_to_bfloat(float value);

/* ---- the state of one thread; the rooms above own the fields they name */
#define TG_ERROR_ROOM 1024
typedef enum tg_counted { TG_COUNT_TENSORS, TG_COUNT_NODES, TG_COUNT_BYTES, TG_COUNTED } tg_counted;
typedef struct tg_thread {
  char error[TG_ERROR_ROOM]; /* base; here so that it works without memory */
  bool error_unread;
  tg_failure failure;       /* base: the kind of `error` */
  bool ends;                /* base: the end of the thread cleans this up */
  bool listed;              /* base: its counters are found through the list */
  struct tg_thread *before, *after;
  _Atomic int64_t count[TG_COUNTED];
  tg_scope *scope;          /* tensor: innermost open scope */
  struct tg_node **pool;    /* graph: nodes made and not yet handed on */
  int64_t pool_count, pool_room;
  tg_dtype default_dtype;   /* 0: float32 */
  int default_device;       /* tensor: index + 1; 0: not asked for yet */
  bool training, no_grad;
  bool seeded;
  uint64_t seed, drawn;     /* tensor: the random generator */
  struct tg_tape *tape;     /* runtime: where what is run is written down, or NULL */
  struct tg_recording *recording; /* tensor: what tg_jit is recording, or NULL */
} tg_thread;
tg_thread *tg_this_thread(void);
/* What the rooms above must let go when a thread ends; set once, any time. */
void tg_at_thread_end(void (*clean)(tg_thread *thread));
/* Runs that for this thread now; its modes and its error stay. */
void tg_thread_clean(void);

/* ---- counters; tg_get_counters reads them */
typedef struct tg_counts {
  _Atomic int64_t all[TG_COUNTED]; /* of threads that have ended, or handed over */
  _Atomic int64_t buffers, peak_bytes, buffer_bytes, peak_buffer_bytes, kernels_run,
      kernels_compiled, kernels_generated, compiler_runs, units_cached, schedules,
      schedules_replayed;
} tg_counts;
extern tg_counts tg_count;
static inline void tg_count_add(_Atomic int64_t *counter, int64_t n) {
  atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

/* What changes with every call each thread counts for itself: no lock, no bus. */
static inline int64_t tg_count_own(tg_counted what, int64_t n) {
  tg_thread *t = tg_this_thread();
  if (!t->listed) return atomic_fetch_add(&tg_count.all[what], n) + n;
  n += atomic_load_explicit(&t->count[what], memory_order_relaxed);
  atomic_store_explicit(&t->count[what], n, memory_order_relaxed);
  return n;
}
int64_t tg_count_hand_over(tg_counted what); /* this thread's to all; the sum there */
int64_t tg_count_of(tg_counted what);        /* over all threads */

double tg_seconds(void); /* a clock that only goes forward */

#endif
