//===- NNElements.cpp - Elements of ops that move data --------------------===//

#include "dialects/NN/NN.h"

using namespace mlir;
using namespace galvatron::nn;

namespace {

/// Index arithmetic with the constants folded as it is built.
class Indices {
public:
  Indices(OpBuilder &builder, Location loc) : b(builder), loc(loc) {}

  Value constant(int64_t value) { return b.create<arith::ConstantIndexOp>(loc, value); }
  Value add(Value x, int64_t c) { return c == 0 ? x : b.createOrFold<arith::AddIOp>(loc, x, constant(c)); }
  Value add(Value x, Value y) { return b.createOrFold<arith::AddIOp>(loc, x, y); }
  Value mul(Value x, int64_t c) { return c == 1 ? x : b.createOrFold<arith::MulIOp>(loc, x, constant(c)); }
  Value div(Value x, int64_t c) { return c == 1 ? x : b.createOrFold<arith::DivUIOp>(loc, x, constant(c)); }
  Value rem(Value x, int64_t c) { return c == 1 ? constant(0) : b.createOrFold<arith::RemUIOp>(loc, x, constant(c)); }
  Value compare(arith::CmpIPredicate predicate, Value x, int64_t c) {
    return b.createOrFold<arith::CmpIOp>(loc, predicate, x, constant(c));
  }
  Value both(Value x, Value y) { return x && y ? b.createOrFold<arith::AndIOp>(loc, x, y) : (x ? x : y); }
  Value select(Value c, Value x, Value y) { return b.createOrFold<arith::SelectOp>(loc, c, x, y); }

  /// The index in row-major order, dimensions of size one left out.
  Value linearize(ValueRange indices, ArrayRef<int64_t> shape) {
    Value linear = nullptr;
    for (auto [index, size] : llvm::zip(indices, shape)) {
      if (size == 1)
        continue;
      linear = linear ? add(mul(linear, size), index) : index;
    }
    return linear ? linear : constant(0);
  }

  SmallVector<Value> delinearize(Value linear, ArrayRef<int64_t> shape) {
    SmallVector<Value> indices(shape.size());
    int64_t outer = 1;
    for (int64_t size : shape)
      outer *= size;
    Value rest = linear;
    for (auto [i, size] : llvm::enumerate(shape)) {
      outer /= std::max<int64_t>(size, 1);
      if (size == 1) {
        indices[i] = constant(0);
        continue;
      }
      indices[i] = div(rest, outer);
      if (outer != 1)
        rest = rem(rest, outer);
    }
    return indices;
  }

  OpBuilder &b;
  Location loc;
};

Value scalarConstant(OpBuilder &b, Location loc, Type type, double value) {
  if (isa<FloatType>(type))
    return b.create<arith::ConstantOp>(loc, b.getFloatAttr(type, value));
  return b.create<arith::ConstantOp>(loc, b.getIntegerAttr(type, static_cast<int64_t>(value)));
}

} // namespace

Value ConstantOp::emitElement(OpBuilder &builder, ValueRange indices, ElementFn) {
  if (std::optional<double> splat = getSplat(getValue())) {
    // Integers wider than a double's mantissa keep their exact value.
    if (auto dense = dyn_cast<DenseElementsAttr>(getValue()))
      return builder.create<arith::ConstantOp>(getLoc(), cast<TypedAttr>(dense.getSplatValue<Attribute>()));
    return scalarConstant(builder, getLoc(), getType().getElementType(), *splat);
  }
  // A table: read from a constant tensor, which code generation makes a global.
  Value table = builder.create<arith::ConstantOp>(getLoc(), cast<TypedAttr>(getValue()));
  return builder.create<tensor::ExtractOp>(getLoc(), table, indices);
}

Value IotaOp::emitElement(OpBuilder &builder, ValueRange indices, ElementFn) {
  return builder.create<arith::IndexCastOp>(getLoc(), builder.getI64Type(), indices[getDim()]);
}

