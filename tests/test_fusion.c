/* What a known expression compiles to: how many kernels, and that a second run
 * of the same structure is replayed. So fusion cannot rot unseen. Inputs are
 * realized first; only the expression counts. */
#include "test.h"

#include "backend/builtin/builtin.h"

/* Kernels that realizing t runs; -1: it failed. */
static long long kernels(tg_tensor *t) {
  int64_t before = tg_get_counters().kernels_run;
  return tg_realize(t) ? (long long)(tg_get_counters().kernels_run - before) : -1;
}

/* The hostile build cuts kernels where it can: there only that they run counts. */
#ifdef TG_HOSTILE
#define KERNELS(t, n) test_check(kernels(t) >= 0, __FILE__, __LINE__, "kernels of %s (%d)", #t, (n))
enum { MOST_IN_A_STEP = 450, MOST_BACK = 99 };
#else
#define KERNELS(t, n) test_int(kernels(t), (n), "kernels of " #t, __FILE__, __LINE__)
enum { MOST_IN_A_STEP = 45, MOST_BACK = 5 };
#endif
#define KERNELS_AT_MOST(t, n)                                                            \
  do {                                                                                   \
    long long count_ = kernels(t);                                                       \
    test_check(count_ >= 0 && count_ <= (n), __FILE__, __LINE__, "%s: %lld kernels", #t,  \
               count_);                                                                  \
  } while (0)

static tg_tensor *data(tg_shape shape) { return tg_realize(tg_uniform(shape)); }

static tg_tensor *leaf(tg_shape shape) {
  return tg_set_requires_grad(data(shape), TG_GRAD_YES);
}

/* The gradients of y's inputs when y's gradient is memory: a Function whose
 * backward hands on what it was given. */
static tg_tensor *meet_forward(tg_context *context, tg_tensor *const *inputs, int count) {
  (void)context, (void)count;
  return tg_sum(inputs[0]);
}

static int meet_backward(tg_context *context, tg_tensor *grad, tg_tensor **grads) {
  (void)grad;
  grads[0] = tg_user(context);
  return 0;
}

static int backward_from(tg_tensor *y, tg_tensor *gradient) {
  static const tg_function meet = {"meet", meet_forward, meet_backward, NULL};
  return tg_backward(tg_apply(&meet, TG_LIST(y), gradient));
}

TEST(fusion_elementwise) {
  tg_tensor *x = data(TG_SHAPE(64, 33)), *y = data(TG_SHAPE(33));
  KERNELS(tg_add(tg_mul(tg_exp(x), y), 1), 1);
  KERNELS(tg_where(tg_lt(x, y), tg_sqrt(tg_abs(x)), tg_tanh(x)), 1);
  KERNELS(tg_gelu(tg_permute(x, 1, 0)), 1);
  KERNELS(tg_cast(tg_mul(tg_half(x), 2), TG_INT32), 1);
  KERNELS(tg_log(tg_pad(tg_shrink(tg_abs(x), 1, 9, 2, 30), TG_INTS(1, 1, 0, 2), .value = 1)), 1);
  tg_tensor *cheap = tg_mul(x, 2), *dear = tg_exp(x); /* needed at two positions */
  KERNELS(tg_add(tg_mul(cheap, cheap), tg_flip(cheap, 0)), 1);
  KERNELS(tg_add(tg_mul(dear, dear), tg_flip(dear, 0)), 2);
  KERNELS(tg_add(tg_mul(dear, dear), dear), 1);
}

/* Each sum needs the one before at two positions. Inlined through and through, one
 * element of the last would take 2^12 loads. */
TEST(fusion_sums_of_shifted_sums) {
  tg_tensor *x = tg_ones(TG_SHAPE(4096));
  for (int by = 1; by < 4096; by *= 2) x = tg_add(x, tg_pad2d(x, TG_INTS(by, -by)));
  int64_t before = tg_get_counters().kernels_run;
  CHECK_OK(tg_realize(x));
  int64_t kernels = tg_get_counters().kernels_run - before;
  CHECK(kernels >= 4 && kernels <= 12);
  CHECK_CLOSE(test_at(x, 0), 1, 0, 0);
  CHECK_CLOSE(test_at(x, 4095), 4096, 0, 0);
}

TEST(fusion_nothing_to_do) {
  tg_tensor *x = data(TG_SHAPE(4, 6));
  KERNELS(x, 0);
  KERNELS(tg_detach(x), 0);
  KERNELS(tg_zeros(TG_SHAPE(0, 3)), 0);
  tg_tensor *y = tg_mul(x, 2);
  KERNELS(y, 1);
  KERNELS(y, 0);
}

