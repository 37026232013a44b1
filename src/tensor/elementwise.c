/* Elementwise operations of two and three operands: how operands meet, then
 * arithmetic, powers, comparisons, choices. (Unary operations: unary.c.)
 *
 * Operands meet in one device, one dtype (the later in promotion order; a C
 * number takes the tensor's) and one shape (numpy's broadcasting: aligned at
 * the last axis, sizes equal or 1). After that each operation is one Function
 * on nodes of equal shape and dtype.
 */
#include "autograd/functions.h"
#include "tensor/tensor.h"

/* ---- dtypes */

static tg_tensor *weak_number(tg_weakness weak, tg_dtype dtype, tg_dtype from, tg_value value) {
  int64_t mark = tg_pool_mark();
  tg_tensor *t = tg_wrap(mark, tg_node_const(dtype, tg_device_now(), 0, NULL,
                                             tg_value_cast(value, from, dtype)));
  if (!t) return NULL;
  t->weak = weak;
  t->number = value;
  return t;
}

tg_tensor *tg_number(double value) {
  return weak_number(TG_WEAK_FRACTION, tg_default_dtype(), TG_FLOAT64, (tg_value){.f = value});
}

tg_tensor *tg_whole(int64_t value) {
  return weak_number(TG_WEAK_WHOLE, TG_INT64, TG_INT64, (tg_value){.i = value});
}

/* The dtype of tensor `t` with a number: its own, unless that cannot hold it. */
static tg_dtype dtype_with(const tg_tensor *t, tg_weakness weak) {
  tg_dtype dtype = t->node->dtype;
  if (tg_dtype_is_float(dtype)) return dtype;
  if (weak == TG_WEAK_FRACTION) return tg_default_dtype();
  return dtype == TG_BOOL ? TG_INT64 : dtype;
}

tg_dtype tg_common_dtype(const tg_tensor *a, const tg_tensor *b) {
  if (!a->weak == !b->weak) return tg_promote(a->node->dtype, b->node->dtype);
  return a->weak ? dtype_with(b, a->weak) : dtype_with(a, b->weak);
}

/* The exact number in `dtype`, shaped and placed like `like`. */
static tg_tensor *number_like(const tg_tensor *t, tg_dtype dtype, const tg_node *like) {
  tg_dtype from = t->weak == TG_WEAK_WHOLE ? TG_INT64 : TG_FLOAT64;
  int64_t mark = tg_pool_mark();
  return tg_wrap(mark, tg_node_const(dtype, like->device, like->ndim, tg_node_shape(like),
                                     tg_value_cast(t->number, from, dtype)));
}

tg_tensor *tg_in_dtype(tg_tensor *t, tg_dtype dtype) {
  if (t && t->weak) return number_like(t, dtype, t->node);
  return tg_cast(t, dtype);
}

tg_tensor *tg_as_float(tg_tensor *t) {
  if (!t || (!t->weak && tg_is_floating_point(t))) return t;
  return tg_in_dtype(t, t->weak == TG_WEAK_FRACTION ? t->node->dtype : tg_default_dtype());
}

tg_dtype tg_float_dtype(const tg_tensor *x) {
  return tg_dtype_is_float(x->node->dtype) ? x->node->dtype : tg_default_dtype();
}

tg_tensor *tg_widened(tg_tensor *x) {
  x = tg_as_float(x);
  return x ? tg_cast(x, tg_dtype_wide(x->node->dtype)) : NULL;
}

tg_tensor *tg_narrowed(tg_tensor *result, const tg_tensor *x) {
  return result && x ? tg_cast(result, tg_float_dtype(x)) : NULL;
}

tg_dtype tg_widen_product(tg_tensor **a, tg_tensor **b) {
  tg_dtype dtype = tg_common_dtype(*a, *b), wide = tg_dtype_wide(dtype);
  if (wide == dtype) return dtype;
  *a = tg_cast(tg_in_dtype(*a, dtype), wide);
  *b = tg_cast(tg_in_dtype(*b, dtype), wide);
  return dtype;
}

/* ---- shapes */

