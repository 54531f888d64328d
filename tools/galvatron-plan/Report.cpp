//===- Report.cpp ---------------------------------------------------------===//

#include "Report.h"

#include "galvatron/Plan/PlanDiff.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/FormatVariadic.h"

#include <cmath>
#include <map>
#include <tuple>

using namespace llvm;
using namespace galvatron;
using namespace galvatron::hetu;

static constexpr char style[] = R"(
:root { --paper: #fbfaf7; --ink: #22262b; --soft: #6b7178; --line: #dcdad3; --stage: #9aa3ad; --data: #3f6fb5; --tensor: #c8763a; --sequence: #3f8f6b;
  --state: #3f6fb5; --activation: #c8763a; --end: #3f8f6b; --mixed: #5780bd; --buffer: #8a63a8; --forward: #6f9bd8; --backward: #3f6fb5; --send: #c8763a; --reduce: #8a63a8; --limit: #b3362c; }
@media (prefers-color-scheme: dark) { :root { --paper: #16181b; --ink: #e6e4de; --soft: #989ea6; --line: #34383d; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 24px 16px 64px; }
h1 { font-size: 1.5rem; margin: 0 0 4px; } h2 { font-size: 1.1rem; margin: 40px 0 8px; }
p { margin: 4px 0 12px; max-width: 72ch; } .soft { color: var(--soft); font-size: .9rem; }
.figures { display: flex; flex-wrap: wrap; gap: 12px 36px; margin: 20px 0; } .figures b { display: block; font-size: 1.6rem; line-height: 1.2; font-variant-numeric: tabular-nums; }
.row { display: grid; grid-template-columns: 112px 1fr; gap: 8px; align-items: center; margin: 3px 0; } .row > span { font-size: .85rem; color: var(--soft); text-align: right; white-space: nowrap; }
.bar { display: flex; height: 26px; border-radius: 4px; overflow: hidden; background: color-mix(in srgb, var(--line) 55%, transparent); position: relative; }
.bar > i { display: block; height: 100%; border-right: 1px solid var(--paper); font: 12px/26px system-ui, sans-serif; color: #fff; min-width: 0; text-indent: 5px; overflow: hidden; white-space: nowrap; text-overflow: ellipsis; }
.bar > u { position: absolute; top: 0; bottom: 0; width: 2px; background: var(--limit); }
.stages { display: flex; gap: 6px; } .stages > div { min-width: 0; } .row > div { min-width: 0; } .stages > .side { flex: 0 0 56px; }
.bar > i { container-type: inline-size; } .bar > i > b { font-weight: 400; } .bar > i > s { display: none; text-decoration: none; }
@container (max-width: 84px) { .bar > i > b { display: none; } .bar > i > s { display: inline; } }
@container (max-width: 20px) { .bar > i > s { display: none; } }
@media (max-width: 600px) { .row { grid-template-columns: 98px 1fr; gap: 6px; } .row > span { font-size: .75rem; } .bar > i { text-indent: 2px; font-size: 11px; } .stages { gap: 3px; } .stages > .side { flex: 0 0 31px; } .side > i { font-size: 10.5px; text-overflow: clip; }
  td, th { padding-right: 8px; } .word { display: none; } .figures { gap: 12px 24px; } .figures b { font-size: 1.3rem; } h2 { margin-top: 32px; } } .thin .bar { height: 9px; } .thin svg { height: 9px !important; } .thin { line-height: 1; }
.key { display: flex; flex-wrap: wrap; gap: 4px 18px; margin: 8px 0; font-size: .85rem; } .key i { display: inline-block; width: 12px; height: 12px; border-radius: 3px; margin-right: 6px; vertical-align: -1px; }
table { border-collapse: collapse; font-size: .9rem; width: 100%; } td, th { text-align: left; padding: 5px 14px 5px 0; border-bottom: 1px solid var(--line); vertical-align: top; } td.n { font-variant-numeric: tabular-nums; white-space: nowrap; }
.axis { display: flex; justify-content: space-between; font-size: .75rem; color: var(--soft); } .scroll { overflow-x: auto; } svg { display: block; width: 100%; } .time svg { height: 26px; } .front { min-width: 460px; max-width: 720px; }
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

  void print(const Beside &beside, const Explanation *explanation);

private:
  void printHead();
  void printPlan();
  void printAxes();
  void printStrategies();
  void printTimeline();
  void printLane(std::vector<const search::Simulation::Span *> &spans);
  void printMemory();
  void printCurve(ArrayRef<Alternative> points, StringRef unit, double marked);
  void printComparison(const Beside &beside);
  void printKinds(const Explanation &explanation);
  void printKey(std::initializer_list<std::pair<StringRef, StringRef>> entries) {
    os << "<div class=key>";
    for (auto [color, name] : entries)
      os << "<span><i style='background:var(--" << color << ")'></i>" << name << "</span>";
    os << "</div>\n";
  }
  /// A cell of the picture: its color, what it says where there is room, and where there is not.
  struct Cell {
    StringRef color;
    std::string text, brief;
    int opacity = 100;
    bool operator==(const Cell &other) const { return text == other.text; }
  };
  Cell roleOf(const Strategy &strategy, unsigned axis) const;
  void printRow(const Twine &name, function_ref<Cell(const Strategy &)> cellOf);
  void printCell(const Cell &cell, int64_t width);

  const Request &request;
  const Outcome &outcome;
  Plan plan;
  const PlanCost &cost;
  raw_ostream &os;
  size_t count;
};

void Page::printHead() {
  const Settings &settings = request.model->getSettings();
  double samples = static_cast<double>(outcome.plan->globalBatch), memory = getMostMemory(cost), excess = request.getExcess(memory);
  os << "<h1>" << escape(request.name) << " on " << request.nodes << " × " << request.ranksPerNode << " GPUs";
  if (request.gigabytes > 0)
    os << " of " << format("%g", request.gigabytes) << " GB";
  os << "</h1>\n<p class=soft>" << settings.layers << " layers, "
     << settings.sequence << " tokens, " << outcome.plan->globalBatch << " samples a step in " << outcome.plan->microBatches << " micro-batch"
     << (outcome.plan->microBatches == 1 ? "" : "es") << ", space " << getSpaceName(request.kind) << "</p>\n<div class=figures>";
  auto figure = [&](const Twine &value, StringRef name) { os << "<div><b>" << value << "</b>" << name << "</div>"; };
  figure(formatv("{0:F3}", getRate(outcome)).str(), "samples a second");
  figure(seconds(cost.time), "a step, by the formula");
  if (outcome.simulation)
    figure(seconds(outcome.simulation->time), "a step, simulated");
  figure(formatv("{0:F1} GB", memory / 1024).str(), "on the fullest GPU");
  if (outcome.result)
    figure(formatv("{0:F2} %", 100 * outcome.getGap()).str(), outcome.getGap() == 0 ? "gap: proven best of its space" : "may be gained by a better plan");
  os << "</div>\n";
  if (excess > 0)
    os << formatv("<p><b>It does not fit: {0:F1} GB too much.</b></p>\n", excess / 1024);
  if (int64_t dropped = countDropped(*outcome.plan))
    os << "<p>Up to " << dropped << " of " << outcome.plan->globalBatch << " samples of each step are dropped, as Hetu-Galvatron rounds local batches down: "
       << formatv("{0:F3}", (samples - static_cast<double>(dropped)) / cost.time) << " samples a second are left.</p>\n";
}

Page::Cell Page::roleOf(const Strategy &strategy, unsigned axis) const {
  if (is_contained(strategy.tensor, axis))
    return {"tensor", "tensor", "tp"};
  if (is_contained(strategy.sequence, axis))
    return {"sequence", "sequence", "sp"};
  if (strategy.zero)
    return {"data", "data, ZeRO-" + std::to_string(strategy.zero), "Z" + std::to_string(strategy.zero), strategy.zero == 3 ? 100 : 75};
  return {"data", "data", "dp", 55};
}

void Page::printCell(const Cell &cell, int64_t width) {
  os << "<i style='flex:" << width << ";background:color-mix(in srgb, var(--" << cell.color << ") " << cell.opacity << "%, transparent)' title='" << cell.text << "'><b>" << cell.text << "</b><s>" << cell.brief
     << "</s></i>";
}

/// A row of the picture: embedding, each stage's layers, head. Neighbours that say the same are one.
void Page::printRow(const Twine &name, function_ref<Cell(const Strategy &)> cellOf) {
  auto side = [&](const std::optional<Strategy> &strategy) {
    os << "<div class='bar side'>";
    if (strategy)
      printCell(cellOf(*strategy), 1);
    os << "</div>";
  };
  os << "<div class=row><span>" << name << "</span><div class=stages>";
  side(plan.embedding);
  int64_t layer = 0;
  for (const std::vector<LayerRun> &runs : outcome.plan->stages) {
    std::vector<std::pair<Cell, int64_t>> cells;
    int64_t size = 0;
    for (const LayerRun &run : runs) {
      Cell cell = cellOf(getBlockStrategy(plan, layer));
      if (cells.empty() || !(cells.back().first == cell))
        cells.emplace_back(std::move(cell), 0);
      cells.back().second += run.count;
      layer += run.count;
      size += run.count;
    }
    os << "<div class=bar style='flex:" << size << "'>";
    for (const auto &[cell, width] : cells)
      printCell(cell, width);
    os << "</div>";
  }
  side(plan.head);
  os << "</div></div>\n";
}

/// A row for each axis of the mesh; neighbours that do the same everywhere are one.
void Page::printAxes() {
  unsigned first = plan.countStageAxes().value_or(0), numAxes = static_cast<unsigned>(plan.mesh.size());
  auto isSame = [&](unsigned a, unsigned b) {
    auto isSameIn = [&](const Strategy &strategy) { return roleOf(strategy, a) == roleOf(strategy, b); };
    return isSameIn(*plan.embedding) && isSameIn(*plan.head) && all_of(plan.blocks, [&](const BlockRun &run) { return isSameIn(run.strategy); });
  };
  for (unsigned axis = first, last; axis < numAxes; axis = last + 1) {
    int64_t size = plan.mesh[axis];
    for (last = axis; last + 1 < numAxes && isSame(axis, last + 1); ++last)
      size *= plan.mesh[last + 1];
    std::string name = (last > axis ? "axes " : "axis ") + getAxisName(axis) + (last > axis ? "–" + getAxisName(last) : "");
    printRow(name + " × " + Twine(size), [&](const Strategy &strategy) { return roleOf(strategy, axis); });
  }
}

/// What each run of layers does; stages that do the same are one.
void Page::printStrategies() {
  os << "<div class=scroll><table><tr><th>layers</th><th>strategy</th><th class=word></th></tr>\n";
  auto row = [&](const Twine &who, const LayerStrategy &strategy) {
    os << "<tr><td class=n>" << who << "</td><td>" << describe(strategy) << "</td><td class=word><code>" << strategy.str() << "</code></td></tr>\n";
  };
  int64_t first = 0, next = 0;
  const LayerStrategy *before = nullptr;
  auto flush = [&] {
    if (before)
      row(Twine(first) + (next > first + 1 ? "–" + Twine(next - 1) : Twine()), *before);
    first = next;
  };
  for (const auto &runs : outcome.plan->stages)
    for (const LayerRun &run : runs) {
      if (!before || before->str() != run.strategy.str() || before->sharding != run.strategy.sharding)
        flush();
      before = &run.strategy;
      next += run.count;
    }
  flush();
  row("embedding, head", outcome.plan->end);
  os << "</table></div>\n";
}

/// Layers from left to right, axes from top to bottom: what each axis of the mesh does in each layer.
void Page::printPlan() {
  os << "<h2>The plan</h2>\n<p>Layers from left to right, embedding and head at the sides; a row for axes of the mesh that do the same, the slowest link first. What an axis does in a layer is its colour.</p>\n";
  os << "<div class=row><span>" << (count > 1 ? "stage" : "") << "</span><div class=stages><div class='bar side'>";
  printCell({"stage", "embedding", "emb"}, 1);
  os << "</div>";
  int64_t layer = 0;
  for (auto [stage, runs] : enumerate(outcome.plan->stages)) {
    int64_t size = 0;
    for (const LayerRun &run : runs)
      size += run.count;
    os << "<div class=bar style='flex:" << size << "'>";
    std::string layers = (size > 1 ? "layers " + std::to_string(layer) + "–" : "layer ") + std::to_string(layer + size - 1);
    printCell({"stage", count > 1 ? std::to_string(stage) + ": " + std::to_string(layer) + (size > 1 ? "–" + std::to_string(layer + size - 1) : "") : layers, std::to_string(stage)}, 1);
    os << "</div>";
    layer += size;
  }
  os << "<div class='bar side'>";
  printCell({"stage", "head", "head"}, 1);
  os << "</div></div></div>\n";
  printAxes();
  printRow("recompute", [](const Strategy &strategy) {
    bool isAgain = strategy.recompute != Recompute::None;
    return isAgain ? Cell{"soft", "recomputed", "yes", 80} : Cell{"soft", "", "", 12};
  });
  printKey({{"data", "splits the batch"}, {"tensor", "splits layers (tensor parallelism)"}, {"sequence", "splits the sequence"}});
  printStrategies();
}

/// Stages from top to bottom, time from left to right.
void Page::printTimeline() {
  if (!outcome.simulation)
    return;
  const search::Simulation &simulation = *outcome.simulation;
  using Kind = search::Simulation::Kind;
  os << "<h2>The step, simulated</h2>\n<p>" << seconds(simulation.time) << ", " << formatv("{0:F1}", 100 * simulation.getBubble()) << " % of which stages do not compute. The formula says "
     << seconds(cost.time) << formatv(" ({0}{1:F1} %)", cost.time > simulation.time ? "+" : "", 100 * (cost.time / simulation.time - 1)) << ": it ";
  if (cost.time > simulation.time)
    os << "hides reductions of gradients behind computing alone, not behind what GPUs that share layers exchange";
  else
    os << (count > 1 ? "takes the first or the last stage for the slowest one, hides the others' waiting behind it, and " : "") << "lets reductions of all layers begin with the last backward";
  os << ".</p>\n<div class=time>";
  std::map<std::pair<size_t, bool>, std::vector<const search::Simulation::Span *>> lanes; // by stage, and whether it communicates
  for (const search::Simulation::Span &span : simulation.spans)
    lanes[{span.stage, span.kind != Kind::Forward && span.kind != Kind::Backward}].push_back(&span);
  for (auto &[lane, spans] : lanes) {
    os << "<div class='row" << (lane.second ? " thin" : "") << "'><span>" << (lane.second ? "links" : "stage " + std::to_string(lane.first)) << "</span><div class=bar>";
    printLane(spans);
    os << "</div></div>\n";
  }
  os << "<div class=row><span></span><div class=axis><span>0</span><span>" << seconds(simulation.time / 2) << "</span><span>" << seconds(simulation.time) << "</span></div></div></div>";
  printKey({{"forward", "forward"}, {"backward", "backward"}, {"mixed", "both, too short to be told apart (paler: waiting in between)"}, {"send", "sends"}, {"reduce", "reduces gradients"}});
}

/// Spans that are too short to be seen are drawn together, a hundredth of the step at most, as pale as they leave gaps.
void Page::printLane(std::vector<const search::Simulation::Span *> &spans) {
  constexpr double width = 3000, leastWidth = 3, mostTogether = 30;
  using Kind = search::Simulation::Kind;
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
  double scale = width / outcome.simulation->time;
  struct Together {
    double begin = 0, end = 0, busy = 0;
    StringRef color;
  } some;
  auto flush = [&] {
    if (some.busy > 0)
      os << formatv("<rect x={0:F1} y=0 width={1:F1} height=10 fill='var(--{2})' opacity={3:F2} />", some.begin, std::max(0.5, some.end - some.begin), some.color, some.busy / std::max(some.busy, some.end - some.begin));
    some = {};
  };
  os << "<svg viewBox='0 0 3000 10' preserveAspectRatio=none>";
  llvm::sort(spans, [](const auto *a, const auto *b) { return std::tie(a->begin, a) < std::tie(b->begin, b); });
  for (const search::Simulation::Span *span : spans) {
    double begin = span->begin * scale, end = span->end * scale;
    StringRef color = colorOf(span->kind);
    if (end - begin >= leastWidth) {
      flush();
      // A gap, so that micro-batches are told apart.
      os << formatv("<rect x={0:F1} y=0 width={1:F1} height=10 fill='var(--{2})'><title>{2} {3}: {4}</title></rect>", begin, end - begin - (end - begin > 8 ? 1.5 : 0), color, span->microBatch, seconds(span->end - span->begin));
      continue;
    }
    if (some.busy > 0 && (begin - some.end > leastWidth || end - some.begin > mostTogether))
      flush();
    if (some.busy == 0)
      some = {begin, end, 0, color};
    some.color = some.color == color ? color : "mixed";
    some.end = end;
    some.busy += end - begin;
  }
  flush();
  os << "</svg>";
}

void Page::printMemory() {
  os << "<h2>Memory of each GPU</h2>\n";
  MemoryBudget budget = MemoryBudget::ofGigabytes(request.gigabytes);
  double usable = static_cast<double>(budget.getUsable()), most = std::max(usable, getMostMemory(cost));
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

/// Samples a second over what is other about each point.
void Page::printCurve(ArrayRef<Alternative> all, StringRef unit, double marked) {
  std::vector<const Alternative *> points;
  double least = HUGE_VAL, most = 0;
  for (const Alternative &point : all)
    if (point.rate) {
      points.push_back(&point);
      least = std::min(least, *point.rate);
      most = std::max(most, *point.rate);
    }
  if (points.size() < 2) {
    os << "<p>Nothing fits there but this.</p>\n";
    return;
  }
  // The plan of the page, which may not be one of these.
  double own = getRate(outcome);
  least = std::min(least, own);
  most = std::max(most, own);
  double low = points.front()->value, high = points.back()->value, margin = std::max(0.1 * (most - least), 1e-3 * most), below = least - margin, above = most + margin;
  auto x = [&](double value) { return 60 + 560 * (value - low) / (high - low); };
  auto y = [&](double rate) { return 240 - 220 * (rate - below) / (above - below); };
  os << "<div class=scroll><svg class=front viewBox='0 0 640 285'>";
  for (int i = 0; i <= 4; ++i) {
    double value = low + (high - low) * i / 4, rate = below + (above - below) * i / 4;
    os << formatv("<line x1=60 x2=620 y1={0:F1} y2={0:F1} stroke='var(--line)'/><text x=54 y={1:F1} text-anchor=end>{2:F2}</text>", y(rate), y(rate) + 4, rate);
    os << formatv("<text x={0:F1} y=260 text-anchor=middle>{1:F0}</text>", x(value), value);
  }
  os << "<polyline fill=none stroke='var(--data)' stroke-width=2 points='";
  for (const Alternative *point : points)
    os << formatv("{0:F1},{1:F1} ", x(point->value), y(*point->rate));
  os << "'/>";
  for (const Alternative *point : points)
    os << formatv("<circle cx={0:F1} cy={1:F1} r={2} fill='var(--data)'><title>{3:F1} {4}: {5:F3} samples/s</title></circle>", x(point->value), y(*point->rate), points.size() > 100 ? 1.5 : 3.5, point->value, unit, *point->rate);
  os << formatv("<circle cx={0:F1} cy={1:F1} r=6 fill='var(--limit)'><title>{2:F1} {3}: {4:F3} samples/s</title></circle>", x(std::clamp(marked, low, high)), y(own), marked, unit, own);
  os << "<text x=60 y=14>samples/s</text><text x=620 y=280 text-anchor=end>" << unit << "; this plan is red</text></svg></div>\n";
}

void Page::printComparison(const Beside &beside) {
  os << "<h2>Beside the other plan</h2>\n<div class=scroll><table><tr><th></th><th>the other plan</th><th>this plan</th></tr>\n";
  const std::optional<Outcome> &other = beside.otherCost;
  auto row = [&](StringRef name, function_ref<std::string(const Outcome &)> print) {
    os << "<tr><td>" << name << "</td><td class=n>" << (other ? print(*other) : "not known to the formula") << "</td><td class=n>" << print(outcome) << "</td></tr>\n";
  };
  row("samples a second", [](const Outcome &of) { return formatv("{0:F3}", getRate(of)).str(); });
  row("a step", [](const Outcome &of) { return seconds(of.cost.time); });
  row("simulated", [](const Outcome &of) { return of.simulation ? seconds(of.simulation->time) : std::string("not simulated"); });
  row("on the fullest GPU", [](const Outcome &of) { return formatv("{0:F1} GB", getMostMemory(of.cost) / 1024).str(); });
  os << "</table></div>\n";
  std::string text;
  raw_string_ostream stream(text);
  if (!printPlanDiff(*beside.other, plan, stream))
    stream << "the plans are the same";
  os << "<pre>" << escape(text) << "</pre>\n";
}

/// The best plan of each kind, and what it loses by.
void Page::printKinds(const Explanation &explanation) {
  os << "<h2>Other kinds of plans</h2>\n<p>The best plan of each kind, and what takes more of a sample's time than in this plan, in % of this plan's.</p>\n<div class=scroll><table><tr><th>kind</th><th>samples a second</th>"
     << "<th>memory</th><th>takes more time</th></tr>\n";
  for (const Alternative &kind : explanation.kinds) {
    os << "<tr><td>" << kind.name << "</td>";
    if (kind.rate)
      os << formatv("<td class=n>{0:F3} ({1}{2:F2} %)</td><td class=n>{3:F1} GB</td>", *kind.rate, *kind.rate > explanation.rate ? "+" : "", 100 * (*kind.rate / explanation.rate - 1), kind.memory / 1024);
    else
      os << "<td>" << (!kind.exists ? "no such plan" : kind.excess > 0 ? formatv("{0:F1} GB too much", kind.excess / 1024).str() : "not searched to its end") << "</td><td></td>";
    os << "<td>" << kind.loss << "</td></tr>\n";
  }
  os << "</table></div>\n";
}

void Page::print(const Beside &beside, const Explanation *explanation) {
  os << "<!doctype html>\n<html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width, initial-scale=1'><title>" << escape(request.name) << ": plan</title>\n<style>" << style
     << "</style>\n<main>\n";
  printHead();
  printPlan();
  printTimeline();
  printMemory();
  if (!beside.memory.empty()) {
    bool hasStep = beside.memory.front().value <= 20 && beside.memory.back().value > 20;
    os << "<h2>Time over memory</h2>\n<p>The best plan within each amount of memory." << (hasStep ? " Above 20 GB a fifth is the allocator's, hence the fall there." : "") << "</p>\n";
    printCurve(beside.memory, "GB of a GPU", request.gigabytes);
  }
  if (!beside.batches.empty()) {
    os << "<h2>Batches</h2>\n<p>The best plan of each batch of the range.</p>\n";
    printCurve(beside.batches, "samples a step", static_cast<double>(outcome.plan->globalBatch));
  }
  if (explanation)
    printKinds(*explanation);
  if (beside.other)
    printComparison(beside);
  if (!request.derived.empty() || !outcome.notes.empty())
    os << "<h2>What was not measured</h2>\n";
  for (const std::vector<std::string> *notes : {&request.derived, &outcome.notes})
    for (const std::string &note : *notes)
      os << "<p class=soft>" << escape(note) << "</p>\n";
  os << "</main></html>\n";
}

} // namespace

void galvatron::printReport(const Request &request, const Outcome &outcome, const Beside &beside, const Explanation *explanation, raw_ostream &os) {
  Page(request, outcome, os).print(beside, explanation);
}
