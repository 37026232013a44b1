/* builtin/eval: runs the steps of a plan on one tile of lanes. */
#include "backend/builtin/builtin.h"

/* ---- states */

size_t tg_bi_state_bytes(const bi_plan *plan) {
  return plan->bytes + (((size_t)plan->nregs * sizeof(void *) + 63) & ~(size_t)63);
}

void tg_bi_state_init(bi_state *state, const bi_plan *plan, char *memory) {
  state->plan = plan;
  state->memory = memory;
  state->first = 0;
  state->reg = (void **)(void *)(memory + plan->bytes);
  for (int32_t r = 0; r < plan->nregs; r++) state->reg[r] = memory + plan->reg_at[r];
}

/* The position j of the space, range by range. */
static void eval_split(const bi_space *space, int64_t j, int64_t *at) {
  for (int s = space->count - 1; s >= 0; s--) {
    at[s] = j % space->size[s];
    j /= space->size[s];
  }
}

void tg_bi_fill_table(const bi_space *space, const int64_t *row, int64_t j, int64_t n,
                   int64_t *table) {
  if (space->count == 0) {
    for (int64_t i = 0; i < n; i++) table[i] = 0;
    return;
  }
  int64_t at[TG_MAX_RANGES], where = 0;
  int last = space->count - 1;
  eval_split(space, j, at);
  for (int s = 0; s <= last; s++) where += at[s] * row[space->range[s]];
  int64_t step = row[space->range[last]];
  for (int64_t i = 0; i < n;) {
    int64_t end = i + space->size[last] - at[last];
    if (end > n) end = n;
    for (; i < end; i++, where += step) table[i] = where;
    int s = last;
    at[s] = space->size[s]; /* carry */
    while (s > 0 && at[s] == space->size[s]) {
      where -= at[s] * row[space->range[s]];
      at[s] = 0;
      s--;
      where += row[space->range[s]];
      at[s]++;
    }
  }
}

int64_t tg_bi_base(const bi_worker *worker, int32_t row) {
  const bi_code *code = worker->code;
  const int64_t *strides = bi_row(code, row);
  int64_t base = strides[code->nranges];
  for (uint64_t left = code->moving[row]; left; left &= left - 1) {
    int r = __builtin_ctzll(left);
    base += strides[r] * worker->pos[r];
  }
  return base;
}

void tg_bi_set_lanes(bi_state *state, const bi_code *code, int64_t j, int64_t n) {
  const bi_plan *plan = state->plan;
  state->first = j;
  for (int32_t t = 0; t < plan->ntables; t++)
    tg_bi_fill_table(&plan->space, bi_row(code, plan->table_row[t]), j, n,
                     bi_state_table(state, t));
}

/* ---- loads */

typedef struct eval_lanes {
  int64_t n;
  int64_t first; /* where the tile begins in a run */
  const int64_t *table;
} eval_lanes;

static char *eval_temp(const bi_state *state) { return state->memory + state->plan->temp_at; }

/* n elements from `from`, 0 where the gate is shut; shut elements are not read. */
static void eval_copy_gated(char *to, const char *from, const char *gate, int64_t n, int log2) {
  for (int64_t i = 0; i < n;) {
    const char *shut = memchr(gate + i, 0, (size_t)(n - i));
    int64_t end = shut ? shut - gate : n;
    memcpy(to + (i << log2), from + (i << log2), (size_t)(end - i) << log2);
    if (end == n) return;
    const char *open = memchr(gate + end, 1, (size_t)(n - end));
    i = open ? open - gate : n;
    memset(to + (end << log2), 0, (size_t)(i - end) << log2);
  }
}

/* Groups of `run` lanes that are contiguous in memory, or one element. */
static void eval_load_runs(const bi_step *step, const bi_loops *v, const eval_lanes *lanes,
                           char *to, const char *base, const char *gate) {
  int log2 = step->log2;
  for (int64_t i = 0, in_run = lanes->first; i < lanes->n; in_run = 0) {
    int64_t end = i + step->run - in_run;
    if (end > lanes->n) end = lanes->n;
    const char *from = base + lanes->table[i] * (INT64_C(1) << log2);
    if (gate) eval_copy_gated(to + (i << log2), from, gate + i, end - i, log2);
    else if (step->mode == BI_RUNFILL)
      v->fill[log2](end - i, to + (i << log2), from, NULL, NULL);
    else memcpy(to + (i << log2), from, (size_t)(end - i) << log2);
    i = end;
  }
}

static void eval_load_raw(const bi_step *step, const bi_loops *v, const eval_lanes *lanes,
                          char *to, const char *base, const char *gate) {
  int64_t n = lanes->n;
  int log2 = step->log2;
  if (step->mode == BI_CONTIGUOUS) {
    if (gate) eval_copy_gated(to, base, gate, n, log2);
    else memcpy(to, base, (size_t)n << log2);
  } else if (step->mode == BI_RUNS || (step->mode == BI_RUNFILL && !gate)) {
    eval_load_runs(step, v, lanes, to, base, gate);
  } else if (gate) {
    v->masked[log2](n, to, base, lanes->table, gate);
  } else if (step->mode == BI_ONE) {
    v->fill[log2](n, to, base, NULL, NULL);
  } else {
    v->gather[log2](n, to, base, lanes->table, NULL);
  }
}

