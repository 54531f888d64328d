//===- Dist.cpp - Registration, layouts and verifiers ---------------------===//

#include "dialects/Dist/Dist.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace galvatron::dist;

static ParseResult parseAxes(OpAsmParser &parser, ArrayAttr &names, DenseI64ArrayAttr &sizes) {
  SmallVector<Attribute> nameList;
  SmallVector<int64_t> sizeList;
  // The list sits between parentheses that belong to the format of the op, and may be empty.
  std::string name;
  if (succeeded(parser.parseOptionalString(&name))) {
    do {
      int64_t size;
      if ((!nameList.empty() && parser.parseString(&name)) || parser.parseEqual() || parser.parseInteger(size))
        return failure();
      nameList.push_back(parser.getBuilder().getStringAttr(name));
      sizeList.push_back(size);
    } while (succeeded(parser.parseOptionalComma()));
  }
  names = parser.getBuilder().getArrayAttr(nameList);
  sizes = parser.getBuilder().getDenseI64ArrayAttr(sizeList);
  return success();
}

static void printAxes(OpAsmPrinter &printer, Operation *, ArrayAttr names, DenseI64ArrayAttr sizes) {
  llvm::interleaveComma(llvm::zip(names, sizes.asArrayRef()), printer, [&](auto axis) {
    printer << std::get<0>(axis) << " = " << std::get<1>(axis);
  });
}

#include "dialects/Dist/DistDialect.cpp.inc"
#include "dialects/Dist/DistEnums.cpp.inc"
#define GET_ATTRDEF_CLASSES
#include "dialects/Dist/DistAttrs.cpp.inc"
#define GET_OP_CLASSES
#include "dialects/Dist/DistOps.cpp.inc"

void DistDialect::initialize() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "dialects/Dist/DistAttrs.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "dialects/Dist/DistOps.cpp.inc"
      >();
}

//===----------------------------------------------------------------------===//
// Layouts
//===----------------------------------------------------------------------===//

LogicalResult LayoutAttr::verify(function_ref<InFlightDiagnostic()> emitError, FlatSymbolRefAttr mesh, ArrayAttr dims,
                                 ArrayRef<PartialAttr> partial) {
  llvm::StringSet<> seen;
  auto add = [&](StringAttr axis) -> LogicalResult {
    if (seen.insert(axis.getValue()).second) // C2
      return success();
    return emitError() << "axis " << axis << " is named twice";
  };
  for (Attribute dim : dims) {
    auto axes = llvm::dyn_cast<ArrayAttr>(dim);
    if (!axes || !llvm::all_of(axes, [](Attribute axis) { return llvm::isa<StringAttr>(axis); })) // C1
      return emitError() << "dimension " << dim << " of a layout is no list of axis names";
    for (Attribute axis : axes)
      if (failed(add(llvm::cast<StringAttr>(axis))))
        return failure();
  }
  for (PartialAttr entry : partial)
    if (failed(add(entry.getAxis())))
      return failure();
  return success();
}

LogicalResult SplitAttr::verify(function_ref<InFlightDiagnostic()> emitError, int64_t input, int64_t dim, ArrayAttr axes) {
  if (!llvm::all_of(axes, [](Attribute axis) { return llvm::isa<StringAttr>(axis); })) // C1
    return emitError() << "split of input " << input << ", dimension " << dim << " is over " << axes << ", which is no list of axis names";
  return success();
}

LogicalResult OpAttr::verify(function_ref<InFlightDiagnostic()> emitError, StringAttr name, ArrayAttr splits) {
  if (!llvm::all_of(splits, [](Attribute split) { return llvm::isa<SplitAttr>(split); })) // C1
    return emitError() << "op " << name << " has " << splits << ", which is no list of splits";
  return success();
}

int64_t LayoutAttr::getSplitDim(StringRef axis) {
  for (auto [i, dim] : llvm::enumerate(getDims()))
    for (Attribute name : llvm::cast<ArrayAttr>(dim))
      if (llvm::cast<StringAttr>(name).getValue() == axis)
        return i;
  return -1;
}

std::optional<Monoid> LayoutAttr::getPartialOver(StringRef axis) {
  for (PartialAttr entry : getPartial())
    if (entry.getAxis().getValue() == axis)
      return entry.getMonoid();
  return std::nullopt;
}

