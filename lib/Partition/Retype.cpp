//===- Retype.cpp ---------------------------------------------------------===//

#include "Retype.h"

using namespace mlir;
using namespace galvatron;

FailureOr<RankedTensorType> Retype::getPieceType(Operation *op, RankedTensorType whole, dist::LayoutAttr layout) const {
  SmallVector<int64_t> shape(whole.getShape());
  if (shape.size() != layout.getDims().size())
    return op->emitOpError("has a layout of ") << layout.getDims().size() << " dimensions for a value of rank " << shape.size();
  for (auto [dim, axes] : llvm::enumerate(layout.getDims())) {
    int64_t pieces = 1;
    for (StringRef axis : cast<ArrayAttr>(axes).getAsValueRange<StringAttr>())
      pieces *= mesh.getAxisSize(axis);
    if (pieces == 0)
      return op->emitOpError("has the layout ") << layout << ", which names an axis that the mesh lacks";
    if (shape[dim] % pieces && dist::hasTime(cast<ArrayAttr>(axes)))
      return op->emitOpError("cuts dimension ") << dim << " of size " << shape[dim] << " into " << pieces
                                                << " pieces, which does not divide it";
    shape[dim] = llvm::divideCeil(shape[dim], pieces);
  }
  return RankedTensorType::get(shape, whole.getElementType());
}

LogicalResult Retype::retype(Operation *op) const {
  for (OpResult result : op->getResults()) {
    dist::LayoutAttr layout = getLayout(result);
    if (!layout || isa<dist::ReshardOp>(op))
      continue;
    FailureOr<RankedTensorType> piece = getPieceType(op, nn::tensorType(result), layout);
    if (failed(piece))
      return failure();
    // A constant holds its value in an attribute of the result's type.
    for (NamedAttribute attr : op->getAttrs())
      if (auto elements = dyn_cast<DenseElementsAttr>(attr.getValue());
          elements && elements.isSplat() && elements.getType() == result.getType())
        op->setAttr(attr.getName(), elements.resizeSplat(*piece));
    result.setType(*piece);
  }
  return success();
}

LogicalResult Retype::retype(func::FuncOp function) const {
  for (BlockArgument argument : function.getArguments()) {
    dist::LayoutAttr layout = getLayout(argument);
    if (!layout)
      continue;
    FailureOr<RankedTensorType> piece = getPieceType(function, nn::tensorType(argument), layout);
    if (failed(piece))
      return failure();
    argument.setType(*piece);
  }
  for (Operation &op : function.front())
    if (failed(retype(&op)))
      return failure();
  return success();
}
