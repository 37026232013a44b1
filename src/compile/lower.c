/* compile/lower: the stored nodes of a group become one kernel.
 *
 * Lowering pulls. It gives the result a loop per axis, which the members of a nest
 * share, and asks for the value at those positions; each op answers by asking its
 * operands, a movement op for another position: that is all that is left of movement.
 * Positions are index instructions, so the simplifier sees them; a reduction asks with
 * fresh FOLD ranges in place of the axes it folds.
 *
 * A PAD or UNWINDOW answers 0 at some positions, and its operand must not even
 * be read there. So a request carries a gate, the condition under which the
 * answer matters; loads and checks of indices take it over.
 *
 * float16 and bfloat16 end here: what is computed of them is computed in float32 and
 * rounded by a CAST, op by op, as if each result went through memory. So no value
 * depends on which ops share a kernel. A sum is rounded at its end.
 *
 * The same node asked for at the same position is lowered once (the memo):
 * without it x + x, fifty times over, would cost 2^50. The recursion is as deep
 * as the expression, which the scheduler has bounded.
 */
#include "compile/build.h"
#include "compile/schedule.h"
#include "graph/node.h"

#include <stdio.h>

typedef struct request {
  int32_t entry, gate;
  int32_t index[TG_MAX_DIMS];
} request;

typedef struct memo_row {
  request key;
  int32_t result;
} memo_row;

/* FOLD ranges that reduces of one stage share. */
typedef struct fold_set {
  int32_t stage;
  int count;
  int64_t size[TG_MAX_DIMS];
  int32_t at[TG_MAX_DIMS]; /* RANGE instructions */
} fold_set;
#define FOLD_SETS 8

typedef struct lowering {
  tg_builder b;
  const tg_graph *graph;
  const tg_groups *groups;
  tg_lowered *out;
  int32_t number; /* of the kernel */
  int32_t base;   /* of the nest at work, and where in it */
  int32_t at[TG_MAX_DIMS];
  fold_set folds[FOLD_SETS]; /* of the nest */
  int nfolds;
  bool checks;    /* there is a CHECK */
  memo_row *memo;
  int64_t memo_count, memo_room;
  int64_t *table;
  int64_t table_size;
} lowering;

static int32_t lower(lowering *l, int32_t entry, const int32_t *index, int32_t gate);

/* ---- the memo */

static uint64_t hash_request(const request *r) { return tg_hash(TG_HASH_SEED, r, sizeof *r); }

static int64_t *memo_find(lowering *l, const request *r) {
  uint64_t mask = (uint64_t)(l->table_size - 1), h = hash_request(r);
  while (l->table[h & mask] && memcmp(&l->memo[l->table[h & mask] - 1].key, r, sizeof *r)) h++;
  return &l->table[h & mask];
}

static bool memo_grow(lowering *l) {
  int64_t *old = l->table, size = l->table_size ? l->table_size * 2 : 64;
  int64_t *table = tg_alloc_zero((size_t)size * sizeof *table);
  if (!table) return false;
  l->table = table;
  l->table_size = size;
  for (int64_t i = 0; i < l->memo_count; i++) *memo_find(l, &l->memo[i].key) = i + 1;
  tg_free(old);
  return true;
}

static void memo_add(lowering *l, const request *r, int32_t result) {
  if (!tg_reserve((void **)&l->memo, &l->memo_room, l->memo_count, sizeof *l->memo) ||
      (2 * l->memo_count >= l->table_size && !memo_grow(l))) {
    l->b.failed = true;
    return;
  }
  l->memo[l->memo_count] = (memo_row){*r, result};
  int64_t *place = memo_find(l, r);
  *place = ++l->memo_count;
}

/* ---- memory */

static int32_t add_slot(lowering *l, int32_t entry) {
  const tg_node *n = l->graph->entry[entry].node;
  if (!tg_reserve((void **)&l->out->inputs, &l->out->input_room, l->b.kernel->nslots,
                  sizeof *l->out->inputs)) {
    l->b.failed = true;
    return 0;
  }
  l->out->inputs[l->b.kernel->nslots] = entry;
  return tg_ir_slot(&l->b, n->dtype, n->numel);
}

