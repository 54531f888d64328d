//===- Plan.h - A plan as a value -----------------------------------------===//
//
// What a user, a file or a search decides about how a step is laid out over
// ranks and time. Knows no IR: --dist-apply-plan writes it onto a module.
//
//===----------------------------------------------------------------------===//

#ifndef GALVATRON_PLAN_PLAN_H
#define GALVATRON_PLAN_PLAN_H

#include "galvatron/Support/Report.h"
#include "llvm/ADT/ArrayRef.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace galvatron {

/// The most ranks that a plan may have.
inline constexpr int64_t maxRanks = int64_t(1) << 20;

/// Axes of a mesh, as places in Plan::mesh, in rising order: outermost first.
using PlanAxes = std::vector<unsigned>;

/// What one op of a block splits instead of what follows from its strategy.
struct OpOverride {
  struct Split {
    int64_t operand = 0, dim = 0; ///< dimension `dim` of the op's operand
    PlanAxes axes;                ///< axes of Strategy::tensor
    bool operator==(const Split &other) const { return operand == other.operand && dim == other.dim && axes == other.axes; }
  };
  std::string op;            ///< the name that --explain-plan prints
  std::vector<Split> splits; ///< over axes that none of these has, the op is whole
  bool operator==(const OpOverride &other) const { return op == other.op && splits == other.splits; }
};

/// What the backward computes again instead of keeping it.
enum class Recompute { None, Attention, Block };

/// How a block is computed. Every axis of the mesh that stages do not take is in one of the first four lists; those of experts are beside them.
struct Strategy {
  PlanAxes data;     ///< split the rows of the batch
  PlanAxes tensor;   ///< split what is inside the block: heads, hidden units
  PlanAxes sequence; ///< split the sequence outside of what `tensor` splits: axes of `tensor` (Megatron's sequence parallelism), or of their
                     ///< own, where attention splits its heads instead (Ulysses')
  PlanAxes context;  ///< split the sequence, attention included
  PlanAxes expert;       ///< split the experts of a mixture: of any of the axes
  PlanAxes expertTensor; ///< split what is inside each expert; the other axes have copies of it
  int64_t zero = 0;  ///< how far state is split over `data`: 0 not, 1 optimizer state, 2 gradients too, 3 parameters too
  Recompute recompute = Recompute::None;
  std::vector<OpOverride> ops;
  bool operator==(const Strategy &other) const {
    return data == other.data && tensor == other.tensor && sequence == other.sequence && context == other.context &&
           expert == other.expert && expertTensor == other.expertTensor && zero == other.zero && recompute == other.recompute && ops == other.ops;
  }
};

/// Blocks of the chain that have one strategy.
struct BlockRun {
  int64_t count = 0; ///< blocks one behind the other; 0, in a plan's only run: all that there are
  Strategy strategy;
  bool operator==(const BlockRun &other) const { return count == other.count && strategy == other.strategy; }
};

/// The pipeline. Stages take the outermost axes of the mesh.
struct PlanStages {
  int64_t count = 1;
  std::vector<int64_t> firstBlocks; ///< the first block of each stage; empty: nearly equal numbers of blocks
  bool operator==(const PlanStages &other) const { return count == other.count && firstBlocks == other.firstBlocks; }
};

/// The order in which a stage runs its micro-batches.
enum class PlanSchedule { OneFOneB, GPipe };

struct Plan {
  std::vector<int64_t> mesh;           ///< sizes of the small axes, slowest link first; their product is the number of ranks
  std::optional<int64_t> globalBatch;  ///< rows of a step, where the plan is for one batch only
  std::optional<int64_t> microBatches; ///< pieces of a step; nothing: getDefaultMicroBatches
  PlanStages stages;
  PlanSchedule schedule = PlanSchedule::OneFOneB;
  std::optional<Strategy> embedding; ///< of what comes before the blocks; nothing: as the first block (getEndStrategy)
  std::vector<BlockRun> blocks;      ///< by position in the chain
  std::optional<Strategy> head;      ///< of what comes after the blocks; nothing: as the last block (getEndStrategy)
  std::string file;                  ///< that it was read from, for messages; empty: none

