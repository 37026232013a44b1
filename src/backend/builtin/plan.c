/* builtin/plan: from instructions to steps.
 *
 * What the roots need is marked backwards; affine indices are not computed but
 * become rows, so most index arithmetic vanishes here. Then each marked
 * instruction becomes one step: a loop over lanes and its registers. A load
 * whose lanes lie side by side costs nothing: its register points into memory.
 * Steps that run for every tile share registers by a linear scan; the others
 * (constants, what only moves with outer loops) keep theirs between tiles.
 */
#include "backend/builtin/builtin.h"

typedef struct plan_maker {
  bi_plan *plan;
  const bi_code *code;
  const int32_t *roots;
  int32_t nroots;
  const bool *given;       /* by instruction; NULL: the REDUCEs */
  uint64_t hot, chunked;   /* ranges */
  bool *marked;
  int32_t *last;           /* instruction -> the step that reads it last */
  int32_t *freed[4];       /* registers to use again, by log2 of the element */
  int32_t nfreed[4];
} plan_maker;

/* ---- marking */

static bool plan_index_is_row(const plan_maker *m, const tg_ins *in) {
  return m->code->row_of[in->src[0]] >= 0;
}

static bool plan_is_given(const plan_maker *m, int32_t i) {
  return m->given ? m->given[i] : m->code->ins[i].op == TG_OP_REDUCE;
}

static void plan_mark_operands(plan_maker *m, int32_t i) {
  const tg_ins *in = &m->code->ins[i];
  bool memory = in->op == TG_OP_LOAD || bi_is_store(in->op);
  if (m->code->row_of[i] >= 0 || plan_is_given(m, i)) return;
  for (int k = 0; k < 3; k++)
    if (in->src[k] >= 0 && !(memory && k == 0 && plan_index_is_row(m, in)))
      m->marked[in->src[k]] = true;
}

static int32_t plan_mark(plan_maker *m) {
  int32_t steps = 0;
  for (int32_t i = 0; i < m->nroots; i++) m->marked[m->roots[i]] = true;
  for (int32_t i = m->code->count - 1; i >= 0; i--)
    if (m->marked[i]) plan_mark_operands(m, i), steps++;
  return steps;
}

/* ---- how an access lies in memory */

static bi_mode plan_runs(const bi_space *space, const int64_t *row, int64_t *run, bi_mode mode) {
  bool steps = mode == BI_CONTIGUOUS;
  int64_t length = 1;
  int s = space->count - 1;
  for (; s >= 0; s--) {
    if (row[space->range[s]] != (steps ? length : 0)) break;
    length *= space->size[s];
  }
  *run = length;
  if (s < 0) return mode;
  if (length >= 8) return steps ? BI_RUNS : BI_RUNFILL;
  return BI_TABLE;
}

static bi_mode plan_mode(const bi_space *space, const int64_t *row, int64_t *run) {
  bi_mode mode = plan_runs(space, row, run, BI_ONE);
  if (mode == BI_TABLE) mode = plan_runs(space, row, run, BI_CONTIGUOUS);
  return mode;
}

/* The table over lanes for a row; equal ones are shared. */
static int32_t plan_table(plan_maker *m, int32_t row) {
  bi_plan *plan = m->plan;
  const int64_t *mine = bi_row(m->code, row);
  for (int32_t t = 0; t < plan->ntables; t++) {
    const int64_t *other = bi_row(m->code, plan->table_row[t]);
    bool same = true;
    for (int s = 0; same && s < plan->space.count; s++)
      same = mine[plan->space.range[s]] == other[plan->space.range[s]];
    if (same) return t;
  }
  plan->table_row[plan->ntables] = row;
  return plan->ntables++;
}

static void plan_access(plan_maker *m, bi_step *step, const tg_ins *in) {
  tg_dtype dtype = m->code->slot[in->slot];
  step->slot = in->slot;
  step->log2 = dtype == TG_FLOAT16 || dtype == TG_BFLOAT16 ? 1 : bi_lane_log2(bi_lane_of(dtype));
  step->half = dtype == TG_FLOAT16 ? 1 : dtype == TG_BFLOAT16 ? 2 : 0;
  step->lane = bi_lane_of(dtype);
  step->dtype = dtype;
  step->row = m->code->row_of[in->src[0]];
  step->mode = BI_INDEXED;
  if (step->row >= 0)
    step->mode = plan_mode(&m->plan->space, bi_row(m->code, step->row), &step->run);
  else
    step->y = m->plan->reg_of[in->src[0]];
  bool gated = in->op == TG_OP_LOAD && in->src[1] >= 0;
  bool table = step->mode != BI_CONTIGUOUS && step->mode != BI_INDEXED;
  if (step->mode == BI_ONE && in->op == TG_OP_LOAD && !gated) table = false;
  if (table) step->table = plan_table(m, step->row);
}

