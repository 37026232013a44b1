/* tests/test_backend: kernels made by hand, run by the built-in backend and by
 * the reference interpreter; the results must agree, and those of the built-in
 * backend must have the same bits for one thread and for several.
 *
 * First the machinery (random inputs per dtype, comparison), then families of
 * kernels: elementwise, casts, reductions, contractions, scatter, and random
 * ones of each family, which find the corners that nobody thought of. At the end
 * the same kernels once more, as generated C.
 */
#include "test.h"

#include "backend/backend.h"
#include "backend/builtin/builtin.h"
#include "backend/c/unit.h"
#include "compile/build.h"
#include "runtime/threads.h"

/* ---- random numbers and inputs */

static uint64_t seed = 1;
static uint64_t draw(void) {
  seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
  return seed >> 33;
}
static int64_t pick(int64_t n) { return (int64_t)(draw() % (uint64_t)n); }

typedef enum fill_kind { FILL_SMALL, FILL_BITS, FILL_INDEX } fill_kind;
static fill_kind fill_of[16];
static int64_t fill_bound[16];

static void put(tg_dtype dtype, void *memory, int64_t i, double value) {
  if (dtype == TG_FLOAT32) ((float *)memory)[i] = (float)value;
  else if (dtype == TG_FLOAT64) ((double *)memory)[i] = value;
  else if (dtype == TG_FLOAT16) ((uint16_t *)memory)[i] = tg_float_to_half((float)value);
  else if (dtype == TG_BFLOAT16) ((uint16_t *)memory)[i] = tg_float_to_bfloat((float)value);
  else if (dtype == TG_BOOL) ((uint8_t *)memory)[i] = (int64_t)value & 1;
  else if (tg_dtype_size(dtype) == 1) ((int8_t *)memory)[i] = (int8_t)value;
  else if (tg_dtype_size(dtype) == 2) ((int16_t *)memory)[i] = (int16_t)value;
  else if (tg_dtype_size(dtype) == 4) ((int32_t *)memory)[i] = (int32_t)value;
  else ((int64_t *)memory)[i] = (int64_t)value;
}

static double get(tg_dtype dtype, const void *memory, int64_t i) {
  switch (dtype) {
    case TG_BOOL:
    case TG_UINT8: return ((const uint8_t *)memory)[i];
    case TG_INT8: return ((const int8_t *)memory)[i];
    case TG_INT16: return ((const int16_t *)memory)[i];
    case TG_UINT16: return ((const uint16_t *)memory)[i];
    case TG_INT32: return ((const int32_t *)memory)[i];
    case TG_UINT32: return ((const uint32_t *)memory)[i];
    case TG_INT64: return (double)((const int64_t *)memory)[i];
    case TG_UINT64: return (double)((const uint64_t *)memory)[i];
    case TG_FLOAT16: return (double)tg_half_to_float(((const uint16_t *)memory)[i]);
    case TG_BFLOAT16: return (double)tg_bfloat_to_float(((const uint16_t *)memory)[i]);
    case TG_FLOAT32: return (double)((const float *)memory)[i];
    case TG_FLOAT64: return ((const double *)memory)[i];
    case TG_DEFAULT_DTYPE: break;
  }
  return NAN;
}

static void fill(int32_t slot, tg_dtype dtype, void *memory, int64_t count) {
  if (fill_of[slot] == FILL_BITS && dtype != TG_BOOL) {
    for (int64_t i = 0; i < count * tg_dtype_size(dtype); i++)
      ((uint8_t *)memory)[i] = (uint8_t)draw();
    return;
  }
  for (int64_t i = 0; i < count; i++) {
    double x = (double)(pick(257) - 128) / 32;
    if (!tg_dtype_is_float(dtype)) x = (double)(pick(200) - 100);
    if (fill_of[slot] == FILL_INDEX) x = (double)pick(fill_bound[slot]);
    put(dtype, memory, i, x);
  }
}

/* ---- run and compare */

typedef struct arena {
  void *data[16], *copy[16];
} arena;

static void arena_make(const tg_kernel *k, arena *a) {
  for (int32_t s = 0; s < k->nslots; s++) {
    size_t size = (size_t)(k->slot[s].numel * tg_dtype_size(k->slot[s].dtype));
    a->data[s] = tg_alloc_data(size + 64);
    a->copy[s] = tg_alloc_data(size + 64);
    memset(a->copy[s], 0, size + 64);
    fill(s, k->slot[s].dtype, a->copy[s], k->slot[s].numel);
  }
}

static void arena_reset(const tg_kernel *k, arena *a) {
  for (int32_t s = 0; s < k->nslots; s++)
    memcpy(a->data[s], a->copy[s],
           (size_t)(k->slot[s].numel * tg_dtype_size(k->slot[s].dtype)) + 64);
}

static void arena_free(const tg_kernel *k, arena *a) {
  for (int32_t s = 0; s < k->nslots; s++) tg_free_data(a->data[s]), tg_free_data(a->copy[s]);
}

static int run_on(const tg_backend *backend, const tg_kernel *k, arena *a) {
  arena_reset(k, a);
  void *program = backend->compile(k);
  if (!program) return -2;
  int status = backend->run(program, a->data);
  backend->release(program);
  return status;
}

static void compare_slot(const tg_kernel *k, int32_t s, const void *got, const void *want,
                         double tolerance, const char *name) {
  tg_dtype dtype = k->slot[s].dtype;
  int64_t wrong = 0, at = -1;
  for (int64_t i = 0; i < k->slot[s].numel; i++) {
    double x = get(dtype, got, i), y = get(dtype, want, i);
    bool same = x == y || fabs(x - y) <= tolerance * (1 + fabs(y)) || (isnan(x) && isnan(y));
    if (!same && wrong++ == 0) at = i;
  }
  if (wrong) {
    char *text = tg_kernel_text(k);
    test_check(false, __FILE__, __LINE__, "%s: %lld of %lld differ; [%lld] is %.9g, not %.9g\n%s",
               name, (long long)wrong, (long long)k->slot[s].numel, (long long)at,
               get(dtype, got, at), get(dtype, want, at), text ? text : "");
    tg_free(text);
  } else {
    CHECK(true);
  }
}

static void compare_threads(const tg_kernel *k, arena *a, const char *name) {
  void *first[16];
  for (int32_t s = 0; s < k->nslots; s++) {
    size_t size = (size_t)(k->slot[s].numel * tg_dtype_size(k->slot[s].dtype)) + 64;
    first[s] = memcpy(tg_alloc_data(size), a->data[s], size);
  }
  tg_threads_set(3);
  CHECK_INT(run_on(&tg_backend_builtin, k, a), 0);
  tg_threads_set(0);
  for (int32_t s = 0; s < k->nslots; s++) {
    size_t size = (size_t)(k->slot[s].numel * tg_dtype_size(k->slot[s].dtype)) + 64;
    test_check(!memcmp(first[s], a->data[s], size), __FILE__, __LINE__,
               "%s: slot %d has other bits with 3 threads", name, s);
    tg_free_data(first[s]);
  }
}

static void collect(tg_kernel *k, double tolerance, const char *name);
static bool collecting;

/* Runs the kernel on both backends; frees it. */
static void compare(tg_builder *b, double tolerance, const char *name) {
  tg_kernel *k = tg_builder_end(b);
  CHECK_OK(k && tg_kernel_verify(k) == 0);
  if (!k) return;
  if (collecting) {
    collect(k, tolerance, name);
    return;
  }
  arena mine, other;
  uint64_t before = seed;
  arena_make(k, &mine);
  seed = before;
  arena_make(k, &other);
  CHECK_INT(run_on(&tg_backend_reference, k, &other), 0);
  tg_threads_set(1);
  CHECK_INT(run_on(&tg_backend_builtin, k, &mine), 0);
  for (int32_t s = 0; s < k->nslots; s++) {
    size_t size = (size_t)(k->slot[s].numel * tg_dtype_size(k->slot[s].dtype));
    compare_slot(k, s, mine.data[s], other.data[s], tolerance, name);
    test_check(!memcmp((char *)mine.data[s] + size, (char *)mine.copy[s] + size, 64), __FILE__,
               __LINE__, "%s: writes behind slot %d", name, s);
  }
  compare_threads(k, &mine, name);
  arena_free(k, &mine);
  arena_free(k, &other);
  tg_kernel_free(k);
}

/* ---- shorthands */

