/* tensor/unary: functions of one number, element by element.
 *
 * Three kinds, in this order. Those that are one op of the graph are calls of
 * its Function. Those that a short formula gives exactly enough are composed,
 * and their gradient follows. The rest are "curves": Functions with a formula
 * for the value and one for the slope, because the obvious composition loses
 * digits (e^x - 1 near 0, ln(1 + x) near 0), overflows (softplus of 1000) or
 * has the wrong slope in a corner (|x| at 0). The 16-bit floats compute all of
 * these in float32, so that a formula rounds once, at its end.
 *
 * Where two forms meet, both keep NaN: conditions are written so that a NaN
 * falls to the branch that hands it on.
 */
#include "autograd/functions.h"
#include "tensor/tensor.h"

static const double pi = 3.14159265358979323846, ln2 = 0.69314718055994530942;

/* A Function of floats: integers become the default float first. */
static tg_tensor *on_float(const tg_function_row *row, tg_tensor *x) {
  TG_COMPOSE(tg_call1(row, tg_as_float(x)));
}

/* The same by way of float32: where the formula of the value or of the slope has several
 * steps. */
static tg_tensor *rounded_once(const tg_function_row *row, tg_tensor *x) {
  TG_COMPOSE(tg_narrowed(tg_call1(row, tg_widened(x)), x));
}

static bool is_float(const tg_tensor *x) { return tg_dtype_is_float(x->node->dtype); }

/* ---- one op */

tg_tensor *tg_neg(tg_tensor *x) {
  if (tg_is_null("tg_neg", x)) return NULL;
  if (x->node->dtype == TG_BOOL)
    return tg_fail("tg_neg: bool %s has no negative; compare it with tg_eq(x, 0) or cast it",
                   tg_text_of(x));
  return tg_call1(&tg_fn_neg, x);
}

tg_tensor *tg_relu(tg_tensor *x) { return tg_call1(&tg_fn_relu, x); }
tg_tensor *tg_exp(tg_tensor *x) { return on_float(&tg_fn_exp, x); }
tg_tensor *tg_log(tg_tensor *x) { return on_float(&tg_fn_log, x); }
tg_tensor *tg_sin(tg_tensor *x) { return rounded_once(&tg_fn_sin, x); }
tg_tensor *tg_sqrt(tg_tensor *x) { return on_float(&tg_fn_sqrt, x); }
tg_tensor *tg_sigmoid(tg_tensor *x) { return rounded_once(&tg_fn_sigmoid, x); }

tg_tensor *tg_trunc(tg_tensor *x) {
  if (tg_is_null("tg_trunc", x)) return NULL;
  return is_float(x) ? tg_call1(&tg_fn_trunc, x) : x;
}

/* ---- node formulas that keep their digits */

static tg_node *exp_of(tg_node *x) { return tg_node_unary(TG_OP_EXP, x); }
static tg_node *log_of(tg_node *x) { return tg_node_unary(TG_OP_LOG, x); }
static tg_node *sin_of(tg_node *x) { return tg_node_unary(TG_OP_SIN, x); }
static tg_node *sqrt_of(tg_node *x) { return tg_node_unary(TG_OP_SQRT, x); }
static tg_node *plus(tg_node *x, double f) { return tg_n_add(x, tg_n_num(x, f)); }
static tg_node *times_number(tg_node *x, double f) { return tg_n_mul(x, tg_n_num(x, f)); }
static tg_node *over(double f, tg_node *x) { return tg_n_div(tg_n_num(x, f), x); }
static tg_node *square_of(tg_node *x) { return tg_n_mul(x, x); }
static tg_node *below(tg_node *x, double f) { return tg_n_lt(x, tg_n_num(x, f)); }
static tg_node *above(tg_node *x, double f) { return tg_n_lt(tg_n_num(x, f), x); }

/* 0 - x rather than -x: |-0| and |0| are 0. */
static tg_node *abs_value(tg_node *x) {
  return tg_node_where(above(x, 0), x, tg_n_sub(tg_n_num(x, 0), x));
}

/* (0 < x) - (x < 0): 0 for 0 and NaN. */
static tg_node *sign_value(tg_node *x) {
  tg_node *one = tg_n_num(x, 1), *zero = tg_n_num(x, 0);
  tg_node *negative = tg_node_where(below(x, 0), tg_n_sub(zero, one), zero);
  return tg_node_where(above(x, 0), one, negative);
}

