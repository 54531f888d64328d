//===- NormOps.cpp - Normalisations and softmax ---------------------------===//

#include "Importer.h"

using namespace llvm;
using namespace mlir;

namespace galvatron {

namespace {

LogicalResult expectFloats(NodeContext &node, size_t least, size_t most) {
  if (failed(node.expectInputs(least, most)))
    return failure();
  for (size_t i = 0; i < node.inputs.size(); ++i)
    if (node.has(i) && failed(node.expectElement(i, ElementKind::F32)))
      return failure();
  return success();
}

template <typename Op> LogicalResult importSoftmax(NodeContext &node) {
  int64_t axis = node.getInt("axis", -1);
  if (failed(expectFloats(node, 1, 1)))
    return failure();
  FailureOr<int64_t> dim = node.dimension(axis, node.inputs[0].rank());
  if (failed(dim))
    return failure();
  return node.result(node.emit.make<Op>(node.tensor(0), node.emit.builder.getI64IntegerAttr(*dim)));
}

/// A scale or bias in the shape of the dimensions that are normalised.
FailureOr<Value> normalizedOperand(NodeContext &node, size_t i, ArrayRef<int64_t> shape) {
  std::optional<Shape> joined = broadcastShapes(node.inputs[i].shape, shape);
  if (!joined || ArrayRef<int64_t>(*joined) != shape) {
    InFlightDiagnostic d = node.error() << "input " << i << " has shape [";
    interleaveComma(node.inputs[i].shape, d);
    d << "]; the normalised dimensions are [";
    interleaveComma(shape, d);
    d << "]";
    return failure();
  }
  return node.emit.broadcast(node.tensor(i), shape);
}

FailureOr<Shape> normalizedShape(NodeContext &node, int64_t axis) {
  FailureOr<int64_t> dim = node.dimension(axis, node.inputs[0].rank());
  if (failed(dim))
    return failure();
  return Shape(node.inputs[0].shape.begin() + *dim, node.inputs[0].shape.end());
}

LogicalResult importLayerNorm(NodeContext &node) {
  node.ignore("stash_type");
  int64_t axis = node.getInt("axis", -1);
  float epsilon = node.getFloat("epsilon", 1e-5f);
  if (failed(expectFloats(node, 2, 3)))
    return failure();
  FailureOr<Shape> shape = normalizedShape(node, axis);
  if (failed(shape))
    return failure();
  FailureOr<Value> scale = normalizedOperand(node, 1, *shape), bias = Value();
  if (node.has(2))
    bias = normalizedOperand(node, 2, *shape);
  if (failed(scale) || failed(bias))
    return failure();
  return node.result(node.emit.make<nn::LayerNormOp>(node.tensor(0), *scale, *bias,
                                                     node.emit.builder.getF64FloatAttr(epsilon)));
}

LogicalResult importRmsNorm(NodeContext &node) {
  node.ignore("stash_type");
  int64_t axis = node.getInt("axis", -1);
  float epsilon = node.getFloat("epsilon", 1e-5f);
  if (failed(expectFloats(node, 2, 2)))
    return failure();
  FailureOr<Shape> shape = normalizedShape(node, axis);
  FailureOr<Value> scale = failed(shape) ? FailureOr<Value>(failure()) : normalizedOperand(node, 1, *shape);
  if (failed(scale))
    return failure();
  return node.result(
      node.emit.make<nn::RmsNormOp>(node.tensor(0), *scale, node.emit.builder.getF64FloatAttr(epsilon)));
}

/// (x - mean) / sqrt(variance + epsilon) over `dims`.
Value standardize(Emitter &emit, Value x, ArrayRef<int64_t> dims, double epsilon) {
  ArrayRef<int64_t> shape = nn::tensorType(x).getShape();
  Value centred = emit.make<nn::SubOp>(x, emit.broadcast(emit.mean(x, dims, true), shape));
  Value variance = emit.mean(emit.make<nn::MulOp>(centred, centred), dims, true);
  Value inverse = emit.make<nn::RsqrtOp>(emit.make<nn::AddOp>(variance, emit.numberLike(variance, epsilon)));
  return emit.make<nn::MulOp>(centred, emit.broadcast(inverse, shape));
}

/// y * scale + bias, both along dimension 1.
Value affinePerChannel(Emitter &emit, Value y, Value scale, Value bias) {
  ArrayRef<int64_t> shape = nn::tensorType(y).getShape();
  y = emit.make<nn::MulOp>(y, emit.broadcastDims(scale, {1}, shape));
  return emit.make<nn::AddOp>(y, emit.broadcastDims(bias, {1}, shape));
}

LogicalResult expectChannels(NodeContext &node, size_t i, int64_t channels) {
  if (node.inputs[i].rank() == 1 && node.inputs[i].shape[0] == channels)
    return success();
  return node.error() << "input " << i << " has " << node.inputs[i].count() << " elements; wanted one for each of "
                      << channels << " channels";
}

LogicalResult importBatchNorm(NodeContext &node) {
  node.ignore("momentum");
  float epsilon = node.getFloat("epsilon", 1e-5f);
  int64_t training = node.getInt("training_mode", 0);
  if (failed(expectFloats(node, 5, 5)))
    return failure();
  if (training)
    return node.error() << "training_mode = 1 is not supported; export the model in evaluation mode";
  if (node.inputs[0].rank() < 2)
    return node.error() << "has an input of rank " << node.inputs[0].rank() << "; wanted at least 2";
  for (size_t i = 1; i < 5; ++i)
    if (failed(expectChannels(node, i, node.inputs[0].shape[1])))
      return failure();
  Emitter &emit = node.emit;
  Value variance = node.tensor(4), x = node.tensor(0);
  Value inverse = emit.make<nn::RsqrtOp>(emit.make<nn::AddOp>(variance, emit.numberLike(variance, epsilon)));
  Value scale = emit.make<nn::MulOp>(node.tensor(1), inverse);
  Value centred = emit.make<nn::SubOp>(x, emit.broadcastDims(node.tensor(3), {1}, node.inputs[0].shape));
  return node.result(affinePerChannel(emit, centred, scale, node.tensor(2)));
}

LogicalResult importInstanceNorm(NodeContext &node) {
  float epsilon = node.getFloat("epsilon", 1e-5f);
  if (failed(expectFloats(node, 3, 3)))
    return failure();
  if (node.inputs[0].rank() < 3)
    return node.error() << "has an input of rank " << node.inputs[0].rank() << "; wanted at least 3";
  for (size_t i = 1; i < 3; ++i)
    if (failed(expectChannels(node, i, node.inputs[0].shape[1])))
      return failure();
  Shape dims = countFrom(2, node.inputs[0].rank());
  Value y = standardize(node.emit, node.tensor(0), dims, epsilon);
  return node.result(affinePerChannel(node.emit, y, node.tensor(1), node.tensor(2)));
}

LogicalResult importGroupNorm(NodeContext &node) {
  node.ignore("stash_type");
  float epsilon = node.getFloat("epsilon", 1e-5f);
  std::optional<int64_t> groups = node.getInt("num_groups");
  if (failed(expectFloats(node, 3, 3)))
    return failure();
  const Shape shape = node.inputs[0].shape;
  if (shape.size() < 2 || !groups || *groups < 1 || shape[1] % *groups)
    return node.error() << "num_groups = " << groups.value_or(0) << " does not divide the channels";
  Emitter &emit = node.emit;
  // Each group's channels and all of space are one dimension.
  int64_t rest = 1;
  for (int64_t size : ArrayRef<int64_t>(shape).drop_front(2))
    rest *= size;
  Value x = emit.reshape(node.tensor(0), {shape[0], *groups, shape[1] / *groups * rest});
  Value y = emit.reshape(standardize(emit, x, {2}, epsilon), shape);
  Value parts[2];
  for (size_t i = 1; i < 3; ++i) {
    // Up to opset 20 there was one number for each group, now for each channel.
    int64_t wanted = node.scope.opset < 21 && node.inputs[i].count() == *groups ? *groups : shape[1];
    if (failed(expectChannels(node, i, wanted)))
      return failure();
    parts[i - 1] = node.tensor(i);
    if (wanted != shape[1])
      parts[i - 1] = emit.reshape(emit.broadcastDims(parts[i - 1], {0}, {*groups, shape[1] / *groups}), {shape[1]});
  }
  return node.result(affinePerChannel(emit, y, parts[0], parts[1]));
}

LogicalResult importLpNorm(NodeContext &node) {
  int64_t axis = node.getInt("axis", -1), p = node.getInt("p", 2);
  if (failed(expectFloats(node, 1, 1)))
    return failure();
  FailureOr<int64_t> dim = node.dimension(axis, node.inputs[0].rank());
  if (failed(dim))
    return failure();
  if (p != 1 && p != 2)
    return node.error() << "p = " << p << " is not supported; wanted 1 or 2";
  Emitter &emit = node.emit;
  Value x = node.tensor(0);
  Value powers = p == 1 ? emit.make<nn::AbsOp>(x) : emit.make<nn::MulOp>(x, x);
  Value norm = emit.reduce(nn::ReduceKind::Sum, powers, {*dim}, true);
  if (p == 2)
    norm = emit.make<nn::SqrtOp>(norm);
  return node.result(emit.make<nn::DivOp>(x, emit.broadcast(norm, node.inputs[0].shape)));
}

LogicalResult importMeanVariance(NodeContext &node) {
  Shape axes = node.getInts("axes").value_or(Shape{0, 2, 3});
  if (failed(expectFloats(node, 1, 1)))
    return failure();
  FailureOr<Shape> dims = node.dimensions(axes, node.inputs[0].rank());
  if (failed(dims))
    return failure();
  return node.result(standardize(node.emit, node.tensor(0), *dims, 1e-9));
}

} // namespace

static const OpImporter table[] = {
    {"BatchNormalization", 14, importBatchNorm, "evaluation mode"},
    {"GroupNormalization", 18, importGroupNorm},
    {"InstanceNormalization", 13, importInstanceNorm},
    {"LayerNormalization", 17, importLayerNorm, "first output only"},
    {"LogSoftmax", 13, importSoftmax<nn::LogSoftmaxOp>},
    {"LpNormalization", 13, importLpNorm},
    {"MeanVarianceNormalization", 13, importMeanVariance},
    {"RMSNormalization", 23, importRmsNorm},
    {"Softmax", 13, importSoftmax<nn::SoftmaxOp>},
};

ArrayRef<OpImporter> normOps() { return table; }

} // namespace galvatron
