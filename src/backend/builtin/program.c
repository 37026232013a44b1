/* builtin/program: what a kernel is, before deciding how to run it.
 *
 * Every int64 instruction that is affine in the ranges, and cannot wrap on the way
 * (its bounds are known), becomes a row of strides and an offset. A range that is
 * divided by one of its divisors (the gradient of pooling asks for r / 2) is split
 * into two first, and so its quotient and rest are affine too. Then ranges merge: if
 * in every row that anything but index arithmetic looks at, range a moves as far as b
 * does in all its steps, the two are one longer range, and lanes run on where the
 * shape had a seam.
 */
#include "backend/builtin/builtin.h"
#include "backend/isa.h"

void tg_bi_code_free(bi_code *code) {
  if (!code) return;
  tg_free(code->ins);
  tg_free(code->slot);
  tg_free(code->slot_size);
  tg_free(code->row_of);
  tg_free(code->rows);
  tg_free(code->moving);
  tg_free(code);
}

/* ---- splitting */

/* The divisor if instruction i is a range divided evenly; else 0. */
static int64_t split_of(const tg_kernel *kernel, int32_t i) {
  const tg_ins *in = &kernel->ins[i];
  if (in->op != TG_OP_DIV && in->op != TG_OP_MOD) return 0;
  const tg_ins *x = &kernel->ins[in->src[0]], *d = &kernel->ins[in->src[1]];
  if (in->dtype != TG_INT64 || x->op != TG_OP_RANGE || d->op != TG_OP_CONST) return 0;
  const tg_range *range = &kernel->range[x->slot];
  if (d->value.i < 2 || d->value.i >= range->size || range->size % d->value.i) return 0;
  return range->kind == TG_SERIAL ? 0 : d->value.i;
}

/* Is the range only enlarged: divided by a power of 2, nowhere a remainder, and what
 * is loaded float32? Lanes along it are one load and a permutation in generated C, which
 * is better than two ranges where vectors are wide. */
static bool split_enlarges(const tg_kernel *kernel, int32_t i, int64_t divisor) {
  int32_t range = kernel->ins[i].src[0];
  bool enlarges = (divisor & (divisor - 1)) == 0 && tg_isa_vector_bytes() == 64;
  uint64_t moves = kernel->ins[range].ranges;
  for (int32_t k = 0; enlarges && k < kernel->count; k++) {
    const tg_ins *in = &kernel->ins[k];
    if (in->op == TG_OP_MOD && in->src[0] == range) enlarges = false;
    if (in->op == TG_OP_LOAD && (in->ranges & moves))
      enlarges = kernel->slot[in->slot].dtype == TG_FLOAT32;
  }
  return enlarges;
}

/* Each range is split once, by the first divisor met: the rest becomes a new
 * range, code->rest its number. */
static void code_split(bi_code *code, const tg_kernel *kernel, bool generated) {
  memset(code->rest, 0, sizeof code->rest);
  for (int32_t i = 0; i < kernel->count; i++) {
    int64_t divisor = split_of(kernel, i);
    if (divisor && generated && split_enlarges(kernel, i, divisor)) continue;
    if (!divisor || code->nranges == TG_MAX_RANGES - 1) continue;
    int r = kernel->ins[kernel->ins[i].src[0]].slot;
    if (code->rest[r]) continue;
    code->rest[r] = code->nranges;
    code->range[code->nranges] = code->range[r];
    code->range[code->nranges++].size = divisor;
    code->range[r].size /= divisor;
  }
}

static bool code_copy(bi_code *code, const tg_kernel *kernel, bool generated) {
  code->nranges = kernel->nranges;
  memcpy(code->range, kernel->range, sizeof code->range);
  code_split(code, kernel, generated);
  size_t count = (size_t)kernel->count, width = (size_t)code->nranges + 1;
  code->count = kernel->count;
  code->nslots = kernel->nslots;
  code->vector = tg_bi_vector();
  code->ins = tg_alloc(count * sizeof *code->ins + 1);
  code->slot = tg_alloc((size_t)kernel->nslots * sizeof *code->slot + 1);
  code->slot_size = tg_alloc((size_t)kernel->nslots * sizeof *code->slot_size + 1);
  code->row_of = tg_alloc(count * sizeof *code->row_of + 1);
  code->rows = tg_alloc_zero(count * width * sizeof *code->rows + 1);
  code->moving = tg_alloc_zero(count * sizeof *code->moving + 1);
  if (!code->ins || !code->slot || !code->slot_size || !code->row_of || !code->rows ||
      !code->moving)
    return false;
  if (count) memcpy(code->ins, kernel->ins, count * sizeof *code->ins);
  for (int32_t s = 0; s < kernel->nslots; s++) {
    code->slot[s] = kernel->slot[s].dtype;
    code->slot_size[s] = kernel->slot[s].numel;
  }
  return true;
}

