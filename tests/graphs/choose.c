/* tests/graphs/choose: operands and arguments for the rows of the table whose shapes fit
 * by themselves: creation, elementwise, movement, reductions. A chooser fills the step and
 * says whether it could; what then turns out to be refused by the library is dropped. */
#include "graphs.h"


static bool suits(const graph_maker *m, int i, unsigned want) {
  const graph_fact *f = GRAPH_FACT(m, i);
  bool real = tg_dtype_is_float(f->dtype);
  int64_t count = graph_count(&f->shape);
  return !(m->g->step[i].replaced || ((want & GRAPH_W_FLOAT) && !real) ||
           ((want & GRAPH_W_WHOLE) && (real || f->dtype == TG_BOOL)) ||
           ((want & GRAPH_W_SAME) && !f->same) || ((want & GRAPH_W_SIGNED) && !f->zero_sign) ||
           ((want & GRAPH_W_AXIS) && !f->shape.ndim) || ((want & GRAPH_W_SOME) && !count) ||
           ((want & GRAPH_W_LITTLE) && count > 1500) || ((want & GRAPH_W_KNOWN) && !f->known) ||
           ((want & GRAPH_W_PAIR) && f->shape.ndim < 2) || ((want & GRAPH_W_MANY) && count < 2) ||
           ((want & GRAPH_W_GRID) && !(f->quantum > 0)) ||
           ((want & GRAPH_W_PLAIN) && m->g->grads));
}

/* A value that suits, sooner one that nobody uses yet; or -1. */
int graph_pick(graph_maker *m, unsigned want) {
  int all[GRAPH_STEPS], fresh[GRAPH_STEPS], count = 0, free = 0;
  for (int i = 0; i < m->g->count; i++) {
    if (!suits(m, i, want)) continue;
    all[count++] = i;
    if (!m->used[i]) fresh[free++] = i;
  }
  if (free && graph_chance(&m->state, 70)) return fresh[graph_below(&m->state, free)];
  return count ? all[graph_below(&m->state, count)] : -1;
}

static bool broadcasts(const tg_shape *a, const tg_shape *b) {
  for (int i = 1; i <= a->ndim && i <= b->ndim; i++) {
    int64_t x = a->dim[a->ndim - i], y = b->dim[b->ndim - i];
    if (x != y && x != 1 && y != 1) return false;
  }
  return true;
}

/* The shape with axes of size 1 here and there, or without the first. */
static tg_shape lesser(graph_maker *m, const tg_shape *shape) {
  tg_shape s = *shape;
  if (graph_chance(&m->state, 50)) return s;
  for (int i = 0; i < s.ndim; i++)
    if (graph_chance(&m->state, 30)) s.dim[i] = 1;
  if (s.ndim && graph_chance(&m->state, 30)) {
    s.ndim--;
    memmove(s.dim, s.dim + 1, (size_t)s.ndim * sizeof *s.dim);
  }
  return s;
}

int graph_partner(graph_maker *m, int with, unsigned want) {
  int all[GRAPH_STEPS], count = 0;
  for (int i = 0; i < m->g->count; i++)
    if (suits(m, i, want) && broadcasts(GRAPH_SHAPE(m, i), GRAPH_SHAPE(m, with))) all[count++] = i;
  if (count && graph_chance(&m->state, 60)) return all[graph_below(&m->state, count)];
  tg_shape shape = lesser(m, GRAPH_SHAPE(m, with));
  if (graph_count(&shape) > 2000) shape.ndim = 0;
  tg_dtype own = GRAPH_FACT(m, with)->dtype;
  return graph_some_leaf(m, graph_chance(&m->state, 75) ? own : graph_some_dtype(m, want), &shape,
                         want);
}

double graph_some_number(graph_maker *m) {
  const double some[] = {0.0, -0.0, 1, -1, 2, 0.5, -2.5, 3, 7, 1e-4, INFINITY, NAN, -INFINITY};
  return some[graph_below(&m->state, graph_chance(&m->state, 80) ? 10 : 13)];
}

