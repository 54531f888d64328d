// Arena.cpp: see Arena.h. The mapping is a huge page longer than the arena, for alignment; the
// spare part is given back at once, so that what the process holds is what the compiler planned.
#include "core/Arena.h"

#include "core/Error.h"
#include "core/Memory.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

namespace galvatron_rt {

/// Whole pages that hold `bytes`, at least one.
static int64_t roundToPages(int64_t bytes) {
  int64_t page = sysconf(_SC_PAGESIZE);
  return std::max<int64_t>(1, (bytes + page - 1) / page) * page;
}

Arena::Arena(int64_t bytes, bool isShared) : bytes(bytes) {
  requireMemory(bytes, readMachineMemory());
  constexpr int64_t hugePage = int64_t(2) << 20;
  int64_t rounded = roundToPages(bytes);
  void *address =
      mmap(nullptr, rounded + hugePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (address == MAP_FAILED) {
    int code = errno;
    fail("cannot allocate ", bytesText(bytes), " for tensors: ", std::strerror(code),
         addressSpaceNote());
  }
  uintptr_t first = reinterpret_cast<uintptr_t>(address);
  uintptr_t aligned = (first + hugePage - 1) / hugePage * hugePage;
  uintptr_t last = first + rounded + hugePage;
  if (aligned > first)
    munmap(address, aligned - first);
  if (last > aligned + rounded)
    munmap(reinterpret_cast<void *>(aligned + rounded), last - aligned - rounded);
  mapping = begin = reinterpret_cast<char *>(aligned);
  mappedBytes = rounded;
  if (isShared)
    share();
  // Advice only: a kernel without huge pages says no, and the program runs.
  madvise(mapping, mappedBytes, MADV_HUGEPAGE);
}

/// Puts memory that others can map in the place of what is mapped.
void Arena::share() {
  file = memfd_create("galvatron arena", MFD_CLOEXEC);
  if (file < 0 || ftruncate(file, mappedBytes) ||
      mmap(mapping, mappedBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file, 0) ==
          MAP_FAILED) {
    int code = errno;
    munmap(mapping, mappedBytes);
    if (file >= 0)
      close(file);
    // untested: it needs a kernel that cannot give memory that it has
    fail("cannot allocate ", bytesText(bytes), " for tensors that ranks share: ",
         std::strerror(code));
  }
}

Arena::Arena(int64_t process, int64_t descriptor, int64_t bytes)
    : mappedBytes(roundToPages(bytes)), bytes(bytes) {
  std::string path = concat("/proc/", process, "/fd/", descriptor);
  int opened = open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (opened < 0)
    fail("cannot open '", path, "': ", std::strerror(errno));
  mapping = mmap(nullptr, mappedBytes, PROT_READ | PROT_WRITE, MAP_SHARED, opened, 0);
  int code = errno;
  close(opened);
  if (mapping == MAP_FAILED)
    // untested: what was opened is another rank's memory
    fail("cannot map '", path, "': ", std::strerror(code));
  begin = static_cast<char *>(mapping);
}

Arena::~Arena() {
  munmap(mapping, mappedBytes);
  if (file >= 0)
    close(file);
}

} // namespace galvatron_rt
