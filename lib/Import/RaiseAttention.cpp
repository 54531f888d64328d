//===- RaiseAttention.cpp - Attention and what its mask says --------------===//
//
// Matching starts at a softmax and reads the loops of the two contractions around it by their
// letters, so the order of dimensions does not matter: loops of query, key and scores are the
// batch and the KV heads, a loop that only the query and the scores have is a group or the
// query's position, the loop of the softmax is the key's.
//
// A masked score plus the lowest float is the lowest float, so masking by it is the same as by
// -inf in every row in which something takes part. Where a row can be without any, it is kept
// apart (finite_mask). Masks by smaller numbers stay what they are: a bias.
//
//===----------------------------------------------------------------------===//

#include "AttentionMask.h"
#include "Match.h"
#include "galvatron/Import/Passes.h"

#include <cmath>

namespace galvatron {
#define GEN_PASS_DEF_NNRAISEATTENTION
#include "galvatron/Import/Passes.h.inc"
} // namespace galvatron

using namespace mlir;
using namespace galvatron;
using namespace galvatron::nn;

namespace {

/// At most this: added to any score, a float32 stays what it was.
constexpr double maskedScore = -1e30;

/// Something that is added to the scores.
struct Addend {
  Value value;
  double factor;
};

/// where(mask, scores, number)
struct Selected {
  Value mask;
  double number;
};

/// What the operand of the softmax is: scale * contract, perhaps capped, plus addends, where selected.
struct Scores {
  ContractOp contract;
  double scale = 1, softcap = 0;
  SmallVector<Addend> addends;
  SmallVector<Selected> selected;
};

bool readScores(Value value, double factor, Scores &scores, int depth = 8) {
  Scaled scaled = stripScale(value);
  factor *= scaled.factor;
  Operation *op = scaled.value.getDefiningOp();
  if (!op || depth == 0 || !scaled.value.hasOneUse())
    return false;
  if (auto contract = dyn_cast<ContractOp>(op)) {
    scores.contract = contract;
    scores.scale = factor;
    return true;
  }
  if (auto tanh = dyn_cast<TanhOp>(op)) {
    Scores inner;
    if (!(factor > 0) || !readScores(tanh.getOperand(), 1, inner, depth - 1) || !inner.addends.empty() ||
        !inner.selected.empty() || inner.softcap != 0)
      return false;
    scores.contract = inner.contract;
    scores.softcap = factor; // c * tanh(scale * s / c)
    scores.scale = inner.scale * factor;
    return true;
  }
  if (auto add = dyn_cast<AddOp>(op)) {
    for (auto [path, addend] : {std::pair(add.getLhs(), add.getRhs()), std::pair(add.getRhs(), add.getLhs())}) {
      size_t addends = scores.addends.size(), selected = scores.selected.size();
      if (readScores(path, factor, scores, depth - 1)) {
        scores.addends.push_back({addend, factor});
        return true;
      }
      scores.addends.resize(addends);
      scores.selected.resize(selected);
    }
    return false;
  }
  if (auto select = dyn_cast<SelectOp>(op)) {
    std::optional<double> number = getSplat(select.getOnFalse());
    if (!number || *number > maskedScore || factor != 1 || !readScores(select.getOnTrue(), 1, scores, depth - 1))
      return false;
    scores.selected.push_back({select.getCondition(), *number});
    return true;
  }
  return false;
}

/// The probabilities after the guard where(isnan(p), 0, p), if there is one, and their only user.
Operation *skipGuard(SoftmaxOp softmax, Value &probabilities) {
  probabilities = softmax.getResult();
  if (probabilities.hasOneUse())
    return *probabilities.user_begin();
  Operation *test = nullptr;
  SelectOp select;
  for (Operation *user : probabilities.getUsers()) {
    if (isa<IsNanOp>(user))
      test = user;
    else if (auto found = dyn_cast<SelectOp>(user); found && found.getOnFalse() == probabilities)
      select = found;
    else
      return nullptr;
  }
  std::optional<double> zero = select ? getSplat(select.getOnTrue()) : std::nullopt;
  if (!test || !select || select.getCondition() != test->getResult(0) || !test->hasOneUse() || !select->hasOneUse() || !zero ||
      *zero != 0)
    return nullptr;
  probabilities = select.getResult();
  return *select->user_begin();
}

/// The loops of attention as letters of the two contractions; 0 where there is none.
struct Loops {
  char batch = 0, query = 0, head = 0, group = 0, key = 0, inner = 0, valueInner = 0;
};

class AttentionRaiser {
public:
  AttentionRaiser(SoftmaxOp softmax, int64_t batchSize) : softmax(softmax), batchSize(batchSize), builder(softmax) {}

