//===- ElementPuller.cpp - Emits one element of a tensor value ------------===//

#include "ElementPuller.h"

using namespace mlir;
using namespace galvatron;
using namespace galvatron::nn;

/// A key under which an element, or an index, is remembered.
static std::string memoKey(const void *what, ArrayRef<IndexForm> forms) {
  std::string key(reinterpret_cast<const char *>(&what), sizeof(what));
  auto append = [&](int64_t number) { key.append(reinterpret_cast<const char *>(&number), sizeof(number)); };
  for (const IndexForm &form : forms) {
    append(form.terms.size());
    append(form.constant);
    for (auto [atom, c] : form.terms) {
      append(atom);
      append(c);
    }
  }
  return key;
}

//===----------------------------------------------------------------------===//
// Scopes
//===----------------------------------------------------------------------===//

void ElementPuller::pushScope(Block *block) {
  if (!scopes.empty())
    scopes.back().anchor = block->getParentOp();
  scopes.emplace_back();
  scopes.back().block = block;
}

void ElementPuller::popScope() {
  scopes.pop_back();
  if (!scopes.empty())
    scopes.back().anchor = nullptr;
}

unsigned ElementPuller::depthOf(Value value) const {
  Block *block = value.getParentBlock();
  for (unsigned depth = scopes.size(); depth-- > 0;)
    if (scopes[depth].block == block)
      return depth;
  return scopes.size() - 1;
}

unsigned ElementPuller::depthOf(const IndexForm &form) const {
  unsigned depth = 0;
  for (auto [number, c] : form.terms) {
    const IndexSpace::Atom &atom = space.getAtom(number);
    depth = std::max(depth, atom.value ? depthOf(atom.value) : depthOf(atom.numerator));
  }
  return depth;
}

void ElementPuller::moveTo(unsigned depth) {
  Scope &scope = scopes[depth];
  if (scope.anchor)
    b.setInsertionPoint(scope.anchor);
  else if (!scope.block->empty() && scope.block->back().hasTrait<OpTrait::IsTerminator>())
    b.setInsertionPoint(&scope.block->back());
  else
    b.setInsertionPointToEnd(scope.block);
}

//===----------------------------------------------------------------------===//
// Indices and memory
//===----------------------------------------------------------------------===//

Value ElementPuller::materialize(const IndexForm &form) {
  unsigned depth = depthOf(form);
  std::string key = memoKey(nullptr, form);
  if (Value found = scopes[depth].memo.lookup(key))
    return found;
  OpBuilder::InsertionGuard guard(b);
  // Outer variables first, so that their part of the sum is computed outside the inner loops.
  Value sum;
  IndexForm done;
  auto plus = [&](Value value, const IndexForm &part, unsigned at) {
    done = done + part;
    moveTo(at);
    sum = sum ? b.create<arith::AddIOp>(loc, sum, value).getResult() : value;
    space.define(sum, done);
  };
  auto constant = [&](int64_t value) {
    moveTo(0);
    return b.create<arith::ConstantIndexOp>(loc, value).getResult();
  };
  for (unsigned at = 0; at <= depth; ++at) {
    for (auto [number, c] : form.terms) {
      IndexSpace::Atom atom = space.getAtom(number);
      if ((atom.value ? depthOf(atom.value) : depthOf(atom.numerator)) != at)
        continue;
      Value value = atom.value;
      if (!value) {
        Value numerator = materialize(atom.numerator), divisor = constant(atom.divisor);
        moveTo(at);
        if (space.range(atom.numerator).min < 0)
          value = b.create<arith::FloorDivSIOp>(loc, numerator, divisor);
        else
          value = b.create<arith::DivUIOp>(loc, numerator, divisor);
        space.define(value, space.variable(number));
      }
      if (!value.getType().isIndex()) {
        moveTo(at);
        value = b.create<arith::IndexCastOp>(loc, b.getIndexType(), value);
      }
      IndexForm part = space.variable(number) * c;
      if (c != 1) {
        Value factor = constant(c);
        moveTo(at);
        value = b.create<arith::MulIOp>(loc, value, factor);
        space.define(value, part);
      }
      plus(value, part, at);
    }
    if (at == 0 && form.constant != 0)
      plus(constant(form.constant), IndexForm(form.constant), 0);
  }
  if (!sum)
    sum = constant(0);
  scopes[depth].memo[key] = sum;
  return sum;
}

