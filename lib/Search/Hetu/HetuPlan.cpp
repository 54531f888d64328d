//===- HetuPlan.cpp -------------------------------------------------------===//

#include "galvatron/Search/Hetu/HetuPlan.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/MathExtras.h"

#include <algorithm>

using namespace llvm;
using namespace galvatron;
using namespace galvatron::hetu;

void HetuPlan::sizeBuffer() {
  hasBuffer = end.tensor > 1;
  largestShare = end.getShare();
  for (const std::vector<LayerRun> &runs : stages)
    for (const LayerRun &run : runs) {
      hasBuffer |= run.strategy.tensor > 1;
      largestShare = std::max(largestShare, run.strategy.getShare());
    }
}

PlanCost hetu::evaluatePlan(const CostModel &model, const HetuPlan &plan) {
  // How many micro-batches a stage keeps is the plan's own schedule's.
  if (plan.order != model.getSettings().order)
    return evaluatePlan(model.withOrder(plan.order), plan);
  size_t count = plan.stages.size();
  PlanCost cost;
  for (std::vector<double> *list : {&cost.layers, &cost.layersWithSync, &cost.moves, &cost.states, &cost.activation})
    list->assign(count, 0);
  cost.parts.resize(count);
  for (auto [stage, runs] : enumerate(plan.stages)) {
    const LayerStrategy *before = nullptr;
    for (const LayerRun &run : runs) {
      LayerCost layer = model.getLayerCost(run.strategy, plan.globalBatch, plan.microBatches);
      double layers = static_cast<double>(run.count);
      cost.layers[stage] += layers * layer.time;
      cost.parts[stage].add(layer.parts, layers);
      cost.layersWithSync[stage] += layers * layer.timeWithSync;
      cost.states[stage] += layers * layer.states;
      cost.activation[stage] += layers * layer.activation[stage];
      if (before && model.hasMoves())
        cost.moves[stage] += model.getMoveTime(run.strategy.pipeline, before->getShare(), run.strategy.getShare(), plan.globalBatch, plan.microBatches);
      before = &run.strategy;
    }
  }
  EndCost end = model.getEndCost(plan.end, plan.globalBatch, plan.microBatches);
  cost.ends = end.time;
  cost.endMemory = end.memory;
  if (plan.hasBuffer)
    cost.buffer = model.getBufferMegabytes(static_cast<int64_t>(count), plan.largestShare, plan.globalBatch, plan.microBatches);
  std::vector<double> stages = cost.layers;
  for (auto [stage, time] : enumerate(cost.ends))
    stages[stage] += time;
  cost.time = CostModel::getStepTime(cost.layersWithSync, stages, plan.microBatches, cost.moves);
  return cost;
}

std::vector<std::string> hetu::listInterpolations(const CostModel &model, const HetuPlan &plan) {
  std::vector<std::string> all;
  auto add = [&](const LayerStrategy &strategy) {
    std::optional<std::string> text = model.describeInterpolation(strategy, plan.globalBatch, plan.microBatches);
    if (text && !is_contained(all, *text))
      all.push_back(*text);
  };
  for (const std::vector<LayerRun> &runs : plan.stages)
    for (const LayerRun &run : runs)
      add(run.strategy);
  // Ranks that share a sequence of embedding and head exchange nothing there.
  if (plan.end.tensor > 1)
    add(plan.end);
  return all;
}

std::optional<search::Simulation> hetu::simulatePlan(const CostModel &model, const HetuPlan &plan, const PlanCost &cost) {
  constexpr int64_t mostParts = 1 << 20;
  int64_t count = static_cast<int64_t>(plan.stages.size());
  if (plan.microBatches > mostParts / count)
    return std::nullopt;
  std::vector<search::SimulatedStage> stages;
  for (auto [index, runs] : enumerate(plan.stages)) {
    search::SimulatedStage &stage = stages.emplace_back();
    // Embedding and head compute twice as long backward. What moves does so both ways.
    stage.forward = cost.ends[index] / 3 + cost.moves[index] / 2;
    stage.backward = cost.ends[index] * 2 / 3 + cost.moves[index] / 2;
    stage.states = cost.states[index] + cost.endMemory[index] + static_cast<double>(cost.buffer);
    stage.pieces = 0;
    for (const LayerRun &run : runs) {
      LayerCost layer = model.getLayerCost(run.strategy, plan.globalBatch, plan.microBatches);
      const TimeParts &parts = layer.parts;
      double layers = static_cast<double>(run.count);
      // Exchanges are of forward and backward alike, and of the forward that is computed again.
      double exchange = parts.exchange / (run.strategy.checkpoint ? 3 : 2);
      stage.forward += layers * (parts.forward + exchange + parts.gather);
      stage.backward += layers * (parts.backward + parts.recomputation + parts.exchange - exchange);
      stage.reduction += layers * layer.reduction;
      stage.pieces += run.count;
      // Of the two messages at each of its `pipeline` borders that the model spreads over all layers; what the last layer has goes on.
      stage.send = parts.send * static_cast<double>(model.getSettings().layers) / static_cast<double>(2 * count);
    }
    // As many micro-batches as it has in flight share what it keeps of them.
    int64_t inFlight = count == 1 ? 1 : plan.order == PlanSchedule::GPipe ? plan.microBatches : count - static_cast<int64_t>(index);
    stage.activation = cost.activation[index] / static_cast<double>(inFlight);
  }
  return search::simulate(stages, plan.order, plan.microBatches, model.getOverlapSlowdown());
}

