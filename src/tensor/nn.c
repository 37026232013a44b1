/* tensor/nn: normalisation, dropout, attention and losses.
 *
 * Compositions of Functions; those over rows are in src/autograd/normalize.c.
 * BinaryCrossEntropy is one of its own because PyTorch bounds its logarithms and
 * its slope at 0 and 1.
 */
#include "autograd/functions.h"
#include "tensor/tensor.h"

/* ---- normalisation */

static tg_tensor *layernorm(tg_tensor *x, const tg_layernorm_opts *o, uint32_t mask) {
  double eps = tg_opt(o->eps, 1e-5);
  int64_t args[2] = {mask};
  memcpy(&args[1], &eps, sizeof eps);
  return tg_cast(tg_call1_with(&tg_fn_layer_norm, tg_widened(x), 2, args), tg_float_dtype(x));
}

tg_tensor *(tg_layernorm)(tg_tensor *x, const tg_layernorm_opts *o) {
  static const tg_layernorm_opts none;
  uint32_t mask;
  if (!o) o = &none;
  tg_ints last = TG_INTS(-1), axis = o->axis.ndim ? o->axis : last;
  if (tg_is_null("tg_layernorm", x) || tg_axes("tg_layernorm", x, &axis, &mask)) return NULL;
  if (!(o->eps >= 0) || !isfinite(o->eps))
    return tg_fail("tg_layernorm: .eps is %g; use 0 or more", o->eps);
  TG_COMPOSE(layernorm(x, o, mask));
}

/* C elements as [1, C, 1...], to meet x [N, C, H...]. */
static tg_tensor *per_channel(tg_tensor *t, const tg_tensor *x, const char *what) {
  if (tg_is_null("tg_batchnorm", t)) return NULL;
  if (t->node->numel != tg_dims(x)[1])
    return tg_fail("tg_batchnorm: %s is %s but x %s has %lld channels (axis 1); it must be "
                   "(%lld,)", what, tg_text_of(t), tg_text_of(x), (long long)tg_dims(x)[1],
                   (long long)tg_dims(x)[1]);
  tg_shape shape = {.ndim = tg_rank(x)};
  for (int i = 0; i < shape.ndim; i++) shape.dim[i] = i == 1 ? tg_dims(x)[1] : 1;
  return tg_reshape_to(t, shape);
}

/* invstd alone may also have x's axes, each of x's size or 1 (teenygrad's rule). */
static bool meets(const tg_tensor *t, const tg_tensor *x) {
  bool fits = t && tg_rank(t) == tg_rank(x);
  for (int i = 0; fits && i < tg_rank(x); i++)
    fits = tg_dims(t)[i] == 1 || tg_dims(t)[i] == tg_dims(x)[i];
  return fits;
}

/* The dtype in which all that are given meet. */
static tg_dtype met_dtype(tg_tensor *const *all, int count) {
  tg_dtype dtype = tg_dtype_of(all[0]);
  for (int i = 1; i < count; i++)
    if (all[i]) dtype = tg_promote(dtype, tg_dtype_of(all[i]));
  return dtype;
}

static tg_tensor *batchnorm(tg_tensor *x, tg_tensor *weight, tg_tensor *bias, tg_tensor *mean,
                            tg_tensor *invstd) {
  tg_tensor *const all[] = {x, weight, bias, mean, invstd};
  tg_dtype dtype = met_dtype(all, 5), wide = tg_dtype_wide(dtype);
  tg_tensor *scale = meets(invstd, x) ? invstd : per_channel(invstd, x, "invstd");
  if (wide != dtype) x = tg_cast(x, wide), scale = tg_cast(scale, wide);
  if (weight) scale = tg_mul(scale, per_channel(weight, x, "weight"));
  tg_tensor *out = tg_mul(tg_sub(x, per_channel(mean, x, "mean")), scale);
  if (bias) out = tg_add(out, per_channel(bias, x, "bias"));
  return wide != dtype ? tg_cast(out, dtype) : out;
}

tg_tensor *tg_batchnorm(tg_tensor *x, tg_tensor *weight, tg_tensor *bias, tg_tensor *mean,
                        tg_tensor *invstd) {
  if (tg_is_null("tg_batchnorm", x)) return NULL;
  if (tg_rank(x) < 2)
    return tg_fail("tg_batchnorm: x %s has no channels; it must be [N, C, ...]", tg_text_of(x));
  TG_COMPOSE(batchnorm(x, weight, bias, mean, invstd));
}

/* ---- dropout */

/* The mask is put into memory: forward and backward read it, neither draws. */
static tg_tensor *drop_out(tg_tensor *x, double p) {
  tg_create_opts where = {.dtype = TG_FLOAT32, .device = tg_device(x)};
  tg_tensor *kept = tg_contiguous(tg_ge((tg_rand)(tg_shape_of(x), &where), p));
  tg_tensor *out = tg_where(kept, x, tg_zeros_like(x));
  return p < 1 ? tg_mul(out, 1 / (1 - p)) : out;
}

