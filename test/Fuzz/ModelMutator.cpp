//===- ModelMutator.cpp - Changes a model and leaves it one ---------------===//

#include "ModelMutator.h"

#include "onnx-ml.pb.h"

#include <cmath>
#include <cstring>
#include <limits>

using namespace galvatron;

/// What a node may become: operators that import, one that does not, and none.
static const char *const operators[] = {
    "Add",       "And",        "AveragePool", "BatchNormalization", "Cast",      "Clip",        "Concat",    "ConstantOfShape",
    "Conv",      "CumSum",     "Div",         "Einsum",             "Equal",     "Erf",         "Exp",       "Expand",
    "Flatten",   "Gather",     "GatherElements", "GatherND",        "Gelu",      "Gemm",        "Greater",   "Identity",
    "If",        "IsNaN",      "LayerNormalization", "Less",        "LogSoftmax", "LSTM",       "MatMul",    "Max",
    "MaxPool",   "Mod",        "Mul",         "Neg",                "Not",       "OneHot",      "Pad",       "Pow",
    "Range",     "Reciprocal", "ReduceMean",  "ReduceSum",          "Relu",      "Reshape",     "RMSNormalization", "ScatterND",
    "Shape",     "Sigmoid",    "Size",        "Slice",              "Softmax",   "Split",       "Sqrt",      "Squeeze",
    "Sub",       "Sum",        "Tanh",        "Tile",               "Transpose", "Trilu",       "Unsqueeze", "Where",
    "Attention", "RotaryEmbedding", "SoftmaxCrossEntropyLoss", "ArgMax", ""};

int64_t ModelMutator::number() {
  static const int64_t breaking[] = {std::numeric_limits<int64_t>::min(), std::numeric_limits<int64_t>::max(), -1, 0,
                                     int64_t(1) << 31, (int64_t(1) << 32) + 1, int64_t(1) << 62, 3037000500, -(int64_t(1) << 40)};
  if (oneIn(4))
    return breaking[below(std::size(breaking))];
  return oneIn(4) ? below(100000) : below(12) - 3;
}

float ModelMutator::real() {
  static const float special[] = {0, -1, 1e-38f, 3.4e38f, INFINITY, -INFINITY, NAN};
  return special[below(std::size(special))];
}

std::string ModelMutator::valueName(const onnx::GraphProto &graph) {
  switch (below(4)) {
  case 0:
    if (graph.initializer_size())
      return graph.initializer(below(graph.initializer_size())).name();
    break;
  case 1:
    if (graph.input_size())
      return graph.input(below(graph.input_size())).name();
    break;
  case 2:
    if (oneIn(8))
      return "";
    break;
  }
  if (graph.node_size()) {
    const onnx::NodeProto &node = graph.node(below(graph.node_size()));
    if (node.output_size())
      return node.output(below(node.output_size()));
  }
  return "none";
}

void ModelMutator::change(onnx::AttributeProto &attribute) {
  switch (attribute.type()) {
  case onnx::AttributeProto::INT:
    return attribute.set_i(number());
  case onnx::AttributeProto::FLOAT:
    return attribute.set_f(real());
  case onnx::AttributeProto::INTS:
    if (attribute.ints_size() == 0 || oneIn(4))
      return attribute.add_ints(number());
    if (oneIn(4))
      return attribute.mutable_ints()->RemoveLast();
    return attribute.set_ints(below(attribute.ints_size()), number());
  case onnx::AttributeProto::STRING: {
    std::string *text = attribute.mutable_s();
    if (text->empty() || oneIn(3))
      text->push_back(static_cast<char>(below(256)));
    else
      (*text)[below(text->size())] = "ijkbq,->. "[below(10)];
    return;
  }
  case onnx::AttributeProto::TENSOR:
    return change(*attribute.mutable_t());
  case onnx::AttributeProto::GRAPH:
    return change(*attribute.mutable_g());
  default:
    return attribute.set_type(static_cast<onnx::AttributeProto::AttributeType>(1 + below(10)));
  }
}

void ModelMutator::change(onnx::TensorProto &tensor) {
  switch (below(6)) {
  case 0:
    return tensor.set_data_type(1 + below(16));
  case 1:
    return tensor.add_dims(number());
  case 2:
    if (tensor.dims_size())
      tensor.mutable_dims()->RemoveLast();
    return;
  case 3:
    if (tensor.dims_size())
      tensor.set_dims(below(tensor.dims_size()), number());
    return;
  case 4:
    if (tensor.int64_data_size())
      return tensor.set_int64_data(below(tensor.int64_data_size()), number());
    if (tensor.has_raw_data() && tensor.raw_data().size() >= 8) {
      int64_t value = number();
      std::memcpy(&(*tensor.mutable_raw_data())[8 * below(tensor.raw_data().size() / 8)], &value, sizeof(value));
    }
    return;
  default:
    if (tensor.has_raw_data() && oneIn(2))
      return tensor.mutable_raw_data()->resize(below(2 * tensor.raw_data().size() + 9));
    tensor.set_data_location(oneIn(2) ? onnx::TensorProto::EXTERNAL : onnx::TensorProto::DEFAULT);
    if (tensor.external_data_size())
      tensor.mutable_external_data(below(tensor.external_data_size()))->set_value(std::to_string(number()));
  }
}

