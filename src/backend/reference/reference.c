/* backend/reference: kernel IR read literally, one element at a time.
 *
 * This is the meaning of the IR, written to be checked by eye; every other
 * backend is tested against it. Compiling copies the kernel and sorts its
 * instructions into plans: the root plan holds what depends on no FOLD range
 * and runs over all LOOP and SERIAL ranges, first range outermost; each REDUCE
 * has a plan of what it folds, run over its folded ranges whenever the REDUCE
 * is reached. Within a plan an instruction is computed again only when a range
 * that it depends on has moved, so the cost stays near the count of positions.
 * Independent nests are programs of their own, one after the other.
 *
 * A value is held in one scalar: integers as int64 (wrapped to their dtype),
 * float16, bfloat16 and float32 as float, float64 as double. Only CAST and
 * STORE round to the 16-bit formats.
 */
#include "backend/backend.h"

#include <math.h>

typedef union ref_value {
  int64_t i; /* integers and bool */
  float f;   /* float16, bfloat16, float32 */
  double d;  /* float64 */
} ref_value;

typedef struct ref_plan {
  uint64_t ranges; /* the loops */
  int32_t *ins;    /* what to compute, operands first */
  int32_t count;
} ref_plan;

typedef struct ref_program ref_program;
struct ref_program {
  int32_t count, nranges;
  tg_ins *ins;
  tg_dtype *slot;  /* the dtype of each */
  ref_plan *plan;  /* [count]: of REDUCE instructions; [count] itself: the root */
  tg_range range[TG_MAX_RANGES];
  ref_program *next; /* the next independent nest */
};

typedef struct ref_run {
  const ref_program *program;
  void *const *data;
  ref_value *value; /* [count] */
  int64_t position[TG_MAX_RANGES];
  int64_t bad_index, bad_bound;
  bool failed;
} ref_run;

/* ---- compile */

static void ref_release(void *program) {
  for (ref_program *p = program, *next; p; p = next) {
    next = p->next;
    for (int32_t i = 0; p->plan && i <= p->count; i++) tg_free(p->plan[i].ins);
    tg_free(p->plan);
    tg_free(p->ins);
    tg_free(p->slot);
    tg_free(p);
  }
}

static uint64_t ref_folds(const tg_kernel *kernel) {
  uint64_t mask = 0;
  for (int r = 0; r < kernel->nranges; r++)
    if (kernel->range[r].kind == TG_FOLD) mask |= UINT64_C(1) << r;
  return mask;
}

/* Marks what `from` is computed from. */
static void ref_mark(const ref_program *p, int32_t from, bool *marked) {
  memset(marked, 0, (size_t)p->count);
  marked[from] = true;
  for (int32_t i = from; i >= 0; i--)
    for (int k = 0; marked[i] && k < 3; k++)
      if (p->ins[i].src[k] >= 0) marked[p->ins[i].src[k]] = true;
}

/* The plan of a REDUCE: its operands that move with the folded ranges, except
 * those that also need ranges folded further inside. */
static bool ref_plan_reduce(ref_program *p, int32_t at, uint64_t folds, bool *marked) {
  const tg_ins *reduce = &p->ins[at];
  ref_plan *plan = &p->plan[at];
  uint64_t inside = (reduce->ranges & folds) | reduce->folded;
  plan->ranges = reduce->folded;
  plan->ins = tg_alloc((size_t)at * sizeof *plan->ins + 1);
  if (!plan->ins) return false;
  ref_mark(p, reduce->src[0], marked);
  for (int32_t i = 0; i < at; i++)
    if (marked[i] && (p->ins[i].ranges & reduce->folded) && !(p->ins[i].ranges & folds & ~inside))
      plan->ins[plan->count++] = i;
  return true;
}

static bool ref_plan_root(ref_program *p, uint64_t folds) {
  ref_plan *plan = &p->plan[p->count];
  for (int r = 0; r < p->nranges; r++)
    if (!(folds >> r & 1)) plan->ranges |= UINT64_C(1) << r;
  plan->ins = tg_alloc((size_t)p->count * sizeof *plan->ins + 1);
  if (!plan->ins) return false;
  for (int32_t i = 0; i < p->count; i++)
    if (!(p->ins[i].ranges & folds)) plan->ins[plan->count++] = i;
  return true;
}

static bool ref_plans(ref_program *p, uint64_t folds) {
  bool *marked = tg_alloc((size_t)p->count + 1);
  bool good = marked && ref_plan_root(p, folds);
  for (int32_t i = 0; good && i < p->count; i++)
    if (p->ins[i].op == TG_OP_REDUCE) good = ref_plan_reduce(p, i, folds, marked);
  tg_free(marked);
  return good;
}

