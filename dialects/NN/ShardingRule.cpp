//===- ShardingRule.cpp ---------------------------------------------------===//

#include "dialects/NN/ShardingRule.h"

#include "mlir/IR/BuiltinTypes.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir;

namespace galvatron::nn {

int64_t ShardingRule::addFactor(int64_t size, FactorKind kind) {
  factors.push_back({size, kind});
  return factors.size() - 1;
}

static ArrayRef<int64_t> shapeOf(Value value) {
  return cast<RankedTensorType>(value.getType()).getShape();
}

ShardingRule ShardingRule::elementwise(Operation *op) {
  ShardingRule rule;
  DimFactors dims;
  for (int64_t size : shapeOf(op->getResult(0)))
    dims.push_back({rule.addFactor(size, FactorKind::Parallel)});
  rule.operands.assign(op->getNumOperands(), dims);
  rule.results.assign(op->getNumResults(), dims);
  return rule;
}

ShardingRule ShardingRule::replicated(Operation *op) {
  ShardingRule rule;
  auto wholeDims = [&](Value value) {
    DimFactors dims;
    for (int64_t size : shapeOf(value))
      dims.push_back({rule.addFactor(size, FactorKind::Whole)});
    return dims;
  };
  for (Value operand : op->getOperands())
    rule.operands.push_back(wholeDims(operand));
  for (Value result : op->getResults())
    rule.results.push_back(wholeDims(result));
  return rule;
}

static std::string letter(int64_t factor) {
  std::string name(1, char('a' + factor % 26));
  if (factor >= 26)
    name += std::to_string(factor / 26);
  return name;
}

static void printTensors(raw_ostream &os, ArrayRef<DimFactors> tensors) {
  os << "(";
  llvm::interleaveComma(tensors, os, [&](const DimFactors &dims) {
    os << "[";
    llvm::interleave(dims, os, [&](const llvm::SmallVector<int64_t, 1> &dim) {
      if (dim.empty())
        os << "1";
      else if (dim.size() == 1)
        os << letter(dim.front());
      else {
        os << "(";
        llvm::interleave(dim, os, [&](int64_t f) { os << letter(f); }, " ");
        os << ")";
      }
    }, " ");
    os << "]";
  });
  os << ")";
}

void ShardingRule::print(raw_ostream &os) const {
  printTensors(os, operands);
  os << " -> ";
  printTensors(os, results);
  os << " {";
  for (auto [i, factor] : llvm::enumerate(factors)) {
    os << (i ? ", " : "") << letter(i) << "=" << factor.size;
    switch (factor.kind) {
    case FactorKind::Parallel:
      break;
    case FactorKind::ReductionSum:
      os << " sum";
      break;
    case FactorKind::ReductionMax:
      os << " max";
      break;
    case FactorKind::ReductionMin:
      os << " min";
      break;
    case FactorKind::Whole:
      os << " whole";
      break;
    }
  }
  os << "}";
  auto printSets = [&](StringRef what, ArrayRef<llvm::SmallVector<int64_t>> sets) {
    if (sets.empty())
      return;
    os << what;
    llvm::interleave(sets, os, [&](const llvm::SmallVector<int64_t> &set) {
      llvm::interleave(set, os, [&](int64_t operand) { os << "#" << operand; }, "+");
      os << (set.empty() ? "all" : "");
    }, " | ");
  };
  printSets(" linear in ", linearIn);
  printSets(" zero in ", zeroIn);
}

std::string ShardingRule::str() const {
  std::string text;
  llvm::raw_string_ostream os(text);
  print(os);
  return text;
}

std::string ShardingRule::check(Operation *op) const {
  if (operands.size() != op->getNumOperands() || results.size() != op->getNumResults())
    return "the rule does not cover every operand and result";
  auto checkTensor = [&](Value value, const DimFactors &dims) -> std::string {
    ArrayRef<int64_t> shape = shapeOf(value);
    if (dims.size() != shape.size())
      return "a tensor's rank differs from the rule's";
    for (auto [size, dim] : llvm::zip(shape, dims)) {
      int64_t product = 1;
      for (int64_t f : dim) {
        if (f < 0 || f >= int64_t(factors.size()))
          return "a factor does not exist";
        product *= factors[f].size;
      }
      if (product != size)
        return "dimension of size " + std::to_string(size) + " has factors of product " + std::to_string(product);
    }
    return "";
  };
  for (auto [value, dims] : llvm::zip(op->getOperands(), operands))
    if (std::string error = checkTensor(value, dims); !error.empty())
      return error;
  for (auto [value, dims] : llvm::zip(op->getResults(), results))
    if (std::string error = checkTensor(value, dims); !error.empty())
      return error;
  return "";
}

} // namespace galvatron::nn
