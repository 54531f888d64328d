//===- PrintPlan.cpp - What a plan means, for people ----------------------===//

#include "Chain.h"
#include "TensorSplits.h"
#include "dialects/NN/Rows.h"
#include "galvatron/Plan/Passes.h"
#include "galvatron/Plan/PlanModule.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/MathExtras.h"

#include <set>

using namespace mlir;
using namespace galvatron;

namespace galvatron {
#define GEN_PASS_DEF_DISTPRINTPLANPASS
#include "galvatron/Plan/Passes.h.inc"
} // namespace galvatron

namespace {

/// Ranks whose rows are listed one by one, and parameters.
constexpr int64_t mostRanks = 16;

class PlanPrinter {
public:
  PlanPrinter(ModuleOp module, dist::MeshOp mesh, llvm::raw_ostream &os) : module(module), mesh(mesh), os(os), symbols(module) {}
  void print();

private:
  /// Blocks one behind the other with one function and one strategy.
  struct Run {
    std::string first, last;
    nn::ForwardOp call;
    dist::StrategyOp strategy;
    int64_t stage;
  };
  /// A dimension of a parameter that axes split.
  struct PieceDim {
    SmallVector<StringAttr> axes;
    int64_t count = 1;
  };

  void collect();
  void printMesh();
  void printRun(const Run &run);
  void printSplits(const Run &run, const BlockFunction &block);
  void printOps();
  void printRows();
  void printParameters();
  void splitParameters();
  std::string describeAxes(ArrayRef<StringAttr> axes);
  int64_t sizeOf(ArrayRef<StringAttr> axes);
  dist::StrategyOp strategyOf(Operation *call) {
    auto name = call->getAttrOfType<FlatSymbolRefAttr>(dist::strategyAttrName);
    return name ? symbols.lookup<dist::StrategyOp>(name.getAttr()) : dist::StrategyOp();
  }

  ModuleOp module;
  dist::MeshOp mesh;
  llvm::raw_ostream &os;
  SymbolTable symbols;
  func::FuncOp step;
  SmallVector<Run> runs;
  llvm::MapVector<StringAttr, BlockFunction> blocks;
  llvm::DenseMap<Attribute, SmallVector<PieceDim>> pieces; ///< of a parameter
  llvm::DenseMap<Attribute, std::set<int64_t>> stagesOf;   ///< of a parameter: those whose blocks read it
};

std::string describeType(ArrayRef<int64_t> shape) {
  std::string text;
  for (int64_t size : shape)
    text += (text.empty() ? "" : "x") + std::to_string(size);
  return text.empty() ? "1" : text;
}

} // namespace

int64_t PlanPrinter::sizeOf(ArrayRef<StringAttr> axes) {
  int64_t size = 1;
  for (StringAttr axis : axes)
    size *= mesh.getAxisSize(axis.getValue());
  return size;
}

/// `4 over "a", "b"`; "1" over none.
std::string PlanPrinter::describeAxes(ArrayRef<StringAttr> axes) {
  std::string text = std::to_string(sizeOf(axes));
  for (auto [i, axis] : llvm::enumerate(axes))
    text += (i == 0 ? " over \"" : ", \"") + axis.str() + "\"";
  return text;
}

/// The axes of a role that are in space.
static SmallVector<StringAttr> getRankAxes(dist::StrategyOp strategy, StringRef role) {
  SmallVector<StringAttr> axes = strategy.getRole(role);
  llvm::erase_if(axes, [](StringAttr axis) { return axis == dist::timeAxis; });
  return axes;
}

void PlanPrinter::collect() {
  blocks = getBlockFunctions(module);
  for (const ChainLink &link : getChain(step)) {
    dist::StrategyOp strategy = strategyOf(link.call);
    if (!strategy)
      continue;
    std::string name = link.describe();
    auto number = link.call->getAttrOfType<IntegerAttr>(dist::stageAttrName);
    int64_t stage = number ? number.getInt() : 0;
    for (Value input : nn::ForwardOp(link.call).getInputs())
      if (auto read = input.getDefiningOp<nn::GetParameterOp>())
        stagesOf[read.getParameterAttr()].insert(stage);
    bool goesOn = !runs.empty() && runs.back().stage == stage && link.role == ChainLink::Block && runs.back().strategy == strategy &&
                  nn::ForwardOp(runs.back().call).getCallee() == nn::ForwardOp(link.call).getCallee();
    if (goesOn)
      runs.back().last = name;
    else
      runs.push_back({name, name, link.call, strategy, stage});
  }
}

