/* tests/oracle: runs one operation over its cases, in four ways:
 *
 *   float32, float64   forward and gradients against the stored values
 *   float64            the gradient check, where the flags say so
 *   float16, bfloat16  against float32 on the same rounded inputs
 *
 * An error counts relative to the largest element of the array it is in, since
 * sums cancel; in cases without gradients (extreme values) to the element.
 */
#include "oracle/oracle.h"

#include <float.h>

#include "base/base.h"

/* How far a result may be off, per dtype: forward, gradient. */
static const double tolerance[TG_DTYPE_COUNT][2] = {
    [TG_FLOAT16] = {4e-3, 2e-2},
    [TG_BFLOAT16] = {3e-2, 2e-1},
    [TG_FLOAT32] = {2e-6, 1e-5},
    [TG_FLOAT64] = {5e-12, 2e-11},
};

/* ---- inputs */

static uint64_t noise(uint64_t number, uint64_t i) {
  uint64_t z = i * UINT64_C(0x9E3779B97F4A7C15) + (number + 1) * UINT64_C(0xD1B54A32D192ED03);
  z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
  z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
  return (z ^ (z >> 31)) >> 54;
}

double oracle_element(const oracle_input *input, int number, int64_t i) {
  if (input->kind == 'x' || input->kind == 'y') return oracle_values[input->given + i];
  double k = (double)noise((uint64_t)number, (uint64_t)i);
  double value = input->low + (input->high - input->low) * k / 1024;
  return input->kind == 'f' ? value : floor(value);
}

static bool is_float(const oracle_input *input) { return strchr("frx", input->kind) != NULL; }

static tg_shape shape_of(const oracle_shape *s) {
  tg_shape shape = {.ndim = s->ndim};
  for (int i = 0; i < s->ndim; i++) shape.dim[i] = s->dim[i];
  return shape;
}

/* The shape of the leaf that the view turns into the input's. */
static tg_shape leaf_shape(const oracle_input *input) {
  tg_shape shape = shape_of(&input->shape);
  if (input->view == 'e') shape.dim[0] = 1;
  for (int i = 0; i < shape.ndim; i++) {
    if (input->view == 't') shape.dim[i] = input->shape.dim[shape.ndim - 1 - i];
    if (input->view == 's') shape.dim[i] += 2;
  }
  return shape;
}

static int64_t numel(tg_shape shape) {
  int64_t n = 1;
  for (int i = 0; i < shape.ndim; i++) n *= shape.dim[i];
  return n;
}

static double rounded(double value, tg_dtype dtype) {
  if (dtype == TG_FLOAT16) return tg_half_to_float(tg_float_to_half((float)value));
  if (dtype == TG_BFLOAT16) return tg_bfloat_to_float(tg_float_to_bfloat((float)value));
  return value;
}

/* The leaf: elements rounded to `round`, moved off kinks and ties by `jitter`. */
static tg_tensor *make_leaf(const oracle_case *c, int number, tg_dtype dtype, tg_dtype round,
                            double jitter) {
  const oracle_input *input = &c->input[number];
  tg_shape shape = leaf_shape(input);
  int64_t n = numel(shape);
  double *data = malloc((size_t)(n + 1) * sizeof *data);
  for (int64_t i = 0; data && i < n; i++) {
    double off = jitter * (1 + (double)noise((uint64_t)number + 77, (uint64_t)i) / 1024);
    data[i] = oracle_element(input, number, i);
    if (is_float(input) && jitter > 0) data[i] += off;
    if (is_float(input)) data[i] = rounded(data[i], round);
  }
  bool wants = is_float(input) && strchr(c->flags, 'g');
  tg_dtype as = is_float(input) ? dtype : input->kind == 'b' ? TG_BOOL : TG_INT64;
  tg_tensor *t = data ? tg_from(data, shape, .dtype = TG_FLOAT64) : NULL;
  free(data);
  t = tg_realize(tg_contiguous(tg_cast(t, as)));
  return wants ? tg_set_requires_grad(tg_detach(t), TG_GRAD_YES) : t;
}

