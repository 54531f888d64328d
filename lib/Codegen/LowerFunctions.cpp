//===- LowerFunctions.cpp - Stage functions from tensors to buffers -------===//
//
// Values that share memory form classes: a reshape is the same memory as its operand, an accumulation the same as what
// it adds to, and a kernel's output the same as an input that it may write over. A class lives in an argument, in a
// result, or in a temporary. Memory of a value that is still needed is not written over, nor that of an argument unless
// `nn.accumulates` names it.
//
//===----------------------------------------------------------------------===//

#include "StageLowering.h"

#include "galvatron/Codegen/MatmulPlan.h"
#include "mlir/IR/SymbolTable.h"
#include "llvm/ADT/MapVector.h"

using namespace mlir;
using namespace galvatron;

FlatSymbolRefAttr Descriptors::getOrCreate(Location loc, StringRef opName, StringRef prefix,
                                           ArrayRef<NamedAttribute> attributes) {
  MLIRContext *context = module.getContext();
  auto key = ArrayAttr::get(context, {StringAttr::get(context, opName), DictionaryAttr::get(context, attributes)});
  FlatSymbolRefAttr &symbol = made[key];
  if (symbol)
    return symbol;
  OpBuilder builder = OpBuilder::atBlockBegin(module.getBody());
  OperationState state(loc, opName);
  state.addAttributes(attributes);
  std::string name = (prefix + Twine(made.size() - 1)).str();
  state.addAttribute(SymbolTable::getSymbolAttrName(), builder.getStringAttr(name));
  Operation *op = builder.create(state);
  symbol = FlatSymbolRefAttr::get(symbols.insert(op));
  return symbol;
}

namespace {

/// An addition that the library does together with the product it adds.
struct FusedAdd {
  Operation *product;   // nn.contract or nn.embedding_grad
  nn::BroadcastOp bias; // either this
  Value addend;         // or what the product is added to
};

/// Memory that several values share.
struct Storage {
  int64_t lastUse = -1;
  int64_t argument = -1; // which argument it is, if it is one
  bool written = false;  // by an op in place
  Value buffer;
};

class FunctionLowering {
public:
  FunctionLowering(func::FuncOp function, Descriptors &descriptors)
      : function(function), block(function.getBody().front()), descriptors(descriptors), builder(function.getContext()) {}
  LogicalResult run();

private:
  // Which additions the library does.
  void findFusedAdds();
  bool fuse(nn::AddOp add, Value product, Value other, bool bias);

  // Storage.
  void assignStorage();
  void placeStorage();
  Storage &storage(Value value) { return storages[find(value)]; }
  unsigned find(Value value);
  void newStorage(Value value);
  void share(Value value, Value with);
  bool isReturned(Value value);
  bool canWriteOver(Value input, Value output, Operation *op);

  // New ops.
  LogicalResult emit(Operation *op);
  void emitAdd(nn::AddOp add);
  void emitContract(nn::ContractOp op, const MatmulPlan &plan, Value out, Value bias, bool accumulate);
  void emitProduct(Operation *product, Value out, bool accumulate);
  void emitLaunch(rt::LaunchOp launch);
  template <typename ConvOp> void emitConv(ConvOp op, rt::Direction direction, Value src, Value weights, Value dst);
  void emitReturn(func::ReturnOp op);
  Value buffer(Value value);
  Value view(Value buffer, rt::BufferType type, int64_t offset = 0);

  func::FuncOp function;
  Block &block;
  Descriptors &descriptors;
  OpBuilder builder;
  func::FuncOp lowered;
  llvm::DenseMap<Operation *, int64_t> position;   // in the block; what is fused is where its addition is
  llvm::MapVector<Operation *, FusedAdd> fusedAdds;
  llvm::DenseSet<Operation *> fused;               // products, reshapes and broadcasts that are part of an addition
  llvm::DenseMap<Value, unsigned> ids;
  SmallVector<unsigned> parents;
  std::vector<Storage> storages;
  llvm::DenseMap<Value, Value> views;
  llvm::DenseSet<int64_t> placedResults;
  SmallVector<std::pair<int64_t, int64_t>> aliases;
};

} // namespace

//===----------------------------------------------------------------------===//
// Fused additions
//===----------------------------------------------------------------------===//

/// The product whose only use is `value`, perhaps reshaped.
static Operation *getProduct(Value value) {
  Operation *op = value.getDefiningOp();
  if (auto reshape = dyn_cast_or_null<nn::ReshapeOp>(op); reshape && value.hasOneUse())
    op = reshape.getOperand().getDefiningOp();
  return op && isa<nn::ContractOp, nn::EmbeddingGradOp>(op) && op->hasOneUse() && value.hasOneUse() ? op : nullptr;
}

