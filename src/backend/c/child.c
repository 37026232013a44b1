/* c/child: a program in a child process that cannot do harm.
 *
 * The compiler is somebody else's program: it may hang, print without end, fill the
 * disk, start others and lose sight of them. It gets no shell, no input, and a pipe for
 * what it prints, which is read as it comes: the first bytes are kept, the rest is
 * thrown away, and after CHILD_LOUD of them it is ended; so it is when it takes too
 * long, when the file that it makes grows beyond CHILD_LARGE, and when the library
 * shuts down.
 *
 * Ending it means all that it started. It runs in a process group of its own, which
 * gets SIGTERM, so that a compiler can remove its temporary files, and soon SIGKILL. A
 * process that left the group (a session of its own, a daemon) still has the environment
 * it was born with: a variable there that no other process has tells it apart, where the
 * system shows that in /proc. Elsewhere the group must do. Only posix_spawn is used, so
 * nothing of this process runs in the child.
 */
#if !defined(_POSIX_C_SOURCE)
#define _POSIX_C_SOURCE 200809L
#endif
#ifndef _DEFAULT_SOURCE
#define _DEFAULT_SOURCE
#endif
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "backend/c/unit.h"

extern char **environ;

enum { CHILD_LOUD = 16 << 20, CHILD_LARGE = 256 << 20, CHILD_MARK = 64, CHILD_GRACE = 100 };

typedef struct child_run {
  const tg_child *what;
  pid_t id;
  int from;              /* the pipe; -1 once nobody holds its other end */
  int64_t printed;
  char mark[CHILD_MARK]; /* NAME=value, in the environment of all that it starts */
  char *said;
} child_run;

/* ---- starting */

/* Both ends closed in other children, and none of 0, 1 and 2, which are the child's. */
static bool child_pipe(int end[2]) {
  int low[2];
  if (pipe(low) != 0) return false;
  for (int i = 0; i < 2; i++) {
    end[i] = fcntl(low[i], F_DUPFD_CLOEXEC, 3);
    close(low[i]);
  }
  if (end[0] >= 0 && end[1] >= 0 && fcntl(end[0], F_SETFL, O_NONBLOCK) == 0) return true;
  for (int i = 0; i < 2; i++)
    if (end[i] >= 0) close(end[i]);
  return false;
}

/* The environment of this process and the mark. The caller frees the list. */
static char **child_environment(char *mark) {
  size_t count = 0;
  while (environ && environ[count]) count++;
  char **all = tg_alloc((count + 2) * sizeof *all);
  if (!all) return NULL;
  if (count) memcpy(all, environ, count * sizeof *all);
  all[count] = mark;
  all[count + 1] = NULL;
  return all;
}

static bool child_spawn(child_run *c, int out, char **environment) {
  posix_spawn_file_actions_t files;
  posix_spawnattr_t attributes;
  sigset_t none;
  sigemptyset(&none);
  if (posix_spawn_file_actions_init(&files)) return false;
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK);
  posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&files, out, 1);
  posix_spawn_file_actions_adddup2(&files, out, 2);
  bool good = posix_spawn(&c->id, c->what->path, &files, &attributes, c->what->args,
                          environment) == 0;
  posix_spawn_file_actions_destroy(&files);
  posix_spawnattr_destroy(&attributes);
  return good;
}

static bool child_start(child_run *c, tg_c_why *why) {
  static _Atomic int number;
  int end[2];
  snprintf(c->mark, sizeof c->mark, "TG_CHILD=%lld-%d-%lld", (long long)getpid(),
           atomic_fetch_add(&number, 1), (long long)time(NULL));
  char **environment = child_environment(c->mark);
  if (!environment) {
    tg_c_no_memory(why);
    return false;
  }
  bool good = child_pipe(end);
  if (good) {
    good = child_spawn(c, end[1], environment);
    close(end[1]);
    if (good) c->from = end[0];
    else close(end[0]);
  }
  tg_free(environment);
  if (!good) tg_c_because(why, "%.200s cannot be started", c->what->path);
  return good;
}

/* ---- ending it and all that it started */

/* Whether the file has the bytes of the mark, with the 0 that ends it. */
static bool child_marked(const char *environment, const char *mark) {
  char piece[4096 + CHILD_MARK];
  size_t length = strlen(mark) + 1, held = 0;
  int f = open(environment, O_RDONLY | O_CLOEXEC);
  bool found = false;
  for (ssize_t got; f >= 0 && !found && (got = read(f, piece + held, 4096)) > 0;) {
    size_t all = held + (size_t)got;
    for (size_t i = 0; i + length <= all && !found; i++)
      found = !memcmp(piece + i, mark, length);
    held = all < length - 1 ? all : length - 1;
    memmove(piece, piece + all - held, held);
  }
  if (f >= 0) close(f);
  return found;
}

