//===- ProgramImage.cpp - The program table as the words of galvatron_rt.h ===//

#include "galvatron/Target/ProgramImage.h"

#include "dialects/Dist/Dist.h"
#include "dialects/NN/NN.h"
#include "galvatron/Codegen/Records.h"
#include "mlir/IR/SymbolTable.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/ADT/StringSwitch.h"

#include <map>
#include <set>

using namespace mlir;
using namespace galvatron;

namespace {

/// What the images of all stages agree in.
struct Shared {
  Shared(ModuleOp module, ArrayRef<rt::ProgramOp> programs);

  SmallVector<rt::ParameterOp> parameters;       ///< each once, on the first stage that has it
  llvm::StringMap<int64_t> contents;             ///< of saved tensors: bits of state kinds
  llvm::MapVector<StringRef, rt::TensorOp> files; ///< inputs and labels, each once
  std::vector<std::vector<int64_t>> groups;      ///< axes
  int64_t stagingGroup = -1;
  int64_t maxSent = 0;

private:
  int64_t addGroup(ArrayRef<int64_t> axes);
  void addMessages(rt::TableOp table);
};

class ImageBuilder {
public:
  ImageBuilder(rt::ProgramOp program, const Shared &shared, const ProgramInfo &info)
      : program(program), shared(shared), module(program->getParentOfType<ModuleOp>()), symbols(module), info(info) {}
  FailureOr<ProgramImage> build();

private:
  int64_t addString(StringRef string);
  int64_t addDims(ArrayRef<int64_t> values);
  int64_t addTensor(StringRef name, int64_t role, rt::BufferType type, int64_t offset, int64_t batchDim = -1);
  int64_t addSaved(nn::ParameterOp symbol);
  void addSplits(int64_t tensor, nn::ParameterOp symbol);
  bool declareParameter(rt::ParameterOp op);
  void addParameter(rt::ParameterOp op, int64_t primary);
  void addStates();
  void addFunctions();
  void addTable(rt::TableOp table, std::vector<galvatron_rt_row_record> &rows);
  void addRun(rt::RunOp run, std::vector<galvatron_rt_row_record> &rows);
  void addConfig();
  int64_t getOffset(Value buffer);
  void addArg(Value buffer, int64_t access);
  int64_t getGroup(ArrayRef<int64_t> axes);
  void addCollective(int64_t action, Value input, Value output, ArrayRef<int64_t> axes, IntegerAttr microBatch, int64_t monoid,
                     std::vector<galvatron_rt_row_record> &rows);

  template <typename Record> void addSection(int64_t kind, const std::vector<Record> &records);

  void addMessage(int64_t action, Value value, int64_t peer, IntegerAttr microBatch, std::vector<galvatron_rt_row_record> &rows);

  rt::ProgramOp program;
  const Shared &shared;
  ModuleOp module;
  SymbolTable symbols;
  const ProgramInfo &info;
  ProgramImage image;

  llvm::StringMap<int64_t> stringOffsets;
  std::vector<int64_t> dims;
  std::vector<galvatron_rt_tensor_record> tensors;
  std::vector<galvatron_rt_saved_record> saved;
  std::vector<galvatron_rt_view_record> views;
  std::vector<galvatron_rt_split_record> splits;
  std::vector<galvatron_rt_alias_record> aliases;
  std::vector<galvatron_rt_state_record> states;
  std::vector<galvatron_rt_matmul_record> matmuls;
  std::vector<galvatron_rt_conv_record> convs;
  std::vector<galvatron_rt_function_record> functions;
  std::vector<galvatron_rt_row_record> trainRows, forwardRows;
  std::vector<galvatron_rt_arg_record> args;
  std::vector<galvatron_rt_axis_record> axes;
  std::vector<galvatron_rt_group_record> groups;
  std::vector<galvatron_rt_shift_record> shifts;
  std::vector<galvatron_rt_config_record> config;
  llvm::StringMap<SmallVector<nn::ParameterOp>> viewsOf; // parameters that show a saved tensor
  llvm::DenseSet<int64_t> aliasNames;
  llvm::StringMap<int64_t> savedIndex, tensorIndex, functionIndex, outputIndex;
  std::vector<galvatron_rt_section> sections;
  std::vector<int64_t> records;
};

} // namespace

