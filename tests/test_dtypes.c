/* The 13 dtypes: casts of edge values between all pairs against PyTorch's
 * results, arithmetic of all pairs, integers that wrap, bitcasts, 16-bit floats
 * inside expressions, and tensors without elements. test_base.c has the rules
 * of promotion and rounding themselves. */
#include "oracle/oracle.h"

#include "base/base.h"

#define EACH_DTYPE(d) for (tg_dtype d = TG_BOOL; d < TG_DTYPE_COUNT; d++)

/* ---- casts */

#define ROOM 128

/* The numbers as elements of that dtype; uint64 by its bits, like int64. */
static tg_tensor *numbers(const oracle_number *n, int64_t count, tg_dtype dtype) {
  int64_t whole[ROOM];
  double real[ROOM];
  for (int64_t i = 0; i < count; i++) {
    whole[i] = n[i].i;
    real[i] = n[i].f;
  }
  TG_SCOPE {
    bool is_float = tg_dtype_is_float(dtype);
    tg_tensor *t = is_float ? tg_from(real, TG_SHAPE(count), .dtype = TG_FLOAT64)
                            : tg_from(whole, TG_SHAPE(count), .dtype = TG_INT64);
    return tg_keep(tg_realize(tg_contiguous(tg_cast(t, dtype))));
  }
  return NULL;
}

/* Float elements are compared as double, the others as int64. */
static void check_cast(const oracle_number *from, const oracle_number *want, int64_t count,
                       tg_dtype a, tg_dtype b) {
  double real[ROOM];
  int64_t whole[ROOM];
  tg_tensor *t = tg_cast(numbers(from, count, a), b);
  bool is_float = tg_dtype_is_float(b);
  int failed = is_float ? tg_to_host(tg_cast(t, TG_FLOAT64), real, sizeof *real * (size_t)count)
                        : tg_to_host(tg_cast(t, TG_INT64), whole, sizeof *whole * (size_t)count);
  test_check(!failed, __FILE__, __LINE__, "%s to %s: %s", tg_dtype_name(a), tg_dtype_name(b),
             failed ? test_message() : "");
  for (int64_t i = 0; !failed && i < count; i++) {
    bool same = !is_float            ? whole[i] == want[i].i
                : isnan(want[i].f)   ? isnan(real[i])
                                     : real[i] == want[i].f && signbit(real[i]) == signbit(want[i].f);
    test_check(same, __FILE__, __LINE__, "%s to %s of %.17g (%lld): %.17g, not %.17g",
               tg_dtype_name(a), tg_dtype_name(b), from[i].f, (long long)from[i].i,
               is_float ? real[i] : (double)whole[i], is_float ? want[i].f : (double)want[i].i);
  }
}

/* Once with all values in one vector, once one by one. */
static void check_casts(tg_dtype a, tg_dtype b) {
  oracle_number from[ROOM] = {0}, want[ROOM] = {0};
  int64_t n = 0;
  for (int i = 0; i < oracle_cast_count && n < ROOM; i++) {
    if ((tg_dtype)oracle_casts[i].from != a) continue;
    from[n] = oracle_casts[i].value;
    want[n++] = oracle_casts[i].result[b - 1];
  }
  CHECK(n > 1 && n < ROOM);
  TG_SCOPE {
    check_cast(from, want, n, a, b);
    for (int64_t i = 0; i < n; i += 5) check_cast(from + i, want + i, 1, a, b);
  }
}

TEST(dtype_cast_bool) { EACH_DTYPE(b) check_casts(TG_BOOL, b); }
TEST(dtype_cast_int8) { EACH_DTYPE(b) check_casts(TG_INT8, b); }
TEST(dtype_cast_uint8) { EACH_DTYPE(b) check_casts(TG_UINT8, b); }
TEST(dtype_cast_int16) { EACH_DTYPE(b) check_casts(TG_INT16, b); }
TEST(dtype_cast_uint16) { EACH_DTYPE(b) check_casts(TG_UINT16, b); }
TEST(dtype_cast_int32) { EACH_DTYPE(b) check_casts(TG_INT32, b); }
TEST(dtype_cast_uint32) { EACH_DTYPE(b) check_casts(TG_UINT32, b); }
TEST(dtype_cast_int64) { EACH_DTYPE(b) check_casts(TG_INT64, b); }
TEST(dtype_cast_uint64) { EACH_DTYPE(b) check_casts(TG_UINT64, b); }
TEST(dtype_cast_float16) { EACH_DTYPE(b) check_casts(TG_FLOAT16, b); }
TEST(dtype_cast_bfloat16) { EACH_DTYPE(b) check_casts(TG_BFLOAT16, b); }
TEST(dtype_cast_float32) { EACH_DTYPE(b) check_casts(TG_FLOAT32, b); }
TEST(dtype_cast_float64) { EACH_DTYPE(b) check_casts(TG_FLOAT64, b); }

