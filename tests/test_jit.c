/* Captured steps: with tg_jit_call a function gives the same bits as without, call
 * after call: outputs, parameters, state, gradients, random numbers. Then what
 * makes a recording void, what is refused, errors in the middle, memory that
 * runs out at every place, two threads. */
#include <pthread.h>
#include <stdatomic.h>

#include "test.h"

/* ---- a small network with dropout */

enum { IN = 12, HID = 9, OUT = 4, ROWS = 6, STEPS = 20, PARAMS = 4,
       MOST = IN * HID + HID + HID * OUT + OUT };

typedef struct net {
  tg_tensor *p[PARAMS];
  tg_optimizer *optimizer;
  int called;          /* how often C code ran */
  bool keeps_grads;    /* no tg_zero_grad: gradients add up */
  bool realizes;       /* in the middle of the step, too */
  int fail_at;         /* the call of the function that fails, from 1 */
} net;

static bool make_net(net *n, int kind) {
  tg_manual_seed(11);
  *n = (net){.p = {tg_kaiming_uniform(TG_SHAPE(IN, HID)), tg_zeros(TG_SHAPE(HID)),
                   tg_kaiming_uniform(TG_SHAPE(HID, OUT)), tg_zeros(TG_SHAPE(OUT))}};
  tg_list all = {PARAMS, n->p};
  n->optimizer = kind == 0 ? tg_adam(all, .lr = 0.01)
                 : kind == 1 ? tg_sgd(all, .lr = 0.1, .momentum = 0.9) : tg_sgd(all, .lr = 0.1);
  return n->optimizer;
}

static tg_tensor *forward(const net *n, tg_tensor *x) {
  tg_tensor *h = tg_dropout(tg_relu(tg_add(tg_dot(x, n->p[0]), n->p[1])), 0.3);
  return tg_add(tg_dot(h, n->p[2]), n->p[3]);
}

/* inputs: x, labels; outputs: the loss, the logits */
static int train_step(tg_list in, tg_tensor **out, void *user) {
  net *n = user;
  if (++n->called == n->fail_at) return -1;
  tg_tensor *logits = forward(n, in.items[0]);
  if (n->realizes && !tg_realize(logits)) return -1;
  out[0] = tg_sparse_categorical_crossentropy(logits, in.items[1]);
  out[1] = logits;
  if (!n->keeps_grads && tg_zero_grad(n->optimizer) < 0) return -1;
  if (tg_backward(out[0]) < 0) return -1;
  return tg_step_with(n->optimizer, TG_LIST(out[0]));
}

static void batch(int step, float x[ROWS * IN], int64_t y[ROWS]) {
  for (int i = 0; i < ROWS * IN; i++) x[i] = (float)((i * 37 + step * 11) % 29) / 29.0f - 0.4f;
  for (int i = 0; i < ROWS; i++) y[i] = (i * 3 + step) % OUT;
}

typedef struct history {
  float loss[STEPS], logits[STEPS][ROWS * OUT], params[MOST], grads[MOST];
  bool failed;
} history;

static bool read_all(tg_tensor *const *t, bool grads, float *to) {
  for (int i = 0; i < PARAMS; i++) {
    tg_tensor *from = grads ? tg_grad(t[i]) : t[i];
    if (!from || tg_to_host(from, to, (size_t)tg_nbytes(from))) return false;
    to += tg_numel(from);
  }
  return true;
}

static bool one_step(tg_jit *jit, net *n, int step, float *loss, float *logits) {
  float x[ROWS * IN];
  int64_t y[ROWS];
  bool done = false;
  batch(step, x, y);
  TG_SCOPE {
    tg_tensor *in[] = {tg_from(x, TG_SHAPE(ROWS, IN)), tg_from(y, TG_SHAPE(ROWS), .dtype = TG_INT64)};
    tg_tensor *out[2] = {NULL, NULL};
    tg_list inputs = {2, in};
    done = (jit ? tg_jit_call(jit, inputs, out) : train_step(inputs, out, n)) == 0;
    if (done && loss) *loss = (float)tg_item(out[0]);
    if (done && logits) done = tg_to_host(out[1], logits, ROWS * OUT * sizeof *logits) == 0;
  }
  return done;
}