bool LayoutAttr::isWhole() {
  return getPartial().empty() && llvm::all_of(getDims(), [](Attribute dim) { return llvm::cast<ArrayAttr>(dim).empty(); });
}

//===----------------------------------------------------------------------===//
// Meshes and strategies
//===----------------------------------------------------------------------===//

LogicalResult MeshOp::verify() {
  if (getAxisNames().size() != getAxisSizes().size())
    return emitOpError("has ") << getAxisNames().size() << " axis names and " << getAxisSizes().size() << " sizes";
  llvm::StringSet<> seen;
  for (auto [name, size] : llvm::zip(getAxisNames().getAsValueRange<StringAttr>(), getAxisSizes())) {
    if (name.empty() || name == timeAxis) // C1
      return emitOpError("has an axis named \"") << name << "\", which " << (name.empty() ? "is empty" : "is taken");
    if (!seen.insert(name).second) // C1
      return emitOpError("has two axes named \"") << name << "\"";
    if (size < 2) // C2
      return emitOpError("has axis \"") << name << "\" of size " << size << "; an axis has at least 2 points";
  }
  if (int64_t(getMicroBatches()) < 1) // C3
    return emitOpError("has ") << int64_t(getMicroBatches()) << " micro-batches; at least 1 is needed";
  if (getNumStageAxes() < 0) // C4
    return emitOpError("has ") << int64_t(getStages()) << " stages, which is no product of its outermost axes";
  return success();
}

int64_t MeshOp::getNumStageAxes() {
  int64_t count = 0, product = 1, stages = getStages();
  while (product < stages && count < int64_t(getAxisSizes().size()))
    product *= getAxisSizes()[count++];
  return product == stages ? count : -1;
}

int64_t MeshOp::getAxisSize(StringRef axis) {
  if (axis == timeAxis)
    return getMicroBatches();
  for (auto [name, size] : llvm::zip(getAxisNames().getAsValueRange<StringAttr>(), getAxisSizes()))
    if (name == axis)
      return size;
  return 0;
}

int64_t MeshOp::getAxesSize(ArrayAttr axes) {
  int64_t product = 1;
  for (StringRef axis : axes.getAsValueRange<StringAttr>())
    product *= getAxisSize(axis);
  return product;
}

FailureOr<MeshOp> galvatron::dist::lookupMesh(Operation *op, SymbolTableCollection &symbols, FlatSymbolRefAttr name,
                                              ArrayAttr axes) {
  auto mesh = symbols.lookupNearestSymbolFrom<MeshOp>(op, name);
  if (!mesh)
    return op->emitOpError("names ") << name << ", which is no dist.mesh";
  for (Attribute axis : axes) {
    auto text = dyn_cast<StringAttr>(axis);
    if (!text || mesh.getAxisSize(text.getValue()) == 0)
      return op->emitOpError("names axis ") << axis << ", which " << name << " does not have";
  }
  return mesh;
}

LogicalResult StrategyOp::verifySymbolUses(SymbolTableCollection &symbols) {
  llvm::StringSet<> seen;
  for (NamedAttribute role : getRoles()) {
    auto axes = dyn_cast<ArrayAttr>(role.getValue());
    if (!axes) // C2
      return emitOpError("gives role ") << role.getName() << " the value " << role.getValue() << ", which is no list of axes";
    if (failed(lookupMesh(*this, symbols, getMeshAttr(), axes))) // C1, C2
      return failure();
    if (role.getName() != batchRole && role.getName() != tensorRole) // C3
      return emitOpError("has an unknown role ") << role.getName() << "; known: \"" << batchRole << "\", \"" << tensorRole << "\"";
    for (StringRef axis : axes.getAsValueRange<StringAttr>())
      if (!seen.insert(axis).second) // C4
        return emitOpError("gives axis \"") << axis << "\" two roles";
  }
  DenseSet<std::pair<int64_t, Attribute>> split;
  SmallVector<StringAttr> tensor = getRole(tensorRole);
  for (auto entry : getSplits().value_or(ArrayAttr::get(getContext(), {})).getAsRange<SplitAttr>())
    for (auto axis : entry.getAxes().getAsRange<StringAttr>()) {
      if (!llvm::is_contained(tensor, axis)) // C5
        return emitOpError("splits input ") << entry.getInput() << " over " << axis << ", which has not the role " << tensorRole;
      if (!split.insert({entry.getInput(), axis}).second) // C6
        return emitOpError("splits input ") << entry.getInput() << " over " << axis << " twice";
    }
  for (auto op : getOps().value_or(ArrayAttr::get(getContext(), {})).getAsRange<OpAttr>()) {
    DenseSet<Attribute> taken;
    for (auto entry : op.getSplits().getAsRange<SplitAttr>())
      for (auto axis : entry.getAxes().getAsRange<StringAttr>()) {
        if (!llvm::is_contained(tensor, axis)) // C5
          return emitOpError("splits op ") << op.getName() << " over " << axis << ", which has not the role " << tensorRole;
        if (!taken.insert(axis).second) // C6
          return emitOpError("splits op ") << op.getName() << " over " << axis << " twice";
      }
  }
  return success();
}

