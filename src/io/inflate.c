/* Deflated data (RFC 1951, RFC 1952), by zlib where the build found it.
 *
 * The library needs no zlib: without it (TG_ZLIB not defined) the same functions
 * fail with a message that names a way around. zlib's memory comes from
 * tg_alloc like all other memory, so it is counted and may run out.
 */
#include "io/file.h"

#ifdef TG_ZLIB
#include <zlib.h>

struct tg_inflate {
  const char *call, *path;
  z_stream z;
  size_t left; /* input that zlib has not been given yet */
  bool gzip, ended;
};

static void *inflate_alloc(void *user, unsigned count, unsigned size) {
  (void)user;
  return tg_alloc((size_t)count * size);
}

static void inflate_free(void *user, void *memory) {
  (void)user;
  tg_free(memory);
}

tg_inflate *tg_inflate_open(const char *call, const char *path, const uint8_t *in,
                            size_t size, bool gzip) {
  tg_inflate *z = tg_alloc_zero(sizeof *z);
  if (!z) return NULL;
  *z = (tg_inflate){.call = call, .path = path, .left = size, .gzip = gzip};
  z->z.zalloc = inflate_alloc;
  z->z.zfree = inflate_free;
  z->z.next_in = (z_const Bytef *)(uintptr_t)in;
  /* 15: the largest window; + 16: a gzip header; negative: no header. */
  if (inflateInit2(&z->z, gzip ? 15 + 16 : -15) == Z_OK) return z;
  tg_fail("%s: zlib cannot start", call);
  tg_free(z);
  return NULL;
}

void tg_inflate_close(tg_inflate *z) {
  if (!z) return;
  inflateEnd(&z->z);
  tg_free(z);
}

/* zlib counts in 32 bits: it gets its input and room in pieces. */
static void inflate_feed(tg_inflate *z) {
  if (z->z.avail_in > 0) return;
  unsigned piece = z->left < (1u << 30) ? (unsigned)z->left : 1u << 30;
  z->z.avail_in = piece;
  z->left -= piece;
}

/* One call of zlib; 1: go on, 0: no more input, -1: damaged. */
static int inflate_more(tg_inflate *z) {
  inflate_feed(z);
  int status = inflate(&z->z, Z_NO_FLUSH);
  bool more = z->z.avail_in > 0 || z->left > 0;
  if (status == Z_OK) return 1;
  if (status == Z_BUF_ERROR && !more) return 0;
  if (status == Z_STREAM_END) {
    /* A gzip file may consist of several members. */
    z->ended = !(z->gzip && more && inflateReset(&z->z) == Z_OK);
    return z->ended ? 0 : 1;
  }
  tg_fail("%s: %s holds damaged compressed data (%s); fetch it again", z->call, z->path,
          z->z.msg ? z->z.msg : "zlib");
  return -1;
}

int64_t tg_inflate_read(tg_inflate *z, void *out, size_t size) {
  size_t done = 0;
  z->z.next_out = out;
  while (done < size && !z->ended) {
    size_t room = size - done;
    unsigned piece = room < (1u << 30) ? (unsigned)room : 1u << 30;
    z->z.avail_out = piece;
    int status = inflate_more(z);
    done += piece - z->z.avail_out;
    if (status < 0) return -1;
    if (status == 0) break;
  }
  return (int64_t)done;
}

#else

tg_inflate *tg_inflate_open(const char *call, const char *path, const uint8_t *in,
                            size_t size, bool gzip) {
  (void)in;
  (void)size;
  tg_fail("%s: %s is compressed and this library was built without zlib; %s", call, path,
          gzip ? "unpack it with gunzip first" : "save it with numpy.savez instead");
  return NULL;
}

int64_t tg_inflate_read(tg_inflate *z, void *out, size_t size) {
  (void)z;
  (void)out;
  (void)size;
  return -1;
}

void tg_inflate_close(tg_inflate *z) { (void)z; }

#endif
