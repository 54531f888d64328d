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
    compare("stages", describeStages(first), describeStages(second));
    compare("schedule", stringifySchedule(first.schedule).str(), stringifySchedule(second.schedule).str());
    compareStrategies("embedding", getEndStrategy(first, /*isHead=*/false), getEndStrategy(second, /*isHead=*/false));
    compareBlocks();
    compareStrategies("head", getEndStrategy(first, /*isHead=*/true), getEndStrategy(second, /*isHead=*/true));
    return isDifferent;
  }

private:
  static std::string describe(std::optional<int64_t> number) { return number ? std::to_string(*number) : "any"; }
  static int64_t countBlocks(const Plan &plan) {
    int64_t count = 0;
    for (const BlockRun &run : plan.blocks)
      count += run.count;
    return count;
  }
  /// Where stages begin is said, too, unless their blocks are those that they would have without.
  static std::string describeStages(const Plan &plan) {
    std::string text = std::to_string(plan.stages.count);
    PlanStages even{plan.stages.count, {}};
    bool isEven = true;
    for (int64_t block = 0, count = countBlocks(plan); block < count; ++block)
      isEven &= getStageOfBlock(plan.stages, block, count) == getStageOfBlock(even, block, count);
    if (isEven && countBlocks(plan))
      return text;
    for (auto [index, block] : enumerate(plan.stages.firstBlocks))
      text += (index ? ", " : ", beginning with blocks ") + std::to_string(block);
    return text;
  }
  /// "a, b of 2x4".
  static std::string describeAxes(const Plan &plan, const PlanAxes &axes) {
    std::string text;
    for (unsigned axis : axes)
      text += (text.empty() ? "" : ", ") + getAxisName(axis);
    return text + " of " + describeMesh(plan.mesh);
  }
  /// Of ranks that are counted through, those whose data an axis' ranks share are so far apart: by axis, its size and stride.
  static std::vector<std::pair<int64_t, int64_t>> getStrides(const Plan &plan, const PlanAxes &axes) {
    std::vector<std::pair<int64_t, int64_t>> strides;
    for (unsigned axis : axes) {
      int64_t stride = 1;
      for (size_t inner = axis + 1; inner < plan.mesh.size(); ++inner)
        stride *= plan.mesh[inner];
      // Neighbouring axes are as one.
      if (!strides.empty() && strides.back().second == stride * plan.mesh[axis])
        strides.back() = {strides.back().first * plan.mesh[axis], stride};
      else
        strides.emplace_back(plan.mesh[axis], stride);
    }
    return strides;
  }
  void compare(const Twine &what, const std::string &one, const std::string &other) {
    if (one == other)
      return;
    isDifferent = true;
    os << what << ": " << one << " becomes " << other << "\n";
  }
  void compareStrategies(const Twine &what, const Strategy &one, const Strategy &other) {
    std::string before = describeStrategy(first, one), after = describeStrategy(second, other);
    // Equal in words, over other ranks or with other ops.
    if (before == after) {
      for (auto [axes, name] : {std::pair(&Strategy::data, "data"), {&Strategy::tensor, "tensor"}, {&Strategy::sequence, "sequence"}, {&Strategy::context, "context"},
                                {&Strategy::expert, "expert"}, {&Strategy::expertTensor, "expert tensor"}})
        if (getStrides(first, one.*axes) != getStrides(second, other.*axes)) {
          before += (", " + Twine(name) + " over " + describeAxes(first, one.*axes)).str();
          after += (", " + Twine(name) + " over " + describeAxes(second, other.*axes)).str();
        }
      if (before == after && one.ops != other.ops)
        after += ", of other ops";
    }
    compare(what, before, after);
  }
  /// Runs in which neither plan changes its strategy.
  void compareBlocks() {
    int64_t one = countBlocks(first), other = countBlocks(second);
    compare("blocks", one ? std::to_string(one) : "any", other ? std::to_string(other) : "any");
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
