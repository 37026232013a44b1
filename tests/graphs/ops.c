/* tests/graphs/ops: the table of ops.inc, compiled. Each row is read twice: as a function
 * that does the step, and as the text of the same call. What a call cannot say in one
 * expression (leaves, parts of a chunk, indices) is done by graph_special. */
#include "graphs.h"

static tg_tensor *graph_layer(tg_tensor *x, void *user) {
  (void)user;
  return tg_add(tg_mul(x, x), x);
}

static tg_tensor *leaf_tensor(const graph_step *s) {
  tg_tensor *t = tg_from(s->data, s->list[0], .dtype = s->dtype);
  return s->grad && !tg_no_grad() ? tg_set_requires_grad(t, TG_GRAD_YES) : t;
}

static tg_tensor *chunk_part(const graph_step *s, tg_tensor *x) {
  tg_tensor *parts[16];
  int64_t count = tg_chunk(x, s->whole[0], (int)s->whole[1], parts);
  return count > 0 ? parts[s->whole[2] % count] : NULL;
}

static tg_tensor *index_step(const graph_step *s, tg_tensor *const *in) {
  tg_index_item items[GRAPH_ITEMS];
  bool set = !graph_is(s, "index");
  for (int i = 0; i < s->items; i++) {
    const int64_t *it = s->item[i];
    const tg_index_item kinds[] = {TG_AT(it[1]), TG_RANGE(it[1], it[2], it[3]), TG_NEW_AXIS,
                                   TG_REST, TG_BY(it[0] == TG_ITEM_BY ? in[it[1]] : NULL)};
    items[i] = kinds[it[0]];
  }
  if (!set) return (tg_index)(in[0], s->items, items);
  tg_tensor *x = graph_is(s, "set_index_here") ? in[0] : tg_detach(in[0]);
  return (tg_set_index)(x, tg_detach(in[1]), s->items, items);
}

static tg_tensor *graph_special(const graph_step *s, tg_tensor *const *in) {
  if (graph_is(s, "leaf")) return leaf_tensor(s);
  return graph_is(s, "chunk") ? chunk_part(s, in[0]) : index_step(s, in);
}

/* ---- the rows */

#define A in[0]
#define B in[1]
#define C in[2]
#define D in[3]
#define L0 s->list[0]
#define L1 s->list[1]
#define I0 s->whole[0]
#define I1 s->whole[1]
#define I2 s->whole[2]
#define R0 s->real[0]
#define R1 s->real[1]
#define R2 s->real[2]
#define DT s->dtype
#define OP(name, kind, chooser, want, weight, ...)                              \
  static tg_tensor *apply_##name(const graph_step *s, tg_tensor *const *in) {   \
    (void)s, (void)in;                                                          \
    return __VA_ARGS__;                                                         \
  }                                                                             \
  GRAPH_CHOOSER(chooser);
#include "ops.inc"
#undef OP

enum {
  FLOAT = GRAPH_W_FLOAT,
  SAME = GRAPH_W_SAME,
  SIGNED = GRAPH_W_SIGNED,
  AXIS = GRAPH_W_AXIS,
  SOME = GRAPH_W_SOME,
  LITTLE = GRAPH_W_LITTLE,
  KNOWN = GRAPH_W_KNOWN,
  PAIR = GRAPH_W_PAIR,
  MANY = GRAPH_W_MANY,
  PLAIN = GRAPH_W_PLAIN
};

const graph_op graph_ops[] = {
#define OP(name, kind, chooser, want, weight, ...) \
  {#name, #__VA_ARGS__, GRAPH_##kind, apply_##name, graph_choose_##chooser, want, weight},
#include "ops.inc"
#undef OP
};
const int graph_op_count = sizeof graph_ops / sizeof *graph_ops;

int graph_op_named(const char *name) {
  for (int i = 0; i < graph_op_count; i++)
    if (!strcmp(graph_ops[i].name, name)) return i;
  return -1;
}

bool graph_is(const graph_step *s, const char *name) {
  return !strcmp(graph_ops[s->op].name, name);
}
