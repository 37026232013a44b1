/* The Functions: what each computes, and beside it what its gradient is.
 *
 * Both sides are expressions of nodes, as teenygrad's mlops are expressions of
 * LazyBuffers. In the formulas x, y are the inputs, r the result, g the
 * gradient by the result; dx, dy the gradients by the inputs. First teenygrad's
 * 25 in its order, then what real use adds. A row without a backward has no
 * gradient, and asking for one is an error.
 */
#include "autograd/functions.h"

#define UNUSED(x) (void)(x)
#define ROW(name, Name) \
  const tg_function_row tg_fn_##name = {#Name, name##_forward, name##_backward}
#define ROW_WITHOUT_GRADIENT(name, Name) \
  const tg_function_row tg_fn_##name = {#Name, name##_forward, NULL}

/* ---- sums and minima that several rows use */

tg_node *tg_n_unexpand(tg_node *grad, int ndim, const int64_t *shape) {
  if (!grad) return NULL;
  uint32_t axes = 0;
  for (int i = 0; i < ndim; i++)
    if (shape[i] == 1 && tg_node_shape(grad)[i] != 1) axes |= UINT32_C(1) << i;
  return tg_node_reduce(TG_OP_SUM, grad, axes);
}

/* -max(-x, -y) would overflow for the least integer; ~max(~x, ~y) cannot. */
tg_node *tg_n_min(tg_node *x, tg_node *y) {
  if (!x || !y) return NULL;
  if (tg_dtype_is_float(x->dtype))
    return tg_n_neg(tg_node_binary(TG_OP_MAX, tg_n_neg(x), tg_n_neg(y)));
  if (x->dtype == TG_BOOL) return tg_node_binary(TG_OP_AND, x, y);
  return tg_node_where(tg_n_lt(x, y), x, y);
}

static tg_node *zero_like(tg_node *x) { return tg_node_const_like(x, 0); }

/* ---- contiguous: r = x in memory of its own; dx = g */

static tg_node *contiguous_forward(tg_context *c, tg_node *const *x) {
  UNUSED(c);
  return tg_node_contiguous(x[0]);
}

static void contiguous_backward(tg_context *c, tg_node *g, tg_node **dx) {
  UNUSED(c);
  dx[0] = g;
}
ROW(contiguous, Contiguous);

/* ---- contiguous backward: r = x; dx = g in memory of its own */

static tg_node *contiguous_backward_forward(tg_context *c, tg_node *const *x) {
  UNUSED(c);
  return x[0];
}

static void contiguous_backward_backward(tg_context *c, tg_node *g, tg_node **dx) {
  UNUSED(c);
  dx[0] = tg_node_contiguous(g);
}
ROW(contiguous_backward, ContiguousBackward);

/* ---- cast: r = (dtype) x; dx = (dtype of x) g */

static tg_node *cast_forward(tg_context *c, tg_node *const *x) {
  return tg_node_cast(x[0], (tg_dtype)c->args[0]);
}

static void cast_backward(tg_context *c, tg_node *g, tg_node **dx) {
  dx[0] = tg_node_cast(g, c->in_dtype);
}
ROW(cast, Cast);

/* ---- zero: r = 0; dx = 0 */

static tg_node *zero_forward(tg_context *c, tg_node *const *x) {
  UNUSED(c);
  return zero_like(x[0]);
}

static void zero_backward(tg_context *c, tg_node *g, tg_node **dx) {
  UNUSED(c);
  dx[0] = zero_like(g);
}
ROW(zero, Zero);

/* ---- neg: r = -x; dx = -g */

static tg_node *neg_forward(tg_context *c, tg_node *const *x) {
  UNUSED(c);
  return tg_n_neg(x[0]);
}

static void neg_backward(tg_context *c, tg_node *g, tg_node **dx) {
  UNUSED(c);
  dx[0] = tg_n_neg(g);
}
ROW(neg, Neg);

/* ---- sin: r = sin x; dx = g cos x = g sin(pi / 2 - x) */

static tg_node *sin_forward(tg_context *c, tg_node *const *x) {
  c->saved[0] = x[0];
  return tg_node_unary(TG_OP_SIN, x[0]);
}

static void sin_backward(tg_context *c, tg_node *g, tg_node **dx) {
  tg_node *x = c->saved[0], *quarter = tg_n_num(x, 1.57079632679489661923);
  dx[0] = tg_n_mul(tg_node_unary(TG_OP_SIN, tg_n_sub(quarter, x)), g);
}
ROW(sin, Sin);

