//===- Partition.cpp - From whole tensors to pieces -----------------------===//

#include "Padding.h"
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

/// What leads from the axes of a dimension in one layout to those in another, innermost last.
struct AxisMove {
  SmallVector<StringRef> removed, added;
  bool isThroughWhole;
  AxisMove(ArrayAttr from, ArrayAttr to, bool isThroughWhole) : isThroughWhole(isThroughWhole) {
    size_t common = 0;
    while (!isThroughWhole && common < from.size() && common < to.size() && from[common] == to[common])
      ++common;
    for (Attribute axis : from.getValue().drop_front(common))
      removed.push_back(cast<StringAttr>(axis).getValue());
    for (Attribute axis : to.getValue().drop_front(common))
      added.push_back(cast<StringAttr>(axis).getValue());
  }
};

/// Makes the moves that a reshard stands for.
class ReshardLowering {
public:
  ReshardLowering(dist::ReshardOp reshard, dist::MeshOp mesh)
      : reshard(reshard), mesh(mesh), builder(reshard), value(reshard.getValue()) {}
  LogicalResult run();

private:
  void reduce(dist::LayoutAttr from, dist::LayoutAttr to);
  LogicalResult gather(int64_t dim, ArrayRef<StringRef> axes);
  LogicalResult slice(int64_t dim, ArrayRef<StringRef> axes);
  void trim(int64_t dim);
  void pad(int64_t dim, int64_t size);
  void inRows(int64_t dim, function_ref<void(int64_t)> make);
  int64_t sizeOf(ArrayRef<StringRef> axes);
  /// `value` in a type whose dimension `dim` has another size.
  RankedTensorType resized(int64_t dim, int64_t size) {
    SmallVector<int64_t> shape(nn::tensorType(value).getShape());
    shape[dim] = size;
    return nn::tensorType(value).clone(shape);
  }

  dist::ReshardOp reshard;
  dist::MeshOp mesh;
  OpBuilder builder;
  Value value; ///< after the moves made so far
};

int64_t ReshardLowering::sizeOf(ArrayRef<StringRef> axes) {
  int64_t size = 1;
  for (StringRef axis : axes)
    size *= mesh.getAxisSize(axis);
  return size;
}

/// A piece is a contiguous part of memory: where other dimensions with data come before `dim`, `make` moves a transposed value
/// along dimension 0.
void ReshardLowering::inRows(int64_t dim, function_ref<void(int64_t)> make) {
  RankedTensorType type = nn::tensorType(value);
  if (llvm::all_of(type.getShape().take_front(dim), [](int64_t size) { return size == 1; }))
    return make(dim);
  SmallVector<int64_t> there{dim}, back;
  for (int64_t i = 0; i < type.getRank(); ++i)
    if (i != dim)
      there.push_back(i);
  for (int64_t i = 0; i < type.getRank(); ++i)
    back.push_back(llvm::find(there, i) - there.begin());
  auto transpose = [&](ArrayRef<int64_t> permutation) {
    SmallVector<int64_t> shape;
    for (int64_t i : permutation)
      shape.push_back(nn::tensorType(value).getDimSize(i));
    value = builder.create<nn::TransposeOp>(reshard.getLoc(), type.clone(shape), value, permutation);
  };
  transpose(there);
  make(0);
  transpose(back);
}

/// Combines what is partial in `from` and no longer in `to`: first over time, which is accumulation on each rank, then over all
/// axes of ranks at once.
void ReshardLowering::reduce(dist::LayoutAttr from, dist::LayoutAttr to) {
  auto combine = [&](dist::Monoid monoid, ArrayRef<Attribute> axes) {
    if (!axes.empty())
      value = builder.create<dist::AllReduceOp>(reshard.getLoc(), value.getType(), dist::MonoidAttr::get(builder.getContext(), monoid),
                                                value, to.getMesh(), builder.getArrayAttr(axes));
  };
  for (dist::Monoid monoid : {dist::Monoid::Sum, dist::Monoid::Max, dist::Monoid::Min}) {
    SmallVector<Attribute> time, ranks;
    for (dist::PartialAttr entry : from.getPartial())
      if (entry.getMonoid() == monoid && !to.getPartialOver(entry.getAxis().getValue()))
        (entry.getAxis() == dist::timeAxis ? time : ranks).push_back(entry.getAxis());
    combine(monoid, time);
    combine(monoid, ranks);
  }
}

