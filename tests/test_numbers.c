/* What a value is must not depend on how it is computed: non-finite numbers under
 * masks, constants counted in narrow dtypes, indices in the padding, integers that wrap,
 * the sign of zero, and 16-bit floats that are rounded at every operation.
 *
 * Each case runs on the built-in kernels, on generated C and on the reference, lazily
 * and with what lies between realized. Expected values are loops in double here, or
 * written down where they are known.
 */
#if !defined(_DEFAULT_SOURCE)
#define _DEFAULT_SOURCE
#endif
#include "test.h"

#include <stdint.h>

static bool realizes; /* what lies between */
static tg_tensor *step(tg_tensor *t) {
  if (realizes) CHECK_OK(tg_realize(t));
  return t;
}

/* Plans know nothing of TG_JIT, so they go with tg_shutdown before it changes. */
static void in_each_way(void (*run)(void)) {
  static const char *const device[] = {"CPU", "CPU", "REF"}, *const jit[] = {"off", "sync", "off"};
  const char *now = tg_default_device(), *mode = getenv("TG_JIT");
  char *saved = mode ? strdup(mode) : NULL;
  for (int way = 0; way < 6; way++) {
    realizes = way >= 3;
    tg_shutdown();
    setenv("TG_JIT", jit[way % 3], 1);
    CHECK_INT(tg_set_default_device(device[way % 3]), 0);
    TG_SCOPE { run(); }
  }
  tg_shutdown();
  if (saved) setenv("TG_JIT", saved, 1);
  else unsetenv("TG_JIT");
  free(saved);
  tg_set_default_device(now);
}

/* All elements of t; 0 of them if it cannot be computed. */
enum { MOST = 1 << 17 };
static double number[MOST];
static int64_t read_all(tg_tensor *t) {
  tg_tensor *wide = tg_cast(t, TG_FLOAT64);
  int64_t n = wide ? tg_numel(wide) : 0;
  return n <= MOST && n && tg_to_host(wide, number, (size_t)n * sizeof *number) == 0 ? n : 0;
}
static double only(tg_tensor *t) { return read_all(t) == 1 ? number[0] : (double)NAN; }

/* Equal, NaN to NaN, and zeros of one sign. */
static void same_numbers(tg_tensor *t, const double *want, int64_t count, const char *file,
                         int line) {
  int64_t n = read_all(t);
  test_check(n == count, file, line, "%lld elements, not %lld (%s)", (long long)n,
             (long long)count, test_message());
  for (int64_t i = 0; i < n && i < count; i++) {
    double x = number[i], y = want[i];
    bool same = isnan(y) ? isnan(x) : x == y && !signbit(x) == !signbit(y);
    test_check(same, file, line, "element %lld is %g, not %g", (long long)i, x, y);
  }
}
#define SAME(t, ...)                                                                    \
  same_numbers((t), (const double[]){__VA_ARGS__},                                      \
               (int64_t)(sizeof((double[]){__VA_ARGS__}) / sizeof(double)), __FILE__, __LINE__)

static tg_tensor *row_of(int64_t n, const float *x) { return tg_from(x, TG_SHAPE(n)); }
static tg_tensor *bools(int64_t n, const float *x) { return tg_cast(row_of(n, x), TG_BOOL); }
static const float inf = INFINITY;

/* ---- masks around products */

static void masked_sums(void) {
  const float c[] = {1, 0, 0}, x[] = {1, 2, 3}, y[] = {1, inf, NAN}, p[] = {0, 0.5f, 0.5f};
  tg_tensor *product = step(tg_mul(row_of(3, x), row_of(3, y)));
  tg_tensor *masked = step(tg_where(bools(3, c), product, 0));
  SAME(tg_sum(masked), 1);
  SAME(tg_sum(tg_mul(tg_reshape(masked, 3, 1), 2)), 2);
  SAME(tg_sum(tg_sum(tg_reshape(masked, 1, 3), .axis = TG_INTS(1))), 1);
  tg_tensor *q = row_of(3, p), *part = step(tg_mul(q, step(tg_log(q))));
  tg_tensor *entropy = tg_sum(tg_where(tg_gt(q, 0), part, 0));
  CHECK_CLOSE(test_at(entropy, 0), -0.69314718, 1e-6, 0);
}
TEST(numbers_masked_sums) { in_each_way(masked_sums); }