/* y, but x where that is 0: f(-0) = -0 for odd functions. */
static tg_node *kept_zero(tg_node *x, tg_node *y) {
  return tg_node_where(tg_n_eq(x, tg_n_num(x, 0)), x, y);
}

/* f of |x| with the sign of x: for odd functions. */
static tg_node *odd(tg_node *x, tg_node *f_of_abs) {
  return kept_zero(x, tg_node_where(below(x, 0), tg_n_neg(f_of_abs), f_of_abs));
}

/* ln(1 + x). u = 1 + x is rounded; what it lost, x - (u - 1), comes back as
 * the first term of ln(u + lost) - ln u. Nothing lost, nothing to add: that
 * branch also keeps 0 / 0 away at -1 and infinity. */
static tg_node *log1p_value(tg_node *x) {
  tg_node *u = plus(x, 1), *kept = plus(u, -1);
  tg_node *lost = tg_n_div(tg_n_sub(x, kept), u);
  return tg_n_add(log_of(u), tg_node_where(tg_n_eq(kept, x), tg_n_num(x, 0), lost));
}

/* e^x - 1. u = e^x is rounded; near 0 that matters, and u (x - ln u) is the
 * first term of e^x - u. */
static tg_node *expm1_value(tg_node *x) {
  tg_node *u = exp_of(x);
  tg_node *lost = tg_n_mul(u, tg_n_sub(x, log_of(u)));
  tg_node *small = below(square_of(x), 0.25);
  return kept_zero(x, tg_n_add(plus(u, -1), tg_node_where(small, lost, tg_n_num(x, 0))));
}
static tg_node *expm1_slope(tg_node *x, tg_node *y) {
  (void)y;
  return exp_of(x);
}

static tg_node *abs_slope(tg_node *x, tg_node *y) {
  (void)y;
  return sign_value(x);
}

/* -e / (e + 2) with e = e^(-2x) - 1, which stays finite from -40 on. */
static tg_node *tanh_value(tg_node *x) {
  tg_node *held = tg_node_binary(TG_OP_MAX, x, tg_n_num(x, -40));
  tg_node *e = expm1_value(times_number(held, -2));
  return tg_n_div(tg_n_neg(e), plus(e, 2));
}
static tg_node *tanh_slope(tg_node *x, tg_node *y) {
  (void)x;
  return tg_n_sub(tg_n_num(y, 1), square_of(y));
}

/* 1 - 2 sin^2(x / 2): halving is exact, adding pi / 2 to a large x is not. */
static tg_node *cos_value(tg_node *x) {
  return plus(times_number(square_of(sin_of(times_number(x, 0.5))), -2), 1);
}
static tg_node *cos_slope(tg_node *x, tg_node *y) {
  (void)y;
  return tg_n_neg(sin_of(x));
}

static tg_node *tan_value(tg_node *x) { return tg_n_div(sin_of(x), cos_value(x)); }
static tg_node *tan_slope(tg_node *x, tg_node *y) {
  (void)x;
  return plus(square_of(y), 1);
}

static tg_node *exp2_value(tg_node *x) {
  return tg_node_binary(TG_OP_POW, tg_n_num(x, 2), x);
}
static tg_node *exp2_slope(tg_node *x, tg_node *y) {
  (void)x;
  return times_number(y, ln2);
}

static tg_node *sinh_value(tg_node *x) {
  return times_number(tg_n_sub(expm1_value(x), expm1_value(tg_n_neg(x))), 0.5);
}
static tg_node *cosh_value(tg_node *x) {
  return times_number(tg_n_add(exp_of(x), exp_of(tg_n_neg(x))), 0.5);
}
static tg_node *sinh_slope(tg_node *x, tg_node *y) {
  (void)y;
  return cosh_value(x);
}
static tg_node *cosh_slope(tg_node *x, tg_node *y) {
  (void)y;
  return sinh_value(x);
}

/* With a = |x|: ln(a + sqrt(a^2 + 1)) = log1p(a + a^2 / (1 + sqrt(a^2 + 1)));
 * where a^2 could overflow, ln a + ln 2 is already exact. */
