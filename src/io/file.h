/* io/file: files as the readers and writers of this room need them.
 *
 * Reading: a plain file whose size is known before anything is allocated.
 * Writing: aside, into a new file in the same folder, renamed over the old one
 * once all of it is on the disk; whatever goes wrong before, the old file is
 * whole and nothing is left behind. A link stays, what it leads to is replaced.
 * `call` is the public function that messages name.
 */
#ifndef TG_IO_FILE_H
#define TG_IO_FILE_H

#include "base/base.h"

typedef struct tg_source {
  const char *call, *path;
  int fd;
  int64_t size; /* of the whole file */
  int64_t left; /* not read yet */
} tg_source;
/* 0, or -1 and a message; only an opened source is to be closed. */
int tg_source_open(tg_source *s, const char *call, const char *path);
int tg_source_read(tg_source *s, void *out, size_t size); /* all of it, or -1 */
void tg_source_close(tg_source *s);
/* The whole file in memory (tg_free it), or NULL and a message. */
uint8_t *tg_read_file(const char *call, const char *path, size_t *size);

typedef struct tg_sink {
  const char *call, *path;
  char *target; /* path, or where its links lead to */
  char *aside;  /* the name of the file that is being written */
  int fd;
  int64_t written;
} tg_sink;
int tg_sink_open(tg_sink *s, const char *call, const char *path);
int tg_sink_write(tg_sink *s, const void *bytes, size_t size);
int tg_sink_commit(tg_sink *s); /* 0: renamed; -1: as if aborted */
void tg_sink_abort(tg_sink *s);

/* Deflated bytes in memory, read piece by piece. Without zlib, opening fails
 * with a message that says how to do without. */
typedef struct tg_inflate tg_inflate;
tg_inflate *tg_inflate_open(const char *call, const char *path, const uint8_t *in,
                            size_t size, bool gzip);
/* The bytes that came, fewer than `size` at the end only; -1: damaged. */
int64_t tg_inflate_read(tg_inflate *z, void *out, size_t size);
void tg_inflate_close(tg_inflate *z);
/* No deflated stream grows by more: what promises more is refused unread. */
#define TG_INFLATE_RATIO 1100

/* Elements of a shape times their size; -1 when that does not fit. */
int64_t tg_file_bytes(const tg_shape *shape, tg_dtype dtype);
/* Reverses the bytes of each element. */
void tg_swap_bytes(void *data, int64_t count, int64_t size);
bool tg_big_endian(void);
/* A tensor over `data` from tg_alloc_data, which it then owns; on failure NULL
 * and `data` is freed. */
tg_tensor *tg_adopt(void *data, const tg_shape *shape, tg_dtype dtype);

#endif
