/* Errors: each kind of mistake gives NULL or a negative status, and a message
 * that names the function, shows the values and says what to do. Nothing that
 * happens afterwards replaces the first message until it is read, and a NULL
 * tensor goes through every function. */
#include "test.h"

static tg_tensor *ones(tg_shape shape) { return tg_ones(shape); }
static tg_tensor *whole(tg_shape shape) { return tg_ones(shape, .dtype = TG_INT64); }
static tg_tensor *leaf(tg_shape shape) { return tg_ones(shape, .requires_grad = TG_GRAD_YES); }

/* ---- NULL in, NULL out; the first message stays */

static void check_null_through(const void *result, const char *text, int line) {
  const char *message = tg_error();
  test_check(!result, __FILE__, line, "%s is not NULL", text);
  test_check(message && !strcmp(message, "first"), __FILE__, line, "%s replaces the message: %s", text,
             message ? message : "none");
  tg_fail("first");
}
#define THROUGH(x) check_null_through((x), #x, __LINE__)
#define FAILS_THROUGH(x) check_null_through((x) < 0 ? NULL : "", #x, __LINE__)

static tg_tensor *same(tg_tensor *x, void *user) {
  (void)user;
  return x;
}
static tg_tensor *first_of(tg_tensor *const *inputs, int count, void *user) {
  (void)count, (void)user;
  return inputs[0];
}
static tg_tensor *forward(tg_context *c, tg_tensor *const *inputs, int count) {
  (void)c, (void)count;
  return inputs[0];
}

TEST(errors_null_data) {
  tg_tensor *n = NULL;
  tg_fail("first");
  THROUGH(tg_full_like(n, 1));
  THROUGH(tg_zeros_like(n));
  THROUGH(tg_ones_like(n));
  THROUGH(tg_multinomial(n, 1));
  THROUGH(tg_device(n));
  THROUGH(tg_set_name(n, "name"));
  THROUGH(tg_name(n));
  THROUGH(tg_realize(n));
  FAILS_THROUGH(tg_corealize(TG_LIST(n)));
  FAILS_THROUGH(tg_to_host(n, NULL, 0));
  THROUGH(tg_data(n));
  FAILS_THROUGH(tg_to_string(n, NULL, 0));
  THROUGH(tg_assign(n, ones(TG_SHAPE(2))));
  THROUGH(tg_assign(ones(TG_SHAPE(2)), n));
  THROUGH(tg_detach(n));
  THROUGH(tg_contiguous(n));
  THROUGH(tg_contiguous_backward(n));
  THROUGH(tg_cast(n, TG_INT8));
  THROUGH(tg_bitcast(n, TG_INT8));
  THROUGH(tg_float(n));
  THROUGH(tg_half(n));
  THROUGH(tg_to(n, "REF"));
  THROUGH(tg_keep(n));
  THROUGH(tg_retain(n));
  THROUGH(tg_take_ownership(n));
  tg_release(n);
  CHECK(isnan(tg_item(n)));
  CHECK_INT(tg_item_int(n), 0);
  CHECK_INT(tg_shape_of(n).ndim, 0);
  CHECK_INT(tg_dtype_of(n), 0);
  CHECK(!tg_numel(n) && !tg_ndim(n) && !tg_nbytes(n) && !tg_element_size(n));
  CHECK(!tg_is_floating_point(n) && !tg_is_realized(n));
  CHECK_STRING(tg_error(), "first");
}

TEST(errors_null_autograd) {
  tg_tensor *n = NULL;
  static const tg_function function = {"mine", forward, NULL, NULL};
  tg_fail("first");
  THROUGH(tg_set_requires_grad(n, TG_GRAD_YES));
  THROUGH(tg_grad(n));
  THROUGH(tg_set_grad(n, ones(TG_SHAPE(2))));
  THROUGH(tg_retain_grad(n));
  FAILS_THROUGH(tg_backward(n));
  THROUGH(tg_apply(&function, TG_LIST(n), NULL));
  FAILS_THROUGH(tg_gradcheck(first_of, TG_LIST(n)));
  FAILS_THROUGH(tg_gradcheck(NULL, TG_LIST(ones(TG_SHAPE(2)))));
  THROUGH(tg_sgd(TG_LIST(n)));
  THROUGH(tg_lamb(TG_LIST(n)));
  FAILS_THROUGH(tg_step(NULL));
  FAILS_THROUGH(tg_zero_grad(NULL));
  FAILS_THROUGH(tg_save_npy("/nowhere", n));
  FAILS_THROUGH(tg_save_npz("/nowhere", TG_LIST(n)));
  CHECK_INT(tg_requires_grad(n), TG_GRAD_UNSET);
  CHECK_STRING(tg_error(), "first");
}

TEST(errors_null_movement) {
  tg_tensor *n = NULL, *x = ones(TG_SHAPE(2, 2)), *parts[2];
  tg_tensor *i = whole(TG_SHAPE(2, 2));
  tg_fail("first");
  THROUGH(tg_reshape(n, 2));
  THROUGH(tg_expand(n, 2));
  THROUGH(tg_permute(n, 0));
  THROUGH(tg_flip(n, 0));
  THROUGH(tg_shrink(n, 0, 1));
  THROUGH(tg_pad(n, TG_INTS(0, 1)));
  THROUGH(tg_pad2d(n, TG_INTS(0, 1)));
  THROUGH(tg_slice(n, TG_INTS(0, 1)));
  THROUGH(tg_transpose(n, 0, 1));
  THROUGH(tg_T(n));
  THROUGH(tg_flatten(n));
  THROUGH(tg_squeeze(n));
  THROUGH(tg_unsqueeze(n, 0));
  THROUGH(tg_repeat(n, 2));
  FAILS_THROUGH(tg_chunk(n, 2, 0, parts));
  THROUGH(tg_cat(TG_LIST(x, n)));
  THROUGH(tg_stack(TG_LIST(n, x)));
  THROUGH(tg_index(n, TG_AT(0)));
  THROUGH(tg_index(x, TG_BY(n)));
  THROUGH(tg_set_index(n, x, TG_AT(0)));
  THROUGH(tg_set_index(x, n, TG_AT(0)));
  THROUGH(tg_take(n, i));
  THROUGH(tg_take(x, n));
  THROUGH(tg_gather(n, i, 0));
  THROUGH(tg_gather(x, n, 0));
  THROUGH(tg_scatter(n, 0, i, x));
  THROUGH(tg_scatter(x, 0, n, x));
  THROUGH(tg_scatter(x, 0, i, n));
  THROUGH(tg_scatter_add(x, 0, i, n));
  CHECK_STRING(tg_error(), "first");
}