/* sum over k of where(mask[m, k], x[m, k] y[k, n], 0): y is not finite where the mask is
 * shut, then also where it is open; `by` 1: the mask hangs on y's side. */
enum { M = 20, N = 24, K = 18 };
static float left[M * K], right[K * N], open[K * N];
static double summed[M * N];

static void fill_product(int by, bool spoils) {
  int rows = by ? N : M;
  for (int i = 0; i < M * K; i++) left[i] = (float)(i * 37 % 23 - 11) / 8;
  for (int i = 0; i < K * N; i++) right[i] = (float)(i * 29 % 19 - 9) / 4;
  for (int i = 0; i < rows * K; i++) open[i] = i % K != 5 && i * 13 % 7 > 1;
  float *other = by ? left : right;
  for (int i = 0; i < (by ? M : N); i++) other[by ? i * K + 5 : 5 * N + i] = i % 2 ? inf : NAN;
  if (spoils) other[by ? 3 * K + 6 : 6 * N + 3] = -inf;
  for (int m = 0; m < M; m++)
    for (int n = 0; n < N; n++) {
      double sum = 0;
      for (int k = 0; k < K; k++)
        if (open[(by ? n : m) * K + k] != 0) sum += (double)left[m * K + k] * (double)right[k * N + n];
      summed[m * N + n] = sum;
    }
}

static void masked_product(int by, bool spoils) {
  fill_product(by, spoils);
  tg_tensor *x = tg_reshape(row_of(M * K, left), M, 1, K);
  tg_tensor *y = tg_reshape(tg_transpose(tg_from(right, TG_SHAPE(K, N)), 0, 1), 1, N, K);
  tg_tensor *mask = tg_reshape(bools((by ? N : M) * K, open), by ? 1 : M, by ? N : 1, K);
  int64_t n = read_all(tg_sum(tg_where(mask, step(tg_mul(x, y)), 0), .axis = TG_INTS(-1)));
  CHECK_INT(n, M * N);
  for (int64_t i = 0; i < n; i++) {
    double want = summed[i], got = number[i];
    bool same = isfinite(want) ? fabs(got - want) < 1e-4 : isnan(want) ? isnan(got) : got == want;
    if (!same) test_check(false, __FILE__, __LINE__, "[%d]: %g, not %g", (int)i, got, want);
  }
}
static void masked_products(void) {
  for (int i = 0; i < 4; i++) masked_product(i % 2, i / 2);
}
TEST(numbers_masked_products) { in_each_way(masked_products); }

/* Weights that are not finite: the padding of a convolution is a factor 0 and spoils its
 * edge, as in PyTorch; a transposed convolution and the gradient by the image have no
 * such factor: what lies outside is no term. */
static void check_all(tg_tensor *t, double want) {
  int64_t n = read_all(t), good = 0;
  for (int64_t i = 0; i < n; i++) good += number[i] == want;
  test_check(n && good == n, __FILE__, __LINE__, "%lld of %lld are %g", (long long)good,
             (long long)n, want);
}

static tg_tensor *with_slope(tg_tensor *t) { return tg_set_requires_grad(t, TG_GRAD_YES); }

static void convolved_edges(void) {
  const double infinite = (double)INFINITY;
  tg_tensor *x = with_slope(tg_ones(TG_SHAPE(2, 3, 6, 5)));
  tg_tensor *w = tg_full(TG_SHAPE(4, 3, 3, 3), infinite), *turned = tg_transpose(w, 0, 1);
  CHECK_INT(read_all(tg_conv2d(x, w, .padding = TG_INTS(1))), 2 * 4 * 6 * 5);
  for (int i = 0; i < 6; i++)
    for (int j = 0; j < 5; j++) {
      bool edge = i == 0 || i == 5 || j == 0 || j == 4;
      CHECK(edge ? isnan(number[i * 5 + j]) : number[i * 5 + j] == infinite);
    }
  for (int64_t stride = 1; stride < 4; stride++) {
    tg_tensor *y = tg_conv2d(x, step(w), .stride = TG_INTS(stride));
    CHECK_INT(tg_backward(tg_sum(y)), 0);
  }
  check_all(tg_shrink(tg_grad(x), 0, 2, 0, 3, 0, 4, 0, 5), infinite);
  check_all(tg_conv_transpose2d(tg_ones(TG_SHAPE(2, 3, 6, 5)), step(turned)), infinite);
  tg_tensor *far = tg_conv_transpose2d(tg_ones(TG_SHAPE(2, 3, 6, 5)), turned, .stride = TG_INTS(4));
  check_all(tg_shrink(far, 0, 2, 0, 4, 3, 4, 0, 19), 0);
  check_all(tg_shrink(far, 0, 2, 0, 4, 0, 3, 0, 3), infinite);
}
TEST(numbers_convolved_edges) { in_each_way(convolved_edges); }

