/* graph/node.h: what only graph, compile and runtime may do with nodes. */
#ifndef TG_NODE_H
#define TG_NODE_H
#include "graph/graph.h"
/* A node in the pool, operands not set. */
tg_node *tg_node_new(tg_op op, tg_dtype dtype, int device, int ndim, const int64_t *shape,
                     int nargs, const int64_t *args);
/* The node has been computed: it becomes memory and lets its operands go. */
void tg_node_become_buffer(tg_node *node, tg_buffer *buffer);
/* What folding nothing by SUM/ADD or REDUCE_MAX/MAX gives. */
tg_value tg_reduce_identity(tg_op op, tg_dtype dtype);
#endif
