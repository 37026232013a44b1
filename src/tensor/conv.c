/* tensor/conv: convolution, its transpose, and pooling, over 1 to 3 axes.
 *
 * All start from windows: x [N, C, H...] -> [N, C, Y..., K...], where window y
 * holds the elements y * stride + k * dilation of an axis. The movement op
 * WINDOW says exactly that, so nothing is copied. Windows that tile the axis
 * (kernel = stride, no dilation) are a reshape instead, whose gradient needs
 * no sum.
 *
 *   pooling                 the mean or maximum over K...
 *   convolution             windows times weights, summed over I and K...
 *   transposed convolution  x times weights, summed over I, then every window
 *                           is added back to where it lies: the Function Fold,
 *                           the transpose of WINDOW
 *
 * Forward and gradients of a convolution so are each one sum of products over
 * movements: one contraction for the compiler. As in matrix products the 16-bit
 * floats are computed in float32 and rounded at the end, after the bias.
 */
#include "autograd/functions.h"
#include "tensor/tensor.h"

#define MOST_SPATIAL 3

/* ---- lists of options */

/* `given` as one number per axis: none is `otherwise`, one counts for all. */
static bool per_axis(const char *call, const char *what, tg_ints given, int axes,
                     int64_t otherwise, int64_t least, int64_t *out) {
  if (given.ndim < 0 || (given.ndim > 1 && given.ndim != axes)) {
    tg_fail("%s: %s %s has %d numbers for %d axes; give one for all, or one per axis", call, what,
            tg_shape_text(given.dim, given.ndim), (int)given.ndim, axes);
    return false;
  }
  for (int i = 0; i < axes; i++) {
    out[i] = !given.ndim ? otherwise : given.dim[given.ndim == 1 ? 0 : i];
    if (out[i] < least || out[i] > INT32_MAX) {
      tg_fail("%s: %s %lld is not possible; use numbers from %lld on", call, what,
              (long long)out[i], (long long)least);
      return false;
    }
  }
  return true;
}

/* Padding as pairs {left, right, top, bottom ...}, last axis first. */
static bool padding_pairs(const char *call, tg_ints given, int axes, tg_ints *out) {
  out->ndim = 2 * axes;
  bool fits = given.ndim == axes || given.ndim == 2 * axes;
  if (given.ndim < 0 || (given.ndim > 1 && !fits)) {
    tg_fail("%s: padding %s has %d numbers for %d axes; give 1, %d or %d", call,
            tg_shape_text(given.dim, given.ndim), (int)given.ndim, axes, axes, 2 * axes);
    return false;
  }
  for (int i = 0; i < 2 * axes; i++) {
    int from_last = i / 2, at = given.ndim == 1 ? 0 : axes - 1 - from_last;
    if (given.ndim > axes) at = i;
    out->dim[i] = !given.ndim ? 0 : given.dim[at];
    if (out->dim[i] > INT32_MAX || out->dim[i] < -INT32_MAX) {
      tg_fail("%s: padding by %lld is not possible", call, (long long)out->dim[i]);
      return false;
    }
  }
  return true;
}

/* ---- windows */

static bool window_fits(const char *call, const tg_tensor *x, int axis, int64_t kernel,
                        int64_t dilation) {
  int64_t needs = dilation * (kernel - 1) + 1;
  if (needs <= tg_dims(x)[axis]) return true;
  tg_fail("%s: kernel %lld with dilation %lld needs at least %lld elements but axis %d of %s has "
          "%lld; pad it, or take a smaller kernel", call, (long long)kernel, (long long)dilation,
          (long long)needs, axis, tg_text_of(x), (long long)tg_dims(x)[axis]);
  return false;
}

/* [.., H, ..] -> [.., Y, .., K] where K = stride tiles H: what is left over is
 * cut off, H is split into [Y, K], and K goes to the end. */
