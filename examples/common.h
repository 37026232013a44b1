/* What mnist.c and beautiful_mnist.c share: options, the data, interruption,
 * evaluation, and digits as text. The networks and their training are in the
 * programs themselves.
 *
 * What goes to standard output is the same in every run with the same seed;
 * progress, times and messages go to standard error. Exit status: 0, or 1 after
 * an error, 2 for a wrong option, 130 when interrupted.
 */
#ifndef EXAMPLES_COMMON_H
#define EXAMPLES_COMMON_H

#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <teenygrad/teenygrad.h>

/* ------------------------------------------------------------- options -- */

typedef struct options {
  const char *program;
  int64_t steps, batch, seed;
  double lr;
  const char *optimizer, *data, *save, *load;
} options;

static void print_help(const options *o) {
  printf("%s: trains on MNIST, tests on its 10,000 test images and saves the weights.\n"
         "\n"
         "  --steps N        training steps (%lld)\n"
         "  --batch N        images per step (%lld)\n"
         "  --lr X           learning rate (%g)\n"
         "  --optimizer NAME sgd, adam, adamw or lamb (%s)\n"
         "  --seed N         another one gives other numbers (%lld)\n"
         "  --data DIR       folder of the four IDX files (build/data/mnist, else data/mnist);\n"
         "                   Fashion-MNIST has the same format\n"
         "  --save FILE      where the weights go (%s)\n"
         "  --load FILE      test with saved weights instead of training\n"
         "  --help           this text\n"
         "\n"
         "TG_THREADS=N in the environment sets the number of threads.\n",
         o->program, (long long)o->steps, (long long)o->batch, o->lr, o->optimizer,
         (long long)o->seed, o->save);
}

static void bad_option(const options *o, const char *option, const char *value, const char *want) {
  fprintf(stderr, "%s: %s %s: %s; see --help\n", o->program, option, value ? value : "", want);
  exit(2);
}

static int64_t read_count(const options *o, const char *option, const char *value, int64_t low) {
  char *end;
  errno = 0;
  long long n = strtoll(value, &end, 10);
  if (end == value || *end || errno || n < low || n > INT32_MAX)
    bad_option(o, option, value, "not a whole number of a sensible size");
  return n;
}

static double read_rate(const options *o, const char *option, const char *value) {
  char *end;
  double x = strtod(value, &end);
  if (end == value || *end || !(x > 0 && x < 1e6)) bad_option(o, option, value, "not above 0");
  return x;
}

static void read_option(options *o, const char *option, const char *value) {
  if (strcmp(option, "--steps") == 0) o->steps = read_count(o, option, value, 1);
  else if (strcmp(option, "--batch") == 0) o->batch = read_count(o, option, value, 1);
  else if (strcmp(option, "--seed") == 0) o->seed = read_count(o, option, value, 0);
  else if (strcmp(option, "--lr") == 0) o->lr = read_rate(o, option, value);
  else if (strcmp(option, "--optimizer") == 0) o->optimizer = value;
  else if (strcmp(option, "--data") == 0) o->data = value;
  else if (strcmp(option, "--save") == 0) o->save = value;
  else if (strcmp(option, "--load") == 0) o->load = value;
}

/* Changes `o`, which holds the defaults, as the command line says. Ends the
 * program after --help and for what cannot be understood. */
static void read_options(options *o, int argc, char **argv) {
  static const char *const known[] = {"--steps", "--batch", "--seed", "--lr", "--optimizer",
                                      "--data",  "--save",  "--load"};
  for (int i = 1; i < argc; i += 2) {
    if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
      print_help(o);
      exit(0);
    }
    size_t k = 0;
    while (k < sizeof known / sizeof *known && strcmp(argv[i], known[k]) != 0) k++;
    if (k == sizeof known / sizeof *known) bad_option(o, argv[i], NULL, "no such option");
    if (i + 1 == argc) bad_option(o, argv[i], NULL, "a value is missing");
    read_option(o, argv[i], argv[i + 1]);
  }
  static const char *const optimizers[] = {"sgd", "adam", "adamw", "lamb"};
  for (int i = 0; i < 4; i++)
    if (strcmp(o->optimizer, optimizers[i]) == 0) return;
  bad_option(o, "--optimizer", o->optimizer, "not sgd, adam, adamw or lamb");
}

