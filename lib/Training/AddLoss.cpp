//===- AddLoss.cpp - The loss becomes the first result of @forward --------===//
//
// The number of counted labels is that of the whole batch, so it depends on an
// input alone and is prepared once a step: a mean of micro-batch means would be
// another number.
//
//===----------------------------------------------------------------------===//

#include "dialects/NN/NN.h"
#include "galvatron/Training/Passes.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

using namespace mlir;
using namespace galvatron;

namespace galvatron {
#define GEN_PASS_DEF_NNADDLOSSPASS
#include "galvatron/Training/Passes.h.inc"
} // namespace galvatron

namespace {

std::string nameOf(func::FuncOp function, bool isResult, unsigned index) {
  auto name = isResult ? function.getResultAttrOfType<StringAttr>(index, "nn.name")
                       : function.getArgAttrOfType<StringAttr>(index, "nn.name");
  return name ? name.str() : std::string();
}

/// "logits" (8x32x211xf32), "hidden" (8x32x64xf32)
std::string listOutputs(func::FuncOp forward) {
  std::string text;
  llvm::raw_string_ostream os(text);
  for (auto [i, type] : llvm::enumerate(forward.getResultTypes()))
    os << (i ? ", " : "") << '"' << nameOf(forward, true, i) << "\" (" << type << ")";
  return text;
}

/// Adds the cross entropy of an output to a chain of calls.
class CrossEntropyAdder {
public:
  CrossEntropyAdder(func::FuncOp forward, int64_t ignoreIndex)
      : forward(forward), ignoreIndex(ignoreIndex), symbols(forward->getParentOfType<ModuleOp>()) {}

  FailureOr<Value> add(unsigned output);

private:
  func::FuncOp createFunction(StringRef name);
  func::CallOp extendCall(func::CallOp call, func::FuncOp callee, ValueRange operands, TypeRange results);
  Value prepareCount(Value labels);

