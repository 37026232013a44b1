/* runtime: makes nodes concrete. See realize.c for how. */
#ifndef TG_RUNTIME_H
#define TG_RUNTIME_H
#include "graph/graph.h"
/* Computes the nodes; afterwards each is a BUFFER node. 0, or -1, a message and
 * nothing changed. */
int tg_runtime_realize(tg_node *const *nodes, int64_t count);
/* Frees cached plans and programs, and stops the thread pool. */
void tg_runtime_shutdown(void);
#endif
