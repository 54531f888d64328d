//===- NNShape.cpp - Shapes: inference, verifiers, folds ------------------===//

#include "dialects/NN/NN.h"

#include <cmath>

using namespace mlir;
using namespace galvatron::nn;

static RankedTensorType typeOf(Value value) { return tensorType(value); }

/// C1 of ops with one `dim` attribute.
static LogicalResult verifyDim(Operation *op, int64_t dim, int64_t rank) {
  if (dim < 0 || dim >= rank)
    return op->emitOpError("names dimension ") << dim << " of a tensor of rank " << rank;
  return success();
}

//===----------------------------------------------------------------------===//
// Reductions
//===----------------------------------------------------------------------===//

LogicalResult ReduceOp::inferReturnTypes(MLIRContext *, std::optional<Location> loc, Adaptor adaptor,
                                         SmallVectorImpl<Type> &types) {
  auto type = cast<RankedTensorType>(adaptor.getOperand().getType());
  ArrayRef<int64_t> dims = adaptor.getDims();
  SmallVector<int64_t> shape;
  for (auto [i, dim] : llvm::enumerate(dims))
    if (dim < 0 || dim >= type.getRank() || (i && dim <= dims[i - 1])) // C1
      return emitOptionalError(loc, "'nn.reduce' op names dimension ", dim, " of a tensor of rank ", type.getRank(),
                               "; dimensions ascend and are inside the rank");
  for (auto [i, size] : llvm::enumerate(type.getShape()))
    if (!llvm::is_contained(dims, int64_t(i)))
      shape.push_back(size);
  types.push_back(RankedTensorType::get(shape, type.getElementType()));
  return success();
}

OpFoldResult ReduceOp::fold(FoldAdaptor adaptor) {
  if (getDims().empty())
    return getOperand();
  std::optional<double> x = getSplat(adaptor.getOperand());
  if (!x)
    return {};
  double count = 1;
  for (int64_t dim : getDims())
    count *= typeOf(getOperand()).getShape()[dim];
  double value = *x;
  switch (getKind()) {
  case ReduceKind::Sum:
    value *= count;
    break;
  case ReduceKind::Prod:
    value = std::pow(value, count);
    break;
  case ReduceKind::Max:
  case ReduceKind::Min:
    if (count == 0)
      return {};
    break;
  }
  Type element = getType().getElementType();
  if (isa<FloatType>(element))
    return DenseElementsAttr::get(getType(), FloatAttr::get(element, static_cast<float>(value)));
  if (!(std::fabs(value) < 9.0e15))
    return {};
  return DenseElementsAttr::get(getType(), IntegerAttr::get(element, static_cast<int64_t>(value)));
}

LogicalResult CumsumOp::verify() { return verifyDim(*this, getDim(), getType().getRank()); }
LogicalResult SoftmaxOp::verify() { return verifyDim(*this, getDim(), getType().getRank()); }
LogicalResult LogSoftmaxOp::verify() { return verifyDim(*this, getDim(), getType().getRank()); }

//===----------------------------------------------------------------------===//
// Moves
//===----------------------------------------------------------------------===//

/// Element type of operand and result agree.
static LogicalResult verifySameElement(Operation *op) {
  Type from = typeOf(op->getOperand(0)).getElementType(), to = typeOf(op->getResult(0)).getElementType();
  if (from != to)
    return op->emitOpError("has an operand of ") << from << " and a result of " << to;
  return success();
}

LogicalResult BroadcastOp::verify() {
  auto from = typeOf(getOperand()), to = getType();
  ArrayRef<int64_t> dims = getDims();
  if (int64_t(dims.size()) != from.getRank()) // C1
    return emitOpError("places ") << dims.size() << " dimensions of an operand of rank " << from.getRank();
  for (auto [i, dim] : llvm::enumerate(dims)) {
    if (dim < 0 || dim >= to.getRank() || (i && dim <= dims[i - 1])) // C1
      return emitOpError("places dimension ") << i << " at " << dim << ", but places ascend and are inside rank " << to.getRank();
    if (from.getShape()[i] != to.getShape()[dim]) // C1
      return emitOpError("places dimension ") << i << " of size " << from.getShape()[i] << " at " << dim << ", which has size "
                                              << to.getShape()[dim];
  }
  return verifySameElement(*this);
}

