/* tests/graphs/facts: what is known of a value before it is computed.
 *
 * Two ways of computing a graph may differ by rounding, and no more. A value is *same*
 * when nothing between it and the leaves may round differently: moved elements, single
 * additions and multiplications, comparisons of such. Sums and products over an axis may
 * be added up in any order, and are the same only where no order rounds: their elements
 * are multiples of a known quantum and small. exp and its kind never are.
 *
 * What jumps (comparisons, rounding to whole numbers, argmax, a condition) must be given
 * the same values; a graph that does otherwise proves nothing, and is refused here: the
 * generator and the shrinker both ask. The sign of a zero is followed likewise. */
#include "graphs.h"

static int mantissa(tg_dtype d) {
  return d == TG_FLOAT16 ? 11 : d == TG_BFLOAT16 ? 8 : d == TG_FLOAT32 ? 24 : 53;
}

static bool fits(double quantum, double most, tg_dtype d) {
  if (d == TG_FLOAT16 && (most > 65504 || quantum < 0x1p-14)) return false;
  return quantum > 0x1p-60 && most / quantum <= ldexp(1, mantissa(d));
}

static void number_fact(graph_fact *f, double x) {
  double size = isfinite(x) ? fabs(x) : 0;
  bool grid = size <= 1024 && floor(size * 8) == size * 8;
  f->quantum = !grid ? 0 : f->quantum < 0.125 ? f->quantum : 0.125;
  if (f->quantum > 0 && floor(size) == size) f->quantum = f->quantum < 1 ? f->quantum : 1;
  if (size > f->most) f->most = size;
  if (isnan(x)) f->known = false;
}

static void leaf_fact(graph_fact *f, const graph_step *s) {
  int64_t count = graph_count(&s->list[0]);
  f->quantum = 0.125;
  for (int64_t i = 0; i < count; i++) number_fact(f, graph_get(s->data, s->dtype, i));
}

/* All of these operands together. */
static void join(graph_fact *f, const graph *g, const graph_step *s, int first) {
  f->quantum = 1;
  for (int i = first; i < s->ins; i++) {
    const graph_fact *x = &g->step[s->in[i]].fact;
    f->same = f->same && x->same;
    f->zero_sign = f->zero_sign && x->zero_sign;
    f->known = f->known && x->known;
    if (x->quantum < f->quantum) f->quantum = x->quantum;
    if (x->most > f->most) f->most = x->most;
  }
}

static bool has_number(const graph_step *s, const char *token) {
  return strstr(graph_ops[s->op].text, token);
}

static void arithmetic_fact(graph_fact *f, const graph *g, const graph_step *s) {
  const graph_fact *x = &g->step[s->in[0]].fact, *y = &g->step[s->in[s->ins - 1]].fact;
  bool add = graph_ops[s->op].kind == GRAPH_ADD;
  if (!add) f->quantum = x->quantum * y->quantum;
  f->most = add ? x->most + y->most : x->most * y->most;
  f->known = false;
}

static void sum_fact(graph_fact *f, const graph *g, const graph_step *s) {
  bool product = s->ins > 1 && !graph_is(s, "scatter_add");
  double terms = 1;
  if (product) {
    f->quantum = f->quantum > 0 ? f->quantum * f->quantum : 0;
    f->most *= f->most;
  }
  for (int i = 0; i < s->ins; i++) {
    double n = (double)graph_count(&g->step[s->in[i]].fact.shape);
    if (n + 1 > terms) terms = n + 1;
  }
  f->most *= terms;
  bool order = graph_is(s, "scatter_add") || f->dtype == TG_FLOAT64;
  if (!fits(f->quantum, f->most, order ? f->dtype : TG_FLOAT32)) f->same = false;
  /* Winograd's method divides. */
  if (!strncmp(graph_ops[s->op].name, "conv", 4)) f->same = false;
  f->zero_sign = f->known = false;
}

