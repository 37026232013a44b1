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

/* ---- tapes: what a thread has run, for tg_jit to run again */

static void taped_let_go(tg_taped *run) {
  for (int64_t i = 0; run->buffer && i < run->entries; i++) tg_buffer_release(run->buffer[i]);
  tg_free(run->buffer);
  run->buffer = NULL;
}

static bool tape_add(tg_tape *tape, tg_plan *plan, tg_buffer *const *buffer) {
  if (!tape) return true;
  if (tape->broken) return false;
  if (!tg_reserve((void **)&tape->run, &tape->room, tape->count, sizeof *tape->run)) return false;
  tg_taped run = {plan, plan->entries, NULL, NULL};
  run.buffer = tg_alloc((size_t)(plan->entries + 1) * sizeof *run.buffer);
  run.size = tg_alloc((size_t)(plan->entries + 1) * sizeof *run.size);
  if (!run.buffer || !run.size) {
    tg_free(run.buffer);
    tg_free(run.size);
    return false;
  }
  for (int64_t i = 0; i < plan->entries; i++) {
    run.buffer[i] = tg_buffer_retain(buffer[i]);
    run.size[i] = buffer[i] ? buffer[i]->size : 0;
  }
  pthread_mutex_lock(&plans_lock);
  plan->refs++;
  pthread_mutex_unlock(&plans_lock);
  tape->run[tape->count++] = run;
  return true;
}

void tg_tape_settle(tg_tape *tape) {
  for (int64_t i = 0; i < tape->count; i++) taped_let_go(&tape->run[i]);
}

void tg_tape_free(tg_tape *tape) {
  tg_tape_settle(tape);
  for (int64_t i = 0; i < tape->count; i++) {
    tg_free(tape->run[i].size);
    put_plan(tape->run[i].plan);
  }
  tg_free(tape->run);
  *tape = (tg_tape){0};
}

/* ---- a run: a plan and the buffer of each entry that has one */

enum { FEW_SLOTS = 64 };

static bool is_result(const tg_plan *plan, int64_t i) {
  return plan->place[i].kind == TG_PLACE_OWN || plan->place[i].kind == TG_PLACE_SAME;
}

/* Buffers for the results that have none yet. `sizes`: in their stead, theirs. */
static bool make_results(const tg_plan *plan, const tg_graph *g, const size_t *sizes,
                         tg_buffer **buffer) {
  for (int64_t i = 0; i < plan->entries; i++) {
    if (plan->place[i].kind != TG_PLACE_OWN) continue;
    const tg_node *n = g ? g->entry[i].node : NULL;
    size_t size = n ? (size_t)(n->numel * tg_dtype_size(n->dtype)) : sizes[i];
    if (!(buffer[i] = tg_buffer_new(size))) return false;
  }
  for (int64_t i = 0; i < plan->entries; i++)
    if (plan->place[i].kind == TG_PLACE_SAME)
      buffer[i] = tg_buffer_retain(buffer[plan->place[i].of]);
  return true;
}

static void drop_results(const tg_plan *plan, tg_buffer **buffer) {
  for (int64_t i = 0; i < plan->entries; i++)
    if (is_result(plan, i)) {
      tg_buffer_release(buffer[i]);
      buffer[i] = NULL;
    }
}

/* The twin of a program is built when it is first needed, which hardly ever happens. */
static int act(const tg_action *a, void **data) {
  if (a->exact && !tg_program_suits(a->program, data))
    return tg_program_build(a->exact) ? tg_program_run(a->exact, data) : -1;
  if (a->program) return tg_program_run(a->program, data);
  memcpy(data[0], data[1], (size_t)a->bytes);
  return 0;
}

static int run_actions(const tg_plan *plan, tg_buffer *const *buffer, char *arena, void **data) {
  int status = 0;
  int64_t kernels = 0;
  bool timed = tg_debug() >= 2;
  for (int64_t i = 0; status == 0 && i < plan->actions; i++) {
    const tg_action *a = &plan->action[i];
    for (int32_t s = 0; s < a->nslots; s++) {
      int32_t e = a->entry[s];
      data[s] = plan->place[e].kind == TG_PLACE_TEMP ? arena + plan->place[e].offset
                                                     : buffer[e] ? buffer[e]->data : NULL;
    }
    double start = timed ? tg_seconds() : 0;
    status = act(a, data);
    kernels += a->program != NULL;
    if (timed) tg_debug_action(a, tg_seconds() - start);
    if (status == 0 && tg_run_stopped()) {
      tg_fail_as(TG_FAILURE_INTERRUPTED, "interrupted while computing; nothing has changed");
      status = -1;
    }
  }
  tg_count_add(&tg_count.kernels_run, kernels);
  return status;
}

