// Options.cpp: see Options.h.
#include "core/Options.h"

#include "core/File.h"
#include "core/Nearest.h"

#include <CLI/CLI.hpp>
#include <cctype>
#include <cmath>
#include <cstdlib>
#include <map>
#include <sys/stat.h>

namespace galvatron_rt {
namespace {

[[noreturn]] void wrong(const std::string &message) { throw CommandLineExit{2, message}; }

std::string inputNames(const Image &image) {
  std::string names;
  for (const galvatron_rt_tensor_record &tensor : image.tensors)
    if (tensor.role == GALVATRON_RT_ROLE_INPUT || tensor.role == GALVATRON_RT_ROLE_LABELS)
      names += concat(names.empty() ? "" : ", ", image.string(tensor.name), ".npy ",
                      dtypeName(tensor.dtype), " [steps", tensor.rank ? ", " : "", [&] {
                        std::string shape = shapeText(image.dims(tensor));
                        return shape.substr(1);
                      }());
  return names;
}

std::string footer(const Image &image, const std::string &program) {
  const galvatron_rt_config_record &config = image.config();
  std::string text =
      "Data: a directory with one file per input, the first dimension is the step:\n  " +
      inputNames(image) + "\n\nExamples:\n";
  switch (static_cast<galvatron_rt_optimizer>(config.optimizer)) {
  case GALVATRON_RT_OPTIMIZER_ADAMW:
    text += concat(
        "  ", program,
        " --data=data --steps=100 --lr=3e-3 --betas=0.9,0.95 --weight-decay=0.1 --clip-norm=1 ",
        "--lr-schedule=cosine --warmup=10 --log=log.jsonl --save=final.safetensors\n");
    break;
  case GALVATRON_RT_OPTIMIZER_SGD:
    text +=
        concat("  ", program, " --data=data --steps=100 --lr=0.1 --momentum=0.9 --log=log.jsonl ",
               "--save=final.safetensors\n");
    break;
  case GALVATRON_RT_OPTIMIZER_NONE:
    break;
  }
  text += concat(
      "  ", program,
      " --data=data --forward-only --load=final.safetensors --save-outputs=out.safetensors\n");
  if (config.ranks > 1)
    text += concat("\nIt has ", config.ranks, " ranks: mpirun -n ", config.ranks, " ", program,
                   " ..., or --ranks-as-threads.\n");
  text += concat("\nRanks (", config.ranks, "), threads of each (", config.threads,
                 "), optimizer and shapes were fixed when the program was compiled.");
  return text;
}

/// Numbers must be finite and in a range; CLI11's own message would not say which.
void checkNumber(const CLI::App &app, const char *flag, double value, double low, bool lowIncluded,
                 double high) {
  if (!app.count(flag))
    return;
  bool above = lowIncluded ? value >= low : value > low;
  if (!std::isfinite(value) || !above || !(value < high))
    wrong(concat(flag, " is ", value, ", wanted ", lowIncluded ? "at least " : "more than ", low,
                 std::isinf(high) ? std::string() : concat(" and less than ", high)));
}

/// Refuses what is left over of a command line.
void refuseExtras(const CLI::App &app) {
  std::vector<std::string> extras = app.remaining();
  extras.erase(std::remove(extras.begin(), extras.end(), "--"), extras.end());
  if (extras.empty())
    return;
  std::string flag = extras[0].substr(0, extras[0].find('='));
  if (flag.empty() || flag[0] != '-')
    wrong(concat("unexpected argument '", extras[0], "'; --help lists the flags"));
  std::vector<std::string> names;
  for (const CLI::Option *option : app.get_options())
    for (const std::string &name : option->get_lnames())
      names.push_back(name);
  for (const char *fixed : {"--ranks", "--pp", "--dp", "--tp", "--mesh", "--plan", "--micro-batches", "--schedule", "--threads", "--optimizer", "--shapes", "--loss",
                            "--random-weights"})
    if (flag == fixed)
      wrong(concat("'", flag, "' does not apply: that was decided when the program was compiled"));
  std::string nearest = nearestName(flag.substr(flag.compare(0, 2, "--") == 0 ? 2 : 1), names);
  wrong(concat("unknown flag '", flag, "'",
               nearest.empty() ? "" : concat("; did you mean --", nearest, "?"),
               " (--help lists all)"));
}

/// A file cannot be written where there is no folder, and that is better said before the first step.
void checkFolder(const char *flag, const std::string &path) {
  std::string folder = directoryOf(path);
  struct stat info;
  if (stat(folder.c_str(), &info) != 0 || !S_ISDIR(info.st_mode))
    wrong(concat(flag, "=", path, ": there is no folder '", folder, "'"));
}

} // namespace

Options parseOptions(int argc, const char *const *argv, const Image &image) {
  const galvatron_rt_config_record &config = image.config();
  std::string program = argc > 0 ? baseName(argv[0]) : "program";
  Options options;
  Hyper &hyper = options.hyper;
  std::vector<double> betas = {hyper.beta1, hyper.beta2};
  std::string schedule = "constant";
  if (config.optimizer == GALVATRON_RT_OPTIMIZER_ADAMW)
    hyper.weightDecay = 0.01;

  CLI::App app(concat(
      "Trains ", *image.string(config.model_name) ? image.string(config.model_name) : "a model",
      ". Compiled by ", image.string(config.compiler), "."));
  app.name(program);
  app.footer(footer(image, program));
  app.set_help_flag("--help,-h", "Print this and exit");
  app.set_version_flag("--version", concat(image.string(config.compiler), "\n"), "Print which compiler made this program and exit");
  app.add_option("--data", options.data, "Directory with the data")->type_name("DIR");
  app.add_option("--steps", options.steps,
                 "Steps of the whole run; beyond the data it starts again. Default: as many as the data has")
      ->type_name("N");
  app.add_option("--lr", hyper.lr, "Learning rate, default 1e-3")->type_name("X");
  app.add_option("--betas", betas, "AdamW: decay of the two averages, default 0.9,0.999")
      ->delimiter(',')
      ->expected(2)
      ->type_name("X,Y");
  app.add_option("--eps", hyper.eps, "AdamW: added to the root, default 1e-8")->type_name("X");
  app.add_option("--weight-decay", hyper.weightDecay,
                 "For parameters of two or more dimensions; default 0.01 for AdamW, 0 for SGD")
      ->type_name("X");
  app.add_option("--momentum", hyper.momentum, "SGD: default 0")->type_name("X");
  app.add_option("--clip-norm", hyper.clipNorm,
                 "Scale gradients down to this norm; default: no clipping")
      ->type_name("X");
  app.add_option("--lr-schedule", schedule,
                 "constant, linear or cosine (to 0 at the end), default constant")
      ->type_name("NAME");
  app.add_option("--warmup", hyper.warmup,
                 "Steps before the learning rate is --lr, default 0: step k of these has (k - 1) / N of it, "
                 "so the first has 0, as in transformers")
      ->type_name("N");
  app.add_option("--log", options.log, "Write a JSON object per step to this file")
      ->type_name("FILE");
  app.add_option("--save", options.save, "Write the parameters to this safetensors file at the end")
      ->type_name("FILE");
  app.add_option("--save-gradients", options.saveGradients,
                 "Write the first step's gradients, before clipping, to this safetensors file")
      ->type_name("FILE");
  app.add_option("--checkpoint", options.checkpoint,
                 "Keep the last two checkpoints in this folder: one at the end, whether the run ends by itself or by "
                 "SIGTERM, SIGUSR1 or Ctrl-C, and those of --every")
      ->type_name("DIR");
  app.add_option("--every", options.every, "A checkpoint after every N-th step")->type_name("N");
  app.add_flag("--resume", options.resume,
               "Go on from the last checkpoint of --checkpoint, whatever --load says; begin if there is none");
  app.add_option("--load", options.load, "Start from the parameters in this safetensors file")
      ->type_name("FILE");
  app.add_flag("--forward-only", options.forwardOnly,
               "Compute the loss and outputs, train nothing");
  app.add_option("--save-outputs", options.saveOutputs,
                 "With --forward-only: write the first batch's outputs to this safetensors file")
      ->type_name("FILE");
  app.add_option("--eval-data", options.evalData,
                 "Directory with data to evaluate on; logs eval_loss")
      ->type_name("DIR");
  app.add_option("--eval-every", options.evalEvery, "Evaluate after every N-th step")
      ->type_name("N");
  app.add_flag(
      "--nan-trace", options.nanTrace,
      "Look at every result for the first NaN or infinity and name the function that made it, and a value that holds it (slower)");
  app.add_flag("--ranks-as-threads", options.ranksAsThreads,
               "Run all ranks in this one process, without mpirun");
  app.add_option("--timeout", options.timeout,
                 "Seconds to wait for another rank before giving up, default 30")
      ->type_name("X");
  app.add_option("--collective-delay", options.collectiveDelay,
                 "Let each collective take X milliseconds longer, as on a slower network; --profile then shows how much of that the "
                 "steps do not hide")
      ->type_name("X");
  app.add_flag("--profile", options.profile, "Print at the end where the time of the steps went, and how much memory was used");

  try {
    // CLI11 takes the arguments last first, without the program's name.
    std::vector<std::string> arguments(argv + std::min(argc, 1), argv + argc);
    std::reverse(arguments.begin(), arguments.end());
    app.allow_extras();
    app.parse(arguments);
  } catch (const CLI::CallForHelp &) {
    throw CommandLineExit{0, app.help()};
  } catch (const CLI::CallForVersion &version) {
    throw CommandLineExit{0, version.what()};
  } catch (const CLI::ParseError &e) {
    std::string message = e.what();
    if (!message.empty())
      message[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(message[0])));
    wrong(concat(message, "; --help lists the flags"));
  }
  refuseExtras(app);

