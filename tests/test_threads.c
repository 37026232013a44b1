/* Threads: two threads that train two models at once get the same bits as one
 * after the other, and any number of pool threads gives the same bits as one.
 * Also: a realized tensor read by many, errors and random numbers of a thread
 * of its own, and caches shared by all. */
#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "test.h"

#include "runtime/threads.h"

/* ---- a small model, trained; the parameters' bits are the result */

enum { STEPS = 4, BATCH = 8, SIZES = 3 };
static const int64_t sizes[SIZES] = {4 * 9, 6 * 4 * 9, 6 * 25 * 5};

typedef struct training {
  uint64_t seed;
  bool sgd, failed;
  float weights[4 * 9 + 6 * 4 * 9 + 6 * 25 * 5];
  float loss[STEPS];
} training;

static tg_tensor *forward(tg_tensor *x, tg_tensor *const *p) {
  x = tg_max_pool2d(tg_relu(tg_conv2d(x, p[0])));
  x = tg_gelu(tg_conv2d(x, p[1], .padding = TG_INTS(1), .stride = TG_INTS(2)));
  x = tg_add(x, tg_mean(x, .axis = TG_INTS(0), .keepdim = true));
  return tg_log_softmax(tg_dot(tg_flatten(x, .start_dim = 1), p[2]));
}

static int train_step(tg_optimizer *optimizer, tg_tensor *const *p, float *value) {
  tg_tensor *x = tg_randn(TG_SHAPE(BATCH, 1, 22, 22)), *y = tg_randint(TG_SHAPE(BATCH), .high = 5);
  tg_tensor *loss = tg_sparse_categorical_crossentropy(tg_dropout(forward(x, p), 0.1), y);
  if (tg_zero_grad(optimizer) < 0 || tg_backward(loss) < 0) return -1;
  if (tg_step_with(optimizer, TG_LIST(loss)) < 0) return -1;
  *value = (float)tg_item(loss);
  return 0;
}

static void *train(void *argument) {
  training *t = argument;
  t->failed = true;
  tg_manual_seed(t->seed);
  bool old = tg_set_training(true);
  TG_SCOPE {
    tg_tensor *p[SIZES] = {tg_kaiming_uniform(TG_SHAPE(4, 1, 3, 3)), tg_kaiming_uniform(TG_SHAPE(6, 4, 3, 3)),
                           tg_glorot_uniform(TG_SHAPE(150, 5))};
    tg_list all = {SIZES, p};
    tg_optimizer *optimizer = t->sgd ? tg_sgd(all, .lr = 0.01, .momentum = 0.9) : tg_adam(all);
    int failed = optimizer ? 0 : -1;
    for (int i = 0; i < STEPS && !failed; i++) TG_SCOPE {
      failed = train_step(optimizer, p, &t->loss[i]);
    }
    float *at = t->weights;
    for (int i = 0; i < SIZES && !failed; at += sizes[i++])
      failed = tg_to_host(p[i], at, (size_t)sizes[i] * sizeof *at);
    t->failed = failed != 0;
  }
  tg_set_training(old);
  return NULL;
}

static bool same_bits(const training *a, const training *b) {
  return !memcmp(a->weights, b->weights, sizeof a->weights) && !memcmp(a->loss, b->loss, sizeof a->loss);
}

static void check_training(const training *t) {
  CHECK_OK(!t->failed);
  CHECK(isfinite(t->loss[0]) && isfinite(t->loss[STEPS - 1]) && t->loss[0] != t->loss[1]);
}

static void at_once(training *a, training *b) {
  pthread_t one, two;
  CHECK_INT(pthread_create(&one, NULL, train, a), 0);
  CHECK_INT(pthread_create(&two, NULL, train, b), 0);
  pthread_join(one, NULL);
  pthread_join(two, NULL);
}

