//===- NNRules.cpp - Sharding rules ---------------------------------------===//
//
// Each rule is a claim about numbers, and a test splits every factor to check it.
//
//===----------------------------------------------------------------------===//

#include "dialects/NN/NN.h"

using namespace mlir;
using namespace galvatron::nn;

namespace {

DimFactors single(ArrayRef<int64_t> factors) {
  DimFactors dims;
  for (int64_t f : factors)
    dims.push_back({f});
  return dims;
}

/// One factor per dimension of `type`, of the kind that `kind(i)` gives.
template <typename Kind> SmallVector<int64_t> addDims(ShardingRule &rule, RankedTensorType type, Kind kind) {
  SmallVector<int64_t> factors;
  for (auto [i, size] : llvm::enumerate(type.getShape()))
    factors.push_back(rule.addFactor(size, kind(i)));
  return factors;
}

/// All operands and results have one shape; one dimension stays whole.
ShardingRule wholeDim(Operation *op, int64_t dim) {
  ShardingRule rule = ShardingRule::elementwise(op);
  rule.factors[dim].kind = FactorKind::Whole;
  return rule;
}

/// Normalisation: leading dimensions are parallel, those of the scale are whole.
ShardingRule normRule(Operation *op, int64_t inputRank, int64_t scaleRank, int64_t numOperands) {
  ShardingRule rule;
  SmallVector<int64_t> factors = addDims(rule, tensorType(op->getOperand(0)), [&](int64_t i) {
    return i < inputRank - scaleRank ? FactorKind::Parallel : FactorKind::Whole;
  });
  DimFactors input = single(factors), scale = single(ArrayRef(factors).take_back(scaleRank));
  rule.operands.push_back(input);
  for (int64_t i = 1; i < numOperands; ++i)
    rule.operands.push_back(scale);
  rule.results.push_back(input);
  return rule;
}

/// Gradients of a normalisation: dx is like x; the scale's and bias's gradients sum over the leading dimensions.
ShardingRule normGradRule(Operation *op, int64_t inputRank, int64_t scaleRank) {
  ShardingRule rule;
  SmallVector<int64_t> factors = addDims(rule, tensorType(op->getOperand(0)), [&](int64_t i) {
    return i < inputRank - scaleRank ? FactorKind::ReductionSum : FactorKind::Whole;
  });
  DimFactors input = single(factors), scale = single(ArrayRef(factors).take_back(scaleRank));
  rule.operands = {input, scale, input};
  rule.results.push_back(input);
  for (unsigned i = 1; i < op->getNumResults(); ++i)
    rule.results.push_back(scale);
  rule.linearIn = {{2}};
  return rule;
}

/// A slice or a pad: dimensions that are taken as they are, are parallel.
ShardingRule boxRule(RankedTensorType from, RankedTensorType to, ArrayRef<int64_t> offsets, ArrayRef<int64_t> steps) {
  ShardingRule rule;
  DimFactors in, out;
  for (int64_t i = 0; i < from.getRank(); ++i) {
    bool same = from.getShape()[i] == to.getShape()[i] && offsets[i] == 0 && steps[i] == 1;
    int64_t f = rule.addFactor(from.getShape()[i], same ? FactorKind::Parallel : FactorKind::Whole);
    in.push_back({f});
    out.push_back({same ? f : rule.addFactor(to.getShape()[i], FactorKind::Whole)});
  }
  rule.operands = {in};
  rule.results = {out};
  rule.linearIn = {{0}};
  return rule;
}

} // namespace

/// Sums and differences are linear in both operands together; a product or a quotient in its first factor ...
static void setLinear(ShardingRule &rule, ArrayRef<SmallVector<int64_t>> sets) { rule.linearIn.assign(sets.begin(), sets.end()); }

ShardingRule ConstantOp::getShardingRule() {
  ShardingRule rule = ShardingRule::elementwise(*this);
  if (!getValue().isSplat())
    for (Factor &factor : rule.factors)
      factor.kind = FactorKind::Whole;
  return rule;
}

ShardingRule IotaOp::getShardingRule() { return wholeDim(*this, getDim()); }

