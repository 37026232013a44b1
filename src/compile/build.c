/* compile/build: hash-consed instructions.
 *
 * Every instruction goes through tg_ir_raw, which finds an equal one or appends
 * it, and derives what follows from its operands: the ranges it depends on and,
 * for integers, bounds. In front of that stand the simplifications that hold for
 * every dtype; index arithmetic has its own file, simplify.c.
 *
 * Two rules for REDUCE carry much of the weight. A sum of a sum is one sum over
 * both sets of ranges, also when a condition stands between; so the gradient of
 * a convolution by its input, which arrives as SUM(unwindow(SUM(..))), becomes
 * one sum of products, but under a condition: WHERE(c, x * y, 0). And that is a
 * contraction if the condition moves into the factor that knows its ranges, where
 * it becomes the gate of a load.
 *
 * The second rule is wrong where the other factor is infinite or NaN, for 0 * inf is
 * NaN. So it assumes that y is finite, if y is a value of memory, and says so in the
 * slot. A kernel that assumes something has a twin without assumptions (`exact`),
 * and who runs it looks at the memory first. Where the rule would give no contraction
 * it does not pay, and the product keeps its condition.
 *
 * What the rules assume of numbers:
 *   - x * 1, x / 1, a cast there and back, WHERE with equal branches: any value, its
 *     sign of zero and its NaN too. 0 * x and x + 0 are none of these and stay.
 *   - WHERE(c, load, 0) as a gated load, and taking WHERE(c, x, 0) for no term of a sum:
 *     0 is +0.0, since a gate gives +0.0. -0.0 is another number.
 *   - a sum over what does not change as a product with the count: integers wrap, so the
 *     count does; floats are at least float32 here, which holds every count.
 *   - order and bounds of integers: simplify.c.
 */
#include "compile/build.h"
#include "graph/node.h"

bool tg_builder_begin(tg_builder *b, bool exact) {
  memset(b, 0, sizeof *b);
  b->exact = exact;
  b->table_size = 256;
  b->kernel = tg_alloc_zero(sizeof *b->kernel);
  b->table = tg_alloc_zero((size_t)b->table_size * sizeof *b->table);
  b->failed = !b->kernel || !b->table;
  if (b->failed) return false;
  b->kernel->noutputs = 1;
  tg_ir_int(b, 0); /* what failures give */
  return !b->failed;
}

/* ---- the end: what no store needs goes, and so do loops that nothing uses */

/* Marks in `to` (zeroed) what the stores reach, then numbers it. */
static int32_t number_used(const tg_kernel *k, int32_t *to) {
  int32_t used = 0;
  for (int32_t i = k->count - 1; i >= 0; i--) {
    const tg_ins *in = &k->ins[i];
    if (in->op == TG_OP_STORE || in->op == TG_OP_STORE_ADD) to[i] = 1;
    for (int s = 0; to[i] && s < 3; s++)
      if (in->src[s] >= 0) to[in->src[s]] = 1;
  }
  for (int32_t i = 0; i < k->count; i++) to[i] = to[i] ? used++ : -1;
  return used;
}

static uint64_t renumber_bits(uint64_t bits, const int32_t *range) {
  uint64_t out = 0;
  for (int r = 0; r < TG_MAX_RANGES; r++)
    if (bits >> r & 1 && range[r] >= 0) out |= UINT64_C(1) << range[r];
  return out;
}

static void number_ranges(tg_kernel *k, const int32_t *to, int32_t *range) {
  int32_t used = 0, count = k->nranges;
  for (int r = 0; r < TG_MAX_RANGES; r++) range[r] = -1;
  for (int32_t i = 0; i < k->count; i++)
    if (to[i] >= 0 && k->ins[i].op == TG_OP_RANGE) range[k->ins[i].slot] = 0;
  for (int r = 0; r < count; r++) {
    if (range[r] < 0) continue;
    k->range[used] = k->range[r];
    range[r] = used++;
  }
  k->nranges = used;
}

