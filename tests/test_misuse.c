/* Every public function with every argument wrong, one at a time (misuse.inc): NULL, 0, -1,
 * NaN and the extremes. What must not happen is a crash, or a failure without a message;
 * and what can only be a mistake must fail. Each call has a child process, so a crash is
 * one failure among others; the sanitizers see all of it.
 *
 * An argument of a row knows its number; the one whose turn it is gives a bad value
 * instead of a good one, and says whether that has to be refused. */
#if !defined(_DEFAULT_SOURCE)
#define _DEFAULT_SOURCE
#endif
#include "test.h"

#include <ctype.h>
#include <limits.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- which argument is bad, and how; in memory that the child shares */

typedef struct probe {
  int arg, variant;       /* to be tried */
  int variants;           /* of that argument; 0: there is no such argument */
  bool must;              /* it has to be refused */
  const char *kind;
  int calls, problems;
  bool done;              /* the row has been gone through */
} probe;
static probe *now;

/* The number of the variant if it is the turn of argument k, else -1. */
static int turn(int k, const char *kind, int variants) {
  if (k != now->arg) return -1;
  now->variants = variants;
  now->kind = kind;
  return now->variant;
}

static int must(int variant, bool refuses) {
  if (variant >= 0) now->must = refuses;
  return variant;
}

/* ---- bad arguments */

#define PICK(k, kind, good, ...)                                        \
  static const __typeof__(good) bad[] = {__VA_ARGS__};                  \
  int v = turn(k, kind, (int)(sizeof bad / sizeof *bad))

static tg_tensor *pointer(int k, tg_tensor *good, const char *kind, bool refuses) {
  return must(turn(k, kind, 1), refuses) < 0 ? good : NULL;
}
#define T(k, good) pointer((k), (good), "tensor", true)
#define U(k, good) pointer((k), (good), "optional tensor", false)
#define R(k, good) pointer((k), (good), "tensor", false)
#define PTR(k, good) (must(turn((k), "pointer", 1), true) < 0 ? (good) : NULL)
#define PTR_OR_NULL(k, good) (must(turn((k), "pointer", 1), false) < 0 ? (good) : NULL)
#define PROBED(k, good) PTR(k, good)

static int AX(int k, int good) {
  PICK(k, "axis", good, INT_MIN, INT_MAX, 1000, -1000, -1, 0);
  return must(v, v < 4) < 0 ? good : bad[v];
}

static int64_t count_of(int k, int64_t good, bool refuses_0, bool refuses_most) {
  PICK(k, "count", good, INT64_MIN, INT64_MIN + 1, -1, 0, INT64_MAX, INT64_MAX - 1);
  return must(v, v < 3 || (v == 3 && refuses_0) || (v > 3 && refuses_most)) < 0 ? good : bad[v];
}
#define N(k, good) count_of((k), (good), false, true)
#define N_NOT_0(k, good) count_of((k), (good), true, false)
#define SAMPLES(k, good) count_of((k), (good), true, true)

static size_t SIZE(int k, size_t good) {
  PICK(k, "size", good, 0, 1, SIZE_MAX, SIZE_MAX / 2);
  return must(v, true) < 0 ? good : bad[v];
}

/* How many items there are: those beyond cannot be tried. */
static int NITEMS(int k, int good) {
  PICK(k, "number of items", good, INT_MIN, -1, 0);
  return must(v, v < 2) < 0 ? good : bad[v];
}

static int64_t K(int k, int64_t good) {
  PICK(k, "number", good, INT64_MIN, INT64_MIN + 1, -1, 0, INT64_MAX, INT_MIN, INT_MAX);
  return must(v, false) < 0 ? good : bad[v];
}

static double F(int k, double good) {
  PICK(k, "number", good, NAN, INFINITY, -INFINITY, 0, -0.0, -1, 1e308, 5e-324);
  return must(v, false) < 0 ? good : bad[v];
}

static double PROB(int k, double good) {
  PICK(k, "probability", good, NAN, INFINITY, -INFINITY, -1, 1.5, 0, -0.0);
  return must(v, v < 5) < 0 ? good : bad[v];
}

static tg_dtype DT(int k, tg_dtype good) {
  PICK(k, "dtype", 0, -1, 99, INT_MAX, INT_MIN);
  return must(v, true) < 0 ? good : (tg_dtype)bad[v];
}
static tg_dtype ANY_DTYPE(int k) {
  PICK(k, "dtype", 0, -1, 99, INT_MAX, INT_MIN);
  return must(v, false) < 0 ? TG_INT8 : (tg_dtype)bad[v];
}
static int MODE(int k, int good) {
  PICK(k, "mode", good, -2, 99, INT_MAX, INT_MIN);
  return must(v, true) < 0 ? good : bad[v];
}

