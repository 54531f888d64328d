//===- UnusedResults.cpp --------------------------------------------------===//

#include "UnusedResults.h"

#include "mlir/IR/BuiltinOps.h"

using namespace mlir;
using namespace galvatron;

void galvatron::eraseUnused(Block &body) {
  for (Operation &op : llvm::make_early_inc_range(llvm::reverse(body)))
    if (isOpTriviallyDead(&op))
      op.erase();
}

bool galvatron::dropUnusedResults(func::FuncOp function) {
  SmallVector<func::CallOp> calls;
  llvm::BitVector unused(function.getNumResults(), true);
  for (auto step : function->getParentOfType<ModuleOp>().getOps<func::FuncOp>())
    for (auto call : step.getOps<func::CallOp>())
      if (call.getCalleeAttr().getAttr() == function.getSymNameAttr()) {
        calls.push_back(call);
        for (OpResult result : call.getResults())
          if (!result.use_empty())
            unused.reset(result.getResultNumber());
      }
  if (calls.empty()) {
    function.erase();
    return true;
  }
  if (unused.none())
    return false;
  function.front().getTerminator()->eraseOperands(unused);
  eraseUnused(function.front());
  function.eraseResults(unused);
  for (func::CallOp call : calls) {
    OpBuilder builder(call);
    auto shorter = builder.create<func::CallOp>(call.getLoc(), function, call.getOperands());
    for (NamedAttribute attr : call->getDiscardableAttrs())
      shorter->setDiscardableAttr(attr.getName(), attr.getValue());
    unsigned next = 0;
    for (OpResult result : call.getResults())
      if (!unused[result.getResultNumber()])
        result.replaceAllUsesWith(shorter.getResult(next++));
    call.erase();
  }
  return true;
}
