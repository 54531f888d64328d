//===- Padding.h - What stands behind the end of a dimension --------------===//
//
// A dimension that the pieces do not divide is padded: all pieces have one size,
// and the last ones hold something behind its end. Padding holds anything, with
// two exceptions: where a loop over it is reduced it is the identity of the
// reduction, and what is stored from step to step (parameters, optimizer state)
// is zero there.
//
//===----------------------------------------------------------------------===//

#ifndef GALVATRON_LIB_PARTITION_PADDING_H
#define GALVATRON_LIB_PARTITION_PADDING_H

#include "Layouts.h"
#include "llvm/ADT/MapVector.h"

namespace galvatron {

/// Puts selects before reductions over padding, and before what is stored, into a module that has layouts and still whole types.
/// Where padding is known to be zero, and zero is what is wanted, there is none.
class Padding {
public:
  Padding(mlir::ModuleOp module, dist::MeshOp mesh);
  void insertSelects();

  /// The number of pieces into which a layout cuts a dimension.
  static int64_t getPieces(dist::MeshOp mesh, dist::LayoutAttr layout, int64_t dim);

private:
  using Dim = std::pair<mlir::Value, int64_t>;
  /// What padding must hold before a reduction.
  struct Need {
    mlir::OpOperand *use;
    int64_t dim;
    double identity;
  };

  bool isPadded(mlir::Value value, int64_t dim) const;
  llvm::SmallVector<int64_t> getPaddedDims(mlir::Value value) const;
  /// Finds the padding that may hold anything.
  void analyze();
  void visit(mlir::Operation *op);
  bool mayHoldAnything(mlir::OpResult result, int64_t dim) const;
  void spread(mlir::Value from, mlir::Value to);
  mlir::func::FuncOp getCallee(mlir::Operation *op) const;

  std::optional<Need> findNeed(mlir::Operation *op) const;
  bool insertInto(mlir::func::FuncOp function);
  void insert(mlir::func::FuncOp function, Need need);
  mlir::Value getNumbers(mlir::func::FuncOp function, int64_t size, mlir::ArrayAttr axes);

  mlir::ModuleOp module;
  mutable dist::MeshOp mesh; ///< a handle; its accessors are not const
  llvm::SmallVector<mlir::func::FuncOp> steps;
  llvm::DenseMap<mlir::Attribute, mlir::func::FuncOp> functions; ///< that steps call, by name
  llvm::DenseSet<Dim> anything;
  llvm::DenseMap<Dim, double> selected; ///< what was put in so far, and the identity
  bool changed = false;                 ///< by `spread`
  llvm::DenseMap<std::pair<mlir::Operation *, std::pair<int64_t, mlir::Attribute>>, mlir::Value> numbersOf;
};

} // namespace galvatron

#endif
