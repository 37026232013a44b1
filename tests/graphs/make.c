/* tests/graphs/make: a graph from a seed. Steps are drawn from the table by weight, or as
 * *idioms*: the few steps in a row that are known to be rewritten (conditions around
 * products, constants times counts, indices below padding ...), which single draws would
 * seldom put together. Each step is built at once, lazily, so the library itself says
 * which shape and dtype it has; what it refuses is dropped. */
#include "graphs.h"

static int64_t below(graph_maker *m, int64_t n) { return graph_below(&m->state, n); }
static bool chance(graph_maker *m, int percent) { return graph_chance(&m->state, percent); }

tg_dtype graph_some_dtype(graph_maker *m, unsigned want) {
  const tg_dtype real[] = {TG_FLOAT32, TG_FLOAT32, TG_FLOAT16, TG_BFLOAT16, TG_FLOAT64};
  bool whole = want & GRAPH_W_WHOLE;
  if ((want & GRAPH_W_FLOAT) || (!whole && chance(m, 65))) return real[below(m, 5)];
  tg_dtype d = (tg_dtype)(TG_BOOL + below(m, TG_FLOAT16 - TG_BOOL));
  return whole && d == TG_BOOL ? TG_INT32 : d;
}

/* ---- steps */

static bool too_large(graph_maker *m, const graph_step *s, const tg_tensor *t) {
  int64_t count = tg_numel(t), work = count;
  if (tg_ndim(t) > 6) return true;
  bool product = s->ins > 1 && graph_ops[s->op].kind == GRAPH_SUM;
  if (product) work *= graph_count(&GRAPH_FACT(m, s->in[1])->shape);
  if (graph_is(s, "cumsum")) work *= 10;
  return count > 90000 || work > 400000 || (count > 6000 && m->big == 0);
}

int graph_append(graph_maker *m, graph_step *s) {
  graph *g = m->g;
  int i = g->count;
  tg_tensor *in[4] = {NULL};
  if (i >= GRAPH_STEPS) return -1;
  for (int k = 0; k < s->ins; k++) in[k] = m->value[s->in[k]];
  tg_tensor *t = graph_ops[s->op].apply(s, in);
  g->step[i] = *s;
  if (!t || too_large(m, s, t) || !graph_learn(g, i, t)) {
    tg_clear_error();
    return -1;
  }
  m->value[i] = t;
  m->used[i] = false;
  for (int k = 0; k < s->ins; k++) m->used[s->in[k]] = true;
  if (graph_is(s, "assign") || graph_is(s, "set_index_here")) g->step[s->in[0]].replaced = true;
  return g->count++;
}

int graph_leaf(graph_maker *m, tg_dtype dtype, const tg_shape *shape, graph_content content,
               int64_t range) {
  graph_step s = {.op = graph_op_named("leaf"), .dtype = dtype, .list = {*shape}};
  s.data = graph_fill(&m->state, dtype, graph_count(shape), content, range);
  s.grad = m->g->grads && tg_dtype_is_float(dtype) && chance(m, 60);
  int i = graph_append(m, &s);
  if (i < 0) free(s.data);
  return i;
}

int graph_some_leaf(graph_maker *m, tg_dtype dtype, const tg_shape *shape, unsigned want) {
  const graph_content some[] = {GRAPH_SMALL, GRAPH_EIGHTHS, GRAPH_EIGHTHS, GRAPH_REALS,
                                GRAPH_REALS, GRAPH_POSITIVE, GRAPH_WILD, GRAPH_EXTREME,
                                GRAPH_BITS};
  const bool tame = want & GRAPH_W_KNOWN;
  if ((want & GRAPH_W_FLOAT) && !tg_dtype_is_float(dtype)) dtype = TG_FLOAT32;
  return graph_leaf(m, dtype, shape, some[below(m, tame ? 6 : 9)], 0);
}

/* A new step of that row, with operands of the maker's choice: its number, or -1. */
int graph_grow(graph_maker *m, int op) {
  graph_step s = {.op = op};
  s.in[0] = s.in[1] = s.in[2] = s.in[3] = -1;
  if (!graph_ops[op].choose(m, &s)) return -1;
  return graph_append(m, &s);
}

/* ---- idioms */