static eval_lanes eval_lanes_of(const bi_step *step, const bi_state *state, int64_t n) {
  eval_lanes lanes = {.n = n};
  if (step->mode == BI_INDEXED) lanes.table = state->reg[step->y];
  else if (step->table >= 0) lanes.table = bi_state_table(state, step->table);
  return lanes;
}

/* Where the lanes count from: tables know the first position, runs do not. */
static char *eval_address(const bi_step *step, const bi_state *state, const bi_worker *worker) {
  char *memory = worker->data[step->slot];
  if (step->row < 0) return memory;
  int64_t at = tg_bi_base(worker, step->row);
  if (step->mode == BI_CONTIGUOUS) at += state->first;
  return memory + at * (INT64_C(1) << step->log2);
}

static void eval_load(const bi_step *step, bi_state *state, const bi_worker *worker, int64_t n,
                      int64_t first) {
  const bi_loops *v = worker->code->vector;
  const char *gate = step->z >= 0 ? state->reg[step->z] : NULL;
  char *out = state->memory + state->plan->reg_at[step->out];
  if (gate && !memchr(gate, 1, (size_t)n)) {
    memset(out, 0, (size_t)n << bi_lane_log2(step->lane));
    return;
  }
  if (gate && !memchr(gate, 0, (size_t)n)) gate = NULL;
  char *base = eval_address(step, state, worker);
  if (step->direct) {
    state->reg[step->out] = base;
    return;
  }
  eval_lanes lanes = eval_lanes_of(step, state, n);
  if (step->mode == BI_RUNS || step->mode == BI_RUNFILL) lanes.first = first % step->run;
  if (!step->half) {
    eval_load_raw(step, v, &lanes, out, base, gate);
  } else if (step->mode == BI_CONTIGUOUS && !gate) {
    v->widen[step->half - 1](n, out, base, NULL, NULL);
  } else {
    char *temp = eval_temp(state);
    eval_load_raw(step, v, &lanes, temp, base, gate);
    v->widen[step->half - 1](n, out, temp, NULL, NULL);
  }
}

/* ---- stores */

static void eval_store_raw(const bi_step *step, const bi_loops *v, const eval_lanes *lanes,
                           char *base, const char *from) {
  int log2 = step->log2;
  if (step->mode == BI_CONTIGUOUS) {
    memmove(base, from, (size_t)lanes->n << log2);
  } else if (step->mode == BI_RUNS) {
    for (int64_t i = 0, in_run = lanes->first; i < lanes->n; in_run = 0) {
      int64_t end = i + step->run - in_run;
      if (end > lanes->n) end = lanes->n;
      memcpy(base + lanes->table[i] * (INT64_C(1) << log2), from + (i << log2),
             (size_t)(end - i) << log2);
      i = end;
    }
  } else {
    v->scatter[log2](lanes->n, base, from, lanes->table, NULL);
  }
}

#define EVAL_ADD(T, expression)                                   \
  {                                                               \
    T *memory = (T *)(void *)base;                                \
    const T *value = from;                                        \
    for (int64_t i = 0; i < n; i++) {                             \
      T *to = &memory[at[i]];                                     \
      T q = value[i];                                             \
      *to = (T)(expression);                                      \
    }                                                             \
    break;                                                        \
  }

/* Lane by lane: several may meet in one element. */
static void eval_add_each(tg_dtype dtype, int64_t n, char *base, const void *from,
                          const int64_t *at) {
  switch (dtype) {
    case TG_BOOL: EVAL_ADD(uint8_t, *to | q)
    case TG_INT8:
    case TG_UINT8: EVAL_ADD(uint8_t, *to + q)
    case TG_INT16:
    case TG_UINT16: EVAL_ADD(uint16_t, *to + q)
    case TG_INT32:
    case TG_UINT32: EVAL_ADD(uint32_t, *to + q)
    case TG_INT64:
    case TG_UINT64: EVAL_ADD(uint64_t, *to + q)
    case TG_FLOAT32: EVAL_ADD(float, *to + q)
    case TG_FLOAT64: EVAL_ADD(double, *to + q)
    case TG_FLOAT16:
    case TG_BFLOAT16:
    case TG_DEFAULT_DTYPE: break;
  }
}

static void eval_add_half(const bi_step *step, const bi_loops *v, int64_t n, char *base,
                          const float *from, const int64_t *at) {
  for (int64_t i = 0; i < n; i++) {
    float sum;
    char *to = base + at[i] * 2;
    v->widen[step->half - 1](1, &sum, to, NULL, NULL);
    sum += from[i];
    v->narrow[step->half - 1](1, to, &sum, NULL, NULL);
  }
}

