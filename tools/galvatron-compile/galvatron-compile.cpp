//===- galvatron-compile.cpp - From a model to a program that trains it ---===//
//
// A thin main: options, then the stages of lib/Pipelines.cpp from where the input is to where the user wants to go, and
// the program (lib/Target) at the end.
//
//===----------------------------------------------------------------------===//

#include "../Flags.h"
#include "../OutputFile.h"
#include "Program.h"

#include "galvatron/Codegen/MemoryReport.h"
#include "galvatron/Codegen/Records.h"
#include "galvatron/Import/Import.h"
#include "galvatron/Import/NodeDiagnostics.h"
#include "galvatron/Pipelines.h"
#include "galvatron/Plan/PlanFile.h"
#include "galvatron/Plan/PlanModule.h"

#include "dialects/Dist/Dist.h"
#include "dialects/NN/NN.h"
#include "dialects/Pipe/Pipe.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Parser/Parser.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/InitLLVM.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Threading.h"

#include <chrono>
#include <thread>
#include <unistd.h>

using namespace llvm;
using namespace galvatron;

static constexpr char overview[] = R"(Compiles an ONNX model into a native program that trains it.

  A language model, its logits trained with cross entropy:

    galvatron-compile model.onnx --shapes=input_ids:8x32 --loss=cross-entropy:logits --optimizer=adamw -o program
    mpirun -n 1 ./program --data=DIR --steps=10 --lr=3e-3

  --shapes gives the whole batch of a step; --micro-batches=4 computes it in four pieces, with less memory.
  The program has its first weights in program.safetensors beside it; with --random-weights=0 it makes them itself.

  Stop after any stage, look at it, change it, and go on from it:

    galvatron-compile model.onnx --shapes=input_ids:8x32 --loss=cross-entropy:logits --emit=training -o step.mlir
    galvatron-compile step.mlir --micro-batches=2 -o program

  On four ranks, of which two share each block and two pairs split the batch; what that means, and as a file to edit and give back:

    galvatron-compile model.onnx --shapes=input_ids:8x32 --loss=cross-entropy:logits --ranks=4 --tp=2 --explain-plan \
      --save-plan=plan.json -o program
    galvatron-compile model.onnx --shapes=input_ids:8x32 --loss=cross-entropy:logits --plan=plan.json -o program
    mpirun -n 4 ./program --data=DIR --steps=10 --lr=3e-3

  What the memory of a program is made of:

    galvatron-compile model.onnx --shapes=input_ids:8x32 --loss=cross-entropy:logits --print-memory -o program
)";

/// What the runtime takes (galvatron_rt_matmul_scratch_bytes).
static constexpr int64_t maxThreads = 4096;

static constexpr char lossKinds[] = "cross-entropy:OUTPUT or output:OUTPUT";