int tg_broadcast_shape(const char *call, const tg_tensor *a, const tg_tensor *b,
                       tg_shape *out) {
  int na = tg_rank(a), nb = tg_rank(b);
  out->ndim = na > nb ? na : nb;
  for (int i = 1; i <= out->ndim; i++) { /* counted from the last axis */
    int64_t sa = i <= na ? tg_dims(a)[na - i] : 1;
    int64_t sb = i <= nb ? tg_dims(b)[nb - i] : 1;
    if (sa != sb && sa != 1 && sb != 1) {
      tg_fail("%s: shapes %s and %s cannot be broadcast: axis %d is %lld and %lld; reshape one "
              "so that the sizes are equal or 1", call, tg_text_of(a), tg_text_of(b),
              out->ndim - i, (long long)sa, (long long)sb);
      return -1;
    }
    out->dim[out->ndim - i] = sa == 1 ? sb : sa;
  }
  return tg_check_shape(call, *out, TG_FLOAT64) < 0 ? -1 : 0;
}

tg_tensor *tg_broadcast_to(tg_tensor *t, tg_shape shape) {
  if (!t) return NULL;
  int64_t args[TG_MAX_DIMS + 1] = {shape.ndim};
  int front = shape.ndim - tg_rank(t);
  if (front > 0) {
    for (int i = 0; i < shape.ndim; i++) args[i + 1] = i < front ? 1 : tg_dims(t)[i - front];
    t = tg_call1_with(&tg_fn_reshape, t, shape.ndim + 1, args);
  }
  if (!t || !memcmp(tg_dims(t), shape.dim, (size_t)shape.ndim * sizeof(int64_t))) return t;
  return tg_call1_with(&tg_fn_expand, t, shape.ndim, shape.dim);
}

static int same_device(const char *call, const tg_tensor *a, const tg_tensor *b) {
  if (a->weak || b->weak || a->node->device == b->node->device) return 0;
  tg_fail("%s: the operands are on %s and %s; move one with tg_to", call, tg_device(a),
          tg_device(b));
  return -1;
}

/* One dtype and one shape; a number becomes a constant of that shape. */
static int meet_in(const char *call, tg_tensor **a, tg_tensor **b, tg_dtype dtype) {
  tg_shape shape;
  if (tg_broadcast_shape(call, *a, *b, &shape)) return -1;
  const tg_node *na = (*a)->node, *nb = (*b)->node;
  bool wa = (*a)->weak, wb = (*b)->weak;
  *a = wa && !wb ? number_like(*a, dtype, nb) : tg_broadcast_to(tg_in_dtype(*a, dtype), shape);
  *b = wb && !wa ? number_like(*b, dtype, na) : tg_broadcast_to(tg_in_dtype(*b, dtype), shape);
  return *a && *b ? 0 : -1;
}

static int meet_check(const char *call, const tg_tensor *a, const tg_tensor *b) {
  return tg_is_null(call, a) || tg_is_null(call, b) || same_device(call, a, b) ? -1 : 0;
}

int tg_meet(const char *call, tg_tensor **a, tg_tensor **b) {
  if (meet_check(call, *a, *b)) return -1;
  return meet_in(call, a, b, tg_common_dtype(*a, *b));
}

/* ---- arithmetic */

/* Meets, then applies `row`, or for two bools `of_bool`. */
static tg_tensor *binary(const char *call, tg_tensor *a, tg_tensor *b,
                         const tg_function_row *row, const tg_function_row *of_bool) {
  if (tg_meet(call, &a, &b)) return NULL;
  return tg_call2(a->node->dtype == TG_BOOL ? of_bool : row, a, b);
}

tg_tensor *(tg_add)(tg_tensor *a, tg_tensor *b) {
  TG_COMPOSE(binary("tg_add", a, b, &tg_fn_add, &tg_fn_or));
}

tg_tensor *(tg_mul)(tg_tensor *a, tg_tensor *b) {
  TG_COMPOSE(binary("tg_mul", a, b, &tg_fn_mul, &tg_fn_and));
}

tg_tensor *(tg_maximum)(tg_tensor *a, tg_tensor *b) {
  TG_COMPOSE(binary("tg_maximum", a, b, &tg_fn_maximum, &tg_fn_or));
}

tg_tensor *(tg_minimum)(tg_tensor *a, tg_tensor *b) {
  TG_COMPOSE(binary("tg_minimum", a, b, &tg_fn_minimum, &tg_fn_and));
}