/* ---- relu: r = max(0, x), which is x for -0 and NaN; dx = r == 0 ? 0 : g (so the slope
 * at 0 is 0) */

static tg_node *relu_forward(tg_context *c, tg_node *const *x) {
  return c->saved[0] = tg_node_binary(TG_OP_MAX, zero_like(x[0]), x[0]);
}

static void relu_backward(tg_context *c, tg_node *g, tg_node **dx) {
  tg_node *r = c->saved[0];
  dx[0] = tg_node_where(tg_n_eq(r, zero_like(r)), zero_like(g), g);
}
ROW(relu, Relu);

/* ---- log: r = ln x; dx = g / x */

static tg_node *log_forward(tg_context *c, tg_node *const *x) {
  c->saved[0] = x[0];
  return tg_node_unary(TG_OP_LOG, x[0]);
}

static void log_backward(tg_context *c, tg_node *g, tg_node **dx) {
  dx[0] = tg_n_div(g, c->saved[0]);
}
ROW(log, Log);

/* ---- exp: r = e^x; dx = g r */

static tg_node *exp_forward(tg_context *c, tg_node *const *x) {
  return c->saved[0] = tg_node_unary(TG_OP_EXP, x[0]);
}

static void exp_backward(tg_context *c, tg_node *g, tg_node **dx) {
  dx[0] = tg_n_mul(c->saved[0], g);
}
ROW(exp, Exp);

/* ---- sqrt: r = sqrt x; dx = g / (2 r) */

static tg_node *sqrt_forward(tg_context *c, tg_node *const *x) {
  return c->saved[0] = tg_node_unary(TG_OP_SQRT, x[0]);
}

static void sqrt_backward(tg_context *c, tg_node *g, tg_node **dx) {
  tg_node *r = c->saved[0];
  dx[0] = tg_n_div(g, tg_n_mul(r, tg_n_num(r, 2)));
}
ROW(sqrt, Sqrt);

/* ---- sigmoid: r = 1 / (1 + e^-x); dx = r (1 - r) g */

static tg_node *sigmoid_forward(tg_context *c, tg_node *const *x) {
  tg_node *one = tg_n_num(x[0], 1);
  tg_node *e = tg_node_unary(TG_OP_EXP, tg_n_neg(x[0]));
  return c->saved[0] = tg_n_div(one, tg_n_add(one, e));
}

static void sigmoid_backward(tg_context *c, tg_node *g, tg_node **dx) {
  tg_node *r = c->saved[0];
  dx[0] = tg_n_mul(tg_n_mul(r, tg_n_sub(tg_n_num(r, 1), r)), g);
}
ROW(sigmoid, Sigmoid);

/* ---- less: r = x < y; no gradient */

static tg_node *less_forward(tg_context *c, tg_node *const *x) {
  UNUSED(c);
  return tg_n_lt(x[0], x[1]);
}
ROW_WITHOUT_GRADIENT(less, Less);

/* ---- add: r = x + y; dx = g, dy = g */

static tg_node *add_forward(tg_context *c, tg_node *const *x) {
  UNUSED(c);
  return tg_n_add(x[0], x[1]);
}

static void add_backward(tg_context *c, tg_node *g, tg_node **dx) {
  UNUSED(c);
  dx[0] = dx[1] = g;
}
ROW(add, Add);

/* ---- sub: r = x - y; dx = g, dy = -g */

static tg_node *sub_forward(tg_context *c, tg_node *const *x) {
  UNUSED(c);
  return tg_n_sub(x[0], x[1]);
}

static bool needs(const tg_context *c, int i) { return tg_needs_grad(c, i); }

static void sub_backward(tg_context *c, tg_node *g, tg_node **dx) {
  dx[0] = g;
  if (needs(c, 1)) dx[1] = tg_n_neg(g);
}
ROW(sub, Sub);

/* ---- mul: r = x y; dx = y g, dy = x g */

static void save_inputs(tg_context *c, tg_node *const *x) {
  for (int i = 0; i < c->count; i++) c->saved[i] = x[i];
}

static tg_node *mul_forward(tg_context *c, tg_node *const *x) {
  save_inputs(c, x);
  return tg_n_mul(x[0], x[1]);
}

