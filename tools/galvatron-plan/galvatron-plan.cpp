//===- galvatron-plan.cpp - The best plan, with a proof -------------------===//

#include "../Flags.h"
#include "../OutputFile.h"
#include "Report.h"

#include "galvatron/Plan/PlanDiff.h"
#include "galvatron/Plan/PlanFile.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/InitLLVM.h"

#include <chrono>
#include <cmath>
#include <csignal>

using namespace llvm;
using namespace galvatron;
using namespace galvatron::hetu;

static constexpr char overview[] = R"(Finds the fastest way to train a model on many GPUs, and proves it: which layers use how much data, ZeRO, tensor and
sequence parallelism and recomputation, how many pipeline stages and micro-batches there are. Reads the profiles of Hetu-Galvatron.

  LLaMA-2-7B on one node of eight GPUs of 36 GB, 64 samples a step:

    galvatron-plan --galvatron-profiles=DIR --model=llama2-7b --seq=2048 --memory-gb=36 --global-batch=64

  The batch with the highest throughput of many; the plan goes to a file, and its figures as JSON to stdout:

    galvatron-plan --galvatron-profiles=DIR --model=llama2-7b --seq=2048 --memory-gb=36 --global-batch=8..512:8 --json -o plan.json

  Of a larger model, from the same layers, on a cluster whose links were measured on two nodes:

    galvatron-plan --galvatron-profiles=DIR --model=llama2-7b --layers=126 --seq=2048 --nodes=2048 --memory-gb=36 --global-batch=16384

  What a plan costs, of a file or of one strategy for all layers; what two plans differ in:

    galvatron-plan --evaluate plan.json --galvatron-profiles=DIR --model=llama2-7b --seq=2048
    galvatron-plan --evaluate --global-tp-deg=2 --sdp --global-batch=64 --micro-batches=1 --galvatron-profiles=DIR --model=llama2-7b --seq=2048
    galvatron-plan --diff plan.json other.json

  File by file:

    galvatron-plan --computation-profile=computation.json --memory-profile=memory.json --hardware-profiles=DIR --layers=32 \
      --hidden=4096 --seq=2048 --memory-gb=36 --global-batch=64

Exits with 0 when there is a plan, with 2 when none fits or a given one does not, and with 1 when something is wrong.
)";

static volatile std::sig_atomic_t isInterrupted = 0;

/// The first Ctrl-C ends the search with what there is, the second the tool.
static void interrupt(int) {
  isInterrupted = 1;
  std::signal(SIGINT, SIG_DFL);
}

static void warn(const Twine &message) { errs() << "galvatron-plan: warning: " << message << "\n"; }

static int fail(const Twine &message) {
  errs() << "galvatron-plan: error: " << message << "\n";
  return 1;
}

/// Searches; says on stderr how far it is when that takes long.
static Outcome run(const Request &request, const Options &options) {
  using Clock = std::chrono::steady_clock;
  Clock::time_point start = Clock::now(), told = start;
  auto since = [](Clock::time_point time) { return std::chrono::duration<double>(Clock::now() - time).count(); };
  bool hasLimit = options.timeLimit.getNumOccurrences();
  Space space = request.getSpace();
  auto shouldStop = [&] { return isInterrupted || (hasLimit && since(start) >= options.timeLimit); };
  auto onProgress = [&](size_t done, size_t all, double best) {
    if (since(told) < 1)
      return;
    told = Clock::now();
    errs() << "galvatron-plan: " << done << " of at most " << all << " candidates";
    if (std::isfinite(best))
      errs() << format(", best %.4f samples/s", 1 / best);
    errs() << "\n";
  };
  search::Options searchOptions;
  searchOptions.shouldStop = shouldStop;
  searchOptions.onProgress = onProgress;
  Outcome outcome;
  outcome.result = search::findBest(space, searchOptions);
  outcome.seconds = since(start);
  if (outcome.result->best) {
    outcome.plan = space.getPlan(outcome.result->problem, *outcome.result->best);
    outcome.cost = evaluatePlan(*request.model, *outcome.plan);
  }
  return outcome;
}

/// What a cost rests on, and how a step of the plan goes. False, after a report, if the cost is none.
static bool complete(const Request &request, Outcome &outcome) {
  if (!(outcome.cost.time > 0 && std::isfinite(outcome.cost.time))) {
    fail("by these profiles a step takes " + formatv("{0:F3}", outcome.cost.time).str() + " s, which is no time");
    return false;
  }
  outcome.simulation = simulatePlan(*request.model, *outcome.plan, outcome.cost);
  outcome.notes = listInterpolations(*request.model, *outcome.plan);
  return true;
}

/// What a given plan costs; without a plan, after reports, if the model has no formula for it.
static Outcome evaluate(const Request &request, const Plan &plan, StringRef name, Report report) {
  Outcome outcome;
  outcome.plan = fromPlan(plan, *request.model, [&](const Twine &message) { report(name + ": " + message); });
  if (outcome.plan)
    outcome.cost = evaluatePlan(*request.model, *outcome.plan);
  return outcome;
}

/// Writes a plan where -o says; the exit status.
static int writePlan(const Plan &plan, const Options &options) {
  if (!options.output.getNumOccurrences())
    return 0;
  auto write = [&](raw_ostream &os) {
    printPlan(plan, os);
    return success();
  };
  return failed(writeOutput(options.output, write, [](const Twine &message) { fail(message); }));
}

