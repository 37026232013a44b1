/* runtime: makes nodes concrete. See realize.c for how. */
#ifndef TG_RUNTIME_H
#define TG_RUNTIME_H
#include "graph/graph.h"
/* Computes the nodes; afterwards each is a BUFFER node. 0, or -1, a message and
 * nothing changed. */
int tg_runtime_realize(tg_node *const *nodes, int64_t count);
/* Around the actions of a run (hooks.c): the interpreter's lock is let go and
 * taken again. tg_run_stopped: the run shall end; cheap, false outside a run. */
bool tg_run_is_shared(void);
void *tg_run_leave(void);
void tg_run_enter(void *left);
bool tg_run_stopped(void);
/* Frees cached plans and programs, and stops the thread pool. */
void tg_runtime_shutdown(void);
#endif
