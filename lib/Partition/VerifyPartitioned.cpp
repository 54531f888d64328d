//===- VerifyPartitioned.cpp - What holds from --dist-partition on --------===//

#include "Layouts.h"
#include "galvatron/Partition/Passes.h"

using namespace mlir;
using namespace galvatron;

namespace galvatron {
#define GEN_PASS_DEF_VERIFYPARTITIONEDPASS
#include "galvatron/Partition/Passes.h.inc"
} // namespace galvatron

namespace {

class VerifyPartitioned : public galvatron::impl::VerifyPartitionedPassBase<VerifyPartitioned> {
  void runOnOperation() override {
    bool ok = true;
    auto fail = [&](Operation *op) {
      ok = false;
      return op->emitOpError();
    };
    getOperation().walk([&](Operation *op) {
      if (isa<nn::ForwardOp, nn::BackwardOp, nn::BackwardBeginOp, dist::ReshardOp>(op))
        fail(op) << "is left after partition";
      if (op->hasAttr(dist::layoutsAttrName))
        fail(op) << "has layouts of its own after partition";
      if (auto parameter = dyn_cast<nn::ParameterOp>(op); parameter && op->hasAttr(dist::layoutAttrName))
        if (auto whole = op->getAttrOfType<DenseI64ArrayAttr>(dist::wholeShapeAttrName);
            !whole || whole.size() != cast<RankedTensorType>(parameter.getType()).getRank())
          fail(op) << "is stored in pieces of an unknown shape";
    });
    if (!ok)
      signalPassFailure();
  }
};

} // namespace
