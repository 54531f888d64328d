//===- Report.cpp ---------------------------------------------------------===//

#include "Report.h"

#include "galvatron/Plan/PlanDiff.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FormatVariadic.h"

#include <map>
#include <tuple>

using namespace llvm;
using namespace galvatron;
using namespace galvatron::hetu;

static constexpr char style[] = R"(
:root { --paper: #fbfaf7; --ink: #22262b; --soft: #6b7178; --line: #dcdad3; --stage: #9aa3ad; --data: #3f6fb5; --tensor: #c8763a; --sequence: #3f8f6b;
  --state: #3f6fb5; --activation: #c8763a; --end: #3f8f6b; --buffer: #8a63a8; --forward: #6f9bd8; --backward: #3f6fb5; --send: #c8763a; --reduce: #8a63a8; --limit: #b3362c; }
@media (prefers-color-scheme: dark) { :root { --paper: #16181b; --ink: #e6e4de; --soft: #989ea6; --line: #34383d; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 24px 16px 64px; }
h1 { font-size: 1.5rem; margin: 0 0 4px; } h2 { font-size: 1.1rem; margin: 40px 0 8px; }
p { margin: 4px 0 12px; max-width: 72ch; } .soft { color: var(--soft); font-size: .9rem; }
.figures { display: flex; flex-wrap: wrap; gap: 12px 36px; margin: 20px 0; } .figures b { display: block; font-size: 1.6rem; line-height: 1.2; font-variant-numeric: tabular-nums; }
.row { display: grid; grid-template-columns: 84px 1fr; gap: 8px; align-items: center; margin: 3px 0; } .row > span { font-size: .85rem; color: var(--soft); text-align: right; }
.bar { display: flex; height: 26px; border-radius: 4px; overflow: hidden; background: color-mix(in srgb, var(--line) 55%, transparent); position: relative; }
.bar > i { display: block; height: 100%; border-right: 1px solid var(--paper); font: 12px/26px system-ui, sans-serif; color: #fff; min-width: 0; text-indent: 5px; overflow: hidden; white-space: nowrap; text-overflow: ellipsis; }
.bar > u { position: absolute; top: 0; bottom: 0; width: 2px; background: var(--limit); }
.stages { display: flex; gap: 8px; } .stages > div { min-width: 0; } .row > div { min-width: 0; } .thin .bar { height: 9px; } .thin svg { height: 9px !important; } .thin { line-height: 1; }
.key { display: flex; flex-wrap: wrap; gap: 4px 18px; margin: 8px 0; font-size: .85rem; } .key i { display: inline-block; width: 12px; height: 12px; border-radius: 3px; margin-right: 6px; vertical-align: -1px; }
table { border-collapse: collapse; font-size: .9rem; width: 100%; } td, th { text-align: left; padding: 5px 14px 5px 0; border-bottom: 1px solid var(--line); vertical-align: top; } td.n { font-variant-numeric: tabular-nums; white-space: nowrap; }
.scroll { overflow-x: auto; } svg { display: block; width: 100%; } .time svg { height: 26px; } .front { min-width: 460px; max-width: 720px; }
.front text { font: 13px system-ui, sans-serif; fill: var(--soft); } code { font-size: .9em; white-space: nowrap; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; font-size: .85rem; border-left: 3px solid var(--line); padding-left: 12px; }
)";

namespace {

std::string escape(StringRef text) {
  std::string result;
  raw_string_ostream os(result);
  printHTMLEscaped(text, os);
  return result;
}

std::string seconds(double value) { return value < 1 ? formatv("{0:F1} ms", value * 1000).str() : formatv("{0:F3} s", value).str(); }

class Page {
public:
  Page(const Request &request, const Outcome &outcome, raw_ostream &os)
      : request(request), outcome(outcome), plan(toPlan(*outcome.plan)), cost(outcome.cost), os(os), count(outcome.plan->stages.size()) {}

  void print(ArrayRef<FrontPoint> front, StringRef difference);

private:
  void printHead();
  void printPlan();
  void printTimeline();
  void printMemory();
  void printFront(ArrayRef<FrontPoint> front);
  void printKey(std::initializer_list<std::pair<StringRef, StringRef>> entries) {
    os << "<div class=key>";
    for (auto [color, name] : entries)
      os << "<span><i style='background:var(--" << color << ")'></i>" << name << "</span>";
    os << "</div>\n";
  }
  std::pair<StringRef, std::string> roleOf(const Strategy &strategy, unsigned axis) const;

  const Request &request;
  const Outcome &outcome;
  Plan plan;
  const PlanCost &cost;
  raw_ostream &os;
  size_t count;
};

void Page::printHead() {
  const Settings &settings = request.model->getSettings();
  double samples = static_cast<double>(outcome.plan->globalBatch), memory = 0;
  for (size_t stage = 0; stage < count; ++stage)
    memory = std::max(memory, cost.getMemory(stage));
  os << "<h1>" << escape(request.name) << " on " << request.nodes << " × " << request.ranksPerNode << " GPUs</h1>\n<p class=soft>" << settings.layers << " layers, "
     << settings.sequence << " tokens, " << outcome.plan->globalBatch << " samples a step in " << outcome.plan->microBatches << " micro-batch"
     << (outcome.plan->microBatches == 1 ? "" : "es") << "</p>\n<div class=figures>";
  auto figure = [&](const Twine &value, StringRef name) { os << "<div><b>" << value << "</b>" << name << "</div>"; };
  figure(formatv("{0:F3}", samples / cost.time).str(), "samples a second");
  figure(seconds(cost.time), "a step, by the formula");
  if (outcome.simulation)
    figure(seconds(outcome.simulation->time), "a step, simulated");
  figure(formatv("{0:F1} GB", memory / 1024).str(), "on the fullest GPU");
  if (outcome.result)
    figure(formatv("{0:F2} %", 100 * outcome.result->getGap()).str(), outcome.result->getGap() == 0 ? "gap: proven best of its space" : "may be gained by a better plan");
  os << "</div>\n";
  double usable = static_cast<double>(MemoryBudget::ofGigabytes(request.gigabytes).getUsable());
  if (usable > 0 && memory > usable * (1 + 1e-9))
    os << formatv("<p><b>It does not fit: {0:F1} GB too much.</b></p>\n", (memory - usable) / 1024);
  if (int64_t dropped = countDropped(*outcome.plan))
    os << "<p>Up to " << dropped << " of " << outcome.plan->globalBatch << " samples of each step are dropped, as Hetu-Galvatron rounds local batches down: "
       << formatv("{0:F3}", (samples - static_cast<double>(dropped)) / cost.time) << " samples a second are left.</p>\n";
}

/// What an axis of the mesh does in a strategy: its color, and a word.
std::pair<StringRef, std::string> Page::roleOf(const Strategy &strategy, unsigned axis) const {
  if (is_contained(strategy.tensor, axis))
    return {"tensor", "tensor"};
  if (is_contained(strategy.sequence, axis))
    return {"sequence", "sequence"};
  return {"data", strategy.zero ? "data, ZeRO-" + std::to_string(strategy.zero) : "data"};
}

/// Layers from left to right, axes from top to bottom: what each axis of the mesh does in each layer.
void Page::printPlan() {
  os << "<h2>The plan</h2>\n<p>Layers from left to right; a row for each axis of the mesh, the slowest link first. What an axis does in a layer is its colour.</p>\n";
  unsigned stageAxes = plan.countStageAxes().value_or(0);
  int64_t layers = request.model->getSettings().layers;
  auto row = [&](const Twine &name, bool isWhole, function_ref<void(size_t, const LayerRun &, const Strategy &)> cell) {
    os << "<div class=row><span>" << name << "</span><div class=stages>";
    int64_t layer = 0;
    for (size_t stage = 0; stage < count; ++stage) {
      int64_t size = 0;
      for (const LayerRun &run : outcome.plan->stages[stage])
        size += run.count;
      os << "<div class=bar style='flex:" << size << "'>";
      for (const LayerRun &run : outcome.plan->stages[stage]) {
        if (!isWhole || &run == &outcome.plan->stages[stage].front())
          cell(stage, isWhole ? LayerRun{size, run.strategy} : run, getBlockStrategy(plan, layer));
        layer += run.count;
      }
      os << "</div>";
    }
    os << "</div></div>\n";
  };
  auto cell = [&](const LayerRun &run, StringRef color, const Twine &text, double opacity = 1) {
    os << "<i style='flex:" << run.count << ";background:color-mix(in srgb, var(--" << color << ") " << static_cast<int>(100 * opacity) << "%, transparent)' title='" << text << "'>" << text << "</i>";
  };
  if (count > 1)
    row("stage", /*isWhole=*/true, [&](size_t stage, const LayerRun &run, const Strategy &) { cell(run, "stage", Twine(stage)); });
  for (unsigned axis = stageAxes; axis < plan.mesh.size(); ++axis)
    row("axis " + getAxisName(axis) + " × " + Twine(plan.mesh[axis]), /*isWhole=*/false, [&](size_t, const LayerRun &run, const Strategy &strategy) {
      auto [color, word] = roleOf(strategy, axis);
      cell(run, color, word, strategy.zero == 3 || color != "data" ? 1 : 0.7);
    });
  row("recompute", /*isWhole=*/false, [&](size_t, const LayerRun &run, const Strategy &strategy) {
    bool isAgain = strategy.recompute != Recompute::None;
    cell(run, "soft", isAgain ? "recomputed" : "", isAgain ? 0.8 : 0.12);
  });
  os << "<div class=scroll><table><tr><th>layers</th><th>strategy</th><th></th></tr>\n";
  int64_t layer = 0;
  for (const auto &runs : outcome.plan->stages)
    for (const LayerRun &run : runs) {
      os << "<tr><td class=n>" << layer << (run.count > 1 ? "–" + std::to_string(layer + run.count - 1) : "") << "</td><td>" << describe(run.strategy) << "</td><td><code>" << run.strategy.str() << "</code></td></tr>\n";
      layer += run.count;
    }
  os << "<tr><td>embedding, head</td><td>" << describe(outcome.plan->end) << "</td><td><code>" << outcome.plan->end.str() << "</code></td></tr></table></div>\n";
  if (layer != layers)
    os << "<p>The plan is of " << layer << " layers.</p>\n";
}

/// Stages from top to bottom, time from left to right.
void Page::printTimeline() {
  if (!outcome.simulation)
    return;
  const search::Simulation &simulation = *outcome.simulation;
  using Kind = search::Simulation::Kind;
  os << "<h2>The step, simulated</h2>\n<p>" << seconds(simulation.time) << ", " << formatv("{0:F1}", 100 * simulation.getBubble()) << " % of which stages do not compute. The formula says "
     << seconds(cost.time) << formatv(" ({0}{1:F1} %)", cost.time > simulation.time ? "+" : "", 100 * (cost.time / simulation.time - 1)) << ": it takes the first or the last stage for the slowest one and "
     << "hides the others' waiting behind it, and lets reductions of all layers begin with the last backward.</p>\n<div class=time>";
  // Neighbours of one kind are drawn as one where there are more than anybody can see.
  constexpr int width = 3000;
  std::map<std::pair<size_t, bool>, std::vector<const search::Simulation::Span *>> lanes; // by stage, and whether it communicates
  for (const search::Simulation::Span &span : simulation.spans)
    lanes[{span.stage, span.kind != Kind::Forward && span.kind != Kind::Backward}].push_back(&span);
  auto colorOf = [](Kind kind) -> StringRef {
    switch (kind) {
    case Kind::Forward:
      return "forward";
    case Kind::Backward:
      return "backward";
    case Kind::SendForward:
    case Kind::SendBackward:
      return "send";
    case Kind::Reduce:
      return "reduce";
    }
    llvm_unreachable("covered switch");
  };
  for (auto &[lane, spans] : lanes) {
    os << "<div class='row" << (lane.second ? " thin" : "") << "'><span>" << (lane.second ? "links" : "stage " + std::to_string(lane.first)) << "</span><div class=bar><svg viewBox='0 0 " << width << " 10' preserveAspectRatio=none>";
    llvm::sort(spans, [](const auto *a, const auto *b) { return std::tie(a->begin, a) < std::tie(b->begin, b); });
    double drawn = -1;
    for (const search::Simulation::Span *span : spans) {
      double x = width * span->begin / simulation.time, w = width * (span->end - span->begin) / simulation.time;
      // A gap, so that micro-batches are told apart.
      double gap = w > 8 ? 1.5 : 0;
      if (x + w < drawn + 0.5)
        continue;
      os << formatv("<rect x={0:F1} y=0 width={1:F1} height=10 fill='var(--{2})'><title>{3} {4}: {5}</title></rect>", x, std::max(0.5, w - gap), colorOf(span->kind), colorOf(span->kind), span->microBatch,
                    seconds(span->end - span->begin));
      drawn = x + w;
    }
    os << "</svg></div></div>\n";
  }
  os << "</div>";
  printKey({{"forward", "forward"}, {"backward", "backward"}, {"send", "sends"}, {"reduce", "reduces gradients"}});
}

void Page::printMemory() {
  os << "<h2>Memory of each GPU</h2>\n";
  MemoryBudget budget = MemoryBudget::ofGigabytes(request.gigabytes);
  double usable = static_cast<double>(budget.getUsable()), most = usable;
  for (size_t stage = 0; stage < count; ++stage)
    most = std::max(most, cost.getMemory(stage));
  if (budget.total)
    os << "<p>" << formatv("{0:F1} GB may be used of {1:F1} GB", usable / 1024, static_cast<double>(budget.total) / 1024) << (budget.reserve ? "; the rest is the allocator's" : "") << ". The line is the limit.</p>\n";
  for (size_t stage = 0; stage < count; ++stage) {
    os << "<div class=row><span>stage " << stage << "</span><div class=bar>";
    for (auto [color, megabytes] : {std::pair("state", cost.states[stage]), {"activation", cost.activation[stage]}, {"end", cost.endMemory[stage]}, {"buffer", static_cast<double>(cost.buffer)}})
      os << formatv("<i style='width:{0:F2}%;background:var(--{1})' title='{2:F2} GB'>{3}</i>", 100 * megabytes / (1.02 * most), color, megabytes / 1024, megabytes > 0.05 * most ? formatv("{0:F1}", megabytes / 1024).str() : "");
    if (budget.total)
      os << formatv("<u style='left:{0:F2}%'></u>", 100 * usable / (1.02 * most));
    os << "</div></div>\n";
  }
  printKey({{"state", "weights, gradients, optimizer"}, {"activation", "activations"}, {"end", "embedding, head, context"}, {"buffer", "buffer of gathers"}});
}

void Page::printFront(ArrayRef<FrontPoint> front) {
  if (front.size() < 2)
    return;
  os << "<h2>Time over memory</h2>\n<p>The best plan within each amount of memory; each of them is proven. Above 20 GB a fifth is the allocator's, hence the fall there.</p>\n";
  double low = front.front().gigabytes, high = front.back().gigabytes, least = front.front().samplesPerSecond, most = least;
  for (const FrontPoint &point : front) {
    least = std::min(least, point.samplesPerSecond);
    most = std::max(most, point.samplesPerSecond);
  }
  double below = least - 0.1 * (most - least) - 1e-9, above = most + 0.1 * (most - least) + 1e-9;
  auto x = [&](double gigabytes) { return 60 + 560 * (gigabytes - low) / (high - low); };
  auto y = [&](double rate) { return 240 - 220 * (rate - below) / (above - below); };
  os << "<div class=scroll><svg class=front viewBox='0 0 640 285'>";
  for (int i = 0; i <= 4; ++i) {
    double gigabytes = low + (high - low) * i / 4, rate = below + (above - below) * i / 4;
    os << formatv("<line x1=60 x2=620 y1={0:F1} y2={0:F1} stroke='var(--line)'/><text x=54 y={1:F1} text-anchor=end>{2:F2}</text>", y(rate), y(rate) + 4, rate);
    os << formatv("<text x={0:F1} y=260 text-anchor=middle>{1:F0} GB</text>", x(gigabytes), gigabytes);
  }
  os << "<polyline fill=none stroke='var(--data)' stroke-width=2.5 points='";
  for (const FrontPoint &point : front)
    os << formatv("{0:F1},{1:F1} ", x(point.gigabytes), y(point.samplesPerSecond));
  os << "'/>";
  for (const FrontPoint &point : front)
    os << formatv("<circle cx={0:F1} cy={1:F1} r={2} fill='var(--{3})'><title>{4:F1} GB: {5:F3} samples/s</title></circle>", x(point.gigabytes), y(point.samplesPerSecond), point.gigabytes == request.gigabytes ? 6 : 3.5,
                  point.gigabytes == request.gigabytes ? "limit" : "data", point.gigabytes, point.samplesPerSecond);
  os << "<text x=60 y=14>samples/s</text><text x=620 y=280 text-anchor=end>memory of a GPU</text></svg></div>\n";
}

void Page::print(ArrayRef<FrontPoint> front, StringRef difference) {
  os << "<!doctype html>\n<html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width, initial-scale=1'><title>" << escape(request.name) << ": plan</title>\n<style>" << style
     << "</style>\n<main>\n";
  printHead();
  printPlan();
  printKey({{"data", "splits the batch"}, {"tensor", "splits layers (tensor parallelism)"}, {"sequence", "splits the sequence"}});
  printTimeline();
  printMemory();
  printFront(front);
  if (!difference.empty())
    os << "<h2>Beside the other plan</h2>\n<pre>" << escape(difference) << "</pre>\n";
  os << "</main></html>\n";
}

} // namespace

std::vector<FrontPoint> galvatron::findFront(const Request &request, function_ref<Outcome(const Request &)> search) {
  std::vector<FrontPoint> front;
  if (request.gigabytes <= 0)
    return front;
  for (int i = -8; i <= 12; ++i) {
    Request other = request;
    other.gigabytes = request.gigabytes * (1 + i / 16.0);
    Outcome outcome = search(other);
    if (outcome.plan)
      front.push_back({other.gigabytes, static_cast<double>(outcome.plan->globalBatch) / outcome.cost.time});
  }
  return front;
}

void galvatron::printReport(const Request &request, const Outcome &outcome, ArrayRef<FrontPoint> front, StringRef difference, raw_ostream &os) {
  Page(request, outcome, os).print(front, difference);
}
