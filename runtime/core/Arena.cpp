// Arena.cpp: see Arena.h. The mapping is a huge page longer than the arena, for alignment; the
// spare part is given back at once, so that what the process holds is what the compiler planned.
#include "core/Arena.h"

#include "core/Error.h"
#include "core/Memory.h"

#include <cerrno>
#include <cstring>
#include <sys/mman.h>
#include <unistd.h>

namespace galvatron_rt {

Arena::Arena(int64_t bytes) : bytes(bytes) {
  requireMemory(bytes, readMachineMemory());
  constexpr int64_t hugePage = int64_t(2) << 20;
  int64_t page = sysconf(_SC_PAGESIZE);
  int64_t rounded = (bytes + page - 1) / page * page;
  if (rounded == 0)
    rounded = page;
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
  // Advice only: a kernel without huge pages says no, and the program runs.
  madvise(mapping, mappedBytes, MADV_HUGEPAGE);
}

Arena::~Arena() { munmap(mapping, mappedBytes); }

} // namespace galvatron_rt
