/* bench: every work of the benchmark, through the public interface only.
 *
 *   bench quick [WORK ...]   a table of times, GFLOP/s, GB/s and percent of the peak
 *   bench list               the works, one a line: name, kind, sizes
 *   bench once WORK          first and second time in a new process, memory, compiler time
 *   bench serve              answers "run WORK N" on standard input with N times in
 *                            milliseconds, "info WORK" with its GFLOP and GB, "peak" with
 *                            what the machine can do, so that bench/run.py can let it take
 *                            turns with other frameworks
 *
 * Before the command: --tiny makes every size so small that a test can run all of it,
 * --blas lets OpenBLAS (loaded here, linked nowhere) do the matrix products.
 *
 * A work is made once, its inputs in memory, and then run again and again: what is
 * timed builds its graph anew each time, as a training loop does, and reads the loss.
 * Floating-point operations are those of the contractions, bytes those that must move
 * at least once, both counted from shapes while the work is made.
 */
#define _POSIX_C_SOURCE 200809L
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "teenygrad/teenygrad.h"

enum { PARAMS = 14, RUNS = 1000, EPOCH = 114 };

typedef struct work {
  const char *name, *kind;
  void (*make)(const struct work *);
  int (*run)(const struct work *); /* 0, or -1 with tg_error set */
  int64_t size[6];
} work;

/* What the current work holds, in a scope of its own. */
static struct {
  const work *work;
  tg_scope *scope;
  tg_tensor *x, *y, *grad, *k, *v, *param[PARAMS], *batch[EPOCH], *label[EPOCH];
  tg_optimizer *optimizer;
  tg_jit *jit;
  double flops, bytes;
} now;
static bool tiny;

static double seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* A batch, a number of rows, a length: what --tiny may shrink. */
static int64_t many(int64_t n) { return tiny && n > 4 ? 4 : n; }

static tg_tensor *leaf(tg_tensor *t) {
  return tg_set_requires_grad(tg_realize(t), TG_GRAD_YES);
}

/* ------------------------------------------------------- training steps -- */

static tg_tensor *labels(int64_t count, int64_t classes) {
  return tg_realize(tg_randint(TG_SHAPE(count), .high = (double)classes));
}

static int train(tg_tensor *out, tg_tensor *y) {
  tg_tensor *loss = tg_sparse_categorical_crossentropy(out, y);
  tg_zero_grad(now.optimizer);
  if (tg_backward(loss) != 0 || tg_step_with(now.optimizer, TG_LIST(loss)) != 0) return -1;
  double value = tg_item(loss);
  return value == value || tiny ? 0 : (tg_fail("the loss is not a number"), -1);
}

/* A weight, and what its contraction costs over `positions` outputs: forward, the
 * gradient by the weight and, where it is asked for, by the input. */
static tg_tensor *weight(tg_shape shape, int64_t positions, int contractions) {
  tg_tensor *w = tg_scaled_uniform(shape);
  now.flops += 2.0 * (double)tg_numel(w) * (double)positions * contractions;
  return w;
}

/* size: channels of both convolutions, batch */
static void make_tiny(const work *w) {
  int64_t c1 = w->size[0], c2 = w->size[1], n = many(w->size[2]);
  now.x = tg_realize(tg_rand(TG_SHAPE(n, 1, 28, 28)));
  now.y = labels(n, 10);
  now.param[0] = weight(TG_SHAPE(c1, 1, 3, 3), n * 26 * 26, 2);
  now.param[1] = weight(TG_SHAPE(c2, c1, 3, 3), n * 11 * 11, 3);
  now.param[2] = weight(TG_SHAPE(c2 * 25, 10), n, 3);
  now.optimizer = tg_adam(TG_LIST(now.param[0], now.param[1], now.param[2]));
}

static int run_tiny(const work *w) {
  (void)w;
  tg_tensor *x = tg_max_pool2d(tg_relu(tg_conv2d(now.x, now.param[0])));
  x = tg_max_pool2d(tg_relu(tg_conv2d(x, now.param[1])));
  return train(tg_dot(tg_flatten(x, .start_dim = 1), now.param[2]), now.y);
}