static void mul_backward(tg_context *c, tg_node *g, tg_node **dx) {
  if (needs(c, 0)) dx[0] = tg_n_mul(c->saved[1], g);
  if (needs(c, 1)) dx[1] = tg_n_mul(c->saved[0], g);
}
ROW(mul, Mul);

/* ---- div: r = x / y; dx = g / y, dy = -g r / y */

static tg_node *div_forward(tg_context *c, tg_node *const *x) {
  c->saved[0] = x[1];
  return c->saved[1] = tg_n_div(x[0], x[1]);
}

static void div_backward(tg_context *c, tg_node *g, tg_node **dx) {
  tg_node *y = c->saved[0], *r = c->saved[1];
  if (needs(c, 0)) dx[0] = tg_n_div(g, y);
  if (needs(c, 1)) dx[1] = tg_n_neg(tg_n_mul(g, tg_n_div(r, y)));
}
ROW(div, Div);

/* ---- where: r = c ? x : y; dx = c ? g : 0, dy = c ? 0 : g */

static tg_node *where_forward(tg_context *c, tg_node *const *x) {
  c->saved[0] = x[0];
  return tg_node_where(x[0], x[1], x[2]);
}

static void where_backward(tg_context *c, tg_node *g, tg_node **dx) {
  tg_node *condition = c->saved[0], *zero = zero_like(g);
  if (needs(c, 1)) dx[1] = tg_node_where(condition, g, zero);
  if (needs(c, 2)) dx[2] = tg_node_where(condition, zero, g);
}
ROW(where, Where);

/* ---- sum: r = sum of x over axes; dx = g at each of them */

static tg_node *sum_forward(tg_context *c, tg_node *const *x) {
  return tg_node_reduce(TG_OP_SUM, x[0], (uint32_t)c->args[0]);
}

static void sum_backward(tg_context *c, tg_node *g, tg_node **dx) {
  dx[0] = tg_node_expand(g, c->in.dim);
}
ROW(sum, Sum);

/* ---- max: r = max of x over axes; dx = g (x == r) / count of those */

static tg_node *max_forward(tg_context *c, tg_node *const *x) {
  c->saved[0] = x[0];
  return c->saved[1] = tg_node_reduce(TG_OP_REDUCE_MAX, x[0], (uint32_t)c->args[0]);
}

/* The count in what the dtype is computed in: float16 ends at 65504. */
static void max_backward(tg_context *c, tg_node *g, tg_node **dx) {
  tg_dtype wide = tg_dtype_wide(c->in_dtype);
  tg_node *x = c->saved[0], *r = tg_node_expand(c->saved[1], c->in.dim);
  tg_node *ties = tg_node_cast(tg_n_eq(x, r), wide);
  tg_node *count = tg_node_reduce(TG_OP_SUM, ties, (uint32_t)c->args[0]);
  tg_node *each = tg_node_expand(tg_n_div(tg_node_cast(g, wide), count), c->in.dim);
  dx[0] = tg_node_cast(tg_n_mul(ties, each), c->in_dtype);
}
ROW(max, Max);

/* ---- expand: r[o] = x[0]; dx = sum of g over the expanded axes */

static tg_node *expand_forward(tg_context *c, tg_node *const *x) {
  return tg_node_expand(x[0], c->args);
}

static void expand_backward(tg_context *c, tg_node *g, tg_node **dx) {
  dx[0] = tg_n_unexpand(g, c->in.ndim, c->in.dim);
}
ROW(expand, Expand);

/* ---- reshape: the same elements in another shape; dx = g in the old one */

static tg_node *reshape_forward(tg_context *c, tg_node *const *x) {
  return tg_node_reshape(x[0], (int)c->args[0], c->args + 1);
}

static void reshape_backward(tg_context *c, tg_node *g, tg_node **dx) {
  dx[0] = tg_node_reshape(g, c->in.ndim, c->in.dim);
}
ROW(reshape, Reshape);

/* ---- permute: r.dim[i] = x.dim[order[i]]; dx = g in the inverse order */

static tg_node *permute_forward(tg_context *c, tg_node *const *x) {
  return tg_node_permute(x[0], c->args);
}

static void permute_backward(tg_context *c, tg_node *g, tg_node **dx) {
  int64_t inverse[TG_MAX_DIMS];
  for (int i = 0; i < c->in.ndim; i++) inverse[c->args[i]] = i;
  dx[0] = tg_node_permute(g, inverse);
}
ROW(permute, Permute);

