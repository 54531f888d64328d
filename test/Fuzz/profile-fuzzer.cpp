//===- profile-fuzzer.cpp - Any bytes as a file of Hetu-Galvatron ---------===//
//
// Each reader says what is wrong with a file, or reads it; a plan that is read is written, and read back as the same. Profiles that fit
// together are searched.
//
//   profile-fuzzer -max_total_time=60 CORPUS
//
//===----------------------------------------------------------------------===//

#include "galvatron/Search/Hetu/PlanJson.h"
#include "galvatron/Search/Hetu/Space.h"
#include "llvm/Support/FileSystem.h"

#include <cstdlib>

using namespace llvm;
using namespace galvatron;
using namespace galvatron::hetu;

namespace {

/// Files that readers are given, in memory.
class Folder {
public:
  Folder() {
    if (sys::fs::createUniqueDirectory("profile-fuzzer", path))
      abort();
  }
  ~Folder() { sys::fs::remove_directories(path); }
  std::string write(StringRef name, StringRef text) const {
    std::string file = (path + "/" + name).str();
    std::error_code error;
    raw_fd_ostream stream(file, error);
    if (error)
      abort();
    stream << text;
    return file;
  }
  std::string str() const { return std::string(path); }

private:
  SmallString<128> path;
};

/// Calls a reader; it has a result, or says why not.
template <typename Read> auto check(Read read) {
  bool isSilent = true;
  auto result = read([&](const Twine &message) { isSilent &= message.str().empty(); });
  if (result.has_value() != isSilent)
    abort();
  return result;
}

void checkPlan(const Folder &folder, StringRef text) {
  auto ignore = [](const Twine &) {};
  std::string file = folder.write("plan.json", text);
  std::optional<Plan> plan = check([&](Report report) { return readHetuPlan(file, 8, report, ignore); });
  if (!plan)
    return;
  std::string written;
  raw_string_ostream stream(written);
  // Not all that its files say can be written: a default that no layer has, for one. What is written is read as the same.
  if (!printHetuPlan(*plan, stream, ignore))
    return;
  std::optional<Plan> again = readHetuPlan(folder.write("again.json", written), 8, ignore, ignore);
  if (!again || !(*again == *plan))
    abort();
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const Folder folder;
  StringRef text(reinterpret_cast<const char *>(data), size);
  checkPlan(folder, text);
  std::string file = folder.write("profile.json", text);
  for (int64_t sequence : {2048, 8192}) {
    for (TimeMode mode : {TimeMode::Static, TimeMode::Batch, TimeMode::Sequence})
      check([&](Report report) { return readComputationProfile(file, mode, {sequence}, report); });
    for (MemoryMode mode : {MemoryMode::Static, MemoryMode::Sequence})
      for (bool isParallel : {false, true})
        check([&](Report report) { return readMemoryProfile(file, mode, {sequence}, isParallel, report); });
  }
  for (StringRef name : {"allreduce_bandwidth_1nodes_8gpus_per_node.json", "p2p_bandwidth_1nodes_8gpus_per_node.json", "sp_time_1nodes_8gpus_per_node.json", "overlap_coefficient.json"})
    folder.write(name, text);
  check([&](Report report) { return readHardwareProfile(folder.str(), 1, 8, report); });
  return 0;
}