tg_tensor *tg_dropout(tg_tensor *x, double p) {
  if (tg_is_null("tg_dropout", x)) return NULL;
  if (!(p >= 0 && p <= 1))
    return tg_fail("tg_dropout: p = %g is no probability; use a number from 0 to 1", p);
  if (!tg_training() || p == 0) return x;
  TG_COMPOSE(drop_out(tg_as_float(x), p));
}

/* ---- attention */

/* Softmax over the last axis in which a row of minus infinities gives zeros. */
static tg_tensor *masked_softmax(tg_tensor *x) {
  if (!x || x->node->numel == 0) return x;
  const int64_t args[] = {INT64_C(1) << (tg_rank(x) - 1), 1};
  return tg_call1_with(&tg_fn_softmax, x, 2, args);
}

/* bool [L, S], true up to the diagonal. */
static tg_tensor *causal_mask(const tg_tensor *scores) {
  int n = tg_rank(scores);
  tg_create_opts like = {.dtype = TG_BOOL, .device = tg_device(scores)};
  return tg_tril((tg_ones)(TG_SHAPE(tg_dims(scores)[n - 2], tg_dims(scores)[n - 1]), &like), 0);
}

/* In float32 for the 16-bit floats: scores must neither overflow nor lose digits. */
static tg_tensor *attention(tg_tensor *q, tg_tensor *k, tg_tensor *v,
                            const tg_attention_opts *o) {
  tg_tensor *const all[] = {q, k, v};
  tg_dtype dtype = met_dtype(all, 3);
  double scale = 1 / sqrt((double)tg_dims(q)[tg_rank(q) - 1]);
  if (tg_dtype_wide(dtype) != dtype) q = tg_widened(q), k = tg_widened(k), v = tg_widened(v);
  tg_tensor *scores = tg_mul(tg_dot(q, tg_transpose(k, -1, -2)), scale);
  bool choice = o->mask && o->mask->node->dtype == TG_BOOL;
  if (choice) scores = tg_where(o->mask, scores, (double)-INFINITY);
  else if (o->mask) scores = tg_add(scores, o->mask);
  if (scores && o->causal)
    scores = tg_where(causal_mask(scores), scores, (double)-INFINITY);
  tg_tensor *out = tg_dot(tg_dropout(masked_softmax(scores), o->dropout), v);
  return tg_dtype_wide(dtype) != dtype ? tg_cast(out, dtype) : out;
}

tg_tensor *(tg_scaled_dot_product_attention)(tg_tensor *q, tg_tensor *k, tg_tensor *v,
                                             const tg_attention_opts *o) {
  static const tg_attention_opts none;
  const char *call = "tg_scaled_dot_product_attention";
  if (tg_is_null(call, q) || tg_is_null(call, k) || tg_is_null(call, v)) return NULL;
  if (tg_rank(q) < 2 || tg_rank(k) < 2 || tg_rank(v) < 2 ||
      tg_dims(q)[tg_rank(q) - 1] != tg_dims(k)[tg_rank(k) - 1])
    return tg_fail("%s: q %s, k %s and v %s must be [..., L, E], [..., S, E] and [..., S, V]",
                   call, tg_text_of(q), tg_text_of(k), tg_text_of(v));
  TG_COMPOSE(attention(q, k, v, o ? o : &none));
}

/* ---- binary cross entropy */

static tg_node *bounded_log(tg_node *x) {
  tg_node *log = tg_node_unary(TG_OP_LOG, x);
  return log ? tg_node_binary(TG_OP_MAX, log, tg_n_num(log, -100)) : NULL;
}

static tg_node *complement(tg_node *x) { return tg_n_sub(tg_n_num(x, 1), x); }

/* -(y max(ln x, -100) + (1 - y) max(ln(1 - x), -100)) */
static tg_node *bce_forward(tg_context *c, tg_node *const *in) {
  tg_node *x = c->saved[0] = in[0], *y = c->saved[1] = in[1];
  tg_node *yes = tg_n_mul(y, bounded_log(x));
  return tg_n_neg(tg_n_add(yes, tg_n_mul(complement(y), bounded_log(complement(x)))));
}

/* dx = g (x - y) / max(x (1 - x), 1e-12); dy = g (ln(1 - x) - ln x) */
static void bce_backward(tg_context *c, tg_node *grad, tg_node **grads) {
  tg_node *x = c->saved[0], *y = c->saved[1], *rest = complement(x);
  tg_node *width = tg_n_mul(x, rest);
  if (!width) return;
  width = tg_node_binary(TG_OP_MAX, width, tg_n_num(width, 1e-12));
  if (tg_needs_grad(c, 0)) grads[0] = tg_n_div(tg_n_mul(grad, tg_n_sub(x, y)), width);
  if (tg_needs_grad(c, 1))
    grads[1] = tg_n_mul(grad, tg_n_sub(bounded_log(rest), bounded_log(x)));
}

