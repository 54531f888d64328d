//===- Pipe.cpp - Registration and verifiers ------------------------------===//

#include "dialects/Pipe/Pipe.h"

#include "dialects/NN/NN.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"
#include "mlir/Interfaces/FunctionInterfaces.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace galvatron::pipe;

using galvatron::dist::MeshOp;
using galvatron::dist::parseMonoid;
using galvatron::dist::printMonoid;

#include "dialects/Pipe/PipeDialect.cpp.inc"
#include "dialects/Pipe/PipeEnums.cpp.inc"
#define GET_ATTRDEF_CLASSES
#include "dialects/Pipe/PipeAttrs.cpp.inc"
#define GET_OP_CLASSES
#include "dialects/Pipe/PipeOps.cpp.inc"

void PipeDialect::initialize() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "dialects/Pipe/PipeAttrs.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "dialects/Pipe/PipeOps.cpp.inc"
      >();
}

//===----------------------------------------------------------------------===//
// Accumulation
//===----------------------------------------------------------------------===//

static constexpr StringLiteral accumulatesName = "nn.accumulates";

SmallVector<std::pair<int64_t, int64_t>> galvatron::pipe::getAccumulates(Operation *function) {
  SmallVector<std::pair<int64_t, int64_t>> pairs;
  auto list = function->getAttrOfType<ArrayAttr>(accumulatesName);
  if (!list)
    return pairs;
  for (Attribute entry : list)
    if (auto pair = dyn_cast<ArrayAttr>(entry); pair && pair.size() == 2)
      if (auto result = dyn_cast<IntegerAttr>(pair[0]), argument = dyn_cast<IntegerAttr>(pair[1]); result && argument)
        pairs.emplace_back(result.getInt(), argument.getInt());
  return pairs;
}

LogicalResult galvatron::pipe::verifyAccumulates(Operation *function) {
  auto list = function->getAttrOfType<ArrayAttr>(accumulatesName);
  if (!list)
    return success();
  auto pairs = getAccumulates(function);
  if (pairs.size() != list.size())
    return function->emitOpError("has an nn.accumulates attribute that is no list of [result, argument] pairs");
  auto callable = cast<FunctionOpInterface>(function);
  for (auto [result, argument] : pairs) {
    if (result < 0 || result >= int64_t(callable.getNumResults()) || argument < 0 ||
        argument >= int64_t(callable.getNumArguments()))
      return function->emitOpError("accumulates result ")
             << result << " into argument " << argument << ", but has " << callable.getNumResults()
             << " results and " << callable.getNumArguments() << " arguments";
    if (callable.getResultTypes()[result] != callable.getArgumentTypes()[argument])
      return function->emitOpError("accumulates result ")
             << result << " of type " << callable.getResultTypes()[result] << " into argument " << argument
             << " of type " << callable.getArgumentTypes()[argument];
  }
  return success();
}

std::optional<int64_t> galvatron::pipe::getMicroBatch(Operation *row) {
  auto number = row->getAttrOfType<IntegerAttr>("micro_batch");
  return number ? std::optional<int64_t>(number.getInt()) : std::nullopt;
}

std::string galvatron::pipe::getTableName(StringRef step, int64_t stage, int64_t stages) {
  return stages == 1 ? step.str() : (step + ".stage" + Twine(stage)).str();
}

StringRef galvatron::pipe::getStepName(TableOp table) {
  auto [step, stage] = table.getSymName().rsplit(".stage");
  return table.getSymName() == getTableName(step, table.getStage(), 2) ? step : table.getSymName();
}

//===----------------------------------------------------------------------===//
// Verifiers
//===----------------------------------------------------------------------===//

LogicalResult TableOp::verifyRegions() {
  bool ok = true;
  for (Operation &row : getRows().front()) {
    if (!isa_and_nonnull<PipeDialect>(row.getDialect()) || isa<TransferOp>(row)) { // C1
      row.emitOpError("is no row of a table: rows are ops of the pipe dialect, transfers apart");
      ok = false;
    } else if (auto number = getMicroBatch(&row); number && *number >= int64_t(getMicroBatches())) { // C2
      row.emitOpError("is of micro-batch ") << *number << ", but the table has " << getMicroBatches();
      ok = false;
    }
  }
  return success(ok);
}

