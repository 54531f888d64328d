//===- PrintCommunication.cpp - What crosses the links in a step ----------===//

#include "Layouts.h"
#include "dialects/Pipe/Pipe.h"
#include "galvatron/Partition/Passes.h"
#include "llvm/ADT/MapVector.h"

#include <map>

using namespace mlir;
using namespace galvatron;

namespace galvatron {
#define GEN_PASS_DEF_DISTPRINTCOMMUNICATIONPASS
#include "galvatron/Partition/Passes.h.inc"
} // namespace galvatron

namespace {

/// A collective: "all_reduce sum over ["a"]", and the bytes that each rank brings; or a message between stages. Nothing for other ops, for moves over time and for
/// slices, for which no byte crosses a link.
std::optional<std::pair<std::string, int64_t>> describe(Operation *op) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  ArrayAttr axes;
  auto bytesOf = [](RankedTensorType type) {
    return type.getNumElements() * std::max<int64_t>(type.getElementTypeBitWidth() / 8, 1);
  };
  if (auto transfer = dyn_cast<pipe::TransferOp>(op)) {
    stream << "message from stage " << transfer.getFrom() << " to stage " << transfer.getTo();
    return std::pair(text, bytesOf(transfer.getType()));
  }
  if (auto reduce = dyn_cast<dist::AllReduceOp>(op)) {
    axes = reduce.getAxes();
    stream << "all_reduce " << dist::stringifyMonoid(reduce.getMonoid());
  } else if (auto gather = dyn_cast<dist::AllGatherOp>(op)) {
    axes = gather.getAxes();
    stream << "all_gather";
  }
  if (!axes || dist::hasTime(axes))
    return std::nullopt;
  stream << " over " << axes;
  return std::pair(text, bytesOf(nn::tensorType(op->getOperand(0))));
}

/// Counts the collectives of one step.
class Communication {
public:
  Communication(func::FuncOp step, dist::MeshOp mesh)
      : step(step), microBatches(mesh.getMicroBatches()), stages(mesh.getStages()) {
    count();
  }

  void print() {
    std::pair<int64_t, int64_t> collectives, messages; // times and bytes
    for (const auto &[line, number] : lines) {
      const auto &[what, where, size] = line;
      step.emitRemark() << what << " in @" << where << ": " << size << " bytes, " << number << " times a step";
      auto &[allTimes, allBytes] = StringRef(what).starts_with("message") ? messages : collectives;
      allTimes += number;
      allBytes += number * size;
    }
    if (stages == 1) {
      step.emitRemark() << "a step has " << collectives.first << " collectives, to which each rank brings " << collectives.second << " bytes";
      return;
    }
    step.emitRemark() << "a step has " << collectives.first << " collectives on all stages together, to which a rank of each brings "
                      << collectives.second << " bytes, and " << messages.first << " messages of " << messages.second
                      << " bytes between a rank of each";
  }

private:
  void count() {
    SymbolTable symbols(step->getParentOfType<ModuleOp>());
    DenseSet<Value> ofMicroBatch;
    for (Operation &op : step.front()) {
      auto call = dyn_cast<func::CallOp>(op);
      // What a micro-batch makes is made for each of them; accumulation, and calls that run once a step, end that.
      bool each = call ? hasStrategy(call) : llvm::any_of(op.getOperands(), [&](Value value) { return ofMicroBatch.contains(value); });
      if (auto reduce = dyn_cast<dist::AllReduceOp>(op))
        each &= !dist::hasTime(reduce.getAxes());
      if (auto gather = dyn_cast<dist::AllGatherOp>(op))
        each &= !dist::hasTime(gather.getAxes());
      if (each)
        ofMicroBatch.insert(op.result_begin(), op.result_end());
      add(&op, step, each);
      if (auto callee = call ? symbols.lookup<func::FuncOp>(call.getCallee()) : func::FuncOp(); callee && !callee.isDeclaration())
        for (Operation &inner : callee.front())
          add(&inner, callee, each);
    }
  }

  void add(Operation *op, func::FuncOp where, bool each) {
    if (auto found = describe(op))
      lines[{found->first, where.getSymName().str(), found->second}] += each ? microBatches : 1;
  }

  func::FuncOp step;
  int64_t microBatches, stages;
  using Line = std::tuple<std::string, std::string, int64_t>; // collective, function, bytes
  llvm::MapVector<Line, int64_t, std::map<Line, unsigned>> lines; ///< how often
};

class DistPrintCommunication : public galvatron::impl::DistPrintCommunicationPassBase<DistPrintCommunication> {
  void runOnOperation() override {
    FailureOr<dist::MeshOp> mesh = getMesh(getOperation());
    if (failed(mesh))
      return signalPassFailure();
    for (func::FuncOp step : getSteps(getOperation()))
      Communication(step, *mesh).print();
    markAllAnalysesPreserved();
  }
};

} // namespace
