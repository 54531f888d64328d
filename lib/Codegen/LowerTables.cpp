//===- LowerTables.cpp - Rows of pipe.table become rows of an rt.program --===//
//
// Every value of a table gets a buffer: a parameter its home, an input or a piece of a whole value a view, all else a
// slot. A function that computes in place (`rt.aliases`) gets the buffer of its input if nothing reads that later, and
// a copy of it if something does.
//
//===----------------------------------------------------------------------===//

#include "StageLowering.h"

#include "mlir/IR/SymbolTable.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/StringSet.h"
#include <map>

using namespace mlir;
using namespace galvatron;

namespace {

/// The program that the tables of all modes share, and the tensors that it declares.
struct Program {
  rt::ProgramOp op;
  SymbolTable symbols;
  llvm::StringMap<rt::ParameterOp> parameters;
  llvm::StringMap<rt::TensorOp> tensors;
};

class TableLowering {
public:
  TableLowering(pipe::TableOp table, Program &program)
      : table(table), program(program), builder(table.getContext()) {}
  LogicalResult run();

private:
  int64_t getEnd(Operation *user);
  void findLastUses();
  LogicalResult lower(Operation *row);
  LogicalResult lowerRun(pipe::RunOp run);
  void lowerStore(pipe::StoreOp store);
  LogicalResult lowerOutput(pipe::OutputOp output);
  Value makeSlot(Location loc, Type type, StringRef name);
  Value getTensor(Location loc, StringRef name, RankedTensorType type);
  Value view(Value source, Type type, int64_t piece, ArrayAttr axes = {});
  SmallVector<int64_t> getAxes(ArrayAttr names);
  void lowerReduce(pipe::AllReduceOp reduce);
  void lowerGather(pipe::AllGatherOp gather);
  Value getOwn(Value value);
  void begin(Operation *collective, Value input, Value output);
  void runHelper(Location loc, StringRef kind, ValueRange inputs, Value output);
  bool mayWriteOver(pipe::RunOp run, int64_t input, int64_t output);
  Value placeResult(pipe::RunOp run, OpResult result);

  pipe::TableOp table;
  Program &program;
  OpBuilder builder;
  llvm::DenseMap<Value, Value> buffers;
  llvm::DenseMap<Operation *, Value> given; // what ranks give to a collective that is under way
  llvm::DenseMap<Value, int64_t> lastUse; // of the value and its pieces; rows count from 0
  llvm::DenseMap<Operation *, int64_t> position;
  llvm::DenseMap<Value, int64_t> homeLastUse; // of parameters: all values read from the home
  llvm::DenseSet<Value> scalarsTaken;
  /// Where all micro-batches' pieces of an output are published, and the row that did so last.
  struct Output {
    Value slot;
    int64_t published = -1;
  };
  llvm::StringMap<Output> outputs;
  int64_t gradients = 0;
};

} // namespace

static rt::BufferType bufferType(Type type) { return rt::BufferType::get(cast<RankedTensorType>(type)); }

/// When a row no longer needs the memory of what it reads. That of a value is that of its pieces, and of the value that is complete; a
/// collective needs its operand until then.
int64_t TableLowering::getEnd(Operation *user) {
  if (isa<pipe::PieceOp, pipe::CompleteOp>(user))
    return lastUse[user->getResult(0)];
  return position[pipe::isAsync(user) ? *user->user_begin() : user];
}

void TableLowering::findLastUses() {
  int64_t index = 0;
  for (Operation &row : table.getRows().front())
    position[&row] = index++;
  for (Operation &row : llvm::reverse(table.getRows().front()))
    for (Value result : row.getResults()) {
      int64_t &last = lastUse[result];
      last = position[&row];
      for (Operation *user : result.getUsers())
        last = std::max(last, getEnd(user));
    }
  for (auto parameter : table.getRows().front().getOps<pipe::ParameterOp>()) {
    int64_t &last = homeLastUse.try_emplace(program.parameters[parameter.getParameter()].getResult(), -1).first->second;
    last = std::max(last, lastUse[parameter.getResult()]);
  }
}