static cl::OptionCategory category("galvatron-compile options");
namespace {

/// The command line. Not global: LLVM's own options, which have some of these names, must go first.
struct Options {
  cl::opt<std::string> input{cl::Positional, cl::desc("model.onnx | stage.mlir"), cl::cat(category)};
  cl::opt<std::string> output{"o", cl::desc("The program (default: program), or the module of --emit (default: -, stdout)"),
                                   cl::value_desc("file"), cl::cat(category)};
  cl::opt<std::string> shapes{"shapes", cl::desc("Shapes of the global batch: input_ids:8x32,attention_mask:8x32"),
                                   cl::value_desc("NAME:DIMxDIM,..."), cl::cat(category)};
  cl::opt<std::string> loss{"loss", cl::desc("What is minimised: cross-entropy:LOGITS with the labels of the data, or output:NAME"),
                                 cl::value_desc("KIND:OUTPUT"), cl::cat(category)};
  cl::opt<std::string> optimizer{"optimizer", cl::desc("adamw (default) or sgd"), cl::value_desc("name"), cl::init("adamw"), cl::cat(category)};
  cl::opt<int64_t> microBatches{"micro-batches", cl::desc("Pieces in which a step's batch is computed (default: 1; with stages the fewest that fill them)"),
                                cl::value_desc("M"), cl::init(0), cl::cat(category)};
  cl::opt<int64_t> ranks{"ranks", cl::desc("Processes that train together (default: those of --mesh, or P x D x T); what --pp and --tp leave split the rows of the batch"),
                         cl::value_desc("N"), cl::init(0), cl::cat(category)};
  cl::opt<int64_t> data{"dp", cl::desc("Pieces of the batch's rows (data parallelism; default: what --ranks, --pp and --tp leave)"),
                        cl::value_desc("D"), cl::init(1), cl::cat(category)};
  cl::opt<int64_t> pipeline{"pp", cl::desc("Stages of a pipeline, each of which has some of the blocks (default: 1)"),
                            cl::value_desc("P"), cl::init(1), cl::cat(category)};
  cl::opt<int64_t> tensor{"tp", cl::desc("Ranks that share each block, by heads and hidden units (tensor parallelism; default: 1)"),
                          cl::value_desc("T"), cl::init(1), cl::cat(category)};
  cl::opt<std::string> schedule{"schedule", cl::desc("Order of a pipeline's micro-batches: 1f1b (default; few in flight) or gpipe (all forwards first)"),
                                cl::value_desc("name"), cl::init("1f1b"), cl::cat(category)};
  cl::opt<std::string> mesh{"mesh", cl::desc("The ranks as a grid, slowest link first: 2x4 is two nodes of four. Stages take the outermost axes, --tp the innermost "
                                             "(default: the prime factors of stages, data and tensor parallelism)"),
                            cl::value_desc("SIZExSIZE..."), cl::cat(category)};
  cl::opt<std::string> planFile{"plan", cl::desc("A plan from a file (docs/PlanFormat.md): a strategy for each block. Instead of --ranks, --pp, --dp, --tp, --mesh, --micro-batches and --schedule"),
                                cl::value_desc("file"), cl::cat(category)};
  cl::opt<std::string> savePlan{"save-plan", cl::desc("Write the plan, of flags or a file, with all that it leaves open decided"), cl::value_desc("file"),
                                cl::cat(category)};
  cl::opt<bool> explain{"explain-plan", cl::desc("Print what the plan means: which axes split what, bytes and rows of each rank, names of ops"), cl::cat(category)};
  cl::opt<std::string> emitStage{"emit", cl::desc("Print the module after a stage: imported, training, planned, partitioned, scheduled or lowered; or llvm: its optimised code"),
                                 cl::value_desc("stage"), cl::cat(category)};
  cl::opt<bool> printMemory{"print-memory", cl::desc("Print how many bytes the program allocates, and what for"), cl::cat(category)};
  cl::opt<int64_t> randomWeights{"random-weights", cl::desc("The program makes its first weights from this seed; no weights file is read"),
                                      cl::value_desc("SEED"), cl::cat(category)};
  cl::list<std::string> freeze{"freeze", cl::desc("Do not train parameters whose name matches (* and ? and [] as in a shell)"),
                                    cl::value_desc("glob"), cl::cat(category)};
  cl::list<std::string> aliases{"alias", cl::desc("A further name of a parameter, for tied weights that the file does not tell"),
                                     cl::value_desc("NAME=NAME"), cl::cat(category)};
  cl::opt<int64_t> threads{"threads", cl::desc("Threads of the program (default: the cores of this machine, over its ranks)"), cl::value_desc("K"),
                                cl::init(0), cl::cat(category)};
  cl::opt<std::string> cpu{"cpu", cl::desc("Processors that the program runs on: native (like this one; default), x86-64-v3 or x86-64-v4"),
                                cl::value_desc("level"), cl::init("native"), cl::cat(category)};
  cl::opt<bool> printTimes{"time", cl::desc("Print how long each stage takes"), cl::cat(category)};
};

/// Says on stderr what takes long: every stage with --time, otherwise those after the first seconds.
class Progress {
public:
  bool printAll = false;

