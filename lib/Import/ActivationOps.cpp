//===- ActivationOps.cpp - Functions of one float -------------------------===//

#include "Importer.h"
#include <cmath>

using namespace llvm;
using namespace mlir;

namespace galvatron {

namespace {

/// A function of floats; `compute` is used on data.
LogicalResult importFloatUnary(NodeContext &node, float (*compute)(float), llvm::function_ref<Value(Value)> build) {
  if (failed(node.expectInputs(1, 1)) || failed(node.expectElement(0, ElementKind::F32)))
    return failure();
  const ImportValue &x = node.inputs[0];
  if (compute && x.kind == ImportValue::Dense) {
    std::vector<Scalar> data = *x.data;
    for (Scalar &s : data)
      s.f = compute(s.f);
    return node.result(ImportValue::dense(ElementKind::F32, x.shape, std::move(data)));
  }
  return node.result(build(node.tensor(0)));
}

template <typename Op, float (*compute)(float) = nullptr> LogicalResult importUnary(NodeContext &node) {
  return importFloatUnary(node, compute, [&](Value x) { return node.emit.make<Op>(x); });
}

float floorOf(float x) { return std::floor(x); }
float ceilOf(float x) { return std::ceil(x); }
float sqrtOf(float x) { return std::sqrt(x); }
float reciprocalOf(float x) { return 1 / x; }
float expOf(float x) { return std::exp(x); }
float logOf(float x) { return std::log(x); }
float cosOf(float x) { return std::cos(x); }
float sinOf(float x) { return std::sin(x); }

LogicalResult importGelu(NodeContext &node) {
  std::string kind = node.getString("approximate", "none");
  if (kind != "none" && kind != "tanh")
    return node.error() << "approximate = '" << kind << "' is not known; wanted 'none' or 'tanh'";
  return importFloatUnary(node, nullptr, [&](Value x) {
    return node.emit.make<nn::GeluOp>(x, nn::GeluKindAttr::get(node.importer.context, kind == "tanh" ? nn::GeluKind::Tanh : nn::GeluKind::Erf));
  });
}

/// The gradient is zero at both bounds.
Value clamp(Emitter &emit, Value x, double low, double high) {
  for (auto [predicate, bound] : {std::pair(nn::Predicate::LE, low), std::pair(nn::Predicate::GE, high)}) {
    Value limit = emit.numberLike(x, bound);
    x = emit.make<nn::SelectOp>(emit.make<nn::CompareOp>(predicate, x, limit), limit, x);
  }
  return x;
}

Value hardSigmoid(Emitter &emit, Value x, double alpha, double beta) {
  Value line = emit.make<nn::MulOp>(x, emit.numberLike(x, alpha));
  return clamp(emit, emit.make<nn::AddOp>(line, emit.numberLike(x, beta)), 0, 1);
}

LogicalResult importHardSigmoid(NodeContext &node) {
  float alpha = node.getFloat("alpha", 0.2f), beta = node.getFloat("beta", 0.5f);
  return importFloatUnary(node, nullptr, [&](Value x) { return hardSigmoid(node.emit, x, alpha, beta); });
}

LogicalResult importHardSwish(NodeContext &node) {
  return importFloatUnary(node, nullptr, [&](Value x) {
    return node.emit.make<nn::MulOp>(x, hardSigmoid(node.emit, x, 1.0 / 6, 0.5));
  });
}

Value positive(Emitter &emit, Value x) { return emit.make<nn::CompareOp>(nn::Predicate::GT, x, emit.numberLike(x, 0)); }

LogicalResult importLeakyRelu(NodeContext &node) {
  float alpha = node.getFloat("alpha", 0.01f);
  return importFloatUnary(node, nullptr, [&](Value x) {
    Value scaled = node.emit.make<nn::MulOp>(x, node.emit.numberLike(x, alpha));
    return node.emit.make<nn::SelectOp>(positive(node.emit, x), x, scaled);
  });
}

/// alpha (e^x - 1) below zero, times gamma everywhere. The exponent sees min(x, 0), so that nothing overflows.
Value elu(Emitter &emit, Value x, double alpha) {
  Value e = emit.make<nn::ExpOp>(emit.make<nn::MinimumOp>(x, emit.numberLike(x, 0)));
  Value below = emit.make<nn::MulOp>(emit.make<nn::SubOp>(e, emit.numberLike(x, 1)), emit.numberLike(x, alpha));
  return emit.make<nn::SelectOp>(positive(emit, x), x, below);
}

LogicalResult importElu(NodeContext &node) {
  float alpha = node.getFloat("alpha", 1.0f);
  return importFloatUnary(node, nullptr, [&](Value x) { return elu(node.emit, x, alpha); });
}

LogicalResult importSelu(NodeContext &node) {
  float alpha = node.getFloat("alpha", 1.67326319217681884765625f), gamma = node.getFloat("gamma", 1.05070102214813232421875f);
  return importFloatUnary(node, nullptr, [&](Value x) {
    return node.emit.make<nn::MulOp>(elu(node.emit, x, alpha), node.emit.numberLike(x, gamma));
  });
}

LogicalResult importMish(NodeContext &node) {
  return importFloatUnary(node, nullptr, [&](Value x) {
    return node.emit.make<nn::MulOp>(x, node.emit.make<nn::TanhOp>(node.emit.make<nn::SoftplusOp>(x)));
  });
}

LogicalResult importSoftsign(NodeContext &node) {
  return importFloatUnary(node, nullptr, [&](Value x) {
    Value denominator = node.emit.make<nn::AddOp>(node.emit.make<nn::AbsOp>(x), node.emit.numberLike(x, 1));
    return node.emit.make<nn::DivOp>(x, denominator);
  });
}

LogicalResult importSwish(NodeContext &node) {
  float alpha = node.getFloat("alpha", 1.0f);
  return importFloatUnary(node, nullptr, [&](Value x) {
    Value scaled = alpha == 1 ? x : node.emit.make<nn::MulOp>(x, node.emit.numberLike(x, alpha));
    return node.emit.make<nn::MulOp>(x, node.emit.make<nn::SigmoidOp>(scaled));
  });
}

LogicalResult importPRelu(NodeContext &node) {
  if (failed(node.expectInputs(2, 2)) || failed(node.expectElement(0, ElementKind::F32)) || failed(node.expectElement(1, ElementKind::F32)))
    return failure();
  FailureOr<Shape> shape = node.commonShape({0, 1});
  if (failed(shape))
    return failure();
  Value x = node.emit.broadcast(node.tensor(0), *shape), slope = node.emit.broadcast(node.tensor(1), *shape);
  return node.result(node.emit.make<nn::SelectOp>(positive(node.emit, x), x, node.emit.make<nn::MulOp>(x, slope)));
}

} // namespace

static const OpImporter table[] = {
    {"Ceil", 13, importUnary<nn::CeilOp, ceilOf>},
    {"Cos", 13, importUnary<nn::CosOp, cosOf>},
    {"Elu", 13, importElu},
    {"Erf", 13, importUnary<nn::ErfOp>},
    {"Exp", 13, importUnary<nn::ExpOp, expOf>},
    {"Floor", 13, importUnary<nn::FloorOp, floorOf>},
    {"Gelu", 20, importGelu},
    {"HardSigmoid", 13, importHardSigmoid},
    {"HardSwish", 14, importHardSwish},
    {"LeakyRelu", 13, importLeakyRelu},
    {"Log", 13, importUnary<nn::LogOp, logOf>},
    {"Mish", 18, importMish},
    {"PRelu", 13, importPRelu},
    {"Reciprocal", 13, importUnary<nn::ReciprocalOp, reciprocalOf>},
    {"Relu", 13, importUnary<nn::ReluOp>},
    {"Round", 13, importUnary<nn::RoundOp>},
    {"Selu", 13, importSelu},
    {"Sigmoid", 13, importUnary<nn::SigmoidOp>},
    {"Sin", 13, importUnary<nn::SinOp, sinOf>},
    {"Softplus", 13, importUnary<nn::SoftplusOp>},
    {"Softsign", 13, importSoftsign},
    {"Sqrt", 13, importUnary<nn::SqrtOp, sqrtOf>},
    {"Swish", 24, importSwish},
    {"Tanh", 13, importUnary<nn::TanhOp>},
};

ArrayRef<OpImporter> activationOps() { return table; }

} // namespace galvatron
