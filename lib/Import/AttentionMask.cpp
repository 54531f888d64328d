//===- AttentionMask.cpp - What a mask over queries and keys says ---------===//

#include "AttentionMask.h"

#include "llvm/ADT/SmallSet.h"

#include <numeric>

using namespace mlir;
using namespace galvatron;
using namespace galvatron::nn;

namespace {

/// constant + Σ coefficient_d * index_d, over the dimensions of a value.
struct IndexExpression {
  int64_t constant = 0;
  SmallVector<int64_t> coefficients;
};

/// Bounds that keep all arithmetic below far from overflow.
constexpr int64_t largest = int64_t(1) << 40;

std::optional<IndexExpression> checked(IndexExpression e) {
  for (int64_t c : e.coefficients)
    if (std::abs(c) > largest)
      return std::nullopt;
  if (std::abs(e.constant) > largest)
    return std::nullopt;
  return e;
}

std::optional<IndexExpression> readIndex(Value value, int depth = 16) {
  int64_t rank = tensorType(value).getRank();
  if (depth == 0 || !tensorType(value).getElementType().isInteger(64))
    return std::nullopt;
  IndexExpression result;
  result.coefficients.assign(rank, 0);
  if (std::optional<double> splat = getSplat(value)) {
    if (std::fabs(*splat) > double(largest))
      return std::nullopt;
    result.constant = int64_t(*splat);
    return result;
  }
  Operation *op = value.getDefiningOp();
  if (!op)
    return std::nullopt;
  if (auto iota = dyn_cast<IotaOp>(op)) {
    result.coefficients[iota.getDim()] = 1;
    return result;
  }
  if (!isa<BroadcastOp, TransposeOp, SliceOp, AddOp, SubOp, MulOp, NegOp>(op))
    return std::nullopt;
  std::optional<IndexExpression> a = readIndex(op->getOperand(0), depth - 1);
  if (!a)
    return std::nullopt;
  if (auto broadcast = dyn_cast<BroadcastOp>(op)) {
    result.constant = a->constant;
    for (auto [from, to] : llvm::enumerate(broadcast.getDims()))
      result.coefficients[to] = a->coefficients[from];
    return result;
  }
  if (auto transpose = dyn_cast<TransposeOp>(op)) {
    result.constant = a->constant;
    for (auto [to, from] : llvm::enumerate(transpose.getPermutation()))
      result.coefficients[to] = a->coefficients[from];
    return result;
  }
  if (auto slice = dyn_cast<SliceOp>(op)) {
    result.constant = a->constant;
    for (int64_t i = 0; i < rank; ++i) {
      result.constant += a->coefficients[i] * slice.getOffsets()[i];
      result.coefficients[i] = a->coefficients[i] * slice.getSteps()[i];
    }
    return checked(result);
  }
  auto combine = [&](const IndexExpression &x, int64_t fx, const IndexExpression &y, int64_t fy) {
    result.constant = fx * x.constant + fy * y.constant;
    for (int64_t i = 0; i < rank; ++i)
      result.coefficients[i] = fx * x.coefficients[i] + fy * y.coefficients[i];
    return checked(result);
  };
  if (isa<NegOp>(op))
    return combine(*a, -1, *a, 0);
  std::optional<IndexExpression> b = readIndex(op->getOperand(1), depth - 1);
  if (!b)
    return std::nullopt;
  if (isa<AddOp>(op))
    return combine(*a, 1, *b, 1);
  if (isa<SubOp>(op))
    return combine(*a, 1, *b, -1);
  auto isConstant = [](const IndexExpression &e) { return llvm::all_of(e.coefficients, [](int64_t c) { return c == 0; }); };
  constexpr int64_t largestFactor = int64_t(1) << 20;
  if (isConstant(*b) && std::abs(b->constant) <= largestFactor)
    return combine(*a, b->constant, *a, 0);
  if (isConstant(*a) && std::abs(a->constant) <= largestFactor)
    return combine(*b, a->constant, *b, 0);
  return std::nullopt;
}

Predicate inverse(Predicate predicate) {
  switch (predicate) {
  case Predicate::EQ:
    return Predicate::NE;
  case Predicate::NE:
    return Predicate::EQ;
  case Predicate::LT:
    return Predicate::GE;
  case Predicate::GE:
    return Predicate::LT;
  case Predicate::GT:
    return Predicate::LE;
  case Predicate::LE:
    return Predicate::GT;
  }
  llvm_unreachable("covered switch");
}

/// The predicate of -x against 0 when `predicate` is that of x.
Predicate mirrored(Predicate predicate) {
  switch (predicate) {
  case Predicate::LT:
    return Predicate::GT;
  case Predicate::GT:
    return Predicate::LT;
  case Predicate::LE:
    return Predicate::GE;
  case Predicate::GE:
    return Predicate::LE;
  case Predicate::EQ:
  case Predicate::NE:
    return predicate;
  }
  llvm_unreachable("covered switch");
}

/// Whether `predicate` holds against 0 for all numbers from `low` to `high`.
bool alwaysHolds(Predicate predicate, int64_t low, int64_t high) {
  switch (predicate) {
  case Predicate::EQ:
    return low == 0 && high == 0;
  case Predicate::NE:
    return low > 0 || high < 0;
  case Predicate::LT:
    return high < 0;
  case Predicate::LE:
    return high <= 0;
  case Predicate::GT:
    return low > 0;
  case Predicate::GE:
    return low >= 0;
  }
  llvm_unreachable("covered switch");
}

} // namespace