/* Kills what has the mark; how many those were. */
static int child_hunt(const char *mark) {
  char path[300];
  int killed = 0;
  DIR *dir = opendir("/proc");
  for (struct dirent *e; dir && (e = readdir(dir));) {
    if (!isdigit((unsigned char)e->d_name[0])) continue;
    pid_t id = (pid_t)strtol(e->d_name, NULL, 10);
    snprintf(path, sizeof path, "/proc/%s/environ", e->d_name);
    if (id > 1 && id != getpid() && child_marked(path, mark)) killed += kill(id, SIGKILL) == 0;
  }
  if (dir) closedir(dir);
  return killed;
}

static void child_nap(long ms) {
  const struct timespec nap = {0, ms * 1000000};
  nanosleep(&nap, NULL);
}

/* One that forks while it is looked for is found in a later round. */
static void child_end(const child_run *c) {
  int status, waited = 0;
  kill(-c->id, SIGTERM);
  pid_t got = waitpid(c->id, &status, WNOHANG);
  for (; got == 0 && waited < CHILD_GRACE; waited++) {
    child_nap(1);
    got = waitpid(c->id, &status, WNOHANG);
  }
  kill(-c->id, SIGKILL);
  while (got == 0 || (got < 0 && errno == EINTR)) got = waitpid(c->id, &status, 0);
  for (int round = 0; round < 100 && child_hunt(c->mark); round++) child_nap(1);
}

/* ---- while it runs */

/* Takes what there is in the pipe, for some time only. */
static void child_listen(child_run *c) {
  char piece[4096];
  for (int i = 0; c->from >= 0 && i < 256; i++) {
    ssize_t got = read(c->from, piece, sizeof piece);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) {
      close(c->from);
      c->from = -1;
      return;
    }
    int64_t room = TG_C_SAID - 1 - c->printed;
    int64_t take = got < room ? got : room;
    if (take > 0) memcpy(c->said + c->printed, piece, (size_t)take);
    c->printed += got;
  }
}

/* Whether it goes on; if not, why. */
static bool child_may(const child_run *c, double end, int64_t limit, tg_c_why *why) {
  struct stat st;
  if (atomic_load(c->what->stop))
    tg_c_because(why, "the library shut down before the compiler was done");
  else if (tg_seconds() > end)
    tg_c_because(why, "the compiler took longer than TG_CC_TIMEOUT=%lld s", (long long)limit);
  else if (c->printed > CHILD_LOUD)
    tg_c_because(why, "the compiler printed more than %d MB", CHILD_LOUD >> 20);
  else if (stat(c->what->object, &st) == 0 && st.st_size > CHILD_LARGE)
    tg_c_because(why, "the compiler wrote more than %d MB", CHILD_LARGE >> 20);
  else return true;
  return false;
}

/* Waits for the end, and says how it ended. */
static bool child_wait(child_run *c, int *status, tg_c_why *why) {
  int64_t given = tg_env_int("TG_CC_TIMEOUT", 60), limit = given > 0 ? given : 60;
  double end = tg_seconds() + (double)limit;
  for (int nap = 1;; nap += nap < 8) {
    child_listen(c);
    pid_t got = waitpid(c->id, status, WNOHANG);
    if (got == c->id) return true;
    if (got < 0 && errno != EINTR) { /* the host reaps children itself: ask the files */
      *status = 0;
      return true;
    }
    if (!child_may(c, end, limit, why)) {
      child_end(c);
      return false;
    }
    struct pollfd more = {.fd = c->from, .events = POLLIN};
    poll(&more, 1, nap);
  }
}

bool tg_child_run(const tg_child *what, char said[TG_C_SAID], int *status, tg_c_why *why) {
  child_run c = {.what = what, .from = -1, .said = said};
  memset(said, 0, TG_C_SAID);
  if (!child_start(&c, why)) return false;
  atomic_fetch_add(&tg_count.compiler_runs, 1);
  if (what->background) setpriority(PRIO_PROCESS, (id_t)c.id, 10);
  bool done = child_wait(&c, status, why);
  if (done) child_listen(&c);
  if (c.from >= 0) close(c.from);
  return done;
}