TEST(errors_null_nn) {
  tg_tensor *n = NULL, *x = ones(TG_SHAPE(1, 1, 4, 4)), *c = ones(TG_SHAPE(1));
  const tg_layer layers[1] = {same};
  tg_fail("first");
  THROUGH(tg_sum(n));
  THROUGH(tg_max(n));
  THROUGH(tg_min(n));
  THROUGH(tg_mean(n));
  THROUGH(tg_std(n));
  THROUGH(tg_softmax(n));
  THROUGH(tg_log_softmax(n));
  THROUGH(tg_argmax(n));
  THROUGH(tg_argmin(n));
  THROUGH(tg_cumsum(n, 0));
  THROUGH(tg_triu(n, 0));
  THROUGH(tg_tril(n, 0));
  THROUGH(tg_dot(n, x));
  THROUGH(tg_dot(x, n));
  THROUGH(tg_matmul(n, n));
  THROUGH(tg_linear(n, x));
  THROUGH(tg_linear(x, n));
  THROUGH(tg_sequential(n, 1, layers, NULL));
  THROUGH(tg_conv2d(n, x));
  THROUGH(tg_conv2d(x, n));
  THROUGH(tg_conv_transpose2d(n, x));
  THROUGH(tg_conv_transpose2d(x, n));
  THROUGH(tg_avg_pool2d(n));
  THROUGH(tg_max_pool2d(n));
  THROUGH(tg_layernorm(n));
  THROUGH(tg_batchnorm(n, NULL, NULL, c, c));
  THROUGH(tg_batchnorm(x, NULL, NULL, n, c));
  THROUGH(tg_batchnorm(x, NULL, NULL, c, n));
  THROUGH(tg_dropout(n, 0.5));
  THROUGH(tg_scaled_dot_product_attention(n, x, x));
  THROUGH(tg_scaled_dot_product_attention(x, n, x));
  THROUGH(tg_scaled_dot_product_attention(x, x, n));
  THROUGH(tg_binary_crossentropy(n, x));
  THROUGH(tg_binary_crossentropy(x, n));
  THROUGH(tg_binary_crossentropy_logits(n, x));
  THROUGH(tg_binary_crossentropy_logits(x, n));
  THROUGH(tg_sparse_categorical_crossentropy(n, x));
  THROUGH(tg_sparse_categorical_crossentropy(x, n));
  CHECK_STRING(tg_error(), "first");
}

TEST(errors_null_elementwise) {
  static tg_tensor *(*const unary[])(tg_tensor *) = {
      tg_neg, tg_log, tg_log2, tg_exp, tg_exp2, tg_relu, tg_sigmoid, tg_sin, tg_cos, tg_tan, tg_sqrt,
      tg_rsqrt, tg_trunc, tg_ceil, tg_floor, tg_square, tg_abs, tg_sign, tg_reciprocal, tg_swish,
      tg_silu, tg_relu6, tg_hardswish, tg_tanh, tg_sinh, tg_cosh, tg_atanh, tg_asinh, tg_acosh,
      tg_gelu, tg_quick_gelu, tg_mish, tg_softsign};
  static tg_tensor *(*const with_number[])(tg_tensor *, double) = {tg_elu, tg_celu, tg_leakyrelu,
                                                                   tg_softplus};
  static tg_tensor *(*const binary[])(tg_tensor *, tg_tensor *) = {
      (tg_add), (tg_sub), (tg_mul), (tg_div), (tg_pow), (tg_maximum), (tg_minimum), (tg_lt), (tg_gt),
      (tg_ge), (tg_le), (tg_ne), (tg_eq)};
  tg_tensor *n = NULL, *x = ones(TG_SHAPE(2));
  tg_fail("first");
  for (size_t i = 0; i < sizeof unary / sizeof *unary; i++) THROUGH(unary[i](n));
  for (size_t i = 0; i < sizeof with_number / sizeof *with_number; i++) THROUGH(with_number[i](n, 1));
  for (size_t i = 0; i < sizeof binary / sizeof *binary; i++) {
    THROUGH(binary[i](n, x));
    THROUGH(binary[i](x, n));
    THROUGH(binary[i](n, n));
    THROUGH(binary[i](n, tg_number(2)));
    THROUGH(binary[i](tg_whole(2), n));
  }
  THROUGH(tg_add(n, 1));
  THROUGH(tg_sub(1.5, n));
  THROUGH(tg_add(NULL, x));
  THROUGH(tg_where(n, x, x));
  THROUGH(tg_where(x, n, x));
  THROUGH(tg_where(x, x, n));
  THROUGH(tg_where(n, 1, 2));
  THROUGH(tg_clip(n, 0, 1));
  THROUGH(tg_hardtanh(n, 0, 1));
  CHECK_STRING(tg_error(), "first");
}

/* Without an earlier message the function says that it got NULL. */
TEST(errors_null_is_named) {
  CHECK_NULL(tg_tanh(NULL), "got NULL instead of a tensor");
  CHECK_NULL(tg_add(ones(TG_SHAPE(2)), (tg_tensor *)NULL), "tg_add: got NULL");
  CHECK_NULL(tg_softmax(NULL), "tg_softmax: got NULL");
  CHECK_NULL(tg_exp(NULL), "tg_exp: got NULL");
  CHECK_NULL(tg_contiguous_backward(NULL), "tg_contiguous_backward: got NULL");
  CHECK_NULL(tg_conv2d(NULL, NULL), "tg_conv2d: got NULL");
  CHECK_NULL(tg_set_index((tg_tensor *)NULL, tg_number(1), TG_AT(0)), "tg_set_index: got NULL");
  CHECK_FAILS(tg_backward(NULL), "tg_backward: got NULL");
  tg_item(NULL);
  CHECK_STRING(tg_error(), "tg_item: got NULL instead of a tensor; check the call that should have made it");
}