static ref_program *ref_compile_nest(const tg_kernel *kernel) {
  ref_program *p = tg_alloc_zero(sizeof *p);
  if (!p) return NULL;
  size_t count = (size_t)kernel->count;
  p->nranges = kernel->nranges;
  memcpy(p->range, kernel->range, sizeof p->range);
  p->ins = tg_alloc(count * sizeof *p->ins + 1);
  p->slot = tg_alloc((size_t)kernel->nslots * sizeof *p->slot + 1);
  p->plan = tg_alloc_zero((count + 1) * sizeof *p->plan);
  if (!p->ins || !p->slot || !p->plan) return ref_release(p), NULL;
  p->count = kernel->count;
  if (count) memcpy(p->ins, kernel->ins, count * sizeof *p->ins);
  for (int32_t s = 0; s < kernel->nslots; s++) p->slot[s] = kernel->slot[s].dtype;
  if (!ref_plans(p, ref_folds(kernel))) return ref_release(p), NULL;
  return p;
}

static void *ref_compile(const tg_kernel *kernel) {
  tg_kernel **parts;
  ref_program *first = NULL, **at = &first;
  int count = tg_kernel_split(kernel, &parts);
  if (count < 2) return count < 0 ? NULL : ref_compile_nest(kernel);
  bool done = true;
  for (int n = 0; done && n < count; n++) {
    *at = ref_compile_nest(parts[n]);
    done = *at != NULL;
    if (done) at = &(*at)->next;
  }
  tg_kernel_split_free(parts, count);
  if (done) return first;
  ref_release(first);
  return NULL;
}

/* ---- scalars */

/* An integer brought into the range of its dtype. */
static int64_t ref_wrap(tg_dtype dtype, int64_t x) {
  switch (dtype) {
    case TG_BOOL: return x != 0;
    case TG_INT8: return (int8_t)x;
    case TG_UINT8: return (uint8_t)x;
    case TG_INT16: return (int16_t)x;
    case TG_UINT16: return (uint16_t)x;
    case TG_INT32: return (int32_t)x;
    case TG_UINT32: return (uint32_t)x;
    case TG_INT64:
    case TG_UINT64:
    case TG_FLOAT16:
    case TG_BFLOAT16:
    case TG_FLOAT32:
    case TG_FLOAT64:
    case TG_DEFAULT_DTYPE: break;
  }
  return x;
}

static ref_value ref_int(tg_dtype dtype, int64_t x) { return (ref_value){.i = ref_wrap(dtype, x)}; }
static ref_value ref_uint(tg_dtype dtype, uint64_t x) { return ref_int(dtype, (int64_t)x); }

static float ref_round16(tg_dtype dtype, float x) {
  if (dtype == TG_FLOAT16) return tg_half_to_float(tg_float_to_half(x));
  if (dtype == TG_BFLOAT16) return tg_bfloat_to_float(tg_float_to_bfloat(x));
  return x;
}

static double ref_double(tg_dtype dtype, ref_value x) {
  if (dtype == TG_FLOAT64) return x.d;
  if (tg_dtype_is_float(dtype)) return (double)x.f;
  return dtype == TG_UINT64 ? (double)(uint64_t)x.i : (double)x.i;
}

/* Truncates as x86 does: what int64 cannot hold becomes its minimum; uint64
 * takes the upper half of its range too, and 0 from beyond it. */
static int64_t ref_truncate(tg_dtype to, double x) {
  if (to == TG_UINT64 && x >= 0x1p63) return x < 0x1p64 ? (int64_t)(uint64_t)x : 0;
  if (x >= -0x1p63 && x < 0x1p63) return (int64_t)x;
  return INT64_MIN;
}

/* Narrow integers go by way of int32, as PyTorch's do on x86. */
static int64_t ref_float_to_int(tg_dtype to, double x) {
  int64_t whole = ref_truncate(to, x);
  bool narrow = to == TG_INT32 || tg_dtype_size(to) < 4;
  if (narrow && (whole < INT32_MIN || whole > INT32_MAX)) whole = INT32_MIN;
  return ref_wrap(to, whole);
}