int graph_some_axis(graph_maker *m, int value) {
  int n = GRAPH_SHAPE(m, value)->ndim;
  return n ? (int)graph_below(&m->state, 2 * n) - n : 0;
}

/* ---- creation */

static tg_shape some_shape(graph_maker *m, int ranks) {
  const int64_t sizes[] = {1, 2, 3, 4, 5, 7, 2, 3, 8, 17};
  tg_shape s = {(int32_t)graph_below(&m->state, ranks + 1), {0}};
  for (int i = 0; i < s.ndim; i++)
    s.dim[i] = graph_chance(&m->state, 2) ? 0 : sizes[graph_below(&m->state, s.ndim < 4 ? 10 : 4)];
  return s;
}

GRAPH_CHOOSER(none) {
  (void)m, (void)s;
  return false;
}

GRAPH_CHOOSER(full) {
  s->list[0] = some_shape(m, 3);
  s->dtype = graph_some_dtype(m, 0);
  s->real[0] = graph_some_number(m);
  if (graph_is(s, "zeros")) s->real[0] = 0;
  if (graph_is(s, "ones")) s->real[0] = 1;
  if (!tg_dtype_is_float(s->dtype)) s->real[0] = isfinite(s->real[0]) ? fabs(rint(s->real[0])) : 1;
  return true;
}

GRAPH_CHOOSER(like) {
  s->in[s->ins++] = graph_pick(m, 0);
  s->real[0] = (double)graph_below(&m->state, 3);
  return s->in[0] >= 0;
}

GRAPH_CHOOSER(arange) {
  s->dtype = graph_some_dtype(m, 0);
  s->real[0] = (double)graph_below(&m->state, 3);
  s->real[2] = (double)graph_below(&m->state, 3) + 1;
  s->real[1] = s->real[0] + (double)graph_below(&m->state, 12) * s->real[2];
  return s->dtype != TG_BOOL;
}

GRAPH_CHOOSER(eye) {
  s->dtype = graph_some_dtype(m, 0);
  s->whole[0] = graph_below(&m->state, 6);
  return true;
}

GRAPH_CHOOSER(draw) {
  s->list[0] = some_shape(m, 3);
  s->dtype = graph_some_dtype(m, GRAPH_W_FLOAT);
  s->whole[0] = graph_below(&m->state, 1000);
  return s->list[0].ndim > 0;
}

GRAPH_CHOOSER(randint) {
  s->list[0] = some_shape(m, 3);
  s->dtype = graph_some_dtype(m, GRAPH_W_WHOLE);
  s->whole[0] = graph_below(&m->state, 1000);
  return true;
}

/* ---- elementwise */

GRAPH_CHOOSER(one) {
  s->in[0] = graph_pick(m, graph_ops[s->op].want);
  s->ins = 1;
  return s->in[0] >= 0;
}

GRAPH_CHOOSER(two) {
  unsigned want = graph_ops[s->op].want;
  if (!graph_choose_one(m, s)) return false;
  s->in[1] = graph_partner(m, s->in[0], want);
  s->ins = 2;
  return s->in[1] >= 0;
}

GRAPH_CHOOSER(number) {
  const int64_t wholes[] = {0, 1, -1, 2, 3, 127, 255, 256, -128, 1 << 20};
  s->real[0] = graph_some_number(m);
  s->whole[0] = wholes[graph_below(&m->state, graph_chance(&m->state, 70) ? 5 : 10)];
  return graph_choose_one(m, s);
}

GRAPH_CHOOSER(cast) {
  s->dtype = graph_some_dtype(m, 0);
  bool whole = !tg_dtype_is_float(s->dtype);
  s->in[0] = graph_pick(m, whole ? GRAPH_W_SAME : 0);
  s->ins = 1;
  return s->in[0] >= 0;
}

GRAPH_CHOOSER(bitcast) {
  if (!graph_choose_one(m, s)) return false;
  int64_t size = tg_dtype_size(GRAPH_FACT(m, s->in[0])->dtype);
  for (int i = 0; i < 20; i++) {
    s->dtype = graph_some_dtype(m, 0);
    if (s->dtype != TG_BOOL && tg_dtype_size(s->dtype) == size) return true;
  }
  return false;
}