/* A step of the row `name` on these operands (-1: none). */
static int apply(graph_maker *m, const char *name, int a, int b, int c, double number) {
  graph_step s = {.op = graph_op_named(name), .in = {a, b, c, -1}, .real = {number}};
  while (s.ins < 4 && s.in[s.ins] >= 0) s.ins++;
  return s.ins && a >= 0 ? graph_append(m, &s) : -1;
}

static int row_of(graph_maker *m, int content) {
  tg_shape shape = TG_SHAPE(2 + below(m, 5));
  if (chance(m, 40)) shape = TG_SHAPE(1 + below(m, 3), 2 + below(m, 4));
  tg_dtype dtype = chance(m, 70) ? TG_FLOAT32 : graph_some_dtype(m, GRAPH_W_FLOAT);
  return graph_leaf(m, dtype, &shape, (graph_content)content, 0);
}

static int some_move(graph_maker *m, int value) {
  const char *names[] = {"sum", "sum", "reshape", "cumsum", "mul", "pad", "permute", "mean"};
  graph_step s = {.op = graph_op_named(names[below(m, 8)])};
  bool was[GRAPH_STEPS];
  memcpy(was, m->used, sizeof was);
  for (int i = 0; i < m->g->count; i++) m->used[i] = i != value;
  bool chosen = graph_ops[s.op].choose(m, &s);
  memcpy(m->used, was, sizeof was);
  return chosen ? graph_append(m, &s) : -1;
}

/* where(c, x * y, 0), summed. */
static void masked_product(graph_maker *m) {
  int x = row_of(m, chance(m, 50) ? GRAPH_SMALL : GRAPH_WILD);
  if (x < 0) return;
  tg_shape shape = GRAPH_FACT(m, x)->shape;
  int y = graph_leaf(m, GRAPH_FACT(m, x)->dtype, &shape, GRAPH_WILD, 0);
  int c = graph_leaf(m, TG_BOOL, &shape, GRAPH_BITS, 0);
  int p = apply(m, "mul", x, y, -1, 0);
  int w = apply(m, "where_number", c, p, -1, 0);
  if (w >= 0 && some_move(m, w) >= 0) some_move(m, m->g->count - 1);
}

/* where(p > 0, p * log p, 0), summed. */
static void entropy(graph_maker *m) {
  int p = row_of(m, GRAPH_BITS), l = apply(m, "log", p, -1, -1, 0);
  int product = chance(m, 50) ? apply(m, "mul", p, l, -1, 0) : apply(m, "mul", l, p, -1, 0);
  int c = apply(m, "gt_number", p, -1, -1, 0);
  int w = product < 0 || c < 0 ? -1 : apply(m, "where_number", c, product, -1, 0);
  if (w >= 0) some_move(m, w);
}

/* A constant, or one element, many times, summed. */
static void counted(graph_maker *m) {
  const tg_dtype narrow[] = {TG_FLOAT16, TG_FLOAT16, TG_BFLOAT16, TG_INT8, TG_BOOL, TG_UINT8,
                             TG_INT16};
  const char *sums[] = {"sum", "mean", "sum", "max"};
  const tg_shape shape = TG_SHAPE(66000 + below(m, 3000)), one = TG_SHAPE(1);
  tg_dtype dtype = narrow[below(m, 7)];
  graph_step s = {.op = graph_op_named("full"), .dtype = dtype, .list = {shape}};
  s.real[0] = tg_dtype_is_float(dtype) ? chance(m, 50) ? 1e-4 : 0.125 : 1;
  int x;
  m->big = 2;
  if (chance(m, 50)) {
    x = graph_append(m, &s);
  } else {
    s.op = graph_op_named("expand");
    s.in[0] = graph_leaf(m, dtype, &one, GRAPH_POSITIVE, 0);
    s.ins = 1;
    x = s.in[0] < 0 ? -1 : graph_append(m, &s);
  }
  if (x >= 0 && chance(m, 40)) x = apply(m, "mul", x, x, -1, 0);
  if (x >= 0) apply(m, sums[below(m, 4)], x, -1, -1, 0);
}

