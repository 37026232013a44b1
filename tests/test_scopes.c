/* Ownership beyond the plain rules of test_base.c: memory that is borrowed,
 * gradients and graphs that outlive a scope, scopes left in every way, and that
 * after all of it nothing is counted any more. */
#include "test.h"

static tg_counters now(void) { return tg_get_counters(); }

/* ---- borrowed memory */

typedef struct lender {
  float data[6];
  int releases;
  void *released;
} lender;

static void give_back(void *data, void *user) {
  lender *l = user;
  l->releases++;
  l->released = data;
}

TEST(scopes_borrow_releases_once) {
  lender l = {.data = {1, 2, 3, 4, 5, 6}};
  TG_SCOPE {
    tg_tensor *x = tg_borrow(l.data, TG_SHAPE(2, 3), TG_FLOAT32, give_back, &l);
    CHECK_OK(x);
    CHECK(tg_data(x) == l.data); /* no copy */
    CHECK(tg_is_realized(x));
    CHECK_VALUES(tg_mul(x, 2), 0, 0, 2, 4, 6, 8, 10, 12);
    CHECK_INT(l.releases, 0);
  }
  CHECK_INT(l.releases, 1);
  CHECK(l.released == l.data);
}

TEST(scopes_borrow_lives_as_long_as_a_view) {
  lender l = {.data = {1, 2, 3, 4, 5, 6}};
  TG_SCOPE {
    tg_tensor *row = NULL;
    TG_SCOPE {
      tg_tensor *x = tg_borrow(l.data, TG_SHAPE(2, 3), TG_FLOAT32, give_back, &l);
      row = tg_keep(tg_index(x, TG_AT(1)));
    }
    CHECK_INT(l.releases, 0);
    CHECK_VALUES(row, 0, 0, 4, 5, 6);
    tg_tensor *same = tg_realize(tg_reshape(tg_borrow(l.data, TG_SHAPE(6), TG_FLOAT32, NULL, NULL), 3, 2));
    CHECK_VALUES(same, 0, 0, 1, 2, 3, 4, 5, 6);
  }
  CHECK_INT(l.releases, 1);
}

TEST(scopes_borrow_is_not_written) {
  lender l = {.data = {1, 2, 3}};
  TG_SCOPE {
    tg_tensor *x = tg_borrow(l.data, TG_SHAPE(3), TG_FLOAT32, give_back, &l);
    CHECK_OK(tg_realize(tg_assign(x, tg_mul(x, 10))));
    CHECK_VALUES(x, 0, 0, 10, 20, 30);
    CHECK_CLOSE(l.data[0], 1, 0, 0);
    CHECK_INT(l.releases, 1); /* nobody needs it any more */
    CHECK_OK(tg_set_index(tg_borrow(l.data, TG_SHAPE(3), TG_FLOAT32, NULL, NULL), tg_number(9), TG_AT(0)));
    CHECK_CLOSE(l.data[0], 1, 0, 0);
  }
  CHECK_INT(l.releases, 1);
}

TEST(scopes_borrow_refused_releases_nothing) {
  lender l = {.data = {1}};
  CHECK_NULL(tg_borrow(l.data, TG_SHAPE(-1), TG_FLOAT32, give_back, &l), "tg_borrow");
  CHECK_NULL(tg_borrow((char *)l.data + 1, TG_SHAPE(1), TG_FLOAT32, give_back, &l), "multiple of 4");
  CHECK_INT(l.releases, 0);
  TG_SCOPE { CHECK_OK(tg_borrow(NULL, TG_SHAPE(0), TG_FLOAT32, give_back, &l)); }
  CHECK_INT(l.releases, 1);
}

/* ---- what outlives a scope */

TEST(scopes_graph_outlives_its_inputs) {
  tg_tensor *sum = NULL;
  int64_t before = now().tensors;
  TG_SCOPE {
    TG_SCOPE {
      const float data[3] = {1, 2, 3};
      tg_tensor *x = tg_from(data, TG_SHAPE(3));
      sum = tg_keep(tg_sum(tg_exp(tg_log(x))));
    }
    CHECK_INT(now().tensors, before + 1);
    CHECK_CLOSE(tg_item(sum), 6, 1e-5, 0);
  }
  CHECK_INT(now().tensors, before);
}

