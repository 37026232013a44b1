/* 03: a network of your own.
 *
 * Two spirals are wound into each other; which one does a point belong to? No
 * line separates them, so the network needs hidden layers: 2 numbers in, 32, 32,
 * then one number out, positive for the one spiral and negative for the other.
 *
 * The parameters live outside the training loop, in the scope of main; all that
 * a step makes lives in the step's own TG_SCOPE and is freed with it. The
 * optimizer, Adam, does what `descend` did in 02_gradients.c, only better.
 *
 * Build and run:  make examples && build/examples/03_network
 */
#include <math.h>
#include <stdio.h>
#include <teenygrad/teenygrad.h>

#define POINTS 400
#define HIDDEN 32

typedef struct network {
  tg_tensor *w1, *b1, *w2, *b2, *w3, *b3;
} network;

static network make_network(void) {
  return (network){
      .w1 = tg_glorot_uniform(TG_SHAPE(2, HIDDEN), .name = "w1"),
      .b1 = tg_zeros(TG_SHAPE(HIDDEN), .name = "b1"),
      .w2 = tg_glorot_uniform(TG_SHAPE(HIDDEN, HIDDEN), .name = "w2"),
      .b2 = tg_zeros(TG_SHAPE(HIDDEN), .name = "b2"),
      .w3 = tg_glorot_uniform(TG_SHAPE(HIDDEN, 1), .name = "w3"),
      .b3 = tg_zeros(TG_SHAPE(1), .name = "b3"),
  };
}

static tg_tensor *forward(const network *n, tg_tensor *x) {
  x = tg_tanh(tg_linear(x, n->w1, .bias = n->b1));
  x = tg_tanh(tg_linear(x, n->w2, .bias = n->b2));
  return tg_reshape(tg_linear(x, n->w3, .bias = n->b3), -1);
}

/* Points (x, y) and 1 or 0 for the spiral that each lies on. */
static void make_spirals(tg_tensor **points, tg_tensor **labels) {
  static float xy[POINTS][2], which[POINTS];
  for (int i = 0; i < POINTS; i++) {
    double turn = 0.5 + (i / 2) / (POINTS / 2.0) * 1.5 * 6.2832; /* one and a half turns */
    double side = i % 2 ? 1 : -1;
    xy[i][0] = (float)(side * turn * cos(turn) / 5);
    xy[i][1] = (float)(side * turn * sin(turn) / 5);
    which[i] = (float)(i % 2);
  }
  *points = tg_from(xy, TG_SHAPE(POINTS, 2));
  *labels = tg_from(which, TG_SHAPE(POINTS));
}

/* The network's map of the plane: # and . for the two spirals. */
static void draw(const network *n) {
  enum { ROWS = 21, COLUMNS = 42 };
  static float xy[ROWS * COLUMNS][2], out[ROWS * COLUMNS];
  for (int i = 0; i < ROWS * COLUMNS; i++) {
    xy[i][0] = (float)(i % COLUMNS) / COLUMNS * 4.4f - 2.2f;
    xy[i][1] = (float)(i / COLUMNS) / ROWS * 4.4f - 2.2f;
  }
  TG_SCOPE {
    tg_to_host(forward(n, tg_from(xy, TG_SHAPE(ROWS * COLUMNS, 2))), out, sizeof out);
  }
  for (int i = 0; i < ROWS * COLUMNS; i++) {
    putchar(out[i] > 0 ? '#' : '.');
    if (i % COLUMNS == COLUMNS - 1) putchar('\n');
  }
}

static int train(const network *n, tg_tensor *points, tg_tensor *labels) {
  tg_optimizer *adam = tg_adam(TG_LIST(n->w1, n->b1, n->w2, n->b2, n->w3, n->b3), .lr = 0.01);
  for (int step = 1; step <= 1000; step++) TG_SCOPE {
    tg_tensor *out = forward(n, points);
    tg_tensor *loss = tg_binary_crossentropy_logits(out, labels);
    tg_tensor *right = tg_mean(tg_eq(tg_gt(out, 0), tg_gt(labels, 0.5)));
    tg_zero_grad(adam);
    /* One schedule computes the step, the loss and the accuracy. */
    if (tg_backward(loss) != 0 || tg_step_with(adam, TG_LIST(loss, right)) != 0) return -1;
    if (step % 100 == 0)
      printf("step %4d: loss %.4f, accuracy %.1f %%\n", step, tg_item(loss),
             100 * tg_item(right));
    if (step == 1000 && !(tg_item(right) > 0.98)) tg_fail("the network learned too little");
  }
  return 0;
}

int main(void) {
  int status = -1;
  tg_manual_seed(7);
  TG_SCOPE {
    tg_tensor *points, *labels;
    network n = make_network();
    make_spirals(&points, &labels);
    status = train(&n, points, labels);
    if (status == 0) draw(&n);
  }
  const char *error = tg_error();
  if (error) fprintf(stderr, "03_network: %s\n", error);
  tg_shutdown();
  return status == 0 && !error ? 0 : 1;
}
