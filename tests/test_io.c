/* Tests of the readers and writers: IDX, npy, npz.
 *
 * Files are written byte by byte here, so that the readers are tested against
 * the formats and not against our own writers. For each hostile file the
 * message is checked, and that nothing stays allocated.
 */
#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif
#include "test.h"

#include <sys/stat.h>
#include <unistd.h>

#define NEAR(a, b) CHECK_CLOSE(a, b, 1e-6, 0)
#define CHECK_TEXT(text, x) \
  test_check((x) ? true : false, __FILE__, __LINE__, "%s: %s", (text), #x)

static char folder[] = "/tmp/teenygrad_io_XXXXXX";
static char path[200];

static void remove_folder(void) {
  char command[100];
  snprintf(command, sizeof command, "rm -rf %s", folder);
  if (system(command) != 0) printf("cannot remove %s\n", folder);
}

/* `path` becomes the name of a file in a folder that is made here. */
static void in_folder(const char *name) {
  static bool made;
  if (!made) {
    made = mkdtemp(folder) != NULL;
    CHECK(made);
    if (made) atexit(remove_folder);
  }
  snprintf(path, sizeof path, "%s/%s", folder, name);
}

static void write_file(const char *name, const void *bytes, size_t size) {
  in_folder(name);
  FILE *file = fopen(path, "wb");
  CHECK(file != NULL);
  if (!file) return;
  CHECK(fwrite(bytes, 1, size, file) == size);
  fclose(file);
}

static size_t read_back(const char *name, void *bytes, size_t room) {
  in_folder(name);
  FILE *file = fopen(path, "rb");
  if (!file) return 0;
  size_t size = fread(bytes, 1, room, file);
  fclose(file);
  return size;
}

/* Files in the folder that a writer has left behind. */
static bool litter(void) {
  char command[300];
  snprintf(command, sizeof command, "ls %s | grep -q part", folder);
  return system(command) == 0;
}

typedef tg_tensor *(*reader)(const char *path);

/* `read` must refuse the file with a message that has `part`, and leak nothing. */
static void refuses(reader read, const char *name, const char *part) {
  tg_clear_error();
  in_folder(name);
  int64_t before = tg_get_counters().bytes;
  tg_tensor *t = read(path);
  const char *error = tg_error();
  CHECK_TEXT(name, t == NULL);
  CHECK_TEXT(part, error && strstr(error, part));
  CHECK_TEXT(name, tg_get_counters().bytes == before);
  if (error && !strstr(error, part)) printf("  %s: %s\n", name, error);
}

static bool has_shape(const tg_tensor *t, tg_shape want) {
  tg_shape have = tg_shape_of(t);
  if (!t || have.ndim != want.ndim) return false;
  for (int i = 0; i < want.ndim; i++)
    if (have.dim[i] != want.dim[i]) return false;
  return true;
}

/* ----------------------------------------------------------------- IDX -- */

static void idx_case(uint8_t type, const void *elements, size_t size, tg_dtype dtype,
                     const double want[2]) {
  uint8_t bytes[64] = {0, 0, type, 1, 0, 0, 0, 2};
  memcpy(bytes + 8, elements, size);
  write_file("a.idx", bytes, 8 + size);
  tg_tensor *t = tg_load_idx(path);
  CHECK(t != NULL);
  CHECK(tg_dtype_of(t) == dtype);
  CHECK(has_shape(t, TG_SHAPE(2)));
  tg_tensor *f = tg_cast(t, TG_FLOAT64);
  for (int i = 0; i < 2; i++) NEAR(tg_item(tg_index(f, TG_AT(i))), want[i]);
}

TEST(io_idx_dtypes) {
  idx_case(0x08, "\x01\xff", 2, TG_UINT8, (double[]){1, 255});
  idx_case(0x09, "\x01\xff", 2, TG_INT8, (double[]){1, -1});
  idx_case(0x0B, "\x01\x02\xff\xfe", 4, TG_INT16, (double[]){258, -2});
  idx_case(0x0C, "\x00\x01\x00\x00\xff\xff\xff\xfd", 8, TG_INT32, (double[]){65536, -3});
  idx_case(0x0D, "\x3f\xc0\x00\x00\xc0\x00\x00\x00", 8, TG_FLOAT32, (double[]){1.5, -2});
  idx_case(0x0E, "\x3f\xf8\0\0\0\0\0\0\xc0\0\0\0\0\0\0\0", 16, TG_FLOAT64, (double[]){1.5, -2});
}

TEST(io_idx_ranks) {
  for (int rank = 0; rank <= 16; rank++) {
    uint8_t bytes[100] = {0, 0, 0x08, (uint8_t)rank};
    tg_shape shape = {.ndim = rank};
    for (int i = 0; i < rank; i++) bytes[4 + 4 * i + 3] = i == 2 ? 3 : 1;
    for (int i = 0; i < rank; i++) shape.dim[i] = i == 2 ? 3 : 1;
    write_file("r.idx", bytes, (size_t)(4 + 4 * rank + (rank > 2 ? 3 : 1)));
    tg_tensor *t = tg_load_idx(path);
    CHECK(t && has_shape(t, shape));
  }
  const uint8_t empty[] = {0, 0, 0x0D, 2, 0, 0, 0, 0, 0, 0, 0, 5};
  write_file("e.idx", empty, sizeof empty);
  tg_tensor *t = tg_load_idx(path);
  CHECK(t && has_shape(t, TG_SHAPE(0, 5)));
}

TEST(io_idx_hostile) {
  static const uint8_t good[] = {0, 0, 0x08, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6, 7};
  for (size_t n = 0; n < 18; n++) {
    write_file("cut.idx", good, n);
    refuses(tg_load_idx, "cut.idx", "truncated");
  }
  write_file("long.idx", good, 19);
  refuses(tg_load_idx, "long.idx", "1 bytes more");
  write_file("magic.idx", "\x89PNG....", 8);
  refuses(tg_load_idx, "magic.idx", "no IDX file");
  write_file("type.idx", "\0\0\x0A\x01\0\0\0\0", 8);
  refuses(tg_load_idx, "type.idx", "type 0x0a");
  write_file("rank.idx", "\0\0\x08\x11\0\0\0\0", 8);
  refuses(tg_load_idx, "rank.idx", "rank 17");
  write_file("huge.idx", "\0\0\x08\x02\x40\0\0\0\x40\0\0\0", 12); /* 2^60 elements */
  refuses(tg_load_idx, "huge.idx", "promises (1073741824, 1073741824)");
  write_file("more.idx", "\0\0\x0E\x03\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 16);
  refuses(tg_load_idx, "more.idx", "promises"); /* 2^99 bytes: beyond int64 */
  refuses(tg_load_idx, "missing.idx", "check the path");
  refuses(tg_load_idx, ".", "not a folder");
  CHECK(tg_load_idx(NULL) == NULL);
  CHECK(tg_error() != NULL);
  in_folder("pipe");
  if (mkfifo(path, 0600) == 0) refuses(tg_load_idx, "pipe", "not a plain file");
}

/* CRC-32, a bit at a time: slow and short, independent of the library's. */
static uint32_t crc32_of(const uint8_t *bytes, size_t size) {
  uint32_t crc = UINT32_MAX;
  for (size_t i = 0; i < size; i++) {
    crc ^= bytes[i];
    for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
  }
  return ~crc;
}

static void put4(uint8_t *to, uint32_t value) {
  for (int i = 0; i < 4; i++) to[i] = (uint8_t)(value >> (8 * i) & 255);
}

/* One gzip member with a stored block. */
static size_t gzip_of(const uint8_t *bytes, size_t size, uint8_t *out) {
  static const uint8_t header[] = {0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 1};
  memcpy(out, header, sizeof header);
  uint8_t *at = out + sizeof header;
  *at++ = (uint8_t)size;
  *at++ = 0;
  *at++ = (uint8_t)~size;
  *at++ = 255;
  memcpy(at, bytes, size);
  put4(at + size, crc32_of(bytes, size));
  put4(at + size + 4, (uint32_t)size);
  return sizeof header + 4 + size + 8;
}

TEST(io_idx_gzip) {
  static const uint8_t idx[] = {0, 0, 0x08, 1, 0, 0, 0, 3, 7, 8, 9, 0};
  uint8_t packed[100];
  size_t size = gzip_of(idx, 11, packed);
  write_file("a.gz", packed, size);
  tg_tensor *t = tg_load_idx(path);
  if (!t) { /* built without zlib: the message says what to do */
    const char *error = tg_error();
    CHECK(error && strstr(error, "gunzip"));
    return;
  }
  NEAR(tg_item(tg_sum(t)), 24);
  for (size_t n = 2; n < size - 8; n++) {
    write_file("cut.gz", packed, n);
    refuses(tg_load_idx, "cut.gz", "");
  }
  size = gzip_of(idx, 12, packed);
  write_file("long.gz", packed, size);
  refuses(tg_load_idx, "long.gz", "more bytes than its header");
  packed[size - 6] ^= 1;
  write_file("crc.gz", packed, size);
  refuses(tg_load_idx, "crc.gz", "");
  size = gzip_of((const uint8_t *)"\0\0\x08\x02\x40\0\0\0\x40\0\0\0", 12, packed);
  write_file("bomb.gz", packed, size);
  refuses(tg_load_idx, "bomb.gz", "promises");
}

/* ----------------------------------------------------------------- npy -- */

/* A .npy file of version 1 with this header text and these bytes. */
static void write_npy(const char *name, const char *header, const void *bytes, size_t size) {
  uint8_t file[600] = "\x93NUMPY\x01";
  size_t length = strlen(header);
  file[7] = 0;
  file[8] = (uint8_t)(length & 255);
  file[9] = (uint8_t)(length >> 8);
  memcpy(file + 10, header, length);
  if (size > 0) memcpy(file + 10 + length, bytes, size);
  write_file(name, file, 10 + length + size);
}

TEST(io_npy_reads) {
  const float f[6] = {0, 1, 2, 3, 4, 5};
  write_npy("f.npy", "{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3), }  \n", f, 24);
  tg_tensor *t = tg_load_npy(path); /* columns 0 1, 2 3, 4 5 */
  CHECK(t && has_shape(t, TG_SHAPE(2, 3)));
  NEAR(tg_item(tg_index(t, TG_AT(0), TG_AT(2))), 4);
  NEAR(tg_item(tg_index(t, TG_AT(1), TG_AT(0))), 1);
  write_npy("b.npy", "{\"shape\":(2,),\"fortran_order\":False,\"descr\":\">i4\"}",
            "\0\0\1\0\xff\xff\xff\xff", 8);
  t = tg_load_npy(path);
  CHECK(t && tg_dtype_of(t) == TG_INT32);
  NEAR(tg_item(tg_sum(t)), 255);
  write_npy("o.npy", "{'descr': '|b1', 'fortran_order': False, 'shape': (3,)}", "\0\x01\x02", 3);
  NEAR(tg_item(tg_sum(tg_load_npy(path))), 2);
  write_npy("s.npy", "{'descr': '<f8', 'fortran_order': False, 'shape': ()}",
            "\0\0\0\0\0\0\xf8\x3f", 8);
  t = tg_load_npy(path);
  CHECK(t && tg_ndim(t) == 0);
  NEAR(tg_item(t), 1.5);
}

/* A stored .npz of one entry, x.npy: a local header, the entry, the directory, its end. */
static void write_npz(const char *name, const uint8_t *entry, size_t size) {
  uint8_t file[1200] = "PK\3\4", *at = file + 30;
  put4(file + 14, crc32_of(entry, size));
  put4(file + 18, (uint32_t)size);
  put4(file + 22, (uint32_t)size);
  file[26] = 5;
  memcpy(at, "x.npy", 5);
  memcpy(at + 5, entry, size);
  at += 5 + size;
  memcpy(at, "PK\1\2", 4);
  memcpy(at + 16, file + 14, 12);
  at[28] = 5;
  memcpy(at + 46, "x.npy", 5);
  memcpy(at + 51, "PK\5\6", 4);
  at[51 + 8] = at[51 + 10] = 1;
  put4(at + 51 + 12, 51);
  put4(at + 51 + 16, (uint32_t)(at - file));
  write_file(name, file, (size_t)(at - file) + 51 + 22);
}

/* 1, 2 and 3 of each dtype, written in either byte order. */
TEST(io_npy_byte_orders) {
  static const struct { tg_dtype dtype; const char *code; } all[] = {
      {TG_INT16, "i2"}, {TG_UINT16, "u2"}, {TG_INT32, "i4"}, {TG_UINT32, "u4"}, {TG_INT64, "i8"},
      {TG_UINT64, "u8"}, {TG_FLOAT16, "f2"}, {TG_FLOAT32, "f4"}, {TG_FLOAT64, "f8"}};
  const uint16_t one = 1;
  bool big = *(const uint8_t *)&one == 0;
  for (int i = 0; i < 18; i++) {
    tg_dtype dtype = all[i / 2].dtype;
    char header[100], order = i % 2 ? '>' : '<';
    uint8_t bytes[24], swapped[24], file[200] = "\x93NUMPY\x01";
    size_t size = (size_t)tg_dtype_size(dtype);
    tg_tensor *t = tg_cast(tg_arange(1, 4), dtype);
    CHECK_INT(tg_to_host(t, bytes, 3 * size), 0);
    bool turns = (order == '>') != big;
    for (size_t k = 0; k < 3 * size; k++)
      swapped[k] = bytes[turns ? k / size * size + size - 1 - k % size : k];
    snprintf(header, sizeof header, "{'descr': '%c%s', 'fortran_order': False, 'shape': (3,)}",
             order, all[i / 2].code);
    write_npy("order.npy", header, swapped, 3 * size);
    tg_tensor *same = tg_load_npy(path);
    CHECK(same && tg_dtype_of(same) == dtype && tg_item(tg_sum(tg_eq(same, t))) == 3);
    write_npy("order.npy", header, swapped, 3 * size - 1);
    CHECK_NULL(tg_load_npy(path), "damaged");
    tg_clear_error();
    file[8] = (uint8_t)strlen(header);
    memcpy(file + 10, header, strlen(header));
    memcpy(file + 10 + strlen(header), swapped, 3 * size);
    write_npz("order.npz", file, 10 + strlen(header) + 3 * size);
    tg_tensor *entry = tg_set_name(tg_zeros(TG_SHAPE(3), .dtype = dtype), "x");
    CHECK_INT(tg_load_npz(path, TG_LIST(entry)), 0);
    CHECK_CLOSE(tg_item(tg_sum(tg_eq(entry, t))), 3, 0, 0);
  }
}

TEST(io_npy_refuses) {
  static const struct {
    const char *header, *part;
  } bad[] = {
      {"", "no dictionary"},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,)", "malformed"},
      {"{'descr': '<f4', 'fortran_order': False}", "lacks a key"},
      {"{'descr': '<f4', 'fortran_order': 0, 'shape': (1,)}", "neither True nor False"},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': 1}", "no tuple"},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}", "malformed"},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (1 1)}", "malformed"},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}", "malformed"},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 4)}", "promises"},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}", "promises"},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (0,)}", "promises"},
      {"{'descr': '<U4', 'fortran_order': False, 'shape': (1,)}", "astype"},
      {"{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", "astype"},
      {"{'descr': '<c8', 'fortran_order': False, 'shape': (1,)}", "astype"},
      {"{'descr': '', 'fortran_order': False, 'shape': (1,)}", "astype"},
      {"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}", "records"},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'x': 1}", "unknown key"},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1)}",
       "more than 16"},
  };
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    write_npy("bad.npy", bad[i].header, "\0\0\x80\x3f", 4);
    refuses(tg_load_npy, "bad.npy", bad[i].part);
  }
  write_file("short.npy", "\x93NUMPY", 6);
  refuses(tg_load_npy, "short.npy", "magic");
  write_file("version.npy", "\x93NUMPY\x09\0\x02\0{}", 12);
  refuses(tg_load_npy, "version.npy", "version");
  write_file("header.npy", "\x93NUMPY\x01\0\xff\xff{}", 12);
  refuses(tg_load_npy, "header.npy", "truncated");
  refuses(tg_load_npy, "missing.npy", "check the path");
}