static void train(history *h, bool jitted, int kind, bool keeps_grads, bool realizes, int *called) {
  net n;
  bool old = tg_set_training(true);
  memset(h, 0, sizeof *h);
  TG_SCOPE {
    h->failed = !make_net(&n, kind);
    n.keeps_grads = keeps_grads;
    n.realizes = realizes;
    tg_jit *jit = jitted ? tg_jit_new(train_step, 2, &n) : NULL;
    for (int i = 0; i < STEPS && !h->failed; i++) {
      if (i == 9) tg_set_lr(n.optimizer, 0.02);
      h->failed = !one_step(jit, &n, i, &h->loss[i], h->logits[i]);
    }
    h->failed |= !read_all(n.p, false, h->params) || !read_all(n.p, true, h->grads);
    if (called) *called = n.called;
  }
  tg_set_training(old);
}

static void compare(int kind, bool keeps_grads, bool realizes) {
  static history plain, jitted;
  int called = 0;
  train(&plain, false, kind, keeps_grads, realizes, NULL);
  train(&jitted, true, kind, keeps_grads, realizes, &called);
  CHECK_OK(!plain.failed && !jitted.failed);
  CHECK(!memcmp(&plain, &jitted, sizeof plain));
  CHECK(plain.loss[0] != plain.loss[STEPS - 1] && isfinite(plain.loss[STEPS - 1]));
  CHECK_INT(called, 2); /* once without gradients there, once with */
}

TEST(jit_gives_the_bits_of_the_function) {
  for (int kind = 0; kind < 3; kind++) compare(kind, false, false);
}

TEST(jit_adds_up_gradients) { compare(2, true, false); }

TEST(jit_records_several_runs) { compare(0, false, true); }

/* ---- two threads at once */

typedef struct worker {
  history got;
  int kind;
} worker;

static void *work(void *context) {
  worker *w = context;
  train(&w->got, true, w->kind, false, false, NULL);
  return NULL;
}

TEST(jit_in_two_threads) {
  static history want[2];
  static worker w[2] = {{.kind = 0}, {.kind = 1}};
  pthread_t thread[2];
  for (int i = 0; i < 2; i++) train(&want[i], false, i, false, false, NULL);
  for (int i = 0; i < 2; i++) CHECK_INT(pthread_create(&thread[i], NULL, work, &w[i]), 0);
  for (int i = 0; i < 2; i++) pthread_join(thread[i], NULL);
  for (int i = 0; i < 2; i++)
    CHECK(!w[i].got.failed && !memcmp(&want[i], &w[i].got, sizeof want[i]));
}

/* ---- small functions */

typedef struct state {
  tg_tensor *a, *b;
  int called;
} state;

/* out = x a + b; a += x; b is read only */
static int accumulate(tg_list in, tg_tensor **out, void *user) {
  state *s = user;
  s->called++;
  out[0] = tg_add(tg_mul(in.items[0], s->a), s->b);
  return tg_assign(s->a, tg_add(s->a, in.items[0])) ? 0 : -1;
}

static tg_tensor *call1(tg_jit *jit, tg_tensor *x) {
  tg_tensor *out = NULL;
  return tg_jit_call(jit, TG_LIST(x), &out) ? NULL : out;
}

static tg_tensor *pair(double x, double y) {
  return tg_from(((float[]){(float)x, (float)y}), TG_SHAPE(2));
}

TEST(jit_follows_assignment) {
  state s = {pair(1, 2), pair(10, 20), 0};
  tg_jit *jit = tg_jit_new(accumulate, 1, &s);
  CHECK_VALUES(call1(jit, pair(1, 1)), 0, 0, 11, 22);
  tg_tensor *old = tg_detach(s.a); /* who holds the old value keeps it */
  CHECK_VALUES(call1(jit, pair(1, 1)), 0, 0, 12, 23);
  CHECK_VALUES(call1(jit, pair(2, 0)), 0, 0, 16, 20);
  CHECK_VALUES(old, 0, 0, 2, 3);
  CHECK_VALUES(s.a, 0, 0, 5, 4);
  CHECK_INT(s.called, 1);
  tg_assign(s.b, tg_mul(s.b, 2)); /* from outside, not computed yet */
  tg_assign(s.a, pair(0, 0));
  CHECK_VALUES(call1(jit, pair(3, 4)), 0, 0, 20, 40);
  CHECK_VALUES(s.a, 0, 0, 3, 4);
  CHECK_INT(s.called, 1);
}

