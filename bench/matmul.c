/* bench/matmul: matrix products and convolutions on one thread, against OpenBLAS
 * where it is installed (loaded at run time: nothing here needs it).
 *
 * The library is measured through its public interface: a graph is built,
 * scheduled, replayed and run for each repetition, as in a program. Repetitions
 * of both sides take turns, so that other work on the machine hits both, and the
 * best of each counts.
 */
#define _POSIX_C_SOURCE 200809L
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "teenygrad/teenygrad.h"

typedef void (*sgemm_fn)(int, int, int, int, int, int, float, const float *, int, const float *,
                         int, float, float *, int);

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void check(const tg_tensor *t) {
  if (t) return;
  fprintf(stderr, "%s\n", tg_error());
  exit(1);
}

static sgemm_fn find_sgemm(void) {
  static const char *const names[] = {"libopenblas.so.0", "libopenblas.so", "libblas.so.3"};
  setenv("OPENBLAS_NUM_THREADS", "1", 1);
  for (int i = 0; i < 3; i++) {
    void *library = dlopen(names[i], RTLD_NOW);
    void *symbol = library ? dlsym(library, "cblas_sgemm") : NULL;
    sgemm_fn f = NULL;
    if (!symbol) continue;
    *(void **)&f = symbol;
    return f;
  }
  return NULL;
}

/* Seconds for one run of the product of a and b. */
static double time_ours(tg_tensor *a, tg_tensor *b) {
  double seconds = 0;
  TG_SCOPE {
    tg_tensor *c = tg_matmul(a, b);
    double start = now();
    check(tg_realize(c));
    seconds = now() - start;
  }
  return seconds;
}

static void row(sgemm_fn sgemm, int m, int n, int k) {
  TG_SCOPE {
    tg_tensor *a = tg_randn(TG_SHAPE(m, k)), *b = tg_randn(TG_SHAPE(k, n));
    check(tg_realize(a));
    check(tg_realize(b));
    const float *x = tg_data(a), *y = tg_data(b);
    float *z = calloc((size_t)m * (size_t)n, sizeof *z);
    double flops = 2.0 * m * n * k, ours = 1e9, theirs = 1e9;
    for (int i = 0; i < 30; i++) {
      double t = time_ours(a, b);
      if (t < ours) ours = t;
      if (!sgemm || !z) continue;
      double start = now();
      sgemm(101, 111, 111, m, n, k, 1, x, k, y, n, 0, z, n);
      t = now() - start;
      if (t < theirs) theirs = t;
    }
    printf("%5d x %5d x %5d: %7.1f GFLOP/s", m, n, k, flops / ours * 1e-9);
    if (sgemm) printf(", OpenBLAS %7.1f, ratio %.2f", flops / theirs * 1e-9, theirs / ours);
    printf("\n");
    free(z);
  }
}

int main(void) {
  setenv("TG_THREADS", "1", 1);
  sgemm_fn sgemm = find_sgemm();
  if (!sgemm) printf("OpenBLAS is not installed: our own numbers only\n");
  row(sgemm, 512, 512, 512);
  row(sgemm, 1024, 1024, 1024);
  row(sgemm, 128, 128, 128);
  row(sgemm, 64, 10, 1024);
  row(sgemm, 128, 1024, 784);
  row(sgemm, 32, 800, 32768);
  return 0;
}
