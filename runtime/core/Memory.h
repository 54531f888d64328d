// Memory.h: what memory there is, against what a program was compiled for.
#ifndef GALVATRON_RT_CORE_MEMORY_H
#define GALVATRON_RT_CORE_MEMORY_H

#include <cstdint>
#include <string>

namespace galvatron_rt {

/// Bytes that processes of this machine or container may use, with swap; INT64_MAX if unknown.
struct MachineMemory {
  int64_t total, available;
};

/// Reads /proc/meminfo and the limits of the control groups that this process is in. Paths begin
/// with `root`.
MachineMemory readMachineMemory(const std::string &root = "");

/// Throws an Error with both numbers if the machine can never hold `bytes`.
void requireMemory(int64_t bytes, const MachineMemory &machine);

/// What to say if the machine can hold `bytes`, but has less to spare at the moment; "" otherwise.
std::string memoryWarning(int64_t bytes, const MachineMemory &machine);

/// " (ulimit -v allows this process ...)" if there is such a limit.
std::string addressSpaceNote();

/// The most bytes that this process ever had in memory; 0 if unknown.
int64_t peakResidentBytes();

/// "35426383104 bytes (33.0 GiB)"
std::string bytesText(int64_t bytes);

} // namespace galvatron_rt

#endif // GALVATRON_RT_CORE_MEMORY_H