TEST(jit_outputs_are_tensors_of_their_own) {
  state s = {pair(1, 2), pair(0, 0), 0};
  tg_jit *jit = tg_jit_new(accumulate, 1, &s);
  tg_tensor *one = call1(jit, pair(1, 1)), *two = call1(jit, pair(1, 1));
  tg_tensor *three = call1(jit, pair(1, 1));
  CHECK_VALUES(one, 0, 0, 1, 2);
  CHECK_VALUES(two, 0, 0, 2, 3);
  CHECK_VALUES(three, 0, 0, 3, 4);
  CHECK(tg_is_realized(two) && tg_requires_grad(two) != TG_GRAD_YES);
}

/* Two tensors that share memory when recorded and part later. */
static int averaged(tg_list in, tg_tensor **out, void *user) {
  state *s = user;
  s->called++;
  out[0] = tg_sub(s->a, s->b);
  if (!tg_assign(s->a, tg_add(s->a, in.items[0]))) return -1;
  return tg_assign(s->b, tg_div(tg_add(s->a, s->b), 2)) ? 0 : -1;
}

TEST(jit_tells_tensors_of_one_memory_apart) {
  state s = {pair(4, 8), NULL, 0};
  s.b = tg_detach(s.a);
  tg_jit *jit = tg_jit_new(averaged, 1, &s);
  CHECK_VALUES(call1(jit, pair(2, 4)), 0, 0, 0, 0);
  CHECK_VALUES(s.b, 0, 0, 5, 10);
  CHECK_VALUES(call1(jit, pair(2, 4)), 0, 0, 1, 2);
  CHECK_VALUES(s.b, 0, 0, 6.5, 13);
  CHECK_VALUES(call1(jit, pair(0, 0)), 0, 0, 1.5, 3);
  CHECK_INT(s.called, 2);
}

static int draw(tg_list in, tg_tensor **out, void *user) {
  (void)in;
  ++*(int *)user;
  out[0] = tg_rand(TG_SHAPE(4));
  out[1] = tg_dropout(tg_ones(TG_SHAPE(64)), 0.5);
  return 0;
}

TEST(jit_random_numbers_go_on) {
  float plain[5][4], jitted[5][4];
  int called = 0;
  for (int way = 0; way < 2; way++) {
    tg_jit *jit = tg_jit_new(draw, 2, &called);
    tg_manual_seed(5);
    for (int i = 0; i < 5; i++) {
      tg_tensor *out[2];
      tg_list none = {0, NULL};
      CHECK_OK((way ? tg_jit_call(jit, none, out) : draw(none, out, &called)) == 0);
      CHECK_OK(tg_to_host(out[0], way ? jitted[i] : plain[i], sizeof plain[i]) == 0);
    }
  }
  CHECK(!memcmp(plain, jitted, sizeof plain));
  CHECK(memcmp(jitted[3], jitted[4], sizeof jitted[3]) != 0);
  CHECK_INT(called, 6);
}

TEST(jit_records_again_when_modes_change) {
  int called = 0;
  tg_jit *jit = tg_jit_new(draw, 2, &called);
  tg_tensor *out[2];
  for (int i = 0; i < 3; i++) CHECK_OK(tg_jit_call(jit, (tg_list){0, NULL}, out) == 0);
  CHECK_CLOSE(tg_item(tg_sum(out[1])), 64, 0, 0);
  bool old = tg_set_training(true);
  for (int i = 0; i < 3; i++) CHECK_OK(tg_jit_call(jit, (tg_list){0, NULL}, out) == 0);
  CHECK(tg_item(tg_sum(out[1])) != 64);
  tg_set_training(old);
  CHECK_INT(called, 2);
}

static int grow(tg_list in, tg_tensor **out, void *user) {
  state *s = user;
  s->called++;
  out[0] = tg_mul(in.items[0], tg_sum(s->a));
  return 0;
}

TEST(jit_inside_another) {
  state s = {pair(1, 2), NULL, 0};
  tg_jit *inner = tg_jit_new(grow, 1, &s);
  CHECK_VALUES(call1(inner, pair(1, 3)), 0, 0, 3, 9);
  CHECK_VALUES(call1(inner, tg_mul(pair(1, 3), 2)), 0, 0, 6, 18);
  CHECK_INT(s.called, 1);
}

static int outer(tg_list in, tg_tensor **out, void *user) {
  if (tg_jit_call(user, in, out)) return -1;
  out[0] = tg_add(out[0], 1);
  return 0;
}

TEST(jit_calls_another) {
  state s = {pair(1, 2), NULL, 0};
  tg_jit *jit = tg_jit_new(outer, 1, tg_jit_new(grow, 1, &s));
  for (int i = 0; i < 3; i++) CHECK_VALUES(call1(jit, pair(i, 3)), 0, 0, 3 * i + 1, 10);
  CHECK_INT(s.called, 1);
}