static int32_t slot_of(lowering *l, int32_t entry) {
  for (int32_t i = l->b.kernel->noutputs; i < l->b.kernel->nslots; i++)
    if (l->out->inputs[i] == entry) return i;
  return add_slot(l, entry);
}

/* The row-major position of index[0 .. ndim-1]. */
static int32_t flat(lowering *l, const tg_node *n, const int32_t *index) {
  int32_t at = tg_ir_int(&l->b, 0);
  int64_t stride = 1;
  for (int i = n->ndim - 1; i >= 0; i--) {
    at = tg_ix_add(&l->b, at, tg_ix_mul(&l->b, index[i], stride));
    stride *= tg_node_shape(n)[i];
  }
  return at;
}

/* ---- movement: from a position in the result to one in the operand */

/* Groups of axes with equal products map onto each other, so that axes a
 * reshape does not touch stay as they are. */
static void index_reshape(lowering *l, const tg_node *from, const tg_node *to, const int32_t *index,
                          int32_t *out) {
  const int64_t *f = tg_node_shape(from), *t = tg_node_shape(to);
  int i = from->ndim, j = to->ndim;
  while (i > 0 || j > 0) {
    int64_t fp = i > 0 ? f[--i] : 1, tp = 1;
    int first = i, last = i; /* operand axes of this group */
    int32_t at = tg_ir_int(&l->b, 0);
    while (fp != tp || (i == 0 && j > 0) || (j > 0 && t[j - 1] == 1)) {
      if (tp < fp || (fp == tp && j > 0)) {
        j--;
        at = tg_ix_add(&l->b, at, tg_ix_mul(&l->b, index[j], tp));
        tp *= t[j];
      } else {
        first = --i;
        fp *= f[i];
      }
    }
    for (int a = last; a >= first && from->ndim; a--) {
      out[a] = a > first ? tg_ix_mod(&l->b, at, f[a]) : at;
      at = tg_ix_div(&l->b, at, f[a]);
    }
  }
}

/* low <= x < high, as far as it is not certain. */
static int32_t inside(lowering *l, int32_t x, int64_t low, int64_t high) {
  int32_t above = tg_ix_less(&l->b, tg_ir_int(&l->b, low - 1), x);
  return tg_ir_and(&l->b, above, tg_ix_less(&l->b, x, tg_ir_int(&l->b, high)));
}

/* Fills `out` with the operand's position; returns the condition under which
 * the operand is what counts, or -1 for always. */
static int32_t index_move(lowering *l, const tg_node *n, const int32_t *index, int32_t *out) {
  const tg_node *x = n->src[0];
  const int64_t *arg = tg_node_args(n), *shape = tg_node_shape(x);
  tg_builder *b = &l->b;
  int32_t valid = -1;
  switch ((int)n->op) {
    case TG_OP_RESHAPE: index_reshape(l, x, n, index, out); break;
    case TG_OP_EXPAND:
      for (int i = 0; i < n->ndim; i++) out[i] = shape[i] == 1 ? tg_ir_int(b, 0) : index[i];
      break;
    case TG_OP_PERMUTE:
      for (int i = 0; i < n->ndim; i++) out[arg[i]] = index[i];
      break;
    case TG_OP_PAD:
      for (int i = 0; i < n->ndim; i++) {
        out[i] = tg_ix_add(b, index[i], tg_ir_int(b, -arg[2 * i]));
        valid = tg_ir_and(b, valid, inside(l, out[i], 0, shape[i]));
      }
      break;
    case TG_OP_SHRINK:
      for (int i = 0; i < n->ndim; i++) out[i] = tg_ix_add(b, index[i], tg_ir_int(b, arg[2 * i]));
      break;
    case TG_OP_FLIP:
      for (int i = 0; i < n->ndim; i++)
        out[i] = arg[i] ? tg_ix_add(b, tg_ix_mul(b, index[i], -1), tg_ir_int(b, shape[i] - 1))
                        : index[i];
      break;
    case TG_OP_WINDOW:
      for (int i = 0; i < x->ndim; i++) out[i] = index[i];
      out[arg[0]] = tg_ix_add(b, tg_ix_mul(b, index[arg[0]], arg[2]),
                              tg_ix_mul(b, index[x->ndim], arg[3]));
      break;
    case TG_OP_UNWINDOW: {
      for (int i = 0; i < x->ndim; i++) out[i] = index[i];
      int32_t at = tg_ix_add(b, index[arg[0]], tg_ix_mul(b, index[n->ndim - 1], -arg[3]));
      valid = inside(l, at, 0, shape[arg[0]] * arg[2]);
      if (arg[2] > 1)
        valid = tg_ir_and(b, valid, tg_ir_alu(b, TG_OP_CMPEQ, TG_BOOL, tg_ix_mod(b, at, arg[2]),
                                              tg_ir_int(b, 0), -1));
      out[arg[0]] = tg_ix_div(b, at, arg[2]);
      break;
    }
  }
  return valid;
}

