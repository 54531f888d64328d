//===- PlanModule.h - Plans of modules ------------------------------------===//

#ifndef GALVATRON_PLAN_PLANMODULE_H
#define GALVATRON_PLAN_PLANMODULE_H

#include "galvatron/Plan/Plan.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"

namespace galvatron {

/// Where a plan is said not to fit: at its file, or at the model where it has none.
mlir::Location getPlanLocation(mlir::ModuleOp module, const Plan &plan);

/// What a plan of a training step must fit.
PlannedModel getPlannedModel(mlir::ModuleOp module);

/// --dist-apply-plan with a plan that is no file.
std::unique_ptr<mlir::Pass> createDistApplyPlanPass(Plan plan);

/// Prints for people what the plan of a planned module means: mesh, strategies, what is split where, bytes and rows of ranks.
void explainPlan(mlir::ModuleOp module, llvm::raw_ostream &os);

} // namespace galvatron

#endif