static int give_back(tg_list in, tg_tensor **out, void *user) {
  state *s = user;
  s->called++;
  out[0] = in.items[0];
  out[1] = s->a;
  out[2] = tg_reshape(tg_mul(in.items[0], 2), 2, 1);
  return 0;
}

TEST(jit_gives_back_what_it_got) {
  state s = {pair(1, 2), NULL, 0};
  tg_jit *jit = tg_jit_new(give_back, 3, &s);
  for (int i = 0; i < 3; i++) {
    tg_tensor *out[3];
    CHECK_OK(tg_jit_call(jit, TG_LIST(pair(i, 7)), out) == 0);
    CHECK_VALUES(out[0], 0, 0, i, 7);
    CHECK_VALUES(out[1], 0, 0, 1, 2);
    CHECK_VALUES(out[2], 0, 0, 2 * i, 14);
    CHECK_INT(tg_ndim(out[2]), 2);
  }
  CHECK_INT(s.called, 1);
}

/* ---- what is refused */

static int reads(tg_list in, tg_tensor **out, void *user) {
  tg_tensor *sum = tg_sum(in.items[0]);
  const char text[] = "";
  (void)text;
  switch (*(int *)user) {
    case 0: out[0] = tg_mul(in.items[0], tg_item(sum)); break;
    case 1: out[0] = tg_data(sum) ? sum : NULL; break;
    case 2: tg_manual_seed(1); out[0] = sum; break;
    case 3: return -1;
    case 4: break;
    default: return tg_fail("a message of the function"), -1;
  }
  return 0;
}

TEST(jit_refuses) {
  static const char *const message[] = {"make it an output", "make it an output", "tg_manual_seed",
                                        "failed without a message", "has not set output 0",
                                        "a message of the function"};
  tg_tensor *out = NULL, *x = pair(1, 2);
  for (int i = 0; i < 6; i++) {
    tg_jit *jit = tg_jit_new(reads, 1, &i);
    for (int again = 0; again < 2; again++)
      CHECK_FAILS(tg_jit_call(jit, TG_LIST(x), &out), message[i]);
    CHECK(out == NULL);
  }
}

TEST(jit_arguments) {
  state s = {pair(1, 2), pair(0, 0), 0};
  tg_tensor *out = NULL, *x = pair(1, 1);
  CHECK_NULL(tg_jit_new(NULL, 1, NULL), "NULL");
  CHECK_NULL(tg_jit_new(accumulate, -1, &s), "-1 outputs");
  tg_jit *jit = tg_jit_new(accumulate, 1, &s);
  CHECK_FAILS(tg_jit_call(NULL, TG_LIST(x), &out), "tg_jit_call: got NULL");
  CHECK_FAILS(tg_jit_call(jit, TG_LIST(x), NULL), "outputs is NULL; give room for 1");
  CHECK_FAILS(tg_jit_call(jit, (tg_list){1, NULL}, &out), "the list has 1 tensors at NULL");
  CHECK_FAILS(tg_jit_call(jit, TG_LIST(NULL), &out), "got NULL");
  CHECK_FAILS(tg_jit_call(jit, TG_LIST(x, tg_detach(x)), &out), "inputs 0 and 1 are the same");
  CHECK_INT(s.called, 0);
  CHECK_OK(tg_jit_call(jit, TG_LIST(x), &out) == 0);
  CHECK_FAILS(tg_jit_call(jit, TG_LIST(tg_ones(TG_SHAPE(3))), &out), "input 0 is (3,) of float32");
  CHECK_FAILS(tg_jit_call(jit, TG_LIST(tg_cast(x, TG_FLOAT64)), &out), "of float64");
  CHECK_FAILS(tg_jit_call(jit, TG_LIST(x, pair(0, 0)), &out), "2 inputs, but 1");
  CHECK(out == NULL);
  CHECK_VALUES(s.a, 0, 0, 2, 3);
  CHECK_OK(tg_jit_call(jit, TG_LIST(x), &out) == 0);
  CHECK_VALUES(s.a, 0, 0, 3, 4);
}

/* A label that is no class is found by the kernel: parameters stay, and the next
 * call goes on. */
