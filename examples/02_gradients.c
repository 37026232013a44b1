/* 02: gradients.
 *
 * Training means: change the parameters a little, again and again, so that an
 * error, the loss, gets smaller. The gradient of the loss by a parameter says in
 * which direction. tg_backward computes it for every parameter at once, by
 * walking back over all that was computed on the way to the loss.
 *
 * First one gradient that can be checked by hand; then a line a x + b is fitted
 * to points, with the update written out, as an optimizer would do it.
 *
 * Build and run:  make examples && build/examples/02_gradients
 */
#include <math.h>
#include <stdio.h>
#include <teenygrad/teenygrad.h>

/* f(x) = x^3 - 2 x, so f'(x) = 3 x^2 - 2. At x = 2: 10. */
static void by_hand(void) {
  tg_tensor *x = tg_scalar(2, .requires_grad = TG_GRAD_YES);
  tg_tensor *f = tg_sub(tg_pow(x, 3), tg_mul(2, x));
  tg_backward(f);
  printf("f(2) = %g, f'(2) = %g\n", tg_item(f), tg_item(tg_grad(x)));
}

/* One step of gradient descent: p = p - rate * gradient. Updating is no part of
 * what is differentiated, hence TG_NO_GRAD. */
static void descend(tg_tensor *p, double rate) {
  TG_NO_GRAD tg_realize(tg_assign(p, tg_sub(p, tg_mul(tg_grad(p), rate))));
  tg_set_grad(p, NULL);
}

/* Points on y = 3 x - 1, with some noise; returns 0 when a and b are found. */
static int fit_a_line(void) {
  tg_tensor *x = tg_realize(tg_uniform(TG_SHAPE(200), .low = -2, .high = 2));
  tg_tensor *noise = tg_normal(TG_SHAPE(200), .std = 0.1);
  tg_tensor *y = tg_realize(tg_add(tg_sub(tg_mul(x, 3), 1), noise));

  tg_tensor *a = tg_zeros(TG_SCALAR, .requires_grad = TG_GRAD_YES);
  tg_tensor *b = tg_zeros(TG_SCALAR, .requires_grad = TG_GRAD_YES);
  for (int step = 0; step <= 50; step++) TG_SCOPE {
    tg_tensor *guess = tg_add(tg_mul(a, x), b);
    tg_tensor *loss = tg_mean(tg_square(tg_sub(guess, y)));
    if (tg_backward(loss) != 0) return -1;
    if (step % 10 == 0)
      printf("step %2d: loss %.4f, y = %.3f x %+.3f\n", step, tg_item(loss), tg_item(a),
             tg_item(b));
    descend(a, 0.2);
    descend(b, 0.2);
  }
  double off = fmax(fabs(tg_item(a) - 3), fabs(tg_item(b) + 1));
  if (!(off < 0.05)) tg_fail("the line found is off by %g", off);
  return off < 0.05 ? 0 : -1;
}

int main(void) {
  int status = -1;
  tg_manual_seed(1);
  TG_SCOPE {
    by_hand();
    status = fit_a_line();
  }
  const char *error = tg_error();
  if (error) fprintf(stderr, "02_gradients: %s\n", error);
  tg_shutdown();
  return status == 0 && !error ? 0 : 1;
}
