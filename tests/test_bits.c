/* The same bits for any number of threads in the pool, expression by expression
 * (test_threads.c: whole models); many threads that compile the same kernels; the
 * pool after tg_shutdown. */
#include "test.h"

#include <pthread.h>

#include "runtime/threads.h"

typedef tg_tensor *(*work)(void);
enum { ROOM = 1 << 20 };

/* The bytes of f() with `threads` threads, in `out`. */
static size_t bits_of(work f, int threads, uint8_t out[ROOM]) {
  size_t size = 0;
  tg_threads_set(threads);
  TG_SCOPE {
    tg_manual_seed(5);
    tg_tensor *t = f();
    size = (size_t)tg_nbytes(t);
    CHECK_OK(t && size <= ROOM);
    if (size <= ROOM) CHECK_OK(tg_to_host(t, out, size) == 0);
  }
  tg_threads_set(0);
  return size;
}

static void check_same_bits(work f) {
  static uint8_t one[ROOM], more[ROOM];
  size_t size = bits_of(f, 1, one);
  CHECK(size > 0);
  for (int threads = 2; threads <= 4; threads++) {
    CHECK_INT(bits_of(f, threads, more), size);
    test_check(!memcmp(one, more, size), __FILE__, __LINE__, "%d threads give other bits than 1",
               threads);
  }
}

static tg_tensor *input(tg_shape shape) { return tg_realize(tg_randn(shape)); }
static tg_tensor *param(tg_shape shape) { return tg_set_requires_grad(input(shape), TG_GRAD_YES); }

static tg_tensor *work_matmul(void) {
  return tg_matmul(input(TG_SHAPE(203, 307)), input(TG_SHAPE(307, 129)));
}
static tg_tensor *work_long_sum_of_products(void) {
  return tg_matmul(input(TG_SHAPE(3, 100003)), input(TG_SHAPE(100003, 5)));
}
static tg_tensor *work_batched(void) {
  return tg_matmul(input(TG_SHAPE(7, 33, 20)), input(TG_SHAPE(7, 20, 31)));
}
static tg_tensor *work_conv(void) {
  return tg_relu(tg_conv2d(input(TG_SHAPE(5, 3, 29, 31)), input(TG_SHAPE(7, 3, 5, 3)),
                           .bias = input(TG_SHAPE(7)), .padding = TG_INTS(1)));
}
static tg_tensor *conv_gradient(bool of_weight) {
  tg_tensor *x = param(TG_SHAPE(6, 3, 19, 17)), *w = param(TG_SHAPE(8, 3, 3, 3));
  CHECK_OK(tg_backward(tg_mean(tg_square(tg_conv2d(x, w)))) == 0);
  return tg_grad(of_weight ? w : x);
}
static tg_tensor *work_conv_by_input(void) { return conv_gradient(false); }
static tg_tensor *work_conv_by_weight(void) { return conv_gradient(true); }
static tg_tensor *work_sum(void) { return tg_sum(input(TG_SHAPE(1000003))); }
static tg_tensor *work_sum_of_columns(void) {
  return tg_sum(tg_exp(input(TG_SHAPE(1003, 211))), .axis = TG_INTS(0));
}
static tg_tensor *work_softmax(void) { return tg_softmax(input(TG_SHAPE(303, 401))); }
static tg_tensor *work_scatter(void) { /* many hits on each row: the last one stays */
  return tg_scatter(input(TG_SHAPE(10, 300)), 0, tg_randint(TG_SHAPE(999, 300)),
                    input(TG_SHAPE(999, 300)));
}
static tg_tensor *work_scatter_add(void) { /* in order */
  return tg_scatter_add(input(TG_SHAPE(10, 300)), 0, tg_randint(TG_SHAPE(999, 300)),
                        input(TG_SHAPE(999, 300)));
}
static tg_tensor *work_embedding_gradient(void) {
  tg_tensor *rows = param(TG_SHAPE(20, 50));
  tg_tensor *picked = tg_take(rows, tg_randint(TG_SHAPE(3001), .low = 0, .high = 20));
  CHECK_OK(tg_backward(tg_sum(tg_mul(picked, input(TG_SHAPE(3001, 50))))) == 0);
  return tg_grad(rows);
}

#define SAME_BITS(name) \
  TEST(threads_bits_##name) { check_same_bits(work_##name); }
SAME_BITS(matmul)
SAME_BITS(long_sum_of_products)
SAME_BITS(batched)
SAME_BITS(conv)
SAME_BITS(conv_by_input)
SAME_BITS(conv_by_weight)
SAME_BITS(sum)
SAME_BITS(sum_of_columns)
SAME_BITS(softmax)
SAME_BITS(scatter)
SAME_BITS(scatter_add)
SAME_BITS(embedding_gradient)

/* Many threads compile the same kernels at the same time. */
static void *compile_same(void *result) {
  TG_SCOPE {
    tg_tensor *x = tg_ones(TG_SHAPE(17, 13));
    for (int i = 0; i < 5; i++) x = tg_add(tg_mul(x, 2), 1);
    *(double *)result = tg_item(tg_sum(tg_softmax(tg_matmul(x, tg_T(x)))));
  }
  return NULL;
}

TEST(threads_compile_the_same) {
  enum { COUNT = 6 };
  pthread_t thread[COUNT];
  double result[COUNT] = {0};
  for (int i = 0; i < COUNT; i++)
    CHECK(pthread_create(&thread[i], NULL, compile_same, &result[i]) == 0);
  for (int i = 0; i < COUNT; i++) CHECK(pthread_join(thread[i], NULL) == 0);
  for (int i = 0; i < COUNT; i++) CHECK_CLOSE(result[i], 17, 1e-4, 0);
}

/* tg_shutdown stops the pool, and the library may be used again. */
TEST(threads_restart) {
  for (int i = 0; i < 3; i++) {
    tg_threads_set(3);
    CHECK_CLOSE(tg_item(tg_sum(tg_contiguous(tg_ones(TG_SHAPE(100000))))), 100000, 0, 0);
    tg_shutdown();
    CHECK_INT(tg_get_counters().bytes, 0);
  }
  tg_threads_set(0);
}
