//===- Rows.cpp -----------------------------------------------------------===//

#include "dialects/NN/Rows.h"

#include "dialects/NN/NN.h"

using namespace mlir;

namespace galvatron::nn {

bool isModelInput(func::FuncOp function, unsigned argument) {
  auto name = function.getArgAttrOfType<StringAttr>(argument, "nn.name");
  return !name || name.getValue() != "hyper";
}

/// Dimension 0 of an input of the model; nothing for other arguments and for scalars.
static std::optional<int64_t> getFirstDim(func::FuncOp function, BlockArgument argument) {
  auto type = dyn_cast<RankedTensorType>(argument.getType());
  if (!type || type.getRank() == 0 || !isModelInput(function, argument.getArgNumber()))
    return std::nullopt;
  return type.getDimSize(0);
}

int64_t getBatch(func::FuncOp function) {
  for (BlockArgument argument : function.getArguments())
    if (std::optional<int64_t> size = getFirstDim(function, argument); size && *size != 1)
      return *size;
  return 1;
}

Rows getInputRows(func::FuncOp function) {
  Rows rows;
  int64_t batch = getBatch(function);
  for (BlockArgument argument : function.getArguments())
    if (getFirstDim(function, argument) == batch)
      rows[argument] = 0;
  return rows;
}

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
