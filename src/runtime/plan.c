/* runtime/plan: from a schedule to a list of actions and a memory plan.
 *
 * Each group of stored entries is an action. Those that somebody
 * outside holds, or that were asked for, get buffers of their own. The others
 * live from the action that makes them to the last one that reads them, and
 * share one arena: places are given in the order of the actions, first fit, and
 * taken back when they die, so the arena is about as large as what is alive at
 * once.
 */
#include "runtime/plan.h"
#include "runtime/tiers.h"

enum { ALIGN = 64 };

/* ---- actions */

static bool add_action(tg_plan *plan, tg_action action) {
  if (!tg_reserve((void **)&plan->action, &plan->action_room, plan->actions,
                  sizeof *plan->action)) {
    tg_program_put(action.program);
    tg_program_put(action.exact);
    tg_free(action.entry);
    return false;
  }
  plan->action[plan->actions++] = action;
  return true;
}

static bool add_kernel(tg_plan *plan, const tg_graph *g, const tg_groups *groups, int64_t number,
                       int part) {
  tg_lowered lowered;
  if (tg_lower(g, groups, number, part, &lowered) < 0) return false;
  int32_t nslots = lowered.kernel->nslots, noutputs = lowered.kernel->noutputs;
  int device = g->entry[lowered.inputs[0]].node->device;
  tg_program *program = tg_program_get(lowered.kernel, device), *exact = NULL;
  if (lowered.exact) exact = tg_program_get(lowered.exact, device);
  if (program && (exact || !lowered.exact))
    return add_action(plan, (tg_action){.program = program, .exact = exact,
                                        .entry = lowered.inputs, .nslots = nslots,
                                        .noutputs = noutputs});
  tg_program_put(program);
  tg_free(lowered.inputs);
  return false;
}

static bool add_copy(tg_plan *plan, const tg_graph *g, int32_t i) {
  int32_t *entry = tg_alloc(2 * sizeof *entry);
  if (!entry) return false;
  entry[0] = i;
  entry[1] = g->entry[i].src[0];
  const tg_node *n = g->entry[i].node;
  return add_action(plan, (tg_action){.entry = entry, .nslots = 2, .noutputs = 1,
                                      .bytes = n->numel * tg_dtype_size(n->dtype)});
}

static bool add_group(tg_plan *plan, const tg_graph *g, const tg_groups *groups, int64_t number) {
  int32_t i = groups->member[groups->first[number]];
  tg_op op = g->entry[i].node->op;
  if (op == TG_OP_COPY) return add_copy(plan, g, i);
  return add_kernel(plan, g, groups, number, 0) &&
         (op != TG_OP_SCATTER || add_kernel(plan, g, groups, number, 1));
}

/* Says where the memory of entry i is. */
static void place_entry(tg_plan *plan, const tg_graph *g, const tg_groups *groups, int32_t i) {
  const tg_entry *e = &g->entry[i];
  tg_place *place = &plan->place[i];
  if (e->node->op == TG_OP_BUFFER) place->kind = TG_PLACE_INPUT;
  if (!e->stored) return;
  int32_t same = tg_schedule_alias(g, i);
  if (same >= 0 && e->node->numel) {
    if (plan->place[same].kind == TG_PLACE_SAME) same = plan->place[same].of;
    if (plan->place[same].kind == TG_PLACE_TEMP) plan->place[same].kind = TG_PLACE_OWN;
    *place = (tg_place){TG_PLACE_SAME, same, 0};
    return;
  }
  if (!groups->written[i] && e->node->numel && e->node->op != TG_OP_EMPTY)
    return; /* it never leaves its kernel */
  bool kept = e->target || e->external || e->node->op == TG_OP_EMPTY; /* no kernel begins it */
  place->kind = kept ? TG_PLACE_OWN : TG_PLACE_TEMP;
}

/* ---- the arena */

typedef struct hole {
  int64_t offset, size;
} hole;

typedef struct arena {
  hole *holes; /* by offset, never adjacent */
  int64_t count, room, end;
} arena;

