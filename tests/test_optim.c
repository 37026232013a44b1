/* Optimizers: two small networks against the values that PyTorch's optimizers
 * give (optim_values.inc, made by oracle_optim.py), LAMB against its formula in
 * plain C, and the rules: parameters counted once, a learning rate that
 * changes, what is left out, what is refused. */
#include "test.h"

typedef enum optim_name { SGD, ADAM, ADAMW } optim_name;
typedef struct optim_case {
  optim_name kind;
  int steps;
  bool teeny;
  double lr, momentum, weight_decay; /* -1: not given */
  bool nesterov;
  double atol, rtol; /* for float32 */
  double f32[20], f64[20];
} optim_case;

#include "optim_values.inc"

/* ---- the networks of the table */

typedef struct net {
  tg_tensor *x, *w, *m;
} net;

static tg_tensor *values(const float *data, tg_shape shape, tg_dtype dtype) {
  return tg_realize(tg_cast(tg_from(data, shape), dtype));
}

static net make_net(tg_dtype dtype) {
  return (net){values(init_x, TG_SHAPE(1, 4), dtype), values(init_w, TG_SHAPE(4, 4), dtype),
               values(init_m, TG_SHAPE(1, 4), dtype)};
}

static tg_tensor *tiny(const net *n) {
  tg_tensor *out = tg_log_softmax(tg_relu(tg_matmul(n->x, n->w)), .axis = TG_INTS(1));
  return tg_sum(tg_add(tg_mul(out, n->m), n->m));
}

static tg_tensor *teeny(const net *n) { return tg_sum(tg_mul(n->x, n->w)); }

static tg_optimizer *make_optimizer(const optim_case *c, const net *n) {
  tg_optim_opts o = {.lr = c->lr, .momentum = c->momentum, .nesterov = c->nesterov};
  if (c->weight_decay >= 0) o.weight_decay = c->weight_decay != 0 ? c->weight_decay : TG_ZERO;
  tg_list params = TG_LIST(n->x, n->w);
  switch (c->kind) {
    case SGD: return (tg_sgd)(params, &o);
    case ADAM: return (tg_adam)(params, &o);
    case ADAMW: return (tg_adamw)(params, &o);
  }
  return NULL;
}

static void run_case(const optim_case *c, int number, tg_dtype dtype) {
  net n = make_net(dtype);
  tg_optimizer *optimizer = make_optimizer(c, &n);
  for (int i = 0; i < c->steps; i++) TG_SCOPE {
      tg_tensor *loss = c->teeny ? teeny(&n) : tiny(&n);
      CHECK_OK(tg_zero_grad(optimizer) == 0 && tg_backward(loss) == 0);
      CHECK_OK(tg_step(optimizer) == 0);
    }
  bool wide = dtype == TG_FLOAT64;
  const double *what = wide ? c->f64 : c->f32;
  double atol = wide ? 1e-10 : c->atol, rtol = wide ? 1e-9 : c->rtol;
  char text[60];
  snprintf(text, sizeof text, "case %d, x or W, %s", number, tg_dtype_name(dtype));
  test_values(n.x, what, 4, atol, rtol, text, __FILE__, __LINE__);
  test_values(n.w, what + 4, 16, atol, rtol, text, __FILE__, __LINE__);
}

static void run_cases(optim_name kind, tg_dtype dtype) {
  for (int i = 0; i < (int)(sizeof optim_cases / sizeof *optim_cases); i++)
    if (optim_cases[i].kind == kind) TG_SCOPE { run_case(&optim_cases[i], i, dtype); }
}

TEST(optim_sgd_float32) { run_cases(SGD, TG_FLOAT32); }
TEST(optim_sgd_float64) { run_cases(SGD, TG_FLOAT64); }
TEST(optim_adam_float32) { run_cases(ADAM, TG_FLOAT32); }
TEST(optim_adam_float64) { run_cases(ADAM, TG_FLOAT64); }
TEST(optim_adamw_float32) { run_cases(ADAMW, TG_FLOAT32); }
TEST(optim_adamw_float64) { run_cases(ADAMW, TG_FLOAT64); }

