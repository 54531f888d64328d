//===- PropagateLayouts.cpp - Layouts as attributes, reshards as ops ------===//

#include "Propagation.h"
#include "galvatron/Partition/Passes.h"

using namespace mlir;
using namespace galvatron;

namespace galvatron {
#define GEN_PASS_DEF_DISTPROPAGATELAYOUTSPASS
#include "galvatron/Partition/Passes.h.inc"
} // namespace galvatron

namespace {

/// Writes what was found onto a function: arguments, results and ops.
void annotate(func::FuncOp function, const Propagation &found) {
  for (BlockArgument argument : function.getArguments())
    function.setArgAttr(argument.getArgNumber(), dist::layoutAttrName, found.getLayout(argument));
  for (auto [i, returned] : llvm::enumerate(function.front().getTerminator()->getOperands()))
    function.setResultAttr(i, dist::layoutAttrName, getLayout(returned) ? getLayout(returned) : found.getLayout(returned));
  for (Operation &op : function.front()) {
    if (op.getNumResults() == 0 || isa<dist::ReshardOp>(op))
      continue;
    SmallVector<Attribute> layouts;
    for (Value result : op.getResults())
      layouts.push_back(found.getLayout(result));
    op.setAttr(dist::layoutsAttrName, ArrayAttr::get(op.getContext(), layouts));
  }
}

/// Puts a reshard wherever an op of a step needs another layout than a value has.
void insertReshards(func::FuncOp step, const Propagation &found) {
  DenseMap<std::pair<Value, Attribute>, Value> made;
  SmallVector<std::pair<OpOperand *, dist::LayoutAttr>> uses;
  for (Operation &op : step.front())
    for (OpOperand &use : op.getOpOperands())
      if (dist::LayoutAttr wanted = found.getWanted(use); wanted != found.getLayout(use.get()))
        uses.emplace_back(&use, wanted);
  for (auto [use, wanted] : uses) {
    Value &resharded = made[{use->get(), wanted}];
    if (!resharded) {
      OpBuilder builder(use->getOwner());
      resharded = builder.create<dist::ReshardOp>(use->get().getLoc(), use->get().getType(), use->get(), wanted);
    }
    use->set(resharded);
  }
}

class DistPropagateLayouts : public galvatron::impl::DistPropagateLayoutsPassBase<DistPropagateLayouts> {
public:
  using DistPropagateLayoutsPassBase::DistPropagateLayoutsPassBase;

  void runOnOperation() override {
    FailureOr<dist::MeshOp> mesh = getMesh(getOperation());
    if (failed(mesh))
      return signalPassFailure();
    copySplats();
    int64_t pieces = mesh->getMicroBatches();
    for (int64_t size : mesh->getAxisSizes())
      pieces *= size;
    shareRepeatedRows(pieces);
    std::optional<Propagation> propagation;
    do {
      propagation.emplace(getOperation(), *mesh);
      if (failed(propagation->run()))
        return signalPassFailure();
    } while (moveOut(propagation->getOutsiders()));
    for (func::FuncOp function : propagation->getFunctions())
      annotate(function, *propagation);
    for (func::FuncOp step : getSteps(getOperation())) {
      insertReshards(step, *propagation);
      annotate(step, *propagation);
    }
  }

  /// Makes constants and iotas of functions arguments that the steps give them, of which a call can have a piece. Returns whether
  /// there were any.
  bool moveOut(ArrayRef<Operation *> ops) {
    for (Operation *op : ops) {
      auto function = op->getParentOfType<func::FuncOp>();
      unsigned number = function.getNumArguments();
      function.insertArgument(number, op->getResult(0).getType(), {}, op->getLoc());
      for (func::FuncOp step : getSteps(getOperation()))
        for (auto call : step.getOps<func::CallOp>())
          if (call.getCallee() == function.getSymName())
            call.getOperandsMutable().append(copyInto(step, op)->getResult(0));
      op->getResult(0).replaceAllUsesWith(function.getArgument(number));
      op->erase();
    }
    return !ops.empty();
  }

  /// A copy of an op without operands at the start of a step, which may have one.
  static Operation *copyInto(func::FuncOp step, Operation *op) {
    for (Operation &other : step.front())
      if (OperationEquivalence::isEquivalentTo(op, &other, OperationEquivalence::IgnoreLocations))
        return &other;
    return OpBuilder::atBlockBegin(&step.front()).clone(*op);
  }

  /// Gives each use of a splat one of its own, as one may be split and another not.
  void copySplats() {
    getOperation().walk([](Operation *op) {
      if (!op->hasTrait<OpTrait::ConstantLike>() || op->getNumResults() != 1 || op->use_empty() || !nn::getSplat(op->getResult(0)))
        return;
      for (OpOperand &use : llvm::make_early_inc_range(llvm::drop_begin(op->getUses()))) {
        OpBuilder builder(op);
        use.set(builder.clone(*op)->getResult(0));
      }
    });
  }

  /// Static exports hold tables that repeat for each row of the batch: these become a smaller table, broadcast, where the
  /// repeats can be split into `pieces`.
  void shareRepeatedRows(int64_t pieces) {
    SmallVector<nn::ConstantOp> constants;
    getOperation().walk([&](nn::ConstantOp op) { constants.push_back(op); });
    for (nn::ConstantOp op : constants) {
      RankedTensorType type = op.getType();
      auto elements = dyn_cast<DenseElementsAttr>(op.getValue());
      if (!elements || elements.isSplat() || type.getRank() == 0 || pieces == 1 || type.getDimSize(0) % pieces)
        continue;
      // The fewest rows of which the whole is a repetition.
      SmallVector<Attribute> values(elements.getValues<Attribute>());
      int64_t rows = type.getDimSize(0), width = values.size() / rows, period = 1;
      auto repeats = [&](int64_t count) {
        return std::equal(values.begin() + count * width, values.end(), values.begin());
      };
      while (period < rows && (rows % period || !repeats(period)))
        ++period;
      if (rows / period % pieces)
        continue;
      SmallVector<int64_t> small(type.getShape()), repeated(type.getShape()), dims;
      small[0] = period;
      repeated[0] = period;
      repeated.insert(repeated.begin(), rows / period);
      for (int64_t i = 1, rank = repeated.size(); i < rank; ++i)
        dims.push_back(i);
      OpBuilder builder(op);
      auto table = builder.create<nn::ConstantOp>(
          op.getLoc(), DenseElementsAttr::get(type.clone(small), ArrayRef(values).take_front(period * width)));
      auto broadcast = builder.create<nn::BroadcastOp>(op.getLoc(), type.clone(repeated), table, dims);
      op.replaceAllUsesWith(builder.create<nn::ReshapeOp>(op.getLoc(), type, broadcast).getResult());
      op.erase();
    }
  }
};

} // namespace