TEST(fusion_movement) {
  tg_tensor *x = data(TG_SHAPE(4, 6));
  KERNELS(tg_contiguous(tg_permute(tg_reshape(x, 2, 2, 6), 2, 0, 1)), 1);
  KERNELS_AT_MOST(tg_cat(TG_LIST(x, x, tg_exp(x)), .axis = 1), 3);
  KERNELS(tg_arange(0, 100), 1);
  KERNELS(tg_add(tg_arange(0, 100), tg_full(TG_SHAPE(3, 1), 2)), 1);
  KERNELS(tg_tril(tg_mul(x, x), 0), 1);
}

TEST(fusion_reduce) {
  tg_tensor *x = data(TG_SHAPE(64, 33));
  KERNELS(tg_sum(tg_add(tg_mul(tg_exp(x), 2), 1)), 1);
  KERNELS(tg_sum(x, .axis = TG_INTS(0)), 1);
  KERNELS(tg_sqrt(tg_mean(tg_square(x), .axis = TG_INTS(1))), 1);
  KERNELS(tg_sum(tg_sum(x, .axis = TG_INTS(1))), 1); /* sums of sums are one sum */
  KERNELS(tg_max(tg_neg(x)), 1);
}

/* A reduction and what follows it over the same rows: one kernel, and one that the
 * built-in backend runs itself. */
TEST(fusion_rows) {
  int64_t interpreted = tg_bi_interpreted();
  tg_tensor *x = data(TG_SHAPE(64, 33)), *cube = data(TG_SHAPE(5, 12, 40));
  KERNELS(tg_softmax(x), 1);
  KERNELS(tg_softmax(x, .axis = TG_INTS(0)), 1);
  KERNELS(tg_softmax(cube, .axis = TG_INTS(1)), 1);
  KERNELS(tg_softmax(cube, .axis = TG_INTS(0, 2)), 1);
  KERNELS(tg_reshape(tg_softmax(cube), 60, 40), 1);
  KERNELS(tg_log_softmax(x), 1);
  KERNELS(tg_layernorm(x), 1);
  KERNELS(tg_layernorm(cube, .axis = TG_INTS(1, 2)), 1);
  KERNELS(tg_mul(tg_layernorm(x), tg_add(data(TG_SHAPE(33)), 1)), 2); /* the sum of 33 apart */
  KERNELS(tg_std(x, .axis = TG_INTS(1)), 1);
  KERNELS(tg_argmax(x, .axis = TG_INTS(1)), 1);
  KERNELS(tg_softmax(tg_half(x)), 1);
  KERNELS(tg_div(x, tg_sqrt(tg_sum(tg_square(x), .axis = TG_INTS(1), .keepdim = true))), 1);
  KERNELS(tg_sum(tg_mul(tg_softmax(x), x), .axis = TG_INTS(1)), 1);
  KERNELS(tg_softmax(tg_relu(x)), 1);
  KERNELS(tg_softmax(tg_gelu(x)), 2); /* too dear to be computed three times */
  KERNELS(tg_softmax(tg_dot(x, tg_T(x))), 2);
  KERNELS(tg_dot(tg_softmax(x), tg_T(x)), 2);
  KERNELS(tg_sum(tg_softmax(x), .axis = TG_INTS(0)), 2); /* other rows */
  KERNELS_AT_MOST(tg_add(tg_softmax(x), tg_softmax(x, .axis = TG_INTS(0))), 3);
  KERNELS_AT_MOST(tg_permute(tg_softmax(x), 1, 0), 3);
  CHECK_INT(tg_bi_interpreted(), interpreted);
}

/* Rows that do not fit the caches, or too few of them: kernels of their own. */
TEST(fusion_rows_too_long) {
  KERNELS_AT_MOST(tg_softmax(data(TG_SHAPE(9, 100000))), 4);
  int64_t before = tg_get_counters().kernels_run;
  CHECK_OK(tg_realize(tg_softmax(data(TG_SHAPE(2, 20000)))));
  CHECK(tg_get_counters().kernels_run - before > 2);
}

