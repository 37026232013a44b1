/* compile/group: which stored nodes one kernel computes together.
 *
 * Without this file every stored node is a kernel of its own. Here stored nodes come
 * together in two ways:
 *
 *   - A *nest*: nodes whose elements belong to the same positions, each with a STORE of
 *     its own. A node joins the nest of one that it reads element by element, and takes
 *     its value from the register; or one that reads the same memory element by element,
 *     and the memory is read once. So the gradient of a parameter, Adam's averages and
 *     the new parameter are one pass. So are reductions over the same axes that read
 *     the same memory below. A node that nobody outside its nest reads is not even
 *     written.
 *   - A kernel of several nests, side by side: small ones, which take longer to start
 *     than to run.
 *
 * There must be an order left: no kernel may wait for another that waits for it. Every
 * nest has a level, above those of all nests it reads from; a node only joins a nest
 * whose level lies above its other operands'. A nest that nothing reads yet may rise.
 * And nests in one kernel are of one level: each small one has some freedom, from the
 * level of its operands to that of its first reader. Everything is linear.
 *
 * The order of the kernels is that of the graph, where a nest stands at its first node
 * and a kernel of several at its last nest, but for what must run before.
 */
#include "compile/schedule.h"

#ifdef TG_HOSTILE
enum { MOST_NEST_OPS = 24, MOST_NEST_READS = 8, MOST_STORES = 3 };
enum { SMALL_WORK = 64, SMALL_MAP = 256, MOST_NESTS = 3, MOST_KERNEL_OPS = 60 };
#else
enum { MOST_NEST_OPS = 400, MOST_NEST_READS = 64, MOST_STORES = 16 };
enum { SMALL_WORK = 4096, SMALL_MAP = 65536, MOST_NESTS = 32, MOST_KERNEL_OPS = 1600 };
#endif
enum { MOST_LOOPS = TG_MAX_RANGES * 3 / 4, OPEN = 8 };
/* Of a nest that goes over rows: its reduces; and what an element may cost that is
 * computed again in another pass. */
enum { MOST_ROW_REDUCES = 8, MOST_ROW_COST = 16 };

/* What an expression is made of, down to memory. */
typedef struct group_expression {
  int32_t ops, reduces, loops, reads;
  int32_t reduce; /* one of them, an entry, or -1 */
  int64_t widest; /* elements of the largest node in it */
} group_expression;

typedef struct group_nest {
  int32_t first, last; /* members, a list in the order of the graph */
  int32_t level, latest;
  int32_t stores, kernel;
  int32_t cost; /* per element, of the dearest member */
  group_expression size;
  bool alone; /* scatters and copies */
  bool read;  /* from outside */
} group_nest;

typedef struct group_kernel {
  int32_t first, last; /* nests, a list */
  int32_t level, device, nests, loops, ops;
  bool opened, done;
} group_kernel;

typedef struct grouping {
  const tg_graph *g;
  tg_groups *out;
  group_nest *nest;
  int64_t nests, nest_room;
  group_kernel *kernel;
  int64_t kernels;
  int32_t *nest_of;   /* entry -> nest, or -1 */
  int32_t *next;      /* entry -> the next member of its nest */
  int32_t *next_nest; /* nest -> the next one of its kernel */
  int32_t *reader;    /* memory -> a nest that reads it element by element, or -1 */
  int32_t *folder;    /* memory -> a nest that reduces it element by element, or -1 */
  int32_t *mark;      /* entry -> the root of the walk + 1, shifted, and bits: see below */
  int64_t *need_at;   /* entry -> where its operands in memory begin in `need` */
  int32_t *need;      /* entries; those read not only at the same position: ~entry */
  int64_t needs, need_room;
  int32_t *stack;
  int64_t stack_room;
} grouping;

/* ---- what an expression reads */

/* How an expression reads memory: at the position of its result, at that of a reduce's
 * operand, in the same row (and once per row), at others. */
enum { SAME = 1, MOVED = 2, BELOW = 4, ROW = 8, ONCE = 16, BITS = 5 };

static bool group_is_memory(const tg_entry *e) { return e->stored || e->node->op == TG_OP_BUFFER; }

