//===- JointFunction.cpp - Forward and backward of a block in one function ===//
//
// Reverse-mode differentiation of straight-line code. What each op's cotangents
// are is the op's to say (GradientInterface).
//
//===----------------------------------------------------------------------===//

#include "JointFunction.h"

#include "mlir/IR/Dominance.h"
#include "mlir/Transforms/CSE.h"

using namespace mlir;
using namespace galvatron;

static bool isFloat(Value value) { return isa<FloatType>(getElementTypeOrSelf(value.getType())); }

SmallVector<llvm::BitVector> galvatron::findDependences(func::FuncOp function) {
  unsigned n = function.getNumArguments();
  DenseMap<Value, llvm::BitVector> dependsOn;
  for (BlockArgument argument : function.getArguments())
    if (isFloat(argument)) {
      llvm::BitVector bits(n);
      bits.set(argument.getArgNumber());
      dependsOn[argument] = std::move(bits);
    }
  for (Operation &op : function.front().without_terminator()) {
    llvm::BitVector bits(n);
    for (Value operand : op.getOperands())
      if (auto found = dependsOn.find(operand); found != dependsOn.end())
        bits |= found->second;
    if (bits.any())
      for (Value result : op.getResults())
        if (isFloat(result))
          dependsOn[result] = bits;
  }
  SmallVector<llvm::BitVector> results;
  for (Value result : function.front().getTerminator()->getOperands()) {
    auto found = dependsOn.find(result);
    results.push_back(found == dependsOn.end() ? llvm::BitVector(n) : found->second);
  }
  return results;
}

namespace {

class Differentiator {
public:
  Differentiator(func::FuncOp function, const Demand &demand)
      : function(function), demand(demand), builder(function.front().getTerminator()) {}

  LogicalResult run();

private:
  void findActive();
  void addCotangent(Value value, Value cotangent);
  LogicalResult differentiate(Operation *op);
  /// Removes unused ops and neutral arithmetic after the marker.
  void simplify(Operation *marker);

  func::FuncOp function;
  const Demand &demand;
  OpBuilder builder;
  DenseSet<Value> active; ///< depends on a differentiated input
  DenseMap<Value, Value> cotangents;
};

void Differentiator::findActive() {
  for (int64_t input : demand.differentiated)
    active.insert(function.getArgument(input));
  for (Operation &op : function.front().without_terminator())
    if (llvm::any_of(op.getOperands(), [&](Value operand) { return active.contains(operand); }))
      for (Value result : op.getResults())
        if (isFloat(result))
          active.insert(result);
}

void Differentiator::addCotangent(Value value, Value cotangent) {
  Value &sum = cotangents[value];
  sum = sum ? builder.create<nn::AddOp>(value.getLoc(), value.getType(), sum, cotangent).getResult() : cotangent;
}

LogicalResult Differentiator::differentiate(Operation *op) {
  SmallVector<Value> resultGradients;
  for (Value result : op->getResults())
    resultGradients.push_back(cotangents.lookup(result));
  SmallVector<bool> wanted;
  for (Value operand : op->getOperands())
    wanted.push_back(active.contains(operand));
  if (llvm::none_of(resultGradients, [](Value v) { return bool(v); }) || !llvm::is_contained(wanted, true))
    return success();
  auto gradient = dyn_cast<nn::GradientInterface>(op);
  if (!gradient)
    return op->emitOpError("has no gradient, and a trainable parameter leads to it");
  SmallVector<Value> operandGradients;
  gradient.buildGradients(builder, resultGradients, wanted, operandGradients);
  assert(operandGradients.size() == op->getNumOperands() && "one cotangent, or null, for each operand");
  for (auto [operand, cotangent, want] : llvm::zip(op->getOperands(), operandGradients, wanted))
    if (cotangent && want)
      addCotangent(operand, cotangent);
  return success();
}

void Differentiator::simplify(Operation *marker) {
  Block &body = function.front();
  for (Operation &op : llvm::make_early_inc_range(llvm::make_range(std::next(marker->getIterator()), body.end()))) {
    SmallVector<OpFoldResult> folded;
    if (op.hasTrait<OpTrait::IsTerminator>() || op.hasTrait<OpTrait::ConstantLike>() || failed(op.fold(folded)) ||
        folded.empty() || !llvm::all_of(folded, [](OpFoldResult r) { return isa<Value>(r); }))
      continue;
    for (auto [result, value] : llvm::zip(op.getResults(), folded))
      result.replaceAllUsesWith(cast<Value>(value));
  }
  for (Operation &op : llvm::make_early_inc_range(llvm::reverse(body)))
    if (isOpTriviallyDead(&op))
      op.erase();
  IRRewriter rewriter(function.getContext());
  DominanceInfo dominance(function);
  eliminateCommonSubExpressions(rewriter, dominance, function);
}

LogicalResult Differentiator::run() {
  Block &body = function.front();
  Operation *terminator = body.getTerminator();
  SmallVector<Operation *> forward;
  for (Operation &op : body.without_terminator())
    forward.push_back(&op);
  int64_t inputs = function.getNumArguments(), results = terminator->getNumOperands();
  findActive();

  auto marker = builder.create<nn::BackwardBeginOp>(terminator->getLoc());
  for (int64_t i : demand.cotangents) {
    Value result = terminator->getOperand(i);
    addCotangent(result, body.addArgument(result.getType(), result.getLoc()));
  }
  if (demand.seed >= 0) {
    Value loss = terminator->getOperand(demand.seed);
    addCotangent(loss, nn::createSplat(builder, loss.getLoc(), nn::tensorType(loss), 1.0));
  }
  bool ok = true;
  for (Operation *op : llvm::reverse(forward))
    ok &= succeeded(differentiate(op));
  if (!ok)
    return failure();

  SmallVector<Value> returned(terminator->getOperands());
  for (int64_t i : demand.differentiated) {
    Value input = function.getArgument(i), cotangent = cotangents.lookup(input);
    // Rounding and the like stop gradients: what is left is zero.
    returned.push_back(cotangent ? cotangent : nn::createSplat(builder, input.getLoc(), nn::tensorType(input), 0.0));
  }
  terminator->setOperands(returned);
  function.setFunctionType(builder.getFunctionType(body.getArgumentTypes(), TypeRange(ValueRange(returned))));
  function->setAttr("nn.joint", nn::JointAttr::get(function.getContext(), inputs, results, demand.cotangents, demand.differentiated));
  simplify(marker);
  return success();
}

} // namespace

LogicalResult galvatron::makeJoint(func::FuncOp function, const Demand &demand) {
  return Differentiator(function, demand).run();
}
