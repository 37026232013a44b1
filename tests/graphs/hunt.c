/* tests/graphs/hunt: a batch of graphs, made, computed in each variant and compared. Of a
 * graph that fails in several variants the first is reported, cut down, as a program. */
#include "graphs.h"

static void count_graph(graph_tally *tally, const graph *g) {
  tally->graphs++;
  tally->steps += g->count;
  for (int i = 0; i < g->count; i++) {
    tally->op[g->step[i].op]++;
    tally->dtype[g->step[i].fact.dtype]++;
  }
}

/* "mul, where, sum": what a graph is made of. */
static void print_ops(FILE *to, const graph *g) {
  const char *comma = "";
  for (int i = 0; i < g->count; i++) {
    if (graph_is(&g->step[i], "leaf")) continue;
    fprintf(to, "%s%s", comma, graph_ops[g->step[i].op].name);
    comma = ", ";
  }
}

static void report(FILE *to, const graph *g, const graph_variant *v, const char *what,
                   graph_tally *tally) {
  graph small;
  fprintf(to, "graph %llu: %s: %s\n", (unsigned long long)g->seed, v->name, what);
  if (tally->programs-- <= 0) return;
  graph_copy(&small, g);
  bool alone = graph_fails(&small, v);
  if (alone) graph_shrink(&small, v, tally->shrink);
  what = alone ? graph_fails(&small, v) : NULL;
  fprintf(to, "cut down to %d steps (", small.count);
  print_ops(to, &small);
  fprintf(to, "): %s\n", what ? what : "it fails only together with others, or not every time");
  graph_print(to, &small, v);
  graph_free(&small);
  fflush(to);
}

/* One variant of all graphs; `failed` remembers those that are reported already. */
static void hunt_variant(const graph *g, int count, int which, const graph_result *base,
                         graph_noise *noise, bool *failed, FILE *to, graph_tally *tally) {
  const graph_variant *v = &graph_variants[which];
  graph_result *results = calloc((size_t)count, sizeof *results);
  if (!results) return;
  graph_evaluate(g, count, v, results);
  for (int i = 0; i < count; i++) {
    tally->evaluated[which]++;
    const char *what = graph_differ(&g[i], &base[i], &results[i], &noise[i]);
    if (what && !failed[i]) {
      char said[400];
      snprintf(said, sizeof said, "%s", what);
      failed[i] = true;
      report(to, &g[i], v, said, tally);
    }
    graph_result_free(&results[i]);
  }
  free(results);
}

static int hunt_graphs(const graph *g, int count, unsigned which, graph_result *base,
                       graph_noise *noise, bool *failed, FILE *to, graph_tally *tally) {
  int failures = 0;
  graph_evaluate(g, count, &graph_variants[0], base);
  tally->evaluated[0] += count;
  for (int i = 0; i < count; i++) {
    count_graph(tally, &g[i]);
    tally->errors += base[i].status == 1;
  }
  for (int k = 1; k < GRAPH_VARIANTS; k++)
    if (which >> k & 1) hunt_variant(g, count, k, base, noise, failed, to, tally);
  for (int i = 0; i < count; i++) {
    failures += failed[i];
    graph_result_free(&base[i]);
    graph_noise_free(&noise[i]);
  }
  tally->failures += failures;
  return failures;
}

int graph_hunt(uint64_t seed, int count, unsigned which, FILE *to, graph_tally *tally) {
  graph *g = calloc((size_t)count, sizeof *g);
  graph_result *base = calloc((size_t)count, sizeof *base);
  graph_noise *noise = calloc((size_t)count, sizeof *noise);
  bool *failed = calloc((size_t)count, sizeof *failed);
  int failures = 1;
  if (g && base && noise && failed) {
    for (int i = 0; i < count; i++) graph_make(&g[i], seed + (uint64_t)i);
    failures = hunt_graphs(g, count, which, base, noise, failed, to, tally);
    for (int i = 0; i < count; i++) graph_free(&g[i]);
  }
  free(g), free(base), free(noise), free(failed);
  return failures;
}
