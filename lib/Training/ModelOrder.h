//===- ModelOrder.h - A model's ops in an order that its dataflow gives ---===//
//
// The order of ops in a file means nothing. This one puts equal layers next to
// each other, with equal ops at equal places, whatever order a file has.
//
//===----------------------------------------------------------------------===//

#ifndef GALVATRON_LIB_TRAINING_MODELORDER_H
#define GALVATRON_LIB_TRAINING_MODELORDER_H

#include "dialects/NN/NN.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/DenseMap.h"

namespace galvatron {

/// What happens to a value when the model is cut into functions.
enum class Role {
  Recomputed, ///< depends on nothing and is cheap: each function makes its own
  Prepared,   ///< depends on no parameter of the model: inputs, and what is made once a step
  Parameter,  ///< a trained or frozen parameter
  Model       ///< everything else: the model's ops, which functions hold
};

class ModelOrder {
public:
  explicit ModelOrder(mlir::func::FuncOp forward);

  Role roleOf(mlir::Value value) const { return info.lookup(value).role; }
  /// What a function is given to have a prepared value: the value itself, or smaller ones that it cheaply follows
  /// from (a mask before it is repeated over heads and queries).
  llvm::ArrayRef<mlir::Value> basesOf(mlir::Value prepared) const { return info.find(prepared)->second.bases; }
  /// An input, or a parameter's value: made by no op that a function could hold.
  static bool isLeaf(mlir::Value value) {
    return !value.getDefiningOp() || llvm::isa<nn::GetParameterOp>(value.getDefiningOp());
  }
  /// The model's ops in order. Ops that no output needs are not among them.
  llvm::ArrayRef<mlir::Operation *> getOps() const { return ops; }
  /// The place of an op in getOps(); it must be there.
  size_t positionOf(mlir::Operation *op) const { return positions.find(op)->second; }
  bool isOrdered(mlir::Operation *op) const { return positions.contains(op); }
  /// Equal for ops that compute the same function of operands of equal kinds.
  llvm::ArrayRef<unsigned> getKeys() const { return keys; }

private:
  struct Info {
    Role role = Role::Model;
    bool dependsOnInputs = false;
    unsigned cost = 0; ///< per element, of computing a Recomputed value, or a Prepared one from its bases
    llvm::SmallVector<mlir::Value, 1> bases;
  };

  void classify(bool inputsAreModel);
  Info classifyOp(mlir::Operation *op);
  void measureHeights();
  llvm::SmallVector<mlir::Operation *> findShared();
  void visit(mlir::Operation *root);
  llvm::SmallVector<mlir::Operation *> producersOf(mlir::Operation *op);
  mlir::Attribute keyOf(mlir::Operation *op);
  mlir::Attribute describe(mlir::Value value);

  mlir::func::FuncOp forward;
  mlir::SymbolTable symbols;
  llvm::DenseMap<mlir::Value, Info> info;
  llvm::DenseMap<mlir::Operation *, int64_t> heights;
  int64_t maxHeight = 0;
  llvm::SmallVector<mlir::Operation *> ops;
  llvm::DenseMap<mlir::Operation *, size_t> positions;
  llvm::SmallVector<unsigned> keys;
  llvm::DenseMap<mlir::Value, mlir::Attribute> descriptions;
};

} // namespace galvatron

#endif
