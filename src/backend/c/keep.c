/* c/keep: what one pass over a row computes and a later one needs again.
 *
 * The stages of a nest go over the same row one after the other, and the kernel says
 * of each what it computes from memory: a softmax has e^(x - max) in the stage of the
 * sum and in that of the STORE. The two are different instructions, since each stage
 * has a range of its own, but the same value at the same position. So instructions
 * are numbered: of those that are equal but for the range of their stage the first
 * stands for all. A value that takes twice as long to compute as to store and load in
 * the first cache is kept: the first stage that has it writes it to a row in the
 * worker's scratch, the others load it from there.
 *
 * Costs are per vector, in nanoseconds, as in nest.c.
 */
#include "backend/c/render.h"

#define KEEP_MOVE 0.4 /* a load, or a store */
enum { KEEP_BYTES = 1 << 18 };

static uint64_t keep_bit(int range) { return range < 0 ? 0 : UINT64_C(1) << range; }

/* ---- which instructions are the same */

/* The range of its stage that i depends on, or -1. */
static int keep_range(const c_keep *k, const bi_code *code, int32_t i) {
  uint64_t own = code->ins[i].ranges & k->lanes;
  return own && !(own & (own - 1)) ? __builtin_ctzll(own) : -1;
}

/* Rows are the same if they step alike, each with the range of its own stage. */
static bool keep_same_row(const bi_code *code, int32_t i, int ri, int32_t j, int rj) {
  const int64_t *a = bi_row(code, code->row_of[i]), *b = bi_row(code, code->row_of[j]);
  for (int k = 0; k <= code->nranges; k++)
    if (k != ri && k != rj && a[k] != b[k]) return false;
  return a[ri] == b[rj] && (ri == rj || (a[rj] == 0 && b[ri] == 0));
}

static bool keep_same_operand(const c_keep *k, const bi_code *code, int32_t i, int32_t j, int s) {
  int32_t x = code->ins[i].src[s], y = code->ins[j].src[s];
  if (x < 0 || y < 0) return x == y;
  if (k->first[x] == k->first[y]) return true;
  bool rows = code->row_of[x] >= 0 && code->row_of[y] >= 0;
  int ri = keep_range(k, code, i), rj = keep_range(k, code, j);
  return rows && keep_same_row(code, x, ri, y, rj);
}

static bool keep_same(const c_keep *k, const bi_code *code, int32_t i, int32_t j) {
  const tg_ins *a = &code->ins[i], *b = &code->ins[j];
  int ri = keep_range(k, code, i), rj = keep_range(k, code, j);
  if (a->op != b->op || a->dtype != b->dtype || a->slot != b->slot || rj < 0) return false;
  if (code->range[ri].size != code->range[rj].size) return false;
  if ((a->ranges & ~keep_bit(ri)) != (b->ranges & ~keep_bit(rj))) return false;
  for (int s = 0; s < 3; s++)
    if (!keep_same_operand(k, code, i, j, s)) return false;
  return a->op != TG_OP_CHECK || a->value.i == b->value.i;
}

static void keep_number(c_keep *k, const bi_code *code, const bool *needed) {
  for (int32_t i = 0; i < code->count; i++) {
    const tg_ins *in = &code->ins[i];
    k->first[i] = i;
    bool value = in->op != TG_OP_REDUCE && !bi_is_store(in->op) && code->row_of[i] < 0;
    if (!needed[i] || !value || keep_range(k, code, i) < 0) continue;
    for (int32_t j = 0; j < i && k->first[i] == i; j++)
      if (needed[j] && k->first[j] == j && keep_same(k, code, i, j)) k->first[i] = j;
  }
}

/* ---- which are kept */

static bool keep_float(tg_dtype dtype) { return dtype == TG_FLOAT32 || dtype == TG_FLOAT64; }

/* A row for the values of instruction i; false: there is no room. */
static bool keep_row(c_keep *k, const bi_code *code, int32_t i, int range) {
  int64_t bytes = code->range[range].size * tg_dtype_size(code->ins[i].dtype);
  bytes = (bytes + 127) & ~INT64_C(63); /* and a vector beyond */
  if (k->rows == C_KEPT || k->bytes + bytes > KEEP_BYTES) return false;
  k->at[k->rows] = k->bytes;
  k->dtype[k->rows] = code->ins[i].dtype;
  k->bytes += bytes;
  k->row[k->first[i]] = (int8_t)++k->rows;
  return true;
}

