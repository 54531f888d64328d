//===- KernelGroups.h - Which ops become one kernel -----------------------===//

#ifndef GALVATRON_LIB_CODEGEN_KERNELGROUPS_H
#define GALVATRON_LIB_CODEGEN_KERNELGROUPS_H

#include "dialects/NN/NN.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/DenseSet.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/SetVector.h"

namespace galvatron {

enum class GroupKind { Rows, Columns, Alone };

/// Ops that are computed by one kernel.
struct KernelGroup {
  GroupKind kind = GroupKind::Rows;
  llvm::SmallVector<mlir::Operation *> members; ///< in program order
  /// Rows: the numbers of rows that suit all members, ascending. One number if there are reductions.
  llvm::SmallVector<int64_t> candidates;
  /// Values from elsewhere that the members need.
  llvm::SetVector<mlir::Value> leaves;
};

/// Groups the fusible ops of a block (everything but library calls and reshapes), greedily, in program order.
class KernelGrouping {
public:
  /// Ops in `alone` get kernels of their own.
  KernelGrouping(mlir::Block &block, const llvm::DenseSet<mlir::Operation *> &alone);

  /// Non-empty groups, in no particular order. Every value that a group needs from another is a result of a member
  /// of that one.
  llvm::ArrayRef<KernelGroup> getGroups() const { return groups; }

  /// Whether the op is computed again wherever it is needed, inside the kernel that needs it.
  bool isRecomputed(mlir::Operation *op, const KernelGroup &group) const;

private:
  /// A value that an op needs, behind ops that are recomputed, and the numbers of rows for which it is needed row by
  /// row only.
  struct Need {
    mlir::Value leaf;
    llvm::SmallVector<int64_t> candidates;
  };

  void classify(mlir::Block &block);
  bool isVirtualByNature(mlir::Operation *op) const;
  void assign(mlir::Operation *op);
  void assignToRows(mlir::Operation *op, llvm::ArrayRef<int64_t> candidates);
  void assignToColumns(nn::ReduceOp op);
  bool joinColumnsEpilogue(mlir::Operation *op);
  void needsOf(mlir::Operation *op, llvm::ArrayRef<int64_t> candidates, llvm::SmallVectorImpl<Need> &needs) const;
  llvm::SetVector<mlir::Value> columnLeaves(mlir::Operation *op) const;
  bool isCheapHere(mlir::Operation *op) const;
  unsigned newGroup(GroupKind kind, llvm::ArrayRef<int64_t> candidates);
  void add(unsigned group, mlir::Operation *op, mlir::ValueRange leaves);
  std::optional<unsigned> groupOf(mlir::Value value) const;
  bool dependsOn(mlir::ValueRange values, const llvm::DenseSet<unsigned> &targets) const;
  bool canMerge(llvm::ArrayRef<unsigned> parts, mlir::ValueRange moreLeaves) const;
  unsigned merge(llvm::ArrayRef<unsigned> parts, llvm::ArrayRef<int64_t> candidates);

  const llvm::DenseSet<mlir::Operation *> &alone;
  llvm::SmallVector<KernelGroup> groups;
  llvm::DenseMap<mlir::Operation *, unsigned> memberOf;
  llvm::DenseSet<mlir::Operation *> virtualOps, hardUsed, library;
  llvm::DenseMap<mlir::Operation *, unsigned> order;
  llvm::DenseMap<mlir::Operation *, unsigned> depths; ///< of what is computed again below an op
};

/// Whether the library does this addition together with the product before it: of a bias along the product's last
/// dimensions, or of a running sum (an argument of the function, or another product).
bool isLibraryAdd(nn::AddOp op);

/// Whether the op is such an addition, or the broadcast of its bias.
bool isPartOfLibraryAdd(mlir::Operation *op);

} // namespace galvatron

#endif
