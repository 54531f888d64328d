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
  /// Seconds of a step of as many samples that no plan is below; of a search.
  double getBound() const { return result->bound * static_cast<double>(plan->globalBatch); }
  /// The part of the time that may be too much; of a search. What rounding makes of 0 is 0.
  double getGap() const;
};

/// "data parallel over 4 (ZeRO-2), tensor parallel over 2, recomputed".
std::string describe(const hetu::LayerStrategy &strategy);

/// Samples of a step that some layer or end leaves out: the most.
int64_t countDropped(const hetu::HetuPlan &plan);

/// MB of the fullest GPU.
double getMostMemory(const hetu::PlanCost &cost);

/// Samples of a second.
double getRate(const Outcome &outcome);

using SearchFn = llvm::function_ref<Outcome(const Request &)>;

/// The best plan of a part of the space, or of other circumstances, beside the best one of all.
struct Alternative {
  std::string name;            ///< of what it is the best
  double value = 0;            ///< what is other: GB, or samples of a step; 0 for a part of the space
  bool exists = true;          ///< whether that part has plans
  double excess = 0;           ///< MB by which the closest plan misses, where none fits
  std::optional<double> rate;  ///< samples of a second; nothing if nothing fits, or was found in time
  double memory = 0;           ///< MB of the fullest GPU
  double gap = 0;              ///< above 0 if the search was stopped: a better plan may be there
  int64_t microBatches = 1, stages = 1;
  std::string loss;            ///< what takes more of a sample's time than in the best plan: "gathering weights 0.3 %"
};

struct Explanation {
  double rate = 0; ///< of the best plan
  std::vector<Alternative> kinds, memory, batches;
};

/// The best batch by batch, of a range. `search` makes each of these searches.
std::vector<Alternative> findBestOfBatches(const Request &request, const Outcome &best, SearchFn search);
/// The best with the parts `parts` of the memory that there is.
std::vector<Alternative> findBestOfMemory(const Request &request, const Outcome &best, llvm::ArrayRef<double> parts, SearchFn search);
/// Beside the best plan: the best of each kind, with other memory, and of each batch of a range.
Explanation explain(const Request &request, const Outcome &best, SearchFn search);

/// Why nothing fits.
struct Miss {
  bool hasPlans = true;       ///< false: the space is empty, and all that follows
  size_t stage = 0;           ///< on which the closest plan misses
  double excess = 0;          ///< by so many MB
  hetu::HetuPlan plan;        ///< the closest one
  hetu::PlanCost cost;        ///< of it
  std::vector<std::string> remedies; ///< changes, each of which was tried and fits
};
/// `withNodes` makes the same request for another number of nodes; nothing if there are no links for it.
Miss findMiss(const Request &request, llvm::function_ref<std::optional<Request>(int64_t nodes)> withNodes);

/// One screen: the plan, its time and memory, the proof.
void printText(const Request &request, const Outcome &outcome, llvm::raw_ostream &os);
void printText(const Explanation &explanation, llvm::raw_ostream &os);
/// By how much the closest plan misses, where, what takes the space there; and what would fit.
void printText(const Request &request, const Miss &miss, llvm::raw_ostream &os);
/// All of it as JSON. Without a plan its figures are null; other things that there are not are left out.
void printJson(const Request &request, const Outcome &outcome, const Explanation *explanation, const Miss *miss, llvm::raw_ostream &os);

} // namespace galvatron

#endif