void PlanPrinter::printMesh() {
  int64_t ranks = 1;
  for (int64_t size : mesh.getAxisSizes())
    ranks *= size;
  int64_t batch = nn::getBatch(step), count = mesh.getMicroBatches();
  os << "plan: " << ranks << (ranks == 1 ? " rank" : " ranks");
  if (ranks > 1) {
    os << ", mesh " << describeMesh(mesh.getAxisSizes()) << " (";
    for (auto [i, name] : llvm::enumerate(mesh.getAxisNames().getAsRange<StringAttr>()))
      os << (i ? ", " : "") << name << " = " << mesh.getAxisSizes()[i];
    os << "; slowest link first)";
  }
  os << "\nbatch: " << batch << " rows in " << count << (count == 1 ? " micro-batch of " : " micro-batches of ") << batch / count << "\n";
  if (mesh.getStages() > 1) {
    auto order = mesh->getAttrOfType<StringAttr>(dist::scheduleAttrName);
    SmallVector<StringAttr> names(mesh.getAxisNames().getAsRange<StringAttr>());
    os << "pipeline: stages, " << describeAxes(ArrayRef(names).take_front(mesh.getNumStageAxes())) << ", "
       << (order ? order.getValue() : stringifySchedule(PlanSchedule::OneFOneB)) << "\n";
  }
}

/// Which logical dimensions the strategy's splits split, and in which parameters they are.
void PlanPrinter::printSplits(const Run &run, const BlockFunction &block) {
  ArrayAttr list = dist::StrategyOp(run.strategy).getSplits().value_or(ArrayAttr::get(module.getContext(), {}));
  SmallVector<dist::SplitAttr> left(list.getAsRange<dist::SplitAttr>().begin(), list.getAsRange<dist::SplitAttr>().end());
  if (left.empty())
    return;
  InnerDimensions inside(block.joint, block.parameters, block.handedOut);
  func::FuncOp joint = block.joint;
  auto nameOf = [&](Value value, int64_t dim) -> std::string {
    for (auto attention : joint.front().getOps<nn::AttentionOp>()) {
      int64_t group = nn::tensorType(attention.getQuery()).getDimSize(3);
      if (inside.isSame(value, dim, attention.getKey(), 2) || inside.isSame(value, dim, attention.getQuery(), 2))
        return group == 1 ? "heads" : "kv heads";
      if (inside.isSame(value, dim, attention.getQuery(), 3))
        return "query heads of each kv head";
    }
    for (auto embedding : joint.front().getOps<nn::EmbeddingOp>())
      if (inside.isSame(value, dim, embedding.getTable(), 0))
        return "rows of the vocabulary";
    for (auto loss : joint.front().getOps<nn::CrossEntropyOp>())
      if (inside.isSame(value, dim, loss.getLogits(), nn::tensorType(loss.getLogits()).getRank() - 1))
        return "rows of the vocabulary";
    return "hidden units";
  };
  while (!left.empty()) {
    Value value = joint.getArgument(left.front().getInput());
    int64_t dim = left.front().getDim(), size = nn::tensorType(value).getDimSize(dim);
    SmallVector<StringAttr> axes(left.front().getAxes().getAsRange<StringAttr>());
    int64_t pieces = sizeOf(axes);
    os << "    " << size << " " << nameOf(value, dim) << ": " << llvm::divideCeil(size, pieces) << " on each of " << describeAxes(axes)
       << (size % pieces ? " (the last padded); in" : "; in");
    bool isFirst = true;
    llvm::erase_if(left, [&](dist::SplitAttr split) {
      Value other = joint.getArgument(split.getInput());
      if (!inside.isSame(value, dim, other, split.getDim()))
        return false;
      // Of the first block that the run has.
      auto read = nn::ForwardOp(run.call).getInputs()[split.getInput()].getDefiningOp<nn::GetParameterOp>();
      os << (isFirst ? " " : ", ") << (read ? read.getParameter() : StringRef(block.names[split.getInput()])) << " dim " << split.getDim();
      isFirst = false;
      return true;
    });
    os << "\n";
  }
}