static tg_optimizer *make_optimizer(const options *o, tg_list params) {
  if (strcmp(o->optimizer, "sgd") == 0) return tg_sgd(params, .lr = o->lr);
  if (strcmp(o->optimizer, "adamw") == 0) return tg_adamw(params, .lr = o->lr);
  if (strcmp(o->optimizer, "lamb") == 0) return tg_lamb(params, .lr = o->lr);
  return tg_adam(params, .lr = o->lr);
}

/* -------------------------------------------------------- interruption -- */

static volatile sig_atomic_t interrupted;
static void interrupt(int number) {
  (void)number;
  interrupted = 1;
}

/* The first Ctrl-C lets the step at hand finish; a second one ends at once. */
static void catch_interrupt(void) {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = interrupt;
  action.sa_flags = (int)SA_RESETHAND;
  sigaction(SIGINT, &action, NULL);
  sigaction(SIGTERM, &action, NULL);
}

static double seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---------------------------------------------------------------- data -- */

/* Images are [N, 28, 28] and labels [N], both uint8. */
typedef struct mnist {
  tg_tensor *train_images, *train_labels, *test_images, *test_labels;
} mnist;

/* DIR/name, or DIR/name.gz where only that exists. */
static tg_tensor *load_part(const char *folder, const char *name) {
  char path[4096];
  snprintf(path, sizeof path, "%s/%s.gz", folder, name);
  bool packed = access(path, R_OK) == 0;
  snprintf(path, sizeof path, "%s/%s", folder, name);
  if (packed && access(path, F_OK) != 0) strncat(path, ".gz", sizeof path - strlen(path) - 1);
  return tg_load_idx(path);
}

static int check_pair(const char *folder, tg_tensor *images, tg_tensor *labels) {
  if (!images || !labels) return -1;
  if (tg_ndim(images) != 3 || tg_dim(images, 1) != 28 || tg_dim(images, 2) != 28 ||
      tg_ndim(labels) != 1 || tg_dim(images, 0) != tg_dim(labels, 0) || tg_dim(labels, 0) < 1 ||
      tg_dtype_of(images) != TG_UINT8 || tg_dtype_of(labels) != TG_UINT8) {
    tg_fail("the files in %s are not [N, 28, 28] images and N labels of uint8", folder);
    return -1;
  }
  const uint8_t *label = tg_data(labels);
  for (int64_t i = 0; label && i < tg_numel(labels); i++)
    if (label[i] > 9) {
      tg_fail("label %lld in %s is %d; only 0 to 9 are known", (long long)i, folder, label[i]);
      return -1;
    }
  return label ? 0 : -1;
}

static int load_mnist(mnist *data, const options *o) {
  const char *folder = o->data;
  if (!folder) {
    folder = "build/data/mnist";
    if (access(folder, F_OK) != 0) folder = "data/mnist";
  }
  data->test_images = load_part(folder, "t10k-images-idx3-ubyte");
  data->test_labels = load_part(folder, "t10k-labels-idx1-ubyte");
  if (check_pair(folder, data->test_images, data->test_labels) != 0) return -1;
  if (o->load) return 0;
  data->train_images = load_part(folder, "train-images-idx3-ubyte");
  data->train_labels = load_part(folder, "train-labels-idx1-ubyte");
  return check_pair(folder, data->train_images, data->train_labels);
}

/* ------------------------------------------------------------ training -- */

/* A line for the log, ten times per run; a progress bar replaces it. */
static void report(const tg_progress *bar, int64_t step, const options *o, double loss,
                   double accuracy) {
  int64_t every = o->steps > 10 ? o->steps / 10 : 1;
  if (bar->visible || step % every != 0) return;
  printf("step %4lld  loss %.6f  accuracy %.2f %%\n", (long long)step, loss, accuracy * 100);
  fflush(stdout);
}