static tg_builder B;
static void begin(void) {
  memset(fill_of, 0, sizeof fill_of);
  tg_builder_begin(&B, false);
}
static int32_t loop(int64_t n) { return tg_ir_range(&B, n, TG_LOOP); }
static int32_t fold(int64_t n) { return tg_ir_range(&B, n, TG_FOLD); }
static int32_t slot(tg_dtype dtype, int64_t n) { return tg_ir_slot(&B, dtype, n); }
static int32_t load(int32_t s, int32_t index) { return tg_ir_load(&B, s, index, -1); }
static int32_t op(tg_op o, int32_t x, int32_t y) {
  return tg_ir_alu(&B, o, tg_ins_at(&B, x)->dtype, x, y, -1);
}
static int32_t mul(int32_t x, int64_t by) { return tg_ix_mul(&B, x, by); }
static int32_t add(int32_t x, int32_t y) { return tg_ix_add(&B, x, y); }
static int32_t number(tg_dtype dtype, double f) {
  return tg_ir_const(&B, dtype, tg_value_of(dtype, f));
}
static int32_t cast(int32_t x, tg_dtype dtype) {
  return tg_ir_alu(&B, TG_OP_CAST, dtype, x, -1, -1);
}
static int32_t less(int32_t x, int32_t y) { return tg_ix_less(&B, x, y); }
static void store(int32_t s, int32_t index, int32_t value) {
  tg_ir_store(&B, TG_OP_STORE, s, index, value);
}
static int32_t inside(int32_t x, int64_t size) {
  return tg_ir_and(&B, less(tg_ir_int(&B, -1), x), less(x, tg_ir_int(&B, size)));
}
static uint64_t bit(int32_t range) { return tg_ins_at(&B, range)->ranges; }

/* ---- elementwise */

static const int64_t sizes[] = {1, 2, 7, 16, 17, 511, 512, 513, 1537, 5003};
enum { SIZES = sizeof sizes / sizeof *sizes };

TEST(backend_elementwise_sizes) {
  for (int n = 0; n < SIZES; n++) {
    begin();
    int32_t x = slot(TG_FLOAT32, sizes[n]), y = slot(TG_FLOAT32, sizes[n]),
            o = slot(TG_FLOAT32, sizes[n]), i = loop(sizes[n]);
    int32_t sum = op(TG_OP_ADD, load(x, i), load(y, i));
    store(o, i, op(TG_OP_MUL, op(TG_OP_MAX, sum, number(TG_FLOAT32, 0)), load(x, i)));
    compare(&B, 0, "relu(x + y) * x");
  }
}

static const tg_op float_ops[] = {TG_OP_NEG, TG_OP_EXP, TG_OP_LOG, TG_OP_SIN, TG_OP_SQRT,
                                  TG_OP_TRUNC, TG_OP_ADD, TG_OP_SUB, TG_OP_MUL, TG_OP_DIV,
                                  TG_OP_MAX, TG_OP_POW, TG_OP_CMPLT, TG_OP_CMPEQ};
static const tg_op int_ops[] = {TG_OP_NEG, TG_OP_ADD, TG_OP_SUB, TG_OP_MUL, TG_OP_DIV, TG_OP_MOD,
                                TG_OP_MAX, TG_OP_CMPLT, TG_OP_CMPEQ, TG_OP_AND, TG_OP_OR,
                                TG_OP_XOR};

static void check_op(tg_op what, tg_dtype dtype, fill_kind kind) {
  char name[64];
  begin();
  bool two = tg_op_table[what].arity == 2, test = what == TG_OP_CMPLT || what == TG_OP_CMPEQ;
  tg_dtype to = test ? TG_BOOL : dtype;
  int32_t x = slot(dtype, 1001), y = slot(dtype, 1001), o = slot(to, 1001), i = loop(1001);
  fill_of[x] = fill_of[y] = kind;
  store(o, i, tg_ir_alu(&B, what, to, load(x, i), two ? load(y, i) : -1, -1));
  snprintf(name, sizeof name, "%s of %s", tg_op_table[what].name, tg_dtype_name(dtype));
  bool exact = what != TG_OP_EXP && what != TG_OP_LOG && what != TG_OP_SIN && what != TG_OP_POW;
  compare(&B, exact ? 0 : dtype == TG_FLOAT16 || dtype == TG_BFLOAT16 ? 0.01 : 4e-7, name);
}

TEST(backend_float_ops) {
  for (tg_dtype d = TG_FLOAT16; d <= TG_FLOAT64; d++)
    for (size_t k = 0; k < sizeof float_ops / sizeof *float_ops; k++) {
      check_op(float_ops[k], d, FILL_SMALL);
      check_op(float_ops[k], d, FILL_BITS);
    }
}

TEST(backend_int_ops) {
  for (tg_dtype d = TG_INT8; d <= TG_UINT64; d++)
    for (size_t k = 0; k < sizeof int_ops / sizeof *int_ops; k++) {
      check_op(int_ops[k], d, FILL_SMALL);
      check_op(int_ops[k], d, FILL_BITS);
    }
  for (int k = 0; k < 3; k++) check_op(int_ops[9 + k], TG_BOOL, FILL_SMALL);
  check_op(TG_OP_ADD, TG_BOOL, FILL_SMALL);
  check_op(TG_OP_MUL, TG_BOOL, FILL_SMALL);
  check_op(TG_OP_MAX, TG_BOOL, FILL_SMALL);
  check_op(TG_OP_THREEFRY, TG_UINT64, FILL_BITS);
}

TEST(backend_division_by_constants) {
  static const int64_t by[] = {1, 2, 3, 7, 10, 28, 641, 65536, 1000003, 2147483647};
  for (size_t k = 0; k < sizeof by / sizeof *by; k++) {
    begin();
    int32_t x = slot(TG_INT64, 4001), q = slot(TG_INT64, 4001), r = slot(TG_INT64, 4001);
    int32_t i = loop(4001);
    fill_of[x] = FILL_INDEX;
    fill_bound[x] = INT64_C(1) << 31;
    int32_t value = tg_ir_check(&B, load(x, i), INT64_C(1) << 31);
    int32_t d = tg_ir_int(&B, by[k]);
    store(q, i, tg_ir_alu(&B, TG_OP_DIV, TG_INT64, value, d, -1));
    store(r, i, tg_ir_alu(&B, TG_OP_MOD, TG_INT64, value, d, -1));
    compare(&B, 0, "x / d, x % d");
  }
}

/* Divisors that become shifts: of negative numbers too, in every type. */
TEST(backend_division_by_powers) {
  static const tg_dtype dtypes[] = {TG_INT8, TG_UINT8, TG_INT16, TG_UINT16,
                                    TG_INT32, TG_UINT32, TG_INT64, TG_UINT64};
  for (int d = 0; d < 8; d++)
    for (int64_t by = 1; by <= 64; by *= 4) {
      begin();
      int32_t x = slot(dtypes[d], 1001), q = slot(dtypes[d], 1001), r = slot(dtypes[d], 1001);
      int32_t i = loop(1001), value = load(x, i), divisor = number(dtypes[d], (double)by);
      fill_of[x] = FILL_BITS;
      store(q, i, tg_ir_alu(&B, TG_OP_DIV, dtypes[d], value, divisor, -1));
      store(r, i, tg_ir_alu(&B, TG_OP_MOD, dtypes[d], value, divisor, -1));
      compare(&B, 0, "x / 4^k, x % 4^k");
    }
}

/* A position that is taken apart and put together again is itself. */
TEST(backend_indices_rejoin) {
  begin();
  int32_t x = loop(400), a = tg_ix_div(&B, x, 25), rest = tg_ix_mod(&B, x, 25);
  int32_t b = tg_ix_div(&B, rest, 5), c = tg_ix_mod(&B, rest, 5);
  CHECK_INT(add(add(mul(a, 25), mul(b, 5)), c), x);
  b = tg_ix_mod(&B, tg_ix_div(&B, x, 5), 5), c = tg_ix_mod(&B, x, 5);
  CHECK_INT(add(add(mul(a, 25), mul(b, 5)), c), x);
  CHECK_INT(add(c, add(mul(b, 5), mul(a, 25))), x);
  CHECK(add(add(mul(a, 24), mul(b, 5)), c) != x);
  int32_t s = slot(TG_INT64, 400), t = slot(TG_INT64, 400);
  store(s, x, add(mul(a, 24), mul(b, 5)));
  store(t, x, add(mul(b, 4), c));
  compare(&B, 0, "parts that do not rejoin");
}

TEST(backend_casts) {
  for (tg_dtype from = TG_BOOL; from <= TG_FLOAT64; from++)
    for (tg_dtype to = TG_BOOL; to <= TG_FLOAT64; to++)
      for (int kind = 0; kind < 2; kind++) {
        char name[64];
        if (from == to) continue;
        begin();
        int32_t x = slot(from, 701), o = slot(to, 701), i = loop(701);
        fill_of[x] = kind ? FILL_BITS : FILL_SMALL;
        store(o, i, cast(load(x, i), to));
        snprintf(name, sizeof name, "%s to %s", tg_dtype_name(from), tg_dtype_name(to));
        compare(&B, 0, name);
      }
}

TEST(backend_bitcasts) {
  for (tg_dtype from = TG_INT8; from <= TG_FLOAT64; from++)
    for (tg_dtype to = TG_INT8; to <= TG_FLOAT64; to++) {
      if (from == to || tg_dtype_size(from) != tg_dtype_size(to)) continue;
      begin();
      int32_t x = slot(from, 701), o = slot(to, 701), i = loop(701);
      store(o, i, tg_ir_alu(&B, TG_OP_BITCAST, to, load(x, i), -1, -1));
      compare(&B, 0, "bitcast");
    }
}

