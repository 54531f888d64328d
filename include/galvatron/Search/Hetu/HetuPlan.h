//===- HetuPlan.h - Plans of Hetu-Galvatron ---------------------*- C++ -*-===//

#ifndef GALVATRON_SEARCH_HETU_HETUPLAN_H
#define GALVATRON_SEARCH_HETU_HETUPLAN_H

#include "galvatron/Plan/Plan.h"
#include "galvatron/Search/Hetu/CostModel.h"
#include "galvatron/Search/Simulator.h"

namespace galvatron::hetu {

/// Layers that have one strategy, one behind the other.
struct LayerRun {
  int64_t count = 0;
  LayerStrategy strategy;
};

/// A strategy for each layer, on stages, and one for embedding and head together.
struct HetuPlan {
  int64_t globalBatch = 1, microBatches = 1;
  std::vector<std::vector<LayerRun>> stages; ///< at least one
  LayerStrategy end;
  PlanSchedule order = PlanSchedule::OneFOneB;
  int64_t largestShare = 1;    ///< for how many ranks that share a layer the buffer of gathers is made
  bool hasBuffer = true;       ///< whether there is one: not in tasks without tensor parallelism
  /// Makes it that of the smallest task which the plan is in.
  void sizeBuffer();
};

/// What a plan costs; a number for each stage, in s of a micro-batch and MB.
struct PlanCost {
  std::vector<double> layers, layersWithSync; ///< without what moves between them
  std::vector<TimeParts> parts;               ///< of `layers`
  std::vector<double> moves, ends;
  std::vector<double> states, activation, endMemory; ///< of layers; of embedding and head, with what every process needs
  int64_t buffer = 0;                         ///< on each stage
  double time = 0;                            ///< of a step, s
  /// Of the reduction of gradients, s of a step that no computation hides.
  double getExposedReduction() const;
  double getMemory(size_t stage) const { return states[stage] + activation[stage] + endMemory[stage] + static_cast<double>(buffer); }
};

/// Adds up what a plan costs.
PlanCost evaluatePlan(const CostModel &model, const HetuPlan &plan);

/// A step of the plan, as its stages go: what it takes where they wait for each other, messages are on their way while stages compute, and
/// gradients are reduced beside the last backward. Nothing if that has too many parts to be looked at.
std::optional<search::Simulation> simulatePlan(const CostModel &model, const HetuPlan &plan, const PlanCost &cost);

/// What the cost of a plan rests on that was not measured, a sentence each.
std::vector<std::string> listInterpolations(const CostModel &model, const HetuPlan &plan);

/// Samples of a step that a strategy leaves out, as its local batches are rounded down.
int64_t countDropped(const HetuPlan &plan, const LayerStrategy &strategy);

/// The same as a plan of this project. Ranks that share a layer are neighbours; every axis of the mesh has two ranks, as all degrees are powers
/// of two. Ranks that share a sequence are "sp".
Plan toPlan(const HetuPlan &plan);

/// A plan of this project, with batch, micro-batches and all numbers of blocks, as one that the model has formulas for. Its buffer is that of
/// the smallest task which the plan is in. Nothing, after reports that say what the model knows nothing of, if there is none.
std::optional<HetuPlan> fromPlan(const Plan &plan, const CostModel &model, Report report);

} // namespace galvatron::hetu

#endif