TEST(fusion_rows_gradients) {
  int64_t interpreted = tg_bi_interpreted();
  tg_tensor *g = data(TG_SHAPE(64, 33)), *labels = tg_realize(tg_randint(TG_SHAPE(64), .high = 33));
  for (int kind = 0; kind < 3; kind++) {
    tg_tensor *x = leaf(TG_SHAPE(64, 33));
    tg_tensor *y = kind == 0 ? tg_softmax(x) : kind == 1 ? tg_log_softmax(x) : tg_layernorm(x);
    KERNELS(y, 1);
    CHECK_OK(backward_from(y, g) == 0);
    KERNELS(tg_grad(x), 1);
  }
  tg_tensor *x = leaf(TG_SHAPE(64, 33));
  tg_tensor *loss = tg_sparse_categorical_crossentropy(x, labels);
  KERNELS(loss, 2); /* per row, then the mean */
  CHECK_OK(tg_backward(loss) == 0);
  KERNELS(tg_grad(x), 2); /* one over how many rows count, then all the rest */
  CHECK_INT(tg_bi_interpreted(), interpreted);
}

static tg_tensor *by_kind(tg_tensor *x, int kind, int axis) {
  if (kind == 0) return tg_softmax(x, .axis = TG_INTS(axis));
  if (kind == 1) return tg_log_softmax(x, .axis = TG_INTS(axis));
  if (kind == 2) return tg_layernorm(x, .axis = TG_INTS(axis));
  return tg_sub(x, tg_sum(tg_square(x), .axis = TG_INTS(axis), .keepdim = true));
}

static double farthest(tg_tensor *a, tg_tensor *b) { return tg_item(tg_max(tg_abs(tg_sub(a, b)))); }

/* A result over rows and its gradient, asked for together, are one kernel: what the
 * second takes from the first elsewhere in the row is computed again (or kept). */
TEST(fusion_rows_together) {
  const tg_shape shapes[] = {TG_SHAPE(64, 33), TG_SHAPE(64, 256), TG_SHAPE(8, 12, 40)};
  int64_t interpreted = tg_bi_interpreted();
  for (int s = 0; s < 3; s++)
    for (int k = 0; k < 8; k++) TG_SCOPE {
      int axis = k < 4 ? -1 : 0;
      tg_tensor *x = leaf(shapes[s]), *again = leaf(shapes[s]), *g = data(shapes[s]);
      tg_assign(again, tg_detach(x));
      tg_tensor *y = by_kind(x, k % 4, axis), *apart = tg_realize(by_kind(again, k % 4, axis));
      CHECK_OK(backward_from(y, g) == 0 && backward_from(apart, g) == 0);
      CHECK_OK(tg_realize(tg_grad(again)));
      int64_t before = tg_get_counters().kernels_run;
      CHECK_OK(tg_corealize(TG_LIST(y, tg_grad(x))) == 0);
      int64_t count = tg_get_counters().kernels_run - before;
#ifndef TG_HOSTILE
      CHECK_INT(count, 1);
#endif
      CHECK(count > 0 && farthest(y, apart) < 1e-6 * 33);
      CHECK(farthest(tg_grad(x), tg_grad(again)) < 1e-4);
    }
  CHECK_INT(tg_bi_interpreted(), interpreted);
}

/* Ties and their gradient, two sums per channel, the gradient of the mean, the rest. */
TEST(fusion_batchnorm_and_pool) {
  tg_tensor *x = leaf(TG_SHAPE(64, 8, 40, 40)), *mean, *variance;
  tg_tensor *w = leaf(TG_SHAPE(8)), *b = leaf(TG_SHAPE(8)), *g = data(TG_SHAPE(64, 8, 20, 20));
  mean = tg_mean(x, .axis = TG_INTS(0, 2, 3), .keepdim = true);
  variance = tg_mean(tg_square(tg_sub(x, mean)), .axis = TG_INTS(0, 2, 3), .keepdim = true);
  tg_tensor *scale = tg_div(tg_reshape(w, 1, 8, 1, 1), tg_sqrt(tg_add(variance, 1e-5)));
  tg_tensor *y = tg_add(tg_mul(tg_sub(x, mean), scale), tg_reshape(b, 1, 8, 1, 1));
  tg_tensor *pool = tg_max_pool2d(y, .kernel = TG_INTS(2, 2));
  CHECK_OK(tg_realize(pool) && backward_from(pool, g) == 0);
  KERNELS_AT_MOST(tg_grad(x), MOST_BACK);
}