GRAPH_CHOOSER(dropout) {
  const double rates[] = {0.5, 0.25, 0.1};
  s->real[0] = rates[graph_below(&m->state, 3)];
  s->whole[0] = graph_below(&m->state, 1000);
  return graph_choose_one(m, s);
}

GRAPH_CHOOSER(exponent) {
  const double some[] = {0, 1, 2, 3, 0.5, -1, 2.5, -2};
  s->real[0] = some[graph_below(&m->state, 8)];
  return graph_choose_one(m, s);
}

/* The exponent small, so that little overflows. */
GRAPH_CHOOSER(power) {
  if (!graph_choose_one(m, s)) return false;
  tg_shape shape = lesser(m, GRAPH_SHAPE(m, s->in[0]));
  if (graph_count(&shape) > 2000) shape.ndim = 0;
  tg_dtype dtype = graph_some_dtype(m, GRAPH_W_FLOAT);
  s->in[1] = graph_leaf(m, dtype, &shape,
                        graph_chance(&m->state, 50) ? GRAPH_SMALL : GRAPH_POSITIVE, 0);
  s->ins = 2;
  return s->in[1] >= 0;
}

GRAPH_CHOOSER(where) {
  s->in[0] = graph_pick(m, GRAPH_W_SAME);
  if (s->in[0] < 0) return false;
  s->in[1] = graph_partner(m, s->in[0], 0);
  s->in[2] = s->in[1] < 0 ? -1 : graph_partner(m, s->in[1], 0);
  s->ins = 3;
  return s->in[2] >= 0;
}

GRAPH_CHOOSER(where_number) {
  s->in[0] = graph_pick(m, GRAPH_W_SAME);
  s->in[1] = s->in[0] < 0 ? -1 : graph_partner(m, s->in[0], 0);
  s->ins = 2;
  s->real[0] = graph_some_number(m);
  s->whole[0] = graph_below(&m->state, 3) - 1;
  return s->in[1] >= 0;
}

GRAPH_CHOOSER(same_shape) {
  if (!graph_choose_one(m, s)) return false;
  int rank = GRAPH_SHAPE(m, s->in[0])->ndim;
  s->in[1] = graph_some_leaf(m, GRAPH_FACT(m, s->in[0])->dtype, GRAPH_SHAPE(m, s->in[0]), 0);
  if (graph_chance(&m->state, 30) && !graph_is(s, "assign")) s->in[1] = s->in[0];
  s->whole[0] = graph_below(&m->state, rank + 1);
  s->ins = 2;
  return s->in[1] >= 0 && rank < 6;
}

/* ---- reductions */

GRAPH_CHOOSER(reduce) {
  if (!graph_choose_one(m, s)) return false;
  int rank = GRAPH_SHAPE(m, s->in[0])->ndim;
  s->list[0].ndim = 0;
  for (int i = 0; i < rank && graph_chance(&m->state, 85); i++)
    if (graph_chance(&m->state, 50)) s->list[0].dim[s->list[0].ndim++] = i;
  s->whole[0] = graph_chance(&m->state, 30);
  return true;
}

GRAPH_CHOOSER(one_axis) {
  if (!graph_choose_one(m, s)) return false;
  s->list[0] = TG_INTS(graph_some_axis(m, s->in[0]));
  s->whole[0] = graph_chance(&m->state, 30);
  return true;
}

GRAPH_CHOOSER(axes) {
  if (!graph_choose_one(m, s)) return false;
  s->whole[0] = graph_some_axis(m, s->in[0]);
  s->whole[1] = graph_some_axis(m, s->in[0]);
  if (graph_is(s, "flatten") && s->whole[0] < 0) s->whole[0] = 0;
  return GRAPH_SHAPE(m, s->in[0])->ndim < 6 || !graph_is(s, "unsqueeze");
}

GRAPH_CHOOSER(triangle) {
  s->whole[0] = graph_below(&m->state, 5) - 2;
  return graph_choose_one(m, s);
}