/* The network of examples/beautiful_mnist.c without its running averages: each
 * convolution with a bias, batch normalization after every second one. */
static void make_beautiful(const work *w) {
  static const int64_t shape[4][4] = {
      {32, 1, 5, 24}, {32, 32, 5, 20}, {64, 32, 3, 8}, {64, 64, 3, 6}};
  int64_t n = many(w->size[0]);
  now.x = tg_realize(tg_rand(TG_SHAPE(n, 1, 28, 28)));
  now.y = labels(n, 10);
  for (int i = 0; i < 4; i++) {
    const int64_t *s = shape[i];
    now.param[2 * i] = weight(TG_SHAPE(s[0], s[1], s[2], s[2]), n * s[3] * s[3], i ? 3 : 2);
    now.param[2 * i + 1] = tg_zeros(TG_SHAPE(s[0]));
  }
  for (int i = 0; i < 2; i++) {
    now.param[8 + 2 * i] = tg_ones(TG_SHAPE(32 + 32 * i));
    now.param[9 + 2 * i] = tg_zeros(TG_SHAPE(32 + 32 * i));
  }
  now.param[12] = weight(TG_SHAPE(576, 10), n, 3);
  now.param[13] = tg_zeros(TG_SHAPE(10));
  now.optimizer = tg_adam(((tg_list){PARAMS, now.param}));
}

static tg_tensor *normalize(tg_tensor *x, tg_tensor *gain, tg_tensor *bias) {
  tg_tensor *mean = tg_mean(x, .axis = TG_INTS(0, 2, 3));
  tg_tensor *off = tg_sub(x, tg_reshape(mean, 1, -1, 1, 1));
  tg_tensor *var = tg_mean(tg_square(off), .axis = TG_INTS(0, 2, 3));
  return tg_batchnorm(x, gain, bias, mean, tg_rsqrt(tg_add(var, 1e-5)));
}

static int run_beautiful(const work *w) {
  (void)w;
  tg_tensor *x = now.x, **p = now.param;
  for (int i = 0; i < 4; i++) {
    x = tg_relu(tg_conv2d(x, p[2 * i], .bias = p[2 * i + 1]));
    if (i % 2) x = tg_max_pool2d(normalize(x, p[7 + i], p[8 + i]));
  }
  return train(tg_linear(tg_flatten(x, .start_dim = 1), p[12], .bias = p[13]), now.y);
}

/* size: inputs, hidden, outputs, batch, steps, 1 for AdamW */
static void make_mlp(const work *w) {
  const int64_t *s = w->size;
  int64_t n = many(s[3]), steps = many(s[4]);
  for (int64_t i = 0; i < steps; i++) {
    now.batch[i] = tg_realize(tg_rand(TG_SHAPE(n, s[0])));
    now.label[i] = labels(n, s[2]);
  }
  now.param[0] = weight(TG_SHAPE(s[0], s[1]), n * steps, 2);
  now.param[1] = tg_zeros(TG_SHAPE(s[1]));
  now.param[2] = weight(TG_SHAPE(s[1], s[2]), n * steps, 3);
  now.param[3] = tg_zeros(TG_SHAPE(s[2]));
  tg_list params = {4, now.param};
  now.optimizer = s[5] ? tg_adamw(params) : tg_sgd(params, .lr = 0.01);
  /* each weight is read forward and written once; AdamW reads and writes two more */
  now.bytes = (double)(steps * (s[0] + s[2]) * s[1]) * (s[5] ? 24 : 8);
}

static int run_mlp(const work *w) {
  tg_tensor **p = now.param;
  int64_t steps = many(w->size[4]);
  for (int64_t i = 0; i < steps; i++) TG_SCOPE {
    tg_tensor *x = tg_relu(tg_linear(now.batch[i], p[0], .bias = p[1]));
    if (train(tg_linear(x, p[2], .bias = p[3]), now.label[i]) != 0) return -1;
  }
  return 0;
}

