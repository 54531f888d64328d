//===- RTDialect.cpp - Registration, types, and verifiers of the rt dialect ===//

#include "dialects/RT/RT.h"

#include "dialects/NN/NN.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace galvatron::rt;

/// `8x32xf32`: the shape and the element type of a buffer.
static ParseResult parseShape(AsmParser &parser, SmallVector<int64_t> &shape, Type &elementType) {
  return failure(parser.parseDimensionList(shape, /*allowDynamic=*/false) || parser.parseType(elementType));
}

static void printShape(AsmPrinter &printer, ArrayRef<int64_t> shape, Type elementType) {
  printer.printDimensionList(shape);
  if (!shape.empty())
    printer << 'x';
  printer << elementType;
}

using galvatron::dist::parseMonoid;
using galvatron::dist::printMonoid;

#include "dialects/RT/RTDialect.cpp.inc"
#include "dialects/RT/RTEnums.cpp.inc"
#define GET_ATTRDEF_CLASSES
#include "dialects/RT/RTAttrs.cpp.inc"
#define GET_TYPEDEF_CLASSES
#include "dialects/RT/RTTypes.cpp.inc"
#define GET_OP_CLASSES
#include "dialects/RT/RTOps.cpp.inc"

void RTDialect::initialize() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "dialects/RT/RTAttrs.cpp.inc"
      >();
  addTypes<
#define GET_TYPEDEF_LIST
#include "dialects/RT/RTTypes.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "dialects/RT/RTOps.cpp.inc"
      >();
}

//===----------------------------------------------------------------------===//
// Helpers
//===----------------------------------------------------------------------===//

SmallVector<std::pair<int64_t, int64_t>> galvatron::rt::getIndexPairs(Operation *op, StringRef name) {
  SmallVector<std::pair<int64_t, int64_t>> pairs;
  auto array = op->getAttrOfType<ArrayAttr>(name);
  if (!array)
    return pairs;
  for (Attribute attr : array) {
    SmallVector<int64_t, 2> numbers;
    if (auto dense = dyn_cast<DenseI64ArrayAttr>(attr))
      llvm::append_range(numbers, dense.asArrayRef());
    else if (auto list = dyn_cast<ArrayAttr>(attr))
      for (Attribute number : list)
        if (auto integer = dyn_cast<IntegerAttr>(number))
          numbers.push_back(integer.getInt());
    if (numbers.size() == 2)
      pairs.push_back({numbers[0], numbers[1]});
  }
  return pairs;
}

void galvatron::rt::setIndexPairs(Operation *op, StringRef name, ArrayRef<std::pair<int64_t, int64_t>> pairs) {
  if (pairs.empty()) {
    op->removeAttr(name);
    return;
  }
  Builder builder(op->getContext());
  SmallVector<Attribute> array;
  for (auto [first, second] : pairs)
    array.push_back(builder.getI64ArrayAttr({first, second}));
  op->setAttr(name, builder.getArrayAttr(array));
}

static int64_t elementBytes(Type type) {
  return type.isInteger(1) ? 1 : type.getIntOrFloatBitWidth() / 8;
}

int64_t galvatron::rt::getTensorBytes(RankedTensorType type) {
  return type.getNumElements() * elementBytes(type.getElementType());
}

//===----------------------------------------------------------------------===//
// Types
//===----------------------------------------------------------------------===//

LogicalResult BufferType::verify(function_ref<InFlightDiagnostic()> emitError, ArrayRef<int64_t> shape,
                                 Type elementType) {
  for (int64_t size : shape)
    if (size < 0)
      return emitError() << "has a dimension of size " << size;
  if (!elementType.isF32() && !elementType.isInteger(64) && !elementType.isInteger(8) && !elementType.isInteger(1))
    return emitError() << "has element type " << elementType << ", expected f32, i64, i8 or i1";
  return success();
}

int64_t BufferType::getNumElements() const {
  int64_t count = 1;
  for (int64_t size : getShape())
    count *= size;
  return count;
}

