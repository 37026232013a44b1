/* What everything stands on: scopes and owners, errors, the state of a thread,
 * the allocator, conversions of 16-bit floats, promotion. */
#include <pthread.h>

#include "test.h"

#include "base/base.h"

static int64_t alive(void) { return tg_get_counters().tensors; }

/* ---- scopes */

TEST(scope_frees_what_was_made_inside) {
  int64_t before = alive();
  TG_SCOPE {
    tg_tensor *x = tg_ones(TG_SHAPE(2));
    CHECK_OK(tg_add(tg_mul(x, x), 1));
    CHECK_INT(alive(), before + 4); /* x, the product, the number, the sum; nothing between */
  }
  CHECK_INT(alive(), before);
}

TEST(scope_keep_moves_one_out) {
  int64_t before = alive();
  tg_tensor *kept = NULL;
  TG_SCOPE {
    TG_SCOPE {
      kept = tg_keep(tg_ones(TG_SHAPE(2)));
      tg_ones(TG_SHAPE(2));
    }
    CHECK_INT(alive(), before + 1);
    CHECK_VALUES(kept, 0, 0, 1, 1);
    CHECK(tg_keep(NULL) == NULL);
  }
  CHECK_INT(alive(), before);
}

static tg_tensor *leaves_early(int how) {
  for (int i = 0; i < 3; i++) {
    TG_SCOPE {
      tg_tensor *x = tg_ones(TG_SHAPE(2));
      if (how == 0) return tg_keep(x);
      if (how == 1) break; /* leaves the scope, which is a loop */
      TG_SCOPE {
        tg_ones(TG_SHAPE(3));
        if (how == 2) goto out;
      }
    }
  }
out:
  return NULL;
}

TEST(scope_left_early) {
  int64_t before = alive();
  TG_SCOPE {
    for (int how = 0; how < 4; how++) leaves_early(how);
    CHECK_INT(alive(), before + 1);
  }
  CHECK_INT(alive(), before);
}

TEST(scope_closes_what_is_open_inside) {
  int64_t before = alive();
  tg_scope *outer = tg_scope_open(), *inner = tg_scope_open();
  tg_ones(TG_SHAPE(2));
  tg_scope_close(outer);
  tg_scope_close(inner); /* gone already: nothing happens */
  tg_scope_close(NULL);
  CHECK_INT(alive(), before);
}

TEST(scope_owners_outside) {
  int64_t before = alive();
  tg_tensor *owned = NULL, *shared = NULL;
  TG_SCOPE {
    owned = tg_take_ownership(tg_ones(TG_SHAPE(2)));
    shared = tg_retain(tg_zeros(TG_SHAPE(2)));
  }
  CHECK_INT(alive(), before + 2);
  CHECK_VALUES(tg_add(owned, shared), 0, 0, 1, 1);
  CHECK(tg_take_ownership(owned) == owned); /* a second owner */
  tg_release(owned);
  CHECK_OK(tg_realize(owned));
  tg_release(owned);
  tg_release(shared);
  tg_release(NULL);
  CHECK_INT(alive(), before + 1); /* the sum */
}

/* ---- errors */

TEST(error_keeps_the_first_message) {
  CHECK(tg_error() == NULL);
  tg_fail("first %d", 1);
  tg_fail("second");
  CHECK_STRING(tg_error(), "first 1");
  CHECK(tg_error() == NULL);
  tg_fail("third");
  CHECK_STRING(tg_error(), "third");
  tg_fail("fourth");
  tg_clear_error();
  CHECK(tg_error() == NULL);
}

TEST(error_of_a_whole_expression) {
  tg_tensor *x = tg_ones(TG_SHAPE(2, 3)), *w = tg_ones(TG_SHAPE(4));
  tg_tensor *loss = tg_sum(tg_mul(tg_reshape(tg_add(x, w), 6), 2));
  CHECK_NULL(loss, "tg_add: shapes (2, 3) and (4,) cannot be broadcast: axis 1 is 3 and 4");
  CHECK(isnan(tg_item(NULL)));
  CHECK_STRING(tg_error(), "tg_item: got NULL instead of a tensor; check the call that should "
                           "have made it");
}