/* Does the op ask its operands for the elements of its own position? */
static bool group_keeps(tg_op op) {
  switch (tg_op_table[op].class) {
    case TG_CLASS_LOAD: case TG_CLASS_UNARY: case TG_CLASS_BINARY: case TG_CLASS_TERNARY:
      return true;
    case TG_CLASS_REDUCE: case TG_CLASS_MOVE: case TG_CLASS_INDEX: case TG_CLASS_IR: break;
  }
  return op == TG_OP_RESHAPE;
}

static void group_count(const grouping *w, int32_t i, group_expression *x) {
  const tg_node *n = w->g->entry[i].node;
  if (n->numel > x->widest) x->widest = n->numel;
  x->ops++;
  if (tg_op_table[n->op].class != TG_CLASS_REDUCE) return;
  x->reduces++;
  x->reduce = i;
  if (n->src[0]->numel > x->widest) x->widest = n->src[0]->numel;
  for (int a = 0; a < n->ndim; a++)
    x->loops += tg_node_args(n)[0] >> a & 1 && tg_node_shape(n->src[0])[a] > 1;
}

/* Marks entry i as read by `root`; puts it on the stack if that is news. */
static bool group_reach(grouping *w, int32_t root, int32_t i, int bits, int64_t *depth) {
  int32_t *mark = &w->mark[i];
  bool first = *mark >> BITS != root + 1;
  if (first) *mark = (root + 1) << BITS;
  if ((*mark & bits) == bits) return true;
  *mark |= bits;
  if (group_is_memory(&w->g->entry[i])) {
    if (!first) return true;
    if (!tg_reserve((void **)&w->need, &w->need_room, w->needs, sizeof *w->need)) return false;
    w->need[w->needs++] = i;
    return true;
  }
  if (!tg_reserve((void **)&w->stack, &w->stack_room, *depth + 1, sizeof *w->stack)) return false;
  w->stack[(*depth)++] = i;
  w->stack[(*depth)++] = bits;
  return true;
}

/* How an entry at a position asks its operands. */
static int group_below(const tg_entry *e, int bits) {
  tg_op op = e->node->op;
  bool reduce = tg_op_table[op].class == TG_CLASS_REDUCE;
  if (group_keeps(op)) return bits;
  if (op == TG_OP_EXPAND && e->joins && bits & (SAME | ROW)) return ONCE;
  if (reduce && e->by_row && bits == ONCE) return ROW;
  return reduce && bits == SAME ? BELOW : MOVED;
}

/* Lists the memory that stored entry i is computed from. */
static bool group_walk(grouping *w, int32_t i, group_expression *x) {
  int64_t depth = 0;
  *x = (group_expression){.reduce = -1};
  w->need_at[i] = w->needs;
  for (int32_t at = i, bits = SAME;;) {
    const tg_entry *e = &w->g->entry[at];
    group_count(w, at, x);
    for (int s = 0; s < 3 && e->src[s] >= 0; s++)
      if (!group_reach(w, i, e->src[s], group_below(e, bits), &depth)) return false;
    if (!depth) break;
    bits = w->stack[--depth];
    at = w->stack[--depth];
  }
  x->reads = (int32_t)(w->needs - w->need_at[i]);
  for (int64_t n = w->need_at[i]; n < w->needs; n++)
    if (w->mark[w->need[n]] & (MOVED | BELOW | ONCE) || !(w->mark[w->need[n]] & SAME))
      w->need[n] = ~w->need[n];
  return true;
}

/* ---- nests */

/* Are the axes of n runs of the axes of base, so that loops over these will do? */
static bool group_follows(const tg_node *base, const tg_node *n) {
  int i = base->ndim;
  int64_t p = 1, q = 1;
  if (base->numel != n->numel || base->device != n->device) return false;
  for (int j = n->ndim - 1; j >= 0; j--) {
    q *= tg_node_shape(n)[j];
    while (p < q && i > 0) p *= tg_node_shape(base)[--i];
    if (p != q) return false;
  }
  return true;
}

/* The level above all that entry i reads outside nest t; -1: it reads from the nest
 * itself, but at other positions (of the row, unless by_row). */