static int64_t getDtype(Type type) {
  if (type.isF32())
    return GALVATRON_RT_F32;
  return type.isInteger(64) ? GALVATRON_RT_I64 : GALVATRON_RT_I1;
}

/// Optimizer state is called after its parameter: `w.exp_avg`. The parameter, and the galvatron_rt_state_kind or -1.
static std::pair<StringRef, int64_t> parseState(StringRef name) {
  auto [parameter, suffix] = name.rsplit('.');
  int64_t kind = llvm::StringSwitch<int64_t>(suffix)
                     .Case("exp_avg", GALVATRON_RT_STATE_EXP_AVG)
                     .Case("exp_avg_sq", GALVATRON_RT_STATE_EXP_AVG_SQ)
                     .Case("momentum_buffer", GALVATRON_RT_STATE_MOMENTUM_BUFFER)
                     .Default(-1);
  return {parameter, kind};
}

Shared::Shared(ModuleOp module, ArrayRef<rt::ProgramOp> programs) {
  SymbolTable symbols(module);
  llvm::StringMap<rt::ParameterOp> first;
  std::set<int64_t> split;
  for (rt::ProgramOp program : programs) {
    for (int64_t axis = 0, ranks = 1; ranks < int64_t(program.getStages()); ++axis) {
      split.insert(axis);
      ranks *= program.getAxisSizes()[axis];
    }
    for (auto op : program.getBody().front().getOps<rt::ParameterOp>()) {
      first.try_emplace(op.getParameter(), op);
      auto [name, kind] = parseState(op.getParameter());
      if (auto parameter = symbols.lookup<nn::ParameterOp>(name); parameter && kind >= 0)
        contents[parameter.getSaved()] |= int64_t(1) << kind;
      if (auto layout = symbols.lookup(op.getParameter())->getAttrOfType<dist::LayoutAttr>(dist::layoutAttrName))
        for (Attribute axes : layout.getDims())
          for (Attribute axis : cast<ArrayAttr>(axes))
            split.insert(llvm::find(program.getAxisNames(), axis) - program.getAxisNames().begin());
    }
    for (auto op : program.getBody().front().getOps<rt::TensorOp>())
      if (op.getRole() == rt::Role::Input || op.getRole() == rt::Role::Labels)
        files.insert({op.getName(), op});
    program.walk([&](Operation *op) {
      if (auto reduce = dyn_cast<rt::AllReduceOp>(op))
        addGroup(reduce.getAxes());
      else if (auto gather = dyn_cast<rt::AllGatherOp>(op))
        addGroup(gather.getAxes());
      else if (auto gradient = dyn_cast<rt::GradientOp>(op))
        contents[symbols.lookup<nn::ParameterOp>(gradient.getParameter()).getSaved()] |= 1 << GALVATRON_RT_STATE_GRADIENT;
      else if (auto table = dyn_cast<rt::TableOp>(op))
        addMessages(table);
    });
  }
  for (auto parameter : module.getOps<nn::ParameterOp>())
    if (auto found = first.find(parameter.getSymName()); found != first.end())
      parameters.push_back(found->second);
  if (!split.empty())
    stagingGroup = addGroup(SmallVector<int64_t>(split.begin(), split.end()));
}

int64_t Shared::addGroup(ArrayRef<int64_t> axes) {
  auto found = llvm::find_if(groups, [&](const std::vector<int64_t> &group) { return axes == ArrayRef(group); });
  if (found == groups.end())
    found = groups.insert(groups.end(), axes.vec());
  return found - groups.begin();
}

void Shared::addMessages(rt::TableOp table) {
  std::map<int64_t, int64_t> underway; // to each stage
  for (Operation &row : table.getBody().front())
    if (auto send = dyn_cast<rt::SendOp>(row))
      maxSent = std::max(maxSent, ++underway[send.getPeer()]);
    else if (auto wait = dyn_cast<rt::WaitSentOp>(row))
      --underway[wait.getPeer()];
}

