/* compile/schedule: cuts the lazy graph into kernels.
 *
 * Every node is either stored, computed by a kernel of its own into memory, or
 * inlined into the kernels of its users. The question is only which to store:
 *
 *   - what was asked for, and ops that are memory by nature (contiguous, scatter,
 *     copies between devices);
 *   - a reduction, once what follows it may not be part of its kernel. What may:
 *     elementwise work and movement that keeps the number of elements (the
 *     epilogue), up to the next reduction, expansion or second use. And a sum of
 *     movement of a sum is one sum, so nothing is stored between them;
 *   - work that would be repeated: below an expansion, or needed in several
 *     places, unless doing it again is cheaper than storing and loading it;
 *   - something whenever a kernel would grow beyond its limits, so that kernels,
 *     and the recursion that lowers them, stay small whatever the graph.
 *
 * A reduction whose result is expanded back over its row, as in a softmax, may be a
 * stage of its user's kernel, which then goes over the row several times; rows.c
 * says when, and in how many places each node is needed. Then this file goes up, adds
 * up what each expression costs and decides. What an expression costs per element
 * counts once for each pass over the row: a store and a load through memory cost as
 * much as STORE additions (about 1 ns; an exp, in vector code, 0.5).
 */
#include "compile/schedule.h"

#ifdef TG_HOSTILE
enum { MOST_OPS = 12, MOST_LOADS = 4, MOST_DEPTH = 16, CHEAP = 2, MOST_COST = 1 << 20 };
#else
enum { MOST_OPS = 160, MOST_LOADS = 24, MOST_DEPTH = 160, CHEAP = 5, MOST_COST = 1 << 20 };
#endif
/* Reduces in a kernel, and how many of them may wait for one another; STORE: see
 * above; a reduce that costs less per element is repeated in as many kernels. What is
 * expanded FEW times or more stays in the cache: reading it is no wide load. */
enum { MOST_REDUCES = 8, MOST_STAGES = 6, STORE = 16, AGAIN = 24, MOST_PLACES = 3, FEW = 64 };

/* ---- collecting the graph */

void tg_graph_free(tg_graph *g) {
  tg_free(g->entry);
  tg_free(g->table);
  memset(g, 0, sizeof *g);
}

static uint64_t hash_pointer(const void *p) {
  uint64_t h = (uint64_t)(uintptr_t)p >> 4;
  return h * UINT64_C(0x9e3779b97f4a7c15) >> 20;
}

/* The place of a buffer in the table: where it is, or where it would go. */
static int32_t *find_buffer(const tg_graph *g, const tg_node *node) {
  uint64_t mask = (uint64_t)(g->table_size - 1), h = hash_pointer(node);
  while (g->table[h & mask] && g->entry[g->table[h & mask] - 1].node != node) h++;
  return &g->table[h & mask];
}

/* The entry of a node, or -1. A node that is not realized is in no other thread's
 * hands, and says so itself; realized ones may be in several graphs at once. */
static int32_t entry_of(const tg_graph *g, const tg_node *node) {
  if (node->op == TG_OP_BUFFER) return *find_buffer(g, node) - 1;
  return node->graph == g->id ? node->entry : -1;
}

static bool grow_table(tg_graph *g) {
  int32_t *old = g->table;
  int64_t size = g->table_size ? g->table_size * 2 : 64;
  int32_t *table = tg_alloc_zero((size_t)size * sizeof *table);
  if (!table) return false;
  g->table = table;
  g->table_size = size;
  for (int32_t i = 0; i < g->count; i++)
    if (g->entry[i].node->op == TG_OP_BUFFER) *find_buffer(g, g->entry[i].node) = i + 1;
  tg_free(old);
  return true;
}

static bool add_entry(tg_graph *g, tg_node *node) {
  if (!tg_reserve((void **)&g->entry, &g->room, g->count, sizeof *g->entry)) return false;
  int32_t at = (int32_t)g->count;
  g->entry[at] = (tg_entry){.node = node, .src = {-1, -1, -1}};
  for (int i = 0; i < 3 && node->src[i]; i++) {
    int32_t src = g->entry[at].src[i] = entry_of(g, node->src[i]);
    g->entry[src].uses++;
  }
  g->count++;
  if (node->op != TG_OP_BUFFER) {
    node->graph = g->id;
    node->entry = at;
    return true;
  }
  *find_buffer(g, node) = at + 1;
  return 2 * ++g->buffers < g->table_size || grow_table(g);
}

typedef struct walk {
  tg_node *node;
  int next;
} walk;

/* Depth first with a stack of its own: a node is entered when all its operands
 * have been. */