/* ---- pad: zeros around x; dx = what is inside of g */

static tg_node *pad_forward(tg_context *c, tg_node *const *x) {
  return tg_node_pad(x[0], c->args);
}

static void pad_backward(tg_context *c, tg_node *g, tg_node **dx) {
  int64_t bounds[2 * TG_MAX_DIMS];
  for (int i = 0; i < c->in.ndim; i++) {
    bounds[2 * i] = c->args[2 * i];
    bounds[2 * i + 1] = c->args[2 * i] + c->in.dim[i];
  }
  dx[0] = tg_node_shrink(g, bounds);
}
ROW(pad, Pad);

/* ---- shrink: a part of x; dx = g with zeros around */

static tg_node *shrink_forward(tg_context *c, tg_node *const *x) {
  return tg_node_shrink(x[0], c->args);
}

static void shrink_backward(tg_context *c, tg_node *g, tg_node **dx) {
  int64_t pads[2 * TG_MAX_DIMS];
  for (int i = 0; i < c->in.ndim; i++) {
    pads[2 * i] = c->args[2 * i];
    pads[2 * i + 1] = c->in.dim[i] - c->args[2 * i + 1];
  }
  dx[0] = tg_node_pad(g, pads);
}
ROW(shrink, Shrink);

/* ---- flip: r[o] = x[n - 1 - o]; dx = g flipped back */

static tg_node *flip_forward(tg_context *c, tg_node *const *x) {
  return tg_node_flip(x[0], c->args);
}

static void flip_backward(tg_context *c, tg_node *g, tg_node **dx) {
  dx[0] = tg_node_flip(g, c->args);
}
ROW(flip, Flip);

/* ================ what real use adds ================ */

/* ---- equal: r = x == y; no gradient */

static tg_node *equal_forward(tg_context *c, tg_node *const *x) {
  UNUSED(c);
  return tg_n_eq(x[0], x[1]);
}
ROW_WITHOUT_GRADIENT(equal, Equal);

/* ---- pow: r = x^y; dx = y == 0 ? 0 : g y x^(y-1),
 *      dy = x == 0 and y >= 0 ? 0 : g r ln x */

static tg_node *pow_forward(tg_context *c, tg_node *const *x) {
  save_inputs(c, x);
  return c->saved[2] = tg_node_binary(TG_OP_POW, x[0], x[1]);
}

static void pow_backward(tg_context *c, tg_node *g, tg_node **dx) {
  tg_node *x = c->saved[0], *y = c->saved[1], *r = c->saved[2], *zero = zero_like(g);
  if (needs(c, 0)) {
    tg_node *lower = tg_node_binary(TG_OP_POW, x, tg_n_sub(y, tg_n_num(y, 1)));
    tg_node *slope = tg_n_mul(g, tg_n_mul(y, lower));
    dx[0] = tg_node_where(tg_n_eq(y, zero), zero, slope);
  }
  if (needs(c, 1)) {
    tg_node *slope = tg_n_mul(g, tg_n_mul(r, tg_node_unary(TG_OP_LOG, x)));
    tg_node *flat = tg_node_binary(TG_OP_AND, tg_n_eq(x, zero), tg_n_not(tg_n_lt(y, zero)));
    dx[1] = tg_node_where(flat, zero, slope);
  }
}
ROW(pow, Pow);

/* ---- maximum: r = max(x, y); dx = x < y ? 0 : x == y ? g / 2 : g, dy alike */

/* The gradient of the operand that `loses` and `ties` tell about. */
static tg_node *winner(tg_node *g, tg_node *loses, tg_node *ties) {
  tg_node *half = tg_n_mul(g, tg_n_num(g, 0.5));
  return tg_node_where(loses, zero_like(g), tg_node_where(ties, half, g));
}

static tg_node *maximum_forward(tg_context *c, tg_node *const *x) {
  save_inputs(c, x);
  return tg_node_binary(TG_OP_MAX, x[0], x[1]);
}

static void maximum_backward(tg_context *c, tg_node *g, tg_node **dx) {
  tg_node *x = c->saved[0], *y = c->saved[1], *ties = tg_n_eq(x, y);
  if (needs(c, 0)) dx[0] = winner(g, tg_n_lt(x, y), ties);
  if (needs(c, 1)) dx[1] = winner(g, tg_n_lt(y, x), ties);
}
ROW(maximum, Maximum);

