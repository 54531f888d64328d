//===- KernelColumns.cpp - Sums down the columns ------------------------===//

#include "KernelLoops.h"

using namespace mlir;
using namespace galvatron;
using namespace galvatron::nn;

/// How many columns of a column reduction are summed at a time: their sums stay in the first-level cache.
static constexpr int64_t columnBlock = 1024;

//===----------------------------------------------------------------------===//
// Columns
//===----------------------------------------------------------------------===//

void KernelLoops::emitColumns() {
  // Rows are the kept loops but the innermost one; if there is no other, the columns themselves are split.
  SmallVector<int64_t> outer;
  for (auto [size, isKept] : llvm::zip(columnSizes, columnKept))
    if (isKept)
      outer.push_back(size);
  int64_t columns = outer.pop_back_val();
  bool splitColumns = outer.empty();
  shape.rows = columns;
  scf::ForOp rowLoop;
  if (!splitColumns) {
    shape.rows = 1;
    for (int64_t size : outer)
      shape.rows *= size;
    rowLoop = openLoop(begin, end);
    row = puller->space.variable(puller->space.addVariable(rowLoop.getInductionVar(), 0, shape.rows - 1));
  }
  Value from = splitColumns ? begin : constant(0), to = splitColumns ? end : constant(columns);
  if (!splitColumns && columns <= columnBlock) {
    emitColumnBlock(from, to, columnSizes, columnKept);
  } else {
    auto loop = b.create<scf::ForOp>(loc, from, to, constant(columnBlock));
    puller->pushScope(loop.getBody());
    b.setInsertionPoint(loop.getBody()->getTerminator());
    Value rest = b.create<arith::SubIOp>(loc, to, loop.getInductionVar());
    Value count = b.create<arith::MinSIOp>(loc, rest, constant(columnBlock));
    emitColumnBlock(loop.getInductionVar(), count, columnSizes, columnKept);
    closeLoop(loop, {});
  }
  if (!splitColumns)
    closeLoop(rowLoop, {});
}

void KernelLoops::emitColumnsOnce() {
  variables[0].emplace_back();
  SmallVector<IndexForm> indices(columnSizes.size());
  SmallVector<scf::ForOp> loops;
  for (auto [size, index] : llvm::zip(columnSizes, indices)) {
    loops.push_back(openLoop(0, size, {}, index));
    variables[0].back().push_back(index.terms[0].first);
  }
  IndexForm linear = puller->space.linearize(indices, columnSizes);
  for (KernelRoot &root : shape.roots)
    if (root.reduce)
      puller->pull(root.value, puller->space.delinearize(linear, tensorType(root.value).getShape()));
  while (!loops.empty())
    closeLoop(loops.pop_back_val(), {});
}

