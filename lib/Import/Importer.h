//===- Importer.h - Walks an ONNX graph and calls the op importers --------===//

#ifndef GALVATRON_LIB_IMPORT_IMPORTER_H
#define GALVATRON_LIB_IMPORT_IMPORTER_H

#include "Emitter.h"
#include "OnnxModel.h"
#include "Parameters.h"
#include "galvatron/Import/Import.h"

namespace galvatron {

class NodeContext;

/// One row of the table of supported operators.
struct OpImporter {
  llvm::StringLiteral name;
  int64_t since;                                    // of the meaning that is implemented
  mlir::LogicalResult (*import)(NodeContext &node); // emits its own errors
  llvm::StringLiteral note = "";                    // what of the op is not supported
};

llvm::ArrayRef<OpImporter> elementwiseOps();
llvm::ArrayRef<OpImporter> activationOps();
llvm::ArrayRef<OpImporter> constantOps();
llvm::ArrayRef<OpImporter> conversionOps();
llvm::ArrayRef<OpImporter> shapeOps();
llvm::ArrayRef<OpImporter> indexOps();
llvm::ArrayRef<OpImporter> scatterOps();
llvm::ArrayRef<OpImporter> linearOps();
llvm::ArrayRef<OpImporter> lossOps();
llvm::ArrayRef<OpImporter> windowOps();
llvm::ArrayRef<OpImporter> normOps();
llvm::ArrayRef<OpImporter> attentionOps();
llvm::ArrayRef<OpImporter> reduceOps();
llvm::ArrayRef<OpImporter> controlOps();

/// The opsets of the default domain that are understood.
inline constexpr int64_t minOpset = 13, maxOpset = 24;

const OpImporter *findOp(llvm::StringRef name);

/// Names in sight: of the graph, a subgraph or a function body.
struct Scope {
  llvm::StringMap<ImportValue> values;
  Scope *parent = nullptr;
  llvm::StringMap<const onnx::AttributeProto *> attributes; // of the function call
  int64_t opset = 0;
  std::string prefix; // of node names, inside a function
  int depth = 0;
};

class Importer {
public:
  Importer(OnnxModel &model, const ImportOptions &options, mlir::MLIRContext *context)
      : model(model), options(options), context(context), emit(context), parameters(model, options) {}

  mlir::OwningOpRef<mlir::ModuleOp> run();

  OnnxModel &model;
  const ImportOptions &options;
  mlir::MLIRContext *context;
  Emitter emit;

  /// Slices that got less than they asked for. Legal, but a table that is too short for a sequence of --shapes looks so too.
  struct ShortSlice {
    mlir::Location loc;
    int64_t asked, size;
  };
  std::vector<ShortSlice> shortSlices;

  ImportValue lookup(Scope &scope, llvm::StringRef name);

  /// Imports the nodes that `outputs` need into `scope`.
  mlir::LogicalResult importNodes(const google::protobuf::RepeatedPtrField<onnx::NodeProto> &nodes,
                                  llvm::ArrayRef<std::string> outputs, Scope &scope);

private:
  mlir::LogicalResult checkVersions();
  mlir::LogicalResult checkOptions();
  mlir::LogicalResult checkNames();
  mlir::LogicalResult checkSupported();
  void collectUnsupported(const onnx::NodeProto &node, const Scope &scope, llvm::StringSet<> &functions);
  mlir::LogicalResult importInputs(Scope &scope);
  mlir::LogicalResult importOutputs(Scope &scope);
  mlir::LogicalResult importNode(const onnx::NodeProto &node, Scope &scope);
  mlir::LogicalResult importFunction(const onnx::FunctionProto &function, const onnx::NodeProto &node, Scope &scope);
  ImportValue importInitializer(llvm::StringRef name);
  void removeDead();
  std::optional<ImportValue> importMask(const ImportValue &data);
  const onnx::FunctionProto *findFunction(const onnx::NodeProto &node);

  Parameters parameters;
  mlir::OwningOpRef<mlir::ModuleOp> module;
  mlir::Operation *function = nullptr;
  llvm::StringMap<ImportValue> initializerValues;
  int64_t unsupported = 0, imported = 0;
  bool failedInitializer = false;
};

/// What an op importer sees of its node.
class NodeContext {
public:
  NodeContext(Importer &importer, const onnx::NodeProto &node, Scope &scope, mlir::Location loc);

  Importer &importer;
  Emitter &emit;
  const onnx::NodeProto &node;
  Scope &scope;
  mlir::Location loc;
  llvm::SmallVector<ImportValue> inputs, outputs;

  mlir::InFlightDiagnostic error();

  bool has(size_t i) const { return i < inputs.size() && inputs[i].kind != ImportValue::Absent; }
  size_t numOutputs() const { return node.output_size(); }
  bool wantsOutput(size_t i) const { return i < numOutputs() && !node.output(i).empty(); }

  /// Fails, with an error, unless the node has this many inputs (all present up to `least`).
  mlir::LogicalResult expectInputs(size_t least, size_t most);
  /// Fails unless the input has this element type.
  mlir::LogicalResult expectElement(size_t i, ElementKind element);
  /// The input as a tensor of nn.
  mlir::Value tensor(size_t i) { return emit.materialize(inputs[i]); }

  // Attributes. A wrong type is an error, reported at once; the node fails in the end.
  std::optional<int64_t> getInt(llvm::StringRef name);
  int64_t getInt(llvm::StringRef name, int64_t otherwise) { return getInt(name).value_or(otherwise); }
  std::optional<float> getFloat(llvm::StringRef name);
  float getFloat(llvm::StringRef name, float otherwise) { return getFloat(name).value_or(otherwise); }
  std::optional<Shape> getInts(llvm::StringRef name);
  std::optional<std::vector<float>> getFloats(llvm::StringRef name);
  std::string getString(llvm::StringRef name, llvm::StringRef otherwise);
  const onnx::TensorProto *getTensor(llvm::StringRef name);
  const onnx::GraphProto *getGraph(llvm::StringRef name);
  /// For attributes that change nothing.
  void ignore(llvm::StringRef name) { read.insert(name); }

  /// An attribute or (later opsets) input of integers that must be known; fails with an error otherwise.
  mlir::FailureOr<Shape> knownInts(size_t input, llvm::StringRef what);
  /// A dimension counted from either end, checked against the rank.
  mlir::FailureOr<int64_t> dimension(int64_t axis, int64_t rank);
  mlir::FailureOr<Shape> dimensions(llvm::ArrayRef<int64_t> axes, int64_t rank);
  /// The shape that the inputs broadcast to.
  mlir::FailureOr<Shape> commonShape(llvm::ArrayRef<size_t> which);

  void setOutput(size_t i, ImportValue value) { outputs[i] = std::move(value); }
  void setOutput(size_t i, mlir::Value value) { outputs[i] = ImportValue::tensorOf(value); }
  mlir::LogicalResult result(ImportValue value) {
    setOutput(0, std::move(value));
    return mlir::success();
  }
  mlir::LogicalResult result(mlir::Value value) { return result(ImportValue::tensorOf(value)); }

  /// Reports attributes that nobody read, and earlier attribute errors.
  mlir::LogicalResult finish();

private:
  const onnx::AttributeProto *find(llvm::StringRef name, onnx::AttributeProto::AttributeType type);

  llvm::StringSet<> read;
  bool failed = false;
};

} // namespace galvatron

#endif