TEST(backend_permuted) {
  for (int64_t n = 3; n < 60; n += 19) {
    begin();
    int64_t m = n + 5, p = 7;
    int32_t x = slot(TG_FLOAT32, n * m * p), o = slot(TG_FLOAT32, n * m * p);
    int32_t i = loop(n), j = loop(m), k = loop(p);
    int32_t from = add(add(mul(k, n * m), mul(i, m)), j);
    int32_t to = add(add(mul(j, n * p), mul(i, p)), k);
    store(o, to, op(TG_OP_ADD, load(x, from), number(TG_FLOAT32, 1)));
    compare(&B, 0, "permute");
  }
}

TEST(backend_pad_and_gate) {
  for (int64_t n = 5; n < 100; n += 31) {
    begin();
    int32_t x = slot(TG_FLOAT32, n * n), o = slot(TG_FLOAT32, (n + 3) * (n + 2));
    int32_t h = slot(TG_FLOAT16, n * n), p = slot(TG_FLOAT32, (n + 3) * (n + 2));
    int32_t i = loop(n + 3), j = loop(n + 2);
    int32_t r = add(i, tg_ir_int(&B, -2)), c = add(j, tg_ir_int(&B, -1));
    int32_t gate = tg_ir_and(&B, inside(r, n), inside(c, n));
    int32_t at = add(mul(r, n), c), to = add(mul(i, n + 2), j);
    store(o, to, tg_ir_load(&B, x, at, gate));
    store(p, to, cast(tg_ir_load(&B, h, at, gate), TG_FLOAT32));
    compare(&B, 0, "pad");
  }
}

TEST(backend_iota_and_where) {
  begin();
  int32_t o = slot(TG_FLOAT32, 40 * 41), i = loop(40), j = loop(41);
  int32_t low = less(j, add(i, tg_ir_int(&B, 1)));
  int32_t value = tg_ir_alu(&B, TG_OP_WHERE, TG_FLOAT32, low, cast(i, TG_FLOAT32),
                            number(TG_FLOAT32, -1));
  store(o, add(mul(i, 41), j), value);
  compare(&B, 0, "tril of iota");
}

TEST(backend_gather) {
  begin();
  int32_t x = slot(TG_FLOAT32, 50 * 33), y = slot(TG_INT64, 77), o = slot(TG_FLOAT32, 77 * 33);
  fill_of[y] = FILL_INDEX;
  fill_bound[y] = 50;
  int32_t i = loop(77), j = loop(33);
  int32_t row = tg_ir_check(&B, load(y, i), 50);
  store(o, add(mul(i, 33), j), load(x, add(mul(row, 33), j)));
  compare(&B, 0, "gather");
}

TEST(backend_check_fails) {
  begin();
  int32_t x = slot(TG_FLOAT32, 50), y = slot(TG_INT64, 2000), o = slot(TG_FLOAT32, 2000);
  fill_of[y] = FILL_INDEX;
  fill_bound[y] = 51;
  int32_t i = loop(2000);
  store(o, i, load(x, tg_ir_check(&B, load(y, i), 50)));
  tg_kernel *k = tg_builder_end(&B);
  arena a;
  arena_make(k, &a);
  CHECK_FAILS(run_on(&tg_backend_reference, k, &a),
              "index 50 is out of range for an axis of size 50");
  tg_clear_error();
  CHECK_FAILS(run_on(&tg_backend_builtin, k, &a),
              "index 50 is out of range for an axis of size 50");
  tg_clear_error();
  arena_free(k, &a);
  tg_kernel_free(k);
}

/* In place: the same memory read and written at the same index. */
TEST(backend_in_place) {
  begin();
  int32_t p = slot(TG_FLOAT32, 3001), m = slot(TG_FLOAT32, 3001), g = slot(TG_FLOAT32, 3001);
  int32_t np = slot(TG_FLOAT32, 3001), nm = slot(TG_FLOAT32, 3001), i = loop(3001);
  int32_t moved = op(TG_OP_ADD, op(TG_OP_MUL, load(m, i), number(TG_FLOAT32, 0.5)), load(g, i));
  store(nm, i, moved);
  store(np, i, op(TG_OP_SUB, load(p, i), op(TG_OP_MUL, moved, load(m, i))));
  tg_kernel *k = tg_builder_end(&B);
  arena a, b;
  uint64_t before = seed;
  arena_make(k, &a);
  seed = before;
  arena_make(k, &b);
  CHECK_INT(run_on(&tg_backend_reference, k, &a), 0);
  arena_reset(k, &b);
  void *program = tg_backend_builtin.compile(k);
  void *data[5] = {b.data[p], b.data[m], b.data[g], b.data[p], b.data[m]};
  CHECK_INT(tg_backend_builtin.run(program, data), 0);
  tg_backend_builtin.release(program);
  compare_slot(k, np, b.data[p], a.data[np], 0, "in place: p");
  compare_slot(k, nm, b.data[m], a.data[nm], 0, "in place: m");
  arena_free(k, &a);
  arena_free(k, &b);
  tg_kernel_free(k);
}

/* ---- reductions */

static void check_reduce(int64_t outer, int64_t folded, int64_t inner, tg_op what, tg_dtype dtype) {
  char name[96];
  begin();
  int32_t x = slot(dtype, outer * folded * inner), o = slot(dtype, outer * inner);
  int32_t i = loop(outer), j = loop(inner), k = fold(folded);
  int32_t at = add(add(mul(i, folded * inner), mul(k, inner)), j);
  int32_t sum = tg_ir_reduce(&B, what, load(x, at), bit(k));
  store(o, add(mul(i, inner), j), sum);
  snprintf(name, sizeof name, "%s of %s (%lld, %lld, %lld)", tg_op_table[what].name,
           tg_dtype_name(dtype), (long long)outer, (long long)folded, (long long)inner);
  double tolerance = dtype == TG_FLOAT64 ? 1e-12 : dtype == TG_FLOAT32 ? 1e-4 : 0.01;
  compare(&B, tg_dtype_is_float(dtype) ? tolerance : 0, name);
}

TEST(backend_reduce_shapes) {
  static const int64_t n[] = {1, 2, 3, 10, 17, 31, 64, 128, 600};
  for (size_t a = 0; a < 9; a++)
    for (size_t b = 1; b < 9; b++)
      for (size_t c = 0; c < 9; c++)
        if (n[a] * n[b] * n[c] < 50000)
          check_reduce(n[a], n[b], n[c], (a + b + c) % 2 ? TG_OP_ADD : TG_OP_MAX, TG_FLOAT32);
  check_reduce(1, 300007, 1, TG_OP_ADD, TG_FLOAT32);
  check_reduce(3, 50021, 1, TG_OP_MAX, TG_FLOAT32);
  check_reduce(2, 9001, 5, TG_OP_ADD, TG_FLOAT64);
}

TEST(backend_reduce_dtypes) {
  for (tg_dtype d = TG_BOOL; d <= TG_FLOAT64; d++)
    for (int max = 0; max < 2; max++) {
      check_reduce(20, 33, 1, max ? TG_OP_MAX : TG_OP_ADD, d);
      check_reduce(1, 33, 20, max ? TG_OP_MAX : TG_OP_ADD, d);
      check_reduce(1, 2000, 1, max ? TG_OP_MAX : TG_OP_ADD, d);
    }
}

/* Mean over N, H, W with an epilogue; two REDUCEs that fold the same. */
/* A row with a NaN anywhere has no other maximum; random bits have some. */
TEST(backend_reduce_nan) {
  static const int64_t lengths[] = {3, 16, 17, 64, 100, 333};
  for (int k = 0; k < 6; k++) {
    begin();
    int64_t N = 300, K = lengths[k];
    int32_t x = slot(TG_FLOAT32, N * K), o = slot(TG_FLOAT32, N), i = loop(N), f = fold(K);
    fill_of[x] = FILL_BITS;
    store(o, i, tg_ir_reduce(&B, TG_OP_MAX, load(x, add(mul(i, K), f)), bit(f)));
    compare(&B, 0, "maximum of bits");
  }
}

TEST(backend_reduce_two) {
  begin();
  int64_t N = 6, C = 5, H = 35, n = N * C * H;
  int32_t x = slot(TG_FLOAT32, n), s = slot(TG_FLOAT32, C), o = slot(TG_FLOAT32, C),
          p = slot(TG_FLOAT32, C);
  int32_t c = loop(C), i = fold(N), h = fold(H);
  int32_t value = load(x, add(add(mul(i, C * H), mul(c, H)), h));
  int32_t sum = tg_ir_reduce(&B, TG_OP_ADD, op(TG_OP_SUB, value, load(s, c)), bit(i) | bit(h));
  int32_t max = tg_ir_reduce(&B, TG_OP_MAX, value, bit(i) | bit(h));
  store(o, c, op(TG_OP_MUL, sum, op(TG_OP_ADD, max, load(s, c))));
  store(p, c, max);
  compare(&B, 1e-4, "two folds");
}

/* ---- stages: REDUCEs that need others, over the same rows */

/* x [outer, length, inner]; a row is what has the same place in outer and inner. */
typedef struct rows {
  int64_t outer, length, inner;
  int32_t i, j; /* the row */
} rows;