/* Scores, softmax, product; and back: four products and the softmax. */
TEST(fusion_attention) {
  tg_tensor *q = leaf(TG_SHAPE(2, 3, 16, 8)), *k = leaf(TG_SHAPE(2, 3, 16, 8)), *v = leaf(TG_SHAPE(2, 3, 16, 8));
  tg_tensor *y = tg_scaled_dot_product_attention(q, k, v, .causal = true);
  KERNELS(y, 3);
  CHECK_OK(backward_from(y, data(TG_SHAPE(2, 3, 16, 8))) == 0);
  int64_t before = tg_get_counters().kernels_run;
  CHECK_OK(tg_corealize(TG_LIST(tg_grad(q), tg_grad(k), tg_grad(v))) == 0);
  int64_t kernels = tg_get_counters().kernels_run - before;
#ifdef TG_HOSTILE
  CHECK(kernels >= 5);
#else
  CHECK_INT(kernels, 5); /* four products and the softmax */
#endif
}

TEST(fusion_matmul) {
  tg_tensor *a = data(TG_SHAPE(16, 24)), *b = data(TG_SHAPE(24, 8)), *bias = data(TG_SHAPE(8));
  KERNELS(tg_dot(a, b), 1);
  KERNELS(tg_relu(tg_linear(a, b, .bias = bias)), 1);
  KERNELS(tg_dot(tg_T(b), tg_T(a)), 1);
  KERNELS(tg_dot(tg_half(a), tg_half(b)), 1);
  tg_tensor *batch = data(TG_SHAPE(3, 16, 24));
  KERNELS(tg_matmul(batch, b), 1);
  KERNELS(tg_sigmoid(tg_matmul(batch, tg_expand(b, 3, 24, 8))), 1);
}

TEST(fusion_matmul_gradients) {
  tg_tensor *a = leaf(TG_SHAPE(16, 24)), *b = leaf(TG_SHAPE(24, 8)), *w = data(TG_SHAPE(16, 8));
  CHECK_OK(backward_from(tg_dot(a, b), w) == 0);
  KERNELS(tg_grad(a), 1);
  KERNELS(tg_grad(b), 1);
}

TEST(fusion_conv) {
  tg_tensor *x = data(TG_SHAPE(2, 4, 12, 12)), *w = data(TG_SHAPE(8, 4, 3, 3)), *b = data(TG_SHAPE(8));
  KERNELS(tg_conv2d(x, w), 1);
  KERNELS(tg_relu(tg_conv2d(x, w, .bias = b, .padding = TG_INTS(1))), 1);
  KERNELS(tg_conv2d(x, w, .stride = TG_INTS(2), .padding = TG_INTS(1)), 1);
  KERNELS(tg_conv2d(x, data(TG_SHAPE(8, 2, 3, 3)), .groups = 2), 1);
  KERNELS(tg_conv2d(x, data(TG_SHAPE(4, 1, 3, 3)), .groups = 4, .dilation = TG_INTS(2)), 1);
  KERNELS(tg_max_pool2d(x), 1);
  KERNELS(tg_avg_pool2d(x, .kernel = TG_INTS(3), .stride = TG_INTS(1)), 1);
  KERNELS_AT_MOST(tg_conv_transpose2d(x, data(TG_SHAPE(4, 3, 3, 3))), 1);
  KERNELS_AT_MOST(tg_conv_transpose2d(x, data(TG_SHAPE(4, 3, 3, 3)), .stride = TG_INTS(2)), 2);
}

static void conv_gradients(tg_conv_opts o, tg_shape weight) {
  tg_tensor *x = leaf(TG_SHAPE(2, 4, 12, 12)), *w = leaf(weight);
  tg_tensor *y = (tg_conv2d)(x, w, &o);
  CHECK_OK(backward_from(y, data(tg_shape_of(y))) == 0);
  KERNELS(tg_grad(x), 1); /* by input, then by weights: one contraction each */
  KERNELS(tg_grad(w), 1);
}

TEST(fusion_conv_gradients) {
  conv_gradients((tg_conv_opts){.tg_ = 0}, TG_SHAPE(8, 4, 3, 3));
  conv_gradients((tg_conv_opts){.padding = TG_INTS(1)}, TG_SHAPE(8, 4, 3, 3));
  conv_gradients((tg_conv_opts){.groups = 2}, TG_SHAPE(8, 2, 3, 3));
}

TEST(fusion_take) {
  tg_tensor *table = leaf(TG_SHAPE(1000, 8));
  tg_tensor *at = tg_realize(tg_randint(TG_SHAPE(5), .high = 1000));
  tg_tensor *rows = tg_mul(tg_take(table, at), 2);
  KERNELS_AT_MOST(rows, 2);
  CHECK_OK(tg_backward(tg_sum(tg_square(rows))) == 0);
  KERNELS_AT_MOST(tg_grad(table), 3);
}

