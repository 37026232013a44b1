/* Generated C around the kernels: the hash, the folder of compiled units, the
 * compiler that is missing or misbehaves, the modes of TG_JIT. Whatever goes wrong,
 * results are right, the built-in backend carries on, and nothing but whole units is
 * left in the folder. What kernels compute as C is tested in test_backend.c.
 *
 * The environment and the folder are looked at when first needed, so each case sets
 * them after tg_shutdown. */
#if !defined(_DEFAULT_SOURCE)
#define _DEFAULT_SOURCE
#endif
#include "test.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "backend/c/unit.h"
#include "runtime/threads.h"
#include "runtime/tiers.h"

extern char **environ;

/* ---- SHA-256: the examples of FIPS 180-4 */

static void check_hash(const char *text, int times, const char *want) {
  unsigned char hash[32];
  char got[65];
  tg_sha256 s;
  tg_sha256_begin(&s);
  for (int i = 0; i < times; i++) tg_sha256_add(&s, text, strlen(text));
  tg_sha256_end(&s, hash);
  for (int i = 0; i < 32; i++) snprintf(got + 2 * i, 3, "%02x", hash[i]);
  CHECK_STRING(got, want);
}

TEST(c_sha256) {
  check_hash("", 1, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  check_hash("abc", 1, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  check_hash("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 1,
             "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  check_hash("aaaaaaaaaa", 100000, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

/* ---- a place to work in, and work that needs a few kernels */

#define PLACE TG_TEST_DATA "/../c"
#define FOLDER PLACE "/units"
#define TEMP PLACE "/temp"
enum { ROWS = 20, DEPTH = 30, COLUMNS = 9, RESULTS = ROWS * COLUMNS };
static float expected[RESULTS]; /* by the built-in backend */
static tg_counters start;

static void empty(const char *folder) {
  char path[4096];
  DIR *dir = opendir(folder);
  for (struct dirent *e; dir && (e = readdir(dir));) {
    if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..")) continue;
    snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
    if (unlink(path) != 0) {
      empty(path);
      rmdir(path);
    }
  }
  if (dir) closedir(dir);
}

static bool work(float out[RESULTS]) {
  float x[ROWS * DEPTH], w[DEPTH * COLUMNS];
  bool done = false;
  for (int i = 0; i < ROWS * DEPTH; i++) x[i] = (float)(i * 37 % 101 - 50) / 50;
  for (int i = 0; i < DEPTH * COLUMNS; i++) w[i] = (float)(i * 53 % 89 - 44) / 44;
  TG_SCOPE {
    tg_tensor *a = tg_from(x, TG_SHAPE(ROWS, DEPTH)), *b = tg_from(w, TG_SHAPE(DEPTH, COLUMNS));
    tg_tensor *y = tg_softmax(tg_relu(tg_dot(a, b)));
    done = y && tg_to_host(y, out, sizeof(float[RESULTS])) == 0;
  }
  return done;
}

static void mode(const char *jit, const char *compiler) {
  tg_shutdown();
  setenv("TG_JIT", jit, 1);
  if (compiler) setenv("TG_CC", compiler, 1);
  else unsetenv("TG_CC");
  start = tg_get_counters();
}

/* What the tests after this one shall find as it was. */
static const char *const names[] = {"TG_JIT", "TG_CC", "TG_CC_TIMEOUT", "TG_CACHE_DIR", "TG_CACHE_MB",
                                    "TMPDIR"};
enum { NAMES = sizeof names / sizeof *names };
static char *saved[NAMES];

static void begin(void) {
  for (int i = 0; i < NAMES; i++) {
    const char *value = getenv(names[i]);
    saved[i] = value ? strdup(value) : NULL;
    unsetenv(names[i]);
  }
  mkdir(TG_TEST_DATA, 0755);
  mkdir(PLACE, 0755);
  chmod(FOLDER, 0700);
  unlink(FOLDER);
  empty(PLACE);
  mkdir(TEMP, 0700);
  mode("off", NULL);
  CHECK_OK(work(expected));
  tg_shutdown();
  setenv("TG_CACHE_DIR", FOLDER, 1);
  setenv("TMPDIR", TEMP, 1);
}

static int files(const char *folder) {
  int count = 0;
  DIR *dir = opendir(folder);
  for (struct dirent *e; dir && (e = readdir(dir));) count += e->d_name[0] != '.';
  if (dir) closedir(dir);
  return count;
}

/* Shuts down; the folder has just so many units, nothing else, and nothing is left
 * elsewhere. */
static void leaves(int units) {
  tg_shutdown();
  DIR *dir = opendir(FOLDER);
  for (struct dirent *e; dir && (e = readdir(dir));)
    if (e->d_name[0] != '.')
      test_check(strspn(e->d_name, "0123456789abcdef") == 64 && !strcmp(e->d_name + 64, ".so"),
                 __FILE__, __LINE__, "%s is left in the folder", e->d_name);
  if (dir) closedir(dir);
  CHECK_INT(files(FOLDER), units);
  CHECK_INT(files(TEMP), 0);
  tg_counters now = tg_get_counters();
  CHECK_INT(now.tensors + now.nodes + now.buffers + now.bytes, 0);
}

static void end(void) {
  tg_shutdown();
  for (int i = 0; i < NAMES; i++) {
    if (saved[i]) setenv(names[i], saved[i], 1);
    else unsetenv(names[i]);
    free(saved[i]);
    saved[i] = NULL;
  }
  empty(PLACE);
}

/* Works, and says what it took. */
static void takes(int runs, int cached, bool generated) {
  float got[RESULTS];
  tg_counters before = tg_get_counters();
  CHECK_OK(work(got));
  for (int i = 0; i < RESULTS; i++) CHECK_CLOSE((double)got[i], (double)expected[i], 1e-6, 1e-5);
  tg_counters now = tg_get_counters();
  CHECK_INT(now.compiler_runs - before.compiler_runs, runs);
  CHECK_INT(now.units_cached - before.units_cached, cached);
  CHECK_INT(now.kernels_generated > before.kernels_generated, generated);
}

/* ---- modes */

TEST(c_off) {
  begin();
  takes(0, 0, false);
  leaves(0);
  end();
}

TEST(c_sync) {
  float first[RESULTS], again[RESULTS];
  begin();
  for (int threads = 1; threads <= 2; threads++) {
    for (int i = 0; i < 2; i++) {
      mode("sync", NULL);
      tg_threads_set(threads);
      takes(threads == 1 && i == 0, threads != 1 || i != 0, true);
      CHECK_OK(work(again));
      if (threads == 1 && i == 0) memcpy(first, again, sizeof first);
      CHECK(!memcmp(first, again, sizeof first));
      leaves(1);
    }
  }
  tg_threads_set(0);
  end();
}

static void nap(void) {
  const struct timespec ms = {0, 5000000};
  nanosleep(&ms, NULL);
}

/* Works until generated code has taken over. */
TEST(c_async) {
  float got[RESULTS], sync[RESULTS];
  begin();
  mode("async", NULL);
  takes(0, 0, false); /* what runs once is not worth a compiler */
  CHECK_OK(work(got));
  CHECK(!memcmp(got, expected, sizeof got));
  for (int i = 0; i < 24000; i++) {
    if (tg_get_counters().kernels_generated > start.kernels_generated) break;
    CHECK_OK(work(got));
    nap();
  }
  takes(0, 0, false); /* no more */
  CHECK(tg_get_counters().kernels_generated > start.kernels_generated);
  CHECK_OK(work(got));
  leaves(1);
  mode("sync", NULL);
  CHECK_OK(work(sync));
  CHECK(!memcmp(got, sync, sizeof got));
  mode("async", NULL);
  takes(0, 1, true); /* from the cache at once */
  leaves(1);
  end();
}

/* An index out of range fails alike on every tier, also when the plan is run again. */
TEST(c_index_out_of_range) {
  static const char *const modes[] = {"off", "sync", "async"};
  for (int m = 0; m < 3; m++) {
    begin();
    mode(modes[m], NULL);
    for (int again = 0; again < 3; again++) {
      tg_scope *scope = tg_scope_open();
      const int64_t at[2] = {0, 3};
      tg_tensor *x = tg_realize(tg_contiguous(tg_full(TG_SHAPE(3, 2), m + 0.5)));
      tg_tensor *y = tg_take(x, tg_from(at, TG_SHAPE(2), .dtype = TG_INT64));
      CHECK(!tg_realize(tg_exp(y)));
      CHECK_INT(tg_failure_kind(), TG_FAILURE_INDEX);
      tg_clear_error();
      tg_scope_close(scope);
    }
    end();
  }
}

/* ---- the folder */

TEST(c_folder_refused) {
  for (int kind = 0; kind < 4; kind++) {
    begin();
    mkdir(FOLDER, 0700);
    if (kind == 0) chmod(FOLDER, 0770);
    if (kind == 1) CHECK(rename(FOLDER, PLACE "/elsewhere") == 0 && symlink("elsewhere", FOLDER) == 0);
    if (kind == 2) {
      rmdir(FOLDER);
      FILE *f = fopen(FOLDER, "w");
      CHECK(f && fclose(f) == 0);
    }
    if (kind == 3 && chown(FOLDER, 12345, (gid_t)-1) != 0) {
      printf("  not root: no folder of somebody else's to be refused\n");
      end();
      continue;
    }
    mode("sync", NULL);
    takes(1, 0, true); /* in a private folder */
    leaves(0);
    mode("sync", NULL);
    takes(1, 0, true); /* which did not stay */
    leaves(0);
    end();
  }
}

TEST(c_folder_read_only) {
  begin();
  mkdir(FOLDER, 0500);
  bool open = access(FOLDER, W_OK) == 0;
  if (open) printf("  root writes everywhere: no folder that is read-only\n");
  mode("sync", NULL);
  takes(1, 0, true);
  leaves(open);
  end();
}

TEST(c_folder_nowhere) {
  begin();
  setenv("TG_CACHE_DIR", "/proc/nowhere", 1);
  setenv("TMPDIR", "/proc/nowhere", 1);
  mode("sync", NULL);
  takes(0, 0, false);
  leaves(0);
  end();
}

static void unit_path(char path[4096]) {
  DIR *dir = opendir(FOLDER);
  path[0] = 0;
  for (struct dirent *e; dir && (e = readdir(dir));)
    if (e->d_name[0] != '.') snprintf(path, 4096, FOLDER "/%s", e->d_name);
  if (dir) closedir(dir);
}

static void flip(const char *path, long at, int from) {
  FILE *f = fopen(path, "r+b");
  if (!f || fseek(f, at, from) != 0) return;
  int byte = fgetc(f);
  fseek(f, -1, SEEK_CUR);
  fputc(byte ^ 0x10, f);
  fclose(f);
}

TEST(c_unit_damaged) {
  char path[4096];
  struct stat st;
  begin();
  mode("sync", NULL);
  takes(1, 0, true);
  leaves(1);
  unit_path(path);
  CHECK(stat(path, &st) == 0);
  for (int kind = 0; kind < 6; kind++) {
    mode("sync", NULL);
    if (kind == 0) CHECK_INT(truncate(path, st.st_size / 2), 0);
    if (kind == 1) CHECK_INT(truncate(path, 0), 0);
    if (kind == 2) CHECK_INT(truncate(path, st.st_size - 1), 0);
    if (kind == 3) flip(path, 1000, SEEK_SET);
    if (kind == 4) flip(path, -1, SEEK_END);
    if (kind == 5) flip(path, -40, SEEK_END);
    takes(1, 0, true);
    leaves(1);
    mode("sync", NULL);
    takes(0, 1, true);
    leaves(1);
  }
  end();
}

/* Whole by its seal, but something else. */
static void impostor(const char *source, const char *path) {
  char name[65], made[TG_C_PATH];
  tg_c_why why = {0};
  _Atomic bool stop = false;
  FILE *f = fopen(PLACE "/made.c", "w");
  CHECK(f && fputs(source, f) >= 0 && fclose(f) == 0);
  snprintf(name, sizeof name, "%s", strrchr(path, '/') + 1);
  test_check(tg_c_compile(PLACE "/made.c", FOLDER "/made.so", false, &stop, &why) &&
                 tg_c_cache_keep(FOLDER "/made.so", name, made, &why),
             __FILE__, __LINE__, "%s", why.text);
}

TEST(c_unit_impostor) {
  char path[4096];
  begin();
  mode("sync", NULL);
  takes(1, 0, true);
  leaves(1);
  unit_path(path);
  mode("sync", NULL);
  impostor("const int something_else = 1;\n", path);
  takes(1, 0, true);
  leaves(1);
  mode("sync", NULL);
  impostor("const struct { int abi, count; void *all; } tg_c_unit = {999, 1, 0};\n", path);
  takes(1, 0, true);
  leaves(1);
  end();
}

/* What else may stand under the name of a unit: nothing is waited for, and the unit is
 * made. Only a folder that is not empty stays, and keeps it from its place. */
TEST(c_unit_no_plain_file) {
  char path[4096], inside[4200];
  begin();
  mode("sync", NULL);
  takes(1, 0, true);
  leaves(1);
  unit_path(path);
  snprintf(inside, sizeof inside, "%s/inside", path);
  for (int kind = 0; kind < 5; kind++) {
    mode("sync", NULL);
    CHECK_INT(unlink(path), 0);
    if (kind == 0) CHECK_INT(mkfifo(path, 0600), 0);
    if (kind == 1) CHECK_INT(symlink("/dev/zero", path), 0);
    if (kind == 2) CHECK_INT(symlink("nowhere", path), 0);
    if (kind >= 3) CHECK_INT(mkdir(path, 0700), 0);
    if (kind == 4) CHECK_INT(mkdir(inside, 0700), 0);
    takes(1, 0, kind < 4);
    leaves(1);
  }
  rmdir(inside);
  end();
}

static void old_unit(const char *name, int age) {
  FILE *f = fopen(name, "w");
  struct timespec times[2] = {{time(NULL) - age, 0}, {time(NULL) - age, 0}};
  CHECK(f && fclose(f) == 0 && truncate(name, 1 << 20) == 0);
  CHECK_INT(utimensat(AT_FDCWD, name, times, 0), 0);
}

TEST(c_folder_full) {
  begin();
  mkdir(FOLDER, 0700);
  old_unit(FOLDER "/a.so", 3000);
  old_unit(FOLDER "/b.so", 9000);
  old_unit(FOLDER "/c.so", 6000);
  setenv("TG_CACHE_MB", "2", 1);
  mode("sync", NULL);
  takes(1, 0, true);
  CHECK(access(FOLDER "/a.so", F_OK) == 0);
  CHECK(access(FOLDER "/b.so", F_OK) != 0);
  CHECK(access(FOLDER "/c.so", F_OK) != 0);
  setenv("TG_CACHE_MB", "0", 1);
  mode("sync", "cc -DANOTHER");
  takes(1, 0, true); /* the new one stays, alone */
  leaves(1);
  end();
}

/* A disk without room, as a limit on the size of files. */
TEST(c_disk_full) {
  static const rlim_t most[] = {0, 4096, 16384};
  for (int i = 0; i < 3; i++) {
    struct rlimit limit, small;
    float got[RESULTS];
    begin();
    mode("sync", NULL);
    fflush(stdout);
    CHECK_INT(getrlimit(RLIMIT_FSIZE, &limit), 0);
    small = limit;
    small.rlim_cur = most[i];
    void (*before)(int) = signal(SIGXFSZ, SIG_IGN);
    CHECK_INT(setrlimit(RLIMIT_FSIZE, &small), 0);
    bool done = work(got);
    CHECK_INT(setrlimit(RLIMIT_FSIZE, &limit), 0);
    signal(SIGXFSZ, before);
    CHECK_OK(done);
    CHECK(!memcmp(got, expected, sizeof got));
    CHECK_INT(tg_get_counters().kernels_generated, start.kernels_generated);
    leaves(0);
    end();
  }
}

/* ---- two processes at once: each runs the first test, the second starts them */

TEST(c_two_processes_part) {
  float got[RESULTS];
  const char *jit = getenv("TG_JIT"); /* "off", or what the whole run is about */
  char before[16];
  snprintf(before, sizeof before, "%s", jit ? jit : "off");
  tg_shutdown();
  setenv("TG_JIT", "sync", 1);
  tg_counters then = tg_get_counters();
  CHECK_OK(work(got));
  CHECK(tg_get_counters().kernels_generated > then.kernels_generated);
  tg_shutdown();
  setenv("TG_JIT", before, 1);
}

TEST(c_two_processes) {
  pid_t child[2];
  begin();
  for (int i = 0; i < 2; i++) {
    char self[] = "/proc/self/exe", part[] = "c_two_processes_part", *args[] = {self, part, NULL};
    CHECK_INT(posix_spawn(&child[i], self, NULL, NULL, args, environ), 0);
  }
  for (int i = 0; i < 2; i++) {
    int status = -1;
    CHECK_INT(waitpid(child[i], &status, 0), child[i]);
    CHECK_INT(status, 0);
  }
  mode("sync", NULL);
  takes(0, 1, true);
  leaves(1);
  end();
}

/* ---- the compiler */

#define COMPILER PLACE "/compiler"
static void compiler(const char *script) {
  FILE *f = fopen(COMPILER, "w");
  CHECK(f && fprintf(f, "#!/bin/sh\n%s\n", script) > 0 && fclose(f) == 0);
  CHECK_INT(chmod(COMPILER, 0755), 0);
}

/* Why a unit cannot be had. */
static void because(const char *part) {
  tg_c_why why = {0};
  tg_unit *u = tg_unit_new();
  CHECK(u != NULL);
  bool good = u && tg_unit_seal(u, 0, &why) && tg_unit_build(u, false, &why);
  test_check(!good && strstr(why.text, part), __FILE__, __LINE__, "not \"%s\" but \"%s\"", part,
             good ? "success" : why.text);
  tg_unit_release(u);
}

static void bad_compiler(const char *script, int runs, const char *part) {
  begin();
  compiler(script);
  mode("sync", COMPILER);
  takes(runs, 0, false);
  takes(0, 0, false); /* tried once */
  because(part);
  leaves(0);
  end();
}

TEST(c_compiler_missing) {
  begin();
  mode("sync", "/nowhere/cc");
  takes(0, 0, false);
  because("TG_CC=/nowhere/cc is no program that can be run");
  leaves(0);
  mode("sync", PLACE);
  takes(0, 0, false);
  leaves(0);
  const char *path = getenv("PATH");
  char old[8192];
  snprintf(old, sizeof old, "%s", path ? path : "");
  mode("sync", NULL);
  setenv("PATH", "/nowhere", 1);
  takes(0, 0, false);
  because("no compiler: none of cc, gcc, clang is on the PATH");
  setenv("PATH", old, 1);
  leaves(0);
  end();
}

TEST(c_compiler_fails) {
  bad_compiler("echo warning: nothing; echo x.c:1: error: no disk today; exit 3", 1,
               "failed with status 3: x.c:1: error: no disk today");
}
TEST(c_compiler_killed) { bad_compiler("kill -9 $$", 1, "was ended by signal 9"); }
TEST(c_compiler_silent) { bad_compiler("exit 0", 1, "failed with status 0"); }
TEST(c_compiler_talks) {
  bad_compiler("head -c 5000000 /dev/zero | tr '\\0' x; exit 1", 1, "failed with status 1: xxx");
}
TEST(c_compiler_nonsense) {
  bad_compiler("while [ \"$1\" != -o ]; do shift; done; echo hello >\"$2\"", 1, "cannot be loaded");
}
TEST(c_compiler_hangs) {
  begin();
  setenv("TG_CC_TIMEOUT", "1", 1);
  compiler("sleep 1000 & sleep 1000");
  mode("sync", COMPILER);
  takes(1, 0, false);
  takes(0, 0, false);
  because("took longer than TG_CC_TIMEOUT=1 s");
  leaves(0);
  end();
}

/* One that never stops printing, or writing, is ended; the disk does not fill. */
TEST(c_compiler_endless) {
  bad_compiler("yes error: and so on", 1, "printed more than 16 MB");
  if (tg_env_int("TG_TEST_SLOW", 0))
    bad_compiler("while [ \"$1\" != -o ]; do shift; done; cat /dev/zero >\"$2\"", 1,
                 "wrote more than 256 MB");
}

/* What it makes is no plain file: not read, not waited for. */
TEST(c_compiler_makes_a_pipe) {
  bad_compiler("while [ \"$1\" != -o ]; do shift; done; mkfifo \"$2\"", 1, "failed with status 0");
}

/* Every word of TG_CC reaches the compiler, however many there are. */
TEST(c_compiler_many_words) {
  enum { MANY = 3000 };
  static char words[MANY * 8 + 200];
  begin();
  compiler("n=0; for word; do case $word in -DW*) n=$((n + 1));; esac; done\n"
           "echo error: $n words, the last ${word}; exit 1");
  size_t at = (size_t)snprintf(words, sizeof words, "%s", COMPILER);
  for (int i = 0; i < MANY; i++)
    at += (size_t)snprintf(words + at, sizeof words - at, " -DW%d", i);
  mode("sync", words);
  takes(1, 0, false);
  because("error: 3000 words");
  leaves(0);
  end();
}

/* The process whose number a compiler wrote down: whether it is there. */
static bool lives(const char *file) {
  int id = 0;
  FILE *f = fopen(file, "r");
  CHECK(f && fscanf(f, "%d", &id) == 1);
  if (f) fclose(f);
  return id > 1 && kill(id, 0) == 0;
}

/* All that a compiler started ends with it, also what left its process group. */
TEST(c_compiler_daemon) {
#ifdef __linux__
  begin();
  setenv("TG_CC_TIMEOUT", "1", 1);
  compiler("setsid sh -c 'echo $$ >" PLACE "/child; sleep 1000' & sleep 1000");
  mode("sync", COMPILER);
  takes(1, 0, false);
  for (int i = 0; i < 2000 && lives(PLACE "/child"); i++) nap(); /* until init has reaped it */
  CHECK(!lives(PLACE "/child"));
  leaves(0);
  end();
#else
  CHECK(true);
#endif
}

TEST(c_compiler_with_arguments) {
  begin();
  compiler("head -c 1000000 /dev/zero | tr '\\0' x; exec cc \"$@\"");
  mode("sync", COMPILER " -O1  -DX=1");
  takes(1, 0, true);
  leaves(1);
  end();
}

TEST(c_shutdown_while_compiling) {
  begin();
  compiler("sleep 1000");
  for (int i = 0; i < 3; i++) {
    mode("async", COMPILER);
    takes(0, 0, false);
    float got[RESULTS];
    CHECK_OK(work(got));
    for (int k = 0; k < 12000 && i; k++) { /* i == 0: at once */
      if (tg_get_counters().compiler_runs > start.compiler_runs) break;
      nap();
    }
    leaves(0);
  }
  end();
}

/* ---- a process that ends without tg_shutdown, and one that forks */

/* Runs in a child process; its status. */
static int in_child(int (*what)(void)) {
  int status = -1;
  tg_stop_threads();
  pid_t child = fork();
  if (child == 0) exit(what());
  CHECK_INT(waitpid(child, &status, 0), child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int only_works(void) {
  float got[RESULTS];
  bool good = work(got) && tg_get_counters().kernels_generated > start.kernels_generated;
  for (int i = 0; i < RESULTS; i++) good = good && fabsf(got[i] - expected[i]) < 1e-5f;
  return good ? files(TEMP) : 100;
}

/* Its private folder goes with it; a child has one of its own, and leaves its parent's. */
TEST(c_private_folder_goes) {
  begin();
  setenv("TG_CACHE_DIR", "/proc/nowhere", 1);
  mode("sync", NULL);
  CHECK_INT(in_child(only_works), 1);
  CHECK_INT(files(TEMP), 0);
  takes(1, 0, true);
  CHECK_INT(files(TEMP), 1);
  setenv("TG_CC", "cc -DANOTHER", 1);
  CHECK_INT(in_child(only_works), 1); /* what its parent compiled is there */
  CHECK_INT(files(TEMP), 1);
  leaves(0);
  end();
}

/* So does a compiler at work. */
static int works_twice(void) {
  float got[RESULTS];
  bool good = work(got) && work(got);
  for (int k = 0; k < 12000; k++) {
    if (access(PLACE "/child", F_OK) == 0) break;
    nap();
  }
  return good && lives(PLACE "/child") ? 0 : 1;
}

TEST(c_compiler_goes_with_the_process) {
  begin();
  compiler("echo $$ >" PLACE "/made; mv " PLACE "/made " PLACE "/child; exec sleep 1000");
  mode("async", COMPILER);
  CHECK_INT(in_child(works_twice), 0);
  CHECK(!lives(PLACE "/child"));
  CHECK_INT(files(FOLDER), 0);
  leaves(0);
  end();
}

static int nothing(void) { return 0; }

/* A fork while a unit is compiled: it is compiled after all. */
TEST(c_fork_while_compiling) {
  float got[RESULTS];
  begin();
  compiler("[ -e " PLACE "/again ] || { touch " PLACE "/again; exec sleep 1000; }; exec cc \"$@\"");
  mode("async", COMPILER);
  CHECK_OK(work(got));
  for (int i = 0; i < 12000 && access(PLACE "/again", F_OK) != 0; i++) {
    CHECK_OK(work(got));
    nap();
  }
  CHECK_INT(in_child(nothing), 0);
  CHECK_INT(tg_get_counters().kernels_generated, start.kernels_generated);
  for (int i = 0; i < 24000; i++) {
    if (tg_get_counters().kernels_generated > start.kernels_generated) break;
    CHECK_OK(work(got));
    nap();
  }
  takes(0, 0, false); /* they were made once, and serve */
  CHECK(tg_get_counters().kernels_generated > start.kernels_generated);
  CHECK_INT(tg_tiers_waiting(), 0);
  leaves(1);
  end();
}

/* ---- more shapes than a compiler can keep up with */

enum { SHAPES = 3000 };

static void shape(int64_t n) {
  static float zeros[SHAPES];
  for (int i = 0; i < 2; i++) {
    TG_SCOPE {
      double sum = tg_item(tg_sum(tg_add(tg_from(zeros, TG_SHAPE(n)), 1.5)));
      CHECK_CLOSE(sum, 1.5 * (double)n, 0, 1e-6);
    }
  }
}

/* No more wait than there are plans, and they hold little memory: bytes in use stay. */
TEST(c_queue_bounded) {
  int64_t bytes = 0, waiting = 0, most = 0;
  begin();
  compiler("exec sleep 1000");
  mode("async", COMPILER);
  for (int64_t n = 1; n <= SHAPES; n++) {
    shape(n);
    int64_t now = tg_tiers_waiting();
    if (n == SHAPES / 2) {
      waiting = now;
      bytes = tg_get_counters().bytes;
    }
    most = now > most ? now : most;
  }
  CHECK(waiting > 10);
  CHECK(most <= waiting + 1);
  CHECK(tg_get_counters().bytes < bytes + bytes / 10);
  leaves(0);
  end();
}

/* ---- memory that runs out */

static _Atomic long calls;
static long fail_at;
static bool fail_all;
static void *failing_alloc(size_t size, void *user) {
  (void)user;
  long call = atomic_fetch_add(&calls, 1) + 1;
  return fail_at && (call == fail_at || (fail_all && call > fail_at)) ? NULL : malloc(size);
}
static void failing_release(void *memory, size_t size, void *user) {
  (void)size, (void)user;
  free(memory);
}

/* With a unit that is in the cache, and with a compiler that fails. */
static void every_allocation(bool all, const char *with) {
  const tg_allocator failing = {failing_alloc, failing_release, NULL};
  begin();
  mode("sync", with);
  if (!with) takes(1, 0, true);
  tg_shutdown();
  CHECK_OK(tg_set_allocator(&failing) == 0);
  for (long n = 1; n < 100000; n++) {
    float got[RESULTS];
    mode("sync", with);
    atomic_store(&calls, 0);
    fail_at = n;
    fail_all = all;
    bool done = work(got), failed = atomic_load(&calls) >= n;
    fail_at = 0;
    const char *message = tg_error();
    test_check(done ? !message : message && strstr(message, "out of memory"), __FILE__, __LINE__,
               "failing at %ld: %s, message %s", n, done ? "done" : "failed", message ? message : "none");
    for (int i = 0; done && i < RESULTS; i++)
      CHECK_CLOSE((double)got[i], (double)expected[i], 1e-6, 1e-5);
    tg_clear_error();
    leaves(!with);
    if (failed) continue;
    CHECK(done && n > 50);
    break;
  }
  tg_shutdown();
  CHECK_OK(tg_set_allocator(NULL) == 0);
  end();
}

TEST(c_memory_only_one) { every_allocation(false, NULL); }
TEST(c_memory_all_later) { every_allocation(true, NULL); }
TEST(c_memory_no_compiler) { every_allocation(false, "/bin/false"); }
