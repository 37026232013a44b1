/* Random tensors: the generator against its authors' test vectors, that a seed
 * repeats and draws differ, and that each distribution has the moments and the
 * spread over bins that it should. The seeds are fixed, so a bound of five
 * standard deviations cannot fail by chance.
 */
#include "test.h"

#include <stdint.h>

#define MANY 40000

/* ---- Threefry2x32-20 once more, after the paper's formulas */

static uint32_t rotated(uint32_t x, int by) { return x << by | x >> (32 - by); }

static uint64_t threefry(uint64_t counter, uint64_t key) {
  static const int turns[2][4] = {{13, 15, 26, 6}, {17, 29, 16, 24}};
  uint32_t k[3] = {(uint32_t)key, (uint32_t)(key >> 32), 0};
  k[2] = k[0] ^ k[1] ^ UINT32_C(0x1bd11bda);
  uint32_t x = (uint32_t)counter + k[0], y = (uint32_t)(counter >> 32) + k[1];
  for (uint32_t round = 0; round < 20; round++) {
    x += y;
    y = rotated(y, turns[round / 4 % 2][round % 4]) ^ x;
    if (round % 4 != 3) continue;
    uint32_t block = round / 4 + 1;
    x += k[block % 3];
    y += k[(block + 1) % 3] + block;
  }
  return (uint64_t)y << 32 | x;
}

TEST(random_threefry_vectors) {
  /* Random123's known answers: zeros, ones, digits of pi. */
  CHECK(threefry(0, 0) == UINT64_C(0x99ba4efe6b200159));
  CHECK(threefry(UINT64_MAX, UINT64_MAX) == UINT64_C(0xbb002be71cb996fc));
  CHECK(threefry(UINT64_C(0x85a308d3243f6a88), UINT64_C(0x0370734413198a2e)) ==
        UINT64_C(0x483df7a0c4923a9c));
  tg_manual_seed(UINT64_C(0x0370734413198a2e));
  tg_tensor *t = tg_rand(TG_SHAPE(100));
  tg_tensor *next = tg_rand(TG_SHAPE(5), .dtype = TG_FLOAT64);
  for (int i = 0; i < 100; i++) {
    uint64_t bits = threefry((uint64_t)i, UINT64_C(0x0370734413198a2e));
    CHECK_CLOSE(test_at(t, i), (double)(bits & 0xffffff) * 0x1p-24, 0, 0);
  }
  for (int i = 0; i < 5; i++) {
    uint64_t bits = threefry((uint64_t)i + 100, UINT64_C(0x0370734413198a2e));
    CHECK_CLOSE(test_at(next, i), (double)(bits & ((UINT64_C(1) << 53) - 1)) * 0x1p-53, 0, 0);
  }
}

/* ---- repeating */

static bool equal(tg_tensor *a, tg_tensor *b) {
  const void *x = tg_data(a), *y = tg_data(b);
  return x && y && tg_nbytes(a) == tg_nbytes(b) && !memcmp(x, y, (size_t)tg_nbytes(a));
}

TEST(random_seed_repeats) {
  tg_manual_seed(5);
  tg_tensor *a = tg_rand(TG_SHAPE(1000)), *b = tg_rand(TG_SHAPE(1000)), *n = tg_randn(TG_SHAPE(9));
  tg_manual_seed(5);
  tg_tensor *both = tg_rand(TG_SHAPE(2, 1000));
  tg_manual_seed(5);
  tg_tensor *a2 = tg_rand(TG_SHAPE(1000)), *b2 = tg_rand(TG_SHAPE(1000));
  tg_tensor *n2 = tg_randn(TG_SHAPE(9));
  CHECK(equal(n2, n)); /* the order of computing does not matter, that of making does */
  CHECK(equal(b2, b));
  CHECK(equal(a2, a));
  CHECK(!equal(a, b));
  CHECK(equal(tg_contiguous(tg_index(both, TG_AT(0))), a));
  CHECK(equal(tg_contiguous(tg_index(both, TG_AT(1))), b));
  tg_manual_seed(6);
  CHECK(!equal(tg_rand(TG_SHAPE(1000)), a));
}

