/* What the header offers to language bindings: kinds of failure, owners of optimizers, hooks around
 * runs, the Functions that a tensor keeps. */
#include "test.h"

TEST(bindings_failure_kinds) {
  tg_tensor *a = tg_ones(TG_SHAPE(2, 3));
  tg_clear_error();
  CHECK_INT(tg_failure_kind(), TG_FAILURE_NONE);
  tg_add(a, tg_ones(TG_SHAPE(4)));
  CHECK_INT(tg_failure_kind(), TG_FAILURE_ARGUMENT);
  CHECK(tg_error() != NULL);
  tg_sum(a, .axis = TG_INTS(2));
  CHECK_INT(tg_failure_kind(), TG_FAILURE_INDEX);
  tg_add(a, tg_ones(TG_SHAPE(4))); /* the first failure stays */
  CHECK_INT(tg_failure_kind(), TG_FAILURE_INDEX);
  CHECK(tg_error() != NULL);
  tg_index(a, TG_AT(2));
  CHECK_INT(tg_failure_kind(), TG_FAILURE_INDEX);
  CHECK(tg_error() != NULL);
}

TEST(bindings_own_optimizer) {
  tg_tensor *w = tg_take_ownership(tg_ones(TG_SHAPE(2), .requires_grad = TG_GRAD_YES));
  tg_optimizer *o = NULL;
  TG_SCOPE o = tg_take_optimizer(tg_sgd(TG_LIST(w), .lr = 0.5));
  TG_SCOPE {
    CHECK_INT(tg_backward(tg_sum(tg_square(w))), 0);
    CHECK_INT(tg_step(o), 0);
    CHECK(tg_item(tg_sum(w)) == 0);
  }
  tg_free_optimizer(o);
  tg_release(w);
  CHECK(tg_take_optimizer(NULL) == NULL);
}

/* ---- hooks */

static int hooks_left, hooks_entered;
static bool hooks_say_stop;
static void *hook_leave(void) { return ++hooks_left, &hooks_left; }
static void hook_enter(void *left) { hooks_entered += left == &hooks_left; }
static bool hook_stop(void) { return hooks_say_stop; }

/* Longer than the library waits between two questions, on any machine. */
static tg_tensor *long_work(void) {
  tg_tensor *x = tg_realize(tg_rand(TG_SHAPE(256, 256))), *y = x;
  for (int i = 0; i < 400; i++) y = tg_mul(tg_dot(y, x), 0.01);
  return y;
}

TEST(bindings_run_hooks) {
  const tg_run_hooks hooks = {hook_leave, hook_enter, hook_stop};
  tg_set_run_hooks(&hooks);
  hooks_left = hooks_entered = 0;
  CHECK(tg_item(tg_sum(tg_add(tg_ones(TG_SHAPE(3)), 1))) == 6);
  CHECK(hooks_left >= 1 && hooks_left == hooks_entered);
  hooks_say_stop = true;
  tg_tensor *y = long_work(), *part = tg_shrink(y, 0, 1, 0, 1);
  CHECK_NULL(tg_realize(part), "interrupted");
  CHECK_INT(tg_failure_kind(), TG_FAILURE_INTERRUPTED);
  CHECK(!tg_is_realized(part));
  hooks_say_stop = false;
  CHECK(tg_item(tg_sum(tg_ones(TG_SHAPE(5)))) == 5);
  tg_set_run_hooks(NULL);
  int before = hooks_left;
  CHECK(tg_realize(tg_add(tg_ones(TG_SHAPE(3)), 2)) != NULL);
  CHECK_INT(hooks_left, before);
}

/* ---- Functions that only one tensor keeps */

static tg_tensor *twice(tg_context *c, tg_tensor *const *inputs, int count) {
  (void)c, (void)count;
  return tg_mul(inputs[0], 2);
}
static const tg_function twice_function = {"Twice", twice, NULL, NULL};
static void count_user(void *user, void *arg) { *(int *)arg += *(int *)user; }

TEST(bindings_visit_users) {
  int one = 1, found = 0;
  tg_tensor *x = tg_ones(TG_SHAPE(2), .requires_grad = TG_GRAD_YES);
  tg_tensor *made = tg_apply(&twice_function, TG_LIST(x), &one);
  tg_visit_users(made, count_user, &found);
  CHECK_INT(found, 1);
  tg_retain(made);
  found = 0;
  tg_visit_users(made, count_user, &found); /* somebody else keeps it, too */
  CHECK_INT(found, 0);
  tg_release(made);
  tg_tensor *later = NULL;
  TG_SCOPE {
    tg_tensor *inner = tg_apply(&twice_function, TG_LIST(x), &one);
    later = tg_take_ownership(tg_add(tg_exp(inner), 1));
  }
  found = 0;
  tg_visit_users(later, count_user, &found); /* through what nobody holds but the graph */
  CHECK_INT(found, 1);
  tg_release(later);
  tg_visit_users(NULL, count_user, &found);
  CHECK_INT(found, 1);
}

TEST(bindings_stop_threads) {
  for (int i = 0; i < 3; i++) {
    tg_tensor *x = tg_ones(TG_SHAPE(300, 300));
    CHECK(tg_item(tg_sum(tg_dot(x, x))) == 300.0 * 300 * 300);
    tg_stop_threads();
  }
}