OpFoldResult BroadcastOp::fold(FoldAdaptor adaptor) {
  if (getOperand().getType() == getType())
    return getOperand();
  if (auto dense = dyn_cast_or_null<DenseElementsAttr>(adaptor.getOperand()); dense && dense.isSplat())
    return dense.resizeSplat(getType());
  return {};
}

LogicalResult BroadcastOp::canonicalize(BroadcastOp op, PatternRewriter &rewriter) {
  auto inner = op.getOperand().getDefiningOp<BroadcastOp>();
  if (!inner)
    return failure();
  SmallVector<int64_t> dims;
  for (int64_t dim : inner.getDims())
    dims.push_back(op.getDims()[dim]);
  rewriter.replaceOpWithNewOp<BroadcastOp>(op, op.getType(), inner.getOperand(), dims);
  return success();
}

LogicalResult ReshapeOp::verify() {
  if (typeOf(getOperand()).getNumElements() != getType().getNumElements()) // C1
    return emitOpError("makes ") << getType().getNumElements() << " elements of " << typeOf(getOperand()).getNumElements();
  return verifySameElement(*this);
}

OpFoldResult ReshapeOp::fold(FoldAdaptor adaptor) {
  if (getOperand().getType() == getType())
    return getOperand();
  if (auto dense = dyn_cast_or_null<DenseElementsAttr>(adaptor.getOperand()))
    return dense.reshape(getType());
  if (auto inner = getOperand().getDefiningOp<ReshapeOp>()) {
    setOperand(inner.getOperand());
    return getResult();
  }
  return {};
}

LogicalResult TransposeOp::inferReturnTypes(MLIRContext *, std::optional<Location> loc, Adaptor adaptor,
                                            SmallVectorImpl<Type> &types) {
  auto type = cast<RankedTensorType>(adaptor.getOperand().getType());
  ArrayRef<int64_t> permutation = adaptor.getPermutation();
  SmallVector<bool> seen(type.getRank(), false);
  SmallVector<int64_t> shape;
  if (int64_t(permutation.size()) != type.getRank()) // C1
    return emitOptionalError(loc, "'nn.transpose' op permutes ", permutation.size(), " dimensions of a tensor of rank ", type.getRank());
  for (int64_t dim : permutation) {
    if (dim < 0 || dim >= type.getRank() || seen[dim]) // C1
      return emitOptionalError(loc, "'nn.transpose' op has no permutation of ", type.getRank(), " dimensions");
    seen[dim] = true;
    shape.push_back(type.getShape()[dim]);
  }
  types.push_back(RankedTensorType::get(shape, type.getElementType()));
  return success();
}

OpFoldResult TransposeOp::fold(FoldAdaptor adaptor) {
  ArrayRef<int64_t> permutation = getPermutation();
  if (llvm::all_of(llvm::enumerate(permutation), [](auto p) { return int64_t(p.index()) == p.value(); }))
    return getOperand();
  if (auto dense = dyn_cast_or_null<DenseElementsAttr>(adaptor.getOperand()); dense && dense.isSplat())
    return dense.resizeSplat(getType());
  if (auto inner = getOperand().getDefiningOp<TransposeOp>()) {
    SmallVector<int64_t> composed;
    for (int64_t dim : permutation)
      composed.push_back(inner.getPermutation()[dim]);
    setOperand(inner.getOperand());
    setPermutation(composed);
    return getResult();
  }
  return {};
}

