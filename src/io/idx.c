/* IDX, the format of MNIST (LeCun): two zero bytes, a type byte, a rank byte,
 * one big-endian 32-bit size per axis, then the elements, big-endian and
 * row-major.
 *
 * A header is a promise that nobody has checked: the reader compares it with
 * the bytes that are there before it allocates anything. A gzipped file does not
 * say its real size reliably; there the promise must stay under what deflate can
 * reach at most, and the stream must end where the elements do.
 */
#include "io/file.h"

#define IDX_CALL "tg_load_idx"

/* Where bytes come from: the file itself, or the unpacked stream. */
typedef struct idx_reader {
  tg_source source;
  uint8_t *packed;
  tg_inflate *inflate;
} idx_reader;

static int idx_read(idx_reader *r, void *out, size_t size) {
  if (!r->inflate) return tg_source_read(&r->source, out, size);
  int64_t got = tg_inflate_read(r->inflate, out, size);
  if (got == (int64_t)size) return 0;
  if (got >= 0)
    tg_fail(IDX_CALL ": %s is truncated: %lld more bytes are missing at its end; fetch it again",
            r->source.path, (long long)((int64_t)size - got));
  return -1;
}

/* The first four bytes decide: 1f 8b starts a gzip file, which has to be in
 * memory as a whole for the stream to start at its first byte. */
static int idx_open(idx_reader *r, const char *path, uint8_t magic[4]) {
  *r = (idx_reader){.source.fd = -1};
  if (tg_source_open(&r->source, IDX_CALL, path) != 0) return -1;
  if (tg_source_read(&r->source, magic, 4) != 0) return -1;
  if (magic[0] != 0x1f || magic[1] != 0x8b) return 0;
  size_t size;
  r->packed = tg_read_file(IDX_CALL, path, &size);
  if (!r->packed) return -1;
  r->inflate = tg_inflate_open(IDX_CALL, path, r->packed, size, true);
  if (!r->inflate) return -1;
  r->source.size = (int64_t)size;
  return idx_read(r, magic, 4);
}

static void idx_close(idx_reader *r) {
  tg_inflate_close(r->inflate);
  tg_free(r->packed);
  tg_source_close(&r->source);
}

static tg_dtype idx_dtype(uint8_t type) {
  switch (type) {
  case 0x08: return TG_UINT8;
  case 0x09: return TG_INT8;
  case 0x0B: return TG_INT16;
  case 0x0C: return TG_INT32;
  case 0x0D: return TG_FLOAT32;
  case 0x0E: return TG_FLOAT64;
  default: return TG_DEFAULT_DTYPE;
  }
}

static int idx_header(idx_reader *r, const uint8_t magic[4], tg_shape *shape, tg_dtype *dtype) {
  const char *path = r->source.path;
  *dtype = idx_dtype(magic[2]);
  *shape = (tg_shape){.ndim = magic[3]};
  if (magic[0] || magic[1]) {
    tg_fail(IDX_CALL ": %s is no IDX file: it starts with %02x %02x %02x %02x instead of "
            "00 00 TYPE RANK", path, magic[0], magic[1], magic[2], magic[3]);
    return -1;
  }
  if (!*dtype) {
    tg_fail(IDX_CALL ": %s has the unknown element type 0x%02x; IDX knows 08 ubyte, 09 byte, "
            "0B short, 0C int, 0D float and 0E double", path, magic[2]);
    return -1;
  }
  if (shape->ndim > TG_MAX_DIMS) {
    tg_fail(IDX_CALL ": %s has rank %d; at most %d are possible", path, shape->ndim, TG_MAX_DIMS);
    return -1;
  }
  for (int i = 0; i < shape->ndim; i++) {
    uint8_t b[4];
    if (idx_read(r, b, 4) != 0) return -1;
    shape->dim[i] = (int64_t)b[0] << 24 | (int64_t)b[1] << 16 | (int64_t)b[2] << 8 | b[3];
  }
  return 0;
}

/* Does the file hold what its header promises? */
static int idx_check(const idx_reader *r, const tg_shape *shape, tg_dtype dtype, int64_t *bytes) {
  *bytes = tg_file_bytes(shape, dtype);
  int64_t have = r->source.left;
  bool fits = r->inflate ? *bytes <= r->source.size * TG_INFLATE_RATIO : *bytes <= have;
  if (*bytes < 0 || !fits) {
    tg_fail(IDX_CALL ": %s is truncated: its header promises %s elements of %s, the file has "
            "%lld bytes; fetch it again", r->source.path, tg_shape_text(shape->dim, shape->ndim),
            tg_dtype_name(dtype), (long long)r->source.size);
    return -1;
  }
  if (!r->inflate && *bytes < have) {
    tg_fail(IDX_CALL ": %s has %lld bytes more than its header %s of %s promises; fetch it again",
            r->source.path, (long long)(have - *bytes), tg_shape_text(shape->dim, shape->ndim),
            tg_dtype_name(dtype));
    return -1;
  }
  return 0;
}

/* A gzipped file must end with its last element. */
static int idx_at_end(idx_reader *r) {
  uint8_t extra;
  int64_t more = r->inflate ? tg_inflate_read(r->inflate, &extra, 1) : 0;
  if (more > 0)
    tg_fail(IDX_CALL ": %s holds more bytes than its header promises; fetch it again",
            r->source.path);
  return more == 0 ? 0 : -1;
}

static tg_tensor *idx_body(idx_reader *r, const uint8_t magic[4]) {
  tg_shape shape;
  tg_dtype dtype;
  int64_t bytes;
  if (idx_header(r, magic, &shape, &dtype) != 0) return NULL;
  if (idx_check(r, &shape, dtype, &bytes) != 0) return NULL;
  void *data = tg_alloc_data(bytes ? (size_t)bytes : 1);
  if (!data) return NULL;
  if (idx_read(r, data, (size_t)bytes) != 0 || idx_at_end(r) != 0) {
    tg_free_data(data);
    return NULL;
  }
  int64_t size = tg_dtype_size(dtype);
  if (!tg_big_endian()) tg_swap_bytes(data, bytes / size, size);
  return tg_adopt(data, &shape, dtype);
}

tg_tensor *tg_load_idx(const char *path) {
  idx_reader r;
  uint8_t magic[4];
  tg_tensor *t = idx_open(&r, path, magic) == 0 ? idx_body(&r, magic) : NULL;
  idx_close(&r);
  return t;
}