TEST(threads_two_models_at_once) {
  static training first[2] = {{.seed = 7}, {.seed = 8, .sgd = true}}, again[2];
  for (int i = 0; i < 2; i++) {
    train(&first[i]);
    check_training(&first[i]);
  }
  for (int round = 0; round < 3; round++) {
    again[0] = (training){.seed = 7};
    again[1] = (training){.seed = 8, .sgd = true};
    at_once(&again[0], &again[1]);
    for (int i = 0; i < 2; i++) {
      check_training(&again[i]);
      CHECK(same_bits(&first[i], &again[i]));
    }
  }
  CHECK(!same_bits(&first[0], &first[1]));
}

TEST(threads_same_model_at_once) {
  static training a, b;
  a = b = (training){.seed = 3};
  at_once(&a, &b);
  check_training(&a);
  CHECK(!b.failed && same_bits(&a, &b));
}

/* ---- the size of the pool */

TEST(threads_pool_of_any_size) {
  static training one, other;
  tg_threads_set(1);
  one = (training){.seed = 5};
  train(&one);
  check_training(&one);
  static const int counts[] = {2, 3, 5, 16};
  for (int i = 0; i < 4; i++) {
    tg_threads_set(counts[i]);
    other = (training){.seed = 5};
    train(&other);
    test_check(!other.failed && same_bits(&one, &other), __FILE__, __LINE__, "%d threads", counts[i]);
  }
  tg_threads_set(0);
}

/* Large enough to be split: each expression's bits with 1 and with 4 threads. */
static tg_tensor *large(int which, tg_tensor *x, tg_tensor *y, tg_tensor *at) {
  switch (which) {
    case 0: return tg_sum(x);
    case 1: return tg_sum(x, .axis = TG_INTS(0));
    case 2: return tg_sum(x, .axis = TG_INTS(1));
    case 3: return tg_dot(x, tg_T(y));
    case 4: return tg_dot(tg_T(x), y);
    case 5: return tg_softmax(x);
    case 6: return tg_exp(tg_mul(x, y));
    case 7: return tg_cumsum(x, 1);
    case 8: return tg_take(x, at);
    case 9: return tg_std(x, .axis = TG_INTS(0));
    case 10: return tg_scatter_add(x, 0, tg_expand(tg_reshape(at, -1, 1), 400, 301), y);
    case 11: return tg_argmax(x);
    default: return NULL;
  }
}

TEST(threads_bits_of_large_kernels) {
  static float want[400 * 400], got[400 * 400];
  tg_tensor *x = tg_realize(tg_randn(TG_SHAPE(400, 301))), *y = tg_realize(tg_randn(TG_SHAPE(400, 301)));
  tg_tensor *at = tg_realize(tg_randint(TG_SHAPE(400), .high = 400));
  for (int i = 0; i < 12; i++) TG_SCOPE {
    tg_threads_set(1);
    tg_tensor *a = tg_cast(tg_realize(large(i, x, y, at)), TG_FLOAT32);
    CHECK_OK(a && tg_to_host(a, want, (size_t)tg_nbytes(a)) == 0);
    tg_threads_set(4);
    tg_tensor *b = tg_cast(tg_realize(large(i, x, y, at)), TG_FLOAT32);
    CHECK_OK(b && tg_to_host(b, got, (size_t)tg_nbytes(b)) == 0);
    test_check(!memcmp(want, got, (size_t)tg_nbytes(a)), __FILE__, __LINE__, "expression %d", i);
  }
  tg_threads_set(0);
}

TEST(threads_random_does_not_depend_on_the_pool) {
  static float want[10007], got[10007];
  for (int i = 0; i < 2; i++) {
    tg_threads_set(i ? 4 : 1);
    tg_manual_seed(11);
    CHECK_OK(tg_to_host(tg_randn(TG_SHAPE(10007)), i ? got : want, sizeof want) == 0);
  }
  tg_threads_set(0);
  CHECK(!memcmp(want, got, sizeof want));
}