int64_t ImageBuilder::addString(StringRef string) {
  auto [found, isNew] = stringOffsets.try_emplace(string, image.strings.size());
  if (isNew) {
    image.strings += string;
    image.strings.push_back('\0');
  }
  return found->second;
}

int64_t ImageBuilder::addDims(ArrayRef<int64_t> values) {
  int64_t first = dims.size();
  dims.insert(dims.end(), values.begin(), values.end());
  return first;
}

int64_t ImageBuilder::addTensor(StringRef name, int64_t role, rt::BufferType type, int64_t offset, int64_t batchDim) {
  tensors.push_back({addString(name), role, getDtype(type.getElementType()), static_cast<int64_t>(type.getShape().size()),
                     addDims(type.getShape()), offset, type.getBytes(), batchDim});
  return tensors.size() - 1;
}

/// The record of the saved tensor that a parameter is part of; several parameters may share one.
int64_t ImageBuilder::addSaved(nn::ParameterOp symbol) {
  bool isTrainable = symbol.getKind() == nn::ParameterKind::Trainable;
  auto [found, isNew] = savedIndex.try_emplace(symbol.getSaved(), saved.size());
  if (!isNew) {
    if (isTrainable)
      saved[found->second].kind = GALVATRON_RT_SAVED_TRAINABLE;
    return found->second;
  }
  int64_t kind = isTrainable                                          ? GALVATRON_RT_SAVED_TRAINABLE
                 : symbol.getKind() == nn::ParameterKind::Frozen      ? GALVATRON_RT_SAVED_FROZEN
                                                                      : GALVATRON_RT_SAVED_CONSTANT;
  ArrayRef<int64_t> shape = symbol.getSavedShape();
  saved.push_back({addString(symbol.getSaved()), kind, getDtype(cast<RankedTensorType>(symbol.getType()).getElementType()),
                   static_cast<int64_t>(shape.size()), addDims(shape), static_cast<int64_t>(symbol.getInit()),
                   shared.contents.lookup(symbol.getSaved())});
  return found->second;
}

/// Whether two parameters, views of one saved tensor, show the same elements, perhaps in another order.
static bool showsSame(nn::ParameterOp a, nn::ParameterOp b) {
  auto key = [](nn::ParameterOp symbol) {
    SmallVector<std::pair<int64_t, int64_t>> walk;
    for (auto [size, stride] :
         llvm::zip_equal(cast<RankedTensorType>(symbol.getType()).getShape(), symbol.getView().getStrides()))
      if (size != 1)
        walk.push_back({stride, size});
    llvm::sort(walk);
    return std::pair(symbol.getView().getOffset(), walk);
  };
  return key(a) == key(b);
}

/// Which piece of a parameter, or of what goes with it, a rank has.
void ImageBuilder::addSplits(int64_t tensor, nn::ParameterOp symbol) {
  auto layout = symbol->getAttrOfType<dist::LayoutAttr>(dist::layoutAttrName);
  auto whole = symbol->getAttrOfType<DenseI64ArrayAttr>(dist::wholeShapeAttrName);
  if (!layout || !whole || whole.size() != int64_t(layout.getDims().size()))
    return;
  for (auto [dim, axes] : llvm::enumerate(layout.getDims()))
    for (Attribute axis : cast<ArrayAttr>(axes)) {
      int64_t number = llvm::find(program.getAxisNames(), axis) - program.getAxisNames().begin();
      splits.push_back({tensor, static_cast<int64_t>(dim), number, whole.asArrayRef()[dim]});
    }
}