  int64_t getRanks() const;
  /// The number of ranks along some axes.
  int64_t getSize(llvm::ArrayRef<unsigned> axes) const;
  /// How many of the outermost axes the stages take; nothing if their number is no product of these.
  std::optional<unsigned> countStageAxes() const;
  bool operator==(const Plan &other) const {
    return mesh == other.mesh && globalBatch == other.globalBatch && microBatches == other.microBatches && stages == other.stages &&
           schedule == other.schedule && embedding == other.embedding && blocks == other.blocks && head == other.head;
  }
};

/// How an axis is called in files and in IR: a, b, ..., z, a1, ...
std::string getAxisName(unsigned axis);

/// "block 3", "blocks 0 to 5": how a run of blocks is called in messages.
std::string describeBlocks(int64_t first, int64_t count);

/// "2x2x3": sizes of a mesh. "1" for one rank.
std::string describeMesh(llvm::ArrayRef<int64_t> mesh);

/// What flags say of a plan: data parallelism takes the ranks that the pipeline and tensor parallelism leave.
struct PlanDegrees {
  std::optional<int64_t> ranks; ///< nothing: as many as the mesh has, or as the degrees make
  std::optional<int64_t> data;  ///< ranks, or groups of `tensor` ranks, that split the rows of a batch; nothing: what the others leave
  int64_t pipeline = 1;         ///< stages
  int64_t tensor = 1;           ///< ranks that share each block
  std::vector<int64_t> mesh;    ///< empty: the prime factors of stages, data and tensor parallelism
  std::optional<int64_t> microBatches;
  PlanSchedule schedule = PlanSchedule::OneFOneB;
};

/// The plan that gives every block the same strategy; nothing, after reports, if there is none.
std::optional<Plan> makePlan(const PlanDegrees &degrees, Report report);

/// "2x2x3" as sizes; nothing, after a report, if the text is no mesh.
std::optional<std::vector<int64_t>> parseMesh(llvm::StringRef text, Report report);

/// "1f1b" or "gpipe"; nothing, after a report, if the text is neither.
std::optional<PlanSchedule> parseSchedule(llvm::StringRef text, Report report);
llvm::StringRef stringifySchedule(PlanSchedule schedule);

/// Whether a plan makes sense for some model. Reports all that is wrong.
bool checkPlan(const Plan &plan, Report report);

/// What a plan must fit.
struct PlannedModel {
  int64_t batch = 1;  ///< rows of a step
  int64_t blocks = 1; ///< calls in the chain between embedding and head
};

/// The same plan with all that it leaves open decided for a model: counts, micro-batches, embedding and head. Nothing, after
/// reports, if the plan does not fit the model.
std::optional<Plan> resolvePlan(const Plan &plan, const PlannedModel &model, Report report);

/// Whether the compiler can execute the plan, which is checked. Reports all that it cannot, with block and key.
bool checkExecutable(const Plan &plan, Report report);

/// The smallest number of micro-batches that is at least the number of stages and divides the rows of each rank; all rows if
/// there are fewer. `rows` is what the micro-batches divide.
int64_t getDefaultMicroBatches(int64_t rows, int64_t stages);

/// The stage that a block of `blocks` is on; of stages of nearly equal numbers the earlier ones have more.
int64_t getStageOfBlock(const PlanStages &stages, int64_t block, int64_t blocks);

/// The strategy of a block of a resolved plan.
const Strategy &getBlockStrategy(const Plan &plan, int64_t block);

/// The strategy of what comes before the blocks or, `isHead`, after them: that of the block beside it, where the plan has none, but without what
/// blocks alone have: ops, and what they compute again.
Strategy getEndStrategy(const Plan &plan, bool isHead);

} // namespace galvatron

#endif