TEST(jit_error_in_a_replay) {
  net n;
  float before[MOST], now[MOST];
  CHECK_OK(make_net(&n, 0));
  tg_jit *jit = tg_jit_new(train_step, 2, &n);
  for (int i = 0; i < 3; i++) CHECK_OK(one_step(jit, &n, i, NULL, NULL));
  CHECK_OK(read_all(n.p, false, before));
  tg_tensor *x = tg_ones(TG_SHAPE(ROWS, IN)), *y = tg_full(TG_SHAPE(ROWS), OUT, .dtype = TG_INT64);
  tg_tensor *out[2];
  CHECK_FAILS(tg_jit_call(jit, TG_LIST(x, y), out), "out of range");
  CHECK(!out[0] && !out[1]);
  CHECK_OK(read_all(n.p, false, now));
  CHECK(!memcmp(before, now, sizeof now));
  CHECK_OK(one_step(jit, &n, 3, NULL, NULL));
  CHECK_OK(read_all(n.p, false, now));
  CHECK(memcmp(before, now, sizeof now) != 0);
  CHECK_INT(n.called, 2);
}

TEST(jit_error_in_the_function) {
  net n;
  CHECK_OK(make_net(&n, 1));
  n.fail_at = 1;
  tg_jit *jit = tg_jit_new(train_step, 2, &n);
  CHECK(!one_step(jit, &n, 0, NULL, NULL));
  CHECK(tg_error() != NULL);
  for (int i = 0; i < 4; i++) CHECK_OK(one_step(jit, &n, i, NULL, NULL));
  CHECK_INT(n.called, 3);
}

TEST(jit_grads_gone_in_between) {
  static float want[MOST], got[MOST];
  for (int way = 0; way < 2; way++) TG_SCOPE {
    net n;
    CHECK_OK(make_net(&n, 2));
    n.keeps_grads = true;
    tg_jit *jit = way ? tg_jit_new(train_step, 2, &n) : NULL;
    for (int i = 0; i < 8; i++) {
      if (i == 5) tg_zero_grad(n.optimizer);
      CHECK_OK(one_step(jit, &n, i, NULL, NULL));
    }
    CHECK_OK(read_all(n.p, false, way ? got : want));
  }
  CHECK(!memcmp(want, got, sizeof got));
}

/* ---- memory that runs out */

static atomic_long jit_calls;
static long jit_fail_at;

static void *jit_alloc(size_t size, void *user) {
  (void)user;
  return atomic_fetch_add(&jit_calls, 1) + 1 == jit_fail_at ? NULL : malloc(size);
}

static void jit_release(void *memory, size_t size, void *user) {
  (void)size, (void)user;
  free(memory);
}

/* Three calls that work, but that the n-th allocation of call `which` fails. It may
 * fail with that call, which changes nothing, or go by. */
static bool failing(long n, int which, const float want[MOST]) {
  net n1;
  float before[MOST], now[MOST];
  CHECK_OK(make_net(&n1, 0));
  tg_jit *jit = tg_jit_new(train_step, 2, &n1);
  for (int i = 0; i < which; i++) CHECK_OK(one_step(jit, &n1, i, NULL, NULL));
  CHECK_OK(read_all(n1.p, false, before));
  jit_calls = 0;
  jit_fail_at = n;
  bool done = one_step(jit, &n1, which, NULL, NULL), over = jit_calls < n;
  jit_fail_at = 0;
  CHECK((tg_error() != NULL) == !done);
  CHECK_OK(read_all(n1.p, false, now));
  if (!done) {
    CHECK(!memcmp(before, now, sizeof now));
    CHECK_OK(one_step(jit, &n1, which, NULL, NULL));
    CHECK_OK(read_all(n1.p, false, now));
  }
  CHECK(!memcmp(want, now, sizeof now));
  tg_shutdown();
  tg_counters c = tg_get_counters();
  CHECK_INT(c.tensors + c.nodes + c.buffers + c.bytes, 0);
  return over;
}

TEST(jit_memory_runs_out) {
  static float want[3][MOST];
  tg_shutdown();
  CHECK_OK(tg_set_allocator(&(tg_allocator){jit_alloc, jit_release, NULL}) == 0);
  net n;
  CHECK_OK(make_net(&n, 0));
  for (int i = 0; i < 3; i++) {
    CHECK_OK(one_step(NULL, &n, i, NULL, NULL));
    CHECK_OK(read_all(n.p, false, want[i]));
  }
  tg_shutdown();
  for (int which = 0; which < 3; which += 2)
    for (long i = 1; !failing(i, which, want[which]); i += which ? 1 : 1 + i / 16) {
    }
  CHECK_OK(tg_set_allocator(NULL) == 0);
}
