/* numpy's .npy format (NEP 1): the magic bytes, a version, the length of the
 * header, then the header as the text of a Python dictionary,
 *
 *     {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }
 *
 * and the elements. The parser reads just this dictionary, in any order of its
 * keys, and nothing else of Python. Every length is checked against the bytes
 * that are there before memory is asked for.
 */
#include "io/npy.h"

#include <stdio.h>

/* What a header says. */
typedef struct npy_array {
  tg_dtype dtype;
  bool swapped, fortran;
  tg_shape shape;
} npy_array;

/* The part of the header not read yet, and who asks. */
typedef struct npy_text {
  const char *at, *end;
  const char *call, *where;
} npy_text;

/* -------------------------------------------------------------- header -- */

static int npy_fail(const npy_text *t, const char *what) {
  tg_fail("%s: %s: %s; save the array again with numpy.save", t->call, t->where, what);
  return -1;
}

static void npy_blank(npy_text *t) {
  while (t->at < t->end && (*t->at == ' ' || *t->at == '\n' || *t->at == '\t')) t->at++;
}

/* Takes `c` if it comes next. */
static bool npy_take(npy_text *t, char c) {
  npy_blank(t);
  if (t->at == t->end || *t->at != c) return false;
  t->at++;
  return true;
}

static bool npy_word(npy_text *t, const char *word) {
  size_t length = strlen(word);
  npy_blank(t);
  if ((size_t)(t->end - t->at) < length || memcmp(t->at, word, length) != 0) return false;
  t->at += length;
  return true;
}

/* A quoted string without escapes, at most size - 1 bytes. */
static bool npy_string(npy_text *t, char *out, size_t size) {
  npy_blank(t);
  if (t->at == t->end || (*t->at != '\'' && *t->at != '"')) return false;
  char quote = *t->at++;
  size_t length = 0;
  while (t->at < t->end && *t->at != quote && length + 1 < size) out[length++] = *t->at++;
  out[length] = 0;
  return t->at < t->end && *t->at++ == quote;
}

static bool npy_number(npy_text *t, int64_t *out) {
  npy_blank(t);
  const char *start = t->at;
  *out = 0;
  for (; t->at < t->end && *t->at >= '0' && *t->at <= '9'; t->at++) {
    if (*out > (INT64_MAX - 9) / 10) return false;
    *out = *out * 10 + (*t->at - '0');
  }
  return t->at > start;
}

static int npy_shape(npy_text *t, tg_shape *shape) {
  *shape = (tg_shape){0};
  if (!npy_take(t, '(')) return npy_fail(t, "the header's shape is no tuple");
  while (!npy_take(t, ')')) {
    int64_t size;
    if (!npy_number(t, &size)) return npy_fail(t, "the header's shape is malformed");
    if (shape->ndim == TG_MAX_DIMS) {
      tg_fail("%s: %s has more than %d dimensions; reshape it first", t->call, t->where,
              TG_MAX_DIMS);
      return -1;
    }
    shape->dim[shape->ndim++] = size;
    if (!npy_take(t, ',') && (npy_blank(t), t->at == t->end || *t->at != ')'))
      return npy_fail(t, "the header's shape is malformed");
  }
  return 0;
}

/* Type letter and size, as in '<f4', by dtype. */
static const char npy_code[TG_DTYPE_COUNT][3] = {
    [TG_BOOL] = "b1",   [TG_INT8] = "i1",    [TG_UINT8] = "u1",   [TG_INT16] = "i2",
    [TG_UINT16] = "u2", [TG_INT32] = "i4",   [TG_UINT32] = "u4",  [TG_INT64] = "i8",
    [TG_UINT64] = "u8", [TG_FLOAT16] = "f2", [TG_BFLOAT16] = "u2", [TG_FLOAT32] = "f4",
    [TG_FLOAT64] = "f8",
};