  func::FuncOp forward;
  int64_t ignoreIndex;
  SymbolTable symbols;
};

/// A private function of nothing that returns nothing.
func::FuncOp CrossEntropyAdder::createFunction(StringRef name) {
  auto function = func::FuncOp::create(forward.getLoc(), name, FunctionType::get(forward.getContext(), {}, {}));
  function.setPrivate();
  symbols.insert(function, Block::iterator(forward));
  OpBuilder builder(function.getContext());
  Block *body = builder.createBlock(&function.getBody());
  builder.setInsertionPointToEnd(body);
  builder.create<func::ReturnOp>(forward.getLoc());
  return function;
}

/// Makes a call, which may be null, one with more operands and results, now that the callee has them.
func::CallOp CrossEntropyAdder::extendCall(func::CallOp call, func::FuncOp callee, ValueRange operands, TypeRange results) {
  OpBuilder builder = call ? OpBuilder(call) : OpBuilder::atBlockBegin(&forward.front());
  Block &body = callee.front();
  SmallVector<Type> types(callee.getResultTypes());
  types.append(results.begin(), results.end());
  callee.setFunctionType(builder.getFunctionType(body.getArgumentTypes(), types));
  SmallVector<Value> all;
  if (call)
    all.append(call.operand_begin(), call.operand_end());
  all.append(operands.begin(), operands.end());
  auto extended = builder.create<func::CallOp>(call ? call.getLoc() : forward.getLoc(), callee, all);
  if (call) {
    call->replaceAllUsesWith(extended->getResults().take_front(call.getNumResults()));
    call.erase();
  }
  return extended;
}

/// The number of counted labels, made by @prepare.
Value CrossEntropyAdder::prepareCount(Value labels) {
  func::CallOp call;
  for (auto candidate : forward.front().getOps<func::CallOp>())
    if (candidate.getCallee() == "prepare")
      call = candidate;
  auto callee = call ? symbols.lookup<func::FuncOp>("prepare") : createFunction("prepare");
  Block &body = callee.front();
  Location loc = labels.getLoc();
  auto type = nn::tensorType(labels);
  Value inside = body.addArgument(type, loc);
  OpBuilder builder(body.getTerminator());
  Value ignored = nn::createSplat(builder, loc, type, double(ignoreIndex));
  Value counted = builder.create<nn::CompareOp>(loc, nn::Predicate::NE, inside, ignored);
  Value ones = builder.create<nn::CastOp>(loc, type.clone(builder.getF32Type()), counted);
  auto dims = llvm::to_vector(llvm::seq<int64_t>(0, type.getRank()));
  Value count = builder.create<nn::ReduceOp>(loc, nn::ReduceKind::Sum, ones, builder.getDenseI64ArrayAttr(dims));
  body.getTerminator()->insertOperands(body.getTerminator()->getNumOperands(), count);
  return extendCall(call, callee, labels, count.getType())->getResults().back();
}

FailureOr<Value> CrossEntropyAdder::add(unsigned output) {
  Operation *terminator = forward.front().getTerminator();
  Value logits = terminator->getOperand(output);
  auto type = nn::tensorType(logits);
  if (type.getRank() == 0 || !isa<FloatType>(type.getElementType()))
    return forward.emitError() << "output \"" << nameOf(forward, true, output) << "\" of type " << type
                               << " cannot be logits: they are floats with a last dimension of classes";
  for (unsigned i = 0; i < forward.getNumArguments(); ++i)
    if (nameOf(forward, false, i) == "labels")
      return forward.emitError() << "model has an input \"labels\" already, so it cannot get another for its cross entropy";

  OpBuilder builder(forward.getContext());
  auto labelsType = RankedTensorType::get(type.getShape().drop_back(), builder.getI64Type());
  Location loc = NameLoc::get(builder.getStringAttr("labels"));
  forward.insertArgument(forward.getNumArguments(), labelsType,
                         builder.getDictionaryAttr(builder.getNamedAttr("nn.name", builder.getStringAttr("labels"))), loc);
  Value labels = forward.getArguments().back();
  Value count = prepareCount(labels);
  logits = terminator->getOperand(output); // an extended call may have replaced it

  // The function that makes the logits makes the loss, unless it is called elsewhere as well.
  auto call = logits.getDefiningOp<func::CallOp>();
  func::FuncOp callee;
  if (call && llvm::count_if(forward.front().getOps<func::CallOp>(), [&](func::CallOp other) {
        return other.getCalleeAttr() == call.getCalleeAttr();
      }) == 1)
    callee = symbols.lookup<func::FuncOp>(call.getCallee());
  SmallVector<Value> operands;
  Value inside;
  if (callee) {
    inside = callee.front().getTerminator()->getOperand(cast<OpResult>(logits).getResultNumber());
  } else {
    callee = createFunction("loss");
    operands.push_back(logits);
    inside = callee.front().addArgument(type, logits.getLoc());
  }
  operands.append({labels, count});
  Block &body = callee.front();
  Value labelsInside = body.addArgument(labelsType, loc), countInside = body.addArgument(count.getType(), loc);
  builder.setInsertionPoint(body.getTerminator());
  Value losses = builder.create<nn::CrossEntropyOp>(loc, inside, labelsInside, ignoreIndex).getResult();
  auto dims = llvm::to_vector(llvm::seq<int64_t>(0, labelsType.getRank()));
  Value sum = builder.create<nn::ReduceOp>(loc, nn::ReduceKind::Sum, losses, builder.getDenseI64ArrayAttr(dims));
  Value loss = builder.create<nn::DivOp>(loc, sum.getType(), sum, countInside);
  body.getTerminator()->insertOperands(body.getTerminator()->getNumOperands(), loss);
  if (!operands.empty() && operands.front() == logits) {
    builder.setInsertionPoint(terminator);
    callee.setFunctionType(builder.getFunctionType(body.getArgumentTypes(), loss.getType()));
    return builder.create<func::CallOp>(loc, callee, operands).getResult(0);
  }
  return Value(extendCall(call, callee, operands, loss.getType())->getResults().back());
}

/// Makes `loss` the first result; `replaced`, if any, is the output that it is.
void returnLoss(func::FuncOp forward, Value loss, std::optional<unsigned> replaced) {
  Operation *terminator = forward.front().getTerminator();
  Builder builder(forward.getContext());
  SmallVector<Attribute> attributes;
  SmallVector<Value> values{loss};
  attributes.push_back(builder.getDictionaryAttr(builder.getNamedAttr("nn.name", builder.getStringAttr("loss"))));
  for (unsigned i = 0; i < forward.getNumResults(); ++i)
    if (i != replaced) {
      values.push_back(terminator->getOperand(i));
      auto dictionary = forward.getResultAttrDict(i);
      attributes.push_back(dictionary ? dictionary : builder.getDictionaryAttr({}));
    }
  terminator->setOperands(values);
  forward.setFunctionType(builder.getFunctionType(forward.getArgumentTypes(), TypeRange(ValueRange(values))));
  forward.setResAttrsAttr(builder.getArrayAttr(attributes));
}

class AddLoss : public galvatron::impl::NnAddLossPassBase<AddLoss> {
public:
  using NnAddLossPassBase::NnAddLossPassBase;

  void runOnOperation() override {
    if (failed(run()))
      signalPassFailure();
  }

  LogicalResult run() {
    auto forward = getOperation().lookupSymbol<func::FuncOp>("forward");
    if (!forward || forward.isDeclaration())
      return getOperation().emitError("module has no function @forward to add a loss to");
    auto [kind, name] = StringRef(loss).split(':');
    if ((kind != "cross-entropy" && kind != "output") || name.empty())
      return forward.emitError() << "loss \"" << loss << "\" is neither cross-entropy:NAME nor output:NAME";
    std::optional<unsigned> output;
    bool clash = false;
    for (unsigned i = 0; i < forward.getNumResults(); ++i) {
      std::string found = nameOf(forward, true, i);
      if (found == name)
        output = i;
      clash |= found == "loss" && found != name;
    }
    if (!output)
      return forward.emitError() << "model has no output \"" << name << "\"; it has " << listOutputs(forward);
    if (clash)
      return forward.emitError("model has an output \"loss\" already, so it cannot get another; use output:loss to train on it");
    if (kind == "cross-entropy") {
      FailureOr<Value> value = CrossEntropyAdder(forward, ignoreIndex).add(*output);
      if (failed(value))
        return failure();
      returnLoss(forward, *value, std::nullopt);
      return success();
    }
    Value value = forward.front().getTerminator()->getOperand(*output);
    auto type = nn::tensorType(value);
    if (!isa<FloatType>(type.getElementType()) || type.getRank() != 0)
      return forward.emitError() << "output \"" << name << "\" of type " << type << " cannot be the loss: it is not a float scalar";
    returnLoss(forward, value, output);
    return success();
  }
};

} // namespace
