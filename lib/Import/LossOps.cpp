//===- LossOps.cpp - Losses that a model computes itself ------------------===//

#include "Importer.h"

using namespace llvm;
using namespace mlir;

namespace galvatron {

namespace {

/// Scores [batch, classes, ...] with the classes last, as nn.cross_entropy has them.
Value classesLast(Emitter &emit, Value scores) {
  int64_t rank = nn::tensorType(scores).getRank();
  Shape permutation = countFrom(0, rank);
  permutation.erase(permutation.begin() + 1);
  permutation.push_back(1);
  return emit.transpose(scores, permutation);
}

/// Sums or averages the loss of each label. A weight makes the mean a weighted one.
LogicalResult importLoss(NodeContext &node, bool takesLogits) {
  std::string reduction = node.getString("reduction", "mean");
  int64_t ignore = node.getInt("ignore_index", -100);
  if (failed(node.expectInputs(2, 3)) || failed(node.expectElement(0, ElementKind::F32)) ||
      failed(node.expectElement(1, ElementKind::I64)))
    return failure();
  const Shape &scores = node.inputs[0].shape;
  Shape labels = scores;
  if (labels.size() >= 2)
    labels.erase(labels.begin() + 1);
  if (scores.size() < 2 || labels != node.inputs[1].shape) {
    InFlightDiagnostic d = node.error() << "scores [";
    interleaveComma(scores, d);
    d << "] and labels [";
    interleaveComma(node.inputs[1].shape, d);
    d << "] do not agree";
    return failure();
  }
  if (node.has(2))
    return node.error() << "class weights (input 2) are not supported";
  if (reduction != "mean" && reduction != "sum" && reduction != "none")
    return node.error() << "reduction '" << reduction << "' is not known";
  Emitter &emit = node.emit;
  Value logits = node.tensor(0), target = node.tensor(1);
  if (takesLogits && node.wantsOutput(1))
    node.setOutput(1, emit.make<nn::LogSoftmaxOp>(logits, emit.builder.getI64IntegerAttr(1)));
  Value each;
  if (takesLogits) {
    each = emit.builder.create<nn::CrossEntropyOp>(emit.loc, classesLast(emit, logits), target, ignore).getResult();
  } else {
    // Log-probabilities: the label's own one, negated; labels that are not counted look at class 0.
    Value counted = emit.make<nn::CompareOp>(nn::Predicate::NE, target, emit.numberLike(target, ignore));
    Value safe = emit.make<nn::SelectOp>(counted, target, emit.numberLike(target, 0));
    Shape column = labels, last = labels;
    column.insert(column.begin() + 1, 1);
    Value picked = emit.make<nn::TakeAlongOp>(logits, emit.reshape(safe, column), emit.builder.getI64IntegerAttr(1));
    Value negated = emit.make<nn::NegOp>(emit.reshape(picked, last));
    each = emit.make<nn::SelectOp>(counted, negated, emit.numberLike(negated, 0));
  }
  if (reduction == "none")
    return node.result(each);
  Value sum = emit.reduce(nn::ReduceKind::Sum, each, countFrom(0, labels.size()), false);
  if (reduction == "mean") {
    Value counted = emit.make<nn::CompareOp>(nn::Predicate::NE, target, emit.numberLike(target, ignore));
    Value ones = emit.make<nn::CastOp>(emit.type(ElementKind::F32, labels), counted);
    sum = emit.make<nn::DivOp>(sum, emit.reduce(nn::ReduceKind::Sum, ones, countFrom(0, labels.size()), false));
  }
  return node.result(sum);
}

LogicalResult importSoftmaxCrossEntropy(NodeContext &node) { return importLoss(node, true); }
LogicalResult importNegativeLogLikelihood(NodeContext &node) { return importLoss(node, false); }

} // namespace

static const OpImporter table[] = {
    {"NegativeLogLikelihoodLoss", 13, importNegativeLogLikelihood, "no class weights"},
    {"SoftmaxCrossEntropyLoss", 13, importSoftmaxCrossEntropy, "no class weights"},
};

ArrayRef<OpImporter> lossOps() { return table; }

} // namespace galvatron
