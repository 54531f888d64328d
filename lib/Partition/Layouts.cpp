//===- Layouts.cpp --------------------------------------------------------===//

#include "Layouts.h"

using namespace mlir;

namespace galvatron {

dist::LayoutAttr getLayout(Value value) {
  if (auto argument = dyn_cast<BlockArgument>(value)) {
    auto function = dyn_cast<func::FuncOp>(argument.getOwner()->getParentOp());
    return function ? function.getArgAttrOfType<dist::LayoutAttr>(argument.getArgNumber(), dist::layoutAttrName)
                    : dist::LayoutAttr();
  }
  if (auto reshard = value.getDefiningOp<dist::ReshardOp>())
    return reshard.getLayout();
  auto layouts = value.getDefiningOp()->getAttrOfType<ArrayAttr>(dist::layoutsAttrName);
  unsigned number = cast<OpResult>(value).getResultNumber();
  return layouts && number < layouts.size() ? dyn_cast<dist::LayoutAttr>(layouts[number]) : dist::LayoutAttr();
}

dist::LayoutAttr getWholeLayout(dist::MeshOp mesh, int64_t rank) {
  MLIRContext *context = mesh.getContext();
  SmallVector<Attribute> dims(rank, ArrayAttr::get(context, {}));
  return dist::LayoutAttr::get(context, FlatSymbolRefAttr::get(mesh.getSymNameAttr()), ArrayAttr::get(context, dims), {});
}

FailureOr<dist::MeshOp> getMesh(ModuleOp module) {
  auto meshes = module.getOps<dist::MeshOp>();
  if (int64_t count = llvm::range_size(meshes); count != 1)
    return module.emitError() << "module has " << count << " meshes; exactly one is needed (--dist-apply-plan adds it)";
  return *meshes.begin();
}

SmallVector<func::FuncOp> getSteps(ModuleOp module) {
  SmallVector<func::FuncOp> steps;
  for (auto function : module.getOps<func::FuncOp>())
    if (!function.isPrivate() && !function.isDeclaration())
      steps.push_back(function);
  return steps;
}

} // namespace galvatron