/* Indexed, then moved where part of it is outside. */
static void indexed(graph_maker *m) {
  const char *rows[] = {"gather", "take", "take", "index", "scatter", "scatter_add"};
  const char *moves[] = {"pad", "slice", "pad_with", "pad2d", "cumsum", "cat", "shrink", "conv2d"};
  int x = graph_grow(m, graph_op_named(rows[below(m, 6)]));
  for (int k = 0; x >= 0 && k < 2; k++) {
    graph_step s = {.op = graph_op_named(moves[below(m, 8)])};
    bool was[GRAPH_STEPS];
    memcpy(was, m->used, sizeof was);
    for (int i = 0; i < m->g->count; i++) m->used[i] = i != x;
    bool chosen = graph_ops[s.op].choose(m, &s);
    memcpy(m->used, was, sizeof was);
    x = chosen ? graph_append(m, &s) : -1;
  }
}

/* Integers that wrap, compared. */
static void wrapped(graph_maker *m) {
  const char *sums[] = {"add_whole", "add_whole", "add", "sub", "sub_whole", "mul", "mul_whole"};
  const char *tests[] = {"lt", "gt", "ge", "le", "eq", "sub", "maximum"};
  tg_shape shape = TG_SHAPE(1 + below(m, 6));
  tg_dtype dtype = chance(m, 60) ? TG_INT64 : graph_some_dtype(m, GRAPH_W_WHOLE);
  int a = graph_leaf(m, dtype, &shape, GRAPH_EXTREME, 0), b = a;
  if (a < 0) return;
  for (int k = (int)below(m, 2); k >= 0 && b >= 0; k--) {
    const char *name = sums[below(m, 7)];
    bool two = !strchr(name, '_');
    graph_step s = {.op = graph_op_named(name), .ins = two ? 2 : 1, .in = {b, a}};
    s.whole[0] = 1 + below(m, 3);
    b = graph_append(m, &s);
  }
  if (b >= 0 && chance(m, 50)) apply(m, tests[below(m, 7)], b, a, -1, 0);
  else if (b >= 0) apply(m, tests[below(m, 7)], a, b, -1, 0);
}

/* Zeros with signs. */
static void signed_zeros(graph_maker *m) {
  const double zeros[] = {0.0, -0.0};
  const char *rows[] = {"where_number", "add_number", "sub_number", "mul_number", "where_number"};
  int x = row_of(m, chance(m, 50) ? GRAPH_EXTREME : GRAPH_WILD);
  if (x < 0) return;
  tg_shape shape = GRAPH_FACT(m, x)->shape;
  for (int k = (int)below(m, 3); k >= 0 && x >= 0; k--) {
    const char *name = rows[below(m, 5)];
    bool where = name[0] == 'w';
    int c = where ? graph_leaf(m, TG_BOOL, &shape, GRAPH_BITS, 0) : x;
    x = apply(m, name, c, where ? x : -1, -1, zeros[below(m, 2)]);
  }
}

/* Sums that do not fit a 16-bit float, then seen in 32 bits. */
static void rounded(graph_maker *m) {
  const char *rows[] = {"add_whole", "mul", "add", "sub", "div", "add_number", "square"};
  tg_shape shape = TG_SHAPE(1 + below(m, 5));
  tg_dtype dtype = chance(m, 50) ? TG_BFLOAT16 : TG_FLOAT16;
  int first = graph_leaf(m, dtype, &shape, GRAPH_EXTREME, 0), x = first;
  for (int k = 1 + (int)below(m, 3); k >= 0 && x >= 0; k--) {
    const char *name = rows[below(m, 7)];
    bool two = strlen(name) == 3;
    graph_step s = {.op = graph_op_named(name), .ins = two ? 2 : 1, .in = {x, first}};
    s.whole[0] = 1;
    s.real[0] = 0.3;
    x = graph_append(m, &s);
  }
  if (x >= 0) apply(m, "float", x, -1, -1, 0);
}

static int large_leaf(graph_maker *m, tg_dtype dtype, int64_t rows, int64_t columns) {
  const graph_content some[] = {GRAPH_SMALL, GRAPH_EIGHTHS, GRAPH_REALS, GRAPH_WILD};
  tg_shape shape = TG_SHAPE(rows, columns);
  return graph_leaf(m, dtype, &shape, some[below(m, 4)], 0);
}

/* A product of matrices that has tiles, one of them turned, masked or padded before, and
 * an operation behind. */
