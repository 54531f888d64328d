//===- Print.h - What a search found, for people and programs ---*- C++ -*-===//

#ifndef GALVATRON_TOOLS_PLAN_PRINT_H
#define GALVATRON_TOOLS_PLAN_PRINT_H

#include "Request.h"
#include "llvm/Support/raw_ostream.h"

namespace galvatron {

/// A search that has ended.
struct Outcome {
  std::optional<search::Result> result; ///< nothing if the plan was given
  double seconds = 0;                   ///< that it took
  std::optional<hetu::HetuPlan> plan;  ///< nothing if none was found
  hetu::PlanCost cost;                 ///< of the plan
  std::vector<std::string> notes;      ///< what the cost rests on that was not measured
  std::optional<search::Simulation> simulation; ///< nothing if it would take too long
};

/// "data parallel over 4 (ZeRO-2), tensor parallel over 2, recomputed".
std::string describe(const hetu::LayerStrategy &strategy);

/// Samples of a step that some layer or end leaves out: the most.
int64_t countDropped(const hetu::HetuPlan &plan);

/// One screen: the plan, its time and memory, the proof.
void printText(const Request &request, const Outcome &outcome, llvm::raw_ostream &os);
/// The same as JSON.
void printJson(const Outcome &outcome, llvm::raw_ostream &os);

/// Beside the best plan: the best of each family, with other memory, and of each batch of a range. `search` makes each of these searches.
void printExplanation(const Request &request, const Outcome &best, llvm::function_ref<Outcome(const Request &)> search, llvm::raw_ostream &os);

/// Why nothing fits: by how much the closest plan misses, where, what takes the space there; and what would fit.
void printMiss(const Request &request, const hetu::Space &space, llvm::raw_ostream &os);

} // namespace galvatron

#endif