static tg_tensor *seen(const oracle_input *input, tg_tensor *t) {
  tg_ints list = {.ndim = input->shape.ndim};
  tg_ints bounds = {.ndim = 2 * list.ndim};
  for (int i = 0; i < list.ndim; i++) {
    list.dim[i] = input->view == 't' ? list.ndim - 1 - i : i;
    bounds.dim[2 * i] = 1;
    bounds.dim[2 * i + 1] = input->shape.dim[i] + 1;
  }
  switch (input->view) {
    case 't': return tg_permute_to(t, list);
    case 'f': return tg_flip_axes(t, list);
    case 's': return tg_shrink_to(t, bounds);
    case 'e': return tg_expand_to(t, shape_of(&input->shape));
    default: return t;
  }
}

/* ---- one run */

typedef struct result {
  int64_t count[7]; /* [0]: the result; then the gradient of each float input */
  double *value[7];
  int n;
} result;

static void result_free(result *r) {
  for (int i = 0; i < r->n; i++) free(r->value[i]);
  r->n = 0;
}

static bool result_add(result *r, tg_tensor *t, int64_t count) {
  double *data = calloc((size_t)count + 1, sizeof *data);
  r->count[r->n] = count;
  r->value[r->n++] = data;
  if (!data) return false;
  if (!t) return true; /* no gradient: 0 */
  return tg_numel(t) == count &&
         tg_to_host(tg_cast(t, TG_FLOAT64), data, (size_t)count * sizeof *data) == 0;
}

/* ((out + 1)^2 * w).mean() with w[i] = 1 + (i % 7) / 4 */
static tg_tensor *loss_of(tg_tensor *out) {
  int64_t n = tg_numel(out);
  float *w = malloc((size_t)(n + 1) * sizeof *w);
  for (int64_t i = 0; w && i < n; i++) w[i] = 1 + (float)(i % 7) / 4;
  tg_tensor *weights = w ? tg_from(w, tg_shape_of(out), .dtype = TG_FLOAT32) : NULL;
  free(w);
  if (tg_dtype_size(tg_dtype_of(out)) == 2) out = tg_cast(out, TG_FLOAT32);
  tg_tensor *sum = tg_sum(tg_mul(tg_square(tg_add(out, 1)), weights));
  return tg_mul(sum, 1.0 / (double)(n > 1 ? n : 1));
}

static bool same_shape(tg_shape a, tg_shape b) {
  bool same = a.ndim == b.ndim;
  for (int i = 0; same && i < a.ndim; i++) same = a.dim[i] == b.dim[i];
  return same;
}

static tg_dtype out_dtype(const oracle_case *c, tg_dtype dtype) {
  return c->dtype == 'f' ? dtype : c->dtype == 'i' ? TG_INT64 : TG_BOOL;
}

static bool run_op(const oracle_case *c, oracle_op op, tg_dtype dtype, tg_dtype round, result *r) {
  tg_tensor *leaf[6] = {0}, *x[6] = {0};
  for (int i = 0; i < c->ninputs; i++) {
    leaf[i] = make_leaf(c, i, dtype, round, 0);
    x[i] = seen(&c->input[i], leaf[i]);
  }
  tg_tensor *out = op(x, c);
  if (!out) return false;
  if (!same_shape(tg_shape_of(out), shape_of(&c->out)))
    return tg_fail("shape %s", tg_shape_text(tg_shape_of(out).dim, tg_ndim(out))), false;
  if (tg_dtype_of(out) != out_dtype(c, dtype))
    return tg_fail("dtype %s", tg_dtype_name(tg_dtype_of(out))), false;
  bool good = result_add(r, out, numel(shape_of(&c->out)));
  if (!good || !strchr(c->flags, 'g')) return good;
  if (tg_requires_grad(out) == TG_GRAD_YES && tg_backward(loss_of(out)) < 0) return false;
  for (int i = 0; good && i < c->ninputs; i++) {
    if (!is_float(&c->input[i])) continue;
    tg_tensor *grad = tg_grad(leaf[i]);
    if (grad && tg_dtype_of(grad) != tg_dtype_of(leaf[i])) tg_fail("gradient dtype"), good = false;
    good = good && result_add(r, grad, tg_numel(leaf[i]));
  }
  return good;
}

/* ---- comparing */

static double largest(const double *value, int64_t n) {
  double most = 0;
  for (int64_t i = 0; i < n; i++)
    if (isfinite(value[i]) && fabs(value[i]) > most) most = fabs(value[i]);
  return most;
}