bool FunctionLowering::fuse(nn::AddOp add, Value productValue, Value other, bool bias) {
  Operation *product = getProduct(productValue);
  if (!product || product->getBlock() != &block)
    return false;
  FusedAdd result{product, {}, {}};
  if (bias) {
    auto broadcast = other.getDefiningOp<nn::BroadcastOp>();
    auto contract = dyn_cast<nn::ContractOp>(product);
    if (!broadcast || !contract || productValue.getDefiningOp() != product ||
        !planMatmulWithBias(contract, broadcast.getDims()))
      return false;
    result.bias = broadcast;
    fused.insert(broadcast);
  } else {
    result.addend = other;
  }
  fused.insert(product);
  fused.insert(productValue.getDefiningOp());
  fusedAdds.insert({add, result});
  return true;
}

void FunctionLowering::findFusedAdds() {
  for (auto add : block.getOps<nn::AddOp>()) {
    Value lhs = add.getLhs(), rhs = add.getRhs();
    if (lhs == rhs || fuse(add, lhs, rhs, true) || fuse(add, rhs, lhs, true))
      continue;
    // Of two products, the later is added to the earlier.
    Operation *first = getProduct(lhs), *second = getProduct(rhs);
    if (first && second && first->isBeforeInBlock(second))
      std::swap(lhs, rhs);
    (void)(fuse(add, lhs, rhs, false) || fuse(add, rhs, lhs, false));
  }
  int64_t index = 0;
  for (Operation &op : block)
    position[&op] = index++;
  for (auto &[add, parts] : fusedAdds) {
    position[parts.product] = position[add];
    if (parts.bias)
      position[parts.bias] = position[add];
  }
}

//===----------------------------------------------------------------------===//
// Storage
//===----------------------------------------------------------------------===//

unsigned FunctionLowering::find(Value value) {
  unsigned id = ids.lookup(value);
  while (parents[id] != id)
    id = parents[id] = parents[parents[id]];
  return id;
}

void FunctionLowering::newStorage(Value value) {
  ids[value] = parents.size();
  parents.push_back(parents.size());
  Storage &created = storages.emplace_back();
  for (Operation *user : value.getUsers())
    created.lastUse = std::max(created.lastUse, position[user]);
}

/// `value` becomes the same memory as `with`.
void FunctionLowering::share(Value value, Value with) {
  unsigned from = find(value), to = find(with);
  if (from == to)
    return;
  storages[to].lastUse = std::max(storages[to].lastUse, storages[from].lastUse);
  parents[from] = to;
}

static Operation *getKernel(rt::LaunchOp launch) {
  return SymbolTable::lookupNearestSymbolFrom(launch, launch.getKernelAttr());
}

/// Results and inputs of the launch that must (`rt.inplace`) or may be one buffer.
static SmallVector<std::pair<int64_t, int64_t>> getInplacePairs(rt::LaunchOp launch) {
  auto pairs = rt::getIndexPairs(getKernel(launch), rt::inplaceAttr);
  llvm::append_range(pairs, rt::getIndexPairs(getKernel(launch), rt::mayInplaceAttr));
  return pairs;
}

/// An update writes over what it updates: of the inputs that a kernel could write over, those that the function's
/// `nn.accumulates` pairs with the results.
static void alignInplacePairs(func::FuncOp function) {
  auto wanted = rt::getIndexPairs(function, "nn.accumulates");
  Operation *done = function.getBody().front().getTerminator();
  for (auto launch : function.getBody().front().getOps<rt::LaunchOp>()) {
    if (!getKernel(launch)->hasAttr(rt::inplaceAttr))
      continue;
    SmallVector<std::pair<int64_t, int64_t>> pairs;
    for (auto [result, argument] : wanted)
      for (auto [input, operand] : llvm::enumerate(launch.getInputs()))
        if (operand == function.getArgument(argument) && done->getOperand(result).getDefiningOp() == launch)
          pairs.push_back({cast<OpResult>(done->getOperand(result)).getResultNumber(), input});
    if (!pairs.empty())
      rt::setIndexPairs(getKernel(launch), rt::inplaceAttr, pairs);
  }
}

