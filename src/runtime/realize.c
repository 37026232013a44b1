/* runtime/realize: makes nodes concrete.
 *
 *   1. Collect the unrealized graph below the targets.
 *   2. Write down its structure as a key. A plan with an equal key is replayed;
 *      otherwise the graph is scheduled, lowered and planned, and the plan kept.
 *   3. Allocate the arena and the buffers that stay, run the actions.
 *   4. Only when all went well do the nodes become buffers. A failure anywhere
 *      leaves the graph as it was, ready to be tried again.
 *
 * The key holds what the plan depends on: ops, shapes, dtypes, arguments, who
 * uses whom, what was asked for and what somebody outside still holds. It does
 * not hold buffers: the next training step has other data and the same key.
 */
#include "runtime/runtime.h"

#include <pthread.h>

#include "graph/node.h"
#include "runtime/plan.h"
#include "runtime/threads.h"
#include "runtime/tiers.h"
#include "backend/c/unit.h"

/* ---- keys */

typedef struct key {
  int64_t *word;
  int64_t count;
  uint64_t hash;
} key;

/* The most words that an entry takes. */
static int64_t entry_words(const tg_entry *e) { return 5 + e->node->ndim + e->node->nargs; }

static int64_t *put_entry(int64_t *word, const tg_entry *e) {
  const tg_node *n = e->node;
  *word++ = (int64_t)n->op | (int64_t)n->dtype << 8 | (int64_t)n->device << 16 |
            (int64_t)n->ndim << 24 | (int64_t)n->nargs << 32 | (int64_t)e->target << 48 |
            (int64_t)e->external << 49;
  for (int i = 0; i < 3 && e->src[i] >= 0; i++) *word++ = e->src[i];
  for (int i = 0; i < n->ndim + n->nargs; i++) *word++ = n->data[i];
  if (n->op == TG_OP_CONST) *word++ = n->value.i;
  return word;
}

/* Two chains, since one would wait for its multiplications. */
static uint64_t hash_words(const int64_t *word, int64_t count) {
  const uint64_t factor = UINT64_C(0x9e3779b97f4a7c15);
  uint64_t a = TG_HASH_SEED, b = ~a;
  int64_t i = 0;
  for (; i + 1 < count; i += 2) {
    a = (a ^ (uint64_t)word[i]) * factor;
    b = (b ^ (uint64_t)word[i + 1]) * factor;
    a ^= a >> 29;
    b ^= b >> 29;
  }
  if (i < count) a = (a ^ (uint64_t)word[i]) * factor;
  a = (a ^ b >> 31) * factor + b;
  return a ^ a >> 32;
}

static bool key_of(const tg_graph *g, key *k) {
  *k = (key){0};
  for (int64_t i = 0; i < g->count; i++) k->count += entry_words(&g->entry[i]);
  k->word = tg_alloc((size_t)k->count * sizeof *k->word);
  if (!k->word) return false;
  int64_t *end = k->word;
  for (int64_t i = 0; i < g->count; i++) end = put_entry(end, &g->entry[i]);
  k->count = end - k->word;
  k->hash = hash_words(k->word, k->count);
  return true;
}

/* ---- the cache of plans: the oldest go when there are many or they are large */

enum { PLAN_BUCKETS = 256, MOST_PLANS = 256, MOST_WORDS = 4 << 20 };
static tg_plan *plans[PLAN_BUCKETS];
static tg_plan *by_age[MOST_PLANS]; /* number n, first <= n < made, at n % MOST_PLANS */
static int64_t first, made, words;
static pthread_mutex_t plans_lock = PTHREAD_MUTEX_INITIALIZER;

static void put_plan(tg_plan *plan) {
  pthread_mutex_lock(&plans_lock);
  bool last = --plan->refs == 0;
  pthread_mutex_unlock(&plans_lock);
  if (last) tg_plan_free(plan);
}

static tg_plan *find_plan(const key *k) {
  pthread_mutex_lock(&plans_lock);
  tg_plan *p = plans[k->hash % PLAN_BUCKETS];
  while (p && (p->hash != k->hash || p->key_count != k->count ||
               memcmp(p->key, k->word, (size_t)k->count * sizeof *k->word)))
    p = p->next;
  if (p) p->refs++;
  pthread_mutex_unlock(&plans_lock);
  return p;
}