LogicalResult SliceOp::verify() {
  auto from = typeOf(getOperand()), to = getType();
  if (from.getRank() != to.getRank() || int64_t(getOffsets().size()) != to.getRank() || int64_t(getSteps().size()) != to.getRank()) // C1
    return emitOpError("has ranks ") << from.getRank() << " and " << to.getRank() << " with " << getOffsets().size()
                                     << " offsets and " << getSteps().size() << " steps";
  for (int64_t i = 0; i < to.getRank(); ++i) {
    int64_t first = getOffsets()[i], step = getSteps()[i], size = to.getShape()[i];
    int64_t last = first + (size - 1) * step;
    if (step == 0 || (size > 0 && (std::min(first, last) < 0 || std::max(first, last) >= from.getShape()[i]))) // C1
      return emitOpError("takes elements ") << first << " to " << last << " in steps of " << step << " of dimension " << i
                                            << ", which has size " << from.getShape()[i];
  }
  return verifySameElement(*this);
}

OpFoldResult SliceOp::fold(FoldAdaptor adaptor) {
  if (getOperand().getType() == getType() && llvm::all_of(getSteps(), [](int64_t s) { return s == 1; }))
    return getOperand();
  if (auto dense = dyn_cast_or_null<DenseElementsAttr>(adaptor.getOperand()); dense && dense.isSplat())
    return dense.resizeSplat(getType());
  return {};
}

LogicalResult PadOp::verify() {
  auto from = typeOf(getOperand()), to = getType();
  if (from.getRank() != to.getRank() || int64_t(getLow().size()) != to.getRank() || int64_t(getSteps().size()) != to.getRank()) // C1
    return emitOpError("has ranks ") << from.getRank() << " and " << to.getRank() << " with " << getLow().size() << " offsets and "
                                     << getSteps().size() << " steps";
  for (int64_t i = 0; i < to.getRank(); ++i) {
    int64_t first = getLow()[i], step = getSteps()[i], size = from.getShape()[i];
    int64_t last = first + (size - 1) * step;
    if (step == 0 || (size > 0 && (std::min(first, last) < 0 || std::max(first, last) >= to.getShape()[i]))) // C1
      return emitOpError("puts elements at ") << first << " to " << last << " of dimension " << i << ", which has size " << to.getShape()[i];
  }
  return verifySameElement(*this);
}

LogicalResult ConcatOp::inferReturnTypes(MLIRContext *, std::optional<Location> loc, Adaptor adaptor,
                                         SmallVectorImpl<Type> &types) {
  if (adaptor.getInputs().empty()) // C1
    return emitOptionalError(loc, "'nn.concat' op joins nothing");
  auto first = cast<RankedTensorType>(adaptor.getInputs().front().getType());
  int64_t dim = adaptor.getDim();
  if (dim < 0 || dim >= first.getRank()) // C1
    return emitOptionalError(loc, "'nn.concat' op names dimension ", dim, " of tensors of rank ", first.getRank());
  SmallVector<int64_t> shape(first.getShape());
  shape[dim] = 0;
  for (Value input : adaptor.getInputs()) {
    auto type = cast<RankedTensorType>(input.getType());
    bool fits = type.getRank() == first.getRank() && type.getElementType() == first.getElementType();
    for (int64_t i = 0; fits && i < type.getRank(); ++i)
      fits = i == dim || type.getShape()[i] == first.getShape()[i];
    if (!fits) // C1
      return emitOptionalError(loc, "'nn.concat' op joins ", first, " and ", type, " along dimension ", dim);
    shape[dim] += type.getShape()[dim];
  }
  types.push_back(RankedTensorType::get(shape, first.getElementType()));
  return success();
}

OpFoldResult ConcatOp::fold(FoldAdaptor) { return getInputs().size() == 1 ? getInputs().front() : OpFoldResult(); }

//===----------------------------------------------------------------------===//
// Contractions, convolutions, tables
//===----------------------------------------------------------------------===//

FailureOr<ContractOp::Subscripts> ContractOp::parseSubscripts(StringRef text) {
  auto [operands, result] = text.split("->");
  auto [lhs, rhs] = operands.split(",");
  Subscripts subscripts{lhs, rhs, result};
  auto allLetters = [](StringRef part) { return llvm::all_of(part, [](char c) { return llvm::isAlpha(c); }); };
  if (!text.contains("->") || !operands.contains(",") || !allLetters(lhs) || !allLetters(rhs) || !allLetters(result))
    return failure();
  return subscripts;
}