/* out = x * p + y * q, wrapping as int64 instructions do */
static void row_combine(const bi_code *code, int64_t *out, const int64_t *x, int64_t p,
                        const int64_t *y, int64_t q) {
  for (int r = 0; r <= code->nranges; r++)
    out[r] = (int64_t)((uint64_t)x[r] * (uint64_t)p + (y ? (uint64_t)y[r] * (uint64_t)q : 0));
}

static bool row_is_constant(const bi_code *code, const int64_t *row) {
  for (int r = 0; r < code->nranges; r++)
    if (row[r]) return false;
  return true;
}

static void row_range(const bi_code *code, int r, int64_t *out) {
  int rest = code->rest[r];
  out[r] = rest ? code->range[rest].size : 1;
  if (rest) out[rest] = 1;
}

/* A split range divided by what it was split by. */
static bool row_divided(const bi_code *code, const tg_ins *in, int64_t *out) {
  if (in->op != TG_OP_DIV && in->op != TG_OP_MOD) return false;
  const tg_ins *x = &code->ins[in->src[0]], *d = &code->ins[in->src[1]];
  if (x->op != TG_OP_RANGE || d->op != TG_OP_CONST) return false;
  int rest = code->rest[x->slot];
  if (!rest || d->value.i != code->range[rest].size) return false;
  out[in->op == TG_OP_DIV ? x->slot : rest] = 1;
  return true;
}

/* The row of instruction i from those of its operands; false: not affine. */
static bool row_find(const bi_code *code, int32_t i, int64_t *out) {
  const tg_ins *in = &code->ins[i];
  const int64_t *x = NULL, *y = NULL;
  if (in->dtype != TG_INT64 || in->low == INT64_MIN || in->high == INT64_MAX) return false;
  if (in->op == TG_OP_CONST) return out[code->nranges] = in->value.i, true;
  if (in->op == TG_OP_RANGE) return row_range(code, in->slot, out), true;
  if (row_divided(code, in, out)) return true;
  if (in->src[0] >= 0 && code->row_of[in->src[0]] >= 0) x = bi_row(code, code->row_of[in->src[0]]);
  if (in->src[1] >= 0 && code->row_of[in->src[1]] >= 0) y = bi_row(code, code->row_of[in->src[1]]);
  if (!x) return false;
  if (in->op == TG_OP_NEG) return row_combine(code, out, x, -1, NULL, 0), true;
  if (!y) return false;
  if (in->op == TG_OP_ADD) return row_combine(code, out, x, 1, y, 1), true;
  if (in->op == TG_OP_SUB) return row_combine(code, out, x, 1, y, -1), true;
  if (in->op != TG_OP_MUL) return false;
  if (row_is_constant(code, x)) return row_combine(code, out, y, x[code->nranges], NULL, 0), true;
  if (row_is_constant(code, y)) return row_combine(code, out, x, y[code->nranges], NULL, 0), true;
  return false;
}

static void code_rows(bi_code *code) {
  int32_t rows = 0;
  for (int32_t i = 0; i < code->count; i++)
    for (int r = 0; code->ins[i].op == TG_OP_REDUCE && r < code->nranges; r++)
      if (code->rest[r] && (code->ins[i].folded >> r & 1))
        code->ins[i].folded |= UINT64_C(1) << code->rest[r];
  for (int32_t i = 0; i < code->count; i++) {
    int64_t *row = code->rows + (int64_t)rows * (code->nranges + 1);
    code->row_of[i] = -1;
    if (row_find(code, i, row)) code->row_of[i] = rows++;
    else memset(row, 0, (size_t)(code->nranges + 1) * sizeof *row);
  }
}