Value TableLowering::makeSlot(Location loc, Type type, StringRef name) {
  return builder.create<rt::SlotOp>(loc, bufferType(type), builder.getStringAttr(name), IntegerAttr());
}

/// The tensor of an input or scalar; declared at its first use.
Value TableLowering::getTensor(Location loc, StringRef name, RankedTensorType type) {
  rt::TensorOp &tensor = program.tensors[name];
  if (!tensor) {
    rt::Role role = name == "labels"                        ? rt::Role::Labels
                    : name == "hyper"                       ? rt::Role::Hyper
                    : pipe::isStepScalar(name)              ? rt::Role::Scalar
                                                            : rt::Role::Input;
    OpBuilder::InsertionGuard guard(builder);
    builder.setInsertionPoint(builder.getInsertionBlock()->getParentOp());
    tensor = builder.create<rt::TensorOp>(loc, bufferType(type), role, name, IntegerAttr());
  }
  return tensor.getResult();
}

/// The numbers of axes, which ascend.
SmallVector<int64_t> TableLowering::getAxes(ArrayAttr names) {
  SmallVector<int64_t> axes;
  for (Attribute name : names)
    axes.push_back(llvm::find(program.op.getAxisNames(), name) - program.op.getAxisNames().begin());
  return axes;
}

/// A piece of `source` of type `type`: of micro-batch `microBatch`, which the ranks along `names` share.
Value TableLowering::view(Value source, Type type, int64_t microBatch, ArrayAttr names) {
  rt::BufferType result = bufferType(type);
  if (source.getType() == result)
    return source;
  SmallVector<int64_t> axes = names ? getAxes(names) : SmallVector<int64_t>(), strides(axes.size());
  int64_t stride = result.getBytes();
  for (int64_t i = axes.size() - 1; i >= 0; --i) {
    strides[i] = stride;
    stride *= program.op.getAxisSizes()[axes[i]];
  }
  return builder.create<rt::ViewOp>(source.getLoc(), result, source, microBatch * stride, axes, strides);
}

/// The value that others are pieces of; its memory is theirs.
static Value getWhole(Value value) {
  while (auto piece = value.getDefiningOp<pipe::PieceOp>())
    value = piece.getValue();
  return value;
}

/// The buffer of what ranks give to a collective. They find each other's by its place, which is the same for all of them; a rank's piece
/// of what is whole is elsewhere on each.
Value TableLowering::getOwn(Value value) {
  Value buffer = buffers[value];
  bool isElsewhere = false;
  for (auto piece = buffer.getDefiningOp<rt::ViewOp>(); piece; piece = piece.getSource().getDefiningOp<rt::ViewOp>())
    isElsewhere |= !piece.getAxes().empty();
  if (!isElsewhere)
    return buffer;
  Value copy = makeSlot(value.getLoc(), value.getType(), "own piece");
  runHelper(value.getLoc(), "copy_", buffer, copy);
  return copy;
}

/// In place, if nobody reads the ranks' own parts later.
void TableLowering::lowerReduce(pipe::AllReduceOp reduce) {
  Value input = getOwn(reduce.getValue()), output = input;
  auto readsLater = [&](Operation *user) { return user != reduce && getEnd(user) > position[reduce]; };
  if (!isa<rt::SlotOp>(input.getDefiningOp()) || getWhole(reduce.getValue()) != reduce.getValue() ||
      llvm::any_of(reduce.getValue().getUsers(), readsLater))
    output = makeSlot(reduce.getLoc(), reduce.getType(), "all_reduce");
  builder.create<rt::AllReduceOp>(reduce.getLoc(), reduce.getMonoidAttr(), input, output, getAxes(reduce.getAxes()),
                                  reduce.getMicroBatchAttr());
  begin(reduce, input, output);
}

void TableLowering::lowerGather(pipe::AllGatherOp gather) {
  Value input = getOwn(gather.getValue()), output = makeSlot(gather.getLoc(), gather.getType(), "all_gather");
  builder.create<rt::AllGatherOp>(gather.getLoc(), input, output, getAxes(gather.getAxes()), gather.getMicroBatchAttr());
  begin(gather, input, output);
}