ContractOp::Subscripts ContractOp::getParsedSubscripts() { return *parseSubscripts(getSubscripts()); }

LogicalResult ContractOp::inferReturnTypes(MLIRContext *, std::optional<Location> loc, Adaptor adaptor,
                                           SmallVectorImpl<Type> &types) {
  FailureOr<Subscripts> subscripts = parseSubscripts(adaptor.getSubscripts());
  if (failed(subscripts))
    return emitOptionalError(loc, "'nn.contract' op has subscripts \"", adaptor.getSubscripts(), "\", not of the form \"ab,bc->ac\"");
  auto lhs = cast<RankedTensorType>(adaptor.getLhs().getType()), rhs = cast<RankedTensorType>(adaptor.getRhs().getType());
  if (int64_t(subscripts->lhs.size()) != lhs.getRank() || int64_t(subscripts->rhs.size()) != rhs.getRank())
    return emitOptionalError(loc, "'nn.contract' op has subscripts \"", adaptor.getSubscripts(), "\" for operands of rank ",
                             lhs.getRank(), " and ", rhs.getRank());
  std::array<int, 256> uses{};
  for (StringRef letters : {subscripts->lhs, subscripts->rhs, subscripts->result}) {
    std::array<bool, 256> seen{};
    for (unsigned char letter : letters) {
      if (seen[letter]) // C1
        return emitOptionalError(loc, "'nn.contract' op has the loop ", std::string(1, letter), " twice in one tensor");
      seen[letter] = true;
      ++uses[letter];
    }
  }
  std::array<int64_t, 256> sizes;
  sizes.fill(-1);
  for (auto [letters, type] : {std::pair(subscripts->lhs, lhs), std::pair(subscripts->rhs, rhs)})
    for (auto [letter, size] : llvm::zip(letters, type.getShape())) {
      int64_t &known = sizes[static_cast<unsigned char>(letter)];
      if (known >= 0 && known != size) // C3
        return emitOptionalError(loc, "'nn.contract' op has sizes ", known, " and ", size, " for the loop ", std::string(1, letter));
      known = size;
    }
  SmallVector<int64_t> shape;
  for (char letter : subscripts->result) {
    if (sizes[static_cast<unsigned char>(letter)] < 0) // C2
      return emitOptionalError(loc, "'nn.contract' op has a result loop ", std::string(1, letter), " that no operand has");
    shape.push_back(sizes[static_cast<unsigned char>(letter)]);
  }
  for (int letter = 0; letter < 256; ++letter)
    if (uses[letter] == 1) // C2
      return emitOptionalError(loc, "'nn.contract' op has the loop ", std::string(1, char(letter)), " in only one tensor");
  types.push_back(RankedTensorType::get(shape, lhs.getElementType()));
  return success();
}

/// The type of a convolution's result. `op` is the one whose attributes say how it is made: it, or a gradient of it.
template <typename Op>
static FailureOr<RankedTensorType> inferConv(std::optional<Location> loc, Op op, StringRef name, Value in, Value filter) {
  auto input = typeOf(in), weight = typeOf(filter);
  int64_t spatial = input.getRank() - 2, groups = op.getGroups();
  auto has = [&](ArrayRef<int64_t> values, int64_t least) {
    return int64_t(values.size()) == spatial && llvm::all_of(values, [&](int64_t v) { return v >= least; });
  };
  if (spatial < 1 || spatial > 3 || weight.getRank() != input.getRank() || !has(op.getStrides(), 1) ||
      !has(op.getDilations(), 1) || !has(op.getPadsBegin(), 0) || !has(op.getPadsEnd(), 0)) // C1
    return emitOptionalError(loc, "'", name, "' op has an input of rank ", input.getRank(), " and a weight of rank ", weight.getRank(),
                             "; it needs one to three spatial dimensions with one stride, pad and dilation each");
  if (groups < 1 || input.getShape()[1] != weight.getShape()[1] * groups || weight.getShape()[0] % groups) // C2
    return emitOptionalError(loc, "'", name, "' op has ", input.getShape()[1], " input channels and a weight of ", weight, " in ", groups,
                             " groups");
  SmallVector<int64_t> shape{input.getShape()[0], weight.getShape()[0]};
  for (int64_t i = 0; i < spatial; ++i) {
    int64_t padded = input.getShape()[i + 2] + op.getPadsBegin()[i] + op.getPadsEnd()[i];
    int64_t kernel = (weight.getShape()[i + 2] - 1) * op.getDilations()[i] + 1;
    if (padded < kernel) // C3
      return emitOptionalError(loc, "'", name, "' op has a padded input of size ", padded, " under a kernel of size ", kernel);
    shape.push_back((padded - kernel) / op.getStrides()[i] + 1);
  }
  return RankedTensorType::get(shape, input.getElementType());
}

