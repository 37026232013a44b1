/* .npz: a zip archive (PKWARE APPNOTE) with one .npy file per array, as
 * numpy.savez writes it and numpy.load reads it.
 *
 * A zip is read from its end: the end record points to the central directory,
 * whose entries point to the arrays. Local headers repeat the entries and are
 * only used to step over them (numpy leaves their sizes open). Arrays are
 * written stored, with a fixed date: the same weights make the same file, byte
 * for byte. Archives of 4 GiB and more would need zip64 and are refused.
 *
 * Loading makes all the new values first and assigns them only when each has
 * been found, read and checked, so that a model is never half loaded.
 */
#include "io/npy.h"
#include "tensor/tensor.h"

#include <stdio.h>

#define NPZ_LIMIT INT64_C(0xfffffffe)

/* ----------------------------------------------------- numbers and sums -- */

static uint16_t npz_get2(const uint8_t *p) { return (uint16_t)(p[0] | p[1] << 8); }
static uint32_t npz_get4(const uint8_t *p) { return npz_get2(p) | (uint32_t)npz_get2(p + 2) << 16; }

static uint8_t *npz_put2(uint8_t *p, uint32_t value) {
  *p++ = (uint8_t)(value & 255);
  *p++ = (uint8_t)(value >> 8 & 255);
  return p;
}
static uint8_t *npz_put4(uint8_t *p, uint32_t value) {
  return npz_put2(npz_put2(p, value), value >> 16);
}

/* CRC-32 (ISO 3309), a byte at a time. */
typedef struct npz_crc {
  uint32_t table[256];
} npz_crc;

static void npz_crc_start(npz_crc *c) {
  for (uint32_t i = 0; i < 256; i++) {
    uint32_t value = i;
    for (int bit = 0; bit < 8; bit++) value = value >> 1 ^ (value & 1 ? 0xedb88320u : 0);
    c->table[i] = value;
  }
}

static uint32_t npz_crc_add(const npz_crc *c, uint32_t crc, const void *data, size_t size) {
  const uint8_t *byte = data;
  crc = ~crc;
  for (; size > 0; size--) crc = crc >> 8 ^ c->table[(crc ^ *byte++) & 255];
  return ~crc;
}

/* What a list of tensors needs to be saved or loaded: each one there, named,
 * and no name twice. */
static int npz_check_names(const char *call, tg_list list) {
  if (!tg_is_list(call, list)) return -1;
  for (int64_t i = 0; i < list.count; i++) {
    const tg_tensor *t = list.items[i];
    const char *name = tg_name(t);
    if (!name || !*name || strlen(name) > 60000) {
      tg_shape shape = tg_shape_of(t);
      tg_fail("%s: tensor %lld, of shape %s, has %s; give it one with tg_set_name", call,
              (long long)i, tg_shape_text(shape.dim, shape.ndim),
              name && *name ? "too long a name" : "no name");
      return -1;
    }
    for (int64_t j = 0; j < i; j++)
      if (strcmp(tg_name(list.items[j]), name) == 0) {
        tg_fail("%s: two tensors are named %s; rename one with tg_set_name", call, name);
        return -1;
      }
  }
  return 0;
}

static const char *npz_suffix(const tg_tensor *t) {
  return tg_dtype_of(t) == TG_BFLOAT16 ? ".bf16.npy" : ".npy";
}

/* ------------------------------------------------------------- writing -- */

/* One array on its way into the archive. */
typedef struct npz_out {
  const tg_tensor *t;
  const void *data;
  char header[TG_NPY_HEADER];
  size_t header_size;
  uint32_t crc, size, offset;
} npz_out;

static int npz_write_name(tg_sink *s, const npz_out *e) {
  const char *name = tg_name(e->t), *suffix = npz_suffix(e->t);
  int status = tg_sink_write(s, name, strlen(name));
  return status ? status : tg_sink_write(s, suffix, strlen(suffix));
}

/* What local header and central entry have in common: version to .. name size. */
static uint8_t *npz_common(uint8_t *p, const npz_out *e) {
  p = npz_put2(p, 20);     /* version needed: 2.0 */
  p = npz_put2(p, 0x0800); /* names are UTF-8 */
  p = npz_put2(p, 0);      /* stored */
  p = npz_put4(p, 0x00210000); /* 1 January 1980, 00:00 */
  p = npz_put4(p, e->crc);
  p = npz_put4(p, e->size);
  p = npz_put4(p, e->size);
  p = npz_put2(p, (uint32_t)(strlen(tg_name(e->t)) + strlen(npz_suffix(e->t))));
  return npz_put2(p, 0); /* no extra field */
}

