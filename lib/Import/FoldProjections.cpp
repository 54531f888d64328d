//===- FoldProjections.cpp - Contractions take operands as stored ---------===//

#include "galvatron/Import/Passes.h"

#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

#include <map>
#include <numeric>

namespace galvatron {
#define GEN_PASS_DEF_NNFOLDPROJECTIONS
#include "galvatron/Import/Passes.h.inc"
} // namespace galvatron

using namespace mlir;
using namespace galvatron;
using namespace galvatron::nn;

namespace {

std::string joinSubscripts(StringRef lhs, StringRef rhs, StringRef result) {
  return (lhs + "," + rhs + "->" + result).str();
}

/// A transposed operand is another order of its loops; an operand repeated along a loop does not have that loop,
/// provided that the other operand and the result do.
struct AbsorbOperand : OpRewritePattern<ContractOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(ContractOp op, PatternRewriter &rewriter) const override {
    ContractOp::Subscripts subscripts = op.getParsedSubscripts();
    std::string letters[2] = {subscripts.lhs.str(), subscripts.rhs.str()};
    Value operands[2] = {op.getLhs(), op.getRhs()};
    bool changed = false;
    for (int side : {0, 1}) {
      std::string inner;
      if (auto transpose = operands[side].getDefiningOp<TransposeOp>()) {
        inner.resize(letters[side].size());
        for (auto [to, from] : llvm::enumerate(transpose.getPermutation()))
          inner[from] = letters[side][to];
      } else if (auto broadcast = operands[side].getDefiningOp<BroadcastOp>()) {
        bool fits = true;
        for (auto [dim, letter] : llvm::enumerate(letters[side]))
          if (!llvm::is_contained(broadcast.getDims(), int64_t(dim)))
            fits &= StringRef(letters[1 - side]).contains(letter) && subscripts.result.contains(letter);
        if (!fits || getSplat(operands[side]))
          continue;
        for (int64_t dim : broadcast.getDims())
          inner += letters[side][dim];
      } else {
        continue;
      }
      letters[side] = inner;
      operands[side] = operands[side].getDefiningOp()->getOperand(0);
      changed = true;
    }
    if (!changed)
      return failure();
    rewriter.replaceOpWithNewOp<ContractOp>(op, operands[0], operands[1],
                                            joinSubscripts(letters[0], letters[1], subscripts.result));
    return success();
  }
};

/// A contraction that sums over nothing is a product (frequencies times positions, as some exporters write it).
struct ProductOfOuter : OpRewritePattern<ContractOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(ContractOp op, PatternRewriter &rewriter) const override {
    ContractOp::Subscripts subscripts = op.getParsedSubscripts();
    SmallVector<Value> factors;
    for (StringRef letters : {subscripts.lhs, subscripts.rhs})
      if (!llvm::all_of(letters, [&](char c) { return subscripts.result.contains(c); }))
        return failure();
    for (auto side : {std::pair(subscripts.lhs, op.getLhs()), std::pair(subscripts.rhs, op.getRhs())}) {
      StringRef letters = side.first;
      SmallVector<int64_t> order(letters.size()), dims;
      std::iota(order.begin(), order.end(), 0);
      llvm::sort(order, [&](int64_t a, int64_t b) { return subscripts.result.find(letters[a]) < subscripts.result.find(letters[b]); });
      Value factor = side.second;
      if (!llvm::is_sorted(order))
        factor = rewriter.create<TransposeOp>(op.getLoc(), factor, order);
      for (int64_t dim : order)
        dims.push_back(subscripts.result.find(letters[dim]));
      factors.push_back(rewriter.createOrFold<BroadcastOp>(op.getLoc(), op.getType(), factor, dims));
    }
    rewriter.replaceOpWithNewOp<MulOp>(op, factors[0], factors[1]);
    return success();
  }
};

/// A projection (+ bias) whose result is only used in slices of one dimension that do not overlap and leave nothing out.
struct SlicedProjection {
  ContractOp contract;
  AddOp add; ///< may be null
  GetParameterOp weight, bias;
  int64_t weightDim, biasDim;
  SmallVector<SliceOp> slices;
  int64_t dim;
};