TEST(io_npy_round_trip) {
  for (int d = TG_BOOL; d < TG_DTYPE_COUNT; d++) {
    if (d == TG_BFLOAT16) continue; /* numpy has none: saved as uint16 */
    tg_tensor *t = tg_cast(tg_sub(tg_arange(0, 12), 3), (tg_dtype)d);
    in_folder("t.npy");
    CHECK(tg_save_npy(path, tg_permute(tg_reshape(t, 3, 4), 1, 0)) == 0);
    tg_tensor *back = tg_load_npy(path);
    CHECK_TEXT(tg_dtype_name((tg_dtype)d), tg_dtype_of(back) == (tg_dtype)d);
    CHECK(has_shape(back, TG_SHAPE(4, 3)));
    NEAR(tg_item(tg_sum(tg_ne(tg_permute(back, 1, 0), tg_reshape(t, 3, 4)))), 0);
  }
  in_folder("t.npy");
  CHECK(tg_save_npy(path, tg_scalar(2.5)) == 0);
  NEAR(tg_item(tg_load_npy(path)), 2.5);
  CHECK(tg_save_npy(path, tg_zeros(TG_SHAPE(2, 0, 3))) == 0);
  CHECK(has_shape(tg_load_npy(path), TG_SHAPE(2, 0, 3)));
  tg_shape deep = {.ndim = 16};
  for (int i = 0; i < 16; i++) deep.dim[i] = 1;
  CHECK(tg_save_npy(path, tg_ones(deep)) == 0);
  CHECK(has_shape(tg_load_npy(path), deep));
}

