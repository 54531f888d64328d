//===- FormKernels.cpp - Groups ops between library calls into kernels ----===//

#include "galvatron/Codegen/Passes.h"

#include "KernelEmitter.h"
#include "KernelGroups.h"
#include "dialects/RT/RT.h"
#include "mlir/Analysis/TopologicalSortUtils.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Dominance.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/Transforms/CSE.h"
#include "llvm/ADT/StringMap.h"

using namespace mlir;

namespace galvatron {
#define GEN_PASS_DEF_FORMKERNELSPASS
#include "galvatron/Codegen/Passes.h.inc"
} // namespace galvatron

using namespace galvatron;
using namespace galvatron::nn;

/// A sum of more elements than this over everything is taken in two steps, so that threads can share the first.
static constexpr int64_t largeSum = 16384;

namespace {

/// A group with everything that its kernel computes.
struct KernelDraft {
  SmallVector<Operation *> members;
  SmallVector<Operation *> ops; ///< members, and what they read through
  llvm::SetVector<Value> inputs;
  SmallVector<Value> outputs;
  OwningOpRef<func::FuncOp> kernel;
  std::string text; ///< of the kernel, by which equal ones are found
};

class FunctionKernels {
public:
  FunctionKernels(func::FuncOp function, llvm::StringMap<FlatSymbolRefAttr> &known, SymbolTable &symbols)
      : function(function), block(function.getBody().front()), known(known), symbols(symbols) {}
  void run();

private:
  void splitSums();
  void draft();
  bool prune();
  func::FuncOp build(KernelDraft &draft);
  bool buildAll();

  func::FuncOp function;
  Block &block;
  llvm::StringMap<FlatSymbolRefAttr> &known;
  SymbolTable &symbols;
  std::vector<KernelDraft> drafts;
  llvm::DenseSet<Operation *> alone;
};

} // namespace

void FunctionKernels::splitSums() {
  for (auto reduce : llvm::make_early_inc_range(block.getOps<ReduceOp>())) {
    RankedTensorType type = tensorType(reduce.getOperand());
    if (reduce.getType().getNumElements() != 1 || type.getNumElements() <= largeSum)
      continue;
    OpBuilder b(reduce);
    Value operand = reduce.getOperand();
    SmallVector<int64_t> shape;
    for (int64_t size : type.getShape())
      if (size != 1)
        shape.push_back(size);
    if (shape.size() == 1) {
      // The largest divisor that leaves enough for a row.
      int64_t rows = 1;
      for (int64_t n = 2; n * n <= shape[0]; ++n)
        if (shape[0] % n == 0 && shape[0] / n >= 256)
          rows = n;
      if (rows == 1)
        continue;
      shape = {rows, shape[0] / rows};
    }
    size_t outer = 1;
    int64_t rows = shape[0];
    while (outer + 1 < shape.size() && rows < 64)
      rows *= shape[outer++];
    SmallVector<int64_t> inner, outerDims;
    for (size_t dim = 0; dim < shape.size(); ++dim)
      (dim < outer ? outerDims : inner).push_back(dim);
    auto split = RankedTensorType::get(shape, type.getElementType());
    if (split != type)
      operand = b.create<ReshapeOp>(reduce.getLoc(), split, operand);
    Value partial = b.create<ReduceOp>(reduce.getLoc(), reduce.getKind(), operand, b.getDenseI64ArrayAttr(inner));
    Value total = b.create<ReduceOp>(reduce.getLoc(), reduce.getKind(), partial, b.getDenseI64ArrayAttr(outerDims));
    if (total.getType() != reduce.getType())
      total = b.create<ReshapeOp>(reduce.getLoc(), reduce.getType(), total);
    reduce.replaceAllUsesWith(total);
    reduce.erase();
  }
}

void FunctionKernels::draft() {
  drafts.clear();
  llvm::DenseMap<Operation *, unsigned> order;
  for (auto [i, op] : llvm::enumerate(block))
    order[&op] = i;
  KernelGrouping grouping(block, alone);
  for (const KernelGroup &group : grouping.getGroups()) {
    if (group.members.empty())
      continue;
    KernelDraft draft;
    draft.members = group.members;
    llvm::DenseSet<Operation *> inside(group.members.begin(), group.members.end());
    SmallVector<Operation *> open(group.members);
    while (!open.empty())
      for (Value operand : open.pop_back_val()->getOperands())
        if (Operation *producer = operand.getDefiningOp())
          if (!inside.contains(producer) && grouping.isRecomputed(producer, group)) {
            inside.insert(producer);
            open.push_back(producer);
          }
    // A view of something that comes from outside is made outside.
    for (bool changed = true; changed;) {
      changed = false;
      SmallVector<Operation *> views;
      for (Operation *op : inside)
        if (isa<ReshapeOp>(op)) {
          Operation *source = op->getOperand(0).getDefiningOp();
          if (!source || !inside.contains(source))
            views.push_back(op);
        }
      for (Operation *view : views)
        changed |= inside.erase(view);
    }
    draft.ops.assign(inside.begin(), inside.end());
    llvm::sort(draft.ops, [&](Operation *a, Operation *b) { return order[a] < order[b]; });
    drafts.push_back(std::move(draft));
  }
  // What a kernel must hand out follows from what others read, which follows from what they hand out.
  while (prune()) {
  }
}