/* ---- one step */

static void plan_const(bi_step *step, const tg_ins *in) {
  step->kind = BI_CONST;
  if (step->lane == BI_F64) {
    memcpy(&step->bits, &in->value.f, sizeof in->value.f);
  } else if (step->lane == BI_F32) {
    float f = (float)in->value.f;
    memcpy(&step->bits, &f, sizeof f);
  } else {
    step->bits = (uint64_t)in->value.i;
    if (step->lane == BI_BOOL) step->bits = in->value.i != 0;
    if (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__)
      step->bits <<= 64 - (8 << bi_lane_log2(step->lane));
  }
}

static int plan_half(tg_dtype dtype) {
  return dtype == TG_FLOAT16 ? 1 : dtype == TG_BFLOAT16 ? 2 : 0;
}

/* Division of small non-negative integers by a constant: a multiplication by
 * 2^(31 + l) / d, rounded up, and a shift; exact below 2^31. */
static bool plan_divide(const plan_maker *m, bi_step *step, const tg_ins *in) {
  const tg_ins *x = &m->code->ins[in->src[0]], *d = &m->code->ins[in->src[1]];
  if (in->dtype != TG_INT64 || d->op != TG_OP_CONST || d->value.i < 1) return false;
  if (x->low < 0 || x->high >= INT64_C(1) << 31 || d->value.i >= INT64_C(1) << 31) return false;
  uint64_t l = 0, divisor = (uint64_t)d->value.i;
  while (UINT64_C(1) << l < divisor) l++;
  step->magic[0] = (UINT64_C(1) << (31 + l)) / divisor + 1;
  step->magic[1] = 31 + l;
  step->magic[2] = divisor;
  step->fn = in->op == TG_OP_DIV ? m->code->vector->divide : m->code->vector->modulo;
  step->y = -1;
  return true;
}

static void plan_cast(const plan_maker *m, bi_step *step, const tg_ins *in) {
  bi_lane from = bi_lane_of(m->code->ins[in->src[0]].dtype);
  step->half = plan_half(in->dtype);
  step->fn = m->code->vector->cast[step->lane][from]; /* NULL: a copy */
}

static void plan_bitcast(const plan_maker *m, bi_step *step, const tg_ins *in) {
  step->kind = BI_BITS;
  step->half = plan_half(in->dtype);
  step->half_from = plan_half(m->code->ins[in->src[0]].dtype);
}

static void plan_alu(plan_maker *m, bi_step *step, const tg_ins *in) {
  const bi_loops *v = m->code->vector;
  bi_lane from = bi_lane_of(m->code->ins[in->src[0]].dtype);
  int32_t *reg[3] = {&step->x, &step->y, &step->z};
  for (int k = 0; k < 3; k++)
    if (in->src[k] >= 0) *reg[k] = m->plan->reg_of[in->src[k]];
  step->kind = BI_OP;
  if (in->op == TG_OP_CHECK) step->kind = BI_CHECK, step->bound = in->value.i;
  else if (in->op == TG_OP_CAST) plan_cast(m, step, in);
  else if (in->op == TG_OP_BITCAST) plan_bitcast(m, step, in);
  else if (in->op == TG_OP_WHERE) step->fn = v->where[bi_lane_log2(step->lane)];
  else if ((in->op != TG_OP_DIV && in->op != TG_OP_MOD) || !plan_divide(m, step, in))
    step->fn = v->alu[in->op][from];
}

static void plan_load(plan_maker *m, bi_step *step, const tg_ins *in) {
  step->kind = BI_LOAD;
  plan_access(m, step, in);
  if (in->src[1] >= 0) step->z = m->plan->reg_of[in->src[1]];
  step->direct = step->mode == BI_CONTIGUOUS && !step->half && step->z < 0;
}

static void plan_store(plan_maker *m, bi_step *step, const tg_ins *in) {
  step->kind = BI_STORE;
  step->add = in->op == TG_OP_STORE_ADD;
  plan_access(m, step, in);
  step->x = m->plan->reg_of[in->src[1]];
}