ShardingRule ReduceOp::getShardingRule() {
  ShardingRule rule;
  auto kind = [&](int64_t i) {
    if (!llvm::is_contained(getDims(), i))
      return FactorKind::Parallel;
    switch (getKind()) {
    case ReduceKind::Sum:
      return FactorKind::ReductionSum;
    case ReduceKind::Max:
      return FactorKind::ReductionMax;
    case ReduceKind::Min:
      return FactorKind::ReductionMin;
    case ReduceKind::Prod:
      return FactorKind::Whole;
    }
    llvm_unreachable("covered switch");
  };
  SmallVector<int64_t> factors = addDims(rule, tensorType(getOperand()), kind), kept;
  for (auto [i, f] : llvm::enumerate(factors))
    if (!llvm::is_contained(getDims(), int64_t(i)))
      kept.push_back(f);
  rule.operands = {single(factors)};
  rule.results = {single(kept)};
  if (getKind() == ReduceKind::Sum)
    setLinear(rule, {{0}});
  return rule;
}

ShardingRule CumsumOp::getShardingRule() {
  ShardingRule rule = wholeDim(*this, getDim());
  setLinear(rule, {{0}});
  return rule;
}
ShardingRule SoftmaxOp::getShardingRule() { return wholeDim(*this, getDim()); }
ShardingRule LogSoftmaxOp::getShardingRule() { return wholeDim(*this, getDim()); }

ShardingRule BroadcastOp::getShardingRule() {
  ShardingRule rule;
  SmallVector<int64_t> factors = addDims(rule, getType(), [](int64_t) { return FactorKind::Parallel; }), picked;
  for (int64_t dim : getDims())
    picked.push_back(factors[dim]);
  rule.operands = {single(picked)};
  rule.results = {single(factors)};
  setLinear(rule, {{0}});
  return rule;
}

ShardingRule TransposeOp::getShardingRule() {
  ShardingRule rule;
  SmallVector<int64_t> factors = addDims(rule, tensorType(getOperand()), [](int64_t) { return FactorKind::Parallel; }), moved;
  for (int64_t dim : getPermutation())
    moved.push_back(factors[dim]);
  rule.operands = {single(factors)};
  rule.results = {single(moved)};
  setLinear(rule, {{0}});
  return rule;
}

ShardingRule ReshapeOp::getShardingRule() {
  // Both shapes are read from the left; where their products meet, a group of dimensions ends. Inside a group
  // that splits or merges cleanly each factor is a loop of its own; from where it does not, the rest of it is whole.
  ShardingRule rule;
  struct Side {
    ArrayRef<int64_t> shape;
    DimFactors dims;
    size_t at = 0;
    int64_t rest = 1; ///< of the dimension `at`, what has no factor yet
    explicit Side(ArrayRef<int64_t> shape) : shape(shape), dims(shape.size()), rest(shape.empty() ? 1 : shape[0]) { skip(); }
    bool done() const { return at == shape.size(); }
    void take(int64_t factor, int64_t size) {
      dims[at].push_back(factor);
      rest /= size;
      skip();
    }
    /// A dimension of size one holds no factor.
    void skip() {
      while (at < shape.size() && rest == 1)
        rest = ++at < shape.size() ? shape[at] : 1;
    }
  };
  Side in(tensorType(getOperand()).getShape()), out(getType().getShape());
  if (llvm::is_contained(in.shape, 0))
    return ShardingRule::replicated(*this);
  while (!in.done()) {
    int64_t common = std::min(in.rest, out.rest);
    if (in.rest % common == 0 && out.rest % common == 0) {
      int64_t factor = rule.addFactor(common, FactorKind::Parallel);
      in.take(factor, common);
      out.take(factor, common);
      continue;
    }
    int64_t inside = 1, outside = 1;
    do {
      bool isIn = inside <= outside;
      Side &behind = isIn ? in : out;
      (isIn ? inside : outside) *= behind.rest;
      behind.take(rule.addFactor(behind.rest, FactorKind::Whole), behind.rest);
    } while (inside != outside);
  }
  rule.operands = {in.dims};
  rule.results = {out.dims};
  setLinear(rule, {{0}});
  return rule;
}

ShardingRule SliceOp::getShardingRule() { return boxRule(tensorType(getOperand()), getType(), getOffsets(), getSteps()); }
ShardingRule PadOp::getShardingRule() {
  ShardingRule rule = boxRule(tensorType(getOperand()), getType(), getLow(), getSteps());
  if (getValue().convertToDouble() != 0)
    rule.linearIn.clear();
  return rule;
}

