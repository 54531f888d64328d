//===- ModelMutator.h - Changes a model and leaves it one -----------------===//
//
// Random bytes die in the protobuf parser. These changes get past it: each
// takes a model apart, changes what an exporter could have written otherwise
// (or never would), and puts it together again.
//
//===----------------------------------------------------------------------===//

#ifndef GALVATRON_TEST_FUZZ_MODELMUTATOR_H
#define GALVATRON_TEST_FUZZ_MODELMUTATOR_H

#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

namespace onnx {
class AttributeProto;
class GraphProto;
class NodeProto;
class TensorProto;
class ValueInfoProto;
} // namespace onnx

namespace galvatron {

class ModelMutator {
public:
  explicit ModelMutator(unsigned seed) : random(seed) {}

  /// Changes the model in `data` in place and returns its size; 0 if the bytes are no model, or the new one does not fit.
  size_t mutate(uint8_t *data, size_t size, size_t maxSize);

private:
  int64_t below(int64_t bound) { return std::uniform_int_distribution<int64_t>(0, bound - 1)(random); }
  bool oneIn(int64_t n) { return below(n) == 0; }
  int64_t number(); ///< small ones mostly, and those at which arithmetic breaks
  float real();
  std::string valueName(const onnx::GraphProto &graph);

  void change(onnx::GraphProto &graph);
  void change(onnx::NodeProto &node, const onnx::GraphProto &graph);
  void change(onnx::AttributeProto &attribute);
  void change(onnx::TensorProto &tensor);
  void change(onnx::ValueInfoProto &value);
  void addNode(onnx::GraphProto &graph);

  std::mt19937 random;
};

} // namespace galvatron

#endif