double PlanCost::getExposedReduction() const {
  double before = 0, exposed = 0;
  for (size_t stage = 0; stage < layers.size(); ++stage) {
    before += layers[stage] + ends[stage];
    exposed = std::max(exposed, layersWithSync[stage] - before);
  }
  return exposed;
}

int64_t hetu::countDropped(const HetuPlan &plan, const LayerStrategy &strategy) {
  return plan.globalBatch - CostModel::getLocalBatch(plan.globalBatch, plan.microBatches, strategy.data) * strategy.data * plan.microBatches;
}

/// As the plan's own strategy, on a mesh whose axes from `first` on are of two ranks each.
static Strategy toStrategy(const LayerStrategy &layer, unsigned first, unsigned numAxes) {
  unsigned sharing = 0;
  for (int64_t share = layer.getShare(); share > 1; share /= 2)
    ++sharing;
  Strategy strategy;
  for (unsigned axis = first; axis < numAxes; ++axis)
    (axis + sharing < numAxes ? strategy.data : layer.sequence > 1 ? strategy.sequence : strategy.tensor).push_back(axis);
  bool isReplicated = layer.sharding == StateSharding::Replicated || layer.getReplicas() == 1;
  strategy.zero = isReplicated ? 0 : layer.sharding == StateSharding::Zero2 ? 2 : 3;
  strategy.recompute = layer.checkpoint ? Recompute::Block : Recompute::None;
  return strategy;
}

Plan hetu::toPlan(const HetuPlan &from) {
  Plan plan;
  int64_t stages = static_cast<int64_t>(from.stages.size()), ranks = stages * from.end.getShare() * from.end.data;
  unsigned stageAxes = 0;
  for (int64_t size = 1; size < ranks; size *= 2) {
    plan.mesh.push_back(2);
    stageAxes += size < stages;
  }
  unsigned numAxes = static_cast<unsigned>(plan.mesh.size());
  plan.globalBatch = from.globalBatch;
  plan.microBatches = from.microBatches;
  plan.schedule = from.order;
  plan.stages.count = stages;
  plan.embedding = plan.head = toStrategy(from.end, stageAxes, numAxes);
  int64_t first = 0;
  for (const std::vector<LayerRun> &runs : from.stages) {
    if (stages > 1)
      plan.stages.firstBlocks.push_back(first);
    for (const LayerRun &run : runs) {
      first += run.count;
      Strategy strategy = toStrategy(run.strategy, stageAxes, numAxes);
      if (!plan.blocks.empty() && plan.blocks.back().strategy == strategy)
        plan.blocks.back().count += run.count;
      else
        plan.blocks.push_back({run.count, std::move(strategy)});
    }
  }
  return plan;
}

//===----------------------------------------------------------------------===//
// From a plan of this project
//===----------------------------------------------------------------------===//

namespace {

class Converter {
public:
  Converter(const Plan &plan, const CostModel &model, Report report) : plan(plan), model(model), report(report) {}
  std::optional<HetuPlan> convert();

private:
  void refuse(const Twine &message) {
    report(message);
    ok = false;
  }
  LayerStrategy toLayer(const Strategy &strategy, const Twine &who);

