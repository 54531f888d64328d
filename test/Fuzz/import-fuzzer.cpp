//===- import-fuzzer.cpp - Any bytes as a model ---------------------------===//
//
// The importer says what is wrong, or makes a module that verifies. It never
// crashes, hangs, or takes memory that the file does not pay for.
//
//   import-fuzzer -max_total_time=60 CORPUS
//
//===----------------------------------------------------------------------===//

#include "galvatron/Import/Import.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/MLIRContext.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
  mlir::ScopedDiagnosticHandler silence(&context, [](mlir::Diagnostic &) { return mlir::success(); });
  galvatron::ImportOptions options;
  options.randomWeights = true; // no file is opened
  options.listParameters = false;
  for (const char *input : {"x", "input_ids", "attention_mask"})
    options.shapes[input] = {2, 4};
  llvm::StringRef bytes(reinterpret_cast<const char *>(data), size);
  galvatron::importOnnxBuffer(bytes, "fuzzed.onnx", options, &context);
  // Without shapes as well: a wrong name among them ends the import early.
  options.shapes.clear();
  galvatron::importOnnxBuffer(bytes, "fuzzed.onnx", options, &context);
  return 0;
}
