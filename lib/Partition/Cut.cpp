//===- Cut.cpp - Joint functions become forward and backward functions ----===//
//
// The cut decides what is kept between the two: everything that the backward
// reads, unless it is cheap to compute again at no extra kept bytes.
//
//===----------------------------------------------------------------------===//

#include "UnusedResults.h"
#include "dialects/Dist/Dist.h"
#include "dialects/NN/NN.h"
#include "galvatron/Partition/Passes.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/IRMapping.h"
#include "llvm/ADT/BitVector.h"
#include "llvm/ADT/MapVector.h"

using namespace mlir;
using namespace galvatron;

namespace galvatron {
#define GEN_PASS_DEF_DISTCUTPASS
#include "galvatron/Partition/Passes.h.inc"
} // namespace galvatron

namespace {

int64_t bytesOf(Value value) {
  RankedTensorType type = nn::tensorType(value);
  return type.getNumElements() * std::max<int64_t>(type.getElementTypeBitWidth() / 8, 1);
}

/// What a joint function's backward needs from its forward.
class KeptValues {
public:
  KeptValues(func::FuncOp joint, Operation *marker);

  SmallVector<Value> kept;             ///< results of forward ops, in their order
  SmallVector<BlockArgument> inputs;   ///< inputs of the block that the backward reads
  SmallVector<Operation *> recomputed; ///< forward ops that the backward repeats, in their order

private:
  bool isSourceless(Value value);
  /// The one operand of `op` that must be there to repeat it; null if there is none, nothing if it is not cheap.
  std::optional<Value> operandToRepeat(Operation *op);
  DenseMap<Operation *, bool> sourceless;
};

/// Constants, iotas and moves of such: no bytes to keep.
bool KeptValues::isSourceless(Value value) {
  Operation *op = value.getDefiningOp();
  return op && sourceless.lookup(op);
}

std::optional<Value> KeptValues::operandToRepeat(Operation *op) {
  if (sourceless.lookup(op))
    return Value();
  auto element = dyn_cast<nn::ElementOpInterface>(op);
  if (!element || element.getElementCost() > 1)
    return std::nullopt;
  Value needed;
  for (Value operand : op->getOperands()) {
    if (isSourceless(operand))
      continue;
    if (needed && needed != operand)
      return std::nullopt;
    needed = operand;
  }
  return needed;
}

KeptValues::KeptValues(func::FuncOp joint, Operation *marker) {
  Block &body = joint.front();
  SmallVector<Operation *> forward;
  for (Operation &op : body) {
    if (&op == marker)
      break;
    forward.push_back(&op);
    auto element = dyn_cast<nn::ElementOpInterface>(op);
    sourceless[&op] = element && element.getElementCost() <= 1 &&
                      llvm::all_of(op.getOperands(), [&](Value operand) { return isSourceless(operand); });
  }

  // Values of the forward, and inputs, that the backward reads.
  DenseSet<Value> needed;
  unsigned numInputs = joint->getAttrOfType<nn::JointAttr>("nn.joint").getInputs();
  auto need = [&](Value value) {
    auto argument = dyn_cast<BlockArgument>(value);
    if (argument ? argument.getArgNumber() < numInputs : value.getDefiningOp()->isBeforeInBlock(marker))
      needed.insert(value);
  };
  for (Operation *op = marker->getNextNode(); op; op = op->getNextNode()) {
    if (isa<func::ReturnOp>(op))
      for (Value gradient : op->getOperands().drop_front(joint->getAttrOfType<nn::JointAttr>("nn.joint").getResults()))
        need(gradient);
    else
      for (Value operand : op->getOperands())
        need(operand);
  }

  // From the last op to the first, so that what repeated ops read is known when its turn comes.
  for (Operation *op : llvm::reverse(forward)) {
    SmallVector<Value> wanted;
    for (Value result : op->getResults())
      if (needed.contains(result))
        wanted.push_back(result);
    if (wanted.empty())
      continue;
    std::optional<Value> operand = operandToRepeat(op);
    bool repeat = operand.has_value();
    if (repeat && *operand) {
      bool there = isa<BlockArgument>(*operand) || needed.contains(*operand);
      int64_t gain = bytesOf(wanted.front()) - (there ? 0 : bytesOf(*operand));
      repeat = gain > 0 || (gain == 0 && op->hasTrait<nn::IsView>()); // one of several views of the same bytes
    }
    if (!repeat) {
      llvm::append_range(kept, wanted);
      continue;
    }
    recomputed.push_back(op);
    needed.insert(op->operand_begin(), op->operand_end());
  }
  std::reverse(kept.begin(), kept.end());
  std::reverse(recomputed.begin(), recomputed.end());
  for (BlockArgument argument : joint.getArguments())
    if (needed.contains(argument))
      inputs.push_back(argument);
}

/// The functions that a joint function is cut into, and how their calls are built.
struct CutFunction {
  func::FuncOp forward, backward, inference;
  unsigned results;                  ///< of the block
  SmallVector<unsigned> keptAt;      ///< for each kept value the result of the forward that it is
  SmallVector<unsigned> inputs;      ///< block inputs that the backward takes
  SmallVector<unsigned> cotangents;  ///< cotangents that the backward takes
};

class Cutter {
public:
  explicit Cutter(ModuleOp module) : symbols(module) {}