static int64_t arena_take(arena *a, int64_t size) {
  for (int64_t i = 0; i < a->count; i++) {
    hole *h = &a->holes[i];
    if (h->size < size) continue;
    int64_t offset = h->offset;
    h->offset += size;
    h->size -= size;
    if (!h->size) memmove(h, h + 1, (size_t)(--a->count - i) * sizeof *h);
    return offset;
  }
  hole *last = a->count ? &a->holes[a->count - 1] : NULL;
  if (last && last->offset + last->size == a->end) { /* grow the hole at the end */
    int64_t offset = last->offset;
    a->end = offset + size;
    a->count--;
    return offset;
  }
  a->end += size;
  return a->end - size;
}

static bool arena_give(arena *a, int64_t offset, int64_t size) {
  if (!tg_reserve((void **)&a->holes, &a->room, a->count, sizeof *a->holes)) return false;
  int64_t i = 0;
  while (i < a->count && a->holes[i].offset < offset) i++;
  memmove(&a->holes[i + 1], &a->holes[i], (size_t)(a->count - i) * sizeof *a->holes);
  a->holes[i] = (hole){offset, size};
  a->count++;
  for (int64_t j = i ? i - 1 : 0; j + 1 < a->count && j <= i;) {
    hole *h = &a->holes[j];
    if (h->offset + h->size != h[1].offset) {
      j++;
      continue;
    }
    h->size += h[1].size;
    memmove(h + 1, h + 2, (size_t)(a->count - j - 2) * sizeof *h);
    a->count--;
    if (i > j) i--;
  }
  return true;
}

static int64_t bytes_of(const tg_graph *g, int32_t i) {
  const tg_node *n = g->entry[i].node;
  int64_t size = n->numel * tg_dtype_size(n->dtype);
  return (size + ALIGN - 1) / ALIGN * ALIGN;
}

/* last[i]: the last action that touches the temporary entry i. */
static bool place_temps(tg_plan *plan, const tg_graph *g, int64_t *last) {
  arena a = {0};
  bool done = true;
  for (int64_t n = 0; n < plan->actions; n++)
    for (int32_t s = 0; s < plan->action[n].nslots; s++) last[plan->action[n].entry[s]] = n;
  for (int64_t n = 0; done && n < plan->actions; n++) {
    const tg_action *act = &plan->action[n];
    bool again = n && plan->action[n - 1].entry[0] == act->entry[0]; /* part 1 of a scatter */
    for (int32_t s = 0; s < act->noutputs && !again; s++) {
      tg_place *out = &plan->place[act->entry[s]];
      if (out->kind == TG_PLACE_TEMP) out->offset = arena_take(&a, bytes_of(g, act->entry[s]));
    }
    for (int32_t s = 0; done && s < act->nslots; s++) {
      int32_t e = act->entry[s];
      bool temp = plan->place[e].kind == TG_PLACE_TEMP;
      if (temp && last[e] == n) done = arena_give(&a, plan->place[e].offset, bytes_of(g, e));
    }
  }
  tg_free(a.holes);
  plan->arena = a.end;
  return done;
}

/* ---- the plan */

void tg_plan_free(tg_plan *plan) {
  if (!plan) return;
  for (int64_t i = 0; i < plan->actions; i++) {
    tg_program_put(plan->action[i].program);
    tg_program_put(plan->action[i].exact);
    tg_free(plan->action[i].entry);
  }
  tg_tiers_forget(plan);
  tg_free(plan->action);
  tg_free(plan->place);
  tg_free(plan->key);
  tg_free(plan);
}

static bool plan_all(tg_plan *plan, tg_graph *g, const tg_groups *groups) {
  int64_t *last = tg_alloc_zero((size_t)(g->count + 1) * sizeof *last);
  bool done = last != NULL;
  for (int32_t i = 0; i < g->count; i++) place_entry(plan, g, groups, i);
  for (int64_t k = 0; done && k < groups->count; k++) done = add_group(plan, g, groups, k);
  done = done && place_temps(plan, g, last) && tg_tiers_plan(plan) == 0;
  tg_free(last);
  return done;
}

tg_plan *tg_plan_new(tg_graph *g) {
  tg_groups groups;
  tg_schedule(g);
  if (tg_group(g, &groups) < 0) return NULL;
  tg_plan *plan = tg_alloc_zero(sizeof *plan);
  if (plan) plan->place = tg_alloc_zero((size_t)(g->count + 1) * sizeof *plan->place);
  if (plan) plan->entries = g->count;
  bool done = plan && plan->place && plan_all(plan, g, &groups);
  tg_groups_free(&groups);
  if (done) return plan;
  tg_plan_free(plan);
  return NULL;
}