static tg_node *asinh_value(tg_node *x) {
  tg_node *a = abs_value(x), *a2 = square_of(a);
  tg_node *root = sqrt_of(plus(a2, 1));
  tg_node *near = log1p_value(tg_n_add(a, tg_n_div(a2, plus(root, 1))));
  return odd(x, tg_node_where(above(a, 1e8), plus(log_of(a), ln2), near));
}
static tg_node *asinh_slope(tg_node *x, tg_node *y) {
  (void)y;
  return over(1, sqrt_of(plus(square_of(x), 1)));
}

/* With t = x - 1: log1p(t + sqrt(t (t + 2))); below 1 there is none. */
static tg_node *acosh_value(tg_node *x) {
  tg_node *t = plus(x, -1);
  tg_node *near = log1p_value(tg_n_add(t, sqrt_of(tg_n_mul(t, plus(t, 2)))));
  tg_node *far = tg_node_where(above(x, 1e8), plus(log_of(x), ln2), near);
  return tg_node_where(below(x, 1), tg_n_num(x, NAN), far);
}
static tg_node *acosh_slope(tg_node *x, tg_node *y) {
  (void)y;
  return over(1, tg_n_mul(sqrt_of(plus(x, -1)), sqrt_of(plus(x, 1))));
}

/* With a = |x|: half of ln((1 + a) / (1 - a)), which is log1p(2a / (1 - a)). */
static tg_node *atanh_value(tg_node *x) {
  tg_node *a = abs_value(x), *rest = tg_n_sub(tg_n_num(x, 1), a);
  tg_node *small = log1p_value(tg_n_div(times_number(a, 2), rest));
  tg_node *large = log_of(tg_n_div(plus(a, 1), rest));
  return odd(x, times_number(tg_node_where(below(a, 0.5), small, large), 0.5));
}
static tg_node *atanh_slope(tg_node *x, tg_node *y) {
  (void)y;
  return over(1, tg_n_mul(tg_n_sub(tg_n_num(x, 1), x), plus(x, 1)));
}

/* max(x, 0) + ln(1 + e^-|x|): no overflow, and no loss for large -x. */
static tg_node *softplus_value(tg_node *x) {
  tg_node *rest = log1p_value(exp_of(tg_n_neg(abs_value(x))));
  return tg_n_add(tg_node_binary(TG_OP_MAX, x, tg_n_num(x, 0)), rest);
}
static tg_node *softplus_slope(tg_node *x, tg_node *y) {
  (void)y;
  return over(1, plus(exp_of(tg_n_neg(x)), 1));
}

/* ---- curves as Functions */

static tg_node *widened_node(tg_node *x) {
  return x ? tg_node_cast(x, tg_dtype_wide(x->dtype)) : NULL;
}

static tg_node *curve_value(tg_context *c, tg_node *x, tg_node *(*value)(tg_node *x)) {
  c->saved[0] = x;
  return c->saved[1] = tg_node_cast(value(widened_node(x)), c->in_dtype);
}

static void curve_slope(tg_context *c, tg_node *grad, tg_node **grads,
                        tg_node *(*slope)(tg_node *x, tg_node *y)) {
  tg_node *by_x = slope(widened_node(c->saved[0]), widened_node(c->saved[1]));
  grads[0] = tg_node_cast(tg_n_mul(widened_node(grad), by_x), c->in_dtype);
}

/* CURVE(f, Name) makes the Function f_row from f_value and f_slope above. */
#define CURVE(f, Name)                                                        \
  static tg_node *f##_forward(tg_context *c, tg_node *const *x) {             \
    return curve_value(c, x[0], f##_value);                                   \
  }                                                                           \
  static void f##_backward(tg_context *c, tg_node *grad, tg_node **grads) {   \
    curve_slope(c, grad, grads, f##_slope);                                   \
  }                                                                           \
  static const tg_function_row f##_row = {#Name, f##_forward, f##_backward};

CURVE(abs, Abs)
CURVE(expm1, Expm1)
CURVE(tanh, Tanh)
CURVE(cos, Cos)
CURVE(tan, Tan)
CURVE(exp2, Exp2)
CURVE(sinh, Sinh)
CURVE(cosh, Cosh)
CURVE(asinh, Asinh)
CURVE(acosh, Acosh)
CURVE(atanh, Atanh)
CURVE(softplus, Softplus)