bool FunctionKernels::prune() {
  llvm::DenseSet<Operation *> inKernels;
  for (KernelDraft &draft : drafts) {
    draft.inputs.clear();
    inKernels.insert(draft.ops.begin(), draft.ops.end());
    llvm::DenseSet<Operation *> inside(draft.ops.begin(), draft.ops.end());
    for (Operation *op : draft.ops)
      for (Value operand : op->getOperands())
        if (!operand.getDefiningOp() || !inside.contains(operand.getDefiningOp()))
          draft.inputs.insert(operand);
  }
  // What is read outside: by other kernels, library calls and the return, directly or as a view.
  llvm::DenseSet<Value> needed;
  auto need = [&](Value value) {
    needed.insert(value);
    while (auto view = value.getDefiningOp<ReshapeOp>()) {
      value = view.getOperand();
      needed.insert(value);
    }
  };
  for (KernelDraft &draft : drafts)
    for (Value input : draft.inputs)
      need(input);
  for (Operation &op : block)
    if (!isa<ElementOpInterface, ReduceOp, CumsumOp>(op) || isPartOfLibraryAdd(&op))
      for (Value operand : op.getOperands())
        need(operand);
  bool changed = false;
  for (KernelDraft &draft : drafts) {
    draft.outputs.clear();
    llvm::DenseSet<Operation *> alive;
    SmallVector<Operation *> open;
    for (Operation *member : draft.members)
      if (needed.contains(member->getResult(0))) {
        draft.outputs.push_back(member->getResult(0));
        open.push_back(member);
      }
    llvm::DenseSet<Operation *> inside(draft.ops.begin(), draft.ops.end());
    while (!open.empty()) {
      Operation *op = open.pop_back_val();
      if (alive.insert(op).second)
        for (Value operand : op->getOperands())
          if (Operation *producer = operand.getDefiningOp(); producer && inside.contains(producer))
            open.push_back(producer);
    }
    auto isDead = [&](Operation *op) { return !alive.contains(op); };
    changed |= llvm::any_of(draft.ops, isDead);
    llvm::erase_if(draft.ops, isDead);
    llvm::erase_if(draft.members, isDead);
  }
  llvm::erase_if(drafts, [](const KernelDraft &draft) { return draft.members.empty(); });
  return changed;
}

/// The results that depend on `input`, if it is read only at the element that is being written: if every way to them
/// goes through elementwise ops and views alone.
static SmallVector<unsigned> resultsInStep(BlockArgument input, Operation *terminator) {
  SmallVector<unsigned> results;
  SmallVector<Value> open{input};
  llvm::DenseSet<Value> seen;
  while (!open.empty()) {
    Value value = open.pop_back_val();
    if (!seen.insert(value).second)
      continue;
    for (OpOperand &use : value.getUses()) {
      Operation *user = use.getOwner();
      if (user == terminator)
        results.push_back(use.getOperandNumber());
      else if (user->hasTrait<OpTrait::Elementwise>() || isa<ReshapeOp>(user))
        llvm::append_range(open, user->getResults());
      else
        return {};
    }
  }
  return results;
}

/// Says which results and inputs must share memory (`rt.inplace`, for updates) and which may (`rt.may_inplace`).
static void pairInPlace(func::FuncOp kernel) {
  OpBuilder b(kernel.getContext());
  Block &body = kernel.getBody().front();
  Operation *terminator = body.getTerminator();
  if (!llvm::all_of(body.without_terminator(), [](Operation &op) { return isa<ElementOpInterface>(op); }))
    return;
  // Inputs that few results depend on first: the moments of an update are read for the parameter as well.
  SmallVector<std::pair<BlockArgument, SmallVector<unsigned>>> inputs;
  for (BlockArgument input : kernel.getArguments())
    inputs.emplace_back(input, resultsInStep(input, terminator));
  llvm::sort(inputs, [](const auto &x, const auto &y) {
    return std::pair(x.second.size(), x.first.getArgNumber()) < std::pair(y.second.size(), y.first.getArgNumber());
  });
  llvm::DenseSet<unsigned> taken;
  SmallVector<Attribute> must, may;
  for (auto &[input, results] : inputs)
    for (unsigned number : results) {
      Value result = terminator->getOperand(number);
      if (result.getType() != input.getType() || !taken.insert(number).second)
        continue;
      bool isUpdate = result.getDefiningOp()->hasAttr("rt.in_place");
      (isUpdate ? must : may).push_back(b.getI64ArrayAttr({int64_t(number), int64_t(input.getArgNumber())}));
      break;
    }
  if (!must.empty())
    kernel->setAttr(rt::inplaceAttr, b.getArrayAttr(must));
  if (!may.empty())
    kernel->setAttr(rt::mayInplaceAttr, b.getArrayAttr(may));
  for (Operation &op : body)
    op.removeAttr("rt.in_place");
}

