/* Memory that runs out: the n-th allocation fails, for n = 1, 2, 3 ... until
 * the work at hand succeeds. First a whole training step of a small
 * convolutional network, then the making of the model, then a walk over the
 * other operations. Each failure must give a message, leave the parameters as
 * they were, and leak nothing.
 *
 * A test here replaces the allocator, so it shuts the library down before and
 * after; the scope that the harness opened is closed by that. */
#include "test.h"

#include <stdatomic.h>
#include <time.h>

/* ---- an allocator that fails: at call `fail_at`, and later ones if `all` */

static _Atomic long calls;
static long fail_at; /* 0: never */
static bool fail_all;

static void *failing_alloc(size_t size, void *user) {
  (void)user;
  long call = atomic_fetch_add(&calls, 1) + 1;
  if (fail_at && (call == fail_at || (fail_all && call > fail_at))) return NULL;
  return malloc(size);
}

static void failing_release(void *memory, size_t size, void *user) {
  (void)size, (void)user;
  free(memory);
}

static void arm(long n, bool all) {
  calls = 0;
  fail_at = n;
  fail_all = all;
}

static void disarm(void) { fail_at = 0; }

static bool failed_any(void) { return fail_at && atomic_load(&calls) >= fail_at; }

static void begin(void) {
  tg_shutdown();
  disarm();
  const tg_allocator failing = {failing_alloc, failing_release, NULL};
  CHECK_OK(tg_set_allocator(&failing) == 0);
}

static void end(void) {
  disarm();
  tg_shutdown();
  CHECK_OK(tg_set_allocator(NULL) == 0);
}

/* Nothing is left after tg_shutdown. */
static void check_nothing_left(long n, const char *what) {
  tg_shutdown();
  tg_counters now = tg_get_counters();
  if (now.tensors || now.nodes || now.buffers || now.bytes || now.buffer_bytes)
    test_check(false, __FILE__, __LINE__,
               "%s, failing at %ld, leaves %lld tensors, %lld nodes, %lld buffers, %lld bytes", what,
               n, (long long)now.tensors, (long long)now.nodes, (long long)now.buffers,
               (long long)now.bytes);
}

/* The n to try next: each, but under a tool that makes everything slow (valgrind,
 * a sanitizer) a sample once this test has taken its time. */
static long after(long n, clock_t start) {
  bool slow = clock() - start > 10 * (clock_t)CLOCKS_PER_SEC;
  return slow ? n + 7 + n / 16 : n + 1;
}

/* ---- the model */

enum { PARAMS = 3, C1 = 2 * 1 * 3 * 3, L1 = 2 * 2 * 2 * 3, B1 = 3, MOST = C1 + L1 + B1 };

typedef struct model {
  tg_tensor *c1, *l1, *b1, *x, *y;
  tg_optimizer *optimizer;
} model;

static bool make_model(model *m) {
  static const uint8_t pixels[2 * 36] = {9, 250, 3, 77, 120, 31, 64, 200, 15, 90, 1, 180};
  static const int32_t labels[2] = {2, 0};
  tg_manual_seed(7);
  m->c1 = tg_kaiming_uniform(TG_SHAPE(2, 1, 3, 3), .name = "c1");
  m->l1 = tg_kaiming_uniform(TG_SHAPE(8, 3), .name = "l1");
  m->b1 = tg_zeros(TG_SHAPE(3), .name = "b1");
  m->x = tg_from(pixels, TG_SHAPE(2, 1, 6, 6), .dtype = TG_UINT8);
  m->y = tg_from(labels, TG_SHAPE(2), .dtype = TG_INT32);
  m->optimizer = tg_adam(TG_LIST(m->c1, m->l1, m->b1), .lr = 0.01);
  return m->x && m->y && m->optimizer;
}

/* One training step. */
static bool train(const model *m) {
  bool done = false;
  TG_SCOPE {
    tg_tensor *x = tg_div(tg_cast(m->x, TG_FLOAT32), 255.0);
    x = tg_max_pool2d(tg_relu(tg_conv2d(x, m->c1)));
    x = tg_add(tg_dot(tg_flatten(x, .start_dim = 1), m->l1), m->b1);
    tg_tensor *loss = tg_sparse_categorical_crossentropy(x, m->y);
    done = tg_zero_grad(m->optimizer) == 0 && tg_backward(loss) == 0 &&
           tg_step_with(m->optimizer, TG_LIST(loss)) == 0;
  }
  return done;
}

/* The parameters' bits, one after the other. */
static void read_params(const model *m, float out[MOST]) {
  tg_tensor *all[PARAMS] = {m->c1, m->l1, m->b1};
  float *to = out;
  for (int i = 0; i < PARAMS; i++) {
    CHECK_OK(tg_to_host(all[i], to, (size_t)tg_nbytes(all[i])) == 0);
    to += tg_numel(all[i]);
  }
}

