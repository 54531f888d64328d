//===- DimensionFactors.cpp - Which logical dimensions a dimension holds --===//

#include "DimensionFactors.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/TypeSwitch.h"

#include <array>
#include <numeric>

using namespace mlir;
using namespace galvatron;
using namespace galvatron::nn;

//===----------------------------------------------------------------------===//
// Classes
//===----------------------------------------------------------------------===//

SmallVector<int> &DimensionFactors::classesOf(Value value) {
  auto [entry, isNew] = valueClasses.try_emplace(value);
  if (isNew)
    for (int64_t size : tensorType(value).getShape()) {
      if (size == 1) {
        entry->second.push_back(-1);
        continue;
      }
      entry->second.push_back(int(classes.size()));
      parent.push_back(int(classes.size()));
      classes.push_back({size, {}, false, {}});
    }
  return entry->second;
}

int DimensionFactors::find(int id) {
  while (parent[id] != id)
    id = parent[id] = parent[parent[id]];
  return id;
}

void DimensionFactors::unify(int a, int b) {
  if (a < 0 || b < 0)
    return;
  a = find(a);
  b = find(b);
  if (a == b)
    return;
  assert(classes[a].size == classes[b].size && "one loop has one size");
  parent[b] = a;
  classes[a].frozen |= classes[b].frozen;
}

void DimensionFactors::unifyDims(Value a, int64_t i, Value b, int64_t j) {
  int left = classesOf(a)[i]; // the second call may move the first one's vector
  unify(left, classesOf(b)[j]);
}

void DimensionFactors::freeze(int id) {
  if (id >= 0)
    classes[find(id)].frozen = true;
}

void DimensionFactors::freezeAll(Operation *op) {
  for (Value value : op->getOperands())
    if (isa<RankedTensorType>(value.getType()))
      for (int id : classesOf(value))
        freeze(id);
  for (Value value : op->getResults())
    if (isa<RankedTensorType>(value.getType()))
      for (int id : classesOf(value))
        freeze(id);
}

void DimensionFactors::relate(ArrayRef<int> left, ArrayRef<int> right, int64_t limit) {
  Relation relation;
  relation.sides[0].assign(left.begin(), left.end());
  relation.sides[1].assign(right.begin(), right.end());
  relation.limit = limit;
  relations.push_back(relation);
}

//===----------------------------------------------------------------------===//
// What each op says
//===----------------------------------------------------------------------===//

/// Both shapes are read from the left; where their products meet, a group of dimensions ends. A group of one
/// dimension on each side is one class, any other is a relation.
void DimensionFactors::constrainReshape(ReshapeOp op) {
  SmallVector<int> sides[2] = {classesOf(op.getOperand()), classesOf(op.getResult())};
  ArrayRef<int64_t> shapes[2] = {tensorType(op.getOperand()).getShape(), op.getType().getShape()};
  if (op.getType().getNumElements() == 0)
    return freezeAll(op);
  size_t next[2] = {0, 0};
  while (next[0] < shapes[0].size() || next[1] < shapes[1].size()) {
    int64_t products[2] = {1, 1};
    SmallVector<int> groups[2];
    auto take = [&](int side) {
      products[side] *= shapes[side][next[side]];
      if (int id = sides[side][next[side]++]; id >= 0)
        groups[side].push_back(id);
    };
    for (int side : {0, 1})
      while (next[side] < shapes[side].size() && products[side] == 1)
        take(side);
    while (products[0] != products[1])
      take(products[0] < products[1] ? 0 : 1);
    if (groups[0].size() == 1 && groups[1].size() == 1)
      unify(groups[0].front(), groups[1].front());
    else if (!groups[0].empty())
      relate(groups[0], groups[1]);
  }
}

void DimensionFactors::constrainSlice(SliceOp op) {
  ArrayRef<int64_t> from = tensorType(op.getOperand()).getShape(), to = op.getType().getShape();
  for (int64_t i = 0, e = from.size(); i < e; ++i) {
    int64_t offset = op.getOffsets()[i], step = op.getSteps()[i];
    int a = classesOf(op.getOperand())[i], b = classesOf(op.getResult())[i];
    if (from[i] == to[i] && step == 1) {
      unify(a, b);
    } else if (step != 1) {
      freeze(a);
      freeze(b);
    } else if (int64_t common = std::gcd(std::gcd(offset, from[i]), to[i]); common > 1) {
      relate({a}, {b}, common);
    }
  }
}

