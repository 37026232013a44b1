/* tests/test_graphs: random graphs of all operations, each computed in several ways that
 * must agree; see graphs/graphs.h. The seeds are fixed; `make fuzz-graphs` goes on. */
#if !defined(_POSIX_C_SOURCE)
#define _POSIX_C_SOURCE 200809L
#endif
#include "graphs/graphs.h"
#include "test.h"

/* Graphs are made on REF and, as dropout does nothing else, in training. */
static const char *old_device;
static bool old_training;

static void enter(void) {
  old_device = tg_default_device();
  old_training = tg_set_training(true);
  tg_set_default_device("REF");
}

static void leave(void) {
  tg_set_default_device(old_device);
  tg_set_training(old_training);
}

static graph_tally new_tally(void) {
  graph_tally tally = {.shrink = 10, .programs = 2};
  tally.op = calloc((size_t)graph_op_count, sizeof *tally.op);
  return tally;
}

/* `count` graphs from `seed`; failing ones are printed as programs. */
static graph_tally hunt(uint64_t seed, int count, unsigned which) {
  graph_tally tally = new_tally();
  const char *compiler = getenv("TG_CC");
  char *saved = compiler ? strdup(compiler) : NULL;
  setenv("TG_CC", compiler ? compiler : "cc -O1", 1);
  enter();
  if (tally.op) graph_hunt(seed, count, which, stdout, &tally);
  leave();
  if (saved) setenv("TG_CC", saved, 1);
  else unsetenv("TG_CC");
  free(saved);
  CHECK_INT(tally.graphs, count);
  CHECK_INT(tally.failures, 0);
  return tally;
}

TEST(graphs_builtin) {
  graph_tally tally = hunt(1, 700, 15);
  for (int i = 0; tally.op && i < graph_op_count; i++)
    test_check(tally.op[i] > 0 || !graph_ops[i].weight, __FILE__, __LINE__, "no graph has %s",
               graph_ops[i].name);
  free(tally.op);
}

/* What was wrong once: masked products, entropies, constants times counts, signs of
 * zeros, integers that wrap, 16-bit floats in one kernel, indices below padding. */
TEST(graphs_idioms) { free(hunt(GRAPH_IDIOM_SEED, GRAPH_IDIOMS * 40, 15).op); }

/* What is printed of a graph is a program. */
TEST(graphs_program) {
  enter();
  for (uint64_t seed = 1; seed <= 12; seed++) {
    graph g;
    FILE *compiler = popen("cc -std=gnu11 -Wall -Werror -fsyntax-only -Iinclude -x c -", "w");
    graph_make(&g, seed);
    if (compiler) graph_print(compiler, &g, &graph_variants[2]);
    test_check(compiler && pclose(compiler) == 0, __FILE__, __LINE__, "graph %d is no program",
               (int)seed);
    graph_free(&g);
  }
  leave();
}

TEST(graphs_generated) {
  free(hunt(1, 32, 48 | 1).op);
  free(hunt(GRAPH_IDIOM_SEED, GRAPH_IDIOMS * 3, 48 | 1).op);
}
