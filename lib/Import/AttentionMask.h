//===- AttentionMask.h - What a mask over queries and keys says -----------===//

#ifndef GALVATRON_LIB_IMPORT_ATTENTIONMASK_H
#define GALVATRON_LIB_IMPORT_ATTENTIONMASK_H

#include "dialects/NN/NN.h"

namespace galvatron {

/// Which dimension of the scores is the batch (-1: none), the query and the key.
struct ScoreDims {
  int64_t batch, query, key;
  llvm::ArrayRef<int64_t> shape;
};

/// A part of a mask that has no better form: a boolean tensor, and which dimension of the scores each of its is.
struct PlacedMask {
  mlir::Value value;
  llvm::SmallVector<int64_t> place;
};

/// A conjunction: lower <= key - query <= upper, and all of `keyMasks`, and all of `rest`.
class AttentionMask {
public:
  AttentionMask(mlir::OpBuilder &builder, ScoreDims dims) : builder(builder), dims(dims) {}

  /// Adds what `mask` says; dimension i of it is dimension `place[i]` of the scores.
  void add(mlir::Value mask, llvm::ArrayRef<int64_t> place);

  /// The same for a constant whose elements mean true or false by `isTrue`, in row-major order.
  /// Fails if the constant has no better form than itself.
  bool addElements(llvm::ArrayRef<bool> isTrue, llvm::ArrayRef<int64_t> shape, llvm::ArrayRef<int64_t> place);

  /// Some pair (i, i + d) takes part for every query i, whatever the key masks are of.
  bool bandReachesEveryRow() const;

  std::optional<int64_t> lower, upper;
  llvm::SmallVector<mlir::Value> keyMasks; ///< [batch, key], or [key] without a batch
  llvm::SmallVector<PlacedMask> rest;

private:
  bool addComparison(nn::CompareOp op, bool negated, llvm::ArrayRef<int64_t> place);
  void addLeaf(mlir::Value mask, llvm::ArrayRef<int64_t> place);
  void raiseLower(int64_t bound) { lower = lower ? std::max(*lower, bound) : bound; }
  void sinkUpper(int64_t bound) { upper = upper ? std::min(*upper, bound) : bound; }
  void simplifyBand();

  mlir::OpBuilder &builder;
  ScoreDims dims;
};

/// `value`, whose dimension i is dimension `place[i]` of something larger, in ascending order of `place`.
mlir::Value sortDims(mlir::OpBuilder &builder, mlir::Value value, llvm::SmallVectorImpl<int64_t> &place);

} // namespace galvatron

#endif