void DimensionFactors::constrainConcat(ConcatOp op) {
  int64_t dim = op.getDim(), rank = op.getType().getRank(), common = 0;
  for (Value input : op.getInputs()) {
    common = std::gcd(common, tensorType(input).getShape()[dim]);
    for (int64_t i = 0; i < rank; ++i)
      if (i != dim)
        unifyDims(input, i, op.getResult(), i);
  }
  for (Value input : op.getInputs()) {
    int piece = classesOf(input)[dim], whole = classesOf(op.getResult())[dim];
    if (common > 1) {
      relate({whole}, {piece}, common);
    } else {
      freeze(piece);
      freeze(whole);
    }
  }
}

void DimensionFactors::constrainContract(ContractOp op) {
  ContractOp::Subscripts subscripts = op.getParsedSubscripts();
  std::array<int, 256> classOf;
  classOf.fill(-1);
  for (auto [letters, value] : {std::pair(subscripts.lhs, op.getLhs()), std::pair(subscripts.rhs, op.getRhs()),
                                std::pair(subscripts.result, op.getResult())})
    for (auto [letter, id] : llvm::zip(letters, classesOf(value))) {
      int &known = classOf[static_cast<unsigned char>(letter)];
      if (known < 0)
        known = id;
      unify(known, id);
    }
}

void DimensionFactors::constrain(Operation *op) {
  auto unifyAll = [&](Value a, Value b) {
    for (int64_t i = 0, e = tensorType(a).getRank(); i < e; ++i)
      unifyDims(a, i, b, i);
  };
  auto alongDim = [&](auto typed) {
    unifyAll(typed.getOperand(), typed.getResult());
    freeze(classesOf(typed.getResult())[typed.getDim()]);
  };
  if (op->hasTrait<OpTrait::Elementwise>()) {
    for (Value operand : op->getOperands())
      unifyAll(operand, op->getResult(0));
    return;
  }
  TypeSwitch<Operation *>(op)
      .Case([&](ReshapeOp reshape) { constrainReshape(reshape); })
      .Case([&](SliceOp slice) { constrainSlice(slice); })
      .Case([&](ConcatOp concat) { constrainConcat(concat); })
      .Case([&](ContractOp contract) { constrainContract(contract); })
      .Case([&](ConstantOp constant) {
        if (!isa<DenseElementsAttr>(constant.getValue()))
          freezeAll(constant);
      })
      .Case([&](IotaOp iota) { freeze(classesOf(iota.getResult())[iota.getDim()]); })
      .Case([&](GetParameterOp get) {
        auto [entry, isNew] = parameterValue.try_emplace(get.getParameter(), get.getResult());
        unifyAll(entry->second, get.getResult());
      })
      .Case([&](ReduceOp reduce) {
        for (int64_t i = 0, kept = 0, e = tensorType(reduce.getOperand()).getRank(); i < e; ++i)
          if (!llvm::is_contained(reduce.getDims(), i))
            unifyDims(reduce.getOperand(), i, reduce.getResult(), kept++);
      })
      .Case<SoftmaxOp, LogSoftmaxOp, CumsumOp>([&](auto typed) { alongDim(typed); })
      .Case([&](BroadcastOp broadcast) {
        for (auto [i, dim] : llvm::enumerate(broadcast.getDims()))
          unifyDims(broadcast.getOperand(), i, broadcast.getResult(), dim);
      })
      .Case([&](TransposeOp transpose) {
        for (auto [i, dim] : llvm::enumerate(transpose.getPermutation()))
          unifyDims(transpose.getOperand(), dim, transpose.getResult(), i);
      })
      .Case([&](PadOp pad) {
        for (int64_t i = 0, e = pad.getType().getRank(); i < e; ++i) {
          unsigned same = tensorType(pad.getOperand()).getShape()[i] == pad.getType().getShape()[i] && pad.getSteps()[i] == 1;
          if (same) {
            unifyDims(pad.getOperand(), i, pad.getResult(), i);
            continue;
          }
          freeze(classesOf(pad.getOperand())[i]);
          freeze(classesOf(pad.getResult())[i]);
        }
      })
      .Case([&](EmbeddingOp embedding) {
        int64_t ids = tensorType(embedding.getIds()).getRank();
        freeze(classesOf(embedding.getTable())[0]);
        for (int64_t i = 0; i < ids; ++i)
          unifyDims(embedding.getIds(), i, embedding.getResult(), i);
        for (int64_t i = 1, e = tensorType(embedding.getTable()).getRank(); i < e; ++i)
          unifyDims(embedding.getTable(), i, embedding.getResult(), ids + i - 1);
      })
      .Case([&](TakeAlongOp take) {
        int64_t dim = take.getDim();
        unifyAll(take.getIndices(), take.getResult());
        for (int64_t i = 0, e = take.getType().getRank(); i < e; ++i)
          if (i != dim)
            unifyDims(take.getOperand(), i, take.getResult(), i);
        freeze(classesOf(take.getOperand())[dim]);
        freeze(classesOf(take.getResult())[dim]);
      })
      .Case<LayerNormOp, RmsNormOp>([&](auto norm) {
        unifyAll(norm.getInput(), norm.getResult());
        int64_t first = tensorType(norm.getInput()).getRank() - tensorType(norm.getScale()).getRank();
        for (Value scale : norm->getOperands().drop_front())
          for (int64_t i = 0, e = tensorType(scale).getRank(); i < e; ++i)
            unifyDims(norm.getInput(), first + i, scale, i);
      })
      .Case([&](RotaryOp rotary) {
        int64_t last = rotary.getType().getRank() - 1, tableRank = tensorType(rotary.getCos()).getRank();
        unifyAll(rotary.getInput(), rotary.getResult());
        unifyAll(rotary.getCos(), rotary.getSin());
        unifyDims(rotary.getInput(), rotary.getSeqDim(), rotary.getCos(), tableRank - 2);
        freeze(classesOf(rotary.getInput())[last]);
        freeze(classesOf(rotary.getInput())[rotary.getSeqDim()]);
        freeze(classesOf(rotary.getCos())[tableRank - 1]);
        if (tableRank == 3) {
          unifyDims(rotary.getInput(), 0, rotary.getCos(), 0);
          freeze(classesOf(rotary.getInput())[0]);
        }
      })
      .Case([&](func::ReturnOp) {}) // results keep their shapes, whatever happens inside
      .Default([&](Operation *other) { freezeAll(other); });
}

