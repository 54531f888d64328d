//===- Plan.cpp - Making plans of flags, and fitting them to models -------===//

#include "galvatron/Plan/Plan.h"

#include "Divisors.h"
#include "galvatron/Plan/Nearest.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"

#include <numeric>

using namespace llvm;
using namespace galvatron;

int64_t Plan::getRanks() const {
  return std::accumulate(mesh.begin(), mesh.end(), int64_t(1), std::multiplies<>());
}

int64_t Plan::getSize(ArrayRef<unsigned> axes) const {
  int64_t size = 1;
  for (unsigned axis : axes)
    size *= mesh[axis];
  return size;
}

/// How many of the axes, from the first on, have this product; nothing if none do.
static std::optional<unsigned> countAxes(ArrayRef<int64_t> axes, int64_t wanted) {
  int64_t product = 1;
  unsigned count = 0;
  while (product < wanted && count < axes.size())
    product *= axes[count++];
  return product == wanted ? std::optional(count) : std::nullopt;
}

std::optional<unsigned> Plan::countStageAxes() const { return countAxes(mesh, stages.count); }

std::string galvatron::getAxisName(unsigned axis) {
  std::string name(1, static_cast<char>('a' + axis % 26));
  return axis < 26 ? name : name + std::to_string(axis / 26);
}

std::string galvatron::describeBlocks(int64_t first, int64_t count) {
  std::string begin = std::to_string(first);
  return count == 1 ? "block " + begin : "blocks " + begin + " to " + std::to_string(first + count - 1);
}

std::string galvatron::describeMesh(ArrayRef<int64_t> mesh) {
  std::string text;
  for (int64_t size : mesh)
    text += (text.empty() ? "" : "x") + std::to_string(size);
  return text.empty() ? "1" : text;
}

//===----------------------------------------------------------------------===//
// Flags
//===----------------------------------------------------------------------===//

std::optional<std::vector<int64_t>> galvatron::parseMesh(StringRef text, Report report) {
  std::vector<int64_t> mesh;
  int64_t ranks = 1;
  SmallVector<StringRef> parts;
  text.split(parts, 'x');
  for (StringRef part : parts) {
    int64_t size;
    if (part.getAsInteger(10, size) || size < 2 || size > maxRanks / ranks) {
      report("\"" + text + "\" is no mesh: wanted sizes of at least 2 with a product of at most " + Twine(maxRanks) + ", like 2x2x3");
      return std::nullopt;
    }
    ranks *= size;
    mesh.push_back(size);
  }
  return mesh;
}

static constexpr StringLiteral scheduleNames[] = {"1f1b", "gpipe"};

StringRef galvatron::stringifySchedule(PlanSchedule schedule) { return scheduleNames[static_cast<int>(schedule)]; }

std::optional<PlanSchedule> galvatron::parseSchedule(StringRef text, Report report) {
  for (auto [i, name] : enumerate(scheduleNames))
    if (text == name)
      return static_cast<PlanSchedule>(i);
  SmallVector<StringRef> known(std::begin(scheduleNames), std::end(scheduleNames));
  report("\"" + text + "\" is no schedule: wanted " + listQuoted(known, " or ") + suggestNearest(text, known));
  return std::nullopt;
}

/// "1, 2 or 6": the products of the axes from the first on.
static std::string listProducts(ArrayRef<int64_t> axes) {
  std::string text = "1";
  int64_t product = 1;
  for (auto [i, size] : enumerate(axes)) {
    product *= size;
    text += (i + 1 == axes.size() ? " or " : ", ") + std::to_string(product);
  }
  return text;
}

/// Checks the numbers of ranks, stages and ranks that share a block.
static bool checkDegrees(int64_t ranks, const PlanDegrees &degrees, Report report) {
  bool ok = true;
  auto refuse = [&](const Twine &message) {
    report(message);
    ok = false;
  };
  if (ranks < 1 || ranks > maxRanks)
    refuse("a step has 1 to " + Twine(maxRanks) + " ranks, not " + Twine(ranks));
  if (degrees.microBatches && *degrees.microBatches < 1)
    refuse("a step has at least 1 micro-batch, not " + Twine(*degrees.microBatches));
  if (!ok)
    return false;
  if (degrees.pipeline < 1 || ranks % degrees.pipeline)
    refuse(Twine(degrees.pipeline) + " stages do not divide " + Twine(ranks) + " ranks; " + listDivisors(ranks) + " do");
  int64_t perStage = ok ? ranks / degrees.pipeline : ranks;
  if (degrees.tensor < 1 || perStage % degrees.tensor)
    refuse(Twine(degrees.tensor) + " ranks cannot share each block where there are " + Twine(perStage) +
           (perStage < ranks ? " in a stage; " : "; ") + listDivisors(perStage) + " can");
  return ok;
}