/// Whether the function returns `value`, as it is, reshaped, or after further steps in place.
bool FunctionLowering::isReturned(Value value) {
  SmallVector<Value> work = {value};
  while (!work.empty()) {
    Value next = work.pop_back_val();
    for (OpOperand &use : next.getUses()) {
      Operation *user = use.getOwner();
      if (isa<func::ReturnOp>(user))
        return true;
      if (isa<nn::ReshapeOp>(user))
        work.push_back(user->getResult(0));
      if (auto found = fusedAdds.find(user); found != fusedAdds.end() && found->second.addend == next)
        work.push_back(user->getResult(0));
      if (auto launch = dyn_cast<rt::LaunchOp>(user))
        for (auto [output, input] : getInplacePairs(launch))
          if (input == use.getOperandNumber())
            work.push_back(launch.getResult(output));
    }
  }
  return false;
}

/// Whether `op` may write `output` over the memory of `input`: nothing reads that later, and if it is an argument, the
/// caller expects the result in its place.
bool FunctionLowering::canWriteOver(Value input, Value output, Operation *op) {
  Storage &memory = storage(input);
  if (memory.lastUse > position[op] ||
      llvm::any_of(op->getResults(), [&](Value other) { return find(other) == find(input); }))
    return false;
  if (memory.argument >= 0) {
    auto pairs = rt::getIndexPairs(function, "nn.accumulates");
    if (llvm::none_of(pairs, [&](auto pair) { return pair.second == memory.argument; }) || !isReturned(output))
      return false;
  }
  return llvm::count_if(op->getOperands(),
                        [&](Value other) { return ids.contains(other) && find(other) == find(input); }) == 1;
}

void FunctionLowering::assignStorage() {
  for (BlockArgument argument : block.getArguments()) {
    newStorage(argument);
    storage(argument).argument = argument.getArgNumber();
  }
  for (Operation &op : block) {
    if (fused.contains(&op))
      continue;
    for (Value result : op.getResults())
      newStorage(result);
    auto writeOver = [&](Value input, Value output) {
      if (find(input) == find(output) || !canWriteOver(input, output, &op))
        return;
      share(output, input);
      storage(output).written = true;
    };
    if (auto reshape = dyn_cast<nn::ReshapeOp>(op)) {
      share(reshape.getResult(), reshape.getOperand());
    } else if (auto found = fusedAdds.find(&op); found != fusedAdds.end() && found->second.addend) {
      writeOver(found->second.addend, op.getResult(0));
    } else if (auto launch = dyn_cast<rt::LaunchOp>(op)) {
      for (auto [output, input] : getInplacePairs(launch))
        writeOver(launch.getOperand(input), launch.getResult(output));
    }
  }
}

void FunctionLowering::placeStorage() {
  Block &entry = lowered.getBody().front();
  unsigned inputs = block.getNumArguments();
  for (BlockArgument argument : block.getArguments())
    storage(argument).buffer = entry.getArgument(argument.getArgNumber());
  for (auto [r, value] : llvm::enumerate(block.getTerminator()->getOperands())) {
    Storage &memory = storage(value);
    // The result is the argument with something written over it: one buffer under both numbers.
    if (memory.argument >= 0 && memory.written &&
        llvm::none_of(aliases, [&](auto pair) { return pair.second == memory.argument; })) {
      aliases.push_back({static_cast<int64_t>(r), memory.argument});
      placedResults.insert(r);
    } else if (!memory.buffer) {
      memory.buffer = entry.getArgument(inputs + r);
      placedResults.insert(r);
    }
  }
}

//===----------------------------------------------------------------------===//
// New ops
//===----------------------------------------------------------------------===//

Value FunctionLowering::view(Value source, rt::BufferType type, int64_t offset) {
  if (source.getType() == type && offset == 0)
    return source;
  return builder.create<rt::ViewOp>(source.getLoc(), type, source, offset);
}

Value FunctionLowering::buffer(Value value) {
  Value &known = views[value];
  if (known)
    return known;
  auto type = rt::BufferType::get(nn::tensorType(value));
  Storage &memory = storage(value);
  if (!memory.buffer)
    memory.buffer = builder.create<rt::TemporaryOp>(value.getLoc(), type, IntegerAttr());
  return known = view(memory.buffer, type);
}

