/* Functions over rows: softmax, its logarithm, layer normalisation, and the loss of
 * one class per row.
 *
 * Each could be composed of sums and maxima, and so would be its gradient. As
 * Functions their gradients are the short formulas that are found by hand, over the
 * result or over the input, with what is known once per row apart from what there is
 * per element: the compiler makes one kernel of each forward and of each backward
 * (src/compile/rows.c). The notation is that of functions.c; sums, maxima and means
 * are over the axes of the mask, n is how many elements they have.
 */
#include "autograd/functions.h"

#define NORMAL_ROW(name, Name) \
  const tg_function_row tg_fn_##name = {#Name, name##_forward, name##_backward}

/* ---- rows */

/* What there is once per row, at each element of the row. */
static tg_node *each(const tg_context *c, tg_node *x) { return tg_node_expand(x, c->in.dim); }

static tg_node *row_fold(const tg_context *c, tg_op op, tg_node *x) {
  return x ? tg_node_reduce(op, x, (uint32_t)c->args[0]) : NULL;
}

static tg_node *row_sum(const tg_context *c, tg_node *x) { return row_fold(c, TG_OP_SUM, x); }

static tg_node *row_mean(const tg_context *c, tg_node *x) {
  double n = 1;
  for (int i = 0; i < c->in.ndim; i++)
    if (c->args[0] >> i & 1) n *= (double)c->in.dim[i];
  tg_node *sum = row_sum(c, x);
  return sum ? tg_n_div(sum, tg_n_num(sum, n)) : NULL;
}

static tg_node *row_inverse(tg_node *x) { return x ? tg_n_div(tg_n_num(x, 1), x) : NULL; }

/* x - max x: no exponential overflows. The largest counts as a constant: the
 * result does not depend on it. */
static tg_node *row_lowered(const tg_context *c, tg_node *x) {
  return tg_n_sub(x, each(c, row_fold(c, TG_OP_REDUCE_MAX, x)));
}

/* ---- softmax: r = e^(x - max x) / sum of those; dx = r (g - sum(g r)).
 *      With args[1] a row of minus infinities gives zeros, not NaNs. */

static tg_node *row_or(tg_node *x, double unless, double otherwise) {
  if (!x) return NULL;
  return tg_node_where(tg_n_eq(x, tg_n_num(x, unless)), tg_n_num(x, otherwise), x);
}

static tg_node *softmax_forward(tg_context *c, tg_node *const *x) {
  tg_node *most = row_fold(c, TG_OP_REDUCE_MAX, x[0]);
  if (c->args[1]) most = row_or(most, (double)-INFINITY, 0);
  tg_node *e = tg_node_unary(TG_OP_EXP, tg_n_sub(x[0], each(c, most)));
  tg_node *total = row_sum(c, e);
  if (c->args[1]) total = row_or(total, 0, 1);
  return c->saved[0] = tg_n_mul(e, each(c, row_inverse(total)));
}

static void softmax_backward(tg_context *c, tg_node *g, tg_node **dx) {
  tg_node *r = c->saved[0];
  dx[0] = tg_n_mul(r, tg_n_sub(g, each(c, row_sum(c, tg_n_mul(g, r)))));
}
NORMAL_ROW(softmax, Softmax);

/* ---- log softmax: r = x - max x - ln(sum of e^(x - max x)); dx = g - e^r sum(g) */

static tg_node *log_softmax_forward(tg_context *c, tg_node *const *x) {
  tg_node *low = row_lowered(c, x[0]);
  tg_node *total = row_sum(c, tg_node_unary(TG_OP_EXP, low));
  return c->saved[0] = tg_n_sub(low, each(c, tg_node_unary(TG_OP_LOG, total)));
}

static void log_softmax_backward(tg_context *c, tg_node *g, tg_node **dx) {
  tg_node *e = tg_node_unary(TG_OP_EXP, c->saved[0]);
  dx[0] = tg_n_sub(g, tg_n_mul(e, each(c, row_sum(c, g))));
}
NORMAL_ROW(log_softmax, LogSoftmax);

