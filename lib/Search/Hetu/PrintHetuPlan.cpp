//===- PrintHetuPlan.cpp --------------------------------------------------===//

#include "galvatron/Search/Hetu/PlanJson.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/JSON.h"

using namespace llvm;
using namespace galvatron;
using namespace galvatron::hetu;

namespace {

/// What its file says of a layer, or of embedding and head.
struct Degrees {
  int64_t data = 1, tensor = 1, sequence = 1, context = 1, expert = 1, expertTensor = 1;
  bool isConsecutive = true, isZero3 = false, isCheckpoint = false;
};

class Printer {
public:
  Printer(const Plan &plan, Report report) : plan(plan), report(report), stageAxes(plan.countStageAxes().value_or(0)) {}
  bool print(raw_ostream &os);

private:
  void refuse(const Twine &message) {
    report(message);
    ok = false;
  }
  Degrees convert(const Strategy &strategy, const Twine &who);
  std::string list(function_ref<int64_t(const Degrees &)> get) const {
    std::string text;
    for (const Degrees &layer : layers)
      text += (text.empty() ? "" : ",") + std::to_string(get(layer));
    return text;
  }

  const Plan &plan;
  Report report;
  unsigned stageAxes;
  bool ok = true;
  std::optional<int64_t> defaultZero; ///< of what is not ZeRO-3 and has replicas
  std::vector<Degrees> layers;
};

Degrees Printer::convert(const Strategy &strategy, const Twine &who) {
  Degrees degrees;
  degrees.data = plan.getSize(strategy.data);
  degrees.tensor = plan.getSize(strategy.tensor);
  // Megatron's sequence parallelism, over axes that split layers, is a setting of its runs, not of its plans.
  bool isMegatron = !strategy.sequence.empty() && strategy.sequence == strategy.tensor;
  degrees.sequence = isMegatron ? 1 : plan.getSize(strategy.sequence);
  degrees.context = plan.getSize(strategy.context);
  if (degrees.tensor > 1 && degrees.sequence > 1)
    refuse(who + ": axes of \"tp\" and of \"sp\"; Hetu-Galvatron has one of them");
  // It has ranks that share a layer side by side, or as far apart as they can be.
  const PlanAxes &shared = degrees.tensor > 1 ? strategy.tensor : strategy.sequence;
  unsigned numAxes = static_cast<unsigned>(plan.mesh.size()), count = static_cast<unsigned>(shared.size());
  if (count) {
    bool isInner = shared.front() == numAxes - count, isOuter = shared.back() == stageAxes + count - 1;
    if (!isInner && !isOuter)
      refuse(who + ": layers shared over axes that are neither the innermost nor the outermost ones");
    degrees.isConsecutive = isInner;
  }
  // From the outermost on: rows, context, what shares the layer; the other way round where that is far apart.
  bool isInside = !strategy.context.empty() && !strategy.data.empty() && strategy.data.back() > strategy.context.front();
  bool isOutside = !strategy.context.empty() && !strategy.data.empty() && strategy.context.back() > strategy.data.front();
  if (degrees.isConsecutive ? isInside : isOutside)
    refuse(who + ": rows split over axes on the wrong side of those of \"cp\"; Hetu-Galvatron has them next to each other, " +
           (degrees.isConsecutive ? "rows" : "context") + " outside");
  // Experts are split over the outermost axes, what is inside them over the innermost ones.
  degrees.expert = plan.getSize(strategy.expert);
  degrees.expertTensor = plan.getSize(strategy.expertTensor);
  bool isOutermost = strategy.expert.empty() || strategy.expert.back() == stageAxes + strategy.expert.size() - 1;
  bool isInnermost = strategy.expertTensor.empty() || strategy.expertTensor.front() == numAxes - strategy.expertTensor.size();
  if (!isOutermost || !isInnermost)
    refuse(who + ": \"ep\" over axes that are not the outermost ones, or \"etp\" over ones that are not the innermost ones");
  if (!strategy.ops.empty())
    refuse(who + ": \"ops\" of its own, for which Hetu-Galvatron has no place");
  if (strategy.recompute == Recompute::Attention)
    refuse(who + ": recompute of attention alone; Hetu-Galvatron computes a layer again, or nothing");
  degrees.isCheckpoint = strategy.recompute == Recompute::Block;
  degrees.isZero3 = strategy.zero == 3;
  if (strategy.zero == 1)
    refuse(who + ": \"zero\": 1, for which Hetu-Galvatron has no name");
  // Its default is of ranks that split rows; others have all of their state.
  if (strategy.zero == 2 && degrees.data == 1)
    refuse(who + ": \"zero\": 2 of ranks that split no rows, for which Hetu-Galvatron has no name");
  if (strategy.zero == 3 || degrees.data == 1)
    return degrees;
  if (defaultZero.value_or(strategy.zero) != strategy.zero)
    refuse(who + ": \"zero\": " + Twine(strategy.zero) + ", others " + Twine(*defaultZero) + "; Hetu-Galvatron has one that is not 3 for a plan");
  defaultZero = strategy.zero;
  return degrees;
}

bool Printer::print(raw_ostream &os) {
  int64_t layer = 0;
  for (const BlockRun &run : plan.blocks) {
    if (run.count == 0)
      refuse("the plan does not say how many blocks there are, which Hetu-Galvatron's lists do: \"count\"");
    Degrees degrees = convert(run.strategy, describeBlocks(layer, std::max<int64_t>(run.count, 1)));
    layers.insert(layers.end(), static_cast<size_t>(run.count), degrees);
    layer += run.count;
  }
  if (!plan.globalBatch || !plan.microBatches)
    refuse("the plan leaves " + Twine(plan.globalBatch ? "\"micro_batches\"" : "\"global_batch\"") + " open, which Hetu-Galvatron needs");
  if (!ok)
    return false;
  Strategy first = getEndStrategy(plan, /*isHead=*/false), last = getEndStrategy(plan, /*isHead=*/true);
  if (!(first == last))
    refuse("embedding and head have strategies of their own; Hetu-Galvatron has one for both");
  Degrees ends = convert(first, "embedding");
  if (!ends.isConsecutive)
    refuse("embedding and head are shared over axes that are not the innermost ones");
  if (first.recompute != Recompute::None)
    refuse("embedding and head compute again what they need; Hetu-Galvatron's do not");
  std::string division;
  for (int64_t stage = 0; stage < plan.stages.count; ++stage) {
    int64_t size = 0;
    for (int64_t i = 0; i < layer; ++i)
      size += getStageOfBlock(plan.stages, i, layer) == stage;
    division += (stage ? "," : "") + std::to_string(size);
  }
  if (!ok)
    return false;
  json::OStream json(os, 4);
  json.object([&] {
    json.attribute("pp_deg", plan.stages.count);
    json.attribute("tp_sizes_enc", list([](const Degrees &d) { return std::max(d.tensor, d.sequence); }));
    json.attribute("tp_consecutive_flags", list([](const Degrees &d) { return d.isConsecutive; }));
    json.attribute("dp_types_enc", list([](const Degrees &d) { return d.isZero3; }));
    json.attribute("use_sp", list([](const Degrees &d) { return d.sequence > 1; }));
    json.attribute("cp_sizes_enc", list([](const Degrees &d) { return d.context; }));
    // Only its newer release knows these.
    if (any_of(layers, [](const Degrees &d) { return d.expert > 1 || d.expertTensor > 1; })) {
      json.attribute("ep_sizes_enc", list([](const Degrees &d) { return d.expert; }));
      json.attribute("tp_of_ep_sizes_enc", list([](const Degrees &d) { return d.expertTensor; }));
    }
    json.attribute("checkpoint", list([](const Degrees &d) { return d.isCheckpoint; }));
    json.attribute("global_bsz", *plan.globalBatch);
    json.attribute("chunks", *plan.microBatches);
    json.attribute("pp_division", division);
    json.attribute("pipeline_type", plan.schedule == PlanSchedule::GPipe ? "gpipe" : "pipedream_flush");
    json.attribute("default_dp_type", defaultZero.value_or(2) == 2 ? "zero2" : "ddp");
    json.attribute("vtp", std::max(ends.tensor, ends.sequence));
    json.attribute("vsp", int64_t(ends.sequence > 1));
    json.attribute("vcp", ends.context);
    // One is read by its older release, the other by the newer one.
    json.attribute("embed_sdp", int64_t(ends.isZero3));
    json.attribute("vocab_sdp", int64_t(ends.isZero3));
    json.attribute("world_size", plan.getRanks());
  });
  os << "\n";
  return true;
}

} // namespace

bool hetu::printHetuPlan(const Plan &plan, raw_ostream &os, Report report) { return Printer(plan, report).print(os); }
