//===- RandomModel.cpp ----------------------------------------------------===//

#include "RandomModel.h"

using namespace galvatron::test;

std::string RandomModel::add(const std::string &op) {
  std::string name = "%v" + std::to_string(next++);
  body += "  " + name + " = " + op + "\n";
  return name;
}

/// A parameter of these sizes ("4x4"), as a value.
std::string RandomModel::parameter(const std::string &sizes) {
  std::string name = "p" + std::to_string(next++), list, strides;
  int64_t stride = 1;
  for (size_t i = sizes.size(); i-- > 0;)
    if (sizes[i] != 'x') {
      strides = std::to_string(stride) + (strides.empty() ? "" : ", ") + strides;
      stride *= sizes[i] - '0';
    }
  for (char c : sizes)
    list += c == 'x' ? std::string(", ") : std::string(1, c);
  parameters += "nn.parameter @" + name + " trainable : tensor<" + sizes + "xf32>, view strided<[" + strides + "]> of \"" + name + "\" [" + list + "] init normal\n";
  return add("nn.get_parameter @" + name + " : tensor<" + sizes + "xf32>");
}

/// A constant of a shape of `count` elements, as a value of rank one that is reshaped.
std::string RandomModel::constant(const std::string &type, int64_t count) {
  std::string values;
  for (int64_t i = 0; i < count; ++i)
    values += (i ? ", " : "") + std::to_string(number());
  std::string flat = "tensor<" + std::to_string(count) + "xf32>";
  return add("nn.reshape " + add("nn.constant dense<[" + values + "]> : " + flat) + " : " + flat + " -> " + type);
}

