//===- PrintJson.cpp - What a search found, for programs ------------------===//

#include "Print.h"

#include "galvatron/Plan/PlanFile.h"
#include "galvatron/Search/Hetu/PlanJson.h"
#include "llvm/Support/JSON.h"

using namespace llvm;
using namespace galvatron;
using namespace galvatron::hetu;

namespace {

class JsonPrinter {
public:
  JsonPrinter(const Request &request, raw_ostream &os) : request(request), json(os, 2) {}
  void print(const Outcome &outcome, const Explanation *explanation, const Miss *miss);

private:
  void printOutcome(const Outcome &outcome);
  void printPlans(const HetuPlan &plan);
  void printStrategies(const HetuPlan &plan);
  void printMiss(const Miss &miss);
  void printAlternatives(StringRef key, StringRef valueKey, ArrayRef<Alternative> list, double rate);
  void attributeStrings(StringRef key, ArrayRef<std::string> list) {
    json.attributeArray(key, [&] {
      for (const std::string &text : list)
        json.value(text);
    });
  }

  const Request &request;
  json::OStream json;
};

/// The plan as the predecessor's file, and as one of ours.
void JsonPrinter::printPlans(const HetuPlan &plan) {
  auto attribute = [&](StringRef key, function_ref<void(raw_ostream &)> print) {
    std::string text;
    raw_string_ostream stream(text);
    print(stream);
    if (Expected<json::Value> value = json::parse(text)) {
      json.attribute(key, *value);
    } else {
      consumeError(value.takeError());
      json.attribute(key, nullptr);
    }
  };
  attribute("plan", [&](raw_ostream &stream) { printHetuPlan(toPlan(plan), stream, [](const Twine &) {}); });
  attribute("plan_file", [&](raw_ostream &stream) { galvatron::printPlan(toPlan(plan), stream); });
}

/// In the predecessor's own notation.
void JsonPrinter::printStrategies(const HetuPlan &plan) {
  json.attributeArray("strategies", [&] {
    for (const auto &runs : plan.stages)
      for (const LayerRun &run : runs)
        json.object([&] {
          json.attribute("layers", run.count);
          json.attribute("strategy", run.strategy.str());
        });
  });
  json.attribute("embedding_strategy", plan.end.str());
}

void JsonPrinter::printOutcome(const Outcome &outcome) {
  const HetuPlan &plan = *outcome.plan;
  json.attribute("throughput_samples_per_s", getRate(outcome));
  json.attribute("time_s", outcome.cost.time);
  json.attribute("simulated_time_s", outcome.simulation ? json::Value(outcome.simulation->time) : json::Value(nullptr));
  if (outcome.result) {
    json.attribute("lower_bound_s", outcome.getBound());
    json.attribute("gap", outcome.getGap());
  }
  json.attributeArray("memory_mb_per_stage", [&] {
    for (size_t stage = 0; stage < plan.stages.size(); ++stage)
      json.value(outcome.cost.getMemory(stage));
  });
  json.attribute("too_much_mb", std::max(0., request.getExcess(getMostMemory(outcome.cost))));
  printStrategies(plan);
  json.attribute("dropped_samples", countDropped(plan));
  json.attribute("trained_samples_per_s", static_cast<double>(plan.globalBatch - countDropped(plan)) / outcome.cost.time);
  json.attribute("global_batch", plan.globalBatch);
  json.attribute("micro_batches", plan.microBatches);
  attributeStrings("notes", outcome.notes);
  printPlans(plan);
}

void JsonPrinter::printMiss(const Miss &miss) {
  json.attribute("reason", miss.hasPlans ? "no plan fits" : "the space has no plan");
  if (!miss.hasPlans)
    return;
  json.attribute("usable_mb", MemoryBudget::ofGigabytes(request.gigabytes).getUsable());
  json.attributeObject("closest", [&] {
    json.attribute("stage", static_cast<int64_t>(miss.stage));
    json.attribute("needed_mb", miss.cost.getMemory(miss.stage));
    json.attribute("too_much_mb", miss.excess);
    json.attribute("states_mb", miss.cost.states[miss.stage]);
    json.attribute("activations_mb", miss.cost.activation[miss.stage]);
    json.attribute("embedding_head_context_mb", miss.cost.endMemory[miss.stage]);
    json.attribute("buffer_mb", miss.cost.buffer);
    printStrategies(miss.plan);
    printPlans(miss.plan);
  });
  attributeStrings("would_fit", miss.remedies);
}

void JsonPrinter::printAlternatives(StringRef key, StringRef valueKey, ArrayRef<Alternative> list, double rate) {
  json.attributeArray(key, [&] {
    for (const Alternative &alternative : list)
      json.object([&] {
        if (alternative.value > 0)
          json.attribute(valueKey, alternative.value);
        else
          json.attribute(valueKey, alternative.name);
        json.attribute("exists", alternative.exists);
        if (alternative.excess > 0)
          json.attribute("too_much_mb", alternative.excess);
        if (!alternative.rate)
          return;
        json.attribute("throughput_samples_per_s", *alternative.rate);
        json.attribute("beside_best", *alternative.rate / rate - 1);
        json.attribute("gap", alternative.gap);
        json.attribute("memory_mb", alternative.memory);
        json.attribute("micro_batches", alternative.microBatches);
        json.attribute("stages", alternative.stages);
        json.attribute("loses_by", alternative.loss);
      });
  });
}

void JsonPrinter::print(const Outcome &outcome, const Explanation *explanation, const Miss *miss) {
  json.object([&] {
    json.attribute("model", json::isUTF8(request.name) ? request.name : json::fixUTF8(request.name));
    json.attribute("nodes", request.nodes);
    json.attribute("gpus_per_node", request.ranksPerNode);
    if (request.gigabytes > 0)
      json.attribute("memory_gb", request.gigabytes);
    json.attribute("space", getSpaceName(request.kind));
    if (outcome.plan)
      printOutcome(outcome);
    else
      for (StringRef key : {"throughput_samples_per_s", "time_s", "simulated_time_s", "lower_bound_s", "gap", "memory_mb_per_stage", "plan", "plan_file"})
        json.attribute(key, nullptr);
    if (outcome.result) {
      json.attribute("search_seconds", outcome.seconds);
      json.attribute("stopped", outcome.result->isStopped);
    }
    if (miss)
      json.attributeObject("miss", [&] { printMiss(*miss); });
    if (explanation) {
      printAlternatives("kinds", "kind", explanation->kinds, explanation->rate);
      printAlternatives("other_memory", "memory_gb", explanation->memory, explanation->rate);
      printAlternatives("batches", "global_batch", explanation->batches, explanation->rate);
    }
  });
}

} // namespace

void galvatron::printJson(const Request &request, const Outcome &outcome, const Explanation *explanation, const Miss *miss, raw_ostream &os) {
  JsonPrinter(request, os).print(outcome, explanation, miss);
  os << "\n";
}