int64_t BufferType::getBytes() const { return getNumElements() * elementBytes(getElementType()); }

//===----------------------------------------------------------------------===//
// Kernels and memory
//===----------------------------------------------------------------------===//

/// The function that `op` calls, which must be a kernel.
static FailureOr<Operation *> lookupKernel(Operation *op, FlatSymbolRefAttr symbol, SymbolTableCollection &tables) {
  Operation *kernel = tables.lookupNearestSymbolFrom(op, symbol);
  if (!kernel)
    return op->emitOpError("kernel ") << symbol << " is not declared";
  if (!kernel->hasAttr(kernelAttr))
    return op->emitOpError("callee ") << symbol << " has no attribute '" << kernelAttr << "'";
  return kernel;
}

LogicalResult LaunchOp::verifySymbolUses(SymbolTableCollection &tables) {
  FailureOr<Operation *> kernel = lookupKernel(*this, getKernelAttr(), tables);
  if (failed(kernel))
    return failure();
  auto type = FunctionType::get(getContext(), getOperandTypes(), getResultTypes());
  if (auto function = dyn_cast<func::FuncOp>(*kernel))
    if (function.getFunctionType() != type)
      return emitOpError("calls ") << getKernelAttr() << " as " << type << ", but it is " << function.getFunctionType();
  return success();
}

LogicalResult ParallelForOp::verifySymbolUses(SymbolTableCollection &tables) {
  return lookupKernel(*this, getKernelAttr(), tables);
}

LogicalResult ViewOp::verify() {
  BufferType source = getSource().getType(), result = getResult().getType();
  int64_t offset = getOffset(), size = elementBytes(result.getElementType());
  if (getAxes().size() != getStrides().size()) // C2
    return emitOpError("has ") << getAxes().size() << " axes and " << getStrides().size() << " strides";
  for (int64_t stride : getStrides())
    if (stride < 0 || stride % size) // C2
      return emitOpError("has a stride of ") << stride << " bytes for elements of " << size;
  if (offset + result.getBytes() > source.getBytes())
    return emitOpError("covers bytes ") << offset << " to " << offset + result.getBytes() << " of a buffer of "
                                        << source.getBytes();
  if (offset % size)
    return emitOpError("starts at byte ") << offset << ", which is inside an element of " << size << " bytes";
  return success();
}

LogicalResult CopyOp::verify() {
  int64_t source = getSource().getType().getBytes(), dest = getDest().getType().getBytes();
  if (source != dest)
    return emitOpError("copies ") << source << " bytes to a buffer of " << dest;
  return success();
}

//===----------------------------------------------------------------------===//
// Library calls
//===----------------------------------------------------------------------===//

/// Elements from the first to behind the last that an operand of these sizes and strides touches.
static int64_t extent(ArrayRef<int64_t> sizes, ArrayRef<int64_t> strides) {
  int64_t last = 0;
  for (auto [size, stride] : llvm::zip_equal(sizes, strides))
    last += (size - 1) * stride;
  return last + 1;
}

static SmallVector<int64_t> concat(ArrayRef<int64_t> front, ArrayRef<int64_t> back) {
  SmallVector<int64_t> all(front);
  llvm::append_range(all, back);
  return all;
}

LogicalResult MatmulDescOp::verify() {
  ArrayRef<int64_t> batch = getBatch();
  if (batch.size() > 4)
    return emitOpError("has ") << batch.size() << " batch dimensions, at most 4 are possible";
  for (ArrayRef<int64_t> strides : {getLhsBatch(), getRhsBatch(), getOutBatch()})
    if (strides.size() != batch.size())
      return emitOpError("has ") << strides.size() << " batch strides for " << batch.size() << " batch dimensions";
  for (ArrayRef<int64_t> strides : {getLhs(), getRhs(), getOut()})
    if (strides.size() != 2)
      return emitOpError("has ") << strides.size() << " matrix strides, expected 2";
  for (int64_t size : concat(batch, {static_cast<int64_t>(getM()), static_cast<int64_t>(getN()),
                                     static_cast<int64_t>(getK())}))
    if (size <= 0)
      return emitOpError("has a dimension of size ") << size;
  return success();
}