/// A collective is under way, and complete at once if it is not async.
void TableLowering::begin(Operation *collective, Value input, Value output) {
  buffers[collective->getResult(0)] = output;
  if (pipe::isAsync(collective))
    given[collective] = input;
  else
    builder.create<rt::CompleteOp>(collective->getLoc(), output, input);
}

/// A row that runs a function of one call: `rt.copy` or `rt.zero`.
void TableLowering::runHelper(Location loc, StringRef kind, ValueRange inputs, Value output) {
  std::string name;
  llvm::raw_string_ostream stream(name);
  stream << kind;
  auto type = cast<rt::BufferType>(output.getType());
  llvm::interleave(type.getShape(), stream, [&](int64_t size) { stream << size; }, "x");
  stream << (type.getShape().empty() ? "" : "x") << type.getElementType();
  if (!program.symbols.lookup(name)) {
    OpBuilder::InsertionGuard guard(builder);
    builder.clearInsertionPoint();
    SmallVector<Type> types(inputs.size() + 1, type);
    auto function = builder.create<func::FuncOp>(loc, name, builder.getFunctionType(types, {}));
    function.setPrivate();
    program.symbols.insert(function, Block::iterator(table));
    function->setAttr(rt::outsAttr, builder.getI64IntegerAttr(1));
    Block *block = function.addEntryBlock();
    builder.setInsertionPointToStart(block);
    if (inputs.empty())
      builder.create<rt::ZeroOp>(loc, block->getArgument(0));
    else
      builder.create<rt::CopyOp>(loc, block->getArgument(0), block->getArgument(1));
    builder.create<func::ReturnOp>(loc);
  }
  builder.create<rt::RunOp>(loc, name, IntegerAttr(), inputs, output, IntegerAttr());
}

/// Whether the row may write `output` over the buffer of `input`.
bool TableLowering::mayWriteOver(pipe::RunOp run, int64_t input, int64_t output) {
  Value value = run.getInputs()[input], buffer = buffers[value];
  if (llvm::count_if(run.getInputs(), [&](Value other) { return buffers[other] == buffer; }) != 1)
    return false;
  if (isa_and_nonnull<rt::SlotOp>(buffer.getDefiningOp()))
    return lastUse[getWhole(value)] <= position[run];
  // Over a parameter only with its own next value.
  auto home = buffer.getDefiningOp<rt::ParameterOp>();
  return home && homeLastUse[buffer] <= position[run] &&
         llvm::any_of(run.getResult(output).getUsers(), [&](Operation *user) {
           auto store = dyn_cast<pipe::StoreOp>(user);
           return store && store.getParameter() == home.getParameter();
         });
}

/// The buffer of a result that is not computed in place: where it is handed out, or a slot of its own.
Value TableLowering::placeResult(pipe::RunOp run, OpResult result) {
  for (Operation *user : result.getUsers()) {
    auto output = dyn_cast<pipe::OutputOp>(user);
    if (!output)
      continue;
    if (!pipe::isStepScalar(output.getOutput())) {
      // Not if the next piece would be written while this one is still needed.
      Output &place = outputs[output.getOutput()];
      if (place.published > position[run] || lastUse[result] > position[output])
        continue;
      place.published = position[output];
      if (!place.slot)
        place.slot = makeSlot(run.getLoc(), result.getType(), output.getOutput());
      return place.slot;
    }
    Value tensor = getTensor(run.getLoc(), output.getOutput(), cast<RankedTensorType>(result.getType()));
    if (scalarsTaken.insert(tensor).second)
      return tensor;
  }
  std::string name = (run.getCallee() + "#" + Twine(result.getResultNumber())).str();
  auto callee = program.symbols.lookup<func::FuncOp>(run.getCallee());
  if (auto maker = callee.getArgAttrOfType<StringAttr>(run.getInputs().size() + result.getResultNumber(), rt::nameAttr))
    name += (" (" + maker.getValue() + ")").str();
  return makeSlot(run.getLoc(), result.getType(), name);
}

