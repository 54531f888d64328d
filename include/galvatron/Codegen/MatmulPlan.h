//===- MatmulPlan.h - A contraction as calls of one matrix product --------===//
//
// A contraction has any number of loops in any order; the library multiplies batched matrices with one stride per
// dimension. A plan says which loops become the batch dimensions, m, n and k of one descriptor, and with which offsets
// it is called how often: usually once, more often where loops that are summed have no common stride.
//
//===----------------------------------------------------------------------===//

#ifndef GALVATRON_CODEGEN_MATMULPLAN_H
#define GALVATRON_CODEGEN_MATMULPLAN_H

#include "dialects/NN/NN.h"

namespace galvatron {

struct MatmulPlan {
  llvm::SmallVector<int64_t> batch, lhsBatch, rhsBatch, outBatch;
  int64_t m = 1, n = 1, k = 1;
  // Strides of (m, k), (k, n) and (m, n).
  int64_t lhs[2] = {1, 1}, rhs[2] = {1, 1}, out[2] = {1, 1};
  /// The product's rhs is the contraction's lhs and the other way round.
  bool swapped = false;
  /// Dimensions of the result whose row-major index is n: a bias over exactly these is a bias of the product. Nothing where other
  /// dimensions of the right operand are left.
  std::optional<llvm::SmallVector<int64_t>> biasDims;

  /// One call: offsets in elements, into lhs and rhs of the product (after the swap) and its result.
  struct Call {
    int64_t lhs, rhs, out;
    bool accumulate;
  };
  llvm::SmallVector<Call> calls;
};

/// Plans a contraction of row-major tensors. Fails if it would take more than `maxMatmulCalls` calls; then a transposition
/// of operands helps (`--rt-legalize-contracts`).
std::optional<MatmulPlan> planMatmul(nn::ContractOp contract);
inline constexpr int64_t maxMatmulCalls = 32;

/// Whether a bias over the dimensions `dims` of the contraction's result can be part of the product; the plan is then
/// for that order of operands.
std::optional<MatmulPlan> planMatmulWithBias(nn::ContractOp contract, llvm::ArrayRef<int64_t> dims);

} // namespace galvatron

#endif
