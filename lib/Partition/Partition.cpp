//===- Partition.cpp - From whole tensors to pieces -----------------------===//

#include "Retype.h"
#include "galvatron/Partition/Passes.h"
#include "mlir/IR/Verifier.h"

using namespace mlir;
using namespace galvatron;

namespace galvatron {
#define GEN_PASS_DEF_DISTPARTITIONPASS
#include "galvatron/Partition/Passes.h.inc"
} // namespace galvatron

namespace {

/// The axes of a dimension in one layout that follow those it has in another; nothing if the other has no prefix of them.
std::optional<SmallVector<StringRef>> addedAxes(ArrayAttr from, ArrayAttr to) {
  SmallVector<StringRef> added;
  for (auto [i, axis] : llvm::enumerate(to)) {
    if (i >= from.size())
      added.push_back(cast<StringAttr>(axis).getValue());
    else if (from[i] != axis)
      return std::nullopt;
  }
  if (to.size() < from.size())
    return std::nullopt;
  return added;
}

/// Replaces a reshard, whose operand has the type of a piece already, by what it stands for.
LogicalResult lower(dist::ReshardOp reshard, dist::MeshOp mesh) {
  dist::LayoutAttr from = getLayout(reshard.getValue()), to = reshard.getLayout();
  if (!from)
    return reshard.emitOpError("has an operand without a layout (--dist-propagate-layouts adds them)");
  OpBuilder builder(reshard);
  Value value = reshard.getValue();
  // Partial results are combined first: what is split afterwards is whole then.
  for (dist::PartialAttr entry : from.getPartial())
    if (!to.getPartialOver(entry.getAxis().getValue()))
      value = builder.create<dist::AllReduceOp>(reshard.getLoc(), value.getType(),
                                                dist::MonoidAttr::get(builder.getContext(), entry.getMonoid()), value,
                                                to.getMesh(), builder.getArrayAttr({entry.getAxis()}));
  for (dist::PartialAttr entry : to.getPartial())
    if (!from.getPartialOver(entry.getAxis().getValue()))
      return reshard.emitOpError("makes a partial result over ") << entry.getAxis() << " of a value that is none";
  for (auto [dim, axes] : llvm::enumerate(llvm::zip(from.getDims(), to.getDims()))) {
    std::optional<SmallVector<StringRef>> added = addedAxes(cast<ArrayAttr>(std::get<0>(axes)), cast<ArrayAttr>(std::get<1>(axes)));
    if (!added) {
      Operation *user = reshard->use_empty() ? reshard.getOperation() : *reshard->user_begin();
      return user->emitOpError("needs all of dimension ")
             << dim << " of a value that is split over " << std::get<0>(axes)
             << "; over \"time\" a value is whole only before the first micro-batch or after the last";
    }
    if (added->empty())
      continue;
    SmallVector<int64_t> shape(nn::tensorType(value).getShape());
    int64_t pieces = 1;
    for (StringRef axis : *added)
      pieces *= mesh.getAxisSize(axis);
    if (pieces == 0 || shape[dim] % pieces)
      return reshard.emitOpError("cuts dimension ") << dim << " of size " << shape[dim] << " into " << pieces
                                                    << " pieces, which does not divide it";
    shape[dim] /= pieces;
    value = builder.create<dist::SliceOp>(reshard.getLoc(), nn::tensorType(value).clone(shape), value,
                                          builder.getI64IntegerAttr(dim), to.getMesh(), builder.getStrArrayAttr(*added));
  }
  reshard.replaceAllUsesWith(value);
  reshard.erase();
  return success();
}

class DistPartition : public galvatron::impl::DistPartitionPassBase<DistPartition> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    FailureOr<dist::MeshOp> mesh = getMesh(module);
    if (failed(mesh))
      return signalPassFailure();
    Retype retype(*mesh);
    bool ok = true;
    for (auto function : module.getOps<func::FuncOp>()) {
      if (function.isDeclaration())
        continue;
      ok &= succeeded(retype.retype(function));
      for (auto reshard : llvm::make_early_inc_range(function.getOps<dist::ReshardOp>()))
        ok = ok && succeeded(lower(reshard, *mesh));
      function.setFunctionType(FunctionType::get(&getContext(), function.front().getArgumentTypes(),
                                                 function.front().getTerminator()->getOperandTypes()));
    }
    if (!ok)
      return signalPassFailure();
    // The layouts of functions stay, for readers and for what packs parameters; those of ops have served.
    module.walk([](Operation *op) { op->removeAttr(dist::layoutsAttrName); });
    for (auto function : module.getOps<func::FuncOp>())
      for (Operation &op : function.getOps())
        if (isa<nn::ShardingRuleInterface>(op))
          ok &= succeeded(verify(&op, /*verifyRecursively=*/false));
    if (!ok)
      signalPassFailure();
  }
};

} // namespace
