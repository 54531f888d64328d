//===- GivenPlan.cpp - A plan to evaluate ---------------------------------===//

#include "Request.h"

#include "galvatron/Plan/PlanFile.h"
#include "galvatron/Search/Hetu/PlanJson.h"
#include "galvatron/Support/JsonFile.h"
#include "llvm/ADT/STLExtras.h"

using namespace llvm;
using namespace galvatron;
using namespace galvatron::hetu;

/// One strategy for all layers, as the predecessor's GLOBAL mode has it: the file that would say the same is read.
static std::optional<Plan> makeUniformPlan(const Options &options, const Request &request, Report report, Report warn) {
  if (request.batches.size() > 1 || !request.microBatches) {
    report("--evaluate needs a plan file, or one --global-batch and its --micro-batches");
    return std::nullopt;
  }
  auto ofAll = [&](int64_t number) {
    std::string text;
    for (int64_t layer = 0; layer < request.model->getSettings().layers; ++layer)
      text += (layer ? "," : "") + std::to_string(number);
    return text;
  };
  json::Object file{{"pp_deg", options.pipelineDegree.getValue()},
                    {"tp_sizes_enc", ofAll(options.tensorDegree)},
                    {"tp_consecutive_flags", ofAll(options.isConsecutive)},
                    {"cp_sizes_enc", ofAll(options.contextDegree)},
                    {"ep_sizes_enc", ofAll(options.expertDegree)},
                    {"tp_of_ep_sizes_enc", ofAll(options.expertTensorDegree)},
                    {"dp_types_enc", ofAll(options.usesZero3)},
                    {"use_sp", ofAll(options.usesUlysses)},
                    {"checkpoint", ofAll(options.checkpoints)},
                    {"global_bsz", request.batches.front()},
                    {"chunks", *request.microBatches},
                    {"pipeline_type", request.model->getSettings().order == PlanSchedule::GPipe ? "gpipe" : "pipedream_flush"},
                    {"default_dp_type", request.limits.sharding == StateSharding::Zero2 ? "zero2" : "ddp"},
                    {"vtp", options.vocabularyDegree.getValue()},
                    {"vsp", int64_t(options.usesUlysses)},
                    {"vcp", options.vocabularyContext.getValue()},
                    {"vocab_sdp", int64_t(options.vocabularyZero3)}};
  return parseHetuPlan(file, "the plan of the flags", request.model->getRanks(), report, warn);
}

std::optional<Plan> galvatron::readEitherPlan(StringRef path, std::optional<int64_t> ranks, Report report, Report warn) {
  // What is wrong with it its own reader says.
  std::optional<json::Value> value = readJsonFile(path, "plan", [](const Twine &) {});
  const json::Object *object = value ? value->getAsObject() : nullptr;
  bool isOther = object && object->get("pp_deg") && !object->get("version");
  return isOther ? readHetuPlan(path, ranks, report, warn) : readPlanFile(path, report);
}

bool galvatron::checkFlags(const Options &options, Report report) {
  bool ok = true;
  auto refuse = [&](const cl::Option &option, const Twine &why) {
    if (!option.getNumOccurrences())
      return;
    report((option.ArgStr.size() == 1 ? "-" : "--") + option.ArgStr + " " + why);
    ok = false;
  };
  if (options.diff)
    for (const cl::Option *option : std::initializer_list<const cl::Option *>{&options.evaluate, &options.json, &options.explain, &options.report, &options.output})
      refuse(*option, "does not go with --diff, which prints what is different");
  if (options.evaluate)
    refuse(options.explain, "is of a search, and --evaluate makes none");
  if (!options.evaluate || !options.files.empty())
    for (const cl::Option *option : std::initializer_list<const cl::Option *>{
             &options.pipelineDegree, &options.tensorDegree, &options.contextDegree, &options.expertDegree, &options.expertTensorDegree, &options.vocabularyDegree,
             &options.vocabularyContext, &options.isConsecutive, &options.usesZero3, &options.checkpoints, &options.usesUlysses, &options.vocabularyZero3})
      refuse(*option, "is for --evaluate without a plan file");
  for (const cl::opt<std::string> *option : {&options.output, &options.report})
    if (*option == "-")
      refuse(*option, "-: what is found goes to stdout; this needs a file");
  return ok;
}

std::optional<Plan> galvatron::readGivenPlan(const Options &options, const Request &request, Report report, Report warn) {
  if (options.files.empty())
    return makeUniformPlan(options, request, report, warn);
  if (options.files.size() > 1) {
    report("--evaluate is of one plan, not of " + Twine(options.files.size()));
    return std::nullopt;
  }
  const std::string &path = options.files.front();
  std::optional<Plan> plan = readEitherPlan(path, request.model->getRanks(), report, warn);
  if (!plan)
    return std::nullopt;
  bool ok = true;
  auto refuse = [&](const cl::Option &option, const Twine &said) {
    report("--" + option.ArgStr + ": '" + path + "' says " + said);
    ok = false;
  };
  if (plan->globalBatch && !request.batches.empty() && request.batches != std::vector<int64_t>{*plan->globalBatch})
    refuse(options.globalBatch, Twine(*plan->globalBatch));
  if (plan->microBatches && request.microBatches.value_or(*plan->microBatches) != *plan->microBatches)
    refuse(options.microBatches, Twine(*plan->microBatches));
  if (options.schedule.getNumOccurrences() && plan->schedule != request.model->getSettings().order)
    refuse(options.schedule, stringifySchedule(plan->schedule));
  // What splits rows and is not ZeRO-3 is all of one type in a search.
  int64_t wanted = request.limits.sharding == StateSharding::Zero2 ? 2 : 0;
  if (options.dataType.getNumOccurrences() &&
      any_of(plan->blocks, [&](const BlockRun &run) { return !run.strategy.data.empty() && run.strategy.zero != 3 && run.strategy.zero != wanted; }))
    refuse(options.dataType, "otherwise of some layers");
  if (!ok)
    return std::nullopt;
  if (!plan->globalBatch && request.batches.size() == 1)
    plan->globalBatch = request.batches.front();
  if (!plan->microBatches && request.microBatches)
    plan->microBatches = request.microBatches;
  return plan;
}