/* Convolutions large enough for Winograd's method, and with so few filters that lanes
 * run along the sum: both would spread what is not finite. `spoiled`: where it is. */
static tg_tensor *spoiled_numbers(tg_shape shape, bool spoiled) {
  int64_t n = 1;
  for (int i = 0; i < shape.ndim; i++) n *= shape.dim[i];
  float *x = malloc((size_t)n * sizeof *x);
  for (int64_t i = 0; x && i < n; i++) x[i] = (float)(i * 37 % 23 - 11) / 8;
  for (int64_t i = n / 3; x && spoiled && i < n; i += n / 2) x[i] = i % 2 ? inf : -inf;
  tg_tensor *t = x ? with_slope(tg_from(x, shape)) : NULL;
  free(x);
  return t;
}

static int64_t convolve(int filters, int channels, int spoiled, double *out) {
  tg_tensor *x = spoiled_numbers(TG_SHAPE(2, channels, 24, 24), spoiled == 0);
  tg_tensor *w = spoiled_numbers(TG_SHAPE(filters, channels, 3, 3), spoiled == 1);
  tg_tensor *g = spoiled_numbers(TG_SHAPE(2, filters, 24, 24), spoiled == 2);
  tg_tensor *y = tg_conv2d(x, w, .padding = TG_INTS(1));
  CHECK_INT(tg_backward(tg_sum(tg_mul(y, tg_detach(g)))), 0);
  tg_tensor *all[] = {y, tg_grad(x), tg_grad(w)};
  int64_t count = 0;
  for (int i = 0; i < 3; i++) {
    int64_t n = read_all(all[i]);
    memcpy(out + count, number, (size_t)n * sizeof *out);
    count += n;
  }
  return count;
}

static void check_convolved(int filters, int channels, int spoiled) {
  static double want[MOST], got[MOST];
  tg_set_default_device("REF");
  int64_t n = convolve(filters, channels, spoiled, want), bad = 0;
  tg_set_default_device("CPU");
  CHECK_INT(convolve(filters, channels, spoiled, got), n);
  for (int64_t i = 0; i < n; i++) {
    bool near = fabs(got[i] - want[i]) <= 1e-3 * (1 + fabs(want[i]));
    bad += !(isnan(want[i]) ? isnan(got[i]) : isinf(want[i]) ? got[i] == want[i] : near);
  }
  CHECK(n > 0);
  test_check(bad == 0, __FILE__, __LINE__, "%d filters, %d channels, spoiled %d: %lld of %lld",
             filters, channels, spoiled, (long long)bad, (long long)n);
}
static void convolved_numbers(void) {
  for (int i = 0; i < 4 && !realizes && !strcmp(tg_default_device(), "CPU"); i++) {
    check_convolved(16, 16, i);
    check_convolved(4, 1, i);
  }
}
TEST(numbers_convolved) { in_each_way(convolved_numbers); }

/* ---- constants times counts */

static tg_tensor *many(double f, tg_dtype dtype, int64_t n) {
  return tg_full(TG_SHAPE(n), f, .dtype = dtype);
}
static tg_tensor *spread_over(double f, tg_dtype dtype, int64_t n) {
  return tg_expand(tg_reshape(step(tg_scalar(f, .dtype = dtype)), 1), n);
}

