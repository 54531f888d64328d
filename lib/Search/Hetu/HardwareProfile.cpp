//===- HardwareProfile.cpp ------------------------------------------------===//

#include "ProfileObject.h"
#include "galvatron/Search/Hetu/Profiles.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"

#include <algorithm>

using namespace llvm;
using namespace galvatron;
using namespace galvatron::hetu;

namespace {

/// "allreduce_size_8_consec_1" with the prefix "allreduce_size_" and the middle "_consec_": 8 and 1.
std::optional<std::pair<int64_t, int64_t>> parseTwo(StringRef key, StringRef prefix, StringRef middle, StringRef suffix = "") {
  if (!key.consume_front(prefix) || !key.consume_back(suffix))
    return std::nullopt;
  auto [first, second] = key.split(middle);
  int64_t a, b;
  if (first.getAsInteger(10, a) || second.getAsInteger(10, b))
    return std::nullopt;
  return std::pair(a, b);
}

bool readAllReduce(const ProfileObject &file, HardwareProfile &profile) {
  bool ok = true;
  for (const std::string &key : file.getKeys())
    if (auto size = parseTwo(key, "allreduce_size_", "_consec_")) {
      std::optional<double> bandwidth = file.getNumber(key, 0, /*isAbove=*/true);
      ok &= bandwidth.has_value();
      profile.allReduceBandwidth[{size->first, size->second != 0}] = bandwidth.value_or(0);
    }
  return ok;
}

bool readSend(const ProfileObject &file, HardwareProfile &profile) {
  bool ok = true;
  for (const std::string &key : file.getKeys()) {
    StringRef name = key;
    int64_t stages;
    if (!name.consume_front("pp_size_") || name.getAsInteger(10, stages))
      continue;
    std::optional<double> bandwidth = file.getNumber(key, 0, /*isAbove=*/true);
    ok &= bandwidth.has_value();
    profile.sendBandwidth[stages] = bandwidth.value_or(0);
  }
  return ok;
}

bool readTimes(const ProfileObject &file, HardwareProfile &profile) {
  bool ok = true;
  const std::pair<StringRef, std::map<int64_t, TimeTable> *> collectives[] = {{"allreduce_size_", &profile.allReduceTime},
                                                                              {"all2all_size_", &profile.allToAllTime}};
  for (const std::string &key : file.getKeys())
    for (auto [prefix, tables] : collectives)
      if (auto size = parseTwo(key, prefix, "_", "MB_time")) {
        std::optional<double> time = file.getNumber(key, 0, /*isAbove=*/true);
        ok &= time.has_value();
        (*tables)[size->first].add(static_cast<double>(size->second), time.value_or(0));
      }
  // A line through fewer says nothing of sizes in between.
  constexpr size_t leastSizes = 8;
  for (auto [prefix, tables] : collectives)
    for (auto &[ranks, table] : *tables) {
      if (table.size() < leastSizes) {
        file.refuse("\"" + prefix + Twine(ranks) + "_...MB_time\" has " + Twine(table.size()) + " sizes, wanted at least " + Twine(leastSizes));
        ok = false;
      }
      table.fit();
    }
  return ok;
}

/// The files of a folder of hardware profiles, by the shapes of clusters.
class HardwareReader {
public:
  HardwareReader(StringRef folder, HardwareProfile &profile, Report report) : folder(folder), profile(profile), report(report) {}

  bool readLinks();
  bool readCollectives();
  bool readOverlap();

private:
  using Take = bool (*)(const ProfileObject &, HardwareProfile &);
  std::string pathOf(StringRef name, int64_t nodes) const {
    SmallString<128> path(folder);
    sys::path::append(path, name + "_" + Twine(nodes) + "nodes_" + Twine(profile.ranksPerNode) + "gpus_per_node.json");
    return std::string(path);
  }
  bool isThere(StringRef name, int64_t nodes) const { return sys::fs::exists(pathOf(name, nodes)); }
  bool read(StringRef name, int64_t nodes, HardwareProfile &target, Take take) {
    std::optional<ProfileObject> file = ProfileObject::read(pathOf(name, nodes), report);
    return file && take(*file, target);
  }
  void deriveReductions(const HardwareProfile &one, const HardwareProfile &two);
  void deriveSends(const HardwareProfile &two);
  void note(StringRef name, const Twine &source) {
    profile.derived.push_back(("'" + sys::path::filename(pathOf(name, profile.nodes)) + "' is not there: " + source).str());
  }

