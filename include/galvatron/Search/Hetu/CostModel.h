//===- CostModel.h - What a strategy costs, to Hetu-Galvatron ---*- C++ -*-===//
//
// Time and memory of this project's predecessor, to the formula, what looks unintended included: its plans are compared with ours on
// its own ground. docs/Search.md says what of it is corrected, and how a step differs that is simulated.
//
//===----------------------------------------------------------------------===//

#ifndef GALVATRON_SEARCH_HETU_COSTMODEL_H
#define GALVATRON_SEARCH_HETU_COSTMODEL_H

#include "galvatron/Plan/Plan.h"
#include "galvatron/Search/Hetu/Profiles.h"

namespace galvatron::hetu {

/// How state is laid out over ranks that have the same weights.
enum class StateSharding { Replicated, Zero2, Zero3 };

/// How a layer is split, or embedding and head are. Every degree is a power of two; tensor or sequence is 1.
struct LayerStrategy {
  int64_t pipeline = 1, tensor = 1, sequence = 1, data = 1;
  StateSharding sharding = StateSharding::Replicated;
  bool checkpoint = false; ///< its backward computes the forward again

  /// Ranks that share a layer's activations.
  int64_t getShare() const { return tensor > sequence ? tensor : sequence; }
  /// Ranks that have the same weights.
  int64_t getReplicas() const { return data * sequence; }
  /// "2-2*-2f-c", as its logs have it.
  std::string str() const;
};

/// Ranks that may share a layer: the predecessor measures collectives of no more.
inline constexpr int64_t mostMeasuredShare = 8;

/// What holds for a whole run.
struct Settings {
  int64_t sequence = 0, hidden = 0, layers = 0;
  bool mixedPrecision = true;      ///< 2 bytes for weights and activations, half of the volume of gradients
  bool asyncReduction = true;      ///< gradients are reduced after the last micro-batch
  bool sequenceParallel = true;    ///< Megatron's, over the ranks of tensor parallelism
  bool memoryBuffer = true;        ///< one buffer for all of its gathers
  PlanSchedule order = PlanSchedule::OneFOneB;
  int64_t mostShare = mostMeasuredShare; ///< ranks that share a layer at most: profiles need no more
  bool isCorrected = false;        ///< not its figures where they look unintended: ranks that share a sequence alone reduce gradients; embedding
                                   ///< and head reduce as many bytes as layers of their size would; moving between strategies takes time
};

/// What the time of layers for a micro-batch is made of, without the reduction of gradients; s.
struct TimeParts {
  double forward = 0, backward = 0; ///< computing
  double recomputation = 0;         ///< the forward once more
  double exchange = 0;              ///< between ranks that share layers
  double gather = 0;                ///< of weights that ZeRO-3 has in pieces
  double send = 0;                  ///< between stages, its part of it
  double getSum() const { return forward + backward + recomputation + exchange + gather + send; }
  void add(const TimeParts &other, double times);
};

/// Of one layer on each stage that it could be on.
struct LayerCost {
  double time = 0, timeWithSync = 0; ///< s of a micro-batch, forward and backward; and with the reduction of gradients
  TimeParts parts;                   ///< of `time`
  double reduction = 0;              ///< s that the reduction of gradients takes alone
  double states = 0;                 ///< MB
  std::vector<double> activation;    ///< MB, by stage
  double getMemory(size_t stage) const { return states + activation[stage]; }
};

/// Of embedding and head together, by stage.
struct EndCost {
  std::vector<double> time, timeWithSync, memory; ///< s of a micro-batch; MB, with what a process needs before it does anything
};

class CostModel {
public:
  /// The profiles of a cluster and of a model with one type of layers. Nothing, after reports, if they lack a size that some strategy needs.
  static std::optional<CostModel> make(HardwareProfile hardware, ComputationProfile computation, MemoryProfile memory, Settings settings,
                                       Report report);

  const Settings &getSettings() const { return settings; }
  /// The same, of pipelines with another schedule.
  CostModel withOrder(PlanSchedule order) const;
  int64_t getRanks() const { return hardware.getRanks(); }
  /// Rows that a rank has of a micro-batch. Rounded down twice: a plan may drop rows.
  static int64_t getLocalBatch(int64_t globalBatch, int64_t microBatches, int64_t data) { return globalBatch / microBatches / data; }

  LayerCost getLayerCost(const LayerStrategy &strategy, int64_t globalBatch, int64_t microBatches) const;
  EndCost getEndCost(const LayerStrategy &strategy, int64_t globalBatch, int64_t microBatches) const;
  /// Whether moving between layers that different numbers of ranks share takes time: in the corrected model, with Megatron's sequence parallelism.
  bool hasMoves() const { return settings.isCorrected && settings.sequenceParallel; }
  /// Seconds of moving what one layer hands to the next between ranks that share layers by different degrees, at the scale of the bytes that move:
  /// those of the larger degree; or, where that is less, by way of a larger one still.
  double getMoveTime(int64_t pipeline, int64_t from, int64_t to, int64_t globalBatch, int64_t microBatches) const;
  /// What the time of a strategy rests on that was not measured, a sentence; nothing if all was.
  std::optional<std::string> describeInterpolation(const LayerStrategy &strategy, int64_t globalBatch, int64_t microBatches) const;
  /// How much longer computing and communicating take while a rank does both.
  double getOverlapSlowdown() const { return hardware.overlapSlowdown; }
  /// MB on each stage for the gathers of ranks that share layers, at most `largestShare` of them.
  int64_t getBufferMegabytes(int64_t pipeline, int64_t largestShare, int64_t globalBatch, int64_t microBatches) const;

  /// Seconds of a step, of the seconds that each stage takes for a micro-batch: its layers with the reduction of gradients, and all that
  /// it has without. `moves` come on top, and hide nothing; none if empty.
  static double getStepTime(llvm::ArrayRef<double> layersWithSync, llvm::ArrayRef<double> stages, int64_t microBatches,
                            llvm::ArrayRef<double> moves = {});

private:
  CostModel() = default;
  double getReductionTime(int64_t ranks, bool areNeighbours) const;
  double getStateShare(StateSharding sharding, int64_t replicas, int64_t microBatches) const;
  double overlap(double volume, double perMegabyte, double computation) const;
  double getMessageMegabytes(int64_t localBatch) const;
  int64_t countInFlight(int64_t pipeline, int64_t stage, int64_t microBatches) const;

  HardwareProfile hardware;
  ComputationProfile computation;
  MemoryProfile memory;
  Settings settings;
};

} // namespace galvatron::hetu

#endif
