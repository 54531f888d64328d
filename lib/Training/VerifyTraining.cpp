//===- VerifyTraining.cpp - What holds from --nn-add-optimizer on ---------===//

#include "dialects/NN/NN.h"
#include "galvatron/Training/Passes.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

using namespace mlir;
using namespace galvatron;

namespace galvatron {
#define GEN_PASS_DEF_VERIFYTRAININGPASS
#include "galvatron/Training/Passes.h.inc"
} // namespace galvatron

namespace {

/// A step function is a list of calls.
bool verifyStep(func::FuncOp step) {
  bool ok = true;
  DenseSet<Attribute> set;
  DenseSet<Value> used;
  for (Operation &op : step.front().without_terminator()) {
    if (!isa<nn::GetParameterOp, nn::SetParameterOp, nn::GradientOp, nn::ForwardOp, nn::BackwardOp, nn::AddOp, func::CallOp>(op)) {
      op.emitOpError("is in @") << step.getSymName() << ", which computes nothing itself";
      ok = false;
    }
    if (auto assignment = dyn_cast<nn::SetParameterOp>(op); assignment && !set.insert(assignment.getParameterAttr()).second) {
      op.emitOpError("sets ") << assignment.getParameterAttr() << " a second time";
      ok = false;
    }
    if (auto backward = dyn_cast<nn::BackwardOp>(op); backward && !used.insert(backward.getResiduals()).second) {
      op.emitOpError("is the second backward of one nn.forward");
      ok = false;
    }
  }
  for (auto gradient : step.front().getOps<nn::GradientOp>())
    if (!set.contains(gradient.getParameterAttr())) {
      gradient.emitOpError("gives ") << gradient.getParameterAttr() << " a gradient, but nothing sets it";
      ok = false;
    }
  return ok;
}

/// The forward of a joint function stands before its marker and reads no cotangent.
bool verifyJoint(func::FuncOp function, nn::JointAttr joint) {
  auto markers = function.front().getOps<nn::BackwardBeginOp>();
  if (int64_t count = llvm::range_size(markers); count != 1) {
    function.emitOpError("is a joint function with ") << count << " nn.backward_begin ops instead of one";
    return false;
  }
  Operation *marker = *markers.begin();
  auto isForward = [&](Value value) {
    if (auto argument = dyn_cast<BlockArgument>(value))
      return int64_t(argument.getArgNumber()) < joint.getInputs();
    return value.getDefiningOp()->isBeforeInBlock(marker);
  };
  bool ok = true;
  for (Operation &op : function.front()) {
    if (&op == marker)
      break;
    if (!llvm::all_of(op.getOperands(), isForward)) {
      op.emitOpError("is in the forward of @") << function.getSymName() << " and reads a cotangent";
      ok = false;
    }
  }
  if (!llvm::all_of(function.front().getTerminator()->getOperands().take_front(joint.getResults()), isForward)) {
    function.emitOpError("has a forward that returns a value of its backward");
    ok = false;
  }
  return ok;
}

class VerifyTraining : public galvatron::impl::VerifyTrainingPassBase<VerifyTraining> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    bool ok = true;
    for (StringRef name : {"step", "infer"})
      if (!module.lookupSymbol<func::FuncOp>(name)) {
        module.emitError() << "module has no function @" << name << " after training passes";
        ok = false;
      }
    for (auto function : module.getOps<func::FuncOp>()) {
      if (function.isDeclaration() || !llvm::hasSingleElement(function.getBody())) {
        function.emitOpError("has no body of one block");
        ok = false;
      } else if (!function.isPrivate()) {
        ok &= verifyStep(function);
      } else {
        ok &= verifyCompute(function);
        if (auto joint = function->getAttrOfType<nn::JointAttr>("nn.joint"))
          ok &= verifyJoint(function, joint);
      }
    }
    if (!ok)
      signalPassFailure();
  }

  static bool verifyCompute(func::FuncOp function) {
    bool ok = true;
    for (Operation &op : function.front().without_terminator())
      if (!isa<nn::NNDialect>(op.getDialect()) || isa<nn::GetParameterOp, nn::SetParameterOp, nn::ForwardOp, nn::BackwardOp, nn::GradientOp>(op)) {
        op.emitOpError("is in @") << function.getSymName() << ", which computes with nn ops on its arguments alone";
        ok = false;
      }
    return ok;
  }
};

} // namespace