//===----------------------------------------------------------------------===//
// Cuts
//===----------------------------------------------------------------------===//

/// True if the pieces of `slice` are put together again along a dimension of size `whole`: a rotation by halves,
/// a roll, a rotation of a part. Such slices do not say that the dimension is two.
static bool isRejoined(Operation *op, int64_t whole, int depth = 3) {
  return llvm::any_of(op->getUsers(), [&](Operation *user) {
    if (auto concat = dyn_cast<ConcatOp>(user))
      return llvm::is_contained(concat.getType().getShape(), whole);
    return depth > 0 && (user->hasTrait<OpTrait::Elementwise>() || isa<RotaryOp, ReshapeOp, TransposeOp>(user)) &&
           isRejoined(user, whole, depth - 1);
  });
}

/// Slices that cut a value into equal pieces along a dimension say that it holds so many things.
void DimensionFactors::proposeCuts(Value value) {
  auto type = tensorType(value);
  for (int64_t dim = 0; dim < type.getRank(); ++dim) {
    int64_t size = type.getShape()[dim], piece = 0;
    llvm::SmallDenseSet<int64_t> offsets;
    bool fits = true;
    for (Operation *user : value.getUsers()) {
      auto slice = dyn_cast<SliceOp>(user);
      if (!slice || slice.getType().getShape()[dim] == size)
        continue;
      int64_t length = slice.getType().getShape()[dim], offset = slice.getOffsets()[dim];
      fits &= slice.getSteps()[dim] == 1 && (piece == 0 || piece == length) && length > 1 && offset % length == 0;
      if (!fits || isRejoined(slice, size)) {
        fits = false;
        break;
      }
      piece = length;
      offsets.insert(offset);
    }
    if (fits && piece > 0 && offsets.size() > 1 && int64_t(offsets.size()) * piece == size)
      addCut(find(classesOf(value)[dim]), piece);
  }
}