/* The same step, captured: what tg_jit runs again. */
static int mlp_step(tg_list inputs, tg_tensor **outputs, void *user) {
  tg_tensor **p = now.param;
  (void)user;
  tg_tensor *x = tg_relu(tg_linear(inputs.items[0], p[0], .bias = p[1]));
  x = tg_linear(x, p[2], .bias = p[3]);
  outputs[0] = tg_sparse_categorical_crossentropy(x, inputs.items[1]);
  if (tg_zero_grad(now.optimizer) != 0 || tg_backward(outputs[0]) != 0) return -1;
  return tg_step_with(now.optimizer, TG_LIST(outputs[0]));
}

static void make_captured(const work *w) {
  make_mlp(w);
  now.jit = tg_jit_new(mlp_step, 1, NULL);
}

static int run_captured(const work *w) {
  tg_tensor *loss;
  (void)w;
  if (tg_jit_call(now.jit, TG_LIST(now.batch[0], now.label[0]), &loss) != 0) return -1;
  double value = tg_item(loss);
  return value == value || tiny ? 0 : (tg_fail("the loss is not a number"), -1);
}

/* ------------------------------------------------------ single operations -- */

/* y, and the gradients of what requires one, given the gradient of y. */
static int both_ways(tg_tensor *y, tg_tensor *k, tg_tensor *v) {
  if (tg_backward(tg_sum(tg_mul(y, now.grad))) != 0) return -1;
  tg_tensor *all[4] = {y}, *of[3] = {now.x, k, v};
  int64_t count = 1;
  for (int i = 0; i < 3; i++)
    if (of[i] && tg_grad(of[i])) all[count++] = tg_grad(of[i]);
  int status = tg_corealize((tg_list){count, all});
  for (int i = 0; i < 3; i++)
    if (of[i]) tg_set_grad(of[i], NULL);
  return status;
}

static void make_matmul(const work *w) {
  int64_t n = tiny ? 16 : w->size[0];
  now.x = tg_realize(tg_randn(TG_SHAPE(n, n)));
  now.y = tg_realize(tg_randn(TG_SHAPE(n, n)));
  now.flops = 2.0 * (double)(n * n * n);
  now.bytes = 12.0 * (double)(n * n);
}

static int run_matmul(const work *w) {
  (void)w;
  return tg_realize(tg_matmul(now.x, now.y)) ? 0 : -1;
}

typedef void (*sgemm_function)(int, int, int, int, int, int, float, const float *, int,
                               const float *, int, float, float *, int);
static sgemm_function sgemm;

static int run_sgemm(const work *w) {
  (void)w;
  int n = (int)tg_dim(now.x, 0);
  float *z = malloc((size_t)n * (size_t)n * sizeof *z);
  if (!z) return -1;
  sgemm(101, 111, 111, n, n, n, 1, tg_data(now.x), n, tg_data(now.y), n, 0, z, n);
  free(z);
  return 0;
}

/* OpenBLAS reads its number of threads as it is loaded. */
static bool find_sgemm(void) {
  static const char *const names[] = {"libopenblas.so.0", "libopenblas.so"};
  const char *threads = getenv("TG_THREADS");
  if (threads) setenv("OPENBLAS_NUM_THREADS", threads, 1);
  for (int i = 0; i < 2 && !sgemm; i++) {
    void *library = dlopen(names[i], RTLD_NOW);
    void *symbol = library ? dlsym(library, "cblas_sgemm") : NULL;
    *(void **)&sgemm = symbol;
  }
  return sgemm != NULL;
}

/* size: outputs, inputs, kernel, input height, batch. The images, which are the
 * input of the first one, have no gradient. */
static void make_conv(const work *w) {
  const int64_t *s = w->size;
  int64_t n = many(s[4]), out = s[3] - s[2] + 1;
  tg_tensor *x = tg_randn(TG_SHAPE(n, s[1], s[3], s[3]));
  now.x = s[1] > 1 ? leaf(x) : tg_realize(x);
  now.k = leaf(weight(TG_SHAPE(s[0], s[1], s[2], s[2]), n * out * out, s[1] > 1 ? 3 : 2));
  now.grad = tg_realize(tg_randn(TG_SHAPE(n, s[0], out, out)));
}

