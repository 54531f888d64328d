//===- Space.cpp ----------------------------------------------------------===//

#include "galvatron/Search/Hetu/Space.h"

#include "llvm/ADT/STLExtras.h"

#include <algorithm>
#include <cmath>
#include <tuple>

using namespace llvm;
using namespace galvatron;
using namespace galvatron::hetu;

MemoryBudget MemoryBudget::ofGigabytes(double gigabytes) {
  MemoryBudget budget;
  budget.total = static_cast<int64_t>(gigabytes * 1024);
  // Its allocator's cache.
  if (gigabytes > 20)
    budget.reserve = static_cast<int64_t>(std::floor(0.2 * static_cast<double>(budget.total)));
  return budget;
}

std::vector<int64_t> hetu::splitLayers(int64_t layers, int64_t stages) {
  std::vector<int64_t> split(static_cast<size_t>(stages), layers / stages);
  split.back() += layers % stages;
  return split;
}

//===----------------------------------------------------------------------===//
// Tasks
//===----------------------------------------------------------------------===//

/// In rising order.
static std::vector<int64_t> listDivisors(int64_t number) {
  std::vector<int64_t> small, large;
  for (int64_t divisor = 1; divisor <= number / divisor; ++divisor) {
    if (number % divisor)
      continue;
    small.push_back(divisor);
    if (divisor != number / divisor)
      large.push_back(number / divisor);
  }
  small.insert(small.end(), large.rbegin(), large.rend());
  return small;
}

Space::Space(const CostModel &model, SpaceKind kind, const StrategyLimits &limits, const MemoryBudget &budget, ArrayRef<int64_t> batches,
             std::optional<int64_t> microBatches)
    : model(model), kind(kind), limits(limits), budget(budget) {
  int64_t mostPipeline = limits.pipeline ? std::min(model.getRanks(), model.getSettings().layers) : 1;
  mostPipeline = std::min(mostPipeline, limits.mostPipeline);
  for (int64_t batch : batches)
    for (int64_t pieces : listDivisors(batch))
      for (int64_t pipeline = 1; pipeline <= std::min(mostPipeline, pieces) && pieces == microBatches.value_or(pieces); pipeline *= 2)
        addTasks(batch, pieces, pipeline);
}

void Space::addTasks(int64_t globalBatch, int64_t microBatches, int64_t pipeline) {
  int64_t ranks = model.getRanks() / pipeline, rows = globalBatch / microBatches;
  if (rows == 0)
    return;
  auto add = [&](int64_t largestShare, bool isSequenceOnly) {
    Task task{globalBatch, microBatches, pipeline, largestShare, isSequenceOnly, std::nullopt};
    std::vector<LayerStrategy> layers = listLayers(task);
    if (layers.empty() || (kind != SpaceKind::Uniform && listEnds(task).empty()))
      return;
    if (kind != SpaceKind::Uniform) {
      tasks.push_back(task);
      return;
    }
    for (const LayerStrategy &layer : layers) {
      task.only = layer;
      tasks.push_back(task);
    }
  };
  // Its tasks of tensor parallelism alone have plans that those of both have, too.
  int64_t least = 1;
  while (least * std::min(rows, ranks) < ranks)
    least *= 2;
  if (limits.tensor)
    for (int64_t share = least; share <= std::min(ranks, limits.mostTensor); share *= 2)
      add(share, /*isSequenceOnly=*/false);
  // These have the bound of tensor parallelism, too, and are there without sequence parallelism: plans of data parallelism have no buffer there.
  add(std::min(ranks, limits.mostTensor), /*isSequenceOnly=*/true);
}

//===----------------------------------------------------------------------===//
// Strategies
//===----------------------------------------------------------------------===//

bool Space::isAllowed(const LayerStrategy &s) const {
  return (limits.tensor || s.tensor == 1) && (limits.sequence || s.sequence == 1) && (limits.data || s.data == 1) &&
         s.tensor <= limits.mostTensor && s.sequence <= limits.mostSequence;
}

/// The strategies of a task, in a fixed order.
std::vector<LayerStrategy> Space::listStrategies(const Task &task) const {
  if (task.only)
    return {*task.only};
  std::vector<LayerStrategy> list;
  int64_t ranks = model.getRanks() / task.pipeline, rows = task.globalBatch / task.microBatches;
  for (bool isSequence : {false, true})
    for (int64_t share = isSequence ? 2 : 1; share <= std::min(ranks, task.largestShare); share *= 2) {
      if (task.isSequenceOnly && !isSequence && share > 1)
        break;
      LayerStrategy s{task.pipeline, isSequence ? 1 : share, isSequence ? share : 1, ranks / share};
      bool divides = task.globalBatch % (task.microBatches * s.data) == 0;
      if (s.data > rows || !isAllowed(s) || (kind == SpaceKind::Fixed && !divides))
        continue;
      for (bool isZero3 : {false, true})
        for (bool isCheckpoint : {false, true}) {
          if ((isZero3 && (s.data == 1 || !limits.zero3)) || (isCheckpoint && !limits.checkpoint))
            continue;
          s.sharding = isZero3 ? StateSharding::Zero3 : s.data == 1 ? StateSharding::Replicated : limits.sharding;
          s.checkpoint = isCheckpoint;
          list.push_back(s);
        }
    }
  return list;
}

std::vector<LayerStrategy> Space::listLayers(const Task &task) const {
  std::vector<LayerStrategy> list = listStrategies(task);
  if (limits.allows)
    llvm::erase_if(list, [&](const LayerStrategy &strategy) { return !limits.allows(strategy); });
  return list;
}