LogicalResult TableLowering::lowerRun(pipe::RunOp run) {
  auto callee = program.symbols.lookup<func::FuncOp>(run.getCallee());
  if (!callee || !callee->hasAttr(rt::outsAttr))
    return run.emitOpError("runs @") << run.getCallee() << ", which is no stage function";
  SmallVector<Value> inputs, outputs(run.getNumResults());
  for (Value input : run.getInputs())
    inputs.push_back(buffers[input]);
  for (auto [output, input] : rt::getIndexPairs(callee, rt::aliasesAttr)) {
    if (!mayWriteOver(run, input, output)) {
      Value copy = makeSlot(run.getLoc(), run.getResult(output).getType(), run.getCallee());
      runHelper(run.getLoc(), "copy_", inputs[input], copy);
      inputs[input] = copy;
    }
    outputs[output] = inputs[input];
  }
  for (OpResult result : run->getResults()) {
    Value &output = outputs[result.getResultNumber()];
    if (!output)
      output = placeResult(run, result);
    buffers[result] = output;
  }
  auto row = builder.create<rt::RunOp>(run.getLoc(), run.getCallee(), run.getMicroBatchAttr(), inputs, outputs, IntegerAttr());
  row->setAttr("phase", builder.getStringAttr(pipe::stringifyPhase(run.getPhase())));
  return success();
}

void TableLowering::lowerStore(pipe::StoreOp store) {
  Value home = program.parameters[store.getParameter()].getResult();
  if (buffers[store.getValue()] != home)
    runHelper(store.getLoc(), "copy_", buffers[store.getValue()], home);
}

LogicalResult TableLowering::lowerOutput(pipe::OutputOp output) {
  Value value = buffers[output.getValue()];
  auto type = cast<RankedTensorType>(output.getValue().getType());
  if (pipe::isStepScalar(output.getOutput())) {
    if (type.getRank() || !type.getElementType().isF32())
      return output.emitOpError("has type ") << type << ", expected an f32 scalar";
    Value tensor = getTensor(output.getLoc(), output.getOutput(), type);
    if (value != tensor)
      runHelper(output.getLoc(), "copy_", value, tensor);
    return success();
  }
  Output &place = outputs[output.getOutput()];
  if (!place.slot)
    place.slot = makeSlot(output.getLoc(), type, output.getOutput());
  if (value != place.slot)
    runHelper(output.getLoc(), "copy_", value, place.slot);
  place.published = std::max(place.published, position[output]);
  bool pieces = output.getMicroBatch() && type.getRank();
  builder.create<rt::PublishOutputOp>(output.getLoc(), output.getOutputAttr(), place.slot,
                                      pieces ? output.getDimAttr() : IntegerAttr(),
                                      builder.getI64IntegerAttr(output.getMicroBatch().value_or(0)));
  return success();
}

