//===- Schedule.cpp - A step becomes a table ------------------------------===//
//
// A table for each stage, which runs its micro-batches in the order of the
// pipeline's schedule. Functions never multiply with stages, micro-batches or
// depth: what accumulates has one variant.
//
//===----------------------------------------------------------------------===//

#include "Steps.h"
#include "dialects/NN/Sums.h"
#include "galvatron/Plan/MicroBatchOrder.h"
#include "galvatron/Plan/MicroBatchOrder.h"
#include "galvatron/Schedule/Passes.h"
#include "llvm/ADT/SetVector.h"
#include <map>

using namespace mlir;
using namespace galvatron;

namespace galvatron {
#define GEN_PASS_DEF_PIPESCHEDULEPASS
#include "galvatron/Schedule/Passes.h.inc"
} // namespace galvatron

namespace {

/// The op that merges two partial results.
Value combine(OpBuilder &builder, Location loc, dist::Monoid monoid, Value lhs, Value rhs) {
  switch (monoid) {
  case dist::Monoid::Sum:
    return builder.create<nn::AddOp>(loc, lhs.getType(), lhs, rhs);
  case dist::Monoid::Max:
    return builder.create<nn::MaximumOp>(loc, lhs.getType(), lhs, rhs);
  case dist::Monoid::Min:
    return builder.create<nn::MinimumOp>(loc, lhs.getType(), lhs, rhs);
  }
  llvm_unreachable("covered switch");
}

/// Makes the functions that add what they compute to running results.
class Accumulators {
public:
  explicit Accumulators(ModuleOp module) : symbols(module) {}

  /// `function` with one more argument for each of `results`, in order, that the result is merged with.
  func::FuncOp getVariant(func::FuncOp function, ArrayRef<std::pair<unsigned, dist::Monoid>> results);
  /// A function of two values of this type that merges them into the first. It stands before `table`.
  func::FuncOp getMerge(Operation *table, Type type, dist::Monoid monoid);
  func::FuncOp lookup(StringRef name) const { return symbols.lookup<func::FuncOp>(name); }

private:
  void setAccumulates(func::FuncOp function, ArrayRef<std::pair<int64_t, int64_t>> pairs);

  SymbolTable symbols;
  llvm::StringMap<func::FuncOp> variants; ///< by function and accumulated results
  DenseMap<std::pair<Type, int>, func::FuncOp> merges;
};

void Accumulators::setAccumulates(func::FuncOp function, ArrayRef<std::pair<int64_t, int64_t>> pairs) {
  Builder builder(function.getContext());
  SmallVector<Attribute> list;
  for (auto [result, argument] : pairs)
    list.push_back(builder.getI64ArrayAttr({result, argument}));
  function->setAttr("nn.accumulates", builder.getArrayAttr(list));
}

func::FuncOp Accumulators::getVariant(func::FuncOp function, ArrayRef<std::pair<unsigned, dist::Monoid>> results) {
  std::string key = function.getSymName().str();
  for (auto [result, monoid] : results)
    key += (":" + Twine(result) + dist::stringifyMonoid(monoid)).str();
  func::FuncOp &variant = variants[key];
  if (variant)
    return variant;
  variant = function.clone();
  variant.setSymName((function.getSymName() + ".accumulate").str());
  variant->setAttr(variantOfAttrName, function.getSymNameAttr());
  symbols.insert(variant, std::next(Block::iterator(function)));
  Operation *terminator = variant.front().getTerminator();
  OpBuilder builder(terminator);
  SmallVector<std::pair<int64_t, int64_t>> pairs;
  for (auto [result, monoid] : results) {
    Value piece = terminator->getOperand(result);
    unsigned number = variant.getNumArguments();
    DictionaryAttr attributes = variant.getResultAttrDict(result);
    variant.insertArgument(number, piece.getType(), attributes ? attributes : builder.getDictionaryAttr({}), piece.getLoc());
    terminator->setOperand(result, combine(builder, piece.getLoc(), monoid, variant.getArgument(number), piece));
    pairs.emplace_back(result, number);
  }
  setAccumulates(variant, pairs);
  return variant;
}

func::FuncOp Accumulators::getMerge(Operation *table, Type type, dist::Monoid monoid) {
  func::FuncOp &merge = merges[{type, int(monoid)}];
  if (merge)
    return merge;
  auto functionType = FunctionType::get(table->getContext(), {type, type}, {type});
  merge = func::FuncOp::create(table->getLoc(), ("accumulate_" + dist::stringifyMonoid(monoid)).str(), functionType);
  merge.setPrivate();
  symbols.insert(merge, Block::iterator(table));
  auto builder = OpBuilder::atBlockBegin(merge.addEntryBlock());
  builder.create<func::ReturnOp>(table->getLoc(),
                                 combine(builder, table->getLoc(), monoid, merge.getArgument(0), merge.getArgument(1)));
  setAccumulates(merge, {{0, 0}});
  return merge;
}

/// What the tables of a step have in common.
struct StepInfo {
  func::FuncOp step;
  int64_t stages, microBatches;
  PlanSchedule schedule;
};

/// Writes the table of one stage of a step.
class TableWriter {
public:
  TableWriter(const StepInfo &info, int64_t stage, Accumulators &accumulators)
      : info(info), step(info.step), stage(stage), accumulators(accumulators), builder(step->getContext()),
        microBatches(info.microBatches) {}