static int npz_write_array(tg_sink *s, npz_out *e, const npz_crc *crc) {
  uint8_t record[30];
  int64_t bytes = tg_nbytes(e->t), total = bytes + (int64_t)e->header_size;
  if (bytes > NPZ_LIMIT || s->written + total > NPZ_LIMIT - 100000) {
    tg_fail("%s: the archive would exceed 4 GiB; save fewer tensors per file or use tg_save_npy",
            s->call);
    return -1;
  }
  e->offset = (uint32_t)s->written;
  e->size = (uint32_t)total;
  e->crc = npz_crc_add(crc, 0, e->header, e->header_size);
  e->crc = npz_crc_add(crc, e->crc, e->data, (size_t)bytes);
  npz_common(npz_put4(record, 0x04034b50), e);
  if (tg_sink_write(s, record, sizeof record) != 0 || npz_write_name(s, e) != 0) return -1;
  if (tg_sink_write(s, e->header, e->header_size) != 0) return -1;
  return tg_sink_write(s, e->data, (size_t)bytes);
}

static int npz_write_entry(tg_sink *s, const npz_out *e) {
  uint8_t record[46], *p = npz_put4(record, 0x02014b50);
  p = npz_common(npz_put2(p, 20), e); /* made by version 2.0 */
  p = npz_put2(p, 0);                 /* no comment */
  p = npz_put2(p, 0);                 /* first disk */
  p = npz_put2(p, 0);                 /* attributes */
  p = npz_put4(p, 0);
  npz_put4(p, e->offset);
  int status = tg_sink_write(s, record, sizeof record);
  return status ? status : npz_write_name(s, e);
}

static int npz_write_end(tg_sink *s, int64_t count, int64_t start) {
  uint8_t record[22], *p = npz_put4(record, 0x06054b50);
  int64_t size = s->written - start;
  if (s->written > NPZ_LIMIT) {
    tg_fail("%s: the archive would exceed 4 GiB; save fewer tensors per file", s->call);
    return -1;
  }
  p = npz_put4(p, 0); /* one disk */
  p = npz_put2(p, (uint32_t)count);
  p = npz_put2(p, (uint32_t)count);
  p = npz_put4(p, (uint32_t)size);
  p = npz_put4(p, (uint32_t)start);
  npz_put2(p, 0); /* no comment */
  return tg_sink_write(s, record, sizeof record);
}

static int npz_write(tg_sink *s, npz_out *entries, int64_t count) {
  npz_crc crc;
  npz_crc_start(&crc);
  for (int64_t i = 0; i < count; i++)
    if (npz_write_array(s, &entries[i], &crc) != 0) return -1;
  int64_t start = s->written;
  for (int64_t i = 0; i < count; i++)
    if (npz_write_entry(s, &entries[i]) != 0) return -1;
  return npz_write_end(s, count, start);
}

/* Headers and pointers to the elements, before a file is touched. */
static npz_out *npz_prepare(tg_list tensors) {
  npz_out *entries = tg_alloc_zero((size_t)(tensors.count + 1) * sizeof *entries);
  for (int64_t i = 0; entries && i < tensors.count; i++) {
    npz_out *e = &entries[i];
    e->t = tensors.items[i];
    e->data = tg_data(tensors.items[i]);
    e->header_size = tg_npy_header(e->t, e->header);
    if (!e->data && tg_numel(e->t) != 0) {
      tg_free(entries);
      return NULL;
    }
  }
  return entries;
}

int tg_save_npz(const char *path, tg_list tensors) {
  tg_sink sink;
  if (npz_check_names("tg_save_npz", tensors) != 0) return -1;
  if (tensors.count > 65534) {
    tg_fail("tg_save_npz: %lld tensors; a zip holds at most 65534, use several files",
            (long long)tensors.count);
    return -1;
  }
  if (tensors.count > 0 && tg_corealize(tensors) != 0) return -1;
  npz_out *entries = npz_prepare(tensors);
  if (!entries) return -1;
  int status = tg_sink_open(&sink, "tg_save_npz", path);
  if (status == 0 && npz_write(&sink, entries, tensors.count) == 0) status = tg_sink_commit(&sink);
  else if (status == 0) status = -1, tg_sink_abort(&sink);
  tg_free(entries);
  return status;
}

/* ------------------------------------------------------------- reading -- */

typedef struct npz_in {
  const char *name; /* not ended by 0 */
  size_t name_size;
  const uint8_t *data;
  uint32_t crc, packed, size;
  bool deflated, used;
} npz_in;