static tg_tensor *tiles(tg_tensor *x, int axis, int64_t kernel) {
  int ndim = tg_rank(x);
  int64_t bounds[2 * TG_MAX_DIMS], split[TG_MAX_DIMS + 1], order[TG_MAX_DIMS];
  int64_t count = tg_dims(x)[axis] / kernel;
  for (int i = 0; i < ndim; i++) {
    bounds[2 * i] = 0;
    bounds[2 * i + 1] = i == axis ? count * kernel : tg_dims(x)[i];
    split[1 + (i <= axis ? i : i + 1)] = i == axis ? count : tg_dims(x)[i];
    order[i] = i <= axis ? i : i + 1;
  }
  split[0] = ndim + 1;
  split[axis + 2] = kernel;
  order[ndim] = axis + 1;
  x = tg_call1_with(&tg_fn_shrink, x, 2 * ndim, bounds);
  x = x ? tg_call1_with(&tg_fn_reshape, x, ndim + 2, split) : NULL;
  return x ? tg_call1_with(&tg_fn_permute, x, ndim + 1, order) : NULL;
}

/* [..., H...] -> [..., Y..., K...] for the last `axes` axes. */
static tg_tensor *windows(const char *call, tg_tensor *x, int axes, const int64_t *kernel,
                          const int64_t *stride, const int64_t *dilation) {
  if (!x) return NULL;
  int first = tg_rank(x) - axes;
  if (tg_rank(x) + axes > TG_MAX_DIMS)
    return tg_fail("%s: %s with windows over %d axes has more than %d axes; merge some with "
                   "tg_reshape", call, tg_text_of(x), axes, TG_MAX_DIMS);
  for (int i = 0; i < axes; i++)
    if (!window_fits(call, x, first + i, kernel[i], dilation[i])) return NULL;
  for (int i = 0; x && i < axes; i++) {
    const int64_t args[] = {first + i, kernel[i], stride[i], dilation[i]};
    bool tile = kernel[i] == stride[i] && (dilation[i] == 1 || kernel[i] == 1);
    x = tile ? tiles(x, first + i, kernel[i]) : tg_call1_with(&tg_fn_window, x, 4, args);
  }
  return x;
}

/* ---- the shapes of a convolution */

typedef struct conv {
  const char *call;
  int axes;                       /* spatial ones */
  int64_t batch, groups, in, out; /* N, G, I and O, these per group */
  int64_t kernel[MOST_SPATIAL], stride[MOST_SPATIAL], dilation[MOST_SPATIAL];
  int64_t extra[MOST_SPATIAL];    /* output_padding */
  tg_ints pads;
} conv;

static bool conv_options(conv *c, const tg_conv_opts *o) {
  c->groups = o->groups ? o->groups : 1;
  if (c->groups < 1 || c->groups > INT32_MAX) {
    tg_fail("%s: %lld groups are not possible; use numbers from 1 on", c->call,
            (long long)c->groups);
    return false;
  }
  return per_axis(c->call, "stride", o->stride, c->axes, 1, 1, c->stride) &&
         per_axis(c->call, "dilation", o->dilation, c->axes, 1, 1, c->dilation) &&
         per_axis(c->call, "output_padding", o->output_padding, c->axes, 0, 0, c->extra) &&
         padding_pairs(c->call, o->padding, c->axes, &c->pads);
}

/* The bias must have one number per output channel. */
static bool bias_fits(const conv *c, const tg_tensor *bias) {
  int64_t channels = c->groups * c->out;
  if (!bias || (tg_rank(bias) == 1 && tg_dims(bias)[0] == channels)) return true;
  tg_fail("%s: the bias is %s but there are %lld output channels; it must be (%lld,)", c->call,
          tg_text_of(bias), (long long)channels, (long long)channels);
  return false;
}

/* What convolution and transposed convolution check alike. */
static bool conv_shapes(conv *c, const tg_tensor *x, const tg_tensor *w, const tg_conv_opts *o) {
  if (tg_is_null(c->call, x) || tg_is_null(c->call, w)) return false;
  c->axes = tg_rank(x) - 2;
  if (c->axes < 1 || c->axes > MOST_SPATIAL || tg_rank(w) != tg_rank(x)) {
    tg_fail("%s: x %s and weight %s: both need one shape of axes, [N, C, H...] and [O, I, K...] "
            "with 1 to %d axes at the end; unsqueeze what is missing", c->call, tg_text_of(x),
            tg_text_of(w), MOST_SPATIAL);
    return false;
  }
  if (x->node->dtype == TG_BOOL && w->node->dtype == TG_BOOL) {
    tg_fail("%s: bool has no sum of products; cast x or the weight to a number", c->call);
    return false;
  }
  if (!conv_options(c, o)) return false;
  c->batch = tg_dims(x)[0];
  for (int i = 0; i < c->axes; i++) {
    c->kernel[i] = tg_dims(w)[2 + i];
    if (c->kernel[i] > 0) continue;
    tg_fail("%s: weight %s has an empty kernel", c->call, tg_text_of(w));
    return false;
  }
  return true;
}