static void kind_fact(graph_fact *f, const graph *g, const graph_step *s) {
  switch (graph_ops[s->op].kind) {
    case GRAPH_LEAF: leaf_fact(f, s); break;
    case GRAPH_CONST:
      f->quantum = 0.125;
      for (int i = 0; i < 3; i++) number_fact(f, s->real[i]);
      if (f->most == 0) f->most = 1;
      if (graph_is(s, "arange")) f->most += fabs(s->real[1]);
      break;
    case GRAPH_ADD:
    case GRAPH_MUL: arithmetic_fact(f, g, s); break;
    case GRAPH_SUM: sum_fact(f, g, s); break;
    case GRAPH_MAX:
      f->zero_sign = f->known = false;
      f->quantum = f->quantum < 0.125 ? f->quantum : 0.125;
      f->most = f->most > 8 ? f->most : 8;
      break;
    case GRAPH_FUNC: f->same = f->zero_sign = f->known = false, f->quantum = 0; break;
    case GRAPH_JUMP: f->quantum = 1, f->most = f->most + 1, f->known = false; break;
    case GRAPH_DRAW:
    case GRAPH_ARITH:
    case GRAPH_BITCAST: f->quantum = 0, f->known = false; break;
    case GRAPH_MOVE:
    case GRAPH_WHERE:
      if (has_number(s, "R0")) number_fact(f, s->real[0]);
      if (graph_is(s, "where_whole")) number_fact(f, (double)s->whole[0]);
      break;
    case GRAPH_CAST: break;
  }
}

static void dtype_fact(graph_fact *f) {
  if (!tg_dtype_is_float(f->dtype)) {
    double top = f->dtype == TG_BOOL ? 1 : ldexp(1, 8 * (int)tg_dtype_size(f->dtype));
    f->same = f->zero_sign = f->known = true;
    f->quantum = 1;
    if (!(f->most <= top)) f->most = top;
    return;
  }
  if (!fits(f->quantum, f->most, f->dtype)) f->quantum = 0;
}

/* An operand that the step jumps with must be the same, and so on. */
static bool may(const graph *g, const graph_step *s, const graph_fact *f) {
  const graph_op *op = &graph_ops[s->op];
  bool whole = !tg_dtype_is_float(f->dtype);
  for (int i = 0; i < s->ins; i++) {
    const graph_fact *x = &g->step[s->in[i]].fact;
    bool jumps = whole || op->kind == GRAPH_JUMP || (op->want & GRAPH_W_SAME) ||
                 (op->kind == GRAPH_WHERE && i == 0);
    if (jumps && !x->same) return false;
    if ((op->want & GRAPH_W_SIGNED) && !x->zero_sign) return false;
    if ((op->want & GRAPH_W_KNOWN) && !x->known) return false;
    if ((op->want & GRAPH_W_PLAIN) && g->grads) return false;
  }
  return true;
}

bool graph_learn(graph *g, int i, const tg_tensor *t) {
  graph_step *s = &g->step[i];
  graph_fact f = {tg_shape_of(t), tg_dtype_of(t), true, true, true, 1, 0};
  if (!may(g, s, &f)) return false;
  join(&f, g, s, graph_ops[s->op].kind == GRAPH_WHERE ? 1 : 0);
  kind_fact(&f, g, s);
  dtype_fact(&f);
  s->fact = f;
  return true;
}

bool graph_learn_all(graph *g) {
  tg_tensor *t[GRAPH_STEPS];
  bool good = true;
  TG_SCOPE {
    for (int i = 0; good && i < g->count; i++) {
      const graph_step *s = &g->step[i];
      tg_tensor *in[4] = {NULL};
      for (int k = 0; k < s->ins; k++) in[k] = t[s->in[k]];
      t[i] = graph_ops[s->op].apply(s, in);
      good = t[i] && graph_learn(g, i, t[i]);
    }
  }
  tg_clear_error();
  return good;
}