static tg_shape of(int ndim, int64_t a, int64_t b, int64_t c) {
  tg_shape s = {ndim, {a, b, c}};
  for (int i = 3; i < TG_MAX_DIMS; i++) s.dim[i] = 1;
  return s;
}

static tg_shape SH(int k, tg_shape good) {
  const int64_t far = INT64_C(1) << 62;
  int v = must(turn(k, "shape", 9), true);
  switch (v) {
    case 0: return of(-1, 1, 1, 1);
    case 1: return of(TG_MAX_DIMS + 1, 1, 1, 1);
    case 2: return of(INT_MAX, 1, 1, 1);
    case 3: return of(1, INT64_MIN, 1, 1);
    case 4: return of(2, -2, -3, 1);
    case 5: return of(2, INT64_MAX, INT64_MAX, 1);
    case 6: return of(3, INT64_MAX, 2, 2);
    case 7: return now->must = false, of(3, far, far, 0);
    case 8: return now->must = false, of(1, 0, 1, 1);
  }
  return good;
}

/* Numbers for axes: what is wrong with them depends on the function, but not their count. */
static tg_ints LI(int k, tg_ints good) {
  PICK(k, "list", INT64_C(0), 0, -1, 1, 1000, INT64_MIN, INT64_MIN + 1, INT64_MAX, INT_MAX);
  if (v < 0) return good;
  now->variants += 4;
  const int counts[] = {-1, TG_MAX_DIMS + 1, INT_MAX, INT_MIN}, numbers = 8;
  must(v, v >= numbers);
  if (v >= numbers) return of(counts[v - numbers], 0, 0, 0);
  for (int i = 0; i < good.ndim; i++) good.dim[i] = bad[v];
  return good;
}
static tg_ints AXES(int k, tg_ints good) {
  tg_ints out = LI(k, good);
  if (k == now->arg) must(0, now->variant >= 3); /* 1000 and what is farther is no axis */
  return out;
}

static tg_list L(int k, tg_list good) {
  static tg_tensor *gap[2];
  const tg_list bad[] = {{-1, gap}, {INT64_MIN, gap}, {INT64_MAX, gap}, {2, NULL}, {1, gap}, {2, gap}};
  int v = must(turn(k, "list of tensors", 7), true);
  if (v == 6) now->must = false;
  gap[0] = v == 5 && good.count ? good.items[0] : NULL;
  return v < 0 ? good : v == 6 ? (tg_list){0, NULL} : bad[v];
}

static const char *text(int k, const char *good, const char *kind, bool refuses) {
  bool is_path = !strcmp(kind, "path"); /* there the others are names like any */
  static char long_text[5000];
  memset(long_text, 'x', sizeof long_text - 1);
  const char *bad[] = {NULL, "", long_text, "%s%s%n%d", "\xff\xfe\n"};
  int v = must(turn(k, kind, is_path ? 3 : 5), refuses);
  return v < 0 ? good : bad[v];
}
#define STR(k, good) text((k), (good), "text", false)
#define PATH(k) text((k), "/nowhere/file", "path", true)
static const char *DEV(int k) {
  const char *name = text(k, "CPU", "device", true);
  if (k == now->arg && !name) now->must = false; /* the default */
  return name;
}

static const tg_create_opts *OPTIONS(int k) {
  static const tg_create_opts bad[] = {{.dtype = (tg_dtype)99}, {.dtype = (tg_dtype)-1},
    {.device = "no such"}, {.device = ""}, {.dtype = TG_INT32, .requires_grad = TG_GRAD_YES}};
  int v = must(turn(k, "options", 6), true);
  if (v == 5) now->must = false;
  return v < 0 || v == 5 ? NULL : &bad[v];
}

/* ---- good arguments */

#define MAT tg_ones(TG_SHAPE(2, 3))
#define IMG tg_ones(TG_SHAPE(1, 2, 5, 5))
#define WIN tg_ones(TG_SHAPE(2, 2, 3, 3))
#define QKV tg_ones(TG_SHAPE(2, 3, 4))
#define TWO tg_ones(TG_SHAPE(2))
#define IDX tg_zeros(TG_SHAPE(2), .dtype = TG_INT64)
#define IDX1 tg_zeros(TG_SHAPE(1), .dtype = TG_INT64)
#define IDX2 tg_zeros(TG_SHAPE(2, 3), .dtype = TG_INT64)
#define NOTHING ((void)0)