static void counted(void) {
  const int64_t n = 100000;
  for (int i = 0; i < 2; i++) {
    tg_tensor *(*of)(double, tg_dtype, int64_t) = i ? spread_over : many;
    CHECK_CLOSE(only(tg_sum(of(1e-4, TG_FLOAT16, n))), 10, 0.01, 0);
    CHECK_CLOSE(only(tg_mean(of(3, TG_FLOAT16, n))), 3, 0, 0);
    CHECK_CLOSE(only(tg_sum(of(1, TG_BFLOAT16, 1001))), 1000, 0, 0); /* 8 bits */
    CHECK_CLOSE(only(tg_mean(of(3, TG_BFLOAT16, n + 1))), 3, 0, 0);
    CHECK_CLOSE(only(tg_sum(of(2.5, TG_FLOAT32, n))), 250000, 0, 0);
    CHECK_CLOSE(only(tg_sum(of(100, TG_INT8, n))), 1e7, 0, 0);
    tg_tensor *product = tg_mul(of(3, TG_INT8, n), of(7, TG_INT8, n));
    CHECK_CLOSE(only(tg_sum(product)), 21e5, 0, 0);
  }
  static const tg_dtype whole[] = {TG_BOOL, TG_INT8, TG_UINT8, TG_INT16, TG_UINT16, TG_INT32,
                                   TG_UINT32, TG_INT64, TG_UINT64};
  for (int i = 0; i < 9; i++) CHECK_INT(tg_item_int(tg_sum(many(1, whole[i], n))), n);
  CHECK_INT(read_all(tg_cumsum(many(1, TG_INT8, n), 0)), n);
  CHECK_CLOSE(number[n - 1], n, 0, 0);
  CHECK_INT(read_all(tg_cumsum(many(1e-4, TG_FLOAT16, n), 0)), n);
  CHECK_CLOSE(number[n - 1], 10, 0.01, 0);
}
TEST(numbers_counted_constants) { in_each_way(counted); }

static void counted_slopes(void) {
  static const tg_dtype narrow[] = {TG_FLOAT16, TG_BFLOAT16};
  for (int i = 0; i < 2; i++) {
    tg_tensor *bias = with_slope(tg_zeros(TG_SHAPE(1), .dtype = narrow[i]));
    tg_tensor *x = tg_zeros(TG_SHAPE(400, 250), .dtype = narrow[i]);
    CHECK_INT(tg_backward(tg_mean(tg_add(x, bias))), 0);
    CHECK_CLOSE(only(tg_grad(bias)), 1, 0.01, 0);
    tg_tensor *ties = with_slope(tg_zeros(TG_SHAPE(400, 250), .dtype = narrow[i]));
    CHECK_INT(tg_backward(tg_mul(tg_max(ties), 100)), 0);
    CHECK_CLOSE(only(tg_max(tg_grad(ties))), 1e-3, 1e-5, 0);
  }
}
TEST(numbers_counted_slopes) { in_each_way(counted_slopes); }

/* ---- indices in the padding */

static tg_tensor *whole_numbers(int64_t n, const int64_t *x) {
  return tg_from(x, TG_SHAPE(n), .dtype = TG_INT64);
}

static void padded_indices(void) {
  const int64_t one_two[] = {1, 2}, few[] = {1, 0};
  tg_tensor *table = with_slope(tg_reshape(tg_cast(tg_arange(0, 8), TG_FLOAT32), 2, 4));
  tg_tensor *at = tg_reshape(whole_numbers(2, one_two), 2, 1);
  tg_tensor *picked = step(tg_gather(table, at, 1));
  SAME(tg_pad(picked, TG_INTS(1, 0, 0, 0)), 0, 1, 6);
  SAME(tg_cat(TG_LIST(picked, picked), .axis = 0), 1, 6, 1, 6);
  SAME(tg_cumsum(picked, 0), 1, 7);
  SAME(tg_slice(picked, TG_INTS(-1, 3, 0, 1)), 0, 1, 6, 0);
  SAME(tg_pad(tg_flip(picked, 0), TG_INTS(0, 2, 1, 0)), 0, 6, 0, 1, 0, 0, 0, 0);
  CHECK_INT(tg_backward(tg_sum(tg_pad(picked, TG_INTS(1, 0, 0, 0)))), 0);
  SAME(tg_grad(table), 0, 1, 0, 0, 0, 0, 1, 0);
  tg_tensor *rows = step(tg_take(table, whole_numbers(2, few)));
  tg_tensor *image = tg_reshape(rows, 1, 1, 2, 4);
  tg_tensor *sums = tg_conv2d(image, tg_ones(TG_SHAPE(1, 1, 1, 3)), .padding = TG_INTS(1, 1, 0, 0));
  SAME(sums, 9, 15, 18, 13, 1, 3, 6, 5);
  SAME(tg_pad(tg_scatter(table, 1, at, tg_full(TG_SHAPE(2, 1), 9)), TG_INTS(1, 0, 0, 0)), 0, 0, 0,
       0, 0, 9, 2, 3, 4, 5, 9, 7);
}
TEST(numbers_padded_indices) { in_each_way(padded_indices); }