static int32_t lower_move(lowering *l, const tg_entry *e, const int32_t *index, int32_t gate) {
  int32_t at[TG_MAX_DIMS] = {0};
  int32_t valid = index_move(l, e->node, index, at);
  if (l->b.failed) return 0;
  if (valid < 0 || tg_ins_is_int(&l->b, valid, 1)) return lower(l, e->src[0], at, gate);
  int32_t zero = tg_ir_const(&l->b, e->node->dtype, (tg_value){0});
  if (tg_ins_is_int(&l->b, valid, 0)) return zero;
  int32_t both = tg_ir_and(&l->b, gate, valid);
  int32_t x = lower(l, e->src[0], at, both);
  if (l->b.failed) return 0;
  const tg_ins *in = tg_ins_at(&l->b, x);
  if (in->op == TG_OP_LOAD && in->src[1] == both) return x; /* a gated load is 0 already */
  return tg_ir_alu(&l->b, TG_OP_WHERE, e->node->dtype, valid, x, zero);
}

/* ---- everything else */

static int32_t convert(lowering *l, tg_dtype dtype, int32_t x) {
  return l->b.failed ? 0 : tg_ir_alu(&l->b, TG_OP_CAST, dtype, x, -1, -1);
}

/* The sum or maximum over the axes of e, `set` for their positions. */
static int32_t lower_fold(lowering *l, const tg_entry *e, const int32_t *index, int32_t gate,
                          const fold_set *set) {
  const tg_node *n = e->node;
  int32_t at[TG_MAX_DIMS] = {0};
  uint64_t folded = 0;
  for (int i = 0, k = 0; i < n->ndim; i++) {
    at[i] = index[i];
    if (!(tg_node_args(n)[0] >> i & 1)) continue;
    at[i] = set->at[k++];
    folded |= tg_ins_at(&l->b, at[i])->ranges;
  }
  int32_t value = lower(l, e->src[0], at, gate);
  if (n->op != TG_OP_SUM) return tg_ir_reduce(&l->b, TG_OP_MAX, value, folded);
  value = convert(l, tg_dtype_wide(n->dtype), value);
  return convert(l, n->dtype, tg_ir_reduce(&l->b, TG_OP_ADD, value, folded));
}

/* Does instruction i fold just the ranges of the set? Sets that overlap without
 * being equal are against the rules. */
static bool folds_set(const lowering *l, int32_t i, const fold_set *set) {
  const tg_ins *in = tg_ins_at(&l->b, i);
  uint64_t ranges = 0;
  if (in->op == TG_OP_CAST) in = tg_ins_at(&l->b, in->src[0]);
  for (int k = 0; k < set->count; k++) ranges |= tg_ins_at(&l->b, set->at[k])->ranges;
  return in->op == TG_OP_REDUCE && in->folded == ranges;
}

/* Marks all that instruction i is computed from, itself too; to be freed. NULL: failed. */
static bool *mark_below(lowering *l, int32_t i) {
  bool *below = tg_alloc_zero((size_t)i + 1);
  if (!below) {
    l->b.failed = true;
    return NULL;
  }
  below[i] = true;
  for (int32_t n = i; n >= 0; n--)
    for (int s = 0; below[n] && s < 3; s++)
      if (tg_ins_at(&l->b, n)->src[s] >= 0) below[tg_ins_at(&l->b, n)->src[s]] = true;
  return below;
}