Value BroadcastOp::emitElement(OpBuilder &builder, ValueRange indices, ElementFn element) {
  SmallVector<Value> picked;
  for (int64_t dim : getDims())
    picked.push_back(indices[dim]);
  return element(0, picked);
}

Value ReshapeOp::emitElement(OpBuilder &builder, ValueRange indices, ElementFn element) {
  Indices index(builder, getLoc());
  // Row-major order is kept, so the two index tuples have one linear index. Leading dimensions that agree
  // need no arithmetic.
  ArrayRef<int64_t> to = getType().getShape(), from = tensorType(getOperand()).getShape();
  unsigned same = 0;
  while (same < to.size() && same < from.size() && to[same] == from[same])
    ++same;
  SmallVector<Value> picked(indices.take_front(same));
  Value linear = index.linearize(indices.drop_front(same), to.drop_front(same));
  llvm::append_range(picked, index.delinearize(linear, from.drop_front(same)));
  return element(0, picked);
}

Value TransposeOp::emitElement(OpBuilder &builder, ValueRange indices, ElementFn element) {
  SmallVector<Value> picked(indices.size());
  for (auto [i, dim] : llvm::enumerate(getPermutation()))
    picked[dim] = indices[i];
  return element(0, picked);
}

Value SliceOp::emitElement(OpBuilder &builder, ValueRange indices, ElementFn element) {
  Indices index(builder, getLoc());
  SmallVector<Value> picked;
  for (auto [i, offset, step] : llvm::zip(indices, getOffsets(), getSteps()))
    picked.push_back(index.add(index.mul(i, step), offset));
  return element(0, picked);
}

Value PadOp::emitElement(OpBuilder &builder, ValueRange indices, ElementFn element) {
  Indices index(builder, getLoc());
  Location loc = getLoc();
  SmallVector<Value> picked;
  Value inside = nullptr;
  ArrayRef<int64_t> shape = tensorType(getOperand()).getShape();
  for (auto [dim, i] : llvm::enumerate(indices)) {
    int64_t low = getLow()[dim], step = getSteps()[dim], size = shape[dim];
    if (low == 0 && step == 1 && size == getType().getShape()[dim]) {
      picked.push_back(i);
      continue;
    }
    // Which element lands here: (i - low) / step, if that is whole and in [0, size).
    Value moved = index.add(i, -low);
    Value source = moved;
    if (step != 1) {
      source = builder.createOrFold<arith::FloorDivSIOp>(loc, moved, index.constant(step));
      Value back = index.mul(source, step);
      inside = index.both(inside, builder.createOrFold<arith::CmpIOp>(loc, arith::CmpIPredicate::eq, back, moved));
    }
    inside = index.both(inside, index.compare(arith::CmpIPredicate::sge, source, 0));
    inside = index.both(inside, index.compare(arith::CmpIPredicate::slt, source, size));
    // The load happens either way, so it must stay in bounds.
    Value clamped = builder.createOrFold<arith::MaxSIOp>(loc, source, index.constant(0));
    picked.push_back(builder.createOrFold<arith::MinSIOp>(loc, clamped, index.constant(std::max<int64_t>(size - 1, 0))));
  }
  Value value = element(0, picked);
  if (!inside)
    return value;
  return builder.create<arith::SelectOp>(loc, inside, value,
                                         scalarConstant(builder, loc, value.getType(), getValue().convertToDouble()));
}

