//===- Propagation.h - Layouts of all values from those of a few ----------===//
//
// Works on a module whose steps are straight lines of calls. Each axis is
// handled by itself, in two parts: which loop of each op it splits (forward and
// backward through sharding rules, to a fixpoint), then what is partial (forward
// only). Over ranks a value may have one layout where it is made and another
// where it is read; over time there is no way from one to the other within a
// step, so there a disagreement is an error.
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

  /// The layout found for a value of a step or of a function that a step calls.
  dist::LayoutAttr getLayout(mlir::Value value) const;

  /// The layout that an op needs its operand in.
  dist::LayoutAttr getWanted(mlir::OpOperand &use) const;

  /// Functions whose layouts were found, in module order.
  llvm::ArrayRef<mlir::func::FuncOp> getFunctions() const { return functions; }

  /// Constants and iotas inside functions that would be split and have no pieces of their kind: the step must make them.
  llvm::ArrayRef<mlir::Operation *> getOutsiders() const { return outsiders.getArrayRef(); }

  /// Ops that could be split if they had the numbers of a loop along which they count.
  llvm::ArrayRef<mlir::Operation *> getCounting() const { return counting.getArrayRef(); }

private:
  /// The layout of one value: for each dimension the axes that split it, and what is partial.
  struct State {
    llvm::SmallVector<llvm::SmallVector<mlir::StringAttr, 1>> dims;
    llvm::SmallVector<std::pair<mlir::StringAttr, dist::Monoid>, 1> partial;
  };
  /// The loop of an op that an axis splits.
  using Loop = std::pair<mlir::StringAttr, int64_t>;

  /// What a strategy uses the axis for.
  enum class Role { None, Batch, Tensor };

  mlir::LogicalResult collect();
  void findRows();
  void begin(mlir::StringAttr name);
  void seed();
  void seedSplits(mlir::func::CallOp call, dist::StrategyOp strategy);
  void seedOps(mlir::func::FuncOp function);
  void seedUpdates();
  dist::StrategyOp getStrategy(mlir::Operation *call) const;
  Role getRole(mlir::Operation *call) const;
  static bool isPair(mlir::Operation *one, mlir::Operation *other);
  bool entersCall(mlir::Value value, int64_t dim, mlir::func::CallOp call) const;
  bool isAskedOf(mlir::func::CallOp maker, mlir::Value value, int64_t dim, mlir::Operation *by) const;
  bool isOverTime() const { return axis == dist::timeAxis; }

  // Splits over `axis`.
  void demand(mlir::Value value, int64_t dim, mlir::Operation *by);
  void setSplit(mlir::Value value, int64_t dim, mlir::Operation *by);
  void assign(mlir::Operation *op, int64_t factor, mlir::Operation *by);
  void visit(mlir::Operation *op);
  void visitCall(mlir::func::CallOp call);
  void visitRule(nn::ShardingRuleInterface op);
  int64_t splitDim(mlir::Value value) const;
  std::optional<int64_t> getLoop(mlir::Operation *op, mlir::StringAttr over) const;

  // Partial results over `axis`.
  void findPartial();
  bool makePartial(mlir::Value value, dist::Monoid monoid);
  std::optional<dist::Monoid> getPartial(mlir::Value value, mlir::StringAttr over) const;
  bool isLinear(mlir::Operation *op, const nn::ShardingRule &rule, mlir::StringAttr over) const;
  bool isPassedOn(mlir::Operation *op, const nn::ShardingRule &rule, mlir::StringAttr over) const;
  bool transferPartial(mlir::Operation *op);
  bool transferPartialOfCall(mlir::func::CallOp call);
  void checkPartial();
  dist::LayoutAttr getReturned(mlir::Value value) const;

  bool isSource(mlir::Value value) const;
  bool isVisited(mlir::func::CallOp call) const;
  mlir::func::FuncOp getCallee(mlir::Operation *call) const;
  void conflict(mlir::Operation *op, const llvm::Twine &reason);
  void dropAxis();
  dist::LayoutAttr toAttr(const State &state) const;
  State toState(dist::LayoutAttr layout) const;
  State &stateOf(mlir::Value value);
  mlir::FlatSymbolRefAttr getStoredAs(mlir::FlatSymbolRefAttr parameter) const;

  mlir::ModuleOp module;
  mutable dist::MeshOp mesh; ///< a handle; its accessors are not const
  mlir::SymbolTable symbols;
  llvm::SmallVector<mlir::func::FuncOp> steps, functions;
  llvm::DenseMap<mlir::Operation *, llvm::SmallVector<mlir::func::CallOp>> callsOf;
  llvm::DenseMap<mlir::Attribute, llvm::SmallVector<nn::GetParameterOp>> readsOf; ///< of a parameter and its state, in all steps
  llvm::DenseSet<mlir::Operation *> prepared; ///< calls that depend on no parameter
  nn::Rows rowsOf; ///< of values of the steps
  llvm::DenseMap<mlir::Value, State> states;
  llvm::DenseMap<mlir::Operation *, llvm::SmallVector<Loop, 2>> loops;
  mlir::StringAttr axis; ///< the one being propagated
  int64_t pieces = 1;    ///< its size
  bool isTensor = false; ///< it splits what is inside blocks, and so parameters too
  llvm::DenseMap<mlir::Attribute, Role> roles; ///< of the axis in each strategy, by its symbol
  bool isMixed = false;  ///< it splits the batch in some strategies and not in others
  llvm::DenseMap<mlir::Operation *, int64_t> fixedLoops; ///< of ops that a strategy names: what the axis splits, or -1
  llvm::DenseMap<mlir::Attribute, int64_t> fixedDims;    ///< of parameters that such ops read: what the axis splits, or -1
  llvm::DenseMap<mlir::Operation *, int64_t> fixedCalls; ///< of calls once a step that read such parameters: the same
  llvm::SetVector<mlir::Operation *> worklist;
  llvm::SetVector<mlir::Operation *> outsiders, counting;
  llvm::DenseSet<std::pair<const void *, const void *>> reported; ///< by name and location
  bool isUnsplit = false; ///< an axis of one piece met an op that cannot be computed from pieces
  bool ok = true;
};

} // namespace galvatron

#endif
