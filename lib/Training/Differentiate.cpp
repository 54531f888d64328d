//===- Differentiate.cpp - @forward becomes @step and @infer --------------===//
//
// Works on the chain of calls: which results of a call need a cotangent, and
// which inputs. What happens inside a function is JointFunction.cpp's.
//
//===----------------------------------------------------------------------===//

#include "JointFunction.h"

#include "galvatron/Training/Passes.h"
#include "mlir/IR/IRMapping.h"
#include "llvm/ADT/MapVector.h"

using namespace mlir;
using namespace galvatron;

namespace galvatron {
#define GEN_PASS_DEF_NNDIFFERENTIATEPASS
#include "galvatron/Training/Passes.h.inc"
} // namespace galvatron

namespace {

/// A call of @forward that gets a forward, and if `demand` has cotangents or a seed, a backward.
struct ChainCall {
  func::CallOp call;
  Demand demand;
  size_t variant = 0;
  bool hasBackward() const { return demand.seed >= 0 || !demand.cotangents.empty(); }
};

/// A joint function: what is called with the same needs.
struct Variant {
  func::FuncOp original, joint;
  Demand demand;
};

class ChainDifferentiator {
public:
  explicit ChainDifferentiator(func::FuncOp forward)
      : forward(forward), module(forward->getParentOfType<ModuleOp>()), symbols(module) {}

  LogicalResult run();

private:
  void shareParameterReads();
  LogicalResult findCalls();
  LogicalResult findDemands();
  LogicalResult buildVariants();
  func::FuncOp createStep(StringRef name);
  Value buildForwards(func::FuncOp step, Block *body, IRMapping &map, bool all, DenseMap<Operation *, Value> &residuals);
  void buildStep();
  void buildInfer();
  void warnAboutUnused();