/* Does reduce i need another one that folds the same ranges? Then it cannot share its
 * loop. (Its stage does not say so where a member of the nest is computed again.) */
static bool folds_twice(lowering *l, int32_t i) {
  if (tg_ins_at(&l->b, i)->op == TG_OP_CAST) i = tg_ins_at(&l->b, i)->src[0];
  uint64_t folded = tg_ins_at(&l->b, i)->folded;
  bool *below = mark_below(l, i), twice = !below;
  for (int32_t n = 0; below && n < i; n++) {
    const tg_ins *in = tg_ins_at(&l->b, n);
    twice = twice || (below[n] && in->op == TG_OP_REDUCE && in->folded & folded);
  }
  tg_free(below);
  return twice;
}

/* Reduces of the same rows and stage do not depend on one another: where their
 * rows have the same axes they share a loop. */
static int32_t lower_reduce(lowering *l, const tg_entry *e, const int32_t *index, int32_t gate) {
  const tg_node *n = e->node;
  bool shares = e->by_row || l->groups->one_pass[l->base];
  fold_set set = {.stage = shares ? e->stage : -1};
  for (int i = 0; i < n->ndim; i++)
    if (tg_node_args(n)[0] >> i & 1) set.size[set.count++] = tg_node_shape(n->src[0])[i];
  for (int f = 0; f < l->nfolds && shares; f++) {
    const fold_set *known = &l->folds[f];
    if (known->stage != set.stage || known->count != set.count ||
        memcmp(known->size, set.size, sizeof set.size))
      continue;
    int32_t shared = lower_fold(l, e, index, gate, known);
    if (l->b.failed || (folds_set(l, shared, known) && !folds_twice(l, shared))) return shared;
  }
  for (int i = 0; i < set.count; i++) set.at[i] = tg_ir_range(&l->b, set.size[i], TG_FOLD);
  int32_t result = lower_fold(l, e, index, gate, &set);
  if (l->b.failed || !folds_set(l, result, &set)) return result;
  if (shares && l->nfolds < FOLD_SETS) l->folds[l->nfolds++] = set;
  return result;
}

/* The row that an index tensor names, checked where the answer matters. */
static int32_t lower_row(lowering *l, int32_t entry, const int32_t *index, int32_t gate,
                         int64_t rows) {
  int32_t row = lower(l, entry, index, gate), zero = tg_ir_int(&l->b, 0);
  if (l->b.failed) return 0;
  bool certain = tg_ins_at(&l->b, row)->low >= 0 && tg_ins_at(&l->b, row)->high < rows;
  if (gate >= 0 && !certain)
    row = tg_ir_alu(&l->b, TG_OP_WHERE, TG_INT64, gate, row, zero);
  l->checks = l->checks || !certain;
  return tg_ir_check(&l->b, row, rows);
}

/* A CHECK below `from` that x is not computed from; -1: none. Not one inside a sum or a
 * maximum of which nothing is left: its positions are not gone through. */
static int32_t lost_check(lowering *l, int32_t from, int32_t x) {
  int32_t lost = -1;
  if (l->b.failed || !l->checks || from < 0 || from == x) return -1;
  uint64_t ranges = tg_ins_at(&l->b, from)->ranges;
  for (int s = 0; s < 3; s++)
    if (tg_ins_at(&l->b, x)->src[s] == from) return -1;
  bool *in_from = mark_below(l, from), *in_x = mark_below(l, x);
  for (int32_t n = 0; in_from && in_x && n <= from && lost < 0; n++)
    if (in_from[n] && tg_ins_at(&l->b, n)->op == TG_OP_CHECK && (n > x || !in_x[n]) &&
        !(tg_ins_at(&l->b, n)->ranges & ~ranges))
      lost = n;
  tg_free(in_from);
  tg_free(in_x);
  return lost;
}