Value galvatron::sortDims(OpBuilder &builder, Value value, SmallVectorImpl<int64_t> &place) {
  SmallVector<int64_t> order(place.size());
  std::iota(order.begin(), order.end(), 0);
  llvm::sort(order, [&](int64_t a, int64_t b) { return place[a] < place[b]; });
  if (llvm::is_sorted(order))
    return value;
  llvm::sort(place);
  return builder.create<TransposeOp>(value.getLoc(), value, order);
}

bool AttentionMask::addComparison(CompareOp op, bool negated, ArrayRef<int64_t> place) {
  std::optional<IndexExpression> lhs = readIndex(op.getLhs()), rhs = lhs ? readIndex(op.getRhs()) : std::nullopt;
  if (!rhs)
    return false;
  Predicate predicate = negated ? inverse(op.getPredicate()) : op.getPredicate();
  SmallVector<int64_t> coefficients(dims.shape.size(), 0);
  int64_t constant = lhs->constant - rhs->constant, low = constant, high = constant;
  for (auto [i, dim] : llvm::enumerate(place)) {
    coefficients[dim] = lhs->coefficients[i] - rhs->coefficients[i];
    int64_t reach = coefficients[dim] * (dims.shape[dim] - 1);
    (reach < 0 ? low : high) += reach;
  }
  if (alwaysHolds(predicate, low, high))
    return true;
  for (auto [dim, c] : llvm::enumerate(coefficients))
    if (c != 0 && int64_t(dim) != dims.query && int64_t(dim) != dims.key)
      return false;
  int64_t perQuery = coefficients[dims.query], perKey = coefficients[dims.key];
  if (perKey == -1 && perQuery == 1) {
    constant = -constant;
    predicate = mirrored(predicate);
  } else if (perKey != 1 || perQuery != -1) {
    return false;
  }
  // key - query + constant against 0
  switch (predicate) {
  case Predicate::LE:
    sinkUpper(-constant);
    break;
  case Predicate::LT:
    sinkUpper(-constant - 1);
    break;
  case Predicate::GE:
    raiseLower(-constant);
    break;
  case Predicate::GT:
    raiseLower(-constant + 1);
    break;
  case Predicate::EQ:
    raiseLower(-constant);
    sinkUpper(-constant);
    break;
  case Predicate::NE:
    return false;
  }
  simplifyBand();
  return true;
}

/// A bound that every pair keeps is none.
void AttentionMask::simplifyBand() {
  if (lower && *lower <= -(dims.shape[dims.query] - 1))
    lower.reset();
  if (upper && *upper >= dims.shape[dims.key] - 1)
    upper.reset();
}

bool AttentionMask::bandReachesEveryRow() const {
  int64_t queries = dims.shape[dims.query], keys = dims.shape[dims.key];
  // Row i may use keys max(0, i + lower) to min(keys - 1, i + upper). The last row is the worst for the lower bound,
  // the first one for the upper bound.
  int64_t low = lower.value_or(-(queries - 1)), high = upper.value_or(keys - 1);
  return low <= high && high >= 0 && queries - 1 + low <= keys - 1;
}