static bool prune(tg_kernel *k) {
  int32_t *to = tg_alloc_zero((size_t)k->count * sizeof *to), range[TG_MAX_RANGES];
  if (!to) return false;
  int32_t used = number_used(k, to);
  number_ranges(k, to, range);
  for (int32_t i = 0; i < k->count; i++) {
    if (to[i] < 0) continue;
    tg_ins in = k->ins[i];
    for (int s = 0; s < 3; s++) in.src[s] = in.src[s] >= 0 ? to[in.src[s]] : -1;
    if (in.op == TG_OP_RANGE) in.slot = range[in.slot];
    in.ranges = renumber_bits(in.ranges, range);
    in.folded = renumber_bits(in.folded, range);
    k->ins[to[i]] = in;
  }
  k->count = used;
  tg_free(to);
  return true;
}

tg_kernel *tg_builder_end(tg_builder *b) {
  tg_kernel *k = b->kernel;
  tg_free(b->table);
  if (!b->failed && prune(k)) return k;
  tg_kernel_free(k);
  return NULL;
}

void tg_kernel_free(tg_kernel *k) {
  if (!k) return;
  tg_free(k->ins);
  tg_free(k->slot);
  tg_free(k->origin);
  tg_free(k);
}

/* ---- hash-consing */

static uint64_t hash_ins(const tg_ins *in) {
  const int64_t key[] = {(int64_t)in->op,    (int64_t)in->dtype, in->src[0],   in->src[1],
                         in->src[2],         in->slot,           in->value.i,  (int64_t)in->fold,
                         (int64_t)in->folded};
  return tg_hash(TG_HASH_SEED, key, sizeof key);
}

static bool grow_ins_table(tg_builder *b) {
  int64_t size = b->table_size * 2;
  int32_t *table = tg_alloc_zero((size_t)size * sizeof *table);
  if (!table) return false;
  for (int32_t i = 0; i < b->kernel->count; i++) {
    uint64_t h = hash_ins(&b->kernel->ins[i]);
    while (table[h & (uint64_t)(size - 1)]) h++;
    table[h & (uint64_t)(size - 1)] = i + 1;
  }
  tg_free(b->table);
  b->table = table;
  b->table_size = size;
  return true;
}

/* ---- bounds of integers; INT64_MIN and INT64_MAX stand for "unknown" */

static bool known(const tg_ins *in) { return in->low != INT64_MIN && in->high != INT64_MAX; }

static bool bound_of_product(int64_t a, int64_t b, int64_t *out) {
  return !__builtin_mul_overflow(a, b, out);
}

static void bound_mul(tg_ins *in, const tg_ins *x, const tg_ins *y) {
  int64_t p[4];
  if (!known(x) || !known(y) || !bound_of_product(x->low, y->low, &p[0]) ||
      !bound_of_product(x->low, y->high, &p[1]) || !bound_of_product(x->high, y->low, &p[2]) ||
      !bound_of_product(x->high, y->high, &p[3]))
    return;
  in->low = in->high = p[0];
  for (int i = 1; i < 4; i++) {
    if (p[i] < in->low) in->low = p[i];
    if (p[i] > in->high) in->high = p[i];
  }
}

/* DIV and MOD by a positive constant. */
static void bound_div(tg_ins *in, const tg_ins *x, const tg_ins *y) {
  if (!known(x) || y->op != TG_OP_CONST || y->value.i <= 0) return;
  if (in->op == TG_OP_DIV) {
    in->low = tg_floor_div(x->low, y->value.i);
    in->high = tg_floor_div(x->high, y->value.i);
  } else {
    in->low = 0;
    in->high = y->value.i - 1;
  }
}

static void bound_add(tg_ins *in, const tg_ins *x, const tg_ins *y) {
  int64_t low, high;
  if (!known(x) || !known(y) || __builtin_add_overflow(x->low, y->low, &low) ||
      __builtin_add_overflow(x->high, y->high, &high))
    return;
  in->low = low;
  in->high = high;
}

static void bound_sub(tg_ins *in, const tg_ins *x, const tg_ins *y) {
  int64_t low, high;
  if (!known(x) || !known(y) || __builtin_sub_overflow(x->low, y->high, &low) ||
      __builtin_sub_overflow(x->high, y->low, &high))
    return;
  in->low = low;
  in->high = high;
}