/* x [N, G*I, H...] and weight [O, I, K...] belong together. */
static bool conv_channels(conv *c, const tg_tensor *x, const tg_tensor *w) {
  int64_t channels = tg_dims(x)[1], g = c->groups;
  c->in = tg_dims(w)[1];
  c->out = tg_dims(w)[0] / g;
  if (channels % g == 0 && channels / g == c->in && tg_dims(w)[0] == g * c->out) return true;
  tg_fail("%s: x %s, weight %s and %lld groups do not fit: x must have groups * %lld channels, "
          "and the weight's %lld rows must divide by the groups", c->call, tg_text_of(x),
          tg_text_of(w), (long long)g, (long long)c->in, (long long)tg_dims(w)[0]);
  return false;
}

/* x [N, G*I, H...] and weight [G*I, O, K...] belong together. */
static bool transposed_channels(conv *c, const tg_tensor *x, const tg_tensor *w) {
  int64_t channels = tg_dims(x)[1], g = c->groups;
  c->in = channels / g;
  c->out = tg_dims(w)[1];
  if (channels == tg_dims(w)[0] && channels == g * c->in) return true;
  tg_fail("%s: x %s, weight %s and %lld groups do not fit: the channels of x must be the rows of "
          "the weight, and divide by the groups", c->call, tg_text_of(x), tg_text_of(w),
          (long long)g);
  return false;
}

static void push(tg_shape *shape, int64_t size) { shape->dim[shape->ndim++] = size; }

/* out [N, O, Y...] + bias [O] along axis 1, in the dtype that a product of `dtype` and
 * the bias meet in. */
static tg_tensor *with_bias(tg_tensor *out, tg_tensor *bias, tg_dtype dtype) {
  if (!out || !bias) return tg_cast(out, dtype);
  dtype = tg_promote(dtype, tg_dtype_of(bias));
  tg_shape shape = {.ndim = tg_rank(out)};
  for (int i = 0; i < shape.ndim; i++) shape.dim[i] = i == 1 ? tg_dims(bias)[0] : 1;
  return tg_cast(tg_add(out, tg_reshape_to(bias, shape)), dtype);
}

static tg_tensor *summed(tg_tensor *x, int first, int count, tg_shape shape) {
  if (!x) return NULL;
  int64_t mask = ((INT64_C(1) << count) - 1) << first;
  return tg_reshape_to(tg_call1_with(&tg_fn_sum, x, 1, &mask), shape);
}

/* ---- convolution */

/* [N, G*I, Y..., K...] -> [N, G, 1, Y..., I, K...]. */
static tg_tensor *patches(const conv *c, tg_tensor *x) {
  int n = c->axes;
  tg_shape apart = TG_SHAPE(c->batch, c->groups, 1, c->in);
  for (int i = 0; i < 2 * n; i++) push(&apart, tg_dims(x)[2 + i]);
  tg_ints order = TG_INTS(0, 1, 2);
  for (int i = 0; i < n; i++) push(&order, 4 + i);
  push(&order, 3);
  for (int i = 0; i < n; i++) push(&order, 4 + n + i);
  return tg_permute_to(tg_reshape_to(x, apart), order);
}