static int32_t row_at(rows r, int32_t k) {
  return add(add(mul(r.i, r.length * r.inner), mul(k, r.inner)), r.j);
}
static int32_t row_max(rows r, int32_t x) {
  int32_t k = fold(r.length);
  return tg_ir_reduce(&B, TG_OP_MAX, load(x, row_at(r, k)), bit(k));
}
static int32_t exp_away(rows r, int32_t x, int32_t k, int32_t from) {
  return op(TG_OP_EXP, op(TG_OP_SUB, load(x, row_at(r, k)), from), -1);
}

/* The maximum of each row beside its softmax. */
static void rows_softmax(rows r, bool both) {
  int64_t n = r.outer * r.length * r.inner;
  int32_t o = slot(TG_FLOAT32, n), m = slot(TG_FLOAT32, r.outer * r.inner), x = slot(TG_FLOAT32, n);
  r.i = loop(r.outer), r.j = loop(r.inner);
  int32_t most = row_max(r, x), k = fold(r.length), e = loop(r.length);
  int32_t sum = tg_ir_reduce(&B, TG_OP_ADD, exp_away(r, x, k, most), bit(k));
  int32_t inverse = op(TG_OP_DIV, number(TG_FLOAT32, 1), sum);
  if (both) store(m, add(mul(r.i, r.inner), r.j), op(TG_OP_ADD, most, inverse));
  store(o, row_at(r, e), op(TG_OP_MUL, exp_away(r, x, e, most), inverse));
  B.kernel->noutputs = both ? 2 : 1;
  compare(&B, 1e-5, both ? "softmax and maximum" : "softmax");
}

/* r (g - sum g - r sum(g r)): two REDUCEs share a loop. */
static void rows_backward(rows r, tg_dtype dtype) {
  int64_t n = r.outer * r.length * r.inner;
  int32_t o = slot(dtype, n), x = slot(dtype, n), g = slot(dtype, n);
  r.i = loop(r.outer), r.j = loop(r.inner);
  int32_t k = fold(r.length), e = loop(r.length), xk = load(x, row_at(r, k)), gk = load(g, row_at(r, k));
  int32_t sum = tg_ir_reduce(&B, TG_OP_ADD, gk, bit(k));
  int32_t along = tg_ir_reduce(&B, TG_OP_ADD, op(TG_OP_MUL, gk, xk), bit(k));
  int32_t xe = load(x, row_at(r, e));
  int32_t away = op(TG_OP_SUB, op(TG_OP_SUB, load(g, row_at(r, e)), sum), op(TG_OP_MUL, xe, along));
  store(o, row_at(r, e), op(TG_OP_MUL, xe, away));
  compare(&B, dtype == TG_FLOAT64 ? 1e-12 : dtype == TG_FLOAT32 ? 1e-3 : 0.05, "two sums of a row");
}

/* One number per row from three stages. */
static void rows_statistic(rows r) {
  int64_t n = r.outer * r.length * r.inner;
  int32_t o = slot(TG_FLOAT32, r.outer * r.inner), x = slot(TG_FLOAT32, n), y = slot(TG_FLOAT32, r.outer);
  r.i = loop(r.outer), r.j = loop(r.inner);
  int32_t k = fold(r.length), l = fold(r.length), most = row_max(r, x);
  int32_t sum = tg_ir_reduce(&B, TG_OP_ADD, exp_away(r, x, k, most), bit(k));
  int32_t low = op(TG_OP_SUB, load(x, row_at(r, l)), op(TG_OP_MUL, sum, load(y, r.i)));
  int32_t last = tg_ir_reduce(&B, TG_OP_MAX, op(TG_OP_MUL, low, low), bit(l));
  store(o, add(mul(r.i, r.inner), r.j), op(TG_OP_ADD, op(TG_OP_LOG, sum, -1), last));
  compare(&B, 1e-4, "a number per row");
}

TEST(backend_rows) {
  static const int64_t n[] = {1, 2, 3, 10, 17, 64, 130, 600};
  int64_t interpreted = tg_bi_interpreted();
  for (size_t a = 0; a < 8; a++)
    for (size_t b = 1; b < 8; b++)
      for (size_t c = 0; c < 8; c++) {
        rows r = {n[a], n[b], n[c], -1, -1};
        if (n[a] * n[b] * n[c] > 20000) continue;
        begin();
        if ((a + b + c) % 3 == 0) rows_softmax(r, a & 1);
        if ((a + b + c) % 3 == 1) rows_backward(r, TG_FLOAT32);
        if ((a + b + c) % 3 == 2) rows_statistic(r);
      }
  for (tg_dtype d = TG_FLOAT16; d <= TG_FLOAT64; d++) {
    begin();
    rows_backward((rows){9, 33, 1, -1, -1}, d);
    begin();
    rows_backward((rows){3, 9, 40, -1, -1}, d);
  }
  begin();
  rows_softmax((rows){3, 9001, 1, -1, -1}, true);
  begin();
  rows_softmax((rows){1, 1500, 3, -1, -1}, true);
  CHECK_INT(tg_bi_interpreted(), interpreted);
}

/* The rows of batch normalisation: folded, kept, folded. */
TEST(backend_rows_of_channels) {
  static const int64_t shapes[][3] = {{6, 5, 35}, {3, 4, 700}, {40, 3, 2}, {7, 30, 16}};
  for (int t = 0; t < 4; t++) {
    int64_t N = shapes[t][0], C = shapes[t][1], H = shapes[t][2], n = N * C * H;
    begin();
    int32_t o = slot(TG_FLOAT32, n), x = slot(TG_FLOAT32, n), w = slot(TG_FLOAT32, C);
    int32_t i = loop(N), c = loop(C), h = loop(H), count = number(TG_FLOAT32, (double)(N * H));
    int32_t a = fold(N), b = fold(H), d = fold(N), e = fold(H);
    int32_t first = load(x, add(add(mul(a, C * H), mul(c, H)), b));
    int32_t mean = op(TG_OP_DIV, tg_ir_reduce(&B, TG_OP_ADD, first, bit(a) | bit(b)), count);
    int32_t away = op(TG_OP_SUB, load(x, add(add(mul(d, C * H), mul(c, H)), e)), mean);
    int32_t var = tg_ir_reduce(&B, TG_OP_ADD, op(TG_OP_MUL, away, away), bit(d) | bit(e));
    int32_t at = add(add(mul(i, C * H), mul(c, H)), h);
    int32_t scale = op(TG_OP_DIV, load(w, c), op(TG_OP_SQRT, op(TG_OP_DIV, var, count), -1));
    store(o, at, op(TG_OP_MUL, op(TG_OP_SUB, load(x, at), mean), scale));
    compare(&B, 1e-4, "batch normalisation");
  }
}

/* A REDUCE inside the loop of another: the interpreter's case. */
TEST(backend_reduce_nested) {
  begin();
  int32_t x = slot(TG_FLOAT32, 12 * 20), y = slot(TG_FLOAT32, 20 * 7), o = slot(TG_FLOAT32, 12);
  int32_t i = loop(12), k = fold(20), l = fold(7);
  int32_t product = op(TG_OP_MUL, load(x, add(mul(i, 20), k)), load(y, add(mul(k, 7), l)));
  int32_t most = tg_ir_reduce(&B, TG_OP_MAX, product, bit(l));
  store(o, i, tg_ir_reduce(&B, TG_OP_ADD, op(TG_OP_EXP, most, -1), bit(k)));
  compare(&B, 1e-5, "sum of exp(max)");
}

/* ---- what the verifier finds */

static void broken_kernel(tg_builder *b, const char *rule) {
  tg_kernel *k = tg_builder_end(b);
  CHECK_FAILS(tg_kernel_verify(k), rule);
  tg_clear_error();
  tg_kernel_free(k);
}

TEST(backend_verifier) {
  begin();
  int32_t x = slot(TG_FLOAT32, 20), o = slot(TG_FLOAT32, 1), k = fold(20), zero = tg_ir_int(&B, 0);
  int32_t sum = tg_ir_reduce(&B, TG_OP_ADD, load(x, k), bit(k));
  int32_t again = op(TG_OP_MUL, load(x, k), sum);
  store(o, zero, tg_ir_reduce(&B, TG_OP_MAX, again, bit(k)));
  broken_kernel(&B, "depends on a REDUCE that folds the same ranges");
  begin();
  x = slot(TG_FLOAT32, 20), o = slot(TG_FLOAT32, 1), k = fold(4);
  int32_t l = fold(5), value = load(x, add(mul(k, 5), l));
  sum = tg_ir_reduce(&B, TG_OP_ADD, value, bit(k) | bit(l));
  int32_t most = tg_ir_reduce(&B, TG_OP_MAX, tg_ir_reduce(&B, TG_OP_ADD, op(TG_OP_EXP, value, -1), bit(l)), bit(k));
  store(o, tg_ir_int(&B, 0), op(TG_OP_ADD, sum, most));
  broken_kernel(&B, "folds a part of what another one folds");
  begin();
  x = slot(TG_FLOAT32, 20), o = slot(TG_FLOAT32, 20), k = loop(20);
  store(o, k, load(x, k));
  store(o, k, op(TG_OP_EXP, load(x, k), -1));
  broken_kernel(&B, "stores to a slot that has a STORE");
  begin();
  x = slot(TG_FLOAT32, 20), o = slot(TG_FLOAT32, 20), k = fold(20);
  store(o, k, load(x, k));
  broken_kernel(&B, "stores a value that is not folded");
}