/* ----------------------------------------------------------------- npz -- */

static tg_tensor *named(const char *name, tg_tensor *t) { return tg_set_name(t, name); }

/* Into tensors of the shapes that were saved; all end in 0 if that fails. */
static int load_pair(const char *file, double *a_sum, double *b_sum) {
  int status = -1;
  TG_SCOPE {
    tg_tensor *a = named("a", tg_zeros(TG_SHAPE(2, 3))), *b = named("b", tg_zeros(TG_SHAPE(4)));
    status = tg_load_npz(file, TG_LIST(b, a));
    const char *kept = status == 0 ? NULL : tg_error();
    *a_sum = tg_item(tg_sum(a));
    *b_sum = tg_item(tg_sum(b));
    CHECK((status == 0) == (kept == NULL));
  }
  return status;
}

static void save_pair(const char *name) {
  TG_SCOPE {
    in_folder(name);
    CHECK(tg_save_npz(path, TG_LIST(named("a", tg_ones(TG_SHAPE(2, 3))),
                                    named("b", tg_full(TG_SHAPE(4), 0.5)))) == 0);
  }
}

TEST(io_npz_round_trip) {
  double a = 0, b = 0;
  uint8_t first[4000], second[4000];
  save_pair("p.npz");
  CHECK(load_pair(path, &a, &b) == 0);
  NEAR(a, 6);
  NEAR(b, 2);
  size_t size = read_back("p.npz", first, sizeof first);
  save_pair("q.npz");
  CHECK(size > 0 && size == read_back("q.npz", second, sizeof second));
  CHECK(memcmp(first, second, size) == 0); /* the same tensors, the same file */

  tg_tensor *h = named("h", tg_full(TG_SHAPE(3), 1.5, .dtype = TG_BFLOAT16));
  tg_tensor *e = named("e", tg_zeros(TG_SHAPE(0, 2))), *s = named("s", tg_scalar(7));
  in_folder("h.npz");
  CHECK(tg_save_npz(path, TG_LIST(h, e, s)) == 0);
  tg_tensor *h2 = named("h", tg_zeros(TG_SHAPE(3), .dtype = TG_BFLOAT16));
  tg_tensor *s2 = named("s", tg_scalar(0));
  CHECK(tg_load_npz(path, TG_LIST(h2, e, s2)) == 0);
  NEAR(tg_item(tg_sum(tg_float(h2))), 4.5);
  NEAR(tg_item(s2), 7);
  CHECK(tg_save_npz(path, (tg_list){0, NULL}) == 0);
  CHECK(tg_load_npz(path, (tg_list){0, NULL}) == 0);
}

