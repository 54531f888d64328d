//===- MatmulPlan.cpp - A contraction as calls of one matrix product ------===//

#include "galvatron/Codegen/MatmulPlan.h"

#include <algorithm>

using namespace mlir;
using namespace galvatron;

namespace {

enum Operand { Lhs, Rhs, Out };

/// One loop, or several that every tensor walks as one. A stride is 0 in a tensor that does not have the loop.
struct Loop {
  int64_t size;
  int64_t stride[3];
  SmallVector<int64_t> outDims;
};

/// The loops of a contraction by what they do.
struct Loops {
  SmallVector<Loop> batch, m, n, k;
};

} // namespace

/// The loop of one letter. `shape` and `letters` are those of lhs, rhs and result.
static Loop makeLoop(char letter, ArrayRef<StringRef> letters, ArrayRef<ArrayRef<int64_t>> shapes) {
  Loop loop{1, {0, 0, 0}, {}};
  for (int t : {Lhs, Rhs, Out}) {
    size_t dim = letters[t].find(letter);
    if (dim == StringRef::npos)
      continue;
    loop.size = shapes[t][dim];
    loop.stride[t] = 1;
    for (int64_t inner : shapes[t].drop_front(dim + 1))
      loop.stride[t] *= inner;
    if (t == Out)
      loop.outDims.push_back(dim);
  }
  return loop;
}

/// Sorts the few loops by `key`, largest first; equal ones keep their order.
static void sortDescending(MutableArrayRef<Loop> loops, llvm::function_ref<int64_t(const Loop &)> key) {
  for (Loop *loop = loops.begin(); loop != loops.end(); ++loop) {
    Loop *place = std::upper_bound(loops.begin(), loop, *loop, [&](const Loop &a, const Loop &b) { return key(a) > key(b); });
    std::rotate(place, loop, loop + 1);
  }
}

/// Merges neighbours, outer before inner, where every tensor walks both as one dimension.
static void mergeLoops(SmallVectorImpl<Loop> &loops, Operand order) {
  sortDescending(loops, [&](const Loop &loop) { return loop.stride[order]; });
  SmallVector<Loop> merged;
  for (Loop &inner : loops) {
    auto fits = [&](const Loop &outer) {
      return llvm::all_of(ArrayRef<int>{Lhs, Rhs, Out},
                          [&](int t) { return outer.stride[t] == inner.size * inner.stride[t]; });
    };
    if (merged.empty() || !fits(merged.back())) {
      merged.push_back(inner);
      continue;
    }
    Loop &outer = merged.back();
    outer.size *= inner.size;
    std::copy(inner.stride, inner.stride + 3, outer.stride);
    llvm::append_range(outer.outDims, inner.outDims);
  }
  loops.assign(merged.begin(), merged.end());
}

static Loops classify(ArrayRef<StringRef> letters, ArrayRef<ArrayRef<int64_t>> shapes) {
  Loops loops;
  std::string seen;
  for (StringRef text : letters)
    for (char letter : text) {
      if (StringRef(seen).contains(letter))
        continue;
      seen.push_back(letter);
      Loop loop = makeLoop(letter, letters, shapes);
      if (loop.size == 1)
        continue;
      bool lhs = letters[Lhs].contains(letter), rhs = letters[Rhs].contains(letter), out = letters[Out].contains(letter);
      (lhs && rhs && out ? loops.batch : lhs && out ? loops.m : rhs && out ? loops.n : loops.k).push_back(loop);
    }
  mergeLoops(loops.batch, Out);
  mergeLoops(loops.m, Out);
  mergeLoops(loops.n, Out);
  mergeLoops(loops.k, Lhs);
  return loops;
}

/// Chooses m, n and k among the loops: each tensor should have a stride of one in one of them (the library is slow
/// otherwise), then the product should be as large as possible.
static std::array<int, 3> chooseMatrix(const Loops &loops) {
  static const Loop one{1, {0, 0, 0}, {}};
  auto get = [](ArrayRef<Loop> list, int i) -> const Loop & { return i < 0 ? one : list[i]; };
  std::array<int, 3> best = {-1, -1, -1};
  std::pair<int, double> bestScore = {-1, 0};
  int ms = loops.m.size(), ns = loops.n.size(), ks = loops.k.size();
  for (int m = ms ? 0 : -1; m < ms; ++m)
    for (int n = ns ? 0 : -1; n < ns; ++n)
      for (int k = ks ? 0 : -1; k < ks; ++k) {
        const Loop &lm = get(loops.m, m), &ln = get(loops.n, n), &lk = get(loops.k, k);
        int unit = (lm.stride[Lhs] == 1 || lk.stride[Lhs] == 1) + (lk.stride[Rhs] == 1 || ln.stride[Rhs] == 1) +
                   (lm.stride[Out] == 1 || ln.stride[Out] == 1);
        std::pair<int, double> score = {unit, double(lm.size) * ln.size * lk.size};
        if (score > bestScore) {
          bestScore = score;
          best = {m, n, k};
        }
      }
  return best;
}

