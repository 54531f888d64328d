//===- NumbersTest.cpp - Rules and gradients are claims about numbers -----===//
//
// For every example in Examples.mlir: each loop that its sharding rule lets be
// split is split, and the pieces must give the whole; where the rule says that
// it is linear, sums must pass through; the gradient that it builds must be what
// finite differences say.
//
//===----------------------------------------------------------------------===//

#include "Evaluator.h"

#include "mlir/IR/Verifier.h"
#include "mlir/Parser/Parser.h"
#include "llvm/ADT/StringSet.h"
#include <gtest/gtest.h>
#include <numeric>
#include <random>

using namespace mlir;
using namespace galvatron;
using namespace galvatron::test;

namespace {

/// The examples, parsed once.
struct Examples {
  MLIRContext context;
  OwningOpRef<ModuleOp> module;

  Examples() {
    context.loadDialect<nn::NNDialect, func::FuncDialect>();
    module = parseSourceFile<ModuleOp>(GALVATRON_EXAMPLES, &context);
  }
  static Examples &get() {
    static Examples examples;
    return examples;
  }
  static std::vector<std::string> names() {
    std::vector<std::string> names;
    if (get().module)
      for (auto function : get().module->getOps<func::FuncOp>())
        names.push_back(function.getSymName().str());
    return names;
  }
};

class Numbers : public testing::TestWithParam<std::string> {
protected:
  void SetUp() override {
    ASSERT_TRUE(Examples::get().module);
    function = Examples::get().module->lookupSymbol<func::FuncOp>(GetParam());
    op = &function.front().front();
    for (BlockArgument argument : function.getArguments())
      arguments.push_back(function.getArgAttr(argument.getArgNumber(), "test.numbers")
                              ? count(argument.getType())
                              : draw(argument.getType(), function.getArgAttrOfType<ArrayAttr>(argument.getArgNumber(), "test.range")));
  }

  Tensor draw(Type type, ArrayAttr range = {}) {
    Tensor tensor(type);
    bool isInt = isa<IntegerType>(getElementTypeOrSelf(type));
    auto bound = [&](unsigned i) {
      if (auto number = dyn_cast<FloatAttr>(range[i]))
        return number.getValueAsDouble();
      return double(cast<IntegerAttr>(range[i]).getInt());
    };
    double low = range ? bound(0) : isInt ? 0 : 0.2, high = range ? bound(1) : 2;
    for (double &value : tensor.data) {
      value = std::uniform_real_distribution<>(low, high)(random);
      if (isInt)
        value = std::floor(value);
      else if (!range && random() % 2)
        value = -value;
    }
    return tensor;
  }

  /// 0, 1, 2, ...
  static Tensor count(Type type) {
    Tensor tensor(type);
    std::iota(tensor.data.begin(), tensor.data.end(), 0);
    return tensor;
  }

  void expectEqual(const Tensor &found, const Tensor &wanted, double tolerance, const std::string &what) {
    ASSERT_EQ(found.shape, wanted.shape) << what;
    for (size_t i = 0; i < found.data.size(); ++i)
      ASSERT_NEAR(found.data[i], wanted.data[i], tolerance * (1 + std::abs(wanted.data[i]))) << what << ", element " << i;
  }

  func::FuncOp function;
  Operation *op = nullptr;
  std::vector<Tensor> arguments;
  std::mt19937 random{20};
};

//===----------------------------------------------------------------------===//
// Splitting loops
//===----------------------------------------------------------------------===//

bool hasFactor(const nn::DimFactors &dims, int64_t factor) {
  return llvm::any_of(dims, [&](const auto &dim) { return llvm::is_contained(dim, factor); });
}

/// One loop of a rule, cut into `parts`.
struct Cut {
  const nn::ShardingRule &rule;
  int64_t factor, parts;

  int64_t pieceSize() const { return rule.factors[factor].size / parts; }

  Index pieceShape(const Index &shape, const nn::DimFactors &dims) const {
    Index piece = shape;
    for (size_t d = 0; d < shape.size(); ++d)
      if (llvm::is_contained(dims[d], factor))
        piece[d] /= parts;
    return piece;
  }