void ModelMutator::change(onnx::ValueInfoProto &value) {
  onnx::TypeProto::Tensor *type = value.mutable_type()->mutable_tensor_type();
  onnx::TensorShapeProto *shape = type->mutable_shape();
  switch (below(5)) {
  case 0:
    return type->set_elem_type(oneIn(2) ? 7 : 1 + below(16));
  case 1:
    return shape->add_dim()->set_dim_value(number());
  case 2:
    if (shape->dim_size())
      shape->mutable_dim()->RemoveLast();
    return;
  case 3:
    if (shape->dim_size() && oneIn(4))
      return shape->mutable_dim(below(shape->dim_size()))->set_dim_param("n");
    [[fallthrough]];
  default:
    if (shape->dim_size())
      shape->mutable_dim(below(shape->dim_size()))->set_dim_value(number());
  }
}

void ModelMutator::change(onnx::NodeProto &node, const onnx::GraphProto &graph) {
  switch (below(8)) {
  case 0:
    return node.set_op_type(operators[below(std::size(operators))]);
  case 1:
    return node.add_input(valueName(graph));
  case 2:
    if (node.input_size())
      node.mutable_input()->RemoveLast();
    return;
  case 3:
    if (node.output_size() && oneIn(2))
      return node.mutable_output()->RemoveLast();
    return node.add_output("extra" + std::to_string(below(1000)));
  case 4:
  case 5:
    if (node.attribute_size())
      return change(*node.mutable_attribute(below(node.attribute_size())));
    [[fallthrough]];
  case 6:
    if (node.attribute_size() && oneIn(2)) {
      node.mutable_attribute()->RemoveLast();
    } else {
      static const char *const names[] = {"axis", "axes", "perm", "pads", "strides", "group", "keepdims", "is_causal", "to", "alpha"};
      onnx::AttributeProto *attribute = node.add_attribute();
      attribute->set_name(names[below(std::size(names))]);
      attribute->set_type(oneIn(2) ? onnx::AttributeProto::INT : onnx::AttributeProto::INTS);
      change(*attribute);
    }
    return;
  default:
    if (node.input_size())
      node.set_input(below(node.input_size()), valueName(graph));
  }
}

void ModelMutator::addNode(onnx::GraphProto &graph) {
  onnx::NodeProto *node = graph.add_node();
  node->set_op_type(operators[below(std::size(operators))]);
  for (int64_t i = below(3); i >= 0; --i)
    node->add_input(valueName(graph));
  node->add_output("added" + std::to_string(graph.node_size()));
  // Nothing reads it yet: a node or an output that exists is to.
  int64_t reader = below(graph.node_size());
  if (oneIn(2) && graph.node(reader).input_size())
    graph.mutable_node(reader)->set_input(below(graph.node(reader).input_size()), node->output(0));
  else if (graph.output_size())
    graph.mutable_output(0)->set_name(node->output(0));
  graph.mutable_node()->SwapElements(reader, graph.node_size() - 1);
}

void ModelMutator::change(onnx::GraphProto &graph) {
  int nodes = graph.node_size();
  switch (below(12)) {
  case 0:
    return addNode(graph);
  case 1:
    if (nodes)
      graph.mutable_node()->DeleteSubrange(below(nodes), 1);
    return;
  case 2:
    if (nodes)
      graph.mutable_node()->SwapElements(below(nodes), below(nodes));
    return;
  case 3:
  case 4:
    if (graph.initializer_size())
      change(*graph.mutable_initializer(below(graph.initializer_size())));
    return;
  case 5:
    if (graph.input_size())
      change(*graph.mutable_input(below(graph.input_size())));
    return;
  case 6:
    if (graph.output_size() && oneIn(2))
      return graph.mutable_output(below(graph.output_size()))->set_name(valueName(graph));
    if (graph.output_size())
      return change(*graph.mutable_output(below(graph.output_size())));
    return;
  default:
    if (nodes)
      change(*graph.mutable_node(below(nodes)), graph);
  }
}

size_t ModelMutator::mutate(uint8_t *data, size_t size, size_t maxSize) {
  onnx::ModelProto model;
  if (!model.ParseFromArray(data, size) || !model.has_graph())
    return 0;
  for (int64_t i = below(3); i >= 0; --i) {
    if (oneIn(32) && model.opset_import_size())
      model.mutable_opset_import(0)->set_version(below(28));
    else
      change(*model.mutable_graph());
  }
  size_t newSize = model.ByteSizeLong();
  return newSize <= maxSize && model.SerializeToArray(data, newSize) ? newSize : 0;
}
