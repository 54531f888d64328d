//===- CutFunctions.cpp ---------------------------------------------------===//

#include "CutFunctions.h"

#include "Steps.h"
#include "mlir/IR/IRMapping.h"
#include "llvm/ADT/SetVector.h"

using namespace mlir;
using namespace galvatron;

namespace {

/// One function as a row of segments with moves between them.
class CutFunction {
public:
  CutFunction(func::FuncOp function, SymbolTable &symbols);

  /// Puts calls of the segments, and copies of the moves, in the place of a call.
  void replace(func::CallOp call);

private:
  struct Segment {
    func::FuncOp function;
    llvm::SetVector<Value> inputs;  ///< values of the whole function
    SmallVector<Value> outputs;     ///< one that the whole function returns twice is there twice: each is a sum of its own
    SmallVector<unsigned> returned; ///< for each output the number of the result of the whole function that it is, or -1
  };

  void findLevels();
  void sinkCheapOps();
  void makeSegment(int64_t level, SymbolTable &symbols);
  int64_t levelOf(Operation *op) const { return levels.lookup(op); }

  func::FuncOp function;
  DenseMap<Operation *, int64_t> levels; ///< how many moves, one after the other, must be made before an op
  int64_t numLevels = 0;
  SmallVector<Segment> segments;         ///< by level
  SmallVector<SmallVector<Operation *>> moves; ///< by level: made after its segment
};

void CutFunction::findLevels() {
  for (Operation &op : function.front()) {
    int64_t level = 0;
    for (Value operand : op.getOperands())
      if (Operation *maker = operand.getDefiningOp())
        level = std::max(level, levelOf(maker) + (isMove(maker) ? 1 : 0));
    levels[&op] = level;
    numLevels = std::max(numLevels, level + 1);
  }
}

/// What is no smaller than what it is made of, and cheap, is made where it is first read, instead of being kept until then.
void CutFunction::sinkCheapOps() {
  for (Operation &op : llvm::reverse(function.front())) {
    auto element = dyn_cast<nn::ElementOpInterface>(op);
    if (!element || element.getElementCost() > 1 || op.use_empty() || bytesOf(op.getResults()) < bytesOf(op.getOperands()))
      continue;
    int64_t first = numLevels;
    for (Operation *user : op.getUsers())
      first = std::min(first, isa<func::ReturnOp>(user) ? levelOf(&op) : levelOf(user));
    levels[&op] = std::max(levelOf(&op), first);
  }
}

void CutFunction::makeSegment(int64_t level, SymbolTable &symbols) {
  auto isInside = [&](Operation *op) {
    return op && op->getBlock() == &function.front() && !isMove(op) && !isa<func::ReturnOp>(op) && levelOf(op) == level;
  };
  Segment &segment = segments.emplace_back();
  for (Operation &op : function.front()) {
    if (!isInside(&op))
      continue;
    for (Value operand : op.getOperands())
      if (!isInside(operand.getDefiningOp()))
        segment.inputs.insert(operand);
    for (Value result : op.getResults()) {
      SmallVector<unsigned> numbers;
      for (auto [number, returned] : llvm::enumerate(function.front().getTerminator()->getOperands()))
        if (returned == result)
          numbers.push_back(number);
      if (numbers.empty() && llvm::any_of(result.getUsers(), [&](Operation *user) { return !isInside(user); }))
        numbers.push_back(-1);
      segment.outputs.append(numbers.size(), result);
      segment.returned.append(numbers);
    }
  }
  if (segment.outputs.empty())
    return;
  OpBuilder builder(function);
  ValueRange inputs(segment.inputs.getArrayRef()), outputs(segment.outputs);
  segment.function = func::FuncOp::create(function.getLoc(), (function.getSymName() + "." + Twine(level)).str(),
                                          builder.getFunctionType(inputs.getTypes(), outputs.getTypes()));
  segment.function.setPrivate();
  symbols.insert(segment.function, Block::iterator(function));
  auto body = OpBuilder::atBlockBegin(segment.function.addEntryBlock());
  IRMapping map;
  map.map(inputs, segment.function.getArguments());
  for (Operation &op : function.front())
    if (isInside(&op))
      body.clone(op, map);
  SmallVector<Value> returned;
  for (Value output : outputs)
    returned.push_back(map.lookup(output));
  body.create<func::ReturnOp>(function.getLoc(), returned);
}

CutFunction::CutFunction(func::FuncOp function, SymbolTable &symbols) : function(function) {
  findLevels();
  sinkCheapOps();
  moves.resize(numLevels);
  for (Operation &op : function.front())
    if (isMove(&op))
      moves[levelOf(&op)].push_back(&op);
  for (int64_t level = 0; level < numLevels; ++level)
    makeSegment(level, symbols);
}

void CutFunction::replace(func::CallOp call) {
  OpBuilder builder(call);
  IRMapping map;
  map.map(function.getArguments(), call.getOperands());
  auto mapped = [&](ArrayRef<Value> values) {
    SmallVector<Value> result;
    for (Value value : values)
      result.push_back(map.lookup(value));
    return result;
  };
  SmallVector<Value> results(function.getNumResults());
  for (auto [segment, after] : llvm::zip_equal(segments, moves)) {
    if (segment.function) {
      auto part = builder.create<func::CallOp>(call.getLoc(), segment.function, mapped(segment.inputs.getArrayRef()));
      for (NamedAttribute attribute : call->getDiscardableAttrs())
        part->setDiscardableAttr(attribute.getName(), attribute.getValue());
      for (auto [output, number, result] : llvm::zip_equal(segment.outputs, segment.returned, part.getResults())) {
        map.map(output, result);
        if (number != unsigned(-1))
          results[number] = result;
      }
    }
    for (Operation *move : after)
      builder.clone(*move, map);
  }
  // What a move makes, or an argument, is returned as it is.
  for (auto [result, returned] : llvm::zip_equal(results, function.front().getTerminator()->getOperands()))
    if (!result)
      result = map.lookup(returned);
  call.replaceAllUsesWith(results);
  call.erase();
}

} // namespace

void galvatron::cutFunctionsAtMoves(ModuleOp module) {
  SymbolTable symbols(module);
  for (auto function : llvm::make_early_inc_range(module.getOps<func::FuncOp>())) {
    if (!function.isPrivate() || function.isDeclaration() || llvm::none_of(function.front(), [](Operation &op) { return isMove(&op); }))
      continue;
    CutFunction cut(function, symbols);
    for (func::FuncOp step : getSteps(module))
      for (auto call : llvm::make_early_inc_range(step.getOps<func::CallOp>()))
        if (call.getCallee() == function.getSymName())
          cut.replace(call);
    function.erase();
  }
}
