/* 01: tensors.
 *
 * A tensor is an array of numbers with a shape and an element type. This
 * program makes some, computes with them, looks at them, and makes a mistake on
 * purpose. Three things to notice:
 *
 *   - Nothing is computed when tg_add or tg_sum is called. They note down what
 *     is wanted; printing a value makes it happen, in one go.
 *   - Nothing is freed by hand. TG_SCOPE { ... } frees what was made inside.
 *   - Errors are checked once, at the end: a failed call returns NULL, every
 *     call that is given NULL returns NULL, and tg_error() tells the first cause.
 *
 * Build and run:  make examples && build/examples/01_tensors
 */
#include <stdio.h>
#include <teenygrad/teenygrad.h>

/* Prints a name and a tensor. */
static void show(const char *name, tg_tensor *t) {
  char text[1000];
  if (tg_to_string(t, text, sizeof text) >= 0) printf("%s = %s\n", name, text);
}

static void arithmetic(void) {
  const float data[] = {1, 2, 3, 4, 5, 6};
  tg_tensor *x = tg_from(data, TG_SHAPE(2, 3));
  show("x", x);
  show("x + 1", tg_add(x, 1));
  show("1 / x", tg_div(1, x));

  /* Optional arguments are written with their names. */
  show("sum of all", tg_sum(x));
  show("sum of columns", tg_sum(x, .axis = TG_INTS(0)));
  show("row maxima", tg_max(x, .axis = TG_INTS(1), .keepdim = true));

  /* A row of three meets two rows of three: it is used for both. */
  tg_tensor *row = tg_arange(0, 3);
  show("x * row", tg_mul(x, row));
  show("x . x^T", tg_matmul(x, tg_T(x)));
}

static void shapes(void) {
  tg_tensor *x = tg_reshape(tg_arange(0, 12), 3, 4);
  show("x", x);
  show("x transposed", tg_permute(x, 1, 0));
  show("x[1]", tg_index(x, TG_AT(1)));
  show("x[:, ::-1]", tg_index(x, TG_ALL, TG_RANGE(TG_NONE, TG_NONE, -1)));
  show("x[-1, 1:3]", tg_index(x, TG_AT(-1), TG_RANGE(1, 3, 1)));
  show("x > 5", tg_gt(x, 5));
  show("x where > 5, else 0", tg_where(tg_gt(x, 5), x, 0));
}

static void mistakes(void) {
  tg_tensor *a = tg_zeros(TG_SHAPE(2, 3)), *b = tg_zeros(TG_SHAPE(4));
  tg_tensor *c = tg_exp(tg_add(a, b)); /* the sum fails, so exp gets NULL */
  if (!c) printf("as it should, this failed: %s\n", tg_error());
}

int main(void) {
  TG_SCOPE {
    arithmetic();
    shapes();
    mistakes();

    /* The same seed gives the same random numbers, on any machine. */
    tg_manual_seed(42);
    show("random", tg_rand(TG_SHAPE(3)));
  }
  const char *error = tg_error();
  if (error) fprintf(stderr, "01_tensors: %s\n", error);
  printf("tensors alive at the end: %lld\n", (long long)tg_get_counters().tensors);
  tg_shutdown();
  return error ? 1 : 0;
}