TEST(backend_max_pool) {
  begin();
  int64_t N = 3, H = 26, O = 13;
  int32_t x = slot(TG_FLOAT32, N * H * H), o = slot(TG_FLOAT32, N * O * O);
  int32_t n = loop(N), y = loop(O), z = loop(O), a = fold(2), b = fold(2);
  int32_t row = add(mul(y, 2), a), column = add(mul(z, 2), b);
  int32_t value = load(x, add(add(mul(n, H * H), mul(row, H)), column));
  store(o, add(add(mul(n, O * O), mul(y, O)), z),
        tg_ir_reduce(&B, TG_OP_MAX, value, bit(a) | bit(b)));
  compare(&B, 0, "max_pool2d");
}

/* The gradient of pooling: positions are divided; ranges are split for it. */
TEST(backend_unpool) {
  for (int64_t K = 2; K < 6; K++) {
    begin();
    int64_t N = 3, O = 7, H = O * K;
    int32_t x = slot(TG_FLOAT32, N * O * O), o = slot(TG_FLOAT32, N * H * H);
    int32_t n = loop(N), y = loop(H), z = loop(H);
    int32_t from = add(add(mul(n, O * O), mul(tg_ix_div(&B, y, K), O)), tg_ix_div(&B, z, K));
    int32_t value = op(TG_OP_ADD, load(x, from), cast(tg_ix_mod(&B, z, K), TG_FLOAT32));
    store(o, add(add(mul(n, H * H), mul(y, H)), z), value);
    compare(&B, 0, "unpool");
    begin();
    int32_t u = slot(TG_FLOAT32, N * O * O), s = slot(TG_FLOAT32, N), i = loop(N);
    int32_t a = fold(H), b = fold(H);
    from = add(add(mul(i, O * O), mul(tg_ix_div(&B, a, K), O)), tg_ix_div(&B, b, K));
    store(s, i, tg_ir_reduce(&B, TG_OP_ADD, load(u, from), bit(a) | bit(b)));
    compare(&B, 1e-5, "sum of unpool");
  }
}

/* An image enlarged by a power of 2, with a border that has no source. */
TEST(backend_enlarged) {
  for (int64_t K = 2; K < 5; K++)
    for (int64_t border = 0; border < 2; border++) {
      begin();
      int64_t N = 2, O = K == 2 ? 19 : 7, H = O * K + border;
      int32_t x = slot(TG_FLOAT32, N * O * O), m = slot(TG_FLOAT32, N * H * H);
      int32_t o = slot(TG_FLOAT32, N * H * H), n = loop(N), y = loop(H), z = loop(H);
      int32_t from = add(add(mul(n, O * O), mul(tg_ix_div(&B, y, K), O)), tg_ix_div(&B, z, K));
      int32_t gate = tg_ir_and(&B, less(y, tg_ir_int(&B, O * K)), less(z, tg_ir_int(&B, O * K)));
      int32_t at = add(add(mul(n, H * H), mul(y, H)), z);
      int32_t value = tg_ir_load(&B, x, from, border ? gate : -1);
      store(o, at, op(TG_OP_MUL, value, load(m, at)));
      compare(&B, 0, "enlarged");
    }
}

/* ---- scatter */

TEST(backend_scatter) {
  for (int64_t width = 1; width < 1300; width = width * 3 + 2)
    for (int kind = 0; kind < 2; kind++)
      for (tg_dtype d = TG_INT32; d <= TG_FLOAT32; d++) {
        begin();
        int32_t o = slot(d, 20 * width), y = slot(TG_INT64, 57), z = slot(d, 57 * width);
        fill_of[y] = FILL_INDEX;
        fill_bound[y] = 20;
        int32_t i = tg_ir_range(&B, 57, TG_SERIAL), j = loop(width);
        int32_t row = tg_ir_check(&B, load(y, i), 20);
        tg_ir_store(&B, kind ? TG_OP_STORE_ADD : TG_OP_STORE, o, add(mul(row, width), j),
                    load(z, add(mul(i, width), j)));
        compare(&B, 0, kind ? "scatter +=" : "scatter =");
      }
}

/* ---- contractions */

typedef struct product {
  int64_t batch, m, n, k;
  bool left, right, out; /* stored transposed */
  tg_dtype dtype;
} product;

/* epilogue: 0 none, 1 bias and relu. */
static void check_product(product p, int epilogue) {
  char name[128];
  begin();
  int64_t size = p.batch * p.m * p.n;
  int32_t x = slot(p.dtype, p.batch * p.m * p.k), y = slot(p.dtype, p.batch * p.k * p.n),
          c = slot(p.dtype, p.n), o = slot(p.dtype, size);
  int32_t b = loop(p.batch), i = loop(p.m), j = loop(p.n), k = fold(p.k);
  int32_t xa = p.left ? add(mul(k, p.m), i) : add(mul(i, p.k), k);
  int32_t ya = p.right ? add(mul(j, p.k), k) : add(mul(k, p.n), j);
  int32_t oa = p.out ? add(mul(j, p.m), i) : add(mul(i, p.n), j);
  int32_t a = load(x, add(mul(b, p.m * p.k), xa)), d = load(y, add(mul(b, p.k * p.n), ya));
  int32_t sum = tg_ir_reduce(&B, TG_OP_ADD, op(TG_OP_MUL, a, d), bit(k));
  if (epilogue)
    sum = op(TG_OP_MAX, op(TG_OP_ADD, sum, load(c, j)), number(p.dtype, 0));
  store(o, add(mul(b, p.m * p.n), oa), sum);
  snprintf(name, sizeof name, "%s %lld x [%lld, %lld] x [%lld, %lld]%s%s%s", tg_dtype_name(p.dtype),
           (long long)p.batch, (long long)p.m, (long long)p.k, (long long)p.k, (long long)p.n,
           p.left ? " left" : "", p.right ? " right" : "", p.out ? " out" : "");
  compare(&B, p.dtype == TG_FLOAT64 ? 1e-12 : p.dtype == TG_FLOAT32 ? 1e-4 : 0.02, name);
}

TEST(backend_products) {
  static const int64_t n[] = {2, 3, 6, 7, 16, 17, 25, 67, 130, 300};
  for (size_t a = 0; a < 10; a++)
    for (size_t b = 0; b < 10; b++)
      for (size_t c = 1; c < 10; c += 2) {
        product p = {1, n[a], n[b], n[c], a & 1, b & 1, (a + c) & 2, TG_FLOAT32};
        if (p.m * p.n * p.k < 100000) check_product(p, (a + b + c) % 2);
      }
  check_product((product){3, 130, 270, 40, false, false, false, TG_FLOAT32}, 1);
  check_product((product){1, 200, 300, 20, true, true, true, TG_FLOAT32}, 1);
}

TEST(backend_product_dtypes) {
  for (tg_dtype d = TG_FLOAT16; d <= TG_FLOAT64; d++)
    for (int t = 0; t < 8; t++) {
      check_product((product){2, 31, 45, 33, t & 1, t & 2, t & 4, d}, t & 1);
      check_product((product){1, 5, 45, 70, t & 1, t & 2, t & 4, d}, t & 1);
    }
}

TEST(backend_product_long) {
  for (int t = 0; t < 8; t++) {
    check_product((product){1, 8, 9, 20011, t & 1, t & 2, t & 4, TG_FLOAT32}, 0);
    check_product((product){2, 5, 17, 4500, t & 1, t & 2, t & 4, TG_FLOAT64}, 1);
  }
}

/* Convolution: forward, by input, by weights. */
typedef struct conv {
  int64_t N, C, H, O, K, stride;
  double tolerance; /* float32's */
} conv;

static int32_t at4(int32_t a, int64_t sa, int32_t b, int64_t sb, int32_t c, int64_t sc, int32_t d) {
  return add(add(add(mul(a, sa), mul(b, sb)), mul(c, sc)), d);
}

static void conv_forward(conv v, tg_dtype dtype) {
  begin();
  int64_t P = (v.H - v.K) / v.stride + 1;
  int32_t x = slot(dtype, v.N * v.C * v.H * v.H), w = slot(dtype, v.O * v.C * v.K * v.K),
          bias = slot(dtype, v.O), o = slot(dtype, v.N * v.O * P * P);
  int32_t n = loop(v.N), oc = loop(v.O), y = loop(P), z = loop(P);
  int32_t c = fold(v.C), a = fold(v.K), b = fold(v.K);
  int32_t row = add(mul(y, v.stride), a), column = add(mul(z, v.stride), b);
  int32_t X = load(x, at4(n, v.C * v.H * v.H, c, v.H * v.H, row, v.H, column));
  int32_t W = load(w, at4(oc, v.C * v.K * v.K, c, v.K * v.K, a, v.K, b));
  int32_t sum = tg_ir_reduce(&B, TG_OP_ADD, op(TG_OP_MUL, X, W), bit(c) | bit(a) | bit(b));
  sum = op(TG_OP_MAX, op(TG_OP_ADD, sum, load(bias, oc)), number(dtype, 0));
  store(o, at4(n, v.O * P * P, oc, P * P, y, P, z), sum);
  compare(&B, dtype == TG_FLOAT32 ? v.tolerance : 0.02, "convolution");
}

