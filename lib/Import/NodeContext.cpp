//===- NodeContext.cpp - What an op importer sees of its node -------------===//

#include "Importer.h"

using namespace llvm;
using namespace mlir;

namespace galvatron {

NodeContext::NodeContext(Importer &importer, const onnx::NodeProto &node, Scope &scope, Location loc)
    : importer(importer), emit(importer.emit), node(node), scope(scope), loc(loc), outputs(node.output_size()) {
  for (const std::string &name : node.input())
    inputs.push_back(importer.lookup(scope, name));
}

InFlightDiagnostic NodeContext::error() {
  failed = true;
  return emitError(loc) << node.op_type() << ": ";
}

LogicalResult NodeContext::expectInputs(size_t least, size_t most) {
  if (inputs.size() > most || inputs.size() < least)
    return error() << "has " << inputs.size() << " inputs; wanted "
                   << (least == most ? std::to_string(least) : std::to_string(least) + " to " + std::to_string(most));
  for (size_t i = 0; i < least; ++i)
    if (!has(i))
      return error() << "input " << i << " is missing";
  return success();
}

static StringRef elementName(ElementKind element) {
  switch (element) {
  case ElementKind::F32:
    return "float";
  case ElementKind::I64:
    return "integer";
  case ElementKind::I1:
    return "bool";
  }
  llvm_unreachable("covered switch");
}

LogicalResult NodeContext::expectElement(size_t i, ElementKind element) {
  if (inputs[i].kind == ImportValue::Absent)
    return error() << "input " << i << " is missing"; // of several that are no longer optional one by one
  if (inputs[i].kind == ImportValue::Sequence)
    return error() << "input " << i << " is a sequence; wanted a tensor";
  if (inputs[i].element != element)
    return error() << "input " << i << " has " << elementName(inputs[i].element) << " elements; wanted "
                   << elementName(element);
  return success();
}

// Attributes -----------------------------------------------------------------

const onnx::AttributeProto *NodeContext::find(StringRef name, onnx::AttributeProto::AttributeType type) {
  read.insert(name);
  for (const onnx::AttributeProto &attribute : node.attribute()) {
    if (attribute.name() != name.str())
      continue;
    const onnx::AttributeProto *found = &attribute;
    if (!attribute.ref_attr_name().empty()) {
      found = scope.attributes.lookup(attribute.ref_attr_name());
      if (!found)
        return nullptr; // the call leaves it at its default
    }
    if (found->type() != type) {
      error() << "attribute '" << name << "' has type "
              << onnx::AttributeProto::AttributeType_Name(found->type()) << "; wanted "
              << onnx::AttributeProto::AttributeType_Name(type);
      return nullptr;
    }
    return found;
  }
  return nullptr;
}

std::optional<int64_t> NodeContext::getInt(StringRef name) {
  const onnx::AttributeProto *a = find(name, onnx::AttributeProto::INT);
  return a ? std::optional<int64_t>(a->i()) : std::nullopt;
}

std::optional<float> NodeContext::getFloat(StringRef name) {
  const onnx::AttributeProto *a = find(name, onnx::AttributeProto::FLOAT);
  return a ? std::optional(a->f()) : std::nullopt;
}

std::optional<Shape> NodeContext::getInts(StringRef name) {
  const onnx::AttributeProto *a = find(name, onnx::AttributeProto::INTS);
  return a ? std::optional(Shape(a->ints().begin(), a->ints().end())) : std::nullopt;
}

std::optional<std::vector<float>> NodeContext::getFloats(StringRef name) {
  const onnx::AttributeProto *a = find(name, onnx::AttributeProto::FLOATS);
  return a ? std::optional(std::vector<float>(a->floats().begin(), a->floats().end())) : std::nullopt;
}

std::string NodeContext::getString(StringRef name, StringRef otherwise) {
  const onnx::AttributeProto *a = find(name, onnx::AttributeProto::STRING);
  return a ? a->s() : otherwise.str();
}

const onnx::TensorProto *NodeContext::getTensor(StringRef name) {
  const onnx::AttributeProto *a = find(name, onnx::AttributeProto::TENSOR);
  return a ? &a->t() : nullptr;
}

const onnx::GraphProto *NodeContext::getGraph(StringRef name) {
  const onnx::AttributeProto *a = find(name, onnx::AttributeProto::GRAPH);
  return a ? &a->g() : nullptr;
}

LogicalResult NodeContext::finish() {
  for (const onnx::AttributeProto &attribute : node.attribute())
    if (!read.contains(attribute.name()))
      error() << "attribute '" << attribute.name() << "' is not supported";
  return failure(failed);
}

// Checked inputs -------------------------------------------------------------

FailureOr<Shape> NodeContext::knownInts(size_t input, StringRef what) {
  const ImportValue &value = inputs[input];
  if (!value.isKnown()) {
    error() << "the " << what << " (input " << input << ") depends on data; it must be known when compiling";
    return failure();
  }
  std::optional<Shape> ints = intsOf(value);
  if (!ints) {
    error() << "the " << what << " (input " << input << ") is not a list of integers";
    return failure();
  }
  return *ints;
}

FailureOr<int64_t> NodeContext::dimension(int64_t axis, int64_t rank) {
  if (axis < -rank || axis >= rank) {
    error() << "axis " << axis << " does not exist in a tensor of rank " << rank;
    return failure();
  }
  return axis < 0 ? axis + rank : axis;
}

FailureOr<Shape> NodeContext::dimensions(ArrayRef<int64_t> axes, int64_t rank) {
  Shape result;
  for (int64_t axis : axes) {
    FailureOr<int64_t> d = dimension(axis, rank);
    if (mlir::failed(d))
      return failure();
    if (is_contained(result, *d)) {
      error() << "axis " << axis << " is named twice";
      return failure();
    }
    result.push_back(*d);
  }
  llvm::sort(result);
  return result;
}

FailureOr<Shape> NodeContext::commonShape(ArrayRef<size_t> which) {
  Shape shape = inputs[which[0]].shape;
  for (size_t i : which.drop_front()) {
    std::optional<Shape> joined = broadcastShapes(shape, inputs[i].shape);
    if (!joined) {
      InFlightDiagnostic d = error() << "shapes [";
      interleaveComma(shape, d);
      d << "] and [";
      interleaveComma(inputs[i].shape, d);
      d << "] do not broadcast";
      return failure();
    }
    shape = *joined;
  }
  return shape;
}

} // namespace galvatron