/* What it costs to have i at each position of the stage. */
static double keep_cost(const c_keep *k, const bi_code *code, int32_t i, int range) {
  const tg_ins *in = &code->ins[i];
  if (!(in->ranges & keep_bit(range)) || code->row_of[i] >= 0) return 0;
  if (in->op == TG_OP_LOAD || k->given[i]) return KEEP_MOVE;
  double cost = 0.25 * (tg_op_table[in->op].cost + 0.5);
  for (int s = 0; s < 3; s++)
    if (in->src[s] >= 0) cost += k->cost[in->src[s]];
  return cost;
}

/* Of what the stage at hand needs, and an earlier one has, is i worth a row? */
static bool keep_worth(const c_keep *k, const bi_code *code, int32_t i, int range) {
  const tg_ins *in = &code->ins[i];
  bool earlier = k->stage[k->first[i]] >= 0 && k->stage[k->first[i]] < k->now;
  return earlier && !k->row[k->first[i]] && range >= 0 && keep_range(k, code, i) == range &&
         keep_float(in->dtype) && k->cost[i] > 4 * (float)KEEP_MOVE;
}

static void keep_mark(const c_keep *k, const bi_code *code, const int32_t *root, int count,
                      bool *live) {
  memset(live, 0, (size_t)code->count);
  for (int r = 0; r < count; r++) tg_c_mark(code, root[r], k->given, live);
}

void tg_c_keep_enter(c_keep *k, const bi_code *code, int stage) {
  k->now = stage;
  for (int32_t i = 0; i < code->count; i++) {
    int32_t first = k->first[i];
    k->given[i] = k->row[first] && k->stage[first] < stage;
  }
}

void tg_c_keep_stage(c_keep *k, const bi_code *code, int stage, int range, const int32_t *root,
                     int count, bool *live) {
  tg_c_keep_enter(k, code, stage);
  keep_mark(k, code, root, count, live);
  for (int32_t i = 0; i < code->count; i++)
    k->cost[i] = live[i] ? (float)keep_cost(k, code, i, range) : 0;
  for (int32_t i = code->count - 1; i >= 0; i--) {
    if (!live[i] || !keep_worth(k, code, i, range) || !keep_row(k, code, i, range)) continue;
    k->given[i] = true;
    keep_mark(k, code, root, count, live);
  }
  for (int32_t i = 0; i < code->count; i++)
    if (live[i] && !k->given[i] && k->stage[k->first[i]] < 0)
      k->stage[k->first[i]] = (int8_t)stage;
}

/* ---- its memory */

bool tg_c_keep_new(c_keep *k, const bi_code *code, const bool *needed, uint64_t lanes) {
  size_t count = (size_t)code->count + 1;
  *k = (c_keep){.lanes = lanes};
  k->first = tg_alloc(count * (sizeof *k->first + sizeof *k->cost));
  k->row = tg_alloc_zero(count * 3);
  if (!k->first || !k->row) {
    tg_c_keep_free(k);
    return false;
  }
  k->cost = (float *)(k->first + count);
  k->stage = k->row + count;
  k->given = (bool *)(k->stage + count);
  memset(k->stage, -1, count);
  keep_number(k, code, needed);
  return true;
}

void tg_c_keep_free(c_keep *k) {
  tg_free(k->first);
  tg_free(k->row);
  memset(k, 0, sizeof *k);
}

/* ---- writing */

void tg_c_keep_pointers(c_render *r, int64_t own) {
  for (int row = 0; row < r->keep->rows; row++) {
    const char *type = tg_c_type(r->keep->dtype[row]);
    tg_c_line(r, "%s *const kept%d = (%s *)(call->own + %lld);", type, row, type,
              (long long)(own + r->keep->at[row]));
  }
}

bool tg_c_keep_loads(const c_render *r, int32_t i) { return r->keep && r->keep->given[i]; }

int tg_c_keep_row(const c_render *r, int32_t i) {
  const c_keep *k = r->keep;
  int32_t first = k ? k->first[i] : 0;
  return k && k->row[first] && k->stage[first] <= k->now ? k->row[first] - 1 : -1;
}