/* x, which was made of `from` and must not have lost checks though it does not need what
 * they look at (a row of a constant, t * 0, t - t): WHERE(check == -1, another constant,
 * x), and a check is never -1. */
static int32_t keep_checks(lowering *l, int32_t from, int32_t x) {
  for (int32_t check; (check = lost_check(l, from, x)) >= 0 && !l->b.failed;) {
    tg_dtype dtype = tg_ins_at(&l->b, x)->dtype;
    int32_t never = tg_ir_alu(&l->b, TG_OP_CMPEQ, TG_BOOL, check, tg_ir_int(&l->b, -1), -1);
    int32_t other = tg_ir_const(&l->b, dtype, tg_value_of(dtype, 0));
    if (other == x) other = tg_ir_const(&l->b, dtype, tg_value_of(dtype, 1));
    x = tg_ir_alu(&l->b, TG_OP_WHERE, dtype, never, other, x);
  }
  return x;
}

static int32_t lower_gather(lowering *l, const tg_entry *e, const int32_t *index, int32_t gate) {
  const tg_node *x = e->node->src[0], *y = e->node->src[1];
  int32_t at[TG_MAX_DIMS] = {0};
  at[0] = lower_row(l, e->src[1], index, gate, tg_node_shape(x)[0]);
  for (int i = 1; i < x->ndim; i++) at[i] = index[y->ndim + i - 1];
  return keep_checks(l, at[0], lower(l, e->src[0], at, gate));
}

/* Ops whose result is one of the values they get, or its negative, or says how to cast. */
static bool rounds_never(tg_op op) {
  return op == TG_OP_CAST || op == TG_OP_BITCAST || op == TG_OP_NEG || op == TG_OP_TRUNC ||
         op == TG_OP_MAX || op == TG_OP_WHERE;
}

/* In the 16-bit floats an operation is one in float32, rounded. */
static int32_t lower_rounded(lowering *l, tg_op op, tg_dtype dtype, int32_t x, int32_t y) {
  tg_dtype wide = tg_dtype_wide(dtype);
  x = convert(l, wide, x);
  if (y >= 0) y = convert(l, wide, y);
  return convert(l, dtype, l->b.failed ? 0 : tg_ir_alu(&l->b, op, wide, x, y, -1));
}

static int32_t lower_alu(lowering *l, const tg_entry *e, const int32_t *index, int32_t gate) {
  int32_t x[3] = {-1, -1, -1}, out;
  for (int i = 0; i < tg_node_arity(e->node); i++) x[i] = lower(l, e->src[i], index, gate);
  tg_op op = e->node->op;
  tg_dtype dtype = e->node->dtype;
  if (op == TG_OP_CONTIGUOUS || op == TG_OP_COPY) return x[0];
  bool rounds = tg_dtype_wide(dtype) != dtype && !rounds_never(op);
  if (rounds) out = lower_rounded(l, op, dtype, x[0], x[1]);
  else out = tg_ir_alu(&l->b, op, dtype, x[0], x[1], x[2]);
  for (int i = 0; i < 3; i++) out = keep_checks(l, x[i], out);
  return out;
}

/* A position that is inside anyway needs no gate; without one the operand of a
 * product does not seem to depend on the ranges of the other's padding. */
static int32_t lower_load(lowering *l, int32_t entry, const int32_t *index, int32_t gate) {
  const tg_node *n = l->graph->entry[entry].node;
  int32_t at = flat(l, n, index), slot = slot_of(l, entry);
  if (l->b.failed) return 0;
  const tg_ins *in = tg_ins_at(&l->b, at);
  bool certain = in->low >= 0 && in->high < n->numel;
  return tg_ir_load(&l->b, slot, at, certain ? -1 : gate);
}

