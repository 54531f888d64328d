//===- KernelShape.cpp - What a kernel iterates over ----------------------===//

#include "KernelShape.h"

#include "RowTraits.h"

using namespace mlir;
using namespace galvatron;
using namespace galvatron::nn;

bool galvatron::reducesTrailing(ReduceOp op) {
  bool seen = false;
  for (auto [dim, size] : llvm::enumerate(tensorType(op.getOperand()).getShape())) {
    if (size == 1)
      continue;
    bool reduced = llvm::is_contained(op.getDims(), int64_t(dim));
    if (seen && !reduced)
      return false;
    seen |= reduced;
  }
  return true;
}

bool galvatron::reducesInnermost(ReduceOp op) {
  ArrayRef<int64_t> shape = tensorType(op.getOperand()).getShape();
  for (int64_t dim = shape.size(); dim-- > 0;)
    if (shape[dim] != 1)
      return llvm::is_contained(op.getDims(), dim);
  return true;
}

static int64_t elements(Value value) { return tensorType(value).getNumElements(); }

namespace {

class Analysis {
public:
  explicit Analysis(func::FuncOp kernel) : kernel(kernel) {}
  FailureOr<KernelShape> run();

private:
  LogicalResult checkForm();
  LogicalResult chooseKind();
  LogicalResult addRoots();
  unsigned spaceOf(int64_t columns);
  void refine(ColumnSpace &space);

  func::FuncOp kernel;
  KernelShape shape;
  SmallVector<ReduceOp> reduces;
  llvm::DenseMap<Value, unsigned> level; ///< how many reductions deep; absent means 0
};

} // namespace

/// What the pass that makes kernels sees to, and a person who writes one may not.
LogicalResult Analysis::checkForm() {
  if (!llvm::hasSingleElement(kernel.getBody()))
    return kernel.emitError("kernel has ") << kernel.getBody().getBlocks().size() << " blocks, expected one";
  Block &body = kernel.getBody().front();
  FunctionType type = kernel.getFunctionType();
  if (!isa<func::ReturnOp>(body.back()) || type.getNumResults() == 0)
    return kernel.emitError("kernel returns nothing");
  for (Type value : llvm::concat<const Type>(type.getInputs(), type.getResults())) {
    auto tensor = dyn_cast<RankedTensorType>(value);
    Type element = tensor ? tensor.getElementType() : Type();
    if (!tensor || !tensor.hasStaticShape() || !(element.isF32() || element.isSignlessInteger(64) || element.isSignlessInteger(1)))
      return kernel.emitError("kernel takes or returns ") << value << ", expected a static tensor of f32, i64 or i1";
  }
  auto isEmpty = [](Type value) {
    auto tensor = dyn_cast<RankedTensorType>(value);
    return tensor && tensor.getNumElements() == 0;
  };
  if (llvm::any_of(body.getArgumentTypes(), isEmpty))
    return kernel.emitError("kernel has a tensor without elements");
  for (Operation &op : body)
    if (llvm::any_of(op.getResultTypes(), isEmpty))
      return op.emitError("kernel has a tensor without elements");
  return success();
}

FailureOr<KernelShape> Analysis::run() {
  if (failed(checkForm()))
    return failure();
  for (Operation &op : kernel.getBody().front().without_terminator()) {
    unsigned depth = 0;
    for (Value operand : op.getOperands())
      depth = std::max(depth, level.lookup(operand));
    if (auto reduce = dyn_cast<ReduceOp>(op)) {
      reduces.push_back(reduce);
      ++depth;
    } else if (isa<CumsumOp>(op)) {
      shape.kind = KernelKind::Scan;
    } else if (!isa<ElementOpInterface>(op)) {
      return op.emitOpError("cannot be part of a kernel");
    }
    for (Value result : op.getResults())
      level[result] = depth;
  }
  if (shape.kind == KernelKind::Scan) {
    auto results = kernel.getBody().front().getTerminator()->getOperands();
    if (results.size() != 1 || !results.front().getDefiningOp<CumsumOp>())
      return kernel.emitError("kernel with a cumulative sum has another result");
    return shape;
  }
  if (failed(chooseKind()) || failed(addRoots()))
    return failure();
  for (ColumnSpace &space : shape.spaces)
    refine(space);
  return std::move(shape);
}