  LogicalResult write(StringRef name);

private:
  /// Whether this stage has a part in an op of the step.
  bool isHere(Operation *op) const {
    if (auto transfer = dyn_cast<pipe::TransferOp>(op))
      return int64_t(transfer.getFrom()) == stage || int64_t(transfer.getTo()) == stage;
    return getStage(op) == stage;
  }
  Value getOwn(Value returned) const;
  LogicalResult collect();
  LogicalResult collectContributions(Value value, Value whole);
  void writeOnce(Operation &op);
  void writeEach(Operation &op, int64_t microBatch);
  void writeRun(func::CallOp call, std::optional<int64_t> microBatch);
  StringAttr getInputName(BlockArgument argument);
  void writeSum(Value result, IntegerAttr microBatch);
  void writeMove(Operation &op, std::optional<int64_t> microBatch);
  void writeOutputs(Value value, std::optional<int64_t> microBatch, Value slot);
  void writeTransfer(pipe::TransferOp transfer, std::optional<int64_t> microBatch);
  void writeWaits(SmallVectorImpl<pipe::SendOp> &messages, size_t count);
  void writeAllWaits();
  /// The slot of a value of the step, as an op that runs once or for the micro-batch at hand reads it.
  Value slotOf(Value value);
  Value &newSlotOf(Value value) { return slots[{value, each.contains(value.getDefiningOp()) ? now : -1}]; }