LogicalResult ReshardLowering::gather(int64_t dim, ArrayRef<StringRef> axes) {
  if (llvm::is_contained(axes, dist::timeAxis))
    for (Operation *user : reshard->getUsers())
      if (hasStrategy(user))
        return user->emitOpError("needs all of dimension ")
               << dim << " of a value that is split over " << builder.getStrArrayAttr(axes)
               << "; over \"time\" a value is whole only before the first micro-batch or after the last";
  // The ranks' pieces of one micro-batch lie side by side, so they come first.
  bool isOverTime = !axes.empty() && axes.front() == dist::timeAxis;
  if (llvm::is_contained(axes.drop_front(isOverTime), dist::timeAxis))
    return reshard.emitOpError("gathers dimension ") << dim << " over " << builder.getStrArrayAttr(axes)
                                                     << "; micro-batches are the outermost pieces of a dimension";
  inRows(dim, [&](int64_t dim) {
    for (ArrayRef<StringRef> part : {axes.drop_front(isOverTime), axes.take_front(isOverTime)})
      if (!part.empty())
        value = builder.create<dist::AllGatherOp>(
            reshard.getLoc(), resized(dim, nn::tensorType(value).getDimSize(dim) * sizeOf(part)), value,
            builder.getI64IntegerAttr(dim), reshard.getLayout().getMesh(), builder.getStrArrayAttr(part));
  });
  return success();
}

/// Leaves out what is behind the end of a dimension.
void ReshardLowering::trim(int64_t dim) {
  int64_t size = reshard.getType().getDimSize(dim);
  if (nn::tensorType(value).getDimSize(dim) == size)
    return;
  SmallVector<int64_t> offsets(nn::tensorType(value).getRank(), 0), steps(offsets.size(), 1);
  value = builder.create<nn::SliceOp>(reshard.getLoc(), resized(dim, size), value, offsets, steps);
}

/// Makes a dimension longer. Numbers go on with some that are larger than any that counts something.
void ReshardLowering::pad(int64_t dim, int64_t size) {
  if (nn::tensorType(value).getDimSize(dim) == size)
    return;
  SmallVector<int64_t> low(nn::tensorType(value).getRank(), 0), steps(low.size(), 1);
  bool isNumber = nn::tensorType(value).getElementType().isInteger(64);
  value = builder.create<nn::PadOp>(reshard.getLoc(), resized(dim, size), value, low, steps,
                                    llvm::APFloat(isNumber ? double(int64_t(1) << 62) : 0));
}

LogicalResult ReshardLowering::slice(int64_t dim, ArrayRef<StringRef> axes) {
  int64_t pieces = sizeOf(axes);
  if (pieces && !llvm::is_contained(axes, dist::timeAxis))
    pad(dim, llvm::divideCeil(nn::tensorType(value).getDimSize(dim), pieces) * pieces);
  int64_t size = nn::tensorType(value).getDimSize(dim);
  if (pieces == 0 || size % pieces)
    return reshard.emitOpError("cuts dimension ") << dim << " of size " << size << " into " << pieces
                                                  << " pieces, which does not divide it";
  inRows(dim, [&](int64_t dim) {
    value = builder.create<dist::SliceOp>(reshard.getLoc(), resized(dim, size / pieces), value,
                                          builder.getI64IntegerAttr(dim), reshard.getLayout().getMesh(), builder.getStrArrayAttr(axes));
  });
  return success();
}

