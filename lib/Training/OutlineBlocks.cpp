//===- OutlineBlocks.cpp - A model becomes a chain of calls ---------------===//
//
// Everything after this pass works on distinct blocks, so compile time does not
// grow with depth. Any cut of an order of ops into contiguous segments gives a
// correct chain; runs of isomorphic segments share one function.
//
//===----------------------------------------------------------------------===//

#include "FindRuns.h"
#include "ModelOrder.h"
#include "dialects/NN/Rows.h"

#include "galvatron/Training/Passes.h"
#include "mlir/IR/Dominance.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/Transforms/CSE.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/ADT/StringMap.h"

using namespace mlir;
using namespace galvatron;

namespace galvatron {
#define GEN_PASS_DEF_NNOUTLINEBLOCKSPASS
#include "galvatron/Training/Passes.h.inc"
} // namespace galvatron

namespace {

/// A contiguous part of the model's order that becomes one call.
struct Segment {
  size_t begin, end;
  unsigned function; ///< index of the function that it calls
  bool isBlock;      ///< one of several instances
};

/// A function to be made, and the segment that it is made from.
struct Outlined {
  std::string name;
  size_t firstSegment;
  /// Results: op of the segment, and which of its results.
  SmallVector<std::pair<size_t, unsigned>> results;
  SmallVector<size_t> arguments; ///< their order, by first use
  func::FuncOp function;
};

/// What tells two segments apart, and the values that they use from outside, by first use.
struct Form {
  std::string text;
  SmallVector<Value> externals;
};

class Outliner {
public:
  explicit Outliner(func::FuncOp forward)
      : forward(forward), order(forward), symbols(forward->getParentOfType<ModuleOp>()) {}

  void run();

private:
  size_t positionIn(Value value, size_t begin, size_t end) const;
  Form formOf(size_t begin, size_t end) const;
  SmallVector<CutCost> costCuts() const;
  Run verifyRun(const Run &run) const;
  bool isChained(const Run &run) const;

  void findSegments();
  void addGap(size_t begin, size_t end, StringRef name);
  void findPrepared();
  void findSignatures();
  SmallVector<Value> externalsOf(const Segment &segment) const;
  void orderArguments(Outlined &outlined) const;
  SmallVector<Value> argumentsOf(const Segment &segment) const;
  bool isLocal(Value value, const Segment &segment) const;
  bool combinesRows(Value value) const;
  SmallVector<Operation *> sliceOf(Value value, const IRMapping &known = {}) const;
  void cloneSlice(Value value, OpBuilder &builder, IRMapping &map) const;

  func::FuncOp createFunction(StringRef name, Location loc, ArrayRef<Value> arguments, TypeRange results);
  void buildFunction(Outlined &outlined);
  void buildPrepare(OpBuilder &builder, IRMapping &map);
  void rebuildForward();

