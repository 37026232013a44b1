/* compile/rows: which reductions may stay in the kernel of what follows them.
 *
 * A softmax folds each row to its maximum, expands that back over the row, folds
 * again, expands again. While a row is in the cache it costs little to go over it
 * several times, and much to write results of its length to memory in between.
 * So where a reduce's result is expanded back over just the axes that were folded,
 * the reduce may be a stage of its user's kernel: the kernel has a loop per row,
 * and in it one pass over the row for each stage.
 *
 * What is computed once per element is computed again in each pass, what is
 * computed once per row is not. Both kinds are told apart by spaces, which count
 * the places where a node is needed: users of a node at the same loop level and
 * positions share one evaluation. A kernel about rows has a pair of spaces, one for
 * the elements and one for what there is once per row: a reduce leads from the
 * latter to the former, an expansion back. All other reduces evaluate their operand
 * in a space of their own, so do movement to other positions, and every stored node.
 * A node needed in two spaces is shared, and schedule.c decides what becomes of it.
 *
 * For that the loops of a kernel must follow the rows: between the kernel's result
 * and its reduces no reshape may mix the axes of a row with the others. First,
 * operands before users, each node learns whose rows it is about; then, users before
 * operands, each gets its spaces.
 */
#include "compile/schedule.h"

/* Bytes of a row that stays in the second cache; rows at least, unless all is small.
 * A row in several pieces far apart (a channel of many images) takes more lines and
 * pages than its bytes, and each pass waits for them anew: it counts as so much longer. */
enum { NO_ROWS = -2, ROW_BYTES = 1 << 18, ROW_LEAST = 8, ROW_SMALL = 1 << 14, ROW_LANES = 64,
       ROW_PIECES = 8 };

/* ---- the shape of rows: axes folded and kept, neighbours of one kind as one */

typedef struct row_shape {
  int count;
  int64_t size[TG_MAX_DIMS];
  bool folded[TG_MAX_DIMS];
} row_shape;

static void row_shape_add(row_shape *out, int64_t size, bool folded) {
  if (size == 1) return;
  if (out->count && out->folded[out->count - 1] == folded) {
    out->size[out->count - 1] *= size;
    return;
  }
  out->size[out->count] = size;
  out->folded[out->count++] = folded;
}

/* Of a reduce: what it folds; of an expansion: what it expands over. */
static row_shape row_shape_of(const tg_node *n) {
  row_shape out = {0};
  const int64_t *small = tg_node_shape(n), *wide = tg_node_shape(n->src[0]);
  bool reduce = tg_op_table[n->op].class == TG_CLASS_REDUCE;
  for (int i = 0; i < n->ndim; i++) {
    bool folded = reduce ? tg_node_args(n)[0] >> i & 1 : small[i] != wide[i];
    row_shape_add(&out, reduce ? wide[i] : small[i], folded);
  }
  return out;
}

bool tg_schedule_same_rows(const tg_node *a, const tg_node *b) {
  row_shape x = row_shape_of(a), y = row_shape_of(b);
  bool same = x.count == y.count;
  for (int i = 0; same && i < x.count; i++)
    same = x.size[i] == y.size[i] && x.folded[i] == y.folded[i];
  return same;
}

/* Is there a seam between two axes wherever the rows have one? */
static bool row_seams(const row_shape *rows, const tg_node *n) {
  int axis = n->ndim;
  int64_t mine = 1, theirs = 1;
  for (int i = rows->count - 1; i >= 0; i--) {
    theirs *= rows->size[i];
    while (axis > 0 && mine < theirs) mine *= tg_node_shape(n)[--axis];
    if (mine != theirs) return false;
  }
  return true;
}

bool tg_schedule_rows_seam(const tg_node *reduce, const tg_node *node) {
  row_shape rows = row_shape_of(reduce);
  return row_seams(&rows, node);
}