bool areTiles(ArrayRef<SliceOp> slices, int64_t dim, int64_t size) {
  SmallVector<std::pair<int64_t, int64_t>> ranges;
  for (SliceOp slice : slices) {
    for (int64_t i = 0; i < slice.getType().getRank(); ++i)
      if (slice.getSteps()[i] != 1 || (i != dim && slice.getType().getShape()[i] != tensorType(slice.getOperand()).getShape()[i]))
        return false;
    ranges.push_back({slice.getOffsets()[dim], slice.getType().getShape()[dim]});
  }
  llvm::sort(ranges);
  ranges.erase(std::unique(ranges.begin(), ranges.end()), ranges.end());
  int64_t next = 0;
  for (auto [offset, length] : ranges) {
    if (offset != next)
      return false;
    next += length;
  }
  return next == size;
}

std::optional<SlicedProjection> matchSlicedProjection(Value value) {
  SlicedProjection found{};
  auto type = tensorType(value);
  found.dim = -1;
  for (Operation *user : value.getUsers()) {
    auto slice = dyn_cast<SliceOp>(user);
    if (!slice)
      return std::nullopt;
    found.slices.push_back(slice);
    for (int64_t i = 0; i < type.getRank(); ++i)
      if (slice.getType().getShape()[i] != type.getShape()[i]) {
        if (found.dim >= 0 && found.dim != i)
          return std::nullopt;
        found.dim = i;
      }
  }
  if (found.dim < 0 || found.slices.size() < 2 || !areTiles(found.slices, found.dim, type.getShape()[found.dim]))
    return std::nullopt;
  // Equal pieces are a dimension of their own, and one contraction makes them all.
  int64_t first = found.slices[0].getType().getShape()[found.dim];
  if (llvm::all_of(found.slices, [&](SliceOp s) { return s.getType().getShape()[found.dim] == first; }))
    return std::nullopt;

  Value product = value;
  if ((found.add = value.getDefiningOp<AddOp>())) {
    Value addend = found.add.getRhs();
    product = found.add.getLhs();
    if (!product.getDefiningOp<ContractOp>())
      std::swap(product, addend);
    auto broadcast = addend.getDefiningOp<BroadcastOp>();
    found.bias = broadcast ? broadcast.getOperand().getDefiningOp<GetParameterOp>() : GetParameterOp();
    if (!found.bias || !product.hasOneUse())
      return std::nullopt;
    const int64_t *place = llvm::find(broadcast.getDims(), found.dim);
    if (place == broadcast.getDims().end())
      return std::nullopt;
    found.biasDim = place - broadcast.getDims().begin();
  }
  found.contract = product.getDefiningOp<ContractOp>();
  found.weight = found.contract ? found.contract.getRhs().getDefiningOp<GetParameterOp>() : GetParameterOp();
  if (!found.weight)
    return std::nullopt;
  ContractOp::Subscripts subscripts = found.contract.getParsedSubscripts();
  size_t place = subscripts.rhs.find(subscripts.result[found.dim]);
  if (place == StringRef::npos || subscripts.lhs.contains(subscripts.result[found.dim]))
    return std::nullopt;
  found.weightDim = place;
  return found;
}

class SplitParameters {
public:
  explicit SplitParameters(ModuleOp module) : module(module), symbols(module) {
    module.walk([&](Operation *op) {
      if (auto uses = op->getAttrDictionary())
        uses.walk([&](SymbolRefAttr name) { ++useCount[name.getRootReference()]; });
    });
  }

  void run() {
    SmallVector<Value> candidates;
    module.walk([&](Operation *op) {
      if (isa<AddOp, ContractOp>(op))
        candidates.push_back(op->getResult(0));
    });
    for (Value value : candidates)
      if (std::optional<SlicedProjection> found = matchSlicedProjection(value))
        split(*found);
  }

private:
  /// A parameter that is a part of another one.
  ParameterOp part(ParameterOp whole, int64_t dim, int64_t offset, int64_t length) {
    OpBuilder builder(whole);
    auto made = cast<ParameterOp>(builder.clone(*whole));
    auto type = cast<RankedTensorType>(whole.getType());
    SmallVector<int64_t> shape(type.getShape()), strides(whole.getView().getStrides());
    shape[dim] = length;
    int64_t start = whole.getView().getOffset() + offset * strides[dim];
    if (length == 1) {
      shape.erase(shape.begin() + dim);
      strides.erase(strides.begin() + dim);
    }
    made.setType(type.clone(shape));
    made.setViewAttr(StridedLayoutAttr::get(whole.getContext(), start, strides));
    made.setSymName((whole.getSymName() + "_" + Twine(offset)).str());
    symbols.insert(made, Block::iterator(whole));
    return made;
  }

