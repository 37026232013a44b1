/* runtime/tiers: which code a program runs, and when generated code takes over. */
#ifndef TG_TIERS_H
#define TG_TIERS_H

#include "runtime/plan.h"

/* Gives every program of a new plan code that can run. 0, or -1 and a message. */
int tg_tiers_plan(tg_plan *plan);
/* The plan is run again: its waiting kernels are worth compiling. */
void tg_tiers_again(tg_plan *plan);
void tg_tiers_forget(tg_plan *plan); /* the plan is freed */
void tg_tiers_finish(void);          /* lets what is being compiled come to its end, or gives up */
void tg_tiers_stop(void);            /* ends compiler and thread; what waits goes on waiting */
void tg_tiers_drop(void);            /* lets go of what waits */
int64_t tg_tiers_waiting(void);      /* how many plans wait for the compiler */

#endif
