//===- KernelEmitter.cpp - Emits the loops of a kernel ------------------===//

#include "KernelLoops.h"
#include "dialects/RT/RT.h"

using namespace mlir;
using namespace galvatron;
using namespace galvatron::nn;

//===----------------------------------------------------------------------===//
// The whole kernel
//===----------------------------------------------------------------------===//

LogicalResult KernelLoops::emit() {
  SmallVector<Type> types;
  SmallVector<DictionaryAttr> attributes;
  auto noalias = b.getDictionaryAttr(b.getNamedAttr("llvm.noalias", b.getUnitAttr()));
  FunctionType type = kernel.getFunctionType();
  for (Type tensor : llvm::concat<const Type>(type.getInputs(), type.getResults())) {
    types.push_back(ElementPuller::flatType(cast<RankedTensorType>(tensor)));
    attributes.push_back(noalias);
  }
  types.append(2, b.getIndexType());
  attributes.append(2, b.getDictionaryAttr({}));
  function = func::FuncOp::create(loc, kernel.getSymName(), b.getFunctionType(types, {}));
  function->setAllArgAttrs(attributes);
  Block *entry = function->addEntryBlock();
  b.setInsertionPointToStart(entry);
  b.create<func::ReturnOp>(loc);
  b.setInsertionPoint(entry->getTerminator());

  puller = std::make_unique<ElementPuller>(b, loc, kernel.getSymName().str());
  puller->pushScope(entry);
  puller->onElement = [this](Operation *op, const IndexForm &linear) { return keepElement(op, linear); };
  unsigned inputs = type.getNumInputs();
  outputs.clear();
  for (unsigned i = 0; i < type.getNumResults(); ++i)
    outputs.push_back(function->getArgument(inputs + i));
  for (unsigned i = 0; i < inputs; ++i)
    puller->bindInput(kernel.getArgument(i), function->getArgument(i));
  // Where both are the same memory, one name is used for it: `noalias` stays true.
  for (auto [output, input] : rt::getIndexPairs(kernel, rt::inplaceAttr))
    puller->bindInput(kernel.getArgument(input), outputs[output]);
  begin = function->getArgument(types.size() - 2);
  end = function->getArgument(types.size() - 1);
  row = IndexForm(0);
  buffers.clear();
  variables.assign(std::max<size_t>(1, shape.spaces.size()), {});

  switch (shape.kind) {
  case KernelKind::Rows:
    emitRows();
    break;
  case KernelKind::Columns:
    final ? emitColumns() : emitColumnsOnce();
    break;
  case KernelKind::Scan:
    emitScan();
    break;
  }
  if (!puller->error.empty())
    return kernel.emitError("kernel cannot be lowered: ") << puller->error;
  return success();
}

FailureOr<LoweredKernel> KernelLoops::run() {
  for (const ColumnSpace &columns : shape.spaces) {
    NestChoice choice{columns.sizes, {}};
    choice.cuts.resize(columns.sizes.size());
    choices.push_back(std::move(choice));
  }
  if (shape.kind == KernelKind::Columns) {
    for (KernelRoot &root : shape.roots) {
      if (!root.reduce)
        continue;
      for (auto [dim, size] : llvm::enumerate(tensorType(root.value).getShape())) {
        if (size == 1)
          continue;
        columnSizes.push_back(size);
        columnKept.push_back(!llvm::is_contained(root.reduce.getDims(), int64_t(dim)));
      }
      break;
    }
  }
  if (shape.kind != KernelKind::Scan) {
    if (failed(emit()))
      return failure();
    learn();
  }
  final = true;
  if (failed(emit()))
    return failure();
  LoweredKernel lowered;
  for (auto &[contents, name] : puller->tables)
    lowered.tables.emplace_back(name, cast<DenseElementsAttr>(contents));
  (*function)->setAttr(rt::rowsAttr, b.getI64IntegerAttr(shape.rows));
  (*function)->setAttr(rt::grainAttr, b.getI64IntegerAttr(grain()));
  lowered.function = std::move(function);
  return std::move(lowered);
}

FailureOr<LoweredKernel> galvatron::emitKernel(func::FuncOp kernel) {
  FailureOr<KernelShape> shape = analyzeKernel(kernel);
  if (failed(shape))
    return failure();
  return KernelLoops(kernel, std::move(*shape)).run();
}