  bool run() {
    if (!match())
      return false;
    rewrite();
    return true;
  }

private:
  bool match();
  bool matchLoops();
  void rewrite();
  Value operand(Value value, StringRef letters, ArrayRef<char> order);
  void readMasks(AttentionMask &mask, bool &finite);
  void readAddend(Addend addend, AttentionMask &mask, bool &finite, bool asBias);
  void addBias(Value value, ArrayRef<int64_t> place);
  Value makeBias();
  Value conjunction(AttentionMask &mask);
  SmallVector<int64_t> allDims() {
    return llvm::to_vector(llvm::seq<int64_t>(0, softmax.getType().getRank()));
  }
  int64_t scoreDim(char letter) { return letter ? int64_t(scoreLetters.find(letter)) : -1; }
  int64_t sizeOf(char letter) { return letter ? softmax.getType().getShape()[scoreDim(letter)] : 1; }

  SoftmaxOp softmax;
  int64_t batchSize;
  OpBuilder builder;
  Scores scores;
  ContractOp output;
  bool probabilitiesAreLhs = false;
  Value query, key, value;
  std::string queryLetters, keyLetters, valueLetters, outputLetters; ///< all in the letters of the scores
  std::string scoreLetters;
  Loops loops;
  SmallVector<PlacedMask> biases;
};

} // namespace

bool AttentionRaiser::match() {
  Value probabilities;
  output = dyn_cast_or_null<ContractOp>(skipGuard(softmax, probabilities));
  if (!output || !readScores(softmax.getOperand(), 1, scores))
    return false;
  probabilitiesAreLhs = output.getLhs() == probabilities;
  return matchLoops();
}

bool AttentionRaiser::matchLoops() {
  ContractOp::Subscripts qk = scores.contract.getParsedSubscripts(), pv = output.getParsedSubscripts();
  scoreLetters = qk.result.str();
  loops.key = scoreLetters[softmax.getDim()];
  bool keyIsRhs = qk.rhs.contains(loops.key);
  if (keyIsRhs == qk.lhs.contains(loops.key))
    return false;
  query = keyIsRhs ? scores.contract.getLhs() : scores.contract.getRhs();
  key = keyIsRhs ? scores.contract.getRhs() : scores.contract.getLhs();
  queryLetters = (keyIsRhs ? qk.lhs : qk.rhs).str();
  keyLetters = (keyIsRhs ? qk.rhs : qk.lhs).str();

  // The second contraction has letters of its own: the probabilities' are renamed to the scores', others to digits
  // of their order so that they meet nothing.
  value = probabilitiesAreLhs ? output.getRhs() : output.getLhs();
  StringRef probabilityLetters = probabilitiesAreLhs ? pv.lhs : pv.rhs, rawValue = probabilitiesAreLhs ? pv.rhs : pv.lhs;
  auto rename = [&](StringRef letters) {
    std::string renamed;
    for (char letter : letters) {
      size_t place = probabilityLetters.find(letter);
      renamed += place == StringRef::npos ? '*' : scoreLetters[place];
    }
    return renamed;
  };
  valueLetters = rename(rawValue);
  outputLetters = rename(pv.result);
  loops.valueInner = '*';
  if (llvm::count(valueLetters, '*') != 1 || llvm::count(outputLetters, '*') != 1 ||
      !StringRef(valueLetters).contains(loops.key) || StringRef(outputLetters).contains(loops.key))
    return false;

  std::string shared, queryOnly;
  for (char letter : scoreLetters) {
    if (letter == loops.key)
      continue;
    bool inQuery = StringRef(queryLetters).contains(letter), inKey = StringRef(keyLetters).contains(letter);
    if (!inQuery || inKey != StringRef(valueLetters).contains(letter) || !StringRef(outputLetters).contains(letter))
      return false;
    (inKey ? shared : queryOnly) += letter;
  }
  for (char letter : queryLetters)
    if (!StringRef(scoreLetters).contains(letter)) {
      if (loops.inner)
        return false;
      loops.inner = letter;
    }
  if (!loops.inner || shared.size() > 2 || queryOnly.empty() || queryOnly.size() > 2)
    return false;
  // Exporters keep the query's position next to the key's.
  loops.query = queryOnly.back();
  loops.group = queryOnly.size() == 2 ? queryOnly.front() : 0;
  if (shared.size() == 2) {
    loops.batch = shared[0];
    loops.head = shared[1];
  } else if (shared.size() == 1) {
    bool isBatch = softmax.getType().getShape()[scoreLetters.find(shared[0])] == batchSize;
    (isBatch ? loops.batch : loops.head) = shared[0];
  }
  return true;
}

