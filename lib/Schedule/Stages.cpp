//===- Stages.cpp ---------------------------------------------------------===//

#include "Stages.h"

#include "dialects/NN/Sums.h"
#include "llvm/ADT/MapVector.h"
#include <set>

using namespace mlir;
using namespace galvatron;

namespace {

using StageSet = std::set<int64_t>;

bool isFixed(Operation *op) { return isa<func::CallOp>(op) && op->hasAttr(dist::strategyAttrName); }

/// The stages that hand out a result of a step.
StageSet stagesOfOutput(func::FuncOp step, unsigned number, int64_t stages) {
  auto name = step.getResultAttrOfType<StringAttr>(number, "nn.name");
  StageSet all;
  for (int64_t stage = name && pipe::isStepScalar(name) ? 0 : stages - 1; stage < stages; ++stage)
    all.insert(stage);
  return all;
}

/// Where values of a step are made; what is made of inputs alone can be made anywhere, and has no home.
class Homes {
public:
  explicit Homes(func::FuncOp step);
  std::optional<int64_t> of(Value value) const {
    auto found = homes.find(value);
    return found == homes.end() ? std::nullopt : std::optional(found->second);
  }
  /// The stages of the calls of the plan that read a parameter, or moves of it.
  llvm::MapVector<Attribute, StageSet> readers;

private:
  DenseMap<Value, int64_t> homes;
};

Homes::Homes(func::FuncOp step) {
  for (auto read : step.front().getOps<nn::GetParameterOp>()) {
    SmallVector<Value> copies{read.getResult()};
    StageSet stages;
    while (!copies.empty())
      for (Operation *user : copies.pop_back_val().getUsers()) {
        if (isFixed(user))
          stages.insert(user->getAttrOfType<IntegerAttr>(dist::stageAttrName).getInt());
        else if (isMove(user))
          copies.push_back(user->getResult(0));
      }
    if (stages.empty())
      continue;
    homes[read.getResult()] = *stages.begin();
    readers[read.getParameterAttr()].insert(stages.begin(), stages.end());
  }
  for (Operation &op : step.front()) {
    std::optional<int64_t> home;
    if (isFixed(&op)) {
      home = op.getAttrOfType<IntegerAttr>(dist::stageAttrName).getInt();
    } else {
      // That of the largest operand: it stays where it is.
      int64_t most = -1;
      for (Value operand : op.getOperands())
        if (std::optional<int64_t> other = of(operand); other && bytesOf(operand) > most) {
          home = other;
          most = bytesOf(operand);
        }
    }
    if (home)
      for (Value result : op.getResults())
        homes.try_emplace(result, *home);
  }
}

/// Decides where each op runs.
class Placement {
public:
  Placement(func::FuncOp step, int64_t stages) : step(step), stages(stages), homes(step), lives(homes.readers) {
    size_t before;
    do {
      before = countLives();
      findRuns();
    } while (countLives() != before);
  }

  const StageSet &stagesOf(Operation *op) const { return runs.find(op)->second; }

private:
  size_t countLives() const {
    size_t count = 0;
    for (auto &[name, where] : lives)
      count += where.size();
    return count;
  }
  void findRuns();
  StageSet decide(Operation *op);
  bool isAvailable(Value value, int64_t stage) const;

  func::FuncOp step;
  int64_t stages;
  Homes homes;
  llvm::MapVector<Attribute, StageSet> lives; ///< where each parameter is
  DenseMap<Value, StageSet> needs;
  DenseMap<Operation *, StageSet> runs;
};

/// From the end on: where results are needed says where an op runs, and that where its operands are needed.
void Placement::findRuns() {
  needs.clear();
  for (Operation &op : llvm::reverse(step.front())) {
    if (auto result = dyn_cast<func::ReturnOp>(op)) {
      for (OpOperand &use : op.getOpOperands()) {
        StageSet where = stagesOfOutput(step, use.getOperandNumber(), stages);
        needs[use.get()].insert(where.begin(), where.end());
      }
      runs[&op] = {};
      continue;
    }
    StageSet where;
    if (isFixed(&op))
      where = {op.getAttrOfType<IntegerAttr>(dist::stageAttrName).getInt()};
    else if (auto gradient = dyn_cast<nn::GradientOp>(op)) // handed out once
      where = lives[gradient.getParameterAttr()].empty() ? StageSet{0} : StageSet{*lives[gradient.getParameterAttr()].begin()};
    else if (auto sink = dyn_cast<nn::ParameterSinkInterface>(op))
      where = lives[sink.getParameterAttr()];
    else
      where = decide(&op);
    if (auto read = dyn_cast<nn::GetParameterOp>(op))
      lives[read.getParameterAttr()].insert(where.begin(), where.end());
    for (Value operand : op.getOperands())
      needs[operand].insert(where.begin(), where.end());
    runs[&op] = std::move(where);
  }
}

bool Placement::isAvailable(Value value, int64_t stage) const {
  if (auto read = value.getDefiningOp<nn::GetParameterOp>()) {
    auto found = homes.readers.find(read.getParameterAttr());
    return found == homes.readers.end() || found->second.count(stage);
  }
  std::optional<int64_t> home = homes.of(value);
  return !home || *home == stage;
}

StageSet Placement::decide(Operation *op) {
  StageSet wanted;
  for (Value result : op->getResults())
    wanted.insert(needs[result].begin(), needs[result].end());
  std::optional<int64_t> home = op->getNumResults() ? homes.of(op->getResult(0)) : std::nullopt;
  if (wanted.empty())
    return {home.value_or(0)};
  if (!home || isa<nn::GetParameterOp>(op) || (wanted.size() == 1 && *wanted.begin() == *home))
    return wanted;
  if (isCompletedOverTime(op) || isAccumulation(op))
    return {*home};
  auto missing = [&](int64_t stage) {
    int64_t bytes = 0;
    for (Value operand : op->getOperands())
      bytes += isAvailable(operand, stage) ? 0 : bytesOf(operand);
    return bytes;
  };
  int64_t everywhere = 0, once = missing(*home);
  for (int64_t stage : wanted) {
    everywhere += missing(stage);
    if (stage != *home)
      for (Value result : op->getResults())
        once += needs[result].count(stage) ? bytesOf(result) : 0;
  }
  // What ranks say to each other they say once.
  bool isRepeated = isMove(op) ? everywhere < once : everywhere <= once;
  return isRepeated ? wanted : StageSet{*home};
}

} // namespace