/* ---- one parameter, three elements, the loss sum(p * p * k) */

static const double p0[3] = {1.5, -0.25, 0.75}, k[3] = {0.5, -2, 1.25};

static tg_tensor *param(tg_dtype dtype) {
  return tg_realize(tg_cast(tg_from(p0, TG_SHAPE(3), .dtype = TG_FLOAT64), dtype));
}

static void step_once(tg_optimizer *optimizer, tg_tensor *p) {
  TG_SCOPE {
    tg_tensor *factor = tg_cast(tg_from(k, TG_SHAPE(3), .dtype = TG_FLOAT64), tg_dtype_of(p));
    CHECK_OK(tg_zero_grad(optimizer) == 0);
    CHECK_OK(tg_backward(tg_sum(tg_mul(tg_square(p), factor))) == 0);
    CHECK_OK(tg_step(optimizer) == 0);
  }
}

static double norm(const double *v) { return sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2]); }

/* Adam (trust false) and LAMB as You et al. write them. */
static void lamb_formula(double *p, int steps, double lr, double b1, double b2, double eps, double wd,
                         bool trust) {
  double m[3] = {0}, v[3] = {0}, up[3];
  for (int t = 1; t <= steps; t++) {
    for (int i = 0; i < 3; i++) {
      double g = 2 * p[i] * k[i];
      m[i] = b1 * m[i] + (1 - b1) * g;
      v[i] = b2 * v[i] + (1 - b2) * g * g;
      up[i] = m[i] / (1 - pow(b1, t)) / (sqrt(v[i] / (1 - pow(b2, t))) + eps) + wd * p[i];
    }
    double ratio = trust && norm(p) > 0 && norm(up) > 0 ? norm(p) / norm(up) : 1;
    for (int i = 0; i < 3; i++) p[i] -= lr * ratio * up[i];
  }
}

static void check_lamb(tg_dtype dtype, double tolerance, bool trust) {
  static const double rates[] = {0.001, 0.1}, decays[] = {0, 0.1};
  static const int counts[] = {1, 2, 10};
  for (int i = 0; i < 12; i++) TG_SCOPE {
      double lr = rates[i % 2], wd = decays[i / 2 % 2], what[3];
      int steps = counts[i / 4];
      tg_tensor *p = param(dtype);
      tg_optim_opts o = {.lr = lr, .weight_decay = wd, .b1 = 0.8, .b2 = 0.95, .eps = 1e-5};
      tg_optimizer *optimizer = trust ? (tg_lamb)(TG_LIST(p), &o) : (tg_adam)(TG_LIST(p), &o);
      for (int s = 0; s < steps; s++) step_once(optimizer, p);
      memcpy(what, p0, sizeof what);
      lamb_formula(what, steps, lr, 0.8, 0.95, 1e-5, wd, trust);
      test_values(p, what, 3, tolerance, tolerance, "p", __FILE__, __LINE__);
    }
}

TEST(optim_lamb_float64) { check_lamb(TG_FLOAT64, 1e-12, true); }
TEST(optim_lamb_float32) { check_lamb(TG_FLOAT32, 1e-5, true); }
TEST(optim_adam_options) { check_lamb(TG_FLOAT64, 1e-12, false); }

TEST(optim_lamb_of_zero_has_trust_1) {
  tg_tensor *p = tg_zeros(TG_SHAPE(3));
  tg_optimizer *optimizer = tg_lamb(TG_LIST(p), .lr = 0.5);
  CHECK_OK(tg_backward(tg_sum(p)) == 0);
  CHECK_OK(tg_step(optimizer) == 0);
  CHECK_VALUES(p, 1e-5, 0, -0.5, -0.5, -0.5);
}