/* What is wrong is found, also where only a part of it is behind a gate; a position that
 * is cut off is not looked at. */
static void padded_mistakes(void) {
  const int64_t bad[] = {1, 7}, worse[] = {-9, 0};
  tg_tensor *table = tg_cast(tg_arange(0, 4), TG_FLOAT32);
  tg_tensor *picked = tg_take(table, whole_numbers(2, bad));
  CHECK_INT(read_all(tg_pad(picked, TG_INTS(1, 1))), 0);
  CHECK(strstr(test_message(), "index 7 is out of range"));
  tg_clear_error();
  CHECK_INT(read_all(tg_cumsum(tg_take(table, whole_numbers(2, worse)), 0)), 0);
  CHECK(strstr(test_message(), "index -9 is out of range"));
  tg_clear_error();
  if (!realizes) SAME(tg_pad(tg_shrink(picked, 0, 1), TG_INTS(1, 0)), 0, 1);
  tg_tensor *same = step(tg_ones_like(tg_reshape(table, 2, 2))); /* needs no memory */
  CHECK_INT(read_all(tg_gather(same, tg_reshape(whole_numbers(2, bad), 2, 1), 1)), 0);
  CHECK(strstr(test_message(), "index 7 is out of range"));
  tg_clear_error();
}
TEST(numbers_padded_mistakes) { in_each_way(padded_mistakes); }

/* An index out of range is found also where the value that it names folds away. */
static void folded_mistakes(void) {
  const int64_t numbers[] = {1, 2, 3}, wrong[] = {0, 7};
  tg_tensor *x = tg_from(numbers, TG_SHAPE(3), .dtype = TG_INT64);
  tg_tensor *taken = tg_take(x, tg_from(wrong, TG_SHAPE(2), .dtype = TG_INT64));
  tg_tensor *mistakes[] = {tg_mul(taken, 0), tg_sub(taken, taken), tg_add(taken, tg_mul(taken, -1)),
                           tg_where(tg_full(TG_SHAPE(2), 1, .dtype = TG_BOOL), 1, taken),
                           tg_mul(tg_take(tg_ones(TG_SHAPE(3)), tg_from(wrong, TG_SHAPE(2), .dtype = TG_INT64)), 2)};
  for (int i = 0; i < 5; i++) {
    CHECK(!tg_realize(mistakes[i]));
    CHECK_INT(tg_failure_kind(), TG_FAILURE_INDEX);
    tg_clear_error();
  }
}
/* Inside a maximum of which nothing is left there is nothing to check. */
static void folded_maximum(void) {
  tg_tensor *x = tg_ones(TG_SHAPE(2, 1)), *at = tg_zeros(TG_SHAPE(2, 2), .dtype = TG_INT64);
  tg_tensor *index = step(tg_add(at, step(tg_zeros(TG_SHAPE(2, 2), .dtype = TG_INT64))));
  tg_tensor *most = tg_max(tg_gather(step(x), tg_realize(index), 1), .axis = TG_INTS(0));
  tg_tensor *either = step(tg_full(TG_SHAPE(2), 3));
  SAME(tg_where(tg_gt(most, 0), either, either), 3, 3);
}
TEST(numbers_folded_maximum) { in_each_way(folded_maximum); }