/// Takes the chosen loop out of `list`.
static Loop take(SmallVectorImpl<Loop> &list, int index) {
  if (index < 0)
    return Loop{1, {0, 0, 0}, {}};
  Loop loop = list[index];
  list.erase(list.begin() + index);
  return loop;
}

/// Repeats every call for each value of `loop`; all but the first add to the result if the loop is summed.
static void unroll(SmallVectorImpl<MatmulPlan::Call> &calls, const Loop &loop, bool summed) {
  SmallVector<MatmulPlan::Call> all;
  for (int64_t i = 0; i < loop.size; ++i)
    for (MatmulPlan::Call call : calls)
      all.push_back({call.lhs + i * loop.stride[Lhs], call.rhs + i * loop.stride[Rhs], call.out + i * loop.stride[Out],
                     call.accumulate || (summed && i > 0)});
  calls.assign(all.begin(), all.end());
}

/// A matrix dimension of size 1 never advances, but the library wants strides of a plain matrix there.
static void setStride(int64_t &stride, const Loop &loop, Operand operand, int64_t plain) {
  stride = loop.size == 1 ? plain : loop.stride[operand];
}

static std::optional<MatmulPlan> plan(nn::ContractOp contract, bool swapped) {
  nn::ContractOp::Subscripts subscripts = contract.getParsedSubscripts();
  StringRef letters[] = {subscripts.lhs, subscripts.rhs, subscripts.result};
  ArrayRef<int64_t> shapes[] = {nn::tensorType(contract.getLhs()).getShape(), nn::tensorType(contract.getRhs()).getShape(),
                                nn::tensorType(contract.getResult()).getShape()};
  if (swapped) {
    std::swap(letters[Lhs], letters[Rhs]);
    std::swap(shapes[Lhs], shapes[Rhs]);
  }
  Loops loops = classify(letters, shapes);
  auto [mi, ni, ki] = chooseMatrix(loops);
  Loop m = take(loops.m, mi), n = take(loops.n, ni), k = take(loops.k, ki);

  MatmulPlan result;
  result.swapped = swapped;
  result.m = m.size;
  result.n = n.size;
  result.k = k.size;
  setStride(result.lhs[1], k, Lhs, 1);
  setStride(result.lhs[0], m, Lhs, k.size == 1 ? 1 : k.size * result.lhs[1]);
  setStride(result.rhs[1], n, Rhs, 1);
  setStride(result.rhs[0], k, Rhs, n.size == 1 ? 1 : n.size * result.rhs[1]);
  setStride(result.out[1], n, Out, 1);
  setStride(result.out[0], m, Out, n.size == 1 ? 1 : n.size * result.out[1]);
  if (loops.n.empty())
    result.biasDims.emplace(n.outDims.begin(), n.outDims.end());

  // What is left of m and n repeats one operand: batch dimensions, as far as there are enough of them.
  SmallVector<Loop> batch = loops.batch;
  llvm::append_range(batch, loops.m);
  llvm::append_range(batch, loops.n);
  sortDescending(batch, [](const Loop &loop) { return loop.size; });
  result.calls.push_back({0, 0, 0, false});
  int64_t calls = 1;
  SmallVector<std::pair<Loop, bool>> unrolled;
  while (batch.size() > 4)
    unrolled.push_back({batch.pop_back_val(), false});
  for (const Loop &loop : loops.k)
    unrolled.push_back({loop, true});
  for (auto &[loop, summed] : unrolled)
    if ((calls *= loop.size) > maxMatmulCalls)
      return std::nullopt;
  for (auto &[loop, summed] : unrolled)
    unroll(result.calls, loop, summed);
  sortDescending(batch, [](const Loop &loop) { return loop.stride[Out]; });
  for (const Loop &loop : batch) {
    result.batch.push_back(loop.size);
    result.lhsBatch.push_back(loop.stride[Lhs]);
    result.rhsBatch.push_back(loop.stride[Rhs]);
    result.outBatch.push_back(loop.stride[Out]);
  }
  return result;
}

std::optional<MatmulPlan> galvatron::planMatmul(nn::ContractOp contract) {
  std::optional<MatmulPlan> straight = plan(contract, false);
  // The library writes row-major matrices: n should be the dimension of the result that has a stride of one.
  if (straight && straight->out[1] == 1)
    return straight;
  std::optional<MatmulPlan> swapped = plan(contract, true);
  return swapped && (!straight || swapped->out[1] == 1) ? swapped : straight;
}

std::optional<MatmulPlan> galvatron::planMatmulWithBias(nn::ContractOp contract, ArrayRef<int64_t> dims) {
  ArrayRef<int64_t> shape = nn::tensorType(contract.getResult()).getShape();
  SmallVector<int64_t> wanted;
  for (int64_t dim : dims)
    if (shape[dim] != 1)
      wanted.push_back(dim);
  for (bool swapped : {false, true})
    if (std::optional<MatmulPlan> result = plan(contract, swapped);
        result && result->biasDims == wanted &&
        llvm::none_of(result->calls, [](const MatmulPlan::Call &call) { return call.accumulate; }))
      return result;
  return std::nullopt;
}