/// One step of the hidden state.
void RandomModel::step() {
  const std::string t = "tensor<4x3x4xf32>";
  auto onto = [&](const std::string &value, const std::string &dims, const std::string &type) {
    return add("nn.broadcast " + value + " [" + dims + "] : " + type + " -> " + t);
  };
  switch (pick(15)) {
  case 0:
    state = add("nn.contract " + state + ", " + parameter("4x4") + " \"abc,cd->abd\" : (" + t + ", tensor<4x4xf32>) -> " + t);
    break;
  case 1:
    state = add((pick(2) ? "nn.tanh " : "nn.sigmoid ") + state + " : " + t);
    break;
  case 2: // positions
    state = add("nn.add " + state + ", " + onto(parameter("3x4"), "1, 2", "tensor<3x4xf32>") + " : " + t);
    break;
  case 3:
    state = add("nn.rms_norm " + state + ", " + parameter("4") + " epsilon 1.0e-5 : " + t + ", tensor<4xf32>");
    break;
  case 4:
    state = add("nn.softmax " + state + " " + std::to_string(1 + pick(2)) + " : " + t);
    break;
  case 5: { // all rows of the batch in one dimension
    std::string flat = add("nn.reshape " + state + " : " + t + " -> tensor<12x4xf32>");
    flat = add("nn.contract " + flat + ", " + parameter("4x4") + " \"ab,cb->ac\" : (tensor<12x4xf32>, tensor<4x4xf32>) -> tensor<12x4xf32>");
    state = add("nn.reshape " + flat + " : tensor<12x4xf32> -> " + t);
    break;
  }
  case 6: { // the batch in the middle
    std::string moved = add("nn.transpose " + state + " [1, 0, 2] : " + t + " -> tensor<3x4x4xf32>");
    moved = add("nn.softmax " + moved + " 0 : tensor<3x4x4xf32>");
    state = add("nn.transpose " + moved + " [1, 0, 2] : tensor<3x4x4xf32> -> " + t);
    break;
  }
  case 7: { // windows, which share a dimension with the batch
    std::string cut = add("nn.reshape " + state + " : " + t + " -> tensor<4x3x2x2xf32>");
    cut = add("nn.transpose " + cut + " [0, 2, 1, 3] : tensor<4x3x2x2xf32> -> tensor<4x2x3x2xf32>");
    cut = add("nn.reshape " + cut + " : tensor<4x2x3x2xf32> -> tensor<8x3x2xf32>");
    cut = add("nn.softmax " + cut + " 1 : tensor<8x3x2xf32>");
    cut = add("nn.reshape " + cut + " : tensor<8x3x2xf32> -> tensor<4x2x3x2xf32>");
    cut = add("nn.transpose " + cut + " [0, 2, 1, 3] : tensor<4x2x3x2xf32> -> tensor<4x3x2x2xf32>");
    state = add("nn.reshape " + cut + " : tensor<4x3x2x2xf32> -> " + t);
    break;
  }
  case 8: // an input that goes with the rows
    state = add("nn.mul " + state + ", " + onto("%x", "0, 1", "tensor<4x3xf32>") + " : " + t);
    break;
  case 9: { // a mean of each row
    std::string sum = add("nn.reduce sum " + state + " [1] : " + t + " -> tensor<4x4xf32>");
    state = add("nn.sub " + state + ", " + onto(sum, "0, 2", "tensor<4x4xf32>") + " : " + t);
    break;
  }
  case 10: // a constant along the batch
    state = add("nn.add " + state + ", " + constant(t, 48) + " : " + t);
    break;
  case 11: { // numbers of the rows
    std::string iota = add("nn.cast " + add("nn.iota 0 : tensor<4xi64>") + " : tensor<4xi64> to tensor<4xf32>");
    state = add("nn.mul " + state + ", " + onto(iota, "0", "tensor<4xf32>") + " : " + t);
    break;
  }
  case 12: // a parameter along the batch
    state = add("nn.add " + state + ", " + parameter("4x3x4") + " : " + t);
    break;
  case 13: // a sum over the batch of an input
    state = add("nn.mul " + state + ", " + onto(add("nn.reduce sum %x [0] : tensor<4x3xf32> -> tensor<3xf32>"), "1", "tensor<3xf32>") + " : " + t);
    break;
  default: { // a reshape that splits cleanly outside only, with a column of zeros where rows were shorter
    std::string wide = add("nn.concat 2 " + state + ", " + state + " : " + t + ", " + t + " -> tensor<4x3x8xf32>");
    std::string odd = add("nn.reshape " + wide + " : tensor<4x3x8xf32> -> tensor<4x8x3xf32>");
    odd = add("nn.softmax " + odd + " 2 : tensor<4x8x3xf32>");
    std::string back = add("nn.reshape " + odd + " : tensor<4x8x3xf32> -> tensor<4x3x8xf32>");
    state = add("nn.slice " + back + " [0, 0, 2] steps [1, 1, 1] : tensor<4x3x8xf32> -> " + t);
  }
  }
}

std::string RandomModel::draw() {
  const std::string t = "tensor<4x3x4xf32>";
  std::string table = parameter("7x4");
  state = add("nn.embedding " + table + ", %ids : (tensor<7x4xf32>, tensor<4x3xi64>) -> " + t);
  for (int64_t i = 0, count = 1 + pick(6); i < count; ++i)
    step();
  // A loss of the graph: a sum, or a mean over what an input counts.
  std::string square = add("nn.mul " + state + ", " + state + " : " + t);
  std::string loss = add("nn.reduce sum " + square + " [0, 1, 2] : " + t + " -> tensor<f32>");
  if (pick(2))
    loss = add("nn.div " + loss + ", " + add("nn.reduce sum %x [0, 1] : tensor<4x3xf32> -> tensor<f32>") + " : tensor<f32>");
  std::string y = add("nn.transpose " + state + " [1, 2, 0] : " + t + " -> tensor<3x4x4xf32>");
  std::string z = add("nn.neg " + table + " : tensor<7x4xf32>");
  return parameters + "func.func @forward(%ids: tensor<4x3xi64> {nn.name = \"ids\"}, %x: tensor<4x3xf32> {nn.name = \"x\"})"
         " -> (tensor<f32> {nn.name = \"loss\"}, tensor<3x4x4xf32> {nn.name = \"y\"}, tensor<7x4xf32> {nn.name = \"z\"}) {\n" + body +
         "  return " + loss + ", " + y + ", " + z + " : tensor<f32>, tensor<3x4x4xf32>, tensor<7x4xf32>\n}\n";
}
