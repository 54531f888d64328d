//===- PropagateLayouts.cpp - Layouts as attributes, reshards as ops ------===//

#include "Propagation.h"
#include "UnusedResults.h"
#include "dialects/NN/Sums.h"
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

/// Puts a reshard wherever an op needs another layout than a value has.
void insertReshards(func::FuncOp function, const Propagation &found) {
  DenseMap<std::pair<Value, Attribute>, Value> made;
  SmallVector<std::pair<OpOperand *, dist::LayoutAttr>> uses;
  for (Operation &op : function.front())
    for (OpOperand &use : op.getOpOperands())
      if (dist::LayoutAttr wanted = found.getWanted(use); wanted != found.getLayout(use.get()))
        uses.emplace_back(&use, wanted);
  // What is combined for one use is combined for all: those that want other pieces get them of that.
  DenseMap<Value, SmallVector<dist::LayoutAttr>> wantedOf;
  for (auto [use, wanted] : uses)
    if (!llvm::is_contained(wantedOf[use->get()], wanted))
      wantedOf[use->get()].push_back(wanted);
  auto getReshard = [&](OpBuilder &builder, Value value, dist::LayoutAttr layout) {
    Value &resharded = made[{value, layout}];
    if (!resharded)
      resharded = builder.create<dist::ReshardOp>(value.getLoc(), value.getType(), value, layout);
    return resharded;
  };
  for (auto [use, wanted] : uses) {
    OpBuilder builder(use->getOwner());
    Value value = use->get();
    dist::LayoutAttr have = found.getLayout(value);
    if (ArrayRef<dist::LayoutAttr> all = wantedOf[value]; all.size() > 1) {
      SmallVector<dist::PartialAttr> left;
      llvm::copy_if(have.getPartial(), std::back_inserter(left), [&](dist::PartialAttr entry) {
        return llvm::any_of(all, [&](dist::LayoutAttr other) { return other.getPartialOver(entry.getAxis()).has_value(); });
      });
      auto combined = dist::LayoutAttr::get(have.getContext(), have.getMesh(), have.getDims(), left);
      if (combined != have)
        value = getReshard(builder, value, combined);
      have = combined;
    }
    use->set(wanted == have ? value : getReshard(builder, value, wanted));
  }
}

/// Adds up those first that are partial over the same axes: their sum is combined once. (The input gradients of Q, K and V are
/// three partial sums, and what goes around them is whole.) Returns whether there was anything to do.
bool groupSums(func::FuncOp function, const Propagation &found) {
  return nn::groupSums(function.front(), [&](Value value) -> Attribute {
    SmallVector<Attribute> axes;
    for (dist::PartialAttr entry : found.getLayout(value).getPartial())
      if (entry.getAxis() != dist::timeAxis)
        axes.push_back(entry.getAxis());
    return ArrayAttr::get(value.getContext(), axes);
  });
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
    for (int64_t size : mesh->getAxisSizes().drop_front(mesh->getNumStageAxes()))
      pieces *= size;
    shareRepeatedRows(pieces);
    std::optional<Propagation> propagation;
    do {
      propagation.emplace(getOperation(), *mesh);
      if (failed(propagation->run()))
        return signalPassFailure();
    } while (giveNumbers(propagation->getCounting()) || moveOut(propagation->getOutsiders()) || groupAllSums(*propagation) ||
             dropUnused(propagation->getFunctions()));
    SmallVector<func::FuncOp> functions(propagation->getFunctions());
    llvm::append_range(functions, getSteps(getOperation()));
    for (func::FuncOp function : functions)
      insertReshards(function, *propagation);
    bool ok = true;
    for (func::FuncOp function : functions) {
      annotate(function, *propagation);
      ok = ok && succeeded(checkNamedOps(function, *mesh));
    }
    if (!ok)
      signalPassFailure();
  }

  /// What a plan says of single ops fits together with what else splits the rows of the batch, which is never padded.
  static LogicalResult checkNamedOps(func::FuncOp function, dist::MeshOp mesh) {
    for (Operation &op : function.front()) {
      auto name = op.getAttrOfType<StringAttr>(dist::opAttrName);
      if (!name)
        continue;
      for (OpOperand &operand : op.getOpOperands()) {
        dist::LayoutAttr layout = getLayout(operand.get());
        for (auto [dim, axes] : llvm::enumerate(layout ? layout.getDims() : ArrayAttr::get(op.getContext(), {}))) {
          int64_t pieces = mesh.getAxesSize(cast<ArrayAttr>(axes)), size = nn::tensorType(operand.get()).getDimSize(dim);
          if (dist::hasTime(cast<ArrayAttr>(axes)) && size % pieces)
            return op.emitError() << "op " << name << " cannot be split along dimension " << dim << " of operand "
                                  << operand.getOperandNumber() << ", whose " << size << " rows of the batch would be in " << pieces
                                  << " pieces: those of the plan's op, of ranks that share the batch and of micro-batches";
        }
      }
    }
    return success();
  }

  /// A function that was shared by blocks with other strategies may make something for those only.
  static bool dropUnused(ArrayRef<func::FuncOp> functions) {
    bool changed = false;
    for (func::FuncOp function : functions)
      changed |= dropUnusedResults(function);
    return changed;
  }

  bool groupAllSums(const Propagation &found) {
    bool changed = false;
    for (func::FuncOp function : found.getFunctions())
      changed |= groupSums(function, found);
    for (func::FuncOp step : getSteps(getOperation()))
      changed |= groupSums(step, found);
    return changed;
  }

  /// Gives ops the numbers of the loop along which they count, so that it can be split. Returns whether there were any.
  static bool giveNumbers(ArrayRef<Operation *> ops) {
    for (Operation *op : ops) {
      auto counted = cast<nn::CountedLoopInterface>(op);
      int64_t size = cast<nn::ShardingRuleInterface>(op).getShardingRule().factors[counted.getCountedFactor()].size;
      OpBuilder builder(op);
      auto type = RankedTensorType::get({size}, builder.getI64Type());
      counted.takeNumbers(builder, builder.create<nn::IotaOp>(op->getLoc(), type, uint64_t(0)));
    }
    return !ops.empty();
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