bool AttentionMask::addElements(ArrayRef<bool> isTrue, ArrayRef<int64_t> shape, ArrayRef<int64_t> place) {
  if (llvm::all_of(isTrue, [](bool b) { return b; }))
    return true;
  auto indexOf = [&](int64_t dim) { return llvm::find(place, dim) - place.begin(); };
  size_t q = indexOf(dims.query), k = indexOf(dims.key), b = dims.batch < 0 ? place.size() : indexOf(dims.batch);
  if (k == place.size())
    return false;
  // One pass: for each difference key - query and for each (batch, key), which truth values occur.
  int64_t queries = q < place.size() ? shape[q] : 1, keys = shape[k], batches = b < place.size() ? shape[b] : 1;
  SmallVector<uint8_t> byDifference(queries + keys, 0), byKey(batches * keys, 0);
  SmallVector<int64_t> index(shape.size(), 0);
  for (bool value : isTrue) {
    uint8_t bit = value ? 2 : 1;
    if (q < place.size())
      byDifference[index[k] - index[q] + queries - 1] |= bit;
    byKey[(b < place.size() ? index[b] : 0) * keys + index[k]] |= bit;
    for (size_t d = shape.size(); d-- > 0;) {
      if (++index[d] < shape[d])
        break;
      index[d] = 0;
    }
  }
  if (!llvm::is_contained(byKey, 3)) {
    SmallVector<bool> bits;
    for (uint8_t seen : byKey)
      bits.push_back(seen == 2);
    SmallVector<int64_t> maskShape{keys};
    if (dims.batch >= 0) {
      maskShape.insert(maskShape.begin(), dims.shape[dims.batch]);
      if (batches == 1 && maskShape[0] > 1) {
        SmallVector<bool> row = bits;
        for (int64_t i = 1; i < maskShape[0]; ++i)
          bits.append(row.begin(), row.end());
      }
    }
    auto type = RankedTensorType::get(maskShape, builder.getI1Type());
    keyMasks.push_back(builder.create<ConstantOp>(builder.getUnknownLoc(), DenseElementsAttr::get(type, ArrayRef<bool>(bits))));
    return true;
  }
  if (q == place.size() || llvm::is_contained(byDifference, 3))
    return false;
  // Differences that are allowed must be one range.
  int64_t first = -1, last = -1;
  for (auto [i, seen] : llvm::enumerate(byDifference))
    if (seen == 2) {
      if (first < 0)
        first = i;
      else if (last != int64_t(i) - 1)
        return false;
      last = i;
    }
  if (first < 0)
    return false;
  raiseLower(first - (queries - 1));
  sinkUpper(last - (queries - 1));
  simplifyBand();
  return true;
}

void AttentionMask::addLeaf(Value mask, ArrayRef<int64_t> place) {
  if (auto constant = mask.getDefiningOp<ConstantOp>())
    if (auto dense = dyn_cast<DenseElementsAttr>(constant.getValue())) {
      SmallVector<bool> elements(dense.value_begin<bool>(), dense.value_end<bool>());
      if (addElements(elements, dense.getType().getShape(), place))
        return;
    }
  SmallVector<int64_t> sorted(place);
  bool isKeyMask = llvm::is_contained(place, dims.key) &&
                   llvm::all_of(place, [&](int64_t dim) { return dim == dims.key || dim == dims.batch; });
  // The batch comes before the key in the scores.
  if (!isKeyMask || (dims.batch >= 0 && dims.batch > dims.key)) {
    rest.push_back({mask, sorted});
    return;
  }
  mask = sortDims(builder, mask, sorted);
  if (dims.batch >= 0 && sorted.size() == 1) {
    SmallVector<int64_t> shape{dims.shape[dims.batch], dims.shape[dims.key]};
    mask = builder.create<BroadcastOp>(mask.getLoc(), tensorType(mask).clone(shape), mask, ArrayRef<int64_t>{1});
  }
  keyMasks.push_back(mask);
}

void AttentionMask::add(Value mask, ArrayRef<int64_t> place) {
  if (std::optional<double> splat = getSplat(mask); splat && *splat != 0)
    return;
  Operation *op = mask.getDefiningOp();
  if (auto conjunction = dyn_cast_or_null<AndOp>(op)) {
    add(conjunction.getLhs(), place);
    return add(conjunction.getRhs(), place);
  }
  if (auto broadcast = dyn_cast_or_null<BroadcastOp>(op)) {
    SmallVector<int64_t> inner;
    for (int64_t dim : broadcast.getDims())
      inner.push_back(place[dim]);
    return add(broadcast.getOperand(), inner);
  }
  if (auto transpose = dyn_cast_or_null<TransposeOp>(op)) {
    SmallVector<int64_t> inner(place.size());
    for (auto [to, from] : llvm::enumerate(transpose.getPermutation()))
      inner[from] = place[to];
    return add(transpose.getOperand(), inner);
  }
  bool negated = false;
  if (auto negation = dyn_cast_or_null<NotOp>(op)) {
    negated = true;
    op = negation.getOperand().getDefiningOp();
  }
  if (auto compare = dyn_cast_or_null<CompareOp>(op); compare && addComparison(compare, negated, place))
    return;
  addLeaf(mask, place);
}
