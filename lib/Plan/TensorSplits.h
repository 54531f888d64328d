//===- TensorSplits.h - What tensor parallelism splits inside a block -----===//
//
// A block's sharding rules say which dimensions of its values are one logical
// dimension. One that the block's inputs and results do not have (heads, the
// hidden size of an MLP) can be split inside without anybody outside noticing:
// the first matmul of a pair is split by columns, the second by rows.
//
//===----------------------------------------------------------------------===//

#ifndef GALVATRON_LIB_PLAN_TENSORSPLITS_H
#define GALVATRON_LIB_PLAN_TENSORSPLITS_H

#include "dialects/Dist/Dist.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/BitVector.h"
#include "llvm/ADT/EquivalenceClasses.h"

namespace galvatron {

/// The logical dimensions that are inside a joint function.
class InnerDimensions {
public:
  /// `parameters` are the inputs of the block that are parameters, `handedOut` the results that nothing but the step's end reads.
  InnerDimensions(mlir::func::FuncOp joint, const llvm::BitVector &parameters, const llvm::BitVector &handedOut);

  /// Splits over axes of these sizes, outermost first. Of dimensions that meet in one op (the KV heads and the groups of an
  /// attention) an axis splits one: that of most parameters whose size it divides, or, if there is none, one that is large enough to
  /// be padded. If `mustSplit`, dimensions of which an axis can split none are an error at `loc`.
  mlir::FailureOr<llvm::SmallVector<dist::SplitAttr>> split(llvm::ArrayRef<mlir::StringAttr> axes, llvm::ArrayRef<int64_t> sizes,
                                                            bool mustSplit, mlir::Location loc) const;

  /// Whether two dimensions of values inside are one logical dimension.
  bool isSame(mlir::Value one, int64_t dim, mlir::Value other, int64_t otherDim) const {
    return leader(one, dim) == leader(other, otherDim);
  }

private:
  /// A dimension of a value.
  using Node = std::pair<void *, int64_t>;

  struct Dimension {
    int64_t size = 0;
    int64_t weight = 0;                                       ///< elements of the parameters that have it
    llvm::SmallVector<std::pair<unsigned, int64_t>> inputs;   ///< parameters that have it, and where
    unsigned component = 0;                                   ///< of the dimensions that it meets
    bool canBePadded = true;                                  ///< it is nowhere a part of another dimension

    /// Whether it can be cut into so many pieces, the last of them perhaps padded, which costs little.
    bool canBeCut(int64_t pieces, bool mayPad) const {
      int64_t padding = size % pieces ? pieces - size % pieces : 0;
      return padding == 0 || (mayPad && canBePadded && padding <= size / 16);
    }
  };

  void joinDimensions();
  void findMeetings();
  void keep(const llvm::BitVector &parameters);
  Node leader(mlir::Value value, int64_t dim) const;

  mutable mlir::func::FuncOp joint; ///< a handle; its accessors are not const
  llvm::EquivalenceClasses<Node> classes;
  llvm::DenseSet<Node> fixed;                       ///< leaders: dimensions that something needs whole, or that leave the block
  llvm::DenseSet<Node> merged;                      ///< leaders: dimensions that are a part of another somewhere
  llvm::DenseSet<std::pair<Node, Node>> meetings;   ///< leaders of dimensions that one op or value has
  llvm::SmallVector<std::pair<Node, Dimension>> dimensions;
};

} // namespace galvatron

#endif