ShardingRule ConcatOp::getShardingRule() {
  ShardingRule rule;
  int64_t dim = getDim();
  SmallVector<int64_t> factors =
      addDims(rule, getType(), [&](int64_t i) { return i == dim ? FactorKind::Whole : FactorKind::Parallel; });
  SmallVector<int64_t> all;
  for (auto [i, input] : llvm::enumerate(getInputs())) {
    SmallVector<int64_t> piece(factors);
    piece[dim] = rule.addFactor(tensorType(input).getShape()[dim], FactorKind::Whole);
    rule.operands.push_back(single(piece));
    all.push_back(i);
  }
  rule.results = {single(factors)};
  setLinear(rule, {all});
  return rule;
}

ShardingRule ContractOp::getShardingRule() {
  ShardingRule rule;
  Subscripts subscripts = getParsedSubscripts();
  std::array<int64_t, 256> factorOf;
  factorOf.fill(-1);
  auto map = [&](StringRef letters, RankedTensorType type) {
    DimFactors dims;
    for (auto [letter, size] : llvm::zip(letters, type.getShape())) {
      int64_t &f = factorOf[static_cast<unsigned char>(letter)];
      if (f < 0)
        f = rule.addFactor(size, subscripts.result.contains(letter) ? FactorKind::Parallel : FactorKind::ReductionSum);
      dims.push_back({f});
    }
    return dims;
  };
  rule.operands = {map(subscripts.lhs, tensorType(getLhs())), map(subscripts.rhs, tensorType(getRhs()))};
  rule.results = {map(subscripts.result, getType())};
  setLinear(rule, {{0}, {1}});
  return rule;
}

/// Batch n, output channel o, input channel c; spatial dimensions are whole (their windows overlap).
static ShardingRule convRule(Operation *op, RankedTensorType input, RankedTensorType weight, RankedTensorType output, int64_t groups,
                             std::array<FactorKind, 3> kinds) {
  ShardingRule rule;
  // With groups, channels of the input and the output go together, so neither can be split alone.
  bool grouped = groups != 1;
  int64_t n = rule.addFactor(input.getShape()[0], kinds[0]);
  int64_t o = rule.addFactor(output.getShape()[1], grouped ? FactorKind::Whole : kinds[1]);
  int64_t c = rule.addFactor(input.getShape()[1], grouped ? FactorKind::Whole : kinds[2]);
  int64_t cw = grouped ? rule.addFactor(weight.getShape()[1], FactorKind::Whole) : c;
  SmallVector<int64_t> in{n, c}, w{o, cw}, out{n, o};
  for (auto [dims, type] : {std::pair(&in, input), std::pair(&w, weight), std::pair(&out, output)})
    for (int64_t size : type.getShape().drop_front(2))
      dims->push_back(rule.addFactor(size, FactorKind::Whole));
  rule.operands = {single(in), single(w)};
  rule.results = {single(out)};
  setLinear(rule, {{0}, {1}});
  return rule;
}

ShardingRule ConvOp::getShardingRule() {
  return convRule(*this, tensorType(getInput()), tensorType(getWeight()), getType(), getGroups(),
                  {FactorKind::Parallel, FactorKind::Parallel, FactorKind::ReductionSum});
}

ShardingRule ConvInputGradOp::getShardingRule() {
  ShardingRule rule = convRule(*this, getType(), tensorType(getWeight()), tensorType(getGradient()), getGroups(),
                               {FactorKind::Parallel, FactorKind::ReductionSum, FactorKind::Parallel});
  std::swap(rule.operands[0], rule.results[0]); // the input is the result here, the gradient the first operand
  return rule;
}

ShardingRule ConvWeightGradOp::getShardingRule() {
  ShardingRule rule = convRule(*this, tensorType(getInput()), getType(), tensorType(getGradient()), getGroups(),
                               {FactorKind::ReductionSum, FactorKind::Parallel, FactorKind::Parallel});
  std::swap(rule.operands[1], rule.results[0]); // the weight is the result here, the gradient the second operand
  return rule;
}

ShardingRule EmbeddingOp::getShardingRule() {
  // A piece of the table gives zeros for rows that are elsewhere, hence a partial sum over its rows, if it knows which these are.
  ShardingRule rule;
  FactorKind rowKind = getRows() ? FactorKind::ReductionSum : FactorKind::Whole;
  SmallVector<int64_t> ids = addDims(rule, tensorType(getIds()), [](int64_t) { return FactorKind::Parallel; });
  SmallVector<int64_t> table =
      addDims(rule, tensorType(getTable()), [&](int64_t i) { return i == 0 ? rowKind : FactorKind::Parallel; });
  SmallVector<int64_t> out(ids);
  llvm::append_range(out, ArrayRef(table).drop_front());
  rule.operands = {single(table), single(ids)};
  if (getRows())
    rule.operands.push_back(single(table.front()));
  rule.results = {single(out)};
  setLinear(rule, {{0}});
  return rule;
}

