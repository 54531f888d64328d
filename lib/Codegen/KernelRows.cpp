//===- KernelRows.cpp - Loops over rows ---------------------------------===//

#include "KernelLoops.h"

using namespace mlir;
using namespace galvatron;
using namespace galvatron::nn;

//===----------------------------------------------------------------------===//
// Loops
//===----------------------------------------------------------------------===//

scf::ForOp KernelLoops::openLoop(Value from, Value to, ValueRange carried) {
  Value one = constant(1);
  auto loop = b.create<scf::ForOp>(loc, from, to, one, carried);
  puller->pushScope(loop.getBody());
  if (carried.empty())
    b.setInsertionPoint(loop.getBody()->getTerminator());
  else
    b.setInsertionPointToEnd(loop.getBody());
  return loop;
}

scf::ForOp KernelLoops::openLoop(int64_t from, int64_t to, ValueRange carried, IndexForm &index) {
  Value first = constant(from), last = constant(to);
  scf::ForOp loop = openLoop(first, last, carried);
  index = puller->space.variable(puller->space.addVariable(loop.getInductionVar(), from, to - 1));
  return loop;
}

KernelLoops::Values KernelLoops::closeLoop(scf::ForOp loop, ValueRange carried) {
  if (!carried.empty()) {
    b.setInsertionPointToEnd(loop.getBody());
    b.create<scf::YieldOp>(loc, carried);
  }
  puller->popScope();
  b.setInsertionPointAfter(loop);
  return Values(loop.getResults());
}

Value KernelLoops::identity(ReduceOp op) {
  Type type = tensorType(op.getOperand()).getElementType();
  bool isFloat = isa<FloatType>(type);
  double infinity = std::numeric_limits<double>::infinity();
  auto of = [&](double number, int64_t integer) -> Value {
    if (isFloat)
      return b.create<arith::ConstantOp>(loc, b.getFloatAttr(type, number));
    return b.create<arith::ConstantOp>(loc, b.getIntegerAttr(type, integer));
  };
  switch (op.getKind()) {
  case ReduceKind::Sum:
    return of(0, 0);
  case ReduceKind::Prod:
    return of(1, 1);
  case ReduceKind::Max:
    return of(-infinity, std::numeric_limits<int64_t>::min());
  case ReduceKind::Min:
    return of(infinity, std::numeric_limits<int64_t>::max());
  }
  llvm_unreachable("covered switch");
}

Value KernelLoops::combine(ReduceOp op, Value x, Value y) {
  auto flags = arith::FastMathFlags::reassoc | arith::FastMathFlags::contract;
  bool isFloat = isa<FloatType>(x.getType());
  switch (op.getKind()) {
  case ReduceKind::Sum:
    return isFloat ? b.create<arith::AddFOp>(loc, x, y, flags).getResult() : b.create<arith::AddIOp>(loc, x, y);
  case ReduceKind::Prod:
    return isFloat ? b.create<arith::MulFOp>(loc, x, y, flags).getResult() : b.create<arith::MulIOp>(loc, x, y);
  case ReduceKind::Max:
    return isFloat ? b.create<arith::MaximumFOp>(loc, x, y, flags).getResult() : b.create<arith::MaxSIOp>(loc, x, y);
  case ReduceKind::Min:
    return isFloat ? b.create<arith::MinimumFOp>(loc, x, y, flags).getResult() : b.create<arith::MinSIOp>(loc, x, y);
  }
  llvm_unreachable("covered switch");
}

//===----------------------------------------------------------------------===//
// Rows
//===----------------------------------------------------------------------===//

void KernelLoops::emitRows() {
  scf::ForOp loop = openLoop(begin, end);
  row = puller->space.variable(puller->space.addVariable(loop.getInductionVar(), 0, shape.rows - 1));
  puller->setRow(row);
  emitRow();
  closeLoop(loop, {});
}

void KernelLoops::emitRow() {
  for (unsigned phase = 0; phase < shape.phases; ++phase) {
    puller->setPhase(phase);
    for (unsigned i = 0; i < shape.spaces.size(); ++i)
      emitNest(phase, i);
  }
}

void KernelLoops::emitNest(unsigned phase, unsigned number) {
  Values accumulators;
  SmallVector<ReduceOp> reduces;
  bool any = false;
  for (KernelRoot &root : shape.roots) {
    if (root.phase != phase || root.space != number)
      continue;
    any = true;
    if (root.reduce) {
      accumulators.push_back(identity(root.reduce));
      reduces.push_back(root.reduce);
    }
  }
  if (!any)
    return;
  space = number;
  if (!final)
    variables[number].emplace_back();
  Values results = emitLoops(number, 0, {}, accumulators);
  for (auto [reduce, result] : llvm::zip(reduces, results))
    puller->bindScalar(reduce.getResult(), result);
  for (KernelRoot &root : shape.roots)
    if (root.phase == phase && root.space == number && !root.reduce && root.value.getDefiningOp() &&
        !shape.isScattered())
      puller->bindStored(root.value, {outputs[root.output], shape.spaces[number].columns, phase, false});
}