bool galvatron::isAccumulation(Operation *op) {
  if (!nn::isSum(op) || op->use_empty())
    return false;
  return llvm::all_of(op->getUsers(), [](Operation *user) {
    auto reduce = dyn_cast<dist::AllReduceOp>(user);
    return reduce ? isOverTime(reduce) && reduce.getMonoid() == dist::Monoid::Sum : isAccumulation(user);
  });
}

/// The sum of `values`, over what `reduce` sums over.
static Value reduceLike(dist::AllReduceOp reduce, OpBuilder &builder, ArrayRef<Value> values) {
  Value sum = nn::addUp(builder, reduce.getLoc(), values);
  return builder.create<dist::AllReduceOp>(reduce.getLoc(), sum.getType(), reduce.getMonoidAttr(), sum, reduce.getMeshAttr(),
                                           reduce.getAxes());
}

/// The move between ranks that makes a value of a micro-batch, if it may as well be made of a sum of such values.
static Operation *getLinearMove(Value value) {
  Operation *op = value.getDefiningOp();
  if (auto reduce = dyn_cast_or_null<dist::AllReduceOp>(op))
    return !isOverTime(reduce) && reduce.getMonoid() == dist::Monoid::Sum ? op : nullptr;
  if (auto gather = dyn_cast_or_null<dist::AllGatherOp>(op))
    return isOverTime(gather) ? nullptr : op;
  auto slice = dyn_cast_or_null<dist::SliceOp>(op);
  return slice && !isOverTime(slice) ? op : nullptr;
}

/// Whether what values are made of, by moves and sums, comes from more than one stage.
static bool areOfSeveralStages(const Homes &homes, ArrayRef<Value> values) {
  SmallVector<Value> work(values);
  DenseSet<Value> seen;
  std::optional<std::optional<int64_t>> first;
  while (!work.empty()) {
    Value value = work.pop_back_val();
    if (!seen.insert(value).second)
      continue;
    if (Operation *op = value.getDefiningOp(); getLinearMove(value) || nn::isSum(op)) {
      llvm::append_range(work, op->getOperands());
      continue;
    }
    if (!first)
      first = homes.of(value);
    if (homes.of(value) != *first)
      return true;
  }
  return false;
}

/// Where a sum over the micro-batches has moves between ranks inside of what several stages add up, they move the sum over time instead:
/// in each micro-batch, one stage would wait for what another makes of it much later.
static void moveAfterTime(func::FuncOp step) {
  Homes homes(step);
  SmallVector<dist::AllReduceOp> work(step.front().getOps<dist::AllReduceOp>());
  while (!work.empty()) {
    dist::AllReduceOp reduce = work.pop_back_val();
    if (!isOverTime(reduce) || reduce.getMonoid() != dist::Monoid::Sum)
      continue;
    SmallVector<Value> kept, totals;
    OpBuilder builder(reduce);
    for (Value addend : nn::getAddends(reduce.getValue())) {
      SmallVector<Operation *> moves; // the last one first
      Value moved = addend;
      while (Operation *move = getLinearMove(moved)) {
        moves.push_back(move);
        moved = move->getOperand(0);
      }
      SmallVector<Value> addends = nn::getAddends(moved);
      if (!areOfSeveralStages(homes, addends)) {
        kept.push_back(addend);
        continue;
      }
      Value total = reduceLike(reduce, builder, addends);
      work.push_back(total.getDefiningOp<dist::AllReduceOp>());
      for (Operation *move : llvm::reverse(moves)) {
        Operation *after = builder.clone(*move);
        after->setOperand(0, total);
        total = after->getResult(0);
      }
      totals.push_back(total);
    }
    if (totals.empty())
      continue;
    if (!kept.empty())
      totals.insert(totals.begin(), reduceLike(reduce, builder, kept));
    reduce.replaceAllUsesWith(nn::addUp(builder, reduce.getLoc(), totals));
    reduce.erase();
  }
  for (Operation &op : llvm::make_early_inc_range(llvm::reverse(step.front())))
    if (op.use_empty() && (nn::isSum(&op) || isMove(&op)))
      op.erase();
}