LogicalResult ConvOp::inferReturnTypes(MLIRContext *, std::optional<Location> loc, Adaptor adaptor,
                                       SmallVectorImpl<Type> &types) {
  FailureOr<RankedTensorType> result = inferConv(loc, adaptor, getOperationName(), adaptor.getInput(), adaptor.getWeight());
  if (failed(result))
    return failure();
  types.push_back(*result);
  return success();
}

template <typename Op> static LogicalResult verifyConvGrad(Op op, Value input, Value weight) {
  FailureOr<RankedTensorType> result = inferConv(op.getLoc(), op, op->getName().getStringRef(), input, weight);
  if (failed(result))
    return failure();
  if (op.getGradient().getType() != *result) // C1
    return op.emitOpError("has a gradient of type ") << op.getGradient().getType() << " for a convolution that makes " << *result;
  return success();
}

LogicalResult ConvInputGradOp::verify() { return verifyConvGrad(*this, getResult(), getWeight()); }
LogicalResult ConvWeightGradOp::verify() { return verifyConvGrad(*this, getInput(), getResult()); }

/// Rows have one number each.
static LogicalResult checkRows(std::optional<Location> loc, StringRef op, RankedTensorType table, Value rows) {
  if (rows && typeOf(rows).getShape() != table.getShape().take_front()) // C1
    return emitOptionalError(loc, "'", op, "' op has rows of type ", rows.getType(), " for a table of type ", table);
  return success();
}

LogicalResult EmbeddingOp::inferReturnTypes(MLIRContext *, std::optional<Location> loc, Adaptor adaptor,
                                            SmallVectorImpl<Type> &types) {
  auto table = cast<RankedTensorType>(adaptor.getTable().getType()), ids = cast<RankedTensorType>(adaptor.getIds().getType());
  if (table.getRank() == 0)
    return emitOptionalError(loc, "'nn.embedding' op has a table without rows");
  if (failed(checkRows(loc, "nn.embedding", table, adaptor.getRows())))
    return failure();
  SmallVector<int64_t> shape(ids.getShape());
  llvm::append_range(shape, table.getShape().drop_front());
  types.push_back(RankedTensorType::get(shape, table.getElementType()));
  return success();
}