/* Compilers know positions, and may be wrong about them. */
static void cropped_slopes(void) {
  for (int64_t n = 8; n <= 40; n += 8) {
    tg_tensor *x = tg_ones(TG_SHAPE(1, n), .dtype = TG_FLOAT64, .requires_grad = TG_GRAD_YES);
    CHECK_OK(tg_backward(tg_sum(tg_pad2d(x, TG_INTS(2, -1, 0, 2)))) == 0);
    CHECK_INT(read_all(tg_grad(x)), n);
    for (int64_t i = 0; i < n; i++) CHECK(number[i] == (i < n - 1));
  }
}
TEST(numbers_cropped_slopes) { in_each_way(cropped_slopes); }

TEST(numbers_folded_mistakes) { in_each_way(folded_mistakes); }

/* ---- integers that wrap */

static void wrapped(void) {
  const int64_t top[] = {INT64_MAX, INT64_MIN, 0, -1};
  tg_tensor *a = whole_numbers(4, top);
  SAME(tg_lt(step(tg_add(a, 1)), a), 1, 0, 0, 0);
  SAME(tg_gt(step(tg_sub(a, 1)), a), 0, 1, 0, 0);
  SAME(tg_lt(step(tg_mul(a, 2)), step(tg_add(a, a))), 0, 0, 0, 0);
  tg_tensor *i = tg_cast(tg_arange(0, 4), TG_INT64);
  tg_tensor *steep = step(tg_mul(i, INT64_C(1) << 62)); /* 0, 2^62, -2^63, -2^62 */
  SAME(tg_lt(steep, step(tg_add(steep, 1))), 1, 1, 1, 1);
  SAME(tg_lt(steep, 0), 0, 0, 1, 1);
  SAME(tg_eq(tg_sum(steep), INT64_MIN), 1);
  SAME(tg_eq(tg_sum(tg_shrink(steep, 0, 3)), step(tg_neg(tg_sum(tg_shrink(steep, 3, 4))))), 0);
}
TEST(numbers_wrapped_integers) { in_each_way(wrapped); }

/* Positions fit 32 bits and are computed so, but not what is made of them or meets them. */
static void small_and_large(void) {
  const int64_t numbers[] = {(INT64_C(1) << 32) + 3, INT64_MIN, -(INT64_C(1) << 32), INT32_MAX, 3};
  tg_tensor *i = tg_arange(0, 1000000, .dtype = TG_INT64), *few = tg_arange(0, 37, .dtype = TG_INT64);
  CHECK(only(tg_sum(i)) == 499999500000.0);
  CHECK(only(tg_sum(tg_mul(i, i))) == 333332833333500000.0);
  CHECK(only(tg_sum(tg_mul(tg_reshape(i, 1000, 1000), -3), .axis = TG_INTS(0, 1))) == -1499998500000.0);
  CHECK(only(tg_max(tg_mul(i, 5000))) == 4999995000.0);
  for (int k = 0; k < 5; k++) {
    tg_tensor *large = tg_from(&numbers[k], TG_SHAPE(1), .dtype = TG_INT64);
    tg_tensor *wide = tg_expand(step(large), 37);
    double below = k == 1 || k == 2 ? 0 : k == 4 ? 3 : 37, equal = k == 4;
    CHECK(only(tg_sum(tg_cast(tg_lt(few, wide), TG_FLOAT32))) == below);
    CHECK(only(tg_sum(tg_cast(tg_gt(few, wide), TG_FLOAT32))) == 37 - below - equal);
    CHECK(only(tg_sum(tg_cast(tg_eq(few, wide), TG_FLOAT32))) == equal);
    CHECK(only(tg_sum(tg_cast(tg_eq(few, numbers[k]), TG_FLOAT32))) == equal);
    tg_tensor *either = tg_where(tg_lt(few, 36), few, wide);
    CHECK_INT(tg_item_int(tg_sum(tg_sub(either, wide))), (int64_t)(630 - 36 * (uint64_t)numbers[k]));
  }
}
TEST(numbers_small_and_large) { in_each_way(small_and_large); }