/// The saved tensor that a parameter of this or another stage is a view of, with its names. Returns whether the view is the one
/// that is saved.
bool ImageBuilder::declareParameter(rt::ParameterOp op) {
  auto symbol = symbols.lookup<nn::ParameterOp>(op.getParameter());
  SmallVector<nn::ParameterOp> &earlier = viewsOf[symbol.getSaved()];
  bool isPrimary = llvm::none_of(earlier, [&](nn::ParameterOp other) { return showsSame(symbol, other); });
  earlier.push_back(symbol);
  int64_t record = addSaved(symbol);
  for (auto alias : symbol.getAliases().getAsRange<StringAttr>()) {
    int64_t name = addString(alias.getValue());
    if (alias.getValue() != symbol.getSaved() && aliasNames.insert(name).second)
      aliases.push_back({name, record});
  }
  return isPrimary;
}

void ImageBuilder::addParameter(rt::ParameterOp op, int64_t primary) {
  auto symbol = symbols.lookup<nn::ParameterOp>(op.getParameter());
  bool isState = symbol.getKind() == nn::ParameterKind::State;
  int64_t role = isState                                             ? GALVATRON_RT_ROLE_OPTIMIZER_STATE
                 : symbol.getKind() == nn::ParameterKind::Constant   ? GALVATRON_RT_ROLE_CONSTANT
                                                                     : GALVATRON_RT_ROLE_PARAMETER;
  int64_t tensor = addTensor(op.getParameter(), role, op.getType(), *op.getOffset());
  tensorIndex[op.getParameter()] = tensor;
  addSplits(tensor, symbol);
  if (isState)
    return;
  StridedLayoutAttr view = symbol.getView();
  views.push_back({tensor, addSaved(symbol), view.getOffset(), addDims(view.getStrides()), primary});
}

void ImageBuilder::addStates() {
  for (auto op : program.getBody().front().getOps<rt::ParameterOp>()) {
    auto [parameter, kind] = parseState(op.getParameter());
    int64_t tensor = tensorIndex[op.getParameter()];
    if (kind < 0 || tensors[tensor].role != GALVATRON_RT_ROLE_OPTIMIZER_STATE || !tensorIndex.contains(parameter))
      continue;
    states.push_back({tensorIndex[parameter], kind, tensor});
  }
}

int64_t ImageBuilder::getOffset(Value buffer) {
  Operation *op = buffer.getDefiningOp();
  if (auto view = dyn_cast<rt::ViewOp>(op))
    return view.getOffset() + getOffset(view.getSource());
  std::optional<int64_t> offset;
  if (auto slot = dyn_cast<rt::SlotOp>(op))
    offset = slot.getOffset();
  else if (auto parameter = dyn_cast<rt::ParameterOp>(op))
    offset = parameter.getOffset();
  else if (auto tensor = dyn_cast<rt::TensorOp>(op))
    offset = tensor.getOffset();
  return *offset;
}

void ImageBuilder::addFunctions() {
  llvm::StringSet<> run; // by this stage
  program.walk([&](rt::RunOp row) { run.insert(row.getCallee()); });
  for (Operation &op : *module.getBody()) {
    StringRef name = op.hasAttr(rt::outsAttr) ? StringRef(SymbolTable::getSymbolName(&op)) : StringRef();
    if (!run.contains(name))
      continue;
    auto frame = op.getAttrOfType<IntegerAttr>(rt::frameBytesAttr);
    functionIndex[name] = functions.size();
    functions.push_back({addString(name), frame ? frame.getInt() : 0});
    image.functions.push_back(name.str());
  }
}

static StringRef getBufferName(Value buffer) {
  Operation *op = buffer.getDefiningOp();
  if (auto view = dyn_cast<rt::ViewOp>(op))
    return getBufferName(view.getSource());
  if (auto slot = dyn_cast<rt::SlotOp>(op))
    return slot.getName();
  if (auto parameter = dyn_cast<rt::ParameterOp>(op))
    return parameter.getParameter();
  return cast<rt::TensorOp>(op).getName();
}

void ImageBuilder::addArg(Value buffer, int64_t access) {
  auto type = cast<rt::BufferType>(buffer.getType());
  int64_t first = shifts.size();
  for (Value part = buffer; auto view = part.getDefiningOp<rt::ViewOp>(); part = view.getSource())
    for (auto [axis, stride] : llvm::zip(view.getAxes(), view.getStrides()))
      shifts.push_back({axis, stride});
  args.push_back({getOffset(buffer), type.getBytes(), access, getDtype(type.getElementType()), addString(getBufferName(buffer)), first,
                  static_cast<int64_t>(shifts.size()) - first});
}

