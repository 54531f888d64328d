// MemoryTest.cpp: what the machine has, read from files that Linux writes, and what is said about it.
#include "core/Memory.h"
#include "TestFiles.h"
#include "core/Error.h"

#include <gtest/gtest.h>
#include <limits>

using namespace galvatron_rt;

namespace {

constexpr int64_t mebi = 1 << 20, unknown = std::numeric_limits<int64_t>::max();

class MemoryTest : public testing::Test {
protected:
  void write(const std::string &path, const std::string &text) {
    std::filesystem::path file = folder / path;
    std::filesystem::create_directories(file.parent_path());
    writeFile(file, text);
  }
  void writeInfo() {
    write("proc/meminfo", "MemTotal:        8192 kB\nMemFree:          1 kB\n"
                          "MemAvailable:    4096 kB\nSwapTotal:    2048 kB\nSwapFree:    1024 kB\n");
  }
  TemporaryFolder folder;
};

std::string complaint(int64_t bytes, const MachineMemory &machine) {
  try {
    requireMemory(bytes, machine);
  } catch (const Error &e) {
    return e.what();
  }
  return "";
}

} // namespace

TEST_F(MemoryTest, KnowsNothingWithoutFiles) {
  MachineMemory machine = readMachineMemory(folder.path);
  EXPECT_EQ(machine.total, unknown);
  EXPECT_EQ(machine.available, unknown);
  EXPECT_EQ(complaint(int64_t(1) << 62, machine), "");
  EXPECT_EQ(memoryWarning(int64_t(1) << 62, machine), "");
}

TEST_F(MemoryTest, CountsSwap) {
  writeInfo();
  MachineMemory machine = readMachineMemory(folder.path);
  EXPECT_EQ(machine.total, 10 * mebi);
  EXPECT_EQ(machine.available, 5 * mebi);
}

TEST_F(MemoryTest, TakesTheTightestGroup) {
  writeInfo();
  write("proc/self/cgroup", "1:cpu:/other\n0::/outer/inner\n");
  write("sys/fs/cgroup/memory.max", "7340032\n");
  write("sys/fs/cgroup/outer/memory.max", "3145728\n");
  write("sys/fs/cgroup/outer/inner/memory.max", "max\n");
  MachineMemory machine = readMachineMemory(folder.path);
  EXPECT_EQ(machine.total, 3 * mebi);
  EXPECT_EQ(machine.available, 3 * mebi);
  std::filesystem::remove(folder / "sys/fs/cgroup/outer/memory.max");
  machine = readMachineMemory(folder.path);
  EXPECT_EQ(machine.total, 7 * mebi);
  EXPECT_EQ(machine.available, 5 * mebi);
}

TEST_F(MemoryTest, ThisMachineHasSome) {
  MachineMemory machine = readMachineMemory();
  EXPECT_GT(machine.total, 64 * mebi);
  EXPECT_LE(machine.available, machine.total);
  EXPECT_GT(peakResidentBytes(), mebi);
}

TEST_F(MemoryTest, SaysWhatIsNeededAndWhatThereIs) {
  MachineMemory machine{10 * mebi, 5 * mebi};
  EXPECT_EQ(complaint(10 * mebi, machine), "");
  EXPECT_EQ(complaint(10 * mebi + 1, machine),
            "the program needs 10485761 bytes (10.0 MiB) for tensors, this machine has "
            "10485760 bytes (10.0 MiB), of which 5242880 bytes (5.0 MiB) are available; "
            "--print-memory of the compiler shows what for, and more --micro-batches can make it "
            "less");
  EXPECT_EQ(complaint(6 * mebi, {5 * mebi, 5 * mebi}),
            "the program needs 6291456 bytes (6.0 MiB) for tensors, this machine has 5242880 bytes "
            "(5.0 MiB); --print-memory of the compiler shows what for, and more --micro-batches "
            "can make it less");
  EXPECT_EQ(memoryWarning(5 * mebi, machine), "");
  EXPECT_EQ(memoryWarning(6 * mebi, machine),
            "the program needs 6291456 bytes (6.0 MiB) for tensors, of this machine's memory "
            "5242880 bytes (5.0 MiB) are available");
  EXPECT_EQ(memoryWarning(11 * mebi, machine), "") << "that is an error";
}

TEST_F(MemoryTest, WritesBytes) {
  EXPECT_EQ(bytesText(0), "0 bytes");
  EXPECT_EQ(bytesText(1023), "1023 bytes");
  EXPECT_EQ(bytesText(1536), "1536 bytes (1.5 KiB)");
  EXPECT_EQ(bytesText(35426383104), "35426383104 bytes (33.0 GiB)");
}
