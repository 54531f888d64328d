//===- Rows.cpp -----------------------------------------------------------===//

#include "dialects/NN/Rows.h"

#include "dialects/NN/NN.h"

using namespace mlir;

namespace galvatron::nn {

/// The outermost factor of a dimension: that by which its rows are split.
static int64_t outermost(const DimFactors &dims, int64_t dim) { return dims[dim].empty() ? -1 : dims[dim].front(); }

bool followRows(Operation *op, Rows &rows) {
  auto interface = dyn_cast<ShardingRuleInterface>(op);
  if (!interface || llvm::none_of(op->getOperands(), [&](Value operand) { return rows.contains(operand); }))
    return false;
  ShardingRule rule = interface.getShardingRule();
  bool combines = false;
  for (auto [i, operand] : llvm::enumerate(op->getOperands())) {
    auto found = rows.find(operand);
    if (found == rows.end())
      continue;
    int64_t factor = outermost(rule.operands[i], found->second);
    if (factor < 0)
      continue;
    combines |= rule.factors[factor].kind != FactorKind::Parallel;
    if (rule.factors[factor].kind == FactorKind::Whole)
      continue;
    for (auto [j, result] : llvm::enumerate(op->getResults()))
      for (int64_t dim = 0, rank = rule.results[j].size(); dim < rank; ++dim)
        if (outermost(rule.results[j], dim) == factor)
          rows.try_emplace(result, dim);
  }
  return combines;
}

} // namespace galvatron::nn