/* ---- one tensor, many readers; errors and seeds stay with their thread */

typedef struct reader {
  tg_tensor *shared;
  double sum;
  bool clean;
} reader;

static void *read_shared(void *argument) {
  reader *r = argument;
  TG_SCOPE {
    r->clean = tg_error() == NULL;
    r->sum = tg_item(tg_sum(tg_mul(r->shared, 2)));
    r->clean &= !tg_add(r->shared, tg_ones(TG_SHAPE(7))) && tg_error() != NULL;
  }
  return NULL;
}

TEST(threads_share_a_realized_tensor) {
  tg_tensor *x = tg_realize(tg_arange(0, 100));
  reader readers[4];
  pthread_t threads[4];
  for (int i = 0; i < 4; i++) {
    readers[i] = (reader){.shared = x};
    CHECK_INT(pthread_create(&threads[i], NULL, read_shared, &readers[i]), 0);
  }
  for (int i = 0; i < 4; i++) {
    pthread_join(threads[i], NULL);
    CHECK(readers[i].clean);
    CHECK_CLOSE(readers[i].sum, 9900, 0, 0);
  }
  CHECK(tg_error() == NULL);
}

static void count_job(void *context, int64_t i) {
  int *slots = context;
  slots[i] += 1 + (tg_thread_slot() < 0 || tg_thread_slot() >= tg_thread_count());
}

TEST(threads_run_each_job_once) {
  static int runs[1000];
  memset(runs, 0, sizeof runs);
  for (int count = 1; count <= 4; count++) {
    tg_threads_set(count);
    tg_parallel(1000, count_job, runs);
    tg_parallel(0, count_job, runs);
    int wrong = 0;
    for (int i = 0; i < 1000; i++) wrong += runs[i] != count;
    CHECK_INT(wrong, 0);
  }
  tg_threads_set(0);
}

/* Workers that watch, that fell asleep, that come too late, more or fewer than
 * before; calls inside a job and from two threads at once: each job runs once. */
typedef struct tally {
  atomic_int runs[600];
  atomic_int inner;
  int per_job; /* pauses: how long a job takes */
} tally;

static void inner_job(void *context, int64_t i) {
  (void)i;
  atomic_fetch_add(&((tally *)context)->inner, 1);
}

static void tally_job(void *context, int64_t i) {
  tally *t = context;
  for (volatile int k = 0; k < t->per_job; k++) {
  }
  atomic_fetch_add(&t->runs[i], 1);
  if (i % 100 == 0) tg_parallel(3, inner_job, t);
}

static void *tally_calls(void *context) {
  static const int counts[] = {2, 3, 17, 600};
  static const struct timespec nap = {0, 400000};
  for (int round = 0; round < 80; round++) {
    ((tally *)context)->per_job = round % 2 ? 10 : 2000;
    tg_parallel(counts[round % 4], tally_job, context);
    if (round % 5 == 0) nanosleep(&nap, NULL);
  }
  return NULL;
}

static void check_tally(tally *t) {
  int wrong = 0;
  for (int i = 0; i < 600; i++)
    wrong += t->runs[i] != 20 * ((i < 2) + (i < 3) + (i < 17) + 1);
  CHECK_INT(wrong, 0);
  CHECK_INT(t->inner, 3 * 20 * (4 + 5));
}

TEST(threads_run_each_job_once_whoever_sleeps) {
  static tally own, others;
  for (int count = 2; count <= 5; count++) {
    memset(&own, 0, sizeof own);
    memset(&others, 0, sizeof others);
    tg_threads_set(count);
    pthread_t other;
    CHECK_INT(pthread_create(&other, NULL, tally_calls, &others), 0);
    tally_calls(&own);
    pthread_join(other, NULL);
    check_tally(&own);
    check_tally(&others);
    if (count == 3) tg_threads_stop(); /* the pool starts anew */
  }
  tg_threads_set(0);
}