/* ---- layer norm: r = a s with a = x - mean x, s = 1 / sqrt(mean(a^2) + eps);
 *      dx = s (g - mean(g) - r mean(g r)) */

static tg_node *layer_norm_forward(tg_context *c, tg_node *const *x) {
  double eps;
  memcpy(&eps, &c->args[1], sizeof eps);
  tg_node *away = tg_n_sub(x[0], each(c, row_mean(c, x[0])));
  tg_node *var = row_mean(c, tg_n_mul(away, away));
  if (!var) return NULL;
  tg_node *scale = row_inverse(tg_node_unary(TG_OP_SQRT, tg_n_add(var, tg_n_num(var, eps))));
  c->saved[0] = away;
  c->saved[1] = scale;
  return tg_n_mul(away, each(c, scale));
}

/* r is made again from x, which must be read for s anyway. */
static void layer_norm_backward(tg_context *c, tg_node *g, tg_node **dx) {
  tg_node *scale = each(c, c->saved[1]), *r = tg_n_mul(c->saved[0], scale);
  tg_node *along = tg_n_mul(r, each(c, row_mean(c, tg_n_mul(g, r))));
  dx[0] = tg_n_mul(scale, tg_n_sub(tg_n_sub(g, each(c, row_mean(c, g))), along));
}
NORMAL_ROW(layer_norm, LayerNorm);

/* ---- row loss: x [N, C], label int64 [N] -> [N]:
 *      r[i] = ln(sum over j of e^(x[i, j] - max x[i])) - (x[i, label[i]] - max x[i]);
 *      dx[i, j] = g[i] (softmax(x)[i, j] - (j == label[i])).
 *      Both terms of r are small where the logits are large. That a label is no
 *      class is found by reading its element. args: the mask of axis 1 */

/* Where label [N] lies in the flat table [N * C]. A label that is no class must
 * not become one of the next row: it is checked first. */
static tg_node *flat_labels(tg_node *label, int64_t classes) {
  label = tg_n_checked(label, classes);
  if (!label) return NULL;
  tg_node *row = tg_node_iota(label->device, 1, tg_node_shape(label), 0);
  return tg_n_add(tg_n_mul(row, tg_n_num(label, (double)classes)), label);
}

static tg_node *row_loss_forward(tg_context *c, tg_node *const *x) {
  const int64_t *rows = c->in.dim, classes = c->in.dim[1];
  tg_node *most = row_fold(c, TG_OP_REDUCE_MAX, x[0]);
  tg_node *e = tg_node_unary(TG_OP_EXP, tg_n_sub(x[0], each(c, most)));
  tg_node *total = row_sum(c, e);
  c->saved[0] = e;
  c->saved[1] = total;
  c->saved[2] = x[1];
  tg_node *flat = tg_node_reshape(x[0], 1, &x[0]->numel);
  tg_node *picked = tg_node_gather(flat, flat_labels(x[1], classes));
  tg_node *log = tg_node_reshape(tg_node_unary(TG_OP_LOG, total), 1, rows);
  return tg_n_sub(log, tg_n_sub(picked, tg_node_reshape(most, 1, rows)));
}

static void row_loss_backward(tg_context *c, tg_node *g, tg_node **dx) {
  const int64_t column[] = {c->in.dim[0], 1};
  tg_node *label = each(c, tg_node_reshape(c->saved[2], 2, column));
  tg_node *hit = tg_n_eq(tg_node_iota(c->in_device, 2, c->in.dim, 1), label);
  tg_node *p = tg_n_mul(c->saved[0], each(c, row_inverse(c->saved[1])));
  dx[0] = tg_n_mul(each(c, tg_node_reshape(g, 2, column)),
                   tg_n_sub(p, tg_node_cast(hit, c->in_dtype)));
}
NORMAL_ROW(row_loss, RowLoss);