static int run_conv(const work *w) {
  (void)w;
  return both_ways(tg_conv2d(now.x, now.k), now.k, NULL);
}

static void make_sum(const work *w) {
  now.x = tg_realize(tg_rand(TG_SHAPE(many(w->size[0]))));
  now.bytes = (double)tg_nbytes(now.x);
}

static int run_sum(const work *w) {
  (void)w;
  return tg_item(tg_sum(tg_add(tg_mul(tg_exp(now.x), 2), 1))) > 0 ? 0 : -1;
}

/* size: columns; the rows are as many as make 4 M elements. x and the gradient come
 * in, y and the gradient by x go out. */
static void make_rows(const work *w) {
  int64_t rows = many((4 << 20) / w->size[0]);
  now.x = leaf(tg_randn(TG_SHAPE(rows, w->size[0])));
  now.grad = tg_realize(tg_randn(TG_SHAPE(rows, w->size[0])));
  now.bytes = (double)tg_nbytes(now.x) * 4;
}

static int run_softmax(const work *w) {
  (void)w;
  return both_ways(tg_softmax(now.x), NULL, NULL);
}

static int run_layernorm(const work *w) {
  (void)w;
  return both_ways(tg_layernorm(now.x), NULL, NULL);
}

static void make_entropy(const work *w) {
  int64_t rows = many((4 << 20) / w->size[0]);
  now.x = leaf(tg_randn(TG_SHAPE(rows, w->size[0])));
  now.y = labels(rows, w->size[0]);
  now.grad = tg_realize(tg_ones(TG_SCALAR));
  now.bytes = (double)tg_nbytes(now.x) * 2;
}

static int run_entropy(const work *w) {
  (void)w;
  return both_ways(tg_sparse_categorical_crossentropy(now.x, now.y), NULL, NULL);
}

/* size: batch, heads, positions, width. Two products forward, four backward. */
static void make_attention(const work *w) {
  const int64_t *s = w->size;
  tg_shape shape = TG_SHAPE(many(s[0]), many(s[1]), many(s[2]), s[3]);
  now.x = leaf(tg_randn(shape));
  now.k = leaf(tg_randn(shape));
  now.v = leaf(tg_randn(shape));
  now.grad = tg_realize(tg_randn(shape));
  now.flops = 12.0 * (double)tg_numel(now.x) * (double)shape.dim[2];
}

static int run_attention(const work *w) {
  (void)w;
  tg_tensor *y = tg_scaled_dot_product_attention(now.x, now.k, now.v);
  return both_ways(y, now.k, now.v);
}

/* --------------------------------------------------------------- the works -- */