static float numbers[6], room[64];
static char written[64];
static tg_tensor *pieces[64];
static const tg_run_hooks no_hooks;
static const tg_multinomial_opts replacing = {.replacement = true};
static const tg_index_item items[] = {{TG_ITEM_AT, 0, 0, 0, NULL}, {TG_ITEM_RANGE, 0, 2, 1, NULL}};
static tg_progress bar;

static tg_tensor *leaf(void) { return tg_ones(TG_SHAPE(2, 3), .requires_grad = TG_GRAD_YES); }
static tg_tensor *leaf64(void) {
  return tg_ones(TG_SHAPE(2), .dtype = TG_FLOAT64, .requires_grad = TG_GRAD_YES);
}
static void visit(void *user, void *arg) { (void)user, (void)arg; }
static tg_tensor *twice_forward(tg_context *c, tg_tensor *const *x, int count) {
  (void)c;
  return count ? tg_mul(x[0], 2) : MAT;
}
static const tg_function twice = {.name = "tg_apply", .forward = twice_forward};
static tg_tensor *squares(tg_tensor *const *x, int count, void *user) {
  (void)count, (void)user;
  return tg_square(x[0]);
}
static int jitted(tg_list in, tg_tensor **out, void *user) {
  (void)user;
  out[0] = in.count ? tg_mul(in.items[0], 2) : MAT;
  return out[0] ? 0 : -1;
}
static tg_tensor *double_layer(tg_tensor *x, void *user) {
  (void)user;
  return tg_mul(x, 2);
}
static const tg_layer layers[] = {double_layer, double_layer};
static void *const users[2];
static tg_optimizer *ready_sgd(void) {
  tg_tensor *p = leaf();
  tg_optimizer *o = tg_sgd(TG_LIST(p));
  tg_set_grad(p, MAT);
  return o;
}
static void *no_alloc(size_t size, void *user) {
  (void)size, (void)user;
  return NULL;
}
static const tg_allocator *bad_allocator(int k) {
  static const tg_allocator bad[] = {{NULL, NULL, NULL}, {no_alloc, NULL, NULL}};
  int v = must(turn(k, "allocator", 2), true);
  return v < 0 ? NULL : &bad[v];
}

/* ---- rows */

enum { GOOD, FAILED, UNKNOWN };

/* What is lazy is computed, if it is not too large. */
static int judged_tensor(tg_tensor *t) {
  if (!t) return FAILED;
  return tg_numel(t) > 1 << 16 || tg_realize(t) ? GOOD : FAILED;
}

#define TEN(name, call) static int row_##name(void) { return judged_tensor(call); }
#define OBJ(name, call) static int row_##name(void) { return (call) ? GOOD : FAILED; }
#define INT(name, call) static int row_##name(void) { return (call) < 0 ? FAILED : GOOD; }
#define NUM(name, call) static int row_##name(void) { return (void)(call), UNKNOWN; }
#define ANY(name, call) static int row_##name(void) { return (call), UNKNOWN; }
#define ONE(name) TEN(name, tg_##name(T(0, MAT)))
#define PAIR(name) TEN(name, (tg_##name)(T(0, MAT), T(1, MAT)))
#include "misuse.inc"
#undef TEN
#undef OBJ
#undef INT
#undef NUM
#undef ANY
#undef ONE
#undef PAIR

#define TEN(name, call) {#name, row_##name},
#define OBJ(name, call) {#name, row_##name},
#define INT(name, call) {#name, row_##name},
#define NUM(name, call) {#name, row_##name},
#define ANY(name, call) {#name, row_##name},
#define ONE(name) {#name, row_##name},
#define PAIR(name) {#name, row_##name},
static const struct row {
  const char *name;
  int (*call)(void);
} rows[] = {
#include "misuse.inc"
};
enum { ROWS = sizeof rows / sizeof *rows };

/* ---- in the child */

static void problem(const struct row *row, const char *what, const char *message) {
  now->problems++;
  printf("  tg_%s, argument %d, %s %d: %s%s%s\n", row->name, now->arg, now->kind, now->variant, what,
         message ? ": " : "", message ? message : "");
  fflush(stdout);
}

/* Does the message begin with the name of the function? reshape_to is known as reshape. */
static bool names(const char *message, const char *name) {
  size_t length = strlen(name);
  const char *const ends[] = {"_to", "_by", "_axes"};
  for (int i = 0; i < 3; i++) {
    size_t end = strlen(ends[i]);
    if (length > end && !strcmp(name + length - end, ends[i])) {
      length -= end;
      break;
    }
  }
  bool index = strstr(message, "is out of range"); /* found when it is computed */
  return index || (!strncmp(message, "tg_", 3) && !strncmp(message + 3, name, length));
}

