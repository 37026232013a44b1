/* tg_gradcheck: the gradient that backward gives against central differences.
 *
 * The elements of f's result are summed with fixed uneven weights: a plain sum
 * would hide gradients that are wrong but sum up right (those of softmax are
 * all zero under it). First the gradients of all inputs at once, then for each
 * element of each input the difference (f(x + eps) - f(x - eps)) / (2 eps), in
 * float64. Inputs and their gradients are as before at the end.
 */
#include "autograd/functions.h"
#include "tensor/tensor.h"

typedef struct check {
  tg_gradcheck_function f;
  tg_tensor *const *inputs;
  int count;
  double eps, atol, rtol;
  void *user;
} check;

/* Uneven, of both signs, never 0. */
static double check_weight(int64_t i) { return cos(1.7 * (double)i + 0.3) + 0.05; }

static tg_tensor *call_user(const check *k) {
  tg_tensor *out = k->f(k->inputs, k->count, k->user);
  if (!out) tg_fail("tg_gradcheck: the function returned NULL without a message");
  return out;
}

/* ---- the gradient by backward */

static tg_tensor *weights_for(const tg_tensor *out) {
  int64_t n = out->node->numel;
  double *weights = tg_alloc((size_t)(n + 1) * sizeof *weights);
  if (!weights) return NULL;
  for (int64_t i = 0; i < n; i++) weights[i] = check_weight(i);
  tg_tensor *t = (tg_from)(weights, tg_shape_of(out), &(tg_create_opts){
                               .dtype = TG_FLOAT64, .device = tg_device(out)});
  tg_free(weights);
  return t;
}

/* sum of weights * out, as a scalar with its record. */
static tg_tensor *weighted_sum(tg_tensor *out) {
  tg_tensor *weights = out ? weights_for(out) : NULL;
  tg_tensor *product = weights ? (tg_mul)(tg_cast(out, TG_FLOAT64), weights) : NULL;
  if (!product) return NULL;
  int64_t all = (INT64_C(1) << tg_rank(product)) - 1;
  tg_tensor *sum = tg_call1_with(&tg_fn_sum, product, 1, &all);
  return sum ? tg_reshape_to(sum, TG_SCALAR) : NULL;
}

/* Backward into fresh gradients, which go to `analytic[i]`, retained. */
static int run_backward(const check *k, tg_tensor **analytic) {
  tg_tensor **old = tg_alloc((size_t)k->count * sizeof *old);
  if (!old) return -1;
  for (int i = 0; i < k->count; i++) {
    old[i] = k->inputs[i]->grad;
    k->inputs[i]->grad = NULL;
  }
  tg_scope inside;
  tg_compose_begin(&inside);
  tg_tensor *loss = weighted_sum(call_user(k));
  int failed = loss ? tg_backward(loss) : -1;
  for (int i = 0; i < k->count; i++) {
    analytic[i] = k->inputs[i]->grad;
    k->inputs[i]->grad = old[i];
  }
  tg_compose_end(&inside, NULL);
  tg_free(old);
  return failed;
}

/* ---- the gradient by differences */

/* weights . f(inputs), computed on the host. */
static int value_now(const check *k, double *value) {
  tg_scope inside;
  bool old = tg_set_no_grad(true);
  tg_compose_begin(&inside);
  tg_tensor *out = call_user(k);
  if (out) out = tg_cast(out, TG_FLOAT64);
  const double *data = out ? tg_data(out) : NULL;
  int failed = !out || (!data && out->node->numel) ? -1 : 0;
  *value = 0;
  for (int64_t i = 0; !failed && i < out->node->numel; i++) *value += check_weight(i) * data[i];
  tg_compose_end(&inside, NULL);
  tg_set_no_grad(old);
  return failed;
}

/* The value with element `at` of input `which` replaced by `x`. */
static int value_with(const check *k, int which, int64_t at, double x, const double *data,
                      double *value) {
  tg_tensor *input = k->inputs[which];
  tg_tensor *moved = (tg_from)(data, tg_shape_of(input), &(tg_create_opts){
                                   .dtype = TG_FLOAT64, .device = tg_device(input)});
  if (!moved) return -1;
  ((double *)moved->node->buffer->data)[at] = x;
  tg_node *home = tg_node_retain(input->node);
  tg_tensor_rebind(input, moved->node);
  int failed = value_now(k, value);
  tg_tensor_rebind(input, home);
  tg_node_release(home);
  return failed;
}

