//===- LegalizeContracts.cpp - Contractions that the library cannot walk get their operands transposed ===//

#include "galvatron/Codegen/Passes.h"

#include "galvatron/Codegen/MatmulPlan.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

using namespace mlir;
using namespace galvatron;

namespace galvatron {
#define GEN_PASS_DEF_LEGALIZECONTRACTSPASS
#include "galvatron/Codegen/Passes.h.inc"
} // namespace galvatron

/// `value`, whose dimensions are `letters`, with its dimensions in the order of `wanted`.
static Value transposeTo(OpBuilder &builder, Location loc, Value value, StringRef letters, StringRef wanted) {
  if (letters == wanted)
    return value;
  SmallVector<int64_t> permutation;
  for (char letter : wanted)
    permutation.push_back(letters.find(letter));
  return builder.create<nn::TransposeOp>(loc, value, permutation);
}

/// Makes both operands and the result batch dimensions first, then rows, then columns, which is always one product.
static void legalize(nn::ContractOp op) {
  nn::ContractOp::Subscripts subscripts = op.getParsedSubscripts();
  std::string batch, m, n, k;
  for (char letter : subscripts.result)
    (subscripts.lhs.contains(letter) ? subscripts.rhs.contains(letter) ? batch : m : n).push_back(letter);
  for (char letter : subscripts.lhs)
    if (!subscripts.result.contains(letter))
      k.push_back(letter);
  OpBuilder builder(op);
  Location loc = op.getLoc();
  Value lhs = transposeTo(builder, loc, op.getLhs(), subscripts.lhs, batch + m + k);
  Value rhs = transposeTo(builder, loc, op.getRhs(), subscripts.rhs, batch + k + n);
  std::string text = batch + m + k + "," + batch + k + n + "->" + batch + m + n;
  Value product = builder.create<nn::ContractOp>(loc, lhs, rhs, text);
  op.getResult().replaceAllUsesWith(transposeTo(builder, loc, product, batch + m + n, subscripts.result));
  op.erase();
}

namespace {

struct LegalizeContractsPass : galvatron::impl::LegalizeContractsPassBase<LegalizeContractsPass> {
  using LegalizeContractsPassBase::LegalizeContractsPassBase;

  void runOnOperation() override {
    SmallVector<nn::ContractOp> contracts;
    getOperation()->walk([&](nn::ContractOp op) { contracts.push_back(op); });
    for (nn::ContractOp op : contracts)
      if (!planMatmul(op))
        legalize(op);
  }
};

} // namespace