typedef struct npz_archive {
  const char *call, *path;
  uint8_t *bytes;
  size_t size;
  npz_in *entries;
  int64_t count;
} npz_archive;

static int npz_fail(const npz_archive *z, const char *what) {
  tg_fail("%s: %s: %s; save it again with tg_save_npz or numpy.savez", z->call, z->path, what);
  return -1;
}

/* The end record lies at the end, before a comment of a length that it says. */
static const uint8_t *npz_find_end(const npz_archive *z) {
  for (size_t back = 22; back <= z->size && back <= 22 + 65535; back++) {
    const uint8_t *p = z->bytes + (z->size - back);
    if (npz_get4(p) == 0x06054b50 && npz_get2(p + 20) == back - 22) return p;
  }
  return NULL;
}

/* Steps over the local header to the data of the entry. */
static int npz_locate(const npz_archive *z, npz_in *e, uint32_t offset) {
  if (offset > z->size || z->size - offset < 30) return npz_fail(z, "an entry lies outside");
  const uint8_t *local = z->bytes + offset;
  if (npz_get4(local) != 0x04034b50) return npz_fail(z, "an entry has no local header");
  size_t skip = 30u + npz_get2(local + 26) + npz_get2(local + 28);
  if (skip > z->size - offset || e->packed > z->size - offset - skip)
    return npz_fail(z, "an entry lies outside");
  e->data = local + skip;
  return 0;
}

/* One entry of the central directory; *at moves behind it. */
static int npz_read_entry(const npz_archive *z, npz_in *e, const uint8_t **at,
                          const uint8_t *end) {
  const uint8_t *p = *at;
  if (end - p < 46 || npz_get4(p) != 0x02014b50) return npz_fail(z, "its directory is damaged");
  unsigned flags = npz_get2(p + 8), method = npz_get2(p + 10);
  size_t name = npz_get2(p + 28);
  size_t total = 46 + name + npz_get2(p + 30) + npz_get2(p + 32);
  if ((size_t)(end - p) < total) return npz_fail(z, "its directory is damaged");
  *e = (npz_in){.name = (const char *)p + 46, .name_size = name, .crc = npz_get4(p + 16),
                .packed = npz_get4(p + 20), .size = npz_get4(p + 24), .deflated = method == 8};
  uint32_t offset = npz_get4(p + 42);
  *at = p + total;
  if (flags & 1) return npz_fail(z, "an entry is encrypted");
  if (method != 0 && method != 8) return npz_fail(z, "an entry uses an unknown compression");
  if (e->size == UINT32_MAX || e->packed == UINT32_MAX || offset == UINT32_MAX)
    return npz_fail(z, "it is a zip64 archive, which is not supported");
  if (!e->deflated && e->size != e->packed) return npz_fail(z, "its directory is damaged");
  return npz_locate(z, e, offset);
}

static int npz_read_directory(npz_archive *z) {
  const uint8_t *record = npz_find_end(z);
  if (!record) return npz_fail(z, "it is no .npz file, or a truncated one");
  int64_t count = npz_get2(record + 10);
  uint32_t size = npz_get4(record + 12), start = npz_get4(record + 16);
  size_t room = (size_t)(record - z->bytes);
  if (count == 0xffff || start == UINT32_MAX)
    return npz_fail(z, "it is a zip64 archive, which is not supported");
  if (start > room || size > room - start || (uint64_t)count * 46 > size)
    return npz_fail(z, "its directory is damaged");
  z->entries = tg_alloc_zero((size_t)(count + 1) * sizeof *z->entries);
  if (!z->entries) return -1;
  const uint8_t *at = z->bytes + start;
  for (z->count = 0; z->count < count; z->count++)
    if (npz_read_entry(z, &z->entries[z->count], &at, z->bytes + start + size) != 0) return -1;
  return 0;
}

static int npz_open(npz_archive *z, const char *call, const char *path) {
  *z = (npz_archive){.call = call, .path = path};
  z->bytes = tg_read_file(call, path, &z->size);
  return z->bytes ? npz_read_directory(z) : -1;
}

static void npz_close(npz_archive *z) {
  tg_free(z->entries);
  tg_free(z->bytes);
}

/* The bytes of a deflated entry (tg_free them), or NULL. */
static uint8_t *npz_unpack(const npz_archive *z, const npz_in *e) {
  if (e->size / TG_INFLATE_RATIO > e->packed) {
    npz_fail(z, "an entry promises more than it can hold");
    return NULL;
  }
  uint8_t *bytes = tg_alloc((size_t)e->size + 1);
  tg_inflate *inflate = bytes ? tg_inflate_open(z->call, z->path, e->data, e->packed, false) : NULL;
  int64_t got = inflate ? tg_inflate_read(inflate, bytes, (size_t)e->size + 1) : -1;
  tg_inflate_close(inflate);
  if (got == (int64_t)e->size) return bytes;
  if (got >= 0) npz_fail(z, "an entry has another size than the directory says");
  tg_free(bytes);
  return NULL;
}