/* ---- minimum: r = min(x, y); dx = y < x ? 0 : x == y ? g / 2 : g, dy alike */

static tg_node *minimum_forward(tg_context *c, tg_node *const *x) {
  save_inputs(c, x);
  return tg_n_min(x[0], x[1]);
}

static void minimum_backward(tg_context *c, tg_node *g, tg_node **dx) {
  tg_node *x = c->saved[0], *y = c->saved[1], *ties = tg_n_eq(x, y);
  if (needs(c, 0)) dx[0] = winner(g, tg_n_lt(y, x), ties);
  if (needs(c, 1)) dx[1] = winner(g, tg_n_lt(x, y), ties);
}
ROW(minimum, Minimum);

/* ---- trunc: r = x rounded towards 0; dx = 0 */

static tg_node *trunc_forward(tg_context *c, tg_node *const *x) {
  UNUSED(c);
  return tg_node_unary(TG_OP_TRUNC, x[0]);
}

static void trunc_backward(tg_context *c, tg_node *g, tg_node **dx) {
  UNUSED(c);
  dx[0] = zero_like(g);
}
ROW(trunc, Trunc);

/* ---- bitcast: r = the bits of x as dtype; no gradient */

static tg_node *bitcast_forward(tg_context *c, tg_node *const *x) {
  return tg_node_bitcast(x[0], (tg_dtype)c->args[0]);
}
ROW_WITHOUT_GRADIENT(bitcast, Bitcast);

/* ---- copy: r = x on another device; dx = g on the device of x */

static tg_node *copy_forward(tg_context *c, tg_node *const *x) {
  return tg_node_copy(x[0], (int)c->args[0]);
}

static void copy_backward(tg_context *c, tg_node *g, tg_node **dx) {
  dx[0] = tg_node_copy(g, c->in_device);
}
ROW(copy, Copy);

/* ---- window: r[.., o, .., k] = x[.., o * stride + k * dilation, ..];
 *      dx[i] = sum over k of g[(i - k * dilation) / stride, k] where that is whole
 *
 * With stride 1 that index is affine, and the compiler may go on into g: the
 * gradient of a convolution by its input is one contraction. With a stride s and
 * no dilation, i = s q + p and k = s j + p have the same phase p wherever the
 * quotient is whole, so dx[q, p] = sum over j of g[q - j, s j + p]: affine again
 * in each phase, without a division, and nothing is computed for the rest. The
 * phases are made concrete, then put side by side. */

#define MOST_PHASES 8

static tg_node *window_forward(tg_context *c, tg_node *const *x) {
  return tg_node_window(x[0], (int)c->args[0], c->args[1], c->args[2], c->args[3]);
}

/* Sums the last axis away. */
static tg_node *sum_last(tg_node *x) {
  if (!x) return NULL;
  x = tg_node_reduce(TG_OP_SUM, x, UINT32_C(1) << (x->ndim - 1));
  return x ? tg_node_reshape(x, x->ndim - 1, tg_node_shape(x)) : NULL;
}

/* g [.., O, .., K] -> [.., Q, ..], the sum over k = s j + p, in memory. */
static tg_node *one_phase(tg_node *g, int axis, int64_t stride, int64_t p, int64_t count) {
  int last = g->ndim - 1;
  int64_t bounds[2 * TG_MAX_DIMS];
  for (int i = 0; i <= last; i++) {
    bounds[2 * i] = i == last ? p : 0;
    bounds[2 * i + 1] = tg_node_shape(g)[i];
  }
  g = tg_node_window(tg_node_shrink(g, bounds), last, 1, stride, 1);
  g = g ? tg_node_reshape(g, last + 1, tg_node_shape(g)) : NULL;
  return tg_node_contiguous(sum_last(tg_node_unwindow(g, axis, count, 1, 1)));
}

/* x [.., Q, ..] -> [.., Q, .., s], zero but for phase p. */
static tg_node *place_phase(tg_node *x, int64_t stride, int64_t p) {
  if (!x) return NULL;
  int64_t shape[TG_MAX_DIMS], pads[2 * TG_MAX_DIMS] = {0};
  for (int i = 0; i < x->ndim; i++) shape[i] = tg_node_shape(x)[i];
  shape[x->ndim] = 1;
  pads[2 * x->ndim] = p, pads[2 * x->ndim + 1] = stride - 1 - p;
  return tg_node_pad(tg_node_reshape(x, x->ndim + 1, shape), pads);
}