  void done(StringRef what) {
    auto now = std::chrono::steady_clock::now();
    double step = std::chrono::duration<double>(now - last).count(), all = std::chrono::duration<double>(now - start).count();
    last = now;
    if (printAll || all > 3)
      errs() << "galvatron-compile: " << what << format(" took %.2f s", step) << "\n";
  }

private:
  std::chrono::steady_clock::time_point start = std::chrono::steady_clock::now(), last = start;
};

/// The compilation that the options ask for.
class Compilation : Options {
public:
  explicit Compilation(mlir::MLIRContext &context) : context(context) {}
  StringRef getInput() const { return input; }
  int run();

private:
  int fail(const Twine &message) {
    errs() << "galvatron-compile: error: " << message << "\n";
    return 1;
  }
  int checkOptions();
  int checkPlanFlags();
  int checkLoss();
  int checkOutput();
  int checkStage(Stage stage);
  bool isOnnx() const { return StringRef(input).ends_with(".onnx"); }
  std::string outputPath() const { return !output.empty() ? output.getValue() : wanted ? "-" : "program"; }
  mlir::OwningOpRef<mlir::ModuleOp> load();
  mlir::LogicalResult runStage(mlir::ModuleOp module, Stage stage);
  mlir::LogicalResult resolve(mlir::ModuleOp module);
  int tellPlan(mlir::ModuleOp module);
  int print(mlir::ModuleOp module);
  ProgramOptions programOptions() const;
  int writeProgram(mlir::ModuleOp module);

  mlir::MLIRContext &context;
  std::optional<Stage> wanted;
  bool wantsCode = false; ///< LLVM's optimised code of the last stage
  ImportOptions importOptions;
  PipelineOptions pipelineOptions;
  Progress progress;
};

} // namespace

/// A loss that says too little, or names no output, is found before the import, which may take long.
int Compilation::checkLoss() {
  bool isWanted = !wanted || *wanted >= Stage::Training;
  if (loss.empty() && !loss.getNumOccurrences())
    return isOnnx() && isWanted ? fail("--loss says what to minimise: " + Twine(lossKinds)) : 0;
  auto [kind, name] = StringRef(loss).split(':');
  if ((kind != "cross-entropy" && kind != "output") || name.empty())
    return fail("--loss=" + loss + ": wanted " + lossKinds);
  importOptions.lossOutput = name.str();
  return 0;
}

/// A folder that is not there, or no place for files, is found before the work.
int Compilation::checkOutput() {
  std::string path = outputPath();
  if (path == "-" && !wanted)
    return fail("-o -: a program is a file, and needs a name");
  bool isSame = false;
  if (!wanted && !sys::fs::equivalent(input, path, isSame) && isSame)
    return fail("-o " + path + " is the input, which would be lost");
  // A program has its weights beside it.
  bool isProgram = !wanted, hasWeights = isProgram && !randomWeights.getNumOccurrences();
  for (const std::string &file : {path, hasWeights ? path + ".safetensors" : path})
    if (sys::fs::is_directory(file))
      return fail("cannot write '" + file + "': " + std::make_error_code(std::errc::is_a_directory).message());
  if (path == "-" || (!isProgram && sys::fs::exists(path)))
    return 0;
  // A new program is made beside the old one.
  StringRef folder = sys::path::parent_path(path);
  if (!folder.empty() && sys::fs::exists(folder) && !sys::fs::is_directory(folder))
    return fail("cannot write '" + path + "': " + std::make_error_code(std::errc::not_a_directory).message());
  if (std::error_code error = sys::fs::access(folder.empty() ? "." : folder, sys::fs::AccessMode::Write))
    return fail("cannot write '" + path + "': " + error.message());
  return 0;
}