  func::FuncOp forward;
  ModelOrder order;
  SymbolTable symbols;
  SmallVector<Segment> segments;
  SmallVector<Outlined> functions;
  llvm::StringMap<unsigned> blocks; ///< form to function
  SmallVector<size_t> blockLengths;
  /// Prepared values and the one segment that uses each; functions.size() if a block or several do.
  llvm::MapVector<Value, size_t> prepared;
};

//===----------------------------------------------------------------------===//
// Forms
//===----------------------------------------------------------------------===//

/// The position of the op that makes a value, or `end` if it is not in [begin, end).
size_t Outliner::positionIn(Value value, size_t begin, size_t end) const {
  Operation *op = value.getDefiningOp();
  if (!op || !order.isOrdered(op))
    return end;
  size_t position = order.positionOf(op);
  return position >= begin && position < end ? position : end;
}

Form Outliner::formOf(size_t begin, size_t end) const {
  Form form;
  DenseMap<Value, size_t> numbers;
  SmallVector<size_t> words;
  for (size_t i = begin; i < end; ++i) {
    words.push_back(order.getKeys()[i]);
    for (Value operand : order.getOps()[i]->getOperands()) {
      if (order.roleOf(operand) == Role::Recomputed)
        continue; // the key has it
      size_t position = positionIn(operand, begin, end);
      if (position < end) {
        words.append({position - begin, cast<OpResult>(operand).getResultNumber()});
        continue;
      }
      bool isPrepared = order.roleOf(operand) == Role::Prepared;
      for (Value external : isPrepared ? order.basesOf(operand) : ArrayRef<Value>(operand)) {
        auto [entry, isNew] = numbers.try_emplace(external, form.externals.size());
        if (isNew)
          form.externals.push_back(external);
        words.append({end - begin, entry->second});
      }
    }
  }
  form.text.assign(reinterpret_cast<const char *>(words.data()), words.size() * sizeof(size_t));
  return form;
}

SmallVector<CutCost> Outliner::costCuts() const {
  size_t n = order.getOps().size();
  SmallVector<CutCost> cuts(n + 2);
  for (auto [i, op] : llvm::enumerate(order.getOps()))
    for (Value result : op->getResults()) {
      size_t last = i;
      for (Operation *user : result.getUsers())
        last = std::max(last, order.isOrdered(user) ? order.positionOf(user) : isa<func::ReturnOp>(user) ? n : i);
      RankedTensorType type = nn::tensorType(result);
      int64_t bytes = type.getNumElements() * std::max<int64_t>(type.getElementTypeBitWidth() / 8, 1);
      // Live across the cuts before positions i + 1 to last: differences first.
      cuts[i + 1].values += 1, cuts[i + 1].bytes += bytes;
      cuts[last + 1].values -= 1, cuts[last + 1].bytes -= bytes;
    }
  for (size_t i = 1; i <= n; ++i)
    cuts[i].values += cuts[i - 1].values, cuts[i].bytes += cuts[i - 1].bytes;
  cuts.pop_back();
  return cuts;
}

/// Whether the second instance uses what the first makes, and has a parameter: equal branches side by side are no
/// chain, and what has no parameter is no layer.
bool Outliner::isChained(const Run &run) const {
  bool chained = false, hasParameter = false;
  for (Operation *op : order.getOps().slice(run.begin + run.period, run.period))
    for (Value operand : op->getOperands()) {
      chained |= positionIn(operand, run.begin, run.begin + run.period) < run.begin + run.period;
      hasParameter |= order.roleOf(operand) == Role::Parameter;
    }
  return chained && hasParameter;
}

/// The longest part of a run whose instances are isomorphic.
Run Outliner::verifyRun(const Run &run) const {
  if (!isChained(run))
    return {};
  Run best;
  std::string current;
  size_t first = 0;
  for (size_t k = 0; k < run.count; ++k) {
    size_t begin = run.begin + k * run.period;
    std::string text = formOf(begin, begin + run.period).text;
    if (text != current) {
      current = std::move(text);
      first = k;
    }
    if (k + 1 - first > best.count)
      best = {run.begin + first * run.period, run.period, k + 1 - first};
  }
  return best;
}

//===----------------------------------------------------------------------===//
// Segments
//===----------------------------------------------------------------------===//

void Outliner::findSegments() {
  SmallVector<CutCost> cuts = costCuts();
  SmallVector<Run> runs = findRuns(order.getKeys(), cuts, [&](Run run) { return verifyRun(run); });
  for (const Run &run : runs) {
    Form form = formOf(run.begin, run.begin + run.period);
    if (blocks.try_emplace(form.text, blockLengths.size()).second)
      blockLengths.push_back(run.period);
  }
  // Blocks get the first indices, in their order.
  for (size_t i = 0; i < blockLengths.size(); ++i)
    functions.push_back({"block" + std::to_string(i), size_t(-1), {}, {}, {}});
  size_t done = 0, number = 0, n = order.getOps().size();
  for (const Run &run : runs) {
    addGap(done, run.begin, done == 0 ? "prologue" : "segment" + std::to_string(++number));
    unsigned function = blocks.lookup(formOf(run.begin, run.begin + run.period).text);
    for (size_t k = 0; k < run.count; ++k)
      segments.push_back({run.begin + k * run.period, run.begin + (k + 1) * run.period, function, true});
    done = run.end();
  }
  addGap(done, n, runs.empty() ? "model" : "epilogue");
}

/// Adds what lies between runs, in which a single instance of a block may hide.
void Outliner::addGap(size_t begin, size_t end, StringRef name) {
  size_t done = begin;
  auto addRest = [&](size_t until) {
    if (done < until) {
      std::string unique = (name + (done == begin ? "" : "_" + std::to_string(done - begin))).str();
      segments.push_back({done, until, unsigned(functions.size()), false});
      functions.push_back({unique, size_t(-1), {}, {}, {}});
    }
  };
  SmallVector<size_t> lengths(blockLengths);
  llvm::sort(lengths);
  lengths.erase(std::unique(lengths.begin(), lengths.end()), lengths.end());
  DenseSet<unsigned> firstKeys;
  for (const auto &block : blocks)
    firstKeys.insert(*reinterpret_cast<const size_t *>(block.getKey().data()));
  for (size_t i = begin; i < end; ++i) {
    if (!firstKeys.contains(order.getKeys()[i]))
      continue;
    for (size_t length : lengths) {
      if (i + length > end)
        continue;
      auto block = blocks.find(formOf(i, i + length).text);
      if (block == blocks.end())
        continue;
      addRest(i);
      segments.push_back({i, i + length, block->second, true});
      done = i + length;
      i = done - 1;
      break;
    }
  }
  addRest(end);
}

void Outliner::findPrepared() {
  size_t several = functions.size();
  auto use = [&](Value value, size_t function) {
    if (ModelOrder::isLeaf(value))
      return;
    auto [entry, isNew] = prepared.insert({value, function});
    if (!isNew && entry->second != function)
      entry->second = several;
  };
  for (const Segment &segment : segments)
    for (Operation *op : order.getOps().slice(segment.begin, segment.end - segment.begin))
      for (Value operand : op->getOperands())
        if (order.roleOf(operand) == Role::Prepared)
          for (Value base : order.basesOf(operand))
            use(base, segment.isBlock ? several : segment.function);
  // A function may be given a few rows of the batch at a time; what needs them all is made where all of them are.
  for (auto &[value, function] : prepared)
    if (function != several && combinesRows(value))
      function = several;
  // No segment holds an output that depends on no parameter.
  for (Value output : forward.front().getTerminator()->getOperands())
    if (order.roleOf(output) == Role::Prepared || order.roleOf(output) == Role::Recomputed)
      use(output, several);
}

/// Whether rows of the batch meet in what makes a prepared value: a mean of an input, a count of labels.
bool Outliner::combinesRows(Value value) const {
  nn::Rows rows = nn::getInputRows(forward);
  return llvm::any_of(sliceOf(value), [&](Operation *op) { return nn::followRows(op, rows); });
}

/// Whether `segment` makes a prepared value itself, because nobody else uses it.
bool Outliner::isLocal(Value value, const Segment &segment) const {
  auto found = prepared.find(value);
  return found != prepared.end() && found->second == segment.function;
}

void Outliner::findSignatures() {
  for (size_t index = 0; index < segments.size(); ++index) {
    const Segment &segment = segments[index];
    Outlined &outlined = functions[segment.function];
    if (outlined.firstSegment == size_t(-1))
      outlined.firstSegment = index;
    auto isOutside = [&](Operation *user) {
      if (!order.isOrdered(user))
        return isa<func::ReturnOp>(user);
      size_t position = order.positionOf(user);
      return position < segment.begin || position >= segment.end;
    };
    for (size_t i = segment.begin; i < segment.end; ++i)
      for (OpResult result : order.getOps()[i]->getResults()) {
        std::pair<size_t, unsigned> place(i - segment.begin, result.getResultNumber());
        if (llvm::any_of(result.getUsers(), isOutside) && !llvm::is_contained(outlined.results, place))
          outlined.results.push_back(place);
      }
  }
  for (Outlined &outlined : functions)
    if (outlined.firstSegment != size_t(-1)) {
      llvm::sort(outlined.results); // in the order in which they are made
      orderArguments(outlined);
    }
}

/// The ops that make a value, back to leaves or what is known, in their order.
SmallVector<Operation *> Outliner::sliceOf(Value value, const IRMapping &known) const {
  SetVector<Operation *> slice;
  auto add = [&](Value needed) {
    if (!ModelOrder::isLeaf(needed) && !known.contains(needed))
      slice.insert(needed.getDefiningOp());
  };
  add(value);
  for (size_t i = 0; i < slice.size(); ++i)
    for (Value operand : slice[i]->getOperands())
      add(operand);
  SmallVector<Operation *> sorted(slice.getArrayRef());
  llvm::sort(sorted, [](Operation *a, Operation *b) { return a->isBeforeInBlock(b); });
  return sorted;
}

void Outliner::cloneSlice(Value value, OpBuilder &builder, IRMapping &map) const {
  for (Operation *op : sliceOf(value, map))
    builder.clone(*op, map);
}

/// What a segment reads from outside, by first use.
SmallVector<Value> Outliner::externalsOf(const Segment &segment) const {
  SetVector<Value> values;
  for (Value value : formOf(segment.begin, segment.end).externals) {
    if (!isLocal(value, segment)) {
      values.insert(value);
      continue;
    }
    for (Operation *op : sliceOf(value))
      for (Value operand : op->getOperands())
        if (ModelOrder::isLeaf(operand))
          values.insert(operand);
  }
  return values.takeVector();
}

/// Hidden states come first, then what is prepared, then parameters.
void Outliner::orderArguments(Outlined &outlined) const {
  SmallVector<Value> externals = externalsOf(segments[outlined.firstSegment]);
  auto append = [&](auto matches) {
    for (auto [i, value] : llvm::enumerate(externals))
      if (matches(order.roleOf(value)))
        outlined.arguments.push_back(i);
  };
  append([](Role role) { return role == Role::Model; });
  append([](Role role) { return role == Role::Prepared || role == Role::Recomputed; });
  append([](Role role) { return role == Role::Parameter; });
}

/// What a segment is called with.
SmallVector<Value> Outliner::argumentsOf(const Segment &segment) const {
  SmallVector<Value> externals = externalsOf(segment), ordered;
  for (size_t i : functions[segment.function].arguments)
    ordered.push_back(externals[i]);
  return ordered;
}

//===----------------------------------------------------------------------===//
// Functions
//===----------------------------------------------------------------------===//

func::FuncOp Outliner::createFunction(StringRef name, Location loc, ArrayRef<Value> arguments, TypeRange results) {
  OpBuilder builder(forward);
  SmallVector<Type> types;
  SmallVector<Location> locations;
  for (Value argument : arguments) {
    types.push_back(argument.getType());
    locations.push_back(argument.getLoc());
  }
  auto function = func::FuncOp::create(loc, name, builder.getFunctionType(types, results));
  function.setPrivate();
  symbols.insert(function, Block::iterator(forward));
  builder.createBlock(&function.getBody(), {}, types, locations);
  return function;
}

void Outliner::buildFunction(Outlined &outlined) {
  const Segment &segment = segments[outlined.firstSegment];
  SmallVector<Value> arguments = argumentsOf(segment), results;
  ArrayRef<Operation *> ops = order.getOps().slice(segment.begin, segment.end - segment.begin);
  for (auto [op, number] : outlined.results)
    results.push_back(ops[op]->getResult(number));
  outlined.function = createFunction(outlined.name, ops.front()->getLoc(), arguments, ValueRange(results).getTypes());

  OpBuilder builder(outlined.function.getBody());
  IRMapping map;
  map.map(arguments, outlined.function.getArguments());
  for (Operation *op : ops) {
    for (Value operand : op->getOperands())
      if (!map.contains(operand))
        cloneSlice(operand, builder, map);
    builder.clone(*op, map);
  }
  for (Value &result : results)
    result = map.lookup(result);
  builder.create<func::ReturnOp>(ops.back()->getLoc(), results);
}

void Outliner::buildPrepare(OpBuilder &builder, IRMapping &map) {
  SmallVector<Value> results;
  SetVector<Value> arguments;
  for (auto [value, function] : prepared)
    if (function == functions.size()) {
      results.push_back(value);
      for (Operation *op : sliceOf(value))
        for (Value operand : op->getOperands())
          if (ModelOrder::isLeaf(operand))
            arguments.insert(operand);
    }
  if (results.empty())
    return;
  func::FuncOp function = createFunction("prepare", results.front().getLoc(), arguments.getArrayRef(),
                                         ValueRange(results).getTypes());
  OpBuilder body(function.getBody());
  IRMapping inside;
  inside.map(arguments.getArrayRef(), function.getArguments());
  SmallVector<Value> mapped, operands;
  for (Value result : results) {
    cloneSlice(result, body, inside);
    mapped.push_back(inside.lookup(result));
  }
  body.create<func::ReturnOp>(results.back().getLoc(), mapped);
  for (Value argument : arguments)
    operands.push_back(map.lookupOrDefault(argument));
  auto call = builder.create<func::CallOp>(function.getLoc(), function, operands);
  map.map(results, call.getResults());
}

void Outliner::rebuildForward() {
  Block &body = forward.front();
  Operation *terminator = body.getTerminator();
  SmallVector<Operation *> old;
  for (Operation &op : body.without_terminator())
    if (!isa<nn::GetParameterOp>(op))
      old.push_back(&op);
  SmallVector<Operation *> parameters;
  for (Operation &op : body.without_terminator())
    if (isa<nn::GetParameterOp>(op))
      parameters.push_back(&op);
  for (Operation *op : llvm::reverse(parameters))
    op->moveBefore(&body, body.begin());

  OpBuilder builder(terminator);
  IRMapping map;
  buildPrepare(builder, map);
  for (Outlined &outlined : functions)
    if (outlined.firstSegment != size_t(-1))
      buildFunction(outlined);
  for (const Segment &segment : segments) {
    Outlined &outlined = functions[segment.function];
    SmallVector<Value> operands = argumentsOf(segment);
    for (Value &operand : operands)
      operand = map.lookupOrDefault(operand);
    auto call = builder.create<func::CallOp>(order.getOps()[segment.begin]->getLoc(), outlined.function, operands);
    for (auto [result, place] : llvm::zip(call.getResults(), outlined.results))
      map.map(order.getOps()[segment.begin + place.first]->getResult(place.second), result);
  }
  for (OpOperand &output : terminator->getOpOperands())
    output.set(map.lookupOrDefault(output.get()));
  for (Operation *op : llvm::reverse(old))
    op->erase();
  for (Operation *op : parameters)
    if (op->use_empty())
      op->erase();
}

void Outliner::run() {
  findSegments();
  findPrepared();
  findSignatures();
  rebuildForward();
}

class OutlineBlocks : public galvatron::impl::NnOutlineBlocksPassBase<OutlineBlocks> {
  void runOnOperation() override {
    auto forward = getOperation().lookupSymbol<func::FuncOp>("forward");
    if (!forward || forward.isDeclaration() || !llvm::hasSingleElement(forward.getBody())) {
      getOperation().emitError("module has no function @forward to outline");
      return signalPassFailure();
    }
    bool ok = true;
    for (Operation &op : forward.front().without_terminator())
      if (!isa<nn::GetParameterOp>(op) && !isPure(&op)) {
        op.emitOpError("has effects, which a model's @forward has not");
        ok = false;
      }
    if (!ok)
      return signalPassFailure();
    // Equal values become one, or layers would differ in what they share.
    IRRewriter rewriter(&getContext());
    DominanceInfo dominance(forward);
    eliminateCommonSubExpressions(rewriter, dominance, forward);
    repeatBroadcasts(forward);
    Outliner(forward).run();
  }

  /// A parameter of all layers (ALBERT's biases) is repeated along rows by each of them: blocks share the parameter, not the
  /// large tensor.
  static void repeatBroadcasts(func::FuncOp forward) {
    for (auto broadcast : llvm::make_early_inc_range(forward.getOps<nn::BroadcastOp>()))
      if (broadcast.getOperand().getDefiningOp<nn::GetParameterOp>())
        for (OpOperand &use : llvm::make_early_inc_range(llvm::drop_begin(broadcast->getUses()))) {
          OpBuilder builder(broadcast->getNextNode() ? broadcast->getNextNode() : broadcast.getOperation());
          use.set(builder.clone(*broadcast)->getResult(0));
        }
  }
};

} // namespace