/* A cast inside a kernel is the same as one of its own. */
TEST(dtype_cast_inside_an_expression) {
  const float data[4] = {1.75f, -1.75f, 300.5f, 2.5f};
  tg_tensor *x = tg_from(data, TG_SHAPE(4), .dtype = TG_FLOAT32);
  CHECK_VALUES(tg_mul(tg_cast(tg_add(x, 0.5), TG_INT32), 2), 0, 0, 4, -2, 602, 6);
  CHECK_VALUES(tg_add(tg_cast(x, TG_UINT8), 1), 0, 0, 2, 0, 45, 3);
  CHECK_VALUES(tg_cast(tg_cast(x, TG_BFLOAT16), TG_FLOAT32), 0, 0, 1.75, -1.75, 300, 2.5);
  CHECK_VALUES(tg_cast(tg_cast(tg_mul(x, 1000), TG_FLOAT16), TG_INT64), 0, 0, 1750, -1750, INT64_MIN, 2500);
  CHECK_INT(tg_dtype_of(tg_half(x)), TG_FLOAT16);
  CHECK_INT(tg_dtype_of(tg_float(tg_half(x))), TG_FLOAT32);
  CHECK(tg_cast(x, TG_FLOAT32) != NULL);
}

/* ---- arithmetic of all pairs: 3 and 2 of each */

TEST(dtype_arithmetic_of_all_pairs) {
  EACH_DTYPE(a) EACH_DTYPE(b) TG_SCOPE {
    double x = a == TG_BOOL ? 1 : 3, y = b == TG_BOOL ? 1 : 2;
    tg_tensor *s = tg_full(TG_SHAPE(5), x, .dtype = a), *t = tg_full(TG_SHAPE(5), y, .dtype = b);
    bool both = a == TG_BOOL && b == TG_BOOL;
    CHECK_VALUES(tg_add(s, t), 0, 0, both ? 1 : x + y, both ? 1 : x + y, both ? 1 : x + y,
                 both ? 1 : x + y, both ? 1 : x + y);
    CHECK_CLOSE(test_at(tg_mul(s, t), 4), x * y, 0, 0);
    CHECK_CLOSE(test_at(tg_maximum(s, t), 4), x > y ? x : y, 0, 0);
    CHECK_CLOSE(test_at(tg_minimum(s, t), 4), x < y ? x : y, 0, 0);
    CHECK_CLOSE(test_at(tg_div(s, t), 4), x / y, 0, 1e-7);
    CHECK_CLOSE(test_at(tg_lt(s, t), 4), x < y, 0, 0);
    CHECK_CLOSE(test_at(tg_ge(s, t), 4), x >= y, 0, 0);
    CHECK_CLOSE(test_at(tg_eq(s, t), 4), x == y, 0, 0);
    CHECK_CLOSE(test_at(tg_where(tg_gt(s, t), s, t), 4), x > y ? x : y, 0, 0);
    CHECK_INT(tg_dtype_of(tg_cat(TG_LIST(s, t))), tg_promote(a, b));
  }
}

TEST(dtype_reductions) {
  EACH_DTYPE(d) TG_SCOPE {
    tg_tensor *t = tg_ones(TG_SHAPE(3, 7), .dtype = d);
    bool is_float = tg_dtype_is_float(d);
    CHECK_INT(tg_dtype_of(tg_sum(t)), is_float ? d : TG_INT64);
    CHECK_CLOSE(tg_item(tg_sum(t)), 21, 0, 0);
    CHECK_INT(tg_dtype_of(tg_max(t)), d);
    CHECK_CLOSE(tg_item(tg_max(t)), 1, 0, 0);
    CHECK_CLOSE(tg_item(tg_min(t)), 1, 0, 0);
    CHECK_INT(tg_dtype_of(tg_mean(t)), is_float ? d : TG_FLOAT32);
    CHECK_CLOSE(tg_item(tg_mean(t)), 1, 0, 1e-7);
    CHECK_INT(tg_dtype_of(tg_cumsum(t, 0)), is_float ? d : TG_INT64);
    CHECK_CLOSE(test_at(tg_cumsum(t, 0), 20), 3, 0, 0);
    CHECK_INT(tg_dtype_of(tg_argmax(t)), TG_INT64);
    CHECK_INT(tg_dtype_of(tg_exp(t)), is_float ? d : TG_FLOAT32);
  }
}

