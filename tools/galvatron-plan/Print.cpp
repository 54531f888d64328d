//===- Print.cpp ----------------------------------------------------------===//

#include "Print.h"

#include "galvatron/Plan/PlanDiff.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/FormatVariadic.h"

using namespace llvm;
using namespace galvatron;
using namespace galvatron::hetu;

std::string galvatron::describe(const LayerStrategy &strategy) {
  HetuPlan plan;
  plan.stages = std::vector<std::vector<LayerRun>>(static_cast<size_t>(strategy.pipeline), {{1, strategy}});
  plan.end = strategy;
  Plan same = toPlan(plan);
  return describeStrategy(same, same.blocks.front().strategy);
}

static std::string seconds(double value) { return value < 1 ? formatv("{0:F2} ms", value * 1000).str() : formatv("{0:F3} s", value).str(); }
static std::string gigabytes(double megabytes) { return formatv("{0:F2} GB", megabytes / 1024).str(); }

/// Names that stand in a column.
static raw_ostream &row(raw_ostream &os, const Twine &name) { return os << "  " << left_justify(name.str(), 18); }

static void printStrategies(const HetuPlan &plan, raw_ostream &os) {
  int64_t layer = 0;
  for (auto [stage, runs] : enumerate(plan.stages)) {
    if (plan.stages.size() > 1)
      os << "  stage " << stage << "\n";
    for (const LayerRun &run : runs) {
      std::string name = run.count == 1 ? "layer " + std::to_string(layer)
                                        : "layers " + std::to_string(layer) + " to " + std::to_string(layer + run.count - 1);
      layer += run.count;
      row(os, name) << describe(run.strategy) << "  [" << run.strategy.str() << "]\n";
    }
  }
  row(os, "embedding, head") << describe(plan.end) << "  [" << plan.end.str() << "]\n";
}

/// What a step's time is made of.
static void printTime(const Outcome &outcome, raw_ostream &os) {
  const HetuPlan &plan = *outcome.plan;
  const PlanCost &cost = outcome.cost;
  double pieces = static_cast<double>(plan.microBatches);
  os << "\nTime of a step: " << seconds(cost.time) << ", in " << plan.microBatches << (plan.microBatches == 1 ? " micro-batch\n" : " micro-batches\n");
  for (size_t stage = 0; stage < cost.layers.size(); ++stage) {
    double busy = (cost.layers[stage] + cost.ends[stage] + cost.moves[stage]) * pieces;
    row(os, "stage " + Twine(stage)) << seconds(cost.layers[stage] * pieces) << " in layers";
    if (cost.ends[stage] > 0)
      os << ", " << seconds(cost.ends[stage] * pieces) << " in embedding or head";
    if (cost.moves[stage] > 0)
      os << ", " << seconds(cost.moves[stage] * pieces) << " moving between strategies";
    os << format("; busy for %.1f %% of the step\n", 100 * busy / cost.time);
  }
  if (double exposed = cost.getExposedReduction(); exposed > 0)
    row(os, "gradients") << seconds(exposed) << " reducing what no computation hides\n";
  if (const std::optional<search::Simulation> &simulation = outcome.simulation)
    row(os, "simulated") << seconds(simulation->time) << format(" (%+.1f %%), of which stages compute %.1f %%\n", 100 * (simulation->time / cost.time - 1), 100 * (1 - simulation->getBubble()));
}