  auto given = [&](const char *flag) { return app.count(flag) > 0; };
  auto needs = [&](const char *flag, const char *other) {
    if (given(flag) && !given(other))
      wrong(concat(flag, " needs ", other));
  };
  auto inapplicable = [&](const char *flag, const char *why) {
    if (given(flag))
      wrong(concat(flag, " does not apply: ", why));
  };
  if (const char *size = std::getenv("OMPI_COMM_WORLD_SIZE"); size && std::atol(size) > 1)
    inapplicable("--ranks-as-threads", "mpirun has started each rank as a process; say mpirun, or this flag");
  if (!given("--data"))
    wrong("--data=DIR is missing; --help lists the flags");
  if (config.loss < 0 && !options.forwardOnly)
    wrong("this program has no loss; it runs with --forward-only");
  if (options.forwardOnly) {
    for (const char *flag :
         {"--lr", "--betas", "--eps", "--weight-decay", "--momentum", "--clip-norm",
          "--lr-schedule", "--warmup", "--save", "--save-gradients", "--checkpoint", "--every", "--resume", "--eval-data",
          "--eval-every"})
      inapplicable(flag, "--forward-only trains nothing");
  } else {
    inapplicable("--save-outputs", "it needs --forward-only");
  }
  if (config.optimizer != GALVATRON_RT_OPTIMIZER_ADAMW)
    for (const char *flag : {"--betas", "--eps"})
      inapplicable(flag, "this program was not compiled with --optimizer=adamw");
  if (config.optimizer != GALVATRON_RT_OPTIMIZER_SGD)
    inapplicable("--momentum", "this program was not compiled with --optimizer=sgd");
  if (config.optimizer == GALVATRON_RT_OPTIMIZER_NONE && !options.forwardOnly)
    wrong("this program was compiled without an optimizer; it runs with --forward-only");
  needs("--eval-every", "--eval-data");
  needs("--eval-data", "--eval-every");
  needs("--every", "--checkpoint");
  needs("--resume", "--checkpoint");

