//===- VerifySchedule.cpp - What relates several rows of a table ----------===//
//
// That a value is made before it is read is checked by MLIR itself, as rows are
// in SSA form. Here is what a schedule must have beyond that.
//
//===----------------------------------------------------------------------===//

#include "VerifyMessages.h"
#include "galvatron/Schedule/Passes.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/SetVector.h"

using namespace mlir;
using namespace galvatron;

namespace galvatron {
#define GEN_PASS_DEF_PIPEVERIFYSCHEDULEPASS
#include "galvatron/Schedule/Passes.h.inc"
} // namespace galvatron

namespace {

class TableVerifier {
public:
  /// Functions and those of their results that some table reads.
  using UsedResults = DenseSet<std::pair<Attribute, unsigned>>;

  TableVerifier(pipe::TableOp table, SymbolTable &symbols, const UsedResults &used) : table(table), symbols(symbols), used(used) {}

  static void addUsed(pipe::TableOp table, SymbolTable &symbols, UsedResults &used);
  LogicalResult verify();

private:
  /// A contribution to a running result: which call, of which micro-batch.
  using Contribution = std::pair<int64_t, int64_t>;

  InFlightDiagnostic fail(Operation *row) {
    ok = false;
    return row->emitOpError();
  }
  SmallVector<std::pair<int64_t, int64_t>> accumulates(pipe::RunOp run);
  void verifyRuns();
  void verifyUses();
  void verifySums();
  void verifyMicroBatches();
  void verifyParameters();