/// Makes the plan, of a file or of flags: what is wrong with it for every model is found before the import.
int Compilation::checkPlanFlags() {
  for (cl::Option *option : std::initializer_list<cl::Option *>{&savePlan, &explain})
    if (option->getNumOccurrences() && wanted && *wanted < Stage::Planned)
      return fail("--" + option->ArgStr + " needs the stage 'planned', behind '" + emitStage + "'");
  int status = 0;
  auto report = [&](const Twine &message) { status = fail(message); };
  std::optional<Plan> plan;
  if (planFile.getNumOccurrences()) {
    for (cl::Option *option : std::initializer_list<cl::Option *>{&ranks, &pipeline, &data, &tensor, &mesh, &microBatches, &schedule})
      if (option->getNumOccurrences())
        return fail("--" + option->ArgStr + " does not apply: --plan=" + planFile + " decides that");
    plan = readPlanFile(planFile, report);
  } else {
    PlanDegrees degrees;
    if (ranks.getNumOccurrences())
      degrees.ranks = ranks;
    if (microBatches.getNumOccurrences())
      degrees.microBatches = microBatches;
    if (data.getNumOccurrences())
      degrees.data = data;
    degrees.pipeline = pipeline;
    degrees.tensor = tensor;
    std::optional<PlanSchedule> order = parseSchedule(schedule, [&](const Twine &message) { report("--schedule: " + message); });
    std::optional<std::vector<int64_t>> sizes = std::vector<int64_t>();
    if (mesh.getNumOccurrences())
      sizes = parseMesh(mesh, [&](const Twine &message) { report("--mesh: " + message); });
    if (!order || !sizes)
      return status;
    degrees.schedule = *order;
    degrees.mesh = *sizes;
    plan = makePlan(degrees, report);
  }
  auto reportPlan = [&](const Twine &message) { report((planFile.empty() ? "" : "'" + planFile + "': ") + message); };
  if (plan && checkExecutable(*plan, reportPlan))
    pipelineOptions.plan = *plan;
  return status;
}

int Compilation::checkOptions() {
  if (input.empty())
    return fail("no model given (--help shows how)");
  if (emitStage == "llvm") {
    wantsCode = true;
    wanted = lastStage;
  } else if (!emitStage.empty()) {
    wanted = parseStage(emitStage);
    if (!wanted)
      return fail("--emit=" + emitStage + ": wanted imported, training, planned, partitioned, scheduled, lowered or llvm");
  }
  if (auto wrong = parseShapes(shapes, importOptions.shapes))
    return fail("--shapes: " + *wrong);
  for (const std::string &alias : aliases)
    if (auto wrong = parseAlias(alias, importOptions.aliases))
      return fail("--alias: " + *wrong);
  if (optimizer != "adamw" && optimizer != "sgd")
    return fail("--optimizer=" + optimizer + ": wanted adamw or sgd");
  if (int status = checkPlanFlags())
    return status;
  if (threads.getNumOccurrences() && (threads < 1 || threads > maxThreads))
    return fail("--threads=" + Twine(threads) + ": wanted 1 to " + Twine(maxThreads));
  if (!getCpuLevel(cpu))
    return fail("--cpu=" + cpu + ": wanted native, x86-64-v3 or x86-64-v4");
  if (int status = checkLoss())
    return status;
  if (int status = checkOutput())
    return status;
  importOptions.freeze.assign(freeze.begin(), freeze.end());
  importOptions.randomWeights = randomWeights.getNumOccurrences();
  importOptions.requireWeights = !wanted && !importOptions.randomWeights;
  pipelineOptions.loss = loss;
  pipelineOptions.optimizer = optimizer;
  pipelineOptions.threads = threads ? threads : std::max<int64_t>(1, std::thread::hardware_concurrency() / pipelineOptions.plan.getRanks());
  pipelineOptions.cpu = cpu;
  return 0;
}

/// What a module was made with cannot be said again: an option of a stage that lies behind would do nothing.
int Compilation::checkStage(Stage stage) {
  const std::pair<const cl::Option &, Stage> decided[] = {{shapes, Stage::Imported},  {freeze, Stage::Imported},
                                                          {aliases, Stage::Imported}, {loss, Stage::Training},
                                                          {optimizer, Stage::Training}, {ranks, Stage::Planned}, {pipeline, Stage::Planned}, {data, Stage::Planned}, {tensor, Stage::Planned}, {mesh, Stage::Planned},
                                                          {microBatches, Stage::Planned}, {schedule, Stage::Planned}, {planFile, Stage::Planned},
                                                          {savePlan, Stage::Planned},   {explain, Stage::Partitioned},
                                                          {threads, Stage::Lowered}};
  for (const auto &[option, when] : decided)
    if (option.getNumOccurrences() && when <= stage)
      return fail("--" + option.ArgStr + " does not apply: '" + input + "' is at the stage '" + stringifyStage(stage) +
                  "', where that is decided");
  return 0;
}

