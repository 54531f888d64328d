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

/// The best of a request, which `best` is not the answer to.
Alternative findAlternative(const Request &request, const Outcome &best, SearchFn search, const Twine &name, double value = 0) {
  Alternative result;
  result.name = name.str();
  result.value = value;
  Space space = request.getSpace();
  result.exists = space.size() > 0;
  if (!result.exists)
    return result;
  Outcome outcome = search(request);
  if (!outcome.plan) {
    result.excess = std::max(0., search::findClosestMiss(space).excess);
    return result;
  }
  result.rate = getRate(outcome);
  result.gap = outcome.getGap();
  result.memory = getMostMemory(outcome.cost);
  result.microBatches = outcome.plan->microBatches;
  result.stages = static_cast<int64_t>(outcome.plan->stages.size());
  result.loss = describeLoss(outcome, best);
  return result;
}

} // namespace

std::vector<Alternative> galvatron::findBestOfBatches(const Request &request, const Outcome &best, SearchFn search) {
  std::vector<Alternative> all;
  for (int64_t batch : request.batches) {
    Request other = request;
    other.batches = {batch};
    all.push_back(findAlternative(other, best, search, Twine(batch), static_cast<double>(batch)));
  }
  return all;
}

std::vector<Alternative> galvatron::findBestOfMemory(const Request &request, const Outcome &best, ArrayRef<double> parts, SearchFn search) {
  std::vector<Alternative> all;
  for (double part : parts) {
    Request other = request;
    other.gigabytes *= part;
    std::string name = formatv("{0:F1} GB ({1}{2:F1})", other.gigabytes, part > 1 ? "+" : "", other.gigabytes - request.gigabytes).str();
    all.push_back(findAlternative(other, best, search, name, other.gigabytes));
  }
  return all;
}

Explanation galvatron::explain(const Request &request, const Outcome &best, SearchFn search) {
  Explanation result;
  result.rate = getRate(best);
  for (const Family &family : listFamilies(request)) {
    Request part = request;
    family.restrict(part.limits);
    result.kinds.push_back(findAlternative(part, best, search, family.name));
  }
  result.memory = findBestOfMemory(request, best, {0.8, 0.9, 1.1, 1.2}, search);
  if (request.batches.size() > 1)
    result.batches = findBestOfBatches(request, best, search);
  return result;
}

void galvatron::printText(const Explanation &explanation, raw_ostream &os) {
  auto begin = [&](const Alternative &alternative, unsigned width) -> bool {
    os << "  " << left_justify(alternative.name, width);
    if (alternative.rate)
      os << formatv("{0,12:F5} samples/s  {1,7:F2} %", *alternative.rate, 100 * (*alternative.rate / explanation.rate - 1))
         << (alternative.gap > 0 ? formatv("  (stopped; gap {0:F1} %)", 100 * alternative.gap).str() : "");
    else if (!alternative.exists)
      os << "no such plan\n";
    else if (alternative.excess > 0)
      os << formatv("does not fit: {0:F2} GB too much\n", alternative.excess / 1024);
    else
      os << "not searched to its end\n";
    return alternative.rate.has_value();
  };
  os << "\nThe best plan of each kind, beside the best of all, and what takes more of a sample's time, in % of the best plan's:\n";
  for (const Alternative &kind : explanation.kinds)
    if (begin(kind, 30))
      os << formatv("  {0,7:F2} GB", kind.memory / 1024) << (kind.loss.empty() ? "" : "  " + kind.loss) << "\n";
  os << "\nWith other memory of each GPU:\n";
  for (const Alternative &other : explanation.memory)
    if (begin(other, 30))
      os << "\n";
  if (!explanation.batches.empty())
    os << "\nBest of each batch:\n";
  for (const Alternative &batch : explanation.batches)
    if (begin(batch, 8))
      os << "  " << batch.microBatches << (batch.microBatches == 1 ? " micro-batch, " : " micro-batches, ") << batch.stages << (batch.stages == 1 ? " stage\n" : " stages\n");
}
