/* runtime/hooks: what an interpreter with a lock wants to know of a run.
 *
 * Three calls stand around the actions of a run: leave, stop, enter. Only the
 * thread that asked for the run has them; the helpers of the thread pool find
 * `asked` at 0 and go on. `stop` may be dear (it takes the interpreter's lock), so it
 * is asked at most every STOP_EVERY seconds, and its yes stays until the run ends.
 */
#include "runtime/runtime.h"

#define STOP_EVERY 0.03

static tg_run_hooks run_hooks;
static _Thread_local double asked; /* when `stop` was asked last; 0: not in a run */
static _Thread_local bool stopped;

void tg_set_run_hooks(const tg_run_hooks *hooks) {
  run_hooks = hooks ? *hooks : (tg_run_hooks){NULL, NULL, NULL};
}

bool tg_run_is_shared(void) { return run_hooks.leave; }

void *tg_run_leave(void) {
  asked = run_hooks.stop ? tg_seconds() : 0;
  stopped = false;
  return run_hooks.leave ? run_hooks.leave() : NULL;
}

void tg_run_enter(void *left) {
  if (run_hooks.enter) run_hooks.enter(left);
  asked = 0;
}

bool tg_run_stopped(void) {
  if (asked == 0 || stopped) return stopped && asked != 0;
  double now = tg_seconds();
  if (now - asked < STOP_EVERY) return false;
  asked = now;
  return stopped = run_hooks.stop();
}
