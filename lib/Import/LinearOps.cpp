//===- LinearOps.cpp - Products of tensors --------------------------------===//
//
// MatMul, Gemm and Einsum are all nn.contract: a letter for each loop.
//
//===----------------------------------------------------------------------===//

#include "Importer.h"

using namespace llvm;
using namespace mlir;

namespace galvatron {

namespace {

LogicalResult expectFloats(NodeContext &node, size_t count) {
  bool ok = true;
  for (size_t i = 0; i < count; ++i)
    if (node.has(i))
      ok &= succeeded(node.expectElement(i, ElementKind::F32));
  return success(ok);
}

/// A unit dimension that the other operand's repeats is no loop: it is dropped.
struct Operand {
  Value value;
  std::string letters;
  void dropUnit(Emitter &emit, size_t d) {
    Shape shape(nn::tensorType(value).getShape());
    shape.erase(shape.begin() + d);
    value = emit.reshape(value, shape);
    letters.erase(d, 1);
  }
};

/// Contracts two operands into `result`. Letters may have size one on one side.
FailureOr<Value> contractOperands(NodeContext &node, Operand lhs, Operand rhs, std::string result) {
  Emitter &emit = node.emit;
  auto size = [](const Operand &o, size_t d) { return nn::tensorType(o.value).getDimSize(d); };
  for (size_t d = 0; d < lhs.letters.size(); ++d) {
    size_t e = rhs.letters.find(lhs.letters[d]);
    if (e == std::string::npos || size(lhs, d) == size(rhs, e))
      continue;
    if (size(lhs, d) == 1) {
      lhs.dropUnit(emit, d--);
    } else if (size(rhs, e) == 1) {
      rhs.dropUnit(emit, e);
    } else {
      node.error() << "sizes " << size(lhs, d) << " and " << size(rhs, e) << " of one loop do not agree";
      return failure();
    }
  }
  // A letter of one operand alone is summed there.
  for (auto [self, other] : {std::make_pair(&lhs, &rhs), std::make_pair(&rhs, &lhs)}) {
    Shape lonely;
    for (auto [d, letter] : enumerate(self->letters))
      if (!StringRef(other->letters).contains(letter) && !StringRef(result).contains(letter))
        lonely.push_back(d);
    if (lonely.empty())
      continue;
    self->value = emit.reduce(nn::ReduceKind::Sum, self->value, lonely, false);
    for (int64_t d : reverse(lonely))
      self->letters.erase(d, 1);
  }
  return emit.contract(lhs.value, rhs.value, lhs.letters + "," + rhs.letters + "->" + result);
}

LogicalResult importMatMul(NodeContext &node) {
  if (failed(node.expectInputs(2, 2)) || failed(expectFloats(node, 2)))
    return failure();
  const Shape &a = node.inputs[0].shape, &b = node.inputs[1].shape;
  if (a.empty() || b.empty() || a.size() + b.size() > 20)
    return node.error() << "has operands of rank " << a.size() << " and " << b.size();
  int64_t inner = a.back(), wanted = b.size() == 1 ? b[0] : b[b.size() - 2];
  if (inner != wanted)
    return node.error() << "the last dimension of the first operand has size " << inner
                        << "; the second operand needs " << wanted;
  size_t aBatch = a.size() > 2 ? a.size() - 2 : 0, bBatch = b.size() > 2 ? b.size() - 2 : 0;
  std::optional<Shape> batch = broadcastShapes(ArrayRef<int64_t>(a).take_front(aBatch), ArrayRef<int64_t>(b).take_front(bBatch));
  if (!batch)
    return node.error() << "batch dimensions do not broadcast";
  // Batch loops first, then rows, columns and the sum.
  std::string letters = "abcdefghijklmnopqrstuvwxyz";
  std::string batchLetters = letters.substr(0, batch->size());
  char m = letters[batch->size()], k = letters[batch->size() + 1], n = letters[batch->size() + 2];
  Operand lhs{node.tensor(0), batchLetters.substr(batch->size() - aBatch)};
  Operand rhs{node.tensor(1), batchLetters.substr(batch->size() - bBatch)};
  std::string result = batchLetters;
  if (a.size() > 1) {
    lhs.letters += m;
    result += m;
  }
  lhs.letters += k;
  rhs.letters += k;
  if (b.size() > 1) {
    rhs.letters += n;
    result += n;
  }
  FailureOr<Value> product = contractOperands(node, lhs, rhs, result);
  if (failed(product))
    return failure();
  return node.result(*product);
}

LogicalResult importGemm(NodeContext &node) {
  bool transA = node.getInt("transA", 0), transB = node.getInt("transB", 0);
  float alpha = node.getFloat("alpha", 1), beta = node.getFloat("beta", 1);
  if (failed(node.expectInputs(2, 3)) || failed(expectFloats(node, 3)))
    return failure();
  const Shape &a = node.inputs[0].shape, &b = node.inputs[1].shape;
  if (a.size() != 2 || b.size() != 2)
    return node.error() << "has operands of rank " << a.size() << " and " << b.size() << "; wanted matrices";
  if (a[transA ? 0 : 1] != b[transB ? 1 : 0])
    return node.error() << "sizes " << a[transA ? 0 : 1] << " and " << b[transB ? 1 : 0] << " of the sum do not agree";
  Emitter &emit = node.emit;
  Value y = emit.contract(node.tensor(0), node.tensor(1),
                          Twine(transA ? "ba" : "ab") + "," + (transB ? "cb" : "bc") + "->ac");
  if (alpha != 1)
    y = emit.make<nn::MulOp>(y, emit.numberLike(y, alpha));
  if (node.has(2) && beta != 0) {
    ArrayRef<int64_t> shape = nn::tensorType(y).getShape();
    std::optional<Shape> joined = broadcastShapes(node.inputs[2].shape, shape);
    if (!joined || ArrayRef<int64_t>(*joined) != shape)
      return node.error() << "the third operand does not broadcast to " << shape[0] << "x" << shape[1];
    Value c = node.tensor(2);
    if (beta != 1)
      c = emit.make<nn::MulOp>(c, emit.numberLike(c, beta));
    y = emit.make<nn::AddOp>(y, emit.broadcast(c, shape));
  }
  return node.result(y);
}

LogicalResult importEinsum(NodeContext &node) {
  std::string equation = node.getString("equation", "");
  if (failed(node.expectInputs(1, 26)) || failed(expectFloats(node, node.inputs.size())))
    return failure();
  llvm::erase(equation, ' ');
  auto [left, right] = StringRef(equation).split("->");
  bool hasResult = equation.find("->") != std::string::npos;
  SmallVector<StringRef> terms;
  left.split(terms, ',');
  if (terms.size() != node.inputs.size())
    return node.error() << "equation '" << equation << "' has " << terms.size() << " terms for " << node.inputs.size()
                        << " inputs";
  // An ellipsis stands for letters that the equation does not use, aligned at the right.
  std::string spare;
  for (char c = 'a'; c <= 'z'; ++c)
    if (equation.find(c) == std::string::npos)
      spare += c;
  size_t ellipsis = 0;
  for (auto [i, term] : enumerate(terms))
    if (term.contains("..."))
      ellipsis = std::max<size_t>(ellipsis, node.inputs[i].rank() + 3 > static_cast<int64_t>(term.size()) ? node.inputs[i].rank() + 3 - term.size() : 0);
  if (ellipsis > spare.size())
    return node.error() << "equation '" << equation << "' needs too many letters";
  auto expand = [&](StringRef term, size_t count) {
    auto [before, after] = term.split("...");
    return term.contains("...") ? before.str() + spare.substr(ellipsis - count, count) + after.str() : term.str();
  };
  SmallVector<Operand> operands;
  std::string all;
  for (auto [i, term] : enumerate(terms)) {
    size_t rank = node.inputs[i].rank();
    std::string letters = expand(term, term.contains("...") && rank + 3 >= term.size() ? rank + 3 - term.size() : 0);
    if (letters.size() != rank)
      return node.error() << "term '" << term << "' does not fit an input of rank " << rank;
    for (auto [d, letter] : enumerate(letters)) {
      if (!isAlpha(letter) || isUpper(letter))
        return node.error() << "equation '" << equation << "' is not made of lower-case letters";
      if (letters.find(letter, d + 1) != std::string::npos)
        return node.error() << "term '" << term << "' names a loop twice, which is not supported";
    }
    all += letters;
    operands.push_back({node.tensor(i), letters});
  }
  std::string result = expand(right, ellipsis);
  if (!hasResult) { // the letters that occur once, in order
    result = spare.substr(0, ellipsis);
    for (char c = 'a'; c <= 'z'; ++c)
      if (std::count(all.begin(), all.end(), c) == 1 && !StringRef(result).contains(c))
        result += c;
  }
  for (auto [d, letter] : enumerate(result))
    if (all.find(letter) == std::string::npos || result.find(letter, d + 1) != std::string::npos)
      return node.error() << "equation '" << equation << "' has a result that its terms do not give";
  // From the left, two at a time, keeping what is still needed.
  Operand value = operands[0];
  for (size_t i = 1; i < operands.size(); ++i) {
    std::string needed = result, kept;
    for (size_t j = i + 1; j < operands.size(); ++j)
      needed += operands[j].letters;
    for (char c : value.letters + operands[i].letters)
      if (StringRef(needed).contains(c) && !StringRef(kept).contains(c))
        kept += c;
    if (i + 1 == operands.size())
      kept = result;
    FailureOr<Value> product = contractOperands(node, value, operands[i], kept);
    if (failed(product))
      return failure();
    value = {*product, kept};
  }
  Shape lonely;
  std::string letters;
  for (auto [d, letter] : enumerate(value.letters)) {
    if (!StringRef(result).contains(letter))
      lonely.push_back(d);
    else
      letters += letter;
  }
  Value reduced = node.emit.reduce(nn::ReduceKind::Sum, value.value, lonely, false);
  Shape permutation;
  for (char c : result)
    permutation.push_back(letters.find(c));
  return node.result(node.emit.transpose(reduced, permutation));
}

} // namespace

static const OpImporter table[] = {
    {"Einsum", 13, importEinsum, "no loop twice in a term"},
    {"Gemm", 13, importGemm},
    {"MatMul", 13, importMatMul},
};

ArrayRef<OpImporter> linearOps() { return table; }

} // namespace galvatron