bool tg_schedule_rows_fit(const tg_node *reduce, int64_t loads) {
  row_shape rows = row_shape_of(reduce);
  const tg_node *x = reduce->src[0];
  int64_t length = 1, numel = x->numel, beside = 1, pieces = 0;
  for (int i = 0; i < rows.count; i++)
    if (rows.folded[i]) length *= rows.size[i], pieces++;
  if (rows.count && !rows.folded[rows.count - 1]) beside = rows.size[rows.count - 1];
  if (beside > ROW_LANES) beside = ROW_LANES; /* such rows are gone over side by side */
  if (numel / length < ROW_LEAST && numel > ROW_SMALL) return false;
  if (pieces > 1) beside *= ROW_PIECES;
  return length <= ROW_BYTES / (beside * loads * tg_dtype_size(x->dtype));
}

/* ---- whose rows: operands before users */

bool tg_schedule_is_memory(const tg_entry *e) {
  tg_op op = e->node->op;
  return e->target || e->node->numel == 0 || op == TG_OP_CONTIGUOUS || op == TG_OP_SCATTER ||
         op == TG_OP_COPY || op == TG_OP_EMPTY || op == TG_OP_BUFFER;
}

bool tg_schedule_sums_on(const tg_node *n) {
  return n->op == TG_OP_SUM && tg_dtype_wide(n->dtype) == n->dtype;
}

static tg_op_class row_class(const tg_entry *e) { return tg_op_table[e->node->op].class; }

static void learn_move(tg_graph *g, tg_entry *e, const tg_entry *x, bool memory) {
  tg_op op = e->node->op;
  e->reads = x->reads || memory;
  if (memory) return;
  e->reduced = x->reduced;
  e->heavy = x->heavy;
  e->stage = x->stage;
  e->sum_chain = x->sum_chain && op != TG_OP_EXPAND && op != TG_OP_WINDOW;
  if (op == TG_OP_RESHAPE) {
    e->row_of = x->row_of;
    e->spread_of = x->spread_of;
  }
  if (op != TG_OP_EXPAND) return;
  if (x->row_of >= 0 && tg_schedule_same_rows(e->node, g->entry[x->row_of].node))
    e->spread_of = x->row_of;
  else
    e->reduced = e->heavy = false; /* stored below */
}

static void learn(tg_graph *g, int32_t i) {
  tg_entry *e = &g->entry[i];
  tg_op_class class = row_class(e);
  e->row_of = e->spread_of = -1;
  e->reads = e->reduced = e->heavy = e->sum_chain = false;
  e->stage = 0;
  for (int s = 0; s < 3 && e->src[s] >= 0; s++) {
    const tg_entry *x = &g->entry[e->src[s]];
    bool memory = tg_schedule_is_memory(x);
    if (class == TG_CLASS_MOVE) {
      learn_move(g, e, x, memory);
      return;
    }
    e->reads = e->reads || x->reads || memory;
    if (memory) continue;
    e->reduced = e->reduced || x->reduced;
    e->heavy = e->heavy || x->heavy;
    if (e->row_of < 0) e->row_of = x->row_of;
    if (e->spread_of < 0) e->spread_of = x->spread_of;
    if (x->stage > e->stage) e->stage = x->stage;
  }
  e->heavy = e->heavy || tg_op_table[e->node->op].cost > 0;
  if (class == TG_CLASS_INDEX) {
    e->row_of = e->spread_of = -1;
    e->reduced = false;
  }
  if (class != TG_CLASS_REDUCE) return;
  e->row_of = tg_schedule_rows_fit(e->node, 1) ? i : -1;
  e->spread_of = -1;
  e->stage++;
  e->reduced = true;
  e->sum_chain = tg_schedule_sums_on(e->node);
}

/* ---- spaces: users before operands */

static bool row_shifts(const tg_entry *e) {
  return row_class(e) == TG_CLASS_MOVE && e->node->op != TG_OP_RESHAPE &&
         e->node->op != TG_OP_EXPAND;
}

/* Is x, an operand of e, sure to be stored? Of what is spread over rows, and needed
 * otherwise than row by row, either all is stored or only what there is per row:
 * that, if it takes one pass to find. */