/* The bits before a step and after it, with memory to spare. */
static void reference(float before[MOST], float then[MOST]) {
  model m;
  CHECK_OK(make_model(&m));
  read_params(&m, before);
  CHECK_OK(train(&m));
  read_params(&m, then);
  CHECK(memcmp(before, then, sizeof(float[MOST])) != 0);
  check_nothing_left(0, "a step");
}

/* A step whose n-th allocation fails. Returns whether no allocation failed. */
static bool step_failing_at(long n, bool all, const float before[MOST], const float then[MOST]) {
  model m;
  float now[MOST];
  CHECK_OK(make_model(&m));
  arm(n, all);
  bool done = train(&m), failed = failed_any();
  disarm();
  const char *message = tg_error();
  test_check(done ? !message : message && strstr(message, "out of memory"), __FILE__, __LINE__,
             "a step, failing at %ld: %s, but its message is %s", n, done ? "it succeeded" : "it failed",
             message ? message : "missing");
  if (all && failed) test_check(!done, __FILE__, __LINE__, "a step succeeds without memory (%ld)", n);
  read_params(&m, now);
  test_check(!memcmp(now, done ? then : before, sizeof now), __FILE__, __LINE__,
             "parameters after a step that %s, failing at %ld", done ? "succeeded" : "failed", n);
  if (!done && n % 8 == 0) { /* and the step can be taken after all */
    CHECK_OK(train(&m));
    read_params(&m, now);
    test_check(!memcmp(now, then, sizeof now), __FILE__, __LINE__,
               "parameters after a second try, failing at %ld", n);
  }
  check_nothing_left(n, "a step");
  return !failed;
}

static void every_step(bool all) {
  float before[MOST], then[MOST];
  clock_t start = clock();
  long n = 1;
  begin();
  reference(before, then);
  while (!step_failing_at(n, all, before, then) && n < 100000) n = after(n, start);
  CHECK(n > 100);
  end();
}

TEST(memory_step_all_later) { every_step(true); }
TEST(memory_step_only_one) { every_step(false); }

/* A step whose plan is in the cache: other allocations, and fewer. */
TEST(memory_step_replayed) {
  float before[MOST], now[MOST];
  clock_t start = clock();
  begin();
  for (long n = 1; n < 100000; n = after(n, start)) {
    model m;
    CHECK_OK(make_model(&m) && train(&m) && train(&m));
    read_params(&m, before);
    arm(n, true);
    bool done = train(&m), failed = failed_any();
    disarm();
    const char *message = tg_error();
    CHECK(done == !failed && !done == !!message);
    read_params(&m, now);
    CHECK(done == !!memcmp(before, now, sizeof now));
    check_nothing_left(n, "a replayed step");
    if (done) break;
  }
  end();
}

/* ---- anything else: work() from nothing, in a scope of its own */

static void every_failure(bool (*work)(void), const char *what) {
  begin();
  for (int all = 0; all < 2; all++) {
    clock_t start = clock();
    for (long n = 1; n < 100000; n = after(n, start)) {
      bool done = false;
      arm(n, all);
      TG_SCOPE { done = work(); }
      bool failed = failed_any();
      disarm();
      const char *message = tg_error();
      test_check(done ? !message : message && strstr(message, "out of memory"), __FILE__, __LINE__,
                 "%s, failing at %ld%s: %s, but its message is %s", what, n, all ? " and later" : "",
                 done ? "it succeeded" : "it failed", message ? message : "missing");
      check_nothing_left(n, what);
      if (!failed) {
        CHECK(done && n > 20);
        break;
      }
    }
  }
  end();
}

static bool work_model(void) {
  model m;
  return make_model(&m);
}
TEST(memory_model) { every_failure(work_model, "making a model"); }

static bool work_creation(void) {
  const float data[4] = {1, 2, 3, 4};
  tg_tensor *all[] = {
      tg_from(data, TG_SHAPE(2, 2), .name = "data"), tg_arange(0, 4), tg_eye(3), tg_full(TG_SHAPE(2), 3),
      tg_rand(TG_SHAPE(3)), tg_randn(TG_SHAPE(3)), tg_randint(TG_SHAPE(3)), tg_empty(TG_SHAPE(0, 3)),
      tg_multinomial(tg_ones(TG_SHAPE(3)), 2, .replacement = true), tg_scalar(2)};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++)
    if (!tg_realize(all[i])) return false;
  return true;
}
TEST(memory_creation) { every_failure(work_creation, "creation"); }

