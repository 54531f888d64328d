//===- ConstantOps.cpp - Ops that make tensors out of little --------------===//

#include "Importer.h"
#include "llvm/Support/MathExtras.h"
#include <cmath>

using namespace llvm;
using namespace mlir;

namespace galvatron {

namespace {

LogicalResult importConstant(NodeContext &node) {
  if (const onnx::TensorProto *tensor = node.getTensor("value")) {
    std::optional<ImportValue> value = node.importer.model.read(*tensor, maxDenseElements);
    if (!value)
      return node.error() << "the value's data is missing, too large, or of an unsupported type ("
                          << dataTypeName(tensor->data_type()) << ")";
    return node.result(*value);
  }
  std::vector<Scalar> data;
  if (std::optional<int64_t> i = node.getInt("value_int"))
    return node.result(ImportValue::scalar(*i));
  if (std::optional<Shape> ints = node.getInts("value_ints"))
    return node.result(ImportValue::ints(*ints));
  Scalar s = ofInt(0);
  if (std::optional<float> f = node.getFloat("value_float")) {
    s.f = *f;
    return node.result(ImportValue::splat(ElementKind::F32, {}, s));
  }
  if (std::optional<std::vector<float>> floats = node.getFloats("value_floats")) {
    for (float f : *floats) {
      s.f = f;
      data.push_back(s);
    }
    return node.result(ImportValue::dense(ElementKind::F32, {static_cast<int64_t>(floats->size())}, std::move(data)));
  }
  return node.error() << "has no value of a supported kind";
}

LogicalResult importConstantOfShape(NodeContext &node) {
  const onnx::TensorProto *tensor = node.getTensor("value");
  if (failed(node.expectInputs(1, 1)))
    return failure();
  FailureOr<Shape> shape = node.knownInts(0, "shape");
  if (failed(shape))
    return failure();
  if (!numElements(*shape))
    return node.error() << "the shape has a negative dimension or too many elements";
  ImportValue fill = ImportValue::splat(ElementKind::F32, {}, ofInt(0));
  if (tensor) {
    std::optional<ImportValue> value = node.importer.model.read(*tensor, 1);
    if (!value || value->count() != 1)
      return node.error() << "the value is not one number of a supported type";
    fill = *value;
  }
  return node.result(ImportValue::splat(fill.element, *shape, fill.at(0)));
}

/// Steps that are no whole numbers: start + i step, with as many numbers as ONNX says.
LogicalResult importFloatRange(NodeContext &node) {
  float numbers[3];
  for (size_t i = 0; i < 3; ++i) {
    std::optional<std::vector<Scalar>> known = elementsOf(node.inputs[i]);
    if (!known || known->size() != 1)
      return node.error() << "input " << i << " is not a known number";
    numbers[i] = known->front().f;
  }
  auto [start, limit, step] = numbers;
  double count = std::ceil((double(limit) - start) / step);
  if (!(std::abs(count) < 1e9)) // not a number either
    return node.error() << "from " << start << " to " << limit << " in steps of " << step << " is no range";
  Shape shape = {std::max<int64_t>(0, int64_t(count))};
  if (shape[0] > maxDenseElements) {
    Value index = node.emit.materialize(affineValue(ElementKind::F32, shape, Affine::index(0, 1)));
    Value steps = node.emit.make<nn::MulOp>(index, node.emit.numberLike(index, step));
    return node.result(node.emit.make<nn::AddOp>(steps, node.emit.numberLike(index, start)));
  }
  std::vector<Scalar> data;
  for (int64_t i = 0; i < shape[0]; ++i)
    data.push_back(ofFloat(static_cast<float>(start + static_cast<double>(i) * step)));
  return node.result(ImportValue::dense(ElementKind::F32, shape, std::move(data)));
}

LogicalResult importRange(NodeContext &node) {
  if (failed(node.expectInputs(3, 3)))
    return failure();
  Affine numbers[3];
  for (size_t i = 0; i < 3; ++i) {
    if (failed(node.expectElement(i, node.inputs[0].element)))
      return failure();
    std::optional<Affine> number;
    if (node.inputs[i].count() == 1)
      number = affineOf(node.emit.reshape(node.inputs[i], {}));
    if (!number || !number->isConstant())
      return node.inputs[0].element == ElementKind::F32 ? importFloatRange(node)
                                                        : node.error() << "input " << i << " is not a known number";
    numbers[i] = *number;
  }
  int64_t start = numbers[0].constant, limit = numbers[1].constant, step = numbers[2].constant, span;
  // The longest range, counted one by one, has a number more than 63 bits can say.
  if (step == 0 || SubOverflow(limit, start, span) || span == INT64_MIN)
    return node.error() << "from " << start << " to " << limit << " in steps of " << step << " is no range";
  int64_t count = (span > 0) == (step > 0) && span != 0 ? (span - (step > 0 ? 1 : -1)) / step + 1 : 0;
  Affine value = Affine::constantOf(start, 1);
  value.coefficients[0] = step;
  return node.result(affineValue(node.inputs[0].element, {count}, value));
}

LogicalResult importTrilu(NodeContext &node) {
  bool upper = node.getInt("upper", 1);
  if (failed(node.expectInputs(1, 2)))
    return failure();
  int64_t k = 0, rank = node.inputs[0].rank();
  if (node.has(1)) {
    FailureOr<Shape> given = node.knownInts(1, "diagonal");
    if (failed(given))
      return failure();
    if (given->size() != 1 || !isInt<32>((*given)[0]))
      return node.error() << "the diagonal is not one small number";
    k = (*given)[0];
  }
  if (rank < 2)
    return node.error() << "has an input of rank " << rank << "; wanted at least 2";
  // Kept where j - i >= k (upper) or <= k.
  Affine e = Affine::constantOf(upper ? -k : k, rank);
  e.coefficients[rank - 1] = upper ? 1 : -1;
  e.coefficients[rank - 2] = upper ? -1 : 1;
  const ImportValue &x = node.inputs[0];
  if (x.element == ElementKind::I1 && x.isKnown())
    if (std::optional<Conjunction> condition = conditionOf(x)) {
      condition->push_back({Atom::NonNegative, e});
      return node.result(conditionValue(x.shape, *condition));
    }
  ImportValue keep = conditionValue(x.shape, {Atom{Atom::NonNegative, e}});
  if (keep.isSplat())
    return node.result(keep.at(0).i ? x : ImportValue::splat(x.element, x.shape, ofInt(0)));
  Value value = node.tensor(0);
  if (x.element == ElementKind::I1)
    return node.result(node.emit.make<nn::AndOp>(value, node.emit.materialize(keep)));
  return node.result(node.emit.make<nn::SelectOp>(node.emit.materialize(keep), value, node.emit.numberLike(value, 0)));
}

LogicalResult importEyeLike(NodeContext &node) {
  int64_t k = node.getInt("k", 0);
  std::optional<int64_t> type = node.getInt("dtype");
  if (failed(node.expectInputs(1, 1)))
    return failure();
  std::optional<ElementKind> element = type ? elementKind(*type) : node.inputs[0].element;
  if (node.inputs[0].rank() != 2 || !element || !isInt<32>(k))
    return node.error() << "wanted a matrix of a supported element type";
  Affine e = Affine::constantOf(-k, 2);
  e.coefficients = {-1, 1};
  ImportValue diagonal = conditionValue(node.inputs[0].shape, {Atom{Atom::Zero, e}});
  if (*element == ElementKind::I1)
    return node.result(diagonal);
  return node.result(node.emit.make<nn::CastOp>(node.emit.type(*element, diagonal.shape), node.emit.materialize(diagonal)));
}

LogicalResult importCumSum(NodeContext &node) {
  bool exclusive = node.getInt("exclusive", 0), reverse = node.getInt("reverse", 0);
  if (failed(node.expectInputs(2, 2)))
    return failure();
  FailureOr<Shape> axis = node.knownInts(1, "axis");
  if (failed(axis))
    return failure();
  if (axis->size() != 1)
    return node.error() << "has " << axis->size() << " axes; wanted one";
  FailureOr<int64_t> dim = node.dimension((*axis)[0], node.inputs[0].rank());
  if (failed(dim))
    return failure();
  const ImportValue &x = node.inputs[0];
  if (x.element == ElementKind::I1)
    return node.expectElement(0, ElementKind::I64);
  // A repeated number c becomes c (i + 1), or what the two flags make of it.
  std::optional<Affine> number = x.isSplat() ? affineOf(x) : std::nullopt;
  if (number && x.count() > 0) {
    Affine sum = Affine::constantOf(reverse ? x.shape[*dim] - (exclusive ? 1 : 0) : (exclusive ? 0 : 1), x.rank());
    sum.coefficients[*dim] = reverse ? -1 : 1;
    if (std::optional<Affine> scaled = scale(sum, number->constant))
      return node.result(affineValue(x.element, x.shape, *scaled));
  }
  return node.result(node.emit.make<nn::CumsumOp>(
      node.tensor(0), node.emit.builder.getI64IntegerAttr(*dim), exclusive ? node.emit.builder.getUnitAttr() : UnitAttr(),
      reverse ? node.emit.builder.getUnitAttr() : UnitAttr()));
}

} // namespace

static const OpImporter table[] = {
    {"Constant", 13, importConstant, "no strings or sparse tensors"},
    {"ConstantOfShape", 13, importConstantOfShape},
    {"CumSum", 14, importCumSum, "known axis"},
    {"EyeLike", 13, importEyeLike},
    {"Range", 13, importRange, "known numbers"},
    {"Trilu", 14, importTrilu, "known diagonal"},
};

ArrayRef<OpImporter> constantOps() { return table; }

} // namespace galvatron
