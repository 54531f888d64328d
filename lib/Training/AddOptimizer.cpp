//===- AddOptimizer.cpp - The gradient's norm, clipping and updates -------===//
//
// A chain of calls of small functions, one for each distinct type of parameter,
// so that a deep model has no more code than a shallow one.
//
//===----------------------------------------------------------------------===//

#include "dialects/NN/NN.h"
#include "galvatron/Training/Passes.h"
#include "galvatron_rt.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

#include <numeric>

using namespace mlir;
using namespace galvatron;

namespace galvatron {
#define GEN_PASS_DEF_NNADDOPTIMIZERPASS
#include "galvatron/Training/Passes.h.inc"
} // namespace galvatron

namespace {

enum class Optimizer { AdamW, Sgd };

class OptimizerAdder {
public:
  OptimizerAdder(func::FuncOp step, Optimizer optimizer)
      : step(step), optimizer(optimizer), symbols(step->getParentOfType<ModuleOp>()),
        builder(step.front().getTerminator()), scalar(RankedTensorType::get({}, builder.getF32Type())),
        hyperType(RankedTensorType::get({GALVATRON_RT_HYPER_COUNT}, builder.getF32Type())) {}

  void run();

private:
  /// Starts a private function; its body is built at the returned builder and ended by `finish`.
  OpBuilder start(func::FuncOp &function, StringRef name, Location loc, TypeRange inputs);
  void finish(func::FuncOp function, OpBuilder &body, ValueRange results, ArrayRef<std::pair<int64_t, int64_t>> inPlace);

  Value sumSquares(Value sum, nn::GradientOp gradient);
  std::pair<Value, Value> clip(Value sum);
  void update(nn::GradientOp gradient, Value scale);
  func::FuncOp getUpdate(nn::ParameterOp parameter, size_t states);
  nn::ParameterOp createState(nn::ParameterOp parameter, StringRef suffix);