static bool work_indexing(void) {
  tg_tensor *x = tg_contiguous(tg_reshape(tg_arange(0, 12), 3, 4));
  tg_tensor *at = tg_cast(tg_arange(0, 2), TG_INT64);
  tg_tensor *mask = tg_gt(x, 5);
  tg_tensor *a = tg_index(x, TG_BY(at), TG_RANGE(TG_NONE, TG_NONE, -2));
  tg_tensor *b = tg_index(x, TG_BY(mask));
  tg_tensor *c = tg_gather(x, tg_reshape(at, 2, 1), 0);
  tg_tensor *d = tg_scatter_add(x, 1, tg_reshape(at, 1, 2), tg_ones(TG_SHAPE(1, 2)));
  tg_tensor *e = tg_set_index(x, tg_number(7), TG_AT(-1), TG_NEW_AXIS, TG_REST);
  return a && b && c && d && e && tg_corealize(TG_LIST(a, b, c, d, e)) == 0;
}
TEST(memory_indexing) { every_failure(work_indexing, "indexing"); }

static bool work_movement(void) {
  tg_tensor *x = tg_reshape(tg_arange(0, 12), 3, 4), *parts[2];
  if (tg_chunk(x, 2, 1, parts) != 2) return false;
  tg_tensor *a = tg_cat(TG_LIST(parts[1], parts[0]), .axis = 1);
  tg_tensor *b = tg_stack(TG_LIST(a, tg_flip(x, 0, 1)));
  tg_tensor *c = tg_repeat(tg_pad(x, TG_INTS(1, 2, 0, 1), .value = 9), 2, 1);
  char text[100];
  return tg_realize(b) && tg_realize(c) && tg_to_string(c, text, sizeof text) > 0;
}
TEST(memory_movement) { every_failure(work_movement, "movement"); }

static bool work_nn(void) {
  bool old = tg_set_training(true);
  tg_tensor *q = tg_randn(TG_SHAPE(2, 3, 4));
  tg_tensor *a = tg_scaled_dot_product_attention(q, q, q, .causal = true, .dropout = 0.5);
  tg_tensor *b = tg_layernorm(tg_cumsum(a, -1));
  tg_tensor *c = tg_std(tg_conv_transpose2d(tg_reshape(q, 1, 6, 2, 2), tg_ones(TG_SHAPE(6, 1, 2, 2))));
  tg_tensor *d = tg_argmax(tg_avg_pool2d(tg_reshape(q, 1, 1, 4, 6)));
  tg_set_training(old);
  return tg_realize(b) && tg_corealize(TG_LIST(c, d)) == 0;
}
TEST(memory_nn) { every_failure(work_nn, "nn"); }

static tg_tensor *cube(tg_tensor *const *inputs, int count, void *user) {
  (void)count, (void)user;
  return tg_mul(tg_square(inputs[0]), inputs[0]);
}
static bool work_gradcheck(void) {
  const double data[2] = {1.5, -2};
  tg_tensor *x = tg_from(data, TG_SHAPE(2), .dtype = TG_FLOAT64, .requires_grad = TG_GRAD_YES);
  return x && tg_gradcheck(cube, TG_LIST(x)) == 0;
}
TEST(memory_gradcheck) { every_failure(work_gradcheck, "gradcheck"); }

static bool work_state(void) {
  tg_tensor *x = tg_full(TG_SHAPE(3), 2.5, .name = "x");
  tg_tensor *y = tg_assign(tg_contiguous(x), tg_mul(x, 2));
  if (!tg_keep(tg_detach(y)) || !tg_set_name(y, "y")) return false;
  if (!tg_retain(y)) return false;
  bool done = tg_realize(y) && tg_to(y, "REF") && tg_item(tg_sum(y)) == 15.0;
  tg_release(y);
  return done;
}
TEST(memory_state) { every_failure(work_state, "state"); }

/* ---- the door itself */

TEST(memory_allocator_refused) {
  tg_tensor *x = tg_ones(TG_SHAPE(2));
  CHECK(x != NULL);
  CHECK_FAILS(tg_set_allocator(NULL), "tg_shutdown");
  tg_shutdown();
  const tg_allocator half = {failing_alloc, NULL, NULL};
  CHECK_FAILS(tg_set_allocator(&half), "release is NULL");
  CHECK_OK(tg_set_allocator(NULL) == 0);
}

TEST(memory_peaks) {
  tg_shutdown();
  tg_reset_peak();
  int64_t before = tg_get_counters().peak_buffer_bytes;
  TG_SCOPE { CHECK_OK(tg_realize(tg_contiguous(tg_ones(TG_SHAPE(1000))))); }
  CHECK_INT(before, 0);
  CHECK(tg_get_counters().peak_buffer_bytes >= 4000);
  CHECK(tg_get_counters().peak_bytes >= tg_get_counters().peak_buffer_bytes);
  tg_shutdown();
  tg_reset_peak();
  CHECK_INT(tg_get_counters().peak_bytes, 0);
}
