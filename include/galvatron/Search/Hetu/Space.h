//===- Space.h - The plans that Hetu-Galvatron searches ---------*- C++ -*-===//
//
// This project's predecessor searches one task after the other: a global batch, a number of micro-batches, a number of stages, and a
// bound on how many ranks share a layer. Within a task, any strategy of the task may be that of each layer, and one that of embedding
// and head; stages have equal numbers of layers, the last one what is left over. All tasks together are its space.
//
//===----------------------------------------------------------------------===//

#ifndef GALVATRON_SEARCH_HETU_SPACE_H
#define GALVATRON_SEARCH_HETU_SPACE_H

#include "galvatron/Search/Hetu/HetuPlan.h"
#include "galvatron/Search/Search.h"

#include <functional>

namespace galvatron::hetu {

enum class SpaceKind {
  Published, ///< its own, where switching between strategies costs nothing
  Fixed,     ///< with batches that divide, and with what switching costs
  Uniform    ///< its own, with one strategy for all layers, embedding and head
};

/// What a strategy may be.
struct StrategyLimits {
  StateSharding sharding = StateSharding::Zero2;  ///< where it is not Zero3: Zero2 or Replicated
  int64_t mostTensor = 8, mostSequence = 8;       ///< degrees
  int64_t mostPipeline = 8;                       ///< stages
  bool pipeline = true, tensor = true, sequence = true, data = true; ///< whether there are any above 1
  bool checkpoint = true, zero3 = true;
  bool endTensor = true, endSequence = true;      ///< of embedding and head
  std::function<bool(const LayerStrategy &)> allows; ///< of layers, more; empty: all
};

/// Megabytes of each rank: what is asked for, less a fifth that an allocator of more than 20 GB keeps to itself.
struct MemoryBudget {
  int64_t total = 0, reserve = 0;
  static MemoryBudget ofGigabytes(double gigabytes);
  int64_t getUsable() const { return total - reserve; }
};

/// A task: what its plans have in common.
struct Task {
  int64_t globalBatch = 1, microBatches = 1, pipeline = 1;
  int64_t largestShare = 1;   ///< bound on tensor and sequence degrees; sizes the buffer of gathers
  bool isSequenceOnly = false; ///< no tensor parallelism, and no buffer
  std::optional<LayerStrategy> only; ///< the strategy of all layers, of a uniform space
};

/// The space as problems: one for each task. Times are in seconds a sample, memory in MB.
class Space : public search::ProblemSet {
public:
  /// All global batches of `batches`; a number of micro-batches where it divides them, or all divisors of the batch.
  Space(const CostModel &model, SpaceKind kind, const StrategyLimits &limits, const MemoryBudget &budget, llvm::ArrayRef<int64_t> batches,
        std::optional<int64_t> microBatches);

  size_t size() const override { return tasks.size(); }
  search::Problem make(size_t index) const override;

  /// The plan that an assignment of a task's problem is. Layers that are computed again come first on each stage, then those of ZeRO-3.
  HetuPlan getPlan(size_t index, const search::Assignment &assignment) const;

private:
  void addTasks(int64_t globalBatch, int64_t microBatches, int64_t pipeline);
  bool isAllowed(const LayerStrategy &strategy) const;
  std::vector<LayerStrategy> listStrategies(const Task &task) const;
  std::vector<LayerStrategy> listLayers(const Task &task) const;
  std::vector<LayerStrategy> listEnds(const Task &task) const;
  std::vector<std::vector<double>> getMoves(const Task &task) const;

  const CostModel &model;
  SpaceKind kind;
  StrategyLimits limits;
  MemoryBudget budget;
  std::vector<Task> tasks;
};

/// The layers of each stage: equally many, the last one what is left over.
std::vector<int64_t> splitLayers(int64_t layers, int64_t stages);

} // namespace galvatron::hetu

#endif