TEST(errors_first_message_is_kept) {
  tg_tensor *x = ones(TG_SHAPE(2, 3));
  tg_tensor *y = tg_sum(tg_exp(tg_reshape(x, 7)));
  CHECK(!y && !tg_dot(x, x));
  const char *message = tg_error();
  CHECK(message && strstr(message, "tg_reshape: (2, 3) has 6 elements, which (7,) cannot hold"));
  CHECK(!tg_error());
  CHECK_NULL(tg_dot(x, x), "tg_dot");
  tg_fail("%s", "one");
  tg_clear_error();
  CHECK(!tg_error());
  tg_fail("50%% of %d", 4);
  CHECK_STRING(tg_error(), "50% of 4");
  CHECK_OK(tg_sum(x)); /* and success records nothing */
  CHECK(!tg_error());
}

TEST(errors_long_message_is_cut) {
  char text[3000];
  memset(text, 'x', sizeof text - 1);
  text[sizeof text - 1] = 0;
  tg_fail("%s", text);
  const char *message = tg_error();
  CHECK(message && strlen(message) > 100 && strlen(message) < 3000);
}

/* ---- shapes */

TEST(errors_shapes_of_two) {
  tg_tensor *a = ones(TG_SHAPE(2, 3)), *b = ones(TG_SHAPE(4));
  CHECK_NULL(tg_add(a, b), "tg_add: shapes (2, 3) and (4,) cannot be broadcast: axis 1 is 3 and 4; reshape");
  CHECK_NULL(tg_lt(a, b), "tg_lt: shapes (2, 3) and (4,)");
  CHECK_NULL(tg_where(a, b, 1), "tg_where");
  CHECK_NULL(tg_dot(a, a), "tg_dot: shapes (2, 3) and (2, 3) do not fit: the last axis of the first is 3");
  CHECK_NULL(tg_dot(a, tg_scalar(1)), "multiply by a scalar with tg_mul");
  CHECK_NULL(tg_matmul(ones(TG_SHAPE(2, 2, 3)), ones(TG_SHAPE(3, 3, 2))), "cannot be broadcast: 2 and 3");
  CHECK_NULL(tg_linear(a, ones(TG_SHAPE(3, 2)), .bias = b), "(4,)");
  CHECK_NULL(tg_binary_crossentropy(a, b), "(2, 3)");
  CHECK_NULL(tg_assign(a, b), "cannot hold (4,) of float32");
  CHECK_NULL(tg_cat(TG_LIST(a, b)), "tg_cat");
  CHECK_NULL(tg_cat(TG_LIST(a, ones(TG_SHAPE(2, 4)))), "(2, 4)");
  CHECK_NULL(tg_stack(TG_LIST(a, b)), "tg_stack");
  CHECK_NULL(tg_cat(((tg_list){0, NULL})), "tg_cat");
  CHECK_NULL(tg_sparse_categorical_crossentropy(a, whole(TG_SHAPE(3))), "logits (2, 3) and labels (3,)");
}

TEST(errors_shapes_of_one) {
  tg_tensor *a = ones(TG_SHAPE(2, 3)), *parts[4];
  CHECK_NULL(tg_reshape(a, 4, -1), "tg_reshape: (2, 3) has 6 elements, which (4, -1) cannot hold");
  CHECK_NULL(tg_reshape(a, -1, -1), "one may be -1");
  CHECK_NULL(tg_reshape(a, -6, -1), "tg_reshape");
  CHECK_NULL(tg_expand(a, 4, 3), "tg_expand: (2, 3) cannot be expanded to (4, 3); only axes of size 1 grow");
  CHECK_NULL(tg_expand(a, 3), "tg_expand");
  CHECK_NULL(tg_expand(a, -1, 2, 3), "tg_expand");
  CHECK_NULL(tg_permute(a, 0, 0), "tg_permute: (0, 0) is no order of the axes of (2, 3); name each axis once");
  CHECK_NULL(tg_permute(a, 0), "tg_permute");
  CHECK_NULL(tg_shrink(a, 0, 2, 1, 4), "tg_shrink: 1 to 4 is outside axis 1 of (2, 3); use 0 <= start");
  CHECK_NULL(tg_shrink(a, 0, 2), "two numbers per axis, 4 in all");
  CHECK_NULL(tg_pad(a, TG_INTS(0, 0, -1, 0)), "tg_pad2d and tg_shrink crop");
  CHECK_NULL(tg_pad2d(a, TG_INTS(0, 0, 0)), "two numbers per axis");
  CHECK_NULL(tg_pad2d(a, TG_INTS(-2, -2)), "axis 1 of (2, 3) cannot be padded by -2 and -2");
  CHECK_NULL(tg_slice(a, TG_INTS(1, 0, 0, 3)), "tg_slice: 1 to 0 along axis 0 of (2, 3) is no range");
  CHECK_NULL(tg_T(ones(TG_SHAPE(3))), "tg_T: shape (3,) has no two axes to swap");
  CHECK_NULL(tg_repeat(a, 2, -1), "use numbers from 0 on");
  CHECK_FAILS(tg_chunk(a, 0, 0, parts), "tg_chunk");
  CHECK_NULL(tg_triu(ones(TG_SHAPE(3)), 0), "a triangle needs two axes, but the shape is (3,)");
  CHECK_NULL(tg_dropout(a, 1.5), "1.5");
  CHECK_NULL(tg_ones(TG_SHAPE(2, -3)), "shape (2, -3) has a negative size");
}