/// Whether the input holds neither text nor MLIR's bytecode: weights or data, say.
static bool isBinary(StringRef path) {
  // A pipe can be read only once.
  if (!sys::fs::is_regular_file(path))
    return false;
  auto buffer = MemoryBuffer::getFile(path, /*IsText=*/false, /*RequiresNullTerminator=*/false);
  if (!buffer)
    return false;
  StringRef start = (*buffer)->getBuffer().take_front(4096);
  return !start.starts_with("ML\xefR") && start.contains('\0');
}

mlir::OwningOpRef<mlir::ModuleOp> Compilation::load() {
  if (!isOnnx()) {
    if (isBinary(input)) {
      fail("'" + input + "' is neither a model nor a module; wanted a model in a file that ends in .onnx, or what --emit printed");
      return nullptr;
    }
    auto module = mlir::parseSourceFile<mlir::ModuleOp>(input, &context);
    if (!module && sys::fs::is_regular_file(input) && !StringRef(input).ends_with(".mlir"))
      fail("'" + input + "' was read as a module that --emit printed; a model's file ends in .onnx");
    return module;
  }
  mlir::OwningOpRef<mlir::ModuleOp> module = importOnnx(input, importOptions, &context);
  if (module)
    setModelPath(*module, input);
  return module;
}

mlir::LogicalResult Compilation::runStage(mlir::ModuleOp module, Stage stage) {
  mlir::PassManager pm(&context);
  addStagePasses(pm, stage, pipelineOptions);
  // What grows with a model's depth is mostly this: once a stage is enough. galvatron-opt verifies after each pass.
  pm.enableVerifier(false);
  if (failed(pm.run(module)) || failed(mlir::verify(module)))
    return mlir::failure();
  progress.done(stringifyStage(stage));
  return mlir::success();
}

/// Decides for the model what the plan leaves open.
mlir::LogicalResult Compilation::resolve(mlir::ModuleOp module) {
  mlir::Location loc = getPlanLocation(module, pipelineOptions.plan);
  auto report = [&](const Twine &message) { mlir::emitError(loc) << message; };
  std::optional<Plan> plan = resolvePlan(pipelineOptions.plan, getPlannedModel(module), report);
  if (plan)
    pipelineOptions.plan = *plan;
  return mlir::success(plan.has_value());
}

/// What the user wants to know of the plan of a planned module.
int Compilation::tellPlan(mlir::ModuleOp module) {
  if (explain)
    explainPlan(module, wanted && output.empty() ? errs() : outs());
  outs().flush(); // before what standard error says next
  if (savePlan.empty())
    return 0;
  auto write = [&](raw_ostream &os) {
    printPlan(pipelineOptions.plan, os);
    return mlir::success();
  };
  return failed(writeOutput(savePlan, write, [&](const Twine &why) { fail(why); }));
}

int Compilation::print(mlir::ModuleOp module) {
  auto write = [&](raw_ostream &os) -> mlir::LogicalResult {
    if (wantsCode)
      return printCode(module, programOptions(), os);
    module->print(os);
    os << "\n";
    return mlir::success();
  };
  return failed(writeOutput(outputPath(), write, [&](const Twine &why) { fail(why); }));
}

ProgramOptions Compilation::programOptions() const {
  ProgramOptions options;
  options.path = outputPath();
  options.input = input;
  options.cpu = *parseCpuLevel(cpu);
  if (randomWeights.getNumOccurrences())
    options.randomSeed = randomWeights;
  return options;
}

/// How a program of several ranks is started here: mpirun refuses more ranks than cores, and root, unless it is told otherwise.
static std::string describeStart(StringRef path, int64_t ranks) {
  int cores = get_physical_cores();
  std::string command = "mpirun -n " + std::to_string(ranks);
  if (ranks > (cores > 0 ? cores : int64_t(std::thread::hardware_concurrency())))
    command += " --oversubscribe";
  if (geteuid() == 0)
    command += " --allow-run-as-root";
  return command + (path.contains('/') ? " " : " ./") + path.str() + " --data=DIR";
}