/// Replaces the reshard, whose operand has the type of a piece already.
LogicalResult ReshardLowering::run() {
  dist::LayoutAttr from = getLayout(value), to = reshard.getLayout();
  if (!from)
    return reshard.emitOpError("has an operand without a layout (--dist-propagate-layouts adds them)");
  // Partial results are combined first: what is split afterwards is whole then.
  reduce(from, to);
  for (dist::PartialAttr entry : to.getPartial())
    if (!from.getPartialOver(entry.getAxis().getValue()))
      return reshard.emitOpError("makes a partial result over ") << entry.getAxis() << " of a value that is none";
  SmallVector<AxisMove> moves;
  for (int64_t dim = 0, rank = std::min(from.getDims().size(), to.getDims().size()); dim < rank; ++dim) {
    auto before = cast<ArrayAttr>(from.getDims()[dim]), after = cast<ArrayAttr>(to.getDims()[dim]);
    // Padded pieces are no pieces of pieces of another number.
    auto isPadded = [&](dist::LayoutAttr layout) {
      int64_t pieces = Padding::getPieces(mesh, layout, dim);
      return pieces > 0 && reshard.getType().getDimSize(dim) % pieces != 0;
    };
    moves.emplace_back(before, after, before != after && (isPadded(from) || isPadded(to)));
  }
  // What is split elsewhere afterwards is whole in between.
  for (auto [dim, move] : llvm::enumerate(moves))
    if (!move.removed.empty()) {
      if (failed(gather(dim, move.removed)))
        return failure();
      if (move.isThroughWhole)
        trim(dim);
    }
  for (auto [dim, move] : llvm::enumerate(moves))
    if (!move.added.empty() && failed(slice(dim, move.added)))
      return failure();
  // Another reshard may go on from here.
  if (value != reshard.getValue())
    value.getDefiningOp()->setAttr(dist::layoutsAttrName, builder.getArrayAttr({to}));
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
    Padding(module, *mesh).insertSelects();
    Retype retype(*mesh);
    bool ok = true;
    for (auto function : module.getOps<func::FuncOp>()) {
      if (function.isDeclaration())
        continue;
      ok &= succeeded(retype.retype(function));
      for (auto reshard : llvm::make_early_inc_range(function.getOps<dist::ReshardOp>()))
        ok = ok && succeeded(ReshardLowering(reshard, *mesh).run());
      function.setFunctionType(FunctionType::get(&getContext(), function.front().getArgumentTypes(),
                                                 function.front().getTerminator()->getOperandTypes()));
    }
    if (!ok)
      return signalPassFailure();
    shrinkParameters(module);
    // The layouts of functions stay, for readers and for what packs parameters; those of ops have served.
    module.walk([](Operation *op) {
      op->removeAttr(dist::layoutsAttrName);
      op->removeAttr(dist::opAttrName);
    });
    for (auto function : module.getOps<func::FuncOp>())
      for (Operation &op : function.getOps())
        if (isa<nn::ShardingRuleInterface>(op))
          ok &= succeeded(verify(&op, /*verifyRecursively=*/false));
    if (!ok)
      return signalPassFailure();
    mergeEqualFunctions(module);
  }

  /// A parameter that all steps read in pieces is stored in pieces.
  static void shrinkParameters(ModuleOp module) {
    SymbolTable symbols(module);
    for (func::FuncOp step : getSteps(module))
      for (auto read : step.getOps<nn::GetParameterOp>()) {
        dist::LayoutAttr layout = getLayout(read.getResult());
        if (!layout || layout.isWhole())
          continue;
        auto parameter = symbols.lookup<nn::ParameterOp>(read.getParameter());
        if (parameter->hasAttr(dist::layoutAttrName))
          continue;
        ArrayRef<int64_t> shape = cast<RankedTensorType>(parameter.getType()).getShape();
        parameter->setAttr(dist::wholeShapeAttrName, DenseI64ArrayAttr::get(module.getContext(), shape));
        parameter.setType(read.getType());
        parameter->setAttr(dist::layoutAttrName, layout);
      }
  }

  /// Functions that were told apart by where their operands come from may have come out the same.
  static void mergeEqualFunctions(ModuleOp module) {
    llvm::MapVector<Type, SmallVector<func::FuncOp>> kept;
    DenseMap<StringAttr, StringAttr> mergedInto;
    for (auto function : llvm::make_early_inc_range(module.getOps<func::FuncOp>())) {
      if (!function.isPrivate() || function.isDeclaration())
        continue;
      auto isEqual = [&](func::FuncOp other) {
        NamedAttrList attributes(function->getAttrs()), others(other->getAttrs());
        for (NamedAttrList *list : {&attributes, &others})
          list->erase(SymbolTable::getSymbolAttrName());
        return attributes == others && OperationEquivalence::isRegionEquivalentTo(&function.getBody(), &other.getBody(),
                                                                                  OperationEquivalence::IgnoreLocations);
      };
      SmallVector<func::FuncOp> &candidates = kept[function.getFunctionType()];
      auto *found = llvm::find_if(candidates, isEqual);
      if (found == candidates.end()) {
        candidates.push_back(function);
        continue;
      }
      mergedInto[function.getSymNameAttr()] = found->getSymNameAttr();
      function.erase();
    }
    for (func::FuncOp step : getSteps(module))
      for (auto call : step.getOps<func::CallOp>())
        if (auto found = mergedInto.find(call.getCalleeAttr().getAttr()); found != mergedInto.end())
          call.setCallee(found->second);
  }
};

} // namespace
