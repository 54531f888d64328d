//===- RefineDimensions.cpp - Values get the shapes of their factors ------===//
//
// Values get the shapes that DimensionFactors found, and reshapes that only split, merged or
// added dimensions of size one are gone. An op that cannot work on the new shapes keeps the old
// ones, between reshapes.
//
//===----------------------------------------------------------------------===//

#include "DimensionFactors.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/IRMapping.h"
#include "llvm/ADT/TypeSwitch.h"

#include <array>
#include <numeric>

using namespace mlir;
using namespace galvatron;
using namespace galvatron::nn;

namespace {

class Refinement {
public:
  Refinement(ModuleOp module, bool unitsOnly) : module(module), factors(module, unitsOnly), builder(module.getContext()) {}

  void run() {
    refineParameters();
    module.walk([&](func::FuncOp function) {
      if (!function.isExternal())
        refineBody(function.getBody());
    });
    for (Operation *op : llvm::reverse(dead))
      op->erase();
  }

private:
  /// The value in its refined shape.
  Value refined(Value value) {
    auto found = values.find(value);
    return found == values.end() ? value : found->second;
  }

  /// The value in the shape that it had.
  Value original(Value value) {
    auto [entry, isNew] = originals.try_emplace(value);
    if (isNew)
      entry->second = reshape(refined(value), tensorType(value));
    return entry->second;
  }

  Value reshape(Value value, RankedTensorType type) {
    if (value.getType() == type)
      return value;
    return builder.create<ReshapeOp>(value.getLoc(), type, value);
  }

  void refineParameters();
  void refineBody(Region &body);
  void keep(Operation *op);
  bool rebuild(Operation *op);

  Operation *clone(Operation *op);
  bool replaceBy(Operation *op, Value value);
  std::optional<int64_t> single(Value value, int64_t dim);
  SmallVector<int64_t> places(Value value, ArrayRef<int64_t> dims);
  bool rebuildSlice(SliceOp op);
  bool rebuildConcat(ConcatOp op);
  bool rebuildPad(PadOp op);
  bool rebuildContract(ContractOp op);

  ModuleOp module;
  DimensionFactors factors;
  OpBuilder builder;
  DenseMap<Value, Value> values, originals;
  SmallVector<Operation *> dead;
};

} // namespace

/// A parameter's refined dimensions are a view with more strides of the same saved tensor.
void Refinement::refineParameters() {
  SymbolTable symbols(module);
  module.walk([&](GetParameterOp get) {
    auto parameter = symbols.lookup<ParameterOp>(get.getParameter());
    auto type = factors.refined(get.getResult());
    if (parameter.getType() == type)
      return;
    SmallVector<int64_t> strides;
    for (auto [dim, stride] : llvm::enumerate(parameter.getView().getStrides())) {
      SmallVector<int64_t> sizes = factors.factors(get.getResult(), dim);
      int64_t inner = stride * std::accumulate(sizes.begin(), sizes.end(), int64_t(1), std::multiplies<>());
      for (int64_t size : sizes)
        strides.push_back(inner /= size);
    }
    parameter.setType(type);
    parameter.setViewAttr(StridedLayoutAttr::get(module.getContext(), parameter.getView().getOffset(), strides));
  });
}

void Refinement::refineBody(Region &body) {
  for (Block &block : body) {
    // Ops that this makes are not looked at again.
    SmallVector<Operation *> ops;
    for (Operation &op : block)
      ops.push_back(&op);
    builder.setInsertionPointToStart(&block);
    for (BlockArgument argument : block.getArguments())
      if (isa<RankedTensorType>(argument.getType()))
        values[argument] = reshape(argument, factors.refined(argument));
    for (Operation *op : ops) {
      builder.setInsertionPoint(op);
      if (!rebuild(op))
        keep(op);
    }
  }
}

/// Leaves the op on the shapes that it had.
void Refinement::keep(Operation *op) {
  for (OpOperand &operand : op->getOpOperands())
    if (isa<RankedTensorType>(operand.get().getType()))
      operand.set(original(operand.get()));
  builder.setInsertionPointAfter(op);
  for (Value result : op->getResults())
    if (isa<RankedTensorType>(result.getType())) {
      originals[result] = result;
      values[result] = reshape(result, factors.refined(result));
    }
}

/// A copy of `op` on refined operands, with refined results.
Operation *Refinement::clone(Operation *op) {
  IRMapping mapping;
  for (Value operand : op->getOperands())
    mapping.map(operand, refined(operand));
  Operation *copy = builder.clone(*op, mapping);
  for (auto [from, to] : llvm::zip(op->getResults(), copy->getResults())) {
    to.setType(factors.refined(from));
    values[from] = to;
  }
  dead.push_back(op);
  return copy;
}

bool Refinement::replaceBy(Operation *op, Value value) {
  values[op->getResult(0)] = reshape(value, factors.refined(op->getResult(0)));
  dead.push_back(op);
  return true;
}