TEST(errors_axes) {
  tg_tensor *a = ones(TG_SHAPE(2, 3));
  CHECK_NULL(tg_sum(a, .axis = TG_INTS(2)), "tg_sum: axis 2 of shape (2, 3): Dimension out of range");
  CHECK_INT(tg_failure_kind(), TG_FAILURE_INDEX);
  CHECK_NULL(tg_sum(a, .axis = TG_INTS(0, -2)), "axis 0 is given twice in (0, -2)");
  CHECK_NULL(tg_max(a, .axis = TG_INTS(-3)), "tg_max: axis -3");
  CHECK_NULL(tg_softmax(a, .axis = TG_INTS(5)), "axis 5");
  CHECK_NULL(tg_argmax(a, .axis = TG_INTS(0, 1)), "names 2 axes");
  CHECK_NULL(tg_cumsum(a, 2), "tg_cumsum: axis 2");
  CHECK_NULL(tg_transpose(a, 0, 2), "tg_transpose: axis 2");
  CHECK_NULL(tg_flip(a, 2), "tg_flip: axis 2");
  CHECK_NULL(tg_squeeze(a, .axis = TG_INTS(-4)), "tg_squeeze: axis -4");
  CHECK_NULL(tg_unsqueeze(a, 3), "range of [-3, 2], but got 3");
  CHECK_NULL(tg_cat(TG_LIST(a, a), .axis = 2), "tg_cat: axis 2");
  CHECK_NULL(tg_stack(TG_LIST(a, a), .axis = -4), "tg_stack");
  CHECK_NULL(tg_flatten(a, .start_dim = 2), "tg_flatten: axis 2");
  CHECK_NULL(tg_gather(a, whole(TG_SHAPE(1, 1)), 2), "tg_gather: axis 2");
  CHECK_NULL(tg_layernorm(a, .axis = TG_INTS(2)), "tg_layernorm: axis 2");
  CHECK_INT(tg_dim(a, 2), -1);
  CHECK_NULL(tg_max(ones(TG_SHAPE(0, 3))), "no element to choose from in shape (0, 3)");
  CHECK_NULL(tg_argmin(ones(TG_SHAPE(2, 0)), .axis = TG_INTS(1)), "tg_argmin");
}

TEST(errors_convolution) {
  tg_tensor *x = ones(TG_SHAPE(1, 2, 4, 4)), *w = ones(TG_SHAPE(3, 2, 3, 3));
  CHECK_NULL(tg_conv2d(x, ones(TG_SHAPE(3, 1, 3, 3))), "x (1, 2, 4, 4), weight (3, 1, 3, 3) and 1 groups");
  CHECK_NULL(tg_conv2d(x, w, .groups = 2), "2 groups do not fit");
  CHECK_NULL(tg_conv2d(x, w, .groups = -1), "groups");
  CHECK_NULL(tg_conv2d(x, ones(TG_SHAPE(3, 2, 5, 5))), "kernel 5 with dilation 1 needs at least 5 elements but axis");
  CHECK_NULL(tg_conv2d(x, w, .dilation = TG_INTS(2)), "kernel 3 with dilation 2 needs at least 5");
  CHECK_NULL(tg_conv2d(x, w, .stride = TG_INTS(0)), "stride 0 is not possible; use numbers from 1 on");
  CHECK_NULL(tg_conv2d(x, w, .stride = TG_INTS(1, 1, 1)), "stride (1, 1, 1) has 3 numbers for 2 axes");
  CHECK_NULL(tg_conv2d(x, w, .padding = TG_INTS(1, 1, 1)), "padding (1, 1, 1) has 3 numbers for 2 axes; give 1, 2 or 4");
  CHECK_NULL(tg_conv2d(x, w, .bias = ones(TG_SHAPE(2))), "the bias is (2,) but there are 3 output channels");
  CHECK_NULL(tg_conv2d(x, ones(TG_SHAPE(3, 2))), "weight (3, 2)");
  CHECK_NULL(tg_conv2d(x, w, .output_padding = TG_INTS(1)), "belongs to tg_conv_transpose2d");
  CHECK_NULL(tg_conv_transpose2d(x, w), "the channels of x must be the rows of the weight");
  CHECK_NULL(tg_conv_transpose2d(x, ones(TG_SHAPE(2, 3, 3, 3)), .output_padding = TG_INTS(1)),
             "output_padding 1 must be smaller than stride 1");
  CHECK_NULL(tg_max_pool2d(ones(TG_SHAPE(3))), "tg_max_pool2d: a kernel over 2 axes");
  CHECK_NULL(tg_max_pool2d(x, .kernel = TG_INTS(5, 5)), "kernel 5");
  CHECK_NULL(tg_avg_pool2d(x, .kernel = TG_INTS(0)), "kernel 0 is not possible");
  CHECK_NULL(tg_batchnorm(x, NULL, NULL, ones(TG_SHAPE(3)), ones(TG_SHAPE(2))), "(3,)");
  CHECK_NULL(tg_scaled_dot_product_attention(x, ones(TG_SHAPE(1, 2, 4, 3)), x), "q (1, 2, 4, 4), k (1, 2, 4, 3)");
}

/* ---- dtypes */

TEST(errors_dtypes) {
  tg_tensor *a = ones(TG_SHAPE(2, 2)), *i = whole(TG_SHAPE(2, 2)), *b = tg_gt(a, 0);
  CHECK_NULL(tg_set_requires_grad(i, TG_GRAD_YES), "int64 cannot have a gradient; cast it to a float dtype");
  CHECK_NULL(tg_ones(TG_SHAPE(2), .dtype = TG_BOOL, .requires_grad = TG_GRAD_YES), "tg_ones: a tensor of bool");
  CHECK_NULL(tg_take(a, a), "tg_take: an index tensor must hold integers, not float32; cast it");
  CHECK_NULL(tg_gather(a, a, 0), "not float32");
  CHECK_NULL(tg_index(a, TG_BY(a)), "not float32");
  CHECK_NULL(tg_neg(b), "tg_neg: bool (2, 2) has no negative");
  CHECK_NULL(tg_sub(b, b), "tg_sub: bool has no subtraction");
  CHECK_NULL(tg_dot(b, b), "tg_dot: bool has no sum of products");
  CHECK_NULL(tg_bitcast(a, TG_INT64), "float32 has 4 bytes and int64 has 8; the sizes must be equal");
  CHECK_NULL(tg_cast(a, (tg_dtype)99), "99 is no dtype");
  CHECK_NULL(tg_ones(TG_SHAPE(2), .dtype = (tg_dtype)99), "99 is no dtype");
  CHECK_NULL(tg_randn(TG_SHAPE(2), .dtype = TG_INT32), "makes floats, not int32");
  CHECK_NULL(tg_randint(TG_SHAPE(2), .dtype = TG_INT8, .low = 0, .high = 1000), "int8 does not hold");
  CHECK_NULL(tg_pow(i, -1), "integers to the negative power -1");
  CHECK_NULL(tg_assign(a, i), "cannot hold (2, 2) of int64");
  CHECK_NULL(tg_sparse_categorical_crossentropy(a, ones(TG_SHAPE(2))), "the labels are float32");
  CHECK_FAILS(tg_set_default_dtype(TG_INT8), "int8 is not a float dtype; use float16");
  CHECK_INT(tg_default_dtype(), TG_FLOAT32);
}