std::optional<Plan> galvatron::makePlan(const PlanDegrees &degrees, Report report) {
  int64_t inMesh = std::accumulate(degrees.mesh.begin(), degrees.mesh.end(), int64_t(1), std::multiplies<>());
  auto isDegree = [](int64_t degree) { return degree >= 1 && degree <= maxRanks; };
  if (degrees.data && !isDegree(*degrees.data)) {
    report("rows of a batch are split over 1 to " + Twine(maxRanks) + " ranks, not " + Twine(*degrees.data));
    return std::nullopt;
  }
  bool areDegrees = isDegree(degrees.pipeline) && isDegree(degrees.tensor);
  int64_t product = areDegrees ? degrees.pipeline * degrees.tensor : 1; // below 2^40, and below 2^60 with the next
  int64_t ranks = degrees.ranks.value_or(degrees.mesh.empty() ? product * degrees.data.value_or(1) : inMesh);
  if (!checkDegrees(ranks, degrees, report))
    return std::nullopt;
  if (degrees.data && product * *degrees.data != ranks) {
    report("pp " + Twine(degrees.pipeline) + " x dp " + Twine(*degrees.data) + " x tp " + Twine(degrees.tensor) + " are " +
           Twine(product * *degrees.data) + " ranks, not " + Twine(ranks));
    return std::nullopt;
  }
  Plan plan;
  plan.microBatches = degrees.microBatches;
  plan.schedule = degrees.schedule;
  plan.stages.count = degrees.pipeline;
  int64_t data = ranks / degrees.pipeline / degrees.tensor;
  if (degrees.mesh.empty()) {
    for (int64_t degree : {degrees.pipeline, data, degrees.tensor})
      append_range(plan.mesh, factorize(degree));
  } else {
    plan.mesh = degrees.mesh;
    if (inMesh != ranks) {
      report("a mesh of " + describeMesh(plan.mesh) + " has " + Twine(inMesh) + " ranks, not " + Twine(ranks));
      return std::nullopt;
    }
  }
  std::optional<unsigned> stageAxes = countAxes(plan.mesh, degrees.pipeline);
  if (!stageAxes) {
    report("stages take the outermost axes of the mesh: of " + describeMesh(plan.mesh) + " these have " + listProducts(plan.mesh) +
           " ranks, not " + Twine(degrees.pipeline));
    return std::nullopt;
  }
  std::vector<int64_t> inward(plan.mesh.rbegin(), plan.mesh.rend() - *stageAxes);
  std::optional<unsigned> tensorAxes = countAxes(inward, degrees.tensor);
  if (!tensorAxes) {
    report("ranks that share each block take the innermost axes of the mesh: of " + describeMesh(plan.mesh) + " these have " +
           listProducts(inward) + " ranks, not " + Twine(degrees.tensor));
    return std::nullopt;
  }
  Strategy strategy;
  for (unsigned axis = *stageAxes; axis < plan.mesh.size(); ++axis)
    (axis < plan.mesh.size() - *tensorAxes ? strategy.data : strategy.tensor).push_back(axis);
  plan.blocks.push_back({0, strategy});
  return plan;
}

//===----------------------------------------------------------------------===//
// Checks
//===----------------------------------------------------------------------===//

/// Calls `visit` with every strategy and what has it: "embedding", "block 3", "blocks 0 to 5", "head".
static void visitStrategies(const Plan &plan, function_ref<void(const Strategy &, const std::string &)> visit) {
  if (plan.embedding)
    visit(*plan.embedding, "embedding");
  int64_t first = 0;
  for (const BlockRun &run : plan.blocks) {
    visit(run.strategy, run.count == 0 ? std::string("blocks") : describeBlocks(first, run.count));
    first += run.count;
  }
  if (plan.head)
    visit(*plan.head, "head");
}