static bool visit(tg_graph *g, tg_node *target, walk **stack, int64_t *room) {
  int64_t depth = 0;
  if (entry_of(g, target) >= 0) return true;
  if (!tg_reserve((void **)stack, room, depth, sizeof **stack)) return false;
  (*stack)[depth++] = (walk){target, 0};
  while (depth) {
    walk *top = &(*stack)[depth - 1];
    if (top->next == 3) {
      if (entry_of(g, top->node) < 0 && !add_entry(g, top->node)) return false;
      depth--;
      continue;
    }
    tg_node *src = top->node->src[top->next++];
    if (!src || entry_of(g, src) >= 0) continue;
    if (!tg_reserve((void **)stack, room, depth, sizeof **stack)) return false;
    (*stack)[depth++] = (walk){src, 0};
  }
  return true;
}

int tg_graph_collect(tg_graph *g, tg_node *const *targets, int64_t count) {
  static _Atomic uint64_t graphs;
  *g = (tg_graph){.id = atomic_fetch_add_explicit(&graphs, 1, memory_order_relaxed) + 1};
  walk *stack = NULL;
  int64_t room = 0;
  bool done = grow_table(g);
  for (int64_t i = 0; done && i < count; i++) done = visit(g, targets[i], &stack, &room);
  tg_free(stack);
  if (!done) {
    tg_graph_free(g);
    return -1;
  }
  for (int64_t i = 0; i < count; i++) g->entry[entry_of(g, targets[i])].target = true;
  for (int64_t i = 0; i < g->count; i++) {
    tg_entry *e = &g->entry[i];
    e->external = atomic_load_explicit(&e->node->refs, memory_order_relaxed) > e->uses;
  }
  return 0;
}

/* ---- costs and decisions, from memory up */

static bool is_move(const tg_entry *e) {
  return tg_op_table[e->node->op].class == TG_CLASS_MOVE;
}

/* What an expression that begins at memory says of reduces: nothing. */
static void without_reduce(tg_entry *e) {
  e->reduce = -1;
  e->sum_chain = e->epilogue = e->by_row = e->spread = false;
  e->stage = e->reduces = e->work = 0;
  e->widest = e->node->numel;
}

/* Stores the expression of entry i: not the movement on top of it, which costs
 * nothing to repeat and may only make it larger. */
static void store_below(tg_graph *g, int32_t i) {
  tg_entry *e = &g->entry[i];
  int32_t moves = 0;
  for (; is_move(e) && !e->stored; e = &g->entry[e->src[0]]) moves++;
  /* That movement now starts from memory: what it said of its operand is void. */
  for (tg_entry *m = &g->entry[i]; moves > 0; m = &g->entry[m->src[0]]) {
    without_reduce(m);
    m->widest = e->node->numel;
    m->ops = m->depth = moves--;
    m->cost = 0;
    m->loads = m->wide = 1;
  }
  if (e->node->op != TG_OP_BUFFER && e->node->op != TG_OP_CONST) e->stored = true;
}

/* What a user of entry i sees of its expression. */
static tg_entry view(const tg_graph *g, int32_t i) {
  tg_entry v = g->entry[i];
  if (v.stored || v.node->op == TG_OP_BUFFER) {
    without_reduce(&v);
    v.ops = v.cost = v.depth = 0;
    v.loads = v.wide = 1;
  }
  return v;
}

static bool within_limits(const tg_entry *e) {
  return e->ops < MOST_OPS && e->loads <= MOST_LOADS && e->depth < MOST_DEPTH &&
         e->reduces <= MOST_REDUCES && e->stage <= MOST_STAGES;
}

/* Sums count what several operands share several times: an upper bound. Where
 * it exceeds the limits, this counts each op and each memory once, as the kernel
 * will, and stops at the limits. */
static void count_once(tg_graph *g, tg_entry *e) {
  int32_t stack[3 * MOST_OPS + 3], n = 0, stamp = ++g->stamp;
  e->ops = e->loads = 0;
  e->reduces = 0;
  for (int s = 0; s < 3 && e->src[s] >= 0; s++) stack[n++] = e->src[s];
  while (n && within_limits(e)) {
    tg_entry *x = &g->entry[stack[--n]];
    if (x->seen == stamp) continue;
    x->seen = stamp;
    if (x->stored || x->node->op == TG_OP_BUFFER) e->loads++;
    else if (x->src[0] >= 0) e->ops++;
    e->reduces += !x->stored && tg_op_table[x->node->op].class == TG_CLASS_REDUCE;
    for (int s = 0; s < 3 && !x->stored && x->src[s] >= 0; s++) stack[n++] = x->src[s];
  }
}

