//===- PlanDiff.cpp -------------------------------------------------------===//

#include "galvatron/Plan/PlanDiff.h"

#include "llvm/ADT/STLExtras.h"

#include <algorithm>

using namespace llvm;
using namespace galvatron;

std::string galvatron::describeStrategy(const Plan &plan, const Strategy &strategy) {
  std::string text;
  auto add = [&](const Twine &part) { text += (text.empty() ? "" : ", ") + part.str(); };
  if (int64_t data = plan.getSize(strategy.data); data > 1)
    add("data parallel over " + Twine(data));
  if (strategy.zero)
    text += (text.empty() ? "ZeRO-" : " (ZeRO-") + std::to_string(strategy.zero) + (text.empty() ? "" : ")");
  for (auto [axes, what] : {std::pair(&strategy.tensor, "tensor"), {&strategy.sequence, "sequence"}, {&strategy.context, "context"}, {&strategy.expert, "expert"}, {&strategy.expertTensor, "expert tensor"}})
    if (int64_t size = plan.getSize(*axes); size > 1)
      add(what + Twine(" parallel over ") + Twine(size));
  if (text.empty())
    add("on one rank");
  if (strategy.recompute != Recompute::None)
    add(strategy.recompute == Recompute::Block ? "recomputed" : "attention recomputed");
  if (!strategy.ops.empty())
    add(Twine(strategy.ops.size()) + (strategy.ops.size() == 1 ? " op" : " ops") + " of its own");
  return text;
}

namespace {

class Diff {
public:
  Diff(const Plan &first, const Plan &second, raw_ostream &os) : first(first), second(second), os(os) {}

  bool print() {
    compare("ranks", std::to_string(first.getRanks()), std::to_string(second.getRanks()));
    compare("mesh", describeMesh(first.mesh), describeMesh(second.mesh));
    compare("samples of a step", describe(first.globalBatch), describe(second.globalBatch));
    compare("micro-batches", describe(first.microBatches), describe(second.microBatches));
    compare("stages", describe(first.stages), describe(second.stages));
    compare("schedule", stringifySchedule(first.schedule).str(), stringifySchedule(second.schedule).str());
    auto blockOf = [](const Plan &plan, bool isLast) { return isLast ? plan.blocks.back().strategy : plan.blocks.front().strategy; };
    compareStrategies("embedding", first.embedding.value_or(blockOf(first, false)), second.embedding.value_or(blockOf(second, false)));
    compareBlocks();
    compareStrategies("head", first.head.value_or(blockOf(first, true)), second.head.value_or(blockOf(second, true)));
    return isDifferent;
  }

private:
  static std::string describe(std::optional<int64_t> number) { return number ? std::to_string(*number) : "any"; }
  static std::string describe(const PlanStages &stages) {
    std::string text = std::to_string(stages.count);
    for (auto [index, block] : enumerate(stages.firstBlocks))
      text += (index ? ", " : ", beginning with blocks ") + std::to_string(block);
    return text;
  }
  void compare(const Twine &what, const std::string &one, const std::string &other) {
    if (one == other)
      return;
    isDifferent = true;
    os << what << ": " << one << " becomes " << other << "\n";
  }
  void compareStrategies(const Twine &what, const Strategy &one, const Strategy &other) {
    std::string before = describeStrategy(first, one), after = describeStrategy(second, other);
    // Equal in words, over other axes or with other ops.
    bool isMeshEqual = first.mesh == second.mesh;
    if (before == after && isMeshEqual && !(one == other))
      after += one.ops == other.ops ? ", over other axes" : ", of other ops";
    compare(what, before, after);
  }
  /// Runs in which neither plan changes its strategy.
  void compareBlocks() {
    auto countOf = [](const Plan &plan) {
      int64_t count = 0;
      for (const BlockRun &run : plan.blocks)
        count += run.count;
      return count;
    };
    int64_t one = countOf(first), other = countOf(second);
    if (one && other)
      compare("blocks", std::to_string(one), std::to_string(other));
    // A plan of one run without a number is for all that the other has.
    int64_t count = one && other ? std::min(one, other) : std::max<int64_t>({one, other, 1});
    std::vector<int64_t> bounds{0, count};
    for (const Plan *plan : {&first, &second}) {
      int64_t at = 0;
      for (const BlockRun &run : plan->blocks)
        bounds.push_back(std::min(at += run.count, count));
    }
    llvm::sort(bounds);
    bounds.erase(std::unique(bounds.begin(), bounds.end()), bounds.end());
    for (size_t i = 1; i < bounds.size(); ++i) {
      int64_t begin = bounds[i - 1], size = bounds[i] - begin;
      compareStrategies(one || other ? describeBlocks(begin, size) : "all blocks", getBlockStrategy(first, begin), getBlockStrategy(second, begin));
    }
  }

  const Plan &first, &second;
  raw_ostream &os;
  bool isDifferent = false;
};

} // namespace

bool galvatron::printPlanDiff(const Plan &first, const Plan &second, raw_ostream &os) { return Diff(first, second, os).print(); }