static int64_t numberOr(IntegerAttr attribute) { return attribute ? attribute.getInt() : int64_t(-1); }

void ImageBuilder::addRun(rt::RunOp run, std::vector<galvatron_rt_row_record> &rows) {
  int64_t first = args.size();
  for (Value input : run.getInputs())
    addArg(input, llvm::is_contained(run.getOutputs(), input) ? GALVATRON_RT_ACCESS_READ | GALVATRON_RT_ACCESS_WRITE
                                                              : GALVATRON_RT_ACCESS_READ);
  for (Value output : run.getOutputs())
    addArg(output, GALVATRON_RT_ACCESS_WRITE);
  rows.push_back({GALVATRON_RT_ACTION_RUN, functionIndex[run.getCallee()], numberOr(run.getMicroBatchAttr()), first,
                  static_cast<int64_t>(args.size()) - first, numberOr(run.getFrameAttr()), -1, addString(run.getCallee()), -1, -1, -1});
}

int64_t ImageBuilder::getGroup(ArrayRef<int64_t> along) {
  return llvm::find_if(shared.groups, [&](const std::vector<int64_t> &group) { return along == ArrayRef(group); }) -
         shared.groups.begin();
}

void ImageBuilder::addMessage(int64_t action, Value value, int64_t peer, IntegerAttr microBatch,
                              std::vector<galvatron_rt_row_record> &rows) {
  int64_t first = args.size();
  addArg(value, action == GALVATRON_RT_ACTION_RECEIVE ? GALVATRON_RT_ACCESS_WRITE : GALVATRON_RT_ACCESS_READ);
  rows.push_back({action, -1, numberOr(microBatch), first, 1, -1, -1, addString(getBufferName(value)), -1, -1, peer});
}

void ImageBuilder::addCollective(int64_t action, Value input, Value output, ArrayRef<int64_t> axes, IntegerAttr microBatch,
                                 int64_t monoid, std::vector<galvatron_rt_row_record> &rows) {
  int64_t first = args.size();
  addArg(input, GALVATRON_RT_ACCESS_READ);
  addArg(output, GALVATRON_RT_ACCESS_WRITE);
  rows.push_back({action, -1, numberOr(microBatch), first, 2, -1, -1, addString(getBufferName(input)), getGroup(axes), monoid, -1});
}