/* Bytes other than 0 and 1 as bools. */
static void bytes_as_bools(void) {
  const uint8_t bytes[] = {0, 1, 2, 128, 255};
  tg_tensor *b = tg_bitcast(step(tg_from(bytes, TG_SHAPE(5), .dtype = TG_UINT8)), TG_BOOL);
  SAME(tg_cast(step(b), TG_INT32), 0, 1, 1, 1, 1);
  SAME(tg_eq(b, tg_full(TG_SHAPE(5), 1, .dtype = TG_BOOL)), 0, 1, 1, 1, 1);
  SAME(tg_sum(b), 4);
}
TEST(numbers_bytes_as_bools) { in_each_way(bytes_as_bools); }

/* Bounds are known of both sides, but their difference leaves int64. */
static void far_apart(void) {
  const int64_t most = INT64_MAX - 5;
  tg_tensor *i = tg_arange(0, 5, .dtype = TG_INT64), *high = tg_add(i, most), *low = tg_add(i, -most);
  SAME(tg_lt(step(low), step(high)), 1, 1, 1, 1, 1);
  SAME(tg_lt(step(high), step(low)), 0, 0, 0, 0, 0);
}
TEST(numbers_far_apart) { in_each_way(far_apart); }

/* ---- the sign of zero */

static void signed_zeros(void) {
  const float c[] = {1, 0, 1, 0}, x[] = {2, 3, -0.0f, 0}, zero[] = {-0.0f};
  tg_tensor *mask = bools(4, c), *v = row_of(4, x);
  SAME(tg_where(mask, v, tg_scalar(-0.0)), 2, -0.0, -0.0, -0.0);
  SAME(tg_where(mask, v, 0), 2, 0, -0.0, 0);
  SAME(tg_where(mask, tg_scalar(-0.0), v), -0.0, 3, -0.0, 0);
  SAME(tg_mul(v, 1), 2, 3, -0.0, 0);
  SAME(tg_neg(step(tg_neg(v))), 2, 3, -0.0, 0);
  SAME(tg_add(v, tg_scalar(-0.0)), 2, 3, -0.0, 0);
  SAME(tg_pad(row_of(1, zero), TG_INTS(1, 1)), 0, -0.0, 0);
  SAME(tg_pad(row_of(1, x), TG_INTS(1, 1), .value = -0.0), -0.0, 2, -0.0);
  SAME(tg_slice(row_of(1, x), TG_INTS(-1, 2), .value = -0.0), -0.0, 2, -0.0);
  SAME(tg_cat(TG_LIST(row_of(1, zero), row_of(1, zero)), .axis = 0), -0.0, -0.0);
  SAME(tg_cast(tg_cast(v, TG_FLOAT16), TG_FLOAT32), 2, 3, -0.0, 0);
}
TEST(numbers_signed_zeros) { in_each_way(signed_zeros); }

/* Odd functions keep the sign of a zero, in vectors and in what is left of them. */
static void odd_functions(void) {
  tg_tensor *(*const odd[])(tg_tensor *) = {tg_sin, tg_tan, tg_tanh, tg_sinh, tg_asinh, tg_atanh,
                                            tg_relu, tg_sqrt, tg_trunc, tg_floor, tg_ceil, tg_softsign};
  float zeros[37], one[37];
  for (int i = 0; i < 37; i++) zeros[i] = i % 3 ? -0.0f : 0.0f;
  for (size_t f = 0; f < sizeof odd / sizeof *odd; f++)
    for (int wide = 0; wide < 2; wide++) {
      tg_tensor *x = step(tg_cast(row_of(37, zeros), wide ? TG_FLOAT64 : TG_FLOAT32));
      CHECK_OK(tg_to_host(tg_cast(odd[f](x), TG_FLOAT32), one, sizeof one) == 0);
      for (int i = 0; i < 37; i++)
        test_check(one[i] == 0 && !signbit(one[i]) == !signbit(zeros[i]), __FILE__, __LINE__,
                   "function %d of %g is %g", (int)f, (double)zeros[i], (double)one[i]);
    }
  SAME(tg_elu(row_of(2, zeros), 0.5), 0, -0.0);
  SAME(tg_celu(row_of(2, zeros), 2), 0, -0.0);
}
TEST(numbers_odd_functions) { in_each_way(odd_functions); }