KernelLoops::Values KernelLoops::emitLoops(unsigned number, unsigned loop, SmallVector<IndexForm> at,
                                               Values accumulators) {
  const NestChoice &choice = choices[number];
  if (loop == choice.sizes.size())
    return emitBody(number, at, std::move(accumulators));
  SmallVector<int64_t> bounds{0};
  llvm::append_range(bounds, choice.cuts[loop]);
  bounds.push_back(choice.sizes[loop]);
  at.emplace_back();
  for (size_t piece = 0; piece + 1 < bounds.size(); ++piece) {
    int64_t from = bounds[piece], to = bounds[piece + 1];
    if (to - from == 1) {
      at.back() = IndexForm(from);
      accumulators = emitLoops(number, loop + 1, at, std::move(accumulators));
      continue;
    }
    scf::ForOp body = openLoop(from, to, accumulators, at.back());
    if (!final)
      variables[number].back().push_back(at.back().terms[0].first);
    Values carried = emitLoops(number, loop + 1, at, Values(body.getRegionIterArgs()));
    accumulators = closeLoop(body, carried);
  }
  return accumulators;
}

SmallVector<IndexForm> KernelLoops::indicesOf(Value value, unsigned number, ArrayRef<IndexForm> at) {
  ArrayRef<int64_t> valueShape = tensorType(value).getShape();
  int64_t columns = shape.spaces[number].columns;
  IndexSpace &indices = puller->space;
  if (shape.isScattered() && columns != 1) {
    // The row counts the kept dimensions, the loops are the reduced ones.
    SmallVector<int64_t> keptShape;
    for (auto [size, isKept] : llvm::zip(shape.scatteredShape, shape.scatteredKept))
      if (isKept)
        keptShape.push_back(size);
    SmallVector<IndexForm> keptIndices = indices.delinearize(row, keptShape), result;
    const IndexForm *nextKept = keptIndices.begin(), *nextLoop = at.begin();
    for (auto [size, isKept] : llvm::zip(shape.scatteredShape, shape.scatteredKept))
      result.push_back(isKept ? *nextKept++ : (size == 1 ? IndexForm(0) : *nextLoop++));
    return result;
  }
  IndexForm column = indices.linearize(at, choices[number].sizes);
  return indices.delinearize(row * columns + column, valueShape);
}

KernelLoops::Values KernelLoops::emitBody(unsigned number, ArrayRef<IndexForm> at, Values accumulators) {
  unsigned phase = puller->getPhase();
  unsigned next = 0;
  SmallVector<std::tuple<Value, IndexForm, Value>> stores;
  for (KernelRoot &root : shape.roots) {
    if (root.phase != phase || root.space != number)
      continue;
    SmallVector<IndexForm> indices = indicesOf(root.value, number, at);
    Value element = puller->pull(root.value, indices);
    if (root.reduce) {
      accumulators[next] = combine(root.reduce, accumulators[next], element);
      ++next;
    } else {
      IndexForm linear = puller->space.linearize(indices, tensorType(root.value).getShape());
      stores.emplace_back(outputs[root.output], linear, element);
    }
  }
  // All loads of a column come before its stores: an output may be the same memory as an input.
  for (auto &[memref, index, element] : stores)
    puller->store(memref, index, element);
  return accumulators;
}

Value KernelLoops::keepElement(Operation *op, const IndexForm &linear) {
  if (!isExpensiveElement(op) || shape.isScattered() || shape.kind != KernelKind::Rows)
    return {};
  int64_t columns = shape.spaces[space].columns;
  if (columns == 1 || tensorType(op->getResult(0)).getNumElements() != columns * shape.rows)
    return {};
  IndexForm column = linear - row * columns;
  IndexSpace::Range range = puller->space.range(column);
  if (range.min < 0 || range.max >= columns)
    return {};
  unsigned phase = puller->getPhase();
  if (!final) {
    SmallVector<unsigned, 2> &phases = phasesOf[op];
    if (phases.empty() || phases.back() != phase)
      phases.push_back(phase);
    return {};
  }
  auto it = kept.find(op);
  if (it == kept.end() || it->second != phase)
    return {};
  Value &buffer = buffers[op];
  if (!buffer) {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(&function->getBody().front());
    MemRefType type = ElementPuller::flatType(tensorType(op->getResult(0)));
    buffer = b.create<memref::AllocaOp>(loc, MemRefType::get({columns}, type.getElementType()), b.getI64IntegerAttr(64));
  }
  puller->bindStored(op->getResult(0), {buffer, columns, phase, true});
  return buffer;
}

