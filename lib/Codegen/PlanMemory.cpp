//===- PlanMemory.cpp - Every buffer of a program gets its place in one arena ===//
//
// First inside each stage function: temporaries and the library's scratch memory share a frame. Then over the tables:
// tensors that outlive a step come first and share with nobody; slots and frames share what follows, those of one
// table with each other, and the tables among themselves, as only one of them runs at a time.
//
//===----------------------------------------------------------------------===//

#include "galvatron/Codegen/Passes.h"

#include "dialects/Dist/Dist.h"
#include "dialects/NN/NN.h"
#include "galvatron/Codegen/MemoryReport.h"
#include "galvatron/Codegen/Records.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/SymbolTable.h"

using namespace mlir;
using namespace galvatron;

namespace galvatron {
#define GEN_PASS_DEF_PLANMEMORYPASS
#include "galvatron/Codegen/Passes.h.inc"
} // namespace galvatron

/// Calls `touch` for every op of `block` that uses `buffer` or a view of it.
static void forEachUser(Value buffer, llvm::function_ref<void(Operation *)> touch) {
  SmallVector<Value> work = {buffer};
  while (!work.empty())
    for (Operation *user : work.pop_back_val().getUsers()) {
      if (auto view = dyn_cast<rt::ViewOp>(user))
        work.push_back(view.getResult());
      else
        touch(user);
    }
}

static llvm::DenseMap<Operation *, int64_t> numberOps(Block &block) {
  llvm::DenseMap<Operation *, int64_t> position;
  for (auto [index, op] : llvm::enumerate(block))
    position[&op] = index;
  return position;
}

static ArenaBuffer makeInterval(Value buffer, const llvm::DenseMap<Operation *, int64_t> &position) {
  int64_t own = position.lookup(buffer.getDefiningOp());
  ArenaBuffer interval{INT64_MAX, -1, cast<rt::BufferType>(buffer.getType()).getBytes()};
  forEachUser(buffer, [&](Operation *user) {
    interval.begin = std::min(interval.begin, position.lookup(user));
    interval.end = std::max(interval.end, position.lookup(user));
  });
  if (interval.end < 0)
    interval.begin = interval.end = own;
  return interval;
}

std::vector<TableBuffer> galvatron::collectTableBuffers(rt::TableOp table) {
  Block &rows = table.getBody().front();
  llvm::DenseMap<Operation *, int64_t> position = numberOps(rows);
  std::vector<TableBuffer> buffers;
  int64_t published = -1;
  for (auto publish : rows.getOps<rt::PublishGradientsOp>())
    published = position[publish];
  for (auto slot : rows.getOps<rt::SlotOp>()) {
    TableBuffer buffer{makeInterval(slot.getResult(), position), slot};
    forEachUser(slot.getResult(), [&](Operation *user) {
      if (isa<rt::GradientOp>(user))
        buffer.interval.end = std::max(buffer.interval.end, published);
    });
    buffers.push_back(buffer);
  }
  auto module = table->getParentOfType<ModuleOp>();
  SymbolTable symbols(module);
  for (auto run : rows.getOps<rt::RunOp>()) {
    Operation *callee = symbols.lookup(run.getCallee());
    auto frame = callee ? callee->getAttrOfType<IntegerAttr>(rt::frameBytesAttr) : IntegerAttr();
    if (frame && frame.getInt())
      buffers.push_back({{position[run], position[run], frame.getInt()}, run});
  }
  return buffers;
}

namespace {

struct PlanMemoryPass : galvatron::impl::PlanMemoryPassBase<PlanMemoryPass> {
  using PlanMemoryPassBase::PlanMemoryPassBase;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    auto programs = module.getOps<rt::ProgramOp>();
    if (programs.empty())
      return;
    rt::ProgramOp program = *programs.begin(); // threads and cpu are those of all stages
    std::optional<int64_t> level = getCpuLevel(program.getCpu());
    if (!level) {
      program.emitOpError("has cpu \"") << program.getCpu() << "\", expected native, x86-64-v3 or x86-64-v4";
      return signalPassFailure();
    }
    if (failed(askForScratch(module, program.getThreads(), *level)))
      return signalPassFailure();
    SymbolTable symbols(module);
    for (auto function : module.getOps<func::FuncOp>())
      if (function->hasAttr(rt::outsAttr) && !function.isExternal())
        planFrame(function, symbols);
    for (rt::ProgramOp stage : programs)
      planProgram(stage);
  }

  /// Fills in the `scratch` of every descriptor.
  LogicalResult askForScratch(ModuleOp module, int64_t threads, int64_t level) {
    Builder builder(module.getContext());
    char error[512];
    bool ok = true;
    auto ask = [&](auto desc, auto query) {
      auto record = makeRecord(desc);
      int64_t bytes = 0;
      if (query(&record, threads, level, &bytes, error, sizeof(error))) {
        desc.emitOpError("is refused by the library: ") << error;
        ok = false;
        return;
      }
      desc.setScratchAttr(builder.getI64IntegerAttr(bytes));
    };
    for (auto desc : module.getOps<rt::MatmulDescOp>())
      ask(desc, galvatron_rt_matmul_scratch_bytes);
    for (auto desc : module.getOps<rt::ConvDescOp>())
      ask(desc, galvatron_rt_conv_scratch_bytes);
    return success(ok);
  }