static void plan_step(plan_maker *m, bi_step *step, int32_t i) {
  const tg_ins *in = &m->code->ins[i];
  *step = (bi_step){.ins = i, .out = -1, .x = -1, .y = -1, .z = -1, .row = -1, .table = -1,
                    .mode = BI_TABLE, .ranges = in->ranges, .lane = bi_lane_of(in->dtype)};
  step->log2 = bi_lane_log2(step->lane);
  if (in->op == TG_OP_CONST) plan_const(step, in);
  else if (in->op == TG_OP_LOAD) plan_load(m, step, in);
  else if (bi_is_store(in->op)) plan_store(m, step, in);
  else if (m->code->row_of[i] >= 0) {
    step->kind = BI_AFFINE;
    step->row = m->code->row_of[i];
    step->table = plan_table(m, step->row);
  } else plan_alu(m, step, in);
  step->whole = m->chunked && !(step->ranges & m->chunked) && step->kind != BI_STORE;
  if (step->kind == BI_STORE) step->ranges = BI_ALL;
}

/* ---- registers */

static bool plan_hot(const plan_maker *m, const bi_step *step) {
  return m->hot == BI_ALL || (step->ranges & m->hot);
}

static size_t plan_room(plan_maker *m, size_t bytes) {
  size_t at = m->plan->bytes;
  m->plan->bytes += (bytes + 63) & ~(size_t)63;
  return at;
}

static void plan_give_register(plan_maker *m, bi_step *step) {
  bi_plan *plan = m->plan;
  int size = bi_lane_log2(step->lane);
  int32_t reg = plan->nregs++;
  step->out = plan->reg_of[step->ins] = reg;
  if (plan_hot(m, step) && m->nfreed[size] > 0)
    plan->reg_at[reg] = plan->reg_at[m->freed[size][--m->nfreed[size]]];
  else
    plan->reg_at[reg] = plan_room(m, (size_t)plan->space.lanes << size);
}

/* Frees the registers of operands that step number `at` reads last. */
static void plan_free_operands(plan_maker *m, const bi_step *step, int32_t at) {
  const tg_ins *in = &m->code->ins[step->ins];
  for (int k = 0; k < 3; k++) {
    int32_t from = in->src[k];
    if (from < 0 || m->last[from] != at || m->plan->reg_of[from] < 0) continue;
    if (plan_is_given(m, from)) continue;
    const bi_step *maker = NULL;
    for (int32_t s = at - 1; s >= 0 && !maker; s--)
      if (m->plan->step[s].out == m->plan->reg_of[from]) maker = &m->plan->step[s];
    if (!maker || !plan_hot(m, maker) || maker->direct) continue;
    m->last[from] = -1; /* once */
    int size = bi_lane_log2(maker->lane);
    m->freed[size][m->nfreed[size]++] = m->plan->reg_of[from];
  }
}

/* Stores run last, so what they read stays. */
static void plan_find_last(plan_maker *m) {
  int32_t at = 0;
  for (int32_t i = 0; i < m->code->count; i++) {
    const tg_ins *in = &m->code->ins[i];
    if (!m->marked[i] || plan_is_given(m, i)) continue;
    bool store = bi_is_store(in->op);
    for (int k = 0; k < 3; k++)
      if (in->src[k] >= 0 && m->last[in->src[k]] != INT32_MAX)
        m->last[in->src[k]] = store ? INT32_MAX : at;
    if (!store) at++;
  }
  for (int32_t i = 0; i < m->nroots; i++) m->last[m->roots[i]] = INT32_MAX;
}

/* A register filled by the caller. */
static void plan_given(plan_maker *m, int32_t i) {
  bi_lane lane = bi_lane_of(m->code->ins[i].dtype);
  m->plan->reg_of[i] = m->plan->nregs;
  m->plan->reg_at[m->plan->nregs++] =
      plan_room(m, (size_t)m->plan->space.lanes << bi_lane_log2(lane));
}

static void plan_steps(plan_maker *m, bool stores) {
  for (int32_t i = 0; i < m->code->count; i++) {
    if (!m->marked[i] || bi_is_store(m->code->ins[i].op) != stores) continue;
    if (plan_is_given(m, i)) {
      plan_given(m, i);
      continue;
    }
    bi_step *step = &m->plan->step[m->plan->nsteps];
    plan_step(m, step, i);
    if (!stores) plan_free_operands(m, step, m->plan->nsteps);
    m->plan->nsteps++;
    if (!stores) plan_give_register(m, step);
  }
}

/* ---- stores that need no copy */

static int32_t plan_maker_of(const bi_plan *plan, int32_t reg) {
  for (int32_t s = 0; s < plan->nsteps; s++)
    if (plan->step[s].out == reg && plan->step[s].kind != BI_STORE) return s;
  return -1;
}