void ImageBuilder::addTable(rt::TableOp table, std::vector<galvatron_rt_row_record> &rows) {
  for (Operation &op : table.getBody().front()) {
    if (auto run = dyn_cast<rt::RunOp>(op)) {
      addRun(run, rows);
    } else if (auto publish = dyn_cast<rt::PublishOutputOp>(op)) {
      // Outputs are asked for with --forward-only.
      if (table.getMode() == rt::Mode::Train)
        continue;
      auto [found, isNew] = outputIndex.try_emplace(publish.getName(), tensors.size());
      if (isNew)
        addTensor(publish.getName(), GALVATRON_RT_ROLE_OUTPUT, publish.getValue().getType(), getOffset(publish.getValue()),
                  publish.getBatchDim().value_or(-1));
      rows.push_back({GALVATRON_RT_ACTION_PUBLISH_OUTPUT, -1, static_cast<int64_t>(publish.getMicroBatch()), 0, 0, -1,
                      found->second, addString(publish.getName()), -1, -1, -1});
    } else if (auto reduce = dyn_cast<rt::AllReduceOp>(op)) {
      addCollective(GALVATRON_RT_ACTION_ALL_REDUCE, reduce.getInput(), reduce.getOutput(), reduce.getAxes(), reduce.getMicroBatchAttr(),
                    static_cast<int64_t>(reduce.getMonoid()), rows);
    } else if (auto gather = dyn_cast<rt::AllGatherOp>(op)) {
      addCollective(GALVATRON_RT_ACTION_ALL_GATHER, gather.getInput(), gather.getOutput(), gather.getAxes(), gather.getMicroBatchAttr(),
                    -1, rows);
    } else if (auto complete = dyn_cast<rt::CompleteOp>(op)) {
      int64_t first = args.size();
      addArg(complete.getOutput(), GALVATRON_RT_ACCESS_WRITE);
      auto axes = complete.getCollective()->getAttrOfType<DenseI64ArrayAttr>("axes");
      rows.push_back({GALVATRON_RT_ACTION_COMPLETE, -1, -1, first, 1, -1, -1, addString(getBufferName(complete.getInput())),
                      getGroup(axes), -1, -1});
    } else if (auto send = dyn_cast<rt::SendOp>(op)) {
      addMessage(GALVATRON_RT_ACTION_SEND, send.getValue(), send.getPeer(), send.getMicroBatchAttr(), rows);
    } else if (auto wait = dyn_cast<rt::WaitSentOp>(op)) {
      addMessage(GALVATRON_RT_ACTION_WAIT_SENT, wait.getValue(), wait.getPeer(), wait.getMicroBatchAttr(), rows);
    } else if (auto receive = dyn_cast<rt::ReceiveOp>(op)) {
      addMessage(GALVATRON_RT_ACTION_RECEIVE, receive.getValue(), receive.getPeer(), receive.getMicroBatchAttr(), rows);
    } else if (auto gradient = dyn_cast<rt::GradientOp>(op)) {
      int64_t tensor = addTensor((gradient.getParameter() + ".grad").str(), GALVATRON_RT_ROLE_GRADIENT,
                                 gradient.getValue().getType(), getOffset(gradient.getValue()));
      addSplits(tensor, symbols.lookup<nn::ParameterOp>(gradient.getParameter()));
      states.push_back({tensorIndex[gradient.getParameter()], GALVATRON_RT_STATE_GRADIENT, tensor});
    } else if (isa<rt::PublishGradientsOp>(op)) {
      rows.push_back({GALVATRON_RT_ACTION_PUBLISH_GRADIENTS, -1, -1, 0, 0, -1, -1, addString("publish_gradients"), -1, -1, -1});
    }
  }
}

void ImageBuilder::addConfig() {
  galvatron_rt_config_record record = {};
  record.arena_bytes = *program.getArenaBytes();
  record.threads = program.getThreads();
  record.cpu_level = getCpuLevel(program.getCpu()).value_or(GALVATRON_RT_CPU_X86_64_V3);
  record.cpu_features = addString(info.cpuFeatures);
  record.ranks = 1;
  record.stages = program.getStages();
  record.stage = program.getStage();
  record.max_sent = shared.maxSent;
  for (auto [name, size] : llvm::zip(program.getAxisNames().getAsValueRange<StringAttr>(), program.getAxisSizes())) {
    axes.push_back({addString(name), size});
    record.ranks *= size;
  }
  record.micro_batches = program.getMicroBatches();
  record.loss = record.grad_norm = record.hyper = -1;
  for (auto op : program.getBody().front().getOps<rt::TensorOp>()) {
    int64_t tensor = tensorIndex[op.getName()];
    switch (op.getRole()) {
    case rt::Role::Scalar:
      (op.getName() == "loss" ? record.loss : record.grad_norm) = tensor;
      break;
    case rt::Role::Hyper:
      record.hyper = tensor;
      break;
    case rt::Role::Labels:
    case rt::Role::Input:
      break;
    }
  }
  for (auto [name, op] : shared.files) {
    if (op.getRole() == rt::Role::Labels)
      record.tokens_per_step = op.getType().getNumElements();
    if (!op.getType().getShape().empty())
      record.batch_rows = op.getType().getShape().front();
  }
  record.optimizer = llvm::StringSwitch<int64_t>(program.getOptimizer())
                         .Case("adamw", GALVATRON_RT_OPTIMIZER_ADAMW)
                         .Case("sgd", GALVATRON_RT_OPTIMIZER_SGD)
                         .Default(GALVATRON_RT_OPTIMIZER_NONE);
  auto ignored = program->getAttrOfType<IntegerAttr>("ignored_label");
  record.ignored_label = ignored ? ignored.getInt() : -100;
  record.staging_offset = program.getStagingOffset().value_or(0);
  record.staging_bytes = program.getStagingBytes().value_or(0);
  record.staging_group = shared.stagingGroup;
  record.random_weights = info.randomSeed.has_value();
  record.random_seed = info.randomSeed.value_or(0);
  record.model_name = addString(info.modelName);
  record.compiler = addString("galvatron " GALVATRON_VERSION);
  config.push_back(record);
}

