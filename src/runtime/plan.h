/* runtime/plan: a schedule as data: which programs to run, on which memory.
 *
 * A plan refers to nodes only by their place in the collected graph, so it can
 * be replayed for any graph of the same structure. */
#ifndef TG_PLAN_H
#define TG_PLAN_H

#include "backend/backend.h"
#include "compile/schedule.h"

/* A compiled kernel, shared by all plans that use it (programs.c). */
typedef struct tg_program {
  tg_kernel *kernel;
  const tg_backend *backend;
  void *code;
  _Atomic(const struct tg_c_kernel *) fast; /* generated; if it is there, it runs */
  struct tg_unit *unit;                     /* that it is part of */
  _Atomic bool settled;                     /* no use in generating it (again) */
  uint64_t hash;
  int64_t refs;
  struct tg_program *next;
} tg_program;
tg_program *tg_program_get(tg_kernel *kernel, int device); /* takes the kernel over */
void tg_program_put(tg_program *program);
void tg_program_keep(tg_program *program);  /* one reference more */
bool tg_program_build(tg_program *program); /* makes the backend's code, if there is none */
int tg_program_run(tg_program *program, void *const *data);
/* Whether the memory is as the program's kernel assumes (tg_slot.finite). */
bool tg_program_suits(const tg_program *program, void *const *data);
/* From now on the program runs as this kernel of the unit, which it retains. */
void tg_program_adopt(tg_program *program, struct tg_unit *unit, const struct tg_c_kernel *kernel);

/* Where the memory of an entry is during a run. */
typedef enum tg_place_kind {
  TG_PLACE_NONE,  /* inlined: nowhere */
  TG_PLACE_INPUT, /* the buffer it has */
  TG_PLACE_OWN,   /* a new buffer that stays */
  TG_PLACE_TEMP,  /* in the arena, at `offset` */
  TG_PLACE_SAME   /* the memory of entry `of` */
} tg_place_kind;
typedef struct tg_place {
  tg_place_kind kind;
  int32_t of;
  int64_t offset;
} tg_place;

/* One thing to do: run a program, or copy bytes from another device. */
typedef struct tg_action {
  tg_program *program;  /* NULL: copy slot 1 to slot 0 */
  tg_program *exact;    /* for memory that does not suit it; NULL: it assumes nothing */
  int32_t *entry;       /* the entry behind each slot, the outputs first */
  int32_t nslots, noutputs;
  int64_t bytes;        /* that a copy copies */
} tg_action;

typedef struct tg_plan {
  int64_t *key;         /* the structure it is for */
  int64_t key_count;
  uint64_t hash;
  int64_t entries;
  tg_place *place;
  tg_action *action;
  int64_t actions, action_room;
  int64_t arena;        /* bytes */
  int64_t refs;         /* the cache, and each run */
  struct tg_batch *batch; /* kernels that wait to be generated (tiers.c) */
  struct tg_plan *next;
} tg_plan;

/* Schedules, lowers and plans a collected graph. NULL on failure. */
tg_plan *tg_plan_new(tg_graph *graph);
void tg_plan_free(tg_plan *plan);

/* The text that DEBUG and TG_GRAPH show (debug.c, draw.c). */
void tg_debug_schedule(const tg_graph *graph, const tg_plan *plan, bool replayed, double seconds);
void tg_debug_action(const tg_action *action, double seconds);
void tg_draw(const tg_graph *graph, const tg_plan *plan);

#endif
