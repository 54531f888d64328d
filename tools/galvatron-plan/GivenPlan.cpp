//===- GivenPlan.cpp - A plan to evaluate ---------------------------------===//

#include "Request.h"

#include "galvatron/Plan/PlanFile.h"
#include "llvm/Support/MathExtras.h"

using namespace llvm;
using namespace galvatron;
using namespace galvatron::hetu;

/// As the predecessor's GLOBAL mode: one strategy for all layers; equal stages, the last one what is left over.
static std::optional<HetuPlan> makeUniformPlan(const Options &options, const Request &request, Report report) {
  bool ok = true;
  int64_t ranks = request.model->getRanks();
  for (const cl::opt<int64_t> *degree : {&options.pipelineDegree, &options.tensorDegree, &options.vocabularyDegree}) {
    bool isPipeline = degree == &options.pipelineDegree;
    int64_t most = isPipeline ? request.model->getSettings().layers : mostMeasuredShare;
    if (*degree >= 1 && *degree <= most && isPowerOf2_64(static_cast<uint64_t>(degree->getValue())) && ranks % (*degree * (isPipeline ? 1 : options.pipelineDegree)) == 0)
      continue;
    report("--" + degree->ArgStr + "=" + Twine(*degree) + ": wanted a power of two of at most " + Twine(most) + " that leaves a whole number of " + Twine(ranks) + " GPUs");
    ok = false;
  }
  if (request.batches.size() > 1 || !request.microBatches) {
    report("--evaluate needs one --global-batch and its --micro-batches");
    ok = false;
  }
  if (!ok)
    return std::nullopt;
  auto strategyOf = [&](int64_t share, bool isZero3) {
    bool isSequence = options.usesUlysses;
    LayerStrategy strategy{options.pipelineDegree, isSequence ? 1 : share, isSequence ? share : 1, ranks / options.pipelineDegree / share};
    strategy.sharding = strategy.data == 1 ? StateSharding::Replicated : isZero3 ? StateSharding::Zero3 : request.limits.sharding;
    return strategy;
  };
  HetuPlan plan;
  plan.globalBatch = request.batches.front();
  plan.microBatches = *request.microBatches;
  plan.order = request.model->getSettings().order;
  LayerStrategy layer = strategyOf(options.tensorDegree, options.usesZero3);
  layer.checkpoint = options.checkpoints;
  for (int64_t layers : splitLayers(request.model->getSettings().layers, options.pipelineDegree))
    plan.stages.push_back({{layers, layer}});
  plan.end = strategyOf(options.vocabularyDegree, options.vocabularyZero3);
  // Through a plan of ours, which checks it and sizes its buffer.
  return fromPlan(toPlan(plan), *request.model, report);
}

std::optional<HetuPlan> galvatron::makePlan(const Options &options, const Request &request, Report report) {
  if (options.files.empty())
    return makeUniformPlan(options, request, report);
  if (options.files.size() > 1) {
    report("--evaluate is of one plan, not of " + Twine(options.files.size()));
    return std::nullopt;
  }
  std::optional<Plan> plan = readPlanFile(options.files.front(), report);
  if (!plan)
    return std::nullopt;
  if (!plan->globalBatch && request.batches.size() == 1)
    plan->globalBatch = request.batches.front();
  if (!plan->microBatches && request.microBatches)
    plan->microBatches = request.microBatches;
  return fromPlan(*plan, *request.model, [&](const Twine &message) { report("'" + options.files.front() + "': " + message); });
}