/* ---- creation and options */

TEST(errors_creation) {
  char byte[9] = {0};
  CHECK_NULL(tg_from(NULL, TG_SHAPE(2)), "tg_from: the data of shape (2,) is at the address NULL");
  CHECK_NULL(tg_borrow(NULL, TG_SHAPE(2), TG_FLOAT32, NULL, NULL), "tg_borrow");
  CHECK_NULL(tg_borrow(byte + 1 - ((uintptr_t)byte & 1), TG_SHAPE(1), TG_INT16, NULL, NULL) , "must be a multiple of 2");
  CHECK_NULL(tg_arange(0, 5, .step = TG_ZERO), "a step that is not 0");
  CHECK_NULL(tg_arange(0, INFINITY), "give finite numbers");
  CHECK_NULL(tg_arange(NAN, 2), "tg_arange");
  CHECK_NULL(tg_eye(-1), "negative");
  CHECK_NULL(tg_uniform(TG_SHAPE(2), .low = 2, .high = 1), "low 2 and high 1 are no range");
  CHECK_NULL(tg_normal(TG_SHAPE(2), .std = -1), "std -1 must not be negative");
  CHECK_NULL(tg_randint(TG_SHAPE(2), .low = 5, .high = 5), "low 5 and high 5");
  CHECK_NULL(tg_randint(TG_SHAPE(2), .low = 0.5, .high = 5), "low 0.5");
  CHECK_NULL(tg_multinomial(ones(TG_SHAPE(3)), 2), "set .replacement, or draw 1");
  CHECK_NULL(tg_multinomial(ones(TG_SHAPE(3)), 0), "0 samples; draw at least 1");
  CHECK_NULL(tg_multinomial(ones(TG_SHAPE(3, 3, 3)), 1), "weights (3, 3, 3) must be [C] or [N, C]");
  CHECK_NULL(tg_hardtanh(ones(TG_SHAPE(2)), 2, 1), "low 2 is above high 1; swap them");
}

TEST(errors_devices) {
  const char *device = tg_default_device();
  tg_set_default_device("CPU");
  tg_tensor *a = ones(TG_SHAPE(2)), *r = tg_ones(TG_SHAPE(2), .device = "REF");
  CHECK_OK(a && r);
  CHECK_NULL(tg_ones(TG_SHAPE(2), .device = "TPU"), "tg_ones: there is no device \"TPU\"; tg_device_name lists them");
  CHECK_NULL(tg_to(a, "TPU"), "tg_to: there is no device \"TPU\"");
  CHECK_FAILS(tg_set_default_device("TPU"), "there is no device \"TPU\"");
  CHECK_STRING(tg_default_device(), tg_device(a));
  CHECK_NULL(tg_add(a, r), "tg_add: the operands are on CPU and REF; move one with tg_to");
  CHECK_NULL(tg_dot(r, a), "on REF and CPU");
  CHECK_NULL(tg_where(tg_gt(a, 0), r, 1), "move one with tg_to");
  CHECK_NULL(tg_cat(TG_LIST(a, r)), "tg_cat");
  CHECK_NULL(tg_assign(a, r), "tg_to");
  CHECK_NULL(tg_take(r, whole(TG_SHAPE(1))), "the tensor is on REF, the index on CPU");
  CHECK_NULL(tg_set_grad(a, r), "the gradient is on REF, the tensor on CPU");
  CHECK_OK(tg_realize(tg_add(a, tg_to(r, "CPU"))));
  tg_set_default_device(device);
}

TEST(errors_huge_shapes) {
  int64_t big = (int64_t)1 << 60, large = (int64_t)1 << 50;
  tg_tensor *wide = tg_expand(ones(TG_SHAPE(1)), (int64_t)1 << 58);
  CHECK_OK(wide);
  CHECK_NULL(tg_ones(TG_SHAPE(big, big)), "shape (1152921504606846976, 1152921504606846976) has more elements");
  CHECK_NULL(tg_empty(TG_SHAPE(big, 4)), "more elements than memory can hold");
  CHECK_NULL(tg_expand(ones(TG_SHAPE(1, 1)), big, big), "more elements");
  CHECK_NULL(tg_pad(ones(TG_SHAPE(1)), TG_INTS(INT64_MAX, INT64_MAX)), "tg_pad");
  CHECK_NULL(tg_repeat(ones(TG_SHAPE(2, 2)), big, big), "tg_repeat");
  CHECK_NULL(tg_arange(0, 1e30), "tg_arange");
  CHECK_NULL(tg_eye(big), "tg_eye");
  CHECK_NULL(tg_reshape(ones(TG_SHAPE(4)), big, big), "tg_reshape");
  CHECK_NULL(tg_cat(TG_LIST(wide, wide, wide, wide)), "tg_cat");
  CHECK_NULL(tg_mul(tg_reshape(wide, -1, 1), wide), "tg_mul");
  /* legal as a shape, but no memory for it */
  CHECK_NULL(tg_realize(tg_contiguous(tg_ones(TG_SHAPE(large)))), "out of memory");
  CHECK_NULL(tg_from("", TG_SHAPE(large)), "out of memory");
  CHECK_CLOSE(tg_item(tg_sum(ones(TG_SHAPE(3)))), 3, 0, 0);
}

TEST(errors_rank) {
  tg_shape most = {16, {0}}, more = {17, {0}};
  for (int i = 0; i < 16; i++) most.dim[i] = 1;
  tg_tensor *x = tg_ones(most);
  CHECK_OK(x && tg_realize(tg_sum(x)));
  CHECK_NULL(tg_ones(more), "a tensor has 0 to 16 dimensions, not 17");
  CHECK_NULL(tg_ones(((tg_shape){-1, {0}})), "not -1");
  CHECK_NULL(tg_unsqueeze(x, 0), "16");
  CHECK_NULL(tg_stack(TG_LIST(x, x)), "tg_stack");
  CHECK_NULL(tg_reshape_to(x, more), "a list holds up to 16 numbers, not 17");
  CHECK_NULL(tg_sum(x, .axis = more), "tg_sum");
  CHECK_NULL(tg_permute_to(x, more), "tg_permute");
  CHECK_NULL(tg_index(x, TG_NEW_AXIS), "16");
  CHECK_NULL((tg_index)(x, 99, NULL), "99 index items");
}

/* ---- indices */

