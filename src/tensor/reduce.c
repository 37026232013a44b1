/* tensor/reduce: many numbers become few: sums, extremes, means, positions; and
 * the running sum, which keeps them all.
 *
 * Reductions go through the Functions Sum and Max, which keep the reduced axes
 * with size 1; a reshape drops them at the end. Everything else here is a
 * composition. The 16-bit floats are averaged in float32: their sum may not
 * fit although their mean does. argmax and argmin work on nodes, having no
 * gradient.
 */
#include "autograd/functions.h"
#include "tensor/tensor.h"

static const tg_axis_opts no_options;

/* ---- axes */

/* `t`, whose axes in `mask` have size 1, without them. */
static tg_tensor *dropped(tg_tensor *t, uint32_t mask, bool keepdim) {
  if (!t || keepdim) return t;
  tg_shape shape = {0};
  for (int i = 0; i < tg_rank(t); i++)
    if (!(mask >> i & 1)) shape.dim[shape.ndim++] = tg_dims(t)[i];
  return tg_reshape_to(t, shape);
}

/* How many elements become one; of those of an empty tensor, INT64_MAX stands for more. */
static int64_t folded(const tg_tensor *x, uint32_t mask) {
  int64_t n = 1;
  for (int i = 0; i < tg_rank(x); i++)
    if ((mask >> i & 1) && tg_dims(x)[i] == 0) return 0;
  for (int i = 0; i < tg_rank(x); i++)
    if ((mask >> i & 1) && __builtin_mul_overflow(n, tg_dims(x)[i], &n)) return INT64_MAX;
  return n;
}

static tg_tensor *reduced(const tg_function_row *row, tg_tensor *x, uint32_t mask) {
  return tg_call1_with(row, x, 1, &(int64_t){mask});
}

/* ---- sum, mean, std */

static tg_tensor *sum_of(tg_tensor *x, uint32_t mask, bool keepdim) {
  if (x && !tg_dtype_is_float(x->node->dtype)) x = tg_cast(x, TG_INT64);
  return dropped(reduced(&tg_fn_sum, x, mask), mask, keepdim);
}

tg_tensor *(tg_sum)(tg_tensor *x, const tg_axis_opts *o) {
  uint32_t mask;
  if (!o) o = &no_options;
  if (tg_is_null("tg_sum", x) || tg_axes("tg_sum", x, &o->axis, &mask)) return NULL;
  TG_COMPOSE(sum_of(x, mask, o->keepdim));
}

static tg_tensor *mean_of(tg_tensor *x, uint32_t mask, bool keepdim) {
  tg_dtype dtype = tg_float_dtype(x);
  tg_tensor *total = reduced(&tg_fn_sum, tg_widened(x), mask);
  tg_tensor *mean = tg_div(total, (double)folded(x, mask));
  return dropped(tg_cast(mean, dtype), mask, keepdim);
}

tg_tensor *(tg_mean)(tg_tensor *x, const tg_axis_opts *o) {
  uint32_t mask;
  if (!o) o = &no_options;
  if (tg_is_null("tg_mean", x) || tg_axes("tg_mean", x, &o->axis, &mask)) return NULL;
  TG_COMPOSE(mean_of(x, mask, o->keepdim));
}

/* sqrt whose slope at 0 is 0: a constant input has no direction to grow in. */
static tg_tensor *flat_sqrt(tg_tensor *x) {
  tg_tensor *none = tg_eq(x, 0);
  return tg_where(none, 0, tg_sqrt(tg_where(none, 1, x)));
}

static tg_tensor *std_of(tg_tensor *x, uint32_t mask, const tg_axis_opts *o) {
  tg_dtype dtype = tg_float_dtype(x);
  double n = (double)folded(x, mask), rest = n - tg_opt(o->correction, 1);
  tg_tensor *wide = tg_widened(x);
  tg_tensor *away = tg_sub(wide, mean_of(wide, mask, true));
  tg_tensor *total = reduced(&tg_fn_sum, tg_square(away), mask);
  tg_tensor *std = flat_sqrt(tg_div(total, rest > 0 ? rest : 0.0));
  return dropped(tg_cast(std, dtype), mask, o->keepdim);
}