/* Memory for what lives during the run only, then the actions. */
static int run_on(const tg_plan *plan, tg_buffer *const *buffer) {
  void *few[FEW_SLOTS], **data = few;
  int32_t most = 0;
  for (int64_t i = 0; i < plan->actions; i++)
    if (plan->action[i].nslots > most) most = plan->action[i].nslots;
  if (most > FEW_SLOTS && !(data = tg_alloc((size_t)most * sizeof *data))) return -1;
  tg_buffer *arena = tg_buffer_new((size_t)plan->arena);
  int status = -1;
  if (arena) {
    void *left = tg_run_leave();
    status = run_actions(plan, buffer, arena->data, data);
    tg_run_enter(left);
  }
  tg_buffer_release(arena);
  if (data != few) tg_free(data);
  return status;
}

/* The nodes become buffers, but for those that another thread of an interpreter has
 * computed meanwhile. Retained first: one may be what keeps another. */
static void publish(const tg_graph *g, const tg_plan *plan, tg_buffer *const *buffer) {
  for (int64_t i = 0; i < plan->entries; i++)
    if (is_result(plan, i)) tg_node_retain(g->entry[i].node);
  for (int64_t i = 0; i < plan->entries; i++)
    if (is_result(plan, i) && g->entry[i].node->op != TG_OP_BUFFER)
      tg_node_become_buffer(g->entry[i].node, buffer[i]);
  for (int64_t i = 0; i < plan->entries; i++)
    if (is_result(plan, i)) tg_node_release(g->entry[i].node);
}

/* While kernels run, other threads of an interpreter may drop what the graph is made
 * of, so it is held. */
static int run_plan(const tg_graph *g, tg_plan *plan) {
  int64_t held = tg_run_is_shared() ? g->count : 0;
  tg_buffer **buffer = tg_alloc_zero((size_t)(plan->entries + 1) * sizeof *buffer);
  if (!buffer) return -1;
  for (int64_t i = 0; i < plan->entries; i++)
    if (plan->place[i].kind == TG_PLACE_INPUT) buffer[i] = g->entry[i].node->buffer;
  for (int64_t i = 0; i < held; i++) tg_node_retain(g->entry[i].node);
  bool done = make_results(plan, g, NULL, buffer) && run_on(plan, buffer) == 0 &&
              tape_add(tg_this_thread()->tape, plan, buffer);
  if (done) publish(g, plan, buffer);
  for (int64_t i = 0; i < held; i++) tg_node_release(g->entry[i].node);
  drop_results(plan, buffer);
  tg_free(buffer);
  return done ? 0 : -1;
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

bool tg_taped_is_result(const tg_taped *run, int64_t entry) {
  return is_result(run->plan, entry);
}

int tg_taped_run(const tg_taped *run, tg_buffer **buffer) {
  tg_tiers_again(run->plan);
  if (make_results(run->plan, NULL, run->size, buffer) && run_on(run->plan, buffer) == 0)
    return 0;
  drop_results(run->plan, buffer);
  return -1;
}

void tg_taped_drop(const tg_taped *run, tg_buffer **buffer) { drop_results(run->plan, buffer); }

void tg_stop_threads(void) {
  tg_tiers_stop();
  tg_threads_stop();
}

void tg_runtime_leave(void) {
  tg_tiers_stop();
  tg_c_cache_end();
}

/* Also of a process that ends without tg_shutdown, or lets go of the library. */
#if defined(__GNUC__)
__attribute__((destructor)) static void end_of_process(void) { tg_runtime_leave(); }
#endif

void tg_runtime_shutdown(void) {
  tg_tiers_finish();
  tg_tiers_stop();
  for (tg_plan *old; (old = take_oldest(0, 0));) put_plan(old);
  tg_tiers_drop();
  tg_c_cache_end();
  tg_threads_stop();
}
