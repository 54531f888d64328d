//===- OnnxModel.h - An ONNX file and the weights beside it ---------------===//

#ifndef GALVATRON_LIB_IMPORT_ONNXMODEL_H
#define GALVATRON_LIB_IMPORT_ONNXMODEL_H

#include "ImportValue.h"
#include "galvatron/Import/NodeDiagnostics.h"
#include "onnx-ml.pb.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/MemoryBuffer.h"

namespace galvatron {

/// The bytes of an initializer: in the file, or a range of a file beside it.
struct TensorBytes {
  std::string file; // empty: in the model itself
  int64_t offset = 0;
  int64_t length = 0;
};

class OnnxModel {
public:
  /// Parses and checks the file's outer structure. Null when something is wrong; the error says what.
  static std::unique_ptr<OnnxModel> load(llvm::StringRef path, mlir::MLIRContext *context);
  static std::unique_ptr<OnnxModel> parse(llvm::StringRef bytes, llvm::StringRef path,
                                          mlir::MLIRContext *context);

  onnx::ModelProto proto;
  std::string path;
  mlir::MLIRContext *context;

  const onnx::GraphProto &graph() const { return proto.graph(); }

  /// The version of the default operator set, and that of another domain (0 if the file has none).
  int64_t opset(llvm::StringRef domain = "") const;

  /// Checks names, types, shapes and data ranges of all initializers. `openWeights` false: data files are
  /// not looked at, only their names and ranges are checked.
  mlir::LogicalResult checkInitializers(bool openWeights, bool requireWeights);

  const onnx::TensorProto *initializer(llvm::StringRef name) const { return initializers.lookup(name); }

  /// Where an initializer's bytes are.
  TensorBytes bytesOf(const onnx::TensorProto &tensor) const;

  /// Data files that the model names but that are not there.
  bool weightsMissing() const { return !missing.empty(); }
  llvm::ArrayRef<std::string> missingFiles() const { return missing; }

  /// The elements of a tensor as 64-bit integers or floats; nothing if its data is not there or is too large.
  /// `exact` is set to false for element types that nn has not (half, double).
  std::optional<ImportValue> read(const onnx::TensorProto &tensor, int64_t limit) const;

  /// The raw bytes of an external initializer.
  std::optional<llvm::StringRef> externalBytes(const onnx::TensorProto &tensor) const;

private:
  mlir::LogicalResult checkExternal(const onnx::TensorProto &tensor, mlir::Location loc, int64_t bytes,
                                    bool openWeights, bool requireWeights);

  llvm::StringMap<const onnx::TensorProto *> initializers;
  mutable llvm::StringMap<std::unique_ptr<llvm::MemoryBuffer>> files;
  llvm::StringMap<std::vector<std::pair<std::pair<int64_t, int64_t>, std::string>>> ranges;
  std::vector<std::string> missing;
  bool weightsReadable = false;
};

/// The nn element of an ONNX data type: nothing for strings, complex and narrow floats.
std::optional<ElementKind> elementKind(int32_t dataType);
/// Bits of an element in raw data (0 for types without a fixed size).
int64_t elementBits(int32_t dataType);
/// `FLOAT16`, or `data type 99`.
std::string dataTypeName(int32_t dataType);

/// The value of a metadata property, or empty.
template <typename Proto> llvm::StringRef metadata(const Proto &proto, llvm::StringRef key) {
  for (const onnx::StringStringEntryProto &entry : proto.metadata_props())
    if (entry.key() == key.str())
      return entry.value();
  return {};
}

} // namespace galvatron

#endif
