/* Creation from numbers and memory (random tensors: test_random.c), the states
 * of a gradient, dropout, and that assigning in a loop takes no more memory. */
#include "test.h"

/* ---- creation */

TEST(creation_full_zeros_ones) {
  CHECK_VALUES(tg_full(TG_SHAPE(2, 2), 2.5), 0, 0, 2.5, 2.5, 2.5, 2.5);
  CHECK_VALUES(tg_zeros(TG_SHAPE(3)), 0, 0, 0, 0, 0);
  CHECK_VALUES(tg_ones(TG_SHAPE(1, 2)), 0, 0, 1, 1);
  CHECK_VALUES(tg_full(TG_SCALAR, -7, .dtype = TG_INT8), 0, 0, -7);
  CHECK_VALUES(tg_full(TG_SHAPE(2), 3, .dtype = TG_BOOL), 0, 0, 1, 1);
  CHECK_INT(tg_dtype_of(tg_ones(TG_SHAPE(1))), TG_FLOAT32);
  CHECK_INT(tg_numel(tg_zeros(TG_SHAPE(3, 0))), 0);
  CHECK_VALUES(tg_full(TG_SHAPE(1), NAN), 0, 0, NAN);
  CHECK_INT(tg_requires_grad(tg_ones(TG_SHAPE(1))), TG_GRAD_UNSET);
  CHECK_INT(tg_requires_grad(tg_ones(TG_SHAPE(1), .requires_grad = true)), TG_GRAD_YES);
  CHECK_STRING(tg_name(tg_zeros(TG_SHAPE(1), .name = "bias")), "bias");
  CHECK_STRING(tg_device(tg_zeros(TG_SHAPE(1), .device = "REF")), "REF");
}

TEST(creation_like) {
  tg_tensor *x = tg_full(TG_SHAPE(2, 1), 9, .dtype = TG_INT16);
  CHECK_VALUES(tg_full_like(x, 4), 0, 0, 4, 4);
  CHECK_VALUES(tg_zeros_like(x), 0, 0, 0, 0);
  CHECK_VALUES(tg_ones_like(x), 0, 0, 1, 1);
  CHECK_INT(tg_dtype_of(tg_ones_like(x)), TG_INT16);
  CHECK_INT(tg_dtype_of(tg_ones_like(x, .dtype = TG_FLOAT64)), TG_FLOAT64);
  CHECK_INT(tg_dim(tg_zeros_like(x), 1), 1);
  CHECK_STRING(tg_device(tg_zeros_like(tg_to(x, "REF"))), "REF");
}

TEST(creation_arange) {
  CHECK_VALUES(tg_arange(0, 5), 0, 0, 0, 1, 2, 3, 4);
  CHECK_VALUES(tg_arange(2, 5), 0, 0, 2, 3, 4);
  CHECK_VALUES(tg_arange(5, 0, .step = -2), 0, 0, 5, 3, 1);
  CHECK_VALUES(tg_arange(0, 1, .step = 0.25), 0, 0, 0, 0.25, 0.5, 0.75);
  CHECK_VALUES(tg_arange(0, 3, .dtype = TG_INT32), 0, 0, 0, 1, 2);
  CHECK_VALUES(tg_arange(-1.5, 1), 0, 0, -1.5, -0.5, 0.5);
  CHECK_INT(tg_numel(tg_arange(3, 3)), 0);
  CHECK_INT(tg_numel(tg_arange(3, 0)), 0);
  CHECK_OK(tg_realize(tg_arange(3, 0)));
  CHECK_CLOSE(test_at(tg_arange(0, 100001, .dtype = TG_INT64), 100000), 100000, 0, 0);
}

TEST(creation_eye) {
  CHECK_VALUES(tg_eye(3), 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1);
  CHECK_VALUES(tg_eye(1, .dtype = TG_UINT8), 0, 0, 1);
  CHECK_INT(tg_numel(tg_eye(0)), 0);
  CHECK_VALUES(tg_dot(tg_eye(2), tg_reshape(tg_arange(0, 4), 2, 2)), 0, 0, 0, 1, 2, 3);
}

/* Memory whose contents are not set, of which only an expression is left. */
TEST(creation_empty_dropped) {
  tg_scope *scope = tg_scope_open();
  tg_tensor *all = tg_ge(tg_arange(0, 5000), 0), *rest = tg_empty(TG_SHAPE(5000));
  tg_tensor *y = tg_retain(tg_where(all, tg_ones(TG_SHAPE(5000)), rest));
  tg_scope_close(scope);
  CHECK_CLOSE(tg_item(tg_sum(y)), 5000, 0, 0);
  tg_release(y);
}

TEST(creation_empty) {
  tg_tensor *x = tg_empty(TG_SHAPE(4, 5), .dtype = TG_UINT8);
  CHECK_OK(tg_realize(x));
  CHECK_INT(tg_nbytes(x), 20);
  CHECK_OK(tg_realize(tg_add(x, 1)));
}

TEST(creation_scalar) {
  tg_tensor *x = tg_scalar(2.5);
  CHECK_INT(tg_ndim(x), 0);
  CHECK_INT(tg_numel(x), 1);
  CHECK_CLOSE(tg_item(x), 2.5, 0, 0);
  CHECK_INT(tg_item_int(tg_scalar(-3, .dtype = TG_INT64)), -3);
  CHECK_CLOSE(tg_item(tg_scalar(0.1, .dtype = TG_FLOAT64)), 0.1, 0, 0);
  CHECK_CLOSE(tg_item(tg_scalar(0.1)), (double)0.1f, 0, 0);
}