/* Adds up the operands of e; stores the largest until the limits hold. */
static void add_up(tg_graph *g, tg_entry *e) {
  for (;;) {
    without_reduce(e);
    e->ops = e->cost = e->loads = e->wide = e->depth = 0;
    e->widest = 0;
    int32_t largest = -1, most = -1;
    for (int s = 0; s < 3 && e->src[s] >= 0; s++) {
      tg_entry x = view(g, e->src[s]);
      e->ops += x.ops;
      e->cost += x.cost;
      e->loads += x.loads;
      e->wide += x.wide;
      if (x.depth > e->depth) e->depth = x.depth;
      if (x.reduce >= 0) {
        e->by_row = x.by_row && (e->reduce < 0 || e->by_row);
        e->spread = x.spread;
        e->reduce = x.reduce;
      }
      e->reduces += x.reduces;
      e->work += x.work;
      if (x.stage > e->stage) e->stage = x.stage;
      if (x.widest > e->widest && x.loads) e->widest = x.widest;
      if (x.depth && x.ops + x.depth + x.loads > most) {
        most = x.ops + x.depth + x.loads;
        largest = e->src[s];
      }
    }
    if (!within_limits(e)) count_once(g, e);
    if (within_limits(e) || largest < 0) break;
    store_below(g, largest);
    if (view(g, largest).depth) g->entry[largest].stored = true; /* movement alone was too deep */
  }
  e->ops++;
  e->depth++;
  e->cost += tg_op_table[e->node->op].cost;
  if (e->cost > MOST_COST) e->cost = MOST_COST; /* x + x, many times over */
  if (e->work > MOST_COST) e->work = MOST_COST;
  if (e->wide > e->loads) e->wide = e->loads; /* these were counted once */
}

/* Two reductions may share a kernel if they are about the same rows. */
static bool same_rows(const tg_graph *g, const tg_entry *x, const tg_entry *y) {
  return x->by_row && y->by_row && x->spread == y->spread &&
         tg_schedule_same_rows(g->entry[x->reduce].node, g->entry[y->reduce].node);
}

static void agreeing_reduces(tg_graph *g, tg_entry *e) {
  tg_entry first = {.reduce = -1};
  for (int s = 0; s < 3 && e->src[s] >= 0; s++) {
    tg_entry x = view(g, e->src[s]);
    if (x.reduce < 0) continue;
    bool agrees = first.reduce < 0 || x.reduce == first.reduce || same_rows(g, &x, &first);
    if (!x.epilogue || !agrees) store_below(g, e->src[s]);
    else if (first.reduce < 0) first = x;
  }
}

static void decide_alu(tg_graph *g, tg_entry *e) {
  agreeing_reduces(g, e);
  add_up(g, e);
  e->epilogue = e->reduce >= 0;
}

/* The operand of a reduce may hold reduces of the same rows; so may a sum a sum. */
static void decide_reduce(tg_graph *g, tg_entry *e, int32_t i) {
  tg_entry x = view(g, e->src[0]);
  bool chain = x.sum_chain && e->node->op == TG_OP_SUM;
  bool rows = x.reduce >= 0 && x.by_row && x.spread &&
              tg_schedule_same_rows(g->entry[x.reduce].node, e->node);
  if (x.reduce >= 0 && !rows && !chain) store_below(g, e->src[0]);
  add_up(g, e);
  x = view(g, e->src[0]);
  e->by_row = (x.reduce < 0 || rows) && e->widest >= e->node->src[0]->numel &&
              tg_schedule_rows_fit(e->node, e->loads);
  e->sum_chain = tg_schedule_sums_on(e->node) && !(x.reduce >= 0 && rows);
  e->reduce = i;
  e->reduces++;
  e->stage++;
  e->work += e->cost;
  e->cost = 0;
  e->spread = false;
  e->epilogue = true;
}

/* Repeating an expression below an expansion is only worth it for casts, for single
 * numbers, and where the expansion leads back to the rows that a reduce has folded. */