/// `value` with its dimensions in `order`; a loop that it lacks is a dimension of size one.
Value AttentionRaiser::operand(Value value, StringRef letters, ArrayRef<char> order) {
  SmallVector<int64_t> permutation, shape;
  auto type = tensorType(value);
  for (char letter : order) {
    size_t place = letter ? letters.find(letter) : StringRef::npos;
    shape.push_back(place == StringRef::npos ? 1 : type.getShape()[place]);
    if (place != StringRef::npos)
      permutation.push_back(place);
  }
  value = builder.createOrFold<TransposeOp>(softmax.getLoc(), value, permutation);
  return builder.createOrFold<ReshapeOp>(softmax.getLoc(), type.clone(shape), value);
}

void AttentionRaiser::addBias(Value value, ArrayRef<int64_t> place) {
  if (auto broadcast = value.getDefiningOp<BroadcastOp>()) {
    SmallVector<int64_t> inner;
    for (int64_t dim : broadcast.getDims())
      inner.push_back(place[dim]);
    return addBias(broadcast.getOperand(), inner);
  }
  biases.push_back({value, SmallVector<int64_t>(place)});
}

/// All biases added up, as [batch or 1, heads or 1, group or 1, query, key].
Value AttentionRaiser::makeBias() {
  if (biases.empty())
    return {};
  const char order[] = {loops.batch, loops.head, loops.group, loops.query, loops.key};
  SmallVector<int64_t> shape, kept;
  for (size_t i = 0; i < std::size(order); ++i) {
    char letter = order[i];
    bool used = i >= 3 || llvm::any_of(biases, [&](PlacedMask &b) { return letter && llvm::is_contained(b.place, scoreDim(letter)); });
    if (used) {
      kept.push_back(scoreDim(letter));
      shape.push_back(sizeOf(letter));
    }
  }
  Location loc = softmax.getLoc();
  Value sum;
  for (PlacedMask &bias : biases) {
    // Ranks in `order` sort like the dimensions of the result.
    SmallVector<int64_t> ranks;
    for (int64_t dim : bias.place)
      ranks.push_back(llvm::find(kept, dim) - kept.begin());
    Value sorted = sortDims(builder, bias.value, ranks);
    auto type = tensorType(bias.value).clone(shape);
    if (sorted.getType() != type)
      sorted = builder.create<BroadcastOp>(loc, type, sorted, ranks);
    sum = sum ? builder.create<AddOp>(loc, sum, sorted) : sorted;
  }
  SmallVector<int64_t> full;
  for (auto [i, letter] : llvm::enumerate(order))
    full.push_back(letter && llvm::is_contained(kept, scoreDim(letter)) ? sizeOf(letter) : 1);
  return builder.createOrFold<ReshapeOp>(loc, tensorType(sum).clone(full), sum);
}

