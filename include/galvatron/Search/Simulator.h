//===- Simulator.h - A step of a pipeline, span by span ---------*- C++ -*-===//
//
// What a formula of a step's time leaves out: who waits for whom. Stages run their micro-batches in the order of the compiler's own tables
// (orderMicroBatches); each computes and communicates at once, and both are slower then.
//
//===----------------------------------------------------------------------===//

#ifndef GALVATRON_SEARCH_SIMULATOR_H
#define GALVATRON_SEARCH_SIMULATOR_H

#include "galvatron/Plan/Plan.h"

#include <vector>

namespace galvatron::search {

/// What a stage does in a step. Times are what each thing takes alone; any unit.
struct SimulatedStage {
  double forward = 0, backward = 0; ///< of a micro-batch
  double send = 0;                  ///< of what a micro-batch hands to the next stage; and of the gradient of what came from the one before
  double reduction = 0;             ///< of gradients, once a step
  int64_t pieces = 1;               ///< layers: the last backward makes gradients in so many equal pieces, each reduced when it is there
  double states = 0;                ///< memory that stays
  double activation = 0;            ///< memory that a micro-batch takes from the begin of its forward to the end of its backward
};

struct Simulation {
  enum class Kind { Forward, Backward, SendForward, SendBackward, Reduce };
  /// Something that a stage does. Pieces of the last backward are spans of their own.
  struct Span {
    size_t stage = 0;
    Kind kind = Kind::Forward;
    int64_t microBatch = 0;
    double begin = 0, end = 0;
    int64_t cause = -1; ///< the span whose end let it begin; -1: none
  };
  std::vector<Span> spans;  ///< in the order in which they end
  double time = 0;          ///< the end of the last one
  std::vector<double> busy; ///< of each stage, computing
  std::vector<std::vector<std::pair<double, double>>> memory; ///< of each stage: from when on how much
  std::vector<double> peak;           ///< of each stage's memory
  std::vector<size_t> criticalPath;   ///< spans each of which lets the next one begin; the last one ends the step

  /// The part of the stages' time in which they do not compute.
  double getBubble() const;
};

/// Runs a step. `slowdown`, at least 1: how much longer computing and communicating take while a stage does both. A stage does one
/// communication at a time, in the order in which they could begin; what goes to other stages before reductions.
Simulation simulate(const std::vector<SimulatedStage> &stages, PlanSchedule schedule, int64_t microBatches, double slowdown);

} // namespace galvatron::search

#endif