static int32_t group_level(const grouping *w, int32_t i, int32_t t, bool by_row) {
  int32_t level = 1;
  for (int64_t n = w->need_at[i]; n < w->needs; n++) {
    bool moved = w->need[n] < 0;
    int32_t of = w->nest_of[moved ? ~w->need[n] : w->need[n]];
    if (of < 0) continue;
    if (of == t && (moved || (w->mark[w->need[n]] & ROW && !by_row))) return -1;
    if (of != t && w->nest[of].level >= level) level = w->nest[of].level + 1;
  }
  return level;
}

static bool group_fits(const group_nest *t, const group_expression *x) {
  return t->stores < MOST_STORES && t->size.ops + x->ops <= MOST_NEST_OPS &&
         t->size.reads + x->reads <= MOST_NEST_READS;
}

/* Would the only reduce of the expression run in the loops of the nest's? */
static bool group_one_pass(const grouping *w, const group_nest *t, const group_expression *x) {
  bool one = t->size.reduces == 1 || w->out->one_pass[t->first];
  if (x->reduces != 1 || !one) return false;
  const tg_node *a = w->g->entry[t->size.reduce].node, *b = w->g->entry[x->reduce].node;
  const tg_node *below = a->src[0];
  return tg_node_args(a)[0] == tg_node_args(b)[0] && below->ndim == b->src[0]->ndim &&
         memcmp(below->data, b->src[0]->data, (size_t)below->ndim * sizeof *below->data) == 0;
}

/* Does the expression go over the rows of the nest's reduces, so that a kernel may do
 * both row by row? What it takes from the nest elsewhere in the row is computed again. */
static bool group_rows(const grouping *w, const group_nest *t, int32_t i,
                       const group_expression *x) {
  const tg_entry *e = &w->g->entry[i], *first = &w->g->entry[t->first];
  if (!e->by_row || !e->spread || !first->by_row || !first->spread) return false;
  if (t->size.reduces + x->reduces > MOST_ROW_REDUCES) return false;
  if (t->cost > MOST_ROW_COST) return false;
  const tg_node *rows = w->g->entry[first->reduce].node;
  return tg_schedule_same_rows(rows, w->g->entry[e->reduce].node) &&
         tg_schedule_rows_fit(rows, t->size.reads + x->reads) &&
         tg_schedule_rows_seam(rows, first->node);
}

static bool group_can_join(grouping *w, int32_t i, const group_expression *x, int32_t t) {
  if (t < 0) return false;
  group_nest *nest = &w->nest[t];
  if (nest->alone || !group_fits(nest, x)) return false;
  bool rows = x->reduces && group_rows(w, nest, i, x);
  if (x->reduces && !rows && !group_one_pass(w, nest, x)) return false;
  if (!group_follows(w->g->entry[nest->first].node, w->g->entry[i].node)) return false;
  int32_t level = group_level(w, i, t, rows);
  if (level < 0 || (level > nest->level && nest->read)) return false;
  if (level > nest->level) nest->level = level;
  return true;
}

/* The nest that entry i joins: that of an operand, or one that reads or reduces the same. */
static int32_t group_find(grouping *w, int32_t i, const group_expression *x) {
  for (int64_t n = w->needs - 1; n >= w->need_at[i]; n--)
    if (w->need[n] >= 0 && group_can_join(w, i, x, w->nest_of[w->need[n]]))
      return w->nest_of[w->need[n]];
  for (int64_t n = w->need_at[i]; n < w->needs; n++)
    if (w->need[n] >= 0 && group_can_join(w, i, x, w->reader[w->need[n]]))
      return w->reader[w->need[n]];
  for (int64_t n = w->need_at[i]; x->reduces && n < w->needs; n++)
    if (w->need[n] < 0 && w->mark[~w->need[n]] & BELOW &&
        group_can_join(w, i, x, w->folder[~w->need[n]]))
      return w->folder[~w->need[n]];
  return -1;
}

static int32_t group_new_nest(grouping *w, int32_t i, bool alone) {
  if (!tg_reserve((void **)&w->nest, &w->nest_room, w->nests, sizeof *w->nest)) return -1;
  int32_t level = group_level(w, i, -1, false);
  w->nest[w->nests] = (group_nest){.first = i, .last = i, .level = level, .kernel = -1,
                                   .alone = alone};
  return (int32_t)w->nests++;
}