LogicalResult TransferOp::verify() {
  if (getFrom() == getTo()) // C1
    return emitOpError("is from stage ") << getFrom() << " to itself";
  return success();
}

LogicalResult RunOp::verify() {
  bool each = getPhase() == Phase::Forward || getPhase() == Phase::Backward;
  if (each != getMicroBatch().has_value()) // C2
    return emitOpError("of phase ") << stringifyPhase(getPhase())
                                    << (each ? " needs a micro-batch" : " runs once a step and has no micro-batch");
  return success();
}

LogicalResult RunOp::verifySymbolUses(SymbolTableCollection &symbols) {
  auto callee = symbols.lookupNearestSymbolFrom<FunctionOpInterface>(*this, getCalleeAttr());
  if (!callee) // C1
    return emitOpError("runs ") << getCalleeAttr() << ", which is no function";
  Type found = FunctionType::get(getContext(), getOperandTypes(), getResultTypes());
  if (callee.getFunctionType() != found) // C1
    return emitOpError("has type ") << found << ", but " << getCalleeAttr() << " has " << callee.getFunctionType();
  return success();
}

static LogicalResult verifyParameterUse(Operation *row, SymbolTableCollection &symbols, FlatSymbolRefAttr name,
                                        Type type) {
  auto parameter = symbols.lookupNearestSymbolFrom<galvatron::nn::ParameterOp>(row, name);
  if (!parameter) // C1
    return row->emitOpError("names ") << name << ", which is no nn.parameter";
  if (parameter.getType() != type) // C1
    return row->emitOpError("has type ") << type << ", but parameter " << name << " has " << parameter.getType();
  return success();
}

LogicalResult ParameterOp::verifySymbolUses(SymbolTableCollection &symbols) {
  return verifyParameterUse(*this, symbols, getParameterAttr(), getType());
}

LogicalResult StoreOp::verifySymbolUses(SymbolTableCollection &symbols) {
  return verifyParameterUse(*this, symbols, getParameterAttr(), getValue().getType());
}

LogicalResult GradientOp::verifySymbolUses(SymbolTableCollection &symbols) {
  return verifyParameterUse(*this, symbols, getParameterAttr(), getValue().getType());
}

void ParameterOp::getAsmResultNames(OpAsmSetValueNameFn setName) { setName(getResult(), getParameter()); }

/// What relates a whole value and rows of it, of which those of piece number `number` are meant; `done` says what is done with
/// them.
static LogicalResult verifyRows(Operation *row, RankedTensorType whole, RankedTensorType piece, int64_t number, StringRef done) {
  SmallVector<int64_t> differing;
  if (whole.getRank() == piece.getRank())
    for (auto [i, sizes] : llvm::enumerate(llvm::zip(whole.getShape(), piece.getShape())))
      if (std::get<0>(sizes) != std::get<1>(sizes))
        differing.push_back(i);
  if (whole.getRank() != piece.getRank() || whole.getElementType() != piece.getElementType() ||
      differing.size() > 1) // C1
    return row->emitOpError(done) << " a " << piece << (done == "takes" ? " out of" : " into") << " a " << whole
                                  << ": they may differ only in one dimension";
  if (differing.empty())
    return success();
  int64_t dim = differing.front();
  if (llvm::any_of(whole.getShape().take_front(dim), [](int64_t size) { return size != 1; })) // C2
    return row->emitOpError(done) << " a piece along dimension " << dim << " of a " << whole << ", which is not contiguous";
  int64_t end = (number + 1) * piece.getDimSize(dim);
  if (end > whole.getDimSize(dim)) // C3
    return row->emitOpError(done) << " rows up to " << end << " of a value that has " << whole.getDimSize(dim);
  return success();
}