/* All phases: [.., O, .., K] -> [.., Q, .., s]. */
static tg_node *all_phases(tg_node *g, int axis, int64_t stride) {
  int64_t kernel = tg_node_shape(g)[g->ndim - 1];
  int64_t count = tg_node_shape(g)[axis] + (kernel - 1) / stride;
  tg_node *all = NULL;
  for (int64_t p = 0; p < stride && p < kernel; p++) {
    tg_node *placed = place_phase(one_phase(g, axis, stride, p, count), stride, p);
    all = p ? tg_n_add(all, placed) : placed;
    if (!all) return NULL;
  }
  return all;
}

/* [.., Q, .., s] -> [.., I, ..]: i = s q + p, cut or filled with zeros to I. */
static tg_node *merge_phases(tg_node *x, int axis, int64_t size) {
  if (!x) return NULL;
  int last = x->ndim - 1;
  int64_t order[TG_MAX_DIMS], shape[TG_MAX_DIMS];
  int64_t whole = tg_node_shape(x)[axis] * tg_node_shape(x)[last];
  int64_t bounds[2 * TG_MAX_DIMS], pads[2 * TG_MAX_DIMS] = {0};
  for (int i = 0; i <= last; i++) order[i] = i <= axis ? i : i == axis + 1 ? last : i - 1;
  for (int i = 0; i < last; i++) {
    shape[i] = i == axis ? whole : tg_node_shape(x)[i];
    bounds[2 * i] = 0;
    bounds[2 * i + 1] = i == axis && size < whole ? size : shape[i];
  }
  if (size > whole) pads[2 * axis + 1] = size - whole;
  x = tg_node_reshape(tg_node_permute(x, order), last, shape);
  return tg_node_pad(tg_node_shrink(x, bounds), pads);
}

static void window_backward(tg_context *c, tg_node *g, tg_node **dx) {
  int axis = (int)c->args[0];
  int64_t size = c->in.dim[axis], stride = c->args[2], dilation = c->args[3];
  bool phases = stride > 1 && stride <= MOST_PHASES && dilation == 1;
  if (phases && g->ndim < TG_MAX_DIMS && g->numel) {
    dx[0] = merge_phases(all_phases(g, axis, stride), axis, size);
    return;
  }
  if (stride > 1) g = tg_node_contiguous(g);
  dx[0] = sum_last(tg_node_unwindow(g, axis, size, stride, dilation));
}
ROW(window, Window);

/* ---- gather: r[i.., r..] = x[y[i..], r..]; dx = 0, then dx[y[i]] += g[i] */

static tg_node *gather_forward(tg_context *c, tg_node *const *x) {
  c->saved[0] = x[1];
  return tg_node_gather(x[0], x[1]);
}

static void gather_backward(tg_context *c, tg_node *g, tg_node **dx) {
  tg_value zero = {0};
  tg_node *base = tg_node_const(c->in_dtype, c->in_device, c->in.ndim, c->in.dim, zero);
  dx[0] = tg_node_scatter(base, c->saved[0], g, true);
}
ROW(gather, Gather);

/* ---- scatter: r = x, then r[y[i]] (+)= z[i]; dz = g[y]; dx = g, and 0 where
 *      r was overwritten */

static tg_node *scatter_forward(tg_context *c, tg_node *const *x) {
  c->saved[0] = x[1];
  c->saved[1] = x[2];
  return tg_node_scatter(x[0], x[1], x[2], c->args[0] != 0);
}

static void scatter_backward(tg_context *c, tg_node *g, tg_node **dx) {
  tg_node *index = c->saved[0], *z = c->saved[1];
  dx[0] = c->args[0] || !needs(c, 0) ? g : tg_node_scatter(g, index, zero_like(z), false);
  if (needs(c, 2)) dx[2] = tg_node_gather(g, index);
}
ROW(scatter, Scatter);

/* ---- cat: r = the inputs one after the other along an axis; dx[i] = its part of g
 *
 * Forward pads each input with zeros to the whole size and joins them bit by
 * bit with OR, which hands on every value of every dtype (-0.0 and NaN too).
 * Many inputs are joined in groups, each made concrete, so that the work stays
 * in proportion to the size instead of size times count. */

