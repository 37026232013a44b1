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
/* Overrides TG_THREADS from the next tg_parallel on; 0: back to the default. */
void tg_threads_set(int count);
void tg_parallel(int64_t count, void (*job)(void *context, int64_t i), void *context);
/* Inside a job: which of the threads that share this tg_parallel runs it, from
 * 0 to tg_thread_count() - 1. Two jobs that run at once have different slots,
 * so a caller may lay out one piece of scratch memory per slot. */
int tg_thread_slot(void);
void tg_threads_stop(void); /* tg_shutdown: ends the workers, frees scratch */

/* Scratch memory that is kept between uses, 64-byte aligned, contents not set.
 * NULL and a message when there is none. tg_threads_stop frees what was given
 * back. */
void *tg_scratch_take(size_t size);
void tg_scratch_give(void *memory);
#endif