SmallVector<StringAttr> StrategyOp::getRole(StringRef role) {
  SmallVector<StringAttr> axes;
  if (auto list = getRoles().getAs<ArrayAttr>(role))
    for (Attribute axis : list)
      axes.push_back(cast<StringAttr>(axis));
  return axes;
}

//===----------------------------------------------------------------------===//
// Moves
//===----------------------------------------------------------------------===//

ParseResult galvatron::dist::parseMonoid(OpAsmParser &parser, MonoidAttr &monoid) {
  StringRef name;
  SMLoc loc = parser.getCurrentLocation();
  if (parser.parseKeyword(&name))
    return failure();
  std::optional<Monoid> found = symbolizeMonoid(name);
  if (!found)
    return parser.emitError(loc) << "'" << name << "' is no monoid; sum, max and min are";
  monoid = MonoidAttr::get(parser.getContext(), *found);
  return success();
}

void galvatron::dist::printMonoid(OpAsmPrinter &printer, Operation *, MonoidAttr monoid) {
  printer << stringifyMonoid(monoid.getValue());
}

LogicalResult ReshardOp::verify() {
  int64_t rank = cast<RankedTensorType>(getType()).getRank(), dims = getLayout().getDims().size();
  if (rank != dims) // C1
    return emitOpError("has a layout of ") << dims << " dimensions for a tensor of rank " << rank;
  return success();
}

/// What relates a whole value and a piece of it along one dimension; `done` says what the op does to that dimension.
static LogicalResult verifyPiece(Operation *op, MeshOp mesh, ArrayAttr axes, int64_t dim, RankedTensorType whole,
                                 RankedTensorType piece, StringRef done) {
  int64_t pieces = mesh.getAxesSize(axes);
  if (dim < 0 || dim >= whole.getRank()) // C1
    return op->emitOpError(done) << " dimension " << dim << " of a tensor of rank " << whole.getRank();
  SmallVector<int64_t> shape(whole.getShape());
  if (shape[dim] % pieces) // C3
    return op->emitOpError("cuts dimension ") << dim << " of size " << shape[dim] << " into " << pieces
                                              << " pieces, which does not divide it";
  shape[dim] /= pieces;
  auto expected = RankedTensorType::get(shape, whole.getElementType());
  if (expected != piece) // C3
    return op->emitOpError("has a piece of type ") << piece << " where a piece of the whole is " << expected;
  return success();
}

LogicalResult SliceOp::verifySymbolUses(SymbolTableCollection &symbols) {
  FailureOr<MeshOp> mesh = lookupMesh(*this, symbols, getMeshAttr(), getAxes()); // C2
  if (failed(mesh))
    return failure();
  return verifyPiece(*this, *mesh, getAxes(), getDim(), cast<RankedTensorType>(getValue().getType()),
                     cast<RankedTensorType>(getType()), "slices");
}

LogicalResult AllGatherOp::verifySymbolUses(SymbolTableCollection &symbols) {
  FailureOr<MeshOp> mesh = lookupMesh(*this, symbols, getMeshAttr(), getAxes()); // C2
  if (failed(mesh))
    return failure();
  return verifyPiece(*this, *mesh, getAxes(), getDim(), cast<RankedTensorType>(getType()),
                     cast<RankedTensorType>(getValue().getType()), "gathers");
}

LogicalResult AllReduceOp::verifySymbolUses(SymbolTableCollection &symbols) {
  return lookupMesh(*this, symbols, getMeshAttr(), getAxes()); // C1
}
