//===- KernelLearning.cpp - What the first emission teaches -------------===//

#include "KernelLoops.h"

#include "llvm/ADT/SmallSet.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace galvatron;
using namespace galvatron::nn;

/// A row buffer lives on the stack of a thread.
static constexpr int64_t maxBufferBytes = 64 * 1024;
/// Loops are cut into at most this many pieces.
static constexpr unsigned maxPieces = 8;
/// Rows of a kernel without reductions are made at least this long, if enough of them are left.
static constexpr int64_t wantedColumns = 2048, wantedRows = 32;
/// A thread is not started for less than about this many simple elements.
static constexpr int64_t grainWork = 16384;

//===----------------------------------------------------------------------===//
// Learning from the first emission
//===----------------------------------------------------------------------===//

/// Whether a form moves by the same steps whether loops `outer` and `inner` (of `size`) are two or one.
static bool movesTogether(const IndexSpace &space, const IndexForm &form, unsigned outer, unsigned inner, int64_t size) {
  if (form.coefficient(outer) != form.coefficient(inner) * size)
    return false;
  return llvm::all_of(form.terms, [&](auto term) {
    const IndexSpace::Atom &atom = space.getAtom(term.first);
    return atom.value || movesTogether(space, atom.numerator, outer, inner, size);
  });
}

void KernelLoops::mergeLoops(NestChoice &choice, ArrayRef<SmallVector<unsigned>> nests) {
  SmallVector<int64_t> merged;
  for (size_t loop = 0; loop < choice.sizes.size(); ++loop) {
    bool together = loop > 0 && llvm::all_of(nests, [&](const SmallVector<unsigned> &nest) {
      return llvm::all_of(puller->uses, [&](const IndexForm &form) {
        return movesTogether(puller->space, form, nest[loop - 1], nest[loop], choice.sizes[loop]);
      });
    });
    if (together)
      merged.back() *= choice.sizes[loop];
    else
      merged.push_back(choice.sizes[loop]);
  }
  // Where a comparison of one loop with a constant changes its outcome. The loop was not merged then.
  SmallVector<SmallVector<int64_t>> cuts(merged.size());
  unsigned target = 0;
  int64_t product = 1;
  for (size_t loop = 0; loop < choice.sizes.size(); ++loop) {
    product *= choice.sizes[loop];
    if (product == choice.sizes[loop] && merged[target] == choice.sizes[loop]) {
      llvm::SmallSet<int64_t, 8> places;
      for (const SmallVector<unsigned> &nest : nests) {
        for (auto &[predicate, difference] : puller->comparisons) {
          if (difference.terms.size() != 1 || difference.terms[0].first != nest[loop])
            continue;
          // c * x + k changes its sign after floor(-k / c), and once more if that is exactly zero.
          int64_t c = difference.terms[0].second, k = difference.constant;
          if (c < 0)
            c = -c, k = -k;
          using Predicate = arith::CmpIPredicate;
          bool isStrict = llvm::is_contained({Predicate::slt, Predicate::ult, Predicate::sge, Predicate::uge}, predicate);
          bool isWeak = llvm::is_contained({Predicate::sle, Predicate::ule, Predicate::sgt, Predicate::ugt}, predicate);
          if (difference.terms[0].second < 0)
            std::swap(isStrict, isWeak);
          // Equality with one number is worth a piece of its own only where the pieces are few anyway.
          if (llvm::is_contained({Predicate::eq, Predicate::ne}, predicate) && k % c == 0 && choice.sizes[loop] <= 4) {
            places.insert(-k / c);
            places.insert(-k / c + 1);
          }
          if (isStrict)
            places.insert(llvm::divideCeilSigned(-k, c));
          else if (isWeak)
            places.insert(llvm::divideFloorSigned(-k, c) + 1);
        }
      }
      for (int64_t place : places)
        if (place > 0 && place < choice.sizes[loop])
          cuts[target].push_back(place);
      llvm::sort(cuts[target]);
      if (cuts[target].size() >= maxPieces)
        cuts[target].clear();
    }
    if (product == merged[target]) {
      ++target;
      product = 1;
    }
  }
  choice.sizes = std::move(merged);
  choice.cuts = std::move(cuts);
}

