//===- Profiles.h - The profiles of Hetu-Galvatron --------------*- C++ -*-===//
//
// What the profiler of this project's predecessor measured, as its files have it: memory in MB of 2^20 bytes, time in ms, bandwidth in
// MB/ms. Both published versions are read: files of "main", whose keys name batch and sequence, and of "v2.4.0", some of which leave
// the sequence to the file's name.
//
//===----------------------------------------------------------------------===//

#ifndef GALVATRON_SEARCH_HETU_PROFILES_H
#define GALVATRON_SEARCH_HETU_PROFILES_H

#include "galvatron/Support/Report.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace galvatron::hetu {

/// A polynomial of at most two, from the constant on.
struct Polynomial {
  double coefficients[3] = {0, 0, 0};
  double operator()(double x) const { return coefficients[0] + x * (coefficients[1] + x * coefficients[2]); }
};

/// The polynomial of a degree (1 or 2) with the least squared distance from the points, of which there are more than the degree.
Polynomial fitPolynomial(llvm::ArrayRef<std::pair<double, double>> points, unsigned degree);

/// How long a collective takes: ms by the MB that each rank has.
class TimeTable {
public:
  void add(double megabytes, double milliseconds) { measured[megabytes] = milliseconds; }
  void fit();
  size_t size() const { return measured.size(); }
  bool isMeasured(double megabytes) const { return measured.count(megabytes); }
  /// What was measured, where that is a size that was; else what the line through all says.
  double lookup(double megabytes) const;

private:
  std::map<double, double> measured;
  Polynomial line;
};

//===----------------------------------------------------------------------===//
// Hardware
//===----------------------------------------------------------------------===//

/// The links of a cluster of equal nodes.
struct HardwareProfile {
  struct {
    std::string reductions, sends, collectives;
  } paths; ///< the files
  int64_t nodes = 1, ranksPerNode = 1;
  std::map<std::pair<int64_t, bool>, double> allReduceBandwidth; ///< bus bandwidth by ranks, and whether they are neighbours
  std::map<int64_t, double> sendBandwidth;                       ///< between stages, by their number
  std::map<int64_t, TimeTable> allReduceTime, allToAllTime;      ///< by ranks
  double overlapSlowdown = 1;                                    ///< of computation and communication that run at once, at least 1
  std::vector<std::string> derived;                              ///< what was not measured on this shape, a sentence each: where it is from

  int64_t getRanks() const { return nodes * ranksPerNode; }
};

/// Reads the four files of a cluster's shape in a folder. Reports name file and key. Of several nodes whose shape was not measured, links are
/// those of two nodes: a group of ranks has the bandwidth of one with as many ranks on each node, and of one node where it is on one;
/// stages that are as far apart send as fast. Collectives of few neighbours, which are on one node, take what they take there.
std::optional<HardwareProfile> readHardwareProfile(llvm::StringRef folder, int64_t nodes, int64_t ranksPerNode, Report report);

//===----------------------------------------------------------------------===//
// Models
//===----------------------------------------------------------------------===//

/// How the profiles of a model are to be understood (its settings "time_profile_mode" and "memory_profile_mode").
enum class TimeMode { Static, Batch, Sequence };
enum class MemoryMode { Static, Sequence };

/// Forward time in ms of `samples` on one device: a line in the number of samples.
struct ForwardTime {
  double perSample = 0, constant = 0;
  double operator()(double samples) const { return perSample * samples + constant; }
};

/// Computation of one model at one sequence length.
struct ComputationProfile {
  std::string path;                ///< the file
  std::vector<ForwardTime> layers; ///< by layer type
  ForwardTime other;               ///< embedding, head and loss
};

/// Reads how long layers of the types 0 to `types` - 1 take at `sequences`, one for each type. Reports name file and key.
std::optional<ComputationProfile> readComputationProfile(llvm::StringRef path, TimeMode mode, llvm::ArrayRef<int64_t> sequences, Report report);

/// MB by how many ranks share what takes it.
using MegabytesByDegree = std::map<int64_t, double>;

/// Memory of a layer.
struct LayerMemory {
  double parameters = 0;               ///< MB in 32 bits
  MegabytesByDegree activation;        ///< MB a sample of a micro-batch, by tensor- or sequence-parallel degree
  double checkpoint = 0;               ///< MB a sample: what is kept where the layer is computed again
};

/// Memory of embedding and head where they are.
struct OtherMemory {
  MegabytesByDegree states;     ///< MB of parameters, gradients and two moments in 32 bits, by the degree that splits the vocabulary
  MegabytesByDegree activation; ///< MB a sample of a micro-batch, by the degree
};

struct MemoryProfile {
  std::string path;                ///< the file
  std::vector<LayerMemory> layers; ///< by layer type
  OtherMemory whole, first, last;  ///< without a pipeline; on its first stage; on its last
};

/// Reads what was measured with Megatron's sequence parallelism (`sequenceParallel`) or without. Reports name file and key.
std::optional<MemoryProfile> readMemoryProfile(llvm::StringRef path, MemoryMode mode, llvm::ArrayRef<int64_t> sequences, bool sequenceParallel,
                                               Report report);

} // namespace galvatron::hetu

#endif
