//===- ConvertFunctions.cpp - Stage functions become LLVM functions that call the runtime ===//
//
// A stage function is straight-line code, so each op is one call. Pointers are loaded from `args` once, at the top.
//
//===----------------------------------------------------------------------===//

#include "galvatron/Codegen/Passes.h"

#include "dialects/RT/RT.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/IR/SymbolTable.h"

using namespace mlir;
using namespace galvatron;

namespace galvatron {
#define GEN_PASS_DEF_CONVERTFUNCTIONSPASS
#include "galvatron/Codegen/Passes.h.inc"
} // namespace galvatron

namespace {

/// Things of the module that all functions refer to.
struct Module {
  explicit Module(ModuleOp op) : op(op), symbols(op) {
    int64_t index = 0;
    for (auto desc : op.getOps<rt::MatmulDescOp>())
      descriptors[desc.getSymNameAttr()] = index++;
    index = 0;
    for (auto desc : op.getOps<rt::ConvDescOp>())
      descriptors[desc.getSymNameAttr()] = index++;
    if (auto known = op->getAttrOfType<ArrayAttr>(rt::stringsAttr))
      for (Attribute string : known)
        addString(cast<StringAttr>(string).getValue());
    else
      addString("");
  }

  /// The offset of a string among those of the image.
  int64_t addString(StringRef string) {
    auto [found, isNew] = offsets.try_emplace(string, end);
    if (isNew) {
      strings.push_back(StringAttr::get(op.getContext(), string));
      end += string.size() + 1;
    }
    return found->second;
  }

  ModuleOp op;
  SymbolTable symbols;
  llvm::DenseMap<StringAttr, int64_t> descriptors;
  llvm::StringMap<int64_t> offsets;
  SmallVector<Attribute> strings;
  int64_t end = 0;
};

class FunctionConversion {
public:
  FunctionConversion(func::FuncOp function, Module &module)
      : function(function), module(module), builder(function), pointer(LLVM::LLVMPointerType::get(function.getContext())) {}
  LogicalResult run();

private:
  LogicalResult convert(Operation *op);
  LogicalResult convertLaunch(rt::ParallelForOp op);
  void call(Location loc, StringRef name, ValueRange arguments);
  Value number(Location loc, int64_t value) {
    return builder.create<LLVM::ConstantOp>(loc, builder.getI64Type(), builder.getI64IntegerAttr(value));
  }
  Value null(Location loc) { return builder.create<LLVM::ZeroOp>(loc, pointer); }
  Value at(Location loc, Value base, int64_t bytes) {
    if (bytes == 0)
      return base;
    return builder.create<LLVM::GEPOp>(loc, pointer, builder.getI8Type(), base, ArrayRef<LLVM::GEPArg>{number(loc, bytes)});
  }
  Value get(Value buffer) { return pointers.lookup(buffer); }
  Value getOrNull(Location loc, Value buffer) { return buffer ? get(buffer) : null(loc); }
  Value descriptor(Location loc, FlatSymbolRefAttr symbol) { return number(loc, module.descriptors.lookup(symbol.getAttr())); }
  static int64_t elements(Value buffer) { return cast<rt::BufferType>(buffer.getType()).getNumElements(); }
  static int64_t bytes(Value buffer) { return cast<rt::BufferType>(buffer.getType()).getBytes(); }

  func::FuncOp function;
  Module &module;
  OpBuilder builder;
  Type pointer;
  Value context, frame, launchArguments;
  llvm::DenseMap<Value, Value> pointers;
};

} // namespace

void FunctionConversion::call(Location loc, StringRef name, ValueRange arguments) {
  auto type = LLVM::LLVMFunctionType::get(LLVM::LLVMVoidType::get(builder.getContext()),
                                          llvm::to_vector(TypeRange(arguments)));
  if (!module.symbols.lookup(name)) {
    OpBuilder top = OpBuilder::atBlockBegin(module.op.getBody());
    module.symbols.insert(top.create<LLVM::LLVMFuncOp>(module.op.getLoc(), name, type));
  }
  builder.create<LLVM::CallOp>(loc, type, name, arguments);
}

LogicalResult FunctionConversion::convertLaunch(rt::ParallelForOp op) {
  Location loc = op.getLoc();
  Operation *kernel = module.symbols.lookup(op.getKernel());
  auto rows = kernel->getAttrOfType<IntegerAttr>(rt::rowsAttr), grain = kernel->getAttrOfType<IntegerAttr>(rt::grainAttr);
  if (!rows || !grain)
    return op.emitOpError("kernel @") << op.getKernel() << " does not say its rows yet; run --rt-lower-kernels first";
  for (auto [index, operand] : llvm::enumerate(op.getOperands())) {
    Value slot = at(loc, launchArguments, index * 8);
    builder.create<LLVM::StoreOp>(loc, get(operand), slot);
  }
  Value address = builder.create<LLVM::AddressOfOp>(loc, pointer, op.getKernel());
  call(loc, "galvatron_rt_parallel_for",
       {context, address, launchArguments, number(loc, rows.getInt()), number(loc, grain.getInt())});
  return success();
}

