/* runtime: makes nodes concrete. See realize.c for how. */
#ifndef TG_RUNTIME_H
#define TG_RUNTIME_H
#include "graph/graph.h"
/* Computes the nodes; afterwards each is a BUFFER node. 0, or -1, a message and
 * nothing changed. */
int tg_runtime_realize(tg_node *const *nodes, int64_t count);
/* A tape: what a thread has run while the tape hung on it (tg_thread.tape): plans,
 * and the buffer of each entry, retained (NULL: it had none of its own) until the
 * tape is settled; then only their sizes. A broken tape lets nothing run. */
typedef struct tg_taped {
  struct tg_plan *plan;
  int64_t entries;
  tg_buffer **buffer;
  size_t *size;
} tg_taped;
typedef struct tg_tape {
  tg_taped *run;
  int64_t count, room;
  bool broken;
} tg_tape;
void tg_tape_settle(tg_tape *tape);
void tg_tape_free(tg_tape *tape);
bool tg_taped_is_result(const tg_taped *run, int64_t entry);
/* Runs it again. buffer[i] is given for every entry that had one and is no result;
 * those of results are made: tg_taped_drop lets go of them. 0, or -1 and none made. */
int tg_taped_run(const tg_taped *run, tg_buffer **buffer);
void tg_taped_drop(const tg_taped *run, tg_buffer **buffer);
/* Around the actions of a run (hooks.c): the interpreter's lock is let go and
 * taken again. tg_run_stopped: the run shall end; cheap, false outside a run. */
bool tg_run_is_shared(void);
void *tg_run_leave(void);
void tg_run_enter(void *left);
bool tg_run_stopped(void);
/* Frees cached plans and programs, and stops the thread pool. */
void tg_runtime_shutdown(void);
/* Leaves no compiler at work and no private folder behind; what is computed stays. */
void tg_runtime_leave(void);
#endif