TEST(creation_from_copies) {
  float data[6] = {1, 2, 3, 4, 5, 6};
  tg_tensor *x = tg_from(data, TG_SHAPE(2, 3), .dtype = TG_FLOAT32);
  data[0] = 99;
  CHECK(tg_is_realized(x));
  CHECK_VALUES(x, 0, 0, 1, 2, 3, 4, 5, 6);
  CHECK_VALUES(tg_from(data, TG_SHAPE(2)), 0, 0, 99, 2); /* of the default dtype */
  const bool flags[3] = {true, false, true};
  CHECK_VALUES(tg_from(flags, TG_SHAPE(3), .dtype = TG_BOOL), 0, 0, 1, 0, 1);
  CHECK_INT(tg_numel(tg_from(NULL, TG_SHAPE(0, 2))), 0);
  CHECK_CLOSE(tg_item(tg_from(data + 4, TG_SCALAR)), 5, 0, 0);
}

static void count_release(void *data, void *user) {
  (void)data;
  ++*(int *)user;
}

TEST(creation_borrow) {
  int released = 0;
  float data[3] = {1, 2, 3};
  TG_SCOPE {
    tg_tensor *x = tg_borrow(data, TG_SHAPE(3), TG_FLOAT32, count_release, &released);
    CHECK(tg_data(x) == data);
    tg_tensor *y = tg_mul(x, 2);
    tg_assign(x, tg_add(x, 1)); /* does not write into data */
    CHECK_VALUES(x, 0, 0, 2, 3, 4);
    CHECK_CLOSE(data[0], 1, 0, 0);
    CHECK_VALUES(y, 0, 0, 2, 4, 6);
  }
  CHECK_INT(released, 1);
  TG_SCOPE { CHECK_VALUES(tg_borrow(data, TG_SHAPE(3), TG_FLOAT32, NULL, NULL), 0, 0, 1, 2, 3); }
  released = 0;
  CHECK_NULL(tg_borrow(NULL, TG_SHAPE(3), TG_FLOAT32, count_release, &released), "tg_borrow");
  CHECK_INT(released, 0);
}

/* ---- assign */

TEST(data_assign_memory_does_not_grow) {
  tg_tensor *x = tg_realize(tg_zeros(TG_SHAPE(1000)));
  tg_counters before = tg_get_counters();
  for (int i = 0; i < 50; i++) TG_SCOPE {
    tg_assign(x, tg_add(x, 1));
    CHECK_OK(tg_realize(x));
  }
  tg_counters after = tg_get_counters();
  CHECK_INT(after.buffers, before.buffers);
  CHECK_INT(after.nodes, before.nodes);
  CHECK_CLOSE(test_at(x, 999), 50, 0, 0);
}

/* ---- gradients set by hand, dropout */

TEST(data_gradient_states) {
  tg_tensor *x = tg_ones(TG_SHAPE(2));
  CHECK_INT(tg_requires_grad(x), TG_GRAD_UNSET);
  CHECK(tg_set_requires_grad(x, TG_GRAD_YES) == x);
  CHECK(tg_grad(x) == NULL && tg_error() == NULL);
  CHECK_OK(tg_backward(tg_sum(tg_mul(x, 2))) == 0 && tg_backward(tg_sum(tg_mul(x, 3))) == 0);
  CHECK_VALUES(tg_grad(x), 0, 0, 5, 5); /* they add up */
  CHECK(tg_set_grad(x, tg_full(TG_SHAPE(2), 7)) == x);
  CHECK_VALUES(tg_grad(x), 0, 0, 7, 7);
  CHECK(tg_set_grad(x, NULL) == x && tg_grad(x) == NULL);
  CHECK_NULL(tg_set_grad(x, tg_ones(TG_SHAPE(3))), "(3,)");
  TG_NO_GRAD { CHECK(tg_requires_grad(tg_mul(x, 2)) != TG_GRAD_YES); }
  CHECK_INT(tg_requires_grad(tg_mul(x, 2)), TG_GRAD_YES);
}

TEST(data_dropout) {
  tg_tensor *x = tg_ones(TG_SHAPE(10000));
  CHECK_CLOSE(tg_item(tg_sum(tg_dropout(x, 0.5))), 10000, 0, 0); /* not training */
  bool old = tg_set_training(true);
  tg_manual_seed(1);
  tg_tensor *y = tg_realize(tg_dropout(x, 0.25));
  double zeros = tg_item(tg_sum(tg_eq(y, 0)));
  CHECK(zeros > 2300 && zeros < 2700);
  CHECK_CLOSE(tg_item(tg_max(y)), 1 / 0.75, 0, 1e-6);
  CHECK_CLOSE(tg_item(tg_sum(tg_dropout(x, 0))), 10000, 0, 0);
  CHECK_CLOSE(tg_item(tg_sum(tg_dropout(x, 1))), 0, 0, 0);
  tg_tensor *p = tg_ones(TG_SHAPE(100), .requires_grad = true), *d = tg_dropout(p, 0.5);
  CHECK_OK(tg_backward(tg_sum(d)) == 0);
  CHECK_CLOSE(tg_item(tg_sum(tg_ne(tg_grad(p), d))), 0, 0, 0); /* the same elements */
  tg_set_training(old);
}