LogicalResult FunctionConversion::convert(Operation *op) {
  Location loc = op->getLoc();
  if (auto launch = dyn_cast<rt::ParallelForOp>(op))
    return convertLaunch(launch);
  if (auto temporary = dyn_cast<rt::TemporaryOp>(op)) {
    if (!temporary.getOffset())
      return op->emitOpError("has no place in the frame; run --rt-plan-memory first");
    pointers[temporary.getResult()] = at(loc, frame, *temporary.getOffset());
  } else if (auto view = dyn_cast<rt::ViewOp>(op)) {
    pointers[view.getResult()] = at(loc, get(view.getSource()), view.getOffset());
  } else if (auto zero = dyn_cast<rt::ZeroOp>(op)) {
    call(loc, "galvatron_rt_zero", {context, get(zero.getBuffer()), number(loc, bytes(zero.getBuffer()))});
  } else if (auto copy = dyn_cast<rt::CopyOp>(op)) {
    call(loc, "galvatron_rt_copy", {context, get(copy.getDest()), get(copy.getSource()), number(loc, bytes(copy.getDest()))});
  } else if (auto matmul = dyn_cast<rt::MatmulOp>(op)) {
    call(loc, "galvatron_rt_matmul",
         {context, descriptor(loc, matmul.getDescriptorAttr()), get(matmul.getLhs()), get(matmul.getRhs()),
          getOrNull(loc, matmul.getBias()), get(matmul.getOut()), getOrNull(loc, matmul.getScratch())});
  } else if (auto conv = dyn_cast<rt::ConvOp>(op)) {
    call(loc, "galvatron_rt_conv",
         {context, descriptor(loc, conv.getDescriptorAttr()), get(conv.getSrc()), get(conv.getWeights()),
          getOrNull(loc, conv.getBias()), get(conv.getDst()), getOrNull(loc, conv.getScratch())});
  } else if (auto scatter = dyn_cast<rt::ScatterAddRowsOp>(op)) {
    int64_t rows = scatter.getTable().getType().getShape().front();
    call(loc, "galvatron_rt_scatter_add_rows",
         {context, get(scatter.getTable()), number(loc, rows), number(loc, elements(scatter.getTable()) / rows),
          get(scatter.getIds()), number(loc, elements(scatter.getIds())), get(scatter.getSource())});
  } else if (auto check = dyn_cast<rt::CheckRangeOp>(op)) {
    // Without an ignored value, the lower bound is allowed twice.
    int64_t ignore = check.getIgnore().value_or(check.getLow());
    call(loc, "galvatron_rt_check_range",
         {context, get(check.getIds()), number(loc, elements(check.getIds())), number(loc, check.getLow()),
          number(loc, check.getHigh()), number(loc, ignore), number(loc, module.addString(check.getName()))});
  } else if (isa<func::ReturnOp>(op)) {
    builder.create<LLVM::ReturnOp>(loc, ValueRange());
  } else {
    return op->emitOpError("has no call of the runtime");
  }
  return success();
}

LogicalResult FunctionConversion::run() {
  Location loc = function.getLoc();
  auto type = LLVM::LLVMFunctionType::get(LLVM::LLVMVoidType::get(builder.getContext()), {pointer, pointer, pointer});
  auto converted = builder.create<LLVM::LLVMFuncOp>(loc, function.getName(), type, LLVM::Linkage::Internal);
  for (StringRef name : {rt::outsAttr, rt::aliasesAttr, rt::frameBytesAttr, rt::scratchBytesAttr})
    if (Attribute attribute = function->getAttr(name))
      converted->setAttr(name, attribute);
  Block *entry = converted.addEntryBlock(builder);
  builder.setInsertionPointToStart(entry);
  context = entry->getArgument(0);
  frame = entry->getArgument(2);
  for (BlockArgument argument : function.getArguments()) {
    Value slot = at(loc, entry->getArgument(1), argument.getArgNumber() * 8);
    pointers[argument] = builder.create<LLVM::LoadOp>(loc, pointer, slot);
  }
  // One array of pointers serves all launches, as one runs at a time.
  int64_t most = 0;
  function.walk([&](rt::ParallelForOp launch) { most = std::max<int64_t>(most, launch->getNumOperands()); });
  if (most)
    launchArguments = builder.create<LLVM::AllocaOp>(loc, pointer, pointer, number(loc, most));
  for (Operation &op : function.getBody().front())
    if (failed(convert(&op)))
      return failure();
  function.erase();
  return success();
}

namespace {

struct ConvertFunctionsPass : galvatron::impl::ConvertFunctionsPassBase<ConvertFunctionsPass> {
  using ConvertFunctionsPassBase::ConvertFunctionsPassBase;

  void runOnOperation() override {
    SmallVector<func::FuncOp> functions;
    for (auto function : getOperation().getOps<func::FuncOp>())
      if (function->hasAttr(rt::outsAttr) && !function.isExternal())
        functions.push_back(function);
    Module module(getOperation());
    bool ok = true;
    for (func::FuncOp function : functions)
      ok &= succeeded(FunctionConversion(function, module).run());
    getOperation()->setAttr(rt::stringsAttr, ArrayAttr::get(&getContext(), module.strings));
    if (!ok)
      signalPassFailure();
  }
};

} // namespace