  static void addScratch(Operation *op, MutableOperandRange scratch, std::optional<int64_t> bytes) {
    if (!scratch.empty() || !bytes || !*bytes)
      return;
    OpBuilder builder(op);
    auto type = rt::BufferType::get(op->getContext(), {*bytes}, builder.getI8Type());
    scratch.assign(builder.create<rt::TemporaryOp>(op->getLoc(), type, IntegerAttr()).getResult());
  }

  void planFrame(func::FuncOp function, SymbolTable &symbols) {
    Block &block = function.getBody().front();
    for (Operation &op : block) {
      if (auto matmul = dyn_cast<rt::MatmulOp>(op))
        addScratch(&op, matmul.getScratchMutable(), symbols.lookup<rt::MatmulDescOp>(matmul.getDescriptor()).getScratch());
      if (auto conv = dyn_cast<rt::ConvOp>(op))
        addScratch(&op, conv.getScratchMutable(), symbols.lookup<rt::ConvDescOp>(conv.getDescriptor()).getScratch());
    }
    llvm::DenseMap<Operation *, int64_t> position = numberOps(block);
    SmallVector<rt::TemporaryOp> temporaries(block.getOps<rt::TemporaryOp>());
    std::vector<ArenaBuffer> buffers;
    for (rt::TemporaryOp temporary : temporaries)
      buffers.push_back(makeInterval(temporary.getResult(), position));
    int64_t bytes = planArena(buffers);
    Builder builder(function.getContext());
    int64_t scratch = 0;
    for (auto [temporary, buffer] : llvm::zip_equal(temporaries, buffers)) {
      temporary.setOffsetAttr(builder.getI64IntegerAttr(buffer.offset));
      if (temporary.getType().getElementType().isInteger(8))
        scratch = std::max(scratch, alignToArena(buffer.bytes));
    }
    function->setAttr(rt::frameBytesAttr, builder.getI64IntegerAttr(bytes));
    function->setAttr(rt::scratchBytesAttr, builder.getI64IntegerAttr(scratch));
  }

  void planProgram(rt::ProgramOp program) {
    Builder builder(program.getContext());
    int64_t fixed = 0;
    // At the start: ranks find each other's by the offset, and what follows differs from stage to stage.
    if (int64_t staging = getStagingBytes(program)) {
      program.setStagingBytesAttr(builder.getI64IntegerAttr(staging));
      program.setStagingOffsetAttr(builder.getI64IntegerAttr(0));
      fixed = staging;
    }
    auto place = [&](auto op) {
      op.setOffsetAttr(builder.getI64IntegerAttr(fixed));
      fixed += alignToArena(op.getResult().getType().getBytes());
    };
    for (Operation &op : program.getBody().front()) {
      if (auto parameter = dyn_cast<rt::ParameterOp>(op))
        place(parameter);
      if (auto tensor = dyn_cast<rt::TensorOp>(op))
        place(tensor);
    }
    int64_t shared = 0;
    for (auto table : program.getBody().front().getOps<rt::TableOp>()) {
      std::vector<TableBuffer> buffers = collectTableBuffers(table);
      std::vector<ArenaBuffer> intervals;
      for (TableBuffer &buffer : buffers)
        intervals.push_back(buffer.interval);
      shared = std::max(shared, planArena(intervals));
      for (auto [buffer, interval] : llvm::zip_equal(buffers, intervals)) {
        IntegerAttr offset = builder.getI64IntegerAttr(fixed + interval.offset);
        if (auto slot = dyn_cast<rt::SlotOp>(buffer.op))
          slot.setOffsetAttr(offset);
        else
          cast<rt::RunOp>(buffer.op).setFrameAttr(offset);
      }
    }
    program.setArenaBytesAttr(builder.getI64IntegerAttr(fixed + shared));
  }

  /// What tensors are saved through that not every rank has all of: all of the largest, if it is small. The same on all stages.
  static int64_t getStagingBytes(rt::ProgramOp program) {
    auto module = program->getParentOfType<ModuleOp>();
    constexpr int64_t most = 1 << 20;
    int64_t bytes = 0;
    for (auto parameter : module.getOps<nn::ParameterOp>()) {
      if (!(parameter->hasAttr(dist::layoutAttrName) || int64_t(program.getStages()) > 1) || parameter.getKind() == nn::ParameterKind::State)
        continue;
      int64_t saved = 8; // i64 at most
      for (int64_t size : parameter.getSavedShape())
        saved *= size;
      bytes = std::max(bytes, std::min(most, alignToArena(saved)));
    }
    return bytes;
  }
};

} // namespace
