// Folder.cpp: see Folder.h. A checkpoint gets its name when all of it is on the disk, so every file that
// has such a name is complete.
#include "checkpoint/Folder.h"

#include "checkpoint/SafeTensors.h"
#include "core/Clock.h"
#include "core/Error.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <optional>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

namespace galvatron_rt {
namespace {

constexpr char namePrefix[] = "step-", nameSuffix[] = ".safetensors";

/// The step in a checkpoint's name, if it is one.
std::optional<int64_t> stepOf(const std::string &name) {
  constexpr size_t prefix = sizeof(namePrefix) - 1, suffix = sizeof(nameSuffix) - 1;
  if (name.size() <= prefix + suffix || name.compare(0, prefix, namePrefix) != 0 ||
      name.compare(name.size() - suffix, suffix, nameSuffix) != 0)
    return std::nullopt;
  int64_t step = 0;
  const char *end = name.data() + name.size() - suffix;
  auto [stop, problem] = std::from_chars(name.data() + prefix, end, step);
  if (problem != std::errc() || stop != end || step < 1)
    return std::nullopt;
  return step;
}

} // namespace

CheckpointFolder::~CheckpointFolder() {
  if (descriptor >= 0)
    ::close(descriptor);
}

void CheckpointFolder::open() {
  if (mkdir(path.c_str(), 0777) && errno != EEXIST)
    fail(systemMessage(path));
  descriptor = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0)
    fail(systemMessage(path));
  lock();
  std::error_code ignored;
  for (const auto &entry : std::filesystem::directory_iterator(path, ignored)) {
    std::string name = entry.path().filename().string();
    size_t end = name.find(partialSuffix);
    if (end != std::string::npos && stepOf(name.substr(0, end)))
      unlink(entry.path().c_str());
  }
}

/// A program that was killed a moment ago may not have ended yet.
void CheckpointFolder::lock() {
  constexpr double patience = 5; // seconds
  for (double deadline = secondsNow() + patience; flock(descriptor, LOCK_EX | LOCK_NB);) {
    if (errno != EWOULDBLOCK)
      return; // the file system has no locks
    if (secondsNow() > deadline)
      fail("another program writes its checkpoints to '", path, "'");
    usleep(50000);
  }
}

std::vector<CheckpointFolder::Checkpoint> CheckpointFolder::list() const {
  std::vector<Checkpoint> found;
  std::error_code problem;
  for (const auto &entry : std::filesystem::directory_iterator(path, problem))
    if (std::optional<int64_t> step = stepOf(entry.path().filename().string()))
      found.push_back({entry.path().string(), *step});
  if (problem)
    fail("file '", path, "': ", problem.message());
  std::sort(found.begin(), found.end(),
            [](const Checkpoint &a, const Checkpoint &b) { return a.step < b.step; });
  return found;
}

std::string CheckpointFolder::pathOf(int64_t step) const {
  char name[64];
  std::snprintf(name, sizeof(name), "%s%07lld%s", namePrefix, static_cast<long long>(step), nameSuffix);
  return concat(path, "/", name);
}

void CheckpointFolder::keepLast(size_t count) const {
  std::vector<Checkpoint> all = list();
  for (size_t i = 0; i + count < all.size(); ++i)
    unlink(all[i].path.c_str());
}

} // namespace galvatron_rt