/* Fills low and high of an int64 instruction. */
static void bound(const tg_builder *b, tg_ins *in) {
  const tg_ins *x = in->src[0] >= 0 ? tg_ins_at(b, in->src[0]) : NULL;
  const tg_ins *y = in->src[1] >= 0 ? tg_ins_at(b, in->src[1]) : NULL;
  in->low = INT64_MIN;
  in->high = INT64_MAX;
  if (in->dtype != TG_INT64) return;
  if (in->op == TG_OP_CONST) in->low = in->high = in->value.i;
  else if (in->op == TG_OP_RANGE) in->low = 0, in->high = b->kernel->range[in->slot].size - 1;
  else if (in->op == TG_OP_CHECK) in->low = 0, in->high = in->value.i - 1;
  else if (in->op == TG_OP_ADD) bound_add(in, x, y);
  else if (in->op == TG_OP_SUB) bound_sub(in, x, y);
  else if (in->op == TG_OP_NEG && known(x)) in->low = -x->high, in->high = -x->low;
  else if (in->op == TG_OP_MUL) bound_mul(in, x, y);
  else if (in->op == TG_OP_DIV || in->op == TG_OP_MOD) bound_div(in, x, y);
}

static uint64_t depends_on(const tg_builder *b, const tg_ins *in) {
  uint64_t ranges = in->op == TG_OP_RANGE ? UINT64_C(1) << in->slot : 0;
  for (int i = 0; i < 3; i++)
    if (in->src[i] >= 0) ranges |= tg_ins_at(b, in->src[i])->ranges;
  return in->op == TG_OP_REDUCE ? ranges & ~in->folded : ranges;
}

int32_t tg_ir_raw(tg_builder *b, tg_ins in) {
  if (b->failed) return 0;
  tg_kernel *k = b->kernel;
  if (2 * (k->count + 1) > b->table_size && !grow_ins_table(b)) b->failed = true;
  if (!tg_reserve((void **)&k->ins, &k->ins_room, k->count, sizeof *k->ins)) b->failed = true;
  if (b->failed) return 0;
  uint64_t h = hash_ins(&in), mask = (uint64_t)(b->table_size - 1);
  for (; b->table[h & mask]; h++)
    if (tg_ins_equal(&k->ins[b->table[h & mask] - 1], &in)) return b->table[h & mask] - 1;
  in.ranges = depends_on(b, &in);
  bound(b, &in);
  k->ins[k->count] = in;
  b->table[h & mask] = ++k->count;
  return k->count - 1;
}

static tg_ins blank(tg_op op, tg_dtype dtype, int32_t x, int32_t y, int32_t z) {
  tg_ins in;
  memset(&in, 0, sizeof in);
  in.op = op;
  in.dtype = dtype;
  in.src[0] = x;
  in.src[1] = y;
  in.src[2] = z;
  return in;
}

/* ---- leaves */

int32_t tg_ir_slot(tg_builder *b, tg_dtype dtype, int64_t numel) {
  tg_kernel *k = b->kernel;
  if (b->failed || !tg_reserve((void **)&k->slot, &k->slot_room, k->nslots, sizeof *k->slot)) {
    b->failed = true;
    return 0;
  }
  k->slot[k->nslots] = (tg_slot){.dtype = dtype, .numel = numel};
  return k->nslots++;
}

int32_t tg_ir_range(tg_builder *b, int64_t size, tg_range_kind kind) {
  if (size == 1 || b->failed) return tg_ir_int(b, 0);
  if (b->kernel->nranges == TG_MAX_RANGES) {
    tg_fail("a kernel needs more than %d loops; realize an intermediate result first",
            TG_MAX_RANGES);
    b->failed = true;
    return 0;
  }
  b->kernel->range[b->kernel->nranges] = (tg_range){size, kind};
  tg_ins in = blank(TG_OP_RANGE, TG_INT64, -1, -1, -1);
  in.slot = b->kernel->nranges++;
  return tg_ir_raw(b, in);
}

int32_t tg_ir_const(tg_builder *b, tg_dtype dtype, tg_value value) {
  tg_ins in = blank(TG_OP_CONST, dtype, -1, -1, -1);
  in.value = value;
  return tg_ir_raw(b, in);
}