void FunctionLowering::emitContract(nn::ContractOp op, const MatmulPlan &plan, Value out, Value bias, bool accumulate) {
  Value lhs = buffer(op.getLhs()), rhs = buffer(op.getRhs());
  if (plan.swapped)
    std::swap(lhs, rhs);
  Location loc = op.getLoc();
  auto piece = [&](Value whole, int64_t offset) {
    if (offset == 0)
      return whole;
    auto type = cast<rt::BufferType>(whole.getType());
    auto rest = rt::BufferType::get(type.getContext(), {type.getNumElements() - offset}, type.getElementType());
    return view(whole, rest, offset * 4);
  };
  for (const MatmulPlan::Call &call : plan.calls) {
    NamedAttrList attributes;
    auto setArray = [&](StringRef name, ArrayRef<int64_t> values) {
      attributes.set(name, builder.getDenseI64ArrayAttr(values));
    };
    setArray("batch", plan.batch);
    attributes.set("m", builder.getI64IntegerAttr(plan.m));
    attributes.set("n", builder.getI64IntegerAttr(plan.n));
    attributes.set("k", builder.getI64IntegerAttr(plan.k));
    setArray("lhs_batch", plan.lhsBatch);
    setArray("lhs", plan.lhs);
    setArray("rhs_batch", plan.rhsBatch);
    setArray("rhs", plan.rhs);
    setArray("out_batch", plan.outBatch);
    setArray("out", plan.out);
    if (bias)
      attributes.set("bias", builder.getUnitAttr());
    if (accumulate || call.accumulate)
      attributes.set("accumulate", builder.getUnitAttr());
    FlatSymbolRefAttr desc = descriptors.get<rt::MatmulDescOp>(loc, "m", attributes);
    builder.create<rt::MatmulOp>(loc, desc, piece(lhs, call.lhs), piece(rhs, call.rhs), bias, piece(out, call.out), Value());
  }
}

/// A product into `out`: instead of what is there, or added to it.
void FunctionLowering::emitProduct(Operation *product, Value out, bool accumulate) {
  if (auto contract = dyn_cast<nn::ContractOp>(product)) {
    emitContract(contract, *planMatmul(contract), out, {}, accumulate);
    return;
  }
  auto scatter = cast<nn::EmbeddingGradOp>(product);
  out = view(out, rt::BufferType::get(nn::tensorType(scatter.getResult())));
  if (!accumulate)
    builder.create<rt::ZeroOp>(product->getLoc(), out);
  builder.create<rt::ScatterAddRowsOp>(product->getLoc(), buffer(scatter.getGradient()), buffer(scatter.getIds()), out);
}

void FunctionLowering::emitAdd(nn::AddOp add) {
  FusedAdd &parts = fusedAdds.find(add)->second;
  Value out = buffer(add.getResult());
  if (parts.bias) {
    auto contract = cast<nn::ContractOp>(parts.product);
    emitContract(contract, *planMatmulWithBias(contract, parts.bias.getDims()), out, buffer(parts.bias.getOperand()), false);
    return;
  }
  if (find(parts.addend) != find(add.getResult()))
    builder.create<rt::CopyOp>(add.getLoc(), buffer(parts.addend), out);
  emitProduct(parts.product, out, true);
}

void FunctionLowering::emitLaunch(rt::LaunchOp launch) {
  SmallVector<Value> inputs, outputs;
  for (Value operand : launch.getInputs())
    inputs.push_back(buffer(operand));
  for (Value result : launch.getResults())
    outputs.push_back(buffer(result));
  // Such a kernel reads the input where it writes the output: the value must be there.
  for (auto [output, input] : rt::getIndexPairs(getKernel(launch), rt::inplaceAttr))
    if (find(launch.getResult(output)) != find(launch.getOperand(input))) {
      builder.create<rt::CopyOp>(launch.getLoc(), inputs[input], outputs[output]);
      inputs[input] = outputs[output];
    }
  builder.create<rt::ParallelForOp>(launch.getLoc(), launch.getKernelAttr(), inputs, outputs);
}

template <typename ConvOp>
void FunctionLowering::emitConv(ConvOp op, rt::Direction direction, Value src, Value weights, Value dst) {
  ArrayRef<int64_t> srcShape = nn::tensorType(src).getShape(), weightShape = nn::tensorType(weights).getShape(),
                    dstShape = nn::tensorType(dst).getShape();
  NamedAttrList attributes;
  attributes.set("direction", rt::DirectionAttr::get(op.getContext(), direction));
  attributes.set("batch", builder.getI64IntegerAttr(srcShape[0]));
  attributes.set("in_channels", builder.getI64IntegerAttr(srcShape[1]));
  attributes.set("out_channels", builder.getI64IntegerAttr(dstShape[1]));
  attributes.set("groups", builder.getI64IntegerAttr(op.getGroups()));
  attributes.set("src", builder.getDenseI64ArrayAttr(srcShape.drop_front(2)));
  attributes.set("kernel", builder.getDenseI64ArrayAttr(weightShape.drop_front(2)));
  attributes.set("dst", builder.getDenseI64ArrayAttr(dstShape.drop_front(2)));
  attributes.set("strides", op.getStridesAttr());
  attributes.set("dilations", op.getDilationsAttr());
  attributes.set("pads_begin", op.getPadsBeginAttr());
  attributes.set("pads_end", op.getPadsEndAttr());
  FlatSymbolRefAttr desc = descriptors.get<rt::ConvDescOp>(op.getLoc(), "c", attributes);
  builder.create<rt::ConvOp>(op.getLoc(), desc, buffer(src), buffer(weights), Value(), buffer(dst), Value());
}