static bool plan_read_later(const bi_plan *plan, int32_t after) {
  for (int32_t s = 0; s <= after; s++)
    if (plan->step[s].direct)
      for (int32_t t = after + 1; t < plan->nsteps; t++)
        if (plan->step[t].x == plan->step[s].out || plan->step[t].y == plan->step[s].out ||
            plan->step[t].z == plan->step[s].out)
          return true;
  for (int32_t t = after + 1; t < plan->nsteps; t++)
    if (plan->step[t].kind == BI_LOAD) return true;
  return false;
}

/* The step that makes the value writes straight to memory, if nothing reads
 * from memory after it: an input may be the same memory as the output. */
static void plan_forward(plan_maker *m) {
  bi_plan *plan = m->plan;
  for (int32_t s = 0; s < plan->nsteps; s++) {
    bi_step *store = &plan->step[s];
    if (store->kind != BI_STORE || store->add || store->half) continue;
    if (store->mode != BI_CONTIGUOUS) continue;
    int32_t at = plan_maker_of(plan, store->x);
    if (at < 0) continue;
    bi_step *op = &plan->step[at];
    if (op->kind != BI_OP || op->direct || op->whole || !plan_hot(m, op)) continue;
    if (plan_read_later(plan, at)) continue;
    op->direct = store->direct = true;
    op->mode = BI_CONTIGUOUS;
    op->slot = store->slot;
    op->row = store->row;
  }
}

/* With several stores an input that is stored as it is must be read before any
 * of them runs. */
static void plan_undirect(plan_maker *m) {
  bi_plan *plan = m->plan;
  int32_t stores = 0;
  for (int32_t s = 0; s < plan->nsteps; s++) stores += plan->step[s].kind == BI_STORE;
  for (int32_t s = 0; stores > 1 && s < plan->nsteps; s++) {
    if (plan->step[s].kind != BI_STORE) continue;
    int32_t at = plan_maker_of(plan, plan->step[s].x);
    if (at >= 0 && plan->step[at].kind == BI_LOAD) plan->step[at].direct = false;
  }
}

/* ---- all together */

static bool plan_reserve(plan_maker *m) {
  size_t count = (size_t)m->code->count;
  bi_plan *plan = m->plan;
  m->marked = tg_alloc_zero(count + 1);
  m->last = tg_alloc(count * sizeof *m->last + 1);
  plan->reg_of = tg_alloc(count * sizeof *plan->reg_of + 1);
  if (!m->marked || !m->last || !plan->reg_of) return false;
  for (size_t i = 0; i < count; i++) m->last[i] = plan->reg_of[i] = -1;
  size_t steps = (size_t)plan_mark(m);
  plan->step = tg_alloc(steps * sizeof *plan->step + 1);
  plan->reg_at = tg_alloc(steps * sizeof *plan->reg_at + 1);
  plan->table_row = tg_alloc(steps * sizeof *plan->table_row + 1);
  m->freed[0] = tg_alloc(4 * steps * sizeof **m->freed + 1);
  for (size_t k = 1; k < 4 && m->freed[0]; k++) m->freed[k] = m->freed[0] + k * steps;
  return plan->step && plan->reg_at && plan->table_row && m->freed[0];
}

bool tg_bi_plan_make(bi_plan *plan, const bi_code *code, const bi_space *space,
                  const int32_t *roots, int32_t nroots, uint64_t hot) {
  return tg_bi_plan_given(plan, code, space, roots, nroots, hot, NULL);
}

bool tg_bi_plan_given(bi_plan *plan, const bi_code *code, const bi_space *space,
                      const int32_t *roots, int32_t nroots, uint64_t hot, const bool *given) {
  memset(plan, 0, sizeof *plan);
  plan->space = *space;
  plan_maker m = {.plan = plan, .code = code, .roots = roots, .nroots = nroots, .given = given,
                  .hot = hot};
  if (space->count && space->chunk < space->size[0]) m.chunked = UINT64_C(1) << space->range[0];
  bool good = plan_reserve(&m);
  if (good) {
    plan_find_last(&m);
    plan_steps(&m, false);
    plan_steps(&m, true);
    plan_undirect(&m);
    plan_forward(&m);
    plan->temp_at = plan_room(&m, (size_t)space->lanes * 8);
    plan->table_at = plan_room(&m, (size_t)plan->ntables * (size_t)space->lanes * 8);
  }
  tg_free(m.marked);
  tg_free(m.last);
  tg_free(m.freed[0]);
  if (!good) tg_bi_plan_free(plan);
  return good;
}

void tg_bi_plan_free(bi_plan *plan) {
  tg_free(plan->reg_of);
  tg_free(plan->step);
  tg_free(plan->reg_at);
  tg_free(plan->table_row);
  memset(plan, 0, sizeof *plan);
}