  func::FuncOp forward;
  ModuleOp module;
  SymbolTable symbols;
  llvm::MapVector<Operation *, ChainCall> calls;       ///< in order; calls of prepared values are not among them
  DenseMap<Operation *, SmallVector<llvm::BitVector>> dependences; ///< by function
  SmallVector<Variant> variants;
  DenseSet<Value> active;   ///< trainable parameters, and what depends on one
  DenseSet<Operation *> onPath; ///< calls that the loss depends on
};

/// One nn.get_parameter for each parameter: its uses add up to its gradient.
void ChainDifferentiator::shareParameterReads() {
  DenseMap<Attribute, nn::GetParameterOp> first;
  for (auto get : llvm::make_early_inc_range(forward.front().getOps<nn::GetParameterOp>())) {
    auto [entry, isNew] = first.try_emplace(get.getParameterAttr(), get);
    if (isNew)
      continue;
    get.replaceAllUsesWith(entry->second.getResult());
    get.erase();
  }
}

LogicalResult ChainDifferentiator::findCalls() {
  bool ok = true;
  DenseSet<Value> ofModel; // depends on a parameter of the model
  for (Operation &op : forward.front().without_terminator()) {
    if (auto get = dyn_cast<nn::GetParameterOp>(op)) {
      auto kind = symbols.lookup<nn::ParameterOp>(get.getParameter()).getKind();
      if (kind == nn::ParameterKind::Trainable)
        active.insert(get);
      if (kind == nn::ParameterKind::Trainable || kind == nn::ParameterKind::Frozen)
        ofModel.insert(get);
      continue;
    }
    auto call = dyn_cast<func::CallOp>(op);
    auto callee = call ? symbols.lookup<func::FuncOp>(call.getCallee()) : func::FuncOp();
    if (!callee || callee.isDeclaration()) {
      ok = false;
      op.emitOpError("is not a call of a function with a body; --nn-outline-blocks leaves nothing else in @forward");
      continue;
    }
    if (llvm::none_of(op.getOperands(), [&](Value operand) { return ofModel.contains(operand); }))
      continue;
    ofModel.insert(op.result_begin(), op.result_end());
    calls.insert({&op, {call, {}, 0}});
    auto [entry, isNew] = dependences.try_emplace(callee);
    if (isNew)
      entry->second = findDependences(callee);
    for (auto [result, dependsOn] : llvm::zip(op.getResults(), entry->second))
      if (llvm::any_of(dependsOn.set_bits(), [&](unsigned i) { return active.contains(op.getOperand(i)); }))
        active.insert(result);
  }
  return success(ok);
}

LogicalResult ChainDifferentiator::findDemands() {
  Value loss = forward.front().getTerminator()->getOperand(0);
  if (!active.contains(loss))
    return forward.emitError("loss depends on no trainable parameter");
  DenseSet<Value> needed{loss}; // has a cotangent
  SmallVector<Operation *> path{loss.getDefiningOp()};
  while (!path.empty()) {
    Operation *op = path.pop_back_val();
    if (!op || !onPath.insert(op).second)
      continue;
    for (Value operand : op->getOperands())
      path.push_back(operand.getDefiningOp());
  }
  for (auto &[op, chainCall] : llvm::reverse(calls)) {
    Demand &demand = chainCall.demand;
    auto &results = dependences[symbols.lookup(chainCall.call.getCallee())];
    llvm::BitVector inputs(op->getNumOperands());
    for (OpResult result : op->getResults()) {
      if (!needed.contains(result))
        continue;
      if (result == loss)
        demand.seed = result.getResultNumber();
      else
        demand.cotangents.push_back(result.getResultNumber());
      inputs |= results[result.getResultNumber()];
    }
    for (unsigned i : inputs.set_bits())
      if (active.contains(op->getOperand(i))) {
        demand.differentiated.push_back(i);
        needed.insert(op->getOperand(i));
      }
  }
  return success();
}

/// A function that is called with cotangents for different results is cloned; the inputs to differentiate are
/// those that any call needs, because an unused cotangent costs little and a clone a whole compilation.
LogicalResult ChainDifferentiator::buildVariants() {
  DenseMap<Operation *, SmallVector<size_t>> variantsOf;
  for (auto &entry : calls) {
    ChainCall &chainCall = entry.second;
    auto callee = symbols.lookup<func::FuncOp>(chainCall.call.getCallee());
    Demand &demand = chainCall.demand;
    SmallVector<size_t> &known = variantsOf[callee];
    // A call without a backward can use any variant's forward.
    auto found = llvm::find_if(known, [&](size_t i) {
      return !chainCall.hasBackward() ||
             (variants[i].demand.cotangents == demand.cotangents && variants[i].demand.seed == demand.seed);
    });
    if (found == known.end()) {
      chainCall.variant = variants.size();
      known.push_back(variants.size());
      variants.push_back({callee, {}, demand});
      continue;
    }
    chainCall.variant = *found;
    SmallVector<int64_t> &inputs = variants[*found].demand.differentiated, merged;
    std::set_union(inputs.begin(), inputs.end(), demand.differentiated.begin(), demand.differentiated.end(),
                   std::back_inserter(merged));
    inputs = merged;
  }
  // Clones are made before any original changes.
  for (Variant &variant : variants) {
    bool first = &variant == &variants[variantsOf[variant.original].front()];
    variant.joint = first ? variant.original : variant.original.clone();
    if (!first)
      symbols.insert(variant.joint, std::next(Block::iterator(variant.original)));
  }
  bool ok = true;
  for (Variant &variant : variants)
    ok &= succeeded(makeJoint(variant.joint, variant.demand));
  return success(ok);
}

/// A public function with the inputs of @forward and no body yet.
func::FuncOp ChainDifferentiator::createStep(StringRef name) {
  auto step = func::FuncOp::create(forward.getLoc(), name, forward.getFunctionType());
  if (ArrayAttr attributes = forward.getArgAttrsAttr())
    step.setArgAttrsAttr(attributes);
  if (ArrayAttr attributes = forward.getResAttrsAttr())
    step.setResAttrsAttr(attributes);
  symbols.insert(step, Block::iterator(forward));
  Block *body = step.addEntryBlock();
  for (auto [from, to] : llvm::zip(forward.getArguments(), body->getArguments()))
    to.setLoc(from.getLoc());
  return step;
}

/// Copies the forward calls, all of them or those that the loss depends on.
Value ChainDifferentiator::buildForwards(func::FuncOp step, Block *body, IRMapping &map, bool all,
                                         DenseMap<Operation *, Value> &residuals) {
  map.map(forward.getArguments(), body->getArguments());
  auto builder = OpBuilder::atBlockEnd(body);
  for (Operation &op : forward.front().without_terminator()) {
    if (!all && !onPath.contains(&op))
      continue;
    auto found = calls.find(&op);
    if (found == calls.end()) {
      builder.clone(op, map);
      continue;
    }
    SmallVector<Value> operands;
    for (Value operand : op.getOperands())
      operands.push_back(map.lookup(operand));
    auto call = builder.create<nn::ForwardOp>(op.getLoc(), op.getResultTypes(),
                                              nn::ResidualsType::get(builder.getContext()),
                                              variants[found->second.variant].joint.getSymName(), operands);
    map.map(op.getResults(), call.getOutputs());
    residuals[&op] = call.getResiduals();
  }
  return map.lookupOrNull(forward.front().getTerminator()->getOperand(0));
}

void ChainDifferentiator::buildStep() {
  func::FuncOp step = createStep("step");
  Block *body = &step.front();
  IRMapping map;
  DenseMap<Operation *, Value> residuals;
  Value loss = buildForwards(step, body, map, /*all=*/false, residuals);

  auto builder = OpBuilder::atBlockEnd(body);
  DenseMap<Value, Value> cotangents; // of values of @forward
  for (auto &[op, chainCall] : llvm::reverse(calls)) {
    if (!chainCall.hasBackward())
      continue;
    Variant &variant = variants[chainCall.variant];
    SmallVector<Value> operands;
    for (int64_t i : variant.demand.cotangents)
      operands.push_back(cotangents.lookup(op->getResult(i)));
    SmallVector<Type> types;
    for (int64_t i : variant.demand.differentiated)
      types.push_back(op->getOperand(i).getType());
    auto backward = builder.create<nn::BackwardOp>(op->getLoc(), types, variant.joint.getSymName(), residuals[op], operands);
    for (auto [i, gradient] : llvm::zip(variant.demand.differentiated, backward.getGradients())) {
      Value input = op->getOperand(i);
      if (!llvm::is_contained(chainCall.demand.differentiated, i))
        continue; // another call needs it
      Value &sum = cotangents[input];
      if (sum)
        sum = builder.create<nn::AddOp>(op->getLoc(), input.getType(), sum, gradient);
      else
        sum = gradient;
    }
  }
  for (auto get : forward.front().getOps<nn::GetParameterOp>())
    if (Value gradient = cotangents.lookup(get.getResult()))
      builder.create<nn::GradientOp>(get.getLoc(), get.getParameterAttr(), gradient);
  builder.create<func::ReturnOp>(forward.front().getTerminator()->getLoc(), loss);

  // The step hands out the loss alone.
  step.setFunctionType(builder.getFunctionType(forward.getArgumentTypes(), loss.getType()));
  if (ArrayAttr attributes = forward.getResAttrsAttr())
    step.setResAttrsAttr(builder.getArrayAttr(attributes.getValue().take_front(1)));
}

void ChainDifferentiator::buildInfer() {
  func::FuncOp infer = createStep("infer");
  IRMapping map;
  DenseMap<Operation *, Value> residuals;
  buildForwards(infer, &infer.front(), map, /*all=*/true, residuals);
  auto builder = OpBuilder::atBlockEnd(&infer.front());
  Operation *terminator = forward.front().getTerminator();
  SmallVector<Value> outputs;
  for (Value output : terminator->getOperands())
    outputs.push_back(map.lookup(output));
  builder.create<func::ReturnOp>(terminator->getLoc(), outputs);
}

void ChainDifferentiator::warnAboutUnused() {
  DenseSet<Attribute> trained;
  for (auto gradient : symbols.lookup<func::FuncOp>("step").front().getOps<nn::GradientOp>())
    trained.insert(gradient.getParameterAttr().getAttr());
  for (auto parameter : module.getOps<nn::ParameterOp>())
    if (parameter.getKind() == nn::ParameterKind::Trainable && !trained.contains(parameter.getSymNameAttr()))
      parameter.emitWarning() << "parameter \"" << parameter.getSaved() << "\" gets no gradient: the loss does not depend on it, so it stays as it is";
}

LogicalResult ChainDifferentiator::run() {
  shareParameterReads();
  if (failed(findCalls()) || failed(findDemands()) || failed(buildVariants()))
    return failure();
  buildStep();
  buildInfer();
  forward.erase();
  warnAboutUnused();
  return success();
}

class Differentiate : public galvatron::impl::NnDifferentiatePassBase<Differentiate> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    auto forward = module.lookupSymbol<func::FuncOp>("forward");
    if (!forward || forward.isDeclaration()) {
      module.emitError("module has no function @forward to differentiate");
      return signalPassFailure();
    }
    auto loss = forward.getNumResults() ? dyn_cast<RankedTensorType>(forward.getResultTypes()[0]) : RankedTensorType();
    if (!loss || loss.getRank() != 0 || !loss.getElementType().isF32()) {
      forward.emitError("first result of @forward is not the loss, an f32 scalar; --nn-add-loss makes it one");
      return signalPassFailure();
    }
    for (StringRef name : {"step", "infer"})
      if (Operation *taken = module.lookupSymbol(name)) {
        taken->emitError() << "symbol @" << name << " is taken, which the training step needs";
        return signalPassFailure();
      }
    if (failed(ChainDifferentiator(forward).run()))
      signalPassFailure();
  }
};

} // namespace