static tg_tensor *convolved(const conv *c, tg_tensor *x, tg_tensor *w, tg_tensor *bias) {
  tg_dtype dtype = tg_widen_product(&x, &w);
  if (!x || !w) return NULL;
  x = windows(c->call, tg_pad2d(x, c->pads), c->axes, c->kernel, c->stride, c->dilation);
  if (!x) return NULL;
  tg_shape out = TG_SHAPE(c->batch, c->groups * c->out);
  tg_shape rows = TG_SHAPE(1, c->groups, c->out); /* weights as [1, G, O, 1..., I, K...] */
  for (int i = 0; i < c->axes; i++) push(&out, tg_dims(x)[2 + i]), push(&rows, 1);
  push(&rows, c->in);
  for (int i = 0; i < c->axes; i++) push(&rows, c->kernel[i]);
  tg_tensor *all = tg_mul(patches(c, x), tg_reshape_to(w, rows));
  return with_bias(summed(all, 3 + c->axes, 1 + c->axes, out), bias, dtype);
}

tg_tensor *(tg_conv2d)(tg_tensor *x, tg_tensor *weight, const tg_conv_opts *o) {
  static const tg_conv_opts none;
  conv c = {.call = "tg_conv2d"};
  if (!o) o = &none;
  if (!conv_shapes(&c, x, weight, o) || !conv_channels(&c, x, weight)) return NULL;
  if (!bias_fits(&c, o->bias)) return NULL;
  if (o->output_padding.ndim)
    return tg_fail("tg_conv2d: output_padding belongs to tg_conv_transpose2d");
  TG_COMPOSE(convolved(&c, x, weight, o->bias));
}

/* ---- transposed convolution */

/* Fold: [.., Y, .., K] -> [.., H, ..]: r[y * stride + k * dilation] += x[y, k].
 * args: [axis, H, stride, dilation]; dx = the windows of g. */
static tg_node *fold_forward(tg_context *c, tg_node *const *x) {
  int axis = (int)c->args[0], last = c->in.ndim - 1;
  tg_node *apart = tg_node_unwindow(x[0], axis, c->args[1], c->args[2], c->args[3]);
  tg_node *sum = tg_node_reduce(TG_OP_SUM, apart, UINT32_C(1) << last);
  int64_t shape[TG_MAX_DIMS];
  for (int i = 0; i < last; i++) shape[i] = i == axis ? c->args[1] : c->in.dim[i];
  return tg_node_reshape(sum, last, shape);
}

static void fold_backward(tg_context *c, tg_node *grad, tg_node **grads) {
  int64_t kernel = c->in.dim[c->in.ndim - 1];
  grads[0] = tg_node_window(grad, (int)c->args[0], kernel, c->args[2], c->args[3]);
}

static const tg_function_row fold_row = {"Fold", fold_forward, fold_backward};

/* Sizes after folding, before padding crops them. */
static bool folded_sizes(const conv *c, const tg_tensor *x, int64_t *out) {
  for (int i = 0; i < c->axes; i++) {
    int64_t steps = tg_dims(x)[2 + i], reach = c->dilation[i] * (c->kernel[i] - 1) + 1;
    if (steps < 1) {
      tg_fail("%s: axis %d of x %s is empty", c->call, 2 + i, tg_text_of(x));
      return false;
    }
    if (c->extra[i] >= c->stride[i] && c->extra[i] >= c->dilation[i]) {
      tg_fail("%s: output_padding %lld must be smaller than stride %lld or dilation %lld",
              c->call, (long long)c->extra[i], (long long)c->stride[i],
              (long long)c->dilation[i]);
      return false;
    }
    out[i] = (steps - 1) * c->stride[i] + reach;
  }
  tg_shape most = TG_SHAPE(c->batch, c->groups * c->out); /* on the way to the result */
  for (int i = 0; i < c->axes; i++) push(&most, out[i]), push(&most, c->kernel[i]);
  return tg_check_shape(c->call, most, x->node->dtype) >= 0;
}

/* x [N, G*I, Y...] times weight [G*I, O, K...], over I: [N, G*O, Y..., K...]. */
static tg_tensor *spread_over(const conv *c, tg_tensor *x, tg_tensor *w) {
  int n = c->axes;
  tg_shape left = TG_SHAPE(c->batch, c->groups, c->in, 1), right = TG_SHAPE(1, c->groups, c->in);
  tg_shape out = TG_SHAPE(c->batch, c->groups * c->out);
  push(&right, c->out);
  for (int i = 0; i < n; i++) push(&left, tg_dims(x)[2 + i]), push(&right, 1);
  for (int i = 0; i < n; i++) push(&left, 1), push(&right, c->kernel[i]);
  for (int i = 4; i < 4 + 2 * n; i++) push(&out, left.dim[i] * right.dim[i]);
  tg_tensor *all = tg_mul(tg_reshape_to(x, left), tg_reshape_to(w, right));
  return summed(all, 2, 1, out);
}

