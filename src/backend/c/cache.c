/* c/cache: the folder of compiled units.
 *
 * What lies in it is loaded into the process, so it must be the user's own: a
 * folder of mode 0700, owned by the effective user, no link. One that others own or
 * can write is refused, and a private folder in TMPDIR, removed at the end of the
 * process, takes its place; a child of that process gets one of its own. A unit
 * appears under its name, the hash of all that it was made from, by an atomic rename;
 * two processes that make the same one do the same work twice, no more. At the end of
 * each file stands its length and hash: one that is cut short or damaged is removed and
 * made again. When the folder grows beyond TG_CACHE_MB, what was not used for longest
 * goes. Only plain files are read: a pipe or a link under a unit's name is as good as
 * nothing there.
 */
#if !defined(_POSIX_C_SOURCE)
#define _POSIX_C_SOURCE 200809L
#endif
#ifndef _DEFAULT_SOURCE
#define _DEFAULT_SOURCE
#endif
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#include "backend/c/unit.h"

static const char cache_magic[8] = "tgunit1\n";
enum { CACHE_SEAL = 8 + 8 + 32 }; /* magic, length, hash */

static pthread_mutex_t cache_lock = PTHREAD_MUTEX_INITIALIZER;
static char cache_path[TG_C_PATH - 128];
static bool cache_known;
static pid_t cache_private; /* whose folder it is, when it is private; or 0 */
static tg_c_why cache_why;

/* ---- the folder */

static bool cache_safe(const char *path, tg_c_why *why) {
  struct stat st;
  if (lstat(path, &st) != 0) {
    tg_c_because(why, "cache folder %.150s: %s", path, strerror(errno));
    return false;
  }
  if (!S_ISDIR(st.st_mode)) tg_c_because(why, "cache folder %.150s is no folder, or a link", path);
  else if (st.st_uid != geteuid())
    tg_c_because(why, "cache folder %.150s belongs to user %lld", path, (long long)st.st_uid);
  else if (st.st_mode & 022)
    tg_c_because(why, "cache folder %.150s can be written by others; chmod 700 it", path);
  else if (access(path, W_OK | X_OK) != 0)
    tg_c_because(why, "cache folder %.150s cannot be written", path);
  else return true;
  return false;
}

/* Makes the folder and those above it. */
static void cache_make(char *path) {
  for (char *at = path + 1; *at; at++) {
    if (*at != '/') continue;
    *at = 0;
    mkdir(path, 0700);
    *at = '/';
  }
  mkdir(path, 0700);
}

static bool cache_choose(char *path, size_t room, tg_c_why *why) {
  const char *own = getenv("TG_CACHE_DIR"), *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
  int n = 0;
  if (own && *own) n = snprintf(path, room, "%s", own);
  else if (xdg && *xdg == '/') n = snprintf(path, room, "%s/teenygrad", xdg);
  else if (home && *home == '/') n = snprintf(path, room, "%s/.cache/teenygrad", home);
  if (n > 0 && n < (int)room) return true;
  tg_c_because(why, "no cache folder: set TG_CACHE_DIR");
  return false;
}

static bool cache_temporary(char *path, size_t room, tg_c_why *why) {
  const char *tmp = getenv("TMPDIR");
  snprintf(path, room, "%s/teenygrad-XXXXXX", tmp && *tmp ? tmp : "/tmp");
  if (mkdtemp(path)) return true;
  tg_c_because(why, "no folder for generated code: %.150s: %s", path, strerror(errno));
  path[0] = 0;
  return false;
}

/* What processes that were ended have left behind. */
static void cache_sweep(const char *folder) {
  char path[TG_C_PATH + 256];
  struct stat st;
  DIR *dir = opendir(folder);
  for (struct dirent *e; dir && (e = readdir(dir));) {
    if (strncmp(e->d_name, "making-", 7)) continue;
    snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
    if (lstat(path, &st) == 0 && st.st_mtime + 3600 < time(NULL)) unlink(path);
  }
  if (dir) closedir(dir);
}

static void cache_open(void) {
  cache_known = true;
  if (cache_choose(cache_path, sizeof cache_path, &cache_why)) {
    cache_make(cache_path);
    if (cache_safe(cache_path, &cache_why)) {
      cache_sweep(cache_path);
      return;
    }
  }
  tg_c_why why = {0};
  if (cache_temporary(cache_path, sizeof cache_path, &why)) cache_private = getpid();
  else cache_why = why;
}

static void cache_forget(void) {
  cache_known = false;
  cache_private = 0;
  cache_path[0] = cache_why.text[0] = 0;
}

/* A child finds the lock open, whatever thread the parent forked beside. */
static void cache_hold(void) { pthread_mutex_lock(&cache_lock); }
static void cache_let_go(void) { pthread_mutex_unlock(&cache_lock); }
static void cache_watch_forks(void) { pthread_atfork(cache_hold, cache_let_go, cache_let_go); }

const char *tg_c_cache_folder(tg_c_why *why) {
  static pthread_once_t forks = PTHREAD_ONCE_INIT;
  pthread_once(&forks, cache_watch_forks);
  pthread_mutex_lock(&cache_lock);
  if (cache_private && cache_private != getpid()) cache_forget(); /* the parent's */
  if (!cache_known) cache_open();
  if (!cache_path[0] || cache_why.text[0]) *why = cache_why;
  pthread_mutex_unlock(&cache_lock);
  return cache_path[0] ? cache_path : NULL;
}