/* A sum begins with +0.0, however it is made, and that of a constant too. */
static void zero_sums(void) {
  static float zeros[40 * 300];
  for (int i = 0; i < 40 * 300; i++) zeros[i] = -0.0f;
  for (int64_t n = 2; n <= 300; n += n < 40 ? 1 : 37) {
    tg_tensor *x = step(tg_from(zeros, TG_SHAPE(40, n)));
    tg_tensor *sums[] = {tg_sum(x), tg_sum(x, .axis = TG_INTS(0)), tg_sum(x, .axis = TG_INTS(1)),
                         tg_sum(tg_cast(x, TG_FLOAT64), .axis = TG_INTS(1)),
                         tg_sum(tg_full(TG_SHAPE(n), -0.0)), tg_dot(x, step(tg_ones(TG_SHAPE(n, 3))))};
    for (int k = 0; k < 6; k++) {
      int64_t count = read_all(sums[k]);
      CHECK(count > 0);
      for (int64_t i = 0; i < count; i++)
        test_check(number[i] == 0 && !signbit(number[i]), __FILE__, __LINE__,
                   "sum %d of %lld times -0.0 is %g", k, (long long)n, number[i]);
    }
  }
}
TEST(numbers_zero_sums) { in_each_way(zero_sums); }

/* ---- 16-bit floats */

static tg_tensor *narrow(double f, tg_dtype dtype) {
  return tg_realize(tg_full(TG_SHAPE(2), f, .dtype = dtype));
}

static void rounded(void) {
  const tg_dtype b = TG_BFLOAT16, h = TG_FLOAT16;
  tg_tensor *sum = step(tg_add(narrow(256, b), 1));
  SAME(tg_cast(sum, TG_FLOAT32), 256, 256);
  SAME(tg_sub(sum, 256), 0, 0);
  SAME(tg_sub(step(tg_add(narrow(2048, h), 1)), 2048), 0, 0);
  SAME(tg_mul(step(tg_mul(narrow(60000, h), 2)), 0.5), (double)INFINITY, (double)INFINITY);
  SAME(tg_sub(step(tg_div(narrow(1, b), 3)), 0.333984375), 0, 0);
  SAME(tg_square(step(tg_exp(narrow(1, b)))), 7.40625, 7.40625); /* 2.71875^2 = 7.3916 */
  SAME(tg_lt(narrow(256, b), step(tg_add(narrow(256, b), 1))), 0, 0);
  tg_tensor *whole = step(tg_sum(narrow(255, b))); /* 510 */
  SAME(tg_add(whole, 1), 512);
  /* A sum stays in float32 until its end, also one of sums that are rounded. */
  tg_tensor *rows = tg_reshape(spread_over(1, b, 600), 2, 300);
  tg_tensor *each = step(tg_sum(rows, .axis = TG_INTS(1)));
  SAME(each, 300, 300);
  SAME(tg_sum(step(tg_sum(tg_reshape(spread_over(1, b, 514), 2, 257), .axis = TG_INTS(1)))), 512);
}
TEST(numbers_rounded_halves) { in_each_way(rounded); }

/* Products of matrices and convolutions are one operation: nothing in them is rounded. */
static void rounded_products(void) {
  for (int i = 0; i < 2; i++) {
    tg_dtype dtype = i ? TG_BFLOAT16 : TG_FLOAT16;
    tg_tensor *x = with_slope(tg_full(TG_SHAPE(3, 999), 1.0 + 1.0 / 128, .dtype = dtype));
    tg_tensor *w = tg_full(TG_SHAPE(999, 2), 1.0 + 1.0 / 128, .dtype = dtype);
    tg_tensor *y = step(tg_dot(step(x), step(w))); /* 1014.67 */
    double want = i ? 1016 : 1014.5;
    SAME(y, want, want, want, want, want, want);
    CHECK_INT(tg_backward(tg_sum(y)), 0);
    CHECK(read_all(tg_grad(x)) == 3 * 999 && number[0] == (i ? 2.015625 : 2.015625));
    tg_tensor *image = tg_full(TG_SHAPE(1, 111, 3, 3), 1.0 + 1.0 / 128, .dtype = dtype);
    SAME(tg_conv2d(step(image), step(image)), want);
  }
}
TEST(numbers_rounded_products) { in_each_way(rounded_products); }
