/* runtime/threads: the thread pool. tg_parallel runs job 0 .. count-1, each
 * once, on TG_THREADS threads (default: the machine's processors), the calling
 * one among them, and returns when all are done. Which thread runs a job is not
 * defined, so a job's result must not depend on it: that is how results keep
 * their bits for any number of threads. When the pool is busy with another
 * thread's work, the caller runs its jobs alone. Workers start at the first
 * call that can use them; without memory for them, the caller works alone. */
#ifndef TG_THREADS_H
#define TG_THREADS_H
#include "base/base.h"
int tg_thread_count(void);
void tg_parallel(int64_t count, void (*job)(void *context, int64_t i), void *context);
void tg_threads_stop(void); /* tg_shutdown */
#endif