static int32_t lower_op(lowering *l, int32_t entry, const int32_t *index, int32_t gate) {
  const tg_entry *e = &l->graph->entry[entry];
  const tg_node *n = e->node;
  if (n->op == TG_OP_CONST) return tg_ir_const(&l->b, n->dtype, n->value);
  if (n->op == TG_OP_IOTA) return index[tg_node_args(n)[0]];
  if (n->op == TG_OP_BUFFER || (e->stored && l->groups->of[entry] != l->number))
    return lower_load(l, entry, index, gate);
  switch (tg_op_table[n->op].class) {
    case TG_CLASS_MOVE: return lower_move(l, e, index, gate);
    case TG_CLASS_REDUCE: return lower_reduce(l, e, index, gate);
    case TG_CLASS_INDEX: return lower_gather(l, e, index, gate);
    case TG_CLASS_LOAD: case TG_CLASS_UNARY: case TG_CLASS_BINARY: case TG_CLASS_TERNARY:
    case TG_CLASS_IR: break;
  }
  return lower_alu(l, e, index, gate);
}

static int32_t lower(lowering *l, int32_t entry, const int32_t *index, int32_t gate) {
  if (l->b.failed) return 0;
  request r = {entry, gate, {0}};
  for (int i = 0; i < l->graph->entry[entry].node->ndim; i++) r.index[i] = index[i];
  int64_t found = *memo_find(l, &r);
  if (found) return l->memo[found - 1].result;
  int32_t result = lower_op(l, entry, r.index, gate);
  memo_add(l, &r, result);
  return result;
}

/* ---- kernels */

/* Loops over the axes of the nest's base. */
static void begin_nest(lowering *l, int32_t base) {
  const tg_node *n = l->graph->entry[base].node;
  l->base = base;
  l->nfolds = 0;
  for (int i = 0; i < n->ndim; i++) l->at[i] = tg_ir_range(&l->b, tg_node_shape(n)[i], TG_LOOP);
}

/* What is stored at the nest's position, to the slot of the member's number. */
static void lower_store(lowering *l, int32_t slot, int32_t entry) {
  const tg_entry *e = &l->graph->entry[entry];
  int32_t index[TG_MAX_DIMS] = {0};
  if (l->groups->base[entry] != l->base) begin_nest(l, l->groups->base[entry]);
  index_reshape(l, e->node, l->graph->entry[l->base].node, l->at, index);
  int32_t value = lower(l, e->node->op == TG_OP_SCATTER ? e->src[0] : entry, index, -1);
  if (!l->b.failed) tg_ir_store(&l->b, TG_OP_STORE, slot, flat(l, e->node, index), value);
}

static void lower_scatter(lowering *l, int32_t entry) {
  const tg_entry *e = &l->graph->entry[entry];
  const tg_node *n = e->node, *y = n->src[1], *z = n->src[2];
  int32_t index[TG_MAX_DIMS] = {0}, at[TG_MAX_DIMS] = {0};
  for (int i = 0; i < z->ndim; i++)
    index[i] = tg_ir_range(&l->b, tg_node_shape(z)[i], i < y->ndim ? TG_SERIAL : TG_LOOP);
  at[0] = lower_row(l, e->src[1], index, -1, tg_node_shape(n)[0]);
  for (int i = 1; i < n->ndim; i++) at[i] = index[y->ndim + i - 1];
  int32_t value = lower(l, e->src[2], index, -1);
  if (l->b.failed) return;
  tg_op op = tg_node_args(n)[0] ? TG_OP_STORE_ADD : TG_OP_STORE;
  tg_ir_store(&l->b, op, 0, flat(l, n, at), value);
}

/* "sum_128_10": the op that names the kernel, and the shape it makes; "sum_128_10_x4"
 * with so many stores. */
static void name_kernel(tg_kernel *k, const tg_node *n) {
  const char *op = "map";
  int reduces = 0;
  for (int32_t i = 0; i < k->count && k->ins[i].op != TG_OP_STORE; i++)
    if (k->ins[i].op == TG_OP_REDUCE && ++reduces)
      op = k->ins[i].fold == TG_OP_ADD ? "sum" : "max";
  if (reduces > 1) op = "rows";
  if (n->op == TG_OP_SCATTER) op = "scatter";
  int at = snprintf(k->name, sizeof k->name, "%s", op);
  for (int i = 0; i < n->ndim && at < (int)sizeof k->name - 32; i++)
    at += snprintf(k->name + at, sizeof k->name - (size_t)at, "_%lld",
                   (long long)tg_node_shape(n)[i]);
  if (k->noutputs > 1) snprintf(k->name + at, sizeof k->name - (size_t)at, "_x%d", k->noutputs);
}