static const work works[] = {
    {"tiny8", "tiny", make_tiny, run_tiny, {8, 16, 128}},
    {"tiny32", "tiny", make_tiny, run_tiny, {32, 64, 128}},
    {"beautiful", "beautiful", make_beautiful, run_beautiful, {512}},
    {"mlp128", "mlp", make_mlp, run_mlp, {784, 128, 10, 128, 1, 0}},
    {"mlp1", "mlp", make_mlp, run_mlp, {784, 128, 10, 1, 1, 0}},
    {"mlp1jit", "mlp", make_captured, run_captured, {784, 128, 10, 1, 1, 0}},
    {"epoch500", "mlp", make_mlp, run_mlp, {784, 500, 10, 500, EPOCH, 1}},
    {"overhead", "mlp", make_mlp, run_mlp, {8, 8, 4, 1, 1, 0}},
    {"matmul256", "matmul", make_matmul, run_matmul, {256}},
    {"matmul512", "matmul", make_matmul, run_matmul, {512}},
    {"matmul1024", "matmul", make_matmul, run_matmul, {1024}},
    {"matmul2048", "matmul", make_matmul, run_matmul, {2048}},
    {"conv1", "conv", make_conv, run_conv, {32, 1, 5, 28, 512}},
    {"conv2", "conv", make_conv, run_conv, {32, 32, 5, 24, 512}},
    {"conv3", "conv", make_conv, run_conv, {64, 32, 3, 10, 512}},
    {"conv4", "conv", make_conv, run_conv, {64, 64, 3, 8, 512}},
    {"expsum", "sum", make_sum, run_sum, {16 << 20}},
    {"softmax64", "softmax", make_rows, run_softmax, {64}},
    {"softmax1024", "softmax", make_rows, run_softmax, {1024}},
    {"softmax8192", "softmax", make_rows, run_softmax, {8192}},
    {"layernorm64", "layernorm", make_rows, run_layernorm, {64}},
    {"layernorm1024", "layernorm", make_rows, run_layernorm, {1024}},
    {"layernorm8192", "layernorm", make_rows, run_layernorm, {8192}},
    {"entropy64", "entropy", make_entropy, run_entropy, {64}},
    {"entropy1024", "entropy", make_entropy, run_entropy, {1024}},
    {"entropy8192", "entropy", make_entropy, run_entropy, {8192}},
    {"attention", "attention", make_attention, run_attention, {8, 8, 256, 64}},
};
enum { WORKS = sizeof works / sizeof *works };

static const work *find_work(const char *name) {
  for (int i = 0; i < WORKS; i++)
    if (strcmp(works[i].name, name) == 0) return &works[i];
  tg_fail("there is no work named %s", name);
  return NULL;
}

/* Makes `w` the current work; the one before is freed. 0, or -1. */
static int choose(const work *w) {
  if (!w) return -1;
  if (now.work == w) return 0;
  if (now.scope) tg_scope_close(now.scope);
  memset(&now, 0, sizeof now);
  tg_manual_seed(1);
  now.scope = tg_scope_open();
  w->make(w);
  if (tg_error()) return -1;
  now.work = w;
  return 0;
}

/* Milliseconds of one run, negative after an error. */
static double time_once(void) {
  const work *w = now.work;
  int status = -1;
  double start = seconds();
  TG_SCOPE { status = sgemm && w->run == run_matmul ? run_sgemm(w) : w->run(w); }
  double taken = (seconds() - start) * 1e3;
  return status == 0 ? taken : -1;
}

static int complain(void) {
  const char *error = tg_error();
  printf("error %s\n", error ? error : "a run failed");
  now.work = NULL;
  tg_clear_error();
  return -1;
}

/* -------------------------------------------------- what the machine can do -- */

enum { CHAINS = 10, FMA_ROUNDS = 20000000, READ_FLOATS = 64 << 20 };
static float *memory; /* READ_FLOATS per thread */

/* Multiply-adds in independent chains, all in registers: NAME##_flops of them. */
#define PEAK_FMA(name, width, target)                                              \
  typedef float name##_lanes __attribute__((vector_size(width)));                  \
  static const double name##_flops = 2.0 * CHAINS * FMA_ROUNDS * (width) / 4;      \
  target static void *name(void *out) {                                            \
    name##_lanes a[CHAINS], x = {0}, y = {0};                                      \
    for (int i = 0; i < CHAINS; i++) a[i] = x + (float)(i + 1);                    \
    x += 0.999f;                                                                   \
    y += 0.001f;                                                                   \
    for (int r = 0; r < FMA_ROUNDS; r++)                                           \
      for (int i = 0; i < CHAINS; i++) a[i] = a[i] * x + y;                        \
    for (int i = 1; i < CHAINS; i++) a[0] += a[i];                                 \
    memcpy(out, a, sizeof *a);                                                     \
    return NULL;                                                                   \
  }

#ifdef __clang__
#pragma STDC FP_CONTRACT ON
#define UNROLLED
#define FMA_CODE(isa) __attribute__((target(isa)))
#else
#define UNROLLED __attribute__((optimize("O3", "fp-contract=fast")))
#define FMA_CODE(isa) UNROLLED __attribute__((target(isa)))
#endif
#ifdef __x86_64__
PEAK_FMA(fma_avx2, 32, FMA_CODE("avx2,fma"))
PEAK_FMA(fma_avx512, 64, FMA_CODE("avx512f"))
#endif
PEAK_FMA(fma_plain, 16, UNROLLED)