static tg_tensor *npz_array(const npz_archive *z, const npz_in *e) {
  npz_crc crc;
  char where[300];
  npz_crc_start(&crc);
  uint8_t *unpacked = e->deflated ? npz_unpack(z, e) : NULL;
  const uint8_t *bytes = e->deflated ? unpacked : e->data;
  if (!bytes) return NULL;
  tg_tensor *t = NULL;
  snprintf(where, sizeof where, "%.200s(%.*s)", z->path, e->name_size < 80 ? (int)e->name_size : 80,
           e->name);
  if (npz_crc_add(&crc, 0, bytes, e->size) != e->crc)
    tg_fail("%s: %s is damaged: its checksum does not match; save it again", z->call, where);
  else
    t = tg_npy_parse(z->call, where, bytes, e->size);
  tg_free(unpacked);
  return t;
}

static npz_in *npz_find(const npz_archive *z, const tg_tensor *t) {
  const char *name = tg_name(t), *suffix = npz_suffix(t);
  size_t first = strlen(name), second = strlen(suffix);
  for (int64_t i = 0; i < z->count; i++) {
    npz_in *e = &z->entries[i];
    if (e->name_size == first + second && memcmp(e->name, name, first) == 0 &&
        memcmp(e->name + first, suffix, second) == 0)
      return e;
  }
  return NULL;
}

/* The array for `t`, checked against it, or NULL. */
static tg_tensor *npz_value(const npz_archive *z, tg_tensor *t) {
  npz_in *e = npz_find(z, t);
  if (!e) {
    tg_fail("%s: %s has no array named %s; it holds %lld others", z->call, z->path, tg_name(t),
            (long long)z->count);
    return NULL;
  }
  e->used = true;
  tg_tensor *value = npz_array(z, e);
  if (value && tg_dtype_of(t) == TG_BFLOAT16 && tg_dtype_of(value) == TG_UINT16)
    value = tg_bitcast(value, TG_BFLOAT16);
  if (!value) return NULL;
  tg_shape want = tg_shape_of(t), have = tg_shape_of(value);
  if (tg_dtype_of(value) != tg_dtype_of(t) || want.ndim != have.ndim ||
      memcmp(want.dim, have.dim, (size_t)want.ndim * sizeof want.dim[0]) != 0) {
    tg_fail("%s: %s in %s is %s of %s, but the tensor is %s of %s; make the model that was saved",
            z->call, tg_name(t), z->path, tg_shape_text(have.dim, have.ndim),
            tg_dtype_name(tg_dtype_of(value)), tg_shape_text(want.dim, want.ndim),
            tg_dtype_name(tg_dtype_of(t)));
    return NULL;
  }
  return strcmp(tg_device(value), tg_device(t)) == 0 ? value : tg_to(value, tg_device(t));
}

static int npz_load(npz_archive *z, tg_list tensors, tg_tensor **values) {
  for (int64_t i = 0; i < tensors.count; i++)
    if (!(values[i] = npz_value(z, tensors.items[i]))) return -1;
  for (int64_t i = 0; i < z->count; i++)
    if (!z->entries[i].used) {
      tg_fail("%s: %s holds the array %.*s, which nobody asked for; name a tensor for it or save "
              "without it", z->call, z->path, (int)z->entries[i].name_size, z->entries[i].name);
      return -1;
    }
  if (tensors.count == 0) return 0;
  if (tg_corealize((tg_list){tensors.count, values}) != 0) return -1;
  /* From here on nothing can fail. */
  for (int64_t i = 0; i < tensors.count; i++) tg_tensor_rebind(tensors.items[i], values[i]->node);
  return 0;
}

int tg_load_npz(const char *path, tg_list tensors) {
  if (npz_check_names("tg_load_npz", tensors) != 0) return -1;
  tg_tensor **values = tg_alloc_zero((size_t)(tensors.count + 1) * sizeof *values);
  tg_scope *scope = values ? tg_scope_open() : NULL;
  int status = -1;
  if (scope) {
    npz_archive z;
    if (npz_open(&z, "tg_load_npz", path) == 0) status = npz_load(&z, tensors, values);
    npz_close(&z);
    tg_scope_close(scope);
  }
  tg_free(values);
  return status;
}