static bool surely_stored(const tg_graph *g, const tg_entry *e, const tg_entry *x) {
  tg_op op = e->node->op;
  bool repeats = op == TG_OP_EXPAND ||
                 (op == TG_OP_WINDOW && e->node->numel > 2 * x->node->numel);
  bool enlarges = op == TG_OP_PAD || op == TG_OP_UNWINDOW || op == TG_OP_WINDOW;
  if (tg_schedule_is_memory(x) || e->joins) return false;
  if (op == TG_OP_COPY) return true;
  if (repeats) return x->reads && (x->reduced || (x->heavy && x->node->numel > 1));
  if (x->spread_of >= 0 && row_shifts(e)) return x->stage > 1;
  if (enlarges) return x->reduced && !x->sum_chain;
  if (row_class(e) == TG_CLASS_INDEX) return x->reduced;
  if (row_class(e) != TG_CLASS_REDUCE || !x->reduced) return false;
  bool nests = x->spread_of >= 0 &&
               tg_schedule_same_rows(e->node, g->entry[x->spread_of].node);
  if (x->spread_of >= 0) return !nests && x->stage > 1;
  return !(x->sum_chain && op == TG_OP_SUM);
}

static tg_entry *space_owner(tg_graph *g, int32_t space) { return &g->entry[space / 2]; }
static int32_t space_rows(tg_graph *g, int32_t space) {
  return space_owner(g, space)->rows[space & 1];
}
static int32_t space_other(tg_graph *g, int32_t space) {
  return space_owner(g, space)->other[space & 1];
}

static void pair_spaces(tg_graph *g, int32_t a, int32_t b, int32_t reduce) {
  space_owner(g, a)->rows[a & 1] = space_owner(g, b)->rows[b & 1] = reduce;
  space_owner(g, a)->other[a & 1] = b;
  space_owner(g, b)->other[b & 1] = a;
}

/* Of two entries whose axes must both be followed the one with fewer seams, if it
 * has none that the other lacks; else -1. */
static int32_t coarser(const tg_graph *g, int32_t a, int32_t b) {
  if (a < 0 || b < 0) return -1;
  for (int swap = 0; swap < 2; swap++) {
    const tg_node *n = g->entry[swap ? b : a].node;
    row_shape axes = {0};
    for (int i = 0; i < n->ndim; i++) row_shape_add(&axes, tg_node_shape(n)[i], axes.count & 1);
    if (row_seams(&axes, g->entry[swap ? a : b].node)) return swap ? b : a;
  }
  return -1;
}

bool tg_schedule_followed(const tg_graph *g, const tg_entry *e) {
  if (e->common < 0) return false;
  row_shape rows = row_shape_of(g->entry[e->reduce].node);
  return row_seams(&rows, g->entry[e->common].node);
}

/* The expansion e: does it join the rows of the space it is needed in? Then what
 * it expands may be computed in the kernel, once per row. */
static bool joins_rows(tg_graph *g, const tg_entry *e, int32_t i) {
  if (e->node->op != TG_OP_EXPAND || e->axes < 0) return false;
  if (tg_schedule_is_memory(&g->entry[e->src[0]])) return false;
  row_shape rows = row_shape_of(e->node);
  if (!row_seams(&rows, g->entry[e->axes].node)) return false;
  if (space_rows(g, e->space) == -1 && e->spread_of >= 0)
    pair_spaces(g, e->space, 2 * i + 1, e->spread_of);
  int32_t known = space_rows(g, e->space);
  return known >= 0 && tg_schedule_same_rows(e->node, g->entry[known].node);
}

/* The space in which the operand of reduce e is needed. */
static int32_t below_reduce(tg_graph *g, const tg_entry *e, int32_t i) {
  int32_t rows = space_rows(g, e->space), own = 2 * i + 1;
  if (e->row_of == i && rows == -1) pair_spaces(g, e->space, own, i);
  rows = space_rows(g, e->space);
  if (e->row_of == i && rows >= 0 && tg_schedule_same_rows(e->node, g->entry[rows].node)) {
    space_owner(g, e->space)->over[e->space & 1]++;
    return space_other(g, e->space);
  }
  if (space_rows(g, own) < 0) g->entry[i].rows[1] = NO_ROWS;
  return own;
}

/* Passes are numbered within the space; those after the 63rd count as one. */
static uint64_t new_pass(tg_graph *g, int32_t space) {
  tg_entry *owner = space_owner(g, space);
  if (owner->npasses < 62) owner->npasses++;
  return UINT64_C(1) << (owner->npasses + 1);
}

/* How often a kernel goes over rows anyway, where space is one of its two. */
static int32_t goes_over(tg_graph *g, int32_t space) {
  int32_t other = space_other(g, space), n = space_owner(g, space)->over[space & 1];
  return other < 0 ? n : n + space_owner(g, other)->over[other & 1];
}