/* Says how training ended. 0, or -1 when it was interrupted. */
static int finish(tg_progress *bar, const options *o) {
  double taken = seconds() - bar->started;
  tg_progress_end(bar);
  if (interrupted) {
    tg_fail("interrupted after %lld of %lld steps; nothing was saved, %s is as it was before",
            (long long)bar->done, (long long)o->steps, o->save);
    return -1;
  }
  fprintf(stderr, "%lld steps in %.2f s\n", (long long)bar->done, taken);
  return 0;
}

/* ---------------------------------------------------------- evaluation -- */

typedef tg_tensor *(*model_function)(const void *model, tg_tensor *images);

/* The model's guess for each test image into guesses[]; the share of right ones,
 * or -1. In batches, so that memory stays small; each is a tensor on the images
 * where they lie, so all batches look alike and the second is a replay. */
static double evaluate(model_function forward, const void *model, const mnist *data,
                       int64_t *guesses) {
  int64_t count = tg_dim(data->test_images, 0), right = 0, batch = 500;
  int64_t pixels = tg_numel(data->test_images) / count;
  const uint8_t *label = tg_data(data->test_labels), *image = tg_data(data->test_images);
  for (int64_t from = 0; from < count; from += batch) TG_SCOPE TG_NO_GRAD {
    int64_t to = from + batch < count ? from + batch : count;
    tg_tensor *images = tg_borrow((void *)(image + from * pixels), TG_SHAPE(to - from, 28, 28),
                                  TG_UINT8, NULL, NULL);
    tg_tensor *guess = tg_argmax(forward(model, images), .axis = TG_INTS(-1));
    size_t size = (size_t)(to - from) * sizeof *guesses;
    if (tg_to_host(guess, guesses + from, size) != 0) return -1;
    for (int64_t i = from; i < to; i++) right += guesses[i] == label[i];
    if (interrupted) {
      tg_fail("interrupted while testing");
      return -1;
    }
  }
  return (double)right / (double)count;
}

/* Two rows of pixels make one row of text. */
static void print_row(const uint8_t *image, int row) {
  static const char shade[] = " .:-=+*#%@";
  for (int x = 2; x < 26; x++) {
    int ink = image[(2 * row) * 28 + x] + image[(2 * row + 1) * 28 + x];
    putchar(shade[ink * 9 / 510]);
  }
}

/* The first three images that were read wrongly, side by side. */
static void show_wrong(const mnist *data, const int64_t *guesses) {
  const uint8_t *image = tg_data(data->test_images), *label = tg_data(data->test_labels);
  int64_t wrong[3], found = 0;
  for (int64_t i = 0; i < tg_dim(data->test_labels, 0) && found < 3; i++)
    if (guesses[i] != label[i]) wrong[found++] = i;
  if (found == 0) return;
  printf("\nread wrongly, for example:\n");
  for (int row = 1; row < 13; row++, putchar('\n'))
    for (int64_t k = 0; k < found; k++) print_row(image + wrong[k] * 28 * 28, row);
  for (int64_t k = 0; k < found; k++) {
    char text[40];
    snprintf(text, sizeof text, "%d, read as %d", label[wrong[k]], (int)guesses[wrong[k]]);
    printf("  %-22s", text);
  }
  printf("\n\n");
}

/* Tests the model on all test images and prints how well it does. 0, or -1. */
static int test(model_function forward, const void *model, const mnist *data) {
  int64_t *guesses = malloc((size_t)tg_dim(data->test_labels, 0) * sizeof *guesses);
  if (!guesses) {
    tg_fail("out of memory");
    return -1;
  }
  double accuracy = evaluate(forward, model, data, guesses);
  if (accuracy >= 0) {
    show_wrong(data, guesses);
    printf("test accuracy %.2f %%\n", accuracy * 100);
  }
  free(guesses);
  return accuracy >= 0 ? 0 : -1;
}

/* The last words of main: the error, if there was one, and the exit status. */
static int end_program(const options *o, int status) {
  const char *error = tg_error();
  if (fflush(stdout) != 0 && status == 0) {
    status = -1;
    error = "cannot write to standard output";
  }
  if (status != 0) fprintf(stderr, "%s: %s\n", o->program, error ? error : "failed");
  tg_shutdown();
  if (status == 0) return 0;
  return interrupted ? 130 : 1;
}

#endif
