//===- Miss.cpp - Nothing fits: why, and what would -----------------------===//

#include "Print.h"

#include "llvm/Support/Format.h"
#include "llvm/Support/FormatVariadic.h"

#include <cmath>

using namespace llvm;
using namespace galvatron;
using namespace galvatron::hetu;

/// Whether some plan of a request fits.
static bool fits(const Request &request) { return search::findClosestMiss(request.getSpace()).excess <= 0; }

/// Changes, one at a time, with which a plan fits; each was tried.
static std::vector<std::string> listRemedies(const Request &request, double excess, function_ref<std::optional<Request>(int64_t)> withNodes) {
  std::vector<std::string> remedies;
  // A fifth of what there is above 20 GB is not to be used.
  Request changed = request;
  changed.gigabytes = std::ceil(request.gigabytes + excess / 1024);
  for (int i = 0; i < 64 && !fits(changed); ++i)
    changed.gigabytes += std::max(1.0, std::ceil(search::findClosestMiss(changed.getSpace()).excess / 1024));
  if (changed.gigabytes <= mostGigabytes && fits(changed))
    remedies.push_back(formatv("--memory-gb={0:F0}", changed.gigabytes));

  for (int64_t nodes = 2 * request.nodes; nodes <= 64 * request.nodes; nodes *= 2)
    if (std::optional<Request> more = withNodes(nodes); more && fits(*more)) {
      remedies.push_back("--nodes=" + std::to_string(nodes));
      break;
    }

  changed = request;
  int64_t least = request.microBatches.value_or(1);
  for (int64_t batch = request.batches.front() / 2; batch >= least; batch /= 2) {
    changed.batches = {batch};
    if (!fits(changed))
      continue;
    remedies.push_back("--global-batch=" + std::to_string(batch));
    break;
  }
  if (request.microBatches) {
    changed = request;
    changed.microBatches = std::nullopt;
    if (fits(changed))
      remedies.push_back("no --micro-batches");
  }
  const std::pair<const char *, bool StrategyLimits::*> forbidden[] = {
      {"--disable-ckpt", &StrategyLimits::checkpoint}, {"--disable-fsdp", &StrategyLimits::zero3}, {"--disable-tp", &StrategyLimits::tensor},
      {"--disable-sp", &StrategyLimits::sequence},     {"--disable-pp", &StrategyLimits::pipeline}, {"--disable-dp", &StrategyLimits::data},
      {"--disable-embedding-lmhead-tp", &StrategyLimits::endTensor}, {"--disable-embedding-lmhead-sp", &StrategyLimits::endSequence}};
  for (auto [flag, limit] : forbidden) {
    changed = request;
    if (changed.limits.*limit)
      continue;
    changed.limits.*limit = true;
    if (fits(changed))
      remedies.push_back("no " + std::string(flag));
  }
  return remedies;
}

Miss galvatron::findMiss(const Request &request, function_ref<std::optional<Request>(int64_t)> withNodes) {
  Miss result;
  Space space = request.getSpace();
  result.hasPlans = space.size() > 0;
  if (!result.hasPlans)
    return result;
  search::ClosestMiss closest = search::findClosestMiss(space);
  result.stage = closest.stage;
  result.excess = closest.excess;
  result.plan = space.getPlan(closest.problem, closest.assignment);
  result.cost = evaluatePlan(*request.model, result.plan);
  result.remedies = listRemedies(request, closest.excess, withNodes);
  return result;
}

void galvatron::printText(const Request &request, const Miss &miss, raw_ostream &os) {
  if (!miss.hasPlans) {
    os << "the space has no plan: too many kinds of parallelism are disabled, or limited, for " << request.model->getRanks() << " GPUs\n";
    return;
  }
  auto gigabytes = [](double megabytes) { return formatv("{0:F2} GB", megabytes / 1024).str(); };
  MemoryBudget budget = MemoryBudget::ofGigabytes(request.gigabytes);
  const PlanCost &cost = miss.cost;
  const HetuPlan &plan = miss.plan;
  os << "no plan fits in " << gigabytes(static_cast<double>(budget.getUsable())) << " to use of each GPU's " << gigabytes(static_cast<double>(budget.total))
     << "\n  the closest one needs " << gigabytes(cost.getMemory(miss.stage)) << " on stage " << miss.stage << ", " << gigabytes(miss.excess) << " more: states of layers "
     << gigabytes(cost.states[miss.stage]) << ", their activations " << gigabytes(cost.activation[miss.stage]) << ", embedding, head and context "
     << gigabytes(cost.endMemory[miss.stage]) << ", buffer " << gigabytes(static_cast<double>(cost.buffer)) << "\n";
  os << "  it has " << plan.globalBatch << " samples in " << plan.microBatches << " micro-batches, " << plan.stages.size() << (plan.stages.size() == 1 ? " stage; " : " stages; ")
     << "layers there: " << describe(plan.stages[miss.stage].front().strategy) << "; embedding and head: " << describe(plan.end) << "\n";
  if (miss.remedies.empty())
    os << "  neither more memory nor a smaller batch would fit\n";
  for (const std::string &remedy : miss.remedies)
    os << "  would fit: " << remedy << "\n";
}