UNROLLED static void *read_memory(void *out) {
  typedef float lanes __attribute__((vector_size(16)));
  lanes sum[8] = {{0}};
  const lanes *from = *(lanes **)out;
  for (int64_t i = 0; i < READ_FLOATS / 4; i += 8)
    for (int k = 0; k < 8; k++) sum[k] += from[i + k];
  for (int k = 1; k < 8; k++) sum[0] += sum[k];
  memcpy(out, sum, sizeof *sum);
  return NULL;
}

/* Seconds, the best of a few, in which `count` threads all do `job`. */
static double on_threads(int count, void *(*job)(void *)) {
  static _Alignas(64) float out[64][16];
  double best = 1e9;
  for (int round = 0; round < 5; round++) {
    pthread_t thread[64];
    double start = seconds();
    for (int i = 0; i < count; i++) {
      float *from = memory + (int64_t)i * READ_FLOATS;
      memcpy(out[i], &from, sizeof from);
      if (i > 0 && pthread_create(&thread[i], NULL, job, out[i]) != 0) count = i;
    }
    job(out[0]);
    for (int i = 1; i < count; i++) pthread_join(thread[i], NULL);
    double taken = seconds() - start;
    if (taken < best) best = taken;
  }
  return best;
}

/* GFLOP/s and GB/s of all threads together. 0, or -1. */
static int measure_peaks(double *gflops, double *gbytes) {
  const char *wanted = getenv("TG_THREADS");
  int count = wanted ? atoi(wanted) : 0;
  if (count < 1) count = (int)sysconf(_SC_NPROCESSORS_ONLN);
  if (count < 1 || count > 64) count = count < 1 ? 1 : 64;
  size_t size = (size_t)count * READ_FLOATS * sizeof(float);
  memory = malloc(size);
  if (!memory) return tg_fail("out of memory"), -1;
  memset(memory, 0, size);
  double flops = fma_plain_flops;
  void *(*job)(void *) = fma_plain;
#ifdef __x86_64__
  if (__builtin_cpu_supports("fma")) job = fma_avx2, flops = fma_avx2_flops;
  if (__builtin_cpu_supports("avx512f")) job = fma_avx512, flops = fma_avx512_flops;
#endif
  *gflops = flops * count / on_threads(count, job) * 1e-9;
  *gbytes = (double)size / on_threads(count, read_memory) * 1e-9;
  free(memory);
  return 0;
}

static int print_peaks(void) {
  double gflops, gbytes;
  if (measure_peaks(&gflops, &gbytes) != 0) return complain();
  return printf("peak %.1f %.1f\n", gflops, gbytes) < 0;
}

/* ------------------------------------------------------------- the commands -- */