TEST(error_of_any_length) {
  char text[3000];
  memset(text, 'x', sizeof text - 1);
  text[sizeof text - 1] = 0;
  tg_fail("%s", text);
  CHECK_INT(strlen(tg_error()), 1023);
}

/* ---- the state of a thread */

TEST(state_default_dtype) {
  CHECK_INT(tg_default_dtype(), TG_FLOAT32);
  CHECK_INT(tg_set_default_dtype(TG_FLOAT64), 0);
  CHECK_INT(tg_dtype_of(tg_ones(TG_SHAPE(1))), TG_FLOAT64);
  CHECK_INT(tg_dtype_of(tg_add(tg_ones(TG_SHAPE(1), .dtype = TG_INT8), 0.5)), TG_FLOAT64);
  CHECK_FAILS(tg_set_default_dtype(TG_INT32), "int32");
  CHECK_INT(tg_set_default_dtype(TG_FLOAT32), 0);
}

TEST(state_device) {
  const char *before = tg_default_device();
  CHECK_INT(tg_set_default_device("REF"), 0);
  CHECK_STRING(tg_device(tg_ones(TG_SHAPE(1))), "REF");
  CHECK_FAILS(tg_set_default_device("TPU"), "TPU");
  CHECK_NULL(tg_ones(TG_SHAPE(1), .device = "TPU"), "tg_device_name");
  CHECK_INT(tg_set_default_device(before), 0);
  CHECK(tg_device_name(0) && !tg_device_name(-1) && !tg_device_name(99));
}

TEST(state_modes) {
  CHECK(!tg_training() && !tg_set_training(true) && tg_set_training(false));
  TG_NO_GRAD {
    CHECK(tg_no_grad());
    TG_NO_GRAD { CHECK(tg_no_grad()); }
    CHECK(tg_no_grad());
  }
  CHECK(!tg_no_grad());
}

/* A thread that ends without closing or shutting anything down. */
static void *careless(void *result) {
  tg_scope_open();
  tg_tensor *x = tg_full(TG_SHAPE(100), 2, .requires_grad = true);
  tg_backward(tg_sum(tg_mul(x, x)));
  *(double *)result = test_at(tg_grad(x), 99);
  tg_add(x, tg_ones(TG_SHAPE(3)));
  return NULL;
}

TEST(state_goes_with_the_thread) {
  tg_counters before = tg_get_counters();
  double result = 0;
  pthread_t thread;
  CHECK_INT(pthread_create(&thread, NULL, careless, &result), 0);
  pthread_join(thread, NULL);
  CHECK_CLOSE(result, 4, 0, 0);
  CHECK_INT(alive(), before.tensors);
  CHECK_INT(tg_get_counters().nodes, before.nodes);
  CHECK(tg_error() == NULL); /* its error was its own */
}

TEST(allocator_cannot_change_now) {
  CHECK_OK(tg_ones(TG_SHAPE(1)));
  CHECK_FAILS(tg_set_allocator(NULL), "bytes are allocated");
}

TEST(memory_is_aligned_and_counted) {
  tg_counters before = tg_get_counters();
  void *data = tg_alloc_data(100), *plain = tg_alloc_zero(10);
  CHECK(data && (uintptr_t)data % 64 == 0);
  CHECK(plain && (uintptr_t)plain % 16 == 0);
  CHECK(tg_get_counters().bytes >= before.bytes + 110);
  tg_free_data(data);
  tg_free(plain);
  CHECK_INT(tg_get_counters().bytes, before.bytes);
  CHECK_NULL(tg_alloc(SIZE_MAX - 8), "out of memory");
}

/* ---- dtypes */

TEST(half_round_trip_of_every_value) {
  int wrong = 0;
  for (int i = 0; i < 65536; i++) {
    uint16_t bits = (uint16_t)i;
    float half = tg_half_to_float(bits), bfloat = tg_bfloat_to_float(bits);
    wrong += !isnan(half) && tg_float_to_half(half) != bits;
    wrong += !isnan(bfloat) && tg_float_to_bfloat(bfloat) != bits;
    wrong += isnan(half) && !isnan(tg_half_to_float(tg_float_to_half(half)));
    wrong += isnan(bfloat) && !isnan(tg_bfloat_to_float(tg_float_to_bfloat(bfloat)));
  }
  CHECK_INT(wrong, 0);
}