  StringRef folder;
  HardwareProfile &profile;
  Report report;
};

/// A group of g ranks that are `stride` apart has so many on each node; of two nodes, a group of twice as many ranks is alike.
void HardwareReader::deriveReductions(const HardwareProfile &one, const HardwareProfile &two) {
  int64_t ranks = profile.getRanks(), perNode = profile.ranksPerNode;
  for (int64_t group = 2; group <= ranks; group *= 2)
    for (bool areNeighbours : {false, true}) {
      int64_t stride = areNeighbours ? 1 : ranks / group, onNode = std::min(group, std::max<int64_t>(1, perNode / stride));
      bool isInside = onNode == group;
      const auto &measured = isInside ? one.allReduceBandwidth : two.allReduceBandwidth;
      // On one node ranks are neighbours, or all of every so many.
      auto found = measured.find({isInside ? group : 2 * onNode, isInside ? areNeighbours || group == perNode : onNode == perNode});
      if (found != measured.end())
        profile.allReduceBandwidth[{group, areNeighbours}] = found->second;
    }
}

void HardwareReader::deriveSends(const HardwareProfile &two) {
  int64_t ranks = profile.getRanks();
  for (int64_t stages = 2; stages <= ranks; stages *= 2) {
    // As far apart, or on other nodes.
    int64_t distance = std::min(ranks / stages, profile.ranksPerNode);
    if (auto found = two.sendBandwidth.find(two.getRanks() / distance); found != two.sendBandwidth.end())
      profile.sendBandwidth[stages] = found->second;
  }
}

bool HardwareReader::readLinks() {
  bool ok = true;
  HardwareProfile one, two;
  one.ranksPerNode = two.ranksPerNode = profile.ranksPerNode;
  two.nodes = 2;
  auto isMeasured = [&](StringRef name) { return profile.nodes < 3 || isThere(name, profile.nodes) || !isThere(name, 2); };
  if (constexpr StringLiteral name = "allreduce_bandwidth"; isMeasured(name)) {
    profile.paths.reductions = pathOf(name, profile.nodes);
    ok &= read(name, profile.nodes, profile, readAllReduce);
  } else if (read(name, 1, one, readAllReduce) && read(name, 2, two, readAllReduce)) {
    profile.paths.reductions = pathOf(name, 2);
    deriveReductions(one, two);
    note(name, "groups of ranks reduce as fast as those of 1 and 2 nodes with as many ranks on each");
  } else {
    ok = false;
  }
  if (constexpr StringLiteral name = "p2p_bandwidth"; isMeasured(name)) {
    profile.paths.sends = pathOf(name, profile.nodes);
    ok &= read(name, profile.nodes, profile, readSend);
  } else if (read(name, 2, two, readSend)) {
    profile.paths.sends = pathOf(name, 2);
    deriveSends(two);
    note(name, "stages send as fast as those of 2 nodes that are as far apart");
  } else {
    ok = false;
  }
  return ok;
}

bool HardwareReader::readCollectives() {
  constexpr StringLiteral name = "sp_time";
  bool isMeasured = isThere(name, profile.nodes) || profile.nodes == 1 || !isThere(name, 1);
  if (!isMeasured)
    note(name, "collectives of neighbours take what they take on 1 node");
  int64_t nodes = isMeasured ? profile.nodes : 1;
  profile.paths.collectives = pathOf(name, nodes);
  return read(name, nodes, profile, readTimes);
}

bool HardwareReader::readOverlap() {
  SmallString<128> path(folder);
  sys::path::append(path, "overlap_coefficient.json");
  std::optional<ProfileObject> file = ProfileObject::read(path, report);
  std::optional<double> slowdown = file ? file->getNumber("overlap_coe", 1, /*isAbove=*/false) : std::nullopt;
  profile.overlapSlowdown = slowdown.value_or(1);
  return slowdown.has_value();
}

} // namespace

std::optional<HardwareProfile> hetu::readHardwareProfile(StringRef folder, int64_t nodes, int64_t ranksPerNode, Report report) {
  HardwareProfile profile;
  profile.nodes = nodes;
  profile.ranksPerNode = ranksPerNode;
  HardwareReader reader(folder, profile, report);
  bool ok = reader.readLinks();
  ok &= reader.readCollectives();
  ok &= reader.readOverlap();
  if (!ok)
    return std::nullopt;
  return profile;
}