TEST(optim_defaults) {
  double what[3];
  tg_tensor *p = param(TG_FLOAT64), *q = param(TG_FLOAT64), *r = param(TG_FLOAT64);
  step_once(tg_adam(TG_LIST(p)), p);
  memcpy(what, p0, sizeof what);
  lamb_formula(what, 1, 0.001, 0.9, 0.999, 1e-8, 0, false);
  test_values(p, what, 3, 1e-12, 0, "Adam", __FILE__, __LINE__);
  step_once(tg_adamw(TG_LIST(q)), q);
  memcpy(what, p0, sizeof what);
  lamb_formula(what, 1, 0.001, 0.9, 0.999, 1e-8, 0.01, false);
  test_values(q, what, 3, 1e-12, 0, "AdamW", __FILE__, __LINE__);
  step_once(tg_lamb(TG_LIST(r)), r);
  memcpy(what, p0, sizeof what);
  lamb_formula(what, 1, 0.001, 0.9, 0.999, 1e-6, 0, true);
  test_values(r, what, 3, 1e-12, 0, "LAMB", __FILE__, __LINE__);
}

/* 16-bit parameters: the state is float32, the parameter keeps its dtype. */
TEST(optim_half_parameters) {
  const tg_dtype dtypes[] = {TG_FLOAT16, TG_BFLOAT16};
  for (int d = 0; d < 2; d++) TG_SCOPE {
      tg_tensor *p = param(dtypes[d]);
      tg_optimizer *optimizer = tg_adam(TG_LIST(p), .lr = 0.1);
      double what[3] = {p0[0], p0[1], p0[2]};
      for (int i = 0; i < 3; i++) step_once(optimizer, p);
      lamb_formula(what, 3, 0.1, 0.9, 0.999, 1e-8, 0, false);
      CHECK_INT(tg_dtype_of(p), dtypes[d]);
      CHECK_INT(tg_dtype_of(tg_optimizer_state(optimizer, 1)), TG_FLOAT32);
      test_values(p, what, 3, 0.02, 0, tg_dtype_name(dtypes[d]), __FILE__, __LINE__);
    }
}

/* ---- rules */

static double after_three_steps(int kind, bool twice) {
  double sum = NAN;
  TG_SCOPE {
    tg_tensor *w = param(TG_FLOAT32);
    tg_list params = twice ? TG_LIST(w, w) : TG_LIST(w);
    tg_optimizer *optimizer = kind == 0   ? tg_sgd(params, .lr = 0.1, .momentum = 0.5)
                              : kind == 1 ? tg_adam(params, .lr = 0.1)
                              : kind == 2 ? tg_adamw(params, .lr = 0.1)
                                          : tg_lamb(params, .lr = 0.1);
    for (int i = 0; i < 3; i++) step_once(optimizer, w);
    CHECK(tg_optimizer_state(optimizer, 0) == w);
    sum = tg_item(tg_sum(w));
  }
  return sum;
}

TEST(optim_parameters_given_twice_count_once) {
  for (int kind = 0; kind < 4; kind++)
    CHECK_CLOSE(after_three_steps(kind, true), after_three_steps(kind, false), 0, 0);
}

TEST(optim_lr_changes) {
  tg_tensor *p = param(TG_FLOAT64);
  tg_optimizer *optimizer = tg_sgd(TG_LIST(p), .lr = 0.1);
  double what[3] = {p0[0], p0[1], p0[2]};
  const double rates[3] = {0.1, 0.05, 0.2};
  CHECK_CLOSE(tg_item(tg_lr(optimizer)), 0.1, 1e-15, 0);
  for (int s = 0; s < 3; s++) {
    if (s == 1) CHECK_OK(tg_set_lr(optimizer, rates[1]) == 0);
    if (s == 2)
      CHECK_OK(tg_assign(tg_lr(optimizer), tg_scalar(rates[2], .dtype = tg_dtype_of(tg_lr(optimizer)))));
    step_once(optimizer, p);
    for (int i = 0; i < 3; i++) what[i] -= rates[s] * 2 * what[i] * k[i];
    test_values(p, what, 3, 1e-14, 0, "p", __FILE__, __LINE__);
  }
  CHECK_CLOSE(tg_item(tg_lr(optimizer)), 0.2, 1e-15, 0);
  CHECK_FAILS(tg_set_lr(optimizer, -1), "-1");
  CHECK_FAILS(tg_set_lr(optimizer, NAN), "0 or more");
  CHECK_CLOSE(tg_item(tg_lr(optimizer)), 0.2, 1e-15, 0);
}