static void group_join(grouping *w, int32_t i, const group_expression *x, int32_t t) {
  group_nest *nest = &w->nest[t];
  w->nest_of[i] = t;
  if (nest->last != i) w->next[nest->last] = i;
  nest->last = i;
  nest->stores++;
  if (w->g->entry[i].cost > nest->cost) nest->cost = w->g->entry[i].cost;
  nest->size.ops += x->ops;
  nest->size.reads += x->reads;
  if (x->reduces && nest->stores > 1) w->out->one_pass[nest->first] = true;
  nest->size.reduces += x->reduces;
  if (x->reduces) nest->size.reduce = x->reduce;
  nest->size.loops += x->loops;
  if (x->widest > nest->size.widest) nest->size.widest = x->widest;
  for (int64_t n = w->need_at[i]; n < w->needs; n++) {
    bool moved = w->need[n] < 0;
    int32_t from = moved ? ~w->need[n] : w->need[n], of = w->nest_of[from];
    if (!moved) w->reader[from] = t;
    if (w->mark[from] & BELOW) w->folder[from] = t;
    if (of == t && !moved) continue;
    w->out->written[from] = true;
    if (of >= 0 && of != t) w->nest[of].read = true;
  }
}

/* Memory that is another entry's goes with it. */
static bool group_alias(grouping *w, int32_t i) {
  int32_t same = tg_schedule_alias(w->g, i);
  if (same < 0) return false;
  w->nest_of[i] = w->nest_of[same];
  w->out->written[same] = true;
  return true;
}

static bool group_entry(grouping *w, int32_t i) {
  const tg_entry *e = &w->g->entry[i];
  group_expression x;
  w->need_at[i] = w->needs;
  if (!e->stored || e->node->numel == 0 || e->node->op == TG_OP_EMPTY) return true;
  if (group_alias(w, i)) return true;
  if (!group_walk(w, i, &x)) return false;
  bool alone = e->node->op == TG_OP_SCATTER || e->node->op == TG_OP_COPY;
  int32_t t = alone ? -1 : group_find(w, i, &x);
  if (t < 0) t = group_new_nest(w, i, alone);
  if (t < 0) return false;
  group_join(w, i, &x, t);
  w->out->written[i] = w->out->written[i] || e->target || e->external;
  return true;
}

/* ---- kernels of several nests */

/* Calls for each nest m that nest t reads from. */
#define GROUP_EACH_NEEDED(w, t, m)                                                      \
  for (int32_t i_ = (w)->nest[t].first; i_ >= 0; i_ = (w)->next[i_])                    \
    for (int64_t n_ = (w)->need_at[i_], m = 0; n_ < (w)->need_at[i_ + 1]; n_++)         \
      if ((m = (w)->nest_of[(w)->need[n_] < 0 ? ~(w)->need[n_] : (w)->need[n_]]) >= 0 && \
          m != (t))

/* The nests by level: each after those it reads from. Free with tg_free. */
static int32_t *group_by_level(const grouping *w, int32_t *highest) {
  *highest = 0;
  for (int64_t t = 0; t < w->nests; t++)
    if (w->nest[t].level > *highest) *highest = w->nest[t].level;
  size_t levels = (size_t)*highest + 2;
  int64_t *at = tg_alloc_zero(levels * sizeof *at);
  int32_t *order = tg_alloc((size_t)(w->nests + 1) * sizeof *order);
  if (at && order) {
    for (int64_t t = 0; t < w->nests; t++) at[w->nest[t].level + 1]++;
    for (size_t l = 1; l < levels; l++) at[l] += at[l - 1];
    for (int32_t t = 0; t < w->nests; t++) order[at[w->nest[t].level]++] = t;
  }
  tg_free(at);
  if (at) return order;
  tg_free(order);
  return NULL;
}