  FailureOr<CutFunction> cut(func::FuncOp joint);
  func::FuncOp getInference(func::FuncOp joint, CutFunction &cut);

private:
  func::FuncOp create(func::FuncOp joint, StringRef suffix, TypeRange inputs, TypeRange results);
  func::FuncOp createForward(func::FuncOp joint, StringRef suffix, ValueRange results);
  SymbolTable symbols;
};

func::FuncOp Cutter::create(func::FuncOp joint, StringRef suffix, TypeRange inputs, TypeRange results) {
  OpBuilder builder(joint);
  auto function = builder.create<func::FuncOp>(joint.getLoc(), (joint.getSymName() + suffix).str(),
                                               builder.getFunctionType(inputs, results));
  function.setPrivate();
  symbols.insert(function, Block::iterator(joint));
  function.addEntryBlock();
  return function;
}

/// The forward half, with the given results.
func::FuncOp Cutter::createForward(func::FuncOp joint, StringRef suffix, ValueRange results) {
  unsigned numInputs = joint->getAttrOfType<nn::JointAttr>("nn.joint").getInputs();
  func::FuncOp function = create(joint, suffix, joint.getArgumentTypes().take_front(numInputs), results.getTypes());
  IRMapping map;
  for (unsigned i = 0; i < numInputs; ++i)
    map.map(joint.getArgument(i), function.getArgument(i));
  OpBuilder builder(function.getBody());
  for (Operation &op : joint.front()) {
    if (isa<nn::BackwardBeginOp>(op))
      break;
    builder.clone(op, map);
  }
  SmallVector<Value> mapped;
  for (Value result : results)
    mapped.push_back(map.lookup(result));
  builder.create<func::ReturnOp>(joint.front().getTerminator()->getLoc(), mapped);
  eraseUnused(function.front());
  return function;
}

FailureOr<CutFunction> Cutter::cut(func::FuncOp joint) {
  auto markers = joint.front().getOps<nn::BackwardBeginOp>();
  if (int64_t count = llvm::range_size(markers); count != 1)
    return joint.emitOpError("is a joint function with ") << count << " nn.backward_begin markers; exactly one is needed";
  auto attr = joint->getAttrOfType<nn::JointAttr>("nn.joint");
  Operation *marker = *markers.begin(), *terminator = joint.front().getTerminator();
  for (Value result : terminator->getOperands().take_front(attr.getResults()))
    if (Operation *op = result.getDefiningOp(); (op && !op->isBeforeInBlock(marker)) ||
                                                 (!op && cast<BlockArgument>(result).getArgNumber() >= attr.getInputs()))
      return joint.emitOpError("is a joint function whose forward returns a value of its backward");
  for (Operation &op : joint.front()) {
    if (&op == marker)
      break;
    for (Value operand : op.getOperands())
      if (auto argument = dyn_cast<BlockArgument>(operand); argument && argument.getArgNumber() >= attr.getInputs())
        return op.emitOpError("is in the forward of a joint function and reads a cotangent");
  }
  KeptValues values(joint, marker);
  CutFunction cut;
  cut.results = attr.getResults();

  // The forward: the block's results, then what is kept and is not a result already.
  SmallVector<Value> results(terminator->getOperands().take_front(attr.getResults()));
  for (Value value : values.kept) {
    auto *found = llvm::find(results, value);
    cut.keptAt.push_back(found - results.begin());
    if (found == results.end())
      results.push_back(value);
  }
  cut.forward = createForward(joint, ".forward", results);

  // The backward: inputs, kept values and cotangents that it reads.
  SmallVector<Value> arguments(values.inputs.begin(), values.inputs.end());
  for (BlockArgument argument : values.inputs)
    cut.inputs.push_back(argument.getArgNumber());
  llvm::append_range(arguments, values.kept);
  for (BlockArgument argument : joint.getArguments().drop_front(attr.getInputs()))
    if (!argument.use_empty()) {
      cut.cotangents.push_back(argument.getArgNumber() - attr.getInputs());
      arguments.push_back(argument);
    }
  auto gradients = terminator->getOperands().drop_front(attr.getResults());
  cut.backward = create(joint, ".backward", ValueRange(arguments).getTypes(), gradients.getTypes());
  IRMapping map;
  for (auto [value, argument] : llvm::zip(arguments, cut.backward.getArguments()))
    map.map(value, argument);
  OpBuilder builder(cut.backward.getBody());
  for (Operation *op : values.recomputed)
    builder.clone(*op, map);
  for (Operation *op = marker->getNextNode(); op != terminator; op = op->getNextNode())
    builder.clone(*op, map);
  SmallVector<Value> mapped;
  for (Value gradient : gradients)
    mapped.push_back(map.lookup(gradient));
  builder.create<func::ReturnOp>(terminator->getLoc(), mapped);
  eraseUnused(cut.backward.front());
  return cut;
}

func::FuncOp Cutter::getInference(func::FuncOp joint, CutFunction &cut) {
  if (cut.forward.getNumResults() == cut.results)
    return cut.forward;
  if (!cut.inference)
    cut.inference = createForward(joint, ".inference", joint.front().getTerminator()->getOperands().take_front(cut.results));
  return cut.inference;
}

class DistCut : public galvatron::impl::DistCutPassBase<DistCut> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    Cutter cutter(module);
    llvm::MapVector<StringAttr, std::pair<func::FuncOp, CutFunction>> cuts;
    bool ok = true;
    for (auto joint : llvm::make_early_inc_range(module.getOps<func::FuncOp>())) {
      if (!joint->hasAttr("nn.joint"))
        continue;
      FailureOr<CutFunction> cut = cutter.cut(joint);
      ok &= succeeded(cut);
      if (succeeded(cut))
        cuts.insert({joint.getSymNameAttr(), {joint, *cut}});
    }
    if (!ok)
      return signalPassFailure();
    for (auto step : module.getOps<func::FuncOp>()) {
      SmallVector<Operation *> calls;
      step.walk([&](Operation *op) {
        if (isa<nn::ForwardOp, nn::BackwardOp>(op))
          calls.push_back(op);
      });
      DenseMap<Value, func::CallOp> forwardOf;
      SmallVector<Operation *> forwards;
      Builder builder(&getContext());
      for (Operation *op : calls) {
        if (auto forward = dyn_cast<nn::ForwardOp>(op)) {
          auto &[joint, cut] = cuts.find(forward.getCalleeAttr().getAttr())->second;
          func::CallOp call = replaceForward(forward, joint, cut, cutter);
          call->setAttr(dist::callAttrName, builder.getI64IntegerAttr(forwards.size()));
          forwardOf[forward.getResiduals()] = call;
          forwards.push_back(forward);
        } else {
          auto backward = cast<nn::BackwardOp>(op);
          auto &cut = cuts.find(backward.getCalleeAttr().getAttr())->second.second;
          func::CallOp call = forwardOf.lookup(backward.getResiduals());
          replaceBackward(backward, cut, call)->setAttr(dist::backwardOfAttrName, call->getAttr(dist::callAttrName));
        }
      }
      for (Operation *forward : forwards)
        forward->erase();
    }
    for (auto &entry : cuts) {
      entry.second.first.erase();
      for (func::FuncOp function : {entry.second.second.forward, entry.second.second.backward, entry.second.second.inference})
        if (function)
          dropUnusedResults(function);
    }
  }

  static void copyAttributes(Operation *from, Operation *to) {
    for (NamedAttribute attr : from->getDiscardableAttrs())
      to->setDiscardableAttr(attr.getName(), attr.getValue());
  }

  static func::CallOp replaceForward(nn::ForwardOp forward, func::FuncOp joint, CutFunction &cut, Cutter &cutter) {
    OpBuilder builder(forward);
    func::FuncOp callee = forward.getResiduals().use_empty() ? cutter.getInference(joint, cut) : cut.forward;
    auto call = builder.create<func::CallOp>(forward.getLoc(), callee, forward.getInputs());
    copyAttributes(forward, call);
    for (auto [from, to] : llvm::zip(forward.getOutputs(), call.getResults()))
      from.replaceAllUsesWith(to);
    return call;
  }

  static func::CallOp replaceBackward(nn::BackwardOp backward, CutFunction &cut, func::CallOp forward) {
    SmallVector<Value> operands;
    for (unsigned input : cut.inputs)
      operands.push_back(forward.getOperand(input));
    for (unsigned kept : cut.keptAt)
      operands.push_back(forward.getResult(kept));
    for (unsigned cotangent : cut.cotangents)
      operands.push_back(backward.getCotangents()[cotangent]);
    OpBuilder builder(backward);
    auto call = builder.create<func::CallOp>(backward.getLoc(), cut.backward, operands);
    copyAttributes(backward, call);
    backward.replaceAllUsesWith(call.getResults());
    backward.erase();
    return call;
  }
};

} // namespace