static bool alike(double got, double want, double scale, double tol, bool exact, tg_dtype dtype) {
  if (isnan(want)) return isnan(got);
  if (dtype == TG_FLOAT32 && fabs(want) > FLT_MAX) want = want > 0 ? INFINITY : -INFINITY;
  if (got == want) return true;
  if (isinf(want)) return false;
  double allowed = exact ? tol * fabs(want) + 1e-2 * tol : tol * (fabs(want) + scale) + 1e-4 * tol;
  return fabs(got - want) <= allowed;
}

static void compare(const oracle_case *c, const result *got, const double *const *want,
                    tg_dtype dtype) {
  bool exact = !strchr(c->flags, 'g');
  for (int k = 0; k < got->n; k++) {
    double scale = fmax(largest(want[k], got->count[k]), 0.05), tol = tolerance[dtype][k > 0];
    int64_t wrong = 0, first = -1;
    for (int64_t i = 0; i < got->count[k]; i++)
      if (!alike(got->value[k][i], want[k][i], scale, tol, exact, dtype) && !wrong++) first = i;
    test_check(!wrong, "oracle", c->number,
               "%s/%d %s %s %d: %lld of %lld wrong, [%lld] %.9g, not %.9g",
               c->name, c->number, tg_dtype_name(dtype), k ? "gradient" : "out", k ? k - 1 : 0,
               (long long)wrong, (long long)got->count[k], (long long)first,
               wrong ? got->value[k][first] : 0, wrong ? want[k][first] : 0);
  }
}

static void check_run(bool good, const oracle_case *c, tg_dtype dtype) {
  test_check(good, "oracle", c->number, "%s/%d %s: %s", c->name, c->number, tg_dtype_name(dtype),
             good ? "" : test_message());
  if (!good) tg_clear_error();
}

static void run_stored(const oracle_case *c, oracle_op op, tg_dtype dtype) {
  result r = {0};
  bool good = run_op(c, op, dtype, dtype, &r);
  check_run(good, c, dtype);
  const double *want[7] = {0}, *at = oracle_values + c->at;
  for (int k = 0; k < r.n; at += r.count[k++]) want[k] = at;
  if (good) compare(c, &r, want, dtype);
  result_free(&r);
}

static void run_half(const oracle_case *c, oracle_op op, tg_dtype dtype) {
  result r = {0}, wide = {0};
  bool good = run_op(c, op, dtype, dtype, &r) && run_op(c, op, TG_FLOAT32, dtype, &wide);
  check_run(good, c, dtype);
  if (good) compare(c, &r, (const double *const *)wide.value, dtype);
  result_free(&r);
  result_free(&wide);
}

/* ---- gradient check: all inputs are leaves; float ones come through inputs[] */

typedef struct checked {
  const oracle_case *c;
  oracle_op op;
  tg_tensor *other[6];
} checked;

static tg_tensor *checked_op(tg_tensor *const *inputs, int count, void *user) {
  const checked *k = user;
  tg_tensor *x[6] = {0};
  for (int i = 0, at = 0; i < k->c->ninputs; i++) {
    bool given = is_float(&k->c->input[i]) && at < count;
    x[i] = seen(&k->c->input[i], given ? inputs[at++] : k->other[i]);
  }
  return k->op(x, k->c);
}

static void run_gradcheck(const oracle_case *c, oracle_op op) {
  checked k = {.c = c, .op = op};
  tg_tensor *inputs[6];
  int count = 0;
  for (int i = 0; i < c->ninputs; i++) {
    tg_tensor *t = make_leaf(c, i, TG_FLOAT64, TG_FLOAT64, 1e-3);
    if (is_float(&c->input[i])) inputs[count++] = t;
    else k.other[i] = t;
  }
  int failed = tg_gradcheck(checked_op, ((tg_list){count, inputs}), .user = &k);
  check_run(!failed, c, TG_FLOAT64);
}

void oracle_run(const char *name, oracle_op op) {
  static const tg_dtype halves[2] = {TG_FLOAT16, TG_BFLOAT16};
  for (int i = 0; i < oracle_case_count; i++) {
    const oracle_case *c = &oracle_cases[i];
    if (strcmp(c->name, name)) continue;
    TG_SCOPE {
      run_stored(c, op, TG_FLOAT32);
      run_stored(c, op, TG_FLOAT64);
      for (int k = 0; strchr(c->flags, 'h') && k < 2; k++) run_half(c, op, halves[k]);
      if (strchr(c->flags, 'c')) run_gradcheck(c, op);
    }
  }
}