Value ConcatOp::emitElement(OpBuilder &builder, ValueRange indices, ElementFn element) {
  Indices index(builder, getLoc());
  uint64_t dim = getDim();
  Value result = nullptr;
  int64_t begin = 0;
  for (auto [i, input] : llvm::enumerate(getInputs())) {
    int64_t size = tensorType(input).getShape()[dim];
    SmallVector<Value> picked(indices);
    // Every piece is read, so each index is held inside its piece.
    Value moved = index.add(indices[dim], -begin);
    moved = builder.createOrFold<arith::MaxSIOp>(getLoc(), moved, index.constant(0));
    picked[dim] = builder.createOrFold<arith::MinSIOp>(getLoc(), moved, index.constant(std::max<int64_t>(size - 1, 0)));
    if (size > 0) {
      Value value = element(i, picked);
      result = result ? index.select(index.compare(arith::CmpIPredicate::slt, indices[dim], begin), result, value) : value;
    }
    begin += size;
  }
  return result ? result : scalarConstant(builder, getLoc(), getType().getElementType(), 0);
}

/// An id as an index, held inside [0, size): ids that a kernel computes itself are read there before a check can refuse them.
static Value placeOf(OpBuilder &builder, Location loc, Value id, int64_t size) {
  Indices index(builder, loc);
  Value place = builder.create<arith::IndexCastOp>(loc, builder.getIndexType(), id);
  place = builder.createOrFold<arith::MaxSIOp>(loc, place, index.constant(0));
  return builder.createOrFold<arith::MinSIOp>(loc, place, index.constant(std::max<int64_t>(size - 1, 0)));
}

Value EmbeddingOp::emitElement(OpBuilder &builder, ValueRange indices, ElementFn element) {
  int64_t idRank = tensorType(getIds()).getRank();
  Value id = element(1, indices.take_front(idRank));
  SmallVector<Value> picked{placeOf(builder, getLoc(), id, tensorType(getTable()).getDimSize(0))};
  llvm::append_range(picked, indices.drop_front(idRank));
  return element(0, picked);
}

Value TakeAlongOp::emitElement(OpBuilder &builder, ValueRange indices, ElementFn element) {
  SmallVector<Value> picked(indices);
  Value id = element(1, indices);
  picked[getDim()] = placeOf(builder, getLoc(), id, tensorType(getOperand()).getDimSize(getDim()));
  return element(0, picked);
}

Value RotaryOp::emitElement(OpBuilder &builder, ValueRange indices, ElementFn element) {
  Indices index(builder, getLoc());
  Location loc = getLoc();
  int64_t last = getType().getRank() - 1, half = getType().getShape()[last] / 2;
  Value d = indices[last];
  // The pair of element d is (d, d ± half), or its neighbour; `second` says which of the two it is.
  Value pairIndex, partner, second;
  if (getInterleaved()) {
    pairIndex = index.div(d, 2);
    Value odd = index.rem(d, 2);
    second = index.compare(arith::CmpIPredicate::ne, odd, 0);
    partner = index.select(second, index.add(d, -1), index.add(d, 1));
  } else {
    second = index.compare(arith::CmpIPredicate::uge, d, half);
    pairIndex = index.select(second, index.add(d, -half), d);
    partner = index.select(second, index.add(d, -half), index.add(d, half));
  }
  SmallVector<Value> tableIndices;
  if (tensorType(getCos()).getRank() == 3)
    tableIndices.push_back(indices[0]);
  tableIndices.push_back(indices[getSeqDim()]);
  tableIndices.push_back(pairIndex);
  Value c = element(1, tableIndices), s = element(2, tableIndices);
  SmallVector<Value> partnerIndices(indices);
  partnerIndices[last] = partner;
  Value x = element(0, indices), y = element(0, partnerIndices);
  auto flags = arith::FastMathFlagsAttr::get(builder.getContext(),
                                             arith::FastMathFlags::reassoc | arith::FastMathFlags::contract);
  // First of the pair: x cos - y sin; second: x cos + y sin; the inverse swaps the signs.
  Value ys = builder.create<arith::MulFOp>(loc, y, s, flags);
  Value minus = builder.create<arith::NegFOp>(loc, ys, flags);
  Value turned = getInverse() ? index.select(second, minus, ys) : index.select(second, ys, minus);
  return builder.create<arith::AddFOp>(loc, builder.create<arith::MulFOp>(loc, x, c, flags), turned, flags);
}
