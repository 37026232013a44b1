/* 05: saving and loading.
 *
 * A tensor is saved under its name, so what is to be saved needs one; the
 * tensors that an optimizer keeps are named after their parameters. The file is
 * an .npz, which numpy.load reads too. It is written aside and then renamed: an
 * interrupted run never leaves half a file.
 *
 * The proof: a model is trained for 20 steps, saved, and trained for 20 more.
 * A second model loads the file and trains for the same 20 steps. Both end with
 * the same loss, bit for bit, because the optimizer's state was saved as well.
 *
 * Build and run:  make examples && build/examples/05_save_and_load
 */
#include <stdio.h>
#include <teenygrad/teenygrad.h>

typedef struct model {
  tg_tensor *w1, *w2;
  tg_optimizer *adam;
} model;

static model make_model(void) {
  model m = {.w1 = tg_glorot_uniform(TG_SHAPE(8, 16), .name = "w1"),
             .w2 = tg_glorot_uniform(TG_SHAPE(16, 1), .name = "w2")};
  m.adam = tg_adam(TG_LIST(m.w1, m.w2), .lr = 0.01);
  return m;
}

/* Everything that has to be remembered: the parameters, then Adam's m and v for
 * each of them and its count of steps. */
#define STATE_MAX 16
static tg_list state(const model *m, tg_tensor *items[STATE_MAX]) {
  int64_t count = 0;
  for (tg_tensor *t; count < STATE_MAX && (t = tg_optimizer_state(m->adam, count)); count++)
    items[count] = t;
  return (tg_list){count, items};
}

/* Learns to add up eight numbers; returns the last loss. */
static double train(const model *m, uint64_t seed) {
  double last = 0;
  tg_manual_seed(seed);
  for (int step = 0; step < 20; step++) TG_SCOPE {
    tg_tensor *x = tg_realize(tg_randn(TG_SHAPE(32, 8)));
    tg_tensor *y = tg_sum(x, .axis = TG_INTS(1), .keepdim = true);
    tg_tensor *loss = tg_mean(tg_square(tg_sub(tg_dot(tg_relu(tg_dot(x, m->w1)), m->w2), y)));
    tg_zero_grad(m->adam);
    if (tg_backward(loss) != 0 || tg_step_with(m->adam, TG_LIST(loss)) != 0) return -1;
    last = tg_item(loss);
  }
  return last;
}

static int run(const char *path) {
  tg_tensor *items[STATE_MAX];
  model first = make_model(), second = make_model();
  printf("after 20 steps: loss %.9g\n", train(&first, 1));
  if (tg_save_npz(path, state(&first, items)) != 0) return -1;
  printf("saved to %s\n", path);
  double loss = train(&first, 2);
  printf("after 40 steps: loss %.9g\n", loss);

  if (tg_load_npz(path, state(&second, items)) != 0) return -1;
  double again = train(&second, 2);
  printf("loaded, after 20 more steps: loss %.9g\n", again);
  if (!(again == loss)) tg_fail("the loaded model went another way");

  /* A file that does not fit is refused, and the model stays as it is. */
  tg_tensor *other = tg_set_name(tg_zeros(TG_SHAPE(3)), "w1");
  if (tg_load_npz(path, TG_LIST(other)) == 0) tg_fail("a wrong shape was accepted");
  else printf("as it should, this failed: %s\n", tg_error());
  return 0;
}

int main(int argc, char **argv) {
  int status = -1;
  tg_manual_seed(5);
  TG_SCOPE { status = run(argc > 1 ? argv[1] : "05_save_and_load.npz"); }
  const char *error = tg_error();
  if (error) fprintf(stderr, "05_save_and_load: %s\n", error);
  tg_shutdown();
  return status == 0 && !error ? 0 : 1;
}