/// Every axis that stages leave has one purpose, and an override splits over axes that the strategy gives it.
static void checkStrategy(const Plan &plan, unsigned stageAxes, const Strategy &strategy, Report report) {
  std::vector<StringRef> purpose(plan.mesh.size());
  std::fill(purpose.begin(), purpose.begin() + stageAxes, "stages");
  const std::pair<StringRef, const PlanAxes *> lists[] = {
      {"dp", &strategy.data}, {"tp", &strategy.tensor}, {"sp", &strategy.sequence}, {"cp", &strategy.context}};
  for (auto [key, axes] : lists) {
    if (!is_sorted(*axes))
      report("\"" + key + "\" names its axes in another order than the mesh has; the slowest comes first");
    for (unsigned axis : *axes) {
      StringRef &taken = purpose[axis];
      // Sequence splits lie over the axes of tensor parallelism.
      bool isShared = key == "sp" && taken == "tp";
      if (!taken.empty() && !isShared)
        report("\"" + key + "\" names axis \"" + getAxisName(axis) + "\", which \"" + taken + "\" has");
      taken = key;
    }
  }
  for (auto [axis, taken] : enumerate(purpose))
    if (taken.empty())
      report("axis \"" + getAxisName(axis) + "\" is for nothing: wanted in \"dp\" or \"tp\"");
  for (auto [key, axes, other] : {std::tuple("ep", &strategy.expert, &strategy.expertTensor), {"etp", &strategy.expertTensor, &strategy.expert}}) {
    if (!is_sorted(*axes))
      report("\"" + Twine(key) + "\" names its axes in another order than the mesh has; the slowest comes first");
    for (auto [place, axis] : enumerate(*axes))
      if (axis < stageAxes || is_contained(ArrayRef(*axes).take_front(place), axis) || is_contained(*other, axis))
        report("\"" + Twine(key) + "\" names axis \"" + getAxisName(axis) + "\", which is taken");
  }
  for (const OpOverride &op : strategy.ops) {
    PlanAxes seen;
    for (const OpOverride::Split &split : op.splits)
      for (unsigned axis : split.axes) {
        if (!is_contained(strategy.tensor, axis))
          report("op \"" + op.op + "\" is split over axis \"" + getAxisName(axis) + "\", which \"tp\" does not have");
        if (is_contained(seen, axis))
          report("op \"" + op.op + "\" is split over axis \"" + getAxisName(axis) + "\" twice");
        seen.push_back(axis);
      }
  }
}

bool galvatron::checkPlan(const Plan &plan, Report report) {
  bool ok = true;
  auto refuse = [&](const Twine &message) {
    report(message);
    ok = false;
  };
  std::optional<unsigned> stageAxes = plan.countStageAxes();
  if (!stageAxes)
    refuse("stages take the outermost axes of the mesh: of " + describeMesh(plan.mesh) + " these have " + listProducts(plan.mesh) +
           " ranks, not " + Twine(plan.stages.count));
  const std::vector<int64_t> &bounds = plan.stages.firstBlocks;
  bool isRising = is_sorted(bounds, std::less_equal<>()) || bounds.size() < 2;
  if (!bounds.empty() && (bounds.front() != 0 || !isRising || int64_t(bounds.size()) != plan.stages.count))
    refuse("\"stages\" has the first block of each stage: wanted rising numbers from 0 on");
  for (const BlockRun &run : plan.blocks)
    if (run.count == 0 && plan.blocks.size() > 1)
      refuse("\"blocks\" has a run without a number of blocks beside others");
  if (plan.blocks.empty())
    refuse("\"blocks\" is empty: wanted the strategy of each block");
  if (!ok)
    return false;
  visitStrategies(plan, [&](const Strategy &strategy, const std::string &who) {
    checkStrategy(plan, *stageAxes, strategy, [&](const Twine &message) { refuse(who + ": " + message); });
  });
  return ok;
}

bool galvatron::checkExecutable(const Plan &plan, Report report) {
  bool ok = true;
  auto refuse = [&](const Twine &what, const Twine &instead) {
    report(what + " cannot be executed yet; " + instead + " can");
    ok = false;
  };
  visitStrategies(plan, [&](const Strategy &strategy, const std::string &who) {
    if (strategy.zero != 0)
      refuse(who + ": \"zero\": " + Twine(strategy.zero), "0");
    if (strategy.recompute != Recompute::None)
      refuse(who + ": \"recompute\": \"" + (strategy.recompute == Recompute::Attention ? "attention" : "block") + "\"", "\"none\"");
    if (!strategy.sequence.empty())
      refuse(who + ": \"sp\" over axes", "\"sp\": []");
    if (!strategy.context.empty())
      refuse(who + ": \"cp\" over axes", "\"cp\": []");
    for (auto [key, axes] : {std::pair("ep", &strategy.expert), {"etp", &strategy.expertTensor}})
      if (!axes->empty())
        refuse(who + ": \"" + key + "\" over axes", "\"" + Twine(key) + "\": []");
  });
  return ok;
}