static ref_value ref_cast(tg_dtype to, tg_dtype from, ref_value x) {
  bool from_float = tg_dtype_is_float(from);
  if (to == TG_FLOAT64) return (ref_value){.d = ref_double(from, x)};
  if (tg_dtype_is_float(to)) {
    float f = from == TG_UINT64 ? (float)(uint64_t)x.i
              : !from_float     ? (float)x.i
                                : (float)ref_double(from, x);
    return (ref_value){.f = ref_round16(to, f)};
  }
  if (!from_float) return ref_int(to, x.i);
  double d = ref_double(from, x);
  return to == TG_BOOL ? ref_int(to, d != 0) : (ref_value){.i = ref_float_to_int(to, d)};
}

static ref_value ref_load(tg_dtype dtype, const void *memory, int64_t index) {
  const char *at = (const char *)memory + index * tg_dtype_size(dtype);
  union { uint8_t u8; uint16_t u16; uint32_t u32; int64_t i; float f; double d; } raw = {.i = 0};
  memcpy(&raw, at, (size_t)tg_dtype_size(dtype));
  switch (dtype) {
    case TG_BOOL:
    case TG_INT8:
    case TG_UINT8: return ref_int(dtype, raw.u8);
    case TG_INT16:
    case TG_UINT16: return ref_int(dtype, raw.u16);
    case TG_INT32:
    case TG_UINT32: return ref_int(dtype, raw.u32);
    case TG_FLOAT16: return (ref_value){.f = tg_half_to_float(raw.u16)};
    case TG_BFLOAT16: return (ref_value){.f = tg_bfloat_to_float(raw.u16)};
    case TG_FLOAT32: return (ref_value){.f = raw.f};
    case TG_FLOAT64: return (ref_value){.d = raw.d};
    case TG_INT64:
    case TG_UINT64:
    case TG_DEFAULT_DTYPE: break;
  }
  return (ref_value){.i = raw.i};
}

static void ref_store(tg_dtype dtype, void *memory, int64_t index, ref_value x) {
  char *at = (char *)memory + index * tg_dtype_size(dtype);
  union { uint8_t u8; uint16_t u16; uint32_t u32; int64_t i; float f; double d; } raw;
  if (dtype == TG_FLOAT16) raw.u16 = tg_float_to_half(x.f);
  else if (dtype == TG_BFLOAT16) raw.u16 = tg_float_to_bfloat(x.f);
  else if (dtype == TG_FLOAT32) raw.f = x.f;
  else if (dtype == TG_FLOAT64) raw.d = x.d;
  else if (tg_dtype_size(dtype) == 1) raw.u8 = (uint8_t)x.i;
  else if (tg_dtype_size(dtype) == 2) raw.u16 = (uint16_t)x.i;
  else if (tg_dtype_size(dtype) == 4) raw.u32 = (uint32_t)x.i;
  else raw.i = x.i;
  memcpy(at, &raw, (size_t)tg_dtype_size(dtype));
}

static ref_value ref_bitcast(tg_dtype to, tg_dtype from, ref_value x) {
  int64_t bits = 0;
  ref_store(from, &bits, 0, x);
  return ref_load(to, &bits, 0);
}

static ref_value ref_const(tg_dtype dtype, tg_value value) {
  if (dtype == TG_FLOAT64) return (ref_value){.d = value.f};
  if (tg_dtype_is_float(dtype)) return (ref_value){.f = (float)value.f};
  return ref_int(dtype, value.i);
}

static uint32_t ref_rotate(uint32_t x, int by) { return x << by | x >> (32 - by); }

/* Threefry 2x32 with 20 rounds (Salmon et al. 2011); low words come first. */
static uint64_t ref_threefry(uint64_t counter, uint64_t key) {
  static const int by[8] = {13, 15, 26, 6, 17, 29, 16, 24};
  uint32_t ks[3] = {(uint32_t)key, (uint32_t)(key >> 32), 0};
  ks[2] = ks[0] ^ ks[1] ^ 0x1BD11BDAu;
  uint32_t x = (uint32_t)counter + ks[0], y = (uint32_t)(counter >> 32) + ks[1];
  for (int round = 0; round < 20; round++) {
    x += y;
    y = ref_rotate(y, by[round % 8]) ^ x;
    if (round % 4 == 3) {
      uint32_t s = (uint32_t)round / 4 + 1;
      x += ks[s % 3];
      y += ks[(s + 1) % 3] + s;
    }
  }
  return (uint64_t)y << 32 | x;
}

static int64_t ref_divide(tg_dtype dtype, int64_t x, int64_t y) {
  if (y == 0) return 0;
  if (dtype == TG_UINT64) return (int64_t)((uint64_t)x / (uint64_t)y);
  if (y == -1) return (int64_t)(0 - (uint64_t)x);
  return x / y - (x % y != 0 && (x < 0) != (y < 0));
}