static tg_tensor *transposed(const conv *c, tg_tensor *x, tg_tensor *w, tg_tensor *bias,
                             const int64_t *sizes) {
  tg_dtype dtype = tg_widen_product(&x, &w);
  if (!x || !w) return NULL;
  tg_ints pads = {.ndim = c->pads.ndim};
  for (int i = 0; i < pads.ndim; i++) pads.dim[i] = -c->pads.dim[i];
  tg_tensor *out = spread_over(c, x, w);
  for (int i = c->axes - 1; out && i >= 0; i--) {
    const int64_t args[] = {2 + i, sizes[i], c->stride[i], c->dilation[i]};
    out = tg_call1_with(&fold_row, out, 4, args);
    pads.dim[2 * (c->axes - 1 - i) + 1] += c->extra[i];
  }
  return out ? with_bias(tg_pad2d(out, pads), bias, dtype) : NULL;
}

tg_tensor *(tg_conv_transpose2d)(tg_tensor *x, tg_tensor *weight, const tg_conv_opts *o) {
  static const tg_conv_opts none;
  conv c = {.call = "tg_conv_transpose2d"};
  int64_t sizes[MOST_SPATIAL];
  if (!o) o = &none;
  if (!conv_shapes(&c, x, weight, o) || !transposed_channels(&c, x, weight)) return NULL;
  if (!bias_fits(&c, o->bias) || !folded_sizes(&c, x, sizes)) return NULL;
  TG_COMPOSE(transposed(&c, x, weight, o->bias, sizes));
}

/* ---- pooling */

/* Over how many of the last axes: two by default; one number counts for all
 * but the first two. */
static int pooled_axes(const tg_tensor *x, const tg_ints *kernel) {
  if (kernel->ndim <= 0) return 2;
  return kernel->ndim > 1 ? kernel->ndim : tg_rank(x) > 3 ? tg_rank(x) - 2 : 1;
}

static tg_tensor *pooled(const char *call, tg_tensor *x, const tg_pool_opts *o,
                         tg_tensor *(*reduce)(tg_tensor *x, const tg_axis_opts *o)) {
  static const tg_pool_opts none;
  if (tg_is_null(call, x)) return NULL;
  if (!o) o = &none;
  int axes = pooled_axes(x, &o->kernel);
  int64_t kernel[TG_MAX_DIMS], stride[TG_MAX_DIMS], dilation[TG_MAX_DIMS];
  if (axes > tg_rank(x) || 2 * axes > TG_MAX_DIMS)
    return tg_fail("%s: a kernel over %d axes does not fit shape %s", call, axes, tg_text_of(x));
  if (!per_axis(call, "kernel", o->kernel, axes, 2, 1, kernel)) return NULL;
  if (!per_axis(call, "stride", o->stride.ndim ? o->stride : o->kernel, axes, 2, 1, stride))
    return NULL;
  if (!per_axis(call, "dilation", o->dilation, axes, 1, 1, dilation)) return NULL;
  tg_tensor *w = windows(call, x, axes, kernel, stride, dilation);
  tg_axis_opts last = {.axis = {.ndim = axes}};
  for (int i = 0; i < axes; i++) last.axis.dim[i] = -1 - i;
  return w ? reduce(w, &last) : NULL;
}

tg_tensor *(tg_avg_pool2d)(tg_tensor *x, const tg_pool_opts *o) {
  TG_COMPOSE(pooled("tg_avg_pool2d", x, o, (tg_mean)));
}

tg_tensor *(tg_max_pool2d)(tg_tensor *x, const tg_pool_opts *o) {
  TG_COMPOSE(pooled("tg_max_pool2d", x, o, (tg_max)));
}