std::vector<LayerStrategy> Space::listEnds(const Task &task) const {
  std::vector<LayerStrategy> list;
  for (LayerStrategy s : listStrategies(task)) {
    if (s.checkpoint && !task.only)
      continue;
    s.checkpoint = false;
    // Those of a uniform plan are as the layers are, whatever else is said of them: so the predecessor has it.
    if (task.only || ((limits.endTensor || s.tensor == 1) && (limits.endSequence || s.sequence == 1)))
      list.push_back(s);
  }
  return list;
}

//===----------------------------------------------------------------------===//
// Problems
//===----------------------------------------------------------------------===//

/// Seconds of moving what is between two layers, by the logarithms of how many ranks share each.
std::vector<std::vector<double>> Space::getMoves(const Task &task) const {
  std::vector<std::vector<double>> moves;
  for (int64_t from = 1; from <= task.largestShare && model.hasMoves(); from *= 2) {
    std::vector<double> &row = moves.emplace_back();
    for (int64_t to = 1; to <= task.largestShare; to *= 2)
      row.push_back(model.getMoveTime(task.pipeline, from, to, task.globalBatch, task.microBatches));
  }
  return moves;
}

/// The largest of these is the time of a step (CostModel::getStepTime), a sample: what the last stage says, the first one, or the way back through all;
/// and that with what of a stage's reduction of gradients no computation hides.
static std::vector<search::TimeForm> getForms(int64_t stages, int64_t microBatches, double perSample) {
  size_t count = static_cast<size_t>(stages);
  std::vector<std::vector<double>> pipelines;
  std::vector<double> &last = pipelines.emplace_back(count, 1);
  last.back() += static_cast<double>(microBatches - 1);
  if (stages > 1) {
    double steady = static_cast<double>(std::max<int64_t>(0, microBatches + 1 - stages));
    std::vector<double> back(count, 1), first(count, 0);
    back.front() = steady;
    first.front() = steady + static_cast<double>(std::min(stages, microBatches) - 1);
    pipelines.push_back(std::move(back));
    pipelines.push_back(std::move(first));
  }
  std::vector<search::TimeForm> forms;
  for (const std::vector<double> &pipeline : pipelines) {
    search::TimeForm form;
    form.blocks = form.moves = form.ends = pipeline;
    form.sync.assign(count, 0);
    forms.push_back(form);
    for (size_t stage = 0; stage < count; ++stage) {
      // Hidden behind the stages before it, and behind its own ends. What moves hides nothing here.
      form.sync.assign(count, 0);
      form.sync[stage] = 1;
      form.ends[stage] -= 1;
      forms.push_back(form);
      form.blocks[stage] -= 1;
    }
  }
  for (search::TimeForm &form : forms)
    for (std::vector<double> *parts : {&form.blocks, &form.sync, &form.moves, &form.ends})
      for (double &part : *parts)
        part *= perSample;
  return forms;
}

static size_t logarithm(int64_t power) {
  size_t result = 0;
  for (; power > 1; power /= 2)
    ++result;
  return result;
}

search::Problem Space::make(size_t index) const {
  const Task &task = tasks[index];
  search::Problem problem;
  problem.moves = getMoves(task);
  std::vector<search::Choice> &choices = problem.kinds.emplace_back();
  for (const LayerStrategy &layer : listLayers(task)) {
    LayerCost cost = model.getLayerCost(layer, task.globalBatch, task.microBatches);
    search::Choice &choice = choices.emplace_back();
    choice.layout = problem.moves.empty() ? 0 : logarithm(layer.getShare());
    for (size_t stage = 0; stage < cost.activation.size(); ++stage)
      choice.stages.push_back({cost.time, cost.timeWithSync - cost.time, cost.getMemory(stage)});
  }
  for (const LayerStrategy &end : listEnds(task)) {
    EndCost cost = model.getEndCost(end, task.globalBatch, task.microBatches);
    problem.ends.push_back({std::move(cost.time), std::move(cost.memory)});
  }
  for (int64_t layers : splitLayers(model.getSettings().layers, task.pipeline))
    problem.stages.push_back({{0, layers}});
  int64_t buffer = task.isSequenceOnly ? 0 : model.getBufferMegabytes(task.pipeline, task.largestShare, task.globalBatch, task.microBatches);
  problem.capacity.assign(problem.stages.size(), static_cast<double>(budget.getUsable() - buffer));
  problem.forms = getForms(task.pipeline, task.microBatches, 1 / static_cast<double>(task.globalBatch));
  return problem;
}

HetuPlan Space::getPlan(size_t index, const search::Assignment &assignment) const {
  const Task &task = tasks[index];
  HetuPlan plan;
  plan.globalBatch = task.globalBatch;
  plan.microBatches = task.microBatches;
  plan.order = model.getSettings().order;
  plan.end = listEnds(task)[assignment.end];
  std::vector<LayerStrategy> layers = listLayers(task);
  bool isOrdered = !getMoves(task).empty();
  for (const std::vector<search::ChosenRun> &chosen : assignment.stages) {
    std::vector<LayerRun> &runs = plan.stages.emplace_back();
    for (const search::ChosenRun &run : chosen)
      runs.push_back({run.count, layers[run.choice]});
    auto rank = [](const LayerRun &run) {
      return std::tuple(!run.strategy.checkpoint, run.strategy.sharding != StateSharding::Zero3, run.strategy.getShare(), run.strategy.sequence);
    };
    if (!isOrdered)
      llvm::sort(runs, [&](const LayerRun &a, const LayerRun &b) { return rank(a) < rank(b); });
  }
  plan.sizeBuffer();
  return plan;
}