  const StepInfo &info;
  func::FuncOp step;
  int64_t stage;
  Accumulators &accumulators;
  OpBuilder builder;
  DenseMap<std::pair<Value, int64_t>, Value> slots; ///< by value and micro-batch, -1 for what is made once
  int64_t now = -1;                                 ///< the micro-batch at hand
  int64_t microBatches;
  std::map<int64_t, SmallVector<pipe::SendOp>> sent; ///< to each stage, in order, that nobody has waited for yet
  DenseMap<Value, Value> accumulatorOf;         ///< a call's partial result, to the whole that it contributes to
  DenseMap<Value, dist::Monoid> monoidOf;       ///< by the whole
  DenseMap<Value, Value> running;               ///< by the whole: what has been added up so far
  DenseMap<Value, SmallVector<int64_t>> outputs; ///< results of the step that a value is
  llvm::SetVector<Operation *> once;
  DenseSet<Operation *> each, accumulation, backward; ///< `backward`: of `each`
  DenseSet<Operation *> late; ///< of `once`: after the last micro-batch
  DenseMap<Value, int64_t> mergeCall; ///< for partial results that cannot be accumulated in place: the merge's number
  DenseMap<Value, Value> placed;      ///< what is put together out of pieces of micro-batches, as far as it is
  llvm::SetVector<Value> zeroed;      ///< the sums that these contribute to, which start at zero
};

/// Follows a sum back to the calls, and the moves between ranks, whose results it adds up.
LogicalResult TableWriter::collectContributions(Value value, Value whole) {
  SmallVector<Value> work{value};
  DenseSet<Operation *> calls;
  while (!work.empty()) {
    Value next = work.pop_back_val();
    Operation *sum = next.getDefiningOp();
    if (!nn::isSum(sum)) {
      bool isCall = next.getDefiningOp<func::CallOp>() != nullptr;
      bool isMove = isa_and_nonnull<dist::SliceOp, dist::AllReduceOp, dist::AllGatherOp>(next.getDefiningOp());
      if (!(isCall || isMove) || !accumulatorOf.try_emplace(next, whole).second)
        return emitError(whole.getLoc()) << "sums a value over \"time\" that is "
                                         << (isCall || isMove ? "part of a sum already" : "no result of a call");
      // A call adds to a sum in place once, and only what nobody else reads.
      if (isMove || !next.hasOneUse() || !calls.insert(next.getDefiningOp()).second) {
        mergeCall[next] = -1;
        zeroed.insert(whole);
      }
      continue;
    }
    accumulation.insert(sum);
    llvm::append_range(work, llvm::reverse(sum->getOperands()));
  }
  return success();
}

/// A value that the step returns, as this stage has it; null if it has not.
Value TableWriter::getOwn(Value returned) const {
  Operation *maker = returned.getDefiningOp();
  if (maker ? getStage(maker) == stage : stage == info.stages - 1)
    return returned;
  for (Operation *user : returned.getUsers())
    if (auto transfer = dyn_cast<pipe::TransferOp>(user); transfer && int64_t(transfer.getTo()) == stage)
      return transfer.getResult();
  return {};
}

LogicalResult TableWriter::collect() {
  bool ok = true;
  auto isCompleted = [](Operation *op) { return op && isCompletedOverTime(op); };
  for (Operation &op : step.front()) {
    if (auto reduce = dyn_cast<dist::AllReduceOp>(op); reduce && isOverTime(reduce)) {
      if (isHere(reduce)) {
        monoidOf[reduce.getResult()] = reduce.getMonoid();
        ok &= succeeded(collectContributions(reduce.getValue(), reduce.getResult()));
      }
      accumulation.insert(reduce);
      continue;
    }
    if (auto gather = dyn_cast<dist::AllGatherOp>(op); gather && isOverTime(gather)) {
      each.insert(gather); // each piece goes to its place when it is made
      continue;
    }
    // A move between ranks is made when what it moves is there.
    if (isa<dist::SliceOp, dist::AllReduceOp, dist::AllGatherOp, pipe::TransferOp>(op)) {
      auto slice = dyn_cast<dist::SliceOp>(op);
      Operation *maker = op.getOperand(0).getDefiningOp();
      if ((slice && isOverTime(slice)) || each.contains(maker)) {
        each.insert(&op);
        continue;
      }
      if (late.contains(maker) || isCompleted(maker))
        late.insert(&op);
      once.insert(&op);
      continue;
    }
    if (auto call = dyn_cast<func::CallOp>(op)) {
      auto phase = call->getAttrOfType<pipe::PhaseAttr>(phaseAttrName);
      if (!phase || !call->getAttrOfType<IntegerAttr>(callAttrName)) {
        call.emitOpError("has no phase or number (--pipe-split adds them)");
        ok = false;
        continue;
      }
      if (phase.getValue() == pipe::Phase::Forward || phase.getValue() == pipe::Phase::Backward) {
        each.insert(call);
        continue;
      }
      if (phase.getValue() == pipe::Phase::Finish)
        late.insert(call);
    } else if (isa<nn::ParameterSinkInterface>(op)) {
      late.insert(&op);
    } else if (!nn::isSum(&op) && !isa<nn::GetParameterOp, func::ReturnOp>(op)) {
      op.emitOpError("cannot be a row of a table (--pipe-split moves arithmetic into functions)");
      ok = false;
    }
    once.insert(&op);
  }
  for (Operation *op : once)
    if (nn::isSum(op) && isHere(op) && !accumulation.contains(op)) {
      op->emitOpError("cannot be a row of a table (--pipe-split moves arithmetic into functions)");
      ok = false;
    }
  for (Operation *op : once)
    if (!late.contains(op) && !accumulation.contains(op) && !op->hasTrait<OpTrait::IsTerminator>() && isHere(op) &&
        llvm::any_of(op->getOperands(), [&](Value operand) { return each.contains(operand.getDefiningOp()); })) {
      op->emitOpError("runs before the first micro-batch and reads what one of them makes");
      ok = false;
    }
  for (Operation &op : step.front()) {
    auto phase = op.getAttrOfType<pipe::PhaseAttr>(phaseAttrName);
    bool reads = llvm::any_of(op.getOperands(), [&](Value value) { return backward.contains(value.getDefiningOp()); });
    if (each.contains(&op) && (reads || (phase && phase.getValue() == pipe::Phase::Backward)))
      backward.insert(&op);
  }
  for (OpOperand &use : step.front().getTerminator()->getOpOperands())
    if (Value own = getOwn(use.get()))
      outputs[own].push_back(use.getOperandNumber());
  return success(ok);
}

StringAttr TableWriter::getInputName(BlockArgument argument) {
  auto name = step.getArgAttrOfType<StringAttr>(argument.getArgNumber(), "nn.name");
  return name ? name : builder.getStringAttr("input" + Twine(argument.getArgNumber()));
}

Value TableWriter::slotOf(Value value) {
  if (Value slot = newSlotOf(value))
    return slot;
  // What is left are inputs of the step that a function reads whole: one row, before all others.
  auto argument = cast<BlockArgument>(value);
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPointToStart(builder.getInsertionBlock());
  Value slot = builder.create<pipe::InputOp>(argument.getLoc(), argument.getType(), getInputName(argument), IntegerAttr(),
                                             FlatSymbolRefAttr(), ArrayAttr());
  return newSlotOf(value) = slot;
}

void TableWriter::writeOutputs(Value value, std::optional<int64_t> microBatch, Value slot) {
  for (int64_t number : outputs.lookup(value)) {
    auto name = step.getResultAttrOfType<StringAttr>(number, "nn.name");
    auto layout = step.getResultAttrOfType<dist::LayoutAttr>(number, dist::layoutAttrName);
    int64_t dim = layout ? std::max<int64_t>(layout.getSplitDim(dist::timeAxis), 0) : 0;
    builder.create<pipe::OutputOp>(value.getLoc(), name ? name : builder.getStringAttr("output" + Twine(number)),
                                   microBatch ? builder.getI64IntegerAttr(*microBatch) : IntegerAttr(),
                                   builder.getI64IntegerAttr(microBatch ? dim : 0), slot);
  }
}

void TableWriter::writeRun(func::CallOp call, std::optional<int64_t> microBatch) {
  SmallVector<Value> operands;
  for (Value operand : call.getOperands())
    operands.push_back(slotOf(operand));
  // The first contribution to a sum is written, the others are accumulated in place.
  SmallVector<std::pair<unsigned, dist::Monoid>> accumulated;
  for (OpResult result : call.getResults()) {
    Value whole = accumulatorOf.lookup(result);
    if (!whole || !running.contains(whole) || mergeCall.contains(result))
      continue;
    accumulated.emplace_back(result.getResultNumber(), monoidOf.lookup(whole));
    operands.push_back(running.lookup(whole));
  }
  func::FuncOp callee = accumulators.lookup(call.getCallee());
  if (!accumulated.empty())
    callee = accumulators.getVariant(callee, accumulated);
  IntegerAttr number = microBatch ? builder.getI64IntegerAttr(*microBatch) : IntegerAttr();
  auto phase = call->getAttrOfType<pipe::PhaseAttr>(phaseAttrName);
  auto run = builder.create<pipe::RunOp>(call.getLoc(), call.getResultTypes(), SymbolRefAttr::get(callee), operands, phase,
                                         call->getAttrOfType<IntegerAttr>(callAttrName), number);
  for (auto [result, slot] : llvm::zip(call.getResults(), run.getOutputs())) {
    newSlotOf(result) = slot;
    writeSum(result, number);
  }
}

/// Adds to the sum, if there is one, that a result of a micro-batch contributes to.
void TableWriter::writeSum(Value result, IntegerAttr microBatch) {
  Value whole = accumulatorOf.lookup(result), slot = newSlotOf(result);
  if (!whole)
    return;
  Value &sum = running[whole];
  auto merged = mergeCall.find(result);
  if (merged == mergeCall.end()) {
    sum = slot;
    return;
  }
  func::FuncOp merge = accumulators.getMerge(builder.getInsertionBlock()->getParentOp(), slot.getType(), monoidOf.lookup(whole));
  // A forward: it is a call of its own, which no other goes with.
  auto forward = pipe::PhaseAttr::get(builder.getContext(), pipe::Phase::Forward);
  sum = builder.create<pipe::RunOp>(result.getLoc(), slot.getType(), SymbolRefAttr::get(merge), ValueRange{sum, slot}, forward,
                                    builder.getI64IntegerAttr(merged->second), microBatch).getResult(0);
}

void TableWriter::writeOnce(Operation &op) {
  if (auto parameter = dyn_cast<nn::GetParameterOp>(op))
    newSlotOf(parameter.getResult()) =
        builder.create<pipe::ParameterOp>(op.getLoc(), parameter.getType(), parameter.getParameterAttr());
  else if (auto set = dyn_cast<nn::SetParameterOp>(op))
    builder.create<pipe::StoreOp>(op.getLoc(), set.getParameterAttr(), slotOf(set.getValue()));
  else if (auto gradient = dyn_cast<nn::GradientOp>(op))
    builder.create<pipe::GradientOp>(op.getLoc(), gradient.getParameterAttr(), slotOf(gradient.getValue()));
  else if (auto call = dyn_cast<func::CallOp>(op))
    writeRun(call, std::nullopt);
  else if (auto transfer = dyn_cast<pipe::TransferOp>(op))
    writeTransfer(transfer, std::nullopt);
  else if (isa<dist::SliceOp, dist::AllReduceOp, dist::AllGatherOp>(op) && !accumulation.contains(&op))
    writeMove(op, std::nullopt);
}

/// Waits for the oldest `count` of what was sent to one stage.
void TableWriter::writeWaits(SmallVectorImpl<pipe::SendOp> &messages, size_t count) {
  for (pipe::SendOp send : ArrayRef(messages).take_front(count))
    builder.create<pipe::WaitOp>(send.getLoc(), send.getValue(), send.getTransferAttr(), send.getToAttr(), send.getMicroBatchAttr());
  messages.erase(messages.begin(), messages.begin() + count);
}

void TableWriter::writeAllWaits() {
  for (auto &[to, messages] : sent)
    writeWaits(messages, messages.size());
}

/// On the one stage a message is sent, on the other received. What is further away is received later: as many micro-batches may be
/// on their way as there are stages in between.
void TableWriter::writeTransfer(pipe::TransferOp transfer, std::optional<int64_t> microBatch) {
  IntegerAttr number = microBatch ? builder.getI64IntegerAttr(*microBatch) : IntegerAttr();
  int64_t from = transfer.getFrom(), to = transfer.getTo();
  if (to == stage) {
    newSlotOf(transfer.getResult()) =
        builder.create<pipe::ReceiveOp>(transfer.getLoc(), transfer.getType(), transfer.getNumberAttr(), transfer.getFromAttr(), number);
    return;
  }
  SmallVector<pipe::SendOp> &messages = sent[to];
  size_t old = 0;
  for (auto [position, send] : llvm::enumerate(messages))
    if (microBatch && send.getTransferAttr() == transfer.getNumberAttr() && send.getMicroBatch() &&
        int64_t(*send.getMicroBatch()) + std::abs(to - from) <= *microBatch)
      old = position + 1;
  writeWaits(messages, old);
  messages.push_back(builder.create<pipe::SendOp>(transfer.getLoc(), slotOf(transfer.getValue()), transfer.getNumberAttr(),
                                              transfer.getToAttr(), number));
}

/// The axes of ranks among `axes`; null if there are none.
static ArrayAttr withoutTime(ArrayAttr axes) {
  SmallVector<Attribute> ranks;
  llvm::copy_if(axes, std::back_inserter(ranks), [](Attribute axis) { return cast<StringAttr>(axis) != dist::timeAxis; });
  return ranks.empty() ? ArrayAttr() : ArrayAttr::get(axes.getContext(), ranks);
}

/// A move between ranks, or a piece of what is whole.
void TableWriter::writeMove(Operation &op, std::optional<int64_t> microBatch) {
  IntegerAttr number = microBatch ? builder.getI64IntegerAttr(*microBatch) : IntegerAttr();
  Location loc = op.getLoc();
  Value moved;
  if (auto reduce = dyn_cast<dist::AllReduceOp>(op)) {
    moved = builder.create<pipe::AllReduceOp>(loc, reduce.getType(), /*async=*/UnitAttr(), reduce.getMonoidAttr(),
                                              slotOf(reduce.getValue()), reduce.getMeshAttr(), reduce.getAxes(), number);
  } else if (auto gather = dyn_cast<dist::AllGatherOp>(op)) {
    moved = builder.create<pipe::AllGatherOp>(loc, gather.getType(), /*async=*/UnitAttr(), slotOf(gather.getValue()),
                                              gather.getMeshAttr(), gather.getAxes(), number);
  } else {
    auto slice = cast<dist::SliceOp>(op);
    number = isOverTime(slice) ? number : IntegerAttr();
    ArrayAttr axes = withoutTime(slice.getAxes());
    FlatSymbolRefAttr mesh = axes ? slice.getMeshAttr() : FlatSymbolRefAttr();
    if (auto argument = dyn_cast<BlockArgument>(slice.getValue()); argument && slice.getDim() == 0)
      moved = builder.create<pipe::InputOp>(loc, slice.getType(), getInputName(argument), number, mesh, axes);
    else
      moved = builder.create<pipe::PieceOp>(loc, slice.getType(), slotOf(slice.getValue()), number, mesh, axes);
  }
  newSlotOf(op.getResult(0)) = moved;
  if (microBatch)
    writeSum(op.getResult(0), number ? number : builder.getI64IntegerAttr(*microBatch));
}

void TableWriter::writeEach(Operation &op, int64_t microBatch) {
  if (auto call = dyn_cast<func::CallOp>(op)) {
    writeRun(call, microBatch);
  } else if (auto gather = dyn_cast<dist::AllGatherOp>(op); gather && isOverTime(gather)) {
    Value piece = slotOf(gather.getValue());
    Value &whole = placed[gather.getResult()];
    whole = microBatches == 1 ? piece
                              : builder.create<pipe::PlaceOp>(op.getLoc(), gather.getType(), piece, whole,
                                                              builder.getI64IntegerAttr(microBatch)).getResult();
  } else if (auto transfer = dyn_cast<pipe::TransferOp>(op)) {
    writeTransfer(transfer, microBatch);
    if (int64_t(transfer.getTo()) != stage)
      return;
  } else {
    writeMove(op, microBatch);
  }
  for (Value result : op.getResults()) {
    auto layouts = outputs.find(result);
    if (layouts == outputs.end())
      continue;
    // What is the same in every micro-batch is handed out once, at the end.
    auto layout = step.getResultAttrOfType<dist::LayoutAttr>(layouts->second.front(), dist::layoutAttrName);
    if (!layout || layout.getSplitDim(dist::timeAxis) >= 0)
      writeOutputs(result, microBatch, newSlotOf(result));
  }
}

LogicalResult TableWriter::write(StringRef name) {
  if (failed(collect()))
    return failure();
  builder.setInsertionPoint(step);
  auto table = builder.create<pipe::TableOp>(step.getLoc(), name, stage, microBatches);
  builder.createBlock(&table.getRows());
  int64_t nextCall = 0;
  for (auto call : step.front().getOps<func::CallOp>())
    nextCall = std::max(nextCall, call->getAttrOfType<IntegerAttr>(callAttrName).getInt() + 1);
  for (Operation &op : step.front())
    for (Value result : op.getResults())
      if (auto merged = mergeCall.find(result); merged != mergeCall.end())
        merged->second = nextCall++;
  for (Value whole : zeroed)
    running[whole] = builder.create<pipe::ZeroOp>(whole.getLoc(), whole.getType());

  for (Operation &op : step.front())
    if (once.contains(&op) && !late.contains(&op) && isHere(&op))
      writeOnce(op);
  for (StageWork work : orderMicroBatches(info.schedule, stage, info.stages, microBatches)) {
    now = work.microBatch;
    for (Operation &op : step.front())
      if (each.contains(&op) && isHere(&op) && backward.contains(&op) == work.isBackward)
        writeEach(op, now);
  }
  // What every micro-batch makes the same is that of the last one.
  now = microBatches - 1;
  writeAllWaits();
  for (auto [whole, sum] : running)
    newSlotOf(whole) = sum;
  for (auto [whole, value] : placed)
    newSlotOf(whole) = value;
  for (Operation &op : step.front())
    if (late.contains(&op) && isHere(&op))
      writeOnce(op);
  for (auto [number, returned] : llvm::enumerate(step.front().getTerminator()->getOperands())) {
    Value value = getOwn(returned);
    if (!value)
      continue;
    auto layout = step.getResultAttrOfType<dist::LayoutAttr>(number, dist::layoutAttrName);
    Operation *op = value.getDefiningOp();
    if (op && each.contains(op) && (!layout || layout.getSplitDim(dist::timeAxis) >= 0))
      continue; // handed out piece by piece
    auto resultName = step.getResultAttrOfType<StringAttr>(number, "nn.name");
    builder.create<pipe::OutputOp>(value.getLoc(), resultName ? resultName : builder.getStringAttr("output" + Twine(number)),
                                   IntegerAttr(), builder.getI64IntegerAttr(0), slotOf(value));
  }
  writeAllWaits();
  return success();
}

class PipeSchedule : public galvatron::impl::PipeSchedulePassBase<PipeSchedule> {
public:
  using PipeSchedulePassBase::PipeSchedulePassBase;

private:
  void runOnOperation() override {
    ModuleOp module = getOperation();
    auto meshes = module.getOps<dist::MeshOp>();
    if (int64_t count = llvm::range_size(meshes); count != 1) {
      module.emitError() << "module has " << count << " meshes; exactly one is needed (--dist-apply-plan adds it)";
      return signalPassFailure();
    }
    auto planned = (*meshes.begin())->getAttrOfType<StringAttr>(dist::scheduleAttrName);
    StringRef order = !schedule.empty() ? StringRef(schedule) : planned ? planned.getValue() : "1f1b";
    std::optional<PlanSchedule> kind = parseSchedule(order, [](const Twine &) {});
    if (!kind) {
      module.emitError() << "schedule '" << order << "' is not known; gpipe and 1f1b are";
      return signalPassFailure();
    }
    Accumulators accumulators(module);
    int64_t stages = (*meshes.begin()).getStages(), microBatches = (*meshes.begin()).getMicroBatches();
    SmallVector<func::FuncOp> steps = getSteps(module);
    for (func::FuncOp step : steps) {
      StringRef name = step.getSymName();
      name = name == "step" ? "train" : name == "infer" ? "forward" : name;
      StepInfo info{step, stages, microBatches, *kind};
      for (int64_t stage = 0; stage < stages; ++stage) {
        std::string own = pipe::getTableName(name, stage, stages) + ".table"; // the step has its name until it is gone
        if (failed(TableWriter(info, stage, accumulators).write(own)))
          return signalPassFailure();
      }
    }
    for (func::FuncOp step : steps)
      step.erase();
    for (auto table : module.getOps<pipe::TableOp>())
      if (StringRef(table.getSymName()).ends_with(".table"))
        table.setSymName(StringRef(table.getSymName()).drop_back(6).str());
    eraseUnrun(module);
  }

  /// Removes private functions that no row runs any more (only variants of them).
  static void eraseUnrun(ModuleOp module) {
    DenseSet<StringAttr> run;
    module.walk([&](pipe::RunOp row) { run.insert(row.getCalleeAttr().getAttr()); });
    for (auto function : llvm::make_early_inc_range(module.getOps<func::FuncOp>()))
      if (function.isPrivate() && !run.contains(function.getSymNameAttr()))
        function.erase();
  }
};

} // namespace
