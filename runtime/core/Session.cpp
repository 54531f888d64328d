// Session.cpp: see Session.h.
#include "core/Session.h"

#include "core/Clock.h"
#include "core/Memory.h"
#include "core/Signals.h"

#include <algorithm>
#include <cmath>
#include <unistd.h>

namespace galvatron_rt {

/// The rank that has the outputs of the model: the first one of the last stage.
static int64_t outputRank(const Image &image) {
  return image.config().ranks / image.config().stages * (image.config().stages - 1);
}

/// What one rank is asked to do: what all write together stays, the rest is the first one's; outputs are
/// those of the rank that has them.
static Options optionsOf(int64_t rank, Options options, const galvatron_rt_image *raw) {
  if (rank != 0)
    options.log = "";
  if (rank != outputRank(Image(raw)))
    options.saveOutputs = "";
  return options;
}

Session::Session(const galvatron_rt_image *raw, const Options &given, const std::string &ownWeights,
                 int64_t rank, bool isShared)
    : options(optionsOf(rank, given, raw)), ownWeights(ownWeights),
      owned(std::make_unique<galvatron_rt_context>(raw, rank, isShared)), context(*owned), image(context.image), data(image, options.data), executor(context) {
  if (options.steps == 0)
    options.steps = data.count();
  options.hyper.steps = options.steps;
  if (!options.evalData.empty())
    evalData.emplace(image, options.evalData);
  if (rank == 0 || rank == outputRank(image))
    checkOutputs();
  // A run that may go on from a checkpoint loads when all ranks know of it.
  if (!options.resume)
    loadParameters();
  if (!options.checkpoint.empty())
    checkpoints.emplace(context, options);
  if (!options.save.empty())
    saver = std::make_unique<WeightsSaver>(context, options.save, WeightsSaver::Kind::Parameters);
  if (!options.saveGradients.empty())
    gradientSaver = std::make_unique<WeightsSaver>(context, options.saveGradients,
                                                   WeightsSaver::Kind::Gradients);
  if (!options.saveOutputs.empty())
    openOutputs();
  executor.traceNumbers(options.nanTrace);
  executor.profile(options.profile);
  // Last: opening it anew loses what an earlier run logged.
  openLog();
}

/// What is written replaces a file that there is.
void Session::checkOutputs() const {
  for (auto [flag, path] : {std::pair<const char *, const std::string *>{"--log", &options.log},
                            {"--save", &options.save},
                            {"--save-gradients", &options.saveGradients},
                            {"--save-outputs", &options.saveOutputs}}) {
    if (path->empty())
      continue;
    if (isSameFile(*path, "/proc/self/exe"))
      fail(flag, " names '", *path, "', the program that is running");
    if (data.reads(*path) || (evalData && evalData->reads(*path)))
      fail(flag, " names '", *path, "', from which the data is read");
  }
}

void Session::openLog() {
  for (const std::string &read : {options.load, ownWeights})
    if (!options.log.empty() && isSameFile(options.log, read))
      fail("--log names '", options.log, "', from which the parameters are read");
  log = Log(options.log, checkpoints ? checkpoints->start() : 0);
}

void Session::resume() {
  checkpoints->agree();
  if (!checkpoints->start())
    return loadParameters();
  if (image.config().random_weights)
    randomWeights(context, /*onlyConstants=*/true);
  else if (hasConstants(image))
    loadOwn(LoadScope::Constants);
  checkpoints->load();
}

void Session::loadOwn(LoadScope scope) {
  if (access(ownWeights.c_str(), F_OK) != 0)
    fail(systemMessage(ownWeights), "; it was written beside the program when that was compiled: take it along",
         scope == LoadScope::Everything ? ", or give other parameters with --load" : "");
  loadWeights(context, ownWeights, scope);
}

void Session::loadParameters() {
  bool isRandom = image.config().random_weights;
  if (isRandom)
    randomWeights(context);
  if (!options.load.empty()) {
    if (!isRandom && hasConstants(image))
      loadOwn(LoadScope::Constants);
    loadWeights(context, options.load, LoadScope::Parameters);
  } else if (!isRandom && !image.saved.empty()) {
    loadOwn(LoadScope::Everything);
  }
}

void Session::openOutputs() {
  std::vector<SafeTensorsWriter::Entry> entries;
  outputEntry.assign(image.tensors.size(), -1);
  for (int64_t i = 0; i < image.tensors.size(); ++i) {
    const galvatron_rt_tensor_record &tensor = image.tensors[i];
    if (tensor.role != GALVATRON_RT_ROLE_OUTPUT)
      continue;
    auto same = [&](const SafeTensorsWriter::Entry &entry) {
      return entry.name == image.string(tensor.name);
    };
    auto known = std::find_if(entries.begin(), entries.end(), same);
    outputEntry[i] = known - entries.begin();
    if (known != entries.end())
      continue;
    Dims dims = image.dims(tensor);
    std::vector<int64_t> shape(dims.begin(), dims.end());
    if (tensor.batch_dim >= 0)
      shape[tensor.batch_dim] *= image.config().micro_batches;
    entries.push_back({image.string(tensor.name), fileDtype(tensor.dtype), shape});
  }
  outputs = std::make_unique<SafeTensorsWriter>(options.saveOutputs, entries);
}

/// A micro-batch's piece goes to its place in the file; the whole output is never in memory.
void Session::publishOutput(int64_t index, int64_t microBatch) {
  const galvatron_rt_tensor_record &tensor = image.tensors[index];
  const char *from = static_cast<const char *>(context.tensorData(index));
  size_t entry = static_cast<size_t>(outputEntry[index]);
  if (tensor.batch_dim < 0)
    return outputs->writeAt(entry, 0, from, tensor.bytes);
  int64_t outer = 1;
  for (int64_t d = 0; d < tensor.batch_dim; ++d)
    outer *= image.dims(tensor)[d];
  int64_t chunk = outer ? tensor.bytes / outer : 0, pieces = image.config().micro_batches;
  for (int64_t o = 0; o < outer; ++o)
    outputs->writeAt(entry, (o * pieces + microBatch) * chunk, from + o * chunk, chunk);
}

void Session::announce(const galvatron_rt_image *images) const {
  if (context.rank != 0)
    return;
  const galvatron_rt_config_record &config = image.config();
  int64_t parameters = 0;
  for (const galvatron_rt_saved_record &saved : image.saved)
    if (saved.kind != GALVATRON_RT_SAVED_CONSTANT)
      parameters += elementCount(image.dims(saved), "a saved tensor");
  std::string bytes = concat(context.arena.size(), " bytes for tensors");
  if (config.stages > 1)
    bytes += " on a rank of stage 0";
  for (int64_t stage = 1; stage < config.stages; ++stage)
    bytes += concat(", ", Image(images + stage).config().arena_bytes, " of stage ", stage);
  std::string ranks = config.ranks > 1 ? concat(config.ranks, " ranks of ") : "";
  std::printf("%s: %lld parameters, %s, %s%lld %s\n",
              *image.string(config.model_name) ? image.string(config.model_name) : "model",
              static_cast<long long>(parameters), bytes.c_str(), ranks.c_str(),
              static_cast<long long>(config.threads), config.threads == 1 ? "thread" : "threads");
  if (options.resume)
    std::printf("%s\n", checkpoints->origin().c_str());
  std::fflush(stdout);
}

/// Runs rows on a batch. An id out of range is told by where the data has such a value; one that the model has computed, by its place in
/// what this rank has.
void Session::compute(Span<galvatron_rt_row_record> rows, const Batches &batches, int64_t index) {
  try {
    executor.run(rows);
  } catch (const PeerError &) {
    throw;
  } catch (const Error &error) {
    if (!context.stray)
      throw;
    // The value may be right in one of several files: which of them the check has read is not known.
    std::string places = batches.placesOf(image, index, context.stray->value);
    fail(error.what(), "; ",
         places.empty() ? concat("the model has computed it, at position ", context.stray->position) : concat("that value is in ", places));
  }
}

/// Mean over all counted labels of the evaluation data.
double Session::evaluate() {
  double sum = 0, counted = 0;
  for (int64_t batch = 0; batch < evalData->count(); ++batch) {
    evalData->fill(context, batch);
    compute(image.forwardRows, *evalData, batch);
    double weight =
        static_cast<double>(evalData->countedLabels(image, batch, image.config().ignored_label));
    sum += weight > 0 ? weight * static_cast<double>(context.scalar(image.config().loss)) : 0;
    counted += weight;
  }
  if (counted == 0)
    fail("no label counts: all of '", options.evalData, "' are ", image.config().ignored_label);
  return sum / counted;
}

StepReport Session::step(int64_t number) {
  const galvatron_rt_config_record &config = image.config();
  StepReport report;
  report.step = number;
  report.steps = options.steps;
  double begin = secondsNow();
  data.fill(context, number - 1);
  if (!options.forwardOnly && config.hyper >= 0)
    writeHyper(options.hyper, number, static_cast<float *>(context.tensorData(config.hyper)));
  context.step = number;
  compute(options.forwardOnly ? image.forwardRows : image.trainRows, data, number - 1);
  double seconds = secondsNow() - begin;
  report.milliseconds = seconds * 1e3;
  int64_t tokens = config.tokens_per_step ? config.tokens_per_step : config.batch_rows;
  report.tokensPerSecond = static_cast<double>(tokens) / seconds;
  if (config.loss >= 0) {
    report.hasLoss = true;
    report.loss = context.scalar(config.loss);
  }
  if (!options.forwardOnly) {
    report.hasLr = true;
    report.lr = learningRate(options.hyper, number);
    if (config.grad_norm >= 0) {
      report.hasGradNorm = true;
      report.gradNorm = context.scalar(config.grad_norm);
    }
  }
  return report;
}

void Session::checkLoss(const StepReport &report) {
  if (!report.hasLoss || std::isfinite(report.loss))
    return;
  if (std::isnan(report.loss) &&
      data.countedLabels(image, report.step - 1, image.config().ignored_label) == 0)
    fail("step ", report.step, ": no label counts: all that '", options.data, "/labels.npy' has for this step are ",
         image.config().ignored_label);
  std::string cause = !options.nanTrace
                          ? "; run it again with --nan-trace to see where it comes from"
                      : executor.firstInfinity().empty() ? ""
                                                         : "\n" + executor.firstInfinity();
  fail("step ", report.step, ": the loss is ",
       std::isnan(report.loss) ? "nan"
       : report.loss > 0       ? "inf"
                               : "-inf",
       cause);
}

void Session::sayThatItEnds(int signal, int64_t step) {
  progress.endLine();
  std::printf("%s after step %lld of %lld: %s\n", signalName(signal), static_cast<long long>(step),
              static_cast<long long>(options.steps),
              checkpoints ? concat("--resume goes on from '", checkpoints->pathOf(step), "'").c_str()
                          : "nothing is saved (--checkpoint=DIR would)");
  std::fflush(stdout);
}

int Session::run() {
  if (options.resume)
    resume();
  int64_t first = (checkpoints ? checkpoints->start() : 0) + 1;
  bool outputsWanted = outputs != nullptr, gradientsWanted = gradientSaver != nullptr;
  if (outputsWanted) {
    outputs->begin();
    executor.publishOutput = [this](int64_t tensor, int64_t microBatch) {
      publishOutput(tensor, microBatch);
    };
  }
  if (gradientsWanted)
    executor.publishGradients = [this] { gradientSaver->save(); };
  catchStopSignals();
  for (int64_t number = first; number <= options.steps; ++number) {
    StepReport report = step(number);
    if (number == first) {
      if (outputsWanted)
        outputs->commit();
      executor.publishOutput = nullptr;
      executor.publishGradients = nullptr;
    }
    checkLoss(report);
    if (evalData && number % options.evalEvery == 0) {
      report.hasEvalLoss = true;
      report.evalLoss = evaluate();
    }
    log.write(report);
    if (context.rank == 0)
      progress.show(report);
    // A run whose last step is done has nothing to end.
    int64_t signal =
        number < options.steps ? context.agree("whether to go on", stopSignal()) : 0;
    if (checkpoints && (signal || checkpoints->isDue(number)))
      checkpoints->save(number);
    if (signal) {
      if (context.rank == 0)
        sayThatItEnds(static_cast<int>(signal), number);
      return static_cast<int>(signal);
    }
  }
  progress.endLine();
  if (saver)
    saver->save();
  if (options.profile && context.rank == 0) {
    std::fputs(executor.profileText().c_str(), stdout);
    std::printf("peak memory %lld bytes, of which %lld are tensors\n",
                static_cast<long long>(peakResidentBytes()),
                static_cast<long long>(context.arena.size()));
  }
  return 0;
}

} // namespace galvatron_rt