static const tg_function_row bce_row = {"BinaryCrossEntropy", bce_forward, bce_backward};

/* Both operands as floats of 32 bits or more, of one shape. */
static int meet_floats(const char *call, tg_tensor **x, tg_tensor **y) {
  if (tg_is_null(call, *x) || tg_is_null(call, *y)) return -1;
  *x = tg_widened(*x);
  return *x ? tg_meet(call, x, y) : -1;
}

static tg_tensor *bce(tg_tensor *x, tg_tensor *y) {
  tg_dtype dtype = tg_dtype_of(x);
  if (meet_floats("tg_binary_crossentropy", &x, &y)) return NULL;
  tg_tensor *mean = (tg_mean)(tg_call2(&bce_row, x, y), NULL);
  return tg_dtype_is_float(dtype) ? tg_cast(mean, dtype) : mean;
}

tg_tensor *tg_binary_crossentropy(tg_tensor *x, tg_tensor *y) { TG_COMPOSE(bce(x, y)); }

/* softplus(logits) - logits y */
static tg_tensor *bce_logits(tg_tensor *x, tg_tensor *y) {
  tg_dtype dtype = tg_dtype_of(x);
  if (meet_floats("tg_binary_crossentropy_logits", &x, &y)) return NULL;
  tg_tensor *mean = (tg_mean)(tg_sub(tg_softplus(x, 1), tg_mul(x, y)), NULL);
  return tg_dtype_is_float(dtype) ? tg_cast(mean, dtype) : mean;
}

tg_tensor *tg_binary_crossentropy_logits(tg_tensor *logits, tg_tensor *y) {
  TG_COMPOSE(bce_logits(logits, y));
}

/* ---- cross entropy with class numbers */

/* Per row ln(sum(e^(x - max))) - (x[label] - max). */
static tg_tensor *row_losses(tg_tensor *x, tg_tensor *label) {
  tg_tensor *const inputs[] = {x, label};
  return tg_call(&tg_fn_row_loss, 2, inputs, 1, &(int64_t){2});
}

static tg_tensor *cross_entropy(tg_tensor *logits, tg_tensor *labels, int64_t ignored) {
  tg_dtype dtype = tg_float_dtype(logits);
  int64_t rows = labels->node->numel, classes = tg_dims(logits)[tg_rank(logits) - 1];
  tg_tensor *label = tg_reshape(tg_cast(labels, TG_INT64), rows);
  tg_tensor *counts = tg_ne(label, ignored);
  tg_tensor *wide = tg_reshape(tg_widened(logits), rows, classes);
  tg_tensor *losses = wide ? row_losses(wide, tg_where(counts, label, 0)) : NULL;
  tg_tensor *total = (tg_sum)(tg_where(counts, losses, 0), NULL);
  tg_tensor *count = (tg_sum)(counts, NULL);
  return total ? tg_cast(tg_div(total, tg_cast(count, total->node->dtype)), dtype) : NULL;
}

static bool labels_fit(const char *call, const tg_tensor *logits, const tg_tensor *labels) {
  int n = tg_rank(logits);
  tg_dtype dtype = labels->node->dtype;
  if (n == 0 || tg_rank(labels) != n - 1 || tg_dims(logits)[n - 1] == 0 ||
      memcmp(tg_dims(logits), tg_dims(labels), (size_t)(n - 1) * sizeof(int64_t)))
    tg_fail("%s: logits %s and labels %s do not fit; they must be [..., C] and [...], with C at "
            "least 1", call, tg_text_of(logits), tg_text_of(labels));
  else if (tg_dtype_is_float(dtype) || dtype == TG_BOOL)
    tg_fail("%s: the labels are %s; class numbers must be integers, cast them", call,
            tg_dtype_name(dtype));
  else
    return true;
  return false;
}

tg_tensor *(tg_sparse_categorical_crossentropy)(tg_tensor *logits, tg_tensor *labels,
                                                const tg_crossentropy_opts *o) {
  const char *call = "tg_sparse_categorical_crossentropy";
  if (tg_is_null(call, logits) || tg_is_null(call, labels)) return NULL;
  if (!labels_fit(call, logits, labels)) return NULL;
  int given = o ? o->ignore_index.ndim : 0;
  if (given < 0 || given > 1)
    return tg_fail("%s: .ignore_index has %d numbers; give one, or none", call, given);
  int64_t ignored = given ? o->ignore_index.dim[0] : -1;
  TG_COMPOSE(cross_entropy(logits, labels, ignored));
}