static void conv_by_input(conv v) {
  begin();
  int64_t P = v.H - v.K + 1;
  int32_t g = slot(TG_FLOAT32, v.N * v.O * P * P), w = slot(TG_FLOAT32, v.O * v.C * v.K * v.K),
          o = slot(TG_FLOAT32, v.N * v.C * v.H * v.H);
  int32_t n = loop(v.N), c = loop(v.C), y = loop(v.H), z = loop(v.H);
  int32_t oc = fold(v.O), a = fold(v.K), b = fold(v.K);
  int32_t row = add(y, mul(a, -1)), column = add(z, mul(b, -1));
  int32_t gate = tg_ir_and(&B, inside(row, P), inside(column, P));
  int32_t G = tg_ir_load(&B, g, at4(n, v.O * P * P, oc, P * P, row, P, column), gate);
  int32_t W = load(w, at4(oc, v.C * v.K * v.K, c, v.K * v.K, a, v.K, b));
  int32_t sum = tg_ir_reduce(&B, TG_OP_ADD, op(TG_OP_MUL, G, W), bit(oc) | bit(a) | bit(b));
  store(o, at4(n, v.C * v.H * v.H, c, v.H * v.H, y, v.H, z), sum);
  compare(&B, v.tolerance, "convolution by input");
}

static void conv_by_weights(conv v) {
  begin();
  int64_t P = v.H - v.K + 1;
  int32_t g = slot(TG_FLOAT32, v.N * v.O * P * P), x = slot(TG_FLOAT32, v.N * v.C * v.H * v.H),
          o = slot(TG_FLOAT32, v.O * v.C * v.K * v.K);
  int32_t oc = loop(v.O), c = loop(v.C), a = loop(v.K), b = loop(v.K);
  int32_t n = fold(v.N), y = fold(P), z = fold(P);
  int32_t X = load(x, at4(n, v.C * v.H * v.H, c, v.H * v.H, add(y, a), v.H, add(z, b)));
  int32_t G = load(g, at4(n, v.O * P * P, oc, P * P, y, P, z));
  int32_t sum = tg_ir_reduce(&B, TG_OP_ADD, op(TG_OP_MUL, X, G), bit(n) | bit(y) | bit(z));
  store(o, at4(oc, v.C * v.K * v.K, c, v.K * v.K, a, v.K, b), sum);
  compare(&B, v.tolerance, "convolution by weights");
}

TEST(backend_convolutions) {
  static const conv shapes[] = {{2, 1, 12, 8, 3, 1, 0}, {3, 5, 9, 7, 3, 1, 0}, {2, 8, 11, 16, 3, 1, 0},
                                {1, 4, 20, 33, 5, 1, 0}, {5, 3, 7, 2, 2, 1, 0}, {3, 16, 8, 32, 3, 1, 0}};
  for (size_t k = 0; k < sizeof shapes / sizeof *shapes; k++) {
    conv plain = shapes[k], strided = shapes[k];
    plain.tolerance = strided.tolerance = 1e-4;
    strided.stride = 2;
    conv_forward(plain, TG_FLOAT32);
    conv_forward(strided, TG_FLOAT32);
    conv_forward(plain, TG_FLOAT16);
    conv_by_input(plain);
    conv_by_weights(plain);
  }
}

/* Operands that are expressions: a cast of bytes, a relu, a mask that no
 * offset can say. */
TEST(backend_product_of_expressions) {
  for (int t = 0; t < 4; t++) {
    begin();
    int64_t M = t & 1 ? 70 : 9, N = t & 2 ? 80 : 11, K = 65;
    int32_t x = slot(TG_UINT8, M * K), y = slot(TG_FLOAT32, K * N), o = slot(TG_FLOAT32, M * N);
    int32_t i = loop(M), j = loop(N), k = fold(K);
    int32_t a = cast(load(x, add(mul(i, K), k)), TG_FLOAT32), rest = tg_ix_mod(&B, add(i, k), 2);
    a = op(TG_OP_MUL, a, number(TG_FLOAT32, 0.1));
    int32_t odd = tg_ir_alu(&B, TG_OP_CMPEQ, TG_BOOL, rest, tg_ir_int(&B, 1), -1);
    a = tg_ir_alu(&B, TG_OP_WHERE, TG_FLOAT32, odd, a, number(TG_FLOAT32, 0));
    int32_t b = op(TG_OP_MAX, load(y, add(mul(k, N), j)), number(TG_FLOAT32, 0));
    store(o, add(mul(i, N), j), tg_ir_reduce(&B, TG_OP_ADD, op(TG_OP_MUL, a, b), bit(k)));
    compare(&B, 1e-3, "product of expressions");
  }
}

/* ---- several stores */

/* What an Adam step is to a backend: three elementwise stores, two of them read on. */
TEST(backend_stores_elementwise) {
  for (int n = 0; n < SIZES; n++) {
    begin();
    int32_t m = slot(TG_FLOAT32, sizes[n]), v = slot(TG_FLOAT64, sizes[n]),
            p = slot(TG_FLOAT16, sizes[n]), x = slot(TG_FLOAT32, sizes[n]),
            lr = slot(TG_FLOAT32, 1), i = loop(sizes[n]);
    int32_t a = op(TG_OP_MUL, load(x, i), number(TG_FLOAT32, 0.25));
    int32_t b = cast(op(TG_OP_MUL, a, load(x, i)), TG_FLOAT64);
    store(m, i, a);
    store(v, i, b);
    a = op(TG_OP_MUL, op(TG_OP_ADD, a, cast(b, TG_FLOAT32)), load(lr, tg_ir_int(&B, 0)));
    store(p, i, cast(a, TG_FLOAT16));
    compare(&B, 2e-3, "three stores");
  }
}

/* A sum of products, stored, stored transposed, and taken on with other memory. */
TEST(backend_stores_of_products) {
  for (int t = 0; t < 8; t++) {
    begin();
    int64_t M = t & 1 ? 130 : 9, N = t & 2 ? 96 : 5, K = t & 4 ? 700 : 16;
    int32_t x = slot(TG_FLOAT32, M * K), y = slot(TG_FLOAT32, K * N), w = slot(TG_FLOAT32, M * N),
            o = slot(TG_FLOAT32, M * N), q = slot(TG_FLOAT32, M * N), u = slot(TG_FLOAT32, M * N);
    int32_t i = loop(M), j = loop(N), k = fold(K), at = add(mul(i, N), j);
    int32_t each = op(TG_OP_MUL, load(x, add(mul(i, K), k)), load(y, add(mul(k, N), j)));
    int32_t sum = tg_ir_reduce(&B, TG_OP_ADD, each, bit(k));
    store(o, at, sum);
    store(q, add(mul(j, M), i), op(TG_OP_MAX, sum, number(TG_FLOAT32, 0)));
    store(u, at, op(TG_OP_SUB, load(w, at), op(TG_OP_MUL, sum, number(TG_FLOAT32, 0.5))));
    compare(&B, 1e-3, "stores of a product");
  }
}

static int32_t sum_over(int32_t s, int64_t n) {
  int32_t k = fold(n);
  return tg_ir_reduce(&B, TG_OP_ADD, load(s, k), bit(k));
}

/* Nests that have nothing in common: a map, sums, a product, scalars. */
TEST(backend_nests) {
  for (int n = 0; n < SIZES; n++) {
    begin();
    int32_t x = slot(TG_FLOAT32, sizes[n]), y = slot(TG_FLOAT32, 400), i = loop(sizes[n]);
    int32_t zero = tg_ir_int(&B, 0);
    store(slot(TG_FLOAT32, sizes[n]), i, op(TG_OP_ADD, load(x, i), load(y, zero)));
    store(slot(TG_FLOAT32, 1), zero, sum_over(x, sizes[n]));
    store(slot(TG_FLOAT32, 1), zero, sum_over(y, 400));
    int32_t r = loop(20), c = loop(20), k = fold(20);
    int32_t each = op(TG_OP_MUL, load(y, add(mul(r, 20), k)), load(y, add(mul(k, 20), c)));
    store(slot(TG_FLOAT32, 400), add(mul(r, 20), c),
          tg_ir_reduce(&B, TG_OP_ADD, each, bit(k)));
    store(slot(TG_FLOAT32, 1), zero, op(TG_OP_MUL, load(y, zero), load(y, zero)));
    store(slot(TG_INT64, 1), zero, tg_ir_int(&B, 9));
    compare(&B, 1e-3, "nests");
  }
}

