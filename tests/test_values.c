/* What a tensor is and holds: facts, values on the host, text, devices, assign,
 * detach, modes, the default dtype. */
#include "test.h"

#define ALL_DTYPES(d) for (tg_dtype d = TG_BOOL; d <= TG_FLOAT64; d = (tg_dtype)(d + 1))

static tg_tensor *six(tg_dtype dtype) {
  const float data[6] = {0, 1, 2, 3, 4, 5};
  return tg_cast(tg_from(data, TG_SHAPE(2, 3)), dtype);
}

/* ---- facts */

TEST(values_facts) {
  static const int64_t sizes[] = {0, 1, 1, 1, 2, 2, 4, 4, 8, 8, 2, 2, 4, 8};
  ALL_DTYPES(d) {
    tg_tensor *x = tg_ones(TG_SHAPE(2, 3, 4), .dtype = d);
    CHECK_INT(tg_dtype_of(x), d);
    CHECK_INT(tg_element_size(x), sizes[d]);
    CHECK_INT(tg_dtype_size(d), sizes[d]);
    CHECK_INT(tg_nbytes(x), 24 * sizes[d]);
    CHECK_INT(tg_numel(x), 24);
    CHECK_INT(tg_ndim(x), 3);
    CHECK_INT(tg_is_floating_point(x), d >= TG_FLOAT16);
    CHECK_INT(tg_dtype_is_float(d), d >= TG_FLOAT16);
    CHECK_INT(tg_dim(x, 0), 2);
    CHECK_INT(tg_dim(x, -1), 4);
    CHECK_INT(tg_dim(x, -4), -1);
    tg_shape shape = tg_shape_of(x);
    CHECK(shape.ndim == 3 && shape.dim[0] == 2 && shape.dim[1] == 3 && shape.dim[2] == 4);
    CHECK_STRING(tg_device(x), tg_default_device());
  }
  CHECK_INT(tg_numel(tg_scalar(1)), 1);
  CHECK_INT(tg_ndim(tg_scalar(1)), 0);
  CHECK_INT(tg_numel(tg_ones(TG_SHAPE(3, 0, 2))), 0);
  CHECK_INT(tg_nbytes(tg_ones(TG_SHAPE(3, 0, 2))), 0);
}

TEST(values_realized_or_not) {
  tg_tensor *x = six(TG_FLOAT32), *y = tg_mul(x, 2);
  CHECK(!tg_is_realized(y));
  CHECK(tg_realize(y) == y);
  CHECK(tg_is_realized(y));
  CHECK(tg_realize(y) == y);
  tg_tensor *a = tg_add(x, 1), *b = tg_sum(a);
  CHECK_OK(tg_corealize(TG_LIST(a, b, a)) == 0);
  CHECK(tg_is_realized(a) && tg_is_realized(b));
  CHECK_OK(tg_corealize(((tg_list){0, NULL})) == 0);
}

TEST(values_names) {
  tg_tensor *x = tg_ones(TG_SHAPE(2), .name = "weight");
  CHECK_STRING(tg_name(x), "weight");
  char name[] = "other";
  CHECK(tg_set_name(x, name) == x);
  name[0] = 'X'; /* it was copied */
  CHECK_STRING(tg_name(x), "other");
  CHECK(tg_set_name(x, NULL) == x && !tg_name(x));
  CHECK(!tg_name(tg_add(x, 1)));
}

/* ---- values on the host */

TEST(values_to_host_of_every_dtype) {
  ALL_DTYPES(d) {
    tg_tensor *x = six(d);
    uint8_t bytes[6 * 8] = {0};
    CHECK_OK(tg_to_host(x, bytes, (size_t)tg_nbytes(x)) == 0);
    const void *data = tg_data(x);
    CHECK(data && !memcmp(data, bytes, (size_t)tg_nbytes(x)));
    tg_tensor *back = tg_from(bytes, TG_SHAPE(2, 3), .dtype = d);
    for (int i = 0; i < 6; i++) CHECK_CLOSE(test_at(back, i), d == TG_BOOL ? i != 0 : i, 0, 0);
  }
}