MemRefType ElementPuller::flatType(RankedTensorType type) {
  Type element = type.getElementType();
  if (element.isInteger(1))
    element = IntegerType::get(type.getContext(), 8);
  return MemRefType::get({type.getNumElements()}, element);
}

Value ElementPuller::load(Value memref, const IndexForm &index, bool isBool) {
  uses.push_back(index);
  loads.push_back(index);
  Value at = materialize(index);
  Value value = b.create<memref::LoadOp>(loc, memref, at);
  if (isBool)
    value = b.create<arith::TruncIOp>(loc, b.getI1Type(), value);
  return value;
}

void ElementPuller::store(Value memref, const IndexForm &index, Value value) {
  uses.push_back(index);
  Value at = materialize(index);
  if (value.getType().isInteger(1))
    value = b.create<arith::ExtUIOp>(loc, b.getI8Type(), value);
  b.create<memref::StoreOp>(loc, value, memref, at);
}

//===----------------------------------------------------------------------===//
// Elements
//===----------------------------------------------------------------------===//

Value ElementPuller::fail(Value value, StringRef why) {
  if (error.empty())
    error = why.str();
  Type type = tensorType(value).getElementType();
  return b.create<arith::ConstantOp>(loc, b.getZeroAttr(type));
}

Value ElementPuller::table(ConstantOp op, const IndexForm &index) {
  auto contents = cast<DenseElementsAttr>(op.getValue());
  MemRefType type = flatType(op.getType());
  bool isBool = op.getType().getElementType().isInteger(1);
  if (isBool) {
    SmallVector<int8_t> bytes;
    for (bool bit : contents.getValues<bool>())
      bytes.push_back(bit);
    contents = DenseElementsAttr::get(RankedTensorType::get(type.getShape(), type.getElementType()), ArrayRef(bytes));
  } else {
    contents = contents.reshape(RankedTensorType::get(type.getShape(), type.getElementType()));
  }
  std::string &name = tables[contents];
  if (name.empty())
    name = tablePrefix + "_table" + std::to_string(tables.size() - 1);
  return load(b.create<memref::GetGlobalOp>(loc, type, name), index, isBool);
}

Value ElementPuller::pull(Value value, ArrayRef<IndexForm> indices) {
  // After the first phase, what is read may have been written in this row: nothing moves out of the row.
  unsigned depth = phase > 0 ? std::min<unsigned>(1, getDepth()) : 0;
  for (const IndexForm &form : indices)
    depth = std::max(depth, depthOf(form));
  std::string key = memoKey(value.getAsOpaquePointer(), indices);
  for (unsigned at : {depth, 0u})
    if (Value found = scopes[at].memo.lookup(key))
      return found;

  OpBuilder::InsertionGuard guard(b);
  moveTo(depth);
  RankedTensorType type = tensorType(value);
  bool isBool = type.getElementType().isInteger(1);
  IndexForm linear = space.linearize(indices, type.getShape());
  Value result;
  if (Value memref = inputs.lookup(value)) {
    result = load(memref, linear, isBool);
  } else if (Value scalar = scalars.lookup(value)) {
    result = linear == row ? scalar : fail(value, "a reduced value is read in another row");
  } else if (auto it = accumulators.find(value); it != accumulators.end()) {
    result = load(it->second.memref, linear - it->second.base, isBool);
  } else if (auto it = stored.find(value); it != stored.end() && it->second.phase < phase) {
    IndexForm column = linear - row * it->second.columns;
    IndexSpace::Range range = space.range(column);
    if (range.min >= 0 && range.max < it->second.columns)
      result = load(it->second.memref, it->second.isBuffer ? column : linear, isBool);
  }
  Operation *op = value.getDefiningOp();
  assert((result || op) && "every input is bound");
  if (result) {
  } else if (auto constant = dyn_cast<ConstantOp>(op); constant && !getSplat(constant.getValue())) {
    result = table(constant, linear);
  } else if (isa<ElementOpInterface>(op)) {
    result = emit(op, indices, depth);
    if (onElement) {
      if (Value buffer = onElement(op, linear)) {
        moveTo(depth);
        store(buffer, linear - row * stored.lookup(value).columns, result);
      }
    }
  } else {
    result = fail(value, "a reduced value is needed before it is computed");
  }
  scopes[depth].memo[key] = result;
  return result;
}

