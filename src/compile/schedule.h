/* compile/schedule: which nodes become memory, and one kernel for each. */
#ifndef TG_SCHEDULE_H
#define TG_SCHEDULE_H

#include "compile/ir.h"

/* The unrealized graph below some targets, operands before their users. */
typedef struct tg_entry {
  tg_node *node;
  int32_t src[3];    /* entries, or -1 */
  int32_t uses;      /* by nodes of this graph */
  bool target;       /* asked for */
  bool external;     /* someone outside this graph holds it */
  bool stored;       /* becomes memory of its own */
  bool shared;       /* needed in more than one place of the kernels */
  int32_t space;     /* where it is needed: see schedule.c */
  int32_t reduce;    /* the reduce that its expression contains, or -1 */
  bool sum_chain;    /* its expression is movement over a sum */
  bool epilogue;     /* its expression may follow that reduce in one kernel */
  int32_t ops, cost, loads, depth; /* of its expression, down to memory */
  int32_t seen;      /* the count that has counted it */
} tg_entry;

typedef struct tg_graph {
  tg_entry *entry;
  int64_t count, room;
  uint64_t id;       /* what its nodes are marked with */
  int32_t *table;    /* buffer -> entry + 1, by hash of the pointer */
  int64_t table_size, buffers;
  int32_t stamp;     /* of the last count */
} tg_graph;

/* Collects the graph. 0, or -1 and nothing to free. Linear, iterative. */
int tg_graph_collect(tg_graph *graph, tg_node *const *targets, int64_t count);
void tg_graph_free(tg_graph *graph);

/* Sets `stored` on every entry that becomes memory. */
void tg_schedule(tg_graph *graph);

/* Memory that an entry shares instead of computing: a reshape of stored memory.
 * Gives the entry it is the same memory as, or -1. */
int32_t tg_schedule_alias(const tg_graph *graph, int32_t entry);

/* The kernel that computes a stored entry. inputs[i] is the entry that slot i
 * reads; slot 0 is the output, with inputs[0] = entry. A scatter takes two
 * kernels: `part` 0 copies its base, part 1 scatters. NULL on failure. */
typedef struct tg_lowered {
  tg_kernel *kernel;
  int32_t *inputs;
  int64_t input_room;
} tg_lowered;
int tg_lower(const tg_graph *graph, int32_t entry, int part, tg_lowered *out);

#endif