TEST(values_to_host_of_a_view) {
  float out[6];
  tg_tensor *x = tg_permute(six(TG_FLOAT32), 1, 0);
  CHECK_OK(tg_to_host(x, out, sizeof out) == 0);
  const float what[6] = {0, 3, 1, 4, 2, 5};
  CHECK(!memcmp(out, what, sizeof what));
  CHECK_OK(tg_to_host(tg_flip(six(TG_FLOAT32), 0, 1), out, sizeof out) == 0);
  CHECK_CLOSE(out[0], 5, 0, 0);
  CHECK_OK(tg_to_host(tg_expand(tg_scalar(7), 6), out, sizeof out) == 0);
  CHECK_CLOSE(out[5], 7, 0, 0);
}

TEST(values_without_elements) {
  tg_tensor *x = tg_ones(TG_SHAPE(0, 3));
  CHECK_OK(tg_realize(x));
  CHECK(!tg_data(x) && !tg_error()); /* no elements are no error */
  CHECK_OK(tg_to_host(x, NULL, 0) == 0);
  CHECK_CLOSE(tg_item(tg_sum(x)), 0, 0, 0);
}

TEST(values_items) {
  CHECK_CLOSE(tg_item(tg_scalar(2.5)), 2.5, 0, 0);
  CHECK_CLOSE(tg_item(tg_full(TG_SHAPE(1, 1, 1), 3)), 3, 0, 0);
  ALL_DTYPES(d) {
    CHECK_CLOSE(tg_item(tg_scalar(1, .dtype = d)), 1, 0, 0);
    CHECK_INT(tg_item_int(tg_scalar(1, .dtype = d)), 1);
  }
  const int64_t large = ((int64_t)1 << 62) + 1;
  CHECK_INT(tg_item_int(tg_from(&large, TG_SCALAR, .dtype = TG_INT64)), large);
  const uint64_t all = UINT64_MAX;
  CHECK_INT(tg_item_int(tg_from(&all, TG_SCALAR, .dtype = TG_UINT64)), -1); /* by its bits */
  CHECK_CLOSE(tg_item(tg_from(&all, TG_SCALAR, .dtype = TG_UINT64)), 0x1p64, 0, 0);
  CHECK_INT(tg_item_int(tg_scalar(-2.75)), -2);
  CHECK(isnan(tg_item(tg_scalar(NAN))) && !tg_error());
  CHECK_CLOSE(tg_item(tg_scalar(-INFINITY)), -INFINITY, 0, 0);
}

TEST(values_data_stays) {
  tg_tensor *x = tg_contiguous(six(TG_FLOAT32));
  const void *data = tg_data(x);
  CHECK_OK(tg_realize(tg_mul(x, 3)));
  CHECK(tg_data(x) == data);
}

/* ---- text */

static void check_text(tg_tensor *t, const char *what, int line) {
  char text[300];
  int64_t length = tg_to_string(t, text, sizeof text);
  test_string(text, what, "text", __FILE__, line);
  test_int(length, (long long)strlen(what), "length", __FILE__, line);
}
#define TEXT(t, what) check_text((t), (what), __LINE__)

