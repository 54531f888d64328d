//===- ConversionOps.cpp - Casts, tests of floats, ops that do nothing ----===//

#include "Importer.h"
#include <cmath>

using namespace llvm;
using namespace mlir;

namespace galvatron {

namespace {

LogicalResult castTo(NodeContext &node, ElementKind element) {
  const ImportValue &x = node.inputs[0];
  if (x.element == element)
    return node.result(x);
  if (x.kind == ImportValue::Dense) {
    std::vector<Scalar> data = *x.data;
    for (Scalar &s : data) {
      if (element == ElementKind::F32)
        s = ofFloat(static_cast<float>(s.i));
      else if (x.element == ElementKind::F32)
        s = ofInt(element == ElementKind::I1          ? s.f != 0
                  : s.f >= -9e18f && s.f <= 9e18f ? static_cast<int64_t>(s.f)
                                                    : 0);
      else
        s = ofInt(element == ElementKind::I1 ? s.i != 0 : s.i);
    }
    return node.result(ImportValue::dense(element, x.shape, std::move(data)));
  }
  if (x.kind == ImportValue::Symbolic && x.element != ElementKind::I1) {
    if (element == ElementKind::I1) {
      if (std::optional<Affine> affine = affineOf(x))
        return node.result(conditionValue(x.shape, {Atom{Atom::NonZero, *affine}}));
    } else {
      std::optional<Affine> affine = affineOf(x);
      auto range = affine ? affine->range(x.shape) : std::nullopt;
      if (range && range->first >= -16777216 && range->second <= 16777216)
        return node.result(affineValue(element, x.shape, *affine));
    }
  }
  return node.result(node.emit.make<nn::CastOp>(node.emit.type(element, x.shape), node.tensor(0)));
}

LogicalResult importCast(NodeContext &node) {
  node.ignore("saturate");
  node.ignore("round_mode");
  std::optional<int64_t> to = node.getInt("to");
  if (failed(node.expectInputs(1, 1)))
    return failure();
  if (!to)
    return node.error() << "attribute 'to' is missing";
  std::optional<ElementKind> element = elementKind(*to);
  bool narrow = *to == onnx::TensorProto::FLOAT16 || *to == onnx::TensorProto::BFLOAT16 || *to == onnx::TensorProto::DOUBLE;
  if (!element && narrow && node.inputs[0].kind == ImportValue::Dense && node.inputs[0].count() == 1)
    element = ElementKind::F32; // a number on its way to an op; its users decide
  if (!element)
    return node.error() << "to " << dataTypeName(*to) << " is not supported (float32 models only)";
  return castTo(node, *element);
}

LogicalResult importCastLike(NodeContext &node) {
  node.ignore("saturate");
  node.ignore("round_mode");
  if (failed(node.expectInputs(2, 2)))
    return failure();
  return castTo(node, node.inputs[1].element);
}

LogicalResult importIsNaN(NodeContext &node) {
  if (failed(node.expectInputs(1, 1)) || failed(node.expectElement(0, ElementKind::F32)))
    return failure();
  return node.result(node.emit.make<nn::IsNanOp>(node.tensor(0)));
}

LogicalResult importIsInf(NodeContext &node) {
  if (failed(node.expectInputs(1, 1)) || failed(node.expectElement(0, ElementKind::F32)))
    return failure();
  bool negative = node.getInt("detect_negative", 1), positive = node.getInt("detect_positive", 1);
  Value x = node.tensor(0), result;
  for (auto [wanted, value] : {std::make_pair(negative, -HUGE_VAL), std::make_pair(positive, HUGE_VAL)})
    if (wanted) {
      Value equal = node.emit.make<nn::CompareOp>(nn::Predicate::EQ, x, node.emit.numberLike(x, value));
      result = result ? node.emit.make<nn::OrOp>(result, equal) : equal;
    }
  if (!result)
    return node.result(ImportValue::splat(ElementKind::I1, node.inputs[0].shape, ofInt(0)));
  return node.result(result);
}

LogicalResult importIdentity(NodeContext &node) {
  if (failed(node.expectInputs(1, 1)))
    return failure();
  return node.result(node.inputs[0]);
}

LogicalResult importDropout(NodeContext &node) {
  node.ignore("seed");
  if (failed(node.expectInputs(1, 3)))
    return failure();
  if (node.has(2) && (!node.inputs[2].isSplat() || node.inputs[2].at(0).i) &&
      !(node.has(1) && node.inputs[1].isSplat() && node.inputs[1].at(0).f == 0))
    return node.error() << "training_mode is set; export the model in evaluation mode or without dropout";
  if (node.wantsOutput(1))
    node.setOutput(1, ImportValue::splat(ElementKind::I1, node.inputs[0].shape, ofInt(1)));
  return node.result(node.inputs[0]);
}

} // namespace

static const OpImporter table[] = {
    {"Cast", 13, importCast, "to FLOAT, BOOL and integers"},
    {"CastLike", 15, importCastLike},
    {"Dropout", 13, importDropout, "inference mode, or a ratio of 0"},
    {"Identity", 13, importIdentity},
    {"IsInf", 13, importIsInf},
    {"IsNaN", 13, importIsNaN},
};

ArrayRef<OpImporter> conversionOps() { return table; }

} // namespace galvatron