/* ---- a training step: few kernels, and replayed from the second one on */

static tg_tensor *forward(tg_tensor *x, tg_tensor *const *p) {
  x = tg_max_pool2d(tg_relu(tg_conv2d(x, p[0])));
  x = tg_max_pool2d(tg_relu(tg_conv2d(x, p[1])));
  return tg_log_softmax(tg_dot(tg_flatten(x, .start_dim = 1), p[2]));
}

TEST(fusion_training_step) {
  tg_tensor *p[3] = {tg_kaiming_uniform(TG_SHAPE(8, 1, 3, 3)), tg_kaiming_uniform(TG_SHAPE(16, 8, 3, 3)),
                     tg_kaiming_uniform(TG_SHAPE(400, 10))};
  tg_optimizer *adam = tg_adam(((tg_list){3, p}));
  tg_tensor *x = data(TG_SHAPE(4, 1, 28, 28));
  tg_tensor *y = tg_realize(tg_randint(TG_SHAPE(4), .high = 10));
  tg_counters before = tg_get_counters();
  for (int step = 0; step < 4; step++) TG_SCOPE {
    if (step == 2) before = tg_get_counters();
    tg_tensor *loss = tg_sparse_categorical_crossentropy(forward(x, p), y);
    CHECK_OK(tg_zero_grad(adam) == 0 && tg_backward(loss) == 0);
    CHECK_OK(tg_step_with(adam, TG_LIST(loss)) == 0);
    CHECK(isfinite(tg_item(loss)));
  }
  tg_counters after = tg_get_counters();
  CHECK_INT(after.kernels_compiled, before.kernels_compiled);
  CHECK_INT(after.schedules - before.schedules, after.schedules_replayed - before.schedules_replayed);
  CHECK(after.schedules - before.schedules >= 2);
  long long each = (long long)(after.kernels_run - before.kernels_run) / 2;
  test_check(each > 5 && each <= MOST_IN_A_STEP, __FILE__, __LINE__, "a training step runs %lld kernels", each);
}

/* ---- stored nodes that share a kernel */

/* Kernels of a step whose gradients are memory. */
static long long step_kernels(tg_optimizer *o, tg_list params) {
  for (int64_t i = 0; i < params.count; i++)
    CHECK_OK(tg_set_grad(params.items[i], data(tg_shape_of(params.items[i]))));
  int64_t before = tg_get_counters().kernels_run;
  CHECK_OK(tg_step(o) == 0);
  return (long long)(tg_get_counters().kernels_run - before);
}

#ifdef TG_HOSTILE
#define STEP_KERNELS(o, params, n) CHECK(step_kernels(o, params) >= (n))
#else
#define STEP_KERNELS(o, params, n) CHECK_INT(step_kernels(o, params), n)
#endif

TEST(fusion_optimizers) {
  tg_tensor *p[20] = {leaf(TG_SHAPE(64, 33)), leaf(TG_SHAPE(8, 4, 3, 3)), leaf(TG_SHAPE(7))};
  for (int i = 3; i < 20; i++) p[i] = leaf(TG_SHAPE(5, 4));
  tg_list one = {1, p}, three = {3, p}, many = {20, p};
  STEP_KERNELS(tg_sgd(one), one, 1);
  STEP_KERNELS(tg_sgd(three, .momentum = 0.9), three, 1);
  STEP_KERNELS(tg_sgd(many, .momentum = 0.9, .nesterov = true, .weight_decay = 0.1), many, 1);
  STEP_KERNELS(tg_adam(one), one, 2); /* the scalars; m, v and the parameter */
  STEP_KERNELS(tg_adam(three), three, 2);
  STEP_KERNELS(tg_adamw(many), many, 2);
}

/* The gradient, Adam's averages and the parameter in the kernel of the product. */
TEST(fusion_gradient_and_update) {
  tg_tensor *x = data(TG_SHAPE(32, 24)), *w = leaf(TG_SHAPE(24, 16)), *g = data(TG_SHAPE(32, 16));
  tg_optimizer *adam = tg_adam(TG_LIST(w));
  for (int step = 0; step < 2; step++) {
    CHECK_OK(tg_zero_grad(adam) == 0);
    CHECK_OK(backward_from(tg_dot(x, w), g) == 0);
    int64_t before = tg_get_counters().kernels_run;
    CHECK_OK(tg_step(adam) == 0);
    int64_t kernels = tg_get_counters().kernels_run - before;
#ifndef TG_HOSTILE
    CHECK_INT(kernels, 2);
#else
    CHECK(kernels >= 2);
#endif
  }
}

