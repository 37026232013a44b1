/* Fuzzing the readers of foreign bytes: IDX, npy, npz.
 *
 * With clang:  clang -g -fsanitize=fuzzer,address,undefined -DTG_LIBFUZZER
 *              -Iinclude tests/fuzz/fuzz_io.c libteenygrad.a -lm -pthread
 * With AFL:    build it as it is; afl-fuzz -i seeds -o out ./fuzz_io @@
 * With neither, as the tests run it, `fuzz_io ROUNDS` mutates small valid files
 * by a fixed sequence of random numbers. A reader must give a tensor or NULL with
 * a message, and leave nothing allocated.
 */
#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <teenygrad/teenygrad.h>

static void problem(const char *what) {
  fprintf(stderr, "fuzz_io: %s\n", what);
  abort();
}

/* Reads the file with each reader in turn. Any one may succeed, none may leak. */
static void read_all(const char *path) {
  int64_t bytes = tg_get_counters().bytes;
  TG_SCOPE {
    tg_tensor *a = tg_set_name(tg_zeros(TG_SHAPE(2, 3)), "a");
    if (!tg_load_idx(path) && !tg_error()) problem("tg_load_idx failed without a message");
    if (!tg_load_npy(path) && !tg_error()) problem("tg_load_npy failed without a message");
    if (tg_load_npz(path, TG_LIST(a)) != 0 && !tg_error())
      problem("tg_load_npz failed without a message");
  }
  if (tg_get_counters().bytes != bytes) problem("a reader leaks");
}

static char scratch[] = "/tmp/teenygrad_fuzz_XXXXXX";
static int scratch_fd = -1;

static void remove_scratch(void) { unlink(scratch); }

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (scratch_fd < 0) {
    TG_SCOPE { tg_zeros(TG_SHAPE(1)); } /* what the thread keeps is no leak */
    scratch_fd = mkstemp(scratch);
    atexit(remove_scratch);
  }
  if (scratch_fd < 0 || pwrite(scratch_fd, data, size, 0) != (ssize_t)size ||
      ftruncate(scratch_fd, (off_t)size) != 0)
    problem("cannot write the scratch file");
  read_all(scratch);
  return 0;
}

#ifndef TG_LIBFUZZER /* which brings a main of its own */

static uint64_t state = 88172645463325252u; /* xorshift64, Marsaglia 2003 */
static size_t random_below(size_t n) {
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return (size_t)(state % n);
}

/* A valid file of each kind, into out[]. */
static size_t seed_file(int kind, uint8_t *out, size_t room) {
  static const uint8_t idx[] = {0, 0, 0x0D, 2, 0, 0, 0, 2, 0, 0, 0, 1, 63, 128, 0, 0, 64, 0, 0, 0};
  if (kind == 0) {
    memcpy(out, idx, sizeof idx);
    return sizeof idx;
  }
  size_t size = 0;
  TG_SCOPE {
    tg_tensor *a = tg_set_name(tg_ones(TG_SHAPE(2, 3)), "a");
    int status = kind == 1 ? tg_save_npy(scratch, a) : tg_save_npz(scratch, TG_LIST(a));
    FILE *file = status == 0 ? fopen(scratch, "rb") : NULL;
    if (!file) problem("cannot make the seeds");
    size = fread(out, 1, room, file);
    fclose(file);
  }
  /* Saving has put a new file in the place of the scratch file. */
  close(scratch_fd);
  FILE *again = fopen(scratch, "r+b");
  scratch_fd = again ? dup(fileno(again)) : -1;
  if (again) fclose(again);
  return size;
}

static size_t mutate(uint8_t *data, size_t size) {
  static const uint8_t odd[] = {0, 1, 0x7f, 0x80, 0xff, 0xfe, '(', ')', ',', '\'', '9', 'f'};
  for (size_t times = 1 + random_below(4); times > 0 && size > 1; times--) {
    size_t at = random_below(size);
    switch (random_below(5)) {
    case 0: data[at] ^= (uint8_t)(1u << random_below(8)); break;
    case 1: data[at] = odd[random_below(sizeof odd)]; break;
    case 2: size = at ? at : 1; break;
    case 3: memmove(data + at, data + at / 2, size - at); break;
    default: data[at] = (uint8_t)random_below(256);
    }
  }
  return size;
}

int main(int argc, char **argv) {
  static uint8_t seed[3][4096], data[4096];
  size_t size[3];
  if (argc > 1 && (argv[1][0] < '0' || argv[1][0] > '9')) {
    read_all(argv[1]);
    return 0;
  }
  long rounds = argc > 1 ? atol(argv[1]) : 1000;
  LLVMFuzzerTestOneInput(seed[0], 1);
  for (int kind = 0; kind < 3; kind++) size[kind] = seed_file(kind, seed[kind], sizeof seed[kind]);
  for (long i = 0; i < rounds; i++) {
    int kind = (int)(i % 3);
    memcpy(data, seed[kind], size[kind]);
    LLVMFuzzerTestOneInput(data, i < 3 ? size[kind] : mutate(data, size[kind]));
  }
  printf("%ld files read\n", rounds);
  tg_shutdown();
  return 0;
}
#endif