void KernelLoops::emitColumnBlock(Value first, Value count, ArrayRef<int64_t> sizes, ArrayRef<bool> isKept) {
  ReduceOp any;
  for (KernelRoot &root : shape.roots)
    if (root.reduce)
      any = root.reduce;
  ArrayRef<int64_t> operandShape = tensorType(any.getOperand()).getShape();
  SmallVector<int64_t> outer;
  for (auto [size, keep] : llvm::zip(sizes, isKept))
    if (keep)
      outer.push_back(size);
  int64_t columns = outer.pop_back_val();
  SmallVector<IndexForm> outerIndices = puller->space.delinearize(row, outer);

  // A loop over the columns of the block; `element` gets the column's number in the tensor and in the block.
  auto overColumns = [&](llvm::function_ref<void(const IndexForm &, const IndexForm &)> element) {
    scf::ForOp loop = openLoop(constant(0), count);
    unsigned inBlock = puller->space.addVariable(loop.getInductionVar(), 0, std::min(columns, columnBlock) - 1);
    Value column = b.create<arith::AddIOp>(loc, first, loop.getInductionVar());
    unsigned inTensor = puller->space.addVariable(column, 0, columns - 1);
    element(puller->space.variable(inTensor), puller->space.variable(inBlock));
    closeLoop(loop, {});
  };

  Values sums;
  puller->setPhase(0);
  for (KernelRoot &root : shape.roots) {
    if (!root.reduce)
      continue;
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(&function->getBody().front());
    auto type = MemRefType::get({std::min(columns, columnBlock)}, tensorType(root.value).getElementType());
    sums.push_back(b.create<memref::AllocaOp>(loc, type, b.getI64IntegerAttr(64)));
  }
  overColumns([&](const IndexForm &, const IndexForm &inBlock) {
    unsigned next = 0;
    for (KernelRoot &root : shape.roots)
      if (root.reduce)
        puller->store(sums[next++], inBlock, identity(root.reduce));
  });
  // The reduced loops, outermost first, around the columns.
  SmallVector<IndexForm> loopIndices(sizes.size());
  SmallVector<scf::ForOp> loops;
  unsigned nextOuter = 0;
  for (auto [i, keep] : llvm::enumerate(isKept)) {
    if (!keep)
      loops.push_back(openLoop(0, sizes[i], {}, loopIndices[i]));
    else if (nextOuter < outerIndices.size())
      loopIndices[i] = outerIndices[nextOuter++];
  }
  overColumns([&](const IndexForm &column, const IndexForm &inBlock) {
    // The innermost kept loop is the last of the sizes.
    loopIndices.back() = column;
    IndexForm linear = puller->space.linearize(loopIndices, sizes);
    SmallVector<IndexForm> indices = puller->space.delinearize(linear, operandShape);
    Values elements;
    for (KernelRoot &root : shape.roots)
      if (root.reduce)
        elements.push_back(puller->pull(root.value, indices));
    unsigned next = 0;
    for (KernelRoot &root : shape.roots) {
      if (!root.reduce)
        continue;
      Value sum = puller->load(sums[next], inBlock, false);
      puller->store(sums[next], inBlock, combine(root.reduce, sum, elements[next]));
      ++next;
    }
  });
  while (!loops.empty())
    closeLoop(loops.pop_back_val(), {});
  // What is made of the sums.
  puller->setPhase(1);
  overColumns([&](const IndexForm &column, const IndexForm &inBlock) {
    IndexForm linear = row * columns + column;
    unsigned next = 0;
    for (KernelRoot &root : shape.roots)
      if (root.reduce)
        puller->bindAccumulator(root.reduce.getResult(), {sums[next++], linear - inBlock});
    Values elements;
    for (KernelRoot &root : shape.roots)
      if (!root.reduce)
        elements.push_back(
            puller->pull(root.value, puller->space.delinearize(linear, tensorType(root.value).getShape())));
    next = 0;
    for (KernelRoot &root : shape.roots)
      if (!root.reduce)
        puller->store(outputs[root.output], linear, elements[next++]);
  });
}

//===----------------------------------------------------------------------===//
// Running sums
//===----------------------------------------------------------------------===//

void KernelLoops::emitScan() {
  auto output = kernel.getBody().front().getTerminator()->getOperand(0);
  auto scan = output.getDefiningOp<CumsumOp>();
  ArrayRef<int64_t> sizes = tensorType(output).getShape();
  int64_t dim = scan.getDim(), length = sizes[dim], inner = 1, outer = 1;
  for (int64_t size : sizes.drop_front(dim + 1))
    inner *= size;
  for (int64_t size : sizes.take_front(dim))
    outer *= size;
  shape.rows = outer * inner;
  IndexSpace &indices = puller->space;
  scf::ForOp rowLoop = openLoop(begin, end);
  row = indices.variable(indices.addVariable(rowLoop.getInductionVar(), 0, shape.rows - 1));
  Type type = tensorType(output).getElementType();
  Value zero = b.create<arith::ConstantOp>(loc, b.getZeroAttr(type));
  IndexForm step;
  scf::ForOp loop = openLoop(0, length, zero, step);
  IndexForm place = scan.getReverse() ? IndexForm(length - 1) - step : step;
  IndexForm outside = indices.div(row, inner);
  IndexForm linear = outside * (length * inner) + place * inner + indices.rem(row, inner);
  Value element = puller->pull(scan.getOperand(), indices.delinearize(linear, sizes));
  Value before = loop.getRegionIterArg(0);
  Value after = isa<FloatType>(type) ? b.create<arith::AddFOp>(loc, before, element).getResult()
                                     : b.create<arith::AddIOp>(loc, before, element);
  puller->store(outputs[0], linear, scan.getExclusive() ? before : after);
  closeLoop(loop, after);
  closeLoop(rowLoop, {});
}