void FunctionLowering::emitReturn(func::ReturnOp op) {
  unsigned inputs = block.getNumArguments();
  for (auto [r, value] : llvm::enumerate(op.getOperands()))
    if (!placedResults.contains(r))
      builder.create<rt::CopyOp>(op.getLoc(), buffer(value), lowered.getArgument(inputs + r));
  builder.create<func::ReturnOp>(op.getLoc());
}

LogicalResult FunctionLowering::emit(Operation *op) {
  if (fused.contains(op))
    return success();
  if (fusedAdds.contains(op)) {
    emitAdd(cast<nn::AddOp>(op));
  } else if (auto launch = dyn_cast<rt::LaunchOp>(op)) {
    emitLaunch(launch);
  } else if (auto contract = dyn_cast<nn::ContractOp>(op)) {
    if (!planMatmul(contract))
      return op->emitOpError("takes more than ") << maxMatmulCalls << " matrix products; run --rt-legalize-contracts first";
    emitProduct(op, buffer(contract.getResult()), false);
  } else if (auto scatter = dyn_cast<nn::EmbeddingGradOp>(op)) {
    emitProduct(op, buffer(scatter.getResult()), false);
  } else if (auto conv = dyn_cast<nn::ConvOp>(op)) {
    emitConv(conv, rt::Direction::Forward, conv.getInput(), conv.getWeight(), conv.getResult());
  } else if (auto data = dyn_cast<nn::ConvInputGradOp>(op)) {
    emitConv(data, rt::Direction::BackwardData, data.getResult(), data.getWeight(), data.getGradient());
  } else if (auto weights = dyn_cast<nn::ConvWeightGradOp>(op)) {
    emitConv(weights, rt::Direction::BackwardWeights, weights.getInput(), weights.getResult(), weights.getGradient());
  } else if (auto check = dyn_cast<rt::CheckRangeOp>(op)) {
    builder.create<rt::CheckRangeOp>(op->getLoc(), buffer(check.getIds()), check.getLowAttr(), check.getHighAttr(),
                                     check.getIgnoreAttr(), check.getNameAttr());
  } else if (auto done = dyn_cast<func::ReturnOp>(op)) {
    emitReturn(done);
  } else if (!isa<nn::ReshapeOp>(op)) {
    return op->emitOpError("is neither in a kernel nor a call of the library; run --rt-form-kernels first");
  }
  return success();
}

LogicalResult FunctionLowering::run() {
  alignInplacePairs(function);
  findFusedAdds();
  for (auto broadcast : block.getOps<nn::BroadcastOp>())
    if (fused.contains(broadcast))
      for (Operation *user : broadcast->getUsers())
        if (auto found = fusedAdds.find(user); found == fusedAdds.end() || found->second.bias != broadcast)
          return broadcast.emitOpError("is a bias of a product, but also used by '") << user->getName() << "'";

  SmallVector<Type> types;
  for (Type type : llvm::concat<const Type>(function.getArgumentTypes(), function.getResultTypes()))
    types.push_back(rt::BufferType::get(cast<RankedTensorType>(type)));
  builder.setInsertionPoint(function);
  lowered = builder.create<func::FuncOp>(function.getLoc(), function.getName(), builder.getFunctionType(types, {}));
  lowered.setVisibility(function.getVisibility());
  lowered->setAttr(rt::outsAttr, builder.getI64IntegerAttr(function.getNumResults()));
  builder.setInsertionPointToStart(lowered.addEntryBlock());
  for (unsigned r = 0; r < function.getNumResults(); ++r)
    if (Attribute name = function.getResultAttr(r, rt::nameAttr))
      lowered.setArgAttr(function.getNumArguments() + r, rt::nameAttr, name);

  assignStorage();
  placeStorage();
  rt::setIndexPairs(lowered, rt::aliasesAttr, aliases);
  bool ok = true;
  for (Operation &op : block)
    ok &= succeeded(emit(&op));
  function.erase();
  return success(ok);
}

LogicalResult galvatron::lowerStageFunction(func::FuncOp function, Descriptors &descriptors) {
  return FunctionLowering(function, descriptors).run();
}