LogicalResult Analysis::chooseKind() {
  auto outputs = kernel.getBody().front().getTerminator()->getOperands();
  if (reduces.empty()) {
    // Results of one size: the rows are chosen when it is known how the loops merge. Otherwise they are what all
    // results can be cut into.
    shape.flexible = llvm::all_of(outputs, [&](Value output) { return elements(output) == elements(outputs[0]); });
    if (shape.flexible)
      return success();
    for (int64_t rows : rowCandidates(tensorType(outputs[0]).getShape()))
      if (llvm::all_of(outputs, [&](Value output) { return rowPrefix(tensorType(output).getShape(), rows).has_value(); }))
        shape.rows = rows;
    return success();
  }
  ReduceOp first = reduces.front();
  bool sameLoops = llvm::all_of(reduces, [&](ReduceOp reduce) {
    return tensorType(reduce.getOperand()).getShape() == tensorType(first.getOperand()).getShape() &&
           reduce.getDims() == first.getDims();
  });
  shape.rows = elements(first);
  if (llvm::all_of(reduces, [&](ReduceOp reduce) { return reducesTrailing(reduce) && elements(reduce) == shape.rows; }))
    return success();
  if (!sameLoops)
    return kernel.emitError("kernel has reductions over different loops");
  if (reducesInnermost(first)) {
    shape.scatteredShape.assign(tensorType(first.getOperand()).getShape().begin(),
                                tensorType(first.getOperand()).getShape().end());
    for (int64_t dim = 0, rank = shape.scatteredShape.size(); dim < rank; ++dim)
      shape.scatteredKept.push_back(!llvm::is_contained(first.getDims(), dim));
    return success();
  }
  if (llvm::any_of(reduces, [&](ReduceOp reduce) { return level.lookup(reduce.getResult()) != 1; }))
    return kernel.emitError("kernel has a column reduction of a column reduction");
  shape.kind = KernelKind::Columns;
  return success();
}

unsigned Analysis::spaceOf(int64_t columns) {
  for (auto [i, space] : llvm::enumerate(shape.spaces))
    if (space.columns == columns)
      return i;
  shape.spaces.push_back({columns, {}});
  return shape.spaces.size() - 1;
}

LogicalResult Analysis::addRoots() {
  auto add = [&](Value value, ReduceOp reduce, unsigned output) -> LogicalResult {
    unsigned space = 0, phase = level.lookup(value);
    if (shape.kind == KernelKind::Rows) {
      if (elements(value) % std::max<int64_t>(shape.rows, 1) != 0)
        return kernel.emitError("kernel has a result of ") << elements(value) << " elements for " << shape.rows << " rows";
      space = spaceOf(shape.flexible ? elements(value) : elements(value) / std::max<int64_t>(shape.rows, 1));
      bool scatteredFull = shape.isScattered() && elements(value) != shape.rows;
      if (scatteredFull && tensorType(value).getShape() != ArrayRef(shape.scatteredShape))
        return kernel.emitError("kernel has a result whose loops are not those of its reductions");
    } else if (!reduce && elements(value) != shape.rows) {
      return kernel.emitError("kernel of column reductions has a result of another size");
    }
    shape.phases = std::max(shape.phases, phase + 1);
    shape.roots.push_back({value, reduce, output, phase, space});
    return success();
  };
  for (ReduceOp reduce : reduces)
    if (failed(add(reduce.getOperand(), reduce, 0)))
      return failure();
  for (auto [i, value] : llvm::enumerate(kernel.getBody().front().getTerminator()->getOperands()))
    if (failed(add(value, ReduceOp(), i)))
      return failure();
  return success();
}

void Analysis::refine(ColumnSpace &space) {
  if (shape.kind == KernelKind::Columns)
    return;
  if (shape.isScattered() && space.columns != 1) {
    for (auto [size, kept] : llvm::zip(shape.scatteredShape, shape.scatteredKept))
      if (!kept && size != 1)
        space.sizes.push_back(size);
    return;
  }
  // A loop for each dimension of any value of this size; what turns out to stay together is merged later. The
  // numbers of elements below each dimension must divide each other; those that do not are left to arithmetic.
  int64_t total = space.columns * shape.rows;
  SmallVector<int64_t> below{1, space.columns};
  auto addShape = [&](Value value) {
    if (elements(value) != total)
      return;
    int64_t stride = 1;
    for (int64_t size : llvm::reverse(tensorType(value).getShape())) {
      stride *= size;
      if (stride >= space.columns || llvm::is_contained(below, stride))
        continue;
      if (llvm::all_of(below, [&](int64_t other) { return stride % other == 0 || other % stride == 0; }))
        below.push_back(stride);
    }
  };
  for (const KernelRoot &root : shape.roots)
    addShape(root.value);
  for (Operation &op : kernel.getBody().front().without_terminator())
    addShape(op.getResult(0));
  for (Value input : kernel.getArguments())
    addShape(input);
  llvm::sort(below, std::greater<>());
  for (size_t i = 0; i + 1 < below.size(); ++i)
    if (below[i] != below[i + 1])
      space.sizes.push_back(below[i] / below[i + 1]);
}

FailureOr<KernelShape> galvatron::analyzeKernel(func::FuncOp kernel) { return Analysis(kernel).run(); }

bool galvatron::isExpensiveElement(Operation *op) {
  auto element = dyn_cast<ElementOpInterface>(op);
  return element && element.getElementCost() >= 2;
}
