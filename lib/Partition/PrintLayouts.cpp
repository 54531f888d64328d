//===- PrintLayouts.cpp - Makes layouts testable --------------------------===//

#include "Layouts.h"
#include "galvatron/Partition/Passes.h"

using namespace mlir;
using namespace galvatron;

namespace galvatron {
#define GEN_PASS_DEF_DISTPRINTLAYOUTSPASS
#include "galvatron/Partition/Passes.h.inc"
} // namespace galvatron

namespace {

class DistPrintLayouts : public galvatron::impl::DistPrintLayoutsPassBase<DistPrintLayouts> {
  void runOnOperation() override {
    getOperation().walk([](Operation *op) {
      auto print = [&](StringRef what, int64_t number, Attribute attr) {
        auto layout = dyn_cast_or_null<dist::LayoutAttr>(attr);
        if (layout && !layout.isWhole())
          op->emitRemark() << what << " #" << number << " is " << layout;
      };
      if (auto function = dyn_cast<func::FuncOp>(op))
        for (unsigned i = 0, n = function.getNumArguments(); i < n; ++i)
          print("argument", i, function.getArgAttr(i, dist::layoutAttrName));
      if (auto reshard = dyn_cast<dist::ReshardOp>(op))
        print("result", 0, reshard.getLayout());
      if (auto layouts = op->getAttrOfType<ArrayAttr>(dist::layoutsAttrName))
        for (auto [i, layout] : llvm::enumerate(layouts))
          print("result", i, layout);
    });
    markAllAnalysesPreserved();
  }
};

} // namespace