static tg_tensor *subtract(tg_tensor *a, tg_tensor *b) {
  if (tg_meet("tg_sub", &a, &b)) return NULL;
  if (a->node->dtype == TG_BOOL)
    return tg_fail("tg_sub: bool has no subtraction; use tg_ne for exclusive or, or tg_cast");
  return tg_call2(&tg_fn_sub, a, b);
}

tg_tensor *(tg_sub)(tg_tensor *a, tg_tensor *b) { TG_COMPOSE(subtract(a, b)); }

static tg_tensor *divide(tg_tensor *a, tg_tensor *b) {
  if (meet_check("tg_div", a, b)) return NULL;
  tg_dtype dtype = tg_common_dtype(a, b);
  if (!tg_dtype_is_float(dtype)) dtype = tg_default_dtype();
  if (meet_in("tg_div", &a, &b, dtype)) return NULL;
  return tg_call2(&tg_fn_div, a, b);
}

tg_tensor *(tg_div)(tg_tensor *a, tg_tensor *b) { TG_COMPOSE(divide(a, b)); }

/* ---- powers */

/* a^n by repeated squaring: exact, and wrapping, for integers. */
static tg_tensor *whole_power(tg_tensor *a, int64_t n) {
  tg_tensor *product = NULL;
  for (tg_tensor *square = a; n; square = n ? tg_call2(&tg_fn_mul, square, square) : NULL) {
    if (!square) return NULL;
    if (n & 1) product = product ? tg_call2(&tg_fn_mul, product, square) : square;
    if (n & 1 && !product) return NULL;
    n >>= 1;
  }
  return product;
}

/* Powers that have a better way than x^y; NULL when `n` is none of them. */
static const tg_function_row *power_row(double n) { return n == 0.5 ? &tg_fn_sqrt : NULL; }

static tg_tensor *number_power(tg_tensor *a, const tg_tensor *b) {
  bool whole = b->weak == TG_WEAK_WHOLE;
  double n = whole ? (double)b->number.i : b->number.f;
  if (power_row(n)) return tg_call1(power_row(n), a);
  if (n == 1 || n == 2 || n == 3) return whole_power(a, (int64_t)n);
  tg_tensor *exponent = number_like(b, a->node->dtype, a->node);
  return exponent ? tg_call2(&tg_fn_pow, a, exponent) : NULL;
}

static tg_tensor *integer_power(tg_tensor *a, tg_tensor *b, tg_dtype dtype) {
  if (!b->weak) { /* exact up to 2^53 */
    if (meet_in("tg_pow", &a, &b, TG_FLOAT64)) return NULL;
    return tg_cast(tg_call2(&tg_fn_pow, a, b), dtype);
  }
  int64_t n = b->number.i;
  if (n < 0)
    return tg_fail("tg_pow: integers to the negative power %lld are not integers; cast to a "
                   "float dtype first", (long long)n);
  tg_tensor *base = tg_in_dtype(a, dtype);
  return n && base ? whole_power(base, n) : (tg_ones_like)(base, NULL);
}

static tg_tensor *power(tg_tensor *a, tg_tensor *b) {
  if (meet_check("tg_pow", a, b)) return NULL;
  tg_dtype dtype = tg_common_dtype(a, b);
  if (dtype == TG_BOOL) dtype = TG_INT64;
  if (!tg_dtype_is_float(dtype)) return integer_power(a, b, dtype);
  tg_dtype wide = tg_dtype_wide(dtype);
  if (b->weak && !a->weak) {
    a = tg_cast(tg_in_dtype(a, dtype), wide);
    return a ? tg_cast(number_power(a, b), dtype) : NULL;
  }
  if (meet_in("tg_pow", &a, &b, dtype)) return NULL;
  return tg_cast(tg_call2(&tg_fn_pow, tg_cast(a, wide), tg_cast(b, wide)), dtype);
}

tg_tensor *(tg_pow)(tg_tensor *a, tg_tensor *b) { TG_COMPOSE(power(a, b)); }

/* ---- comparisons: false where an operand is NaN, except ne */