LogicalResult MatmulOp::verifySymbolUses(SymbolTableCollection &tables) {
  auto desc = tables.lookupNearestSymbolFrom<MatmulDescOp>(*this, getDescriptorAttr());
  if (!desc)
    return emitOpError("descriptor ") << getDescriptorAttr() << " is not an 'rt.matmul_desc'";
  if (desc.getBias() != static_cast<bool>(getBias()))
    return emitOpError("descriptor ") << getDescriptorAttr() << (desc.getBias() ? " has a bias" : " has no bias")
                                      << ", but the call has" << (getBias() ? " one" : " none");
  int64_t m = desc.getM(), n = desc.getN(), k = desc.getK();
  auto check = [&](StringRef what, Value value, ArrayRef<int64_t> sizes, ArrayRef<int64_t> strides) -> LogicalResult {
    int64_t wanted = extent(sizes, strides), found = cast<BufferType>(value.getType()).getNumElements();
    if (wanted > found)
      return emitOpError(what) << " needs " << wanted << " elements, but its buffer has " << found;
    return success();
  };
  return failure(
      failed(check("lhs", getLhs(), concat(desc.getBatch(), {m, k}), concat(desc.getLhsBatch(), desc.getLhs()))) ||
      failed(check("rhs", getRhs(), concat(desc.getBatch(), {k, n}), concat(desc.getRhsBatch(), desc.getRhs()))) ||
      failed(check("out", getOut(), concat(desc.getBatch(), {m, n}), concat(desc.getOutBatch(), desc.getOut()))) ||
      (getBias() && failed(check("bias", getBias(), {n}, {1}))));
}

LogicalResult ConvDescOp::verify() {
  size_t rank = getSrc().size();
  if (rank < 1 || rank > 3)
    return emitOpError("has ") << rank << " spatial dimensions, expected 1 to 3";
  for (ArrayRef<int64_t> array :
       {getKernel(), getDst(), getStrides(), getDilations(), getPadsBegin(), getPadsEnd()})
    if (array.size() != rank)
      return emitOpError("has ") << array.size() << " numbers for " << rank << " spatial dimensions";
  return success();
}

LogicalResult ConvOp::verifySymbolUses(SymbolTableCollection &tables) {
  auto desc = tables.lookupNearestSymbolFrom<ConvDescOp>(*this, getDescriptorAttr());
  if (!desc)
    return emitOpError("descriptor ") << getDescriptorAttr() << " is not an 'rt.conv_desc'";
  if (desc.getBias() != static_cast<bool>(getBias()))
    return emitOpError("descriptor ") << getDescriptorAttr() << (desc.getBias() ? " has a bias" : " has no bias")
                                      << ", but the call has" << (getBias() ? " one" : " none");
  return success();
}

LogicalResult ScatterAddRowsOp::verify() {
  BufferType source = getSource().getType(), ids = getIds().getType(), table = getTable().getType();
  if (!ids.getElementType().isInteger(64))
    return emitOpError("has ids of type ") << ids.getElementType() << ", expected i64";
  if (table.getShape().empty() || table.getShape().front() == 0)
    return emitOpError("has a table without rows");
  int64_t width = table.getNumElements() / table.getShape().front();
  if (source.getNumElements() != ids.getNumElements() * width)
    return emitOpError("has ") << source.getNumElements() << " elements to add, but " << ids.getNumElements()
                               << " ids for rows of " << width;
  return success();
}

LogicalResult CheckRangeOp::verify() {
  Type type = getIds().getType();
  Type elementType;
  if (auto buffer = dyn_cast<BufferType>(type))
    elementType = buffer.getElementType();
  else if (auto tensor = dyn_cast<RankedTensorType>(type); tensor && tensor.hasStaticShape())
    elementType = tensor.getElementType();
  if (!elementType || !elementType.isInteger(64))
    return emitOpError("has ids of type ") << type << ", expected a buffer or static tensor of i64";
  return success();
}