  func::FuncOp step;
  Optimizer optimizer;
  SymbolTable symbols;
  OpBuilder builder;
  RankedTensorType scalar, hyperType;
  Value hyper;
  DenseMap<Attribute, Value> values;                         ///< of parameters, by name
  DenseMap<Type, func::FuncOp> squaredNorms;              ///< of a gradient, added to the others'
  DenseMap<std::pair<Type, unsigned>, func::FuncOp> updates; ///< by type and decay
};

OpBuilder OptimizerAdder::start(func::FuncOp &function, StringRef name, Location loc, TypeRange inputs) {
  function = func::FuncOp::create(loc, name, builder.getFunctionType(inputs, {}));
  function.setPrivate();
  symbols.insert(function, Block::iterator(step));
  return OpBuilder::atBlockEnd(function.addEntryBlock());
}

void OptimizerAdder::finish(func::FuncOp function, OpBuilder &body, ValueRange results,
                            ArrayRef<std::pair<int64_t, int64_t>> inPlace) {
  body.create<func::ReturnOp>(function.getLoc(), results);
  function.setFunctionType(body.getFunctionType(function.getArgumentTypes(), results.getTypes()));
  SmallVector<Attribute> pairs;
  for (auto [result, argument] : inPlace)
    pairs.push_back(body.getI64ArrayAttr({result, argument}));
  if (!pairs.empty())
    function->setAttr("nn.accumulates", body.getArrayAttr(pairs));
}

/// `sum`, if there is one, plus the sum of the squares of a gradient.
Value OptimizerAdder::sumSquares(Value sum, nn::GradientOp gradient) {
  auto type = nn::tensorType(gradient.getValue());
  Location loc = step.getLoc();
  func::FuncOp &function = squaredNorms[type];
  if (!function) {
    OpBuilder body = start(function, "squared_norm" + std::to_string(squaredNorms.size() - 1), loc, type);
    Value g = function.getArgument(0), squares = body.create<nn::MulOp>(loc, type, g, g);
    SmallVector<int64_t> all(type.getRank());
    std::iota(all.begin(), all.end(), 0);
    Value total = body.create<nn::ReduceOp>(loc, nn::ReduceKind::Sum, squares, body.getDenseI64ArrayAttr(all));
    finish(function, body, total, {});
  }
  Value own = builder.create<func::CallOp>(gradient.getLoc(), function, gradient.getValue()).getResult(0);
  return sum ? builder.create<nn::AddOp>(gradient.getLoc(), scalar, sum, own) : own;
}

/// The norm, and what to multiply gradients with.
std::pair<Value, Value> OptimizerAdder::clip(Value sum) {
  Location loc = step.getLoc();
  func::FuncOp function;
  OpBuilder body = start(function, "clip", loc, {scalar, hyperType});
  auto splat = [&](double value) { return nn::createSplat(body, loc, scalar, value); };
  Value norm = body.create<nn::SqrtOp>(loc, scalar, function.getArgument(0));
  Value slice = body.create<nn::SliceOp>(loc, RankedTensorType::get({1}, body.getF32Type()), function.getArgument(1),
                                         ArrayRef<int64_t>{GALVATRON_RT_HYPER_MAX_NORM}, ArrayRef<int64_t>{1});
  Value maxNorm = body.create<nn::ReshapeOp>(loc, scalar, slice);
  Value shifted = body.create<nn::AddOp>(loc, scalar, norm, splat(1e-6));
  Value ratio = body.create<nn::DivOp>(loc, scalar, maxNorm, shifted);
  Value clipped = body.create<nn::MinimumOp>(loc, scalar, ratio, splat(1.0));
  // Without clipping an infinite norm must not become a NaN.
  Value limited = body.create<nn::CompareOp>(loc, nn::Predicate::LT, maxNorm, splat(std::numeric_limits<double>::infinity()));
  Value scale = body.create<nn::SelectOp>(loc, scalar, limited, clipped, splat(1.0));
  finish(function, body, {norm, scale}, {});
  auto call = builder.create<func::CallOp>(loc, function, ValueRange{sum, hyper});
  return {call.getResult(0), call.getResult(1)};
}

nn::ParameterOp OptimizerAdder::createState(nn::ParameterOp parameter, StringRef suffix) {
  auto type = cast<RankedTensorType>(parameter.getType());
  SmallVector<int64_t> strides(type.getRank(), 1);
  for (int64_t i = type.getRank() - 2; i >= 0; --i)
    strides[i] = strides[i + 1] * type.getDimSize(i + 1);
  OpBuilder at(parameter);
  auto state = at.create<nn::ParameterOp>(
      parameter.getLoc(), (parameter.getSymName() + "." + suffix).str(), /*sym_visibility=*/nullptr, nn::ParameterKind::State,
      type, StridedLayoutAttr::get(at.getContext(), 0, strides), "", type.getShape(), /*source=*/nullptr,
      nn::InitKind::Zero, at.getStrArrayAttr({}));
  state->remove();
  symbols.insert(state, std::next(Block::iterator(parameter)));
  return state;
}

/// The function that updates parameters of a type, with or without weight decay.
func::FuncOp OptimizerAdder::getUpdate(nn::ParameterOp parameter, size_t states) {
  bool decay = parameter.getSavedShape().size() >= 2;
  func::FuncOp &function = updates[{parameter.getType(), decay}];
  if (function)
    return function;
  Location loc = step.getLoc();
  SmallVector<Type> inputs(2 + states, parameter.getType());
  inputs.append({hyperType, scalar});
  StringRef name = optimizer == Optimizer::AdamW ? "adamw" : "sgd";
  OpBuilder body = start(function, (name + std::to_string(updates.size() - 1)).str(), loc, inputs);
  auto arguments = function.getArguments();
  Operation *op;
  if (optimizer == Optimizer::AdamW)
    op = body.create<nn::AdamWOp>(loc, TypeRange(inputs).take_front(3), arguments[0], arguments[1], arguments[2], arguments[3],
                                  arguments[4], arguments[5], decay);
  else
    op = body.create<nn::SgdOp>(loc, TypeRange(inputs).take_front(2), arguments[0], arguments[1], arguments[2], arguments[3],
                                arguments[4], decay);
  SmallVector<std::pair<int64_t, int64_t>> inPlace{{0, 0}};
  for (size_t i = 0; i < states; ++i)
    inPlace.push_back({1 + i, 2 + i});
  finish(function, body, op->getResults(), inPlace);
  return function;
}

void OptimizerAdder::update(nn::GradientOp gradient, Value scale) {
  auto parameter = symbols.lookup<nn::ParameterOp>(gradient.getParameter());
  Location loc = gradient.getLoc();
  // A symbol that is inserted next to the parameter goes before earlier ones: the last first.
  SmallVector<nn::ParameterOp> states;
  if (optimizer == Optimizer::AdamW) {
    nn::ParameterOp second = createState(parameter, "exp_avg_sq");
    states = {createState(parameter, "exp_avg"), second};
  } else {
    states = {createState(parameter, "momentum_buffer")};
  }
  SmallVector<Value> operands{values.lookup(parameter.getSymNameAttr()), gradient.getValue()};
  for (nn::ParameterOp state : states)
    operands.push_back(builder.create<nn::GetParameterOp>(loc, state.getType(), state.getSymName()));
  operands.append({hyper, scale});
  auto call = builder.create<func::CallOp>(loc, getUpdate(parameter, states.size()), operands);
  builder.create<nn::SetParameterOp>(loc, parameter.getSymName(), call.getResult(0));
  for (auto [state, result] : llvm::zip(states, call.getResults().drop_front()))
    builder.create<nn::SetParameterOp>(loc, state.getSymName(), result);
}

void OptimizerAdder::run() {
  SmallVector<nn::GradientOp> gradients(step.front().getOps<nn::GradientOp>());
  step.insertArgument(step.getNumArguments(), hyperType,
                      builder.getDictionaryAttr(builder.getNamedAttr("nn.name", builder.getStringAttr("hyper"))),
                      NameLoc::get(builder.getStringAttr("hyper")));
  hyper = step.getArguments().back();
  for (auto get : step.front().getOps<nn::GetParameterOp>())
    values[get.getParameterAttr().getAttr()] = get;
  Value sum;
  for (nn::GradientOp gradient : gradients)
    sum = sumSquares(sum, gradient);
  auto [norm, scale] = clip(sum);
  for (nn::GradientOp gradient : gradients)
    update(gradient, scale);

  Operation *terminator = step.front().getTerminator();
  terminator->insertOperands(terminator->getNumOperands(), norm);
  step.insertResult(step.getNumResults(), scalar,
                    builder.getDictionaryAttr(builder.getNamedAttr("nn.name", builder.getStringAttr("grad_norm"))));
}

class AddOptimizer : public galvatron::impl::NnAddOptimizerPassBase<AddOptimizer> {
public:
  using NnAddOptimizerPassBase::NnAddOptimizerPassBase;

  void runOnOperation() override {
    if (failed(run()))
      signalPassFailure();
  }

  LogicalResult run() {
    ModuleOp module = getOperation();
    if (optimizer != "adamw" && optimizer != "sgd")
      return module.emitError() << "optimizer \"" << optimizer << "\" is neither adamw nor sgd";
    auto step = module.lookupSymbol<func::FuncOp>("step");
    if (!step || step.isDeclaration() || step.front().getOps<nn::GradientOp>().empty())
      return module.emitError("module has no function @step with gradients; --nn-differentiate makes it");
    for (unsigned i = 0; i < step.getNumArguments(); ++i)
      if (auto name = step.getArgAttrOfType<StringAttr>(i, "nn.name"); name && name.getValue() == "hyper")
        return step.emitError("model has an input \"hyper\", the name of the optimizer's scalars");
    OptimizerAdder(step, optimizer == "adamw" ? Optimizer::AdamW : Optimizer::Sgd).run();
    return success();
  }
};

} // namespace
