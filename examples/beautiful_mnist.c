/* beautiful_mnist: a larger network, as tinygrad's example of that name: four
 * convolutions with batch normalization, 98 of 100 digits and more after 70
 * steps of 512 images.
 *
 * Batch normalization (Ioffe and Szegedy 2015) is written out here as a layer
 * with state. In training it uses the mean and variance of the batch, and keeps
 * running averages of them; in testing, where a guess must not depend on the
 * other images of the batch, it uses the averages.
 * The learning rate falls from step to step, from --lr down to nothing.
 *
 * Build and run:  make examples && build/examples/beautiful_mnist
 */
#include "common.h"

typedef struct batch_norm {
  tg_tensor *weight, *bias, *mean, *var; /* [C] */
} batch_norm;

typedef struct network {
  tg_tensor *c1, *b1, *c2, *b2, *c3, *b3, *c4, *b4, *l, *lb;
  batch_norm n1, n2;
} network;

static batch_norm make_norm(int64_t channels, const char *weight, const char *bias,
                            const char *mean, const char *var) {
  return (batch_norm){
      .weight = tg_ones(TG_SHAPE(channels), .name = weight),
      .bias = tg_zeros(TG_SHAPE(channels), .name = bias),
      .mean = tg_zeros(TG_SHAPE(channels), .name = mean, .requires_grad = TG_GRAD_NO),
      .var = tg_ones(TG_SHAPE(channels), .name = var, .requires_grad = TG_GRAD_NO),
  };
}

/* mean becomes 0.9 mean + 0.1 of the batch; computed with the step. */
static void keep_average(tg_tensor *mean, tg_tensor *batch) {
  tg_assign(mean, tg_add(tg_mul(mean, 0.9), tg_mul(tg_detach(batch), 0.1)));
}

static tg_tensor *normalize(const batch_norm *n, tg_tensor *x) {
  tg_tensor *mean = n->mean, *var = n->var;
  if (tg_training()) {
    mean = tg_mean(x, .axis = TG_INTS(0, 2, 3));
    tg_tensor *off = tg_sub(x, tg_reshape(mean, 1, -1, 1, 1));
    var = tg_mean(tg_square(off), .axis = TG_INTS(0, 2, 3));
    keep_average(n->mean, mean);
    keep_average(n->var, var);
  }
  return tg_batchnorm(x, n->weight, n->bias, mean, tg_rsqrt(tg_add(var, 1e-5)));
}

static network make_network(void) {
  return (network){
      .c1 = tg_kaiming_uniform(TG_SHAPE(32, 1, 5, 5), .name = "c1", .a = 2.236),
      .b1 = tg_zeros(TG_SHAPE(32), .name = "b1"),
      .c2 = tg_kaiming_uniform(TG_SHAPE(32, 32, 5, 5), .name = "c2", .a = 2.236),
      .b2 = tg_zeros(TG_SHAPE(32), .name = "b2"),
      .n1 = make_norm(32, "n1.weight", "n1.bias", "n1.mean", "n1.var"),
      .c3 = tg_kaiming_uniform(TG_SHAPE(64, 32, 3, 3), .name = "c3", .a = 2.236),
      .b3 = tg_zeros(TG_SHAPE(64), .name = "b3"),
      .c4 = tg_kaiming_uniform(TG_SHAPE(64, 64, 3, 3), .name = "c4", .a = 2.236),
      .b4 = tg_zeros(TG_SHAPE(64), .name = "b4"),
      .n2 = make_norm(64, "n2.weight", "n2.bias", "n2.mean", "n2.var"),
      .l = tg_uniform(TG_SHAPE(576, 10), .low = -1.0 / 24, .high = 1.0 / 24, .name = "l"),
      .lb = tg_zeros(TG_SHAPE(10), .name = "lb"),
  };
}

static tg_tensor *forward(const void *model, tg_tensor *x) {
  const network *n = model;
  x = tg_div(tg_float(tg_reshape(x, -1, 1, 28, 28)), 255);
  x = tg_relu(tg_conv2d(x, n->c1, .bias = n->b1));
  x = tg_relu(tg_conv2d(x, n->c2, .bias = n->b2));
  x = tg_max_pool2d(normalize(&n->n1, x));
  x = tg_relu(tg_conv2d(x, n->c3, .bias = n->b3));
  x = tg_relu(tg_conv2d(x, n->c4, .bias = n->b4));
  x = tg_max_pool2d(normalize(&n->n2, x));
  return tg_linear(tg_flatten(x, .start_dim = 1), n->l, .bias = n->lb);
}

/* All that training changes through gradients, and all that is to be saved. */
#define PARAMS(n)                                                                  \
  (n)->c1, (n)->b1, (n)->c2, (n)->b2, (n)->c3, (n)->b3, (n)->c4, (n)->b4, (n)->l,  \
      (n)->lb, (n)->n1.weight, (n)->n1.bias, (n)->n2.weight, (n)->n2.bias
#define AVERAGES(n) (n)->n1.mean, (n)->n1.var, (n)->n2.mean, (n)->n2.var

static int train(const network *n, const mnist *data, const options *o) {
  tg_optimizer *optimizer = make_optimizer(o, TG_LIST(PARAMS(n)));
  int64_t images = tg_dim(data->train_images, 0);
  tg_progress bar = tg_progress_begin("training", o->steps);
  tg_set_training(true);
  for (int64_t step = 1; step <= o->steps && !interrupted; step++) TG_SCOPE {
    tg_tensor *pick = tg_randint(TG_SHAPE(o->batch), .high = (double)images);
    tg_tensor *y = tg_take(data->train_labels, pick);
    tg_tensor *out = forward(n, tg_take(data->train_images, pick));
    tg_tensor *loss = tg_sparse_categorical_crossentropy(out, y);
    tg_tensor *right = tg_mean(tg_eq(tg_argmax(out, .axis = TG_INTS(-1)), y));
    tg_zero_grad(optimizer);
    /* Large steps first, small ones at the end: the learning rate falls to 0. */
    tg_set_lr(optimizer, o->lr * (double)(o->steps + 1 - step) / (double)o->steps);
    tg_backward(loss);
    if (tg_step_with(optimizer, TG_LIST(loss, right, AVERAGES(n))) != 0) return -1;
    double l = tg_item(loss), r = tg_item(right);
    tg_progress_step(&bar, "loss %.3f  accuracy %.1f %%", l, r * 100);
    report(&bar, step, o, l, r);
  }
  tg_set_training(false);
  return finish(&bar, o);
}

static int run(const options *o) {
  mnist data;
  if (load_mnist(&data, o) != 0) return -1;
  tg_manual_seed((uint64_t)o->seed);
  network n = make_network();
  tg_list weights = TG_LIST(PARAMS(&n), AVERAGES(&n));
  if (o->load) return tg_load_npz(o->load, weights) == 0 ? test(forward, &n, &data) : -1;
  if (train(&n, &data, o) != 0 || test(forward, &n, &data) != 0) return -1;
  if (tg_save_npz(o->save, weights) != 0) return -1;
  printf("weights saved to %s\n", o->save);
  return 0;
}

int main(int argc, char **argv) {
  options o = {.program = "beautiful_mnist", .steps = 70, .batch = 512, .lr = 0.004, .seed = 1337,
               .optimizer = "adam", .save = "beautiful_mnist.npz"};
  int status = -1;
  read_options(&o, argc, argv);
  catch_interrupt();
  TG_SCOPE { status = run(&o); }
  return end_program(&o, status);
}