/// Where dimension `dim` went, if it is still one dimension.
std::optional<int64_t> Refinement::single(Value value, int64_t dim) {
  SmallVector<int64_t> starts = factors.starts(value);
  if (starts[dim + 1] != starts[dim] + 1)
    return std::nullopt;
  return starts[dim];
}

/// Where the dimensions `dims` went, in their order.
SmallVector<int64_t> Refinement::places(Value value, ArrayRef<int64_t> dims) {
  SmallVector<int64_t> starts = factors.starts(value), result;
  for (int64_t dim : dims)
    for (int64_t i = starts[dim]; i < starts[dim + 1]; ++i)
      result.push_back(i);
  return result;
}

bool Refinement::rebuild(Operation *op) {
  if (op->getNumResults() == 0)
    return false;
  auto isSame = [&](Value value) {
    return !isa<RankedTensorType>(value.getType()) || factors.refined(value) == value.getType();
  };
  if (llvm::all_of(op->getOperands(), isSame) && llvm::all_of(op->getResults(), isSame))
    return false;
  auto alongDim = [&](auto typed) {
    std::optional<int64_t> dim = single(typed.getResult(), typed.getDim());
    if (!dim)
      return false;
    cast<decltype(typed)>(clone(typed)).setDim(*dim);
    return true;
  };
  if (op->hasTrait<OpTrait::Elementwise>())
    return clone(op), true;
  return TypeSwitch<Operation *, bool>(op)
      .Case([&](ReshapeOp reshape) { return replaceBy(reshape, refined(reshape.getOperand())); })
      .Case([&](GetParameterOp get) { return clone(get); })
      .Case([&](ConstantOp constant) {
        auto dense = dyn_cast<DenseElementsAttr>(constant.getValue());
        if (!dense)
          return false;
        auto type = factors.refined(constant.getResult());
        Value value = builder.create<ConstantOp>(constant.getLoc(), dense.isSplat() ? dense.resizeSplat(type) : dense.reshape(type));
        return replaceBy(constant, value);
      })
      .Case<IotaOp, SoftmaxOp, LogSoftmaxOp, CumsumOp>([&](auto typed) { return alongDim(typed); })
      .Case([&](ReduceOp reduce) {
        SmallVector<int64_t> dims = places(reduce.getOperand(), reduce.getDims());
        cast<ReduceOp>(clone(reduce)).setDims(dims);
        return true;
      })
      .Case([&](BroadcastOp broadcast) {
        SmallVector<int64_t> dims = places(broadcast.getResult(), broadcast.getDims());
        cast<BroadcastOp>(clone(broadcast)).setDims(dims);
        return true;
      })
      .Case([&](TransposeOp transpose) {
        SmallVector<int64_t> permutation = places(transpose.getOperand(), transpose.getPermutation());
        cast<TransposeOp>(clone(transpose)).setPermutation(permutation);
        return true;
      })
      .Case([&](SliceOp slice) { return rebuildSlice(slice); })
      .Case([&](ConcatOp concat) { return rebuildConcat(concat); })
      .Case([&](PadOp pad) { return rebuildPad(pad); })
      .Case([&](ContractOp contract) { return rebuildContract(contract); })
      .Case([&](EmbeddingOp embedding) {
        // A table of one row has lost its row dimension.
        return single(embedding.getTable(), 0) && clone(embedding);
      })
      .Case([&](TakeAlongOp take) {
        std::optional<int64_t> dim = single(take.getResult(), take.getDim());
        if (!dim || !single(take.getOperand(), take.getDim()))
          return false;
        cast<TakeAlongOp>(clone(take)).setDim(*dim);
        return true;
      })
      .Case<LayerNormOp, RmsNormOp>(
          [&](auto norm) { return factors.refined(norm.getScale()).getRank() > 0 && clone(norm); })
      .Case([&](RotaryOp rotary) {
        int64_t tableRank = tensorType(rotary.getCos()).getRank();
        std::optional<int64_t> dim = single(rotary.getInput(), rotary.getSeqDim());
        bool fits = dim && single(rotary.getInput(), rotary.getType().getRank() - 1) &&
                    factors.refined(rotary.getCos()).getRank() == tableRank &&
                    (tableRank == 2 || single(rotary.getInput(), 0));
        if (fits)
          cast<RotaryOp>(clone(rotary)).setSeqDim(*dim);
        return fits;
      })
      .Default([](Operation *) { return false; });
}

