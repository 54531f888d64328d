//===- Program.cpp - The last step: an executable and its weights ---------===//

#include "Program.h"

#include "galvatron/Import/InitializerReader.h"
#include "galvatron/Target/Link.h"
#include "galvatron/Target/ObjectCode.h"
#include "galvatron/Target/ProgramImage.h"
#include "galvatron/Target/Weights.h"

#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FileUtilities.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir;
using namespace galvatron;

/// The attribute of a module that names the .onnx file that it was imported from.
static constexpr llvm::StringLiteral modelAttr = "nn.model";

void galvatron::setModelPath(ModuleOp module, StringRef path) {
  module->setAttr(modelAttr, StringAttr::get(module.getContext(), path));
}

/// The model that the module comes from: as it was given, or beside the module. Empty if nothing says.
static std::string findModel(ModuleOp module, StringRef input) {
  auto model = module->getAttrOfType<StringAttr>(modelAttr);
  if (!model || llvm::sys::fs::exists(model.getValue()))
    return model ? model.getValue().str() : std::string();
  SmallString<256> beside(llvm::sys::path::parent_path(input));
  llvm::sys::path::append(beside, llvm::sys::path::filename(model.getValue()));
  return beside.str().str();
}

/// Writes the weights to `path`, from where they go to options.path.safetensors.
static LogicalResult writeProgramWeights(ModuleOp module, const ProgramOptions &options, const std::string &path) {
  std::string model = findModel(module, options.input);
  auto reader = std::make_shared<InitializerReader>(model, module.getContext());
  WeightSources sources;
  sources.directory = llvm::sys::path::parent_path(model.empty() ? options.input : model).str();
  sources.readInitializer = [reader](Location loc, StringRef name) { return reader->read(loc, name); };
  return writeWeights(module, sources, path, options.path + ".safetensors");
}

/// The tables of the program that a lowered module holds, those of each pipeline stage.
static FailureOr<std::vector<ProgramImage>> buildImages(ModuleOp module, const ProgramOptions &options) {
  assert(!module.getOps<rt::ProgramOp>().empty() && "the stage 'lowered' has a program");
  ProgramInfo info;
  info.modelName = llvm::sys::path::stem(options.input).str();
  info.randomSeed = options.randomSeed;
  info.cpuFeatures = cpuFeatures(options.cpu);
  return buildProgramImages(module, info);
}

LogicalResult galvatron::printCode(ModuleOp module, const ProgramOptions &options, raw_ostream &os) {
  FailureOr<std::vector<ProgramImage>> images = buildImages(module, options);
  if (failed(images))
    return failure();
  addProgramImages(module, *images);
  llvm::raw_null_ostream object;
  return emitObject(module, {options.cpu, &os}, object);
}

LogicalResult galvatron::writeProgram(ModuleOp module, const ProgramOptions &options,
                                      const std::function<void(StringRef)> &done) {
  FailureOr<std::vector<ProgramImage>> images = buildImages(module, options);
  if (failed(images))
    return failure();
  done("the program table");
  // An old program and its weights stay until there are new ones to take their place.
  if (llvm::sys::fs::is_directory(options.path))
    return module.emitError("cannot write '") << options.path << "': Is a directory";
  std::string linked = options.path + ".tmp", weights = linked + ".safetensors";
  llvm::FileRemover linkedRemover(linked), weightsRemover(weights);
  if (!options.randomSeed) {
    if (failed(writeProgramWeights(module, options, weights)))
      return failure();
    done("writing the weights");
  }

  addProgramImages(module, *images);
  SmallString<128> object;
  int descriptor;
  if (std::error_code error = llvm::sys::fs::createTemporaryFile("galvatron", "o", descriptor, object))
    return module.emitError("cannot make a temporary file: ") << error.message();
  llvm::FileRemover remover(object);
  {
    llvm::raw_fd_ostream stream(descriptor, /*shouldClose=*/true);
    if (failed(emitObject(module, {options.cpu}, stream)))
      return failure();
    stream.close();
    if (stream.has_error()) {
      std::string why = stream.error().message();
      stream.clear_error();
      return module.emitError("cannot write '") << object << "': " << why;
    }
  }
  done("code generation");
  if (failed(linkProgram(object, linked, options.path, module.getLoc())))
    return failure();
  done("linking");
  auto take = [&](StringRef from, const std::string &to) -> LogicalResult {
    if (std::error_code error = llvm::sys::fs::rename(from, to))
      return module.emitError("cannot write '") << to << "': " << error.message();
    return success();
  };
  if (!options.randomSeed && failed(take(weights, options.path + ".safetensors")))
    return failure();
  return take(linked, options.path);
}