template <typename Record> void ImageBuilder::addSection(int64_t kind, const std::vector<Record> &all) {
  if (all.empty())
    return;
  constexpr int64_t words = sizeof(Record) / sizeof(int64_t);
  sections.push_back({kind, words, static_cast<int64_t>(all.size()), static_cast<int64_t>(records.size())});
  const auto *begin = reinterpret_cast<const int64_t *>(all.data());
  records.insert(records.end(), begin, begin + words * all.size());
}

FailureOr<ProgramImage> ImageBuilder::build() {
  addString("");
  if (auto known = module->getAttrOfType<ArrayAttr>(rt::stringsAttr))
    for (Attribute string : known)
      addString(cast<StringAttr>(string).getValue());
  addFunctions();
  for (const std::vector<int64_t> &along : shared.groups) {
    std::string name;
    for (int64_t axis : along)
      name += (name.empty() ? "" : ",") + cast<StringAttr>(program.getAxisNames()[axis]).str();
    groups.push_back({addString(name), addDims(along), static_cast<int64_t>(along.size())});
  }
  llvm::StringMap<rt::ParameterOp> primary; // by the parameter: on the first stage that has it
  for (rt::ParameterOp op : shared.parameters)
    if (symbols.lookup<nn::ParameterOp>(op.getParameter()).getKind() != nn::ParameterKind::State && declareParameter(op))
      primary[op.getParameter()] = op;
  for (auto op : program.getBody().front().getOps<rt::ParameterOp>()) {
    rt::ParameterOp writer = primary.lookup(op.getParameter());
    addParameter(op, writer == op ? 1 : writer ? 2 : 0);
  }
  for (auto op : program.getBody().front().getOps<rt::TensorOp>())
    tensorIndex[op.getName()] = addTensor(op.getName(), static_cast<int64_t>(op.getRole()), op.getType(), *op.getOffset());
  // The first stage counts rows, and every stage steps.
  for (auto [name, op] : shared.files)
    if (!tensorIndex.contains(name))
      tensorIndex[name] = addTensor(name, static_cast<int64_t>(op.getRole()), op.getType(), -1);
  addStates();
  for (auto table : program.getBody().front().getOps<rt::TableOp>())
    addTable(table, table.getMode() == rt::Mode::Train ? trainRows : forwardRows);
  for (auto desc : module.getOps<rt::MatmulDescOp>()) {
    matmuls.push_back(makeRecord(desc));
    matmuls.back().name = addString(desc.getSymName());
  }
  for (auto desc : module.getOps<rt::ConvDescOp>()) {
    convs.push_back(makeRecord(desc));
    convs.back().name = addString(desc.getSymName());
  }
  addConfig();

  addSection(GALVATRON_RT_SECTION_CONFIG, config);
  addSection(GALVATRON_RT_SECTION_DIMS, dims);
  addSection(GALVATRON_RT_SECTION_TENSORS, tensors);
  addSection(GALVATRON_RT_SECTION_SAVED, saved);
  addSection(GALVATRON_RT_SECTION_VIEWS, views);
  addSection(GALVATRON_RT_SECTION_SPLITS, splits);
  addSection(GALVATRON_RT_SECTION_ALIASES, aliases);
  addSection(GALVATRON_RT_SECTION_STATE, states);
  addSection(GALVATRON_RT_SECTION_MATMULS, matmuls);
  addSection(GALVATRON_RT_SECTION_CONVS, convs);
  addSection(GALVATRON_RT_SECTION_FUNCTIONS, functions);
  addSection(GALVATRON_RT_SECTION_TRAIN_ROWS, trainRows);
  addSection(GALVATRON_RT_SECTION_FORWARD_ROWS, forwardRows);
  addSection(GALVATRON_RT_SECTION_ARGS, args);
  addSection(GALVATRON_RT_SECTION_AXES, axes);
  addSection(GALVATRON_RT_SECTION_GROUPS, groups);
  addSection(GALVATRON_RT_SECTION_SHIFTS, shifts);

  constexpr int64_t sectionWords = sizeof(galvatron_rt_section) / sizeof(int64_t);
  int64_t start = 1 + sectionWords * sections.size();
  image.words.push_back(sections.size());
  for (const galvatron_rt_section &section : sections)
    image.words.insert(image.words.end(), {section.kind, section.record_words, section.n_records, section.word_offset + start});
  image.words.insert(image.words.end(), records.begin(), records.end());

  // The program would refuse at start what the runtime refuses now.
  std::vector<galvatron_rt_function> pointers(functions.size(), [](galvatron_rt_context *, void **, void *) {});
  galvatron_rt_image check = {sizeof(galvatron_rt_image), GALVATRON_RT_MAGIC, GALVATRON_RT_VERSION, 0,
                              image.words.data(), static_cast<int64_t>(image.words.size()), image.strings.data(),
                              static_cast<int64_t>(image.strings.size()), pointers.data(),
                              static_cast<int64_t>(pointers.size())};
  char error[512];
  if (galvatron_rt_check_image(&check, error, sizeof(error)))
    return program.emitOpError("makes a table that the runtime refuses: ") << error;
  return image;
}