/// A range of a split dimension is a box of its factors if it is one index of the outer ones, a range of one,
/// and everything of the inner ones.
bool Refinement::rebuildSlice(SliceOp op) {
  SmallVector<int64_t> offsets, steps, shape;
  for (int64_t dim = 0, e = op.getType().getRank(); dim < e; ++dim) {
    SmallVector<int64_t> sizes = factors.factors(op.getOperand(), dim);
    int64_t offset = op.getOffsets()[dim], length = op.getType().getShape()[dim];
    if (op.getSteps()[dim] != 1) {
      if (sizes.size() > 1)
        return false;
      if (sizes.empty())
        continue;
      offsets.push_back(offset);
      steps.push_back(op.getSteps()[dim]);
      shape.push_back(length);
      continue;
    }
    int64_t inner = tensorType(op.getOperand()).getShape()[dim];
    for (int64_t size : sizes) {
      int64_t outer = inner;
      inner /= size;
      int64_t first = offset % outer;
      if (length == outer && first == 0) { // all of this and what is inside
        offsets.push_back(0);
        shape.push_back(size);
        length = inner;
      } else if (length <= inner && first % inner + length <= inner) { // inside one index
        offsets.push_back(first / inner);
        shape.push_back(1);
      } else if (length % inner == 0 && first % inner == 0 && first + length <= outer) {
        offsets.push_back(first / inner);
        shape.push_back(length / inner);
        length = inner;
        offset = 0;
      } else {
        return false;
      }
      steps.push_back(1);
    }
  }
  auto type = RankedTensorType::get(shape, op.getType().getElementType());
  return replaceBy(op, builder.create<SliceOp>(op.getLoc(), type, refined(op.getOperand()), offsets, steps));
}

/// Pieces are joined along one dimension; inner factors that all pieces and the result share stay.
bool Refinement::rebuildConcat(ConcatOp op) {
  int64_t dim = op.getDim(), common = 0;
  for (Value input : op.getInputs())
    common = std::gcd(common, tensorType(input).getShape()[dim]);
  SmallVector<int64_t> whole = factors.factors(op.getResult(), dim), inner;
  auto innerOf = [](ArrayRef<int64_t> sizes, ArrayRef<int64_t> inner) {
    return sizes.size() >= inner.size() && sizes.take_back(inner.size()) == inner;
  };
  int64_t product = 1;
  for (int64_t size : llvm::reverse(whole)) {
    product *= size;
    inner.insert(inner.begin(), size);
    bool shared = common % product == 0 &&
                  llvm::all_of(op.getInputs(), [&](Value input) { return innerOf(factors.factors(input, dim), inner); });
    if (!shared) {
      product /= size;
      inner.erase(inner.begin());
      break;
    }
  }
  SmallVector<Value> pieces;
  int64_t place = factors.starts(op.getResult())[dim];
  for (Value input : op.getInputs()) {
    SmallVector<int64_t> shape, starts = factors.starts(input);
    auto refinedType = factors.refined(input);
    ArrayRef<int64_t> full = refinedType.getShape();
    shape.append(full.begin(), full.begin() + place);
    shape.push_back(tensorType(input).getShape()[dim] / product);
    shape.append(inner.begin(), inner.end());
    shape.append(full.begin() + starts[dim + 1], full.end());
    pieces.push_back(reshape(refined(input), refinedType.clone(shape)));
  }
  return replaceBy(op, builder.create<ConcatOp>(op.getLoc(), pieces, place));
}

bool Refinement::rebuildPad(PadOp op) {
  SmallVector<int64_t> low, steps;
  for (int64_t dim = 0, e = op.getType().getRank(); dim < e; ++dim) {
    SmallVector<int64_t> from = factors.factors(op.getOperand(), dim), to = factors.factors(op.getResult(), dim);
    bool same = tensorType(op.getOperand()).getShape()[dim] == op.getType().getShape()[dim];
    if (!same && (from.size() != 1 || to.size() != 1))
      return false;
    for (size_t i = 0; i < to.size(); ++i) {
      low.push_back(same ? 0 : op.getLow()[dim]);
      steps.push_back(same ? 1 : op.getSteps()[dim]);
    }
    if (same && op.getSteps()[dim] == -1 && !to.empty())
      return false;
  }
  auto copy = cast<PadOp>(clone(op));
  copy.setLow(low);
  copy.setSteps(steps);
  return true;
}

bool Refinement::rebuildContract(ContractOp op) {
  ContractOp::Subscripts subscripts = op.getParsedSubscripts();
  std::array<std::string, 256> renamed;
  std::array<bool, 256> known{};
  StringRef names = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
  size_t next = 0;
  std::string text;
  auto append = [&](StringRef letters, Value value) {
    for (auto [dim, letter] : llvm::enumerate(letters)) {
      auto index = static_cast<unsigned char>(letter);
      if (!known[index]) {
        size_t count = factors.factors(value, dim).size();
        if (next + count > names.size())
          return false;
        renamed[index] = names.substr(next, count).str();
        next += count;
        known[index] = true;
      }
      text += renamed[index];
    }
    return true;
  };
  bool fits = append(subscripts.lhs, op.getLhs());
  text += ",";
  fits = fits && append(subscripts.rhs, op.getRhs());
  text += "->";
  fits = fits && append(subscripts.result, op.getResult());
  if (fits)
    cast<ContractOp>(clone(op)).setSubscripts(text);
  return fits;
}

void galvatron::refineDimensions(ModuleOp module, bool unitsOnly) { Refinement(module, unitsOnly).run(); }