TEST(io_npz_refuses) {
  tg_tensor *a = named("a", tg_zeros(TG_SHAPE(2, 3))), *b = named("b", tg_zeros(TG_SHAPE(4)));
  tg_tensor *odd = named("b", tg_zeros(TG_SHAPE(5))), *nobody = tg_zeros(TG_SHAPE(1));
  tg_tensor *whole = named("b", tg_zeros(TG_SHAPE(4), .dtype = TG_INT32));
  tg_tensor *c = named("c", tg_zeros(TG_SHAPE(1)));
  save_pair("p.npz");
  CHECK_FAILS(tg_load_npz(path, TG_LIST(a, odd)), "(4,) of float32, but the tensor is (5,)");
  CHECK_FAILS(tg_load_npz(path, TG_LIST(a, whole)), "int32");
  CHECK_FAILS(tg_load_npz(path, TG_LIST(a)), "b.npy, which nobody asked for");
  CHECK_FAILS(tg_load_npz(path, TG_LIST(a, b, c)), "no array named c");
  CHECK_FAILS(tg_load_npz(path, TG_LIST(a, nobody)), "tg_set_name");
  CHECK_FAILS(tg_load_npz(path, TG_LIST(a, a)), "two tensors are named a");
  CHECK_FAILS(tg_load_npz(path, TG_LIST(a, (tg_tensor *)NULL)), "NULL");
  NEAR(tg_item(tg_sum(a)), 0); /* nothing was assigned */
  CHECK_FAILS(tg_save_npz(path, TG_LIST(nobody)), "tg_set_name");
  CHECK_FAILS(tg_save_npz(path, TG_LIST(a, a)), "two tensors are named a");
  CHECK_FAILS(tg_save_npz(NULL, TG_LIST(a)), "NULL");
  CHECK_FAILS(tg_save_npz(folder, TG_LIST(a)), "not a folder");
  in_folder("nowhere/x.npz");
  CHECK_FAILS(tg_save_npz(path, TG_LIST(a)), "check the path");
  CHECK_FAILS(tg_save_npz("/dev/null", TG_LIST(a)), "not a plain file");
  in_folder("missing.npz");
  CHECK_FAILS(tg_load_npz(path, TG_LIST(a)), "check the path");
  CHECK(!litter());
}

