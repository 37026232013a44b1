/* runtime/debug: what DEBUG shows, on standard error, one ladder (docs/env.md):
 *
 *   1  a line per schedule          4  the source a backend generated
 *   2  a line per kernel            5  the graph
 *   3  the kernel IR of new kernels
 *
 * Each level includes the ones before. The built-in backend and the reference
 * run kernel IR directly, so there level 4 says so and shows no source.
 */
#include <stdio.h>

#include "runtime/plan.h"

static void show_graph(const tg_graph *g) {
  for (int64_t i = 0; i < g->count; i++) {
    const tg_entry *e = &g->entry[i];
    fprintf(stderr, "  #%-4lld %-10s %-8s %-20s", (long long)i, tg_op_table[e->node->op].name,
            tg_dtype_name(e->node->dtype), tg_shape_text(tg_node_shape(e->node), e->node->ndim));
    for (int s = 0; s < 3 && e->src[s] >= 0; s++) fprintf(stderr, " #%d", e->src[s]);
    fprintf(stderr, "%s%s\n", e->target ? "  asked for" : "", e->stored ? "  stored" : "");
  }
}

static void show_kernels(const tg_plan *plan) {
  for (int64_t i = 0; i < plan->actions; i++) {
    const tg_program *p = plan->action[i].program;
    if (!p) continue;
    char *text = tg_kernel_text(p->kernel);
    if (p->kernel->origin) fprintf(stderr, "from %s\n", p->kernel->origin);
    if (text) fputs(text, stderr);
    tg_free(text);
    if (tg_debug() >= 4)
      fprintf(stderr, "  source: none, device %s runs the kernel IR itself\n", p->backend->device);
  }
}

void tg_debug_schedule(const tg_graph *g, const tg_plan *plan, bool replayed, double seconds) {
  int64_t inputs = 0, kept = 0;
  for (int64_t i = 0; i < plan->entries; i++) {
    inputs += plan->place[i].kind == TG_PLACE_INPUT;
    kept += plan->place[i].kind == TG_PLACE_OWN;
  }
  fprintf(stderr, "schedule: %lld nodes, %lld kernels, %lld inputs, %lld results, %.1f KB between, "
          "%s in %.3f ms\n", (long long)g->count, (long long)plan->actions, (long long)inputs,
          (long long)kept, (double)plan->arena / 1e3, replayed ? "found" : "planned",
          seconds * 1e3);
  if (tg_debug() >= 5) show_graph(g);
  if (tg_debug() >= 3 && !replayed) show_kernels(plan);
}

/* Bytes the kernel moves if every element it touches moves once: a load from a
 * slot touches at most one element per position it is computed for. */
static double bytes_moved(const tg_kernel *k) {
  double bytes = 0;
  for (int slot = 0; slot < k->nslots; slot++) {
    double touched = 0;
    for (int32_t i = 0; i < k->count; i++) {
      const tg_ins *in = &k->ins[i];
      bool memory = in->op == TG_OP_LOAD || in->op == TG_OP_STORE || in->op == TG_OP_STORE_ADD;
      if (!memory || in->slot != slot) continue;
      double positions = 1;
      for (int r = 0; r < k->nranges; r++)
        if (in->ranges >> r & 1) positions *= (double)k->range[r].size;
      touched += positions;
    }
    double numel = (double)k->slot[slot].numel;
    bytes += (touched < numel ? touched : numel) * (double)tg_dtype_size(k->slot[slot].dtype);
  }
  return bytes;
}

void tg_debug_action(const tg_action *a, double seconds) {
  if (!a->program) {
    fprintf(stderr, "  copy between devices %10.3f ms\n", seconds * 1e3);
    return;
  }
  const tg_kernel *k = a->program->kernel;
  double bytes = bytes_moved(k), per = seconds > 0 ? 1e-9 / seconds : 0;
  fprintf(stderr, "  %-32s %-4s %10.3f ms %8.2f GFLOP/s %8.2f GB/s\n", k->name,
          a->program->backend->device, seconds * 1e3, (double)k->flops * per, bytes * per);
}