/* Takes the oldest plan out of the cache if there are more than `most` plans or
 * more than `most_words` words; the caller drops the cache's reference. */
static tg_plan *take_oldest(int64_t most, int64_t most_words) {
  pthread_mutex_lock(&plans_lock);
  tg_plan *old = NULL;
  if (first < made && (made - first > most || words > most_words)) {
    old = by_age[first++ % MOST_PLANS];
    words -= old->key_count;
    tg_plan **at = &plans[old->hash % PLAN_BUCKETS];
    while (*at != old) at = &(*at)->next;
    *at = old->next;
  }
  pthread_mutex_unlock(&plans_lock);
  return old;
}

static void keep_plan(tg_plan *plan, const key *k) {
  plan->key = k->word;
  plan->key_count = k->count;
  plan->hash = k->hash;
  plan->refs = 2; /* the cache and the run about to start */
  for (tg_plan *old; (old = take_oldest(MOST_PLANS / 2, MOST_WORDS));) put_plan(old);
  pthread_mutex_lock(&plans_lock);
  bool room = made - first < MOST_PLANS;
  if (room) {
    by_age[made++ % MOST_PLANS] = plan;
    words += plan->key_count;
    plan->next = plans[plan->hash % PLAN_BUCKETS];
    plans[plan->hash % PLAN_BUCKETS] = plan;
  }
  plan->refs -= !room;
  pthread_mutex_unlock(&plans_lock);
}

/* ---- a run */

typedef struct run {
  const tg_graph *graph;
  const tg_plan *plan;
  tg_buffer **buffer; /* per entry: what stays */
  tg_buffer *arena;
  void **data;        /* per slot of the action */
} run;

static void *memory_of(const run *r, int32_t i) {
  const tg_place *p = &r->plan->place[i];
  switch (p->kind) {
    case TG_PLACE_INPUT: return r->graph->entry[i].node->buffer->data;
    case TG_PLACE_OWN: return r->buffer[i]->data;
    case TG_PLACE_TEMP: return (char *)r->arena->data + p->offset;
    case TG_PLACE_SAME: return memory_of(r, p->of);
    case TG_PLACE_NONE: break;
  }
  return NULL;
}

static bool allocate(run *r) {
  int32_t most = 2;
  for (int64_t i = 0; i < r->plan->actions; i++)
    if (r->plan->action[i].nslots > most) most = r->plan->action[i].nslots;
  r->data = tg_alloc((size_t)most * sizeof *r->data);
  r->buffer = tg_alloc_zero((size_t)(r->plan->entries + 1) * sizeof *r->buffer);
  r->arena = r->data && r->buffer ? tg_buffer_new((size_t)r->plan->arena) : NULL;
  if (!r->arena) return false;
  for (int32_t i = 0; i < r->plan->entries; i++) {
    if (r->plan->place[i].kind != TG_PLACE_OWN) continue;
    const tg_node *n = r->graph->entry[i].node;
    r->buffer[i] = tg_buffer_new((size_t)(n->numel * tg_dtype_size(n->dtype)));
    if (!r->buffer[i]) return false;
  }
  return true;
}

static int act(run *r, const tg_action *a) {
  double start = tg_debug() >= 2 ? tg_seconds() : 0;
  for (int32_t s = 0; s < a->nslots; s++) r->data[s] = memory_of(r, a->entry[s]);
  int status = 0;
  if (a->program) {
    status = tg_program_run(a->program, r->data);
    atomic_fetch_add_explicit(&tg_count.kernels_run, 1, memory_order_relaxed);
  } else {
    const tg_node *n = r->graph->entry[a->entry[0]].node;
    memcpy(r->data[0], r->data[1], (size_t)(n->numel * tg_dtype_size(n->dtype)));
  }
  if (tg_debug() >= 2) tg_debug_action(a, tg_seconds() - start);
  return status;
}

/* Another thread of an interpreter has computed the node while this one ran. */
static bool done_meanwhile(const run *r, int64_t i) {
  return r->plan->place[i].kind != TG_PLACE_INPUT && r->graph->entry[i].node->op == TG_OP_BUFFER;
}