#define CAT_GROUP 16

static tg_dtype bits_dtype(tg_dtype dtype) {
  if (!tg_dtype_is_float(dtype)) return dtype;
  return dtype == TG_FLOAT64 ? TG_UINT64 : dtype == TG_FLOAT32 ? TG_UINT32 : TG_UINT16;
}

static int64_t cat_size(tg_node *const *x, int count, int axis) {
  int64_t size = 0;
  for (int i = 0; i < count; i++) size += tg_node_shape(x[i])[axis];
  return size;
}

/* Joins up to CAT_GROUP bit patterns. */
static tg_node *cat_group(tg_node *const *x, int count, int axis) {
  int64_t whole = cat_size(x, count, axis), before = 0;
  tg_node *all = NULL;
  for (int i = 0; i < count; i++) {
    int64_t pads[2 * TG_MAX_DIMS] = {0}, size = tg_node_shape(x[i])[axis];
    pads[2 * axis] = before;
    pads[2 * axis + 1] = whole - before - size;
    before += size;
    if (i && !size) continue;
    tg_node *padded = tg_node_pad(x[i], pads);
    all = i ? tg_node_binary(TG_OP_OR, all, padded) : padded;
    if (!all) return NULL;
  }
  return all;
}

/* Joins the groups of `list` in place until one is left. */
static tg_node *cat_tree(tg_node **list, int count, int axis) {
  while (count > CAT_GROUP) {
    int groups = 0;
    for (int i = 0; i < count; i += CAT_GROUP) {
      int n = count - i < CAT_GROUP ? count - i : CAT_GROUP;
      tg_node *joined = tg_node_contiguous(cat_group(list + i, n, axis));
      if (!joined) return NULL;
      list[groups++] = joined;
    }
    count = groups;
  }
  return cat_group(list, count, axis);
}

static tg_node *cat_forward(tg_context *c, tg_node *const *x) {
  tg_dtype dtype = x[0]->dtype;
  tg_node *joined = NULL, **list = tg_alloc((size_t)c->count * sizeof(tg_node *));
  bool ready = list != NULL;
  for (int i = 0; ready && i < c->count; i++)
    ready = (list[i] = tg_node_bitcast(x[i], bits_dtype(dtype))) != NULL;
  if (ready) joined = cat_tree(list, c->count, (int)c->args[0]);
  tg_free(list);
  return tg_node_bitcast(joined, dtype);
}

static void cat_backward(tg_context *c, tg_node *g, tg_node **dx) {
  int64_t bounds[2 * TG_MAX_DIMS], before = 0, axis = c->args[0];
  for (int i = 0; i < g->ndim; i++) {
    bounds[2 * i] = 0;
    bounds[2 * i + 1] = tg_node_shape(g)[i];
  }
  for (int i = 0; i < c->count; i++) {
    bounds[2 * axis] = before;
    before += tg_dims(c->inputs[i])[axis];
    bounds[2 * axis + 1] = before;
    if (needs(c, i)) dx[i] = tg_node_shrink(g, bounds);
  }
}
ROW(cat, Cat);

/* ---- integers and bits: no gradient */

static tg_node *idiv_forward(tg_context *c, tg_node *const *x) {
  UNUSED(c);
  return tg_n_div(x[0], x[1]);
}
ROW_WITHOUT_GRADIENT(idiv, Idiv);

static tg_node *mod_forward(tg_context *c, tg_node *const *x) {
  UNUSED(c);
  return tg_node_binary(TG_OP_MOD, x[0], x[1]);
}
ROW_WITHOUT_GRADIENT(mod, Mod);

static tg_node *and_forward(tg_context *c, tg_node *const *x) {
  UNUSED(c);
  return tg_node_binary(TG_OP_AND, x[0], x[1]);
}
ROW_WITHOUT_GRADIENT(and, And);

static tg_node *or_forward(tg_context *c, tg_node *const *x) {
  UNUSED(c);
  return tg_node_binary(TG_OP_OR, x[0], x[1]);
}
ROW_WITHOUT_GRADIENT(or, Or);

static tg_node *xor_forward(tg_context *c, tg_node *const *x) {
  UNUSED(c);
  return tg_node_binary(TG_OP_XOR, x[0], x[1]);
}
ROW_WITHOUT_GRADIENT(xor, Xor);