  void split(SlicedProjection &found) {
    auto weight = symbols.lookup<ParameterOp>(found.weight.getParameter());
    auto bias = found.bias ? symbols.lookup<ParameterOp>(found.bias.getParameter()) : ParameterOp();
    // Somebody else needs them whole.
    if (!found.weight->hasOneUse() || useCount[weight.getSymNameAttr()] != 1 ||
        (bias && (!found.bias->hasOneUse() || useCount[bias.getSymNameAttr()] != 1)))
      return;
    ContractOp::Subscripts subscripts = found.contract.getParsedSubscripts();
    char letter = subscripts.result[found.dim];
    std::map<int64_t, std::pair<ParameterOp, ParameterOp>> parts; // by offset; two slices may read one part
    for (SliceOp slice : found.slices) {
      OpBuilder builder(slice);
      int64_t offset = slice.getOffsets()[found.dim], length = slice.getType().getShape()[found.dim];
      auto [entry, isNew] = parts.try_emplace(offset);
      if (isNew)
        entry->second = {part(weight, found.weightDim, offset, length),
                         bias ? part(bias, found.biasDim, offset, length) : ParameterOp()};
      auto get = [&](ParameterOp piece) -> Value {
        return builder.create<GetParameterOp>(slice.getLoc(), cast<RankedTensorType>(piece.getType()), piece.getSymName());
      };
      // A piece of size one has no such loop.
      auto without = [&](StringRef letters) {
        std::string kept = letters.str();
        if (length == 1)
          llvm::erase(kept, letter);
        return kept;
      };
      Value result = builder.create<ContractOp>(found.contract.getLoc(), found.contract.getLhs(), get(entry->second.first),
                                                joinSubscripts(subscripts.lhs, without(subscripts.rhs), without(subscripts.result)));
      if (bias) {
        auto broadcast = cast<BroadcastOp>((found.add.getLhs() == found.contract ? found.add.getRhs() : found.add.getLhs()).getDefiningOp());
        SmallVector<int64_t> dims;
        for (int64_t dim : broadcast.getDims())
          if (length != 1 || dim != found.dim)
            dims.push_back(length == 1 && dim > found.dim ? dim - 1 : dim);
        Value repeated = builder.create<BroadcastOp>(broadcast.getLoc(), tensorType(result), get(entry->second.second), dims);
        result = builder.create<AddOp>(found.add.getLoc(), result, repeated);
      }
      if (result.getType() != slice.getType())
        result = builder.create<ReshapeOp>(slice.getLoc(), slice.getType(), result);
      slice.replaceAllUsesWith(result);
    }
    for (SliceOp slice : found.slices)
      slice.erase();
    if (found.add)
      found.add.erase();
    found.contract.erase();
    found.weight.erase();
    symbols.erase(weight);
    if (bias) {
      // Nobody but the erased sum read the repeated bias.
      for (Operation *user : llvm::make_early_inc_range(found.bias->getUsers()))
        user->erase();
      found.bias.erase();
      symbols.erase(bias);
    }
  }

  ModuleOp module;
  SymbolTable symbols;
  DenseMap<StringAttr, int> useCount;
};

struct NNFoldProjections : galvatron::impl::NNFoldProjectionsBase<NNFoldProjections> {
  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    patterns.add<AbsorbOperand, ProductOfOuter>(&getContext());
    if (failed(applyPatternsAndFoldGreedily(getOperation(), std::move(patterns))))
      return signalPassFailure();
    SplitParameters(getOperation()).run();
  }
};

} // namespace