static void contracted(graph_maker *m) {
  const char *rows[] = {"relu", "add", "where_number", "mul", "sum", "softmax", "max", "cast"};
  const int64_t sizes[] = {1, 4, 15, 16, 17, 33, 48, 70};
  int64_t n = sizes[below(m, 8)], k = sizes[2 + below(m, 6)], c = sizes[below(m, 8)];
  tg_dtype dtype = chance(m, 60) ? TG_FLOAT32 : graph_some_dtype(m, 0);
  int a = large_leaf(m, dtype, n, k), b = large_leaf(m, dtype, k, c);
  if (a < 0 || b < 0) return;
  if (chance(m, 40)) {
    int mask = large_leaf(m, TG_BOOL, n, k);
    a = mask < 0 ? -1 : apply(m, "where_number", mask, a, -1, 0);
  } else if (chance(m, 40)) {
    graph_step flip = {.op = graph_op_named("flip"), .ins = 1, .in = {b}, .list = {TG_INTS(0)}};
    b = graph_append(m, &flip);
  }
  int product = a < 0 || b < 0 ? -1 : apply(m, "dot", a, b, -1, 0);
  if (product < 0) return;
  for (int i = 0; i < m->g->count; i++) m->used[i] = i != product;
  graph_grow(m, graph_op_named(rows[below(m, 8)]));
}

bool graph_idiom(graph_maker *m, int which) {
  static void (*const all[GRAPH_IDIOMS])(graph_maker *m) = {
    masked_product, entropy, counted, signed_zeros, wrapped, rounded, contracted, indexed};
  int before = m->g->count;
  if (before > GRAPH_STEPS - 12) return false;
  all[which](m);
  return m->g->count > before;
}

static int some_idiom(graph_maker *m) {
  const int often[] = {0, 0, 1, 2, 3, 3, 4, 4, 5, 5, 6, 7, 7, 7, 7, 7};
  return often[below(m, 16)];
}

/* ---- graphs */

static int some_op(graph_maker *m) {
  int64_t sum = 0;
  for (int i = 0; i < graph_op_count; i++) sum += graph_ops[i].weight;
  int64_t at = below(m, sum);
  int op = 0;
  while ((at -= graph_ops[op].weight) >= 0) op++;
  return op;
}

static void first_leaf(graph_maker *m) {
  tg_shape shape = {(int32_t)below(m, 4), {0}};
  for (int i = 0; i < shape.ndim; i++) shape.dim[i] = chance(m, 2) ? 0 : 1 + below(m, 6);
  if (shape.ndim > 1 && chance(m, 12)) shape.dim[0] = 16 + below(m, 30), shape.dim[1] = 16;
  graph_some_leaf(m, graph_some_dtype(m, m->g->grads ? GRAPH_W_FLOAT : 0), &shape, 0);
}

void graph_make(graph *g, uint64_t seed) {
  graph_maker m = {.g = g, .state = seed * 0x2545f4914f6cdd1du + 1};
  memset(g, 0, sizeof *g);
  g->seed = seed;
  g->grads = chance(&m, 35);
  g->loss = (int)below(&m, 3);
  int64_t steps = 3 + below(&m, chance(&m, 50) ? 8 : 22);
  TG_SCOPE {
    first_leaf(&m);
    for (int tries = 0; g->count < steps && tries < 200; tries++) {
      if (seed >= GRAPH_IDIOM_SEED) graph_idiom(&m, (int)(seed % GRAPH_IDIOMS));
      else if (chance(&m, 12)) graph_idiom(&m, some_idiom(&m));
      else graph_grow(&m, some_op(&m));
    }
  }
  tg_clear_error();
}

void graph_free(graph *g) {
  for (int i = 0; i < g->count; i++) free(g->step[i].data);
  g->count = 0;
}

void graph_copy(graph *to, const graph *from) {
  *to = *from;
  for (int i = 0; i < to->count; i++) {
    graph_step *s = &to->step[i];
    size_t size = s->data ? (size_t)graph_count(&s->list[0]) * 8 + 8 : 0;
    if (!size) continue;
    s->data = malloc(size);
    if (s->data) memcpy(s->data, from->step[i].data, size);
  }
}

bool graph_uses(const graph *g, int step, int value) {
  for (int k = 0; k < g->step[step].ins; k++)
    if (g->step[step].in[k] == value) return true;
  return false;
}

int graph_sinks(const graph *g, int *sinks) {
  int count = 0;
  for (int i = 0; i < g->count; i++) {
    bool used = false;
    for (int k = i + 1; k < g->count && !used; k++) used = graph_uses(g, k, i);
    if (!used && (!graph_is(&g->step[i], "leaf") || g->count == 1)) sinks[count++] = i;
  }
  return count;
}