static void group_find_latest(grouping *w, const int32_t *order, int32_t highest) {
  for (int64_t t = 0; t < w->nests; t++) w->nest[t].latest = highest;
  for (int64_t k = w->nests - 1; k >= 0; k--) {
    int32_t t = order[k];
    GROUP_EACH_NEEDED(w, t, m)
      if (w->nest[m].latest >= w->nest[t].latest) w->nest[m].latest = w->nest[t].latest - 1;
  }
}

static bool group_small(const group_nest *t) {
  return !t->alone && t->size.widest <= (t->size.reduces ? SMALL_WORK : SMALL_MAP);
}

static int32_t group_loops(const grouping *w, const group_nest *t) {
  return t->size.loops + w->g->entry[t->first].node->ndim;
}

/* Could nest t run in kernel k, which others run in? */
static bool group_suits(const grouping *w, const group_kernel *k, const group_nest *t) {
  const tg_node *n = w->g->entry[t->first].node;
  return k->level >= t->level && k->level <= t->latest && k->device == n->device &&
         k->nests < MOST_NESTS && k->ops + t->size.ops <= MOST_KERNEL_OPS &&
         k->loops + group_loops(w, t) <= MOST_LOOPS;
}

static void group_put(grouping *w, int32_t t, int32_t at) {
  group_kernel *k = &w->kernel[at];
  group_nest *nest = &w->nest[t];
  nest->kernel = at;
  nest->level = k->level;
  k->nests++;
  k->loops += group_loops(w, nest);
  k->ops += nest->size.ops;
  if (k->last >= 0) w->next_nest[k->last] = t;
  else k->first = t;
  k->last = t;
}

/* Gives each nest a kernel. The last few kernels of small nests are open to more. */
static void group_bundle(grouping *w, const int32_t *order) {
  int32_t open[OPEN], count = 0;
  for (int64_t k = 0; k < w->nests; k++) {
    group_nest *nest = &w->nest[order[k]];
    bool small = group_small(nest);
    nest->level = 1;
    GROUP_EACH_NEEDED(w, order[k], m)
      if (w->nest[m].level >= nest->level) nest->level = w->nest[m].level + 1;
    int32_t at = -1;
    for (int32_t o = 0; small && at < 0 && o < count && o < OPEN; o++)
      if (group_suits(w, &w->kernel[open[o]], nest)) at = open[o];
    if (at < 0) {
      at = (int32_t)w->kernels++;
      w->kernel[at] = (group_kernel){.first = -1, .last = -1,
                                     .level = small ? nest->latest : nest->level,
                                     .device = w->g->entry[nest->first].node->device};
      if (small) open[count++ % OPEN] = at;
    }
    group_put(w, order[k], at);
  }
}

static bool group_kernels(grouping *w) {
  int32_t highest, *order = group_by_level(w, &highest);
  w->kernel = tg_alloc((size_t)(w->nests + 1) * sizeof *w->kernel);
  w->next_nest = tg_alloc((size_t)(w->nests + 1) * sizeof *w->next_nest);
  bool done = order && w->kernel && w->next_nest;
  if (done) {
    for (int64_t t = 0; t < w->nests; t++) w->next_nest[t] = -1;
    group_find_latest(w, order, highest);
    group_bundle(w, order);
  }
  tg_free(order);
  return done;
}

/* ---- the order */

/* Adds kernel k, all that it needs being there, to what is handed out; unless nobody
 * wants anything of it (what results without elements are computed from). */
static void group_emit(grouping *w, int32_t k) {
  tg_groups *out = w->out;
  int64_t before = out->members;
  for (int32_t t = w->kernel[k].first; t >= 0; t = w->next_nest[t])
    for (int32_t i = w->nest[t].first; i >= 0; i = w->next[i]) {
      out->of[i] = (int32_t)out->count;
      out->base[i] = w->nest[t].first;
      if (out->written[i]) out->member[out->members++] = i;
    }
  if (out->members > before) out->first[++out->count] = out->members;
  w->kernel[k].done = true;
}

