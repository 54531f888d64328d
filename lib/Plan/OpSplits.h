//===- OpSplits.h - What a plan says of single ops ------------------------===//

#ifndef GALVATRON_LIB_PLAN_OPSPLITS_H
#define GALVATRON_LIB_PLAN_OPSPLITS_H

#include "Chain.h"
#include "dialects/Dist/Dist.h"

namespace galvatron {

/// Ops of one block as plans name them.
class OpSplits {
public:
  /// `who` is what messages call the block.
  OpSplits(const BlockFunction &block, const Plan &plan, std::string who) : block(block), plan(plan), who(std::move(who)) {}

  /// Checks overrides, names the ops in the function (`dist.op`), and makes attributes of them in `ops`. Inputs that such an op reads
  /// go out of `splits`: it says how they are split. Reports all that does not fit.
  mlir::LogicalResult apply(llvm::ArrayRef<OpOverride> overrides, llvm::SmallVectorImpl<dist::SplitAttr> &splits,
                            llvm::SmallVectorImpl<mlir::Attribute> &ops) const;

private:
  mlir::LogicalResult check(mlir::Operation *op, const OpOverride &over) const;
  mlir::InFlightDiagnostic report(const OpOverride &over) const;

  const BlockFunction &block;
  const Plan &plan;
  std::string who;
};

} // namespace galvatron

#endif