TEST(random_same_on_every_device) {
  for (int dtype = TG_FLOAT16; dtype <= TG_FLOAT64; dtype++) {
    tg_manual_seed(11);
    tg_tensor *cpu = tg_rand(TG_SHAPE(777), .device = "CPU", .dtype = (tg_dtype)dtype);
    tg_manual_seed(11);
    tg_tensor *ref = tg_rand(TG_SHAPE(777), .device = "REF", .dtype = (tg_dtype)dtype);
    CHECK(equal(cpu, ref));
  }
}

/* A tensor draws once, however often it is used. */
TEST(random_is_drawn_once) {
  tg_tensor *x = tg_rand(TG_SHAPE(50)), *twice = tg_mul(x, 2);
  tg_realize(twice);
  for (int i = 0; i < 50; i++) CHECK_CLOSE(test_at(twice, i), 2 * test_at(x, i), 0, 0);
}

/* ---- distributions */

typedef struct moments {
  double least, most, mean, var, skew, fourth;
} moments;

static moments measure(tg_tensor *t) {
  moments m = {INFINITY, -INFINITY, 0, 0, 0, 0};
  tg_tensor *wide = tg_cast(t, TG_FLOAT64);
  const double *x = tg_data(wide);
  int64_t n = x ? tg_numel(wide) : 0;
  for (int64_t i = 0; i < n; i++) {
    if (!(x[i] >= m.least)) m.least = x[i]; /* a NaN stays visible */
    if (!(x[i] <= m.most)) m.most = x[i];
    m.mean += x[i] / (double)n;
  }
  for (int64_t i = 0; i < n; i++) {
    double d = x[i] - m.mean;
    m.var += d * d / (double)n;
    m.skew += d * d * d / (double)n;
    m.fourth += d * d * d * d / (double)n;
  }
  return m;
}

static void check_uniform(tg_tensor *t, double low, double high) {
  moments m = measure(t);
  double width = high - low, error = 5 / sqrt((double)tg_numel(t));
  CHECK(m.least >= low && m.least < low + width / 50);
  CHECK(m.most < high && m.most > high - width / 50);
  CHECK_CLOSE(m.mean, (low + high) / 2, error * width * 0.289, 0);
  CHECK_CLOSE(m.var, width * width / 12, error * width * width * 0.0745, 0);
}

static void check_normal(tg_tensor *t, double mean, double std, double step) {
  moments m = measure(t);
  double error = 5 / sqrt((double)tg_numel(t));
  CHECK_CLOSE(m.mean, mean, error * std + step, 0);
  CHECK_CLOSE(m.var, std * std, error * 1.5 * std * std + step, 0);
  CHECK_CLOSE(m.skew / pow(std, 3), 0, error * 4 + step, 0);
  CHECK_CLOSE(m.fourth / pow(std, 4), 3, error * 10 + step, 0);
  CHECK(m.least > mean - 9 * std && m.most < mean + 9 * std); /* and so never log 0 */
}

TEST(random_uniform) {
  tg_manual_seed(21);
  check_uniform(tg_rand(TG_SHAPE(MANY)), 0, 1);
  check_uniform(tg_rand(TG_SHAPE(200, 200), .dtype = TG_FLOAT64), 0, 1);
  check_uniform(tg_rand(TG_SHAPE(MANY), .dtype = TG_FLOAT16), 0, 1);
  check_uniform(tg_rand(TG_SHAPE(MANY), .dtype = TG_BFLOAT16), 0, 1);
  CHECK(measure(tg_rand(TG_SHAPE(MANY), .dtype = TG_FLOAT16)).most < 1);
  check_uniform(tg_uniform(TG_SHAPE(MANY)), -1, 1);
  check_uniform(tg_uniform(TG_SHAPE(MANY), .low = 2, .high = 5), 2, 5);
  check_uniform(tg_uniform(TG_SHAPE(MANY), .dtype = TG_FLOAT16), -1, 1);
  check_uniform(tg_uniform(TG_SHAPE(MANY), .dtype = TG_BFLOAT16, .low = 2, .high = 5), 2, 5);
  check_uniform(tg_uniform(TG_SHAPE(MANY), .low = -5, .high = TG_ZERO), -5, 0);
  check_uniform(tg_scaled_uniform(TG_SHAPE(100, 400)), -1 / 200.0, 1 / 200.0);
  check_uniform(tg_glorot_uniform(TG_SHAPE(100, 20, 20)), -sqrt(6 / 500.0), sqrt(6 / 500.0));
  double bound = sqrt(3) * sqrt(2 / (1 + 0.0001)) / 20;
  check_uniform(tg_kaiming_uniform(TG_SHAPE(100, 20, 20)), -bound, bound);
  bound = sqrt(3) * sqrt(2 / (1 + 25.0)) / 20;
  check_uniform(tg_kaiming_uniform(TG_SHAPE(100, 400), .a = 5), -bound, bound);
}