/* Marks the rows that something other than a row is computed from. */
static void code_seen(const bi_code *code, uint64_t *seen) {
  for (int32_t i = 0; i < code->count; i++) {
    if (code->row_of[i] >= 0) continue;
    for (int k = 0; k < 3; k++) {
      int32_t from = code->ins[i].src[k];
      if (from >= 0 && code->row_of[from] >= 0) seen[code->row_of[from]] = 1;
    }
  }
}

static bool same_folds(const bi_code *code, int a, int b) {
  for (int32_t i = 0; i < code->count; i++) {
    uint64_t folded = code->ins[i].op == TG_OP_REDUCE ? code->ins[i].folded : 0;
    if ((folded >> a & 1) != (folded >> b & 1)) return false;
  }
  return true;
}

/* May a, the outer, and b be one range? */
static bool can_merge(const bi_code *code, const uint64_t *seen, int a, int b) {
  const tg_range *ra = &code->range[a], *rb = &code->range[b];
  if (ra->kind != rb->kind || ra->size < 2 || rb->size < 2) return false;
  if (ra->kind == TG_SERIAL && a + 1 != b) return false;
  if (ra->kind == TG_FOLD && !same_folds(code, a, b)) return false;
  for (int32_t i = 0; i < code->count; i++) {
    int32_t at = code->row_of[i];
    if (at < 0 || !seen[at]) continue;
    const int64_t *row = bi_row(code, at);
    if (row[a] != row[b] * rb->size) return false;
  }
  return true;
}

static uint64_t move_bit(uint64_t mask, int from, int to) {
  if (!(mask >> from & 1)) return mask;
  return (mask & ~(UINT64_C(1) << from)) | UINT64_C(1) << to;
}

static void merge(bi_code *code, int a, int b) {
  code->range[b].size *= code->range[a].size;
  code->range[a].size = 1;
  for (int32_t i = 0; i < code->count; i++) {
    tg_ins *in = &code->ins[i];
    in->ranges = move_bit(in->ranges, a, b);
    if (in->op == TG_OP_REDUCE) in->folded = move_bit(in->folded, a, b);
    if (code->row_of[i] >= 0)
      code->rows[(int64_t)code->row_of[i] * (code->nranges + 1) + a] = 0;
  }
}

static void code_merge(bi_code *code) {
  uint64_t *seen = code->moving; /* on loan until code_masks fills it */
  code_seen(code, seen);
  for (int b = code->nranges - 1; b >= 0; b--)
    for (int a = code->nranges - 1; a >= 0; a--)
      if (a != b && can_merge(code, seen, a, b)) {
        merge(code, a, b);
        a = code->nranges;
      }
}

static void code_row_mask(bi_code *code, int32_t i, int32_t at) {
  code->moving[at] = 0;
  for (int r = 0; r < code->nranges; r++)
    if (bi_row(code, at)[r] && code->range[r].size > 1) code->moving[at] |= UINT64_C(1) << r;
  code->ins[i].ranges = code->moving[at];
}

static void code_mask(const bi_code *code, tg_ins *in) {
  in->ranges = 0;
  for (int k = 0; k < 3; k++)
    if (in->src[k] >= 0) in->ranges |= code->ins[in->src[k]].ranges;
  if (in->op == TG_OP_REDUCE) in->ranges &= ~in->folded;
}

static void code_masks(bi_code *code) {
  for (int r = 0; r < code->nranges; r++) {
    uint64_t bit = UINT64_C(1) << r;
    if (code->range[r].size < 2) continue;
    if (code->range[r].kind == TG_LOOP) code->loops |= bit;
    if (code->range[r].kind == TG_FOLD) code->folds |= bit;
    if (code->range[r].kind == TG_SERIAL) code->serials |= bit;
  }
  for (int32_t i = 0; i < code->count; i++) {
    int32_t at = code->row_of[i];
    if (at >= 0) code_row_mask(code, i, at);
    else code_mask(code, &code->ins[i]);
  }
}

bi_code *tg_bi_code_new(const tg_kernel *kernel, bool generated) {
  bi_code *code = tg_alloc_zero(sizeof *code);
  if (!code) return NULL;
  if (!code_copy(code, kernel, generated)) return tg_bi_code_free(code), NULL;
  code_rows(code);
  code_merge(code);
  code_masks(code);
  return code;
}
