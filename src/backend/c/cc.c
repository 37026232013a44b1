/* c/cc: finds the system's compiler and runs it.
 *
 * The compiler is TG_CC, or the first of cc, gcc, clang on the PATH. It runs in a
 * child process and a process group of its own, without a shell, so that all it
 * starts can be ended together: when it takes longer than TG_CC_TIMEOUT seconds, or
 * when the library shuts down. Its output goes to a file, of which the first line
 * that says "error" becomes the reason. Only posix_spawn is used, so nothing of
 * this process runs in the child.
 */
#if !defined(_POSIX_C_SOURCE)
#define _POSIX_C_SOURCE 200809L
#endif
#ifndef _DEFAULT_SOURCE
#define _DEFAULT_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
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

enum { CC_WORDS = 16 };
/* Kernels say what is a vector; looking for more costs time and finds little. */
static const char *const cc_flags[] = {
    "-O2", "-fno-tree-vectorize", "-fno-tree-slp-vectorize", "-std=gnu11",
    "-ffp-contract=fast", "-fno-math-errno", "-fwrapv", "-fPIC", "-shared", "-w", "-pipe",
    "-x", "c"};

/* Two flags: for this machine, or for what TG_ISA says, by names that old compilers know
 * too. The compiler sees the machine itself, this process perhaps less of it (under
 * valgrind, say): what is not to be used is forbidden. */
static const char *const *cc_machine(void) {
#if defined(__x86_64__)
  static const char *const given[TG_ISA_COUNT][2] = {
      [TG_ISA_BASE] = {"-march=x86-64", "-mno-avx"},
      [TG_ISA_AVX2] = {"-march=haswell", "-mno-avx512f"},
      [TG_ISA_AVX512] = {"-march=skylake-avx512", "-mavx512f"}};
  static const char *const native[TG_ISA_COUNT][2] = {
      [TG_ISA_BASE] = {"-march=native", "-mno-avx"},
      [TG_ISA_AVX2] = {"-march=native", "-mno-avx512f"},
      [TG_ISA_AVX512] = {"-march=native", "-mavx512f"}};
  return tg_isa_given() ? given[tg_isa_get()] : native[tg_isa_get()];
#else
  static const char *const native[2] = {"-mcpu=native", "-fPIC"};
  return native;
#endif
}

void tg_c_because(tg_c_why *why, const char *format, ...) {
  va_list args;
  va_start(args, format);
  vsnprintf(why->text, sizeof why->text, format, args);
  va_end(args);
}

/* ---- finding it */

static bool cc_is_program(const char *path, struct stat *st) {
  return stat(path, st) == 0 && S_ISREG(st->st_mode) && access(path, X_OK) == 0;
}

/* The file that `name` stands for: itself, if it has a slash, or on the PATH. */
static bool cc_find(const char *name, char path[TG_C_PATH], struct stat *st) {
  if (strchr(name, '/')) {
    snprintf(path, TG_C_PATH, "%s", name);
    return strlen(name) < TG_C_PATH && cc_is_program(path, st);
  }
  const char *at = getenv("PATH");
  while (at && *at) {
    size_t n = strcspn(at, ":");
    int length = snprintf(path, TG_C_PATH, "%.*s/%s", (int)n, at, name);
    if (n && length < TG_C_PATH && cc_is_program(path, st)) return true;
    at += n + (at[n] == ':');
  }
  return false;
}

typedef struct cc_command {
  char path[TG_C_PATH];
  char given[TG_C_PATH];  /* TG_CC, cut into words */
  char *word[CC_WORDS];   /* words[0]: the program */
  int words;
  struct stat st;
} cc_command;

/* TG_CC may have arguments: words separated by spaces. They come after our own, so
 * that TG_CC="gcc -O1" says what it seems to. */
static bool cc_split(cc_command *c, const char *given) {
  snprintf(c->given, sizeof c->given, "%s", given);
  for (char *at = c->given; *at && c->words < CC_WORDS;) {
    at += strspn(at, " \t");
    if (!*at) break;
    c->word[c->words++] = at;
    at += strcspn(at, " \t");
    if (*at) *at++ = 0;
  }
  return c->words > 0 && strlen(given) < sizeof c->given;
}

static bool cc_choose(cc_command *c, tg_c_why *why) {
  static const char *const names[] = {"cc", "gcc", "clang"};
  const char *given = getenv("TG_CC");
  memset(c, 0, sizeof *c);
  if (given && *given) {
    if (cc_split(c, given) && cc_find(c->word[0], c->path, &c->st)) return true;
    tg_c_because(why, "TG_CC=%s is no program that can be run", given);
    return false;
  }
  for (int i = 0; i < 3; i++)
    if (cc_split((memset(c, 0, sizeof *c), c), names[i]) && cc_find(names[i], c->path, &c->st))
      return true;
  tg_c_because(why, "no compiler: none of cc, gcc, clang is on the PATH, and TG_CC is not set");
  return false;
}

/* ---- what decides the result */

/* Native means this CPU: what the system says of it, but for what changes
 * from moment to moment. */