/* Every truncation and every flipped byte: refused, or harmless; no leak. */
TEST(io_npz_damaged) {
  uint8_t good[4000], bad[4000];
  double a, b;
  save_pair("p.npz");
  CHECK(load_pair(path, &a, &b) == 0); /* caches fill now */
  size_t size = read_back("p.npz", good, sizeof good);
  write_file("cut.npz", good, 1);
  CHECK(load_pair(path, &a, &b) == -1);
  int64_t before = tg_get_counters().bytes;
  for (size_t n = 0; n < size; n += 7) {
    write_file("cut.npz", good, n);
    CHECK(load_pair(path, &a, &b) == -1);
    CHECK(a == 0 && b == 0);
  }
  for (size_t i = 0; i < size; i += 3) {
    memcpy(bad, good, size);
    bad[i] ^= 0x41;
    write_file("flip.npz", bad, size);
    if (load_pair(path, &a, &b) != 0) CHECK(a == 0 && b == 0);
    else CHECK(a == 6 && b == 2); /* a date, a version: bytes that do not matter */
  }
  CHECK(tg_get_counters().bytes == before);
}

/* A save that fails leaves the old file; one that succeeds keeps its mode. */
TEST(io_npz_in_place) {
  struct stat status;
  uint8_t before[4000], after[4000];
  save_pair("p.npz");
  CHECK(chmod(path, 0640) == 0);
  save_pair("p.npz");
  CHECK(stat(path, &status) == 0 && (status.st_mode & 0777) == 0640);
  size_t size = read_back("p.npz", before, sizeof before);
  CHECK_FAILS(tg_save_npz(path, TG_LIST(tg_zeros(TG_SHAPE(1)))), "no name");
  CHECK(size == read_back("p.npz", after, sizeof after));
  CHECK(memcmp(before, after, size) == 0);
  CHECK(!litter());
}