TEST(random_normal) {
  tg_manual_seed(22);
  check_normal(tg_randn(TG_SHAPE(MANY)), 0, 1, 0);
  check_normal(tg_randn(TG_SHAPE(MANY), .dtype = TG_FLOAT64), 0, 1, 0);
  check_normal(tg_randn(TG_SHAPE(MANY), .dtype = TG_FLOAT16), 0, 1, 1e-3);
  check_normal(tg_randn(TG_SHAPE(MANY), .dtype = TG_BFLOAT16), 0, 1, 1e-2);
  check_normal(tg_normal(TG_SHAPE(MANY), .mean = 5, .std = 0.25), 5, 0.25, 1e-4);
  check_normal(tg_kaiming_normal(TG_SHAPE(100, 400)), 0, sqrt(2 / 1.0001) / 20, 1e-4);
  tg_tensor *still = tg_normal(TG_SHAPE(3), .mean = 2, .std = TG_ZERO);
  CHECK_VALUES(still, 0, 0, 2, 2, 2);
}

/* Every number as often as the others: chi squared, 5 standard deviations. */
static void check_even(tg_tensor *t, int64_t low, int64_t high) {
  double counts[64] = {0}, n = (double)tg_numel(t), bins = (double)(high - low), chi = 0;
  tg_tensor *wide = tg_cast(t, TG_INT64);
  const int64_t *x = tg_data(wide);
  for (int64_t i = 0; x && i < tg_numel(t); i++) {
    CHECK(x[i] >= low && x[i] < high);
    if (x[i] >= low && x[i] < high) counts[x[i] - low]++;
  }
  for (int i = 0; i < (int)bins; i++)
    chi += (counts[i] - n / bins) * (counts[i] - n / bins) / (n / bins);
  CHECK_CLOSE(chi, bins - 1, 5 * sqrt(2 * (bins - 1)), 0);
}

TEST(random_whole_numbers) {
  tg_manual_seed(23);
  check_even(tg_randint(TG_SHAPE(5000)), 0, 10);
  check_even(tg_randint(TG_SHAPE(5000), .low = -3, .high = 4), -3, 4);
  check_even(tg_randint(TG_SHAPE(50, 100), .low = 200, .high = 256, .dtype = TG_UINT8), 200, 256);
  check_even(tg_randint(TG_SHAPE(5000), .low = -20, .high = TG_ZERO, .dtype = TG_INT16), -20, 0);
  check_even(tg_randint(TG_SHAPE(5000), .high = 2, .dtype = TG_BOOL), 0, 2);
  CHECK_INT(tg_dtype_of(tg_randint(TG_SHAPE(2))), TG_INT64);
  tg_tensor *wide = tg_randint(TG_SHAPE(1000), .low = -0x1p52, .high = 0x1p52);
  check_uniform(wide, -0x1p52, 0x1p52);
  CHECK_INT(tg_item_int(tg_randint(TG_SCALAR, .low = 7, .high = 8)), 7);
}

TEST(random_multinomial) {
  tg_manual_seed(24);
  tg_tensor *weights = tg_from(((float[]){1, 0, 3, 0, 0, 2, 2, 0}), TG_SHAPE(2, 4));
  tg_tensor *t = tg_multinomial(weights, 10000, .replacement = true);
  CHECK_INT(tg_dim(t, 0), 2);
  CHECK_INT(tg_dim(t, 1), 10000);
  CHECK_INT(tg_dtype_of(t), TG_INT64);
  double counts[2][4] = {{0}};
  const int64_t *x = tg_data(t);
  for (int64_t i = 0; x && i < 20000; i++)
    if (x[i] >= 0 && x[i] < 4) counts[i / 10000][x[i]]++;
  CHECK_CLOSE(counts[0][0], 2500, 217, 0);
  CHECK_CLOSE(counts[0][2], 7500, 217, 0);
  CHECK_CLOSE(counts[1][1], 5000, 250, 0);
  CHECK_CLOSE(counts[1][2], 5000, 250, 0);
  weights = tg_from(((int32_t[]){0, 0, 5}), TG_SHAPE(3), .dtype = TG_INT32);
  CHECK_INT(tg_item_int(tg_multinomial(weights, 1)), 2);
}