  if (given("--checkpoint") && options.checkpoint.empty())
    wrong("--checkpoint names no folder");
  // What is looked for is the folder that it is in.
  while (options.checkpoint.size() > 1 && options.checkpoint.back() == '/')
    options.checkpoint.pop_back();
  if (given("--checkpoint"))
    checkFolder("--checkpoint", options.checkpoint);
  std::map<std::string, const char *> written;
  for (auto [flag, path] : {std::pair<const char *, const std::string *>{"--log", &options.log},
                            {"--save", &options.save},
                            {"--save-gradients", &options.saveGradients},
                            {"--save-outputs", &options.saveOutputs}})
    if (given(flag)) {
      checkFolder(flag, *path);
      if (auto [other, isNew] = written.emplace(*path, flag); !isNew)
        wrong(concat(other->second, " and ", flag, " name the same file '", *path, "'"));
    }

  const double infinity = std::numeric_limits<double>::infinity();
  hyper.beta1 = betas[0];
  hyper.beta2 = betas[1];
  checkNumber(app, "--lr", hyper.lr, 0, true, infinity);
  checkNumber(app, "--betas", hyper.beta1, 0, true, 1);
  checkNumber(app, "--betas", hyper.beta2, 0, true, 1);
  checkNumber(app, "--eps", hyper.eps, 0, true, infinity);
  checkNumber(app, "--weight-decay", hyper.weightDecay, 0, true, infinity);
  checkNumber(app, "--momentum", hyper.momentum, 0, true, infinity);
  checkNumber(app, "--clip-norm", hyper.clipNorm, 0, false, infinity);
  checkNumber(app, "--steps", static_cast<double>(options.steps), 1, true, 1e15);
  checkNumber(app, "--warmup", static_cast<double>(hyper.warmup), 0, true, infinity);
  checkNumber(app, "--timeout", options.timeout, 0, false, infinity);
  checkNumber(app, "--collective-delay", options.collectiveDelay, 0, true, 1e6);
  checkNumber(app, "--every", static_cast<double>(options.every), 1, true, infinity);
  checkNumber(app, "--eval-every", static_cast<double>(options.evalEvery), 1, true, infinity);
  if (schedule == "constant")
    hyper.schedule = LrSchedule::Constant;
  else if (schedule == "linear")
    hyper.schedule = LrSchedule::Linear;
  else if (schedule == "cosine")
    hyper.schedule = LrSchedule::Cosine;
  else
    wrong(concat("--lr-schedule is '", schedule, "', wanted constant, linear or cosine"));
  return options;
}

} // namespace galvatron_rt
