//===- Request.h - What galvatron-plan is asked -----------------*- C++ -*-===//

#ifndef GALVATRON_TOOLS_PLAN_REQUEST_H
#define GALVATRON_TOOLS_PLAN_REQUEST_H

#include "galvatron/Search/Hetu/Space.h"
#include "llvm/Support/CommandLine.h"

#include <memory>

namespace galvatron {

/// The command line. Not global: LLVM's own options, which have some of these names, must go first.
struct Options {
  Options();
  /// Leaves options of LLVM out of --help.
  static void hideOthers();

  template <typename T> using opt = llvm::cl::opt<T>;
  opt<std::string> profiles, model, computation, memory, hardware;
  opt<int64_t> layers, hidden, sequence, nodes, ranksPerNode;
  opt<double> memoryGigabytes;
  opt<std::string> globalBatch;
  opt<int64_t> microBatches;
  opt<std::string> space;
  opt<double> timeLimit;
  opt<bool> json;
  opt<std::string> output;
  opt<bool> evaluate, diff, explain;
  opt<std::string> report;
  llvm::cl::list<std::string> files;
  // Settings of the predecessor.
  opt<std::string> precision, dataType, schedule, timeMode, memoryMode;
  opt<bool> asyncReduction, sequenceParallel, memoryBuffer;
  opt<int64_t> mostTensor, mostSequence, mostPipeline;
  // Its plans of one strategy, to be evaluated.
  opt<int64_t> pipelineDegree, tensorDegree, contextDegree, expertDegree, expertTensorDegree, vocabularyDegree, vocabularyContext;
  opt<bool> isConsecutive, usesZero3, checkpoints, usesUlysses, vocabularyZero3;
  opt<bool> noPipeline, noTensor, noSequence, noData, noCheckpoint, noZero3, noEndTensor, noEndSequence;
};

/// More memory than any device has; sums of so much are exact.
inline constexpr int mostGigabytes = 1 << 20;

/// A search that can be made.
struct Request {
  std::string name; ///< of the model
  std::optional<hetu::CostModel> model;
  std::vector<std::string> derived; ///< links that were not measured
  hetu::SpaceKind kind = hetu::SpaceKind::Published;
  hetu::StrategyLimits limits;
  double gigabytes = 0; ///< 0: nobody asks whether a plan fits
  std::vector<int64_t> batches;
  std::optional<int64_t> microBatches;
  int64_t nodes = 1, ranksPerNode = 1;

  /// MB by which a plan that needs so many is too large; at most 0 if it fits, or if nobody asks.
  double getExcess(double megabytes) const;
  hetu::Space getSpace() const {
    return hetu::Space(*model, kind, limits, hetu::MemoryBudget::ofGigabytes(gigabytes), batches, microBatches);
  }
};

/// The spaces by their names.
inline constexpr std::pair<llvm::StringLiteral, hetu::SpaceKind> spaces[] = {
    {"galvatron", hetu::SpaceKind::Published}, {"galvatron-fixed", hetu::SpaceKind::Fixed}, {"uniform", hetu::SpaceKind::Uniform}};
llvm::StringRef getSpaceName(hetu::SpaceKind kind);

/// Checks the command line and reads the profiles. Nothing, after reports, if something is wrong. Batch and memory are not asked for where a plan
/// is evaluated that says its batch.
std::optional<Request> makeRequest(const Options &options, Report report);

/// Whether flags go together; reports those that do not.
bool checkFlags(const Options &options, Report report);

/// A plan of a file: ours, or Hetu-Galvatron's, which its keys tell.
std::optional<Plan> readEitherPlan(llvm::StringRef path, std::optional<int64_t> ranks, Report report, Report warn);

/// The plan that is to be evaluated: of a file, or of flags, which say one strategy.
std::optional<Plan> readGivenPlan(const Options &options, const Request &request, Report report, Report warn);

} // namespace galvatron

#endif