/* ---- dropout draws too */

TEST(random_dropout) {
  tg_manual_seed(25);
  tg_tensor *x = tg_set_requires_grad(tg_ones(TG_SHAPE(100, 100)), TG_GRAD_YES);
  CHECK(tg_dropout(x, 0.5) == x); /* not training */
  bool old = tg_set_training(true);
  tg_tensor *t = tg_dropout(x, 0.25), *none = tg_dropout(x, 1);
  tg_set_training(old);
  moments m = measure(t);
  CHECK_CLOSE(m.mean, 1, 0.03, 0);
  CHECK_CLOSE(m.least, 0, 0, 0);
  CHECK_CLOSE(m.most, 4 / 3.0, 0, 1e-6);
  CHECK_CLOSE(measure(none).most, 0, 0, 0);
  CHECK(tg_backward(tg_sum(t)) == 0);
  CHECK(equal(tg_contiguous(tg_grad(x)), tg_contiguous(t))); /* the same elements live */
  CHECK_NULL(tg_dropout(x, 1.5), "p = 1.5 is no probability");
  CHECK_NULL(tg_dropout(x, -0.1), "p = -0.1 is no probability");
  CHECK_NULL(tg_dropout(x, NAN), "is no probability");
}

/* ---- shapes, options, errors */

TEST(random_shapes_and_options) {
  CHECK_INT(tg_numel(tg_rand(TG_SHAPE(0, 3))), 0);
  CHECK_OK(tg_realize(tg_rand(TG_SHAPE(0, 3))));
  CHECK_OK(tg_realize(tg_kaiming_uniform(TG_SHAPE(3, 0))));
  CHECK_OK(tg_realize(tg_randn(TG_SHAPE(0))));
  CHECK_INT(tg_ndim(tg_randn(TG_SCALAR)), 0);
  tg_tensor *x = tg_rand(TG_SHAPE(3), .requires_grad = TG_GRAD_YES, .name = "weight");
  CHECK_STRING(tg_name(x), "weight");
  CHECK_INT(tg_requires_grad(x), TG_GRAD_YES);
  CHECK(tg_backward(tg_sum(tg_square(x))) == 0);
  for (int i = 0; i < 3; i++) CHECK_CLOSE(test_at(tg_grad(x), i), 2 * test_at(x, i), 0, 1e-6);
}

TEST(random_errors) {
  CHECK_NULL(tg_rand(TG_SHAPE(3), .dtype = TG_INT32), "makes floats, not int32");
  CHECK_NULL(tg_rand(TG_SHAPE(-3)), "negative size");
  CHECK_NULL(tg_rand(TG_SHAPE(3), .device = "MOON"), "MOON");
  CHECK_NULL(tg_uniform(TG_SHAPE(3), .low = 2, .high = 1), "low 2 and high 1");
  CHECK_NULL(tg_normal(TG_SHAPE(3), .std = -1), "std -1");
  CHECK_NULL(tg_randint(TG_SHAPE(3), .low = 5, .high = 5), "low 5 and high 5");
  CHECK_NULL(tg_randint(TG_SHAPE(3), .low = 0.5, .high = 5), "whole numbers");
  CHECK_NULL(tg_randint(TG_SHAPE(3), .high = 300, .dtype = TG_UINT8), "uint8 does not hold");
  CHECK_NULL(tg_randint(TG_SHAPE(3), .dtype = TG_INT64, .requires_grad = TG_GRAD_YES), "gradient");
  CHECK_NULL(tg_kaiming_uniform(TG_SCALAR), "at least one axis");
  CHECK_NULL(tg_multinomial(tg_ones(TG_SHAPE(3)), 2), "without replacement");
  CHECK_NULL(tg_multinomial(tg_ones(TG_SHAPE(3)), 0), "draw at least 1");
  CHECK_NULL(tg_multinomial(tg_ones(TG_SHAPE(1, 2, 3)), 1), "[C] or [N, C]");
}
