/* allocations.c: preloaded into a program, reports each allocation above 64 KiB that it makes after
 * its first step.
 *
 * The first step is over when the file that ALLOCATIONS_LOG names (the program's --log) has
 * something in it. Reports go to standard error as "allocations: <function> of <bytes> bytes after
 * the first step".
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
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

static void look(const char *function, size_t bytes) {
  if (bytes <= limit || !firstStepIsOver())
    return;
  char text[128];
  int length = snprintf(text, sizeof(text), "allocations: %s of %zu bytes after the first step\n",
                        function, bytes);
  if (write(2, text, (size_t)length) != length)
    abort();
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
  return next(address, bytes, protection, flags, file, offset);
}
