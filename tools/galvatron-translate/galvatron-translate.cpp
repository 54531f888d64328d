//===- galvatron-translate.cpp - ONNX to nn, and trained weights back -----===//

#include "../Flags.h"
#include "../OutputFile.h"

#include "galvatron/Import/Import.h"
#include "galvatron/Import/NodeDiagnostics.h"
#include "galvatron/Plan/PlanFile.h"
#include "galvatron/Search/Hetu/PlanJson.h"
#include "mlir/IR/MLIRContext.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/InitLLVM.h"

using namespace llvm;

static constexpr char overview[] = R"(Reads ONNX models and writes them back; and plans of Hetu-Galvatron.

  Import: an .onnx file becomes a module of nn ops, with the shapes of the global batch.

    galvatron-translate --import-onnx model.onnx --shapes=input_ids:8x32 -o model.mlir

  Export: the parameters of a .safetensors file go into the model that they were trained from.

    galvatron-translate --export-onnx model.onnx --weights=final.safetensors -o trained.onnx

  Weights in a file beside the model may be missing for an import. What trains is listed on stderr.

  Plans of Hetu-Galvatron become plan files (docs/PlanFormat.md), and these its own again:

    galvatron-translate --import-galvatron-plan galvatron_config_NAME_1nodes_8gpus_per_node_36GB_bf16.json -o plan.json
    galvatron-translate --export-galvatron-plan plan.json -o galvatron_config.json
)";

static cl::OptionCategory category("galvatron-translate options");
static cl::opt<bool> importFlag("import-onnx", cl::desc("Import the model"), cl::cat(category));
static cl::opt<bool> exportFlag("export-onnx", cl::desc("Write the model with trained weights"), cl::cat(category));
static cl::opt<bool> importPlan("import-galvatron-plan", cl::desc("Read a plan of Hetu-Galvatron"), cl::cat(category));
static cl::opt<bool> exportPlan("export-galvatron-plan", cl::desc("Write a plan as one of Hetu-Galvatron"), cl::cat(category));
static cl::opt<int64_t> worldSize("world-size", cl::desc("Ranks of --import-galvatron-plan (default: what the file or its name says)"),
                                  cl::value_desc("N"), cl::cat(category));
static cl::opt<bool> printOps("print-supported-ops", cl::desc("Print the ONNX operators that import, in Markdown"),
                              cl::cat(category));
static cl::opt<std::string> input(cl::Positional, cl::desc("model.onnx | plan.json"), cl::cat(category));
static cl::opt<std::string> output("o", cl::desc("Output file (default: -, stdout)"), cl::value_desc("file"), cl::init("-"),
                                   cl::cat(category));
static cl::opt<std::string> shapes("shapes", cl::desc("Shapes of the global batch: input_ids:8x32,attention_mask:8x32"),
                                   cl::value_desc("NAME:DIMxDIM,..."), cl::cat(category));
static cl::list<std::string> freeze("freeze", cl::desc("Do not train parameters whose name matches (* and ? and [] as in a shell)"),
                                    cl::value_desc("glob"), cl::cat(category));
static cl::list<std::string> aliases("alias", cl::desc("A further name of a parameter, for tied weights that the file does not tell"),
                                     cl::value_desc("NAME=NAME"), cl::cat(category));
static cl::opt<bool> randomWeights("random-weights", cl::desc("Parameters get no source: nothing opens a weights file"),
                                   cl::cat(category));
static cl::opt<std::string> weights("weights", cl::desc("Trained parameters for --export-onnx"),
                                    cl::value_desc("final.safetensors"), cl::cat(category));

static int translatePlan(function_ref<int(const Twine &)> fail) {
  int status = 0;
  auto report = [&](const Twine &message) { status = fail(message); };
  auto warn = [](const Twine &message) { errs() << "galvatron-translate: warning: " << message << "\n"; };
  if (worldSize.getNumOccurrences() && (worldSize < 1 || worldSize > galvatron::maxRanks))
    return fail("--world-size=" + Twine(worldSize) + ": wanted 1 to " + Twine(galvatron::maxRanks) + " ranks");
  std::optional<int64_t> ranks = worldSize.getNumOccurrences() ? std::optional(worldSize.getValue()) : std::nullopt;
  std::optional<galvatron::Plan> plan = importPlan ? galvatron::hetu::readHetuPlan(input, ranks, report, warn) : galvatron::readPlanFile(input, report);
  if (!plan)
    return status;
  auto write = [&](raw_ostream &os) {
    if (importPlan)
      galvatron::printPlan(*plan, os);
    else if (!galvatron::hetu::printHetuPlan(*plan, os, [&](const Twine &message) { report("'" + input + "': " + message); }))
      return failure();
    return success();
  };
  return failed(galvatron::writeOutput(output, write, report));
}

int main(int argc, char **argv) {
  InitLLVM init(argc, argv);
  galvatron::failOnFileSizeLimit();
  cl::HideUnrelatedOptions(category);
  galvatron::printVersionOf("galvatron-translate");
  galvatron::refuseUnknownFlags("galvatron-translate", argc, argv);
  cl::ParseCommandLineOptions(argc, argv, overview);
  auto fail = [](const Twine &message) {
    errs() << "galvatron-translate: error: " << message << "\n";
    return 1;
  };
  if (printOps) {
    galvatron::printSupportedOps(outs());
    return 0;
  }
  if (importFlag + exportFlag + importPlan + exportPlan != 1)
    return fail("say one of --import-onnx, --export-onnx, --import-galvatron-plan, --export-galvatron-plan and --print-supported-ops (--help explains them)");
  if (input.empty())
    return fail(importPlan || exportPlan ? "no plan given" : "no model given");
  if (importPlan || exportPlan)
    return translatePlan(fail);
  galvatron::ImportOptions options;
  if (auto wrong = galvatron::parseShapes(shapes, options.shapes))
    return fail("--shapes: " + *wrong);
  for (const std::string &alias : aliases)
    if (auto wrong = galvatron::parseAlias(alias, options.aliases))
      return fail("--alias: " + *wrong);
  options.freeze.assign(freeze.begin(), freeze.end());
  options.randomWeights = randomWeights;

  mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
  galvatron::NodeDiagnosticHandler handler(&context, input, errs());
  if (exportFlag) {
    if (weights.empty() || output == "-")
      return fail("--export-onnx needs --weights=FILE.safetensors and -o FILE.onnx");
    return failed(galvatron::exportOnnx(input, weights, output, options, &context));
  }
  mlir::OwningOpRef<mlir::ModuleOp> module = galvatron::importOnnx(input, options, &context);
  if (!module)
    return 1;
  auto write = [&](raw_ostream &os) {
    module->print(os);
    os << "\n";
    return mlir::success();
  };
  return failed(galvatron::writeOutput(output, write, fail));
}