func::FuncOp FunctionKernels::build(KernelDraft &draft) {
  OpBuilder b(function.getContext());
  SmallVector<Type> inputs, outputs;
  for (Value input : draft.inputs)
    inputs.push_back(input.getType());
  for (Value output : draft.outputs)
    outputs.push_back(output.getType());
  Location loc = draft.members.front()->getLoc();
  auto kernel = func::FuncOp::create(loc, "kernel", b.getFunctionType(inputs, outputs));
  kernel.setPrivate();
  kernel->setAttr(rt::kernelAttr, b.getUnitAttr());
  Block *body = kernel.addEntryBlock();
  b.setInsertionPointToStart(body);
  IRMapping mapping;
  mapping.map(draft.inputs.getArrayRef(), body->getArguments());
  for (Operation *op : draft.ops)
    b.clone(*op, mapping);
  SmallVector<Value> results;
  for (Value output : draft.outputs)
    results.push_back(mapping.lookup(output));
  b.create<func::ReturnOp>(loc, results);
  pairInPlace(kernel);
  return kernel;
}

bool FunctionKernels::buildAll() {
  bool ok = true;
  for (KernelDraft &draft : drafts) {
    draft.kernel = build(draft);
    draft.text.clear();
    llvm::raw_string_ostream os(draft.text);
    draft.kernel->print(os, OpPrintingFlags().useLocalScope());
    // What does not fit into one loop over rows is taken apart.
    if (draft.members.size() == 1 || known.contains(draft.text))
      continue;
    ScopedDiagnosticHandler quiet(function.getContext(), [](Diagnostic &) { return success(); });
    if (succeeded(emitKernel(*draft.kernel)))
      continue;
    alone.insert(draft.members.begin(), draft.members.end());
    ok = false;
  }
  return ok;
}

void FunctionKernels::run() {
  IRRewriter rewriter(function.getContext());
  DominanceInfo dominance(function);
  eliminateCommonSubExpressions(rewriter, dominance, function);
  splitSums();
  draft();
  while (!buildAll())
    draft();
  llvm::DenseMap<Value, Value> replaced;
  for (KernelDraft &draft : drafts) {
    // Equal kernels, whatever they were made for, are one function.
    FlatSymbolRefAttr &name = known[draft.text];
    if (!name) {
      func::FuncOp added = draft.kernel.release();
      symbols.insert(added, function->getBlock()->end());
      name = FlatSymbolRefAttr::get(added.getSymNameAttr());
    }
    SmallVector<Type> types;
    for (Value output : draft.outputs)
      types.push_back(output.getType());
    SmallVector<Value> inputs;
    for (Value input : draft.inputs)
      inputs.push_back(replaced.contains(input) ? replaced.lookup(input) : input);
    OpBuilder b(draft.members.back());
    auto launch = b.create<rt::LaunchOp>(draft.members.back()->getLoc(), types, name, inputs);
    for (auto [output, result] : llvm::zip(draft.outputs, launch.getResults())) {
      output.replaceAllUsesWith(result);
      replaced[output] = result;
    }
  }
  for (Operation &op : llvm::make_early_inc_range(llvm::reverse(block)))
    if (op.use_empty() && isPure(&op) && op.getNumResults() > 0)
      op.erase();
  sortTopologically(&block);
}

/// Notes which op of the model makes each result of a stage function, as far as locations say: reports call it by that.
static void nameResults(func::FuncOp function) {
  for (auto [index, value] : llvm::enumerate(function.front().getTerminator()->getOperands())) {
    Operation *op = value.getDefiningOp();
    NameLoc name;
    if (op)
      op->getLoc()->walk([&](Location part) {
        name = dyn_cast<NameLoc>(part);
        return name ? WalkResult::interrupt() : WalkResult::advance();
      });
    if (name)
      function.setResultAttr(index, rt::nameAttr, name.getName());
  }
}

namespace {

struct FormKernelsPass : galvatron::impl::FormKernelsPassBase<FormKernelsPass> {
  using FormKernelsPassBase::FormKernelsPassBase;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    SymbolTable symbols(module);
    llvm::StringMap<FlatSymbolRefAttr> known;
    SmallVector<func::FuncOp> functions;
    for (auto function : module.getOps<func::FuncOp>())
      if (!function->hasAttr(rt::kernelAttr) && !function.isExternal())
        functions.push_back(function);
    for (func::FuncOp function : functions) {
      nameResults(function);
      FunctionKernels(function, known, symbols).run();
    }
  }
};

} // namespace
