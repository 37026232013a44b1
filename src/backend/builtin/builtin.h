/* builtin: how a kernel is prepared and run, shared by the files of this folder.
 *
 *   program.c   analysis: affine indices as rows, ranges merged where memory allows
 *   plan.c      a plan: some instructions over a space of lanes, as steps
 *   eval.c      runs the steps of a plan on one tile
 *   call.c      loops around tiles; jobs over the thread pool
 *   block.c     elementwise, reduce and scatter kernels: loops around plans,
 *   stage.c     and how they run, stage by stage
 *   contract.c  sums of products: panels, micro-kernel, epilogue
 *   pad.c       copies of masked operands, with zeros instead of the mask
 *   micro.c     the micro-kernels, per instruction set
 *   vector.c    the loops over lanes, per instruction set
 *
 * A space is a list of ranges, outermost first, read as one: its positions are
 * numbered through, and a tile is a run of consecutive ones, the lanes. Ranges
 * that are not in the space have one position per tile (bi_worker.pos). Each
 * index that is affine in the ranges is a row: an offset and a stride per range;
 * within a tile it is a base, the same for all lanes, plus a table over lanes.
 */
#ifndef TG_BUILTIN_H
#define TG_BUILTIN_H

#include "backend/backend.h"
#include "backend/builtin/vector.h"
#include "runtime/threads.h"

#ifdef TG_HOSTILE /* small tiles: edge paths run */
enum { BI_TILE = 16 };
#else
enum { BI_TILE = 512 };
#endif
#define BI_ALL UINT64_MAX /* every range has moved */

/* ---- program: the analysed kernel */
typedef struct bi_code {
  int32_t count, nranges, nslots;
  tg_ins *ins;       /* ranges and folded after merging */
  tg_dtype *slot;
  int64_t *slot_size; /* elements */
  int32_t *row_of;   /* instruction -> row, -1: not affine */
  int64_t *rows;     /* each nranges strides, then the offset */
  uint64_t *moving;  /* per row: ranges with a stride */
  tg_range range[TG_MAX_RANGES]; /* merged away: size 1 */
  int rest[TG_MAX_RANGES];       /* the inner part of a range that was split; 0: none */
  uint64_t loops, folds, serials;
  const bi_loops *vector;
} bi_code;

/* generated: for C text, which has its own ways with some indices. */
bi_code *tg_bi_code_new(const tg_kernel *kernel, bool generated);
void tg_bi_code_free(bi_code *code);
static inline const int64_t *bi_row(const bi_code *code, int32_t row) {
  return code->rows + (int64_t)row * (code->nranges + 1);
}
static inline bool bi_is_store(tg_op op) { return op == TG_OP_STORE || op == TG_OP_STORE_ADD; }

/* ---- space */
typedef struct bi_space {
  int count;
  int range[TG_MAX_RANGES]; /* outermost first */
  int64_t size[TG_MAX_RANGES];
  int64_t chunk; /* positions of the first range per tile; its size: all */
  int64_t inner; /* the product of the others */
  int64_t lanes; /* the longest tile */
} bi_space;

/* ---- plan */
typedef enum bi_kind {
  BI_CONST, BI_AFFINE, BI_LOAD, BI_OP, BI_BITS, BI_CHECK, BI_STORE
} bi_kind;

/* How the lanes of an access lie in memory. RUNS and RUNFILL: groups of `run`
 * lanes are contiguous, or one element, each. */
typedef enum bi_mode {
  BI_CONTIGUOUS, BI_ONE, BI_RUNS, BI_RUNFILL, BI_TABLE, BI_INDEXED
} bi_mode;

typedef struct bi_step {
  bi_kind kind;
  bi_mode mode;
  bi_lane lane;       /* of the result; for stores of the value */
  int log2;           /* bytes of an element in memory */
  int half;           /* 1: float16, 2: bfloat16 in memory, or to be rounded to */
  int half_from;      /* BI_BITS: the same of the operand */
  int32_t ins, out, x, y, z; /* registers; BI_LOAD: y index, z gate */
  int32_t slot, row, table;
  int64_t run, bound;
  bool direct;        /* load: the register is the memory; store: value is there already */
  bool add, whole;    /* STORE_ADD; whole: n is all lanes, not those of the tile */
  tg_dtype dtype;     /* stores: of the memory */
  uint64_t ranges;
  bi_loop fn;
  uint64_t bits;      /* BI_CONST */
  uint64_t magic[3];  /* division by a constant: the third operand of fn */
} bi_step;

typedef struct bi_plan {
  bi_space space;
  bi_step *step;
  int32_t nsteps, nregs, ntables;
  int32_t *reg_of;     /* instruction -> register, -1 */
  size_t *reg_at;      /* offsets in the state's memory */
  int32_t *table_row;  /* the row each table is for */
  size_t table_at, temp_at, bytes; /* bytes: what a state takes */
} bi_plan;

/* Steps that give `roots` (stores, or values) over the space. REDUCEs among
 * their operands are `given`: the caller fills their registers. hot: the ranges
 * that move with every tile; what does not depend on them keeps its register. */