/// The conjunction of what has no form, as a mask of the scores' dimensions that it has.
Value AttentionRaiser::conjunction(AttentionMask &mask) {
  SmallVector<int64_t> kept;
  for (int64_t dim : allDims())
    if (llvm::any_of(mask.rest, [&](PlacedMask &m) { return llvm::is_contained(m.place, dim); }))
      kept.push_back(dim);
  SmallVector<int64_t> shape;
  for (int64_t dim : kept)
    shape.push_back(softmax.getType().getShape()[dim]);
  Value all;
  for (PlacedMask &part : mask.rest) {
    SmallVector<int64_t> ranks;
    for (int64_t dim : part.place)
      ranks.push_back(llvm::find(kept, dim) - kept.begin());
    Value sorted = sortDims(builder, part.value, ranks);
    auto type = tensorType(sorted).clone(shape);
    if (sorted.getType() != type)
      sorted = builder.create<BroadcastOp>(sorted.getLoc(), type, sorted, ranks);
    all = all ? builder.create<AndOp>(sorted.getLoc(), all, sorted) : sorted;
  }
  mask.rest.clear();
  mask.rest.push_back({all, kept});
  return all;
}

/// A sum that selects between 0 and a number below all scores is a mask; anything else is a bias.
void AttentionRaiser::readAddend(Addend addend, AttentionMask &mask, bool &finite, bool asBias) {
  SmallVector<int64_t> place = allDims();
  Value value = addend.value;
  while (auto broadcast = value.getDefiningOp<BroadcastOp>()) {
    SmallVector<int64_t> inner;
    for (int64_t dim : broadcast.getDims())
      inner.push_back(place[dim]);
    place = inner;
    value = broadcast.getOperand();
  }
  if (std::optional<double> splat = getSplat(value); splat && *splat == 0)
    return; // a mask that masks nothing
  if (!asBias) {
    if (auto select = value.getDefiningOp<SelectOp>()) {
      std::optional<double> on = getSplat(select.getOnTrue()), off = getSplat(select.getOnFalse());
      bool masksFalse = on && off && *on == 0 && *off * addend.factor <= maskedScore;
      bool masksTrue = on && off && *off == 0 && *on * addend.factor <= maskedScore;
      if (masksFalse || masksTrue) {
        finite |= !std::isinf(masksFalse ? *off : *on);
        Value condition = select.getCondition();
        if (masksTrue)
          condition = builder.create<NotOp>(select.getLoc(), condition);
        return mask.add(condition, place);
      }
    }
    auto constant = value.getDefiningOp<ConstantOp>();
    if (auto dense = constant ? dyn_cast<DenseFPElementsAttr>(constant.getValue()) : DenseFPElementsAttr()) {
      SmallVector<bool> isTrue;
      bool isMask = true, isFinite = false;
      for (const APFloat &element : dense.getValues<APFloat>()) {
        isTrue.push_back(element.isZero());
        isMask &= element.isZero() || element.convertToFloat() * addend.factor <= maskedScore;
        isFinite |= !element.isZero() && element.isFinite();
      }
      if (isMask && mask.addElements(isTrue, dense.getType().getShape(), place)) {
        finite |= isFinite;
        return;
      }
    }
  }
  if (addend.factor != 1) {
    Value factor = createSplat(builder, softmax.getLoc(), tensorType(value), addend.factor);
    value = builder.create<MulOp>(softmax.getLoc(), value, factor);
  }
  addBias(value, place);
}

void AttentionRaiser::readMasks(AttentionMask &mask, bool &finite) {
  // Two finite masks make a pair that both leave out -inf, and one that one leaves out finite: rows without any
  // pair would differ from those of one mask, so with a key mask only the first of them is read.
  bool first = true;
  for (Selected &selected : scores.selected) {
    finite |= !std::isinf(selected.number);
    mask.add(selected.mask, allDims());
    first = false;
  }
  for (Addend &addend : scores.addends) {
    bool mayBeEmpty = !first && finite && !mask.keyMasks.empty();
    readAddend(addend, mask, finite, mayBeEmpty);
    first = false;
  }
  if (mask.rest.empty())
    return;
  Value rest = conjunction(mask);
  auto type = tensorType(rest).clone(builder.getF32Type());
  double number = finite ? -3.4028234663852886e+38 : -std::numeric_limits<double>::infinity();
  Value bias = builder.create<SelectOp>(rest.getLoc(), rest, createSplat(builder, rest.getLoc(), type, 0.0),
                                        createSplat(builder, rest.getLoc(), type, number));
  addBias(bias, mask.rest.front().place);
}