ShardingRule EmbeddingGradOp::getShardingRule() {
  ShardingRule rule;
  FactorKind rowKind = getRows() ? FactorKind::Parallel : FactorKind::Whole;
  SmallVector<int64_t> ids = addDims(rule, tensorType(getIds()), [](int64_t) { return FactorKind::ReductionSum; });
  SmallVector<int64_t> table = addDims(rule, getType(), [&](int64_t i) { return i == 0 ? rowKind : FactorKind::Parallel; });
  SmallVector<int64_t> gradient(ids);
  llvm::append_range(gradient, ArrayRef(table).drop_front());
  rule.operands = {single(ids), single(gradient)};
  if (getRows())
    rule.operands.push_back(single(table.front()));
  rule.results = {single(table)};
  setLinear(rule, {{1}});
  if (getRows()) // rows behind the end have numbers that no id is
    rule.zeroIn.emplace_back();
  return rule;
}

ShardingRule InRangeOp::getShardingRule() { return ShardingRule::elementwise(*this); }

ShardingRule TakeAlongOp::getShardingRule() {
  ShardingRule rule;
  int64_t dim = getDim();
  SmallVector<int64_t> factors =
      addDims(rule, getType(), [&](int64_t i) { return i == dim ? FactorKind::Whole : FactorKind::Parallel; });
  SmallVector<int64_t> operand(factors);
  operand[dim] = rule.addFactor(tensorType(getOperand()).getShape()[dim], FactorKind::Whole);
  rule.operands = {single(operand), single(factors)};
  rule.results = {single(factors)};
  setLinear(rule, {{0}});
  return rule;
}

ShardingRule LayerNormOp::getShardingRule() {
  return normRule(*this, tensorType(getInput()).getRank(), tensorType(getScale()).getRank(), getNumOperands());
}
ShardingRule RmsNormOp::getShardingRule() {
  return normRule(*this, tensorType(getInput()).getRank(), tensorType(getScale()).getRank(), getNumOperands());
}
ShardingRule LayerNormGradOp::getShardingRule() {
  return normGradRule(*this, tensorType(getInput()).getRank(), tensorType(getScale()).getRank());
}
ShardingRule RmsNormGradOp::getShardingRule() {
  return normGradRule(*this, tensorType(getInput()).getRank(), tensorType(getScale()).getRank());
}

ShardingRule RotaryOp::getShardingRule() {
  ShardingRule rule;
  auto input = tensorType(getInput()), cos = tensorType(getCos());
  int64_t last = input.getRank() - 1;
  SmallVector<int64_t> factors =
      addDims(rule, input, [&](int64_t i) { return i == last ? FactorKind::Whole : FactorKind::Parallel; });
  int64_t half = rule.addFactor(cos.getShape().back(), FactorKind::Whole);
  SmallVector<int64_t> table;
  if (cos.getRank() == 3)
    table.push_back(factors[0]);
  table.append({factors[getSeqDim()], half});
  rule.operands = {single(factors), single(table), single(table)};
  rule.results = {single(factors)};
  setLinear(rule, {{0}});
  return rule;
}

namespace {
/// The loops of attention: batch, query, KV heads, group, key, head size of query/key, head size of value.
struct AttentionFactors {
  int64_t b, q, h, g, k, d, dv;
  AttentionFactors(ShardingRule &rule, RankedTensorType query, RankedTensorType value, FactorKind rows, FactorKind group) {
    ArrayRef<int64_t> s = query.getShape();
    b = rule.addFactor(s[0], FactorKind::Parallel);
    q = rule.addFactor(s[1], rows);
    h = rule.addFactor(s[2], FactorKind::Parallel);
    g = rule.addFactor(s[3], group);
    k = rule.addFactor(value.getShape()[1], FactorKind::Whole);
    d = rule.addFactor(s[4], FactorKind::Whole);
    dv = rule.addFactor(value.getShape()[3], FactorKind::Whole);
  }
  DimFactors query() const { return single({b, q, h, g, d}); }
  DimFactors key() const { return single({b, k, h, d}); }
  DimFactors value() const { return single({b, k, h, dv}); }
  DimFactors result() const { return single({b, q, h, g, dv}); }
  DimFactors probabilities() const { return single({b, h, g, q, k}); }
  /// A bias may have size one in its first three dimensions.
  DimFactors bias(RankedTensorType type) const {
    DimFactors dims = probabilities();
    for (int i = 0; i < 3; ++i)
      if (type.getShape()[i] == 1)
        dims[i].clear();
    return dims;
  }
};
} // namespace