static void check_out_of_range(const char *device) {
  const int64_t at[2] = {0, 3};
  tg_tensor *x = tg_realize(tg_contiguous(tg_ones(TG_SHAPE(3, 2), .device = device)));
  tg_tensor *i = tg_from(at, TG_SHAPE(2), .dtype = TG_INT64, .device = device);
  tg_tensor *y = tg_take(x, i);
  CHECK_OK(y);
  CHECK_NULL(tg_realize(y), "index 3 is out of range for an axis of size 3");
  CHECK_NULL(tg_data(tg_exp(y)), "out of range");
  CHECK_NULL(tg_realize(tg_index(x, TG_BY(i))), "out of range");
  CHECK_NULL(tg_realize(tg_gather(x, tg_reshape(i, 1, 2), 0)), "out of range");
  CHECK_NULL(tg_realize(tg_scatter(x, 0, tg_reshape(i, 1, 2), x)), "out of range");
  CHECK_NULL(tg_realize(tg_scatter_add(x, 0, tg_reshape(i, 1, 2), x)), "out of range");
  CHECK_NULL(tg_realize(tg_take(x, tg_sub(i, 4))), "out of range");
  CHECK_OK(tg_realize(tg_take(x, tg_sub(i, 3))));
  tg_tensor *logits = tg_realize(tg_rand(TG_SHAPE(2, 3), .device = device));
  CHECK_NULL(tg_realize(tg_sparse_categorical_crossentropy(logits, i)), "out of range");
  CHECK_NULL(tg_realize(tg_take(tg_ones(TG_SHAPE(0, 2), .device = device), i)), "has size 0");
}

TEST(errors_index_out_of_range) {
  check_out_of_range("CPU");
  check_out_of_range("REF");
}

TEST(errors_index) {
  tg_tensor *x = ones(TG_SHAPE(2, 3));
  CHECK_NULL(tg_index(x, TG_AT(2)), "tg_index: index 2 is out of range for axis 0 of (2, 3); use -2 to 1");
  CHECK_NULL(tg_index(x, TG_ALL, TG_AT(-4)), "index -4 is out of range for axis 1");
  CHECK_NULL(tg_index(x, TG_RANGE(0, 1, 0)), "a step of 0");
  CHECK_NULL(tg_index(x, TG_AT(0), TG_AT(0), TG_AT(0)), "names 3 axes but shape (2, 3) has 2");
  CHECK_NULL(tg_index(x, TG_REST, TG_REST), "one TG_REST, not 2");
  CHECK_NULL(tg_index(x, TG_BY(tg_gt(ones(TG_SHAPE(3)), 0))), "mask (3,) does not match (2, 3) from axis 0 on");
  CHECK_NULL(tg_index(x, TG_BY(whole(TG_SHAPE(2))), TG_BY(whole(TG_SHAPE(3)))), "(2,) and (3,) cannot be broadcast");
  CHECK_NULL(tg_set_index(x, ones(TG_SHAPE(4)), TG_AT(0)), "(4,)");
  CHECK_NULL(tg_set_index(leaf(TG_SHAPE(2)), tg_number(1), TG_AT(0)), "do it inside TG_NO_GRAD");
  CHECK_NULL(tg_gather(x, whole(TG_SHAPE(3, 1)), 1), "index (3, 1) does not fit (2, 3) along axis 1");
  CHECK_NULL(tg_scatter(x, 1, whole(TG_SHAPE(2, 2)), ones(TG_SHAPE(1, 2))), "src (1, 2) is smaller than the index (2, 2)");
}

/* ---- gradients */

TEST(errors_backward) {
  tg_tensor *x = leaf(TG_SHAPE(3));
  CHECK_FAILS(tg_backward(tg_mul(x, 2)), "tg_backward: the loss has shape (3,), but only a scalar ()");
  CHECK_FAILS(tg_backward(tg_sum(ones(TG_SHAPE(3)))), "set .requires_grad = true on one");
  CHECK_FAILS(tg_backward(tg_sum(tg_cast(tg_gt(x, 0), TG_FLOAT32))), "through Less, and Less has no gradient");
  CHECK_FAILS(tg_backward(tg_cast(tg_sum(tg_eq(x, 1)), TG_FLOAT32)), "has no gradient; use a function that has one");
  CHECK_FAILS(tg_backward(tg_sum(tg_detach(x))), "depends on no tensor that requires a gradient");
  tg_tensor *loss = tg_sum(tg_square(x)), *other = tg_mul(loss, 2);
  CHECK_OK(tg_backward(loss) == 0);
  CHECK_FAILS(tg_backward(loss), "this loss has been through tg_backward already");
  CHECK_FAILS(tg_backward(other), "a part of what the loss was computed from has been through tg_backward");
  CHECK_VALUES(tg_grad(x), 0, 0, 2, 2, 2);
  CHECK_NULL(tg_set_grad(x, ones(TG_SHAPE(2))), "the gradient has shape (2,), the tensor (3,)");
  CHECK_NULL(tg_retain_grad(ones(TG_SHAPE(2))), "does not require a gradient");
  CHECK_NULL(tg_set_requires_grad(tg_mul(x, 2), TG_GRAD_NO), "use tg_detach for one without");
  tg_tensor *quiet = NULL;
  TG_NO_GRAD { quiet = tg_sum(x); }
  CHECK_FAILS(tg_backward(quiet), "compute outside of no_grad");
}

TEST(errors_functions_of_the_user) {
  static const tg_function nameless = {NULL, forward, NULL, NULL}, no_gradient = {"mine", forward, NULL, NULL};
  tg_tensor *x = leaf(TG_SHAPE(2));
  CHECK_NULL(tg_apply(&nameless, TG_LIST(x), NULL), "tg_apply: the Function has no name or no forward");
  CHECK_NULL(tg_apply(NULL, TG_LIST(x), NULL), "tg_apply");
  CHECK_NULL(tg_apply(&no_gradient, ((tg_list){2, NULL}), NULL), "mine: the list has 2 tensors at NULL");
  CHECK_FAILS(tg_backward(tg_sum(tg_apply(&no_gradient, TG_LIST(x), NULL))), "mine");
  CHECK_FAILS(tg_gradcheck(first_of, TG_LIST(x)), "float64 leaf");
  CHECK_FAILS(tg_gradcheck(first_of, ((tg_list){0, NULL})), "there are no inputs to check");
}