TEST(values_text) {
  const char *device = tg_default_device();
  tg_set_default_device("CPU");
  TEXT(six(TG_FLOAT32), "tensor (2, 3) float32 CPU: [[0, 1, 2], [3, 4, 5]]");
  TEXT(tg_set_name(six(TG_INT8), "w"), "tensor (2, 3) int8 CPU w: [[0, 1, 2], [3, 4, 5]]");
  TEXT(tg_cast(six(TG_INT8), TG_BOOL), "tensor (2, 3) bool CPU: [[false, true, true], [true, true, true]]");
  TEXT(tg_scalar(-0.5), "tensor () float32 CPU: -0.5");
  TEXT(tg_scalar(1.0 / 3, .dtype = TG_FLOAT64), "tensor () float64 CPU: 0.33333333");
  TEXT(tg_ones(TG_SHAPE(1), .requires_grad = TG_GRAD_YES), "tensor (1,) float32 CPU requires_grad: [1]");
  TEXT(tg_ones(TG_SHAPE(2, 0)), "tensor (2, 0) float32 CPU: [[], []]");
  TEXT(tg_arange(0, 10, .dtype = TG_INT32), "tensor (10,) int32 CPU: [0, 1, 2, 3, 4, 5, 6, 7, ...]");
  TEXT(tg_div(tg_arange(-1, 2), 0.0), "tensor (3,) float32 CPU: [-inf, nan, inf]");
  const uint64_t all = UINT64_MAX;
  TEXT(tg_from(&all, TG_SHAPE(1), .dtype = TG_UINT64), "tensor (1,) uint64 CPU: [18446744073709551615]");
  TEXT(tg_ones(TG_SHAPE(1), .dtype = TG_BFLOAT16), "tensor (1,) bfloat16 CPU: [1]");
  tg_set_default_device(device);
}

TEST(values_text_is_cut) {
  char text[20];
  memset(text, 'x', sizeof text);
  int64_t length = tg_to_string(six(TG_FLOAT32), text, 10);
  CHECK_STRING(text, "tensor (2");
  CHECK(text[10] == 'x');
  CHECK_INT(tg_to_string(six(TG_FLOAT32), NULL, 0), length);
  CHECK_INT(tg_to_string(six(TG_FLOAT32), text, 1), length);
  CHECK_STRING(text, "");
}

/* ---- assign and detach */

TEST(values_assign) {
  tg_tensor *x = six(TG_FLOAT32), *before = tg_add(x, 0.5);
  CHECK(tg_assign(x, tg_mul(x, 2)) == x);
  tg_tensor *after = tg_add(x, 0.5);
  CHECK_VALUES(before, 0, 0, 0.5, 1.5, 2.5, 3.5, 4.5, 5.5);
  CHECK_VALUES(after, 0, 0, 0.5, 2.5, 4.5, 6.5, 8.5, 10.5);
  for (int i = 0; i < 3; i++) tg_assign(x, tg_add(x, 1));
  CHECK_VALUES(x, 0, 0, 3, 5, 7, 9, 11, 13);
  tg_assign(x, x);
  CHECK_VALUES(x, 0, 0, 3, 5, 7, 9, 11, 13);
}

TEST(values_assign_and_gradients) {
  tg_tensor *p = tg_ones(TG_SHAPE(2), .requires_grad = TG_GRAD_YES);
  tg_assign(p, tg_mul(p, 3));
  CHECK_INT(tg_requires_grad(p), TG_GRAD_YES);
  CHECK_OK(tg_backward(tg_sum(tg_square(p))) == 0);
  CHECK_VALUES(tg_grad(p), 0, 0, 6, 6); /* of its new value, not through the old one */
}

TEST(values_detach) {
  tg_tensor *p = tg_ones(TG_SHAPE(2), .requires_grad = TG_GRAD_YES);
  tg_tensor *q = tg_mul(p, 2);
  CHECK_OK(tg_backward(tg_sum(tg_mul(q, tg_detach(q)))) == 0);
  CHECK_VALUES(tg_grad(p), 0, 0, 4, 4);
  CHECK_INT(tg_requires_grad(tg_detach(q)), TG_GRAD_NO);
}

TEST(values_contiguous) {
  tg_tensor *x = tg_permute(six(TG_FLOAT32), 1, 0);
  CHECK_VALUES(tg_contiguous(x), 0, 0, 0, 3, 1, 4, 2, 5);
  CHECK_VALUES(tg_contiguous_backward(x), 0, 0, 0, 3, 1, 4, 2, 5);
}