static int diff(const Options &options) {
  if (options.files.size() != 2)
    return fail("--diff is of two plans, not of " + Twine(options.files.size()));
  bool ok = true;
  auto report = [&](const Twine &message) {
    fail(message);
    ok = false;
  };
  std::optional<Plan> first = readEitherPlan(options.files[0], std::nullopt, report, warn), second = readEitherPlan(options.files[1], std::nullopt, report, warn);
  if (!ok)
    return 1;
  if (!printPlanDiff(*first, *second, outs()))
    outs() << "the plans are the same\n";
  return 0;
}

/// Writes the page of --report; the exit status.
static int writeReport(const Request &request, const Outcome &outcome, const Explanation *explanation, const Options &options, bool isCompared, SearchFn search) {
  Beside beside;
  if (isCompared) {
    const std::string &path = options.files.front();
    beside.other = readEitherPlan(path, std::nullopt, [](const Twine &message) { fail(message); }, warn);
    if (!beside.other)
      return 1;
    Outcome cost = evaluate(request, *beside.other, "'" + path + "'", warn);
    if (cost.plan && !complete(request, cost))
      return 1;
    if (cost.plan)
      beside.otherCost = std::move(cost);
  }
  if (request.gigabytes > 0) {
    std::vector<double> parts;
    for (int i = -8; i <= 12; ++i)
      parts.push_back(1 + i / 16.0);
    // A plan that is given may be of a batch that no flag says.
    Request same = request;
    if (same.batches.empty())
      same.batches = {outcome.plan->globalBatch};
    beside.memory = findBestOfMemory(same, outcome, parts, search);
  }
  if (request.batches.size() > 1)
    beside.batches = findBestOfBatches(request, outcome, search);
  auto write = [&](raw_ostream &os) {
    printReport(request, outcome, beside, explanation, os);
    return success();
  };
  return failed(writeOutput(options.report, write, [](const Twine &message) { fail(message); }));
}

/// No plan: says why.
static int printNone(const Request &request, const Outcome &outcome, Options &options) {
  std::optional<Miss> miss;
  if (!outcome.result->isStopped)
    miss = findMiss(request, [&](int64_t nodes) {
      options.nodes = nodes;
      return makeRequest(options, [](const Twine &) {});
    });
  if (options.json)
    printJson(request, outcome, nullptr, miss ? &*miss : nullptr, outs());
  outs().flush();
  if (!miss)
    return fail("no plan was found in that time");
  std::string text;
  raw_string_ostream stream(text);
  printText(request, *miss, stream);
  errs() << "galvatron-plan: " << text;
  return 2;
}

int main(int argc, char **argv) {
  InitLLVM init(argc, argv);
  failOnFileSizeLimit();
  Options options;
  Options::hideOthers();
  printVersionOf("galvatron-plan");
  refuseUnknownFlags("galvatron-plan", argc, argv);
  cl::ParseCommandLineOptions(argc, argv, overview);
  bool ok = checkFlags(options, [](const Twine &message) { fail(message); });
  if (!ok)
    return 1;
  if (options.diff)
    return diff(options);
  bool isCompared = options.report.getNumOccurrences() && !options.evaluate && options.files.size() == 1;
  if (!options.evaluate && !isCompared && !options.files.empty())
    return fail("'" + options.files.front() + "': plan files are for --evaluate, --diff and, one, for --report");
  std::optional<Request> request = makeRequest(options, [](const Twine &message) { fail(message); });
  if (!request)
    return 1;
  for (const std::string &link : request->derived)
    errs() << "galvatron-plan: note: " << link << "\n";
  std::signal(SIGINT, interrupt);
  std::optional<Plan> given;
  if (options.evaluate) {
    given = readGivenPlan(options, *request, [](const Twine &message) { fail(message); }, warn);
    // It is a plan, also where the model has no formula for it.
    if (!given || writePlan(*given, options))
      return 1;
  }
  std::string name = options.files.empty() ? "the plan of the flags" : "'" + options.files.front() + "'";
  Outcome outcome = given ? evaluate(*request, *given, name, [](const Twine &message) { fail(message); }) : run(*request, options);
  if (given && !outcome.plan)
    return 1;
  if (outcome.plan && !complete(*request, outcome))
    return 1;
  if (outcome.result && outcome.result->isStopped)
    errs() << "galvatron-plan: stopped after " << format("%.1f", outcome.seconds) << " s\n";
  if (!outcome.plan)
    return printNone(*request, outcome, options);
  // What the best plan is compared with may be thousands of searches.
  size_t searches = 0;
  auto told = std::chrono::steady_clock::now();
  auto search = [&](const Request &part) {
    ++searches;
    if (auto now = std::chrono::steady_clock::now(); now - told > std::chrono::seconds(1)) {
      told = now;
      errs() << "galvatron-plan: " << searches << " other searches\n";
    }
    return run(part, options);
  };
  std::optional<Explanation> explanation;
  if (options.explain)
    explanation = explain(*request, outcome, search);
  if (options.json) {
    printJson(*request, outcome, explanation ? &*explanation : nullptr, nullptr, outs());
  } else {
    printText(*request, outcome, outs());
    if (explanation)
      printText(*explanation, outs());
  }
  if (options.report.getNumOccurrences() && writeReport(*request, outcome, explanation ? &*explanation : nullptr, options, isCompared, search))
    return 1;
  if (!given && writePlan(toPlan(*outcome.plan), options))
    return 1;
  outs().flush();
  if (std::error_code error = outs().error()) {
    outs().clear_error();
    return fail("cannot write 'stdout': " + error.message());
  }
  return given && request->getExcess(getMostMemory(outcome.cost)) > 0 ? 2 : 0;
}