void KernelLoops::mergeColumnLoops() {
  // Loops can merge if both are kept or both are reduced.
  SmallVector<int64_t> sizes;
  SmallVector<bool> keeps;
  const SmallVector<unsigned> &nest = variables[0][0];
  for (size_t loop = 0; loop < columnSizes.size(); ++loop) {
    bool together = loop > 0 && columnKept[loop] == columnKept[loop - 1] &&
                    llvm::all_of(puller->uses, [&](const IndexForm &form) {
                      return movesTogether(puller->space, form, nest[loop - 1], nest[loop], columnSizes[loop]);
                    });
    if (together) {
      sizes.back() *= columnSizes[loop];
    } else {
      sizes.push_back(columnSizes[loop]);
      keeps.push_back(columnKept[loop]);
    }
  }
  columnSizes = std::move(sizes);
  columnKept = std::move(keeps);
}

void KernelLoops::learn() {
  if (shape.kind == KernelKind::Columns)
    return mergeColumnLoops();
  for (auto [i, choice] : llvm::enumerate(choices)) {
    choice.cuts.assign(choice.sizes.size(), {});
    if (!shape.isScattered())
      mergeLoops(choice, variables[i]);
  }
  for (auto &entry : phasesOf) {
    Value value = entry.first->getResult(0);
    unsigned first = entry.second.front();
    bool isOutput = llvm::any_of(shape.roots, [&](const KernelRoot &root) {
      return !root.reduce && root.value == value && root.phase <= first;
    });
    int64_t bytes = tensorType(value).getNumElements() / std::max<int64_t>(shape.rows, 1) * sizeof(float);
    if (entry.second.size() > 1 && !isOutput && bytes <= maxBufferBytes)
      kept[entry.first] = first;
  }
  if (shape.flexible)
    chooseRows();
}

void KernelLoops::chooseRows() {
  if (choices.empty())
    return;
  NestChoice &choice = choices[0];
  if (choice.sizes.size() <= 1) {
    // One loop over everything: the threads split it, and there is nothing inside.
    shape.rows = shape.spaces[0].columns;
    shape.spaces[0].columns = 1;
    choice = {};
    return;
  }
  size_t first = choice.sizes.size() - 1;
  int64_t columns = choice.sizes[first], rows = shape.spaces[0].columns / columns;
  while (first > 1 && columns < wantedColumns && rows / choice.sizes[first - 1] >= wantedRows) {
    --first;
    columns *= choice.sizes[first];
    rows /= choice.sizes[first];
  }
  // A loop that is cut stays a loop.
  while (first > 1 && !choice.cuts[first - 1].empty()) {
    --first;
    columns *= choice.sizes[first];
    rows /= choice.sizes[first];
  }
  choice.sizes.erase(choice.sizes.begin(), choice.sizes.begin() + first);
  choice.cuts.erase(choice.cuts.begin(), choice.cuts.begin() + first);
  shape.rows = rows;
  shape.spaces[0].columns = columns;
}

int64_t KernelLoops::grain() {
  int64_t work = 0;
  for (Operation &op : kernel.getBody().front().without_terminator()) {
    int64_t each = isExpensiveElement(&op) ? 4 : 1;
    work += each * std::max(tensorType(op.getResult(0)).getNumElements(),
                            isa<ReduceOp>(op) ? tensorType(op.getOperand(0)).getNumElements() : int64_t(1));
  }
  int64_t perRow = std::max<int64_t>(1, work / std::max<int64_t>(shape.rows, 1));
  int64_t rows = std::max<int64_t>(1, grainWork / perRow);
  // Where a row is one element, pieces begin at cache lines.
  bool isElement = shape.kind == KernelKind::Columns ||
                   llvm::all_of(shape.spaces, [](const ColumnSpace &space) { return space.columns == 1; });
  return isElement ? llvm::alignTo(rows, 64) : rows;
}