tg_tensor *(tg_std)(tg_tensor *x, const tg_axis_opts *o) {
  uint32_t mask;
  if (!o) o = &no_options;
  if (tg_is_null("tg_std", x) || tg_axes("tg_std", x, &o->axis, &mask)) return NULL;
  if (!isfinite(o->correction))
    return tg_fail("tg_std: .correction is %g; give a finite number", o->correction);
  TG_COMPOSE(std_of(x, mask, o));
}

/* ---- max, min */

/* Nothing has no largest element; an empty result needs none. */
static bool has_extreme(const char *call, const tg_tensor *x, uint32_t mask) {
  if (folded(x, mask) > 0) return true;
  tg_fail("%s: there is no element to choose from in shape %s along the axes to reduce; reduce "
          "axes that are not empty", call, tg_text_of(x));
  return false;
}

tg_tensor *(tg_max)(tg_tensor *x, const tg_axis_opts *o) {
  uint32_t mask;
  if (!o) o = &no_options;
  if (tg_is_null("tg_max", x) || tg_axes("tg_max", x, &o->axis, &mask)) return NULL;
  if (!has_extreme("tg_max", x, mask)) return NULL;
  TG_COMPOSE(dropped(reduced(&tg_fn_max, x, mask), mask, o->keepdim));
}

/* Turns the order around: the negative, or for integers the complement, which
 * cannot overflow and works for unsigned ones too. */
static tg_node *turned(tg_node *x) {
  if (x->dtype == TG_BOOL) return tg_n_not(x);
  tg_node *negative = tg_n_neg(x);
  if (tg_dtype_is_float(x->dtype)) return negative;
  return negative ? tg_n_sub(negative, tg_n_num(negative, 1)) : NULL;
}

static tg_tensor *turn(tg_tensor *x) {
  if (!x) return NULL;
  if (tg_dtype_is_float(x->node->dtype)) return tg_neg(x);
  int64_t mark = tg_pool_mark();
  return tg_wrap(mark, turned(x->node));
}

static tg_tensor *min_of(tg_tensor *x, uint32_t mask, bool keepdim) {
  tg_tensor *most = turn(x);
  return dropped(turn(most ? reduced(&tg_fn_max, most, mask) : NULL), mask, keepdim);
}

tg_tensor *(tg_min)(tg_tensor *x, const tg_axis_opts *o) {
  uint32_t mask;
  if (!o) o = &no_options;
  if (tg_is_null("tg_min", x) || tg_axes("tg_min", x, &o->axis, &mask)) return NULL;
  if (!has_extreme("tg_min", x, mask)) return NULL;
  TG_COMPOSE(min_of(x, mask, o->keepdim));
}

/* ---- softmax */

static tg_tensor *softmax_of(tg_tensor *x, uint32_t mask) {
  const int64_t args[] = {mask, 0};
  return tg_cast(tg_call1_with(&tg_fn_softmax, tg_widened(x), 2, args), tg_float_dtype(x));
}

static tg_tensor *log_softmax_of(tg_tensor *x, uint32_t mask) {
  return tg_cast(reduced(&tg_fn_log_softmax, tg_widened(x), mask), tg_float_dtype(x));
}

static tg_tensor *along(const char *call, tg_tensor *x, const tg_axis_opts *o,
                        tg_tensor *(*of)(tg_tensor *x, uint32_t mask)) {
  uint32_t mask;
  tg_ints last = TG_INTS(-1), axis = o && o->axis.ndim ? o->axis : last;
  if (tg_is_null(call, x) || tg_axes(call, x, &axis, &mask)) return NULL;
  if (x->node->numel == 0) return tg_as_float(x);
  TG_COMPOSE(of(x, mask));
}

tg_tensor *(tg_softmax)(tg_tensor *x, const tg_axis_opts *o) {
  return along("tg_softmax", x, o, softmax_of);
}

tg_tensor *(tg_log_softmax)(tg_tensor *x, const tg_axis_opts *o) {
  return along("tg_log_softmax", x, o, log_softmax_of);
}

/* ---- argmax, argmin */

/* n - max(x is the largest ? n - i : 0): of equal ones the first. A NaN makes
 * the maximum NaN, and then it is the NaN that is looked for. */