static void need(tg_graph *g, tg_entry *x, int32_t space, int32_t axes, uint64_t passes) {
  x->common = x->space < 0 || x->common == axes ? axes : coarser(g, x->common, axes);
  if (x->space >= 0 && x->space != space) {
    x->shared = true;
    x->places++;
  }
  x->alone = x->alone || goes_over(g, space) <= (x->counted >= 0);
  x->space = space;
  x->axes = axes;
  x->passes |= passes;
}

static void enter_operand(tg_graph *g, tg_entry *e, int32_t i, int32_t src) {
  tg_entry *x = &g->entry[src];
  if (surely_stored(g, e, x)) {
    x->rooted = true;
    return;
  }
  int32_t space = e->space, axes = e->axes;
  uint64_t passes = e->passes;
  if (row_class(e) == TG_CLASS_REDUCE) {
    space = below_reduce(g, e, i);
    axes = src;
    passes = new_pass(g, space);
  } else if (row_shifts(e)) {
    space = 2 * i + 1;
    axes = -1;
    passes = 1;
    x->places += x->space >= 0; /* other rows: counts twice */
  } else if (e->joins) {
    space = space_other(g, e->space);
    space_owner(g, space)->over[space & 1]++;
    axes = -1;
    passes = 0;
  } else if (e->node->op == TG_OP_RESHAPE) {
    axes = coarser(g, axes, src);
  } else if (e->node->op == TG_OP_EXPAND || row_class(e) == TG_CLASS_INDEX) {
    axes = -1;
  }
  if (x->space == space && x->axes != -2) axes = x->axes == axes ? axes : coarser(g, axes, x->axes);
  need(g, x, space, axes, passes);
}

static void find_spaces(tg_graph *g) {
  for (int32_t i = 0; i < g->count; i++) {
    tg_entry *e = &g->entry[i];
    e->shared = e->rooted = e->joins = e->alone = false;
    e->space = -1;
    e->axes = -2;
    e->places = e->npasses = 0;
    e->passes = 0;
  }
  for (int32_t i = (int32_t)g->count - 1; i >= 0; i--) {
    tg_entry *e = &g->entry[i];
    if (e->node->op == TG_OP_BUFFER) continue;
    bool moves = row_class(e) == TG_CLASS_MOVE, memory = tg_schedule_is_memory(e);
    if (memory || e->shared || (e->rooted && !moves) || (e->space < 0 && !e->rooted)) {
      e->space = 2 * i;
      e->axes = i;
      e->passes = 1;
    }
    if (e->rooted && moves && !memory) g->entry[e->src[0]].rooted = true;
    if (e->space < 0) continue;
    e->joins = joins_rows(g, e, i);
    for (int s = 0; s < 3 && e->src[s] >= 0; s++) enter_operand(g, e, i, e->src[s]);
  }
}

/* A shared reduce is not in the space of its users, yet they go over its rows if
 * they repeat it: those that need two such may do so. */
static void count_shared(tg_graph *g) {
  for (int32_t i = 0; i < g->count; i++) {
    const tg_entry *e = &g->entry[i];
    bool inside = e->space >= 0 && !e->joins && row_class(e) != TG_CLASS_REDUCE;
    for (int s = 0; s < 3 && inside && e->src[s] >= 0; s++) {
      tg_entry *x = &g->entry[e->src[s]];
      bool counts = x->shared && x->row_of >= 0 && x->spread_of < 0 && x->counted != e->space;
      if (!counts) continue;
      x->counted = e->space;
      space_owner(g, e->space)->over[e->space & 1]++;
    }
  }
}

/* Twice: the first time finds the rows of each space and whether a kernel goes over
 * them, the second time knows that from the start. */
void tg_schedule_spaces(tg_graph *g) {
  for (int32_t i = 0; i < g->count; i++) {
    tg_entry *e = &g->entry[i];
    learn(g, i);
    e->rows[0] = e->rows[1] = e->other[0] = e->other[1] = -1;
    e->over[0] = e->over[1] = 0;
    e->counted = -1;
  }
  find_spaces(g);
  count_shared(g);
  find_spaces(g);
}
