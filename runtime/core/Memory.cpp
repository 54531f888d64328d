// Memory.cpp: see Memory.h. Linux gives out more memory than there is and kills who uses it; a
// program knows what it needs before the first step, and can say so instead.
#include "core/Memory.h"

#include "core/Error.h"

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <limits>
#include <sys/resource.h>

namespace galvatron_rt {
namespace {

constexpr int64_t unknown = std::numeric_limits<int64_t>::max();

/// The value of the line "key:  123 kB" of a file in /proc, in bytes; `otherwise` without one.
int64_t readEntry(const std::string &path, const std::string &key, int64_t otherwise) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    long long kilobytes;
    if (line.compare(0, key.size() + 1, key + ":") == 0 &&
        std::sscanf(line.c_str() + key.size() + 1, "%lld", &kilobytes) == 1)
      return kilobytes * 1024;
  }
  return otherwise;
}

/// The smallest limit of this process's control group and those around it.
int64_t readGroupLimit(const std::string &root) {
  std::ifstream groups(root + "/proc/self/cgroup");
  int64_t least = unknown;
  for (std::string line; std::getline(groups, line);) {
    if (line.compare(0, 3, "0::") != 0)
      continue;
    for (std::string group = line.substr(3); !group.empty();
         group = group == "/" ? "" : group.substr(0, std::max<size_t>(group.rfind('/'), 1))) {
      long long limit;
      std::ifstream file(root + "/sys/fs/cgroup" + group + "/memory.max");
      if (file >> limit) // "max" is no number
        least = std::min<int64_t>(least, limit);
    }
  }
  return least;
}

} // namespace

MachineMemory readMachineMemory(const std::string &root) {
  std::string info = root + "/proc/meminfo";
  int64_t total = readEntry(info, "MemTotal", unknown),
          available = readEntry(info, "MemAvailable", unknown), limit = readGroupLimit(root);
  if (total != unknown)
    total += readEntry(info, "SwapTotal", 0);
  if (available != unknown)
    available += readEntry(info, "SwapFree", 0);
  total = std::min(total, limit);
  return {total, std::min(available, total)};
}

void requireMemory(int64_t bytes, const MachineMemory &machine) {
  if (bytes > machine.total)
    fail("the program needs ", bytesText(bytes), " for tensors, this machine has ",
         bytesText(machine.total),
         machine.available < machine.total
             ? concat(", of which ", bytesText(machine.available), " are available")
             : "",
         "; --print-memory of the compiler shows what for, and more --micro-batches can make it less");
}

std::string memoryWarning(int64_t bytes, const MachineMemory &machine) {
  if (bytes <= machine.available || bytes > machine.total)
    return "";
  return concat("the program needs ", bytesText(bytes), " for tensors, of this machine's memory ",
                bytesText(machine.available), " are available");
}

std::string addressSpaceNote() {
  rlimit limit;
  if (getrlimit(RLIMIT_AS, &limit) || limit.rlim_cur == RLIM_INFINITY)
    return "";
  int64_t used = readEntry("/proc/self/status", "VmSize", -1);
  return concat(" (ulimit -v allows this process ", bytesText(static_cast<int64_t>(limit.rlim_cur)),
                used < 0 ? "" : concat(", of which it uses ", bytesText(used)), ")");
}

int64_t peakResidentBytes() { return readEntry("/proc/self/status", "VmHWM", 0); }

std::string bytesText(int64_t bytes) {
  const char *units[] = {"KiB", "MiB", "GiB", "TiB", "PiB"};
  double value = static_cast<double>(bytes);
  if (bytes < 1024)
    return concat(bytes, " bytes");
  int unit = -1;
  for (; value >= 1024 && unit < 4; ++unit)
    value /= 1024;
  char text[64];
  std::snprintf(text, sizeof(text), "%lld bytes (%.1f %s)", static_cast<long long>(bytes), value,
                units[unit]);
  return text;
}

} // namespace galvatron_rt