LogicalResult TableLowering::lower(Operation *row) {
  if (auto run = dyn_cast<pipe::RunOp>(row))
    return lowerRun(run);
  if (auto output = dyn_cast<pipe::OutputOp>(row))
    return lowerOutput(output);
  if (auto store = dyn_cast<pipe::StoreOp>(row)) {
    lowerStore(store);
  } else if (auto parameter = dyn_cast<pipe::ParameterOp>(row)) {
    buffers[parameter.getResult()] = program.parameters[parameter.getParameter()].getResult();
  } else if (auto input = dyn_cast<pipe::InputOp>(row)) {
    auto type = cast<RankedTensorType>(input.getType());
    SmallVector<int64_t> whole(type.getShape());
    if ((input.getMicroBatch() || input.getAxes()) && whole.empty())
      return input.emitOpError("cuts a scalar into micro-batches");
    if (input.getMicroBatch())
      whole.front() *= table.getMicroBatches();
    for (int64_t axis : input.getAxes() ? getAxes(*input.getAxes()) : SmallVector<int64_t>())
      whole.front() *= program.op.getAxisSizes()[axis];
    Value tensor = getTensor(input.getLoc(), input.getInput(), type.clone(whole));
    if (tensor.getType() != rt::BufferType::get(type.clone(whole)))
      return input.emitOpError("has a whole of type ") << rt::BufferType::get(type.clone(whole)) << ", but another row of it "
                                                       << tensor.getType();
    buffers[input.getResult()] = view(tensor, type, input.getMicroBatch().value_or(0), input.getAxesAttr());
  } else if (auto piece = dyn_cast<pipe::PieceOp>(row)) {
    buffers[piece.getResult()] =
        view(buffers[piece.getValue()], piece.getType(), piece.getMicroBatch().value_or(0), piece.getAxesAttr());
  } else if (auto reduce = dyn_cast<pipe::AllReduceOp>(row)) {
    lowerReduce(reduce);
  } else if (auto gather = dyn_cast<pipe::AllGatherOp>(row)) {
    lowerGather(gather);
  } else if (auto complete = dyn_cast<pipe::CompleteOp>(row)) {
    Value output = buffers[complete.getValue()];
    builder.create<rt::CompleteOp>(complete.getLoc(), output, given[complete.getValue().getDefiningOp()]);
    buffers[complete.getResult()] = output;
  } else if (auto send = dyn_cast<pipe::SendOp>(row)) {
    builder.create<rt::SendOp>(send.getLoc(), buffers[send.getValue()], send.getTo(), send.getMicroBatchAttr());
  } else if (auto wait = dyn_cast<pipe::WaitOp>(row)) {
    builder.create<rt::WaitSentOp>(wait.getLoc(), buffers[wait.getValue()], wait.getTo(), wait.getMicroBatchAttr());
  } else if (auto receive = dyn_cast<pipe::ReceiveOp>(row)) {
    Value slot = makeSlot(receive.getLoc(), receive.getType(), ("value " + Twine(receive.getTransfer()) + " of stage " + Twine(receive.getFrom())).str());
    builder.create<rt::ReceiveOp>(receive.getLoc(), slot, receive.getFrom(), receive.getMicroBatchAttr());
    buffers[receive.getResult()] = slot;
  } else if (auto place = dyn_cast<pipe::PlaceOp>(row)) {
    Value whole = place.getWhole() ? buffers[place.getWhole()] : makeSlot(place.getLoc(), place.getType(), "placed");
    runHelper(place.getLoc(), "copy_", buffers[place.getValue()], view(whole, place.getValue().getType(), place.getMicroBatch()));
    buffers[place.getResult()] = whole;
  } else if (auto zero = dyn_cast<pipe::ZeroOp>(row)) {
    Value slot = makeSlot(zero.getLoc(), zero.getType(), "zero");
    runHelper(zero.getLoc(), "zero_", {}, slot);
    buffers[zero.getResult()] = slot;
  } else {
    auto gradient = cast<pipe::GradientOp>(row);
    Value value = buffers[gradient.getValue()];
    // What is handed out lies in one place on all ranks.
    if (auto piece = gradient.getValue().getDefiningOp<pipe::PieceOp>(); piece && piece.getAxes()) {
      Value copy = makeSlot(gradient.getLoc(), piece.getType(), "gradient");
      runHelper(gradient.getLoc(), "copy_", value, copy);
      value = copy;
    }
    builder.create<rt::GradientOp>(gradient.getLoc(), gradient.getParameterAttr(), value);
    if (--gradients == 0)
      builder.create<rt::PublishGradientsOp>(gradient.getLoc());
  }
  return success();
}

