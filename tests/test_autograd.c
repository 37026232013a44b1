/* Autograd: every Function against central differences, the rules of
 * requires_grad and no_grad, errors of the backward pass, Functions of the
 * user, depth, and that gradcheck itself finds a wrong gradient. */
#include "test.h"

#include "autograd/functions.h"

/* ---- every Function, by gradient check in float64 */

static tg_tensor *leaf(const double *data, tg_shape shape) {
  return tg_from(data, shape, .dtype = TG_FLOAT64, .requires_grad = TG_GRAD_YES);
}

/* Values without ties, away from 0 and from whole numbers. */
static const double one[6] = {0.37, -1.42, 2.61, -0.83, 1.19, 0.58};
static const double two[6] = {1.71, 0.46, -2.13, 1.27, -0.64, 2.35};
static const double pos[6] = {0.37, 1.42, 2.61, 0.83, 1.19, 0.58};

/* GRADCHECK(name, x data, y data, expression of x [2, 3] and y [2, 3]) */
#define GRADCHECK(name, xs, ys, expression)                                     \
  static tg_tensor *f_##name(tg_tensor *const *inputs, int count, void *user) { \
    (void)count, (void)user;                                                    \
    tg_tensor *x = inputs[0], *y = inputs[1];                                   \
    (void)x, (void)y;                                                           \
    return expression;                                                          \
  }                                                                             \
  TEST(gradcheck_##name) {                                                      \
    tg_tensor *x = leaf(xs, TG_SHAPE(2, 3)), *y = leaf(ys, TG_SHAPE(2, 3));     \
    CHECK_OK(tg_gradcheck(f_##name, TG_LIST(x, y)) == 0);                       \
  }

static tg_tensor *arg1(const tg_function_row *row, tg_tensor *x, int n, const int64_t *args) {
  return x ? tg_call1_with(row, x, n, args) : NULL;
}
#define ARGS(...) (int)(sizeof((int64_t[]){__VA_ARGS__}) / 8), (int64_t[]){__VA_ARGS__}

GRADCHECK(contiguous, one, two, tg_mul(tg_contiguous(x), y))
GRADCHECK(contiguous_backward, one, two, tg_mul(tg_contiguous_backward(x), y))
GRADCHECK(zero, one, two, tg_add(tg_call1(&tg_fn_zero, x), y))
GRADCHECK(neg, one, two, tg_mul(tg_call1(&tg_fn_neg, x), y))
GRADCHECK(sin, one, two, tg_mul(tg_call1(&tg_fn_sin, x), y))
GRADCHECK(relu, one, two, tg_mul(tg_call1(&tg_fn_relu, x), y))
GRADCHECK(log, pos, two, tg_mul(tg_call1(&tg_fn_log, x), y))
GRADCHECK(exp, one, two, tg_mul(tg_call1(&tg_fn_exp, x), y))
GRADCHECK(sqrt, pos, two, tg_mul(tg_call1(&tg_fn_sqrt, x), y))
GRADCHECK(sigmoid, one, two, tg_mul(tg_call1(&tg_fn_sigmoid, x), y))
GRADCHECK(add, one, two, tg_mul(tg_add(x, y), x))
GRADCHECK(sub, one, two, tg_mul(tg_sub(x, y), x))
GRADCHECK(mul, one, two, tg_mul(x, y))
GRADCHECK(div, one, two, tg_div(x, y))
GRADCHECK(where, one, two, tg_mul(tg_where(tg_lt(x, y), x, y), x))
GRADCHECK(pow, pos, two, tg_pow(x, y))
GRADCHECK(pow_number, one, two, tg_mul(tg_pow(x, 3), tg_pow(tg_mul(x, x), -0.5)))
GRADCHECK(number_pow, one, two, tg_mul(tg_pow(2.5, x), y))
GRADCHECK(maximum, one, two, tg_mul(tg_maximum(x, y), y))
GRADCHECK(minimum, one, two, tg_mul(tg_minimum(x, y), y))
GRADCHECK(trunc, one, two, tg_add(tg_call1(&tg_fn_trunc, x), y))
GRADCHECK(sum, one, two, tg_mul(arg1(&tg_fn_sum, tg_mul(x, x), ARGS(2)), y))
GRADCHECK(sum_all, one, two, tg_mul(arg1(&tg_fn_sum, tg_mul(x, x), ARGS(3)), y))
GRADCHECK(max, one, two, tg_mul(arg1(&tg_fn_max, tg_mul(x, x), ARGS(1)), y))
GRADCHECK(expand, one, two, tg_mul(tg_expand(tg_reshape(x, 2, 1, 3), 2, 4, 3), tg_reshape(y, 2, 1, 3)))
GRADCHECK(reshape, one, two, tg_mul(tg_reshape(x, 3, 2), tg_reshape(y, 3, -1)))
GRADCHECK(permute, one, two, tg_mul(tg_permute(x, 1, 0), tg_T(y)))
GRADCHECK(pad, one, two, tg_mul(tg_pad(x, TG_INTS(1, 0, 2, 1), .value = 3), tg_pad(y, TG_INTS(1, 0, 2, 1))))
GRADCHECK(pad2d, one, two, tg_mul(tg_pad2d(x, TG_INTS(-1, 2, 1, -1)), tg_pad2d(y, TG_INTS(-1, 2, 1, -1))))
GRADCHECK(shrink, one, two, tg_mul(tg_shrink(x, 0, 2, 1, 3), tg_shrink(y, 0, 2, 0, 2)))
GRADCHECK(slice, one, two, tg_mul(tg_slice(x, TG_INTS(-1, 1, 1, 5), .value = 2), tg_slice(y, TG_INTS(0, 2, 0, 4))))
GRADCHECK(flip, one, two, tg_mul(tg_flip(x, 0, -1), y))
GRADCHECK(repeat, one, two, tg_mul(tg_repeat(x, 2, 2, 1), tg_repeat(y, 2, 1)))
GRADCHECK(cat, one, two, tg_mul(tg_cat(TG_LIST(x, y, x), .axis = 1), tg_cat(TG_LIST(y, y, y), .axis = 1)))
GRADCHECK(stack, one, two, tg_mul(tg_stack(TG_LIST(x, y), .axis = -1), tg_unsqueeze(y, 2)))
GRADCHECK(copy, one, two, tg_mul(tg_to(tg_mul(tg_to(x, "REF"), 2), tg_device(y)), y))
GRADCHECK(window, one, two, tg_mul(arg1(&tg_fn_window, x, ARGS(1, 2, 1, 1)), tg_reshape(tg_shrink(y, 0, 2, 0, 2), 2, 2, 1)))
GRADCHECK(window_dilated, one, two, tg_mul(arg1(&tg_fn_window, x, ARGS(1, 2, 1, 2)), tg_reshape(tg_shrink(y, 0, 2, 0, 2), 2, 1, 2)))
GRADCHECK(window_strided, one, two, tg_mul(arg1(&tg_fn_window, tg_reshape(x, 6), ARGS(0, 3, 2, 1)), tg_reshape(tg_shrink(y, 0, 1, 0, 2), 2, 1)))
GRADCHECK(cast, one, two, tg_mul(tg_cast(tg_cast(x, TG_FLOAT64), TG_FLOAT64), y))
GRADCHECK(broadcast, one, two, tg_mul(tg_add(tg_reshape(x, 2, 1, 3), tg_reshape(y, 1, 2, 3)), tg_reshape(x, 3, 2, 1, 1)))

/* Every kernel, stride and dilation that fits 11 elements, remainders too. */
static tg_tensor *squared_window(tg_tensor *const *inputs, int count, void *user) {
  (void)count;
  tg_tensor *w = tg_call1_with(&tg_fn_window, inputs[0], 4, user);
  return tg_mul(w, w);
}

TEST(gradcheck_windows) {
  double data[22];
  for (int i = 0; i < 22; i++) data[i] = sin(1.3 * i);
  for (int64_t kernel = 1; kernel <= 5; kernel++)
    for (int64_t stride = 1; stride <= 9; stride += stride == 3 ? 6 : 1)
      for (int64_t dilation = 1; dilation <= 2; dilation++) {
        tg_tensor *x = leaf(data, TG_SHAPE(2, 11));
        int64_t args[4] = {1, kernel, stride, dilation};
        CHECK_OK(tg_gradcheck(squared_window, TG_LIST(x), .user = args) == 0);
      }
}

static tg_tensor *rows(void) {
  static const int64_t at[3] = {1, 0, 1};
  return tg_from(at, TG_SHAPE(3), .dtype = TG_INT64);
}
GRADCHECK(gather, one, two, tg_mul(tg_call2(&tg_fn_gather, x, rows()), tg_call2(&tg_fn_gather, y, rows())))

static tg_tensor *scatter_of(tg_tensor *x, tg_tensor *y, int64_t add) {
  static const int64_t at[2] = {1, 3};
  tg_tensor *base = tg_cat(TG_LIST(x, x)), *index = tg_from(at, TG_SHAPE(2), .dtype = TG_INT64);
  tg_tensor *const inputs[] = {base, index, y};
  return base && index ? tg_call(&tg_fn_scatter, 3, inputs, 1, &add) : NULL;
}
GRADCHECK(scatter, one, two, tg_mul(scatter_of(x, y, 0), tg_cat(TG_LIST(y, x))))
GRADCHECK(scatter_add, one, two, tg_mul(scatter_of(x, y, 1), tg_cat(TG_LIST(y, x))))

/* ---- ties and edges */

static tg_tensor *floats(const float *data, int64_t n) {
  return tg_from(data, TG_SHAPE(n), .requires_grad = TG_GRAD_YES);
}

TEST(autograd_ties_share_the_gradient) {
  tg_tensor *x = floats((float[]){1, 3, 3, 2}, 4);
  CHECK_OK(tg_backward(tg_max(x)) == 0);
  CHECK_VALUES(tg_grad(x), 0, 0, 0, 0.5, 0.5, 0);
  tg_tensor *a = floats((float[]){1, 2, 3}, 3), *b = floats((float[]){2, 2, 2}, 3);
  CHECK_OK(tg_backward(tg_sum(tg_maximum(a, b))) == 0);
  CHECK_VALUES(tg_grad(a), 0, 0, 0, 0.5, 1);
  CHECK_VALUES(tg_grad(b), 0, 0, 1, 0.5, 0);
}

TEST(autograd_relu_has_slope_0_at_0) {
  tg_tensor *x = floats((float[]){-1, 0, 2}, 3);
  CHECK_OK(tg_backward(tg_sum(tg_call1(&tg_fn_relu, x))) == 0);
  CHECK_VALUES(tg_grad(x), 0, 0, 0, 0, 1);
  tg_tensor *y = floats((float[]){-1, 0, 2}, 3);
  CHECK_OK(tg_backward(tg_sum(tg_maximum(y, 0))) == 0);
  CHECK_VALUES(tg_grad(y), 0, 0, 0, 0.5, 1);
}

TEST(autograd_pow_at_zero) {
  tg_tensor *a = floats((float[]){0, 0, 0}, 3), *b = floats((float[]){0, 1, 2}, 3);
  tg_tensor *p = tg_pow(a, b);
  CHECK_VALUES(p, 0, 0, 1, 0, 0);
  CHECK_OK(tg_backward(tg_sum(p)) == 0);
  CHECK_VALUES(tg_grad(a), 0, 0, 0, 1, 0);
  CHECK_VALUES(tg_grad(b), 0, 0, 0, 0, 0);
}

TEST(autograd_many_parts) { /* more inputs than a group of cat */
  tg_tensor *parts[40], *x = floats((float[]){2, -0.0f}, 2);
  for (int i = 0; i < 40; i++) parts[i] = tg_mul(x, i);
  tg_tensor *all = tg_cat(((tg_list){40, parts}));
  CHECK_INT(tg_numel(all), 80);
  CHECK_CLOSE(test_at(all, 78), 78, 0, 0);
  CHECK(signbit(test_at(all, 79)));
  CHECK_OK(tg_backward(tg_sum(all)) == 0);
  CHECK_VALUES(tg_grad(x), 0, 0, 780, 780);
}

TEST(autograd_gradient_dtype) {
  tg_tensor *x = tg_ones(TG_SHAPE(2), .dtype = TG_FLOAT16, .requires_grad = TG_GRAD_YES);
  CHECK_OK(tg_backward(tg_sum(tg_mul(tg_float(x), 3))) == 0);
  CHECK_INT(tg_dtype_of(tg_grad(x)), TG_FLOAT16);
  CHECK_VALUES(tg_grad(x), 0, 0, 3, 3);
}

TEST(autograd_zero_size) {
  tg_tensor *x = tg_ones(TG_SHAPE(0, 3), .requires_grad = TG_GRAD_YES);
  CHECK_OK(tg_backward(tg_sum(tg_mul(x, x))) == 0);
  CHECK_INT(tg_dim(tg_grad(x), 0), 0);
  CHECK_INT(tg_dim(tg_grad(x), 1), 3);
  CHECK_OK(tg_realize(tg_grad(x)));
}

/* ---- requires_grad and no_grad */

TEST(requires_grad_has_three_states) {
  tg_tensor *unset = tg_ones(TG_SHAPE(2)), *no = tg_ones(TG_SHAPE(2), .requires_grad = TG_GRAD_NO);
  tg_tensor *yes = tg_ones(TG_SHAPE(2), .requires_grad = true);
  CHECK_INT(tg_requires_grad(unset), TG_GRAD_UNSET);
  CHECK_INT(tg_requires_grad(tg_add(yes, no)), TG_GRAD_YES);
  CHECK_INT(tg_requires_grad(tg_add(unset, no)), TG_GRAD_UNSET);
  CHECK_INT(tg_requires_grad(tg_add(no, no)), TG_GRAD_NO);
  CHECK_INT(tg_requires_grad(tg_detach(yes)), TG_GRAD_NO);
  CHECK_INT(tg_requires_grad(tg_lt(yes, no)), TG_GRAD_UNSET);
  CHECK_NULL(tg_set_requires_grad(tg_ones(TG_SHAPE(2), .dtype = TG_INT32), true), "int32");
  CHECK_NULL(tg_ones(TG_SHAPE(2), .dtype = TG_BOOL, .requires_grad = true), "bool");
  CHECK_NULL(tg_set_requires_grad(tg_neg(yes), TG_GRAD_NO), "tg_detach");
}

TEST(no_grad_keeps_no_record) {
  tg_tensor *x = tg_ones(TG_SHAPE(2), .requires_grad = true), *y = NULL;
  TG_NO_GRAD { y = tg_mul(x, 2); }
  CHECK(!tg_no_grad());
  CHECK_INT(tg_requires_grad(y), TG_GRAD_UNSET);
  CHECK_FAILS(tg_backward(tg_sum(y)), "no tensor that requires a gradient");
}

TEST(gradients_add_up) {
  tg_tensor *x = tg_full(TG_SHAPE(2), 3, .requires_grad = true);
  CHECK_OK(tg_backward(tg_sum(tg_mul(x, x))) == 0);
  tg_tensor *grad = tg_grad(x);
  CHECK_OK(tg_backward(tg_sum(tg_mul(x, 2))) == 0);
  CHECK(tg_grad(x) == grad);
  CHECK_VALUES(grad, 0, 0, 8, 8);
  CHECK_OK(tg_set_grad(x, NULL));
  CHECK(!tg_grad(x));
  tg_tensor *given = tg_ones(TG_SHAPE(2));
  CHECK_OK(tg_set_grad(x, given));
  CHECK_OK(tg_backward(tg_sum(x)) == 0);
  CHECK_VALUES(tg_grad(x), 0, 0, 2, 2);
  CHECK_VALUES(given, 0, 0, 1, 1);
  CHECK_NULL(tg_set_grad(x, tg_ones(TG_SHAPE(3))), "(3,)");
}

TEST(retain_grad_keeps_a_middle_gradient) {
  tg_tensor *x = tg_full(TG_SHAPE(2), 3, .requires_grad = true);
  tg_tensor *kept = tg_mul(x, x), *dropped = tg_mul(kept, 2);
  CHECK_OK(tg_retain_grad(kept));
  CHECK_OK(tg_backward(tg_sum(dropped)) == 0);
  CHECK_VALUES(tg_grad(kept), 0, 0, 2, 2);
  CHECK_VALUES(tg_grad(x), 0, 0, 12, 12);
  CHECK(!tg_grad(dropped));
  CHECK_NULL(tg_retain_grad(tg_ones(TG_SHAPE(1))), "does not require");
}

TEST(assign_cuts_the_gradient) {
  tg_tensor *x = tg_full(TG_SCALAR, 3, .requires_grad = true), *y = tg_mul(x, 2);
  CHECK_OK(tg_assign(y, tg_full(TG_SCALAR, 5)));
  CHECK_CLOSE(tg_item(y), 5, 0, 0);
  CHECK_FAILS(tg_backward(y), "no tensor");
  CHECK_OK(tg_assign(x, tg_mul(x, 4)));
  CHECK_INT(tg_requires_grad(x), TG_GRAD_YES);
  CHECK_CLOSE(tg_item(x), 12, 0, 0);
  CHECK_NULL(tg_assign(x, tg_ones(TG_SHAPE(2))), "(2,)");
  CHECK_NULL(tg_assign(x, NULL), "NULL");
  CHECK_NULL(tg_assign(x, tg_cast(y, TG_INT8)), "int8");
}

/* The value at the time of the forward counts, whatever is assigned later. */
TEST(assign_does_not_change_what_was_saved) {
  tg_tensor *x = tg_full(TG_SCALAR, 3, .requires_grad = true), *y = tg_mul(x, x);
  CHECK_OK(tg_assign(x, tg_full(TG_SCALAR, 100)));
  CHECK_OK(tg_backward(y) == 0);
  CHECK_CLOSE(tg_item(tg_grad(x)), 6, 0, 0);
}

/* ---- errors */

TEST(backward_errors) {
  tg_tensor *x = tg_ones(TG_SHAPE(2, 3), .requires_grad = true);
  CHECK_FAILS(tg_backward(NULL), "NULL");
  CHECK_FAILS(tg_backward(tg_mul(x, 2)), "(2, 3)");
  CHECK_FAILS(tg_backward(tg_mul(x, 2)), "tg_mean");
  CHECK_FAILS(tg_backward(tg_sum(tg_ones(TG_SHAPE(2)))), "requires a gradient");
  tg_tensor *loss = tg_sum(x);
  CHECK_OK(tg_backward(loss) == 0);
  CHECK_FAILS(tg_backward(loss), "already");
  CHECK_VALUES(tg_grad(x), 0, 0, 1, 1, 1, 1, 1, 1);
}

TEST(backward_through_a_freed_part) {
  tg_tensor *x = tg_ones(TG_SHAPE(2), .requires_grad = true), *middle = tg_mul(x, x);
  tg_tensor *first = tg_sum(middle), *second = tg_sum(tg_mul(middle, 3));
  CHECK_OK(tg_backward(first) == 0);
  CHECK_FAILS(tg_backward(second), "compute it again");
  CHECK_VALUES(tg_grad(x), 0, 0, 2, 2);
}

TEST(comparisons_have_no_gradient) {
  tg_tensor *x = floats((float[]){1, 2, 3}, 3);
  CHECK_FAILS(tg_backward(tg_sum(tg_float(tg_lt(x, 2)))), "Less");
  CHECK_FAILS(tg_backward(tg_sum(tg_float(tg_eq(x, 2)))), "Equal has no gradient");
  CHECK_FAILS(tg_backward(tg_sum(tg_float(tg_cast(x, TG_INT32)))), "Cast");
  CHECK(!tg_grad(x));
  CHECK_OK(tg_backward(tg_sum(tg_where(tg_lt(x, 2), tg_mul(x, 5), x))) == 0);
  CHECK_VALUES(tg_grad(x), 0, 0, 5, 1, 1);
}

TEST(devices_do_not_mix) {
  tg_tensor *a = tg_ones(TG_SHAPE(2)), *b = tg_to(a, strcmp(tg_device(a), "REF") ? "REF" : "CPU");
  CHECK_NULL(tg_add(a, b), "tg_to");
  CHECK_NULL(tg_cat(TG_LIST(a, b)), "tg_to");
  CHECK_NULL(tg_to(a, "GPU"), "GPU");
  CHECK_VALUES(tg_add(a, tg_to(b, tg_device(a))), 0, 0, 2, 2);
}

/* ---- depth */

static tg_tensor *deeper(tg_tensor *y) {
  TG_SCOPE { y = tg_keep(tg_add(y, 1)); }
  return y;
}

TEST(depth_is_no_limit) {
  tg_counters before = tg_get_counters();
  TG_SCOPE {
    tg_tensor *x = tg_ones(TG_SHAPE(4), .requires_grad = true), *y = x;
    for (int i = 0; i < 100000; i++) y = tg_add(y, x);
    CHECK_OK(tg_backward(tg_sum(y)) == 0);
    CHECK_VALUES(tg_grad(x), 0, 0, 100001, 100001, 100001, 100001);
  }
  TG_SCOPE { /* only records hold the chain when it is released */
    tg_tensor *x = tg_ones(TG_SCALAR, .requires_grad = true), *y = tg_add(x, 1);
    for (int i = 0; i < 100000; i++) y = deeper(y);
    CHECK_INT(tg_requires_grad(y), TG_GRAD_YES);
  }
  CHECK_INT(tg_get_counters().tensors, before.tensors);
  CHECK_INT(tg_get_counters().nodes, before.nodes);
}

/* ---- Functions of the user */

static tg_tensor *square_forward(tg_context *c, tg_tensor *const *inputs, int count) {
  (void)count;
  if (tg_save_for_backward(c, inputs[0])) return NULL;
  CHECK(tg_no_grad());
  return tg_mul(inputs[0], inputs[0]);
}

static int square_backward(tg_context *c, tg_tensor *grad, tg_tensor **grads) {
  grads[0] = tg_mul(tg_mul(grad, 2), tg_saved(c, 0));
  return grads[0] ? 0 : -1;
}

static int wrong_backward(tg_context *c, tg_tensor *grad, tg_tensor **grads) {
  grads[0] = tg_mul(grad, tg_saved(c, 0));
  return grads[0] ? 0 : -1;
}

static int scalar_backward(tg_context *c, tg_tensor *grad, tg_tensor **grads) {
  (void)c;
  grads[0] = tg_sum(grad);
  return 0;
}

static int failing_backward(tg_context *c, tg_tensor *grad, tg_tensor **grads) {
  (void)c, (void)grad, (void)grads;
  tg_fail("Failing: as it should");
  return -1;
}

static void count_down(void *user) { --*(int *)user; }

static const tg_function square = {"Square", square_forward, square_backward, count_down};
static const tg_function wrong = {"Wrong", square_forward, wrong_backward, NULL};
static const tg_function misshapen = {"Misshapen", square_forward, scalar_backward, NULL};
static const tg_function failing = {"Failing", square_forward, failing_backward, NULL};
static const tg_function without = {"Without", square_forward, NULL, NULL};

static tg_tensor *f_square(tg_tensor *const *inputs, int count, void *user) {
  (void)count;
  static int alive;
  return tg_apply(user, TG_LIST(inputs[0]), &alive);
}

TEST(user_function) {
  int alive = 3;
  tg_tensor *x = tg_full(TG_SHAPE(2), 3, .requires_grad = true);
  tg_tensor *y = tg_apply(&square, TG_LIST(x), &alive);
  CHECK_VALUES(y, 0, 0, 9, 9);
  CHECK_INT(alive, 3);
  CHECK_OK(tg_backward(tg_sum(y)) == 0);
  CHECK_INT(alive, 2); /* the record went with the backward pass */
  CHECK_VALUES(tg_grad(x), 0, 0, 6, 6);
  CHECK_OK(tg_apply(&square, TG_LIST(tg_detach(x)), &alive));
  CHECK_INT(alive, 1); /* no record was kept */
  CHECK_NULL(tg_apply(&square, TG_LIST(NULL), &alive), "NULL");
  CHECK_INT(alive, 0);
}

TEST(user_function_errors) {
  tg_tensor *x = tg_full(TG_SHAPE(2), 3, .requires_grad = true);
  CHECK_FAILS(tg_backward(tg_sum(tg_apply(&misshapen, TG_LIST(x), NULL))), "Misshapen");
  CHECK_FAILS(tg_backward(tg_sum(tg_apply(&failing, TG_LIST(x), NULL))), "as it should");
  CHECK_FAILS(tg_backward(tg_sum(tg_apply(&without, TG_LIST(x), NULL))), "has no gradient");
  CHECK(!tg_grad(x));
  CHECK_NULL(tg_apply(NULL, TG_LIST(x), NULL), "tg_apply");
}

TEST(gradcheck_finds_a_wrong_gradient) {
  tg_tensor *x = tg_set_name(leaf(one, TG_SHAPE(2, 3)), "weights");
  CHECK_OK(tg_gradcheck(f_square, TG_LIST(x), .user = (void *)(uintptr_t)&square) == 0);
  CHECK_FAILS(tg_gradcheck(f_square, TG_LIST(x), .user = (void *)(uintptr_t)&wrong),
              "input 0 (weights), element 0");
  CHECK(!tg_grad(x));
  CHECK_VALUES(x, 0, 0, 0.37, -1.42, 2.61, -0.83, 1.19, 0.58);
  tg_tensor *y = tg_ones(TG_SHAPE(2), .requires_grad = true);
  CHECK_FAILS(tg_gradcheck(f_square, TG_LIST(y), .user = (void *)(uintptr_t)&square), "float64");
}