/* ---- where a file is written */

static void at(char *out, const char *name) { snprintf(out, 900, "%s/%s", folder, name); }

/* Saves n to a name, and reads it back by another. */
static void saved_as(const char *name, const char *by, double n) {
  char to[900];
  at(to, name);
  CHECK_OK(tg_save_npy(to, tg_full(TG_SHAPE(2), n)) == 0);
  at(to, by);
  CHECK_VALUES(tg_load_npy(to), 0, 0, n, n);
  CHECK(!litter());
}

static bool is_link(const char *name) {
  char to[900];
  struct stat status;
  at(to, name);
  return lstat(to, &status) == 0 && S_ISLNK(status.st_mode);
}

static void make_link(const char *leads_to, const char *name) {
  char to[900];
  at(to, name);
  unlink(to);
  CHECK_INT(symlink(leads_to, to), 0);
}

/* Links stay; what they lead to is written, beside itself, be it there yet or not. */
TEST(io_save_through_links) {
  char inner[900], loop[900];
  in_folder("x");
  at(inner, "inner");
  mkdir(inner, 0755);
  make_link("inner/file.npy", "first");
  make_link("first", "second");
  saved_as("first", "inner/file.npy", 1);
  saved_as("second", "inner/file.npy", 2);
  at(inner, "inner/far.npy");
  make_link(inner, "absolute");
  saved_as("absolute", "inner/far.npy", 3);
  make_link("../up.npy", "inner/up");
  saved_as("inner/up", "up.npy", 4);
  CHECK(is_link("first") && is_link("second") && is_link("absolute") && is_link("inner/up"));
  make_link("there", "here");
  make_link("here", "there");
  at(loop, "here");
  CHECK_FAILS(tg_save_npy(loop, tg_ones(TG_SHAPE(2))), "lead to one another");
  make_link("nowhere/file.npy", "dangling");
  at(loop, "dangling");
  CHECK_FAILS(tg_save_npy(loop, tg_ones(TG_SHAPE(2))), "cannot create");
  make_link("inner", "folder");
  at(loop, "folder");
  CHECK_FAILS(tg_save_npy(loop, tg_ones(TG_SHAPE(2))), "name a file");
  CHECK(is_link("here") && is_link("there") && is_link("dangling") && is_link("folder"));
}

