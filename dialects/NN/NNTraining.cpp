//===- NNTraining.cpp - Loss, joint-function calls and updates ------------===//

#include "dialects/NN/NN.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

using namespace mlir;
using namespace galvatron::nn;

static ParseResult parseIndices(AsmParser &parser, StringRef name, SmallVectorImpl<int64_t> &indices) {
  auto parseIndex = [&]() { return parser.parseInteger(indices.emplace_back()); };
  return failure(parser.parseComma() || parser.parseKeyword(name) || parser.parseEqual() ||
                 parser.parseCommaSeparatedList(AsmParser::Delimiter::Square, parseIndex));
}

Attribute JointAttr::parse(AsmParser &parser, Type) {
  int64_t inputs, results;
  SmallVector<int64_t> cotangents, differentiated;
  if (parser.parseLess() || parser.parseKeyword("inputs") || parser.parseEqual() || parser.parseInteger(inputs) ||
      parser.parseComma() || parser.parseKeyword("results") || parser.parseEqual() || parser.parseInteger(results) ||
      parseIndices(parser, "cotangents", cotangents) || parseIndices(parser, "differentiated", differentiated) ||
      parser.parseGreater())
    return {};
  return get(parser.getContext(), inputs, results, cotangents, differentiated);
}

void JointAttr::print(AsmPrinter &printer) const {
  printer << "<inputs = " << getInputs() << ", results = " << getResults() << ", cotangents = [";
  llvm::interleaveComma(getCotangents(), printer);
  printer << "], differentiated = [";
  llvm::interleaveComma(getDifferentiated(), printer);
  printer << "]>";
}

/// Finds the joint function that a call names, or says what is wrong.
static FailureOr<std::pair<func::FuncOp, JointAttr>>
lookupJoint(Operation *op, SymbolTableCollection &symbols, FlatSymbolRefAttr callee) {
  auto function = symbols.lookupNearestSymbolFrom<func::FuncOp>(op, callee);
  if (!function)
    return op->emitOpError("calls ") << callee << ", which is no function";
  auto joint = function->getAttrOfType<JointAttr>("nn.joint");
  if (!joint)
    return op->emitOpError("calls ") << callee << ", which is no joint function: it has no nn.joint attribute";
  FunctionType type = function.getFunctionType();
  auto inRange = [](ArrayRef<int64_t> indices, int64_t limit) {
    return llvm::all_of(indices, [&](int64_t i) { return i >= 0 && i < limit; });
  };
  if (int64_t(type.getNumInputs()) != joint.getInputs() + int64_t(joint.getCotangents().size()) ||
      int64_t(type.getNumResults()) != joint.getResults() + int64_t(joint.getDifferentiated().size()) ||
      !inRange(joint.getCotangents(), joint.getResults()) || !inRange(joint.getDifferentiated(), joint.getInputs()))
    return op->emitOpError("calls ") << callee << ", whose nn.joint attribute does not fit its type";
  return std::make_pair(function, joint);
}

/// Checks that `found` are the types `wanted`, one of `what`.
static LogicalResult checkTypes(Operation *op, TypeRange found, ArrayRef<Type> wanted, StringRef what) {
  if (found.size() != wanted.size())
    return op->emitOpError("has ") << found.size() << " " << what << "s, but the callee has " << wanted.size();
  for (auto [i, types] : llvm::enumerate(llvm::zip(found, wanted)))
    if (std::get<0>(types) != std::get<1>(types))
      return op->emitOpError("has ") << what << " " << i << " of type " << std::get<0>(types)
                                     << ", but the callee has " << std::get<1>(types);
  return success();
}

LogicalResult ForwardOp::verifySymbolUses(SymbolTableCollection &symbols) {
  auto found = lookupJoint(*this, symbols, getCalleeAttr());
  if (failed(found))
    return failure();
  auto [function, joint] = *found;
  if (failed(checkTypes(*this, getInputs().getTypes(), function.getArgumentTypes().take_front(joint.getInputs()), "input")))
    return failure();
  return checkTypes(*this, getOutputs().getTypes(), function.getResultTypes().take_front(joint.getResults()), "result");
}

LogicalResult BackwardOp::verifySymbolUses(SymbolTableCollection &symbols) {
  auto found = lookupJoint(*this, symbols, getCalleeAttr());
  if (failed(found))
    return failure();
  auto [function, joint] = *found;
  auto forward = getResiduals().getDefiningOp<ForwardOp>();
  if (!forward || forward.getCalleeAttr() != getCalleeAttr()) // C1
    return emitOpError("takes residuals that no nn.forward of ") << getCalleeAttr() << " made";
  if (failed(checkTypes(*this, getCotangents().getTypes(), function.getArgumentTypes().drop_front(joint.getInputs()), "cotangent")))
    return failure();
  return checkTypes(*this, getGradients().getTypes(), function.getResultTypes().drop_front(joint.getResults()), "gradient");
}

static LogicalResult verifyLabels(std::optional<Location> loc, RankedTensorType logits, RankedTensorType labels) {
  if (logits.getRank() == 0 || logits.getShape().drop_back() != labels.getShape()) // C1
    return emitOptionalError(loc, "labels of type ", labels, " do not fit logits of type ", logits,
                             ": they have every dimension but the last");
  return success();
}

LogicalResult CrossEntropyOp::inferReturnTypes(MLIRContext *context, std::optional<Location> loc, Adaptor adaptor,
                                               SmallVectorImpl<Type> &types) {
  auto logits = cast<RankedTensorType>(adaptor.getLogits().getType());
  auto labels = cast<RankedTensorType>(adaptor.getLabels().getType());
  if (failed(verifyLabels(loc, logits, labels)))
    return failure();
  types.append(2, labels.clone(logits.getElementType()));
  return success();
}

LogicalResult CrossEntropyGradOp::verify() {
  auto labels = tensorType(getLabels()), gradient = tensorType(getGradient());
  if (failed(verifyLabels(getLoc(), getType(), labels)))
    return failure();
  if (gradient.getShape() != labels.getShape()) // C1
    return emitOpError("has a gradient of type ") << gradient << " for labels of type " << labels;
  return success();
}