void tg_c_cache_end(void) {
  char path[TG_C_PATH + 256];
  pthread_mutex_lock(&cache_lock);
  bool own = cache_private && cache_private == getpid();
  DIR *dir = own ? opendir(cache_path) : NULL;
  for (struct dirent *e; dir && (e = readdir(dir));) {
    snprintf(path, sizeof path, "%s/%s", cache_path, e->d_name);
    unlink(path);
  }
  if (dir) closedir(dir);
  if (own) rmdir(cache_path);
  cache_forget();
  pthread_mutex_unlock(&cache_lock);
}

/* ---- seals */

/* Hash of the first `length` bytes of a file. */
static bool cache_hash(FILE *f, uint64_t length, unsigned char out[32]) {
  unsigned char piece[8192];
  tg_sha256 s;
  tg_sha256_begin(&s);
  while (length) {
    size_t take = length < sizeof piece ? (size_t)length : sizeof piece;
    if (fread(piece, 1, take, f) != take) return false;
    tg_sha256_add(&s, piece, take);
    length -= take;
  }
  tg_sha256_end(&s, out);
  return true;
}

static bool cache_whole(FILE *f, const struct stat *st) {
  unsigned char seal[CACHE_SEAL], hash[32];
  if (st->st_size < CACHE_SEAL) return false;
  uint64_t length = (uint64_t)st->st_size - CACHE_SEAL, said = 0;
  if (!cache_hash(f, length, hash) || fread(seal, 1, sizeof seal, f) != sizeof seal) return false;
  for (int i = 0; i < 8; i++) said |= (uint64_t)seal[8 + i] << (8 * i);
  return !memcmp(seal, cache_magic, 8) && said == length && !memcmp(seal + 16, hash, 32);
}

/* Opens a plain file of this user's; what is anything else does not keep us waiting. */
static FILE *cache_file(const char *path, int how, const char *mode, struct stat *st) {
  int fd = open(path, how | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) return NULL;
  bool good = fstat(fd, st) == 0 && S_ISREG(st->st_mode) && st->st_uid == geteuid();
  FILE *f = good ? fdopen(fd, mode) : NULL;
  if (!f) close(fd);
  return f;
}

bool tg_c_cache_find(const char *name, char path[TG_C_PATH]) {
  tg_c_why why = {0};
  struct stat st;
  const char *folder = tg_c_cache_folder(&why);
  if (!folder) return false;
  snprintf(path, TG_C_PATH, "%s/%s.so", folder, name);
  FILE *f = cache_file(path, O_RDONLY, "rb", &st);
  if (!f) return false;
  bool good = cache_whole(f, &st);
  if (good) futimens(fileno(f), NULL); /* used now: the oldest go first */
  fclose(f);
  if (!good) unlink(path);
  return good;
}

static bool cache_seal(const char *object) {
  unsigned char seal[CACHE_SEAL], hash[32];
  struct stat st;
  FILE *f = cache_file(object, O_RDWR, "r+b", &st);
  if (!f) return false;
  bool good = cache_hash(f, (uint64_t)st.st_size, hash);
  memcpy(seal, cache_magic, 8);
  for (int i = 0; good && i < 8; i++)
    seal[8 + i] = (unsigned char)((uint64_t)st.st_size >> (8 * i));
  memcpy(seal + 16, hash, 32);
  good = good && fseek(f, 0, SEEK_END) == 0 && fwrite(seal, 1, sizeof seal, f) == sizeof seal;
  return fclose(f) == 0 && good;
}

/* ---- room */

typedef struct cache_oldest {
  int64_t total, age;
  char path[TG_C_PATH + 256];
} cache_oldest;

/* Looks for the oldest but `kept`. */
static void cache_measure(cache_oldest *o, const char *kept) {
  char path[TG_C_PATH + 256];
  struct stat st;
  *o = (cache_oldest){.age = INT64_MAX};
  DIR *dir = opendir(cache_path);
  for (struct dirent *e; dir && (e = readdir(dir));) {
    size_t n = strlen(e->d_name);
    snprintf(path, sizeof path, "%s/%s", cache_path, e->d_name);
    if (n < 4 || strcmp(e->d_name + n - 3, ".so") || lstat(path, &st) != 0 || !S_ISREG(st.st_mode))
      continue;
    o->total += (int64_t)st.st_size;
    if ((int64_t)st.st_mtime >= o->age || !strcmp(path, kept)) continue;
    o->age = (int64_t)st.st_mtime;
    memcpy(o->path, path, sizeof path);
  }
  if (dir) closedir(dir);
}

static void cache_make_room(const char *kept) {
  int64_t most = tg_env_int("TG_CACHE_MB", 256) << 20;
  cache_oldest o;
  pthread_mutex_lock(&cache_lock);
  for (int i = 0; i < 64; i++) {
    cache_measure(&o, kept);
    if (o.total <= most || o.age == INT64_MAX || unlink(o.path) != 0) break;
  }
  pthread_mutex_unlock(&cache_lock);
}

bool tg_c_cache_keep(const char *object, const char *name, char path[TG_C_PATH], tg_c_why *why) {
  tg_c_why unsafe = {0};
  const char *folder = tg_c_cache_folder(&unsafe);
  snprintf(path, TG_C_PATH, "%s/%s.so", folder ? folder : "", name);
  if (folder && cache_seal(object)) {
    rmdir(path); /* an empty folder would be in the way */
    if (rename(object, path) == 0) {
      cache_make_room(path);
      return true;
    }
  }
  tg_c_because(why, "%.150s cannot be written: %s", path, strerror(errno));
  return false;
}