static void cc_cpu(tg_sha256 *s) {
  char line[4096];
  int bytes = tg_isa_vector_bytes();
  tg_sha256_add(s, &bytes, sizeof bytes);
  FILE *f = fopen("/proc/cpuinfo", "re");
  while (f && fgets(line, sizeof line, f)) {
    if (line[0] == '\n') break; /* the first processor */
    if (!strncmp(line, "model", 5) || !strncmp(line, "flags", 5) || !strncmp(line, "Features", 8) ||
        !strncmp(line, "CPU ", 4))
      tg_sha256_add(s, line, strlen(line));
  }
  if (f) fclose(f);
}

bool tg_c_compiler_identity(tg_sha256 *s, tg_c_why *why) {
  cc_command c;
  if (!cc_choose(&c, why)) return false;
  int64_t facts[] = {(int64_t)c.st.st_size, (int64_t)c.st.st_mtime, (int64_t)c.st.st_ino, TG_C_ABI};
  tg_sha256_add(s, facts, sizeof facts);
  tg_sha256_add(s, c.path, strlen(c.path));
  for (int i = 1; i < c.words; i++) tg_sha256_add(s, c.word[i], strlen(c.word[i]) + 1);
  for (size_t i = 0; i < sizeof cc_flags / sizeof *cc_flags; i++)
    tg_sha256_add(s, cc_flags[i], strlen(cc_flags[i]) + 1);
  for (int i = 0; i < 2; i++) tg_sha256_add(s, cc_machine()[i], strlen(cc_machine()[i]) + 1);
  cc_cpu(s);
  return true;
}

/* ---- running it */

static bool cc_spawn(cc_command *c, const char *source, const char *object, const char *log,
                     pid_t *child) {
  char *args[CC_WORDS + sizeof cc_flags / sizeof *cc_flags + 8];
  int n = 0;
  args[n++] = c->word[0];
  for (size_t i = 0; i < sizeof cc_flags / sizeof *cc_flags; i++)
    args[n++] = (char *)(uintptr_t)cc_flags[i];
  for (int i = 0; i < 2; i++) args[n++] = (char *)(uintptr_t)cc_machine()[i];
  for (int i = 1; i < c->words; i++) args[n++] = c->word[i];
  args[n++] = (char *)(uintptr_t)source;
  args[n++] = (char *)(uintptr_t)"-o";
  args[n++] = (char *)(uintptr_t)object;
  args[n++] = (char *)(uintptr_t)"-lm";
  args[n] = NULL;
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
  posix_spawn_file_actions_addopen(&files, 1, log, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  posix_spawn_file_actions_adddup2(&files, 1, 2);
  bool good = posix_spawn(child, c->path, &files, &attributes, args, environ) == 0;
  posix_spawn_file_actions_destroy(&files);
  posix_spawnattr_destroy(&attributes);
  return good;
}

/* Waits for the child; ends it and all it started when the time is up. */
static bool cc_wait(pid_t child, const _Atomic bool *stop, int *status, tg_c_why *why) {
  int64_t limit = tg_env_int("TG_CC_TIMEOUT", 60);
  double end = tg_seconds() + (limit > 0 ? (double)limit : 60.0);
  struct timespec nap = {0, 1000000};
  for (;;) {
    pid_t got = waitpid(child, status, WNOHANG);
    if (got == child) return true;
    if (got < 0 && errno != EINTR) { /* the host reaps children itself: ask the files */
      *status = 0;
      return true;
    }
    bool late = tg_seconds() > end;
    if (late || atomic_load(stop)) {
      kill(-child, SIGKILL);
      while (waitpid(child, status, 0) < 0 && errno == EINTR) {}
      if (late)
        tg_c_because(why, "the compiler took longer than TG_CC_TIMEOUT=%lld s", (long long)limit);
      else
        tg_c_because(why, "the library shut down before the compiler was done");
      return false;
    }
    nanosleep(&nap, NULL);
    if (nap.tv_nsec < 8000000) nap.tv_nsec += 500000;
  }
}

/* The first line of the log that names an error, or its first line. */
static void cc_complaint(const char *log, char *text, size_t room) {
  char line[512];
  FILE *f = fopen(log, "re");
  text[0] = 0;
  for (int i = 0; f && i < 1000 && fgets(line, sizeof line, f); i++) {
    bool error = strstr(line, "error") != NULL;
    if (!error && text[0]) continue;
    snprintf(text, room, "%.150s", line);
    text[strcspn(text, "\n")] = 0;
    if (error) break;
  }
  if (f) fclose(f);
}

bool tg_c_compile(const char *source, const char *object, const char *log, bool background,
                  const _Atomic bool *stop, tg_c_why *why) {
  cc_command c;
  char complaint[160];
  pid_t child;
  int status = 0;
  if (!cc_choose(&c, why)) return false;
  if (!cc_spawn(&c, source, object, log, &child)) {
    tg_c_because(why, "%.200s cannot be started", c.path);
    return false;
  }
  if (background) setpriority(PRIO_PROCESS, (id_t)child, 10);
  atomic_fetch_add(&tg_count.compiler_runs, 1);
  if (!cc_wait(child, stop, &status, why)) return false;
  struct stat st;
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0 && stat(object, &st) == 0) return true;
  cc_complaint(log, complaint, sizeof complaint);
  if (WIFSIGNALED(status))
    tg_c_because(why, "%.60s was ended by signal %d: %s", c.path, WTERMSIG(status), complaint);
  else tg_c_because(why, "%.60s failed with status %d: %s", c.path, WEXITSTATUS(status), complaint);
  return false;
}
