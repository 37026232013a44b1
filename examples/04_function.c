/* 04: a Function of your own.
 *
 * Most things can be composed of what is there, and their gradient follows.
 * Where you know a better gradient, you write a Function: `forward` computes the
 * result and saves what `backward` needs; `backward` gets d loss / d result and
 * gives d loss / d input for each input.
 *
 * Here: squareplus, a smooth relu (Barron 2021),
 *
 *     f(x, b) = (x + sqrt(x^2 + b)) / 2
 *     df/dx   = (1 + x / sqrt(x^2 + b)) / 2
 *     df/db   = 1 / (4 sqrt(x^2 + b))
 *
 * tg_gradcheck compares such a backward with differences of the forward; a wrong
 * one does not get past it, as the second Function shows.
 *
 * Build and run:  make examples && build/examples/04_function
 */
#include <stdio.h>
#include <teenygrad/teenygrad.h>

static tg_tensor *squareplus_forward(tg_context *c, tg_tensor *const *in, int count) {
  (void)count;
  tg_tensor *x = in[0], *b = in[1];
  tg_tensor *root = tg_sqrt(tg_add(tg_square(x), b));
  if (tg_save_for_backward(c, x) != 0 || tg_save_for_backward(c, root) != 0) return NULL;
  return tg_div(tg_add(x, root), 2);
}

static int squareplus_backward(tg_context *c, tg_tensor *grad, tg_tensor **grads) {
  tg_tensor *x = tg_saved(c, 0), *root = tg_saved(c, 1);
  grads[0] = tg_mul(grad, tg_div(tg_add(1, tg_div(x, root)), 2));
  /* b is one number for all of x: its gradient is the sum over them. */
  if (tg_needs_grad(c, 1)) grads[1] = tg_sum(tg_div(grad, tg_mul(root, 4)));
  return grads[0] ? 0 : -1;
}

static const tg_function squareplus_function = {
    .name = "squareplus", .forward = squareplus_forward, .backward = squareplus_backward};

static tg_tensor *squareplus(tg_tensor *x, tg_tensor *b) {
  return tg_apply(&squareplus_function, TG_LIST(x, b), NULL);
}

/* The same with a mistake: a factor of 2 is missing. */
static int wrong_backward(tg_context *c, tg_tensor *grad, tg_tensor **grads) {
  grads[0] = tg_mul(grad, tg_add(1, tg_div(tg_saved(c, 0), tg_saved(c, 1))));
  return grads[0] ? 0 : -1;
}

static const tg_function wrong_function = {
    .name = "wrong", .forward = squareplus_forward, .backward = wrong_backward};

/* What tg_gradcheck calls: a function of the inputs. */
static tg_tensor *checked(tg_tensor *const *in, int count, void *user) {
  (void)count;
  return tg_apply(user, TG_LIST(in[0], in[1]), NULL);
}

static int check(const tg_function *f) {
  /* The check needs float64: differences of nearly equal numbers lose digits. */
  tg_tensor *x = tg_randn(TG_SHAPE(3, 4), .dtype = TG_FLOAT64, .requires_grad = TG_GRAD_YES);
  tg_tensor *b = tg_scalar(1.5, .dtype = TG_FLOAT64, .requires_grad = TG_GRAD_YES);
  return tg_gradcheck(checked, TG_LIST(x, b), .user = (void *)(uintptr_t)f);
}

static int use(void) {
  const float data[] = {-2, -1, 0, 1, 2};
  char text[500];
  tg_tensor *x = tg_from(data, TG_SHAPE(5), .requires_grad = TG_GRAD_YES);
  tg_tensor *y = squareplus(x, tg_scalar(1));
  if (tg_to_string(y, text, sizeof text) < 0) return -1;
  printf("squareplus: %s\n", text);
  if (tg_backward(tg_sum(y)) != 0) return -1;
  if (tg_to_string(tg_grad(x), text, sizeof text) < 0) return -1;
  printf("its slope:  %s\n", text);
  return 0;
}

int main(void) {
  int status = -1;
  tg_manual_seed(3);
  TG_SCOPE {
    status = use();
    if (check(&squareplus_function) != 0) status = -1;
    else printf("squareplus: the gradient is right\n");
    if (status == 0) {
      if (check(&wrong_function) == 0) tg_fail("the wrong gradient passed the check");
      else printf("wrong: found out, %s\n", tg_error());
    }
  }
  const char *error = tg_error();
  if (error) fprintf(stderr, "04_function: %s\n", error);
  tg_shutdown();
  return status == 0 && !error ? 0 : 1;
}