TEST(dtype_extremes_reduce) {
  const int64_t low[2] = {INT64_MIN, INT64_MIN + 1}, high[2] = {INT64_MAX, INT64_MAX - 1};
  const uint64_t huge[2] = {UINT64_MAX, 1};
  tg_tensor *l = tg_from(low, TG_SHAPE(2), .dtype = TG_INT64);
  tg_tensor *h = tg_from(high, TG_SHAPE(2), .dtype = TG_INT64);
  tg_tensor *u = tg_from(huge, TG_SHAPE(2), .dtype = TG_UINT64);
  CHECK_INT(tg_item_int(tg_max(l)), INT64_MIN + 1);
  CHECK_INT(tg_item_int(tg_min(l)), INT64_MIN);
  CHECK_INT(tg_item_int(tg_min(h)), INT64_MAX - 1);
  CHECK_INT(tg_item_int(tg_argmax(l)), 1);
  CHECK_INT(tg_item_int(tg_argmin(h)), 1);
  CHECK(tg_item_int(tg_max(u)) == -1); /* UINT64_MAX by its bits */
  CHECK_INT(tg_item_int(tg_min(u)), 1);
  CHECK_VALUES(tg_lt(u, 5), 0, 0, 0, 1);
  const uint8_t bytes[3] = {200, 100, 250};
  tg_tensor *b = tg_from(bytes, TG_SHAPE(3), .dtype = TG_UINT8);
  CHECK_INT(tg_item_int(tg_max(b)), 250);
  CHECK_INT(tg_item_int(tg_argmin(b)), 1);
  CHECK_INT(tg_item_int(tg_sum(b)), 550);
}

/* ---- integers wrap around */

TEST(dtype_integers_wrap) {
  const int8_t a[3] = {127, -128, 100};
  const uint8_t b[3] = {255, 0, 200};
  const int32_t c[2] = {INT32_MAX, INT32_MIN};
  const int64_t d[2] = {INT64_MAX, INT64_MIN};
  tg_tensor *x = tg_from(a, TG_SHAPE(3), .dtype = TG_INT8);
  tg_tensor *y = tg_from(b, TG_SHAPE(3), .dtype = TG_UINT8);
  tg_tensor *z = tg_from(c, TG_SHAPE(2), .dtype = TG_INT32);
  tg_tensor *w = tg_from(d, TG_SHAPE(2), .dtype = TG_INT64);
  CHECK_VALUES(tg_add(x, 1), 0, 0, -128, -127, 101);
  CHECK_VALUES(tg_neg(x), 0, 0, -127, -128, -100);
  CHECK_VALUES(tg_mul(x, x), 0, 0, 1, 0, 16);
  CHECK_VALUES(tg_add(y, 1), 0, 0, 0, 1, 201);
  CHECK_VALUES(tg_sub(0, y), 0, 0, 1, 0, 56);
  CHECK_VALUES(tg_add(z, z), 0, 0, -2, 0);
  CHECK_VALUES(tg_mul(z, 2), 0, 0, -2, 0);
  CHECK_INT(tg_item_int(tg_index(tg_add(w, 1), TG_AT(0))), INT64_MIN);
  CHECK_INT(tg_item_int(tg_index(tg_neg(w), TG_AT(1))), INT64_MIN);
  CHECK_INT(tg_item_int(tg_index(tg_sub(w, 1), TG_AT(1))), INT64_MAX);
  CHECK_VALUES(tg_abs(x), 0, 0, 127, -128, 100);
}

TEST(dtype_integer_division_is_true_division) {
  const int32_t a[3] = {7, -7, 0};
  tg_tensor *x = tg_from(a, TG_SHAPE(3), .dtype = TG_INT32);
  tg_tensor *q = tg_div(x, 2);
  CHECK_INT(tg_dtype_of(q), TG_FLOAT32);
  CHECK_VALUES(q, 0, 0, 3.5, -3.5, 0);
  CHECK_VALUES(tg_div(1, x), 0, 1e-7, 1.0 / 7, -1.0 / 7, INFINITY);
}

/* ---- bitcast */