static tg_node *argmax_node(tg_node *x, int axis) {
  if (!x) return NULL;
  tg_node *most = tg_node_expand(tg_node_reduce(TG_OP_REDUCE_MAX, x, UINT32_C(1) << axis),
                                 tg_node_shape(x));
  tg_node *hit = tg_n_eq(x, most);
  if (tg_dtype_is_float(x->dtype))
    hit = tg_node_binary(TG_OP_OR, hit, tg_n_not(tg_n_eq(x, x)));
  tg_node *i = tg_node_iota(x->device, x->ndim, tg_node_shape(x), axis);
  if (!i || !hit) return NULL;
  tg_node *n = tg_n_num(i, (double)tg_node_shape(x)[axis]);
  tg_node *left = tg_node_where(hit, tg_n_sub(n, i), tg_n_num(i, 0));
  tg_node *best = tg_node_reduce(TG_OP_REDUCE_MAX, left, UINT32_C(1) << axis);
  return best ? tg_n_sub(tg_n_num(best, (double)tg_node_shape(x)[axis]), best) : NULL;
}

static tg_tensor *position(tg_tensor *x, int axis, bool least) {
  int64_t mark = tg_pool_mark();
  return tg_wrap(mark, argmax_node(least ? turned(x->node) : x->node, axis));
}

/* Without an axis the tensor counts as flat; kept, every axis has size 1. */
static tg_tensor *flat_position(tg_tensor *x, bool keepdim, bool least) {
  tg_shape shape = {.ndim = keepdim ? tg_rank(x) : 0};
  for (int i = 0; i < shape.ndim; i++) shape.dim[i] = 1;
  tg_tensor *flat = tg_reshape(x, -1);
  return flat ? tg_reshape_to(position(flat, 0, least), shape) : NULL;
}

static tg_tensor *arg(const char *call, tg_tensor *x, const tg_axis_opts *o, bool least) {
  uint32_t mask;
  if (!o) o = &no_options;
  if (tg_is_null(call, x) || tg_axes(call, x, &o->axis, &mask)) return NULL;
  if (o->axis.ndim > 1)
    return tg_fail("%s: a position lies along one axis, or in the flattened tensor without "
                   ".axis, but %s names %d axes", call,
                   tg_shape_text(o->axis.dim, o->axis.ndim), (int)o->axis.ndim);
  if (!has_extreme(call, x, mask)) return NULL;
  if (tg_check_shape(call, tg_shape_of(x), TG_INT64) < 0) return NULL; /* of the positions */
  if (o->axis.ndim == 0 || tg_rank(x) == 0) TG_COMPOSE(flat_position(x, o->keepdim, least));
  int axis = tg_axis(call, x, o->axis.dim[0]);
  TG_COMPOSE(dropped(position(x, axis, least), mask, o->keepdim));
}

tg_tensor *(tg_argmax)(tg_tensor *x, const tg_axis_opts *o) {
  return arg("tg_argmax", x, o, false);
}

tg_tensor *(tg_argmin)(tg_tensor *x, const tg_axis_opts *o) {
  return arg("tg_argmin", x, o, true);
}

/* ---- cumsum */

/* Elements per block. A block costs its square, so it is small; every level of
 * blocks costs a kernel, so it is not tiny. */
#define BLOCK 32

/* `x` with `left` and `right` zeros around its last axis. */
static tg_tensor *pad_last(tg_tensor *x, int64_t left, int64_t right) {
  return x ? tg_pad2d(x, TG_INTS(left, right)) : NULL;
}

/* [..., n] -> [..., n]: out[i] is the sum of a window that ends at i. */
static tg_tensor *window_sums(tg_tensor *x, int64_t n) {
  int axis = tg_rank(x) - 1;
  tg_tensor *padded = pad_last(x, n - 1, 0);
  const int64_t args[] = {axis, n, 1, 1};
  tg_tensor *windows = padded ? tg_call1_with(&tg_fn_window, padded, 4, args) : NULL;
  uint32_t last = UINT32_C(1) << (axis + 1);
  return windows ? dropped(reduced(&tg_fn_sum, windows, last), last, false) : NULL;
}