/* The nodes become buffers. Retained first: one may be what keeps another. */
static void publish(run *r) {
  int64_t n = r->plan->entries;
  for (int64_t i = 0; i < n; i++) {
    const tg_place *p = &r->plan->place[i];
    if (done_meanwhile(r, i)) {
      tg_buffer_release(r->buffer[i]);
      r->buffer[i] = NULL;
      continue;
    }
    const tg_node *of = r->graph->entry[p->of].node;
    if (p->kind == TG_PLACE_SAME)
      r->buffer[i] = tg_buffer_retain(of->buffer ? of->buffer : r->buffer[p->of]);
    if (r->buffer[i]) tg_node_retain(r->graph->entry[i].node);
  }
  for (int64_t i = 0; i < n; i++)
    if (r->buffer[i]) tg_node_become_buffer(r->graph->entry[i].node, r->buffer[i]);
  for (int64_t i = 0; i < n; i++)
    if (r->buffer[i]) tg_node_release(r->graph->entry[i].node);
}

/* The actions. In between other threads of an interpreter may realize or drop
 * what the graph is made of, so it is held. */
static int run_actions(run *r) {
  const tg_graph *g = r->graph;
  int64_t held = tg_run_is_shared() ? g->count : 0;
  for (int64_t i = 0; i < held; i++) tg_node_retain(g->entry[i].node);
  int status = 0;
  void *left = tg_run_leave();
  for (int64_t i = 0; status == 0 && i < r->plan->actions; i++) {
    status = act(r, &r->plan->action[i]);
    if (status == 0 && tg_run_stopped()) {
      tg_fail_as(TG_FAILURE_INTERRUPTED, "interrupted while computing; nothing has changed");
      status = -1;
    }
  }
  tg_run_enter(left);
  if (status == 0) publish(r);
  for (int64_t i = 0; i < held; i++) tg_node_release(g->entry[i].node);
  return status;
}

static int run_plan(const tg_graph *g, const tg_plan *plan) {
  run r = {.graph = g, .plan = plan};
  int status = allocate(&r) ? 0 : -1;
  if (status == 0) status = run_actions(&r);
  for (int64_t i = 0; r.buffer && i < plan->entries; i++) tg_buffer_release(r.buffer[i]);
  tg_buffer_release(r.arena);
  tg_free(r.buffer);
  tg_free(r.data);
  return status;
}

/* ---- the whole */

static tg_plan *plan_for(tg_graph *g, bool *replayed) {
  key k;
  if (!key_of(g, &k)) return NULL;
  tg_plan *plan = find_plan(&k);
  *replayed = plan != NULL;
  if (!plan && (plan = tg_plan_new(g))) {
    keep_plan(plan, &k);
    return plan;
  }
  tg_free(k.word);
  return plan;
}

static int realize_graph(tg_graph *g) {
  bool replayed = false;
  double start = tg_debug() >= 1 ? tg_seconds() : 0;
  tg_plan *plan = plan_for(g, &replayed);
  if (!plan) return -1;
  atomic_fetch_add(&tg_count.schedules, 1);
  if (replayed) atomic_fetch_add(&tg_count.schedules_replayed, 1);
  if (replayed) tg_tiers_again(plan);
  if (tg_debug() >= 1) tg_debug_schedule(g, plan, replayed, tg_seconds() - start);
  if (!replayed) tg_draw(g, plan);
  int status = run_plan(g, plan);
  put_plan(plan);
  return status;
}

int tg_runtime_realize(tg_node *const *nodes, int64_t count) {
  bool done = true;
  for (int64_t i = 0; i < count; i++) {
    if (!nodes[i]) return -1;
    done = done && nodes[i]->op == TG_OP_BUFFER;
  }
  if (done) return 0;
  tg_graph graph;
  if (tg_graph_collect(&graph, nodes, count) < 0) return -1;
  int status = realize_graph(&graph);
  tg_graph_free(&graph);
  return status;
}

void tg_stop_threads(void) {
  tg_tiers_stop();
  tg_threads_stop();
}

void tg_runtime_shutdown(void) {
  tg_tiers_stop();
  for (tg_plan *old; (old = take_oldest(0, 0));) put_plan(old);
  tg_c_cache_end();
  tg_threads_stop();
}
