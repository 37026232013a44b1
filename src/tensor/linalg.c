/* tensor/linalg: products of matrices, and the layers that are little more.
 *
 * A product is written as multiplication and a sum:
 *
 *   x [B..., M, 1, K]  times  w [B..., 1, N, K]  summed over K: [B..., M, N]
 *
 * where the axes of size 1 broadcast. Nothing of that size is ever in memory:
 * the compiler sees one SUM of a product over movements, a contraction. The
 * gradients have the same form by themselves: that of x is the gradient times
 * w, summed over the axes along which x was broadcast (N, and batches), and
 * the other way round.
 *
 * The 16-bit floats are multiplied and summed in float32 and rounded at the end.
 */
#include "autograd/functions.h"
#include "tensor/tensor.h"

/* ---- matrix products */

/* x [..., M, K] -> [..., M, 1, K]; [K] -> [1, K]. */
static tg_tensor *left_factor(tg_tensor *x) {
  tg_shape shape = tg_shape_of(x);
  if (shape.ndim == 1) return tg_reshape(x, 1, shape.dim[0]);
  shape.dim[shape.ndim] = shape.dim[shape.ndim - 1];
  shape.dim[shape.ndim - 1] = 1;
  shape.ndim++;
  return tg_reshape_to(x, shape);
}

/* w [..., K, N] -> [..., 1, N, K]; [K] -> [1, K]. */
static tg_tensor *right_factor(tg_tensor *w) {
  if (tg_rank(w) == 1) return tg_reshape(w, 1, tg_dims(w)[0]);
  return tg_unsqueeze(tg_transpose(w, -1, -2), -3);
}

/* The product's shape: batches, then M unless x is a vector, then N unless w is. */
static tg_shape product_shape(const tg_tensor *x, const tg_tensor *w, tg_shape batch) {
  if (tg_rank(x) > 1) batch.dim[batch.ndim++] = tg_dims(x)[tg_rank(x) - 2];
  if (tg_rank(w) > 1) batch.dim[batch.ndim++] = tg_dims(w)[tg_rank(w) - 1];
  return batch;
}

static tg_tensor *product(tg_tensor *x, tg_tensor *w, tg_shape shape) {
  tg_dtype dtype = tg_widen_product(&x, &w);
  if (!x || !w) return NULL;
  tg_tensor *left = left_factor(x), *right = right_factor(w);
  tg_tensor *all = tg_mul(left, right);
  if (!all) return NULL;
  uint32_t last = UINT32_C(1) << (tg_rank(all) - 1);
  tg_tensor *sum = tg_call1_with(&tg_fn_sum, all, 1, &(int64_t){last});
  return tg_cast(tg_reshape_to(sum, shape), dtype);
}

/* The shape that the axes before the matrices broadcast to. */
static bool batch_shape(const tg_tensor *x, const tg_tensor *w, tg_shape *out) {
  int nx = tg_rank(x) > 2 ? tg_rank(x) - 2 : 0, nw = tg_rank(w) > 2 ? tg_rank(w) - 2 : 0;
  out->ndim = nx > nw ? nx : nw;
  for (int i = 1; i <= out->ndim; i++) { /* counted from the last one */
    int64_t a = i <= nx ? tg_dims(x)[nx - i] : 1, b = i <= nw ? tg_dims(w)[nw - i] : 1;
    if (a != b && a != 1 && b != 1) {
      tg_fail("tg_dot: the batches of %s and %s cannot be broadcast: %lld and %lld; reshape one "
              "so that the sizes before the matrices are equal or 1", tg_text_of(x),
              tg_text_of(w), (long long)a, (long long)b);
      return false;
    }
    out->dim[out->ndim - i] = a == 1 ? b : a;
  }
  return true;
}

static bool can_multiply(const tg_tensor *x, const tg_tensor *w) {
  int nx = tg_rank(x), nw = tg_rank(w), k = nw > 1 ? nw - 2 : 0;
  if (!nx || !nw || nx == TG_MAX_DIMS || nw == TG_MAX_DIMS)
    tg_fail("tg_dot: shapes %s and %s: both need 1 to %d axes; multiply by a scalar with tg_mul",
            tg_text_of(x), tg_text_of(w), TG_MAX_DIMS - 1);
  else if (tg_dims(x)[nx - 1] != tg_dims(w)[k])
    tg_fail("tg_dot: shapes %s and %s do not fit: the last axis of the first is %lld, axis %d of "
            "the second is %lld; they must be equal", tg_text_of(x), tg_text_of(w),
            (long long)tg_dims(x)[nx - 1], k, (long long)tg_dims(w)[k]);
  else if (x->node->dtype == TG_BOOL && w->node->dtype == TG_BOOL)
    tg_fail("tg_dot: bool has no sum of products; cast one of the two to a number");
  else
    return true;
  return false;
}

tg_tensor *tg_dot(tg_tensor *x, tg_tensor *w) {
  tg_shape batch;
  if (tg_is_null("tg_dot", x) || tg_is_null("tg_dot", w)) return NULL;
  if (!can_multiply(x, w) || !batch_shape(x, w, &batch)) return NULL;
  TG_COMPOSE(product(x, w, product_shape(x, w, batch)));
}

tg_tensor *tg_matmul(tg_tensor *x, tg_tensor *w) { TG_COMPOSE(tg_dot(x, w)); }

/* ---- layers */

static tg_tensor *linear(tg_tensor *x, tg_tensor *weight, tg_tensor *bias) {
  tg_tensor *out = tg_rank(weight) == 1 ? tg_mul(x, weight) : tg_dot(x, weight);
  return bias ? tg_add(out, bias) : out;
}

tg_tensor *(tg_linear)(tg_tensor *x, tg_tensor *weight, const tg_linear_opts *o) {
  if (tg_is_null("tg_linear", x) || tg_is_null("tg_linear", weight)) return NULL;
  TG_COMPOSE(linear(x, weight, o ? o->bias : NULL));
}

tg_tensor *tg_sequential(tg_tensor *x, int count, const tg_layer *layers, void *const *user) {
  if (tg_is_null("tg_sequential", x)) return NULL;
  if (count < 0 || (count && !layers))
    return tg_fail("tg_sequential: %d layers at no address; give an array of functions", count);
  /* No scope of its own: what a layer of the caller's makes, it may want to keep. */
  for (int i = 0; x && i < count; i++) {
    if (!layers[i]) return tg_fail("tg_sequential: layer %d of %d is NULL", i, count);
    x = layers[i](x, user ? user[i] : NULL);
    if (!x) tg_fail("tg_sequential: layer %d of %d gave NULL without a message", i, count);
  }
  return x;
}