/* Arithmetic on floats, over all positions it is done for. */
static void count_flops(tg_kernel *k) {
  double flops = 0;
  for (int32_t i = 0; i < k->count; i++) {
    const tg_ins *in = &k->ins[i];
    bool counts = tg_dtype_is_float(in->dtype) && (tg_op_is_alu(in->op) || in->op == TG_OP_REDUCE);
    if (!counts || in->op == TG_OP_CAST || in->op == TG_OP_WHERE) continue;
    uint64_t ranges = in->ranges | in->folded;
    double n = 1;
    for (int r = 0; r < k->nranges; r++)
      if (ranges >> r & 1) n *= (double)k->range[r].size;
    flops += n;
  }
  k->flops = flops < 9e18 ? (int64_t)flops : INT64_MAX;
}

/* The graph ops the kernel came from, outermost first: "ADD (2, 3) < SUM (2, 1)". */
static char *origin_text(const lowering *l) {
  size_t room = 1024;
  char *text = tg_alloc(room);
  if (!text) return NULL;
  size_t at = 0;
  text[0] = 0;
  for (int64_t i = l->memo_count - 1; i >= 0 && at < room - 128; i--) {
    const tg_node *n = l->graph->entry[l->memo[i].key.entry].node;
    bool seen = false;
    for (int64_t j = i + 1; j < l->memo_count && !seen; j++)
      seen = l->memo[j].key.entry == l->memo[i].key.entry;
    if (seen || n->op == TG_OP_CONST) continue;
    at += (size_t)snprintf(text + at, room - at, "%s%s %.100s", at ? " < " : "",
                           tg_op_table[n->op].name, tg_shape_text(tg_node_shape(n), n->ndim));
  }
  return text;
}

static void lower_all(lowering *l, int part) {
  const int32_t *member = l->groups->member + l->groups->first[l->number];
  int32_t count = (int32_t)(l->groups->first[l->number + 1] - l->groups->first[l->number]);
  for (int32_t m = 0; m < count; m++) add_slot(l, member[m]);
  if (l->b.failed) return;
  l->b.kernel->noutputs = count;
  for (int32_t m = 0; m < count && !part; m++) lower_store(l, m, member[m]);
  if (part) lower_scatter(l, member[0]);
  if (l->b.failed) return;
  if (tg_debug() >= 3) l->b.kernel->origin = origin_text(l);
}

static tg_kernel *lower_kernel(const tg_graph *graph, const tg_groups *groups, int64_t kernel,
                               int part, bool exact, tg_lowered *out) {
  lowering l = {.graph = graph, .groups = groups, .out = out, .number = (int32_t)kernel,
                .base = -1};
  if (tg_builder_begin(&l.b, exact) && memo_grow(&l)) lower_all(&l, part);
  else l.b.failed = true;
  tg_kernel *made = tg_builder_end(&l.b);
  if (made) {
    name_kernel(made, graph->entry[groups->member[groups->first[kernel]]].node);
    count_flops(made);
  }
  tg_free(l.memo);
  tg_free(l.table);
  if (made && tg_kernel_verify(made) == 0) return made;
  tg_kernel_free(made);
  return NULL;
}

static bool assumes(const tg_kernel *k) {
  for (int32_t s = 0; s < k->nslots; s++)
    if (k->slot[s].finite) return true;
  return false;
}

/* The twin asks for memory in the same order, and so has the same slots. */
int tg_lower(const tg_graph *graph, const tg_groups *groups, int64_t kernel, int part,
             tg_lowered *out) {
  memset(out, 0, sizeof *out);
  out->kernel = lower_kernel(graph, groups, kernel, part, false, out);
  bool twin = out->kernel && assumes(out->kernel);
  if (twin) out->exact = lower_kernel(graph, groups, kernel, part, true, out);
  if (out->kernel && (out->exact || !twin)) return 0;
  tg_kernel_free(out->kernel);
  tg_free(out->inputs);
  memset(out, 0, sizeof *out);
  return -1;
}
