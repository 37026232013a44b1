/* c/cc: finds the system's compiler and has it make a unit.
 *
 * The compiler is TG_CC, or the first of cc, gcc, clang on the PATH; child.c runs it.
 * Of what it prints, the first line that says "error" becomes the reason.
 */
#if !defined(_POSIX_C_SOURCE)
#define _POSIX_C_SOURCE 200809L
#endif
#ifndef _DEFAULT_SOURCE
#define _DEFAULT_SOURCE
#endif
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backend/c/unit.h"

/* Kernels say what is a vector; looking for more costs time and finds little. */
static const char *const cc_flags[] = {
    "-O2", "-fno-tree-vectorize", "-fno-tree-slp-vectorize", "-std=gnu11",
    "-ffp-contract=fast", "-fno-math-errno", "-fwrapv", "-fPIC", "-shared", "-w", "-pipe",
    "-x", "c"};
enum { CC_FLAGS = sizeof cc_flags / sizeof *cc_flags };

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

void tg_c_no_memory(tg_c_why *why) {
  tg_c_because(why, "out of memory");
  why->memory = true;
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
  char *given;  /* TG_CC, cut into words */
  char **word;  /* word[0]: the program */
  int words;
  struct stat st;
} cc_command;

static void cc_free(cc_command *c) {
  tg_free(c->given);
  tg_free(c->word);
  *c = (cc_command){0};
}

/* TG_CC may have arguments: words separated by spaces. They come after our own, so
 * that TG_CC="gcc -O1" says what it seems to. false: no memory. */
static bool cc_split(cc_command *c, const char *given) {
  size_t length = strlen(given);
  *c = (cc_command){0};
  c->given = tg_alloc(length + 1);
  c->word = tg_alloc((length / 2 + 1) * sizeof *c->word);
  if (!c->given || !c->word) return false;
  memcpy(c->given, given, length + 1);
  for (char *at = c->given; *(at += strspn(at, " \t"));) {
    c->word[c->words++] = at;
    at += strcspn(at, " \t");
    if (*at) *at++ = 0;
  }
  return true;
}

/* Splits a command and finds its program. */
static bool cc_take(cc_command *c, const char *given, tg_c_why *why) {
  if (!cc_split(c, given)) tg_c_no_memory(why);
  else if (c->words && cc_find(c->word[0], c->path, &c->st)) return true;
  cc_free(c);
  return false;
}

/* The caller frees it, if there is one. */
static bool cc_choose(cc_command *c, tg_c_why *why) {
  static const char *const names[] = {"cc", "gcc", "clang"};
  const char *given = getenv("TG_CC");
  bool own = given && *given;
  if (own && cc_take(c, given, why)) return true;
  for (int i = 0; i < 3 && !own && !why->memory; i++)
    if (cc_take(c, names[i], why)) return true;
  if (why->memory) return false;
  if (own) tg_c_because(why, "TG_CC=%.150s is no program that can be run", given);
  else
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
  for (int i = 0; i < CC_FLAGS; i++) tg_sha256_add(s, cc_flags[i], strlen(cc_flags[i]) + 1);
  for (int i = 0; i < 2; i++) tg_sha256_add(s, cc_machine()[i], strlen(cc_machine()[i]) + 1);
  cc_cpu(s);
  cc_free(&c);
  return true;
}

/* ---- running it */

/* The caller frees the list. NULL: no memory. */
static char **cc_arguments(const cc_command *c, const char *source, const char *object) {
  const char **args = tg_alloc(((size_t)c->words + CC_FLAGS + 8) * sizeof *args);
  int n = 0;
  if (!args) return NULL;
  args[n++] = c->word[0];
  for (int i = 0; i < CC_FLAGS; i++) args[n++] = cc_flags[i];
  for (int i = 0; i < 2; i++) args[n++] = cc_machine()[i];
  for (int i = 1; i < c->words; i++) args[n++] = c->word[i];
  args[n++] = source;
  args[n++] = "-o";
  args[n++] = object;
  args[n++] = "-lm";
  args[n] = NULL;
  return (char **)args;
}

/* Copies a line; what it and its end take up. */
static size_t cc_line(const char *from, char *text, size_t room) {
  size_t length = strcspn(from, "\n");
  snprintf(text, room, "%.*s", (int)(length < room ? length : room), from);
  return length + (from[length] == '\n');
}

/* The first line that names an error, or the first one. */
static void cc_complaint(const char *said, char *text, size_t room) {
  for (const char *at = said; *at;) {
    at += cc_line(at, text, room);
    if (strstr(text, "error")) return;
  }
  cc_line(said, text, room);
}

static bool cc_run(const cc_command *c, const char *object, char **args, bool background,
                   const _Atomic bool *stop, tg_c_why *why) {
  const tg_child child = {c->path, args, object, background, stop};
  char said[TG_C_SAID], complaint[160];
  int status = 0;
  struct stat st;
  if (!tg_child_run(&child, said, &status, why)) return false;
  bool made = lstat(object, &st) == 0 && S_ISREG(st.st_mode);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0 && made) return true;
  cc_complaint(said, complaint, sizeof complaint);
  if (WIFSIGNALED(status))
    tg_c_because(why, "%.60s was ended by signal %d: %s", c->path, WTERMSIG(status), complaint);
  else
    tg_c_because(why, "%.60s failed with status %d: %s", c->path, WEXITSTATUS(status), complaint);
  return false;
}

bool tg_c_compile(const char *source, const char *object, bool background,
                  const _Atomic bool *stop, tg_c_why *why) {
  cc_command c;
  if (!cc_choose(&c, why)) return false;
  char **args = cc_arguments(&c, source, object);
  bool good = args && cc_run(&c, object, args, background, stop, why);
  if (!args) tg_c_no_memory(why);
  tg_free(args);
  cc_free(&c);
  return good;
}
