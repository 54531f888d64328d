//===- InitializerReader.cpp - Values of initializers inside a model ------===//

#include "galvatron/Import/InitializerReader.h"

#include "OnnxModel.h"
#include "mlir/IR/Diagnostics.h"

using namespace mlir;
using namespace galvatron;

InitializerReader::InitializerReader(StringRef path, MLIRContext *context) : path(path.str()), context(context) {}
InitializerReader::~InitializerReader() = default;

/// The elements of a repeated field as bytes.
template <typename Field> static std::string bytesOf(const Field &field) {
  return std::string(reinterpret_cast<const char *>(field.data()), field.size() * sizeof(field.Get(0)));
}

std::optional<std::string> InitializerReader::read(Location loc, StringRef name) {
  if (path.empty()) {
    emitError(loc) << "is inside the model, but nothing says which file that is";
    return std::nullopt;
  }
  if (!model) {
    model = OnnxModel::load(path, context);
    if (model && failed(model->checkInitializers(/*openWeights=*/false, /*requireWeights=*/false)))
      model.reset();
  }
  if (!model)
    return std::nullopt;
  const onnx::TensorProto *tensor = model->initializer(name);
  if (!tensor) {
    emitError(loc) << "'" << path << "' has no initializer '" << name << "'";
    return std::nullopt;
  }
  if (tensor->has_raw_data())
    return tensor->raw_data();
  if (tensor->float_data_size())
    return bytesOf(tensor->float_data());
  return bytesOf(tensor->int64_data());
}