void PlanPrinter::printRun(const Run &run) {
  StringRef callee = nn::ForwardOp(run.call).getCallee();
  dist::StrategyOp strategy = run.strategy;
  SmallVector<StringAttr> data = getRankAxes(strategy, dist::batchRole), tensor = getRankAxes(strategy, dist::tensorRole);
  os << "\n" << run.first;
  if (run.first != run.last)
    os << " to " << run.last;
  os << " (@" << callee << ")";
  if (mesh.getStages() > 1)
    os << " on stage " << run.stage;
  os << ": dp " << describeAxes(data) << ", tp " << describeAxes(tensor) << "\n";
  int64_t rows = nn::getBatch(step) / mesh.getMicroBatches();
  os << "    " << rows << " rows of a micro-batch: " << rows / sizeOf(data) << " on each of " << describeAxes(data) << "\n";
  const BlockFunction &block = blocks.find(StringAttr::get(module.getContext(), callee))->second;
  printSplits(run, block);
  for (auto op : strategy.getOps().value_or(ArrayAttr::get(module.getContext(), {})).getAsRange<dist::OpAttr>()) {
    os << "    op " << op.getName() << ": ";
    if (op.getSplits().empty())
      os << "whole";
    for (auto [i, split] : llvm::enumerate(op.getSplits().getAsRange<dist::SplitAttr>()))
      os << (i ? "; " : "") << "operand " << split.getInput() << ", dim " << split.getDim() << " by "
         << describeAxes(SmallVector<StringAttr>(split.getAxes().getAsRange<StringAttr>()));
    os << "\n";
  }
}

/// The names by which a plan file can speak of ops.
void PlanPrinter::printOps() {
  for (const auto &[callee, block] : blocks) {
    os << "\nops of @" << callee.getValue() << "\n";
    for (const auto &[op, name] : nameOps(block)) {
      os << "    " << name << ": " << op->getName().stripDialect() << " of ";
      for (auto [i, operand] : llvm::enumerate(op->getOperands()))
        os << (i ? ", " : "") << describeType(nn::tensorType(operand).getShape());
      os << (op->getNumOperands() ? "" : "nothing") << "\n";
    }
  }
}

/// Which rows of the batch each rank computes in the first micro-batch.
void PlanPrinter::printRows() {
  int64_t ranks = 1, rows = nn::getBatch(step) / mesh.getMicroBatches();
  for (int64_t size : mesh.getAxisSizes())
    ranks *= size;
  // Of each stage: runs whose batch is split alike are one column.
  std::vector<llvm::MapVector<Attribute, std::string>> columnsOf(mesh.getStages());
  for (Run &run : runs) {
    Attribute axes = run.strategy.getRoles().get(dist::batchRole);
    std::string &names = columnsOf[run.stage][axes];
    names += (names.empty() ? "" : ", ") + run.first + (run.first == run.last ? "" : " to " + run.last);
  }
  os << "\nrows of micro-batch 0";
  if (mesh.getMicroBatches() > 1)
    os << " (in micro-batch m: " << rows << " m more)";
  os << "\n";
  SmallVector<StringAttr> all(mesh.getAxisNames().getAsRange<StringAttr>());
  for (int64_t rank = 0; rank < std::min(ranks, mostRanks); ++rank) {
    llvm::DenseMap<Attribute, int64_t> place;
    int64_t inside = rank;
    for (StringAttr axis : llvm::reverse(all)) {
      place[axis] = inside % mesh.getAxisSize(axis.getValue());
      inside /= mesh.getAxisSize(axis.getValue());
    }
    os << "    rank " << rank;
    for (auto [i, axis] : llvm::enumerate(all))
      os << (i ? ", " : " (") << axis.getValue() << " " << place[axis];
    os << (all.empty() ? ":" : "):");
    const auto &columns = columnsOf[rank / (ranks / mesh.getStages())];
    for (auto [i, column] : llvm::enumerate(columns)) {
      int64_t number = 0, count = 1;
      for (auto axis : cast<ArrayAttr>(column.first).getAsRange<StringAttr>()) {
        if (axis == dist::timeAxis)
          continue;
        number = number * mesh.getAxisSize(axis.getValue()) + place[axis];
        count *= mesh.getAxisSize(axis.getValue());
      }
      int64_t first = number * (rows / count), last = first + rows / count - 1;
      os << (i ? "; " : " ") << first;
      if (last > first)
        os << " to " << last;
      if (columns.size() > 1)
        os << " (" << column.second << ")";
    }
    os << "\n";
  }
  if (ranks > mostRanks)
    os << "    and so on, up to rank " << ranks - 1 << "\n";
}

