//===- NNDialect.cpp - Registration, parameters and constants -------------===//

#include "dialects/NN/NN.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace galvatron::nn;

#include "dialects/NN/NNDialect.cpp.inc"
#include "dialects/NN/NNEnums.cpp.inc"
#include "dialects/NN/NNInterfaces.cpp.inc"
#define GET_ATTRDEF_CLASSES
#include "dialects/NN/NNAttrs.cpp.inc"
#define GET_TYPEDEF_CLASSES
#include "dialects/NN/NNTypes.cpp.inc"
#define GET_OP_CLASSES
#include "dialects/NN/NNOps.cpp.inc"

void NNDialect::initialize() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "dialects/NN/NNAttrs.cpp.inc"
      >();
  addTypes<
#define GET_TYPEDEF_LIST
#include "dialects/NN/NNTypes.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "dialects/NN/NNOps.cpp.inc"
      >();
}

Operation *NNDialect::materializeConstant(OpBuilder &builder, Attribute value, Type type, Location loc) {
  auto elements = dyn_cast<ElementsAttr>(value);
  if (!elements || elements.getType() != type)
    return nullptr;
  return builder.create<ConstantOp>(loc, elements);
}

//===----------------------------------------------------------------------===//
// Helpers
//===----------------------------------------------------------------------===//

static Attribute scalarAttr(Type type, double value) {
  if (isa<FloatType>(type))
    return FloatAttr::get(type, value);
  return IntegerAttr::get(type, static_cast<int64_t>(value));
}

Value galvatron::nn::createSplat(OpBuilder &builder, Location loc, RankedTensorType type, double value) {
  return builder.create<ConstantOp>(loc, DenseElementsAttr::get(type, scalarAttr(type.getElementType(), value)));
}

std::optional<double> galvatron::nn::getSplat(Attribute value) {
  auto dense = dyn_cast_or_null<DenseElementsAttr>(value);
  if (!dense || !dense.isSplat())
    return std::nullopt;
  Type type = dense.getElementType();
  if (isa<FloatType>(type))
    return dense.getSplatValue<APFloat>().convertToDouble();
  if (type.isInteger(1))
    return dense.getSplatValue<bool>() ? 1.0 : 0.0;
  return static_cast<double>(dense.getSplatValue<APInt>().getSExtValue());
}

std::optional<double> galvatron::nn::getSplat(Value value) {
  if (auto constant = value.getDefiningOp<ConstantOp>())
    return getSplat(constant.getValue());
  if (auto broadcast = value.getDefiningOp<BroadcastOp>())
    return getSplat(broadcast.getOperand());
  return std::nullopt;
}

Value galvatron::nn::broadcastBack(OpBuilder &builder, Location loc, Value reduced, RankedTensorType type,
                                   ArrayRef<int64_t> dims) {
  SmallVector<int64_t> kept;
  for (int64_t i = 0; i < type.getRank(); ++i)
    if (!llvm::is_contained(dims, i))
      kept.push_back(i);
  auto resultType = type.clone(tensorType(reduced).getElementType());
  return builder.create<BroadcastOp>(loc, resultType, reduced, kept);
}

//===----------------------------------------------------------------------===//
// Constants and parameters
//===----------------------------------------------------------------------===//

OpFoldResult ConstantOp::fold(FoldAdaptor) { return getValue(); }

void ConstantOp::getAsmResultNames(OpAsmSetValueNameFn setName) { setName(getResult(), "cst"); }

LogicalResult ConstantOp::verify() {
  if (getValue().isSplat())
    return success();
  int64_t bits = getValue().getElementType().getIntOrFloatBitWidth();
  int64_t bytes = getValue().getNumElements() * std::max<int64_t>(bits / 8, 1);
  if (bytes > maxConstantBytes) // C1
    return emitOpError("holds ") << bytes << " bytes, more than the " << maxConstantBytes
                                 << " a constant may have; make it an nn.parameter";
  return success();
}

LogicalResult IotaOp::verify() {
  if (int64_t(getDim()) >= getType().getRank()) // C1
    return emitOpError("counts along dimension ") << getDim() << " of a tensor of rank " << getType().getRank();
  return success();
}

LogicalResult ParameterOp::verify() {
  auto type = cast<RankedTensorType>(getType());
  ArrayRef<int64_t> strides = getView().getStrides();
  if (int64_t(strides.size()) != type.getRank()) // C1
    return emitOpError("has a view of rank ") << strides.size() << " for a tensor of rank " << type.getRank();
  int64_t low = getView().getOffset(), high = low, saved = 1;
  for (auto [size, stride] : llvm::zip(type.getShape(), strides))
    (stride < 0 ? low : high) += (size - 1) * stride;
  for (int64_t size : getSavedShape()) {
    if (size < 0)
      return emitOpError("has a saved tensor with a dimension of size ") << size;
    saved *= size;
  }
  if (type.getNumElements() > 0 && (low < 0 || high >= saved)) // C1
    return emitOpError("views elements ") << low << " to " << high << " of a saved tensor that has " << saved;
  if ((getKind() == ParameterKind::State) != getSaved().empty()) // C2
    return emitOpError(getKind() == ParameterKind::State ? "is state and has a saved tensor"
                                                         : "has no saved tensor");
  return success();
}

static LogicalResult verifyParameterUse(Operation *op, SymbolTableCollection &symbols, FlatSymbolRefAttr name,
                                        Type type) {
  auto parameter = symbols.lookupNearestSymbolFrom<ParameterOp>(op, name);
  if (!parameter) // C1
    return op->emitOpError("names ") << name << ", which is no nn.parameter";
  if (parameter.getType() != type) // C1
    return op->emitOpError("has type ") << type << ", but parameter " << name << " has " << parameter.getType();
  return success();
}

LogicalResult GetParameterOp::verifySymbolUses(SymbolTableCollection &symbols) {
  return verifyParameterUse(*this, symbols, getParameterAttr(), getType());
}

LogicalResult SetParameterOp::verifySymbolUses(SymbolTableCollection &symbols) {
  return verifyParameterUse(*this, symbols, getParameterAttr(), getValue().getType());
}

LogicalResult GradientOp::verifySymbolUses(SymbolTableCollection &symbols) {
  return verifyParameterUse(*this, symbols, getParameterAttr(), getValue().getType());
}

void GetParameterOp::getAsmResultNames(OpAsmSetValueNameFn setName) { setName(getResult(), getParameter()); }