int32_t tg_ir_int(tg_builder *b, int64_t value) {
  return tg_ir_const(b, TG_INT64, (tg_value){.i = value});
}

int32_t tg_ir_bool(tg_builder *b, bool value) {
  return tg_ir_const(b, TG_BOOL, (tg_value){.i = value});
}

/* ---- memory */

int32_t tg_ir_load(tg_builder *b, int32_t slot, int32_t index, int32_t gate) {
  if (b->failed) return 0;
  tg_dtype dtype = b->kernel->slot[slot].dtype;
  if (gate >= 0 && tg_ins_is_int(b, gate, 0)) return tg_ir_const(b, dtype, (tg_value){0});
  if (gate >= 0 && tg_ins_is_int(b, gate, 1)) gate = -1;
  b->kernel->slot[slot].read = true;
  tg_ins in = blank(TG_OP_LOAD, dtype, index, gate, -1);
  in.slot = slot;
  return tg_ir_raw(b, in);
}

int32_t tg_ir_check(tg_builder *b, int32_t index, int64_t limit) {
  const tg_ins *x = tg_ins_at(b, index);
  if (known(x) && x->low >= 0 && x->high < limit) return index;
  tg_ins in = blank(TG_OP_CHECK, TG_INT64, index, -1, -1);
  in.value.i = limit;
  return tg_ir_raw(b, in);
}

int32_t tg_ir_store(tg_builder *b, tg_op op, int32_t slot, int32_t index, int32_t value) {
  if (b->failed) return 0;
  b->kernel->slot[slot].written = true;
  if (op == TG_OP_STORE_ADD) b->kernel->slot[slot].read = true;
  tg_ins in = blank(op, b->kernel->slot[slot].dtype, index, value, -1);
  in.slot = slot;
  return tg_ir_raw(b, in);
}

/* ---- elementwise */

/* Whether the conjunction `all` has x among its conditions. Conjunctions lean to
 * the right: AND(condition, rest). */
static bool has_condition(const tg_builder *b, int32_t all, int32_t x) {
  for (;;) {
    const tg_ins *in = tg_ins_at(b, all);
    if (all == x) return true;
    if (in->op != TG_OP_AND) return false;
    if (in->src[0] == x) return true;
    all = in->src[1];
  }
}

int32_t tg_ir_and(tg_builder *b, int32_t x, int32_t y) {
  if (b->failed) return 0;
  if (x < 0) return y;
  if (y < 0) return x;
  if (tg_ins_is_int(b, x, 1) || tg_ins_is_int(b, y, 0)) return y;
  if (tg_ins_is_int(b, y, 1) || tg_ins_is_int(b, x, 0)) return x;
  const tg_ins in = *tg_ins_at(b, x);
  if (in.op == TG_OP_AND) return tg_ir_and(b, in.src[0], tg_ir_and(b, in.src[1], y));
  if (has_condition(b, y, x)) return y;
  return tg_ir_raw(b, blank(TG_OP_AND, TG_BOOL, x, y, -1));
}

/* +0.0: all bits are 0. */
static bool is_zero(const tg_ins *in) { return in->op == TG_OP_CONST && in->value.i == 0; }

static bool is_one(const tg_ins *in) {
  if (in->op != TG_OP_CONST) return false;
  return tg_dtype_is_float(in->dtype) ? in->value.f == 1 : in->value.i == 1;
}

static int32_t where(tg_builder *b, tg_dtype dtype, int32_t c, int32_t x, int32_t y) {
  if (x == y || tg_ins_is_int(b, c, 1)) return x;
  if (tg_ins_is_int(b, c, 0)) return y;
  const tg_ins in = *tg_ins_at(b, x); /* a copy: tg_ir_and may move them all */
  if (in.op == TG_OP_LOAD && is_zero(tg_ins_at(b, y)))
    return tg_ir_load(b, in.slot, in.src[0], tg_ir_and(b, in.src[1], c));
  return tg_ir_raw(b, blank(TG_OP_WHERE, dtype, c, x, y));
}

/* Does every value of `from` have an equal one in the float `to`? */
static bool is_wider(tg_dtype to, tg_dtype from) {
  return tg_dtype_is_float(from) && tg_dtype_is_float(to) &&
         tg_dtype_size(to) > tg_dtype_size(from);
}