void AttentionRaiser::rewrite() {
  Location loc = output.getLoc();
  builder.setInsertionPoint(output);
  double scale = scores.scale;
  Scaled q = stripScale(query), k = stripScale(key);
  scale *= q.factor * k.factor;

  AttentionMask mask(builder, {scoreDim(loops.batch), scoreDim(loops.query), scoreDim(loops.key), softmax.getType().getShape()});
  bool finite = false;
  readMasks(mask, finite);
  Value keyMask;
  for (Value part : mask.keyMasks)
    keyMask = keyMask ? builder.create<AndOp>(loc, keyMask, part) : part;
  // A band alone leaves every row a key.
  finite &= bool(keyMask) || !mask.rest.empty() || !mask.bandReachesEveryRow();
  if (keyMask)
    keyMask = builder.createOrFold<ReshapeOp>(loc, tensorType(keyMask).clone({sizeOf(loops.batch), sizeOf(loops.key)}), keyMask);
  Value bias = makeBias();

  Value queryOperand = operand(q.value, queryLetters, {loops.batch, loops.query, loops.head, loops.group, loops.inner});
  Value keyOperand = operand(k.value, keyLetters, {loops.batch, loops.key, loops.head, loops.inner});
  Value valueOperand = operand(value, valueLetters, {loops.batch, loops.key, loops.head, loops.valueInner});
  SmallVector<int64_t> resultShape(tensorType(queryOperand).getShape());
  resultShape.back() = tensorType(valueOperand).getShape().back();
  SmallVector<int64_t> probabilityShape{sizeOf(loops.batch), sizeOf(loops.head), sizeOf(loops.group), sizeOf(loops.query), sizeOf(loops.key)};
  auto bound = [&](std::optional<int64_t> value) { return value ? builder.getI64IntegerAttr(*value) : IntegerAttr(); };
  auto type = tensorType(queryOperand);
  auto attention = builder.create<AttentionOp>(
      builder.getFusedLoc({scores.contract.getLoc(), softmax.getLoc(), loc}), type.clone(resultShape), type.clone(probabilityShape), queryOperand,
      keyOperand, valueOperand, keyMask, bias, builder.getF64FloatAttr(scale), bound(mask.lower), bound(mask.upper),
      builder.getF64FloatAttr(scores.softcap), finite ? builder.getUnitAttr() : UnitAttr());

  // Back to the order of the second contraction.
  std::string present;
  SmallVector<int64_t> presentShape;
  const char resultOrder[] = {loops.batch, loops.query, loops.head, loops.group, loops.valueInner};
  for (auto [letter, size] : llvm::zip(resultOrder, resultShape))
    if (letter) {
      present += letter;
      presentShape.push_back(size);
    }
  Value result = builder.createOrFold<ReshapeOp>(loc, type.clone(presentShape), attention.getResult());
  SmallVector<int64_t> permutation;
  for (char letter : outputLetters)
    permutation.push_back(present.find(letter));
  result = builder.createOrFold<TransposeOp>(loc, result, permutation);
  output.getResult().replaceAllUsesWith(result);
  output.erase();
}

namespace {

struct NNRaiseAttention : galvatron::impl::NNRaiseAttentionBase<NNRaiseAttention> {
  void runOnOperation() override {
    func::FuncOp function = getOperation();
    if (function.isExternal())
      return;
    // The batch is the first dimension of the model's inputs.
    int64_t batchSize = 0;
    for (Type type : function.getArgumentTypes())
      if (auto tensor = dyn_cast<RankedTensorType>(type); tensor && tensor.getRank() > 0 && batchSize == 0)
        batchSize = tensor.getShape()[0];
    SmallVector<SoftmaxOp> candidates;
    function.walk([&](SoftmaxOp softmax) { candidates.push_back(softmax); });
    for (SoftmaxOp softmax : candidates)
      AttentionRaiser(softmax, batchSize).run();
    // What attention replaced must not count as a use of its operands.
    for (Block &block : function.getBody())
      for (Operation &op : llvm::make_early_inc_range(llvm::reverse(block)))
        if (isOpTriviallyDead(&op))
          op.erase();
  }
};

} // namespace
