/* allocations.c: preloaded into a program, reports each allocation above 64 KiB that it makes after
 * its first step.
 *
 * The first step is over when the file that ALLOCATIONS_LOG names (the program's --log) has
 * something in it. Reports go to standard error as "allocations: <function> of <bytes> bytes after
 * the first step".
 *
 * At the end of the process, the file that ALLOCATIONS_SUMMARY names gets a line for each anonymous
 * mapping above 64 KiB, as large as the program left it ("mapped <bytes> resident-before <bytes>"),
 * one for the other allocations above 64 KiB ("allocated <bytes>", all together, those that were
 * freed too), and "peak <bytes>", the most that was ever resident.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static const size_t limit = 64 << 10;

static int firstStepIsOver(void) {
  static int over;
  if (over)
    return 1;
  const char *log = getenv("ALLOCATIONS_LOG");
  struct stat info;
  int before = errno;
  over = log && stat(log, &info) == 0 && info.st_size > 0;
  errno = before;
  return over;
}

static size_t allocatedBytes;

static void look(const char *function, size_t bytes) {
  if (bytes <= limit)
    return;
  if (strcmp(function, "mmap") != 0)
    __atomic_fetch_add(&allocatedBytes, bytes, __ATOMIC_RELAXED);
  if (!firstStepIsOver())
    return;
  char text[128];
  int length = snprintf(text, sizeof(text), "allocations: %s of %zu bytes after the first step\n",
                        function, bytes);
  if (write(2, text, (size_t)length) != length)
    abort();
}

/* A mapping as the program left it; one that is gone keeps its size. */
struct mapping {
  char *begin;
  size_t bytes, residentBefore;
  int gone;
};
static struct mapping mappings[1024];
static size_t mappingCount;
static char lock;

static void take(void) {
  while (__atomic_test_and_set(&lock, __ATOMIC_ACQUIRE))
    ;
}
static void give(void) { __atomic_clear(&lock, __ATOMIC_RELEASE); }

/* The number behind `key` in /proc/self/status, in bytes. */
static size_t status(const char *key) {
  char text[4096];
  int before = errno, file = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
  ssize_t length = file < 0 ? -1 : read(file, text, sizeof(text) - 1);
  if (file >= 0)
    close(file);
  errno = before;
  text[length < 0 ? 0 : length] = 0;
  const char *found = strstr(text, key);
  return found ? strtoul(found + strlen(key), NULL, 10) << 10 : 0;
}

static void noteMapping(void *address, size_t bytes) {
  size_t resident = status("VmRSS:");
  take();
  if (mappingCount < sizeof(mappings) / sizeof(*mappings))
    mappings[mappingCount++] = (struct mapping){address, bytes, resident, 0};
  give();
}

static void noteUnmapping(char *begin, size_t bytes) {
  char *end = begin + bytes;
  take();
  for (size_t i = 0; i < mappingCount; ++i) {
    struct mapping *m = &mappings[i];
    char *last = m->begin + m->bytes;
    if (m->gone || end <= m->begin || last <= begin)
      continue;
    if (begin <= m->begin && last <= end) {
      m->gone = 1;
    } else if (begin <= m->begin) {
      m->bytes = (size_t)(last - end);
      m->begin = end;
    } else {
      m->bytes = (size_t)(begin - m->begin);
    }
  }
  give();
}

__attribute__((destructor)) static void summarize(void) {
  const char *path = getenv("ALLOCATIONS_SUMMARY");
  FILE *file = path ? fopen(path, "we") : NULL;
  if (!file)
    return;
  for (size_t i = 0; i < mappingCount; ++i)
    fprintf(file, "mapped %zu resident-before %zu\n", mappings[i].bytes, mappings[i].residentBefore);
  fprintf(file, "allocated %zu\npeak %zu\n", allocatedBytes, status("VmHWM:"));
  fclose(file);
}

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

void *malloc(size_t bytes) {
  look("malloc", bytes);
  return __libc_malloc(bytes);
}

void *calloc(size_t count, size_t bytes) {
  look("calloc", count * bytes);
  return __libc_calloc(count, bytes);
}

void *realloc(void *old, size_t bytes) {
  look("realloc", bytes);
  return __libc_realloc(old, bytes);
}

void *memalign(size_t alignment, size_t bytes) {
  look("memalign", bytes);
  return __libc_memalign(alignment, bytes);
}

void *aligned_alloc(size_t alignment, size_t bytes) {
  look("aligned_alloc", bytes);
  return __libc_memalign(alignment, bytes);
}

int posix_memalign(void **result, size_t alignment, size_t bytes) {
  look("posix_memalign", bytes);
  *result = __libc_memalign(alignment, bytes);
  return *result ? 0 : ENOMEM;
}

void *mmap(void *address, size_t bytes, int protection, int flags, int file, off_t offset) {
  static void *(*next)(void *, size_t, int, int, int, off_t);
  if (!next)
    next = (void *(*)(void *, size_t, int, int, int, off_t))dlsym(RTLD_NEXT, "mmap");
  look("mmap", bytes);
  void *result = next(address, bytes, protection, flags, file, offset);
  if (result != MAP_FAILED && bytes > limit && (flags & MAP_ANONYMOUS))
    noteMapping(result, bytes);
  return result;
}

int munmap(void *address, size_t bytes) {
  static int (*next)(void *, size_t);
  if (!next)
    next = (int (*)(void *, size_t))dlsym(RTLD_NEXT, "munmap");
  noteUnmapping(address, bytes);
  return next(address, bytes);
}