TEST(scopes_backward_after_the_inputs_scope) {
  tg_tensor *w = tg_ones(TG_SHAPE(3), .requires_grad = TG_GRAD_YES), *loss = NULL;
  TG_SCOPE {
    tg_tensor *x = tg_arange(0, 3);
    loss = tg_keep(tg_sum(tg_mul(w, x)));
  }
  TG_SCOPE { CHECK_OK(tg_backward(loss) == 0); }
  CHECK_VALUES(tg_grad(w), 0, 0, 0, 1, 2); /* the parameter owns its gradient */
  TG_SCOPE { CHECK_OK(tg_set_grad(w, tg_ones(TG_SHAPE(3)))); }
  CHECK_VALUES(tg_grad(w), 0, 0, 1, 1, 1);
  CHECK_OK(tg_set_grad(w, NULL));
  CHECK(!tg_grad(w));
}

TEST(scopes_assign_keeps_the_value) {
  tg_tensor *x = tg_zeros(TG_SHAPE(2));
  TG_SCOPE {
    const float data[2] = {3, 4};
    tg_assign(x, tg_add(tg_from(data, TG_SHAPE(2)), 1));
  }
  CHECK_VALUES(x, 0, 0, 4, 5);
}

TEST(scopes_keep_twice_goes_out_two) {
  int64_t before = now().tensors;
  tg_tensor *x = NULL;
  TG_SCOPE {
    TG_SCOPE {
      TG_SCOPE { x = tg_keep(tg_ones(TG_SHAPE(2))); }
      tg_keep(x);
      tg_keep(x); /* it is outside already */
    }
    CHECK_VALUES(x, 0, 0, 1, 1);
  }
  CHECK_INT(now().tensors, before);
}

/* An optimizer belongs to its scope, and holds its parameters. */
TEST(scopes_own_optimizers) {
  tg_counters before = now();
  for (int i = 0; i < 3; i++) TG_SCOPE {
      tg_tensor *p = NULL;
      tg_optimizer *optimizer = NULL;
      TG_SCOPE {
        p = tg_keep(tg_ones(TG_SHAPE(4)));
        optimizer = tg_adam(TG_LIST(p));
        CHECK_OK(optimizer && tg_backward(tg_sum(p)) == 0 && tg_step(optimizer) == 0);
      }
      CHECK_OK(tg_realize(p));
    }
  CHECK_INT(now().tensors, before.tensors);
  CHECK_INT(now().nodes, before.nodes);
}

/* ---- leaving early */

static int leave(int how) {
  TG_SCOPE {
    tg_ones(TG_SHAPE(2));
    TG_SCOPE {
      tg_ones(TG_SHAPE(2));
      for (int i = 0; i < 2; i++) {
        TG_SCOPE {
          tg_ones(TG_SHAPE(2));
          if (how == 0) return 1;
          if (how == 1) goto out;
          if (how == 2) break;
          if (how == 3) continue;
        }
      }
      if (how == 4) TG_NO_GRAD return 1;
    }
  }
out:
  return 0;
}

TEST(scopes_left_in_every_way) {
  int64_t before = now().tensors;
  for (int how = 0; how < 6; how++) {
    leave(how);
    CHECK_INT(now().tensors, before);
    CHECK(!tg_no_grad());
  }
}

TEST(scopes_without_braces) {
  int64_t before = now().tensors;
  if (before >= 0) TG_SCOPE tg_ones(TG_SHAPE(2));
  else CHECK(false);
  for (int i = 0; i < 3; i++) TG_SCOPE TG_NO_GRAD tg_ones(TG_SHAPE(2));
  CHECK_INT(now().tensors, before);
}

/* ---- the end */

TEST(scopes_nothing_is_left) {
  tg_shutdown();
  tg_ones(TG_SHAPE(3)); /* in no scope but the root */
  TG_SCOPE {
    tg_tensor *x = tg_set_requires_grad(tg_randn(TG_SHAPE(3, 4)), TG_GRAD_YES);
    tg_tensor *y = tg_softmax(tg_dot(x, tg_T(x)));
    CHECK_OK(tg_backward(tg_mean(y)) == 0 && tg_realize(tg_grad(x)));
    tg_exp(tg_reshape(x, 12)); /* never realized */
  }
  CHECK(now().bytes > 0);
  tg_shutdown();
  CHECK(!now().tensors && !now().nodes && !now().buffers && !now().bytes && !now().buffer_bytes);
}

/* A long chain of tensors, each holding the one before, dies without recursion. */
TEST(scopes_deep_chains_die) {
  int64_t before = now().nodes;
  TG_SCOPE {
    tg_tensor *x = tg_ones(TG_SHAPE(2), .requires_grad = TG_GRAD_YES);
    for (int i = 0; i < 200000 && x; i++) {
      tg_tensor *next = tg_take_ownership(tg_neg(x));
      if (i) tg_release(x);
      x = next;
    }
    CHECK_OK(x);
    tg_release(x);
  }
  CHECK_INT(now().nodes, before);
}