/// Finds how each parameter is stored: as the first call that splits it over an axis reads it, or as an op that a strategy names.
void PlanPrinter::splitParameters() {
  for (auto axis : mesh.getAxisNames().getAsRange<StringAttr>()) {
    llvm::DenseMap<Attribute, int64_t> dims; // -1: an op that is named needs it whole
    for (const Run &run : runs)
      for (nn::ForwardOp call : blocks.find(nn::ForwardOp(run.call).getCalleeAttr().getAttr())->second.calls) {
        dist::StrategyOp strategy = strategyOf(call);
        if (strategy != run.strategy || !llvm::is_contained(strategy.getRole(dist::tensorRole), axis))
          continue;
        auto parameterOf = [&](unsigned input) {
          auto read = call.getInputs()[input].getDefiningOp<nn::GetParameterOp>();
          return read ? read.getParameterAttr() : FlatSymbolRefAttr();
        };
        auto joint = symbols.lookup<func::FuncOp>(call.getCallee());
        for (auto over : strategy.getOps().value_or(ArrayAttr::get(module.getContext(), {})).getAsRange<dist::OpAttr>())
          for (Operation &op : joint.front())
            if (op.getAttr(dist::opAttrName) == over.getName())
              for (OpOperand &operand : op.getOpOperands())
                if (auto argument = dyn_cast<BlockArgument>(operand.get()); argument && argument.getArgNumber() < call.getInputs().size())
                  if (auto parameter = parameterOf(argument.getArgNumber())) {
                    int64_t dim = -1;
                    for (auto split : over.getSplits().getAsRange<dist::SplitAttr>())
                      if (split.getInput() == operand.getOperandNumber() && llvm::is_contained(split.getAxes(), axis))
                        dim = split.getDim();
                    dims[parameter] = dim;
                  }
        for (auto split : strategy.getSplits().value_or(ArrayAttr::get(module.getContext(), {})).getAsRange<dist::SplitAttr>())
          if (llvm::is_contained(split.getAxes(), axis))
            if (auto parameter = parameterOf(split.getInput()))
              dims.try_emplace(parameter, split.getDim());
      }
    for (auto [parameter, dim] : dims) {
      if (dim < 0)
        continue;
      SmallVector<PieceDim> &list = pieces[parameter];
      list.resize(std::max<size_t>(list.size(), dim + 1));
      list[dim].axes.push_back(axis);
      list[dim].count *= mesh.getAxisSize(axis.getValue());
    }
  }
}

void PlanPrinter::printParameters() {
  splitParameters();
  os << "\nparameters of each rank\n";
  int64_t all = 0;
  std::vector<int64_t> held(mesh.getStages(), 0);
  for (auto parameter : module.getOps<nn::ParameterOp>()) {
    if (parameter.getKind() == nn::ParameterKind::State)
      continue;
    auto type = cast<RankedTensorType>(parameter.getType());
    SmallVector<int64_t> shape(type.getShape());
    std::string where;
    for (auto [dim, piece] : llvm::enumerate(pieces[FlatSymbolRefAttr::get(parameter.getSymNameAttr())])) {
      if (piece.axes.empty())
        continue;
      shape[dim] = llvm::divideCeil(shape[dim], piece.count);
      where += (where.empty() ? ", dim " : "; dim ") + std::to_string(dim) + " by " + describeAxes(piece.axes);
    }
    int64_t width = std::max<int64_t>(type.getElementTypeBitWidth() / 8, 1), elements = 1;
    for (int64_t size : shape)
      elements *= size;
    all += type.getNumElements() * width;
    // One that nobody reads is the first stage's.
    std::set<int64_t> stages = stagesOf.lookup(FlatSymbolRefAttr::get(parameter.getSymNameAttr()));
    if (stages.empty())
      stages = {0};
    for (int64_t stage : stages)
      held[stage] += elements * width;
    os << "    " << parameter.getSymName() << ": " << describeType(shape);
    if (!where.empty())
      os << " of " << describeType(type.getShape()) << where;
    os << ", " << elements * width << " bytes";
    if (held.size() > 1) {
      os << (stages.size() > 1 ? ", stages " : ", stage ");
      llvm::interleave(stages, os, " and ");
    }
    os << "\n";
  }
  if (held.size() == 1)
    os << "    all: " << held.front() << " bytes of " << all << "\n";
  for (int64_t stage = 0, count = held.size(); count > 1 && stage < count; ++stage)
    os << "    all of stage " << stage << ": " << held[stage] << " bytes of " << all << "\n";
}

void PlanPrinter::print() {
  SmallVector<func::FuncOp> steps = getPlannedSteps(module);
  if (steps.empty())
    return;
  step = steps.front();
  collect();
  printMesh();
  for (const Run &run : runs)
    printRun(run);
  printRows();
  printParameters();
  printOps();
}

void galvatron::explainPlan(ModuleOp module, llvm::raw_ostream &os) {
  auto meshes = module.getOps<dist::MeshOp>();
  if (!meshes.empty())
    PlanPrinter(module, *meshes.begin(), os).print();
}

namespace {

class PrintPlan : public galvatron::impl::DistPrintPlanPassBase<PrintPlan> {
  void runOnOperation() override {
    explainPlan(getOperation(), llvm::outs());
    markAllAnalysesPreserved();
  }
};

} // namespace
