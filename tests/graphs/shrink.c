/* tests/graphs/shrink: a failing graph, cut down to what still fails. Each way to make it
 * simpler is tried on a copy, which takes its place when it fails too: to forget what is
 * not needed; to put a leaf in a step's place, with the values that were computed; to
 * pass an operand on instead of a step; to drop gradients; to make sizes and elements
 * smaller. Over and over, until nothing helps or the time is up. */
#if !defined(_POSIX_C_SOURCE)
#define _POSIX_C_SOURCE 200809L
#endif
#include <time.h>

#include "graphs.h"

typedef struct graph_cut {
  graph *best;
  const graph_variant *v;
  double end;
} graph_cut;

double graph_clock(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Takes `g` over where it still fails; frees it otherwise. */
static bool try_graph(graph_cut *cut, graph *g) {
  bool good = graph_clock() < cut->end && graph_learn_all(g) && graph_fails(g, cut->v);
  graph_free(good ? cut->best : g);
  if (good) *cut->best = *g;
  return good;
}

/* ---- steps */

static void remove_step(graph *g, int at) {
  free(g->step[at].data);
  memmove(&g->step[at], &g->step[at + 1], (size_t)(g->count - at - 1) * sizeof g->step[0]);
  g->count--;
  for (int i = at; i < g->count; i++)
    for (int k = 0; k < g->step[i].ins; k++) g->step[i].in[k] -= g->step[i].in[k] > at;
}

/* Everything but what `sink` needs. */
static void keep_only(graph *g, int sink) {
  bool needed[GRAPH_STEPS] = {false};
  needed[sink] = true;
  for (int i = sink; i >= 0; i--)
    for (int k = 0; needed[i] && k < g->step[i].ins; k++) needed[g->step[i].in[k]] = true;
  for (int i = g->count - 1; i >= 0; i--)
    if (!needed[i]) remove_step(g, i);
}

static bool one_sink(graph_cut *cut) {
  int sinks[GRAPH_STEPS], count = graph_sinks(cut->best, sinks);
  for (int i = 0; count > 1 && i < count; i++) {
    graph g;
    graph_copy(&g, cut->best);
    keep_only(&g, sinks[i]);
    if (try_graph(cut, &g)) return true;
  }
  return false;
}

/* Without step i and all that follows from it. */
static bool without(graph_cut *cut, int at) {
  graph g;
  graph_copy(&g, cut->best);
  bool gone[GRAPH_STEPS] = {false};
  int before = g.count;
  gone[at] = true;
  for (int i = at + 1; i < g.count; i++)
    for (int k = 0; k < g.step[i].ins; k++) gone[i] = gone[i] || gone[g.step[i].in[k]];
  for (int i = before - 1; i >= at; i--)
    if (gone[i]) remove_step(&g, i);
  if (!g.count) return graph_free(&g), false;
  return try_graph(cut, &g);
}

/* The value of step i, computed alone, as a leaf. */
static bool as_leaf(graph_cut *cut, int at) {
  graph g, part;
  graph_result r;
  if (graph_is(&cut->best->step[at], "leaf")) return false;
  graph_copy(&part, cut->best);
  keep_only(&part, at);
  graph_learn_all(&part);
  graph_evaluate(&part, 1, &graph_variants[0], &r);
  graph_free(&part);
  if (r.status || r.outs < 1) return graph_result_free(&r), false;
  graph_copy(&g, cut->best);
  graph_step *s = &g.step[at];
  const graph_fact fact = s->fact;
  int64_t count = graph_count(&fact.shape);
  memset(s, 0, sizeof *s);
  s->op = graph_op_named("leaf");
  s->dtype = fact.dtype;
  s->list[0] = fact.shape;
  s->grad = g.grads && tg_dtype_is_float(fact.dtype);
  s->data = calloc((size_t)count + 1, 8);
  bool fits = s->data && r.bytes[0] == count * tg_dtype_size(fact.dtype);
  if (fits) memcpy(s->data, r.data[0], (size_t)r.bytes[0]);
  graph_result_free(&r);
  if (!fits) return graph_free(&g), false;
  for (int i = at - 1; i >= 0; i--) {
    bool used = false;
    for (int k = i + 1; k < g.count; k++) used = used || graph_uses(&g, k, i);
    if (!used && i < at) remove_step(&g, i), at--;
  }
  return try_graph(cut, &g);
}

/* Operand k of step `at` in its place, for all who use it. */
static bool passed_on(graph_cut *cut, int at, int k) {
  const graph_step *s = &cut->best->step[at];
  const graph_fact *x = &cut->best->step[s->in[k]].fact;
  if (x->dtype != s->fact.dtype || graph_count(&x->shape) != graph_count(&s->fact.shape))
    return false;
  graph g;
  graph_copy(&g, cut->best);
  int to = g.step[at].in[k];
  for (int i = at + 1; i < g.count; i++)
    for (int j = 0; j < g.step[i].ins; j++)
      if (g.step[i].in[j] == at) g.step[i].in[j] = to;
  remove_step(&g, at);
  return try_graph(cut, &g);
}

static bool fewer_steps(graph_cut *cut) {
  bool any = one_sink(cut);
  for (int i = cut->best->count - 1; i >= 0; i--) {
    if (i >= cut->best->count) continue;
    bool done = cut->best->count > 1 && (without(cut, i) || as_leaf(cut, i));
    for (int k = 0; !done && i < cut->best->count && k < cut->best->step[i].ins; k++)
      done = passed_on(cut, i, k);
    any = any || done;
  }
  return any;
}

/* ---- gradients, sizes, elements */

static bool no_gradient(graph_cut *cut) {
  graph g;
  if (!cut->best->grads) return false;
  graph_copy(&g, cut->best);
  g.grads = false;
  for (int i = 0; i < g.count; i++) g.step[i].grad = false;
  if (try_graph(cut, &g)) return true;
  bool any = false;
  for (int i = 0; i < cut->best->count; i++) {
    if (!cut->best->step[i].grad) continue;
    graph_copy(&g, cut->best);
    g.step[i].grad = false;
    any = try_graph(cut, &g) || any;
  }
  return any;
}

/* Every size `from` becomes `to`, in leaves and in the lists of calls. */
static bool resized(graph_cut *cut, int64_t from, int64_t to) {
  graph g;
  graph_copy(&g, cut->best);
  for (int i = 0; i < g.count; i++) {
    graph_step *s = &g.step[i];
    bool leaf = graph_is(s, "leaf"), shape = leaf || graph_is(s, "full") ||
                                             graph_is(s, "reshape") || graph_is(s, "expand");
    for (int k = 0; shape && k < s->list[0].ndim; k++)
      if (s->list[0].dim[k] == from) s->list[0].dim[k] = to;
  }
  return try_graph(cut, &g);
}

static bool smaller(graph_cut *cut) {
  bool any = false;
  for (int i = 0; i < cut->best->count; i++) {
    for (int k = 0; k < cut->best->step[i].list[0].ndim; k++) {
      int64_t n = cut->best->step[i].list[0].dim[k];
      if (!graph_is(&cut->best->step[i], "leaf") && !graph_is(&cut->best->step[i], "full")) break;
      if (n > 1 && (resized(cut, n, 1) || resized(cut, n, 2 < n ? 2 : 1) ||
                    resized(cut, n, n / 2) || resized(cut, n, n - 1)))
        any = true;
    }
  }
  return any;
}

static bool refilled(graph_cut *cut, int at, graph_content content) {
  graph g;
  graph_copy(&g, cut->best);
  graph_step *s = &g.step[at];
  uint64_t state = 1;
  int64_t count = graph_count(&s->list[0]);
  void *data = graph_fill(&state, s->dtype, count, content, 1);
  size_t size = (size_t)(count * tg_dtype_size(s->dtype));
  bool same = !data || !memcmp(data, s->data, size);
  free(same ? data : s->data);
  if (same) return graph_free(&g), false;
  s->data = data;
  return try_graph(cut, &g);
}

static bool plain_element(graph_cut *cut, int at, int64_t i) {
  const graph_step *old = &cut->best->step[at];
  double x = graph_get(old->data, old->dtype, i);
  for (int value = 0; value < 2; value++) {
    graph g;
    if (x == value) return false;
    graph_copy(&g, cut->best);
    graph_put(g.step[at].data, g.step[at].dtype, i, value);
    if (try_graph(cut, &g)) return true;
  }
  return false;
}

static bool plainer(graph_cut *cut) {
  bool any = false;
  for (int at = 0; at < cut->best->count; at++) {
    if (!graph_is(&cut->best->step[at], "leaf")) continue;
    int64_t count = graph_count(&cut->best->step[at].list[0]);
    if (refilled(cut, at, GRAPH_ONES) || refilled(cut, at, GRAPH_COUNTING)) any = true;
    for (int64_t i = 0; count <= 12 && i < count; i++) any = plain_element(cut, at, i) || any;
  }
  return any;
}

void graph_shrink(graph *g, const graph_variant *v, double seconds) {
  graph_cut cut = {g, v, graph_clock() + seconds};
  for (int round = 0; round < 6; round++) {
    bool any = fewer_steps(&cut);
    any = no_gradient(&cut) || any;
    any = smaller(&cut) || any;
    if (!any || graph_clock() > cut.end) break;
  }
  plainer(&cut);
}