static int32_t cast(tg_builder *b, tg_dtype dtype, int32_t x) {
  const tg_ins *in = tg_ins_at(b, x);
  if (in->dtype == dtype) return x;
  if (in->op == TG_OP_CONST)
    return tg_ir_const(b, dtype, tg_value_cast(in->value, in->dtype, dtype));
  bool back = in->op == TG_OP_CAST && tg_ins_at(b, in->src[0])->dtype == dtype;
  if (back && is_wider(in->dtype, dtype)) return in->src[0];
  return tg_ir_raw(b, blank(TG_OP_CAST, dtype, x, -1, -1));
}

int32_t tg_ir_alu(tg_builder *b, tg_op op, tg_dtype dtype, int32_t x, int32_t y, int32_t z) {
  if (b->failed) return 0;
  const tg_ins *a = tg_ins_at(b, x), *c = y >= 0 ? tg_ins_at(b, y) : NULL;
  if (op == TG_OP_WHERE) return where(b, dtype, x, y, z);
  if (op == TG_OP_AND && dtype == TG_BOOL) return tg_ir_and(b, x, y);
  if (op == TG_OP_CAST) return cast(b, dtype, x);
  if (op == TG_OP_MUL && is_one(c)) return x;
  if (op == TG_OP_MUL && is_one(a)) return y;
  if (op == TG_OP_DIV && is_one(c)) return x;
  if (dtype == TG_INT64 && op == TG_OP_ADD) return tg_ix_add(b, x, y);
  if (dtype == TG_INT64 && op == TG_OP_MUL && c->op == TG_OP_CONST)
    return tg_ix_mul(b, x, c->value.i);
  if (op == TG_OP_CMPLT && a->dtype == TG_INT64) return tg_ix_less(b, x, y);
  return tg_ir_raw(b, blank(op, dtype, x, y, z));
}

/* ---- reduce */

/* sum over ranges that x does not depend on: x times their number, and +0.0, with which
 * a sum begins: of -0.0 it is +0.0. */
static int32_t times(tg_builder *b, int32_t x, uint64_t ranges) {
  tg_dtype dtype = tg_ins_at(b, x)->dtype;
  uint64_t n = 1;
  for (int i = 0; i < b->kernel->nranges; i++)
    if (ranges >> i & 1) n *= (uint64_t)b->kernel->range[i].size;
  if (dtype == TG_BOOL) return x;
  tg_value count = tg_value_cast((tg_value){.i = (int64_t)n}, TG_UINT64, dtype);
  x = tg_ir_alu(b, TG_OP_MUL, dtype, x, tg_ir_const(b, dtype, count), -1);
  if (!tg_dtype_is_float(dtype)) return x;
  return tg_ir_alu(b, TG_OP_ADD, dtype, x, tg_ir_const(b, dtype, (tg_value){0}), -1);
}

/* The conditions of conjunction c that depend on no range but `ranges`; the
 * others go to *rest. -1 stands for true. */
static int32_t conditions_on(tg_builder *b, int32_t c, uint64_t ranges, int32_t *rest) {
  int32_t out = -1;
  *rest = -1;
  while (c >= 0) {
    const tg_ins in = *tg_ins_at(b, c);
    int32_t one = in.op == TG_OP_AND ? in.src[0] : c;
    bool fits = !(tg_ins_at(b, one)->ranges & ~ranges);
    if (fits) out = tg_ir_and(b, one, out);
    else *rest = tg_ir_and(b, one, *rest);
    c = in.op == TG_OP_AND ? in.src[1] : -1;
  }
  return out;
}

/* Is the sum of x * y a contraction: has each factor loops of its own? */
static bool is_contraction(const tg_builder *b, int32_t x, int32_t y) {
  uint64_t loops = 0, in[2] = {tg_ins_at(b, x)->ranges, tg_ins_at(b, y)->ranges};
  for (int i = 0; i < b->kernel->nranges; i++)
    if (b->kernel->range[i].kind == TG_LOOP) loops |= UINT64_C(1) << i;
  return (in[0] & ~in[1] & loops) && (in[1] & ~in[0] & loops);
}

