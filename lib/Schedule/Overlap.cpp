//===- Overlap.cpp - Ranks compute while they reduce ----------------------===//
//
// A reduction begins as soon as its operand is there, and is waited for where
// its result is needed. It is done in place, so that beginning early costs no
// memory: the sums of gradients, which is nearly all that is reduced after the
// last micro-batch, are kept anyway.
//
//===----------------------------------------------------------------------===//

#include "dialects/Pipe/Pipe.h"
#include "galvatron/Schedule/Passes.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinOps.h"

using namespace mlir;
using namespace galvatron;

namespace galvatron {
#define GEN_PASS_DEF_PIPEOVERLAPPASS
#include "galvatron/Schedule/Passes.h.inc"
} // namespace galvatron

/// The later of two rows.
static Operation *getLater(Operation *one, Operation *other) { return one->isBeforeInBlock(other) ? other : one; }

/// The last row that reads a value, or a piece of it, apart from `except`; the row that makes it if none does.
static Operation *getLastReader(Value value, Operation *except) {
  Operation *last = value.getDefiningOp();
  SmallVector<Value> work{value};
  while (!work.empty())
    for (Operation *user : work.pop_back_val().getUsers()) {
      if (user == except)
        continue;
      last = getLater(last, user);
      if (isa<pipe::PieceOp, pipe::CompleteOp>(user))
        work.push_back(user->getResult(0));
    }
  return last;
}

/// Whether a function runs after `begin` and before `end`.
static bool isWorkBetween(Operation *begin, Operation *end) {
  for (Operation *row = begin->getNextNode(); row != end; row = row->getNextNode())
    if (isa<pipe::RunOp>(row))
      return true;
  return false;
}

namespace {

class PipeOverlap : public galvatron::impl::PipeOverlapPassBase<PipeOverlap> {
  void runOnOperation() override {
    for (auto table : getOperation().getOps<pipe::TableOp>()) {
      DenseMap<Operation *, Operation *> lastBegun; // after a row
      for (auto reduce : llvm::make_early_inc_range(table.getRows().front().getOps<pipe::AllReduceOp>()))
        overlap(reduce, lastBegun);
    }
  }

  static void overlap(pipe::AllReduceOp reduce, DenseMap<Operation *, Operation *> &lastBegun) {
    if (reduce.getAsync() || reduce.getResult().use_empty())
      return;
    // What is read later cannot be reduced in place.
    Operation *ready = getLastReader(reduce.getValue(), reduce);
    if (!ready->isBeforeInBlock(reduce))
      return;
    Operation *reader = *reduce->user_begin();
    for (Operation *user : reduce->getUsers())
      reader = user->isBeforeInBlock(reader) ? user : reader;
    if (!isWorkBetween(ready, reader))
      return;
    // Several that are ready at once begin in the order in which they were.
    Operation *&previous = lastBegun.try_emplace(ready, ready).first->second;
    reduce->moveAfter(previous);
    previous = reduce;
    reduce.setAsync(true);
    OpBuilder builder(reader);
    auto complete = builder.create<pipe::CompleteOp>(reduce.getLoc(), reduce.getType(), reduce.getResult());
    reduce.getResult().replaceAllUsesExcept(complete.getResult(), complete);
  }
};

} // namespace
