/* mnist: the main job. Trains TinyConvNet on MNIST, tests it on the 10,000 test
 * images, shows a few that it reads wrongly, and saves the weights.
 *
 * The network, as in teenygrad: two 3x3 convolutions, each with relu and 2x2 max
 * pooling, then one matrix down to ten numbers. The images stay uint8 in memory;
 * the first convolution's kernel casts them as it reads. 100 steps of 128 images
 * read more than 93 of 100 digits.
 *
 * Build and run:  make mnist        or:  build/examples/mnist --help
 */
#include "common.h"

typedef struct tiny_conv_net {
  tg_tensor *c1, *c2, *l1;
} tiny_conv_net;

static tiny_conv_net make_net(void) {
  return (tiny_conv_net){
      .c1 = tg_scaled_uniform(TG_SHAPE(8, 1, 3, 3), .name = "c1"),
      .c2 = tg_scaled_uniform(TG_SHAPE(16, 8, 3, 3), .name = "c2"),
      .l1 = tg_scaled_uniform(TG_SHAPE(400, 10), .name = "l1"),
  };
}

static tg_tensor *forward(const void *model, tg_tensor *x) {
  const tiny_conv_net *net = model;
  x = tg_float(tg_reshape(x, -1, 1, 28, 28));
  x = tg_max_pool2d(tg_relu(tg_conv2d(x, net->c1)));
  x = tg_max_pool2d(tg_relu(tg_conv2d(x, net->c2)));
  return tg_log_softmax(tg_dot(tg_flatten(x, .start_dim = 1), net->l1));
}

static int train(const tiny_conv_net *net, const mnist *data, const options *o) {
  tg_optimizer *optimizer = make_optimizer(o, TG_LIST(net->c1, net->c2, net->l1));
  int64_t images = tg_dim(data->train_images, 0);
  tg_progress bar = tg_progress_begin("training", o->steps);
  for (int64_t step = 1; step <= o->steps && !interrupted; step++) TG_SCOPE {
    tg_tensor *pick = tg_randint(TG_SHAPE(o->batch), .high = (double)images);
    tg_tensor *y = tg_take(data->train_labels, pick);
    tg_tensor *out = forward(net, tg_take(data->train_images, pick));
    tg_tensor *loss = tg_sparse_categorical_crossentropy(out, y);
    tg_tensor *right = tg_mean(tg_eq(tg_argmax(out, .axis = TG_INTS(-1)), y));
    tg_zero_grad(optimizer);
    tg_backward(loss);
    if (tg_step_with(optimizer, TG_LIST(loss, right)) != 0) return -1;
    double l = tg_item(loss), r = tg_item(right);
    tg_progress_step(&bar, "loss %.3f  accuracy %.1f %%", l, r * 100);
    report(&bar, step, o, l, r);
  }
  return finish(&bar, o);
}

static int run(const options *o) {
  mnist data;
  if (load_mnist(&data, o) != 0) return -1;
  tg_manual_seed((uint64_t)o->seed);
  tiny_conv_net net = make_net();
  tg_list weights = TG_LIST(net.c1, net.c2, net.l1);
  if (o->load) return tg_load_npz(o->load, weights) == 0 ? test(forward, &net, &data) : -1;
  if (train(&net, &data, o) != 0 || test(forward, &net, &data) != 0) return -1;
  if (tg_save_npz(o->save, weights) != 0) return -1;
  printf("weights saved to %s\n", o->save);
  return 0;
}

int main(int argc, char **argv) {
  options o = {.program = "mnist", .steps = 100, .batch = 128, .lr = 0.001, .seed = 1337,
               .optimizer = "adam", .save = "mnist.npz"};
  int status = -1;
  read_options(&o, argc, argv);
  catch_interrupt();
  TG_SCOPE { status = run(&o); }
  return end_program(&o, status);
}