tg_tensor *tg_tanh(tg_tensor *x) { return on_float(&tanh_row, x); }
tg_tensor *tg_cos(tg_tensor *x) { return on_float(&cos_row, x); }
tg_tensor *tg_tan(tg_tensor *x) { return on_float(&tan_row, x); }
tg_tensor *tg_exp2(tg_tensor *x) { return on_float(&exp2_row, x); }
tg_tensor *tg_sinh(tg_tensor *x) { return on_float(&sinh_row, x); }
tg_tensor *tg_cosh(tg_tensor *x) { return on_float(&cosh_row, x); }
tg_tensor *tg_asinh(tg_tensor *x) { return on_float(&asinh_row, x); }
tg_tensor *tg_acosh(tg_tensor *x) { return on_float(&acosh_row, x); }
tg_tensor *tg_atanh(tg_tensor *x) { return on_float(&atanh_row, x); }

static bool is_unsigned(tg_dtype dtype) {
  return dtype == TG_BOOL || dtype == TG_UINT8 || dtype == TG_UINT16 || dtype == TG_UINT32 ||
         dtype == TG_UINT64;
}

tg_tensor *tg_abs(tg_tensor *x) {
  if (tg_is_null("tg_abs", x)) return NULL;
  return is_unsigned(x->node->dtype) ? x : tg_call1(&abs_row, x);
}

static tg_node *sign_forward(tg_context *c, tg_node *const *x) {
  (void)c;
  return is_unsigned(x[0]->dtype) && x[0]->dtype != TG_BOOL
             ? tg_node_where(above(x[0], 0), tg_n_num(x[0], 1), tg_n_num(x[0], 0))
             : sign_value(x[0]);
}
static void sign_backward(tg_context *c, tg_node *grad, tg_node **grads) {
  (void)c;
  grads[0] = tg_n_num(grad, 0);
}
static const tg_function_row sign_row = {"Sign", sign_forward, sign_backward};

tg_tensor *tg_sign(tg_tensor *x) {
  if (tg_is_null("tg_sign", x)) return NULL;
  return x->node->dtype == TG_BOOL ? x : tg_call1(&sign_row, x);
}

static tg_tensor *softplus_of(tg_tensor *x, double beta) {
  return tg_div(tg_call1(&softplus_row, tg_mul(x, beta)), beta);
}
tg_tensor *tg_softplus(tg_tensor *x, double beta) {
  if (beta == 1) return on_float(&softplus_row, x);
  TG_COMPOSE(tg_narrowed(softplus_of(tg_widened(x), beta), x));
}

/* ---- compositions */

tg_tensor *tg_log2(tg_tensor *x) {
  TG_COMPOSE(tg_narrowed(tg_mul(tg_log(tg_widened(x)), 1 / ln2), x));
}
tg_tensor *tg_reciprocal(tg_tensor *x) { TG_COMPOSE(tg_div(1, tg_as_float(x))); }
tg_tensor *tg_rsqrt(tg_tensor *x) {
  TG_COMPOSE(tg_narrowed(tg_div(1, tg_sqrt(tg_widened(x))), x));
}
tg_tensor *tg_square(tg_tensor *x) { TG_COMPOSE(tg_mul(x, x)); }

static tg_tensor *floor_of(tg_tensor *x) {
  tg_tensor *t = tg_trunc(x);
  return tg_where(tg_lt(x, t), tg_sub(t, 1), t);
}
static tg_tensor *ceil_of(tg_tensor *x) {
  tg_tensor *t = tg_trunc(x);
  return tg_where(tg_lt(t, x), tg_add(t, 1), t);
}
tg_tensor *tg_floor(tg_tensor *x) {
  if (x && !is_float(x)) return x;
  TG_COMPOSE(floor_of(x));
}
tg_tensor *tg_ceil(tg_tensor *x) {
  if (x && !is_float(x)) return x;
  TG_COMPOSE(ceil_of(x));
}

/* A bound as an operand: a whole one leaves integers integers. */
static tg_tensor *bound_operand(double f) {
  return f == floor(f) && fabs(f) < 0x1p62 ? tg_whole((int64_t)f) : tg_number(f);
}