static int64_t ref_modulo(tg_dtype dtype, int64_t x, int64_t y) {
  if (y == 0 || (y == -1 && dtype != TG_UINT64)) return 0;
  if (dtype == TG_UINT64) return (int64_t)((uint64_t)x % (uint64_t)y);
  int64_t rest = x % y;
  return rest != 0 && (rest < 0) != (y < 0) ? rest + y : rest;
}

static bool ref_int_less(tg_dtype dtype, int64_t x, int64_t y) {
  return dtype == TG_UINT64 ? (uint64_t)x < (uint64_t)y : x < y;
}

/* What the op table says, for each kind of number. An op that has no expression
 * for a kind never gets here: the tensor room does not build it. */
#define NONE 0

static float ref_float32(tg_op op, float x, float y) {
#define TG_MATH(name) name##f
#define TG_ARITHMETIC(name, class, arity, cost, formula, real, whole) \
  if (op == TG_OP_##name) return real;
#include "graph/ops.def"
#undef TG_MATH
  return 0;
}

static double ref_float64(tg_op op, double x, double y) {
#define TG_MATH(name) name
#define TG_ARITHMETIC(name, class, arity, cost, formula, real, whole) \
  if (op == TG_OP_##name) return real;
#include "graph/ops.def"
#undef TG_MATH
  return 0;
}

#define WHOLE_DIV(x, y) (uint64_t)ref_divide(dtype, (int64_t)(x), (int64_t)(y))
#define WHOLE_MOD(x, y) (uint64_t)ref_modulo(dtype, (int64_t)(x), (int64_t)(y))
#define WHOLE_LESS(x, y) ref_int_less(dtype, (int64_t)(x), (int64_t)(y))
#define WHOLE_THREEFRY(x, y) ref_threefry(x, y)

static uint64_t ref_integer(tg_op op, tg_dtype dtype, uint64_t x, uint64_t y) {
#define TG_ARITHMETIC(name, class, arity, cost, formula, real, whole) \
  if (op == TG_OP_##name) return whole;
#include "graph/ops.def"
  return 0;
}

static ref_value ref_arithmetic(tg_op op, tg_dtype dtype, ref_value x, ref_value y) {
  if (dtype == TG_FLOAT64) return (ref_value){.d = ref_float64(op, x.d, y.d)};
  if (tg_dtype_is_float(dtype)) return (ref_value){.f = ref_float32(op, x.f, y.f)};
  return ref_uint(dtype, ref_integer(op, dtype, (uint64_t)x.i, (uint64_t)y.i));
}

static ref_value ref_compare(tg_op op, tg_dtype dtype, ref_value x, ref_value y) {
  bool equal = op == TG_OP_CMPEQ, yes;
  if (dtype == TG_FLOAT64) yes = equal ? x.d == y.d : x.d < y.d;
  else if (tg_dtype_is_float(dtype)) yes = equal ? x.f == y.f : x.f < y.f;
  else yes = equal ? x.i == y.i : ref_int_less(dtype, x.i, y.i);
  return (ref_value){.i = yes};
}

/* ---- run */

static ref_value ref_reduce(ref_run *run, int32_t at);

static ref_value ref_check(ref_run *run, int64_t index, int64_t bound) {
  if (index >= 0 && index < bound) return (ref_value){.i = index};
  if (!run->failed) {
    run->failed = true;
    run->bad_index = index;
    run->bad_bound = bound;
  }
  return (ref_value){.i = 0};
}

static void ref_store_add(ref_run *run, const tg_ins *ins, int64_t index, ref_value y) {
  tg_dtype dtype = run->program->slot[ins->slot];
  void *memory = run->data[ins->slot];
  ref_value old = ref_load(dtype, memory, index);
  ref_store(dtype, memory, index, ref_arithmetic(TG_OP_ADD, dtype, old, y));
}

static ref_value ref_eval(ref_run *run, int32_t at) {
  const ref_program *p = run->program;
  const tg_ins *ins = &p->ins[at];
  ref_value arg[3] = {{0}, {0}, {0}};
  for (int k = 0; k < 3; k++)
    if (ins->src[k] >= 0) arg[k] = run->value[ins->src[k]];
  tg_dtype from = ins->src[0] >= 0 ? p->ins[ins->src[0]].dtype : ins->dtype;
  if (ins->op == TG_OP_RANGE) return (ref_value){.i = run->position[ins->slot]};
  if (ins->op == TG_OP_CONST) return ref_const(ins->dtype, ins->value);
  if (ins->op == TG_OP_CHECK) return ref_check(run, arg[0].i, ins->value.i);
  if (ins->op == TG_OP_LOAD) {
    if (ins->src[1] >= 0 && !arg[1].i) return (ref_value){.i = 0};
    return ref_load(ins->dtype, run->data[ins->slot], arg[0].i);
  }
  if (ins->op == TG_OP_REDUCE) return ref_reduce(run, at);
  if (ins->op == TG_OP_WHERE) return arg[0].i ? arg[1] : arg[2];
  if (ins->op == TG_OP_CAST) return ref_cast(ins->dtype, from, arg[0]);
  if (ins->op == TG_OP_BITCAST) return ref_bitcast(ins->dtype, from, arg[0]);
  if (ins->op == TG_OP_CMPLT || ins->op == TG_OP_CMPEQ)
    return ref_compare(ins->op, from, arg[0], arg[1]);
  if (ins->op == TG_OP_STORE)
    ref_store(p->slot[ins->slot], run->data[ins->slot], arg[0].i, arg[1]);
  else if (ins->op == TG_OP_STORE_ADD)
    ref_store_add(run, ins, arg[0].i, arg[1]);
  else
    return ref_arithmetic(ins->op, ins->dtype, arg[0], arg[1]);
  return (ref_value){.i = 0};
}

/* Computes what has changed. Stores run at every position, last, so that what
 * they overwrite has been read. */
static void ref_step(ref_run *run, const ref_plan *plan, uint64_t moved) {
  const tg_ins *ins = run->program->ins;
  bool stores = false;
  for (int32_t n = 0; n < plan->count; n++) {
    int32_t i = plan->ins[n];
    bool store = ins[i].op == TG_OP_STORE || ins[i].op == TG_OP_STORE_ADD;
    stores = stores || store;
    if (!store && (moved == UINT64_MAX || (ins[i].ranges & moved)))
      run->value[i] = ref_eval(run, i);
  }
  for (int32_t n = 0; stores && !run->failed && n < plan->count; n++) {
    int32_t i = plan->ins[n];
    if (ins[i].op == TG_OP_STORE || ins[i].op == TG_OP_STORE_ADD) ref_eval(run, i);
  }
}

/* Moves to the next position; gives the ranges that moved, 0 at the end. */
static uint64_t ref_next(ref_run *run, uint64_t ranges) {
  uint64_t moved = 0;
  for (int r = run->program->nranges - 1; r >= 0; r--) {
    if (!(ranges >> r & 1) || run->program->range[r].size == 1) continue;
    moved |= UINT64_C(1) << r;
    if (++run->position[r] < run->program->range[r].size) return moved;
    run->position[r] = 0;
  }
  return 0;
}

static ref_value ref_reduce(ref_run *run, int32_t at) {
  const ref_plan *plan = &run->program->plan[at];
  const tg_ins *ins = &run->program->ins[at];
  tg_op op = ins->fold;
  ref_value sum = {0}; /* a sum begins with +0.0, a maximum with its first value */
  bool first = op == TG_OP_MAX;
  for (uint64_t moved = UINT64_MAX; moved && !run->failed; moved = ref_next(run, plan->ranges)) {
    ref_step(run, plan, moved);
    ref_value x = run->value[ins->src[0]];
    sum = first ? x : ref_arithmetic(op, ins->dtype, sum, x);
    first = false;
  }
  return sum;
}

static int ref_run_nest(const ref_program *p, void *const *data) {
  ref_run run = {.program = p, .data = data};
  run.value = tg_alloc_zero((size_t)(p->count + 1) * sizeof *run.value);
  if (!run.value) return -1;
  const ref_plan *root = &p->plan[p->count];
  for (uint64_t moved = UINT64_MAX; moved && !run.failed; moved = ref_next(&run, root->ranges))
    ref_step(&run, root, moved);
  tg_free(run.value);
  if (!run.failed) return 0;
  tg_fail_as(TG_FAILURE_INDEX,
             "index %lld is out of range for an axis of size %lld; use indices from 0 to %lld",
             (long long)run.bad_index, (long long)run.bad_bound, (long long)run.bad_bound - 1);
  return -1;
}

static int ref_run_program(const void *program, void *const *data) {
  int status = 0;
  for (const ref_program *p = program; p && status == 0; p = p->next)
    status = ref_run_nest(p, data);
  return status;
}

const tg_backend tg_backend_reference = {
    .device = "REF",
    .compile = ref_compile,
    .run = ref_run_program,
    .release = ref_release,
};
