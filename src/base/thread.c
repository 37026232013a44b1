/* The state of a thread: what would be global variables in a program of one
 * thread: the open scopes, the error, the modes, the random generator.
 *
 * It is thread-local memory, so it exists without an allocation and reaching
 * it is cheap. What hangs on it is allocated and must go when the thread ends:
 * a pthread key, which exists only for its destructor, sees to that.
 * tg_thread_clean does the same for a thread that goes on.
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

static void clean_one(tg_thread *thread) {
  clean_function upper = atomic_load(&clean_up);
  if (upper) upper(thread);
  tg_free(thread->pool);
  thread->pool = NULL;
  thread->pool_count = thread->pool_room = 0;
}

static void thread_ends(void *thread) { clean_one(thread); }

static void make_thread_key(void) {
  thread_key_exists = pthread_key_create(&thread_key, thread_ends) == 0;
}

/* Without a key (the system has run out of them) only tg_shutdown cleans up. */
static void watch_end(void) {
  thread_state.ends = true;
  pthread_once(&thread_key_once, make_thread_key);
  if (thread_key_exists) (void)pthread_setspecific(thread_key, &thread_state);
}

tg_thread *tg_this_thread(void) {
  if (!thread_state.ends) watch_end();
  return &thread_state;
}

void tg_thread_clean(void) { clean_one(tg_this_thread()); }