/* Every name that the system takes is taken. */
TEST(io_save_long_names) {
  char name[300], to[900];
  in_folder("x");
  for (int length = 240; length <= 257; length++) {
    memset(name, 'n', sizeof name);
    name[length] = 0;
    at(to, name);
    if (length <= 255) saved_as(name, name, length);
    else CHECK_FAILS(tg_save_npy(to, tg_ones(TG_SHAPE(2))), "choose a shorter name");
    unlink(to);
  }
  CHECK(!litter());
}

TEST(io_mnist_files) {
  tg_tensor *images = tg_load_idx(TG_TEST_DATA "/mnist/t10k-images-idx3-ubyte");
  tg_tensor *labels = tg_load_idx(TG_TEST_DATA "/mnist/t10k-labels-idx1-ubyte");
  CHECK(images && has_shape(images, TG_SHAPE(10000, 28, 28)));
  CHECK(labels && has_shape(labels, TG_SHAPE(10000)));
  CHECK(tg_item_int(tg_sum(labels)) == 44434);
}

TEST(io_progress_is_silent) {
  tg_progress bar = tg_progress_begin("test", 3);
  bar.visible = false;
  for (int i = 0; i < 3; i++) tg_progress_step(&bar, "%d", i);
  CHECK(bar.done == 3);
  tg_progress_end(&bar);
  tg_progress_step(NULL, "%d", 1);
  tg_progress_end(NULL);
}

