/* runtime/draw: TG_GRAPH=file.dot or file.svg draws a schedule, its kernels as
 * boxes around the nodes they compute.
 *
 * The file holds the largest schedule of the run so far: for a training program
 * that is the training step. Graphviz does the layout; without its program
 * `dot` the .dot file is left beside the place where the .svg would be.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "runtime/plan.h"

static pthread_mutex_t draw_lock = PTHREAD_MUTEX_INITIALIZER;
static int64_t largest;

static const char *color(const tg_entry *e) {
  switch (tg_op_table[e->node->op].class) {
    case TG_CLASS_LOAD: return "#d9d9d9";
    case TG_CLASS_REDUCE: return "#fb8072";
    case TG_CLASS_MOVE: return "#80b1d3";
    case TG_CLASS_INDEX: return "#bebada";
    case TG_CLASS_UNARY: case TG_CLASS_BINARY: case TG_CLASS_TERNARY: case TG_CLASS_IR: break;
  }
  return "#b3de69";
}

/* The first output of the kernel that computes entry i: of its own, or of its last
 * user. Users come later, so one pass from the end finds all. */
static int32_t *kernels_of(const tg_graph *g, const tg_plan *plan) {
  int32_t *kernel = tg_alloc((size_t)(g->count + 1) * sizeof *kernel);
  if (!kernel) return NULL;
  for (int32_t i = 0; i < g->count; i++) kernel[i] = -1;
  for (int64_t a = 0; a < plan->actions; a++)
    for (int32_t s = 0; s < plan->action[a].noutputs; s++)
      kernel[plan->action[a].entry[s]] = plan->action[a].entry[0];
  for (int32_t i = (int32_t)g->count - 1; i >= 0; i--) {
    const tg_entry *e = &g->entry[i];
    for (int s = 0; s < 3 && e->src[s] >= 0; s++)
      if (kernel[e->src[s]] < 0) kernel[e->src[s]] = kernel[i];
  }
  return kernel;
}

static void write_node(FILE *f, const tg_graph *g, int32_t i) {
  const tg_entry *e = &g->entry[i];
  fprintf(f, "n%d [label=\"%s\\n%s %s\" fillcolor=\"%s\"%s];\n", i, tg_op_table[e->node->op].name,
          tg_dtype_name(e->node->dtype), tg_shape_text(tg_node_shape(e->node), e->node->ndim),
          color(e), e->target ? " penwidth=3" : "");
}

static void write_boxes(FILE *f, const tg_graph *g, const int32_t *kernel) {
  for (int32_t k = 0; k < g->count; k++) {
    if (kernel[k] != k) continue;
    fprintf(f, "subgraph cluster_%d { label=\"kernel of #%d\"; style=rounded;\n", k, k);
    for (int32_t i = 0; i < g->count; i++)
      if (kernel[i] == k && g->entry[i].node->op != TG_OP_BUFFER) write_node(f, g, i);
    fprintf(f, "}\n");
  }
}

static bool write_dot(const char *path, const tg_graph *g, const tg_plan *plan) {
  int32_t *kernel = kernels_of(g, plan);
  FILE *f = kernel ? fopen(path, "w") : NULL;
  if (!f) {
    tg_free(kernel);
    return false;
  }
  fprintf(f, "digraph teenygrad {\nnode [shape=box style=filled fontname=sans fontsize=10];\n");
  write_boxes(f, g, kernel);
  for (int32_t i = 0; i < g->count; i++) {
    if (g->entry[i].node->op == TG_OP_BUFFER || kernel[i] < 0) write_node(f, g, i);
    for (int s = 0; s < 3 && g->entry[i].src[s] >= 0; s++)
      fprintf(f, "n%d -> n%d;\n", g->entry[i].src[s], i);
  }
  fprintf(f, "}\n");
  tg_free(kernel);
  return fclose(f) == 0;
}

/* Runs dot without a shell seeing the file's name as anything but a name. */
static bool run_dot(const char *dot, const char *svg) {
  if (strchr(dot, '\'') || strchr(svg, '\'')) return false;
  char command[2200];
  int n = snprintf(command, sizeof command, "dot -Tsvg '%s' -o '%s' 2>/dev/null", dot, svg);
  return n > 0 && n < (int)sizeof command && system(command) == 0;
}

static void draw_graph(const char *path, const tg_graph *g, const tg_plan *plan) {
  char dot[1024];
  size_t n = strlen(path);
  bool svg = n > 4 && strcmp(path + n - 4, ".svg") == 0;
  int length = snprintf(dot, sizeof dot, svg ? "%s.dot" : "%s", path);
  if (length < 0 || length >= (int)sizeof dot || !write_dot(dot, g, plan)) {
    fprintf(stderr, "TG_GRAPH: cannot write %s\n", path);
  } else if (svg && !run_dot(dot, path)) {
    fprintf(stderr, "TG_GRAPH: Graphviz's program dot did not run; the graph is in %s\n", dot);
  } else if (svg) {
    remove(dot);
  }
}

void tg_draw(const tg_graph *g, const tg_plan *plan) {
  const char *path = getenv("TG_GRAPH");
  if (!path || !*path) return;
  pthread_mutex_lock(&draw_lock);
  if (g->count > largest) {
    largest = g->count;
    draw_graph(path, g, plan);
  }
  pthread_mutex_unlock(&draw_lock);
}
