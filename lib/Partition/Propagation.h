//===- Propagation.h - Layouts of all values from those of a few ----------===//
//
// Works on a module whose steps are straight lines of calls. Each axis is
// handled by itself, in two parts: what is split (forward and backward through
// sharding rules, to a fixpoint), then what is partial (forward only).
//
//===----------------------------------------------------------------------===//

#ifndef GALVATRON_LIB_PARTITION_PROPAGATION_H
#define GALVATRON_LIB_PARTITION_PROPAGATION_H

#include "Layouts.h"
#include "dialects/NN/Rows.h"
#include "llvm/ADT/SetVector.h"

namespace galvatron {

class Propagation {
public:
  Propagation(mlir::ModuleOp module, dist::MeshOp mesh);

  /// Finds all layouts. Reports every op that cannot be computed from pieces.
  mlir::LogicalResult run();

  /// The layout found for a value of a step or of a function that a step calls with a strategy.
  dist::LayoutAttr getLayout(mlir::Value value) const;

  /// The layout that an op of a step needs its operand in.
  dist::LayoutAttr getWanted(mlir::OpOperand &use) const;

  /// Functions that steps call with a strategy, in module order.
  llvm::ArrayRef<mlir::func::FuncOp> getFunctions() const { return functions; }

  /// Constants and iotas inside functions that would be split and have no pieces of their kind: the step must make them.
  llvm::ArrayRef<mlir::Operation *> getOutsiders() const { return outsiders.getArrayRef(); }

private:
  /// The layout of one value: for each dimension the axes that split it, and what is partial.
  struct State {
    llvm::SmallVector<llvm::SmallVector<mlir::StringAttr, 1>> dims;
    llvm::SmallVector<std::pair<mlir::StringAttr, dist::Monoid>, 1> partial;
  };

  mlir::LogicalResult collect();
  void seed();
  nn::Rows findRows(mlir::func::FuncOp step) const;

  // Splits over `axis`.
  void split(mlir::Value value, int64_t dim, mlir::Operation *by);
  void enqueueAround(mlir::Value value);
  void visit(mlir::Operation *op);
  void visitRule(nn::ShardingRuleInterface op);
  void agree(mlir::Operation *call, mlir::Value outside, mlir::Value inside);
  int64_t splitDim(mlir::Value value) const;
  std::optional<int64_t> splitFactor(mlir::Operation *op, const nn::ShardingRule &rule) const;

  // Partial results over `axis`.
  void findPartial();
  bool makePartial(mlir::Value value, dist::Monoid monoid);
  std::optional<dist::Monoid> partial(mlir::Value value) const;
  bool isLinear(mlir::Operation *op, const nn::ShardingRule &rule) const;
  bool transferPartial(mlir::Operation *op);
  void checkPartial();

  bool isSource(mlir::Value value) const;
  mlir::func::FuncOp getCallee(mlir::Operation *call) const;
  void conflict(mlir::Operation *op, const llvm::Twine &reason);
  void dropAxis();
  dist::LayoutAttr toAttr(const State &state) const;
  State &stateOf(mlir::Value value);

  mlir::ModuleOp module;
  mutable dist::MeshOp mesh; ///< a handle; its accessors are not const
  mlir::SymbolTable symbols;
  llvm::SmallVector<mlir::func::FuncOp> steps, functions;
  llvm::DenseMap<mlir::Operation *, llvm::SmallVector<mlir::func::CallOp>> callsOf; ///< with a strategy
  llvm::DenseMap<mlir::Value, State> states;
  mlir::StringAttr axis; ///< the one being propagated
  int64_t pieces = 1;    ///< its size
  llvm::SetVector<mlir::Operation *> worklist;
  llvm::SetVector<mlir::Operation *> outsiders;
  llvm::DenseSet<std::pair<const void *, const void *>> reported; ///< by name and location
  bool isUnsplit = false; ///< an axis of one piece met an op that cannot be computed from pieces
  bool ok = true;
};

} // namespace galvatron

#endif