static int complain(const check *k, int which, int64_t at, double analytic, double numeric) {
  const char *name = tg_name(k->inputs[which]);
  tg_fail("tg_gradcheck: input %d%s%s%s, element %lld of %s: backward gives %.9g, differences "
          "give %.9g", which, name ? " (" : "", name ? name : "", name ? ")" : "",
          (long long)at, tg_text_of(k->inputs[which]), analytic, numeric);
  return -1;
}

static int check_element(const check *k, int which, int64_t at, const double *data,
                         double analytic) {
  double above, below;
  tg_scope inside;
  tg_compose_begin(&inside);
  int failed = value_with(k, which, at, data[at] + k->eps, data, &above) ||
               value_with(k, which, at, data[at] - k->eps, data, &below);
  tg_compose_end(&inside, NULL);
  if (failed) return -1;
  double numeric = (above - below) / (2 * k->eps);
  bool close = fabs(analytic - numeric) <= k->atol + k->rtol * fabs(numeric);
  return close ? 0 : complain(k, which, at, analytic, numeric); /* NaN is not close */
}

/* An input that f does not depend on has no gradient: zero. */
static int check_input(const check *k, int which, tg_tensor *analytic) {
  const double *data = tg_data(k->inputs[which]);
  const double *grad = analytic ? tg_data(analytic) : NULL;
  int64_t n = k->inputs[which]->node->numel;
  if (n && (!data || (analytic && !grad))) return -1;
  tg_node *home = tg_node_retain(k->inputs[which]->node); /* `data` must stay */
  int failed = 0;
  for (int64_t i = 0; !failed && i < n; i++)
    failed = check_element(k, which, i, data, grad ? grad[i] : 0);
  tg_node_release(home);
  return failed;
}

/* ---- the whole */

static bool inputs_ready(tg_list inputs) {
  if (!tg_is_list("tg_gradcheck", inputs)) return false;
  if (!inputs.count) tg_fail("tg_gradcheck: there are no inputs to check");
  for (int64_t i = 0; i < inputs.count; i++) {
    const tg_tensor *t = inputs.items[i];
    if (t->node->dtype == TG_FLOAT64 && t->requires_grad == TG_GRAD_YES && !t->context) continue;
    tg_fail("tg_gradcheck: input %lld must be a float64 leaf that requires a gradient, but it is "
            "%s%s; make it with .dtype = TG_FLOAT64, .requires_grad = true", (long long)i,
            tg_dtype_name(t->node->dtype), t->context ? " and computed from others" : "");
    return false;
  }
  return inputs.count > 0;
}

static bool tolerances_fit(const check *k) {
  if (k->eps > 0 && isfinite(k->eps) && k->atol >= 0 && k->rtol >= 0) return true;
  tg_fail("tg_gradcheck: .eps is %g, .atol %g and .rtol %g; use more than 0 for the first, 0 or "
          "more for the others", k->eps, k->atol, k->rtol);
  return false;
}

int (tg_gradcheck)(tg_gradcheck_function f, tg_list inputs, const tg_gradcheck_opts *o) {
  static const tg_gradcheck_opts none;
  if (!o) o = &none;
  if (!f) tg_fail("tg_gradcheck: the function is NULL");
  if (!f || !inputs_ready(inputs)) return -1;
  check k = {f, inputs.items, (int)inputs.count, tg_opt(o->eps, 1e-6), tg_opt(o->atol, 1e-5),
             tg_opt(o->rtol, 1e-3), o->user};
  if (!tolerances_fit(&k)) return -1;
  tg_tensor **analytic = tg_alloc_zero((size_t)k.count * sizeof *analytic);
  if (!analytic) return -1;
  int failed = run_backward(&k, analytic);
  for (int i = 0; !failed && i < k.count; i++) failed = check_input(&k, i, analytic[i]);
  for (int i = 0; i < k.count; i++) tg_release(analytic[i]);
  tg_free(analytic);
  return failed;
}