  pipe::TableOp table;
  SymbolTable &symbols;
  const UsedResults &used;
  bool ok = true;
};

SmallVector<std::pair<int64_t, int64_t>> TableVerifier::accumulates(pipe::RunOp run) {
  return pipe::getAccumulates(symbols.lookup(run.getCallee()));
}

/// The function of a row, or the one that it is a variant of.
static Attribute getOrigin(pipe::RunOp run, SymbolTable &symbols) {
  auto origin = symbols.lookup(run.getCallee())->getAttrOfType<StringAttr>(variantOfAttrName);
  return origin ? origin : run.getCalleeAttr().getAttr();
}

/// Each call once for each micro-batch, in the order of phases. A call of a function that was cut runs several, its parts.
void TableVerifier::verifyRuns() {
  llvm::MapVector<std::pair<unsigned, int64_t>, DenseMap<int64_t, DenseSet<Attribute>>> runs; // parts, by phase and call
  bool finishing = false, running = false;
  for (auto run : table.getRows().front().getOps<pipe::RunOp>()) {
    pipe::Phase phase = run.getPhase();
    int64_t call = run.getCall(), microBatch = run.getMicroBatch().value_or(-1);
    auto name = [&]() { return (pipe::stringifyPhase(phase) + "(" + Twine(call) + ")").str(); };
    if (!runs[{unsigned(phase), call}][microBatch].insert(getOrigin(run, symbols)).second) {
      if (microBatch < 0)
        fail(run) << "runs " << name() << " a second time";
      else
        fail(run) << "runs " << name() << " a second time for micro-batch " << microBatch;
    }
    bool each = microBatch >= 0;
    if (phase == pipe::Phase::Prepare && (running || finishing))
      fail(run) << "runs " << name() << " after a micro-batch has begun";
    if (each && finishing)
      fail(run) << "runs " << name() << " of micro-batch " << microBatch << " after the step has begun to finish";
    running |= each;
    finishing |= phase == pipe::Phase::Finish;
    if (phase == pipe::Phase::Backward) {
      auto forward = runs.find({unsigned(pipe::Phase::Forward), call});
      if (forward == runs.end() || !forward->second.contains(microBatch))
        fail(run) << "runs " << name() << " of micro-batch " << microBatch << " before its forward";
    }
  }
  for (auto &[key, byMicroBatch] : runs) {
    auto phase = static_cast<pipe::Phase>(key.first);
    if (phase != pipe::Phase::Forward && phase != pipe::Phase::Backward)
      continue;
    size_t parts = 0;
    for (auto &[microBatch, origins] : byMicroBatch)
      parts = std::max<size_t>(parts, origins.size());
    for (int64_t m = 0, count = table.getMicroBatches(); m < count; ++m)
      if (size_t found = byMicroBatch.lookup(m).size(); found == 0)
        fail(table) << "never runs " << pipe::stringifyPhase(phase) << "(" << key.second << ") of micro-batch " << m;
      else if (found < parts)
        fail(table) << "runs " << found << " parts of " << pipe::stringifyPhase(phase) << "(" << key.second << ") of micro-batch " << m
                    << ", and " << parts << " of another";
  }
}

/// Adds the functions of a call, of whatever micro-batch, and those results that are read of one.
void TableVerifier::addUsed(pipe::TableOp table, SymbolTable &symbols, UsedResults &used) {
  auto runs = table.getRows().front().getOps<pipe::RunOp>();
  DenseSet<std::tuple<unsigned, int64_t, Attribute, unsigned>> read; // by phase, call, function and result
  auto keyOf = [&](pipe::RunOp run, OpResult result) {
    return std::tuple(unsigned(run.getPhase()), int64_t(run.getCall()), getOrigin(run, symbols), result.getResultNumber());
  };
  for (auto run : runs)
    for (OpResult result : run->getResults())
      if (!result.use_empty())
        read.insert(keyOf(run, result));
  for (auto run : runs)
    for (OpResult result : run->getResults())
      if (read.contains(keyOf(run, result)))
        used.insert({getOrigin(run, symbols), result.getResultNumber()});
}

/// What is made is used, and what is accumulated into is not read again.
void TableVerifier::verifyUses() {
  for (Operation &row : table.getRows().front()) {
    auto run = dyn_cast<pipe::RunOp>(row);
    // Functions are shared by tables, which need not use the same results; what every micro-batch makes the same is used of one.
    auto isUseless = [&](OpResult result) {
      return result.use_empty() && !used.contains({getOrigin(run, symbols), result.getResultNumber()});
    };
    bool each = run && run.getMicroBatch();
    if (each ? llvm::any_of(row.getResults(), isUseless) : row.use_empty() && row.getNumResults() > 0)
      if (!isa<pipe::ParameterOp>(row))
        fail(&row) << "makes a value that no row uses";
    auto checkOverwritten = [&](Value value, StringRef done) {
      for (Operation *user : value.getUsers())
        if (row.isBeforeInBlock(user)) {
          fail(user) << "reads a value that an earlier row has " << done << " in place";
          break;
        }
    };
    if (auto place = dyn_cast<pipe::PlaceOp>(row); place && place.getWhole())
      checkOverwritten(place.getWhole(), "written to");
    if (!run)
      continue;
    for (auto [result, argument] : accumulates(run))
      if (argument < int64_t(run.getNumOperands())) // otherwise reported where the function is checked
        checkOverwritten(run.getOperand(argument), "added to");
  }
}

/// A sum that is read once a step has a contribution of every micro-batch, each once.
void TableVerifier::verifySums() {
  DenseMap<Value, DenseSet<Contribution>> contributions;
  int64_t microBatches = table.getMicroBatches();
  auto check = [&](Operation *row, Value value) {
    auto found = contributions.find(value);
    if (found == contributions.end())
      return;
    llvm::SetVector<int64_t> calls;
    for (auto [call, microBatch] : found->second)
      calls.insert(call);
    for (int64_t call : calls)
      for (int64_t m = 0; m < microBatches; ++m)
        if (!found->second.contains({call, m}))
          fail(row) << "reads a sum without the contribution of call " << call << " for micro-batch " << m;
  };
  for (Operation &row : table.getRows().front()) {
    auto run = dyn_cast<pipe::RunOp>(row);
    // A rank's piece of a value is there when that is: whoever reads the piece reads the value.
    if (auto piece = dyn_cast<pipe::PieceOp>(row)) {
      contributions[piece.getResult()] = contributions.lookup(piece.getValue());
      continue;
    }
    bool once = !pipe::getMicroBatch(&row);
    if (once && !isa<pipe::OutputOp>(row))
      for (Value operand : row.getOperands())
        check(&row, operand);
    if (auto place = dyn_cast<pipe::PlaceOp>(row)) {
      DenseSet<Contribution> all = contributions.lookup(place.getValue());
      if (place.getWhole()) {
        DenseSet<Contribution> before = contributions.lookup(place.getWhole());
        all.insert(before.begin(), before.end());
      }
      contributions[place.getResult()] = std::move(all);
    }
    if (!run || once)
      continue;
    for (OpResult result : run.getOutputs())
      contributions[result].insert({run.getCall(), *run.getMicroBatch()});
    for (auto [result, argument] : accumulates(run)) {
      if (result >= int64_t(run.getNumResults()) || argument >= int64_t(run.getNumOperands()))
        continue;
      DenseSet<Contribution> before = contributions.lookup(run.getOperand(argument));
      contributions[run.getResult(result)].insert(before.begin(), before.end());
    }
  }
}

/// A row of a micro-batch reads what that micro-batch makes, or what is made once; only a running result passes from one to the
/// next. An output is handed out once for each of them.
void TableVerifier::verifyMicroBatches() {
  llvm::MapVector<Attribute, DenseSet<int64_t>> handedOut;
  for (Operation &row : table.getRows().front()) {
    std::optional<int64_t> own = pipe::getMicroBatch(&row);
    if (!own)
      continue;
    DenseSet<int64_t> running;
    if (auto run = dyn_cast<pipe::RunOp>(row))
      for (auto [result, argument] : accumulates(run))
        running.insert(argument);
    for (OpOperand &use : row.getOpOperands()) {
      Operation *maker = use.get().getDefiningOp();
      // A rank's piece is of the micro-batch that its value is of.
      while (isa_and_nonnull<pipe::PieceOp, pipe::CompleteOp>(maker) && !pipe::getMicroBatch(maker))
        maker = maker->getOperand(0).getDefiningOp();
      std::optional<int64_t> other = maker ? pipe::getMicroBatch(maker) : std::nullopt;
      auto place = dyn_cast<pipe::PlaceOp>(row);
      if (other && *other != *own && !running.contains(use.getOperandNumber()) && !(place && use.get() == place.getWhole()))
        fail(&row) << "belongs to micro-batch " << *own << " and reads a value of micro-batch " << *other;
    }
    if (auto output = dyn_cast<pipe::OutputOp>(row))
      if (!handedOut[output.getOutputAttr()].insert(*own).second)
        fail(output) << "hands out micro-batch " << *own << " of " << output.getOutputAttr() << " a second time";
  }
  for (auto &[name, pieces] : handedOut)
    for (int64_t m = 0, count = table.getMicroBatches(); m < count; ++m)
      if (!pieces.contains(m))
        fail(table) << "never hands out micro-batch " << m << " of " << name;
}

/// A parameter is stored at most once, and not read afterwards: its memory holds the new value then.
void TableVerifier::verifyParameters() {
  DenseSet<Attribute> stored;
  llvm::DenseMap<Attribute, SmallVector<Value>> reads;
  for (Operation &row : table.getRows().front()) {
    if (auto read = dyn_cast<pipe::ParameterOp>(row))
      reads[read.getParameterAttr()].push_back(read.getResult());
    auto store = dyn_cast<pipe::StoreOp>(row);
    if (store && !stored.insert(store.getParameterAttr()).second)
      fail(store) << "stores " << store.getParameterAttr() << " a second time";
    else if (store)
      for (Value value : reads.lookup(store.getParameterAttr()))
        for (Operation *user : value.getUsers())
          if (store->isBeforeInBlock(user) && !isa<pipe::StoreOp>(user))
            fail(user) << "reads " << store.getParameterAttr() << " after the step has stored it";
    if (auto read = dyn_cast<pipe::ParameterOp>(row); read && stored.contains(read.getParameterAttr()))
      fail(read) << "reads " << read.getParameterAttr() << " after the step has stored it";
  }
}

LogicalResult TableVerifier::verify() {
  llvm::SetVector<Operation *> callees;
  for (auto run : table.getRows().front().getOps<pipe::RunOp>())
    callees.insert(symbols.lookup(run.getCallee()));
  for (Operation *callee : callees)
    ok &= succeeded(pipe::verifyAccumulates(callee));
  if (!ok)
    return failure();
  verifyRuns();
  verifyUses();
  verifySums();
  verifyMicroBatches();
  verifyParameters();
  return success(ok);
}

class PipeVerifySchedule : public galvatron::impl::PipeVerifySchedulePassBase<PipeVerifySchedule> {
  void runOnOperation() override {
    SymbolTable symbols(getOperation());
    TableVerifier::UsedResults used;
    for (auto table : getOperation().getOps<pipe::TableOp>())
      TableVerifier::addUsed(table, symbols, used);
    bool ok = true;
    for (auto table : getOperation().getOps<pipe::TableOp>())
      ok &= succeeded(TableVerifier(table, symbols, used).verify());
    llvm::MapVector<StringRef, SmallVector<pipe::TableOp>> steps;
    for (auto table : getOperation().getOps<pipe::TableOp>())
      steps[pipe::getStepName(table)].push_back(table);
    for (auto &[name, tables] : steps)
      ok &= succeeded(verifyMessages(tables));
    markAllAnalysesPreserved();
    if (!ok)
      signalPassFailure();
  }
};

} // namespace