/* The slot such that x is finite if what is in the slot is; -1: there is none. */
static int32_t finite_by(const tg_builder *b, int32_t x) {
  const tg_ins *in = tg_ins_at(b, x);
  while (in->op == TG_OP_NEG || (in->op == TG_OP_CAST &&
                                 is_wider(in->dtype, tg_ins_at(b, in->src[0])->dtype)))
    in = tg_ins_at(b, in->src[0]);
  return in->op == TG_OP_LOAD && tg_dtype_is_float(in->dtype) ? in->slot : -1;
}

static int32_t where_or_zero(tg_builder *b, int32_t c, int32_t x) {
  if (b->failed || c < 0) return x;
  tg_dtype dtype = tg_ins_at(b, x)->dtype;
  return tg_ir_alu(b, TG_OP_WHERE, dtype, c, x, tg_ir_const(b, dtype, (tg_value){0}));
}

/* WHERE(c, x, 0), where x is summed: of a contraction each condition goes to a factor
 * that knows its ranges, if the other one can be assumed to be finite. */
static int32_t under_condition(tg_builder *b, int32_t c, int32_t x) {
  if (b->failed || c < 0) return x;
  const tg_ins in = *tg_ins_at(b, x);
  bool product = in.op == TG_OP_MUL && tg_dtype_is_float(in.dtype) && !b->exact &&
                 is_contraction(b, in.src[0], in.src[1]);
  if (!product) return where_or_zero(b, c, x);
  int32_t factor[2] = {in.src[0], in.src[1]};
  for (int i = 0; i < 2; i++) {
    int32_t rest, other = finite_by(b, in.src[1 - i]);
    int32_t fits = conditions_on(b, c, tg_ins_at(b, in.src[i])->ranges, &rest);
    if (other < 0 || fits < 0) continue;
    factor[i] = where_or_zero(b, fits, in.src[i]);
    if (!b->failed) b->kernel->slot[other].finite = true;
    c = rest;
  }
  x = tg_ir_alu(b, TG_OP_MUL, in.dtype, factor[0], factor[1], -1);
  return where_or_zero(b, c, x);
}

/* Takes WHERE(c1, WHERE(c2, x, 0), 0) apart: x, and c1 and c2 in *condition. */
static int32_t strip_conditions(tg_builder *b, int32_t x, int32_t *condition) {
  *condition = -1;
  for (;;) {
    const tg_ins in = *tg_ins_at(b, x);
    if (in.op != TG_OP_WHERE || !is_zero(tg_ins_at(b, in.src[2]))) return x;
    *condition = tg_ir_and(b, in.src[0], *condition);
    x = in.src[1];
  }
}

int32_t tg_ir_reduce(tg_builder *b, tg_op fold, int32_t value, uint64_t ranges) {
  if (b->failed || !ranges) return value;
  tg_ins in = *tg_ins_at(b, value);
  if (in.op == TG_OP_REDUCE && in.fold == fold)
    return tg_ir_reduce(b, fold, in.src[0], ranges | in.folded);
  if (fold == TG_OP_ADD && in.op == TG_OP_WHERE) {
    int32_t condition, x = strip_conditions(b, value, &condition);
    const tg_ins inner = *tg_ins_at(b, x);
    bool nested = inner.op == TG_OP_REDUCE && inner.fold == fold && condition >= 0 &&
                  (inner.ranges & ranges) && !(tg_ins_at(b, condition)->ranges & inner.folded);
    if (nested)
      return tg_ir_reduce(b, fold, where_or_zero(b, condition, inner.src[0]),
                          ranges | inner.folded);
    value = under_condition(b, condition, x);
    in = *tg_ins_at(b, value);
  }
  uint64_t idle = ranges & ~in.ranges;
  if (idle) {
    int32_t inner = tg_ir_reduce(b, fold, value, ranges & ~idle);
    return fold == TG_OP_ADD ? times(b, inner, idle) : inner;
  }
  tg_ins out = blank(TG_OP_REDUCE, in.dtype, value, -1, -1);
  out.fold = fold;
  out.folded = ranges;
  return tg_ir_raw(b, out);
}
