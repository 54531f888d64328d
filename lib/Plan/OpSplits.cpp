//===- OpSplits.cpp -------------------------------------------------------===//

#include "OpSplits.h"

#include "Divisors.h"
#include "galvatron/Plan/Nearest.h"
#include "galvatron/Plan/PlanModule.h"

using namespace mlir;
using namespace galvatron;

using nn::DimFactors;
using nn::FactorKind;
using nn::ShardingRule;

InFlightDiagnostic OpSplits::report(const OpOverride &over) const {
  func::FuncOp joint = block.joint;
  return emitError(getPlanLocation(joint->getParentOfType<ModuleOp>(), plan)) << who << ": op \"" << over.op << "\" ";
}

/// Whether the op has the dimensions, and can be computed from such pieces.
LogicalResult OpSplits::check(Operation *op, const OpOverride &over) const {
  ShardingRule rule = cast<nn::ShardingRuleInterface>(op).getShardingRule();
  llvm::DenseMap<int64_t, int64_t> pieces; // by loop
  for (const OpOverride::Split &split : over.splits) {
    if (split.operand >= int64_t(rule.operands.size()))
      return report(over) << "has no operand " << split.operand << "; it has 0 to " << rule.operands.size() - 1;
    const DimFactors &dims = rule.operands[split.operand];
    auto type = cast<RankedTensorType>(op->getOperand(split.operand).getType());
    if (split.dim >= type.getRank())
      return report(over) << "has no dimension " << split.dim << " of operand " << split.operand << ", which is " << type;
    int64_t factor = dims[split.dim].empty() ? -1 : dims[split.dim].front();
    auto isInside = [&](const DimFactors &dims) {
      return llvm::any_of(dims, [&](ArrayRef<int64_t> dim) { return llvm::is_contained(dim.drop_front(dim.empty() ? 0 : 1), factor); });
    };
    if (factor < 0 || rule.factors[factor].kind == FactorKind::Whole || llvm::any_of(rule.operands, isInside) ||
        llvm::any_of(rule.results, isInside))
      return report(over) << "needs dimension " << split.dim << " of operand " << split.operand << " whole";
    int64_t &count = pieces.try_emplace(factor, 1).first->second;
    count *= plan.getSize(split.axes);
    if (int64_t size = rule.factors[factor].size; size % count)
      return report(over) << "cannot be split " << count << " times along dimension " << split.dim << " of operand " << split.operand
                          << ", which has " << size << " entries; " << listDivisors(size) << " can";
  }
  return success();
}

LogicalResult OpSplits::apply(ArrayRef<OpOverride> overrides, SmallVectorImpl<dist::SplitAttr> &splits,
                              SmallVectorImpl<Attribute> &ops) const {
  if (overrides.empty())
    return success();
  SmallVector<std::pair<Operation *, std::string>> named = nameOps(block);
  func::FuncOp joint = block.joint;
  Builder builder(joint.getContext());
  bool ok = true;
  for (const OpOverride &over : overrides) {
    const auto *found = llvm::find_if(named, [&](const auto &entry) { return entry.second == over.op; });
    if (found == named.end()) {
      SmallVector<StringRef> names;
      for (const auto &entry : named)
        names.push_back(entry.second);
      report(over) << "is not there" << suggestNearest(over.op, names) << " (--explain-plan lists all)";
      ok = false;
      continue;
    }
    Operation *op = found->first;
    if (failed(check(op, over))) {
      ok = false;
      continue;
    }
    op->setAttr(dist::opAttrName, builder.getStringAttr(over.op));
    SmallVector<Attribute> made;
    for (const OpOverride::Split &split : over.splits) {
      SmallVector<Attribute> axes;
      for (unsigned axis : split.axes)
        axes.push_back(builder.getStringAttr(getAxisName(axis)));
      made.push_back(dist::SplitAttr::get(builder.getContext(), split.operand, split.dim, builder.getArrayAttr(axes)));
    }
    ops.push_back(dist::OpAttr::get(builder.getContext(), builder.getStringAttr(over.op), builder.getArrayAttr(made)));
    llvm::erase_if(splits, [&](dist::SplitAttr split) {
      return llvm::is_contained(op->getOperands(), joint.getArgument(split.getInput()));
    });
  }
  return success(ok);
}