static int npy_dtype(npy_text *t, npy_array *a) {
  char code[16];
  if (!npy_string(t, code, sizeof code)) return npy_fail(t, "records are not supported");
  char order = code[0];
  if (order && strchr("<>|=", order))
    for (int d = TG_BOOL; d < TG_DTYPE_COUNT; d++)
      if (d != TG_BFLOAT16 && strcmp(code + 1, npy_code[d]) == 0) a->dtype = (tg_dtype)d;
  if (!a->dtype) {
    tg_fail("%s: %s has the dtype '%s', which is no number that tensors know; convert it with "
            "astype first", t->call, t->where, code);
    return -1;
  }
  a->swapped = order == (tg_big_endian() ? '<' : '>');
  return 0;
}

static int npy_order(npy_text *t, npy_array *a) {
  a->fortran = npy_word(t, "True");
  if (a->fortran || npy_word(t, "False")) return 0;
  return npy_fail(t, "the header's fortran_order is neither True nor False");
}

static int npy_dictionary(npy_text *t, npy_array *a) {
  bool order = false, shape = false;
  if (!npy_take(t, '{')) return npy_fail(t, "the header is no dictionary");
  while (!npy_take(t, '}')) {
    char key[16];
    int status = -1;
    if (!npy_string(t, key, sizeof key) || !npy_take(t, ':'))
      return npy_fail(t, "the header is malformed");
    if (strcmp(key, "descr") == 0) status = npy_dtype(t, a);
    else if (strcmp(key, "fortran_order") == 0) order = true, status = npy_order(t, a);
    else if (strcmp(key, "shape") == 0) shape = true, status = npy_shape(t, &a->shape);
    else return npy_fail(t, "the header has an unknown key");
    if (status != 0) return status;
    if (!npy_take(t, ',') && (npy_blank(t), t->at == t->end || *t->at != '}'))
      return npy_fail(t, "the header is malformed");
  }
  if (!a->dtype || !order || !shape) return npy_fail(t, "the header lacks a key");
  return 0;
}

/* Reads everything before the elements; *offset is where they start. */
static int npy_read_header(npy_text *t, const uint8_t *bytes, size_t size, npy_array *a,
                           size_t *offset) {
  if (size < 12 || memcmp(bytes, "\x93NUMPY", 6) != 0)
    return npy_fail(t, "it is no .npy file: the magic bytes are missing");
  size_t start = bytes[6] == 1 ? 10 : 12;
  size_t length = bytes[8] | (size_t)bytes[9] << 8;
  if (bytes[6] < 1 || bytes[6] > 3) return npy_fail(t, "its format version is unknown");
  if (bytes[6] > 1) length |= (size_t)bytes[10] << 16 | (size_t)bytes[11] << 24;
  if (length > size - start) return npy_fail(t, "it is truncated inside the header");
  t->at = (const char *)bytes + start;
  t->end = t->at + length;
  *offset = start + length;
  *a = (npy_array){0};
  return npy_dictionary(t, a);
}

/* ------------------------------------------------------------ elements -- */

/* Column-major to row-major: walks the output, last axis fastest, and keeps
 * the position in the input up to date. */
static void npy_transpose(const uint8_t *in, uint8_t *out, const tg_shape *shape, int64_t size,
                          int64_t numel) {
  int64_t at[TG_MAX_DIMS] = {0}, step[TG_MAX_DIMS] = {0};
  int64_t from = 0, product = size;
  for (int i = 0; i < shape->ndim; i++) {
    step[i] = product;
    product *= shape->dim[i];
  }
  for (; numel > 0; numel--, out += size) {
    memcpy(out, in + from, (size_t)size);
    for (int i = shape->ndim - 1; i >= 0; i--) {
      from += step[i];
      if (++at[i] < shape->dim[i]) break;
      from -= step[i] * shape->dim[i];
      at[i] = 0;
    }
  }
}

/* A bool is 0 or 1 in memory, whatever a file says. */
static void npy_clean_bool(uint8_t *data, int64_t numel) {
  for (int64_t i = 0; i < numel; i++) data[i] = data[i] != 0;
}