ShardingRule AttentionOp::getShardingRule() {
  ShardingRule rule;
  // A band counts positions from the start of the sequence, so its rows cannot be split by themselves.
  bool band = getLower() || getUpper();
  AttentionFactors f(rule, tensorType(getQuery()), tensorType(getValue()), band ? FactorKind::Whole : FactorKind::Parallel,
                     FactorKind::Parallel);
  rule.operands = {f.query(), f.key(), f.value()};
  if (getKeyMask())
    rule.operands.push_back(single({f.b, f.k}));
  if (getBias())
    rule.operands.push_back(f.bias(tensorType(getBias())));
  rule.results = {f.result(), f.probabilities()};
  setLinear(rule, {});
  return rule;
}

ShardingRule AttentionGradOp::getShardingRule() {
  ShardingRule rule;
  // Key and value gradients sum over the query rows and the group.
  AttentionFactors f(rule, tensorType(getQuery()), tensorType(getValue()), FactorKind::ReductionSum, FactorKind::ReductionSum);
  if (getBias()) {
    // A bias that is shared along a dimension has a gradient that sums over it.
    ArrayRef<int64_t> shape = tensorType(getBias()).getShape();
    if (shape[0] == 1)
      rule.factors[f.b].kind = FactorKind::ReductionSum;
    if (shape[1] == 1)
      rule.factors[f.h].kind = FactorKind::ReductionSum;
  }
  rule.operands = {f.query(), f.key(), f.value(), f.probabilities(), f.result()};
  rule.results = {f.query(), f.key(), f.value()};
  if (getBias()) {
    rule.operands.push_back(f.bias(tensorType(getBias())));
    rule.results.push_back(f.bias(tensorType(getBias())));
  }
  setLinear(rule, {{4}});
  return rule;
}

/// Rows are parallel; classes are whole.
static ShardingRule crossEntropyRule(RankedTensorType logits, DimFactors &all, DimFactors &rows) {
  ShardingRule rule;
  int64_t last = logits.getRank() - 1;
  SmallVector<int64_t> factors =
      addDims(rule, logits, [&](int64_t i) { return i == last ? FactorKind::Whole : FactorKind::Parallel; });
  all = single(factors);
  rows = single(ArrayRef(factors).drop_back());
  return rule;
}

ShardingRule CrossEntropyOp::getShardingRule() {
  DimFactors all, rows;
  ShardingRule rule = crossEntropyRule(tensorType(getLogits()), all, rows);
  rule.operands = {all, rows};
  rule.results = {rows, rows};
  return rule;
}

ShardingRule CrossEntropyGradOp::getShardingRule() {
  DimFactors all, rows;
  ShardingRule rule = crossEntropyRule(tensorType(getLogits()), all, rows);
  rule.operands = {all, rows, rows, rows};
  rule.results = {all};
  setLinear(rule, {{3}});
  return rule;
}

/// An update is elementwise in the parameter; the scalars of the step are whole.
static ShardingRule updateRule(Operation *op, unsigned tensors) {
  ShardingRule rule;
  DimFactors dims = single(addDims(rule, tensorType(op->getOperand(0)), [](int64_t) { return FactorKind::Parallel; }));
  rule.operands.assign(tensors, dims);
  rule.operands.push_back(single({rule.addFactor(tensorType(op->getOperand(tensors)).getNumElements(), FactorKind::Whole)}));
  rule.operands.push_back({});
  rule.results.assign(op->getNumResults(), dims);
  // What is zero and has no gradient stays so.
  rule.zeroIn.emplace_back(llvm::to_vector(llvm::seq<int64_t>(0, tensors)));
  return rule;
}

ShardingRule AdamWOp::getShardingRule() { return updateRule(*this, 4); }
ShardingRule SgdOp::getShardingRule() { return updateRule(*this, 3); }
