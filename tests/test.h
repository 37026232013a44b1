/* tests/test.h: the harness. A test is
 *
 *     TEST(name) { CHECK_INT(1 + 1, 2); }
 *
 * in any file of tests/. It runs in a TG_SCOPE of its own with no error
 * recorded. A test that checks nothing fails. Comparisons are written so that
 * NaN fails. Run build/tests [-v] [part of a name ...].
 */
#ifndef TEST_H
#define TEST_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "teenygrad/teenygrad.h"

typedef struct test_case {
  const char *name;
  void (*run)(void);
  struct test_case *next;
} test_case;
void test_register(test_case *test);
bool test_exists(const char *name);

#define TEST(name)                                                        \
  static void test_##name(void);                                          \
  __attribute__((constructor)) static void register_##name(void) {        \
    static test_case row = {#name, test_##name, NULL};                    \
    test_register(&row);                                                  \
  }                                                                       \
  static void test_##name(void)

/* Each counts one check; a failing one prints where, what and both values. */
void test_check(bool ok, const char *file, int line, const char *format, ...) TG_PRINTF(4, 5);
void test_int(long long a, long long b, const char *text, const char *file, int line);
void test_close(double a, double b, double atol, double rtol, const char *text, const char *file,
                int line);
void test_string(const char *a, const char *b, const char *text, const char *file, int line);
void test_error(bool failed, const char *part, const char *text, const char *file, int line);

#define CHECK(x) test_check((x) ? true : false, __FILE__, __LINE__, "%s", #x)
#define CHECK_INT(a, b) \
  test_int((long long)(a), (long long)(b), #a " == " #b, __FILE__, __LINE__)
/* |a - b| <= atol + rtol * |b| */
#define CHECK_CLOSE(a, b, atol, rtol) \
  test_close((a), (b), (atol), (rtol), #a " ~ " #b, __FILE__, __LINE__)
#define CHECK_STRING(a, b) test_string((a), (b), #a " == " #b, __FILE__, __LINE__)
/* The call gives NULL (fails with a negative status) and the message has `part`. */
#define CHECK_NULL(x, part) test_error((x) == NULL, (part), #x, __FILE__, __LINE__)
#define CHECK_FAILS(x, part) test_error((x) < 0, (part), #x, __FILE__, __LINE__)
/* An unexpected error: prints the library's message too. */
#define CHECK_OK(x) \
  test_check((x) ? true : false, __FILE__, __LINE__, "%s (%s)", #x, test_message())
const char *test_message(void);

/* The value of element i of t as a double, whatever its dtype. */
double test_at(tg_tensor *t, int64_t i);
/* Compares every element with what[i]; shapes are not compared. */
void test_values(tg_tensor *t, const double *what, int64_t count, double atol, double rtol,
                 const char *text, const char *file, int line);
#define CHECK_VALUES(t, atol, rtol, ...)                                         \
  test_values((t), (const double[]){__VA_ARGS__},                                \
              (int64_t)(sizeof((double[]){__VA_ARGS__}) / sizeof(double)), (atol), \
              (rtol), #t, __FILE__, __LINE__)
#endif