static void printMemory(const Request &request, const PlanCost &cost, raw_ostream &os) {
  MemoryBudget budget = MemoryBudget::ofGigabytes(request.gigabytes);
  double usable = static_cast<double>(budget.getUsable());
  os << "\nMemory of each GPU" << (budget.total ? ": " + gigabytes(usable) + " to use" : "");
  if (budget.reserve)
    os << ", " << gigabytes(static_cast<double>(budget.reserve)) << " of " << gigabytes(static_cast<double>(budget.total)) << " kept for the allocator";
  os << "\n";
  constexpr int width = 40;
  for (size_t stage = 0; stage < cost.states.size(); ++stage) {
    double memory = cost.getMemory(stage), excess = request.getExcess(memory);
    int filled = budget.total ? std::clamp(static_cast<int>(width * memory / usable), 0, width) : 0;
    row(os, "stage " + Twine(stage));
    if (budget.total)
      os << "[" << std::string(static_cast<size_t>(filled), '#') << std::string(static_cast<size_t>(width - filled), '.') << "] ";
    os << gigabytes(memory) << ": states " << gigabytes(cost.states[stage]) << ", activations " << gigabytes(cost.activation[stage])
                             << ", embedding, head and context " << gigabytes(cost.endMemory[stage]);
    if (cost.buffer)
      os << ", buffer " << gigabytes(static_cast<double>(cost.buffer));
    os << (excess > 0 ? "; " + gigabytes(excess) + " too much\n" : "\n");
  }
}

double Outcome::getGap() const {
  double gap = (cost.time - getBound()) / cost.time;
  return gap < 1e-9 ? 0 : gap;
}

double galvatron::getMostMemory(const PlanCost &cost) {
  double memory = 0;
  for (size_t stage = 0; stage < cost.states.size(); ++stage)
    memory = std::max(memory, cost.getMemory(stage));
  return memory;
}

double galvatron::getRate(const Outcome &outcome) { return static_cast<double>(outcome.plan->globalBatch) / outcome.cost.time; }

int64_t galvatron::countDropped(const HetuPlan &plan) {
  int64_t dropped = countDropped(plan, plan.end);
  for (const auto &runs : plan.stages)
    for (const LayerRun &run : runs)
      dropped = std::max(dropped, countDropped(plan, run.strategy));
  return dropped;
}

/// Local batches are rounded down in the predecessor's space: then a step has fewer samples than are counted.
static void printDropped(const Request &request, const Outcome &outcome, raw_ostream &os) {
  const HetuPlan &plan = *outcome.plan;
  if (int64_t dropped = countDropped(plan))
    os << "warning: this plan drops up to " << dropped << " of " << plan.globalBatch << " samples of each step, as Hetu-Galvatron rounds local batches down: "
       << format("%.5f", static_cast<double>(plan.globalBatch - dropped) / outcome.cost.time) << " samples/s are left"
       << (request.kind == SpaceKind::Fixed ? "; it is not of galvatron-fixed\n" : " (--space=galvatron-fixed drops none)\n");
}

static void printProof(const Outcome &outcome, raw_ostream &os) {
  const search::Statistics &done = outcome.result->statistics;
  os << "\n" << (outcome.getGap() == 0 ? "Proven best" : "Not proven") << ": no plan of the space takes less than " << seconds(outcome.getBound())
     << " for so many samples; gap " << format("%.3g", 100 * outcome.getGap()) << " %\n";
  row(os, "searched") << done.problems << " tasks in " << seconds(outcome.seconds) << ": " << done.opened << " of " << done.ends
                      << " strategies of embedding and head opened, " << done.nodes << " partial plans\n";
}

void galvatron::printText(const Request &request, const Outcome &outcome, raw_ostream &os) {
  const Settings &settings = request.model->getSettings();
  const HetuPlan &plan = *outcome.plan;
  os << request.name << " on " << request.nodes << " x " << request.ranksPerNode << " GPUs";
  if (request.gigabytes > 0)
    os << " of " << format("%g", request.gigabytes) << " GB";
  os << ": " << settings.layers
     << (settings.layers == 1 ? " layer, " : " layers, ") << settings.sequence << " tokens, " << plan.globalBatch << (plan.globalBatch == 1 ? " sample" : " samples") << " a step\n\n";
  os << format("%.5f", static_cast<double>(plan.globalBatch) / outcome.cost.time) << " samples/s with "
     << (plan.stages.size() == 1 ? "no pipeline" : std::to_string(plan.stages.size()) + " stages") << "\n";
  printStrategies(plan, os);
  printTime(outcome, os);
  printMemory(request, outcome.cost, os);
  if (outcome.result)
    printProof(outcome, os);
  printDropped(request, outcome, os);
  for (const std::string &text : outcome.notes)
    os << "note: " << text << "\n";
}
