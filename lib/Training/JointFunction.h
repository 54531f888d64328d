//===- JointFunction.h - Forward and backward of a block in one function --===//

#ifndef GALVATRON_LIB_TRAINING_JOINTFUNCTION_H
#define GALVATRON_LIB_TRAINING_JOINTFUNCTION_H

#include "dialects/NN/NN.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/BitVector.h"

namespace galvatron {

/// For each result of a function the arguments that it depends on by a path of floats.
llvm::SmallVector<llvm::BitVector> findDependences(mlir::func::FuncOp function);

/// What a backward gets and gives. Sets are sorted.
struct Demand {
  llvm::SmallVector<int64_t> cotangents;     ///< results that have a cotangent argument
  llvm::SmallVector<int64_t> differentiated; ///< inputs whose cotangent is a result
  int64_t seed = -1;                         ///< the result that is the loss: its cotangent is one
};

/// Appends the backward to a function that has a forward, and the arguments, results and the attribute that go with
/// it. Reports every op that cannot be differentiated.
mlir::LogicalResult makeJoint(mlir::func::FuncOp function, const Demand &demand);

} // namespace galvatron

#endif
