/* File access for the readers and writers of this room.
 *
 * Order of reading: open, make sure that it is a plain file, learn its size;
 * only then does a reader believe a header that promises elements. Order of
 * writing: follow links, create a file of a new, short name beside the target
 * (O_EXCL: never somebody else's), write, fsync, rename, fsync the folder. An interrupted run
 * can leave a *.part file at worst, never half a target.
 */
#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif
#include "io/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* What the caller can do about an errno. */
static const char *file_fix(int error) {
  switch (error) {
  case ENOENT: return "check the path";
  case ENOTDIR: return "a part of the path is not a folder";
  case EACCES:
  case EPERM: return "change its permissions or choose another path";
  case EROFS: return "choose a folder that can be written";
  case ENOSPC:
  case EDQUOT: return "make room on the disk or choose another path";
  case EISDIR: return "name a file, not a folder";
  case EMFILE:
  case ENFILE: return "close some files";
  case ENAMETOOLONG: return "choose a shorter name";
  case ELOOP: return "its links lead to one another; remove one";
  default: return "check the path and the disk";
  }
}

static int file_fail(const char *call, const char *what, const char *path, int error) {
  tg_fail("%s: cannot %s %s: %s; %s", call, what, path, strerror(error), file_fix(error));
  return -1;
}

/* ------------------------------------------------------------- reading -- */

static int source_check(tg_source *s) {
  struct stat status;
  if (fstat(s->fd, &status) != 0) return file_fail(s->call, "examine", s->path, errno);
  if (S_ISDIR(status.st_mode)) return file_fail(s->call, "read", s->path, EISDIR);
  if (!S_ISREG(status.st_mode)) {
    tg_fail("%s: %s is not a plain file; copy it into one first", s->call, s->path);
    return -1;
  }
  s->size = s->left = (int64_t)status.st_size;
  return 0;
}

int tg_source_open(tg_source *s, const char *call, const char *path) {
  *s = (tg_source){.call = call, .path = path, .fd = -1};
  if (!path) {
    tg_fail("%s: the path is NULL; name a file", call);
    return -1;
  }
  /* O_NONBLOCK: opening a pipe must not wait for a writer. */
  s->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (s->fd < 0) return file_fail(call, "open", path, errno);
  if (source_check(s) == 0) return 0;
  tg_source_close(s);
  return -1;
}

void tg_source_close(tg_source *s) {
  if (s->fd >= 0) close(s->fd);
  s->fd = -1;
}

int tg_source_read(tg_source *s, void *out, size_t size) {
  uint8_t *to = out;
  while (size > 0) {
    size_t piece = size < ((size_t)1 << 30) ? size : (size_t)1 << 30;
    ssize_t got = read(s->fd, to, piece);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return file_fail(s->call, "read", s->path, errno);
    if (got == 0) {
      tg_fail("%s: %s is truncated: %zu more bytes are missing at its end; fetch it again",
              s->call, s->path, size);
      return -1;
    }
    to += got;
    size -= (size_t)got;
    s->left -= got;
  }
  return 0;
}

uint8_t *tg_read_file(const char *call, const char *path, size_t *size) {
  tg_source s;
  if (tg_source_open(&s, call, path) != 0) return NULL;
  *size = (size_t)s.size;
  uint8_t *bytes = tg_alloc(*size ? *size : 1);
  if (bytes && tg_source_read(&s, bytes, *size) != 0) {
    tg_free(bytes);
    bytes = NULL;
  }
  tg_source_close(&s);
  return bytes;
}

/* ------------------------------------------------------------- writing -- */

enum { SINK_LINKS = 40, SINK_LINK = 4096 };

/* How much of a path is the folder, with its slash. */
static size_t folder_length(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash ? (size_t)(slash - path) + 1 : 0;
}

/* `folder` bytes of path, then name. */
static char *path_in(const char *path, size_t folder, const char *name) {
  size_t length = strlen(name) + 1;
  char *out = tg_alloc(folder + length);
  if (!out) return NULL;
  memcpy(out, path, folder);
  memcpy(out + folder, name, length);
  return out;
}

/* Follows the links that path is, to what is none or is not there yet. */
static int sink_follow(tg_sink *s) {
  char link[SINK_LINK];
  s->target = path_in("", 0, s->path);
  for (int i = 0; s->target && i < SINK_LINKS; i++) {
    ssize_t length = readlink(s->target, link, sizeof link - 1);
    if (length < 0) return 0;
    link[length] = 0;
    char *next = path_in(s->target, *link == '/' ? 0 : folder_length(s->target), link);
    tg_free(s->target);
    s->target = next;
  }
  return s->target ? file_fail(s->call, "write", s->path, ELOOP) : -1;
}

/* The permissions of the new file: the old one's, else the usual ones. Fails
 * where a rename would do harm: over a folder or a device. */