/* The slope is 1 on the bounds themselves; an infinite bound is none. */
static tg_tensor *clip_of(tg_tensor *x, double low, double high) {
  tg_tensor *l = bound_operand(low), *h = bound_operand(high);
  tg_tensor *y = isinf(low) && low < 0 ? x : tg_where(tg_lt(x, l), l, x);
  return isinf(high) && high > 0 ? y : tg_where(tg_gt(y, h), h, y);
}
tg_tensor *tg_clip(tg_tensor *x, double low, double high) { TG_COMPOSE(clip_of(x, low, high)); }

/* The slope is 0 on the bounds. */
static tg_tensor *hardtanh_of(tg_tensor *x, double low, double high) {
  tg_tensor *l = bound_operand(low), *h = bound_operand(high);
  return tg_where(tg_le(x, l), l, tg_where(tg_ge(x, h), h, x));
}
tg_tensor *tg_hardtanh(tg_tensor *x, double low, double high) {
  if (!(low <= high))
    return tg_fail("tg_hardtanh: low %g is above high %g; swap them", low, high);
  TG_COMPOSE(hardtanh_of(x, low, high));
}
tg_tensor *tg_relu6(tg_tensor *x) { TG_COMPOSE(hardtanh_of(x, 0, 6)); }
static tg_tensor *hardswish_of(tg_tensor *x) {
  return tg_div(tg_mul(x, tg_relu6(tg_add(x, 3))), 6);
}
tg_tensor *tg_hardswish(tg_tensor *x) { TG_COMPOSE(tg_narrowed(hardswish_of(tg_widened(x)), x)); }

/* The exponential sees only the negative side: no infinity times 0. */
static tg_tensor *elu_of(tg_tensor *x, double alpha, double steep) {
  tg_tensor *left = tg_where(tg_gt(x, 0), 0, x);
  tg_tensor *curve = tg_call1(&expm1_row, steep == 1 ? left : tg_mul(left, steep));
  return tg_where(tg_gt(x, 0), x, tg_mul(curve, alpha));
}
tg_tensor *tg_elu(tg_tensor *x, double alpha) {
  TG_COMPOSE(tg_narrowed(elu_of(tg_widened(x), alpha, 1), x));
}
tg_tensor *tg_celu(tg_tensor *x, double alpha) {
  if (alpha == 0) return tg_fail("tg_celu: alpha is 0, by which it divides; take tg_relu");
  TG_COMPOSE(tg_narrowed(elu_of(tg_widened(x), alpha, 1 / alpha), x));
}

/* x sigmoid(steep x) */
static tg_tensor *gated(tg_tensor *x, double steep) {
  return tg_mul(x, tg_sigmoid(steep == 1 ? x : tg_mul(x, steep)));
}
tg_tensor *tg_silu(tg_tensor *x) { TG_COMPOSE(tg_narrowed(gated(tg_widened(x), 1), x)); }
tg_tensor *tg_swish(tg_tensor *x) { TG_COMPOSE(tg_silu(x)); }
tg_tensor *tg_quick_gelu(tg_tensor *x) {
  TG_COMPOSE(tg_narrowed(gated(tg_widened(x), 1.702), x));
}

/* (1 + tanh z) / 2 = sigmoid(2z), and a sigmoid keeps its digits on the left. */
static tg_tensor *gelu_of(tg_tensor *x) {
  tg_tensor *inner = tg_mul(x, tg_add(tg_mul(tg_square(x), 0.044715), 1.0));
  return tg_mul(x, tg_sigmoid(tg_mul(inner, 2 * sqrt(2 / pi))));
}
tg_tensor *tg_gelu(tg_tensor *x) { TG_COMPOSE(tg_narrowed(gelu_of(tg_widened(x)), x)); }

tg_tensor *tg_leakyrelu(tg_tensor *x, double slope) {
  TG_COMPOSE(tg_where(tg_gt(x, 0), x, tg_mul(x, slope)));
}
static tg_tensor *mish_of(tg_tensor *x) { return tg_mul(x, tg_tanh(tg_softplus(x, 1))); }
tg_tensor *tg_mish(tg_tensor *x) { TG_COMPOSE(tg_narrowed(mish_of(tg_widened(x)), x)); }
static tg_tensor *softsign_of(tg_tensor *x) { return tg_div(x, tg_add(tg_abs(x), 1)); }
tg_tensor *tg_softsign(tg_tensor *x) { TG_COMPOSE(tg_narrowed(softsign_of(tg_widened(x)), x)); }
