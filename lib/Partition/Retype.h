//===- Retype.h - From whole shapes to those of a piece -------------------===//
//
// One mechanism for all axes: the layout of a value says by what each of its
// dimensions is divided, and an op over pieces is the same op with other types.
//
//===----------------------------------------------------------------------===//

#ifndef GALVATRON_LIB_PARTITION_RETYPE_H
#define GALVATRON_LIB_PARTITION_RETYPE_H

#include "Layouts.h"

namespace galvatron {

class Retype {
public:
  explicit Retype(dist::MeshOp mesh) : mesh(mesh) {}

  /// The type of a piece of a value of type `whole`. Pieces have one size: where a dimension does not divide, the last are padded; over
  /// time that is an error at `op`.
  mlir::FailureOr<mlir::RankedTensorType> getPieceType(mlir::Operation *op, mlir::RankedTensorType whole,
                                                       dist::LayoutAttr layout) const;

  /// Gives the arguments and ops of a function, whose layouts are attributes, the types of pieces.
  mlir::LogicalResult retype(mlir::func::FuncOp function) const;

  /// Gives the results of one op the types of pieces; a splat shrinks with its type.
  mlir::LogicalResult retype(mlir::Operation *op) const;

private:
  mutable dist::MeshOp mesh; ///< a handle; its accessors are not const
};

} // namespace galvatron

#endif