/// The number of ranks along the axes of a row, which may have none.
static FailureOr<int64_t> countRanks(Operation *row, SymbolTableCollection &symbols, FlatSymbolRefAttr name, ArrayAttr axes) {
  if (!name)
    return 1;
  FailureOr<MeshOp> mesh = galvatron::dist::lookupMesh(row, symbols, name, axes);
  if (failed(mesh))
    return failure();
  if (axes.empty() || galvatron::dist::hasTime(axes))
    return row->emitOpError("is over ") << axes << "; a row is over axes of ranks";
  for (Attribute stage : mesh->getAxisNames().getValue().take_front(mesh->getNumStageAxes()))
    if (llvm::is_contained(axes, stage))
      return row->emitOpError("is over ") << stage << ", an axis of stages, which run other tables";
  return mesh->getAxesSize(axes);
}

LogicalResult InputOp::verifySymbolUses(SymbolTableCollection &symbols) {
  return countRanks(*this, symbols, getMeshAttr(), getAxesAttr()); // C1
}

LogicalResult PieceOp::verifySymbolUses(SymbolTableCollection &symbols) {
  FailureOr<int64_t> ranks = countRanks(*this, symbols, getMeshAttr(), getAxesAttr()); // C4
  if (failed(ranks))
    return failure();
  return verifyRows(*this, cast<RankedTensorType>(getValue().getType()), cast<RankedTensorType>(getType()),
                    (int64_t(getMicroBatch().value_or(0)) + 1) * *ranks - 1, "takes");
}

/// C3 of a reduction, C4 of a gather.
static LogicalResult verifyAsync(Operation *row, bool isAsync) {
  if (isAsync && !(row->hasOneUse() && isa<CompleteOp>(*row->user_begin())))
    return row->emitOpError("is async, and its result has other users than one pipe.complete");
  return success();
}

LogicalResult CompleteOp::verify() {
  Operation *maker = getValue().getDefiningOp();
  auto reduce = dyn_cast_if_present<AllReduceOp>(maker);
  auto gather = dyn_cast_if_present<AllGatherOp>(maker);
  if (!(reduce && reduce.getAsync()) && !(gather && gather.getAsync())) // C1
    return emitOpError("waits for a value that no collective makes that is async");
  return success();
}

LogicalResult AllReduceOp::verifySymbolUses(SymbolTableCollection &symbols) {
  if (failed(countRanks(*this, symbols, getMeshAttr(), getAxesAttr()))) // C1
    return failure();
  if (cast<RankedTensorType>(getType()).getElementType().isInteger(1)) // C2
    return emitOpError("combines elements of type i1");
  return verifyAsync(*this, getAsync()); // C3
}

LogicalResult AllGatherOp::verifySymbolUses(SymbolTableCollection &symbols) {
  FailureOr<int64_t> ranks = countRanks(*this, symbols, getMeshAttr(), getAxesAttr()); // C1
  if (failed(ranks))
    return failure();
  auto whole = cast<RankedTensorType>(getType()), piece = cast<RankedTensorType>(getValue().getType());
  if (failed(verifyRows(*this, whole, piece, *ranks - 1, "puts"))) // C2, C3
    return failure();
  if (whole.getNumElements() != piece.getNumElements() * *ranks) // C2
    return emitOpError("makes a ") << whole << " of " << *ranks << " pieces of type " << piece;
  return verifyAsync(*this, getAsync()); // C4
}

LogicalResult PlaceOp::verify() {
  return verifyRows(*this, cast<RankedTensorType>(getType()), cast<RankedTensorType>(getValue().getType()), getMicroBatch(), "puts");
}

LogicalResult OutputOp::verify() {
  int64_t rank = cast<RankedTensorType>(getValue().getType()).getRank();
  if (getMicroBatch() && int64_t(getDim()) >= std::max<int64_t>(rank, 1)) // C1
    return emitOpError("hands out pieces along dimension ") << getDim() << " of a tensor of rank " << rank;
  return success();
}
