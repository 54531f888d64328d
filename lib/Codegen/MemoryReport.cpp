//===- MemoryReport.cpp - What the arena of a program is made of ----------===//

#include "galvatron/Codegen/MemoryReport.h"

#include "dialects/NN/NN.h"
#include "mlir/IR/SymbolTable.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/Support/Format.h"

using namespace mlir;
using namespace galvatron;

namespace {

enum Category { Parameters, Gradients, State, Constants, Inputs, Activations, Temporaries, Scratch, Unused, NumCategories };

const char *const categoryNames[NumCategories] = {
    "parameters",       "gradients",   "optimizer state",  "constants", "inputs and scalars",
    "kept activations", "temporaries", "library scratch", "between the buffers"};

/// One tensor, or several that are called the same: of equal blocks, or of micro-batches.
struct Line {
  int64_t bytes = 0, count = 0;
  Category category;
  std::string type; // empty if it is no tensor
};

/// What the arena holds at one time.
class Contents {
public:
  explicit Contents(MLIRContext *context) : context(context) {}
  void add(StringRef name, Category category, int64_t bytes, std::optional<rt::BufferType> type = std::nullopt);
  void setUnused(int64_t bytes) { sums[Unused] = bytes; }
  void printSums(llvm::raw_ostream &stream, int64_t total) const;
  void printLargest(llvm::raw_ostream &stream, size_t count) const;

private:
  MLIRContext *context;
  llvm::MapVector<StringAttr, Line> lines; // by name
  int64_t sums[NumCategories] = {};
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
    fromForward |= isa<rt::ReceiveOp>(user);
    if (!phase)
      continue;
    bool writes = llvm::is_contained(run.getOutputs(), slot.getResult());
    fromForward |= phase == "forward" && writes;
    toBackward |= phase == "backward" && !writes;
  }
  return fromForward && toBackward ? Activations : Temporaries;
}

std::string galvatron::describeBytes(double bytes) {
  const char *units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  int unit = 0;
  for (; bytes >= 1024 && unit < 4; ++unit)
    bytes /= 1024;
  std::string text;
  llvm::raw_string_ostream(text) << llvm::format(unit ? "%.1f %s" : "%.0f %s", bytes, units[unit]);
  return text;
}

void Contents::add(StringRef name, Category category, int64_t bytes, std::optional<rt::BufferType> type) {
  bytes = alignToArena(bytes);
  sums[category] += bytes;
  Line &line = lines[StringAttr::get(context, name)];
  line.bytes += bytes;
  line.count++;
  line.category = category;
  if (!type)
    return;
  line.type.clear();
  llvm::raw_string_ostream stream(line.type);
  for (int64_t size : type->getShape())
    stream << size << "x";
  stream << type->getElementType();
}

void Contents::printSums(llvm::raw_ostream &stream, int64_t total) const {
  for (int category = 0; category < NumCategories; ++category)
    if (int64_t bytes = sums[category])
      stream << llvm::format("  %-20s %16lld  %10s  %5.1f %%\n", categoryNames[category], static_cast<long long>(bytes),
                             describeBytes(bytes).c_str(), 100.0 * bytes / total);
}

void Contents::printLargest(llvm::raw_ostream &stream, size_t count) const {
  SmallVector<std::pair<int64_t, size_t>> order;
  for (const auto &[index, entry] : llvm::enumerate(lines))
    order.push_back({-entry.second.bytes, index});
  llvm::sort(order);
  for (auto [_, index] : ArrayRef(order).take_front(count)) {
    const auto &[name, line] = *(lines.begin() + index);
    stream << llvm::format("  %16lld  %10s  ", static_cast<long long>(line.bytes), describeBytes(line.bytes).c_str());
    if (line.count > 1)
      stream << line.count << " x ";
    stream << name.getValue() << (line.type.empty() ? "" : " ") << line.type << ", " << categoryNames[line.category] << "\n";
  }
}

void galvatron::printMemoryReport(rt::ProgramOp program, llvm::raw_ostream &stream) {
  SymbolTable symbols(program->getParentOfType<ModuleOp>());
  Contents contents(program.getContext());
  int64_t fixed = 0;
  for (Operation &op : program.getBody().front()) {
    if (auto parameter = dyn_cast<rt::ParameterOp>(op)) {
      auto symbol = symbols.lookup<nn::ParameterOp>(parameter.getParameter());
      contents.add(parameter.getParameter(), symbol ? categorize(symbol.getKind()) : Parameters, parameter.getType().getBytes(),
                   parameter.getType());
      fixed += alignToArena(parameter.getType().getBytes());
    } else if (auto tensor = dyn_cast<rt::TensorOp>(op)) {
      contents.add(tensor.getName(), Inputs, tensor.getType().getBytes(), tensor.getType());
      fixed += alignToArena(tensor.getType().getBytes());
    }
  }
  if (int64_t staging = program.getStagingBytes().value_or(0)) {
    contents.add("pieces on their way to a file", Temporaries, staging);
    fixed += staging;
  }
  // The table that needs most, at the row where it does.
  rt::TableOp largest;
  int64_t most = 0, when = 0;
  for (auto table : program.getBody().front().getOps<rt::TableOp>()) {
    std::vector<ArenaBuffer> intervals;
    for (TableBuffer &buffer : collectTableBuffers(table))
      intervals.push_back(buffer.interval);
    int64_t bytes = getArenaLowerBound(intervals);
    if (largest && bytes <= most)
      continue;
    most = bytes;
    largest = table;
    when = getArenaPeakTime(intervals);
  }
  std::string where;
  llvm::raw_string_ostream whereStream(where);
  if (largest) {
    whereStream << ", fullest in '" << rt::stringifyMode(largest.getMode()) << "'";
    for (TableBuffer &buffer : collectTableBuffers(largest)) {
      if (buffer.interval.begin > when || buffer.interval.end < when)
        continue;
      if (auto slot = dyn_cast<rt::SlotOp>(buffer.op)) {
        contents.add(slot.getName(), categorize(slot), buffer.interval.bytes, slot.getType());
        continue;
      }
      // How much of the row's frame is the library's.
      StringRef callee = cast<rt::RunOp>(buffer.op).getCallee();
      auto scratch = symbols.lookup(callee)->getAttrOfType<IntegerAttr>(rt::scratchBytesAttr);
      int64_t scratchBytes = scratch ? scratch.getInt() : 0;
      contents.add(("frame of " + callee).str(), Temporaries, buffer.interval.bytes - scratchBytes);
      if (scratchBytes)
        contents.add(("scratch of " + callee).str(), Scratch, scratchBytes);
    }
    auto runs = largest.getBody().front().getOps<rt::RunOp>();
    auto &rows = largest.getBody().front().getOperations();
    if (auto run = dyn_cast<rt::RunOp>(*std::next(rows.begin(), when))) {
      auto isBefore = [&](rt::RunOp other) { return other == run || other->isBeforeInBlock(run); };
      whereStream << " at call " << llvm::count_if(runs, isBefore) << " of " << llvm::range_size(runs) << ", " << run.getCallee();
      if (run.getMicroBatch())
        whereStream << " on micro-batch " << *run.getMicroBatch();
    }
  }
  int64_t total = program.getArenaBytes().value_or(0);
  contents.setUnused(total - fixed - most);
  stream << "memory";
  if (program.getStages() > 1)
    stream << " of a rank of stage " << program.getStage();
  stream << ": " << total << " bytes (" << describeBytes(total) << ")" << whereStream.str() << "\n";
  contents.printSums(stream, total);
  stream << "the largest:\n";
  contents.printLargest(stream, 12);
}