/* Whether the number, if `t` is one, keeps its value in `dtype`. */
static bool number_fits(const tg_tensor *t, tg_dtype dtype) {
  if (t->weak != TG_WEAK_WHOLE || tg_dtype_is_float(dtype)) return true;
  return tg_value_cast(t->number, TG_INT64, dtype).i == t->number.i;
}

/* Meets; with a number that the dtype cannot hold (a uint8 and -1), in int64. */
static int compare_meet(const char *call, tg_tensor **a, tg_tensor **b) {
  if (meet_check(call, *a, *b)) return -1;
  tg_dtype dtype = tg_common_dtype(*a, *b);
  if (!number_fits(*a, dtype) || !number_fits(*b, dtype)) dtype = TG_INT64;
  return meet_in(call, a, b, dtype);
}

static tg_tensor *compare(const char *call, const tg_function_row *row, tg_tensor *a,
                          tg_tensor *b) {
  return compare_meet(call, &a, &b) ? NULL : tg_call2(row, a, b);
}

static tg_tensor *logical_not(tg_tensor *x) {
  tg_tensor *all = (tg_ones_like)(x, NULL);
  return all ? tg_call2(&tg_fn_xor, x, all) : NULL;
}

static tg_tensor *less_or_equal(const char *call, tg_tensor *a, tg_tensor *b) {
  if (compare_meet(call, &a, &b)) return NULL;
  if (!tg_is_floating_point(a)) return logical_not(tg_call2(&tg_fn_less, b, a));
  tg_tensor *less = tg_call2(&tg_fn_less, a, b), *equal = tg_call2(&tg_fn_equal, a, b);
  return less && equal ? tg_call2(&tg_fn_or, less, equal) : NULL;
}

tg_tensor *(tg_lt)(tg_tensor *a, tg_tensor *b) {
  TG_COMPOSE(compare("tg_lt", &tg_fn_less, a, b));
}

tg_tensor *(tg_gt)(tg_tensor *a, tg_tensor *b) {
  TG_COMPOSE(compare("tg_gt", &tg_fn_less, b, a));
}

tg_tensor *(tg_le)(tg_tensor *a, tg_tensor *b) { TG_COMPOSE(less_or_equal("tg_le", a, b)); }

tg_tensor *(tg_ge)(tg_tensor *a, tg_tensor *b) { TG_COMPOSE(less_or_equal("tg_ge", b, a)); }

tg_tensor *(tg_eq)(tg_tensor *a, tg_tensor *b) {
  TG_COMPOSE(compare("tg_eq", &tg_fn_equal, a, b));
}

tg_tensor *(tg_ne)(tg_tensor *a, tg_tensor *b) {
  TG_COMPOSE(logical_not(compare("tg_ne", &tg_fn_equal, a, b)));
}

/* ---- choice */

static tg_tensor *as_condition(tg_tensor *t) {
  if (!t || t->node->dtype == TG_BOOL) return t;
  return (tg_ne)(t, tg_whole(0));
}

/* `t` to the shape of `with`, both broadcast. */
static tg_tensor *broadcast_with(tg_tensor *t, const tg_tensor *with) {
  tg_shape shape;
  if (tg_broadcast_shape("tg_where", t, with, &shape)) return NULL;
  return tg_broadcast_to(t, shape);
}

static tg_tensor *choose(tg_tensor *condition, tg_tensor *a, tg_tensor *b) {
  if (tg_is_null("tg_where", condition) || meet_check("tg_where", a, b)) return NULL;
  if (same_device("tg_where", condition, a) || same_device("tg_where", condition, b)) return NULL;
  tg_dtype dtype = tg_common_dtype(a, b);
  if (a->weak) a = number_like(a, dtype, condition->node);
  if (b->weak) b = number_like(b, dtype, condition->node);
  if (!a || !b || meet_in("tg_where", &a, &b, dtype)) return NULL;
  condition = as_condition(condition);
  if (!condition || !(condition = broadcast_with(condition, a))) return NULL;
  if (!(a = broadcast_with(a, condition)) || !(b = broadcast_with(b, condition))) return NULL;
  return tg_call3(&tg_fn_where, condition, a, b);
}

tg_tensor *(tg_where)(tg_tensor *condition, tg_tensor *a, tg_tensor *b) {
  TG_COMPOSE(choose(condition, a, b));
}