/* The nest whose index is out of range fails the kernel, wherever it stands. */
TEST(backend_nest_check_fails) {
  begin();
  int32_t x = slot(TG_FLOAT32, 10), at = slot(TG_INT64, 3), i = loop(10), j = loop(3);
  fill_of[at] = FILL_INDEX;
  fill_bound[at] = 10;
  store(slot(TG_FLOAT32, 10), i, load(x, i));
  store(slot(TG_FLOAT32, 3), j, load(x, tg_ir_check(&B, load(at, j), 10)));
  tg_kernel *k = tg_builder_end(&B);
  CHECK_OK(k && tg_kernel_verify(k) == 0);
  arena a;
  arena_make(k, &a);
  ((int64_t *)a.copy[at])[1] = 10;
  const tg_backend *const both[] = {&tg_backend_builtin, &tg_backend_reference};
  for (int b = 0; b < 2; b++) {
    CHECK_FAILS(run_on(both[b], k, &a), "index 10 is out of range for an axis of size 10");
    tg_clear_error();
  }
  arena_free(k, &a);
  tg_kernel_free(k);
}

/* ---- random kernels */

/* An index over some of the ranges, in random order, with random gaps; *numel
 * grows to what it needs. */
static int32_t random_index(const int32_t *range, const int64_t *size, int count, uint32_t use,
                            int64_t *numel) {
  int order[8];
  int64_t step = 1, last = 0;
  int32_t index = tg_ir_int(&B, 0);
  for (int r = 0; r < count; r++) order[r] = r;
  for (int r = count - 1; r > 0; r--) {
    int k = pick(3) ? r : (int)pick(r + 1), swap = order[r];
    order[r] = order[k];
    order[k] = swap;
  }
  for (int r = count - 1; r >= 0; r--) {
    int at = order[r];
    if (!(use >> at & 1)) continue;
    index = add(index, mul(range[at], step));
    last += step * (size[at] - 1);
    step *= size[at] + (pick(6) == 0);
  }
  *numel = last + 1;
  return index;
}

static int32_t random_value(const int32_t *range, const int64_t *size, int count, uint32_t use) {
  tg_dtype dtype = pick(4) ? TG_FLOAT32 : pick(2) ? TG_FLOAT16 : TG_UINT8;
  int64_t numel;
  int32_t index = random_index(range, size, count, use, &numel), gate = -1;
  int at = (int)pick(count);
  if (pick(3) == 0 && (use >> at & 1) && size[at] > 2)
    gate = tg_ir_and(&B, less(tg_ir_int(&B, 0), range[at]),
                     less(range[at], tg_ir_int(&B, size[at] - 1)));
  int32_t s = slot(dtype, numel), value = cast(tg_ir_load(&B, s, index, gate), TG_FLOAT32);
  if (dtype == TG_UINT8) value = op(TG_OP_MUL, value, number(TG_FLOAT32, 0.02));
  if (pick(4) == 0) value = op(TG_OP_MAX, value, number(TG_FLOAT32, -0.5));
  return value;
}

typedef struct random_loops {
  int32_t range[8];
  int64_t size[8];
  int count;
  uint32_t all, loops; /* those that are LOOPs, by place in `range` */
  uint64_t folded;
} random_loops;

static random_loops random_ranges(bool folds, int64_t most) {
  static const int64_t lengths[] = {2, 3, 4, 5, 7, 8, 10, 13, 16, 17, 24, 33};
  random_loops l = {.count = 2 + (int)pick(4)};
  int64_t total = 1;
  for (int r = 0; r < l.count; r++) {
    l.size[r] = lengths[pick(12)];
    if (total * l.size[r] > most) l.size[r] = total > most / 2 ? 1 : 2;
    total *= l.size[r];
    bool f = folds && (pick(2) || r == l.count - 1);
    if (r == 0) f = false;
    l.range[r] = f ? fold(l.size[r]) : loop(l.size[r]);
    if (f) l.folded |= bit(l.range[r]);
    else l.loops |= 1u << r;
    l.all |= 1u << r;
  }
  return l;
}

static void random_store(const random_loops *l, int32_t value) {
  int64_t numel;
  int32_t index = random_index(l->range, l->size, l->count, l->loops, &numel);
  store(slot(tg_ins_at(&B, value)->dtype, numel), index, value);
}

/* Loops with `stores` stores. */
static void random_nest(bool folds, bool two, int stores, int64_t most) {
  random_loops l = random_ranges(folds, most);
  uint32_t some = l.all & ~(1u << pick(l.count)), other = l.all & ~(1u << pick(l.count));
  int32_t value = random_value(l.range, l.size, l.count, two ? some : l.all);
  int32_t second = random_value(l.range, l.size, l.count, other);
  value = op(two || pick(2) ? TG_OP_MUL : TG_OP_ADD, value, second);
  bool max = pick(4) == 0 && !two;
  if (folds) value = tg_ir_reduce(&B, max ? TG_OP_MAX : TG_OP_ADD, value, l.folded);
  if (pick(2)) value = op(TG_OP_ADD, value, random_value(l.range, l.size, l.count, l.loops));
  random_store(&l, value);
  for (int s = 1; s < stores; s++) {
    int32_t more = op(TG_OP_MUL, value, random_value(l.range, l.size, l.count, l.loops));
    if (pick(2)) value = more;
    random_store(&l, pick(3) ? more : cast(more, TG_FLOAT16));
  }
}

static void random_kernel(uint64_t number, bool folds, bool two, int stores) {
  char name[64];
  seed = number * 7919 + 13;
  begin();
  random_nest(folds, two, stores, 20000);
  snprintf(name, sizeof name, "random kernel %llu", (unsigned long long)number);
  compare(&B, stores > 1 ? 2e-3 : 1e-4, name); /* with float16 among the stores */
}

static void random_nests(uint64_t number) {
  char name[64];
  seed = number * 7919 + 13;
  begin();
  for (int n = 0, nests = 2 + (int)pick(2); n < nests; n++)
    random_nest(pick(3) != 0, pick(2), nests == 3 ? 1 : 1 + (int)pick(2), 3000);
  if (pick(2)) store(slot(TG_FLOAT32, 1), tg_ir_int(&B, 0), cast(tg_ir_int(&B, 7), TG_FLOAT32));
  snprintf(name, sizeof name, "random nests %llu", (unsigned long long)number);
  compare(&B, 2e-3, name);
}

TEST(backend_random_elementwise) {
  for (uint64_t i = 0; i < 150; i++) random_kernel(i, false, false, 1);
}
TEST(backend_random_reduce) {
  for (uint64_t i = 1000; i < 1200; i++) random_kernel(i, true, false, 1);
}
TEST(backend_random_product) {
  for (uint64_t i = 2000; i < 2250; i++) random_kernel(i, true, true, 1);
}
TEST(backend_random_stores) {
  for (uint64_t i = 3000; i < 3200; i++) random_kernel(i, i % 3 != 0, i % 3 == 2, 2 + (int)(i % 2));
}
TEST(backend_random_nests) {
  for (uint64_t i = 4000; i < 4150; i++) random_nests(i);
}

/* ---- the same kernels as C: collected, and compiled a hundred at a time
 *
 * Starting a compiler costs more than a kernel, and compiling one more than running
 * it: of a large family every n-th kernel is taken (all with TG_TEST_SLOW=1). */

enum { UNIT_CASES = 100 };
typedef struct unit_case {
  tg_kernel *kernel;
  double tolerance;
  char name[128];
  fill_kind fill_of[16];
  int64_t fill_bound[16];
  uint64_t seed;
} unit_case;
static unit_case unit_cases[UNIT_CASES];
static int unit_count, unit_seen, unit_every, unit_done, unit_declined,
    unit_allowed;
static tg_unit *unit;

static void run_case(const unit_case *c, const tg_c_kernel *code) {
  const tg_kernel *k = c->kernel;
  arena mine, other;
  memcpy(fill_of, c->fill_of, sizeof fill_of);
  memcpy(fill_bound, c->fill_bound, sizeof fill_bound);
  seed = c->seed;
  arena_make(k, &mine);
  seed = c->seed;
  arena_make(k, &other);
  CHECK_INT(run_on(&tg_backend_reference, k, &other), 0);
  arena_reset(k, &mine);
  tg_threads_set(1);
  CHECK_INT(tg_c_run(code, mine.data), 0);
  for (int32_t s = 0; s < k->nslots; s++) {
    size_t size = (size_t)(k->slot[s].numel * tg_dtype_size(k->slot[s].dtype));
    compare_slot(k, s, mine.data[s], other.data[s], c->tolerance, c->name);
    test_check(!memcmp((char *)mine.data[s] + size, (char *)mine.copy[s] + size, 64), __FILE__,
               __LINE__, "%s: writes behind slot %d", c->name, s);
    memcpy(other.data[s], mine.data[s], size);
  }
  arena_reset(k, &mine);
  tg_threads_set(3);
  CHECK_INT(tg_c_run(code, mine.data), 0);
  tg_threads_set(0);
  for (int32_t s = 0; s < k->nslots; s++)
    test_check(!memcmp(mine.data[s], other.data[s],
                       (size_t)(k->slot[s].numel * tg_dtype_size(k->slot[s].dtype))),
               __FILE__, __LINE__, "%s: slot %d has other bits with 3 threads", c->name, s);
  arena_free(k, &mine);
  arena_free(k, &other);
}

