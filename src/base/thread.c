/* The state of a thread: what would be global variables in a program of one
 * thread: the open scopes, the error, the modes, the random generator.
 *
 * It is thread-local memory, so it exists without an allocation and reaching
 * it is cheap. What hangs on it is allocated and must go when the thread ends:
 * a pthread key, which exists only for its destructor, sees to that.
 * tg_thread_clean does the same for a thread that goes on.
 *
 * The threads stand in a list, for the sake of the counters: each counts for
 * itself what it makes and frees, and who asks adds up.
 */
#if !defined(_POSIX_C_SOURCE)
#define _POSIX_C_SOURCE 200809L
#endif
#include <pthread.h>

#include "base/base.h"

typedef void (*clean_function)(tg_thread *);

static _Thread_local tg_thread thread_state;
static _Atomic(clean_function) clean_up;
static pthread_key_t thread_key;
static pthread_once_t thread_key_once = PTHREAD_ONCE_INIT;
static _Atomic bool thread_key_exists;

void tg_at_thread_end(void (*clean)(tg_thread *thread)) { atomic_store(&clean_up, clean); }

static pthread_mutex_t threads_lock = PTHREAD_MUTEX_INITIALIZER;
static tg_thread *threads_first;

static void list_thread(tg_thread *t) {
  pthread_mutex_lock(&threads_lock);
  t->before = NULL;
  t->after = threads_first;
  if (t->after) t->after->before = t;
  threads_first = t;
  t->listed = true;
  pthread_mutex_unlock(&threads_lock);
}

static void unlist_thread(tg_thread *t) {
  pthread_mutex_lock(&threads_lock);
  if (t->after) t->after->before = t->before;
  if (t->before) t->before->after = t->after;
  else threads_first = t->after;
  t->listed = false;
  for (int i = 0; i < TG_COUNTED; i++)
    tg_count_add(&tg_count.all[i], atomic_exchange(&t->count[i], 0));
  pthread_mutex_unlock(&threads_lock);
}

int64_t tg_count_hand_over(tg_counted what) {
  tg_thread *t = tg_this_thread();
  pthread_mutex_lock(&threads_lock);
  int64_t n = t->listed ? atomic_exchange(&t->count[what], 0) : 0;
  int64_t sum = atomic_fetch_add(&tg_count.all[what], n) + n;
  pthread_mutex_unlock(&threads_lock);
  return sum;
}

int64_t tg_count_of(tg_counted what) {
  pthread_mutex_lock(&threads_lock);
  int64_t sum = atomic_load(&tg_count.all[what]);
  for (tg_thread *t = threads_first; t; t = t->after) sum += atomic_load(&t->count[what]);
  pthread_mutex_unlock(&threads_lock);
  return sum;
}

static void clean_one(tg_thread *thread) {
  clean_function upper = atomic_load(&clean_up);
  if (upper) upper(thread);
  tg_free(thread->pool);
  thread->pool = NULL;
  thread->pool_count = thread->pool_room = 0;
}

static void thread_ends(void *thread) {
  clean_one(thread);
  tg_cache_thread_end();
  if (((tg_thread *)thread)->listed) unlist_thread(thread);
}

static void make_thread_key(void) {
  thread_key_exists = pthread_key_create(&thread_key, thread_ends) == 0;
}

/* Without a key (the system has run out of them) only tg_shutdown cleans up. */
__attribute__((noinline, cold)) static void watch_end(void) {
  thread_state.ends = true;
  pthread_once(&thread_key_once, make_thread_key);
  if (thread_key_exists && pthread_setspecific(thread_key, &thread_state) == 0)
    list_thread(&thread_state);
}

tg_thread *tg_this_thread(void) {
  if (!thread_state.ends) watch_end();
  return &thread_state;
}

void tg_thread_clean(void) { clean_one(tg_this_thread()); }
