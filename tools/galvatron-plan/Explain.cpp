//===- Explain.cpp - Why this plan ----------------------------------------===//

#include "Print.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/FormatVariadic.h"

using namespace llvm;
using namespace galvatron;
using namespace galvatron::hetu;

namespace {

/// Plans that have something in common.
struct Family {
  std::string name;
  std::function<void(StrategyLimits &)> restrict;
};

/// What a sample's time is made of, over all stages; s.
struct Parts {
  TimeParts layers;
  double ends = 0, moves = 0, reduction = 0, idle = 0;
};

Parts getParts(const Outcome &outcome) {
  const PlanCost &cost = outcome.cost;
  double samples = static_cast<double>(outcome.plan->globalBatch), each = static_cast<double>(outcome.plan->microBatches) / samples / static_cast<double>(cost.layers.size());
  Parts parts;
  for (size_t stage = 0; stage < cost.layers.size(); ++stage) {
    parts.layers.add(cost.parts[stage], each);
    parts.ends += each * cost.ends[stage];
    parts.moves += each * cost.moves[stage];
  }
  parts.reduction = cost.getExposedReduction() / samples;
  parts.idle = cost.time / samples - parts.layers.getSum() - parts.ends - parts.moves - parts.reduction;
  return parts;
}

/// The two things that take more of a sample's time than in the best plan, by so much of that: "recomputing 20.1 %, idle stages 3.2 %".
std::string describeLoss(const Outcome &outcome, const Outcome &best) {
  Parts own = getParts(outcome), other = getParts(best);
  std::pair<double, StringRef> more[] = {{own.layers.forward + own.layers.backward - other.layers.forward - other.layers.backward, "computing"},
                                         {own.layers.recomputation - other.layers.recomputation, "recomputing"},
                                         {own.layers.exchange - other.layers.exchange, "exchanging between GPUs that share layers"},
                                         {own.layers.gather - other.layers.gather, "gathering weights"},
                                         {own.layers.send - other.layers.send, "sending between stages"},
                                         {own.ends - other.ends, "embedding and head"},
                                         {own.moves - other.moves, "moving between strategies"},
                                         {own.reduction - other.reduction, "reducing gradients"},
                                         {own.idle - other.idle, "idle stages"}};
  double whole = best.cost.time / static_cast<double>(best.plan->globalBatch);
  llvm::sort(more, [](const auto &a, const auto &b) { return a.first > b.first; });
  std::string text;
  for (auto [seconds, what] : ArrayRef(more).take_front(2))
    if (seconds > 0.0005 * whole)
      text += (text.empty() ? "" : ", ") + formatv("{0} {1:F1} %", what, 100 * seconds / whole).str();
  return text;
}

std::vector<Family> listFamilies(const Request &request) {
  std::vector<Family> families;
  auto add = [&](const Twine &name, std::function<void(StrategyLimits &)> restrict) { families.push_back({name.str(), std::move(restrict)}); };
  auto onlyData = [](StrategyLimits &limits) { limits.tensor = limits.sequence = limits.pipeline = false; };
  add(request.limits.sharding == StateSharding::Zero2 ? "data parallelism, ZeRO-2" : "data parallelism", [=](StrategyLimits &limits) {
    onlyData(limits);
    limits.zero3 = false;
  });
  add("data parallelism, ZeRO-3", [=](StrategyLimits &limits) {
    onlyData(limits);
    limits.allows = [](const LayerStrategy &layer) { return layer.sharding == StateSharding::Zero3; };
  });
  int64_t ranks = request.model->getRanks();
  for (int64_t share = 2; share <= std::min(ranks, request.limits.mostTensor); share *= 2)
    add("tensor parallelism over " + Twine(share), [=](StrategyLimits &limits) { limits.allows = [=](const LayerStrategy &layer) { return layer.tensor == share; }; });
  for (int64_t share = 2; share <= std::min(ranks, request.limits.mostSequence); share *= 2)
    add("sequence parallelism over " + Twine(share), [=](StrategyLimits &limits) { limits.allows = [=](const LayerStrategy &layer) { return layer.sequence == share; }; });
  for (int64_t stages = 1; stages <= std::min({ranks, request.model->getSettings().layers, request.limits.mostPipeline}); stages *= 2)
    add(Twine(stages) + (stages == 1 ? " stage" : " stages"), [=](StrategyLimits &limits) { limits.allows = [=](const LayerStrategy &layer) { return layer.pipeline == stages; }; });
  add("nothing recomputed", [](StrategyLimits &limits) { limits.checkpoint = false; });
  add("all layers recomputed", [](StrategyLimits &limits) { limits.allows = [](const LayerStrategy &layer) { return layer.checkpoint; }; });
  return families;
}

std::string describeRate(double rate, double best) { return formatv("{0,12:F5} samples/s  {1,7:F2} %", rate, 100 * (rate / best - 1)).str(); }

double getRate(const Outcome &outcome) { return static_cast<double>(outcome.plan->globalBatch) / outcome.cost.time; }

} // namespace

void galvatron::printExplanation(const Request &request, const Outcome &best, function_ref<Outcome(const Request &)> search, raw_ostream &os) {
  double rate = getRate(best);
  os << "\nThe best plan of each kind, beside the best of all, and what it loses by:\n";
  for (const Family &family : listFamilies(request)) {
    Request part = request;
    family.restrict(part.limits);
    Space space = part.getSpace();
    os << "  " << left_justify(family.name, 30);
    if (!space.size()) {
      os << "no such plan\n";
      continue;
    }
    Outcome outcome = search(part);
    if (!outcome.plan) {
      double excess = search::findClosestMiss(space).excess / 1024;
      os << (excess > 0 ? formatv("does not fit: {0:F2} GB too much\n", excess).str() : "not searched to its end\n");
      continue;
    }
    double memory = 0;
    for (size_t stage = 0; stage < outcome.plan->stages.size(); ++stage)
      memory = std::max(memory, outcome.cost.getMemory(stage));
    std::string loss = describeLoss(outcome, best);
    os << describeRate(getRate(outcome), rate) << formatv("  {0,7:F2} GB", memory / 1024) << (loss.empty() ? "" : "  " + loss) << "\n";
  }
  os << "\nWith other memory:\n";
  for (double part : {0.8, 0.9, 1.1, 1.2}) {
    Request other = request;
    other.gigabytes *= part;
    Outcome outcome = search(other);
    os << "  " << left_justify(formatv("{0:F1} GB ({1}{2:F1})", other.gigabytes, part > 1 ? "+" : "", other.gigabytes - request.gigabytes).str(), 30);
    os << (outcome.plan ? describeRate(getRate(outcome), rate) : std::string("nothing fits")) << "\n";
  }
  if (request.batches.size() == 1)
    return;
  os << "\nBest of each batch:\n";
  for (int64_t batch : request.batches) {
    Request other = request;
    other.batches = {batch};
    Outcome outcome = search(other);
    os << "  " << left_justify(std::to_string(batch), 8);
    if (outcome.plan)
      os << describeRate(getRate(outcome), rate) << "  " << outcome.plan->microBatches << (outcome.plan->microBatches == 1 ? " micro-batch, " : " micro-batches, ")
         << outcome.plan->stages.size() << (outcome.plan->stages.size() == 1 ? " stage\n" : " stages\n");
    else
      os << "nothing fits\n";
  }
}