static bool group_emit_with_needs(grouping *w, int32_t k) {
  int64_t depth = 0;
  if (w->kernel[k].done) return true;
  if (!tg_reserve((void **)&w->stack, &w->stack_room, depth, sizeof *w->stack)) return false;
  w->stack[depth++] = k;
  while (depth) {
    group_kernel *top = &w->kernel[w->stack[depth - 1]];
    if (top->done || top->opened) {
      if (!top->done) group_emit(w, w->stack[depth - 1]);
      depth--;
      continue;
    }
    top->opened = true;
    for (int32_t t = top->first; t >= 0; t = w->next_nest[t])
      GROUP_EACH_NEEDED(w, t, m) {
        if (w->kernel[w->nest[m].kernel].done) continue;
        if (!tg_reserve((void **)&w->stack, &w->stack_room, depth, sizeof *w->stack)) return false;
        w->stack[depth++] = w->nest[m].kernel;
      }
  }
  return true;
}

/* mark[i]: the kernel that stands at entry i. */
static bool group_order(grouping *w) {
  int64_t count = w->g->count;
  for (int64_t i = 0; i < count; i++) w->mark[i] = -1;
  for (int64_t k = 0; k < w->kernels; k++) {
    int32_t at = -1;
    for (int32_t t = w->kernel[k].first; t >= 0; t = w->next_nest[t])
      if (w->nest[t].first > at) at = w->nest[t].first;
    w->mark[at] = (int32_t)k;
  }
  for (int64_t i = 0; i < count; i++)
    if (w->mark[i] >= 0 && !group_emit_with_needs(w, w->mark[i])) return false;
  for (int64_t i = 0; i < count; i++) { /* aliases: with whom they share memory */
    int32_t t = w->nest_of[i];
    if (t < 0 || w->out->of[i] >= 0) continue;
    w->out->of[i] = w->out->of[w->nest[t].first];
    w->out->base[i] = w->nest[t].first;
  }
  return true;
}

/* ---- all together */

void tg_groups_free(tg_groups *groups) {
  tg_free(groups->of);
  tg_free(groups->base);
  tg_free(groups->member);
  tg_free(groups->first);
  tg_free(groups->written);
  tg_free(groups->one_pass);
  memset(groups, 0, sizeof *groups);
}

static bool group_reserve(grouping *w) {
  size_t count = (size_t)w->g->count + 1;
  tg_groups *out = w->out;
  out->of = tg_alloc(count * sizeof *out->of);
  out->base = tg_alloc(count * sizeof *out->base);
  out->member = tg_alloc(count * sizeof *out->member);
  out->first = tg_alloc_zero((count + 1) * sizeof *out->first);
  out->written = tg_alloc_zero(count * sizeof *out->written);
  out->one_pass = tg_alloc_zero(count * sizeof *out->one_pass);
  w->nest_of = tg_alloc(count * sizeof *w->nest_of);
  w->next = tg_alloc(count * sizeof *w->next);
  w->reader = tg_alloc(count * sizeof *w->reader);
  w->folder = tg_alloc(count * sizeof *w->folder);
  w->mark = tg_alloc_zero(count * sizeof *w->mark);
  w->need_at = tg_alloc_zero(count * sizeof *w->need_at);
  if (!out->of || !out->base || !out->member || !out->first || !out->written ||
      !out->one_pass || !w->nest_of || !w->next || !w->reader || !w->folder || !w->mark ||
      !w->need_at)
    return false;
  for (size_t i = 0; i < count; i++)
    out->of[i] = out->base[i] = w->nest_of[i] = w->next[i] = w->reader[i] = w->folder[i] =
        -1;
  return true;
}

int tg_group(const tg_graph *graph, tg_groups *out) {
  grouping w = {.g = graph, .out = out};
  memset(out, 0, sizeof *out);
  bool done = group_reserve(&w);
  for (int32_t i = 0; done && i < graph->count; i++) done = group_entry(&w, i);
  if (done) w.need_at[graph->count] = w.needs;
  done = done && group_kernels(&w) && group_order(&w);
  tg_free(w.nest);
  tg_free(w.kernel);
  tg_free(w.nest_of);
  tg_free(w.next);
  tg_free(w.next_nest);
  tg_free(w.reader);
  tg_free(w.folder);
  tg_free(w.mark);
  tg_free(w.need_at);
  tg_free(w.need);
  tg_free(w.stack);
  if (done) return 0;
  tg_groups_free(out);
  return -1;
}