TEST(optim_lr_zero_changes_nothing) {
  tg_tensor *p = param(TG_FLOAT32);
  tg_optimizer *optimizer = tg_adamw(TG_LIST(p), .lr = TG_ZERO);
  step_once(optimizer, p);
  CHECK_VALUES(p, 0, 0, 1.5, -0.25, 0.75);
}

TEST(optim_sets_and_respects_requires_grad) {
  tg_tensor *p = param(TG_FLOAT32), *q = tg_set_requires_grad(param(TG_FLOAT32), TG_GRAD_NO);
  CHECK_INT(tg_requires_grad(p), TG_GRAD_UNSET);
  tg_optimizer *optimizer = tg_sgd(TG_LIST(q, p), .lr = 1);
  CHECK_INT(tg_requires_grad(p), TG_GRAD_YES);
  CHECK_INT(tg_requires_grad(q), TG_GRAD_NO);
  CHECK_OK(tg_backward(tg_sum(tg_mul(p, q))) == 0);
  CHECK(tg_grad(p) && !tg_grad(q));
  CHECK_OK(tg_step(optimizer) == 0);
  CHECK_VALUES(p, 0, 0, 0, 0, 0);
  CHECK_VALUES(q, 0, 0, 1.5, -0.25, 0.75);
  CHECK(tg_optimizer_state(optimizer, 0) == p && !tg_optimizer_state(optimizer, 1));
}

TEST(optim_zero_grad) {
  tg_tensor *p = param(TG_FLOAT32);
  tg_optimizer *optimizer = tg_sgd(TG_LIST(p), .lr = 1);
  CHECK_OK(tg_backward(tg_sum(p)) == 0 && tg_backward(tg_sum(p)) == 0);
  CHECK_VALUES(tg_grad(p), 0, 0, 2, 2, 2);
  CHECK_OK(tg_zero_grad(optimizer) == 0);
  CHECK(!tg_grad(p));
}

TEST(optim_missing_gradient) {
  tg_tensor *p = param(TG_FLOAT32), *q = tg_set_name(param(TG_FLOAT32), "left");
  tg_optimizer *optimizer = tg_adam(TG_LIST(p, q));
  CHECK_OK(tg_backward(tg_sum(p)) == 0);
  CHECK_FAILS(tg_step(optimizer), "left, of shape (3,), has no gradient; call tg_backward");
  CHECK_VALUES(p, 0, 0, 1.5, -0.25, 0.75);
  CHECK_VALUES(tg_optimizer_state(optimizer, 2), 0, 0, 0, 0, 0);
}

TEST(optim_state_names) {
  tg_tensor *p = tg_set_name(param(TG_FLOAT32), "w"), *q = param(TG_FLOAT32);
  tg_optimizer *adam = tg_adam(TG_LIST(p, q));
  static const char *const names[] = {"w", NULL, "w.m", "param1.m", "w.v", "param1.v", "step"};
  for (int i = 0; i < 7; i++) {
    tg_tensor *t = tg_optimizer_state(adam, i);
    CHECK(t != NULL);
    if (names[i]) CHECK_STRING(tg_name(t), names[i]);
    else CHECK(!tg_name(t));
  }
  CHECK(!tg_optimizer_state(adam, 7) && !tg_error());
  CHECK_STRING(tg_name(tg_lr(adam)), "lr");
  CHECK_OK(tg_backward(tg_sum(tg_add(p, q))) == 0 && tg_step(adam) == 0);
  CHECK_CLOSE(tg_item(tg_optimizer_state(adam, 6)), 1, 0, 0);
  CHECK_STRING(tg_name(p), "w");
  tg_optimizer *sgd = tg_sgd(TG_LIST(p), .momentum = 0.9);
  CHECK_STRING(tg_name(tg_optimizer_state(sgd, 1)), "w.momentum");
  CHECK(!tg_optimizer_state(sgd, 2) && !tg_optimizer_state(sgd, -1));
}