TEST(dtype_bitcast) {
  const float f[3] = {1, -2, 0.5f};
  tg_tensor *x = tg_from(f, TG_SHAPE(3), .dtype = TG_FLOAT32);
  CHECK_VALUES(tg_bitcast(x, TG_UINT32), 0, 0, 0x3f800000, 0xc0000000, 0x3f000000);
  CHECK_VALUES(tg_bitcast(tg_bitcast(x, TG_INT32), TG_FLOAT32), 0, 0, 1, -2, 0.5);
  CHECK_VALUES(tg_bitcast(tg_mul(x, 2), TG_INT32), 0, 0, 0x40000000, -1065353216, 0x3f800000);
  CHECK_VALUES(tg_bitcast(tg_half(x), TG_UINT16), 0, 0, 0x3c00, 0xc000, 0x3800);
  CHECK_VALUES(tg_bitcast(tg_cast(x, TG_BFLOAT16), TG_INT16), 0, 0, 0x3f80, (int16_t)0xc000, 0x3f00);
  tg_tensor *d = tg_cast(x, TG_FLOAT64);
  CHECK_INT(tg_item_int(tg_index(tg_bitcast(d, TG_INT64), TG_AT(0))), 0x3ff0000000000000);
  CHECK_VALUES(tg_bitcast(tg_full(TG_SHAPE(2), 255, .dtype = TG_UINT8), TG_INT8), 0, 0, -1, -1);
  CHECK_NULL(tg_bitcast(x, TG_INT64), "float32");
  CHECK_NULL(tg_bitcast(x, (tg_dtype)99), "bitcast");
}

/* ---- 16-bit floats compute in float32 and round when stored */

TEST(dtype_half_arithmetic) {
  tg_tensor *big = tg_full(TG_SHAPE(2), 60000, .dtype = TG_FLOAT16);
  CHECK_VALUES(tg_realize(tg_add(big, big)), 0, 0, INFINITY, INFINITY);
  tg_tensor *one = tg_ones(TG_SHAPE(4096), .dtype = TG_FLOAT16);
  CHECK_CLOSE(tg_item(tg_sum(one)), 4096, 0, 0); /* 2048 + 1 is 2048 in float16 */
  tg_tensor *bone = tg_ones(TG_SHAPE(4096), .dtype = TG_BFLOAT16);
  CHECK_CLOSE(tg_item(tg_sum(bone)), 4096, 0, 0);
  tg_tensor *third = tg_div(tg_ones(TG_SHAPE(1), .dtype = TG_FLOAT16), 3);
  CHECK_INT(tg_dtype_of(third), TG_FLOAT16);
  CHECK_VALUES(tg_realize(third), 0, 0, 0.333251953125);
  tg_tensor *bthird = tg_div(tg_ones(TG_SHAPE(1), .dtype = TG_BFLOAT16), 3);
  CHECK_VALUES(tg_realize(bthird), 0, 0, 0.333984375);
  CHECK_INT(tg_nbytes(big), 4);
}

/* ---- no elements */

TEST(dtype_no_elements) {
  EACH_DTYPE(d) TG_SCOPE {
    tg_tensor *t = tg_zeros(TG_SHAPE(2, 0, 3), .dtype = d);
    CHECK_OK(tg_realize(t));
    CHECK_INT(tg_numel(t), 0);
    CHECK_INT(tg_nbytes(t), 0);
    CHECK_OK(tg_to_host(t, NULL, 0) == 0);
    CHECK_OK(tg_realize(tg_add(t, t)));
    CHECK_CLOSE(tg_item(tg_sum(t)), 0, 0, 0);
    CHECK_VALUES(tg_sum(t, .axis = TG_INTS(1)), 0, 0, 0, 0, 0, 0, 0, 0);
    CHECK_INT(tg_numel(tg_realize(tg_cat(TG_LIST(t, t), .axis = 1))), 0);
    CHECK_INT(tg_numel(tg_realize(tg_cast(t, TG_FLOAT16))), 0);
    CHECK_INT(tg_numel(tg_realize(tg_permute(t, 2, 1, 0))), 0);
    CHECK(isnan(tg_item(tg_mean(t))));
  }
}

TEST(dtype_names_and_sizes) {
  static const char *const names[] = {"default", "bool", "int8", "uint8", "int16", "uint16", "int32",
                                      "uint32", "int64", "uint64", "float16", "bfloat16", "float32",
                                      "float64"};
  static const int sizes[] = {0, 1, 1, 1, 2, 2, 4, 4, 8, 8, 2, 2, 4, 8};
  EACH_DTYPE(d) {
    tg_tensor *t = tg_zeros(TG_SHAPE(3), .dtype = d);
    CHECK_STRING(tg_dtype_name(d), names[d]);
    CHECK_INT(tg_dtype_size(d), sizes[d]);
    CHECK_INT(tg_element_size(t), sizes[d]);
    CHECK_INT(tg_nbytes(t), 3 * sizes[d]);
    CHECK_INT(tg_is_floating_point(t), d >= TG_FLOAT16);
  }
}