bool DimensionFactors::addCut(int id, int64_t cut) {
  Class &cls = classes[id];
  if (llvm::is_contained(cls.cuts, cut))
    return true;
  if (cls.frozen || cut <= 1 || cut >= cls.size || cls.size % cut)
    return false;
  if (!llvm::all_of(cls.cuts, [&](int64_t other) { return cut % other == 0 || other % cut == 0; }))
    return false;
  cls.cuts.insert(llvm::lower_bound(cls.cuts, cut), cut);
  llvm::append_range(worklist, cls.relations);
  return true;
}

/// Makes the cuts of side `from` cuts of the other side. False if that side cannot have one of them.
bool DimensionFactors::carry(Relation &relation, int from) {
  SmallVector<int64_t> positions;
  int64_t base = 1;
  for (int raw : llvm::reverse(relation.sides[from])) {
    int id = find(raw);
    if (base > 1)
      positions.push_back(base);
    for (int64_t cut : classes[id].cuts)
      positions.push_back(base * cut);
    base *= classes[id].size;
  }
  if (relation.limit > 1) // the limit itself is an edge of the shared part only if somebody cut there
    llvm::erase_if(positions, [&](int64_t p) { return relation.limit % p != 0; });
  bool fits = true;
  for (int64_t position : positions) {
    base = 1;
    for (int raw : llvm::reverse(relation.sides[1 - from])) {
      int id = find(raw);
      int64_t end = base * classes[id].size;
      if (position < end) {
        if (position > base)
          fits &= position % base == 0 && addCut(id, position / base);
        else
          fits &= position == base;
        break;
      }
      base = end;
    }
  }
  return fits;
}

void DimensionFactors::propagate() {
  while (!worklist.empty()) {
    Relation &relation = relations[worklist.front()];
    worklist.pop_front();
    // A slice or a concatenation that cannot follow a cut only stays as it is; a reshape that cannot stops carrying.
    if (!relation.broken && (!carry(relation, 0) || !carry(relation, 1)) && relation.limit == 0)
      relation.broken = true;
  }
}

DimensionFactors::DimensionFactors(ModuleOp module, bool unitsOnly) {
  module.walk([&](Operation *op) {
    if (!isa<ModuleOp, func::FuncOp, ParameterOp>(op))
      constrain(op);
  });
  if (unitsOnly)
    return;
  for (size_t i = 0; i < relations.size(); ++i) {
    worklist.push_back(int(i));
    for (auto &side : relations[i].sides)
      for (int raw : side)
        classes[find(raw)].relations.push_back(int(i));
  }
  // Reshapes say what a dimension is made of; slices only add to that.
  propagate();
  module.walk([&](Operation *op) {
    for (Value result : op->getResults())
      if (isa<RankedTensorType>(result.getType()))
        proposeCuts(result);
  });
  propagate();
}

SmallVector<int64_t> DimensionFactors::factors(Value value, int64_t dim) {
  int id = classesOf(value)[dim];
  if (id < 0)
    return {};
  Class &cls = classes[find(id)];
  SmallVector<int64_t> sizes;
  int64_t rest = cls.size;
  for (int64_t cut : llvm::reverse(cls.cuts)) {
    sizes.push_back(rest / cut);
    rest = cut;
  }
  sizes.push_back(rest);
  return sizes;
}

RankedTensorType DimensionFactors::refined(Value value) {
  auto type = tensorType(value);
  SmallVector<int64_t> shape;
  for (int64_t i = 0; i < type.getRank(); ++i)
    llvm::append_range(shape, factors(value, i));
  return type.clone(shape);
}

SmallVector<int64_t> DimensionFactors::starts(Value value) {
  SmallVector<int64_t> result{0};
  for (int64_t i = 0, e = tensorType(value).getRank(); i < e; ++i)
    result.push_back(result.back() + factors(value, i).size());
  return result;
}