void galvatron::groupSumsByStage(func::FuncOp step, int64_t stages) {
  if (stages == 1)
    return;
  auto homeOf = [&](const Homes &homes, Value value) -> Attribute {
    return IntegerAttr::get(IntegerType::get(value.getContext(), 64), homes.of(value).value_or(-1));
  };
  moveAfterTime(step);
  // What is added up over time.
  Homes homes(step);
  for (auto reduce : llvm::make_early_inc_range(step.front().getOps<dist::AllReduceOp>())) {
    if (!isOverTime(reduce) || reduce.getMonoid() != dist::Monoid::Sum)
      continue;
    llvm::MapVector<Attribute, SmallVector<Value>> groups;
    for (Value addend : nn::getAddends(reduce.getValue()))
      groups[homeOf(homes, addend)].push_back(addend);
    if (groups.size() < 2)
      continue;
    OpBuilder builder(reduce);
    SmallVector<Value> totals;
    for (auto &[home, values] : groups)
      totals.push_back(reduceLike(reduce, builder, values));
    reduce.replaceAllUsesWith(nn::addUp(builder, reduce.getLoc(), totals));
    reduce.erase();
  }
  nn::eraseUnusedSums(step.front());
  // All other sums.
  Homes after(step);
  nn::groupSums(step.front(), [&](Value value) { return homeOf(after, value); }, isAccumulation);
}

void galvatron::placeOnStages(func::FuncOp step, int64_t stages) {
  if (stages == 1)
    return;
  Placement placement(step, stages);
  DenseMap<std::pair<Value, int64_t>, Value> valueOn; // as a stage has it
  DenseMap<Operation *, Operation *> lastTransfer;    // of what an op makes
  llvm::DenseSet<Operation *> copies;
  OpBuilder builder(step.getContext());
  int64_t transfers = 0;
  auto lookup = [&](Value value, int64_t stage) -> Value {
    if (isa<BlockArgument>(value))
      return value;
    Value &found = valueOn[{value, stage}];
    if (found)
      return found;
    Operation *maker = value.getDefiningOp();
    int64_t from = *placement.stagesOf(maker).begin();
    Operation *&last = lastTransfer[maker];
    OpBuilder::InsertionGuard guard(builder);
    builder.setInsertionPointAfter(last ? last : maker);
    auto transfer = builder.create<pipe::TransferOp>(value.getLoc(), value.getType(), value, transfers++, from, stage);
    last = transfer;
    return valueOn[{value, stage}] = transfer.getResult();
  };
  SmallVector<Operation *> ops;
  for (Operation &op : step.front())
    ops.push_back(&op);
  for (Operation *op : ops) {
    if (isa<func::ReturnOp>(op)) {
      for (OpOperand &use : op->getOpOperands())
        for (int64_t stage : stagesOfOutput(step, use.getOperandNumber(), stages))
          lookup(use.get(), stage);
      continue;
    }
    // The op itself runs on the first of its stages, copies of it on the others.
    StageSet where = placement.stagesOf(op);
    SmallVector<Value> operands(op->getOperands());
    Operation *last = op;
    for (int64_t stage : where) {
      Operation *own = op;
      if (stage != *where.begin()) {
        builder.setInsertionPointAfter(last);
        own = last = builder.clone(*op);
        if (own->getNumResults())
          copies.insert(own);
      }
      own->setAttr(dist::stageAttrName, builder.getI64IntegerAttr(stage));
      for (auto [result, copy] : llvm::zip_equal(op->getResults(), own->getResults()))
        valueOn[{result, stage}] = copy;
      for (auto [number, operand] : llvm::enumerate(operands))
        own->setOperand(number, lookup(operand, stage));
    }
  }
  // A copy may be for what a stage returns alone, which the first one hands out; then what was sent for it is not read either.
  ValueRange returned = step.front().getTerminator()->getOperands();
  for (Operation &op : llvm::make_early_inc_range(llvm::reverse(step.front())))
    if (auto transfer = dyn_cast<pipe::TransferOp>(op);
        op.use_empty() && (transfer ? !llvm::is_contained(returned, transfer.getValue()) : copies.contains(&op)))
      op.erase();
  // All stages hand out their gradients together: none may wait then for what another sends later.
  SmallVector<pipe::TransferOp> all(step.front().getOps<pipe::TransferOp>());
  SmallVector<nn::GradientOp> gradients(step.front().getOps<nn::GradientOp>());
  for (nn::GradientOp gradient : gradients)
    if (!all.empty() && gradient->isBeforeInBlock(all.back()))
      gradient->moveAfter(all.back());
}