/* Between neighbours a value goes to the nearer one, the middle to the even. */
TEST(half_rounds_to_nearest_even) {
  int wrong = 0;
  for (uint16_t bits = 0; bits < 0x7bff; bits++) {
    float low = tg_half_to_float(bits), high = tg_half_to_float((uint16_t)(bits + 1));
    float middle = low + (high - low) / 2;
    wrong += tg_float_to_half(middle) != (bits & 1 ? bits + 1 : bits);
    wrong += tg_float_to_half(nextafterf(middle, 0)) != bits;
    wrong += tg_float_to_half(nextafterf(middle, 1e9f)) != bits + 1;
    wrong += tg_float_to_half(-middle) != (0x8000 | (bits & 1 ? bits + 1 : bits));
  }
  CHECK_INT(wrong, 0);
  CHECK_INT(tg_float_to_half(65519.996f), 0x7bff);
  CHECK_INT(tg_float_to_half(65520.0f), 0x7c00);
  CHECK_INT(tg_float_to_half(-INFINITY), 0xfc00);
  CHECK_INT(tg_float_to_bfloat(1.00390625f), 0x3f80); /* the middle: to the even */
  CHECK_INT(tg_float_to_bfloat(1.01171875f), 0x3f82);
  CHECK_INT(tg_float_to_bfloat(3.4e38f), 0x7f80);
}

TEST(promotion_of_all_pairs) {
  for (int a = TG_BOOL; a < TG_DTYPE_COUNT; a++)
    for (int b = TG_BOOL; b < TG_DTYPE_COUNT; b++) {
      bool halves = (a == TG_FLOAT16 && b == TG_BFLOAT16) || (b == TG_FLOAT16 && a == TG_BFLOAT16);
      int expected = halves ? TG_FLOAT32 : a > b ? a : b;
      CHECK_INT(tg_promote((tg_dtype)a, (tg_dtype)b), expected);
      tg_tensor *x = tg_ones(TG_SHAPE(1), .dtype = (tg_dtype)a);
      tg_tensor *y = tg_ones(TG_SHAPE(1), .dtype = (tg_dtype)b);
      CHECK_INT(tg_dtype_of(tg_mul(x, y)), expected);
      CHECK_INT(tg_dtype_of(tg_lt(x, y)), TG_BOOL);
      CHECK(tg_is_floating_point(tg_div(x, y)));
    }
}

TEST(promotion_of_numbers) {
  for (int d = TG_INT8; d < TG_DTYPE_COUNT; d++) {
    tg_tensor *x = tg_ones(TG_SHAPE(1), .dtype = (tg_dtype)d);
    bool is_float = tg_dtype_is_float((tg_dtype)d);
    CHECK_INT(tg_dtype_of(tg_add(x, 1)), d);
    CHECK_INT(tg_dtype_of(tg_add(2, x)), d);
    CHECK_INT(tg_dtype_of(tg_mul(x, 0.5)), is_float ? d : TG_FLOAT32);
    CHECK_INT(tg_dtype_of(tg_where(tg_lt(x, 1), x, 3)), d);
  }
  tg_tensor *b = tg_ones(TG_SHAPE(1), .dtype = TG_BOOL);
  CHECK_INT(tg_dtype_of(tg_add(b, 1)), TG_INT64);
  CHECK_INT(tg_dtype_of(tg_add(b, b)), TG_BOOL);
  CHECK_NULL(tg_sub(b, b), "tg_ne");
  tg_tensor *d = tg_ones(TG_SHAPE(1), .dtype = TG_FLOAT64);
  CHECK_CLOSE(tg_item(tg_mul(d, 0.1)), 0.1, 0, 0); /* not through float32 */
  tg_tensor *u = tg_full(TG_SHAPE(1), 255, .dtype = TG_UINT8);
  CHECK_VALUES(tg_eq(u, -1), 0, 0, 0);
  CHECK_VALUES(tg_lt(u, 300), 0, 0, 1);
  CHECK_VALUES(tg_add(u, 1), 0, 0, 0);
  CHECK_CLOSE(tg_item(tg_whole(INT64_C(1) << 62)), 0x1p62, 0, 0);
}