//===----------------------------------------------------------------------===//
// The program
//===----------------------------------------------------------------------===//

void ProgramOp::build(OpBuilder &builder, OperationState &state, StringRef name, int64_t threads, StringRef cpu,
                      StringRef optimizer, int64_t microBatches, ArrayAttr axisNames, ArrayRef<int64_t> axisSizes) {
  state.addAttribute(getSymNameAttrName(state.name), builder.getStringAttr(name));
  state.addAttribute(getThreadsAttrName(state.name), builder.getI64IntegerAttr(threads));
  state.addAttribute(getCpuAttrName(state.name), builder.getStringAttr(cpu));
  state.addAttribute(getOptimizerAttrName(state.name), builder.getStringAttr(optimizer));
  state.addAttribute(getMicroBatchesAttrName(state.name), builder.getI64IntegerAttr(microBatches));
  if (!axisSizes.empty()) {
    state.addAttribute(getAxisNamesAttrName(state.name), axisNames);
    state.addAttribute(getAxisSizesAttrName(state.name), builder.getDenseI64ArrayAttr(axisSizes));
  }
  state.addRegion()->emplaceBlock();
}

LogicalResult ProgramOp::verify() {
  if (getAxisNames().size() != getAxisSizes().size()) // C1
    return emitOpError("has ") << getAxisNames().size() << " axis names and " << getAxisSizes().size() << " sizes";
  for (int64_t size : getAxisSizes())
    if (size < 2) // C1
      return emitOpError("has an axis of size ") << size << "; an axis has at least 2 points";
  int64_t stages = getStages();
  if (stages < 1 || int64_t(getStage()) >= stages || getRanks() % stages) // C2
    return emitOpError("is stage ") << getStage() << " of " << stages << " on " << getRanks() << " ranks";
  return success();
}

int64_t ProgramOp::getRanks() {
  int64_t ranks = 1;
  for (int64_t size : getAxisSizes())
    ranks *= size;
  return ranks;
}

/// C1 of messages.
static LogicalResult verifyPeer(Operation *row, int64_t peer) {
  auto program = row->getParentOfType<ProgramOp>();
  if (!program || peer == int64_t(program.getStage()) || peer >= int64_t(program.getStages()))
    return row->emitOpError("names stage ") << peer << (program ? " of " + std::to_string(program.getStages()) : std::string());
  return success();
}

LogicalResult SendOp::verify() { return verifyPeer(*this, getPeer()); }
LogicalResult WaitSentOp::verify() { return verifyPeer(*this, getPeer()); }
LogicalResult ReceiveOp::verify() { return verifyPeer(*this, getPeer()); }

/// C1 of the collectives: which ranks take part is a set, written in one way.
static LogicalResult verifyAxes(Operation *row, ArrayRef<int64_t> axes) {
  auto program = row->getParentOfType<ProgramOp>();
  int64_t count = program ? program.getAxisSizes().size() : 0;
  if (axes.empty() || axes.front() < 0 || axes.back() >= count || !llvm::is_sorted(axes) ||
      std::adjacent_find(axes.begin(), axes.end()) != axes.end())
    return row->emitOpError("is over axes [") << axes << "] of a mesh of " << count << "; axes ascend";
  return success();
}

LogicalResult AllReduceOp::verify() {
  BufferType input = getInput().getType(), output = getOutput().getType();
  if (failed(verifyAxes(*this, getAxes()))) // C1
    return failure();
  if (input != output)
    return emitOpError("reads ") << input << " and writes " << output;
  if (!input.getElementType().isF32() && !input.getElementType().isInteger(64)) // C2
    return emitOpError("combines elements of type ") << input.getElementType();
  return success();
}

