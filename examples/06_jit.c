/* 06: a captured step.
 *
 * A small network shows its training step to the library 2,000 times, and it is the
 * same step each time: only points and labels differ. tg_jit_new takes the step as
 * a function; tg_jit_call runs it once and writes down what that was, and from then
 * on runs what is written down. The C code of the step is not called again, so
 * whatever changes must come in through the inputs or live in tensors.
 *
 * Build and run:  make examples && build/examples/06_jit
 */
#include <stdio.h>
#include <teenygrad/teenygrad.h>

enum { STEPS = 2000, POINTS = 16 };

typedef struct network {
  tg_tensor *w1, *b1, *w2, *b2;
  tg_optimizer *optimizer;
  int calls; /* how often the step's C code ran */
} network;

/* inputs: points [N, 2] and what they should give [N]; output: the loss */
static int step(tg_list inputs, tg_tensor **outputs, void *user) {
  network *n = user;
  n->calls++;
  tg_tensor *x = tg_tanh(tg_linear(inputs.items[0], n->w1, .bias = n->b1));
  x = tg_reshape(tg_linear(x, n->w2, .bias = n->b2), -1);
  outputs[0] = tg_binary_crossentropy_logits(x, inputs.items[1]);
  if (tg_zero_grad(n->optimizer) < 0 || tg_backward(outputs[0]) < 0) return -1;
  return tg_step_with(n->optimizer, TG_LIST(outputs[0]));
}

/* Is a point of the square inside of the circle? */
static void make_points(int seed, float xy[POINTS][2], float inside[POINTS]) {
  for (int i = 0; i < POINTS; i++) {
    int at = (seed * POINTS + i) * 7919 % 10201;
    xy[i][0] = (float)(at % 101) / 50 - 1;
    xy[i][1] = (float)(at / 101) / 50 - 1;
    inside[i] = xy[i][0] * xy[i][0] + xy[i][1] * xy[i][1] < 0.5f;
  }
}

static int train(network *n, tg_jit *jit) {
  float xy[POINTS][2], inside[POINTS];
  int failed = 0;
  for (int i = 0; i <= STEPS && !failed; i++) TG_SCOPE {
    make_points(i, xy, inside);
    tg_tensor *x = tg_from(xy, TG_SHAPE(POINTS, 2)), *y = tg_from(inside, TG_SHAPE(POINTS)), *loss;
    failed = tg_jit_call(jit, TG_LIST(x, y), &loss);
    if (!failed && i % 500 == 0) printf("step %4d  loss %.3f\n", i, tg_item(loss));
  }
  if (!failed) printf("the C code of the step ran %d times\n", n->calls);
  return failed;
}

int main(void) {
  tg_manual_seed(1);
  network n = {.w1 = tg_glorot_uniform(TG_SHAPE(2, 16)), .b1 = tg_zeros(TG_SHAPE(16)),
               .w2 = tg_glorot_uniform(TG_SHAPE(16, 1)), .b2 = tg_zeros(TG_SHAPE(1))};
  n.optimizer = tg_adam(TG_LIST(n.w1, n.b1, n.w2, n.b2), .lr = 0.01);
  tg_jit *jit = tg_jit_new(step, 1, &n);
  int failed = !jit || train(&n, jit);
  if (failed) fprintf(stderr, "06_jit: %s\n", tg_error());
  tg_shutdown();
  return failed ? 1 : 0;
}