Value ElementPuller::emit(Operation *op, ArrayRef<IndexForm> indices, unsigned depth) {
  SmallVector<Value> at;
  for (const IndexForm &form : indices)
    at.push_back(materialize(form));
  moveTo(depth);
  Value result = cast<ElementOpInterface>(op).emitElement(b, at, [&](unsigned operand, ValueRange picked) {
    SmallVector<IndexForm> forms;
    for (Value index : picked) {
      forms.push_back(space.of(index));
      recordClamps(index);
    }
    OpBuilder::InsertionGuard guard(b);
    return pull(op->getOperand(operand), forms);
  });
  return simplify(result);
}

Value ElementPuller::simplify(Value value) {
  while (auto select = value.getDefiningOp<arith::SelectOp>()) {
    std::optional<bool> condition = space.decide(select.getCondition());
    if (!condition)
      break;
    value = *condition ? select.getTrueValue() : select.getFalseValue();
  }
  // What could not be decided may be where the loop is cut into pieces: a chain of selects, as a concat makes it.
  for (Value rest = value; auto select = rest.getDefiningOp<arith::SelectOp>();) {
    recordComparisons(select.getCondition());
    rest = select.getTrueValue();
  }
  if (value.getType().isInteger(1) && value.getDefiningOp()) {
    if (std::optional<bool> condition = space.decide(value))
      return b.create<arith::ConstantOp>(loc, b.getBoolAttr(*condition));
    recordComparisons(value);
  }
  // Integers made from indices are used as they are: an index cannot be split differently any more.
  if (value.getType().isInteger(64))
    if (auto cast = value.getDefiningOp<arith::IndexCastOp>())
      uses.push_back(space.of(cast.getIn()));
  return value;
}

void ElementPuller::recordClamps(Value index) {
  SmallVector<Value> open{index};
  while (!open.empty()) {
    Operation *op = open.pop_back_val().getDefiningOp();
    if (!op || !isa<arith::ArithDialect>(op->getDialect()) || op->getNumOperands() == 0)
      continue;
    for (Value operand : op->getOperands()) {
      if (isa<arith::MinSIOp, arith::MaxSIOp>(op))
        uses.push_back(space.of(operand));
      // What has a form is covered by the uses of that form, unless the form hides it behind an unknown.
      IndexForm form = space.of(op->getResult(0));
      bool isOpaque = form.terms.size() == 1 && space.getAtom(form.terms[0].first).value == op->getResult(0);
      if (isOpaque || isa<arith::AddIOp, arith::SubIOp, arith::MulIOp>(op))
        open.push_back(operand);
    }
  }
}

void ElementPuller::recordComparisons(Value value) {
  Operation *op = value.getDefiningOp();
  if (!op)
    return;
  if (isa<arith::AndIOp, arith::OrIOp>(op)) {
    recordComparisons(op->getOperand(0));
    recordComparisons(op->getOperand(1));
    return;
  }
  auto compare = dyn_cast<arith::CmpIOp>(op);
  if (!compare || compare.getLhs().getType().isInteger(1))
    return;
  IndexForm difference = space.of(compare.getLhs()) - space.of(compare.getRhs());
  uses.push_back(space.of(compare.getLhs()));
  uses.push_back(space.of(compare.getRhs()));
  comparisons.emplace_back(compare.getPredicate(), difference);
}