/* ---- reading values */

TEST(errors_values) {
  tg_tensor *x = ones(TG_SHAPE(2, 3));
  float out[6];
  CHECK_FAILS(tg_to_host(x, out, 20), "tg_to_host: shape (2, 3) of float32 takes 24 bytes, but room for 20 was given");
  CHECK_FAILS(tg_to_host(x, NULL, 24), "the address to copy to is NULL");
  CHECK_OK(tg_to_host(x, out, sizeof out) == 0);
  CHECK(isnan(tg_item(x)));
  CHECK(strstr(test_message(), "tg_item: shape (2, 3) has 6 elements, not 1; reduce it"));
  CHECK_INT(tg_item_int(ones(TG_SHAPE(0))), 0);
  CHECK(strstr(test_message(), "has 0 elements, not 1"));
  CHECK_FAILS(tg_corealize(TG_LIST(x, (tg_tensor *)NULL)), "tg_corealize");
  CHECK_FAILS(tg_corealize(((tg_list){2, NULL})), "tg_corealize: the list has 2 tensors at NULL");
  CHECK_FAILS(tg_corealize(((tg_list){-1, NULL})), "tg_corealize");
  const tg_layer none[2] = {same, NULL};
  CHECK_NULL(tg_sequential(x, 2, none, NULL), "tg_sequential: layer 1 of 2 is NULL");
  CHECK_NULL(tg_sequential(x, 2, NULL, NULL), "2 layers at no address");
}

/* A failure changes nothing: the operands can be used afterwards. */
TEST(errors_leave_state) {
  tg_tensor *x = leaf(TG_SHAPE(2));
  tg_tensor *y = tg_mul(x, 3);
  CHECK_NULL(tg_add(y, ones(TG_SHAPE(5))), "tg_add");
  CHECK_NULL(tg_assign(y, ones(TG_SHAPE(5))), "tg_assign");
  CHECK_FAILS(tg_backward(y), "scalar");
  CHECK_OK(tg_backward(tg_sum(y)) == 0);
  CHECK_VALUES(tg_grad(x), 0, 0, 3, 3);
  CHECK_VALUES(y, 0, 0, 3, 3);
}

/* Under a sanitizer too, malloc gives NULL for a size that cannot be had. */
const char *__asan_default_options(void);
const char *__asan_default_options(void) { return "allocator_may_return_null=1"; }
const char *__tsan_default_options(void);
const char *__tsan_default_options(void) { return "allocator_may_return_null=1"; }

/* The index is checked even where the value does not need it. */
TEST(errors_index_of_constants) {
  tg_tensor *bad = tg_from(((int64_t[]){1, 7}), TG_SHAPE(2), .dtype = TG_INT64);
  tg_tensor *row = tg_from(((float[]){1, 2, 3}), TG_SHAPE(1, 3));
  CHECK_NULL(tg_realize(tg_take(tg_ones(TG_SHAPE(5, 3)), bad)), "index 7 is out of range");
  CHECK_NULL(tg_realize(tg_take(tg_zeros(TG_SHAPE(5, 3)), bad)), "index 7 is out of range");
  CHECK_NULL(tg_realize(tg_take(tg_expand(row, 5, 3), bad)), "index 7 is out of range");
  tg_tensor *good = tg_from(((int64_t[]){1, 4}), TG_SHAPE(2), .dtype = TG_INT64);
  CHECK_OK(tg_realize(tg_take(tg_ones(TG_SHAPE(5, 3)), good)));
}

TEST(errors_multinomial_of_nothing) {
  const float wrong[] = {-1, -INFINITY, INFINITY, NAN};
  CHECK_NULL(tg_realize(tg_multinomial(tg_zeros(TG_SHAPE(3)), 1)), "out of range");
  for (int i = 0; i < 4; i++) {
    const float row[] = {1, 3, wrong[i], 2}, rows[] = {1, 1, 1, wrong[i]};
    CHECK_NULL(tg_realize(tg_multinomial(tg_from(row, TG_SHAPE(4)), 1)), "out of range");
    CHECK_NULL(tg_realize(tg_multinomial(tg_from(rows, TG_SHAPE(2, 2)), 1)), "out of range");
  }
  CHECK_OK(tg_realize(tg_multinomial(tg_ones(TG_SHAPE(3)), 1)));
}

/* Lists that are none: their number is wrong, they are nowhere, or have gaps. */
TEST(errors_lists) {
  tg_tensor *gap[] = {ones(TG_SHAPE(2)), NULL};
  const tg_list wrong[] = {{-1, gap}, {2, NULL}, {INT64_MAX, gap}, {INT64_MIN, gap}, {2, gap}};
  const char *const why[] = {"has -1 tensors", "has 2 tensors at NULL", "tensors", "tensors", "got NULL"};
  for (int i = 0; i < 5; i++) {
    CHECK_NULL(tg_sgd(wrong[i]), why[i]);
    CHECK_NULL(tg_adam(wrong[i]), why[i]);
    CHECK_NULL(tg_adamw(wrong[i]), why[i]);
    CHECK_NULL(tg_lamb(wrong[i]), why[i]);
    CHECK_NULL(tg_cat(wrong[i]), why[i]);
    CHECK_NULL(tg_stack(wrong[i]), why[i]);
    CHECK_FAILS(tg_corealize(wrong[i]), why[i]);
    CHECK_FAILS(tg_save_npz(TG_TEST_DATA "/none.npz", wrong[i]), why[i]);
    CHECK_FAILS(tg_load_npz(TG_TEST_DATA "/none.npz", wrong[i]), why[i]);
  }
}