LogicalResult TableLowering::run() {
  rt::Mode mode = pipe::getStepName(table) == "forward" ? rt::Mode::Forward : rt::Mode::Train;
  builder.setInsertionPointToEnd(&program.op.getBody().front());
  auto lowered = builder.create<rt::TableOp>(table.getLoc(), mode);
  builder.setInsertionPointToStart(&lowered.getBody().front());
  findLastUses();
  gradients = llvm::range_size(table.getRows().front().getOps<pipe::GradientOp>());
  bool ok = true;
  for (Operation &row : table.getRows().front())
    ok &= succeeded(lower(&row));
  // All stages hand out their gradients together.
  if (mode == rt::Mode::Train && int64_t(program.op.getStages()) > 1 && table.getRows().front().getOps<pipe::GradientOp>().empty())
    builder.create<rt::PublishGradientsOp>(table.getLoc());
  return success(ok);
}

/// The program of one stage.
static LogicalResult lowerStage(ArrayRef<pipe::TableOp> tables, dist::MeshOp mesh, StringRef name, int64_t threads, StringRef cpu,
                                StringRef optimizer, llvm::function_ref<bool(nn::ParameterOp)> hasParameter) {
  pipe::TableOp first = tables.front();
  auto module = first->getParentOfType<ModuleOp>();
  OpBuilder builder = OpBuilder::atBlockEnd(module.getBody());
  Program program{builder.create<rt::ProgramOp>(first.getLoc(), name, threads, cpu, optimizer, first.getMicroBatches(),
                                                mesh ? mesh.getAxisNames() : builder.getArrayAttr({}),
                                                mesh ? mesh.getAxisSizes() : ArrayRef<int64_t>()),
                  SymbolTable(module), {}, {}};
  if (mesh && mesh.getStages() > 1) {
    program.op.setStage(first.getStage());
    program.op.setStages(mesh.getStages());
  }
  builder.setInsertionPointToStart(&program.op.getBody().front());
  for (auto parameter : module.getOps<nn::ParameterOp>())
    if (hasParameter(parameter))
      program.parameters[parameter.getSymName()] = builder.create<rt::ParameterOp>(
          parameter.getLoc(), bufferType(parameter.getType()), parameter.getSymName(), IntegerAttr());
  bool ok = true;
  for (pipe::TableOp table : tables)
    ok &= succeeded(TableLowering(table, program).run());
  return success(ok);
}

LogicalResult galvatron::lowerTables(ArrayRef<pipe::TableOp> tables, int64_t threads, StringRef cpu, StringRef optimizer) {
  auto module = pipe::TableOp(tables.front())->getParentOfType<ModuleOp>();
  auto meshes = module.getOps<dist::MeshOp>();
  dist::MeshOp mesh = meshes.empty() ? dist::MeshOp() : *meshes.begin();
  int64_t stages = mesh ? int64_t(mesh.getStages()) : 1;
  std::map<int64_t, SmallVector<pipe::TableOp>> byStage;
  std::map<int64_t, llvm::StringSet<>> used; // parameters
  llvm::StringSet<> usedAnywhere;
  for (pipe::TableOp table : tables) {
    if (int64_t(table.getStage()) >= stages)
      return table.emitOpError("is of stage ") << table.getStage() << ", but the mesh has " << stages;
    byStage[table.getStage()].push_back(table);
    for (auto parameter : table.getRows().front().getOps<pipe::ParameterOp>()) {
      used[table.getStage()].insert(parameter.getParameter());
      usedAnywhere.insert(parameter.getParameter());
    }
  }
  bool ok = true;
  for (int64_t stage = 0; stage < stages; ++stage) {
    if (byStage[stage].empty())
      return module.emitError() << "stage " << stage << " of " << stages << " has no table";
    // A parameter that no row reads is saved all the same, by the first stage; a table of the file that nobody reads is not kept.
    auto hasParameter = [&](nn::ParameterOp parameter) {
      bool isKept = parameter.getKind() == nn::ParameterKind::Trainable || parameter.getKind() == nn::ParameterKind::Frozen;
      return used[stage].contains(parameter.getSymName()) || (isKept && stage == 0 && !usedAnywhere.contains(parameter.getSymName()));
    };
    ok &= succeeded(lowerStage(byStage[stage], mesh, pipe::getTableName("program", stage, stages), threads, cpu, optimizer, hasParameter));
  }
  for (pipe::TableOp table : tables)
    table.erase();
  return success(ok);
}