static int unit_images, unit_dots; /* kernels whose lanes run over an image, along K (c/image.c) */

static void run_unit(void) {
  tg_c_why why = {0};
  if (!unit) return;
  for (const char *at = unit->text.at; (at = strstr(at, "b = image + ")); at++) unit_images++;
  for (const char *at = unit->text.at; (at = strstr(at, "i64 *columns = ")); at++) unit_dots++;
  bool sealed = tg_unit_seal(unit, unit_count, &why);
  bool good = sealed && (tg_unit_find(unit, &why) || tg_unit_build(unit, false, &why));
  test_check(good, __FILE__, __LINE__, "no unit, with \"%s\" and others: %s", unit_cases[0].name, why.text);
  for (int i = 0; i < unit_count; i++) {
    if (good) run_case(&unit_cases[i], unit->table->kernel[i]);
    tg_kernel_free(unit_cases[i].kernel);
  }
  tg_unit_release(unit);
  unit = NULL;
  unit_count = 0;
}

/* Kernels with 16-bit floats stay built-in. */
static bool has_halves(const tg_kernel *k) {
  bool any = false;
  for (int32_t s = 0; s < k->nslots; s++)
    any = any || k->slot[s].dtype == TG_FLOAT16 || k->slot[s].dtype == TG_BFLOAT16;
  return any;
}

static void collect(tg_kernel *k, double tolerance, const char *name) {
  unit_case c = {k, tolerance, "", {0}, {0}, seed};
  bool wanted = unit_seen++ % unit_every == 0;
  if (wanted && !unit) unit = tg_unit_new();
  tg_c_rendered done = wanted ? tg_unit_add(unit, k, unit_count) : TG_C_DECLINED;
  CHECK(done != TG_C_FAILED);
  if (wanted && done == TG_C_DECLINED && !has_halves(k)) {
    unit_declined++;
    if (unit_declined > unit_allowed)
      test_check(false, __FILE__, __LINE__, "%s is not generated as C", name);
  }
  if (done != TG_C_DONE) {
    tg_kernel_free(k);
    return;
  }
  snprintf(c.name, sizeof c.name, "C: %s", name);
  memcpy(c.fill_of, fill_of, sizeof fill_of);
  memcpy(c.fill_bound, fill_bound, sizeof fill_bound);
  unit_cases[unit_count++] = c;
  unit_done++;
  if (unit_count == UNIT_CASES) run_unit();
}

/* Kernels of a family, every n-th, as C; at most `declined` of them may not be. */
static void as_c(void (*family)(void), int every, int declined) {
  const char *slow = getenv("TG_TEST_SLOW");
  unit_every = slow && *slow == '1' ? 1 : every;
  unit_seen = unit_done = unit_declined = 0;
  unit_allowed = declined;
  seed = 1; /* the data are the same whichever tests ran before */
  collecting = true;
  family();
  run_unit();
  collecting = false;
  CHECK(unit_done > 0);
}

static void c_elementwise(void) {
  test_backend_elementwise_sizes();
  test_backend_permuted();
  test_backend_pad_and_gate();
  test_backend_iota_and_where();
  test_backend_gather();
  test_backend_division_by_constants();
  test_backend_bitcasts();
  test_backend_unpool();
  test_backend_enlarged();
}
TEST(c_kernels_elementwise) { as_c(c_elementwise, 1, 0); }

static void c_float_ops(void) {
  test_backend_float_ops();
}
TEST(c_kernels_float_ops) { as_c(c_float_ops, 1, 0); }

static void c_int_ops(void) {
  test_backend_division_by_powers();
  test_backend_int_ops();
}
TEST(c_kernels_int_ops) { as_c(c_int_ops, 1, 0); }

static void c_casts(void) {
  test_backend_casts();
}
TEST(c_kernels_casts) { as_c(c_casts, 1, 0); }

static void c_reduce(void) {
  test_backend_reduce_nan();
  test_backend_reduce_dtypes();
  test_backend_reduce_two();
  test_backend_max_pool();
}
TEST(c_kernels_reduce) { as_c(c_reduce, 1, 0); }

static void c_reduce_shapes(void) {
  test_backend_reduce_shapes();
}
TEST(c_kernels_reduce_shapes) { as_c(c_reduce_shapes, 1, 0); }

static void c_rows(void) {
  test_backend_rows();
  test_backend_rows_of_channels();
  test_backend_reduce_nested();
}
TEST(c_kernels_rows) { as_c(c_rows, 4, 1); }

static void c_products(void) {
  test_backend_products();
}
TEST(c_kernels_products) { as_c(c_products, 6, 0); }

static void c_product_dtypes(void) {
  test_backend_product_dtypes();
  test_backend_product_long();
  test_backend_product_of_expressions();
}
TEST(c_kernels_product_dtypes) { as_c(c_product_dtypes, 2, 0); }

static void c_convolutions(void) {
  test_backend_convolutions();
}
TEST(c_kernels_convolutions) { as_c(c_convolutions, 1, 0); }

/* Just large enough for sums of fewer multiplications (c/winograd.c): sides that are
 * no whole tiles, odd channels, one image in parts, and a gradient whose window is
 * the image. Errors are like the largest sums', about 100 here, also where a sum
 * happens to be small. */
static void c_windows(void) {
  static const conv shapes[] = {{3, 11, 13, 32, 3, 1, 0}, {2, 9, 15, 20, 5, 1, 0}, {1, 12, 16, 34, 4, 1, 0},
                                {1, 21, 31, 8, 3, 1, 0}, {16, 16, 6, 32, 3, 1, 0}};
  for (size_t k = 0; k < sizeof shapes / sizeof *shapes; k++) {
    conv window = shapes[k];
    window.tolerance = 1e-3;
    conv_forward(window, TG_FLOAT32);
    conv_by_input(window);
    if (window.H - window.K + 1 <= 5) conv_by_weights(window);
  }
}
TEST(c_kernels_windows) { as_c(c_windows, 1, 0); }

/* Lanes along an image, or along what is summed (c/image.c): few filters, rows that are
 * no whole vectors, paddings, an operand that is a mask times something enlarged. */
static void c_masked(conv v) {
  begin();
  int64_t P = v.H - v.K + 1, Q = (P + 1) / 2;
  int32_t g = slot(TG_FLOAT32, v.N * v.O * P * P), small = slot(TG_FLOAT32, v.N * v.O * Q * Q),
          x = slot(TG_FLOAT32, v.N * v.C * v.H * v.H), o = slot(TG_FLOAT32, v.O * v.C * v.K * v.K);
  int32_t oc = loop(v.O), c = loop(v.C), a = loop(v.K), b = loop(v.K);
  int32_t n = fold(v.N), y = fold(P), z = fold(P);
  int32_t X = load(x, at4(n, v.C * v.H * v.H, c, v.H * v.H, add(y, a), v.H, add(z, b)));
  int32_t G = load(g, at4(n, v.O * P * P, oc, P * P, y, P, z));
  int32_t S = load(small, at4(n, v.O * Q * Q, oc, Q * Q, tg_ix_div(&B, y, 2), Q, tg_ix_div(&B, z, 2)));
  int32_t mask = tg_ir_alu(&B, TG_OP_CMPLT, TG_BOOL, S, G, -1);
  G = op(TG_OP_MUL, cast(mask, TG_FLOAT32), S);
  int32_t sum = tg_ir_reduce(&B, TG_OP_ADD, op(TG_OP_MUL, X, G), bit(n) | bit(y) | bit(z));
  store(o, at4(oc, v.C * v.K * v.K, c, v.K * v.K, a, v.K, b), sum);
  compare(&B, v.tolerance, "convolution by weights, masked");
}

static void c_images(void) {
  static const conv shapes[] = {{9, 1, 28, 8, 3, 1, 1e-4}, {8, 3, 19, 5, 3, 1, 1e-4}, {11, 2, 22, 10, 5, 1, 1e-4},
                                {8, 1, 30, 33, 3, 1, 1e-4}, {3, 6, 13, 4, 2, 1, 1e-4}};
  for (size_t k = 0; k < sizeof shapes / sizeof *shapes; k++) {
    conv_forward(shapes[k], TG_FLOAT32);
    conv_by_input(shapes[k]);
    conv_by_weights(shapes[k]);
    c_masked(shapes[k]);
  }
}
TEST(c_kernels_images) {
  unit_images = unit_dots = 0;
  as_c(c_images, 1, 0);
  CHECK_INT(unit_dots > 4, tg_isa_vector_bytes() == 64);
  CHECK(unit_images > 4); /* of 20 kernels so many go this way with any vectors */
}

static void c_random(void) {
  test_backend_random_elementwise();
  test_backend_random_reduce();
  test_backend_random_product();
}
TEST(c_kernels_random) { as_c(c_random, 3, 2); }
