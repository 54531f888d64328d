//===- ImageGlobals.cpp - The images and main as LLVM globals -------------===//

#include "dialects/NN/NN.h"
#include "galvatron/Target/ProgramImage.h"
#include "galvatron_rt.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"

using namespace mlir;
using namespace galvatron;

/// A constant whose value `fill` builds from an undefined one.
static void addStruct(OpBuilder &builder, Location loc, StringRef name, Type type,
                      llvm::function_ref<Value(OpBuilder &, Value)> fill) {
  auto global = builder.create<LLVM::GlobalOp>(loc, type, /*isConstant=*/true, LLVM::Linkage::Internal, name, Attribute());
  OpBuilder body = OpBuilder::atBlockBegin(builder.createBlock(&global.getInitializerRegion()));
  Value value = fill(body, body.create<LLVM::UndefOp>(loc, type));
  body.create<LLVM::ReturnOp>(loc, value);
  builder.setInsertionPointAfter(global);
}

void galvatron::addProgramImages(ModuleOp module, ArrayRef<ProgramImage> images) {
  SmallVector<Operation *> others;
  for (Operation &op : *module.getBody())
    if (!isa<LLVM::LLVMDialect>(op.getDialect()))
      others.push_back(&op);
  for (Operation *op : llvm::reverse(others))
    op->erase();
  // What the program's own attributes said is in the image.
  SmallVector<StringAttr> names;
  for (NamedAttribute attribute : module->getDiscardableAttrs())
    if (attribute.getNameDialect() && !isa<LLVM::LLVMDialect>(attribute.getNameDialect()))
      names.push_back(attribute.getName());
  for (StringAttr name : names)
    module->removeAttr(name);
  for (auto function : module.getOps<LLVM::LLVMFuncOp>())
    for (NamedAttribute attribute : llvm::to_vector(function->getDiscardableAttrs()))
      if (!attribute.getName().getValue().starts_with("llvm."))
        function->removeAttr(attribute.getName());

  OpBuilder builder = OpBuilder::atBlockEnd(module.getBody());
  Location loc = module.getLoc();
  Type pointer = LLVM::LLVMPointerType::get(module.getContext()), i64 = builder.getI64Type(), i32 = builder.getI32Type();
  auto nameOf = [&](StringRef part, size_t stage) {
    return ("galvatron_" + part + (images.size() > 1 ? Twine(stage).str() : std::string())).str();
  };
  for (auto [stage, image] : llvm::enumerate(images)) {
    auto words = RankedTensorType::get({static_cast<int64_t>(image.words.size())}, i64);
    builder.create<LLVM::GlobalOp>(loc, LLVM::LLVMArrayType::get(i64, image.words.size()), true, LLVM::Linkage::Internal,
                                   nameOf("words", stage), DenseElementsAttr::get(words, ArrayRef<int64_t>(image.words)));
    builder.create<LLVM::GlobalOp>(loc, LLVM::LLVMArrayType::get(builder.getI8Type(), image.strings.size()), true,
                                   LLVM::Linkage::Internal, nameOf("strings", stage), builder.getStringAttr(image.strings));
    addStruct(builder, loc, nameOf("functions", stage), LLVM::LLVMArrayType::get(pointer, image.functions.size()),
              [&](OpBuilder &body, Value value) {
                for (auto [index, name] : llvm::enumerate(image.functions)) {
                  Value address = body.create<LLVM::AddressOfOp>(loc, pointer, name);
                  value = body.create<LLVM::InsertValueOp>(loc, value, address, static_cast<int64_t>(index));
                }
                return value;
              });
  }
  auto type = LLVM::LLVMStructType::getLiteral(module.getContext(),
                                               {i32, i32, i32, i32, pointer, i64, pointer, i64, pointer, i64});
  addStruct(builder, loc, "galvatron_images", LLVM::LLVMArrayType::get(type, images.size()), [&](OpBuilder &body, Value value) {
    for (auto [stage, image] : llvm::enumerate(images)) {
      SmallVector<int64_t, 2> place{static_cast<int64_t>(stage), 0};
      auto add = [&](Value field) {
        value = body.create<LLVM::InsertValueOp>(loc, value, field, place);
        ++place.back();
      };
      auto number = [&](Type fieldType, int64_t number) {
        add(body.create<LLVM::ConstantOp>(loc, fieldType, body.getIntegerAttr(fieldType, number)));
      };
      auto array = [&](StringRef part, int64_t size) {
        add(body.create<LLVM::AddressOfOp>(loc, pointer, nameOf(part, stage)));
        number(i64, size);
      };
      for (int64_t header : {int64_t(sizeof(galvatron_rt_image)), int64_t(GALVATRON_RT_MAGIC), int64_t(GALVATRON_RT_VERSION), int64_t(0)})
        number(i32, header);
      array("words", image.words.size());
      array("strings", image.strings.size());
      array("functions", image.functions.size());
    }
    return value;
  });

  auto runtimeMain = LLVM::LLVMFunctionType::get(i32, {i32, pointer, pointer});
  builder.create<LLVM::LLVMFuncOp>(loc, "galvatron_rt_main", runtimeMain);
  auto main = builder.create<LLVM::LLVMFuncOp>(loc, "main", LLVM::LLVMFunctionType::get(i32, {i32, pointer}));
  Block *entry = main.addEntryBlock(builder);
  builder.setInsertionPointToStart(entry);
  Value address = builder.create<LLVM::AddressOfOp>(loc, pointer, "galvatron_images");
  auto status = builder.create<LLVM::CallOp>(loc, runtimeMain, "galvatron_rt_main",
                                             ValueRange{entry->getArgument(0), entry->getArgument(1), address});
  builder.create<LLVM::ReturnOp>(loc, status.getResult());
}
