//===- Request.cpp - Flags and profiles -----------------------------------===//

#include "Request.h"

#include "galvatron/Search/Hetu/Files.h"
#include "llvm/ADT/StringSwitch.h"
#include "llvm/Support/MathExtras.h"

#include <cmath>

using namespace llvm;
using namespace galvatron;
using namespace galvatron::hetu;

/// Beyond these no machine is, and products of them are exact.
static constexpr int64_t mostSamples = int64_t(1) << 24, mostTokens = int64_t(1) << 24, mostHidden = int64_t(1) << 20, mostLayers = 1 << 16,
                         mostBatches = 4096;

namespace {

class RequestMaker {
public:
  RequestMaker(const Options &options, Report report) : options(options), report(report) {}
  std::optional<Request> make();

private:
  void fail(const Twine &message) {
    report(message);
    ok = false;
  }
  template <typename T> T choose(const cl::opt<std::string> &option, ArrayRef<std::pair<StringLiteral, T>> names);
  void checkRange(const cl::opt<int64_t> &option, int64_t least, int64_t most);
  void readBatches();
  void readSpace();
  void readProfiles();

  const Options &options;
  Report report;
  bool ok = true;
  Request request;
};

template <typename T> T RequestMaker::choose(const cl::opt<std::string> &option, ArrayRef<std::pair<StringLiteral, T>> names) {
  std::string known;
  for (auto [name, value] : names) {
    if (option == name)
      return value;
    known += (known.empty() ? "" : ", ") + name.str();
  }
  fail("--" + option.ArgStr + "=" + option + ": wanted one of " + known);
  return names.front().second;
}

void RequestMaker::checkRange(const cl::opt<int64_t> &option, int64_t least, int64_t most) {
  if (option < least || option > most)
    fail("--" + option.ArgStr + "=" + Twine(option) + ": wanted a number from " + Twine(least) + " to " + Twine(most));
}

void RequestMaker::readBatches() {
  StringRef text = options.globalBatch;
  if (text.empty() && options.evaluate && !options.files.empty())
    return;
  if (text.empty())
    return fail("--global-batch says how many samples a step has, or which are tried: 64, or 8..512:8");
  auto [range, step] = text.split(':');
  auto [from, to] = range.split("..");
  int64_t first = 0, last = 0, by = 1;
  bool isRange = range.contains("..");
  if (from.getAsInteger(10, first) || (isRange && to.getAsInteger(10, last)) || (text.contains(':') && (!isRange || step.getAsInteger(10, by))))
    return fail("--global-batch=" + text + ": wanted a number or a range FROM..TO:STEP");
  if (!isRange)
    last = first;
  if (first < 1 || last < first || last > mostSamples || by < 1)
    return fail("--global-batch=" + text + ": wanted 1 to " + Twine(mostSamples) + " samples, in rising order, by steps of at least 1");
  if ((last - first) / by >= mostBatches)
    return fail("--global-batch=" + text + ": " + Twine((last - first) / by + 1) + " batches are more than " + Twine(mostBatches));
  for (int64_t batch = first; batch <= last; batch += by)
    request.batches.push_back(batch);
  if (!options.microBatches.getNumOccurrences())
    return;
  request.microBatches = options.microBatches;
  if (options.microBatches < 1)
    return fail("--micro-batches=" + Twine(options.microBatches) + ": wanted at least 1");
  if (options.microBatches > last)
    fail("--micro-batches=" + Twine(options.microBatches) + ": a batch of " + Twine(last) + " has fewer samples");
  else if (llvm::none_of(request.batches, [&](int64_t batch) { return batch % options.microBatches == 0; }) && !options.evaluate)
    fail("--micro-batches=" + Twine(options.microBatches) + " divides no batch of --global-batch=" + text);
}

void RequestMaker::readSpace() {
  request.kind = choose<SpaceKind>(options.space, spaces);
  StrategyLimits &limits = request.limits;
  limits.sharding = choose<StateSharding>(options.dataType, {{"zero2", StateSharding::Zero2}, {"ddp", StateSharding::Replicated}});
  limits.mostTensor = options.mostTensor;
  limits.mostSequence = options.mostSequence;
  limits.mostPipeline = options.mostPipeline;
  limits.pipeline = !options.noPipeline;
  limits.tensor = !options.noTensor;
  limits.sequence = !options.noSequence;
  limits.data = !options.noData;
  limits.checkpoint = !options.noCheckpoint;
  limits.zero3 = !options.noZero3;
  limits.endTensor = !options.noEndTensor;
  limits.endSequence = !options.noEndSequence;
  for (const cl::opt<int64_t> *option : {&options.mostTensor, &options.mostSequence})
    checkRange(*option, 1, mostMeasuredShare);
  checkRange(options.mostPipeline, 1, 64);
  request.gigabytes = options.memoryGigabytes;
  if (!options.memoryGigabytes.getNumOccurrences() && options.evaluate)
    request.gigabytes = 0;
  else if (!options.memoryGigabytes.getNumOccurrences())
    fail("--memory-gb says how much memory each GPU has");
  else if (!(request.gigabytes > 0 && request.gigabytes <= mostGigabytes))
    fail("--memory-gb: wanted more than 0 and at most " + Twine(mostGigabytes));
  if (options.timeLimit.getNumOccurrences() && !(options.timeLimit >= 0))
    fail("--time-limit: wanted seconds, at least 0");
}

void RequestMaker::readProfiles() {
  ProfileFiles files;
  bool isNamed = options.model.getNumOccurrences();
  if (options.profiles.getNumOccurrences()) {
    std::optional<ProfileFiles> found = findProfiles(options.profiles, options.model, options.precision, [&](const Twine &message) { fail((isNamed ? "" : "--model is missing: ") + message); });
    if (!found)
      return;
    files = std::move(*found);
  } else if (isNamed) {
    fail("--model=" + options.model + " needs --galvatron-profiles, the folder in which it is");
    return;
  }
  for (auto [option, file] : {std::pair(&options.computation, &files.computation), {&options.memory, &files.memory}, {&options.hardware, &files.hardware}})
    if (option->getNumOccurrences())
      *file = *option;
    else if (file->empty())
      fail("--" + option->ArgStr + " is missing, or --galvatron-profiles and --model");
  for (auto [option, size] : {std::pair(&options.layers, &files.layers), {&options.hidden, &files.hidden}}) {
    if (option->getNumOccurrences())
      *size = *option;
    else if (!*size)
      fail("--" + option->ArgStr + " is missing: " + (isNamed ? "neither '" + files.configurations[0] + "' nor '" + files.configurations[1] + "' says it" : Twine("no configuration is given that says it")));
    if (*size && (**size < 1 || **size > (option == &options.hidden ? mostHidden : int64_t(mostLayers))))
      fail("--" + option->ArgStr + ": " + Twine(**size) + " is no size of a model");
  }
  if (!options.sequence.getNumOccurrences())
    fail("--seq says how many tokens a sample has");
  else
    checkRange(options.sequence, 1, mostTokens);
  for (const cl::opt<int64_t> *option : {&options.nodes, &options.ranksPerNode})
    checkRange(*option, 1, maxRanks);
  bool isMixed = choose<bool>(options.precision, {{"bf16", true}, {"fp16", true}, {"fp32", false}});
  PlanSchedule order = choose<PlanSchedule>(options.schedule, {{"1f1b", PlanSchedule::OneFOneB}, {"gpipe", PlanSchedule::GPipe}});
  TimeMode timeMode = choose<TimeMode>(options.timeMode, {{"batch", TimeMode::Batch}, {"static", TimeMode::Static}, {"sequence", TimeMode::Sequence}});
  MemoryMode memoryMode = choose<MemoryMode>(options.memoryMode, {{"static", MemoryMode::Static}, {"sequence", MemoryMode::Sequence}});
  if (memoryMode == MemoryMode::Sequence && !options.sequenceParallel)
    fail("--memory-mode=sequence needs what was measured with sequence parallelism, not --sequence-parallel=false");
  if (!ok)
    return;
  int64_t ranks = options.nodes * options.ranksPerNode;
  if (!isPowerOf2_64(static_cast<uint64_t>(ranks)) || ranks > maxRanks) {
    fail("--nodes=" + Twine(options.nodes) + " --gpus-per-node=" + Twine(options.ranksPerNode) + ": " + Twine(ranks) +
         " GPUs; wanted a power of two, as all degrees are, of at most " + Twine(maxRanks));
    return;
  }
  auto reportEach = [&](const Twine &message) { fail(message); };
  std::optional<HardwareProfile> links = readHardwareProfile(files.hardware, options.nodes, options.ranksPerNode, reportEach);
  std::optional<ComputationProfile> times = readComputationProfile(files.computation, timeMode, {options.sequence}, reportEach);
  std::optional<MemoryProfile> memory = readMemoryProfile(files.memory, memoryMode, {options.sequence}, options.sequenceParallel, reportEach);
  if (!links || !times || !memory)
    return;
  request.derived = links->derived;
  Settings settings;
  settings.sequence = options.sequence;
  settings.hidden = *files.hidden;
  settings.layers = *files.layers;
  settings.mixedPrecision = isMixed;
  settings.asyncReduction = options.asyncReduction;
  settings.sequenceParallel = options.sequenceParallel;
  settings.memoryBuffer = options.memoryBuffer;
  settings.order = order;
  settings.mostShare = std::max(options.mostTensor, options.mostSequence);
  settings.isCorrected = request.kind == SpaceKind::Fixed;
  request.model = CostModel::make(std::move(*links), std::move(*times), std::move(*memory), settings, reportEach);
  request.name = isNamed ? options.model.getValue() : "model";
  request.nodes = options.nodes;
  request.ranksPerNode = options.ranksPerNode;
}

std::optional<Request> RequestMaker::make() {
  readBatches();
  readSpace();
  readProfiles();
  if (!ok)
    return std::nullopt;
  return std::move(request);
}

} // namespace

StringRef galvatron::getSpaceName(SpaceKind kind) {
  return llvm::find_if(spaces, [&](const auto &space) { return space.second == kind; })->first;
}

double Request::getExcess(double megabytes) const {
  if (gigabytes <= 0)
    return 0;
  double usable = static_cast<double>(MemoryBudget::ofGigabytes(gigabytes).getUsable());
  // Sums in another order may differ in what rounding makes of them.
  return megabytes > usable * (1 + 1e-9) ? megabytes - usable : std::min(0., megabytes - usable);
}

std::optional<Request> galvatron::makeRequest(const Options &options, Report report) { return RequestMaker(options, report).make(); }
