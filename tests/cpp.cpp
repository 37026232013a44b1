// The public header from C++: overloads instead of macros, in C++11 and, with
// designated initialisers, in C++20. Compiled and run by tests/test_programs.sh.
#include "teenygrad/teenygrad.h"

#include <cmath>
#include <cstdio>

static int passed, failed;

static void near(const char *what, double got, double want) {
  bool good = std::fabs(got - want) <= 1e-5;
  if (!good) std::printf("FAIL %s: %g instead of %g\n", what, got, want);
  (good ? passed : failed)++;
}
#define NEAR(expression, want) near(#expression, expression, want)

static void arithmetic() {
  const float data[] = {1, 2, 3, 4, 5, 6};
  tg_tensor *x = tg_from(data, TG_SHAPE(2, 3));
  NEAR(tg_item(tg_sum(x)), 21);
  NEAR(tg_item(tg_sum(tg_add(x, 1))), 27);
  NEAR(tg_item(tg_sum(tg_sub(1.5, x))), -12);
  NEAR(tg_item(tg_sum(tg_mul(x, 0))), 0);
  NEAR(tg_item(tg_sum(tg_where(tg_lt(x, 3), 10, 0.5))), 22);
  NEAR(tg_item(tg_sum(tg_where(tg_lt(x, 3), x, 0))), 3);
  NEAR(tg_item(tg_sum(tg_cat(TG_LIST(x, x)))), 42);
  NEAR(double(tg_dim(tg_reshape(x, 3, -1), 1)), 2);
  tg_axis_opts rows = tg_axis_opts();
  rows.axis = TG_INTS(0);
  NEAR(tg_item(tg_max(tg_sum(x, rows))), 9);
}

static void indexing() {
  tg_tensor *x = tg_reshape(tg_arange(0, 12), 3, 4);
  NEAR(tg_item(tg_index(x, TG_AT(1), TG_AT(-1))), 7);
  NEAR(tg_item(tg_sum(tg_index(x, TG_REST, TG_RANGE(0, TG_NONE, 2)))), 30);
  tg_set_index(x, tg_scalar(100), TG_AT(0), TG_ALL);
  NEAR(tg_item(tg_sum(x)), 460);
}

static void training() {
  tg_tensor *w = tg_set_name(tg_full(TG_SHAPE(2), 1), "w");
  tg_optimizer *sgd = tg_sgd(TG_LIST(w));
  tg_set_lr(sgd, 0.5);
  TG_SCOPE {
    tg_zero_grad(sgd);
    tg_backward(tg_sum(tg_square(w)));
    tg_step(sgd);
  }
  NEAR(tg_item(tg_sum(w)), 0);
  TG_NO_GRAD { NEAR(tg_no_grad(), 1); }
  NEAR(tg_no_grad(), 0);
}

#if __cplusplus >= 202002L
static void designated() {
  tg_tensor *x = tg_ones(TG_SHAPE(1, 2, 4, 4), {.dtype = TG_FLOAT64});
  tg_tensor *w = tg_ones(TG_SHAPE(3, 2, 3, 3), {.dtype = TG_FLOAT64});
  tg_tensor *b = tg_full(TG_SHAPE(3), 0.5, {.dtype = TG_FLOAT64, .requires_grad = TG_GRAD_YES});
  tg_tensor *y = tg_conv2d(x, w, {.bias = b, .padding = TG_INTS(1)});
  NEAR(tg_item(tg_max(y)), 18.5);
  NEAR(tg_item(tg_max(tg_sum(y, {.axis = TG_INTS(1), .keepdim = true}))), 55.5);
  NEAR(tg_item(tg_sum(tg_stack(TG_LIST(b, b), {.axis = 1}))), 3);
  NEAR(tg_item(tg_lr(tg_adam(TG_LIST(b), {.lr = 0.25}))), 0.25);
}
#endif

int main() {
  TG_SCOPE {
    arithmetic();
    indexing();
    training();
#if __cplusplus >= 202002L
    designated();
#endif
  }
  if (const char *error = tg_error()) {
    std::printf("FAIL an error is left: %s\n", error);
    failed++;
  }
  tg_shutdown();
  std::printf("%d passed, %d failed\n", passed, failed);
  return failed != 0;
}