/* ---- devices */

TEST(values_devices) {
  tg_tensor *x = six(TG_FLOAT32), *r = tg_to(x, "REF");
  CHECK_STRING(tg_device(r), "REF");
  CHECK_VALUES(tg_mul(r, 2), 0, 0, 0, 2, 4, 6, 8, 10);
  tg_tensor *back = tg_to(tg_mul(r, 2), tg_device(x));
  CHECK_STRING(tg_device(back), tg_device(x));
  CHECK_VALUES(tg_add(back, x), 0, 0, 0, 3, 6, 9, 12, 15);
  CHECK(tg_to(x, tg_device(x)) == x);
  CHECK_STRING(tg_device(tg_to(r, NULL)), tg_default_device());
  int count = 0;
  while (tg_device_name(count)) count++;
  CHECK(count >= 2);
}

TEST(values_gradient_across_devices) {
  tg_tensor *x = tg_ones(TG_SHAPE(2), .requires_grad = TG_GRAD_YES, .device = "CPU");
  CHECK_OK(tg_backward(tg_sum(tg_square(tg_to(tg_mul(x, 3), "REF")))) == 0);
  CHECK_STRING(tg_device(tg_grad(x)), "CPU");
  CHECK_VALUES(tg_grad(x), 0, 0, 18, 18);
}

/* ---- modes */

TEST(values_training_mode) {
  tg_tensor *x = tg_ones(TG_SHAPE(1000));
  CHECK(!tg_training());
  CHECK_CLOSE(tg_item(tg_sum(tg_dropout(x, 0.5))), 1000, 0, 0);
  CHECK(!tg_set_training(true));
  CHECK(tg_training());
  tg_manual_seed(1);
  tg_tensor *dropped = tg_realize(tg_dropout(x, 0.5));
  double sum = tg_item(tg_sum(dropped));
  CHECK(sum > 800 && sum < 1200);
  CHECK_CLOSE(tg_item(tg_max(dropped)), 2, 0, 0);
  CHECK_CLOSE(tg_item(tg_min(dropped)), 0, 0, 0);
  CHECK(tg_set_training(false));
}

TEST(values_no_grad) {
  tg_tensor *p = tg_ones(TG_SHAPE(2), .requires_grad = TG_GRAD_YES), *q = NULL;
  TG_NO_GRAD {
    CHECK(tg_no_grad());
    q = tg_mul(p, 2);
  }
  CHECK(!tg_no_grad());
  CHECK(tg_requires_grad(q) != TG_GRAD_YES);
  CHECK_INT(tg_requires_grad(tg_mul(p, 2)), TG_GRAD_YES);
  CHECK(!tg_set_no_grad(true) && tg_set_no_grad(false));
}

TEST(values_default_dtype) {
  static const tg_dtype floats[] = {TG_FLOAT16, TG_BFLOAT16, TG_FLOAT64, TG_FLOAT32};
  for (int i = 0; i < 4; i++) {
    CHECK_OK(tg_set_default_dtype(floats[i]) == 0);
    CHECK_INT(tg_default_dtype(), floats[i]);
    CHECK_INT(tg_dtype_of(tg_zeros(TG_SHAPE(2))), floats[i]);
    CHECK_INT(tg_dtype_of(tg_randn(TG_SHAPE(2))), floats[i]);
    CHECK_INT(tg_dtype_of(tg_scalar(1)), floats[i]);
    CHECK_INT(tg_dtype_of(tg_exp(tg_ones(TG_SHAPE(2), .dtype = TG_INT32))), floats[i]);
    CHECK_INT(tg_dtype_of(tg_mean(tg_ones(TG_SHAPE(2), .dtype = TG_BOOL))), floats[i]);
    CHECK_INT(tg_dtype_of(tg_div(tg_ones(TG_SHAPE(2), .dtype = TG_INT32), 2)), floats[i]);
    CHECK_INT(tg_dtype_of(tg_zeros(TG_SHAPE(2), .dtype = TG_INT32)), TG_INT32);
  }
}