static void eval_store_add(const bi_step *step, bi_state *state, const bi_worker *worker,
                           int64_t n) {
  const bi_loops *v = worker->code->vector;
  char *base = eval_address(step, state, worker);
  const void *from = state->reg[step->x];
  eval_lanes lanes = eval_lanes_of(step, state, n);
  if (step->mode == BI_CONTIGUOUS && !step->half) {
    v->alu[TG_OP_ADD][step->lane](n, base, base, from, NULL);
    return;
  }
  if (step->mode == BI_CONTIGUOUS) {
    int64_t *table = (int64_t *)(void *)eval_temp(state);
    for (int64_t i = 0; i < n; i++) table[i] = i;
    lanes.table = table;
  }
  if (step->half) eval_add_half(step, v, n, base, from, lanes.table);
  else eval_add_each(step->dtype, n, base, from, lanes.table);
}

static void eval_store(const bi_step *step, bi_state *state, const bi_worker *worker, int64_t n,
                       int64_t first) {
  if (step->direct) return;
  if (step->add) {
    eval_store_add(step, state, worker, n);
    return;
  }
  const bi_loops *v = worker->code->vector;
  const char *from = state->reg[step->x];
  char *base = eval_address(step, state, worker);
  eval_lanes lanes = eval_lanes_of(step, state, n);
  if (step->mode == BI_RUNS) lanes.first = first % step->run;
  if (step->half && step->mode == BI_CONTIGUOUS) {
    v->narrow[step->half - 1](n, base, from, NULL, NULL);
    return;
  }
  if (step->half) {
    v->narrow[step->half - 1](n, eval_temp(state), from, NULL, NULL);
    from = eval_temp(state);
  }
  eval_store_raw(step, v, &lanes, base, from);
}

/* ---- arithmetic */

static void eval_check(const bi_step *step, bi_state *state, bi_worker *worker, int64_t n) {
  const int64_t *x = state->reg[step->x];
  int64_t *out = state->reg[step->out], bound = step->bound;
  int64_t bad = 0;
  for (int64_t i = 0; i < n; i++) bad |= (int64_t)((uint64_t)x[i] >= (uint64_t)bound);
  if (!bad) {
    if (out != x) memcpy(out, x, (size_t)n * sizeof *out);
    return;
  }
  for (int64_t i = 0; i < n; i++) {
    int64_t index = x[i];
    bool good = index >= 0 && index < bound;
    out[i] = good ? index : 0;
    if (good || worker->failed) continue;
    worker->failed = true;
    worker->bad_job = worker->job;
    worker->bad_index = index;
    worker->bad_bound = bound;
  }
}

static void eval_bits(const bi_step *step, bi_state *state, const bi_loops *v, int64_t n) {
  const void *from = state->reg[step->x];
  void *out = state->reg[step->out];
  if (step->half_from) {
    v->narrow[step->half_from - 1](n, eval_temp(state), from, NULL, NULL);
    from = eval_temp(state);
  }
  if (step->half) v->widen[step->half - 1](n, out, from, NULL, NULL);
  else if (out != from) memcpy(out, from, (size_t)n << step->log2);
}

static void eval_op(const bi_step *step, bi_state *state, const bi_worker *worker, int64_t n) {
  void **reg = state->reg;
  if (step->direct) reg[step->out] = eval_address(step, state, worker);
  void *out = reg[step->out];
  const void *x = reg[step->x];
  const void *y = step->y >= 0 ? reg[step->y] : step->magic;
  const void *z = step->z >= 0 ? reg[step->z] : NULL;
  if (step->fn) step->fn(n, out, x, y, z);
  if (step->half)
    worker->code->vector->round[step->half - 1](n, out, step->fn ? out : x, NULL, NULL);
  else if (!step->fn && out != x) memcpy(out, x, (size_t)n << step->log2);
}

static void eval_affine(const bi_step *step, bi_state *state, const bi_worker *worker, int64_t n) {
  int64_t base = tg_bi_base(worker, step->row);
  const int64_t *table = bi_state_table(state, step->table);
  worker->code->vector->shift(n, state->reg[step->out], table, &base, NULL);
}

/* `first`: where the first lane is in the space, for runs. */
static void eval_step(const bi_step *step, bi_state *state, bi_worker *worker, int64_t n,
                      int64_t first) {
  switch (step->kind) {
    case BI_CONST:
      worker->code->vector->fill[step->log2](n, state->reg[step->out], &step->bits, NULL, NULL);
      break;
    case BI_AFFINE: eval_affine(step, state, worker, n); break;
    case BI_LOAD: eval_load(step, state, worker, n, first); break;
    case BI_OP: eval_op(step, state, worker, n); break;
    case BI_BITS: eval_bits(step, state, worker->code->vector, n); break;
    case BI_CHECK: eval_check(step, state, worker, n); break;
    case BI_STORE: eval_store(step, state, worker, n, first); break;
  }
}

void tg_bi_eval(bi_state *state, bi_worker *worker, int64_t n, uint64_t moved) {
  const bi_plan *plan = state->plan;
  for (int32_t s = 0; s < plan->nsteps; s++) {
    const bi_step *step = &plan->step[s];
    if (!(step->ranges & moved) && moved != BI_ALL) continue;
    eval_step(step, state, worker, step->whole ? plan->space.lanes : n, state->first);
  }
}
