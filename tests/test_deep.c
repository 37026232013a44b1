/* Depth and width: graphs of 100,000 nodes neither recurse nor go quadratic, and
 * shared operands are not computed again and again. */
#include "test.h"

#include <time.h>

enum { DEEP = 100000 };

/* Processor seconds; generous, for slow machines and sanitizers. */
static double seconds(void) { return (double)clock() / CLOCKS_PER_SEC; }

typedef tg_tensor *(*link)(tg_tensor *x, int i);

/* f applied DEEP times. */
static tg_tensor *chain(tg_tensor *x, link f) {
  for (int i = 0; i < DEEP && x; i++) {
    TG_SCOPE { x = tg_keep(f(x, i)); }
  }
  return x;
}

static tg_tensor *start(void) {
  const float data[6] = {1, 2, 3, 4, 5, 6};
  return tg_from(data, TG_SHAPE(2, 3));
}

static tg_tensor *plus_one(tg_tensor *x, int i) {
  (void)i;
  return tg_add(x, 1);
}
static tg_tensor *turn(tg_tensor *x, int i) {
  return i % 2 ? tg_reshape(x, 2, 3) : tg_reshape(x, 3, 2);
}
static tg_tensor *swap(tg_tensor *x, int i) {
  (void)i;
  return tg_permute(x, 1, 0);
}
static tg_tensor *swap_and_turn(tg_tensor *x, int i) {
  return i % 2 ? tg_reshape(x, 2, 3) : tg_permute(x, 1, 0);
}
static tg_tensor *mixed(tg_tensor *x, int i) {
  switch (i % 4) {
    case 0: return tg_permute(x, 1, 0);
    case 1: return tg_add(x, 1);
    case 2: return tg_flip(tg_reshape(x, 2, 3), 1);
    default: return tg_mul(x, -1);
  }
}

/* The same on six floats, in plain C. */
static void model_swap_and_turn(double *v, int i) {
  if (i % 2) return; /* [3, 2] read as [2, 3] */
  const double t[6] = {v[0], v[3], v[1], v[4], v[2], v[5]};
  memcpy(v, t, sizeof t);
}
static void model_mixed(double *v, int i) {
  const double t[6] = {v[2], v[1], v[0], v[5], v[4], v[3]};
  if (i % 4 == 0) model_swap_and_turn(v, 0);
  else if (i % 4 == 2) memcpy(v, t, sizeof t);
  else
    for (int k = 0; k < 6; k++) v[k] = i % 4 == 1 ? v[k] + 1 : -v[k];
}

static void check_model(link f, void (*model)(double *v, int i)) {
  double v[6] = {1, 2, 3, 4, 5, 6}, before = seconds();
  tg_tensor *x = chain(start(), f);
  for (int i = 0; i < DEEP; i++) model(v, i);
  test_values(x, v, 6, 0, 0, "x", __FILE__, __LINE__);
  CHECK(seconds() - before < 20);
}

TEST(deep_adds) {
  double before = seconds();
  tg_tensor *x = chain(start(), plus_one);
  CHECK_VALUES(x, 0, 0, DEEP + 1, DEEP + 2, DEEP + 3, DEEP + 4, DEEP + 5, DEEP + 6);
  CHECK(seconds() - before < 20);
}

TEST(deep_reshapes) { CHECK_VALUES(chain(start(), turn), 0, 0, 1, 2, 3, 4, 5, 6); }
TEST(deep_permutes) { CHECK_VALUES(chain(start(), swap), 0, 0, 1, 2, 3, 4, 5, 6); }
TEST(deep_permutes_and_reshapes) { check_model(swap_and_turn, model_swap_and_turn); }
TEST(deep_mixture) { check_model(mixed, model_mixed); }

TEST(deep_gradient) {
  tg_tensor *p = tg_set_requires_grad(start(), TG_GRAD_YES), *x = p;
  for (int i = 0; i < DEEP && x; i++) x = i % 2 ? tg_neg(x) : tg_add(x, 1);
  CHECK_OK(tg_backward(tg_sum(tg_mul(x, p))) == 0);
  CHECK_OK(tg_realize(tg_grad(p)));
  CHECK_VALUES(tg_grad(p), 0, 0, 2, 4, 6, 8, 10, 12);
}

/* A sum of 2,000 tensors, and 200 in one stack. */
TEST(deep_many_inputs) {
  enum { COUNT = 2000 };
  static tg_tensor *part[COUNT];
  for (int i = 0; i < COUNT; i++) part[i] = tg_realize(tg_full(TG_SHAPE(2), i));
  tg_tensor *sum = part[0];
  for (int i = 1; i < COUNT; i++) sum = tg_add(sum, part[i]);
  CHECK_VALUES(sum, 0, 0, 1999000, 1999000);
  tg_tensor *all = tg_stack(((tg_list){200, part}));
  CHECK_VALUES(tg_sum(all, .axis = TG_INTS(0)), 0, 0, 19900, 19900);
}

/* Each level uses the one below twice: 2^60 paths, 60 nodes. */
TEST(deep_sharing) {
  double before = seconds();
  tg_tensor *x = tg_realize(tg_contiguous(tg_ones(TG_SHAPE(2), .dtype = TG_FLOAT64)));
  for (int i = 0; i < 60; i++) x = tg_add(x, x);
  CHECK_VALUES(x, 0, 0, 0x1p60, 0x1p60);
  tg_tensor *y = tg_realize(tg_contiguous(tg_ones(TG_SHAPE(2), .dtype = TG_FLOAT64)));
  for (int i = 0; i < 60; i++) y = tg_mul(tg_add(tg_sin(y), tg_cos(y)), tg_add(y, tg_flip(y, 0)));
  CHECK_OK(tg_realize(y));
  CHECK(seconds() - before < 10);
}

TEST(deep_sharing_gradient) {
  double before = seconds();
  tg_tensor *p = tg_ones(TG_SHAPE(2), .dtype = TG_FLOAT64, .requires_grad = TG_GRAD_YES), *x = p;
  for (int i = 0; i < 40; i++) x = tg_add(x, x);
  CHECK_OK(tg_backward(tg_sum(x)) == 0);
  CHECK_VALUES(tg_grad(p), 0, 0, 0x1p40, 0x1p40);
  CHECK(seconds() - before < 10);
}

/* Reductions of reductions, each level a kernel of its own at most. */
TEST(deep_reductions) {
  tg_tensor *x = tg_realize(tg_rand(TG_SHAPE(8, 8)));
  int64_t before = tg_get_counters().kernels_run;
  for (int i = 0; i < 30; i++) x = tg_softmax(x, .axis = TG_INTS(i % 2));
  CHECK_OK(tg_realize(x));
  int64_t kernels = tg_get_counters().kernels_run - before;
#ifdef TG_HOSTILE /* its kernels are cut smaller */
  CHECK(kernels > 0);
#else
  CHECK(kernels <= 30 * 3 + 1);
#endif
  CHECK_CLOSE(tg_item(tg_sum(x)), 8, 1e-4, 0);
}
