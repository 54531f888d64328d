//===- Chain.h - A model as the blocks that a plan speaks of --------------===//

#ifndef GALVATRON_LIB_PLAN_CHAIN_H
#define GALVATRON_LIB_PLAN_CHAIN_H

#include "dialects/NN/NN.h"
#include "galvatron/Plan/Plan.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/BitVector.h"
#include "llvm/ADT/MapVector.h"

namespace galvatron {

/// What a call of a forward is in the chain.
struct ChainLink {
  enum Role { Embedding, Block, Head };
  nn::ForwardOp call;
  Role role = Block;
  int64_t block = 0;       ///< number among the blocks
  bool isRepeated = false; ///< the function is called again

  /// "embedding", "block 3" or "head".
  std::string describe() const;
  /// What a resolved plan says of it.
  const Strategy &getStrategy(const Plan &plan) const;
};

/// The forwards of a step in their order. What comes before the first function that is called again is the embedding, what
/// comes after the last is the head; if none is, all are blocks.
llvm::SmallVector<ChainLink> getChain(mlir::func::FuncOp step);

/// The functions that run a step: the public ones with a body.
llvm::SmallVector<mlir::func::FuncOp> getPlannedSteps(mlir::ModuleOp module);

/// A block as all of its calls have it.
struct BlockFunction {
  mlir::func::FuncOp joint;
  llvm::SmallVector<nn::ForwardOp> calls;
  llvm::BitVector parameters; ///< inputs that are parameters in all calls
  llvm::BitVector handedOut;  ///< outputs that only the end of a step reads
  /// The parameter that each input is in the first call, "" if it is none.
  llvm::SmallVector<std::string> names;
};

/// The functions that forwards call, in the order of their first calls.
llvm::MapVector<mlir::StringAttr, BlockFunction> getBlockFunctions(mlir::ModuleOp module);

/// The ops of a block's forward and what plans call them: by the parameter that they read, without what the names of all
/// parameters of the block begin with, or by what they are; a number tells apart those that would be called the same.
llvm::SmallVector<std::pair<mlir::Operation *, std::string>> nameOps(const BlockFunction &block);

} // namespace galvatron

#endif
