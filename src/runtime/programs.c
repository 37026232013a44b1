/* runtime/programs: kernels that have been compiled, by what they compute.
 *
 * Two kernels with equal IR on one device share one program, across plans and
 * threads. One lock guards the table; it is taken when plans are made and
 * freed, never while kernels run. Plans own programs by reference, so a program
 * goes with the last plan that uses it. What code a program gets, and when, is
 * decided in tiers.c.
 *
 * A kernel may be right only for finite numbers in some slots (compile/build.c). Before
 * it runs they are looked at, once over the memory, which is little beside what such
 * kernels compute; if it does not suit, another program runs in its stead.
 */
#include <pthread.h>

#include "backend/c/unit.h"
#include "runtime/plan.h"
#include "runtime/threads.h"

enum { PROGRAM_BUCKETS = 1024 };
static tg_program *programs[PROGRAM_BUCKETS];
static pthread_mutex_t programs_lock = PTHREAD_MUTEX_INITIALIZER;

static tg_program *find_program(const tg_kernel *kernel, const tg_backend *backend, uint64_t hash) {
  for (tg_program *p = programs[hash % PROGRAM_BUCKETS]; p; p = p->next)
    if (p->hash == hash && p->backend == backend && tg_kernel_equal(p->kernel, kernel)) return p;
  return NULL;
}

static tg_program *add_program(tg_kernel *kernel, const tg_backend *backend, uint64_t hash) {
  tg_program *p = tg_alloc_zero(sizeof *p);
  if (!p) return NULL;
  p->kernel = kernel;
  p->backend = backend;
  p->hash = hash;
  p->next = programs[hash % PROGRAM_BUCKETS];
  programs[hash % PROGRAM_BUCKETS] = p;
  atomic_fetch_add(&tg_count.kernels_compiled, 1);
  return p;
}

tg_program *tg_program_get(tg_kernel *kernel, int device) {
  const tg_backend *backend = tg_backends[device];
  uint64_t hash = tg_kernel_hash(kernel);
  pthread_mutex_lock(&programs_lock);
  tg_program *p = find_program(kernel, backend, hash);
  bool known = p != NULL;
  if (!p) p = add_program(kernel, backend, hash);
  if (p) p->refs++;
  pthread_mutex_unlock(&programs_lock);
  if (known || !p) tg_kernel_free(kernel);
  return p;
}

void tg_program_keep(tg_program *p) {
  pthread_mutex_lock(&programs_lock);
  p->refs++;
  pthread_mutex_unlock(&programs_lock);
}

bool tg_program_build(tg_program *p) {
  pthread_mutex_lock(&programs_lock);
  if (!p->code) p->code = p->backend->compile(p->kernel);
  bool good = p->code != NULL;
  pthread_mutex_unlock(&programs_lock);
  return good;
}

/* ---- what a kernel assumes of memory */

enum { FINITE_PIECE = 1 << 16 };

typedef struct finite_task {
  const void *data;
  int64_t numel;
  tg_dtype dtype;
  _Atomic bool found; /* something else */
} finite_task;

/* Whether n bit patterns are finite: adding the lowest bit of the exponent to one of
 * all ones, the sign taken away, carries into the sign. */
#define FINITE(T, name)                                                            \
  static bool name(const void *data, int64_t n, T rest, T one) {                   \
    const T *x = data;                                                             \
    T carry = 0;                                                                   \
    for (int64_t i = 0; i < n; i++) carry |= (T)((x[i] & rest) + one);             \
    return !(carry & (T)~rest);                                                    \
  }
FINITE(uint16_t, finite_16)
FINITE(uint32_t, finite_32)
FINITE(uint64_t, finite_64)

static bool finite_bits(tg_dtype dtype, const void *data, int64_t n) {
  if (dtype == TG_FLOAT16) return finite_16(data, n, 0x7fff, 0x400);
  if (dtype == TG_BFLOAT16) return finite_16(data, n, 0x7fff, 0x80);
  if (dtype == TG_FLOAT32) return finite_32(data, n, 0x7fffffff, 0x800000);
  return finite_64(data, n, INT64_MAX, UINT64_C(1) << 52);
}

static void finite_job(void *context, int64_t job) {
  finite_task *task = context;
  int64_t from = job * FINITE_PIECE, n = task->numel - from;
  if (atomic_load_explicit(&task->found, memory_order_relaxed)) return;
  const char *data = (const char *)task->data + from * tg_dtype_size(task->dtype);
  if (!finite_bits(task->dtype, data, n < FINITE_PIECE ? n : FINITE_PIECE))
    atomic_store_explicit(&task->found, true, memory_order_relaxed);
}

bool tg_program_suits(const tg_program *p, void *const *data) {
  const tg_kernel *k = p->kernel;
  for (int32_t s = 0; s < k->nslots; s++) {
    if (!k->slot[s].finite) continue;
    finite_task task = {.data = data[s], .numel = k->slot[s].numel, .dtype = k->slot[s].dtype};
    tg_parallel((task.numel + FINITE_PIECE - 1) / FINITE_PIECE, finite_job, &task);
    if (atomic_load(&task.found)) return false;
  }
  return true;
}

int tg_program_run(tg_program *p, void *const *data) {
  const tg_c_kernel *fast = atomic_load_explicit(&p->fast, memory_order_acquire);
  int status = fast ? tg_c_run(fast, data) : 1;
  if (status <= 0) return status;
  if (fast && !tg_program_build(p)) return -1;
  return p->backend->run(p->code, data);
}

void tg_program_adopt(tg_program *p, tg_unit *unit, const tg_c_kernel *kernel) {
  pthread_mutex_lock(&programs_lock);
  if (!p->unit) {
    tg_unit_retain(unit);
    p->unit = unit;
    atomic_store_explicit(&p->fast, kernel, memory_order_release);
    atomic_fetch_add(&tg_count.kernels_generated, 1);
  }
  pthread_mutex_unlock(&programs_lock);
}

void tg_program_put(tg_program *p) {
  if (!p) return;
  pthread_mutex_lock(&programs_lock);
  bool last = --p->refs == 0;
  if (last) {
    tg_program **at = &programs[p->hash % PROGRAM_BUCKETS];
    while (*at != p) at = &(*at)->next;
    *at = p->next;
  }
  pthread_mutex_unlock(&programs_lock);
  if (!last) return;
  if (p->code) p->backend->release(p->code);
  tg_unit_release(p->unit);
  tg_kernel_free(p->kernel);
  tg_free(p);
}