bool tg_bi_plan_make(bi_plan *plan, const bi_code *code, const bi_space *space,
                  const int32_t *roots, int32_t nroots, uint64_t hot);
/* The same with other instructions given, or none where given[i] is false. */
bool tg_bi_plan_given(bi_plan *plan, const bi_code *code, const bi_space *space,
                      const int32_t *roots, int32_t nroots, uint64_t hot, const bool *given);
void tg_bi_plan_free(bi_plan *plan);

/* ---- running */
typedef struct bi_worker {
  const bi_code *code;
  void *const *data;
  int64_t pos[TG_MAX_RANGES];
  int64_t job;                      /* the job at work */
  bool failed;                      /* a CHECK, and where */
  int64_t bad_job, bad_index, bad_bound;
} bi_worker;

typedef struct bi_state {
  const bi_plan *plan;
  char *memory;
  void **reg;
  int64_t first; /* the position in the space of the first lane, for runs */
} bi_state;
size_t tg_bi_state_bytes(const bi_plan *plan);
void tg_bi_state_init(bi_state *state, const bi_plan *plan, char *memory);
static inline int64_t *bi_state_table(const bi_state *state, int32_t table) {
  return (int64_t *)(state->memory + state->plan->table_at) + table * state->plan->space.lanes;
}
/* The lanes stand for positions j .. j + n - 1 of the space. */
void tg_bi_set_lanes(bi_state *state, const bi_code *code, int64_t j, int64_t n);
/* Computes n lanes; only what depends on a range that has moved. */
void tg_bi_eval(bi_state *state, bi_worker *worker, int64_t n, uint64_t moved);
/* table[i] = where position j + i of the space is along the row */
void tg_bi_fill_table(const bi_space *space, const int64_t *row, int64_t j, int64_t n,
                      int64_t *table);
int64_t tg_bi_base(const bi_worker *worker, int32_t row);

/* ---- loops around tiles */
typedef struct bi_nest {
  int count;
  int range[TG_MAX_RANGES];
  int64_t size[TG_MAX_RANGES], step[TG_MAX_RANGES];
  int64_t total; /* iterations */
} bi_nest;
void tg_bi_nest_add(bi_nest *nest, int range, int64_t size, int64_t step);
void tg_bi_nest_start(const bi_nest *nest, int64_t i, int64_t *pos);
uint64_t tg_bi_nest_next(const bi_nest *nest, int64_t *pos); /* the ranges that moved */

/* Runs jobs over workers. Scratch holds `shared` bytes for all, then a piece for
 * each worker: its bi_worker, and behind that its own memory, which `prepare`
 * lays out before its first job. */
typedef struct bi_call bi_call;
struct bi_call {
  const void *program;
  const bi_code *code;
  void *const *data;
  size_t shared, own;
  void (*prepare)(const void *program, char *memory, const char *scratch);
  void (*job)(bi_call *call, bi_worker *worker, char *memory, int64_t i);
  int64_t per_job, items; /* for jobs that are groups of items */
  char *scratch;
  size_t stride;
  int workers;
};
bool tg_bi_call_begin(bi_call *call, int64_t jobs); /* false: no memory */
void tg_bi_call_jobs(bi_call *call, int64_t jobs);
int tg_bi_call_end(bi_call *call); /* 0, or -1 and a message if a CHECK failed */
/* How many items of so many nanoseconds make a job. */
int64_t tg_bi_items_per_job(int64_t items, double nanoseconds);

/* ---- copies with zeros in place of a gate */
#define BI_PAD_AXES 16
typedef struct bi_pad {
  int count;                /* axes, outermost first */
  int64_t size[BI_PAD_AXES], from[BI_PAD_AXES]; /* positions; steps in the source */
  int64_t low[BI_PAD_AXES], high[BI_PAD_AXES];  /* where the gate is open */
  int64_t base, elements, rows;
} bi_pad;
/* For a load along `row` whose gate is that every `gate` row is above 0. `out`
 * becomes the row along which the copy is read. false: it cannot be said so, or
 * the copy would have more than `most` elements. */
bool tg_bi_pad_make(bi_pad *pad, const bi_code *code, const int64_t *row, int64_t *const *gate,
                 int ngates, int64_t most, int64_t *out);
void tg_bi_pad_row(const bi_pad *pad, int64_t i, size_t size, const void *source, void *copy);

/* How many kernels have been left to the reference interpreter. */
int64_t tg_bi_interpreted(void);

/* ---- the two kinds of programs */
typedef struct bi_block bi_block;
bi_block *tg_bi_block_new(const bi_code *code, bool *suits);
int tg_bi_block_run(const bi_block *block, void *const *data);
void tg_bi_block_free(bi_block *block);

typedef struct bi_contract bi_contract;
bi_contract *tg_bi_contract_new(const bi_code *code, bool *suits);
int tg_bi_contract_run(const bi_contract *contract, void *const *data);
void tg_bi_contract_free(bi_contract *contract);

#endif