  const Plan &plan;
  const CostModel &model;
  Report report;
  bool ok = true;
};

LayerStrategy Converter::toLayer(const Strategy &strategy, const Twine &who) {
  // Over axes that split layers it is Megatron's, which is a setting of the model.
  bool isMegatron = !strategy.sequence.empty() && strategy.sequence == strategy.tensor;
  LayerStrategy layer{plan.stages.count, plan.getSize(strategy.tensor), isMegatron ? 1 : plan.getSize(strategy.sequence), plan.getSize(strategy.data)};
  if (isMegatron && !model.getSettings().sequenceParallel)
    refuse(who + ": \"sp\" over axes of \"tp\", and --sequence-parallel=false");
  if (!strategy.ops.empty())
    refuse(who + ": \"ops\" of its own, for which the model has no formula");
  const PlanAxes &shared = layer.tensor > 1 ? strategy.tensor : strategy.sequence;
  if (!shared.empty() && shared.front() != plan.mesh.size() - shared.size())
    refuse(who + ": shared over axes that are not the innermost ones, for which the model has no formula");
  if (!strategy.expert.empty() || !strategy.expertTensor.empty())
    refuse(who + ": axes of \"ep\" or \"etp\", for which the model has no formula");
  if (layer.tensor > 1 && layer.sequence > 1)
    refuse(who + ": axes of \"tp\" and of \"sp\", for which the model has no formula");
  if (!strategy.context.empty())
    refuse(who + ": axes of \"cp\", for which the model has no formula");
  if (layer.getShare() > model.getSettings().mostShare)
    refuse(who + ": shared by " + Twine(layer.getShare()) + " ranks; the profile is of at most " + Twine(model.getSettings().mostShare));
  if (strategy.zero == 1)
    refuse(who + ": \"zero\": 1, for which the model has no formula");
  if (strategy.recompute == Recompute::Attention)
    refuse(who + ": recompute of attention alone, for which the model has no formula");
  if (layer.data * plan.microBatches.value_or(1) > plan.globalBatch.value_or(1))
    refuse(who + ": micro-batches of " + Twine(plan.globalBatch.value_or(1) / plan.microBatches.value_or(1)) + " samples split over " + Twine(layer.data) + " ranks");
  bool isReplicated = strategy.zero == 0 || layer.getReplicas() == 1;
  layer.sharding = isReplicated ? StateSharding::Replicated : strategy.zero == 3 ? StateSharding::Zero3 : StateSharding::Zero2;
  layer.checkpoint = strategy.recompute == Recompute::Block;
  return layer;
}

std::optional<HetuPlan> Converter::convert() {
  int64_t layers = model.getSettings().layers, known = 0;
  for (const BlockRun &run : plan.blocks)
    known += run.count ? run.count : layers;
  if (!plan.globalBatch || !plan.microBatches)
    refuse("the plan leaves " + Twine(plan.globalBatch ? "\"micro_batches\"" : "\"global_batch\"") + " open");
  if (plan.getRanks() != model.getRanks())
    refuse("the plan is for " + Twine(plan.getRanks()) + " ranks, the profile of " + Twine(model.getRanks()));
  if (known != layers)
    refuse("the plan is of " + Twine(known) + " blocks, the model of " + Twine(layers) + " layers");
  if (any_of(plan.mesh, [](int64_t size) { return !isPowerOf2_64(static_cast<uint64_t>(size)); }))
    refuse("the mesh " + describeMesh(plan.mesh) + " has degrees that are no powers of two, for which the model has no formula");
  if (plan.stages.count > layers)
    refuse("the plan has " + Twine(plan.stages.count) + " stages, the model " + Twine(layers) + " layers");
  if (plan.microBatches.value_or(plan.stages.count) < plan.stages.count)
    refuse("the plan has fewer micro-batches than stages, for which the model has no formula");
  if (!ok)
    return std::nullopt;

  HetuPlan result;
  result.globalBatch = *plan.globalBatch;
  result.microBatches = *plan.microBatches;
  result.order = plan.schedule;
  result.stages.resize(static_cast<size_t>(plan.stages.count));
  int64_t layer = 0;
  for (const BlockRun &run : plan.blocks) {
    int64_t count = run.count ? run.count : layers;
    LayerStrategy strategy = toLayer(run.strategy, describeBlocks(layer, count));
    for (int64_t i = 0; i < count; ++i, ++layer) {
      std::vector<LayerRun> &runs = result.stages[static_cast<size_t>(getStageOfBlock(plan.stages, layer, layers))];
      if (i > 0 && !runs.empty())
        ++runs.back().count;
      else
        runs.push_back({1, strategy});
    }
  }
  result.end = toLayer(getEndStrategy(plan, /*isHead=*/false), "embedding");
  LayerStrategy head = toLayer(getEndStrategy(plan, /*isHead=*/true), "head");
  if (head.str() != result.end.str() || head.sharding != result.end.sharding)
    refuse("embedding and head have strategies of their own; the model has a formula for one of both");
  if (result.end.checkpoint)
    refuse("embedding and head compute again what they need, for which the model has no formula");
  if (!ok)
    return std::nullopt;
  result.sizeBuffer();
  return result;
}

} // namespace

std::optional<HetuPlan> hetu::fromPlan(const Plan &plan, const CostModel &model, Report report) { return Converter(plan, model, report).convert(); }
