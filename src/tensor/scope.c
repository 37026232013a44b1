/* Scopes: who owns a tensor that nobody named an owner for.
 *
 * Every tensor is made into the innermost scope of its thread, which holds one
 * reference to it in an intrusive list, so that tg_keep and tg_take_ownership
 * cost the same for any number of tensors. Below all scopes lies the root
 * scope, which needs no memory and lives until the thread ends or tg_shutdown.
 *
 * A tensor dies with its last reference. What it owned may die with it: its
 * gradient, the inputs that its context holds, their inputs. That walk keeps
 * its own list, through the field `next`, so depth is no limit.
 */
#include "autograd/functions.h"
#include "runtime/runtime.h"
#include "tensor/tensor.h"

typedef struct tg_owned {
  struct tg_owned *next;
  void *object;
  void (*release)(void *object);
} tg_owned;

static _Thread_local tg_scope root_scope;

/* ---- the list of a scope */

void tg_scope_add(tg_scope *scope, tg_tensor *t) {
  t->scope = scope;
  t->prev = NULL;
  t->next = scope->tensors;
  if (t->next) t->next->prev = t;
  scope->tensors = t;
}

static void scope_unlink(tg_tensor *t) {
  if (t->prev) t->prev->next = t->next;
  else t->scope->tensors = t->next;
  if (t->next) t->next->prev = t->prev;
  t->scope = NULL;
  t->prev = t->next = NULL;
}

int tg_scope_own(void *object, void (*release)(void *object)) {
  tg_owned *owned = tg_alloc(sizeof *owned);
  if (!owned) return -1;
  tg_scope *scope = tg_current_scope();
  *owned = (tg_owned){scope->owned, object, release};
  scope->owned = owned;
  return 0;
}

void tg_scope_disown(const void *object) {
  for (tg_scope *scope = tg_current_scope(); scope; scope = scope->around)
    for (tg_owned **at = &scope->owned; *at; at = &(*at)->next) {
      tg_owned *owned = *at;
      if (owned->object != object) continue;
      *at = owned->next;
      tg_free(owned);
      return;
    }
}

static void release_owned(tg_scope *scope) {
  while (scope->owned) {
    tg_owned *owned = scope->owned;
    scope->owned = owned->next;
    owned->release(owned->object);
    tg_free(owned);
  }
}

/* Lets go of everything in the scope, newest first. */
static void scope_empty(tg_scope *scope) {
  release_owned(scope);
  while (scope->tensors) {
    tg_tensor *t = scope->tensors;
    scope_unlink(t);
    tg_release(t);
  }
}

/* ---- opening and closing */

static void clean_thread(tg_thread *thread) {
  while (thread->scope) tg_scope_close(thread->scope);
  scope_empty(&root_scope);
  tg_pool_drain(0);
}

tg_scope *tg_current_scope(void) {
  tg_thread *thread = tg_this_thread();
  if (thread->scope) return thread->scope;
  tg_at_thread_end(clean_thread);
  return &root_scope;
}

static tg_scope *scope_push(tg_scope *scope, bool heap) {
  tg_thread *thread = tg_this_thread();
  *scope = (tg_scope){.around = tg_current_scope(), .heap = heap, .failed = thread->error_unread};
  thread->scope = scope;
  return scope;
}

tg_scope *tg_scope_open(void) {
  tg_scope *scope = tg_alloc(sizeof *scope);
  return scope ? scope_push(scope, true) : NULL;
}

/* Closes the innermost scope. */
static void scope_pop(tg_thread *thread) {
  tg_scope *scope = thread->scope;
  scope_empty(scope);
  thread->scope = scope->around == &root_scope ? NULL : scope->around;
  if (scope->heap) tg_free(scope);
}

/* A scope that is no longer open was closed with the one around it. */
void tg_scope_close(tg_scope *scope) {
  tg_thread *thread = tg_this_thread();
  tg_scope *open = thread->scope;
  while (open && open != &root_scope && open != scope) open = open->around;
  if (!scope || open != scope || scope == &root_scope) return;
  bool last = false;
  while (!last) {
    last = thread->scope == scope;
    scope_pop(thread);
  }
}

void tg_scope_cleanup(tg_scope **scope) {
  if (scope) tg_scope_close(*scope);
}

void tg_compose_begin(tg_scope *scope) { scope_push(scope, false); }

tg_tensor *tg_compose_end(tg_scope *scope, tg_tensor *result) {
  if (result && result->scope == scope) {
    scope_unlink(result);
    tg_scope_add(scope->around, result);
  }
  tg_scope_close(scope);
  return result;
}

/* ---- owners */

tg_tensor *tg_keep(tg_tensor *t) {
  tg_scope *scope = tg_current_scope();
  if (!t || t->scope != scope || !scope->around) return t;
  scope_unlink(t);
  tg_scope_add(scope->around, t);
  return t;
}

tg_tensor *tg_retain(tg_tensor *t) {
  if (t) atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
  return t;
}

/* A tensor that is in no scope gets one more owner instead. */
tg_tensor *tg_take_ownership(tg_tensor *t) {
  if (!t || !t->scope) return tg_retain(t);
  scope_unlink(t);
  return t;
}

static void drop_tensor(tg_tensor *t, void *dying) {
  if (!t || (atomic_load_explicit(&t->refs, memory_order_acquire) != 1 &&
             atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) != 1))
    return;
  tg_tensor **list = dying;
  t->next = *list;
  *list = t;
}

void tg_release(tg_tensor *t) {
  tg_tensor *dying = NULL;
  drop_tensor(t, &dying);
  while (dying) {
    t = dying;
    dying = t->next;
    drop_tensor(t->grad, &dying);
    tg_context_free(t->context, drop_tensor, &dying);
    tg_node_release(t->node);
    tg_free(t->name);
    tg_free(t);
    tg_count_own(TG_COUNT_TENSORS, -1);
  }
}

/* Caches go only when no tensor is left anywhere: then no thread can be
 * computing with them. */
void tg_shutdown(void) {
  tg_at_thread_end(clean_thread);
  tg_thread_clean();
  if (tg_count_of(TG_COUNT_TENSORS)) return;
  tg_runtime_shutdown();
  tg_cache_clear();
}