static void try_one(const struct row *row) {
  int outcome = UNKNOWN;
  now->must = false;
  now->kind = "";
  tg_clear_error();
  TG_SCOPE { outcome = row->call(); }
  const char *message = tg_error();
  now->calls++;
  if (message && !names(message, row->name)) problem(row, "the message names another", message);
  if (outcome == FAILED && !message) problem(row, "fails without a message", NULL);
  bool nowhere = message && strstr(message, "/nowhere/"); /* there is no such file */
  if (outcome == FAILED && !now->variants && !nowhere)
    problem(row, "fails with good arguments", message);
  if (outcome == GOOD && message) problem(row, "succeeds with a message", message);
  if (outcome == GOOD && now->must) problem(row, "taken without a word", NULL);
}

/* From the argument and variant that are set, to the last. */
static void try_row(const struct row *row) {
  for (;; now->arg++, now->variant = 0)
    for (;; now->variant++) {
      now->variants = 0;
      try_one(row);
      if (now->variant + 1 < now->variants) continue;
      if (now->variants == 0 && now->arg < 8) break; /* numbers may be left out */
      if (now->variants == 0) {
        now->done = true;
        return;
      }
      break;
    }
}

/* ---- in the parent */

static void next_try(void) {
  if (now->variant + 1 < now->variants) now->variant++;
  else now->arg++, now->variant = 0;
}

static void check_row(const struct row *row) {
  now->arg = now->variant = now->variants = 0;
  now->done = false;
  for (int crashes = 0; !now->done && crashes < 20; crashes++) {
    int status = -1;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
      try_row(row);
      _exit(0);
    }
    if (waitpid(child, &status, 0) != child) return;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) continue;
    problem(row, "ends the process", NULL);
    next_try();
  }
}

TEST(misuse_every_argument) {
  now = mmap(NULL, sizeof *now, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  CHECK(now != MAP_FAILED);
  if (now == MAP_FAILED) return;
  char ci[20] = "";
  if (getenv("CI")) snprintf(ci, sizeof ci, "%s", getenv("CI"));
  setenv("CI", "1", 1);
  tg_stop_threads();
  for (int i = 0; i < ROWS; i++) {
    int before = now->problems;
    check_row(&rows[i]);
    test_check(now->done && now->problems == before, __FILE__, __LINE__, "tg_%s", rows[i].name);
  }
  CHECK(now->calls > 2500);
  if (*ci) setenv("CI", ci, 1);
  else unsetenv("CI");
  munmap(now, sizeof *now);
}

/* ---- the header has no function that is not in the table */

static bool has_row(const char *name, size_t length) {
  for (int i = 0; i < ROWS; i++)
    if (strlen(rows[i].name) == length && !strncmp(rows[i].name, name, length)) return true;
  return false;
}

/* The name that a line declares: the first "tg_name(" or "(tg_name)("; NULL: none. */
static const char *declared(const char *line, size_t *length) {
  if (!isalpha((unsigned char)*line) || !strncmp(line, "typedef", 7) || !strncmp(line, "static", 6) ||
      !strncmp(line, "inline", 6) || !strncmp(line, "TG_", 3))
    return NULL;
  const char *open = strchr(line, '(');
  bool apart = open && !isalnum((unsigned char)open[-1]) && open[-1] != '_'; /* (tg_sum)( */
  if (apart) open = strchr(open, ')');
  const char *from = open;
  while (from && from > line && (isalnum((unsigned char)from[-1]) || from[-1] == '_')) from--;
  if (!from || strncmp(from, "tg_", 3) || !islower((unsigned char)from[3])) return NULL;
  *length = (size_t)(open - from) - 3;
  return from + 3;
}

TEST(misuse_has_every_function) {
  char line[1000];
  int count = 0;
  FILE *header = fopen("include/teenygrad/teenygrad.h", "r");
  CHECK(header != NULL);
  bool in_c = false;
  while (header && fgets(line, sizeof line, header)) {
    size_t length = 0;
    const char *name = declared(line, &length);
    if (!strncmp(line, "extern \"C\" {", 12)) in_c = true;
    if (!strncmp(line, "} /* extern", 11)) in_c = false;
    if (!in_c || !name) continue;
    count++;
    test_check(has_row(name, length), __FILE__, __LINE__, "tests/misuse.inc has no row for %.*s",
               (int)length, name);
  }
  if (header) fclose(header);
  CHECK(count > 200);
}