namespace {
/// embedding(table, iota) is a slice of the table, and so is a lookup of one repeated constant, broadcast.
struct EmbeddingOfIota : OpRewritePattern<EmbeddingOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(EmbeddingOp op, PatternRewriter &rewriter) const override {
    if (op.getRows())
      return failure();
    auto ids = typeOf(op.getIds()), table = typeOf(op.getTable());
    auto sliceRows = [&](int64_t first, int64_t count) -> Value {
      SmallVector<int64_t> shape(table.getShape()), offsets(table.getRank(), 0), steps(table.getRank(), 1);
      shape[0] = count;
      offsets[0] = first;
      return rewriter.create<SliceOp>(op.getLoc(), table.clone(shape), op.getTable(), offsets, steps);
    };
    if (op.getIds().getDefiningOp<IotaOp>() && ids.getRank() == 1 && ids.getShape()[0] <= table.getShape()[0]) {
      rewriter.replaceOp(op, sliceRows(0, ids.getShape()[0]));
      return success();
    }
    if (auto broadcast = op.getIds().getDefiningOp<BroadcastOp>()) {
      // Look up once, repeat the rows.
      Value rows = rewriter.create<EmbeddingOp>(op.getLoc(), op.getTable(), broadcast.getOperand(), Value());
      SmallVector<int64_t> dims(broadcast.getDims());
      for (int64_t i = 1; i < table.getRank(); ++i)
        dims.push_back(ids.getRank() + i - 1);
      rewriter.replaceOpWithNewOp<BroadcastOp>(op, op.getType(), rows, dims);
      return success();
    }
    std::optional<double> id = getSplat(op.getIds());
    if (!id || *id < 0 || *id >= table.getShape()[0])
      return failure();
    Value row = sliceRows(static_cast<int64_t>(*id), 1);
    row = rewriter.create<ReshapeOp>(op.getLoc(), table.clone(table.getShape().drop_front()), row);
    SmallVector<int64_t> dims;
    for (int64_t i = 1; i < table.getRank(); ++i)
      dims.push_back(ids.getRank() + i - 1);
    rewriter.replaceOpWithNewOp<BroadcastOp>(op, op.getType(), row, dims);
    return success();
  }
};
} // namespace

void EmbeddingOp::getCanonicalizationPatterns(RewritePatternSet &patterns, MLIRContext *context) {
  patterns.add<EmbeddingOfIota>(context);
}

LogicalResult EmbeddingGradOp::verify() {
  auto ids = typeOf(getIds()), gradient = typeOf(getGradient()), table = getType();
  SmallVector<int64_t> wanted(ids.getShape());
  if (table.getRank() > 0)
    llvm::append_range(wanted, table.getShape().drop_front());
  if (table.getRank() == 0 || ArrayRef(wanted) != gradient.getShape())
    return emitOpError("has ids of type ") << ids << " and a gradient of type " << gradient << " for a table of type " << table;
  return checkRows(getLoc(), "nn.embedding_grad", table, getRows());
}

LogicalResult TakeAlongOp::inferReturnTypes(MLIRContext *, std::optional<Location> loc, Adaptor adaptor,
                                            SmallVectorImpl<Type> &types) {
  auto operand = cast<RankedTensorType>(adaptor.getOperand().getType()), indices = cast<RankedTensorType>(adaptor.getIndices().getType());
  int64_t dim = adaptor.getDim();
  bool fits = operand.getRank() == indices.getRank() && dim >= 0 && dim < operand.getRank();
  for (int64_t i = 0; fits && i < operand.getRank(); ++i)
    fits = i == dim || operand.getShape()[i] == indices.getShape()[i];
  if (!fits) // C1
    return emitOptionalError(loc, "'nn.take_along' op picks with indices of type ", indices, " from ", operand, " along dimension ", dim);
  types.push_back(indices.clone(operand.getElementType()));
  return success();
}

//===----------------------------------------------------------------------===//
// Normalisation and attention
//===----------------------------------------------------------------------===//

/// The normalised dimensions are the last ones, and scale has their shape.
static LogicalResult verifyNorm(Operation *op, RankedTensorType input, RankedTensorType scale, RankedTensorType bias) {
  if (scale.getRank() == 0 || scale.getRank() > input.getRank() || input.getShape().take_back(scale.getRank()) != scale.getShape()) // C1
    return op->emitOpError("normalises ") << input << " with a scale of type " << scale;
  if (bias && bias != scale) // C1
    return op->emitOpError("has a scale of type ") << scale << " and a bias of type " << bias;
  return success();
}

LogicalResult LayerNormOp::verify() {
  return verifyNorm(*this, typeOf(getInput()), typeOf(getScale()), getBias() ? typeOf(getBias()) : RankedTensorType());
}
LogicalResult RmsNormOp::verify() { return verifyNorm(*this, typeOf(getInput()), typeOf(getScale()), {}); }
LogicalResult LayerNormGradOp::verify() { return verifyNorm(*this, typeOf(getInput()), typeOf(getScale()), {}); }
LogicalResult RmsNormGradOp::verify() { return verifyNorm(*this, typeOf(getInput()), typeOf(getScale()), {}); }

