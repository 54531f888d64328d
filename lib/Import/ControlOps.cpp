//===- ControlOps.cpp - Choices that are made when compiling --------------===//

#include "Importer.h"

using namespace llvm;
using namespace mlir;

namespace galvatron {

namespace {

LogicalResult importIf(NodeContext &node) {
  const onnx::GraphProto *taken = node.getGraph("then_branch"), *other = node.getGraph("else_branch");
  if (failed(node.expectInputs(1, 1)) || failed(node.expectElement(0, ElementKind::I1)))
    return failure();
  if (!taken || !other)
    return node.error() << "a branch is missing";
  if (node.inputs[0].kind != ImportValue::Dense || node.inputs[0].count() != 1)
    return node.error() << "the condition depends on data; it must be known when compiling";
  if (!node.inputs[0].at(0).i)
    taken = other;
  if (node.scope.depth > 64)
    return node.error() << "branches are nested more than 64 levels deep";
  if (taken->output_size() != node.node.output_size())
    return node.error() << "the branch has " << taken->output_size() << " outputs; the node has "
                        << node.node.output_size();
  Scope inner;
  inner.parent = &node.scope;
  inner.opset = node.scope.opset;
  inner.depth = node.scope.depth + 1;
  inner.prefix = node.scope.prefix;
  inner.attributes = node.scope.attributes;
  for (const onnx::TensorProto &tensor : taken->initializer()) {
    std::optional<ImportValue> value = node.importer.model.read(tensor, maxDenseElements);
    if (!value)
      return node.error() << "initializer '" << tensor.name() << "' of the branch is missing, too large, or of an unsupported type";
    inner.values[tensor.name()] = *value;
  }
  std::vector<std::string> outputs;
  for (const onnx::ValueInfoProto &output : taken->output())
    outputs.push_back(output.name());
  if (failed(node.importer.importNodes(taken->node(), outputs, inner)))
    return failure();
  for (auto [i, name] : enumerate(outputs)) {
    ImportValue value = node.importer.lookup(inner, name);
    if (value.kind == ImportValue::Absent)
      return node.error() << "output '" << name << "' of the branch is not defined";
    node.setOutput(i, value);
  }
  return success();
}

} // namespace

static const OpImporter table[] = {
    {"If", 13, importIf, "known condition"},
};

ArrayRef<OpImporter> controlOps() { return table; }

} // namespace galvatron