/* ----------------------------------------------------- memory runs out -- */

static long calls, fail_at; /* 0: never */
static bool failed;

static void *failing_alloc(size_t size, void *user) {
  (void)user;
  if (++calls != fail_at) return malloc(size);
  failed = true;
  return NULL;
}

static void failing_release(void *memory, size_t size, void *user) {
  (void)size;
  (void)user;
  free(memory);
}

/* Everything in one go; false when something failed. */
static bool read_and_write(void) {
  bool done = false;
  TG_SCOPE {
    in_folder("m.idx");
    tg_tensor *idx = tg_load_idx(path);
    in_folder("m.gz");
    tg_tensor *gz = access(path, F_OK) == 0 ? tg_load_idx(path) : idx;
    in_folder("m.npy");
    tg_tensor *a = named("a", tg_cast(idx, TG_FLOAT32)), *b = named("b", tg_zeros(TG_SHAPE(3)));
    if (!idx || !gz || tg_save_npy(path, a) != 0 || !tg_load_npy(path)) return false;
    in_folder("m.npz");
    if (tg_save_npz(path, TG_LIST(a, b)) != 0) return false;
    tg_tensor *c = named("a", tg_zeros(TG_SHAPE(3))), *d = named("b", tg_ones(TG_SHAPE(3)));
    if (!c || !d) return false;
    bool loaded = tg_load_npz(path, TG_LIST(c, d)) == 0;
    long failing = fail_at;
    fail_at = 0; /* looking needs memory too */
    NEAR(tg_item(tg_sum(c)), loaded ? 24 : 0);
    NEAR(tg_item(tg_sum(d)), loaded ? 0 : 3);
    fail_at = failing;
    done = loaded;
  }
  return done;
}

static void write_memory_files(void) {
  static const uint8_t idx[] = {0, 0, 0x08, 1, 0, 0, 0, 3, 7, 8, 9};
  uint8_t packed[100];
  size_t size = gzip_of(idx, 11, packed);
  write_file("m.idx", idx, 11);
  write_file("m.gz", packed, size);
  tg_tensor *t = tg_load_idx(path);
  if (!t) remove(path); /* no zlib */
}

TEST(io_memory) {
  write_memory_files();
  tg_shutdown(); /* closes the harness's scope as well */
  const tg_allocator failing = {failing_alloc, failing_release, NULL};
  CHECK_OK(tg_set_allocator(&failing) == 0);
  bool done = false;
  for (long n = 1; !done && n < 10000; n++) {
    tg_clear_error();
    calls = 0;
    failed = false;
    fail_at = n;
    done = read_and_write();
    fail_at = 0;
    const char *error = tg_error();
    CHECK(done ? !failed : error && strstr(error, "out of memory"));
    if (done == failed) printf("  at %ld: %s\n", n, error ? error : "no message");
    tg_shutdown();
    tg_counters now = tg_get_counters();
    CHECK_INT(now.bytes, 0);
    CHECK_INT(now.tensors + now.nodes + now.buffers, 0);
  }
  CHECK(done);
  CHECK(!litter());
  CHECK_OK(tg_set_allocator(NULL) == 0);
}
