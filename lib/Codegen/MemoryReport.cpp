//===- MemoryReport.cpp - What the arena of a program is made of ----------===//

#include "galvatron/Codegen/MemoryReport.h"

#include "dialects/NN/NN.h"
#include "mlir/IR/SymbolTable.h"
#include "llvm/Support/Format.h"

using namespace mlir;
using namespace galvatron;

namespace {

enum Category { Parameters, Gradients, State, Constants, Inputs, Activations, Temporaries, Scratch, Unused, NumCategories };

const char *const categoryNames[NumCategories] = {
    "parameters",       "gradients",   "optimizer state",  "constants", "inputs and scalars",
    "kept activations", "temporaries", "library scratch", "between the buffers"};

struct Line {
  int64_t bytes;
  std::string name;
  Category category;
};

} // namespace

static Category categorize(nn::ParameterKind kind) {
  switch (kind) {
  case nn::ParameterKind::Trainable:
  case nn::ParameterKind::Frozen:
    return Parameters;
  case nn::ParameterKind::Constant:
    return Constants;
  case nn::ParameterKind::State:
    return State;
  }
  llvm_unreachable("covered switch");
}

/// What a slot is for: a gradient is handed out as one, a kept activation is made by a forward and read by a backward.
static Category categorize(rt::SlotOp slot) {
  bool fromForward = false, toBackward = false;
  for (Operation *user : slot->getUsers()) {
    if (isa<rt::GradientOp>(user))
      return Gradients;
    auto run = dyn_cast<rt::RunOp>(user);
    auto phase = run ? run->getAttrOfType<StringAttr>("phase") : StringAttr();
    if (!phase)
      continue;
    bool writes = llvm::is_contained(run.getOutputs(), slot.getResult());
    fromForward |= phase == "forward" && writes;
    toBackward |= phase == "backward" && !writes;
  }
  return fromForward && toBackward ? Activations : Temporaries;
}

/// How much of the row's frame is the library's.
static int64_t getScratchBytes(rt::RunOp run) {
  Operation *callee = SymbolTable::lookupNearestSymbolFrom(run, run.getCalleeAttr());
  auto bytes = callee ? callee->getAttrOfType<IntegerAttr>(rt::scratchBytesAttr) : IntegerAttr();
  return bytes ? bytes.getInt() : 0;
}

static std::string describe(double bytes) {
  const char *units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  int unit = 0;
  for (; bytes >= 1024 && unit < 4; ++unit)
    bytes /= 1024;
  std::string text;
  llvm::raw_string_ostream(text) << llvm::format(unit ? "%.1f %s" : "%.0f %s", bytes, units[unit]);
  return text;
}

void galvatron::printMemoryReport(rt::ProgramOp program, llvm::raw_ostream &stream) {
  SmallVector<Line> lines;
  int64_t fixed = 0;
  for (Operation &op : program.getBody().front()) {
    if (auto parameter = dyn_cast<rt::ParameterOp>(op)) {
      auto symbol = SymbolTable::lookupNearestSymbolFrom<nn::ParameterOp>(program, parameter.getParameterAttr());
      int64_t bytes = alignToArena(parameter.getType().getBytes());
      lines.push_back({bytes, parameter.getParameter().str(), symbol ? categorize(symbol.getKind()) : Parameters});
      fixed += bytes;
    } else if (auto tensor = dyn_cast<rt::TensorOp>(op)) {
      int64_t bytes = alignToArena(tensor.getType().getBytes());
      lines.push_back({bytes, tensor.getName().str(), Inputs});
      fixed += bytes;
    }
  }
  // The table that needs most, at the row where it does.
  rt::TableOp largest;
  int64_t most = -1, when = 0;
  for (auto table : program.getBody().front().getOps<rt::TableOp>()) {
    std::vector<ArenaBuffer> intervals;
    for (TableBuffer &buffer : collectTableBuffers(table))
      intervals.push_back(buffer.interval);
    int64_t bytes = getArenaLowerBound(intervals);
    if (bytes > most) {
      most = bytes;
      largest = table;
      when = getArenaPeakTime(intervals);
    }
  }
  std::string where;
  if (largest)
    for (TableBuffer &buffer : collectTableBuffers(largest)) {
      if (buffer.interval.begin > when || buffer.interval.end < when)
        continue;
      int64_t bytes = alignToArena(buffer.interval.bytes);
      if (auto slot = dyn_cast<rt::SlotOp>(buffer.op)) {
        lines.push_back({bytes, slot.getName().str(), categorize(slot)});
        continue;
      }
      auto run = cast<rt::RunOp>(buffer.op);
      where = (" while it runs " + run.getCallee()).str();
      int64_t scratch = getScratchBytes(run);
      lines.push_back({bytes - scratch, ("frame of " + run.getCallee()).str(), Temporaries});
      lines.push_back({scratch, ("scratch of " + run.getCallee()).str(), Scratch});
    }
  int64_t total = program.getArenaBytes().value_or(0), sums[NumCategories] = {};
  for (const Line &line : lines)
    sums[line.category] += line.bytes;
  sums[Unused] = total - fixed - std::max<int64_t>(most, 0);
  stream << "memory: " << total << " bytes (" << describe(total) << ")";
  if (largest)
    stream << ", fullest in '" << rt::stringifyMode(largest.getMode()) << "'" << where;
  stream << "\n";
  for (int category = 0; category < NumCategories; ++category)
    if (sums[category])
      stream << llvm::format("  %-20s %16lld  %s\n", categoryNames[category], static_cast<long long>(sums[category]),
                             describe(sums[category]).c_str());
  stream << "the largest:\n";
  llvm::stable_sort(lines, [](const Line &a, const Line &b) { return a.bytes > b.bytes; });
  for (const Line &line : ArrayRef<Line>(lines).take_front(10))
    stream << llvm::format("  %16lld  ", static_cast<long long>(line.bytes)) << line.name << " ("
           << categoryNames[line.category] << ")\n";
}