/* [r, n]: sums inside blocks, plus what all the blocks before add up to, which
 * is the same task with n / BLOCK elements. */
static tg_tensor *running_sums(tg_tensor *x) {
  if (!x) return NULL;
  int64_t rows = tg_dims(x)[0], n = tg_dims(x)[1], blocks = (n + BLOCK - 1) / BLOCK;
  if (blocks <= 1) return window_sums(x, n);
  tg_tensor *cut = tg_reshape(pad_last(x, 0, blocks * BLOCK - n), rows, blocks, BLOCK);
  tg_tensor *inside = cut ? window_sums(cut, BLOCK) : NULL;
  tg_tensor *totals = tg_shrink(inside, 0, rows, 0, blocks - 1, BLOCK - 1, BLOCK);
  tg_tensor *before = running_sums(tg_reshape(totals, rows, blocks - 1));
  before = tg_reshape(pad_last(before, 1, 0), rows, blocks, 1);
  tg_tensor *all = tg_reshape(tg_add(inside, before), rows, blocks * BLOCK);
  return tg_shrink(all, 0, rows, 0, n);
}

static tg_tensor *cumsum_of(tg_tensor *x, int axis, tg_dtype dtype) {
  int last = tg_rank(x) - 1;
  tg_tensor *moved = tg_transpose(tg_widened(x), axis, last);
  if (!tg_dtype_is_float(dtype)) moved = tg_transpose(tg_cast(x, dtype), axis, last);
  if (!moved) return NULL;
  tg_tensor *sums = running_sums(tg_reshape(moved, -1, tg_dims(moved)[last]));
  sums = sums ? tg_reshape_to(sums, tg_shape_of(moved)) : NULL;
  return tg_cast(tg_transpose(sums, axis, last), dtype);
}

tg_tensor *tg_cumsum(tg_tensor *x, int axis) {
  if (tg_is_null("tg_cumsum", x)) return NULL;
  int at = tg_axis("tg_cumsum", x, axis);
  if (at < 0) return NULL;
  tg_dtype dtype = tg_dtype_is_float(x->node->dtype) ? x->node->dtype : TG_INT64;
  if (x->node->numel == 0 || tg_rank(x) == 0) return tg_cast(x, dtype);
  tg_shape windows = TG_SHAPE(x->node->numel, BLOCK); /* on the way */
  if (tg_check_shape("tg_cumsum", windows, dtype) < 0) return NULL;
  TG_COMPOSE(cumsum_of(x, at, dtype));
}

/* ---- triangles */

/* True where column - row >= k, [M, N] for the last two axes of x. */
static tg_tensor *at_or_above(const tg_tensor *x, int64_t k) {
  const int64_t *shape = tg_dims(x) + tg_rank(x) - 2;
  if (k < -shape[0]) k = -shape[0];
  if (k > shape[1]) k = shape[1];
  int64_t mark = tg_pool_mark();
  tg_node *row = tg_node_iota(x->node->device, 2, shape, 0);
  tg_node *column = tg_node_iota(x->node->device, 2, shape, 1);
  tg_node *from = row ? tg_n_add(row, tg_n_num(row, (double)k)) : NULL;
  tg_node *below = tg_n_lt(column, from);
  return tg_wrap(mark, below ? tg_n_not(below) : NULL);
}

static bool is_matrix(const char *call, const tg_tensor *x) {
  if (tg_is_null(call, x)) return false;
  if (tg_rank(x) >= 2) return true;
  tg_fail("%s: a triangle needs two axes, but the shape is %s; reshape it first", call,
          tg_text_of(x));
  return false;
}

tg_tensor *tg_triu(tg_tensor *x, int64_t k) {
  if (!is_matrix("tg_triu", x)) return NULL;
  TG_COMPOSE(tg_where(at_or_above(x, k), x, tg_zeros_like(x)));
}

tg_tensor *tg_tril(tg_tensor *x, int64_t k) {
  if (!is_matrix("tg_tril", x)) return NULL;
  int64_t next = k == INT64_MAX ? k : k + 1;
  TG_COMPOSE(tg_where(at_or_above(x, next), tg_zeros_like(x), x));
}