//===----------------------------------------------------------------------===//
// Fitting a model
//===----------------------------------------------------------------------===//

int64_t galvatron::getStageOfBlock(const PlanStages &stages, int64_t block, int64_t blocks) {
  if (stages.firstBlocks.empty())
    return block * stages.count / blocks;
  return llvm::upper_bound(stages.firstBlocks, block) - stages.firstBlocks.begin() - 1;
}

int64_t galvatron::getDefaultMicroBatches(int64_t rows, int64_t stages) {
  for (int64_t count = stages; count < rows; ++count)
    if (rows % count == 0)
      return count;
  return rows;
}

const Strategy &galvatron::getBlockStrategy(const Plan &plan, int64_t block) {
  for (const BlockRun &run : plan.blocks) {
    if (block < run.count)
      return run.strategy;
    block -= run.count;
  }
  return plan.blocks.back().strategy;
}

Strategy galvatron::getEndStrategy(const Plan &plan, bool isHead) {
  if (const std::optional<Strategy> &own = isHead ? plan.head : plan.embedding)
    return *own;
  Strategy strategy = (isHead ? plan.blocks.back() : plan.blocks.front()).strategy;
  strategy.ops.clear();
  strategy.recompute = Recompute::None;
  return strategy;
}

std::optional<Plan> galvatron::resolvePlan(const Plan &plan, const PlannedModel &model, Report report) {
  bool ok = true;
  auto refuse = [&](const Twine &message) {
    report(message);
    ok = false;
  };
  Plan resolved = plan;
  if (plan.globalBatch && *plan.globalBatch != model.batch)
    refuse("the plan is for a global batch of " + Twine(*plan.globalBatch) + " rows; the model has " + Twine(model.batch));
  resolved.globalBatch = model.batch;
  if (resolved.blocks.size() == 1 && resolved.blocks.front().count == 0)
    resolved.blocks.front().count = model.blocks;
  int64_t planned = 0;
  for (const BlockRun &run : resolved.blocks)
    planned += run.count;
  if (planned != model.blocks)
    refuse("the plan is for " + Twine(planned) + " blocks; the model has " + Twine(model.blocks));
  if (plan.stages.count > std::max<int64_t>(1, model.blocks))
    refuse(Twine(plan.stages.count) + " stages need as many blocks; the model has " + Twine(model.blocks));
  else if (!plan.stages.firstBlocks.empty() && plan.stages.firstBlocks.back() >= model.blocks)
    refuse("a stage begins at block " + Twine(plan.stages.firstBlocks.back()) + "; the model has blocks 0 to " + Twine(model.blocks - 1));
  resolved.embedding = getEndStrategy(plan, /*isHead=*/false);
  resolved.head = getEndStrategy(plan, /*isHead=*/true);

  // Where strategies differ, the message says whose does not fit.
  bool isMixed = resolved.blocks.size() > 1 || resolved.embedding->data != resolved.blocks.front().strategy.data ||
                 resolved.head->data != resolved.blocks.front().strategy.data;
  int64_t rows = 0; // what micro-batches must divide
  visitStrategies(resolved, [&](const Strategy &strategy, const std::string &who) {
    if (!isMixed && &strategy != &resolved.blocks.front().strategy)
      return;
    int64_t ranks = resolved.getSize(strategy.data);
    std::string prefix = isMixed ? who + ": " : "";
    if (model.batch % ranks)
      return refuse(prefix + Twine(ranks) + " ranks do not divide a batch of " + Twine(model.batch) + " rows; " +
                    listDivisors(model.batch) + " do" +
                    (ranks > model.batch ? ", and more can share blocks (tensor parallelism) or be stages" : ""));
    int64_t each = model.batch / ranks;
    rows = std::gcd(rows, each);
    if (plan.microBatches && each % *plan.microBatches)
      refuse(prefix + Twine(*plan.microBatches) + " micro-batches do not divide a batch of " + Twine(each) + " rows" +
             (ranks > 1 ? " on each rank" : "") + "; " + listDivisors(each) + " do");
  });
  if (!ok)
    return std::nullopt;
  if (!plan.microBatches)
    resolved.microBatches = getDefaultMicroBatches(rows, plan.stages.count);
  return resolved;
}
