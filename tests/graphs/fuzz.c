/* tests/graphs/fuzz: the program build/fuzz-graphs, `make fuzz-graphs SECONDS=60 [SEED=n]`.
 * It makes graphs until the time is up and says what it tried and what it found; it fails
 * when a graph failed. Options: --seconds N, --seed N, --one N (this graph alone, printed
 * also when it is right), --programs N (only so many failing graphs are cut down), --jit N
 * (every N-th batch also with generated C; 0: none; default 4). */
#if !defined(_POSIX_C_SOURCE)
#define _POSIX_C_SOURCE 200809L
#endif
#include "graphs.h"

static double option(int argc, char **argv, const char *name, double otherwise) {
  for (int i = 1; i + 1 < argc; i++)
    if (!strcmp(argv[i], name)) return strtod(argv[i + 1], NULL);
  return otherwise;
}

static bool flag(int argc, char **argv, const char *name) {
  for (int i = 1; i < argc; i++)
    if (!strcmp(argv[i], name)) return true;
  return false;
}

static void figures(const graph_tally *tally, double seconds) {
  printf("%lld graphs of %.1f steps in %.0f s: %lld failed, %lld were errors in every variant\n",
         (long long)tally->graphs, (double)tally->steps / ((double)tally->graphs + 1e-9), seconds,
         (long long)tally->failures, (long long)tally->errors);
  for (int i = 0; i < GRAPH_VARIANTS; i++)
    printf("%8lld  %s\n", (long long)tally->evaluated[i], graph_variants[i].name);
  printf("ops:");
  for (int i = 0; i < graph_op_count; i++)
    printf("%s%s %lld", i % 8 ? ", " : "\n  ", graph_ops[i].name, (long long)tally->op[i]);
  printf("\ndtypes:");
  for (int i = TG_BOOL; i < TG_DTYPE_COUNT; i++)
    printf(" %s %lld", tg_dtype_name((tg_dtype)i), (long long)tally->dtype[i]);
  printf("\n");
}

/* All variants of one graph, its program printed. */
static int one(uint64_t seed, graph_tally *tally) {
  graph g;
  graph_make(&g, seed);
  int failures = graph_hunt(seed, 1, 63, stdout, tally);
  if (!failures) graph_print(stdout, &g, &graph_variants[2]);
  graph_free(&g);
  return failures;
}

int main(int argc, char **argv) {
  double seconds = option(argc, argv, "--seconds", 60), start = graph_clock();
  uint64_t seed = (uint64_t)option(argc, argv, "--seed", 1);
  int jit = (int)option(argc, argv, "--jit", 4);
  graph_tally tally = {.shrink = 30, .programs = (int)option(argc, argv, "--programs", 1000)};
  tally.op = calloc((size_t)graph_op_count, sizeof *tally.op);
  setenv("TG_CC", "cc -O1", 0);
  tg_set_default_device("REF");
  tg_set_training(true);
  if (!tally.op) return 1;
  if (flag(argc, argv, "--one")) return one((uint64_t)option(argc, argv, "--one", 1), &tally);
  for (int batch = 0; graph_clock() - start < seconds; batch++) {
    bool compiled = jit > 0 && batch % jit == 0;
    graph_hunt(seed, 64, compiled ? 63 : 15, stdout, &tally);
    seed += 64;
  }
  figures(&tally, graph_clock() - start);
  free(tally.op);
  tg_shutdown();
  return tally.failures > 0;
}