LogicalResult RotaryOp::verify() {
  auto input = typeOf(getInput()), cos = typeOf(getCos());
  int64_t rank = input.getRank(), seq = getSeqDim();
  if (rank < 2 || input.getShape().back() % 2) // C1
    return emitOpError("rotates pairs of a last dimension in ") << input;
  bool fits = cos == getSin().getType() && seq >= 0 && seq < rank - 1 && (cos.getRank() == 2 || cos.getRank() == 3) &&
              cos.getShape().back() == input.getShape().back() / 2 && cos.getShape()[cos.getRank() - 2] == input.getShape()[seq] &&
              (cos.getRank() == 2 || (seq != 0 && cos.getShape()[0] == input.getShape()[0]));
  if (!fits) // C2
    return emitOpError("has an input of type ") << input << " with sequence dimension " << seq << ", cosines of type " << cos
                                                << " and sines of type " << getSin().getType();
  return success();
}

/// The sizes of attention and of its gradient; `result` has the type of attention's result, and `made` says what it and the probabilities are.
static LogicalResult verifyAttention(Operation *op, ArrayRef<Value> operands, Value result, Value probabilities, Value bias, StringRef made) {
  auto q = typeOf(operands[0]), k = typeOf(operands[1]), v = typeOf(operands[2]);
  auto bad = [&](const Twine &what) { return op->emitOpError(what) << ": query " << q << ", key " << k << ", value " << v; };
  if (q.getRank() != 5 || k.getRank() != 4 || v.getRank() != 4) // C1
    return bad("needs operands of rank 5, 4 and 4");
  int64_t batch = q.getShape()[0], rows = q.getShape()[1], heads = q.getShape()[2], group = q.getShape()[3], d = q.getShape()[4];
  int64_t columns = k.getShape()[1];
  if (k.getShape() != ArrayRef<int64_t>{batch, columns, heads, d} || v.getShape().take_front(3) != ArrayRef<int64_t>{batch, columns, heads}) // C1
    return bad("has operands whose sizes disagree");
  ArrayRef<int64_t> wanted = typeOf(probabilities).getShape();
  if (typeOf(result).getShape() != ArrayRef<int64_t>{batch, rows, heads, group, v.getShape()[3]} ||
      wanted != ArrayRef<int64_t>{batch, heads, group, rows, columns}) // C1
    return bad("has " + made + " whose sizes disagree with those of the query, the key and the value");
  if (!bias)
    return success();
  ArrayRef<int64_t> found = typeOf(bias).getShape();
  bool fits = found.size() == wanted.size();
  for (size_t i = 0; fits && i < wanted.size(); ++i)
    fits = found[i] == wanted[i] || (i < 3 && found[i] == 1);
  if (!fits) // C2
    return op->emitOpError("has a bias of type ") << bias.getType() << " for probabilities of type " << probabilities.getType();
  return success();
}

LogicalResult AttentionOp::verify() {
  if (failed(verifyAttention(*this, {getQuery(), getKey(), getValue()}, getResult(), getProbabilities(), getBias(), "results")))
    return failure();
  auto keys = typeOf(getKey()).getShape().take_front(2);
  if (getKeyMask() && typeOf(getKeyMask()).getShape() != keys) // C2
    return emitOpError("has a key mask of type ") << getKeyMask().getType() << " for " << keys[0] << " rows of " << keys[1] << " keys";
  return success();
}

LogicalResult AttentionGradOp::verify() {
  if (failed(verifyAttention(*this, {getQuery(), getKey(), getValue()}, getGradient(), getProbabilities(), getBias(),
                             "a gradient or probabilities")))
    return failure();
  Type bias = getBias() ? getBias().getType() : Type(), gradient = getBiasGradient() ? getBiasGradient().getType() : Type();
  if (bias != gradient) // C2
    return emitOpError("has a bias and a bias's gradient of different types, or only one of them");
  return success();
}