LogicalResult AllGatherOp::verify() {
  BufferType input = getInput().getType(), output = getOutput().getType();
  if (failed(verifyAxes(*this, getAxes()))) // C1
    return failure();
  if (getInput() == getOutput()) // C2
    return emitOpError("gathers into what it reads");
  int64_t ranks = 1;
  for (int64_t axis : getAxes())
    ranks *= (*this)->getParentOfType<ProgramOp>().getAxisSizes()[axis];
  if (input.getElementType() != output.getElementType() || input.getBytes() * ranks != output.getBytes()) // C3
    return emitOpError("makes ") << output << " of " << ranks << " times " << input;
  return success();
}

Operation *CompleteOp::getCollective() {
  for (Operation *row = (*this)->getPrevNode(); row; row = row->getPrevNode()) {
    auto reduce = dyn_cast<AllReduceOp>(row);
    auto gather = dyn_cast<AllGatherOp>(row);
    if ((reduce && reduce.getOutput() == getOutput()) || (gather && gather.getOutput() == getOutput()))
      return row;
  }
  return nullptr;
}

LogicalResult CompleteOp::verify() {
  Operation *collective = getCollective();
  if (!collective || collective->getOperand(0) != getInput()) // C1
    return emitOpError("waits for a collective of these buffers, but no row before it begins one");
  return success();
}

void TableOp::build(OpBuilder &builder, OperationState &state, Mode mode) {
  state.addAttribute(getModeAttrName(state.name), ModeAttr::get(builder.getContext(), mode));
  state.addRegion()->emplaceBlock();
}

/// C1 of the ops that name a parameter: `type` is the memory of that nn.parameter.
static LogicalResult verifyParameter(Operation *op, FlatSymbolRefAttr symbol, BufferType type,
                                     SymbolTableCollection &tables) {
  auto parameter = tables.lookupNearestSymbolFrom<galvatron::nn::ParameterOp>(op, symbol);
  if (!parameter)
    return op->emitOpError("symbol ") << symbol << " is not an 'nn.parameter'";
  auto wanted = BufferType::get(cast<RankedTensorType>(parameter.getType()));
  if (type != wanted)
    return op->emitOpError("has type ") << type << ", but the parameter needs " << wanted;
  return success();
}

LogicalResult ParameterOp::verifySymbolUses(SymbolTableCollection &tables) {
  return verifyParameter(*this, getParameterAttr(), getResult().getType(), tables);
}

LogicalResult GradientOp::verifySymbolUses(SymbolTableCollection &tables) {
  return verifyParameter(*this, getParameterAttr(), getValue().getType(), tables);
}

LogicalResult RunOp::verifySymbolUses(SymbolTableCollection &tables) {
  Operation *callee = tables.lookupNearestSymbolFrom(*this, getCalleeAttr());
  if (!callee)
    return emitOpError("function ") << getCalleeAttr() << " is not declared";
  auto function = dyn_cast<func::FuncOp>(callee);
  if (!function)
    return success();
  if (TypeRange(function.getArgumentTypes()) != TypeRange(getOperandTypes()))
    return emitOpError("passes ") << getOperandTypes() << ", but " << getCalleeAttr() << " takes "
                                  << function.getArgumentTypes();
  llvm::DenseMap<Value, int64_t> seen;
  SmallVector<std::pair<int64_t, int64_t>> aliases = getIndexPairs(function, aliasesAttr);
  for (auto [i, output] : llvm::enumerate(getOutputs()))
    for (auto [j, input] : llvm::enumerate(getInputs()))
      if (input == output && !llvm::is_contained(aliases, std::pair<int64_t, int64_t>(i, j)))
        return emitOpError("writes output ") << i << " over input " << j << ", but " << getCalleeAttr()
                                             << " does not alias these";
  for (auto [i, output] : llvm::enumerate(getOutputs()))
    if (!seen.insert({output, i}).second)
      return emitOpError("has the same buffer for outputs ") << seen[output] << " and " << i;
  return success();
}
