//===- Parameters.h - Which initializer is which PyTorch parameter --------===//
//
// Exporters transpose, merge and tie. The file's metadata says most of it; this
// is where all of it is read, so that training, saving and exporting agree.
//
//===----------------------------------------------------------------------===//

#ifndef GALVATRON_LIB_IMPORT_PARAMETERS_H
#define GALVATRON_LIB_IMPORT_PARAMETERS_H

#include "OnnxModel.h"
#include "dialects/NN/NN.h"
#include "galvatron/Import/Import.h"
#include "llvm/ADT/MapVector.h"

namespace galvatron {

struct ParameterInfo {
  const onnx::TensorProto *tensor = nullptr;
  std::string saved;                // the PyTorch name
  std::vector<std::string> aliases; // further names of the same tensor
  bool transposed = false;          // the file holds the transpose of the saved tensor
  nn::ParameterKind kind = nn::ParameterKind::Constant;
  nn::InitKind init = nn::InitKind::Zero;
  /// Another initializer that is the same parameter (a tied weight stored twice), or null.
  const ParameterInfo *same = nullptr;
  bool used = false;

  Shape savedShape() const;
  bool trains() const { return kind == nn::ParameterKind::Trainable || kind == nn::ParameterKind::Frozen; }
};

class Parameters {
public:
  Parameters(OnnxModel &model, const ImportOptions &options) : model(model), options(options) {}

  /// Classifies every float initializer. Errors: aliases and globs that match nothing.
  mlir::LogicalResult analyze();

  /// Null for initializers that are not float.
  ParameterInfo *find(llvm::StringRef initializer);

  /// Takes a parameter off the list: nothing that is computed depends on it.
  void forget(llvm::StringRef saved);

  /// All, in the order of the file.
  llvm::MapVector<llvm::StringRef, std::unique_ptr<ParameterInfo>> table;

  /// The note that says what trains.
  void print(llvm::raw_ostream &os) const;

private:
  void readMetadata();
  void classify();
  void findUses();
  void findTies();
  ParameterInfo *findQuietTie(llvm::StringRef missing);
  void findCopies();
  void tie(ParameterInfo &one, ParameterInfo &other, bool transposed);
  void mergeCopies();
  mlir::LogicalResult applyAliases();
  mlir::LogicalResult applyFreeze();
  void warnFolded(const ParameterInfo &info, llvm::ArrayRef<std::string> origins);
  void warnShared();
  void warnMissing();

  struct Use {
    const onnx::NodeProto *node;
    unsigned input;
  };

  OnnxModel &model;
  const ImportOptions &options;
  llvm::StringMap<std::string> kinds;              // value -> PARAMETER, BUFFER
  llvm::StringMap<std::vector<std::string>> folded; // value -> what it was folded from
  std::vector<std::string> signature;              // parameter names of the model, in order
  llvm::StringSet<> signatureSet;
  bool hasMetadata = false;
  llvm::StringMap<std::vector<Use>> uses; // initializer -> where it is used, through Transpose and Identity
};

} // namespace galvatron

#endif