/* The loss is computed in the step's schedule. */
TEST(optim_step_with) {
  tg_tensor *p = param(TG_FLOAT32);
  tg_optimizer *optimizer = tg_sgd(TG_LIST(p), .lr = 1);
  tg_tensor *loss = tg_sum(p);
  CHECK_OK(tg_backward(loss) == 0 && tg_step_with(optimizer, TG_LIST(loss)) == 0);
  CHECK(tg_is_realized(loss) && tg_is_realized(p));
  CHECK_CLOSE(tg_item(loss), 2, 0, 0);
}

/* What was computed from a parameter before a step keeps the old value. */
TEST(optim_old_values_stay) {
  tg_tensor *p = param(TG_FLOAT32), *twice = tg_mul(tg_detach(p), 2);
  tg_optimizer *optimizer = tg_sgd(TG_LIST(p), .lr = 1);
  CHECK_OK(tg_backward(tg_sum(p)) == 0 && tg_step(optimizer) == 0);
  CHECK_VALUES(p, 0, 0, 0.5, -1.25, -0.25);
  CHECK_VALUES(twice, 0, 0, 3, -0.5, 1.5);
}

TEST(optim_refuses) {
  tg_tensor *p = param(TG_FLOAT32), *whole = tg_arange(0, 3, .dtype = TG_INT32, .name = "whole");
  tg_tensor *fixed = tg_set_requires_grad(param(TG_FLOAT32), TG_GRAD_NO);
  CHECK_NULL(tg_sgd(TG_LIST(p), .lr = -0.5), ".lr is -0.5; it must be 0 or more");
  CHECK_NULL(tg_sgd(TG_LIST(p), .lr = NAN), "tg_sgd: .lr");
  CHECK_NULL(tg_sgd(TG_LIST(p), .momentum = -1), ".momentum is -1");
  CHECK_NULL(tg_sgd(TG_LIST(p), .nesterov = true), "more than 0 with .nesterov");
  CHECK_NULL(tg_adam(TG_LIST(p), .b1 = 1), ".b1 is 1; it must be in [0, 1)");
  CHECK_NULL(tg_adam(TG_LIST(p), .b2 = -1), ".b2 is -1");
  CHECK_NULL(tg_lamb(TG_LIST(p), .eps = -1), "tg_lamb: .eps is -1");
  CHECK_NULL(tg_adamw(TG_LIST(p), .weight_decay = -1), ".weight_decay is -1");
  CHECK_NULL(tg_adam(TG_LIST(p, whole)), "whole, of shape (3,), is of dtype int32; only floats");
  CHECK_NULL(tg_adam(TG_LIST(p, (tg_tensor *)NULL)), "got NULL");
  CHECK_NULL(tg_adam(((tg_list){0, NULL})), "none of 0 parameters can be trained");
  CHECK_NULL(tg_adam(TG_LIST(fixed)), "requires_grad");
  tg_set_requires_grad(p, TG_GRAD_YES);
  CHECK_NULL(tg_sgd(TG_LIST(tg_mul(p, 2))), "tg_detach");
  tg_tensor *here = tg_ones(TG_SHAPE(3), .device = "CPU");
  tg_tensor *other = tg_ones(TG_SHAPE(3), .device = "REF");
  CHECK_NULL(tg_sgd(TG_LIST(here, other)), "on device REF, the first one on CPU; move it with tg_to");
  CHECK_FAILS(tg_step(NULL), "got NULL");
  CHECK_FAILS(tg_zero_grad(NULL), "got NULL");
  CHECK_FAILS(tg_set_lr(NULL, 1), "got NULL");
  CHECK_NULL(tg_lr(NULL), "got NULL");
  CHECK(!tg_optimizer_state(NULL, 0));
}