/// A module that somebody wrote or changed may lack what a table's records are made of.
static LogicalResult checkComplete(rt::ProgramOp program) {
  if (!program.getArenaBytes())
    return program.emitOpError("has no arena yet; run --rt-plan-memory first");
  SymbolTable symbols(program->getParentOfType<ModuleOp>());
  auto result = program.walk([&](Operation *op) -> WalkResult {
    bool isPlaced = true;
    if (auto slot = dyn_cast<rt::SlotOp>(op))
      isPlaced = slot.getOffset().has_value();
    else if (auto parameter = dyn_cast<rt::ParameterOp>(op))
      isPlaced = parameter.getOffset().has_value();
    else if (auto tensor = dyn_cast<rt::TensorOp>(op))
      isPlaced = tensor.getOffset().has_value();
    if (!isPlaced)
      return op->emitOpError("has no place in the arena (--rt-plan-memory gives it one)");
    auto run = dyn_cast<rt::RunOp>(op);
    if (Operation *callee = run ? symbols.lookup(run.getCallee()) : nullptr; run && !(callee && callee->hasAttr(rt::outsAttr)))
      return run.emitOpError("runs '") << run.getCallee() << "', which is no lowered function";
    return WalkResult::advance();
  });
  return failure(result.wasInterrupted());
}

FailureOr<std::vector<ProgramImage>> galvatron::buildProgramImages(ModuleOp module, const ProgramInfo &info) {
  SmallVector<rt::ProgramOp> programs(module.getOps<rt::ProgramOp>());
  for (auto [stage, program] : llvm::enumerate(programs))
    if (program.getStage() != stage || program.getStages() != programs.size())
      return program.emitOpError("is stage ") << program.getStage() << " of " << program.getStages() << ", and stands at place " << stage
                                              << " of " << programs.size();
  for (rt::ProgramOp program : programs)
    if (failed(checkComplete(program)))
      return failure();
  Shared shared(module, programs);
  std::vector<ProgramImage> images;
  for (rt::ProgramOp program : programs) {
    FailureOr<ProgramImage> image = ImageBuilder(program, shared, info).build();
    if (failed(image))
      return failure();
    images.push_back(std::move(*image));
  }
  return images;
}