static int compare(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* Times until half a second has passed; the median, negative after an error. */
static double median_time(void) {
  static double taken[RUNS];
  int count = 0;
  double start = seconds();
  if (time_once() < 0) return -1;
  while (count < 3 || (count < RUNS && seconds() - start < (tiny ? 0 : 0.7)))
    if ((taken[count++] = time_once()) < 0) return -1;
  qsort(taken, (size_t)count, sizeof *taken, compare);
  return taken[count / 2];
}

static int quick(char **names, int count) {
  double gflops = 1, gbytes = 1;
  if (!tiny && measure_peaks(&gflops, &gbytes) != 0) return complain();
  if (!tiny) printf("peak: %.1f GFLOP/s, %.1f GB/s read\n", gflops, gbytes);
  printf("%-14s %10s %9s %8s %7s\n", "work", "ms", "GFLOP/s", "GB/s", "of peak");
  for (int i = 0; i < (count ? count : WORKS); i++) {
    const work *w = count ? find_work(names[i]) : &works[i];
    double ms = choose(w) == 0 ? median_time() : -1;
    if (ms < 0) return complain();
    double flops = now.flops * 1e-6 / ms, bytes = now.bytes * 1e-6 / ms;
    double share = flops / gflops > bytes / gbytes ? flops / gflops : bytes / gbytes;
    printf("%-14s %10.3f %9.2f %8.2f %5.0f %%\n", w->name, ms, flops, bytes, share * 100);
    fflush(stdout);
  }
  return 0;
}

static int list(void) {
  for (int i = 0; i < WORKS; i++) {
    const work *w = &works[i];
    int sizes = strcmp(w->kind, "mlp") == 0 ? 6 : 0;
    while (sizes < 6 && w->size[sizes]) sizes++;
    printf("work %s %s", w->name, w->kind);
    for (int k = 0; k < sizes; k++) printf(" %lld", (long long)w->size[k]);
    printf("\n");
  }
  return 0;
}

static int once(const char *name) {
  double start = seconds();
  if (choose(find_work(name)) != 0) return complain();
  double first = time_once(), made = (seconds() - start) * 1e3, second = time_once();
  if (first < 0 || second < 0) return complain();
  tg_shutdown(); /* waits for compilers that still run */
  struct rusage self, children;
  getrusage(RUSAGE_SELF, &self);
  getrusage(RUSAGE_CHILDREN, &children);
  double compiler = (double)(children.ru_utime.tv_sec + children.ru_stime.tv_sec) +
                    (double)(children.ru_utime.tv_usec + children.ru_stime.tv_usec) * 1e-6;
  printf("once %.3f %.3f %.3f %.1f %.3f\n", made, first, second, (double)self.ru_maxrss / 1e3,
         compiler);
  return 0;
}

/* "WORK" or "WORK N": the operations and bytes of a work, and N times. */
static int answer(char *words, bool info) {
  static double taken[RUNS];
  char *name = strtok(words, " \n"), *times = name ? strtok(NULL, " \n") : NULL;
  int count = times ? atoi(times) : 1;
  if (choose(find_work(name ? name : "")) != 0) return complain();
  if (sgemm && now.work->run != run_matmul) return tg_fail("OpenBLAS: no such work"), complain();
  if (info) return printf("info %.9f %.9f\n", now.flops * 1e-9, now.bytes * 1e-9);
  if (count > RUNS) count = RUNS;
  for (int i = 0; i < count; i++)
    if ((taken[i] = time_once()) < 0) return complain();
  printf("times");
  for (int i = 0; i < count; i++) printf(" %.6f", taken[i]);
  return printf("\n");
}

static int serve(void) {
  char line[256];
  while (fgets(line, sizeof line, stdin)) {
    if (strncmp(line, "run ", 4) == 0) answer(line + 4, false);
    else if (strncmp(line, "info ", 5) == 0) answer(line + 5, true);
    else if (strncmp(line, "peak", 4) == 0) print_peaks();
    else printf("error no such request: %s", line);
    fflush(stdout);
  }
  return 0;
}

int main(int argc, char **argv) {
  int i = 1, status = 2;
  for (; i < argc && argv[i][0] == '-'; i++) {
    if (strcmp(argv[i], "--tiny") == 0) tiny = true;
    else if (strcmp(argv[i], "--blas") != 0) break;
    else if (!find_sgemm()) return printf("error OpenBLAS is not installed\n"), 1;
  }
  const char *command = i < argc ? argv[i] : "";
  if (strcmp(command, "quick") == 0) status = quick(argv + i + 1, argc - i - 1) != 0;
  else if (strcmp(command, "list") == 0) status = list() != 0;
  else if (strcmp(command, "once") == 0 && i + 1 < argc) status = once(argv[i + 1]) != 0;
  else if (strcmp(command, "serve") == 0) status = serve();
  else printf("usage: bench [--tiny] [--blas] quick [WORK ...] | list | once WORK | serve\n");
  if (now.scope) tg_scope_close(now.scope);
  tg_shutdown();
  return status;
}