TEST(values_float_and_half) {
  CHECK_INT(tg_dtype_of(tg_float(six(TG_INT32))), TG_FLOAT32);
  CHECK_INT(tg_dtype_of(tg_half(six(TG_INT32))), TG_FLOAT16);
  CHECK_VALUES(tg_float(tg_half(six(TG_FLOAT64))), 0, 0, 0, 1, 2, 3, 4, 5);
}

/* Numbers on either side of an operation. */
TEST(values_numbers) {
  tg_tensor *x = six(TG_INT32), *f = six(TG_FLOAT32), *b = tg_gt(x, 2), *u = six(TG_UINT8);
  CHECK_VALUES(tg_sub(10, x), 0, 0, 10, 9, 8, 7, 6, 5);
  CHECK_INT(tg_dtype_of(tg_mul(x, 2)), TG_INT32);
  CHECK_INT(tg_dtype_of(tg_mul(x, 2.5)), TG_FLOAT32);
  CHECK_VALUES(tg_mul(x, 2.5), 0, 0, 0, 2.5, 5, 7.5, 10, 12.5);
  CHECK_INT(tg_dtype_of(tg_add(b, 1)), TG_INT64);
  CHECK_VALUES(tg_add(b, 1), 0, 0, 1, 1, 1, 2, 2, 2);
  CHECK_INT(tg_dtype_of(tg_add(u, 300)), TG_UINT8);
  CHECK_VALUES(tg_add(u, 300), 0, 0, 44, 45, 46, 47, 48, 49);
  CHECK_INT(tg_dtype_of(tg_add(six(TG_FLOAT16), 2.5)), TG_FLOAT16);
  CHECK_INT(tg_dtype_of(tg_where(b, f, 0)), TG_FLOAT32);
  CHECK_VALUES(tg_where(b, 1.5, 0.5), 0, 0, 0.5, 0.5, 0.5, 1.5, 1.5, 1.5);
  CHECK_VALUES(tg_where(b, x, -1), 0, 0, -1, -1, -1, 3, 4, 5);
  CHECK_VALUES(tg_add(tg_number(0.5), f), 0, 0, 0.5, 1.5, 2.5, 3.5, 4.5, 5.5);
}

/* ---- batchnorm: C elements in any shape; invstd alone may be as large as x */

TEST(values_batchnorm_shapes) {
  tg_tensor *x = tg_reshape(tg_arange(0, 24), 2, 3, 2, 2), *mean = tg_arange(0, 3);
  tg_tensor *invstd = tg_add(tg_arange(0, 3), 1), *weight = tg_full(TG_SHAPE(3), 2);
  tg_tensor *want = tg_batchnorm(x, weight, NULL, mean, invstd);
  tg_tensor *wide = tg_reshape(invstd, 1, 3, 1, 1), *full = tg_expand(wide, 2, 3, 2, 2);
  CHECK_CLOSE(tg_item(tg_index(want, TG_AT(1), TG_AT(2), TG_AT(0), TG_AT(0))), 108, 0, 0);
  tg_tensor *const shapes[] = {wide, full};
  for (int i = 0; i < 2; i++) {
    tg_tensor *got = tg_batchnorm(x, tg_reshape(weight, 3, 1), NULL, mean, shapes[i]);
    CHECK_CLOSE(tg_item(tg_max(tg_abs(tg_sub(got, want)))), 0, 0, 0);
  }
  CHECK_NULL(tg_batchnorm(x, NULL, NULL, mean, tg_ones(TG_SHAPE(2, 3, 2, 3))), "invstd is (2, 3, 2, 3)");
}