static void decide_move(tg_graph *g, tg_entry *e) {
  tg_entry x = view(g, e->src[0]);
  tg_op op = e->node->op;
  bool joins = e->joins && (x.reduce < 0 || (x.by_row && !x.spread));
  bool repeats = op == TG_OP_EXPAND || (op == TG_OP_WINDOW && e->node->numel > 2 * x.node->numel);
  bool often = x.cost > 0 && x.node->numel > 1; /* a single number: once per kernel */
  if (repeats && !joins && x.loads && (x.reduce >= 0 || often)) store_below(g, e->src[0]);
  bool enlarges = op == TG_OP_PAD || op == TG_OP_UNWINDOW || op == TG_OP_WINDOW;
  bool shifts = op != TG_OP_RESHAPE && op != TG_OP_EXPAND;
  if (x.reduce >= 0 && ((enlarges && !x.sum_chain) || (shifts && x.spread)))
    store_below(g, e->src[0]);
  add_up(g, e);
  x = view(g, e->src[0]);
  e->sum_chain = x.sum_chain && op != TG_OP_EXPAND && op != TG_OP_WINDOW;
  e->epilogue = x.epilogue && !enlarges;
  if (op != TG_OP_RESHAPE) e->by_row = false;
  if (op == TG_OP_EXPAND && e->node->numel >= FEW * x.node->numel) e->wide = 0;
  if (!joins) return;
  e->by_row = e->spread = x.reduce >= 0;
  e->cost = 0; /* that was once per row */
}

static void decide_index(tg_graph *g, tg_entry *e) {
  for (int s = 0; s < 3 && e->src[s] >= 0; s++) {
    tg_entry x = view(g, e->src[s]);
    bool repeats = s == 1 && e->node->op == TG_OP_GATHER && x.cost > CHEAP &&
                   e->node->numel > x.node->numel;
    if (x.reduce >= 0 || repeats) store_below(g, e->src[s]);
    if (view(g, e->src[s]).reduce >= 0) g->entry[e->src[s]].stored = true;
  }
  add_up(g, e);
}

/* A comparison as a number: one bit of news in four bytes. Better stored is what it is
 * multiplied by, so few values that are expanded do not count as its loads. */
static bool is_mask(const tg_graph *g, const tg_entry *e) {
  while (is_move(e)) e = &g->entry[e->src[0]];
  return e->node->op == TG_OP_CAST && e->node->src[0]->dtype == TG_BOOL;
}

/* Too dear for doing it again in another kernel? A kernel that goes over rows anyway
 * has them in the cache: there a reduce is cheaper than one more kernel. */
static bool dear(const tg_graph *g, const tg_entry *e) {
  bool again = e->by_row && !e->alone && e->places < MOST_PLACES && e->work <= AGAIN;
  if (again && !e->spread) return false;
  if (again && e->cost <= STORE && tg_schedule_followed(g, e)) return false;
  int32_t loads = is_mask(g, e) ? e->wide + 1 : e->loads;
  return e->reduce >= 0 || e->cost > (e->loads ? CHEAP : 4 * CHEAP) || loads > 3;
}

/* Is a user sure to store it? Then nobody else takes the reduce into his kernel. */
static bool settled(const tg_entry *e) { return e->rooted && e->reduce >= 0 && !is_move(e); }

/* Too dear for doing it again in each pass over the row? */
static bool too_often(const tg_entry *e) {
  int again = __builtin_popcountll(e->passes) - 1;
  return again > 0 && e->loads && again * e->cost > STORE;
}

static void decide(tg_graph *g, int32_t i) {
  tg_entry *e = &g->entry[i];
  e->reduce = -1;
  switch (tg_op_table[e->node->op].class) {
    case TG_CLASS_LOAD:
      if (e->node->op == TG_OP_COPY) store_below(g, e->src[0]), g->entry[e->src[0]].stored |=
          g->entry[e->src[0]].node->op != TG_OP_BUFFER;
      if (e->src[0] >= 0) decide_alu(g, e);
      break;
    case TG_CLASS_UNARY: case TG_CLASS_BINARY: case TG_CLASS_TERNARY: decide_alu(g, e); break;
    case TG_CLASS_REDUCE: decide_reduce(g, e, i); break;
    case TG_CLASS_MOVE: decide_move(g, e); break;
    case TG_CLASS_INDEX: decide_index(g, e); break;
    case TG_CLASS_IR: break;
  }
  if (tg_schedule_is_memory(e)) e->stored = e->node->op != TG_OP_BUFFER;
  else if ((e->shared && dear(g, e)) || too_often(e) || settled(e)) store_below(g, i);
}

int32_t tg_schedule_alias(const tg_graph *g, int32_t i) {
  const tg_entry *e = &g->entry[i];
  if (e->node->op != TG_OP_RESHAPE && e->node->op != TG_OP_CONTIGUOUS) return -1;
  do i = e->src[0], e = &g->entry[i];
  while (e->node->op == TG_OP_RESHAPE && !e->stored);
  return e->stored || e->node->op == TG_OP_BUFFER ? i : -1;
}

void tg_schedule(tg_graph *g) {
  tg_schedule_spaces(g);
  for (int32_t i = 0; i < g->count; i++) decide(g, i);
}