TEST(errors_extremes) {
  const int64_t many = INT64_C(1) << 62;
  tg_tensor *x = ones(TG_SHAPE(1, 2, 5, 5)), *w = ones(TG_SHAPE(2, 2, 3, 3));
  CHECK(tg_numel(tg_zeros(TG_SHAPE(many, many, 0))) == 0);
  CHECK(tg_numel(tg_zeros(TG_SHAPE(0, many, many))) == 0);
  CHECK_NULL(tg_zeros(TG_SHAPE(many, many)), "more elements than memory can hold");
  CHECK_NULL(tg_pad2d(x, TG_INTS(INT64_MIN, 0)), "tg_pad2d: axis 3");
  CHECK_NULL(tg_pad2d(x, TG_INTS(INT64_MIN, INT64_MIN)), "cannot be padded");
  CHECK_NULL(tg_pad2d(x, TG_INTS(INT64_MAX, INT64_MIN)), "cannot be padded");
  const int64_t groups[] = {INT64_MAX, INT64_MIN, -1, 3};
  for (int i = 0; i < 4; i++) {
    CHECK_NULL(tg_conv2d(x, w, NULL, .groups = groups[i]), "groups");
    CHECK_NULL(tg_conv_transpose2d(x, w, NULL, .groups = groups[i]), "groups");
  }
  const tg_ints none = {-1, {0}}, much = {TG_MAX_DIMS + 1, {0}};
  CHECK_NULL(tg_sum(x, .axis = none), "a list of -1 axes");
  CHECK_NULL(tg_softmax(x, .axis = none), "a list of -1 axes");
  CHECK_NULL(tg_max(x, .axis = much), "axes");
  tg_index_item item = TG_AT(0);
  memset(&item.kind, 7, sizeof item.kind);
  CHECK_NULL(tg_index(x, item), "which there is not");
  CHECK_NULL(tg_fail(NULL), "the message is NULL");
  tg_scope_cleanup(NULL);
}

/* Numbers and modes that are none, where a call would otherwise give something. */
TEST(errors_numbers_that_are_none) {
  tg_tensor *x = ones(TG_SHAPE(2, 3));
  tg_tensor *in = tg_ones(TG_SHAPE(2), .dtype = TG_FLOAT64, .requires_grad = TG_GRAD_YES);
  CHECK_NULL(tg_ones(TG_SHAPE(2), .requires_grad = (tg_grad_mode)7), "tg_ones: requires_grad is 7");
  CHECK_NULL(tg_rand(TG_SHAPE(2), .requires_grad = (tg_grad_mode)-2), "tg_rand: requires_grad is -2");
  CHECK_NULL(tg_normal(TG_SHAPE(2), .mean = NAN), "tg_normal: mean nan and std 1; give finite");
  CHECK_NULL(tg_normal(TG_SHAPE(2), .std = INFINITY), "tg_normal: mean 0 and std inf");
  CHECK_NULL(tg_kaiming_uniform(TG_SHAPE(2, 2), .a = NAN), "tg_kaiming_uniform: the slope .a is nan");
  CHECK_NULL(tg_kaiming_normal(TG_SHAPE(2, 2), .a = INFINITY), "tg_kaiming_normal: the slope .a is inf");
  CHECK_NULL(tg_layernorm(x, .eps = -1), "tg_layernorm: .eps is -1; use 0 or more");
  CHECK_NULL(tg_layernorm(x, .eps = NAN), "tg_layernorm: .eps is nan");
  CHECK_NULL(tg_std(x, .correction = NAN), "tg_std: .correction is nan");
  CHECK_NULL(tg_sgd(TG_LIST(x), .momentum = INFINITY), "tg_sgd: .momentum is inf");
  CHECK_NULL(tg_adam(TG_LIST(x), .eps = INFINITY), "tg_adam: .eps is inf");
  CHECK_NULL(tg_adamw(TG_LIST(x), .weight_decay = INFINITY), "tg_adamw: .weight_decay is inf");
  CHECK_FAILS(tg_gradcheck(first_of, TG_LIST(in), .eps = -1e-6), "tg_gradcheck: .eps is -1e-06");
  CHECK_FAILS(tg_gradcheck(first_of, TG_LIST(in), .rtol = NAN), ".rtol nan");
  CHECK_FAILS(tg_to_string(x, NULL, 5), "tg_to_string: the address to write to is NULL");
  CHECK(tg_to_string(x, NULL, 0) > 0);
  CHECK_NULL(tg_jit_new(NULL, 1, NULL), "tg_jit_new: the function is NULL");
  CHECK_INT(tg_promote((tg_dtype)99, TG_BOOL), TG_DEFAULT_DTYPE);
  CHECK(strstr(test_message(), "tg_promote: 99 and 1 are not both dtypes"));
  CHECK_FAILS(tg_save_for_backward(NULL, x), "tg_save_for_backward: the context is NULL");
  tg_visit_users(x, NULL, NULL);
  CHECK(!tg_error());
}

/* What is larger than memory may be asked for, and counted, but never wraps around. */
TEST(errors_sizes_on_the_way) {
  const int64_t many = INT64_C(1) << 58, side = INT64_C(1) << 29, part = INT64_C(1) << 28;
  tg_tensor *one = ones(TG_SHAPE(1)), *row = tg_expand(one, many);
  tg_tensor *image = tg_expand(ones(TG_SHAPE(1, 1, 1, 1)), 1, 1, side, side);
  tg_tensor *brush = tg_expand(ones(TG_SHAPE(1, 1, 1, 1)), 1, 1, part, part);
  tg_tensor *pick = tg_expand(whole(TG_SHAPE(1)), INT64_C(1) << 40);
  CHECK_OK(row && image && brush && pick);
  CHECK_NULL(tg_cumsum(row, 0), "tg_cumsum: shape");
  CHECK_NULL(tg_cast(row, TG_FLOAT64), "tg_cast: shape");
  CHECK_NULL(tg_argmax(row), "tg_argmax: shape");
  CHECK_NULL(tg_rand(TG_SHAPE(many)), "tg_rand: shape");
  CHECK_NULL(tg_take(tg_reshape(row, side, side), pick), "tg_take: shape");
  CHECK_NULL(tg_conv2d(image, brush), "tg_conv2d: it takes a tensor of shape");
  CHECK_NULL(tg_max_pool2d(image, .kernel = TG_INTS(part), .stride = TG_INTS(1)), "tg_max_pool2d: it takes");
  tg_tensor *hollow = tg_expand(ones(TG_SHAPE(1, 1, 0)), INT64_C(1) << 62, 1 << 30, 0);
  CHECK_INT(tg_numel(tg_flatten(hollow)), 0);
  CHECK_NULL(tg_sum(hollow, .axis = TG_INTS(2)), "tg_sum: it takes a tensor of shape");
  CHECK_NULL(tg_cat(TG_LIST(hollow, hollow)), "tg_cat: along axis 0");
  CHECK_INT(tg_numel(tg_mean(hollow, .axis = TG_INTS(0, 1))), 0);
}
