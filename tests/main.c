/* tests/main: runs the tests that the other files registered, in the order of
 * their names, and counts. See test.h. */
#if !defined(_POSIX_C_SOURCE)
#define _POSIX_C_SOURCE 200809L
#endif
#include "test.h"

#include <stdarg.h>

static test_case *tests;
static int checks, failures;

void test_register(test_case *test) {
  test_case **at = &tests;
  while (*at && strcmp((*at)->name, test->name) < 0) at = &(*at)->next;
  test->next = *at;
  *at = test;
}

bool test_exists(const char *name) {
  const test_case *t = tests;
  while (t && strcmp(t->name, name)) t = t->next;
  return t;
}

void test_check(bool ok, const char *file, int line, const char *format, ...) {
  checks++;
  if (ok || ++failures > 20) return;
  va_list args;
  va_start(args, format);
  printf("  %s:%d: ", file, line);
  vprintf(format, args);
  printf("\n");
  va_end(args);
}

void test_int(long long a, long long b, const char *text, const char *file, int line) {
  test_check(a == b, file, line, "%s: %lld, not %lld", text, a, b);
}

void test_close(double a, double b, double atol, double rtol, const char *text, const char *file,
                int line) {
  bool same = a == b || fabs(a - b) <= atol + rtol * fabs(b);
  test_check(same, file, line, "%s: %.17g, not %.17g", text, a, b);
}

void test_string(const char *a, const char *b, const char *text, const char *file, int line) {
  test_check(a && b && !strcmp(a, b), file, line, "%s: \"%s\", not \"%s\"", text, a ? a : "NULL",
             b ? b : "NULL");
}

const char *test_message(void) {
  const char *message = tg_error();
  return message ? message : "no error recorded";
}

void test_error(bool failed, const char *part, const char *text, const char *file, int line) {
  const char *message = tg_error();
  test_check(failed && message && strstr(message, part), file, line,
             "%s should fail with \"%s\": %s, message \"%s\"", text, part,
             failed ? "it failed" : "it did not", message ? message : "none");
}

double test_at(tg_tensor *t, int64_t i) {
  tg_tensor *wide = tg_cast(t, TG_FLOAT64);
  const double *data = tg_data(wide);
  return data && i < tg_numel(wide) ? data[i] : NAN;
}

void test_values(tg_tensor *t, const double *what, int64_t count, double atol, double rtol,
                 const char *text, const char *file, int line) {
  TG_SCOPE {
    tg_tensor *wide = tg_cast(t, TG_FLOAT64);
    const double *data = tg_data(wide);
    test_check(data && tg_numel(wide) == count, file, line, "%s has %lld elements, not %lld (%s)",
               text, (long long)tg_numel(t), (long long)count, test_message());
    for (int64_t i = 0; data && i < count && i < tg_numel(wide); i++)
      test_check(data[i] == what[i] || fabs(data[i] - what[i]) <= atol + rtol * fabs(what[i]) ||
                     (isnan(data[i]) && isnan(what[i])),
                 file, line, "%s[%lld]: %.17g, not %.17g", text, (long long)i, data[i], what[i]);
  }
}

static bool run(const test_case *test, bool verbose) {
  checks = failures = 0;
  if (verbose) printf("%s\n", test->name), fflush(stdout);
  bool training = tg_training();
  const char *device = tg_default_device();
  TG_SCOPE { test->run(); }
  tg_clear_error();
  if (!checks) printf("  it checked nothing\n");
  test_check(tg_training() == training && tg_default_device() == device, __FILE__, __LINE__,
             "it leaves another training mode or default device behind");
  bool passed = checks > 1 && !failures;
  if (!passed) printf("FAILED %s (%d of %d checks)\n", test->name, failures, checks);
  return passed;
}

static bool chosen(const char *name, int argc, char **argv) {
  bool any = false;
  for (int i = 1; i < argc; i++) {
    if (argv[i][0] == '-') continue;
    any = true;
    if (strstr(name, argv[i])) return true;
  }
  return !any;
}

int main(int argc, char **argv) {
  bool verbose = false;
  int passed = 0, failed = 0;
  /* What a test sees must not depend on when a compiler is done. */
  setenv("TG_JIT", "off", 0);
  setenv("TG_CACHE_DIR", TG_TEST_DATA "/../cache", 0);
  for (int i = 1; i < argc; i++) verbose |= !strcmp(argv[i], "-v");
  for (const test_case *t = tests; t; t = t->next) {
    if (!chosen(t->name, argc, argv)) continue;
    if (run(t, verbose)) passed++;
    else failed++;
  }
  tg_shutdown();
  printf("%d passed, %d failed\n", passed, failed);
  return failed || !passed;
}