static int sink_mode(const tg_sink *s, mode_t *mode, bool *keep) {
  struct stat status;
  *mode = 0666;
  *keep = false;
  if (stat(s->target, &status) != 0)
    return errno == ENOENT ? 0 : file_fail(s->call, "write", s->path, errno);
  if (S_ISDIR(status.st_mode)) return file_fail(s->call, "write", s->path, EISDIR);
  if (!S_ISREG(status.st_mode)) {
    tg_fail("%s: %s is not a plain file; choose another path", s->call, s->path);
    return -1;
  }
  *mode = status.st_mode & 0777;
  *keep = true;
  return 0;
}

/* Opens a file of a name that nobody uses. */
static int sink_create(tg_sink *s, mode_t mode) {
  static _Atomic unsigned serial;
  for (int attempt = 0; attempt < 100; attempt++) {
    char name[64];
    snprintf(name, sizeof name, "teenygrad-%ld-%u.part", (long)getpid(),
             atomic_fetch_add(&serial, 1));
    s->aside = path_in(s->target, folder_length(s->target), name);
    if (!s->aside) return -1;
    s->fd = open(s->aside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (s->fd >= 0) return 0;
    int error = errno;
    if (error != EEXIST) file_fail(s->call, "create", s->aside, error);
    tg_free(s->aside);
    s->aside = NULL;
    if (error != EEXIST) return -1;
  }
  return file_fail(s->call, "write", s->path, EEXIST);
}

int tg_sink_open(tg_sink *s, const char *call, const char *path) {
  *s = (tg_sink){.call = call, .path = path, .fd = -1};
  mode_t mode;
  bool keep;
  if (!path || !*path) {
    tg_fail("%s: the path is %s; name a file", call, path ? "empty" : "NULL");
    return -1;
  }
  if (sink_follow(s) != 0 || sink_mode(s, &mode, &keep) != 0 || sink_create(s, mode) != 0) {
    tg_free(s->target);
    s->target = NULL;
    return -1;
  }
  /* The umask has cut the mode; an old file's mode is kept as it was. Where
   * that is not allowed the cut one does. */
  if (keep && fchmod(s->fd, mode) != 0) return 0;
  return 0;
}

int tg_sink_write(tg_sink *s, const void *bytes, size_t size) {
  const uint8_t *from = bytes;
  while (size > 0) {
    size_t piece = size < ((size_t)1 << 30) ? size : (size_t)1 << 30;
    ssize_t put = write(s->fd, from, piece);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return file_fail(s->call, "write", s->path, errno);
    from += put;
    size -= (size_t)put;
    s->written += put;
  }
  return 0;
}

void tg_sink_abort(tg_sink *s) {
  if (s->fd >= 0) close(s->fd);
  if (s->aside) unlink(s->aside);
  tg_free(s->aside);
  tg_free(s->target);
  s->aside = s->target = NULL;
  s->fd = -1;
}

/* Makes the rename itself last; a folder that cannot be synced is no error. */
static void sink_sync_folder(const char *path) {
  size_t length = folder_length(path);
  char folder[1024] = ".";
  if (length >= sizeof folder) return;
  if (length > 0) memcpy(folder, path, length);
  int fd = open(folder, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  fsync(fd);
  close(fd);
}

int tg_sink_commit(tg_sink *s) {
  int status = 0;
  if (fsync(s->fd) != 0 && errno != EINVAL) status = file_fail(s->call, "write", s->path, errno);
  if (close(s->fd) != 0 && status == 0) status = file_fail(s->call, "write", s->path, errno);
  s->fd = -1;
  if (status == 0 && rename(s->aside, s->target) != 0)
    status = file_fail(s->call, "rename the new file to", s->path, errno);
  if (status == 0) {
    sink_sync_folder(s->target);
    tg_free(s->aside);
    s->aside = NULL;
  }
  tg_sink_abort(s);
  return status;
}

/* ------------------------------------------------------------ elements -- */

int64_t tg_file_bytes(const tg_shape *shape, tg_dtype dtype) {
  int64_t numel = 1;
  for (int i = 0; i < shape->ndim; i++)
    if (shape->dim[i] == 0) return 0;
  for (int i = 0; i < shape->ndim; i++) {
    if (shape->dim[i] < 0 || numel > (INT64_MAX >> 8) / shape->dim[i]) return -1;
    numel *= shape->dim[i];
  }
  return numel * tg_dtype_size(dtype);
}

void tg_swap_bytes(void *data, int64_t count, int64_t size) {
  uint8_t *element = data;
  for (; count > 0 && size > 1; count--, element += size)
    for (int64_t i = 0, j = size - 1; i < j; i++, j--) {
      uint8_t byte = element[i];
      element[i] = element[j];
      element[j] = byte;
    }
}

bool tg_big_endian(void) {
  uint16_t one = 1;
  uint8_t first;
  memcpy(&first, &one, 1);
  return first == 0;
}

static void file_release(void *data, void *user) {
  (void)user;
  tg_free_data(data);
}

tg_tensor *tg_adopt(void *data, const tg_shape *shape, tg_dtype dtype) {
  tg_tensor *t = tg_borrow(data, *shape, dtype, file_release, NULL);
  if (!t) tg_free_data(data);
  return t;
}