static int64_t corealize(tg_list list) {
  int64_t before = tg_get_counters().kernels_run;
  CHECK_OK(tg_corealize(list) == 0);
  return tg_get_counters().kernels_run - before;
}

#ifdef TG_HOSTILE
#define TOGETHER(n, ...) CHECK(corealize(TG_LIST(__VA_ARGS__)) >= (n))
#else
#define TOGETHER(n, ...) CHECK_INT(corealize(TG_LIST(__VA_ARGS__)), n)
#endif

TEST(fusion_together) {
  tg_tensor *x = data(TG_SHAPE(64, 33)), *y = data(TG_SHAPE(33, 64)), *e = tg_exp(x);
  TOGETHER(1, e, tg_mul(e, 2));                       /* one reads the other */
  TOGETHER(1, tg_sin(x), tg_reshape(tg_sqrt(x), 33, 64)); /* both read x */
  TOGETHER(1, tg_sum(x), tg_sum(y));                  /* small nests, side by side */
  tg_tensor *s = tg_sum(x, .axis = TG_INTS(1)), *d = tg_exp(s);
  TOGETHER(1, s, d, tg_mul(d, s));
  tg_tensor *z = data(TG_SHAPE(64, 33)), *big = data(TG_SHAPE(70000));
  TOGETHER(1, tg_sum(x, .axis = TG_INTS(0)), tg_sum(tg_mul(x, z), .axis = TG_INTS(0)));
  TOGETHER(1, tg_sum(big), tg_mul(tg_max(big), 2), tg_sum(tg_square(big))); /* one pass */
  tg_tensor *t = tg_sin(x);
  TOGETHER(2, t, tg_add(t, tg_flip(t, 0)));           /* at other positions: one by one */
  tg_tensor *a = tg_cos(x), *b = tg_sum(a), *c = tg_mul(a, tg_exp(b));
  TOGETHER(3, a, b, c); /* c reads a, but waits for b, which waits for a */
}

/* c reads a element by element, but also b, which waits for all of a. */
TEST(fusion_no_cycles) {
  tg_tensor *x = data(TG_SHAPE(3, 5)), *a = tg_add(x, 1), *list[40];
  for (int i = 0; i < 40; i++) {
    a = i % 2 ? tg_div(a, tg_add(tg_max(a), 1)) : tg_sub(a, tg_flip(a, 1));
    list[i] = a;
  }
  CHECK_OK(tg_corealize((tg_list){40, list}) == 0);
  for (int i = 1; i < 40; i += 2) {
    double most = tg_item(tg_max(list[i - 1]));
    CHECK_CLOSE(test_at(list[i], 0), test_at(list[i - 1], 0) / (most + 1), 1e-5, 1e-5);
  }
}

TEST(fusion_replay_sees_new_data) {
  for (int i = 1; i < 4; i++) {
    const int64_t numbers[3] = {i, i, i};
    tg_tensor *x = tg_from(numbers, TG_SHAPE(3), .dtype = TG_INT64);
    CHECK_VALUES(tg_add(tg_mul(x, 2), 1), 0, 0, 2 * i + 1, 2 * i + 1, 2 * i + 1);
  }
  tg_counters before = tg_get_counters();
  const int64_t numbers[3] = {9, 8, 7};
  tg_tensor *x = tg_from(numbers, TG_SHAPE(3), .dtype = TG_INT64);
  CHECK_VALUES(tg_add(tg_mul(x, 2), 1), 0, 0, 19, 17, 15);
  CHECK_INT(tg_get_counters().kernels_compiled, before.kernels_compiled);
}

/* ---- depth: 100,000 operations neither recurse nor go quadratic */

TEST(fusion_chain_of_100000) {
  tg_tensor *x = data(TG_SHAPE(7)), *y = x, *one = tg_realize(tg_ones(TG_SHAPE(7)));
  TG_NO_GRAD {
    for (int i = 0; i < 100000; i++) TG_SCOPE { y = tg_keep(tg_add(y, one)); }
  }
  CHECK_OK(tg_realize(y));
  CHECK_CLOSE(test_at(y, 3), test_at(x, 3) + 100000, 1, 0);
}