int Compilation::writeProgram(mlir::ModuleOp module) {
  ProgramOptions options = programOptions();
  int64_t ranks = 1;
  if (auto programs = module.getOps<rt::ProgramOp>(); !programs.empty())
    for (int64_t size : (*programs.begin()).getAxisSizes())
      ranks *= size;
  if (failed(galvatron::writeProgram(module, options, [&](StringRef what) { progress.done(what); })))
    return 1;
  auto describe = [](const std::string &path) {
    uint64_t bytes = 0;
    bool unknown(sys::fs::file_size(path, bytes));
    return "'" + path + "'" + (unknown ? "" : " (" + describeBytes(bytes) + ")");
  };
  errs() << "galvatron-compile: wrote " << describe(options.path);
  if (options.randomSeed)
    errs() << ", which makes its first weights itself\n";
  else
    errs() << " and its first weights " << describe(options.path + ".safetensors") << "\n";
  if (ranks > 1)
    errs() << "galvatron-compile: start it with: " << describeStart(options.path, ranks) << "\n";
  return 0;
}

int Compilation::run() {
  progress.printAll = printTimes;
  if (int status = checkOptions())
    return status;
  mlir::OwningOpRef<mlir::ModuleOp> module = load();
  if (!module)
    return 1;
  progress.done("reading the model");
  // An imported model is raised first; a module goes on from the stage that it is.
  if (!isOnnx())
    if (int status = checkStage(detectStage(*module)))
      return status;
  int next = isOnnx() ? 0 : static_cast<int>(detectStage(*module)) + 1;
  int last = static_cast<int>(wanted.value_or(lastStage));
  if (next == static_cast<int>(Stage::Partitioned))
    if (int status = tellPlan(*module))
      return status;
  if (next - 1 > last)
    return fail("'" + input + "' is at the stage '" + stringifyStage(static_cast<Stage>(next - 1)) + "', behind '" + emitStage + "'");
  for (; next <= last; ++next) {
    auto stage = static_cast<Stage>(next);
    if (stage == Stage::Training && loss.empty())
      return fail("--loss says what to minimise: " + Twine(lossKinds));
    if (stage == Stage::Planned && failed(resolve(*module)))
      return 1;
    if (failed(runStage(*module, stage)))
      return 1;
    if (stage == Stage::Planned)
      if (int status = tellPlan(*module))
        return status;
  }
  if (printMemory) {
    auto programs = module->getOps<rt::ProgramOp>();
    if (programs.empty())
      return fail("--print-memory needs the stage 'lowered', not '" + emitStage + "'");
    for (rt::ProgramOp program : programs)
      printMemoryReport(program, wanted && output.empty() ? errs() : outs());
    outs().flush();
  }
  return wanted ? print(*module) : writeProgram(*module);
}

/// LLVM's library registers options for its tools, some under names that are ours.
static void forgetOptionsOfLLVM() {
  for (StringRef name : {"threads", "time", "cpu", "o", "emit", "shapes", "loss", "optimizer", "freeze", "alias", "plan", "mesh", "schedule", "ranks", "tp", "pp", "dp"})
    if (cl::Option *option = cl::getRegisteredOptions().lookup(name))
      option->removeArgument();
}

int main(int argc, char **argv) {
  InitLLVM init(argc, argv);
  failOnFileSizeLimit();
  forgetOptionsOfLLVM();
  mlir::DialectRegistry registry;
  registry.insert<nn::NNDialect, dist::DistDialect, pipe::PipeDialect, rt::RTDialect, mlir::func::FuncDialect,
                  mlir::LLVM::LLVMDialect>();
  mlir::MLIRContext context(registry, mlir::MLIRContext::Threading::DISABLED);
  context.printOpOnDiagnostic(false); // what the user wrote is a model, and the message names its node
  Compilation compilation(context);
  cl::HideUnrelatedOptions(category);
  printVersionOf("galvatron-compile");
  refuseUnknownFlags("galvatron-compile", argc, argv);
  cl::ParseCommandLineOptions(argc, argv, overview);
  NodeDiagnosticHandler handler(&context, compilation.getInput(), errs());
  return compilation.run();
}