static tg_tensor *npy_elements(const npy_array *a, const uint8_t *bytes, int64_t total) {
  int64_t size = tg_dtype_size(a->dtype), numel = total / size;
  uint8_t *data = tg_alloc_data(total ? (size_t)total : 1);
  if (!data) return NULL;
  if (a->fortran && a->shape.ndim > 1) npy_transpose(bytes, data, &a->shape, size, numel);
  else if (total > 0) memcpy(data, bytes, (size_t)total);
  if (a->swapped) tg_swap_bytes(data, numel, size);
  if (a->dtype == TG_BOOL) npy_clean_bool(data, numel);
  return tg_adopt(data, &a->shape, a->dtype);
}

tg_tensor *tg_npy_parse(const char *call, const char *where, const uint8_t *bytes, size_t size) {
  npy_text t = {.call = call, .where = where};
  npy_array a;
  size_t offset;
  if (npy_read_header(&t, bytes, size, &a, &offset) != 0) return NULL;
  int64_t total = tg_file_bytes(&a.shape, a.dtype);
  if (total < 0 || (uint64_t)total != size - offset) {
    tg_fail("%s: %s is damaged: its header promises %s elements of %s, %zu bytes follow; save it "
            "again", call, where, tg_shape_text(a.shape.dim, a.shape.ndim),
            tg_dtype_name(a.dtype), size - offset);
    return NULL;
  }
  return npy_elements(&a, bytes + offset, total);
}

tg_tensor *tg_load_npy(const char *path) {
  size_t size;
  uint8_t *bytes = tg_read_file("tg_load_npy", path, &size);
  if (!bytes) return NULL;
  tg_tensor *t = tg_npy_parse("tg_load_npy", path, bytes, size);
  tg_free(bytes);
  return t;
}

/* ------------------------------------------------------------- writing -- */

/* "(2, 3, )": numpy accepts the comma that a tuple of one needs anyway. */
static int npy_shape_text(const tg_tensor *t, char *out, size_t size) {
  tg_shape shape = tg_shape_of(t);
  int length = snprintf(out, size, "(");
  for (int i = 0; i < shape.ndim; i++)
    length += snprintf(out + length, size - (size_t)length, "%lld,%s", (long long)shape.dim[i],
                       i + 1 < shape.ndim ? " " : "");
  return length + snprintf(out + length, size - (size_t)length, ")");
}

/* Filled up with blanks, so that the elements start at a multiple of 64. */
size_t tg_npy_header(const tg_tensor *t, char out[TG_NPY_HEADER]) {
  const char *code = npy_code[tg_dtype_of(t)];
  char order = code[1] == '1' ? '|' : tg_big_endian() ? '>' : '<';
  char *text = out + 10;
  int length = snprintf(text, TG_NPY_HEADER - 10,
                        "{'descr': '%c%s', 'fortran_order': False, 'shape': ", order, code);
  length += npy_shape_text(t, text + length, (size_t)(TG_NPY_HEADER - 10 - length));
  length += snprintf(text + length, (size_t)(TG_NPY_HEADER - 10 - length), ", }");
  size_t total = ((size_t)length + 11 + 63) / 64 * 64;
  memset(text + length, ' ', total - 10 - (size_t)length);
  out[total - 1] = '\n';
  memcpy(out, "\x93NUMPY\x01\x00", 8);
  out[8] = (char)(uint8_t)((total - 10) & 255);
  out[9] = (char)(uint8_t)((total - 10) >> 8);
  return total;
}

int tg_save_npy(const char *path, tg_tensor *t) {
  char header[TG_NPY_HEADER];
  tg_sink sink;
  if (!t) {
    tg_null_argument("tg_save_npy");
    return -1;
  }
  const void *data = tg_data(t);
  if (!data && tg_numel(t) != 0) return -1;
  if (tg_sink_open(&sink, "tg_save_npy", path) != 0) return -1;
  if (tg_sink_write(&sink, header, tg_npy_header(t, header)) == 0 &&
      (!data || tg_sink_write(&sink, data, (size_t)tg_nbytes(t)) == 0))
    return tg_sink_commit(&sink);
  tg_sink_abort(&sink);
  return -1;
}