  /// For every element of the whole: which piece it is in, and where.
  void visit(const Index &shape, const nn::DimFactors &dims, llvm::function_ref<void(const Index &, int64_t, const Index &)> visit) const {
    forEach(shape, [&](const Index &whole) {
      Index piece(whole.size());
      int64_t number = 0;
      for (size_t d = 0; d < whole.size(); ++d) {
        int64_t rest = whole[d], scale = 1;
        for (int64_t f : llvm::reverse(dims[d])) {
          int64_t size = rule.factors[f].size, digit = rest % size;
          rest /= size;
          if (f == factor) {
            number = digit / pieceSize();
            digit %= pieceSize();
            size = pieceSize();
          }
          piece[d] += digit * scale;
          scale *= size;
        }
      }
      visit(whole, number, piece);
    });
  }
};

TEST_P(Numbers, PiecesGiveTheWhole) {
  auto interface = dyn_cast<nn::ShardingRuleInterface>(op);
  ASSERT_TRUE(interface) << "no sharding rule";
  nn::ShardingRule rule = interface.getShardingRule();
  ASSERT_EQ(rule.check(op), "");
  Evaluator evaluator;
  std::vector<Tensor> whole = evaluator.evaluate(op, arguments);
  for (int64_t factor = 0, n = rule.factors.size(); factor < n; ++factor) {
    nn::Factor loop = rule.factors[factor];
    if (loop.kind == nn::FactorKind::Whole || loop.size == 1)
      continue;
    Cut cut{rule, factor, loop.size % 2 == 0 ? 2 : loop.size};
    std::string what = rule.str() + ", loop " + std::to_string(factor);

    // The op over a piece is the same op with other types.
    OwningOpRef<func::FuncOp> clone(function.clone());
    Operation *piece = &clone->front().front();
    auto retype = [&](Value value, const nn::DimFactors &dims) {
      auto type = nn::tensorType(value);
      value.setType(type.clone(cut.pieceShape(Index(type.getShape()), dims)));
    };
    for (auto [operand, dims] : llvm::zip(clone->getArguments(), rule.operands))
      retype(operand, dims);
    for (auto [result, dims] : llvm::zip(piece->getResults(), rule.results))
      retype(result, dims);
    if (auto constant = dyn_cast<nn::ConstantOp>(piece))
      constant.setValueAttr(cast<DenseElementsAttr>(constant.getValue()).resizeSplat(constant.getType()));
    ASSERT_TRUE(succeeded(verify(piece, /*verifyRecursively=*/false))) << what;

    std::vector<Tensor> combined;
    for (const Tensor &result : whole)
      combined.emplace_back(result.shape);
    for (int64_t k = 0; k < cut.parts; ++k) {
      std::vector<Tensor> operands;
      for (auto [argument, dims] : llvm::zip(arguments, rule.operands)) {
        Tensor tensor(cut.pieceShape(argument.shape, dims));
        cut.visit(argument.shape, dims, [&, dims = dims, &argument = argument](const Index &from, int64_t number, const Index &to) {
          if (number == k || !hasFactor(dims, factor))
            tensor.at(to) = argument.at(from);
        });
        operands.push_back(tensor);
      }
      std::vector<Tensor> results = evaluator.evaluate(piece, operands);
      for (auto [result, into, dims] : llvm::zip(results, combined, rule.results)) {
        if (hasFactor(dims, factor)) {
          cut.visit(into.shape, dims, [&, &into = into, &result = result](const Index &to, int64_t number, const Index &from) {
            if (number == k)
              into.at(to) = result.at(from);
          });
          continue;
        }
        for (auto [value, sum] : llvm::zip(result.data, into.data))
          switch (loop.kind) {
          case nn::FactorKind::ReductionSum:
            sum += value;
            break;
          case nn::FactorKind::ReductionMax:
            sum = k ? std::max(sum, value) : value;
            break;
          case nn::FactorKind::ReductionMin:
            sum = k ? std::min(sum, value) : value;
            break;
          case nn::FactorKind::Parallel:
          case nn::FactorKind::Whole:
            ASSERT_TRUE(k == 0 || sum == value) << what << ": a result without the loop differs between pieces";
            sum = value;
            break;
          }
      }
    }
    for (auto [found, wanted] : llvm::zip(combined, whole))
      expectEqual(found, wanted, 1e-9, what);
  }
}

TEST_P(Numbers, SumsPassThroughWhatIsLinear) {
  nn::ShardingRule rule = cast<nn::ShardingRuleInterface>(op).getShardingRule();
  Evaluator evaluator;
  for (const auto &set : rule.linearIn) {
    // f(a + b) = f(a) + f(b) in these operands together.
    std::vector<Tensor> other = arguments, sum = arguments;
    for (int64_t i : set) {
      other[i] = draw(op->getOperand(i).getType(), ArrayAttr());
      for (size_t k = 0; k < sum[i].data.size(); ++k)
        sum[i].data[k] += other[i].data[k];
    }
    std::vector<Tensor> a = evaluator.evaluate(op, arguments), b = evaluator.evaluate(op, other), ab = evaluator.evaluate(op, sum);
    for (size_t r = 0; r < a.size(); ++r) {
      for (size_t k = 0; k < a[r].data.size(); ++k)
        a[r].data[k] += b[r].data[k];
      expectEqual(a[r], ab[r], 1e-9, rule.str());
    }
  }
}

/// Where all operands that run over a loop are zero at a place of it, so are the results: that is what `zeroIn` says, and linearity too.
TEST_P(Numbers, ZerosStayZeros) {
  nn::ShardingRule rule = cast<nn::ShardingRuleInterface>(op).getShardingRule();
  Type type = nn::tensorType(op->getResult(0)).getElementType();
  auto dimOf = [](const nn::DimFactors &dims, int64_t factor) -> int64_t {
    for (auto [dim, factors] : llvm::enumerate(dims))
      if (factors.size() == 1 && factors.front() == factor)
        return dim;
    return -1;
  };
  for (int64_t factor = 0, n = rule.factors.size(); factor < n; ++factor) {
    auto runsOver = [&](int64_t operand) { return dimOf(rule.operands[operand], factor) >= 0; };
    auto holds = [&](ArrayRef<int64_t> set) { return llvm::all_of(set, runsOver); };
    auto isInSome = [&](int64_t operand) {
      auto hasIt = [&](ArrayRef<int64_t> set) { return llvm::is_contained(set, operand); };
      return llvm::any_of(rule.linearIn, hasIt) || llvm::any_of(rule.zeroIn, hasIt);
    };
    bool areAllIn = true;
    for (int64_t i = 0, n = op->getNumOperands(); i < n; ++i)
      areAllIn &= !runsOver(i) || nn::tensorType(op->getOperand(i)).getElementType() != type || isInSome(i);
    if (rule.factors[factor].kind == nn::FactorKind::Whole || !areAllIn ||
        (llvm::none_of(rule.linearIn, holds) && llvm::none_of(rule.zeroIn, holds)))
      continue;
    // The last place of the loop is zero. Its number, where numbers are an operand, is none that something points to.
    std::vector<Tensor> padded = arguments;
    for (auto [i, tensor] : llvm::enumerate(padded)) {
      if (int64_t dim = dimOf(rule.operands[i], factor); dim >= 0)
        forEach(tensor.shape, [&, &tensor = tensor, i = i](const Index &index) {
          if (index[dim] == tensor.shape[dim] - 1 && nn::tensorType(op->getOperand(i)).getElementType() == type)
            tensor.at(index) = 0;
        });
      else if (nn::tensorType(op->getOperand(i)).getElementType() != type)
        for (double &id : tensor.data)
          id = std::min(id, double(rule.factors[factor].size - 2));
    }
    std::vector<Tensor> results = Evaluator().evaluate(op, padded);
    for (auto [result, dims] : llvm::zip(results, rule.results))
      if (int64_t dim = dimOf(dims, factor); dim >= 0)
        forEach(result.shape, [&, &result = result](const Index &index) {
          EXPECT_TRUE(index[dim] < result.shape[dim] - 1 || result.at(index) == 0) << rule.str() << ", loop " << factor;
        });
  }
}

/// What counts along a loop computes the same with the numbers of the loop as a value, and then nothing keeps the loop whole.
TEST_P(Numbers, CountedLoopsTakeNumbers) {
  auto counted = dyn_cast<nn::CountedLoopInterface>(op);
  int64_t factor = counted ? counted.getCountedFactor() : -1;
  if (factor < 0)
    return;
  nn::ShardingRule rule = cast<nn::ShardingRuleInterface>(op).getShardingRule();
  EXPECT_EQ(rule.factors[factor].kind, nn::FactorKind::Whole);
  Evaluator evaluator;
  OwningOpRef<func::FuncOp> clone(function.clone());
  OpBuilder builder(&clone->front().front());
  auto type = RankedTensorType::get({rule.factors[factor].size}, builder.getI64Type());
  auto numbers = builder.create<nn::IotaOp>(op->getLoc(), type, uint64_t(0));
  cast<nn::CountedLoopInterface>(numbers->getNextNode()).takeNumbers(builder, numbers);
  ASSERT_TRUE(succeeded(verify(*clone)));
  std::vector<Tensor> wanted = evaluator.evaluate(function, arguments), found = evaluator.evaluate(*clone, arguments);
  for (size_t i = 0; i < wanted.size(); ++i)
    expectEqual(found[i], wanted[i], 1e-9, "result " + std::to_string(i));
  // (With the numbers as an operand of its own an op may split them.)
  clone->walk([&](nn::ShardingRuleInterface inner) {
    for (nn::Factor loop : inner.getShardingRule().factors)
      EXPECT_TRUE(inner == numbers || loop.kind != nn::FactorKind::Whole) << inner.getShardingRule().str();
  });
}

//===----------------------------------------------------------------------===//
// Gradients
//===----------------------------------------------------------------------===//

TEST_P(Numbers, GradientsAreFiniteDifferences) {
  auto gradient = dyn_cast<nn::GradientInterface>(op);
  if (!gradient)
    return;
  Evaluator evaluator;
  auto isFloat = [](Value value) { return isa<FloatType>(getElementTypeOrSelf(value.getType())); };

  // A function of the operands and the cotangents that returns the gradients. Attention's probabilities have no cotangent.
  OwningOpRef<func::FuncOp> clone(function.clone());
  clone->removeArgAttrsAttr();
  Block &body = clone->front();
  Operation *copy = &body.front(), *terminator = body.getTerminator();
  std::vector<Tensor> all = arguments, cotangents;
  SmallVector<Value> resultGradients;
  for (OpResult result : copy->getResults()) {
    bool has = isFloat(result) && !(isa<nn::AttentionOp>(op) && result.getResultNumber() == 1);
    cotangents.push_back(has ? draw(result.getType()) : Tensor(result.getType()));
    resultGradients.push_back(has ? body.addArgument(result.getType(), result.getLoc()) : BlockArgument());
    if (has)
      all.push_back(cotangents.back());
  }
  if (!llvm::any_of(resultGradients, [](Value v) { return bool(v); }))
    return;
  SmallVector<bool> wanted;
  for (Value operand : copy->getOperands())
    wanted.push_back(isFloat(operand));
  OpBuilder builder(terminator);
  SmallVector<Value> operandGradients;
  cast<nn::GradientInterface>(copy).buildGradients(builder, resultGradients, wanted, operandGradients);
  ASSERT_EQ(operandGradients.size(), op->getNumOperands());
  SmallVector<Value> returned;
  for (auto [value, want] : llvm::zip(operandGradients, wanted))
    if (value && want)
      returned.push_back(value);
  terminator->setOperands(returned);
  clone->setFunctionType(builder.getFunctionType(body.getArgumentTypes(), ValueRange(returned).getTypes()));
  ASSERT_TRUE(succeeded(verify(*clone)));
  std::vector<Tensor> found = evaluator.evaluate(*clone, all);

  auto loss = [&](const std::vector<Tensor> &operands) {
    double sum = 0;
    std::vector<Tensor> results = evaluator.evaluate(op, operands);
    for (auto [result, cotangent] : llvm::zip(results, cotangents))
      for (auto [x, y] : llvm::zip(result.data, cotangent.data))
        sum += y == 0 ? 0 : x * y;
    return sum;
  };
  size_t next = 0;
  for (size_t i = 0; i < arguments.size(); ++i) {
    if (!wanted[i])
      continue;
    Tensor numeric(arguments[i].shape);
    for (size_t k = 0; k < numeric.data.size(); ++k) {
      std::vector<Tensor> moved = arguments;
      auto at = [&](double h) {
        moved[i].data[k] = arguments[i].data[k] + h;
        return loss(moved);
      };
      double h = 1e-3;
      numeric.data[k] = (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h);
    }
    // No gradient means zero.
    Tensor built = operandGradients[i] ? found[next++] : Tensor(arguments[i].shape);
    expectEqual(built, numeric, 1e-6, "operand " + std::to_string(i));
  }
}

INSTANTIATE_TEST_SUITE_P(Ops, Numbers, testing::ValuesIn(Examples::names()), [](const auto &info) { return info.param; });

/// No op is left out.
TEST(Examples, CoverEveryOp) {
  llvm::StringSet<> seen;
  ASSERT_TRUE(Examples::get().module);
  Examples::get().module->walk([&](Operation *op) { seen.insert(op->getName().getStringRef()); });
  for (RegisteredOperationName name : Examples::get().context.getRegisteredOperations())
    if (name.hasInterface<nn::ShardingRuleInterface>())
      EXPECT_TRUE(seen.contains(name.getStringRef())) << name.getStringRef().str() << " has no example";
}

} // namespace
