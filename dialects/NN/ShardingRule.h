//===- ShardingRule.h - The loops of an op and how dimensions map to them -===//
//
// A rule is a claim about numbers: splitting a parallel factor of the operands
// and computing each piece gives the pieces of the result; splitting a reduction
// factor gives partial results whose combination by the factor's monoid is the
// result. test/dialects/NN checks that claim for every op by computing it.
//
//===----------------------------------------------------------------------===//

#ifndef GALVATRON_DIALECTS_NN_SHARDINGRULE_H
#define GALVATRON_DIALECTS_NN_SHARDINGRULE_H

#include "mlir/IR/Operation.h"
#include "llvm/ADT/SmallVector.h"

namespace galvatron::nn {

enum class FactorKind {
  Parallel,     ///< each piece of the result needs only its piece of the operands
  ReductionSum, ///< pieces give partial sums
  ReductionMax, ///< pieces give partial maxima
  ReductionMin, ///< pieces give partial minima
  Whole,        ///< must not be split (a slice's offset, a softmax's dimension, ...)
};

struct Factor {
  int64_t size;
  FactorKind kind;
};

/// For one tensor: for each of its dimensions the factors it runs over, most significant first.
/// A dimension of a reshape can hold several; a dimension of size one may hold none.
using DimFactors = llvm::SmallVector<llvm::SmallVector<int64_t, 1>>;

class ShardingRule {
public:
  llvm::SmallVector<Factor> factors;
  llvm::SmallVector<DimFactors> operands;
  llvm::SmallVector<DimFactors> results;
  /// Operands in which the op is linear *jointly*: if all of them are partial sums over an axis (and no
  /// other operand is), the results are partial sums over it. Ops that are linear in each operand alone
  /// (a product) list each alternative.
  llvm::SmallVector<llvm::SmallVector<int64_t>> linearIn;

  /// Sets of operands, beside those of `linearIn`: if all operands of a set run over a factor, the results are zero at those places of it
  /// at which all operands that run over it (but numbers by which the op finds its way) are. The empty set holds for all factors.
  llvm::SmallVector<llvm::SmallVector<int64_t>> zeroIn;

  /// Adds a factor and returns its index.
  int64_t addFactor(int64_t size, FactorKind kind);

  /// All operands and results have one shape; each dimension is a parallel factor.
  static ShardingRule elementwise(mlir::Operation *op);

  /// Every dimension of every operand and result is a whole factor of its own: the safe answer.
  static ShardingRule replicated(mlir::Operation *op);

  /// `([a b], [b c]) -> ([a c]) {a=8, b=4 sum, c=16}`, a letter per factor.
  void print(llvm::raw_ostream &os) const;
  std::string str() const;

  /// Checks that sizes agree with the op's types. Returns an empty string, or what is wrong.
  std::string check(mlir::Operation *op) const;
};

} // namespace galvatron::nn

#endif
